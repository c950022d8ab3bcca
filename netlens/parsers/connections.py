"""Connections: sessions joined to what an application opened, with the path it took.

Theory of operation
-------------------
One connection of a program can be several sessions in one capture (measured on ``-i any`` captures of VM and host):

1. *Redirect halves* (near side of sshuttle or another transparent proxy): ``VM:p > 127.0.0.1:12300`` holds what the program sends,
   ``API:443 > VM:p`` what it receives, already with the original destination. The session fold pairs them by client address, port and initial
   sequence number. Path ``sshuttle``; the server is the one of the receiving half.
2. *NAT copies* (a host that translates, captured on both its interfaces): the same pair of initial sequence numbers, or where there was no answer
   the same SYN on another interface, within a second, with one end renamed. Path ``nat``; the originator is who stands in the copy that this
   machine did not send itself, else in the one seen first. Numbers that were not drawn at random (RFC 6528) join nothing.
3. *Copies with the same 5-tuple* (routing, bridging) are one session already; the session fold counts them as copies.
4. *Forwarded by a tunnel* (far side of sshuttle): a session of its own, told by its timing (:mod:`netlens.parsers.tunnels`). Path ``sshuttle``.
5. Everything else is ``direct``, except that a private source (RFC 1918, RFC 6598, ULA) that talks to a public address has been translated
   beyond this capture: ``nat``. Connections of a machine that is known to be the host stay ``direct``: its own way out is not the question.

The SSH connection that carries sshuttle is no connection of an application: it stands in ``tunnels``, not here.

Where a capture was made (``vantage``) is inferred from the same marks: halves mean the VM, copies and forwarded sessions the host. Without
marks, a Linux cooked capture whose machine sends from an address that a hypervisor gives its guests by default was made on the VM.

Limits: without a second capture the origin of a host's session that no mark explains is unknown while a tunnel is up; it is null, not ``host``.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.columnar import Coded, Lists
from netlens.columns import NEVER, Array, objects
from netlens.parsers import session_state as s_
from netlens.parsers.tcp_states import CONN_STATES, ESTABLISHED, INACTIVE, RESET, SYN_SENT
from netlens.parsers.tunnels import SSH_PORT
from netlens.schema import Table
from netlens.tables import CONNECTIONS, LOOKUPS, TUNNELS
from netlens.text import plural
from netlens.wire.addresses import ip_halves

COPY_WINDOW_NS = 1_000_000_000  #: two copies of one SYN are microseconds apart; a queue in between makes milliseconds
#: Two segments on their way where the capture began or ended. Both initial sequence numbers are equal already, so bytes can only refute.
COPY_SLACK_BYTES = 3_000
MAX_COPIES = 8  #: before and after each translation that one machine can do; more sessions with the same numbers have them from a scanner or a script
REFUSED = 0xFFFFFFFF  #: one below the number of an RST that answers a SYN, which is 0 (RFC 9293 3.10.7.1): tells as little as no answer
MIN_ISN = 1 << 16  #: one random number in 65,536 is below, but the numbers of scripts and simple stacks are
MAX_LINK_AGE_NS = 3600 * 1_000_000_000  #: an answer older than an hour says little about why a connection was opened

_PRIVATE = [
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10")
]
#: What hypervisors give their guests unless told otherwise: Apple vmnet (Tart, UTM), libvirt, QEMU and VirtualBox user NAT, Parallels.
_VM_NETWORKS = [ipaddress.ip_network(n) for n in ("192.168.64.0/24", "192.168.122.0/24", "10.0.2.0/24", "10.211.55.0/24")]
SLL_HOST = 0  #: packet type of LINUX_SLL and SLL2 for what was addressed to this machine
SLL_OUTGOING = 4  #: for what this machine sent
SLL_OTHER_HOST = 3  #: for what was addressed to another machine: only a bridge's port (or an interface in promiscuous mode) takes that


@lru_cache(maxsize=1 << 18)  # captures have fewer addresses than connections
def is_private(ip: str) -> bool:
    """An address that no router of the internet forwards (RFC 1918, 3927, 4193, 6598)."""
    address = ipaddress.ip_address(ip)
    return any(address.version == network.version and address in network for network in _PRIVATE)


def are_private(hi: Array, lo: Array, version: Array) -> Array:
    """:func:`is_private` for columns of addresses; all of these IPv6 networks are told by the upper half."""
    out = np.zeros(len(hi), bool)
    for network in _PRIVATE:
        (net_hi, net_lo), (mask_hi, mask_lo) = ip_halves(str(network.network_address)), ip_halves(str(network.netmask))
        inside = lo & mask_lo == net_lo if network.version == 4 else hi & mask_hi == net_hi
        out |= inside & (version == network.version)
    return out


@lru_cache(maxsize=1 << 18)
def is_public(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return not (is_private(ip) or address.is_loopback or address.is_multicast or address.is_unspecified)


def is_of_guest(ip: str) -> bool:
    """An address that a hypervisor gives its guests unless told otherwise."""
    address = ipaddress.ip_address(ip)
    return any(address in network for network in _VM_NETWORKS)


def build(state: Array, sessions: Table, lookups: Table, through: Array) -> tuple[Table, Table, Table]:
    """Connections, lookups (with their connections and path), tunnels.

    Parameters
    ----------
    state : int64[n, S_WIDTH] session state; sessions, lookups : their tables; through : int64[n] from ``TunnelWatch.attributed``.
    """
    n = sessions.rows
    group = np.arange(n)
    sending, receiving = _halves(state)
    group[receiving] = sending
    near = any(ipaddress.ip_address(ip).is_loopback for ip in set(sessions["resp_ip"][sending].tolist()))
    through = np.full_like(through, -1) if near else _plausible(sessions, through)
    nat = nat_copies(state, sessions, group)
    for first, copies in nat.items():
        group[copies] = first
    group = group[group]  # the receiving half of a copy (which takes odd traffic) goes where the sending one went
    vantage, host_ips = _vantage(state, sessions, near, nat, through)
    rows = _columns(state, sessions, group, (sending, receiving), nat, through)
    _paths(rows, sessions, vantage, host_ips)
    tunnels = _tunnels(sessions, rows, vantage)
    carriers = {k for k, what in zip(tunnels["session_id"].tolist(), tunnels["carries"].tolist(), strict=True) if what is not None}
    kept = np.array([len(ids) > 1 or ids[0] not in carriers for ids in rows["session_ids"].tolist()], dtype=bool)
    order = np.flatnonzero(kept)[np.argsort(rows["start_ns"][kept], kind="stable")]
    rows = {k: v[order] for k, v in rows.items()}
    rows["connection_id"] = np.arange(len(order), dtype=np.int64)
    connections = Table(CONNECTIONS, rows)
    return connections, _linked(lookups, connections), tunnels


def _halves(state: Array) -> tuple[Array, Array]:
    """(sending half, receiving half) of each pair: the sending one holds only frames of the client.

    Two that turned out to hold both sides (one port to two addresses of a rewritten server) are no halves.
    """
    mate = state[:, s_.MATE]
    orig = (state[:, s_.FSM] >> 8) & 1
    sends = state[np.arange(len(state)), s_.SIDE + (1 - orig) * s_.SIDE_WIDTH + s_.FRAMES] == 0
    k = np.flatnonzero((mate > np.arange(len(state))) & (sends != sends[mate]))
    return np.where(sends[k], k, mate[k]), np.where(sends[k], mate[k], k)


def _plausible(sessions: Table, through: Array) -> Array:
    """``through`` without what cannot be: what comes out of a tunnel starts at the machine of the sshd, never at the machine that opened it."""
    of_opener = (through >= 0) & (sessions["orig_ip"] == sessions["orig_ip"][through])
    return np.where(of_opener, -1, through)


def nat_copies(state: Array, sessions: Mapping[str, Array], group: Array) -> dict[int, list[int]]:
    """Innermost session -> its copies after translation, outermost last.

    Parameters
    ----------
    state : int64[n, S_WIDTH].  sessions : of the table of sessions the columns that :func:`_is_copy` reads.  group : int64[n]; only sessions that are
    their own group are looked at.
    """
    n = len(state)
    at = np.arange(n)
    orig = (state[:, s_.FSM] >> 8) & 1

    def side(field: int, which: Array) -> Array:
        return state[at, s_.SIDE + which * s_.SIDE_WIDTH + field]

    resp = 1 - orig
    isn, answer, iface = side(s_.BASE, orig), side(s_.BASE, resp), side(s_.IFACE, orig)
    key = isn << 32 | answer
    alone = group == at
    random = alone & (side(s_.BASE_KIND, orig) != s_.NO_BASE) & (isn >= MIN_ISN)
    silent = (side(s_.BASE_KIND, resp) == s_.NO_BASE) | (answer == REFUSED)
    both = random & ~silent & (answer >= MIN_ISN)
    unanswered = random & silent & (side(s_.BASE_KIND, orig) == s_.BASE_SYN)
    copies: dict[int, list[int]] = {}
    for chosen, is_answered in ((np.flatnonzero(both), True), (np.flatnonzero(unanswered), False)):
        keys = key[chosen]
        order = np.lexsort((state[chosen, s_.FIRST_FRAME], keys))
        chosen, keys = chosen[order].tolist(), keys[order]
        edges = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1, [len(keys)]])
        runs = np.flatnonzero((np.diff(edges) >= 2) & (np.diff(edges) <= MAX_COPIES))
        for a, b in zip(edges[runs].tolist(), edges[runs + 1].tolist(), strict=True):
            found: list[list[int]] = []
            for k in chosen[a:b]:
                for members in found:
                    if any(_is_copy(sessions, m, k) and (is_answered or iface[m] != iface[k]) for m in members):
                        members.append(k)
                        break
                else:
                    found.append([k])
            for members in found:
                if len(members) > 1:
                    if orig[members[0]]:  # joined at an answer, which passes the outer side first
                        members.reverse()
                    members.sort(key=lambda k: bool(iface[k] & 0xFF == SLL_OUTGOING))
                    copies[members[0]] = members[1:]
    return copies


def _is_copy(t: Mapping[str, Array], a: int, b: int) -> bool:
    if abs(int(t["start_ns"][a]) - int(t["start_ns"][b])) > COPY_WINDOW_NS:
        return False
    same_orig = t["orig_ip"][a] == t["orig_ip"][b] and t["orig_port"][a] == t["orig_port"][b]
    same_resp = t["resp_ip"][a] == t["resp_ip"][b] and t["resp_port"][a] == t["resp_port"][b]
    if same_orig == same_resp:  # the same 5-tuple is a reuse of it; an entirely different one is chance
        return False
    # A copy carries the same bytes, however they were cut into frames: offload merges segments on one interface, a bridge shows each packet on its
    # port too. One that began or ended at the edge of the capture, or that the capture lost frames of, lacks some.
    return all(
        abs(int(t[f"{side}_bytes"][a]) - int(t[f"{side}_bytes"][b]))
        <= COPY_SLACK_BYTES + int(t[f"{side}_bytes"][a]) // 10 + sum(int(t[f"{side}_missing_bytes"][k]) for k in (a, b))
        for side in ("orig", "resp")
    )


def _vantage(state: Array, sessions: Table, near: bool, nat: dict[int, list[int]], through: Array) -> tuple[str | None, set[str]]:
    """Where the capture was made, and the addresses of the host's own if it is the host."""
    if near:
        return "vm", set()
    forwarded = np.flatnonzero(through >= 0)
    if not nat and not len(forwarded):
        local = {ip for ip in set(sessions["orig_ip"][opened_here(state)].tolist()) if not ipaddress.ip_address(ip).is_loopback}
        in_vm = [is_of_guest(ip) for ip in local]
        return ("vm" if in_vm and all(in_vm) else None), set()
    ips = {sessions["orig_ip"][b] for a, copies in nat.items() for b in copies if sessions["orig_ip"][b] != sessions["orig_ip"][a]}
    ips |= {sessions["orig_ip"][k] for k in forwarded.tolist()}
    ips |= {sessions["resp_ip"][k] for k in through[forwarded].tolist()}
    return "host", ips


def opened_here(state: Array) -> Array:
    """Which sessions the machine of the capture opened, as far as a Linux cooked capture tells: it sent the originator's first frame itself."""
    return _came_by(state) == SLL_OUTGOING


def came_in_here(state: Array) -> Array:
    """Which sessions another machine opened to this one, or through it, as far as a Linux cooked capture tells."""
    return _came_by(state) == SLL_HOST


def bridged(state: Array) -> Array:
    """Which sessions' first frame of the originator this machine took for another one, as far as a Linux cooked capture tells."""
    return _came_by(state) == SLL_OTHER_HOST


def _came_by(state: Array) -> Array:
    """Packet type of a Linux cooked capture of the originator's first frame."""
    orig = (state[:, s_.FSM] >> 8) & 1
    return state[np.arange(len(state)), s_.SIDE + orig * s_.SIDE_WIDTH + s_.IFACE] & 0xFF


def first_seen(state: Array) -> Array:
    """int64[n, 2]: where the first frame of each end of a session was seen: number of the interface, if the capture has it, << 8 | packet type of a Linux
    cooked capture; below 0 where an end has none."""
    return state[:, [s_.SIDE + end * s_.SIDE_WIDTH + s_.IFACE for end in (0, 1)]]


def crossed(state: Array) -> Array:
    """Sessions between whose ends this machine stands, as far as a cooked capture with numbers of interfaces tells: the first frame of each end came in,
    by another interface than the other's."""
    first = first_seen(state)
    return ((first >= 0) & (first & 0xFF != SLL_OUTGOING)).all(axis=1) & (first[:, 0] >> 8 != first[:, 1] >> 8)


def sent_from(capture: Any) -> set[str]:
    """Addresses from which the machine of a capture opened sessions; empty where the capture does not tell."""
    return set(capture.table("sessions")["orig_ip"][opened_here(capture.part.state())].tolist())


def _columns(
    state: Array,
    sessions: Table,
    group: Array,
    halves: tuple[Array, Array],
    nat: dict[int, list[int]],
    through: Array,
) -> dict[str, Array]:
    """All columns but the path, origin and vantage, of one row for each session that is its own ``group``, and those of the group; redirect halves and
    copies are mended last."""
    s = sessions
    heads = np.flatnonzero(group == np.arange(s.rows))
    n = len(heads)
    parts = np.argsort(group, kind="stable")  # of one connection after the other
    edges = np.searchsorted(group[parts], np.append(heads, s.rows))
    begins, listed = edges[:-1], parts.tolist()
    closed = s.ints("closed_ns", NEVER)[heads]
    is_open = closed == NEVER
    named = np.array([name is not None for name in s["sni"].tolist()], bool)[parts]
    first_named = np.minimum.reduceat(np.where(named, np.arange(s.rows), s.rows), begins) if n else begins
    via = through[heads]
    rows: dict[str, Array] = {
        **{name: s[name][heads] for name in _TAKEN},
        "sni": np.concatenate([s["sni"][parts], np.full(1, None, object)])[first_named],
        "start_ns": _joined(np.minimum, s["start_ns"][parts], begins),
        "first_frame": _joined(np.minimum, s["first_frame"][parts], begins),
        "last_frame": _joined(np.maximum, s["last_frame"][parts], begins),
        **{
            name: np.full(n, None, object)
            for name in ("process", "vantage", "origin", "redirect_port", "nat_ip", "nat_port", "tunnel_session_id")
        },
        "connection_id": np.arange(n, dtype=np.int64),
        "path": np.full(n, "direct", dtype=object),
        "end_ns": np.where(is_open, s["end_ns"][heads], closed),
        "duration_s": np.zeros(n),
        "session_ids": objects([listed[a:b] for a, b in pairwise(edges.tolist())]),
        "started_before_capture": ~_joined(np.logical_or, s["saw_syn"][parts], begins),
        "open_at_end": is_open,
    }
    rows["tunnel_session_id"][via >= 0] = via[via >= 0]
    rows["path"][via >= 0] = "sshuttle"
    of_head = group[halves[0]] == halves[0]
    sends, receives = halves[0][of_head], halves[1][of_head]
    _join_halves(rows, np.searchsorted(heads, sends), state, s, sends, receives)
    t = {name: s[name].tolist() for name in _JOINED} if nat else {}
    copied = [head for head in nat if group[head] == head]
    for i, head in zip(np.searchsorted(heads, copied).tolist(), copied, strict=True):
        _join_copies(rows, i, t, head, nat[head])
    lasted = rows["end_ns"] - rows["start_ns"]
    rows["duration_s"] = np.where(lasted < 0, np.nan, lasted / 1e9)  # of a clock that was set back in between nothing can be told
    return rows


def _joined(two: np.ufunc, of: Array, begins: Array) -> Array:
    out: Array = two.reduceat(of, begins) if len(begins) else of
    return out


#: Columns that a connection has from its session.
_TAKEN = ("orig_ip", "orig_port", "resp_ip", "resp_port", "state", "orig_bytes", "resp_bytes")
#: Columns of the sessions that are copies of one, which are read one by one.
_JOINED = ("orig_ip", "orig_port", "end_ns", "closed_ns", "orig_bytes", "resp_bytes", "state")


def _join_halves(rows: dict[str, Array], i: Array, state: Array, s: Table, sends: Array, receives: Array) -> None:
    """Mend the rows ``i``, each of two halves."""
    rows["path"][i] = "sshuttle"
    rows["redirect_port"][i] = s["resp_port"][sends]
    rows["resp_ip"][i], rows["resp_port"][i] = s["resp_ip"][receives], s["resp_port"][receives]
    rows["orig_bytes"][i], rows["resp_bytes"][i] = s["orig_bytes"][sends], s["resp_bytes"][receives]
    sent, received = state[sends, s_.FSM], state[receives, s_.FSM]
    orig, resp = sent >> 4 * (sent >> 8 & 1) & 15, received >> 4 * (1 - (received >> 8 & 1)) & 15
    # The sending half never sees the answer; one that is an RST only, which by itself would tell of no connection, was a refusal (REJ).
    resp = np.where(resp == INACTIVE, RESET, resp)
    answered = (resp != RESET) | (received >> 16 & s_.SAW_SYNACK != 0)
    payload = (rows["orig_bytes"][i] > 0) | (rows["resp_bytes"][i] > 0)
    rows["state"][i] = CONN_STATES[np.where((orig == SYN_SENT) & answered, ESTABLISHED, orig), resp, payload.astype(np.int64)]
    resets = s.ints("rst_ns", NEVER)
    ends = np.maximum(s.ints("orig_fin_ns", NEVER)[sends], s.ints("resp_fin_ns", NEVER)[receives])
    ends = np.minimum(ends, np.minimum(resets[sends], resets[receives]))
    rows["open_at_end"][i] = ends == NEVER
    rows["end_ns"][i] = np.where(ends == NEVER, np.maximum(s["end_ns"][sends], s["end_ns"][receives]), ends)


def _join_copies(rows: dict[str, Array], i: int, s: Mapping[str, list[Any]], head: int, copies: list[int]) -> None:
    rows["path"][i] = "nat"
    last = copies[-1]
    if s["orig_ip"][last] != s["orig_ip"][head] or s["orig_port"][last] != s["orig_port"][head]:
        rows["nat_ip"][i], rows["nat_port"][i] = s["orig_ip"][last], s["orig_port"][last]
    parts = [head, *copies]
    # what one copy lacks through capture loss the other may have
    closed = [(s["closed_ns"][k], k) for k in parts if s["closed_ns"][k] is not None]
    rows["open_at_end"][i] = not closed
    rows["end_ns"][i] = min(closed)[0] if closed else max(s["end_ns"][k] for k in parts)
    if closed and s["closed_ns"][head] is None:
        rows["state"][i] = s["state"][min(closed)[1]]
    rows["orig_bytes"][i] = max(s["orig_bytes"][k] for k in parts)
    rows["resp_bytes"][i] = max(s["resp_bytes"][k] for k in parts)


def _paths(rows: dict[str, Array], sessions: Table, vantage: str | None, host_ips: set[str]) -> None:
    """Path of what no mark explains, and origin."""
    rows["vantage"][:] = vantage
    orig = rows["orig_ip"]
    private = {ip: is_private(ip) for ip in set(orig.tolist())}
    public = {ip: is_public(ip) for ip in set(rows["resp_ip"].tolist())}
    beyond = np.array([private[a] and public[b] for a, b in zip(orig.tolist(), rows["resp_ip"].tolist(), strict=True)], dtype=bool)
    own = np.array([ip in host_ips for ip in orig.tolist()], dtype=bool)
    plain = rows["path"] == "direct"
    rows["path"][plain & beyond & ~own] = "nat"
    if vantage == "vm":
        local = set(orig[rows["path"] == "sshuttle"].tolist())
        rows["origin"][np.array([ip in local for ip in orig.tolist()], dtype=bool)] = "vm"
    elif vantage == "host":
        rows["origin"][(rows["path"] != "direct") & ~(plain & own)] = "vm"
        has_tunnel = bool((sessions["resp_port"] == SSH_PORT).any() or (sessions["protocol"] == "ssh").any())
        if not has_tunnel:
            rows["origin"][plain & own] = "host"


def _tunnels(sessions: Table, rows: dict[str, Array], vantage: str | None) -> Table:
    """SSH sessions, and what shows that they carry sshuttle. Fills ``tunnel_session_id`` of redirected connections."""
    s = sessions
    ssh = np.flatnonzero((s["protocol"] == "ssh") | (s["resp_port"] == SSH_PORT)).tolist()
    redirected = [i for i, p in enumerate(rows["redirect_port"].tolist()) if p is not None]
    counts: dict[int, int] = defaultdict(int)
    for i, best in _held(s, ssh, rows, redirected):
        rows["tunnel_session_id"][i] = best
        counts[best] += 1
    near = set(counts)
    for i, k in enumerate(rows["tunnel_session_id"].tolist()):
        if k is not None and rows["redirect_port"][i] is None:
            counts[int(k)] += 1
    ports = sorted({int(rows["redirect_port"][i]) for i in redirected})
    told: list[tuple[str | None, str | None, str]] = []  # side, what it carries, evidence
    for k in ssh:
        if k in near:
            were = "was" if counts[k] == 1 else "were"
            to = f"redirected to local port {', '.join(map(str, ports))} while it was up"
            up = f"{plural(counts[k], 'connection')} of {s['orig_ip'][k]} {were} {to}"
            told.append(("vm", "sshuttle", up))
        elif counts.get(k):
            after = f"{plural(counts[k], 'session was', 'sessions were')} opened and sent data within 50 ms after at least as much payload had gone to sshd"
            told.append(("host", "sshuttle", after))
        else:
            told.append((vantage if vantage == "host" else None, None, "nothing forwarded was seen in time with it"))
    return Table(
        TUNNELS,
        {
            **{c: s[c][ssh] for c in ("session_id", "orig_ip", "resp_ip", "start_ns", "end_ns", "duration_s", "orig_bytes", "resp_bytes")},
            "started_before_capture": ~s["saw_syn"][ssh],
            "connections": np.array([counts.get(k, 0) for k in ssh], dtype=np.int64),
            **{name: objects([row[at] for row in told]) for at, name in enumerate(("side", "carries", "evidence"))},
        },
    )


def _held(s: Table, ssh: list[int], rows: dict[str, Array], redirected: list[int]) -> Iterator[tuple[int, int]]:
    """(connection, SSH session): redirected connections of a machine go through the SSH connection that it holds open at that time, of several
    through that which sends most."""
    waiting: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for k in ssh:
        waiting[s["orig_ip"][k]].append((int(s["start_ns"][k]), k))
    for found in waiting.values():
        found.sort(reverse=True)
    is_open: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # heaps: (-bytes, session, end)
    starts = rows["start_ns"]
    for i in sorted(redirected, key=lambda i: int(starts[i])):
        ip, now = rows["orig_ip"][i], int(starts[i])
        later, heap = waiting.get(ip, []), is_open[ip]
        while later and later[-1][0] <= now:
            k = later.pop()[1]
            heappush(heap, (-int(s["orig_bytes"][k]), k, int(s["end_ns"][k])))
        while heap and heap[0][2] < now:
            heappop(heap)
        if heap:
            yield i, heap[0][1]


def _linked(lookups: Table, connections: Table) -> Table:
    """Each connection is linked to the latest lookup of the same machine, before it, that returned its address."""
    wanted = set(connections["resp_ip"].tolist())
    rows = _that_answer(lookups, wanted)  # few, where there are very many
    pairs: dict[tuple[str, str], int] = {}
    found: list[tuple[int, int, int]] = []  # client and address, time, row
    some = lookups.take(rows)
    for i, time, client, texts in zip(rows.tolist(), *(some[name].tolist() for name in ("answer_ns", "orig_ip", "answers")), strict=True):
        if time is not None:
            found += [(pairs.setdefault((client, text), len(pairs)), time, i) for text in texts if text in wanted]
    asked = [pairs.get(pair, -1) for pair in connections.tuples("orig_ip", "resp_ip")] if found else []
    at = np.flatnonzero(np.array(asked, np.int64) >= 0)
    # answers and connections of one client and address in order of time: each connection goes with the latest answer before it
    answers = np.array(found, np.int64).reshape(-1, 3)
    pair = np.concatenate([answers[:, 0], np.array(asked, np.int64)[at]])
    time = np.concatenate([answers[:, 1], connections["start_ns"][at]])
    row = np.concatenate([answers[:, 2], at + lookups.rows])
    order = np.lexsort((row, time, pair))
    latest = order[np.maximum.accumulate(np.where(order < len(answers), np.arange(len(order)), 0))]
    linked = (
        (order >= len(answers)) & (latest < len(answers)) & (pair[latest] == pair[order]) & (time[order] - time[latest] <= MAX_LINK_AGE_NS)
    )
    of, ids = row[latest[linked]], row[order[linked]] - lookups.rows
    sizes = np.bincount(of + 1, minlength=lookups.rows + 1)
    return Table(LOOKUPS, {**lookups.columns, "connection_ids": Lists(np.cumsum(sizes), ids[np.lexsort((ids, of))])})


def _that_answer(lookups: Table, wanted: Container[str]) -> Array:
    """Rows of ``lookups`` with an answer that is one of ``wanted``."""
    answers = lookups.columns["answers"]
    if isinstance(answers, Lists) and isinstance(answers.values, Coded):
        known = np.array([word in wanted for word in answers.values.words.tolist()], bool)
        hits = np.concatenate([np.zeros(1, np.int64), np.cumsum(known[answers.values.codes])])
        return np.flatnonzero(np.diff(hits[answers.offsets]))
    return np.flatnonzero([any(text in wanted for text in texts) for texts in lookups["answers"].tolist()])
