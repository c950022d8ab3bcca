"""One run of a scenario: builds the namespaces, starts the parts in order, records both sides, and leaves a recording.

The recording is a folder: ``vm.pcap.gz`` and ``host.pcap.gz``, the error logs of both sides, ``manifest.toml``, and the truth:
``provider.jsonl`` (what the server saw) and ``vm-program.jsonl``, ``host-program.jsonl`` (what the programs did).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.capture.recorder import SideRecorder
from netlens.capture.recording import SideResult, use_directory, write_manifest
from netlens.lab import certificate, clock, manifest, tunnel
from netlens.lab import fan_out as fan_out_module
from netlens.lab.opencode_log import Skew
from netlens.lab.topology import (
    HOST,
    NAMESERVER_IP,
    OTHER_SITE_IP,
    PROVIDER,
    PROVIDER_IP,
    VM,
    LabError,
    Topology,
    need,
)
from netlens.outputs import create, give_to_caller

if TYPE_CHECKING:
    from netlens.lab.scenario import Scenario

API_NAME = "api.z.ai"
# The second name is an alias, as names behind a content network are.
NAMES = {
    API_NAME: PROVIDER_IP,
    "open.bigmodel.cn": "open.bigmodel.cn.edge.example",
    "open.bigmodel.cn.edge.example": PROVIDER_IP,
    "registry.npmjs.org": OTHER_SITE_IP,
}
DRAIN_S = 20.0  #: how long connections may outlive the programs (zombies) before the recording ends without them
RECORDED_SIDES = (VM, HOST)


@dataclass(frozen=True)
class Options:
    """What the command line may change about a scenario."""

    seconds: float | None = None
    seed: int | None = None
    sshuttle: str | None = None
    compress: bool = True


def run(scenario: Scenario, folder: Path, options: Options | None = None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Run a scenario into a folder that must not exist yet or be empty. LabError if a part does not work."""
    options = options or Options()
    tunnelled = scenario.path["kind"] == "sshuttle"
    need(["ip", "nft", "tcpdump", "sysctl", *(["sshd", "ssh", "ssh-keygen"] if tunnelled else [])])
    if folder.exists() and any(folder.iterdir()):
        raise LabError(f"{folder} is not empty; name another with -o, or remove it")
    use_directory(folder)
    seconds = options.seconds or float(scenario.run["seconds"])
    seed = scenario.run["seed"] if options.seed is None else options.seed
    with _ended_by_signals(), Topology() as topology:
        lab = _Lab(scenario, topology, folder, seconds, seed, options, say)
        lab.run()
    return folder


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: through every ``with``."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lab:
    def __init__(
        self,
        scenario: Scenario,
        topology: Topology,
        folder: Path,
        seconds: float,
        seed: int,
        options: Options,
        say: Callable[[str], None],
    ) -> None:
        self.scenario, self.topology, self.folder = scenario, topology, folder
        self.seconds, self.seed, self.options, self.say = seconds, seed, options, say
        self.skew = Skew(scenario.clock["offset_s"], scenario.clock["drift_ppm"], time.time_ns())
        self.certificate, self.key = certificate.write(topology.folder, [*NAMES])
        self.details: dict[str, Any] = {}

    def run(self) -> None:
        tunnelled = self.scenario.path["kind"] == "sshuttle"
        provider = self._start_provider()
        if tunnelled:
            tunnel.start_sshd(self.topology)
        older_s = float(self.scenario.path["older_s"])
        recorders: list[SideRecorder] = []
        if not older_s:
            recorders = self._record()
        if tunnelled:
            self._start_tunnel()
        programs = self._start_programs()
        self.say(f"{self.scenario.name}: {self.seconds:g} s, seed {self.seed}")
        if older_s:
            # The programs are at work for a while before anybody looks.
            time.sleep(older_s)
            recorders = self._record()
        for child in programs:
            if child.wait() != 0:
                raise LabError(f"the lab's program failed; see {self.folder}")
        assert provider.stdin
        assert provider.stdout
        provider.stdin.write(f"drain {DRAIN_S}\n")
        provider.stdin.flush()
        self.details["drained"] = provider.stdout.readline().strip() == "idle"
        results = [recorder.stop() for recorder in recorders]
        provider.stdin.close()
        provider.wait()
        results = [self._finished(result) for result in results]
        extra = manifest.extra(self.scenario, [API_NAME], self.seconds, self.seed, self.skew, self.details)
        write_manifest(self.folder, results, extra)
        for path in (self.folder, *self.folder.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            give_to_caller(path)

    def _finished(self, result: SideResult) -> SideResult:
        """Give the VM its clock, and pack the capture."""
        if not result.complete:
            raise LabError(f"the recording of the {result.side} failed: {result.reason}")
        if result.packets_dropped:
            raise LabError(f"the kernel dropped {result.packets_dropped} packets of the {result.side}; try again on a less busy machine")
        if result.side == VM and self.skew:
            clock.shift(result.path, self.skew)
            shown = (self.skew.shown(result.started_ns), self.skew.shown(result.stopped_ns))
            result = replace(result, started_ns=shown[0], stopped_ns=shown[1])
        if self.options.compress:
            path = _compress(result.path)
            result = replace(result, path=path, paths=[path], bytes=path.stat().st_size)
        return result

    def _python(self, side: str, module: str, config: Mapping[str, Any], name: str) -> subprocess.Popen[str]:
        path = self.topology.folder / f"{name}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        child = self.topology.start(
            side, [sys.executable, "-m", f"netlens.lab.{module}", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout
        if child.stdout.readline() != "ready\n":
            raise LabError(f"the lab's {name} did not start")
        return child

    def _start_provider(self) -> subprocess.Popen[str]:
        config = {
            "provider": {**self.scenario.provider, "seed": self.seed, "names": NAMES},
            "journal": str(self.folder / "provider.jsonl"),
            "certificate": str(self.certificate),
            "key": str(self.key),
            "ip": PROVIDER_IP,
            "other_ip": OTHER_SITE_IP,
            "nameserver_ip": NAMESERVER_IP,
        }
        return self._python(PROVIDER, "provider", config, "provider")

    def _start_tunnel(self) -> None:
        path = self.options.sshuttle or tunnel.sshuttle_program()
        excludes = [f"{PROVIDER_IP}/32"] if self.scenario.path["exclude_api"] else []
        version = self.details["sshuttle"] = tunnel.sshuttle_version(path)
        if not version.startswith(wanted := str(self.scenario.path["sshuttle"])):
            raise LabError(
                f"{self.scenario.name} shows what sshuttle {wanted}x does, and {path} is {version}; name another with --sshuttle, or: "
                f"pip install 'sshuttle=={wanted}*'"
            )
        fan_out = self.scenario.path["fan_out"]
        python = fan_out_module.write_python(self.topology.folder, self.seed, fan_out) if fan_out else None
        argv = tunnel.start_sshuttle(self.topology, path, excludes, python)
        # Not those that name files of this run: ssh's keys, and the Python that fans out (the scenario says that it does).
        own = str(self.topology.folder)
        self.details["sshuttle_options"] = [each for each in argv[1:] if own not in each and each not in ("-e", "--python")]

    def _record(self) -> list[SideRecorder]:
        recorders = [SideRecorder(side=side, directory=self.folder, prefix=self.topology.prefix(side)) for side in RECORDED_SIDES]
        for recorder in recorders:
            recorder.start()
        return recorders

    def _start_programs(self) -> list[subprocess.Popen[str]]:
        children = []
        for side in RECORDED_SIDES:
            config = {
                "side": side,
                "seed": self.seed,
                "seconds": self.seconds,
                "programs": [each for each in self.scenario.programs if each["side"] == side],
                "journal": str(self.folder / f"{side}-program.jsonl"),
                "log": str(self.folder / f"{side}-errors.log"),
                "log_format": self.scenario.logs[side],
                "skew": asdict(self.skew if side == VM else Skew()),
                "dns_over_tcp": PROVIDER_IP,
                "certificate": str(self.certificate),
                "http": self.scenario.provider["http"],
                "keylog": str(self.folder / f"{side}-keylog.txt"),
            }
            children.append(self._python(side, "program", config, f"{side}-program"))
        for child in children:  # both are loaded and wait: they start together
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        return children


def _compress(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    # No name and no time inside: the same capture gives the same file.
    with path.open("rb") as source, create(target) as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        shutil.copyfileobj(source, packed)
    path.unlink()
    return target
