"""Argument lists and filters. The filters are judged by the real tcpdump, on packets made with scapy."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.capture import command
from netlens.errors import CaptureError
from tests.conftest import need_program


def test_tcpdump_arguments() -> None:
    argv = command.tcpdump("any", "port 53")
    assert argv == ["tcpdump", "-n", "-U", "-i", "any", "-s", "262144", "-B", "65536", "-w", "-", "--", "port 53"]
    assert "--immediate-mode" not in argv
    assert command.tcpdump()[-2:] == ["-w", "-"]


def test_a_filter_cannot_become_an_option() -> None:
    argv = command.tcpdump(bpf="-z /bin/sh")
    assert argv[argv.index("--") + 1 :] == ["-z /bin/sh"]


@pytest.mark.parametrize("bpf", ["-w /tmp/x", "--help", "-z id", "; id", "$(id)", "port 53 -Z root", "\n-w x", "'", '"'])
def test_a_hostile_filter_is_one_argument(bpf: str) -> None:
    argv = command.tcpdump("any", bpf)
    assert argv[argv.index("--") + 1 :] == [bpf]
    far = command.ssh_session(["ssh"], "vm", "/tmp/s", command.watched(argv))
    assert shlex.split(far[-1]) == command.watched(argv)
    assert far[far.index("--") + 1] == "vm"


@pytest.mark.parametrize("interface", ["eth0; id", "$(id)", "a b", "`id`", "eth0'"])
def test_a_hostile_interface_is_one_argument(interface: str) -> None:
    argv = command.tcpdump(interface)
    assert argv[argv.index("-i") + 1] == interface
    assert shlex.split(command.ssh_session(["ssh"], "vm", "/tmp/s", argv)[-1]) == argv


def test_nothing_is_said_to_ssh_about_host_keys() -> None:
    """They are checked as the user's own ssh does: by known_hosts and the user's configuration. The agent is not lent to the VM."""
    for argv in (command.ssh_master(["ssh"], "vm", "/tmp/s"), command.ssh_session(["ssh"], "vm", "/tmp/s", ["true"])):
        said = " ".join(argv).lower()
        assert not [word for word in ("hostkey", "knownhosts", "checkhostip", " -a ", " -f ") if word in said]
        assert {"ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no"} <= set(argv)


@pytest.mark.parametrize("interface", ["", "-any", "-", "a\nb"])
def test_interfaces_that_are_options(interface: str) -> None:
    with pytest.raises(CaptureError, match="interface"):
        command.tcpdump(interface)


@pytest.mark.parametrize(
    "target",
    ["-oProxyCommand=id", "root@-oProxyCommand=id", "", "@vm", "root@", "vm;id", "vm id", "$(id)", "vm\nid", "`id`", "a@b|c", "vm\x00"],
)
def test_hosts_that_are_refused(target: str) -> None:
    with pytest.raises(CaptureError):
        command.check_host(target)


@pytest.mark.parametrize("target", ["vm", "admin@192.168.64.5", "user.name@cal-dev.local", "root@fe80::1%eth0", "a@b@c.example"])
def test_hosts_that_are_taken(target: str) -> None:
    assert command.check_host(target) == target


def test_tart_names() -> None:
    assert command.tart_name("tart:cal-dev") == "cal-dev"
    assert command.tart_name("me@tart:cal-dev") == "cal-dev"
    assert command.tart_name("tart") is None
    assert command.tart_name("me@vm") is None
    for bad in ("tart:", "tart:-x", "tart:a b", "tart:$(id)"):
        with pytest.raises(CaptureError):
            command.tart_name(bad)


@pytest.mark.parametrize("name", ["-x", "a b", "a;b", "", "a" * 300, "$(id)", "a\nb", "*.z.ai"])
def test_apis_that_are_refused(name: str) -> None:
    with pytest.raises(CaptureError):
        command.check_api(name)


def test_apis_that_are_taken() -> None:
    assert [command.check_api(n) for n in ("API.z.ai.", "2001:DB8::1", "192.0.2.1", "localhost")] == [
        "api.z.ai",
        "2001:db8::1",
        "192.0.2.1",
        "localhost",
    ]


@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=1))
def test_the_remote_shell_gets_what_was_meant(argv: list[str]) -> None:
    """What ssh is given as the command is one argument, and a shell takes it apart into exactly ``argv``."""
    made = command.ssh_session(["ssh"], "vm", "/tmp/s", argv)
    assert made[made.index("--") + 1] == "vm"
    assert len(made) == made.index("--") + 3
    assert shlex.split(made[-1]) == argv


def test_a_real_shell_takes_it_apart_the_same_way() -> None:
    argv = ["printf", "%s\\n", "a b", "$HOME", "'\"'", "`id`", "", "*", "-n", "x;y"]
    made = command.ssh_session(["ssh"], "vm", "/tmp/s", argv)
    done = subprocess.run(["sh", "-c", made[-1]], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == argv[2:]


def test_sessions_never_open_a_connection_of_their_own() -> None:
    made = command.ssh_session(["ssh"], "vm", "/tmp/s", ["true"])
    assert "ProxyCommand=false" in made
    assert "BatchMode=yes" in made
    assert made.index("--") < made.index("vm")


def test_ssh_connection() -> None:
    # sshd(8): "client IP address, client port number, server IP address, and server port number"
    assert command.parse_ssh_connection("192.168.64.1 51234 192.168.64.5 22\n") == command.SshConnection(
        "192.168.64.1", 51234, "192.168.64.5", 22
    )
    made = command.parse_ssh_connection("fe80::1%en0 51234 fe80::2%eth0 22")
    assert made == command.SshConnection("fe80::1", 51234, "fe80::2", 22)
    for bad in ("", "a b c d", "192.0.2.1 0 192.0.2.2 22", "192.0.2.1 1", "192.0.2.1 99999 192.0.2.2 22"):
        assert command.parse_ssh_connection(bad) is None


# --- what the filters let through --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One packet of each kind that such captures show; the identification number says which."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    def tcp(src: str, sport: int, dst: str, dport: int, number: int) -> object:
        return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst, id=number) / TCP(sport=sport, dport=dport)

    def udp(src: str, sport: int, dst: str, dport: int, number: int) -> object:
        return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst, id=number) / UDP(sport=sport, dport=dport)

    vm, api, gateway = "192.168.64.5", "203.0.113.9", "192.168.64.1"
    made = [
        tcp(vm, 40000, api, 443, 1),  # direct
        tcp(vm, 40001, "127.0.0.1", 12300, 2),  # redirect half, requests
        tcp(api, 443, vm, 40001, 3),  # redirect half, answers
        udp(vm, 5353, "127.0.0.1", 12299, 4),  # DNS half, question
        udp("192.168.64.1", 53, vm, 40002, 5),  # DNS half, answer
        tcp(vm, 40003, gateway, 22, 6),  # the tunnel
        tcp(gateway, 51234, vm, 22, 7),  # our own stream
        tcp(vm, 40004, "198.51.100.7", 443, 8),  # another server
        tcp(vm, 40005, "198.51.100.7", 22, 9),  # ssh to elsewhere
        udp(vm, 5353, "224.0.0.251", 5353, 10),  # mDNS
        tcp(vm, 40006, "127.0.0.1", 8080, 11),  # another program on loopback
        tcp(vm, 40007, "127.0.0.1", 11111, 12),  # an sshuttle at a port of its own
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IPv6(src="2001:db8::5", dst="2001:db8::9", fl=13)
        / TCP(sport=40008, dport=443),
    ]
    path = tmp_path_factory.mktemp("filter") / "all.pcap"
    wrpcap(str(path), made)
    return path


def _passed(bpf: str, packets: Path) -> set[int]:
    import re

    tcpdump = need_program("tcpdump", "judges the filters")
    done = subprocess.run([tcpdump, "-n", "-v", "-r", str(packets), "--", bpf], capture_output=True, text=True, check=True)
    return {int(n) for n in re.findall(r" id (\d+),", done.stdout)} | {int(n, 16) for n in re.findall(r"flowlabel 0x(\w+),", done.stdout)}


def test_the_filter_of_the_vm(packets: Path) -> None:
    own = command.SshConnection("192.168.64.1", 51234, "192.168.64.5", 22)
    bpf = command.without_own_streams(command.capture_filter(["203.0.113.9", "2001:db8::9"], [11111]), [own])
    assert _passed(bpf, packets) == {1, 2, 3, 4, 5, 6, 9, 10, 12, 13}


def test_the_filter_of_the_host_keeps_other_ssh_out(packets: Path) -> None:
    bpf = command.capture_filter(["203.0.113.9"], ssh_peers=["192.168.64.5", "2001:db8::5"])
    passed = _passed(bpf, packets)
    assert {1, 3, 6, 7} <= passed
    assert not passed & {8, 11, 12, 13}


def test_without_an_api_everything_on_port_443(packets: Path) -> None:
    assert {1, 3, 8, 13} <= _passed(command.capture_filter([]), packets)


def test_everything_leaves_only_our_own_stream_out(packets: Path) -> None:
    own = command.SshConnection("192.168.64.1", 51234, "192.168.64.5", 22)
    assert _passed(command.without_own_streams("", [own]), packets) == set(range(1, 14)) - {7}
    assert command.without_own_streams("", []) == ""
    assert _passed(command.without_own_streams("tcp port 22", [own]), packets) == {6, 9}


def test_a_filter_names_only_addresses() -> None:
    with pytest.raises(ValueError, match="api"):
        command.capture_filter(["api.z.ai"])


# --- the shell that watches ------------------------------------------------------------------------------------------------------------------


def _watched(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command.watched(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_watch_passes_the_status_on() -> None:
    with _watched("sh", "-c", "exit 7") as process:
        assert process.wait(10) == 7
    with _watched("sh", "-c", "kill -9 $$") as process:
        assert process.wait(10) == 137


@pytest.mark.parametrize("order", ["stop\n", ""])
def test_watch_ends_its_program_when_told_and_when_nobody_is_left(order: str) -> None:
    with _watched("sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        if order:
            process.stdin.write(order)
            process.stdin.flush()
        else:
            process.stdin.close()
        assert process.wait(10) == 3
        assert process.stdout.read() == "bye\n"


def test_watch_says_which_program_is_missing() -> None:
    with _watched("netlens-no-such-program") as process:
        assert process.wait(10) == 127
        assert process.stderr is not None
        assert process.stderr.read() == "netlens: no program netlens-no-such-program\n"
