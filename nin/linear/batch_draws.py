"""Random numbers for the linear model: the moments of a minibatch, drawn exactly and fast.

SGD on the linear model needs three numbers of a batch: the averages of x^2, x eps and eps^2. For
Gaussian x and eps they are a 2-by-2 Wishart matrix over |B|, and Bartlett's decomposition draws it
from one normal and two chi-squared numbers, whatever |B| is. Compiled by numba: all functions here
run inside the loop over steps.

Each run has a stream of its own, a SplitMix64 counter (Steele, Lea and Flood, 2014) that starts at
a distance of 2^36 draws from that of the next run, so a run does not depend on its neighbours.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Inlined into the loop over steps, so that what depends on |B| alone is computed once per run.
_compiled = njit(forceinline=True, error_model="numpy")

_S27, _S30, _S31, _S11, _LAYER = (np.uint64(n) for n in (27, 30, 31, 11, 0xFF))
_STREAM_LENGTH = 2**36
_R = 3.6541528853610088  # where the tail of a ziggurat with 256 layers begins


def _ziggurat() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return widths, inner borders and heights of the layers (Marsaglia and Tsang, 2000)."""
    x, f = np.zeros(256), np.ones(256)
    x[255], f[255] = _R, math.exp(-(_R**2) / 2)
    area = _R * f[255] + math.sqrt(math.pi / 2) * math.erfc(_R / math.sqrt(2))
    for i in range(254, 0, -1):
        f[i] = area / x[i + 1] + f[i + 1]
        x[i] = math.sqrt(-2 * math.log(f[i]))
    x[0] = area / f[255]  # the base layer holds the tail: as wide as its area asks
    inner = np.concatenate([[_R], x[:255]]) / x
    inner[1] = 0
    return x * 2.0**-52, inner * 2.0**52, f  # for distances of 52 bits


_WIDTH, _INNER, _HEIGHT = _ziggurat()


@_compiled
def next_bits(state):  # type: ignore[no-untyped-def]
    """Return the stream's next state and 64 random bits."""
    state = state + _GOLDEN
    z = (state ^ (state >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return state, z ^ (z >> _S31)


@_compiled
def uniform(state):  # type: ignore[no-untyped-def]
    """Return the next state and a number in (0, 1)."""
    state, bits = next_bits(state)
    return state, (np.float64(np.int64(bits >> _S11)) + 0.5) * 2.0**-53


@_compiled
def normal(state):  # type: ignore[no-untyped-def]
    """Return the next state and a standard normal number."""
    while True:
        state, bits = next_bits(state)
        layer = np.int64(bits & _LAYER)
        distance = np.float64(np.int64(bits) >> 11)  # with its sign, so that no branch asks for it
        x = distance * _WIDTH[layer]
        if abs(distance) < _INNER[layer]:
            return state, x
        if layer == 0:
            while True:
                state, a = uniform(state)
                state, b = uniform(state)
                beyond = -math.log(a) / _R
                if -2 * math.log(b) > beyond * beyond:
                    return state, math.copysign(_R + beyond, x)
        state, a = uniform(state)
        low, high = _HEIGHT[layer], _HEIGHT[layer - 1]
        if low + (high - low) * a < math.exp(-0.5 * x * x):
            return state, x


@_compiled
def chi_squared(state, degrees):  # type: ignore[no-untyped-def]
    """Return the next state and a chi-squared number (Marsaglia and Tsang's gamma, 2000)."""
    if degrees == 0:
        return state, 0.0
    if degrees == 1:
        state, x = normal(state)
        return state, x * x
    d = 0.5 * degrees - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        state, x = normal(state)
        v = 1.0 + c * x
        if v <= 0:
            continue
        v = v * v * v
        state, a = uniform(state)
        if a < 1.0 - 0.0331 * (x * x) * (x * x):
            return state, 2.0 * d * v
        if math.log(a) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return state, 2.0 * d * v


@_compiled
def wishart_moments(state, sigma_x, sigma_eps, batch_size):  # type: ignore[no-untyped-def]
    """Return the next state and <x^2>, <x eps>, <eps^2> of a batch, by Bartlett's decomposition."""
    state, xx = chi_squared(state, batch_size)
    state, across = normal(state)
    state, rest = chi_squared(state, batch_size - 1)
    xe = math.sqrt(xx) * across
    per = 1.0 / batch_size
    moments = sigma_x * sigma_x * xx, sigma_x * sigma_eps * xe, across * across + rest
    return state, moments[0] * per, moments[1] * per, sigma_eps * sigma_eps * moments[2] * per


@_compiled
def explicit_moments(state, sigma_x, sigma_eps, batch_size):  # type: ignore[no-untyped-def]
    """Return the next state and the moments of a batch whose samples are drawn one by one."""
    xx = xe = ee = 0.0
    for _ in range(batch_size):
        state, x = normal(state)
        state, eps = normal(state)
        x, eps = sigma_x * x, sigma_eps * eps
        xx += x * x
        xe += x * eps
        ee += eps * eps
    return state, xx / batch_size, xe / batch_size, ee / batch_size


@_compiled
def eq_3_moments(state, sigma_x, sigma_eps, batch_size):  # type: ignore[no-untyped-def]
    """Return the next state and the moments as Eq. (3) has them: only <x eps> fluctuates."""
    state, phi = normal(state)
    xe = phi * sigma_x * sigma_eps / math.sqrt(batch_size)
    return state, sigma_x * sigma_x, xe, sigma_eps * sigma_eps


@_compiled
def mean_moments(state, sigma_x, sigma_eps, batch_size):  # type: ignore[no-untyped-def]
    """Return the state as it is and the means of the moments: nothing fluctuates."""
    return state, sigma_x * sigma_x, 0.0, sigma_eps * sigma_eps


def streams(seed: int, n: int) -> np.ndarray:
    """Return the initial states of n streams, (n,) uint64, that do not overlap.

    Args:
        seed: Names a set of streams; other seeds give unrelated sets.
        n: Number of runs, at most 2^28.

    Raises:
        ValueError: If there are too many runs.
    """
    if n > 2**28:
        raise ValueError(f"n must be at most 2^28 runs, not {n}: simulate them in parts")
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):  # states wrap around at 2^64, as they should
        return start + np.arange(n, dtype=np.uint64) * (np.uint64(_STREAM_LENGTH) * _GOLDEN)
