"""Every heavy page runs from first cell to last, in a kernel, with parameters of no weight."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import yaml

from nin.companion.pages import PAGES, run_page

PARAMS = Path(__file__).resolve().parents[1] / "params"


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.ipynb")), ids=lambda p: p.stem)
def test_heavy_page_runs_small(page: Path, tmp_path: Path) -> None:
    given = yaml.safe_load((PARAMS / f"smoke_{page.stem}.yml").read_text(encoding="utf8"))
    before = page.read_bytes()
    output = tmp_path / "out.ipynb"
    run_page(page, given | {"results": str(tmp_path / "results"), "workers": 1}, output)
    executed = nbformat.read(output, as_version=4)
    kinds = [o.output_type for c in executed.cells for o in c.get("outputs", [])]
    assert "error" not in kinds and "display_data" in kinds
    assert list((tmp_path / "results").glob("*.npz"))
    assert page.read_bytes() == before
