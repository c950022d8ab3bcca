"""Text of IP addresses that are held as two 64-bit halves, as the packet matrix holds them.

A capture has few distinct addresses and many rows, so a column is first reduced to its distinct values, these are written once, and the
rows share the strings. IPv4 is written by a kernel (a resolver's capture can hold a million distinct addresses); IPv6 by :mod:`ipaddress`,
which writes RFC 5952 text. The version cannot be seen from the halves: an IPv4 address and the IPv4-mapped IPv6 address have the same bits.
"""

import os
from typing import TypeVar

import numpy as np

from netlens.arrays import uninitialized
from netlens.columnar import Coded
from netlens.columns import Array
from netlens.wire.columns import V4_PREFIX
from netlens.wire.compiled import inlined, kernel, lean

P = TypeVar("P", int, Array)

_MASK64 = (1 << 64) - 1
SLOTS = 4096  #: of the table of distinct addresses, at first


def random_seed() -> np.int64:
    """Seed of a hash table's slots: from the system, so that nobody can make a capture whose keys all fall on one slot."""
    return np.int64(int.from_bytes(os.urandom(8), "little", signed=True))


def other_way(ports: P) -> P:
    """The column PORTS of packets that go the other way."""
    return ports >> 32 << 32 | (ports & 0xFFFF) << 16 | ports >> 16 & 0xFFFF


#: The same in a kernel.
ports_back = inlined(other_way)


@lean
def mix(h, value):
    """One 64-bit hash step over int64 values; wraps on purpose. The factor is 2^64 / golden ratio as a signed number."""
    x = (h ^ value) * np.int64(-7046029254386353131)
    return x ^ ((x >> np.int64(29)) & np.int64(0x7FFFFFFFF))


@lean
def _slot_of(hi, lo, version, i, table, first, seed):
    """Where the address of row ``i`` is in ``table``, or belongs."""
    mask = len(table) - 1
    slot = mix(mix(mix(seed, hi[i]), lo[i]), version[i]) & mask
    while table[slot] >= 0:
        j = first[table[slot]]
        if hi[j] == hi[i] and lo[j] == lo[i] and version[j] == version[i]:
            break
        slot = (slot + 1) & mask
    return slot


@lean
def _distinct(hi, lo, version, i, found, table, ids, first, seed):
    """Number rows from ``i`` on by their distinct (hi, lo, version); ``first`` gets the row where each was met.

    Returns ``(next row, how many there are)``; the next row is below ``len(hi)`` if ``table`` must grow first.
    """
    while i < len(hi):
        slot = _slot_of(hi, lo, version, i, table, first, seed)
        if table[slot] < 0:
            if 2 * found >= len(table):
                return i, found
            table[slot] = found
            first[found] = i
            found += 1
        ids[i] = table[slot]
        i += 1
    return i, found


@lean
def _refill(hi, lo, version, found, table, first, seed):
    for k in range(found):
        table[_slot_of(hi, lo, version, first[k], table, first, seed)] = k


@kernel
def _write_v4(lo, out):
    """Dotted quads, one a line; returns the bytes used."""
    at = 0
    for i in range(len(lo)):
        for shift in range(24, -1, -8):
            octet = (lo[i] >> shift) & 255
            if octet >= 100:
                out[at] = 48 + octet // 100
                at += 1
            if octet >= 10:
                out[at] = 48 + octet // 10 % 10
                at += 1
            out[at] = 48 + octet % 10
            out[at + 1] = 46
            at += 2
        out[at - 1] = 10
    return at


def ip_text(hi: int, lo: int, version: int) -> str:
    """Text of one address.

    Parameters
    ----------
    hi, lo : int
        Bit patterns of the upper and lower 64 bits (signed or unsigned); of an IPv4 address only the lowest 32 bits are read.
    version : int
        4, or anything else for 6.
    """
    if version == 4:
        return f"{lo >> 24 & 255}.{lo >> 16 & 255}.{lo >> 8 & 255}.{lo & 255}"
    import ipaddress

    address = ipaddress.IPv6Address((int(hi) & _MASK64) << 64 | int(lo) & _MASK64)
    mapped = address.ipv4_mapped
    # RFC 5952 section 5: the mapped prefix is well known, so its tail is dotted. ipaddress does so from Python 3.13 on only.
    return f"::ffff:{mapped}" if mapped is not None else str(address)


def ip_halves(ip: str) -> tuple[int, int]:
    """The bit patterns of an address, as the packet matrix holds them: two signed numbers."""
    import ipaddress

    address = ipaddress.ip_address(ip)
    if address.version == 4:
        return 0, V4_PREFIX | int(address)
    high, low = int(address) >> 64, int(address) & _MASK64
    return high - (high >> 63 << 64), low - (low >> 63 << 64)


def distinct(hi: Array, lo: Array, version: Array) -> tuple[Array, Array]:
    """Distinct addresses of a column: ``(ids, first)``, the number of each row's address and the row where that address was first met."""
    hi, lo, version = (np.ascontiguousarray(x, np.int64) for x in (hi, lo, version))
    n, seed = len(hi), random_seed()
    # most columns have few addresses: a table that grows with them stays in a core's cache
    table = np.full(SLOTS, -1, np.int64)
    ids, first = uninitialized(np.int64, n), uninitialized(np.int64, n)
    i = found = 0
    while True:
        i, found = _distinct(hi, lo, version, i, found, table, ids, first, seed)
        if i >= n:
            return ids, first[:found]
        table = np.full(4 * len(table), -1, np.int64)
        _refill(hi, lo, version, found, table, first, seed)


def ip_column(hi: Array, lo: Array, version: Array | int) -> Coded:
    """A column of addresses as text.

    Parameters
    ----------
    hi, lo : int64 arrays
    version : int64 array or int
        4 or 6 per row, or one for all.
    """
    if len(hi) == 0:
        return Coded(np.empty(0, np.int64), np.empty(0, object))
    versions = np.broadcast_to(np.asarray(version, np.int64), (len(hi),))
    ids, first = distinct(hi, lo, versions)
    return Coded(ids, distinct_texts(np.asarray(hi)[first], np.asarray(lo)[first], versions[first]))


def distinct_texts(hi: Array, lo: Array, version: Array) -> Array:
    """Object array of the texts of addresses of which each is there once."""
    texts = np.empty(len(hi), object)
    is_v4 = version == 4
    v4 = np.ascontiguousarray(lo[is_v4], np.int64)
    if len(v4):
        out = np.empty(16 * len(v4), np.uint8)
        used = _write_v4(v4, out)
        texts[is_v4] = out[: used - 1].tobytes().decode("ascii").split("\n")
    for i in np.flatnonzero(~is_v4):
        texts[i] = ip_text(int(hi[i]), int(lo[i]), 6)
    return texts


def ip_texts(hi: Array, lo: Array, version: Array | int) -> Array:
    """The same as an object array of str; equal addresses share one string."""
    return ip_column(hi, lo, version).objects()
