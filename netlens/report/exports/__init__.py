"""Output formats: what ``--format`` offers for the tables, one file each.

A new format is a file here with what :class:`Export` asks for, and a test: the choices of the commands, their help and docs/reference/formats.md
are made from the files that are found. Files are imported to print ``--help``, so whatever is heavy is imported by the function that needs it.

Strings of a capture are a stranger's: each format writes control and bidirectional characters as escapes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from netlens.errors import CaptureError, NetlensError
from netlens.outputs import replacing
from netlens.registry import members

if TYPE_CHECKING:
    from netlens.schema import Table


@dataclass(frozen=True)
class Rows:
    """What is written.

    columns : names of those to write, in order; None: what the format usually shows.
    beside : gives another table of the same capture by its name, None if there is none.  zero_ns : earliest frame of the capture.
    one_file : the frame numbers are those of a single file, so that Wireshark finds them.
    """

    table: Table
    columns: Sequence[str] | None = None
    beside: Callable[[str], Table | None] = lambda _: None
    zero_ns: int = 0
    one_file: bool = True

    def chosen(self) -> Table:
        """The table with the chosen columns. CaptureError if there is no such column."""
        from netlens.schema import Schema, Table

        table = self.table
        if not self.columns:
            return table
        known = {c.name: c for c in table.schema}
        for name in self.columns:
            if name not in known:
                raise CaptureError(f"{table.schema.name} have no column {name!r}; there are {', '.join(known)}")
        return Table(Schema(table.schema.name, tuple(known[n] for n in self.columns)), {n: table.columns[n] for n in self.columns})


class Export(Protocol):
    """A format.

    MEANING : what it is and who reads it, one line of help.  TABLES : those it can write; empty: every one.
    BESIDE : tables of the same capture that it reads as well (sessions are always there).
    FIXED : its columns are its own, so ``--columns`` does not go with it.  BINARY : written to a file, not to a terminal.
    """

    ID: str
    MEANING: str
    TABLES: tuple[str, ...] = ()
    BESIDE: tuple[str, ...] = ()
    FIXED: bool = False
    BINARY: bool = False

    def write(self, rows: Rows, file: Any, /) -> None: ...


def found() -> dict[str, Export]:
    """Every format by its name."""
    return {export.ID: export for export in members(__name__, Export)}


def of(table: str) -> dict[str, Export]:
    """The formats that can write the table called ``table``."""
    return {name: export for name, export in found().items() if not export.TABLES or table in export.TABLES}


def write(rows: Rows, form: str, output: str | None) -> None:
    """Write ``rows`` in the format ``form`` to the file ``output``, which is complete or not there, or to standard output.

    NetlensError if the file cannot be written, or the format needs a file, has columns of its own, or cannot write this table.
    """
    export, table = found()[form], rows.table.schema.name
    if form not in of(table):
        raise NetlensError(f"--format {form} writes {' and '.join(export.TABLES)}, not {table}")
    if rows.columns and export.FIXED:
        raise NetlensError(f"--columns does not go with --format {form}, which has its own columns")
    if not export.BINARY:
        with opened(output) as file:
            export.write(rows, file)
        return
    if output is None:
        raise NetlensError(f"--format {form} is binary and goes to a file: add -o FILE.{form}")
    with replacing(output) as path, open(path, "wb") as binary:
        export.write(rows, binary)


def one_a_line(values: Iterable[str], file: IO[str]) -> None:
    """The values of a JSON array, a line each, to stand between its brackets."""
    for number, value in enumerate(values):
        file.write((",\n" if number else "\n") + value)


@contextlib.contextmanager
def opened(output: str | None) -> Iterator[IO[str]]:
    """A text file that takes the place of ``output`` when it is complete, or standard output."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with replacing(output) as path, open(path, "w", encoding="utf-8", newline="") as file:
        yield file
