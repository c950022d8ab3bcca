"""Do tunnels and associations beside TCP and UDP get anything back?

Asks: whether packets of SCTP that ask for an association, of GRE behind a call of PPTP, or of ESP (in UDP, too) go one way, and none comes back; whether
    registrations of NHRP, by which spokes of DMVPN tell a hub where they are, get no reply for long, or one that refuses.
Applies: where the sender hears something else in the capture, so that it was not recorded in one direction, or sends the same INIT again: who gets any
    answer to one does not.
Cannot see: whether they do not arrive, or the answers do not; what is inside ESP.
Normal: SCTP answers an INIT at once (RFC 9260 5.1), by an ABORT if it does not want to; a client that has its association with another server needs none.
    Both ends of PPTP speak PPP over GRE (RFC 2637 4), whose requests must be answered (RFC 1661 5). What needs no answer may go through ESP, as logs do, or the
    way back may be another one: that is a warning. A hub replies to each registration of NHRP (RFC 2332 5.2.3), which else comes again after 1, 2, 4 s and so
    on. Where ICMP says why, unreachable tells it.
"""

from __future__ import annotations

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._datagrams import hearing
from netlens.lenses._said import undelivered
from netlens.lenses._view import S, View, finding, graded, most, seconds
from netlens.parsers.carried import ESP, GRE, SCTP, Carried
from netlens.parsers.nhrp import Registration
from netlens.text import plural

ID = "one-way"
GROUP = "handshakes"
RANK = 16
TIMES, SPAN_NS = 3, 3 * S  #: as SYNs of connect-unanswered
MANY, LONG_NS = 20, 10 * S  #: packets of ESP
PPTP = 1723
UNREGISTERED, UNREGISTERED_NS = 3, 30 * S  #: registrations in a row without a reply
_CODES = {
    4: "prohibited",
    5: "no resources",
    9: "no such binding",
    13: "address used by another",
    14: "address used, and given up",
    15: "address not unique",
}

Pairs = dict[tuple[str, str], Carried]


def look(view: View) -> list[Finding]:
    """At most one of each protocol."""
    return [*_carried(view), *_registrations(view)]


def _carried(view: View) -> list[Finding]:
    carried = view.side.capture.carried
    if not carried:
        return []
    told = {(protocol, source, destination) for protocol, (source, _), (destination, _) in view.once(undelivered)}
    alone: dict[int, Pairs] = {}
    for (protocol, source, destination), sent in carried.items():
        if (protocol, destination, source) not in carried and is_one_host(destination) and (protocol, source, destination) not in told:
            alone.setdefault(protocol, {})[source, destination] = sent
    return [*_associations(view, alone.get(SCTP, {})), *_calls(view, alone.get(GRE, {})), *_encrypted(view, alone.get(ESP, {}))]


def _lasts(sent: Carried, times: int, span_ns: int) -> bool:
    return sent.packets >= times and sent.last_ns - sent.first_ns >= span_ns


def _associations(view: View, pairs: Pairs) -> list[Finding]:
    heard = view.once(hearing)
    carried = view.side.capture.carried
    served = {
        (here, c.port) for (protocol, here, there), c in carried.items() if c.openings < c.packets and (protocol, there, here) in carried
    }
    silent = {
        (here, there): c
        for (here, there), c in pairs.items()
        if c.openings == c.packets
        and _lasts(c, TIMES, SPAN_NS)
        and (here in heard or c.repeats >= TIMES - 1)
        and (here, c.port) not in served
    }
    if not silent:
        return []
    text = (
        f"{most(there for _, there in silent)} never answered over SCTP: {most(here for here, _ in silent)} sent {_sent(silent, 'INIT')}."
    )
    advice = "No program listens there, or something drops SCTP (IP protocol 132), as most NAT does: look at the firewalls between, and at the service."
    return [_found(view, True, text, silent, advice)]


def _calls(view: View, pairs: Pairs) -> list[Finding]:
    calling = {frozenset(view.ends(k)[::2]) for k in view.whole if view.ends(k)[3] == PPTP}
    silent = {pair: c for pair, c in pairs.items() if frozenset(pair) in calling and _lasts(c, TIMES, SPAN_NS)}
    if not silent:
        return []
    text = (
        f"PPTP: the control connection works, but nothing comes back through the tunnel (GRE): {most(here for here, _ in silent)} sent "
        f"{_sent(silent, 'packet')} to {most(there for _, there in silent)}."
    )
    advice = "Something drops GRE (IP protocol 47): let it through the firewalls on both sides, and switch PPTP on in NAT routers (PPTP passthrough)."
    return [_found(view, True, text, silent, advice)]


def _encrypted(view: View, pairs: Pairs) -> list[Finding]:
    heard = view.once(hearing)
    silent = {pair: c for pair, c in pairs.items() if _lasts(c, MANY, LONG_NS) and pair[0] in heard}
    if not silent:
        return []
    ends = f"{most(here for here, _ in silent)} to {most(there for _, there in silent)}"
    text = f"IPsec goes one way, from {ends}: {_sent(silent, 'packet')} of ESP, and none came back."
    return [_found(view, False, text, silent, "")]


def _registrations(view: View) -> list[Finding]:
    silent: dict[tuple[str, str], list[Registration]] = {}
    refused: dict[tuple[str, str], list[Registration]] = {}
    heard = view.once(hearing)
    carried = view.side.capture.carried
    for (spoke, hub), said in view.side.capture.registrations.items():
        last = next((each for each in reversed(said) if each.code >= 0), None)
        if last is not None and last.code > 0:
            refused[spoke, hub] = [each for each in said if each.code > 0]
        elif (GRE, hub, spoke) in carried or spoke in heard:
            run = _unanswered(said)
            if len(run) >= UNREGISTERED and run[-1].ts - run[0].ts >= UNREGISTERED_NS:
                silent[spoke, hub] = run
    found = []
    if silent:
        asked, lasted = sum(map(len, silent.values())), max(run[-1].ts - run[0].ts for run in silent.values())
        text = (
            f"NHRP: {most(hub for _, hub in silent)} did not reply to {plural(asked, 'registration')} of {most(spoke for spoke, _ in silent)} over "
            f"{seconds(lasted)}."
        )
        values = {"pairs": len(silent), "registrations": asked, "longest_s": lasted / 1e9}
        advice = (
            "The hub does not hear its spoke, or does not take it: compare network ID, tunnel key and authentication, and look at its log."
        )
        found.append(finding(view, ID, "problem", text, [each.frame for run in silent.values() for each in run], values, advice))
    if refused:
        codes = most(f"{_CODES.get(each.code, 'error')} ({each.code})" for run in refused.values() for each in run)
        count = sum(map(len, refused.values()))
        text = f"NHRP: {most(hub for _, hub in refused)} refused {plural(count, 'registration')} of {most(spoke for spoke, _ in refused)}: {codes}."
        advice = (
            "The hub has another entry for that address, or no room: look at its table (show ip nhrp), and at spokes with the same address."
        )
        found.append(
            finding(view, ID, "problem", text, [each.frame for run in refused.values() for each in run], {"refused": count}, advice)
        )
    return found


def _unanswered(said: list[Registration]) -> list[Registration]:
    """The longest run of requests behind which no reply came."""
    longest: list[Registration] = []
    run: list[Registration] = []
    for k, each in enumerate(said):
        answered = each.code >= 0 or (k + 1 < len(said) and said[k + 1].code >= 0)
        run = [] if answered else [*run, each]
        longest = max(longest, run, key=len)
    return longest


def _sent(pairs: Pairs, what: str) -> str:
    lasted = max(c.last_ns - c.first_ns for c in pairs.values())
    return f"{plural(sum(c.packets for c in pairs.values()), what)} over {seconds(lasted)}"


def _found(view: View, grave: bool, text: str, pairs: Pairs, advice: str) -> Finding:
    lasted = max(c.last_ns - c.first_ns for c in pairs.values())
    values = {"pairs": len(pairs), "packets": sum(c.packets for c in pairs.values()), "longest_s": lasted / 1e9}
    return graded(view, ID, grave, text, [c.first_frame for c in pairs.values()], values, advice)
