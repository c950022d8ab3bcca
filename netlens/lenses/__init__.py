"""Lenses: each asks one question of the traffic that was rebuilt and answers with findings. One file (or folder) a lens, found without a list."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from netlens.api import Capture
from netlens.arrays import give_back
from netlens.aside import Aside
from netlens.chains import budget
from netlens.chains.divided import Division, table
from netlens.chains.paths import chains
from netlens.chains.side import WORDS
from netlens.chains.traffic import Traffic
from netlens.errors import DEBUG, NetlensError, defect
from netlens.registry import members
from netlens.schema import Table

if TYPE_CHECKING:
    from netlens.lenses._view import View

#: What the docstring of a lens says: its question, when it has an answer, what it cannot see, and what is no fault, by which source.
SECTIONS = ("Asks", "Applies", "Cannot see", "Normal")

MANY = 1000  #: sessions from which on lenses take memory worth giving back, which costs some tenths of a millisecond

Severity = Literal["problem", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  #: the gravest first
#: What lenses look at, in the order of the reference.
Group = Literal["names", "handshakes", "answers", "delivery", "time", "leaks", "sameness", "sight"]
#: In which order they look: what takes most memory before lenses have left much behind, then what takes longest.
ORDER: tuple[Group, ...] = ("sameness", "time", "answers", "handshakes", "names", "delivery", "leaks", "sight")


@dataclass(frozen=True)
class Finding:
    """One thing that a lens found.

    id : what it is, one of a fixed set of words.  lens : whose finding.  text : one plain sentence with the numbers.
    severity : by consequence: something failed or somebody waited (problem), may come to that (warning), else worth knowing (note).
    frames : (side, frame number) that show it, the first few.  filter : for Wireshark, shows them.  values : the numbers, for programs.
    advice : what to do, if known.  connections : numbers of those that carry these frames (in the capture of the first), the worst first.
    every : all frames that show it.
    """

    id: str
    lens: str
    severity: Severity
    text: str
    frames: list[tuple[str, int]] = field(default_factory=list)
    filter: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    connections: list[int] = field(default_factory=list)
    every: list[tuple[str, int]] = field(default_factory=list, repr=False)

    @property
    def frames_in_all(self) -> int:
        """How many frames show it."""
        return max(len(self.every), len(self.frames))

    def to_dict(self, files: Mapping[str, str]) -> dict[str, Any]:
        """For JSON. ``files``: of each side."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "every"}
        return {
            **told,
            "frames": [{"file": files[side], "frame": frame} for side, frame in self.frames],
            "frames_in_all": self.frames_in_all,
        }


class Lens(Protocol):
    """What a member of this folder has.

    GROUP : what it looks at; its place in the reference of findings.
    RANK : among findings of one severity the lower comes first: what failed altogether (10 to 49) stands before what took long (50 to 69), that before
        its causes on the way (70 to 79) and what may come to harm (80 and more).
    """

    ID: str
    GROUP: Group
    RANK: int

    def look(self, view: View) -> list[Finding]:
        """What it finds in one capture; empty where there is nothing to say. It looks before it is found out which requests were refused."""
        ...


def all_lenses() -> tuple[Lens, ...]:
    return members(__name__, Lens, SECTIONS)


def look(traffic: Traffic) -> list[Finding]:
    """What all lenses find: problems first, then warnings, then notes; of each the gravest consequence first."""
    from netlens.lenses._view import views_anew
    from netlens.lenses.refused import of_target

    place = {lens.ID: (lens.RANK, number) for number, lens in enumerate(all_lenses())}
    answers = traffic.aside.taken_in_turns(traffic) if traffic.aside else [look(traffic) for look in _looks()]
    found = [*_of_both(of_target(traffic), traffic), *(each for answer in answers for each in answer)]
    traffic.forget(views_anew)  # with all that lenses worked out in them, which no report asks for
    return sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), place[finding.lens]))


def _looks() -> list[Callable[[Traffic], list[Finding]]]:
    """What the lenses of each group find: they share much of what they look at, so that one process asks all of them."""
    groups: dict[Group, list[Lens]] = {group: [] for group in ORDER}
    for lens in all_lenses():
        groups[lens.GROUP].append(lens)
    return [partial(_found_by_each, group) for group in groups.values()]


def _found_by_each(lenses: Sequence[Lens], traffic: Traffic) -> list[Finding]:
    return [finding for lens in lenses for finding in _found_by(lens, traffic)]


def _found_by(lens: Lens, traffic: Traffic) -> list[Finding]:
    from netlens.lenses._impossible import without_times
    from netlens.lenses._scanned import without_scanned
    from netlens.lenses._view import views

    told = ((view, without_scanned(view, _answer_of(lens, view))) for view in views(traffic))
    found = _of_both([each for view, these in told for each in without_times(view, these)], traffic)
    if traffic.upstream.sessions.rows > MANY:
        give_back()  # what it took, before the next one looks
    return found


def _answer_of(lens: Lens, view: View) -> list[Finding]:
    """What a lens finds. If it fails, what all others find is not lost, and it is said that this one is missing."""
    try:
        return lens.look(view)
    except (NetlensError, MemoryError, OSError):
        raise
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        told = f"Nothing can be said of {lens.ID} here, by a bug in netlens: {defect(type(error), error, error.__traceback__)}."
        report = f"Please report this line, the version and the command. {DEBUG}=1 prints the whole trace."
        return [Finding("unread-traffic", "unread-traffic", "warning", told, advice=report)]


def ahead(traffic: Traffic, *more: Callable[[Traffic], Any]) -> Aside:
    """Begin with what can be known before it is known which requests were refused; then ``more`` of it."""
    # budgets first: they take most memory while they are made, lenses leave most behind
    return Aside((_divided, chains, *more), traffic, traffic.once, in_turns=_looks())


def divided(traffic: Traffic) -> Division:
    """The time budget of every request, in order of beginning."""
    return traffic.once(_divided)


def budget_of(capture: Capture) -> Table:
    """The time budget of the exchanges of one capture, as its table."""
    from netlens.chains.inputs import Beside
    from netlens.chains.linking import link
    from netlens.chains.traffic import rebuild

    return table(divided(rebuild(link({None: capture}), Beside())))


def _divided(traffic: Traffic) -> Division:
    from netlens.lenses._view import views
    from netlens.lenses._waits import waits

    found = budget.budget(traffic, {view.side.name: view.once(waits) for view in views(traffic)})
    give_back()  # what it took to make them, before lenses look
    return found


def _of_both(found: list[Finding], traffic: Traffic) -> list[Finding]:
    """Of two captures, the sentence says which one shows it, or that both do; refusals are weighed over both."""
    if len(traffic.sides) < 2:
        return found
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda each: SEVERITIES.index(each.severity)):
        twin = next((k for k, before in enumerate(kept) if _is_same(before, finding, traffic)), None)
        if twin is None:
            kept.append(finding)
        else:
            one = kept[twin]
            text = _seen(one.text, "in both captures")
            kept[twin] = replace(one, text=text, frames=one.frames + finding.frames, every=one.every + finding.every)
    return [_with_side(finding) for finding in kept]


def _is_same(one: Finding, other: Finding, traffic: Traffic) -> bool:
    """Whether two captures show one thing: they say the same of it, or show it of the same connections."""
    sides = _sides(one), _sides(other)
    if one.id != other.id or any(len(names) != 1 for names in sides) or sides[0] == sides[1]:
        return False
    if one.text == other.text:
        return True
    pairs = traffic.pairing
    if pairs is None or not one.connections or not other.connections:
        return False
    mine, theirs = (_carrying(each, traffic) for each in (one, other))
    partner = pairs.host_of if sides[0] == {"vm"} else pairs.vm_of
    return set(partner[mine].tolist()) == set(theirs)


def _carrying(finding: Finding, traffic: Traffic) -> list[int]:
    """Connections that carry any of a finding's frames, which are of one capture."""
    from netlens.lenses._view import views

    view = next(view for view in views(traffic) if view.name in _sides(finding))
    return view.connections_of([frame for _, frame in finding.every])


def _sides(finding: Finding) -> set[str]:
    return {side for side, _ in finding.frames}


def _with_side(finding: Finding) -> Finding:
    sides = _sides(finding)
    if len(sides) != 1 or finding.id == "refused":
        return finding
    return replace(finding, text=_seen(finding.text, f"the {WORDS[sides.pop()]}'s capture"))


def _seen(text: str, where: str) -> str:
    return f"{text.removesuffix('.')} ({where})."
