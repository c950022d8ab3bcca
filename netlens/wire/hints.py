"""What a payload starts with, in one int64: enough for turn-taking without keeping any payload.

The hint is a function of one segment alone (``wire`` remembers nothing), so parts of a capture merge to the whole. A TLS segment that starts
with a record header is walked record by record as far as it was captured; one that does not is a continuation and has hint 0.

Layout: bits 0-3 class; TLS: 4 ClientHello, 5 ServerHello, 6 any handshake record, 7 ChangeCipherSpec, 8 alert, 9 application data,
10 the last record ends exactly at the end of the segment, 12-19 application-data records (at most 255), 20-35 length of the first,
36-51 length of the last application-data record, 52-55 how many at the beginning are as long as the first (at most 15).
HTTP request and response: 22-27 how many more begin in this segment (at most 15); response: 12-21 status code.
SOCKS reply: 4 it is the last one, behind which the tunnel begins.
Bytes of a PROXY header that stands before a request in the same segment: 36-51 (HTTP request only; elsewhere nothing counts them).
Bit 11: certainly no ClientHello begins here, nor a PROXY header before one; who looks for them need not touch the payload, which by then is in another
core's cache.
Bits 56-59 are written by the session fold: the class that the session is known to have at this segment (what later segments show does not
count, so that the size of a batch changes nothing).
"""

import numpy as np

from netlens.wire import columns as c
from netlens.wire.compiled import lean
from netlens.wire.loads import be16, be32, byte
from netlens.wire.tls import front

NOTHING, TLS, SSH, HTTP_REQUEST, HTTP_RESPONSE, HTTP2_PREFACE = 0, 1, 2, 3, 4, 5
#: What comes before another protocol on the same connection: CONNECT (RFC 9110 9.3.6), a SOCKS client's greeting or request, what a SOCKS server
#: says to it (RFC 1928, 1929), and a PROXY header alone in its segment.
CONNECT, SOCKS, SOCKS_REPLY, PROXY = 6, 7, 8, 9
CLASS_MASK = 15
LAST_REPLY = 1 << 4
CLIENT_HELLO, SERVER_HELLO, HANDSHAKE, CHANGE_CIPHER, ALERT, APPLICATION, WHOLE = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10
NO_HELLO = 1 << 11
COUNT_SHIFT, FIRST_SHIFT, LAST_SHIFT, STATUS_SHIFT = 12, 20, 36, 12
PREFIX_SHIFT = 36
ALIKE_SHIFT, MAX_ALIKE = 52, 15
MORE_SHIFT, MAX_MORE = 22, 15
MORE_WITHIN = 16384  #: bytes of a segment in which further heads are looked for
TLS_MAX_RECORD = 16384 + 2048  #: RFC 5246 6.2.3: 2^14 + 2048 bytes of ciphertext at most (TLS 1.3: 2^14 + 256)
CHANGE_CIPHER_BYTES = 6  #: of a ChangeCipherSpec with its header (RFC 8446 5)
MAX_RECORDS_PER_SEGMENT = 64  #: a 64 kB offloaded segment holds a handful of full records; a hostile one of empty records ends here
PROTOCOL_SHIFT = 56
PROTOCOL_MASK = 15 << PROTOCOL_SHIFT
MAX_METHOD = 20  #: letters; the longest registered is UPDATEREDIRECTREF
MAX_LINE = 2048  #: of a request with a method that is not known by name
_HTTP = 0x48545450


@lean
def with_hints(packets, mask, one, other, found):
    """Write to ``found`` which packets have payload that is new, and one of two hints under ``mask``; returns how many.

    packets : int64[n, WIDTH], behind the session fold.  found : int64[n].
    """
    n = 0
    for i in range(packets.shape[0]):
        hint = packets[i, c.HINT] & mask
        if (hint == one or hint == other) and packets[i, c.FRESH] > 0:
            found[n] = i
            n += 1
    return n


@lean
def _tls_hint(buf, o, cap, length):
    """Walk the TLS records of a segment that starts with a record header."""
    hint = np.int64(TLS)
    count = 0
    alike = np.int64(0)
    first = np.int64(0)
    last = np.int64(0)
    p = np.int64(0)
    for _ in range(MAX_RECORDS_PER_SEGMENT):
        if p + 5 > cap:
            break
        kind = byte(buf, o + p)
        size = be16(buf, o + p + 3)
        if kind < 20 or kind > 23 or byte(buf, o + p + 1) != 3 or byte(buf, o + p + 2) > 4 or size > TLS_MAX_RECORD:
            break
        if kind == 23:
            hint |= APPLICATION
            if count == 0:
                first = size
            if alike == count and size == first and alike < MAX_ALIKE:
                alike += 1
            last = size
            if count < 255:
                count += 1
        elif kind == 22:
            hint |= HANDSHAKE
            if p + 5 < cap:
                if byte(buf, o + p + 5) == 1:
                    hint |= CLIENT_HELLO
                elif byte(buf, o + p + 5) == 2:
                    hint |= SERVER_HELLO
        elif kind == 20:
            hint |= CHANGE_CIPHER
        else:
            hint |= ALERT
        p += 5 + size
        if p >= length:
            if p == length:
                hint |= WHOLE
            break
    return hint | np.int64(count) << COUNT_SHIFT | first << FIRST_SHIFT | last << LAST_SHIFT | alike << ALIKE_SHIFT


@lean
def _cut_tls_hint(buf, o, length):
    """The hint of a segment of TLS of which four bytes were captured (IPv6 on a cooked interface with a snaplen of 96), as if it held one record, or one
    behind ChangeCipherSpec: 0 if the four begin none."""
    kind = byte(buf, o)
    if byte(buf, o + 1) != 3 or byte(buf, o + 2) > 4 or byte(buf, o + 3) > TLS_MAX_RECORD >> 8:
        return np.int64(0)
    if kind == 22:
        return np.int64(TLS | HANDSHAKE)
    if kind == 21:
        return np.int64(TLS | ALERT)
    hint = np.int64(TLS | APPLICATION)
    size = length - 5
    if kind == 20:
        hint |= CHANGE_CIPHER
        size -= CHANGE_CIPHER_BYTES
        if size <= 0:
            return np.int64(TLS | CHANGE_CIPHER)
    size = min(size, np.int64(TLS_MAX_RECORD))
    return hint | WHOLE | np.int64(1) << COUNT_SHIFT | size << FIRST_SHIFT | size << LAST_SHIFT | np.int64(1) << ALIKE_SHIFT


@lean
def _socks_hint(buf, o, cap, length):
    """The hint of a payload of two bytes or more, if it is a message of SOCKS and nothing else."""
    b, second = byte(buf, o), byte(buf, o + 1)
    if b == 5:
        if length == 2:  # the method chosen: none, GSSAPI, user and password, private ones; 255 for none of those offered
            return np.int64(SOCKS_REPLY)
        end = np.int64(2 + second)
        if second > 0 and length >= end and cap >= end:
            offered = True
            for i in range(o + 2, o + end):
                method = byte(buf, i)
                offered &= method < 10 or method >= 0x80
            # alone, or with the request right behind it
            if offered and (length == end or (cap >= end + 4 and byte(buf, o + end) == 5 and byte(buf, o + end + 2) == 0)):
                return np.int64(SOCKS)
        # the method, and the last reply behind it: for a client that waits for neither
        at = np.int64(2) if cap >= 6 and byte(buf, o + 2) == 5 else np.int64(0)
        if cap >= at + 4 and byte(buf, o + at + 1) <= 8 and byte(buf, o + at + 2) == 0:
            kind = byte(buf, o + at + 3)
            if (kind == 1 and length >= at + 10) or (kind == 4 and length >= at + 22) or (kind == 3 and length >= at + 7):
                return np.int64(SOCKS_REPLY | LAST_REPLY)
    elif b == 1:
        if length == 2:  # the answer to user and password
            return np.int64(SOCKS_REPLY)
    elif b == 4:
        if 1 <= second <= 2 and length >= 9 and cap == length and byte(buf, o + length - 1) == 0:
            return np.int64(SOCKS)
    elif b == 0 and length >= 8 and 90 <= second <= 93:  # SOCKS4 granted or refused, perhaps with the first words of the server behind it
        return np.int64(SOCKS_REPLY | LAST_REPLY)
    return np.int64(0)


@lean
def request_line(buf, o, cap):
    """HTTP_REQUEST or CONNECT if a request line begins here (RFC 9112 3), else 0.

    Where only four letters are there (cut, or blanked by ``netlens anonymize``) they decide.
    """
    w = be32(buf, o)
    if w == 0x47455420 or w == 0x50555420:  # GET, PUT
        return np.int64(HTTP_REQUEST)
    rest = be32(buf, o + 4) if cap >= 8 else np.int64(0)
    whole = rest != 0
    if w == 0x504F5354 or w == 0x48454144:  # POST, HEAD
        return np.int64(HTTP_REQUEST) if not whole or rest >> 24 == 0x20 else np.int64(0)
    if w == 0x50415443 or w == 0x54524143:  # PATCH, TRACE
        return np.int64(HTTP_REQUEST) if not whole or rest >> 16 == (0x4820 if w == 0x50415443 else 0x4520) else np.int64(0)
    if w == 0x44454C45:  # DELETE
        return np.int64(HTTP_REQUEST) if not whole or rest >> 8 == 0x544520 else np.int64(0)
    if w == 0x4F505449:  # OPTIONS of a path, of * or of http://; RTSP and SIP have a method of that name for rtsp: and sip:
        of = byte(buf, o + 8) if cap > 8 else np.int64(47)
        return np.int64(HTTP_REQUEST) if not whole or (rest == 0x4F4E5320 and (of == 47 or of == 42 or of == 104)) else np.int64(0)
    if w == 0x434F4E4E and (not whole or rest == 0x45435420):
        # of an authority, "CONNECT api.example.test:443"; never of a path
        if cap >= 9 and byte(buf, o + 8) == 0x7B:  # "CONNECT {": NATS
            return np.int64(0)
        return np.int64(CONNECT) if cap >= 9 and byte(buf, o + 8) != 47 else np.int64(HTTP_REQUEST)
    # Any other method (WebDAV's, say) by the whole line: capital letters or hyphens, a space, a target, and the version
    n = 0
    while n < min(cap, MAX_METHOD) and (65 <= byte(buf, o + n) <= 90 or (byte(buf, o + n) == 45 and n > 0)):
        n += 1
    if n < 3 or n + 2 > cap or byte(buf, o + n) != 32 or (byte(buf, o + n + 1) != 47 and byte(buf, o + n + 1) != 104):
        return np.int64(0)
    for i in range(o + n + 2, o + min(cap, MAX_LINE) - 8):
        b = byte(buf, i)
        if b == 32:
            return np.int64(HTTP_REQUEST) if be32(buf, i + 1) == _HTTP and byte(buf, i + 5) == 47 else np.int64(0)
        if b < 32:
            break
    return np.int64(0)


@lean
def _http_request(buf, o, cap):
    """The hint of a payload that begins with a request line; 0 for others."""
    kind = request_line(buf, o, cap)
    if kind != HTTP_REQUEST:
        return kind
    more = np.int64(0)
    for i in range(o + 16, o + min(cap, MORE_WITHIN) - 8):  # a request without a body, and the next one behind it
        if byte(buf, i) == 13 and be32(buf, i) == 0x0D0A0D0A and more < MAX_MORE and request_line(buf, i + 4, o + cap - i - 4):
            more += 1
    return kind | more << MORE_SHIFT


@lean
def status_line(buf, o, cap):
    """The status code of a status line (RFC 9112 4), or -1."""
    if cap < 12 or be32(buf, o) != _HTTP or byte(buf, o + 4) != 47 or byte(buf, o + 8) != 32:
        return np.int64(-1)
    status = np.int64(0)
    for i in range(o + 9, o + 12):
        d = byte(buf, i) - 48
        if d < 0 or d > 9:
            return np.int64(-1)
        status = status * 10 + d
    return status


@lean
def _proxy_hint(buf, o, cap, length):
    """The hint of what stands behind a PROXY header in the same segment, PROXY if nothing does, 0 if it is none."""
    skip = front(buf, o, o + cap) - o
    if skip <= 0:
        return np.int64(0)
    o, cap, length = o + skip, cap - skip, length - skip
    if cap < 5:
        return np.int64(PROXY)
    b = byte(buf, o)
    if 20 <= b <= 23 and byte(buf, o + 1) == 3 and byte(buf, o + 2) <= 4 and be16(buf, o + 3) <= TLS_MAX_RECORD:
        return _tls_hint(buf, o, cap, length)
    hint = _http_request(buf, o, cap)
    return hint | skip << PREFIX_SHIFT if hint & CLASS_MASK == HTTP_REQUEST else hint


@lean
def _rare_hint(buf, o, cap, length):
    """The hint of a payload that begins with a control character: SOCKS, or a PROXY header of version 2."""
    if byte(buf, o) == 13:
        return _proxy_hint(buf, o, cap, length) if be32(buf, o) == 0x0D0A0D0A else np.int64(0)
    return _socks_hint(buf, o, cap, length)


@lean
def segment_hint(buf, o, cap, length):
    """:func:`payload_hint` of two bytes or more, and NO_HELLO."""
    hint = payload_hint(buf, o, cap, length)
    b = byte(buf, o)
    # a handshake record, ChangeCipherSpec, and what the two versions of a PROXY header begin with (tls.look)
    return hint if b == 22 or b == 20 or b == 80 or b == 13 else hint | NO_HELLO


@lean
def payload_hint(buf, o, cap, length):
    """The hint of a payload at ``buf[o:o+cap]`` that is ``length`` bytes on the wire."""
    if cap < 4:
        return _socks_hint(buf, o, cap, length) if cap >= 2 else np.int64(0)
    b = byte(buf, o)
    if 20 <= b <= 23:
        if cap >= 5 and byte(buf, o + 1) == 3 and byte(buf, o + 2) <= 4 and be16(buf, o + 3) <= TLS_MAX_RECORD:
            return _tls_hint(buf, o, cap, length)
        return _cut_tls_hint(buf, o, length) if cap == 4 and length > 4 else np.int64(0)
    # C .. U. Encrypted bytes may be anything, so few branches lead here: a mispredicted one in ten costs more than the work.
    if b < 67 or b > 85:
        return _rare_hint(buf, o, cap, length) if b <= 13 else np.int64(0)
    w = be32(buf, o)
    if w == 0x50524F58:  # PROX
        return _proxy_hint(buf, o, cap, length)
    if w == 0x5353482D:  # SSH-
        return np.int64(SSH)
    if w == _HTTP:
        status = status_line(buf, o, cap)
        if status < 0:
            return np.int64(0)
        more = np.int64(0)
        for i in range(o + 12, o + min(cap, MORE_WITHIN) - 12):
            if byte(buf, i) == 72 and more < MAX_MORE and status_line(buf, i, o + cap - i) >= 200:
                more += 1
        return np.int64(HTTP_RESPONSE) | status << STATUS_SHIFT | more << MORE_SHIFT
    if w == 0x50524920:  # "PRI " of the HTTP/2 preface, RFC 9113 3.4
        return np.int64(HTTP2_PREFACE)
    return _http_request(buf, o, cap)
