"""The claims on how a network's phases come about, tested on the committed runs and borders."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from nin.companion.claims.ledger import Finding, Verdict, claim
from nin.companion.claims.phase_borders import factorial_borders, factors_off
from nin.companion.claims.table1 import PAGES, SEEDS, table1_histories
from nin.linear import plane
from nin.linear.model import simulate
from nin.networks.attachment import one_node
from nin.runs.averages import mean, middle
from nin.runs.bisection import find_border
from nin.runs.phases import Phase, classify_phase
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.grid import (
    COARSE,
    DECAY_K,
    DECAY_STEPS,
    FACTORIAL_BASE,
    FACTORIAL_LEVELS,
    FACTORIAL_SEEDS,
    FACTORIAL_STEPS,
)
from nin.studies.borders.prediction import second_order_curvature
from nin.studies.borders.search import BORDERS_SHELF, find_borders
from nin.studies.experiments import FIG3, TABLE1, experiment
from nin.studies.run import recorded
from nin.studies.study import images
from nin.theory import noise_map

PAGE = "figures/network_borders"
SWEEPS = {
    "fig2": (1e-4, 0.1, 1, 5, 10, 15, 20, 25, 30, 35, 38, 40, 42, 44, 47, 50, 60),
    "fig3": (1e-4, 1e-3, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.8, 2.5),
}
"""Noise variances, in Table 1's unit, of the sweeps on the pages of the two figures."""
SWEEP_SEEDS, SWEEP_EPOCHS = (0, 1, 2), 5
LAMBDA_DIV = float(noise_map.LAMBDA_DIV)


@claim(
    "C1-NET",
    "In a network too, the variance of the noise alone selects one of four phases, in this order.",
    "abstract, Sec. 3",
    PAGES["fig3"],
)
def four_phases_network() -> Finding:
    """Follow each seed of both losses through its sweep: is the order of phases ever broken?"""
    ordered, missing = [], []
    for name, strengths in SWEEPS.items():
        base = dataclasses.replace(experiment(name), epochs=SWEEP_EPOCHS, evaluations=1)
        seen: set[Phase] = set()
        for seed in SWEEP_SEEDS:
            runs = recorded([base.at(K, seed=seed) for K in strengths], PAGES[name])
            phases = [classify_phase(h).phase for h in runs]
            ordered.append([list(Phase).index(p) for p in phases])
            seen |= set(phases)
        loss = {"mse": "the squared error", "ce": "cross-entropy"}[base.loss]
        missing += [f"{p} is missing with {loss}" for p in Phase if p not in seen]
    share, err = mean([o == sorted(o) for o in ordered])
    good = share > 0.9
    return Finding(
        Verdict.DIFFERS if not good else Verdict.CORRECTED if missing else Verdict.REPRODUCED,
        "Same weights, same batches, another variance: the phases follow each other in order"
        + (f", but {' and '.join(missing)}." if missing else " and all four occur.")
        if good
        else "Phases step back as the noise grows.",
        share,
        err,
        len(ordered),
        "share of seeds whose phases are in order at all strengths of a sweep, both losses",
    )


@claim(
    "C12-CE",
    "In the network's catapult phase the loss and the NIWs grow while the next layer shrinks; then "
    "training recovers, with a smaller curvature and a slower decay.",
    "Sec. 3, Fig. 3",
    PAGES["fig3"],
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
    value, err = mean(left)
    good = all(grew) and all(flatter) and np.mean(slower) < 1 and value + 3 * err < 1
    return Finding(
        Verdict.DIFFERS if not good else Verdict.CORRECTED if any(rose_too) else
        Verdict.REPRODUCED,
        "The loss and the NIWs grow and recover, the next layer ends smaller than it began while "
        f"that of the decay runs grows, and then the NIWs decay at {np.mean(slower):.2f} of the "
        f"rate of those, in spite of {more_noise:.0f} times the noise variance. "
        + ("But the next layer first rises with the NIWs and falls only as they do." if
           any(rose_too) else "The next layer falls while the NIWs rise.")
        if good
        else "Not all of it is seen in all runs.",
        value,
        err,
        len(left),
        "late decay rate of |w_ni| per noise variance, catapult runs over decay runs",
    )  # fmt: skip


@claim(
    "C15",
    "A network that is not linear may also diverge because the loss to second order in the noise "
    "is no good approximation any more.",
    "Sec. 3",
    PAGE,
)
def second_order() -> Finding:
    """Ask at each measured border of divergence whether the second order alone would diverge."""
    ratios: dict[str, list[float]] = {}
    for e, borders in factorial_borders().items():
        for seed, sigma_eps in zip(FACTORIAL_SEEDS[:1], borders["divergent"], strict=False):
            if np.isfinite(sigma_eps):
                start = dataclasses.replace(e, seed=seed)
                data = images(e.scaling, e.split_seed)
                lam = second_order_curvature(start, sigma_eps, data, n=200)
                ratios.setdefault(e.loss, []).append(lam / LAMBDA_DIV)
    every = [r for rs in ratios.values() for r in rs]
    early, err = mean([r < 1 - 2 * COARSE for r in every])  # lambda goes as sigma_eps squared
    ranges = " and ".join(
        f"{min(rs):.2g} to {max(rs):.3g} times it for {loss}" for loss, rs in ratios.items()
    )
    return Finding(
        Verdict.REPRODUCED if early else Verdict.DIFFERS,
        "Some networks diverge where the second order alone would not."
        if early
        else "Not seen: none diverges before the curvature of the second order passes the linear "
        f"model's border; it stands at {ranges}. Where the second order breaks down, for "
        "cross-entropy, it saves the network.",
        early,
        err,
        len(every),
        "share of configurations that diverge where the second order alone does not",
    )


@claim(
    "C21-NET",
    "The decoupled and the decay phase lie at similar noise in the linear model and in networks; "
    "the borders above them move.",
    "Sec. 3",
    PAGE,
)
def scaled_borders() -> Finding:
    """Compare borders in units of the linear model's: of its decay, and of its divergence."""
    lower = []
    for loss in FACTORIAL_LEVELS["loss"]:
        e = dataclasses.replace(FACTORIAL_BASE, loss=loss)
        said = forecast(e, FACTORIAL_SEEDS, FACTORIAL_STEPS, BORDERS_SHELF)
        for steps in DECAY_STEPS:
            found = find_borders(
                [e], ["decay"], FACTORIAL_SEEDS, steps, BORDERS_SHELF, K=DECAY_K, tolerance=COARSE
            )
            lower.append(middle(found[e]["decay"])[0] / middle(said.decay(steps))[0])
    linear = [linear_decay_border(steps) for steps in DECAY_STEPS]
    value, err = mean(lower)
    upper = {x: float(np.median(factors_off("curvature", "divergent", x))) for x in ("mse", "ce")}
    similar = max(lower) < 2 * max(linear)
    moved = [x for x, factor in upper.items() if factor > max(lower)]
    if not similar:
        verdict = Verdict.DIFFERS
    else:
        verdict = Verdict.REPRODUCED if len(moved) == len(upper) else Verdict.CORRECTED
    return Finding(
        verdict,
        f"The linear model's own border of decay is {min(linear):.2f} to {max(linear):.2f} times "
        f"the one said, the networks' {min(lower):.2f} to {max(lower):.2f} times. In this sense "
        f"divergence is {upper['mse']:.2f} times off for the squared error and {upper['ce']:.2f} "
        "times for cross-entropy.",
        value,
        err,
        len(lower),
        "measured over said noise strength at which half of |w_ni| is left, two losses and lengths",
    )


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
    PAGES["fig3"],
)
def noise_off() -> Finding:
    """Check that evaluation is blind to the noise, and measure what the noise would change.

    The clean loss of a record's step 0 is computed again here, by a network without noise weights.
    Later, the noisy accuracy of batches stands beside the clean one.
    """
    early: list[float] = []
    lost: list[float] = []
    histories = table1_histories("fig3", "catapult")
    e = FIG3.at(TABLE1["fig3"]["catapult"], seed=SEEDS["fig3"][0])
    model, data = e.network(), images(e.scaling, e.split_seed)
    with torch.no_grad():
        one_node(model)[1].w_ni.zero_()
        total = e.criterion().values(model(data.train_x), data.train_y).mean()
    blind = abs(float(total) / histories[0].train_loss[0] - 1) < 1e-5  # float32 sums
    for h in histories:
        for steps, gap in ((h.steps_per_epoch, early), (h.step[-1], lost)):
            near = (h.step > 0.8 * steps) & (h.step <= steps)
            clean = np.interp(h.step[near], h.eval_step, h.train_accuracy)
            gap.append(float((clean - h.accuracy[near]).mean()))
    return Finding.of(
        Verdict.REPRODUCED if blind else Verdict.DIFFERS,
        "Here too, exactly. It matters while the NIWs are large: at the end of the first epoch of "
        f"the catapult runs the noise costs {np.mean(early):.2f} of accuracy, at the end of "
        "training a little."
        if blind
        else "Our clean loss depends on the noise.",
        lost,
        "training accuracy with the noise off minus on, end of the catapult runs",
    )
