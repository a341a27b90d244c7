"""What a build must notice, tried on a book of one page with the real settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = """
import nin

print("the answer:", nin.ANSWER)
"""


PLOT = "import matplotlib.pyplot as plt\n\nplt.plot([0, 1])\nplt.show()"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkout with the project's settings and extensions, one page and a package of one line."""
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copy(ROOT / "book" / "refs.bib", tmp_path / "book")
    shutil.copytree(ROOT / "book" / "_ext", tmp_path / "book" / "_ext")
    (tmp_path / "book" / "_toc.yml").write_text("{format: jb-book, root: index}")
    (tmp_path / "nin").mkdir()
    (tmp_path / "nin" / "__init__.py").write_text("ANSWER = 41")
    write_page(tmp_path, SOURCE)
    return tmp_path


def write_page(root: Path, code: str, words: str = "") -> None:
    cells = [nbformat.v4.new_markdown_cell("# A page"), nbformat.v4.new_code_cell(code)]
    cells[1].metadata["mystnb"] = {"image": {"alt": words}} if words else {}
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, root / "book" / "index.ipynb")


def build(root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "book", "-q"]
    strict = ["-W", "-n", "--keep-going"]
    return subprocess.run(
        [*command, *strict],
        cwd=root,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def page(root: Path) -> str:
    return (root / "_build" / "html" / "index.html").read_text(encoding="utf8")


def test_a_rebuild_notices_a_change_in_the_package_and_runs_nothing_for_a_new_record(
    tiny: Path,
) -> None:
    assert build(tiny).returncode == 0
    assert "the answer: 41" in page(tiny)
    (tiny / "nin" / "__init__.py").write_text("ANSWER = 42")
    assert build(tiny).returncode == 0
    assert "the answer: 42" in page(tiny)
    caches = set((tiny / "_build").glob(".jupyter_cache_*"))
    (tiny / "results").mkdir()
    (tiny / "results" / "mine.npz").touch()
    assert build(tiny).returncode == 0
    assert set((tiny / "_build").glob(".jupyter_cache_*")) == caches


def test_a_failing_cell_fails_the_build(tiny: Path) -> None:
    write_page(tiny, "1 / 0")
    done = build(tiny)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr


def test_a_dead_reference_fails_the_build(tiny: Path) -> None:
    (tiny / "book" / "_toc.yml").write_text("{format: jb-book, root: other}")
    (tiny / "book" / "other.md").write_text("# Other\n\n{ref}`Eq. (99) <eq-99>`\n")
    assert build(tiny).returncode != 0


def test_figures_reach_the_page_whatever_backend_the_user_has_set(tiny: Path) -> None:
    write_page(tiny, PLOT, "A line that rises.")
    assert build(tiny, MPLBACKEND="agg").returncode == 0
    assert 'alt="A line that rises."' in page(tiny)


def test_a_figure_without_words_fails_the_build(tiny: Path) -> None:
    write_page(tiny, PLOT)
    done = build(tiny)
    assert done.returncode != 0
    assert "an image has no words" in done.stdout + done.stderr
