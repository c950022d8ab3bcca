"""Which echo requests (ping) got no reply?

Asks: how many ICMP echo requests to one address stayed without a reply.
Applies: where requests are in the capture. If nothing at all came back to their sender, the capture may hold the requests alone: it is a warning, but for
    those of which nobody would go on so long.
Cannot see: whether the request or the reply was lost; whether a host that ignores ping is up.
Normal: RFC 1122 3.2.2.6 has every host answer, yet firewalls drop echoes, and routers answer few of them: no reply at all from a host that speaks
    otherwise says nothing. One or two of many may be lost anywhere; not ten in a row, over ten seconds. What was asked in the last second, or twice the
    longest time that a reply took, is pending. Where small ones are answered and large ones are not, a link on the way carries no packets of that size, or a
    firewall no fragments, and who sends them is not told (RFC 2923 2.1). Echoes of traceroute, which are to expire on the way, are not counted: those with
    one hop, or with few and then others.
"""

from __future__ import annotations

from collections import Counter

from netlens.addresses import is_one_host
from netlens.lenses import Finding, Severity
from netlens.lenses._datagrams import hearing
from netlens.lenses._said import ICMP, undelivered
from netlens.lenses._said import errors as icmp_errors
from netlens.lenses._said import said as said_of
from netlens.lenses._view import S, View, finding, grouped, most
from netlens.parsers.asking import Ping
from netlens.parsers.icmp import EXPIRED
from netlens.text import plural

ID = "ping-unanswered"
GROUP = "delivery"
RANK = 46
PENDING_NS = S
TIMES, SHARE = 3, 0.05  #: of the requests to one address
IN_A_ROW, GAP_NS = 10, 10 * S  #: of many that were answered
_SIZE = (
    "A link on the way does not carry packets that large, or a firewall drops fragments: find the size that passes (ping -M do -s SIZE), lower the MTU (ip "
    "link set dev DEV mtu 1400), and let ICMP (fragmentation needed, packet too big) and fragments through."
)
MANY = 8  #: addresses from which nothing came: somebody looks around


def look(view: View) -> list[Finding]:
    capture = view.side.capture
    asking = capture.asking
    if not asking.pings:
        return []
    end = view.side.bounds_ns[1]
    heard = hearing(view) | {p.source for p in asking.pings.values() if p.answers}
    speaking = {address for k in view.whole for address in view.ends(k)[::2]}
    lossy: list[tuple[str, int, list[int]]] = []
    cut: list[tuple[str, int, list[int], tuple[int, int]]] = []
    silent: list[tuple[str, int, list[int]]] = []
    unheard: list[tuple[str, int, list[int]]] = []  # nothing at all came to who asked
    # too large for a link, say: that is an answer
    refused = Counter(e.destination[0] for e in view.once(icmp_errors) if e.protocol in ICMP)
    expired = {e.destination[0] for e in view.once(icmp_errors) if e.protocol in ICMP and e.what == EXPIRED}
    seen_from = speaking | asking.claims.keys() | {t.source[0] for t in view.conversations} | {e.reporter for e in capture.icmp_errors}
    by_host: dict[tuple[str, str], list[Ping]] = grouped(asking.pings.values(), lambda p: (p.source, p.destination))
    for (source, target), pings in by_host.items():
        if target in expired and any(p.few for p in pings):
            continue  # as whoever asked may have wanted
        took = max((p.answers[n].ts - p.requests[n].ts for p in pings for n in p.answers), default=0)
        pending = max(PENDING_NS, 2 * took)
        asked = [(n, seen, p) for p in pings for n, seen in p.requests.items() if n in p.answers or end - seen.ts >= pending]
        asked = [each for each in asked if each[2].sizes[each[0]]] or asked  # without such as Ethernet does not carry
        open_ = [seen.frame for n, seen, p in asked if n not in p.answers]
        said = 0 if len(open_) == len(asked) else refused[target]
        too_large = _too_large([(p.sizes[n], n in p.answers) for n, _, p in asked])
        if too_large and not said:
            cut.append((target, len(asked), open_, too_large))
            continue
        few = len(open_) < SHARE * len(asked) and not _is_gap([(seen.ts, n in p.answers) for n, seen, p in asked])
        if len(open_) - said < TIMES or few or not is_one_host(target):
            continue
        if len(open_) < len(asked):
            lossy.append((target, len(asked), open_))
        elif source in heard and target not in speaking:
            silent.append((target, len(asked), open_))
        elif not view.hears_nothing(source) and target not in seen_from:
            unheard.append((target, len(asked), open_))
    shown = lossy or silent or (unheard if len(unheard) <= MANY else [])
    return [*_of_size(view, cut), *([_of(view, shown, bool(lossy), shown is unheard)] if shown else [])]


def _of_size(view: View, cut: list[tuple[str, int, list[int], tuple[int, int]]]) -> list[Finding]:
    if not cut:
        return []
    target, sent, lost, (answered, largest) = max(cut, key=lambda each: len(each[2]))
    others = f", and so it is of {plural(len(cut) - 1, 'other host')}" if len(cut) > 1 else ""
    text = (
        f"{len(lost):,} of {plural(sent, 'ping')} to {target} got no reply: none in a packet of {largest:,} bytes or more did, while smaller ones, of up to "
        f"{answered:,} bytes, did{others}."
    )
    values = {
        "sent": sent,
        "answered": sent - len(lost),
        "hosts": sorted(target for target, *_ in cut),
        "unanswered_bytes": largest,
        "answered_bytes": answered,
    }
    return [finding(view, ID, "problem", text, [f for _, _, frames, _ in cut for f in frames], values, _SIZE)]


def _too_large(asked: list[tuple[int, bool]]) -> tuple[int, int] | None:
    """Of requests (bytes, whether answered) the largest that was answered, and the smallest of those larger ones of which none was; None where a large one
    was lost by chance, or none was."""
    answered = max((size for size, is_answered in asked if is_answered), default=0)
    larger = Counter(size for size, _ in asked if size > answered)
    return (answered, min(larger)) if answered and max(larger.values(), default=0) >= TIMES else None  # who tries sizes has few of each


def _of(view: View, shown: list[tuple[str, int, list[int]]], lossy: bool, unheard: bool) -> Finding:
    sent = sum(n for _, n, _ in shown)
    lost = sum(len(frames) for *_, frames in shown)
    hosts = {target for target, *_ in shown}
    errors_of = [e for about, each in view.once(undelivered).items() if about[0] in ICMP and about[2][0] in hosts for e in each]
    why = f"; {said_of(errors_of)}" if errors_of and not lossy else ""
    if unheard:
        why += "; nothing that was sent back is in the capture"
    text = f"{lost:,} of {plural(sent, 'ping')} to {most(target for target, *_ in shown)} got no reply{why}."
    values = {"sent": sent, "answered": sent - lost, "hosts": sorted(hosts)}
    circling = not lossy and {e.what for e in errors_of} == {EXPIRED}  # those of traceroute are not among them
    long = unheard and len(hosts) == 1 and lost >= IN_A_ROW and view.side.bounds_ns[1] - view.side.bounds_ns[0] >= GAP_NS
    severity: Severity = "problem" if lossy or circling or long or not (unheard or view.whole) else "warning"
    advice = (
        "Packets are lost on the way there or back: mtr HOST shows where it begins."
        if lossy
        else "The host is off, there is no route there or back, or a firewall drops ping: try a TCP port that it serves."
    )
    if circling:
        advice = (
            f"Packets go in circles: look at the routes of {most(e.reporter for e in errors_of)} and of the routers beside it (ip route)."
        )
    return finding(view, ID, severity, text, [f for *_, frames in shown for f in frames], values, advice)


def _is_gap(asked: list[tuple[int, bool]]) -> bool:
    """Whether of requests (when, whether answered) so many in a row were not that the way was closed."""
    gap: list[int] = []
    for ts, answered in sorted(asked):
        gap = [] if answered else [*gap, ts]
        if len(gap) >= IN_A_ROW and ts - gap[0] >= GAP_NS:
            return True
    return False
