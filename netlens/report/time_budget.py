"""Where requests' time went, as text and as the data of the page's waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.chains.divided import PHASES, RELAY, Division, Group, Ragged, groups
from netlens.columns import MISSING, NEVER, Bools, Ints, ints
from netlens.report.numbers import Lists
from netlens.text import duration, plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlens.analysis import Analysis

SHOWN = 8  #: groups on the terminal
DRAWN = 20_000  #: requests in the page
LEAST_SHARE = 0.001  #: of the time; what is less is not named
WORDS = {"tls": "TLS", "relay": "relay", "wire": "wire"}  #: others are called by their name


def rows(a: Analysis) -> list[tuple[str, str]]:
    """Of each group: who, and where its time went, as a mean request's milliseconds and as shares."""
    made = groups(a.divided, _unrecorded(a))
    told = [(_who(g, len(a.sides) > 1), sentence(g)) for g in made[:SHOWN]]
    if len(made) > SHOWN:
        told.append(("", f"{plural(len(made) - SHOWN, 'more group')} in the JSON (budget.groups)"))
    return told


def _who(g: Group, several: bool) -> str:
    whose = f"{g.process} " if g.process else ""
    party = f"{g.party} " if several or g.process else ""
    return f"{whose}{party}> {g.server}"


def sentence(g: Group) -> str:
    """``67 requests (2 never answered), mean 830 ms: stream 65 % (540 ms), server 31 % (260 ms), sshuttle 3.3 % (27 ms)``."""
    parts = [(ns, WORDS.get(phase, phase)) for phase, ns in g.by_phase.items() if ns and phase != RELAY]
    parts += [(ns, relay) for relay, ns in g.by_relay.items() if ns]
    parts = sorted(((ns, name) for ns, name in parts if ns >= LEAST_SHARE * g.total_ns), key=lambda part: -part[0])
    said = [f"{name} {_percent(ns, g.total_ns)} ({duration(ns / g.requests / 1e9)})" for ns, name in parts]
    unknown = [WORDS.get(phase, phase) for phase, ns in g.by_phase.items() if ns is None]
    end = f"; not measured (in the others' shares): {', '.join(unknown)}" if unknown else ""
    unheard = g.unanswered - g.unrecorded
    told = ["never answered" if unheard == g.requests else f"{unheard:,} never answered"] if unheard else []
    if g.unrecorded:
        told.append("no packet from the server" if g.unrecorded == g.requests else f"{g.unrecorded:,} without any packet from the server")
    silent = f" ({', '.join(told)})" if told else ""
    mean = "" if g.requests == 1 else "mean "
    return f"{plural(g.requests, 'request')}{silent}, {mean}{duration(g.total_ns / g.requests / 1e9)}: {', '.join(said) or 'no time'}{end}"


def _unrecorded(a: Analysis) -> Bools:
    """bool[n]: requests on connections of which the capture holds not one packet of the server (of a redirected one, the other half holds them)."""
    d = a.divided
    out = np.zeros(len(d), bool)
    for k, name in enumerate(d.vantages):
        if name in a.sides:
            side = a.assembled.sides[name]
            came = side.sessions["resp_frames"].copy()
            rows = np.fromiter(side.connection_of.values(), np.int64)
            came[np.fromiter(side.connection_of, np.int64)] = side.most(came)[rows]
            there = (d.vantage == k) & (d.session >= 0) & (d.session < len(came))
            out[there] = came[d.session[there]] == 0
    return out


def _percent(ns: int, total: int) -> str:
    share = 100 * ns / max(total, 1)
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def drawn(a: Analysis) -> list[dict[str, Any]]:
    """Of each group: who, its sentence, and a bar of all its time: (phase, per mille from the left, per mille wide)."""
    out = []
    for g in groups(a.divided, _unrecorded(a))[:SHOWN]:
        at, bar = 0.0, []
        for phase, ns in g.by_phase.items():
            wide = 1000 * (ns or 0) / max(g.total_ns, 1)
            if wide:
                bar.append((phase, round(at, 2), round(wide, 2)))
            at += wide
        out.append({"who": _who(g, len(a.sides) > 1), "text": sentence(g), "bar": bar})
    return out


def page(a: Analysis, t0: int, captures: Sequence[str | None]) -> dict[str, Any]:
    """For the waterfall and the chain of a request: columns of the requests, their spells and passes as flat lists.

    t0 : times are ns since it; those of passes since the request's begin.  captures : in the order of the page.
    """
    d = a.divided[:DRAWN]
    labels: dict[Any, int] = {}
    refused = a.assembled.situation.requests.rejected

    def label(text: str) -> int:
        return labels.setdefault(printable(text), len(labels))

    def named(codes: Ints, texts: list[str]) -> Ints:
        numbers = np.zeros(len(texts), np.int64)
        for k in dict.fromkeys(codes.tolist()):
            numbers[k] = label(texts[k])
        return numbers[codes]

    by_name = sorted(range(len(PHASES)), key=PHASES.__getitem__)
    hidden = d.hidden[:, by_name].astype(bool)
    return {
        "phases": list(PHASES),
        "server": named(d.server, d.servers),
        "party": named(d.whose, [f"{party}: {process}" if process else party for party, process in d.parties]),
        "target": d.request >= 0,
        "request": d.request,
        "refused": np.where(d.request >= 0, refused[d.request] if len(refused) else -1, -1),
        "status": ints(d.status),
        "begin": d.begin_ns - t0,
        "side": named(d.vantage, [name or "capture" for name in d.vantages]),
        "session": d.session,
        "frame": d.frame,
        "spells": _spells(d),
        "passes": _passes(d, captures),
        "relays": [[label(relay) for relay in d.ways[way]] for way in d.way.tolist()],
        "unmeasured": Lists(np.array(by_name)[hidden.nonzero()[1]], np.cumsum(hidden.sum(axis=1))),
        "uncertain": d.uncertain_ns,
        "labels": list(labels),
        "left_out": len(a.divided) - len(d),
    }


def _spells(d: Division) -> Lists:
    """Phase, relay, duration; of each spell of each request."""
    start, end, phase, relay = d.spells.columns
    return _lists(d.spells, np.column_stack([phase, relay, end - start]))


def _passes(d: Division, captures: Sequence[str | None]) -> Lists:
    """Capture, exchange, and when it began, was sent, was answered (None: never) and ended; of each pass of each request."""
    vantage, exchange, *times = d.passes.columns
    begin = np.repeat(d.begin_ns, np.diff(d.passes.offsets))
    number = np.array([captures.index(name) for name in d.vantages], np.int64)[vantage]
    table = np.column_stack([number, exchange, *(t - begin for t in times)])
    table[times[2] == NEVER, 4] = MISSING
    return _lists(d.passes, table)


def _lists(rows: Ragged, table: Ints) -> Lists:
    """The rows of each request, one after the other."""
    return Lists(table.reshape(-1), rows.offsets[1:] * table.shape[1])
