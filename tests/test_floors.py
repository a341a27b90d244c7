"""The floor of |w_ni|: the balance of kicks and pull, its powers, and a network's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nin.studies.floors import BASE, FLOORS_SHELF, Floor, floor_grid, floors, power, starts
from nin.studies.study import Shelf
from nin.theory import floor as theory
from nin.theory import symbols as s

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("pull", [0.01, 0.3, 1.0])
def test_a_walk_that_is_pulled_back_rests_on_the_floor(pull: float) -> None:
    eta, sigma_eps, batch_size, gradient_sq = 0.1, 3.0, 20, 2.5
    h = pull / (eta * sigma_eps**2)
    g, w, sizes = np.random.default_rng(0), np.zeros((4000, 3)), []
    kick = eta * sigma_eps * np.sqrt(gradient_sq / batch_size / 3)
    for step in range(round(20 / pull) + 20):
        w = (1 - pull) * w + kick * g.standard_normal(w.shape)
        if step > 5 / pull:
            sizes.append((w**2).sum(1).mean())
    values = {s.eta: eta, s.sigma_eps: sigma_eps, s.batch_size: batch_size,
              theory.curvature: h, theory.gradient_sq: gradient_sq}  # fmt: skip
    exact, leading = (float(theory.floor_sq(exact).subs(values)) for exact in (True, False))
    # 12,000 squares of normal numbers at a time: 1.3 % each, and many times.
    assert np.mean(sizes) == pytest.approx(exact, rel=0.02)
    assert exact / leading == pytest.approx(1 / (1 - pull / 2))


def test_the_floor_is_free_of_weak_noise() -> None:
    assert not theory.floor_sq().has(s.sigma_eps)
    assert theory.floor_sq(exact=True).has(s.sigma_eps)


def test_powers_are_found_one_at_a_time() -> None:
    def size(e) -> np.ndarray:  # type: ignore[no-untyped-def]
        law = e.batch_size**-0.5 * e.eta**0.7 * e.sigma_eps**0.2
        return law * np.array([1.0, 2.0])

    found = {e: Floor(size(e), size(e), size(e)) for e in floor_grid()}
    for name, expected in (("batch_size", -0.5), ("eta", 0.7), ("sigma_eps", 0.2), ("width", 0)):
        np.testing.assert_allclose(power(found, name), expected, atol=1e-9)
    with pytest.raises(ValueError, match="differ in depth alone"):
        power(found, "depth")


def test_a_network_is_watched_at_the_same_times_whatever_its_learning_rate(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("floors"), "floor", workers=1)
    tiny = dataclasses.replace(BASE, width=8, batch_size=512)
    grid = [tiny, dataclasses.replace(tiny, eta=0.1)]
    found = floors(grid, [0, 1], shelf, times=[1.0, 5.0])
    assert list(found) == grid
    for floor in found.values():
        assert floor.measured.shape == floor.curvature.shape == (2,)
        assert np.all(floor.measured > 0)


def test_windows_that_overlap_at_a_large_learning_rate_are_an_error() -> None:
    assert starts(BASE, [1.0, 3.0]) == [20, 60]
    with pytest.raises(ValueError, match="further apart than their length"):
        starts(dataclasses.replace(BASE, eta=0.1), [1.0, 3.0])


def test_the_records_hold_what_the_page_says_of_the_floor() -> None:
    found = floors(floor_grid(), SEEDS, FLOORS_SHELF)
    ratio = np.array([floor.ratio.mean() for floor in found.values()])
    assert ratio.min() > 0.8 and ratio.max() < 1.25
    assert abs(power(found, "batch_size") + 0.5).max() < 0.1
    weak = {e: floor for e, floor in found.items() if e.sigma_eps <= 20}
    strong = {e: floor for e, floor in found.items() if e.sigma_eps > 20}
    assert power(weak, "sigma_eps").mean() < 0.2 < power(strong, "sigma_eps").mean()
