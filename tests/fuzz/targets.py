"""What is fuzzed. A target takes bytes and returns what they made happen, as a set of small things: inputs with a new one are worth mutating again.

Everything that a target asserts is an error of netlens, whatever the bytes are. Errors of the kind that a person is told (``NetlensError``) are none.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import struct
import tempfile
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from netlens import logs
from netlens.errors import NetlensError
from netlens.wire import columns as c
from netlens.wire import containers, dns, link, streams, tls
from netlens.wire import decode as d
from tests.wire import links
from tests.wire.hello import read_hello

Behaviour = set[Hashable]
TARGETS: dict[str, Callable[[bytes], Behaviour]] = {}
KNOWN = {text for _, text in logs.WORDS}
LINKS = (*sorted(link.NAMES), 999)
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a file system in memory
_ROOM = 64  # bytes around a frame that must make no difference


def target(function: Callable[[bytes], Behaviour]) -> Callable[[bytes], Behaviour]:
    """Register a target under its name."""
    TARGETS[function.__name__] = function
    return function


@contextlib.contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """``data`` as a file that exists while it is needed."""
    descriptor, path = tempfile.mkstemp(prefix="netlens-fuzz-", dir=MEMORY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        yield path
    finally:
        os.unlink(path)


def _size(number: int) -> int:
    return int(number).bit_length()


# --- wire -------------------------------------------------------------------------------------------------------------------------------


def _frames(path: str, **sizes: int) -> tuple[list[tuple[bytes, tuple[int, ...]]], list[str]]:
    before = {name: getattr(streams, name) for name in sizes}
    try:
        for name, value in sizes.items():
            setattr(streams, name, value)
        reader = containers.Reader([path])
        out: list[tuple[bytes, tuple[int, ...]]] = []
        for batch in reader.batches():
            for offset, cap, wire, ts, iface in batch.frames[: batch.n].tolist():
                assert 0 <= offset <= offset + cap <= len(batch.buf)
                assert iface < len(batch.links)
                out.append((batch.buf[offset : offset + cap].tobytes(), (cap, wire, ts, iface)))
        assert reader.frame == len(out)
        return out, [w for i in reader.inputs for w in i.warnings]
    finally:
        for name, value in before.items():
            setattr(streams, name, value)


@target
def container(data: bytes) -> Behaviour:
    """pcap, pcapng, gzip. Buffers of any size give the same frames."""
    with as_file(data) as path:
        try:
            frames, warnings = _frames(path)
        except NetlensError as error:
            return {str(error).replace(path, "")[:24]}
        again, _ = _frames(path, CHUNK=100 + len(data) % 1000, HEADROOM=64)
    assert frames == again
    behaviour: Behaviour = {w.replace(path, "").split("offset")[0][:40] for w in warnings}
    return (
        behaviour
        | {("frames", _size(len(frames)))}
        | {(_size(cap), _size(wire), _size(ts), min(iface, 4)) for _, (cap, wire, ts, iface) in frames[:50]}
    )


def _decoded(buf: bytes, at: int, cap: int, wire: int, link_type: int) -> tuple[list[int], list[int], list[int]]:
    """Row, fragment and reasons of the one frame ``buf[at:at + cap]``; empty where it makes none."""
    packets, fragments = np.zeros((1, c.WIDTH), np.int64), np.zeros((1, d.FRAGMENT_WIDTH), np.int64)
    quality = np.zeros((d.N_REASONS, 2), np.int64)
    frames = np.array([[at, cap, wire, 1_700_000_000_000_000_000, 0]], np.int64)
    area = np.frombuffer(bytearray(buf) or bytearray(1), np.uint8)[: len(buf)]
    m, n = d.decode(area, frames, 1, np.array([link_type], np.int64), 0, packets, fragments, quality)
    assert m + n <= 2  # what is heard on the air is handed back beside its packet
    row, fragment = packets[0].tolist() if m else [], fragments[0].tolist() if n else []
    if row:
        assert row[c.LENGTH] >= row[c.PAY_CAP] >= 0
        assert row[c.PAY_CAP] == 0 or at <= row[c.PAY_OFF] <= row[c.PAY_OFF] + row[c.PAY_CAP] <= at + cap
        row[c.PAY_OFF] -= at
    if fragment:
        assert fragment[12] >= fragment[13] >= 0
        assert fragment[13] == 0 or at <= fragment[11] <= fragment[11] + fragment[13] <= at + cap
        fragment[11] -= at
    return row, fragment, quality[:, 0].tolist()


@target
def packet(data: bytes) -> Behaviour:
    """One frame: byte 0 chooses the link type, byte 1 how much was on the wire besides. What lies around the frame is never read."""
    if len(data) < 2:
        return set()
    link_type, frame = LINKS[data[0] % len(LINKS)], data[2:]
    wire = len(frame) + (0, 0, 1, 1460)[data[1] & 3]
    alone = _decoded(frame, 0, len(frame), wire, link_type)
    for filler in (b"\0", b"\xff", b"\x45"):
        around = _decoded(filler * _ROOM + frame + filler * _ROOM, _ROOM, len(frame), wire, link_type)
        assert alone == around, "bytes outside of the frame were read"
    row, _, reasons = alone
    assert sum(reasons[: len(d.REASONS)]) == 1, "a frame must be counted once"
    behaviour: Behaviour = {(link_type, i) for i, count in enumerate(reasons) if count}
    if row:
        behaviour |= {(link_type, row[c.KIND], row[c.PORTS] >> 32), ("options", row[c.OPTIONS] >> 16), ("hint", row[c.HINT] & 0xFFF)}
    return behaviour


@target
def message(data: bytes) -> Behaviour:
    """One DNS message: byte 0 chooses the transport, byte 1 how much the snaplen cut."""
    if len(data) < 2:
        return set()
    transport, body = data[0] % 3, data[2:]
    length = len(body) + (0, 0, 0, 100)[data[1] & 3]
    behaviour: Behaviour = set()
    rows = []
    for room in (0, _ROOM):
        buf = np.frombuffer(bytearray(room) + body + bytearray(b"\xc0" * room) or bytearray(1), np.uint8)
        most = int(dns.room(len(body)))
        arena, row = np.zeros(most + 2 * room, np.uint8), np.zeros(dns.MESSAGE_WIDTH, np.int64)
        scratch = np.zeros((dns.MAX_RECORDS, dns.SCRATCH_WIDTH), np.int64)
        used, records = dns.parse_message(buf, room, len(body), length, transport, arena, room, row, scratch)
        if used < 0:
            assert len(body) < dns.MIN_MESSAGE
            return {"short"}
        assert room <= used <= room + most
        assert not arena[used + 1 + most :].any()
        rows.append((int(row[dns.META]), int(row[dns.QUESTION]), int(row[dns.HASH]), int(used) - room, records, arena[room:used].tobytes()))
        owners = 0
        if transport == dns.MDNS and row[dns.META] >> 31 & 1:
            for _ in range(dns.MAX_OWNERS):
                last = dns.next_owner(buf, room, len(body), records, arena, used, room + most, row, scratch)
                if last < 0:
                    break
                assert used <= last <= room + most
                used, owners = last, owners + 1
        meta = int(row[dns.META])
        behaviour = {("status", transport, meta >> 42 & 15), ("flags", meta >> 27 & 31), ("records", _size(records)), ("owners", owners)}
        behaviour |= {("type", int(t)) for t in scratch[:records, 1][:8]} | {("used", _size(used - room))}
    assert rows[0] == rows[1], "bytes outside of the message were read"
    return behaviour


@target
def hello(data: bytes) -> Behaviour:
    """One stream of TLS records from its beginning."""
    found = read_hello(data)
    around = np.frombuffer(b"\x16" * _ROOM + data + b"\x16" * _ROOM, np.uint8).copy()
    row, scratch = np.zeros(tls.HELLO_WIDTH, np.int64), np.zeros(tls.SCRATCH, np.uint8)
    status = tls.parse_hello(around, _ROOM, len(data), scratch, row)
    if row[tls.WHERE] == 0:
        for at, size in (
            (tls.SNI, tls.SNI_LEN),
            (tls.ALPN, tls.ALPN_LEN),
            (tls.CIPHERS, tls.CIPHERS_LEN),
            (tls.EXTENSIONS, tls.EXTENSIONS_LEN),
        ):
            assert row[at] < 0 or row[size] < 0 or _ROOM <= row[at] <= row[at] + row[size] <= _ROOM + len(data)
    if found is not None:
        assert status != tls.NOT_HELLO
        assert (found.sni or "").isprintable()
        assert all(name.isprintable() for name in found.alpn)
    return {
        ("status", status),
        ("where", int(row[tls.WHERE])),
        ("formed", int(row[tls.WELL_FORMED])),
        ("version", int(row[tls.VERSION])),
    } | {("there", i) for i in range(tls.HELLO_WIDTH) if row[i] >= 0}


# --- parsers ----------------------------------------------------------------------------------------------------------------------------

_HELLO = bytes.fromhex(
    "16030100650100006103030102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20000004130113030100003400000010000e00000b6578616d706c"
    "652e6f7267002b0003020304000d0006000404030804001000050003026832000a00040002001d"
)
_PAYLOADS = (
    _HELLO,
    _HELLO[:40],
    _HELLO[40:],
    bytes.fromhex("160303003a020000360303") + bytes(55),
    b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x35" + bytes(53),
    b"\x17\x03\x03\x01\x00" + bytes(256),
    b"\x17\x03\x03\x40\x00" + bytes(500),
    (b"\x17\x03\x03\x00\x64" + bytes(100)) * 2,
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"SSH-2.0-x\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + _HELLO,
    b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01",
    bytes(1),
    bytes(1460),
)
_PORTS = ((40000, 443), (40001, 443), (40000, 53), (40002, 22), (40003, 12300), (443, 40000))
_STEP = 10


def traffic_capture(data: bytes) -> bytes:
    """A raw-IP pcap of the segments that ``data`` describes, ten bytes each: flow and way, flags, number, acknowledgment, payload, time, interface."""
    out = io.BytesIO()
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, links.SLL2))
    now = 1_700_000_000_000_000
    sent = dict.fromkeys(range(32), 1000)
    for at in range(0, len(data) - _STEP + 1, _STEP):
        flow, flags, seq, ack, what, gap, iface, cut, window, more = data[at : at + _STEP]
        ports, way = _PORTS[flow >> 1 & 7 if flow >> 1 & 7 < len(_PORTS) else 0], flow & 1
        ends = (b"\x0a\0\0\1", b"\x7f\0\0\1" if ports[1] == 12300 else b"\x0a\0\0\2")
        mine, peer = (flow & 15), (flow & 15) ^ 1
        payload = b"" if what & 0x20 else _PAYLOADS[what % len(_PAYLOADS)]
        number = sent[mine] + ((seq & 127) * 100 if seq & 128 else 0) - (more & 3 == 1) * (ack & 127) + (more & 7 == 2) * (1 << 30)
        number -= (more & 31 == 30) * ((1 << 30) + 5000)
        acked = sent[peer] + ((ack & 127) if ack & 128 else 0)
        now += (gap & 127) << (gap >> 7) * 14
        if seq & 128 == 0:
            sent[mine] = number + len(payload) + (flags & 3 != 0)
        options = b"\x01\x01\x08\x0a" + struct.pack(">II", now & 0xFFFFFFFF, ack) if window & 1 else b""
        tcp = struct.pack(
            ">HHIIHHHH",
            *(ports if way == 0 else ports[::-1]),
            number & 0xFFFFFFFF,
            acked & 0xFFFFFFFF,
            (5 + len(options) // 4) << 12 | flags & 0x1F | (0x10 if flags & 0x40 else 0),
            0 if window == 255 else 8192,
            0,
            0,
        )
        segment = tcp + options + payload
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + ends[way] + ends[1 - way]
        frame = struct.pack(">HHIHBB8s", 0x0800, 0, 1 + (iface & 1), 1, 0 if way else 4, 6, bytes(8)) + ip + segment
        kept = frame[: max(len(frame) - (cut & 63), 20)] if cut & 0xC0 == 0xC0 else frame
        out.write(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(kept), len(frame)) + kept)
    return out.getvalue()


def _read(path: str, batch: int, cut: int | None = None, deferred: int = 0) -> Any:
    """The parsers' state of a capture; with ``cut`` read as two parts, of which the second is merged."""
    from netlens.parsers.pipeline import Part

    parts = [Part(), Part(deferred=True)]
    first = None
    reader = containers.Reader([path], batch=batch)
    for made in reader.batches():
        which = 0 if cut is None or made.frame0 < cut else 1
        if which and first is None:
            first = made.frame0
        made.frame0 -= first or 0
        parts[which].feed(made)
    if first is not None:
        parts[0].merge(parts[1])
    return parts[0]


@target
def traffic(data: bytes) -> Behaviour:
    """TCP segments in any order (see :func:`traffic_capture`): the batch size changes nothing, nor does reading in two parts (but for hellos)."""
    with as_file(traffic_capture(data)) as path:
        whole = _read(path, c.BATCH)
        small = _read(path, 7)
        merged = _read(path, 5, cut=len(data) // _STEP // 2 or 1)
    tables = [(p.sessions(), p.exchange_rows(), p.lookups.rows(), p.hellos.rows(), p.quality(), p.through()) for p in (whole, small)]
    assert repr(tables[0][-1]) == repr(tables[1][-1])
    for a, b in zip(*(t[:-1] for t in tables), strict=True):
        assert a.to_pandas().equals(b.to_pandas()), f"{a.schema.name}: the batch size makes a difference"
    sessions = tables[0][0]
    before, after = sessions.to_pandas().drop(columns="sni"), merged.sessions().to_pandas().drop(columns="sni")
    assert before.equals(after), "two parts make a difference"
    assert int((sessions["orig_frames"] + sessions["resp_frames"]).sum()) == int(whole.counts[d.R["tcp"], 0])
    payload = sum(len(_PAYLOADS[what % len(_PAYLOADS)]) for what in data[4 : len(data) // _STEP * _STEP : _STEP] if not what & 0x20)
    assert int((sessions["orig_bytes"] + sessions["resp_bytes"]).sum()) <= payload, "more bytes than were sent"
    for name in ("orig_bytes", "resp_bytes", "orig_missing_bytes", "orig_retransmits", "resp_copies"):
        assert (sessions[name] >= 0).all(), name
    behaviour: Behaviour = set(sessions["state"]) | {("history", h[:6]) for h in sessions["history"]}
    behaviour |= {("protocol", p) for p in sessions["protocol"]}
    for name in ("orig_retransmits", "orig_out_of_order", "orig_copies", "orig_keepalives", "orig_zero_windows", "resp_missing_bytes"):
        behaviour.add((name, _size(int(sessions[name].sum()))))
    exchanges = tables[0][1]
    return behaviour | {("exchanges", _size(exchanges.rows)), ("hellos", tables[0][3].rows)} | {("status", s) for s in exchanges["status"]}


@target
def clear(data: bytes) -> Behaviour:
    """A message in clear: byte 0 chooses who reads it, byte 1 how much of it was not captured. Nothing of it is told but what a specification has words for."""
    from netlens.parsers import denials, fatal_errors, grpc, routers, ssh_offers

    if len(data) < 2:
        return set()
    which, message = data[0] % (len(denials.PROTOCOLS) + 4) - 4, data[2:]
    if which >= 0:
        member = denials.PROTOCOLS[which]
        try:
            said = member.read(message, len(message) + (0, 0, 0, 100)[data[1] & 3])
        except IndexError:
            return {(member.ID, "cut off")}
        assert said is None or (said.isprintable() and len(said) < 100)
        return {(member.ID, said)}
    if which == -1:
        error = fatal_errors.refusal(message)
        assert error is None or not error[0] or (len(error[0]) == 5 and error[0].isalnum())
        assert fatal_errors.database(message) >= 0
        calls = grpc.Calls(0)
        grpc.read(calls, message, 1, 1)
        assert len(calls.failed) <= len(message) // 9
        return {("fatal", error), ("grpc", calls.status, len(calls.failed) > 1, calls.answered, bool(calls.error))}
    if which == -2:
        lists = ssh_offers._offer(message)
        assert lists is None or len(lists) == 10
        return {("offer", lists and [_size(len(names)) for names in lists] == [1] * 10)}
    if which == -3:
        prefixes = routers._prefixes(message)
        assert len(prefixes) <= len(message) // 32
        return {("prefixes", len(prefixes))}
    built = routers.RouterBuilder()
    said_by = routers.Master(0, 1, "10.0.0.1", 100)
    for size in (4, 16):
        built._vrrp(message, said_by, (0,), size)
    return {("virtual", len(addresses)) for _, _, addresses in built.virtual}


def _tables_of(path: str) -> tuple[Any, Behaviour]:
    from netlens.api import TABLES, Capture

    capture = Capture([path])
    behaviour: Behaviour = set()
    for name in TABLES:
        table = capture.table(name)
        table.to_pandas()
        behaviour.add((name, _size(table.rows)))
    part = capture.part
    assert int(part.counts[: len(d.REASONS), 0].sum()) == part.frames, "frames in = frames accounted for"
    reasons, counts = capture.table("quality")["reason"], capture.table("quality")["frames"]
    behaviour |= {(r, _size(n)) for r, n in zip(reasons.tolist(), counts.tolist(), strict=True)}
    sessions, lookups = capture.table("sessions"), capture.table("lookups")
    behaviour |= {("state", s) for s in sessions["state"]} | {("history", h[:4]) for h in sessions["history"][:200]}
    behaviour |= {("lookup", t, r, n) for t, r, n in zip(lookups["qtype"][:50], lookups["rcode"][:50], lookups["path"][:50], strict=True)}
    return capture, behaviour


@target
def pipeline(data: bytes) -> Behaviour:
    """A capture to all of its tables."""
    with as_file(data) as path:
        try:
            return _tables_of(path)[1]
        except NetlensError as error:
            return {str(error).replace(path, "")[:24]}


@target
def output(data: bytes) -> Behaviour:
    """A capture to every form of output: no line of it holds a control character."""
    from netlens import lenses
    from netlens.report import exports

    with as_file(data) as path:
        try:
            capture, behaviour = _tables_of(path)
            tables = {"budget": lenses.budget_of(capture)}
        except NetlensError as error:
            return {str(error).replace(path, "")[:24]}
    for name in ("sessions", "connections", "lookups", "exchanges"):
        table = capture.table(name)
        for form in (f for f, export in exports.of(name).items() if not export.BINARY):
            with contextlib.redirect_stdout(io.StringIO()) as text:
                exports.write(
                    exports.Rows(
                        table,
                        None,
                        lambda beside: tables[beside] if beside in tables else capture.table(beside),
                        capture.part.first_ns or 0,
                    ),
                    form,
                    None,
                )
            written = text.getvalue()
            odd = [ch for ch in set(written) if not ch.isprintable() and ch not in "\n\t\r"]
            assert not odd, f"{name} as {form}: {odd!r}"
            if form == "json":
                assert len(json.loads(written)) == table.rows
    return behaviour


@target
def analysis(data: bytes) -> Behaviour:
    """A capture to findings: alone, and as both sides at once."""
    from netlens.analysis import analyze
    from netlens.api import Capture
    from netlens.chains.inputs import Inputs

    behaviour: Behaviour = set()
    with as_file(data) as path:
        given: tuple[dict[str | None, tuple[str, ...]], ...] = ({None: (path,)}, {"vm": (path,), "host": (path,)})
        for captures in given[: 1 + data[-1] % 2] if data else ():
            try:
                found = analyze({side: Capture(list(paths)) for side, paths in captures.items()}, Inputs(captures))
            except NetlensError as error:
                behaviour.add(str(error).replace(path, "")[:24])
                continue
            document = found.to_dict()
            text = json.dumps(document, allow_nan=False)
            assert len(text) < 1 << 20, f"a report of {len(text)} bytes"
            behaviour |= {(h["id"], h["verdict"]) for h in document["hypotheses"]} | {("cause", document["cause"])}
    return behaviour


# --- what is no capture -----------------------------------------------------------------------------------------------------------------


@target
def log(data: bytes) -> Behaviour:
    """An error log: when it is read, and when lines of it are copied while recording. What is kept of a line holds nothing that was in it."""
    from netlens.anonymize import recordings
    from netlens.capture import errorlog as copied
    from netlens.parsers import errorlog

    with as_file(data) as path, tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        made = recordings.Result()
        try:
            found = errorlog.read(path)
            read: object = found.events
            recordings._error_log(path, Path(folder, "copy"), made)
            again = errorlog.read(Path(folder, "copy"))
            assert [e.line for e in again.events] == [e.line for e in found.events], "the copy is read as other refusals"
            for before, after in zip(found.events, again.events, strict=True):
                assert before.code == after.code or f"code={before.code}" not in KNOWN, f"a refusal {before.code} became {after.code}"
        except NetlensError as error:
            read = _plain(error, path)
    behaviour: Behaviour = {("lines", _size(len(read)))} if isinstance(read, list | tuple) else {str(read)}
    for line in data.decode("utf-8", "replace").splitlines()[:50]:
        kept = copied.reduce_line(line)
        if kept is not None:
            assert len(kept.text) < 500
            assert kept.text.isprintable()
            behaviour.add((kept.refusal, _size(len(kept.text))))
    return behaviour


@target
def manifest(data: bytes) -> Behaviour:
    """A manifest of a stranger: what it names stays in its folder."""
    from netlens.anonymize import recordings
    from netlens.anonymize.mapper import Mapper
    from netlens.capture.recording import MANIFEST, read_manifest
    from netlens.chains.inputs import from_folder
    from netlens.lenses.refused.fixes import bypass

    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        Path(folder, MANIFEST).write_bytes(data)
        try:
            read = read_manifest(folder)
        except NetlensError as error:
            return {_plain(error, folder)}
        Path(folder, "vm.pcap").write_bytes(b"")
        given = from_folder(folder)
        recordings._manifest(read, given, {}, Path(folder), Mapper(bytes(32)), recordings.Result())
        read_manifest(folder)  # what was made of it is a manifest again
        bypass.options(given.sshuttle or ())
        for side in read.sides:
            assert all(p.parent == Path(folder) for p in side.paths)
        return {("sides", len(read.sides)), ("files", _size(len(read.files)))}


@functools.cache
def _pair() -> tuple[Any, Any, Any]:
    """Captures of both sides and their clock, for what is read beside them."""
    from netlens.api import TABLES, Capture
    from netlens.chains import clock

    folder = Path(__file__).parents[2] / "captures" / "same-nat-ip-sshuttle"
    vm, host = (Capture([str(folder / f"{side}.pcap.gz")], TABLES) for side in ("vm", "host"))
    return vm, host, clock.estimate(vm, host)


@target
def sockets(data: bytes) -> Behaviour:
    """Samples of sockets: to whose connections are whose, and to their anonymous copy."""
    from netlens.anonymize import recordings
    from netlens.anonymize.mapper import Mapper
    from netlens.chains import inputs, pairing

    with as_file(data) as path:
        samples = inputs.read_sockets(path)
        try:
            rows = list(samples)
        except NetlensError as error:
            return {str(error).replace(path, "")[:30]}
        found = pairing.pair(*_pair(), rows)
        mapper = Mapper(bytes(32))
        for row in rows[:200]:
            json.dumps(recordings._sample(row, mapper), allow_nan=False).encode()
        assert all(note.isprintable() for note in samples.notes)
        return {
            ("rows", _size(len(rows))),
            ("notes", len(samples.notes)),
            ("origins", *sorted({str(why)[:12] for why in found.origin_why})),
        }


@target
def requests(data: bytes) -> Behaviour:
    """What keys showed, in a file of its own: to requests of the analysis."""
    from netlens.analysis import rebuilt
    from netlens.chains.inputs import Inputs

    vm, host, _ = _pair()
    with as_file(data) as path:
        try:
            made = rebuilt({"vm": vm, "host": host}, Inputs({}, requests=path))
        except NetlensError as error:
            return {str(error).replace(path, "")[:30]}
    return {("requests", _size(len(made.situation.requests))), ("notes", len(made.notes))}


@target
def recording(data: bytes) -> Behaviour:
    """A whole folder of a stranger's: to findings, to an anonymous copy, to a comparison with itself. Key logs in it are not used."""
    from netlens.analysis import analyze
    from netlens.anonymize import recordings
    from netlens.anonymize.mapper import Mapper
    from netlens.api import TABLES, Capture
    from netlens.chains.inputs import from_folder
    from netlens.lenses.refused.comparison import compare
    from netlens.report.text import render
    from tests.fuzz.mutate import unpack

    behaviour: Behaviour = set()
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="netlens-fuzz-") as top:
        folder = Path(top, "in")
        folder.mkdir()
        for name, content in unpack(data).items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            elif content:
                (folder / name).symlink_to(content)
            else:
                os.mkfifo(folder / name)
        try:
            given = from_folder(str(folder))
            found = analyze({side: Capture(list(paths), TABLES) for side, paths in given.captures.items()}, given)
            document = found.to_dict()
            json.dumps(document, allow_nan=False)
            render(found, Console(file=io.StringIO(), width=140))
            compare(found.assembled.situation, found.assembled.situation).to_dict()
            behaviour |= {(h["id"], h["verdict"]) for h in document["hypotheses"]} | {("notes", len(document["quality"]["notes"]))}
        except NetlensError as error:
            behaviour.add(_plain(error, top))
        try:
            made = recordings.recording(str(folder), str(Path(top, "out")), Mapper(bytes(32)))
            assert all(w.isprintable() for w in made.warnings)
            behaviour.add(("warnings", len(made.warnings)))
            from_folder(str(Path(top, "out")))  # what was made of it is a recording again
        except NetlensError as error:
            behaviour.add(_plain(error, top))
    return behaviour


def _plain(error: NetlensError, folder: str) -> str:
    said = str(error).replace(folder, "")
    assert said, "an error that says nothing"
    assert "\n" not in said, f"an error of several lines: {said[:300]!r}"
    assert len(said) < 1000, f"an error of {len(said)} bytes: {said[:300]!r}"
    return said[:40]


@target
def sink(data: bytes) -> Behaviour:
    """What tcpdump sends, in pieces of any size: what is stored can be read, or is refused."""
    from netlens.capture.sink import Sink

    chance = random.Random(len(data))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        made = Sink(Path(folder), "host", rotate_bytes=4096 if len(data) % 2 else None)
        at, behaviour = 0, set[Hashable]()
        try:
            while at < len(data):
                step = chance.choice((1, 7, 100, 5000))
                made.feed(data[at : at + step])
                at += step
        except NetlensError as error:
            behaviour.add(str(error)[:24])
        made.close()
        for path in made.files:
            with contextlib.suppress(NetlensError):  # a version of the format that tcpdump does not write
                if path.stat().st_size:
                    _frames(str(path))
        return behaviour | {("packets", _size(made.packets)), ("cut", _size(made.cut_bytes)), ("files", len(made.files))}
