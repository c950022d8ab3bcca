"""Which requests did a server close on, without a byte?

Asks: whether a server acknowledged what a client had asked, and then closed the connection without having sent anything; or, of a service that answers each
    request (HTTP among them), without having answered the last one; whether requests of HTTP met the end of an idle connection.
Applies: to connections captured in both directions from their beginning. Handshakes of TLS are covered by tls-failed. Of MySQL and
    PostgreSQL in clear it does not matter how long the statement was open; nor of HTTPS, also behind a proxy's CONNECT: there what has no answer is known but
    for what was asked (:mod:`netlens.parsers.exchanges`), and a server that ends of its own accord says so first (close_notify, RFC 8446 6.1).
Cannot see: what was asked, where neither the port nor the first words say which protocol it is, and so whether it was a question: then it is a warning.
Normal: LDAP and others in clear at a port for TLS get nothing. What only takes in (syslog, printers, metrics) answers nothing, and
    closes behind a message, when it is idle or when the client has closed. Peers of BitTorrent (BEP 3) close on whoever asks for what they do not have; of
    two routers, or peers of Diameter, that both open a connection, one closes (RFC 4271 6.8, RFC 6733 5.6.4). Of HTTPS a request that is sent again at once
    and answered has cost little; HTTP/2 says more than requests. Nobody misses the answer to a farewell (QUIT, LOGOUT), and a client that speaks its last
    word and at once opens another connection goes on there. A server may close an idle connection at any time, so that a request of HTTP meets the close; a
    client sends it again by itself if that does no harm (RFC 9112 9.3.1, 9.5).
"""

from __future__ import annotations

import numpy as np

from netlens.columns import NEVER
from netlens.lenses import Finding, Severity, _databases
from netlens.lenses._connects import scanning
from netlens.lenses._dialogs import refusals
from netlens.lenses._granted import checks
from netlens.lenses._repeats import FAREWELL
from netlens.lenses._services import EACH, NAMES, needs_none
from netlens.lenses._unanswered import BODYLESS, closed_on, first_bytes, is_among, requests, times_of, trickling
from netlens.lenses._view import FIN, RST, S, Segments, View, finding, grouped, most, seconds, up_to
from netlens.lenses.reset import is_alert
from netlens.text import endpoint, plural

ID = "closed-unanswered"
GROUP = "answers"
RANK = 32
SOON_NS = 2 * S  #: a server of an unknown protocol that waits longer was idle
SHORT = 2048  #: bytes of a request at most; more is what a server takes in
ONE_WAY = (9, 514, 515, 601, 1468, 2003, 2004, 4739, 5044, 6514, 9100, 9997, 24_224)  #: discard, syslog, printers, metrics, flows, logs
HTTPS = (443, 8443)
SOME, SHARE = 2, 0.1  #: requests of HTTP, HTTPS
MOST_SHARE = 0.5
IDLE_NS = S  #: a connection on which nothing is said for so long
GIVEN_UP_NS = 5 * S  #: a client that waits longer, and gives up, waited in vain (slow-server)
AT_ONCE_NS, HALF = 2_000_000, 3  #: from a request to the FIN behind it, of a client that then waits; and how many
ALIKE, EVEN_NS = 3, S // 2  #: closes after the same time: a timer's
ROUTING = (179,)
BITTORRENT = b"\x13BitTorr"
#: First words of a client that its protocol has answered, whatever the port: from, before, and the words (JSON-RPC 2.0 5, AMQP 1.0 2.2 and 0-9-1 2.2.4, MQTT
#: 3.1.1 3.1, PostgreSQL's start-up of protocol 3, Zabbix' header, X.224's connection request in a TPKT: RFC 1006 6, RFC 3261 17.2)
SPOKEN = [(0, 8, b'{"jsonrp', "JSON-RPC"), (0, 4, b"AMQP", "AMQP"), (2, 8, b"\0\4MQTT", "MQTT"), (4, 8, b"\0\3\0\0", "PostgreSQL"),
          (0, 4, b"ZBXD", "Zabbix"), (0, 2, b"\3\0", "X.224"), (0, 7, b"INVITE ", "SIP"), (0, 8, b"REGISTER", "SIP")]  # fmt: skip
X224_REQUEST = 0xE0
#: Ports at which a protocol begins with TLS (IANA's service names: ldaps, ftps, telnets, imaps, pop3s, msft-gc-ssl, sips, amqps, ircs-u, secure-mqtt), and how
#: LDAP's requests to bind, to search and for an extended operation go on behind their length (RFC 4511 4.1.1)
OVER_TLS, LDAPS, LDAP_ASKS = (636, 990, 992, 993, 995, 3269, 5061, 5671, 6697, 8883), (636, 3269), (0x60, 0x63, 0x77)
IN_CLEAR = 3  #: connections to such a port by one client that is in earnest
#: PostgreSQL's Parse, Bind, Execute, and the Sync or Flush behind them that calls for the answer, of 5 bytes
PREPARED, SYNC = (b"P", b"B", b"E"), 5
FAREWELLS = (b"QUIT", b"BYE", b"EXIT")  #: of FTP, SMTP, POP3, NNTP


def look(view: View) -> list[Finding]:
    """Requests of HTTP, of other protocols in clear, and of HTTPS."""
    return [] if view.one_sided else [*_empty(view), *_crossed(view), *_ended(view), *_in_clear(view), *_encrypted(view)]


def _empty(view: View) -> list[Finding]:
    """Requests that the server acknowledged, and then closed on without a byte."""
    missing = view.sessions["resp_missing_bytes"]
    rows = [r for r in requests(view, "request_end_ns", "response_ns", "start_frame") if not missing[r[0]]]
    what = view.side.capture.asked
    # where the request itself was read, only the same one is that request sent again
    served = times_of(
        ((*view.service(k), *each), sent)
        for k, sent, answered, first in rows
        if answered is not None and answered >= sent
        for each in ((), (what.get(first),))
    )
    found: list[tuple[int, int, int]] = []
    again: list[tuple[int, int, int]] = []
    for k, sent, answered, first in rows:
        if answered is not None or (fin := closed_on(view, k, sent)) is None:
            continue
        same = (what[first],) if first in what else ()
        (again if is_among(served, (*view.service(k), *same), sent) else found).append((k, first, fin))
    lost = found + again
    if not lost:
        return []
    n = len(lost)
    whom = most(view.server(k) for k, _, _ in lost)
    end = f"; {len(again):,} {'was' if len(again) == 1 else 'were'} sent again on a new connection and answered" if again else ""
    late = [ns for k, first, _ in lost if (ns := _closed_before(view, k, first)) is not None]
    when = f"{up_to(late)}{seconds(max(late))} before" if late else ""
    if late and len(late) == n:
        how = f"{'it was sent on a connection' if n == 1 else 'they were sent on connections'} that {whom} had closed {when}"
    else:
        how = f"{whom} closed the connection instead{f' ({len(late):,} of them {when})' if late else ''}"
    text = f"{n:,} of {plural(len(rows), 'HTTP request')} got no answer: {how}{end}."
    grave = len(found) >= SOME or len(found) >= max(SHARE * len(rows), 1)
    advice = (
        "Let the client close idle connections sooner than the server does (its idle time-out must be shorter than the server's keep-alive time-out), and look "
        "whether the server has closed before it sends."
        if late
        else "Look at the server's log for that moment: its program ended, or gave the request up, or it closes idle connections sooner than the client "
        "does (its keep-alive time-out)."
    )
    values = {"requests": len(rows), "unanswered": n, "asked_again": len(again)} | ({"closed_before": len(late)} if late else {})
    frames = [f for _, *both in lost for f in both]
    severity: Severity = "problem" if grave else "warning" if n >= SOME else "note"
    return [finding(view, ID, severity, text, frames, values, advice if grave else "")]


def _closed_before(view: View, k: int, first: int) -> int | None:
    """How long before a request the server had closed, in ns, where the client's host had acknowledged that; None where it had not, or did not know."""
    seg = view.segments(k)
    at = seg.frame.index(first)
    fin = next((i for i in range(at) if not seg.orig[i] and seg.flags[i] & FIN), None)
    if fin is None or not any(seg.orig[i] and seg.acked[i] > seg.end(fin) for i in range(fin + 1, at)):
        return None
    return seg.ts[at] - seg.ts[fin]


def _crossed(view: View) -> list[Finding]:
    """Requests on connections that had served before and that the server was about to close: its FIN knows nothing of them, and a RST answers them. A client
    may send them again on a new connection, which is certain for those that are safe to repeat (RFC 9112 9.3.1)."""
    missing, reset = view.sessions["resp_missing_bytes"], view.column("rst_ns")
    rows = [r for r in requests(view, "start_ns", "response_ns", "start_frame") if not missing[r[0]]]
    open_ = [(k, at, first) for k, at, answered, first in rows if answered is None and reset[k] is not None]
    met = [(k, at, first, fin) for k, at, first in open_ if (fin := _crossing(view, k, first)) is not None]
    if not met:
        return []
    begins = first_bytes(view, {first for *_, first in rows})
    # by whoever serves the same: a program may go to another address of it
    asked = times_of(((*view.ends(k)[::3], begins.get(first, 0)), at) for k, at, _, first in rows)
    again = [each for each in met if is_among(asked, (*view.ends(each[0])[::3], begins.get(each[2], 0)), each[1] + 1)]
    n, lost = len(met), len(met) - len(again)
    text = (
        f"{plural(n, 'HTTP request')} met the end of {'an idle' if all(_was_idle(view, k, first) for k, _, first, _ in met) else 'a'} connection: "
        f"{most(view.server(k) for k, *_ in met)} closed it while {'it was' if n == 1 else 'they were'} on the way; "
    )
    if not again:
        text += f"{'it was not' if n == 1 else 'none of them was'} sent again."
    elif not lost:
        text += f"{'it was' if n == 1 else 'all were'} sent again."
    else:
        text += f"{lost:,} of them {'was' if lost == 1 else 'were'} not sent again."
    grave = lost >= SOME
    advice = "Let the client close idle connections sooner than the server does (its keep-alive time-out), or send what met a close again."
    frames = [f for _, _, *both in met for f in both]
    values = {"requests": len(rows), "unanswered": n, "asked_again": len(again)}
    return [finding(view, ID, "problem" if grave else "warning" if lost else "note", text, frames, values, advice if lost else "")]


def _was_idle(view: View, k: int, first: int) -> bool:
    """Whether nothing had been said for a while before a request."""
    seg = view.segments(k)
    at = seg.frame.index(first)
    return seg.ts[at] - max((seg.ts[i] for i in range(at) if seg.length[i]), default=seg.ts[0]) >= IDLE_NS


def _crossing(view: View, k: int, first: int) -> int | None:
    """The frame of the server's FIN that crossed a request whose first frame is given, and was followed by nothing but RSTs."""
    seg = view.segments(k)
    at = next((i for i in range(len(seg)) if seg.frame[i] == first), None)
    if at is None or not any(not seg.orig[i] and seg.length[i] for i in range(at)):
        return None
    theirs = [i for i in range(at, len(seg)) if not seg.orig[i]]
    fin = next((i for i in theirs if seg.flags[i] & FIN), None)
    if fin is None or any(seg.length[i] for i in theirs) or any(seg.flags[i] & (FIN | RST) for i in range(fin) if seg.orig[i]):
        return None
    acked = max((seg.acked[i] for i in theirs if not seg.flags[i] & RST), default=0)  # a FIN may be a RST as well, in damaged captures
    return seg.frame[fin] if acked <= seg.offset[at] and seg.flags[theirs[-1]] & RST else None


def _ended(view: View) -> list[Finding]:
    """Requests behind which the client closed its side, and of which the server then closed its own without a byte."""
    s = view.sessions
    silent = (s["resp_bytes"] == 0) & (view.missing_bytes == 0) & s["saw_syn"]
    rows = requests(view, "request_end_ns", "start_frame")
    never = {each[0] for group in view.once(trickling) for each in group}
    found = [
        (k, first, fin) for k, sent, first in rows if silent[k] and k not in never and (fin := _both_closed(view, k, sent)) is not None
    ]
    if not found:
        return []
    n = len(found)
    text = f"{n:,} of {plural(len(rows), 'HTTP request')} got no answer before both sides closed the connection"
    values = {"requests": len(rows), "unanswered": n}
    severity: Severity = "warning" if n >= max(SOME, SHARE * len(rows)) or n >= MOST_SHARE * len(rows) else "note"
    advice = ""
    if _are_taken_for_gone(view, found):
        severity, text = (
            "problem",
            f"{text}: {most(view.server(k) for k, *_ in found)} treats a client that closes its own side as gone",
        )
        advice = "Have the client keep its side open until the answer is there, or the server's proxy go on without it (proxy_ignore_client_abort in nginx)."
    return [finding(view, ID, severity, text + ".", [f for _, *both in found for f in both], values, advice)]


def _are_taken_for_gone(view: View, unanswered: list[tuple[int, int, int]]) -> bool:
    """Whether a service answers no client that asks (by GET, to which the answer is all) and at once closes its own side (RFC 9112 9.6 lets it), but others."""
    begins = first_bytes(view, {first for _, first, _ in unanswered})
    bodyless = {k for k, first, _ in unanswered if begins.get(first, 0).to_bytes(8, "big").startswith(BODYLESS)}
    fin, services = view.column("orig_fin_ns"), {view.ends(k)[2:] for k in bodyless}
    at_once, served = 0, {True: 0, False: 0}
    for k, sent, answered in requests(view, "request_end_ns", "response_ns"):
        if view.ends(k)[2:] in services:
            half = fin[k] is not None and 0 <= fin[k] - sent <= AT_ONCE_NS
            at_once += half and k in bodyless
            served[half] += answered is not None
    return at_once >= HALF and not served[True] and served[False] > 0


def _both_closed(view: View, k: int, sent_ns: int) -> int | None:
    """The frame of the server's FIN, that follows a client's FIN soon after its request; None where either reset."""
    seg = view.segments(k)
    if any(flags & RST for flags in seg.flags):
        return None
    first = next((i for i in range(len(seg)) if seg.flags[i] & FIN), None)
    if first is None or not seg.orig[first] or not sent_ns <= seg.ts[first] <= sent_ns + GIVEN_UP_NS:
        return None
    return next((seg.frame[i] for i in range(first, len(seg)) if not seg.orig[i] and seg.flags[i] & FIN), None)


def _encrypted(view: View) -> list[Finding]:
    """Requests of HTTPS, to a server or through a proxy, on which the connection is closed without an answer or a close_notify."""
    s, x = view.sessions, view.side.capture.table("exchanges")
    proxied = {p.session for p in view.side.capture.proxied if p.status < 300}
    plain, whole, named = np.zeros((3, s.rows), bool)
    plain[[k for k, spoken in view.side.http2.items() if spoken is False]] = True
    whole[view.in_one], named[list(proxied)] = True, True
    kept = plain & whole & (s["protocol"] == "tls") & (view.missing_bytes == 0) & (named | np.isin(s["resp_port"], HTTPS))
    rows, answered = kept[x["session_id"]], x.ints("response_ns", NEVER) != NEVER
    lacking, others = (
        zip(x["session_id"][chosen].tolist(), x["request_end_ns"][chosen].tolist(), strict=True)
        for chosen in (rows & ~answered & (x["up_bytes"] > FAREWELL), rows & answered)
    )
    closed = [(k, sent, end) for k, sent in lacking if (end := _cut(view, k, sent))]
    if not closed:
        return []
    of, served = int(rows.sum()), times_of((view.service(k), sent) for k, sent in others)
    found = [(k, sent, end) for k, sent, end in closed if not is_among(served, view.service(k), end[0])]
    if not found:
        return []
    n, waits = len(found), [end[0] - sent for _, sent, end in found]
    whom = most(f"the proxy {endpoint(*view.ends(k)[2:])}" if k in proxied else view.server(k) for k, *_ in found)
    after = f"{up_to(found)}{seconds(max(waits))}"
    text = f"{n:,} of {plural(of, 'HTTPS request')} got no answer: {whom} closed the connection instead, after {after}."
    alike = n >= ALIKE and max(waits) <= min(waits) + EVEN_NS
    advice = (
        "It ends connections that are silent for so long, though a request is open: raise that time-out (of the proxy, or of what stands between), or have the "
        "server answer sooner, or in pieces."
        if alike
        else "Look at the log of the server, or of the proxy, for that moment."
    )
    values = {"requests": of, "unanswered": n, "longest_s": max(waits) / 1e9}
    severity: Severity = "problem" if n >= SOME else "warning"
    return [finding(view, ID, severity, text, [f for *_, (_, *both) in found for f in both], values, advice if n >= SOME else "")]


def _cut(view: View, k: int, sent_ns: int) -> tuple[int, int, int] | None:
    """When a server's FIN came behind a request of TLS, that it acknowledges and before which it said no close_notify; with the frames of both."""
    seg = view.segments(k)
    last = {True: -1, False: -1}
    for i in range(len(seg)):
        if seg.flags[i] & (FIN | RST):
            asked, said = last[True], last[False]
            orderly = seg.length[i] or (said >= 0 and is_alert(seg, said))
            if seg.orig[i] or seg.flags[i] & RST or orderly or asked < 0 or seg.ts[asked] > sent_ns or seg.ts[i] < sent_ns:
                return None
            whole = seg.acked[i] >= seg.end(asked)
            return (seg.ts[i], seg.frame[asked], seg.frame[i]) if whole else None
        if seg.fresh[i]:
            last[seg.orig[i]] = i
    return None


def _in_clear(view: View) -> list[Finding]:
    s = view.sessions
    whole = (s["orig_bytes"] > 0) & (view.missing_bytes == 0) & s["saw_syn"]
    mute = s["resp_bytes"] == 0
    said_no = {r.session: r.protocol for r in view.once(refusals)}  # see refused
    left_out = view.halves | view.once(scanning) | {k for k, protocol in said_no.items() if protocol == "SSH" or not mute[k]}
    protocols, asked_ns, said_ns = view.column("protocol"), view.column("orig_last_payload_ns"), view.column("resp_last_payload_ns")
    owing = whole & (
        mute | np.isin(s["resp_port"], [*EACH]) | _databases.starts(view.first_requests) | _databases.greets(view.first_replies)
    )
    closed = [
        (k, closed_on(view, k, asked_ns[k]))
        for k in view.whole
        if owing[k] and k not in left_out and protocols[k] not in ("http", "tls") and (mute[k] or said_ns[k] < asked_ns[k])
    ]
    found = [(k, asked, fin) for k, fin in closed if fin and (asked := (_request if mute[k] else _last_request)(view, k, fin)) is not None]
    if not found:
        return []
    again = _served_after(view, [k for k, *_ in found]) | _met(view, [k for k, *_ in found])
    # but for what was no farewell, and waited in vain
    again -= {k for k, *_ in found if not mute[k] and view.column("end_ns")[k] - asked_ns[k] > SOON_NS}
    told = [each for each in found if each[0] not in again]
    probes = _probes(view, [k for k, *_ in told])
    known = [each for each in told if each[0] not in probes and _protocol(view, each[0])]
    shown = known or found
    n, of = len(shown), len(view.whole)
    names = sorted({_protocol(view, k) for k, *_ in known} - {""})
    whom = most(view.server(k) for k, *_ in shown)
    what = f"{whom} ({', '.join(names)})" if names else whom
    how = "sending a byte" if all(mute[k] for k, *_ in shown) else "answering it"
    in_clear = bool(known) and all(view.ends(k)[3] in OVER_TLS for k, *_ in shown)
    end = " (in clear, at a port for TLS)" if in_clear else ""
    text = f"{n:,} of {plural(of, 'connection')} got no answer: {what} took the request{end} and closed without {how}."
    if not any(_protocol(view, k) for k, *_ in shown):
        text = (
            f"{n:,} of {plural(of, 'connection')} heard nothing: {what} took what was sent and closed, as a server does that refuses the client, or that "
            "only receives."
        )
    values = {"connections": of, "unanswered": n, "protocols": names}
    severity: Severity = "problem" if known else "warning"
    advice = "The server does not want this client (an address list, a limit), expects another protocol (TLS), or ended: look at its log for that moment."
    if in_clear:
        advice = "The client speaks without TLS to a port that takes TLS alone: turn TLS on in the client (ldaps://, mqtts://), or take the port without it."
    return [finding(view, ID, severity, text, [f for _, *both in shown for f in both], values, advice if known else "")]


def _probes(view: View, told: list[int]) -> set[int]:
    """Those in clear at ports of LDAP over TLS that come once or twice, as of who looks around, or by the clock, as of who checks that it is shut."""
    starts = view.column("start_ns")
    found: set[int] = set()
    for group in grouped((k for k in told if view.ends(k)[3] in LDAPS), view.service).values():
        if len(group) < IN_CLEAR or checks([starts[k] for k in group]):
            found.update(group)
    return found


def _request(view: View, k: int, fin: int) -> int | None:
    """The frame of the last that a client asked, if that needs an answer."""
    seg, port = view.segments(k), view.ends(k)[3]
    sent = [i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i]]
    if not sent:
        return None
    first, last = sent[0], sent[-1]
    name = NAMES.get(port)
    if name is not None:
        return None if needs_none(name, seg, last) else seg.frame[last]
    end = seg.ts[seg.frame.index(fin)]
    one_way = port in ONE_WAY or seg.text(first) == BITTORRENT
    return None if one_way or sum(seg.fresh[i] for i in sent) > SHORT or end - seg.ts[last] > SOON_NS else seg.frame[last]


def _protocol(view: View, k: int) -> str:
    """Of a session whose requests must be answered, by its port or the client's first words; "" of others."""
    port, head = view.ends(k)[3], int(view.first_requests[k]).to_bytes(8, "big")
    if port in ROUTING:
        return ""
    spoken = (name for begin, end, words, name in SPOKEN if head[begin:end] == words and (name != "X.224" or head[5] == X224_REQUEST))
    ldap = port in LDAPS and head[0] == 0x30 and head[2:4] == b"\2\1" and head[5] in LDAP_ASKS
    return NAMES.get(port) or next(spoken, "") or ("LDAP" if ldap else _database(view, k))


def _database(view: View, k: int) -> str:
    """MySQL or PostgreSQL, by how a session begins."""
    greeted = _databases.greets(view.first_replies[k : k + 1])[0]
    return "MySQL" if greeted else "PostgreSQL" if _databases.starts(view.first_requests[k : k + 1])[0] else ""


def _last_request(view: View, k: int, fin: int) -> int | None:
    """The frame of the last request, after others that a server had answered, on which it closes at once; what is encrypted may be a farewell."""
    seg, name = view.segments(k), EACH.get(view.ends(k)[3]) or _database(view, k)
    last = max(i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i])
    head, length = seg.text(last), seg.length[last]
    if head[1:2] == b"\3" or needs_none(name, seg, last):
        return None
    if seg.ts[seg.frame.index(fin)] - seg.ts[last] > SOON_NS:
        return seg.frame[last] if _is_statement(name, seg, last) else None
    in_clear = {
        "MySQL": int.from_bytes(head[:3], "little") == length - 4,
        "PostgreSQL": head[:1].isalpha(),
        "LDAP": head[:1] == b"\x30",
        "IMAP": b" " in head[:6] and not b"LOGOUT ".startswith(head.upper().partition(b" ")[2][:6]),
        "SQL Server": False,  # a client that has logged in says no farewell, but most encrypt
    }
    said_farewell = name in ("FTP", "SMTP", "POP3", "NNTP") and head.upper().startswith(FAREWELLS)
    return seg.frame[last] if in_clear.get(name, not said_farewell) else None


def _is_statement(name: str, seg: Segments, last: int) -> bool:
    """Whether what a client has said since the server's last word is a statement in clear, and whole: however long it takes, it has an answer."""
    before = max((i for i in range(last) if seg.fresh[i] and not seg.orig[i]), default=-1)
    said = [i for i in range(before + 1, last + 1) if seg.fresh[i] and seg.orig[i]]
    head, size = seg.text(said[0]), sum(seg.fresh[i] for i in said)
    if name == "MySQL":
        return head[3] == 0 and head[4] in _databases.COMMANDS and int.from_bytes(head[:3], "little") + 4 == size
    if name != "PostgreSQL":
        return False
    first = 1 + int.from_bytes(head[1:5], "big")
    return first == size if head[:1] == b"Q" else head[:1] in PREPARED and first + SYNC <= size


def _met(view: View, sessions: list[int]) -> set[int]:
    """Those of some sessions whose server has the same service of the client: of two that both connect, one is closed (RFC 6733 5.6.4)."""
    came = view.sessions["resp_bytes"]
    served = {view.service(k) for k in view.whole if came[k]}
    return {k for k in sessions for client, server, port in [view.service(k)] if (server, client, port) in served}


def _served_after(view: View, sessions: list[int]) -> set[int]:
    """Those of some sessions behind which the same client was served by the same service at once: after they had begun, or ended."""
    starts, ends, came = view.column("start_ns"), view.column("end_ns"), view.sessions["resp_bytes"]
    failed = set(sessions)
    served = times_of((view.service(k), starts[k]) for k in view.whole if came[k] and k not in failed)
    return {k for k in sessions if any(is_among(served, view.service(k), since[k]) for since in (starts, ends))}
