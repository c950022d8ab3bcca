"""The report of ``netlens doctor --report``: names, addresses and keys are planted where programs print them, and none of them comes through.

What macOS would print is made up in its formats (tests/capture/test_programs_macos.py says which).
"""

from __future__ import annotations

import ipaddress
import re

import pytest
from click.testing import CliRunner

from netlens.anonymize.mapper import Mapper
from netlens.anonymize.texts import Texts
from netlens.capture import doctor
from netlens.capture.checks import MISSING, Scene
from netlens.capture.doctor import Row
from netlens.capture.processes import Outcome
from netlens.cli.doctor import command
from netlens.report import machines
from tests.capture.test_doctor import Told
from tests.capture.test_programs_macos import IFCONFIG, LSOF, NETSTAT, SCUTIL

#: Nobody's: made up. Each is planted in one place or more.
PLANTED = (
    "mariella", "Quuxington", "Zorblax-Book", "zorblax", "internal-corp", "hunter2", "sk-proj-9f8e7d6c5b4a39281706", "QUJDREVGR0hJSktMTU5PUFFSU1RVVg",
    "geheimprojekt",
    "192.168.101.89", "203.0.113.77", "17.248.190.3", "2a02:8109:9e40:1234:aede:48ff:fe00:1122", "ac:de:48:00:11:22", "ac:de:48:0:11:22", "C02XG0YZJGH5",
    "d3b07384-d113-4ec5-a58b-2f0c1f0d7f2e", "5a7bb2c9d1e04f6688aa",
)  # fmt: skip

ODD = "/Users/mariella/.ssh/geheimprojekt: Bearer 5a7bb2c9d1e04f6688aa"

MAC = {
    "uname -srm": "Darwin 24.6.0 arm64",
    "uname -n": "Zorblax-Book.local\n",
    "scutil --get ComputerName": "Mariella’s Zorblax-Book\n",
    "id -un": "mariella\n",
    "id -F": "Mariella Quuxington\n",
    "ifconfig -a": IFCONFIG.replace("02:00:5e:10:00:02", "ac:de:48:00:11:22")
    + "\tinet6 2a02:8109:9e40:1234:aede:48ff:fe00:1122 prefixlen 64 autoconf\n\tdesc: geheimprojekt C02XG0YZJGH5\n",
    "netstat -rn": NETSTAT + "17.248.190.3  ac:de:48:0:11:22  UHLWI  en0  3\n",
    "scutil --dns": SCUTIL.replace("search domain[0] : lan", "search domain[0] : internal-corp.example.net"),
    "lsof -nP -iTCP -iUDP -F pcPnT": LSOF + "p77\ncgeheimprojekt-sk-proj-9f8e7d6c5b4a39281706\nf3\nPTCP\n"
    "n192.168.101.89:QUJDREVGR0hJSktMTU5PUFFSU1RVVg\n",
    "processes": "91 /usr/bin/python3 /opt/homebrew/bin/sshuttle -r mariella:hunter2@gate.internal-corp.example.net 0/0 --dns\n",
    "pfctl -s info": "Status: Enabled for 0 days 00:10:01           Debug: Urgent\nHostid:   0xd3b07384\n",
    "pfctl -s Anchors -v": "  com.apple\n  com.apple/250.ApplicationFirewall\n  sshuttle-12300\n",
    "pfctl -s nat": "",
    "pfctl -s rules": 'anchor "com.apple/*" all\n',
    "pfctl -s state": "ALL tcp 192.168.101.89:52110 -> 203.0.113.77:443       ESTABLISHED:ESTABLISHED\n",
}  # fmt: skip


def report(vm: str = "mariella@build.internal-corp.example.net") -> str:
    here = Told("here", MAC, "Darwin", root=True)
    here.said["uname -srm"] = MAC["uname -srm"]
    scene = Scene(
        here,
        Told("vm", {"ip route": "default via 192.168.64.1 dev eth0", "ip": ""}),
        ("api.z.ai",),
        target=vm,
        reached=Outcome(0, "x\n", ""),
    )
    rows = [
        Row("names", "names", "here", MISSING, f"api.z.ai is 203.0.113.77 by 192.168.101.1; {ODD}", "ssh mariella@Zorblax-Book.local"),
        Row("disk", "disk", "vm", MISSING, "d3b07384-d113-4ec5-a58b-2f0c1f0d7f2e of Mariella Quuxington", ""),
    ]  # fmt: skip
    return machines.as_text(scene, rows, Mapper(bytes(range(32)), keep=("api.z.ai",)))


def test_nothing_that_was_planted_comes_through() -> None:
    text = report()
    for secret in PLANTED:
        for part in {secret, *secret.split("-")} - {"sk", "proj", "internal"}:
            assert len(part) < 4 or part.lower() not in text.lower(), part
    for found in re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", text):
        address = ipaddress.ip_address(found)
        assert address.is_private or address.is_multicast or address.is_loopback, found  # documentation is, for this
    assert "198.51.100." in text
    assert "2001:db8::" in text


def test_what_a_parser_needs_is_still_there() -> None:
    text = report()
    for line in (
        "Darwin 24.6.0 arm64",
        "bridge100: flags=8a63<UP,BROADCAST,SMART,RUNNING,ALLMULTI,SIMPLEX,MULTICAST> mtu 1500",
        "    member: vmenet0 flags=10803<LEARNING,DISCOVER,PRIVATE,CSUM>",
        "    options=6460<TSO4,TSO6,CHANNEL_IO,PARTIAL_CSUM,ZEROINVERT_CSUM>",
        "Destination        Gateway            Flags               Netif Expire",
        "UHLWIir               en0   1182",
        "com.apple/250.ApplicationFirewall",
        "reach    : 0x00020002 (Reachable,Directly Reachable Address)",
        "ESTABLISHED:ESTABLISHED",
        "api.z.ai is 198.51.100.",
        "here  missing  names:",
    ):
        assert line in text, line
    assert re.search(r"(?m)^    inet 192\.168\.64\.\d+ netmask 0xffffff00 broadcast 192\.168\.64\.\d+$", text)
    assert re.search(r"(?m)^192\.168\.64 +link#22", text)
    assert re.search(r"(?m)^169\.254 +link#14", text)


def test_one_address_becomes_the_same_everywhere() -> None:
    text = report()
    (state,) = re.findall(r"-> (\S+):443       ESTABLISHED", text)
    assert f"api.z.ai is {state} by" in text
    (mac,) = set(re.findall(r"(?m)ether (\S+)$", text.partition("en0: flags")[2].partition("inet6")[0]))
    assert f"  {mac}  UHLWI  en0" in text  # short and long forms of it


def test_lines_that_could_not_be_read_are_shown_without_what_they_hold() -> None:
    text = report()
    assert "lsof -nP -iTCP -iUDP -F pcPnT: lines that netlens could not read" in text
    assert re.search(r"(?m)^p 77, c x\w+-x\w+-x\w+-x\w+, f 3, P TCP, n 192\.168\.\d+\.\d+:x\w+$", text)
    assert "rapportd" not in text.partition("could not read")[2]
    said = {"ss -Htunap": "tcp ESTAB 0 0 192.0.2.1:1 192.0.2.2:2\ntcp ESTAB 0 0 odd\n"}
    assert machines.unread(said) == {"ss -Htunap": ["tcp ESTAB 0 0 odd"]}


@pytest.mark.parametrize(
    "text", ["", "::", "1.2.3.4.5.6.7.8", ":" * 500, "a." * 500, "0:" * 300, "\x00\u202e", "999.999.999.999/99 %%%", "9" * 5000]
)
def test_any_text(text: str) -> None:
    texts = Texts(Mapper(bytes(32)), machines.vocabulary(), {"": "USER", "(": "HOST"})
    assert isinstance(texts.text(text, routes=True), str)


def test_many_addresses() -> None:
    texts = Texts(Mapper(bytes(32)), (), {})
    shown = [texts.text(str(ipaddress.IPv4Address("8.0.0.1") + n)) for n in range(800)]
    assert len(set(shown)) == 800
    assert shown[761] == "192.0.2.254"
    assert shown[762] == "ADDRESS763"


def test_the_command(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.cli.doctor.examine", lambda scene, progress: [Row("a", "a", "here", MISSING, "at /home/mariella", "")])
    monkeypatch.setenv("USER", "mariella")
    runner = CliRunner()
    done = runner.invoke(command, ["--report", "-o", str(tmp_path / "report.txt")])
    assert (done.exit_code, done.stdout) == (0, "")
    text = (tmp_path / "report.txt").read_text()
    assert text.startswith("netlens doctor --report: ")
    assert "mariella" not in text
    assert (tmp_path / "report.txt").stat().st_mode & 0o077 == 0
    assert runner.invoke(command, ["-o", "x"]).exit_code == 2
    assert runner.invoke(command, ["--report", "--format", "json"]).exit_code == 2


def test_every_word_of_the_checks_is_known() -> None:
    """What netlens itself says is not to be hidden; ``doctor`` takes its sentences from the sources that the vocabulary is made of."""
    texts = Texts(Mapper(bytes(32)), machines.vocabulary(), {})
    with doctor.look_at(None, (), False) as scene:
        found = doctor.examine(scene, [check for check in doctor.checks() if check.ID in ("snaplen", "buffer", "clock", "ssh")])
    for row in found:
        assert texts.text(row.text) == row.text
