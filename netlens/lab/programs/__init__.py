"""The programs of a scenario: one kind a file. ``[[program]] kind = "..."`` names it; without one it is the ``agent``.

A kind checks its table when the scenario is loaded and starts, in the namespace of a side, one process for all programs of that kind there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from netlens.registry import members

if TYPE_CHECKING:
    from netlens.lab.topology import Context

DEFAULT = "agent"
LOG_FORMATS = ("classic", "logfmt")  #: of opencode, see _opencode_log


class Kind(Protocol):
    """One kind of program. ``SILENT``: it does not write down each refusal."""

    ID: str
    SILENT: bool = False

    def check(self, table: Mapping[str, Any], /) -> None:
        """ValueError or TypeError if a [[program]] is none that this kind can be."""
        ...

    def start(self, context: Context, side: str, tables: Sequence[Mapping[str, Any]], /) -> subprocess.Popen[str]:
        """Start the programs; the process waits for a line on its standard input before it sends anything, and ends by itself."""
        ...


def kinds() -> Mapping[str, Kind]:
    """All kinds of program, by id."""
    return MappingProxyType({each.ID: each for each in members(__name__, Kind)})


def kind_of(table: Mapping[str, Any]) -> str:
    """The id of a program's kind; ValueError if there is none such."""
    kind = str(table.get("kind", DEFAULT))
    if kind not in kinds():
        raise ValueError(f"[[program]] kind is one of {', '.join(kinds())}")
    return kind
