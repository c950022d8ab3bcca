"""One run of a scenario: builds the namespaces, starts the parts in order, records both sides, and leaves a recording.

The recording is a folder: ``vm.pcap.gz`` and ``host.pcap.gz``, the error logs of both sides, ``manifest.toml``, and the truth:
``provider.jsonl`` (what the server saw) and ``vm-program.jsonl``, ``host-program.jsonl`` (what the programs did).
"""

from __future__ import annotations

import gzip
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.capture.command import SNAPLEN
from netlens.capture.recorder import SideRecorder
from netlens.capture.recording import SideResult, use_directory, write_manifest
from netlens.lab import clock, programs, real_logs, relays, services
from netlens.lab.clock import Skew
from netlens.lab.provider import certificate, limiters
from netlens.lab.topology import HOST, NAMESERVER_IP, OTHER_SITE_IP, OTHER_VM, PROVIDER, PROVIDER_IPS, VM, Context, LabError, Topology, need
from netlens.outputs import create, give_to_caller

if TYPE_CHECKING:
    from netlens.lab.scenario import Scenario

API_NAME = "api.z.ai"
# The second name is an alias, as names behind a content network are.
ALIAS, EDGE = "open.bigmodel.cn", "open.bigmodel.cn.edge.example"
OTHER_SITES = ("registry.npmjs.org", "models.opencode.ai", "api.github.com")  #: what programs ask besides; no limit counts it
DRAIN_S = 20.0  #: how long connections may outlive the programs (zombies) before the recording ends without them
RECORDED_SIDES = (VM, HOST)


@dataclass(frozen=True)
class Options:
    """What the command line, or a fix that is tried, may change about a scenario.

    snaplen : bytes kept of each packet.  services : commands that run on a side while the programs do.  fix : id of the fix that is tried.
    """

    seconds: float | None = None
    seed: int | None = None
    sshuttle: str | None = None
    snaplen: int = SNAPLEN
    services: tuple[tuple[str, str], ...] = ()
    fix: str = ""


def run(scenario: Scenario, folder: Path, options: Options | None = None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Run a scenario into a folder that must not exist yet or be empty. LabError if a part does not work."""
    options = options or Options()
    relay = relays.kinds()[scenario.path["kind"]]
    need(["ip", "nft", "tcpdump", "sysctl", *relay.NEEDS])
    if folder.exists() and any(folder.iterdir()):
        raise LabError(f"{folder} is not empty; name another with -o, or remove it")
    use_directory(folder)
    seconds = options.seconds or float(scenario.run["seconds"])
    seed = scenario.run["seed"] if options.seed is None else options.seed
    with Topology() as topology:
        skew = Skew(scenario.clock["offset_s"], scenario.clock["drift_ppm"], time.time_ns())
        pem, key = certificate.write(topology.folder, [API_NAME, ALIAS, EDGE, *OTHER_SITES])
        context = Context(scenario, topology, folder, seconds, seed, skew, pem, options.sshuttle)
        context.api_ips = PROVIDER_IPS[: scenario.provider["addresses"]]
        recorders = [
            SideRecorder(side=side, directory=folder, prefix=topology.prefix(side), snaplen=options.snaplen) for side in RECORDED_SIDES
        ]
        older_s = float(scenario.path["older_s"])
        if not older_s:
            _start_all(recorders)
        getattr(relay, "prepare", lambda _context: None)(context)
        provider = _start_provider(context, key)
        relay.start(context)
        for side, command in options.services:
            services.start(context, side, command)
        children = _start_programs(context)
        logs = real_logs.follow(context)
        say(f"{scenario.name}: {seconds:g} s, seed {seed}")
        if older_s:
            time.sleep(older_s)  # the programs are at work for a while before anybody looks
            _start_all(recorders)
        for child in children:
            if child.wait() != 0:
                raise LabError(f"the lab's program failed; see {folder}")
        results = _stop(context, provider, recorders)
        logs.close()
        results = [_finished(context, result) for result in results]
        write_manifest(folder, results, _extra(context, options))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            give_to_caller(path)
    return folder


def _start_provider(context: Context, key: Path) -> subprocess.Popen[str]:
    names = {API_NAME: context.api_ips, ALIAS: EDGE, EDGE: context.api_ips, **dict.fromkeys(OTHER_SITES, OTHER_SITE_IP)}
    config = {
        "provider": {**context.scenario.provider, "seed": context.seed, "names": names},
        "journal": str(context.folder / "provider.jsonl"),
        "certificate": str(context.certificate),
        "key": str(key),
        "ips": context.api_ips,
        "other_ip": OTHER_SITE_IP,
        "nameserver_ip": NAMESERVER_IP,
    }
    return context.python(PROVIDER, "provider", config, "provider")


def _start_all(recorders: Sequence[SideRecorder]) -> None:
    for recorder in recorders:
        recorder.start()


def _start_programs(context: Context) -> list[subprocess.Popen[str]]:
    """The programs of both sides. The default kind runs where no other does, also with nothing to do: each side has its journal and its log."""
    children = []
    for side in (*RECORDED_SIDES, OTHER_VM):
        here = [each for each in context.scenario.programs if each["side"] == side]
        for name, kind in programs.kinds().items():
            tables = [each for each in here if programs.kind_of(each) == name]
            if tables or (name == programs.DEFAULT and not here and side in RECORDED_SIDES):
                children.append(kind.start(context, side, tables))
    for child in children:  # all are loaded and wait: they start together
        _tell(child, "go")
    return children


def _stop(context: Context, provider: subprocess.Popen[str], recorders: Sequence[SideRecorder]) -> list[SideResult]:
    """Let the connections end that outlive the programs, then the recorders, then the provider."""
    assert provider.stdin
    assert provider.stdout
    _tell(provider, f"drain {DRAIN_S}")
    context.details["drained"] = provider.stdout.readline().strip() == "idle"
    results = [recorder.stop() for recorder in recorders]
    provider.stdin.close()
    provider.wait()
    return results


def _tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin
    child.stdin.write(line + "\n")
    child.stdin.flush()


def _finished(context: Context, result: SideResult) -> SideResult:
    """Give the VM its clock, and pack the capture."""
    if not result.complete:
        raise LabError(f"the recording of the {result.side} failed: {result.reason}")
    if result.packets_dropped:
        raise LabError(f"the kernel dropped {result.packets_dropped} packets of the {result.side}; try again on a less busy machine")
    if result.side == VM and context.skew:
        clock.shift(result.path, context.skew)
        shown = (context.skew.shown(result.started_ns), context.skew.shown(result.stopped_ns))
        result = replace(result, started_ns=shown[0], stopped_ns=shown[1])
    path = _compress(result.path)
    return replace(result, path=path, paths=[path], bytes=path.stat().st_size)


def _extra(context: Context, options: Options) -> dict[str, Any]:
    """What the manifest says beyond the captures: where they come from, what is expected of them, which clock the VM was given."""
    scenario, seconds, seed, skew = context.scenario, context.seconds, context.seed, context.skew
    return {
        "command": f"sudo netlens lab {'prove' if options.fix else 'run'} {scenario.name} --seconds {seconds:g} --seed {seed}"
        + (f" --fix {options.fix}" if options.fix else "")
        + (f" --snaplen {options.snaplen}" if options.snaplen != SNAPLEN else ""),
        "made_at": datetime.now(UTC).replace(microsecond=0),
        "kernel": platform.release().partition("-")[0],
        "api": {"names": [API_NAME], "addresses": list(context.api_ips), "port": 443},
        "addresses": context.addresses,
        "lab": {
            "scenario": scenario.name,
            "title": scenario.title,
            "seconds": float(seconds),
            "seed": seed,
            "path": scenario.path["kind"],
            "exclude_api": scenario.path["exclude_api"] or any(each.startswith(API_NAME) for each in scenario.path["excludes"]),
            **({"fix": options.fix} if options.fix else {}),
            "http": scenario.provider["http"],
            "counts": scenario.concurrency["counts"] if scenario.concurrency else "nothing",
            "programs": sorted({programs.kind_of(each) for each in scenario.programs}),
            "limits": {name: settings for name in limiters.kinds() if (settings := scenario.provider[name]) is not None},
            "unlogged": sorted({each["side"] for each in scenario.programs if _silent(each)}),
            "provider": {name: value for name, value in scenario.provider.items() if value is not None},
            **context.details,
            "clock": {"offset_s": float(skew.offset_s), "drift_ppm": float(skew.drift_ppm), "at_ns": skew.at_ns},
            "expect": asdict(scenario.expect) | {"causes": list(scenario.expect.causes)},
        },
    }


def _silent(program: Mapping[str, Any]) -> bool:
    """Whether a program writes down less than each refusal."""
    return programs.kinds()[programs.kind_of(program)].SILENT or not program.get("logs", True)


def _compress(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    # No name and no time inside: the same capture gives the same file.
    with path.open("rb") as source, create(target) as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        shutil.copyfileobj(source, packed)
    path.unlink()
    return target
