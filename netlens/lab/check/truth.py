"""What the provider and the programs of a lab recording wrote down, joined."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netlens.capture.recording import Manifest, SideResult, read_manifest
from netlens.errors import NetlensError
from netlens.lab import journal, relays
from netlens.lab.clock import Skew
from netlens.lab.programs import opencode
from netlens.lab.topology import HOST, OTHER_VM, VM
from netlens.text import printable

Event = Mapping[str, Any]
Span = tuple[int, int]  #: not before, not after
SIDES = (VM, HOST, OTHER_VM)


def bundled(folder: Path) -> list[Path]:
    """The lab recordings under a folder."""
    found = [path.parent for path in sorted(folder.glob("*/manifest.toml")) if (path.parent / "provider.jsonl").is_file()]
    if not found:
        raise NetlensError(f"{folder}: no lab recording is here; make one with: sudo netlens lab run SCENARIO")
    return found


def side_of(request: Event) -> str:
    return str(request["name"]).partition("-")[0]


class Truth:
    """The logs of a recording, joined."""

    def __init__(self, recording: Path) -> None:
        self.recording = recording
        self.manifest: Manifest = read_manifest(recording)
        lab = self.manifest.extra.get("lab")
        if not isinstance(lab, dict):
            raise NetlensError(f"{recording}: not a recording of the laboratory")
        self.lab: dict[str, Any] = lab
        self.scenario = str(lab["scenario"])
        self.expect: dict[str, Any] = lab["expect"]
        self.fix = str(lab.get("fix", ""))  #: that was done; what is expected of the scenario is without it
        self.tunnelled = relays.kinds()[str(lab["path"])].OWN_CONNECTIONS and not lab["exclude_api"]
        self.http2 = lab["http"] == "2"
        self.api_ips = {str(ip) for ip in self.manifest.extra["api"]["addresses"]}
        self.real = opencode.ID in lab.get("programs", ())
        clock = lab["clock"]
        self.skew = Skew(clock["offset_s"], clock["drift_ppm"], clock["at_ns"])
        self.provider = list(journal.read(recording / "provider.jsonl"))
        self.programs = {side: self._journal(side) for side in SIDES}
        self.accepts = {e["connection"]: e for e in self.provider if e["event"] == "accept"}
        self.ended_by_program: set[int] = set()  # by a reset, out of the blue; else the provider's own FIN or write has a part in it
        self.ends = self._ends()
        self.requests = [e | {"port": self.accepts[e["connection"]]["port"]} for e in self.provider if e["event"] == "request"]
        self.done = {e["request"]: e for e in self.provider if e["event"] == "done"}
        # The programs' side of everything, by their own names.
        every = [event for each in self.programs.values() for event in each]
        self.sent = {e["request"]: e for e in every if e["event"] == "request"}
        self.received = {e["request"]: e for e in every if e["event"] == "done"}
        self.served = {e["name"]: e for e in self.requests}
        self.opened = {e["connection"]: e for e in every if e["event"] == "connect"}
        self.closed = {e["connection"]: e for e in every if e["event"] == "close"}
        #: the provider's number of a connection -> the program's name of it, where no tunnel is between them
        self.direct = {r["connection"]: self.sent[r["name"]]["connection"] for r in self.requests if r["name"] in self.sent}
        if self.tunnelled:
            self.direct = {number: name for number, name in self.direct.items() if not name.startswith("vm-")}

    def _journal(self, side: str) -> list[dict[str, Any]]:
        """What the programs of a side wrote down; a second VM is in few recordings."""
        path = self.recording / f"{side}-program.jsonl"
        return list(journal.read(path)) if side != OTHER_VM or path.exists() else []

    def _ends(self) -> dict[int, int]:
        """When each connection was over: the first reset, or the later FIN."""
        seen: dict[int, dict[str, int]] = defaultdict(dict)
        for event in self.provider:
            if event["event"] in ("fin_in", "fin_out", "reset"):
                seen[event["connection"]].setdefault(event["event"], event["ns"])
        ends = {}
        for number, times in seen.items():
            fins = max(times["fin_in"], times["fin_out"]) if "fin_in" in times and "fin_out" in times else None
            candidates = [ns for ns in (times.get("reset"), fins) if ns is not None]
            if candidates:
                ends[number] = min(candidates)
                if all(ns >= ends[number] for ns in times.values()):
                    self.ended_by_program.add(number)
        return ends

    def of(self, side: str, event: str) -> list[Event]:
        return [e for e in self.programs[side] if e["event"] == event]

    def shown(self, side: str, ns: int) -> int:
        """A true time as the clock of a side showed it."""
        return self.skew.shown(ns) if side == "vm" else ns

    def recorded(self, side: str) -> tuple[int, int]:
        """When the recording of a side began and ended, by its own clock."""
        result = self.result(side)
        return result.started_ns, result.stopped_ns

    def result(self, side: str) -> SideResult:
        """The capture of a side; NetlensError if there is none."""
        if (result := self.manifest.side(side)) is None:
            raise NetlensError(f"{printable(str(self.recording))}: the {side} was not recorded")
        return result
