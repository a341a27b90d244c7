"""The one mechanism for measurements, tried on every kind of record that there is."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nin.folders import RESULTS
from nin.networks import data as data_module
from nin.runs.history import History
from nin.studies import (
    features,
    half_lives,
    memorisation,
    other_networks,
    random_data,
    recomputation,
    records,
    robustness,
    several,
    study,
    traces,
    walks,
    windows,
)
from nin.studies.borders import forecasts, image_parts, lost, saturation, second_order
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.saturation import outcomes
from nin.studies.borders.search import Searching, Trials
from nin.studies.experiments import FIG1, FIG2, FIG3, Experiment
from nin.studies.memorisation import memory
from nin.studies.records import MissingRecordError, RecordError, provenance, record_key
from nin.studies.run import history_arrays, history_of, run_records
from nin.studies.study import Shelf, kept, train_runs
from nin.studies.sweep import kept_all
from nin.studies.traces import estimates
from nin.studies.walks import increments
from nin.studies.windows import window_courses

# curvlinops makes torch compile in a way that torch itself is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
TINY1 = dataclasses.replace(FIG1, width=6, depth=1, epochs=1, evaluations=1).at(0.1)
TINY2 = dataclasses.replace(FIG2, width=6, batch_size=100, epochs=1, evaluations=1)
SIZES: dict[str, Any] = {"batches": 1, "draws": 2, "directions": 2, "steps": 2, "repeats": 2}
SIZES |= {"reaches": (0.1,), "matvecs": (2,)}


def other_history(e: Experiment, shelf: Shelf) -> np.ndarray:
    of, base = (
        other_networks.OtherNetwork("convnet", "conv0"),
        dataclasses.replace(e, batch_size=32),
    )
    sizes: dict[str, Any] = {"base": base, "images": 64, "looked_at": 0}
    return other_networks.other_runs(of, [1.0], [e.seed], shelf, **sizes)[1.0][0].history.loss


KINDS: dict[str, Callable[[Experiment, Shelf], object]] = {
    "run": lambda e, shelf: run_records([e], shelf)[0].history.loss,
    "walk": lambda e, shelf: increments(e, [e.seed], shelf),
    "memory": lambda e, shelf: memory(e, [e.seed], 0.2, 150, shelf=shelf).w_ni,
    "windows": lambda e, shelf: window_courses([e], shelf, (0,), 2)[0].pull,
    "traces": lambda e, shelf: estimates(e, 0, shelf, **SIZES).one_step,
    "outcomes": lambda e, shelf: outcomes(e, [1.0], [e.seed], 1, shelf).growth,
    "forecast": lambda e, shelf: forecast(e, [e.seed], 4, shelf).theta,
    "lost": lambda e, shelf: lost.lost_on_noise([e], [e.seed], 4, shelf)[e],
    "other": other_history,
    "trials": lambda e, shelf: Trials(Searching(e, 4), shelf).look(20.0).w_end,
    "spoilt": lambda e, shelf: (
        next(iter(robustness.robustness([spoilt_by_noise(e)], [e.seed], shelf).values())).spoilt
    ),
    "features": lambda e, shelf: features.weight_lengths([e], shelf, 9)[0].pixels,
    "several": lambda e, shelf: several.several([e], shelf, 20)[0].pull,
    "random data": lambda e, shelf: random_data.first_courses([e], shelf)[0].values,
}
"""A number from a record of each kind; each takes a moment to make."""


def spoilt_by_noise(e: Experiment) -> robustness.Regularised:
    severities = (("noise", 0.2),)
    return robustness.Regularised(e, images=300, tested=100, severities=severities)


def base_of(kind: str) -> Experiment:
    return TINY2 if kind in ("outcomes", "forecast", "lost", "trials") else TINY1


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, object]]:
    """The file of each kind, and what it says; read only."""
    found = {}
    for kind, ask in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        value = ask(base_of(kind), Shelf(folder, "a_page", workers=1))
        [path] = folder.glob("*.npz")
        found[kind] = path, value
    return found


# ---- every kind of record


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_on_record_is_read_to_the_same_bits_and_not_made_again(
    kind: str, library: dict[str, tuple[Path, object]]
) -> None:
    path, value = library[kind]
    before = path.stat().st_mtime_ns
    again = KINDS[kind](base_of(kind), Shelf(path.parent, "a_page"))
    np.testing.assert_array_equal(again, value)  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_says_its_format_its_question_and_how_it_was_made(
    kind: str, library: dict[str, tuple[Path, object]]
) -> None:
    with np.load(library[kind][0], allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
    assert meta["format"] == records.FORMAT
    assert set(meta) == {"format", "kind", "asked", "made"}
    assert set(meta["made"]) >= {"device", "commit", "source", "seconds", "threads", "utc"}
    assert meta["made"]["threads"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_and_may_not_be_made_says_which_page_makes_it(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(MissingRecordError, match="`python -m nin figures a_page` makes it"):
        KINDS[kind](base_of(kind), Shelf(tmp_path, "a_page", may_make=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_record_is_named_and_not_replaced(
    kind: str, library: dict[str, tuple[Path, object]], tmp_path: Path
) -> None:
    path = tmp_path / library[kind][0].name
    path.write_bytes(library[kind][0].read_bytes()[:-40])
    before = path.read_bytes()
    with pytest.raises(RecordError, match=f"{path} is damaged"):
        KINDS[kind](base_of(kind), Shelf(tmp_path, "a_page"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_another_configuration_under_the_right_name_is_not_believed(
    kind: str, library: dict[str, tuple[Path, object]], tmp_path: Path
) -> None:
    other = dataclasses.replace(base_of(kind), width=7)
    elsewhere = tmp_path / "other"
    KINDS[kind](other, Shelf(elsewhere, "a_page"))
    [theirs] = elsewhere.glob("*.npz")
    shutil.copy(library[kind][0], theirs)
    with pytest.raises(RecordError, match=f"{theirs} is the record of something else"):
        KINDS[kind](other, Shelf(elsewhere, "a_page"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_another_kind_under_the_right_name_is_not_believed(
    kind: str, library: dict[str, tuple[Path, object]], tmp_path: Path
) -> None:
    names = list(KINDS)
    another = library[names[names.index(kind) - 1]][0]
    path = tmp_path / library[kind][0].name
    shutil.copy(another, path)
    with pytest.raises(RecordError, match=f"{path} is the record of something else"):
        KINDS[kind](base_of(kind), Shelf(tmp_path, "a_page"))


def test_processes_on_one_folder_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Each looks at strengths of its own, of the same seed and of others."""
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_look, args=(tmp_path, i)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for seed in range(2):
        found = Trials(Searching(dataclasses.replace(TINY2, seed=seed), 2), Shelf(tmp_path, "p"))
        assert sorted(found.found) == [float(s) for s in range(1, 16)]


def _look(folder: Path, i: int) -> None:
    for seed in range(2):
        here = Trials(Searching(dataclasses.replace(TINY2, seed=seed), 2), Shelf(folder, "p"))
        for sigma_eps in range(1 + i, 16, 3):
            here.look(sigma_eps)


# ---- the committed ones

COMMITTED = sorted(RESULTS.rglob("*.npz"))


def test_the_names_of_committed_records_are_those_of_what_they_answer() -> None:
    """A change of the keys would lose all of them at once."""
    assert len(COMMITTED) > 600
    for path in COMMITTED:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
        asked = meta["asked"]
        if meta["kind"] == "Experiment":
            assert path.stem.endswith(record_key(Experiment(**asked)))
        else:
            kinds = {c.__name__: c for c in _kinds()}
            nested = asked | {"experiment": Experiment(**asked["experiment"])}
            fields = {name: _frozen(value) for name, value in nested.items()}
            assert path.stem.endswith(record_key(kinds[meta["kind"]](**fields))), path.name
        assert path.stat().st_size < 100_000  # hundreds of them stay below the limit for all


def _frozen(value: Any) -> Any:
    """Lists as the tuples that were asked, at any depth."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _kinds() -> list[type]:
    return [
        memorisation.Memorising, traces.Tracing, walks.Walk, windows.Windows,
        forecasts.Forecasting, saturation.Saturating, Searching, image_parts.ImagePart,
        other_networks.OtherRun, other_networks.Foretelling,
        second_order.SecondOrder, half_lives.HalfLife, lost.LostOnNoise,
        robustness.Regularised, features.Telling, several.Nodes, random_data.Bereft,
    ]  # fmt: skip


def test_the_seals_of_committed_records_hold() -> None:
    for path in COMMITTED:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        assert str(arrays.pop("sha256")) == records._seal(arrays), path.name


def test_all_committed_records_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in COMMITTED) < 15e6


# ---- keys


def test_a_key_does_not_depend_on_the_order_of_fields() -> None:
    fields = dataclasses.asdict(FIG3)
    turned = dict(reversed(fields.items()))
    assert record_key(fields) == record_key(turned)
    names = [(f.name, f.type, f.default) for f in reversed(dataclasses.fields(FIG3))]
    shuffled = dataclasses.make_dataclass("Experiment", names)
    shuffled.ALWAYS_IN_KEY = Experiment.ALWAYS_IN_KEY  # type: ignore[attr-defined]
    assert record_key(shuffled(**fields)) == FIG3.key


def test_a_field_added_later_leaves_old_keys_and_old_records_alone(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Later(Experiment):
        pixels: int = 784

    Later.__name__ = "Experiment"
    fields = dataclasses.asdict(FIG3)
    assert record_key(Later(**fields)) == FIG3.key
    assert record_key(Later(**fields, pixels=196)) != FIG3.key
    path = tmp_path / "old.npz"
    records.write_record(path, FIG3, {"seconds": 0}, {"a": 1})
    assert records.read_record(path, Later(**fields), lambda a: int(a["a"])) == 1
    with pytest.raises(RecordError, match="something else"):
        records.read_record(path, Later(**fields, pixels=196), dict)


# ---- training


@pytest.mark.parametrize("kind", ["walk", "windows", "memory", "outcomes", "trials"])
def test_the_precision_that_a_key_names_is_the_one_that_trains(kind: str, tmp_path: Path) -> None:
    e = dataclasses.replace(base_of(kind), width=32)
    low = dataclasses.replace(e, precision="bf16")
    values = [KINDS[kind](x, Shelf(tmp_path, "a_page")) for x in (e, low)]
    assert not np.array_equal(*values)  # type: ignore[arg-type]


def test_asked_runs_that_differ_in_what_is_of_no_account_are_each_answered(tmp_path: Path) -> None:
    asked = [TINY1, dataclasses.replace(TINY1, evaluations=3), TINY1]
    found = window_courses(asked, Shelf(tmp_path, "a_page"), (0,), 2)
    assert len(found) == 3
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_runs_that_differ_in_more_than_noise_and_seed_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="only runs that differ in noise and seed alone"):
        train_runs([TINY1, dataclasses.replace(TINY1, eta=0.02)])


def test_the_images_are_read_and_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    real = data_module.prepare
    monkeypatch.setattr(data_module, "prepare", lambda folder: count.append(1) or real(folder))
    study.images.cache_clear()
    for _ in range(3):
        study.images("std", 0)
    assert len(count) == 1


# ---- one study, as a newcomer writes it


@dataclasses.dataclass(frozen=True)
class Toy:
    n: int
    seed: int = 0


def toy(asked: Toy, shelf: Shelf) -> float:
    def make() -> dict[str, np.ndarray]:
        if asked.n == 13:
            raise RuntimeError("stopped")
        return {"values": np.random.default_rng(asked.seed).normal(size=asked.n)}

    return kept(f"toy-n{asked.n}", asked, make, lambda a: float(a["values"].sum()), shelf)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_spreads_and_keeps(tmp_path: Path, workers: int) -> None:
    asked = [Toy(n) for n in (3, 4, 5, 3)]
    found = kept_all(toy, asked, Shelf(tmp_path, "toys", workers=workers))
    expected = [np.random.default_rng(0).normal(size=t.n).sum() for t in asked]
    np.testing.assert_array_equal(found, expected)
    assert len(stamps(tmp_path)) == 3


def test_what_was_finished_before_a_failure_is_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "toys", workers=1)
    with pytest.raises(RuntimeError, match="stopped"):
        kept_all(toy, [Toy(3), Toy(13), Toy(4)], shelf)
    before = stamps(tmp_path)
    assert len(before) == 1
    kept_all(toy, [Toy(3), Toy(4)], shelf)
    assert before.items() <= stamps(tmp_path).items()


def test_a_recomputation_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = [Toy(3), Toy(13), Toy(4)]
    plain, again = (Shelf(tmp_path, "toys", recompute=r, workers=1) for r in (False, True))
    kept_all(toy, [Toy(3), Toy(4)], plain)
    old = stamps(tmp_path)
    kept_all(toy, [Toy(4)], again)  # an earlier part of the same recomputation, finished
    with pytest.raises(RuntimeError, match="stopped"):
        kept_all(toy, asked, again)
    half = stamps(tmp_path)
    recomputation._DONE.clear()  # as if killed: another process begins
    kept_all(toy, [Toy(4)], again)
    with pytest.raises(RuntimeError, match="stopped"):
        kept_all(toy, asked, again)
    assert stamps(tmp_path) == half, "nothing finished is made again"
    assert all(half[name] > when for name, when in old.items())


def test_a_recomputation_that_ended_begins_anew(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "toys", recompute=True, workers=1)
    seen = []
    for _ in range(3):
        kept_all(toy, [Toy(3), Toy(4)], shelf)
        seen.append(tuple(stamps(tmp_path).values()))
    recomputation._DONE.clear()
    kept_all(toy, [Toy(3), Toy(4)], shelf)
    seen.append(tuple(stamps(tmp_path).values()))
    assert len(set(seen)) == 4
    assert not (tmp_path / ".recomputing").exists()


def test_a_shelf_that_does_not_recompute_leaves_no_note(tmp_path: Path) -> None:
    with recomputation.recomputation(Shelf(tmp_path, "toys"), "x") as shelf:
        assert shelf.since is None
    assert not list(tmp_path.iterdir())


# ---- provenance


def _git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", *names, *words]
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a package of one file, taken for this one."""
    root = tmp_path / "checkout"
    (root / "nin").mkdir(parents=True)
    (root / "nin" / "__init__.py").write_text("")
    (root / "page.md").write_text("")
    _git(root, "init", "--quiet")
    _git(root, "add", ".")
    _git(root, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(records, "PACKAGE", root.resolve() / "nin")
    forget_the_code()
    yield root
    forget_the_code()


def forget_the_code() -> None:
    """Let the next record ask anew what code it is made by, as that of another process does."""
    records.source_hash.cache_clear()
    records._commit.cache_clear()


def test_the_commit_is_dirty_when_the_package_was_changed_and_only_then(checkout: Path) -> None:
    commit = _git(checkout, "rev-parse", "--short", "HEAD")
    assert provenance("cpu")["commit"] == commit
    source = provenance("cpu")["source"]
    (checkout / "page.md").write_text("another sentence")
    assert provenance("cpu")["commit"] == commit
    (checkout / "nin" / "new.py").write_text("x = 1")
    forget_the_code()
    assert provenance("cpu")["commit"] == f"{commit}-dirty"
    assert provenance("cpu")["source"] != source


def test_the_commit_of_another_repository_is_not_taken(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _git(other, "init", "--quiet")
    _git(other, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    ours = provenance("cpu")["commit"]
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    forget_the_code()
    assert provenance("cpu")["commit"] == ours
    export = checkout / "export"  # of this project, inside another repository
    shutil.copytree(checkout / "nin", export / "nin")
    monkeypatch.setattr(records, "PACKAGE", export.resolve() / "nin")
    forget_the_code()
    assert provenance("cpu")["commit"] == "unknown"


def test_a_run_s_history_comes_back_exactly() -> None:
    _, [history] = train_runs([TINY1], progress=False)
    for diverged in (None, 3):
        one = dataclasses.replace(history, diverged_step=diverged, last_finite_loss=1 / 3)
        arrays = {name: np.asarray(values) for name, values in history_arrays(one).items()}
        two = history_of(arrays)
        for f in dataclasses.fields(History):
            a, b = getattr(one, f.name), getattr(two, f.name)
            if isinstance(a, dict):
                assert a.keys() == b.keys()
                a, b = (np.array(list(d.values())) for d in (a, b))
            np.testing.assert_array_equal(a, b)
