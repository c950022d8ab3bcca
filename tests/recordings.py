"""The bundled recordings of the laboratory: their truth, and copies of them seen by a wrong clock or with files left out."""

from __future__ import annotations

import gzip
import re
import struct
import tomllib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netlens

if TYPE_CHECKING:
    from netlens.analysis import Analysis

FOLDER = Path(__file__).parents[1] / "captures"
NAMES = sorted(p.parent.name for p in FOLDER.glob("*/manifest.toml"))
#: Of which a proxy on the way makes connections of its own: those of VM and host are not the same one by one.
PROXIED = {"own-concurrency-connect", "own-concurrency-haproxy", "same-nat-ip-socks", "zombie-haproxy"}


def lab(name: str) -> dict[str, Any]:
    """The ``[lab]`` table of a recording's manifest."""
    table: dict[str, Any] = tomllib.loads((FOLDER / name / "manifest.toml").read_text())["lab"]
    return table


def expected(name: str) -> dict[str, Any]:
    table: dict[str, Any] = lab(name)["expect"]
    return table


def with_keys(folder: Path) -> Analysis:
    """A recording's analysis, with the key logs that lie in it."""
    return netlens.analyze(folder, keylog=tuple(str(p) for p in sorted(folder.glob("*-keylog.txt"))))


def copy(
    name: str,
    to: Path,
    *,
    offset_s: float = 0.0,
    drift_ppm: float = 0.0,
    without: Collection[str] = ("provider.jsonl",),
    host_back: tuple[float, float] | None = None,
) -> Path:
    """A recording without some of its files, whose VM's clock is off besides what it was: by ``offset_s``, gaining ``drift_ppm`` from its first frame on.

    ``host_back``: after this part of its frames, the host's clock is set back by so many seconds, in its capture (its error log is left out).
    Times of the VM's capture (pcap in microseconds) and of its error log are rewritten. There is no manifest in it: nobody tells.
    """
    source = FOLDER / name
    to.mkdir(parents=True, exist_ok=True)
    first = None
    for path in sorted(source.iterdir(), key=lambda p: p.suffix != ".gz"):  # captures before logs: the drift counts from the first frame
        if path.name in without or path.name == "manifest.toml" or path.name.endswith("-program.jsonl"):
            continue
        if path.name == "vm.pcap.gz":
            data, first = _shifted_pcap(gzip.decompress(path.read_bytes()), offset_s, drift_ppm)
            (to / "vm.pcap").write_bytes(data)
        elif host_back is not None and path.name == "host-errors.log":
            pass
        elif host_back is not None and path.name == "host.pcap.gz":
            (to / "host.pcap").write_bytes(_set_back(gzip.decompress(path.read_bytes()), *host_back))
        elif path.name == "vm-errors.log":
            assert first is not None
            (to / path.name).write_text(_shifted_log(path.read_text(), first, offset_s, drift_ppm))
        else:
            (to / path.name).write_bytes(path.read_bytes())
    return to


def _shifted_pcap(data: bytes, offset_s: float, drift_ppm: float) -> tuple[bytes, float]:
    assert data[:4] == b"\xd4\xc3\xb2\xa1", "little-endian, microseconds"
    out, at, first = bytearray(data), 24, None
    while at + 16 <= len(data):
        seconds, micros, captured = struct.unpack_from("<III", data, at)
        first = seconds * 10**6 + micros if first is None else first
        now = seconds * 10**6 + micros
        now += round(offset_s * 1e6 + (now - first) * drift_ppm / 1e6)
        struct.pack_into("<II", out, at, now // 10**6, now % 10**6)
        at += 16 + captured
    return bytes(out), (first or 0) / 1e6


def _set_back(data: bytes, part: float, by_s: float) -> bytes:
    out, places, at = bytearray(data), [], 24
    while at + 16 <= len(data):
        places.append(at)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    for at in places[int(part * len(places)) :]:
        seconds, micros = struct.unpack_from("<II", data, at)
        now = seconds * 10**6 + micros - round(by_s * 1e6)
        struct.pack_into("<II", out, at, now // 10**6, now % 10**6)
    return bytes(out)


def _shifted_log(text: str, first_s: float, offset_s: float, drift_ppm: float) -> str:
    """Both formats of opencode; in the classic one, whole seconds and the time since the line before are made anew from milliseconds."""
    if not text:
        return text
    if text.startswith("timestamp="):

        def moved(match: re.Match[str]) -> str:
            when = datetime.fromisoformat(match[1].replace("Z", "+00:00"))
            true = when.timestamp()
            when += timedelta(seconds=offset_s + (true - first_s) * drift_ppm / 1e6)
            return f"timestamp={when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"

        return re.sub(r"^timestamp=(\S+)", moved, text, flags=re.MULTILINE)
    lines, out = text.splitlines(), []
    pattern = re.compile(r"^(\w+\s+)(\S+) \+(\d+)ms(.*)$")
    stamps, total = [], 0
    for line in lines:
        found = pattern.match(line)
        assert found is not None
        total += int(found[3])
        stamps.append((datetime.fromisoformat(found[2]).replace(tzinfo=UTC).timestamp(), total, found))
    # milliseconds of the first line: the middle of what the whole seconds of all lines allow
    begin = (max(whole * 1000 - since for whole, since, _ in stamps) + min(whole * 1000 + 999 - since for whole, since, _ in stamps)) // 2
    last = None
    for _, since, found in stamps:
        true = begin + since
        now = true + round(offset_s * 1000 + (true / 1000 - first_s) * drift_ppm / 1000)
        when = datetime.fromtimestamp(now // 1000, UTC)
        out.append(f"{found[1]}{when:%Y-%m-%dT%H:%M:%S} +{0 if last is None else round(now - last)}ms{found[4]}")
        last = now
    return "\n".join(out) + "\n"
