"""Lenses: each asks one question of the traffic that was rebuilt and answers with findings. One file (or folder) a lens, found without a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from netlens.registry import members

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic

#: What the docstring of a lens says: its question, when it has an answer, and what it cannot see.
SECTIONS = ("Asks", "Applies", "Cannot see")


@dataclass(frozen=True)
class Finding:
    """One thing that a lens found.

    id : what it is, one of a fixed set of words.  lens : whose finding.  text : one plain sentence with the numbers.
    severity : by consequence: something failed or somebody waited (problem), may come to that (warning), else worth knowing (note).
    frames : (side, frame number) that show it.  filter : for Wireshark, shows them.  values : the numbers, for programs.
    """

    id: str
    lens: str
    severity: Literal["problem", "warning", "note"]
    text: str
    frames: list[tuple[str, int]] = field(default_factory=list)
    filter: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class Lens(Protocol):
    """What a member of this folder has."""

    ID: str

    def look(self, traffic: Traffic) -> list[Finding]:
        """What it finds; empty where there is nothing to say."""
        ...


def all_lenses() -> tuple[Lens, ...]:
    """Every lens."""
    return members(__name__, Lens, SECTIONS)


def look(traffic: Traffic) -> list[Finding]:
    """What all lenses find: problems first, then warnings, then notes."""
    order = ("problem", "warning", "note")
    return sorted((found for lens in all_lenses() for found in lens.look(traffic)), key=lambda found: order.index(found.severity))
