"""HTTP/2 without keys: whether a TLS connection speaks it, from the sizes and the order of its records.

Theory of operation
-------------------
Up to TLS 1.2 the ServerHello names what was chosen. In TLS 1.3:

1. What a record holds is its size less what encryption adds, which follows from the cipher suite. Handshake messages of TLS 1.3 go by the name of
   application data (RFC 8446 5.1): up to each side's Finished, and session tickets behind it.
2. HTTP/2 (RFC 9113 3.4, 6.5) begins with SETTINGS of both sides, and each acknowledges the other's with an empty frame of 9 bytes. A server's SETTINGS are
   6 bytes a setting, perhaps with WINDOW_UPDATE (13 bytes) and its acknowledgment in the same record, and come before any answer: the first record of the
   server behind its tickets is one of few small sizes. With HTTP/1.1 it is the head of an answer.
3. Only the acknowledgments are so short. An HTTP/1.1 client sends a request line and fields, a server a head; a chunk of a body may be shorter, but comes
   behind it, and the last one has 5 bytes, which is less than any frame.
4. A client must acknowledge SETTINGS at once (RFC 9113 6.5.3). So where a server's first record is none that begins HTTP/2 and the client has said nothing
   since, nothing was acknowledged: a request in HTTP/1.1 with its answer, and the connection was closed. What it says last may be GOAWAY.
5. Evidence is multiplied as odds. HTTP/2 is said where its opening was seen; HTTP/1.1 where none of it was, though the client asked several times. Else
   neither is known.
6. Java pads each record with 16 bytes (RFC 8446 5.4). Its Finished shows that, as the hash of the cipher suite gives its size; the padding is taken off.

Limits: other padding hides sizes; no other client or server met pads. Early data, client certificates, suites with CBC, and a connection of which
bytes are missing from the capture are left unknown.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.records import APPLICATION, Records

TLS_1_3 = 0x13  #: of its cipher suites, the first byte (RFC 8446 B.4)
FINISHED, FINISHED_SHA384, AES_256_GCM_SHA384 = 36, 52, 0x1302  #: handshake header 4, hash 32 or 48 (RFC 8446 4.4.4, B.4)
PADDING = 0, 16  #: bytes in each record of one side; Java's
FULL = 16_384  #: bytes that a record holds at most (RFC 8446 5.1)
PADDED_FULL = 16_367  #: the same of Java's; the rest of a full frame of 16,393 bytes follows
ALERT_BYTES = 2
PREFACE = 24  #: of a client (RFC 9113 3.4)
GOAWAY = 17  #: without words (RFC 9113 6.8); PING is as long
ACKNOWLEDGMENT = 9  #: of SETTINGS: a frame's header (RFC 9113 4.1, 6.5)
WINDOW_UPDATE = 13  #: RFC 9113 6.9
SETTING, MOST_SETTINGS = 6, 9  #: RFC 9113 and 8441 define 7, and servers send one or two of their own
MOST_UPDATES = 5  #: in one record: one or two for each stream that has begun
TICKET = 56, 4096  #: the least and the most that a session ticket takes; see parsers.exchanges
MOST_TICKETS = 4  #: OpenSSL sends 2, and 4 is the most seen
OPENING = 12  #: records of either side within which SETTINGS are acknowledged
MOST_OPENING = 110  #: the longest record of a server that began with SETTINGS was 101; the heads of HTTP/1.1 answers met begin at 80
MOST_WITH_HEAD = 300  #: the same with the head of an answer, of a server that answers what came with the preface at once
#: SETTINGS as servers send them: alone, with one WINDOW_UPDATE, or with the acknowledgment of the client's and up to two.
USUAL_OPENINGS = frozenset(
    [ACKNOWLEDGMENT + SETTING * n for n in range(8)]
    + [ACKNOWLEDGMENT + SETTING * n + WINDOW_UPDATE for n in range(6)]
    + [2 * ACKNOWLEDGMENT + SETTING * n + WINDOW_UPDATE * more for n in range(4) for more in range(3)]
)
SOON = 4  #: records behind them, within which a server acknowledges
SHORT = 50  #: the requests of HTTP/1.1 clients that offer HTTP/2 name themselves; the shortest met has 70 bytes
LAST_CHUNK = 5  #: of HTTP/1.1 (RFC 9112 7.1); no frame is so short (RFC 9113 4.1), but the rest of one that is cut may be
ALIKE = 16  #: bytes by which tickets of one server differ; OpenSSL's of the first and the second by 16

#: Odds for HTTP/2 that a sight is worth, to the power of ten.
SETTINGS_FIRST, OTHER_FIRST = 1.0, -1.0
SPEAKS_FIRST = (
    1.0  #: what may be SETTINGS, and is shorter than a ticket, before the client says anything: servers of HTTP/1.1 are asked first
)
CLIENT_ACKNOWLEDGES = 2.0  #: no HTTP/1.1 client met sends so little; a WebSocket's may, and chunks of a body
#: The same of several records as long as one WINDOW_UPDATE to three: the acknowledgment stands beside a request (curl).
CLIENT_UPDATES, UPDATES = 1.0, frozenset(WINDOW_UPDATE * n for n in (1, 2, 3))
#: The client's first record is as long as the preface with SETTINGS and perhaps a WINDOW_UPDATE or two, and it says more before the server does (Go).
PREFACE_FIRST = 0.5
SERVER_ACKNOWLEDGES, SERVER_IS_SHORT = (
    1.0,
    0.5,
)  #: the latter might be a head of 39 bytes and a body of 13; two such records are worth the former
NEVER_SHORT = -1.5  #: neither side
#: The client's first record is as long as a preface, and shorter than any request of HTTP/1.1.
PREFACE_ALONE = 0.5
#: The preface has a record of its own (hyper): the shortest request of HTTP/1.1 with a Host is longer, or as long by chance, and SETTINGS follow.
PREFACE_APART = 4.0
GOAWAY_LAST = 1.0  #: the client's last words are as long as GOAWAY (RFC 9113 6.8), behind the server's; nothing so short follows an answer of HTTP/1.1
#: The client said nothing behind the server's first record; of curl, Node and httpx over HTTP/2 each did (measured: 24 of 24).
NOTHING_SINCE = -2.0
OFTEN = 3  #: records of the client, of which each behind the first weighs so
ENDS_A_BODY = -2.0
CERTAIN = 9.0
SURE, SURE_NOT = 2.0, -3.0  #: from which on it is said; the latter takes more, as then requests are counted


class Dialog(NamedTuple):
    """Plaintext sizes behind the handshake, without tickets known as such and alerts: int64[n] each, in the order of the connection.

    way : 0 the client's.  size : bytes.  at : places among the records; empty where there are none.
    """

    way: Array
    size: Array
    at: Array = np.zeros(0, np.int64)


def overhead(suite: int) -> int | None:
    """What encryption adds to a record (RFC 8446 5.2, 5288, 6655, 7905); None of a suite whose records do not tell their plaintext's size."""
    if suite >> 8 == TLS_1_3:
        return 9 if suite == 0x1305 else 17
    if suite in range(0xCCA8, 0xCCAF):
        return 16
    if suite in range(0xC0A0, 0xC0A4) or suite in range(0xC0A8, 0xC0AC) or suite in (0xC0AE, 0xC0AF):
        return 16  # CCM_8
    gcm = suite in range(0x009C, 0x00A8) or suite in range(0xC02B, 0xC033)
    return 24 if gcm or suite in range(0xC09C, 0xC0AC) else None


def dialog(records: Records) -> Dialog | None:
    """What both sides said behind the handshake; None where that cannot be told."""
    extra = overhead(records.suite)
    if extra is None or not records.whole:
        return None
    data = records.kind == APPLICATION
    way, size = records.way[data], records.size[data] - extra
    keep = np.ones(len(size), bool)
    if records.suite >> 8 == TLS_1_3:
        mine = np.flatnonzero(way == 0)
        finished = FINISHED_SHA384 if records.suite == AES_256_GCM_SHA384 else FINISHED
        if not len(mine) or size[mine[0]] - finished not in PADDING:
            return None
        theirs = np.flatnonzero(way == 1)
        before = theirs[theirs < mine[0]]
        # the server's Finished has a record of its own, or stands in one record with the certificate
        last = before[np.isin(size[before] - finished, PADDING)]
        padding = np.array([size[mine[0]] - finished, size[last[0]] - finished if len(last) else 0])
        keep[before[before <= last[0]] if len(last) else before] = False
        keep[mine[0]] = False
        size = size - padding[way]
        keep &= size != ALERT_BYTES
        if (size[keep] < 0).any():
            return None  # shorter than padding: it was something else that looked like a Finished
        size = _as_if_full(size, way, keep, padding)
    return Dialog(way[keep], size[keep], np.flatnonzero(data)[keep])


def _as_if_full(size: Array, way: Array, keep: Array, padding: Array) -> Array:
    """Sizes, where records of a side that pads are as full as they can be, as they would be without: the last of each run holds what is left."""
    for side in np.flatnonzero(padding):
        its = np.flatnonzero((way == side) & keep)
        full = size[its] == PADDED_FULL
        begins = np.flatnonzero(full & ~np.append(False, full[:-1]))
        ends = np.flatnonzero(full & ~np.append(full[1:], False)) + 1
        for begin, end in zip(begins, ends, strict=True):
            more = (FULL - PADDED_FULL) * (end - begin)
            if end < len(its) and size[its[end]] >= more + ACKNOWLEDGMENT:
                size[its[begin:end]] = FULL
                size[its[end]] -= more
    return size


def is_opening(size: int) -> bool:
    """Whether a record of the server may be its SETTINGS, with WINDOW_UPDATEs and the acknowledgment of the client's or without."""
    if size > MOST_OPENING:
        return False
    for more in range(MOST_UPDATES + 1):
        for acknowledged in (0, ACKNOWLEDGMENT):
            settings = size - ACKNOWLEDGMENT - acknowledged - more * WINDOW_UPDATE
            if settings >= 0 and settings % SETTING == 0 and settings <= SETTING * MOST_SETTINGS:
                return True
    return False


def is_preface(size: int) -> bool:
    """Whether a client's first record holds the preface and SETTINGS, perhaps with WINDOW_UPDATE, or the acknowledgment of the server's, and no request."""
    rest = size - PREFACE - ACKNOWLEDGMENT
    beside = (*(WINDOW_UPDATE * n for n in range(3)), ACKNOWLEDGMENT)
    return any(0 <= rest - more <= SETTING * MOST_SETTINGS and not (rest - more) % SETTING for more in beside)


def prefaces(sizes: Sequence[int]) -> int:
    """Records of a client that hold its preface and SETTINGS and no request: one, or two (hyper), the second of which may acknowledge what the server said
    before; 0 where a request stands beside them."""
    if sizes and is_preface(sizes[0]):
        return 1
    apart = len(sizes) > 1 and sizes[0] == PREFACE
    return 2 if apart and any(is_preface(PREFACE + sizes[1] - more) for more in (0, ACKNOWLEDGMENT)) else 0


def _is_acknowledgment(size: int) -> bool:
    """Alone, or with a WINDOW_UPDATE or some."""
    more, rest = divmod(size - ACKNOWLEDGMENT, WINDOW_UPDATE)
    return not rest and more >= 0 and size <= SHORT


def _is_short(size: int) -> bool:
    """An acknowledgment, a WINDOW_UPDATE, or both, perhaps several."""
    return size >= ACKNOWLEDGMENT and (not size % WINDOW_UPDATE or not (size - ACKNOWLEDGMENT) % WINDOW_UPDATE)


def behind_tickets(sizes: list[int]) -> int:
    """Where, among the server's records, the tickets end, as far as sizes tell: the first records, where they are too long for SETTINGS and about alike."""
    at, first = 0, sizes[0]
    twice = len(sizes) > 1 and sizes[1] == first
    while (
        at < min(MOST_TICKETS, len(sizes) - 1)
        and TICKET[0] <= sizes[at] <= TICKET[1]
        and abs(sizes[at] - first) <= ALIKE
        and (twice or not is_opening(sizes[at]))
    ):
        at += 1
    return at


def odds(said: Dialog) -> float:
    """Odds that the connection speaks HTTP/2 and not HTTP/1.1, to the power of ten."""
    client, server = (said.size[said.way == way].tolist() for way in (0, 1))
    if not client or not server:
        return PREFACE_APART if prefaces(client) > 1 else 0.0
    first = behind_tickets(server)
    begins = is_opening(server[first])
    opened = prefaces(client)
    place = np.flatnonzero(said.way == 1)[first]
    preface = opened > 0 and (said.way[:place] == 0).sum() > opened
    with_head = preface and server[first] <= MOST_WITH_HEAD
    total = SETTINGS_FIRST if begins else 0.0 if with_head else OTHER_FIRST
    if begins and server[first] < TICKET[0] and not (said.way[:place] == 0).any():
        total += SPEAKS_FIRST
    if any(_is_acknowledgment(size) for size in client[:OPENING]):
        total += CLIENT_ACKNOWLEDGES
    elif begins and sum(size in UPDATES for size in client) >= OFTEN - 1:
        total += CLIENT_UPDATES
    elif not begins and min(client) > SHORT and not any(size in (ACKNOWLEDGMENT, WINDOW_UPDATE) for size in server[first:]):
        total += NEVER_SHORT * min(len(client) - 1, OFTEN - 1)
    if not begins and len(server) > 1 and not (said.way[place:] == 0).any():
        total += NOTHING_SINCE  # a record alone may be a ticket
    if opened > 1:
        total += PREFACE_APART
    elif preface:
        total += PREFACE_FIRST
    elif opened and client[0] < SHORT:
        total += PREFACE_ALONE
    if client[-1] == GOAWAY and said.way[-1] == 0 and len(client) > 1:
        total += GOAWAY_LAST
    if server[first] in USUAL_OPENINGS:
        behind = server[first + 1 : first + 1 + SOON]
        short = sum(map(_is_short, behind))
        if ACKNOWLEDGMENT in behind or (short > 1 and server[first] not in behind):
            total += SERVER_ACKNOWLEDGES
        elif short:
            total += SERVER_IS_SHORT
    if LAST_CHUNK in server[first + 1 :]:
        total += ENDS_A_BODY
    return total


def spoken(records: Records) -> bool | None:
    """Whether a connection speaks HTTP/2; None where that is not known."""
    sure = leaning(records)
    return True if sure >= SURE else False if sure <= SURE_NOT else None


def leaning(records: Records) -> float:
    """Odds that a connection speaks HTTP/2, to the power of ten: beyond all doubt where the choice stands in clear; 0 where nothing shows."""
    if records.suite and records.suite >> 8 != TLS_1_3 and records.chosen is not None:
        return 0.0 if records.chosen.startswith("spdy") else CERTAIN if records.chosen.startswith("h2") else -CERTAIN
    said = dialog(records)
    return 0.0 if said is None else odds(said)
