"""The Noise Injection Node: z -> z + eps * w_ni at a named layer of any network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from nin.networks.seeds import generator

NOISE_LAWS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "gaussian": lambda n, g: torch.randn(n, generator=g),
    "uniform": lambda n, g: torch.rand(n, generator=g).mul_(2).sub_(1).mul_(math.sqrt(3)),
    "rademacher": lambda n, g: torch.randint(2, (n,), generator=g).mul_(2).sub_(1).float(),
}
"""Symmetric laws of unit variance: ``law(n, generator)`` draws n values."""
_SIZES = ("out_features", "out_channels", "num_features", "embedding_dim")


class NoiseInjection(nn.Module):
    """A node whose random output reaches one layer's pre-activations (Sec. 2, Eq. 1).

    In training, z -> z + eps * w_ni with one scalar eps per sample of the batch, of variance
    sigma_eps**2. In ``eval()`` eps is 0 (App. B) and z passes untouched.

    By default each forward pass in training draws eps anew, which is the re-randomised NIN
    wherever a sample is seen once an epoch. To give every training sample a value of its own,
    name `n_samples`, say `select` before each forward pass, and `redraw` at each epoch for a
    re-randomised NIN, or never for a fixed one. `nin.train` does all this by itself.

    Attributes:
        w_ni: The NIWs, (size,).
        eps: What the next forward passes inject, (batch,); empty: draw at each pass.
    """

    def __init__(
        self,
        size: int,
        sigma_eps: float,
        *,
        noise: str = "gaussian",
        fixed: bool = False,
        n_samples: int | None = None,
        init_std: float = 1.0,
        feature_dim: int = -1,
        batch_dim: int = 0,
        seed: int = 0,
    ) -> None:
        """Make a node; `attach` is the usual way.

        Args:
            size: Number of features (or channels) of the layer.
            sigma_eps: Standard deviation of eps; finite, >= 0.
            noise: Law of eps, a key of `NOISE_LAWS`.
            fixed: Whether each sample keeps its eps for the whole training; in a training loop of
                your own, name `n_samples` too.
            n_samples: Size of the training set, for values that belong to samples.
            init_std: Standard deviation of the initial NIWs.
            feature_dim: Axis of z that w_ni runs along.
            batch_dim: Axis of z that eps runs along.
            seed: Of the initial NIWs and of eps.

        Raises:
            ValueError: If an argument is out of range or the noise law unknown.
        """
        super().__init__()
        if not (math.isfinite(sigma_eps) and sigma_eps >= 0):
            raise ValueError(f"sigma_eps must be finite and >= 0, not {sigma_eps}")
        if noise not in NOISE_LAWS:
            raise ValueError(f"noise must be one of {sorted(NOISE_LAWS)}, not {noise!r}")
        if size < 1:
            raise ValueError(f"size must be a positive number of features, not {size}")
        self.sigma_eps, self.noise, self.fixed = float(sigma_eps), noise, fixed
        self.feature_dim, self.batch_dim = feature_dim, batch_dim
        self.w_ni = nn.Parameter(torch.randn(size, generator=generator(seed, "w_ni")) * init_std)
        self.register_buffer("eps", torch.zeros(0), persistent=False)
        self._generator = generator(seed, "noise")
        self._samples = torch.zeros(0) if n_samples is None else self.draw(n_samples)

    def draw(self, n: int, g: torch.Generator | None = None) -> Tensor:
        """Draw n values of eps, (n,), from the node's own generator or from `g`."""
        return NOISE_LAWS[self.noise](n, g or self._generator) * self.sigma_eps

    def redraw(self) -> None:
        """Give every sample a new eps: the start of an epoch of a re-randomised NIN."""
        self._samples = self.draw(len(self._samples))

    def select(self, index: Tensor) -> None:
        """Inject the eps of these training samples from now on.

        Args:
            index: Positions of the batch in the training set, (batch,) int64.

        Raises:
            ValueError: If the node was made without `n_samples`.
        """
        if not len(self._samples):
            raise ValueError("this node has no values per sample: make it with n_samples=...")
        self.eps = self._samples[index.cpu()].to(self.w_ni.device)

    def forward(self, z: Tensor) -> Tensor:
        """Inject the noise.

        Args:
            z: Pre-activations with the batch on axis `batch_dim`.

        Returns:
            z + eps * w_ni in training, z itself in ``eval()``.

        Raises:
            ValueError: If eps was selected for another batch size or not at all, or z has other
                features.
        """
        if not self.training:
            return z
        n = z.shape[self.batch_dim]
        if not len(self.eps) and len(self._samples):
            raise ValueError("say node.select(index) before a forward pass: eps belongs to samples")
        if not len(self.eps) and self.fixed:
            raise ValueError("fixed noise belongs to samples: make the node with n_samples=...")
        eps = self.eps if len(self.eps) else self.draw(n).to(z)
        if len(eps) != n or z.shape[self.feature_dim] != len(self.w_ni):
            raise ValueError(
                f"the node holds eps for {len(eps)} samples and {len(self.w_ni)} weights, but z "
                f"is {tuple(z.shape)} with the batch on axis {self.batch_dim} and the features on "
                f"axis {self.feature_dim}: set batch_dim and feature_dim, or select the batch"
            )
        batch, feature = [1] * z.ndim, [1] * z.ndim
        batch[self.batch_dim], feature[self.feature_dim] = -1, -1
        return z + eps.view(batch) * self.w_ni.view(feature)

    def on_output(self, _layer: nn.Module, _inputs: tuple[Tensor, ...], z: Tensor) -> Tensor:
        """Inject into a layer's output: the layer's forward hook."""
        if not isinstance(z, Tensor):
            raise ValueError(
                f"a node needs a layer that returns a tensor, but a {type(_layer).__name__} "
                f"returns a {type(z).__name__}: name another layer"
            )
        return self(z)

    def extra_repr(self) -> str:
        """Say what is injected, in a printed network."""
        return f"{len(self.w_ni)}, sigma_eps={self.sigma_eps:g}, noise={self.noise}"


def attach(
    model: nn.Module,
    layer: str,
    sigma_eps: float,
    *,
    init_std: float | None = None,
    size: int | None = None,
    feature_dim: int | None = None,
    **options: object,
) -> NoiseInjection:
    """Wire a NIN into the output of a named layer, its pre-activations.

    The layer's own parameters and their names stay as they are; the node is its child ``nin``.

    Args:
        model: Any network; it is changed in place.
        layer: Name of the layer as in ``model.named_modules()``, such as ``"layers.0"``.
        sigma_eps: Standard deviation of eps; finite, >= 0.
        init_std: Standard deviation of the initial NIWs; default 1/sqrt(fan-in of the layer), as
            if the NIN were one more input of it (App. B).
        size: Number of features; read off linear, convolution, batch-norm and embedding layers.
        feature_dim: Axis of the features; default 1 for convolutions, else -1.
        **options: `noise`, `fixed`, `n_samples`, `batch_dim`, `seed` of `NoiseInjection`.

    Returns:
        The node.

    Raises:
        ValueError: If there is no such layer, it is a container or never called, it has a node
            already, or its size is not known.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> node = attach(net, "0", sigma_eps=0.5)
    >>> node
    NoiseInjection(3, sigma_eps=0.5, noise=gaussian)
    """
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        names = ", ".join(name for name in modules if name)
        raise ValueError(f"no layer {layer!r} in this network; it has: {names}")
    target = modules[layer]
    if isinstance(target, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        raise ValueError(f"{layer!r} is a container of layers: name one of the layers in it")
    if isinstance(target, NonDynamicallyQuantizableLinear):
        raise ValueError(
            f"layer {layer!r} belongs to a MultiheadAttention, which reads its weights and never "
            "calls it: name another layer"
        )
    if node_of(target) is not None:
        raise ValueError(f"layer {layer!r} has a node already")
    weight = getattr(target, "weight", None)
    sizes = (getattr(target, name, None) for name in _SIZES)
    size = size or next((n for n in sizes if n), None)
    if init_std is None and isinstance(weight, Tensor):
        init_std = 1 / math.sqrt(weight[0].numel())
    if size is None or init_std is None:
        raise ValueError(
            f"layer {layer!r}, a {type(target).__name__}, does not tell its number of features "
            "or its fan-in: give size= and init_std="
        )
    if feature_dim is None:
        feature_dim = (
            1 if hasattr(target, "out_channels") or hasattr(target, "num_features") else -1
        )
    node = NoiseInjection(
        size,
        sigma_eps,
        init_std=init_std,
        feature_dim=feature_dim,
        **options,  # type: ignore[arg-type]
    )
    if isinstance(weight, Tensor):
        node.to(weight)
    target.add_module("nin", node)
    target.register_forward_hook(node.on_output)
    return node


def node_of(layer: nn.Module) -> NoiseInjection | None:
    """Return the node that is attached to a layer, or None."""
    node = getattr(layer, "nin", None)
    return node if isinstance(node, NoiseInjection) else None


def find_node(model: nn.Module) -> tuple[str, NoiseInjection] | None:
    """Return the name and the node of a network, or None.

    Raises:
        ValueError: If it has several.
    """
    nodes = [(n, m) for n, m in model.named_modules() if isinstance(m, NoiseInjection)]
    if len(nodes) > 1:
        raise ValueError(f"expected one node at most, found {[n for n, _ in nodes]}")
    return nodes[0] if nodes else None


def one_node(model: nn.Module) -> tuple[str, NoiseInjection]:
    """Return the name of the layer that has a network's only node, and the node.

    Raises:
        ValueError: If the network has no node, or several.
    """
    found = find_node(model)
    if found is None:
        raise ValueError("this network has no node: `nin.attach` one to a layer")
    return found[0].removesuffix(".nin"), found[1]
