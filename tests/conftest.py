"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
# As in the workers of a sweep: the order of a sum, and so its last bits, depend on the threads.
torch.set_num_threads(1)
CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)


@pytest.fixture(scope="session")
def built_book(testrun_uid: str) -> Path:
    """The folder of the HTML pages, built now, by the first process that asks for it."""
    build = [Path(sys.executable).with_name("jupyter-book"), "build", "book", "--quiet"]
    strict = ["-W", "-n", "--keep-going"]
    (ROOT / "build").mkdir(exist_ok=True)
    with FileLock(ROOT / "build" / "book.lock"):
        built = ROOT / "build" / "book.built"  # by which run of the tests
        if not built.exists() or built.read_text() != testrun_uid:
            done = subprocess.run(
                [*build, *strict], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"the book does not build:\n{done.stdout}\n{done.stderr}"
            built.write_text(testrun_uid)
    return ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, which finds no host on the network."""
    if CHROMIUM is None:
        missing = "no Chromium on this machine (Debian: apt-get install chromium)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--host-resolver-rules=MAP * ~NOTFOUND"],
            ignore_default_args=["--hide-scrollbars"],  # they take of a page's width
        )
        yield chromium
        chromium.close()
