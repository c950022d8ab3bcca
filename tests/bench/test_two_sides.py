"""The generated pair is what its truth says, and the same each time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import netlens
from netlens.parsers import errorlog
from tests.bench.two_sides import generate

FILES = ("vm.pcap", "host.pcap", "vm-errors.log", "host-errors.log", "truth.json")


@pytest.mark.parametrize("path", ["sshuttle", "nat"])
def test_the_same_parameters_give_the_same_bytes(path: str, tmp_path: Path) -> None:
    for name in "ab":
        generate(tmp_path / name, connections=12, path=path, seed=3)
    generate(tmp_path / "c", connections=12, path=path, seed=4)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / "vm.pcap").read_bytes() != (tmp_path / "c" / "vm.pcap").read_bytes()


@pytest.mark.parametrize("path", ["sshuttle", "nat"])
def test_both_sides_carry_the_same_bytes(path: str, tmp_path: Path) -> None:
    generate(tmp_path, connections=30, limit=2, path=path)
    (damaged,) = [f for f in netlens.analyze(tmp_path).findings if f.lens == "damaged"]
    assert damaged.severity == "note"
    assert damaged.text.startswith("What is in both the VM's and the host's capture is identical")


@pytest.mark.tshark
@pytest.mark.parametrize("path", ["sshuttle", "nat"])
def test_wireshark_finds_nothing_odd(path: str, tmp_path: Path, tshark: str) -> None:
    truth = generate(tmp_path, connections=30, limit=2, path=path)
    lines = sum(len(errorlog.read(tmp_path / f"{side}-errors.log").events) for side in ("vm", "host"))
    assert lines == truth["refused"] > 0
    for side in ("vm", "host"):
        command = [tshark, "-r", str(tmp_path / f"{side}.pcap"), "-o", "tcp.check_checksum:TRUE", "-q", "-z", "expert,note"]
        odd = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wanted = re.findall(r"^\s+\d+\s+\S+\s+(TCP|TLS|DNS)\s+(.*)$", odd, re.MULTILINE)
        # of redirect halves each lacks the other's direction, and a NAT copy looks like a retransmission
        assert {text for _, text in wanted if "checksum" in text.lower() or "Malformed" in text} == set()
        hellos = subprocess.run(
            [tshark, "-r", str(tmp_path / f"{side}.pcap"), "-Y", "tls.handshake.type==1", "-T", "fields", "-e", "tls.handshake.extensions_server_name"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert set(hellos) <= {"api.z.ai", "cdn.aa.b"}
        assert len(hellos) >= 15
