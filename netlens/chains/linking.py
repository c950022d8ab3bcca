"""Captures linked: the target found in each, the VM's times on the host's clock, connections paired, relays followed.

*Upstream* is the host's capture where there is one that shows the target: every request that reaches the provider is in it, with its end as the
provider made it. Else it is the VM's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.chains import clock as clocks
from netlens.chains import pairing, relays, target, visibility
from netlens.chains.side import Side
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.columns import Codes
from netlens.parsers import connections
from netlens.text import printable

if TYPE_CHECKING:
    from netlens.api import Capture

CODES = {"vm": VM, "host": HOST}
#: How far times of the VM may be off for it to be told what went on upstream after the program was done: broken-off streams go on for seconds.
UNSURE_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Linked:
    """One or two captures whose connections are linked. ``upstream`` is one of ``sides``.

    goal : the target.  origin : per connection of the upstream, whose it is (VM, HOST or UNKNOWN).
    carried : exchange of the upstream's capture -> exchange with the relay on the same machine that carries it on.
    http2 : sessions of the upstream on which HTTP/2 was offered.  protocol_unknown : that is not known of any connection to the target.
    exchanged : the captures seem to have been given the wrong way round.  notes : what a person should know of all this.
    """

    sides: dict[str | None, Side]
    upstream: Side
    goal: target.Target
    clock: clocks.Clock
    pairing: pairing.Pairing | None
    origin: Codes
    carried: dict[int, int]
    http2: set[int]
    protocol_unknown: bool
    exchanged: bool
    notes: list[str]

    @property
    def vm(self) -> Side | None:
        """The VM's capture, if it is not the upstream itself."""
        return self.sides.get("vm") if self.upstream.name == "host" else None

    @property
    def clock_told(self) -> bool:
        """Whether the VM's times can be compared with the host's."""
        return bool(self.clock.pieces) and self.clock.uncertain_ns <= UNSURE_NS

    @property
    def only_vantage(self) -> str | None:
        """Where the only capture was made, if there is one and that is known."""
        if len(self.sides) > 1:
            return None
        c = self.upstream.connections
        vantage = self.upstream.name or (c["vantage"][0] if c.rows else None)
        return vantage if isinstance(vantage, str) else None

    @cached_property
    def asked_of_relay(self) -> dict[int, int]:
        """Exchange of the upstream (by its place in ``exchange_rows``) -> row of the exchange with the relay that it carries on."""
        if not self.carried:
            return {}
        return {i: self.carried[row] for i, row in enumerate(self.upstream.exchange_rows.tolist()) if row in self.carried}


def link(
    captures: Mapping[str | None, Capture], apis: tuple[str, ...] = (), samples: Iterable[Mapping[str, Any]] = (), *, manifest: bool = False
) -> Linked:
    """Link one or two captures.

    Parameters
    ----------
    captures : by side: "vm", "host", or None for one whose side nobody told.  apis : names or addresses of the API; guessed if empty.
    samples : of the host's sockets.  manifest : the recording's manifest named the APIs.

    Raises
    ------
    NetlensError
        a file cannot be read, or a named API is in no capture.
    """
    sides = {name: Side(name, capture) for name, capture in captures.items()}
    exchanged = visibility.exchanged(sides)
    notes = [exchanged] if exchanged else []
    upstream = sides.get("host") or next(iter(sides.values()))
    goal = target.find(sides, upstream, apis, manifest)
    served = {name: relays.serving(side) for name, side in sides.items()}
    passed_on = relays.carried(sides["host"]) if "host" in sides else relays.Carried({}, frozenset())
    if "vm" in sides:  # what the VM's program asks the relay is what it asks the server
        c = sides["vm"].connections
        ends = zip(c["resp_ip"].tolist(), c["resp_port"].tolist(), strict=True)
        sides["vm"].target |= np.array([end in passed_on.relays for end in ends], bool)
    for side in sides.values():
        side.find_requests()
    pairs: pairing.Pairing | None = None
    clock = clocks.identity("only one side was captured; its clock is used")
    if "vm" in sides and "host" in sides:
        vm, host = sides["vm"], sides["host"]
        clock = clocks.estimate(vm.capture, host.capture)
        known = connections.sent_from(vm.capture)
        pairs = pairing.pair(vm.capture, host.capture, clock, samples, vm_addresses=known, served=served["host"])
        pairs = relays.through(pairs, served["host"])
        notes += getattr(samples, "notes", ())
        if not host.target.any() and vm.target.any():
            upstream, pairs = vm, None
            name = printable((goal.names or goal.addresses or ["the target"])[0])
            notes.append(f"the host's capture shows no connection to {name}, so only the VM's capture is used")
    http2, unknown = _http2(upstream, sides, pairs)
    carried = passed_on.of if upstream.name == "host" else {}
    return Linked(sides, upstream, goal, clock, pairs, _origin(upstream, pairs), carried, http2, unknown, bool(exchanged), notes)


def _origin(upstream: Side, pairs: pairing.Pairing | None) -> Codes:
    """Side of each connection of the upstream capture."""
    c = upstream.connections
    if pairs is not None:
        return pairs.origin
    if upstream.name == "vm" or (upstream.name is None and c.rows and c["vantage"][0] == "vm"):
        return np.full(c.rows, VM, np.int8)
    return np.array([CODES.get(o, UNKNOWN) for o in c["origin"].tolist()], np.int8)


def _http2(upstream: Side, sides: Mapping[str | None, Side], pairs: pairing.Pairing | None) -> tuple[set[int], bool]:
    """Sessions of the upstream capture on which HTTP/2 was offered; and whether that is not known of any connection to the target.

    Hellos pass through NAT and tunnels as they are, so one that is cut in one capture is read in the other.
    """
    known, ids = dict(upstream.http2_offered), upstream.session_ids
    if pairs is not None and upstream is sides.get("host"):
        theirs, vm_ids = sides["vm"].http2_offered, sides["vm"].session_ids
        for row, mate in enumerate(pairs.vm_of.tolist()):
            if mate >= 0 and not known.keys() & set(ids[row]):
                known |= {k: theirs[m] for m in vm_ids[mate] if m in theirs for k in ids[row]}
    there = [k for row in np.flatnonzero(upstream.target).tolist() for k in ids[row]]
    protocols = upstream.sessions["protocol"]
    unknown = bool(there) and not known.keys() & set(there) and any(protocols[k] == "tls" for k in there)
    return {k for k, offered in known.items() if offered}, unknown
