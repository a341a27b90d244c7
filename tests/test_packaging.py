"""The package away from its checkout: what is built, what it needs, and where it writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import nin
from nin.folders import CHECKOUT, DATA, DISTRIBUTION, checkout_of

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = shutil.ignore_patterns(
    ".git",
    ".venv",
    "data",
    "_build",
    "build",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)
SMALL = ["--sigma-eps", "1", "--width", "8", "--epochs", "1", "--evaluations", "1"]


def done(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, since what builds a package leaves files beside it."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_OURS)
    return copy


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    made = done(*pip, "wheel", *alone, "--wheel-dir", folder / "wheel", source)
    assert made.returncode == 0, made.stderr
    [wheel] = (folder / "wheel").iterdir()
    assert wheel.name.startswith("noise_injection_companion-")
    made = done(*pip, "install", *alone, "--target", folder / "site", wheel)
    assert made.returncode == 0, made.stderr
    return folder / "site"


@pytest.fixture
def anywhere(installed: Path, tmp_path: Path) -> dict[str, object]:
    """How to run the installed package: from another folder, as a user with a home of their own."""
    (tmp_path / "work").mkdir()
    data = os.environ.get("NIN_DATA") or str(DATA)
    own = {"PYTHONPATH": str(installed), "HOME": str(tmp_path), "NIN_DATA": data}
    own |= {"XDG_DATA_HOME": str(tmp_path / "share"), "CI": "true"}
    own |= {"XDG_CACHE_HOME": str(tmp_path / ".cache"), "NIN_FINDINGS": ""}
    return {"cwd": tmp_path / "work", "env": os.environ | own}


# ---- what is built


def test_a_source_archive_is_a_checkout_without_its_history(source: Path, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no history here to compare with")
    build = f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r})"
    made = done(sys.executable, "-c", build, cwd=source)
    assert made.returncode == 0, made.stderr
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {m.name.partition("/")[2] for m in tar.getmembers() if not m.isdir()}
    tracked = set(done("git", "ls-files", cwd=ROOT).stdout.split("\n")) - {""}
    assert not {name for name in tracked if (ROOT / name).exists()} - names
    assert {n.partition("/")[0] for n in names - tracked} <= {
        "PKG-INFO", "setup.cfg", "noise_injection_companion.egg-info", *os.listdir(ROOT),
    }  # fmt: skip


def test_a_wheel_holds_the_package_its_style_and_its_types(installed: Path) -> None:
    there = {str(p.relative_to(installed)) for p in (installed / "nin").rglob("*")}
    ours = [p for p in (ROOT / "nin").rglob("*") if p.suffix in (".py", ".mplstyle", ".typed")]
    assert there >= {str(path.relative_to(ROOT)) for path in ours}
    assert not (installed / "results").exists() and not (installed / "tests").exists()


def test_the_version_is_said_once(installed: Path, anywhere: dict[str, object]) -> None:
    ask = (
        f"import nin, importlib.metadata as m; print(nin.__version__, m.version('{DISTRIBUTION}'))"
    )
    assert done(sys.executable, "-c", ask, **anywhere).stdout.split() == [nin.__version__] * 2


# ---- what it needs


def test_the_package_without_its_pages_needs_no_extra() -> None:
    """Theory, training, studies and claims: only figures, pages and callbacks need more."""
    script = """
import importlib, pkgutil, sys
for name in ("curvlinops", "dask", "distributed", "IPython", "matplotlib", "nbformat", "papermill",
             "yaml"):
    sys.modules[name] = None
import nin
pages = [f"nin.companion.{n}" for n in ("figures", "pages", "explorer", "live", "run_browser")]
needs_more = (*pages, "nin.networks.lightning_callback", "nin.networks.trainer_callback")
def ok(name):
    return not name.startswith(needs_more)
for module in pkgutil.walk_packages(nin.__path__, "nin.", onerror=lambda name: None):
    if ok(module.name):
        importlib.import_module(module.name)
"""
    found = done(sys.executable, "-c", script, cwd=ROOT)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("imports", "none_of"),
    [
        (
            "from nin.companion.figures import *; import nin.companion.verdicts, nin.studies.run",
            {"numba", "sympy"},
        ),
        ("from nin.linear import *; from nin.studies import *", set()),
    ],
)
def test_what_a_page_imports_is_what_it_uses(imports: str, none_of: set[str]) -> None:
    """Each of these takes a second or so, of every page, worker and command."""
    slow = {"torchvision", "scipy.stats", "nin.theory.errata", "torch._dynamo", "pandas"}
    imported = done(sys.executable, "-c", f"import sys; {imports}; print(*sys.modules)")
    assert imported.returncode == 0, imported.stderr
    assert not (slow | none_of) & set(imported.stdout.split())


def test_what_an_extra_would_bring_is_named_when_it_is_missing(tmp_path: Path) -> None:
    for missing, extra, words in (
        ("papermill", "book", ["figures"]),
        ("distributed", "cluster", ["run", "--K", "1", "--scheduler", "tcp://127.0.0.1:9"]),
    ):
        script = (
            f"import sys; sys.modules[{missing!r}] = None; import nin.__main__ as m; m.command()"
        )
        found = done(sys.executable, "-c", script, *words, cwd=ROOT)
        assert found.returncode == 2
        how = f"pip install '{DISTRIBUTION}[{extra}]'"
        assert found.stderr == f"error: this needs {missing}, which is not installed: {how}\n"


@pytest.mark.parametrize("words", [[], ["run"], ["sweep"], ["data"], ["figures"], ["claims"]])
def test_help_answers_without_pytorch(words: list[str]) -> None:
    """PyTorch takes seconds to import."""
    script = "import sys; sys.modules['torch'] = None; import nin.__main__ as m; m.command()"
    assert done(sys.executable, "-c", script, *words, "--help", cwd=ROOT).returncode == 0


# ---- where it reads and writes


def test_a_checkout_is_known_by_its_own_files(tmp_path: Path) -> None:
    assert CHECKOUT == ROOT
    assert checkout_of(tmp_path / "site-packages" / "nin") is None


def test_an_installed_package_writes_to_the_user_s_folder_alone(
    installed: Path, anywhere: dict[str, object], tmp_path: Path
) -> None:
    def files() -> set[Path]:
        return {path for path in installed.rglob("*") if path.suffix != ".pyc" and path.is_file()}

    before = files()
    found = done(installed / "bin" / "nin", "run", *SMALL, **anywhere)
    assert found.returncode == 0, found.stderr
    results = tmp_path / "share" / DISTRIBUTION / "results"
    [record] = results.iterdir()
    assert found.stdout.endswith(f"record: {record}\n")
    assert files() == before
    assert not list((tmp_path / "work").iterdir())


def test_an_installed_package_says_where_pages_and_records_are(
    installed: Path, anywhere: dict[str, object], tmp_path: Path
) -> None:
    script, env = installed / "bin" / "nin", anywhere["env"]
    found = done(script, "figures", **anywhere)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.endswith(": they come with the project's source, not with the package\n")
    found = done(script, "claims", "C20", **anywhere)
    assert found.returncode == 2
    assert "not computed: " in found.stdout and "set NIN_RESULTS to the folder" in found.stdout
    assert isinstance(env, dict)
    with_records = anywhere | {"env": env | {"NIN_RESULTS": str(ROOT / "results")}}
    found = done(script, "claims", "C20", **with_records)
    assert found.returncode == 0, found.stdout
    assert "reproduced" in found.stdout
    [kept] = (tmp_path / ".cache" / DISTRIBUTION / "findings").iterdir()  # for the next time
    assert kept.name.startswith("C20-")
