"""What the SYNs of handshakes announce, which lenses read again as only few of them need it."""

from __future__ import annotations

from netlens.errors import NetlensError
from netlens.lenses._view import View
from netlens.parsers.announced import Announced, announced
from netlens.parsers.packet_digests import readable_again


def announced_in(view: View, frames: list[int]) -> dict[int, Announced]:
    """By frame; empty where the capture cannot be read again, or was changed since."""
    paths = view.side.capture.paths
    if not frames or not readable_again(paths):
        return {}
    try:
        return announced(paths, frames)
    except NetlensError:
        return {}
