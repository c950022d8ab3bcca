"""Relays on the machine of a capture: which connections they carry on in connections of their own, and which requests.

Theory of operation
-------------------
1. A proxy that passes bytes on (CONNECT, SOCKS, ssh -D and -L) opens a connection of its own, with the ClientHello of the one that it serves:
   where one capture holds both, only the one that goes on to the server is upstream, and it belongs to whoever opened the other (:func:`serving`).
2. A reverse proxy (HAProxy, nginx, mitmproxy) ends the program's connection and opens its own to the server, encrypts anew, and carries requests of
   many programs on one connection. Nothing passes through unchanged, so connections cannot be paired; exchanges can (:func:`match`). An exchange with
   the relay encloses the one upstream: the relay asks after it was asked, and answers after it was answered. (If the program breaks it off, the relay
   ends its own a little later.) One machine captured both, by one clock.
3. What the relay adds to a request (a record's header, a header field or two) is the same each time. So for each exchange with the relay, the candidates
   are those upstream that begin soon after it and end no later; the nearest with the usual difference in size is taken, each only once.
4. *Chance.* In a busy program something begins at any moment. So the pairs count only if nearly all exchanges with the relay have one, or nearly all that
   these connections carry upstream, and far fewer have one when their times are shifted by some seconds.

5. *Answers of its own.* A relay that refuses requests itself, or gives up waiting for its turn, leaves exchanges with it without a partner, but none of its
   own upstream.

Limits: a relay that asks twice (a retry) leaves exchanges without a partner; a few are allowed for. One that waits longer than
:data:`QUEUED_NS` before it asks is not followed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.chains import overlap
from netlens.chains.companions import begun_beside
from netlens.chains.matching import nearest_first
from netlens.chains.pairing import Pairing
from netlens.chains.side import Side
from netlens.columns import MISSING, NEVER, Bools, Ints, by_value
from netlens.parsers.connections import came_in_here, is_private, is_public, sent_from
from netlens.schema import Table

LATEST_NS = 1_000_000_000  #: from the last byte of the request to the relay to that of its own; a new connection takes two round trips
QUEUED_NS = 30_000_000_000  #: the same of one that has requests wait for their turn; looked for where the former finds few
MOST_QUEUED = 3_000  #: exchanges of which that is looked for; each has all of half a minute as candidates
TOLERANCE_NS = 1_000_000  #: two frames of one machine are stamped in the wrong order by less
UNUSUAL_NS = 20_000_000  #: what another difference in size than the usual one is worth, as a distance in time
PASSED_ON_NS = 50_000_000  #: from one connection of a relay that passes bytes on to the other; measured below 1 ms
NEGOTIATION_BYTES = 600  #: what CONNECT or SOCKS adds to a connection, each way: a header with credentials
MIN_BYTES = 1000  #: less than a handshake of TLS; of what is shorter many look alike
BROKEN_NS = 2_000_000_000  #: from the last piece of an answer that a program breaks off to its FIN: a pause of a stream
ENOUGH = 5  #: exchanges with a relay, at least
NEARLY_ALL = 0.8  #: share of them that must have a partner
BY_CHANCE = 0.5  #: of that, what may have one by chance
TUNNEL = 2  #: times the bytes of what it carries, at most; OpenVPN adds some 70 bytes a packet, and one capture may lack what the other has
MOST_PAIRS = 1_000_000  #: looked at together, 50 MB
SHIFTS_S = (3.1, -4.3, 7.7, -11.3, 17.9)  #: no multiples of each other, nor of usual back-offs


# --- connections that are passed on


def serving(side: Side) -> dict[int, tuple[int, ...]]:
    """Connection that leaves -> those it was opened for, one after the other, by relays on the machine of the capture. The latter are no longer of the
    target.

    Both carry one ClientHello, or as many bytes at the same times where that was not captured; the second is another one, begun while the first is
    open. What the host redirects to a proxy of its own is a hop, whether or not its hello was captured whole, if the capture shows anything else that
    goes to the target.
    """
    c = side.connections
    having: dict[str, list[int]] = {}
    for row, randoms in side.randoms.items():  # also of those to a relay that goes by an address of its own
        for random in randoms:
            having.setdefault(random, []).append(row)
    carrying = [set(rows) for rows in having.values() if len(rows) > 1 and side.target[rows].any()]
    out: dict[int, tuple[int, ...]] = {}
    linked = {row for rows in carrying for row in rows}
    nameless = [row for row in np.flatnonzero(side.target).tolist() if row not in linked]
    if nameless:
        nameless += [row for rows in services(c, side.target).values() for row in rows.tolist() if c["sni"][row] is None]
    for rows in (*carrying, *_alike(side, sorted(nameless))):
        *hops, last = sorted(rows, key=lambda row: int(c["start_ns"][row])) if isinstance(rows, set) else rows
        # what goes on to a server elsewhere, encrypted anew, shows nothing of the target any more
        if hops and (side.target[last] or not side.target[hops].any()) and all(_goes_on(c, a, b) for a, b in pairwise((*hops, last))):
            out[last] = tuple(hops)
            side.target[hops] = False
    _leave_to_relays(side, c, out)
    if side.name == "host":
        redirected = side.target & np.array([port is not None for port in c["redirect_port"].tolist()], bool)
        if redirected.any():
            came_in = came_in_here(side.capture.part.state())
            others = np.flatnonzero(side.target & ~redirected).tolist()
            if not all(came_in[side.session_ids[row]].all() for row in others):  # some of them leave
                side.target[redirected] = False
    return out


def _leave_to_relays(side: Side, c: Table, served: Mapping[int, tuple[int, ...]]) -> None:
    """Connections to where a relay was found to listen are no more to the target than those that it serves, also if they are older than the capture."""
    if listening := _listening(c, served):
        side.target &= np.array([end not in listening for end in c.tuples("resp_ip", "resp_port")], bool)


def _listening(c: Table, served: Mapping[int, tuple[int, ...]]) -> set[tuple[str, int]]:
    """Where relays listen that pass bytes on; one that takes packets on their way listens nowhere."""
    ends = list(c.tuples("resp_ip", "resp_port")) if served else []
    return {ends[k] for hops in served.values() for k in hops} - {ends[up] for up in served}


def _alike(side: Side, rows: list[int]) -> list[list[int]]:
    """Pairs of connections that carry the same: as many bytes but for a negotiation, the last of them at the same times; one hello at most is known.

    The one that the program's bytes reach first comes first. What looks like two others is neither's.
    """
    if not rows:
        return []
    s = side.sessions
    ids = [side.session_ids[row] for row in rows]
    begins = np.concatenate([[0], np.cumsum([len(each) for each in ids])[:-1]])
    of = np.array([k for each in ids for k in each], np.int64)
    lasts = np.stack([np.maximum.reduceat(s.ints(f"{end}_last_payload_ns", MISSING)[of], begins) for end in ("orig", "resp")], axis=1)
    sizes = np.stack([_sent(side, rows, of, begins, end) for end in ("orig", "resp")], axis=1)
    hello = np.array([row in side.randoms for row in rows], np.bool_)
    chosen = np.flatnonzero((lasts != MISSING).all(axis=1) & (sizes > MIN_BYTES).all(axis=1))
    i, j = _near(np.hstack([lasts, sizes])[chosen], (PASSED_ON_NS, PASSED_ON_NS, NEGOTIATION_BYTES, NEGOTIATION_BYTES))
    i, j = chosen[i], chosen[j]
    same = ~(hello[i] & hello[j]) & (lasts[j, 1] <= lasts[i, 1] + TOLERANCE_NS)
    own = sent_from(side.capture) if same.any() else set()
    near: dict[int, set[int]] = {}
    for a, b in zip(i[same].tolist(), j[same].tolist(), strict=True):
        if _other_ends(side, rows[a], rows[b], own):
            near.setdefault(a, set()).add(b)
            near.setdefault(b, set()).add(a)
    pairs = [(i, next(iter(js))) for i, js in near.items() if len(js) == 1]
    return [[rows[i], rows[j]] for i, j in pairs if near[j] == {i} and (lasts[i, 0], -lasts[i, 1], i) < (lasts[j, 0], -lasts[j, 1], j)]


def _near(values: Ints, most: Sequence[int]) -> tuple[Ints, Ints]:
    """Pairs of rows (i, j) of ``values`` (int64[n, columns]) of which no column differs by more than ``most``, and the first is not less in j; in order."""
    order = np.argsort(values[:, 0], kind="stable")
    sorted_ = np.ascontiguousarray(values[order].T)
    low, high = np.searchsorted(sorted_[0], sorted_[0], "left"), np.searchsorted(sorted_[0], sorted_[0] + most[0], "right")
    found: list[tuple[Ints, Ints]] = []
    for part in np.array_split(np.arange(len(order)), max(1, -(-int((high - low).sum()) // MOST_PAIRS))):
        count = (high - low)[part]
        i = np.repeat(part, count)
        j = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low[part], count)
        for column, apart in zip(sorted_[1:], most[1:], strict=True):
            near = np.abs(column[i] - column[j]) <= apart
            i, j = i[near], j[near]
        found.append((order[i[i != j]], order[j[i != j]]))
    i, j = (np.concatenate(each) for each in zip(*found, strict=True))
    by_row = np.lexsort((j, i))
    return i[by_row], j[by_row]


def sent(side: Side, row: int, end: str) -> int:
    """Payload that one end sent, with what the capture lost."""
    return int(_sent(side, [row], np.array(side.session_ids[row], np.int64), np.zeros(1, np.int64), end)[0])


def _sent(side: Side, rows: list[int], of: Ints, begins: Ints, end: str) -> Ints:
    """The same of several, whose sessions ``of`` begin at ``begins``. One redirect half lacks what the other has, which is no loss."""
    lost = np.minimum.reduceat(side.sessions[f"{end}_missing_bytes"][of].astype(np.int64), begins)
    whole = np.array([port is None for port in side.connections["redirect_port"][rows].tolist()], np.bool_)
    return side.connections[f"{end}_bytes"][rows].astype(np.int64) + np.where(whole, lost, 0)


def _other_ends(side: Side, a: int, b: int, own: set[str]) -> bool:
    """Whether two connections that carry the same are hops of one chain: they go to two servers, one of them near, one is redirected to a proxy here, or they
    come from two machines (a proxy that takes packets on their way; or a copy that was not known as one, of which one must go as well)."""
    c = side.connections
    (ip, port, to), (ip_, port_, to_) = ((c["orig_ip"][k], c["orig_port"][k], c["resp_ip"][k]) for k in (a, b))
    redirected = (c["redirect_port"][a] is None) != (c["redirect_port"][b] is None)
    near = to != to_ and (not (is_public(to) and is_public(to_)) or not own.isdisjoint((to, to_)))
    return bool((ip, port) != (ip_, port_) and (near or redirected or ip != ip_))


def _goes_on(connections: Table, a: int, b: int) -> bool:
    """Whether connection ``b`` may be what a relay opened for ``a``: another one, begun while that was open. A copy or a replay is none."""
    c = connections
    ends = {(c["orig_ip"][k], c["orig_port"][k]) for k in (a, b)}
    return len(ends) == 2 and bool(c["start_ns"][b] <= c["end_ns"][a])


def through(found: Pairing, served: Mapping[int, tuple[int, ...]]) -> Pairing:
    """The pairing with connections of the VM that a relay on the host carries on: they end in the relay's own connections, not in those to the relay.

    Parameters
    ----------
    served : rows of the host's connections: one that a relay opened -> those that it was opened for, see :func:`serving`.
    """
    if not served:
        return found
    host_of, vm_of, origin, why = found.host_of.copy(), found.vm_of.copy(), found.origin.copy(), found.origin_why.copy()
    for up, (down, *between) in served.items():
        mate = int(vm_of[down])
        if mate >= 0 and vm_of[up] < 0:
            host_of[mate], vm_of[up], vm_of[down] = up, mate, -1
        for hop in (*between, up):
            origin[hop], why[hop] = origin[down], f"opened by a relay for one that was {why[down]}"
    return replace(found, host_of=host_of, vm_of=vm_of, origin=origin, origin_why=why)


def beside(found: Pairing, side: Side, served: Mapping[int, tuple[int, ...]]) -> Pairing:
    """The pairing with connections that relays on the host opened beside those that they use, and sent nothing on. Whoever asked the relay has them open.

    Parameters
    ----------
    side : the host's.  served : as for :func:`through`, which has made the pairing.
    """
    c = side.connections
    old, ends = c["started_before_capture"], c["orig_ip"].tolist()
    known = set(served) | {row for hops in served.values() for row in hops}
    idle = [
        row
        for row in np.flatnonzero(
            side.target & side.opened & (c["orig_bytes"] == 0) & ~old & (found.vm_of < 0) & (found.companion_of < 0)
        ).tolist()
        if row not in known
    ]
    openers = [(up, hops[0]) for up, hops in served.items() if not old[up]]
    companion_of, of, origin, why = found.companion_of.copy(), found.beside.copy(), found.origin.copy(), found.origin_why.copy()
    first, last = side.bounds_ns
    for address in {ends[row] for row in idle}:
        theirs = [(up, down) for up, down in openers if ends[up] == address]
        rows = np.array([row for row in idle if ends[row] == address], np.int64)
        if not theirs:
            continue
        begun = np.array([(c["start_ns"][down], c["start_ns"][up]) for up, down in theirs], np.int64)
        for row, k in zip(
            rows.tolist(), begun_beside(begun, c["start_ns"][rows], max(last - first, 1), TOLERANCE_NS).tolist(), strict=True
        ):
            if k >= 0:
                up = theirs[k][0]
                of[row], companion_of[row] = up, found.vm_of[up]
                origin[row], why[row] = origin[up], "opened by a relay beside another"
    return replace(found, companion_of=companion_of, beside=of, origin=origin, origin_why=why)


# --- requests that are asked anew


@dataclass(frozen=True)
class Carried:
    """``of``: exchange upstream -> exchange with a relay (rows of the capture's table).  ``relays``: where these listen, and those that pass bytes on.
    ``itself``: of those that answer by themselves (they refuse, or give up waiting), how many answers went no further."""

    of: dict[int, int]
    relays: frozenset[tuple[str, int]]
    itself: dict[tuple[str, int], int]


def carried(side: Side, served: Mapping[int, tuple[int, ...]], known: Collection[int]) -> Carried:
    """Exchanges with relays on the machine of the capture that end the program's connections and ask the target in their own.

    A relay that goes by the target's name (``/etc/hosts`` leads there) is found likewise; connections to it are no longer of the target.
    served : what :func:`serving` found: what is passed on byte by byte is not asked anew.  known : connections upstream with a hello of the VM's
    capture, which is no relay's.
    """
    c, exchanges = side.connections, side.capture.table("exchanges")
    owner = overlap.owner_rows(exchanges, c)
    counts = np.bincount(owner[owner >= 0], minlength=c.rows)
    public = np.array(by_value(is_public, c["resp_ip"].tolist()), bool)
    named = ~public & side.target
    if (side.target & ~named & (counts > 0)).any():
        sure = side.target & ~named
    else:  # all that is known as the target is near: that may be a relay, but nothing is beyond it
        sure, named = side.target, np.zeros(c.rows, bool)
    upstream, elsewhere = (np.flatnonzero((owner >= 0) & rows[owner]) for rows in (sure, public & ~side.target))
    upstream = upstream[~np.isin(owner[upstream], [*served, *known])]
    passed_on = [hop for hops in served.values() for hop in hops]
    of: dict[int, int] = {}
    ends = _listening(c, served)
    itself: dict[tuple[str, int], int] = {}
    answered = exchanges.ints("response_ns", NEVER) != NEVER
    until = _until(side, exchanges)
    of_vm = np.zeros(c.rows, bool)
    of_vm[[*known]] = True
    came_out = _bytes(c, np.flatnonzero(of_vm))
    for end, rows in (services(c, side.target) | _grouped(c, np.flatnonzero(named))).items():
        # a relay that goes by the target's name is asked by connections with a hello of the VM's capture, which are no way out of it
        if _come_out(_bytes(c, rows), came_out - _bytes(c, np.asarray(rows)[of_vm[rows]])):
            continue
        if len(upstream) and not is_public(end[0]) and counts[rows].sum() >= ENOUGH:
            free = upstream[~np.isin(upstream, list(of))]
            asked = np.flatnonzero(np.isin(owner, np.setdiff1d(rows, passed_on)))
            found = followed(exchanges, asked, free, until)
            if found:
                alone = (
                    int(answered[asked].sum())
                    - len(found)
                    - len(followed(exchanges, np.setdiff1d(asked, list(found.values())), elsewhere, until))
                )
                itself |= {end: alone} if alone >= ENOUGH else {}
                of |= found
                ends.add(end)
                side.target[rows] = False
    return Carried(of, frozenset(ends), itself)


def _until(side: Side, exchanges: Table) -> Ints:
    """Per exchange, until when its answer may go on upstream: to its own end; if the program ended the connection right behind that, perhaps in the middle,
    until the relay has ended its own; :data:`NEVER` where no end is known."""
    s, ends = side.sessions, exchanges.ints("end_ns", NEVER)
    fins = [s.ints(f"{end}_fin_ns", NEVER) for end in ("orig", "resp")]
    closed = np.minimum(np.where(fins[0] < fins[1], fins[0], NEVER), s.ints("rst_ns", NEVER))
    number = exchanges["session_id"].astype(np.int64)
    ids = s["session_id"].astype(np.int64)
    out = ends.copy()
    # of each session the last, in order of start
    sessions, from_behind = np.unique(number[::-1], return_index=True)
    last = len(number) - 1 - from_behind
    over = closed[np.searchsorted(ids, sessions)]
    soon = (ends[last] != NEVER) & (over != NEVER)
    soon[soon] = (over - ends[last])[soon] <= BROKEN_NS
    out[last[soon]] = np.maximum(over, ends[last])[soon] + LATEST_NS
    return out


def followed(exchanges: Table, to_relay: Ints, upstream: Ints, until: Ints | None = None) -> dict[int, int]:
    """As :func:`match`, of a relay that asks soon, or has requests wait for their turn, whichever explains clearly more."""
    soon = match(exchanges, to_relay, upstream, until)
    if max(len(to_relay), len(upstream)) > MOST_QUEUED or _usual_ones(exchanges, soon) >= NEARLY_ALL * len(to_relay):
        return soon
    late = match(exchanges, to_relay, upstream, until, QUEUED_NS)
    return late if NEARLY_ALL * _usual_ones(exchanges, late) > _usual_ones(exchanges, soon) else soon


def _usual_ones(exchanges: Table, pairs: Mapping[int, int]) -> int:
    """How many of the pairs differ in size as most do."""
    sizes = exchanges["up_bytes"].astype(np.int64)
    differences = sizes[list(pairs)] - sizes[list(pairs.values())]
    return int(np.unique(differences, return_counts=True)[1].max()) if pairs else 0


def match(exchanges: Table, to_relay: Ints, upstream: Ints, until: Ints | None = None, latest_ns: int = LATEST_NS) -> dict[int, int]:
    """Rows of exchanges upstream -> rows of exchanges with the relay; empty if these are not carried on there.

    Parameters
    ----------
    exchanges : all exchanges of one capture.  to_relay, upstream : rows of it, of one server each.  until : per exchange, when it is over upstream at the
        latest (:func:`_until`).  latest_ns : how long the relay may wait before it asks.
    """
    if len(to_relay) < ENOUGH or not len(upstream):
        return {}
    a, b = (_Times(exchanges, rows, until) for rows in (to_relay, upstream))
    usual = _usual(a, b, latest_ns)
    pairs = _pairs(a, b, usual, 0, latest_ns)
    by_chance = max(len(_pairs(a, b, usual, int(shift * 1e9), latest_ns)) for shift in SHIFTS_S)
    found = {int(upstream[j]): int(to_relay[i]) for i, j in pairs}
    # whoever shares the egress has connections of its own, of which a request or two fit by chance: without these the right ones are left
    sessions = exchanges["session_id"][upstream].astype(np.int64)
    _, of, many = np.unique(sessions, return_inverse=True, return_counts=True)
    fitting = np.bincount(of[[j for _, j in pairs]], minlength=len(many))
    strangers = ((fitting > 0) & (2 * fitting < many))[of]
    without = match(exchanges, to_relay, upstream[~strangers], until, latest_ns) if strangers.any() else {}
    carries = len(pairs) >= NEARLY_ALL * len(to_relay) or len(pairs) >= max(ENOUGH, NEARLY_ALL * int(many[fitting > 0].sum()))
    if by_chance > BY_CHANCE * len(pairs) or not carries or len(without) >= len(found):
        return without
    return found


class _Times:
    def __init__(self, exchanges: Table, rows: Ints, until: Ints | None) -> None:
        self.asked = exchanges["request_end_ns"][rows].astype(np.int64)
        self.end = exchanges.ints("end_ns", NEVER)[rows]
        self.until = self.end if until is None else until[rows]
        self.size = exchanges["up_bytes"][rows].astype(np.int64)


def _usual(a: _Times, b: _Times, latest_ns: int) -> int:
    """The most frequent difference in size between what the relay was asked and what was asked upstream next; where it may wait for long, within that time."""
    order = np.argsort(b.asked, kind="stable")
    low = np.searchsorted(b.asked[order], a.asked - TOLERANCE_NS)
    if latest_ns == LATEST_NS:
        differences = b.size[order][np.minimum(low, len(order) - 1)] - a.size
    else:
        high = np.searchsorted(b.asked[order], a.asked + latest_ns, "right")
        differences = np.concatenate(
            [b.size[order[x:y]] - size for x, y, size in zip(low.tolist(), high.tolist(), a.size.tolist(), strict=True)]
        )
    values, counts = np.unique(differences, return_counts=True)
    return int(values[counts.argmax()]) if len(values) else 0


def _pairs(a: _Times, b: _Times, usual: int, shift_ns: int, latest_ns: int) -> list[tuple[int, int]]:
    """Pairs that enclose each other and differ in size as usual, the nearest first, each in one pair only. Where a relay may wait for long, sizes say more."""
    unusual_ns = UNUSUAL_NS if latest_ns == LATEST_NS else latest_ns
    order = np.argsort(b.asked, kind="stable")
    asked = a.asked + shift_ns
    low = np.searchsorted(b.asked[order], asked - TOLERANCE_NS)
    high = np.searchsorted(b.asked[order], asked + latest_ns, "right")
    options: list[tuple[int, int, int]] = []
    for i in range(len(asked)):
        for j in order[low[i] : high[i]].tolist():
            late = a.until[i] != NEVER and b.end[j] > a.until[i] + shift_ns + TOLERANCE_NS
            if not late or b.end[j] == NEVER:
                odd = b.size[j] - a.size[i] != usual
                options.append((int(abs(b.asked[j] - asked[i])) + unusual_ns * int(odd), i, j))
    return [(i, j) for i, j in nearest_first(options) if b.size[j] - a.size[i] == usual or shift_ns == 0]


def may_be_relayed(side: Side, known: frozenset[tuple[str, int]], paired: Bools) -> bool:
    """Whether a service of the machine itself, other than the ``known`` relays, may be one: other machines ask it, and mostly soon after that something
    is asked upstream. Then what the machine opens may be for them. A service with as many bytes as the connections that were
    ``paired`` with the VM's is what these come out of: a tunnel (OpenVPN over TCP), a proxy that encrypts anew (Shadowsocks).
    """
    c, x = side.connections, side.capture.table("exchanges")
    own = set(c["orig_ip"][side.target].tolist())
    owner = overlap.owner_rows(x, c)
    upstream = np.sort(x["request_end_ns"][(owner >= 0) & side.target[owner]].astype(np.int64))
    came_out = _bytes(c, np.flatnonzero(side.target & paired))
    for end, rows in services(c, side.target).items():
        theirs = [row for row in rows.tolist() if c["orig_ip"][row] not in own]
        asked = x["request_end_ns"][np.isin(owner, theirs)].astype(np.int64)
        if end in known or len(asked) < ENOUGH or not is_private(end[0]):
            continue
        if _come_out(_bytes(c, theirs), came_out):
            continue
        followed = np.searchsorted(upstream, asked + LATEST_NS, "right") > np.searchsorted(upstream, asked - TOLERANCE_NS)
        if followed.mean() >= BY_CHANCE:
            return True
    return False


def _bytes(connections: Table, rows: Sequence[int] | Ints) -> int:
    """Payload of connections, both ways."""
    at = np.asarray(rows, np.int64)
    return int(connections["orig_bytes"][at].sum() + connections["resp_bytes"][at].sum())


def _come_out(went_in: int, came_out: int) -> bool:
    """Whether about as many bytes come out upstream as went into a service, which therefore is where they come from."""
    return 0 < went_in <= TUNNEL * came_out and came_out <= TUNNEL * went_in


def services(connections: Table, target: Bools) -> dict[tuple[str, int], Ints]:
    """Connections that are not of the target by the server they go to; no SSH, no lookups, of the target's own addresses only what is redirected."""
    c, theirs = connections, set(connections["resp_ip"][target].tolist())
    ends: Any = zip(*(c[name].tolist() for name in ("resp_ip", "resp_port", "redirect_port")), target.tolist(), strict=True)
    chosen = [
        row
        for row, (ip, port, redirect, is_target) in enumerate(ends)
        if not is_target and (ip not in theirs or redirect is not None) and port not in (22, 53, 853)
    ]
    return _grouped(c, chosen)


def _grouped(connections: Table, rows: Iterable[int]) -> dict[tuple[str, int], Ints]:
    """Rows by the address and port that they go to."""
    ips, ports = connections["resp_ip"], connections["resp_port"]
    out: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        out.setdefault((ips[row], int(ports[row])), []).append(row)
    return {key: np.array(found, np.int64) for key, found in out.items()}
