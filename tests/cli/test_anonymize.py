"""netlens anonymize as a command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path


def run(*args: str | Path, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "netlens", *map(str, args)], input=data, capture_output=True, check=False)


def test_a_capture_a_recording_and_standard_input(captures: Path, tmp_path: Path) -> None:
    recording, key = captures / "same-nat-ip-nat", tmp_path / "key"
    done = run("anonymize", recording, "-o", tmp_path / "all", "--key-file", key)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert b"left out: host-program.jsonl, provider.jsonl, vm-program.jsonl" in done.stderr
    done = run("anonymize", recording / "vm.pcap.gz", "-o", tmp_path / "vm.pcap.gz", "--key-file", key)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vm.pcap.gz").read_bytes() == (tmp_path / "all" / "vm.pcap.gz").read_bytes()
    assert b"netlens: api.z.ai is called " in done.stderr
    assert b"netlens: z.ai is called " not in done.stderr, "one hint for both"
    done = run("anonymize", "-", "-o", tmp_path / "in.pcap.gz", "--key-file", key, data=(recording / "vm.pcap.gz").read_bytes())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "in.pcap.gz").read_bytes() == (tmp_path / "vm.pcap.gz").read_bytes()


def test_sides_one_by_one_with_one_key_and_a_verdict_by_the_hint(captures: Path, tmp_path: Path) -> None:
    """What two people anonymise apart fits together, and is analysed by the command that is told."""
    recording, key = captures / "zombie-sshuttle", tmp_path / "key"
    told = ""
    for side in ("host", "vm"):
        done = run("anonymize", recording / f"{side}.pcap.gz", "-o", tmp_path / f"{side}.pcap.gz", "--key-file", key)
        assert done.returncode == 0, done.stderr
        told = told or done.stderr.decode()
    command = shlex.split(re.findall(r"netlens: api\.z\.ai is called \S+ there: netlens (.*)", told)[0])
    assert command[:2] == ["analyze", str(tmp_path / "host.pcap.gz")]
    both = ["--vm", tmp_path / "vm.pcap.gz", "--host", tmp_path / "host.pcap.gz", "--vm-errors", recording / "vm-errors.log"]
    done = run("analyze", *both, *command[2:], "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cause"] == "keep-alive"


def test_a_bundle(captures: Path, tmp_path: Path) -> None:
    """analyze --bundle: made beside the findings, which stay what they are; never over a file."""
    recording, path = captures / "same-nat-ip-sshuttle", tmp_path / "support.zip"
    plain = run("analyze", recording)
    done = run("analyze", recording, "--bundle", path)
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    assert b"support.zip: 8 files, anonymised" in done.stderr
    assert zipfile.is_zipfile(path)
    before = path.read_bytes()
    done = run("analyze", recording, "--bundle", path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"exists" in done.stderr
    assert path.read_bytes() == before
    done = run("analyze", "-", "--bundle", tmp_path / "other.zip", data=b"")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["support.zip"]


def test_what_cannot_be_done_is_told_in_a_line(captures: Path, tmp_path: Path) -> None:
    vm = captures / "healthy" / "vm.pcap.gz"
    (tmp_path / "there").touch()
    (tmp_path / "open-key").write_text("netlens-anonymize-1 " + "0" * 64)
    (tmp_path / "open-key").chmod(0o644)
    cases = [
        (1, ["anonymize", vm, "-o", tmp_path / "there"]),
        (1, ["anonymize", vm, "-o", tmp_path / "no" / "such" / "folder.pcap"]),
        (1, ["anonymize", tmp_path / "gone.pcap", "-o", tmp_path / "out.pcap"]),
        (1, ["anonymize", tmp_path, "-o", tmp_path / "out"]),
        (1, ["anonymize", vm, "-o", tmp_path / "out.pcap", "--key-file", tmp_path / "open-key"]),
        (1, ["anonymize", vm, "-o", tmp_path / "out.pcap", "--key-file", tmp_path]),
        (2, ["anonymize", vm]),
        (2, ["anonymize", vm, "-o", tmp_path / "out.pcap", "--keep-name", "."]),
    ]
    for status, args in cases:
        done = run(*args)
        assert (done.returncode, done.stdout) == (status, b""), (args, done.stderr)
        assert b"Traceback" not in done.stderr
        assert status == 2 or done.stderr.count(b"\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["open-key", "there"]
