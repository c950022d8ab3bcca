"""What lenses read again of a capture, as only few of its frames are worth it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from netlens.errors import NetlensError
from netlens.lenses._view import View
from netlens.parsers.packet_digests import readable_again

T = TypeVar("T")


def reread(view: View, frames: list[int], reader: Callable[[Sequence[str], list[int]], dict[int, T]]) -> dict[int, T]:
    """What ``reader`` finds in these frames of the capture's files, by frame; empty where they cannot be read again, or were changed since."""
    paths = view.side.capture.paths
    if not frames or not readable_again(paths):
        return {}
    try:
        return reader(paths, frames)
    except NetlensError:
        return {}
