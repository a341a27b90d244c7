"""Papermill pages, run strictly: an unknown or ill-typed parameter is an error, never a default.

`papermill` itself lets both pass. `run_page` checks before a kernel starts; `read_parameters`, in
the page, checks again, for those who call `papermill` directly.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import myst_nb
import nbformat
import papermill

from nin.folders import HOME
from nin.studies.away import cluster
from nin.studies.experiments import check_type
from nin.studies.records import source_hash, write_whole
from nin.studies.study import Shelf

PAGES = HOME / "book" / "figures"
_PLAIN = (bool, int, float, str, list, dict, types.NoneType)  # what papermill can pass
_IPYTHON = {"In", "Out"}  # data that IPython keeps in the notebook's namespace
_INJECTED = "injected-parameters"  # papermill's tag
_WIDGET = "application/vnd.jupyter.widget-view+json"


def read_parameters(namespace: Mapping[str, Any], *may_be_empty: str) -> SimpleNamespace:
    """Check a page's parameters against the annotations in its parameters cell.

    Args:
        namespace: The notebook's ``globals()``, before anything else is defined.
        *may_be_empty: Lists without which the page has a meaning.

    Returns:
        The parameters, as attributes. One value stands for a list of one.

    Raises:
        ValueError: If a parameter is unknown, of the wrong type, or empty.
    """
    annotations = namespace.get("__annotations__", {})
    plain = {
        name: value
        for name, value in namespace.items()
        if isinstance(value, _PLAIN) and not (name.startswith("_") or name in _IPYTHON)
    }
    kinds = {n: a if isinstance(a, str) else a.__name__ for n, a in annotations.items()}
    checked = check_parameters(plain, kinds)
    for name, value in checked.items():
        if value == [] and name not in may_be_empty:
            raise ValueError(f"{name} must name one value at least, not []")
    return SimpleNamespace(**checked)


def shelf_for(p: SimpleNamespace, shelf: Shelf) -> Shelf:
    """Return the shelf of a page, on which it may make what is missing.

    Args:
        p: Its parameters ``results``, ``recompute``, ``workers`` and ``scheduler``.
        shelf: The project's own; with ``results`` another folder takes its place.
    """
    return replace(
        shelf,
        folder=Path(p.results) if p.results else shelf.folder,
        may_make=True,
        recompute=p.recompute,
        executor=cluster(p.scheduler) if p.scheduler else None,
        workers=p.workers or None,
    )


def glue_numbers(**numbers: object) -> None:
    """Keep what a page found for its sentences, which show it by the role ``glue:text``."""
    for name, number in numbers.items():
        myst_nb.glue(name, number, display=False)


def check_parameters(given: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters with their types checked.

    Args:
        given: Parameters by name.
        known: Type of each known parameter, such as ``"list[float]"``.

    Raises:
        ValueError: If one is unknown, of the wrong type, or a list that names a value twice.

    >>> check_parameters({"sigma_eps": 60}, {"sigma_eps": "list[float]"})
    {'sigma_eps': [60.0]}
    """
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown parameter {', '.join(unknown)}; there are: {', '.join(known)}")
    checked: dict[str, Any] = {}
    for name, value in given.items():
        single = known[name].startswith("list[") and isinstance(value, int | float)
        try:
            checked[name] = check_type(name, [value] if single else value, known[name])
        except ValueError as error:
            raise ValueError(f"{error}{_hint(name, value, known[name])}") from None
        found = checked[name]
        if isinstance(found, list) and len(set(found)) < len(found):
            raise ValueError(f"{name} must name each value once, not {value}")
    return checked


def _hint(name: str, value: object, kind: str) -> str:
    """Say how papermill and YAML spell what was most likely meant."""
    words = value if isinstance(value, list) else [value]
    if "float" in kind and any(isinstance(w, str) and re.match(r"[-+\d.]+e", w) for w in words):
        return "; YAML wants a point in it: 1.0e-4"
    if isinstance(value, str) and kind == "bool":
        return f"; papermill takes it as -p {name} True"
    if isinstance(value, str) and kind.startswith("list["):
        return f"; papermill takes a list as -y '{name}: [1, 2]'"
    return ""


def page_parameters(page: Path) -> dict[str, str]:
    """Return the name and type of each parameter of a page."""
    found = papermill.inspect_notebook(str(page))
    return {name: p["inferred_type_name"].strip("\"'") for name, p in found.items()}


def run_page(page: Path, parameters: Mapping[str, Any], output: Path, **options: Any) -> None:
    """Execute a page by papermill, with its parameters checked first.

    It runs in the present folder, as under papermill itself, and leaves nothing beside the page,
    even if it is killed.

    Args:
        page: The notebook.
        parameters: Those that differ from the defaults in its parameters cell.
        output: Where the executed notebook goes: another file, or the page itself, which is
            replaced only by a run without error.
        **options: For `papermill.execute_notebook`.

    Raises:
        ValueError: If a parameter is unknown or of the wrong type.
        papermill.PapermillExecutionError: If a cell fails.
    """
    given = check_parameters(parameters, page_parameters(page))
    notebook = nbformat.read(page, as_version=4)
    notebook.cells = [c for c in notebook.cells if _INJECTED not in c.metadata.get("tags", [])]
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="nin-") as folder:
        source, target = (Path(folder) / f"{part}-{page.name}" for part in ("source", "executed"))
        nbformat.write(notebook, source)
        patient = {"start_timeout": 600, "iopub_timeout": 600}  # papermill's 60 and 4 s are short
        papermill.execute_notebook(source, target, given, progress_bar=False, **patient | options)
        executed = nbformat.read(target, as_version=4)
    _tidy(executed, page, given)
    write_whole(output, f"{nbformat.writes(executed)}\n".encode())


def is_current(page: Path, parameters: Mapping[str, Any]) -> bool:
    """Tell whether a page's outputs are those of its cells, this package and these parameters."""
    notebook = nbformat.read(page, as_version=4)
    given = check_parameters(parameters, page_parameters(page))
    return notebook.metadata.get("nin", {}).get("fingerprint") == _fingerprint(notebook, given)


def _fingerprint(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any]) -> str:
    """Hash what a page's outputs follow from: cells, parameters, package.

    A record follows from its configuration, which the cells name, and from the package; hashing the
    folder as well would call every page stale after any run of the user's own.
    """
    cells = [c.source for c in notebook.cells if _INJECTED not in c.metadata.get("tags", [])]
    text = json.dumps([cells, parameters, source_hash()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tidy(notebook: nbformat.NotebookNode, page: Path, given: Mapping[str, Any]) -> None:
    """Keep what tells where the page came from; drop what changes with machine and minute."""
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":  # a progress bar would load scripts from the network
            cell.outputs = [o for o in cell.outputs if _WIDGET not in o.get("data", {})]
    notebook.metadata.pop("widgets", None)
    run = notebook.metadata.get("papermill", {})
    kept = ("duration", "end_time", "parameters", "version")
    notebook.metadata["papermill"] = {
        "input_path": str(page.relative_to(HOME)) if page.is_relative_to(HOME) else page.name,
        **{key: run[key] for key in kept if key in run},
    }
    notebook.metadata["nin"] = {"fingerprint": _fingerprint(notebook, given)}
