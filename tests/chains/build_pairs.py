"""Makes the tables of two captures out of connections, as the parsers would: redirect halves at the VM, one session each at the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from netlens import tables
from netlens.schema import DTYPES, Schema, Table

T0 = 1_769_358_813_000_000_000
MS = 1_000_000
S = 1_000 * MS
VM_IP, HOST_IP, API = "192.168.64.2", "203.0.113.1", "203.0.113.10"


@dataclass
class Conn:
    """One connection of one capture; times in ns after T0. ``closed`` is how: "fin", "rst" (by the program) or "" (still open)."""

    start: int
    end: int
    up: int = 600
    down: int = 4000
    port: int = 0
    ip: str = ""
    server: tuple[str, int] = (API, 443)
    random: str | None = None
    sni: str | None = None
    isn: int | None = None
    answer: int | None = None
    redirected: bool = False
    path: str = "direct"
    began: bool = True  # its SYN is in the capture
    closed: str = "fin"
    done: int | None = None  # when the program closed it, if that was not at its end
    state: str = "SF"
    lost_up: int = 0
    lost_down: int = 0
    after_fin: int = 0
    frames: int = 0  # each way


@dataclass
class Made:
    """What ``pair`` needs of a capture."""

    made: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        return self.made[name] if name in self.made else tables.ALL[name].empty()

    @property
    def part(self) -> SimpleNamespace:
        """The time that the capture covers: that of its sessions."""
        s = self.made["sessions"]
        return SimpleNamespace(bounds_ns=(int(s["start_ns"].min()), int(s["end_ns"].max())) if s.rows else None)


class Exact:
    """A clock that is ``offset_ns`` ahead at the VM, known to ``uncertain_ns``."""

    def __init__(self, offset_ns: int = 0, uncertain_ns: int = 2_000) -> None:
        self.offset_ns, self.uncertain_ns = offset_ns, uncertain_ns

    def to_host(self, ns):
        return np.asarray(ns, np.int64) - self.offset_ns


def table(schema: Schema, rows: list[dict]) -> Table:
    columns = {}
    for c in schema:
        dtype = DTYPES[c.dtype]
        default = {"O": None, "i": 0, "f": 0.0, "b": False}[dtype.kind]
        columns[c.name] = np.empty(len(rows), dtype)
        columns[c.name][:] = [row.get(c.name, default) for row in rows]
    return Table(schema, columns)


def capture(conns: list[Conn], lookups: list[dict] | None = None, vm: bool = False) -> Made:
    """The tables; rows of ``connections`` are in the order given."""
    sessions, connections, hellos = [], [], []

    def session(c: Conn, **more) -> int:
        done = T0 + (c.end if c.done is None else c.done)
        fin = T0 + c.end if c.closed == "fin" else None
        row = {
            "session_id": len(sessions),
            "orig_ip": c.ip or (VM_IP if vm else HOST_IP),
            "orig_port": c.port,
            "resp_ip": c.server[0],
            "resp_port": c.server[1],
            "start_ns": T0 + c.start,
            "end_ns": T0 + c.end,
            "orig_bytes": c.up,
            "resp_bytes": c.down,
            "orig_isn": c.isn,
            "resp_isn": c.answer,
            "orig_frames": c.frames,
            "resp_frames": c.frames,
            "orig_missing_bytes": c.lost_up,
            "resp_missing_bytes": c.lost_down,
            "orig_fin_ns": done if c.closed == "fin" else None,
            "resp_fin_ns": fin,
            "rst_ns": done if c.closed == "rst" else None,
            "orig_first_payload_ns": T0 + c.start + MS if c.up else None,
            "orig_last_payload_ns": done - 5 * MS if c.up else None,
            # answers are at the host first
            "resp_first_payload_ns": T0 + c.start + (60 if vm else 20) * MS if c.down else None,
            "resp_last_payload_ns": T0 + c.end - (1 if vm else 3) * MS if c.down else None,
            "resp_bytes_after_fin": c.after_fin,
            "saw_syn": c.began,
        }
        sessions.append(row | more)
        return len(sessions) - 1

    for k, c in enumerate(conns):
        if c.redirected:
            sends = {"resp_bytes": 0, "resp_missing_bytes": c.down + c.lost_down + 1, "resp_fin_ns": None}
            receives = {"orig_bytes": 0, "orig_missing_bytes": c.up + c.lost_up + 1, "orig_fin_ns": None, "rst_ns": None}
            sends |= {"resp_ip": "127.0.0.1", "resp_port": 12300} | dict.fromkeys(("resp_first_payload_ns", "resp_last_payload_ns"))
            receives |= dict.fromkeys(("orig_first_payload_ns", "orig_last_payload_ns"))
            ids = [session(c, **sends), session(c, **receives)]
        elif c.path == "nat":
            ids = [session(c), session(c, orig_ip=HOST_IP)]
        else:
            ids = [session(c)]
        if c.random:
            hellos.append({"session_id": ids[0], "random": c.random, "ja4": "t13", "version": "TLS1.3", "alpn": [], "frame": 1})
        connections.append(
            {
                "connection_id": k,
                "path": "sshuttle" if c.redirected else c.path,
                **{name: sessions[ids[-1]][name] for name in ("orig_ip", "orig_port", "resp_ip", "resp_port", "start_ns", "end_ns")},
                "orig_ip": c.ip or (VM_IP if vm else HOST_IP),
                "sni": c.sni,
                "session_ids": ids,
                "state": c.state,
                "orig_bytes": c.up,
                "resp_bytes": c.down,
                "started_before_capture": not c.began,
                "open_at_end": not c.closed,
                "redirect_port": 12300 if c.redirected else None,
                "first_frame": 10 * k + 1,
                "last_frame": 10 * k + 9,
            }
        )
    return Made(
        {
            "sessions": table(tables.SESSIONS, sessions),
            "connections": table(tables.CONNECTIONS, connections),
            "hellos": table(tables.HELLOS, hellos),
            "lookups": table(tables.LOOKUPS, lookups or []),
            "exchanges": tables.EXCHANGES.empty(),
        }
    )


def forwarded(starts: list[int], delays: list[int] | int = MS, lasting: int = S, **same) -> tuple[list[Conn], list[Conn]]:
    """Connections of the VM and what the tunnel makes of them at the host, a delay later at the start and a little at the end."""
    delays = [delays] * len(starts) if isinstance(delays, int) else delays
    vm, host = [], []
    for k, (start, delay) in enumerate(zip(starts, delays, strict=True)):
        vm.append(Conn(start, start + lasting, port=40_000 + k % 20_000, redirected=True, **same))
        host.append(Conn(start + delay, start + lasting + MS // 2, port=30_000 + k % 30_000, **same))
    return vm, host


def watching(until: int = 60 * S, since: int = -5 * S) -> Conn:
    """A connection to elsewhere that spans the whole capture, so that it covers that time."""
    return Conn(since, until, server=("198.51.100.7", 22), port=22_222, isn=900_001, answer=900_002)
