"""Do tunnels (IPsec, OpenVPN) fail as they log in, which is encrypted?

Asks: whether a server of IKEv2 answers each login (IKE_AUTH) by so few bytes that it can only be a refusal, and the client begins anew, without any ESP;
    whether a client of OpenVPN begins TLS with a server again and again by hard resets, and no data ever follow.
Applies: where both directions are in the capture, over UDP.
Cannot see: why: what is said of it is encrypted; a client that does not want the server. What is refused in clear (NO_PROPOSAL_CHOSEN) is ``refused``, what is
    not answered at all ``udp-unanswered``.
Normal: an answer that lets a client in holds at least an identity, AUTH, the keys' proposal and traffic selectors (RFC 7296 1.2), of some 150 bytes; only
    between the rounds of EAP (2.16) are there short ones, and the last of all is long. A group of Diffie-Hellman is asked for anew in IKE_SA_INIT (1.2), before
    any login; keys are changed within what is up (1.3), by OpenVPN too (soft resets). Who logs in again later has had data before.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.parsers.carried import ESP
from netlens.parsers.vpn import Handshakes, Login
from netlens.text import endpoint, plural

ID = "vpn-logins"
GROUP = "answers"
RANK = 15
#: Bytes of IKE that hold no more than a notification (8): header 28, payload 4, IV and padding of 16 each, a checksum of 32 at most; less than the shortest
#: answer that lets anybody in, without a first tunnel (RFC 6023)
SHORT = 96
TIMES = 2  #: logins that are refused; one alone may be the middle of EAP
DONE_NS = S  #: behind the answer, in which ESP or the next round would come
SESSIONS, SPAN_NS = 3, 10 * S  #: of OpenVPN, which gives up a handshake after 60 s at most (hand-window), or as it is refused


def look(view: View) -> list[Finding]:
    """At most one of each protocol."""
    return [*_ike(view), *_openvpn(view)]


def _ike(view: View) -> list[Finding]:
    logins = view.side.capture.vpn.logins.values()
    carried = view.side.capture.carried
    found: list[Login] = []
    tried = 0
    for (client, server), these in grouped(logins, lambda each: (each.client, each.server)).items():
        answered = [each for each in these if each.answer]
        begun = {each.ts for each in these}
        refused = [
            each
            for each in answered
            if each.answer <= SHORT and (each.asked <= 1 or any(ts > each.answer_ts for ts in begun)) and _is_over(view, each)
        ]
        esp = [way for way in ((ESP, client, server), (ESP, server, client)) if way in carried and carried[way].last_ns >= these[0].ts]
        if refused and all(each.answer <= SHORT for each in answered) and not esp:
            found += answered
            tried += len(these)
    if not found:
        return []
    size = max(each.answer for each in found)
    lasted = found[-1].answer_ts - found[0].ts
    grave = len(found) >= TIMES
    text = (
        f"IKEv2: {len(found):,} of {plural(tried, 'login')} of {most(each.client for each in found)} at {most(each.server for each in found)} failed: "
        f"IKE_AUTH is answered by so few bytes ({size}) that it can only be a refusal{', and all begins anew' if grave else ''} "
        f"({seconds(lasted)}, no ESP)."
    )
    values = {"logins": tried, "refused": len(found), "answer_bytes": size, "longest_s": lasted / 1e9}
    advice = (
        "The server's log says why (AUTHENTICATION_FAILED, TS_UNACCEPTABLE): compare the key (PSK) or certificate, the identities, and the networks of both "
        "ends."
    )
    return [graded(view, ID, grave, text, [frame for each in found for frame in (each.frame, each.answer_frame)], values, advice)]


def _is_over(view: View, login: Login) -> bool:
    """Whether the capture goes on behind an answer."""
    later = any(other.ts > login.answer_ts for other in view.side.capture.vpn.logins.values())
    return later or view.end_of(login.answer_frame) - login.answer_ts >= DONE_NS


def _openvpn(view: View) -> list[Finding]:
    found: dict[tuple[str, str], Handshakes] = {}
    for (client, server), pair in view.side.capture.vpn.openvpn.items():
        begun = [ts for ts, _ in pair.sessions.values()]
        if not pair.data and len(pair.answered) >= SESSIONS and max(begun) - min(begun) >= SPAN_NS:
            found[client, endpoint(*server)] = pair
    if not found:
        return []
    sessions = sum(len(pair.sessions) for pair in found.values())
    lasted = max(pair.last_ns - min(ts for ts, _ in pair.sessions.values()) for pair in found.values())
    text = (
        f"OpenVPN: {most(client for client, _ in found)} begins anew with {most(server for _, server in found)} again and again: the TLS handshake of "
        f"{plural(sessions, 'session')} over {seconds(lasted)} never ended, and no data followed."
    )
    values = {"sessions": sessions, "clients": len({client for client, _ in found}), "longest_s": lasted / 1e9}
    advice = "The server's log says why (VERIFY ERROR, TLS Error): compare the certificates of both ends, who signed them, and their dates."
    return [finding(view, ID, "problem", text, [frame for pair in found.values() for _, frame in pair.sessions.values()], values, advice)]
