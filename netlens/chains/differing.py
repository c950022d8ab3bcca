"""What differs between two recordings besides their requests: what was changed on purpose, and what makes a comparison doubtful.

What is known of the circumstances is what manifests say (the tunnel's command line, versions, the laboratory's settings), which programs had
connections to the API, and by which chains these went.

Limits: programs are told apart only where sockets were sampled. A file is known by its place on the disk or by its bytes: a copy with one more packet is
another recording.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from netlens.capture.recording import sha256
from netlens.chains.inputs import Inputs
from netlens.chains.paths import chains
from netlens.chains.traffic import Traffic
from netlens.errors import NetlensError
from netlens.text import duration, plural, printable

#: What the laboratory sets that is a change; the rest names or counts the run, or follows from these.
_LAB = {"exclude_api": "API excluded from the tunnel", "path": "way out", "http": "HTTP version", "counts": "provider counts"}
#: What a machine says of itself that can change what a provider counts.
_MACHINE = {"sshuttle": "sshuttle version", "nameservers": "name servers", "release": "system release"}


class Recorded(NamedTuple):
    """One recording: what it was read from, and what happened in it."""

    given: Inputs
    traffic: Traffic


def differences(before: Recorded, after: Recorded) -> list[str]:
    """What differs in the circumstances, one line each; empty if nothing that is known does."""
    out = []
    for name, old, new in _told(before, after):
        if old != new:
            out.append(f"{name}: {_shown(old)} before, {_shown(new)} after")
    if before.given.sshuttle and after.given.sshuttle:
        out += _options(before.given.sshuttle, after.given.sshuttle)
    elif before.given.sshuttle or after.given.sshuttle:
        out.append(f"sshuttle: {_ran(before)} before, {_ran(after)} after")
    ways = [chains(each.traffic) for each in (before, after)]
    if ways[0].keys() != ways[1].keys() and all(ways):
        out.append(f"connections to the API: {_counted(ways[0])} before; {_counted(ways[1])} after")
    return [printable(line) for line in out]


def cautions(before: Recorded, after: Recorded) -> list[str]:
    """What makes it doubtful that these are one situation before and after a change."""
    out = []
    goals = [each.traffic.goal for each in (before, after)]
    if apart := other_api(before, after):
        out.append(apart)
    elif goals[0].label != goals[1].label and any(goal.guessed for goal in goals):
        out.append(f"the API is {printable(goals[0].label)} before and {printable(goals[1].label)} after; --api NAME makes them the same")
    (begin, end), (next_begin, next_end) = (each.traffic.situation.capture_ns for each in (before, after))
    starts = [begin, next_begin]
    if all(starts) and max(starts) < min(end, next_end):
        both = duration((min(end, next_end) - max(starts)) / 1e9)
        out.append(f"both were recorded at the same time for {both}, so neither comes before the other")
    elif all(starts) and starts[1] < starts[0]:
        earlier = duration((starts[0] - starts[1]) / 1e9)
        out.append(f"the recording given as after began {earlier} earlier than the one given as before: are they the wrong way round?")
    return out


def other_api(before: Recorded, after: Recorded) -> str:
    """Why the two are about different APIs; empty if they may be about one."""
    a, b = (each.traffic.goal for each in (before, after))
    names, addresses = set(a.names) & set(b.names), set(a.addresses) & set(b.addresses)
    if names or addresses or not (a.names or a.addresses) or not (b.names or b.addresses):
        return ""
    shown = [f"{printable(goal.label)}{' (guessed)' if goal.guessed else ''}" for goal in (a, b)]
    return f"the recordings are about different APIs: {shown[0]} before, {shown[1]} after"


def same(a: Inputs, b: Inputs) -> bool:
    """Whether both are of the same captures: the same files, or files of the same bytes."""
    files = [sorted(path for paths in each.captures.values() for path in paths) for each in (a, b)]
    if len(files[0]) != len(files[1]) or any("-" in each for each in files):
        return False
    try:
        found = [[os.stat(path) for path in each] for each in files]
        if {(s.st_dev, s.st_ino) for s in found[0]} == {(s.st_dev, s.st_ino) for s in found[1]}:
            return True
        sizes = [sorted(s.st_size for s in each) for each in found]
        return sizes[0] == sizes[1] and sorted(map(sha256, files[0])) == sorted(map(sha256, files[1]))
    except (OSError, NetlensError):
        return False


def _ran(recorded: Recorded) -> str:
    return "ran" if recorded.given.sshuttle else "not recorded as running"


def _options(old: tuple[str, ...], new: tuple[str, ...]) -> list[str]:
    """Options of the tunnel that only one of the two has, each with its value."""
    a, b = Counter(_pairs(old)), Counter(_pairs(new))
    changed = [f"{' '.join(sorted(only.elements()))} only {when}" for only, when in ((a - b, "before"), (b - a, "after")) if only]
    return [f"sshuttle options: {'; '.join(changed)}"] if changed else []


def _pairs(words: tuple[str, ...]) -> Iterator[str]:
    """Words of a command line, an option with its value as one."""
    taken: str | None = None
    for word in words:
        if taken is not None and not word.startswith("-"):
            yield f"{taken} {word}"
            taken = None
            continue
        if taken is not None:
            yield taken
        taken = word if word.startswith("-") else None
        if taken is None:
            yield word
    if taken is not None:
        yield taken


def _told(before: Recorded, after: Recorded) -> Iterator[tuple[str, Any, Any]]:
    """(what, before, after) of all that both say."""
    manifests = [each.given.manifest for each in (before, after)]
    a, b = ({} if manifest is None else manifest.extra for manifest in manifests)
    yield from _both(a.get("lab"), b.get("lab"), _LAB, "")
    machines = a.get("machines"), b.get("machines")
    if isinstance(machines[0], dict) and isinstance(machines[1], dict):
        for side in sorted(machines[0].keys() & machines[1].keys()):
            yield from _both(machines[0][side], machines[1][side], _MACHINE, f" of the {'VM' if side == 'vm' else side}")
    programs = [_programs(each.traffic) for each in (before, after)]
    if all(programs):
        yield "programs with connections", programs[0], programs[1]


def _both(a: Any, b: Any, named: dict[str, str], whose: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key, name in named.items():
            if key in a and key in b:
                yield name + whose, a[key], b[key]


def _programs(traffic: Traffic) -> list[str]:
    return sorted({f"{name} ({side})" for side, rows in traffic.processes.items() for name in rows.values()})


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _counted(ways: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {way}" for way, count in sorted(ways.items())) or plural(0, "connection")
