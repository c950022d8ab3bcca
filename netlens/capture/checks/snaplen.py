"""Bytes kept of each packet.

Claim: packets are kept whole. (It always holds; the row says what would be lost otherwise.)
Fix: none is needed.
"""

from __future__ import annotations

from netlens.capture.checks import OK, Machine, Result, Scene
from netlens.capture.command import SNAPLEN, SNAPLEN_HEADERS

TITLE = "snaplen"
RANK = 60


def look(machine: Machine, scene: Scene) -> Result:
    return Result(
        OK,
        f"{SNAPLEN:,} bytes keep packets whole; a ClientHello needs about 2,000; --headers-only ({SNAPLEN_HEADERS}) loses names and requests, "
        "and connections cannot be followed through a tunnel",
    )
