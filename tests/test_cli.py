"""The command line: what each command prints, and one clear line for each mistake."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from nin.__main__ import _FIGURES_EXAMPLES, _parser, main
from nin.companion import pages as notebooks
from nin.companion import verdicts
from nin.companion.claims import ledger
from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import Claim
from nin.networks import data
from nin.studies.experiments import EXPERIMENTS, FIG2, FIG3, Experiment
from nin.studies.records import RecordError
from nin.studies.run import run_or_load, run_path
from nin.studies.study import Shelf

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--width", "8", "--epochs", "1", "--evaluations", "1"]
TINY = dataclasses.replace(FIG3, width=8, epochs=1, evaluations=1)
COMMANDS = ["data", "run", "sweep", "figures", "claims", "export"]
Captured = pytest.CaptureFixture[str]


def refuse(capsys: Captured, arguments: list[str], message: str) -> None:
    """Check that a command prints one line, which matches, and nothing else."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: {message}\n", err), err


# ---- help


def test_help_lists_the_commands(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^ +{c} +\w", out, re.MULTILINE) for c in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_examples_that_parse(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    examples = re.findall(rf"^  python -m nin ({command}.*?)(?:   .*)?$", out, re.MULTILINE)
    assert examples
    for example in examples:
        assert callable(_parser().parse_args(shlex.split(example)).command)


def test_every_field_of_an_experiment_has_an_option(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    out = capsys.readouterr().out
    for field in dataclasses.fields(Experiment):
        assert f"--{field.name.replace('_', '-')}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["run"], "one of the arguments --sigma-eps --K is required"),
        (["run", "--sigma-eps", "1", "--K", "1"], "not allowed with argument --sigma-eps"),
        (["run", "--sigma-eps", "loud"], "argument --sigma-eps: invalid float value: 'loud'"),
        (["sweep", "--K", "1", "--seeds", "0,1"], "argument --seeds: invalid int value: '0,1'"),
        (["run", "--K", "1", "--epochs", "1.5"], "argument --epochs: invalid int value: '1.5'"),
    ],
)
def test_words_that_are_no_command_are_refused(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_examples_of_figures_name_pages_files_and_parameters_that_fit() -> None:
    examples = re.findall(r"^  python -m nin (figures \S.*?)(?:   .*)?$", _FIGURES_EXAMPLES, re.M)
    assert len(examples) == 3 - 1  # the first names no page
    for example in examples:
        options = _parser().parse_args(shlex.split(example))
        parameters = {name: yaml.safe_load(value) for name, value in options.parameter}
        if options.file:
            parameters |= yaml.safe_load((ROOT / options.file).read_text(encoding="utf8"))
        [page] = options.pages
        known = notebooks.page_parameters(notebooks.PAGES / f"{page}.ipynb")
        assert notebooks.check_parameters(parameters, known)


# ---- data


def test_data_says_where_it_is(capsys: Captured) -> None:
    assert main(["data"]) == 0
    assert capsys.readouterr().out == f"Fashion-MNIST is complete in {data.prepare()}\n"


def test_damaged_data_is_one_line(capsys: Captured, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in data.SHA256:
        (raw / name).touch()
    first = re.escape(str(raw / next(iter(data.SHA256))))
    refuse(capsys, ["data", "--folder", str(tmp_path)], rf"{first} is damaged: .*Delete it.*")


# ---- run and sweep


def test_run_trains_reports_and_then_loads(capsys: Captured, tmp_path: Path) -> None:
    words = ["run", "--sigma-eps", "60", *SMALL, "--results", str(tmp_path)]
    assert main(words) == 0
    first = capsys.readouterr().out
    e = dataclasses.replace(TINY, sigma_eps=60.0)
    path = run_path(e, tmp_path)
    written = path.stat().st_mtime_ns
    assert re.match(r"sigma_eps = 60 \(K = 0\.04592\), seed 0: (decoupled|decay)\n", first)
    assert "times its start" in first and "after 1 epochs, eps = 0: training loss" in first
    assert first.endswith(f"record: {path}\n")
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert path.stat().st_mtime_ns == written
    assert main([*words, "--recompute"]) == 0
    assert path.stat().st_mtime_ns != written


def test_every_option_reaches_the_experiment(capsys: Captured, tmp_path: Path) -> None:
    options = (
        "--experiment fig2 --K 30 --seed 7 --eta 0.02 --batch-size 4200 --epochs 1 --depth 2 "
        "--width 6 --activation tanh --layer layers.1 --fixed --noise uniform --no-bias "
        "--init truncated --niw-fan-in node --mse-norm half_sum --scaling variance "
        "--split-seed 3 --evaluations 1 --precision bf16"
    )
    assert main(["run", *options.split(), "--results", str(tmp_path)]) == 0
    [path] = tmp_path.iterdir()
    base = dataclasses.replace(
        FIG2,
        seed=7,
        eta=0.02,
        batch_size=4200,
        epochs=1,
        depth=2,
        width=6,
        activation="tanh",
        layer="layers.1",
        fixed=True,
        noise="uniform",
        bias=False,
        init="truncated",
        niw_fan_in="node",
        mse_norm="half_sum",
        scaling="variance",
        split_seed=3,
        evaluations=1,
        precision="bf16",
    )
    assert run_or_load([base.at(30)], folder=tmp_path)[0].experiment == base.at(30)
    assert list(tmp_path.glob("*.npz")) == [path]


def test_noise_that_no_run_survives_is_called_divergent(capsys: Captured, tmp_path: Path) -> None:
    words = ["run", "--sigma-eps", "1e30", *SMALL, "--results", str(tmp_path)]
    assert main(words) == 0
    assert ": divergent\n    the loss was no longer finite at step" in capsys.readouterr().out


def test_noise_that_no_step_survives_is_called_divergent_too(
    capsys: Captured, tmp_path: Path
) -> None:
    words = ["sweep", "--sigma-eps", "3e38", "1", *SMALL, "--results", str(tmp_path)]
    assert main([*words, "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert ": divergent\n    the loss was no longer finite at step 0" in out
    assert "sigma_eps = 1 (" in out


def test_a_seed_named_twice_is_refused(capsys: Captured, tmp_path: Path) -> None:
    words = ["sweep", "--K", "1", "--seeds", "0", "0", "--results", str(tmp_path)]
    refuse(capsys, words, r"seeds must be one or more, each named once, not \[0, 0\]")


def test_a_tilde_means_the_home_wherever_it_stands(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["run", "--K", "1", *SMALL, "--results=~/mine"]) == 0
    assert capsys.readouterr().out.endswith(f"record: {run_path(TINY.at(1), tmp_path / 'mine')}\n")
    assert Shelf(Path("~/mine"), "").folder == tmp_path / "mine"


def test_sweep_reports_each_strength_and_seed(capsys: Captured, tmp_path: Path) -> None:
    small = [*SMALL, "--results", str(tmp_path), "--workers", "1"]
    assert main(["sweep", "--K", "0.01", "0.1", "--seeds", "0", "1", *small]) == 0
    out = capsys.readouterr().out
    found = re.findall(r"\(K = ([\d.]+)\), seed (\d): ", out)
    assert found == [("0.01", "0"), ("0.01", "1"), ("0.1", "0"), ("0.1", "1")]
    for k in (0.01, 0.1):
        for seed in (0, 1):
            assert run_path(dataclasses.replace(TINY, seed=seed).at(k), tmp_path).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--sigma-eps -1", "sigma_eps must be finite and >= 0, not -1.0"),
        ("--sigma-eps nan", "sigma_eps must be finite and >= 0, not nan"),
        ("--sigma-eps inf", "sigma_eps must be finite and >= 0, not inf"),
        ("--K -1", r"K, a noise variance .* must be a finite number >= 0, not -1\.0"),
        ("--K 1 --experiment fig9", r"experiment must be one of \['fig1', .*\], not 'fig9'"),
        ("--K 1 --activation swish", r"activation must be one of \['gelu', .*\], not 'swish'"),
        ("--K 1 --loss nll", "loss must be 'ce' or 'mse', not 'nll'"),
        ("--K 1 --noise pink", r"noise must be one of \['gaussian', .*\], not 'pink'"),
        ("--K 1 --layer layers.2", r"layer must be one of .*'layers\.1'\], not 'layers\.2'"),
        ("--K 1 --layer layers.0 --depth -1", "depth must be >= 1, not -1"),
        ("--K 1 --batch-size 42001", "batch_size must be at most 42000, .*, not 42001"),
        ("--K 1 --batch-size 0", "batch_size must be >= 1, not 0"),
        ("--K 1 --epochs 0", "epochs must be >= 1, not 0"),
        ("--K 1 --width 0", "width must be >= 1, not 0"),
        ("--K 1 --eta 0", "eta must be finite and > 0, not 0.0"),
        ("--K 1 --precision fp8", r"precision must be one of .*, not 'fp8'"),
        ("--sigma-eps 1e155", r"sigma_eps must be at most 3e\+38, not 1e\+155"),
        ("--K 1e300 --eta 1e-9", "sigma_eps must be finite and >= 0, not inf"),
        ("--K 1 --width 10000000000", r"width 10000000000 and depth 1 make 7\.94e\+12 weights; .*"),
        ("--K 1 --evaluations 100000000000", r"evaluations must be at most 10000, not 1e\+11"),
        ("--K 1 --depth 100000000", r"depth must be at most 1000, not 1e\+08"),
        ("--K 1 --epochs 100000000", r"epochs must be at most 1e\+06, not 1e\+08"),
        ("--K 1 --eta 1e-310", r"eta must be at least 1e-300, not 1e-310.*"),
        ("--K 1 --split-seed 9223372036854775808", "split_seed must be a number of 64 bits, .*"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_impossible_experiments_are_refused_before_anything_is_written(
    command: str, options: str, message: str, capsys: Captured, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    refuse(capsys, [command, *options.split(), "--results", str(results)], message)
    assert not results.exists()


@pytest.mark.parametrize("workers", ["0", "-2"])
def test_a_sweep_by_nobody_is_refused(workers: str, capsys: Captured) -> None:
    says = f"workers must be >= 1, not {workers}: leave it out for one per core"
    refuse(capsys, ["sweep", "--K", "1", "--workers", workers], says)


def test_a_sweep_of_nothing_is_refused_with_what_to_say(capsys: Captured) -> None:
    refuse(capsys, ["sweep"], r"name the noise strengths: --sigma-eps 20 60, or --K 0\.1 1")


def test_a_damaged_record_is_one_line_and_left_alone(capsys: Captured, tmp_path: Path) -> None:
    path = run_path(TINY.at(1), tmp_path)
    path.write_bytes(b"PK")
    words = ["run", "--K", "1", *SMALL, "--results", str(tmp_path)]
    refuse(capsys, words, rf"the record {re.escape(str(path))} is damaged .*: restore it, .*")
    assert path.read_bytes() == b"PK"


def test_results_that_cannot_be_written_are_one_line(capsys: Captured, tmp_path: Path) -> None:
    blocked = tmp_path / "results"
    blocked.touch()  # a file where the folder should be: not even root can write into it
    words = ["run", "--K", "1", *SMALL, "--results", str(blocked)]
    refuse(capsys, words, r"cannot write records to .*results: .*\. Name another folder.*")


def test_every_experiment_can_be_named() -> None:
    for name in EXPERIMENTS:
        options = _parser().parse_args(["run", "--experiment", name, "--K", "1"])
        assert options.experiment == name


# ---- figures


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two pages, one of which fails when asked to."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("good", "bad"):
        parameters = nbformat.v4.new_code_cell("n: int = 1")
        parameters.metadata["tags"] = ["parameters"]
        code = nbformat.v4.new_code_cell(f"print(1 / (n - {int(name == 'bad')}))")
        notebook = nbformat.v4.new_notebook(cells=[parameters, code])
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata["kernelspec"] = kernel
        nbformat.write(notebook, folder / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "PAGES", folder)
    return folder


def test_figures_executes_a_page_once_and_again_only_by_force(
    pages: Path, capsys: Captured
) -> None:
    for words, said in (
        ([], "executing good ...\n{page} is done\n"),
        ([], "good is up to date\n"),
        (["--force"], "executing good ...\n{page} is done\n"),
        (["-p", "n", "2"], "executing good ...\n{page} is done\n"),
    ):
        assert main(["figures", "good", *words]) == 0
        assert capsys.readouterr().out == said.format(page=pages / "good.ipynb")
    assert "0.5" in (pages / "good.ipynb").read_text(encoding="utf8")


def test_figures_puts_pages_elsewhere_when_asked_with_parameters_of_a_file(
    pages: Path, tmp_path: Path, capsys: Captured
) -> None:
    before = (pages / "bad.ipynb").read_bytes()
    (tmp_path / "small.yml").write_text("n: 6  # a reason\n", encoding="utf8")
    words = ["bad", "-f", str(tmp_path / "small.yml"), "--output", str(tmp_path / "out")]
    assert main(["figures", *words]) == 0
    assert "0.2" in (tmp_path / "out" / "bad.ipynb").read_text(encoding="utf8")
    assert (pages / "bad.ipynb").read_bytes() == before


def test_a_failing_page_is_one_line_and_leaves_the_old_one(pages: Path, capsys: Captured) -> None:
    before = (pages / "bad.ipynb").read_bytes()
    assert main(["figures", "bad"]) == 2
    assert capsys.readouterr().err == "error: bad failed: ZeroDivisionError: division by zero\n"
    assert (pages / "bad.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ugly"], "no page ugly; there are: bad, good"),
        (["good", "-p", "m", "1"], "unknown parameter m; there are: n"),
        (["good", "-p", "n", "x"], "n must be of type int, not 'x', a str"),
        (["good", "-p", "n", "[1"], "-p n is not YAML: .*expected.*"),
        (["good", "-f", "{tmp}/none.yml"], r".*No such file or directory: '.*none\.yml'"),
        (["good", "-f", "{tmp}/list.yml"], r".*list\.yml must hold lines of the form NAME: VALUE"),
        (["good", "-f", "{tmp}/bad.yml"], r"the file .*bad\.yml is not YAML: .*"),
        (["good", "-f", "{tmp}"], r".*Is a directory.*"),
        (["good", "-f", "{tmp}/bytes.yml"], r"the file .*bytes\.yml is no text in UTF-8: .*"),
    ],
)
def test_bad_pages_and_parameters_are_one_line(
    words: list[str], message: str, pages: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "list.yml").write_text("- 1\n- 2\n", encoding="utf8")
    (tmp_path / "bad.yml").write_text("n: [1\n", encoding="utf8")
    (tmp_path / "bytes.yml").write_bytes(b"\xff\x00")
    before = (pages / "good.ipynb").read_bytes()
    refuse(capsys, ["figures", *(w.format(tmp=tmp_path) for w in words)], message)
    assert (pages / "good.ipynb").read_bytes() == before


def test_figures_without_pages_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(notebooks, "PAGES", tmp_path)
    refuse(capsys, ["figures"], f"there are no pages in {tmp_path}")


# ---- claims


@pytest.fixture
def three_claims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A ledger of three claims, of which the second fails; how often it was tried."""
    tried: list[int] = []

    def fails() -> Finding:
        tried.append(1)
        raise RecordError("the record x.npz is damaged")

    def holds() -> Finding:
        cells = [Cell({"K": K}, 1.0, 0.1, 3, holds=True) for K in (1, 2)]
        return Finding.over(cells, "it does", "a number")

    tests = (holds, fails, holds)
    claims = [Claim(f"C{i}", "words", "here", "index", test) for i, test in enumerate(tests, 1)]
    for user in (ledger, verdicts):
        monkeypatch.setattr(user, "ledger", lambda: claims)
    return tried


def test_a_claim_that_cannot_be_computed_hides_no_other(
    three_claims: list[int], capsys: Captured
) -> None:
    assert main(["claims"]) == 2
    out = capsys.readouterr().out
    assert re.findall(r"^C\d", out, re.M) == ["C1", "C2", "C3"]
    found = "\n    reproduced: it does\n    a number: 1 ± 0.1 (n = 3)"
    assert out.count(f"{found}\n    grid: K 1, 2; 3 seeds each\n    worst: K 1: 1 ± 0.1") == 2
    assert "\n    not computed: the record x.npz is damaged; page index\n" in out
    assert len(three_claims) == 1
    assert main(["claims", "C1", "C3"]) == 0


def test_the_page_of_claims_shows_the_others_too(three_claims: list[int]) -> None:
    table = verdicts.all_verdicts().data
    assert table.count("**reproduced** | it does *a number:* 1.00 ± 0.10, from 3. | K 1, 2") == 2
    assert "**not computed** | the record x.npz is damaged" in table
    assert len(three_claims) == 1


def test_a_reader_that_has_seen_enough_ends_a_command_in_silence() -> None:
    command = f"{shlex.quote(sys.executable)} -m nin claims C3 C20 | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("C", "")


def test_an_unknown_claim_is_refused_with_those_there_are(capsys: Captured) -> None:
    refuse(capsys, ["claims", "C999"], r"no claim C999; there are: \[.*'EQ2'.*\]")
