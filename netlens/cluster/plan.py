"""Which connections lie in more than one file, and in which file each is folded.

Two sessions belong together if what one is may depend on the other:

1. *Same 5-tuple in two files.* Unless the later file begins that 5-tuple with a SYN, and the session before it began with a SYN of the same side,
   and has another sequence number or saw an end: such a SYN opens a new session (see parsers.sessions, rule 1), which owes nothing to the old one.
   It is decided from what each file says by itself, and holds whatever came before: a session that began in its file with a SYN has that SYN's number
   in the whole, too, and an end that was seen in the file was seen in the whole.
2. *Same client address and port.* A new session is joined to the newest one of that client if that one holds one side only, and the new one begins
   with a packet of the other side (redirect halves). So a session of which one side was seen waits, from file to file, for the next session of its
   client. (Where a capture holds one side of everything, all begin with the same side, and nothing waits in vain.)
3. *What is the client may turn round.* A session joined mid-way can hold a SYN or SYN+ACK that in the whole opens another session, of which the other
   end is the client; whatever has that client goes with it. (Rare: frames in another order than they were sent in.)

The rest stays in its file. What belongs together goes to the file where it begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netlens.cluster import keys as k_
from netlens.cluster.kernels import carry, flatten, unite
from netlens.columns import Array

OWN = -1


@dataclass
class Plan:
    homes: list[Array]  # int64[groups] per file: the file in which each group of sessions is folded, or OWN if the file's own word stands
    #: per file, sessions that begin there with a SYN that is no beginning: one that was sent or captured again, behind more than SYNs in an earlier file
    resumed: list[Array]
    #: per file, 2 * session + end (0 is A, see keys.LOOKS_A): what that end sends is not looked at for a ClientHello any more, so no payload is needed
    quiet: list[Array]
    #: the same, of streams that go on here without a hole, where the search had not begun to collect a hello: no payload is needed that leads
    smooth: list[Array]


class _Sessions:
    """The sessions of all files, one file behind the other."""

    def __init__(self, files: Sequence[k_.Keys]):
        self.flow, self.client, self.isn, self.bits = (
            np.concatenate([getattr(k, name) for k in files]) for name in ("flow", "client", "isn", "bits")
        )
        self.first = np.concatenate([[0], np.cumsum([len(k.flow) for k in files])])  # of each file
        self.file = np.repeat(np.arange(len(files)), np.diff(self.first))
        self.first_group = np.concatenate([[0], np.cumsum([k.groups for k in files])])
        self.file_of_group = np.repeat(np.arange(len(files)), np.diff(self.first_group))
        self.group = np.concatenate([k.group for k in files]) + self.first_group[self.file]
        self.numbers = np.concatenate([k.numbers for k in files])
        self.turning = np.concatenate([k.turning_at + at for k, at in zip(files, self.first.tolist(), strict=False)])
        self.turning_client = np.concatenate([k.turning_client for k in files])
        self.place = np.full(len(self), -1, np.int32)  # of each session in ``numbers``
        self.place[np.concatenate([k.open_at + at for k, at in zip(files, self.first.tolist(), strict=False)])] = np.arange(
            len(self.numbers)
        )

    def __len__(self) -> int:
        return len(self.flow)

    def by_file(self, marks: Array) -> list[Array]:
        """Where ``marks`` (a bool for each session, or for each end of it) are set, counted within each file."""
        return [np.flatnonzero(part) for part in np.split(marks, self.first[1:-1])]


def plan(files: Sequence[k_.Keys]) -> Plan:
    s = _Sessions(files)
    if not len(s):
        nothing = [np.zeros(0, np.int64) for _ in files]
        return Plan(nothing, nothing, nothing, nothing)
    parent = np.arange(len(s.file_of_group))
    goes_on, resumed, quiet, smooth = _same_flows(s, parent)
    _waiting_halves(s, goes_on, parent)
    _turning(s, parent)
    flatten(parent)
    several = np.zeros(len(parent), bool)
    several[parent[s.file_of_group != s.file_of_group[parent]]] = True
    several[parent[s.group[s.bits & k_.FORCED != 0]]] = True
    home = np.where(several[parent], s.file_of_group[parent], OWN)
    return Plan(np.split(home, s.first_group[1:-1]), s.by_file(resumed), s.by_file(quiet), s.by_file(smooth))


def _same_flows(s: _Sessions, parent: Array) -> tuple[Array, Array, Array, Array]:
    """Rule 1; bool[n], bool[n], bool[n, 2] and bool[n, 2]: sessions that may be the continuation of one in an earlier file; see Plan for the others."""
    order = np.argsort(s.flow, kind="stable")  # sessions are in order of files and, in each, of first frames
    a, b = order[:-1], order[1:]
    crossing = (s.flow[a] == s.flow[b]) & (s.file[a] != s.file[b])
    a, b = a[crossing], b[crossing]
    both = (s.bits[a] & s.bits[b] & k_.BEGINS != 0) & (s.client[a] == s.client[b])
    opens = both & ((s.isn[a] != s.isn[b]) | (s.bits[a] & k_.SAW_END != 0))
    unite(s.group[a[~opens]], s.group[b[~opens]], parent)
    goes_on = np.zeros(len(s), bool)
    goes_on[b[~opens]] = True
    resumed = np.zeros(len(s), bool)
    repeated = both & (s.bits[a] & k_.ONLY_SYNS != 0)  # the usual case: nothing but this SYN came before, so all is as if it had begun here
    while True:
        resumed[b[~opens & (s.bits[b] & k_.BEGINS != 0) & ~repeated]] = True
        behind = repeated & resumed[a]
        if not behind.any():
            break
        repeated &= ~behind
    # Only where no SYN can have begun another session that the file alone does not see.
    sure = ~opens & (s.bits[a] & (k_.BEGINS | k_.NO_SYN) != 0) & ~resumed[a] & (s.bits[b] & k_.NO_SYN != 0)
    a, b = a[sure], b[sure]
    quiet, smooth = np.zeros((len(s), 2), bool), np.zeros((len(s), 2), bool)
    for end, looks in enumerate((k_.LOOKS_A, k_.LOOKS_B)):
        marks = np.zeros(len(s), bool)
        marks[a[s.bits[a] & looks == 0]] = True
        carry(a, b, np.ones(len(a), bool), marks)
        quiet[b, end] = marks[b]
    told = (s.place[a] >= 0) & (s.place[b] >= 0)
    a, b = a[told], b[told]
    for end in (0, 1):
        goes, begins = s.numbers[s.place[a], 2 * end + 1], s.numbers[s.place[b], 2 * end]
        marks = s.bits & k_.BEGINS != 0
        carry(a, b, (goes >= 0) & (goes == begins), marks)
        smooth[b, end] = marks[b]
    return goes_on, resumed, quiet, smooth


def _waiting_halves(s: _Sessions, goes_on: Array, parent: Array) -> None:
    """Rule 2."""
    bits, client, file, node = s.bits, s.client, s.file, s.group
    half = bits & (k_.ONLY_UP | k_.ONLY_DOWN) != 0
    alone = bits & k_.MATED == 0
    # what was joined to a session that is really older may in truth have no mate
    unsure = np.zeros(len(parent), bool)
    unsure[node[bits & k_.BEGINS == 0]] = True
    waits = half & (alone | unsure[node])
    new = (bits & k_.BEGINS != 0) & ~goes_on
    clears = ~half & new
    fits = np.where(bits & k_.CLIENT_FIRST != 0, k_.ONLY_DOWN, k_.ONLY_UP)  # what it could be joined to
    order = np.argsort(client, kind="stable")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(client[order])) + 1, [len(order)]])
    counted = np.concatenate([[0], np.cumsum(waits[order])])
    runs = np.flatnonzero((counted[edges[1:]] > counted[edges[:-1]]) & (file[order[edges[1:] - 1]] != file[order[edges[:-1]]]))
    left, right = [], []
    for begin, end in zip(edges[runs].tolist(), edges[runs + 1].tolist(), strict=True):
        members = order[begin:end]
        cuts = np.flatnonzero(np.diff(file[members])) + 1
        pending, sides = -1, 0
        for one in np.split(members, cuts):
            if pending >= 0 and ((fits[one] & sides != 0).any() or not new[one].any()):
                left.append(pending)
                right.append(int(node[one[0]]))
            elif pending >= 0 and new[one].any():
                pending, sides = -1, 0  # there is a newer one
            if waits[one].any():
                pending = int(node[one[0]])
                sides |= int(np.bitwise_or.reduce(bits[one[waits[one]]])) & (k_.ONLY_UP | k_.ONLY_DOWN)
            elif clears[one].any():
                pending, sides = -1, 0
    unite(np.array(left, np.int64), np.array(right, np.int64), parent)


def _turning(s: _Sessions, parent: Array) -> None:
    """Rule 3."""
    client, first = np.unique(s.turning_client, return_index=True)
    if not len(client):
        return
    unite(s.group[s.turning], s.group[s.turning[first[np.searchsorted(client, s.turning_client)]]], parent)
    at = np.minimum(np.searchsorted(client, s.client), len(client) - 1)
    same = np.flatnonzero(client[at] == s.client)
    unite(s.group[same], s.group[s.turning[first[at[same]]]], parent)
