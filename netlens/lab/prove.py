"""Fixes proven by doing them: a scenario is recorded, and then run again with each fix that the analysis offers, by the command that it shows.

What is done is what the command says: a program is started by it, a proxy by its configuration, sshuttle with its excludes, another sshuttle by pip. What
cannot be done here (another provider, another account or address, a wait of hours) is left out. Runs of real programs differ in length, so refusals are
compared as if both runs had as many prompts.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import statistics
import subprocess
import venv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.lab import journal, run
from netlens.lab.topology import HOST, VM, LabError

if TYPE_CHECKING:
    from netlens.lab.run import Options
    from netlens.lab.scenario import Scenario
    from netlens.lenses.refused.fixes import Prediction

FEW, SHARE = 2, 0.1  #: a prediction holds if it is off by no more refusals than this, or than this share of those recorded
NAME = "proof.json"


@dataclass(frozen=True)
class Seen:
    """What one run came to. ``prompts``: of all windows.  ``prompt_s``: median from a prompt to the end of its answer, of those not broken off."""

    requests: int
    refused: int
    prompts: int
    prompt_s: float | None


@dataclass(frozen=True)
class Proof:
    """One fix on one scenario. ``predicted``: refusals left; None where the analysis does not say.  ``command``: what was done."""

    scenario: str
    fix: str
    title: str
    predicted: int | None
    before: Seen
    after: Seen
    command: str

    @property
    def measured(self) -> float:
        """Refusals left, as if there had been as many prompts as before."""
        return self.after.refused * self.before.prompts / max(self.after.prompts, 1)

    @property
    def holds(self) -> bool | None:
        if self.predicted is None:
            return None
        works = self.after.requests > 0  # a fix with which nothing reaches the provider is none
        return works and abs(self.measured - self.predicted) <= max(FEW, SHARE * self.before.refused)


def prove(scenario: Scenario, folder: Path, options: Options, say: Callable[[str], None], only: Sequence[str] = ()) -> list[Proof]:
    """Run a scenario and each of its fixes (``only`` these, if any) below ``folder``; what is there already is not run again."""
    from netlens import analyze

    before = folder / scenario.name
    _once(scenario, before, options, say)
    fixes = analyze(before).fixes
    if not fixes:
        raise LabError(f"{before}: nothing was refused, so there is nothing to fix; record longer (--seconds, and remove that folder)")
    offered = [fix.id for fix in fixes]
    if unknown := [each for each in only if each not in offered]:
        raise LabError(f"{before}: its analysis does not offer {', '.join(unknown)}, but {', '.join(offered)}")
    proofs = []
    for fix in fixes:
        if only and fix.id not in only:
            continue
        changed = applied(scenario, options, fix, folder)
        if changed is None:
            say(f"{fix.id}: cannot be done here")
            continue
        after = folder / f"{scenario.name}+{fix.id}"
        say(f"{fix.id}: {fix.title}")
        _once(changed[0], after, changed[1], say)
        proof = Proof(scenario.name, fix.id, fix.title, fix.rejections_after, seen(before), seen(after), fix.to_paste)
        (after / NAME).write_text(json.dumps(asdict(proof), indent=1) + "\n", encoding="utf-8")
        proofs.append(proof)
    return proofs


def _once(scenario: Scenario, folder: Path, options: Options, say: Callable[[str], None]) -> None:
    if not (folder / "manifest.toml").exists():
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was ended has left
        run.run(scenario, folder, options, say)


def read(folders: Iterable[Path]) -> list[Proof]:
    """The proofs that lie below folders."""
    out = []
    paths = sorted(file for folder in folders for file in folder.rglob(NAME))
    if not paths:
        raise LabError("no proofs are there; make some with: sudo netlens lab prove SCENARIO... -o DIR")
    for path in paths:
        values = json.loads(path.read_text(encoding="utf-8"))
        out.append(Proof(**values | {when: Seen(**values[when]) for when in ("before", "after")}))
    return sorted(out, key=lambda proof: (proof.scenario, proof.fix))


def applied(scenario: Scenario, options: Options, fix: Prediction, folder: Path) -> tuple[Scenario, Options] | None:
    """The scenario with a fix done; None if it cannot be done here."""
    command = fix.command or ""
    starts = fix.program or command
    if fix.id == "quiet-host":
        return replace(scenario, programs=tuple(each for each in scenario.programs if each["side"] != HOST)), options
    if fix.id == "bypass" and command.startswith("sshuttle "):
        words = shlex.split(command)
        excludes = [after for word, after in pairwise(words) if word == "-x"]
        return replace(scenario, path={**scenario.path, "excludes": excludes}), options
    if fix.id == "close-tails" and (wanted := re.fullmatch(r"python3 -m pip install --upgrade '(sshuttle[^']*)'", command)):
        return replace(scenario, path={**scenario.path, "sshuttle": ""}), replace(options, sshuttle=_other_sshuttle(folder, wanted[1]))
    real = all(each.get("kind") == "opencode" for each in scenario.programs if each["side"] == VM)
    if not real or not starts.endswith(" opencode") or "PROVIDER" in starts:
        return None
    if fix.program is None:
        return _with_programs(scenario, {"command": starts}), options
    shared = {VM, HOST} <= {each["side"] for each in scenario.programs}
    local = _with_programs(scenario, {"command": starts})
    if shared:  # on the host itself the proxy is at hand
        programs = [
            {**each, "command": re.sub(r"http://[\d.]+:", "http://127.0.0.1:", starts)} if each["side"] == HOST else each
            for each in local.programs
        ]
        local = replace(local, programs=tuple(programs))
    return local, replace(options, services=((HOST if shared else VM, command),))


def _with_programs(scenario: Scenario, more: Mapping[str, Any]) -> Scenario:
    return replace(scenario, programs=tuple({**each, **more} for each in scenario.programs))


def _other_sshuttle(folder: Path, requirement: str) -> str:
    """The sshuttle that pip installs for a requirement, in an environment of its own."""
    home = folder / "sshuttle"
    binary = home / "bin" / "sshuttle"
    if not binary.exists():
        venv.create(home, with_pip=True)
        argv = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--upgrade", requirement]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"pip could not install {requirement}: {done.stderr.strip()[-200:]}")
    return str(binary)


def seen(folder: Path) -> Seen:
    """What the provider and the programs of a run wrote down."""
    requests = [each for each in journal.read(folder / "provider.jsonl") if each["event"] == "request"]
    prompts, lasted = 0, []
    for side in (VM, HOST):
        begun: dict[str, int] = {}
        for event in journal.read(folder / f"{side}-program.jsonl"):
            if event["event"] == "prompt":
                prompts += 1
                begun[event["window"]] = event["ns"]
            elif event["event"] == "abort":
                begun.pop(event["window"], None)
            elif event["event"] == "end" and event["window"] in begun:
                lasted.append((event["ns"] - begun.pop(event["window"])) / 1e9)
    return Seen(
        len(requests), sum(bool(each["refused"]) for each in requests), prompts, round(statistics.median(lasted), 1) if lasted else None
    )


def as_markdown(proofs: Sequence[Proof]) -> str:
    """The page: a table, and what was done for each."""
    held = [proof.holds for proof in proofs if proof.holds is not None]
    lines = [
        "# Fixes, proven",
        "",
        "Each fix was done in the laboratory with the scenario's programs (`opencode-...`: the real one), by the command that `netlens analyze`",
        "shows for a recording of the scenario: `sudo netlens lab prove SCENARIO... -o DIR`, and this page by `netlens lab proven DIR`.",
        "*Measured* is what the provider refused, as if both runs had had as many prompts. A prediction holds if it is off by at most",
        f"{FEW} refusals or {SHARE:.0%} of those recorded. *Answer* is the median time from a prompt to the end of its answer, before and after,",
        "refusals, retries and queues included.",
        "",
        f"{sum(held)} of {len(held)} predictions held.",
        "",
        "| scenario | fix | refused before | predicted | measured | answer | holds |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in proofs:
        answers = [each.prompt_s for each in (p.before, p.after)]
        times = "-" if answers == [None, None] else " → ".join("?" if each is None else f"{each:g} s" for each in answers)
        told = "not predicted" if p.predicted is None else str(p.predicted)
        verdict = {True: "yes", False: "**no**", None: "-"}[p.holds]
        before, after = (f"{each.refused} of {each.requests}" for each in (p.before, p.after))
        lines.append(f"| {p.scenario} | {p.fix} | {before} | {told} | {p.measured:.0f} ({after}) | {times} | {verdict} |")
    lines += ["", "## What was done", ""]
    for fix in dict.fromkeys(p.fix for p in proofs):
        one = next(p for p in proofs if p.fix == fix)
        lines += [f"**{fix}**: {one.title}", ""]
        lines += ["```text", one.command, "```", ""] if one.command else []
    return "\n".join(lines).rstrip("\n") + "\n"
