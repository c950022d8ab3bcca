"""One pass over a capture: reader -> framing -> decode -> parsers -> tables.

What is asked for decides what runs: ``sessions`` alone costs a third of everything. A batch of packet rows goes through all parsers while it
is in the cache. Memory: three read buffers, one batch, and the parsers' state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.parsers import quality
from netlens.parsers.exchanges import ExchangeBuilder
from netlens.parsers.hellos import MEANINGS as HELLO_REASONS
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.sessions import S_WIDTH, SessionFold
from netlens.parsers.streams import DnsStreams
from netlens.parsers.tunnels import TunnelWatch
from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire.containers import Batch, Input, Reader
from netlens.wire.fragments import Fragments

if TYPE_CHECKING:
    from netlens.schema import Table

#: What each table needs to be built. Sessions are always folded: the others hang on them.
PRODUCTS = ("sessions", "hellos", "lookups", "exchanges", "tunnels")


class Part:
    """The state of all parsers over one part of a capture. ``merge`` appends the part that follows.

    Parameters
    ----------
    products : of :data:`PRODUCTS`, what to build. ``sessions`` carries the SNI, but not the rest of a hello.
    deferred : True for a part that does not begin at the start of the capture (see parsers.sessions).
    """

    def __init__(self, products: Iterable[str] = PRODUCTS, deferred: bool = False):
        self.products = tuple(products)
        self.deferred = deferred
        self.fold = SessionFold(deferred)
        self.hellos = HelloBuilder(full="hellos" in self.products)
        self.lookups = LookupBuilder() if "lookups" in self.products else None
        self.streams = DnsStreams(self.lookups) if self.lookups is not None else None
        self.exchanges = ExchangeBuilder() if "exchanges" in self.products else None
        self.tunnels = TunnelWatch() if "tunnels" in self.products else None
        self.fragments = Fragments()
        self.counts = np.zeros((d.N_REASONS, 2), np.int64)
        self.frames = 0
        self.bytes = 0
        self.inputs: list[Input] = []
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._packets = np.zeros((c.BATCH, c.WIDTH), np.int64)
        self._fragment_rows = np.zeros((c.BATCH, d.FRAGMENT_WIDTH), np.int64)

    def feed(self, batch: Batch) -> None:
        if batch.n > len(self._packets):
            self._packets = np.zeros((batch.n, c.WIDTH), np.int64)
            self._fragment_rows = np.zeros((batch.n, d.FRAGMENT_WIDTH), np.int64)
        m, n_fragments = d.decode(
            batch.buf, batch.frames, batch.n, batch.links, batch.frame0, self._packets, self._fragment_rows, self.counts
        )
        if n_fragments:
            whole = self.fragments.feed(batch.buf, self._fragment_rows[:n_fragments], self.counts)
            at = 0
            for area, packet in whole:
                until = int(np.searchsorted(self._packets[:m, c.FRAME], packet[0, c.FRAME]))
                self._parse(batch.buf, self._packets[at:until])
                self._parse(area, packet)
                at = until
            self._parse(batch.buf, self._packets[at:m])
        else:
            self._parse(batch.buf, self._packets[:m])
        self.frames = batch.frame0 + batch.n
        # times of the capture from the frames themselves; a simple packet block has none
        first, last = int(batch.frames[0, 3]), int(batch.frames[batch.n - 1, 3])
        if first and self.first_ns is None:
            self.first_ns = first
        if last:
            self.last_ns = max(last, self.last_ns or last)

    def _parse(self, buf: np.ndarray[Any, Any], packets: np.ndarray[Any, Any]) -> None:
        n = len(packets)
        if not n:
            return
        self.fold.feed(packets, n)
        self.hellos.feed(buf, packets, n)
        if self.exchanges is not None:
            self.exchanges.feed(packets, n, self.fold.sessions, self.fold.n)
        if self.tunnels is not None:
            self.tunnels.feed(packets, n, self.fold.sessions, self.fold.n)
        if self.lookups is not None:
            self.lookups.feed(buf, packets, n)
            assert self.streams is not None
            self.streams.feed(buf, packets, n)

    # -- rows --

    def state(self) -> np.ndarray[Any, Any]:
        """int64[n, S_WIDTH]: the session state (see parsers.sessions)."""
        state = self.fold.sessions[: self.fold.n]
        assert state.shape[1] == S_WIDTH
        return state

    def sessions(self) -> Table:
        return self.fold.table_rows(self.hellos.sni_of_sessions(self.fold.n))

    def quality(self) -> Table:
        extra: list[tuple[str, int, int | None, str]] = [
            (
                "fragments_given_up",
                self.fragments.given_up + len(self.fragments.open),
                None,
                "datagrams whose fragments are not all in the capture",
            )
        ]
        counted, first = self.hellos.counters, self.hellos.first_frames
        extra += [(name, counted[name], first[name], meaning) for name, meaning in HELLO_REASONS.items()]
        return quality.quality_rows(self.frames, self.counts, extra, [w for i in self.inputs for w in i.warnings])


def run(
    paths: Iterable[str | PathLike[str]],
    products: Iterable[str] = PRODUCTS,
    progress: Callable[[int, int], None] | None = None,
) -> Part:
    """Read captures, in the order given, as one stream.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    reader = Reader(paths, progress)
    part = Part(products)
    for batch in reader.batches():
        part.feed(batch)
    part.inputs = reader.inputs
    part.frames = reader.frame
    part.bytes = sum(i.bytes for i in reader.inputs)
    return part
