"""Real workers: processes of a scheduler and of the command, one of them killed; files, folders, patterns and URLs; what is said when it fails."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import operator
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import netlens
from netlens.cli.ending import status_of
from netlens.cluster.job import ClusterCapture
from netlens.cluster.sources import Source, expand
from netlens.cluster.workers import OnWorkers, on_workers
from netlens.errors import CaptureError, NetlensError
from tests.cluster.rotate import TABLES, InTurn, anywhere, assert_same, cut

COMMANDS = {"sessions": "sessions", "connections": "connections", "dns": "lookups", "exchanges": "exchanges"}


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "netlens", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    return done


def fails(*args: str | Path, code: int = 1) -> str:
    """The one line that is said."""
    done = run(*args)
    assert (done.returncode, done.stdout) == (code, "")
    lines = done.stderr.strip().splitlines()
    assert code == 2 or len(lines) == 1, done.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def day(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a capture as six rotated files, two of them compressed, and a file that is none."""
    folder = tmp_path_factory.mktemp("day")
    for i, path in enumerate(cut(captures / "same-nat-ip-sshuttle" / "host.pcap.gz", folder, [100, 300, 500, 700, 1000])):
        name = folder / f"trace.pcap{(i + 4) % 6}"  # a ring: the oldest file is not the first by name
        Path(path).rename(name)
        if i % 3 == 2:
            name.with_name(name.name + ".gz").write_bytes(gzip.compress(name.read_bytes()))
            name.unlink()
    (folder / "notes.txt").write_text("no capture\n")
    return folder


def in_order(day: Path) -> list[str]:
    paths = sorted(day.glob("trace*"), key=lambda p: (int(p.name.split(".")[1].removeprefix("pcap")) + 2) % 6)
    assert len(paths) == 6
    return [str(p) for p in paths]


# -- real processes --


class Cluster:
    """A Dask scheduler and workers as processes of 127.0.0.1; workers are not started again."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack):
        from distributed import Client

        self.folder, self.processes = folder, processes
        self.running: list[subprocess.Popen[bytes]] = []
        told = folder / "scheduler.json"
        scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        while not told.exists() or not told.read_text().strip():
            assert scheduler.poll() is None
            time.sleep(0.01)
        self.address = json.loads(told.read_text())["address"]
        self.client = processes.enter_context(Client(self.address, set_as_default=False))

    def _start(self, *args: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *args],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        self.processes.callback(process.wait)
        self.processes.callback(process.kill)
        self.running.append(process)
        return process

    def workers(self, n: int) -> None:
        """See to it that there are ``n``."""
        have = len(self.client.scheduler_info(n_workers=-1)["workers"])
        for _ in range(n - have):
            self._start("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        self.client.wait_for_workers(n, timeout=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with contextlib.ExitStack() as processes:
        yield Cluster(tmp_path_factory.mktemp("cluster"), processes)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_schedulers_workers_give_the_rows_of_one_process(command: str, cluster: Cluster, day: Path) -> None:
    cluster.workers(2)
    there = run(command, day, "--scheduler", cluster.address, "--format", "csv")
    here = run(command, *in_order(day), "--format", "csv")
    assert there.returncode == here.returncode == 0
    assert there.stdout == here.stdout
    assert len(list(csv.reader(here.stdout.splitlines()))) > 10
    assert there.stderr == ""


def test_processes_of_the_command_give_the_rows_of_one_process(day: Path) -> None:
    there = run("sessions", f"{day}/trace*", "--workers", "2", "--format", "zeek", "--community-id")
    assert there.stdout == run("sessions", *in_order(day), "--format", "zeek", "--community-id").stdout
    assert there.stderr == ""


HALF_WAY = "scan, half way"


class Watched(OnWorkers):
    """Calls ``then`` once: before work for ``function`` is first handed out, or (HALF_WAY) when the first of the files has been read."""

    def __init__(self, client: Any, function: str, then: Callable[[], None]):
        super().__init__(client)
        self.function, self.then = function, [then]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__name__ == self.function and self.then:
            self.then.pop()()
        return super().submit(function, *arguments)

    def as_done(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for done in super().as_done(handles):
            if self.function == HALF_WAY and self.then:
                self.then.pop()()
            yield done


@pytest.mark.parametrize("when", [HALF_WAY, "piece", "stitch", "_count", "write_stitched"])
def test_a_killed_worker_changes_nothing(when: str, cluster: Cluster, captures: Path, tmp_path: Path) -> None:
    """SIGKILL for a worker that holds results which nobody else has, at each step."""
    cluster.workers(2)
    paths = cut(captures / "zombie-sshuttle" / "host.pcap.gz", tmp_path / "in", anywhere(random.Random(3), 900, 7))
    killed = []

    def kill() -> None:
        held = {address: len(keys) for address, keys in cluster.client.has_what().items()}
        address = max(held, key=lambda a: held[a])
        assert held[address] > 0
        pid = cluster.client.run(os.getpid, workers=[address])[address]
        assert pid in {p.pid for p in cluster.running}
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    made = ClusterCapture(Watched(cluster.client, when, kill), [Source(p, i, False) for i, p in enumerate(paths)], TABLES)
    made.write("exchanges", str(tmp_path / "rows"))
    made.write("sessions", str(tmp_path / "more"))
    assert_same(made, paths)
    assert len(killed) == 1
    assert killed[0] not in cluster.client.run(os.getpid).values()
    assert_parquet(tmp_path / "more", netlens.read(paths).table("sessions"))


def stop_one_that_holds_results(client: Any) -> int:
    """SIGSTOP for the worker that holds most results; its process."""
    held = {address: len(keys) for address, keys in client.has_what().items()}
    address = max(held, key=lambda a: held[a])
    pid: int = client.run(os.getpid, workers=[address])[address]
    os.kill(pid, signal.SIGSTOP)
    return pid


@pytest.mark.parametrize("when", [HALF_WAY, "stitch", "write_stitched"])
def test_a_stopped_worker_is_given_up(when: str, captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP for a worker that holds results which nobody else has, of a scheduler whose workers nobody starts again."""
    monkeypatch.setattr("netlens.cluster.workers.SILENT_S", 4)
    paths = cut(captures / "zombie-sshuttle" / "host.pcap.gz", tmp_path / "in", anywhere(random.Random(3), 900, 5))
    with contextlib.ExitStack() as processes:
        own = Cluster(tmp_path, processes)
        own.workers(2)
        stopped: list[int] = []
        executor = Watched(own.client, when, lambda: stopped.append(stop_one_that_holds_results(own.client)))
        made = ClusterCapture(executor, [Source(p, i, False) for i, p in enumerate(paths)], TABLES)
        made.write("sessions", str(tmp_path / "rows"))
        assert_same(made, paths)
        assert_parquet(tmp_path / "rows", netlens.read(paths).table("sessions"))
        assert stopped


def test_processes_of_the_command_that_are_stopped_are_replaced(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.cluster.workers.SILENT_S", 4)
    paths = cut(captures / "zombie-sshuttle" / "host.pcap.gz", tmp_path / "in", [300, 600])
    with on_workers(workers=1) as executor:
        stopped: list[int] = []
        watched = Watched(executor.client, "stitch", lambda: stopped.append(stop_one_that_holds_results(executor.client)))
        assert_same(ClusterCapture(watched, [Source(p, i, False) for i, p in enumerate(paths)], TABLES), paths)
        assert stopped[0] not in executor.client.run(os.getpid).values()


def test_without_a_worker_that_answers_it_ends_in_one_line(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.cluster.workers.SILENT_S", 4)
    monkeypatch.setattr("netlens.cluster.workers.LOAD_S", 4)
    with contextlib.ExitStack() as processes:
        own = Cluster(tmp_path, processes)
        own.workers(1)
        worker = own.running[-1]
        executor = OnWorkers(own.client)
        assert executor.results([executor.submit(len, "x")]) == [1]
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(NetlensError, match="do not answer: one of them is stopped"), on_workers(scheduler=own.address):
            pass
        with pytest.raises(NetlensError, match="no Dask worker is left"):
            executor.results([executor.submit(len, "x")])
        os.kill(own.running[0].pid, signal.SIGSTOP)
        with pytest.raises(NetlensError, match="the Dask scheduler has not answered for 4 s"):
            executor.results([executor.submit(len, "x")])
        os.kill(own.running[0].pid, signal.SIGCONT)


def test_workers_that_cannot_load_netlens(tmp_path: Path) -> None:
    with contextlib.ExitStack() as processes:
        own = Cluster(tmp_path, processes)
        own.workers(1)
        own.client.run(exec, "import sys; sys.modules['numba'] = None")
        with (
            pytest.raises(NetlensError, match=r"cannot load netlens \(.*import of numba halted.*pip install"),
            on_workers(scheduler=own.address),
        ):
            pass


def test_an_exception_on_a_worker_that_is_not_ours_is_a_defect_in_one_line(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NETLENS_DEBUG")
    cluster.workers(1)
    executor = OnWorkers(cluster.client)

    def run() -> int:
        executor.results([executor.submit(operator.truediv, 1, 0)])
        return 0

    assert status_of(run) == 1
    out, said = capsys.readouterr()
    assert (out, said.count("\n")) == ("", 1)
    assert said.startswith("netlens: this is a bug in netlens")
    assert "ZeroDivisionError" in said


def test_a_file_over_which_workers_die_is_named_in_one_line(tmp_path: Path) -> None:
    with on_workers(workers=1) as executor:
        executor.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        with pytest.raises(NetlensError, match="workers died repeatedly on the same file"):
            executor.results([executor.submit(_die)])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_errors_on_workers_say_which(cluster: Cluster, tmp_path: Path) -> None:
    cluster.workers(1)
    (tmp_path / "x.pcap").write_bytes(b"no capture, but long enough for a header")
    line = fails("sessions", tmp_path / "x.pcap", "--scheduler", cluster.address)
    assert line.startswith(f"netlens: {tmp_path}/x.pcap: ")
    assert "(on worker tcp://127.0.0.1:" in line
    assert "no such file (on worker" in fails("sessions", tmp_path / "y.pcap", "--scheduler", cluster.address)


# -- Parquet --


def assert_parquet(folder: Path, table: Any, key: str = "session_id") -> None:
    found = pa.concat_tables([pq.read_table(p) for p in sorted(folder.glob("part-*.parquet"))])
    assert not list(folder.glob(".*"))
    rows = found.sort_by(key).to_pylist()
    assert rows == list(table.records())


def test_a_folder_of_parquet_files(cluster: Cluster, day: Path, tmp_path: Path) -> None:
    cluster.workers(2)
    out = tmp_path / "rows"
    where = ("--scheduler", cluster.address, "--format", "parquet")
    done = run("sessions", day, *where, "-o", f"{out}/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(out.iterdir())) == 6
    whole = netlens.read(in_order(day))
    assert_parquet(out, whole.table("sessions"))
    assert "holds Parquet files already (part-0000" in fails("sessions", day, *where, "-o", out)
    run("dns", day, *where, "-o", tmp_path / "one.parquet")
    assert pq.read_table(tmp_path / "one.parquet").to_pylist() == list(whole.table("lookups").records())
    run("exchanges", day, *where, "-o", f"file://{tmp_path}/far", "--columns", "exchange_id,session_id")
    far = pa.concat_tables([pq.read_table(p) for p in sorted((tmp_path / "far").glob("*.parquet"))])
    assert far.column_names == ["exchange_id", "session_id"]
    assert far.sort_by("exchange_id")["session_id"].to_pylist() == whole.table("exchanges")["session_id"].tolist()


def test_tables_of_the_whole_are_written_in_files_of_bounded_size(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.cluster.job.ROWS_A_FILE", 5)
    made = ClusterCapture(InTurn(random.Random(0)), expand([str(day)]), ("connections",))
    whole = netlens.read(in_order(day)).table("connections")
    names = made.write("connections", str(tmp_path / "rows"), None, community_id=False)
    assert len(names) == -(-whole.rows // 5)
    assert_parquet(tmp_path / "rows", whole, "connection_id")


# -- where captures lie --


def test_folders_patterns_and_urls_mean_the_same_files(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in in_order(day):
        memory.pipe_file(f"/day/{Path(path).name}", Path(path).read_bytes())
    memory.pipe_file("/day/notes.txt", b"no capture")
    monkeypatch.chdir(day)
    try:
        for name in (
            str(day),
            f"{day}/",
            ".",
            "trace*",
            f"{day}/trace.pcap[0-9]*",
            f"file://{day}",
            f"file://{day}/trace*",
            "memory://day",
            "memory://day/tr*",
        ):
            rng = random.Random(0)
            assert_same(ClusterCapture(InTurn(rng), expand([name]), TABLES), in_order(day), note=name)
        one_by_one = [f"memory://day/{Path(p).name}" for p in in_order(day)]
        assert_same(ClusterCapture(InTurn(random.Random(0)), expand(one_by_one), TABLES), in_order(day))
    finally:
        memory.rm("/day", recursive=True)


def test_files_named_one_by_one_keep_their_order(day: Path) -> None:
    backwards = in_order(day)[::-1]
    assert_same(ClusterCapture(InTurn(random.Random(0)), expand(backwards), TABLES), backwards)


def test_names_of_rotated_files(tmp_path: Path) -> None:
    for name in (
        "a.pcap",
        "a.pcap1",
        "a.pcap10",
        "a.pcap2",
        "b.pcapng.gz",
        "c_00001_20240101.pcapng",
        "d.cap-20240101",
        "e.txt",
        "pcap",
        "f.pcap.zip",
    ):
        (tmp_path / name).touch()
    (tmp_path / "g.pcap").mkdir()
    found = [Path(s.path).name for s in expand([str(tmp_path)])]
    assert found == ["a.pcap", "a.pcap1", "a.pcap2", "a.pcap10", "b.pcapng.gz", "c_00001_20240101.pcapng", "d.cap-20240101"]
    (tmp_path / "a[1].pcap").touch()  # a name that looks like a pattern, but is there
    assert [s.path for s in expand([f"{tmp_path}/a[1].pcap"])] == [f"{tmp_path}/a[1].pcap"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("-", "standard input cannot be read by workers"),
        ("{}", "no capture found"),
        ("{}/*.pcap", "no capture found"),
        ("memory://nothing/*.pcap", "no capture found"),
        ("nonsense://x/y.pcap", "rotocol not known: nonsense"),
        ("s3://bucket/x.pcap", "s3fs"),
    ],
)
def test_what_is_no_capture_is_told_at_once(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=message) as error:
        expand([name.format(tmp_path)])
    assert "\n" not in str(error.value)


def test_a_url_that_leads_nowhere(tmp_path: Path) -> None:
    for url in ("memory://nothing/x.pcap", f"file://{tmp_path}/x.pcap"):
        with pytest.raises(CaptureError, match=r"x\.pcap: no such file"):
            ClusterCapture(InTurn(random.Random(0)), expand([url]), ("sessions",))


# -- what the command says --


def test_wrong_usage(day: Path, tmp_path: Path) -> None:
    assert "not both" in fails("sessions", day, "--workers", "1", "--scheduler", "tcp://127.0.0.1:1", code=2)
    assert "--workers" in fails("sessions", day, "--workers", "0", code=2)
    assert "is a directory; --format parquet" in fails("sessions", day, "--workers", "1", "-o", tmp_path, code=2)
    assert "gets all rows" in fails("sessions", day, "--workers", "1", "--format", "parquet", "-o", f"{tmp_path}/", "--limit", "3", code=2)


def test_what_is_missing_is_told_before_workers_start(tmp_path: Path) -> None:
    assert fails("sessions", tmp_path / "x.pcap", "--workers", "1") == f"netlens: {tmp_path}/x.pcap: no such file"


@pytest.mark.parametrize("address", ["nonsense", "foo://127.0.0.1:8786", "tcp://127.0.0.1"])
def test_an_address_that_is_none(address: str, day: Path) -> None:
    line = fails("sessions", day, "--scheduler", address)
    assert line.startswith(f"netlens: no Dask scheduler answers at {address} (")
    assert line.endswith(f"start one with: dask scheduler, and workers with: dask worker {address}")


def test_a_scheduler_that_does_not_answer_or_has_no_workers(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.cluster.workers.CONNECT_S", 1)
    with (
        pytest.raises(NetlensError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        on_workers(scheduler="tcp://127.0.0.1:1"),
    ):
        pass
    with contextlib.ExitStack() as processes:
        idle = Cluster(tmp_path, processes)
        with pytest.raises(NetlensError, match="has no workers; start some: dask worker tcp"), on_workers(scheduler=idle.address):
            pass


def test_workers_with_another_netlens(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.workers(1)
    monkeypatch.setattr(netlens, "__version__", "0.0.0")
    with pytest.raises(NetlensError, match=r"has netlens .*, and this is 0\.0\.0"), on_workers(scheduler=cluster.address):
        pass


def test_without_dask_one_line_says_what_to_install(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.modules['distributed'] = None; from netlens.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "sessions", str(day), "--workers", "2"], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "netlens: --workers and --scheduler need Dask, which is not installed (distributed); install it: pip install 'netlens[cluster]'\n"
    )
