"""Labels from the programs' error logs: which line means which answer, and what silence means.

Theory of operation
-------------------
1. Each line is matched with an answer (``_matching.py``). A log names exchanges of its own side's capture, in that machine's time, and the label is
   carried over by the pairing.
2. *Look-alikes.* Once the log has shown what refusals look like, an answer without a line that looks exactly like them was refused too, if programs
   usually sent the same request again after such answers. SDKs retry without a word: one line stands for up to three refusals (measured). Otherwise
   it stays unknown. Streams outside the time of the log were accepted, and so were answers of other sizes that come as late as those accepted in its time,
   where all of these are later than any refusal; all else there stays unknown.
   Where each of many such answers in the time of the log has its line, those of other times were refused, too, whether tried again or not.
3. An answer that looks different and has no event was accepted if the log covers it, unless it is short and sooner than any stream; but not if most
   events found no answer, for then the log is of another time, side or program (:func:`_is_of_other`).
4. What the log says failed by another status is no refusal by a limit. That the server did not understand or allow it (4xx) does not make it accepted either:
   it is no evidence, and holds no place. Nor does that a gateway got no answer: it is unknown. Where such lines may mean answers of any size, none of these is
   accepted for want of a line.
5. A number that nobody calls a status may count anything, so a line with no more means no stream. A log without times says only how many refusals there
   were: as many answers that look refused, and are tried again, are these.

Limits: the log's lines are believed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from netlens import logs
from netlens.chains import overlap
from netlens.chains.clock import Clock
from netlens.chains.linking import CODES
from netlens.chains.parties import of_requests
from netlens.chains.requests import UPSTREAM, VM_ROW
from netlens.chains.side import WORDS, Side
from netlens.chains.situation import ACCEPTED, ELSEWISE, REJECTED, UNKNOWN, UNLABELLED, VM
from netlens.chains.target import KNOWN_APIS, matching
from netlens.chains.traffic import Traffic
from netlens.columns import MISSING, Bools, Ints
from netlens.lenses.refused import programs
from netlens.lenses.refused.labels import ERROR_LOG, LOOK_ALIKE, MISTAKEN, TAUGHT, Told, _records
from netlens.lenses.refused.labels._labels import MS, QUICK, Answers, Columns, Labels, S, alike, much_sooner, set_labels, unlabelled
from netlens.lenses.refused.labels._matching import (
    BELIEVED,
    EARLY_NS,
    LATE_NS,
    MIN_LEARNED,
    SLOWER,
    Match,
    match,
    small_ones,
    tried_again,
    tried_again_soon,
)
from netlens.lenses.refused.labels._strangers import left_out
from netlens.parsers.errorlog import ECHO_NS, ErrorEvent, ErrorLog, converted
from netlens.schema import ints_of
from netlens.text import plural, printable

ID = "error-log"
RANK = 2
NONE = np.zeros(0, np.int64)
behind_lines = _records.behind_lines  #: asked before requests of HTTP/2 are counted
SHIFT_NS = 100_000_000  #: lines follow their answers more evenly than that
FITTING, RIVALS = 0.8, 0.7  #: share of lines that must stand right behind answers at one shift; and of these, that may do so at another
MOST_SHIFT_NS = 3600 * S  #: beyond that a log is of another time, and what fits is chance, or a copy
MAX_SHIFTED = 2_000  #: lines and answers by which a shift is looked for
STRANGER_LAG_NS = 100_000_000  #: lines of a program's own log follow its answers within 50 ms as a rule; those of another's lie anywhere
LATE = 0.1  #: of the refusals; more that come later than these, of their size, are answers of another kind
#: Failures that a gateway tells of (RFC 9110 15.6.3 to 15.6.5; 52x are Cloudflare's): whether a limit let the request through before is not known.
GATEWAY = ("status 502", "status 503", "status 504", "status 52")
BUSY = "status 503"
NEARLY_EACH = 0.9  #: share of lines of it with an answer
SPELLS = 5  #: of such answers, beyond the first, that end with a request that is served
MOST_TRIES = 3  #: answers for each line, as SDKs try again twice without a word
ANOTHER_DAY_NS = 15 * 3600 * S  #: between log and capture: zones differ by 14 hours at most
MOST_OPEN = 64  #: lines that name a server, to which an echo may still come
MOST_BESIDE = 10  #: other servers whose answers lines are held against
NEAR_BY = ("internal", "local", "localhost", "lan", "home", "arpa")  #: ends of names that are not the public's, such as a relay's
MAX_UNMATCHED = 1_000  #: lines of a log that are named one by one; the rest is counted


def tell(traffic: Traffic) -> Iterator[Told]:
    """One for each log, that of the VM first, and those of further machines last."""
    of_sides = [(side, traffic.beside.logs[side.of_log()]) for side in traffic.sides.values() if side.of_log() in traffic.beside.logs]
    logs = [(side, log) for side, log in of_sides if not _is_blind(traffic, side)]
    first = [_of_log(traffic, side, log) for side, log in logs]
    taught = tuple(sorted({size for found, _ in first for size in found.sizes}))
    for (side, _), (found, rows) in zip(logs, first, strict=True):
        if side is traffic.upstream:
            yield _of_relay(traffic, side, found, rows)
    for (side, log), (found, rows) in zip(logs, first, strict=True):
        if taught and not (found.sizes and found.as_it_is):  # a log that shows sizes by itself is taught nothing
            found, rows = _of_log(traffic, side, log, taught)
        name = side.of_log()
        if _is_of_other(traffic, side, found, log):
            note = (
                f"the error log given for the {WORDS[name]} fits the other side's requests far better, so it is ignored: are "
                "--vm-errors and --host-errors swapped?"
            )
            yield Told.nothing(len(traffic.rows), notes=[note])
            continue
        place = np.full(len(side.exchange_rows), -1, np.int64)
        place[rows] = np.arange(len(rows))
        where = traffic.rows[:, UPSTREAM if side is traffic.upstream else VM_ROW]
        row = np.where(where >= 0, place[where], -1) if len(place) else np.full(len(where), -1, np.int64)
        if (later := _when_upstream_alone_ran(traffic, side)).any():
            # what the log says of the time that only the host's capture has is looked for there
            left = replace(log, events=[each for each in found.unmatched if not _within(side, each)])
            found = replace(found, unmatched=[each for each in found.unmatched if _within(side, each)])
            yield _as_upstream_has_them(traffic, name, WORDS[name], traffic.clock, taught or found.sizes, left, later)
        yield _told(found, row, side, log, name, f"the {WORDS[name]}")
    for side, _ in of_sides:
        if _is_blind(traffic, side):
            yield _as_upstream_has_them(traffic, side.of_log(), WORDS[side.of_log()], traffic.clock, taught)
    for name, clock in traffic.clocks.items():
        if name in traffic.beside.logs and clock.pieces:
            yield _as_upstream_has_them(traffic, name, name, clock, taught)


def _of_relay(traffic: Traffic, side: Side, found: Labels, rows: Ints) -> Told:
    """Refusals with a line in the log of a relay, which asks again by itself, as with another key: the program that asked the relay knows of none.

    rows : the exchanges that ``found`` is of."""
    told, carried = Told.nothing(len(traffic.rows)), traffic.asked_of_relay
    down = ints_of(side.exchanges, "down_bytes", 0)[rows]
    looks = alike(down, np.array(found.sizes, np.int64)) & (found.rejected == REJECTED) & (found.source == ERROR_LOG)
    at = {int(rows[row]) for _, row in found.matched if looks[row]} & carried.keys()
    those = np.isin(traffic.rows[:, UPSTREAM], list(at)) & (traffic.rows[:, UPSTREAM] >= 0)
    of_row = {int(rows[row]): found.refusal_class[row] for _, row in found.matched}
    told.rejected[those], told.source[those] = REJECTED, ERROR_LOG
    told.refusal_class[those] = [of_row[row] for row in traffic.rows[those, UPSTREAM].tolist()]
    return told


def _when_upstream_alone_ran(traffic: Traffic, side: Side) -> Bools:
    """bool per request: those of the VM that only the host's capture has, as the VM's began later or ended earlier."""
    if side is traffic.upstream or side is not traffic.vm or not traffic.clock.pieces:
        return np.zeros(len(traffic.rows), np.bool_)
    begin, end = traffic.clock.to_host(np.array(side.bounds_ns, np.int64)).tolist()
    start = traffic.situation.requests.start_ns
    alone: Bools = (traffic.rows[:, VM_ROW] < 0) & (traffic.rows[:, UPSTREAM] >= 0) & ((start < begin) | (start > end))
    return alone & (traffic.situation.requests.side == VM)


def _within(side: Side, event: ErrorEvent) -> bool:
    """Whether a line of a log is of the time of a capture."""
    begin, end = side.bounds_ns
    return begin <= event.time_ns <= end


def _is_blind(traffic: Traffic, side: Side) -> bool:
    """Whether a capture shows no request, though the upstream's has requests of its side: of an uplink beside sshuttle, which shows the tunnel alone."""
    of_side = traffic.situation.requests.side == CODES.get(side.name or "", VM)
    return side is traffic.vm and not len(side.exchange_rows) and bool(of_side.any()) and bool(traffic.clock.pieces)


def _as_upstream_has_them(
    traffic: Traffic, name: str, party: str, clock: Clock, taught: tuple[int, ...], log: ErrorLog | None = None, those: Bools | None = None
) -> Told:
    """What the log of a machine says of its requests (of ``those``) as the upstream's capture has them, on whose clock its times are taken to."""
    side, log = traffic.upstream, log or traffic.beside.logs[name]
    everybody, of = traffic.once(of_requests)
    if those is None:
        those = np.array([each.name == party for each in everybody], bool)[of] & (traffic.rows[:, UPSTREAM] >= 0)
    place = np.flatnonzero(those)
    exchanges = side.exchanges.take(traffic.rows[place, UPSTREAM])
    covers = name in traffic.beside.covering and not log.cut
    found = from_log(
        exchanges, of_target(log, traffic.goal.names), lambda ns: int(clock.to_host(np.array(ns))), covers=covers,
        slack_ns=2 * MS + clock.uncertain_ns, taught=taught, beside=_beside(side, traffic.goal.names),
    )  # fmt: skip
    row = np.full(len(traffic.rows), -1, np.int64)
    row[place] = np.arange(len(place))
    return _told(found, row, side, log, name, f"the {party}" if party in WORDS.values() else printable(party))


def _told(found: Labels, row: Ints, side: Side, log: ErrorLog, name: str, whose: str) -> Told:
    """Labels of exchanges of a capture, with what a person should know of the log.  row : per request its exchange.  whose : as texts call it."""
    told = Told.of(found, row)
    told.unmatched = [{"side": name, "time_ns": e.time_ns, "line": e.line} for e in found.unmatched[:MAX_UNMATCHED]]
    told.unclear = found.unclear
    told.unmatched_within = sum(_within(side, e) for e in found.unmatched) + (0 if found.source.any() else len(log.untimed))
    begin, end = side.bounds_ns
    apart = begin - (log.last_ns or begin), (log.first_ns or end) - end
    if found.unmatched and not found.matched and max(apart) > ANOTHER_DAY_NS:
        when = "ends {} h before the capture begins" if apart[0] > 0 else "begins {} h after the capture ends"
        told.notes.append(f"the error log of {whose} {when.format(f'{max(apart) / (3600 * S):,.1f}')}: is it of another day?")
    elif found.unmatched:
        match = "matches" if len(found.unmatched) == 1 else "match"
        told.notes.append(f"{plural(len(found.unmatched), 'refusal')} in the error log of {whose} {match} no request in the capture")
    if found.note:
        told.notes.append(f"error log of {whose}: {found.note}")
    return told


def _of_log(traffic: Traffic, side: Side, log: ErrorLog, taught: tuple[int, ...] = ()) -> tuple[Labels, Ints]:
    """Labels of a side's exchanges by its own log, and which exchanges these are."""
    rows = _own(traffic, side) if side.name is not None and len(traffic.sides) > 1 else np.arange(len(side.exchange_rows))
    covers = side.of_log() in traffic.beside.covering and not log.cut  # what was not read of a log says nothing by its silence
    asked = {str(name).lower() for name in side.connections["sni"].tolist() if name}
    ours = of_target(log, traffic.goal.names, asked)
    labels = from_log(side.exchanges.take(rows), ours, covers=covers, taught=taught, beside=_beside(side, traffic.goal.names))
    if others := len(log.events) - len(ours.events):
        told = f"{plural(others, 'refusal')} of it {'names' if others == 1 else 'name'} another provider, and {'is' if others == 1 else 'are'} left out"
        labels = replace(labels, note="; ".join(filter(None, [told, labels.note])))
    return labels, rows


def _domain(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _beside(side: Side, names: Sequence[str]) -> dict[str, Ints]:
    """By name of other servers that a side's capture shows, those that answered most, when their answers ended, ascending."""
    domains = {_domain(name) for name in names}
    owner = overlap.owner_rows(side.capture.table("exchanges"), side.connections)
    end = ints_of(side.capture.table("exchanges"), "end_ns", MISSING)
    of = np.array([(name or "").lower() for name in side.connections["sni"].tolist()] + [""], object)[owner]
    of[(end == MISSING) | np.append(side.target, False)[owner]] = ""
    called, many = np.unique(of.astype(str), return_counts=True)
    most = called[np.argsort(-many, kind="stable")].tolist()
    others = [name for name in most if name and not matching(name, domains)] if domains else []
    return {name: np.sort(end[of == name]) for name in others[:MOST_BESIDE]}


def of_target(log: ErrorLog, names: Sequence[str], asked: Collection[str] = ()) -> ErrorLog:
    """The log without refusals that it says are another provider's: by the name of another known API, or of a server that the capture shows beside the target,
    unless all lines name it and the target is not asked directly; or by the provider's id, where other lines have the target's. Where the capture shows that
    the target is asked by its name, the URL of any other public server says so too, captured or not, and that of any at all where other lines have the
    target's; a relay on the machine is then believed if its lines follow answers that look refused.

    asked : names of all servers that the side's capture shows.
    """
    if not names:
        return log
    domains = {_domain(name) for name in names}
    beside = [name for name in asked if not matching(name, domains)]
    gateway = len(beside) == len(asked) and all(any(host in beside for host in event.url_hosts) for event in log.events)

    direct = len(beside) < len(asked)
    named = direct and any(matching(host, domains) for event in log.events for host in event.by_url)

    def is_named(event: ErrorEvent) -> bool:
        return any(matching(host, domains) for host in event.url_hosts)

    def of_another(host: str) -> bool:
        """A server by its name, which a relay near by is not as a rule: one that is not captured, a known API, or one that is asked beside the target."""
        if "." not in host or host.rpartition(".")[2] in NEAR_BY or host.replace(".", "").isdigit() or matching(host, domains):
            return False
        return host not in asked or matching(host, KNOWN_APIS) is not None or (host in beside and not gateway)

    def elsewhere(event: ErrorEvent) -> bool:
        if is_named(event):
            return False
        if direct and event.by_url and (named or all(map(of_another, event.by_url))):
            return True
        return any(matching(host, KNOWN_APIS) or (host in beside and not gateway) for host in event.url_hosts)

    apis = {event.provider: programs.api_of(event.provider) for event in log.events}
    ours = any(api in names for api in apis.values())
    echoes = _echoes_of(log.events, elsewhere)
    events = [replace(e, elsewhere=True) if i in echoes else e for i, e in enumerate(log.events)]
    kept = [e for e in events if not elsewhere(e) and not (ours and apis[e.provider] is not None and apis[e.provider] not in names)]

    def is_ours(hosts: tuple[str, ...]) -> bool:
        return not hosts or not all(map(of_another, hosts))

    kept = [
        replace(e, elsewhere=True) if e.asked and not (is_ours(e.url_hosts) and (is_named(e) or not (direct and e.by_url))) else e
        for e in kept
    ]
    other = tuple(each for each in log.other if is_ours(each[2]))
    failed = tuple(each for each in log.failed if is_ours(each[3]))
    changed = kept != log.events or len(other) < len(log.other) or len(failed) < len(log.failed)
    return replace(log, events=kept, other=other, failed=failed) if changed else log


def _echoes_of(events: Sequence[ErrorEvent], elsewhere: Callable[[ErrorEvent], bool]) -> set[int]:
    """Lines that name nobody and stand right behind one of another kind that names another server, and behind none that names the target, each of which has no
    echo yet: a library writes whom it asked, and then the program that it failed."""
    found: set[int] = set()
    open_: dict[str, list[ErrorEvent]] = {}
    for i in sorted(range(len(events)), key=lambda i: events[i].line):
        event = events[i]
        near = [each for each in open_.get(event.file, ()) if event.low_ns - each.high_ns <= ECHO_NS]
        if event.url_hosts:
            near.append(event)
        elif meant := [each for each in near if each.kind != event.kind]:
            found |= {i} if all(map(elsewhere, meant)) else set()
            near.remove(meant[-1])
        open_[event.file] = near[-MOST_OPEN:]
    return found


def _own(traffic: Traffic, side: Side) -> Ints:
    """Exchanges of a capture that are of its own side: upstream, others' are among them, also those of further machines behind the host."""
    if side is not traffic.upstream:
        return np.arange(len(side.exchange_rows))
    own = traffic.origin[side.owner] == CODES[side.of_log()]
    everybody, of = traffic.once(of_requests)
    # what a relay on the machine asks besides is its own, as a second try with another key
    further = np.array([each.name not in WORDS.values() and each.code != UNKNOWN for each in everybody], bool)[of]
    rows = traffic.rows[further, UPSTREAM]
    own[rows[rows >= 0]] = False
    return np.flatnonzero(own)


def _is_of_other(traffic: Traffic, side: Side, found: Labels, log: ErrorLog) -> bool:
    """Whether a log's lines stand right behind answers of the other side instead: programs write a refusal down at once."""
    others = [s for s in traffic.sides.values() if s is not side]
    lag = found.lag_ns
    if not others or (lag is not None and lag < STRANGER_LAG_NS):
        return False
    there = from_log(others[0].exchanges.take(_own(traffic, others[0])), log)
    enough = len(there.matched) >= max(MIN_LEARNED, len(found.matched))
    return enough and there.lag_ns is not None and there.lag_ns < STRANGER_LAG_NS and (lag is None or 4 * there.lag_ns < lag)


def from_log(
    exchanges: Columns,
    log: ErrorLog,
    to_host: Callable[[int], int] | None = None,
    *,
    covers: bool = False,
    slack_ns: int = 2 * MS,
    taught: tuple[int, ...] = (),
    beside: Mapping[str, Ints] | None = None,
) -> Labels:
    """Labels from one side's error log.

    Parameters
    ----------
    exchanges : rows of that side to the target, as captured on either side.
    log : the side's log.
    to_host : takes the log's times to the clock of the exchanges; None if they are the same.
    covers : the log is known to hold all that happened while the exchanges were captured; otherwise its first and last time are its bounds.
    slack_ns : how far clocks may be off beyond the spans of the events.
    taught : sizes of refusals that the log of another program of the same provider has shown, for a log that shows none.
    beside : by name of other servers that were asked, when their answers ended, ascending.
    """
    answers = Answers(exchanges)
    if log.untimed:
        return _by_number(answers, log.untimed)
    if to_host is not None:
        log = converted(log, to_host)
    log = _with_shed(answers, log)
    small, sizes = small_ones(answers, log.starts), np.array(sorted(taught), np.int64)
    shift, found = 0, match(answers, log.events, slack_ns, sizes, small, log.starts)
    zone = "" if found.pairs else _other_zone(answers, log.events)
    if zone:
        log = converted(log, lambda time: time - round(float(zone) * 3600 * S))
        found = match(answers, log.events, slack_ns, sizes)
    elif shift := _shift(answers, log.events):
        log = converted(log, lambda time: time + shift)
        found = match(answers, log.events, slack_ns, sizes, small, log.starts)
    strangers, chance, theirs = left_out(answers, log.events, beside)
    by_url = {i for i, event in enumerate(log.events) if event.elsewhere and event.by_url}
    if len(by_url) >= MIN_LEARNED and not found.sizes:  # nothing that they stand behind looks refused
        strangers = sorted(by_url.union(strangers).difference(*theirs.values()))
    if gone := {*strangers, *chance, *itertools.chain.from_iterable(theirs.values())}:
        kept = [event for i, event in enumerate(log.events) if i not in gone]
        log = replace(log, events=kept)
        if not kept:  # a log of other requests alone says nothing by its silence
            log, covers = replace(log, first_ns=None, last_ns=None), False
        found = match(answers, kept, slack_ns, sizes, small, log.starts)
    events = _of_passing(answers, log.events, found)
    covered = _covered(answers, log, covers)
    doubted = _doubted(answers, events, found, covered)
    labels = unlabelled(len(answers))
    if not doubted:
        _set_by_silence(labels, answers, found, covered, _commonest([events[event].refusal_class for event, _ in found.pairs]))
    silent = (_silently_refused(answers) | _just_begun(answers, found)) & (labels.rejected == ACCEPTED)
    like = _as_refusals_look(answers, found, labels) | _as_quick_as_refusals(answers, found, labels, len(events))
    set_labels(labels, silent | like, UNLABELLED)
    unclear = _set_failed(labels, answers, log, found, covered, slack_ns)
    unsure = [row for row in found.doubtful if not (found.retried and found.looks_refused[row])]  # both were refused, one has the line
    set_labels(labels, unsure, UNLABELLED)
    _set_refused(labels, answers, events, found)
    if small is not None:
        _set_tried_again(labels, answers, events, found, tried_again(answers, log.starts, small, slack_ns))
    taken = {event for event, _ in found.pairs}
    unmatched = [event for i, event in enumerate(events) if i not in taken and i not in found.echoes and not event.bare]
    if log.first_ns is None and (strangers or theirs):
        said = "it says nothing of the requests to the target"
    else:
        said = doubted or _note(answers, found, unsure, unmatched, covered, zone, shift, unclear)
    note = "; ".join(filter(None, [_of_others(len(strangers), len(chance), theirs), said]))
    return replace(
        labels,
        matched=found.pairs,
        unmatched=unmatched,
        note=note,
        sizes=found.sizes,
        lag_ns=_lag_ns(answers, events, found.pairs),
        as_it_is=not (zone or shift),
        unclear=len(unsure) + unclear,
    )


def _with_shed(answers: Answers, log: ErrorLog) -> ErrorLog:
    """The log, whose lines of status 503 are of refusals where nearly each stands behind a short answer of one size that came at once, and requests that were
    served began between these again and again: so the server is not down, and puts off (RFC 9110 15.6.4) as nginx' limits do unless they are told otherwise.
    All of them or none, as in the clear."""
    lines = sorted((each for each in log.failed if each[2] == BUSY), key=lambda each: each[:2])
    if lines[::2] == lines[1::2]:  # two handlers write down each
        lines = lines[::2]
    spans = _before([(low, high) for low, high, _, _ in lines])
    order = np.flatnonzero(answers.short)
    order = order[np.argsort(answers.end[order], kind="stable")]
    first, stop = np.searchsorted(answers.end[order], spans).T if len(spans) else (NONE, NONE)
    before = [np.unique(answers.down[order[a:b]]) for a, b in zip(first.tolist(), stop.tolist(), strict=True) if a < b]
    sizes, many = np.unique(np.concatenate([NONE, *before]), return_counts=True)
    if many.max(initial=0) < TAUGHT:
        return log
    shed = answers.short & alike(answers.down, sizes[[many.argmax()]])
    others = answers.answered & ~shed
    if others.sum() < TAUGHT or many.max() < NEARLY_EACH * len(lines):
        return log
    shed &= answers.waits <= QUICK * np.percentile(answers.waits[others], 10)
    served = np.searchsorted(np.sort(answers.start[others]), np.sort(answers.start[shed]))
    if not NEARLY_EACH * len(lines) <= shed.sum() <= MOST_TRIES * len(lines) or len(np.unique(served)) <= SPELLS:
        return log
    told = [
        ErrorEvent((low + high) // 2, low, high, i + 1, None, BUSY, BUSY, url_hosts=hosts, bare=True)
        for i, (low, high, _, hosts) in enumerate(lines)
    ]
    events = sorted([*log.events, *told], key=lambda each: each.time_ns)
    return replace(log, events=events, failed=tuple(each for each in log.failed if each[2] != BUSY))


def _set_by_silence(labels: Labels, answers: Answers, found: Match, covered: Bools, like: str) -> None:
    """What no line calls refused was accepted, but for what looks refused: that was tried again in silence, as a rule, or it is unknown.

    like : the class of those that have a line.
    """
    set_labels(labels, covered, ACCEPTED, ERROR_LOG)
    if found.sizes:
        set_labels(labels, (answers.stream | _as_late_as_accepted(answers, found, covered)) & ~covered, ACCEPTED, LOOK_ALIKE)
    if found.retried:
        set_labels(labels, found.looks_refused, REJECTED, LOOK_ALIKE, like)
    else:
        set_labels(labels, found.looks_refused, UNLABELLED)
        set_labels(labels, _taught(answers, found, covered), REJECTED, LOOK_ALIKE, like)


def _set_failed(labels: Labels, answers: Answers, log: ErrorLog, found: Match, covered: Bools, slack_ns: int) -> int:
    """What failed otherwise, by the faults that say how; and how many may be meant by faults that are not clear, of which it is unknown what became."""

    def status(*begins: str) -> list[tuple[int, int]]:
        return [(low, high) for low, high, how, _ in log.failed if how.startswith(begins)]

    otherwise = [(low, high) for low, high, _ in log.other]
    of_size = _failed_otherwise(answers, otherwise, found)
    failed = answers.short & alike(answers.down, of_size) & (labels.rejected == UNLABELLED)
    set_labels(labels, failed & covered, ACCEPTED, ERROR_LOG)
    unclear = _may_be_meant(answers, log.unclear_ns, slack_ns)
    unclear |= _may_have_failed(answers, [*otherwise, *status("status")], of_size) & ~answers.granted
    set_labels(labels, unclear & (labels.rejected == ACCEPTED), UNLABELLED)
    of_gateway = _failed_otherwise(answers, status(*GATEWAY), found)
    set_labels(labels, answers.short & alike(answers.down, of_gateway) & (labels.rejected == ACCEPTED), UNLABELLED)
    asked_wrongly = _failed_otherwise(answers, status("status 4"), found)
    wrong = answers.short & covered & alike(answers.down, asked_wrongly) & (labels.rejected != REJECTED)
    set_labels(labels, wrong, ELSEWISE, ERROR_LOG)
    labels.refusal_class[wrong] = logs.OTHER
    return int(unclear.sum())


def _set_refused(labels: Labels, answers: Answers, events: Sequence[ErrorEvent], found: Match) -> None:
    """What has a line."""
    for event, row in found.pairs:
        if row not in found.doubtful and not (events[event].bare and answers.stream[row]):
            set_labels(labels, row, REJECTED, ERROR_LOG, events[event].refusal_class)


def _set_tried_again(labels: Labels, answers: Answers, events: Sequence[ErrorEvent], found: Match, again: Sequence[int]) -> None:
    """Requests after which the log tells of the same being asked for ``again``, and that did not wait much longer than refusals that have a line."""
    told = {event.refusal_class for event in events} - {logs.UNKNOWN}
    quick = answers.waits[[row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]]
    for row in again:
        if labels.rejected[row] != REJECTED and (not len(quick) or answers.waits[row] <= SLOWER * quick.max()):
            set_labels(labels, row, REJECTED, ERROR_LOG, next(iter(told)) if len(told) == 1 else logs.UNKNOWN)


def _of_passing(answers: Answers, events: list[ErrorEvent], found: Match) -> list[ErrorEvent]:
    """The events; a quota that may be one of a minute or of a day, as its words tell, is a rate where a request that was sent after it was accepted."""
    ends = [int(answers.end[row]) for event, row in found.pairs if events[event].passing]
    accepted = answers.stream | (answers.answered & ~alike(answers.down, np.array(found.sizes, np.int64)) & (len(found.sizes) > 0))
    if not ends or not (accepted & (answers.start > min(ends))).any():
        return events
    return [replace(each, refusal_class=logs.RATE) if each.passing else each for each in events]


def _of_others(named: int, unnamed: int, theirs: Mapping[str, Sequence[int]]) -> str:
    """What to say of lines that mean no request to the target; "" without any."""
    parts = [
        f"{plural(len(those), 'refusal')} of it {'stands' if len(those) == 1 else 'stand'} right behind answers of {printable(name)}, and not of the target, "
        f"so {'it is' if len(those) == 1 else 'they are'} left out"
        for name, those in theirs.items()
    ]
    if named:
        many = named == 1
        parts.append(
            f"{plural(named, 'refusal')} of it {'names' if many else 'name'} a server that is not the target, and {'does' if many else 'do'} not follow its "
            f"answers more often than by chance, so {'it is' if many else 'they are'} left out"
        )
    if unnamed:
        parts.append(
            f"{plural(unnamed, 'refusal')} of it, of one wording, do not follow answers of the target more often than by chance, while others do, so they "
            "are left out: are they another server's?"
        )
    return "; ".join(parts)


def _by_number(answers: Answers, untimed: Sequence[str]) -> Labels:
    """Labels by a log without times: as many answers as it has refusals are short, quick and of one size, or a half or a third as many, as a program may write
    two lines or three of each. Any other number tells nothing."""
    labels = unlabelled(len(answers))
    like = _of_one_size(answers, answers.short, 1)
    if like.any():
        like &= answers.waits <= np.percentile(answers.waits[answers.stream], 50)
    lines = len(untimed) / max(int(like.sum()), 1)
    if like.sum() >= TAUGHT and any(abs(lines - each) <= MISTAKEN * each for each in (1, 2, 3)):
        set_labels(labels, like, REJECTED, LOOK_ALIKE, _commonest(untimed))
        set_labels(labels, answers.stream, ACCEPTED, LOOK_ALIKE)  # where refusals are short
    return labels


def _as_refusals_look(answers: Answers, found: Match, labels: Labels) -> Bools:
    """Answers that are called accepted, of the size of refusals and later than any of these, but not nearly as late as those of other sizes: a busy server.
    Where programs try again in silence, also later ones, if there are only a few."""
    of_size = alike(answers.down, np.array(found.sizes, np.int64))
    late = of_size & answers.short & (labels.rejected == ACCEPTED)
    late[[row for _, row in found.pairs]] = False
    if found.retried and late.sum() <= max(TAUGHT, LATE * (len(found.pairs) + found.looks_refused.sum())):
        return np.asarray(late)
    sure = [row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]
    others = answers.waits[(labels.rejected == ACCEPTED) & answers.answered & ~of_size]
    if not sure or len(others) < TAUGHT:
        return np.zeros(len(answers), np.bool_)
    between = float(np.sqrt(float(answers.waits[sure].max()) * np.percentile(others, 10)))  # as many times the one as the other is times it
    return np.asarray(late & (answers.waits <= between))


def _as_quick_as_refusals(answers: Answers, found: Match, labels: Labels, lines: int) -> Bools:
    """Short answers that are called accepted, and are as quick as refusals, where the log has no line for many that look refused, or a line that means none
    that does: the first one of a connection, or of a second, is longer, as fields that changed are written out (RFC 7541)."""
    sure = [row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]
    looks = alike(answers.down, np.array(found.sizes, np.int64))
    strange = sum(bool(~looks[row]) or row in found.doubtful for _, row in found.pairs) + lines - len(found.pairs) - len(found.echoes)
    few = len(found.sizes) == 0 or len(sure) < MIN_LEARNED
    if few or (not strange and found.looks_refused.sum() <= max(1, MISTAKEN * len(sure))):
        return np.zeros(len(answers), np.bool_)
    quick = answers.short & (answers.waits <= SLOWER * np.percentile(answers.waits[sure], 90))
    return np.asarray(quick & (labels.rejected == ACCEPTED) & (labels.source == ERROR_LOG))


def _failed_otherwise(answers: Answers, lines: Sequence[tuple[int, int]], found: Match) -> Ints:
    """Sizes of short answers that lines of another failure mean: nearly each of these stands right behind one, and no refusal is of that size.

    lines : first and last instant at which each may have been written.
    """
    refused = np.array([*found.sizes, *answers.down[[row for _, row in found.pairs]].tolist()], np.int64)
    short = np.flatnonzero(answers.short & ~alike(answers.down, refused))
    short = short[np.argsort(answers.end[short], kind="stable")]
    spans = _before(lines)
    first, stop = np.searchsorted(answers.end[short], spans).T if len(spans) else (NONE, NONE)
    before = [np.unique(answers.down[short[a:b]]) for a, b in zip(first.tolist(), stop.tolist(), strict=True) if a < b]
    sizes, many = np.unique(np.concatenate([NONE, *before]), return_counts=True)
    return np.asarray(sizes[many >= max(BELIEVED * len(before), 1)])


def _before(lines: Sequence[tuple[int, int]]) -> Ints:
    """int64[n, 2]: within which time the answers ended that lines of a failure mean."""
    return np.array(lines, np.int64).reshape(-1, 2) + np.array([-SHIFT_NS, 0])


def _may_have_failed(answers: Answers, lines: Sequence[tuple[int, int]], sizes: Ints) -> Bools:
    """Answers that are no streams and end where a line of another failure may mean them, unless its sizes are known and one of these ends there: an outage is
    told by answers of many sizes, and such a line is not silence."""
    end = np.sort(answers.end[answers.short & alike(answers.down, sizes)])
    spans = _before(lines)
    spans = spans[np.searchsorted(end, spans[:, 0]) == np.searchsorted(end, spans[:, 1], "right")]
    # how many spans have begun, and how many are over
    near = np.searchsorted(np.sort(spans[:, 0]), answers.end, "right") > np.searchsorted(np.sort(spans[:, 1]), answers.end)
    return np.asarray(answers.answered & ~answers.stream & near)


def _taught(answers: Answers, found: Match, covered: Bools) -> Bools:
    """Answers outside the time of the log that look like many that it calls refused, where next to none in its time looks so and has no line."""
    sure = [row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]
    looks = found.looks_refused.copy()
    looks[list(found.doubtful)] = False
    if len(sure) < TAUGHT or (looks & covered).sum() > max(1, MISTAKEN * len(sure)):
        return np.zeros(len(answers), bool)
    return np.asarray(looks & ~covered)


def _as_late_as_accepted(answers: Answers, found: Match, covered: Bools) -> Bools:
    """Answers of other sizes than refusals that come not much sooner than nearly all such in the time of the log, where these come later than refusals do."""
    others = answers.answered & ~alike(answers.down, np.array(found.sizes, np.int64))
    known, sure = answers.waits[others & covered], [row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]
    if len(known) < TAUGHT or len(sure) < TAUGHT:
        return np.zeros(len(answers), np.bool_)
    least = QUICK * np.percentile(known, 10)
    return np.asarray(others & (answers.waits >= least) & (least > SLOWER * answers.waits[sure].max()))


def _just_begun(answers: Answers, found: Match) -> Bools:
    """Requests without an answer that were sent so shortly before the end of the capture that a refusal might still have come."""
    waits = answers.waits[[row for _, row in found.pairs if row not in found.doubtful and answers.short[row]]]
    last = max(int(answers.start.max(initial=0)), int(answers.end[answers.answered].max(initial=0)))
    return np.asarray(~answers.answered & (answers.start > last - SLOWER * int(waits.max(initial=0))))


def _lag_ns(answers: Answers, events: Sequence[ErrorEvent], pairs: Sequence[tuple[int, int]]) -> int | None:
    """How far lines are from the answers that they were matched with, as a rule; None without any."""
    ends = [(events[i], int(answers.end[row])) for i, row in pairs]
    return int(np.median([max(event.low_ns - end, end - event.high_ns, 0) for event, end in ends])) if ends else None


def _covered(answers: Answers, log: ErrorLog, covers: bool) -> Bools:
    if covers:
        return np.ones(len(answers), bool)
    if log.first_ns is None or log.last_ns is None:
        return np.zeros(len(answers), bool)
    until = np.where(answers.answered, answers.end, answers.start)
    return (answers.start >= log.first_ns - S) & (until <= log.last_ns)  # the log of a run begins with its first request, at one second


def _doubted(answers: Answers, events: Sequence[ErrorEvent], match: Match, covered: Bools) -> str:
    """Why silence of this log means nothing; "" if it does."""
    if not len(answers) or not covered.any():
        return ""
    if match.pairs and (without := _refused_without_line(answers, match)):
        return f"{plural(without, 'answer')} of one size look refused and have no line, while its lines fall on streams: are its times those of the capture?"
    begin, end = int(answers.start.min()), max(int(answers.end.max()), int(answers.start.max()))
    inside = [i for i, e in enumerate(events) if e.high_ns >= begin and e.low_ns <= end and i not in match.echoes]
    found = {event for event, _ in match.pairs}
    hits = sum(i in found for i in inside)
    if len(inside) >= MIN_LEARNED and hits < BELIEVED * len(inside):
        return (
            f"only {hits} of {plural(len(inside), 'refusal')} in the error log for this time fall on the end of an answer: "
            "is it the log of this side, and are its times UTC?"
        )
    return ""


def _note(
    answers: Answers,
    match: Match,
    unsure: Sequence[int],
    unmatched: Sequence[ErrorEvent],
    covered: Bools,
    zone: str,
    shift: int,
    unclear: int,
) -> str:
    parts = []
    if not match.pairs and unmatched and len(answers):
        parts.append("no refusal in the error log falls on the end of an answer")
    if zone:
        parts.append(f"its times are read as UTC{zone} h, as its refusals fall on the ends of answers then, and on none as UTC")
    if shift:
        way = "later" if shift > 0 else "earlier"
        parts.append(f"its times are read {abs(shift) / S:.1f} s {way}, as its refusals fall on answers that look refused then")
    if unclear:
        parts.append(f"error lines with unknown wording may mean {plural(unclear, 'answer')}, which stay unknown")
    if unsure:
        parts.append(f"{plural(len(unsure), 'answer')} may or may not be meant by a line of the error log, and stay unknown")
    open_rows = int((~covered).sum())
    if open_rows:
        parts.append(
            f"{plural(open_rows, 'exchange is', 'exchanges are')} before its first line or after its last, of which it says nothing"
        )
    return "; ".join(parts)


def _other_zone(answers: Answers, events: Sequence[ErrorEvent]) -> str:
    """The zone of the log's times, in hours, if its refusals fall on the ends of answers in one other than UTC and in no other; else ""."""
    if len(events) < MIN_LEARNED or not answers.answered.any():
        return ""
    end = np.sort(answers.end[answers.answered])
    times = np.array([e.time_ns for e in events], np.int64)
    fit = {}
    for quarter in range(-56, 57):
        at = times - quarter * 900 * S
        near = np.searchsorted(end, at + EARLY_NS, "right") - np.searchsorted(end, at - LATE_NS, "left")
        fit[quarter] = int((near > 0).sum())
    best = max(fit, key=lambda quarter: fit[quarter])
    clear = fit[best] >= max(MIN_LEARNED, 0.8 * len(events)) and all(n <= 0.5 * fit[best] for quarter, n in fit.items() if quarter != best)
    return f"{best / 4:+g}" if best and clear else ""


def _look_refused(answers: Answers, among: Bools, least: int) -> Bools:
    """Those of :func:`_of_one_size`, if they are asked for again as a rule; else none."""
    like = _of_one_size(answers, among, least)
    return like if like.any() and tried_again_soon(answers, like) else np.zeros(len(answers), bool)


def _of_one_size(answers: Answers, among: Bools, least: int) -> Bools:
    """Short answers of the size that most of ``among`` have, ``least`` of them at least, where there are streams beside them; else none."""
    sizes, many = np.unique(answers.down[among], return_counts=True)
    if not answers.stream.any() or not len(sizes) or many.max() < least:
        return np.zeros(len(answers), bool)
    return np.asarray(answers.short & alike(answers.down, sizes[[many.argmax()]]))


def _commonest(classes: Sequence[str]) -> str:
    """The class of most refusals."""
    return max(sorted(set(classes)), key=classes.count, default=logs.UNKNOWN)


def _refused_without_line(answers: Answers, found: Match) -> int:
    """How many answers look refused and have no line, where the lines fall on streams for the most part."""
    rows = [row for _, row in found.pairs]
    if answers.short[rows].sum() >= BELIEVED * len(rows):
        return 0
    free = answers.short.copy()
    free[rows] = False
    return int(_look_refused(answers, free, max(2, len(rows))).sum())


def _shift(answers: Answers, events: Sequence[ErrorEvent]) -> int:
    """By how many nanoseconds all times of the log are off, if its lines then stand right behind answers that look refused, and do not as they are; else 0.

    That is so where the times of a capture were changed, or a log is of a machine with another clock.
    """
    end = np.sort(answers.end[_look_refused(answers, answers.short, MIN_LEARNED)])[:MAX_SHIFTED]
    times = np.array([e.time_ns for e in events[:MAX_SHIFTED]], np.int64)
    if len(end) < MIN_LEARNED or len(times) < MIN_LEARNED:
        return 0
    near = LATE_NS // 4
    if (np.searchsorted(end, times + near, "right") > np.searchsorted(end, times - near, "left")).mean() >= BELIEVED:
        return 0
    off = np.sort((end[:, None] - times[None, :]).ravel())
    within = np.searchsorted(off, off + SHIFT_NS, "right") - np.arange(len(off))
    best = int(within.argmax())
    rivals = within[np.abs(off - off[best]) > 2 * SHIFT_NS]
    if within[best] < max(MIN_LEARNED, FITTING * min(len(end), len(times))) or (len(rivals) and rivals.max() > RIVALS * within[best]):
        return 0
    found = int(np.median(off[best : best + int(within[best])]))
    return found if near < abs(found) <= MOST_SHIFT_NS else 0


def _silently_refused(answers: Answers) -> Bools:
    """Answers that are short and come much sooner than streams begin, or, where there are none, many of one size that come much sooner than others. They may be
    refusals of which an SDK says nothing when a retry is accepted, or its log at that level, and may look different from those that the log tells of (529
    beside 429)."""
    soon = much_sooner(answers, np.ones(len(answers), np.bool_), 1)
    return soon if answers.stream.any() or soon.sum() >= TAUGHT else np.zeros(len(answers), np.bool_)


def _may_be_meant(answers: Answers, unclear_ns: Sequence[int], slack_ns: int) -> Bools:
    """Answers that are no streams and end where an error line of unknown words may mean them."""
    at = np.sort(np.array(unclear_ns, np.int64))
    near = np.searchsorted(at, answers.end + LATE_NS + slack_ns, "right") - np.searchsorted(at, answers.end - EARLY_NS - slack_ns, "left")
    return answers.answered & ~answers.stream & (near > 0)
