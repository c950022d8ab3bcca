"""Do calls and registrations of SIP fail, or media go where nobody takes them?

Asks: whether all calls (or registrations) of a client with a server end in a final answer that says that something is wrong with them (a number that is not
    known, a message that is not understood); whether calls break off as a request within them, which keeps them up, gets no answer (RFC 4028); whether media
    are sent in a format that the receiver did not name (RFC 3264 5.1, 6.1), to a port that it named and does not listen at, or by one end of a call alone.
Applies: to SIP in clear at its port (UDP, and TCP where a message begins a segment), with both directions in the capture.
Cannot see: what is encrypted; what a person meant to dial; media of calls of which the description is not in the capture.
Normal: credentials are asked for (401, 407), people are busy, away (480: a warning where no call to a name rings; of five names, a problem) or do not want to
    (480, 486, 600, 603), hang up before (487), both change the call at once (491); a wrong number, or a few different ones (a warning); a server that does
    not know a number, where another takes the call. Who tries many different names and gets none is a scanner (a warning). What servers refuse as such (403,
    408, 5xx) is ``refused``. A call is on hold, or one end listens alone, where the descriptions say so (RFC 3264 8.4). Keys and silence have formats of
    their own (RFC 4733, RFC 3389). Voice goes to where voice comes from (symmetric RTP, RFC 4961), whatever the description says; else to an inner address of
    a phone behind NAT. A phone may open its port a moment after it named it, and close it before the other end stops.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._said import UDP, undelivered
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.lenses.rtp_loss import PACKETS, is_rtp, ports, streams
from netlens.parsers.calls import Media, Message
from netlens.parsers.rtp import FRAME, KIND, TS
from netlens.parsers.trail import Conversation
from netlens.text import endpoint, plural

ID = "call-failed"
GROUP = "answers"
RANK = 14  #: before the same request that udp-unanswered has
TIMES, SPAN_NS = 3, 3 * S  #: calls that fail; a request within a call that is sent again, and for how long
#: Final answers that say that something is wrong with what was asked (RFC 3261 21.4, 21.6)
_WRONG = (400, 402, 404, 405, 406, 410, 413, 414, 416, 420, 421, 423, 482, 483, 484, 485, 493, 604)
_AWAY = 480  #: nobody is registered under that name, or does not want to be called now (RFC 3261 21.4.18)
_TOO_BRIEF = 423
IN_TURN_NS = S // 2  #: sooner than a person dials
_ASKS_WHO = (401, 407)
_NOBODY = (404, 410, 484, 485, 604)  #: what a person hears who dials a wrong number
DIALLED = 5  #: different wrong numbers, which is more than a person dials
ELSEWHERE_NS = S  #: a call that is refused goes to another server within
SCANNED = 10  #: different names, of which none is known
NOISE = (13, 19)  #: formats of silence (RFC 3389 and its drafts)
FOREIGN = 0.5  #: share of a stream's packets
STATIC = 96  #: formats below have one meaning everywhere (RFC 3551 6)
UNHEARD, UNHEARD_NS = 50, 3 * S  #: packets of media that reach nobody, and over how long
ONE_WAY, ONE_WAY_NS = (
    100,
    7 * S,
)  #: packets of voice from one end while none comes from the other; who is silent for a while sends none with some codecs
#: The same in formats that know no silence (RFC 3551 6: PCMU, GSM, PCMA, G722), if neither end named one for it: then voice is sent all the time
ALL_THE_TIME, ALL_THE_TIME_NS = frozenset({0, 3, 8, 9}), 4 * S
NEVER = 1 << 62  #: ns; a call whose end is not in the capture
TOLD_NS = 2 * S  #: Linux says so once a second (icmp_ratelimit)
_INNER = [ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]  #: RFC 1918, RFC 4193
_WORDS = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone", 416: "Unsupported URI Scheme", 420: "Bad Extension",
          423: "Interval Too Brief",
          483: "Too Many Hops", 484: "Address Incomplete", 482: "Loop Detected", 604: "Does Not Exist Anywhere"}  # fmt: skip
_ADVICE = {
    400: "The server does not understand the message: compare its Content-Length and headers at both ends; a SIP ALG in a router changes them (turn it off).",
    404: "The server does not know what is dialled, or in that form: compare the number in the request with what it wants (+49..., 0049..., 049...).",
    484: "The server wants a longer number: compare what is dialled with its dial plan.",
    423: "The registrar wants phones to register for longer: set the phone's registration time to what Min-Expires in that answer says, or more.",
    483: "The call goes in circles between servers: look at their routes.",
    482: "The call goes in circles between servers: look at their routes.",
}


def look(view: View) -> list[Finding]:
    """At most one of calls and registrations that are refused, one of those to people who are away, one of those that break off, and four of media."""
    messages = view.side.capture.calls
    if not messages:
        return []
    return [
        *_refused(view, messages),
        *_away(view, messages),
        *_broken_off(view, messages),
        *_formats(view, messages),
        *_unheard(view, messages),
        *_one_way(view, messages),
        *_astray(view, messages),
    ]


def _refused(view: View, messages: list[Message]) -> list[Finding]:
    """By client, server and method: whether all that did not end by a person's choice is wrong."""
    asked: dict[tuple[int, str, str], Message] = {}
    ended: dict[tuple[int, str, str], Message] = {}
    reached: set[tuple[str, str, str]] = set()
    through: set[tuple[int, str, str]] = set()
    for m in messages:
        if m.method not in ("INVITE", "REGISTER"):
            continue
        call, server = m.call if m.method == "INVITE" else m.call ^ m.number, m.source if m.status else m.destination
        key = call, m.method, server  # who is refused may try another server with the same Call-ID
        if not m.status and not m.inside:
            asked.setdefault(key, m)
        elif key in asked and (m.status >= 200 or m.status in (180, 183)):
            if m.status not in _ASKS_WHO and m.status not in _WRONG:
                reached.add((m.destination, m.source, m.method))
                through.add(key)
            elif m.status in _WRONG and key not in ended:
                ended[key] = m
    of = grouped(ended.items(), lambda each: (each[1].destination, each[1].source, each[1].method))
    taken = [m for key, m in asked.items() if key in through]
    by_name = {(m.source, m.method, of_it) for m in taken for of_it in (m.call, m.ending)}
    begun = {key: sorted(m.ts for m in these) for key, these in grouped(taken, lambda m: (m.source, m.method)).items()}

    def goes_on(request: Message, answer: Message) -> bool:
        """Whether another server takes the call, as who has several trunks does."""
        caller, times = (request.source, request.method), begun.get((request.source, request.method), [])
        at = bisect_left(times, answer.ts)
        return bool({(*caller, request.call), (*caller, request.ending)} & by_name) or (
            at < len(times) and times[at] <= answer.ts + ELSEWHERE_NS
        )

    of = {key: [(each, m) for each, m in these if not goes_on(asked[each], m)] for key, these in of.items()}
    bad = {key: these for key, these in of.items() if len(these) >= TIMES and key not in reached}
    if not bad:
        return []
    served = {(m.destination, m.source) for m in messages if 200 <= m.status < 300}
    names = {key: {asked[each].whom for each, _ in these} for key, these in bad.items()}
    dialled = {key for key in bad if key[2] == "INVITE" and 1 < len(names[key]) < DIALLED and all(m.status in _NOBODY for _, m in bad[key])}
    # who has registered before the capture may refresh more often than it must, and stays registered
    renewed = {key for key in bad if all(m.status == _TOO_BRIEF and asked[each].number > 1 for each, m in bad[key])}
    grave = [
        key for key in bad if key not in dialled | renewed and (len(names[key]) <= SCANNED or key[:2] in served or key[1::-1] in served)
    ]
    shown = grave or list(bad)
    answers = [m for key in shown for _, m in bad[key]]
    what = "registration" if all(key[2] == "REGISTER" for key in shown) else "call"
    codes = Counter(m.status for m in answers)
    code = codes.most_common(1)[0][0]
    refused = len({each[:2] for key in shown for each, _ in bad[key]})  # not twice on two ways
    all_ = len({key[:2] for key, m in asked.items() if (m.source, m.destination, m.method) in shown})
    text = (
        f"{refused:,} of {plural(all_, what)} to {most(m.source for m in answers)} were refused, and none got through: "
        f"{most(f'{m.status} {_WORDS[m.status]}' if m.status in _WORDS else str(m.status) for m in answers)}."
    )
    values = {"calls": all_, "refused": refused, "replies": sorted(codes)}
    return [
        graded(view, ID, grave, text, [m.frame for m in answers], values, _ADVICE.get(code, "The server's log says what it did not like."))
    ]


def _away(view: View, messages: list[Message]) -> list[Finding]:
    """Callers none of whose calls to one name rings, as nobody is there (480): a phone that is switched off, or lost its registration; of many names, and none
    that rings, something is wrong with all."""
    asked: dict[tuple[str, int], set[int]] = defaultdict(set)
    said: dict[tuple[str, int], list[Message]] = defaultdict(list)
    rings: set[tuple[str, int]] = set()
    names: dict[int, int] = {}
    for m in messages:
        if m.method != "INVITE":
            continue
        if not m.status:
            names.setdefault(m.call, m.whom)
            asked[m.source, m.whom].add(m.call)
        elif (m.status >= 180 or m.status == _AWAY) and m.call in names and m.status not in _ASKS_WHO:
            (said[m.destination, names[m.call]].append(m) if m.status == _AWAY else rings.add((m.destination, names[m.call])))
    away = {key: these for key, these in said.items() if key not in rings and len({m.call for m in these}) >= TIMES}
    if not away:
        return []
    by_caller = grouped(away, lambda key: key[0])
    reached = {caller for caller, _ in rings}
    all_away = {caller for caller, whom in by_caller.items() if len(whom) >= DIALLED and caller not in reached}
    all_away -= {caller for caller in all_away if _hunts(messages, caller, [m for key in by_caller[caller] for m in away[key]])}
    shown = {key: these for key, these in away.items() if key[0] in all_away} or away
    n, of = (
        len({(key[0], call) for key in shown for call in calls[key]})
        for calls in ({k: {m.call for m in v} for k, v in shown.items()}, asked)
    )
    answers = [m for these in shown.values() for m in these]
    text = (
        f"{n:,} of {plural(of, 'call')} to {plural(len({whom for _, whom in shown}), 'name')} found nobody there: {most(m.source for m in answers)} said 480 "
        "Temporarily Unavailable each time, before any phone rang."
    )
    values = {"calls": of, "refused": n, "replies": [_AWAY]}
    advice = "The phones are not registered there any more (or all are switched off): see the server's list of registrations, and their REGISTERs."
    return [graded(view, ID, all_away, text, [m.frame for m in answers], values, advice)]


def _hunts(messages: list[Message], caller: str, away: list[Message]) -> bool:
    """Whether a caller asks for the next name as soon as nobody is there, as a queue does that tries its agents in turn, whoever is at work."""
    begun = sorted(m.ts for m in messages if m.method == "INVITE" and not m.status and not m.inside and m.source == caller)
    following = [at for m in away if (at := bisect_left(begun, m.ts)) < len(begun) and begun[at] - m.ts <= IN_TURN_NS]
    return 2 * len(following) > len(away)


def _broken_off(view: View, messages: list[Message]) -> list[Finding]:
    """Calls with a request inside that is sent again and again without an answer, until its sender ends the call; where what it hears is in the capture."""
    found = []
    heard = {(m.source, m.destination) for m in messages}
    by_call = grouped((m for m in messages if m.method in ("INVITE", "UPDATE", "BYE")), lambda m: m.call)
    begun = 0
    for these in by_call.values():
        taken = next((m for m in these if m.method == "INVITE" and 200 <= m.status < 300), None)
        if taken is None:
            continue
        begun += 1
        for bye in (m for m in these if m.method == "BYE" and not m.status and (m.destination, m.source) in heard):
            inside = [m for m in these if m.inside and m.method != "BYE" and m.source == bye.source and taken.ts < m.ts < bye.ts]
            answered = {_request(m) for m in these if m.status and m.destination == bye.source}
            vain = [m for m in inside if _request(m) == _request(inside[-1])]
            if len(vain) >= TIMES and vain[-1].ts - vain[0].ts >= SPAN_NS and _request(vain[-1]) not in answered:
                found.append((bye, vain))
                break
    if not found:
        return []
    whom = most(bye.destination for bye, _ in found)
    timer = all(bye.timer for bye, _ in found)
    text = (
        f"{len(found):,} of {plural(begun, 'call')} {'was' if len(found) == 1 else 'were'} ended as a request within the call "
        f"({most(v[0].method for _, v in found)}) got no answer from {whom}{', and the end says so (408, session timer)' if timer else ''}."
    )
    values = {"calls": begun, "broken_off": len(found)}
    advice = (
        "The refresh of the session (RFC 4028) does not arrive or is not answered: look for a firewall or SIP ALG that forgets the call, and at the other end; "
        "or lengthen Session-Expires."
    )
    return [finding(view, ID, "problem", text, [f.frame for bye, vain in found for f in (bye, *vain)], values, advice)]


def _request(m: Message) -> tuple[str, int]:
    """What stays the same within a call when a request is sent again, and stands in its answer."""
    return m.method, m.number


def _taken(messages: Iterable[Message]) -> dict[tuple[str, int], set[int]]:
    """Formats that ends named, by where they take media."""
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    for m in messages:
        for each in m.media:
            found[_place(each)] |= each.formats
    return found


def _times(messages: list[Message]) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """From when to when the calls last in which an end named where it takes media."""
    answered = {m.call for m in messages if m.method == "INVITE" and 200 <= m.status < 300}
    over: dict[int, int] = {}
    for m in messages:
        refused = m.method == "INVITE" and m.status >= 300 and m.status not in _ASKS_WHO and m.call not in answered
        if m.method == "BYE" or refused:
            over.setdefault(m.call, m.ts)
    begun: dict[tuple[tuple[str, int], int], int] = {}
    for m in messages:
        for each in m.media:
            begun.setdefault((_place(each), m.call), m.ts)
    found: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for (place, call), ts in begun.items():
        found[place].append((ts, over.get(call, NEVER)))
    return found


def _place(media: Media) -> tuple[str, int]:
    return media.address, media.port


def _formats(view: View, messages: list[Message]) -> list[Finding]:
    """Streams most of whose packets have a format that their receiver did not name."""
    taken, times = _taken(messages), _times(messages)
    ends = grouped(view.conversations, lambda t: (t.source[1], t.destination[1]))
    found = []
    for part in view.once(streams):
        talks = ends[ports(part)]
        if len(talks) != 1 or not {talks[0].source, talks[0].destination} <= taken.keys() or not is_rtp(part):
            continue
        talk = talks[0]
        part = part[np.any([(part[:, TS] >= begin) & (part[:, TS] <= end) for begin, end in times[talk.destination]], axis=0)]
        if len(part) < PACKETS:
            continue
        kinds = part[:, KIND]
        foreign = ~np.isin(kinds, [*taken[talk.destination], *NOISE])
        if foreign.mean() >= FOREIGN:
            found.append((talk, int(np.bincount(kinds[foreign]).argmax()), part[foreign, FRAME]))
    if not found:
        return []
    grave = [each for each in found if each[1] < STATIC]
    shown = grave or found
    talk, kind, _ = shown[0]
    named = ", ".join(map(str, sorted(taken[talk.destination])))
    text = (
        f"{plural(len(shown), 'stream')} of RTP {'has' if len(shown) == 1 else 'have'} a format that the receiver did not name: payload type {kind} to "
        f"{endpoint(*talk.destination)}, which takes {named}."
    )
    values = {"streams": len(shown), "payload_types": sorted({kind for _, kind, _ in shown})}
    advice = "The sender does not keep to what was agreed (SDP): set the same codecs at both ends, or see why it changes them (transcoding, an SBC)."
    return [graded(view, ID, grave, text, [int(frames[0]) for *_, frames in shown], values, advice)]


def _unheard(view: View, messages: list[Message]) -> list[Finding]:
    """Media to a port that was named for them, of which ICMP says from the first to the last that nobody listens there."""
    times = _times(messages)
    talks = {(t.source, t.destination): t for t in view.conversations if {t.source, t.destination} <= times.keys()}
    found = []
    for (protocol, source, destination), errors in view.once(undelivered).items():
        talk = talks.get((source, destination)) if protocol == UDP else None
        if (
            talk is not None
            and talk.datagrams >= UNHEARD
            and len(errors) >= TIMES
            and errors[-1].ts - errors[0].ts >= UNHEARD_NS
            and any(begin <= errors[0].ts <= end for begin, end in times[destination])
            and errors[0].ts - talk.first_ns <= S
            and talk.last_ns - errors[-1].ts <= TOLD_NS
            and all(e.reporter == destination[0] for e in errors)
        ):
            found.append((talk, errors))
    if not found:
        return []
    sent = sum(talk.datagrams for talk, _ in found)
    text = (
        f"{plural(sent, 'packet')} of media reached nobody: {most(endpoint(*talk.destination) for talk, _ in found)} was named for them (SDP), and answers "
        "that the port is unreachable."
    )
    values = {"packets": sent, "icmp_errors": sum(len(errors) for _, errors in found), "streams": len(found)}
    advice = "The phone does not listen where it said: its program has stopped, or a firewall of its own rejects RTP; check the range of RTP ports."
    return [finding(view, ID, "problem", text, [f for talk, errors in found for f in (talk.first_frame, errors[0].frame)], values, advice)]


def _stopped(view: View, found: list[tuple[Conversation, Conversation, int]], talking: int) -> list[Finding]:
    """Calls in which one end sends voice no more, though it goes on: its voice is lost, or it takes in and says nothing, as an answering machine may."""
    if not found:
        return []
    longest = max(silence for *_, silence in found)
    text = (
        f"Voice stopped one way in {len(found):,} of {plural(talking, 'call')}: {most(endpoint(*back.source) for _, back, _ in found)} sent none any more for "
        f"{seconds(longest)}{' and less' if len(found) > 1 else ''}, and the other end went on."
    )
    values = {"calls": talking, "stopped": len(found), "longest_s": longest / 1e9}
    return [finding(view, ID, "warning", text, [talk.first_frame for talk, *_ in found], values)]


def _one_way(view: View, messages: list[Message]) -> list[Finding]:
    """Calls in which one end sends voice for seconds and the other none at all, though both said that they send and take it, from a host whose other packets
    to the first one are in the capture."""
    sent = {(t.source, t.destination): t for t in view.conversations}
    ways = {(t.source[0], t.destination[0]) for t in view.conversations}
    reached = {t.destination for t in view.conversations}
    said_of = view.once(undelivered)
    rtp = {ports(part): set(part[:, KIND].tolist()) for part in view.once(streams) if is_rtp(part)}
    found: list[tuple[Conversation, int]] = []
    stopped: list[tuple[Conversation, Conversation, int]] = []
    calls = grouped(messages, lambda m: m.call)
    talking = 0
    for these in calls.values():
        taken = next((m for m in these if m.method == "INVITE" and 200 <= m.status < 300), None)
        places = {(m.source, *_place(each)) for m in these for each in m.media}
        if taken is None or len(places) != 2 or not all(each.talks and each.address == m.source for m in these for each in m.media):
            continue
        talking += 1
        end = next((m.ts for m in these if m.method == "BYE" and not m.status), NEVER)
        (one, other) = sorted((address, port) for _, address, port in places)
        for here, there in ((one, other), (other, one)):
            talk, back = sent.get((here, there)), sent.get((there, here))
            kinds = rtp.get((here[1], there[1]), set())
            pauses = not kinds <= ALL_THE_TIME or any(each.formats & {*NOISE} for m in these for each in m.media)
            if talk is not None and back is not None and kinds and not pauses:
                silence = min(talk.last_ns, end) - max(back.last_ns, taken.ts)
                stopped += [(talk, back, silence)] if silence >= ALL_THE_TIME_NS else []
            if talk is None or here in reached or (there[0], here[0]) not in ways or (UDP, here, there) in said_of:
                continue
            lasted = min(talk.last_ns, end) - max(talk.first_ns, taken.ts)
            if talk.datagrams >= ONE_WAY and lasted >= (ONE_WAY_NS if pauses else ALL_THE_TIME_NS) and kinds:
                found.append((talk, lasted))
    if not found:
        return _stopped(view, stopped, talking)
    n = sum(talk.datagrams for talk, _ in found)
    text = (
        f"Voice goes one way in {len(found):,} of {plural(talking, 'call')}: {plural(n, 'packet')} of RTP went to "
        f"{most(endpoint(*talk.destination) for talk, _ in found)}, and none came back to {most(endpoint(*talk.source) for talk, _ in found)}, though both "
        "ends said that they send and take it (SDP)."
    )
    values = {"calls": talking, "one_way": len(found), "packets": n, "longest_s": max(lasted for _, lasted in found) / 1e9}
    advice = (
        "The other end sends nothing, or elsewhere: look at its microphone and codec, at whether it sends to an address that it reaches (NAT, SIP ALG), and at "
        "firewalls between for its range of RTP ports."
    )
    return [finding(view, ID, "problem", text, [talk.first_frame for talk, _ in found], values, advice)]


def _astray(view: View, messages: list[Message]) -> list[Finding]:
    """Voice that goes to a private address which a phone behind NAT names, and that nobody has here, while the phone's own voice comes from another one, and
    gets none: the other end does not answer to where voice comes from, as most do (symmetric RTP, RFC 4961; RFC 3581 does it for the messages)."""
    sent = {(t.source, t.destination): t for t in view.conversations}
    by_host = grouped((t for t in sent.values() if t.datagrams >= ONE_WAY), lambda t: (t.source[0], t.destination))
    here = {t.source[0] for t in view.conversations} | {address for k in view.whole for address in view.ends(k)[::2]}
    said_of = view.once(undelivered)
    rtp = {ports(part): set(part[:, KIND].tolist()) for part in view.once(streams) if is_rtp(part)}
    found: list[tuple[Conversation, Conversation]] = []
    for these in grouped(messages, lambda m: m.call).values():
        taken = next((m for m in these if m.method == "INVITE" and 200 <= m.status < 300), None)
        if taken is None:
            continue
        end = next((m.ts for m in these if m.method == "BYE" and not m.status), NEVER)
        named = {(m.source, m.destination, _place(each)) for m in these for each in m.media if each.talks}
        for source, peer, place in named:
            if place[0] == source or place[0] in here or not ip_address(place[0]).is_private:
                continue
            for other in {their for whose, whom, their in named if (whose, whom) == (peer, source)}:
                talk = sent.get((other, place))
                own = by_host.get((source, other), [])
                if talk is None or len(own) != 1 or (other, own[0].source) in sent or (UDP, other, place) in said_of:
                    continue
                kinds, theirs = rtp.get((other[1], place[1]), set()), rtp.get((own[0].source[1], other[1]), set())
                least = ALL_THE_TIME_NS if kinds <= ALL_THE_TIME else ONE_WAY_NS
                lasted = min(talk.last_ns, own[0].last_ns, end) - max(talk.first_ns, own[0].first_ns, taken.ts)
                to_the_end = talk.last_ns >= min(own[0].last_ns, end) - S
                if kinds and theirs and talk.datagrams >= ONE_WAY and lasted >= least and to_the_end:
                    found.append((talk, own[0]))
    if not found:
        return []
    # between inner networks there may be a way to that address, beside the capture
    grave = not all(_is_inner(own.source[0]) for _, own in found)
    server = found[0][0].source[0]
    n = sum(each.datagrams for each, _ in found)
    text = (
        f"Voice goes astray in {plural(len(found), 'call')}: {plural(n, 'packet')} of RTP went to {most(endpoint(*each.destination) for each, _ in found)}, a "
        "private address that the other end named (SDP) and nobody has here, while its own voice came from "
        f"{most(endpoint(*each.source) for _, each in found)}, to which none was sent{': one-way audio' if grave else ''}."
    )
    values = {"calls": len(found), "packets": n}
    advice = (
        f"The phone is behind NAT: have {server} send to where its voice comes from (symmetric RTP; nat=force_rport,comedia or rtp_symmetric of "
        "Asterisk), or let the phone name its outer address (STUN, external address); a SIP ALG on the way may have changed one of both only."
    )
    advice = advice if grave else f"If the other end hears nothing: {advice[0].lower()}{advice[1:]}"
    frames = [f for pair in found for f in (pair[0].first_frame, pair[1].first_frame)]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _is_inner(address: str) -> bool:
    return any(ip_address(address) in net for net in _INNER)
