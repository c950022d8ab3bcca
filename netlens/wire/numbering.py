"""Distinct keys of a few numbers each, numbered by kernels in the order in which they meet them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire.compiled import inlined, lean

WIDTH = 4  #: numbers of a key
AT_FIRST = 1024  #: keys that there is room for


@lean
def mix(h, value):
    """One 64-bit hash step over int64 values; wraps on purpose. The factor is 2^64 / golden ratio as a signed number."""
    x = (h ^ value) * np.int64(-7046029254386353131)
    return x ^ ((x >> np.int64(29)) & np.int64(0x7FFFFFFFF))


class Numbered(NamedTuple):
    """Keys that were met.

    keys : int64[cap, WIDTH], by number.  used : int64[1], how many.  table : int64[2 * cap], a power of 2: the number of a key + 1, or 0.
    """

    keys: Array
    used: Array
    table: Array

    @classmethod
    def room(cls, keys: int = AT_FIRST) -> Numbered:
        return cls(np.zeros((keys, WIDTH), np.int64), np.zeros(1, np.int64), np.zeros(2 * keys, np.int64))

    @property
    def met(self) -> Array:
        """int64[n, WIDTH]: the keys, by number."""
        return self.keys[: int(self.used[0])]

    def with_room(self, seed: np.int64) -> Numbered:
        """The same, with room for another key at least."""
        if len(self.met) < len(self.keys):
            return self
        larger = Numbered.room(4 * len(self.keys))
        _enter_all(larger, self.met, seed)
        return larger


@inlined
def number(numbered, a, b, c, d, seed):
    """The number of a key; -1: there is no room for it."""
    keys, table = numbered.keys, numbered.table
    mask = table.shape[0] - 1
    slot = mix(mix(mix(mix(seed, a), b), c), d) & mask
    while table[slot] != 0:
        k = table[slot] - 1
        if keys[k, 0] == a and keys[k, 1] == b and keys[k, 2] == c and keys[k, 3] == d:
            return k
        slot = (slot + 1) & mask
    k = numbered.used[0]
    if k >= keys.shape[0]:
        return np.int64(-1)
    keys[k, 0], keys[k, 1], keys[k, 2], keys[k, 3] = a, b, c, d
    numbered.used[0] = k + 1
    table[slot] = k + 1
    return k


@lean
def _enter_all(numbered, keys, seed):
    for k in range(keys.shape[0]):
        number(numbered, keys[k, 0], keys[k, 1], keys[k, 2], keys[k, 3], seed)
