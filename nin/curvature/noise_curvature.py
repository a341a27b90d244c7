"""The curvature of a noisy loss against the noise, and the borders of phases that it predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor, nn

from nin.curvature.gauss_newton import top_curvature
from nin.networks.attachment import NOISE_LAWS, nodes
from nin.networks.data import Inputs
from nin.networks.losses import Loss, LossFunction
from nin.networks.seeds import generator
from nin.runs.phases import MARGIN
from nin.runs.times import first_crossing
from nin.theory.levels import GROWTH, LAMBDA_DIV


@dataclass(frozen=True)
class Prediction:
    """Predicted borders in sigma_eps.

    Infinite where nothing is predicted to begin, 0 where the weakest noise is past the border.

    Attributes:
        surge: Where the noisy loss begins to rise.
        catapult: Where |w_ni| rises too, by the margin of `nin.runs.phases`.
        divergent: Where the rise does not end.
    """

    surge: float
    catapult: float
    divergent: float

    @staticmethod
    def of(loss_rises: float, w_ni_rises: float, divergent: float) -> Prediction:
        """Return the borders, told where each rise begins; what diverges is past every border.

        Next to where |w_ni| begins to rise it hardly does, and not by as much as counts.
        """
        surge = min(loss_rises, divergent)
        counts = _rise_that_counts(loss_rises, w_ni_rises)
        return Prediction(surge, min(max(loss_rises, counts), divergent), divergent)


def _rise_that_counts(loss_rises: float, w_ni_rises: float) -> float:
    """Return sigma_eps above which |w_ni| rises by `MARGIN`, told where both rises begin."""
    if not 0 < loss_rises < w_ni_rises < np.inf:
        return w_ni_rises
    next_layer = GROWTH / w_ni_rises**2
    w_ni = GROWTH / loss_rises**2 - next_layer
    outweighs, rise_sq = _rise_by_margin()
    if outweighs * w_ni >= next_layer:  # the run diverges before |w_ni| has risen by so much
        return np.inf
    return float(np.sqrt(rise_sq(next_layer, w_ni, MARGIN**2)))


@cache
def _rise_by_margin() -> tuple[float, Callable[[float, float, float], float]]:
    """Return `OUTWEIGHS` of the theory, for `MARGIN`, and `RISE_SQ` of kappa, upsilon, margin."""
    import sympy  # noqa: PLC0415  (a second, with the theory)

    from nin.theory import closed_borders as theory  # noqa: PLC0415

    rise_sq = sympy.lambdify((theory.kappa, theory.upsilon, theory.margin), theory.RISE_SQ)
    return float(theory.OUTWEIGHS.subs(theory.margin, MARGIN**2)), rise_sq


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


def noisy_curve(
    model: nn.Module,
    layer: str,
    x: Inputs,
    y: Tensor,
    loss: Loss | LossFunction,
    sigma_eps: Sequence[float],
    eta: float,
    seed: int = 0,
) -> Curve:
    """Measure the curvature of a network's noisy loss at several noise strengths.

    Args:
        model: The network, its node in ``train()``; what the node injects is overwritten.
        layer: Name of the layer whose node injects.
        x: Inputs, (batch, ...).
        y: Labels or targets, (batch, ...).
        loss: The loss of each sample; of outputs (batch, d).
        sigma_eps: Noise strengths, rising.
        eta: Learning rate.
        seed: Of the noise.
    """
    node = nodes(model)[layer]
    xi, rows = unit_noise(node.noise, len(y), seed), []
    for sigma in sigma_eps:
        node.eps = xi * sigma
        varied = ("", f"{layer}.nin.w_ni")
        rows.append([eta * top_curvature(model, loss, x, y, of) for of in varied])
    lam, lam_w_ni = np.array(rows).T
    return Curve(np.array(sigma_eps, float), lam, lam_w_ni)


def unit_noise(law: str, n: int, seed: int) -> Tensor:
    """Draw n values of noise whose own mean square is 1: most of the chance in them is gone."""
    xi = NOISE_LAWS[law](n, generator(seed, "prediction"))
    return xi / xi.square().mean().sqrt()
