"""The laboratory for real: namespaces, sshd, sshuttle, tcpdump on both sides. As short as a run can be and still be refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import netlens
from netlens.lab import check, relays, run, scenario, topology
from netlens.lab.topology import HOST, HOST_INSIDE_IP, PROVIDER, PROVIDER_IP, VM, LabError, Topology
from tests.conftest import need_program

pytestmark = pytest.mark.lab


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def left_of(name: str) -> list[str]:
    """What of a run is still there."""
    left = [line.split()[0] for line in namespaces().splitlines() if line.startswith(name)]
    return left + [str(path) for base in (topology.STATE, Path("/etc/netns")) if base.is_dir() for path in base.glob(f"{name}*")]


def test_the_vm_reaches_the_provider_through_the_host_only() -> None:
    with Topology(f"nl{os.getpid()}t") as there:
        assert (
            PROVIDER_IP in subprocess.run([*there.prefix(PROVIDER), "ip", "-4", "addr"], capture_output=True, text=True, check=True).stdout
        )
        route = subprocess.run([*there.prefix(VM), "ip", "route", "get", PROVIDER_IP], capture_output=True, text=True, check=True).stdout
        assert f"via {HOST_INSIDE_IP}" in route
        for side in (VM, HOST, PROVIDER):
            routes = subprocess.run([*there.prefix(side), "ip", "route"], capture_output=True, text=True, check=True).stdout
            assert ("default" in routes) == (side == VM), "nothing leads out of the namespaces"
        name = there.name
    assert not left_of(name)


@pytest.mark.parametrize("name", ["same-nat-ip-sshuttle", "same-nat-ip-nat"])
def test_a_recording_agrees_with_the_providers_own_log(tmp_path: Path, name: str) -> None:
    folder = run.run(scenario.load(name), tmp_path / name, run.Options(seconds=7, seed=1))
    report = check.check(folder)
    # In so few seconds chance may leave one side without a refusal; counts must agree all the same. Times are for `netlens lab check`.
    wrong = [count for count in report.counts.items() if count[1][0] != count[1][1]]
    assert not wrong
    assert sum(report.refused.values()) > 0
    assert set(netlens.read(folder / "vm.pcap.gz").connections["path"]) == {name.rpartition("-")[2]}
    assert (folder / "manifest.toml").stat().st_mode & 0o777 == 0o600
    assert not left_of(f"nl{os.getpid()}")


@pytest.mark.parametrize(
    ("name", "paths", "parties"),
    [
        ("same-nat-ip-container", {"nat"}, {"VM", "host"}),
        ("same-nat-ip-two-vms", {"nat"}, {"VM", "other VM, 192.168.64.3"}),
        ("own-concurrency-nginx", {"direct"}, {"VM"}),
        ("same-nat-ip-round-robin", {"nat"}, {"VM", "host"}),
        ("same-nat-ip-other-name", {"nat"}, {"VM", "host"}),
    ],
)
def test_other_paths_and_parties_agree_with_the_providers_own_log(tmp_path: Path, name: str, paths: set[str], parties: set[str]) -> None:
    loaded = scenario.load(name)
    for program in relays.kinds()[loaded.path["kind"]].NEEDS:
        need_program(program, name)
    folder = run.run(loaded, tmp_path / name, run.Options(seconds=6, seed=1))
    report = check.check(folder)
    assert not [count for count in report.counts.items() if count[1][0] != count[1][1]]
    assert not any("is called" in problem for problem in report.problems)
    assert set(netlens.read(folder / "vm.pcap.gz").connections["path"]) == paths
    assert {each["name"] for each in netlens.analyze(folder).to_dict()["parties"] if each["requests"]} == parties


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(LabError, match="is not empty"):
        run.run(scenario.load("healthy"), tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    argv = [sys.executable, "-m", "netlens", "lab", "run", "same-nat-ip-sshuttle", "-o", str(tmp_path / "r"), "--seconds", "60"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr
        while "60 s" not in child.stderr.readline():  # the run says so once everything is up
            assert child.poll() is None
        name = f"nl{child.pid}"
        assert left_of(name)
        janitors = subprocess.run(
            ["pgrep", "-f", f"netlens.lab.janitor {name}$"], capture_output=True, text=True, check=True
        ).stdout.split()
        child.send_signal(how)
        child.wait()
    for janitor in janitors:  # its end is the end of the cleaning; it is nobody's child now, so its pidfd is waited for
        wait_for_end(int(janitor))
    assert not left_of(name)


def wait_for_end(pid: int) -> None:
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [])
    os.close(descriptor)


def test_clean_removes_what_nobody_owns() -> None:
    # A process id that was in use a moment ago and is not any more.
    gone = subprocess.Popen(["true"])
    gone.wait()
    name = f"nl{gone.pid}"
    subprocess.run(["ip", "netns", "add", f"{name}-vm"], check=True)
    assert name in topology.stale()
    done = subprocess.run([sys.executable, "-m", "netlens", "lab", "clean"], capture_output=True, text=True, check=True)
    assert f"removed {name}" in done.stderr
    assert not left_of(name)
