"""Whose sockets the host's connections are, as far as samples of its sockets show.

Limits: sockets are sampled, so what lived for less than a second may have no owner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from netlens.chains.compared import KNOWN_CLOCK_NS, Compared
from netlens.columns import Bools
from netlens.text import endpoint

FORWARDERS = ("sshd", "sshuttle", "python")  #: beginnings of the names of processes that open connections for the VM


class Processes:
    """Processes of the host's connections.

    owners : (process, pid) of each, as far as a sample shows it while the connection was there.  own : those of the host's own programs.
    tunnel_pids : processes that opened connections which certainly came through the tunnel.
    """

    def __init__(self, h: Compared, sockets: Iterable[Mapping[str, Any]]) -> None:
        self.owners = _owners(h, sockets)
        self.tunnel_pids: set[int] = set()
        self.own: Bools = np.zeros(h.n, bool)

    def settle(self, tunnelled: Iterable[int]) -> None:
        """Tell the tunnel's processes from the host's own; ``tunnelled``: connections that certainly came through the tunnel."""
        self.tunnel_pids = {pid for j in tunnelled for name, pid in self.owners[j] if pid is not None and _forwards(name)}
        self.own = np.array([self._is_own(owners) for owners in self.owners], dtype=bool)

    def of_tunnel(self, j: int) -> bool:
        return any(pid in self.tunnel_pids for _, pid in self.owners[j])

    def _is_own(self, owners: set[tuple[str, int | None]]) -> bool:
        """Whether a process of the host's own had it; a Python may be the tunnel's, unless that is known by its number."""
        if not owners or any(pid in self.tunnel_pids for _, pid in owners):
            return False
        known = bool(self.tunnel_pids)
        return all(not _forwards(name) or (known and pid is not None and name.lower().startswith("python")) for name, pid in owners)


def _owners(h: Compared, sockets: Iterable[Mapping[str, Any]]) -> list[set[tuple[str, int | None]]]:
    out: list[set[tuple[str, int | None]]] = [set() for _ in range(h.n)]
    samples = defaultdict(list)
    for ends, row in with_process(sockets, "host"):
        samples[ends].append((int(row.get("time_ns") or 0), str(row["process"]), row.get("pid")))
    if not samples:
        return out
    resp_ip, resp_port = h.connections["resp_ip"].tolist(), h.connections["resp_port"].tolist()
    for j in range(h.n):
        key = (endpoint(h.orig_ip[j], h.orig_port[j]), endpoint(resp_ip[j], resp_port[j]))
        # the time is taken before the sockets are listed
        out[j] = {(name, pid) for ns, name, pid in samples.get(key, ()) if h.start[j] - KNOWN_CLOCK_NS <= ns <= h.end[j]}
    return out


def with_process(samples: Iterable[Mapping[str, Any]], side: str) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Samples of one side's sockets that name a process, with their ends."""
    for sample in samples:
        if sample.get("side", "host") == side and sample.get("process"):
            yield (_plain(str(sample.get("local", ""))), _plain(str(sample.get("remote", "")))), sample


def _plain(end: str) -> str:
    """An IPv4 address that a socket of IPv6 uses stands without its prefix."""
    lower = end.lower()
    if lower.startswith("[::ffff:") and "." in lower:
        return lower[8:].replace("]", "")
    return lower


def _forwards(process: str) -> bool:
    return process.lower().startswith(FORWARDERS)
