"""What a recording needs of a machine: one check a file. The doctor runs them all (:mod:`netlens.capture.doctor`).

A check looks at one machine (this one, or the VM) and answers a :class:`Result`:

``ok``              nothing to do
``warning``         a recording can be made, but something about it will be worse, or could not be looked at
``missing``         without this there is no recording, or one that cannot answer
``does not apply``  the question makes no sense on this machine

A new check is a new file here, and nothing else; ``tools/new.py check NAME`` writes one. Its docstring says what it claims of a machine in good order, and
what is done where the claim does not hold::

    Claim: tcpdump is installed.
    Fix: the package manager's command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from netlens import registry
from netlens.capture.machine import Machine
from netlens.capture.processes import Outcome

__all__ = [
    "MISSING",
    "NOT",
    "OK",
    "SECTIONS",
    "WARNING",
    "Check",
    "Machine",
    "Outcome",
    "Result",
    "Scene",
    "Status",
    "checks",
    "few",
    "span",
]

Status = Literal["ok", "warning", "missing", "does not apply"]
OK: Status = "ok"
WARNING: Status = "warning"
MISSING: Status = "missing"
NOT: Status = "does not apply"

API_PORT = 443


#: What the docstring of a check says.
SECTIONS = ("Claim", "Fix")


@dataclass(frozen=True)
class Result:
    """``fix`` is a command (or, where no command does it, a short sentence); empty if there is nothing to do."""

    status: Status
    text: str
    fix: str = ""


@dataclass
class Scene:
    """What is looked at: this machine, the VM if one was named and answers, the API's names, where recordings go."""

    here: Machine
    vm: Machine | None = None
    apis: tuple[str, ...] = ()
    apis_named: bool = False  # by the user; else they are the usual ones, and one that does not resolve is no loss
    directory: str = "."
    reached: Outcome | None = None  # how the first command on the VM ended
    target: str = ""  # the VM as the user named it
    ssh: Sequence[str] = field(default=("ssh",))  # how the user calls ssh
    problem: str = ""  # why there is no address to reach the VM at
    fix: str = ""


class Check(Protocol):
    """A module of this package."""

    ID: str  #: the file's name with ``-`` for ``_``
    TITLE: str  #: in the table
    ON: str = "each"  #: the machines it is run on: ``here``, ``vm``, ``each``
    RANK: int  #: its place in the table

    def look(self, machine: Machine, scene: Scene, /) -> Result:
        """Look at ``machine``, one of those of ``scene``; never raises."""


def checks() -> tuple[Check, ...]:
    """Every check, in the order of the table."""
    found = registry.members(__name__, Check, SECTIONS, ("ID", "RANK"))
    return tuple(sorted(found, key=lambda check: check.RANK))


def span(seconds: float, sign: bool = False) -> str:
    """Seconds in a unit that leaves digits before the point."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(seconds) * factor >= 1 or unit == "us":
            return f"{seconds * factor:{'+' if sign else ''}.3g} {unit}"
    raise AssertionError


def few(items: Sequence[str], most: int) -> str:
    """The first items, and how many more there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
