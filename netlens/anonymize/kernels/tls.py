"""The payload of TCP: what may be kept of it, everything else zero.

Kept, because turn-taking, fingerprints and pairing need it and it says nothing about what was said:

- headers of TLS records from the start of a segment on, of handshake messages in them, alerts;
- of a ClientHello its structure: versions, cipher suites, extensions and their lengths, groups, signature algorithms, protocols (ALPN). The server
  name is mapped; randoms and session ids become others (equal ones stay equal); keys, tickets and all else are zero. A ServerHello likewise;
- the version banner of SSH: protocol 2, OpenSSH or Dropbear and their version, nothing behind it; method or status of an HTTP/1 message; the preface of
  HTTP/2; that there is a header of the PROXY protocol; what kind of message of SOCKS it is, the methods of its greeting, granted or refused.

A byte that decides how :mod:`netlens.wire.decode` sees a segment is kept, so that the result is seen alike.
"""

import numpy as np

from netlens.anonymize.kernels.mapping import map_dotted, map_random
from netlens.wire import hints as h
from netlens.wire.compiled import kernel
from netlens.wire.hints import payload_hint, request_line, status_line
from netlens.wire.loads import be16
from netlens.wire.tls import MAX_MESSAGE, front

SOFTWARE = np.frombuffer(b"SSH-2.0-OpenSSH_SSH-2.0-dropbear", np.uint8).reshape(2, 16)  #: how a banner of SSH begins of which more is kept
MAX_VERSION = 8  #: bytes of what follows there, such as 10.0p1 or _2022.83
NOTHING, HELLO_GOES_ON = 0, 1  #: what a segment may ask of its caller


@kernel
def keep(buf, at, n, out, to):
    """Bytes as they are."""
    for i in range(n):
        out[to + i] = buf[at + i]


@kernel
def keep_protocols(buf, at, n, out, to):
    """A list of protocol names (RFC 7301 3.1): those that are short and printable; lengths of all."""
    pos = 0
    while pos < n:
        size = np.int64(buf[at + pos])
        out[to + pos] = buf[at + pos]
        pos += 1
        if pos + size > n:
            return
        plain = size <= 16
        for i in range(pos, pos + size):
            plain = plain and 32 < buf[at + i] < 127
        grease = size == 2 and buf[at + pos] & 15 == 10 and buf[at + pos] == buf[at + pos + 1]
        if plain or grease:
            keep(buf, at + pos, size, out, to + pos)
        pos += size


@kernel
def _extension(buf, kind, at, n, out, to, m):
    """One extension's data, ``n`` bytes of which are there."""
    if kind == 0:
        if n < 2:
            keep(buf, at, n, out, to)
            return
        keep(buf, at, 2, out, to)
        stop = min(2 + be16(buf, at), n)
        pos = 2
        while pos + 3 <= stop:
            size = be16(buf, at + pos + 1)
            keep(buf, at + pos, 3, out, to + pos)
            if pos + 3 + size > stop:
                return
            if buf[at + pos] == 0:
                map_dotted(buf, at + pos + 3, size, out, to + pos + 3, m)
            pos += 3 + size
    elif kind == 16:
        keep(buf, at, min(n, 2), out, to)
        if n > 2:
            keep_protocols(buf, at + 2, min(n - 2, be16(buf, at)), out, to + 2)
    elif kind == 10 or kind == 11 or kind == 13 or kind == 27 or kind == 43 or kind == 45 or kind == 50:
        keep(buf, at, n, out, to)  # groups, point formats, signature algorithms, certificate compression, versions, key exchange modes
    elif kind == 51:
        keep(buf, at, min(n, 2), out, to)
        pos = 2
        while pos + 4 <= n:
            keep(buf, at + pos, 4, out, to + pos)
            pos += 4 + be16(buf, at + pos + 2)
    elif kind == 5:
        keep(buf, at, min(n, 1), out, to)


@kernel
def rewrite_hello(buf, at, have, client, out, to, m):
    """A ClientHello or ServerHello behind its four bytes of header: ``have`` bytes are there. What is cut stays zero."""
    keep(buf, at, min(have, 2), out, to)
    if have < 35:
        return
    if client or not (be16(buf, at + 2) == 0xCF21 and be16(buf, at + 4) == 0xAD74):  # a HelloRetryRequest is told by a fixed "random"
        map_random(buf, at + 2, 32, out, to + 2, m)
    else:
        keep(buf, at + 2, 32, out, to + 2)
    size = np.int64(buf[at + 34])
    out[to + 34] = buf[at + 34]
    pos = 35
    if size > 32 or pos + size > have:
        return
    map_random(buf, at + pos, size, out, to + pos, m)
    pos += size
    if client:
        if pos + 2 > have:
            return
        size = be16(buf, at + pos)
        keep(buf, at + pos, 2, out, to + pos)
        pos += 2
        if pos + size > have:
            return
        keep(buf, at + pos, size, out, to + pos)
        pos += size
        if pos + 1 > have:
            return
        size = np.int64(buf[at + pos])
        out[to + pos] = buf[at + pos]
        pos += 1
        if pos + size > have:
            return
        if size <= 4:
            keep(buf, at + pos, size, out, to + pos)
        pos += size
    else:
        if pos + 3 > have:
            return
        keep(buf, at + pos, 3, out, to + pos)
        pos += 3
    if pos + 2 > have:
        return
    stop = min(pos + 2 + be16(buf, at + pos), have)
    keep(buf, at + pos, 2, out, to + pos)
    pos += 2
    while pos + 4 <= stop:
        kind, size = be16(buf, at + pos), be16(buf, at + pos + 2)
        keep(buf, at + pos, 4, out, to + pos)
        pos += 4
        there = min(size, stop - pos)
        if client:
            _extension(buf, kind, at + pos, there, out, to + pos, m)
        elif kind == 43:
            keep(buf, at + pos, there, out, to + pos)
        elif kind == 51:
            keep(buf, at + pos, min(there, 4), out, to + pos)
        pos += size


@kernel
def _is_message(kind):
    return kind <= 2 or kind == 4 or kind == 5 or kind == 8 or 11 <= kind <= 16 or kind == 20 or kind == 22 or kind == 24


@kernel
def _handshake(buf, at, have, out, to, m):
    """The body of one record of handshake messages: ``have`` bytes are there; whether a ClientHello in it goes on behind ``have``."""
    pos = np.int64(0)
    while pos < have:
        kind = np.int64(buf[at + pos])
        if pos + 4 > have:
            if pos == 0:
                keep(buf, at, have, out, to)
                return kind == 1
            return False
        total = np.int64(buf[at + pos + 1]) << 16 | be16(buf, at + pos + 2)
        if not _is_message(kind) or total > MAX_MESSAGE:
            if pos == 0:
                out[to] = buf[at]  # what the first byte is taken for is part of the hint
            return False
        keep(buf, at + pos, 4, out, to + pos)
        if kind == 1 or kind == 2:
            there = min(have - pos - 4, total)
            rewrite_hello(buf, at + pos + 4, there, kind == 1, out, to + pos + 4, m)
            if kind == 1 and there < total:
                return True
        pos += 4 + total
    return False


@kernel
def _records(buf, at, cap, length, out, to, m):
    """TLS records from the start of a segment on; returns what is asked of the caller, and where the record begins that asks."""
    pos = np.int64(0)
    for _ in range(h.MAX_RECORDS_PER_SEGMENT):
        if pos + 5 > cap:
            break
        kind = buf[at + pos]
        size = be16(buf, at + pos + 3)
        if kind < 20 or kind > 23 or buf[at + pos + 1] != 3 or buf[at + pos + 2] > 4 or size > h.TLS_MAX_RECORD:
            break
        keep(buf, at + pos, 5, out, to + pos)
        have = min(cap - pos - 5, size)
        if kind == 22:
            if _handshake(buf, at + pos + 5, have, out, to + pos + 5, m) and (cap == length):
                return HELLO_GOES_ON, pos
        elif (kind == 20 and size == 1) or (kind == 21 and size == 2):
            keep(buf, at + pos + 5, have, out, to + pos + 5)
        pos += 5 + size
        if pos >= length:
            break
    return NOTHING, np.int64(0)


@kernel
def _proxy(buf, at, cap, out, to):
    """A header of HAProxy's PROXY protocol: that it is one, and how long it is; its addresses are blanked. Returns its length, 0 without."""
    size = front(buf, at, at + cap) - at
    if size <= 0:
        return np.int64(0)
    if buf[at] == 0x50:  # version 1: a line of text
        keep(buf, at, 6, out, to)
        for i in range(6, size - 2):
            out[to + i] = np.uint8(32)
        keep(buf, at + size - 2, 2, out, to + size - 2)
    else:
        keep(buf, at, 16, out, to)
    return size


@kernel
def _socks(buf, at, cap, length, out, to):
    """What kind of message of SOCKS it is, and what was offered, granted or refused; no address, name, or password."""
    hint = payload_hint(buf, at, cap, length)
    kind = hint & h.CLASS_MASK
    if kind == h.SOCKS:
        n = np.int64(2)  # of version 4
        if buf[at] == 5:
            n += buf[at + 1]
            n += 3 if length > n else 0  # the request behind it
        keep(buf, at, n, out, to)
    elif kind == h.SOCKS_REPLY:
        n = np.int64(2)
        if hint & h.LAST_REPLY and buf[at] == 5:
            n = np.int64(6) if cap >= 6 and buf[at + 2] == 5 else np.int64(4)
        keep(buf, at, n, out, to)


@kernel
def _line(buf, at, cap, out, to):
    """The banner of SSH (RFC 4253 4.2): the protocol, and software that is widely used with its version. What stands behind that, joined by any character,
    and any other software may name a machine or its owner."""
    kept = 4  # "SSH-"
    for k in range(len(SOFTWARE)):
        same = cap >= len(SOFTWARE[k])
        for i in range(len(SOFTWARE[k])):
            same = same and buf[at + i] == SOFTWARE[k, i]
        if same:
            kept = _version_end(buf, at, len(SOFTWARE[k]), min(cap, len(SOFTWARE[k]) + MAX_VERSION))
    for i in range(min(cap, 255)):
        byte = buf[at + i]
        if byte == 13 or byte == 10:
            out[to + i] = byte
            if byte == 10:
                return
        elif byte < 32 or byte > 126:
            return
        else:
            out[to + i] = byte if i < kept or byte == 32 else np.uint8(120)


@kernel
def _version_end(buf, at, pos, end):
    """Behind ``9``, ``9.2``, ``9.2p1`` or ``_2022.83``, from ``pos`` on and not beyond ``end``."""
    if pos < end and buf[at + pos] == 95:
        pos += 1
    dot = patch = False
    while pos < end:
        byte = buf[at + pos]
        if byte == 46 and not dot and not patch:
            dot = True
        elif byte == 112 and not patch:
            patch = True
        elif byte < 48 or byte > 57:
            break
        pos += 1
    return pos


@kernel
def rewrite_stream(buf, at, cap, length, out, to, m):
    """A segment's payload, ``cap`` of ``length`` bytes; ``out[to:]`` is zero before. Returns (NOTHING or HELLO_GOES_ON, where that record begins)."""
    if cap < 2:
        return NOTHING, np.int64(0)
    if buf[at] <= 5:
        _socks(buf, at, cap, length, out, to)
        return NOTHING, np.int64(0)
    if cap < 4:
        return NOTHING, np.int64(0)
    skip = _proxy(buf, at, cap, out, to)
    if skip:
        if cap - skip >= 4 and request_line(buf, at + skip, cap - skip):
            keep(buf, at + skip, 4, out, to + skip)
        what, where = _records(buf, at + skip, cap - skip, length - skip, out, to + skip, m)
        return what, where + skip
    byte = buf[at]
    if 20 <= byte <= 23:
        return _records(buf, at, cap, length, out, to, m)
    word = be16(buf, at) << 16 | be16(buf, at + 2)
    if word == 0x5353482D:  # SSH-
        _line(buf, at, cap, out, to)
    elif word == 0x48545450:  # HTTP
        keep(buf, at, 4, out, to)
        if cap >= 12 and buf[at + 4] == 47 and buf[at + 8] == 32:
            for i in range(4, 12):  # "/1.1 429"; a word in its place is no version and no status
                if (buf[at + i] < 48 or buf[at + i] > 57) and i != 4 and i != 8 and (i != 6 or buf[at + i] != 46):
                    break
                out[to + i] = buf[at + i]
            for pos in range(12, min(cap, h.MORE_WITHIN) - 12):  # pipelined ones behind it
                if buf[at + pos] == 72 and status_line(buf, at + pos, cap - pos) >= 200:
                    keep(buf, at + pos, 5, out, to + pos)
                    keep(buf, at + pos + 8, 4, out, to + pos + 8)
    elif word == 0x50524920 or request_line(buf, at, np.int64(4)):  # the preface of HTTP/2, RFC 9113 3.4; a method of HTTP/1
        keep(buf, at, 4, out, to)
        for pos in range(16, min(cap, h.MORE_WITHIN) - 8):
            if buf[at + pos] == 13 and be16(buf, at + pos) == 0x0D0A and be16(buf, at + pos + 2) == 0x0D0A:
                if request_line(buf, at + pos + 4, cap - pos - 4):
                    keep(buf, at + pos, 8, out, to + pos)
    return NOTHING, np.int64(0)


@kernel
def join_hello(stream, have, message):
    """Strip the record headers of the hello that ``stream[:have]`` begins with.

    Returns (bytes of the message and its header, whether it is whole); ``message[i]`` is where byte i stands in the stream. (-1, False): none.
    """
    pos, filled, total = np.int64(0), np.int64(0), np.int64(-1)
    if have >= 6 and stream[0] == 20:
        pos = np.int64(6)
    while pos + 5 <= have:
        if stream[pos] != 22 or stream[pos + 1] != 3:
            return np.int64(-1), False
        size = be16(stream, pos + 3)
        if size == 0 or size > h.TLS_MAX_RECORD:
            return np.int64(-1), False
        pos += 5
        for i in range(min(size, have - pos)):
            if filled >= len(message) or (total >= 0 and filled == total + 4):
                break
            message[filled] = pos + i
            filled += 1
            if filled == 4:
                total = np.int64(stream[message[1]]) << 16 | np.int64(stream[message[2]]) << 8 | np.int64(stream[message[3]])
                if stream[message[0]] != 1 or total > MAX_MESSAGE:
                    return np.int64(-1), False
        if total >= 0 and filled == total + 4:
            return filled, True
        pos += size
    return filled, False
