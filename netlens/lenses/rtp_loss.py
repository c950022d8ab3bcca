"""Are packets of voice or video lost, or too late to be played?

Asks: whether numbers of RTP packets are missing from a stream; whether those of voice come so unevenly that many are too late to be played.
Applies: to UDP streams of one source (SSRC) whose numbers go up one by one, by which RTP is certain; encrypted ones (SRTP) among them.
Cannot see: where they were lost, on the way or by the recorder, unless connections of TCP show that the recorder missed packets; how much
    the receiver evens out; what was lost, or held up, behind the place of the recording.
Normal: numbers go up by one also where nothing is said and nothing is sent (RFC 3550 5.1), and all payload types of a source share them: voice, keys that are
    pressed (RFC 4733), noise of silence (RFC 3389), redundancy. A few come in another order, or twice; a stream that is there twice
    (before and after NAT, or as an echo sends it back) is counted once. Decoders conceal single losses up to 1 to 3 % (ITU-T
    G.113 appendix I). A source that begins anew jumps (RFC 3550 A.1), and its stream is left alone. Jitter is a few ms (RFC 3550 6.4.1, A.8); receivers hold
    packets back for two or three of their intervals, and radio sends several at a time. What comes in batches at an even pace is sent so (a sound card that
    hands over 100 ms at a time), or gathered on the way: a warning.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Array
from netlens.lenses import Finding, Severity
from netlens.lenses._view import S, View, finding, most, seconds
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
EVEN = 0.9  #: of the stamps of voice are one interval apart
UNEVEN_NS = 20_000_000  #: an interval of most voice
BLOCK = 50  #: packets of which the fastest tells when the others were due
HELD, TOO_LATE = 3.5, 0.1  #: intervals that a receiver waits at most, and the share of packets that come later
AT_ONCE_NS = 1_000_000  #: between the packets of a batch
BATCHES, REGULAR = 10, 0.1  #: how many show a pace, and by which part of it one may be off
COPY_NS = S  #: from one copy of a packet to another; an echo takes a round trip
SHOWN = 20  #: gaps of a stream


def look(view: View) -> list[Finding]:
    """At most one of losses, and one of packets that come unevenly."""
    found = view.once(streams)
    return [*_lost(view, found), *_uneven(view, found)]


def streams(view: View) -> list[Array]:
    """What may be RTP, by source and both ends, each in order; not what is short."""
    t = view.side.capture.rtp
    if len(t) < PACKETS:
        return []
    order = np.lexsort((t[:, SOURCE], t[:, PORTS], t[:, DST_LO], t[:, SRC_LO]))  # stable: each stream in order
    t = t[order]
    begins = np.flatnonzero(np.diff(t[:, [SOURCE, PORTS, DST_LO, SRC_LO]], axis=0).any(axis=1)) + 1
    return [part for part in np.split(t, begins) if len(part) >= PACKETS and part[-1, TS] - part[0, TS] >= LASTED_NS]


def _uneven(view: View, streams: list[Array]) -> list[Finding]:
    found = [(jitter, part) for part in streams if (jitter := _jitter(part))]
    if not found:
        return []
    receivers = _receivers(view)
    held = [(jitter, part) for jitter, part in found if not _in_batches(part)]
    if not held:
        return [_of_batches(view, [part for _, part in found], receivers)]
    found = held
    whom, (worst, interval) = most(receivers.get(ports(part), "hosts") for _, part in found), max(jitter for jitter, _ in found)
    text = (
        f"Packets of {plural(len(found), 'stream')} of RTP to {whom} came unevenly: jitter of {seconds(worst)} in the median, where a packet is due every "
        f"{seconds(interval)}, so that many come too late to be played."
    )
    values = {"streams": len(found), "jitter_s": worst / 1e9, "interval_s": interval / 1e9}
    advice = (
        "Something on the way holds packets up for different times (a full queue, Wi-Fi, a radio link): capture nearer to the sender, and give voice "
        "priority."
    )
    return [finding(view, ID, "problem", text, [int(part[0, FRAME]) for _, part in found], values, advice)]


def _of_batches(view: View, parts: list[Array], receivers: dict[tuple[int, int], str]) -> Finding:
    longest = max(_in_batches(part) for part in parts)
    text = (
        f"Packets of {plural(len(parts), 'stream')} of RTP to {most(receivers.get(ports(part), 'hosts') for part in parts)} came in batches, one every "
        f"{seconds(longest)}: they are sent so, or something on the way gathers them; the receiver must hold them back as long."
    )
    values = {"streams": len(parts), "batch_s": longest / 1e9}
    return finding(view, ID, "warning", text, [int(part[0, FRAME]) for part in parts], values)


def _in_batches(part: Array) -> float:
    """From one batch of packets to the next, in ns, if they come at an even pace, as from a sound card; 0 otherwise. A queue holds up for different times."""
    begins = part[np.flatnonzero(np.diff(part[:, TS], prepend=part[0, TS] - 2 * AT_ONCE_NS) > AT_ONCE_NS), TS]
    if len(begins) < BATCHES or 2 * len(begins) > len(part):
        return 0.0
    pauses = np.diff(begins)
    typical = float(np.median(pauses))
    return typical if (np.abs(pauses - typical) <= REGULAR * typical).mean() >= EVEN else 0.0


def _jitter(part: Array) -> tuple[float, float] | None:
    """The median of a stream's jitter (RFC 3550 A.8), and the interval of its packets, in ns; None unless it is voice that comes too unevenly. The clock is
    what the stream as a whole shows, so that one that is too slow counts for nothing."""
    step, time = _steps(part)
    if not _is_rtp(step, time):
        return None
    interval = int(np.median(time[step == 1]))
    lasted, stamps = part[-1, TS] - part[0, TS], int(time.sum())
    if interval <= 0 or stamps <= 0 or (time[step == 1] == interval).mean() < EVEN:
        return None
    unit = lasted / stamps
    due = part[0, TS] + np.concatenate(([0], np.cumsum(time))) * unit
    behind = part[:, TS] - due
    blocks = np.arange(0, len(part), BLOCK)
    late = behind - np.repeat(np.minimum.reduceat(behind, blocks), np.diff([*blocks, len(part)])) >= HELD * interval * unit
    jitter, each = 0.0, []
    for off in np.abs(np.diff(behind)).tolist():
        jitter += (off - jitter) / 16
        each.append(jitter)
    typical = float(np.median(each))
    return (typical, interval * unit) if typical >= max(UNEVEN_NS, interval * unit) and late.mean() >= TOO_LATE else None


def _receivers(view: View) -> dict[tuple[int, int], str]:
    """By ports of sender and receiver."""
    return {(t.source[1], t.destination[1]): endpoint(*t.destination) for t in view.conversations}


def _lost(view: View, streams: list[Array]) -> list[Finding]:
    found = [(lost, sent, part, gaps) for part in streams for lost, sent, gaps in _gaps(part)]
    found = _each_once(found)
    bad = [each for each in found if each[0] >= LOST and each[0] >= NOTICED * each[1]]
    if not bad:
        return []
    missed = view.missing_bytes
    grave = any(lost >= AUDIBLE * sent and len(gaps) >= HOLES for lost, sent, _, gaps in bad) and not (missed > 1).any()
    receivers = _receivers(view)
    lost, sent = sum(each[0] for each in bad), sum(each[1] for each in bad)
    whom = most(receivers.get(ports(part), "hosts") for _, _, part, _ in bad)
    worst = max(lost / sent for lost, sent, *_ in bad)
    text = (
        f"{lost:,} of {plural(sent, 'packet')} of RTP are missing from {plural(len(bad), 'stream')} to {whom} (up to {worst:.0%} of one)."
    )
    values = {"lost": lost, "packets": sent, "streams": len(bad), "worst_share": worst}
    advice = "Something on the way drops packets (a full link, Wi-Fi, a policer): capture nearer to the sender, and give voice priority."
    severity: Severity = "problem" if grave else "warning"
    return [finding(view, ID, severity, text, [f for *_, gaps in bad for f in gaps], values, advice if grave else "")]


def _each_once(found: list[tuple[int, int, Array, list[int]]]) -> list[tuple[int, int, Array, list[int]]]:
    """Of copies of one stream (before and after NAT, on two interfaces, sent back by an echo) the one that lacks most: what is missing from one is from those
    behind it as well. Copies have one source, and the same numbers and stamps at nearly the same time."""
    kept: list[tuple[tuple[int, int, Array, list[int]], dict[tuple[int, int], int]]] = []
    for each in sorted(found, key=lambda each: -each[0]):
        part = each[2]
        when = dict(zip(zip(part[:, NUMBER].tolist(), part[:, STAMP].tolist(), strict=True), part[:, TS].tolist(), strict=True))
        twins = (
            [abs(ns - before[key]) for key, ns in when.items() if key in before]
            for other, before in kept
            if other[2][0, SOURCE] == part[0, SOURCE]
        )
        if not any(2 * len(apart) >= len(when) and float(np.median(apart)) <= COPY_NS for apart in twins):
            kept.append((each, when))
    return [each for each, _ in kept]


def ports(part: Array) -> tuple[int, int]:
    """Of sender and receiver."""
    ports = int(part[0, PORTS])
    return ports >> 16 & 0xFFFF, ports & 0xFFFF


def _steps(part: Array) -> tuple[Array, Array]:
    """From packet to packet, of numbers and of stamps."""
    step = (np.diff(part[:, NUMBER]) + 0x8000) % 0x10000 - 0x8000
    return step, (np.diff(part[:, STAMP]) + (1 << 31)) % (1 << 32) - (1 << 31)


def is_rtp(part: Array) -> bool:
    """Whether a stream is certain to be RTP: its numbers go up one by one."""
    return _is_rtp(*_steps(part))


def _is_rtp(step: Array, time: Array) -> bool:
    fresh = step != 0  # else recorded twice
    one_by_one = bool(fresh.any()) and not (np.abs(step) > JUMP).any() and (step[fresh] == 1).mean() >= ONE_BY_ONE
    return bool(one_by_one and (time >= 0).mean() >= ONE_BY_ONE)


def _gaps(part: Array) -> list[tuple[int, int, list[int]]]:
    """(packets that are missing, that were sent, frames behind gaps) of a stream, if it is certain to be RTP."""
    step, time = _steps(part)
    if not _is_rtp(step, time):
        return []
    number = np.concatenate(([0], np.cumsum(step)))
    sent, there = int(number.max() - number.min()) + 1, len(np.unique(number))
    behind = part[1:, FRAME][step > 1]
    return [(sent - there, sent, behind[:SHOWN].tolist())]
