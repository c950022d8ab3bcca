"""The TCP state machine of an observer: a table of data, and nothing else.

Theory of operation
-------------------
1. Each end point of a session has a state of its own; a segment moves its sender and sometimes the peer.
2. An observer may not refuse: the table is total. What no rule names leaves both states as they were, and the counts (history letters,
   retransmissions) tell of it.
3. The originator is who sent the first SYN. Without one: the receiver of a SYN+ACK, else the side whose port is no well-known server port.
4. A segment with several control flags is taken as SYN, then FIN or RST: a FIN beside an RST says nothing more.
5. The meaning of end states is Zeek's ``conn_state``, so that people and tools that know Zeek need no second vocabulary (states and their
   names: the Zeek documentation of conn.log; where real stacks depart from RFC 9293 the rule says so).

The kernel's array :data:`TABLE`, the diagram in the docs and the tests are made from :data:`RULES`.

Limits: sequence numbers are not looked at here; a forged RST with a wild sequence number ends a session as a true one does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

STATES = ("INACTIVE", "SYN_SENT", "SYN_ACK_SENT", "PARTIAL", "ESTABLISHED", "CLOSED", "RESET", "CLOSED_RESET")
INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET, CLOSED_RESET = range(8)

EVENTS = ("syn", "syn_ack", "fin", "rst", "ack", "data", "nothing")
ANY = STATES


@dataclass(frozen=True)
class Rule:
    """When ``sender`` ("orig", "resp", "any") in state ``own`` sends ``event`` and the peer is in ``peer``: the new states (None: as before)."""

    sender: str
    own: tuple[str, ...]
    peer: tuple[str, ...]
    event: tuple[str, ...]
    to: str | None
    peer_to: str | None
    why: str


OPENING = ("SYN_SENT", "SYN_ACK_SENT")
OPEN = ("ESTABLISHED", "PARTIAL")

#: First match wins.
RULES: tuple[Rule, ...] = (
    Rule("orig", ("INACTIVE",), ("ESTABLISHED",), ("syn",), "ESTABLISHED", None, "captured after the SYN+ACK that answers it"),
    Rule("orig", ("INACTIVE",), ANY, ("syn",), "SYN_SENT", None, "RFC 9293 3.5: active open"),
    Rule("orig", ("INACTIVE",), ANY, ("syn_ack",), "SYN_ACK_SENT", None, "an originator that answers: roles were guessed from ports"),
    Rule("resp", ("INACTIVE",), ("SYN_ACK_SENT",), ("syn",), "ESTABLISHED", "ESTABLISHED", "captured after the SYN+ACK that answers it"),
    Rule("resp", ("INACTIVE",), ("SYN_SENT",), ("syn", "syn_ack"), "ESTABLISHED", "ESTABLISHED", "RFC 9293 3.5: answered, or simultaneous open"),
    Rule("resp", ("INACTIVE",), ANY, ("syn", "syn_ack"), "ESTABLISHED", None, "the SYN that it answers was not captured"),
    Rule("any", ("INACTIVE",), ANY, ("fin",), "CLOSED", None, "first seen when it closes"),
    Rule("any", ("INACTIVE",), ("INACTIVE",), ("rst",), None, None, "an RST alone tells of no connection (Zeek: OTH)"),
    Rule("any", ("INACTIVE",), ANY, ("rst",), "RESET", None, "refused (answer to a SYN), or first seen when it aborts"),
    Rule("resp", ("INACTIVE",), ("SYN_SENT",), ("ack", "nothing"), None, None, "some stacks acknowledge a SYN before they answer it"),
    Rule("any", ("INACTIVE",), ("ESTABLISHED",), ("ack", "data"), "ESTABLISHED", None, "its SYN was missed, the peer's SYN+ACK was not"),
    Rule("any", ("INACTIVE",), ANY, ("ack", "data", "nothing"), "PARTIAL", None, "joined mid-stream"),
    Rule("any", OPENING, ANY, ("fin",), "CLOSED", None, "closed although no answer was captured"),
    Rule("any", OPENING, ANY, ("rst",), "RESET", None, "gave up"),
    Rule("any", ("PARTIAL",), ("INACTIVE",), ("syn",), "SYN_SENT", None, "what was seen before belonged to an earlier connection"),
    Rule("any", OPEN, ("CLOSED_RESET",), ("fin",), "CLOSED", "CLOSED", "the peer sent FIN, then RST; with this FIN both have closed"),
    Rule("any", OPEN, ANY, ("fin",), "CLOSED", None, "RFC 9293 3.6: half of the connection is closed"),
    Rule("any", OPEN, ANY, ("rst",), "RESET", None, "RFC 9293 3.10.7.4: aborted"),
    Rule("any", ("CLOSED",), ("CLOSED",), ("rst",), None, None, "both had closed: an RST after that changes nothing"),
    Rule("any", ("CLOSED",), ANY, ("rst",), "CLOSED_RESET", None, "FIN, then RST: it will not read what still comes"),
)

SYN_BIT, ACK_BIT, FIN_BIT, RST_BIT, DATA_BIT = 1, 2, 4, 8, 16


def events_of(segment: int) -> list[str]:
    """The events of a segment class (sum of the ``*_BIT``), in the order in which they take effect."""
    events = []
    if segment & SYN_BIT:
        events.append("syn_ack" if segment & ACK_BIT else "syn")
    if segment & FIN_BIT and not segment & RST_BIT:
        events.append("fin")
    if segment & RST_BIT:
        events.append("rst")
    if not events:
        events.append("data" if segment & DATA_BIT and segment & ACK_BIT else "ack" if segment & ACK_BIT else "nothing")
    return events


def _after(event: str) -> tuple[np.ndarray[Any, np.dtype[np.int64]], ...]:
    """int64[2, 8, 8] twice, by [is_orig, own, peer]: the new states of sender and peer after one event."""
    _, own, peer = np.indices((2, 8, 8))
    before = own.copy(), peer.copy()
    for rule in reversed(RULES):  # the first match wins: it is written last
        if event in rule.event:
            senders = {"any": (0, 1), "orig": (1,), "resp": (0,)}[rule.sender]
            where = np.ix_(senders, [STATES.index(s) for s in rule.own], [STATES.index(s) for s in rule.peer])
            own[where] = before[0][where] if rule.to is None else STATES.index(rule.to)
            peer[where] = before[1][where] if rule.peer_to is None else STATES.index(rule.peer_to)
    return own, peer


def _table() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rules for all there is at once: one walk through them for each takes a tenth of the time that a small capture takes to read."""
    after = {event: _after(event) for event in EVENTS}
    table = np.zeros((2, 8, 8, 32), np.int64)
    for segment in range(32):
        sender, own, peer = np.indices((2, 8, 8))
        for event in events_of(segment):
            own, peer = after[event][0][sender, own, peer], after[event][1][sender, own, peer]
        table[..., segment] = own | peer << 4
    return table.ravel()


#: int64[2 * 8 * 8 * 32]: index ((is_orig * 8 + own) * 8 + peer) * 32 + segment class -> own | peer << 4.
TABLE = _table()


def conn_state(orig: int, resp: int, orig_bytes: int, resp_bytes: int) -> str:
    """Zeek's conn_state of a pair of end states."""
    orig = RESET if orig == CLOSED_RESET else orig
    resp = RESET if resp == CLOSED_RESET else resp
    orig_absent = orig in (INACTIVE, PARTIAL)
    resp_absent = resp in (INACTIVE, PARTIAL)
    if resp == RESET:
        if orig in (SYN_SENT, SYN_ACK_SENT) or (orig == RESET and orig_bytes == 0 and resp_bytes == 0):
            return "REJ"
        return "RSTRH" if orig_absent else "RSTR"
    if orig == RESET:
        return "RSTOS0" if resp_absent else "RSTO"
    if orig == CLOSED and resp == CLOSED:
        return "SF"
    if orig == CLOSED:
        return "SH" if resp_absent else "S2"
    if resp == CLOSED:
        return "SHR" if orig_absent else "S3"
    if orig == SYN_SENT and resp == INACTIVE:
        return "S0"
    return "S1" if orig == ESTABLISHED and resp == ESTABLISHED else "OTH"


#: object[8, 8, 2]: [orig, resp, any payload] -> conn_state.
CONN_STATES = np.array([[[conn_state(o, r, p, p) for p in (0, 1)] for r in range(8)] for o in range(8)], dtype=object)
