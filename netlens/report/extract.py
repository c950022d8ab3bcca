"""Chosen frames as a capture of their own, with link layer, lengths, times and order as they were: of sessions (every half and copy of a connection), of
lookups and findings, or by number.

How it works: the tables say which 5-tuples are wanted, and between which frames. (A session is a 5-tuple between its first and its last frame,
because a new session of the same 5-tuple ends the one before.) A second pass decodes as far as the last of them and notes the numbers of the
wanted frames, with those of the IP fragments that datagrams were put together from; a third one copies them. Memory grows with the frames that
are taken. Inputs are read more than once, so they are files.

The output is a pcap, in microseconds where that holds every time, else in nanoseconds. Frames of several interfaces become a pcapng: a pcap has
one link type, and a copy would look like a retransmission in it.

Limits: ICMP messages about a session are not part of it, nor is the SSH connection that carried it, so what was inferred from other traffic
(path of a forwarded connection, vantage, origin) may differ when the extract is read by itself. Comments and name records of a pcapng are not
copied (those that netlens makes are others: :mod:`netlens.report.comments`), and neither is a pcap's note that frames end with a checksum (FCS).
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from netlens.errors import CaptureError, NetlensError
from netlens.outputs import replacing
from netlens.parsers.pipeline import Decoder
from netlens.wire import columns as c
from netlens.wire import writing
from netlens.wire.addresses import ip_halves, other_way
from netlens.wire.containers import Batch, Reader
from netlens.wire.decode import PIECE
from netlens.wire.fragments import MAX_AGE_NS, Fragments
from netlens.wire.framing import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE

if TYPE_CHECKING:
    from netlens.schema import Table

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

MAX_NOTED = 1 << 20  #: fragments of datagrams that are not complete: a real capture has few at a time, and more are an attack on memory


@dataclass
class Selection:
    """Which frames are wanted, and what a file must hold to hold them."""

    frames: Array  # int64, ascending
    interfaces: list[int] = field(default_factory=list)  # numbers of those they came from
    nanoseconds: bool = False  # a time is no whole microsecond
    fits_pcap: bool = True  # all times fit the 32-bit seconds of a pcap

    def add(self, times: Array, interfaces: Iterable[int]) -> None:
        """What more frames ask of the file: of each its time, and where it came from."""
        self.interfaces += [number for number in dict.fromkeys(interfaces) if number not in self.interfaces]
        self.nanoseconds = self.nanoseconds or bool((times % 1000 != 0).any())
        self.fits_pcap = self.fits_pcap and bool(((times >= 0) & (times < (1 << 32) * 10**9)).all())

    @property
    def form(self) -> str:
        """pcap or pcapng."""
        return "pcap" if len(self.interfaces) <= 1 and self.fits_pcap else "pcapng"


class _Noting(Fragments):
    """Puts datagrams together, and remembers of each the frames that it came in: (frame, time, interface)."""

    def __init__(self) -> None:
        super().__init__()
        self.unfinished: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        self.noted = 0
        self.complete: dict[int, list[tuple[int, int, int]]] = {}  # by the frame that completed the datagram

    def feed(self, buf: Array, rows: Array, quality: Array) -> list[tuple[Array, Array]]:
        if self.noted > MAX_NOTED:
            self.unfinished.clear()
            self.noted = 0
        keys: dict[int, tuple[int, ...]] = {}
        for row in rows[rows[:, PIECE] >= 0].tolist():
            frame, ts, iface, version, *addresses_and_id, proto = row[:10]
            keys[frame] = (iface, version, *addresses_and_id, proto if version == 4 else 0)
            self.unfinished.setdefault(keys[frame], []).append((frame, ts, iface >> 40))
            self.noted += 1
        out = super().feed(buf, rows, quality)
        for _area, packet in out:
            frame, ts = int(packet[0, c.FRAME]), int(packet[0, c.TS])
            known = self.unfinished.pop(keys[frame])
            self.complete[frame] = [p for p in known if p[0] <= frame and abs(ts - p[1]) <= MAX_AGE_NS]
            self.unfinished[keys[frame]] = [p for p in known if p[0] > frame]
            self.noted -= len(self.complete[frame])
        return out


def files_only(paths: Iterable[str]) -> None:
    """Refuse inputs that can be read once only. CaptureError if an input is standard input, a pipe or a device."""
    for path in paths:
        name = "standard input" if path == "-" else path
        if path == "-" or (os.path.exists(path) and not os.path.isdir(path) and not stat.S_ISREG(os.stat(path).st_mode)):
            raise CaptureError(f"{name}: can be read once only, and an extract reads its input again; save it to a file and name that")


def not_an_input(output: str | None, paths: Iterable[str]) -> None:
    """Refuse to write over what is being read; ``output`` None is standard output.

    NetlensError if output and input are one file, by whatever names.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not there yet, or no file: then it is no input
        target = os.fstat(sys.stdout.fileno()) if output is None else os.stat(output)
        for path in paths:
            if os.path.samestat(target, os.stat(path)):
                raise NetlensError(
                    f"{'standard output' if output is None else output}: is the input itself; name another file for the extract"
                )


def sessions_of(connections: Table, numbers: Iterable[int]) -> list[int]:
    """The sessions that these connections are made of. NetlensError if there is no such connection."""
    found: list[int] = []
    for number in numbers:
        _known(number, connections.rows, "connection")
        found += connections["session_ids"][number]
    return found


def _known(number: int, rows: int, what: str, lister: str = "") -> None:
    if not 0 <= number < rows:
        there = f"they go from 0 to {rows - 1} ({lister or f'netlens {what}s'} lists them)" if rows else "there are none"
        other = "; --lookup, --finding and --frames take what is not TCP" if not rows and not lister else ""
        raise NetlensError(f"no {what} {number} is in the capture; {there}{other}")


def select(paths: Sequence[str], sessions: Table, wanted: Iterable[int], progress: Progress | None = None) -> Selection:
    """The frames of the sessions ``wanted``, by number, of the capture that ``sessions`` is of.

    NetlensError if there is no such session, or a file cannot be read (any more).
    """
    spans: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for k in wanted:
        _known(k, sessions.rows, "session")
        key = _bits(*(sessions[name][k] for name in ("orig_ip", "orig_port", "resp_ip", "resp_port")))
        spans.setdefault(key, []).append((int(sessions["first_frame"][k]), int(sessions["last_frame"][k])))
    last = max((b for found in spans.values() for _, b in found), default=0)
    decoder = Decoder()
    decoder.fragments = notes = _Noting()
    taken: list[Array] = []
    chosen = Selection(np.zeros(0, np.int64))
    for batch in _batches(Reader(paths, progress), last):
        hits: list[Array] = []
        for _buf, packets in decoder.unit(batch).pieces:
            for key, found in spans.items():
                frames = packets[_matches(packets, key), c.FRAME]
                hits += [frames[(frames >= a) & (frames <= b)] for a, b in found]
        here = np.concatenate([*hits, np.zeros(0, np.int64)])
        parts = [p for f in here.tolist() if f in notes.complete for p in notes.complete[f]] if notes.complete else []
        notes.complete.clear()
        rows = batch.frames[here - batch.frame0 - 1]
        times = np.concatenate([rows[:, F_TS], np.array([p[1] for p in parts], np.int64)])
        chosen.add(times, [*rows[:, F_IFACE].tolist(), *(p[2] for p in parts)])
        taken += [here, np.array([p[0] for p in parts], np.int64)]
    chosen.frames = np.unique(np.concatenate([*taken, np.zeros(0, np.int64)]))
    return chosen


def numbered(paths: Sequence[str], wanted: Array | None = None, progress: Progress | None = None) -> Selection:
    """The frames with these numbers; all without. NetlensError if there is no such frame, or a file cannot be read."""
    reader, frames, chosen = Reader(paths, progress), 0, Selection(np.zeros(0, np.int64))
    numbers = None if wanted is None else np.unique(wanted)
    for batch in reader.batches():
        frames = batch.frame0 + batch.n
        here = np.arange(batch.n)
        if numbers is not None:
            here = numbers[(numbers > batch.frame0) & (numbers <= frames)] - batch.frame0 - 1
        rows = batch.frames[here]
        chosen.add(rows[:, F_TS], rows[:, F_IFACE].tolist())
    if numbers is not None and len(numbers) and not 1 <= numbers[0] <= numbers[-1] <= frames:
        wrong = numbers[0] if numbers[0] < 1 else numbers[-1]
        raise NetlensError(f"no frame {wrong} is in the capture; it has {frames:,}")
    if not frames:
        raise NetlensError(f"{', '.join(paths)}: nothing to copy: the capture has no frames")
    chosen.frames = np.arange(1, frames + 1, dtype=np.int64) if numbers is None else numbers
    return chosen


def of_lookups(lookups: Table, numbers: Iterable[int]) -> list[int]:
    """The frames of lookups: first query and answer. NetlensError if there is no such lookup."""
    found: list[int] = []
    for number in numbers:
        _known(number, lookups.rows, "lookup", "netlens dns")
        found += [frame for name in ("query_frame", "answer_frame") if (frame := lookups[name][number]) is not None]
    return found


def write(
    paths: Sequence[str],
    selection: Selection,
    output: str | None,
    form: str | None = None,
    progress: Progress | None = None,
    comments: Mapping[int, Sequence[str]] | None = None,
) -> int:
    """Copy the selected frames to the file ``output`` (made readable for its owner only), or to standard output; how many they were.

    ``form``: pcap or pcapng; by default pcap where it holds all.  ``comments``: by frame, shown with it; only a pcapng holds them.

    NetlensError if output and input are one file, or one of them cannot be used.
    """
    files_only(paths)
    not_an_input(output, paths)
    if output is None:
        return _copy(paths, selection, sys.stdout.buffer, form, progress, comments or {})
    # what programs sent to each other is in it
    with replacing(output, 0o600) as path, open(path, "wb") as file:
        return _copy(paths, selection, file, form, progress, comments or {})


def _copy(
    paths: Sequence[str],
    selection: Selection,
    file: IO[bytes],
    form: str | None,
    progress: Progress | None,
    comments: Mapping[int, Sequence[str]],
) -> int:
    reader = Reader(paths, progress)
    out: _PcapWriter | _PcapngWriter | None = None
    written = 0
    for batch in _batches(reader, int(selection.frames[-1]) if len(selection.frames) else 0):
        at = np.searchsorted(selection.frames, [batch.frame0 + 1, batch.frame0 + batch.n + 1])
        numbers = selection.frames[at[0] : at[1]]
        rows = batch.frames[numbers - batch.frame0 - 1]
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            if out is None:
                new = _PcapngWriter if form == "pcapng" or selection.form == "pcapng" else _PcapWriter
                out = new(file, reader, selection.nanoseconds)
            out.write(row, batch.buf[row[F_OFF] : row[F_OFF] + row[F_CAP]].tobytes(), comments.get(number, ()))
        written += len(rows)
    file.flush()
    if written < len(selection.frames) or not written:
        raise CaptureError(f"{', '.join(paths)}: changed while it was read; nothing can be copied from it until it is complete")
    return written


class _PcapWriter:
    def __init__(self, file: IO[bytes], reader: Reader, nanoseconds: bool):
        self.file, self.reader, self.unit_ns = file, reader, 1 if nanoseconds else 1000
        self.begun = False

    def write(self, row: list[int], data: bytes, _comments: Sequence[str]) -> None:
        if not self.begun:
            self.begun = True
            self.file.write(writing.pcap_header(int(self.reader.links[row[F_IFACE]]), _snaplen(self.reader), self.unit_ns))
        self.file.write(writing.pcap_record(data, row[F_TS], row[F_WIRE], self.unit_ns))


class _PcapngWriter:
    """Section header, an interface description in front of an interface's first frame, enhanced packet blocks."""

    def __init__(self, file: IO[bytes], reader: Reader, _nanoseconds: bool):
        self.file = file
        self.reader = reader
        self.places: dict[int, int] = {}
        self.file.write(writing.SECTION)

    def write(self, row: list[int], data: bytes, comments: Sequence[str]) -> None:
        number = row[F_IFACE]
        if number not in self.places:
            self.places[number] = len(self.places)
            _, _, name = self.reader.interfaces[number]
            self.file.write(writing.interface(int(self.reader.links[number]), _snaplen(self.reader), name))
        self.file.write(writing.packet(self.places[number], data, row[F_TS], row[F_WIRE], comments))


def _snaplen(reader: Reader) -> int:
    """The limit under which the frames were captured, as far as the inputs were read."""
    return max((i.snaplen for i in reader.inputs), default=0) or writing.SNAPLEN


def _batches(reader: Reader, last: int) -> Iterator[Batch]:
    """Batches up to that which holds the frame ``last``."""
    with contextlib.closing(reader.batches()) as batches:  # type: ignore[type-var]
        for batch in batches:
            yield batch
            if batch.frame0 + batch.n >= last:
                return


def _bits(orig_ip: str, orig_port: int, resp_ip: str, resp_port: int) -> tuple[int, ...]:
    """A 5-tuple as the packet matrix holds it: source, destination, version and ports."""
    version = 6 if ":" in orig_ip else 4
    return (*ip_halves(orig_ip), *ip_halves(resp_ip), version << 32 | int(orig_port) << 16 | int(resp_port))


def _matches(packets: Array, key: tuple[int, ...]) -> Array:
    """Rows of this 5-tuple, in either direction."""
    a_hi, a_lo, b_hi, b_lo, ports = key
    back = other_way(ports)
    source_hi, source_lo, target_hi, target_lo = (packets[:, k] for k in (c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO))
    there = (packets[:, c.PORTS] == ports) & (source_lo == a_lo) & (target_lo == b_lo) & (source_hi == a_hi) & (target_hi == b_hi)
    again = (packets[:, c.PORTS] == back) & (source_lo == b_lo) & (target_lo == a_lo) & (source_hi == b_hi) & (target_hi == a_hi)
    return (there | again) & (packets[:, c.KIND] == c.TCP)
