"""One function a fault. Each returns what it saw, or raises :class:`tests.faults.ground.Broken` where something was lost or left half done."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults import ground
from tests.faults.ground import NETLENS, ROOT, gaps, need, numbers
from tests.fuzz.mutate import take_apart

SAMPLE = ROOT / "captures" / "same-nat-ip-sshuttle"


@dataclass
class Seen:
    """What became of one injection.

    recorded : packets (or rows, files) that there were.  tail_ms : of what was sent before the fault, how much had not arrived yet, in ms.
    status, message : how netlens ended.
    """

    recorded: int
    status: int | None
    message: str
    tail_ms: float | None = None


@dataclass
class Case:
    title: str
    times: int
    run: Callable[[random.Random], Seen]
    stays: str  # what is there afterwards


CASES: list[Case] = []


def case(title: str, times: int, stays: str) -> Callable[[Callable[[random.Random], Seen]], Callable[[random.Random], Seen]]:
    def register(function: Callable[[random.Random], Seen]) -> Callable[[random.Random], Seen]:
        CASES.append(Case(title, times, function, stays))
        return function

    return register


# --- recordings -----------------------------------------------------------------------------------------------------------------------


def _recorded(
    capture: ground.Capture, complete: bool | None, before: int, rate: float, stem: str = "host", count: int = 0
) -> tuple[int, float]:
    """Packets in the files, and for how long before the fault none had arrived (``count``: sent when it began); the recording is as it must be."""
    from netlens.capture.recording import MANIFEST, read_manifest

    paths = sorted(capture.folder.glob(f"{stem}*.pcap"))
    need(paths, "no capture file")
    found = numbers(paths)
    need(gaps(found) == 0, f"{gaps(found)} packets are missing between others")
    names = {p.name for p in capture.folder.iterdir()}
    if complete is not None:
        manifest = read_manifest(capture.folder)
        need(manifest.complete is complete, f"complete is {manifest.complete}: {manifest.reasons}")
        need(complete or manifest.reasons, "incomplete without a reason")
        need(not manifest.changed(), "files that are not what the manifest says")
        need(manifest.sides[0].packets_captured == sum(1 for _ in found) or rate == 0, "the manifest counts other packets")
        need(not [n for n in names if n.startswith(".")], f"left over: {names}")
    elif MANIFEST in names:
        read_manifest(capture.folder)
    for path in capture.folder.iterdir():
        need(path.stat().st_mode & 0o077 == 0, f"{path.name} can be read by others")
    return len(found), max(0.0, (before - (found[-1] + 1 if found else count)) / rate * 1000) if rate else 0.0


def _end_of_tcpdump(number: signal.Signals, chance: random.Random) -> Seen:
    with (
        ground.folder() as place,
        ground.namespace() as where,
        ground.traffic(where) as source,
        ground.capture(where, place / "r") as capture,
    ):
        began, count = time.monotonic(), source.sent
        time.sleep(chance.uniform(0.3, 2.5))
        rate = (source.sent - count) / (time.monotonic() - began)
        before = source.sent
        need(where.signal(number, "tcpdump") == 1, "no tcpdump to kill")
        status = capture.end()
        recorded, tail = _recorded(capture, False, before, rate, count=count)
        need(status == 1, f"status {status}")
        ground.nothing_left(where, source)
        return Seen(recorded, status, capture.message, tail)


@case("tcpdump is told to end (SIGTERM)", 25, "the recording, with a manifest that says why it is incomplete")
def tcpdump_terminated(chance: random.Random) -> Seen:
    return _end_of_tcpdump(signal.SIGTERM, chance)


@case("tcpdump is killed (SIGKILL)", 25, "the recording, with a manifest that says why it is incomplete")
def tcpdump_killed(chance: random.Random) -> Seen:
    return _end_of_tcpdump(signal.SIGKILL, chance)


@case("`capture` gets SIGTERM at any moment from its start", 40, "a complete recording, or nothing where it had not begun")
def capture_terminated(chance: random.Random) -> Seen:
    with (
        ground.folder() as place,
        ground.namespace() as where,
        ground.traffic(where) as source,
        ground.capture(where, place / "r", wait=False) as capture,
    ):
        time.sleep(chance.uniform(0.0, 5.0))
        began, before = capture.listens.is_set(), source.sent
        capture.process.send_signal(signal.SIGTERM)
        status = capture.end()
        ground.nothing_left(where, source)
        if not capture.folder.exists():
            need(not began, "it had begun, and left nothing")
            need(status in (130, 143, -15), f"status {status}")
            return Seen(0, status, capture.message)
        recorded, _ = _recorded(capture, True, before, 0)
        found = numbers(sorted(capture.folder.glob("host*.pcap")))
        need(not began or not found or found[-1] >= before - 1, f"sent before the signal, not recorded: {before - 1 - found[-1]}")
        need(status == 0, f"status {status}: {capture.said}")
        return Seen(recorded, status, "")


@case(
    "`capture` is killed (SIGKILL) at any moment from its start",
    40,
    "whole records up to that moment, without a manifest; tcpdump ends too",
)
def capture_killed(chance: random.Random) -> Seen:
    with ground.folder() as place, ground.namespace() as where, ground.traffic(where) as source:
        rotate = ("--rotate-mb", "0.05") if chance.random() < 0.5 else ()
        with ground.capture(where, place / "r", *rotate, wait=False) as capture:
            time.sleep(chance.uniform(0.0, 5.0))
            capture.process.kill()
            status = capture.end()
            ground.nothing_left(where, source)
            if not list(capture.folder.glob("host*.pcap")):
                return Seen(0, status, "")
            files = sorted(capture.folder.glob("host*.pcap"))
            if sum(p.stat().st_size for p in files) == 0:
                return Seen(0, status, "")
            found = numbers([p for p in files if p.stat().st_size])
            need(gaps(found) == 0, f"{gaps(found)} packets are missing between others")
            argv = [*NETLENS, "sessions", *(str(p) for p in files if p.stat().st_size), "--format", "json"]
            done = subprocess.run(argv, capture_output=True, cwd=ROOT, check=False)
            need(done.returncode == 0, done.stderr.decode())
            return Seen(len(found), status, "")


@case("the disk is full", 20, "whole records up to the last that fitted, and a manifest that says so")
def disk_full(chance: random.Random) -> Seen:
    with (
        ground.folder() as place,
        ground.namespace() as where,
        ground.small_disk(place, chance.randrange(1500, 5000)) as disk,
        ground.traffic(where, size=1300, pause=0.0002),
        ground.capture(where, disk / "r") as capture,
    ):
        status = capture.end()
        recorded, _ = _recorded(capture, False, 0, 0)
        need(status == 1, f"status {status}")
        need("disk" in capture.message, capture.message)
        return Seen(recorded, status, capture.message)


def _wire(chance: random.Random, gone: bool) -> Seen:
    with ground.folder() as place, ground.namespace() as where, ground.namespace() as other:
        ground.wire(where, other)
        with ground.traffic(where, ground.OTHER) as source, ground.capture(where, place / "r", "-i", "w0") as capture:
            count, began = source.sent, time.monotonic()
            time.sleep(chance.uniform(0.5, 2))
            rate, before = (source.sent - count) / (time.monotonic() - began), source.sent
            if gone:
                ground.command(*where.prefix, "ip", "link", "del", "w0")
                status = capture.end()
            else:
                ground.command(*where.prefix, "ip", "link", "set", "w0", "down")
                time.sleep(chance.uniform(0.2, 1.0))
                ground.command(*where.prefix, "ip", "link", "set", "w0", "up")
                time.sleep(0.5)
                if capture.process.poll() is None:
                    capture.process.send_signal(signal.SIGINT)
                status = capture.end()
            paths = sorted(capture.folder.glob("host*.pcap"))
            found = numbers(paths)
            until = [n for n in found if n < before]
            need(gaps(until) == 0, f"{gaps(until)} packets from before the fault are missing")
            from netlens.capture.recording import read_manifest

            manifest = read_manifest(capture.folder)
            need(manifest.complete == (status == 0), f"status {status}, complete {manifest.complete}")
            need(not gone or status == 1, f"status {status}")
            tail = max(0.0, (before - (until[-1] + 1 if until else count)) / rate * 1000)
            return Seen(len(found), status, capture.message if status else "", tail)


@case("the interface goes down and up again", 15, "what came before; then it ends and says so, or goes on")
def interface_down(chance: random.Random) -> Seen:
    return _wire(chance, gone=False)


@case("the interface is deleted", 15, "the recording, with a manifest that says why it is incomplete")
def interface_deleted(chance: random.Random) -> Seen:
    return _wire(chance, gone=True)


def _ssh(chance: random.Random, how: str) -> Seen:
    with ground.folder() as place, ground.far(place) as far, ground.traffic(far.vm) as source:
        options = ("--vm", far.options, "--ssh-cmd", far.ssh, "-i", "lo")
        with ground.capture(None, place / "r", *options, side="vm") as capture:
            count, began = source.sent, time.monotonic()
            time.sleep(chance.uniform(0.5, 2))
            rate, before = (source.sent - count) / (time.monotonic() - began), source.sent
            survives = False
            if how == "killed":
                # that which serves the connection has this name since OpenSSH 9.8; its parent, which accepts further ones, dies with it or lives on
                killed = far.vm.signal(signal.SIGKILL, "sshd-session")
                if not killed or chance.random() < 0.5:
                    far.vm.signal(signal.SIGKILL, "sshd")
            elif how == "cut":
                ground.command(*far.host.prefix, "ip", "link", "set", "w0", "down")
            else:
                survives = how == "paused"
                far.vm.signal(signal.SIGSTOP)
                time.sleep(1.0 if survives else 8.0)
                far.vm.signal(signal.SIGCONT)
                time.sleep(1.0)
                if survives:
                    before = source.sent
                    capture.process.send_signal(signal.SIGINT)
            status = capture.end()
            recorded, tail = _recorded(capture, survives, before, rate, "vm", count)
            need(status == (0 if survives else 1), f"status {status}: {capture.said}")
            if how != "cut":  # a VM whose wire is cut cannot know
                ground.nothing_left(far.vm, source, but=("sshd",))
            return Seen(recorded, status, capture.message if status else "", tail)


@case("the ssh connection is killed at the VM", 12, "the recording, with a manifest that says why it is incomplete")
def ssh_killed(chance: random.Random) -> Seen:
    return _ssh(chance, "killed")


@case("the wire to the VM is cut silently", 12, "the recording, with a manifest that says why it is incomplete")
def ssh_cut(chance: random.Random) -> Seen:
    return _ssh(chance, "cut")


@case("the VM pauses for less than ssh waits (SIGSTOP of all its processes)", 10, "a complete recording: it goes on")
def vm_pauses(chance: random.Random) -> Seen:
    return _ssh(chance, "paused")


@case("the VM pauses for longer than ssh waits", 10, "the recording up to the pause, with a manifest that says why it is incomplete")
def vm_pauses_long(chance: random.Random) -> Seen:
    return _ssh(chance, "paused long")


@case("two `capture` in one folder at once", 20, "one complete recording; the other is refused")
def two_in_one_folder(chance: random.Random) -> Seen:
    with ground.folder() as place, ground.namespace() as where, ground.traffic(where):
        if chance.random() < 0.5:
            (place / "r").mkdir()
        options = ("--seconds", "1")
        with ground.capture(where, place / "r", *options, wait=False) as first:
            time.sleep(chance.choice((0, 0, chance.uniform(0, 1))))
            with ground.capture(where, place / "r", *options, wait=False) as second:
                ends = sorted([(first.end(), first.message), (second.end(), second.message)])
                need([s for s, _ in ends] == [0, 1], f"{ends}")
                recorded, _ = _recorded(first, True, 0, 0)
                return Seen(recorded, 1, ends[1][1])


# --- analyses -------------------------------------------------------------------------------------------------------------------------


def _whole(path: Path) -> bool:
    """Is an output complete?"""
    data = path.read_bytes()
    if path.suffix == ".json":
        json.loads(data)
        return True
    if path.suffix == ".png":
        return data.endswith(b"IEND\xaeB`\x82")
    if path.suffix == ".svg":
        return data.rstrip().endswith(b"</svg>")
    if path.suffix == ".html":
        return data.rstrip().endswith(b"</html>")
    if path.suffix == ".parquet":
        return data[:4] == data[-4:] == b"PAR1"
    return data.endswith(b"\n")


_reference: dict[str, tuple[float, bytes]] = {}
_lock = threading.Lock()


def _output(chance: random.Random, number: signal.Signals, argv: list[str], out: str) -> Seen:
    with ground.folder() as place:
        target = place / out
        full = [*NETLENS, *argv, "-o", str(target)]
        with _lock:
            if out not in _reference:
                began = time.monotonic()
                subprocess.run(full, cwd=ROOT, check=True, capture_output=True)
                _reference[out] = (time.monotonic() - began, target.read_bytes() if target.is_file() else b"")
                if target.is_dir():
                    shutil.rmtree(target)
                else:
                    target.unlink()
        usual, expected = _reference[out]
        if chance.random() < 0.3 and target.suffix != "":
            target.write_bytes(b"old\n")  # what was there stays until the new one is complete
        process = subprocess.Popen(full, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0.2, 1.15) * usual)
        process.send_signal(number)
        _, said = process.communicate()
        files = [p for p in place.rglob("*") if p.is_file()]
        for path in files:
            if _is_hidden(path, place):
                need(number == signal.SIGKILL, f"left over: {path.relative_to(place)}")
            elif path.read_bytes() != b"old\n":
                need(_whole(path), f"{path.name} is not complete")
                need(not expected or path.read_bytes() == expected or path.suffix != ".csv", f"{path.name} is another")
        need(process.returncode in (0, 143, -number), f"status {process.returncode}: {said.decode()[:300]}")
        done = [p for p in files if not _is_hidden(p, place) and p.read_bytes() != b"old\n"]
        return Seen(len(done), process.returncode, "")


def _is_hidden(path: Path, below: Path) -> bool:
    """Whether it is a temporary file, which lies in a hidden folder beside what it becomes."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


@case("`analyze -o` gets SIGTERM at any moment", 25, "each output complete or absent, no temporary file")
def analyze_terminated(chance: random.Random) -> Seen:
    return _output(chance, signal.SIGTERM, ["analyze", str(SAMPLE)], "findings")


@case("`analyze -o` is killed (SIGKILL) at any moment", 25, "each output complete or absent; a hidden temporary file may be left")
def analyze_killed(chance: random.Random) -> Seen:
    return _output(chance, signal.SIGKILL, ["analyze", str(SAMPLE)], "findings")


@case("an export (CSV, JSON, Parquet) gets SIGTERM at any moment", 45, "the output complete or as it was before, no temporary file")
def export_terminated(chance: random.Random) -> Seen:
    form = chance.choice(("csv", "json", "parquet"))
    return _output(chance, signal.SIGTERM, ["sessions", str(SAMPLE / "vm.pcap.gz"), "--format", form], f"sessions.{form}")


@case("an export (CSV, JSON, Parquet) is killed (SIGKILL) at any moment", 45, "the output complete or as it was before")
def export_killed(chance: random.Random) -> Seen:
    form = chance.choice(("csv", "json", "parquet"))
    return _output(chance, signal.SIGKILL, ["sessions", str(SAMPLE / "vm.pcap.gz"), "--format", form], f"sessions.{form}")


@case("the disk is full when findings or an export are written", 20, "each output complete or absent, no temporary file")
def output_disk_full(chance: random.Random) -> Seen:
    with ground.folder() as place, ground.small_disk(place, chance.choice((4, 40, 120))) as disk:
        form = chance.choice(("csv", "json", "parquet", "analyze"))
        argv = (
            ["analyze", str(SAMPLE), "-o", str(disk / "out")]
            if form == "analyze"
            else ["sessions", str(SAMPLE / "vm.pcap.gz"), "--format", form, "-o", str(disk / f"s.{form}")]
        )
        done = subprocess.run([*NETLENS, *argv], cwd=ROOT, capture_output=True, text=True, check=False)
        files = [p for p in disk.rglob("*") if p.is_file()]
        for path in files:
            need(not _is_hidden(path, disk), f"left over: {path.relative_to(disk)}")
            need(_whole(path), f"{path.name} is not complete")
        need(done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr[-300:])
        need(done.returncode == 1 or files, "status 0 and no output")
        lines = done.stderr.strip().splitlines()
        return Seen(len(files), done.returncode, lines[-1].removeprefix("netlens: ").replace(str(disk), "DIR") if done.returncode else "")


# --- captures that change while they are read ------------------------------------------------------------------------------------------


def _content() -> bytes:
    with _lock:
        if "content" not in _reference:
            data = gzip.decompress((SAMPLE / "host.pcap.gz").read_bytes())
            records = data[24:]
            _reference["content"] = (0.0, data[:24] + records * max(1, (12 << 20) // len(records)))
    return _reference["content"][1]


def _frames_of(path: Path, meanwhile: Callable[[int], None]) -> tuple[int, list[str]]:
    from netlens.wire.containers import Reader

    count = 0

    def progress(done: int, frames: int) -> None:
        nonlocal count
        count += 1
        meanwhile(count)

    reader = Reader([path], progress)
    for _ in reader.batches():
        pass
    return reader.frame, [w for i in reader.inputs for w in i.warnings]


@case(
    "a capture file grows while it is read", 100, "all whole records that were there are read; one that is being written is told of as cut"
)
def file_grows(chance: random.Random) -> Seen:
    data = _content()
    with ground.folder() as place:
        path = place / "growing.pcap"
        at = chance.randrange(24, len(data))
        path.write_bytes(data[:at])
        steps = chance.randrange(1, 5)

        def more(_: int) -> None:
            nonlocal at
            step = chance.randrange(1, len(data) // 8)
            with open(path, "ab") as file:
                file.write(data[at : at + step])
            at = min(len(data), at + step)

        frames, warnings = _frames_of(path, lambda n: more(n) if n <= steps else None)
        path.write_bytes(data[:at])
        there, _ = _frames_of(path, lambda _: None)
        need(frames <= there, "more frames than there are")
        need(len(warnings) <= 1 and all("cut short" in w for w in warnings), f"{warnings}")
        return Seen(frames, 0, warnings[0].replace(str(path), "FILE") if warnings else "")


@case("a capture file shrinks while it is read", 100, "what was read until then; the cut is told of")
def file_shrinks(chance: random.Random) -> Seen:
    data = _content()
    with ground.folder() as place:
        path = place / "shrinking.pcap"
        path.write_bytes(data)
        when, to = chance.randrange(1, 6), chance.randrange(0, len(data))
        frames, warnings = _frames_of(path, lambda n: os.truncate(path, to) if n == when else None)
        need(len(warnings) <= 1 and all("cut short" in w for w in warnings), f"{warnings}")
        return Seen(frames, 0, warnings[0].replace(str(path), "FILE") if warnings else "")


_LOGGED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?: \+(\d+)ms)?")


def _second(match: re.Match[str]) -> int:
    return int(datetime.fromisoformat(match[1] + "+00:00").timestamp())


def _stepped(log: str, when: int, step: int) -> str:
    """A log whose clock is set by ``step`` seconds at ``when``; one of the formats tells the time since the line before besides."""
    before = True

    def moved(match: re.Match[str]) -> str:
        nonlocal before
        second = _second(match)
        if second < when:
            return match[0]
        since = "" if match[2] is None else f" +{int(match[2]) + step * 1000 * before}ms"
        before = False
        return datetime.fromtimestamp(second + step, UTC).strftime("%Y-%m-%dT%H:%M:%S") + since

    return _LOGGED.sub(moved, log)


def _step(side: str, step: int, chance: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Findings of the sample before and after the clock of a side was set by so many seconds in the middle of it."""
    with ground.folder() as place:
        copy = place / "r"
        shutil.copytree(SAMPLE, copy)
        packed, log = copy / f"{side}.pcap.gz", copy / f"{side}-errors.log"
        parts = take_apart(gzip.decompress(packed.read_bytes()), 1 << 20)
        times = [struct.unpack_from(parts.order + "I", record, 0)[0] for record in parts.records]
        logged = {_second(m) for m in _LOGGED.finditer(log.read_text(encoding="utf-8"))}
        first = chance.choice([i for i, second in enumerate(times) if second not in logged])
        for i in range(first, len(parts.records)):
            parts.records[i] = struct.pack(parts.order + "I", times[i] + step) + parts.records[i][4:]
        log.write_text(_stepped(log.read_text(encoding="utf-8"), times[first], step), encoding="utf-8")
        packed.unlink()
        (copy / f"{side}.pcap").write_bytes(parts.head + b"".join(parts.records))
        (copy / "manifest.toml").unlink(missing_ok=True)
        before, after = (_findings(p) for p in (SAMPLE, copy))
        need(after["counts"]["sessions"] == before["counts"]["sessions"], f"sessions {after['counts']} and {before['counts']}")
        argv = [*NETLENS, "watch", "--replay", str(copy), "--side", side, "--speed", "0", "--json"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=120, check=False)
        need(done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode()[-300:])
        return before, after


def _seconds(chance: random.Random) -> int:
    return round(10 ** chance.uniform(0, 4))  # whole ones: so fine are the times of one of the logs


@case(
    "the clock is set while recording (1 s to 3 h in capture and error log; the VM's or the host's, forward or back)",
    60,
    "all sessions, and the host's step back is told of; no other cause than without it",
)
def clock_stepped(chance: random.Random) -> Seen:
    side, step = chance.choice(("vm", "host")), _seconds(chance) * chance.choice((-1, 1))
    before, after = _step(side, step, chance)
    need(after["cause"] in (before["cause"], None), f"cause {after['cause']} in place of {before['cause']}")
    if side == "host" and step < 0:
        told = any("the host's clock was set back" in note for note in after["quality"]["notes"])
        need(told or bool(after["clock"] and after["clock"]["steps"]), "a step that is not told of")
    return Seen(after["counts"]["sessions"], 0, "")


def _findings(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*NETLENS, "analyze", str(folder), "--api", "api.z.ai", "--format", "json"], cwd=ROOT, capture_output=True, check=False
    )
    need(done.returncode == 0, done.stderr.decode()[-300:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found
