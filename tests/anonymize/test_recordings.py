"""Recordings: every one of the laboratory is analysed to the same verdict, nothing private is left, nothing is written over."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest

import netlens
from netlens import logs, outputs
from netlens.analysis import analyze
from netlens.anonymize import recordings, secret
from netlens.anonymize.mapper import Mapper
from netlens.api import TABLES, Capture
from netlens.capture.recording import read_manifest
from netlens.chains.inputs import from_folder
from netlens.chains.target import KNOWN_APIS
from netlens.errors import NetlensError
from netlens.parsers import decrypted, errorlog
from tests.anonymize.frames import SECRET
from tests.recordings import FOLDER, NAMES


def keys(folder: Path) -> tuple[str, ...]:
    return tuple(str(p) for p in sorted(folder.glob("*-keylog.txt")))


def findings(folder: Path) -> dict[str, Any]:
    given = from_folder(str(folder)).with_options(keylogs=keys(folder))
    return analyze({side: Capture(paths, TABLES) for side, paths in given.captures.items()}, given).to_dict()


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """What must be equal: everything but names, addresses, paths, and sentences and commands in which these stand."""
    out = {k: found[k] for k in ("clock", "counts", "peaks", "paths", "tails", "limit", "cause", "unmatched_rejections")}
    out["quality"] = found["quality"]["reasons"]
    out["hypotheses"] = [
        [h["id"], h["verdict"], h["attributable_fraction"], h["p"], [[(Path(f["file"]).name, f["frame"]) for f in e["frames"]] for e in h["evidence"]]]
        for h in found["hypotheses"]
    ]  # fmt: skip
    out["fixes"] = [{k: v for k, v in f.items() if k not in ("command", "program", "caveats", "title")} for f in found["fixes"]]
    out["sides"] = {name: {k: v for k, v in side.items() if k != "notes"} for name, side in found["sides"].items()}
    return out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.tshark
def test_the_verdict_is_the_same(name: str, tmp_path: Path) -> None:
    """All recordings of the laboratory, each with a key of its own: cause, verdicts, limit, fixes' numbers, clock, frames cited.

    The keys are the same each time, as three bytes that one makes may be those of an address by chance.
    """
    target = tmp_path / "anonymous"
    recordings.recording(
        str(FOLDER / name), str(target), Mapper(hashlib.sha256(name.encode()).digest(), known=KNOWN_APIS), keylogs=keys(FOLDER / name)
    )
    assert comparable(findings(target)) == comparable(findings(FOLDER / name))
    everything = b"".join(gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in sorted(target.iterdir()))
    for private in (b"z.ai", b"203.0.113", bytes([203, 0, 113]), b"zai-coding", b"glm-4", b"reduce concurrency", b"key-vm"):
        assert private not in everything
    assert not re.search(rb"ses_\w{9}", everything)  # names of sessions; short sums of them say which lines are of one
    assert not {p.name for p in target.iterdir()} & {"provider.jsonl", "vm-program.jsonl", "vm-keylog.txt"}


def test_keys_that_nobody_named_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decrypting starts tshark, a large program that parses what strangers sent; whoever made the folder does not decide that."""
    started: list[str] = []
    monkeypatch.setattr(decrypted, "requests", lambda _, keylog, *__: started.append(keylog) or decrypted.Decrypted([]))
    source = FOLDER / "http2"
    result = recordings.recording(str(source), str(tmp_path / "a"), Mapper(SECRET))
    wanted = f"add --keylog {shlex.quote(str(source / 'vm-keylog.txt'))}"
    assert result.warnings == [
        f"the copy has no decrypted requests, as no key log was named; to include them (this starts tshark), {wanted}"
    ]
    assert "vm-keylog.txt" in result.left_out
    notes = netlens.analyze(source).quality["notes"]
    assert sum("vm-keylog.txt: this TLS key log is in the recording but was not used" in note for note in notes) == 1
    assert "--keylog FILE" in " ".join(notes)
    assert started == []
    keylog = str(source / "vm-keylog.txt")
    netlens.analyze(source, keylog=keylog)
    recordings.recording(str(source), str(tmp_path / "b"), Mapper(SECRET), keylogs=(keylog,))
    assert started == [keylog, keylog]


def test_two_runs_with_one_key_agree_and_others_do_not(tmp_path: Path) -> None:
    source = str(FOLDER / "same-nat-ip-nat")
    made = []
    for k, key in enumerate((SECRET, SECRET, bytes(32))):
        recordings.recording(source, str(tmp_path / str(k)), Mapper(key))
        made.append({p.name: p.read_bytes() for p in sorted((tmp_path / str(k)).iterdir())})
    assert made[0] == made[1]
    assert made[0]["vm.pcap.gz"] != made[2]["vm.pcap.gz"]
    assert read_manifest(tmp_path / "0").extra["api"]["names"] != read_manifest(tmp_path / "2").extra["api"]["names"]


def test_rights(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        recordings.recording(str(FOLDER / "healthy"), str(tmp_path / "out"), Mapper(SECRET))
        recordings.capture(str(FOLDER / "healthy" / "vm.pcap.gz"), str(tmp_path / "one.pcap"), Mapper(SECRET))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    for path in [*(tmp_path / "out").iterdir(), tmp_path / "one.pcap"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.pcap", "out"], "nothing is left aside"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    for target in (there, link, empty):
        with pytest.raises(NetlensError, match="exists"):
            recordings.capture(str(FOLDER / "healthy" / "vm.pcap.gz"), str(target), Mapper(SECRET))
        with pytest.raises(NetlensError, match="exists"):
            recordings.recording(str(FOLDER / "healthy"), str(target), Mapper(SECRET))
    assert there.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_what_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    target, folder = tmp_path / "out.pcap", tmp_path / "out"

    def file() -> None:
        with outputs.new_file(str(target)) as path:
            Path(path).write_text("ours")
            target.write_text("theirs")

    def recording() -> None:
        with outputs.new_folder(str(folder)):
            folder.mkdir()
            (folder / "theirs").touch()

    for make in (file, recording):
        with pytest.raises(NetlensError, match="exists"):
            make()
    assert target.read_text() == "theirs"
    assert [p.name for p in folder.iterdir()] == ["theirs"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "vm.pcap").write_bytes((FOLDER / "healthy" / "vm.pcap.gz").read_bytes())
    (bad / "host.pcap").write_text("this is no capture")
    with pytest.raises(NetlensError):
        recordings.recording(str(bad), str(tmp_path / "out"), Mapper(SECRET))
    with pytest.raises(NetlensError):
        recordings.capture(str(bad / "host.pcap"), str(tmp_path / "out.pcap"), Mapper(SECRET))
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


# --- key files ------------------------------------------------------------------------------------------------------------------------------


def test_a_key_file_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = secret.from_file(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.from_file(str(path)) == made
    assert len(made) == 32
    assert secret.from_file(str(tmp_path / "other")) != made


@pytest.mark.parametrize("text", ["", "password\n", "netlens-anonymize-1 00\n", "netlens-anonymize-1 " + "g" * 64])
def test_other_files_are_no_key_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(NetlensError, match="not a key file"):
        secret.from_file(str(path))
    assert path.read_text() == text


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret.from_file(str(path))
    path.chmod(0o644)
    with pytest.raises(NetlensError, match="chmod 600"):
        secret.from_file(str(path))


# --- what lies beside the captures ----------------------------------------------------------------------------------------------------------


LINES = [
    'ERROR 2026-01-25T16:33:41 +58ms service=llm providerID=secret error={"statusCode": 429, "body": "sk-123 code 1302"} stream error',
    "INFO  2026-01-25T16:33:41 +3ms service=session.prompt prompt=my secret",
    'timestamp=2026-06-20T16:38:30.455Z level=ERROR service=llm message="stream error" error.error="AI_APICallError: secret" error.code=1305',
    "timestamp=2026-06-20T16:38:30.455Z level=INFO service=llm prompt=secret 429",
    "2026-06-20 16:38:30.455 High concurrency usage of this API secret",
    "2026-06-20T16:38:30+02:00 the secret failed with 1305 lines",
    "1782000000.123 nothing secret happened",
    "    at secret (file:///home/alice/secret.js:429:1)",
    "half a li WARN 2026-01-25T16:33:42 +7ms service=llm secret",
    "",
    "ERROR 2026-01-25T16:33:43 +9ms error=secret",
]


@pytest.mark.parametrize("line", LINES)
def test_a_reduced_line_is_read_alike(line: str, tmp_path: Path) -> None:
    kept = recordings.reduced(line)
    assert "secret" not in kept
    assert "sk-" not in kept
    files = [tmp_path / "before.log", tmp_path / "after.log"]
    for path, text in zip(files, (line, kept), strict=True):
        path.write_text("INFO  2026-01-25T16:33:40 +0ms\n" + text + "\nINFO  2026-01-25T16:33:44 +800ms\n")
    before, after = (errorlog.read(path) for path in files)
    assert [(e.low_ns, e.high_ns, e.line, e.code, e.kind, e.chain) for e in after.events] == [
        (e.low_ns, e.high_ns, e.line, e.code, e.kind, e.chain) for e in before.events
    ]
    assert (after.lines, after.unread, after.first_ns, after.last_ns, after.complete) == (
        before.lines, before.unread, before.first_ns, before.last_ns, before.complete,
    )  # fmt: skip
    assert recordings.reduced(kept) == kept


def test_only_known_words_leave_a_line() -> None:
    known = {word for _, text in logs.WORDS for word in re.findall(r"[^\s\"]+", text)}
    for line in LINES:
        rest = re.sub(r"^\S+ +\S+ \+\d+ms|service=\S+|level=\S+|timestamp=\S+|^\S+( \S+)?", "", recordings.reduced(line))
        assert set(re.findall(r"[^\s\"]+", rest)) <= known | {"service=", "-", "+0ms"}


def test_socket_samples(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "host.pcap.gz").write_bytes((FOLDER / "healthy" / "host.pcap.gz").read_bytes())
    rows: list[Any] = [
        {"side": "host", "time_ns": 5, "local": "192.168.64.1:22", "remote": "192.168.64.2:5000", "state": "ESTABLISHED", "process": "sshd-session", "pid": 7},
        {"side": "host", "time_ns": 6, "local": "[fe80::1%en0]:1", "remote": "[::1]:2", "state": "x; rm", "process": "alice-agent", "pid": 8, "argv": "secret"},
        {"side": "alice", "time_ns": True, "local": "alice.local:99", "remote": 5, "pid": "8"},
        "no object",
    ]  # fmt: skip
    (folder / "sockets.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n{broken\n")
    result = recordings.recording(str(folder), str(tmp_path / "out"), mapper := Mapper(SECRET))
    (warning,) = result.warnings
    assert "sockets.jsonl: 3 lines left out" in warning
    text = (tmp_path / "out" / "sockets.jsonl").read_text()
    made = [json.loads(line) for line in text.splitlines()]
    assert made[0] == rows[0] | {
        "local": f"{mapper.address('192.168.64.1')}:22", "remote": f"{mapper.address('192.168.64.2')}:5000", "process": "sshd",
    }  # fmt: skip
    assert made[1]["remote"] == "[::1]:2"
    assert made[1]["local"].startswith("[fe80::")
    assert len(made) == 2
    for private in ("alice", "secret", "en0", "rm"):
        assert private not in text


def test_a_manifest_of_a_real_recording(tmp_path: Path) -> None:
    """The tables that ``netlens capture`` writes: no machine, command, path, user, key or text of it is left."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "vm.pcap.gz").write_bytes((FOLDER / "healthy" / "vm.pcap.gz").read_bytes())
    (folder / "manifest.toml").write_text(
        """format = 1
netlens = "0.1.0 of alice"
complete = false
reasons = ["vm: ssh alice@secret-host broke"]
command = "netlens capture --vm alice@secret-host"
made_at = 2026-01-01T00:00:00Z
started_ns = 5
stopped_ns = 6
warnings = ["secret warning"]
[api]
names = ["api.z.ai"]
addresses = ["8.8.8.8", "secret"]
resolved = [{name = "api.z.ai", side = "vm", time_ns = 1, addresses = ["8.8.8.8"]}]
[addresses]
vm = ["192.168.64.2"]
alice = ["10.0.0.1"]
[recorded_from]
node = "secret-mac"
[machines.vm]
hostname = "secret-vm"
[ssh]
target = "alice@secret-host"
[lab]
title = "secret title"
scenario = "x"
sshuttle_options = ["-r", "alice@secret-host:22", "-e", "ssh -i secret", "192.168.64.0/24", "0/0", "-x", "8.8.8.8"]
[[sides]]
side = "vm"
files = ["vm.pcap.gz"]
argv = ["ssh", "alice@secret-host", "tcpdump"]
bpf = "host secret"
interface = "secret0"
link_type = "LINUX_SLL2"
snaplen = 262144
complete = false
reason = "secret reason"
packets_dropped = 3
[[files]]
name = "vm.pcap.gz"
sha256 = "00"
"""
    )
    (folder / "notes of alice.txt").write_text("secret")
    result = recordings.recording(str(folder), str(tmp_path / "out"), mapper := Mapper(SECRET, keep=["api.z.ai"]))
    text = (tmp_path / "out" / "manifest.toml").read_text()
    for private in ("alice", "secret", "8.8.8.8", "192.168.64.2", "made_at"):
        assert private not in text
    manifest = read_manifest(tmp_path / "out")
    assert not manifest.changed()
    assert manifest.extra["api"]["names"] == ["api.z.ai"]
    assert manifest.extra["api"]["addresses"] == [mapper.address("8.8.8.8")]
    assert manifest.extra["lab"]["sshuttle_options"][-1] == mapper.address("8.8.8.8")
    assert (manifest.sides[0].packets_dropped, manifest.sides[0].complete, manifest.complete) == (3, False, False)
    assert result.left_out == ["notes of alice.txt"]


def test_parts_of_a_rotation(tmp_path: Path) -> None:
    """Files of one capture stay files of one capture: numbers of frames and interfaces go on."""
    from tests.wire.helpers import read

    raw = gzip.decompress((FOLDER / "healthy" / "vm.pcap.gz").read_bytes())
    folder = tmp_path / "in"
    folder.mkdir()
    frames = read(FOLDER / "healthy" / "vm.pcap.gz").data
    half = 24 + sum(16 + len(f) for f in frames[: len(frames) // 2])
    (folder / "vm-0001.pcap").write_bytes(raw[:half])
    (folder / "vm-0002.pcap").write_bytes(raw[:24] + raw[half:])
    (folder / "vm-0003.pcap").write_bytes(raw[:24])
    recordings.recording(str(folder), str(tmp_path / "out"), Mapper(SECRET))
    names = sorted(p.name for p in (tmp_path / "out").glob("*.pcap"))
    assert names == ["vm-0001.pcap", "vm-0002.pcap", "vm-0003.pcap"]
    joined = b"".join((tmp_path / "out" / n).read_bytes()[24 if k else 0 :] for k, n in enumerate(names))
    recordings.capture(str(FOLDER / "healthy" / "vm.pcap.gz"), str(tmp_path / "one.pcap"), Mapper(SECRET))
    assert joined == (tmp_path / "one.pcap").read_bytes()
