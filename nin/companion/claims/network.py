"""The claims on how a network's phases come about, tested on the committed runs and borders."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import torch

from nin.companion.claims.finding import Cell, Finding, Verdict
from nin.companion.claims.ledger import SIGMAS, claim
from nin.companion.claims.phase_borders import (
    ACTIVATIONS,
    LOSSES,
    NEAR,
    PREDICTED,
    border_ratios,
)
from nin.companion.claims.table1 import PAGES, SEEDS, SWEEPS, at, sweep, table1_histories
from nin.linear import plane
from nin.linear.model import simulate
from nin.networks.attachment import one_node
from nin.runs.averages import mean
from nin.runs.bisection import find_border
from nin.runs.phases import Phase, classify_phase
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.grid import (
    BEYOND_K,
    BEYOND_SEEDS,
    COARSE,
    DECAY_K,
    DECAY_STEPS,
    FACTORIAL_BASE,
    FACTORIAL_LEVELS,
    FACTORIAL_SEEDS,
    FACTORIAL_STEPS,
    beyond_second_order,
)
from nin.studies.borders.search import ACTIVATIONS_SHELF, PREDICTED_SHELF, find_borders
from nin.studies.borders.second_order import share_of_border
from nin.studies.experiments import FIG3, TABLE1, experiment
from nin.studies.study import images_of

SIMILAR = 2.0
"""Borders of decay are similar within this factor in sigma_eps."""
_FIRST = FACTORIAL_BASE.eta, FACTORIAL_BASE.batch_size, FACTORIAL_BASE.activation


@claim(
    "C1-NET",
    "In a network too, the variance of the noise alone selects one of four phases, in this order.",
    "abstract, Sec. 3",
    f"{PAGES['fig3']}#fig-phase-bar-ce",
)
def four_phases_network() -> Finding:
    """Follow each seed of both losses through its sweep: is the order of phases ever broken?"""
    cells, missing = [], []
    for name in SWEEPS:
        runs, loss = sweep(name), experiment(name).loss
        phases = [
            [classify_phase(h).phase for h in seed] for seed in zip(*runs.values(), strict=True)
        ]
        ordered = [o == sorted(o) for o in ([list(Phase).index(p) for p in row] for row in phases)]
        never = [p for p in Phase if not any(p in row for row in phases)]
        missing += [f"{p} is missing with {LOSSES[loss]}" for p in never]
        strengths = f"{min(runs):g} to {max(runs):g} ({len(runs)})"
        setting = {"figure": name.removeprefix("fig"), "loss": loss, "K": strengths}
        cells.append(Cell.of(setting, ordered, all(ordered) and not never))
    return Finding.over(
        cells,
        "Same weights, same batches, another variance: the phases follow each other in order"
        + (f", but {' and '.join(missing)}." if missing else " and all four occur.")
        if all(c.value == 1 for c in cells)
        else "Phases step back as the noise grows.",
        "share of seeds whose phases are in order at all strengths of a sweep",
    )


@claim(
    "C12-CE",
    "In the network's catapult phase the loss and the NIWs grow while the next layer shrinks; then "
    "training recovers, with a smaller curvature and a slower decay.",
    "Sec. 3, Fig. 3",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def catapult_ce() -> Finding:
    """Compare the runs before, in and after the catapult, and with the decay runs of each seed.

    By Eq. (2) the rate at which |w_ni| decays is eta sigma_eps^2 times a curvature; that of the
    second half of a run, over the noise variance, measures the curvature that is left.
    """
    grew, rose_too, flatter, slower, left = [], [], [], [], []
    for strong, weak in zip(
        table1_histories("fig3", "catapult"), table1_histories("fig3", "decay"), strict=True
    ):
        found = classify_phase(strong)
        grew.append(found.phase == Phase.CATAPULT)
        following, other = (h.norms["layers.1.weight"] for h in (strong, weak))
        rose_too.append(following[strong.w_ni.argmax()] > following[0])
        flatter.append(following[-1] < min(following[0], other[-1]))
        rates = [
            -np.polyfit(h.step[late], np.log(h.w_ni[late]), 1)[0]
            for h in (strong, weak)
            for late in [h.step > h.step[-1] / 2]
        ]
        slower.append(rates[0] / rates[1])
        more_noise = TABLE1["fig3"]["catapult"] / TABLE1["fig3"]["decay"]
        left.append(slower[-1] / more_noise)
    (value, err), (slow, slow_err) = mean(left), mean(slower)
    good = all(grew) and all(flatter) and slow < 1 and value + 3 * err < 1
    setting = at("fig3", TABLE1["fig3"]["catapult"])
    return Finding.over(
        [Cell.of(setting, left, good and not any(rose_too), good)],
        "The loss and the NIWs grow and recover, the next layer ends smaller than it began while "
        f"that of the decay runs grows, and then the NIWs decay at {slow:.2f} ± {slow_err:.2f} of "
        f"the rate of those, in spite of {more_noise:.0f} times the noise variance. "
        + ("But the next layer first rises with the NIWs and falls only as they do." if
           any(rose_too) else "The next layer falls while the NIWs rise.")
        if good
        else "Not all of it is seen in all runs.",
        "late decay rate of |w_ni| per noise variance, catapult runs over decay runs",
        stated=0,
    )  # fmt: skip


@claim(
    "C15",
    "A network that is not linear may also diverge because the loss to second order in the noise "
    "is no good approximation any more.",
    "Sec. 3",
    f"{ACTIVATIONS}#fig-activations-beyond",
)
def second_order() -> Finding:
    """Ask at each border of divergence whether the second order alone would diverge there."""
    shares = share_of_border(
        beyond_second_order(), BEYOND_SEEDS, FACTORIAL_STEPS, ACTIVATIONS_SHELF,
        K=BEYOND_K, tolerance=COARSE,
    )  # fmt: skip
    cells = []
    early: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for e, each in shares.items():
        value, err = mean(each)
        before = value + SIGMAS * err < 1
        setting = {"activation": e.activation, "loss": e.loss, "N_w": e.width, "eta": e.eta}
        cells.append(Cell.of(setting, each, before))
        name = f"{e.activation} with {LOSSES[e.loss]}"
        early[before].setdefault(name, []).append(value)
    ranges = {
        before: ", ".join(f"{name} {_range(v)}" for name, v in found.items())
        for before, found in early.items()
    }
    return Finding.over(
        cells,
        "Some networks do. Divergence begins at these shares of the linear model's border: "
        f"{ranges[True]}; not clearly before it: {ranges[False]}."
        if ranges[True]
        else f"None diverges before the second order would: {ranges[False]} times the linear "
        "model's border.",
        "curvature of the loss to second order in the noise where training begins to diverge, over "
        "the linear model's border; the value is the smallest cell's",
        value=min(c.number for c in cells),
        stated=0,
        may=True,
    )


@claim(
    "C21-NET",
    "The decoupled and the decay phase lie at similar noise in the linear model and in networks; "
    "the borders above them move.",
    "Sec. 3",
    f"{PREDICTED}#fig-borders-units",
)
def scaled_borders() -> Finding:
    """Compare borders with what the linear model's rules say: half-lives, and curvature 4."""
    cells = []
    linear = {steps: linear_decay_border(steps) for steps in DECAY_STEPS}
    for loss, steps in itertools.product(FACTORIAL_LEVELS["loss"], DECAY_STEPS):
        e = dataclasses.replace(FACTORIAL_BASE, loss=loss)
        said = forecast(e, FACTORIAL_SEEDS, FACTORIAL_STEPS, PREDICTED_SHELF)
        found = find_borders(
            [e], ["decay"], FACTORIAL_SEEDS, steps, PREDICTED_SHELF, K=DECAY_K, tolerance=COARSE,
            around={e: said.decay(steps)},
        )  # fmt: skip
        off = found[e]["decay"] / said.decay(steps)
        setting = {"border": "decay", "loss": loss, "N_w": e.width, "depth": e.depth}
        setting |= {"steps": steps}
        similar = 1 / SIMILAR < off.mean() / linear[steps] < SIMILAR
        cells.append(Cell.of(setting, off, similar))
    lower = list(cells)
    upper: dict[str, list[float]] = {}
    for e, off in border_ratios("curvature", "divergent").items():
        if (e.eta, e.batch_size, e.activation) == _FIRST:
            setting = {"border": "divergent", "loss": e.loss, "N_w": e.width, "depth": e.depth}
            setting |= {"steps": FACTORIAL_STEPS}
            moved = bool((abs(np.log(off)) > np.log(NEAR)).all())
            cells.append(Cell.of(setting, 1 / off, moved))
            name = f"{LOSSES[e.loss]}, depth {e.depth}"
            upper.setdefault(name, []).append(float(np.mean(1 / off)))
    return Finding.over(
        cells,
        f"The linear model's own border of decay is {_range(list(linear.values()))} times the "
        f"predicted one, the networks' {_range([c.value for c in lower])} times. That of "
        "divergence, predicted where the curvature is 4, is at these multiples of it: "
        f"{'; '.join(f'{name}: {_range(v)}' for name, v in upper.items())}.",
        "measured over predicted noise strength, in sigma_eps; the value is that of decay, mean "
        "over cells",
        value=(
            float(np.mean([c.value for c in lower])),
            float(np.mean([c.err for c in lower])),
            min(c.n for c in lower),
        ),
    )


def _range(values: list[float]) -> str:
    low, high = (f"{f(values):.3g}" for f in (min, max))
    return low if low == high else f"{low} to {high}"


def linear_decay_border(steps: int) -> float:
    """Return where half of |w_NI| is left in the linear model, over what its initial rate says.

    Args:
        steps: Length of the runs.

    Returns:
        The median over 400 draws of initial weights.
    """
    n = 400
    start = plane.draw_start("A", n, seed=13)
    said = np.sqrt(np.log(2) / (plane.ETA * start["w1"] ** 2 * steps))

    def half_gone(unit: np.ndarray) -> np.ndarray:
        run = simulate(
            **start, sigma_eps=unit * said, eta=plane.ETA, batch_size=1000, steps=steps, seed=7
        )
        return np.asarray(abs(run.u[-1]) < abs(run.u[0]) / 2)

    return float(np.median(find_border(half_gone, 0.05, 20, seeds=n, tolerance=0.01).values))


@claim(
    "C31",
    "Loss and accuracy on test data are taken with the noise switched off.",
    "App. B",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def noise_off() -> Finding:
    """Measure what the noise would change, and refuse an evaluation that is not blind to it.

    The clean loss of a record's step 0 is computed again here, by a network without noise weights.
    Later, the noisy accuracy of batches stands beside the clean one.
    """
    early: list[float] = []
    lost: list[float] = []
    histories = table1_histories("fig3", "catapult")
    e = FIG3.at(TABLE1["fig3"]["catapult"], seed=SEEDS["fig3"][0])
    model, data = e.network(), images_of(e)
    with torch.no_grad():
        one_node(model)[1].w_ni.zero_()
        total = e.criterion().values(model(data.train_x), data.train_y).mean()
    if abs(float(total) / histories[0].train_loss[0] - 1) > 1e-5:  # float32 sums
        raise ArithmeticError("our clean loss depends on the noise weights")
    for h in histories:
        for steps, gap in ((h.steps_per_epoch, early), (h.step[-1], lost)):
            near = (h.step > 0.8 * steps) & (h.step <= steps)
            clean = np.interp(h.step[near], h.eval_step, h.train_accuracy)
            gap.append(float((clean - h.accuracy[near]).mean()))
    found = Finding.over(
        [Cell.of(at("fig3", TABLE1["fig3"]["catapult"]), lost, holds=True)],
        "Here too, exactly. It matters while the NIWs are large: at the end of the first epoch of "
        f"the catapult runs the noise costs {np.mean(early):.2f} of accuracy, at the end of "
        "training a little.",
        "training accuracy with the noise off minus on, end of the catapult runs",
        stated=0,
    )
    return dataclasses.replace(found, verdict=Verdict.PROTOCOL)
