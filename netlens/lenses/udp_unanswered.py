"""Which requests over UDP got no answer?

Asks: whether a client sent a request over UDP again for seconds and heard nothing: the same one, by its mark (SIP, IKE, RADIUS, DTLS, DHCPv6, SNMP, TFTP,
    L2TP, GTP, PFCP, CoAP, DHCP, RPC, MGCP, PTP, STUN, NetBIOS' name servers), or that by which it opened a conversation (QUIC, WireGuard, OpenVPN, NTP,
    Kerberos, RDP); of any other protocol, whether a client that hears nothing waits longer each time before it sends again; whether a client of DHCP gets no
    address, or cannot renew its lease; whether of all answers only the first IP fragment comes, and the client asks again; whether a file that TFTP has granted
    does not come; whether a client of RADIUS drops all answers, as it asks again and again behind them; whether a peer of a call (ICE) found no way at all to
    the other; whether a server of QUIC that had answered says nothing more to a client that goes on to send.
Applies: where the first datagram is in the capture. That the same comes again shows by itself that no answer came (of QUIC, WireGuard and RDP, too), and
    so do pauses that grow; of the others only where their sender hears something in the capture. DNS is covered by dns-unanswered, ICMP errors by unreachable.
Cannot see: whether the request or the answer was lost, or a firewall dropped it; whether a server of QUIC that sent little acknowledged or refused, which is
    encrypted; of protocols that it does not know, those that are asked at an even pace, or once.
Normal: RFC 9002 6.2.2 and RFC 9147 5.8 send a first flight again after 1, 2 and 4 s; that a server of QUIC acknowledges it is no answer yet. A browser
    that cannot use QUIC takes TCP (RFC 9114 3.1), at once; a client that takes it after seconds, without any TCP to that port meanwhile, has waited.
    VPNs over DTLS take TCP, too; a client of NTP, RADIUS or NetBIOS' names takes another server. Of several peers of WireGuard one may be away, and so may one
    that had asked a server from any port; where one that had spoken says nothing for 15 s, the second handshake in vain is enough (whitepaper 6.5). A clock
    or a monitor (NTP, SNMP) that asked a few times in vain asks again later, and a monitor that asks many hosts looks for those that answer. A clock that
    fills in its whole header tells by its origin timestamp whether it ever heard a server (RFC 5905 7.3), also where only its own polls were recorded.
    NTP over PTP answers a Delay_Req by another one with its number (draft-ietf-ntp-over-ptp). Hosts
    ask for DHCPv6 (RFC 8415 18.2.1) in networks that have none; that is nothing where routers say that no addresses are to be had by it, and a problem where
    one says that there are (RFC 4861 4.2). A neighbour whose broadcasts alone are heard may have been told; not if it says one DISCOVER again and again,
    waiting longer each time (RFC 2131 4.1), and never asks for what it was offered, which it would broadcast as well (3.1). What a relay hands on is heard
    between two hosts, so twice is enough. Who renews a lease does so by unicast (4.4.5), and need not begin anew while the server is there.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from netlens.addresses import is_one_host
from netlens.lenses import Finding
from netlens.lenses._datagrams import (
    PATIENT,
    PAUSES,
    SPARE,
    acknowledged,
    answered,
    asking_groups,
    backs_off,
    by_tcp,
    closed_at_once,
    has_other_peers,
    has_other_tunnel,
    hearing,
    hearing_answers,
    needs_no_answer,
    requests,
    stands_in,
    ways,
)
from netlens.lenses._said import UDP, undelivered
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.lenses.wrong_checksums import checked
from netlens.parsers.blocks import ACKNOWLEDGES as ACKS
from netlens.parsers.blocks import DATA, KIND, NUMBER, PORTS, TS
from netlens.parsers.leases import DISCOVER, OFFER, REQUEST, SERVER, Message
from netlens.parsers.routers import ADDRESSES
from netlens.parsers.trail import Conversation
from netlens.parsers.udp_requests import Request
from netlens.text import endpoint, plural
from netlens.wire.addresses import ip_text

ID = "udp-unanswered"
GROUP = "handshakes"
RANK = 15
TIMES, SPAN_NS = 3, 3 * S  #: as SYNs of connect-unanswered
ACCOUNTING = (1813, 1646)  #: RFC 2866 3; a client may tell the same anew
MOST_TRIES, LONGEST_NS = 10, 30 * S  #: after which a client of RADIUS gives up (RFC 5080 2.2.1: MRD)
REPEATED = 2  #: datagrams that a client sends again when it was answered; the first may have crossed the answer
DNS = 53  #: whose answers are for dns-unanswered
UNHEARD, IDLE_NS = 8, 5 * S  #: datagrams that must be acknowledged; a server lets connections go after some silence, most often 30 s
ACKNOWLEDGED_NS = S
WAITED_NS = 3 * S  #: who tries QUIC beside TCP, or soon after gives it up, does so within less: browsers and curl within 0.3 s
BY_TCP = ("QUIC", "RDP", "DTLS", "Kerberos", "RPC", "SIP", "CoAP")  #: whose clients have TCP as well
BY_GROUP = ("DHCPv6", "PTP")  #: asked for at an address of a group
PTP_GENERAL, FOLLOW_UP, ANNOUNCE = 320, 8, 11  #: the port of PTP's answers, and messages of a master (IEEE 1588-2008 13.3.2.2, annex D)
#: For which the first block of a file is sent to a client that may only be slow to take it: some erase their flash before
TAKES_NS = 60 * S
ACKNOWLEDGES, OPTIONS = 0x00040000 << 32, 6  #: of TFTP: block 0, and a server's OACK (RFC 2347)
OPTIONS_BYTES = 200  #: of an OACK at most; a block of data that is not the last has 512 and more, but for odd clients (RFC 2348: 8)
BY_ITSELF = ("QUIC", "RDP", "WireGuard")  #: whose repeated first datagrams prove that no answer came, whatever else is in the capture
ATTEMPT_NS = 600 * S  #: clients that gave up try again after some minutes
AGAIN_NS = S // 2  #: a request that comes again sooner was recorded twice, or handed on by a relay
WIREGUARD = 51820  #: port of its documentation
SILENT_NS = 15 * S  #: a peer of WireGuard that says nothing to data, not even that it has it: then comes a new handshake (whitepaper 6.5)
MANY = 8  #: silent servers that one client of SNMP or NTP asks: it looks around
LEFT_ALONE = 4  #: messages without an answer: an answer or two may be lost
MORE_PATIENT = 2  #: times as long as at first a client of DHCP waits in the end: it backs off (RFC 2131 4.1: 4, 8, 16, 32, 64 s, each up to a second off)
SOON_NS = 2 * S  #: another try that was answered so soon
LONGEST_NS = 3600 * S  #: a conversation that began before
CHECKS, CHECK_BYTES = 5, 56  #: of ICE, to one end; attributes of one with the shortest user name (RFC 8445 7.2.2; RFC 8489 14)
BINDING, STUN_COOKIE = 1, 0x2112A442  #: a request for a binding, and what stands at byte 4 (RFC 8489 5)
STUN_HEADER, NOMINATES = 20, 4  #: bytes of the header, and of the attribute USE-CANDIDATE
MEDIA = 50  #: datagrams or segments of what may be media: speech has so many in a second
NO_MEDIA = (53, 123, 1900, 3702, 5353, 5355)  #: ports of names, clocks, and searches
NAT_PMP = 5351  #: asked of routers most of which do not know it (RFC 6886 3.1)
DOWN = "The service is down, or something drops UDP on its port: look there (ss -lun) and at the firewalls between, and capture at the server's side."
#: By protocol
ADVICE = {
    "WireGuard": "A peer says nothing to keys that it does not know: compare both public keys (wg show). Else its UDP port is closed, or dropped on the way.",
    "PTP": "Compare domain and delay mechanism (E2E, P2P), and let UDP port 319 through to who is asked, and 320 back.",
}
MOST_BESIDE = 1000  #: other tries that are looked at for one


@dataclass
class Silent:
    """A service that did not answer a client."""

    protocol: str
    server: tuple[str, int]
    tries: list[Try]  # without an answer
    made_up: bool  # nobody waited: the client got what it wanted another way, or asks from time to time

    @property
    def tried(self) -> int:
        """Datagrams of one try, of several that tell together of all."""
        return self._longest[0]

    @property
    def lasted_ns(self) -> int:
        return self._longest[1]

    @property
    def _longest(self) -> tuple[int, int]:
        one = max((t.datagrams, t.last_ns - t.first_ns) for t in self.tries)
        every = sum(t.datagrams for t in self.tries), max(t.last_ns for t in self.tries) - min(t.first_ns for t in self.tries)
        return one if one[0] >= TIMES and one[1] >= SPAN_NS else every


class Try(NamedTuple):
    """One request with its repeats.  marked : by which they are known."""

    frames: list[int]
    datagrams: int
    first_ns: int
    last_ns: int
    answered: bool
    marked: bool
    ends: tuple[tuple[str, int], tuple[str, int]]


def look(view: View) -> list[Finding]:
    """At most one, one of ICE, and those of DHCP."""
    return [
        *_of(view),
        *_dropped(view),
        *_torn(view),
        *_fallen_silent(view),
        *_unknown(view),
        *_checks(view),
        *_leases(view),
        *_files(view),
    ]


def _dropped(view: View) -> list[Finding]:
    """Clients of RADIUS that ask one server the same again and again though it has answered, each time, a second and more after that: who gets an answer that
    it can check asks no more, and what is signed by another secret is dropped without a word (RFC 2865 3). One that is late, or lost, is met by one repeat. A
    monitor with one packet goes on for longer than a client does."""
    told = view.once(undelivered)
    asked = grouped((r for r in view.side.capture.requests if r.protocol == "RADIUS" and r.answer_ns), lambda r: (r.client[0], r.server))
    found = {
        pair: these
        for pair, these in asked.items()
        if len(these) >= TIMES
        and pair[1][1] not in ACCOUNTING
        and all(
            len(r.frames) - r.tries >= REPEATED
            and r.last_ns - r.answer_ns >= S
            and len(r.frames) <= MOST_TRIES
            and r.last_ns - r.first_ns <= LONGEST_NS
            for r in these
        )
        and not any((UDP, r.server, r.client) in told for r in these)
    }
    if not found:
        return []
    every = [r for these in found.values() for r in these]
    whom, clients = most(endpoint(*server) for _, server in found), most(client for client, _ in found)
    text = (
        f"{whom} (RADIUS) answered all {len(every):,} requests of {clients}, which sent each again all the same, "
        f"{min(len(r.frames) - r.tries for r in every):,} times and more: it drops the answers, or does not get them."
    )
    values = {"requests": len(every), "servers": sorted({endpoint(*server) for _, server in found}), "protocols": ["RADIUS"]}
    advice = (
        "Most likely the shared secret differs, or one end wants a Message-Authenticator that the other does not send: compare both (a client drops such "
        "answers without a word). If this is the server's side, look for what drops UDP on the way back."
    )
    return [finding(view, ID, "problem", text, [f for r in every for f in (*r.frames, r.answer_frame)], values, advice)]


def _torn(view: View) -> list[Finding]:
    """Clients that got only the first fragment of each answer, and asked again. A filter for ports takes the other fragments, which have none, out of a
    capture, also one that lets ICMP and ARP through: so packets must be in it for which nobody asks (IGMP, LLDP), or such fragments of other datagrams."""
    quality = view.side.capture.table("quality")
    unasked = dict(zip(quality["reason"].tolist(), quality["frames"].tolist(), strict=True))
    others = any(each.starts[:1] != [0] for each in view.side.capture.part.decoder.fragments.open.values())
    if not (others or unasked.get("other_protocol") or unasked.get("not_ip")):
        return []
    torn: dict[tuple[tuple[str, int], tuple[str, int]], list[int]] = {}
    for (_, version, s_hi, s_lo, d_hi, d_lo, *_), datagram in view.side.capture.part.decoder.fragments.open.items():
        if datagram.proto == UDP and datagram.starts == [0] and datagram.end < 0:
            ports = int.from_bytes(datagram.data[:2], "big"), int.from_bytes(datagram.data[2:4], "big")
            ends = (ip_text(s_hi, s_lo, version), ports[0]), (ip_text(d_hi, d_lo, version), ports[1])
            torn.setdefault(ends, []).append(datagram.since_ns)
    back, found = view.once(ways), []
    for (server, client), times in torn.items():
        asked, whole = back.get((client, server)), back.get((server, client))
        if server[1] == DNS or asked is None or len(times) < TIMES or times[-1] - times[0] < AGAIN_NS * (TIMES - 1):
            continue
        asked_again = asked.first_ns <= times[0] and asked.datagrams >= TIMES and asked.last_ns >= times[-2]
        if asked_again and (whole is None or whole.last_ns < times[0]) and not by_tcp(view, client[0], *server):
            found.append((asked, times))
    if not found:
        return []
    times_in_all, longest = sum(len(times) for _, times in found), max(times[-1] - times[0] for _, times in found)
    text = (
        f"Only the first IP fragment of {times_in_all:,} answers over UDP from {most(endpoint(*asked.destination) for asked, _ in found)} came, and never the "
        f"rest: {most(asked.source[0] for asked, _ in found)} asked again for {seconds(longest)} and got nothing."
    )
    values = {
        "unanswered": len(found),
        "servers": sorted({endpoint(*asked.destination) for asked, _ in found}),
        "datagrams": times_in_all,
        "longest_s": longest / 1e9,
    }
    advice = (
        "A firewall or NAT on the way drops IP fragments, as all but the first have no ports: let them through there, or have the server send less in one "
        "datagram, or ask over TCP."
    )
    return [finding(view, ID, "problem", text, [asked.first_frame for asked, _ in found], values, advice)]


def _fallen_silent(view: View) -> list[Finding]:
    """Servers of QUIC that had answered, and then leave a client without a word that sends again and again: each of its packets must be acknowledged (RFC 9000
    13.2.1). After a silence of both the server may have let the connection go (10.1)."""
    if view.one_sided:
        return []
    back, opened = view.once(ways), [o for o in view.side.capture.quic if o.answer_ns]
    talks = [(back.get((o.client, o.server)), back.get((o.server, o.client))) for o in opened]
    left = [
        (talk, answers)
        for talk, answers in talks
        if talk is not None
        and answers is not None
        and len(talk.latest) >= UNHEARD
        and talk.latest[-UNHEARD] > answers.last_ns
        and talk.latest[-1] - talk.latest[-UNHEARD] >= SPAN_NS
    ]
    if not left:
        return []
    peers = Counter(client for client, _ in {(o.client, o.server) for o in opened})  # of several one may leave at any time
    at_work = [
        (t, answers)
        for t, answers in left
        # what comes sooner may acknowledge the server's last word
        if min(ns for ns in t.latest if ns - answers.last_ns > ACKNOWLEDGED_NS) - answers.last_ns < IDLE_NS and peers[t.source] == 1
    ]
    shown = at_work or left
    longest = max(talk.last_ns - answers.last_ns for talk, answers in shown)
    n, whom = len(shown), most(endpoint(*talk.destination) for talk, _ in shown)
    text = f"{whom} fell silent on {n:,} of {plural(len(opened), 'connection')} of QUIC: {most(talk.source[0] for talk, _ in shown)} went on to send, "
    text += f"and heard nothing more for {'up to ' if n > 1 else ''}{seconds(longest)}."
    advice = "The server's program hangs or has gone, or a NAT or firewall on the way has forgotten the connection: capture at the server's side."
    values = {"connections": len(opened), "unanswered": n, "longest_s": longest / 1e9}
    return [
        graded(view, ID, bool(at_work), text, [f for pair in shown for f in (pair[0].first_frame, pair[1].first_frame)], values, advice)
    ]


def _unknown(view: View) -> list[Finding]:
    """Clients of other protocols that send one thing again and wait longer each time, as who has a timer for lost answers does (RFC 8085 3.1.1)."""
    told, back = view.once(undelivered), view.once(ways)
    known = {t.ends for tries in view.once(_tries).values() for t in tries}
    served = {receiver for _, receiver in back}  # ends that hear from anybody
    found = [
        t
        for t in view.conversations
        if (t.source, t.destination) not in known
        and t.source not in served
        and is_one_host(t.destination[0])
        and t.destination[1] not in (*NO_MEDIA, NAT_PMP)
        and t.head & 0xFFFFFFFF != STUN_COOKIE
        and (UDP, t.source, t.destination) not in told
        and not needs_no_answer(t)
        and backs_off(t)
        and not by_tcp(view, t.source[0], *t.destination)
        and t.destination not in view.once(asking_groups)
    ]
    waits = {(t.source, t.destination) for t in found}
    # one of several that tell a place something has such pauses by chance
    content = {t.destination for t in view.conversations if t.datagrams > PAUSES and (t.source, t.destination) not in waits}
    found = [t for t in found if t.destination not in content]
    asked = Counter(t.source[0] for t in found)
    shown = [t for t in found if asked[t.source[0]] <= MANY]
    if not shown:
        return []
    longest = _longest_ns(shown)
    whom = most(endpoint(*t.destination) for t in shown)
    text = (
        f"{whom} never answered over UDP: {most(t.source[0] for t in shown)} sent up to {plural(max(t.datagrams for t in shown), 'datagram')} over "
        f"{seconds(longest)}, and waited longer before each try, as a program does that hears nothing."
    )
    return [finding(view, ID, "problem", text, [t.first_frame for t in shown], _sums(shown), DOWN)]


def _longest_ns(tries: list[Conversation]) -> int:
    return max(t.last_ns - t.first_ns for t in tries)


def _sums(tries: list[Conversation]) -> dict[str, Any]:
    """What a finding says of conversations without an answer in numbers."""
    return {
        "unanswered": len(tries),
        "servers": sorted({endpoint(*t.destination) for t in tries}),
        "datagrams": sum(t.datagrams for t in tries),
        "longest_s": _longest_ns(tries) / 1e9,
    }


def _tries(view: View) -> dict[tuple[str, str, tuple[str, int]], list[Try]]:
    """All requests, by protocol, client and server: those that bear a mark one by one, of others the first of each conversation."""
    marked = [r for r in view.side.capture.requests if is_one_host(r.server[0]) or r.protocol in BY_GROUP]
    found: dict[tuple[str, str, tuple[str, int]], list[Try]] = {}
    for r in marked:
        one = Try(r.frames, len(r.frames), r.first_ns, r.last_ns, r.answered, _is_proof(r), (r.client, r.server))
        found.setdefault((r.protocol, r.client[0], r.server), []).append(one)
    known = {ends for r in marked for ends in ((r.client, r.server), (r.server, r.client))}
    known |= {(talk.source, talk.destination) for talk, _ in view.once(closed_at_once)}  # refused, as tls-failed says
    for key, talks in view.once(requests).items():
        for t in talks:
            if (t.source, t.destination) not in known:
                one = Try([t.first_frame], t.datagrams, t.first_ns, t.last_ns, answered(view, t), False, (t.source, t.destination))
                found.setdefault(key, []).append(one)
    return found


def _is_proof(request: Request) -> bool:
    """Whether that a request comes again shows that no answer came. A clock that asks one master for its delay does so again and again, answered or not."""
    return request.protocol != "PTP" or not is_one_host(request.server[0])


def _silent(view: View) -> list[Silent]:
    told, heard, all_, back = view.once(undelivered), view.once(hearing), view.once(_tries), view.once(ways)
    silent_ones = Counter(key[:2] for key, tries in all_.items() if not any(t.answered for t in tries))
    content = {key for key, tries in all_.items() if any(t.answered for t in tries)}
    found = []
    for (protocol, client, server), tries in all_.items():
        served = sorted((t for t in tries if t.answered), key=lambda t: t.first_ns)
        open_ = [
            t
            for t in tries
            if not t.answered
            and t.datagrams >= (TIMES - 1 if _after_silence(view, protocol, t) else TIMES)
            and t.last_ns - t.first_ns >= SPAN_NS
            and (UDP, *t.ends) not in told
            and (t.marked or ((client in heard or protocol in BY_ITSELF) and not view.one_sided))
        ]
        if not open_ and not served:
            hears = client in view.once(hearing_answers) and not view.one_sided
            open_ = _together([t for t in tries if (t.marked or hears) and (UDP, *t.ends) not in told])
        alone = [t for t in open_ if not _beside(served, t)]  # of others by their mark, one went unheard while the server answered
        open_ = alone or [t for t in open_ if t.marked]
        not_to_be_had = protocol in BY_GROUP and not is_one_host(server[0]) and _is_denied(view, protocol)
        if open_ and not not_to_be_had:
            instead = (
                (
                    protocol in BY_TCP
                    and by_tcp(view, client, *server)
                    and not (protocol == "QUIC" and _waited(view, client, server[1], open_))
                )
                or (protocol in SPARE and any(key[:2] == (protocol, client) and stands_in(server, key[2]) for key in content))
                or (protocol == "OpenVPN" and all(t.ends in back and has_other_tunnel(view, back[t.ends]) for t in open_))
                or (protocol == "WireGuard" and all(has_other_peers(view, *t.ends) or _is_roaming(*t.ends) for t in open_))
            )
            patient = protocol in PATIENT and (silent_ones[protocol, client] > MANY or sum(t.datagrams for t in tries) < 2 * TIMES)
            patient = (
                patient or protocol == "STUN"
            )  # who knows no way from outside may have another (RFC 8445 5.1.1): nobody need have missed it
            to_nobody = not (is_one_host(server[0]) or _is_promised(view, protocol))
            found.append(Silent(protocol, server, open_, instead or not alone or patient or to_nobody))
    return found


def _is_promised(view: View, protocol: str) -> bool:
    """Whether somebody has said in the capture that a group is there to be asked: a router that addresses are to be had by DHCPv6, or a clock that it is the
    master (PTP's Announce, whose port its answers have as well)."""
    return ADDRESSES in view.side.capture.promised if protocol == "DHCPv6" else protocol == "PTP" and bool(view.once(_masters))


def _masters(view: View) -> list[str]:
    """Clocks that say that they are the master."""
    announced = (t for t in view.conversations if t.destination[1] == PTP_GENERAL and t.head >> 56 & 15 in (FOLLOW_UP, ANNOUNCE))
    return sorted({t.source[0] for t in announced})


def _whom(view: View, silent: Silent) -> list[str]:
    """Who did not answer: of PTP, which is asked at the address of a group, the masters."""
    masters = view.once(_masters) if silent.protocol == "PTP" else []
    group = not is_one_host(silent.server[0])
    return [f"the master {each}, asked at {endpoint(*silent.server)}" for each in masters if group] or [endpoint(*silent.server)]


def _is_denied(view: View, protocol: str) -> bool:
    """Whether routers are heard, and none of them says that addresses are to be had by DHCPv6: hosts make their own (RFC 4862 5.5)."""
    said = view.side.capture.promised
    return protocol == "DHCPv6" and bool(said) and ADDRESSES not in said


def _after_silence(view: View, protocol: str, t: Try) -> bool:
    """Whether an end of WireGuard began its handshake anew because its peer, which had spoken, left it without a word (whitepaper 6.5: after 15 s)."""
    back = view.once(ways).get(t.ends[::-1]) if protocol == "WireGuard" else None
    return back is not None and back.last_ns + SILENT_NS <= t.first_ns


def _is_roaming(end: tuple[str, int], peer: tuple[str, int]) -> bool:
    """Whether a server of WireGuard asks a peer that took any port: it had been there, and may be asleep."""
    return end[1] == WIREGUARD != peer[1]


def _waited(view: View, client: str, port: int, tries: list[Try]) -> bool:
    """Whether a client of QUIC that asked in vain had no TCP to that port of any server for :data:`WAITED_NS`."""
    starts, ends = view.once(_by_tcp).get((client, port), ([], []))
    begun = min(t.first_ns for t in tries)
    before = bisect.bisect_left(starts, begun + WAITED_NS)
    return not before or ends[before - 1] < begun


def _until_tcp(view: View, t: Try) -> int:
    """How long after its first datagram of QUIC a client opened a connection to that port of a server, in ns; 0 if it did not."""
    (client, _), (_, port) = t.ends
    starts, _ = view.once(_by_tcp).get((client, port), ([], []))
    at = bisect.bisect_left(starts, t.first_ns)
    return starts[at] - t.first_ns if at < len(starts) and starts[at] - t.last_ns <= WAITED_NS else 0


def _by_tcp(view: View) -> dict[tuple[str, int], tuple[list[int], list[int]]]:
    """By client and port, when its connections begin, in order, and the latest time that one until this ended."""
    starts, ends = view.column("start_ns"), view.column("end_ns")
    of = grouped(sorted(view.first_copies, key=starts.__getitem__), lambda k: view.ends(k)[::3])
    return {key: ([starts[k] for k in group], list(itertools.accumulate((ends[k] for k in group), max))) for key, group in of.items()}


def _together(tries: list[Try]) -> list[Try]:
    """Requests to one server that show together that it answers none: those with a mark are sent again, others come from a new port; [] if they do not."""
    again = [t for t in tries if not t.marked or (t.datagrams > 1 and t.last_ns - t.first_ns >= (t.datagrams - 1) * AGAIN_NS)]
    enough = sum(t.datagrams for t in again) >= 2 * TIMES and max(t.last_ns for t in again) - min(t.first_ns for t in again) >= SPAN_NS
    return again if enough else []


def _beside(served: list[Try], t: Try) -> bool:
    """Whether another request to the same server was answered meanwhile, or right after. ``served``: in order of beginning."""
    low = bisect.bisect_left(served, t.first_ns - LONGEST_NS, key=lambda a: a.first_ns)
    high = bisect.bisect_right(served, t.last_ns + SOON_NS, key=lambda a: a.first_ns)
    return any(a.last_ns >= t.first_ns for a in served[low:high][-MOST_BESIDE:])


def _of(view: View) -> list[Finding]:
    every = _silent(view)
    grave = [s for s in every if not s.made_up]
    shown = grave or every
    if not shown:
        return []
    tries = sum(map(len, view.once(_tries).values()))
    silent = sum(len(s.tries) for s in shown)
    longest = max(s.lasted_ns for s in shown)
    small = {t.destination for talks in view.once(requests).values() for t in talks if acknowledged(view, t)}
    what = "no full datagram back" if all(s.server in small for s in shown) else "no answer"
    text = (
        f"{silent:,} of {plural(tries, 'try', 'tries')} to reach a server over UDP ({', '.join(sorted({s.protocol for s in shown}))}) got {what}: "
        f"{most(name for s in shown for name in _whom(view, s))} (up to {max(s.tried for s in shown)} datagrams over {seconds(longest)})."
    )
    waits = [wait for s in shown if s.protocol == "QUIC" for t in s.tries if (wait := _until_tcp(view, t))]
    if waits and grave:
        text = (
            f"{text[:-1]}; TCP was tried up to {seconds(max(waits))} later."
            if len(waits) > 1
            else f"{text[:-1]}; TCP was tried {seconds(waits[0])} later."
        )
    values = {
        "unanswered": silent,
        "tries": tries,
        "servers": sorted({endpoint(*s.server) for s in shown}),
        "datagrams": sum(t.datagrams for s in shown for t in s.tries),
        "longest_s": longest / 1e9,
        "protocols": sorted({s.protocol for s in shown}),
    }
    advice = DOWN
    if any(s.server in small for s in shown):
        advice = (
            "Short datagrams came back, no full one: the server refuses, or is busy, or full datagrams are lost (MTU): capture at its side."
        )
    asked = {s.protocol for s in shown}
    advice = next((hint for protocol, hint in ADVICE.items() if asked == {protocol}), advice)
    if asked == {"PTP"} and view.once(_masters):
        advice = "The master announces itself, and answers no Delay_Req: compare domain and delay mechanism (E2E, P2P), and let UDP port 319 through to it."
    served = {server for (_, _, server), tries in view.once(_tries).items() if any(t.answered for t in tries)}
    if all(s.server in served for s in shown):
        advice = "It answered others, so it ignored these, or they were lost: look at its log (a secret or a client that it does not know)."
    frames = [f for s in sorted(shown, key=lambda s: -s.lasted_ns) for t in s.tries for f in t.frames]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _checks(view: View) -> list[Finding]:
    """Clients that check ways to peers by STUN (RFC 8445 7.2.4), again and again, hear from none of them, and have no other way for media: a relay over UDP
    or TCP, say."""
    checks = [t for t in view.conversations if _is_check(t)]
    if not checks or view.one_sided:
        return []
    ways, heard = {(t.source, t.destination) for t in view.conversations}, view.once(hearing)
    others = [t for t in view.conversations if t.datagrams >= MEDIA and t.destination[1] not in NO_MEDIA and not _is_check(t)]
    busy = {end for t in others for end in (t.source[0], t.destination[0])}
    up, down = view.column("orig_frames"), view.column("resp_frames")
    busy |= {end for k in view.whole if min(up[k], down[k]) >= MEDIA for end in view.ends(k)[::2]}
    failed = []
    for client, mine in grouped(checks, lambda t: t.source[0]).items():
        insistent = any(t.datagrams >= CHECKS and t.last_ns - t.first_ns >= WAITED_NS for t in mine)
        if insistent and client in heard and client not in busy and not any((t.destination, t.source) in ways for t in mine):
            failed += mine
    if not failed:
        return []
    longest = _longest_ns(failed)
    text = (
        f"{most(t.source[0] for t in failed)} looked for a way to a peer by STUN (ICE) and heard nothing: {most(endpoint(*t.destination) for t in failed)} "
        f"({plural(sum(t.datagrams for t in failed), 'datagram')} over {seconds(longest)})."
    )
    values = _sums(failed) | {"protocols": ["STUN"]}
    advice = "Firewalls or NAT between the two drop UDP: let both use a relay (TURN), or let their ports through."
    return [finding(view, ID, "problem", text, [t.first_frame for t in failed], values, advice)]


def _is_check(talk: Conversation) -> bool:
    """Whether a conversation with one host is Binding requests (RFC 8489 5) alone, as the first one and the sizes say, with room for user name, priority,
    role and integrity. The request that nominates a way has four bytes more (RFC 8445 7.1.2)."""
    is_request = talk.head >> 48 == BINDING and talk.head & 0xFFFFFFFF == STUN_COOKIE
    attributes = talk.head >> 32 & 0xFFFF
    of_one_size = 0 <= talk.bytes - talk.datagrams * (STUN_HEADER + attributes) <= NOMINATES * talk.datagrams
    return is_request and attributes >= CHECK_BYTES and of_one_size and is_one_host(talk.destination[0])


def _leases(view: View) -> list[Finding]:
    """Clients of DHCP that repeat what they asked and are told nothing, or are offered an address that is never confirmed."""
    runs = {client: (run, messages) for client, messages in view.side.capture.leases.items() if (run := _in_vain(messages))}
    offers = {client: offer for client, (run, messages) in runs.items() if (offer := _offered(run, messages))}
    return [
        *_no_lease(view, {client: run for client, (run, _) in runs.items() if client not in offers}, {}),
        *_no_lease(view, {client: run for client, (run, _) in runs.items() if client in offers}, offers),
        *_not_renewed(view),
        *_not_taken(view),
    ]


def _not_taken(view: View) -> list[Finding]:
    """Clients of DHCP that are offered an address each time, and go on with one attempt (xid) as if they had heard nothing, to the end."""
    found: dict[str, tuple[list[Message], list[Message]]] = {}
    for client, messages in view.side.capture.leases.items():
        asked: list[Message] = []
        for m in messages:
            if m.kind == DISCOVER and m.xid == messages[-1].xid and (not asked or m.ts - asked[-1].ts >= AGAIN_NS):
                asked.append(m)
        offers = [m for m in messages if m.kind == OFFER and asked and m.xid == asked[0].xid]
        each = all(any(a.ts < o.ts < b.ts for o in offers) for a, b in itertools.pairwise(asked))
        if {m.kind for m in messages} == {DISCOVER, OFFER} and len(asked) >= TIMES and asked[-1].ts - asked[0].ts >= SPAN_NS and each:
            found[client] = asked, offers
    if not found:
        return []
    offers = [offer for _, these in found.values() for offer in these]
    right = checked(view, [offer.frame for offer in offers], UDP)
    damaged = bool(right) and not any(right.values())
    asked_for = sum(len(asked) for asked, _ in found.values())
    nothing = not damaged and not any(o.boots for o in offers) and all(any(m.boots for m in asked) for asked, _ in found.values())
    end = ", as if the offers had not arrived."
    if damaged:
        end = ": the UDP checksums of the offers are wrong here."
    elif nothing:
        end = ": it boots from the network (PXE), and none of them names a file to boot."
    servers = most(offer.server for offer in offers)
    text = f"{most(found)} asked for an address by DHCP {plural(asked_for, 'time')}, and took none of those that {servers} offered{end}"
    values = {
        "clients": len(found),
        "datagrams": asked_for,
        "offers": len(offers),
        "damaged": damaged,
        "no_boot_file": nothing,
        "protocols": ["DHCP"],
    }
    advice = "Offers are lost or dropped between here and the client, or the client rejects them: capture there, and look at its log."
    if damaged:
        advice = (
            "Unless this was recorded at the server, before its card fills them in, a client throws such offers away; in a virtual network nothing fills them "
            "in. Have the host do it (iptables -t mangle ... CHECKSUM --checksum-fill), or switch the offload off (ethtool -K ... tx off)."
        )
    elif nothing:
        advice = "Set the boot file (option 67) and server (option 66, next-server) for this client's architecture, or start the boot server (proxyDHCP)."
    frames = [m.frame for both in found.values() for part in both for m in part]
    return [finding(view, ID, "problem", text, frames, values, advice)]


def _files(view: View) -> list[Finding]:
    """Transfers of TFTP that a server grants, and of which nothing comes: the client acknowledges the options again and again (RFC 2347, RFC 1123 4.2.3.1),
    and where the server was recorded, it sends the first block again and again."""
    stood, in_vain, longest_sent, grave = [], 0, 0, False
    for t in view.conversations:
        if t.head != ACKNOWLEDGES:
            continue
        back = view.once(ways).get((t.destination, t.source))
        granted = (
            back is not None and back.head >> 48 == OPTIONS and back.bytes <= OPTIONS_BYTES * back.datagrams and back.first_ns <= t.first_ns
        )
        if back is not None and granted and t.datagrams >= TIMES and t.last_ns - max(back.last_ns, t.first_ns) >= SPAN_NS:
            stood.append(t)
            grave = True
        elif back is not None and back.head >> 48 == OPTIONS and (sent := _first_block(view, t))[0]:
            stood.append(t)
            in_vain, longest_sent = max(in_vain, sent[0]), max(longest_sent, sent[1])
    if not stood:
        return []
    grave |= longest_sent >= TAKES_NS or max(Counter(t.source[0] for t in stood).values()) > 1
    longest = _longest_ns(stood)
    whom = most(t.destination[0] for t in stood)
    text = (
        f"{whom} granted {most(t.source[0] for t in stood)} a file by TFTP, and none of it came: the client acknowledged the options up to "
        f"{max(t.datagrams for t in stood)} times over {seconds(longest)}{f'; the first block was sent {in_vain} times' if in_vain else ''}."
    )
    values = {"transfers": len(stood), "datagrams": sum(t.datagrams for t in stood), "longest_s": longest / 1e9, "protocols": ["TFTP"]}
    advice = (
        "Blocks that are larger than a frame travel in fragments, which firewalls and boot loaders drop: agree on 1428 bytes (blksize). Else look for what "
        "drops UDP from the server's other ports."
    )
    return [graded(view, ID, grave, text, [t.first_frame for t in stood], values, advice)]


def _first_block(view: View, t: Conversation) -> tuple[int, int]:
    """How often, and for how long (ns), a server sent the first block to a client that acknowledged nothing but the options; 0 where it did not for a while."""
    blocks = view.side.capture.blocks
    ports, back = t.destination[1] << 16 | t.source[1], t.source[1] << 16 | t.destination[1]
    theirs = blocks[((blocks[:, PORTS] & 0xFFFFFFFF) == ports) & (blocks[:, KIND] == DATA)]
    acked = blocks[((blocks[:, PORTS] & 0xFFFFFFFF) == back) & (blocks[:, KIND] == ACKS), NUMBER]
    alone = len(theirs) >= TIMES and (theirs[:, NUMBER] == 1).all() and len(acked) > 1 and not acked.any()
    span = int(theirs[-1, TS] - theirs[0, TS]) if alone else 0
    return (len(theirs), span) if span >= SPAN_NS else (0, 0)


def _not_renewed(view: View) -> list[Finding]:
    """Clients of DHCP that ask a server in vain to renew their lease, until they begin anew (RFC 2131 4.4.5), while that server is there: in another network
    they hear from another one."""
    found: dict[str, list[Message]] = {}
    for client, messages in view.side.capture.leases.items():
        run: list[Message] = []
        for m in messages:
            if (
                m.kind == DISCOVER
                and len(run) > 1
                and run[-1].ts - run[0].ts >= SPAN_NS
                and run[0].renews in {each.server for each in messages}
            ):
                found.setdefault(client, []).extend([*run, m])
            if not run or m.ts - run[-1].ts >= AGAIN_NS or m.kind != run[-1].kind:  # else it is a copy
                run = [*run, m] if m.renews and m.kind == REQUEST else []
    if not found:
        return []
    servers = most(group[0].renews for group in found.values())
    asked = sum(bool(m.renews) for group in found.values() for m in group)
    text = f"{servers} did not answer {most(found)}, which asked by DHCP to renew its lease ({plural(asked, 'request')}) and began anew (DISCOVER)."
    values = {"clients": len(found), "datagrams": asked, "protocols": ["DHCP"]}
    advice = f"Leases are renewed by unicast: let UDP port 67 of {servers} through from clients that have an address, and its answers back."
    return [finding(view, ID, "problem", text, [m.frame for group in found.values() for m in group], values, advice)]


def _no_lease(view: View, left: dict[str, list[Message]], offers: dict[str, Message]) -> list[Finding]:
    if not left:
        return []
    longest = max(run[-1].ts - run[0].ts for run in left.values())
    asked = f"{plural(sum(map(len, left.values())), 'request')} over {seconds(longest)}"
    if offers:
        servers = most(offer.server for offer in offers.values())
        text = f"{servers} offered {most(left)} an address by DHCP and never confirmed it (no ACK): {asked}."
        advice = f"The server dropped the requests, or they do not reach it: look at the log of {servers}, and at the relay between."
    else:
        text = f"No DHCP server answered {most(left)}: {asked}."
        advice = "No DHCP server is on this network, or it has no address left, or something drops its answers: look there, and at the relay or VLAN between."
    values = {"clients": len(left), "datagrams": sum(map(len, left.values())), "longest_s": longest / 1e9, "protocols": ["DHCP"]}
    # where other traffic was recorded, the client may be a neighbour whose broadcasts alone are heard: then it must show that it still waits
    talks = {t.destination[0] for t in view.conversations if SERVER not in (t.source[1], t.destination[1])}
    others = bool(view.whole) or any(map(is_one_host, talks))
    grave = any(
        (len(run) >= LEFT_ALONE and (not others or _backs_off(run, view.side.capture.leases[client])))
        or _is_relayed(view.side.capture.leases[client])
        for client, run in left.items()
    )
    frames = [m.frame for client, run in left.items() for m in (*([offers[client]] if client in offers else ()), *run)]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _is_relayed(messages: list[Message]) -> bool:
    """Whether a relay hands on what a client asks, and that is DISCOVERs alone: who is offered something asks for it the same way."""
    return any(m.relayed for m in messages) and {m.kind for m in messages} == {DISCOVER}


def _backs_off(run: list[Message], messages: list[Message]) -> bool:
    """Whether a client says one DISCOVER again and again, waiting longer each time, to the end: who wants an offer asks for it by a broadcast as well."""
    gaps = [b.ts - a.ts for a, b in itertools.pairwise(run)]
    slower = gaps[-1] >= MORE_PATIENT * gaps[0] and all(b >= a - S for a, b in itertools.pairwise(gaps))
    return slower and {m.kind for m in messages if m.ts >= run[0].ts} == {DISCOVER} and len({m.xid for m in run}) == 1


def _offered(run: list[Message], messages: list[Message]) -> Message | None:
    """The offer that a client asks in vain to have confirmed."""
    before = [m for m in messages if m.kind == OFFER and m.xid == run[0].xid and m.ts <= run[0].ts]
    return before[-1] if before and run[0].kind == REQUEST else None


def _in_vain(messages: list[Message]) -> list[Message]:
    """The longest run of a client's DISCOVERs, or of one REQUEST, that shows that it was told nothing; [] if none does.

    Who is offered an address asks for it (REQUEST), which ends a run of DISCOVERs as any answer does.
    """
    longest: list[Message] = []
    run: list[Message] = []
    least = TIMES - 1 if _is_relayed(messages) else TIMES
    for m in messages:
        goes_on = run and m.ts - run[-1].ts <= ATTEMPT_NS and m.kind == run[-1].kind and (m.kind == DISCOVER or m.xid == run[-1].xid)
        if goes_on and m.ts - run[-1].ts < AGAIN_NS and m.xid == run[-1].xid:
            continue
        run = [*run, m] if goes_on else [m] if m.kind in (DISCOVER, REQUEST) else []
        if len(run) >= least and run[-1].ts - run[0].ts >= max(SPAN_NS, longest[-1].ts - longest[0].ts if longest else 0):
            longest = run
    return longest
