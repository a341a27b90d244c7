"""First steps without data: what is taken away, what stays, and how a course is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_claims_borders import page_defaults

import nin
from nin.companion.claims.without_data import starts_seen
from nin.studies import random_data
from nin.studies.random_data import KINDS, Courses, early_end, first_courses, networks, without
from nin.studies.study import Shelf, images_of

TINY = replace(random_data.BASE, width=5, d_in=49, batch_size=3000, sigma_eps=40.0, epochs=1)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Courses:
    shelf = Shelf(tmp_path_factory.mktemp("random_data"), "random_data", workers=1)
    return first_courses([TINY], shelf)[0]


def test_with_images_it_is_the_experiment_s_own_run(seen: Courses) -> None:
    model = TINY.network()
    options = {"eta": TINY.eta, "batch_size": TINY.batch_size, "epochs": 1}
    [history] = nin.train([model], images_of(TINY), **options, seeds=[0], evaluations=0)  # type: ignore[arg-type]
    steps = TINY.steps_per_epoch
    for name, course in (("w_ni", history.w_ni), ("loss", history.loss)):
        np.testing.assert_allclose(seen.of("images", name), course[:steps], rtol=1e-6)  # float32


def test_all_begin_with_the_same_weights_and_only_the_yardstick_with_other_noise(
    seen: Courses,
) -> None:
    start = {kind: [seen.of(kind, name)[0] for name in ("w_ni", "next")] for kind in KINDS}
    assert all(value == start["images"] for value in start.values())
    # The first noisy losses: labels differ little in a batch of 3000, images of none a lot.
    loss = {kind: seen.of(kind, "loss")[0] for kind in KINDS}
    assert loss["other noise"] != loss["images"] != loss["other labels"]


def test_other_labels_are_the_same_labels_of_other_images() -> None:
    data, other = images_of(TINY), without("other labels", TINY)
    assert torch.equal(other.train_x, data.train_x)
    assert torch.equal(other.train_y.bincount(), data.train_y.bincount())
    # Ten classes of equal size: a tenth stays by chance, to five errors of a share of 42,000.
    assert float((other.train_y == data.train_y).float().mean()) == pytest.approx(0.1, abs=0.0075)


def test_random_inputs_have_the_images_mean_and_covariance_and_their_labels_are_dealt() -> None:
    x, data = images_of(TINY).train_x, without("random inputs", TINY)
    drawn, n = data.train_x, len(x)
    spread = x.std(0)
    assert torch.all((drawn.mean(0) - x.mean(0)).abs() < 5 * spread / n**0.5 + 1e-4)  # 5 errors
    error = (2 / n) ** 0.5 * torch.outer(spread, spread)  # of a Gaussian covariance, at most
    assert torch.all((drawn.T.cov() - x.T.cov()).abs() < 6 * error + 1e-4)  # of 1225 entries
    third = ((drawn - drawn.mean(0)) ** 3).mean(0) / spread**3
    assert third.abs().max() < 6 * (15 / n) ** 0.5  # a normal law: <z^6> = 15
    assert torch.equal(data.train_y, without("other labels", TINY).train_y)


def test_without_data_nothing_is_read_and_no_class_is_preferred() -> None:
    data = without("no data", TINY)
    assert not data.train_x.any() and torch.all(data.train_y == 0.1)


def test_a_kind_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"kind must be one of .*, not 'noise'"):
        without("noise", TINY)


@pytest.mark.parametrize(
    ("course", "end"),
    [
        ([1, 2, 3, 2, 1], 2),  # a peak
        ([2, 10, 19, 21, 400], 3),  # tenfold
        ([1, 0.9, 0.6, 0.49, 0.2], 3),  # a decay
        ([1, 1.05, 1.0, 0.9], 3),  # neither: to the end
        ([1, np.inf, np.inf], 1),  # lost in the first step
    ],
)
def test_the_end_of_the_early_steps(course: list[float], end: int) -> None:
    assert early_end(np.array(course, float)) == end


def test_courses_are_compared_up_to_that_end_and_a_lost_one_is_ten_away() -> None:
    values = np.ones((len(KINDS), 3, 4))
    values[KINDS.index("no data"), 0] = 1, 2, 4, 1
    values[KINDS.index("other labels"), 0] = 1, 1, 0.8, 9
    values[KINDS.index("random inputs"), 0] = 1, 3, np.inf, np.inf
    seen = Courses(values)
    assert seen.end == 2
    assert seen.furthest("other labels", "w_ni") == pytest.approx(1.25)
    assert seen.furthest("random inputs", "w_ni") == 10
    assert seen.peak_ratio("other labels") == 1 and seen.peak_ratio("random inputs") == 10
    assert seen.peak_ratio("no data") == 4


def test_the_page_s_grid_is_that_of_the_claim() -> None:
    p = page_defaults("random_data")
    assert tuple(p["strengths"]) == random_data.STRONG and p["decay"] == random_data.DECAY  # type: ignore[arg-type]
    assert tuple(p["losses"]) == random_data.LOSSES and tuple(p["widths"]) == random_data.WIDTHS  # type: ignore[arg-type]
    assert tuple(p["seeds"]) == random_data.SEEDS  # type: ignore[arg-type]
    for name in ("epochs", "eta", "batch_size"):
        assert p[name] == getattr(random_data.BASE, name)
        assert p[f"untried_{name}"] == getattr(random_data.UNTRIED, name)
    assert p["untried_width"] == random_data.UNTRIED_WIDTH
    assert tuple(p["untried_seeds"]) == random_data.UNTRIED_SEEDS  # type: ignore[arg-type]
    assert tuple(p["untried_strengths"]) == random_data.UNTRIED_STRENGTHS  # type: ignore[arg-type]


def test_a_strength_is_a_share_of_the_closed_border() -> None:
    found = networks(TINY, ["mse"], [64], [0, 1], [0.5, 1.0])
    weak, strong = (found["mse", 64, share] for share in (0.5, 1.0))
    assert [e.sigma_eps / f.sigma_eps for e, f in zip(weak, strong, strict=True)] == [0.5, 0.5]
    assert [e.seed for e in weak] == [0, 1]


def test_every_committed_run_has_its_five_kinds() -> None:
    assert len(starts_seen()) == 16
    assert all(r.values.shape == (5, 3, 84) for runs in starts_seen().values() for r in runs)
