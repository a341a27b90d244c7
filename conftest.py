"""What every test of the project shares."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# The kernels that nbval and papermill start import `nin` from this checkout.
_paths = [str(ROOT), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in _paths if path)
# Those kernels draw into the notebook; an inherited "agg" would drop their figures.
os.environ.pop("MPLBACKEND", None)
os.environ.pop("NIN_RESULTS", None)  # the committed records are tested
# Of processes that share the cores, each has one: threads that wait for each other's turn spin, and
# small products of matrices take twenty times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts the tests in the background has them ignore Ctrl-C, and so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The numbers of the chapters are those of a CPU; what a GPU is asked is in tests/test_gpu.py.
if not os.environ.get("NIN_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("NIN_FINDINGS", str(ROOT / "build" / "findings"))  # a ledger for all tests


# Files that take minutes begin first, so that no worker is left with one when others have ended.
LONGEST = tuple(
    f"test_{name}.py"
    for name in (
        "heavy_pages",
        "browser",
        "notebooks",
        "decay_fit",
        "sweep",
        "resume",
        "live",
        "prediction",
        "study",
    )
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out modules without an example: each process of the tests would import them."""
    of_package = collection_path.suffix == ".py" and (ROOT / "nin") in collection_path.parents
    return True if of_package and ">>>" not in collection_path.read_text("utf8") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests by file, the longest first, then the chapters."""
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, 50 + (item.path.suffix != ".ipynb")))


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Compare a chapter's results, not its figures or progress bars (these go to stderr)."""
    if collector.path.suffix == ".ipynb" and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "image/svg+xml")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a chapter's kernel be late with its outputs: on a busy machine nbval's 5 s are short."""
    if hasattr(item, "output_timeout"):
        item.output_timeout = 600
