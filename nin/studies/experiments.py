"""The paper's experiments as data (App. B, Table 1); each unstated choice is a named field."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nin.networks.attachment import NOISE_LAWS, attach
from nin.networks.data import BLOCKS, CLASSES, N_TRAIN, SCALINGS, SIDE
from nin.networks.losses import Loss
from nin.networks.models import ACTIVATIONS, INITS, MLP
from nin.networks.training import PRECISIONS
from nin.studies.records import record_key

MOST = {"sigma_eps": 3e38, "epochs": 10**6, "depth": 1000, "evaluations": 10_000}
"""What has a use at most: float32 ends there, and a slip of the hand begins."""
MOST_WEIGHTS = 10**9
"""Of one network: 4 GB in float32, and training holds them three times."""


@dataclass(frozen=True)
class Experiment:
    """One run of a Fashion-MNIST MLP with a NIN; vary one by `dataclasses.replace`.

    Attributes:
        sigma_eps: Standard deviation of the injected noise, >= 0.
        seed: Of the initial weights, the batches and the noise.
        loss: ``"ce"`` or ``"mse"``.
        eta: Learning rate.
        batch_size: Samples per step.
        epochs: Passes over the training set. Not stated; as many as a figure needs.
        depth: Hidden layers.
        width: N_w, their neurons.
        activation: Not linear in the paper: ``"relu"`` everywhere but footnote 7.
        layer: Layer that the NIN is wired to. The first, as in Sec. 3 and Fig. 3's caption.
        fixed: Whether each sample keeps one eps, in place of a new one each epoch.
        noise: Law of eps. Gaussian is Sec. 2's example.
        bias: Whether biases, which start at 0 (App. B), are trained. The libraries' default.
        init: Law of the initial weights; App. B says normal.
        niw_fan_in: Fan-in of the NIWs, initially N(0, 1/fan-in): ``"layer"``, the NIN counted as
            one more input among d_l; ``"node"``, the NIN's own single input; or ``"width"``, N_w,
            which a library takes for the fan-in of weights of shape (1, N_w).
        mse_norm: Normalisation of the squared error; see `nin.networks.losses.Loss`.
        scaling: Of the pixels: ``"std"`` or, as printed, ``"variance"``; see `data.scale`.
        split_seed: Of the 60/40 split, the same for all runs.
        d_in: Inputs per image: 784 pixels, or the means of 196 or 49 blocks of them.
        d_out: C, classes: the first so many of Fashion-MNIST's ten, and their images alone.
        precision: ``"float32"``, or ``"bf16"`` products.
        evaluations: Clean evaluations per decade of steps; measuring does not change the run.

    Raises:
        ValueError: If a field has the wrong type, range or name.
    """

    ALWAYS_IN_KEY: ClassVar[frozenset[str]] = frozenset(
        "sigma_eps seed loss eta batch_size epochs depth width activation layer fixed noise bias "
        "init niw_fan_in mse_norm scaling split_seed precision evaluations".split()
    )  # those of the first records; a field that is added later stays out at its default

    sigma_eps: float = 0.0
    seed: int = 0
    loss: str = "ce"
    eta: float = 0.01
    batch_size: int = 1000
    epochs: int = 150
    depth: int = 1
    width: int = 1024
    activation: str = "relu"
    layer: str = "layers.0"
    fixed: bool = False
    noise: str = "gaussian"
    bias: bool = True
    init: str = "normal"
    niw_fan_in: str = "layer"
    mse_norm: str = "mean"
    scaling: str = "std"
    split_seed: int = 0
    precision: str = "float32"
    evaluations: int = 10
    d_in: int = SIDE**2
    d_out: int = CLASSES

    def __post_init__(self) -> None:  # noqa: D105
        for field in dataclasses.fields(self):
            value = check_type(field.name, getattr(self, field.name), str(field.type))
            object.__setattr__(self, field.name, value)
        _check_ranges(self)
        _check_names(self)

    @property
    def unit(self) -> float:
        """Table 1's unit of sigma_eps**2: d_in/eta, for the squared error d_in/(N_w eta)."""
        return self.d_in / self.eta / (self.width if self.loss == "mse" else 1)

    @property
    def K(self) -> float:  # noqa: N802  (the book's symbol)
        """The noise variance sigma_eps**2 in Table 1's unit."""
        return self.sigma_eps**2 / self.unit

    def at(self, K: float, **changes: object) -> Experiment:
        """Return the experiment at a noise variance given in Table 1's unit.

        >>> FIG3.at(1.8).sigma_eps ** 2 * FIG3.eta / 784
        1.8
        """
        base = dataclasses.replace(self, **changes)  # type: ignore[arg-type]
        if not (isinstance(K, int | float) and math.isfinite(K) and K >= 0):
            raise ValueError(
                f"K, a noise variance in Table 1's unit, must be a finite number >= 0, not {K!r}"
            )
        return dataclasses.replace(base, sigma_eps=math.sqrt(K * base.unit))

    @property
    def key(self) -> str:
        """What identifies the run: 16 hexadecimal digits of its configuration's hash."""
        return record_key(self)

    @property
    def n_train(self) -> int:
        """Training images."""
        return N_TRAIN * self.d_out // CLASSES

    @property
    def steps_per_epoch(self) -> int:
        """SGD steps of an epoch; the last, smaller batch counts."""
        return -(-self.n_train // self.batch_size)

    def network(self) -> MLP:
        """Return the untrained network with its node attached."""
        model = MLP(
            self.d_in, self.width, self.depth, self.d_out, self.activation, self.bias, self.init,
            self.seed,
        )  # fmt: skip
        attach(
            model,
            self.layer,
            self.sigma_eps,
            noise=self.noise,
            fixed=self.fixed,
            init_std={"layer": None, "node": 1.0, "width": self.width**-0.5}[self.niw_fan_in],
            seed=self.seed,
        )
        return model

    def criterion(self) -> Loss:
        """Return the loss."""
        return Loss(self.loss, self.mse_norm)


def experiment(name: str) -> Experiment:
    """Return an experiment of the paper by name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {sorted(EXPERIMENTS)}, not {name!r}")
    return EXPERIMENTS[name]


def longer(e: Experiment) -> Experiment:
    """Return the run of Fig. 1 (center) of which a run is the beginning, or the run itself.

    >>> longer(FIG1_RIGHT.at(0.1)).epochs, longer(FIG1_RIGHT.at(1.8)).epochs
    (100, 60)
    """
    whole = dataclasses.replace(e, epochs=FIG1_CENTER.epochs, evaluations=FIG1_CENTER.evaluations)
    center = [FIG1_CENTER.at(K, fixed=e.fixed, seed=e.seed) for K in FIG1_CENTER_K]
    return whole if e.epochs < whole.epochs and whole in center else e


def strengths(base: Experiment, K: list[float], sigma_eps: list[float]) -> list[Experiment]:
    """Return an experiment at several noise strengths.

    Args:
        base: The experiment.
        K: Noise variances in Table 1's unit.
        sigma_eps: Standard deviations; if there are any, they take the place of `K`.
    """
    if sigma_eps:
        return [dataclasses.replace(base, sigma_eps=s) for s in sigma_eps]
    return [base.at(k) for k in K]


def check_type(name: str, value: object, annotation: str) -> object:
    """Return a value if it is of the annotated type; NumPy's numbers are plain ones.

    Args:
        name: What to call it in the message.
        value: What came.
        annotation: ``"int"``, ``"float"``, ``"bool"``, ``"str"``, or ``"list[...]"`` of these.

    Raises:
        ValueError: If it is of another type.

    >>> check_type("seeds", "0, 1", "list[int]")
    Traceback (most recent call last):
    ValueError: seeds must be of type list[int], not '0, 1', a str
    """
    if annotation.startswith("list[") and isinstance(value, list | tuple):
        return [check_type(f"each of {name}", v, annotation[5:-1]) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    if annotation == "float" and type(value) is int:
        return float(value)
    if annotation != type(value).__name__:
        raise ValueError(
            f"{name} must be of type {annotation}, not {value!r}, a {type(value).__name__}"
        )
    return value


def _check_names(e: Experiment) -> None:
    allowed = {
        "activation": sorted(ACTIVATIONS),
        "noise": sorted(NOISE_LAWS),
        "init": INITS,
        "niw_fan_in": ("layer", "node", "width"),
        "scaling": SCALINGS,
        "precision": PRECISIONS,
        "d_in": tuple(BLOCKS),
        "layer": [f"layers.{i}" for i in range(e.depth + 1)],
    }
    for name, choices in allowed.items():
        if getattr(e, name) not in choices:
            raise ValueError(f"{name} must be one of {list(choices)}, not {getattr(e, name)!r}")
    e.criterion()


def _check_ranges(e: Experiment) -> None:
    if not (math.isfinite(e.sigma_eps) and e.sigma_eps >= 0):
        raise ValueError(f"sigma_eps must be finite and >= 0, not {e.sigma_eps}")
    if not (math.isfinite(e.eta) and e.eta > 0):
        raise ValueError(f"eta must be finite and > 0, not {e.eta}")
    if not math.isfinite(e.d_in / e.eta):
        raise ValueError(f"eta must be at least 1e-300, not {e.eta}: d_in/eta is not finite")
    for name in ("epochs", "depth", "width", "batch_size", "evaluations"):
        if getattr(e, name) < 1:
            raise ValueError(f"{name} must be >= 1, not {getattr(e, name)}")
    for name, most in MOST.items():
        if getattr(e, name) > most:
            raise ValueError(f"{name} must be at most {most:g}, not {getattr(e, name):g}")
    if not -(2**63) <= e.split_seed < 2**63:  # what a generator takes
        raise ValueError(f"split_seed must be a number of 64 bits, not {e.split_seed}")
    if not 2 <= e.d_out <= CLASSES:
        raise ValueError(f"d_out must be 2 to {CLASSES}, not {e.d_out}")
    weights = e.width * (e.d_in + (e.depth - 1) * e.width + e.d_out)
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"width {e.width} and depth {e.depth} make {weights:.3g} weights; this trains networks "
            f"of at most {MOST_WEIGHTS:.0e}"
        )
    if e.batch_size > e.n_train:
        raise ValueError(
            f"batch_size must be at most {e.n_train}, the training set, not {e.batch_size}"
        )


FIG1 = Experiment(eta=0.05, batch_size=128, depth=3)
"""Fig. 1, center and right. The noise variance and the epochs are not stated."""
FIG1_CENTER = FIG1.at(0.01, epochs=100)
"""Fig. 1, center: a strength within the decay phase, and epochs enough to fit all images."""
FIG1_CENTER_K = (0.01, 0.1, 0.5)
"""Strengths within that phase, of which the paper does not say which it shows."""
FIG1_RIGHT = dataclasses.replace(FIG1, epochs=60, evaluations=4)
"""Fig. 1, right: strengths over the four phases, two kinds of NIN, several seeds."""
FIG1_RIGHT_K = (1e-4, 1e-3, 3e-3, 0.01, 0.05, 0.1, 0.5, 0.9, 1.3, 1.8, 2.2, 2.7)
"""Its strengths; those of the center are there with the first epochs of its runs; see `longer`."""
FIG1_SWEEP = dataclasses.replace(FIG1_RIGHT, epochs=3, precision="bf16")
"""The same at more strengths for fewer epochs, with products in bfloat16."""
FIG1_SWEEP_K = (1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.1, 1.3,
                1.5, 1.8, 2.2, 2.7)  # fmt: skip
FIG2 = Experiment(loss="mse", epochs=100)
"""Fig. 2, bottom. Its catapults are over in ten steps: fewer epochs than Fig. 3 show the rest."""
FIG3 = Experiment(loss="ce")
"""Fig. 3. One hidden layer by its caption and App. B; App. A says three layers."""
EXPERIMENTS = {"fig1": FIG1, "fig2": FIG2, "fig3": FIG3}
TABLE1 = {
    "fig2": {"decoupled": 1e-4, "decay": 30.0, "catapult": 47.0, "divergent": 50.0},
    "fig3": {"decoupled": 1e-4, "decay": 0.1, "catapult": 1.0, "divergent": 1.8},
}
"""Table 1: the noise variances K, in `Experiment.unit`, and the phase that the paper names."""
