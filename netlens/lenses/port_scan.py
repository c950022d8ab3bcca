"""Did somebody scan for open ports?

Asks: whether one source failed to connect to many ports of a host, or to many hosts on one port, in a short time.
Applies: where the SYNs are in the capture.
Cannot see: scans slower than five minutes a round, of UDP, or behind a translation that hides the source.
Normal: browsers and peer-to-peer programs connect to many hosts and mostly succeed. Zeek (policy/misc/scan) speaks of a scan from 15 ports of one host
    or 25 hosts on one port within 5 minutes.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._connects import SCAN_HOSTS, SCAN_PORTS, scans
from netlens.lenses._view import View, finding

ID = "port-scan"
GROUP = "handshakes"
RANK = 13


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
        advice = "Find out what runs on the source; if it is not yours, block it." if grave else ""
        found.append(finding(view, ID, "problem" if grave else "warning", text, [a.syn_frames[0] for a in scan.attempts], values, advice))
    return found
