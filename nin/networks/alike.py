"""Whether networks are alike in all but their numbers: what trains as one stack must be."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from nin.networks.attachment import NoiseInjection, own_hooks
from nin.networks.module_stack import computed_tensors

_OF_ALL = set(vars(nn.Module())) | {"training"}


def check_alike(models: Sequence[nn.Module]) -> None:
    """Refuse networks that differ in anything but weights, buffers and noise.

    Raises:
        ValueError: If they differ; it says in what.
    """
    numbers = [{k: v.shape for k, v in (*m.named_parameters(), *m.named_buffers())} for m in models]
    if any(n != numbers[0] for n in numbers):
        raise ValueError("the networks differ in their parameters: train them one by one")
    first = dict(models[0].named_modules())
    for model in models[1:]:
        for (name, a), (other, b) in zip(first.items(), model.named_modules(), strict=False):
            what = _difference(a, b) if name == other else "their order"
            if what:
                raise ValueError(
                    "the networks differ in layers or activations: train them one by one (at "
                    f"{name or 'the top'!r} in {what})"
                )


def _difference(a: nn.Module, b: nn.Module) -> str | None:
    """Return in what two modules differ, besides tensors and children; None if in nothing."""
    if _kind(a) != _kind(b):
        return "their kind"
    one, other = _options(a), _options(b)
    if one.keys() != other.keys():
        return "their attributes"
    return next((k for k, value in one.items() if not _same(value, other[k])), None)


def _kind(value: object) -> tuple[str, str]:
    """Return a class by its name: a parametrization makes a class for each module."""
    return type(value).__module__, type(value).__qualname__


def _options(module: nn.Module) -> dict[str, Any]:
    """Return what a module was made with, besides its tensors and children."""
    if isinstance(module, NoiseInjection):
        return {"axes": module.axes}  # all else may differ from run to run
    left = computed_tensors(module)
    own = {k: v for k, v in vars(module).items() if k not in _OF_ALL and k not in left}
    return own | {"hooks": own_hooks(module)}


def _same(a: Any, b: Any) -> bool:
    """Tell whether two options mean the same."""
    if a is b:
        return True
    if _kind(a) != _kind(b):
        return False
    if isinstance(a, Tensor):
        return a.shape == b.shape and bool((a == b).all())
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, FunctionType):
        held = [[c.cell_contents for c in f.__closure__ or ()] for f in (a, b)]
        return a.__code__ == b.__code__ and _same(held[0], held[1])
    if isinstance(a, MethodType):
        return a.__func__ is b.__func__  # its object is looked at where it stands
    if isinstance(a, functools.partial):
        return _same((a.func, a.args, a.keywords), (b.func, b.args, b.keywords))
    compares = any("__eq__" in vars(c) for c in type(a).__mro__[:-1])
    if not compares and hasattr(a, "__dict__"):
        return _same(vars(a), vars(b))
    return bool(a == b)
