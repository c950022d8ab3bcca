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

from netlens.capture.recording import read_manifest
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
    """One fix on one scenario. ``predicted``: refusals left; None where the analysis does not say.  ``at_best``: the same where the provider notices at once
    what is broken off.  ``place``: among the fixes that were offered, from 1.  ``command``: what was done."""

    scenario: str
    fix: str
    title: str
    predicted: int | None
    before: Seen
    after: Seen
    command: str
    at_best: int | None = None
    place: int = 1
    seed: int = 1

    @property
    def measured(self) -> int:
        """Refusals left, in whole ones, as if there had been as many prompts as before; of programs without prompts, as many requests that were accepted."""
        made = [each.prompts or each.requests - each.refused for each in (self.before, self.after)]
        return round(self.after.refused * made[0] / max(made[1], 1))

    @property
    def holds(self) -> bool | None:
        """Whether the number that was predicted is right."""
        return self._within(self.predicted, self.predicted)

    @property
    def in_range(self) -> bool | None:
        """Whether what was measured is in the range that was predicted."""
        return self._within(self.predicted if self.at_best is None else self.at_best, self.predicted)

    def _within(self, low: int | None, high: int | None) -> bool | None:
        if low is None or high is None:
            return None
        works = self.after.requests > 0  # a fix with which nothing reaches the provider is none
        return works and max(low - self.measured, self.measured - high) <= max(FEW, SHARE * self.before.refused)


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
    for place, fix in enumerate(fixes, 1):
        if only and fix.id not in only:
            continue
        changed = applied(scenario, replace(options, fix=fix.id), fix, folder)
        if changed is None:
            say(f"{fix.id}: cannot be done here")
            continue
        after = folder / f"{scenario.name}+{fix.id}"
        say(f"{fix.id}: {fix.title}")
        _once(changed[0], after, changed[1], say)
        best, seed = fix.rejections_at_best, int(read_manifest(before).extra["lab"]["seed"])
        proof = Proof(scenario.name, fix.id, fix.title, fix.rejections_after, seen(before), seen(after), fix.to_paste, best, place, seed)
        (after / NAME).write_text(json.dumps(asdict(proof), indent=1) + "\n", encoding="utf-8")
        proofs.append(proof)
    return proofs


def _once(scenario: Scenario, folder: Path, options: Options, say: Callable[[str], None]) -> None:
    if not (folder / "manifest.toml").exists():
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was ended has left
        run.run(scenario, folder, options, say)
    for side in (VM, HOST):
        for event in journal.read(folder / f"{side}-program.jsonl"):
            if event["event"] == "problem":
                raise LabError(f"{folder}: the program had trouble, so it proves nothing; remove it and run again: {event['text'][:200]}")


def read(folders: Iterable[Path]) -> list[Proof]:
    """The proofs that lie below folders."""
    out = []
    paths = sorted(file for folder in folders for file in folder.rglob(NAME))
    if not paths:
        raise LabError("no proofs are there; make some with: sudo netlens lab prove SCENARIO... -o DIR")
    for path in paths:
        values = json.loads(path.read_text(encoding="utf-8"))
        out.append(Proof(**values | {when: Seen(**values[when]) for when in ("before", "after")}))
    return sorted(out, key=lambda proof: (proof.scenario, proof.seed, proof.fix))


def best_is_right(proofs: Sequence[Proof]) -> list[bool]:
    """Per scenario and seed with several fixes: whether none left fewer refusals, by more than :data:`FEW`, than the one that is named first."""
    runs: dict[tuple[str, int], list[Proof]] = {}
    for proof in proofs:
        if proof.predicted is not None:
            runs.setdefault((proof.scenario, proof.seed), []).append(proof)
    several = [sorted(each, key=lambda proof: proof.place) for each in runs.values() if len(each) > 1]
    return [first.after.requests > 0 and first.measured <= min(each.measured for each in others) + FEW for first, *others in several]


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
    inside = sum(proof.in_range or False for proof in proofs)
    best = best_is_right(proofs)
    lines = [
        "# Fixes, proven",
        "",
        "Each fix was done in the laboratory with the scenario's programs (`opencode-...`: the real one), by the command that `netlens analyze`",
        "shows for a recording of the scenario: `sudo netlens lab prove SCENARIO... -o DIR`, and this page by `netlens lab proven DIR`.",
        "*Measured* is what the provider refused, as if both runs had had as many prompts (of the stand-in program: as many requests that were",
        "accepted), in whole refusals. Where a range is predicted, its upper end is with a provider that notices a broken-off answer by its",
        f"writes, as the laboratory's does, and that number is judged. It holds if it is off by at most {FEW} refusals or {SHARE:.0%} of those",
        "recorded. *Answer* is the median time",
        "from a prompt to the end of its answer, before and after, refusals, retries and queues included.",
        "",
        f"{sum(held)} of {len(held)} predictions held; {inside} of {len(held)} were in their range, by the same measure.",
        f"The fix that is named first left the fewest refusals, to within {FEW}, in {sum(best)} of {len(best)} runs in which several were done.",
        "",
        "| scenario | seed | fix | refused before | predicted | measured | answer | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for p in proofs:
        answers = [each.prompt_s for each in (p.before, p.after)]
        times = "-" if answers == [None, None] else " → ".join("?" if each is None else f"{each:g} s" for each in answers)
        told = "not predicted" if p.predicted is None else str(p.predicted)
        if p.at_best not in (None, p.predicted):
            told = f"{p.at_best} to {told}"
        verdict = {True: "yes", False: "**no**", None: "-"}[p.holds]
        if p.holds is False and p.in_range:
            verdict += ", in range"
        before, after = (f"{each.refused} of {each.requests}" for each in (p.before, p.after))
        lines.append(f"| {p.scenario} | {p.seed} | {p.fix} | {before} | {told} | {p.measured} ({after}) | {times} | {verdict} |")
    lines += ["", "## What was done", ""]
    for fix in dict.fromkeys(p.fix for p in proofs):
        one = next(p for p in proofs if p.fix == fix)
        lines += [f"**{fix}**: {one.title}", ""]
        lines += ["```text", one.command, "```", ""] if one.command else []
    return "\n".join(lines).rstrip("\n") + "\n"
