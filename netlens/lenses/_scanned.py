"""What a scanner causes besides: requests for what is not there, datagrams that reach nobody. The scan is told, and nothing of it once more."""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._connects import SCAN_PORTS, scans
from netlens.lenses._said import errors
from netlens.lenses._view import View

TOLD = "port-scan"


def without_scanned(view: View, found: list[Finding]) -> list[Finding]:
    """Findings but those all of whose frames are between who scanned the ports of a host and that host."""
    pairs = (
        set() if view.one_sided or not found else {(s.source, s.target) for s in view.once(scans) if s.of_ports and s.tried >= SCAN_PORTS}
    )
    if not pairs:
        return found
    return [f for f in found if f.id == TOLD or not _are_between(view, [frame for _, frame in f.every], pairs)]


def _are_between(view: View, frames: list[int], pairs: set[tuple[str, str]]) -> bool:
    ends = view.once(_of_datagrams)
    of_tcp = _of_segments(view, [frame for frame in frames if frame not in ends])
    return bool(frames) and all((ends.get(frame) or of_tcp.get(frame)) in pairs for frame in frames)


def _of_segments(view: View, frames: list[int]) -> dict[int, tuple[str, str]]:
    """Client and server of segments, by frame."""
    if view.trail is None or not frames:
        return {}
    t = view.trail.segments()
    at = np.flatnonzero(np.isin(t["frame"], frames))
    return {
        frame: (view.address(k, True), view.address(k, False))
        for frame, k in zip(t["frame"][at].tolist(), t["session"][at].tolist(), strict=True)
    }


def _of_datagrams(view: View) -> dict[int, tuple[str, str]]:
    """Source and destination of the first datagrams of conversations, of what errors of ICMP quote, and of questions of DNS, by frame."""
    found = {t.first_frame: (t.source[0], t.destination[0]) for t in view.conversations}
    asked = view.side.capture.table("lookups").tuples("query_frame", "orig_ip", "resolver_ip")
    found |= {frame: (client, resolver) for frame, client, resolver in asked}
    found |= {e.frame: (e.source[0], e.destination[0]) for e in view.once(errors)}
    return found
