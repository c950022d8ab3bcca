"""Keyed functions in compiled code: SipHash-2-4, and permutations of small sets made from it.

SipHash (Aumasson and Bernstein, 2012) is a pseudo-random function for short inputs: without its 128-bit key nobody can tell its results from
random ones, nor compute them for a guess. A *permutation* maps a set onto itself, so that two things that differ stay different; it is a Feistel
network whose round function is SipHash (Luby and Rackoff, 1988; on sets that are no power of two as in Black and Rogaway, 2002).

Limits: the permutation of a set of a few hundred hides which element is which, as far as its key is secret; it cannot hide that there were so few.
"""

import numpy as np

from netlens.wire.compiled import kernel

ROUNDS = 10  #: of the Feistel network, as in NIST's FF1 (SP 800-38G); four are proven for large sets, small ones want more
SMALL = 64  #: sets up to this size are ordered by a keyed hash instead: a perfect random order, which a network of two tiny halves is not

_V0, _V1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
_V2, _V3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)


@kernel
def _rounds(v0, v1, v2, v3, times):
    for _ in range(times):
        v0 += v1
        v1 = (v1 << np.uint64(13)) | (v1 >> np.uint64(51))
        v1 ^= v0
        v0 = (v0 << np.uint64(32)) | (v0 >> np.uint64(32))
        v2 += v3
        v3 = (v3 << np.uint64(16)) | (v3 >> np.uint64(48))
        v3 ^= v2
        v0 += v3
        v3 = (v3 << np.uint64(21)) | (v3 >> np.uint64(43))
        v3 ^= v0
        v2 += v1
        v1 = (v1 << np.uint64(17)) | (v1 >> np.uint64(47))
        v1 ^= v2
        v2 = (v2 << np.uint64(32)) | (v2 >> np.uint64(32))
    return v0, v1, v2, v3


@kernel
def _last(v0, v1, v2, v3, word):
    """The last word of SipHash, and what it all comes to."""
    v3 ^= word
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 4)
    return v0 ^ v1 ^ v2 ^ v3


@kernel
def sip_bytes(k0, k1, first, buf, at, n, fold):
    """SipHash-2-4 of the word ``first`` (8 bytes, little endian) and ``buf[at:at + n]``; ``fold``: capital letters count as small ones."""
    v0, v1, v2, v3 = k0 ^ _V0, k1 ^ _V1, k0 ^ _V2, k1 ^ _V3
    v3 ^= first
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
    v0 ^= first
    word = np.uint64(0)
    filled = 0
    for i in range(at, at + n):
        byte = np.int64(buf[i])
        if fold and 65 <= byte <= 90:
            byte += 32
        word |= np.uint64(byte) << np.uint64(8 * filled)
        filled += 1
        if filled == 8:
            v3 ^= word
            v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
            v0 ^= word
            word = np.uint64(0)
            filled = 0
    return _last(v0, v1, v2, v3, word | np.uint64((n + 8) & 255) << np.uint64(56))


@kernel
def sip_words(k0, k1, first, second):
    """SipHash-2-4 of 16 bytes, given as two words."""
    v0, v1, v2, v3 = k0 ^ _V0, k1 ^ _V1, k0 ^ _V2, k1 ^ _V3
    v3 ^= first
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
    v0 ^= first
    v3 ^= second
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
    v0 ^= second
    return _last(v0, v1, v2, v3, np.uint64(16) << np.uint64(56))


@kernel
def below(word, limit):
    """A number below ``limit`` (int64) from 64 random bits; the bias is at most limit / 2**63."""
    return np.int64(word >> np.uint64(1)) % limit


@kernel
def permute(value, a, b, tweak, k0, k1):
    """Where the permutation ``tweak`` of the numbers below ``a * b`` takes ``value``; a >= b >= 1, and ``a * b`` fits int64."""
    if a * b <= SMALL:
        own = sip_words(k0, k1, tweak, np.uint64(value))
        rank = np.int64(0)
        for i in range(a * b):
            other = sip_words(k0, k1, tweak, np.uint64(i))
            if other < own or (other == own and i < value):
                rank += 1
        return rank
    left, right = value // b, value % b
    for turn in range(ROUNDS):
        salt = tweak ^ (np.uint64(turn + 1) << np.uint64(56))
        if turn & 1 == 0:
            left = (left + below(sip_words(k0, k1, salt, np.uint64(right)), a)) % a
        else:
            right = (right + below(sip_words(k0, k1, salt, np.uint64(left)), b)) % b
    return left * b + right
