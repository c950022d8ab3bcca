"""Which requests were refused: one source of labels a file, found without a list; the first that says anything of a request is believed.

A key log says most, then the error log of the side whose program it is, then what a relay said in the clear, then the traffic alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from netlens import logs
from netlens.chains.parties import of_requests
from netlens.chains.requests import STREAM, UPSTREAM, VM_ROW
from netlens.chains.side import WORDS
from netlens.chains.situation import ACCEPTED, ELSEWISE, HOST, REJECTED, SIDES, UNLABELLED, Requests
from netlens.chains.target import KNOWN_APIS, matching
from netlens.chains.traffic import Traffic, without_answers
from netlens.columns import Bools, Codes, Ints, Objects
from netlens.lenses.refused.counting import OVERTAKEN_NS, models
from netlens.lenses.refused.labels._labels import Answers, Labels, alike, much_sooner
from netlens.registry import members
from netlens.text import plural, printable

#: Values of the column ``source``: who says so.
ERROR_LOG, KEY_LOG, STATUS, LOOK_ALIKE, INFERRED = "error log", "key log", "status", "look-alike", "inferred"

OUT_OF_ORDER = 3  #: times that a clock is set back in one recording from which on its file may be in disorder
UNHEARD, NEARLY_ALL = 3, 0.9  #: fewer may be chance; the rest is what a log loses
TAUGHT_BY_FEW = ((3, 10), (2, 15))  #: or so few, where as many accepted answers are known not to look so
SURE = 0.95  #: that an answer is a request's own, or another one of which the same is known
#: refusals of a log that teach what they look like; share of these, as many accepted answers as which may look so
TAUGHT, MISTAKEN = 5, 0.05


@dataclass(eq=False)
class Told:
    """What a source says: per request its label, who says so, and the refusal's class, as in :class:`netlens.chains.situation.Requests`.

    notes : what a person should know.  unmatched : refusals that match no request, as in the JSON; unmatched_within : how many of the capture's time.
    unclear : answers that a line of a log may mean, and that stay unknown for it.
    """

    rejected: Codes
    source: Objects
    refusal_class: Objects
    notes: list[str] = field(default_factory=list)
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    unmatched_within: int = 0
    unclear: int = 0

    @classmethod
    def nothing(cls, n: int, notes: list[str] | None = None) -> Told:
        return cls(np.full(n, UNLABELLED, np.int8), np.full(n, "", object), np.full(n, "", object), notes or [])

    @classmethod
    def of(cls, labels: Labels, rows: Ints) -> Told:
        """Labels of exchanges as labels of requests; ``rows``: per request its exchange, -1 for one that is none."""
        told, known = cls.nothing(len(rows)), rows >= 0
        for name in ("rejected", "source", "refusal_class"):
            getattr(told, name)[known] = getattr(labels, name)[rows[known]]
        return told

    def add(self, other: Told) -> None:
        """What another source says of requests that this one says nothing of, and its notes."""
        use = (self.rejected == UNLABELLED) & (other.rejected != UNLABELLED)
        for name in ("rejected", "source", "refusal_class"):
            getattr(self, name)[use] = getattr(other, name)[use]
        self.notes += other.notes
        self.unmatched += other.unmatched
        self.unmatched_within += other.unmatched_within
        self.unclear += other.unclear


class Source(Protocol):
    """What a file of this folder has. ``RANK``: the lowest is asked first."""

    ID: str
    RANK: int

    def tell(self, traffic: Traffic) -> Iterable[Told]:
        """What it says; nothing where it is not there."""
        ...


def labelled(traffic: Traffic) -> Traffic:
    """The same traffic with labels on its requests."""
    told = Told.nothing(len(traffic.rows))
    for source in sorted(members(__name__, Source, (), ("ID", "RANK")), key=lambda source: source.RANK):
        for each in source.tell(traffic):
            told.add(each)
    up = traffic.rows[:, UPSTREAM]
    _unless_a_log_says_otherwise(traffic, told)
    _without_a_log(traffic, told)
    _of_one_that_logs_nothing(traffic, told)
    left = _left_alone(traffic, told)
    _run_together(traffic, told)
    unsure = _unsure(traffic, told)
    name_by_size(told, np.where(up >= 0, np.append(traffic.upstream.exchanges["down_bytes"], 0)[up], 0))
    situation = traffic.situation
    requests = replace(situation.requests, rejected=told.rejected, source=told.source, refusal_class=told.refusal_class)
    notes = traffic.notes + told.notes + _leave_out_repeated(traffic, requests)
    told_besides = {"unmatched": told.unmatched_within, "unclear": told.unclear, "left": left, "alike": _perhaps_refused(traffic, told)}
    situation = replace(situation, requests=requests, facts={**situation.facts, **told_besides})
    made = without_answers(traffic.knowing(situation=situation, notes=notes, unmatched=told.unmatched), unsure)
    if made.situation.uncountable:  # what cannot be counted shows nothing by itself
        guessed, requests = made.situation.requests.source == INFERRED, made.situation.requests
        requests.rejected[guessed], requests.source[guessed], requests.refusal_class[guessed] = UNLABELLED, "", ""
    return made


def _without_a_log(traffic: Traffic, told: Told) -> None:
    """Label, in place, the requests of machines of which there is no log, by what the log of another one shows: streams were accepted, and answers as short and
    quick, and of the size, of the refusals that it names were refusals, if next to none that it calls accepted look so."""
    up = traffic.rows[:, UPSTREAM]
    refused, accepted = (told.source == ERROR_LOG) & (told.rejected == REJECTED) & (up >= 0), (told.rejected == ACCEPTED) & (up >= 0)
    open_ = (told.rejected == UNLABELLED) & (up >= 0)
    enough = refused.sum() >= TAUGHT or any(refused.sum() >= few and accepted.sum() >= others for few, others in TAUGHT_BY_FEW)
    if not enough or not open_.any():
        return
    answers = Answers(traffic.upstream.exchanges)
    down, short, stream = answers.down[up], answers.short[up], answers.stream[up]
    looks = short & alike(down, np.unique(down[refused & short])) & (answers.waits[up] <= answers.waits[up][refused & short].max(initial=0))
    if (looks & accepted).sum() > MISTAKEN * refused.sum():
        return
    everybody, of = traffic.once(of_requests)
    with_log = {everybody[k].name for k in set(of[told.source == ERROR_LOG].tolist())}
    open_ &= np.array([each.name not in with_log for each in everybody], bool)[of]
    for rows, label in ((open_ & looks, REJECTED), (open_ & stream, ACCEPTED)):
        told.rejected[rows], told.source[rows] = label, LOOK_ALIKE
    told.refusal_class[open_ & looks] = logs.UNKNOWN


def _of_one_that_logs_nothing(traffic: Traffic, told: Told) -> None:
    """Label, in place, the requests of a program, or of a kind, of which a log that is there never tells: a second program on the machine, or titles.

    Answers that are to the byte of the size of refusals with a line, and as quick, are refusals if one connection, one kind of program (by its ClientHello)
    or one size of request has :data:`UNHEARD` of them and no line at all, while nearly all others that look so have theirs.
    """
    up = traffic.rows[:, UPSTREAM]
    lined = (told.source == ERROR_LOG) & (told.rejected == REJECTED) & (up >= 0)
    if lined.sum() < UNHEARD or not ((told.rejected == UNLABELLED) & (up >= 0)).any():
        return
    answers, ja4 = Answers(traffic.upstream.exchanges), traffic.upstream.ja4
    down, waits, short = answers.down[up], answers.waits[up], answers.short[up]
    like = short & np.isin(down, down[lined & short]) & (waits <= waits[lined & short].max(initial=0)) & (up >= 0)
    connection = traffic.upstream.owner[up]
    hello = np.array([ja4.get(row, -1) for row in connection.tolist()], np.int64)
    requests = traffic.situation.requests
    for group in (connection, hello, 2 * requests.side.astype(np.int64) + models(requests)):
        heard = np.isin(group, group[lined])
        silent = like & ~heard & (group >= 0) & (told.rejected == UNLABELLED)
        if (like & heard & lined).sum() < NEARLY_ALL * (like & heard).sum():
            continue  # refusals of those that are told of have no lines either, as an SDK tries again in silence
        each, many = np.unique(group[silent], return_counts=True)
        rows = silent & np.isin(group, each[many >= UNHEARD])
        told.rejected[rows], told.source[rows], told.refusal_class[rows] = REJECTED, LOOK_ALIKE, logs.UNKNOWN


def _perhaps_refused(traffic: Traffic, told: Told) -> int:
    """How many answers look like refusals where nobody says of any request that it was refused: of one size, short, and sooner than streams begin, or, where
    there are none, than answers of many other sizes. Where a few refusals are certain, of their size: a program that tries again in silence writes
    down the last try alone."""
    up = traffic.rows[:, UPSTREAM]
    rows = up[(told.rejected == UNLABELLED) & (up >= 0)]
    named = not traffic.goal.guessed or any(matching(name, KNOWN_APIS) for name in traffic.goal.names)
    certain = up[(told.rejected == REJECTED) & (up >= 0)]
    if len(certain) >= TAUGHT or not (named or len(certain)) or len(rows) < TAUGHT:
        return 0
    answers = Answers(traffic.upstream.exchanges)
    if len(certain):
        rows = rows[alike(answers.down[rows], np.unique(answers.down[certain[answers.short[certain]]]))]
    among = np.zeros(len(answers), np.bool_)
    among[rows] = among[certain] = True
    named = (told.source == ERROR_LOG) & np.isin(told.rejected, (ACCEPTED, ELSEWISE)) & (up >= 0)  # what a log calls something else
    rows = rows[~alike(answers.down[rows], np.unique(answers.down[up[named]][answers.short[up[named]]]))]
    sizes = answers.down[rows][much_sooner(answers, among, TAUGHT)[rows]]
    most = max((int(alike(sizes, np.array([size])).sum()) for size in np.unique(sizes)), default=0)
    return most if most >= TAUGHT else 0


def _unless_a_log_says_otherwise(traffic: Traffic, told: Told) -> None:
    """Take the label, in place, from what looks refused and has the size of short answers that a log calls something else, and of no refusal that it has."""
    inferred = (told.source == INFERRED) & (told.rejected == REJECTED)
    if not inferred.any():
        return
    answers, up = Answers(traffic.upstream.exchanges), traffic.rows[:, UPSTREAM]
    by_log = (told.source == ERROR_LOG) & (up >= 0)
    down, short = np.append(answers.down, 0)[up], np.append(answers.short, False)[up]
    refused, otherwise = (down[by_log & short & np.isin(told.rejected, those)] for those in ((REJECTED,), (ACCEPTED, ELSEWISE)))
    rows = inferred & alike(down, np.unique(otherwise)) & ~alike(down, np.unique(refused))
    told.rejected[rows], told.source[rows], told.refusal_class[rows] = UNLABELLED, "", ""


def _left_alone(traffic: Traffic, told: Told) -> int:
    """Take the label, in place, from requests that the server left without an answer: that nobody speaks of a refusal does not make them accepted. How many
    there are that nobody calls refused."""
    rows = traffic.rows[:, UPSTREAM]
    there = (rows >= 0) & np.append(traffic.upstream.left_by_server, False)[rows] & (told.rejected != REJECTED)
    told.rejected[there], told.source[there] = UNLABELLED, ""
    return int(there.sum())


def _run_together(traffic: Traffic, told: Told) -> None:
    """Take the label, in place, from what is called accepted and may be two requests, of which the first was refused, as packets are missing between them."""
    for side, rows in ((traffic.upstream, traffic.rows[:, UPSTREAM]), (traffic.vm, traffic.rows[:, VM_ROW])):
        if side is not None:
            there = (
                (rows >= 0)
                & np.append(side.run_together, False)[rows]
                & (told.rejected == ACCEPTED)
                & ~np.isin(told.source, (STATUS, KEY_LOG))
            )
            told.rejected[there], told.source[there] = UNLABELLED, ""


def _unsure(traffic: Traffic, told: Told) -> Bools:
    """Where another request of HTTP/2 may have the answer that was taken for a request's: its label, in place, is that of the answer, if that is of a request
    that began at this one's moment and looks like its label; else what all answers that may be its own have in common, and there is none where they have
    nothing. bool per request that has none for this."""
    was = replace(told, rejected=told.rejected.copy(), source=told.source.copy(), refusal_class=told.refusal_class.copy())
    left = np.zeros(len(told.rejected), np.bool_)
    done = traffic.rows[:, STREAM] >= 0
    # what nests was paired by the ends of answers, so whose an answer is shows upstream
    asker = traffic.vm if traffic.nested is None else None
    for side, rows in ((asker, traffic.rows[:, VM_ROW]), (traffic.upstream, traffic.rows[:, UPSTREAM])):
        if side is None or not side.streams:
            continue
        of = {row: i for i, row in enumerate(rows.tolist()) if row >= 0}
        mine = (rows >= len(side.owner) - len(side.streams)) & ~done
        left |= mine & np.append(side.unsure, False)[rows]
        theirs = {
            i: {of.get(row, -1): p for row, p in side.perhaps[int(rows[i])].items()}
            for i in np.flatnonzero(mine).tolist()
            if int(rows[i]) in side.perhaps
        }
        looks = Answers(side.exchanges)
        fits = {REJECTED: looks.short, ACCEPTED: looks.stream}  # whoever's it is
        of_a_moment = _of_a_moment(traffic, theirs, side.owner[rows])
        for i, perhaps in theirs.items():
            exact = side.counted[int(side.owner[rows[i]])].exact  # else an answer may be nobody's
            if exact and i in of_a_moment and (own := int(was.rejected[i])) in fits and fits[own][rows[i]]:
                continue
            odds, likeliest = {REJECTED: 0.0, ACCEPTED: 0.0}, {REJECTED: (0.0, i), ACCEPTED: (0.0, i)}
            for other, p in perhaps.items():
                label = int(was.rejected[other]) if other >= 0 else UNLABELLED
                if label in odds:
                    odds[label] += p
                    likeliest[label] = max(likeliest[label], (p, other))
            label = max(odds, key=lambda each: odds[each])
            left[i] = odds[label] < SURE and (
                was.rejected[i] in odds or any(odds.values())
            )  # else nothing is known of any of these answers
            if not left[i] and odds[label] < SURE:
                continue
            told.rejected[i] = label
            for name in ("source", "refusal_class"):
                getattr(told, name)[i] = getattr(was, name)[likeliest[label][1]]
        done |= mine
    told.unclear += int((left & (was.rejected == REJECTED)).sum())
    told.rejected[left], told.source[left], told.refusal_class[left] = UNLABELLED, "", ""
    return left


def _of_a_moment(traffic: Traffic, theirs: Mapping[int, Mapping[int, float]], owner: Ints) -> set[int]:
    """Answers, by the requests that they were taken for, that are of one of some requests which began so nearly at once on one connection that the provider may
    have counted any first: which of them it is does not matter. What is expected more than once may be two answers, and is none of these.

    theirs : by request, how likely each answer is its own.  owner : connection of each request.
    """
    start = traffic.situation.requests.start_ns
    expected: dict[int, float] = defaultdict(float)
    for i, p in (each for perhaps in theirs.values() for each in perhaps.items()):
        expected[i] += p
    moments: list[list[int]] = []
    for i in sorted(theirs, key=lambda i: (owner[i], start[i])):
        if moments and owner[i] == owner[moments[-1][0]] and start[i] - start[moments[-1][0]] <= OVERTAKEN_NS:
            moments[-1].append(i)
        else:
            moments.append([i])
    sure = (i for those in moments for i in those if sum(theirs[each].get(i, 0.0) for each in those) >= SURE)
    return {i for i in sure if expected[i] <= 2.0 - SURE}


def name_by_size(told: Told, down: Ints) -> None:
    """Give refusals of which nobody said why the class of those of their size, in place, where somebody said it of these and all are of one class.

    So retries that an SDK makes in silence, and those of a program without a log, are not taken for another limit than the one that a log names.
    down : bytes of each answer upstream; 0 where it was not captured.
    """
    known = (told.rejected == REJECTED) & (down > 0)
    unknown = known & (told.refusal_class == logs.UNKNOWN)
    classes = sorted(set(told.refusal_class[known].tolist()) - {logs.UNKNOWN})
    fits = [unknown & alike(down, np.unique(down[known & (told.refusal_class == each)])) for each in classes]
    for each, fit in zip(classes, fits, strict=True):
        told.refusal_class[fit & (sum(fits) == 1)] = each


def _leave_out_repeated(traffic: Traffic, requests: Requests) -> list[str]:
    """Where the clock of the upstream's capture was set back, times repeat and nobody knows what was open when: such requests stay in the counts and lose
    their labels. Returns what to say of it."""
    part, notes = traffic.upstream.capture.part, []
    backs = part.decoder.times.set_back().tolist()
    for frame, low, high in backs:
        there = (requests.start_ns >= low) & (requests.start_ns <= high)
        told = int((there & (requests.rejected != UNLABELLED)).sum())
        requests.rejected[there], requests.source[there] = UNLABELLED, ""
        firsts = np.cumsum([1] + [i.frames for i in part.inputs]).tolist()[1:-1]
        if frame in firsts:
            what = f"{printable(part.inputs[firsts.index(frame) + 1].path)} begins before the file before it ends"
            advice = "give the files in the order of their times"
        else:
            whose = WORDS[traffic.upstream.name or traffic.only_vantage or SIDES[HOST]]
            what, advice = f"the {whose}'s clock was set back while recording, at frame {frame:,}", "record again with the clock left alone"
            if len(backs) >= OUT_OF_ORDER:
                what += ", or frames are out of order in the file"
                advice = f"sort it by time (reordercap), or {advice}"
        notes.append(
            f"{what}: what happened in {(high - low) / 1e9:,.1f} s of these times cannot be put in order, so {plural(told, 'request')} of that time "
            f"{'is' if told == 1 else 'are'} no evidence; {advice}"
        )
    return notes
