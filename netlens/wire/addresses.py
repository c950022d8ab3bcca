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
from netlens.wire.numbering import Numbered, number

P = TypeVar("P", int, Array)

_MASK64 = (1 << 64) - 1


def random_seed() -> np.int64:
    """Seed of a hash table's slots: from the system, so that nobody can make a capture whose keys all fall on one slot."""
    return np.int64(int.from_bytes(os.urandom(8), "little", signed=True))


def other_way(ports: P) -> P:
    """The column PORTS of packets that go the other way."""
    return ports >> 32 << 32 | (ports & 0xFFFF) << 16 | ports >> 16 & 0xFFFF


#: The same in a kernel.
ports_back = inlined(other_way)


@lean
def _number_all(hi, lo, version, begin, numbered, ids, seed):
    """Number rows from ``begin`` on. Returns the first that has no number, because there must be room for its address first."""
    for i in range(begin, len(hi)):
        ids[i] = number(numbered, hi[i], lo[i], version[i], np.int64(0), seed)
        if ids[i] < 0:
            return i
    return len(hi)


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
    hi, lo = (np.ascontiguousarray(x, np.int64) for x in (hi, lo))
    versions = np.ascontiguousarray(np.broadcast_to(np.asarray(version, np.int64), (len(hi),)))
    numbered, seed, ids = Numbered.room(), random_seed(), uninitialized(np.int64, len(hi))
    at = 0
    while (at := int(_number_all(hi, lo, versions, at, numbered, ids, seed))) < len(hi):
        numbered = numbered.with_room(seed)
    return Coded(ids, distinct_texts(numbered.met))


def distinct_texts(addresses: Array) -> Array:
    """object[n] of their texts.  addresses : int64[n, >= 3], the two halves and the version of each, which is there once."""
    hi, lo, version = addresses[:, 0], addresses[:, 1], addresses[:, 2]
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
