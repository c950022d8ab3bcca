"""Whose each connection of the host is: the VM's, the host's own, or nobody knows whose.

Theory of operation
-------------------
The VM's: what is paired, and what has the VM's address. The host's own: what belonged to a process of the host other than the tunnel's (sockets), and
what carries a hello that the VM did not send though everything it sent then was captured. All else is unknown, also what could not be paired.

Limits: a connection that was lost before the host's capture saw it can be confused with an equal one of the host's own at the same moment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.compared import DONE, FAR_NS, FIRST_UP, LAST_UP, MAX_DELAY_NS, Compared, Found
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.columns import MISSING, Bools, Codes, Ints, Objects

#: Of a connection upstream with as many frames, no capture lacks all that lacks few packets, or many, and that recorded others meanwhile.
MANY_FRAMES, FEW_LOST = (8, 30), 0.05
MANY_REQUESTS = 5  #: from so many on, a few at the time of somebody else's are chance
FROM_GUESTS = ("sshuttle", "nat")  #: paths of connections that the host carries for another machine


def origins(found: Found, companion_of: Ints, addresses: set[str], shared: Collection[str]) -> tuple[Codes, Objects]:
    """addresses : of the VM.  shared : those of them that the host has as well, which tell nothing."""
    v, h = found.v, found.h
    origin = np.full(h.n, UNKNOWN, np.int8)
    why = np.full(h.n, "not paired", dtype=object)
    lacking = _Lacking(found)
    sent = set().union(*v.randoms) if v.n else set()
    window = (v.first + found.time.uncertain_ns + MAX_DELAY_NS, v.last - found.time.uncertain_ns) if found.time.known else (0, -1)
    reached = _reached(found)

    def servers(rows: Bools) -> set[int]:
        """What the VM's connections of these rows go to in the end."""
        return set().union(*(reached[server] for server in set(v.server[rows].tolist())))

    older = servers(v.censored & (found.host_of < 0))
    settled = servers(found.host_of >= 0) if not (v.up_missing > 0).any() else set()
    unpaired = _Unpaired(found, reached)
    paths, vantages, server_of = h.connections["path"].tolist(), h.connections["vantage"].tolist(), h.server.tolist()
    # a capture of one of the VM's interfaces may show nothing of what its programs send (with sshuttle the uplink shows the tunnel alone): then silence
    # there says nothing
    blind = {server_of[j] for j in range(h.n) if paths[j] in FROM_GUESTS and not found.later[j]} - servers(np.ones(v.n, bool))
    # nor where it asks for a name and then opens no connection there
    names = {str(name).lower().rstrip(".") for name in v.lookups["qname"].tolist() if name} - {
        name for name in v.connections["sni"].tolist() if name
    }
    blind |= {server_of[j] for j, name in enumerate(h.connections["sni"].tolist()) if name in names} - servers(np.ones(v.n, bool))
    events = h.events[:, [FIRST_UP, LAST_UP, DONE]]
    in_window = ((window[0] <= events) & (events <= window[1])).tolist()
    for j, i in enumerate(found.vm_of.tolist()):
        if i >= 0:
            # a container's connection has the VM's address only behind the VM's own translation
            if v.orig_ip[i] in addresses or v.forwarded[i] or v.local[i] or v.connections["nat_ip"][i] in addresses:
                origin[j], why[j] = VM, f"paired by {found.method[i]}"
            elif paths[j] != "nat":
                origin[j], why[j] = HOST, "opened from the host to the VM"
            else:
                why[j] = "opened to the VM from elsewhere"
        elif h.orig_ip[j] in addresses and h.orig_ip[j] not in shared:
            origin[j], why[j] = VM, "from the VM's address"
        elif found.processes.own[j]:
            origin[j], why[j] = HOST, f"socket of {sorted(name for name, _ in found.processes.owners[j])[0]}"
        elif companion_of[j] >= 0:
            origin[j], why[j] = VM, "opened beside a forwarded connection"
        elif found.processes.of_tunnel(j):
            origin[j], why[j] = VM, "socket of the tunnel's process"
        elif server_of[j] in blind:
            if paths[j] == "sshuttle" and vantages[j] != "vm":  # with a redirect on the host itself, its own connections look the same
                origin[j], why[j] = VM, "came out of the tunnel"
            else:
                why[j] = "what the VM sends to that server is not in its capture"
        elif h.randoms[j] and not h.randoms[j] & sent and not h.censored[j]:
            if not _covered(h, j, in_window[j], *window, server_of[j] in older):
                why[j] = "its ClientHello is from a time that the VM's capture may not cover"
            elif lacking.may_be(j):
                why[j] = "its ClientHello is not among the VM's, of which some are missing"
            else:
                origin[j], why[j] = HOST, "its ClientHello is not among the VM's"
        elif not h.randoms[j] and server_of[j] in settled and unpaired.cannot_be(j, *window):
            # older than the capture, or its hello is cut: whoever opened it asks while the VM's capture runs, and what the VM asks there is paired,
            # or something else
            origin[j], why[j] = HOST, "it sends requests that no connection of the VM sends"
    return origin, why


def _reached(found: Found) -> dict[int, set[int]]:
    """Servers of the VM's connections -> where these go in the end: of a relay (SOCKS, ssh -L), also where it took those that are paired."""
    v, h = found.v, found.h
    out = {server: {server} for server in v.server.tolist()}
    paired = np.flatnonzero(found.host_of >= 0)
    ends = [found.ends_in.get(j, j) for j in found.host_of[paired].tolist()]
    for server, end in zip(v.server[paired].tolist(), h.server[ends].tolist() if ends else (), strict=True):
        out[server].add(end)
    return out


def _covered(h: Compared, j: int, sent: list[bool], low: int, high: int, older: bool) -> bool:
    """Whether the VM's capture would show a connection of the VM's that is session ``j`` upstream, with its hello.

    The hello is in the window; or something else that its program sent is, and there is no connection of that kind whose hello is too old to be in it.
    sent : whether the first that its program sent is in the window, the last, and its end.
    """
    if sent[0] or older:
        return sent[0]
    return any(sent) or _asks_in(h, j, low, high)


def _asks_in(h: Compared, j: int, low: int, high: int) -> bool:
    """Whether a request begins on session ``j`` within [low, high]."""
    asked = h.request_ns[h.request_of == j]
    return bool(((low <= asked) & (asked <= high)).any())


def addresses(v: Compared, known: Collection[str]) -> set[str]:
    """Addresses of the VM: those that are known, and those that have an end of each of its other sessions, the most frequent first."""
    ends = [(a, b) for a, b in v.sessions.tuples("orig_ip", "resp_ip") if not is_loopback(a) and not is_loopback(b)]
    found = {v.orig_ip[i] for i in np.flatnonzero(v.forwarded).tolist()} | {ip for ip in known if not is_loopback(ip)}
    pairs = Counter(ends)
    while pairs := Counter({pair: n for pair, n in pairs.items() if found.isdisjoint(pair)}):
        weight: Counter[str] = Counter()
        opened: Counter[str] = Counter()
        for (a, b), n in pairs.items():
            weight[a] += n
            opened[a] += n
            if a != b:
                weight[b] += n
        found.add(max(weight, key=lambda ip: (weight[ip], opened[ip], ip)))
    return found


class _Unpaired:
    """Requests of the VM's connections that are not paired, by the servers that they reach: a session upstream may be one of these connections."""

    def __init__(self, found: Found, reached: Mapping[int, set[int]]) -> None:
        v, self.h, self.slack = found.v, found.h, found.time.uncertain_ns
        asked: dict[int, list[int]] = defaultdict(list)
        for i, ns in zip(v.request_of.tolist(), v.request_ns.tolist(), strict=True):
            if i >= 0 and found.host_of[i] < 0 and not found.carried_on[i]:
                for server in reached[int(v.server[i])]:
                    asked[server].append(ns)
        self.asked = {server: np.sort(np.array(times, np.int64)) for server, times in asked.items()}

    def cannot_be(self, j: int, low: int, high: int) -> bool:
        """Whether requests on session ``j`` begin within [low, high], and most of them when none of these was sent."""
        asked = self.h.request_ns[self.h.request_of == j]
        asked = asked[(low <= asked) & (asked <= high)]
        theirs = self.asked.get(int(self.h.server[j]), np.zeros(0, np.int64))
        first, last = np.searchsorted(theirs, [asked - self.slack - MAX_DELAY_NS, asked + self.slack])
        near = int((last > first).sum())
        return len(asked) > 0 and (near == 0 or (len(asked) >= MANY_REQUESTS and 2 * near < len(asked)))


class _Lacking:
    """Connections of the VM whose hellos are not known, though they should be: a session upstream whose hello the VM did not send may be theirs.

    Where nothing is known to be lost, a connection whose hello is not known is either paired or shows that hellos are missing. Where packets are, single ones
    are, as a rule: of a connection with many something is there, as a connection of the VM without a beginning or a hello. A short one may be missing whole.
    """

    def __init__(self, found: Found) -> None:
        v, self.h = found.v, found.h
        # of one that was seen in one direction only, all is missing, which is no loss
        self.lossy = bool(((v.up_missing > 0) & (v.up > 0)).any())
        self.slack = (found.time.uncertain_ns + MAX_DELAY_NS) if found.time.known else FAR_NS
        alone = (found.host_of < 0) & ~found.carried_on
        lacks = [v.up[i] + v.up_missing[i] > 0 and not v.randoms[i] and alone[i] for i in range(v.n)]
        rows = [i for i in range(v.n) if lacks[i] and not v.censored[i]]
        self.many = MANY_FRAMES[int(v.up_missing.sum()) > FEW_LOST * max(int(v.up.sum()), 1)]
        self.seen = np.sort(v.events[v.events != MISSING])
        self.open = np.array([(v.start[i], v.end[i]) for i in range(v.n) if lacks[i] and v.censored[i]], np.int64).reshape(-1, 2)
        reached = _reached(found)
        begun: dict[int, list[int]] = defaultdict(list)
        for i in rows:
            for server in reached[int(v.server[i])]:
                begun[server].append(int(v.start[i]))
        self.begun = {server: sorted(starts) for server, starts in begun.items()}

    def may_be(self, j: int) -> bool:
        """Whether session ``j`` upstream may belong to one of them: it began about when that did."""
        h, start = self.h, int(self.h.start[j])
        begun = self.begun.get(int(h.server[j]), [])
        near = bisect_left(begun, start + self.slack) > bisect_left(begun, start - self.slack)
        if near or not self.lossy:
            return near
        inside = (self.open[:, 0] >= h.start[j] - self.slack) & (self.open[:, 1] <= h.end[j] + self.slack)
        recorded = np.searchsorted(self.seen, [h.start[j], h.end[j]])
        return bool(inside.any() or h.frames[j] < self.many or recorded[0] == recorded[1])
