"""Pairing: which connection of the host's capture carries which connection of the VM's, and whose each connection of the host is.

Theory of operation
-------------------
1. Kinds of evidence from certain to likely (:mod:`netlens.chains.links`); a connection that one has paired is left alone by the next.
2. Exact pairs show what the clock is worth (:mod:`netlens.chains.timing`); what is likely rests on it.
3. What is left beside the pairs: companions that a forwarder opened besides (:mod:`netlens.chains.companions`), whose each connection is
   (:mod:`netlens.chains.origins`), and lookups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.api import Capture
from netlens.chains.clock import Clock
from netlens.chains.companions import companions
from netlens.chains.compared import FAR_NS, MAX_DELAY_NS, TOLERANCE_NS, Compared, Found, Timing, question_keys
from netlens.chains.links import all_links
from netlens.chains.matching import nearest_first
from netlens.chains.origins import addresses, origins
from netlens.chains.processes import Processes
from netlens.chains.timing import timing
from netlens.columns import MISSING, Codes, Floats, Ints, Objects

SAME = "bytes"  #: the method of pairs that whoever asks for a pairing knows already


@dataclass(frozen=True, eq=False)
class Pairing:
    """Which connections of two captures are one; rows number the rows of ``connections`` of each.

    host_of, method, confidence : per connection of the VM: the host's (-1: none); "isn", "address", "hello", "bytes", "requests", "assignment" or ""; 1.0
    for the exact methods, NaN where there is none.
    vm_of, companion_of, origin, origin_why : per connection of the host: the VM's (-1: none); the VM's that it was opened beside (-1: none);
    VM, HOST or UNKNOWN, and why.  beside : the host's that a relay opened it beside (-1: none).
    lookup_pairs : int64[k, 2], rows of ``lookups`` of VM and host.  shared : addresses that both machines have.
    """

    host_of: Ints
    method: Objects
    confidence: Floats
    vm_of: Ints
    companion_of: Ints
    origin: Codes
    origin_why: Objects
    lookup_pairs: Ints
    beside: Ints
    shared: frozenset[str] = frozenset()


def pair(
    vm: Capture,
    host: Capture,
    clock: Clock,
    sockets: Iterable[Mapping[str, Any]] = (),
    *,
    vm_addresses: Collection[str] = (),
    served: Mapping[int, tuple[int, ...]] | None = None,
    served_in_vm: Mapping[int, tuple[int, ...]] | None = None,
    same: Collection[tuple[int, int]] = (),
) -> Pairing:
    """Pair the connections and lookups of the VM's capture with those of the host's.

    Parameters
    ----------
    vm, host : the two captures.
    clock : takes the VM's times to the host's clock.
    sockets : samples of the host's sockets (rows of ``sockets.jsonl``), if there are any.
    vm_addresses : addresses that are known to be the VM's; others are told by how often they stand in its capture.
    served : the host's connections that a relay on it opened -> those that they were opened for; of each chain, the first is paired.
    served_in_vm : the same of the VM's; of each chain, the last is paired.
    same : rows of both that are known to carry the same bytes over a relay between the captures.
    """
    servers: dict[Any, int] = {}
    ends, there = (list(capture.table("connections").tuples("resp_ip", "resp_port")) for capture in (vm, host))
    for i, j in same:  # a relay's address stands for the server's
        servers[ends[i]] = servers.setdefault(there[j], len(servers))
    v, h = Compared(vm, servers), Compared(host, servers)
    v.to_host(clock)
    found = Found(v, h, Timing(_uncertain(clock)), Processes(h, sockets), served, served_in_vm)
    for i, j in same:
        found.add(i, j, SAME)
    links = all_links()
    for link in links:
        if link.EXACT:
            link.join(found)
    found.processes.settle(np.flatnonzero((found.vm_of >= 0) & v.forwarded[found.vm_of]).tolist() if v.n else ())
    found.time = timing(found)
    for link in links:
        if not link.EXACT:
            link.join(found)
    companion_of = companions(found)
    shared = _shared(found)
    origin, why = origins(found, companion_of, addresses(v, vm_addresses), shared)
    return Pairing(
        found.host_of,
        found.method,
        found.confidence,
        found.vm_of,
        companion_of,
        origin,
        why,
        _lookups(found),
        np.full(h.n, -1, np.int64),
        shared,
    )


def _shared(found: Found) -> frozenset[str]:
    """Addresses that the VM has and the host, too: a program that translates (pasta, as rootless podman uses it) may give its guest the host's own, and opens
    connections of its own for the guest's. They leave from the same address, with other ports and numbers."""
    v, h = found.v, found.h
    return frozenset(
        v.orig_ip[i]
        for j, i in enumerate(found.vm_of.tolist())
        if i >= 0 and h.orig_ip[j] == v.orig_ip[i] and h.orig_port[j] != v.orig_port[i] and v.isn[i] != h.isn[j]
    )


def _uncertain(clock: Clock) -> int:
    """A clock that nothing bounds converts nothing, whatever it says of itself."""
    return FAR_NS if getattr(clock, "method", "") == "none" else int(min(max(clock.uncertain_ns, 0), FAR_NS))


# --- lookups -------------------------------------------------------------------------------------------------------------------------------


def _lookups(found: Found) -> Ints:
    """Pairs of lookups with equal id, name and type, the nearest in time; each in one pair only.

    Ids are used again: without a known clock only what is unique pairs.
    """
    v, h = found.v, found.h
    there = defaultdict(list)
    for j, key in enumerate(question_keys(h.lookups)):
        there[key].append(j)
    here = defaultdict(list)
    for i, key in enumerate(question_keys(v.lookups)):
        if key in there:
            here[key].append(i)
    slack = found.time.uncertain_ns + TOLERANCE_NS
    pairs: list[tuple[int, int]] = []
    for key, mine in here.items():
        options = []
        for i in mine:
            for j in there[key]:
                if v.asked_ns[i] != MISSING and h.asked_ns[j] != MISSING:
                    delay = int(h.asked_ns[j] - v.asked_ns[i])
                elif v.answered_ns[i] != MISSING and h.answered_ns[j] != MISSING:
                    delay = int(v.answered_ns[i] - h.answered_ns[j])
                else:
                    continue
                if -slack <= delay <= slack + MAX_DELAY_NS:
                    options.append((abs(delay), i, j))
        if found.time.known or len(options) < 2:
            pairs += nearest_first(options)
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
