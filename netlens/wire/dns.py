"""DNS messages: bytes to one row of numbers and the texts beside it.

Decides: what a message asks (name, type, class of its first question), what it answers (result code, the CNAME chain from the question on,
the records at its end), and whether something in it was cut or malformed. Nothing is remembered from one message to the next.

Cannot see: questions after the first (two questions in one message are not used in practice, RFC 9619; mDNS does send them, and then the
first one names the row), encrypted DNS, what a record's type means beyond the types listed at :func:`_put_rdata`.

How it works
------------
1. A message is parsed where it lies, ``buf[off:off + cap]``; texts go to a growing byte *arena*, which the caller makes large enough
   (:func:`room`) before each call. A row holds their offsets. There is no Python object per message.
2. A name is written in presentation form (RFC 1035 5.1) and hashed in wire form, lower case (RFC 4343), so that names are compared as one
   number.
3. A compression pointer must point before the piece of the name that holds it (RFC 1035 4.1.4: "a prior occurrence"). Each jump goes
   strictly backwards, there are at most :data:`MAX_POINTERS`, and each label counts against 255 octets, so no message can make a loop or a
   long walk.
4. What one message may add to the arena is bounded by :func:`room`: compressed names in many records cannot blow up memory.
5. Damage ends the reading, not the row: what was read before it stays, and :data:`ANSWERS_CUT` is set.

Answers lie in the arena one after the other as ``kind (1 byte), type (2), length (2), data``; kind is :data:`CNAME_STEP` or :data:`FINAL`.
Data is the 4 or 16 raw bytes of an address of type A or AAAA (text is made once per distinct address), or finished ASCII text of any other
type.
"""

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.loads import be16, be32, byte

# The message matrix: one row per message (mDNS: one per name and type answered). The first eight columns say which datagram it was.
FRAME = 0  #: frame number
TS = 1  #: capture time, ns
SRC_HI, SRC_LO, DST_HI, DST_LO = 2, 3, 4, 5  #: addresses, as in the packet matrix
PORTS = 6  #: IP version << 32 | source port << 16 | destination port
IFACE = 7  #: capture interface
#: transaction id | flags word << 16 | upper bits of the result code << 32 | transport << 40 | status << 42 | number of questions << 46
META = 8
QUESTION = 9  #: type | class << 16 | bytes of the name's text << 32
NAME = 10  #: where the name's text starts in the arena
HASH = 11  #: hash of the lower-cased name; 0 without a readable question
ANSWER = 12  #: where the answers start in the arena << 20 | their bytes
MESSAGE_WIDTH = 13

UDP, TCP, MDNS = 0, 1, 2  #: transport
TRANSPORTS = ("udp", "tcp", "mdns")
QUESTION_READ = 1  #: status: the first question is whole
ANSWERS_CUT = 2  #: status: the message ended (snaplen, damage, or a bound of ours) before its records did
STRICT = 4  #: status: nothing is odd about it: how DNS is told from other traffic where the port does not say it
ON_LOOPBACK = 8  #: status: taken for DNS for its looks only, on a loopback address

CNAME_STEP, FINAL = 1, 2

#: Id and flags: with less, not even the direction is known. tshark counts such stumps on port 53 as questions, and a snaplen makes them.
MIN_MESSAGE = 4
POINTER, STOPS = -1, -2  #: what :func:`step` meets besides labels
MAX_OCTETS = 255  #: of a name (RFC 1035 2.3.4)
#: Compression pointers followed in one name. A name has at most 127 labels (255 octets), so one that needs more points at pointers to no end.
MAX_POINTERS = 128
#: CNAME steps followed. Resolvers give up at about ten; half of it would cut chains of large content networks.
MAX_CNAMES = 16
#: Records of one answer section looked at. Real ones stay below 100; a longer one is marked :data:`ANSWERS_CUT`.
MAX_RECORDS = 256
#: Rows made from one mDNS message: one per name and type it answers. Service browsing answers about 5.
MAX_OWNERS = 16
#: Columns of the scratch matrix, which has MAX_RECORDS rows.
SCRATCH_WIDTH = 6
_R_HASH, _R_TYPE, _R_DATA, _R_LEN, _R_NAME, _R_USED = 0, 1, 2, 3, 4, 5

_TYPE_CNAME, _TYPE_OPT, _TYPE_ANY = 5, 41, 255

_FNV_BASIS = np.int64(-3750763034362895579)  # FNV-1a, 64 bit, as signed numbers
_FNV_PRIME = np.int64(1099511628211)

#: Mnemonics (IANA, Domain Name System Parameters).
TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB",
    24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL",
    43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM",
    52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB",
    65: "HTTPS", 99: "SPF", 108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI",
    257: "CAA",
}  # fmt: skip
RCODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET",
    9: "NOTAUTH", 10: "NOTZONE", 11: "DSOTYPENI", 16: "BADVERS", 17: "BADKEY", 18: "BADTIME", 19: "BADMODE", 20: "BADNAME",
    21: "BADALG", 22: "BADTRUNC", 23: "BADCOOKIE",
}  # fmt: skip


def type_text(number: int) -> str:
    """Mnemonic of a record type, ``TYPEnnn`` (RFC 3597) where it has none here."""
    return TYPES.get(number, f"TYPE{number}")


def rcode_text(number: int) -> str:
    """Mnemonic of a result code, ``RCODEnnn`` where it has none."""
    return RCODES.get(number, f"RCODE{number}")


@lean
def room(cap):
    """Most bytes that a message of ``cap`` bytes adds to the arena. Escaping makes four of one; two names fit besides."""
    return 4 * cap + 2560


@lean
def _put_byte(arena, used, value, quoted):
    """One byte in presentation form; ``quoted`` for character strings, where the dot is plain and the quote is not."""
    special = value == 92 or (value == 34 if quoted else value == 46)
    if value < 32 or value > 126 or special:
        arena[used] = 92
        arena[used + 1] = 48 + value // 100
        arena[used + 2] = 48 + value // 10 % 10
        arena[used + 3] = 48 + value % 10
        return used + 4
    arena[used] = value
    return used + 1


@lean
def _put_number(arena, used, value):
    """A number from 0 in decimal."""
    digits = 1
    scale = np.int64(1)
    while value // scale >= 10:
        scale *= 10
        digits += 1
    for i in range(digits):
        arena[used + i] = 48 + value // scale % 10
        scale //= 10
    return used + digits


@inlined
def step(buf, start, end, here, bound):
    """One step along a name of the message ``buf[start:end]``, from ``here``; ``bound``: where its piece begins, before which a pointer must lead.

    Returns (bytes of the label at ``here``, 0 at the name's end, POINTER, or STOPS where it is cut or malformed; where the name goes on).
    """
    n = byte(buf, here) if here < end else np.int64(64)
    if n >= 192:
        target = start + (be16(buf, here) & 0x3FFF) if here + 2 <= end else bound
        return (np.int64(POINTER), target) if target < bound else (np.int64(STOPS), here)
    # 01 and 10 are label types nobody uses (RFC 6891 5)
    return (np.int64(STOPS), here) if n > 63 or here + 1 + n > end else (n, here + 1 + n)


@lean
def read_name(buf, start, end, pos, arena, used, limit, write):
    """Read the name at ``pos`` of the message ``buf[start:end]``.

    Returns ``(next position, bytes of arena used, hash)``; the next position is -1 if the name is malformed, cut, or (where ``write``) its
    text would pass ``limit``. The root is ".", any other name has no final dot.
    """
    here = pos
    bound = pos
    after = np.int64(-1)
    octets = np.int64(1)
    pointers = 0
    begun = used
    h = _FNV_BASIS
    while True:
        n, following = step(buf, start, end, here, bound)
        if n == STOPS:
            return np.int64(-1), begun, h
        if n == 0:
            if after < 0:
                after = following
            break
        if n == POINTER:
            pointers += 1
            if pointers > MAX_POINTERS:
                return np.int64(-1), begun, h
            if after < 0:
                after = here + 2
            here = bound = following
            continue
        octets += n + 1
        if octets > MAX_OCTETS:
            return np.int64(-1), begun, h
        h = (h ^ n) * _FNV_PRIME
        if write:
            if used + 4 * n + 1 > limit:
                return np.int64(-1), begun, h
            if used > begun:
                arena[used] = 46
                used += 1
        for i in range(here + 1, here + 1 + n):
            octet = np.int64(buf[i])
            if write:
                used = _put_byte(arena, used, octet, False)
            if 65 <= octet <= 90:
                octet += 32
            h = (h ^ octet) * _FNV_PRIME
        here = following
    if write and used == begun:
        if used >= limit:
            return np.int64(-1), begun, h
        arena[used] = 46
        used += 1
    return after, used, h


@lean
def _skip_name(buf, end, pos):
    """Position after the name at ``pos`` without following pointers, or -1."""
    while pos < end:
        n = np.int64(buf[pos])
        if n == 0:
            return pos + 1
        if n >= 192:
            return pos + 2 if pos + 2 <= end else np.int64(-1)
        if n > 63:
            return np.int64(-1)
        pos += 1 + n
    return np.int64(-1)


@lean
def _put_rdata(buf, start, end, kind, pos, n, arena, used, limit):
    """Data of one record: raw for A and AAAA, else text. Returns the new end of the arena, or -1 if it is malformed or does not fit.

    NS, CNAME, PTR, DNAME: the name. MX: preference and name. SRV: priority, weight, port, name. SOA: both names and the five numbers. TXT
    and SPF: quoted strings. All others: the generic form of RFC 3597 5, ``\\# length hexadecimal``.
    """
    stop = pos + n
    at = pos
    if kind == 1 or kind == 28:
        size = 4 if kind == 1 else 16
        if n != size or used + size > limit:
            return np.int64(-1)
        for i in range(size):
            arena[used + i] = buf[pos + i]
        return used + size
    # A name may be compressed, so it is read up to the record's end but may point anywhere before.
    if kind == 2 or kind == 5 or kind == 12 or kind == 39:
        at, used, _ = read_name(buf, start, stop, at, arena, used, limit, True)
        return used if at == stop else np.int64(-1)
    if kind == 15 or kind == 33:
        numbers = 1 if kind == 15 else 3
        if n < 2 * numbers or used + 6 * numbers > limit:
            return np.int64(-1)
        for _ in range(numbers):
            used = _put_number(arena, used, be16(buf, at))
            arena[used] = 32
            used += 1
            at += 2
        at, used, _ = read_name(buf, start, stop, at, arena, used, limit, True)
        return used if at == stop else np.int64(-1)
    if kind == 6:
        for _ in range(2):
            at, used, _h = read_name(buf, start, stop, at, arena, used, limit - 1, True)
            if at < 0:
                return np.int64(-1)
            arena[used] = 32
            used += 1
        if stop - at != 20 or used + 55 > limit:
            return np.int64(-1)
        for _ in range(5):
            used = _put_number(arena, used, be32(buf, at))
            arena[used] = 32
            used += 1
            at += 4
        return used - 1
    if kind == 16 or kind == 99:
        while at < stop:
            size = np.int64(buf[at])
            at += 1
            if at + size > stop or used + 4 * size + 3 > limit:
                return np.int64(-1)
            arena[used] = 34
            used += 1
            for i in range(at, at + size):
                used = _put_byte(arena, used, np.int64(buf[i]), True)
            arena[used] = 34
            arena[used + 1] = 32
            used += 2
            at += size
        return used - 1 if n else np.int64(-1)
    if used + 2 * n + 10 > limit:
        return np.int64(-1)
    arena[used] = 92
    arena[used + 1] = 35
    arena[used + 2] = 32
    used = _put_number(arena, used + 3, n)
    if n:
        arena[used] = 32
        used += 1
    for i in range(pos, stop):
        for half in (np.int64(buf[i]) >> 4, np.int64(buf[i]) & 15):
            arena[used] = 48 + half if half < 10 else 87 + half
            used += 1
    return used


@lean
def _put_record(buf, start, end, step, kind, pos, n, arena, used, limit):
    """One record with its five bytes of header; returns the new end of the arena, or -1."""
    if used + 5 > limit:
        return np.int64(-1)
    last = _put_rdata(buf, start, end, kind, pos, n, arena, used + 5, limit)
    size = last - used - 5
    if last < 0 or size > 65535:
        return np.int64(-1)
    arena[used] = step
    arena[used + 1] = kind >> 8
    arena[used + 2] = kind & 255
    arena[used + 3] = size >> 8
    arena[used + 4] = size & 255
    return last


@lean
def _list_records(buf, start, end, pos, count, arena, scratch):
    """Index the answer section into ``scratch``; returns ``(records, position after it or -1)``."""
    found = 0
    for _ in range(count):
        if found == MAX_RECORDS:
            return found, np.int64(-1)
        owner = pos
        pos, _u, h = read_name(buf, start, end, pos, arena, 0, 0, False)
        if pos < 0 or pos + 10 > end:
            return found, np.int64(-1)
        size = be16(buf, pos + 8)
        if pos + 10 + size > end:
            return found, np.int64(-1)
        scratch[found, _R_HASH] = h
        scratch[found, _R_TYPE] = be16(buf, pos)
        scratch[found, _R_DATA] = pos + 10
        scratch[found, _R_LEN] = size
        scratch[found, _R_NAME] = owner
        scratch[found, _R_USED] = 0
        found += 1
        pos += 10 + size
    return found, pos


@lean
def parse_message(buf, off, cap, length, transport, arena, used, row, scratch):
    """Parse the message ``buf[off:off + cap]`` (``length`` bytes on the wire) into ``row``, columns META to ANSWER.

    Parameters
    ----------
    buf : uint8 array
    transport : int
        UDP, TCP or MDNS.
    arena, used : uint8 array, int
        Where texts go and how much of it is used; at least ``room(cap)`` bytes must be free.
    row : int64[MESSAGE_WIDTH]
    scratch : int64[MAX_RECORDS, SCRATCH_WIDTH]

    Returns
    -------
    (used, records) : (int, int)
        The new end of the arena, or -1 if not even id and flags are there; and the records of the answer section indexed in ``scratch``
        (only of a response). Of a message cut inside its header, id and flags are all that is known.
    """
    if cap < MIN_MESSAGE:
        return np.int64(-1), 0
    end = off + cap
    limit = used + room(cap)
    flags = be16(buf, off + 2)
    if cap < 12:
        row[META] = be16(buf, off) | flags << 16 | transport << 40 | ANSWERS_CUT << 42
        row[QUESTION] = 0
        row[NAME] = used
        row[HASH] = 0
        row[ANSWER] = used << 20
        return used, 0
    questions = be16(buf, off + 4)
    is_answer = flags >> 15
    status = np.int64(0)
    upper = np.int64(0)
    qtype = np.int64(0)
    qclass = np.int64(0)
    size = np.int64(0)
    name_at = used
    h = np.int64(0)
    records = 0
    pos = off + 12
    whole = True
    if questions:
        after, text_end, hashed = read_name(buf, off, end, pos, arena, used, limit, True)
        if after >= 0 and after + 4 <= end:
            qtype = be16(buf, after)
            qclass = be16(buf, after + 2)
            if transport == MDNS:
                qclass &= 0x7FFF  # the top bit asks for a unicast answer (RFC 6762 5.4)
            size = text_end - used
            used = text_end
            h = hashed if hashed != 0 else np.int64(1)
            status |= QUESTION_READ
            pos = after + 4
        else:
            whole = False
        for _ in range(1, questions):
            if whole:
                pos = _skip_name(buf, end, pos)
                whole = 0 <= pos <= end - 4
                pos += 4
    answer_at = used
    if whole:
        answers = be16(buf, off + 6)
        if is_answer:
            records, pos = _list_records(buf, off, end, pos, answers, arena, scratch)
            if transport != MDNS and status & QUESTION_READ:
                used, fits = _put_chain(buf, off, end, qtype, h, records, arena, used, limit, scratch)
                whole = fits
            answers = 0
        rest = answers + be16(buf, off + 8) + be16(buf, off + 10)
        for _ in range(rest):
            if pos >= 0:
                pos = _skip_name(buf, end, pos)
                if pos >= 0:
                    if pos + 10 > end:
                        pos = np.int64(-1)
                    else:
                        if be16(buf, pos) == _TYPE_OPT:
                            upper = np.int64(buf[pos + 4])  # RFC 6891 6.1.3
                        pos += 10 + be16(buf, pos + 8)
                        if pos > end:
                            pos = np.int64(-1)
            if pos < 0:
                break
        whole = whole and pos >= 0
    if not whole:
        status |= ANSWERS_CUT
    # Z must be zero (the two bits beside it belong to DNSSEC), a query has no result and no answers, and nothing follows the last record.
    odd = (
        flags & 0x40 or questions != 1 or not status & QUESTION_READ or (qclass != 1 and qclass != 3 and qclass != 255) or flags >> 11 & 15
    )
    if not is_answer:
        odd = odd or flags & 0x048F or be16(buf, off + 6) or be16(buf, off + 8) or be16(buf, off + 10) > 2
    if cap == length:
        odd = odd or not whole or pos != end
    if not odd:
        status |= STRICT
    row[META] = be16(buf, off) | flags << 16 | upper << 32 | transport << 40 | status << 42 | questions << 46
    row[QUESTION] = qtype | qclass << 16 | size << 32
    row[NAME] = name_at
    row[HASH] = h
    row[ANSWER] = answer_at << 20 | (used - answer_at)
    return used, records


@lean
def _put_chain(buf, start, end, qtype, h, records, arena, used, limit, scratch):
    """Follow CNAMEs from the name ``h`` through the indexed records, then take the records of the type asked for at its end.

    The order of the records does not matter. Returns ``(used, whether everything fitted)``.
    """
    fits = True
    if qtype != _TYPE_CNAME and qtype != _TYPE_ANY:
        for _ in range(MAX_CNAMES):
            hit = -1
            for i in range(records):
                if scratch[i, _R_TYPE] == _TYPE_CNAME and scratch[i, _R_HASH] == h and scratch[i, _R_USED] == 0:
                    hit = i
                    break
            if hit < 0:
                break
            at = scratch[hit, _R_DATA]
            size = scratch[hit, _R_LEN]
            last = _put_record(buf, start, end, CNAME_STEP, _TYPE_CNAME, at, size, arena, used, limit)
            if last < 0:
                return used, False
            used = last
            scratch[hit, _R_USED] = 1
            _p, _u, h = read_name(buf, start, at + size, at, arena, 0, 0, False)
    for i in range(records):
        if scratch[i, _R_HASH] == h and (scratch[i, _R_TYPE] == qtype or qtype == _TYPE_ANY):
            kind = scratch[i, _R_TYPE]
            last = _put_record(buf, start, end, FINAL, kind, scratch[i, _R_DATA], scratch[i, _R_LEN], arena, used, limit)
            if last < 0:
                fits = False  # one odd record hides no other
            else:
                used = last
    return used, fits


@lean
def next_owner(buf, off, cap, records, arena, used, limit, row, scratch):
    """Rewrite ``row`` of an mDNS response to the next name and type that it answers, as if that had been its question.

    A multicast response repeats no question (RFC 6762 6), so each name and type it answers is matched on its own. Returns the new end of
    the arena, or -1 if no record is left or the next one does not fit below ``limit``.
    """
    end = off + cap
    for i in range(records):
        if scratch[i, _R_USED] == 0:
            kind = scratch[i, _R_TYPE]
            h = scratch[i, _R_HASH]
            name_at = used
            after, used, _h = read_name(buf, off, end, scratch[i, _R_NAME], arena, used, limit, True)
            if after < 0:
                return np.int64(-1)
            answer_at = used
            for j in range(i, records):
                if scratch[j, _R_TYPE] == kind and scratch[j, _R_HASH] == h:
                    scratch[j, _R_USED] = 1
                    last = _put_record(buf, off, end, FINAL, kind, scratch[j, _R_DATA], scratch[j, _R_LEN], arena, used, limit)
                    if last >= 0:
                        used = last
            row[META] |= QUESTION_READ << 42
            row[QUESTION] = kind | np.int64(1) << 16 | (answer_at - name_at) << 32
            row[NAME] = name_at
            row[HASH] = h if h != 0 else np.int64(1)
            row[ANSWER] = answer_at << 20 | (used - answer_at)
            return used
    return np.int64(-1)
