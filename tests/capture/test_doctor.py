"""The doctor: its registry, the helper that starts programs, each judgement on told facts, and the whole against a real sshd and sshuttle.

What macOS would say cannot be had on Linux; :class:`Told` answers commands from a table then, with texts in documented formats.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.capture import command, doctor
from netlens.capture.checks import MISSING, NOT, OK, WARNING, Check, Result, Scene, checks, clock_offset, program_logs
from netlens.capture.checks import ssh as ssh_check
from netlens.capture.machine import Machine, Trip, tart_address
from netlens.capture.processes import Outcome, run
from netlens.errors import CaptureError
from tests.conftest import IN_CI, need_program

# --- registry -----------------------------------------------------------------------------------------------------------------------------


def test_the_checks_that_were_promised_are_there() -> None:
    ids = [check.ID for check in checks()]
    wanted = (
        "ssh tcpdump rights tshark interfaces clock clock-offset sshuttle redirects excludes names disk snaplen buffer routes proxy sockets"
    )
    assert set(wanted.split()) <= set(ids)
    assert ids[0] == "ssh"
    assert all(len(check.TITLE) < 20 and check.ON in ("here", "vm", "each") for check in checks())


def made(name: str, on: str, look: Callable[[Machine, Scene], Result]) -> Check:
    """A check of a test's own."""
    return cast("Check", SimpleNamespace(ID=name, TITLE=name, ON=on, RANK=0, look=look))


def test_each_check_is_run_where_it_belongs() -> None:
    seen: list[tuple[str, str]] = []

    def noted(name: str, on: str) -> Check:
        def look(machine: Machine, scene: Scene) -> Result:
            seen.append((name, machine.where))
            return Result(OK, "fine")

        return made(name, on, look)

    checks = [noted("ssh", "vm"), noted("a", "here"), noted("b", "each")]
    scene = Scene(Told("here", {}), Told("vm", {}), reached=Outcome(0, "vm\n", ""))
    rows = doctor.examine(scene, checks)
    assert seen == [("a", "here"), ("b", "here"), ("ssh", "vm"), ("b", "vm")] == [(row.id, row.where) for row in rows]

    seen.clear()
    scene.reached = Outcome(255, "", "no")
    assert [(row.id, row.where, row.status) for row in doctor.examine(scene, checks)][2:] == [("ssh", "vm", OK), ("b", "vm", NOT)]
    assert ("b", "vm") not in seen

    rows = doctor.examine(Scene(Told("here", {})), checks)
    assert [(row.id, row.where, row.status) for row in rows] == [("a", "here", OK), ("b", "here", OK), ("ssh", "vm", NOT)]


# --- running programs -----------------------------------------------------------------------------------------------------------------------


def test_run() -> None:
    assert run(["sh", "-c", "echo out; echo one >&2; echo two >&2; exit 3"]) == Outcome(3, "out\n", "one\ntwo\n")
    assert run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"]).complaint == "two"
    assert run(["no-such-program-of-any-name"]).status == 127
    assert run(["/"]).status == 126
    assert run(["sh", "-c", "kill -9 $$"]).status == 128 + 9
    assert run(["cat"]) == Outcome(0, "", "")  # no input
    assert run(["printf", r"\377"]).stdout == "\ufffd"


def test_what_is_nowhere_is_not_there_though_a_folder_of_the_path_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir(mode=0)  # root enters it all the same
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'closed'}:{os.environ['PATH']}")
    assert run(["no-such-program-of-any-name"]) == Outcome(127, "", "no-such-program-of-any-name: not found")
    assert run([str(tmp_path / "nothing")]).status == 127
    assert run([str(tmp_path / "script")]).status == 126


def test_run_ends_what_hangs_and_its_children(tmp_path: Path) -> None:
    fifo = tmp_path / "held by the child"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    outcome = run(["sh", "-c", 'sleep 1000 >"$1" & echo started; wait', "sh", str(fifo)], timeout_s=0.5)
    assert outcome.status == 124
    assert outcome.stdout == "started\n"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # comes only when the child, too, has ended
    os.close(reader)


def test_run_ends_a_conversation_that_hangs() -> None:
    def talk(stdin: IO[bytes], stdout: IO[bytes]) -> None:
        assert stdout.read(1) == b""

    assert run(["sleep", "1000"], 0.3, talk=talk).status == 124


def test_run_does_not_wait_for_what_stays_in_the_background() -> None:
    """An ssh that stays as a master keeps standard error open; a pipe would then have no end."""
    outcome = run(["sh", "-c", "sleep 1000 & echo $!"], timeout_s=60)
    assert outcome.ok
    os.kill(int(outcome.stdout), signal.SIGKILL)


def test_a_command_for_the_vm_is_quoted_once() -> None:
    # sh -c stands for sshd, which hands its one string to a shell
    machine = Machine("vm", lambda argv: ["sh", "-c", shlex.join(argv)], far=True)
    words = ["a b", "$(id)", "'", '"', "*", "-x", "\n", "", "ü"]
    outcome = machine.run("printf", "%s|", *words)
    assert outcome.stdout == "".join(f"{word}|" for word in words)


@pytest.mark.parametrize("vm", ["-oProxyCommand=id", "user@-oProxyCommand=id", "tart:-x", "a b", "", "user@", "h;id", "$(id)"])
def test_a_host_that_ssh_might_misread_is_refused(vm: str) -> None:
    with pytest.raises(CaptureError), doctor.look_at(vm, (), False):
        pass


def test_ssh_gets_its_options_and_the_host_last(tmp_path: Path) -> None:
    argv = command.ssh_shared(["ssh"], "admin@192.168.64.2", str(tmp_path / "s"))
    assert argv[-2:] == ["--", "admin@192.168.64.2"]
    assert {"BatchMode=yes", "PermitLocalCommand=no"} < set(argv)
    assert any(word.startswith("ConnectTimeout=") for word in argv)


# --- clocks ---------------------------------------------------------------------------------------------------------------------------------

OFFSETS = st.integers(-(10**13), 10**13)


@given(
    offset=OFFSETS,
    trips=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=9),
    whole_seconds=st.booleans(),
)
def test_offset_is_within_its_bounds(offset: int, trips: list[tuple[int, int, int]], whole_seconds: bool) -> None:
    start = 1_700_000_000_000_000_000
    resolution = 1_000_000_000 if whole_seconds else 1
    made = []
    for at, there, back in trips:
        sent = start + at
        theirs = sent + there + offset
        made.append(Trip(sent, sent + there + back, theirs - theirs % resolution, resolution))
    low, high = clock_offset.offset_bounds(made)
    assert low - 1e-9 <= offset / 1e9 <= high + 1e-9
    assert high - low <= (min(there + back for _, there, back in trips) + resolution) / 1e9 + 1e-9


def test_trips_of_a_real_clock() -> None:
    trips = Machine("here").clock_trips(clock_offset.TRIPS)
    assert len(trips) == clock_offset.TRIPS
    low, high = clock_offset.offset_bounds(trips)
    assert low <= 1e-6  # it is our own clock
    assert high >= -1e-6


def test_a_clock_that_was_set_meanwhile_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    trips = [Trip(0, 10, 5, 1), Trip(100, 110, 5_000_000_105, 1)]
    monkeypatch.setattr(Machine, "clock_trips", lambda self, count: trips)
    result = _check("clock-offset", Told("vm", {}))
    assert result.status == WARNING
    assert "set while" in result.text


# --- judgements on told facts ---------------------------------------------------------------------------------------------------------------


class Told(Machine):
    """A machine whose commands answer from a table; a command that is not in it is not installed."""

    def __init__(self, where: str, answers: dict[str, str], system: str = "Linux", root: bool = True):
        super().__init__(where)
        programs = sorted({line.split()[0] for line in answers})
        paths = "".join(f"/usr/bin/{program}\n" for program in programs)
        self.answers = answers
        self.said = {"uname -srm": f"{system} 1 x", "id -u": "0" if root else "501", "programs": paths, **answers}

    def run(self, *argv: str, timeout_s: float = 0, given: str = "", talk: Any = None) -> Outcome:
        line = " ".join(argv)
        if line not in self.answers:
            return Outcome(127, "", f"{argv[0]}: not found")
        text = self.answers[line]
        return Outcome(1, "", text.removeprefix("!")) if text.startswith("!") else Outcome(0, text, "")


def _check(name: str, machine: Machine, scene: Scene | None = None) -> Result:
    (check,) = (check for check in checks() if name == check.ID)
    return check.look(machine, scene or Scene(Told("here", {}), machine))


@pytest.mark.parametrize(
    ("stderr", "text", "mend"),
    [
        ("Host key verification failed.", "host key is not known", "ssh admin@192.168.64.2"),
        (
            "@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "host key has changed",
            "ssh-keygen -R 192.168.64.2",
        ),
        ("admin@192.168.64.2: Permission denied (publickey,password).", "asks for a password", "ssh-copy-id admin@192.168.64.2"),
        ("ssh: Could not resolve hostname x: Name or service not known", "no address", "~/.ssh/config"),
        ("ssh: connect to host 192.168.64.2 port 22: Connection refused", "no ssh server", "systemctl start ssh"),
        ("ssh: connect to host 192.168.64.2 port 22: Connection timed out", "no answer", "ping -c 3 192.168.64.2"),
        ("kex_exchange: something else", "something else", "ssh -v -- admin@192.168.64.2 true"),
    ],
)
def test_what_a_failed_ssh_means(stderr: str, text: str, mend: str) -> None:
    """Documented: messages of OpenSSH 9 and 10."""
    said, fix = ssh_check.problem(Outcome(255, "", stderr), "admin@192.168.64.2")
    assert text in said
    assert mend in fix


def test_rights() -> None:
    may = {"tcpdump -p -d -i any": "(000) ret #262144"}
    assert _check("rights", Told("here", may)).status == OK
    capable = _check("rights", Told("here", may, root=False))
    assert capable.status == OK
    assert "capabilities" in capable.text
    denied = {"tcpdump -p -d -i any": "!tcpdump: any: You don't have permission"}
    sudo = Told("here", {**denied, "sudo -n true": "", "sudo -n tcpdump -p -d -i any": "(000) ret #262144"}, root=False)
    assert _check("rights", sudo).text == "sudo without a password"
    none = _check("rights", Told("here", denied, root=False))
    assert none.status == MISSING
    assert none.fix == "sudo setcap cap_net_raw,cap_net_admin=eip /usr/bin/tcpdump"
    assert _check("rights", Told("here", denied)).status == MISSING  # a container without NET_RAW
    mac = _check("rights", Told("here", {"tcpdump -p -d -i lo0": "!tcpdump: (cannot open BPF device)"}, "Darwin", root=False))
    assert "/dev/bpf" in mac.fix
    assert _check("rights", Told("here", {})).status == NOT


def test_a_missing_program_comes_with_the_command_of_this_system() -> None:
    assert _check("tcpdump", Told("here", {"apt-get": ""}, root=False)).fix == "sudo apt-get install tcpdump"
    assert _check("tshark", Told("here", {"dnf": ""})).fix == "dnf install wireshark-cli"
    assert _check("tshark", Told("here", {"brew": ""}, "Darwin", root=False)).fix == "brew install wireshark"
    assert "package manager" in _check("tcpdump", Told("here", {})).fix


def test_root_is_not_told_to_use_sudo() -> None:
    only = [made("a", "here", lambda machine, scene: Result(MISSING, "", "sudo one && sudo two"))]
    assert doctor.examine(Scene(Told("here", {})), only)[0].fix == "one && two"
    assert doctor.examine(Scene(Told("here", {}, root=False)), only)[0].fix == "sudo one && sudo two"


def test_a_proxy_shows_no_password() -> None:
    answers = {
        "printenv HTTPS_PROXY https_proxy ALL_PROXY all_proxy": "http://me:hunter2@proxy.lan:3128/\n",
        "printenv https_proxy": "http://me:hunter2@proxy.lan:3128/\n",
    }
    result = _check("proxy", Told("here", answers))
    assert result.status == WARNING
    assert "proxy.lan:3128" in result.text
    assert "hunter2" not in result.text + result.fix
    assert _check("proxy", Told("here", {})).status == OK


def test_routes() -> None:
    none = Told("here", {"ip route": "", "ip -6 route": ""})
    assert _check("routes", none).status == WARNING
    plain = Told("here", {"ip route": "default via 192.168.64.1 dev eth0\n", "ip -6 route": ""})
    assert _check("routes", plain).text == "default via 192.168.64.1 (eth0)"
    vpn = Told(
        "here",
        {"netstat -rn": "Destination Gateway Flags Netif Expire\ndefault 192.168.101.1 UGSc en0\n0/1 10.8.0.1 UGSc utun4\n"},
        "Darwin",
    )
    result = _check("routes", vpn)
    assert result.status == WARNING
    assert "utun4 looks like a VPN" in result.text


def _running(*arguments: str) -> dict[str, str]:
    """What a machine says where sshuttle runs with these arguments."""
    argv = ["/usr/bin/python3", "/usr/bin/sshuttle", *arguments]
    return {
        "processes": "77 " + "\0".join(argv) + "\0\n",
        "stat -L -c %i /proc/self/ns/net /proc/77/ns/net /proc/77": "1\n1\n9\n",
        "find /usr/lib -maxdepth 3 -name sshuttle-*-info": "/usr/lib/python3/dist-packages/sshuttle-1.3.2.dist-info\n",
    }


def _nft(*returns: str) -> str:
    rules = "".join(f"ip daddr {network} meta l4proto tcp return\n" for network in returns)
    return f"table inet sshuttle-ipv4-12300 {{\nchain sshuttle-ipv4-12300 {{\n{rules}meta l4proto tcp redirect to :12300\n}}\n}}\n"


def test_sshuttle_of_another_network_namespace_is_another_ones() -> None:
    asked = "stat -L -c %i /proc/self/ns/net /proc/77/ns/net /proc/77"
    for said, ours in (("1\n2\n9\n", 0), ("1\n1\n9\n", 1), ("1\n9\n", 1), ("1\n", 0)):  # the third does not say, the fourth has ended
        assert len(Told("vm", {**_running("-r", "h", "0/0"), asked: said}).tunnels) == ours
    ended = {**_running("-r", "h", "0/0"), "processes": "77 \n"}
    assert Told("vm", ended).tunnels == []


def test_sshuttle() -> None:
    answers = {**_running("--dns", "-r", "me@gate", "0/0"), "nft list ruleset": _nft()}
    result = _check("sshuttle", Told("vm", answers))
    assert (result.status, result.text) == (OK, "1.3.2, method nft (chosen by itself), to me@gate, with DNS")
    assert _check("sshuttle", Told("vm", {})).status == WARNING
    here = Told("here", {})
    assert _check("sshuttle", here, Scene(here)).status == NOT


def test_redirects() -> None:
    running = _running("-r", "h", "0/0")
    assert _check("redirects", Told("vm", {**running, "nft list ruleset": _nft()})).status == OK
    gone = _check("redirects", Told("vm", {**running, "nft list ruleset": ""}))
    assert gone.status == MISSING
    left = _check("redirects", Told("vm", {"nft list ruleset": _nft()}))
    assert (left.status, left.fix) == (WARNING, "sudo nft delete table inet sshuttle-ipv4-12300")
    hidden = _check("redirects", Told("vm", {**running, "nft list ruleset": "!Operation not permitted"}, root=False))
    assert hidden.status == WARNING
    assert "only root" in hidden.text


@pytest.mark.parametrize(
    ("excludes", "rules", "status", "text"),
    [
        ([], _nft(), OK, "api.z.ai goes through the tunnel"),
        (["203.0.113.7"], _nft("203.0.113.7"), OK, "effective: api.z.ai goes out directly"),
        (["api.z.ai/32"], _nft("203.0.113.7"), OK, "effective: api.z.ai"),
        (["api.z.ai/32"], _nft("203.0.113.99"), WARNING, "dead: api.z.ai"),  # its address at that time was another
        (["203.0.113.7"], _nft(), WARNING, "dead: -x 203.0.113.7 has no effect"),
        (["other.example"], _nft("198.51.100.1"), OK, "other.example goes out directly, api.z.ai through the tunnel"),
    ],
)
def test_excludes(excludes: list[str], rules: str, status: str, text: str) -> None:
    arguments = [word for exclude in excludes for word in ("-x", exclude)]
    answers = {
        **_running("-r", "h", "0/0", *arguments),
        "nft list ruleset": rules,
        "getent ahosts api.z.ai": "203.0.113.7 STREAM api.z.ai\n",
        "getent ahosts other.example": "198.51.100.1 STREAM other.example\n",
    }
    machine = Told("vm", answers)
    result = _check("excludes", machine, Scene(Told("here", {}), machine, ("api.z.ai",)))
    assert result.status == status
    assert text in result.text


@pytest.mark.parametrize(("quick", "status"), [("quick ", WARNING), ("", OK)], ids=["2.0.0", "1.3.2"])
def test_excludes_of_pf(quick: str, status: str) -> None:
    """Documented: rules as sshuttle's methods/pf.py writes them, in pfctl's form; 2.0.0 differs by the word ``quick``."""
    version = "2.0.0" if quick else "1.3.2"
    filters = (
        f"pass out {quick}route-to lo0 inet proto tcp from any to any keep state\npass out {quick}inet proto tcp from any to 203.0.113.7\n"
    )
    argv = "/opt/homebrew/Cellar/sshuttle/libexec/bin/python /opt/homebrew/Cellar/sshuttle/libexec/bin/sshuttle -r h 0/0 -x 203.0.113.7"
    answers = {
        "processes": f"77 {argv}\n",
        "find /opt/homebrew/Cellar/sshuttle/libexec/lib -maxdepth 3 -name sshuttle-*-info": f"/x/site-packages/sshuttle-{version}.dist-info\n",
        "pfctl -s Anchors -v": "  com.apple\n  sshuttle-12300\n",
        "pfctl -a sshuttle-12300 -s nat": "rdr pass on lo0 inet proto tcp from ! 127.0.0.1 to any -> 127.0.0.1 port 12300\n",
        "pfctl -a sshuttle-12300 -s rules": filters,
        "dscacheutil -q host -a name api.z.ai": "name: api.z.ai\nip_address: 203.0.113.7\n",
    }
    machine = Told("vm", answers, "Darwin")
    result = _check("excludes", machine, Scene(Told("here", {}), machine, ("api.z.ai",)))
    assert result.status == status
    assert ("2.0.0's pf rules" in result.text) is bool(quick)
    unread = {**answers, "pfctl -s Anchors -v": "!pfctl: /dev/pf: Permission denied"}
    machine = Told("vm", unread, "Darwin", root=False)
    result = _check("excludes", machine, Scene(Told("here", {}), machine, ("api.z.ai",)))
    assert result.status == status


def test_excludes_where_nobody_may_read_the_rules() -> None:
    answers = {**_running("-r", "h", "0/0", "-x", "api.z.ai"), "getent ahosts api.z.ai": "203.0.113.7 STREAM api.z.ai\n"}
    machine = Told("vm", {**answers, "nft list ruleset": "!Operation not permitted"}, root=False)
    result = _check("excludes", machine, Scene(Told("here", {}), machine, ("api.z.ai",)))
    assert result.status == WARNING
    assert "only root can see" in result.text


def test_names_of_both_sides() -> None:
    here = Told("here", {"getent ahosts api.z.ai": "203.0.113.7 STREAM\n"})
    same, other = Told("vm", here.answers), Told("vm", {"getent ahosts api.z.ai": "203.0.113.8 STREAM\n"})
    assert _check("names", same, Scene(here, same, ("api.z.ai",))).status == OK
    assert _check("names", other, Scene(here, other, ("api.z.ai",))).status == WARNING
    lost = Told("vm", {})
    assert _check("names", lost, Scene(here, lost, ("api.z.ai",), apis_named=True)).status == MISSING
    assert _check("names", lost, Scene(here, lost, ("api.z.ai",))).status == WARNING  # one of the usual names
    address = _check("names", here, Scene(here, None, ("192.0.2.1",)))
    assert address.status == OK


@pytest.mark.parametrize(
    ("said", "target"),
    [
        # documented: cirruslabs/tart, ``tart ip``: the address and a line end, or an error on standard error and nothing here
        ("echo 192.168.64.7", "admin@192.168.64.7"),
        ("true", None),
        ("echo 'Error: no IP address found, is your VM running?'", None),
    ],
)
def test_the_address_of_a_tart_vm(said: str, target: str | None) -> None:
    assert tart_address("tart:cal-dev", ["sh", "-c", said])[0] == target


def test_disk(tmp_path: Path) -> None:
    assert _check("disk", Told("here", {}), Scene(Told("here", {}), directory=str(tmp_path / "not" / "yet"))).text.endswith(str(tmp_path))


HOME_LOG = "/home/dev/.local/share/opencode/log/opencode.log"


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        (f"log opencode 7 {HOME_LOG}\nrun 05:10 opencode\nrun 1-02:03:04 systemd", OK, "opencode: written to just now"),
        (f"log opencode 9000 {HOME_LOG}\nrun 05:10 opencode", WARNING, "opencode runs, but its newest log, "),
        ("run 02:05:10 /opt/homebrew/bin/codex", WARNING, "codex runs, but no log of it is where it is looked for"),
        ("run 00:10 opencode", NOT, "none of opencode, codex, claude-code has a log here"),
        (f"log opencode 90000 {HOME_LOG}", OK, "opencode: written to 1 day ago"),
        ("", NOT, "none of"),
    ],
)
def test_logs_that_no_longer_grow_are_told_of(said: str, status: str, text: str) -> None:
    result = _check("program-logs", Told("here", {f"sh -c {program_logs.SCRIPT}": said}))
    assert (result.status, result.text[: len(text)]) == (status, text)


def test_the_log_of_a_program_is_found_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "opencode" / "log"
    folder.mkdir(parents=True)
    (folder / "opencode.log").write_text("a line\n", encoding="utf-8")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    here = Machine("here")
    assert f"opencode: written to just now ({folder}/opencode.log)" in _check("program-logs", here, Scene(here)).text


# --- the command ----------------------------------------------------------------------------------------------------------------------------


def _netlens(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "netlens", "doctor", *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_command_here() -> None:
    # an address: nothing is looked up
    done = _netlens("--api", "192.0.2.1", "--format", "json")
    rows = json.loads(done.stdout)
    assert {row["status"] for row in rows} <= {OK, WARNING, MISSING, NOT}
    assert done.returncode == any(row["status"] == MISSING for row in rows)
    assert {row["id"] for row in rows} == {check.ID for check in checks()}
    assert all(row["mend"] for row in rows if row["status"] == MISSING)
    assert done.stderr == ""


def test_command_prints_a_table() -> None:
    done = _netlens("--api", "192.0.2.1")
    assert "kernel buffer" in done.stdout
    assert "clock of the VM" not in done.stdout  # no VM was named


def test_command_refuses_an_option_as_host() -> None:
    done = _netlens("--vm=-oProxyCommand=id")
    assert done.returncode == 1
    assert done.stderr.startswith("netlens: ")
    assert done.stdout == ""


def test_usual_apis() -> None:
    from netlens.cli.doctor import usual_apis

    assert set(usual_apis()) == {"api.z.ai", "open.bigmodel.cn", "api.zhipu.ai"}


def test_nobody_answers(tmp_path: Path) -> None:
    """A real ssh to a port of loopback on which nobody listens."""
    need_program("ssh", "the doctor's way to the VM")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    config = tmp_path / "config"
    config.write_text(f"Host vm\n  HostName 127.0.0.1\n  Port {port}\n", encoding="utf-8")
    with doctor.look_at("vm", ("192.0.2.1",), True, str(tmp_path), ("ssh", "-F", str(config))) as scene:
        rows = doctor.examine(scene)
    of_vm = {row.id: row for row in rows if row.where == "vm"}
    assert (of_vm["ssh"].status, of_vm["ssh"].text) == (MISSING, "no ssh server listens there")
    assert {row.status for name, row in of_vm.items() if name != "ssh"} == {NOT}


# --- the whole, for real ----------------------------------------------------------------------------------------------------------------------

_LOOK = """
import dataclasses, json, sys
from netlens.capture import command, doctor
vm, config, *apis = sys.argv[1:]
with doctor.look_at(vm, apis, True, "/tmp", ("ssh", "-F", config)) as scene:
    print(json.dumps([dataclasses.asdict(row) for row in doctor.examine(scene)]))
"""


class Lab:
    """Two network namespaces with a link; an sshd in each; everything is gone when it is closed."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack):
        self.folder, self.stack = folder, stack
        tag = f"nld{os.getpid() % 100000}"
        self.host, self.vm = f"{tag}h", f"{tag}v"
        self.hosts = {name: Path(f"/etc/netns/{name}/hosts") for name in (self.host, self.vm)}
        for name in (self.host, self.vm):
            self.ip("netns", "add", name)
            stack.callback(self.ip, "netns", "del", name)
            self.hosts[name].parent.mkdir(parents=True)
            stack.callback(shutil.rmtree, self.hosts[name].parent)
            self.hosts[name].write_text("127.0.0.1 localhost\n203.0.113.7 api.z.ai\n", encoding="utf-8")
            (self.hosts[name].parent / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")
            self.ip("-n", name, "link", "set", "lo", "up")
        self.ip("link", "add", f"{tag}a", "netns", self.host, "type", "veth", "peer", "name", f"{tag}b", "netns", self.vm)
        for name, link, address in ((self.host, f"{tag}a", "192.168.64.1"), (self.vm, f"{tag}b", "192.168.64.2")):
            self.ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            self.ip("-n", name, "link", "set", link, "up")
        self.ip("-n", self.vm, "route", "add", "default", "via", "192.168.64.1")
        for name in (self.host, self.vm):  # the kernel looks at new links once a second, and calls them down until then
            for _ in range(100):
                if (
                    " UP "
                    in subprocess.run(["ip", "-n", name, "-br", "link", "show", "type", "veth"], capture_output=True, text=True).stdout
                ):
                    break
                time.sleep(0.05)
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; made by the system's service otherwise
        for key in ("key", "hostkey"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        (folder / "authorized").write_bytes((folder / "key.pub").read_bytes())
        self.config = folder / "config"
        self.config.write_text(
            f"Host *\n  User root\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n"
            "  StrictHostKeyChecking accept-new\nHost cal-dev\n  HostName 192.168.64.2\n",
            encoding="utf-8",
        )
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd"
        options = {
            "AuthorizedKeysFile": folder / "authorized",
            "StrictModes": "no",
            "PermitRootLogin": "yes",
            "UsePAM": "no",
            "PidFile": "none",
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        for name in (self.host, self.vm):
            self.start(name, "listening on", sshd, "-D", "-e", "-f", "/dev/null", "-h", str(folder / "hostkey"), *flags)

    @staticmethod
    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    def start(self, namespace: str, ready: str, *argv: str) -> subprocess.Popen[str]:
        """Start a program there; returns when it has said ``ready`` on standard error."""
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *argv], stderr=subprocess.PIPE, text=True)
        self.stack.callback(self.stop, process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if ready in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process
        raise AssertionError("".join(said))

    @staticmethod
    def stop(process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.wait(20)

    def tunnel(self, *arguments: str) -> subprocess.Popen[str]:
        sshuttle = need_sshuttle()
        command = f"ssh -F {self.config}"
        return self.start(
            self.vm, "Connected to server", sshuttle, "--method", "nft", "-e", command, "-r", "192.168.64.1", "0/0", *arguments
        )

    def look(self, *apis: str) -> dict[tuple[str, str], dict[str, str]]:
        """The doctor, run on the host's side against the VM."""
        argv = ["ip", "netns", "exec", self.host, sys.executable, "-c", _LOOK, "cal-dev", str(self.config), *apis]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return {(row["where"], row["id"]): row for row in json.loads(done.stdout)}


def need_sshuttle() -> str:
    found = shutil.which("sshuttle", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    return found or need_program("sshuttle", "the tunnel of this test")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need root on Linux")
    if not shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"):
        (pytest.fail if IN_CI else pytest.skip)("sshd is not installed (the VM's side of this test)")
    for program in ("ip", "ssh", "nft", "tcpdump"):
        need_program(program, "this test records for real")
    with contextlib.ExitStack() as stack:
        yield Lab(tmp_path, stack)


@pytest.mark.lab
def test_a_vm_without_a_tunnel(lab: Lab) -> None:
    rows = lab.look("api.z.ai")
    assert rows["vm", "ssh"]["status"] == OK
    assert rows["vm", "rights"]["text"] == "root"
    assert rows["vm", "clock-offset"]["status"] == OK
    assert "192.168.64.2" in rows["vm", "interfaces"]["text"]
    assert "192.168.64.1" in rows["vm", "routes"]["text"]
    assert rows["vm", "sshuttle"]["status"] == WARNING
    assert rows["vm", "names"]["status"] == OK
    assert rows["vm", "excludes"]["status"] == NOT
    lab.hosts[lab.vm].write_text("127.0.0.1 localhost\n203.0.113.8 api.z.ai\n", encoding="utf-8")
    assert "other addresses for api.z.ai" in lab.look("api.z.ai")["vm", "names"]["text"]
    # nothing stays: neither the connection nor its folder
    assert not [line for line in _processes() if f"-F {lab.config}" in line]


@pytest.mark.lab
def test_a_vm_with_a_tunnel_whose_exclude_dies(lab: Lab) -> None:
    lab.tunnel("-x", "192.168.64.0/24", "-x", "api.z.ai/32")
    rows = lab.look("api.z.ai")
    assert rows["vm", "sshuttle"]["status"] == OK, rows["vm", "sshuttle"]["text"]
    assert "method nft, to 192.168.64.1, listens on 12300" in rows["vm", "sshuttle"]["text"]
    assert rows["vm", "sshuttle"]["text"][0].isdigit()  # its version
    assert rows["here", "sshuttle"]["status"] == NOT  # the other namespace's
    assert (rows["vm", "redirects"]["status"], rows["here", "redirects"]["status"]) == (OK, OK)
    assert rows["vm", "excludes"]["text"] == "effective: api.z.ai goes out directly"
    lab.hosts[lab.vm].write_text("127.0.0.1 localhost\n203.0.113.8 api.z.ai\n", encoding="utf-8")
    row = lab.look("api.z.ai")["vm", "excludes"]
    assert row["status"] == WARNING
    assert "is now 203.0.113.8, which goes through the tunnel" in row["text"]
    assert "-x api.z.ai/32" in row["fix"]


def _processes() -> list[str]:
    return subprocess.run(["ps", "-axww", "-o", "args="], capture_output=True, text=True, check=True).stdout.splitlines()
