"""Where a network's phases will end, told from its initial weights.

Four predictions, each with less said than the next and more assumed:

* `closed_form`: a formula for one hidden ReLU layer of which no weight has been drawn;
* `halves`: the same for weights that are there, again of a layer that the noise dominates;
* `Curve`: the largest curvature of the loss with noise, by automatic differentiation, against
  the levels 2 and 4 at which phases of the linear model end (`nin.theory.noise_map`);
* `nin.studies.borders.noise_only`: the dynamics of the network that sees the noise and no image.

The border between decoupled and decay has a prediction of its own, `decay_time`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from nin.curvature.gauss_newton import (
    SAMPLES,
    LinearInNoise,
    output_hessian,
    symmetric_root,
    top_curvature,
)
from nin.curvature.local import LocalLoss, local_loss
from nin.linear.border_formulas import layer_borders
from nin.networks.attachment import NOISE_LAWS, one_node
from nin.networks.data import Dataset
from nin.networks.losses import MSE_NORMS
from nin.networks.seeds import generator
from nin.runs.times import first_crossing
from nin.studies.experiments import Experiment
from nin.theory import noise_map

GROWTH, LAMBDA_DIV = float(noise_map.GROWTH), float(noise_map.LAMBDA_DIV)


@dataclass(frozen=True)
class Prediction:
    """Predicted borders in sigma_eps.

    Infinite where nothing is predicted to begin, 0 where the weakest noise is past the border.

    Attributes:
        surge: Where the noisy loss begins to rise.
        catapult: Where |w_ni| rises too.
        divergent: Where the rise does not end.
    """

    surge: float
    catapult: float
    divergent: float

    @staticmethod
    def of(loss_rises: float, w_ni_rises: float, divergent: float) -> Prediction:
        """Return the borders, told where each rise begins; what diverges is past every border."""
        surge = min(loss_rises, divergent)
        return Prediction(surge, min(max(loss_rises, w_ni_rises), divergent), divergent)


def closed_form(e: Experiment) -> float:
    """Return sigma_eps at which one hidden ReLU layer diverges, from sizes and learning rate alone.

    For the squared error that is the form for finite layers; for cross-entropy rho = sqrt(2), which
    holds for two classes and noise alone (`nin.theory.closed_borders`).

    Args:
        e: An experiment with one hidden ReLU layer, the node wired to it, and Gaussian noise.

    Raises:
        ValueError: If it is another network.
    """
    _check_halves(e)
    niw_variance = {"layer": 1 / e.d_in, "node": 1.0, "width": 1 / e.width}[e.niw_fan_in]
    factor = MSE_NORMS[e.mse_norm](e.d_out)
    borders = layer_borders(e.width, e.d_in, e.d_out, e.eta, niw_variance, factor)
    return borders.divergent_finite if e.loss == "mse" else borders.two_classes


def halves(e: Experiment) -> Prediction:
    """Predict from the noise-dominated picture of one hidden ReLU layer.

    With noise strong enough, the sign of eps alone says which neurons are on: those with
    ``w_ni > 0`` for eps > 0, the others for eps < 0. Each half is a linear network of two layers
    with one input, eps, which has half of the noise power. Its largest curvature times eta is
    ``lambda = s (|u|^2 + largest eigenvalue of W W^T)``, s = eta sigma_eps^2 / 2 times the
    curvature of the loss by its outputs, u and W the half's weights. That is the noise-only map of
    the linear model: the loss rises above lambda = 2, w_ni where the part of W alone is above 2,
    and nothing ends the rise above lambda = 4.

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


@dataclass(frozen=True)
class Curve:
    """The curvature of a network's noisy loss against the noise, at its initial weights.

    It is eta times the largest eigenvalue of the Gauss-Newton matrix, <J^T H J>, with J the
    derivative of a sample's outputs by the weights and H the Hessian of its loss by the outputs.
    Where outputs are linear in each layer, as in the linear model, the step of SGD multiplies an
    output along the leading direction by 1 - lambda: hence the levels 2 and, with the weights' own
    motion, 4. The part of w_ni alone says the same of w_ni.

    Attributes:
        sigma_eps: Noise strengths, (n,), rising.
        lam: eta times the largest eigenvalue for all weights, (n,).
        lam_w_ni: The same for w_ni alone, (n,).
    """

    sigma_eps: np.ndarray
    lam: np.ndarray
    lam_w_ni: np.ndarray

    def predict(self) -> Prediction:
        """Return where the curves first reach their levels, by straight lines in the logarithms."""

        def border(lam: np.ndarray, level: float) -> float:
            if lam[0] >= level:
                return 0.0
            return float(np.exp(first_crossing(np.log(self.sigma_eps), lam, level, log=True)))

        return Prediction.of(
            border(self.lam, GROWTH), border(self.lam_w_ni, GROWTH), border(self.lam, LAMBDA_DIV)
        )


def curve(e: Experiment, sigma_eps: Sequence[float], data: Dataset, n: int = SAMPLES) -> Curve:
    """Measure the curvature at several noise strengths, at the initial weights.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        sigma_eps: Noise strengths, rising.
        data: The first `n` of its training images are used, whatever the batch size.
        n: Number of images.
    """
    model = e.network()
    node = one_node(model)[1]
    x, y = data.train_x[:n], data.train_y[:n]
    xi, rows = _unit_noise(e, len(x)), []
    for sigma in sigma_eps:
        node.eps = xi * sigma
        rows.append([e.eta * top_curvature(model, e.criterion(), x, y, w) for w in ("", "w_ni")])
    lam, lam_w_ni = np.array(rows).T
    return Curve(np.array(sigma_eps, float), lam, lam_w_ni)


def _unit_noise(e: Experiment, n: int) -> Tensor:
    """Draw n values of noise whose own mean square is 1: most of the chance in them is gone."""
    xi = NOISE_LAWS[e.noise](n, generator(e.seed, "prediction"))
    return xi / xi.square().mean().sqrt()


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
    parts = (directions.T @ w).square() / w.square().sum()

    def left(log_theta: float) -> float:
        """Return |w_ni|^2 over its start, less a quarter."""
        # Directions of negative curvature grow; the exponent is cut off where it no longer matters.
        return float((parts * (-2 * np.exp(log_theta) * rates).clamp(max=50).exp()).sum()) - 0.25

    if rates.max() <= 0:
        return float("inf")
    scale = -float(rates.max().log())
    ends = np.linspace(scale - 5, scale + 25, 121)
    below = [i for i, t in enumerate(ends) if left(t) < 0]
    if not below or below[0] == 0:
        return float("inf")
    return float(np.exp(brentq(left, ends[below[0] - 1], ends[below[0]])))


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
    cut = LinearInNoise(e.network(), _unit_noise(e, len(x)) * sigma_eps)
    with torch.no_grad():
        clean = cut.orders(x)[0]
    return e.eta * top_curvature(cut, e.criterion(), x, y, at=clean)
