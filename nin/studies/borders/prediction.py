"""Where a network's phases will end, told from its initial weights.

Four predictions, each with less said than the next and more assumed:

* `closed_border`: a formula for one hidden ReLU layer of which no weight has been drawn;
* `halves`: the same for weights that are there, again of a layer that the noise dominates;
* `curve`: the largest curvature of the loss with noise, by automatic differentiation, against
  the levels 2 and 4 at which phases of the linear model end (`nin.theory.noise_map`);
* `nin.studies.borders.noise_only`: the dynamics of the network that sees the noise and no image.

The border between decoupled and decay has a prediction of its own, `decay_time`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from nin.curvature.eq2 import halving
from nin.curvature.gauss_newton import (
    SAMPLES,
    LinearInNoise,
    output_hessian,
    symmetric_root,
    top_curvature,
)
from nin.curvature.local import LocalLoss, local_loss
from nin.curvature.noise_curvature import (
    GROWTH,
    LAMBDA_DIV,
    Curve,
    Prediction,
    noisy_curve,
    unit_noise,
)
from nin.linear.border_formulas import LayerBorders, layer_borders
from nin.networks.attachment import one_node
from nin.networks.data import Dataset
from nin.networks.losses import MSE_NORMS
from nin.runs.bisection import FIRST_STEP
from nin.studies.experiments import Experiment

RECTIFIERS = ("relu", "gelu", "softplus")
"""Activations that are a ReLU on the scale of strong noise."""


def closed_border(e: Experiment, border: str = "divergent") -> float:
    """Return sigma_eps at a border of one hidden layer, from sizes and learning rate alone.

    For the squared error these are the forms for finite layers. For cross-entropy, divergence is
    rho = sqrt(2), which holds for two classes and noise alone; the catapult is the first saturated
    step's, in the limit of small eta; and the surge is that of outputs which stay small, which they
    do not (`nin.theory.closed_borders`).

    Args:
        e: An experiment with one hidden layer of `RECTIFIERS`, the node wired to it, and Gaussian
            noise.
        border: ``"surge"``, ``"catapult"`` or ``"divergent"``.

    Raises:
        ValueError: If it is another network, or there is no such border.
    """
    at = _forms(e)
    mse = {
        "surge": at.divergent_finite * np.sqrt(GROWTH / LAMBDA_DIV),
        "catapult": at.counted_catapult,
        "divergent": at.divergent_finite,
    }
    ce = {"surge": at.small_outputs, "catapult": at.first_rise, "divergent": at.two_classes}
    said = mse if e.loss == "mse" else ce
    if border not in said:
        raise ValueError(f"border must be one of {tuple(said)}, not {border!r}")
    return float(said[border])


def expected(e: Experiment, border: str) -> float | None:
    """Return where to look for a border first: near its closed form, or None where there is none.

    It is a place to start from, for other laws of noise and initial weights too. With more than two
    classes, cross-entropy diverges near rho = 1. To within a step of the search, so that borders of
    a network that lie together share their trials.

    Args:
        e: Any experiment.
        border: Any border.
    """
    try:
        of_many = e.loss == "ce" and e.d_out > 2
        divergent = _forms(e).many_classes if of_many else closed_border(e)
        near = divergent if border == "divergent" else min(closed_border(e, border), divergent)
    except ValueError:
        return None
    if not math.isfinite(near):
        return None
    return math.exp(round(math.log(near) / FIRST_STEP) * FIRST_STEP)


def _forms(e: Experiment) -> LayerBorders:
    """Return the closed forms of an experiment's layer.

    Raises:
        ValueError: If it is another network than they are for.
    """
    if (e.depth, e.layer) != (1, "layers.0") or e.activation not in RECTIFIERS:
        raise ValueError(
            f"closed forms are for one hidden layer of {', '.join(RECTIFIERS)}, with the node "
            f"wired to it, not depth {e.depth}, {e.activation!r}, {e.layer!r}"
        )
    niw_variance = {"layer": 1 / e.d_in, "node": 1.0, "width": 1 / e.width}[e.niw_fan_in]
    factor = MSE_NORMS[e.mse_norm](e.d_out)
    return layer_borders(e.width, e.d_in, e.d_out, e.eta, niw_variance, factor)


def halves(e: Experiment) -> Prediction:
    """Predict from the noise-dominated picture of one hidden ReLU layer.

    With noise strong enough, the sign of eps alone says which neurons are on: those with
    ``w_ni > 0`` for eps > 0, the others for eps < 0. Each half is a linear network of two layers
    with one input, eps, which has half of the noise power. Its largest curvature times eta is
    ``lambda = s (|u|^2 + largest eigenvalue of W W^T)``, s = eta sigma_eps^2 / 2 times the
    curvature of the loss by its outputs, u and W the half's weights. That is the noise-only map of
    the linear model: the loss rises above lambda = 2, w_ni where the part of W alone is above 2
    (by a tenth, which our rule asks for, at `RISE_SQ`), and nothing ends the rise above lambda = 4.

    Args:
        e: An experiment with one hidden ReLU layer and the node wired to it.

    Raises:
        ValueError: If it is another network.
    """
    _check_halves(e)
    model = e.network()
    with torch.no_grad():
        u, W = one_node(model)[1].w_ni.double(), model.linear(1).weight.double()
        root = symmetric_root(output_hessian(e.criterion(), torch.zeros(e.d_out, e.d_out)).mean(0))
        tops = []
        for on in (u > 0, u < 0):
            size, gram = u[on].square().sum() * torch.eye(e.d_out), W[:, on] @ W[:, on].T
            tops.append([torch.linalg.eigvalsh(root @ m @ root)[-1] for m in (size + gram, gram)])
    whole, next_layer = np.array(tops).max(0) * e.eta / 2
    return Prediction.of(
        *np.sqrt([GROWTH / whole, GROWTH / next_layer, LAMBDA_DIV / whole]).tolist()
    )


def _check_halves(e: Experiment) -> None:
    if (e.depth, e.activation, e.layer) != (1, "relu", "layers.0"):
        raise ValueError("the halves are those of one hidden ReLU layer, with the node wired to it")


def curve(e: Experiment, sigma_eps: Sequence[float], data: Dataset, n: int = SAMPLES) -> Curve:
    """Measure the curvature at several noise strengths, at the initial weights.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        sigma_eps: Noise strengths, rising.
        data: The first `n` of its training images are used, whatever the batch size.
        n: Number of images.
    """
    x, y = data.train_x[:n], data.train_y[:n]
    return noisy_curve(e.network(), e.layer, x, y, e.criterion(), sigma_eps, e.eta, e.seed)


def decay_time(e: Experiment, data: Dataset, n: int = SAMPLES) -> float:
    """Return sigma_eps^2 eta times the number of steps after which half of |w_ni| is left.

    By Eq. (2), with the factor corrected and without the kick, w_ni follows
    ``w_ni' = w_ni - eta sigma_eps^2 <H> w_ni``; with <H> that of the initial network without
    noise, ``w_ni = exp(-theta <H>) w_ni(0)`` after steps that add up to theta.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        data: The first `n` of its training images are used.
        n: Number of images.

    Returns:
        theta, or infinity if |w_ni| never halves.
    """
    model = e.network()
    w = one_node(model)[1].w_ni.detach().double()
    x, y = data.train_x[:n], data.train_y[:n]
    local = LocalLoss(model, e.layer, x, y, e.criterion().values)
    rates, directions = torch.linalg.eigh(local.mean_hessian().double())
    return halving(rates, (directions.T @ w).square() / w.square().sum())


def initial_rate(e: Experiment, data: Dataset) -> float:
    """Return the rate at which |w_ni| begins to fall, per step and per sigma_eps^2, by Eq. (2).

    That is ``eta w_ni^T <H> w_ni / |w_ni|^2`` at the initial weights, without noise or kick.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        data: The first `SAMPLES` of its training images are used.

    Returns:
        The rate; negative if |w_ni| begins to grow.
    """
    model = e.network()
    w, x, y = one_node(model)[1].w_ni.detach(), data.train_x[:SAMPLES], data.train_y[:SAMPLES]
    local = local_loss(model, e.layer, x, y, e.criterion())
    return e.eta * float(w @ local.mean_product(w)) / float(w.square().sum())


def second_order_curvature(
    e: Experiment, sigma_eps: float, data: Dataset, n: int = SAMPLES
) -> float:
    """Return the curvature that decides on divergence, of the loss to second order in the noise.

    It is lambda of `Curve` at the initial weights, with the network linear in the noise and the
    Hessian of the loss taken at the outputs without noise. A network with linear layers alone
    diverges where it passes 4, `nin.theory.noise_map`.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        sigma_eps: Noise strength.
        data: The first `n` of its training images are used.
        n: Number of images.
    """
    x, y = data.train_x[:n], data.train_y[:n]
    cut = LinearInNoise(e.network(), unit_noise(e.noise, len(x), e.seed) * sigma_eps)
    with torch.no_grad():
        clean = cut.orders(x)[0]
    return e.eta * top_curvature(cut, e.criterion(), x, y, at=clean)
