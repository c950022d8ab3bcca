"""Why nobody answers SYNs, as far as they tell it themselves: their checksums are wrong, their timestamps run behind those of another host at the same
address, their ports were in use shortly before, their source is an address to which no answer finds back, they are signed by a key that the other end need
not have, or they go to another hardware address than those that are answered. And why a client ignores the answers: their checksums are wrong.

Each needs more than the SYNs that were not answered: where SYNs that were answered are the same, it is no reason."""

from __future__ import annotations

import bisect
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import NamedTuple

from netlens.lenses._connects import OPEN, Attempt, attempts
from netlens.lenses._reread import reread
from netlens.lenses._view import SYN, S, View, grouped, most, seconds
from netlens.lenses.wrong_checksums import MOST, NEARER, checked
from netlens.parsers.headers_again import Sent, sent, vlans

LEAST = 3  #: SYNs, or connections: one or two are an accident
#: Ticks of a timestamp clock in a second at most (RFC 7323 5.4: 1 ms to 1 s each), with a tenth for clocks that run fast, and for one tick begun
TICKS, BEGUN = 1100, 10
KEPT_NS = 60 * S  #: for which a host keeps the last timestamp of another (the MSL of RFC 9293 3.4.1 is twice that; Linux: TCP_PAWS_MSL)
FAR_NS = S // 1000  #: of an answer: nobody on the same machine or bridge takes so long
HELD_NS = 240 * S  #: for which a connection may be held that is closed: twice the MSL of RFC 9293 3.4.1
#: BGP, MSDP and LDP, whose connections are signed (RFC 2385; RFC 3618 12; RFC 5036 2.9)
_SIGNED_PORTS = {179, 639, 646}
_ETHERNET = 1  # a link type
_HALF, _NEVER = 1 << 31, 1 << 62
#: Addresses to which nothing on the internet has a route (RFC 1918, RFC 6598)
_PRIVATE = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
_LINK_LOCAL = ip_network("169.254.0.0/16")


_CHANGED = (
    "Something on the way changes these packets and leaves their checksums as they were, or nobody adds the checksum that was left to a network card: turn "
    "checksum offload off where they come from (ethtool -K DEV tx off), and look at what stands between (a virtual switch, a tunnel, a NAT)."
)


class Reason(NamedTuple):
    """Why SYNs are ignored: as the end of a sentence, and what to do."""

    text: str
    advice: str


def reason(view: View, failed: list[Attempt]) -> Reason | None:
    """What the SYNs of attempts that nobody answered have in common, and those that were answered have not; None without."""
    told = _older(view, failed) or _reused(view, failed) or _untranslated(view, failed)
    return told or _signed(view, failed) or _sent_elsewhere(view, failed) or _damaged(view, failed)  # these read the capture again


def ignored_answers(view: View, deaf: list[Attempt]) -> Reason | None:
    """Why clients ignore the SYN+ACKs of attempts, where others were heard; see :func:`_damaged`."""
    if (other := _in_other_vlan(view, deaf)) is not None:
        return other
    answers = [f for a in deaf if ":" not in a.client for f in _synacks(view, a)][:MOST]
    if len(answers) < LEAST:
        return None
    silent = {a.session for a in deaf}
    others = [a for a in view.once(attempts) if a.outcome == OPEN and a.session not in silent][:MOST]
    taken = [f for a in others for f in _synacks(view, a)[-1:]]
    right = checked(view, [*answers, *taken])
    known = [right[frame] for frame in answers if frame in right]
    if len(known) < LEAST or any(known) or not all(right.get(frame, True) for frame in taken):
        return None
    return Reason("the TCP checksums of these SYN+ACKs are wrong, so that a receiver drops them", _CHANGED)


def _in_other_vlan(view: View, deaf: list[Attempt]) -> Reason | None:
    """SYN+ACKs that come in another VLAN than the SYNs went, while those that are heard come in the same: no switch brings them to the client (IEEE 802.1Q)."""
    opened = [a for a in view.once(attempts) if a.outcome == OPEN and a.usable_ns][:MOST]
    ways = [(a.syn_frames[0], answers[0]) for a in (*deaf[:MOST], *opened) if (answers := _synacks(view, a))]
    tags = reread(view, [frame for way in ways for frame in way], vlans)
    if len(set(tags.values())) < 2 or len(ways) < len(deaf[:MOST]) + 1:
        return None
    there, back = ({tags.get(way[k], -1) for way in ways[: len(deaf[:MOST])]} for k in (0, 1))
    if (
        len(there) != 1
        or len(back) != 1
        or there == back
        or -1 in there | back
        or any(tags.get(a) != tags.get(b) for a, b in ways[len(deaf[:MOST]) :])
    ):
        return None
    here, away = (f"VLAN {number}" if number else "no VLAN" for number in (*there, *back))
    return Reason(
        f"the SYNs went in {here}, and the answers came in {away}, unlike those that were heard",
        f"A port, a trunk or the server puts frames into {away} that belong into {here}: compare the VLANs of the ports on both ways, the native one "
        f"of trunks above "
        "all.",
    )


def _synacks(view: View, attempt: Attempt) -> list[int]:
    seg = view.opening(attempt.session)
    return [seg.frame[i] for i in range(len(seg)) if not seg.orig[i] and seg.flags[i] & SYN]


def _sent(view: View, frames: list[int]) -> dict[int, Sent]:
    ethernet = {kind for given in view.side.capture.part.inputs for kind in given.link_types} == {_ETHERNET}
    return reread(view, frames, lambda paths, some: sent(paths, some, ethernet))


def _signed(view: View, failed: list[Attempt]) -> Reason | None:
    """Routers that sign their SYNs; who has no key, or another one, drops them (RFC 2385 2, RFC 5925 7.3)."""
    syns = [(a, frame) for a in failed for frame in a.syn_frames][:MOST]
    if len(syns) < LEAST or any(a.port not in _SIGNED_PORTS for a in failed):
        return None
    headers = _sent(view, [frame for _, frame in syns])
    how = {headers[frame].signed for _, frame in syns if frame in headers}
    kinds = sorted(how - {""})
    signing, plain = (
        {(a.client, a.server) for a, frame in syns if frame in headers and bool(headers[frame].signed) is k} for k in (True, False)
    )
    if len(kinds) != 1 or signing & plain or not plain <= {pair[::-1] for pair in signing}:
        return None
    if any(a.outcome == OPEN and (a.client, a.server) in signing and a.port in _SIGNED_PORTS for a in view.once(attempts)):
        return None
    end = (
        f"those of {most(client for client, _ in plain)} do not" if plain else "which a peer that has not the same key drops without a word"
    )
    return Reason(
        f"the SYNs of {most(client for client, _ in signing)} carry a {kinds[0]}, {end}",
        f"Set the same key at both ends ({most(sorted({end for pair in signing for end in pair}))}): the system's log of the other end tells of segments "
        "without a signature, or with a wrong one. If the keys are the same, the host is off or a filter drops the SYNs.",
    )


def _sent_elsewhere(view: View, failed: list[Attempt]) -> Reason | None:
    """SYNs that all went to one hardware address, while all that were answered since went to another: an address that moved unannounced (RFC 5227 3), or
    another router than the one that works."""
    asking, begun = view.side.capture.asking, min(a.syn_ns[0] for a in failed)
    servers = {a.server for a in failed}
    opened = [a for a in view.once(attempts) if a.outcome == OPEN and (a.client, a.server) in {(f.client, f.server) for f in failed}]
    since = [a for a in opened if a.answer_ns > begun][:MOST]
    before = [a for a in opened if a.answer_ns <= begun][-LEAST:]
    syns = [frame for a in failed for frame in a.syn_frames][:MOST]
    if len(syns) < LEAST or not (asking.claims or asking.tested) or servers != {a.server for a in since}:
        return None
    others = [a for a in view.once(attempts) if a.server not in servers][:MOST]
    headers = _sent(view, [*syns, *(a.syn_frames[-1] for a in (*since, *before, *others))])
    gone, come, had, elsewhere = (
        {headers[frame].to if frame in headers else "" for frame in frames}
        for frames in (syns, *([a.syn_frames[-1] for a in those] for those in (since, before, others)))
    )
    if len(gone) != 1 or len(come) != 1 or gone == come or "" in gone | come:
        return None
    old, new = *gone, *come
    routers = {each.router for said in view.side.capture.router_advertisements.values() for each in said}
    router = most(
        r for r in sorted(routers) if any(claim.hardware == old for claim in (*asking.claims.get(r, ()), *asking.tested.get(r, ())))
    )
    if router:
        return Reason(
            f"they went to {router} ({old}), which advertises itself as a router; those that were answered went to another one ({new})",
            f"If {router} is not meant to be a router, find it by its hardware address (the switch's MAC table), and let switches drop its router "
            "advertisements (RA guard); else see where it sends them.",
        )
    if had == gone:
        # a host that was away comes back by another card, too, and a router has one for many addresses
        behind = {claim.hardware for address, claims in asking.claims.items() if address not in servers for claim in claims} | elsewhere
        last = max(a.syn_ns[-1] for a in failed)
        moved = all(any(claim.hardware == new and claim.ts < last for claim in asking.claims.get(server, ())) for server in servers)
        if not moved or {old, new} & behind:
            return None
        return Reason(
            f"they went to the hardware address that had answered before ({old}); those that were answered since went to another one ({new})",
            "The address moved to another host, and who had spoken to it went on sending to the old one until the address was resolved again (ARP): let who "
            "takes over announce that (gratuitous ARP, RFC 5227 3), or see why it took over so late.",
        )
    return Reason(
        f"they went to another hardware address ({old}) than those that were answered ({new})",
        "Look who has these hardware addresses (ip neigh, the switch's MAC table): a router, or one host of several, of which one does not pass them on.",
    )


def _damaged(view: View, failed: list[Attempt]) -> Reason | None:
    """RFC 9293 3.1: a segment with a wrong checksum is dropped without a word. Of IPv4, whose header has a checksum of its own: where that is wrong too,
    addresses were changed in the file. A checksum that was left to a card is usual where the sender was captured, and wrong behind a network."""
    syns = [frame for a in failed for frame in a.syn_frames if ":" not in a.client][:MOST]
    if len(syns) < LEAST:
        return None
    others = [a.syn_frames[0] for a in view.once(attempts) if a.outcome == OPEN][:MOST]
    unfilled: set[int] = set()
    right = checked(view, [*syns, *others], unfilled=unfilled)
    if not all(right.get(frame, True) for frame in others):
        return None
    known = [right[frame] for frame in syns if frame in right]
    if len(known) >= LEAST and not any(known):
        return Reason("the TCP checksums of these SYNs are wrong, so that a receiver drops them", _CHANGED)
    if (
        unfilled.issuperset(syns)
        and unfilled.isdisjoint(others)
        and all(_is_near_server(view, *pair) for pair in {(a.client, a.server) for a in failed})
    ):
        return Reason(
            "these SYNs came over the network without a TCP checksum, which the sender's network card should have added, so that a receiver drops them",
            _CHANGED,
        )
    return None


def _is_near_server(view: View, client: str, server: str) -> bool:
    """Whether what a client answers takes :data:`FAR_NS` and longer, and :data:`NEARER` times as long as what a server does, by ping and address resolution."""
    near, far = _answers_after(view, client, server), _answers_after(view, server, client)
    return far != _NEVER and far >= max(FAR_NS, NEARER * near)


def _answers_after(view: View, asker: str, asked: str) -> int:
    """The shortest time in ns after which a host answered another."""
    asking = view.side.capture.asking
    took = [
        ping.answers[number].ts - seen.ts
        for ping in asking.pings.values()
        if (ping.source, ping.destination) == (asker, asked)
        for number, seen in ping.requests.items()
        if number in ping.answers
    ]
    told = [claim.ts for claim in asking.claims.get(asked, ()) if claim.answer]
    for seen in asking.sought.get((asker, asked), ()):
        took += [ts - seen.ts for ts in told if 0 <= ts - seen.ts <= S][:1]
    return min(took, default=_NEVER)


def _older(view: View, failed: list[Attempt]) -> Reason | None:
    """Two clocks behind one address, of which the slower one is not answered (RFC 6191 3, RFC 7323 5.8). A host whose timestamps begin anew with each
    connection, as Linux has it for each pair of addresses at most, has no clock that goes through all of them."""
    pairs = grouped(failed, lambda a: (a.client, a.server))
    opened = grouped((a for a in view.once(attempts) if a.outcome == OPEN), lambda a: (a.client, a.server))
    if not all(_is_behind(view, opened.get(pair, []), group) for pair, group in pairs.items()):
        return None
    client, server = most(client for client, _ in pairs), most(server for _, server in pairs)
    return Reason(
        f"their TCP timestamps are lower than that of the connection before, which is of another clock at {client}",
        f"Several hosts share {client} (NAT), and {server} takes SYNs with lower timestamps for old ones: have it no longer use timestamps to reuse "
        "connections in TIME_WAIT (net.ipv4.tcp_tw_recycle=0; Linux has it no more since 4.12).",
    )


def _is_behind(view: View, opened: list[Attempt], group: list[Attempt]) -> bool:
    """Whether a client's unanswered SYNs are of one clock, those that were answered of another, and each of the first lower than the last of the others."""
    stamps = {a.session: _stamp(view, a) for a in (*opened, *group)}
    if len(opened) < LEAST or len(group) < LEAST or None in stamps.values():
        return False
    if not all(_of_one_clock([(a.syn_ns[0], stamps[a.session] or 0) for a in those]) for those in (opened, group)):
        return False
    opened = sorted(opened, key=lambda o: o.syn_ns[0])
    for a in group:
        at = bisect.bisect_right(opened, a.syn_ns[0], key=lambda o: o.syn_ns[0]) - 1
        if at < 0 or a.syn_ns[0] - opened[at].syn_ns[0] > KEPT_NS:
            return False
        if ((stamps[a.session] or 0) - (stamps[opened[at].session] or 0)) & 0xFFFFFFFF < _HALF:
            return False
    return True


def _of_one_clock(told: list[tuple[int, int]]) -> bool:
    """Whether one clock shows these times (ns, ticks)."""
    told.sort()
    steps = pairwise(told)
    return all((after - before) & 0xFFFFFFFF <= (until - since) * TICKS // S + BEGUN for (since, before), (until, after) in steps)


def _stamp(view: View, attempt: Attempt) -> int | None:
    """The timestamp of a SYN, which echoes none (RFC 7323 3.2), but for its last bit; None without."""
    if view.trail is None:
        return None
    t, at = view.trail.segments(), view.trail.of(attempt.session).start
    known = at < len(t["frame"]) and t["frame"][at] == attempt.syn_frames[0]
    return int(t["stamp"][at]) or None if known else None


def _reused(view: View, failed: list[Attempt]) -> Reason | None:
    """Ports that a connection to the same server had shortly before, which the server, or a firewall before it, may still hold (RFC 9293 3.6.1), while
    connections from other ports are answered."""
    services = {(a.server, a.port) for a in failed}
    opened = [a for a in view.once(attempts) if a.outcome == OPEN and (a.server, a.port) in services]
    ended: dict[tuple[str, int, str, int], list[int]] = {}
    end = view.column("end_ns")
    for a in opened:
        ended.setdefault(view.ends(a.session), []).append(end[a.session])

    def since(a: Attempt) -> int:
        """How long before it the last connection of its ports ended; :data:`_NEVER` without."""
        return min(
            (a.syn_ns[0] - until for until in ended.get(view.ends(a.session), ()) if until <= a.syn_ns[0]),
            default=_NEVER,
        )

    begun = min(a.syn_ns[0] for a in failed)
    if len(failed) < LEAST or sum(a.syn_ns[0] > begun and since(a) == _NEVER for a in opened) < LEAST:
        return None
    longest = max(since(a) for a in failed)
    if longest > HELD_NS or any(since(a) <= longest for a in opened):
        return None
    return Reason(
        f"each used a port again on which a connection had ended shortly before (up to {seconds(longest)})",
        "The server, or a firewall or NAT before it, still holds the old connections of these ports (TIME_WAIT): let the clients use more ports "
        "(net.ipv4.ip_local_port_range, a larger pool of the NAT) or keep connections open, and do not bind the client's port.",
    )


def _untranslated(view: View, failed: list[Attempt]) -> Reason | None:
    """A private source on a link whose own addresses, as ARP tells, are public ones: nobody translated it on the way there (RFC 1918 3)."""
    asking = view.side.capture.asking
    on_link = {address for pair in asking.sought for address in pair if ":" not in address} | {a for a in asking.claims if ":" not in a}
    public = {address for address in on_link if not _is_private(address)}
    if not public or public != {a for a in on_link if ip_address(a) not in _LINK_LOCAL}:
        return None
    if any(target not in asking.claims for _, target in asking.sought):
        return None  # who is sought in vain may be the way back
    if any(":" in a.client or not _is_private(a.client) or _is_private(a.server) for a in failed):
        return None
    if any(a.outcome == OPEN and _is_private(a.client) for a in view.once(attempts) if ":" not in a.client):
        return None
    return Reason(
        f"{most(a.client for a in failed)} is a private address, though this link has public ones ({most(sorted(public))})",
        "No answer finds back to a private address from the internet (RFC 1918): have the router translate it (masquerading, source NAT), or give the "
        "server's network a route back.",
    )


def _is_private(address: str) -> bool:
    return any(ip_address(address) in network for network in (*_PRIVATE, _LINK_LOCAL))
