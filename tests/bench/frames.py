"""Columns of frames to the bytes of a capture file, without a Python object per frame.

A workload describes its frames as numpy columns (:class:`Frames`); :func:`write` sorts nothing and decides nothing, it only turns columns
into bytes, batch by batch.

Theory of operation
-------------------
1. A batch buffer starts as a copy of one pool of random printable bytes: every payload is there before anything is written.
2. Headers are structured records, one array per kind of frame (TCP, SYN with its options, UDP). They are scattered into the buffer
   through a view with a stride of one byte: numpy then copies one whole header per element.
3. A payload may begin with bytes of its own (an *overlay*: a ClientHello, a DNS message), scattered the same way. Where two captures hold the same
   payload (``Frames.source``), it is copied from a place of the pool that both name.
4. The checksum of what is left of the pool comes from two running sums, of the bytes at even and at odd positions: no payload is ever read.

Limits: IPv4 only, no IP options, a snapshot length that is never shorter than the headers and never cuts an overlay.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]

TCP, SYN, UDP = 0, 1, 2  #: kinds of frame: TCP with the timestamps option, TCP with the options of a SYN, UDP
ETHERNET, LINUX_SLL2 = 1, 276  #: link types, as in tcpdump.org's list
#: bytes of a batch: the running sums cost sixteen times as much memory; with half of it numpy's cost per call begins to show
POOL_BYTES = 8 << 20
_BIGGEST_FRAME = 2048

_IP = [
    ("version_ihl", "u1"),
    ("tos", "u1"),
    ("ip_length", ">u2"),
    ("ip_id", ">u2"),
    ("fragment", ">u2"),
    ("ttl", "u1"),
    ("protocol", "u1"),
    ("ip_checksum", ">u2"),
    ("src", ">u4"),
    ("dst", ">u4"),
]
_TCP = [
    ("sport", ">u2"),
    ("dport", ">u2"),
    ("seq", ">u4"),
    ("ack", ">u4"),
    ("data_offset", "u1"),
    ("flags", "u1"),
    ("window", ">u2"),
    ("checksum", ">u2"),
    ("urgent", ">u2"),
]
_TRANSPORT: dict[int, list[tuple[str, str]]] = {
    TCP: [*_TCP, ("option_start", ">u4"), ("tsval", ">u4"), ("tsecr", ">u4")],
    SYN: [*_TCP, ("mss", ">u4"), ("option_start", ">u4"), ("tsval", ">u4"), ("tsecr", ">u4"), ("window_scale", ">u4")],
    UDP: [("sport", ">u2"), ("dport", ">u2"), ("udp_length", ">u2"), ("checksum", ">u2")],
}
_LINK: dict[int, list[tuple[str, str]]] = {
    ETHERNET: [("mac_dst_hi", ">u2"), ("mac_dst_lo", ">u4"), ("mac_src_hi", ">u2"), ("mac_src_lo", ">u4"), ("ethertype", ">u2")],
    LINUX_SLL2: [
        ("ethertype", ">u2"),
        ("reserved", ">u2"),
        ("ifindex", ">u4"),
        ("arphrd", ">u2"),
        ("packet_type", "u1"),
        ("address_length", "u1"),
        ("mac_src_hi", ">u2"),
        ("mac_src_lo", ">u4"),
        ("address_rest", ">u2"),
    ],
}
_RECORD: dict[str, list[tuple[str, str]]] = {
    "pcap": [("seconds", "<u4"), ("fraction", "<u4"), ("captured", "<u4"), ("original", "<u4")],
    "pcapng": [
        ("block_type", "<u4"),
        ("block_length", "<u4"),
        ("interface", "<u4"),
        ("time_hi", "<u4"),
        ("time_lo", "<u4"),
        ("captured", "<u4"),
        ("original", "<u4"),
    ],
}
_CONSTANTS = {
    "version_ihl": 0x45,
    "fragment": 0x4000,
    "ttl": 64,
    "ethertype": 0x0800,
    "arphrd": 1,
    "address_length": 6,
    "block_type": 6,
    "mss": 0x020405B4,  # maximum segment size 1460
    "window_scale": 0x01030307,  # NOP, window scale 7
}
#: NOP NOP timestamps in every segment, SACK-permitted timestamps in a SYN
_OPTION_START = {TCP: 0x0101080A, SYN: 0x0402080A}
TRANSPORT_BYTES = {TCP: 32, SYN: 40, UDP: 8}


@dataclass
class Overlay:
    """Payload beginnings of equal length: row ``i`` of ``data`` (uint8[m, width]) starts the payload of frame ``frames[i]``."""

    frames: Array
    data: Array


@dataclass
class Frames:
    """Frames in any order, one array per column; integers throughout, addresses as numbers.

    ``length`` is the payload in bytes; ``interface`` is the pcapng interface or the SLL2 ifindex; ``packet_type`` matters to SLL2 only.
    ``source`` (below :data:`POOL_BYTES`): frames with the same one have the same payload as far as both go; without it each has what its place in the
    file gives.
    """

    time_ns: Array
    kind: Array
    src: Array
    dst: Array
    sport: Array
    dport: Array
    length: Array
    seq: Array
    ack: Array
    flags: Array
    window: Array
    tsval: Array
    tsecr: Array
    interface: Array | None = None
    packet_type: Array | None = None
    source: Array | None = None
    overlays: list[Overlay] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.time_ns)

    def wire_bytes(self, link: int) -> Array:
        """Length of each frame on the wire, with its link header."""
        headers = np.array([_header("pcap", link, kind).itemsize - 16 for kind in (TCP, SYN, UDP)], np.int64)
        return headers[self.kind] + self.length


@cache
def _header(container: str, link: int, kind: int) -> np.dtype[Any]:
    return np.dtype(_RECORD[container] + _LINK[link] + _IP + _TRANSPORT[kind])


def _fold(total: Array) -> Array:
    """The ones' complement checksum of 16-bit words that add up to ``total`` (RFC 1071)."""
    for _ in range(3):
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


class _Pool:
    """Random printable bytes and the running sums that give the checksum of any stretch of them."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        # No dissector takes bytes from 0x40 to 0x7e for a TLS record (which starts with 0x14 to 0x17) or for the length of a short message.
        self.data = rng.integers(0x40, 0x7E, POOL_BYTES + _BIGGEST_FRAME, dtype=np.uint8)
        self.sums = np.zeros((2, len(self.data) + 1), np.int64)
        for parity in (0, 1):
            np.cumsum(np.where(np.arange(len(self.data)) % 2 == parity, self.data, 0), out=self.sums[parity, 1:], dtype=np.int64)

    def word_sum(self, payload: Array, skip: Array, length: Array) -> Array:
        """Sum of big-endian words counted from ``payload`` on, over ``payload + skip`` to ``payload + length``."""
        first, last = payload + skip, payload + length
        even = payload & 1
        return 256 * (self.sums[even, last] - self.sums[even, first]) + (self.sums[1 - even, last] - self.sums[1 - even, first])


@lru_cache(maxsize=1)
def _pool(seed: int) -> _Pool:
    return _Pool(seed)


def _scatter(buffer: Array, offsets: Array, rows: Array) -> None:
    """Copy row i of ``rows`` (contiguous, any dtype) to ``buffer[offsets[i]:]``."""
    if not len(rows):
        return
    width = rows.nbytes // len(rows)
    whole = np.dtype(f"V{width}")
    target = np.ndarray((len(buffer) - width + 1,), whole, buffer.data, strides=(1,))
    target[offsets] = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8).view(whole).ravel()


def _file_header(container: str, link: int, snaplen: int, interfaces: int) -> bytes:
    if container == "pcap":
        return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    # if_tsresol 9 (nanoseconds), then the end of the options; 32 bytes in all
    interface = struct.pack("<IIHHIHHB3xHHI", 1, 32, link, 0, snaplen, 9, 1, 9, 0, 0, 32)
    return section + interface * interfaces


def _batches(sizes: Array) -> Iterator[tuple[int, int]]:
    ends = np.cumsum(sizes)
    start, base = 0, 0
    while start < len(sizes):
        stop = int(np.searchsorted(ends, base + POOL_BYTES, "right"))
        yield start, stop
        base = int(ends[stop - 1])
        start = stop


def write(
    path: Path, frames: Frames, *, link: int = ETHERNET, container: str = "pcap", snaplen: int = 262144, interfaces: int = 1, seed: int = 0
) -> Array:
    """Write ``frames`` in order of time and return that order (indices into ``frames``; frame number minus one is the position).

    A name that ends in ``.gz`` is compressed. Times of a pcap are microseconds: they must be whole microseconds.
    """
    order = np.argsort(frames.time_ns, kind="stable")
    with ExitStack() as stack:
        file: BinaryIO | gzip.GzipFile = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            # no name and no time in its header: the same parameters give the same bytes
            file = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0))
        file.write(_file_header(container, link, snaplen, interfaces))
        _write_records(file, frames, order, link, container, snaplen, _pool(seed))
    return order


def _write_records(
    file: BinaryIO | gzip.GzipFile, frames: Frames, order: Array, link: int, container: str, snaplen: int, pool: _Pool
) -> None:
    prefix = 16 if container == "pcap" else 28
    original = frames.wire_bytes(link)[order]
    captured = np.minimum(original, snaplen)
    sizes = prefix + captured if container == "pcap" else prefix + (captured + 3) // 4 * 4 + 4
    group = np.full(len(frames), -1, np.int16)
    row = np.zeros(len(frames), np.int32)
    for number, overlay in enumerate(frames.overlays):
        group[overlay.frames] = number
        row[overlay.frames] = np.arange(len(overlay.frames))
    buffer = np.empty_like(pool.data)
    for start, stop in _batches(sizes):
        chosen = order[start:stop]
        size = sizes[start:stop]
        offset = np.cumsum(size) - size
        end = int(offset[-1] + size[-1])
        buffer[:end] = pool.data[:end]
        kind = frames.kind[chosen]
        payload = offset + prefix + original[start:stop] - frames.length[chosen]
        source = payload
        if frames.source is not None:
            source = frames.source[chosen]
            _copy(buffer, payload, pool.data, source, frames.length[chosen])
        overlay_sum, skip = _overlay(buffer, frames, chosen, payload, group, row)
        payload_sum = overlay_sum + pool.word_sum(source, skip, frames.length[chosen])
        for which in (TCP, SYN, UDP):
            member = np.flatnonzero(kind == which)
            if len(member):
                index = chosen[member]
                rows = _headers(frames, index, which, link, container, payload_sum[member], member + start)
                rows["captured"] = captured[start:stop][member]
                rows["original"] = original[start:stop][member]
                if container == "pcapng":
                    rows["block_length"] = size[member]
                _scatter(buffer, offset[member], rows)
        if container == "pcapng":
            _scatter(buffer, offset + prefix + captured[start:stop], np.zeros(len(chosen), "<u4"))
            _scatter(buffer, offset + size - 4, size.astype("<u4"))
        file.write(buffer[:end].data)


def _copy(buffer: Array, to: Array, pool: Array, source: Array, length: Array) -> None:
    """Payloads from their places in the pool."""
    into, data = memoryview(buffer), memoryview(pool)
    for at, begin, n in zip(to.tolist(), source.tolist(), length.tolist(), strict=True):
        into[at : at + n] = data[begin : begin + n]


def _overlay(buffer: Array, frames: Frames, chosen: Array, payload: Array, group: Array, row: Array) -> tuple[Array, Array]:
    """Write the overlays of a batch; returns their word sums and widths (0 for a frame without one)."""
    total = np.zeros(len(chosen), np.int64)
    skip = np.zeros(len(chosen), np.int64)
    if not frames.overlays:
        return total, skip
    groups = group[chosen]
    for number, overlay in enumerate(frames.overlays):
        member = np.flatnonzero(groups == number)
        if len(member):
            data = overlay.data[row[chosen[member]]]
            _scatter(buffer, payload[member], data)
            total[member] = 256 * data[:, 0::2].sum(1, dtype=np.int64) + data[:, 1::2].sum(1, dtype=np.int64)
            skip[member] = data.shape[1]
    return total, skip


def _headers(frames: Frames, index: Array, kind: int, link: int, container: str, payload_sum: Array, number: Array) -> Array:
    dtype = _header(container, link, kind)
    rows = np.zeros(len(index), dtype)
    for name in dtype.names or ():
        if name in _CONSTANTS:
            rows[name] = _CONSTANTS[name]
    time = frames.time_ns[index]
    if container == "pcap":
        rows["seconds"] = time // 1_000_000_000
        rows["fraction"] = time % 1_000_000_000 // 1000
    else:
        rows["time_hi"] = time >> 32
        rows["time_lo"] = time & 0xFFFFFFFF
        if frames.interface is not None:
            rows["interface"] = frames.interface[index]
    # locally administered addresses that tell the machine: 02:00 and the IPv4 address
    rows["mac_src_hi"] = 0x0200
    rows["mac_src_lo"] = frames.src[index]
    if link == ETHERNET:
        rows["mac_dst_hi"] = 0x0200
        rows["mac_dst_lo"] = frames.dst[index]
    else:
        if frames.interface is not None:
            rows["ifindex"] = frames.interface[index]
        if frames.packet_type is not None:
            rows["packet_type"] = frames.packet_type[index]
    transport = TRANSPORT_BYTES[kind]
    length = transport + frames.length[index]
    rows["ip_length"] = 20 + length
    rows["ip_id"] = number & 0xFFFF
    rows["protocol"] = 17 if kind == UDP else 6
    rows["src"] = frames.src[index]
    rows["dst"] = frames.dst[index]
    rows["sport"] = frames.sport[index]
    rows["dport"] = frames.dport[index]
    if kind == UDP:
        rows["udp_length"] = length
    else:
        rows["seq"] = frames.seq[index] & 0xFFFFFFFF
        rows["ack"] = frames.ack[index] & 0xFFFFFFFF
        rows["data_offset"] = transport // 4 << 4
        rows["flags"] = frames.flags[index]
        rows["window"] = frames.window[index]
        rows["option_start"] = _OPTION_START[kind]
        rows["tsval"] = frames.tsval[index] & 0xFFFFFFFF
        rows["tsecr"] = frames.tsecr[index] & 0xFFFFFFFF
    words = rows.view(">u2").reshape(len(rows), -1)
    network = words.shape[1] - (20 + transport) // 2
    rows["ip_checksum"] = _fold(words[:, network : network + 10].sum(1, dtype=np.int64))
    # pseudo header: both addresses, protocol, length (RFC 9293 3.1, RFC 768)
    pseudo = words[:, network + 6 : network + 10].sum(1, dtype=np.int64) + rows["protocol"] + length
    checksum = _fold(pseudo + words[:, network + 10 :].sum(1, dtype=np.int64) + payload_sum)
    rows["checksum"] = np.where(checksum == 0, 0xFFFF, checksum) if kind == UDP else checksum
    return rows
