"""Situations from what the laboratory's parts wrote down themselves, without a packet: the truth that predictions are held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from netlens.chains.situation import ACCEPTED, COMPANION, HOST, LOOKUPS, REJECTED, REQUESTS, VM, Requests, Sessions, Situation

CAPTURES = Path(__file__).parents[3] / "captures"


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def situation(name: str) -> Situation:
    """The situation of a recording of the laboratory with clocks that agree."""
    folder = CAPTURES / name
    provider = _events(folder / "provider.jsonl")
    done: dict[str, int] = {}
    closed: dict[str, int] = {}
    carried: dict[str, str] = {}
    for side in ("vm", "host"):
        for e in _events(folder / f"{side}-program.jsonl"):
            if e["event"] == "done":
                done[e["request"]] = e["ns"]
            elif e["event"] == "request":
                carried[e["request"]] = e["connection"]
            elif e["event"] == "close":
                closed[e["connection"]] = e["ns"]
    end = max(e["ns"] for e in provider) + 1
    sessions: dict[int, dict[str, Any]] = {}
    requests: dict[int, dict[str, Any]] = {}
    for e in provider:
        k = e.get("connection")
        if e["event"] == "accept":
            sessions[k] = {"start": e["ns"], "end": end, "done": None, "to": e["to_port"], "side": None, "fins": set()}
        elif e["event"] == "reset":
            sessions[k]["end"] = min(sessions[k]["end"], e["ns"])
        elif e["event"] in ("fin_in", "fin_out"):
            sessions[k]["fins"].add(e["event"])
            if len(sessions[k]["fins"]) == 2:
                sessions[k]["end"] = min(sessions[k]["end"], e["ns"])
        elif e["event"] == "request":
            side = VM if e["name"].startswith("vm") else HOST
            sessions[k]["side"] = side
            sessions[k]["done"] = closed.get(carried.get(e["name"], ""))
            refused = REJECTED if e["refused"] else ACCEPTED
            requests[e["request"]] = {"side": side, "session": k, "start": e["ns"], "name": e["name"], "refused": refused, "end": None}
        elif e["event"] == "done" and e["request"] in requests:
            requests[e["request"]]["end"] = e["ns"]
    lookups = {e["port"] for e in provider if e["event"] == "lookup" and e["transport"] == "tcp"}
    rows = {k: row for row, k in enumerate(sessions)}
    kinds, owner, last = [], [], -1
    for k, s in sessions.items():
        looks = s["to"] == 53 and bool(lookups)
        kind = REQUESTS if s["side"] is not None else LOOKUPS if looks else COMPANION
        last = rows[k] if kind == REQUESTS else last
        kinds.append(kind)
        owner.append(last if kind == COMPANION else rows[k])

    def ints(values: Any) -> Any:
        return np.array(list(values), np.int64)

    q = sorted(requests.values(), key=lambda r: r["start"])
    n, m = len(q), len(sessions)
    r_end = ints(r["end"] if r["end"] is not None else sessions[r["session"]]["end"] for r in q)
    r_done = np.minimum(ints(done.get(r["name"], r["end"] or end) for r in q), r_end)
    s_end = ints(s["end"] for s in sessions.values())
    s_done = np.minimum(ints(s["done"] or s["end"] for s in sessions.values()), s_end)
    return Situation(
        Requests(
            np.array([r["side"] for r in q], np.int8),
            ints(rows[r["session"]] for r in q),
            ints(r["start"] for r in q),
            r_end,
            r_done,
            np.array([r["refused"] for r in q], np.int8),
            np.array(["error log"] * n, object),
            ints([-1] * n) if not name.startswith("http2") else ints(range(n)),
            ints([0] * n),
            ints([0] * n),
        ),
        Sessions(
            np.array([VM if s["side"] is None else s["side"] for s in sessions.values()], np.int8),
            ints(s["start"] for s in sessions.values()),
            s_end,
            s_done,
            ints(owner),
            np.array(kinds, np.int8),
            ints([0] * m),
            ints([0] * m),
        ),
        vm_seen=True,
        host_seen=True,
        egress_seen=True,
        capture_ns=(min(e["ns"] for e in provider), end),
    )
