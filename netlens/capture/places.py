"""The sides that are recorded: what each is asked before a capture starts, and the filter that is made of the answers.

All is asked before anything is captured, so that the filter can be made and our own lookups of the API's name are not in the capture.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from netlens.addresses import is_address
from netlens.capture import command
from netlens.capture.machine import Machine
from netlens.capture.remote import RemoteHost
from netlens.errors import CaptureError

#: Addresses of each API.
Addresses = dict[str, list[str]]


class Place(Machine):
    """Where one side is recorded: here, or a VM behind ssh."""

    def __init__(self, side: str, remote: RemoteHost | None = None, prefix: Sequence[str] = ()):
        super().__init__(side, remote.wrap if remote else lambda argv: [*prefix, *argv], far=remote is not None)
        self.side, self.remote = side, remote
        self.clock: dict[str, int] = {}


def connected(side: str, vm: str | None, ssh: Sequence[str], prefix: Sequence[str], stack: contextlib.ExitStack) -> Place:
    """The place of a side; the connection to a VM ends with ``stack``."""
    remote = stack.enter_context(RemoteHost(vm, ssh)) if side != "host" and vm is not None else None
    return Place(side, remote, prefix)


def learn(places: Iterable[Place], names: Sequence[str]) -> tuple[Addresses, list[dict[str, Any]]]:
    """Ask every place about itself, at the same time: addresses of each name as seen from all of them, and who said which when.

    CaptureError if nobody knows an address of a name, or a place does not answer.
    """
    places = list(places)
    resolved: list[dict[str, Any]] = []

    def ask(place: Place) -> None:
        asked_ns = time.time_ns()
        place.facts = place.learn([name for name in names if not is_address(name)])
        place.clock = place.read_clock()
        resolved.extend(who_said(place.side, asked_ns, place.facts.addresses))

    with ThreadPoolExecutor() as pool:
        list(pool.map(ask, places))
    found: Addresses = {name: [name] for name in names if is_address(name)}
    for place in places:
        for name, addresses in place.facts.addresses.items():
            known = found.setdefault(name, [])
            known += [a for a in addresses if a not in known]
    for name in names:
        if not found.get(name):
            sides = " and ".join(p.side for p in places)
            raise CaptureError(f"{name}: no address is known for this name ({sides}); give one: --api ADDRESS")
    return found, resolved


def who_said(side: str, asked_ns: int, addresses: Addresses) -> list[dict[str, Any]]:
    """For the manifest: what names resolved to on a side."""
    return [{"name": name, "side": side, "time_ns": asked_ns, "addresses": found} for name, found in sorted(addresses.items())]


def ssh_ports(places: Iterable[Place]) -> set[int]:
    """Where the tunnel's SSH server listens: its client runs in the VM."""
    return {*command.SSH_PORTS, *(port for p in places if p.side != "host" for port in p.facts.ssh_ports())}


def bpf(
    place: Place, places: Sequence[Place], addresses: Addresses, streams: Iterable[command.SshConnection], instead: str | None = None
) -> str:
    """The filter that the question needs, at ``place``, or the one that was given ``instead``; without ``streams``."""
    if instead is None:
        vms = {address for p in places if p.side != "host" and p is not place for address in p.facts.own_addresses()}
        instead = command.capture_filter(
            flat(addresses),
            {port for p in places for port in p.facts.redirect_ports()},
            ssh_ports(places),
            sorted(vms) if place.side == "host" else (),
        )
    return command.without_own_streams(instead, streams)


def flat(addresses: Addresses) -> list[str]:
    """All of them, each once, in order."""
    return sorted({a for values in addresses.values() for a in values})


def described(places: Iterable[Place], names: Sequence[str], addresses: Addresses) -> dict[str, Any]:
    """For the manifest: the API, and what the machines say of themselves."""
    return {
        "api": {"names": [name for name in names if not is_address(name)], "addresses": flat(addresses)},
        "addresses": {p.side: p.facts.own_addresses() for p in places},
        "machines": {p.side: p.facts.to_dict() | {"clock_reading": p.clock} for p in places},
    }
