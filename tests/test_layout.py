"""The files that hold the book together."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import nin
from nin.companion.figures import panels as figures
from nin.runs.phases import Phase

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
MODULES = sorted((ROOT / "nin").rglob("*.py"))
NOTEBOOKS = sorted(path for path in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def toc_entries() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    chapters = [chapter for part in toc.get("parts", []) for chapter in part["chapters"]]
    pages = [page for chapter in chapters for page in (chapter, *chapter.get("sections", []))]
    return [toc["root"], *(page["file"] for page in pages)]


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"])]


def test_toc_in_the_book_is_a_link_to_the_one_at_the_top() -> None:
    assert (BOOK / "_toc.yml").read_bytes() == (ROOT / "_toc.yml").read_bytes()
    if (ROOT / ".git").exists():  # a source archive has a copy in its place
        assert (BOOK / "_toc.yml").resolve() == ROOT / "_toc.yml"


@pytest.mark.parametrize("entry", toc_entries())
def test_every_toc_entry_is_one_page(entry: str) -> None:
    assert len(list(BOOK.glob(f"{entry}.*"))) == 1


def test_every_page_is_in_the_toc() -> None:
    pages = [path for path in [*BOOK.rglob("*.md"), *NOTEBOOKS] if "_ext" not in path.parts]
    assert {str(path.relative_to(BOOK).with_suffix("")) for path in pages} == set(toc_entries())


def test_every_name_of_the_notation_is_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf8") for path in (ROOT / "nin").rglob("*.py"))
    rows = re.findall(r"^\| \$.*", (BOOK / "notation.md").read_text(encoding="utf8"), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert len(names) > 20
    assert not {name for name in names if not re.search(rf"\b{name}\b", code)}


def test_notation_shows_the_colours_of_the_figures() -> None:
    shown = re.findall(r"background:(#\w{6})", (BOOK / "notation.md").read_text(encoding="utf8"))
    curves = [figures.TRAIN, figures.TEST, figures.NIW, figures.NEXT]
    assert shown == [*(figures.PHASE_COLORS[phase] for phase in Phase), *curves]


def test_every_module_is_on_the_page_of_its_room_which_lists_all_at_its_top() -> None:
    files = [path.relative_to(ROOT).with_suffix("").parts for path in MODULES]
    modules = {".".join(parts).removesuffix(".__init__") for parts in files}
    documented = re.findall(r"automodule:: (\S+)", (BOOK / "api.md").read_text(encoding="utf8"))
    for page in (BOOK / "api").iterdir():
        text = page.read_text(encoding="utf8")
        here = re.findall(r"automodule:: (\S+)", text)
        assert here[0] == f"nin.{page.stem}"
        assert f"```{{modules}} {here[0]}\n" in text
        documented += here
    assert sorted(documented) == sorted(modules - {"nin", "nin.__main__"})


def test_no_two_modules_and_no_two_public_names_are_alike() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        where = str(path.relative_to(ROOT))
        if path.stem not in ("__init__", "__main__"):
            places[f"module {path.stem}"].append(where)
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(where)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_face_exports_a_name_of_a_module_beside_it() -> None:
    for face in (path for path in MODULES if path.name == "__init__.py"):
        room = ".".join(face.parent.relative_to(ROOT).parts)
        offered = getattr(importlib.import_module(room), "__all__", [])
        assert not {path.stem for path in face.parent.iterdir()} & set(offered), room


def test_importing_the_package_loads_nothing_heavy_and_theory_no_pytorch() -> None:
    loaded = "print(*{'matplotlib', 'numba', 'papermill', 'sympy', 'torch'} & set(sys.modules))"
    for module, heavy in (
        ("nin", ""),
        ("nin.theory", ""),
        ("nin.theory.errata", "sympy"),
        ("nin.linear", ""),
        ("nin.companion.verdicts", ""),
        ("nin.companion.figures.style", "matplotlib"),
    ):
        code = f"import sys, {module}; {loaded}"
        found = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
        assert found.split() == heavy.split()


def test_the_package_lists_what_it_offers_and_names_what_it_does_not() -> None:
    assert set(nin.__all__) <= set(dir(nin))
    for name in nin.__all__:
        assert getattr(nin, name) is not None
    with pytest.raises(AttributeError, match="module 'nin' has no attribute 'no_such_name'"):
        _ = nin.no_such_name


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_in_order_and_without_error(notebook: Path) -> None:
    cells = code_cells(notebook)
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "restart the kernel and run all cells"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]


CELLS, LINES, GLANCE = 30, 35, 25
"""Cells of a page; lines of a code cell; and of one on the way to the first figure."""


def lines(cell: dict[str, Any]) -> int:
    return len("".join(cell["source"]).splitlines())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_page_has_more_than_30_cells(notebook: Path) -> None:
    assert len(json.loads(notebook.read_text(encoding="utf8"))["cells"]) <= CELLS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_of_code_is_short_and_read_at_a_glance_up_to_the_first_figure(
    notebook: Path,
) -> None:
    shown = 0
    for cell in code_cells(notebook):
        assert lines(cell) <= (LINES if shown else GLANCE), "".join(cell["source"])
        shown += "figure" in cell["metadata"].get("mystnb", {})
    assert shown or notebook.stem == "errata", "no figure"  # a list of equations has none


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_tells_where_it_was_run(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf8")
    assert not re.findall(rf"{re.escape(str(ROOT))}|/tmp/\w+|/home/\w+|/root/\w*", text)
    assert json.loads(text)["metadata"]["kernelspec"]["name"] == "python3"
