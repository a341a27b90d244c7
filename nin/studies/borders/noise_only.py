"""The network that sees the noise and no image: its borders, for next to nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nin.networks.attachment import NOISE_LAWS, attach
from nin.networks.mlp_stack import MLPStack
from nin.networks.models import MLP
from nin.networks.seeds import generator
from nin.runs.bisection import border_of_one
from nin.runs.phases import Phase, PhaseFinding, judged
from nin.studies.borders.prediction import expected
from nin.studies.borders.search import TOLERANCE, is_past
from nin.studies.experiments import Experiment

NODES = 16
"""Values of eps that stand for its law, each with every label."""


def noise_only_borders(
    e: Experiment,
    steps: int,
    K: tuple[float, float],
    names: Sequence[str] = ("surge", "catapult", "divergent"),
) -> dict[str, float]:
    """Find the borders of an experiment without its data, from their closed forms where there are.

    The inputs are 0 and each value of eps comes with every label, so that labels say nothing of
    the noise; gradient descent on all of that. No image passes the first layer, which makes the
    search a matter of seconds. This is the network's own form of the linear model's noise-only map.

    Args:
        e: The experiment with its seed; its own sigma_eps is of no account.
        steps: As many as the runs that are to be predicted have.
        K: Where to look, noise variances in Table 1's unit.
        names: Of `nin.runs.phases.BORDERS`.

    Returns:
        sigma_eps by name; infinite where nothing begins in the range, 0 where all of it is past the
        border.
    """
    low, high = (e.at(k).sigma_eps for k in K)
    seen: dict[float, PhaseFinding] = {}

    def look(sigma_eps: float) -> PhaseFinding:
        if sigma_eps not in seen:
            seen[sigma_eps] = _run(dataclasses.replace(e, sigma_eps=sigma_eps), steps)
        return seen[sigma_eps]

    def find(name: str) -> float:
        near = expected(e, name)
        return border_of_one(lambda s: is_past(name, look(s)), low, high, TOLERANCE, near)

    return {name: find(name) for name in names}


def _run(e: Experiment, steps: int) -> PhaseFinding:
    """Train on noise alone, and judge by the rule."""
    stack = MLPStack([blind(e)], e.criterion(), e.eta, "float32")
    eps = e.sigma_eps * quantiles(e.noise).repeat_interleave(e.d_out).unsqueeze(0)
    x, y = torch.zeros(eps.numel(), 1), torch.arange(e.d_out).repeat(NODES)
    index = torch.arange(len(y)).unsqueeze(0)
    losses, norms = [], []
    for step in range(steps):
        norms.append(float(stack.norms()["w_ni"]))
        losses.append(float(stack.step(x, y, index, eps)[0]))
        if not np.isfinite(losses[-1]):
            nan = float("nan")
            return PhaseFinding(Phase.DIVERGENT, nan, nan, nan, nan, step)
    return judged(np.array(norms) / norms[0], np.array(losses) / losses[0])


def blind(e: Experiment) -> MLP:
    """Return an experiment's network with one input in place of the image, weights as they are."""
    seeing = e.network()
    model = MLP(1, e.width, e.depth, e.d_out, e.activation, e.bias, e.init, e.seed)
    attach(model, e.layer, e.sigma_eps, noise=e.noise, seed=e.seed)
    state = {k: v for k, v in seeing.state_dict().items() if k != "layers.0.weight"}
    model.load_state_dict(state, strict=False)
    return model


def quantiles(noise: str) -> Tensor:
    """Return `NODES` equally likely values that stand for a noise law: mean 0, variance 1."""
    draws = NOISE_LAWS[noise](1000 * NODES, generator(0, "quantiles")).sort().values
    means = draws.view(NODES, -1).mean(1)
    means = (means - means.flip(0)) / 2  # the laws are symmetric
    return means / means.square().mean().sqrt()
