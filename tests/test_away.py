"""Workers elsewhere: the same bits from a real Dask cluster, whatever its workers see or suffer."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_study import SIZES, TINY1, TINY2
from test_sweep import HANG, wait_until

from nin.__main__ import main
from nin.studies import away
from nin.studies.away import Parcel, cluster, make_there, seen_by_workers, take_in
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.saturation import outcomes
from nin.studies.borders.search import K_RANGE, Searching, Trials, find_borders
from nin.studies.experiments import Experiment
from nin.studies.memorisation import memory
from nin.studies.records import RecordError, source_hash
from nin.studies.run import run_path, run_record, run_records
from nin.studies.study import Shelf
from nin.studies.traces import estimates
from nin.studies.walks import increments
from nin.studies.windows import window_courses

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
# curvlinops makes torch compile in a way that torch itself is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")

ROOT = Path(__file__).resolve().parents[1]
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="no name for a folder that means others elsewhere"
)
SEEDS = [0, 1]
WHERE: dict[str, Any] = {"tolerance": 0.5}
KINDS: dict[str, Callable[[Shelf], object]] = {
    "runs": lambda s: [r.history.loss for r in run_records(seeds_of(TINY1), s)],
    "walks": lambda s: increments(TINY1, SEEDS, s),
    "memory": lambda s: memory(TINY1, SEEDS, 0.2, 150, shelf=s).w_ni,
    "windows": lambda s: [c.pull for c in window_courses(seeds_of(TINY1), s, (0,), 2)],
    "traces": lambda s: estimates(TINY1, 0, s, **SIZES).one_step,
    "outcomes": lambda s: outcomes(TINY2, [1.0], SEEDS, 1, s).growth,
    "forecast": lambda s: forecast(TINY2, SEEDS, 4, s).theta,
    "borders": lambda s: find_borders([TINY2], ["surge"], SEEDS, 4, s, **WHERE)[TINY2]["surge"],
}
"""A number from each study, by two units where it has any."""


def seeds_of(e: Experiment) -> list[Experiment]:
    return [dataclasses.replace(e, seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two worker processes of one thread each; they stand in a folder of their own."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("workers"))
    try:
        with (
            dask.config.set({"distributed.comm.timeouts.connect": f"{HANG}s"}),
            distributed.LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",  # any free port: a reader's own cluster may run
            ) as two,
        ):
            yield two.scheduler_address
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    with distributed.Client(address, timeout=HANG) as client:
        yield client
        cluster.cache_clear()


@pytest.fixture
def executor(client: Any) -> Executor:
    return client.get_executor(pure=False)


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder under a name by which the workers, who stand elsewhere, would find another."""
    monkeypatch.chdir(tmp_path)
    return Path("/proc/self/cwd/records")


# ---- the same bits


@pytest.mark.parametrize("kind", KINDS)
@needs_proc
def test_workers_that_do_not_see_the_folder_send_their_records_back(
    kind: str, executor: Executor, only_here: Path, tmp_path: Path
) -> None:
    found = KINDS[kind](Shelf(only_here, "a_page", executor=executor))
    here = KINDS[kind](Shelf(tmp_path / "local", "a_page", workers=1))
    np.testing.assert_array_equal(found, here)  # type: ignore[arg-type]
    names = [sorted(p.name for p in (tmp_path / d).glob("*.npz")) for d in ("records", "local")]
    assert names[0] == names[1] != []
    assert not (Path(executor.submit(os.getcwd).result()) / "records").exists()


def test_workers_that_see_the_folder_write_there(executor: Executor, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "a_page")
    parcel = Parcel(TINY1, run_path(TINY1, tmp_path))
    with seen_by_workers(tmp_path) as mark:
        sent = executor.submit(make_there, run_record, shelf, mark, source_hash(), parcel).result()
    assert sent == {}
    assert [path.name for path in tmp_path.iterdir()] == [parcel.path.name]


@needs_proc
def test_what_is_on_record_goes_along_and_is_not_made_again(
    executor: Executor, only_here: Path
) -> None:
    asked = Searching(TINY2, 4)
    here = Shelf(only_here, "a_page", executor=executor)
    first = Trials(asked, here)
    low = TINY2.at(K_RANGE["mse"][0]).sigma_eps
    first.look(low)
    find_borders([TINY2], ["surge"], [0], 4, here, **WHERE)
    there = Trials(asked, here)
    assert there._at[float(f"{low:.6g}")] == first._at[float(f"{low:.6g}")]
    assert list(there.found) == [float(f"{low:.6g}")]  # past the border: no more to look at


@needs_proc
def test_a_recomputation_reaches_workers_elsewhere(executor: Executor, only_here: Path) -> None:
    shelf = Shelf(only_here, "a_page", executor=executor)
    [old] = run_records([TINY1], shelf)
    time.sleep(1.1)  # a record notes when it was made to the second
    [new] = run_records([TINY1], dataclasses.replace(shelf, recompute=True))
    assert new.made["utc"] > old.made["utc"]
    np.testing.assert_array_equal(new.history.loss, old.history.loss)


# ---- what may go wrong


def test_a_killed_worker_costs_its_unit_a_second_try_and_no_more(
    client: Any, executor: Executor, tmp_path: Path
) -> None:
    asked = [dataclasses.replace(TINY1, seed=seed, epochs=3) for seed in range(4)]
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(run_records, asked, Shelf(tmp_path, "a_page", executor=executor))
        wait_until(lambda: list(tmp_path.glob("*.npz")))
        finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        records = running.result(timeout=HANG)
    assert [r.experiment for r in records] == asked
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    here = run_records(asked, Shelf(tmp_path / "local", "a_page", workers=1))
    for record, expected in zip(records, here, strict=True):
        np.testing.assert_array_equal(record.history.loss, expected.history.loss)


def making(client: Any) -> bool:
    """Whether a thread of a worker is at work, by the workers themselves; one may just begin."""
    busy = "getattr(__import__('sys').modules.get('nin.studies.away'), '_ALONE', 0)"
    return any(client.run(eval, f"{busy} and {busy}.locked()", on_error="ignore").values())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_a_client_asked_for_ends_with_it(
    how: signal.Signals, client: Any, address: str, tmp_path: Path
) -> None:
    words = ["sweep", "--sigma-eps", "1", "2", "3", "--epochs", "100000", "--scheduler", address]
    with subprocess.Popen(
        [sys.executable, "-m", "nin", *words, "--results", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"CI": "true"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: making(client) or process.poll() is not None)
            process.send_signal(how)
            _, err = process.communicate(timeout=HANG)
        finally:
            process.kill()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert err.endswith("interrupted: finished runs are on record; say the same to go on\n")
    wait_until(lambda: not making(client))
    assert client.submit(int, pure=False).result(timeout=HANG) == 0  # the workers are as before


def hard_of_hearing(_: object, shelf: Shelf) -> None:
    """Import what takes seconds, then make for hours; drop the first word that nobody waits."""
    folder = shelf.folder
    (folder / "slow_module.py").write_text(
        "import time, pathlib\n"
        "here = pathlib.Path(__file__).parent\n"
        "(here / 'begun').touch()\n"
        "time.sleep(3)\n"
        "(here / 'imported').touch()\n"
    )
    sys.path.insert(0, str(folder))
    __import__("slow_module")
    for time_told in ("once", "twice"):
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            (folder / time_told).touch()


def test_what_nobody_waits_for_is_told_again_and_never_while_it_imports(
    executor: Executor, tmp_path: Path
) -> None:
    shelf, parcel = Shelf(tmp_path, ""), Parcel(TINY1, run_path(TINY1, tmp_path))
    with seen_by_workers(tmp_path) as mark:
        asked = executor.submit(make_there, hard_of_hearing, shelf, mark, source_hash(), parcel)
        wait_until((tmp_path / "begun").exists)
        asked.cancel()
        for name in ("imported", "once", "twice"):
            wait_until((tmp_path / name).exists)


def test_a_worker_with_another_package_is_refused(executor: Executor, tmp_path: Path) -> None:
    parcel = Parcel(TINY1, run_path(TINY1, tmp_path))
    asked = executor.submit(make_there, run_record, Shelf(tmp_path, ""), "", "other", parcel)
    with pytest.raises(RecordError, match="a worker has another version of nin"):
        asked.result()


NO_ADDRESS = "expected the address of a Dask scheduler, such as tcp://10.0.0.1:8786, not"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ("nonsense://x", f"{NO_ADDRESS} 'nonsense://x': unknown address scheme"),
        ("tcp://:x", f"{NO_ADDRESS} 'tcp://:x': "),
        ("", f"{NO_ADDRESS} '': it is empty"),
    ],
)
def test_an_address_where_nobody_answers_is_one_line(
    address: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(away, "PATIENCE", 1)
    for command in (["run", "--K", "1"], ["sweep", "--K", "1"], ["figures", "fig1_decay"]):
        assert main([*command, "--scheduler", address]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {message}") and err.count("\n") == 1


def test_what_another_process_has_written_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    parcel = Parcel("item", path)
    take_in(parcel, {"a.npz": b"new", "b.npz": b"more"})
    assert (path.read_bytes(), (tmp_path / "b.npz").read_bytes()) == (b"new", b"more")
    path.write_bytes(b"theirs")
    take_in(parcel, {"a.npz": b"ours"})
    assert path.read_bytes() == b"theirs"
