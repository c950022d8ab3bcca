"""Where inputs begin."""

from __future__ import annotations

import functools
import gzip
import json
import random
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.fuzz.mutate import MAX_BYTES, pack, put_together, take_apart

ROOT = Path(__file__).resolve().parent.parent.parent
REGRESSIONS = Path(__file__).parent / "regressions"
CAPTURES = (".pcap", ".pcapng", ".cap", ".gz", ".pcapng.gz", ".ntar", ".dmp")
FOLDERS = (ROOT / "captures", ROOT / "tests" / "data")
_WHOLE = 24 << 10  #: captures up to this size are taken whole, of longer ones windows
_WINDOW = 60  #: records

LOG = (
    b'ERROR 2026-01-25T16:33:41 +58ms service=llm providerID=x error={"error":{"code":"1302"}} stream error\n'
    b'timestamp=2026-06-20T16:38:30.455Z level=ERROR message="stream error" error.error="AI_APICallError: High concurrency usage"\n'
    b"2026-06-20 16:38:30,455 429 Too Many Requests [retrying in 3s attempt #2]\n1782000000.5 1302\n"
)
MANIFEST = (
    b'format = 1\nnetlens = "0.1.0"\ncomplete = true\nreasons = []\nwarnings = []\nstarted_ns = 1\n[api]\nnames = ["api.z.ai"]\n'
    b'[[sides]]\nside = "vm"\nfiles = ["vm.pcap"]\npackets_captured = 12\nargv = ["tcpdump"]\ncomplete = true\n[[files]]\nname = "vm.pcap"\nsha256 = "00"\n'
)


RECORDINGS = ("healthy", "same-nat-ip-nat", "same-nat-ip-sshuttle", "zombie-sshuttle", "own-concurrency-idle-host")


@functools.cache
def _beside(name: str) -> dict[str, bytes]:
    """Samples of sockets and requests as they could lie beside the host's capture of a recording of the laboratory, which has none."""
    from netlens.api import Capture

    capture = Capture([str(ROOT / "captures" / name / "host.pcap.gz")])
    rows = list(capture.table("connections").records())[:40]
    samples = [
        {"side": "host", "time_ns": row["start_ns"] + 1000, "local": f"{row['orig_ip']}:{row['orig_port']}", "remote": f"{row['resp_ip']}:{row['resp_port']}",
         "state": "ESTABLISHED", "process": "sshd" if number % 2 else "curl", "pid": 100 + number}
        for number, row in enumerate(rows)
    ]  # fmt: skip
    requests = [
        {"session_id": row["session_id"], "stream": -1, "start_ns": row["start_ns"], "request_end_ns": row["start_ns"], "response_ns": row["response_ns"],
         "end_ns": row["end_ns"], "status": 200, "code": None, "complete": True, "frame": 1 + number, "response_frame": None, "end_frame": None, "http": "1.1"}
        for number, row in enumerate(list(capture.table("exchanges").records())[:40])
    ]  # fmt: skip
    return {
        kind: "".join(json.dumps(row) + "\n" for row in lines).encode() for kind, lines in (("sockets", samples), ("requests", requests))
    }


def recording(name: str) -> bytes:
    """A recording of the laboratory as an input: its captures as far as inputs go, what lies beside them, and what it could hold besides."""
    files: dict[str, bytes | str] = {}
    for path in sorted((ROOT / "captures" / name).iterdir()):
        if path.name.endswith(".pcap.gz"):
            files[path.name[:-3]] = gzip.decompress(path.read_bytes())[: MAX_BYTES // 2]
        elif path.name.endswith(("-errors.log", ".toml")):
            files[path.name] = path.read_bytes()
    return pack({**files, "sockets.jsonl": _beside(name)["sockets"], "requests.jsonl": _beside(name)["requests"]})


def captures(folders: Iterable[Path], chance: random.Random, most: int = 3000) -> Iterator[bytes]:
    """Captures of these folders, long ones as a window of their records, compressed ones as their content."""
    paths = sorted(p for folder in folders for p in Path(folder).rglob("*") if p.is_file() and p.name.endswith(CAPTURES))
    chance.shuffle(paths)
    for path in paths[:most]:
        data = path.read_bytes()[: 8 << 20]
        if data[:2] == b"\x1f\x8b":
            try:
                data = zlib.decompressobj(31).decompress(data, 8 << 20)
            except (zlib.error, gzip.BadGzipFile):
                continue
        if len(data) > _WHOLE:
            parts = take_apart(data, 20000)
            start = 1 if parts.kind == "pcapng" else 0
            for _ in range(2):
                at = chance.randrange(max(len(parts.records) - _WINDOW, 1))
                kept = parts.records[:start] + parts.records[at : at + _WINDOW]
                if parts.kind == "pcapng":  # its interfaces stand somewhere before
                    kept = [r for r in parts.records[:at] if r[:4] in (b"\1\0\0\0", b"\0\0\0\1")][:8] + parts.records[at : at + _WINDOW]
                    kept = parts.records[:1] + kept
                made = take_apart(data, 0)
                made.records = kept
                data_of_window = put_together(made)
                if data_of_window:
                    yield data_of_window
        elif data:
            yield data


def _messages() -> list[bytes]:
    """Messages in clear, with a byte that says who reads them, and one that says that they are whole."""
    from netlens.parsers.denials import PROTOCOLS
    from tests.parsers.test_denials import SAID

    numbers = {member.ID: k + 4 for k, member in enumerate(PROTOCOLS)}
    name = b"\0\0\0\x06aes128"
    offer = bytes([20]) + bytes(16) + name * 10 + bytes(5)
    others = (
        b"\x21\x01\x64\x01\x00\x01\xba\x52" + bytes([10, 0, 0, 1]),
        b"\x86\x00\x00\x00\x40\x00\x07\x08" + bytes(8) + b"\x03\x04\x40\xc0" + bytes(3) + b"\x01" + bytes(8) + bytes([0x20, 1]) + bytes(14),
        b"SSH-2.0-x\r\n" + (len(offer) + 1).to_bytes(4, "big") + b"\x04" + offer,
        b"R\0\0\0\x08\0\0\0\0E\0\0\0\x2cSFATAL\0VFATAL\0C53300\0Mtoo many clients already\0\0",
    )
    return [*(bytes([k, 0]) + each for k, each in enumerate(others)), *(bytes([numbers[id_], 0]) + message for id_, message, _ in SAID)]


@functools.lru_cache
def _captures(folders: tuple[Path, ...], seed: int, most: int) -> list[bytes]:
    """The same objects for all targets: they would be most of the memory of a worker."""
    return list(captures(folders, random.Random(seed), most))


def of(target: str, folders: Iterable[Path], chance: random.Random) -> list[bytes]:
    """Seeds of a target."""
    kept = [p.read_bytes() for p in sorted((REGRESSIONS / target).glob("*"))] if (REGRESSIONS / target).is_dir() else []
    if target == "log":
        return [*kept, LOG, *LOG.splitlines(keepends=True), *(p.read_bytes() for p in sorted((ROOT / "captures").glob("*/*-errors.log")))]
    if target == "manifest":
        return [*kept, MANIFEST, *(p.read_bytes() for p in sorted((ROOT / "captures").glob("*/manifest.toml")))]
    if target in ("sockets", "requests"):
        return [*kept, _beside("same-nat-ip-sshuttle")[target]]
    if target == "recording":
        return [*kept, *map(recording, RECORDINGS)]
    if target == "clear":
        return [*kept, *_messages()]
    if target == "traffic":
        return [*kept, bytes(200), *(chance.randbytes(10 * n) for n in (3, 10, 30, 60, 100))]
    whole = _captures(tuple(folders), chance.randrange(1 << 30), 3000 if target in ("container", "pipeline", "output", "analysis") else 300)
    if target not in ("packet", "message", "hello"):
        return kept + whole
    from tests.fuzz.targets import LINKS

    out = []
    for data in whole:
        parts = take_apart(data, 100)
        if parts.kind != "pcap":
            continue
        link = struct.unpack(parts.order + "I", parts.head[20:24])[0] & 0xFFFF
        for record in parts.records[:40]:
            frame = record[16:]
            if target == "packet" and link in LINKS:
                out.append(bytes([LINKS.index(link), 0]) + frame[:300])
            elif target == "message" and (b"\0\x35" in frame[14:60] or b"\x14\xe9" in frame[14:60]):
                at = next((i for i in (b"\0\x35", b"\x14\xe9") if i in frame[14:60]), b"")
                out.append(
                    bytes([chance.randrange(3), 0]) + frame[frame.find(at, 14) + (8 if frame[frame.find(at, 14) - 2 :][:2] != at else 6) :]
                )
            elif target == "hello" and b"\x16\x03" in frame:
                out.append(frame[frame.find(b"\x16\x03") :])
    chance.shuffle(out)
    return kept + out[:4000]
