"""Fixtures that several test files share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
# As in the workers of a sweep: the order of a sum, and so its last bits, depend on the threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built_book() -> Path:
    """The folder of the HTML pages, built now: seconds when nothing has changed since the last."""
    build = [Path(sys.executable).with_name("jupyter-book"), "build", "book", "--quiet"]
    strict = ["-W", "-n", "--keep-going"]
    (ROOT / "build").mkdir(exist_ok=True)
    with FileLock(ROOT / "build" / "book.lock"):  # tests may run in several processes
        done = subprocess.run(
            [*build, *strict], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, f"the book does not build:\n{done.stdout}\n{done.stderr}"
    return ROOT / "_build" / "html"
