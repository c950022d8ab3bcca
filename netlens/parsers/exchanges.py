"""Exchanges: requests and their responses on a session, from turn-taking of payload.

Theory of operation
-------------------
1. On a connection that is used for one request at a time, client payload after server payload opens a request; server payload is its
   response, until the client speaks again. That needs no decryption.
2. On TLS only application data takes part. TLS 1.3 sends more than that under the name of application data (RFC 8446 5.1, 4.6), measured:
   the client's Finished (a first record of 53 or 69 bytes), alerts (19 bytes), the server's session tickets (two or more records of one size
   before anything else, in one segment or in several, up to 41 ms after the handshake). These are neither request nor response. TLS 1.2 calls
   them by their names: there every record of application data counts.
3. HTTP in the clear shows its status; 1xx answers (RFC 9110 15.2) do not open the response, unless the segment holds more than one of them can
   be: then the answer proper follows in it, and its status is not seen.
4. Redirect halves (see sessions) are read as one: requests stand in one session, responses in the other.
5. Segments take part when their payload is seen for the first time; retransmissions and keep-alive probes do not.

Everything is decided from packet rows (``wire.hints``), so parts of a capture can be replayed.

Limits: with HTTP/2 many requests share a connection, and turns are not requests; ``hellos.alpn`` tells where that is offered. Pipelined
HTTP/1.1 requests count as one. A client certificate is counted to the first request. A server that sends a single ticket, and that after the
request has begun (Go), seems to begin its response with it. What was answered is not seen, only how much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.parsers import sessions as s_
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import kernel

IDLE, REQUEST, RESPONSE = 0, 1, 2
(PHASE, CARRIER, START, REQUEST_END, RESPONSE_AT, RESPONSE_END, UP, DOWN, START_FRAME, RESPONSE_FRAME, END_FRAME, STATUS, SEEN, TICKET) = (
    range(14)
)
X_WIDTH = 14
SAW_CLIENT_DATA, SAW_SERVER_DATA, TLS_1_2 = 1, 2, 4

# one finished exchange: the columns above from CARRIER to STATUS, then whether it is complete
ROW = 13
COMPLETE = 12

FINISHED_SHA256, FINISHED_SHA384 = 53, 69  #: handshake header 4 + hash 32 or 48 + content type 1 + tag 16 (RFC 8446 4.4.4, 5.2)
ALERT_RECORD = 19  #: level and description 2 + content type 1 + tag 16
MIN_TICKET = 64  #: the shortest NewSessionTicket seen is above this; two equal chunks of a stream as the very first data are smaller
MAX_TICKET = 4096  #: with a client certificate inside; a response cut into full records (16,401 bytes) is longer
CONTINUE = 25  #: "HTTP/1.1 100 Continue" and an empty line
SSH_PORT = 22  #: turns of an SSH connection that is older than the capture are no requests either


@kernel
def _emit(x, out, n, complete):
    row = out[n]
    for i in range(CARRIER, STATUS + 1):
        row[i - 1] = x[i]
    row[COMPLETE] = complete
    return n + 1


@kernel
def turns(packets, n, start, sessions, state, out, n_out):
    """Follow the turns of rows ``start..n``.

    sessions : int64[:, S_WIDTH] (read); state : int64[:, X_WIDTH], one row a session; out : int64[:, ROW].
    Returns (next row, rows of out); the next row is below ``n`` if ``out`` must be emptied first.
    """
    for i in range(start, n):
        row = packets[i]
        fresh = row[c.FRESH]
        if fresh <= 0 or row[c.KIND] != c.TCP:
            continue
        if n_out >= out.shape[0]:
            return i, n_out
        k = row[c.SESSION]
        s = sessions[k]
        hint = row[c.HINT]
        protocol = (hint >> h.PROTOCOL_SHIFT) & 15
        orig = (s[s_.FSM] >> 8) & 1
        if protocol == h.SSH or (s[s_.K4] >> (16 * orig)) & 0xFFFF == SSH_PORT:
            continue
        mate = s[s_.MATE]
        x = state[mate] if 0 <= mate < k else state[k]
        up = orig == row[c.DIRECTION]
        count = fresh
        status = np.int64(0)
        if protocol == h.TLS:
            if hint & h.CLASS_MASK == h.TLS:
                if hint & h.CHANGE_CIPHER and hint & h.HANDSHAKE and not hint & (h.CLIENT_HELLO if up else h.SERVER_HELLO | h.APPLICATION):
                    # A Finished that is called handshake. (TLS 1.3 has ChangeCipherSpec only beside a hello, for old middleboxes. One Finished in
                    # 256 begins with the byte of a hello; then the other side's tells.)
                    x[SEEN] |= TLS_1_2
                if not hint & h.APPLICATION:
                    if hint & h.HANDSHAKE and not x[SEEN] & SAW_CLIENT_DATA and x[PHASE] != IDLE:
                        x[PHASE] = IDLE  # joined mid-way: what looked like a request was the rest of a handshake message
                    continue
                records = (hint >> h.COUNT_SHIFT) & 0xFF
                first = (hint >> h.FIRST_SHIFT) & 0xFFFF
                if up:
                    if not x[SEEN] & SAW_CLIENT_DATA:
                        x[SEEN] |= SAW_CLIENT_DATA
                        if (first == FINISHED_SHA256 or first == FINISHED_SHA384) and not x[SEEN] & TLS_1_2:
                            if records == 1:
                                continue
                            count -= first + 5
                            if hint & h.CHANGE_CIPHER:
                                count -= 6
                            if count <= 0:
                                continue
                elif x[SEEN] & SAW_CLIENT_DATA and (x[TICKET] != 0 or not x[SEEN] & SAW_SERVER_DATA) and not x[SEEN] & TLS_1_2:
                    alike = first == (hint >> h.LAST_SHIFT) & 0xFFFF and MIN_TICKET <= first <= MAX_TICKET and hint & h.WHOLE != 0
                    if not x[SEEN] & SAW_SERVER_DATA:
                        x[SEEN] |= SAW_SERVER_DATA
                        if alike:
                            x[TICKET] = first
                            if records >= 2:
                                continue
                            # one record may be a short response
                    elif alike and first == x[TICKET]:
                        if x[PHASE] == RESPONSE:  # the second of a size: the first was no response
                            x[PHASE] = REQUEST
                            x[DOWN] = 0
                            x[RESPONSE_AT] = s_.UNSET
                            x[RESPONSE_END] = s_.UNSET
                            x[RESPONSE_FRAME] = 0
                            x[END_FRAME] = 0
                        continue
                    else:
                        x[TICKET] = 0
                if records == 1 and first == ALERT_RECORD:
                    continue
            elif not x[SEEN] & SAW_CLIENT_DATA:
                continue  # the rest of a handshake message
        elif hint & h.CLASS_MASK == h.HTTP_RESPONSE and not up:
            status = (hint >> h.STATUS_SHIFT) & 0x3FF
            if 100 <= status < 200 and status != 101:
                if status != 100 or row[c.LENGTH] <= CONTINUE:
                    continue
                status = np.int64(0)
        if up:
            # The rest of a record that began in an earlier segment belongs to the request, whatever came in between (a ticket, an early refusal).
            goes_on = protocol == h.TLS and hint & h.CLASS_MASK != h.TLS
            if x[PHASE] == RESPONSE and not goes_on:
                n_out = _emit(x, out, n_out, 1)
                x[PHASE] = IDLE
                x[TICKET] = 0
            if x[PHASE] == IDLE:
                x[PHASE] = REQUEST
                x[CARRIER] = k
                x[START] = row[c.TS]
                x[START_FRAME] = row[c.FRAME]
                x[UP] = 0
                x[DOWN] = 0
                x[STATUS] = 0
                x[RESPONSE_AT] = s_.UNSET
                x[RESPONSE_END] = s_.UNSET
                x[RESPONSE_FRAME] = 0
                x[END_FRAME] = 0
            x[REQUEST_END] = row[c.TS]
            x[UP] += count
        elif x[PHASE] != IDLE:
            if x[PHASE] == REQUEST:
                x[PHASE] = RESPONSE
                x[RESPONSE_AT] = row[c.TS]
                x[RESPONSE_FRAME] = row[c.FRAME]
            if x[STATUS] == 0:
                x[STATUS] = status
            x[RESPONSE_END] = row[c.TS]
            x[END_FRAME] = row[c.FRAME]
            x[DOWN] += count
    return n, n_out


class ExchangeBuilder:
    """Collects exchanges while a capture is read; ``feed`` comes after the session fold of the same batch."""

    def __init__(self) -> None:
        self.state = np.zeros((1024, X_WIDTH), np.int64)
        self.out = np.zeros((4096, ROW), np.int64)
        self.n_out = 0
        self.done: list[np.ndarray[Any, Any]] = []

    def feed(self, packets: np.ndarray[Any, Any], n: int, sessions: np.ndarray[Any, Any], n_sessions: int) -> None:
        while n_sessions > len(self.state):
            self.state = np.concatenate([self.state, np.zeros_like(self.state)])
        at = 0
        while True:
            at, self.n_out = turns(packets, n, at, sessions, self.state, self.out, self.n_out)
            if at >= n:
                return
            self._drain()

    def _drain(self) -> None:
        self.done.append(self.out[: self.n_out].copy())
        self.n_out = 0

    def finish(self, sessions: np.ndarray[Any, Any]) -> Table:
        """All exchanges, open ones included, in order of start. ``sessions``: int64[n, S_WIDTH], the final session state."""
        self._drain()
        n = len(sessions)
        open_state = self.state[:n]
        carriers = np.flatnonzero(open_state[:, PHASE] != IDLE)
        last = np.zeros((len(carriers), ROW), np.int64)
        if len(carriers):
            x = open_state[carriers]
            last[:, : STATUS - CARRIER + 1] = x[:, CARRIER : STATUS + 1]
            last[:, COMPLETE] = _closed_orderly(sessions, carriers, x)
        rows = np.concatenate([*self.done, last])
        rows = rows[np.lexsort((rows[:, START_FRAME - 1], rows[:, START - 1]))]
        return exchange_rows(rows)


def _closed_orderly(sessions: np.ndarray[Any, Any], groups: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Did the response end with a FIN of the server, or did the client's FIN come behind all of it? (of the session or its redirect mate)"""
    mates = sessions[groups, s_.MATE]
    ok = np.zeros(len(groups), bool)
    aborted = np.zeros(len(groups), bool)
    for rows in (groups, np.where(mates >= 0, mates, groups)):
        s = sessions[rows]
        orig = (s[:, s_.FSM] >> 8) & 1
        at = np.arange(len(s))
        fin = s[at, s_.SIDE + (1 - orig) * s_.SIDE_WIDTH + s_.FIN_TS]
        client_fin = s[at, s_.SIDE + orig * s_.SIDE_WIDTH + s_.FIN_TS]
        end = x[:, RESPONSE_END]
        ok |= (fin != s_.UNSET) | ((client_fin != s_.UNSET) & (client_fin >= end) & (s[:, s_.LAST_TS] > client_fin))
        aborted |= (s[:, s_.RST_TS] != s_.UNSET) & (fin == s_.UNSET)
    return ok & ~aborted & (x[:, PHASE] == RESPONSE)


def exchange_rows(rows: np.ndarray[Any, Any]) -> Table:
    """Table of finished rows int64[n, ROW]."""

    def col(i: int) -> np.ndarray[Any, Any]:
        return rows[:, i - 1].copy()

    def nullable(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        out = values.astype(object)
        out[missing] = None
        return out

    unanswered = col(RESPONSE_AT) == s_.UNSET
    unknown = col(STATUS) == 0
    return Table(
        EXCHANGES,
        {
            "exchange_id": np.arange(len(rows), dtype=np.int64),
            "session_id": col(CARRIER),
            "start_ns": col(START),
            "request_end_ns": col(REQUEST_END),
            "response_ns": nullable(col(RESPONSE_AT), unanswered),
            "end_ns": nullable(col(RESPONSE_END), unanswered),
            "up_bytes": col(UP),
            "down_bytes": col(DOWN),
            "status": nullable(col(STATUS), unknown),
            "rejected": nullable(col(STATUS) == 429, unknown),
            "complete": rows[:, COMPLETE] == 1,
            "start_frame": col(START_FRAME),
            "response_frame": nullable(col(RESPONSE_FRAME), unanswered),
            "end_frame": nullable(col(END_FRAME), unanswered),
        },
    )
