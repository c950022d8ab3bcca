"""Kinds of evidence that two connections, of two captures, are one: one file each, found without a list, the certain first.

A connection that one kind has paired is left alone by the next.
"""

from __future__ import annotations

from typing import Protocol

from netlens.chains.compared import Found
from netlens.registry import members


class Link(Protocol):
    """What a file of this folder has. ``RANK``: its turn; ``EXACT``: what it pairs is certain, and shows what the clock is worth."""

    ID: str
    RANK: int
    EXACT: bool

    def join(self, found: Found) -> None:
        """Add pairs to those found so far."""
        ...


def all_links() -> list[Link]:
    return sorted(members(__name__, Link, (), ("ID", "RANK")), key=lambda link: link.RANK)
