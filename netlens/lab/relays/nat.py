"""No relay but the host's own translation of addresses, which the topology always has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lab.topology import Context


def start(context: Context) -> None:
    """There is nothing to start."""
