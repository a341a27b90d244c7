"""What every test of the project shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# The kernels that nbval and papermill start import `nin` from this checkout.
_paths = [str(ROOT), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in _paths if path)
# Those kernels draw into the notebook; an inherited "agg" would drop their figures.
os.environ.pop("MPLBACKEND", None)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Compare a chapter's results, not its progress bars (they go to stderr)."""
    if collector.path.suffix == ".ipynb" and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests in one process, and all that need the built book: it is built once."""
    for item in items:
        book = "built_book" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("book" if book else item.nodeid.split("::")[0]))
