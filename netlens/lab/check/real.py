"""A recording of real programs: every request that netlens found, with its label, held against the provider's log; and the verdict against the scenario.

Real programs keep no journal of what they did, so the truth is the provider's alone. Requests are matched by the port they came from and their order there.
Compared are the number of requests and of refusals, of each request its start, whether it was refused and whose it was; the limiter; the causes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netlens.chains.requests import UPSTREAM
from netlens.chains.situation import ACCEPTED, REJECTED, SIDES
from netlens.lab.check.truth import Event, Truth, side_of

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.lab.check.report import Report

#: From the provider's reading of a request to what the capture shows of its last byte; the provider's threads wait for a processor now and then.
LATE_NS = 250_000_000
LABELS = {ACCEPTED: "accepted", REJECTED: "refused"}


def check_requests(report: Report, truth: Truth) -> None:
    from netlens import analyze

    found = analyze(truth.recording)
    began, ended = truth.recorded("host")
    true = [each for each in truth.requests if began <= each["ns"] <= ended]
    refused = [each for each in true if each["refused"]]
    report.refused = {side: sum(side_of(each) == side for each in refused) for side in ("vm", "host")}
    report.count("requests", len(found.assembled.situation.requests), len(true))
    report.count("refusals", int(found.counts["rejections"] or 0), len(refused))
    _each(report, found, true)
    for problem in [*truth.of("vm", "problem"), *truth.of("host", "problem")]:
        report.problems.append(f"the program had trouble: {str(problem['text'])[:200]}")
    report.fractions = fractions(truth)
    _verdict(report, found, truth, len(refused))


def _each(report: Report, found: Analysis, true: Sequence[Event]) -> None:
    r = found.assembled.situation.requests
    here: dict[int, list[int]] = defaultdict(list)
    for row, port in enumerate(_ports(found)):
        here[port].append(row)
    there: dict[int, list[Event]] = defaultdict(list)
    for event in true:
        there[event["port"]].append(event)
    labels = Counter[tuple[str, str]]()
    for port in sorted(set(here) | set(there)):
        rows, events = here[port], there[port]
        if len(rows) != len(events):
            report.problems.append(f"requests from port {port}: {len(rows)} found, {len(events)} true")
            continue
        for row, event in zip(rows, events, strict=True):
            report.time("request", int(r.start_ns[row]), (min(event["first_ns"], event["ns"] - LATE_NS), event["ns"]), event["name"])
            said, is_true = LABELS.get(int(r.rejected[row]), "unknown"), "refused" if event["refused"] else "accepted"
            labels[said, is_true] += 1
            if said != is_true:
                kind = event.get("kind", "request")
                report.problems.append(f"{kind} {event['name']} (frame {int(r.host_frame[row])}): called {said}, was {is_true}")
            if (side := SIDES[int(r.side[row])]) != side_of(event):
                report.problems.append(f"{event['name']}: called the {side}'s, was the {side_of(event)}'s")
    report.count("labels that are right", sum(n for (a, b), n in labels.items() if a == b), sum(labels.values()))


def _ports(found: Analysis) -> list[int]:
    """Per request the port that it left from."""
    made = found.assembled
    ports = {row["session_id"]: row["orig_port"] for row in made.upstream.capture.table("sessions").records()}
    sessions = made.upstream.exchanges["session_id"]
    return [ports[int(sessions[row])] if row >= 0 else -1 for row in made.rows[:, UPSTREAM].tolist()]


def _verdict(report: Report, found: Analysis, truth: Truth, refusals: int) -> None:
    """That a right cause is supported, none that is wrong, and that the limiter is the provider's."""
    wanted = set() if truth.fix else set(truth.expect["causes"])
    supported = {verdict.id for verdict in found.hypotheses if verdict.verdict == "supported"}
    shares = {cause for cause, share in report.fractions.items() if share >= 0.5} | wanted
    if wrong := supported - shares:
        report.problems.append(f"WRONG: {', '.join(sorted(wrong))} supported; true: {', '.join(sorted(shares)) or 'none'}")
    if refusals < FEW:
        return  # too few to be sure of, and said so
    if wanted and not supported & wanted:
        report.problems.append(f"cause: {', '.join(sorted(supported)) or 'undecided'}, expected {', '.join(sorted(wanted))}")
    limiter = found.limiter or {}
    for kind, settings in truth.lab["limits"].items():
        if truth.fix and not limiter:
            continue  # with the fix done it is hardly met
        if kind in wanted_kinds(truth) and not _same(kind, settings, limiter):
            what = {name: limiter.get(name) for name in ("kind", "value", "window_s", "refill_s") if limiter.get(name) is not None}
            report.problems.append(f"limiter: {what or 'none'}, expected {kind} {dict(settings)}")


FEW = 5  #: refusals; with fewer nothing is claimed
RATIO = 0.15


def wanted_kinds(truth: Truth) -> set[str]:
    """Kinds of limiter that the recording should show: those that refused at least FEW."""
    counts = Counter(str(each["refused"]) for each in truth.requests if each["refused"])
    return {kind for kind, n in counts.items() if n >= FEW and n == max(counts.values())}


def _same(kind: str, settings: Mapping[str, Any], limiter: Mapping[str, Any]) -> bool:
    if limiter.get("kind") != kind:
        return False
    if kind == "concurrency":
        return bool(limiter["value"] == settings["limit"])
    if kind == "rate" and settings.get("window") == "bucket":
        return bool(abs((limiter["refill_s"] or 0) - settings["window_s"]) <= RATIO * settings["window_s"])
    if kind == "rate":
        per_s = (limiter["value"] or 0) / (limiter["window_s"] or 1)
        return bool(abs(per_s - settings["limit"] / settings["window_s"]) <= RATIO * settings["limit"] / settings["window_s"])
    return True


def fractions(truth: Truth) -> dict[str, float]:
    """Share of the VM's refusals that would not have happened without each cause, from what the provider counted at each.

    A request that is counted though its program has broken it off was under way when the user broke off, as the journal of what was typed tells.
    """
    refusals = [r for r in truth.requests if r["refused"] and side_of(r) == "vm"]
    if not refusals:
        return {}
    limit = int((truth.lab["limits"].get("concurrency") or {}).get("limit", 0))
    by_number = {r["request"]: r for r in truth.requests}
    aborts = [int(e["ns"]) for e in truth.of("vm", "abort")]
    over_time = {"rate": "own-rate", "quota": "own-rate", "overload": "provider"}
    hits = Counter[str]()
    for refusal in refusals:
        if refusal["refused"] in over_time:
            hits[over_time[refusal["refused"]]] += 1
            continue
        held = [by_number[number] for number in refusal["others"]]
        foreign = [side_of(each) == "host" for each in held]
        over = [any(each["ns"] < ns <= refusal["ns"] for ns in aborts) for each in held]
        hits["same-nat-ip"] += foreign.count(False) < limit
        hits["keep-alive"] += over.count(False) < limit
        hits["own-concurrency"] += sum(not a and not b for a, b in zip(foreign, over, strict=True)) >= limit
    names = ("same-nat-ip", "keep-alive", "own-concurrency", "own-rate", "provider")
    return {name: round(hits[name] / len(refusals), 3) for name in names}
