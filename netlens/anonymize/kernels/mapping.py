"""What takes addresses, hardware addresses, random values and names to others of the same length.

IP addresses are looked up in a table that :mod:`netlens.anonymize.addresses` fills: one that is not in it is noted in ``missing``, and the frame
is done again once it is known. Everything else is computed where it is met.

Names
-----
1. A name is mapped label by label. A label's image depends on the label and on the *suffix* behind it, not on what stands before it: so names that
   share a suffix share its image, compression pointers stay right, and ``www`` is not the same word under every domain.
2. Its length stays, and so does its class: *host* (letters, digits and hyphens as in a host name, at least one letter), *digits*, or *other* (with an
   underscore, say). Within length and class the map is one to one for labels of up to :data:`EXACT` characters; longer ones are hashed, and
   meet by chance only. Capital letters become small ones, bytes that no host name has vanish.
3. A suffix is known by a chain of hashes from the root. A label whose chain is among ``kept`` is left as it is.
"""

from typing import NamedTuple

import numpy as np

from netlens.anonymize.kernels.checksums import put
from netlens.anonymize.kernels.prf import permute, sip_bytes, sip_words
from netlens.columns import Array
from netlens.wire.compiled import kernel
from netlens.wire.loads import be16, be32, be64
from netlens.wire.numbering import mix

# Places of ``state``.
MISSED, EPOCH, SEED = 0, 1, 2
STATE = 3
# Columns of ``table``, a hash table with a power of two of rows: address as two halves, version (0: free), image.
T_HI, T_LO, T_VERSION, T_NEW_HI, T_NEW_LO = 0, 1, 2, 3, 4
TABLE_WIDTH = 5
# Places of ``keys``, two words each.
K_NAMES, K_RANDOMS, K_MACS, K_TEXTS = 0, 2, 4, 6
KEYS = 8

MESSAGE = 65536  #: longest message whose labels are remembered by position
EXACT = 12  #: 38 ** 12 fits int64
_SYMBOLS = 38
_LETTERS, _ALNUM, _HYPHEN, _UNDERSCORE = 26, 36, 36, 37
_HOST, _DIGITS, _OTHER = 0, 1, 2
ROOT = np.uint64(0x6E65746C656E73)


class Maps(NamedTuple):
    """All that the kernels need to know. ``seen`` counts, per entry of ``known``, how often a server name ended with it."""

    keys: Array  # uint64[KEYS]
    kept: Array  # uint64[:], chains of suffixes that stay
    known: Array  # uint64[:], chains of suffixes that are counted
    seen: Array  # int64[:]
    nibbles: Array  # uint64[1], chain of the suffix under which a label of one character is a hexadecimal digit: ip6.arpa
    table: Array  # int64[:, TABLE_WIDTH]
    missing: Array  # int64[:, 3]
    state: Array  # int64[STATE]
    chains: Array  # uint64[MESSAGE], of the label at each position of the message
    marks: Array  # int64[MESSAGE], in which message that was written
    spots: Array  # int64[128], where the labels of a name begin


# ---- addresses ----


@kernel
def slot_of(table, hi, lo, version, seed):
    """Row of an address, or the free one where it belongs."""
    mask = len(table) - 1
    slot = mix(mix(mix(seed, hi), lo), version) & mask
    while table[slot, T_VERSION] != 0 and (table[slot, T_HI] != hi or table[slot, T_LO] != lo or table[slot, T_VERSION] != version):
        slot = (slot + 1) & mask
    return slot


@kernel
def enter(table, seed, keys, images):
    """Put ``images`` (int64[n, 2]) of addresses ``keys`` (int64[n, 3]) into the table."""
    for i in range(len(keys)):
        slot = slot_of(table, keys[i, 0], keys[i, 1], keys[i, 2], seed)
        table[slot, T_HI], table[slot, T_LO], table[slot, T_VERSION] = keys[i, 0], keys[i, 1], keys[i, 2]
        table[slot, T_NEW_HI], table[slot, T_NEW_LO] = images[i, 0], images[i, 1]


@kernel
def _image(m, hi, lo, version):
    slot = slot_of(m.table, hi, lo, version, m.state[SEED])
    if m.table[slot, T_VERSION] != 0:
        return m.table[slot, T_NEW_HI], m.table[slot, T_NEW_LO]
    n = m.state[MISSED]
    if n < len(m.missing):
        m.missing[n, 0], m.missing[n, 1], m.missing[n, 2] = hi, lo, version
    m.state[MISSED] = n + 1
    return np.int64(0), np.int64(0)


@kernel
def map_v4(buf, at, out, to, m):
    _hi, lo = _image(m, np.int64(0), be32(buf, at), np.int64(4))
    put(out, to, lo, 4)


@kernel
def map_v6(buf, at, out, to, m):
    hi, lo = _image(m, be64(buf, at), be64(buf, at + 8), np.int64(6))
    put(out, to, hi, 8)
    put(out, to + 8, lo, 8)


# ---- hardware addresses ----


@kernel
def map_mac(buf, at, out, to, m):
    """Six bytes. Who made a card is hidden too; the bits "group" and "local" stay, and with them well-known groups and the address of nobody."""
    value = be16(buf, at) << 32 | be32(buf, at + 2)
    k0, k1 = m.keys[K_MACS], m.keys[K_MACS + 1]
    if value == 0 or value == 0xFFFFFFFFFFFF or value >> 24 == 0x0180C2:
        image = value
    elif value >> 23 == 0x01005E << 1:  # a group of IPv4 (RFC 1112 6.4): its lower 23 bits are the address's
        low = value & 0x7FFFFF
        image = value if low < 512 else (value & ~np.int64(0x7FFFFF)) | permute(low, 4096, 2048, np.uint64(1), k0, k1)
    elif value >> 32 == 0x3333:  # of IPv6 (RFC 2464 7); ff and 24 bits are of a host's address
        low = value & 0xFFFFFFFF
        if low < 65536:
            image = value
        elif low >> 24 == 255:
            image = (value & ~np.int64(0xFFFFFF)) | permute(low & 0xFFFFFF, 4096, 4096, np.uint64(2), k0, k1)
        else:
            image = (value & ~np.int64(0xFFFFFFFF)) | permute(low, 65536, 65536, np.uint64(3), k0, k1)
    else:
        bits = value >> 40 & 3
        rest = value >> 42 << 40 | value & 0xFFFFFFFFFF
        rest = permute(rest, 1 << 23, 1 << 23, np.uint64(4 + bits), k0, k1)
        image = rest >> 40 << 42 | bits << 40 | rest & 0xFFFFFFFFFF
    put(out, to, image, 6)


# ---- random values ----


@kernel
def map_random(buf, at, n, out, to, m):
    """``n`` bytes that are random anyway: others that depend on them, so that what is equal stays equal."""
    k0, k1 = m.keys[K_RANDOMS], m.keys[K_RANDOMS + 1]
    for start in range(0, n, 8):
        word = sip_bytes(k0, k1, np.uint64(start + 1), buf, at, n, False)
        for i in range(start, min(start + 8, n)):
            out[to + i] = np.uint8(np.int64(word >> np.uint64(8 * (i - start))) & 255)


@kernel
def hash_text(buf, at, n, m):
    return sip_bytes(m.keys[K_TEXTS], m.keys[K_TEXTS + 1], np.uint64(0), buf, at, n, False)


# ---- names ----


@kernel
def chain(parent, buf, at, n, m):
    """The chain of the suffix that begins with the label ``buf[at:at + n]`` and goes on with the one whose chain is ``parent``."""
    return sip_bytes(m.keys[K_NAMES], m.keys[K_NAMES + 1], parent, buf, at, n, True)


@kernel
def is_in(values, value):
    for each in values:  # noqa: SIM110 -- numba knows no generator expressions
        if each == value:
            return True
    return False


@kernel
def _symbol(byte):
    """Number of a character of host names, folded to small letters; 38 for any other."""
    if 97 <= byte <= 122:
        return byte - 97
    if 65 <= byte <= 90:
        return byte - 65
    if 48 <= byte <= 57:
        return byte - 22
    if byte == 45:
        return np.int64(_HYPHEN)
    if byte == 95:
        return np.int64(_UNDERSCORE)
    return np.int64(_SYMBOLS)


@kernel
def _character(symbol):
    if symbol < _LETTERS:
        return np.uint8(97 + symbol)
    if symbol < _ALNUM:
        return np.uint8(22 + symbol)
    return np.uint8(45) if symbol == _HYPHEN else np.uint8(95)


@kernel
def _class_of(value, n):
    """Class of the label of ``n`` symbols that ``value`` writes in base 38, the first symbol highest."""
    letters, digits, marks, edge = 0, 0, 0, False
    for i in range(n):
        symbol = value % _SYMBOLS
        value //= _SYMBOLS
        if symbol < _LETTERS:
            letters += 1
        elif symbol < _ALNUM:
            digits += 1
        elif symbol == _UNDERSCORE:
            marks += 1
        elif i == 0 or i == n - 1:
            edge = True
    if digits == n:
        return _DIGITS
    return _HOST if marks == 0 and not edge and letters > 0 else _OTHER


@kernel
def map_label(buf, at, n, parent, out, to, m):
    """The image of a label of ``n`` > 0 bytes under the suffix ``parent``."""
    k0, k1 = m.keys[K_NAMES], m.keys[K_NAMES + 1]
    value = np.int64(0)
    plain, digits = True, True
    for i in range(n):
        symbol = _symbol(np.int64(buf[at + i]))
        plain = plain and symbol < _SYMBOLS
        digits = digits and _LETTERS <= symbol < _ALNUM
        if n <= EXACT:
            value = value * _SYMBOLS + min(symbol, _SYMBOLS - 1)
    tweak = parent ^ np.uint64(n)
    if n > EXACT or not plain:
        lead = n > 1 and buf[at] == 95
        word = np.uint64(0)
        own = sip_bytes(k0, k1, ~tweak, buf, at, n, True)
        for i in range(n):
            if i % 8 == 0:
                word = sip_words(k0, k1, own, np.uint64(i + 1))
            part = np.int64(word >> np.uint64(8 * (i % 8))) & 255
            if digits:
                out[to + i] = np.uint8(48 + part % 10)
            elif i == 0 and lead:
                out[to] = np.uint8(95)
            else:
                out[to + i] = _character(part % _LETTERS if i == 0 else part % _ALNUM)
        return
    if digits:
        number = np.int64(0)
        for i in range(n):
            number = number * 10 + np.int64(buf[at + i]) - 48
        number = permute(number, np.int64(10) ** ((n + 1) // 2), np.int64(10) ** (n // 2), ~tweak, k0, k1)
        for i in range(n - 1, -1, -1):
            out[to + i] = np.uint8(48 + number % 10)
            number //= 10
        return
    a, b = np.int64(_SYMBOLS) ** ((n + 1) // 2), np.int64(_SYMBOLS) ** (n // 2)
    wanted = _class_of(value, n)
    while True:  # walk the cycle until the class is the same again: the map stays one to one within the class
        value = permute(value, a, b, tweak, k0, k1)
        if _class_of(value, n) == wanted:
            break
    for i in range(n - 1, -1, -1):
        out[to + i] = _character(value % _SYMBOLS)
        value //= _SYMBOLS


@kernel
def map_nibble(buf, at, n, parent, out, to, m):
    """A label of a reverse name of IPv6 (RFC 3596 2.5): of sixteen digits, so that whether it was a letter is hidden; returns whether it is one."""
    symbol = _symbol(np.int64(buf[at]))
    if n != 1 or not (symbol < 6 or _LETTERS <= symbol < _ALNUM):
        return False
    value = symbol + 10 if symbol < 6 else symbol - _LETTERS
    value = permute(value, 4, 4, ~parent, m.keys[K_NAMES], m.keys[K_NAMES + 1])
    out[to] = _character(value - 10 if value >= 10 else value + _LETTERS)
    return True


@kernel
def map_dotted(buf, at, n, out, to, m):
    """A name as text with dots (a server name of TLS, a text of ours). Empty labels stay empty."""
    parent, reverse = ROOT, False
    end = n
    if n > 0 and buf[at + n - 1] == 46:  # the final dot of an absolute name
        out[to + n - 1] = np.uint8(46)
        end = n - 1
    stop = end
    for i in range(end - 1, -2, -1):
        if i < 0 or buf[at + i] == 46:
            if i >= 0:
                out[to + i] = np.uint8(46)
            size = stop - i - 1
            if size > 0:
                parent_here = parent
                parent = chain(parent_here, buf, at + i + 1, size, m)
                if is_in(m.kept, parent):
                    for j in range(i + 1, stop):
                        byte = buf[at + j]
                        out[to + j] = np.uint8(byte + 32) if 65 <= byte <= 90 else byte
                elif not (reverse and map_nibble(buf, at + i + 1, size, parent_here, out, to + i + 1, m)):
                    map_label(buf, at + i + 1, size, parent_here, out, to + i + 1, m)
                reverse = reverse or parent == m.nibbles[0]
                for j in range(len(m.known)):
                    if m.known[j] == parent:
                        m.seen[j] += 1
            stop = i
    return parent
