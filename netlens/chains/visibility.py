"""What the captures can show: whether what leaves the host is in them, what the VM sends, and whether they were given the right way round.

That what leaves the host was captured is not taken on trust: some connection to the target must be in its capture as it leaves, from an address
that is not translated again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.compared import MIN_ISN
from netlens.chains.origins import FROM_GUESTS
from netlens.chains.side import WORDS, Side
from netlens.chains.situation import VM
from netlens.errors import NetlensError
from netlens.parsers import connections
from netlens.parsers.tunnels import SSH_PORT
from netlens.text import endpoint, plural, printable

if TYPE_CHECKING:
    from netlens.chains.linking import Linked

LOSSY = 0.05  #: share of the payload; with half of that every verdict of the recordings stays right, with twice as much some turn wrong

COOKED = {113, 276, 149, 258}  #: link types of captures of all interfaces: Linux cooked, and Apple's PKTAP
LINUX_COOKED = {113, 276}
SLL2 = 276
NUMBERED = {SLL2, 149, 258}  #: those that tell interfaces apart
MOST_COMPARED = 1000  #: connections whose sources are compared
#: Connections to the target, at least, and share of them, of which one direction is missing: at the edge of a capture one may lack an end by chance.
ONE_SIDED, ONE_SIDED_SHARE = 2, 0.05


def exchanged(sides: Mapping[str | None, Side]) -> str:
    """A warning that the captures were given the wrong way round; "" if nothing suggests it.

    Packets that one machine sent and the other received prove which is which; so do addresses that are translated between the captures or in one of them
    (:func:`_translated`). Without them the marks of a tunnel do, if each capture has those of the other side: one alone proves nothing, as a VM with
    containers translates, and a host may redirect to a proxy of its own.

    Raises
    ------
    NetlensError
        both are the same capture.
    """
    if not {"vm", "host"} <= sides.keys():
        return ""
    vm, host = sides["vm"], sides["host"]
    a, b = vm.capture.part, host.capture.part
    if a.frames and (a.frames, a.bounds_ns) == (b.frames, b.bounds_ns) and vm.sessions.rows == host.sessions.rows:
        paths = f"{printable(vm.capture.paths[0])} and {printable(host.capture.paths[0])}"
        raise NetlensError(
            f"{paths}: the captures of VM and host are the same ({plural(a.frames, 'frame')}); give one of each side, or only one"
        )
    proven = _sent_by_vm(vm, host) or _translated(vm, host)
    if proven > 0:
        return ""
    found = {name: _marked(side) for name, side in sides.items()}
    if proven < 0 or (found["vm"] == "host" and found["host"] == "vm"):
        return f"the capture given with --vm seems to be from the {WORDS['host']}: are --vm and --host swapped?"
    return ""


def missing_beside(linked: Linked) -> str:
    """The capture to make instead, where a captured machine asks the target beside the host: one router may give both one address, and what it asks is in no
    count; "" if there is none."""
    if not linked.apart:
        return ""
    names = " and ".join(map(printable, linked.apart))
    return f"a capture made where the host and {names} leave together (on their router)"


def _marked(side: Side) -> str | None:
    """Where a capture was made, by the marks of a tunnel: redirected connections, or such that came out of it."""
    c = side.connections
    redirected = any(port is not None for port in c["redirect_port"].tolist())
    forwarded = any(t is not None and r is None for t, r in c.tuples("tunnel_session_id", "redirect_port"))
    return "vm" if redirected and not forwarded else "host" if forwarded and not redirected else None


def _sent_by_vm(vm: Side, host: Side) -> int:
    """Of sessions that both captures hold, those that the capture given as the VM's sent itself and the host's received, less the other way round.

    Only Linux cooked captures say which packets their machine sent.
    """

    # few where a tunnel opens sessions of its own
    numbers = np.intersect1d(vm.sessions.ints("orig_isn", -1), host.sessions.ints("orig_isn", -1))

    def opened(side: Side) -> dict[Any, bool]:
        s, isn = side.sessions, side.sessions.ints("orig_isn", -1)
        rows = np.flatnonzero((isn >= 0) & np.isin(isn, numbers))
        sent = connections.opened_here(side.capture.part.state())[rows].tolist()
        keys = zip(*(s[name][rows].tolist() for name in ("orig_ip", "orig_port", "resp_ip", "resp_port")), isn[rows].tolist(), strict=True)
        return dict(zip(keys, sent, strict=True))

    here, there = opened(vm), opened(host)
    return sum(here[key] - there[key] for key in here.keys() & there.keys() if here[key] != there[key])


def _translated(vm: Side, host: Side) -> int:
    """Of connections that both captures hold, those whose source is translated on the way from the capture given as the VM's to the host's, less the other way
    round (RFC 3022 2.2: from the private address inside to the one outside).

    A capture that shows a source before and after its translation is made where that is done, or beyond; one that shows it only before, nearer to the
    program. Where neither shows both, a private source in one and a public one in the other tell.
    """
    numbers = []
    for side in (vm, host):
        first = np.array([ids[0] for ids in side.session_ids], np.int64)
        isns = [side.sessions.ints(f"{end}_isn", -1)[first] if len(first) else first for end in ("orig", "resp")]
        numbers.append(np.where((isns[0] >= MIN_ISN) & (isns[1] >= MIN_ISN), isns[0] << 32 | isns[1], -1))
    common, here, there = np.intersect1d(numbers[0], numbers[1], return_indices=True)
    votes = 0
    for number, row, mate in list(zip(common.tolist(), here.tolist(), there.tolist(), strict=True))[:MOST_COMPARED]:
        if number < 0:
            continue
        sources, translated = [], []
        for side, k in ((vm, row), (host, mate)):
            sources.append({side.sessions["orig_ip"][each] for each in side.session_ids[k]})
            translated.append((side.connections["orig_ip"][k], side.connections["nat_ip"][k]))
        beyond = [
            before in others and after is not None and after not in others
            for (before, after), others in zip(translated, sources[::-1], strict=True)
        ]
        inside = [all(connections.is_private(str(ip)) for ip in each) for each in sources]
        outside = [all(connections.is_public(str(ip)) for ip in each) for each in sources]
        votes += (beyond[1] or (inside[0] and outside[1])) - (beyond[0] or (inside[1] and outside[0]))
    return votes


def host_silent(linked: Linked) -> bool:
    """Whether the host's capture, of all its interfaces, shows no program of the host asking the target, though what the VM asks is not seen as it leaves: it
    leaves inside something else, which is there, with as many bytes at least. (A capture that was filtered shows nothing by showing nothing.)"""
    host, vm, up = linked.sides.get("host"), linked.sides.get("vm"), linked.upstream
    if host is None or vm is None or linked.exchanged or not (up.name == "vm" or missing_egress(linked)) or not of_all_interfaces(host):
        return False
    ids = [k for row in np.flatnonzero(vm.target).tolist() for k in vm.session_ids[row]]
    asked, carried = (
        sum(int(each.sessions[f"{end}_bytes"][rows].sum()) for end in ("orig", "resp")) for each, rows in ((vm, ids), (host, slice(None)))
    )
    others = host.target.any() if up is vm else (linked.origin[up.target] != VM).any()
    return carried >= asked > 0 and not others


def leaves_elsewhere(linked: Linked) -> bool:
    """Whether some connection to the target ends in a relay on the host and nothing of it is seen to leave: it was redirected there, or what a VM sent was
    answered by the host itself. Its way out is somewhere else, and who else uses that is not seen."""
    up = linked.upstream
    if up.name != "host" or not of_all_interfaces(up):
        return False
    rows = np.flatnonzero(up.target)
    if any(port is not None for port in up.connections["redirect_port"][rows].tolist()):
        return True
    if _link_types(up) != {SLL2}:
        return False
    state = up.capture.part.state()
    answered_here = connections.came_in_here(state) & (connections.first_seen(state) & 0xFF == connections.SLL_OUTGOING).any(axis=1)
    return any(answered_here[up.session_ids[row]].all() for row in rows[linked.origin[rows] == VM].tolist())


def missing_egress(linked: Linked) -> str:
    """What to capture to see what leaves the host; "" if its capture shows that: some connection to the target, as it leaves.

    A connection seen only with the VM's own private address has yet to be translated, beyond the interface that was captured. One with an address of the
    VM's that needs no translation leaves likewise on each interface, so it shows what leaves only in a capture of all of them. Where answers come in by
    another interface than requests, both were captured, whatever the addresses.
    """
    outside = "a capture of the host where its connections leave (-i any, or the interface of its default route) over the same time"
    up = linked.upstream
    if linked.exchanged:
        return "the captures with --vm and --host swapped"
    rows = np.flatnonzero(up.target)
    one_sided = up.one_sided(rows)
    if up.seen.one_way or (one_sided >= ONE_SIDED and one_sided >= ONE_SIDED_SHARE * len(rows)):
        return "a capture of the host with both directions of its traffic"
    if up.seen.lost_share > LOSSY:
        return "a capture of the host with less loss (tcpdump -B 65536, full snaplen)"
    if linked.alone_at_relay is not None:
        return "a capture of the host where others may ask its relay (-i any)"
    if up.name == "vm" and "host" in linked.sides and linked.sides["host"].target.any():
        return "a recording in which no relay on the way ends TLS, with a capture of the host where its connections leave (-i any)"
    if up.name == "vm":  # the host's shows nothing of the target
        return outside
    c = up.connections
    if linked.vm is not None:
        v = linked.vm.connections
        inner = {ip for name in ("orig_ip", "nat_ip") for ip in v[name].tolist() if ip is not None}
        inner -= linked.pairing.shared if linked.pairing is not None else frozenset()
    else:
        inner = {ip for ip in set(c["orig_ip"].tolist()) if connections.is_of_guest(ip)}
    inner |= _passed_in(up)
    everywhere = of_all_interfaces(up)
    if everywhere and connections.crossed(up.capture.part.state())[[k for row in rows.tolist() for k in up.session_ids[row]]].any():
        return ""  # what comes from beyond comes in where the others leave
    for orig_ip, nat_ip, resp_ip in set(zip(*(c[name][rows].tolist() for name in ("orig_ip", "nat_ip", "resp_ip")), strict=True)):
        if orig_ip == resp_ip or is_loopback(resp_ip):
            continue  # with a relay on the machine itself
        outer = nat_ip or orig_ip
        # a private server may be a relay on the host, of whose own connections one interface shows nothing
        beyond = connections.is_public(resp_ip) or connections.is_of_guest(resp_ip) or not everywhere
        if outer not in inner or not (beyond if connections.is_private(outer) else not everywhere):
            return ""
    return outside if len(rows) else ""


def _passed_in(side: Side) -> set[str]:
    """Private addresses of other machines whose connections to the target came in, as far as a Linux cooked capture tells, and were not seen translated."""
    if not LINUX_COOKED & _link_types(side):
        return set()
    here, c = connections.opened_here(side.capture.part.state()), side.connections
    rows = np.flatnonzero(side.target).tolist()
    opened = set(np.flatnonzero(here).tolist())
    ips, translated = (c[name].tolist() for name in ("orig_ip", "nat_ip"))
    came_in = {ips[row] for row in rows if translated[row] is None and opened.isdisjoint(side.session_ids[row])}
    return {ip for ip in came_in if connections.is_private(ip)}


def _link_types(side: Side) -> set[int]:
    return {kind for given in side.capture.part.inputs for kind in given.link_types}


def of_all_interfaces(side: Side) -> bool:
    """Whether all interfaces were captured: by the link type, unless all packets are of one of those that it numbers."""
    kinds, first = _link_types(side), connections.first_seen(side.capture.part.state())
    return bool(kinds & COOKED) and (not kinds <= NUMBERED or len(np.unique(first[first >= 0] >> 8)) > 1)


def unseen_of_vm(linked: Linked) -> int:
    """Connections to the target that the host carried for the VM, or that the VM looked up the name of, where none of them is in the VM's capture; else 0."""
    if linked.vm is None or linked.vm.target.any():
        return 0
    c, target = linked.upstream.connections, linked.upstream.target
    asked = {str(name).lower().rstrip(".") for name in linked.vm.capture.table("lookups")["qname"].tolist() if name}
    return sum(
        path in FROM_GUESTS or name in asked for path, name in zip(c["path"][target].tolist(), c["sni"][target].tolist(), strict=True)
    )


def forwarded_ports(linked: Linked) -> list[str]:
    """Where on itself the VM's programs ask while SSH carries what they ask: its capture shows its loopback, and nothing that is redirected there, as sshuttle
    would have it. Ends of connections with data both ways, most first; empty where the VM's capture does not show that."""
    vm = linked.vm
    if vm is None or any(port is not None for port in vm.connections["redirect_port"].tolist()):
        return []
    c, s = vm.connections, vm.sessions
    ends = Counter(
        endpoint(ip, port)
        for source, ip, port, ids in c.tuples("orig_ip", "resp_ip", "resp_port", "session_ids")
        if is_loopback(source) and is_loopback(ip) and all(s["orig_bytes"][k] and s["resp_bytes"][k] for k in ids)
    )
    return [end for end, _ in ends.most_common(3)] if any(ssh == SSH_PORT for ssh in c["resp_port"].tolist()) else []
