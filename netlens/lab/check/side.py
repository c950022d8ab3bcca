"""Connections, exchanges and lookups of one side's capture, held against the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netlens import sidefiles
from netlens.lab.check.report import TOLERANCE_NS, Report
from netlens.lab.check.truth import SIDES, Event, Span, Truth, side_of
from netlens.lab.topology import NAMESERVER_IP, OTHER_SITE_IP

LOOPBACK = "127.0.0.1"


class Side:
    def __init__(self, report: Report, truth: Truth, side: str) -> None:
        from netlens import read

        self.report, self.truth, self.side = report, truth, side
        path = truth.result(side).path
        sidefiles.refuse_special(str(path))
        capture = read(path)
        # proxies among them
        sites = {*truth.api_ips, OTHER_SITE_IP, NAMESERVER_IP, *(str(e["ip"]) for e in (truth.of("vm", "connect") if side == "vm" else ()))}
        self.sessions = {row["session_id"]: row for row in capture.table("sessions").records()}
        rows = [row for row in capture.table("connections").records() if row["resp_ip"] in sites and row["resp_port"] != 22]
        # What is redirected on the host stays there: its proxy's own connections leave.
        self.connections = [
            row for row in rows if side == "vm" or not any(self.sessions[n]["resp_ip"] == LOOPBACK for n in row["session_ids"])
        ]
        self.lookups = [row for row in capture.table("lookups").records() if row["transport"] != "mdns"]
        self.exchanges: dict[int, list[dict[str, Any]]] = {}
        by_session: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in capture.table("exchanges").records():
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
            # one port may lead to two of the provider's, and is used again later
            way = (row["nat_port"] or row["orig_port"], row["resp_ip"], row["resp_port"])
            last = self.truth.recorded("vm")[1] if row["end_ns"] is None else row["end_ns"]
            theirs = [a for a in self.truth.accepts.values() if (a["port"], a["to_ip"], a["to_port"]) == way]
            accept = next((a for a in reversed(theirs) if self.truth.shown("vm", a["ns"]) <= last), None)
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
            if row["resp_port"] == 53:  # lookups over TCP are turns too, and no requests
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
                # A relay may send on a record in two segments, of which the server can read none before it has both.
                first: Span = (sent["ns"], served["first_ns"])
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
        return self.truth.tunnelled and side_of(served) == "vm"

    # --- lookups

    def _check_lookups(self) -> None:
        """Names and types with their times, in order of time; the type of what a program asks is not in its journal, so both are expected."""
        true: list[tuple[str, str, Span]] = []
        if self.side == "host":
            asked = sorted((e["ns"], e["name"]) for side in SIDES for e in self.truth.of(side, "lookup"))
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
        if self.side == "vm" and self.truth.fix and true:  # sshuttle looks up what it excludes, before any program is started
            begun = min(each[2][0] for each in true) - TOLERANCE_NS
            found = [each for each in found if each[2] >= begun]
        self.report.count(f"{self.side} lookups", len(found), len(true))
        if [each[:2] for each in found] == [each[:2] for each in true]:
            for one, other in zip(found, true, strict=True):
                self.report.time(f"{self.side} lookup start", one[2], other[2], f"{one[0]} {one[1]}")
