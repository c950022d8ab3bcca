"""Which sessions of BFD went down, or never came up?

Asks: whether a router that was up says that the session is down, or says nothing else for seconds.
Applies: where its control packets are in the capture.
Cannot see: whether the peer, or the link between, is at fault; sessions in MPLS.
Normal: a session begins down and is up within seconds (RFC 5880 6.2); an administrator takes one down (state AdminDown, diagnostic 7). One that comes up
    again cost what the routes behind it cost, a problem where it falls again and again, also under a new discriminator, as routers make a session anew whose
    configuration changes; where the neighbour signalled each fall, it may be its administrator. One that never comes up is a problem where its end names no
    peer, so that it hears nothing (6.8.1), or says Init to the last, so that it is not heard (6.2); what stays down although it hears the peer may wait for
    an administrator there.
"""

from __future__ import annotations

import itertools

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most, seconds
from netlens.parsers.bfd import ADMIN_DOWN, DOWN, INIT, UP, Change
from netlens.text import plural

ID = "bfd-down"
GROUP = "delivery"
RANK = 47
#: So many packets over this time without coming up: while a session is down each end sends one a second (RFC 5880 6.8.3), or after three quarters of it
#: (6.8.7), so a peer that is there would have been heard three times
TIMES, SPAN_NS = 3, 9 * S // 4
ADMINISTRATOR = 7
#: Falls of one session, and within how long: routes that fall so often are damped (RFC 2439 4.2: 1 for each, halved in 15 min, and above 2 they are put by)
FLAPS, FLAPS_NS = 3, 900 * S
#: RFC 5880 4.1
SIGNALLED = 3
_DIAGNOSTICS = {1: "control detection time expired", 2: "echo function failed", SIGNALLED: "the neighbour signalled it", 4: "forwarding plane reset",
                5: "path down", 6: "concatenated path down", 8: "reverse concatenated path down"}  # fmt: skip


def look(view: View) -> list[Finding]:
    """Sessions that went down, and such that never came up."""
    return [*_fell(view), *_never_up(view)]


def _fell(view: View) -> list[Finding]:
    now = view.side.capture.bfd
    fallen = {
        pair: falls
        for pair, said in now.items()
        if (falls := [b for a, b in itertools.pairwise(said) if a.state == UP and _is_down(b) and not _is_of_administrator(now, pair, b)])
    }
    if not fallen:
        return []
    left = [pair for pair in fallen if _is_down(now[pair][-1]) and not _is_up_anew(now, pair)]
    both = grouped(fallen, _ends)  # the two ends of one session
    times = sum(max(len(fallen[pair]) for pair in pairs) for pairs in both.values())
    said = {b.diagnostic for falls in fallen.values() for b in falls if b.diagnostic in _DIAGNOSTICS}
    why = sorted(_DIAGNOSTICS[each] for each in (said - {SIGNALLED} or said))
    routers = most("{} with {}".format(*pairs[0][:2]) for pairs in both.values())
    told = f" ({', '.join(why)})" if why else ""
    end = "" if left else "; up again since"
    text = f"BFD went down {plural(times, 'time')}: {routers}{told}{end}."
    still = len({_ends(pair) for pair in left})
    values = {"sessions": len(both), "times": times, "still_down": still, "diagnostics": why}
    # what the neighbour signalled its administrator may have done
    own = [[b for b in falls if b.diagnostic != SIGNALLED] for falls in fallen.values()]
    flapping = any(len(falls) >= FLAPS and falls[FLAPS - 1].ts - falls[0].ts <= FLAPS_NS for falls in own)
    advice = "The peer is gone, or its packets do not arrive: look at the link and at the peer, and whether the detection time is too short for this path."
    frames = [b.frame for falls in fallen.values() for b in falls]
    return [graded(view, ID, bool(left or flapping), text, frames, values, advice)]


def _ends(pair: tuple[str, str, int]) -> frozenset[str]:
    """Of one session, whichever of its ends speaks."""
    return frozenset(pair[:2])


def _is_down(change: Change) -> bool:
    return change.state in (DOWN, INIT) and change.diagnostic != ADMINISTRATOR


def _is_of_administrator(sessions: dict[tuple[str, str, int], list[Change]], pair: tuple[str, str, int], fall: Change) -> bool:
    """Whether an end went down because the neighbour signalled that its administrator took the session down (RFC 5880 6.8.6, 6.8.16)."""
    if fall.diagnostic != SIGNALLED:
        return False
    return any(
        (there, here) == pair[:2] and change.state == ADMIN_DOWN and change.ts - S <= fall.ts <= change.last_ns + S
        for (here, there, _), said in sessions.items()
        for change in said
    )


def _never_up(view: View) -> list[Finding]:
    sessions = view.side.capture.bfd
    idle = {
        pair: said
        for pair, said in sessions.items()
        if all(map(_is_down, said))
        and sum(change.packets for change in said) >= TIMES
        and said[-1].last_ns - said[0].ts >= SPAN_NS
        and not _is_up_anew(sessions, pair)
    }
    if not idle:
        return []
    cut_off = {pair: said for pair, said in idle.items() if _is_cut_off(said) and not _is_told_to_stay(sessions, pair)}
    shown = cut_off or idle
    lasted = max(said[-1].last_ns - said[0].ts for said in shown.values())
    packets = sum(change.packets for said in shown.values() for change in said)
    routers = most(f"{here} with {there}" for here, there, _ in shown)
    text = f"BFD never came up: {routers} ({plural(packets, 'packet')} over {seconds(lasted)})."
    values = {"sessions": len(shown), "packets": packets, "longest_s": lasted / 1e9}
    frames = [change.frame for said in shown.values() for change in said]
    advice = "Nothing of the peer arrives, or nothing arrives there: look at its configuration (addresses, authentication), the link, and filters of UDP 3784."
    return [graded(view, ID, cut_off, text, frames, values, advice)]


def _is_up_anew(sessions: dict[tuple[str, str, int], list[Change]], pair: tuple[str, str, int]) -> bool:
    """Whether an end gave a session up and has it up by another number since, as after a change of its configuration."""
    last = sessions[pair][-1].last_ns
    return any(each[:2] == pair[:2] and said[0].ts > last and said[-1].state == UP for each, said in sessions.items())


def _is_cut_off(said: list[Change]) -> bool:
    """Whether an end hears nothing (Down, without the peer's number), or is not heard (Init, which an answer would end)."""
    return said[-1].state == INIT or not any(change.heard for change in said)


def _is_told_to_stay(sessions: dict[tuple[str, str, int], list[Change]], pair: tuple[str, str, int]) -> bool:
    """Whether the administrator of the other end holds a session down."""
    return any((there, here) == pair[:2] and change.state == ADMIN_DOWN for (here, there, _), said in sessions.items() for change in said)
