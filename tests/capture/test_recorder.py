"""One tcpdump: what its words mean (samples of tcpdump 4.99.5 with libpcap 1.10.5, Debian 13), and real recordings on loopback."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netlens.capture import command, recorder
from netlens.capture.recorder import SideRecorder
from netlens.errors import CaptureError
from tests.capture.conftest import Namespace, await_packets, numbers
from tests.conftest import need_program


def test_counts_at_the_end_and_when_asked() -> None:
    assert recorder.parse_counts("12 packets captured") == {"captured": 12}
    assert recorder.parse_counts("1 packet captured") == {"captured": 1}
    assert recorder.parse_counts("400 packets received by filter") == {"received": 400}
    assert recorder.parse_counts("0 packets dropped by kernel") == {"dropped": 0}
    assert recorder.parse_counts("3 packets dropped by interface") == {}
    assert recorder.parse_counts("tcpdump: 200 packets captured, 400 packets received by filter, 7 packets dropped by kernel") == {
        "captured": 200,
        "received": 400,
        "dropped": 7,
    }
    assert recorder.parse_counts("tcpdump: any: no such device") == {}


def test_listening() -> None:
    line = "tcpdump: listening on any, link-type LINUX_SLL2 (Linux cooked v2), snapshot length 262144 bytes"
    assert recorder.parse_listening(line) == ("any", "LINUX_SLL2", 262144)
    # tcpdump before 4.99, and on macOS
    assert recorder.parse_listening("listening on en0, link-type EN10MB (Ethernet), capture size 262144 bytes") == ("en0", "EN10MB", 262144)
    assert recorder.parse_listening("tcpdump: listening on pktap,all, link-type PKTAP (Apple PKTAP), snapshot length 524288 bytes") == (
        "pktap,all",
        "PKTAP",
        524288,
    )
    assert recorder.parse_listening("tcpdump: any: no such device") is None


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("tcpdump: any: You don't have permission to perform this capture on that device", True),
        ("(socket: Operation not permitted)", True),
        ("tcpdump: en0: You don't have permission to capture on that device", True),
        ("sudo: a password is required", True),
        ("sudo: a terminal is required to read the password; either use ssh's -t option", True),
        ("me is not in the sudoers file.", True),
        ("Sorry, user me is not allowed to execute '/usr/bin/sh -c ...' as root on vm.", True),
        ("tcpdump: nope0: No such device exists", False),
        ("tcpdump: can't parse filter expression: syntax error", False),
    ],
)
def test_missing_rights(line: str, missing: bool) -> None:
    assert recorder.is_missing_right(line) == missing


def test_the_hint_is_a_command() -> None:
    assert "sudo setcap cap_net_raw,cap_net_admin=eip" in command.grant("Linux")
    assert "/dev/bpf" in command.grant("Darwin")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file") as error:
        SideRecorder("vm", tmp_path / "r", ["/no/such/program"]).start()
    assert "\n" not in str(error.value)
    assert list((tmp_path / "r").iterdir()) == []


def test_stop_without_start(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="not started"):
        SideRecorder("vm", tmp_path).stop()


# --- for real ------------------------------------------------------------------------------------------------------------------------------


def _record(namespace: Namespace, folder: Path, **options: object) -> SideRecorder:
    made = SideRecorder("vm", folder, namespace.prefix, bpf="udp port 53", **options)  # type: ignore[arg-type]
    made.start()
    return made


@pytest.mark.lab
def test_everything_sent_before_stop_is_stored(namespace: Namespace, tmp_path: Path) -> None:
    """Without the drain none of these is: they are in the kernel's unfinished block when tcpdump is told to stop."""
    made = _record(namespace, tmp_path / "r")
    namespace.send(300)
    result = made.stop()
    assert numbers(result.path) == list(range(300))
    assert result.complete
    assert result.reason is None
    assert (result.packets_captured, result.packets_dropped) == (300, 0)
    assert result.packets_received is not None
    assert result.packets_received >= 300
    assert (result.interface, result.link_type, result.snaplen) == ("any", "LINUX_SLL2", 262144)
    assert result.argv[0] == "tcpdump"
    assert result.path == tmp_path / "r" / "vm.pcap"
    assert stat.S_IMODE(result.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(result.path.parent.stat().st_mode) == 0o700
    assert made.stop() is result


@pytest.mark.lab
def test_tcpdump_gives_up_the_rights_of_root(namespace: Namespace, tmp_path: Path) -> None:
    import pwd

    try:
        user = pwd.getpwnam("tcpdump").pw_uid
    except KeyError:
        pytest.skip("no user tcpdump (its package makes one on Debian and Fedora)")
    made = _record(namespace, tmp_path / "r")
    status = dict(line.split(":", 1) for line in Path(f"/proc/{made.tcpdump_pid}/status").read_text().splitlines())
    made.stop()
    assert {int(uid) for uid in status["Uid"].split()} == {user}
    assert int(status["CapEff"], 16) == 0


@pytest.mark.lab
def test_no_loss_at_lab_rates(namespace: Namespace, tmp_path: Path) -> None:
    made = _record(namespace, tmp_path)
    namespace.send(30_000, size=1000)
    result = made.stop()
    assert result.packets_dropped == 0
    assert result.packets_captured == 30_000


@pytest.mark.lab
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_tcpdump_that_dies(namespace: Namespace, tmp_path: Path, how: signal.Signals) -> None:
    made = _record(namespace, tmp_path)
    namespace.send(200)
    assert await_packets(made, 200)
    assert made.tcpdump_pid is not None
    os.kill(made.tcpdump_pid, how)
    assert made.attention.wait(20)
    assert made._ended
    result = made.stop()
    assert numbers(result.path) == list(range(200))
    assert not result.complete
    assert result.reason is not None
    assert ("killed (signal" in result.reason) == (how != signal.SIGTERM)


@pytest.mark.lab
def test_nothing_is_left_when_netlens_is_killed(namespace: Namespace, tmp_path: Path) -> None:
    import sys

    code = (
        "import signal\nimport time\nfrom pathlib import Path\nfrom netlens.capture.recorder import SideRecorder\n"
        f"r = SideRecorder('vm', Path({str(tmp_path)!r}), {namespace.prefix!r}, bpf='udp port 53')\n"
        "r.start()\nprint(r.tcpdump_pid, flush=True)\nwhile r.packets < 200:\n    time.sleep(0.01)\nprint('stored', flush=True)\nsignal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        watched = os.pidfd_open(pid)
        try:
            namespace.send(200)
            assert process.stdout.readline() == "stored\n"
            process.kill()
            import select

            assert select.select([watched], [], [], 20)[0], "tcpdump outlived netlens"
        finally:
            os.close(watched)
    assert numbers(tmp_path / "vm.pcap") == list(range(200))


@pytest.mark.lab
def test_a_full_disk(namespace: Namespace, tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    made = _record(namespace, small_disk(1024))
    namespace.send(1500, size=1400)
    assert made.attention.wait(20)
    result = made.stop()
    found = numbers(result.path)
    assert found == list(range(len(found)))
    assert 600 < len(found) < 750
    assert result.packets_captured == len(found)
    assert result.reason is not None
    assert "disk took no more (no space left on device)" in result.reason


@pytest.mark.lab
def test_it_asks_for_attention_before_the_disk_is_full(namespace: Namespace, small_disk: Callable[[int], Path]) -> None:
    made = _record(namespace, small_disk(4096), min_free_mb=3)
    namespace.send(1200, size=1400)
    assert made.attention.wait(20)
    result = made.stop()
    assert numbers(result.path) == list(range(1200))
    assert result.reason == "stopped before the disk was full (less than 3 MB free)"


@pytest.mark.lab
def test_rotation(namespace: Namespace, tmp_path: Path) -> None:
    made = _record(namespace, tmp_path, rotate_mb=0.1, keep=2)
    for first in range(0, 500, 100):  # a file ends with the chunk that fills it: so in five chunks
        namespace.send(100, size=1100, first=first)
        assert await_packets(made, first + 100)
    result = made.stop()
    assert result.packets_captured == 500
    assert result.removed >= 3
    assert len(result.paths) == 2
    kept = [n for path in result.paths for n in numbers(path)]
    assert kept == list(range(500 - len(kept), 500))


@pytest.mark.lab
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interface": "nope0"}, "nope0: No such device"),
        ({"bpf": "and and"}, "can't parse filter expression"),
        ({"snaplen": -1}, "snaplen"),
    ],
)
def test_what_tcpdump_refuses(namespace: Namespace, tmp_path: Path, options: dict[str, object], said: str) -> None:
    made = SideRecorder("vm", tmp_path / "r", namespace.prefix, **options)  # type: ignore[arg-type]
    with pytest.raises(CaptureError, match=said) as error:
        made.start()
    assert "\n" not in str(error.value)
    assert list((tmp_path / "r").iterdir()) == []


@pytest.mark.lab
def test_without_rights_the_error_says_how_to_get_them(namespace: Namespace, tmp_path: Path) -> None:
    need_program("setpriv", "takes the rights away")
    prefix = [*namespace.prefix, "setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all"]
    with pytest.raises(CaptureError, match="permission") as error:
        SideRecorder("vm", tmp_path / "r", prefix).start()
    assert "sudo setcap" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.lab
def test_without_sudo_the_reason_is_that_of_tcpdump(namespace: Namespace, tmp_path: Path) -> None:
    def wrap(argv: list[str]) -> list[str]:
        if argv[0] == "sudo":
            return ["/no/such/sudo", *argv[1:]]
        return [*namespace.prefix, "setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", *argv]

    need_program("setpriv", "takes the rights away")
    with pytest.raises(CaptureError, match="You don't have permission"):
        SideRecorder("vm", tmp_path / "r", wrap=wrap).start()
    assert list((tmp_path / "r").iterdir()) == []
