"""Changes to bytes: any bytes, captures with their records in mind, texts with their lines and words, recordings with their files; so that what follows a
change is still read."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_BYTES = 256 << 10
_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 15, 16, 19, 20, 27, 28, 31, 32, 39, 40, 63, 64, 127, 128, 192, 255, 256, 1500, 1501, 16384, 16385, 18432,
            32767, 32768, 65535, 65536, 262144, 262145, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)  # fmt: skip
_LINKS = (0, 1, 9, 10, 12, 14, 50, 51, 101, 104, 108, 113, 149, 228, 229, 258, 276, 127, 999)
#: Pieces that formats hang on: DNS pointers, EtherTypes, TLS record beginnings, option kinds, IP protocols
_TOKENS = (
    b"\xc0\x0c", b"\xc0\x00", b"\xc0\xff", b"\xff\xff", b"\x3f", b"\x81\x00", b"\x88\xa8", b"\x88\x47", b"\x88\x64", b"\x08\x00", b"\x86\xdd",
    b"\x16\x03\x01", b"\x17\x03\x03", b"\x14\x03\x03\x00\x01\x01", b"\x01\x00\x00", b"\x01\x01\x08\x0a", b"\x05\x0a", b"\x05\x12", b"\x02\x04",
    b"\x03\x03", b"\x45", b"\x46", b"\x4f", b"\x60", b"\x00\x35", b"\x14\xe9", b"\x01\xbb", b"\x00\x16", b"\x2c", b"\x33", b"\x00", b"\x11", b"\x06",
    b"SSH-", b"HTTP/1.1 429 ", b"PROXY ", b"\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a", b"\x2b", b"\xaa\xaa\x03",
)  # fmt: skip


def _at(data: bytearray, chance: random.Random) -> int:
    """A place; beginnings are where headers are."""
    if not data:
        return 0
    return chance.randrange(min(len(data), 80)) if chance.random() < 0.4 else chance.randrange(len(data))


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[_at(data, chance)] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random) -> None:
    if data:
        data[_at(data, chance)] = chance.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF, chance.randrange(256)))


def _number(data: bytearray, chance: random.Random) -> None:
    size = chance.choice((1, 2, 2, 4))
    at = _at(data, chance)
    order = chance.choice(("big", "little"))
    if at + size <= len(data):
        data[at : at + size] = (chance.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, order)  # type: ignore[arg-type]


def _add(data: bytearray, chance: random.Random) -> None:
    at = _at(data, chance)
    if at + 2 <= len(data):
        value = int.from_bytes(data[at : at + 2], "big") + chance.choice((-8, -4, -1, 1, 4, 8, 100))
        data[at : at + 2] = (value & 0xFFFF).to_bytes(2, "big")


def _token(data: bytearray, chance: random.Random) -> None:
    token, at = chance.choice(_TOKENS), _at(data, chance)
    if chance.random() < 0.7:
        data[at : at + len(token)] = token
    else:
        data[at:at] = token


def _cut(data: bytearray, chance: random.Random) -> None:
    at = _at(data, chance)
    del data[at : at + chance.choice((1, 2, 4, 8, 100, 1000))]


def _end(data: bytearray, chance: random.Random) -> None:
    del data[_at(data, chance) :]


def _double(data: bytearray, chance: random.Random) -> None:
    at, to = _at(data, chance), _at(data, chance)
    piece = bytes(data[at : at + chance.choice((1, 2, 4, 12, 40, 500))])
    data[to:to] = piece * chance.choice((1, 1, 2, 30))


def _noise(data: bytearray, chance: random.Random) -> None:
    at = _at(data, chance)
    data[at : at + chance.choice((1, 2, 4, 16))] = chance.randbytes(chance.choice((1, 2, 4, 16)))


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _byte, _byte, _number, _number, _add, _token, _token, _cut, _end, _double, _noise,
)  # fmt: skip


def change(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """A few changes to any bytes; ``other`` is another input whose pieces may be taken."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 12))):
        if other and chance.random() < 0.1:
            at, start = chance.randrange(len(out) + 1), chance.randrange(len(other))
            out[at : at + chance.choice((0, 20))] = other[start : start + chance.choice((4, 20, 60, 1000))]
        else:
            chance.choice(CHANGES)(out, chance)
    return bytes(out[:MAX_BYTES])


# --- captures -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Records:
    """A capture taken apart: what stands before its packets, and the records, each with where its frame begins in it."""

    kind: str  # "pcap", "pcapng" or ""
    order: str
    head: bytes
    records: list[bytes]
    frame_at: int


def take_apart(data: bytes, limit: int = 4000) -> Records:
    """The records of a capture as far as they can be told; those of anything else are one."""
    magic = data[:4]
    if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        order = "<" if magic[3] in (0xA1,) else ">"
        at, records = 24, []
        while at + 16 <= len(data) and len(records) < limit:
            size = struct.unpack_from(order + "I", data, at + 8)[0]
            if size > 262144 or at + 16 + size > len(data):
                break
            records.append(data[at : at + 16 + size])
            at += 16 + size
        return Records("pcap", order, data[:24], records, 16)
    if magic == b"\n\r\r\n" and len(data) >= 28:
        order = "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
        at, records = 0, []
        while at + 12 <= len(data) and len(records) < limit:
            size = struct.unpack_from(order + "I", data, at + 4)[0]
            if size < 12 or size > 1 << 20 or at + size > len(data):
                break
            records.append(data[at : at + size])
            at += size
        return Records("pcapng", order, b"", records, 28)
    return Records("", "<", b"", [data], 0)


def put_together(parts: Records) -> bytes:
    return (parts.head + b"".join(parts.records))[:MAX_BYTES]


def _change_record(parts: Records, i: int, chance: random.Random) -> None:
    record = bytearray(parts.records[i])
    if len(record) <= parts.frame_at + 4 or chance.random() < 0.15:
        chance.choice(CHANGES)(record, chance)
        parts.records[i] = bytes(record)
        return
    tail = 4 if parts.kind == "pcapng" else 0
    frame = record[parts.frame_at : len(record) - tail]
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(CHANGES)(frame, chance)
    # the record's lengths are made to fit, or no byte behind it would be read
    if parts.kind == "pcap":
        struct.pack_into(parts.order + "I", record, 8, len(frame))
        record[parts.frame_at :] = frame
    elif parts.kind == "pcapng":
        struct.pack_into(parts.order + "I", record, 20, len(frame))
        record[parts.frame_at :] = frame + bytes(-len(frame) % 4)
        size = len(record) + 4
        struct.pack_into(parts.order + "I", record, 4, size)
        record += struct.pack(parts.order + "I", size)
    else:
        record[:] = frame
    parts.records[i] = bytes(record)


def change_capture(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """Changes to a capture: in frames with the records made to fit, to records, to headers, or to any byte of the file; or it is compressed."""
    if chance.random() < 0.15:
        return change(data, chance, other)
    parts = take_apart(data)
    if not parts.records:
        return change(data, chance, other)
    theirs = take_apart(other, 200).records if other else []
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        what, i = chance.random(), chance.randrange(len(parts.records))
        if what < 0.6:
            _change_record(parts, i, chance)
        elif what < 0.7:
            j = chance.randrange(len(parts.records))
            parts.records[i], parts.records[j] = parts.records[j], parts.records[i]
        elif what < 0.78 and len(parts.records) > 1:
            del parts.records[i : i + chance.choice((1, 1, 5))]
        elif what < 0.86:
            parts.records[i:i] = [parts.records[i]] * chance.choice((1, 2, 50))
        elif what < 0.92 and theirs:
            parts.records[i:i] = [chance.choice(theirs)]
        elif parts.kind == "pcap":
            head = bytearray(parts.head)
            if len(head) >= 24 and chance.random() < 0.6:
                struct.pack_into(parts.order + "I", head, 20, chance.choice(_LINKS))
            else:
                chance.choice(CHANGES)(head, chance)
            parts.head = bytes(head)
        else:
            _change_record(parts, 0, chance)
        if not parts.records:
            break
    out = put_together(parts)
    what = chance.random()
    if what < 0.04:
        out = out[: chance.randrange(len(out) + 1)]
    elif what < 0.07:
        out = gzip.compress(out, 1, mtime=0)
        if chance.random() < 0.7:
            out = change(out, chance)
    elif what < 0.08:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
        out = squeeze.compress(out) + squeeze.compress(bytes(1 << 20)) + squeeze.flush()
    return out


# --- text and recordings --------------------------------------------------------------------------------------------------------------

#: Values of JSON and TOML that no field expects, and pieces that the logs' forms hang on.
_VALUES = (
    b"null", b"true", b"-1", b"0", b"nan", b"NaN", b"-inf", b"1e400", b"1e-400", b"0x" + b"f" * 40, b"9" * 30, b"9" * 5000, b"9223372036854775807",
    b"9223372036854775808", b"[]", b"{}", b"[1]", b'{"a": 1}', b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b'"\\u001b[2J"', b"[" * 3000, b'{"a":' * 3000,
    b"1979-05-27T07:32:00Z", b"'''", b'"""', b'"../../etc/passwd"', b'"vm.pcap"', b'"host"', b"[[sides]]", b"[api]", b"[machines.vm]", b"a.b.c",
)  # fmt: skip
_PIECES = (
    b"\n", b"\r\n", b"\0", b"\x1b[2J", "\u202e".encode(), b"\xff", b"\xef\xbb\xbf", b" ", b" " * 5000, b"\t", b'"', b"\\",
    b"{", b"}", b"[", b"]", b",", b":", b"=", b"#",
    b"1302", b"429", b"code=1305", b"+58ms", b"+-99999999999ms", b"ERROR 2026-01-25T16:33:41 +58ms service=llm 1302\n",
    b"timestamp=9999-12-31T23:59:60Z level=ERROR 429\n",
    b"0001-01-01T00:00:00+23:59 429\n", b"1999999999999999999 1302\n", b"1000000000.999999999 429\n", b"A" * 70000,
)  # fmt: skip
_WORD = re.compile(rb'-?\d+(?:\.\d+)?|"(?:[^"\\\n]|\\.)*"|\w+|\[\]|\{\}')


def change_text(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """Changes to lines, words and bytes of a text; now and then it is compressed, as logs may be."""
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        what = chance.random()
        if what < 0.35 and (words := list(_WORD.finditer(data, 0, 1 << 17))):
            word = chance.choice(words)
            new = chance.choice((*_VALUES, *(w[0] for w in words[:50])))
            data = data[: word.start()] + new + data[word.end() :]
        elif what < 0.55:
            at = chance.randrange(len(data) + 1)
            data = data[:at] + chance.choice((*_PIECES, *_VALUES)) + data[at:]
        elif what < 0.85:
            lines = data.splitlines(keepends=True)
            at, n = chance.randrange(len(lines) + 1), chance.choice((1, 1, 2, 10))
            theirs = other.splitlines(keepends=True)
            new_lines = chance.choice((
                [], lines[at : at + n] * 2, lines[at : at + n] * 200, lines[at : at + n][::-1], theirs[: chance.randrange(len(theirs) + 1)][-n:],
            ))  # fmt: skip
            data = b"".join([*lines[:at], *new_lines, *lines[at + n :]])
        elif what < 0.9:
            data = data[: chance.randrange(len(data) + 1)]
        else:
            data = change(data, chance, other)
        data = data[:MAX_BYTES]
    if chance.random() < 0.04:
        data = gzip.compress(data * chance.choice((1, 1, 20)), 1, mtime=0)
        data = change(data, chance) if chance.random() < 0.3 else data
    return data


def pack(files: Mapping[str, bytes | str]) -> bytes:
    """A folder as one input: a tar of its files; a text instead of bytes is where a link leads, and an empty text a named pipe."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = (tarfile.SYMTYPE, content) if content else (tarfile.FIFOTYPE, "")
                tar.addfile(info)
    return out.getvalue()


def unpack(data: bytes) -> dict[str, bytes | str]:
    """What :func:`pack` packed."""
    files: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            name = info.name.replace("/", "_") or "_"
            file = tar.extractfile(info) if info.isreg() else None
            files[name] = file.read() if file is not None else info.linkname if info.issym() else ""
    return files


#: What may stand in a file's place: no end, no beginning, nothing, itself, another, something of the system's.
_PLACES = ("/dev/zero", "", "nowhere", "manifest.toml", "vm.pcap", "/dev", "/dev/full", "/proc/self/mem", "/proc/kmsg")


_NAMES = ("vm.pcap", "host.pcap", "host-errors.log", "sockets.jsonl", "requests.jsonl", "x-keylog.txt", "vm-0002.pcap", "\x1b[2J")


def change_recording(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """Changes to the files of a recording, each in its own way; some are taken away, exchanged, or something else stands in their place."""
    files, theirs = unpack(data), unpack(other) if other else {}
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(list(files) or ["vm.pcap"])
        content, of_other = files.get(name, b""), theirs.get(name, b"")
        what = chance.random()
        if what < 0.75 and isinstance(content, bytes):
            way = change_capture if ".pcap" in name else change_text
            files[name] = way(content, chance, of_other if isinstance(of_other, bytes) else b"")
        elif what < 0.85:
            files[name] = chance.choice(_PLACES)
        elif what < 0.9:
            files.pop(name, None)
        elif what < 0.95 and theirs:
            name = chance.choice(list(theirs))
            files[name] = theirs[name]
        else:
            files[
                chance.choice(
                    (
                        "vm.pcap",
                        "host.pcap",
                        "host-errors.log",
                        "sockets.jsonl",
                        "requests.jsonl",
                        "x-keylog.txt",
                        "vm-0002.pcap",
                        "\x1b[2J",
                    )
                )
            ] = content
    return pack(files)


#: How inputs of a target are changed; any bytes are where none is named.
WAYS: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    **dict.fromkeys(("pipeline", "container", "output", "analysis", "sink"), change_capture),
    **dict.fromkeys(("log", "manifest", "sockets", "requests"), change_text),
    "recording": change_recording,
}


def changed(name: str, data: bytes, chance: random.Random, other: bytes) -> bytes:
    """An input of the target ``name``, changed in the way that is its own."""
    return WAYS.get(name, change)(data, chance, other)
