"""Which TLS handshakes failed?

Asks: whether a fatal alert, an answer that is not TLS, a client that left upon the server's answer or an expired certificate, or a connection that ended
    before the server's hello broke a handshake off.
    Of DTLS, a fatal alert in the clear; of QUIC, whether a server ends one handshake after the other at once, or has other versions (RFC 9000 6), or whether
    a client leaves one after the other upon what the server shows.
Applies: where a ClientHello or a TLS alert is in the capture.
Cannot see: what alerts and certificates of TLS 1.3 say, which are encrypted; why a certificate was not liked, unless the alert, its names or its dates say so.
Normal: close_notify and user_canceled end a connection in order (RFC 8446 6.1). An alert behind the handshake, or a RST after the close, is no failure.
    A program (told by its JA4) that is served closes without a word what it does not need. A client that is told of a version and connects
    anew at once with another one is served; not one that does not trust the certificate. What a server says of a certificate is about the client's where
    it showed one; else about that of a server behind it. Programs
    that try TLS first go on in HTTP at once where the port does not speak it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from netlens.lenses import Finding, Severity, _ttl
from netlens.lenses._broken_off import DONE, LEFT, NOT_ADMITTED, REFUSED, broken_off
from netlens.lenses._datagrams import by_tcp, closed_at_once, ways
from netlens.lenses._lost import never_arrived
from netlens.lenses._repeats import stalled
from netlens.lenses._validity import certificates, invalid, of_another
from netlens.lenses._view import FIN, RST, S, Segments, View, finding, graded, grouped, most, seconds
from netlens.parsers.quic_openings import FULL, Opening
from netlens.parsers.records import ALERT, ALERTS, APPLICATION, CHANGE_CIPHER, HANDSHAKE
from netlens.text import endpoint, plural

ID = "tls-failed"
GROUP = "handshakes"
RANK = 20
PATIENCE_NS = S  #: a client that closes sooner did not want it
AT_ONCE_NS = S  #: a handshake of the same ends that succeeds so soon after makes up for it
FEW = 5  #: handshakes that succeed beside one that failed for its certificate
BEATS, STEADY, HELLOS = 4, 0.1, 6  #: pauses of a clock, how far they may differ, and hellos of somebody who tries what a server takes
TWICE = 2  #: handshakes that merely end early, at one server: once may be a person who closed the page; not if a server closes that takes no other
INSISTED_NS = 5 * S  #: between handshakes of a program that tries again; who watches certificates comes by the minute
LEFT_NS = 3 * S  #: behind a server's answer of QUIC; a client that is not heard says the same for longer (RFC 9002 6.2.1)
_OUT_OF_DATE = "Renew the server's certificate; if it should be valid, set the clocks."
_ANOTHER = "The server's own certificate is valid by the capture's clock: renew the intermediate one that it sends with it, or set the client's clock."
_MISNAMED = "Ask for a name that the certificate has, or have the server show the one for that name (SNI, virtual hosts)."
_TRUST = (
    "The client does not like what the server shows, most likely its certificate: an issuer that it does not trust (a proxy that opens TLS, a self-signed "
    "certificate), a name, or dates. Its own message says which. Programs have lists of issuers of their own (NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, "
    "REQUESTS_CA_BUNDLE, keytool)."
)
_SOMETIMES = (
    "The server takes this client and name at other times: look at its log, and at a firewall's on the way, for a limit on connections or handshakes at once, "
    "and whether it was started anew then."
)
_ADVICE = {
    REFUSED: _TRUST,
    LEFT: _TRUST,
    NOT_ADMITTED: "Most likely the server wants a certificate of the client, and does not accept this one (its issuer, its dates): its log says which.",
    DONE: "The client found something that it does not accept: a certificate, or no protocol (ALPN) that it speaks. Its own message says which.",
    "no certificate of the client": "The server asks for a client certificate, and the client has none to give: configure one (curl --cert).",
    "the certificate of the client": "The server does not accept the certificate that the client shows: have it trust its issuer (ssl_client_certificate, "
    "ClientCAs; intermediates go with the client's), or give the client another one. The server's own certificate is not meant; its log says more.",
    "before the client showed a certificate": "Not the client's certificate is meant, as it showed none: most likely a proxy or gateway in front (that "
    "inspects TLS) does not accept the certificate of the server behind it. Its log says which.",
    "protocol_version": "Client and server share no TLS version: update the older one.",
    "unknown_ca": "The client does not trust the server's issuer: install the issuer's certificate, or have the server send its intermediates.",
    "certificate_expired": "Renew the certificate (or set the clock).",
    "handshake_failure": "Client and server share no cipher suite, group or signature algorithm.",
    "unrecognized_name": "The server does not serve that name: check the SNI.",
    "no_application_protocol": "Client and server share no protocol (ALPN).",
    "no hello from the server": "The server's program hangs, or speaks another protocol than TLS on that port: look at its log, and at the port.",
    "before its hello": "The server, or a firewall on the way that reads the name in the hello, does not want this client: look at their logs.",
    "not TLS": "The port speaks another protocol: use it without TLS (http:// for https://, STARTTLS), or take the port that speaks TLS.",
}
#: Alerts with which a client may refuse a certificate because of its dates
_OF_CERTIFICATE = ("certificate_expired", "bad_certificate", "certificate_unknown", "unknown_ca")
#: Alerts with which a client may refuse a certificate because of its names
_OF_NAME = ("bad_certificate by the client", "certificate_unknown by the client")
#: Alerts that are about the certificate which the other side shows (RFC 8446 6.2): from a server, the client's
_ABOUT_CERTIFICATES = (*_OF_CERTIFICATE, "unsupported_certificate", "certificate_revoked")
_DISTRUST = (REFUSED, *(f"{word} by the client" for word in _OF_CERTIFICATE))
NOT_TLS = ", not TLS"
DTLS = "DTLS"  #: as :mod:`netlens.parsers.denials.dtls` has it
FATAL = 2
SERVER_HELLO = 2
EARLY = "before its hello"
RESET = f"reset by the server {EARLY}"
NO_HELLO = "no hello from the server"
NO_CERTIFICATE = "no certificate of the client"
NOT_SHOWN = "before the client showed a certificate"
CLIENTS_CERTIFICATE = "the certificate of the client"
CERTIFICATE = 11  #: RFC 5246 7.4
EMPTY_CERTIFICATE = 0x0B0000  #: behind a record header of length 7: a Certificate message without one (RFC 5246 7.4.6)


@dataclass
class Failure:
    """A handshake that failed: ``how`` in words, ``sure`` if the wire says it in so many words; ``about``: the certificate, if it was out of date."""

    session: int
    how: str
    sure: bool
    frames: list[int | None]
    ts: int
    about: str = ""
    waited_ns: int = 0
    by_server: bool = False  # it closed on the hello
    misnamed: bool = False  # the certificate is for another name
    itself: bool = False  # it vouches for itself

    @property
    def is_out_of_date(self) -> bool:
        return bool(self.about) and not (self.itself or self.misnamed)


def failures(view: View) -> tuple[list[Failure], list[int]]:
    """Handshakes that failed, and when others succeeded by (client, server)."""
    of = dict(view.side.capture.table("hellos").tuples("session_id", "frame"))
    alerted = view.sessions_where(lambda head: (head >> 56 == ALERT) & ((head >> 48) & 0xFF == 3) & ((head >> 16) & 0xFFFFFF == 0x0202))
    first = view.first_replies >> 56
    answered = (first >= CHANGE_CIPHER) & (first <= APPLICATION)
    outdated, broken = view.once(invalid), view.once(broken_off)
    failed, tried = [], []
    for k in view.first_copies:
        if k in view.halves or not (k in of or view.column("protocol")[k] == "tls"):
            continue
        tried.append(k)
        left = outdated[k].left_frame if k in outdated else 0
        if answered[k] and k not in alerted and k not in broken and not left:
            continue
        end = broken.get(k) if k in broken and (broken[k].sure or not left) else None
        found = Failure(k, end.how, end.sure, [of.get(k), end.frame], end.ts) if end else _failure(view, k, view.opening(k), of.get(k))
        if found is None and left:
            found = Failure(k, DONE, False, [outdated[k].shown.frame, left], outdated[k].shown.ts)
        if found is not None:
            if k in outdated and (left or k in broken or any(f"{word} by the client" == found.how for word in _OF_CERTIFICATE)):
                found.about = f"the certificate of {outdated[k].name or view.server(k)} {outdated[k].how}"
                found.frames.append(outdated[k].shown.frame)
            elif (shown := view.once(certificates).get(k)) and (found.how in _OF_NAME or k in broken):
                found.misnamed, found.itself = of_another(view, shown), shown.leaf.itself
                if found.misnamed:
                    found.about = f"the certificate is for {most(shown.leaf.names or (shown.leaf.name,))}, not for {view.column('sni')[k]}"
                elif found.itself:
                    found.about = "its certificate is self-signed"
                found.frames += [shown.frame] if found.about else []
            failed.append(found)
    return _without_spare(view, failed, tried), tried


def _programs(view: View) -> dict[int, str | None]:
    """By session the JA4 of its client."""
    return dict(view.side.capture.table("hellos").tuples("session_id", "ja4"))


def _without_spare(view: View, failed: list[Failure], tried: list[int]) -> list[Failure]:
    """Without connections that a program closed because another one serves it: browsers open more than they need, also beside QUIC."""
    bad = {f.session for f in failed}
    program = view.once(_programs)
    served = {(orig, resp, program.get(k)) for k in tried if k not in bad for orig, _, resp, _ in [view.ends(k)]}
    busy = {(orig, ja4) for orig, _, ja4 in served}
    beside = {(o.client[0], o.first_ns // S + more) for o in view.side.capture.quic if o.answer_ns for more in (-1, 0, 1, 2)}

    def is_spare(f: Failure) -> bool:
        if f.how not in (LEFT, DONE) or f.is_out_of_date:
            return False
        orig, _, resp, _ = view.ends(f.session)
        ja4 = program.get(f.session)
        return (orig, resp, ja4) in served or (f.how == DONE and (orig, ja4) in busy) or (orig, f.ts // S) in beside

    return [f for f in failed if not is_spare(f)]


def look(view: View) -> list[Finding]:
    return [*_of_tls(view), *_of_dtls(view), *_of_quic(view), *_left_in_quic(view), *_no_version(view)]


def _of_quic(view: View) -> list[Finding]:
    """Servers that close one connection of QUIC after the other in their first datagram, and open none of that client's."""
    opened = view.side.capture.quic
    served = {(o.client[0], o.server) for o in opened if o.answer_ns}
    closed = [(talk, back) for talk, back in view.once(closed_at_once) if (talk.source[0], talk.destination) not in served]
    often = [
        pair
        for pairs in grouped(closed, lambda pair: (pair[0].source[0], pair[0].destination)).values()
        if len(pairs) >= TWICE
        for pair in pairs
    ]
    if not often:
        return []
    n = len(often)
    text = (
        f"{n:,} of {plural(max(len(opened), n), 'QUIC handshake')} failed: {most(endpoint(*talk.destination) for talk, _ in often)} ended them at once with a "
        f"short Initial (CONNECTION_CLOSE)."
    )
    values = {"handshakes": max(len(opened), n), "failed": n, "how": ["CONNECTION_CLOSE"]}
    advice = (
        "The reason is encrypted: look at the server's log. Client and server may share no protocol (ALPN) or version, or the server refuses that name or "
        "client."
    )
    goes_on = all(by_tcp(view, talk.source[0], *talk.destination) for talk, _ in often)
    frames = [f for talk, back in often for f in (talk.first_frame, back.first_frame)]
    return [finding(view, ID, "warning" if goes_on else "problem", text, frames, values, advice)]


def _left_in_quic(view: View) -> list[Finding]:
    """Clients of QUIC that leave in the handshake, upon what the server showed, again and again, and open no connection to it: who has finished a handshake
    sends what comes behind it (RFC 9001 4.1.2). Where the server shows more behind that, the client had not seen all, or went without a word: it only looks
    whether somebody is there, as who comes by a clock may."""
    if all(talk.bytes >= FULL * talk.datagrams for talk in view.conversations):
        return []  # small ones were filtered out, and with these what comes behind the handshake
    opened, back = view.side.capture.quic, view.once(ways)
    served = {(o.client[0], o.server) for o in opened if o.established}
    later = {(o.client, o.server): o.first_ns for o in opened}  # some have one port for several connections
    all_left = [
        o
        for o in opened
        if o.left_ns
        and not o.established
        and (o.client[0], o.server) not in served
        and o.left_ns - o.answer_ns <= LEFT_NS
        and (talk := back.get((o.client, o.server))) is not None
        and (talk.last_ns <= o.left_ns or later[o.client, o.server] > o.left_ns)
        and view.end_of(o.left_frame) - o.left_ns >= S
    ]
    often, grave = [], []
    for group in grouped(all_left, lambda o: (o.client[0], o.server)).values():
        left = [o for o in group if o.told_ns <= o.left_ns]
        if len(left) >= TWICE:
            often += left
            grave += left if left == group and not _is_clock([o.first_ns for o in group]) else []
    often = grave or often
    if not often:
        return []
    n = len(often)
    whom, client = most(endpoint(*o.server) for o in often), most(o.client[0] for o in often)
    text = f"{n:,} of {plural(len(opened), 'QUIC handshake')} failed: {client} left upon what {whom} showed, before the handshake was over."
    values = {"handshakes": len(opened), "failed": n, "how": ["left by the client"]}
    goes_on = all(by_tcp(view, o.client[0], *o.server) or _is_raced(view, o) for o in often)
    frames = [f for o in often for f in (o.answer_frame, o.left_frame)]
    return [finding(view, ID, "problem" if grave and not goes_on else "warning", text, frames, values, _TRUST)]


def _is_raced(view: View, one: Opening) -> bool:
    """Whether another connection was opened at the time to the same port, as when a client tries several addresses and ways and keeps the first (RFC 8305)."""
    starts = view.column("start_ns")
    by_quic = (o.first_ns for o in view.side.capture.quic if o.established and o.server[1] == one.server[1])
    by_tcp_ = (starts[k] for k in view.whole if view.ends(k)[3] == one.server[1])
    return any(abs(ns - one.first_ns) <= S for each in (by_quic, by_tcp_) for ns in each)


def _no_version(view: View) -> list[Finding]:
    """Clients of QUIC to which a server says again and again that it has other versions (RFC 9000 6), and nothing else."""
    back, said = view.once(ways), grouped(view.side.capture.negotiated, lambda n: (n.client, n.server))
    failed = []
    for (client, server), group in said.items():
        talk, answers = back.get((client, server)), back.get((server, client))
        if talk is None or answers is None or answers.datagrams != len(group) or talk.bytes < FULL * talk.datagrams:
            continue
        head, first = talk.head.to_bytes(8, "big"), group[0]
        asked = int.from_bytes(head[1:5], "big")
        if (
            head[0] >= 0xC0
            and head[5] == len(first.id)
            and first.id.startswith(head[6 : 6 + min(2, head[5])])
            and asked not in (0, *first.versions)
            and not _is_reserved(asked)
        ):
            failed.append(first)
    served = {(o.client[0], o.server) for o in view.side.capture.quic if o.answer_ns}
    failed = [each for each in failed if (each.client[0], each.server) not in served]
    often = [
        each for group in grouped(failed, lambda each: (each.client[0], each.server)).values() if len(group) >= TWICE for each in group
    ]
    if not often:
        return []
    n, opened = len(often), len(view.side.capture.quic) + len(said)
    has = ", ".join(dict.fromkeys(f"{version:#x}" for each in often for version in each.versions if not _is_reserved(version)))
    text = (
        f"{n:,} of {plural(opened, 'QUIC handshake')} failed: {most(endpoint(*each.server) for each in often)} has other versions ({has})."
    )
    values = {"handshakes": opened, "failed": n, "how": ["version negotiation"]}
    goes_on = all(by_tcp(view, each.client[0], *each.server) for each in often)
    advice = "Client and server have no version of QUIC in common: update the older one. 0x1 is that of RFC 9000."
    return [finding(view, ID, "warning" if goes_on else "problem", text, [each.frame for each in often], values, advice)]


def _is_reserved(version: int) -> bool:
    """Whether a version of QUIC exists to be unknown: who asks with it wants to hear of others (RFC 9000 6.3, 15)."""
    return version & 0x0F0F0F0F == 0x0A0A0A0A


def _of_dtls(view: View) -> list[Finding]:
    """Handshakes of DTLS that a fatal alert ended, and after which none of the same two succeeded at once."""
    alerts = [a for a in view.side.capture.denials if a.protocol == DTLS and a.no]
    if not alerts:
        return []
    opened = view.side.capture.dtls
    ends = {frozenset((a.client, a.server)) for a in alerts}
    last = {both: max(a.ts for a in alerts if {a.client, a.server} == both) for both in ends}
    cured = {both for both, ts in last.items() for o in opened if _is_cure(o, both, ts)}
    cured |= {frozenset((o.client[0], o.server[0])) for o in opened if by_tcp(view, o.client[0], *o.server)}  # a VPN goes on
    lasting = [a for a in alerts if frozenset((a.client, a.server)) not in cured]
    shown = lasting or alerts
    n = len(shown)
    text = f"{n:,} of {plural(max(len(opened), len(alerts)), 'DTLS handshake')} failed ({most(f'{a.no} by {a.server}' for a in shown)})."
    advice = next((_ADVICE[word] for word in _ADVICE for a in shown if word.replace("_", " ") in a.no), "")
    servers = {o.server[0] for o in opened} - {o.client[0] for o in opened}
    if all(a.server in servers and a.no.startswith(tuple(word.replace("_", " ") for word in _ABOUT_CERTIFICATES)) for a in shown):
        advice = _ADVICE[CLIENTS_CERTIFICATE]
    values = {"handshakes": max(len(opened), len(alerts)), "failed": n, "how": sorted({a.no for a in shown})}
    return [graded(view, ID, lasting, text, [a.frame for a in shown], values, advice)]


def _is_cure(opening: Opening, ends: frozenset[str], ts: int) -> bool:
    """Whether a handshake of these two began within a second of an alert, and was answered."""
    return {opening.client[0], opening.server[0]} == ends and 0 <= opening.first_ns - ts <= AT_ONCE_NS and opening.answer_ns > ts


def _of_tls(view: View) -> list[Finding]:
    failed, tried = view.once(failures)
    served = {f.session for f in failed}
    starts: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
    names = view.column("sni")
    for k in tried:
        if k not in served:
            orig, _, resp, _ = view.ends(k)
            starts.setdefault((orig, resp), []).append((view.column("start_ns")[k], names[k]))
    lasting = []
    in_clear = _goes_on_in_clear(view, failed)
    for f in failed:
        if f.session in in_clear:
            continue
        orig, _, resp, _ = view.ends(f.session)
        # another try is another program, or one told not to look; of many that follow, somebody has agreed to the certificate
        served_later = sum(name == names[f.session] for _, name in starts.get((orig, resp), ()))
        distrusted = served_later < FEW and f.how in _DISTRUST
        asked = names[f.session]  # another name that is served says nothing of this one
        if distrusted or not any(0 <= t - f.ts <= AT_ONCE_NS and asked in (None, name) for t, name in starts.get((orig, resp), ())):
            lasting.append(f)
    if not failed:
        return []
    often = {key for key, group in grouped(lasting, lambda f: view.ends(f.session)[2]).items() if len(group) >= TWICE}
    served_by = {view.ends(k)[2] for k in tried if k not in served}
    checks = _checks(view, lasting, {view.ends(k)[2:] for k in tried if k not in served})
    grave = [
        f
        for f in lasting
        if f.session not in checks
        and (f.sure or view.ends(f.session)[2] in often or (f.by_server and view.ends(f.session)[2] not in served_by))
    ]
    shown = grave or lasting or failed
    severity: Severity = "problem" if grave else "warning" if lasting else "note"
    ways = most(f.how for f in shown)
    about = most(f.about for f in shown if f.about)
    n = len(shown)
    text = f"{n:,} of {plural(len(tried), 'TLS handshake')} failed ({ways}) at {most(view.server(f.session) for f in shown)}"
    waited = max(f.waited_ns for f in shown)
    text += f"; the client waited up to {seconds(waited)}" if waited else ""
    alike = {(f.how, view.server(f.session)) for f in shown}
    gone = in_clear | {f.session for f in lasting}
    besides = sum((f.how, view.server(f.session)) in alike and f.session not in gone for f in failed) if lasting else 0
    if besides > 0:
        text += f"; {besides:,} more failed so, but within a second another one between the same two succeeded"
    text += f"; {about}" if about else ""
    by_reset = all(f.how == RESET for f in shown)
    hops = _ttl.sent_by_another(view, [f.session for f in shown]) if by_reset else None
    text += _ttl.told(hops, n) if hops else ""
    text += "; the client went on without TLS at once." if in_clear.issuperset(f.session for f in shown) else "."
    advice = next((_ADVICE[word] for word in _ADVICE for f in shown if word in f.how), "")
    if hops:
        advice = _ttl.ADVICE
    elif all(
        f.how.endswith(EARLY) and any(names[f.session] == name for _, name in starts.get(view.ends(f.session)[::2], ())) for f in shown
    ):
        advice = _SOMETIMES
    elif any(f.misnamed for f in shown):
        advice = _MISNAMED
    elif any(f.itself for f in shown):
        advice = _TRUST
    elif any(f.about for f in shown):
        advice = _OUT_OF_DATE
    elif any(f.how == "certificate_expired by the client" and f.session in view.once(certificates) for f in shown):
        advice = _ANOTHER
    values = {"handshakes": len(tried), "failed": n, "how": sorted({f.how for f in shown})}
    return [finding(view, ID, severity, text, [frame for f in shown for frame in f.frames], values, advice)]


def _goes_on_in_clear(view: View, failed: list[Failure]) -> set[int]:
    """Sessions to ports that do not speak TLS whose clients at once ask there in HTTP, and are answered: who tries TLS first."""
    without = {f.session: f for f in failed if f.how.endswith(NOT_TLS)}
    if not without:
        return set()
    start, protocol, down = view.column("start_ns"), view.column("protocol"), view.sessions["resp_bytes"]
    asked = grouped((k for k in view.first_copies if protocol[k] == "http" and down[k]), view.service)
    return {k for k, f in without.items() if any(0 <= start[j] - start[k] <= AT_ONCE_NS for j in asked.get(view.service(k), ()))}


def _checks(view: View, failed: list[Failure], serving: set[tuple[str, int]]) -> set[int]:
    """Sessions of those that may be checks of whether a server is there, and what it shows: where others are served; by the clock; with many different hellos;
    and those that look at a certificate when the handshake is over, unless it is for another name and they try again at once.

    serving : servers that serve anybody.
    """
    start, ja4 = view.column("start_ns"), view.once(_programs)
    insisting: set[int] = set()
    for group in grouped(
        (f for f in failed if f.how == DONE and f.misnamed), lambda f: (*view.service(f.session), ja4.get(f.session))
    ).values():
        times = [start[f.session] for f in group]
        if len(group) >= TWICE and max(b - a for a, b in pairwise(times)) <= INSISTED_NS and not _is_clock(times):
            insisting |= {f.session for f in group}
    found = {f.session for f in failed if f.how == DONE and (f.itself or f.misnamed) and f.session not in insisting}
    silent = [f for f in failed if f.how in (LEFT, DONE, NOT_ADMITTED) and not f.is_out_of_date]
    found |= {f.session for f in silent if view.ends(f.session)[2:] in serving}
    for group in grouped((f for f in silent if f.how in (LEFT, DONE)), lambda f: view.service(f.session)).values():
        if _is_clock([start[f.session] for f in group]) or len({ja4.get(f.session) for f in group}) >= HELLOS:
            found |= {f.session for f in group}
    return found


def _is_clock(starts: list[int]) -> bool:
    """Whether something begins at an even pace.  starts : ns."""
    every = [b - a for a, b in pairwise(sorted(starts))]
    return len(every) >= BEATS and max(every) - min(every) <= STEADY * median(every)


def _failure(view: View, k: int, seg: Segments, hello: int | None) -> Failure | None:
    # ChangeCipherSpec or application data was sent: an alert behind it is not of the handshake, or encrypted
    secured = {True: False, False: False}
    server_spoke = without = shown = False
    hello_at = -1
    for i in range(len(seg)):
        head, length = seg.head[i], seg.length[i]
        if length and seg.fresh[i]:
            kind, version = head >> 56, head >> 40 & 0xFFFF
            tls = kind in (CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION) and 0x0300 <= version <= 0x0304
            if tls and kind == ALERT and head >> 24 & 0xFFFF == 2 and not secured[seg.orig[i]]:
                level, what = head >> 16 & 0xFF, head >> 8 & 0xFF
                if level == FATAL and what in ALERTS:
                    by = "client" if seg.orig[i] else "server"
                    cause = ""
                    if by == "server" and (without or ALERTS[what] in _ABOUT_CERTIFICATES):
                        cause = f": {NO_CERTIFICATE if without else CLIENTS_CERTIFICATE if shown else NOT_SHOWN}"
                    return Failure(k, f"{ALERTS[what]} by the {by}{cause}", True, [hello, seg.frame[i]], seg.ts[i])
            shown |= tls and seg.orig[i] and kind == HANDSHAKE and head >> 16 & 0xFF == CERTIFICATE
            without |= tls and seg.orig[i] and kind == HANDSHAKE and head & 0xFFFFFFFFFF == 7 << 24 | EMPTY_CERTIFICATE
            if tls and kind in (CHANGE_CIPHER, APPLICATION):
                secured[seg.orig[i]] = True
            if hello_at >= 0 and not seg.orig[i] and not server_spoke and seg.offset[i] >= 0:
                server_spoke = True
                if not tls and head and seg.fresh[i] == length and not _tail_of_record(seg, i):
                    return Failure(k, f"the server answers with {_words(head)}{NOT_TLS}", True, [hello, seg.frame[i]], seg.ts[i])
        if hello is not None and seg.frame[i] >= hello and hello_at < 0 and seg.orig[i]:
            hello_at = i
        if seg.flags[i] & (FIN | RST) and hello_at >= 0 and not server_spoke:
            if view.column("resp_missing_bytes")[k] or not view.column("resp_frames")[k]:
                return None
            if seg.flags[i] & FIN and not seg.orig[i] and seg.offset[i] > 0:
                continue  # what it sent before comes behind it
            if seg.orig[i] and seg.ts[i] - seg.ts[hello_at] < PATIENCE_NS:
                return None  # a browser opens more than it needs and closes them again
            frames = [hello, seg.frame[i]]
            if seg.orig[i] and k in view.once(_not_delivered):
                return None  # "stalled" says it
            if seg.orig[i]:  # it had waited
                return Failure(k, NO_HELLO, False, frames, seg.ts[i], waited_ns=seg.ts[i] - seg.ts[hello_at])
            how = RESET if seg.flags[i] & RST else f"closed by the server {EARLY}"
            # else the two crossed: it had been idle
            took = seg.acked[i] >= seg.end(hello_at)
            closed = bool(seg.flags[i] & FIN) and view.column("saw_syn")[k] and took
            return Failure(k, how, False, frames, seg.ts[i], by_server=closed)
    return None


def _not_delivered(view: View) -> set[int]:
    """Sessions in which the hello, or the server's answer, did not arrive."""
    return {r.session for r in view.once(stalled) if not r.acked} | {each.session for each in view.once(never_arrived)}


def _tail_of_record(seg: Segments, at: int) -> bool:
    """Whether the server's first segment does not begin its stream here (a segment before it was lost)."""
    last = max((seg.end(i) for i in range(at) if not seg.orig[i] and seg.length[i]), default=None)
    return seg.offset[at] != (last if last is not None else 0)


def _words(head: int) -> str:
    text = head.to_bytes(8, "big")
    known = ((b"HTTP/", "HTTP"), (b"SSH-", "SSH"), (b"220", "a greeting of SMTP or FTP"))
    return next((words for begin, words in known if text.startswith(begin)), "something else")
