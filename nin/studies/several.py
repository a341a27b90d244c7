"""Several nodes at once: on the pixels, at each hidden layer and at the outputs, on record.

What the paper hopes several would tell: each one's own local curvature, the weights of the first
layer, and with them the rate of the loss.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.curvature.falls import fall_beside, fall_ratio
from nin.curvature.local import LocalLoss
from nin.curvature.pulls_together import pulls_of_nodes
from nin.folders import RESULTS
from nin.networks.attachment import attach, nodes
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator
from nin.runs.history import log_spaced_steps
from nin.studies.experiments import FIG1, Experiment
from nin.studies.study import Shelf, bare, images_of, independent, kept, train_runs
from nin.studies.sweep import kept_all

SEVERAL = Shelf(RESULTS / "several", "proposals", may_make=False)
BASE = dataclasses.replace(FIG1, depth=2, width=64, d_in=196, epochs=3, batch_size=120)
"""Batches divide the images: a last, small one would kick what is looked at after it."""
KINDS = (("ce", "relu"), ("ce", "softplus"), ("mse", "relu"))
"""Losses and activations: the paper's, one without kinks, and one whose Hessian has no logits."""
STRENGTHS = (5.0, 15.0)
"""sigma_eps of the node at the first layer; K = 0.006 and 0.06 for cross-entropy."""
SEEDS = (3, 4, 5)
IMAGES = 300
PAIRS = 16
SCALED = 1.25
"""Factor by which a weight matrix is scaled, up and down."""
_SIGNS = 4  # random directions of each sample's trace
_LOOKS = 6  # per decade of steps


@dataclass(frozen=True)
class Nodes:
    """What a record is of.

    Attributes:
        experiment: The run; its layer, and its evaluations are of no account.
        images: On which the network is looked at.
        pairs: Noise draws of opposite sign behind a measured pull.
        scaled: Factor by which a weight matrix is scaled, up and down.
    """

    experiment: Experiment
    images: int
    pairs: int
    scaled: float


@dataclass(frozen=True)
class Together:
    """What was seen of a run with a node on the pixels and one at each layer, in this order.

    Attributes:
        eta: Its learning rate.
        sigma_eps: Strength of each node, (nodes,).
        features: Number of its noise weights, (nodes,).
        step: SGD steps, the last at the end, (n,).
        size: |w_ni|, (n, nodes).
        along: Local curvature along w_ni, all noise off, (n, nodes).
        trace: Trace of the local Hessian, all noise off, (n, nodes).
        block: Trace of the Hessian by the weights of each layer, (n, layers).
        input_sq: Mean square norm of what a layer reads, (n, layers).
        pull: ``w_ni . gradient / |w_ni|^2``, all noise on, averaged over it, (n, nodes).
        loss: Clean loss, (n,).
        slope_sq: Square norm of its gradient by the weights of all layers, (n,).
        powers: At the first and the last look, the power with which a pull goes as the size of the
            weights of each layer, (2, nodes, layers).
    """

    eta: float
    sigma_eps: np.ndarray
    features: np.ndarray
    step: np.ndarray
    size: np.ndarray
    along: np.ndarray
    trace: np.ndarray
    block: np.ndarray
    input_sq: np.ndarray
    pull: np.ndarray
    loss: np.ndarray
    slope_sq: np.ndarray
    powers: np.ndarray

    def falls(self, left: float) -> np.ndarray:
        """Return how far ln|w_ni| of each node fell, as measured and as said, (3, nodes).

        What it should be by the local curvature along w_ni, noise off, and by the pull averaged
        over all noises; see `fall_beside`.

        Args:
            left: Share of its start down to which |w_ni| is followed.
        """
        found = np.zeros((3, len(self.features)))
        for i in range(len(self.features)):
            by = self.eta * np.array([self.sigma_eps[i] ** 2 * self.along[:, i], self.pull[:, i]])
            found[:, i] = fall_beside(self.step, self.size[:, i], by, left)
        return found

    def hessian_trace(self) -> np.ndarray:
        """Return the trace of the Hessian by the weights of all layers, (n,)."""
        return np.asarray(self.block.sum(1))

    def trace_by_nodes(self) -> np.ndarray:
        """Return that trace as the nodes at the layers tell it, (n,).

        A layer's pull over sigma_eps^2 is the mean eigenvalue of its local Hessian; each weight of
        a layer has the curvature of its unit times the square of what it reads.
        """
        local = self.pull[:, 1:] * (self.features / self.sigma_eps**2)[1:]
        return np.asarray((local * self.input_sq).sum(1))

    def loss_rate(self) -> np.ndarray:
        """Return at what rate gradient flow takes ln L down, (n,), per eta times step."""
        return np.asarray(self.slope_sq / self.loss)


class Stage:
    """Looks at a network with several nodes: an observer for `nin.train`.

    Attributes:
        steps: The steps to look at.
        rows: What was seen, a dictionary per look: the names of `Together`.
    """

    def __init__(self, steps: Sequence[int], x: Tensor, y: Tensor, loss: Loss, pairs: int) -> None:
        """Make an observer that looks at these steps, on these images.

        Args:
            steps: The steps.
            x: Images, (n, d_in).
            y: Labels, (n,).
            loss: The loss.
            pairs: Noise draws of opposite sign behind a measured pull.
        """
        self.steps, self.x, self.y, self.loss, self.pairs = tuple(steps), x, y, loss, pairs
        self.rows: list[dict[str, Any]] = []

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`."""
        found, layers, (images, labels) = nodes(model), _layers(model), self.beside(model)
        reads = [v.square().sum(1) for v in _inputs(model, images)]
        row: dict[str, Any] = {name: [] for name in ("size", "along", "trace", "block")}
        for name, node in found.items():
            w = node.w_ni.detach()
            local = LocalLoss(model, name, images, labels, self.loss.values)
            row["size"].append(float(w.norm()))
            row["along"].append(float(w @ local.mean_product(w) / w.square().sum()))
            of_sample = _traces(local, len(images), len(w), generator(step, "signs", name))
            row["trace"].append(float(of_sample.mean()))
            if name in layers:
                row["block"].append(float((of_sample * reads[len(row["block"])]).mean()))
        row["input_sq"] = [float(v.mean()) for v in reads]
        row["pull"] = self.pulls(model, step).mean(1)
        weights = [layer.weight for layer in layers.values()]
        loss = self.loss.values(model.eval()(images), labels).mean()
        slopes = torch.autograd.grad(loss, weights)
        row["loss"] = float(loss.detach())
        row["slope_sq"] = float(torch.stack([v.square().sum() for v in slopes]).sum())
        model.train()
        self.rows.append(row)

    def pulls(self, model: nn.Module, seed: int) -> np.ndarray:
        """Return the pull on each node's w_ni in each pair of draws, (nodes, pairs)."""
        return pulls_of_nodes(
            model.train(), *self.beside(model), lambda z, y: self.loss.values(z, y).mean(),
            self.pairs, generator(seed, "pulls"),
        )  # fmt: skip

    def beside(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the images and their labels where a network lies."""
        device = next(model.parameters()).device
        return self.x.to(device), self.y.to(device)

    def powers(self, model: nn.Module, scaled: float) -> np.ndarray:
        """Return the power with which each pull goes as the size of each layer's weights.

        Args:
            model: The network; it stays as it is.
            scaled: Factor by which the weights of a layer are scaled, up and down.

        Returns:
            The powers, (nodes, layers); NaN where a pull changes its sign.
        """
        found = []
        for layer in _layers(model).values():
            before, ends = layer.weight.detach().clone(), []
            for factor in (scaled, 1 / scaled):
                with torch.no_grad():
                    layer.weight.copy_(factor * before)
                ends.append(self.pulls(model, 0).mean(1))  # the same draws
            with torch.no_grad():
                layer.weight.copy_(before)
            ratio = ends[0] / ends[1]
            found.append(np.log(np.where(ratio > 0, ratio, np.nan)) / (2 * np.log(scaled)))
        return np.transpose(found)


def with_nodes(e: Experiment) -> nn.Module:
    """Return an experiment's network with a node on the pixels and one at each layer.

    Each is as strong as the experiment's would be for as many inputs as its layer has:
    sigma_eps^2 in units of fan-in over eta is the same for all.
    """
    mlp = MLP(e.d_in, e.width, e.depth, e.d_out, e.activation, e.bias, e.init, e.seed)
    model = nn.Sequential(OrderedDict(pixels=nn.Identity(), mlp=mlp))
    about: dict[str, Any] = {"noise": e.noise, "fixed": e.fixed, "seed": e.seed}
    attach(
        model, "pixels", e.sigma_eps, size=e.d_in, init_std=e.d_in**-0.5, feature_dim=-1, **about
    )
    for i in range(e.depth + 1):
        fan_in = e.width if i else e.d_in
        attach(model, f"mlp.layers.{i}", e.sigma_eps * (fan_in / e.d_in) ** 0.5, **about)
    return model


def explained(runs: Sequence[Together], left: float, by: int = 1) -> list[tuple[float, float]]:
    """Return how far each node's ln|w_ni| fell over how far it should: of sums over runs, and err.

    Args:
        runs: Alike in all but the seed.
        left: As for `Together.falls`.
        by: Its row of what should be: 1, by the curvature; 2, by the averaged pull.
    """
    falls = np.array([r.falls(left) for r in runs])  # (runs, 3, nodes)
    return [fall_ratio(of_node, by) for of_node in np.moveaxis(falls, 2, 0)]


def several(
    experiments: Sequence[Experiment], shelf: Shelf, images: int = IMAGES
) -> list[Together]:
    """Return what was seen of each run, training what is not on record.

    Args:
        experiments: The runs, each with sigma_eps > 0.
        shelf: Where the records lie, and whether they may be made.
        images: On which the networks are looked at.

    Raises:
        ValueError: If a run has no noise, or there are not so many images.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    check_nodes(experiments, images)
    asked = [Nodes(bare(e, epochs=e.epochs), images, PAIRS, SCALED) for e in experiments]
    return kept_all(_together, asked, shelf)


def check_nodes(experiments: Sequence[Experiment], images: int) -> None:
    """Refuse what `several` could not do, before anything trains.

    Args:
        experiments: The runs.
        images: On which the networks are looked at.

    Raises:
        ValueError: If a run has no noise, or there are not so many images.
    """
    for e in experiments:
        if e.sigma_eps == 0 or not 1 <= images <= e.n_train:
            raise ValueError(
                f"expected sigma_eps > 0 and images 1 to {e.n_train}, not sigma_eps={e.sigma_eps} "
                f"and images={images}"
            )


def runs_with_nodes(
    base: Experiment, strengths: Sequence[float], seeds: Sequence[int]
) -> dict[tuple[str, str, float], list[Experiment]]:
    """Return the runs of each loss, activation and strength, one per seed."""
    return {
        (loss, activation, s): [
            dataclasses.replace(base, loss=loss, activation=activation, sigma_eps=s, seed=k)
            for k in independent(seeds)
        ]
        for loss, activation in KINDS
        for s in strengths
    }


def _layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}


def _inputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what each layer reads, noise off."""
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for layer in _layers(model).values()
    ]
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        model.train()
        for hook in hooks:
            hook.remove()
    return seen


def _traces(local: LocalLoss, n: int, features: int, g: torch.Generator) -> Tensor:
    """Estimate the trace of each sample's local Hessian, (n,), by random signs of its own."""
    total = torch.zeros(n, device=local.y.device)
    for _ in range(_SIGNS):
        signs = torch.randint(2, (n, features), generator=g).mul(2).sub(1).to(total)
        total += (signs * local.product(signs)).sum(1)
    return total / _SIGNS


def _together(asked: Nodes, shelf: Shelf) -> Together:
    e = asked.experiment
    stem = f"{e.loss}-{e.activation}-sigma{e.sigma_eps:g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked), partial(_parse, asked), shelf)


def _train(asked: Nodes) -> dict[str, ArrayLike]:
    e = asked.experiment
    data, total = images_of(e), e.epochs * e.steps_per_epoch
    x, y = data.train_x[: asked.images], data.train_y[: asked.images]
    steps = log_spaced_steps(total - 1, 1, _LOOKS)[:-1].tolist()
    stage = Stage(steps, x, y, e.criterion(), asked.pairs)
    model = with_nodes(e)
    powers = [stage.powers(model, asked.scaled)]
    [model], _ = train_runs(
        [e], data, evaluations=0, observer=stage, progress=False, models=[model]
    )
    stage.see(0, total, model, x, y, torch.empty(0))
    powers.append(stage.powers(model, asked.scaled))
    seen: dict[str, ArrayLike] = {
        name: np.array([row[name] for row in stage.rows]) for name in stage.rows[0]
    }
    found = nodes(model).values()
    return seen | {
        "sigma_eps": [node.sigma_eps for node in found],
        "features": [len(node.w_ni) for node in found],
        "step": [*steps, total],
        "powers": np.array(powers),
    }


def _parse(asked: Nodes, arrays: dict[str, Any]) -> Together:
    del arrays["made"]
    return Together(asked.experiment.eta, **arrays)
