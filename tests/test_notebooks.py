"""Papermill pages run strictly, small, and only into place when they succeed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
import yaml
from papermill.exceptions import PapermillExecutionError

from nin.companion.pages import (
    PAGES,
    check_parameters,
    is_current,
    page_parameters,
    read_parameters,
    run_page,
)

ROOT = Path(__file__).resolve().parents[1]
HEAVY = sorted(PAGES.glob("*.ipynb"))
PARAMETERS = (
    'K: "list[float]" = [0.5]  # strengths\nepochs: int = 3\nname: str = ""\nfast: bool = False'
)
KNOWN = {"K": "list[float]", "seeds": "list[int]", "epochs": "int", "eta": "float"} | {
    "fast": "bool",
    "name": "str",
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of two cells that prints its parameters."""
    return write_page(tmp_path / "page.ipynb", "print(K, epochs, repr(name), fast)")


def write_page(path: Path, code: str) -> Path:
    cells = [nbformat.v4.new_code_cell(PARAMETERS), nbformat.v4.new_code_cell(code)]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata["kernelspec"]["language"] = "python"
    nbformat.write(notebook, path)
    return path


def printed(page: Path) -> str:
    cells = nbformat.read(page, as_version=4).cells
    return "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))


# ---- checking parameters


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({}, {}),
        ({"epochs": 5, "fast": True, "name": "x"}, {"epochs": 5, "fast": True, "name": "x"}),
        ({"K": [1, 2.5]}, {"K": [1.0, 2.5]}),
        ({"K": []}, {"K": []}),
        ({"K": 60}, {"K": [60.0]}),  # a scalar stands for a list of one
        ({"seeds": 3}, {"seeds": [3]}),
        ({"eta": 1}, {"eta": 1.0}),
    ],
)
def test_good_parameters_pass_with_whole_numbers_made_floats(
    given: dict[str, Any], checked: dict[str, Any]
) -> None:
    found = check_parameters(given, KNOWN)
    assert found == checked
    assert repr(found) == repr(checked)  # 60 == 60.0, but only one of them is a float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 5}, r"unknown parameter epoch; there are: K, seeds, epochs, eta, fast, name"),
        ({"b": 1, "a": 2}, r"unknown parameter a, b; there are"),
        ({"epochs": "5"}, r"epochs must be of type int, not '5', a str"),
        ({"epochs": 5.0}, r"epochs must be of type int, not 5\.0, a float"),
        ({"epochs": True}, r"epochs must be of type int, not True, a bool"),
        ({"epochs": [5]}, r"epochs must be of type int, not \[5\], a list"),
        ({"epochs": None}, r"epochs must be of type int, not None, a NoneType"),
        ({"name": 5}, r"name must be of type str, not 5, a int"),
        ({"seeds": "0, 1"}, r"seeds must be .* '0, 1', a str; .* as -y 'seeds: \[1, 2\]'"),
        ({"seeds": [0, 0.5]}, r"each of seeds must be of type int, not 0\.5, a float"),
        ({"seeds": 0.5}, r"each of seeds must be of type int, not 0\.5, a float"),
        ({"K": [[1.0]]}, r"each of K must be of type float, not \[1\.0\], a list"),
        ({"K": ["1e-4"]}, r"each of K .* not '1e-4', a str; YAML wants a point in it: 1\.0e-4"),
        ({"eta": "1e-4"}, r"eta must be .* not '1e-4', a str; YAML wants a point in it"),
        ({"fast": "true"}, r"fast must be .* not 'true', a str; papermill takes .* -p fast True"),
        ({"fast": 1}, r"fast must be of type bool, not 1, a int"),
        ({"seeds": [0, 0]}, r"seeds must name each value once, not \[0, 0\]"),
    ],
)
def test_bad_parameters_are_refused_with_name_type_value_and_spelling(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_parameters(given, KNOWN)


def test_yaml_and_papermill_read_what_the_hints_say(page: Path) -> None:
    assert yaml.safe_load("K: [1.0e-4]") == {"K": [1e-4]}
    assert yaml.safe_load("K: [1e-4]") == {"K": ["1e-4"]}, "then the hint is not needed"


def test_a_page_reads_its_own_parameters() -> None:
    namespace = {"__annotations__": {"K": "list[float]", "epochs": int}, "K": 2, "epochs": 4}
    noise = {"__name__": "__main__", "_ih": [""], "In": [""], "Out": {}, "read_parameters": print}
    assert read_parameters(namespace | noise) == SimpleNamespace(K=[2.0], epochs=4)


@pytest.mark.parametrize("extra", [{"sigma": 1}, {"epochs": "4"}])
def test_a_page_refuses_what_papermill_let_pass(extra: dict[str, Any]) -> None:
    namespace = {"__annotations__": {"epochs": int}, "epochs": 4}
    with pytest.raises(ValueError, match=r"unknown parameter sigma|epochs must be of type int"):
        read_parameters(namespace | extra)


def test_numbers_of_a_page_are_kept_for_its_sentences_and_not_shown(tmp_path: Path) -> None:
    code = "from nin.companion.pages import glue_numbers\nglue_numbers(a=3, b='1 ± 2')"
    page = write_page(tmp_path / "page.ipynb", code)
    run_page(page, {}, page)
    [a, b] = nbformat.read(page, as_version=4).cells[-1].outputs
    kept = {o.metadata.scrapbook.name: dict(o.data) for o in (a, b)}
    mime = "application/papermill.record/text/plain"
    assert kept == {"a": {mime: "3"}, "b": {mime: "'1 ± 2'"}}


def test_a_list_is_empty_only_where_the_page_says_it_may_be() -> None:
    namespace = {"__annotations__": {"K": "list[float]"}, "K": []}
    assert read_parameters(namespace, "K") == SimpleNamespace(K=[])
    with pytest.raises(ValueError, match=r"K must name one value at least, not \[\]"):
        read_parameters(namespace)


def test_names_and_types_are_read_off_the_parameters_cell(page: Path) -> None:
    kinds = {"K": "list[float]", "epochs": "int", "name": "str", "fast": "bool"}
    assert page_parameters(page) == kinds


# ---- running pages


def test_a_page_runs_with_its_parameters_and_remembers_them(page: Path, tmp_path: Path) -> None:
    source, output = page.read_bytes(), tmp_path / "out" / "page.ipynb"
    run_page(page, {"K": 2, "name": "x"}, output)
    assert printed(output) == "[2.0] 3 'x' False\n"
    assert page.read_bytes() == source
    notebook = nbformat.read(output, as_version=4)
    assert notebook.metadata.papermill.parameters == {"K": [2.0], "name": "x"}
    assert str(tmp_path) not in json.dumps(notebook.metadata)
    assert [p.name for p in output.parent.iterdir()] == ["page.ipynb"]


def test_a_page_run_in_place_is_current_until_something_changes(page: Path) -> None:
    assert not is_current(page, {})
    run_page(page, {"epochs": 4}, page)
    run_page(page, {"epochs": 5}, page)
    assert printed(page) == "[0.5] 5 '' False\n"
    tags = [c.metadata.get("tags") for c in nbformat.read(page, as_version=4).cells]
    assert tags.count(["injected-parameters"]) == 1
    assert is_current(page, {"epochs": 5})
    assert not is_current(page, {"epochs": 6})
    assert not is_current(page, {})
    notebook = nbformat.read(page, as_version=4)
    notebook.cells[-1].source += "\n"
    nbformat.write(notebook, page)
    assert not is_current(page, {"epochs": 5})


def test_a_progress_bar_leaves_no_widget_that_a_browser_would_fetch(tmp_path: Path) -> None:
    bar = "from tqdm.notebook import tqdm\nfor _ in tqdm(range(2)):\n    pass\nprint('done')"
    page = write_page(tmp_path / "page.ipynb", bar)
    run_page(page, {}, page)
    assert printed(page) == "done\n"
    assert "widget" not in page.read_text(encoding="utf8").replace("tqdm.notebook", "")


def test_a_failing_page_leaves_the_old_one_untouched(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.ipynb", "1 / 0")
    before = page.read_bytes()
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        run_page(page, {}, page)
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]


def test_bad_parameters_are_refused_before_a_kernel_starts(page: Path) -> None:
    before = page.read_bytes()
    with pytest.raises(ValueError, match="unknown parameter sigma; there are: K, epochs"):
        run_page(page, {"sigma": 1}, page, kernel_name="no such kernel")
    assert page.read_bytes() == before


def test_a_relative_folder_of_records_is_the_caller_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "book").mkdir()
    page = write_page(tmp_path / "book" / "page.ipynb", "import os\nprint(os.getcwd())")
    monkeypatch.chdir(tmp_path)
    run_page(page, {}, page)
    assert printed(page) == f"{tmp_path}\n"


@pytest.mark.parametrize("backend", ["agg", None])
def test_figures_reach_a_page_whatever_backend_a_server_has_set(
    backend: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import matplotlib.pyplot as plt\nfrom nin.companion import figures\nfigures.use_style()\n"
        "plt.plot([0, 1])\nplt.show()"
    )
    if backend is not None:
        monkeypatch.setenv("MPLBACKEND", backend)
    page = write_page(tmp_path / "page.ipynb", code)
    run_page(page, {}, page)
    outputs = [o for c in nbformat.read(page, as_version=4).cells for o in c.outputs]
    assert ["image/svg+xml" in o.get("data", {}) for o in outputs].count(True) == 1


def test_a_page_that_is_stopped_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """Killed while the kernel runs: not even a handler could clean up."""
    begun = tmp_path / "begun"
    code = f"import time\nfrom pathlib import Path\nPath({str(begun)!r}).touch()\ntime.sleep(600)"
    page = write_page(tmp_path / "page.ipynb", code)
    before = page.read_bytes()
    script = (
        "from pathlib import Path\nfrom nin.companion.pages import run_page\n"
        f"run_page(Path({str(page)!r}), {{}}, Path({str(page)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as process:
        try:
            while not begun.exists():
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert sorted(tmp_path.iterdir()) == [begun, page]
    assert page.read_bytes() == before


# ---- the heavy pages


def run_here(page: Path, given: dict[str, Any]) -> None:
    """Run a page's cells in this process, as a kernel would without the seconds it takes to start.

    What was given follows the cell of parameters, as in a notebook that papermill has prepared.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with plt.rc_context():
        for cell in nbformat.read(page, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, page.name, "exec", dont_inherit=True), namespace)
                if "parameters" in cell.metadata.get("tags", ()):
                    namespace |= given


def test_papermill_itself_fails_on_a_parameter_that_the_page_does_not_know(tmp_path: Path) -> None:
    """Each page refuses it in the same way, by the next test; papermill must report it."""
    patient = ["--start-timeout", "600"]  # seconds: a kernel takes one, and a busy machine many
    command = [sys.executable, "-m", "papermill", str(PAGES / "one_run.ipynb"), "out.ipynb"]
    done = subprocess.run(
        [*command, *patient, "-p", "sigma", "60", "--cwd", str(PAGES)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "ValueError: unknown parameter sigma; there are: " in done.stderr


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_a_page_fails_on_a_parameter_that_it_does_not_know(page: Path) -> None:
    with pytest.raises(ValueError, match="unknown parameter sigma; there are: "):
        run_here(page, {"sigma": 60})


def small(page: Path) -> dict[str, Any]:
    text = (ROOT / "params" / f"smoke_{page.stem}.yml").read_text(encoding="utf8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def test_every_parameter_file_fits_a_page() -> None:
    pages = {page.stem: page_parameters(page) for page in HEAVY}
    files = sorted((ROOT / "params").glob("*.yml"))
    smoke = {f"smoke_{name}": known for name, known in pages.items()}
    assert {f.stem for f in files} == set(smoke) | {"borders_full"}
    for file in files:
        known = smoke.get(file.stem, pages["predicted_borders"])
        assert check_parameters(yaml.safe_load(file.read_text(encoding="utf8")), known)


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_every_heavy_page_spreads_over_processes_and_over_a_cluster(page: Path) -> None:
    known = page_parameters(page)
    assert (known["workers"], known["scheduler"]) == ("int", "str")


BAD = {
    "fig1_decay": {"stronger": [-1.0]},
    "fig1_timescales": {"late_starts": [5, 6]},
    "fig2_phases_mse": {"sweep_epochs": 0},
    "fig3_phases_ce": {"sweep_K": [-1.0]},
    "memorisation": {"stronger_label_noise": [2.0]},
    "curvature": {"draws": 0},
    "image_borders": {"steps": 1},
    "floor": {"times": [1.0, 1.0]},
    "network_borders": {"at_scale": ["none such"]},
    "predicted_borders": {"decay_steps": [1]},
    "proposals": {"several_strengths": [0.0]},
    "random_data": {"untried_strengths": [-1.0]},
    "activations": {"bounded_sigma_eps": [-1.0]},
    "beyond_mlps": {"strong": [-1.0]},
    "one_run": {"activation": "none such"},
    "robustness": {"dropouts": [1.0]},
}
"""What only a later cell of a page uses."""


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_what_is_wrong_in_a_later_cell_is_found_before_anything_trains(
    page: Path, tmp_path: Path
) -> None:
    given = small(page) | BAD[page.stem] | {"results": str(tmp_path / "results")}
    with pytest.raises(ValueError):
        run_here(page, given)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_a_page_refuses_a_list_without_which_it_has_no_meaning(page: Path) -> None:
    known = page_parameters(page)
    seeds = next(name for name in known if name.endswith("seeds"))
    with pytest.raises(ValueError, match=f"{seeds} must name one value at least"):
        run_here(page, small(page) | {seeds: []})


@pytest.mark.parametrize("page", HEAVY, ids=lambda p: p.stem)
def test_committed_pages_show_what_their_code_and_records_give(page: Path) -> None:
    assert is_current(page, {}), "execute it again: `make figures`"
