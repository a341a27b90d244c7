"""Networks that are no MLPs with a node: their phases, borders and decays, kept on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.curvature.falls import fall_beside, fall_ratio
from nin.curvature.local import LocalLoss
from nin.curvature.node_report import report
from nin.curvature.pull import sampled_gradients
from nin.folders import RESULTS
from nin.networks.attachment import attach, one_node
from nin.networks.data import Dataset
from nin.networks.losses import Loss
from nin.networks.small_networks import ConvNet, Transformer
from nin.runs.crossings import Crossings
from nin.runs.history import History, log_spaced_steps
from nin.runs.phases import Phase, PhaseFinding, classify_phase
from nin.studies.arrays import history_arrays, history_of
from nin.studies.borders.search import is_past
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, images_of, independent, kept, train_runs
from nin.studies.sweep import kept_all

OTHER_NETWORKS = Shelf(RESULTS / "other_networks", "beyond_mlps", may_make=False)
SIDES = {"convnet": 14, "transformer": 28}
"""Pixels along an edge of the images that each network reads."""
LAYERS = {"convnet": ("conv0", "conv1"), "transformer": ("embed", "layers.0.up")}
"""Where the node is wired to: at the first layer, and at a later one.

Weights of the transformer start as the library has them, those of the convnet as the paper has.
"""
BASE = Experiment(eta=0.05, batch_size=128, epochs=2)
IMAGES = 12_800
"""Training images: 100 batches an epoch."""
STRENGTHS = (0.316, 0.562, 1.0, 1.78, 3.16, 5.62, 10.0, 17.8, 31.6, 56.2, 100.0, 178.0, 316.0)
"""sigma_eps, four per decade, from well below the predicted borders to far beyond."""
SEEDS, OTHER_SEEDS = (0, 1, 2), (3, 4, 5)
"""Of the first settings, and of those that nobody had looked at before."""
MOMENTUM = 0.9
LOOKED_AT, PAIRS, LOOKS = 200, 4, 4
"""Images on which curvatures are taken, pairs of noise draws, and looks per decade of steps."""
_TESTED = 2000  # validation images of the final accuracy
_MEASURED = 100  # images behind a prediction


@dataclass(frozen=True)
class OtherNetwork:
    """A network with a node, and how it is trained.

    Attributes:
        name: A key of `SIDES`.
        layer: The layer that the node is wired to.
        momentum: Of SGD; with it the learning rate is that of the experiment times one minus it, so
            that weights move as far.
        blind: Whether all images are 0: the network sees the noise alone.
    """

    name: str
    layer: str
    momentum: float = 0.0
    blind: bool = False

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ValueError: If there is no such network, or the momentum is out of range.
        """
        if self.name not in SIDES:
            raise ValueError(f"the network must be one of {list(SIDES)}, not {self.name!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be 0 or more and below 1, not {self.momentum}")

    def make(self, sigma_eps: float, seed: int) -> nn.Module:
        """Return the untrained network with its node attached."""
        model = ConvNet(seed=seed) if self.name == "convnet" else Transformer(layers=1, seed=seed)
        attach(model, self.layer, sigma_eps, seed=seed)
        return model


@dataclass(frozen=True, kw_only=True)
class OtherRun(OtherNetwork):
    """What a record of a run is of.

    Attributes:
        experiment: Strength, seed, loss, learning rate, batches and epochs; its own network is of
            no account.
        images: Training images.
        looked_at: Images on which curvatures are taken; 0 for none.
        pairs: Pairs of noise draws of opposite sign behind a pull.
        looks: Per decade of steps.
    """

    experiment: Experiment
    images: int
    looked_at: int = LOOKED_AT
    pairs: int = PAIRS
    looks: int = LOOKS


@dataclass(frozen=True, kw_only=True)
class Foretelling(OtherNetwork):
    """What a record of a prediction is of.

    Attributes:
        experiment: As for `OtherRun`; its strength is of no account.
        images: Training images of the runs that are predicted.
        measured: How many of them tell the prediction.
    """

    experiment: Experiment
    images: int
    measured: int


@dataclass(frozen=True)
class OtherCourse:
    """What a run left.

    Attributes:
        asked: The run.
        history: |w_ni| and the noisy loss.
        accuracy: Of validation images at the end, noise off.
        look: Steps of the looks, (n,).
        size: |w_ni| at each, (n,).
        along: Local curvature along w_ni, noise off, (n,).
        pull: ``w_ni . gradient / |w_ni|^2``, noise on, averaged over it, (n,).
        seconds: That it took.
    """

    asked: OtherRun
    history: History
    accuracy: float
    look: np.ndarray
    size: np.ndarray
    along: np.ndarray
    pull: np.ndarray
    seconds: float = 0.0

    @cached_property
    def finding(self) -> PhaseFinding:
        """The phase, by the rule."""
        return classify_phase(self.history)

    @property
    def phase(self) -> Phase:
        """The phase, by the rule."""
        return self.finding.phase

    def falls(self, left: float) -> np.ndarray:
        """Return how far ln|w_ni| fell, as measured, by the curvature, and by the pull, (3,).

        Args:
            left: Share of its start down to which |w_ni| is followed; see `fall_beside`.
        """
        e = self.asked.experiment
        rates = e.eta * np.array([e.sigma_eps**2 * self.along, self.pull])
        return fall_beside(self.look, self.size, rates, left)


@dataclass(frozen=True)
class OtherForecast:
    """What is predicted of a network before it trains.

    Attributes:
        decay: sigma_eps at which half of |w_ni| is left at the end.
        surge: sigma_eps at which the noisy loss begins to rise, by the curvature with noise.
        catapult: Where |w_ni| rises too.
        divergent: Where the rise does not end.
    """

    decay: float
    surge: float
    catapult: float
    divergent: float


class _Looks:
    """Takes the curvature along w_ni while a network trains: an observer for `nin.train`."""

    def __init__(self, asked: OtherRun, x: Tensor, y: Tensor, loss: Loss) -> None:
        total = asked.experiment.epochs * -(-asked.images // asked.experiment.batch_size)
        self.steps = set(log_spaced_steps(total - 1, 1, asked.looks).tolist())
        self.pairs, self.x, self.y, self.loss = asked.pairs, x, y, loss
        self.rows: list[tuple[float, ...]] = []

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`."""
        layer, node = one_node(model)
        w = node.w_ni.detach()
        images, labels = self.x.to(x.device), self.y.to(x.device)
        local = LocalLoss(model, layer, images, labels, self.loss.values)
        drawn = sampled_gradients(local, w, node.sigma_eps, self.pairs, seed=step).mean(0)
        by = (local.mean_product(w), drawn)
        self.rows.append((step, float(w.norm()), *(float(w @ v / w.square().sum()) for v in by)))


def other_runs(
    network: OtherNetwork,
    strengths: Sequence[float],
    seeds: Sequence[int],
    shelf: Shelf,
    *,
    base: Experiment = BASE,
    images: int = IMAGES,
    looked_at: int = LOOKED_AT,
) -> dict[float, list[OtherCourse]]:
    """Return the runs of a network at each noise strength, one per seed.

    Args:
        network: The network.
        strengths: sigma_eps, each > 0.
        seeds: Of weights, batches and noise.
        shelf: Where the records lie, and whether they may be made.
        base: Loss, learning rate, batches and epochs.
        images: Training images.
        looked_at: Images on which curvatures are taken; 0 for none.

    Raises:
        ValueError: If a strength is not positive, or there are not so many images.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    check_other(strengths, images, looked_at)
    about: dict[str, Any] = {**vars(network), "images": images, "looked_at": looked_at}
    asked = [
        OtherRun(experiment=_experiment(network, base, s, k), **about)
        for s in strengths
        for k in independent(seeds)
    ]
    found = iter(kept_all(_other_run, asked, shelf))
    return {s: [next(found) for _ in seeds] for s in strengths}


def check_other(strengths: Sequence[float], images: int, looked_at: int = 0) -> None:
    """Refuse what `other_runs` could not do, before anything trains.

    Args:
        strengths: sigma_eps.
        images: Training images.
        looked_at: Images on which curvatures are taken.

    Raises:
        ValueError: If a strength is not positive, or there are not so many images.
    """
    if min(strengths) <= 0 or not max(1, looked_at) <= images <= BASE.n_train:
        raise ValueError(
            f"expected strengths > 0, and images {max(1, looked_at)} to {BASE.n_train}, not "
            f"{list(strengths)} and {images}"
        )


def other_forecasts(
    network: OtherNetwork,
    seeds: Sequence[int],
    shelf: Shelf,
    *,
    base: Experiment = BASE,
    images: int = IMAGES,
) -> list[OtherForecast]:
    """Return what `nin.curvature.report` predicts of a network's borders, for each seed.

    Args:
        network: The network.
        seeds: Of the initial weights.
        shelf: Where the records lie, and whether they may be made.
        base: Loss, learning rate, batches and epochs.
        images: Training images; the first few hundred tell the prediction.

    Raises:
        RecordError: As for `other_runs`.
    """
    about: dict[str, Any] = {**vars(network), "images": images, "measured": min(_MEASURED, images)}
    asked = [
        Foretelling(experiment=_experiment(network, base, 1.0, k), **about)
        for k in independent(seeds)
    ]
    return kept_all(_other_forecast, asked, shelf)


def explained_falls(runs: Sequence[OtherCourse], left: float, by: int = 1) -> tuple[float, float]:
    """Return how far ln|w_ni| fell over how far it should, of sums over runs, and the error.

    Args:
        runs: Alike in all but the seed.
        left: As for `OtherCourse.falls`.
        by: Its row of what should be: 1, by the curvature; 2, by the pull averaged over the noise.
    """
    return fall_ratio(np.array([r.falls(left) for r in runs]), by)


def short_of_catapult(runs: Mapping[float, list[OtherCourse]]) -> dict[float, list[OtherCourse]]:
    """Return the strengths at which no run has a catapult or diverges, and their runs."""
    calm = (Phase.DECOUPLED, Phase.DECAY)
    return {s: v for s, v in runs.items() if all(r.phase in calm for r in v)}


def border_between(runs: Mapping[float, list[OtherCourse]], border: str) -> np.ndarray:
    """Return the sigma_eps at which a phase begins for each seed, halfway by the logarithm.

    It begins below the first strength at which a run of the seed is past the border.

    Args:
        runs: By sigma_eps, rising.
        border: One of `nin.runs.phases.BORDERS`.

    Returns:
        (seeds,): 0 where the weakest noise is past the border, infinite where none is.
    """
    strengths = np.array(list(runs))
    past = np.array([[is_past(border, r.finding) for r in v] for v in runs.values()])
    return Crossings(strengths, past.T).first


def _experiment(network: OtherNetwork, base: Experiment, sigma_eps: float, seed: int) -> Experiment:
    run = bare(base, sigma_eps=sigma_eps, seed=seed, epochs=base.epochs)
    return replace(run, d_in=SIDES[network.name] ** 2)


def _data(asked: OtherRun | Foretelling) -> Dataset:
    whole, n = images_of(asked.experiment), asked.images
    shape = (-1, 1, SIDES[asked.name], SIDES[asked.name])
    x = whole.train_x[:n].reshape(shape)
    return replace(
        whole,
        train_x=torch.zeros_like(x) if asked.blind else x,
        train_y=whole.train_y[:n],
        val_x=whole.val_x[:_TESTED].reshape(shape),
        val_y=whole.val_y[:_TESTED],
    )


def _stem(asked: OtherRun | Foretelling) -> str:
    how = ("-momentum" if asked.momentum else "") + ("-blind" if asked.blind else "")
    return f"{asked.name}-{asked.layer}{how}-seed{asked.experiment.seed}"


def _other_run(asked: OtherRun, shelf: Shelf) -> OtherCourse:
    stem = f"{_stem(asked)}-sigma{asked.experiment.sigma_eps:g}"
    return kept(stem, asked, partial(_train, asked), partial(_parse, asked), shelf)


def _train(asked: OtherRun) -> dict[str, ArrayLike]:
    e, data = asked.experiment, _data(asked)
    looks = None
    if asked.looked_at:
        x, y = data.train_x[: asked.looked_at], data.train_y[: asked.looked_at]
        looks = _Looks(asked, x, y, e.criterion())
    lr = e.eta * (1 - asked.momentum)
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=asked.momentum) if asked.momentum else None
    [model], [history] = train_runs(
        [e], data, evaluations=0, observer=looks, optimizer=optimizer, progress=False,
        models=[asked.make(e.sigma_eps, e.seed)],
    )  # fmt: skip
    with torch.no_grad():
        right = model.eval()(data.val_x).argmax(1) == data.val_y
    norms = {"w_ni": history.norms["w_ni"]} if history.norms else {}
    rows = np.array(looks.rows if looks else np.zeros((0, 4))).T
    return {
        **history_arrays(replace(history, norms=norms)),
        "val_right": float(right.double().mean()),
        **dict(zip(("look", "size", "along", "pull"), rows, strict=True)),
    }


def _parse(asked: OtherRun, arrays: dict[str, Any]) -> OtherCourse:
    right, seconds = float(arrays.pop("val_right")), float(arrays["made"]["seconds"])
    looks = {name: arrays.pop(name) for name in ("look", "size", "along", "pull")}
    return OtherCourse(asked, history_of(arrays), right, **looks, seconds=seconds)


def _other_forecast(asked: Foretelling, shelf: Shelf) -> OtherForecast:
    return kept(
        f"forecast-{_stem(asked)}", asked, partial(_foretell, asked), _parse_forecast, shelf
    )


def _foretell(asked: Foretelling) -> dict[str, ArrayLike]:
    e, data = asked.experiment, _data(asked)
    model = asked.make(e.sigma_eps, e.seed)
    x, y = data.train_x[: asked.measured], data.train_y[: asked.measured]
    told = report(model, x, y, e.criterion(), eta=e.eta, batch_size=e.batch_size, borders=True)
    node, steps = told[asked.layer], e.epochs * -(-asked.images // e.batch_size)
    borders = {name: getattr(node, name) for name in ("surge", "catapult", "divergent")}
    return {"decay": node.decay_border(steps), **borders}


def _parse_forecast(arrays: dict[str, Any]) -> OtherForecast:
    names = ("decay", "surge", "catapult", "divergent")
    return OtherForecast(*(float(arrays[name]) for name in names))
