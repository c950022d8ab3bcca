"""The steps in order, on anything that runs functions; numbers, tables and files of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from netlens.cluster.plan import OWN, plan
from netlens.cluster.scan import T_COLUMNS, Keys, Scan, piece, scan
from netlens.cluster.settle import Settled, settle
from netlens.cluster.sources import Source, natural
from netlens.errors import NetlensError
from netlens.parsers import quality
from netlens.parsers import session_state as s_
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.session_rows import session_rows
from netlens.parsers.tunnels import TunnelWatch
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire.addresses import random_seed
from netlens.wire.containers import warn_of_overlap

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

#: What each table needs to be built, besides sessions.
NEEDS: dict[str, tuple[str, ...]] = {
    "sessions": (),
    "exchanges": ("exchanges",),
    "lookups": ("lookups",),
    "connections": ("lookups", "tunnels"),
    "tunnels": ("lookups", "tunnels"),
}
#: Tables that are written where their rows are; the others are joined over the whole capture.
BY_FILE = ("sessions", "exchanges")
ROWS_A_FILE = 1_000_000  #: of a table that is written from one place
_NO_PAYLOAD: Array = np.zeros(0, np.uint8)
_WATCHED = 65536  #: rows at a time through the search for tunnels


class Executor(Protocol):
    """Runs functions; arguments may be what ``submit`` gave, also in lists."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    def results(self, handles: Sequence[Any]) -> list[Any]: ...

    def as_done(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(place among ``handles``, result), as they come."""
        ...


class Summary:
    """What is known of a file once it was read; small."""

    def __init__(self, found: Scan):
        self.paths = found.paths
        self.inputs = found.inputs
        self.interfaces = found.interfaces
        self.frames = found.frames
        self.counts = found.counts
        self.first_ns = found.first_ns
        self.keys: Keys = found.keys
        self.has_ssh = found.has_ssh
        self.fragments = found.fragments
        self.slight = found.slight


class ClusterCapture:
    """The tables of files that workers read; the counterpart of :class:`netlens.api.Capture`.

    Parameters
    ----------
    sources : see :func:`netlens.cluster.sources.expand`.
    tables : the tables that will be asked for.
    """

    def __init__(self, executor: Executor, sources: Sequence[Source], tables: Sequence[str], progress: Progress | None = None):
        if unknown := [t for t in tables if t not in NEEDS]:
            raise NetlensError(f"on a cluster there is no table {unknown[0]!r}; there are {', '.join(NEEDS)}")
        self.executor = executor
        self.products = ("sessions", *sorted({p for t in tables for p in NEEDS[t]}))
        self.seed = int(random_seed()) & (1 << 62) - 1
        self._tables: dict[str, Table] = {}
        self._gathered: list[Settled] | None = None
        scans, files = self._read(sources, progress)
        self.inputs = [i for f in files for i in f.inputs]
        for before, info in pairwise(self.inputs):  # of files that one reader read it has told already
            warn_of_overlap(before, info)
        self.first_ns = min((f.first_ns for f in files if f.first_ns is not None), default=None)
        self.frames = sum(f.frames for f in files)
        self._slight = sum(f.slight for f in files)
        self._counts = quality.total([(f.frames, f.counts) for f in files])
        self._settle(scans, files)

    # -- steps --

    def _read(self, sources: Sequence[Source], progress: Progress | None) -> tuple[list[Any], list[Summary]]:
        scans = [self.executor.submit(scan, [s.path], self.products, self.seed) for s in sources]
        files: list[Any] = [None] * len(scans)
        done, frames = 0, 0
        for i, summary in self.executor.as_done([self.executor.submit(Summary, s) for s in scans]):
            files[i] = summary
            done, frames = done + sum(x.bytes for x in summary.inputs), frames + summary.frames
            if progress is not None:
                progress(done, frames)
        order = sorted(range(len(sources)), key=lambda i: _place(sources[i], files[i], i))
        scans, files = [scans[i] for i in order], [files[i] for i in order]
        while torn := _torn(files):
            first, behind = torn
            paths = [path for f in files[first:behind] for path in f.paths]
            scans[first:behind] = [self.executor.submit(scan, paths, self.products, self.seed)]
            files[first:behind] = self.executor.results([self.executor.submit(Summary, scans[first])])
        return scans, files

    def _settle(self, scans: list[Any], files: list[Summary]) -> None:
        n = len(files)
        first_frames = np.concatenate([[0], np.cumsum([f.frames for f in files])]).tolist()
        interfaces = _interfaces([f.interfaces for f in files])
        planned = plan([f.keys for f in files])
        homes = planned.homes
        self.tunnels = "tunnels" in self.products and any(f.has_ssh for f in files)
        pieces: list[list[tuple[int, Any]]] = [[] for _ in files]
        for i in range(n):
            for home in np.unique(homes[i][homes[i] != OWN]).tolist():
                pieces[home].append(
                    (
                        i,
                        self.executor.submit(
                            piece, scans[i], homes[i] == home, self.seed, planned.resumed[i], planned.quiet[i], planned.smooth[i]
                        ),
                    )
                )
        self.settled = [
            self.executor.submit(
                settle, scans[i], homes[i], [p for _, p in pieces[i]], [*(first_frames[j] for j, _ in pieces[i]), first_frames[i]],
                [*(interfaces[j] for j, _ in pieces[i]), interfaces[i]], i, self.tunnels,
            )
            for i in range(n)
        ]  # fmt: skip
        counted = self.executor.results([self.executor.submit(_count, s) for s in self.settled])
        self.session_ids = _ranks([first for first, _ in counted])
        starts = [start for _, start in counted]
        self.exchange_ids = _ranks_of([s[0] for s in starts], [s[1] for s in starts])

    # -- tables --

    def table(self, name: str) -> Table:
        """A table by name, as one machine makes it."""
        if name not in self._tables:
            self._build(name)
        return self._tables[name]

    def _build(self, name: str) -> None:
        if name == "sessions":
            order = np.argsort(np.concatenate(self.session_ids), kind="stable")
            settled = self._all()
            state = np.concatenate([s.state for s in settled])[order]
            missing = np.concatenate([s.missing for s in settled])[order]
            self._tables[name] = session_rows(state, missing, np.concatenate([s.sni for s in settled])[order])
        elif name == "exchanges":
            blocks = [exchange_rows(s, i, e) for s, i, e in zip(self._all(), self.session_ids, self.exchange_ids, strict=True)]
            order = np.argsort(np.concatenate(self.exchange_ids), kind="stable")
            self._tables[name] = Table(EXCHANGES, {k: np.concatenate([b[k] for b in blocks])[order] for k in blocks[0]})
        elif name == "lookups" and "tunnels" not in self.products:
            self._tables[name] = self._lookups()
        else:
            from netlens.parsers import connections

            made = connections.build(self._state(), self.table("sessions"), self._lookups(), self._through())
            self._tables["connections"], self._tables["lookups"], self._tables["tunnels"] = made

    def _all(self) -> list[Settled]:
        if self._gathered is None:
            self._gathered = self.executor.results(self.settled)
        return self._gathered

    def _state(self) -> Array:
        """The session state by session_id."""
        out = np.empty((sum(map(len, self.session_ids)), s_.S_WIDTH), np.int64)
        for one, ids in zip(self._all(), self.session_ids, strict=True):
            state = one.state.copy()
            mates = state[:, s_.MATE]
            state[:, s_.MATE] = np.where(mates >= 0, ids[np.maximum(mates, 0)] if len(ids) else mates, -1)
            out[ids] = state
        return out

    def _lookups(self) -> Table:
        builder = LookupBuilder()
        for one in self._all():
            for rows, arena in one.messages:
                builder.extend(rows, arena)
        return builder.rows()

    def _through(self) -> Array:
        """By session_id, the session of the tunnel that a session came through, or -1."""
        state = self._state()
        if not self.tunnels:
            return np.full(len(state), -1, np.int64)
        watch = TunnelWatch()
        sends = []
        for one, ids in zip(self._all(), self.session_ids, strict=True):
            assert one.sends is not None
            rows = one.sends.copy()
            rows[:, T_COLUMNS.index(c.SESSION)] = ids[rows[:, T_COLUMNS.index(c.SESSION)]]
            sends.append(rows)
        rows = np.concatenate(sends)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        for at in range(0, len(rows), _WATCHED):
            some = rows[at : at + _WATCHED]
            packets = np.zeros((len(some), c.WIDTH), np.int64)
            packets[:, list(T_COLUMNS)] = some
            watch.feed(_NO_PAYLOAD, packets, state)
        if not len(rows):
            watch.feed(_NO_PAYLOAD, np.zeros((0, c.WIDTH), np.int64), state)
        return watch.attributed(np.arange(len(state)))

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that kept part of the input from being read, and one if there are rows that one process would give up."""
        lines = [w for i in self.inputs for w in i.warnings]
        if self._slight > s_.MAX_SLIGHT:
            lines.append(
                f"{self._slight:,} sessions are one frame or unanswered SYNs (a flood, a scan); all have rows here, where one process holds "
                f"{s_.MAX_SLIGHT:,} of them at a time and gives up the others"
            )
        missing = quality.unread(self.frames, self._counts, [k for i in self.inputs for k in i.link_types])
        return lines + quality.named([i.path for i in self.inputs], missing)

    def holds(self) -> str:
        """The frames of the captures by what they are, in words."""
        return quality.holds(self.frames, self._counts, [k for i in self.inputs for k in i.link_types])

    # -- files --

    def write(self, name: str, folder: str, columns: Sequence[str] | None = None, community_id: bool = False) -> list[str]:
        """Write table ``name`` as Parquet files into ``folder`` (a path that all workers see, or a URL); their names.

        Rows of sessions and exchanges are written by the workers that hold them, a file for each capture; other tables from here. No file name is
        new in a run that is done again. A file holds its rows in order, but the sessions that go on from one capture into the next stand with the first.
        """
        folder = make_folder(folder)
        if name in BY_FILE:
            ids = [(a, b) for a, b in zip(self.session_ids, self.exchange_ids, strict=True)]
            return self.executor.results(
                [
                    self.executor.submit(write_settled, s, name, a, b, part_name(folder, i), columns, community_id)
                    for i, (s, (a, b)) in enumerate(zip(self.settled, ids, strict=True))
                ]
            )
        table = self.table(name)
        names = []
        for i, at in enumerate(range(0, max(table.rows, 1), ROWS_A_FILE)):
            rows = table.take(np.arange(at, min(at + ROWS_A_FILE, table.rows)))
            names.append(write_table(rows, part_name(folder, i), columns, community_id))
        return names


def _place(source: Source, found: Summary, number: int) -> tuple[Any, ...]:
    """Where a file stands in the order of all."""
    if not source.by_time:
        return (source.group, 0, [], number)
    return (source.group, found.first_ns or 0, natural(source.path), number)


def _torn(files: Sequence[Summary]) -> tuple[int, int] | None:
    """(first, behind the last) of files that must be read as one, because fragments of a datagram lie in several of them."""
    since: dict[tuple[Any, ...], int] = {}
    where: dict[tuple[Any, ...], int] = {}
    for i, one in enumerate(files):
        if found := one.fragments.completes(since):
            return min(where[key] for key in found), i + 1
        since.update(one.fragments.open)
        where.update(dict.fromkeys(one.fragments.open, i))
    return None


def _interfaces(files: Sequence[list[tuple[int, int, bytes]]]) -> list[Array | None]:
    """Per file, the numbers that its interfaces have among all files; None where they are the same."""
    known: dict[tuple[int, int, bytes], int] = {}
    out: list[Array | None] = []
    for keys in files:
        numbers = np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
        out.append(None if bool((numbers == np.arange(len(numbers))).all()) else numbers)
    return out


def _count(settled: Settled) -> tuple[Array, tuple[Array, Array]]:
    """First frame of each session; start time and frame of each exchange."""
    if settled.exchanges is None:
        return settled.first_frames, (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return settled.first_frames, (settled.exchanges["start_ns"], settled.exchanges["start_frame"])


def _ranks(values: Sequence[Array]) -> list[Array]:
    """The rank of each value among those of all arrays."""
    return _ranks_of(values, [np.zeros(len(v), np.int64) for v in values])


def _ranks_of(first: Sequence[Array], second: Sequence[Array]) -> list[Array]:
    a, b = np.concatenate(list(first)), np.concatenate(list(second))
    ranks = np.empty(len(a), np.int64)
    ranks[np.lexsort((b, a))] = np.arange(len(a))
    return np.split(ranks, np.cumsum([len(v) for v in first])[:-1])


def exchange_rows(settled: Settled, session_ids: Array, exchange_ids: Array) -> dict[str, Array]:
    """Columns of a file's exchanges with the numbers of the whole."""
    assert settled.exchanges is not None
    columns = dict(settled.exchanges)
    columns["session_id"] = session_ids[columns["session_id"]]
    columns["exchange_id"] = exchange_ids
    return columns


# ---- on a worker ----


def write_settled(
    settled: Settled, name: str, session_ids: Array, exchange_ids: Array, path: str, columns: Sequence[str] | None, community_id: bool
) -> str:
    """Write the rows of a settled file."""
    if name == "sessions":
        table = session_rows(settled.state, settled.missing, settled.sni)
        table.columns["session_id"] = session_ids
    else:
        table = Table(EXCHANGES, exchange_rows(settled, session_ids, exchange_ids))
        table = table.take(np.argsort(table["exchange_id"], kind="stable"))
    return write_table(table, path, columns, community_id)


def write_table(table: Table, path: str, columns: Sequence[str] | None, community_id: bool) -> str:
    """Write ``table`` as a Parquet file, a path or a URL; complete or not there."""
    from netlens.cluster.sources import is_url, reason
    from netlens.report.export import put_parquet, write

    if community_id:
        from netlens.report.communityid import with_community_id

        table = with_community_id(table)
    if not is_url(path):
        write(table, "parquet", path, columns)
        return path
    import fsspec

    try:
        with fsspec.open(path, "wb") as file:  # stores show an object when it is complete
            put_parquet([table], table.rows, file, columns)
    except Exception as error:  # noqa: BLE001 -- each store has errors of its own
        raise NetlensError(f"{path}: cannot be written ({reason(error)})") from None
    return path


def part_name(folder: str, number: int) -> str:
    return f"{folder.rstrip('/')}/part-{number:05d}.parquet"


def make_folder(folder: str) -> str:
    """Make a folder for Parquet files, which holds none yet: files of two runs would be read as one table. Returns its full name.

    Raises
    ------
    NetlensError
    """
    from netlens.cluster.sources import is_url, reason

    try:
        if is_url(folder):
            import fsspec

            system, path = fsspec.core.url_to_fs(folder)
            system.makedirs(path, exist_ok=True)
            old = [p for p in system.ls(path, detail=False) if p.endswith(".parquet")]
        else:
            import os

            folder = os.path.abspath(folder)  # workers may have been started elsewhere
            os.makedirs(folder, exist_ok=True)
            old = [e for e in os.listdir(folder) if e.endswith(".parquet")]
    except Exception as error:  # noqa: BLE001 -- each store has errors of its own
        raise NetlensError(f"{folder}: cannot be made ({reason(error)})") from None
    if old:
        raise NetlensError(f"{folder}: holds Parquet files already ({old[0].rsplit('/', 1)[-1]}); name a new folder, or empty it")
    return folder
