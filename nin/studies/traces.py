"""The decay of |w_ni| as a measurement of the local Hessian: its accuracy against its cost.

Freshly drawn noise weights are a random direction, so the rate at which they begin to fall is an
estimate of tr<H>/features from one random direction, as Hutchinson's is. Here both are made on the
same network and images, the latter by the library curvlinops. A local Hessian is the Hessian by
the layer's bias, which is how that library is asked for it.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.curvature.lanczos import top_eigenvalue
from nin.curvature.local import LocalLoss
from nin.curvature.pull import niw_gradient
from nin.networks.attachment import one_node
from nin.networks.seeds import generator
from nin.studies.experiments import FIG1, Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, bare, images_of, kept, train_runs
from nin.studies.sweep import kept_all
from nin.studies.windows import SMOOTH

REACHES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Strengths of the noise: root mean square of sigma_eps w_ni over that of the pre-activations."""
STATES = ((FIG1, 0), (FIG1, 1), (SMOOTH, 1))
"""Networks and epochs of training before, without noise, that page and claims read."""
BATCHES = 8
"""Batches whose images make up the Hessian that is estimated."""
DRAWS, DIRECTIONS, STEPS = 120, 12, 64
"""Of one-step estimates; of directions that are left to decay, and for how many steps."""
MATVECS, REPEATS = (4, 16), 3
"""Products with the whole Hessian per XTrace estimate, and estimates of each."""


@dataclass(frozen=True)
class Tracing:
    """What a record of estimates is of.

    Attributes:
        experiment: The network; its noise strength and epochs are of no account.
        epochs: How long it is trained without noise before.
        reaches: Strengths of the noise.
        batches: Batches whose images make up the Hessian.
        draws: Of one-step estimates.
        directions: That are left to decay.
        steps: For how many steps.
        matvecs: Products with the whole Hessian per XTrace estimate.
        repeats: Estimates of each.
    """

    experiment: Experiment
    epochs: int
    reaches: tuple[float, ...] = REACHES
    batches: int = BATCHES
    draws: int = DRAWS
    directions: int = DIRECTIONS
    steps: int = STEPS
    matvecs: tuple[int, ...] = MATVECS
    repeats: int = REPEATS


@dataclass(frozen=True)
class Estimates:
    """Estimates of tr<H>/features at one state of a network, all on the same images.

    Attributes:
        experiment: The network; its noise strength and epochs are of no account.
        epochs: How long it was trained without noise before.
        reaches: Strengths of the noise, (reaches,).
        one_step: From one step of fresh noise weights, (reaches, draws, 2); the second is that of
            the mirrored noise.
        decay: From the fall of ln|w_ni| alone over the first 1, 2, ... steps, the network's own
            weights held, (directions, steps), at the `decay_reach`.
        own: w_ni^T<H>w_ni/|w_ni|^2 of each of these directions at the start, (directions,).
        decay_reach: Their noise.
        hutchinson: From one product with one batch's Hessian, (draws,).
        matvecs: Products per XTrace estimate, (sizes,).
        batches: Batches that the images make up.
        xtrace: By curvlinops' XTrace on all images, (sizes, repeats).
        top: Largest eigenvalue of <H> on all images.
        gradient_s: Seconds of a gradient of one batch by w_ni.
        product_s: Seconds of a product with one batch's Hessian.
        made: How it was made.
    """

    experiment: Experiment
    epochs: int
    reaches: np.ndarray
    one_step: np.ndarray
    decay: np.ndarray
    own: np.ndarray
    decay_reach: float
    hutchinson: np.ndarray
    matvecs: np.ndarray
    batches: int
    xtrace: np.ndarray
    top: float
    gradient_s: float
    product_s: float
    made: Made

    @property
    def reference(self) -> tuple[float, float]:
        """The best value and its standard error: all of curvlinops' estimates, by their errors.

        Both kinds are unbiased: all draws of Hutchinson, and XTrace with the most products.
        """
        found = np.array([(x.mean(), x.std(ddof=1) ** 2 / len(x)) for x in self._unbiased])
        weight = 1 / found[:, 1]
        return float(np.average(found[:, 0], weights=weight)), float(weight.sum() ** -0.5)

    @property
    def _unbiased(self) -> tuple[np.ndarray, np.ndarray]:
        return self.hutchinson, self.xtrace[-1]

    @property
    def xtrace_costs(self) -> np.ndarray:
        """The cost of each size of XTrace, in gradients of a batch, (sizes,)."""
        return self.matvecs * self.batches * self.product_s / self.gradient_s

    def probe_error(self, cost: np.ndarray, reach: int, mirrored: bool = False) -> np.ndarray:
        """Return the relative error, rms with bias, of averages of one-step estimates.

        Args:
            cost: In gradients of a batch.
            reach: Which of the strengths.
            mirrored: Whether each draw is averaged with its mirror image, for twice the cost.
        """
        each = self.one_step[reach].mean(1) if mirrored else self.one_step[reach, :, 0]
        true, err = self.reference
        # What chance and the reference's own error make of the bias is not counted as bias.
        chance = each.var(ddof=1) / len(each) + err**2
        bias_sq = max(float(each.mean() - true) ** 2 - chance, 0.0)
        return np.sqrt(bias_sq + each.var(ddof=1) * (1 + mirrored) / cost) / true

    def hutchinson_error(self, cost: np.ndarray) -> np.ndarray:
        """Return the relative error, rms, of Hutchinson's estimate for a cost in gradients."""
        n = cost * self.gradient_s / self.product_s
        return self.hutchinson.std(ddof=1) / np.sqrt(n) / self.reference[0]

    def xtrace_error(self) -> np.ndarray:
        """Return the relative scatter of XTrace's estimates, (sizes,)."""
        return self.xtrace.std(1, ddof=1) / self.reference[0]


def tracing(e: Experiment, epochs: int, **sizes: Any) -> Tracing:
    """Return what to ask of `all_estimates`.

    Args:
        e: The experiment, with cross-entropy; an `MLP` with biases.
        epochs: How long to train without noise before, >= 0.
        **sizes: Of `Tracing`, where they are not the constants of this module.

    Raises:
        ValueError: If the loss is another, epochs < 0, or a size < 1.
    """
    if e.loss != "ce" or not e.bias or epochs < 0:
        raise ValueError(
            f"expected loss='ce', biases and epochs >= 0, not {e.loss!r}, bias={e.bias}, {epochs}"
        )
    sizes = {n: tuple(v) if isinstance(v, list) else v for n, v in sizes.items()}
    for name, size in sizes.items():
        if name != "reaches" and min(size if isinstance(size, tuple) else (size,)) < 1:
            raise ValueError(f"{name} must be >= 1, not {size}")
    return Tracing(bare(e, sigma_eps=1.0), epochs, **sizes)


def all_estimates(asked: Sequence[Tracing], shelf: Shelf) -> list[Estimates]:
    """Estimate the trace of local Hessians in every way, or read that from the records.

    Args:
        asked: From `tracing`.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    return kept_all(_estimates, asked, shelf)


def estimates(e: Experiment, epochs: int, shelf: Shelf, **sizes: Any) -> Estimates:
    """Return the estimates at one state of one network; see `tracing` and `all_estimates`."""
    [found] = all_estimates([tracing(e, epochs, **sizes)], shelf)
    return found


def _estimates(asked: Tracing, shelf: Shelf) -> Estimates:
    e = asked.experiment
    stem = f"trace-{e.activation}-{e.layer}-epochs{asked.epochs}"
    return kept(stem, asked, partial(_compute, asked), partial(_parse, asked), shelf)


def _compute(asked: Tracing) -> dict[str, ArrayLike]:
    with warnings.catch_warnings():
        # curvlinops makes torch compile in a way that torch itself is giving up.
        warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
        return _Bench(asked).run()


def _parse(asked: Tracing, arrays: dict[str, Any]) -> Estimates:
    arrays |= {n: float(arrays[n]) for n in ("decay_reach", "top", "gradient_s", "product_s")}
    return Estimates(asked.experiment, asked.epochs, batches=asked.batches, **arrays)


def hessian_operator(model: nn.Module, layer: str, batches: list[tuple[Tensor, Tensor]]) -> Any:
    """Return the mean local Hessian of cross-entropy as curvlinops' linear operator.

    Args:
        model: The network, with biases, in ``eval()`` so that its node is silent.
        layer: Name of the layer as in ``model.named_modules()``.
        batches: Inputs and labels.
    """
    import curvlinops  # noqa: PLC0415

    bias = model.get_submodule(layer).bias
    assert isinstance(bias, nn.Parameter)
    return curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), [bias], batches, check_deterministic=False
    )


class _Bench:
    """One state of a network and the images, and the estimates made on them."""

    def __init__(self, asked: Tracing) -> None:
        self.asked = asked
        self.e = e = asked.experiment
        data = images_of(e)
        quiet = dataclasses.replace(e, sigma_eps=0.0)
        model: nn.Module = quiet.network()
        if asked.epochs:
            [model], _ = train_runs([quiet], epochs=asked.epochs, evaluations=0, progress=False)
        self.model = model.eval()
        n = asked.batches * e.batch_size
        parts = (part[:n].split(e.batch_size) for part in (data.train_x, data.train_y))
        self.batches = list(zip(*parts, strict=True))
        loss = e.criterion().values
        self.local = [LocalLoss(model, e.layer, x, y, loss) for x, y in self.batches]
        node = one_node(model)[1]
        self.features, self.std = len(node.w_ni), float(node.w_ni.detach().std())
        z = self.local[0].pre_activations().square().mean().sqrt()
        self.sigmas = [float(r * z / self.std) for r in asked.reaches]
        self.g = generator(e.seed, "trace estimates")

    def run(self) -> dict[str, ArrayLike]:
        """Make all estimates; return them as a record's arrays."""
        middle = len(self.sigmas) // 2
        one_step = np.array([self.one_step(sigma) for sigma in self.sigmas])
        decay, own = self.decay(self.sigmas[middle])
        whole = hessian_operator(self.model, self.e.layer, self.batches)
        hutchinson, xtrace, top = self.by_library(whole)
        return {
            "reaches": self.asked.reaches,
            "one_step": one_step,
            "decay": decay,
            "own": own,
            "decay_reach": self.asked.reaches[middle],
            "hutchinson": hutchinson,
            "matvecs": self.asked.matvecs,
            "xtrace": xtrace,
            "top": top,
            **self.costs(),
        }

    def direction(self) -> Tensor:
        """Draw fresh noise weights, (features,)."""
        return torch.randn(self.features, generator=self.g) * self.std

    def batch(self) -> int:
        """Draw a batch."""
        return int(torch.randint(len(self.batches), (), generator=self.g))

    def noise(self, sigma_eps: float) -> Tensor:
        return torch.randn(self.e.batch_size, generator=self.g) * sigma_eps

    def one_step(self, sigma_eps: float) -> np.ndarray:
        """Return the estimates from one step, and from its mirror image, (draws, 2)."""
        rows = []
        for _ in range(self.asked.draws):
            local, w, eps = self.local[self.batch()], self.direction(), self.noise(sigma_eps)
            scale = sigma_eps**2 * float(w @ w)
            rows.append([float(w @ niw_gradient(local, w, s * eps)) / scale for s in (1, -1)])
        return np.array(rows)

    def decay(self, sigma_eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Let noise weights decay; return the estimates, (directions, steps), and w^T<H>w/|w|^2."""
        rows, own = [], []
        for _ in range(self.asked.directions):
            w = self.direction()
            start, seen = float(w.norm()), []
            curved = torch.stack([local.mean_product(w) for local in self.local]).mean(0)
            own.append(float(w @ curved) / start**2)
            for t in range(1, self.asked.steps + 1):
                local = self.local[self.batch()]
                w = w - self.e.eta * niw_gradient(local, w, self.noise(sigma_eps))
                seen.append(np.log(start / float(w.norm())) / (self.e.eta * sigma_eps**2 * t))
            rows.append(seen)
        return np.array(rows), np.array(own)

    def by_library(self, whole: Any) -> tuple[np.ndarray, np.ndarray, float]:
        """Return curvlinops' estimates and, by Lanczos on its operator, the largest eigenvalue."""
        import curvlinops  # noqa: PLC0415

        with torch.random.fork_rng():
            torch.manual_seed(self.e.seed)  # curvlinops draws from torch's global generator
            single = [hessian_operator(self.model, self.e.layer, [b]) for b in self.batches]
            hutchinson = [
                float(curvlinops.hutchinson_trace(single[self.batch()], 1))
                for _ in range(self.asked.draws)
            ]
            xtrace = [
                [float(curvlinops.xtrace(whole, m)) for _ in range(self.asked.repeats)]
                for m in self.asked.matvecs
            ]
        top = top_eigenvalue(lambda v: whole @ v.float(), self.features, 0.01, vectors=10)
        return np.array(hutchinson) / self.features, np.array(xtrace) / self.features, top

    def costs(self) -> dict[str, float]:
        """Return the seconds of a gradient by w_ni and of a product with the Hessian."""
        w, eps = self.direction(), self.noise(self.sigmas[0])
        one = hessian_operator(self.model, self.e.layer, self.batches[:1])
        return {
            "gradient_s": _seconds(lambda: niw_gradient(self.local[0], w, eps)),
            "product_s": _seconds(lambda: one @ w),
        }


def _seconds(call: Callable[[], object], times: int = 20) -> float:
    """Return the median processor time of a call."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        call()
        found.append(time.process_time() - begun)
    return float(np.median(found))
