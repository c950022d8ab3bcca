"""Did packets wait in a queue on the way?

Asks: whether echoes (ping) took tens of milliseconds at first, and many times as long for many in a row while a connection sent much; whether they take
    longer all the time than people bear, and swing.
Applies: where requests and replies are in the capture, with the connections beside them.
Cannot see: which router's or modem's queue it is; queues before the first echo, which then make the usual time.
Normal: a queue is there for bursts, and holds them for some milliseconds (RFC 7567 2.1; CoDel aims at 5 ms, RFC 8289 4.4); one that stays full delays everybody
    (bufferbloat, RFC 8289 3.1). Above 400 ms one-way people cannot talk (ITU-T G.114). A single late reply is an accident; Wi-Fi that saves
    power holds packets for some hundred milliseconds, now longer, now shorter (IEEE 802.11, 100 ms beacons), whatever else is sent: a warning where the
    connection that sends does not have to wait as well; links for telephones and
    things, and satellites' terminals, take 1 s and swing, so that a way that is slow all the time is a warning; a line
    that is interrupted or a host that slept hands over all at once what had come meanwhile.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.parsers.asking import Ping
from netlens.text import plural, size

ID = "ping-slow"
GROUP = "time"
RANK = 54
MS = S // 1000
USUAL, USUAL_NS = 3, 100 * MS  #: echoes in a row before, and what they take at most
LATE_NS, TIMES = 400 * MS, 8  #: what a very late one takes at least, and how many times the usual
VERY_LATE = 3  #: of these in a row, among the late ones; fewer are an accident
LATER, LATER_NS = 3, 50 * MS  #: what a late one takes at least, in times the usual, and how much more
ROW, ROW_NS, GAP_NS = 8, 3 * S, 5 * S  #: late ones in a row, over so long, without a pause
TOGETHER, SOME_TOGETHER = 0.25, 0.3  #: of the time between two requests, in which both replies come; and the share of such
MUCH = 100_000  #: bytes that one side of a connection sent meanwhile
MORE = 2  #: times as many a second as before, while echoes were quick
MANY = 10  #: echoes of a host that tell what is usual
FAR_NS = 800 * MS  #: there and back (ITU-T G.114: 400 ms one-way); by a geostationary satellite it is 600 ms
SWING_NS = 300 * MS  #: between the least and what nine of ten keep; a satellite's way changes by far less
RUNS = 20  #: that are looked at


class Echo(NamedTuple):
    """When a request was sent, how long its reply took, and both frames."""

    ts: int
    took_ns: int
    frames: tuple[int, int]


@dataclass
class Queue:
    """Echoes that waited in a queue. ``usual_ns``: what those before took.  sessions : that filled it, with how many bytes.
    shared : whether one of them goes to the same host, or has to wait as well; else the host may have been slow alone, or the way have changed."""

    target: str
    usual_ns: int
    late: list[Echo]
    sessions: dict[int, int]
    shared: bool


def look(view: View) -> list[Finding]:
    """Queues that connections fill, and ways that are slow all the time."""
    asking = view.side.capture.asking
    by_host: dict[tuple[str, str], list[Ping]] = grouped(asking.pings.values(), lambda p: (p.source, p.destination))
    queues = _queues(view, by_host)
    told = {q.target for q in queues}
    return [*_of_queues(view, queues), *_always(view, {ends: pings for ends, pings in by_host.items() if ends[1] not in told})]


def _queues(view: View, by_host: dict[tuple[str, str], list[Ping]]) -> list[Queue]:
    found: list[Queue] = []
    looked = 0
    for (_, target), pings in by_host.items():
        for quick, late in _runs(pings):
            looked += 1
            sessions = _busy(view, quick, late) if looked <= RUNS else {}
            if sessions:
                usual_ns, late_ns = _median(quick), _median(late)
                shared = any(target in view.ends(k) or _waited(view, k, late) >= (late_ns - usual_ns) / 2 for k in sessions)
                found.append(Queue(target, int(usual_ns), late, sessions, shared))
    return found


def _of_queues(view: View, found: list[Queue]) -> list[Finding]:
    if not found:
        return []
    shared = [q for q in found if q.shared]
    found = shared or found
    worst = max(found, key=lambda q: max(e.took_ns for e in q.late))
    longest = max(e.took_ns for e in worst.late)
    sessions = {k: n for q in found for k, n in q.sessions.items()}
    took = f"{len(worst.late):,} pings in a row to {worst.target} took {seconds(min(e.took_ns for e in worst.late))} to {seconds(longest)}"
    text = (
        f"Packets waited up to {seconds(longest - worst.usual_ns)} in a queue on the way (bufferbloat): {took} while {plural(len(sessions), 'connection')} "
        f"({most(view.server(k) for k in sessions)}) carried {size(sum(sessions.values()))}; {seconds(worst.usual_ns)} is usual."
        if shared
        else f"{took}; {seconds(worst.usual_ns)} is usual."
    )
    values = {
        "pings": sum(len(q.late) for q in found),
        "usual_s": worst.usual_ns / 1e9,
        "longest_s": longest / 1e9,
        "connections": len(sessions),
        "bytes": sum(sessions.values()),
        "hosts": sorted({q.target for q in found}),
    }
    advice = (
        "The buffer before the slowest link is too large: let the router there manage its queue (SQM, tc qdisc cake or fq_codel, a rate a little below the "
        "line's), or have what sends so much send more slowly."
    )
    frames = [f for q in found for e in sorted(q.late, key=lambda e: -e.took_ns) for f in e.frames]
    return [graded(view, ID, shared, text, frames, values, advice)]


def _always(view: View, by_host: dict[tuple[str, str], list[Ping]]) -> list[Finding]:
    """Hosts whose replies always take long, most of them longer than people bear, and swing: what is merely far does not."""
    shown: list[tuple[str, list[Echo]]] = []
    for (_, target), pings in by_host.items():
        echoes = _echoes(pings)
        took = sorted(e.took_ns for e in echoes)
        if len(took) < MANY or took[0] < LATE_NS or took[len(took) // 2] < FAR_NS or echoes[-1].ts - echoes[0].ts < ROW_NS:
            continue
        if took[len(took) * 9 // 10] - took[0] >= SWING_NS and _is_steady(echoes):
            shown.append((target, echoes))
    if not shown:
        return []
    every = [e for _, echoes in shown for e in echoes]
    least, most_ns = min(e.took_ns for e in every), max(e.took_ns for e in every)
    whom, usual_ns = most(target for target, _ in shown), _median(every)
    text = f"Pings to {whom} took {seconds(least)} to {seconds(most_ns)}, {seconds(usual_ns)} in the median of {len(every):,}."
    values = {
        "pings": len(every),
        "usual_s": _median(every) / 1e9,
        "longest_s": most_ns / 1e9,
        "hosts": sorted({target for target, _ in shown}),
    }
    advice = (
        "Above 800 ms there and back people cannot talk (ITU-T G.114). By a mobile network of the second generation, one for things (NB-IoT), or a satellite's "
        "terminal this is usual; on any other way a link is overloaded, or its radio is weak: ping each router on the way (mtr) to find the one behind "
        "which it begins."
    )
    frames = [f for e in sorted(every, key=lambda e: -e.took_ns) for f in e.frames]
    return [finding(view, ID, "warning", text, frames, values, advice)]


def _echoes(pings: list[Ping]) -> list[Echo]:
    return sorted(
        Echo(sent.ts, p.answers[n].ts - sent.ts, (sent.frame, p.answers[n].frame))
        for p in pings
        for n, sent in p.requests.items()
        if n in p.answers
    )


def _runs(pings: list[Ping]) -> list[tuple[list[Echo], list[Echo]]]:
    """Late echoes in a row, with the quick ones before."""
    echoes = _echoes(pings)
    found: list[tuple[list[Echo], list[Echo]]] = []
    usual: list[Echo] = []  # the last ones that were quick
    late: list[Echo] = []
    for echo in [*echoes, None]:
        if echo is not None and len(usual) >= USUAL and _is_late(echo, _median(usual)) and not (late and echo.ts - late[-1].ts > GAP_NS):
            late.append(echo)
            continue
        if late and _is_felt(late, _median(usual)) and len(late) >= ROW and late[-1].ts - late[0].ts >= ROW_NS and _is_steady(late):
            found.append((usual, late))
        late = []
        if echo is not None and 0 <= echo.took_ns <= USUAL_NS:
            usual = [*usual[-9:], echo]
    return found


def _is_late(echo: Echo, usual_ns: float) -> bool:
    return echo.took_ns >= max(LATER * usual_ns, usual_ns + LATER_NS)


def _is_felt(late: list[Echo], usual_ns: float) -> bool:
    """Whether several in a row were so late that people cannot talk."""
    very = (e.took_ns >= max(LATE_NS, TIMES * usual_ns) for e in late)
    return any(is_so and len(list(group)) >= VERY_LATE for is_so, group in itertools.groupby(very))


def _median(echoes: list[Echo]) -> float:
    return median(e.took_ns for e in echoes)


def _is_steady(late: list[Echo]) -> bool:
    """Whether replies came one by one, as out of a queue, and not all at once."""
    pairs = list(itertools.pairwise(late))
    together = sum(b.ts + b.took_ns - a.ts - a.took_ns < TOGETHER * (b.ts - a.ts) for a, b in pairs)
    return together <= SOME_TOGETHER * len(pairs)


def _busy(view: View, quick: list[Echo], late: list[Echo]) -> dict[int, int]:
    """Sessions of which one side sent much while echoes were late, and much less while they were quick; with how much it was."""
    if view.trail is None or not view.sessions.rows:
        return {}
    t = view.trail.segments()
    sent, before = (_sent(view, t, echoes) for echoes in (late, quick))
    busy = (sent >= MUCH) & (sent * _span(quick) >= MORE * before * _span(late))
    return {k: int(sent[k]) for k in view.whole if busy[k]}


def _waited(view: View, k: int, late: list[Echo]) -> float:
    """How much longer acknowledgments took in a session while echoes were late than the handshake, in the median of the side that sent more, as far as the
    capture shows it."""
    assert view.trail is not None
    at = view.trail.of(k)
    t = {name: column[at] for name, column in view.trail.segments().items()}
    by_originator = view.by_originator(at)
    sends = by_originator == (t["length"][by_originator].sum() >= t["length"][~by_originator].sum())
    now = (t["ts"] >= late[0].ts) & (t["ts"] <= late[0].ts + _span(late))
    data, acks = np.flatnonzero(sends & now & (t["length"] > 0)), np.flatnonzero(~sends)
    if not len(data) or not len(acks):
        return 0.0
    first = np.searchsorted(
        np.maximum.accumulate(t["acked"][acks].astype(np.int64)), t["offset"][data].astype(np.int64) + t["length"][data]
    )
    known = first < len(acks)
    took = t["ts"][acks[first[known]]] - t["ts"][data[known]]
    trip = float(view.sessions["handshake_ms"][k]) * 1e6
    return float(np.median(took)) - trip if len(took) and trip == trip else 0.0


def _span(echoes: list[Echo]) -> int:
    return echoes[-1].ts + echoes[-1].took_ns - echoes[0].ts


def _sent(view: View, t: dict[str, Array], echoes: list[Echo]) -> Array:
    """By session, how much was sent during some echoes by the side that sent more."""
    rows = np.flatnonzero((t["ts"] >= echoes[0].ts) & (t["ts"] <= echoes[0].ts + _span(echoes)) & (t["length"] > 0))
    sent = np.zeros((2, view.sessions.rows), np.float64)
    np.add.at(sent, (np.where(view.by_originator(rows), 0, 1), t["session"][rows]), t["length"][rows])
    return sent.max(axis=0)
