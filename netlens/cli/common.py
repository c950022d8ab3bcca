"""What the commands share: reading with progress and warnings, printing tables and messages."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from netlens.cli.options import SHOWN_ROWS, columns_of
from netlens.errors import CaptureError, NetlensError, WireError
from netlens.text import amount, printable, size


class Progress:
    """A line on standard error while a long capture is read: only on a terminal, and only after a second."""

    def __init__(self, total: int | None):
        self.total = total
        self.started = time.monotonic()
        self.shown = False
        self.last = 0.0
        self.enabled = sys.stderr.isatty()
        self.parts: list[list[int]] = []

    def __call__(self, done: int, frames: int) -> None:
        now = time.monotonic()
        if not self.enabled or now - self.started < 1 or now - self.last < 0.1:
            return
        self.last = now
        self.shown = True
        speed = done / (now - self.started)
        if self.total:
            share = min(done / self.total, 1)
            bar = "#" * int(share * 24)
            text = f"[{bar:<24}] {share:4.0%}  {size(done)} of {size(self.total)}  {size(speed)}/s  {amount(frames)} frames"
        else:
            text = f"{size(done)}  {size(speed)}/s  {amount(frames)} frames"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def part(self) -> Callable[[int, int], None]:
        """What one of several captures that are read at the same time tells; shown is the sum."""
        told = [0, 0]
        self.parts.append(told)

        def tell(done: int, frames: int) -> None:
            told[:] = done, frames
            self(sum(each[0] for each in self.parts), sum(each[1] for each in self.parts))

        return tell

    def close(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def progress_of(paths: tuple[str, ...]) -> Iterator[Progress]:
    """Progress through files, for a ``with``."""
    progress = Progress(total_bytes(paths))
    try:
        yield progress
    finally:
        progress.close()


def total_bytes(paths: tuple[str, ...]) -> int | None:
    try:
        return sum(os.stat(p).st_size for p in paths) if "-" not in paths else None
    except OSError:
        return None  # reading will say why


def say(text: str) -> None:
    """One line on standard error; where that cannot be written, nobody can be told."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"netlens: {printable(text)}\n")
        sys.stderr.flush()


def print_json(value: Any) -> None:
    """One JSON value on standard output, indented."""
    import json

    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def show_compilation() -> None:
    """Say so while kernels are compiled, which takes half a minute in the first run and looks like a hang."""
    from netlens import background, linker
    from netlens.compiling import Shown
    from netlens.wire import compiled

    compiled.shown, compiled.find_linker, compiled.beside = Shown(), linker.find, background.compile_now


def compile_for_later() -> None:
    """Where kernels ran as Python because none was compiled: compile them all, beside this process."""
    from netlens.wire import compiled

    if compiled.in_python:
        from netlens import background

        if background.compile_later():
            say("compiling its kernels for this machine in the background, once; until then it works more slowly")


def read_capture(paths: tuple[str, ...], tables: tuple[str, ...], spill_to: str | None = None, trail: bool = False) -> Any:
    """Read one capture; see :func:`read_captures`."""
    return read_captures({None: paths}, tables, spill_to, trail)[None]


def read_captures(
    files: Mapping[str | None, tuple[str, ...]], tables: tuple[str, ...], spill_to: str | None = None, trail: bool = False
) -> dict[str | None, Any]:
    """Read captures with progress; warnings go to standard error. ``trail``: see :class:`netlens.api.Capture`."""
    from netlens.api import Capture, read_side_by_side

    show_compilation()
    every = tuple(path for paths in files.values() for path in paths)
    try:
        with progress_of(every) as progress:
            captures = {name: Capture(paths, tables, progress.part(), spill_to, trail) for name, paths in files.items()}
            read_side_by_side(captures.values())
    except (CaptureError, WireError) as error:
        _say_what_it_is(every, error)
        raise
    for capture in captures.values():
        _warn(capture.warnings)
    return captures


def _say_what_it_is(paths: tuple[str, ...], error: NetlensError) -> None:
    """Raise another error instead of one about a file whose beginning says nothing to it, if the kind of the file is known."""
    from netlens.kinds import not_a_capture

    said = str(error)
    if "neither pcap nor pcapng" not in said and "looks like text" not in said:
        return
    for path in paths:
        if path != "-" and said.startswith(f"{printable(path)}: ") and (kind := not_a_capture(path)) is not None:
            raise CaptureError(
                f"{printable(path)}: this is {kind}, not a capture; netlens reads pcap and pcapng files (tcpdump -w)"
            ) from None


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


def is_folder(output: str | None) -> bool:
    """Whether ``-o`` names a folder of files: one that is there, a name that ends like one, a URL."""
    return output is not None and (output.endswith("/") or "://" in output or os.path.isdir(output))


def read_on_workers(
    captures: tuple[str, ...],
    tables: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    name: str,
    folder: str | None,
    columns: list[str] | None,
    community_id: bool,
) -> Any:
    """Read captures on Dask's workers, and write table ``name`` into ``folder`` or fetch ``tables``; warnings go to standard error."""
    from netlens.cluster.workers import need_dask, on_workers

    need_dask()
    from netlens.cluster.job import ClusterCapture, make_folder
    from netlens.cluster.sources import expand

    sources = expand(captures, here=scheduler is None)
    if folder is not None:
        make_folder(folder)
    show_compilation()
    with on_workers(workers, scheduler) as executor:
        with progress_of(tuple(s.path for s in sources)) as progress:
            capture = ClusterCapture(executor, sources, tables, progress)
        _warn(capture.warnings)
        if folder is not None:
            capture.write(name, folder, columns, community_id)
        else:
            for table in {"sessions", *tables}:
                capture.table(table)
    return capture


def stop_at_a_closed_pipe() -> None:
    """End like every other program of a pipeline when its reader goes away (``netlens ... | head``): silently, by SIGPIPE."""
    import signal

    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def chosen_columns(text: str | None, table: str, form: str) -> list[str] | None:
    """The columns of ``--columns``, checked before anything is read."""
    if not text:
        return None
    import difflib

    known, made = columns_of(table)
    also = made if form == "table" else []
    names = [c.strip() for c in text.split(",") if c.strip()]
    for name in names:
        if name not in known and name not in also:
            near = difflib.get_close_matches(name, known, 3, 0.4)
            raise click.BadParameter(
                f"{table} have no column {name!r}"
                + (f"; near: {', '.join(near)}" if near else "")
                + f"; all: {', '.join([*known, *also])}",
                param_hint="--columns",
            )
    return names


def _sessions_by_blocks(captures: tuple[str, ...], output: str, columns: list[str] | None, community_id: bool) -> None:
    """Write sessions as Parquet without holding all rows, nor the state of all, at once."""
    from netlens.outputs import replacing
    from netlens.report.communityid import with_community_id
    from netlens.report.exports import Rows
    from netlens.report.exports.parquet import write_groups

    capture = read_capture(captures, ("sessions",), spill_to=os.path.dirname(os.path.realpath(output)))
    blocks = (with_community_id(block) if community_id else block for block in capture.session_blocks())
    with replacing(output) as path, open(path, "wb") as file:  # Arrow itself opens no name that is not UTF-8
        write_groups((Rows(block, columns).chosen() for block in blocks), capture.part.fold.n, file)


def print_table(
    captures: tuple[str, ...],
    name: str,
    form: str,
    output: str | None,
    columns: str | None,
    limit: int | None,
    community_id: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    kept: Callable[[Any], Any] | None = None,
    kept_what: str = "",
) -> None:
    """Read ``captures`` and write their table ``name``.

    kept : which rows of the table are written (bool of each); all without.  kept_what : what these are called.
    """
    from netlens.api import TABLES
    from netlens.report import exports

    export = exports.found()[form]
    on_workers = workers is not None or scheduler is not None
    if workers is not None and scheduler is not None:
        raise click.UsageError("give either --workers (starts workers here) or --scheduler (uses running ones), not both")
    folder = output if on_workers and form == "parquet" and is_folder(output) else None
    if output is not None and folder is None and os.path.isdir(output):
        hint = "; --format parquet writes a folder of files" if on_workers and form != "parquet" else ""
        raise click.BadParameter(f"{output}: is a directory{hint}", param_hint="-o")
    if folder is not None and kept is not None:
        raise click.UsageError(f"a folder of Parquet files gets all rows, not only {kept_what}")
    if export.BINARY and output is None:
        raise click.UsageError(f"--format {form} is binary and goes to a file: add -o FILE.{form}")
    if folder is not None and limit:
        raise click.BadParameter("a folder of Parquet files gets all rows", param_hint="--limit")
    if columns and export.FIXED:
        raise click.BadParameter(f"--format {form} has its own columns", param_hint="--columns")
    chosen = chosen_columns(columns, name, form)
    if chosen is not None and "community_id" in chosen:
        community_id = True
    elif chosen is not None and community_id:
        chosen.append("community_id")
    needed = (name, *export.BESIDE, *(["connections"] if name == "lookups" else []))
    with_budget = "budget" in export.BESIDE
    if with_budget and on_workers:
        raise click.UsageError(f"--format {form} needs single packets of each request: read without --workers and --scheduler")
    if on_workers:
        capture = read_on_workers(captures, needed, workers, scheduler, name, folder, chosen, community_id)
    elif name == "sessions" and form == "parquet" and output is not None and not limit:
        _sessions_by_blocks(captures, output, chosen, community_id)
        return
    else:
        capture = read_capture(captures, TABLES if with_budget else needed, trail=with_budget)
    if folder is not None:
        return
    import numpy as np

    table = capture.table(name)
    if kept is not None:
        table = table.take(np.flatnonzero(kept(table)))
    if not table.rows and not capture.warnings:
        say(f"no {kept_what or name} found in {capture.holds() if on_workers else capture.part.holds()}")
    if limit is None and form == "table" and output is None and sys.stdout.isatty():
        limit = SHOWN_ROWS
    rows = table.rows
    if limit and rows > limit:
        table = table.take(np.arange(limit))
    if community_id:
        from netlens.report.communityid import with_community_id
        from netlens.report.exports.table import NARROW

        table = with_community_id(table)
        if chosen is None and form == "table":
            chosen = [*NARROW[name], "community_id"]
    stop_at_a_closed_pipe()
    zero_ns = (capture.first_ns if on_workers else capture.part.first_ns) or 0

    def beside(name: str) -> Any:
        from netlens.lenses import budget_of

        return budget_of(capture) if name == "budget" else capture.table(name)

    exports.write(exports.Rows(table, chosen, beside, zero_ns, len(captures) == 1), form, output)
    if limit and rows > limit:
        say(f"{amount(limit)} of {amount(rows)} rows shown; --limit 0 shows all")
