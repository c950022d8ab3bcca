"""One plain capture, read by several cores: each reads a span of it and folds its sessions; then they are put together.

Theory of operation
-------------------
1. :func:`netlens.wire.spans.borders` guesses where records begin. The first span is read as any capture; the others each by a thread with state of its own,
   which keeps the packet rows of sessions that it joined mid-way (:mod:`netlens.parsers.session_join`).
2. Spans are put together in order. A span is taken over if the one before it ended where it begins, and if both together are what one reader would have
   made. Else that span is read once more, behind the part before it: no row depends on how a capture was divided, only time does.
3. Threads share nothing while they read, so n of them take the n-th part of the time, and what is put together grows with what goes on across a border.
   A span that would keep more than :data:`MOST_ROWS` gives up at once, and the one before it goes on.

For sessions alone. All tables take five times as much of what joins, and two captures are read side by side anyway.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from netlens.columns import Array
from netlens.errors import NetlensError
from netlens.parsers import quality
from netlens.parsers.hello_scan import SLOTS
from netlens.parsers.lifecycle import grown
from netlens.parsers.pipeline import LARGE, LIGHT, Pace, Part
from netlens.parsers.session_join import NotKnown
from netlens.parsers.session_runs import RUN, SEGMENTS, Kept, keep
from netlens.parsers.session_state import SLIGHT_SESSIONS, UNSET
from netlens.threads import cores, in_parallel
from netlens.wire import columns as c
from netlens.wire import compiled
from netlens.wire.containers import Reader
from netlens.wire.spans import borders
from netlens.wire.streams import CHUNK, Span, check

if TYPE_CHECKING:
    from netlens.wire.framing import Input

LEAST_BYTES = LARGE // 2  #: of a span: it is read in 10 ms, and what is put together takes a few
MOST_ROWS = 1 << 18  #: rows that a span keeps: 50 MB
MOST_SESSIONS = 1 << 16  #: sessions of which it keeps any
BYTES_A_SESSION = 1024  #: of very short ones: a span has room at once for all that it may hold, which takes no memory until it is used
PACE = Pace(2 * c.BATCH, 2 * CHUNK, 0)


class _GivesUp(Exception):
    """A span of which too much goes on from before."""


class _Later(Part):
    """A span that does not begin at the start of the capture.

    done : bytes that were read, the only item.  read : whether all of it was.
    """

    def __init__(self, path: str, span: Span):
        super().__init__(LIGHT)
        self.span = span
        done = self.done = [0]  # whoever reads knows no more of the span, so that it is gone when it is not needed any more
        self.reader = _reader(path, span, 0, lambda size, _: done.__setitem__(0, size))
        self.kept = Kept.room(MOST_ROWS, MOST_SESSIONS)
        self.most_slight = 0
        self.offset = 0
        self.read = False
        self.thread = threading.Thread(target=self._run, name="netlens-span", daemon=True)

    def _run(self) -> None:
        try:
            for batch in self.reader.batches():
                self.offset = batch.offset
                self._buffer = batch.buf
                self.feed(batch)
            self.kept.finished()  # what can be done beside the part before
            self.rest()
        except Exception:  # noqa: BLE001 -- whatever it is, whoever reads the span behind the part before it meets it, and says so
            return
        self.read = True

    def parse(self, buf: Array, packets: Array) -> None:
        before = self.fold.n
        self.fold.feed(packets)
        self.most_slight = max(self.most_slight, int(self.fold.arrays.counts[SLIGHT_SESSIONS]) + self.fold.n - before)
        if len(self.kept.place) < self.fold.n:
            self.kept = self.kept._replace(place=grown(self.kept.place, self.fold.n))
        if not keep(buf, packets, self.fold.sessions, self.offset if buf is self._buffer else UNSET, self.kept):
            raise _GivesUp
        self.hellos.feed(buf, packets)

    def stop(self) -> None:
        self.reader.cancel()
        if self.thread.ident is not None:
            compiled.give_up(self.thread)
            self.thread.join()
            compiled.gone(self.thread)


def _reader(path: str, span: Span, frames: int, progress: Callable[[int, int], None] | None = None) -> Reader:
    return Reader([path], progress, PACE.frames, 0, PACE.bytes, span, frames)


def _go_on(part: Part, path: str, span: Span, progress: Callable[[int, int], None]) -> Reader:
    """Read a span behind what ``part`` has."""
    before = part.bytes
    reader = _reader(path, span, part.frames, lambda done, frames: progress(before + done, frames))
    for batch in reader.batches():
        part.feed(batch)
    part.frames = reader.frame
    _note(part, reader.inputs)
    return reader


def _behind(before: Reader, reader: Reader) -> None:
    """Make sure that a span was read with all sections and interfaces described that come before it.

    Raises
    ------
    NotKnown
        others were, in the midst of the file.
    """
    if reader.described[0] != before.described[1]:
        raise NotKnown


def _note(part: Part, inputs: list[Input]) -> None:
    """What was learned of the file, of which ``part`` has read so much more."""
    part.bytes += inputs[0].bytes
    if part.inputs:
        part.inputs[0].append(inputs[0])
    else:
        part.inputs = inputs


def _taken_over(part: Part, later: _Later) -> Reader | None:
    """Who read a span, when it has been put behind what ``part`` has; None where it must be read again."""
    later.thread.join()
    return later.reader if later.read and _take_over(part, later) else None


def _take_over(part: Part, later: _Later) -> bool:
    """Put a span behind what ``part`` has; False, and nothing is changed, where it must be read again.

    Raises
    ------
    NotKnown
        the whole must be.
    """
    if later.bounds_ns is None:
        return False
    mine, its = part.hellos.collected[0], later.hellos.collected[1]
    if part.hellos.is_crowded or later.hellos.is_crowded or mine + its > SLOTS or part.decoder.fragments.open:
        return False
    times, earliest = later.decoder.times, later.bounds_ns[0]
    if not part.decoder.times.may_append(times, earliest):
        return False
    rows = later.kept.finished()
    folded: SimpleQueue[Array | None] = SimpleQueue()

    def join() -> Array | None:
        try:
            return part.fold.join(later.fold, rows, later.most_slight, part.frames, folded.put)
        finally:
            folded.put(None)

    place, looked_at = in_parallel(join, lambda: _look_for_hellos(part, later.reader.paths[0], folded))
    if place is None:
        if looked_at:
            raise NotKnown
        return False
    part.decoder.times.append(times, earliest)
    part.hellos.merge(later.hellos, place, part.frames)
    part.counts[:] = quality.total([(part.frames, part.counts), (later.frames, later.counts)])
    later.decoder.fragments.given_up += part.decoder.fragments.given_up
    part.decoder.fragments = later.decoder.fragments
    part.frames += later.frames
    part.widen(*later.bounds_ns)
    _note(part, later.reader.inputs)
    return True


def _look_for_hellos(part: Part, path: str, folded: SimpleQueue[Array | None]) -> int:
    """Of sessions that the span joined mid-way. Their payload lies in the file.

    folded : int64[k, WIDTH] each, rows of such sessions in order, as soon as they are folded; None behind the last.  Returns how many there were.

    Raises
    ------
    NotKnown
        a run holds what had to be looked at, a datagram came in fragments, or the file has changed.
    """
    asking, found, turn = part.hellos.asking(part.fold.n), memoryview(bytearray(1)), 0
    with open(path, "rb") as file:
        while (some := folded.get()) is not None:
            turn += 1
            wanted, at, size = part.hellos.asks_for(some, turn, asking)
            if size > len(found):  # the same memory for all turns
                found = memoryview(bytearray(2 * size))
            found[:at] = bytes(at)
            for place, length in wanted.tolist():
                if place == UNSET or os.preadv(file.fileno(), (found[at : at + length],), place) != length:
                    raise NotKnown
                at += length
            part.hellos.feed(np.frombuffer(found, np.uint8), some)
            if ((some[:, c.KIND] == RUN) & (some[:, SEGMENTS] < 0)).any():
                raise NotKnown
    return turn


def cuts(paths: Sequence[str | os.PathLike[str]]) -> list[int]:
    """Byte offsets at which a capture is divided among the cores; none where it is not one plain file, is small, or there is one core."""
    parts = cores()
    if parts < 2 or len(paths) != 1:
        return []
    path = os.fspath(paths[0])
    try:
        status = os.stat(path)
        parts = min(parts, status.st_size // LEAST_BYTES)
        return borders(path, parts) if parts > 1 and stat.S_ISREG(status.st_mode) else []
    except (OSError, NetlensError):  # told when it is read
        return []


def _stop(later: list[_Later]) -> None:
    for each in later:
        each.reader.cancel()
    while later:
        later.pop().stop()


def read(path: str, cuts: Sequence[int], progress: Callable[[int, int], None] | None = None, spill_to: str | None = None) -> Part | None:
    """The sessions of a plain capture of which spans are read side by side, divided at these byte offsets; None if it must be read as one.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    part = Part(LIGHT, spill_to=spill_to)
    check(path)
    size = os.stat(path).st_size
    part.fold.reserve(size // BYTES_A_SESSION)
    later = [_Later(path, Span(begin, end)) for begin, end in pairwise([*cuts, None]) if begin is not None]
    for each in later:
        each.fold.reserve(((each.span.end or size) - each.span.begin) // BYTES_A_SESSION)

    def told(done: int, frames: int) -> None:
        if progress is not None:
            progress(done + sum(each.done[0] for each in later), frames + sum(each.reader.frame for each in later))

    try:
        for each in later:
            each.thread.start()
        del each
        before = _go_on(part, path, Span(0, cuts[0]), told)
        while later and not part.inputs[0].damage:
            if before.reached != later[0].span.begin:  # no record begins there
                _stop(later)
                _behind(before, _go_on(part, path, Span(before.reached, None), told))
                break
            span = later[0].span
            reader = _taken_over(part, later.pop(0)) or _go_on(part, path, span, told)
            _behind(before, reader)
            before = reader
    except NotKnown:
        return None
    finally:
        _stop(later)
    if progress is not None:
        progress(part.bytes, part.frames)
    part.rest()
    return part
