"""The study of spoilt images: what is trained, what is on record, and the rule of the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from scipy import stats

from nin.companion.claims.finding import Verdict
from nin.companion.claims.spoilt_images import judge_contests
from nin.companion.figures.robust import draw_frontier, draw_leads
from nin.companion.robustness_tables import (
    accuracy_table,
    contest_numbers,
    corruption_table,
    lead_table,
    severity_gains,
)
from nin.networks.corruptions import corrupt
from nin.runs.frontiers import level
from nin.runs.phases import Phase
from nin.studies.leads import JUDGED, Contest, Lead, answer, contest, lead
from nin.studies.robustness import (
    BASE,
    Regularised,
    Robustness,
    add_dropout,
    noisy,
    robustness,
)
from nin.studies.study import Shelf, images_of, train_runs

SMALL = Regularised(
    replace(BASE, width=12, epochs=2), images=600, tested=300, severities=(("noise", 0.2),)
)
NAN = (float("nan"),) * 3
WAYS = [
    SMALL,
    replace(SMALL, dropout=0.5),
    replace(SMALL, weight_decay=0.1),
    *noisy(SMALL, [0.1, 50.0], True),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("robustness"), "robustness", workers=1)


@pytest.fixture(scope="module")
def found(shelf: Shelf) -> dict[Regularised, Robustness]:
    return robustness(WAYS, [0, 1], shelf)


def test_the_plain_network_is_that_of_the_one_loop(found: dict[Regularised, Robustness]) -> None:
    e = replace(SMALL.experiment, seed=1)
    data = images_of(e)
    first = replace(
        data,
        train_x=data.train_x[:600],
        train_y=data.train_y[:600],
        val_x=data.val_x[:300],
        val_y=data.val_y[:300],
    )
    [network], _ = train_runs([e], first, evaluations=0, progress=False)
    mean, std = (float(v) for v in (data.train_x.mean(), data.train_x.std()))
    assert (mean, std) == pytest.approx((0, 1), abs=1e-4)  # so the moments of the pixels undo it
    black, white = float(data.train_x.min()), float(data.train_x.max())
    grey = corrupt((first.val_x - black) / (white - black), "noise", 0.2)
    with torch.no_grad():
        for x, share in ((first.val_x, "clean"), (grey * (white - black) + black, "spoilt")):
            right = (network(x).argmax(1) == first.val_y).double().mean()
            assert getattr(found[SMALL], share)[1] == pytest.approx(float(right), abs=1e-6)


def test_each_way_trains_another_network(found: dict[Regularised, Robustness]) -> None:
    assert len({tuple(r.clean) for r in found.values()}) == len(WAYS)


def test_dropout_leaves_units_out_in_training_alone() -> None:
    network = SMALL.experiment.network()
    add_dropout(network, 0.5)
    seen: list[torch.Tensor] = []
    network.linear(1).register_forward_hook(lambda layer, args, out: seen.append(args[0]))
    x = torch.ones(500, 784)
    torch.manual_seed(0)
    network.train()(x)
    network.eval()(x)
    noisy_units, whole = seen
    alive = whole[0] > 0
    share = (noisy_units[:, alive] == 0).double().mean()
    n = 500 * int(alive.sum())
    assert abs(float(share) - 0.5) < 4 * 0.5 / n**0.5
    kept = noisy_units[:, alive]
    torch.testing.assert_close(kept[kept > 0], (2 * whole[:, alive])[kept > 0])


def test_phases_are_of_noise_alone_and_lost_runs_are_divergent(
    found: dict[Regularised, Robustness],
) -> None:
    assert [found[way].phase for way in WAYS[:3]] == [None] * 3
    assert found[WAYS[4]].phase is Phase.DIVERGENT


def test_a_record_is_read_again_and_the_global_generator_left_alone(
    found: dict[Regularised, Robustness], shelf: Shelf
) -> None:
    torch.manual_seed(3)
    again = robustness(WAYS, [0, 1], replace(shelf, may_make=False))
    robustness([replace(SMALL, dropout=0.2)], [0], shelf)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))
    for way, r in found.items():
        assert np.array_equal(again[way].spoilt, r.spoilt)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dropout": 1.0},
        {"weight_decay": -0.1},
        {"images": 10},
        {"tested": 0},
        {"experiment": replace(BASE, scaling="pixel")},
    ],
)
def test_what_cannot_be_trained_or_spoilt_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"must be|no common black"):
        replace(SMALL, **wrong)


# ---- the rule, on accuracies made up


def made_up(clean: float, robust: float, phase: Phase | None = None) -> Robustness:
    """Return five seeds that differ by a tenth of a point, as if trained."""
    of_seed = np.linspace(-0.001, 0.001, 5)
    spoilt = np.column_stack([robust + of_seed, robust - of_seed[::-1] / 2])
    return Robustness(clean + of_seed, clean + of_seed, spoilt, (phase,) * 5, {"seconds": 0})


PEERS = [
    [made_up(0.9, 0.5), made_up(0.88, 0.60), made_up(0.8, 0.61)],
    [made_up(0.9, 0.5), made_up(0.87, 0.55)],
]


@pytest.mark.parametrize(
    "robust, verdict", [(0.65, "more robust"), (0.6, "no difference"), (0.55, "less robust")]
)
def test_a_nin_is_judged_against_the_better_peer_at_its_clean_accuracy(
    robust: float, verdict: str
) -> None:
    nins = [made_up(0.88, robust, Phase.DECAY), made_up(0.1, 0.1, Phase.DIVERGENT)]
    found = lead(nins, False, Phase.DECAY, PEERS)
    assert found.verdict == verdict
    assert found.strengths == 1
    assert found.value == pytest.approx(robust - 0.6, abs=2e-3)  # the seeds' scatter


def test_clean_accuracy_that_is_given_away_buys_nothing() -> None:
    """More robust than the plain network, but a peer is so at less cost."""
    found = lead([made_up(0.7, 0.58, Phase.CATAPULT)], True, Phase.CATAPULT, PEERS)
    assert found.verdict == "less robust"


def test_at_just_the_same_clean_accuracy_a_peer_that_goes_further_does_not_count() -> None:
    peers = [[made_up(0.8, 0.5), made_up(0.9, 0.6)]]  # more of it gains on both axes
    nins = [made_up(0.85, 0.55, Phase.DECAY)]
    further = lead(nins, False, Phase.DECAY, peers)
    just = lead(nins, False, Phase.DECAY, peers, above=level)
    assert (further.value, just.value) == pytest.approx((-0.05, 0), abs=2e-3)  # the seeds' scatter


def test_a_phase_that_is_nowhere_has_no_verdict_and_one_lost_run_loses_a_strength() -> None:
    assert lead([], False, Phase.DECAY, PEERS).verdict == "not found"
    mixed = made_up(0.9, 0.5)
    lost = replace(mixed, phases=(Phase.DECAY,) * 4 + (Phase.DIVERGENT,))
    assert lost.phase is Phase.DIVERGENT
    most = replace(mixed, phases=(Phase.DECAY,) * 3 + (Phase.CATAPULT,) * 2)
    assert most.phase is Phase.DECAY


@pytest.mark.parametrize("values, said", [([1, 1], "yes"), ([1, 0], "in part"), ([0, -1], "no")])
def test_the_answer_is_yes_if_every_comparison_says_so(values: list[float], said: str) -> None:
    found = [Lead(Phase.DECAY, False, 1, v, 0.1, 0.5) for v in values]
    assert answer(found) == said


def test_a_contest_has_every_strength_once_and_judges_four_times(
    found: dict[Regularised, Robustness], shelf: Shelf
) -> None:
    both = contest(SMALL, [0, 1], shelf, K=[0.1, 50.0], dropouts=[0.5], weight_decays=[0.1])
    assert len(both.found) == 3 + 2 * 2
    assert both.seeds == 2
    assert np.array_equal(both.found[WAYS[1]].spoilt, found[WAYS[1]].spoilt)
    kinds = [(c.phase, c.fixed) for c in both.leads()]
    assert kinds == [(phase, fixed) for phase in JUDGED for fixed in (False, True)]


def test_a_lead_is_over_the_peers_and_corruptions_that_are_named() -> None:
    plain = replace(SMALL, severities=(("blur", 1.0), ("noise", 0.1)))
    peer, nin = replace(plain, dropout=0.5), noisy(plain, [0.1], False)[0]
    of_seed = np.linspace(-0.001, 0.001, 5)  # the same for all: differences have no scatter

    def outcome(blur: float, noise: float, phase: Phase | None = None) -> Robustness:
        spoilt = np.column_stack([blur + of_seed, noise + of_seed])
        return Robustness(0.9 + of_seed, 0.9 + of_seed, spoilt, (phase,) * 5, {"seconds": 0})

    runs = {
        plain: outcome(0.5, 0.4),
        peer: outcome(0.6, 0.7),
        nin: outcome(0.7, 0.5, Phase.DECAY),
    }
    both = Contest(plain, {"dropout": [plain, peer]}, {False: [nin]}, runs)
    gains = [both.leads(), both.leads("none"), *both.by_corruption().values()]
    assert [leads[0].value for leads in gains] == pytest.approx([-0.05, 0.15, 0.1, -0.2])
    assert [leads[1].verdict for leads in gains] == ["not found"] * 4  # no catapult
    assert both.worst() == ("noise", both.by_corruption()["noise"][0])
    with pytest.raises(ValueError, match="nothing to compare"):
        replace(both, nins={False: [plain]}).worst()


def made_up_contest(weak: float = 0.54, strong: float = 0.56) -> Contest:
    """Return two strengths of a fixed NIN in decay, and a peer of robust accuracy 0.52."""
    peer, low, high = replace(SMALL, dropout=0.5), *noisy(SMALL, [0.1, 0.2], True)
    runs = {
        SMALL: made_up(0.9, 0.5),
        peer: made_up(0.9, 0.52),
        low: made_up(0.9, weak, Phase.DECAY),
        high: made_up(0.9, strong, Phase.DECAY),
    }
    return Contest(SMALL, {"dropout": [SMALL, peer]}, {True: [low, high]}, runs)


@pytest.mark.parametrize(
    "weak, strong, verdict",
    [
        (0.54, 0.56, Verdict.REPRODUCED),
        (0.50, 0.50, Verdict.DIFFERS),
        (0.52, 0.52, Verdict.NOT_SEEN),  # a hope that nothing speaks for or against
    ],
)
def test_a_hope_differs_only_where_every_comparison_denies_it(
    weak: float, strong: float, verdict: Verdict
) -> None:
    found = judge_contests([made_up_contest(weak, strong)])
    assert found.verdict is verdict
    assert found.value == pytest.approx(100 * ((weak + strong) / 2 - 0.52), abs=1e-9)
    assert len(found.cells) == 1  # no catapult there


# ---- tables


def test_tables_hold_means_and_paired_gains_in_points(
    found: dict[Regularised, Robustness],
) -> None:
    rows = accuracy_table(found, SMALL).rows()
    assert [row[:2] for row in rows[:3]] == [("none", ""), ("dropout", 0.5), ("weight decay", 0.1)]
    gains = 100 * (found[WAYS[1]].spoilt - found[SMALL].spoilt)[:, 0]
    assert rows[1][-1] == pytest.approx((gains.mean(), abs(np.diff(gains)[0]) / 2))
    [row] = severity_gains(found, WAYS[1:2], SMALL).rows()
    assert row[:2] == ("noise", 0.2)
    assert row[-1] == pytest.approx(rows[1][-1])


def test_tables_of_leads_are_in_points_with_their_verdict() -> None:
    both = made_up_contest()
    first, second = lead_table([both]).rows()
    assert first[:5] == (12, 5, Phase.DECAY, "fixed", 2)
    assert first[5] == (pytest.approx(3.0), pytest.approx(0, abs=1e-9))  # the seeds pair
    assert first[-1] == "more robust"
    assert second[2:5] == (Phase.CATAPULT, "fixed", 0)
    assert second[-1] == "not found"
    [row] = corruption_table({"blur": [Lead(Phase.DECAY, True, 2, 0.02, 0.001, 0.005)]}, 5).rows()
    assert row == ("blur", (2.0, 0.1))


def test_a_text_has_the_numbers_of_the_tables() -> None:
    both = made_up_contest()
    both = replace(both, found={**both.found, SMALL: made_up(0.85, 0.5)})
    said = contest_numbers(both)
    assert said["decay_fixed"] == said["worst"] == "+3.0 ± 0.0"
    assert (said["low"], said["high"], said["level"]) == ("3.0", "3.0", "3.0 ± 0.0")
    assert (said["seeds"], said["worst_where"]) == ("5", "noise, decay, NIN fixed")
    clean, spoilt = zip(*[r.points().mean(0) for r in both.found.values()], strict=True)
    assert said["along"] == f"{stats.pearsonr(clean, spoilt).statistic:.2f}"
    nowhere = replace(both, nins={True: [SMALL]})
    assert "most" not in contest_numbers(nowhere)


# ---- figure


@pytest.fixture
def ax() -> Iterator[Axes]:
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_accuracies_are_drawn_in_per_cent_and_lost_networks_left_out(ax: Axes) -> None:
    both = made_up_contest()
    lost = made_up(0.1, 0.1, Phase.DIVERGENT)
    nins = [*both.of(both.nins[True]), lost]
    peers = {name: both.of(some) for name, some in both.peers.items()}
    draw_frontier(ax, peers | {"weight decay": peers["dropout"]}, {True: nins})
    drawn = {box.get_label(): box.lines[0].get_xydata() for box in ax.containers}
    spread = 100 * made_up(0, 0).points().mean(0)  # of the scatter made up
    assert drawn["dropout"] == pytest.approx(np.array([[90, 50], [90, 52]]) + spread)
    assert drawn["NIN, fixed: decay"] == pytest.approx(np.array([[90, 54], [90, 56]]) + spread)
    assert set(drawn) == {"dropout", "weight decay", "NIN, fixed: decay"}


def test_leads_are_drawn_with_intervals_where_there_are_any(ax: Axes) -> None:
    some = [Lead(Phase.DECAY, False, 1, 0.02, 0.001, 0.005), Lead(Phase.CATAPULT, False, 0, *NAN)]
    alone = [Lead(Phase.DECAY, False, 1, -0.01, 0.0, np.inf), some[1]]
    draw_leads(ax, {"128 units": some, "256 units": alone})
    (first, _, [bar]), (second, _, bars) = (box.lines for box in ax.containers)
    [[(left, row), (right, _)]] = bar.get_segments()
    assert (left, right) == pytest.approx((1.5, 2.5))
    assert first.get_xydata() == pytest.approx(np.array([[2.0, row]]))
    assert second.get_xydata()[0] == pytest.approx((-1.0, row - 0.3))
    assert not bars  # of one seed
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["128 units", "256 units"]
