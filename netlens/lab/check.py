"""Holds what netlens reads in a lab recording against what the provider and the programs wrote down.

Counts must agree exactly, times within ``TOLERANCE_NS``, after the known clock of the VM. Compared are

- host: connections to the provider's network with what it accepted (start, end), exchanges with its requests, lookups with its name server's;
- vm: connections, exchanges and lookups with what the VM's programs did; where no tunnel is between, ends with the provider's too;
- error logs: one refusal in them for each that the programs saw;
- the scenario itself: who was refused, and which causes the provider's own log shows (``fractions``).

A program notes a time before or after the packet, and on a busy machine it runs late now and then (90 ms were seen). So where both ends
of a request are known, the truth is a span: not before the sender began, not after the receiver had it. Such spans are below a millisecond
nearly always; ``widest_ms`` tells the widest.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netlens import logs, sidefiles
from netlens.capture.recording import Manifest, read_manifest
from netlens.errors import NetlensError
from netlens.lab import journal
from netlens.lab.opencode_log import Skew
from netlens.lab.topology import NAMESERVER_IP, OTHER_SITE_IP, PROVIDER_IP
from netlens.parsers import errorlog
from netlens.text import printable

TOLERANCE_NS = 5_000_000
_SITES = (PROVIDER_IP, OTHER_SITE_IP, NAMESERVER_IP)

Event = Mapping[str, Any]
Span = tuple[int, int]  #: not before, not after


@dataclass
class Report:
    """What one recording was found to be.

    counts : what was compared -> (netlens, truth).  worst_ms : what was compared -> largest distance of a time from the true span.
    widest_ms : the widest true span.
    fractions : share of the VM's refusals that would not have happened without each cause, from the provider's own log.
    problems : one line for each disagreement; empty if all is well.
    """

    recording: str
    scenario: str
    refused: dict[str, int] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    worst_ms: dict[str, float] = field(default_factory=dict)
    widest_ms: float = 0.0
    fractions: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, what: str, found: int, truth: int) -> None:
        self.counts[what] = (found, truth)
        if found != truth:
            self.problems.append(f"{what}: {found} found, {truth} true")

    def time(self, what: str, found_ns: int | None, truth: Span | None, name: str) -> None:
        """Compare a time; one that is missing on either side is a disagreement."""
        if found_ns is None or truth is None:
            if found_ns is not None or truth is not None:
                self.problems.append(f"{what} of {name}: {found_ns} found, {truth} true")
            return
        low, high = min(truth), max(truth)
        difference = found_ns - low if found_ns < low else max(found_ns - high, 0)
        self.widest_ms = max(self.widest_ms, round((high - low) / 1e6, 3))
        self.worst_ms[what] = max(self.worst_ms.get(what, 0.0), round(abs(difference) / 1e6, 3))
        if abs(difference) > TOLERANCE_NS:
            self.problems.append(f"{what} of {name}: {difference / 1e6:+.1f} ms")


def bundled(folder: Path) -> list[Path]:
    """The lab recordings under a folder."""
    found = [path.parent for path in sorted(folder.glob("*/manifest.toml")) if (path.parent / "provider.jsonl").is_file()]
    if not found:
        raise NetlensError(f"{folder}: no lab recording is here; make one with: sudo netlens lab run SCENARIO")
    return found


def check(recording: Path) -> Report:
    """Compare one recording; disagreements are in the report, NetlensError is raised only if it cannot be read."""
    try:
        truth = Truth(recording)
        report = Report(str(recording), truth.scenario)
        _check_story(report, truth)
        for side in ("host", "vm"):
            _Side(report, truth, side).check()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What the laboratory wrote has every value that is asked for; in what another wrote any of some hundred may be missing or of another kind.
        raise NetlensError(
            f"{printable(str(recording))}: not a recording of the laboratory, or changed since ({type(error).__name__}: {printable(str(error))[:80]})"
        ) from error
    return report


class Truth:
    """The logs of a recording, joined."""

    def __init__(self, recording: Path) -> None:
        self.recording = recording
        self.manifest: Manifest = read_manifest(recording)
        lab = self.manifest.extra.get("lab")
        if not isinstance(lab, dict):
            raise NetlensError(f"{recording}: not a recording of the laboratory")
        self.lab: dict[str, Any] = lab
        self.scenario = str(lab["scenario"])
        self.expect: dict[str, Any] = lab["expect"]
        self.tunnelled = lab["path"] == "sshuttle" and not lab["exclude_api"]
        self.http2 = lab["http"] == "2"
        clock = lab["clock"]
        self.skew = Skew(clock["offset_s"], clock["drift_ppm"], clock["at_ns"])
        self.provider = list(journal.read(recording / "provider.jsonl"))
        self.programs = {side: list(journal.read(recording / f"{side}-program.jsonl")) for side in ("vm", "host")}
        self.accepts = {e["connection"]: e for e in self.provider if e["event"] == "accept"}
        self.ended_by_program: set[int] = set()  # by a reset, out of the blue; else the provider's own FIN or write has a part in it
        self.ends = self._ends()
        self.requests = [e for e in self.provider if e["event"] == "request"]
        self.done = {e["request"]: e for e in self.provider if e["event"] == "done"}
        # The programs' side of everything, by their own names.
        both = [*self.programs["vm"], *self.programs["host"]]
        self.sent = {e["request"]: e for e in both if e["event"] == "request"}
        self.received = {e["request"]: e for e in both if e["event"] == "done"}
        self.served = {e["name"]: e for e in self.requests}
        self.opened = {e["connection"]: e for e in both if e["event"] == "connect"}
        self.closed = {e["connection"]: e for e in both if e["event"] == "close"}
        #: the provider's number of a connection -> the program's name of it, where no tunnel is between them
        self.direct = {r["connection"]: self.sent[r["name"]]["connection"] for r in self.requests if r["name"] in self.sent}
        if self.tunnelled:
            self.direct = {number: name for number, name in self.direct.items() if name.startswith("host-")}

    def _ends(self) -> dict[int, int]:
        """When each connection was over: the first reset, or the later FIN."""
        seen: dict[int, dict[str, int]] = defaultdict(dict)
        for event in self.provider:
            if event["event"] in ("fin_in", "fin_out", "reset"):
                seen[event["connection"]].setdefault(event["event"], event["ns"])
        ends = {}
        for number, times in seen.items():
            fins = max(times["fin_in"], times["fin_out"]) if "fin_in" in times and "fin_out" in times else None
            candidates = [ns for ns in (times.get("reset"), fins) if ns is not None]
            if candidates:
                ends[number] = min(candidates)
                if all(ns >= ends[number] for ns in times.values()):
                    self.ended_by_program.add(number)
        return ends

    def of(self, side: str, event: str) -> list[Event]:
        return [e for e in self.programs[side] if e["event"] == event]

    def shown(self, side: str, ns: int) -> int:
        """A true time as the clock of a side showed it."""
        return self.skew.shown(ns) if side == "vm" else ns

    def recorded(self, side: str) -> tuple[int, int]:
        """When the recording of a side began and ended, by its own clock."""
        result = self.manifest.side(side)
        if result is None:
            raise NetlensError(f"{printable(str(self.recording))}: the {side} was not recorded")
        return result.started_ns, result.stopped_ns


# --- the scenario -----------------------------------------------------------------------------------------------------------------------


def _check_story(report: Report, truth: Truth) -> None:
    refused = Counter(_side_of(request) for request in truth.requests if request["refused"])
    report.refused = {side: refused[side] for side in ("vm", "host")}
    sides = "both" if refused["vm"] and refused["host"] else "vm" if refused["vm"] else "host" if refused["host"] else "none"
    if sides != truth.expect["rejections"]:
        report.problems.append(f"refused: {sides}, expected {truth.expect['rejections']}")
    for side in ("vm", "host"):
        seen = sum(bool(e["refused"]) for e in truth.of(side, "done"))
        report.count(f"{side} refusals in the program's journal", seen, refused[side])
        log = sidefiles.Lines(truth.recording / f"{side}-errors.log", errorlog.MAX_LINES, logs.MAX_LINE, "the error log")
        report.count(f"{side} refusals in the error log", sum(b"ERROR" in line for line in log), seen)
    for problem in [*truth.of("vm", "problem"), *truth.of("host", "problem")]:
        report.problems.append(f"the program had trouble: {problem['text']}")
    report.fractions = fractions(truth)
    found = {cause for cause, share in report.fractions.items() if share >= 0.5}
    if found != set(truth.expect["causes"]):
        report.problems.append(f"causes by the provider's log: {sorted(found)}, expected {sorted(truth.expect['causes'])}")


def _side_of(request: Event) -> str:
    return str(request["name"]).partition("-")[0]


def fractions(truth: Truth) -> dict[str, float]:
    """Share of the VM's refusals that would not have happened without each cause, from what the provider counted at each."""
    refusals = [r for r in truth.requests if r["refused"] and _side_of(r) == "vm"]
    if not refusals:
        return {}
    limit = truth.expect.get("limit", 0)
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
            over = done is not None and done["how"] == "broken off" and done["ns"] <= ns
            return {"same-nat-ip"} if _side_of(request) == "host" else {"keep-alive"} if over else set()
        if truth.accepts[number]["to_port"] == 53:
            return {"dns"}
        carried = by_connection.get(number)
        if not carried:
            return {"multiplexing"}
        if _side_of(carried[0]) == "host":
            return {"same-nat-ip"}
        earlier = [r for r in carried if r["ns"] <= ns]
        over = bool(earlier) and all((done := program_done.get(r["name"])) is not None and done["ns"] <= ns for r in earlier)
        return {"keep-alive"} if over else set()

    names = ("same-nat-ip", "multiplexing", "dns", "keep-alive")
    hits = Counter[str]()
    for refusal in refusals:
        if refusal["refused"] == "overload":
            hits["provider"] += 1
            continue
        held = [causes(number, refusal["ns"]) for number in refusal["others"]]
        hits["own-concurrency"] += sum(not each for each in held) >= limit
        for name in names:
            hits[name] += sum(name not in each for each in held) < limit
    return {name: round(hits[name] / len(refusals), 3) for name in (*names, "own-concurrency", "provider")}


# --- one side's capture -----------------------------------------------------------------------------------------------------------------


class _Side:
    def __init__(self, report: Report, truth: Truth, side: str) -> None:
        from netlens import read

        self.report, self.truth, self.side = report, truth, side
        result = truth.manifest.side(side)
        if result is None:
            raise NetlensError(f"{printable(str(truth.recording))}: the {side} was not recorded")
        sidefiles.refuse_special(str(result.path))
        capture = read(result.path)
        self.connections = _rows(capture.connections, lambda row: row["resp_ip"] in _SITES)
        self.lookups = _rows(capture.lookups, lambda row: row["transport"] != "mdns")
        self.sessions = {row["session_id"]: row for row in _rows(capture.sessions)}
        self.exchanges: dict[int, list[dict[str, Any]]] = {}
        by_session: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in _rows(capture.exchanges):
            by_session[row["session_id"]].append(row)
        for row in self.connections:
            # Where translation shows a connection twice, each copy has its exchanges: the later copy is the one the provider sees.
            carriers = [session for session in row["session_ids"] if session in by_session]
            self.exchanges[row["connection_id"]] = by_session[carriers[-1]] if carriers else []
        self.began, self.ended = truth.recorded(side)
        self._closes: dict[str, int] = {e["connection"]: e["ns"] for e in truth.of("vm", "close")}

    def check(self) -> None:
        true = self._seen_by_provider() if self.side == "host" else self._opened_here()
        pairs = self._pair(true)
        for row, event in pairs:
            self._connection(row, event)
        if not self.truth.http2:
            self._check_exchanges(pairs)
        self._check_lookups()

    # --- connections

    def _seen_by_provider(self) -> list[Event]:
        return [e for n, e in self.truth.accepts.items() if self.truth.ends.get(n, self.ended) >= self.began]

    def _opened_here(self) -> list[Event]:
        connects = self.truth.of("vm", "connect")
        return [e for e in connects if self.truth.shown("vm", self._closes.get(str(e["connection"]), int(e["ns"]))) >= self.began]

    def _pair(self, true: Sequence[Event]) -> list[tuple[dict[str, Any], Event]]:
        """Match rows and events by the port that both saw, in order of time where a port was used again."""
        self.report.count(f"{self.side} connections", len(self.connections), len(true))
        rows, events = defaultdict(list), defaultdict(list)
        for row in self.connections:
            port = row["nat_port"] if self.side == "host" and row["nat_port"] is not None else row["orig_port"]
            rows[port, row["resp_ip"], row["resp_port"]].append(row)
        for event in true:
            ip = event["to_ip"] if self.side == "host" else event["ip"]
            events[event["port"], ip, event["to_port"]].append(event)
        for key in sorted(set(rows) ^ set(events)):
            who = "netlens only" if key in rows else "the truth only"
            self.report.problems.append(f"{self.side} connection from port {key[0]} to {key[1]}:{key[2]}: {who}")
        return [pair for key in rows for pair in zip(rows[key], events.get(key, ()), strict=False)]

    def _connection(self, row: Mapping[str, Any], event: Event) -> None:
        name = f"port {event['port']}"
        shown = self.truth.shown(self.side, event["ns"])
        if shown >= self.began:  # older ones have no start here
            begun = shown
            if self.side == "host" and event["connection"] in self.truth.direct:
                begun = self.truth.opened[self.truth.direct[event["connection"]]]["ns"]
            self.report.time(f"{self.side} connection start", row["start_ns"], (begun, shown), name)
        if self.side == "host":
            end = self.truth.ends.get(event["connection"])
            if end is None or end > self.ended:
                if not row["open_at_end"]:
                    self.report.problems.append(f"host connection end of {name}: netlens says closed, the provider open")
            else:
                self.report.time("host connection end", row["end_ns"], (self._closing(event["connection"], end), end), name)
            return
        close = self._closes.get(event["connection"])
        if close is not None:
            # What a program knows is when it was done: its FIN or reset, whatever the tunnel makes of it.
            sessions = [self.sessions[number] for number in row["session_ids"]]
            ends = [ns for each in sessions for ns in (each["orig_fin_ns"], each["rst_ns"]) if ns is not None]
            shown = self.truth.shown("vm", close)
            self.report.time("vm program's end", min(ends, default=None), (shown, shown), name)
        if not self.truth.tunnelled:
            port_and_to = (row["nat_port"] or row["orig_port"], row["resp_port"])  # one port may lead to two of the provider's
            accept = next((a for a in self.truth.accepts.values() if (a["port"], a["to_port"]) == port_and_to), None)
            end = self.truth.ends.get(accept["connection"]) if accept else None
            if end is not None:
                begun = self._closing(accept["connection"], end) if accept else end
                self.report.time("vm connection end", row["end_ns"], (self.truth.shown("vm", begun), self.truth.shown("vm", end)), name)

    def _closing(self, connection: int, end_ns: int) -> int:
        """When the program began to end a connection that the provider saw end, where the program alone did so and no tunnel is between."""
        closed = self.truth.closed.get(self.truth.direct.get(connection, ""))
        return min(int(closed["ns"]), end_ns) if closed and connection in self.truth.ended_by_program else end_ns

    # --- exchanges

    def _check_exchanges(self, pairs: Iterable[tuple[dict[str, Any], Event]]) -> None:
        found_total = true_total = 0
        for row, event in pairs:
            if row["resp_port"] != 443:  # lookups over TCP are turns too, and no requests
                continue
            true = self._true_exchanges(event["connection"])
            found = self.exchanges.get(row["connection_id"], [])
            if self.truth.shown(self.side, event["ns"]) < self.began:
                # An older connection: what went over it before the recording cannot be in it, and what was under way is cut.
                true = [each for each in true if each["first"][0] >= self.began]
                found = [each for each in found if not true or each["start_ns"] >= true[0]["first"][0] - TOLERANCE_NS]
            found_total += len(found)
            true_total += len(true)
            if len(found) != len(true):
                self.report.problems.append(f"{self.side} exchanges of port {event['port']}: {len(found)} found, {len(true)} true")
                continue
            for exchange, each in zip(found, true, strict=True):
                name = f"{each['name']} (port {event['port']})"
                self.report.time(f"{self.side} exchange start", exchange["start_ns"], each["first"], name)
                if each["end"] is not None:
                    self.report.time(f"{self.side} exchange end", exchange["end_ns"], each["end"], name)
        self.report.count(f"{self.side} exchanges", found_total, true_total)

    def _true_exchanges(self, connection: Any) -> list[dict[str, Any]]:
        """Name, spans of the first byte of the request and of the last of the answer by the side's clock; no end where it was broken off."""
        out: list[dict[str, Any]] = []
        if self.side == "host":
            mine: list[tuple[Event | None, Event | None]] = [
                (e, self.truth.sent.get(e["name"])) for e in self.truth.requests if e["connection"] == connection
            ]
        else:
            mine = [(self.truth.served.get(e["request"]), e) for e in self.truth.of("vm", "request") if e["connection"] == connection]
        for served, sent in mine:
            if served is None or sent is None:  # the connection broke in between: the start is known to one of them, an end to none
                ns = self.truth.shown(self.side, int((served or sent or {})["ns"]))
                out.append({"name": "a broken one", "first": (ns, ns), "end": None})
                continue
            done, received = self.truth.done.get(served["request"]), self.truth.received.get(sent["request"])
            complete = done is not None and received is not None and done["how"] == received["how"] == "complete"
            if self.side == "host":
                first: Span = (served["first_ns"], served["first_ns"]) if self._crossed(served) else (sent["ns"], served["first_ns"])
                last = done["ns"] if done and complete else 0
            else:
                first = (self.truth.shown("vm", sent["ns"]), self.truth.shown("vm", sent["sent_ns"]))
                last = received["ns"] if received and complete else 0
            begun = done.get("last_ns", done["ns"]) if done and complete and not self._crossed(served) else last
            end = (self.truth.shown(self.side, begun), self.truth.shown(self.side, last)) if complete else None
            out.append({"name": sent["request"], "first": first, "end": end})
        return out

    def _crossed(self, served: Event) -> bool:
        """Whether a tunnel stands between program and provider; then what one of them knows bounds nothing for the other."""
        return self.truth.tunnelled and _side_of(served) == "vm"

    # --- lookups

    def _check_lookups(self) -> None:
        """Names and types with their times, in order of time; the type of what a program asks is not in its journal, so both are expected."""
        true: list[tuple[str, str, Span]] = []
        if self.side == "host":
            asked = sorted((e["ns"], e["name"]) for side in ("vm", "host") for e in self.truth.of(side, "lookup"))
            for event in self.truth.provider:
                if event["event"] == "lookup":
                    before = [ns for ns, name in asked if ns <= event["ns"] and name == event["name"]]
                    true.append((event["name"], event["type"], (before[-1] if before else event["ns"], event["ns"])))
        else:
            for own in self.truth.of("vm", "lookup"):
                shown = self.truth.shown("vm", own["ns"])
                true += [(own["name"], kind, (shown, shown)) for kind in (("A", "AAAA") if own["transport"] == "udp" else ("A",))]
        true = sorted((each for each in true if each[2][1] >= self.began), key=lambda each: (each[0], each[1], each[2][1]))
        found = sorted((row["qname"], row["qtype"], row["query_ns"]) for row in self.lookups if row["query_ns"] is not None)
        self.report.count(f"{self.side} lookups", len(found), len(true))
        if [each[:2] for each in found] == [each[:2] for each in true]:
            for one, other in zip(found, true, strict=True):
                self.report.time(f"{self.side} lookup start", one[2], other[2], f"{one[0]} {one[1]}")


def _rows(frame: Any, keep: Any = None) -> list[dict[str, Any]]:
    """Rows as dictionaries of plain values, missing ones None."""
    import pandas as pd

    plain = frame.astype(object).where(frame.notna(), None) if len(frame) else frame
    rows = [{str(k): None if v is pd.NA else v for k, v in row.items()} for row in plain.to_dict("records")]
    return [row for row in rows if keep is None or keep(row)]


# --- telling ----------------------------------------------------------------------------------------------------------------------------


def as_json(reports: Sequence[Report]) -> str:
    return json.dumps([asdict(report) for report in reports], indent=1)


def as_text(reports: Sequence[Report]) -> str:
    """A few lines for each recording."""
    lines = []
    for report in reports:
        verdict = "agrees" if not report.problems else f"{len(report.problems)} disagreements"
        lines.append(f"{report.recording} ({report.scenario}): {verdict}")
        refused = ", ".join(f"{count} on the {side}" for side, count in report.refused.items())
        shares = ", ".join(f"{cause} {share:.2f}" for cause, share in report.fractions.items() if share)
        lines.append(f"  refused: {refused}" + (f"; refusals gone without: {shares}" if shares else ""))
        lines.append("  counts: " + ", ".join(f"{what} {found}" for what, (found, true) in report.counts.items() if found == true))
        lines.append("  worst difference in ms: " + ", ".join(f"{what} {worst:g}" for what, worst in report.worst_ms.items()))
        lines[-1] += f"; widest true span {report.widest_ms:g}"
        lines += [f"  ! {problem}" for problem in report.problems]
    return "\n".join(map(printable, lines))
