"""Every heavy page runs from first cell to last, in a kernel, with parameters of no weight."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from test_notebooks import HEAVY, small

from nin.companion.pages import run_page


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_heavy_page_runs_small(page: Path, tmp_path: Path) -> None:
    before = page.read_bytes()
    output = tmp_path / "out.ipynb"
    run_page(page, small(page) | {"results": str(tmp_path / "results"), "workers": 1}, output)
    executed = nbformat.read(output, as_version=4)
    kinds = [o.output_type for c in executed.cells for o in c.get("outputs", [])]
    assert "error" not in kinds and "display_data" in kinds
    assert list((tmp_path / "results").glob("*.npz"))
    assert page.read_bytes() == before
