"""The situation: everything that is weighed, on the host's clock, without a packet in it.

Counting rules, limits, causes, fixes, replay and comparison see nothing else. It is made from one or two captures by
:mod:`netlens.chains.traffic`, and drawn at random by the calibration (``tests/bench/calibration.py``); so what is calibrated is what runs.

Words: *upstream* is the wire nearest to the provider that was captured (the host's, else the VM's). *Done* is when the program no longer
wanted a thing, seen where the program runs. All times are int64 ns UTC of the host's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netlens import logs
from netlens.columns import Bools, Codes, Ints, Objects, Rows

VM, HOST, UNKNOWN = 0, 1, 2  #: sides: whose program made it; codes of every ``side`` column
SIDES = ("vm", "host", "unknown")
REQUESTS, COMPANION, LOOKUPS = 0, 1, 2  #: what an upstream session is for; codes of ``Sessions.kind``
KINDS = ("requests", "companion", "lookups")
ACCEPTED, REJECTED, UNLABELLED = 0, 1, -1  #: codes of ``Requests.rejected``
ELSEWISE = -2  #: one more: refused, but by a limit of another class than the one that is weighed, or by none (401)
APART = -3  #: and another: of a party that is counted by itself, whatever came of it


@dataclass(frozen=True, eq=False)
class Sessions(Rows):
    """Upstream sessions to the provider, one row each; arrays of equal length.

    side : VM, HOST or UNKNOWN.  start_ns : first frame.  end_ns : both FINs or an RST, else the end of the capture.
    done_ns : the program's own FIN or RST (of a forwarded one: at the VM); ``end_ns`` where none was seen.
    connection : number of the application connection it belongs to; -1 if unknown. A companion has the number of the one it accompanies.
    kind : REQUESTS carries requests (or idles), COMPANION is opened beside one by the tunnel, LOOKUPS is DNS over TCP or TLS.
    host_frame, vm_frame : first frame in each capture; 0 if it is not in it.
    address : number of the server's address, as each may count by itself; all 0 unless told.
    """

    side: Codes
    start_ns: Ints
    end_ns: Ints
    done_ns: Ints
    connection: Ints
    kind: Codes
    host_frame: Ints
    vm_frame: Ints
    address: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.address) != len(self):
            object.__setattr__(self, "address", np.zeros(len(self), np.int64))

    def __len__(self) -> int:
        return len(self.start_ns)


#: Columns of ``Requests.noticed_ns``: as it was recorded; had the program's end reached the provider itself; or by way of sshuttle 2.
RECORDED, DIRECTLY, BY_SSHUTTLE = range(3)


@dataclass(frozen=True, eq=False)
class Requests(Rows):
    """Requests to the provider in order of ``start_ns``, one row each; arrays of equal length.

    side : VM, HOST or UNKNOWN.  session : row of ``Sessions`` that carries it.
    start_ns : last byte of the request as sent upstream (the provider decides when it has it).
    end_ns : last byte of the answer upstream; without a complete answer, the end of its session.
    done_ns : when the program was done with it: the last byte of the answer it read, or its FIN or RST; at most ``end_ns``.
    rejected : ACCEPTED, REJECTED or UNLABELLED (ELSEWISE also while one class is weighed, APART while some parties are).
    source : where the label comes from ("error log", "key log", "inferred", "").
    stream : HTTP/2 stream it is, -1 for a request of turn-taking.
    host_frame, vm_frame : frame of its first byte in each capture; 0 if it is not in it.
    refusal_class : of those refused, a class of :mod:`netlens.logs` ("unknown" unless told); else "".
    sent_bytes : payload of the request, TLS records and all; all 0 where it is not known.
    answer_ns : first byte of the answer upstream; 0 where it is not known.
    answer_bytes : payload of the answer, as of ``sent_bytes``; all 0 where it is not known.
    broken_off : a reset ended its connection, before the end of its answer or right behind it.
    noticed_ns : when the provider knew at the latest that it was over, int64[n, 3]: see :data:`RECORDED`, :mod:`netlens.chains.noticed`. ``end_ns`` and
        ``done_ns`` unless told.
    outside : sent while what leaves was not captured, by a side that was: it is counted and labelled, and no evidence, as nobody knows what others had open.
    added : a relay opened a connection for it, though the program sent it on one that it had used before.
    again : a relay sent it, though it had sent the same one before, which was in progress.
    doubt_ns : by how much it may have begun earlier and later, and ended earlier and later, int64[n, 4]; 0 unless told.
    """

    side: Codes
    session: Ints
    start_ns: Ints
    end_ns: Ints
    done_ns: Ints
    rejected: Codes
    source: Objects
    stream: Ints
    host_frame: Ints
    vm_frame: Ints
    refusal_class: Objects = field(default_factory=lambda: np.zeros(0, object))
    sent_bytes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    answer_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    answer_bytes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    broken_off: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    noticed_ns: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    outside: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    doubt_ns: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    added: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    again: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        if len(self.again) != len(self):
            object.__setattr__(self, "again", np.zeros(len(self), np.bool_))
        if len(self.added) != len(self):
            object.__setattr__(self, "added", np.zeros(len(self), np.bool_))
        if len(self.outside) != len(self):
            object.__setattr__(self, "outside", np.zeros(len(self), np.bool_))
        if len(self.refusal_class) != len(self):
            object.__setattr__(self, "refusal_class", np.where(self.rejected == REJECTED, logs.UNKNOWN, "").astype(object))
        if len(self.sent_bytes) != len(self):
            object.__setattr__(self, "sent_bytes", np.zeros(len(self), np.int64))
        if len(self.answer_ns) != len(self):
            object.__setattr__(self, "answer_ns", np.zeros(len(self), np.int64))
        if len(self.answer_bytes) != len(self):
            object.__setattr__(self, "answer_bytes", np.zeros(len(self), np.int64))
        if len(self.broken_off) != len(self):
            object.__setattr__(self, "broken_off", np.zeros(len(self), np.bool_))
        if len(self.noticed_ns) != len(self):
            done = np.minimum(self.done_ns, self.end_ns)
            object.__setattr__(self, "noticed_ns", np.stack([self.end_ns, done, done], axis=1))
        if len(self.doubt_ns) != len(self):
            object.__setattr__(self, "doubt_ns", np.zeros((len(self), 4), np.int64))

    def __len__(self) -> int:
        return len(self.start_ns)

    @property
    def held(self) -> Bools:
        """Requests that held a place: accepted ones, and those without a label."""
        return (self.rejected == ACCEPTED) | (self.rejected == UNLABELLED)


@dataclass(frozen=True, eq=False)
class Underway(Rows):
    """Requests whose answers were under way when the capture began, one row each: they hold places until ``end_ns``, and nothing else is known of them.

    side, session : as of ``Requests``.
    """

    side: Codes
    session: Ints
    end_ns: Ints

    @classmethod
    def none(cls) -> Underway:
        return cls(np.zeros(0, np.int8), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.end_ns)


@dataclass(frozen=True, eq=False)
class Perhaps(Rows):
    """Requests that there may have been besides, one row each: what is seen of HTTP/2 without keys fits with them and without, and if there was one it was in
    progress from ``start_ns`` to ``end_ns`` at most. They are in the highest count, and in no other.

    side : as of ``Requests``.
    """

    side: Codes
    start_ns: Ints
    end_ns: Ints

    @classmethod
    def none(cls) -> Perhaps:
        return cls(np.zeros(0, np.int8), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.start_ns)


@dataclass(frozen=True, eq=False)
class Situation:
    """Requests and sessions of both sides.

    vm_seen, host_seen : whether there is a capture of that side. egress_seen : whether everything from the egress address is in it.
    egress_missing : what to capture instead, where the host's capture does not show what leaves it; else "".
    capture_ns : first and last time that all captures cover.
    uncertain_ns : how far a time may be off between sides (half the clock's interval, plus what the wire adds).
    uncountable : why requests cannot be counted, or None (HTTP/2 without a key log, packets cut too short).
    facts : what causes may cite besides: plain numbers and frame lists by name.
    underway : what was asked before the capture began, and answered in it.
    perhaps : requests that there may have been besides ``requests``.  between : how many there are, at least and at most; None where that is known.
    midway_ns : when the capture of what leaves began, if connections to the provider were open then: what was sent before is not known. Else None.
    """

    requests: Requests
    sessions: Sessions
    vm_seen: bool
    host_seen: bool
    egress_seen: bool
    capture_ns: tuple[int, int]
    uncertain_ns: int = 1_000_000
    uncountable: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    egress_missing: str = ""
    underway: Underway = field(default_factory=Underway.none)
    midway_ns: int | None = None
    perhaps: Perhaps = field(default_factory=Perhaps.none)
    between: tuple[int, int] | None = None

    @property
    def other_capture(self) -> str:
        """The capture to make where one machine, or what leaves the host, was not seen."""
        return self.egress_missing or f"a capture of the {'host' if self.vm_seen else 'VM'} over the same time"


DAY_NS = 86_400_000_000_000
APART_NS = 3_600_000_000_000  #: between recordings that are weighed together; more than most windows


def joined(situations: Sequence[Situation]) -> Situation:
    """Several recordings of one situation, one after the other, as one.

    Each is moved by whole days, so that windows by the clock stay where they were. What all have seen is seen. Frames belong to their own files, so none is
    kept.
    """
    first, *others = sorted(situations, key=lambda each: each.capture_ns[0])
    out = first
    for each in others:
        behind = out.capture_ns[1] + APART_NS - each.capture_ns[0]
        shift = -(-behind // DAY_NS) * DAY_NS
        sessions, requests = each.sessions, each.requests
        connections = max(int(out.sessions.connection.max(initial=-1)) + 1, 0)
        moved_sessions = replace(
            sessions, start_ns=sessions.start_ns + shift, end_ns=sessions.end_ns + shift, done_ns=sessions.done_ns + shift,
            connection=np.where(sessions.connection >= 0, sessions.connection + connections, -1),
        )  # fmt: skip
        moved_requests = replace(
            requests,
            answer_ns=np.where(requests.answer_ns > 0, requests.answer_ns + shift, 0),
            start_ns=requests.start_ns + shift, end_ns=requests.end_ns + shift, done_ns=requests.done_ns + shift,
            noticed_ns=requests.noticed_ns + shift, session=np.where(requests.session >= 0, requests.session + len(out.sessions), -1),
        )  # fmt: skip
        out = Situation(
            out.requests.joined(moved_requests),
            out.sessions.joined(moved_sessions),
            out.vm_seen and each.vm_seen,
            out.host_seen and each.host_seen,
            out.egress_seen and each.egress_seen,
            (out.capture_ns[0], each.capture_ns[1] + shift),
            max(out.uncertain_ns, each.uncertain_ns),
            out.uncountable or each.uncountable,
            {
                k: out.facts.get(k, 0) + each.facts.get(k, 0)
                for k in {*out.facts, *each.facts}
                if _is_number(out.facts.get(k, 0), each.facts.get(k, 0))
            },
            out.egress_missing or each.egress_missing,
            perhaps=out.perhaps.joined(replace(each.perhaps, start_ns=each.perhaps.start_ns + shift, end_ns=each.perhaps.end_ns + shift)),
            between=_added(out, each),
        )  # what was under way belongs to the beginning of one recording, and to no time between two
    nothing = np.zeros(len(out.requests), np.int64), np.zeros(len(out.sessions), np.int64)
    return replace(
        out,
        requests=replace(out.requests, host_frame=nothing[0], vm_frame=nothing[0]),
        sessions=replace(out.sessions, host_frame=nothing[1], vm_frame=nothing[1]),
    )


def _added(*those: Situation) -> tuple[int, int] | None:
    """How many requests there are in all, at least and at most; None where that is known."""
    if all(each.between is None for each in those):
        return None
    spans = [each.between or (len(each.requests),) * 2 for each in those]
    return sum(least for least, _ in spans), sum(most for _, most in spans)


def _is_number(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
