"""Which connections were broken off?

Asks: whether a RST ended a connection while something was asked or under way.
Applies: to connections captured in both directions, in which data was exchanged or asked for.
Cannot see: whether the peer or a box on the way sent the RST, unless the two are a different number of hops away; what was asked inside TLS.
Normal: RFC 9293 3.6.1: a program that closes with data unread resets. A RST behind a FIN of either side, behind the server's last alert of TLS, to what
    comes late, by a client that has all it wanted, or at the end of an idle time is the ordinary end of many programs (browsers, Windows, LDAP, SMB).
    Not so where the server closes on a question that it has not answered, and then resets what the client goes on to say: that was lost (RFC 1122 4.2.2.13);
    nor where a server answers by a RST, again and again, what is too long for a farewell;
    nor where clients of MQTT publish into connections that were closed before, again and again (MQTT 5.0 3.1.2.10: after 1.5 times the keep-alive), or those
    of a database ask so, and are given nothing on another connection soon; nor where the server goes on sending behind its reset, again and again: a TCP that
    resets has nothing more to send (RFC 9293 3.10.7), so somebody else said it, as is
    certain where the host's capture shows no such reset; nor where, inside TLS, a server resets again and again while its answer is on
    its way, piece by piece, without the alert by which a whole one ends (RFC 8446 6.1). A request of HTTP that its client sends again at once, and is answered,
    cost little (RFC 9112 9.3.1), unless that comes again and again. An alert of TLS asks for nothing: nothing follows it (RFC 8446 6.1).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import numpy as np

from netlens.lenses import Finding, Severity, _databases, _ttl
from netlens.lenses._between import same
from netlens.lenses._broken_off import ALERT_1_3, ENCRYPTED_ALERT
from netlens.lenses._repeats import FAREWELL
from netlens.lenses._unanswered import requests
from netlens.lenses._view import ACK, FIN, RST, S, Segments, View, finding, grouped, most, seconds, views
from netlens.lenses.tls_failed import failures
from netlens.text import plural

ID = "reset"
GROUP = "delivery"
RANK = 40
ASKED_NS = 10 * S  #: a request older than this was given up before
AT_ONCE_NS = S  #: RST so soon after the request answers it
APPLICATION_DATA = 23  #: type of a TLS record (RFC 8446 5.1); the client's last words of the handshake begin with ChangeCipherSpec (20)
ALERTED = 0x1503  #: how a record with an alert begins
#: a type of MQTT (5.0 2.1.2); connections of a client that published, or asked in a protocol that nobody knows, in vain, or that somebody else reset
PUBLISH, AGAIN = 3, 2
MOMENTS = 3  #: at which requests are reset, all of which were sent again: a server that starts anew makes one
INSTEAD_NS = 5 * S  #: in which a client is given on another connection what it asked for behind a close
LONGEST_FAREWELL = 1024  #: bytes of one in a protocol that nobody knows, with who says it and why, as JSON or XML
PIECES, PIECES_NS = 4, S // 4  #: of an answer that is sent as it is made up, and how long that takes
SHORT = 512  #: bytes of an answer that is no more than a greeting or an error


@dataclass
class Broken:
    """A connection that was reset."""

    session: int
    by_client: bool
    asked: bool  # a request of the client was open
    frames: list[int]
    idle: bool = False  # nothing had been sent for a while
    silent_ns: int = 0  # how long
    unknown: bool = False  # the RST has no ACK: where it was made, nobody knew the connection (RFC 9293 3.10.7.1)
    guessed: bool = False  # what was asked may be no question: no farewell is so long, but nobody knows the protocol
    late: str = ""  # "published" (MQTT) or "asked" (a database) behind the server's FIN
    at_ns: int = 0  # when that was
    forged: bool = False  # the server went on sending
    midway: bool = False  # the server had not ended its answer


def broken(view: View) -> list[Broken]:
    """Resets of established connections that had not been closed before."""
    resets = view.column("rst_ns")
    found = [one for k in view.in_one if resets[k] is not None and (one := _reset(view, k)) is not None]
    found = _in_vain(view, found)
    late, guessed, forged, midway = (
        Counter(view.service(b.session) for b in found if of(b)) for of in map(attrgetter, ("late", "guessed", "forged", "midway"))
    )
    for b in found:
        b.asked &= not b.guessed or (not b.by_client and guessed[view.service(b.session)] >= AGAIN)
        b.forged &= forged[view.service(b.session)] >= AGAIN
        b.midway &= midway[view.service(b.session)] >= AGAIN
        b.asked |= b.forged or b.midway
    return [b for b in found if not b.late or late[view.service(b.session)] >= AGAIN]


def _in_vain(view: View, found: list[Broken]) -> list[Broken]:
    """These without what was asked behind a close where the same client soon was given something by the same server."""
    asked = grouped((b for b in found if b.late == "asked"), lambda b: view.service(b.session))
    given: dict[tuple[str, str, int], list[int]] = {service: [] for service in asked}
    for k in view.first_copies if asked else ():
        if (times := given.get(view.service(k))) is not None:
            seg = view.segments(k)
            said = [i for i in range(len(seg)) if seg.fresh[i]]
            times += [seg.ts[i] for i, j in pairwise(said) if seg.orig[i] and not seg.orig[j] and _is_statement(view, k, seg.head[i])]
    made_up = {
        b.session for service, group in asked.items() for b in group if any(b.at_ns <= at <= b.at_ns + INSTEAD_NS for at in given[service])
    }
    return [b for b in found if b.late != "asked" or b.session not in made_up]


def _reset(view: View, k: int) -> Broken | None:
    seg = view.segments(k)
    last = {True: -1, False: -1}
    answered = 0  # bytes of the server since the last request
    asking = 0  # bytes of the client since the server's last word
    head = 0
    said = False  # the server sent anything at all
    done = False  # the client has said farewell
    in_turn = False  # and when it last did, it had all that the client had sent: what came then is a new question
    for i in range(len(seg)):
        flags = seg.flags[i]
        orig = seg.orig[i]
        if flags & FIN:
            if orig:
                return None
            open_ = (
                in_turn and not answered and not seg.fresh[i] and _heard(seg, i, last[True]) and seg.ts[i] - seg.ts[last[True]] <= ASKED_NS
            )
            if view.column("resp_missing_bytes")[k] or (view.column("protocol")[k] == "http" and k not in view.once(_unanswered)):
                open_ = False
            return (_lost(seg, k, i) if open_ else None) or _closed_on(seg, k, i) or _asked_behind(view, seg, k, i)
        if flags & RST:
            if i == 0 or (last[True] < 0 and last[False] < 0):
                return None
            asked_at = last[True]
            if orig and last[False] >= 0 and seg.head[last[False]] >> 48 == ALERTED:
                return None  # the server had said that it closes, or that it will not go on
            since = seg.ts[i] - seg.ts[asked_at] if asked_at >= 0 else 1 << 62
            open_ = asked_at >= 0 and answered == 0 and since <= ASKED_NS and (orig or not done)
            wrong_door = not orig and 0 < answered <= SHORT and since <= AT_ONCE_NS and greets(head) and seg.offset[asked_at] == 0
            unknown = open_ and not orig and not flags & ACK and asked_at == i - 1 and since <= AT_ONCE_NS
            forged = not orig and any(not seg.orig[j] and seg.length[j] and seg.offset[j] >= seg.offset[i] for j in range(i + 1, len(seg)))
            if view.column("protocol")[k] == "http" and k not in view.once(_unanswered) and not forged:
                open_ = unknown = False  # the answer is there, before the client had sent all it wanted
            if answered and not orig and view.column("protocol")[k] == "tls":  # by a session ticket only, which comes behind the handshake
                open_ = since <= ASKED_NS and not done and view.once(_open).get(k, seg.ts[asked_at] + 1) <= seg.ts[asked_at]
            known = unknown or not said or view.column("protocol")[k] in ("http", "tls") or _answers(int(view.first_replies[k]))
            guessed = open_ and not known and asking > LONGEST_FAREWELL
            asked = (open_ and known) or wrong_door or guessed
            if asked and view.column("resp_missing_bytes")[k]:
                return None  # the answer may have passed unseen
            frames = [seg.frame[j] for j in (asked_at, i) if j >= 0]
            silent = seg.ts[i] - seg.ts[max(last.values())]
            idle = silent > AT_ONCE_NS
            pieces = [j for j in range(asked_at + 1, i) if not seg.orig[j] and seg.fresh[j]] if view.column("protocol")[k] == "tls" else []
            midway = not orig and not idle and len(pieces) >= PIECES and not is_alert(seg, pieces[-1])
            midway &= midway and seg.ts[pieces[-1]] - seg.ts[pieces[0]] >= PIECES_NS
            return Broken(k, orig, asked, frames, idle, silent, unknown, guessed=guessed, forged=forged, midway=midway)
        if seg.length[i] and seg.fresh[i]:
            last[orig] = i
            if orig:
                asking = seg.fresh[i] + (asking if not answered else 0)
                answered, head, done = 0, 0, said and is_alert(seg, i)
            else:
                said = True
                in_turn = last[True] < 0 or _heard(seg, i, last[True])
                answered += seg.length[i]
                head = head or seg.head[i]
    return None


def is_alert(seg: Segments, i: int) -> bool:
    """Whether a segment is an alert of TLS, and nothing else."""
    return seg.head[i] >> 48 == ALERTED or (seg.head[i] >> 24 == ALERT_1_3 and seg.length[i] == ENCRYPTED_ALERT)


def _heard(seg: Segments, i: int, asked_at: int) -> bool:
    """Whether a segment acknowledges all of another one of the other side."""
    return asked_at >= 0 and seg.acked[i] >= seg.end(asked_at)


def _between(view: View, resets: list[Broken]) -> bool:
    """Whether the host's capture shows all these connections of the VM, and none of their resets: those of who got one may be there."""
    traffic = view.traffic
    if view.side is not traffic.vm or traffic.pairing is None:
        return False
    host = next(each for each in views(traffic) if each.side is traffic.upstream)
    rst, last = host.column("rst_ns"), host.side.bounds_ns[1]
    for b in resets:
        mate = same(view, host, b.session)
        at = int(traffic.clock.to_host(np.array([view.column("rst_ns")[b.session]], np.int64))[0])
        if mate is None or at > last:
            return False
        if rst[mate] is not None:
            seg = host.segments(mate)
            if any(seg.flags[i] & RST and seg.orig[i] == b.by_client for i in range(len(seg))):
                return False
    return True


def _unanswered(view: View) -> set[int]:
    """Sessions with a request that has no answer."""
    x = view.side.capture.table("exchanges")
    return set(x["session_id"][x.ints("response_ns", -1) < 0].tolist())


def _open(view: View) -> dict[int, int]:
    """By session, when the request began that has no answer (ns): session tickets are none (RFC 8446 4.6.1), as :mod:`netlens.parsers.exchanges` tells."""
    x = view.side.capture.table("exchanges")
    open_ = x.ints("response_ns", -1) < 0
    return dict(zip(x["session_id"][open_].tolist(), x["start_ns"][open_].tolist(), strict=True))


def _lost(seg: Segments, k: int, fin: int) -> Broken | None:
    """A server that closes while its client still talks, and resets what comes then: no program reads it any more (RFC 9293 3.6.1, RFC 1122 4.2.2.13)."""
    later = range(fin + 1, len(seg))
    closed = next((i for i in later if seg.orig[i] and seg.flags[i] & FIN), len(seg))
    said = [i for i in later if seg.orig[i] and seg.fresh[i] and i <= closed]
    reset = next((i for i in later if not seg.orig[i] and seg.flags[i] & RST), None)
    if reset is None or not said or said[0] > reset or sum(seg.length[i] for i in said) <= FAREWELL:
        return None
    return Broken(k, False, True, [seg.frame[i] for i in (fin, said[0], reset)])


def _asked_behind(view: View, seg: Segments, k: int, fin: int) -> Broken | None:
    """A client of MQTT that publishes, or of a database that asks, though its host has acknowledged the server's FIN, and is reset."""
    later = range(fin + 1, len(seg))
    said = next((i for i in later if seg.orig[i] and (seg.fresh[i] or seg.flags[i] & FIN)), len(seg))
    reset = next((i for i in later if not seg.orig[i] and seg.flags[i] & RST), 0)
    if said > reset or seg.acked[said] <= seg.end(fin):
        return None
    publishes = b"\0\4MQT" in int(view.first_requests[k]).to_bytes(8, "big") and seg.head[said] >> 60 == PUBLISH
    late = "published" if publishes else "asked" if seg.fresh[said] and _is_statement(view, k, seg.head[said]) else ""
    return Broken(k, False, True, [seg.frame[i] for i in (fin, said, reset)], late=late, at_ns=seg.ts[said]) if late else None


def _is_statement(view: View, k: int, head: int) -> bool:
    """Whether a message begins as a statement of PostgreSQL or MySQL, in a session of these."""
    text = head.to_bytes(8, "big")
    if _databases.starts(view.first_requests[k : k + 1])[0]:
        return text[:1] in (b"Q", b"P", b"B") and text[1:2] == b"\0"
    return bool(_databases.greets(view.first_replies[k : k + 1])[0]) and text[3] == 0 and text[4] in _databases.COMMANDS


def _closed_on(seg: Segments, k: int, fin: int) -> Broken | None:
    """A server that closes as soon as the handshake of TLS is over, and answers the client's first words by a reset."""
    asked = [i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i] and seg.head[i] >> 56 == APPLICATION_DATA]
    if not asked or asked[0] < fin or seg.length[asked[0]] <= FAREWELL:
        return None
    later = range(asked[0] + 1, len(seg))
    reset = next((i for i in later if not seg.orig[i] and (seg.flags[i] & RST or seg.fresh[i])), None)
    if reset is None or not seg.flags[reset] & RST:
        return None
    return Broken(k, False, True, [seg.frame[fin], seg.frame[asked[0]], seg.frame[reset]])


def _answers(head: int) -> bool:
    """Whether a server's first words are an answer of RTSP or SIP, which have one for each request as HTTP has."""
    return head.to_bytes(8, "big").startswith((b"RTSP/1.0", b"RTSP/2.0", b"SIP/2.0 "))


def greets(head: int) -> bool:
    """Whether a server's first words are a greeting of SSH, SMTP, FTP, POP3, IMAP or VNC: no answer to a request."""
    return head.to_bytes(8, "big").startswith((b"SSH-", b"220 ", b"220-", b"+OK ", b"* OK", b"RFB "))


def _after(shown: list[Broken]) -> str:
    """How long nothing had been sent before resets, where that was a while before each."""
    silent = sorted(b.silent_ns for b in shown if b.idle)
    if len(silent) < len(shown) or silent[0] < S:
        return ""
    return f", after {' to '.join(dict.fromkeys((seconds(silent[0]), seconds(silent[-1]))))} without data"


def _asked_again(view: View, found: list[Broken]) -> set[int]:
    """Sessions of HTTP in clear whose open request the same client sent again at once, and was answered: a client does so where a server starts anew, or when a
    spare connection has expired (RFC 9110 9.2.2, RFC 9112 9.3.1). What is shorter than what had been sent is another one."""
    sessions = {b.session for b in found if view.column("protocol")[b.session] == "http"}
    if not sessions:
        return set()
    asked, resets = view.side.capture.asked, view.column("rst_ns")
    open_: dict[int, tuple[int, int]] = {}
    answered: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for k, at, first, response, size in requests(view, "start_ns", "start_frame", "response_ns", "up_bytes"):
        if response is None:
            if k in sessions and first in asked:
                open_[k] = asked[first], size or 0
        elif first in asked:
            answered.setdefault((view.address(k, True), asked[first]), []).append((at, size or 0))
    made_up = {
        k for k, (what, size) in open_.items()
        if any(resets[k] <= at <= resets[k] + INSTEAD_NS and size <= n for at, n in answered.get((view.address(k, True), what), ()))
    }  # fmt: skip
    return made_up if len({resets[k] // INSTEAD_NS for k in made_up}) < MOMENTS else set()


def look(view: View) -> list[Finding]:
    if view.one_sided:
        return []
    told = {f.session for f in view.once(failures)[0]}  # the finding "tls-failed" says it
    found = [b for b in view.once(broken) if b.session not in told]
    made_up = _asked_again(view, [b for b in found if b.asked and not b.by_client])
    grave = [b for b in found if b.asked and not b.by_client and b.session not in made_up]
    some = [b for b in found if not b.by_client or b.asked]
    shown = grave or some
    if not shown:
        return []
    n, of = len(shown), len(view.whole)
    whom = most(view.server(b.session) for b in shown)
    if grave:
        between = _between(view, grave)
        unknown = not between and all(b.unknown for b in grave)
        what = "when data came, as if it did not know the connection" if unknown else "while a request was open"
        by = f"in the name of {whom} by something between the two captures (the host's capture shows no reset)" if between else f"by {whom}"
        late = grave[0].late if len({b.late for b in grave}) == 1 else ""
        forged = all(b.forged for b in grave)
        what = f"because the client {late} after the server had closed" if late else what
        what = "in the midst of an answer" if all(b.midway for b in grave) else what
        if forged:
            by, what = f"in the name of {whom}", "by something on the way, while the server went on sending"
        hops = None if between or forged or late or unknown else _ttl.sent_by_another(view, [b.session for b in grave])
        by = f"in the name of {whom}" if hops else by
        text = f"{n:,} of {plural(of, 'connection')} {'was' if n == 1 else 'were'} reset {by} {what}{_ttl.told(hops, n) if hops else ''}."
    else:
        by = "the client" if all(b.by_client for b in shown) else "the server" if not any(b.by_client for b in shown) else "either side"
        text = f"{n:,} of {plural(of, 'connection')}, with {whom}, ended with a reset from {by} instead of a close{_after(shown)}."
        if made_up:
            again = len(made_up)
            text = (
                f"{text[:-1]}; {'a request' if again == 1 else f'{again:,} requests'} that was open was sent again at once, and answered."
            )
    values = {"connections": of, "reset": n, "while_asked": len(grave), "by_client": sum(b.by_client for b in shown)}
    advice = ""
    if grave and between:
        advice = "Look at the firewalls and proxies between the VM and the host, unless the host's capture was filtered."
    elif grave and hops:
        advice = _ttl.ADVICE
    elif grave and forged:
        advice = "A firewall or a proxy on the way ends what it does not want to pass (too much, or what it holds for an attack): look at its log."
    elif grave and late == "asked":
        advice = (
            "What was asked then got no answer. Let the pool close idle connections sooner than the server does, or test one before it is used, and ask again "
            "on another."
        )
    elif grave and late:
        advice = (
            "What was published then is lost. A broker closes after 1.5 times the keep-alive without a message: have the client send its pings, "
            "and look whether it is still connected before it publishes."
        )
    elif grave and unknown:
        advice = (
            "The server was restarted, or a NAT or firewall on the way has forgotten the connection, perhaps because it was idle: "
            "send keep-alives more often, or connect again after a pause."
        )
    elif grave:
        advice = "Look at the server's log for that moment; a proxy or firewall on the way can send the reset in its name (compare TTLs)."
    active = sum(not b.idle for b in shown)  # the end of an idle time is the ordinary end of many programs
    severity: Severity = "problem" if grave else "warning" if any(b.asked for b in shown) or active >= 3 else "note"
    return [finding(view, ID, severity, text, [f for b in shown for f in b.frames], values, advice)]
