"""TLS ClientHellos: from bytes of a TCP stream to offsets, and from offsets to the values of a row.

Decides: whether bytes begin with a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) inside TLS records (RFC 8446 5.1), where its parts are,
what server name, protocols, version and JA4 fingerprint they say.

Cannot see: the inner hello of Encrypted Client Hello (the outer name is reported), hellos in SSLv2 framing, hellos of QUIC and DTLS.

How it works
------------
1. :func:`parse_hello` strips the record headers. A message that lies in one record (nearly all do) is parsed where it is; one that spans
   records is first copied to ``scratch`` without the headers. A ChangeCipherSpec record before it is skipped: clients send one before the
   second hello that a HelloRetryRequest asks for (RFC 8446 D.4). So is a PROXY header, which load balancers put before the client's bytes.
2. Every read is checked against what is there, not against what a length field claims. All loops step by at least one byte, so no length
   can make them endless.
3. :func:`write_key` writes what version, ALPN and JA4 depend on in a canonical form: browsers permute their extensions in every hello, but
   the key stays the same, so :func:`describe_key` is computed once per kind of client and not once per hello.

Sources: JA4 by FoxIO (technical_details/JA4.md, 2023); GREASE values RFC 8701.
"""

import hashlib
import struct

import numpy as np

from netlens.wire.compiled import kernel, lean
from netlens.wire.loads import be16, be32

#: What :func:`look` and :func:`parse_hello` answer.
NOT_HELLO, INCOMPLETE, COMPLETE = 0, 1, 2

#: Longest handshake message read. The length field allows 16 MiB; no client sends even 4 KiB.
MAX_MESSAGE = 65536
#: Room that :func:`parse_hello` needs in ``scratch``: the message and its header.
SCRATCH = MAX_MESSAGE + 4
#: Record fragments may be 2^14 bytes, and 2048 more in old versions' ciphertext; a longer length is no TLS.
MAX_FRAGMENT = 16384 + 2048
#: Bytes of a server name that are kept: a DNS name has at most 253 (RFC 1035 2.3.4); what is longer is cut here.
MAX_SNI = 255
#: Extension types that :func:`write_key` sorts. Browsers send less than 25; more are left as sent, which only costs speed.
MAX_SORT = 128

# Columns of the row that parse_hello writes. Offsets index the array that WHERE names; offset and length of a missing part are -1.
WHERE = 0  #: 0: offsets are into ``buf``, 1: into ``scratch``
START = 1  #: the handshake header
TOTAL = 2  #: the length field of the handshake header
HAVE = 3  #: bytes of the message after its header that are there (<= TOTAL)
LEGACY = 4  #: legacy_version; -1 if not there
RANDOM = 5
SESSION_ID, SESSION_ID_LEN = 6, 7
CIPHERS, CIPHERS_LEN = 8, 9
EXTENSIONS, EXTENSIONS_LEN = 10, 11
SNI, SNI_LEN = 12, 13  #: the first host_name entry
ALPN, ALPN_LEN = 14, 15  #: the ProtocolNameList without its length
VERSIONS, VERSIONS_LEN = 16, 17  #: the list in supported_versions
SIGALGS, SIGALGS_LEN = 18, 19
HAS_SNI = 20  #: 1 if the server_name extension is there, even an empty one
VERSION = 21  #: highest version in supported_versions that is no GREASE, else LEGACY; -1 if unknown because the hello is cut
WELL_FORMED = 22  #: 1 if everything is there and every length fits
USED = 23  #: stream bytes from ``off`` to the end of the message (or of what is there)
HELLO_WIDTH = 24

# Flags in the third byte of a key.
KEY_SNI, KEY_WHOLE = 1, 2


@lean
def front(buf, off, end):
    """Where the records begin: behind a header of HAProxy's PROXY protocol (versions 1 and 2), else ``off``; -1 if the header is cut."""
    if off + 6 > end:
        return off
    if be32(buf, off) == 0x50524F58 and be16(buf, off + 4) == 0x5920:  # PROXY and a space
        for pos in range(off + 6, min(end, off + 107)):  # the line has at most 107 bytes
            if buf[pos] == 0x0A:
                return pos + 1
        return off if end >= off + 107 else np.int64(-1)
    if be32(buf, off) == 0x0D0A0D0A and be16(buf, off + 4) == 0x000D:
        if off + 16 > end:
            return np.int64(-1)
        if be32(buf, off + 6) == 0x0A515549 and buf[off + 10] == 0x54:
            pos = off + 16 + be16(buf, off + 14)
            return pos if pos <= end else np.int64(-1)
    return off


@kernel
def look(buf, off, cap):
    """Whether ``buf[off:off + cap]`` begins like a ClientHello: COMPLETE yes, INCOMPLETE too short to tell, NOT_HELLO no.

    Only the first bytes are looked at; :func:`parse_hello` decides.
    """
    if off < 0 or cap < 0 or off + cap > buf.shape[0]:
        return NOT_HELLO
    end = off + cap
    pos = front(buf, off, end)
    if pos < 0:
        return INCOMPLETE
    if pos == end:
        return NOT_HELLO  # a PROXY header alone in its segment: a hello after it begins the next segment
    if buf[pos] == 20:
        # One ChangeCipherSpec record: 14 03 xx 00 01 01.
        if (
            (pos + 1 < end and buf[pos + 1] != 3)
            or (pos + 3 < end and buf[pos + 3] != 0)
            or (pos + 4 < end and buf[pos + 4] != 1)
            or (pos + 5 < end and buf[pos + 5] != 1)
        ):
            return NOT_HELLO
        if pos + 6 > end:
            return INCOMPLETE
        if pos + 6 == end:
            return NOT_HELLO  # alone in its segment, as above; and most often no hello follows
        pos += 6
    if buf[pos] != 22:
        return NOT_HELLO
    if pos + 1 < end and buf[pos + 1] != 3:
        return NOT_HELLO
    if pos + 2 < end and buf[pos + 2] > 4:
        return NOT_HELLO
    if pos + 5 < end and buf[pos + 5] != 1:
        return NOT_HELLO
    if pos + 5 >= end:
        return INCOMPLETE
    # Length and version of the message, where they lie in the first record: a record in the middle of a longer message may begin with 1 by chance.
    if be16(buf, pos + 3) >= 6:
        if (pos + 6 < end and buf[pos + 6] > 1) or (pos + 9 < end and buf[pos + 9] != 3) or (pos + 10 < end and buf[pos + 10] > 4):
            return NOT_HELLO
    return COMPLETE


@kernel
def _parse_extension(buf, kind, pos, end, row):
    """Note one extension whose data is ``buf[pos:end]``; the first of a kind counts. Returns False if its inside does not fit."""
    if kind == 0:
        if row[HAS_SNI] == 1:
            return True
        row[HAS_SNI] = 1
        if pos == end:
            return True  # empty: only a server may send that, but it harms nobody
        if end - pos < 2:
            return False
        stop = pos + 2 + be16(buf, pos)
        fits = stop <= end
        stop = min(stop, end)
        pos += 2
        while pos + 3 <= stop:
            length = be16(buf, pos + 1)
            if pos + 3 + length > stop:
                return False
            if buf[pos] == 0:
                row[SNI] = pos + 3
                row[SNI_LEN] = length
                break
            pos += 3 + length
        return fits
    if kind == 16 or kind == 13:
        at = ALPN if kind == 16 else SIGALGS
        if row[at] >= 0:
            return True
        if end - pos < 2:
            return False
        length = be16(buf, pos)
        row[at] = pos + 2
        row[at + 1] = min(length, end - pos - 2)
        return length <= end - pos - 2
    if kind == 43:
        if row[VERSIONS] >= 0:
            return True
        if end - pos < 1:
            return False
        length = np.int64(buf[pos])
        row[VERSIONS] = pos + 1
        row[VERSIONS_LEN] = min(length, end - pos - 1)
        return length <= end - pos - 1
    return True


@kernel
def _parse_message(buf, start, have, total, row):
    """Fill ``row`` from the message body ``buf[start:start + have]`` that should be ``total`` long; NOT_HELLO for what cannot be one."""
    row[START] = start - 4
    row[TOTAL] = total
    row[HAVE] = have
    end = start + have
    pos = start
    if total < 38:  # version, random, empty session id, empty cipher list and one length more: nothing shorter is a hello
        return NOT_HELLO
    if have >= 1 and buf[pos] != 3:
        return NOT_HELLO
    if have >= 2:
        row[LEGACY] = be16(buf, pos)
    pos += 2
    if pos + 32 > end:
        return INCOMPLETE
    row[RANDOM] = pos
    pos += 32
    if pos + 1 > end:
        return INCOMPLETE
    length = np.int64(buf[pos])
    pos += 1
    if length > 32:
        return NOT_HELLO
    if pos + length > end:
        return INCOMPLETE
    row[SESSION_ID] = pos
    row[SESSION_ID_LEN] = length
    pos += length
    if pos + 2 > end:
        return INCOMPLETE
    length = be16(buf, pos)
    pos += 2
    if pos + length > end:
        return INCOMPLETE
    row[CIPHERS] = pos
    row[CIPHERS_LEN] = length
    pos += length
    even = length % 2 == 0
    if pos + 1 > end:
        return INCOMPLETE
    length = np.int64(buf[pos])
    pos += 1
    if pos + length > end:
        return INCOMPLETE
    pos += length
    if pos == start + total:
        # No extensions at all is legal before TLS 1.3.
        row[VERSION] = row[LEGACY]
        row[WELL_FORMED] = 1 if even else 0
        return COMPLETE
    if pos + 2 > end:
        return INCOMPLETE
    length = be16(buf, pos)
    pos += 2
    stop = min(pos + length, end)
    row[EXTENSIONS] = pos
    row[EXTENSIONS_LEN] = stop - pos
    fits = even and pos + length == start + total
    whole = pos + length <= end
    while pos + 4 <= stop:
        kind = be16(buf, pos)
        size = be16(buf, pos + 2)
        pos += 4
        if pos + size > stop:
            whole = False
            # A name that is there can be read even where its extension is cut behind it.
            if kind == 0:
                _parse_extension(buf, kind, pos, stop, row)
            break
        if not _parse_extension(buf, kind, pos, pos + size, row):
            fits = False
        pos += size
    if pos != stop:
        fits = False
    if row[VERSIONS] >= 0:
        best = np.int64(-1)
        at = row[VERSIONS]
        last = at + row[VERSIONS_LEN]
        while at + 2 <= last:
            value = be16(buf, at)
            if not ((value & 0x0F0F) == 0x0A0A and (value >> 8) == (value & 0xFF)) and value > best:
                best = value
            at += 2
        row[VERSION] = best if best >= 0 else row[LEGACY]
    elif whole:
        row[VERSION] = row[LEGACY]
    row[WELL_FORMED] = 1 if fits and whole else 0
    return COMPLETE


@kernel
def parse_hello(buf, off, cap, scratch, row):
    """Parse the ClientHello that ``buf[off:off + cap]`` begins with.

    Parameters
    ----------
    buf : uint8 array
    off, cap : int
        where the stream bytes are and how many are there
    scratch : uint8 array of SCRATCH bytes
        receives the message if it spans several records
    row : int64 array of HELLO_WIDTH
        receives the offsets, see the constants above

    Returns
    -------
    int
        COMPLETE: all bytes of the message are there (WELL_FORMED says whether its inside fits). INCOMPLETE: more bytes are needed;
        ``row`` holds what could be read so far. NOT_HELLO: no further bytes can make it one.
    """
    for i in range(HELLO_WIDTH):
        row[i] = -1
    row[WHERE] = 0
    row[HAS_SNI] = 0
    row[WELL_FORMED] = 0
    row[USED] = 0
    begins = look(buf, off, cap)
    if begins != COMPLETE:
        return begins
    end = off + cap
    pos = front(buf, off, end)
    if buf[pos] == 20:
        pos += 6
    size = be16(buf, pos + 3)
    if size == 0 or size > MAX_FRAGMENT:
        return NOT_HELLO
    pos += 5
    if size >= 4:
        # The usual case: the first record holds the header, and most often the whole message.
        if pos + 4 > end:
            return INCOMPLETE
        total = (np.int64(buf[pos + 1]) << 16) | be16(buf, pos + 2)
        if total > MAX_MESSAGE:
            return NOT_HELLO
        if total + 4 <= size:
            have = min(end - pos - 4, total)
            row[USED] = pos + 4 + have - off
            status = _parse_message(buf, pos + 4, have, total, row)
            if status == NOT_HELLO:
                return NOT_HELLO
            return COMPLETE if have == total else INCOMPLETE
    # Spread over several records: join the fragments in scratch.
    filled = np.int64(0)
    total = np.int64(-1)
    room = min(np.int64(scratch.shape[0]), np.int64(SCRATCH))
    while True:
        part = min(size, end - pos, room - filled)
        if total >= 0:
            part = min(part, total + 4 - filled)
        for i in range(part):
            scratch[filled + i] = buf[pos + i]
        filled += part
        row[USED] = pos + part - off
        if total < 0 and filled >= 4:
            total = (np.int64(scratch[1]) << 16) | be16(scratch, 2)
            if total > MAX_MESSAGE or total + 4 > room:
                return NOT_HELLO
            if filled > total + 4:
                row[USED] -= filled - total - 4
                filled = total + 4
        if total >= 0 and filled == total + 4:
            break
        pos += size
        if pos >= end:
            break
        if buf[pos] != 22 or (pos + 1 < end and buf[pos + 1] != 3):
            return NOT_HELLO  # RFC 8446 5.1: no other record may stand between the fragments
        if pos + 5 > end:
            break
        size = be16(buf, pos + 3)
        if size == 0 or size > MAX_FRAGMENT:
            return NOT_HELLO
        pos += 5
        if pos >= end:
            break
    if total < 0:
        return INCOMPLETE
    row[WHERE] = 1
    if _parse_message(scratch, np.int64(4), filled - 4, total, row) == NOT_HELLO:
        return NOT_HELLO
    return COMPLETE if filled == total + 4 else INCOMPLETE


@kernel
def _put16(out, at, value):
    out[at] = np.uint8((value >> 8) & 0xFF)
    out[at + 1] = np.uint8(value & 0xFF)
    return at + 2


@kernel
def _put_values(src, off, length, out, at):
    """Write the 16-bit values of ``src[off:off + length]`` without GREASE, their number before them. Returns the end."""
    first = at + 2
    at = first
    pos = off
    while pos + 2 <= off + length:
        if not ((src[pos] & 0x0F) == 0x0A and src[pos] == src[pos + 1]):
            out[at] = src[pos]
            out[at + 1] = src[pos + 1]
            at += 2
        pos += 2
    _put16(out, first - 2, (at - first) // 2)
    return at


@kernel
def write_key(src, row, work, out, at):
    """Write the key of a parsed hello to ``out`` from ``at``, and return its end; it takes at most the message's length and 16 bytes.

    Layout, numbers big-endian: version (2; ffff unknown), flags (1; KEY_SNI, KEY_WHOLE), ALPN list (2 + n), number of ciphers and ciphers
    as sent, number of extension types and the types in ascending order, number of signature algorithms and these as sent; all without
    GREASE.

    Parameters
    ----------
    src : uint8 array
        the array that ``row[WHERE]`` names
    work : int64 array of MAX_SORT
        scratch for the sorting
    """
    at = _put16(out, at, row[VERSION])
    out[at] = np.uint8((KEY_SNI if row[HAS_SNI] == 1 else 0) | (KEY_WHOLE if row[WELL_FORMED] == 1 else 0))
    at += 1
    length = max(row[ALPN_LEN], np.int64(0))
    at = _put16(out, at, length)
    for i in range(length):
        out[at + i] = src[row[ALPN] + i]
    at += length
    at = _put_values(src, row[CIPHERS], max(row[CIPHERS_LEN], np.int64(0)), out, at)
    first = at + 2
    at = first
    pos = row[EXTENSIONS]
    end = pos + max(row[EXTENSIONS_LEN], np.int64(0))
    count = np.int64(0)
    while pos + 4 <= end:
        kind = be16(src, pos)
        pos += 4 + be16(src, pos + 2)
        if (kind & 0x0F0F) == 0x0A0A and (kind >> 8) == (kind & 0xFF):
            continue
        if count < MAX_SORT:
            place = count
            while place > 0 and work[place - 1] > kind:
                work[place] = work[place - 1]
                place -= 1
            work[place] = kind
        else:
            _put16(out, first + 2 * count, kind)
        count += 1
    for i in range(min(count, np.int64(MAX_SORT))):
        at = _put16(out, at, work[i])
    at = first + 2 * count
    _put16(out, first - 2, count)
    return _put_values(src, row[SIGALGS], max(row[SIGALGS_LEN], np.int64(0)), out, at)


#: Versions by their number on the wire: text for the version column, and the two characters of JA4.
_VERSIONS = {
    0x0304: ("TLS1.3", "13"),
    0x0303: ("TLS1.2", "12"),
    0x0302: ("TLS1.1", "11"),
    0x0301: ("TLS1.0", "10"),
    0x0300: ("SSL3.0", "s3"),
}


def version_text(version: int) -> str:
    """``TLS1.3`` and so on; drafts of TLS 1.3 (7fnn) with their number, anything else in hexadecimal."""
    if version in _VERSIONS:
        return _VERSIONS[version][0]
    return f"TLS1.3-draft{version & 0xFF}" if version >> 8 == 0x7F else f"0x{version:04x}"


def plain(raw: bytes) -> str | None:
    """Printable ASCII as it is; None of anything else, and where there is a backslash."""
    if raw.isascii() and b"\\" not in raw:
        text = raw.decode("ascii")
        if text.isprintable():
            return text
    return None


def escape(raw: bytes) -> str:
    r"""Bytes of a stranger as data: printable ASCII as it is, everything else and the backslash as ``\xNN``."""
    text = plain(raw)
    return text if text is not None else "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in raw)


def _alpn_letters(first: bytes) -> str:
    """The two ALPN characters of JA4: first and last of the value, or of its hexadecimal form if one of them is not alphanumeric."""
    if not first:
        return "00"
    ends = first[:1] + first[-1:]
    if ends.isalnum():  # for bytes: ASCII letters and digits only
        return ends.decode("ascii")
    return first.hex()[0] + first.hex()[-1]


def _hash12(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else "0" * 12


def ja4(version: int, has_sni: bool, alpn: list[bytes], ciphers: list[int], extensions: list[int], sigalgs: list[int]) -> str:
    """The JA4 fingerprint of a hello over TCP; all lists without GREASE values."""
    kinds = ",".join(f"{e:04x}" for e in sorted(e for e in extensions if e not in (0x0000, 0x0010)))
    algorithms = ",".join(f"{s:04x}" for s in sigalgs)
    return (
        f"t{_VERSIONS.get(version, ('', '00'))[1]}{'d' if has_sni else 'i'}{min(len(ciphers), 99):02d}{min(len(extensions), 99):02d}"
        f"{_alpn_letters(alpn[0] if alpn else b'')}_{_hash12(','.join(f'{c:04x}' for c in sorted(ciphers)))}"
        f"_{_hash12(f'{kinds}_{algorithms}' if algorithms else kinds)}"
    )


def describe_key(key: bytes) -> tuple[str | None, list[str], str | None]:
    """Version, ALPN list and JA4 of a key written by :func:`write_key`.

    Version is None where the hello is cut before it is known; JA4 is None unless the hello is whole and well formed.
    """

    at = 5 + int.from_bytes(key[3:5], "big")

    def take() -> list[int]:
        nonlocal at
        count = int.from_bytes(key[at : at + 2], "big")
        start, at = at + 2, at + 2 + 2 * count
        return list(struct.unpack(f">{count}H", key[start:at]))

    version = int.from_bytes(key[:2], "big")
    flags = key[2]
    names = key[5:at]
    alpn = []
    i = 0
    while i < len(names):
        name = names[i + 1 : i + 1 + names[i]]
        i += 1 + names[i]
        if name:
            alpn.append(name)
    ciphers, extensions, sigalgs = take(), take(), take()
    fingerprint = ja4(version, bool(flags & KEY_SNI), alpn, ciphers, extensions, sigalgs) if flags & KEY_WHOLE else None
    return None if version == 0xFFFF else version_text(version), [escape(name) for name in alpn], fingerprint
