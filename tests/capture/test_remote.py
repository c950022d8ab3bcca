"""A VM behind ssh: a real sshd in a network namespace, and a stand-in for tart (which exists on macOS only)."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
from pathlib import Path
from typing import IO

import pytest

from netlens.capture import command, doctor, processes
from netlens.capture import remote as remote_host
from netlens.capture.command import SshConnection
from netlens.capture.recorder import SideRecorder
from netlens.capture.remote import RemoteHost, open_streams, resolve_target
from netlens.errors import CaptureError
from tests.capture.conftest import Pair, await_packets, comm, numbers
from tests.conftest import need_program


def _tart(folder: Path, body: str) -> list[str]:
    program = folder / "tart"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return [str(program)]


def test_tart(tmp_path: Path) -> None:
    tart = _tart(tmp_path, '[ "$1 $2 $#" = "ip cal-dev 2" ] && echo 192.168.64.5')
    assert resolve_target("tart:cal-dev", tart) == "admin@192.168.64.5"
    assert resolve_target("me@tart:cal-dev", tart) == "me@192.168.64.5"
    assert resolve_target("me@vm", tart) == "me@vm"


def test_tart_without_the_vm(tmp_path: Path) -> None:
    # the words of tart 2.x for a VM that is not running
    tart = _tart(tmp_path, 'echo "no IP address found, is your VM running?" >&2; exit 1')
    with pytest.raises(CaptureError, match="is your VM running") as error:
        resolve_target("tart:cal-dev", tart)
    assert "\n" not in str(error.value)


def test_without_tart() -> None:
    with pytest.raises(CaptureError, match="not found"):
        resolve_target("tart:cal-dev", ["/no/such/tart"])


def test_without_ssh() -> None:
    with pytest.raises(CaptureError, match="ssh to vm failed"):
        RemoteHost("vm", ["/no/such/ssh"]).connect()


@pytest.mark.lab
def test_connection_says_what_it_is_and_leaves_nothing(pair: Pair) -> None:
    with RemoteHost("lab-vm", pair.ssh) as remote:
        assert remote.own is not None
        assert (remote.own.client, remote.own.server, remote.own.server_port) == ("10.99.0.2", "10.99.0.1", 2222)
        assert remote.alive
        folder = remote._folder
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        assert processes.run(remote.wrap(["printf", "%s|", "a b", "$HOME", "'"]))[:2] == (0, "a b|$HOME|'|")
        assert processes.run(remote.wrap(["cat"]), given="given\n")[1] == "given\n"
        open_now = pair.vm.run("ss", "-Htn", "state", "established")
        assert len(open_now.splitlines()) == 1, "everything must go through one connection"
    assert not remote.alive
    assert not Path(folder).exists()


#: What a configuration may lend to every host, or run.
LENDING = """
  ForwardAgent yes
  ForwardX11 yes
  ForwardX11Trusted yes
  LocalForward 127.0.0.1:7001 127.0.0.1:22
  RemoteForward 127.0.0.1:7002 127.0.0.1:22
  DynamicForward 127.0.0.1:7003
  PermitLocalCommand yes
  LocalCommand touch {folder}/local
  RemoteCommand touch {folder}/remote
  RequestTTY force
"""
TOLD = ["sh", "-c", 'echo "agent=$SSH_AUTH_SOCK display=$DISPLAY"; ss -Htln; tty || true']


@pytest.mark.lab
@pytest.mark.parametrize("through", ["capture", "doctor"])
def test_a_configuration_that_lends_things_lends_none_to_the_vm(through: str, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor lent the agent and the screen where the user's configuration said so for all hosts."""
    need_program("ssh-agent", "is what could be lent")
    with (pair.folder / "config").open("a") as file:
        file.write(LENDING.format(folder=pair.folder))
    socket = str(pair.folder / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        monkeypatch.setenv("DISPLAY", ":0")
        by_hand = [*pair.ssh, "-o", "RemoteCommand=none", "-o", "RequestTTY=no", "lab-vm", shlex.join(TOLD)]
        lent = subprocess.run(by_hand, capture_output=True, text=True, check=True).stdout
        assert "agent=/" in lent, "the configuration lends nothing, so this test shows nothing"
        assert "127.0.0.1:7002" in lent
        (pair.folder / "local").unlink()
        if through == "capture":
            with RemoteHost("lab-vm", pair.ssh) as remote:
                status, said, _ = processes.run(remote.wrap([*TOLD]))
        else:
            with doctor.look_at("lab-vm", (), False, ssh=pair.ssh) as scene:
                assert scene.vm is not None
                outcome = scene.vm.run(*TOLD)
                status, said = outcome.status, outcome.stdout
    finally:
        agent.kill()
        agent.wait()
        assert agent.stdout is not None
        agent.stdout.close()
    assert "agent= display=\n" in said
    assert "not a tty" in said
    assert status == 0
    assert "127.0.0.1:7002" not in said
    assert not (pair.folder / "local").exists()
    assert not (pair.folder / "remote").exists()


@pytest.mark.lab
def test_a_key_that_is_not_known(pair: Pair) -> None:
    (pair.folder / "authorized").write_text("")
    with pytest.raises(CaptureError, match="Permission denied") as error:
        RemoteHost("lab-vm", [*pair.ssh, "-o", "BatchMode=yes"]).connect()
    assert "\n" not in str(error.value)


@pytest.mark.lab
@pytest.mark.parametrize("known", ["another", "none"])
def test_a_host_key_that_is_not_the_known_one(pair: Pair, known: str) -> None:
    """Somebody stands in for the VM: ssh refuses, and nothing is run there."""
    key = (pair.folder / "user_key.pub").read_text().split()[1]  # of another pair of keys
    (pair.folder / "known").write_text(f"[10.99.0.1]:2222 ssh-ed25519 {key}\n" if known == "another" else "")
    with pytest.raises(CaptureError, match="Host key verification failed") as error:
        RemoteHost("lab-vm", [*pair.ssh, "-o", "BatchMode=yes"]).connect()
    assert "\n" not in str(error.value)


@pytest.mark.lab
def test_recording_by_ssh(pair: Pair, tmp_path: Path) -> None:
    with RemoteHost("lab-vm", pair.ssh) as remote:
        made = SideRecorder("vm", tmp_path / "r", bpf="udp port 53", wrap=remote.wrap, link_lost=remote.why_broken)
        made.start()
        pair.vm.send(300)
        result = made.stop()
    assert numbers(result.path) == list(range(300))
    assert result.complete
    assert result.packets_dropped == 0
    assert "tcpdump" not in _programs(pair)


@pytest.mark.lab
def test_sessions_do_not_connect_on_their_own(pair: Pair) -> None:
    remote = RemoteHost("lab-vm", pair.ssh)
    remote.connect()
    remote.close()
    status, _, _ = processes.run(remote.wrap(["true"]))
    assert status == 255


@pytest.mark.lab
@pytest.mark.parametrize("how", ["server killed", "client killed", "link cut"])
def test_ssh_breaks(pair: Pair, tmp_path: Path, how: str) -> None:
    with RemoteHost("lab-vm", pair.ssh) as remote:
        made = SideRecorder("vm", tmp_path / "r", bpf="udp port 53", wrap=remote.wrap, link_lost=remote.why_broken)
        made.start()
        pair.vm.send(200)
        assert await_packets(made, 200)
        if how == "server killed":
            pair.kill_connections()
        elif how == "client killed":
            assert remote._process is not None
            remote._process.kill()
        else:
            pair.vm.run("ip", "link", "set", "w0", "down")
        assert made.attention.wait(30)
        result = made.stop()
    assert numbers(result.path) == list(range(200))
    assert not result.complete
    assert result.reason is not None
    assert result.reason.startswith("the ssh connection to lab-vm broke")


def _programs(pair: Pair) -> str:
    """Programs that run in the VM."""
    pids = subprocess.run(["ip", "netns", "pids", pair.vm.name], capture_output=True, text=True, check=True).stdout.split()
    return "\n".join(comm(pid) for pid in pids)


def _stream(folder: Path, text: str, *, alive: bool) -> IO[str]:
    folder.mkdir(mode=0o700)
    file = (folder / "stream").open("w")
    file.write(text)
    file.flush()
    if alive:
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def test_streams_of_others_that_live_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_host, "_place", lambda: str(tmp_path))
    texts = {"a": "192.0.2.1 50000 192.0.2.2 22", "b": "no connection", "c": "192.0.2.1 50001 192.0.2.2 22"}
    files = [_stream(tmp_path / f"netlens-{name}", text, alive=name != "c") for name, text in texts.items()]
    (tmp_path / "netlens-d").mkdir()
    os.mkfifo(tmp_path / "netlens-d" / "stream")
    try:
        assert open_streams() == [SshConnection("192.0.2.1", 50000, "192.0.2.2", 22)]
        monkeypatch.setattr(os, "geteuid", lambda: 12345)  # another user's word decides nothing
        assert open_streams() == []
    finally:
        for file in files:
            file.close()
    monkeypatch.undo()


@pytest.mark.lab
def test_two_that_record_side_by_side_leave_each_other_out(pair: Pair, tmp_path: Path) -> None:
    """Each recorded what the other carried, and so again what it carried itself."""
    with RemoteHost("lab-vm", pair.ssh) as one, RemoteHost("lab-vm", pair.ssh) as other:
        assert one.own is not None
        assert other.own is not None
        assert {one.own, other.own} <= set(open_streams())
        made = SideRecorder(
            "vm", tmp_path / "r", bpf=command.without_own_streams("", open_streams()), wrap=one.wrap, link_lost=one.why_broken
        )
        made.start()
        assert processes.run(other.wrap(["head", "-c", "100000", "/dev/zero"]))[0] == 0
        pair.vm.send(20)
        result = made.stop()
    assert numbers(result.path) == list(range(20))
    left = subprocess.run(["tcpdump", "-n", "-r", str(result.path), "tcp"], capture_output=True, text=True, check=True).stdout
    assert left == ""
    assert not {one.own, other.own} & set(open_streams())
