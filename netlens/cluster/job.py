"""The steps in order, on anything that runs functions; numbers, tables and files of the whole."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.cluster.plan import OWN, plan
from netlens.cluster.rows import T_COLUMNS, SessionData, joined
from netlens.cluster.scan import FileFacts, facts_of, piece, scan
from netlens.cluster.sources import Source, natural
from netlens.cluster.stitch import stitch
from netlens.columns import Array
from netlens.errors import NetlensError
from netlens.parsers import quality
from netlens.parsers import session_state as s_
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.session_rows import Stretch, session_rows
from netlens.parsers.tunnels import TunnelWatch
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire.addresses import random_seed
from netlens.wire.containers import warn_of_overlap

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


class Executor:
    """Runs functions, here in this process; arguments may be what ``submit`` gave, also in lists. See :class:`netlens.cluster.workers.OnWorkers`."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(handles)

    def as_done(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(place among ``handles``, result), as they come."""
        yield from enumerate(handles)


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
        scans, files = self._read(sources, progress)
        self.inputs = [i for f in files for i in f.inputs]
        for before, info in pairwise(self.inputs):  # of files that one reader read it has told already
            warn_of_overlap(before, info)
        self.first_ns = min((f.first_ns for f in files if f.first_ns is not None), default=None)
        self.frames = sum(f.frames for f in files)
        self._slight = sum(f.slight for f in files)
        self._counts = quality.total([(f.frames, f.counts) for f in files])
        self._stitch(scans, files)

    # -- steps --

    def _read(self, sources: Sequence[Source], progress: Progress | None) -> tuple[list[Any], list[FileFacts]]:
        scans = [self.executor.submit(scan, [s.path], self.products, self.seed) for s in sources]
        files: list[Any] = [None] * len(scans)
        done, frames = 0, 0
        for i, summary in self.executor.as_done([self.executor.submit(facts_of, s) for s in scans]):
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
            files[first:behind] = self.executor.results([self.executor.submit(facts_of, scans[first])])
        return scans, files

    def _stitch(self, scans: list[Any], files: list[FileFacts]) -> None:
        first_frames = np.concatenate([[0], np.cumsum([f.frames for f in files])]).tolist()
        interfaces = _interfaces([f.interfaces for f in files])
        planned = plan([f.keys for f in files])
        self.tunnels = "tunnels" in self.products and any(f.has_ssh for f in files)
        from_files: list[list[int]] = [[] for _ in files]
        pieces: list[list[Any]] = [[] for _ in files]
        for i, homes in enumerate(planned.homes):
            for home in np.unique(homes[homes != OWN]).tolist():
                more = planned.resumed[i], planned.quiet[i], planned.smooth[i]
                pieces[home].append(self.executor.submit(piece, scans[i], homes == home, self.seed, *more))
                from_files[home].append(i)
        self.stitched = []
        for i, homes in enumerate(planned.homes):
            where = [*from_files[i], i]
            frames, numbers = [first_frames[j] for j in where], [interfaces[j] for j in where]
            self.stitched.append(self.executor.submit(stitch, scans[i], homes, pieces[i], frames, numbers, self.tunnels))
        counted = self.executor.results([self.executor.submit(_count, s) for s in self.stitched])
        first, start_ns, start_frame = zip(*counted, strict=True) if counted else ((), (), ())
        self.session_ids, self.exchange_ids = _ranks(first), _ranks(start_ns, start_frame)

    # -- tables --

    def table(self, name: str) -> Table:
        """A table by name, as one machine makes it."""
        if name not in self._tables:
            self._build(name)
        return self._tables[name]

    def _build(self, name: str) -> None:
        whole = self._whole
        if name == "sessions":
            self._tables[name] = _session_rows(whole)
        elif name == "exchanges":
            assert whole.exchanges is not None
            order = np.argsort(np.concatenate(self.exchange_ids), kind="stable")
            self._tables[name] = Table(EXCHANGES, {**whole.exchanges.take(order), "exchange_id": np.arange(len(order))})
        elif name == "lookups" and "tunnels" not in self.products:
            self._tables[name] = self._lookups()
        else:
            from netlens.parsers import connections

            made = connections.build(whole.state, self.table("sessions"), self._lookups(), self._through())
            self._tables["connections"], self._tables["lookups"], self._tables["tunnels"] = made

    @cached_property
    def _whole(self) -> SessionData:
        """All sessions by session_id, which is the order of their first frames."""
        return joined(self.executor.results(self.stitched))

    def _lookups(self) -> Table:
        builder = LookupBuilder()
        for rows, texts in self._whole.messages:
            builder.extend(rows, texts)
        return builder.rows()

    def _through(self) -> Array:
        """By session_id, the session of the tunnel that a session came through, or -1."""
        state, sends = self._whole.state, self._whole.sends
        if sends is None:
            return np.full(len(state), -1, np.int64)
        watch = TunnelWatch()
        for at in range(0, max(len(sends), 1), _WATCHED):
            some = sends[at : at + _WATCHED]
            packets = np.zeros((len(some), c.WIDTH), np.int64)
            packets[:, list(T_COLUMNS)] = some
            watch.feed(_NO_PAYLOAD, packets, state)
        return watch.attributed(np.arange(len(state)))

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that kept part of the input from being read, and one if there are rows that one process would give up."""
        lines = [w for i in self.inputs for w in i.warnings]
        if self._slight > s_.MAX_SLIGHT:
            lines.append(
                f"{self._slight:,} sessions are one frame or unanswered SYNs (a flood, a scan); all have rows here, where one process keeps "
                f"{s_.MAX_SLIGHT:,} of them at a time and drops the others"
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
            each = zip(self.stitched, self.session_ids, self.exchange_ids, strict=True)
            paths = [part_name(folder, i) for i in range(len(self.stitched))]
            return self.executor.results(
                [
                    self.executor.submit(write_stitched, *one, name, path, columns, community_id)
                    for one, path in zip(each, paths, strict=True)
                ]
            )
        table = self.table(name)
        names = []
        for i, at in enumerate(range(0, max(table.rows, 1), ROWS_A_FILE)):
            rows = table.take(np.arange(at, min(at + ROWS_A_FILE, table.rows)))
            names.append(write_table(rows, part_name(folder, i), columns, community_id))
        return names


def _place(source: Source, found: FileFacts, number: int) -> tuple[Any, ...]:
    """Where a file stands in the order of all."""
    if not source.by_time:
        return (source.group, 0, [], number)
    return (source.group, found.first_ns or 0, natural(source.path), number)


def _torn(files: Sequence[FileFacts]) -> tuple[int, int] | None:
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


def _count(stitched: SessionData) -> tuple[Array, Array, Array]:
    """First frame of each session; start time and frame of each exchange."""
    first, exchanges = stitched.state[:, s_.FIRST_FRAME].copy(), stitched.exchanges
    none = np.zeros(0, np.int64)
    return (first, none, none) if exchanges is None else (first, exchanges["start_ns"], exchanges["start_frame"])


def _ranks(first: Sequence[Array], second: Sequence[Array] = ()) -> list[Array]:
    """The rank of each value of ``first`` among those of all arrays, by ``second`` where they are equal."""
    keys = [np.concatenate(list(arrays)) for arrays in (second, first) if arrays]
    ranks = np.empty(len(keys[-1]), np.int64)
    ranks[np.lexsort(keys)] = np.arange(len(ranks))
    return np.split(ranks, np.cumsum([len(v) for v in first])[:-1])


def _session_rows(data: SessionData) -> Table:
    n = len(data.state)
    return session_rows([Stretch(data.state, 0, n, s_.no_sparse()._replace(rare=data.rare), data.missing)], n, data.sni)


# ---- on a worker ----


def write_stitched(
    stitched: SessionData, session_ids: Array, exchange_ids: Array, name: str, path: str, columns: Sequence[str] | None, community_id: bool
) -> str:
    """Write the rows of a stitched file."""
    if name == "sessions":
        table = _session_rows(stitched)
        table.columns["session_id"] = session_ids
    else:
        assert stitched.exchanges is not None
        made = {**stitched.exchanges, "session_id": session_ids[stitched.exchanges["session_id"]], "exchange_id": exchange_ids}
        table = Table(EXCHANGES, made).take(np.argsort(exchange_ids, kind="stable"))
    return write_table(table, path, columns, community_id)


def write_table(table: Table, path: str, columns: Sequence[str] | None, community_id: bool) -> str:
    """Write ``table`` as a Parquet file, a path or a URL; complete or not there."""
    from netlens.cluster.sources import is_url, reason
    from netlens.report.exports import Rows, write
    from netlens.report.exports.parquet import write_groups

    if community_id:
        from netlens.report.communityid import with_community_id

        table = with_community_id(table)
    rows = Rows(table, columns)
    if not is_url(path):
        write(rows, "parquet", path)
        return path
    import fsspec

    try:
        with fsspec.open(path, "wb") as file:  # stores show an object when it is complete
            write_groups([rows.chosen()], table.rows, file)
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
