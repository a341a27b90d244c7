"""The paper's theory, written once as SymPy: each equation as printed and as corrected.

`EQUATIONS["2"].corrected` is Eq. (2) as our proof has it, `ENTRIES` is the whole errata. Chapters
display these objects, tests compare them, and numeric functions are made from them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nin.theory.errata import ENTRIES, EQUATIONS
    from nin.theory.statement import Chain, Entry, Slip

__all__ = ["ENTRIES", "EQUATIONS", "Chain", "Entry", "Slip"]


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: all equations take SymPy a second, and most uses one."""
    if name not in __all__:
        raise AttributeError(f"module 'nin.theory' has no attribute {name!r}")
    from nin.theory import errata, statement  # noqa: PLC0415

    return getattr(errata if name.isupper() else statement, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
