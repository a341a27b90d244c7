"""The local gradient and Hessian of Sec. 2: derivatives by a layer's pre-activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad, vjp, vmap

from nin.curvature.lanczos import top_eigenvalue
from nin.networks.attachment import node_of
from nin.networks.axes import Axes, first_tensor
from nin.networks.data import Inputs, outputs
from nin.networks.losses import Loss, LossFunction, check_losses, values_of
from nin.networks.models import ACTIVATIONS, MLP
from nin.networks.module_stack import plain_attention, plain_tensors
from nin.networks.seeds import generator

DENSE = 64
"""Up to this many features the mean Hessian is formed and decomposed; beyond, never formed."""
TOLERANCE = 1e-4
"""Of the extreme eigenvalues, relative to the spectral radius."""
_ROUNDING = 1e-6  # of a product in float32, relative to the spectral radius


@dataclass(frozen=True)
class LocalLoss:
    """Each sample's loss as a function of a shift of one layer's pre-activations.

    The shift of sample i has one entry per feature, as w_ni has, and is added to the layer's
    output: z_i + s_i, constant over positions for a convolution, and at each call of the layer.
    Derivatives are by s at s = 0, which is by z for a linear layer. The axes of samples and
    features are those of the layer's node, or found as `attach` finds them. The network is in
    ``eval()`` meanwhile, so that noise nodes are silent and nothing that training keeps (running
    means, generators) moves.

    Samples must not see each other; a network that mixes a batch in ``eval()`` has no loss of one
    sample.

    Attributes:
        model: Any network.
        layer: Name of the layer as in ``model.named_modules()``.
        x: Inputs, (batch, ...): a tensor, or tensors by the names of the network's arguments.
        y: Labels or targets, (batch, ...).
        loss: Loss of each sample, (batch,), from outputs and `y`; such as ``Loss("ce").values``.
        feature_dim: Axis of the features in z; default as the layer's node or kind says.
        batch_dim: Axis of the samples in z; default likewise, and the first elsewhere.
    """

    model: nn.Module
    layer: str
    x: Inputs
    y: Tensor
    loss: LossFunction
    feature_dim: int | None = None
    batch_dim: int | None = None

    def __post_init__(self) -> None:
        """Check that the layer exists and that the loss is one per sample.

        Raises:
            ValueError: If there is no such layer, it is never called, its output leaves open which
                axis is which, or the loss is not one number for each sample.
        """
        modules = dict(self.model.named_modules())
        if not self.layer or self.layer not in modules:
            names = ", ".join(name for name in modules if name)
            raise ValueError(f"no layer {self.layer!r} in this network; it has: {names}")
        self._places(self.pre_activations())
        with torch.no_grad(), self._shifted(None):
            check_losses(self.loss, outputs(self.model, self.x), self.y)

    def pre_activations(self) -> Tensor:
        """Return what the layer puts out, at its first call if there are several."""
        with torch.no_grad(), self._shifted(None) as seen:
            outputs(self.model, self.x)
        if not seen:
            raise ValueError(
                f"layer {self.layer!r} is not called when the network is: name another layer"
            )
        return seen[0]

    def values(self, shift: Tensor | None = None) -> Tensor:
        """Return the loss of each sample, (batch,), with its pre-activations shifted.

        Args:
            shift: What is added to z, (batch, features); nothing if None.
        """
        with torch.no_grad():
            return self._values(shift)

    def gradient(self, shift: Tensor | None = None) -> Tensor:
        """Return the local gradient g of each sample, (batch, features).

        Args:
            shift: Where to take it; default at the network's own pre-activations.
        """
        at = self._origin() if shift is None else shift
        with torch.no_grad():  # outermost, so that the derivative by the shift alone is kept
            return self._gradient(at)

    def product(self, w: Tensor) -> Tensor:
        """Return H w for each sample, (batch, features), without forming any H.

        Args:
            w: One direction, (features,), or one for each sample, (batch, features).
        """
        return self.gradient_and_product(w)[1]

    def gradient_and_product(self, w: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return g and H w of each sample, (batch, features) each, for the price of the product.

        Args:
            w: One direction, (features,), or one for each sample, (batch, features).
            shift: Where to take them; default at the network's own pre-activations.
        """
        at = self._origin() if shift is None else shift
        # Each H is symmetric and no sample sees another, so the transposed product is H w.
        with torch.no_grad():
            g, pull = vjp(self._gradient, at)[:2]
            return g, pull(w.to(at).expand_as(at))[0]

    def directional_gradient(self, w: Tensor, order: int) -> Tensor:
        """Return ``(w . grad)^order grad L`` of each sample, (batch, features).

        Order 0 is the local gradient and order 1 is H w; order 3 is in the first term that Eq. (2)
        leaves out on average.

        Args:
            w: The direction, (features,).
            order: How many times to differentiate along w, >= 0.

        Raises:
            ValueError: If the order is negative.
        """
        if order < 0:
            raise ValueError(f"expected an order >= 0, not {order}")

        def derivative(order: int, s: Tensor, t: Tensor) -> Tensor:
            """Return the loss at s + t w, differentiated by t; samples have their own s and t."""
            if order == 0:
                return self._values(s + t.unsqueeze(-1) * w)
            return grad(lambda at: derivative(order - 1, s, at).sum())(t)

        origin = self._origin()
        with torch.no_grad():
            return grad(lambda s: derivative(order, s, torch.zeros_like(s[:, 0])).sum())(origin)

    def mean_product(self, w: Tensor) -> Tensor:
        """Return <H> w, (features,), for a direction w, (features,)."""
        return self.product(w).mean(0)

    def hessian(self) -> Tensor:
        """Return the local Hessian of each sample, (batch, features, features)."""
        return self._products(torch.eye(self._origin().shape[1])).permute(1, 0, 2)

    def mean_hessian(self, chunk: int = 32) -> Tensor:
        """Return <H>, (features, features), holding `chunk` columns of each sample at a time."""
        columns = torch.eye(self._origin().shape[1]).split(chunk)
        return torch.cat([self._products(some).mean(1) for some in columns])

    def extreme_eigenvalues(self) -> tuple[float, float]:
        """Return the smallest and the largest eigenvalue of <H>.

        Raises:
            ValueError: If <H> is not finite.
        """
        size = self._origin().shape[1]
        if size <= DENSE:
            spectrum = torch.linalg.eigvalsh(_finite(self.mean_hessian().double()))
            return float(spectrum[0]), float(spectrum[-1])

        def top(of: Callable[[Tensor], Tensor], least: float) -> float:
            return top_eigenvalue(of, size, TOLERANCE, least=least)

        product = self._mean_products()

        def apply(w: Tensor) -> Tensor:
            return _finite(product(w).double().cpu())

        # Many eigenvalues of <H> lie near 0 and an inner end never settles; shifted by the
        # spectral radius, either end is the largest in magnitude and settles in a few products.
        radius = abs(top(apply, 0.0))
        rounding = radius * _ROUNDING
        low = radius - top(lambda w: radius * w - apply(w), rounding)
        return low, top(lambda w: radius * w + apply(w), rounding) - radius

    def spectrum_along(self, w: Tensor, order: int = 40) -> tuple[Tensor, Tensor]:
        """Return eigenvalues of <H> and the share of |w|^2 along their vectors, (n,) each, float64.

        Beyond `DENSE` features they are those of <H> on the Krylov space of w: what they say of
        ``w^T f(<H>) w`` is exact for polynomials f up to degree 2 order - 1.

        Args:
            w: The direction, (features,), not 0.
            order: Dimension of that space.

        Raises:
            ValueError: If <H> is not finite.
        """
        unit = (w / w.norm()).double().cpu()
        if len(w) <= DENSE:
            rates, vectors = torch.linalg.eigh(_finite(self.mean_hessian().double().cpu()))
            return rates, (vectors.T @ unit).square()
        product = self._mean_products()
        basis, size = [unit], 0.0
        moved = [_finite(product(unit).double().cpu())]
        while len(basis) < order:
            V, v = torch.stack(basis), moved[-1]
            size = max(size, float(v.norm()))
            for _ in range(2):  # once loses orthogonality to rounding
                v = v - V.T @ (V @ v)
            if v.norm() <= _ROUNDING * size:
                break
            basis.append(v / v.norm())
            moved.append(_finite(product(basis[-1]).double().cpu()))
        T = torch.stack(basis) @ torch.stack(moved).T
        rates, vectors = torch.linalg.eigh((T + T.T) / 2)
        return rates, vectors[0].square()

    def trace(self, draws: int | None = None, seed: int = 0) -> tuple[float, float]:
        """Return the trace of <H> and its standard error.

        Args:
            draws: Random directions of Hutchinson's estimate, >= 2; None: exact, one product per
                feature.
            seed: Of the directions.

        Raises:
            ValueError: If there are fewer than two draws.
        """
        if draws is None:
            return float(self.mean_hessian().diagonal().sum()), 0.0
        if draws < 2:
            raise ValueError(f"an estimate with an error needs draws >= 2, not {draws}")
        shape, product = (draws, self._origin().shape[1]), self._mean_products()
        signs = torch.randint(2, shape, generator=generator(seed, "trace")).mul(2).sub(1).float()
        found = torch.stack([sign @ product(sign).cpu().float() for sign in signs])
        return float(found.mean()), float(found.std() / draws**0.5)

    def _values(self, shift: Tensor | None) -> Tensor:
        with self._shifted(shift):
            return self.loss(outputs(self.model, self.x), self.y)

    def _gradient(self, shift: Tensor) -> Tensor:
        return grad(lambda s: self._values(s).sum())(shift)

    def _products(self, directions: Tensor) -> Tensor:
        """Return H w of each sample for each direction, (directions, batch, features)."""
        return vmap(self.product)(directions.to(self._origin()))

    def _mean_products(self) -> Callable[[Tensor], Tensor]:
        """Return `mean_product` for many directions in turn: where it is taken is asked once."""
        origin = self._origin()
        return lambda w: self.gradient_and_product(w, origin)[1].mean(0)

    def _origin(self) -> Tensor:
        """Return a zero shift, (batch, features)."""
        z = self.pre_activations()
        batch, feature = self._places(z)
        return z.new_zeros(z.shape[batch], z.shape[feature])

    def _places(self, z: Tensor) -> tuple[int, int]:
        """Return the axes of samples and features in what the layer puts out."""
        target = self.model.get_submodule(self.layer)
        node = node_of(target)
        if node is None or (self.batch_dim, self.feature_dim) != (None, None):
            axes = Axes.of(self.model, target, self.batch_dim, self.feature_dim)
        else:
            axes = node.axes
        return axes.find(z.shape, first_tensor(self.x), None if node is None else len(node.w_ni))

    @contextmanager
    def _shifted(self, shift: Tensor | None) -> Iterator[list[Tensor]]:
        """Shift the layer's output while the context lasts; yield what it was."""
        seen: list[Tensor] = []

        def add(_layer: nn.Module, _inputs: tuple[Tensor, ...], z: Tensor) -> Tensor:
            if shift is None:
                seen.append(z.clone())  # an activation in place may follow
                return z
            shape = [1] * z.ndim
            batch, feature = self._places(z)
            shape[batch], shape[feature] = shift.shape
            return z + (shift if batch < feature else shift.mT).reshape(shape)

        training = {m: m.training for m in self.model.modules()}
        # Weights that hooks compute at each call, as pruning does, would stay as this call has them
        computed = {m: plain_tensors(m) for m in self.model.modules()}
        hook = self.model.get_submodule(self.layer).register_forward_hook(add)
        try:
            self.model.eval()
            with plain_attention():
                yield seen
        finally:
            hook.remove()
            for module, mode in training.items():
                module.training = mode
                vars(module).update(computed[module])


class Tail(nn.Module):
    """The part of an `MLP` behind the pre-activations of one of its layers."""

    def __init__(self, model: MLP, layer: str) -> None:
        """Take the part; it shares the network's weights.

        Args:
            model: The network.
            layer: Name of the layer, ``"layers.0"`` or deeper.
        """
        super().__init__()
        self.entry = nn.Identity()
        self.activation = model.activation
        self.layers = model.layers[int(layer.split(".")[1]) + 1 :]

    def forward(self, z: Tensor) -> Tensor:
        """Return the outputs, (batch, d_out), of pre-activations (batch, features)."""
        z = self.entry(z)
        for layer in self.layers:
            z = layer(ACTIVATIONS[self.activation](z))
        return z


def _finite(h: Tensor) -> Tensor:
    if not h.isfinite().all():
        raise ValueError("the local Hessian is not finite: the loss overflows, or z does")
    return h


def local_loss(
    model: nn.Module, layer: str, x: Inputs, y: Tensor, loss: Loss | LossFunction | str
) -> LocalLoss:
    """Return the local loss; for an `MLP` without the layers before, which it does not need.

    Args:
        model: Any network.
        layer: Name of the layer as in ``model.named_modules()``.
        x: Inputs, (batch, ...).
        y: Labels, (batch, ...).
        loss: The loss.
    """
    local = LocalLoss(model, layer, x, y, values_of(loss))
    if type(model) is not MLP:
        return local
    return LocalLoss(Tail(model, layer), "entry", local.pre_activations(), y, local.loss)
