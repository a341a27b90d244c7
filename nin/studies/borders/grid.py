"""The configurations whose borders the book measures: Table 1, its open choices, a factorial."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nin.studies.experiments import FIG2, TABLE1, Experiment

TABLE1_SEEDS = tuple(range(10))
TABLE1_STEPS = {"fig2": 42, "fig3": 84}
"""Two epochs for cross-entropy, one for the squared error, whose catapults are over sooner."""
TABLE1_K = {"mse": (5.0, 200.0), "ce": (0.2, 3.0)}
"""Where the borders of Table 1's runs are looked for, at the paper's width."""

CHOICES: dict[str, dict[str, Any]] = {
    "as in the experiments": {},
    "half of the mean": {"mse_norm": "half_mean"},
    "half of the sum": {"mse_norm": "half_sum"},
    "sum": {"mse_norm": "sum"},
    "inputs over their variance": {"scaling": "variance"},
    "each pixel by its own std": {"scaling": "pixel"},
    "NIWs of unit variance": {"niw_fan_in": "node"},
    "NIWs of variance 1/N_w": {"niw_fan_in": "width"},
    "no biases": {"bias": False},
    "truncated normal weights": {"init": "truncated"},
    "uniform noise": {"noise": "uniform"},
    "noise of two values": {"noise": "rademacher"},
    "fixed noise": {"fixed": True},
}
"""What the paper leaves open, as changes of an `Experiment`."""

COMBINATIONS: dict[str, dict[str, Any]] = {
    "variance, two values": {"scaling": "variance", "noise": "rademacher"},
    "variance, truncated": {"scaling": "variance", "init": "truncated"},
    "variance, trunc., two v.": {"scaling": "variance", "init": "truncated", "noise": "rademacher"},
    "own std, two values": {"scaling": "pixel", "noise": "rademacher"},
    "own std, truncated": {"scaling": "pixel", "init": "truncated"},
}
"""Choices together: one that opens the catapult window or not, and what may lift its upper end."""

FACTORIAL_BASE = dataclasses.replace(FIG2, width=512, batch_size=128)
"""Half of the paper's width and an eighth of its batch, so that two cores suffice."""
FACTORIAL_STEPS, FACTORIAL_SEEDS = 84, (0, 1, 2)
FACTORIAL_LEVELS: dict[str, list[Any]] = {
    "width": [128, 512, 1024],
    "eta": [0.003, 0.01, 0.03],
    "batch_size": [32, 128],
    "depth": [1, 2, 3],
    "activation": ["relu", "tanh", "gelu", "softplus"],
    "loss": ["mse", "ce"],
}
DECAY_STEPS, DECAY_K = (84, 210), (0.001, 100.0)
"""Run lengths for the border of decoupled and decay, and where to look for it in Table 1's unit."""
BOUNDED_SIGMA_EPS = (3.0, 10.0, 30.0, 60.0, 100.0, 200.0, 300.0, 1000.0, 3000.0)
"""Where bounded activations are compared with ReLU: its borders, and far to either side."""
BOUNDED_EPOCHS, BOUNDED_LONG = (1, 5), 3
"""Lengths of those runs; the longer ones at the strongest few strengths only."""
IMAGES_BASE = dataclasses.replace(FIG2, width=256, batch_size=100)
"""A layer whose borders are to be compared with the closed forms."""
IMAGES_ETAS = (0.003, 0.01, 0.03)
"""In turn along the grid of the squared error, so that sigma_eps spans two decades."""
IMAGES_K = (0.005, 2000.0)
"""Where a search from the closed form ends at the latest, whatever the loss."""
BEYOND_ACTIVATIONS = ("relu", "gelu", "softplus", "relu_squared", "square")
"""Of the networks whose second order is asked at their border of divergence: three that grow
linearly, and two that grow faster."""
BEYOND_ETA = {512: 0.003, 256: 0.001}
"""Their learning rates by width: with these, all of them are stable without noise."""
BEYOND_SEEDS, BEYOND_K = (0, 1, 2, 3, 4), {"mse": (0.05, 500.0), "ce": (0.005, 50.0)}
PARTS_ETA, PARTS_K = (0.01, 0.03), (0.15, 2.5)
"""Learning rates at which it is asked what the images do to cross-entropy, and where to look."""
FINE, COARSE = 0.025, 0.03
"""Tolerances in sigma_eps, of Table 1's borders and of the others; brackets end narrower."""


def choice(words: str) -> dict[str, Any]:
    """Return the changes behind a choice of `CHOICES` or `COMBINATIONS`.

    Raises:
        ValueError: If there is none of that name.
    """
    known = CHOICES | COMBINATIONS
    if words not in known:
        raise ValueError(f"no choice {words!r}; there are: {', '.join(known)}")
    return known[words]


def table1_range(e: Experiment) -> tuple[float, float]:
    """Return where to look for the borders of Table 1's runs at any width: `TABLE1_K`, scaled.

    For the squared error a narrow network's borders lie at smaller K, about as its width.

    Args:
        e: The experiment.
    """
    scale = e.width / FIG2.width if e.loss == "mse" else 1.0
    low, high = TABLE1_K[e.loss]
    return low * scale, high * scale


def factorial(
    base: Experiment, levels: Mapping[str, Sequence[object]], full: bool = False
) -> list[Experiment]:
    """Return variations of an experiment, each once.

    Args:
        base: The experiment.
        levels: Values by field.
        full: Whether to combine all values of all fields; else each field is varied alone, for
            each loss.

    >>> levels = {"width": [512, 1024], "depth": [1, 2, 3], "loss": ["mse", "ce"]}
    >>> len(factorial(FIG2, levels)), len(factorial(FIG2, levels, full=True))
    (8, 12)
    """
    if full:
        groups = [tuple(levels)]
    else:
        loss = ("loss",) if "loss" in levels else ()
        groups = [(f, *loss) for f in levels if f != "loss"] or [loss]
    found = [
        dataclasses.replace(base, **dict(zip(group, values, strict=True)))  # type: ignore[arg-type]
        for group in groups
        for values in itertools.product(*(levels[f] for f in group))
    ]
    return list(dict.fromkeys(found))


def with_images(base: Experiment) -> list[Experiment]:
    """Return the networks whose borders are compared with closed forms, for both losses.

    Args:
        base: What they share.

    >>> len(with_images(IMAGES_BASE))
    33
    """
    mse, ce = (dataclasses.replace(base, loss=loss) for loss in ("mse", "ce"))
    sizes = {"width": [32, 128, 512, 1024], "d_in": [49, 784], "d_out": [2, 10]}
    squares = [
        dataclasses.replace(e, eta=IMAGES_ETAS[i % len(IMAGES_ETAS)])
        for i, e in enumerate(factorial(mse, sizes, full=True))
    ]
    classes = factorial(ce, {"d_out": [2, 5, 10], "eta": [0.005, 0.01, 0.02, 0.04]}, full=True)
    others = {"width": [64, 1024], "d_in": [49], "batch_size": [500]}
    return list(dict.fromkeys([
        *squares, dataclasses.replace(mse, batch_size=500), *classes,
        *factorial(dataclasses.replace(ce, d_out=10), others),
    ]))  # fmt: skip


def before_divergence(base: Experiment) -> list[Experiment]:
    """Return the networks whose surge and catapult are compared with closed forms, for both losses.

    Those with the squared error are among `with_images`; those with cross-entropy reach down to
    learning rates at which the outputs are saturated.

    Args:
        base: What they share.

    >>> len(before_divergence(IMAGES_BASE))
    12
    """
    squares = [e for e in with_images(base) if e.loss == "mse" and e.d_in == base.d_in]
    squares = [e for e in squares if e.width in (32, 128, 512)]
    ce = dataclasses.replace(base, loss="ce")
    return squares + factorial(ce, {"d_out": [2, 10], "eta": [0.0005, 0.005, 0.04]}, full=True)


OTHER_KINDS: dict[str, dict[str, Any]] = {
    "as above": {},
    "GELU": {"activation": "gelu"},
    "softplus": {"activation": "softplus"},
} | {
    words: CHOICES[words]
    for words in ("NIWs of unit variance", "NIWs of variance 1/N_w", "truncated normal weights")
}
"""Activations that are a ReLU on the scale of strong noise, and other initial weights."""


def of_other_kinds(base: Experiment) -> dict[tuple[str, str], Experiment]:
    """Return networks of `OTHER_KINDS` by kind and loss; two classes for cross-entropy.

    Args:
        base: What they share.
    """
    losses = {"mse": base, "ce": dataclasses.replace(base, loss="ce", d_out=2)}
    return {
        (kind, loss): dataclasses.replace(e, **changes)
        for loss, e in losses.items()
        for kind, changes in OTHER_KINDS.items()
    }


DEEP_WIDTHS, DEEP_ETAS = (128, 256, 512), (0.0025, 0.01, 0.04)
"""Of the networks of two and three layers: all learning rates at the first width only."""
DEEP_SEEDS = tuple(range(6))
DEEP_ETA_AT = {256: 0.02}
"""Learning rates at other widths that are not the base's."""


def deeper(base: Experiment, widths: Sequence[int] = DEEP_WIDTHS) -> list[Experiment]:
    """Return the networks of two and three layers of which it is asked where they are lost.

    Args:
        base: What they share.
        widths: N_w; at all but the first there is one learning rate, the base's or `DEEP_ETA_AT`.

    >>> len(deeper(IMAGES_BASE))
    10
    """
    etas = {width: [DEEP_ETA_AT.get(width, base.eta)] for width in widths}
    etas[widths[0]] = list(DEEP_ETAS)
    return [
        dataclasses.replace(base, loss="ce", width=width, depth=depth, eta=eta)
        for width in widths
        for depth in (2, 3)
        for eta in etas[width]
    ]


def beyond_second_order() -> list[Experiment]:
    """Return the networks whose second order is asked at their border of divergence."""
    return [
        dataclasses.replace(FACTORIAL_BASE, width=width, eta=eta, activation=activation, loss=loss)
        for width, eta in BEYOND_ETA.items()
        for loss in FACTORIAL_LEVELS["loss"]
        for activation in BEYOND_ACTIVATIONS
    ]


def parts_grid() -> list[Experiment]:
    """Return the networks of which it is asked what the images do."""
    return [dataclasses.replace(FACTORIAL_BASE, loss="ce", eta=eta) for eta in PARTS_ETA]


def agreement(borders: Mapping[str, np.ndarray], base: Experiment, name: str) -> dict[str, float]:
    """Return the share of seeds for which each value of Table 1 lies in the phase it is given.

    Args:
        borders: sigma_eps, (seeds,), by the phase that begins there: ``"catapult"`` and
            ``"divergent"`` at least; without ``"decay"``, decoupled and decay count as one.
        base: The experiment they are of.
        name: ``"fig2"`` or ``"fig3"``.
    """
    order = [p for p in ("decay", "catapult", "divergent") if p in borders]
    edges = [np.zeros(1), *(borders[p] ** 2 / base.unit for p in order), np.full(1, np.inf)]
    names = ["decoupled", *order] if "decay" in borders else ["decay", *order]
    shares = {}
    for low, high, phase in zip(edges[:-1], edges[1:], names, strict=True):
        K = TABLE1[name][phase]
        shares[phase] = float(np.mean((low < K) & (high > K)))
    return shares
