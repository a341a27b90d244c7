"""What Eq. (2) says of one step of w_ni, for one batch: drift, kinks, kick and bend."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F

from nin.curvature.local import LocalLoss, Tail
from nin.networks.models import MLP

# SymPy and the theory are imported where their formulas are used: they take a second.


def step_rates(
    local: LocalLoss, w: Tensor, eps: Tensor, sigma_eps: float, eta: float
) -> dict[str, float]:
    """Say how much of ln|w_ni| one SGD step takes off, by Eq. (2) to second order in the step.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        eps: The noise of this step, (batch,): Gaussian.
        sigma_eps: Its standard deviation.
        eta: Learning rate.

    Returns:
        By name: ``"curvature"``, eta sigma_eps^2 w^T<H>w / |w|^2, Eq. (2) with its factor
        corrected; ``"kinks"``, what the kinks of a ReLU layer of an `MLP` add (0 elsewhere);
        ``"kick"``, what the noise as drawn adds to first order, of mean 0; ``"bend"``, what the
        logarithm adds to second order: the mean contribution of the random walk, of the
        fluctuation that footnote 2 neglects, and of a finite step.
    """
    size = float(w.norm())
    unit = w / size
    g, hw = local.gradient_and_product(w, torch.zeros(len(local.y), len(w)).to(w))
    drift = eta * sigma_eps**2 / size * hw.mean(0)
    along = float(unit @ drift)
    scatter = [  # of the odd and of the even part of the noise, across w less along it
        factor * float((v.square().sum(1) - 2 * (v @ unit).square()).mean())
        for factor, v in ((sigma_eps**2, g), (2 * sigma_eps**4, hw))
    ]
    noise = (eta / size) ** 2 / len(local.y) * sum(scatter)
    return {
        "curvature": along,
        "kinks": eta * kink_pull(local, w, sigma_eps) / size**2,
        "kick": eta / size * float((eps * (g @ unit)).mean()),
        "bend": along**2 - float(drift.square().sum()) / 2 - noise / 2,
    }


def kick_size(g: Tensor, w: Tensor, sigma_eps: float, eta: float, batch_size: int) -> float:
    """Return the root mean square of what the kick of Eq. (2) does to ln|w_ni| in one step.

    Args:
        g: Local gradients, (samples, features).
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise.
        eta: Learning rate.
        batch_size: Samples of a step.
    """
    along = g @ (w / w.norm())
    return float(eta * sigma_eps / w.norm() * (along.square().mean() / batch_size).sqrt())


def resting_size(g: Tensor, curvature: float, eta: float, batch_size: int) -> float:
    """Return the |w_ni| at which the walk of the kicks balances the pull of the curvature.

    There the mean of |w_ni|^2 neither rises nor falls in a step,
    ``|w_ni|^2 = eta <|g|^2> / (2 batch_size h)`` with h the curvature along w_ni: to leading order
    in the noise, whose strength cancels, and for the direction that w_ni has.

    Args:
        g: Local gradients, (samples, features).
        curvature: h; where it is not positive there is no balance, and the result is infinite.
        eta: Learning rate.
        batch_size: Samples of a step.
    """
    if curvature <= 0:
        return math.inf
    return math.sqrt(eta * float(g.square().sum(1).mean()) / (2 * batch_size * curvature))


def halving(rates: Tensor, parts: Tensor) -> float:
    """Return theta at which ``exp(-theta <H>) w_ni`` is half as long as w_ni.

    Args:
        rates: Eigenvalues of <H>, (n,), float64.
        parts: Share of |w_ni|^2 along each eigenvector, (n,).

    Returns:
        theta, or infinity if |w_ni| never halves.

    >>> round(halving(torch.tensor([2.0, 5.0]), torch.tensor([1.0, 0.0])) * 2, 6)  # ln 2
    0.693147
    """

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


def predicted_gradient(
    local: LocalLoss, w: Tensor, sigma_eps: float, form: str = "corrected"
) -> Tensor:
    """Return the gradient that Eq. (2) predicts after averaging over the noise, (features,).

    Corrects Eq. (2) of Levi et al. (2022): the factor of the curvature term.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise.
        form: ``"corrected"`` or ``"printed"``.

    Raises:
        ValueError: If the form is neither.
    """
    from nin.theory.expansion import EQ2  # noqa: PLC0415
    from nin.theory.mean_step import drift  # noqa: PLC0415

    if form not in ("corrected", "printed"):
        raise ValueError(f'form must be "corrected" or "printed", not {form!r}')
    chosen = EQ2.corrected if form == "corrected" else EQ2.as_printed
    return -drift(chosen, 1.0, sigma_eps, local.mean_product(w))


def next_order(local: LocalLoss, w: Tensor, sigma_eps: float) -> Tensor:
    """Return the first term that Eq. (2) leaves out on average, (features,): the fourth order.

    Args:
        local: A smooth network, the layer and the batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the Gaussian noise.
    """
    from nin.theory import symbols as s  # noqa: PLC0415
    from nin.theory.mean_step import mean_order  # noqa: PLC0415

    factor = float(mean_order(4).subs(s.sigma_eps, sigma_eps))
    return factor * local.directional_gradient(w, 3).mean(0)


def kinks(local: LocalLoss, w: Tensor, sigma_eps: float) -> Tensor:
    """Return what the kinks of a ReLU layer add to the predicted gradient, (features,).

    Args:
        local: A ReLU `MLP`, one of its hidden layers, and the batch; or from `local_loss` of one.
        w: The noise injection weights, (features,), none of them 0.
        sigma_eps: Standard deviation of the Gaussian noise, > 0.

    Raises:
        ValueError: If the network is no ReLU `MLP`, or the layer has no activation behind it.
    """
    layers = _relu_layers(local, w)
    if not layers:
        raise ValueError(
            "kinks are known for an MLP with activation='relu' only, and its last layer has none"
        )
    return kink_gradient(*layers[0], sigma_eps)


def kink_pull(local: LocalLoss, w: Tensor, sigma_eps: float) -> float:
    """Return what the kinks of all ReLU layers behind add to the pull on w_ni, along w_ni.

    `kinks` with the layers that follow: a unit of a later layer is shifted by eps times the
    derivative of its pre-activation along w_ni. To leading order in the noise.

    Args:
        local: As for `kinks`; anything else has no kinks that we know.
        w: The noise injection weights, (features,), none of them 0.
        sigma_eps: Standard deviation of the Gaussian noise, > 0.

    Returns:
        w_ni times the mean gradient by w_ni that is due to kinks.
    """
    layers = _relu_layers(local, w)
    return float(sum(kink_gradient(z, out * u, u, sigma_eps).sum() for z, out, u in layers))


def _relu_layers(local: LocalLoss, w: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return what `kink_gradient` takes of each ReLU layer behind; none where we know of none."""
    model = local.model
    tail = Tail(model, local.layer) if isinstance(model, MLP) else model
    if not isinstance(tail, Tail) or tail.activation != "relu" or not len(tail.layers):
        return []
    z = local.pre_activations()
    u = w.expand_as(z)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.enable_grad():
        for layer in tail.layers:
            assert isinstance(layer, nn.Linear)  # an MLP has no others
            h = torch.relu(z) if kept else torch.relu(z).requires_grad_()
            kept.append((z.detach(), h, u))
            z, u = layer(h), F.linear(u * (z.detach() > 0), layer.weight.detach())
        outgoing = torch.autograd.grad(local.loss(z, local.y).sum(), [h for _, h, _ in kept])
    return [(z, out, u) for (z, _, u), out in zip(kept, outgoing, strict=True)]


@cache
def _kink_function() -> Any:
    import sympy  # noqa: PLC0415

    from nin.theory import symbols as s  # noqa: PLC0415
    from nin.theory.mean_step import kink_mean  # noqa: PLC0415

    z, w = sympy.symbols("z w", real=True)
    tensors = {"exp": torch.exp, "sqrt": math.sqrt, "pi": math.pi}
    return sympy.lambdify((z, w, s.sigma_eps), kink_mean(), tensors)


def kink_gradient(z: Tensor, outgoing: Tensor, w: Tensor, sigma_eps: float) -> Tensor:
    """Return what the kinks of a ReLU layer add to the mean gradient by w_ni, (features,).

    Corrects footnote 1 of Levi et al. (2022): a term of the same order as the curvature term of
    Eq. (2), to leading order in the noise.

    Args:
        z: Pre-activations, (batch, features).
        outgoing: Derivative of each sample's loss by the activation relu(z), (batch, features).
        w: The noise injection weights, (features,), none of them 0.
        sigma_eps: Standard deviation of the noise, > 0.
    """
    return (outgoing * _kink_function()(z, w, sigma_eps)).mean(0)
