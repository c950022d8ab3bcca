"""Upstream sessions on the host's clock: one row for each connection that holds a place at the provider.

A connection of the VM that has no upstream session still counts, as the VM's own capture shows it: an unlinked request must not vanish because a host's
capture exists.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.compared import MAX_DELAY_NS
from netlens.chains.linking import Linked
from netlens.chains.side import Side
from netlens.chains.situation import COMPANION, LOOKUPS, REQUESTS, UNKNOWN, VM, Sessions
from netlens.columns import NEVER, Ints
from netlens.text import plural


def vm_alone(linked: Linked, notes: list[str]) -> Ints:
    """Rows of the VM's connections to the target that no session upstream carries, nor may carry: one that nobody is known to have opened, about
    when it began, may be its own and counts already."""
    vm, pairs, clock, up = linked.vm, linked.pairing, linked.clock, linked.upstream
    if vm is None or pairs is None or not clock.pieces:
        return np.zeros(0, np.int64)
    v, h = vm.connections, up.connections
    rows = np.flatnonzero(vm.target & (pairs.host_of < 0) & vm.opened)
    open_to_all = np.flatnonzero(up.target & (linked.origin == UNKNOWN) & (pairs.vm_of < 0) & (pairs.companion_of < 0) & (pairs.beside < 0))
    slack = clock.uncertain_ns + MAX_DELAY_NS
    begun = clock.to_host(v["start_ns"][rows])
    within = (begun + slack >= up.bounds_ns[0]) & (begun <= up.bounds_ns[1])
    sent = clock.to_host(vm.exchanges["request_end_ns"].astype(np.int64))
    if outside := int(((sent + slack < up.bounds_ns[0]) | (sent > up.bounds_ns[1])).sum()):
        notes.append(
            f"{plural(outside, 'request')} of the VM {'was' if outside == 1 else 'were'} sent outside the time of the host's capture, and "
            f"{'is' if outside == 1 else 'are'} counted, but no evidence"
        )
    if linked.nested is not None:  # a relay that ends TLS carries none as it is
        return rows[:0]
    rows, begun = rows[within], begun[within]
    after = np.sort(h["start_ns"][open_to_all])
    near = np.searchsorted(after, begun + slack, "right") > np.searchsorted(after, begun - slack, "left")
    # one that was open when the VM's capture began is perhaps any of those that were open upstream then
    starts, ends = h["start_ns"][open_to_all], up.end_ns[open_to_all]
    old = v["started_before_capture"][rows]
    perhaps = np.array([bool(((starts <= ns + slack) & (ends >= ns - slack)).any()) for ns in begun[old].tolist()], bool)
    near[old] |= perhaps | bool(h["started_before_capture"][open_to_all].any())
    return rows[~near]


def sessions(linked: Linked, alone: Ints) -> tuple[Sessions, dict[int, int]]:
    """Upstream sessions, and their row by row of the upstream's connections; ``alone``: of :func:`vm_alone`, which come last."""
    up, pairs = linked.upstream, linked.pairing
    c = up.connections
    lookups = up.for_lookups & up.opened
    companions = np.zeros(c.rows, bool) if pairs is None else ((pairs.companion_of >= 0) | (pairs.beside >= 0)) & up.opened
    rows = np.flatnonzero((up.target & up.opened) | lookups | companions)
    kind = np.where(lookups[rows], LOOKUPS, np.where(companions[rows], COMPANION, REQUESTS)).astype(np.int8)
    start, frame, none = c["start_ns"][rows], c["first_frame"][rows], np.zeros(len(rows), np.int64)
    end, done = np.maximum(up.end_ns[rows], start + 1), up.done_ns[rows]
    connection = rows.astype(np.int64) + (0 if pairs is None else len(pairs.host_of))
    vm_frame = none.copy()
    if pairs is not None and linked.vm is not None:
        # only the program's own end counts; of a forwarded session the FIN seen here is the tunnel's, the VM's capture has the program's
        mate = np.where(pairs.vm_of[rows] >= 0, pairs.vm_of[rows], pairs.companion_of[rows])
        with_ = pairs.beside[rows]
        connection[with_ >= 0] = with_[with_ >= 0] + len(pairs.host_of)
        known = mate >= 0
        connection[known] = mate[known]
        done[known] = np.minimum(done[known], _vm_done(linked, linked.vm)[mate[known]])
        own = pairs.vm_of[rows] >= 0
        vm_frame[own] = linked.vm.connections["first_frame"][mate[own]]
    here, there = (frame, vm_frame) if up.name != "vm" else (none, frame)
    numbers: dict[str, int] = {}
    found = Sessions(
        linked.origin[rows].astype(np.int8),
        start,
        end,
        np.clip(done, start, end),
        connection,
        kind,
        here,
        there,
        _address(up, rows, numbers),
    )
    if len(alone) and linked.vm is not None:
        found = found.joined(_of_vm(linked, linked.vm, alone, numbers))
    return found, {row: k for k, row in enumerate(rows.tolist())}


def _address(side: Side, rows: Ints, numbers: dict[str, int]) -> Ints:
    """The servers' addresses, numbered."""
    return np.array([numbers.setdefault(ip, len(numbers)) for ip in side.connections["resp_ip"][rows].tolist()], np.int64)


def _of_vm(linked: Linked, vm: Side, rows: Ints, numbers: dict[str, int]) -> Sessions:
    """Of the VM's connections without a session upstream, as its own capture shows them."""
    c, n = vm.connections, len(rows)
    start = linked.clock.to_host(c["start_ns"][rows])
    end = np.maximum(np.minimum(linked.clock.to_host(vm.end_ns[rows]), linked.upstream.bounds_ns[1]), start + 1)
    done = np.clip(_vm_done(linked, vm)[rows], start, end)
    side, kind, none = np.full(n, VM, np.int8), np.full(n, REQUESTS, np.int8), np.zeros(n, np.int64)
    reached = set(numbers)  # an address of a relay says nothing of which of the server's it leads to
    address = np.array([numbers.get(ip, 0) if reached else 0 for ip in c["resp_ip"][rows].tolist()], np.int64)
    return Sessions(side, start, end, done, rows, kind, none, c["first_frame"][rows], address)


def _vm_done(linked: Linked, vm: Side) -> Ints:
    """Per connection of the VM, on the host's clock: the program's own FIN or RST; :data:`NEVER` where there is none or the clock is not known."""
    known = (vm.done_ns != NEVER) & linked.clock_told
    out = np.full(len(known), NEVER, np.int64)
    out[known] = linked.clock.to_host(vm.done_ns[known])
    return out
