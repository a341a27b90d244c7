"""The linear model of Sec. 3: exact SGD of its three weights, many runs at once.

The step and the losses are compiled from the SymPy expressions of `nin.theory`; the loop over
runs, steps and random numbers is one compiled function, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numba import njit

from nin.linear import batch_draws as moments
from nin.runs.history import History
from nin.runs.phases import Phase, linear_phase_index
from nin.theory import noise_map
from nin.theory import symbols as s
from nin.theory import two_layer as theory

Array = np.ndarray
PARAMETERS = ("sigma_eps", "eta", "batch_size", "M", "sigma_x")
NOISE_MODES: dict[str, Callable[..., Any]] = {
    "explicit": moments.explicit_moments,
    "wishart": moments.wishart_moments,
    "eq3": moments.eq_3_moments,
    "none": moments.mean_moments,
}
"""How a step draws its batch.

``"explicit"``: |B| samples, one by one; ``"wishart"``: the same distribution from three random
numbers; ``"eq3"``: Eq. (3) with its missing row, where only <x eps> fluctuates; ``"none"``: all
three moments are their means, so that nothing fluctuates.
"""
LARGEST = 1e60
"""A weight beyond this has diverged: its loss, a fourth power, is about to overflow."""


def _lambdify(expression: Any, *arguments: Any) -> Callable[..., Any]:
    return sympy.lambdify(arguments, expression, "math", cse=True)


_moment = (theory.mean_xx, theory.mean_xe, theory.mean_ee)
_constants = (s.M, s.eta)
step = _lambdify(tuple(theory.batch_step()), *theory.WEIGHTS, *_constants, *_moment)
"""``step(w1, u, w0, M, eta, xx, xe, ee)``: the next (w1, u, w0); floats or arrays."""
_of_loss = (*theory.WEIGHTS, s.sigma_eps, s.M, s.sigma_x)
mean_loss = _lambdify(noise_map.mean_loss(), *_of_loss)
"""``mean_loss(w1, u, w0, sigma_eps, M, sigma_x)``: noisy loss, averaged over all batches."""
clean_loss = _lambdify(noise_map.CLEAN_LOSS, *_of_loss)
"""``clean_loss(w1, u, w0, sigma_eps, M, sigma_x)``: the same with eps = 0, Eq. (21)."""


@lru_cache
def _kernel(noise: str) -> Callable[..., None]:
    """Compile the loop over runs and steps for one noise mode."""
    draw = NOISE_MODES[noise]
    next_weights, loss_of = (
        njit(f, forceinline=True, error_model="numpy") for f in (step, mean_loss)
    )

    @njit(error_model="numpy", nogil=True)
    def run(weights, constants, states, first, record, kept, peaks, diverged):  # type: ignore[no-untyped-def]
        for r in range(weights.shape[1]):
            w1, u, w0 = weights[0, r], weights[1, r], weights[2, r]
            sigma_eps, eta, M, sigma_x = (
                constants[0, r],
                constants[1, r],
                constants[3, r],
                constants[4, r],
            )
            size, state, t = np.int64(constants[2, r]), states[r], first
            u_peak, w1_peak, loss_peak = peaks[0, r], peaks[1, r], peaks[2, r]
            for k in range(len(record)):
                while t < record[k] and diverged[r] < 0:
                    t += 1
                    state, xx, xe, ee = draw(state, sigma_x, sigma_eps, size)
                    next_w1, next_u, next_w0 = next_weights(w1, u, w0, M, eta, xx, xe, ee)
                    if not abs(next_w1) + abs(next_u) + abs(next_w0) < LARGEST:
                        diverged[r] = t
                    else:
                        w1, u, w0 = next_w1, next_u, next_w0
                        u_peak, w1_peak = max(u_peak, abs(u)), max(w1_peak, abs(w1))
                        loss_peak = max(loss_peak, loss_of(w1, u, w0, sigma_eps, M, sigma_x))
                kept[k, 0, r], kept[k, 1, r], kept[k, 2, r] = w1, u, w0
            states[r] = state
            peaks[0, r], peaks[1, r], peaks[2, r] = u_peak, w1_peak, loss_peak

    return run


@dataclass(frozen=True)
class LinearRuns:
    """What many runs of the linear model leave behind; `shape` is that of the runs.

    Attributes:
        noise: The noise mode.
        constants: ``sigma_eps``, ``eta``, ``batch_size``, ``M`` and ``sigma_x``, `shape` each.
        step: Steps at which weights were kept, (n,) int64.
        w1: Weight of the second layer, (n, *shape).
        u: Noise weight w_NI, (n, *shape).
        w0: Weight of the first layer, (n, *shape).
        peaks: Largest |u|, |w1| and mean noisy loss of all steps, kept or not, (3, *shape).
        start: Their values at step 0, (3, *shape).
        diverged_step: The step that led to a weight beyond `LARGEST`, or -1, `shape` int64. From
            there on the weights stay at their last values below it.
        states: Where each run's stream of random numbers has got to, `shape` uint64.
    """

    noise: str
    constants: dict[str, Array] = field(repr=False)
    step: Array
    w1: Array = field(repr=False)
    u: Array = field(repr=False)
    w0: Array = field(repr=False)
    peaks: Array = field(repr=False)
    start: Array = field(repr=False)
    diverged_step: Array = field(repr=False)
    states: Array = field(repr=False)

    @property
    def diverged(self) -> Array:
        """Whether each run diverged, `shape` bool."""
        return self.diverged_step >= 0

    @property
    def loss(self) -> Array:
        """Noisy loss averaged over all batches, at the weights kept, (n, *shape)."""
        return mean_loss(self.w1, self.u, self.w0, *self._of_loss)

    @property
    def clean_loss(self) -> Array:
        """The same with eps = 0, (n, *shape)."""
        return clean_loss(self.w1, self.u, self.w0, *self._of_loss)

    @property
    def _of_loss(self) -> list[Array]:
        return [self.constants[name] for name in ("sigma_eps", "M", "sigma_x")]

    def phases(self) -> Array:
        """Return each run's phase by the rule of `classify_phase`, positions in ``list(Phase)``.

        Peaks are those of all steps, not only of those kept.
        """
        end = np.array([abs(self.u[-1]), abs(self.w1[-1]), self.loss[-1]])
        return linear_phase_index(self.start, self.peaks, end, self.diverged)

    def counts(self) -> dict[Phase, int]:
        """Return how many runs are in each phase."""
        found = self.phases()
        return {phase: int((found == k).sum()) for k, phase in enumerate(Phase)}

    def history(self, index: Any = ()) -> History:
        """Return one run as a `History`, until it diverged.

        The noisy loss is the average over all batches, so it has no noise of its own; there is no
        accuracy, and training and validation are the same infinite data set.

        Args:
            index: Of the run, as for an array of `shape`.
        """
        diverged = int(self.diverged_step[index])
        kept = slice(None) if diverged < 0 else self.step < diverged
        w1, u, w0, loss, clean = (
            values[(slice(None), *np.atleast_1d(index))][kept]
            for values in (self.w1, self.u, self.w0, self.loss, self.clean_loss)
        )
        none = np.full_like(loss, np.nan)
        return History(
            steps_per_epoch=1,
            step=self.step[kept],
            loss=loss,
            accuracy=none,
            norms={"w_ni": abs(u), "w1": abs(w1), "w0": abs(w0)},
            eval_step=self.step[kept],
            train_loss=clean,
            train_accuracy=none,
            val_loss=clean,
            val_accuracy=none,
            diverged_step=None if diverged < 0 else diverged,
            last_finite_loss=float(loss[-1]),
        )

    def resume(self, steps: int) -> LinearRuns:
        """Continue for more steps, with the random numbers that would have come next.

        Args:
            steps: Number of further steps; none but the first and the last of them is kept.

        Returns:
            The continuation; its peaks include those of this leg.
        """
        first = int(self.step[-1])
        return replace(
            self,
            **_advance(
                self.noise,
                self.constants,
                np.stack([self.w1[-1], self.u[-1], self.w0[-1]]),
                self.states,
                self.peaks,
                self.diverged_step,
                _steps_to_keep(first, first + steps, None),
            ),
        )


def simulate(
    *,
    w1: Any,
    u: Any,
    w0: Any,
    sigma_eps: Any,
    eta: Any,
    batch_size: Any,
    steps: int,
    M: Any = 1.0,
    sigma_x: Any = 1.0,
    noise: str = "wishart",
    record: Iterable[int] | None = None,
    seed: int = 0,
) -> LinearRuns:
    """Train the linear model by SGD. All arguments but the last four broadcast against each other.

    Corrects Eq. (3) of Levi et al. (2022): w0 learns too, and all terms share one batch.

    Args:
        w1: Initial weight of the second layer.
        u: Initial noise weight w_NI.
        w0: Initial weight of the first layer.
        sigma_eps: Standard deviation of the noise, >= 0.
        eta: Learning rate, > 0.
        batch_size: Samples per batch, >= 1.
        steps: Number of SGD steps, >= 0.
        M: Slope to learn, not 0.
        sigma_x: Standard deviation of the data, >= 0; 0 leaves the noise alone.
        noise: A key of `NOISE_MODES`.
        record: Steps to keep besides the first and the last.
        seed: Of the random numbers; run number r (in C order) has stream r of this seed.

    Raises:
        ValueError: If an argument is out of range, not finite or does not broadcast.

    >>> run = simulate(w1=1, u=0.1, w0=0.1, sigma_eps=[1, 30], eta=0.01, batch_size=10, steps=500)
    >>> run.diverged.tolist()
    [False, True]
    """
    if noise not in NOISE_MODES:
        raise ValueError(f"noise must be one of {', '.join(NOISE_MODES)}, not {noise!r}")
    given = {
        "w1": w1, "u": u, "w0": w0, "sigma_eps": sigma_eps, "eta": eta, "batch_size": batch_size,
        "M": M, "sigma_x": sigma_x,
    }  # fmt: skip
    arrays = check_arguments(given)
    weights = np.stack([arrays[name] for name in ("w1", "u", "w0")])
    constants = {name: arrays[name] for name in PARAMETERS}
    shape = weights.shape[1:]
    start_loss = mean_loss(*weights, constants["sigma_eps"], constants["M"], constants["sigma_x"])
    start = np.stack([abs(weights[1]), abs(weights[0]), start_loss])
    states = moments.streams(seed, int(np.prod(shape))).reshape(shape)
    keep = _steps_to_keep(0, steps, record)
    never = np.full(shape, -1, np.int64)
    course = _advance(noise, constants, weights, states, start, never, keep)
    return LinearRuns(noise=noise, constants=constants, start=start, **course)


_RULES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "sigma_eps": (lambda v: v >= 0, ">= 0"),
    "eta": (lambda v: v > 0, "> 0"),
    "batch_size": (lambda v: (v >= 1) & (v == np.rint(v)), "a whole number >= 1"),
    "M": (lambda v: v != 0, "other than 0: a slope to learn"),
    "sigma_x": (lambda v: v >= 0, ">= 0"),
}


def check_arguments(given: dict[str, Any]) -> dict[str, Array]:
    """Return weights and constants as float64 arrays of one shape.

    Args:
        given: Arguments of `simulate` by name.

    Raises:
        ValueError: If one is out of range or not finite, or they do not broadcast.
    """
    arrays = {name: np.asarray(value, np.float64) for name, value in given.items()}
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, not {values[~np.isfinite(values)][0]}")
        allowed, expected = _RULES.get(name, (np.isfinite, "finite"))
        if not allowed(values).all():
            raise ValueError(f"{name} must be {expected}, not {values[~allowed(values)][0]:g}")
    try:
        shape = np.broadcast_shapes(*(values.shape for values in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {v.shape}" for name, v in arrays.items() if v.ndim)
        raise ValueError(f"these shapes do not broadcast: {shapes}") from None
    return {name: np.broadcast_to(values, shape) for name, values in arrays.items()}


def _steps_to_keep(first: int, last: int, record: Iterable[int] | None) -> Array:
    if last < first:
        raise ValueError(f"steps must be >= 0, not {last - first}")
    keep = np.unique(np.asarray([first, last, *(() if record is None else record)], np.int64))
    if keep[0] < first or keep[-1] > last:
        raise ValueError(f"record must name steps from {first} to {last}, not {keep.tolist()}")
    return keep


def _advance(
    noise: str,
    constants: dict[str, Array],
    weights: Array,
    states: Array,
    peaks: Array,
    diverged: Array,
    keep: Array,
) -> dict[str, Any]:
    """Run the compiled loop; return the fields of `LinearRuns` that it fills."""
    shape = weights.shape[1:]
    n = int(np.prod(shape))
    kept = np.empty((len(keep), 3, n))
    states, peaks, diverged = states.flatten(), peaks.reshape(3, n).copy(), diverged.flatten()
    packed = np.stack([constants[name].reshape(n) for name in PARAMETERS])
    _kernel(noise)(weights.reshape(3, n), packed, states, keep[0], keep, kept, peaks, diverged)
    w1, u, w0 = (kept[:, k].reshape(len(keep), *shape) for k in range(3))
    return {
        "step": keep,
        "w1": w1,
        "u": u,
        "w0": w0,
        "peaks": peaks.reshape(3, *shape),
        "diverged_step": diverged.reshape(shape),
        "states": states.reshape(shape),
    }
