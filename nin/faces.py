"""Rooms whose names are imported when they are asked for.

PyTorch, SymPy and Numba take seconds to import, and no use of the package needs all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Any


def lazy_face(
    room: str, names: Collection[str], modules: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Args:
        room: The package.
        names: What it offers.
        modules: Those of the package that have these names, searched in this order: the lightest
            first.
    """

    def get(name: str) -> Any:
        for module in modules if name in names else ():
            if hasattr(found := import_module(f"{room}.{module}"), name):
                return getattr(found, name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(sys.modules[room]), *names})
