"""The paper's theory, written once as SymPy: each equation as printed and as corrected.

`EQUATIONS["2"].corrected` is Eq. (2) as our proof has it, `ENTRIES` is the whole errata. Chapters
display these objects, tests compare them, and numeric functions are made from them.
"""

from typing import TYPE_CHECKING

from nin.faces import lazy_face

if TYPE_CHECKING:
    from nin.theory.errata import ENTRIES, EQUATIONS
    from nin.theory.statement import Chain, Entry, Slip

__all__ = ["ENTRIES", "EQUATIONS", "Chain", "Entry", "Slip"]
__getattr__, __dir__ = lazy_face(__name__, __all__, ("statement", "errata"))
