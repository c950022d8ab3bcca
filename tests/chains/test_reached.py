"""At which address the VM reaches the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import netlens
from netlens.chains.reached import host_from_vm, told


def machine(*addresses: object, gateway: object = None) -> dict[str, Any]:
    routes = [{"destination": "10.0.0.0/8", "gateway": "10.0.0.9"}, {"destination": "default", "gateway": gateway}]
    return {"interfaces": [{"name": "lo", "addresses": ["127.0.0.1"]}, {"name": "eth0", "addresses": list(addresses)}], "routes": routes}


@pytest.mark.parametrize(
    ("manifest", "address"),
    [
        ({"machines": {"vm": machine("10.1.2.3", gateway="10.9.9.9"), "host": machine("203.0.113.1", "10.9.9.9")}}, "10.9.9.9"),
        ({"machines": {"vm": machine("10.1.2.3", gateway="10.9.9.9"), "host": machine("10.1.2.1")}}, "10.1.2.1"),
        ({"machines": {"vm": machine("10.1.2.3", gateway="10.9.9.9"), "host": machine("192.168.7.1")}}, None),
        ({"addresses": {"vm": ["192.168.64.2"], "host": ["203.0.113.1", "192.168.64.1"]}}, "192.168.64.1"),
        ({"addresses": {"vm": ["fd00:5::2"], "host": ["2001:db8::1", "fd00:5::1"]}}, "fd00:5::1"),
        ({"addresses": {"vm": ["192.168.64.2"], "host": ["192.168.64.1; id", "$(id)", 7, None, "127.0.0.1"]}}, None),
        ({"addresses": ["x"], "machines": {"vm": {"routes": "x", "interfaces": [3]}, "host": []}}, None),
        ({}, None),
    ],
)
def test_what_a_manifest_tells(manifest: dict[str, Any], address: str | None) -> None:
    assert told(manifest) == address


@pytest.mark.parametrize(
    ("name", "address"), [("same-nat-ip-sshuttle", "192.168.64.1"), ("own-concurrency-haproxy", "192.168.64.1"), ("same-nat-ip-nat", None)]
)
def test_what_captures_show_without_a_manifest(name: str, address: str | None, captures: Path) -> None:
    a = netlens.analyze(vm=captures / name / "vm.pcap.gz", host=captures / name / "host.pcap.gz", apis="api.z.ai")
    assert host_from_vm(a.assembled) == address


def test_a_command_names_the_host_that_the_recording_knows(captures: Path) -> None:
    a = netlens.analyze(captures / "same-nat-ip-nat")
    [shared] = [f for f in a.fixes if f.id == "stagger"]
    assert "http://192.168.64.1:8900/" in (shared.program or "")
    assert not any("HOST" in caveat for caveat in shared.caveats)
