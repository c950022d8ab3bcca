"""What one capture says: its target, peaks, lookups, tails and quality; and what it cannot say.

All numbers are of the tables; every peak cites the frames that open its members.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.analysis import hypotheses, overlap, target
from netlens.errors import NetlensError

if TYPE_CHECKING:
    from netlens.api import Capture
    from netlens.schema import Table

TAIL_S = 1.0  #: a half-closed session that received for longer than this is told of; orderly closes take a round trip


@dataclass(frozen=True)
class PeakFacts:
    """A peak and the frames that make it."""

    count: int
    from_ns: int
    to_ns: int
    frames: list[int]


@dataclass(frozen=True)
class Analysis:
    """The findings of one capture. ``capture`` holds the tables; ``to_dict`` is the JSON of ``netlens analyze``."""

    capture: Capture
    target: target.Target
    vantage: str | None
    connections: PeakFacts
    in_flight: PeakFacts
    tails: list[dict[str, Any]]
    paths: dict[str, int]
    verdicts: list[hypotheses.Verdict]
    notes: list[str]
    requests: np.ndarray[Any, Any]  # bool per exchange: to the target, of NAT copies one

    def to_dict(self) -> dict[str, Any]:
        c = self.capture
        part = c.part
        rejected = c.table("exchanges")["rejected"][self.requests]
        peak = self.connections
        return {
            "inputs": [
                {
                    "path": i.path,
                    "container": i.container,
                    "frames": i.frames,
                    "bytes": i.bytes,
                    "snaplen": i.snaplen,
                    "link_types": i.link_types,
                    "vantage": self.vantage,
                    "warnings": i.warnings,
                }
                for i in part.inputs
            ],
            "quality": {
                "first_ns": part.first_ns,
                "last_ns": part.last_ns,
                "reasons": list(c.table("quality").records()),
                "notes": self.notes,
            },
            "clock": None,
            "target": {
                "names": self.target.names,
                "addresses": self.target.addresses,
                "guessed": self.target.guessed,
                "why": self.target.why,
            },
            "counts": {
                "sessions": c.table("sessions").rows,
                "connections": int(self.target.rows.sum()),
                "lookups": c.table("lookups").rows,
                "exchanges": int(self.requests.sum()),
                "rejections": sum(1 for r in rejected.tolist() if r),
            },
            "peaks": {
                "vm": peak.count if self.vantage == "vm" else None,
                "host": peak.count if self.vantage == "host" else None,
                "combined": None,
                "capture": {"connections": _peak_dict(peak), "in_flight": _peak_dict(self.in_flight)},
            },
            "paths": self.paths,
            "tails": self.tails,
            "limit": None,
            "hypotheses": [
                {
                    "id": v.id,
                    "verdict": v.verdict,
                    "attributable_fraction": v.attributable_fraction,
                    "p": v.p,
                    "evidence": v.evidence,
                    "needs": v.needs,
                    "cause": v.cause,
                    "claim": v.claim,
                }
                for v in self.verdicts
            ],
            "cause": None,
            "fixes": [],
        }


def _peak_dict(peak: PeakFacts) -> dict[str, Any]:
    return {"count": peak.count, "from_ns": peak.from_ns, "to_ns": peak.to_ns, "frames": peak.frames}


def _to_target(exchanges: Table, connections: Table) -> np.ndarray[Any, Any]:
    """Which exchanges belong to ``connections`` (one of each NAT copy pair)."""
    mask = np.zeros(exchanges.rows, dtype=bool)
    mask[overlap.exchange_intervals(exchanges, None, connections).rows] = True
    return mask & (overlap.owner_rows(exchanges, connections) >= 0)


def analyze(capture: Capture, apis: Iterable[str] = (), vantage: str | None = None) -> Analysis:
    """Findings of one capture.

    Parameters
    ----------
    capture : with all tables. apis : names or addresses (or one) of the server in question; guessed if empty.
    vantage : "vm" or "host" where it is known; inferred otherwise.

    Raises
    ------
    CaptureError, WireError
        the capture cannot be read.
    NetlensError
        a named API is not in it, or ``vantage`` is neither.
    """
    if vantage not in ("vm", "host", None):
        raise NetlensError(f'vantage is {vantage!r}; it is "vm", "host" or None')
    connections, lookups, sessions, exchanges = (capture.table(t) for t in ("connections", "lookups", "sessions", "exchanges"))
    goal = target.choose(connections, lookups, (apis,) if isinstance(apis, str) else tuple(apis))
    chosen = connections.take(np.flatnonzero(goal.rows))
    if vantage is None and connections.rows:
        vantage = connections["vantage"][0]
    bounds = capture.part.bounds_ns
    open_peak = overlap.connections_curve(chosen, bounds).peak() if chosen.rows else None
    requests = _to_target(exchanges, chosen)
    theirs = exchanges.take(np.flatnonzero(requests))
    flight_peak = overlap.exchanges_curve(theirs, sessions, None, bounds).peak() if theirs.rows else None
    paths: dict[str, int] = {}
    for p in chosen["path"].tolist():
        paths[p] = paths.get(p, 0) + 1
    return Analysis(
        capture,
        goal,
        vantage,
        _facts(open_peak, chosen["first_frame"]),
        _facts(flight_peak, theirs["start_frame"]),
        _tails(sessions, chosen),
        paths,
        hypotheses.undecided(vantage),
        _notes(capture, chosen),
        requests,
    )


def _facts(peak: overlap.Peak | None, frames: np.ndarray[Any, Any]) -> PeakFacts:
    if peak is None:
        return PeakFacts(0, 0, 0, [])
    return PeakFacts(peak.count, peak.from_ns, peak.to_ns, sorted(int(f) for f in frames[peak.members]))


def _tails(sessions: Table, connections: Table) -> list[dict[str, Any]]:
    """Connections of the target that went on receiving after the program had closed its side; ``session_id``: the one that received.

    Of a redirected connection the FIN stands in one half and the payload in the other, so that the bytes after it are not known (None).
    """
    out = []
    for row, ids in enumerate(connections["session_ids"].tolist()):
        fins = [(int(t), k) for k in ids if (t := sessions["orig_fin_ns"][k]) is not None]
        lasts = [(int(t), k) for k in ids if (t := sessions["resp_last_payload_ns"][k]) is not None]
        if not fins or not lasts:
            continue
        (fin, _), (last, receiver) = min(fins), max(lasts)
        if (last - fin) / 1e9 > TAIL_S:
            known = sessions["orig_fin_ns"][receiver] is not None
            out.append(
                {
                    "connection_id": int(connections["connection_id"][row]),
                    "session_id": receiver,
                    "tail_s": (last - fin) / 1e9,
                    "bytes": int(sessions["resp_bytes_after_fin"][receiver]) if known else None,
                    "frames": [int(connections["first_frame"][row]), int(connections["last_frame"][row])],
                }
            )
    return out


def _notes(capture: Capture, connections: Table) -> list[str]:
    """Sentences that must precede any conclusion."""
    notes = []
    sessions, hellos = capture.table("sessions"), capture.table("hellos")
    missing = int(sessions["orig_missing_bytes"].sum() + sessions["resp_missing_bytes"].sum())
    every = capture.table("connections")
    redirected = zip(every["session_ids"].tolist(), every["redirect_port"].tolist(), strict=True)
    halves = {k for ids, port in redirected if port is not None for k in ids}
    whole = np.array([k not in halves for k in range(sessions.rows)], dtype=bool)
    two_way = whole & (sessions["orig_frames"] > 0) & (sessions["resp_frames"] > 0)
    lost = int(sessions["orig_missing_bytes"][two_way].sum() + sessions["resp_missing_bytes"][two_way].sum())
    if lost:
        share = lost / max(int(sessions["orig_bytes"].sum() + sessions["resp_bytes"].sum()) + lost, 1)
        notes.append(
            f"the capture lacks {lost:,} bytes that were acknowledged ({share:.1%} of the payload): capture loss, counts may be low"
        )
    elif missing and not halves and not two_way.any():
        notes.append("one direction of the traffic is not in the capture")
    reasons = dict(zip(capture.table("quality")["reason"].tolist(), capture.table("quality")["frames"].tolist(), strict=True))
    if reasons.get("cut_payload"):
        notes.append(f"the snaplen cut the payload of {reasons['cut_payload']:,} frames; server names and lookups in them may be missing")
    if reasons.get("link_type"):
        notes.append(f"{reasons['link_type']:,} frames are of a link type that netlens does not read")
    if reasons.get("quic_initial"):
        notes.append(f"{reasons['quic_initial']:,} QUIC Initial packets: requests over QUIC are not seen")
    before = int(connections["started_before_capture"].sum())
    if before:
        notes.append(f"{before:,} of the connections were open before the capture began")
    h2 = {k for k, alpn in zip(hellos["session_id"].tolist(), hellos["alpn"].tolist(), strict=True) if "h2" in (alpn or ())}
    offered = sum(1 for ids in connections["session_ids"].tolist() if h2.intersection(ids))
    if offered:
        notes.append(f"HTTP/2 was offered on {offered:,} connections: requests cannot be told by turn-taking there")
    return notes


def both_sides(sides: dict[str, Analysis]) -> dict[str, Any]:
    """The JSON of a recording of two sides, each analysed by itself.

    Counts are those of the VM, whose program is in question; ``sides`` has the findings of both. What needs both at once (clock, combined
    peak, limit, causes) is null or undecided: the sides are not paired yet.
    """
    found = {side: a.to_dict() for side, a in sides.items()}
    top = dict(found.get("vm") or next(iter(found.values())))
    top["inputs"] = [i for one in found.values() for i in one["inputs"]]
    names, addresses = (sorted({n for one in found.values() for n in one["target"][key]}) for key in ("names", "addresses"))
    top["target"] = {**top["target"], "names": names, "addresses": addresses}
    top["peaks"] = {
        "vm": found["vm"]["peaks"]["vm"] if "vm" in found else None,
        "host": found["host"]["peaks"]["host"] if "host" in found else None,
        "combined": None,
    }
    top["hypotheses"] = [
        {**h, "needs": "the two sides paired on one clock, which this version does not do yet" if len(found) > 1 else h["needs"]}
        for h in top["hypotheses"]
    ]
    top["sides"] = found
    return top
