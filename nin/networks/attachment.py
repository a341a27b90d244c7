"""Nodes in a network: attaching, detaching, finding them."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy

from nin.networks.axes import Axes
from nin.networks.injection import NOISE_LAWS, NoiseInjection

__all__ = [
    "NOISE_LAWS", "NoiseInjection", "attach", "detach", "find_node", "node_of", "nodes", "one_node",
    "own_hooks",
]  # fmt: skip
_SIZES = ("out_features", "out_channels", "num_features", "num_channels", "embedding_dim", "nf")
_WRAPPERS = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}


def attach(
    model: nn.Module,
    layer: str,
    sigma_eps: float,
    *,
    init_std: float | None = None,
    size: int | None = None,
    feature_dim: int | None = None,
    batch_dim: int | None = None,
    **options: object,
) -> NoiseInjection:
    """Wire a NIN into the output of a named layer, its pre-activations.

    The layer's own parameters and their names stay as they are; the node is its child ``nin``.
    Attach before an optimiser takes the parameters and before DistributedDataParallel or FSDP
    wraps the network. A network may have several nodes; the first draws its weights from `seed`
    alone, the others from `seed` and the layer's name.

    Args:
        model: Any network; it is changed in place. A call of it is a forward pass, with one eps per
            sample.
        layer: Name of the layer as in ``model.named_modules()``, such as ``"layers.0"``.
        sigma_eps: Standard deviation of eps; finite, >= 0.
        init_std: Standard deviation of the initial NIWs; default 1/sqrt(fan-in of the layer), as
            if the NIN were one more input of it (App. B).
        size: Number of features; read off linear, convolution, norm and embedding layers.
        feature_dim: Axis of the features; default by the kind of the layer, else the only one that
            has `size` entries.
        batch_dim: Axis of the samples; default the first. The first forward pass checks that the
            network's input has as many, and asks for `batch_dim` where time may lie there.
        **options: `noise`, `fixed`, `n_samples`, `seed` of `NoiseInjection`.

    Returns:
        The node.

    Raises:
        ValueError: If there is no such layer, it is a container or never called, it has a node
            already or a part of that name, its size is not known, or the network is wrapped
            already.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> node = attach(net, "0", sigma_eps=0.5)
    >>> node
    NoiseInjection(3, sigma_eps=0.5, noise=gaussian)
    """
    target = _layer(model, layer)
    weight = getattr(target, "weight", None)
    if isinstance(weight, Tensor) and is_lazy(weight):
        raise ValueError(f"layer {layer!r} is lazy: send a batch through the network first")
    sizes = (getattr(target, name, None) for name in _SIZES)
    size = size or next((n for n in sizes if n), None)
    if init_std is None and size and isinstance(weight, Tensor):
        fan_in = _fan_in(target, weight, size)
        init_std = 1 / math.sqrt(fan_in) if fan_in else None
    if size is None or init_std is None:
        raise ValueError(
            f"layer {layer!r}, a {type(target).__name__}, does not tell its number of features "
            "or its fan-in: give size= and init_std="
        )
    node = NoiseInjection(
        size,
        sigma_eps,
        init_std=init_std,
        name=layer if nodes(model) else "",
        **options,  # type: ignore[arg-type]
    )
    node.axes, node.layer_class = Axes.of(model, target, batch_dim, feature_dim), type(target)
    own = (target.parameters(), target.buffers(), model.parameters())
    numbers = next((v for v in itertools.chain(*own) if v.is_floating_point()), None)
    if numbers is not None:
        node.to(numbers)
    target.add_module("nin", node.train(target.training))
    node.handles.append(target.register_forward_hook(node.on_output))
    for part, depth in _parts_around(model, target).items():
        enter, leave = (functools.partial(on, depth) for on in (node.on_enter, node.on_leave))
        node.handles.append(part.register_forward_pre_hook(enter, with_kwargs=True))
        node.handles.append(part.register_forward_hook(leave, always_call=True))
    _forget_compiled()
    return node


def detach(model: nn.Module, layer: str | None = None) -> None:
    """Take the node off a layer, or all nodes off a network; what it was before, it is again.

    Args:
        model: The network.
        layer: Name of the layer; None: all that have a node.

    Raises:
        ValueError: If there is no node to take off.
    """
    found = {name: node for name, node in nodes(model).items() if layer in (None, name)}
    if not found:
        where = "this network" if layer is None else f"layer {layer!r}"
        raise ValueError(f"{where} has no node")
    for name, node in found.items():
        for handle in node.handles:
            handle.remove()
        del model.get_submodule(name).nin
    _forget_compiled()


def nodes(model: nn.Module) -> dict[str, NoiseInjection]:
    """Return the nodes of a network by the names of their layers."""
    found = ((n, m) for n, m in model.named_modules() if isinstance(m, NoiseInjection))
    return {name.removesuffix("nin").removesuffix("."): node for name, node in found}


def node_of(layer: nn.Module) -> NoiseInjection | None:
    """Return the node that is attached to a layer, or None."""
    node = getattr(layer, "nin", None)
    return node if isinstance(node, NoiseInjection) else None


def own_hooks(module: nn.Module) -> list[Callable[..., object]]:
    """Return the hooks of a module that belong to no node: what it does beside its `forward`."""
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    hooks = [hook for kind in kinds for hook in getattr(module, kind).values()]
    owners = [getattr(getattr(hook, "func", hook), "__self__", None) for hook in hooks]
    return [h for h, of in zip(hooks, owners, strict=True) if not isinstance(of, NoiseInjection)]


def find_node(model: nn.Module) -> tuple[str, NoiseInjection] | None:
    """Return the name and the node of a network, or None.

    Raises:
        ValueError: If it has several.
    """
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, NoiseInjection)]
    if len(found) > 1:
        raise ValueError(f"expected one node at most, found {[n for n, _ in found]}")
    return found[0] if found else None


def one_node(model: nn.Module) -> tuple[str, NoiseInjection]:
    """Return the name of the layer that has a network's only node, and the node.

    Raises:
        ValueError: If the network has no node, or several.
    """
    found = find_node(model)
    if found is None:
        raise ValueError("this network has no node: `nin.attach` one to a layer")
    return found[0].removesuffix(".nin"), found[1]


def _layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of a name, if it can have a node."""
    modules = dict(model.named_modules(remove_duplicate=False))
    wrapped = [c.__name__ for m in modules.values() for c in type(m).__mro__]
    if wrapper := _WRAPPERS.intersection(wrapped):
        raise ValueError(
            f"the network is wrapped in {wrapper.pop()} already, which would not see w_ni: attach "
            "before wrapping"
        )
    if name not in modules or not name:
        names = ", ".join(name for name in modules if name)
        raise ValueError(f"no layer {name!r} in this network; it has: {names}")
    target = modules[name]
    if isinstance(target, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        raise ValueError(f"{name!r} is a container of layers: name one of the layers in it")
    if isinstance(target, NonDynamicallyQuantizableLinear):
        raise ValueError(
            f"layer {name!r} belongs to a MultiheadAttention, which reads its weights and never "
            "calls it: name another layer"
        )
    if node_of(target) is not None:
        raise ValueError(f"layer {name!r} has a node already")
    if hasattr(target, "nin"):
        raise ValueError(
            f"layer {name!r} has a part of its own called 'nin', where a node would lie: rename it"
        )
    return target


def _fan_in(layer: nn.Module, weight: Tensor, size: int) -> int | None:
    """Return how many inputs reach one feature of a layer, or None if its weights do not tell."""
    if isinstance(layer, _ConvTransposeNd):
        return weight.shape[0] // layer.groups * weight[0, 0].numel()
    if weight.shape[0] == size or isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return weight[0].numel()
    return weight.shape[0] if weight.ndim == 2 and weight.shape[1] == size else None


def _parts_around(model: nn.Module, target: nn.Module) -> dict[nn.Module, int]:
    """Return the modules that hold a layer, the network itself first, with their depths in it."""
    parts: dict[nn.Module, int] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if module is target:
            path = name.split(".")[:-1]
            for depth in range(len(path) + 1):
                parts.setdefault(model.get_submodule(".".join(path[:depth])), depth)
    return parts


def _forget_compiled() -> None:
    """Make `torch.compile` look again: it does not notice hooks that come or go."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
