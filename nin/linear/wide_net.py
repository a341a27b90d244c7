"""Two linear layers of any width and one sample: where Lewkowycz et al. (2020) found the catapult.

The network is ``f = v . u x / sqrt(n)`` with x = 1, the loss ``(f - y)^2 / 2``, and all weights
begin as N(0, 1). Its curvature is ``lambda = (|u|^2 + |v|^2) / n``. For y = 0 its output and its
curvature follow the map of the linear model's noise, `nin.theory.noise_map.CATAPULT_MAP`, with
``g = eta f / sqrt(n)`` and lambda in units of 1/eta: the width is in the start alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import sympy
from numba import njit

from nin.theory import noise_map

Array = np.ndarray
LEARNT = 1e-14
"""Loss, over the width, at which a run ends."""
LOST = 1e20
"""The same of a run that diverges."""


@dataclass(frozen=True)
class WideRuns:
    """Runs by gradient descent from independent initial weights, `shape` (runs, steps + 1).

    Attributes:
        width: n, neurons of the hidden layer.
        eta: Learning rate of each run, (runs,).
        loss: Before each step, `shape`; after the end of a run, its last value.
        eta_lam: eta times the curvature, likewise.
    """

    width: int
    eta: Array = field(repr=False)
    loss: Array = field(repr=False)
    eta_lam: Array = field(repr=False)

    @property
    def diverged(self) -> Array:
        """Whether the loss ends beyond all bounds, (runs,) bool."""
        return ~(self.loss[:, -1] < LOST * self.width)

    @property
    def rises(self) -> Array:
        """Whether the loss rises in any step, (runs,) bool."""
        return np.asarray((np.diff(self.loss) > 0).any(1))

    @property
    def peak(self) -> Array:
        """The largest loss, (runs,)."""
        return np.asarray(self.loss.max(1))

    @property
    def peak_step(self) -> Array:
        """The step before which the loss is largest, (runs,)."""
        return np.asarray(self.loss.argmax(1))

    @property
    def drop(self) -> Array:
        """How far eta times the curvature falls, (runs,)."""
        return np.asarray(self.eta_lam[:, 0] - self.eta_lam[:, -1])


def train_wide(
    width: int, eta_lam: float, seeds: Sequence[int], *, y: float = 0.0, steps: int = 500
) -> WideRuns:
    """Train networks of one width, all with the same eta times the initial curvature.

    Args:
        width: n, >= 1.
        eta_lam: eta lambda_0, > 0: it sets the learning rate of each network.
        seeds: Of the initial weights, one network each.
        y: What to learn.
        steps: Of gradient descent; fewer once a run has learnt or is lost.

    Raises:
        ValueError: If a number is out of range.

    >>> runs = train_wide(1000, 3.0, range(8))
    >>> bool(runs.rises.all() and not runs.diverged.any() and (runs.eta_lam[:, -1] < 2).all())
    True
    """
    if not (width >= 1 and eta_lam > 0 and steps >= 1 and len(seeds)):
        raise ValueError(
            f"expected width >= 1, eta_lam > 0, steps >= 1 and a seed, not width={width}, "
            f"eta_lam={eta_lam}, steps={steps}, seeds={seeds}"
        )
    eta = np.empty(len(seeds))
    course = np.empty((2, len(seeds), steps + 1))
    for i, seed in enumerate(seeds):
        u, v = np.random.default_rng([seed, width]).standard_normal((2, width))
        eta[i] = eta_lam * width / (u @ u + v @ v)
        _descend(u, v, y, eta[i], course[0, i], course[1, i])
    return WideRuns(width, eta, course[0], course[1] * eta[:, None])


@njit(fastmath={"reassoc", "contract"})  # the order of the sums is free
def _descend(u, v, y, eta, loss, lam):  # type: ignore[no-untyped-def]
    """Train one network in place; fill in its loss and curvature before each step."""
    n, t, last = len(u), 0, len(loss) - 1
    while True:
        product, squares = 0.0, 0.0
        for i in range(n):
            product += u[i] * v[i]
            squares += u[i] * u[i] + v[i] * v[i]
        miss = product / np.sqrt(n) - y
        loss[t], lam[t] = miss * miss / 2, squares / n
        if t == last or loss[t] < LEARNT * n or not loss[t] < LOST * n:
            break
        t += 1
        part = eta * miss / np.sqrt(n)
        for i in range(n):
            u[i], v[i] = u[i] - part * v[i], v[i] - part * u[i]
    for later in range(t + 1, last + 1):  # an array's slice takes numba four seconds to compile
        loss[later], lam[later] = loss[t], lam[t]


def follow_map(runs: WideRuns) -> tuple[Array, Array]:
    """Return the loss and eta times the curvature that the map of the noise gives, shape alike.

    Args:
        runs: Of networks that learn y = 0; only their start is read.
    """
    step = sympy.lambdify((noise_map.g, noise_map.lam), tuple(noise_map.CATAPULT_MAP))
    unit = runs.width / runs.eta**2  # of f^2, over g^2
    g, lam = np.sqrt(2 * runs.loss[:, 0] / unit), runs.eta_lam[:, 0]
    course = [(g, lam)]
    with np.errstate(all="ignore"):  # a diverging run overflows; the others do not notice
        for _ in range(runs.loss.shape[1] - 1):
            g, lam = step(g, lam)
            course.append((g, lam))
    of_g, of_lam = np.array(course).transpose(1, 2, 0)
    return of_g**2 * unit[:, None] / 2, of_lam


def peak_slope(eta_lam: float) -> float:
    """Return by how many steps the peak of the loss is later for each unit of ln n.

    The output grows by ``eta lambda_0 - 1`` a step, from order 1 to order sqrt(n).

    Args:
        eta_lam: eta lambda_0, between 2 and 4.

    >>> round(peak_slope(3.0), 4)  # 1 / (2 ln 2)
    0.7213
    """
    return float(1 / (2 * np.log(eta_lam - 1)))
