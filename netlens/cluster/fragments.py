"""Fragments of datagrams, as far as these may lie in two files."""

from dataclasses import dataclass
from typing import Any

from netlens.columns import Array
from netlens.wire.fragments import MAX_AGE_NS, Fragments, datagram

#: fragmented datagrams of a file that are remembered; with more, any that an earlier file left open counts as one of them
MAX_SEEN = 1 << 16


@dataclass
class Torn:
    """What a file has of datagrams. Keys name the datagram, and the interface by position, link type and name."""

    open: dict[tuple[Any, ...], int]  # incomplete at the end; since when, ns
    seen: dict[tuple[Any, ...], int]  # all, at most MAX_SEEN; when first
    blind_ns: int | None  # when there were more than that

    def completes(self, open_before: dict[tuple[Any, ...], int]) -> set[tuple[Any, ...]]:
        """Those of the datagrams that earlier files left incomplete which fragments of this file would go to."""
        found = {key for key, since in open_before.items() if key in self.seen and abs(self.seen[key] - since) <= MAX_AGE_NS}
        if self.blind_ns is not None:
            found |= {key for key, since in open_before.items() if key not in self.seen and self.blind_ns - since <= MAX_AGE_NS}
        return found


class SeenFragments(Fragments):
    """Also notes which datagrams had fragments."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[int, ...], int] = {}
        self.blind_ns: int | None = None

    def feed(self, buf: Array, rows: Array, quality: Array) -> list[tuple[Array, Array]]:
        for row in rows.tolist():
            ts, key = row[1], datagram(row)
            if len(self.seen) < MAX_SEEN:
                self.seen.setdefault(key, ts)
            elif self.blind_ns is None and key not in self.seen:
                self.blind_ns = ts
        return super().feed(buf, rows, quality)

    def torn(self, interfaces: list[tuple[int, int, bytes]]) -> Torn:
        def named(key: tuple[int, ...]) -> tuple[Any, ...]:
            return (interfaces[key[0] >> 40], key[0] & ((1 << 40) - 1), *key[1:])

        since = {named(key): entry.since_ns for key, entry in self.open.items()}
        return Torn(since, {named(key): ts for key, ts in self.seen.items()}, self.blind_ns)
