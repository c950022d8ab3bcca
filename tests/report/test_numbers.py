"""One number, one definition: what text, JSON, page, letter and ``compare`` say of every bundled recording is what its tables give."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rich.console import Console

from netlens.lenses.refused import comparison as compared
from netlens.report import answer, comparison, html, letter, page_data, scene, text, time_budget
from netlens.text import plural
from tests.recordings import NAMES


def at_once(intervals: Iterable[tuple[int, int]]) -> int:
    """Most half-open intervals over one moment, counted one by one."""
    most = now = 0
    for _, step in sorted(event for start, end in intervals if end > start for event in ((start, 1), (end, -1))):  # of one time, ends first
        now += step
        most = max(most, now)
    return most


class Truth:
    """Numbers of a recording, from its tables alone."""

    def __init__(self, a: Any) -> None:
        r = a.requests
        refused = r["rejected"].fillna(False).astype(bool)
        self.requests, self.refused, self.known = len(r), int(refused.sum()), int(r["rejected"].notna().sum())
        up = a.assembled.upstream
        places = a.assembled.rows[:, 0].tolist()
        self.divided = sum(k < 0 or int(up.owner[k]) not in up.shared for k in places)  # turns of HTTP/2 are no requests there
        self.refused_by = {side: int(refused[r["side"] == side].sum()) for side in ("vm", "host", "unknown")}
        held = r[~refused]
        masks = {"vm": held["side"] == "vm", "host": held["side"] == "host", "combined": held["side"].notna()}
        self.in_flight = {who: at_once(zip(held["start_ns"][m], held["end_ns"][m], strict=True)) for who, m in masks.items()}
        s = a.assembled.situation.sessions
        codes = {"vm": s.side == 0, "host": s.side == 1, "combined": s.side == s.side}
        self.open = {who: at_once(zip(s.start_ns[m].tolist(), s.end_ns[m].tolist(), strict=True)) for who, m in codes.items()}
        self.wire_sessions = sum(side.capture.table("sessions").rows for side in a.sides.values())

    def sides(self, a: Any) -> dict[str, tuple[int, int]]:
        """Per capture: connections to the target, and the most of them that were open at once."""
        out = {}
        for name, side in a.sides.items():
            c = side.capture.table("connections")
            rows = side.rows.nonzero()[0]
            out[name] = (len(rows), at_once((int(c["start_ns"][k]), int(c["end_ns"][k])) for k in rows))
        return out


def printed(a: Any, verbose: int = 0) -> str:
    out = io.StringIO()
    text.render(a, Console(file=out, width=1000, color_system=None), verbose)
    return out.getvalue()


def numbers(pattern: str, said: str) -> list[tuple[int, ...]]:
    return [tuple(int(n.replace(",", "")) for n in found.groups()) for found in re.finditer(pattern, said)]


@pytest.mark.parametrize("name", NAMES)
def test_every_output_says_what_the_tables_give(name: str, analysis: Callable[[str], Any]) -> None:
    a = analysis(name)
    true = Truth(a)
    in_json(a, a.to_dict(), true)
    in_text(a, printed(a), printed(a, 2), true)
    in_page(a, true)
    in_letter_and_compare(a, true)


def in_json(a: Any, d: dict[str, Any], true: Truth) -> None:
    if a.assembled.situation.uncountable:
        assert [d["counts"][name] for name in ("exchanges", "rejections", "refused_by_class")] == [None] * 3
        assert {(each["requests"], each["refused"]) for each in d["parties"]} == {(None, None)}
    else:
        assert [(each["requests"], each["refused"]) for each in d["parties"]] == [(p.requests, p.refused) for p in a.parties]
        assert (d["counts"]["exchanges"], d["counts"]["rejections"]) == (true.requests, true.refused)
        assert sum(d["counts"]["refused_by_class"].values()) == true.refused
    assert d["counts"]["sessions"] == true.wire_sessions
    assert sum(d["chains"].values()) == int(a.sides[a.assembled.upstream.name].rows.sum())
    assert (sum(p.requests for p in a.parties), sum(p.refused for p in a.parties)) == (true.requests, true.refused)
    groups = [g for g in d["budget"]["groups"] if g["target"]]
    assert sum(g["requests"] for g in groups) == len(d["budget"]["requests"]) + d["budget"]["left_out"] == true.divided
    table = a.budget[a.budget["target"]]
    assert sum(g["total_ns"] for g in groups) == int(table["total_ns"].sum())
    assert d["peaks"]["upstream"] == {"requests": true.in_flight, "connections": true.open}
    for side, (connections, most) in true.sides(a).items():
        shown = d["sides"][side or "capture"]
        assert (shown["connections"], shown["peaks"]["connections"]["count"]) == (connections, most)
    assert all(f["rejections_before"] == true.refused for f in d["fixes"])
    if (p := d["peaks"])["combined"] is not None:
        assert max(p["vm"], p["host"]) <= p["combined"] <= p["vm"] + p["host"]
        asked = {party.vantage for party in a.parties if party.requests}
        assert bool(p["host"]) == ("host" in asked)  # what a relay on the host opens is no program's


def in_text(a: Any, brief: str, whole: str, true: Truth) -> None:
    first = brief.splitlines()[0]
    if true.refused and a.assembled.situation.uncountable:
        assert first == f"Requests to {', '.join(a.target.names)} were refused; how many, and of how many, cannot be told."
    elif true.refused:
        more = true.requests - true.known > answer.HARDLY_MORE * true.refused
        assert numbers(rf"^{'At least ' if more else ''}([\d,]+) of ([\d,]+) requests", first) == [(true.refused, true.requests)]
        assert f"known for {true.known} of {true.requests} requests" in brief
        assert all(before == (true.refused,) for before in numbers(r"([\d,]+) refusals? becomes?", brief))
        assert all(before == (true.refused,) for before in numbers(r"([\d,]+) -> [\d,]+ refused", whole))
    else:
        assert numbers(r"in ([\d,]+) requests", first) == [(true.requests,)]
    shown = list(true.sides(a).values())
    assert numbers(r"connections +([\d,]+) to the target", whole) == [(connections,) for connections, _ in shown]
    assert numbers(r"open at once +at most ([\d,]+) connection", whole) == [(most,) for _, most in shown]
    each = [side.in_flight.count for side in a.sides.values()]
    in_doubt = numbers(r"in flight +([\d,]+) to ([\d,]+) at once at the peak", whole)
    if a.counts["in_flight_between"] is None:
        assert numbers(r"in flight +at most ([\d,]+) request", whole) == [(n,) for n in each if n]
        assert not in_doubt
    else:  # turns of HTTP/2 are no requests
        assert in_doubt == [tuple(a.counts["in_flight_between"])] * len(each)
    who = whole.partition("Where the time went")[2]
    assert bool(who) == bool(true.divided)
    targets = [row for g, row in zip(time_budget.groups(a.divided), time_budget.rows(a), strict=False) if g.target]
    assert all(f"{row[1]}" in " ".join(who.split()) for row in targets)
    assert sum(n for row in targets for (n,) in numbers(r"^([\d,]+) request", row[1])) == true.divided


def in_page(a: Any, true: Truth) -> None:
    s = scene.scene(a)
    core = page_data.core(a, s)
    highest = {
        (unit, who): max((sum(step) for step in zip(*curve["held"].values(), strict=True)), default=0)
        for unit in ("requests", "connections")
        for who, curve in core["curves"][unit].items()
    }
    for unit, held in (("requests", true.in_flight), ("connections", true.open)):
        for who, most in held.items():
            if ("all" if who == "combined" else who) in core["curves"][unit]:
                assert highest[unit, "all" if who == "combined" else who] == most
    upstream = {k for k, n in enumerate(core["bars"]["capture"]) if n == len(core["captures"]) - 1}
    calls = [k for k, bar in enumerate(core["calls"]["bar"]) if bar in upstream and core["calls"]["request"][k] >= 0]
    assert sum(core["calls"]["rejected"][k] == 1 for k in calls) == true.refused
    rows = next(t for t in page_data.tables(a, s.t0) if t["kind"] == "requests")
    outcome = next(c for c in rows["columns"] if c["name"] == "outcome")["values"]
    assert (rows["rows"], outcome.count("refused")) == (true.requests, true.refused)
    time = core["time"]
    assert (sum(time["target"]), (time["refused"] == 1).sum()) == (true.divided, true.refused if true.divided else 0)
    if (met := html.met(a)) is not None:
        counted = [(row["accepted"], row["refused"]) for row in met["rows"]]
        assert (sum(n for _, n in counted), sum(map(sum, counted))) == (true.refused, true.known)
    said = " ".join(re.sub(r"<script.*?</script>|<[^>]+>", " ", html.render(a, a.to_dict()), flags=re.DOTALL).split())
    if true.refused:
        uncountable = a.assembled.situation.uncountable
        assert ("how many, and of how many, cannot" if uncountable else f"{true.refused:,} of {true.requests:,} requests to") in said
    for connections, most in true.sides(a).values():
        assert f"connections {connections:,} to it" in said
        assert f"most open at once {plural(most, 'connection')}" in said


def in_letter_and_compare(a: Any, true: Truth) -> None:
    f = letter.facts(a.assembled.situation)
    requests = true.requests if a.assembled.situation.uncountable is None else None  # what cannot be told is not told to the provider
    assert (f.requests, f.refusals, f.peak_connections) == (requests, true.refused, true.open["combined"])
    if a.assembled.situation.uncountable is None:
        assert f.peak_requests == true.in_flight["combined"]
    found = compared.compare(a.assembled.situation, a.assembled.situation)
    rows = {name: (before, after) for name, before, after in comparison.rows(found)}
    assert rows["refusals, each retry counted"] == (f"{true.refused:,}",) * 2
    for unit, held in (("requests", true.in_flight), ("connections", true.open)):
        for who, most in held.items():
            label = {"vm": "VM", "host": "host", "combined": "both together"}[who]
            shown, in_doubt = rows[f"most {unit} at once, {label}"], unit == "requests" and a.counts["in_flight_between"] is not None
            assert shown[0] == shown[1]
            low, _, high = shown[0].partition(" to ")
            assert int(low) <= most <= int(high or low)
            assert in_doubt or shown[0] == str(most)
            assert not in_doubt or who != "combined" or [int(low), int(high)] == a.counts["in_flight_between"]
    assert rows["TCP sessions to the API"][0] == f"{len(a.assembled.situation.sessions):,}"
