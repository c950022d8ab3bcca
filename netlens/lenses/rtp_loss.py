"""Are packets of voice or video lost?

Asks: whether numbers of RTP packets are missing from a stream.
Applies: to UDP streams of one source (SSRC) whose numbers go up one by one, by which RTP is certain; encrypted ones (SRTP) among them.
Cannot see: where they were lost, on the way or by the recorder, unless connections of TCP show that the recorder missed packets; what comes too late to be
    played; what was lost behind the place of the recording.
Normal: numbers go up by one also where nothing is said and nothing is sent (RFC 3550 5.1), and all payload types of a source share them: voice, keys that
    are pressed (RFC 4733), noise of silence (RFC 3389), redundancy. A few come in another order, or twice. Decoders conceal single losses up to
    1 to 3 % (ITU-T G.113 appendix I). A source that begins anew jumps (RFC 3550 A.1), and its stream is left alone.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Array
from netlens.lenses import Finding, Severity
from netlens.lenses._view import S, View, finding, most
from netlens.parsers.rtp import DST_LO, FRAME, NUMBER, PORTS, SOURCE, SRC_LO, STAMP, TS
from netlens.text import endpoint, plural

ID = "rtp-loss"
GROUP = "delivery"
RANK = 48
PACKETS, LASTED_NS = 100, 2 * S  #: of a stream; voice has 50 a second
ONE_BY_ONE = 0.6  #: of its numbers
JUMP = 100  #: numbers; more is a source that begins anew, or a pause of the recording
AUDIBLE, LOST = 0.03, 10  #: share and number of packets
NOTICED = 0.01
HOLES = 3  #: less is an interruption, perhaps of the recording
SHOWN = 20  #: gaps of a stream


def look(view: View) -> list[Finding]:
    """At most one."""
    t = view.side.capture.rtp
    if len(t) < PACKETS:
        return []
    order = np.lexsort((t[:, SOURCE], t[:, PORTS], t[:, DST_LO], t[:, SRC_LO]))  # stable: each stream in order
    t = t[order]
    begins = np.flatnonzero(np.diff(t[:, [SOURCE, PORTS, DST_LO, SRC_LO]], axis=0).any(axis=1)) + 1
    streams = [part for part in np.split(t, begins) if len(part) >= PACKETS and part[-1, TS] - part[0, TS] >= LASTED_NS]
    found = [(lost, sent, part, gaps) for part in streams for lost, sent, gaps in _gaps(part)]
    bad = [each for each in found if each[0] >= LOST and each[0] >= NOTICED * each[1]]
    if not bad:
        return []
    missed = view.sessions["orig_missing_bytes"] + view.sessions["resp_missing_bytes"]
    grave = any(lost >= AUDIBLE * sent and len(gaps) >= HOLES for lost, sent, _, gaps in bad) and not (missed > 1).any()
    receivers = {(t.source[1], t.destination[1]): endpoint(*t.destination) for t in view.conversations}
    lost, sent = sum(each[0] for each in bad), sum(each[1] for each in bad)
    whom = most(receivers.get(_ports(part), "hosts") for _, _, part, _ in bad)
    worst = max(lost / sent for lost, sent, *_ in bad)
    text = (
        f"{lost:,} of {plural(sent, 'packet')} of RTP are missing from {plural(len(bad), 'stream')} to {whom} (up to {worst:.0%} of one)."
    )
    values = {"lost": lost, "packets": sent, "streams": len(bad), "worst_share": worst}
    advice = "Something on the way drops packets (a full link, Wi-Fi, a policer): capture nearer to the sender, and give voice priority."
    severity: Severity = "problem" if grave else "warning"
    return [finding(view, ID, severity, text, [f for *_, gaps in bad for f in gaps], values, advice if grave else "")]


def _ports(part: Array) -> tuple[int, int]:
    """Of sender and receiver."""
    ports = int(part[0, PORTS])
    return ports >> 16 & 0xFFFF, ports & 0xFFFF


def _gaps(part: Array) -> list[tuple[int, int, list[int]]]:
    """(packets that are missing, that were sent, frames behind gaps) of a stream, if it is certain to be RTP."""
    step = (np.diff(part[:, NUMBER]) + 0x8000) % 0x10000 - 0x8000
    time = (np.diff(part[:, STAMP]) + (1 << 31)) % (1 << 32) - (1 << 31)
    fresh = step != 0  # else recorded twice
    if not fresh.any() or (np.abs(step) > JUMP).any() or (step[fresh] == 1).mean() < ONE_BY_ONE or (time >= 0).mean() < ONE_BY_ONE:
        return []
    number = np.concatenate(([0], np.cumsum(step)))
    sent, there = int(number.max() - number.min()) + 1, len(np.unique(number))
    behind = part[1:, FRAME][step > 1]
    return [(sent - there, sent, behind[:SHOWN].tolist())]
