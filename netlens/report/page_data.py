"""The report's data: the timeline and all tables as columns of numbers, for the page's own script to draw.

Theory of operation
-------------------
1. The timeline is :mod:`netlens.report.scene`, with the curves of :mod:`netlens.lenses.refused.breakdown`. Times are whole ns since its start, which JavaScript
   holds exactly up to 104 days.
2. A *chunk* is JSON, compressed, in base64: no byte of a capture can end the script element that carries it, and 60,000 connections stay a few MB.
   All text goes through :func:`netlens.text.printable` first.

Limits: tables longer than :data:`MAX_ROWS` are cut, and the page says so and names the command that gives all.
"""

from __future__ import annotations

import base64
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.arrays import give_back, no_cycles
from netlens.chains.situation import HOST, SIDES, VM
from netlens.columns import MISSING, NEVER, Bools, Floats, Ints, by_value
from netlens.lenses.refused import breakdown
from netlens.report import answer, time_budget
from netlens.report.numbers import encoded
from netlens.report.scene import Bars, Scene, row_of_sessions, scene, shown_rule, to_host, with_outcomes
from netlens.text import printable
from netlens.wire.gunzip import isal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlens.analysis import Analysis
    from netlens.schema import Schema, Table

GZIP = 31  #: window bits that stand for it (zlib's manual, deflateInit2)
ISAL_LEVEL = 2  #: a twentieth more bytes than zlib's 4 makes, in an eighth of the time
LARGE = 8 << 20  #: bytes from which that is worth it; zlib packs so many in a seventh of a second
ZLIB_LEVEL = 4  #: a thirtieth more bytes than 6 makes, in a third of the time
MAX_ROWS = 100_000  #: of a table in the page; twice of it makes browsers slow to sort
TABLES = ("connections", "sessions", "exchanges", "lookups", "hellos", "tunnels", "quality")
#: Columns of each table that are shown first; all others come with one click.
FIRST = {
    "connections": ("connection_id", "path", "orig_ip", "orig_port", "resp_ip", "resp_port", "sni", "start_ns", "duration_s", "session_ids", "origin",
                    "state", "orig_bytes", "resp_bytes", "first_frame", "last_frame"),
    "sessions": ("session_id", "orig_ip", "orig_port", "resp_ip", "resp_port", "sni", "start_ns", "duration_s", "state", "history", "orig_bytes",
                 "resp_bytes", "orig_retransmits", "resp_retransmits", "first_frame", "last_frame"),
    "exchanges": ("exchange_id", "session_id", "start_ns", "response_ns", "end_ns", "up_bytes", "down_bytes", "status", "rejected", "start_frame",
                  "end_frame"),
    "lookups": ("lookup_id", "qname", "qtype", "rcode", "answers", "query_ns", "latency_ms", "attempts", "orig_ip", "resolver_ip", "transport", "path",
                "query_frame", "answer_frame"),
    "hellos": ("session_id", "frame", "time_ns", "sni", "alpn", "version", "ja4"),
}  # fmt: skip


@no_cycles()
def chunks(a: Analysis) -> dict[str, str]:
    """Name of each part -> its text in the page. "core" is what the first picture needs, "tables" the rest."""
    s = scene(a)
    first = pack(core(a, s))
    give_back()  # as much again follows
    return {"core": first, "tables": _packed(_joined(map(encoded, tables(a, s.t0))))}


def pack(value: Any) -> str:
    """JSON, gzip, base64. The same value gives the same text."""
    return _packed([encoded(value)])


def _joined(values: Iterable[bytes]) -> Iterator[bytes]:
    """A list in JSON, of its values as JSON."""
    begin = b"["
    for value in values:
        yield begin + value
        begin = b","
    yield b"]" if begin == b"," else b"[]"


def _packed(parts: Iterable[bytes]) -> str:
    parts, held, size = iter(parts), [], 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= LARGE:
            break
    quick = isal() if size >= LARGE else None
    packer = zlib.compressobj(ZLIB_LEVEL, wbits=GZIP) if quick is None else quick.compressobj(ISAL_LEVEL, wbits=GZIP)
    return base64.b64encode(b"".join([*map(packer.compress, chain(held, parts)), packer.flush()])).decode("ascii")


# --- the timeline ------------------------------------------------------------------------------------------------------------------------


def core(a: Analysis, s: Scene) -> dict[str, Any]:
    """What the timeline is drawn from."""
    fit = shown_rule(a)
    return {
        "t0_ns": str(s.t0),
        "span_ns": s.span,
        "captures": [_capture(b) for b in s.bars],
        "limit": None if a.limit is None else {k: getattr(a.limit, k) for k in ("rule", "unit", "scope", "value", "low", "high")},
        "counted": None if fit is None else {"rule": fit.rule.name, "unit": fit.rule.unit, "scope": fit.rule.scope},
        "countable": a.assembled.situation.uncountable is None,
        "curves": _curves(a, s.t0),
        "groups": [{**vars(group), "title": printable(group.title)} for group in s.groups],
        "bars": _bars(s),
        "time": time_budget.page(a, s.t0, [b.name for b in s.bars]),
        "calls": {
            **{name: getattr(s.calls, name) for name in ("bar", "start", "end", "done", "rejected", "request", "exchange")},
            "met": [] if fit is None else fit.counts.count,
            "side": a.assembled.situation.requests.side,  # of each request: a proxy's connection carries those of several
        },
    }


def _bars(s: Scene) -> dict[str, Ints]:
    sizes = [len(b) for b in s.bars]
    names = ("start", "end", "done", "whose", "kind", "early", "late", "mate")
    return {
        "capture": np.repeat(np.arange(len(sizes)), sizes),
        "row": np.concatenate([np.arange(size) for size in sizes]),
        "group": np.concatenate(s.group_of),
        **{name: np.concatenate([getattr(b, name) for b in s.bars]) for name in names},
    }


def _capture(b: Bars) -> dict[str, Any]:
    paths = b.side.capture.paths
    return {
        "name": b.name or "capture",
        "title": {"vm": "VM", "host": "host"}.get(b.name or "", "capture"),
        "paths": [printable(p) for p in paths],
        "one_file": len(paths) == 1,  # of a rotated capture no single file has these frame numbers
    }


def _curves(a: Analysis, t0: int) -> dict[str, Any]:
    """Per unit and whose: the times at which a share changes, and each share that is ever held, as differences."""
    situation = a.assembled.situation
    out: dict[str, Any] = {"shares": list(breakdown.SHARES)}
    for unit in ("requests", "connections"):
        out[unit] = {}
        for name, side in (("all", None), ("vm", VM), ("host", HOST)):
            if side is not None and not ((situation.requests.side == side).any() or (situation.sessions.side == side).any()):
                continue
            made = breakdown.stack(situation, unit, side)
            held = {breakdown.SHARES[k]: row for k, row in enumerate(made.counts) if row.any()}
            out[unit][name] = {"dt": np.diff(made.times_ns - t0, prepend=0), "held": held}
    return out


# --- tables ------------------------------------------------------------------------------------------------------------------------------


def tables(a: Analysis, t0: int) -> Iterator[dict[str, Any]]:
    """Every table of every capture, and the requests of both; one at a time, as each is as much again as the analysis holds of it."""
    yield _requests(a, t0)
    for name in sorted(a.assembled.sides, key=lambda name: name != "vm"):
        side = a.assembled.sides[name]
        for kind in TABLES:
            table = with_outcomes(a, name) if kind == "exchanges" else side.capture.table(kind)
            yield _table(a, name, kind, table, t0)


def _table(a: Analysis, name: str | None, kind: str, table: Table, t0: int) -> dict[str, Any]:
    schema: Schema = table.schema
    cut = table.take(np.arange(MAX_ROWS)) if table.rows > MAX_ROWS else table
    first = FIRST.get(kind)
    columns = []
    for c in schema:
        is_time = c.name.endswith("_ns") and c.dtype in ("int64", "nullable_int64")
        if is_time:
            shown: list[Any] | Ints = _times(a, name, cut, c.name, t0)
        else:
            shown = cut.ints(c.name) if c.dtype in ("int64", "nullable_int64") else _values(cut[c.name], c.dtype)
        columns.append(
            {
                "name": c.name,
                "unit": "s" if is_time else c.unit,
                "type": "time" if is_time else _kind(c.dtype),
                "meaning": f"{c.meaning} ({c.basis})",
                "first": first is None or c.name in first,
                **_coded(shown, c.dtype),
            }
        )
    return {
        "id": f"{name or 'capture'}-{kind}",
        "title": f"{kind}" if name is None else f"{kind}, {answer.SIDE_NAMES[name]}",
        "capture": sorted(a.assembled.sides, key=lambda n: n != "vm").index(name),
        "kind": kind,
        "rows": table.rows,
        "columns": columns,
    }


def _kind(dtype: str) -> str:
    if dtype.startswith("list"):
        return "list"
    return {"string": "text", "bool": "bool", "nullable_bool": "bool"}.get(dtype, "number")


def _times(a: Analysis, name: str | None, table: Table, column: str, t0: int) -> Ints:
    """ns since ``t0`` by the host's clock; :data:`MISSING` where there is none."""
    times = table.ints(column)
    known = times != MISSING
    return _where(known, to_host(a, name, np.where(known, times, t0)) - t0)


def _values(values: npt.NDArray[Any], dtype: str) -> list[Any]:
    out: list[Any] = values.tolist()
    if dtype == "float64":
        out = _rounded(values).tolist()
        for k in np.flatnonzero(~np.isfinite(values)).tolist():
            out[k] = None
        return out
    if dtype == "string":
        return by_value(lambda v: None if v is None else printable(str(v)), out)
    if dtype == "list<string>":
        return [[printable(str(each)) for each in v or ()] for v in out]
    if dtype == "list<int64>":
        return [[int(each) for each in v] if v is not None else [] for v in out]
    return out


def _coded(values: list[Any] | Ints, dtype: str) -> dict[str, list[Any] | Ints]:
    """``values``; or ``deltas`` where whole numbers only grow (numbers of rows, frames, times), which compress to a third."""
    if dtype == "int64" and len(values) > 1:
        numbers = np.asarray(values)
        if (numbers[1:] >= numbers[:-1]).all() and int(numbers[-1]) - int(numbers[0]) <= NEVER:
            return {"deltas": np.diff(numbers, prepend=0)}
    return {"values": values}


def _requests(a: Analysis, t0: int) -> dict[str, Any]:
    """Requests to the target, of both sides, with how many others each met under every rule that was fitted."""
    r = a.assembled.situation.requests
    session = row_of_sessions(a)
    connection = np.full(len(r), MISSING)
    known = (r.session >= 0) & (r.session < len(session))
    connection[known] = session[r.session[known]]
    label = {0: "accepted", 1: "refused"}

    def column(name: str, kind: str, unit: str, meaning: str, values: list[Any] | Ints, first: bool = True) -> dict[str, Any]:
        return {"name": name, "type": kind, "unit": unit, "meaning": meaning, "first": first, "values": values[:MAX_ROWS]}

    columns = [
        column("request", "number", "", "Number of the request in order of its last byte as sent upstream.", np.arange(len(r))),
        column("side", "text", "", "Whose program sent it.", [SIDES[k] for k in r.side.tolist()]),
        column("sent", "time", "s", "When its last byte was sent upstream.", r.start_ns - t0),
        column("held", "number", "s", "How long it was held upstream.", _seconds(r.end_ns - r.start_ns)),
        column("tail", "number", "s", "How long it was held after the program was done with it.", _seconds(r.end_ns - r.done_ns)),
        column("outcome", "text", "", "What the provider did with it.", [label.get(k, "unknown") for k in r.rejected.tolist()]),
        column("told by", "text", "", "Where the outcome comes from.", [printable(str(s)) for s in r.source.tolist()]),
    ]
    for fit in a.weighed.weighing.inference.fits:
        unit = "others" if fit.rule.sized is None else "bytes"
        said = f"How many {unit} were counted when it was sent, by the rule {fit.rule.name}."
        columns.append(column(fit.rule.name, "number", unit, said, fit.counts.count, first=fit is shown_rule(a)))
    columns += [
        column("connection", "number", "", "Row of the connections of the capture nearest to the provider.", connection),
        column("stream", "number", "", "Stream of HTTP/2.", _where(r.stream >= 0, r.stream), first=bool((r.stream >= 0).any())),
        column("VM frame", "number", "", "Frame of its first byte in the capture of the VM.", _where(r.vm_frame > 0, r.vm_frame)),
        column("host frame", "number", "", "Frame of its first byte in the capture of the host.", _where(r.host_frame > 0, r.host_frame)),
    ]
    return {
        "id": "requests",
        "title": f"requests to {printable(answer.target(a))}",
        "capture": None,
        "kind": "requests",
        "rows": len(r),
        "columns": columns,
    }


def _where(known: Bools, numbers: Ints) -> Ints:
    return np.where(known, numbers, MISSING)


def _seconds(ns: Ints) -> list[float]:
    return list(_rounded(ns / 1e9).tolist())


def _rounded(values: Floats) -> Floats:
    """To nine digits; what is half-way may go either way. Powers of ten up to the 22nd are exact as floats, and numbers beyond are left alone."""
    with np.errstate(all="ignore"):
        digits = 8 - np.floor(np.log10(np.abs(values)))
        up, down = (10.0 ** np.clip(way, 0, 22) for way in (digits, -digits))
        return np.where(np.abs(digits) <= 22, np.rint(values * up / down) * down / up, values)
