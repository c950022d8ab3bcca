"""Where did a connection stand still?

Asks: whether data that had been sent stayed without acknowledgment for seconds and had to be sent again, once or many times; whether a peer stopped
    answering keep-alives; whether an answer of HTTP in the clear stopped midway until its client gave up.
Applies: to connections captured in both directions; where all were captured in one only, to what was sent again three times and more.
Cannot see: without an ICMP error, on which part of the way the data was lost; whether programs wait for each other (see slow-server, slow-client).
Normal: RFC 6298 2.1 sets the first time-out to 1 s at least and doubles it (5.5), stacks begin at 200 ms; RFC 9293 3.8.3 has TCP doubt the way after
    three retransmissions. A link that holds packets back for a moment (Wi-Fi, a change of cells) makes such repeats needless; again and again, of more than a
    second each, whoever types notices; a push to a radio that sleeps nobody waits for. Silence while nothing is outstanding is idleness, and after the close
    nobody waits. A
    client that was told the length of an answer (RFC 9112 6.2) waits for the rest; not one that stops reading, which shuts its window. Of an answer in chunks
    nobody knows whether more was to come, unless a model makes it up, or clients give up after the same time; a feed is silent as long as nothing happens, so
    it must have come at a steady pace before. Answers that all lack
    the same few bytes were announced wrongly. A server may send in pieces, with pauses as long as those before; one that is there acknowledges its client's
    FIN at once (RFC 9293 3.10.7.4). What a client asks for three times, gives up after the same time and never has was no pause.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._between import where
from netlens.lenses._chunks import unended
from netlens.lenses._lost import LARGE, never_arrived
from netlens.lenses._needless import without_needless
from netlens.lenses._repeats import IGNORED, STALL_NS, STALL_TIMES, Repeat, deliveries, stalled
from netlens.lenses._said import TCP, said, too_big, undelivered
from netlens.lenses._unanswered import requests
from netlens.lenses._view import ACK, FIN, RST, SYN, S, View, finding, grouped, most, seconds, up_to
from netlens.lenses.zero_window_stuck import stuck
from netlens.parsers.bodies import Body
from netlens.parsers.chunks import BAD, Chunked
from netlens.parsers.icmp import Error
from netlens.text import plural, size

ID = "stalled"
GROUP = "delivery"
RANK = 45
#: Without anything of an answer that is not complete, until the client gives up; and how many times the longest pause before in the same answer that is
STOPPED_NS, PAUSES = 5 * S, 4
ENDLESS = 1 << 62  #: the end of an answer in chunks, which is not known
PAIR, STEADY, STEADY_NS = (
    2,
    5,
    S // 100,
)  #: such answers with waits that are alike, and pauses in a feed, half of which are so long: it is no burst
TRIES, ALIKE = 3, 0.1  #: answers that stop midway, and how much longer than the shortest wait the longest may be if a timer ends it
FEW_BYTES = 64  #: that an answer lacks whose length was announced wrongly (a mark of byte order, ends of lines, a comment); losses take whole segments
FINS = 3  #: of a client that were not acknowledged: Linux repeats one for 8 times and more, the first after 0.2 s
#: whose answers have the body that they announce: not HEAD, CONNECT
BODIED = {int.from_bytes(word, "big") for word in (b"GET ", b"POST", b"PUT ")}
NEVER = -(1 << 62)
IDLE_NS = 5 * S  #: before what was never acknowledged; who forgets connections does so after a minute or two hours (RFC 5382 5 wants these)
HELD, HELD_NS = 3, 300 * S  #: standstills without a loss, in so long; one or two may be a change of networks
#: Ports of what people type into (SSH, Telnet in clear and over TLS, rlogin, RDP, VNC); elsewhere it may be a push to a radio that sleeps
TYPED, KEY = (22, 23, 513, 992, 3389, 5900, 5901), 4  #: and bytes of a key in clear: a character in UTF-8, an arrow (ESC [ A)
PROBES, PROBED_NS = 3, 2 * S  #: unanswered, in so long: a lost one or two say nothing
_LOST = "Something on the way drops packets, or the peer is gone: compare with a capture nearer to the peer; if only large packets are lost, look at the MTU."
_MTU = (
    "A link on the way does not carry packets that large, and the sender does not hear of it, or does not heed it: let ICMP (fragmentation needed, packet too "
    "big) through to the sender, lower its MTU (ip link set dev DEV mtu 1400), or clamp the MSS on the router."
)
_OR_GONE = " If small packets are lost there now as well (ping with -s 56 and -s 1400), the peer is gone instead."
_RESTARTED = (
    "The peer was gone for that time and came back without the connection: it, or its network stack, was started anew (uptime, its log), or another "
    "host has its "
    "address now."
)
_FORGOTTEN = (
    "Have one side send something more often than that (TCP keep-alives, or the program's own), raise the idle time-out of what stands between, or close idle "
    "connections sooner; a capture at the peer shows whether it is gone instead."
)


def look(view: View) -> list[Finding]:
    """Data that was not acknowledged, data that never came, answers that stopped, and keep-alives that were not answered."""
    return [*_of(view), *_froze(view), *_never_came(view), *_stopped(view), *_stopped_in_chunks(view), *_gone(view)]


def _froze(view: View) -> list[Finding]:
    """Connections that stand still again and again though nothing is lost: all that was sent again had arrived, only late, as its receiver says (D-SACK,
    RFC 2883)."""
    held = {d.session: some for d in view.once(deliveries) if len(some := [r for r in d.repeats if _is_held(r)]) >= HELD}
    if not held:
        return []
    told = [d for d in view.once(deliveries) if d.session in held]
    lost = {(d.session, r.orig, r.start_ns) for d in without_needless(view, told) for r in d.repeats}
    late = {k: [r for r in some if (k, r.orig, r.start_ns) not in lost] for k, some in held.items()}
    late = {k: some for k, some in late.items() if _is_often([r.start_ns for r in some])}
    if not late:
        return []
    typed = {k: [r for r in some if _is_typed(view, r)] for k, some in late.items()}
    typed = {k: some for k, some in typed.items() if _is_often([r.start_ns for r in some])}
    late = typed or late
    shown = [r for some in late.values() for r in some]
    longest, times = max(r.wait_ns for r in shown), max(r.times for r in shown)
    text = (
        f"{plural(len(late), 'connection')} with {most(view.server(k) for k in late)} stood still {plural(len(shown), 'time')}, for up to {seconds(longest)}, "
        f"though nothing was lost: what was sent again up to {times} times had arrived, as its receiver says (D-SACK), only late."
    )
    values = {"connections": len(late), "waits": len(shown), "longest_s": longest / S, "retransmissions": sum(r.times for r in shown)}
    advice = (
        "Something on the way holds packets back for seconds and then lets them go: a Wi-Fi that saves power or changes between access points, a "
        "mobile link, a "
        "machine that is paused (a snapshot), a queue that is far too long. ping shows it as well; see from which hop on it does."
    )
    frames = [f for r in sorted(shown, key=lambda r: -r.wait_ns) for f in r.frames]
    return [finding(view, ID, "problem" if typed else "warning", text, frames, values, advice)]


def _is_typed(view: View, r: Repeat) -> bool:
    """Whether somebody waits: for the echo of a key, one of several in a row, or at such a port for what follows on what was typed just before."""
    seg, at_port = view.segments(r.session), view.ends(r.session)[3] in TYPED
    before = [i for i in range(len(seg)) if seg.orig[i] and seg.length[i] and 0 < r.start_ns - seg.ts[i] <= IDLE_NS]
    key = r.orig and r.high - r.low <= KEY and any(seg.length[i] <= KEY for i in before)
    return key or (at_port and (r.orig or bool(before)))


def _is_held(r: Repeat) -> bool:
    """Whether somebody noticed, and TCP doubted the way."""
    return r.acked and not r.deaf and r.times >= STALL_TIMES and r.wait_ns >= S and r.last_ns - r.start_ns < STALL_NS


def _is_often(times: list[int]) -> bool:
    """Whether it came again and again within minutes.  times : ns."""
    times = sorted(times)
    return any(later - first <= HELD_NS for first, later in zip(times, times[HELD - 1 :], strict=False))


def _of(view: View) -> list[Finding]:
    waits = view.once(stalled)
    if not waits:
        return []
    by_session: dict[int, list[Repeat]] = grouped(waits, lambda r: r.session)
    longest = max(waits, key=lambda r: r.wait_ns)
    lost = sum(not r.acked for r in waits)
    n = len(by_session)
    times = sum(r.times for r in waits)
    end = f"; {plural(lost, 'of them was', 'of them were')} never acknowledged" if lost else ""
    lasted = f"{'up to' if longest.acked else 'at least'} {seconds(longest.wait_ns)}"
    way = "to" if all(r.orig for r in waits) else "from" if not any(r.orig for r in waits) else "to or from"
    text = (
        f"{plural(n, 'connection')} stood still for {lasted} because data {way} {most(view.server(k) for k in by_session)} "
        f"was not acknowledged and was sent again {'once' if times == 1 else f'{times:,} times'}{end}"
    )
    large = view.once(too_large)
    heard = [e for each in large for e in each.told] + [e for r in waits for e in _undelivered(view, r)]
    if large:
        worst = max(large, key=lambda each: each.wait.wait_ns)
        text += f"; only large packets were lost ({worst.size:,} bytes were sent {worst.times} times in vain"
        text += f", while up to {worst.beside:,} arrived on other connections of these hosts)" if worst.beside else ")"
    idle = _idle(view, waits) if not large else 0
    if idle:
        text += f"; nothing had been sent for {seconds(idle)} before, so a firewall or NAT on the way may have forgotten the connection"
    forgot = not large and all(_knows_nothing(view, r) for r in waits)
    if forgot:
        whom = most(view.address(r.session, not r.orig) for r in waits)
        text += f"; then {whom} answered with a reset, as a host that does not know the connection any more"
    place = where(view, by_session)
    text += f"; {place}" if place else ""
    text += f"; {said(heard)}." if heard else "."
    values = {
        "connections": n,
        "waits": len(waits),
        "retransmissions": times,
        "longest_s": longest.wait_ns / 1e9,
        "never_acknowledged": lost,
        "too_large": len(large),
        "icmp_errors": len(heard),
        "idle_s": idle / 1e9,
    }
    advice = (
        _RESTARTED
        if forgot
        else _MTU + ("" if any(each.alive or each.told for each in large) else _OR_GONE)
        if large
        else _FORGOTTEN
        if idle
        else _LOST
    )
    frames = [f for r in sorted(waits, key=lambda r: -r.wait_ns) for f in r.frames]
    return [finding(view, ID, "problem", text, [*(e.frame for e in heard), *frames], values, advice)]


def _knows_nothing(view: View, wait: Repeat) -> bool:
    """Whether the peer, silent until then, answers the last repeat by a RST without ACK: so says a host that has no such connection (RFC 9293 3.10.7.1)."""
    if wait.acked:
        return False
    seg = view.segments(wait.session)
    since = bisect.bisect_right(seg.ts, wait.start_ns)
    theirs = [i for i in range(since, len(seg)) if seg.orig[i] != wait.orig and seg.ts[i] - wait.start_ns >= S]
    if not theirs or any(seg.flags[i] & (RST | ACK) != RST for i in theirs):
        return False
    return 0 <= seg.ts[theirs[0]] - wait.last_ns <= S


def _undelivered(view: View, wait: Repeat) -> list[Error]:
    """What was said of the data while it was waited for."""
    about = view.once(undelivered).get((TCP, *view.way(wait.session, wait.orig)), [])
    return [e for e in about if wait.start_ns <= e.ts <= wait.end_ns]


def _idle(view: View, waits: list[Repeat]) -> int:
    """For how long at least nothing had been sent on connections of which then nothing was acknowledged any more, in ns; 0 if that is not so of all."""
    idle = []
    for wait in waits:
        seg = view.segments(wait.session)
        at = bisect.bisect_left(seg.ts, wait.start_ns)
        spoke = any(seg.orig[i] != wait.orig and seg.length[i] for i in range(at))
        if wait.acked or not spoke or any(seg.orig[i] != wait.orig for i in range(at, len(seg))):
            return 0
        idle.append(wait.start_ns - seg.ts[at - 1])
    return min(idle) if min(idle) >= IDLE_NS else 0


@dataclass
class TooLarge:
    """Segments of ``size`` bytes were sent ``times`` times in vain, while shorter ones arrived.

    told : routers that said so.  beside : bytes of the largest that arrived on other connections of the same two hosts, if only these show it.
    alive : whether the peer said something meanwhile.
    """

    wait: Repeat
    size: int
    times: int
    told: list[Error]
    beside: int = 0
    alive: bool = True


def too_large(view: View) -> list[TooLarge]:
    """The standstills in which large segments never arrived while small ones did: a link on the way takes no packets that large, and the sender does not
    know (RFC 2923 2.1).

    What tells it from a peer that is gone: the peer went on sending, and in the same direction shorter segments arrived, before or in between. Where nothing
    but such large ones was sent after the handshake, other connections of the same two hosts tell it, on which shorter ones arrived and none as large. A sender
    that hears of it sends shorter ones at once (RFC 1191, RFC 8201), which nobody waits for; one that probes (RFC 4821) does so after some time-outs.
    """
    return [found for wait in view.once(stalled) if (found := _too_large(view, wait)) is not None]


def _too_large(view: View, wait: Repeat) -> TooLarge | None:
    seg, heard = view.segments(wait.session), view.once(too_big).get((TCP, *view.way(wait.session, wait.orig)), [])
    frames = set(wait.frames)
    sent = [i for i in range(len(seg)) if seg.orig[i] == wait.orig and seg.frame[i] in frames and seg.length[i]]
    # the first time, the sender's card may have been given several in one (offload)
    size = max((seg.length[i] for i in sent[1:]), default=0)
    whole = [i for i in sent if seg.length[i] >= size]
    if size < LARGE or len(whole) <= (IGNORED if heard else STALL_TIMES):
        return None
    offset = seg.offset[whole[0]]
    since, again = seg.ts[whole[0]], seg.ts[whole[1]]
    shorter = any(seg.orig[i] == wait.orig and seg.offset[i] == offset and 0 < seg.length[i] < size for i in range(whole[-1], len(seg)))
    if wait.acked and not shorter:
        return None  # it arrived after all
    passed = acked = 0
    small = alive = False
    heard_ns = NEVER
    for i in range(len(seg)):
        if seg.orig[i] == wait.orig:
            small |= seg.ts[i] > since and 0 < seg.length[i] < size and seg.offset[i] > offset
        elif not seg.flags[i] & RST:
            acked = max(acked, seg.acked[i])
            alive |= seg.ts[i] > again
            heard_ns = seg.ts[i] if seg.ts[i] <= since else heard_ns
    for i in range(whole[0]):
        if seg.orig[i] == wait.orig and seg.length[i] and seg.end(i) <= min(acked, offset):
            passed = max(passed, seg.length[i])
    if heard or (alive and passed < size and (passed or small)):
        return TooLarge(wait, size, len(whole), heard)
    # nothing but such segments was sent here: others of the same two hosts show what passes
    beside = view.once(_passed_beside).get((view.address(wait.session, wait.orig), view.address(wait.session, not wait.orig)), 0)
    # where the peer says nothing any more, what is short must not be lost as well, nor the connection have been idle (forgotten)
    short = small or any(seg.orig[i] == wait.orig and seg.flags[i] & FIN for i in range(whole[0], len(seg)))
    may_be = alive or (not short and since - heard_ns < IDLE_NS)
    return TooLarge(wait, size, len(whole), heard, beside, alive) if may_be and not passed and 0 < beside < size else None


def _passed_beside(view: View) -> dict[tuple[str, str], int]:
    """By sender and receiver, bytes of the largest segment that was acknowledged."""
    if view.trail is None:
        return {}
    t, n = view.trail.segments(), view.sessions.rows
    of = t["session"].astype(np.int64) * 2 + np.where(view.by_originator(), 0, 1)
    acked = np.full(2 * n, -1, np.int64)
    acks = (t["flags"] & (ACK | RST)) == ACK
    np.maximum.at(acked, of[acks] ^ 1, t["acked"][acks])
    came = (t["length"] > 0) & (t["offset"] + t["length"] <= acked[of])
    largest = np.zeros(2 * n, np.int64)
    np.maximum.at(largest, of[came], t["length"][came])
    found: dict[tuple[str, str], int] = {}
    for k, sizes in enumerate(largest.reshape(-1, 2).tolist()):
        for orig, longest in zip((True, False), sizes, strict=True):
            ends = view.address(k, orig), view.address(k, not orig)
            found[ends] = max(longest, found.get(ends, 0))
    return found


def _never_came(view: View) -> list[Finding]:
    """Data that had been sent, as what came later shows, and that did not come."""
    standing = {r.session for r in view.once(stalled)}
    all_ = [each for each in view.once(never_arrived) if each.session not in standing]
    large = [each for each in all_ if each.large]
    shown = large or all_
    if not shown:
        return []
    worst = max(shown, key=lambda each: each.wait_ns)
    whom = most(view.server(each.session) for each in shown)
    way = "to" if all(each.orig for each in shown) else "from" if not any(each.orig for each in shown) else "to or from"
    came = "came only then, in short segments" if worst.arrived else "never came"
    shows = "" if worst.arrived else ", though what was sent later did" if worst.behind else ", as the acknowledgment of the FIN shows"
    given_up = sum(each.given_up for each in shown)
    end = (
        "" if not given_up else " until the other side gave up" if given_up == len(shown) else f" (on {given_up:,} the other side gave up)"
    )
    text = (
        f"{plural(len(shown), 'connection')} stood still for {up_to(shown)}{seconds(worst.wait_ns)}{end}: {worst.lost:,} bytes {way} {whom} {came}{shows}"
        f"{'; only large packets were lost' if large else ''}."
    )
    values = {
        "connections": len(shown),
        "longest_s": worst.wait_ns / 1e9,
        "lost_bytes": worst.lost,
        "given_up": given_up,
        "too_large": len(large),
    }
    frames = [f for each in sorted(shown, key=lambda each: -each.wait_ns) for f in each.frames]
    return [finding(view, ID, "problem", text, frames, values, _MTU if large else _LOST)]


class Stop(NamedTuple):
    """An answer of which ``got`` bytes of the body came, and then nothing for ``waited_ns``. ``unheard``: how often the client then said in vain that it
    gives up. ``all_sent``: what the server said later, without data, shows by its sequence number that it had sent no more."""

    body: Body
    got: int
    waited_ns: int
    unheard: int
    frames: list[int]
    all_sent: bool = False


def _stopped(view: View) -> list[Finding]:
    """Answers of which nothing came any more, until their clients gave up. Where a client's FINs were not acknowledged either, the connection was dead; else
    the server may have paused."""
    if view.one_sided:
        return []
    told = {r.session for r in view.once(stalled)} | {each.session for each in view.once(never_arrived)}
    kept, missing = set(view.in_one) - told, view.sessions["resp_missing_bytes"]
    came = view.sessions["resp_bytes"]
    last = {b.session: b for b in view.side.capture.bodies if b.session in kept and not missing[b.session] and came[b.session] < b.end}
    stops = [stop for body in last.values() if (stop := _stop(view, body)) is not None]
    found = [stop for stop in stops if stop.unheard >= FINS] or stops
    if not found:
        return []
    dead = found[0].unheard >= FINS
    short = [] if dead else _too_short(view, found)
    never = short or ([] if dead else _never_had(view, found))
    found = never or found
    worst = max(found, key=lambda stop: stop.waited_ns)
    got, whole = size(worst.got), size(worst.body.length)
    got, whole = (f"{worst.got:,}", f"{worst.body.length:,} bytes") if got == whole else (got, whole)
    text = (
        f"{plural(len(found), 'HTTP answer')} stopped midway: after {got} of {whole} nothing came any more from "
        f"{most(view.server(stop.body.session) for stop in found)}, for {up_to(found)}{seconds(worst.waited_ns)} until the client gave up"
    )
    text += (
        f"; its FIN was not acknowledged either ({up_to(found)}{max(stop.unheard for stop in found)} tries)."
        if dead
        else f"; each is {plural(worst.body.length - worst.got, 'byte')} shorter than its Content-Length says."
        if short
        else ", each time anew."
        if never
        else "."
    )
    values = {
        "answers": len(found),
        "longest_s": worst.waited_ns / 1e9,
        "longest_missing_bytes": worst.body.length - worst.got,
        "unheard": sum(stop.unheard >= FINS for stop in found),
    }
    advice = (
        "Something on the way began to drop the connection (a firewall, NAT, a link), or the server is gone: capture at its side."
        if dead
        else "The server announces more than it sends, and clients wait for the rest: have it count bytes, not characters, and after all that changes the body."
        if short
        else "The server's program stopped or paused: look at its log for that moment."
    )
    frames = [frame for stop in found for frame in (stop.body.frame, *stop.frames)]
    return [finding(view, ID, "problem" if dead or never else "warning", text, frames, values, advice)]


def _stopped_in_chunks(view: View) -> list[Finding]:
    """Answers in chunks of which nothing came any more, not even the last chunk, until their clients gave up."""
    if view.one_sided:
        return []
    told = {r.session for r in view.once(stalled)} | {each.session for each in view.once(never_arrived)}
    open_ = [a for a in unended(view) if a.state < BAD and a.session not in told and not a.finished and not a.failed]
    stops = [(a, stop) for a in open_ if (stop := _stop(view, _without_end(a))) is not None]
    found = [stop for a, stop in stops if a.events]
    others = [(a, stop) for a, stop in stops if not a.events and (not a.feed or _is_steady(view, a))]
    for group in grouped(others, lambda each: view.service(each[0].session)).values():
        waits = [stop.waited_ns for _, stop in group]
        if len(group) >= PAIR and max(waits) <= min(waits) * (1 + ALIKE):
            found += [stop for _, stop in group]
    if not found:
        return []
    worst = max(found, key=lambda stop: stop.waited_ns)
    text = (
        f"{plural(len(found), 'HTTP answer')} in chunks stopped midway: after {size(worst.got)} nothing came any more from "
        f"{most(view.server(stop.body.session) for stop in found)}, not even the last chunk, for {up_to(found)}{seconds(worst.waited_ns)} "
        "until the client gave up."
    )
    values = {"answers": len(found), "longest_s": worst.waited_ns / 1e9}
    frames = [frame for stop in found for frame in (stop.body.frame, *stop.frames)]
    return [finding(view, ID, "warning", text, frames, values)]


def _without_end(answer: Chunked) -> Body:
    return Body(answer.session, answer.frame, answer.start, ENDLESS, ENDLESS - answer.start)


def _is_steady(view: View, answer: Chunked) -> bool:
    """Whether an answer came piece by piece, and not in a burst."""
    seg = view.segments(answer.session)
    came = [seg.ts[i] for i in range(len(seg)) if not seg.orig[i] and seg.fresh[i] and seg.frame[i] >= answer.frame]
    pauses = sorted(later - one for one, later in pairwise(came))
    return len(pauses) >= STEADY and pauses[len(pauses) // 2] >= STEADY_NS


def _too_short(view: View, stops: list[Stop]) -> list[Stop]:
    """Those of one server that all lack the same few bytes: it had sent all it had, and had announced more (RFC 9112 6.3). Who leaves, and what pauses, does so
    anywhere. Bytes that it had sent were lost on the way; where another answer of that length came whole, the rest is only late."""
    few = [stop for stop in stops if stop.body.length - stop.got <= FEW_BYTES]
    came = view.sessions["resp_bytes"] if few else ()
    whole = {(view.ends(b.session)[2:], b.length) for b in view.side.capture.bodies if came[b.session] >= b.end} if few else set()
    of = grouped(few, lambda stop: (view.ends(stop.body.session)[2:], stop.body.length - stop.got))
    return [
        stop
        for (server, _), group in of.items()
        if len(group) >= TRIES and all(stop.all_sent and (server, stop.body.length) not in whole for stop in group)
        for stop in group
    ]


def _never_had(view: View, stops: list[Stop]) -> list[Stop]:
    """Those of what a client asked for again and again, and never had, and on which it gave up after the same time, as a program's time-out does. A
    player, or a person, leaves when there is enough."""
    asked, of_head = view.side.capture.asked, {}
    had: dict[tuple[str, int], int] = {}
    cut = {stop.body.frame for stop in stops}
    for k, first, head, status in requests(view, "start_frame", "response_frame", "status"):
        if first in asked and head is not None:
            place = view.ends(k)[0], asked[first]
            of_head[head] = place
            if status is not None and 200 <= status < 300 and head not in cut:
                had[place] = head
    known = [stop for stop in stops if stop.body.frame in of_head]
    found = []
    for place, group in grouped(known, lambda stop: of_head[stop.body.frame]).items():
        waits = [stop.waited_ns for stop in group]
        if len(group) >= TRIES and max(waits) <= min(waits) * (1 + ALIKE) and had.get(place, 0) < group[0].body.frame:
            found += group
    return found


def _stop(view: View, body: Body) -> Stop | None:
    """Where an answer stopped; None if it came, its server ended it, its client did not want more of it, or pauses are usual in it."""
    seg = view.segments(body.session)
    begin = body.end - body.length
    upto, came, end, pause, asked, acked = begin, -1, -1, 0, 0, 0
    window = widest = 0
    for i in range(len(seg)):
        if seg.orig[i]:
            if seg.flags[i] & (FIN | RST):
                end = i
                break
            if seg.length[i] and seg.fresh[i]:
                if came >= 0:
                    return None  # it goes on to something else
                asked = seg.head[i] >> 32 or asked
            if not seg.flags[i] & SYN:
                window, widest = seg.window[i], max(widest, seg.window[i])
            acked = max(acked, seg.acked[i])
        elif seg.flags[i] & (FIN | RST):
            return None
        elif seg.length[i] and seg.frame[i] >= body.frame:
            if came >= 0:
                pause = max(pause, seg.ts[i] - seg.ts[came])
            upto, came = max(upto, seg.end(i)), i
    if came < 0 or end < 0 or not begin < upto < body.end or asked not in BODIED:
        return None
    waited = seg.ts[end] - seg.ts[came]
    if acked < upto or 2 * window < widest or waited < max(STOPPED_NS, PAUSES * pause):
        return None
    later = range(end, len(seg))
    if any(not seg.orig[i] and seg.length[i] for i in later):
        return None  # the rest was on its way
    fins = sum(seg.orig[i] and bool(seg.flags[i] & FIN) for i in later) if all(seg.orig[i] for i in later) else 0
    theirs = [seg.offset[i] for i in later if not seg.orig[i] and not seg.flags[i] & RST]
    # by the last of its words: an acknowledgment may have been sent before the last bytes
    all_sent = bool(theirs) and max(theirs) == upto
    return Stop(body, upto - begin, waited, fins, [seg.frame[came], *(seg.frame[i] for i in later)], all_sent)


def _gone(view: View) -> list[Finding]:
    """Peers that stopped answering keep-alives (RFC 9293 3.8.4)."""
    if view.one_sided:
        return []
    shut = {each.session for each in view.once(stuck)}  # what probes a window is no keep-alive
    found = [probed for k in view.in_one if k not in shut and (probed := _probed(view, k)) is not None]
    if not found:
        return []
    n = len(found)
    whom = most(view.server(p.session) if p.by_client else view.address(p.session, True) for p in found)
    tries, lasted = max(len(p.frames) for p in found), max(p.lasted_ns for p in found)
    given_up = sum(p.given_up for p in found)
    end = "" if not given_up else "; the other side gave up" if given_up == n else f"; on {given_up:,} of them the other side gave up"
    text = f"{whom} stopped answering keep-alives on {plural(n, 'connection')} ({up_to(found)}{tries} tries over {seconds(lasted)}){end}."
    values = {"connections": n, "keepalives": tries, "longest_s": lasted / 1e9, "given_up": given_up}
    advice = "The peer is gone, or a NAT or firewall on the way has forgotten the connection: compare with a capture nearer to the peer."
    return [finding(view, ID, "problem", text, [f for p in found for f in p.frames], values, advice)]


class Probed(NamedTuple):
    """Keep-alives at the end of a session that nothing answered."""

    session: int
    by_client: bool
    given_up: bool
    lasted_ns: int
    frames: list[int]


def _probed(view: View, k: int) -> Probed | None:
    """The unanswered keep-alives at the end of a session; None where the peer answered, or closed before."""
    s = view.sessions
    if not s["orig_keepalives"][k] and not s["resp_keepalives"][k]:
        return None
    seg = view.segments(k)
    end = len(seg) - 1
    while end >= 0 and seg.flags[end] & RST:
        end -= 1
    by = seg.orig[end] if end >= 0 else True
    upto = max((seg.end(i) for i in range(end + 1) if seg.orig[i] == by), default=0)
    at = end
    while at >= 0 and seg.orig[at] == by and seg.length[at] <= 1 and seg.offset[at] < upto and not seg.flags[at] & (SYN | FIN | RST):
        at -= 1
    probes = range(at + 1, end + 1)
    if len(probes) < PROBES or seg.ts[end] - seg.ts[at + 1] < PROBED_NS or any(f & (FIN | RST) for f in seg.flags[: at + 1]):
        return None
    given_up = end + 1 < len(seg) and seg.orig[end + 1] == by
    return Probed(k, by, given_up, seg.ts[end] - seg.ts[at + 1], [seg.frame[i] for i in probes])
