"""Where things lie: in a checkout of the project, or else in the user's own folders.

In a checkout, and in an unpacked source archive, records and data lie beside the package and the
pages are at hand. The package alone, installed, keeps both in the user's folder for data: what lies
in ``site-packages`` belongs to the installer.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DISTRIBUTION = "noise-injection-companion"
"""What to ask an installer for; what is imported is `nin`."""
PACKAGE = Path(__file__).resolve().parent


def checkout_of(package: Path) -> Path | None:
    """Return the project that a package lies in, known by its own files; None for a package alone.

    Args:
        package: Folder of the package.
    """
    root = package.parent
    own = ("pyproject.toml", "_toc.yml", "book/figures", "params")
    return root if all((root / name).exists() for name in own) else None


CHECKOUT = checkout_of(PACKAGE)
HOME = CHECKOUT or platformdirs.user_data_path(DISTRIBUTION, appauthor=False)
DATA = HOME / "data"
"""Where Fashion-MNIST lies if ``$NIN_DATA`` does not name another folder."""
RESULTS = Path(os.environ.get("NIN_RESULTS") or HOME / "results").expanduser().absolute()
"""Where records lie if no other folder is named: ``$NIN_RESULTS``, or ``results`` of the project or
of the user."""

FINDINGS = (
    CHECKOUT / "build" / "findings"
    if CHECKOUT
    else platformdirs.user_cache_path(DISTRIBUTION, appauthor=False) / "findings"
)
"""Where verdicts are kept for the next time if ``$NIN_FINDINGS`` does not name another folder."""


def how_to_make(page: str) -> str:
    """Say what makes a missing record.

    Args:
        page: The figure page that it belongs to; empty for a run of one's own.
    """
    if not page:
        return "`python -m nin run` or `sweep` makes it"
    if CHECKOUT is None:
        return (
            "the project's records come with its source, not with the package: set NIN_RESULTS to "
            "the folder results/ of a checkout"
        )
    return f"`python -m nin figures {page}` makes it"
