"""Checksums of IP, TCP, UDP and ICMP: one that was right is right again, one that was left to the card or wrong is so again."""

import numpy as np

from netlens.wire.compiled import kernel
from netlens.wire.loads import be16

UNSET, RIGHT, PARTIAL, WRONG, PARTIAL_LSO = 0, 1, 2, 3, 4  #: what a checksum was


@kernel
def put(out, at, value, n):
    """Write a number as ``n`` bytes, the highest first."""
    for i in range(n):
        out[at + i] = np.uint8(value >> (8 * (n - 1 - i)) & 255)


@kernel
def sum_words(buf, at, n):
    total = np.int64(0)
    for i in range(at, at + n - 1, 2):
        total += np.int64(buf[i]) << 8 | np.int64(buf[i + 1])
    if n & 1:
        total += np.int64(buf[at + n - 1]) << 8
    return total


@kernel
def fold(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@kernel
def sum_pseudo(buf, ip, version, proto, length):
    """Sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1); none for ICMP of IPv4."""
    if version == 4:
        return np.int64(0) if proto == 1 else sum_words(buf, ip + 12, 8) + proto + length
    return sum_words(buf, ip + 8, 32) + proto + (length >> 16) + (length & 0xFFFF)


@kernel
def checksum_at(proto):
    return np.int64(16) if proto == 6 else np.int64(6) if proto == 17 else np.int64(2)


@kernel
def state_of(buf, ip, version, proto, t, cap, length):
    """What the checksum of a transport header at ``t`` is: one of UNSET to PARTIAL_LSO."""
    at = t + checksum_at(proto)
    if at + 2 > t + cap:
        return UNSET
    value = be16(buf, at)
    if value == 0 and proto != 6:
        return UNSET
    pseudo = sum_pseudo(buf, ip, version, proto, length)
    if cap >= length and fold(pseudo + sum_words(buf, t, length)) == 0xFFFF:
        return RIGHT
    if value == 0:
        return UNSET
    if proto == 6 or proto == 17:
        if value == fold(pseudo):
            return PARTIAL
        if value == fold(sum_pseudo(buf, ip, version, proto, np.int64(0))):
            return PARTIAL_LSO
    return RIGHT if cap < length else WRONG


@kernel
def set_checksum(out, ip, version, proto, t, cap, length, mode):
    at = t + checksum_at(proto)
    if at + 2 > t + cap:
        return
    put(out, at, np.int64(0), 2)
    if mode == UNSET:
        return
    if mode == PARTIAL or mode == PARTIAL_LSO:
        put(out, at, fold(sum_pseudo(out, ip, version, proto, length if mode == PARTIAL else np.int64(0))), 2)
        return
    value = 0xFFFF - fold(sum_pseudo(out, ip, version, proto, length) + sum_words(out, t, min(cap, length)))
    if mode == WRONG:
        value ^= 0x5A5A
    elif value == 0 and proto == 17:
        value = np.int64(0xFFFF)
    put(out, at, value, 2)
