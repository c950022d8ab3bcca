"""The scenario's claims, held against the truth: who was refused, how often, and because of what."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from netlens import logs, sidefiles
from netlens.lab.check.truth import SIDES, Event, Truth, side_of
from netlens.lab.topology import OTHER_VM
from netlens.parsers import errorlog

if TYPE_CHECKING:
    from netlens.lab.check.report import Report


HELD = ("same-nat-ip", "multiplexing", "dns", "keep-alive")  #: what a place may be held by, beside the VM's own work
TOLD = (*HELD, "own-concurrency", "own-rate", "provider")  #: causes that the provider's log tells; of others a scenario's word is taken


def check_story(report: Report, truth: Truth) -> None:
    refused = Counter(side_of(request) for request in truth.requests if request["refused"])
    report.refused = {side: refused[side] for side in SIDES if side in ("vm", "host") or refused[side]}
    others = refused.total() - refused["vm"]
    sides = "both" if refused["vm"] and others else "vm" if refused["vm"] else "host" if others else "none"
    if sides != truth.expect["rejections"] and not truth.fix:
        report.problems.append(f"refused: {sides}, expected {truth.expect['rejections']}")
    for side in report.refused:
        seen = sum(bool(e["refused"]) for e in truth.of(side, "done"))
        report.count(f"{side} refusals in the program's journal", seen, refused[side])
        if side == OTHER_VM:
            continue  # nobody has its log
        log = sidefiles.Lines(truth.recording / f"{side}-errors.log", errorlog.MAX_LINES, logs.MAX_LINE, "the error log")
        if side not in truth.lab.get("unlogged", ()):
            report.count(f"{side} refusals in the error log", sum(b"ERROR" in line for line in log), seen)
    for problem in [event for side in SIDES for event in truth.of(side, "problem")]:
        report.problems.append(f"the program had trouble: {problem['text']}")
    report.fractions = fractions(truth)
    found = {cause for cause, share in report.fractions.items() if share >= 0.5}
    expected = set(truth.expect["causes"]) & set(TOLD)
    if found != expected and not truth.fix:
        report.problems.append(f"causes by the provider's log: {sorted(found)}, expected {sorted(expected)}")


def fractions(truth: Truth) -> dict[str, float]:
    """Share of the VM's refusals that would not have happened without each cause, from what the provider counted at each."""
    refusals = [r for r in truth.requests if r["refused"] and side_of(r) == "vm"]
    if not refusals:
        return {}
    by_request = {r["request"]: r for r in truth.requests}
    by_connection: dict[int, list[Event]] = defaultdict(list)
    for request in truth.requests:
        by_connection[request["connection"]].append(request)
    program_done = truth.received

    def causes(number: int, ns: int) -> set[str]:
        """What a held place is due to, beside the VM's own work."""
        if truth.lab["counts"] == "requests":
            request = by_request[number]
            done = program_done.get(request["name"])
            over = done is not None and done["ns"] <= ns  # broken off, or given back late
            return {"same-nat-ip"} if side_of(request) != "vm" else {"keep-alive"} if over else set()
        if truth.accepts[number]["to_port"] == 53:
            return {"dns"}
        carried = by_connection.get(number)
        if not carried:
            return {"multiplexing"}
        if side_of(carried[0]) != "vm":
            return {"same-nat-ip"}
        earlier = [r for r in carried if r["ns"] <= ns]
        over = bool(earlier) and all((done := program_done.get(r["name"])) is not None and done["ns"] <= ns for r in earlier)
        return {"keep-alive"} if over else set()

    hits = Counter[str]()
    for refusal in refusals:
        if refusal["refused"] == "overload":
            hits["provider"] += 1
            continue
        if refusal.get("alone") is not None:  # by what was sent over time
            hits["own-rate" if refusal["alone"] else "same-nat-ip"] += 1
            continue
        limit = refusal.get("limit") or truth.expect.get("limit", 0)
        held = [causes(number, refusal["ns"]) for number in refusal["others"]]
        hits["own-concurrency"] += sum(not each for each in held) >= limit
        for name in HELD:
            hits[name] += sum(name not in each for each in held) < limit
    return {name: round(hits[name] / len(refusals), 3) for name in TOLD}
