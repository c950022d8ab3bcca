"""Exchanges: requests and their responses on a session, from turn-taking of payload.

Theory of operation
-------------------
1. On a connection that is used for one request at a time, client payload after server payload opens a request; server payload is its
   response, until the client speaks again. That needs no decryption.
2. On TLS only application data takes part. TLS 1.3 sends more than that under the name of application data (RFC 8446 5.1, 4.6), measured:
   the client's Finished (a first record of 53 or 69 bytes), alerts (19 bytes), the server's session tickets (two or more records of one size
   before anything else, in one segment or in several, up to 41 ms after the handshake). These are neither request nor response. Java pads each
   record with 16 bytes (RFC 8446 5.4): its Finished has 69 or 85 and its alerts 35, which is too short for a request. TLS 1.2 calls them by
   their names: there every record of application data counts.
3. HTTP in the clear shows its status; 1xx answers (RFC 9110 15.2) do not open the response, unless the segment holds more than one of them can
   be: then the answer proper follows in it, and its status is not seen. A request begins with its request line: other payload is the rest of one.
4. Redirect halves (see sessions) are read as one: requests stand in one session, responses in the other.
5. Segments take part when their payload is seen for the first time; retransmissions and keep-alive probes do not.
6. Acknowledgments tell what a sender knew. What a server sent before it had received the request (on TLS: all of its first record) does not answer
   it: a ticket, a greeting. What a client sent before it had received the answer belongs to the request before. So both ends of the wire show
   the same exchanges.
7. Server payload may come while the request is under way (a large upload): the client's next segment is the rest of a TLS record, or was sent
   before that payload arrived, or stands behind a full record. Then the request goes on. What came early is its answer (413, 429), but where it
   looks like a ticket or 100 Continue: then it is the answer only if no other follows. A client that sends its head and its body in two records may have
   a ticket between them, where the way is short: the body follows it sooner than any program could read an answer and ask again.
8. What is negotiated before the protocol itself is no exchange: a CONNECT that is granted or asks for a password, SOCKS 4, 4a, 5 (RFC 1928, 1929),
   a PROXY header. After it, everything begins anew. A CONNECT that is refused is one: it is what became of the program's request. ``101 Switching
   Protocols`` ends its exchange and the counting (WebSocket messages are no requests), until a TLS hello begins it again (RFC 2817).

9. HTTP/1.1 in the clear may be pipelined (RFC 9112 9.3.2): a request line before the answer to the request before it. Answers go to requests in
   order. An answer that begins inside a segment which begins with other data is not seen; when the client asks anew, all it asked before is answered.

10. An answer is complete if the client sends again or the connection closes in order, unless HTTP/1.1 in the clear says how long it is, and less came.

Everything but the last is decided from packet rows (``wire.hints``), so parts of a capture can be replayed.

Limits: with HTTP/2 many requests share a connection, and turns are not requests; ``hellos.alpn`` tells where that is offered. Requests pipelined
in TLS count as one, and so do messages of unknown protocols that are not waited for. A client certificate is counted to the first request. A
server that sends a single ticket, and that after the request has arrived, seems to begin its response with it. Where a server pads, its alert
seems to end its last response. What was answered is not seen, only how much: inside TLS a WebSocket's messages, and a CONNECT to a proxy that
is spoken to over TLS, are turns like others.
"""

from typing import NamedTuple

import numpy as np

from netlens.columnar import Nullable
from netlens.columns import Array, Bools
from netlens.parsers.answer_ends import AnswerEnds
from netlens.parsers.lifecycle import LEAST_ROWS, Kept, grown
from netlens.parsers.session_state import FIN_TS, FSM, LAST_TS, MATE, NEXT, ORIGINATOR_SHIFT, PORTS, RST_TS, SIDE, SIDE_WIDTH, UNSET
from netlens.schema import Table
from netlens.tables import EXCHANGES
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import lean

# ---- columns of a finished exchange, int64[:, ROW]; the same, COMPLETE left out, begin the state of a session ----
(
    CARRIER,  # the session
    START,
    REQUEST_END,
    RESPONSE_AT,
    RESPONSE_END,
    UP,
    DOWN,
    START_FRAME,
    RESPONSE_FRAME,
    END_FRAME,
    STATUS,  # 0: not seen
    COMPLETE,  # 1: the answer was seen to end
) = range(12)
ROW = 12
# ---- columns that only the state has, int64[:, X_WIDTH] ----
(
    PHASE,
    SEEN,
    TICKET,  # size of what may be session tickets
    MODE,  # what is negotiated
    RECEIVED,  # the least acknowledgment (32 bits) with which a server may answer: of the first byte, on TLS of the first record
    ANSWER_SEEN,  # the acknowledgment (32 bits) of a client that has the first segment of the answer
    RECORD_LEFT,  # bytes of the client's TLS record that are still to come; -1 unknown
    QUEUED,  # requests sent behind this one before it was answered
    QUEUE_FIRST,  # their rows in the queue
    QUEUE_LAST,
) = range(ROW, ROW + 10)
X_WIDTH = ROW + 10
IDLE, REQUEST, RESPONSE = 0, 1, 2  # PHASE
SAW_CLIENT_DATA, SAW_SERVER_DATA, TLS_1_2 = 1, 2, 4
FULL_RECORD, EARLY, TENTATIVE, CONTINUED, INNER_TLS, HAS_LINE, PADS, MAY_PAD = 8, 16, 32, 64, 128, 256, 512, 1024
PLAIN, CONNECT_ASKED, SOCKS_ASKED, SOCKS_AGREED, UPGRADED = range(5)

# A queued request, int64[:, Q_WIDTH]
Q_NEXT, Q_START, Q_REQUEST_END, Q_UP, Q_START_FRAME = range(5)
Q_WIDTH = 5
# ---- what is counted over all sessions, int64[N_COUNTS] ----
FINISHED = 0  # rows of finished exchanges
QUEUE_USED = 1  # rows of the queue that were ever in use
FREE_ROW = 2  # the first of those that are free again, which are a list by Q_NEXT; -1: none
N_COUNTS = 3
MAX_QUEUED = 16  #: browsers pipelined 8 at most; with more, and where the answers are not captured, the oldest is given up as unanswered
MOST_ROWS = MAX_QUEUED + h.MAX_MORE + 2  #: that one segment can finish or queue

FINISHED_SHA256, FINISHED_SHA384 = 53, 69  #: handshake header 4 + hash 32 or 48 + content type 1 + tag 16 (RFC 8446 4.4.4, 5.2)
PADDING = 16  #: of each record of TLS 1.3, by Java's clients
ALERT_RECORD = 19  #: level and description 2 + content type 1 + tag 16
#: from what may be a ticket to the rest of a request; SDKs in Python took 40 µs, and more to read an answer and ask again
AT_ONCE_NS = 200_000
MIN_TICKET = 64  #: the shortest NewSessionTicket seen is above this; two equal chunks of a stream as the very first data are smaller
MAX_TICKET = 4096  #: with a client certificate inside; a response cut into full records (16,401 bytes) is longer
CONTINUE = 25  #: "HTTP/1.1 100 Continue" and an empty line
CONTINUE_RECORD = CONTINUE + 17  #: content type 1 + tag 16
FULL = 16384  #: a record this long or longer is full, and what is written goes on in the next (RFC 8446 5.1)
IN_FLIGHT = 1 << 24  #: acknowledgments further off than this are no late ones, but wrong
SOCKS_BYTES = 1024  #: of a server, within which SOCKS has been negotiated: RFC 1928 and 1929 need 280
SSH_PORT = 22  #: turns of an SSH connection that is older than the capture are no requests either


class Arrays(NamedTuple):
    """All that the kernel writes to.

    state : int64[:, X_WIDTH], one row a session.  queue : int64[:, Q_WIDTH].  finished : int64[:, ROW].  counts : int64[N_COUNTS].
    """

    state: Array
    queue: Array
    finished: Array
    counts: Array


@lean
def _emit(x, arrays, complete):
    """The exchange that is followed is finished."""
    row = arrays.finished[arrays.counts[FINISHED]]
    for i in range(COMPLETE):
        row[i] = x[i]
    row[COMPLETE] = complete
    arrays.counts[FINISHED] += 1


@lean
def _behind(number, mark):
    """Is a 32-bit sequence number before ``mark``, and not so far that it must be wrong?"""
    distance = np.int64(np.int32((number - mark) & 0xFFFFFFFF))
    return -IN_FLIGHT < distance < 0


@lean
def _negotiates(x, row, hint, up, status):
    """Follow what comes before another protocol: CONNECT, SOCKS, PROXY, Upgrade. True: this segment is no turn.

    A client's CONNECT or SOCKS greeting begins an exchange like any payload; the answer that grants it takes it back.
    """
    kind = hint & h.CLASS_MASK
    mode = x[MODE]
    if kind == h.PROXY:
        return up and row[c.OFFSET] == 0
    if mode == PLAIN:
        if up and kind == h.SOCKS and row[c.OFFSET] == 0 and x[PHASE] == IDLE:
            x[MODE] = SOCKS_ASKED
        elif up and kind == h.CONNECT:
            x[MODE] = CONNECT_ASKED
        return False
    if mode == CONNECT_ASKED:
        if up or (100 <= status < 200):
            return False
        x[MODE] = PLAIN
        if kind != h.HTTP_RESPONSE or x[PHASE] != REQUEST or not (200 <= status < 300 or status == 407):
            return False  # refused: then this is what became of the request that the program wanted to make
        x[PHASE] = IDLE
        x[SEEN] = 0
        x[TICKET] = 0
        return True
    if mode == UPGRADED:
        # RFC 2817 goes on with TLS; WebSocket messages and the streams of HTTP/2 are no turns
        if not (up and kind == h.TLS and hint & h.CLIENT_HELLO):
            return True
        x[MODE] = PLAIN
        x[SEEN] |= INNER_TLS
        return False
    if mode == SOCKS_ASKED:
        if up:
            return False
        x[MODE] = PLAIN
        if kind != h.SOCKS_REPLY:
            return False  # it was something else
        x[PHASE] = IDLE
        if not hint & h.LAST_REPLY:
            x[MODE] = SOCKS_AGREED
        return True
    inner = kind != h.NOTHING and kind <= h.CONNECT
    over = inner or row[c.OFFSET] > SOCKS_BYTES
    if over or (not up and kind == h.SOCKS_REPLY and hint & h.LAST_REPLY):
        x[MODE] = PLAIN
    return not over


@lean
def _first_record_end(row, hint):
    """Sequence number up to which a server must have received to know the request that begins in ``row``: of its first record, if that can be told."""
    least = row[c.SEQ] + 1
    if hint & h.CLASS_MASK == h.TLS and hint & h.APPLICATION:
        records = (hint >> h.COUNT_SHIFT) & 0xFF
        first = (hint >> h.FIRST_SHIFT) & 0xFFFF
        if records == 1 and not hint & (h.HANDSHAKE | h.CHANGE_CIPHER | h.ALERT):
            least = row[c.SEQ] + 5 + first
    return least & 0xFFFFFFFF


@lean
def _follow_record(x, hint, length):
    """Note how much of the client's last TLS record is still to come, and whether it is a full one."""
    if hint & h.CLASS_MASK == h.TLS:
        last = (hint >> h.LAST_SHIFT) & 0xFFFF
        x[SEEN] = x[SEEN] | FULL_RECORD if last >= FULL else x[SEEN] & ~np.int64(FULL_RECORD)
        if hint & h.WHOLE:
            x[RECORD_LEFT] = 0
        elif (hint >> h.COUNT_SHIFT) & 0xFF == 1 and not hint & (h.HANDSHAKE | h.CHANGE_CIPHER | h.ALERT):
            x[RECORD_LEFT] = 5 + last - length
        else:
            x[RECORD_LEFT] = -1
    elif x[RECORD_LEFT] >= 0:
        x[RECORD_LEFT] -= length
        if x[RECORD_LEFT] < 0:
            x[RECORD_LEFT] = -1


@lean
def _goes_on(x, row, hint, protocol):
    """Does the client's segment, which came after server payload, belong to the request that the payload seemed to answer?

    Then the request was still under way, and the payload came early: a session ticket, 100 Continue, or a real answer (413, 429) to a request
    of which enough was known.
    """
    kind = hint & h.CLASS_MASK
    if kind == h.HTTP_REQUEST and (protocol == h.HTTP_REQUEST or protocol == h.HTTP_RESPONSE):
        return False
    ticket = x[TICKET] != 0 and x[DOWN] == x[TICKET] + 5
    full = x[SEEN] & FULL_RECORD and x[RECORD_LEFT] == 0
    # no request line; or the rest of a record
    on = protocol == h.HTTP_REQUEST or protocol == h.HTTP_RESPONSE or (protocol == h.TLS and kind != h.TLS)
    # Sent before the answer had arrived: at the client's end of the wire it stands before it. RFC 9112 9.3.2 would call it pipelined.
    on |= row[c.FLAGS] & c.ACK_FLAG != 0 and _behind(row[c.ACK], x[ANSWER_SEEN])
    if protocol == h.TLS and not on:
        on = full and (ticket or x[SEEN] & EARLY != 0)  # a full record ended in front of it
        on |= ticket and row[c.TS] - x[RESPONSE_AT] < AT_ONCE_NS  # head and body in two records, and a ticket between them
        behind = x[TICKET] + 5 if x[TICKET] != 0 else np.int64(0)  # a single ticket, and 100 Continue behind it
        if not on and x[DOWN] in (CONTINUE_RECORD + 5, behind + CONTINUE_RECORD + 5) and not x[SEEN] & (CONTINUED | TLS_1_2):
            x[SEEN] |= CONTINUED
            ticket = on = True
    if on:
        x[SEEN] |= EARLY
        if ticket:
            # What comes next is the answer; should nothing come, it was this.
            x[SEEN] |= TENTATIVE
            x[PHASE] = REQUEST
    return on


@lean
def _unanswered(x):
    """Forget what was taken for the answer."""
    x[SEEN] &= ~np.int64(TENTATIVE)
    x[DOWN] = 0
    x[RESPONSE_AT] = UNSET
    x[RESPONSE_END] = UNSET
    x[RESPONSE_FRAME] = 0
    x[END_FRAME] = 0


@lean
def _next_in_queue(x, arrays):
    """Make the oldest queued request the one that is followed."""
    at = x[QUEUE_FIRST]
    q = arrays.queue[at]
    x[QUEUE_FIRST] = q[Q_NEXT]
    x[QUEUED] -= 1
    x[PHASE] = REQUEST
    x[START], x[REQUEST_END], x[UP], x[START_FRAME] = q[Q_START], q[Q_REQUEST_END], q[Q_UP], q[Q_START_FRAME]
    x[STATUS] = 0
    x[SEEN] = (x[SEEN] & ~np.int64(EARLY | CONTINUED)) | HAS_LINE
    _unanswered(x)
    q[Q_NEXT] = arrays.counts[FREE_ROW]
    arrays.counts[FREE_ROW] = at


@lean
def _enqueue(x, arrays, row, count):
    """A request behind one that is not answered yet."""
    if x[QUEUED] >= MAX_QUEUED:
        _emit(x, arrays, 0)
        _next_in_queue(x, arrays)
    queue, counts = arrays.queue, arrays.counts
    at = counts[FREE_ROW]
    if at >= 0:
        counts[FREE_ROW] = queue[at, Q_NEXT]
    else:
        at = counts[QUEUE_USED]
        counts[QUEUE_USED] += 1
    q = queue[at]
    q[Q_NEXT], q[Q_START], q[Q_REQUEST_END], q[Q_UP], q[Q_START_FRAME] = -1, row[c.TS], row[c.TS], count, row[c.FRAME]
    if x[QUEUED]:
        queue[x[QUEUE_LAST], Q_NEXT] = at
    else:
        x[QUEUE_FIRST] = at
    x[QUEUE_LAST] = at
    x[QUEUED] += 1


@lean
def _answered(x, ts, frame, count, status):
    """Begin the answer of the request that is followed."""
    x[PHASE] = RESPONSE
    x[RESPONSE_AT], x[RESPONSE_END] = ts, ts
    x[RESPONSE_FRAME], x[END_FRAME] = frame, frame
    x[DOWN] = count
    x[STATUS] = status


@lean
def _finish_queue(x, arrays):
    """The client asks anew, so all it asked before is answered: what was queued, in segments that began with other answers."""
    ts, frame = x[RESPONSE_END], x[END_FRAME]
    while x[QUEUED]:
        _next_in_queue(x, arrays)
        _answered(x, ts, frame, 0, 0)
        _emit(x, arrays, 1)


@lean
def _tls_data(x, row, hint, up):
    """Bytes of a segment of TLS that are neither handshake nor ticket nor alert; 0: it takes no part."""
    count = row[c.FRESH]
    if hint & h.CLASS_MASK != h.TLS:  # the rest of a record; before there was any data, of a handshake message
        return count if x[SEEN] & SAW_CLIENT_DATA else np.int64(0)
    if hint & h.CHANGE_CIPHER and hint & h.HANDSHAKE and not hint & (h.CLIENT_HELLO if up else h.SERVER_HELLO | h.APPLICATION):
        # A Finished that is called handshake. (TLS 1.3 has ChangeCipherSpec only beside a hello, for old middleboxes. One Finished in
        # 256 begins with the byte of a hello; then the other side's tells.)
        x[SEEN] |= TLS_1_2
    if not hint & h.APPLICATION:
        if hint & h.HANDSHAKE and not x[SEEN] & SAW_CLIENT_DATA and not x[QUEUED]:
            x[PHASE] = IDLE  # joined mid-way: what looked like a request was the rest of a handshake message
        return np.int64(0)
    records = (hint >> h.COUNT_SHIFT) & 0xFF
    first = (hint >> h.FIRST_SHIFT) & 0xFFFF
    if up and not x[SEEN] & SAW_CLIENT_DATA:
        x[SEEN] |= SAW_CLIENT_DATA
        pads = first == FINISHED_SHA384 + PADDING
        if (first == FINISHED_SHA256 or first == FINISHED_SHA384 or pads) and not x[SEEN] & TLS_1_2:
            if pads:
                x[SEEN] |= PADS
            elif first == FINISHED_SHA256 + PADDING:  # or SHA-384 without padding
                x[SEEN] |= MAY_PAD
            if records == 1:
                return np.int64(0)
            count -= first + 5
            if hint & h.CHANGE_CIPHER:
                count -= 6
    elif not up and x[SEEN] & SAW_CLIENT_DATA and (x[TICKET] != 0 or not x[SEEN] & SAW_SERVER_DATA) and not x[SEEN] & TLS_1_2:
        count = _without_tickets(x, count, hint, records, first)
    if count <= 0 or (records == 1 and first == ALERT_RECORD):
        return np.int64(0)
    if up and records == 1 and first == ALERT_RECORD + PADDING and (x[SEEN] & PADS or (x[SEEN] & MAY_PAD and x[PHASE] != REQUEST)):
        return np.int64(0)
    return count


@lean
def _without_tickets(x, count, hint, records, first):
    """Bytes of a server's first application data that are no session tickets."""
    tickets = (hint >> h.ALIKE_SHIFT) & h.MAX_ALIKE  # if they are: records of one size, with an answer behind them or not
    alone = records == tickets and hint & h.WHOLE != 0
    fits = MIN_TICKET <= first <= MAX_TICKET and (alone or records > tickets)
    if not x[SEEN] & SAW_SERVER_DATA:
        x[SEEN] |= SAW_SERVER_DATA
        if fits and alone:
            x[TICKET] = first
            return np.int64(0) if tickets >= 2 else count  # one record may be a short response
        if fits and tickets >= 2:
            count -= tickets * (first + 5)
        elif fits and records == 2 and (hint >> h.LAST_SHIFT) & 0xFFFF == CONTINUE_RECORD:
            x[TICKET] = first
        return count
    if not fits or first != x[TICKET]:
        if records != 1 or first != CONTINUE_RECORD or x[DOWN] != x[TICKET] + 5:
            x[TICKET] = 0
        return count
    if x[PHASE] == RESPONSE or x[SEEN] & TENTATIVE:  # the second of a size: the first was no response
        x[PHASE] = REQUEST
        _unanswered(x)
    if alone:
        return np.int64(0)
    x[TICKET] = 0
    return count - tickets * (first + 5)


@lean
def _request(x, row, hint, protocol, count, carrier, arrays):
    """Payload of the client: it begins a request, goes on with one, or stands in the queue."""
    kind = hint & h.CLASS_MASK
    if x[PHASE] == RESPONSE and not _goes_on(x, row, hint, protocol):
        _emit(x, arrays, 1)
        if x[QUEUED]:
            _finish_queue(x, arrays)
        x[PHASE] = IDLE
        x[TICKET] = 0
    if kind == h.HTTP_REQUEST and x[PHASE] == REQUEST and x[UP] == 1 and not x[SEEN] & HAS_LINE and x[MODE] == PLAIN:
        x[PHASE] = IDLE  # the capture begins with a keep-alive probe (RFC 9293 3.8.4), whose byte nobody can know to be an old one
    more = share = np.int64(0)
    if kind == h.HTTP_REQUEST:
        count = max(count - ((hint >> h.PREFIX_SHIFT) & 0xFFFF), 1)
        if protocol == h.HTTP_REQUEST or protocol == h.HTTP_RESPONSE:
            more = (hint >> h.MORE_SHIFT) & h.MAX_MORE
            share = max(count // (more + 1), 1)  # where in the segment they begin is not known
            count = max(count - more * share, 1)
            if x[PHASE] == REQUEST and (x[SEEN] & HAS_LINE or x[MODE] != PLAIN):
                _enqueue(x, arrays, row, count)
                for _ in range(more):
                    _enqueue(x, arrays, row, share)
                return
    elif x[QUEUED]:
        last = arrays.queue[x[QUEUE_LAST]]
        last[Q_REQUEST_END] = row[c.TS]
        last[Q_UP] += count
        return
    if x[PHASE] == IDLE:
        x[PHASE] = REQUEST
        x[SEEN] &= ~np.int64(EARLY | CONTINUED | HAS_LINE)
        if kind == h.HTTP_REQUEST:
            x[SEEN] |= HAS_LINE
        x[CARRIER] = carrier
        x[START] = row[c.TS]
        x[START_FRAME] = row[c.FRAME]
        x[UP] = 0
        x[STATUS] = 0
        x[RECEIVED] = _first_record_end(row, hint)
        x[RECORD_LEFT] = -1
        _unanswered(x)
    if protocol == h.TLS:
        _follow_record(x, hint, row[c.LENGTH])
    x[REQUEST_END] = row[c.TS]
    x[UP] += count
    for _ in range(more):
        _enqueue(x, arrays, row, share)


@lean
def _response(x, row, hint, status, count, arrays):
    """Payload of the server while a request waits for its answer or has begun to get it."""
    next_ack = (row[c.SEQ] + row[c.LENGTH]) & 0xFFFFFFFF
    if x[QUEUED] and hint & h.CLASS_MASK == h.HTTP_RESPONSE:
        more = min((hint >> h.MORE_SHIFT) & h.MAX_MORE, x[QUEUED] - (x[PHASE] == RESPONSE))
        share = count // (more + 1)
        if x[PHASE] == RESPONSE:
            _emit(x, arrays, 1)
            _next_in_queue(x, arrays)
        _answered(x, row[c.TS], row[c.FRAME], count - more * share, status)
        for _ in range(more):
            _emit(x, arrays, 1)
            _next_in_queue(x, arrays)
            _answered(x, row[c.TS], row[c.FRAME], share, 0)
        x[ANSWER_SEEN] = next_ack
        return
    if x[PHASE] == REQUEST:
        if row[c.FLAGS] & c.ACK_FLAG and _behind(row[c.ACK], x[RECEIVED]):
            return  # the server did not have enough of the request to answer it
        x[PHASE] = RESPONSE
        if x[SEEN] & TENTATIVE:
            _unanswered(x)
        x[ANSWER_SEEN] = next_ack
        x[RESPONSE_AT] = row[c.TS]
        x[RESPONSE_FRAME] = row[c.FRAME]
    if x[STATUS] == 0:
        x[STATUS] = status
    x[RESPONSE_END] = row[c.TS]
    x[END_FRAME] = row[c.FRAME]
    x[DOWN] += count
    if status == 101:
        _emit(x, arrays, 1)
        x[PHASE] = IDLE
        x[SEEN] = 0
        x[MODE] = UPGRADED


@lean
def turns(packets, start, sessions, arrays):
    """Follow the turns of rows from ``start`` on; ``sessions``: int64[:, S_WIDTH] (read).

    Returns the next row, which is below their number if there must be room first: for finished exchanges, or in the queue.
    """
    state, counts = arrays.state, arrays.counts
    most_finished, most_queued = arrays.finished.shape[0] - MOST_ROWS, arrays.queue.shape[0] - MOST_ROWS
    for i in range(start, packets.shape[0]):
        row = packets[i]
        if row[c.FRESH] <= 0 or row[c.KIND] != c.TCP:
            continue
        if counts[FINISHED] > most_finished or counts[QUEUE_USED] > most_queued:
            return i
        k = row[c.SESSION]
        s = sessions[k]
        hint = row[c.HINT]
        protocol = (hint >> h.PROTOCOL_SHIFT) & 15
        kind = hint & h.CLASS_MASK
        orig = (s[FSM] >> ORIGINATOR_SHIFT) & 1
        if protocol == h.SSH or (s[PORTS] >> (16 * orig)) & 0xFFFF == SSH_PORT:
            continue
        mate = s[MATE]
        x = state[mate] if 0 <= mate < k else state[k]
        up = orig == row[c.DIRECTION]
        count = row[c.FRESH]
        status = (hint >> h.STATUS_SHIFT) & 0x3FF if kind == h.HTTP_RESPONSE and not up else np.int64(0)
        if (x[MODE] != PLAIN or kind >= h.CONNECT) and _negotiates(x, row, hint, up, status):
            if x[QUEUED] and x[PHASE] == IDLE:
                _next_in_queue(x, arrays)  # asked without waiting for the tunnel
            continue
        if x[SEEN] & INNER_TLS:
            protocol = np.int64(h.TLS)
        if protocol == h.TLS:
            status = np.int64(0)
            count = _tls_data(x, row, hint, up)
            if count <= 0:
                continue
        elif 100 <= status < 200 and status != 101:
            if status != 100 or row[c.LENGTH] <= CONTINUE:
                continue
            status = np.int64(0)
        if up:
            _request(x, row, hint, protocol, count, k, arrays)
        elif x[PHASE] != IDLE:
            _response(x, row, hint, status, count, arrays)
    return packets.shape[0]


class ExchangeBuilder:
    """Collects exchanges while a capture is read; ``feed`` comes after the session fold of the same batch.

    ends : where answers end by their own word; to be fed as well, where payload is at hand.
    """

    def __init__(self) -> None:
        self.ends = AnswerEnds()
        counts = np.zeros(N_COUNTS, np.int64)
        counts[FREE_ROW] = -1
        self.arrays = Arrays(
            np.zeros((LEAST_ROWS, X_WIDTH), np.int64), np.zeros((256, Q_WIDTH), np.int64), np.zeros((4096, ROW), np.int64), counts
        )
        self._done: list[Array] = []

    def feed(self, buf: Array, packets: Array, sessions: Array) -> None:
        if len(sessions) > len(self.arrays.state):
            self.arrays = self.arrays._replace(state=grown(self.arrays.state, len(sessions)))
        at = 0
        while True:
            at = turns(packets, at, sessions, self.arrays)
            if at >= len(packets):
                return
            self._flush()
            queue = self.arrays.queue
            if self.arrays.counts[QUEUE_USED] + MOST_ROWS > len(queue):
                self.arrays = self.arrays._replace(queue=np.concatenate([queue, np.zeros_like(queue)]))

    def _flush(self) -> None:
        self._done.append(self.arrays.finished[: self.arrays.counts[FINISHED]].copy())
        self.arrays.counts[FINISHED] = 0

    def drain(self) -> Array:
        """int64[m, ROW]: take out the exchanges that others have followed since the last time."""
        self._flush()
        done = np.concatenate(self._done)
        self._done.clear()
        return done

    def open(self, n: int) -> tuple[Array, Array]:
        """Of ``n`` sessions those whose latest exchange nothing has followed yet, and their int64[m, X_WIDTH]."""
        busy = np.flatnonzero(self.arrays.state[:n, PHASE] != IDLE)
        return busy, self.arrays.state[busy]

    def rows(self, sessions: Array) -> Table:
        """All exchanges, open ones included, in order of start. ``sessions``: int64[n, S_WIDTH], the final session state."""
        self._flush()
        busy, x = self.open(len(sessions))
        last = x[:, :ROW].copy()
        last[:, COMPLETE] = self.ended(sessions, busy, x)
        rows = np.concatenate([*self._done, last, self._queued(last, x)])
        rows = rows[np.lexsort((rows[:, START_FRAME], rows[:, START]))]
        return exchange_rows(rows)

    def ended(self, sessions: Array, groups: Array, x: Array) -> Bools:
        """bool[m]: whether the response ended in order, and is as long as it says.  groups, x : see :meth:`open`."""
        return closed_orderly(sessions, groups, x) & ~self._short(sessions, groups, x)

    def _short(self, sessions: Array, groups: Array, x: Array) -> Bools:
        mates = sessions[groups, MATE]
        short = np.zeros(len(groups), bool)
        for rows in (groups, np.where(mates >= 0, mates, groups)):
            server = SIDE + (1 - ((sessions[rows, FSM] >> ORIGINATOR_SHIFT) & 1)) * SIDE_WIDTH
            came = sessions[rows, server + NEXT] - (sessions[rows, server + FIN_TS] != UNSET)
            short |= self.ends.short(rows, x[:, RESPONSE_FRAME], x[:, END_FRAME], came)
        return short

    def _queued(self, rows: Array, x: Array) -> Array:
        """The requests behind those of ``rows`` (finished rows of ``x``): answered in the same segments if all ended well, else not."""
        out = []
        for i in np.flatnonzero(x[:, QUEUED]).tolist():
            at = int(x[i, QUEUE_FIRST])
            for _ in range(int(x[i, QUEUED])):
                q, row = self.arrays.queue[at], rows[i].copy()
                row[[START, REQUEST_END, UP, START_FRAME]] = q[[Q_START, Q_REQUEST_END, Q_UP, Q_START_FRAME]]
                row[[DOWN, STATUS]] = 0
                row[[RESPONSE_AT, RESPONSE_FRAME]] = row[[RESPONSE_END, END_FRAME]]
                if not row[COMPLETE]:
                    row[[RESPONSE_AT, RESPONSE_END]] = UNSET
                    row[[RESPONSE_FRAME, END_FRAME]] = 0
                out.append(row)
                at = int(q[Q_NEXT])
        return np.array(out, np.int64).reshape(-1, ROW)

    def forget(self, kept: Kept) -> None:
        self.ends.forget(kept)
        old, queue, _, counts = self.arrays
        state = kept.rows(old)
        self.arrays = self.arrays._replace(state=state)
        busy = state[:, PHASE] != IDLE
        state[busy, CARRIER] = kept.place[state[busy, CARRIER]]
        gone = np.ones(len(old), bool)
        gone[kept.sessions] = False
        for x in old[gone & (old[:, QUEUED] > 0)]:  # their rows of the queue are free
            queue[x[QUEUE_LAST], Q_NEXT], counts[FREE_ROW] = counts[FREE_ROW], x[QUEUE_FIRST]

    @property
    def nbytes(self) -> int:
        return self.ends.nbytes + sum(a.nbytes for a in (self.arrays.state, self.arrays.queue, *self._done))


def closed_orderly(sessions: Array, groups: Array, x: Array) -> Bools:
    """Did the response end with a FIN of the server, or did the client's FIN come behind all of it? (of the session or its redirect mate)

    groups, x : sessions with an open exchange and their states, see :meth:`ExchangeBuilder.open`.
    """
    mates = sessions[groups, MATE]
    ok = np.zeros(len(groups), bool)
    aborted = np.zeros(len(groups), bool)
    for rows in (groups, np.where(mates >= 0, mates, groups)):
        orig = (sessions[rows, FSM] >> ORIGINATOR_SHIFT) & 1
        fin = sessions[rows, SIDE + (1 - orig) * SIDE_WIDTH + FIN_TS]
        client_fin = sessions[rows, SIDE + orig * SIDE_WIDTH + FIN_TS]
        end = x[:, RESPONSE_END]
        behind = (client_fin != UNSET) & (client_fin >= end)
        ok |= (fin != UNSET) | (behind & (sessions[rows, LAST_TS] > client_fin))
        # A client that has closed answers the server's close_notify with an RST: the answer had ended before.
        reset = sessions[rows, RST_TS]
        aborted |= (reset != UNSET) & (fin == UNSET) & ~(behind & (reset > client_fin))
    orderly: Bools = ok & ~aborted & (x[:, RESPONSE_AT] != UNSET)
    return orderly


def exchange_rows(rows: Array) -> Table:
    """Table of finished rows int64[n, ROW]."""
    of = rows.T.copy()
    answered, known = of[RESPONSE_AT] != UNSET, of[STATUS] != 0
    rejected = np.where(known, of[STATUS] == 429, np.array(None, object))
    return Table(
        EXCHANGES,
        {
            "exchange_id": np.arange(len(rows), dtype=np.int64),
            "session_id": of[CARRIER],
            "start_ns": of[START],
            "request_end_ns": of[REQUEST_END],
            "response_ns": Nullable(of[RESPONSE_AT], answered),
            "end_ns": Nullable(of[RESPONSE_END], answered),
            "up_bytes": of[UP],
            "down_bytes": of[DOWN],
            "status": Nullable(of[STATUS], known),
            "rejected": rejected,
            "complete": of[COMPLETE] == 1,
            "start_frame": of[START_FRAME],
            "response_frame": Nullable(of[RESPONSE_FRAME], answered),
            "end_frame": Nullable(of[END_FRAME], answered),
        },
    )
