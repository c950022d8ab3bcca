"""Which requests did a server close on, without a byte?

Asks: whether a server acknowledged what a client had asked, and then closed the connection without having sent anything.
Applies: to connections captured in both directions from their beginning. HTTP is covered by http-errors, TLS by tls-failed.
Cannot see: what was asked, where the port does not say which protocol it is; then it is a warning.
Normal: what only takes in (syslog, printers, metrics) answers nothing, and closes when it is idle or the client has closed. Peers of BitTorrent (BEP 3)
    close on whoever asks for what they do not have; of two routers that both open a connection, one closes (RFC 4271 6.8).
"""

from __future__ import annotations

from netlens.lenses import Finding, Severity
from netlens.lenses._connects import scanning
from netlens.lenses._dialogs import refusals
from netlens.lenses._services import NAMES, needs_none
from netlens.lenses._view import S, View, finding, most
from netlens.lenses.http_errors import closed_on, is_among, times_of
from netlens.text import plural

ID = "closed-unanswered"
GROUP = "answers"
RANK = 32
SOON_NS = 2 * S  #: a server of an unknown protocol that waits longer was idle
SHORT = 2048  #: bytes of a request at most; more is what a server takes in
ONE_WAY = (9, 514, 515, 601, 1468, 2003, 2004, 4739, 5044, 6514, 9100, 9997, 24_224)  #: discard, syslog, printers, metrics, flows, logs
ROUTING = (179,)
BITTORRENT = b"\x13BitTorr"


def look(view: View) -> list[Finding]:
    if view.one_sided:
        return []
    s = view.sessions
    silent = (s["resp_bytes"] == 0) & (s["orig_bytes"] > 0) & (s["resp_missing_bytes"] + s["orig_missing_bytes"] == 0) & s["saw_syn"]
    left_out = view.halves | view.once(scanning) | {r.session for r in view.once(refusals) if r.protocol == "SSH"}  # see refused
    protocols, asked_ns = view.column("protocol"), view.column("orig_last_payload_ns")
    closed = [
        (k, closed_on(view, k, asked_ns[k])) for k in view.whole if silent[k] and k not in left_out and protocols[k] not in ("http", "tls")
    ]
    found = [(k, asked, fin) for k, fin in closed if fin and (asked := _request(view, k, fin)) is not None]
    if not found:
        return []
    again = _served_after(view, [k for k, *_ in found])
    known = [each for each in found if view.ends(each[0])[3] in NAMES.keys() - {*ROUTING} and each[0] not in again]
    shown = known or found
    n, of = len(shown), len(view.whole)
    names = sorted({NAMES[view.ends(k)[3]] for k, *_ in known})
    whom = most(view.server(k) for k, *_ in shown)
    what = f"{whom} ({', '.join(names)})" if names else whom
    text = f"{n:,} of {plural(of, 'connection')} got no answer: {what} took the request and closed without sending a byte."
    values = {"connections": of, "unanswered": n, "protocols": names}
    severity: Severity = "problem" if known else "warning"
    advice = "The server does not want this client (an address list, a limit), expects another protocol (TLS), or ended: look at its log for that moment."
    return [finding(view, ID, severity, text, [f for _, *both in shown for f in both], values, advice if known else "")]


def _request(view: View, k: int, fin: int) -> int | None:
    """The frame of the last that a client asked, if that needs an answer."""
    seg, port = view.segments(k), view.ends(k)[3]
    sent = [i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]]
    if not sent:
        return None
    first, last = sent[0], sent[-1]
    name = NAMES.get(port)
    if name is not None:
        return None if needs_none(name, seg.head[last].to_bytes(8, "big")) else seg.frame[last]
    end = seg.ts[seg.frame.index(fin)]
    one_way = port in ONE_WAY or seg.head[first].to_bytes(8, "big") == BITTORRENT
    return None if one_way or sum(seg.fresh[i] for i in sent) > SHORT or end - seg.ts[last] > SOON_NS else seg.frame[last]


def _served_after(view: View, sessions: list[int]) -> set[int]:
    """Those of some sessions behind which the same client was served by the same service at once."""
    starts, came = view.column("start_ns"), view.sessions["resp_bytes"]
    served = times_of((view.service(k), starts[k]) for k in view.whole if came[k])
    return {k for k in sessions if is_among(served, view.service(k), starts[k])}
