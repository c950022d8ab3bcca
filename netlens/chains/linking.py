"""Captures linked: the target found in each, the VM's times on the host's clock, connections paired, relays followed.

*Upstream* is the host's capture where there is one that shows the target: every request that reaches the provider is in it, with its end as the
provider made it. Else it is the VM's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from netlens.addresses import is_loopback
from netlens.api import Capture
from netlens.chains import clock as clocks
from netlens.chains import nesting, pairing, parties, relays, streams, target, tunnelled, visibility
from netlens.chains.again import Again, sent_again
from netlens.chains.asked import said_of_all
from netlens.chains.endings import Shapes
from netlens.chains.explained.counting import Counted
from netlens.chains.side import Side
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.columns import Bools, Codes, Ints
from netlens.errors import NetlensError
from netlens.parsers import connections
from netlens.parsers.connections import is_public
from netlens.parsers.tunnels import SSH_PORT
from netlens.text import plural, printable

CODES = {"vm": VM, "host": HOST}
USUAL = ("vm", "host", None)  #: names of sides; all others are further vantages
#: How far times of the VM may be off for it to be told what went on upstream after the program was done: broken-off streams go on for seconds.
UNSURE_NS = 1_000_000_000
MOST_RELAYS = 8  #: services near the VM that are taken for a relay to the target, one after the other
#: of each capture connections that may speak HTTP/2: records, when the connection or the capture ended, and whether it was the capture
_Offering = dict[Side, dict[int, streams.Connection]]
#: Which of the records that a side's servers sent, by times and sizes, have the line of a refusal right behind them in its error log.
Taught = Callable[[Side, Ints, Ints], Bools]
_Served = dict[int, tuple[int, ...]]  #: see :func:`netlens.chains.relays.serving`
ONE_SIDE = "only one side was captured; its clock is used"


@dataclass(frozen=True, eq=False)
class Linked:
    """One or two captures whose connections are linked. ``upstream`` is one of ``sides``.

    goal : the target.  origin : per connection of the upstream, whose it is (VM, HOST or UNKNOWN).
    carried : exchange of the upstream's capture -> exchange with the relay on the same machine that carries it on.  carried_in_vm : the same of the
        VM's capture.  by_relays : address and port of a relay on the upstream's machine -> how many requests it answered itself.
    served : connection of the upstream's capture that a relay on that machine opened -> those that it was opened for, the first first.
    served_in_vm : the same of the VM's capture.
    nested : which requests of the upstream carry on the VM's over a relay between the captures that ends TLS; None where connections tell.
    further : captures of further vantages, by name.
    claimed : connection of the upstream's capture -> the further vantage whose capture holds it.  clocks : of each of these, to the upstream's.
    apart : further vantages that ask the target by no connection which the upstream's capture holds, though perhaps from its address.
    processes : vantage -> row of its connections -> process, where sockets were sampled.
    http2 : sessions of the upstream on which HTTP/2 is spoken (True) or may be (None).  protocol_unknown : that is not known of any connection to the
        target.
    alone_at_relay : where what the VM asks a relay on the host is looked at, whether all that the relay asks carries on a request of the VM; else None.
    exchanged : the captures seem to have been given the wrong way round.  notes : what a person should know of all this.
    """

    sides: dict[str | None, Side]
    upstream: Side
    goal: target.Target
    clock: clocks.Clock
    pairing: pairing.Pairing | None
    origin: Codes
    carried: dict[int, int]
    carried_in_vm: dict[int, int]
    by_relays: dict[tuple[str, int], int]
    served: dict[int, tuple[int, ...]]
    served_in_vm: dict[int, tuple[int, ...]]
    nested: nesting.Nested | None
    further: dict[str, Side]
    claimed: dict[int, str]
    clocks: dict[str, clocks.Clock]
    apart: tuple[str, ...]
    processes: dict[str, dict[int, str]]
    http2: dict[int, bool | None]
    protocol_unknown: bool
    alone_at_relay: bool | None
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
    def known_parts(self) -> dict[int, tuple[list[str], list[str], list[str]]]:
        """What :func:`netlens.chains.paths.parts` has said, by row."""
        return {}

    @cached_property
    def tunnels(self) -> dict[str, tunnelled.Outside]:
        """Addresses of the VM whose connections went through a tunnel that encrypts packets, where another capture shows them, too."""
        return {} if self.vm is None else tunnelled.tunnelled(self.vm)

    @cached_property
    def asked_of_relay(self) -> dict[int, int]:
        """Exchange of the upstream (by its place in ``exchange_rows``) -> row of the exchange with the relay that it carries on."""
        return _by_place(self.upstream, self.carried)

    @cached_property
    def asked_in_vm(self) -> dict[int, int]:
        """The same of the VM's capture, by the place in its ``exchange_rows``, where it is not the upstream itself."""
        return {} if self.vm is None else _by_place(self.vm, self.carried_in_vm)

    @cached_property
    def again(self) -> Again:
        """What relays on the upstream's machine sent again."""
        return sent_again(self.upstream, self.asked_of_relay)

    @cached_property
    def again_in_vm(self) -> Again | None:
        """The same of the VM's, where it is not the upstream itself."""
        return None if self.vm is None else sent_again(self.vm, self.asked_in_vm)


def _by_place(side: Side, carried: Mapping[int, int]) -> dict[int, int]:
    return {i: carried[row] for i, row in enumerate(side.exchange_rows.tolist()) if row in carried} if carried else {}


def link(
    captures: Mapping[str | None, Capture],
    apis: tuple[str, ...] = (),
    samples: Iterable[Mapping[str, Any]] = (),
    *,
    manifest: bool = False,
    keys: bool = False,
    clock: Callable[[], clocks.Clock] | None = None,
    at_relay: bool = False,
    taught: Taught | None = None,
) -> Linked:
    """Link one or two captures.

    Parameters
    ----------
    captures : by side: "vm", "host", or None for one whose side nobody told; or any further name.  apis : names or addresses of the API; guessed if
        empty.
    samples : of the host's sockets.  manifest : the recording's manifest named the APIs.  keys : a key log shows requests of HTTP/2,
        so that they are not counted by sizes.  clock : gives what :func:`netlens.chains.clock.estimate` says
        of these captures, if it has been asked before.  at_relay : where a relay between VM and host ends TLS, what the VM asks it is looked at, and not what
        it asks upstream.  taught : tells behind which records of the target's servers an error log has a refusal.

    Raises
    ------
    NetlensError
        a file cannot be read, a named API is in no capture, or none of several captures is the VM's or the host's.
    """
    every = {name: Side(name, capture) for name, capture in captures.items()}
    sides = {name: side for name, side in every.items() if name in USUAL} or _alone(every)
    two = {"vm", "host"} <= sides.keys()
    if clock is None:
        clock = clocks.ahead(sides["vm"].capture, sides["host"].capture) if two else lambda: clocks.identity(ONE_SIDE)
    exchanged, goal, served, passed_on, notes = _looked_at(sides, apis, manifest, keys, taught)
    told = clock()
    if told.method == clocks.NESTED:  # what it rests on is found below
        told = clocks.identity(told.note)
    if two:
        host = sides["host"]
        upstream, told, pairs, nested, alone = _joined(sides, goal, told, samples, served, notes, keys=keys, at_relay=at_relay)
        if sides["host"] is not host:  # its connections to the target were found by what nests
            c = sides["host"].connections
            goal = replace(goal, addresses=sorted(set(c["resp_ip"][sides["host"].target].tolist())))
    else:
        upstream, pairs, nested, alone = sides.get("host") or next(iter(sides.values())), None, None, None
    http2, unknown = _http2(upstream, sides, pairs)
    carried = passed_on[upstream.name].of
    origin = _whose(upstream, pairs, served[upstream.name], passed_on[upstream.name], notes)
    further = {str(name): side for name, side in every.items() if len(every) > 1 and name not in sides}
    claimed, clock_of, apart = _claimed(further, upstream, served, notes)
    for row in claimed:
        origin[row] = HOST if origin[row] == UNKNOWN else origin[row]
    processes = {name: parties.processes(side.connections, samples, name) for name, side in sides.items() if name is not None}
    return Linked(
        sides=sides,
        upstream=upstream,
        goal=goal,
        clock=told,
        pairing=pairs,
        origin=origin,
        carried=carried,
        carried_in_vm=passed_on["vm"].of if "vm" in passed_on else {},
        by_relays={}
        if _is_hidden(upstream)
        else passed_on[upstream.name].itself | ({} if nested is None else nested.by_relays(sides["vm"])),
        served=served[upstream.name],
        served_in_vm=served.get("vm", {}),
        nested=nested,
        further=further,
        claimed=claimed,
        clocks=clock_of,
        apart=apart,
        processes=processes,
        http2=http2,
        protocol_unknown=unknown,
        alone_at_relay=alone,
        exchanged=bool(exchanged),
        notes=notes,
    )


def _is_hidden(upstream: Side) -> bool:
    """Whether requests upstream may share a connection of HTTP/2 on which they are not counted exactly: any may be what a relay seems not to have asked."""
    return any(row not in upstream.counted or not upstream.counted[row].exact for row in upstream.offering)


class _Joined(NamedTuple):
    """Two captures together, in the words of :class:`Linked`."""

    upstream: Side
    clock: clocks.Clock
    pairing: pairing.Pairing | None
    nested: nesting.Nested | None = None
    alone_at_relay: bool | None = None


def _joined(
    sides: dict[str | None, Side],
    goal: target.Target,
    told: clocks.Clock,
    samples: Iterable[Mapping[str, Any]],
    served: Mapping[str | None, _Served],
    notes: list[str],
    *,
    keys: bool,
    at_relay: bool,
) -> _Joined:
    """Pair the connections of VM and host, or else nest requests. What the VM asks a relay nearby for the target becomes its target, in ``sides``; so
    does what that relay asks upstream by no name.

    told : what is known of the clocks.  served : hops of relays, by side.
    """
    vm, host = sides["vm"], sides["host"]
    known = connections.sent_from(vm.capture)
    same = target.same_bytes(vm, host)
    if same and not told.pieces:
        told = clocks.estimate(vm.capture, host.capture, [(vm.session_ids[i][0], host.session_ids[j][0]) for i, j in same])
    pairs = pairing.pair(
        vm.capture, host.capture, told, samples, vm_addresses=known, served=served["host"], served_in_vm=served["vm"], same=same
    )
    pairs = relays.beside(relays.through(pairs, served["host"]), host, served["host"])
    notes += getattr(samples, "notes", ())
    name = printable((goal.names or goal.addresses or ["the target"])[0])
    if not host.target.any() and vm.target.any() and (beyond := _without_name(told, pairs, vm, host, goal, keys)) is not None:
        host = sides["host"] = beyond
        there = ", ".join(sorted(set(host.connections["resp_ip"][host.target].tolist())))
        notes.append(
            f"the host's capture shows no connection to {name} by its name; those to {there} name no server and carry what the VM asks a relay, as their "
            "times tell"
        )
    if not host.target.any() and vm.target.any():
        notes.append(f"the host's capture shows no connection to {name}, so only the VM's capture is used")
        return _Joined(vm, told, None)
    if not _nothing_in_common(told, pairs, vm, host):
        return _Joined(host, told, pairs)
    vm, nested = _over_relay(vm, host, keys)
    sides["vm"] = vm
    if nested is not None and at_relay:
        return _Joined(vm, told, None, alone_at_relay=not (nested.side != VM).any())
    if nested is not None:
        origin, why = nested.whose(host)
        notes.append(
            f"a relay between VM and host {_ends_tls(vm, host)}: {plural(int((nested.vm_of >= 0).sum()), 'request')} of the host's capture "
            "were matched with the VM's that enclose them in time; which of its connections stands for which of the VM's is not known"
        )
        return _Joined(host, nested.clock, replace(pairs, origin=origin, origin_why=why), nested)
    if not vm.target.any():
        return _Joined(host, told, pairs)
    notes.append(
        f"nothing tells which of the host's {plural(int(host.target.sum()), 'connection')} to {name} carries what the VM sent (a relay that "
        "ends TLS does that), so only the VM's capture is used: what leaves the host together is not known"
    )
    return _Joined(vm, told, None)


def _whose(upstream: Side, pairs: pairing.Pairing | None, served: _Served, passed_on: relays.Carried, notes: list[str]) -> Codes:
    """Whose each connection of the upstream is.  served, passed_on : what relays opened there, and carried on."""
    origin = _origin(upstream, pairs)
    for row, (down, *_) in served.items():
        origin[row] = origin[down]
    if pairs is None:
        _one_vm(upstream, origin, served, passed_on.of, notes)
    elif upstream.name == "host" and relays.may_be_relayed(upstream, passed_on.relays, pairs.vm_of >= 0):
        by_socket = np.array([str(why).startswith("socket") for why in pairs.origin_why.tolist()], bool)
        origin[(origin == HOST) & upstream.target & ~by_socket] = UNKNOWN
        notes.append(
            "a service on the host is asked by other machines and may be a relay to the target, so it is unknown whose connections the host's are"
        )
    elif upstream.name == "host":
        whose = _by_interface(upstream)
        if set(whose[(pairs.vm_of >= 0) & upstream.target].tolist()) == {VM}:  # so the interface tells; a relay would open the VM's here
            origin[(origin == UNKNOWN) & (whose == HOST)] = HOST
    return origin


def _ends_tls(vm: Side, host: Side) -> str:
    """What is known of it: it ends TLS if both captures show hellos, of which none is the same."""
    shown = all(any(each.target[row] for row in each.randoms) for each in (vm, host))
    return "ends TLS" if shown else "ends TLS or passes it on (not all ClientHellos were captured)"


def _nothing_in_common(clock: clocks.Clock, pairs: pairing.Pairing, vm: Side, host: Side) -> bool:
    """Whether no connection to the target is in both captures, though they were made at one time, their times cannot be compared, and it is unknown whose each
    connection of the host is: what the VM's log says then belongs to nothing that the host's capture shows."""
    if clock.pieces or (pairs.host_of[vm.target] >= 0).any():
        return False
    overlap = max(vm.bounds_ns[0], host.bounds_ns[0]) < min(vm.bounds_ns[1], host.bounds_ns[1])
    return overlap and bool((pairs.origin[host.target] == UNKNOWN).all())


def _without_name(clock: clocks.Clock, pairs: pairing.Pairing, vm: Side, host: Side, goal: target.Target, keys: bool) -> Side | None:
    """The host's capture with its connections to the one server, beyond the local network and asked for by no name, whose requests nest in those that the VM
    asks a relay nearby; None without. Relays that end TLS need not name the server that they go on to (RFC 6066 3 is for whoever wants to)."""
    if any(map(is_public, goal.addresses)):
        return None
    c = host.connections
    named = {ip for sni, ip in c.tuples("sni", "resp_ip") if sni is not None}
    unnamed = {end: rows for end, rows in relays.services(c, host.target).items() if is_public(end[0]) and end[0] not in named}
    for rows in sorted(unnamed.values(), key=len, reverse=True)[:MOST_RELAYS]:
        other = Side(host.name, host.capture, np.zeros(c.rows, np.bool_))
        other.target[rows] = True
        other.find_requests()
        if not keys:
            _count_streams([other])
        if _nothing_in_common(clock, pairs, vm, other) and nesting.nested(vm, other) is not None:
            return other
    return None


def _over_relay(vm: Side, host: Side, keys: bool) -> tuple[Side, nesting.Nested | None]:
    """What nests, and the VM's capture: where it has no connection to the target, with what it asks a service nearby that asks the target for it."""
    if vm.target.any():
        return vm, nesting.nested(vm, host)
    asked = {end: rows for end, rows in relays.services(vm.connections, vm.target).items() if not is_public(end[0])}
    for rows in sorted(asked.values(), key=len, reverse=True)[:MOST_RELAYS]:
        other = Side(vm.name, vm.capture, vm.target.copy())
        other.target[rows] = True
        other.find_requests()
        if not keys:
            _count_streams([other])
        if (found := nesting.nested(other, host)) is not None:
            return other, found
    return vm, None


def _looked_at(
    sides: dict[str | None, Side], apis: tuple[str, ...], manifest: bool, keys: bool, taught: Taught | None
) -> tuple[str, target.Target, dict[str | None, _Served], dict[str | None, relays.Carried], list[str]]:
    """What needs no clock: whether the captures seem to be exchanged; the target; by side the hops that relays made, and what relays carried on; notes.
    The sides' requests to the target are found."""
    exchanged = visibility.exchanged(sides)
    notes = [exchanged] if exchanged else []
    goal = target.find_or_guess(sides, sides.get("host") or next(iter(sides.values())), apis, manifest, notes)
    served = {name: relays.serving(side) for name, side in sides.items()}
    of_vm: set[int] = set()
    if {"vm", "host"} <= sides.keys():
        # what a relay encrypts anew for the VM's own is told by the hello that comes out, which is the program's
        randoms, known = sides["host"].randoms, set[str]().union(*sides["vm"].randoms.values())
        of_vm = {row for row, those in randoms.items() if not known.isdisjoint(those)}
        served["host"] = {up: hops for up, hops in served["host"].items() if up not in of_vm or not randoms.keys().isdisjoint(hops)}
    passed_on = {name: relays.carried(side, served[name], of_vm if name == "host" else set()) for name, side in sides.items()}
    if {"vm", "host"} <= sides.keys():  # what the VM's program asks the host's relay is what it asks the server
        relayed = [end in passed_on["host"].relays for end in sides["vm"].connections.tuples("resp_ip", "resp_port")]
        sides["vm"].target |= np.array(relayed, bool)
    for side in sides.values():
        side.find_requests()
    if not keys:
        _count_streams(sides.values(), taught)
    return exchanged, goal, served, passed_on, notes


def _count_streams(sides: Iterable[Side], taught: Taught | None = None) -> None:
    """Take requests of HTTP/2 by the sizes of TLS records, if those of every connection of the target can be counted, in each capture: what is found in one
    is looked for in the other by its place on the connection.  taught : see :func:`link`."""
    offers = [(side, row, records) for side in sides for row, records in side.offering.items()]
    if not offers or any(records is None for *_, records in offers):
        return
    found: _Offering = defaultdict(dict)
    spoken = [(side, row, records) for side, row, records in offers if records is not None]
    for (side, row, _), each in zip(spoken, said_of_all([records for *_, records in spoken]), strict=True):
        if each is not None:
            each = each._replace(at_once=row in side.begins_at_once, seldom_several=row in side.begins_one)
        found[side][row] = streams.Connection(each, int(side.end_ns[row]), bool(side.connections["open_at_end"][row]))
    if taught is not None:
        _mark_refused(found, taught)
    shapes = streams.shapes([streams.counted(each._replace(cut=True))[0] for of in found.values() for each in of.values()])
    known = {side: streams.with_shorts(list(of.values()), shapes) for side, of in found.items()}
    counted = _all_counted(found, known)
    if counted is None:  # what shows no ends may have some that can be learned
        known = {side: streams.learned(list(of.values()), shapes) for side, of in found.items()}
        known = {side: each if each.learned else streams.with_shorts(list(found[side].values()), each) for side, each in known.items()}
        counted = _all_counted(found, known)
    if counted is None or any(streams.several(each.streams) for of in counted.values() for each in of.values()):
        counted = _all_likely(found, known)
    if counted is None:
        return
    for side, theirs in counted.items():
        side.take_streams(theirs)


def _mark_refused(found: _Offering, taught: Taught) -> None:
    """Mark the server's records behind which a log has the line of a refusal, in place; also where another capture has the same connection, by its records."""
    places: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for side, of in found.items():
        every = sorted((r.ts, r.size, row, k) for row, each in of.items() if each.said for k, r in enumerate(each.said.answers))
        ns, sizes = np.array([each[:2] for each in every], np.int64).reshape(-1, 2).T
        for at in np.flatnonzero(taught(side, ns, sizes)).tolist():
            *_, row, k = every[at]
            places[_sizes(of[row])].add(k)
    for of in found.values() if places else ():
        for row, each in of.items():
            if each.said and (those := places.get(_sizes(each))):
                of[row] = each._replace(said=each.said._replace(refused=frozenset(each.said.answers[k] for k in those)))


def _sizes(connection: streams.Connection) -> tuple[int, ...]:
    return tuple(r.size for r in connection.said.answers) if connection.said else ()


def _all_counted(found: _Offering, known: Mapping[Side, Shapes]) -> dict[Side, dict[int, Counted]] | None:
    """Requests of all connections that may speak HTTP/2; None if one of them cannot be counted."""
    return _of_all(found, {side: streams.all_counted(list(of.values()), known[side]) for side, of in found.items()})


def _all_likely(found: _Offering, known: Mapping[Side, Shapes]) -> dict[Side, dict[int, Counted]] | None:
    """The same, where of some it is known between which numbers they are."""
    return _of_all(found, {side: streams.likely(list(of.values()), known[side]) for side, of in found.items()})


def _of_all(found: _Offering, told: Mapping[Side, list[Counted | None]]) -> dict[Side, dict[int, Counted]] | None:
    out = {side: {row: each for row, each in zip(of, told[side], strict=True) if each is not None} for side, of in found.items()}
    return out if all(len(out[side]) == len(of) for side, of in found.items()) else None


def _alone(every: dict[str | None, Side]) -> dict[str | None, Side]:
    """The only capture, whatever it is called."""
    if len(every) > 1:
        names = ", ".join(printable(str(name)) for name in every)
        raise NetlensError(f"captures of {names}: none is the VM's or the host's; name one of each with --vm and --host")
    (side,) = every.values()
    return {None: Side(None, side.capture)}


def _claimed(
    further: Mapping[str, Side], upstream: Side, served: Mapping[str | None, dict[int, tuple[int, ...]]], notes: list[str]
) -> tuple[dict[int, str], dict[str, clocks.Clock], tuple[str, ...]]:
    """Connections of the host's capture that further captures hold, and whose; these captures' clocks; and which of them ask the target by others."""
    out: dict[int, str] = {}
    apart: list[str] = []
    begin, end = upstream.bounds_ns
    servers = set(upstream.connections["resp_ip"][upstream.target].tolist())
    told: dict[str, clocks.Clock] = {}
    for name, side in further.items():
        if upstream.name != "host":
            notes.append(f"the capture of {printable(name)} is not used: without one of the host, nothing shows what leaves together")
            continue
        clock = told[name] = clocks.estimate(side.capture, upstream.capture)
        known = connections.sent_from(side.capture)
        found = relays.through(
            pairing.pair(side.capture, upstream.capture, clock, vm_addresses=known, served=served["host"]), served["host"]
        )
        own = connections.sent_from(upstream.capture) & {ip for ip in upstream.connections["nat_ip"].tolist() if ip is not None}
        mate, here, there = found.vm_of, upstream.connections["orig_ip"], side.connections["orig_ip"]
        theirs = [
            row  # with those to a relay; without the host's own, if the capture is another one of the host
            for row in np.flatnonzero(found.origin == VM).tolist()
            if here[row] not in own or (mate[row] >= 0 and there[mate[row]] != here[row])
        ]
        if not theirs:
            notes.append(f"no connection in the capture of {printable(name)} is in the host's")
        asks = bool(servers.intersection(side.connections["resp_ip"].tolist()))
        if asks and not (mate >= 0).any() and side.bounds_ns[0] < end and side.bounds_ns[1] > begin:
            apart.append(name)
        out |= dict.fromkeys(theirs, name)
    return out, told, tuple(apart)


def _one_vm(upstream: Side, origin: Codes, served: Mapping[int, tuple[int, ...]], carried: Mapping[int, int], notes: list[str]) -> None:
    """Of several guests of a host that alone was captured, the one with most requests is the VM, the others are not."""
    session = upstream.capture.table("exchanges")["session_id"]
    tally: Counter[str] = Counter()
    rows: dict[str, set[int]] = defaultdict(set)
    for i, up in zip(upstream.exchange_rows.tolist(), upstream.owner.tolist(), strict=True):
        asked = upstream.connection_of[int(session[carried[i]])] if i in carried else served.get(up, (up,))[0]
        if origin[asked] == VM:
            ip = parties.guest(upstream, asked)
            tally[ip] += 1
            rows[ip] |= {asked} if i in carried else {asked, up}
    if len(tally) > 1:
        vm, *others = sorted(tally, key=lambda ip: (-tally[ip], ip))
        for ip in others:
            origin[list(rows[ip])] = HOST
        notes.append(f"{len(tally)} machines behind the host use the target; {vm}, which has the most requests, is called the VM")


def _origin(upstream: Side, pairs: pairing.Pairing | None) -> Codes:
    """Side of each connection of the upstream capture."""
    c = upstream.connections
    if pairs is not None:
        return pairs.origin
    if upstream.name == "vm" or (upstream.name is None and c.rows and c["vantage"][0] == "vm"):
        return np.full(c.rows, VM, np.int8)
    origin = np.array([CODES.get(o, UNKNOWN) for o in c["origin"].tolist()], np.int8)
    if upstream.name == "host" and c.rows and c["vantage"][0] != "host":  # what was said goes before marks
        return _by_interface(upstream)
    if c.rows and c["vantage"][0] == "host":  # what came in from another machine and no mark explains
        origin = np.where((origin == UNKNOWN) & (_by_interface(upstream) == VM), VM, origin).astype(np.int8)
    return origin


def _by_interface(host: Side) -> Codes:
    """Whose each connection is by how the host got its first packet: another machine's came in, its own went out, but perhaps for a tunnel."""
    c = host.connections
    here = connections.opened_here(host.capture.part.state())
    if not here.any():  # no cooked capture, or nothing of the host's own: nothing is told
        return np.full(c.rows, UNKNOWN, np.int8)
    tunnel = bool((c["resp_port"] == SSH_PORT).any() or (host.sessions["protocol"] == "ssh").any())
    own = HOST if not tunnel else UNKNOWN
    addresses = connections.sent_from(host.capture)  # what goes to a proxy here by the host's own address shows on loopback as coming in
    mine = here | np.array([is_loopback(ip) or ip in addresses for ip in host.sessions["orig_ip"].tolist()], bool)
    asked = host.sessions["orig_frames"] > 0  # of a redirected connection one half alone
    return np.array([own if asked[ids].any() and mine[ids][asked[ids]].all() else VM for ids in host.session_ids], np.int8)


def _http2(upstream: Side, sides: Mapping[str | None, Side], pairs: pairing.Pairing | None) -> tuple[dict[int, bool | None], bool]:
    """Sessions of the upstream capture on which HTTP/2 is spoken or may be; and whether that is not known of any connection to the target.

    TLS passes through NAT and tunnels as it is, so what is cut in one capture is read in the other.
    """
    known, ids = dict(upstream.http2), upstream.session_ids
    if pairs is not None and upstream is sides.get("host"):
        theirs, vm_ids = sides["vm"].http2, sides["vm"].session_ids
        for row, mate in enumerate(pairs.vm_of.tolist()):
            if mate >= 0 and all(known.get(k) is None for k in ids[row]):
                known |= {
                    k: theirs[m] for m in vm_ids[mate] if m in theirs for k in ids[row] if k in known or not known.keys() & set(ids[row])
                }
    there = [k for row in np.flatnonzero(upstream.target).tolist() for k in ids[row]]
    protocols = upstream.sessions["protocol"]
    unknown = bool(there) and not known.keys() & set(there) and any(protocols[k] == "tls" for k in there)
    return {k: spoken for k, spoken in known.items() if spoken is not False}, unknown
