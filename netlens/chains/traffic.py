"""What programs did, rebuilt from one or two captures: what lenses look at.

Theory of operation
-------------------
1. Captures are linked (:mod:`netlens.chains.linking`): target, clock, pairs, relays, and which capture is upstream.
2. From them come the sessions that hold a place at the provider (:mod:`netlens.chains.sessions`) and the requests on them
   (:mod:`netlens.chains.requests`), all on the host's clock: the situation.
3. What the captures can show of it is computed, not assumed (:mod:`netlens.chains.visibility`).

Which requests were refused is not known here: a lens finds that out and fills the labels in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from netlens.chains import target, visibility
from netlens.chains.linking import Linked
from netlens.chains.parties import others
from netlens.chains.requests import LEAST_BYTES, UPSTREAM, requests, underway
from netlens.chains.sessions import sessions, vm_alone
from netlens.chains.situation import COMPANION, HOST, SIDES, VM, Perhaps, Requests, Sessions, Situation
from netlens.columns import NEVER, Bools, Codes, Ints
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.aside import Aside
    from netlens.chains.inputs import Beside
    from netlens.chains.side import Side

T = TypeVar("T")
SLACK_NS = 2_000_000  #: what a request waits in kernels and at the provider before it is counted: 0.3 ms in the laboratory, more under load
FRAMES = 5  #: frames cited for a fact
OTHERS_KEYS = "a TLS key log (SSLKEYLOGFILE) of what speaks HTTP/2 beside the VM"
MOST_UNSURE = 0.2  #: share of requests of HTTP/2 of which it is not known which answer is theirs, at most, to take them as such
#: requests of one size, at least, that a relay may send by itself to see whether the server is there; by what these differ
CHECKS, CHECK_BYTES = 3, 8
SEVERAL = 3  #: requests of a side that began while another was in progress on another connection


@dataclass(frozen=True, eq=False)
class Traffic(Linked):
    """The situation and what it was made from.

    rows : int64[n, 3], where each request stands (:func:`netlens.chains.requests.requests`).  beside : what lies beside the captures.
    unmatched : refusals of logs that match no request.  aside : what is worked out ahead, see :meth:`once`.
    """

    beside: Beside
    situation: Situation
    rows: Ints
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    aside: Aside | None = field(default=None, repr=False)
    _worked_out: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def knowing(self, **changed: Any) -> Traffic:
        """The same traffic with labels on its requests, or something of which is worked out aside; what was worked out before is known here, too."""
        made = replace(self, **changed)
        made._worked_out.update(self._worked_out)
        return made

    def once(self, function: Callable[[Traffic], T]) -> T:
        """The result of a function of this traffic, worked out once: several lenses may ask for it, and the report."""
        if function not in self._worked_out:
            ahead = self.aside.results(function) if self.aside is not None and function in self.aside.functions else {}
            self._worked_out[function] = ahead[function] if function in ahead else function(self)
        found: T = self._worked_out[function]
        return found

    def forget(self, function: Callable[[Traffic], Any]) -> None:
        """Give back the memory of a result that is seldom asked for again."""
        self._worked_out.pop(function, None)


def rebuild(linked: Linked, beside: Beside) -> Traffic:
    """The traffic of linked captures, with what lies beside them; no request is labelled yet."""
    notes = [*linked.notes, *beside.notes]
    alone = vm_alone(linked, notes)
    upstream, row_of = sessions(linked, alone)
    made, rows = requests(linked, upstream, row_of, alone, beside.keys)
    if by_size := len(set(linked.upstream.owner[linked.upstream.exchange_rows < 0].tolist())):
        doubtful = len(_in_doubt(linked.upstream))
        but = f", on {doubtful:,} of these not exactly" if doubtful else ""
        notes.append(
            f"requests on {plural(by_size, 'connection')} of HTTP/2 were counted by the sizes of TLS records{but}, as its frames are encrypted; "
            "a TLS key log (SSLKEYLOGFILE) would show each"
        )
    if made.again.any():
        upstream = replace(upstream, kind=_with_companions(upstream, made))
    only = linked.only_vantage
    blind = _vm_is_blind(linked, notes)
    vm_seen = ("vm" in linked.sides or only == "vm") and not blind
    host_seen = "host" in linked.sides or (only != "vm" and "vm" not in linked.sides)
    egress = visibility.missing_egress(linked) or visibility.missing_beside(linked)
    missing = egress if host_seen else ""
    uncountable, hidden = _uncountable(linked, beside, made)
    left_out = 0  # connections
    between, perhaps = _between(linked, made)
    apart = np.isin(made.session, [row_of.get(row, -1) for row in hidden])
    if uncountable and hidden and _of_others(linked, made, hidden, apart):
        # what others have in flight is not known, which is no reason not to count the VM's own
        made, rows, uncountable = made.take(~apart), rows[~apart], None
        left_out = len(hidden)
        between, perhaps = _between(linked, made, hidden)
        missing = missing or OTHERS_KEYS
        egress = egress or missing
    common = _common_ns(linked, notes)
    facts = _facts(linked, egress_seen=not egress) | {"vm_blind": blind, "no_overlap": linked.vm is not None and common[0] >= common[1]}
    facts["connections_left_out"] = left_out
    told, ips = upstream.address[list(row_of.values())], linked.upstream.connections["resp_ip"][list(row_of)]
    facts["addresses"] = dict(zip(told.tolist(), ips.tolist(), strict=True))
    facts["in_doubt"] = int(np.isin(made.session, [row_of.get(row, -1) for row in _in_doubt(linked.upstream)]).sum())
    facts["protocol_unknown"] = linked.protocol_unknown and not _side_by_side(made)
    situation = Situation(
        made, upstream, vm_seen, host_seen, host_seen and not missing, common, _uncertain_ns(linked), uncountable,
        facts, missing, underway(linked, row_of), _midway_ns(linked.upstream), perhaps, between,
    )  # fmt: skip
    known = {f.name: getattr(linked, f.name) for f in fields(Linked)} | {"notes": notes}
    traffic = Traffic(**known, beside=beside, situation=situation, rows=rows)
    facts["others"] = others(traffic)
    return traffic


def _with_companions(sessions: Sessions, made: Requests) -> Codes:
    """The kinds of sessions, where those that carry nothing but what a relay sent again are its own."""
    theirs = np.setdiff1d(made.session[made.again & (made.session >= 0)], made.session[~made.again])
    kind = sessions.kind.copy()
    kind[theirs] = COMPANION
    return kind


def _in_doubt(up: Side) -> list[int]:
    """Connections of the upstream on which it is not known how many requests there were."""
    return [row for row, those in up.counted.items() if not those.exact]


def _between(linked: Linked, made: Requests, without: Collection[int] = ()) -> tuple[tuple[int, int] | None, Perhaps]:
    """How many requests there are, at least and at most, where that is in doubt, and those that there may have been besides; ``without`` some connections."""
    up = linked.upstream
    doubtful = [(row, up.counted[row]) for row in _in_doubt(up) if row not in without]
    if not doubtful:
        return None, Perhaps.none()
    least = len(made) - sum(len(those.streams) - those.least for _, those in doubtful)
    most = len(made) + sum(those.most - len(those.streams) for _, those in doubtful)
    spans = [(int(linked.origin[row]), *span) for row, those in doubtful for span in those.further]
    side, start, end = (np.array(column, np.int64) for column in zip(*spans, strict=True)) if spans else (np.zeros(0, np.int64),) * 3
    return (least, most), Perhaps(side.astype(np.int8), start, end)


def _midway_ns(upstream: Side) -> int | None:
    """See :class:`netlens.chains.situation.Situation`."""
    older, bounds = upstream.connections["started_before_capture"].astype(bool) & upstream.target, upstream.capture.part.bounds_ns
    return bounds[0] if bounds is not None and older.any() else None


def _vm_is_blind(linked: Linked, notes: list[str]) -> bool:
    """Whether the VM's capture lacks what its programs send, though there is some."""
    if linked.vm is not None and linked.vm.seen.one_way:
        return True
    if (came := visibility.unseen_of_vm(linked)) and (asked := visibility.forwarded_ports(linked)):
        notes.append(
            f"{plural(came, 'connection')} of the host came out of SSH, and none of the VM's asks that server: its programs ask "
            f"{', '.join(asked)} on the VM itself, which ssh may forward (ssh -L or -D, no sshuttle); such connections are not paired"
        )
    elif came:
        notes.append(
            f"{plural(came, 'connection')} that the host carried {'is' if came == 1 else 'are'} not in the VM's capture, which may be of the "
            "wrong interface (with sshuttle, programs' traffic is on loopback); record with -i any"
        )
    return bool(came)


def _of_others(linked: Linked, made: Requests, hidden: list[int], apart: Bools) -> bool:
    """Whether none of the connections ``hidden`` of the upstream is the VM's, and the VM has requests on others.  apart : which are on these."""
    return linked.vm is not None and set(linked.origin[hidden].tolist()) == {HOST} and bool((made.side[~apart] == VM).any())


def _side_by_side(made: Requests) -> bool:
    """Whether each side had requests in progress on several connections at once, time and again, and sent nothing short: a client that speaks HTTP/2 sends
    all on one (RFC 9113 9.1), so turns are requests, though the beginning of no connection, which would tell, was captured."""
    sides = np.unique(made.side).tolist()
    for side in sides:
        rows = np.flatnonzero((made.side == side) & (made.session >= 0))
        until = np.maximum.accumulate(made.end_ns[rows])
        whose = made.session[rows][np.searchsorted(until, until)]  # of the request that lasts longest so far; times are in order of start
        beside = (made.start_ns[rows][1:] < until[:-1]) & (made.session[rows][1:] != whose[:-1])
        if beside.sum() < SEVERAL or made.sent_bytes[rows].min() < LEAST_BYTES:
            return False
    return bool(sides)


def _uncountable(linked: Linked, beside: Beside, made: Requests) -> tuple[str | None, list[int]]:
    """Why requests cannot be counted: HTTP/2 spoken, as far as is known, on a busy connection of the target whose streams no key log shows; or all that
    was sent to it cut before a protocol can be told, so that a handshake looks like requests. And which connections of the upstream these are."""
    up = linked.upstream
    if len(made) and "cut_payload" in up.capture.table("quality")["reason"]:
        protocols = up.sessions["protocol"][[k for row in np.flatnonzero(up.target).tolist() for k in up.session_ids[row]]]
        if all(each is None for each in protocols.tolist()):
            return "captures of whole packets (tcpdump -s 0), to tell requests from handshakes: what these hold of each is too short", []
    shown = set(made.session[made.stream >= 0].tolist())
    readable = {r.session_id for r in beside.keys.rows} if beside.keys is not None else set()
    busy = {up.connection_of[k] for k in linked.http2 if k in up.connection_of}.intersection(up.owner.tolist())
    hidden = [row for row in sorted(busy) if up.target[row] and row not in shown and not readable.intersection(up.session_ids[row])]
    if not hidden:
        return None, []
    spoken = all(any(linked.http2.get(k) for k in up.session_ids[row]) for row in hidden)
    how = "is spoken" if spoken else "was offered"
    keys = f"a TLS key log (SSLKEYLOGFILE): HTTP/2 {how} on {plural(len(hidden), 'connection')}"
    return f"{keys}, where several requests share a connection and cannot be told apart by who sends when", hidden


def without_answers(traffic: Traffic, unsure: Bools) -> Traffic:
    """The same traffic, where it is not known of ``unsure`` requests which answer is theirs: if these, and those on connections whose number is in doubt, are
    many of those of HTTP/2, requests cannot be told apart. What others have in flight is then left out, if the VM has some of its own."""
    up, situation, rows = traffic.upstream, traffic.situation, traffic.rows[:, UPSTREAM]
    owner = np.where(rows >= 0, np.append(up.owner, -1)[rows], -1)
    unsure = unsure | np.isin(owner, _in_doubt(up))
    # where upstream nothing is counted by sizes (HTTP/1.1 behind a relay that ends HTTP/2), each answer there is of its request
    if situation.uncountable or not up.counted or unsure.sum() <= MOST_UNSURE * len(up.streams):
        return traffic
    doubtful = sorted(set(owner[unsure & (rows >= 0)].tolist()))
    apart = np.isin(owner, doubtful)
    if _of_others(traffic, situation.requests, doubtful, apart):
        made = situation.requests.take(~apart)
        between, perhaps = _between(traffic, made, doubtful)
        missing = situation.egress_missing or OTHERS_KEYS
        facts = {**situation.facts, **_facts(traffic, egress_seen=False), "connections_left_out": len(doubtful)}
        changed = replace(
            situation, requests=made, between=between, perhaps=perhaps, egress_missing=missing, egress_seen=False, facts=facts
        )
        fewer = replace(traffic, situation=changed, rows=traffic.rows[~apart], aside=None)
        facts["others"] = others(fewer)
        return fewer
    span, made = situation.between, situation.requests
    only = (
        f"only that there are between {span[0]:,} and {span[1]:,} requests (most likely {len(made):,})"
        if span
        else "not whose each answer is"
    )
    keys = f"a TLS key log (SSLKEYLOGFILE): HTTP/2 is spoken on {plural(len(up.counted), 'connection')}, where the sizes of records show {only}"
    return traffic.knowing(situation=replace(situation, uncountable=keys))


def _uncertain_ns(linked: Linked) -> int:
    """How far the provider's moment of counting may be from what was captured: a round trip upstream and :data:`SLACK_NS`.

    A tunnel answers SYNs itself, and opens its own connections meanwhile: there, a round trip is from a connection's first byte to the server's.
    """
    up = linked.upstream
    rows = np.flatnonzero(up.target).tolist()
    trips = up.sessions["synack_ms"][[k for row in rows for k in up.session_ids[row]]] * 1e6
    redirected = [up.session_ids[row] for row in rows if up.connections["redirect_port"][row] is not None]
    if redirected and up.name != "host":
        asked, answered = (up.sessions.ints(f"{end}_first_payload_ns", NEVER) for end in ("orig", "resp"))
        trips = np.array([min(answered[k] for k in ids) - min(asked[k] for k in ids) for ids in redirected], float)
        trips = trips[(trips > 0) & (trips < NEVER / 2)]
    trips = trips[~np.isnan(trips)]
    return SLACK_NS + (int(np.median(trips)) if len(trips) else 0)


def _common_ns(linked: Linked, notes: list[str]) -> tuple[int, int]:
    """First and last time that all captures cover."""
    first, last = bounds = linked.upstream.bounds_ns
    theirs = linked.vm.capture.part.bounds_ns if linked.vm is not None else None
    if theirs is not None:
        begin, end = (int(t) for t in linked.clock.to_host(np.array(theirs, np.int64)))
        first, last = max(first, begin), min(last, end)
        if last < first and bounds != (0, 0):
            earlier, later = ("VM", "host") if end < bounds[0] else ("host", "VM")
            notes.append(
                f"the captures do not overlap: the {earlier}'s ends {(first - last) / 1e9:,.1f} s before the {later}'s begins; "
                "they cannot be matched"
            )
    return first, max(first, last)


def _hellos_cut(side: Side) -> int:
    """Frames in which the snaplen cut a ClientHello, so that nothing in it could be read; where no hello is known, all that it cut."""
    quality = side.capture.table("quality")
    reason = "hello_cut_unreadable" if "hello_cut_unreadable" in quality["reason"] or side.capture.table("hellos").rows else "cut_payload"
    return int(quality["frames"][quality["reason"] == reason].sum())


def _leave_apart(linked: Linked) -> bool:
    """Whether VM and host ask the target from different addresses: each of one family that both use. Then no limit per address counts them together."""
    c, target = linked.upstream.connections, linked.upstream.target
    leaves = [ip if translated is None else translated for ip, translated in c.tuples("orig_ip", "nat_ip")]
    seen: dict[tuple[int, bool], set[str]] = {}
    for origin, ip in set(itertools.compress(zip(linked.origin.tolist(), leaves, strict=True), target.tolist())):
        seen.setdefault((origin, ":" in ip), set()).add(ip)
    both = [v6 for v6 in (False, True) if (VM, v6) in seen and (HOST, v6) in seen]
    return bool(both) and all(seen[VM, v6].isdisjoint(seen[HOST, v6]) for v6 in both)


def _unasked(linked: Linked) -> int:
    """How many connections to the target a relay on the upstream's machine that asks anew may have opened by itself: they come from where its others do, begin
    alike (JA4), and carry no request that it was asked."""
    up = linked.upstream
    relayed = up.owner[sorted(linked.asked_of_relay)] if linked.nested is None else np.array(sorted(linked.nested.carriers), np.int64)
    if not len(relayed):
        return 0
    c, kinds, processes = up.connections, up.ja4, linked.processes.get(str(up.name), {})
    asked, alike = set(relayed.tolist()), {(c["orig_ip"][k], kinds.get(k)) for k in relayed.tolist()}
    names = {processes.get(k) for k in asked}
    rest = np.flatnonzero(up.target & up.opened & (linked.origin != VM) & ~c["started_before_capture"].astype(bool)).tolist()
    found = [
        k
        for k in rest
        if k not in asked and k not in linked.served and (c["orig_ip"][k], kinds.get(k)) in alike and processes.get(k) in (None, *names)
    ]
    return len(found) - (0 if linked.nested is None else _of_programs(up, found))


def _of_programs(up: Side, rows: list[int]) -> int:
    """How many of these connections carry requests of a size that few of them have: what a relay asks by itself, and not for others, is always the same."""
    of = np.flatnonzero(np.isin(up.owner, rows))
    sizes = up.exchanges["up_bytes"].astype(np.int64)[of]
    in_order = np.sort(sizes)
    many = np.searchsorted(in_order, sizes + CHECK_BYTES, "right") - np.searchsorted(in_order, sizes - CHECK_BYTES)
    return len(np.unique(up.owner[of[many < CHECKS]]))


def _facts(linked: Linked, *, egress_seen: bool) -> dict[str, Any]:
    """What causes may cite besides."""
    asker, pairs, vm = linked.sides.get("vm") or linked.upstream, linked.pairing, linked.vm
    lookups = asker.capture.table("lookups")
    frames = [f for f in lookups["query_frame"].tolist() if f is not None]
    facts: dict[str, Any] = {
        "clock_unknown": vm is not None and not linked.clock_told,
        "lost_share": max(side.seen.lost_share for side in linked.sides.values()),
        "hellos_cut": sum(_hellos_cut(side) for side in linked.sides.values()),
        "other_names": bool(target.at_same_address(linked.upstream)),
        "same_provider": target.of_same_provider(linked.upstream),
        "leaves_elsewhere": visibility.leaves_elsewhere(linked),
        "host_silent": linked.alone_at_relay or visibility.host_silent(linked),
        "unasked": _unasked(linked),
        "asked_anew": int(linked.nested is not None),
        "apart": egress_seen and _leave_apart(linked),
        "lookups": lookups.rows,
        "lookups_unseen": not egress_seen and any(side.for_lookups.any() for side in linked.sides.values()),
        "lookup_frames": [(asker.name or SIDES[VM], int(f)) for f in frames[:FRAMES]],
    }
    if pairs is not None and vm is not None:
        facts["pairs"] = int(linked.upstream.target[pairs.host_of[vm.target & (pairs.host_of >= 0)]].sum())
        facts["unpaired"] = int(((pairs.host_of < 0) & vm.target).sum())
    return facts
