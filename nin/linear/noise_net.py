"""A network that sees the noise and no image, of any size and for either loss: its borders.

Labels know nothing of the noise, and one more input may stand for the mean image, a constant. In
place of batches the loss can be averaged over all noise, by quadrature, which leaves the initial
weights as the one thing drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from nin.linear.border_formulas import LayerBorders, layer_borders
from nin.runs.averages import Array
from nin.runs.bisection import Border, find_border
from nin.runs.phases import LAST, has_passed, phase_index

STEPS = 84
"""As many as that search makes: one epoch of the paper's batches and two of a tenth of them."""
_DENSITY = 1 / np.sqrt(2 * np.pi)

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "gelu": (lambda z: z * ndtr(z), lambda z: ndtr(z) + z * np.exp(-z * z / 2) * _DENSITY),
    "softplus": (lambda z: np.logaddexp(0, z), expit),
}
"""Each with its derivative."""


@dataclass(frozen=True)
class NoiseNet:
    """The network and how it is trained; initial weights are normal, of variance 1/fan-in.

    Attributes:
        width: N_w, neurons of each hidden layer.
        d_in: Pixels of the image that is not there: w_ni has variance 1/d_in.
        d_out: Outputs, one for each class.
        loss: ``"mse"``, the mean over outputs, or ``"ce"``.
        eta: Learning rate.
        depth: Hidden layers.
        activation: A key of `ACTIVATIONS`.
        noise: ``"gaussian"`` or ``"rademacher"``.
        niw_variance: Initial variance of w_ni, where it is not 1/d_in.
        constant: Size of a constant image; 0 for none. Its weights have variance 1/d_in.
        batch_size: Samples per step, or 0 for all noise at once.
        scale: Of all initial weights, over what is said above.

    Raises:
        ValueError: If a name is unknown, or a size not positive.
    """

    width: int = 256
    d_in: int = 784
    d_out: int = 10
    loss: str = "ce"
    eta: float = 0.01
    depth: int = 1
    activation: str = "relu"
    noise: str = "gaussian"
    niw_variance: float | None = None
    constant: float = 0.0
    batch_size: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:  # noqa: D105
        for name, allowed in {
            "loss": ("mse", "ce"),
            "activation": tuple(ACTIVATIONS),
            "noise": ("gaussian", "rademacher"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        sizes = [self.width, self.d_in, self.depth, self.eta, self.d_out - 1, self.scale]
        if min(sizes) <= 0 or min(self.batch_size, self.constant) < 0:
            raise ValueError(
                f"sizes, eta and scale must be positive, with two outputs or more: {self}"
            )

    @property
    def formulas(self) -> LayerBorders:
        """Its borders in closed form: those of one hidden ReLU layer and Gaussian noise.

        >>> round(NoiseNet(width=1024).formulas.divergent, 1)
        55.4
        """
        return layer_borders(self.width, self.d_in, self.d_out, self.eta, self.niw_variance)

    def weights(self, seed: int) -> list[Array]:
        """Return the initial weights, layer by layer, (inputs, outputs) each.

        The rows of the first are w_ni and the weights of the constant image.

        Args:
            seed: Of the draw.
        """
        g = np.random.default_rng(seed)
        variance = [self.niw_variance or 1 / self.d_in, 1 / self.d_in]
        first = g.standard_normal((2, self.width)) * np.sqrt(variance)[:, None]
        outputs = [self.width] * (self.depth - 1) + [self.d_out]
        rest = [g.standard_normal((self.width, n)) / np.sqrt(self.width) for n in outputs]
        return [self.scale * w for w in (first, *rest)]

    def samples(self, seed: int, steps: int) -> tuple[Array, Array, Array]:
        """Return noise of unit variance, labels, and the weight of each sample, step by step.

        Args:
            seed: Of the batches.
            steps: Their number.

        Returns:
            eps (steps, samples), labels (steps, samples, d_out), weights (samples,); for all noise
            at once the steps are alike and have length 1.
        """
        if not self.batch_size:
            eps, weight = quadrature(self.noise)
            return eps[None], np.full((1, 1, self.d_out), 1 / self.d_out), weight
        g, shape = np.random.default_rng([seed, 1]), (steps, self.batch_size)
        eps = g.standard_normal(shape) if self.noise == "gaussian" else g.choice([-1.0, 1.0], shape)
        labels = np.eye(self.d_out)[g.integers(self.d_out, size=shape)]
        return eps, labels, np.full(self.batch_size, 1 / self.batch_size)


def quadrature(noise: str, nodes: int = 16) -> tuple[Array, Array]:
    """Return values of the noise and their weights, exact for |eps| and eps^2.

    Args:
        noise: ``"gaussian"`` or ``"rademacher"``.
        nodes: On either side of 0.

    >>> eps, weight = quadrature("gaussian")
    >>> bool(np.allclose([weight @ abs(eps), weight @ eps**2], [np.sqrt(2 / np.pi), 1], rtol=1e-6))
    True
    """
    if noise == "rademacher":
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = 3 * (x + 1), 3 * w  # on 0 to 6: beyond are 2e-9 of all noise
    w = w * np.exp(-(x**2) / 2) * _DENSITY
    return np.concatenate([-x, x]), np.concatenate([w, w])


def train_on_noise(
    net: NoiseNet, sigma_eps: Array, seeds: Array, steps: int = STEPS
) -> tuple[Array, Array]:
    """Train by gradient descent, one run for each noise strength and seed.

    Without a constant a ReLU network is homogeneous: its outputs at eps are abs(eps) times those at
    the sign of eps, so that two samples go through it in place of all.

    Args:
        net: The network.
        sigma_eps: Noise strengths, (runs,).
        seeds: Of weights and batches, (runs,).
        steps: How many.

    Returns:
        |w_ni| and the loss before each step, (steps, runs) each; not finite once a run diverged.
    """
    layers = [np.stack(w) for w in zip(*(net.weights(int(k)) for k in seeds), strict=True)]
    units, labels, weights = zip(*(net.samples(int(k), steps) for k in seeds), strict=True)
    act, slope = ACTIVATIONS[net.activation]
    norms, losses = np.full((2, steps, len(seeds)), np.nan)
    weight = weights[0]
    homogeneous = net.activation == "relu" and not net.constant
    with np.errstate(all="ignore"):  # a diverged run overflows; the others do not notice
        for t in range(steps):
            if t == 0 or len(units[0]) > 1:  # else all steps have one batch
                unit, y = (
                    np.stack([of[t % len(of)] for of in all_of]) for all_of in (units, labels)
                )
                if homogeneous:
                    rays = np.maximum(np.stack([-unit, unit], -1), 0)  # (runs, samples, 2)
                    unit = np.broadcast_to([-1.0, 1.0], (len(unit), 2))
                eps = unit * np.asarray(sigma_eps)[:, None]
                inputs = np.stack([eps, np.full_like(eps, net.constant)], -1)
            h, z = [inputs], []
            for w in layers[:-1]:
                z.append(h[-1] @ w)
                h.append(act(z[-1]))
            out = h[-1] @ layers[-1]
            loss, delta = _loss(net, rays @ out if homogeneous else out, y)
            norms[t] = np.sqrt((layers[0][:, 0] ** 2).sum(-1))
            losses[t] = loss @ weight
            delta = delta * weight[:, None]
            if homogeneous:
                delta = rays.transpose(0, 2, 1) @ delta
            for i in reversed(range(len(layers))):
                back = delta @ layers[i].transpose(0, 2, 1)
                layers[i] = layers[i] - net.eta * (h[i].transpose(0, 2, 1) @ delta)
                delta = back * slope(z[i - 1]) if i else back
            if not np.isfinite(losses[t]).any():
                break
    return norms, losses


def _loss(net: NoiseNet, out: Array, y: Array) -> tuple[Array, Array]:
    """Return each sample's loss and its derivative by the outputs, labels averaged over."""
    if net.loss == "ce":
        top = out.max(-1, keepdims=True)  # SciPy's logsumexp takes half of all time here
        powers = np.exp(out - top)
        total = powers.sum(-1, keepdims=True)
        return (np.log(total) + top)[..., 0] - (out * y).sum(-1), powers / total - y
    squares = (out**2 - 2 * out * y + y.sum(-1, keepdims=True) / net.d_out).sum(-1)
    return squares / net.d_out, 2 * (out - y) / net.d_out


def are_past(border: str, norms: Array, losses: Array) -> Array:
    """Tell which runs are past a border, by the rule of `nin.runs.phases`.

    Args:
        border: One of `nin.runs.phases.BORDERS`.
        norms: |w_ni| of `train_on_noise`.
        losses: Losses of `train_on_noise`.

    Raises:
        ValueError: If there is no such border.
    """
    diverged = ~np.isfinite(losses[-1])
    w, loss = (np.nan_to_num(x / x[0], nan=np.inf) for x in (norms, losses))
    peak, end = loss.max(0), np.median(loss[-LAST:], 0)
    phase = phase_index(w.max(0), w[-1], peak, end, diverged)
    return has_passed(border, phase, w[-1], peak, diverged)


def noise_border(
    net: NoiseNet,
    around: float,
    seeds: int = 6,
    name: str = "divergent",
    steps: int = STEPS,
    tolerance: float = 0.01,
) -> Border:
    """Find a border in sigma_eps by bisection, once for each seed.

    Args:
        net: The network.
        around: Where to look: from a third of it to three times.
        seeds: Number of initial weights.
        name: Of the border, as for `are_past`.
        steps: Length of the runs.
        tolerance: Relative width of the last brackets.

    >>> net = NoiseNet(width=64, d_out=2, eta=0.02)
    >>> border = noise_border(net, around=200.0, seeds=3)
    >>> bool(abs(border.value / (2 * np.sqrt(2 * np.pi) / 0.02) - 1) < 0.02)
    True
    """
    ids = np.arange(seeds)

    def past(sigma_eps: Array) -> Array:
        return are_past(name, *train_on_noise(net, sigma_eps, ids, steps))

    return find_border(past, around / 3, around * 3, seeds, tolerance)


def vary(net: NoiseNet, **changes: list) -> list[NoiseNet]:
    """Return a network changed in one or several fields, all combinations.

    Args:
        net: The network.
        **changes: Values by field.

    >>> len(vary(NoiseNet(), width=[64, 256], d_out=[2, 10]))
    4
    """
    nets = [net]
    for name, values in changes.items():
        nets = [dataclasses.replace(n, **{name: value}) for n in nets for value in values]
    return nets
