"""What a part of the laboratory (a program, a relay, the provider) needs to know when it is started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.lab.clock import Skew
from netlens.lab.topology import HOST, HOST_INSIDE_IP, HOST_IP, OTHER_VM, PROVIDER_IPS, VM, VM_IP, LabError, Topology

if TYPE_CHECKING:
    from netlens.lab.scenario import Scenario


@dataclass
class Context:
    """One run of a scenario.

    folder : of the recording; what belongs to the run alone goes into ``topology.folder``.
    skew : the clock of the VM.
    certificate : trusted by the programs.
    sshuttle : the one to use, if not the installed one.
    details : what a part wants to have in the manifest.
    api_ips : where the provider is asked.
    runs_in : the namespace in which a side's programs run, if not the side's own.
    addresses : of each side, as the manifest has them.
    """

    scenario: Scenario
    topology: Topology
    folder: Path
    seconds: float
    seed: int
    skew: Skew
    certificate: Path
    sshuttle: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    api_ips: Sequence[str] = PROVIDER_IPS[:1]
    runs_in: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=lambda: {VM: [VM_IP], HOST: [HOST_IP, HOST_INSIDE_IP]})

    def told(self, side: str, programs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the process of programs of any kind is told, as JSON."""
        return {
            "side": side,
            "seed": self.seed,
            "seconds": self.seconds,
            "programs": programs,
            "journal": str(self.folder / f"{side}-program.jsonl"),
            # Nobody records another VM, nor has its log.
            "log": str((self.topology.folder if side == OTHER_VM else self.folder) / f"{side}-errors.log"),
            "skew": asdict(self.skew if side == VM else Skew()),
            "certificate": str(self.certificate),
        }

    def python(self, side: str, module: str, config: Mapping[str, Any], name: str) -> subprocess.Popen[str]:
        """Start a module of the laboratory in the namespace of a side, and wait until it says that it is ready."""
        path = self.topology.folder / f"{name}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        argv = [sys.executable, "-m", f"netlens.lab.{module}", str(path)]
        child = self.topology.start(self.runs_in.get(side, side), argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        assert child.stdout
        if child.stdout.readline() != "ready\n":
            raise LabError(f"the lab's {name} did not start")
        return child
