"""The label of every request, held against what the provider did with it: with the programs' logs, and without.

A request that was refused and is called accepted, or the other way round, is a disagreement; one of which netlens says that it does not know is counted.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.lab.check.report import Report
    from netlens.lab.check.truth import Event, Truth

NEAR_NS = 500_000_000  #: from a request's last byte at the host to the provider's having it; milliseconds, more on a busy machine
LOGS = "*-errors.log"


def check_labels(report: Report, truth: Truth) -> None:
    """Count labels, right ones and unknown ones, with all that lies in the recording and without its logs."""
    from netlens import analyze
    from netlens.chains.situation import ACCEPTED, REJECTED

    for how in ("with logs", "without logs"):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "recording")
            shutil.copytree(truth.recording, copy, ignore=shutil.ignore_patterns(*(() if how == "with logs" else (LOGS,))))
            found = matched(analyze(str(copy)), truth)
        said: Counter[str] = Counter()
        for label, event in found:
            true = REJECTED if event["refused"] else ACCEPTED
            said["right" if label == true else "wrong" if label in (ACCEPTED, REJECTED) else "unknown"] += 1
            if label == ACCEPTED and event["refused"]:
                report.problems.append(f"labels {how}: request {event['name']} is called accepted, and was refused ({event['refused']})")
            elif label == REJECTED and not event["refused"]:
                report.problems.append(f"labels {how}: request {event['name']} is called refused, and was accepted")
        report.labels[how] = {name: said[name] for name in ("right", "unknown", "wrong")}


def matched(analysis: Analysis, truth: Truth) -> list[tuple[int, Event]]:
    """Each label with the provider's own entry of the request: of the same connection, the nearest in time."""
    from netlens.chains.requests import UPSTREAM

    traffic = analysis.assembled
    up, requests = traffic.upstream, traffic.situation.requests
    way = {s["session_id"]: (s["orig_port"], s["resp_ip"]) for s in up.sessions.records()}
    session = up.exchanges["session_id"]
    by_way: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for event in truth.requests:
        accept = truth.accepts[event["connection"]]
        if accept["to_ip"] in truth.api_ips and accept["to_port"] == 443:
            by_way.setdefault((accept["port"], accept["to_ip"]), []).append(dict(event))
    out: list[tuple[int, Event]] = []
    taken: set[Any] = set()
    for row in np.argsort(requests.start_ns, kind="stable").tolist():
        exchange = int(traffic.rows[row, UPSTREAM])
        if exchange < 0:
            continue
        near = [e for e in by_way.get(way[int(session[exchange])], ()) if e["request"] not in taken]
        if not near:
            continue
        event = min(near, key=lambda e: abs(int(e["ns"]) - int(requests.start_ns[row])))
        if abs(int(event["ns"]) - int(requests.start_ns[row])) <= NEAR_NS:
            taken.add(event["request"])
            out.append((int(requests.rejected[row]), event))
    return out
