"""Every heavy page runs from first cell to last with parameters of no weight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from ipykernel.inprocess import InProcessKernelManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from test_notebooks import HEAVY, small

from nin.companion.pages import PAGES, run_page


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    """That of a kernel in this process: one of its own takes seconds."""
    before = plt.get_backend()
    manager = InProcessKernelManager()
    manager.start_kernel()
    yield (shell := manager.kernel.shell)
    manager.shutdown_kernel()
    shell.clear_instance()
    plt.switch_backend(before)


# Where next to nothing is trained, a share is 0/0 and an axis has no length.
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_heavy_page_runs_small(page: Path, shell: InteractiveShell, tmp_path: Path) -> None:
    shell.reset()
    with plt.rc_context(), capture_output() as seen:
        for cell in nbformat.read(page, as_version=4).cells:
            if cell.cell_type == "code":
                shell.run_cell(cell.source).raise_error()
                if "parameters" in cell.metadata.get("tags", ()):
                    shell.push(small(page) | {"results": str(tmp_path), "workers": 1})
        plt.close("all")
    assert any("image/svg+xml" in output.data for output in seen.outputs)
    assert list(tmp_path.glob("*.npz"))


def test_a_heavy_page_runs_small_in_a_kernel(tmp_path: Path) -> None:
    """As `nin figures` and papermill run them all."""
    page = PAGES / "one_run.ipynb"
    before = page.read_bytes()
    output = tmp_path / "out.ipynb"
    run_page(page, small(page) | {"results": str(tmp_path / "results"), "workers": 1}, output)
    executed = nbformat.read(output, as_version=4)
    kinds = [o.output_type for c in executed.cells for o in c.get("outputs", [])]
    assert "error" not in kinds and "display_data" in kinds
    assert list((tmp_path / "results").glob("*.npz"))
    assert page.read_bytes() == before
