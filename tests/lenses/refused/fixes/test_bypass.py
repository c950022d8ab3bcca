"""The command of the bypass: pasteable, right, and nothing a stranger's recording could slip something into."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from netlens.chains.inputs import from_folder
from netlens.chains.situation import HOST, VM
from netlens.lenses.refused.fixes import Case, Context, bypass
from tests.chains.test_inputs import RUNNING
from tests.lenses.refused.made_up import situation

ARGV = [
    "--method",
    "nft",
    "--disable-ipv6",
    "--dns",
    "-r",
    "root@192.168.64.1",
    "0.0.0.0/0",
    "-x",
    "192.168.64.1/32",
    "-x",
    "192.168.64.0/24",
]
FULL = ["sshuttle", *ARGV, "-x", "api.z.ai:443"]


def command(**more: object) -> str | None:
    context = Context(**{"target_names": ("api.z.ai",), "path": "sshuttle", **more})
    return bypass.variants(Case(situation([(VM, 0, 1, 0)]), None, context))[0].command


@pytest.mark.parametrize("before", [[], ["sshuttle"], ["/usr/bin/sshuttle"], ["sudo", "/usr/bin/python3.11", "/usr/bin/sshuttle"]])
def test_the_recorded_command_line_with_the_exclude(before: list[str]):
    assert shlex.split(command(sshuttle_argv=before + ARGV) or "") == FULL


def test_the_command_line_of_a_recording_with_the_exclude(tmp_path: Path):
    (tmp_path / "manifest.toml").write_text("format = 1\n" + RUNNING)
    (tmp_path / "vm.pcap").write_bytes(b"")
    recorded = from_folder(str(tmp_path)).sshuttle
    assert command(sshuttle_argv=recorded) == (
        "sshuttle --method nft --dns -r me@192.168.64.1 0.0.0.0/0 -x 192.168.64.1/32 -x 192.168.64.0/24 -x api.z.ai:443"
    )


def test_a_template_where_it_is_unknown():
    assert command() == "sshuttle --dns -r USER@HOST 0.0.0.0/0 -x api.z.ai:443"


@pytest.mark.parametrize(
    "hostile",
    [
        ["-e", "sh -c id", *ARGV],
        ["--ssh-cmd=sh", *ARGV],
        ["--python", "/tmp/x", *ARGV],
        ["--pidfile", "/etc/passwd", *ARGV],
        ["-r", "-oProxyCommand=id", "0/0"],
        ["-r", "me:secret@host", "0/0"],
        ["-r", "host;id", "0/0"],
        ["0/0", "$(id)"],
        ["0/0", "@/etc/hosts"],
        ["-x"],
        ["-Ne", "id"],
        ["--dns=1"],
        ["0/0\n"],
        ["0/0", "a b"],
        ["-r", "me@host", "0/0", "-X", "FILE"],
    ],
)
def test_what_is_not_to_be_repeated_is_not(hostile: list[str]):
    variant = bypass.variants(Case(situation([(VM, 0, 1, 0)]), None, Context(("api.z.ai",), path="sshuttle", sshuttle_argv=hostile)))[0]
    assert variant.command == "sshuttle --dns -r USER@HOST 0.0.0.0/0 -x api.z.ai:443"
    assert any("not repeated" in each for each in variant.caveats)


def test_sshuttle_itself_takes_the_arguments():
    options = pytest.importorskip("sshuttle.options")
    # an address, so that nothing is looked up
    words = shlex.split(command(target_names=(), target_addresses=("203.0.113.10", "2001:db8::1"), sshuttle_argv=ARGV) or "")
    found = options.parser.parse_args(words[1:])
    assert [each[0][1:] for each in found.exclude[-2:]] == [("203.0.113.10", 32, 443, 443), ("2001:db8::1", 128, 443, 443)]


def test_no_target_no_command():
    assert command(target_names=("-x",)) is None


@pytest.mark.parametrize("path", ["nat", "direct"])
def test_it_applies_to_the_tunnel_only(path: str):
    assert bypass.variants(Case(situation([(VM, 0, 1, 0)]), None, Context(("api.z.ai",), path=path))) == []
    assert bypass.variants(Case(situation([(HOST, 0, 1, 0)]), None, Context(("api.z.ai",), path="sshuttle"))) == []


def test_what_asks_a_relay_on_the_host_is_not_helped_by_leaving_the_api_out() -> None:
    asks = [(VM, 0, 1, 0)]
    assert bypass.variants(Case(situation(asks), None, Context(("api.z.ai",), path="sshuttle")))
    assert bypass.variants(Case(situation(asks), None, Context(("api.z.ai",), path="sshuttle", by_relay=True))) == []
