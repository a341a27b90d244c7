"""The linear model in continuous time: closed form, integrated flow, Langevin equation.

All times are flow times, learning rate times SGD steps. The closed form and the velocities are
compiled from `nin.theory.closed_form`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy
from scipy import integrate as ode

from nin.linear.model import check_arguments
from nin.theory import closed_form as theory
from nin.theory import noise_map
from nin.theory import symbols as s
from nin.theory import two_layer as model

Array = np.ndarray
_SETTING = (s.sigma_eps, s.M, s.sigma_x)


class FlowCourse(NamedTuple):
    """The linear model along the flow.

    Attributes:
        t: Flow times, (n,).
        w1: Weight of the second layer, (n, *shape).
        u: Noise weight w_NI, (n, *shape).
        w0: Weight of the first layer, (n, *shape).
        loss: Loss with eps = 0, Eq. (21), (n, *shape).
    """

    t: Array
    w1: Array
    u: Array
    w0: Array
    loss: Array


@cache
def _closed_functions() -> dict[str, Callable[..., Any]]:
    arguments = (theory.E, theory.S_PLUS, theory.S_MINUS, theory.t, *model.WEIGHTS, *_SETTING)
    return {
        name: sympy.lambdify(arguments, expression, "numpy", cse=True)
        for name, expression in theory.solution().items()
    }


@cache
def _velocity(back_reaction: bool) -> Callable[..., Any]:
    rates = theory.velocity(back_reaction=back_reaction)
    return sympy.lambdify((*model.WEIGHTS, *_SETTING), tuple(rates), "numpy", cse=True)


@cache
def _langevin_noise() -> Callable[..., Any]:
    arguments = (*model.WEIGHTS, *_SETTING, s.eta, s.batch_size)
    return sympy.lambdify(arguments, tuple(theory.langevin_noise()), "numpy", cse=True)


_spread = sympy.lambdify((s.w1, s.w0, s.M), theory.SPREAD, "numpy")
_final_weights = sympy.lambdify((s.w1, s.u, s.w0, s.M), tuple(theory.FINAL_WEIGHTS), "numpy")
_late_rate = sympy.lambdify((s.w1, s.w0, s.sigma_eps, s.sigma_x), theory.LATE_RATE, "numpy")
_clean_loss = sympy.lambdify((s.w1, s.w0, s.M, s.sigma_x), noise_map.CLEAN_LOSS, "numpy")


def _times(t: Any) -> Array:
    times = np.atleast_1d(np.asarray(t, float))
    if times.ndim != 1 or not np.isfinite(times).all() or (times < 0).any():
        raise ValueError(f"t must be flow times >= 0 in one dimension, not {t!r}")
    return times


def closed_form(
    t: Any, *, w1: Any, u: Any, w0: Any, sigma_eps: Any, M: Any = 1.0, sigma_x: Any = 1.0
) -> FlowCourse:
    """Solve the flow of App. D, where the noise weight does not act on the data weights.

    Gives Eqs. (26) and (27) of Levi et al. (2022) without their integrals. All arguments but t
    broadcast against each other.

    Args:
        t: Flow times >= 0, (n,).
        w1: Weight of the second layer at t = 0.
        u: Noise weight w_NI at t = 0.
        w0: Weight of the first layer at t = 0.
        sigma_eps: Standard deviation of the noise, >= 0.
        M: Slope to learn, not 0.
        sigma_x: Standard deviation of the data, > 0.

    Raises:
        ValueError: If an argument is out of range.

    >>> course = closed_form([0, 50], w1=0.5, u=0.3, w0=0.1, sigma_eps=1)
    >>> [round(float(w), 6) for w in (course.w1[-1] * course.w0[-1], course.u[-1])]
    [1.0, 0.0]
    """
    given = {"w1": w1, "u": u, "w0": w0, "sigma_eps": sigma_eps, "M": M, "sigma_x": sigma_x}
    at = check_arguments(given)
    if not (at["sigma_x"] > 0).all():
        raise ValueError("sigma_x must be > 0: without data there is nothing to learn")
    times = _times(t)
    column = times.reshape(-1, *(1,) * at["w1"].ndim)
    S = _spread(at["w1"], at["w0"], at["M"])
    larger = S + 2 * abs(at["M"])  # the smaller from their product, without a difference
    smaller = (at["w0"] ** 2 - at["w1"] ** 2) ** 2 / larger
    plus, minus = np.where(at["M"] > 0, (larger, smaller), (smaller, larger))
    E = np.exp(-np.minimum(at["sigma_x"] ** 2 * S * column, 700))  # e^-700 is still a number
    found = {
        name: f(E, plus, minus, column, *(at[str(w)] for w in (*model.WEIGHTS, *_SETTING)))
        for name, f in _closed_functions().items()
    }
    return FlowCourse(times, *(found[name] for name in FlowCourse._fields[1:]))


def integrate(
    t: Any,
    *,
    w1: float,
    u: float,
    w0: float,
    sigma_eps: float,
    M: float = 1.0,
    sigma_x: float = 1.0,
    back_reaction: bool = True,
    rtol: float = 1e-10,
) -> FlowCourse:
    """Integrate the flow of one start numerically, by an implicit method for stiff equations.

    Args:
        t: Rising flow times >= 0, (n,).
        w1: Weight of the second layer at t = 0.
        u: Noise weight w_NI at t = 0.
        w0: Weight of the first layer at t = 0.
        sigma_eps: Standard deviation of the noise, >= 0.
        M: Slope to learn, not 0.
        sigma_x: Standard deviation of the data, >= 0.
        back_reaction: Whether the noise weight acts on the data weights, as in SGD.
        rtol: Relative error allowed per step.

    Raises:
        ValueError: If an argument is out of range.
        RuntimeError: If the integrator gives up.
    """
    start = {"w1": w1, "u": u, "w0": w0}
    setting = {"sigma_eps": sigma_eps, "M": M, "sigma_x": sigma_x}
    check_arguments({**start, **setting})
    times, rates = _times(t), _velocity(back_reaction)
    found = ode.solve_ivp(
        lambda _, w: rates(*w, *setting.values()),
        (0.0, float(times[-1])),
        list(start.values()),
        method="LSODA",
        t_eval=times,
        rtol=rtol,
        atol=1e-14,
    )
    if not found.success:
        raise RuntimeError(f"the flow could not be integrated: {found.message}")
    w1_t, u_t, w0_t = found.y
    return FlowCourse(times, w1_t, u_t, w0_t, _clean_loss(w1_t, w0_t, M, sigma_x))


def late_rate(*, w1: float, u: float, w0: float, sigma_eps: float) -> tuple[float, float]:
    """Measure at which rate the loss falls in the end, with the noise weight's back-reaction.

    M and sigma_x are 1.

    Args:
        w1: Weight of the second layer at t = 0.
        u: Noise weight w_NI at t = 0, not 0.
        w0: Weight of the first layer at t = 0.
        sigma_eps: Standard deviation of the noise, > 0.

    Returns:
        -d ln L / dt, measured where the integrated loss falls from 1e-12 to 1e-15 of its unit,
        and `LATE_RATE` at the final weights, both per flow time.

    Raises:
        ValueError: If an argument is out of range.
        RuntimeError: If the loss does not fall so far in 200 of its last decay times.
    """
    final_w1, final_w0 = _final_weights(w1, u, w0, 1.0)
    predicted = float(_late_rate(final_w1, final_w0, sigma_eps, 1.0))
    t = np.linspace(0, 200 / predicted, 20_001)
    loss = integrate(t, w1=w1, u=u, w0=w0, sigma_eps=sigma_eps, rtol=1e-12).loss
    begin = int((loss > 1e-12).nonzero()[0][-1]) + 1
    end = begin + int((loss[begin:] < 1e-15).argmax())
    if end < begin + 3:
        raise RuntimeError("the loss has not fallen to 1e-15: this start learns too slowly")
    slope = np.polynomial.Polynomial.fit(t[begin:end], np.log(loss[begin:end]), 1).deriv()(0)
    return -float(slope), predicted


def langevin(
    *,
    t: float,
    runs: int,
    w1: float,
    u: float,
    w0: float,
    sigma_eps: float,
    eta: float,
    batch_size: int,
    seed: int = 0,
) -> Array:
    """Simulate the Langevin equation of SGD (Ito) to flow time t.

    M and sigma_x are 1. Half a step of SGD at a time takes the drift by Runge-Kutta's method of
    order 4 and the noise at its start: since the noise is of size sqrt(eta / |B|), the error of an
    average is of order eta^2 / |B|.

    Args:
        t: Flow time, a multiple of eta.
        runs: Number of paths.
        w1: Weight of the second layer at t = 0.
        u: Noise weight w_NI at t = 0.
        w0: Weight of the first layer at t = 0.
        sigma_eps: Standard deviation of the noise, >= 0.
        eta: Learning rate of the SGD that it stands for, > 0.
        batch_size: Samples per batch of that SGD.
        seed: Of the random numbers.

    Returns:
        ``(w1, u, w0)`` at time t, (3, runs).

    Raises:
        ValueError: If an argument is out of range, or t is no multiple of eta.
    """
    setting = {"sigma_eps": sigma_eps, "M": 1.0, "sigma_x": 1.0}
    check_arguments({**setting, "w1": w1, "u": u, "w0": w0, "eta": eta, "batch_size": batch_size})
    steps = round(t / eta)
    if runs < 1 or steps < 0 or abs(steps * eta - t) > 1e-9 * max(t, eta):
        raise ValueError(
            f"expected runs >= 1 and t a multiple of eta, not {runs} and t = {t} with eta = {eta}"
        )
    g, h = np.random.default_rng(seed), eta / 2
    rates, noise = _velocity(True), _langevin_noise()

    def slope(w: Array) -> Array:
        return np.stack(rates(*w, *setting.values()))

    w = np.repeat(np.array([[w1], [u], [w0]], float), runs, axis=1)
    for _ in range(2 * steps):
        matrix = noise(*w, *setting.values(), eta, batch_size)
        dW = np.sqrt(h) * g.standard_normal((3, runs))
        kick = np.stack([sum(matrix[3 * i + j] * dW[j] for j in range(3)) for i in range(3)])
        k1 = slope(w)
        k2 = slope(w + h / 2 * k1)
        k3 = slope(w + h / 2 * k2)
        w = w + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(w + h * k3)) + kick
    return w
