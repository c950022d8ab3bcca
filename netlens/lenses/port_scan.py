"""Did somebody scan for open ports?

Asks: whether one source failed to connect to many ports of a host, or to many hosts on one port, in a short time; whether it sent many ports of a host
    segments of no connection, with neither SYN nor ACK, which closed ports reset and open ones drop (RFC 9293 3.10.7: FIN, Xmas and null scans).
Applies: where these segments are in the capture.
Cannot see: scans slower than five minutes a round, of UDP, or behind a translation that hides the source.
Normal: browsers and peer-to-peer programs connect to many hosts and mostly succeed. Zeek (policy/misc/scan) speaks of a scan from 15 ports of one host
    or 25 hosts on one port within 5 minutes.
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._connects import SCAN_HOSTS, SCAN_NS, SCAN_PORTS, scans
from netlens.lenses._view import ACK, View, finding, grouped

ID = "port-scan"
GROUP = "handshakes"
RANK = 13
TRIES = 3  #: segments for a port
_BLOCK = "Find out what runs on the source; if it is not yours, block it."


def look(view: View) -> list[Finding]:
    """One for each source and target."""
    if view.one_sided:
        return []
    found = []
    for scan in view.once(scans):
        grave = scan.tried >= (SCAN_PORTS if scan.of_ports else SCAN_HOSTS)
        what = f"{scan.tried:,} ports of {scan.target}" if scan.of_ports else f"{scan.tried:,} hosts on {scan.target}"
        text = f"{what} were tried in vain by {scan.source} within 5 minutes."
        values = {"source": scan.source, "target": scan.target, "tried": scan.tried}
        advice = _BLOCK if grave else ""
        found.append(finding(view, ID, "problem" if grave else "warning", text, [a.syn_frames[0] for a in scan.attempts], values, advice))
    return [*found, *_without_syn(view)]


def _without_syn(view: View) -> list[Finding]:
    s, history = view.sessions, view.column("history")
    likely = ~s["saw_syn"] & (s["orig_bytes"] + s["resp_bytes"] == 0) & (s["orig_frames"] <= TRIES) & (s["resp_frames"] <= TRIES)
    chosen = [k for k in np.flatnonzero(likely).tolist() if set(history[k]) <= {"F", "r"}]
    found = []
    for (source, target), group in grouped(chosen, lambda k: view.ends(k)[::2]).items():
        ports = {view.ends(k)[3] for k in group}
        start = s["start_ns"][group]
        if (
            len(ports) < SCAN_PORTS
            or start.max() - start.min() > SCAN_NS
            or any(view.opening(k).flags[0] & ACK for k in group[:SCAN_PORTS])
        ):
            continue
        text = f"{len(ports):,} ports of {target} were scanned by {source} with segments that have neither SYN nor ACK; closed ports reset them."
        values = {"source": source, "target": target, "tried": len(ports)}
        frames = [int(s["first_frame"][k]) for k in group]
        found.append(finding(view, ID, "problem", text, frames, values, _BLOCK))
    return found
