"""What the figures draw: artists, colours, labels and limits, not pixels."""

from __future__ import annotations

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlens
from netlens import tables
from netlens.chains import overlap
from netlens.errors import NetlensError
from netlens.report.plots import concurrency, lifetimes, lookups, style, timeline
from netlens.schema import DTYPES, Schema, Table

T0 = 1_769_358_813_250_000_000  # 2026-01-25 16:33:33.25 UTC
S = 1_000_000_000
HOSTILE = "a$b$<script>&\x1b[31m\u202egpj.exe\x00\u0430\n$"


def table(schema: Schema, **columns_given) -> Table:
    """A table with the given columns and missing values (or 0) in all others."""
    n = len(next(iter(columns_given.values())))
    columns = {}
    for c in schema:
        dtype = DTYPES[c.dtype]
        values = columns_given.get(c.name)
        if values is None:
            values = [[] for _ in range(n)] if c.dtype.startswith("list") else [None] * n if dtype.kind == "O" else [0] * n
        if isinstance(values, np.ndarray) and values.dtype == dtype:
            columns[c.name] = values
        elif dtype.kind == "O":
            column = np.empty(n, object)
            column[:] = values if c.dtype.startswith("list") else [v.item() if isinstance(v, np.generic) else v for v in values]
            columns[c.name] = column
        else:
            columns[c.name] = np.asarray(values, dtype)
    return Table(schema, columns)


def traffic(n: int, *, seed: int = 1, targets: int | None = None, span_s: float | None = None) -> dict[str, Table]:
    """Connections of a program that calls an API and a few other servers: requests on kept connections, some cut off, some rejected."""
    rng = np.random.default_rng(seed)
    span_s = span_s or (90.0 if n <= 400 else 3600.0)
    targets = targets or min(max(1, n // 3), 30)
    servers = [f"api{i}.example.net" if i else "api.z.ai" for i in range(targets)]
    which = rng.geometric(0.35, n) - 1 if n else np.empty(0, np.int64)
    which = np.where(rng.random(n) < 0.1, rng.integers(0, targets, n), np.minimum(which, targets - 1))
    start = T0 + np.sort((rng.random(n) * span_s * S).astype(np.int64))
    length = (rng.lognormal(1.2, 1.3, n) * S).astype(np.int64)
    stop = T0 + int(span_s * S)
    late = start + length > stop
    end = np.where(late, start + ((stop - start) * rng.uniform(0.2, 1, n)).astype(np.int64), start + length)
    early = (rng.random(n) < 0.5) & (start < T0 + int(0.05 * span_s * S))
    path = np.array(["direct", "nat", "sshuttle"], object)[rng.choice(3, n, p=[0.25, 0.25, 0.5])] if n else []
    half = np.where(rng.random(n) < 0.3, rng.lognormal(-3, 2.5, n), np.nan)
    half = np.minimum(half, (end - start) / S * 0.8)
    fin = [None if np.isnan(h) else int(e - h * S) for h, e in zip(half, end, strict=True)]
    late_bytes = [0 if f is None else int(rng.integers(0, 2)) * 900 for f in fin]
    sni = [servers[w] if w % 4 != 3 else None for w in which]
    shared = {
        "orig_ip": ["192.168.64.2"] * n,
        "orig_port": 40000 + np.arange(n) % 20000,
        "resp_ip": [f"203.0.{w // 250}.{w % 250 + 1}" for w in which],
        "resp_port": [443] * n,
        "sni": sni,
        "start_ns": start,
        "end_ns": end,
        "duration_s": (end - start) / S,
        "state": ["OTH" if e else "S1" if x else "SF" for e, x in zip(early, late, strict=True)],
    }
    connections = table(
        tables.CONNECTIONS, connection_id=np.arange(n), path=path, session_ids=[[i] for i in range(n)], open_at_end=late,
        started_before_capture=early, first_frame=np.arange(n) + 1, **shared,
    )  # fmt: skip
    sessions = table(
        tables.SESSIONS, session_id=np.arange(n), saw_syn=~early, half_closed_s=half, orig_fin_ns=fin, resp_bytes_after_fin=late_bytes,
        resp_last_payload_ns=end - 1, closed_ns=[None if x else int(e) for x, e in zip(late, end, strict=True)], **shared,
    )  # fmt: skip
    calls = rng.integers(0, 5, n)
    owner = np.repeat(np.arange(n), calls)
    room = (end - start)[owner]
    slot = np.concatenate([np.arange(c) / max(c, 1) for c in calls]) if n else np.empty(0)
    begin = start[owner] + (room * (slot + 0.02)).astype(np.int64)
    finish = begin + (room * rng.uniform(0.05, 0.9, len(owner)) / np.maximum(calls[owner], 1)).astype(np.int64)
    refused = rng.random(len(owner)) < 0.05
    finish = np.where(refused, np.minimum(finish, begin + S // 5), finish)
    exchanges = table(
        tables.EXCHANGES, exchange_id=np.arange(len(owner)), session_id=owner, start_ns=begin, request_end_ns=begin, response_ns=finish,
        end_ns=finish, complete=np.ones(len(owner), bool), rejected=[bool(r) if rng.random() < 0.9 else None for r in refused],
    )  # fmt: skip
    answered = rng.random(n) > 0.08
    latency = np.where(answered, rng.lognormal(3, 1.1, n), np.nan)
    asked = start - (rng.random(n) * S / 5).astype(np.int64)
    names = table(
        tables.LOOKUPS, lookup_id=np.arange(n), qname=[servers[w] for w in which], qtype=["A"] * n, path=path, query_ns=asked,
        rcode=[None if not a else "NXDOMAIN" if rng.random() < 0.08 else "NOERROR" for a in answered], latency_ms=latency,
        answer_ns=[int(q + ms * 1e6) if a else None for q, ms, a in zip(asked, latency, answered, strict=True)],
        attempts=np.where(answered, 1 + (rng.random(n) < 0.1), rng.integers(1, 6, n)), transport=["udp"] * n,
    )  # fmt: skip
    return {"connections": connections, "sessions": sessions, "exchanges": exchanges, "lookups": names}


def by_gid(figure, gid: str) -> list:
    return [a for a in figure.findobj() if a.get_gid() == gid]


def paths(figure, gid: str) -> int:
    return sum(len(a.get_paths()) for a in by_gid(figure, gid))


def words(figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text"))


def hexes(artist) -> set[str]:
    from matplotlib.colors import to_hex

    return {to_hex(c).upper() for c in np.atleast_2d(artist.get_facecolor())}


def timeline_of(t: dict[str, Table], **options):
    return timeline.draw(t["connections"], t["exchanges"], t["sessions"], **options)


def figures_of(t: dict[str, Table]) -> dict:
    return {
        "timeline": timeline_of(t),
        "concurrency": concurrency.draw(t["connections"], t["exchanges"], t["sessions"]),
        "lookups": lookups.draw(t["lookups"]),
        "lifetimes": lifetimes.draw(t["connections"], t["sessions"]),
    }


# Timeline


@pytest.mark.parametrize("n", [1, 6, 40, 300])
def test_timeline_has_a_bar_for_each_connection_in_the_colour_of_its_path(n):
    t = traffic(n)
    figure = timeline_of(t)
    for path in style.PATHS:
        count = int((t["connections"]["path"] == path).sum())
        assert paths(figure, f"bars {path}") == count
        for bars in by_gid(figure, f"bars {path}"):
            assert hexes(bars) == {style.COLOURS[path].upper()}


def test_timeline_bars_stand_where_the_connection_was():
    t = traffic(6)
    figure = timeline_of(t)
    first = int(t["connections"]["start_ns"].min())
    drawn = sorted(
        (p.vertices[:, 0].min(), p.vertices[:, 0].max())
        for path in style.PATHS
        for b in by_gid(figure, f"bars {path}")
        for p in b.get_paths()
    )
    expected = sorted(
        ((s - first) / 1e9, (e - first) / 1e9) for s, e in zip(t["connections"]["start_ns"], t["connections"]["end_ns"], strict=True)
    )
    span = max(e for _, e in expected)
    assert np.array(drawn) == pytest.approx(np.array(expected), abs=span / timeline.PIXELS)


def test_timeline_lanes_of_one_target_never_overlap():
    t = traffic(300)
    boxes = [p.get_extents() for path in style.PATHS for b in by_gid(timeline_of(t), f"bars {path}") for p in b.get_paths()]
    lanes: dict[float, list] = {}
    for box in boxes:
        lanes.setdefault(round((box.y0 + box.y1) / 2, 6), []).append((box.x0, box.x1))
    assert len(lanes) < 300
    for lane in lanes.values():
        lane.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(lane))


def test_timeline_labels_targets_and_openers_and_time():
    t = traffic(6, targets=2)
    figure = timeline_of(t)
    assert {a.get_text() for a in by_gid(figure, "target")} == {"api.z.ai", "api1.example.net"}
    said = words(figure)
    assert said.startswith("6 connections to 2 targets") or "6 connections to 2 targets" in said
    assert "192.168.64.2:40003" in said
    assert "seconds since 2026-01-25 16:33:" in said
    above, below = figure.axes
    assert above.get_shared_x_axes().joined(above, below)
    assert below.get_ylabel() == "at once"


def test_timeline_marks_rejected_requests_only_where_known():
    t = traffic(40)
    figure = timeline_of(t)
    known = sum(v is True for v in t["exchanges"]["rejected"])
    marks = by_gid(figure, "rejected")
    assert known > 0
    assert sum(len(m.get_offsets()) for m in marks) == known
    assert {h for m in marks for h in hexes(m)} == {style.REJECTED.upper()}
    assert f"{known} refused" in words(figure)
    silent = t["exchanges"].take(np.array([v is not True for v in t["exchanges"]["rejected"]]))
    assert by_gid(timeline.draw(t["connections"], silent), "rejected") == []


def test_timeline_shows_what_was_not_captured_as_a_hatched_tail_with_an_arrow():
    t = traffic(40)
    late = int(t["connections"]["open_at_end"].sum())
    figure = timeline_of(t)
    assert late > 0
    assert sum(len(a.get_offsets()) for a in by_gid(figure, "open after")) == late
    tails = [a for path in style.PATHS for a in by_gid(figure, f"tails {path}")]
    assert tails
    assert all(a.get_hatch() for a in tails)
    assert "opening or close not captured" in words(figure)


def test_timeline_bounds_the_number_of_targets():
    t = traffic(2000, targets=500)
    heads = [a.get_text() for a in by_gid(timeline_of(t), "target")]
    targets = len(set(overlap.labels(t["connections"], "target")))
    assert len(heads) == timeline.MAX_TARGETS
    assert heads[-1] == f"others ({targets - timeline.MAX_TARGETS + 1} targets)"


def test_timeline_joins_requests_that_no_pixel_parts():
    t = traffic(1)
    start = int(t["connections"]["start_ns"][0])
    length = int(t["connections"]["end_ns"][0]) - start
    many = 50_000
    begin = start + (np.arange(many) * (length / many)).astype(np.int64)
    exchanges = table(
        tables.EXCHANGES,
        session_id=np.zeros(many, np.int64),
        start_ns=begin,
        request_end_ns=begin,
        end_ns=begin + 10,
        complete=[True] * many,
    )
    assert paths(timeline.draw(t["connections"], exchanges, t["sessions"]), f"requests {t['connections']['path'][0]}") == 1


def test_timeline_of_very_many_connections_is_strips_and_stays_small(tmp_path):
    t = traffic(60_000, targets=3000)
    figure = timeline_of(t)
    assert not any(by_gid(figure, f"bars {p}") for p in style.PATHS)
    assert len(by_gid(figure, "highest")) == timeline.MAX_TARGETS
    assert len(by_gid(figure, "strip nat")) == timeline.MAX_TARGETS
    svg = {p.suffix: p for p in style.save(figure, tmp_path, "timeline")}[".svg"]
    assert svg.stat().st_size < 2_000_000


def test_timeline_curve_is_the_concurrency_curve():
    t = traffic(40)
    [line] = by_gid(timeline_of(t), "connections open")
    assert line.get_ydata().max() == overlap.connections_curve(t["connections"]).peak().count


# Concurrency


def test_concurrency_has_a_panel_per_target_and_names_its_peak():
    t = traffic(300, targets=4)
    figure = concurrency.draw(t["connections"], t["exchanges"], t["sessions"])
    curves = overlap.curves_by(t["connections"], "target")
    assert len(figure.axes) == len(curves)
    for axes, (name, curve) in zip(figure.axes, curves.items(), strict=True):
        assert axes.get_title(loc="left").startswith(
            f"{name}: {len(curve.intervals)} connections, at most {curve.peak().count} open at once"
        )
        assert axes.get_ylim()[1] > curve.peak().count
    assert figure.axes[-1].get_xlabel().startswith("seconds since ")


def test_concurrency_of_many_steps_keeps_the_peaks(monkeypatch):
    monkeypatch.setattr(concurrency, "MAX_TARGETS", 1)
    t = traffic(5000)
    figure = concurrency.draw(t["connections"])
    [line] = by_gid(figure, "connections open")
    assert len(line.get_xdata()) == concurrency.SLICES + 1
    assert line.get_ydata().max() == overlap.connections_curve(t["connections"]).peak().count
    assert "highest count in each" in words(figure)


@pytest.mark.parametrize(("n", "high"), [(100, 5), (5, 6)])
def test_a_band_far_above_the_curve_does_not_press_it_flat_and_a_low_one_is_whole(n, high):
    start = T0 + np.arange(n) * S
    connections = table(
        tables.CONNECTIONS, connection_id=np.arange(n), path=["nat"] * n, resp_ip=["192.0.2.1"] * n, orig_ip=["10.0.0.1"] * n,
        start_ns=start, end_ns=start + S // 2, open_at_end=np.ones(n, bool), state=["S1"] * n,
    )  # fmt: skip
    [axes] = concurrency.draw(connections).axes
    assert min(n, 3) < axes.get_ylim()[1] < high
    assert (axes.get_ylim()[1] >= n) == (n < 100)
    assert f"(perhaps {n})" in axes.get_title(loc="left")


# Lookups


def test_lookups_show_latency_on_a_log_axis_and_put_unanswered_ones_at_the_top():
    t = traffic(300)
    rows = t["lookups"]
    figure = lookups.draw(rows)
    top, axes = figure.axes
    unanswered = sum(v is None for v in rows["answer_ns"])
    assert unanswered > 0
    assert axes.get_yscale() == "log"
    assert sum(len(a.get_offsets()) for p in style.PATHS for a in by_gid(figure, f"unanswered {p}")) == unanswered
    answered = [a for p in style.PATHS for bad in ("", " failed") for a in by_gid(figure, f"lookups {p}{bad}")]
    assert sum(len(a.get_offsets()) for a in answered) == 300 - unanswered
    assert top.get_position().y0 >= axes.get_position().y1 - 0.2
    assert f"{unanswered} unanswered" in words(figure)
    assert "$" not in words(figure)  # tick labels are text, no formulas


def test_lookups_are_larger_the_more_attempts_they_took():
    rows = traffic(60)["lookups"]
    rows = rows.take(np.array([v is not None for v in rows["answer_ns"]]))
    figure = lookups.draw(rows)
    sizes = np.concatenate([a.get_sizes() for p in style.PATHS for b in ("", " failed") for a in by_gid(figure, f"lookups {p}{b}")])
    assert len(set(sizes)) == len(set(np.minimum(rows["attempts"], 4)))
    assert len(figure.axes) == 1


def test_many_lookups_are_a_grid():
    figure = lookups.draw(traffic(5000)["lookups"])
    [mesh] = by_gid(figure, "lookups")
    rows = traffic(5000)["lookups"]
    assert mesh.get_array().sum() == sum(v is not None for v in rows["answer_ns"])


def test_lookups_without_any_answer_or_question():
    n = 3
    unanswered = table(tables.LOOKUPS, qname=["a"] * n, query_ns=[T0, T0, T0 + S], latency_ms=[np.nan] * n, attempts=[1] * n)
    assert "no lookup was answered" in words(lookups.draw(unanswered))
    alone = table(tables.LOOKUPS, qname=["a"], answer_ns=[T0], latency_ms=[np.nan], rcode=["NOERROR"])
    assert "1 answer without a captured question" in words(lookups.draw(alone))


# Lifetimes


def test_lifetimes_draw_a_curve_per_path_that_reaches_all_that_closed():
    t = traffic(300)
    figure = lifetimes.draw(t["connections"], t["sessions"])
    left, right = figure.axes
    assert left.get_xscale() == right.get_xscale() == "log"
    for path in ("direct", "nat", "sshuttle"):
        assert [line.get_color() for line in left.lines if line.get_gid() == f"lifetimes {path}"] == [style.COLOURS[path]]
        assert any(line.get_gid() == f"lifetimes {path}" for line in right.lines)


def test_survival_is_the_plain_distribution_where_nothing_was_cut():
    x, share = lifetimes.survival(np.array([3.0, 1.0, 2.0, 2.0]), np.zeros(4, bool))
    assert x.tolist() == [1, 2, 2, 3]
    assert share == pytest.approx([0.25, 0.5, 0.75, 1])


def test_survival_with_cut_lifetimes_by_hand():
    # at 1 one of four is over; the one cut at 2 leaves; at 3 one of the two left is over: 1 - 3/4 * 1/2
    _, share = lifetimes.survival(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    assert share == pytest.approx([0.25, 0.25, 0.625, 0.625])


def test_lifetimes_without_tails_say_so():
    t = traffic(1)
    sessions = table(tables.SESSIONS, session_id=[0], half_closed_s=[np.nan], start_ns=[T0], end_ns=[T0])
    assert "no connection sent a FIN" in words(lifetimes.draw(t["connections"], sessions))


def test_tails_of_copies_count_once_and_the_tunnel_not_at_all():
    connections = table(tables.CONNECTIONS, path=["sshuttle"], session_ids=[[1, 2]], start_ns=[T0], end_ns=[T0 + S])
    sessions = table(
        tables.SESSIONS, session_id=[0, 1, 2], start_ns=[T0] * 3, end_ns=[T0 + S] * 3, closed_ns=[T0 + S] * 3, half_closed_s=[9.0, 0.25, 0.5],
        resp_bytes_after_fin=[0, 7, 0],
    )  # fmt: skip
    figure = lifetimes.draw(connections, sessions)
    [line] = [line for line in figure.axes[1].lines if str(line.get_gid()).startswith("lifetimes")]
    assert line.get_xdata().tolist() == [0.5, 0.5]
    assert "half-closed for up to 500 ms, 1 still receiving" in words(figure)


def test_a_short_request_is_drawn_inside_its_bar():
    t = traffic(1)
    first, last = int(t["connections"]["start_ns"][0]), int(t["connections"]["end_ns"][0])
    at = np.array([last - 10])
    exchanges = table(tables.EXCHANGES, session_id=[0], start_ns=at, request_end_ns=at, end_ns=at + 5, complete=[True])
    figure = timeline.draw(t["connections"], exchanges, capture_ns=(first, last + 10 * S))
    path = t["connections"]["path"][0]
    [bar], [request] = (a.get_paths() for gid in (f"bars {path}", f"requests {path}") for a in by_gid(figure, gid))
    assert bar.vertices[:, 0].min() <= request.vertices[:, 0].min() < request.vertices[:, 0].max() <= bar.vertices[:, 0].max()


# All figures


def test_nothing_to_draw_is_said_in_words(tmp_path):
    for name, figure in figures_of(traffic(0)).items():
        assert "No " in words(figure)
        assert len(style.save(figure, tmp_path, name)) == 2


@pytest.mark.parametrize("n", [1, 6, 300, 5000])
def test_legends_and_titles_lie_outside_the_axes(n):
    for figure in figures_of(traffic(n)).values():
        with style.context():
            figure.draw_without_rendering()
        width, height = figure.bbox.width, figure.bbox.height
        texts = [a for gid in ("title", "note") for a in by_gid(figure, gid)]
        for artist in [*figure.legends, *texts]:
            box = artist.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= width
            assert box.y0 >= 0
            assert box.y1 <= height
            for axes in figure.axes:
                assert not box.overlaps(axes.bbox)


def test_no_text_is_smaller_than_nine_points():
    for figure in figures_of(traffic(40)).values():
        sizes = [t.get_fontsize() for t in figure.findobj() if hasattr(t, "get_fontsize") and t.get_text()]
        assert min(sizes) >= 9


def test_the_same_tables_give_the_same_bytes(tmp_path):
    t = traffic(6)

    def written() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for name, figure in figures_of(t).items() for p in style.save(figure, tmp_path, name)}

    first = written()
    ballast = []
    for size in (1000, 50_000):  # objects at other addresses: the layout's solver once let them into the file
        ballast.append([object() for _ in range(size)])
        assert written() == first
    assert b"<dc:date>" not in first["timeline.svg"]


def test_svg_keeps_text_as_text_and_hostile_names_break_nothing(tmp_path):
    t = traffic(6)
    n = t["connections"].rows
    names = np.empty(n, object)
    names[:] = HOSTILE
    columns = dict(t["connections"].columns) | {"sni": names, "path": names}
    hostile = Table(tables.CONNECTIONS, columns)
    asked = Table(tables.LOOKUPS, dict(t["lookups"].columns) | {"qname": names, "rcode": names, "path": names})
    figures = {
        "timeline": timeline.draw(hostile, t["exchanges"], t["sessions"]),
        "concurrency": concurrency.draw(hostile),
        "lookups": lookups.draw(asked),
        "lifetimes": lifetimes.draw(hostile, t["sessions"]),
    }
    shown = "a$b$<script>&\\x1b[31m\\u202egpj"  # and more, cut
    for name, figure in figures.items():
        svg = {p.suffix: p for p in style.save(figure, tmp_path, name)}[".svg"]
        raw = svg.read_text(encoding="utf-8")
        texts = ["".join(e.itertext()) for e in ET.fromstring(raw).iter() if e.tag.endswith("}text")]
        assert "<script" not in raw
        assert not any(c in raw for c in "\x1b\u202e\x00\u0430")
        if name != "lifetimes":  # it shows no names
            assert any(shown in text for text in texts)


@given(st.text(max_size=200))
def test_safe_text_is_printable_short_and_no_formula(text):
    from matplotlib.cbook import is_math_text

    shown = style.safe(text)
    assert shown.isprintable()
    assert len(shown.replace("\\$", "$")) <= style.LONGEST_NAME + 1
    assert not is_math_text(shown)


def test_safe_text_leaves_names_alone():
    assert style.safe("api.z.ai") == "api.z.ai"
    assert style.safe("bücher.example") == "bücher.example"
    assert style.safe(None) == "unknown"
    long = style.safe("a" * 1000 + "z")
    assert len(long) <= style.LONGEST_NAME
    assert long.endswith("z")
    assert style.safe("\x1b" * 100_000).startswith("\\x1b\\x1b")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_no_times_break_a_figure(rows):
    start, end, early, late = (np.array(c) for c in zip(*rows, strict=True))
    n = len(rows)
    connections = table(
        tables.CONNECTIONS, connection_id=np.arange(n), path=["nat"] * n, resp_ip=["192.0.2.1"] * n, orig_ip=["10.0.0.1"] * n,
        start_ns=start.astype(np.int64), end_ns=end.astype(np.int64), started_before_capture=early, open_at_end=late, session_ids=[[]] * n,
    )  # fmt: skip
    for figure in (timeline.draw(connections), concurrency.draw(connections), lifetimes.draw(connections)):
        with style.context():
            figure.draw_without_rendering()


def test_figures_take_data_frames_too():
    t = traffic(40)
    frames = {name: rows.to_pandas() for name, rows in t.items()}
    for name, figure in figures_of(frames).items():
        assert words(figure) == words(figures_of(t)[name])


def test_save_writes_both_kinds_and_leaves_nothing_else(tmp_path):
    figure = lookups.draw(traffic(1)["lookups"])
    written = style.save(figure, tmp_path / "new" / "folder", "lookups")
    assert [p.name for p in written] == ["lookups.png", "lookups.svg"]
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["lookups.png", "lookups.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")


def test_save_where_it_cannot_says_so_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NetlensError, match=r"lookups\.png: cannot write the picture") as caught:
        style.save(lookups.draw(traffic(1)["lookups"]), tmp_path / "file", "lookups")
    assert "\n" not in str(caught.value)


def test_importing_plots_does_not_import_matplotlib_and_drawing_not_pyplot():
    code = (
        "import sys; import netlens.report.plots as p; from netlens import tables; assert 'matplotlib' not in sys.modules;"
        "p.lookups.draw(tables.LOOKUPS.empty()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the public API


def test_plot_gives_figures_and_says_what_there_is(analysis) -> None:
    from matplotlib.figure import Figure

    a = analysis("two-causes")
    for figure, side in (("summary", None), ("timeline", "vm"), ("concurrency", "host"), ("lookups", "host"), ("lifetimes", "vm")):
        assert isinstance(netlens.plot(a, figure, side), Figure)
    with pytest.raises(NetlensError, match="there is no figure 'pie'; the figures are summary, timeline"):
        netlens.plot(a, "pie", "vm")
    with pytest.raises(NetlensError, match=r"side=None is not one of '(vm|host)', '(vm|host)'"):
        netlens.plot(a, "timeline")


def test_compare_takes_recordings_and_analyses(analysis, captures) -> None:
    found = netlens.compare(analysis("two-causes"), captures / "two-causes-excluded")
    assert found.verdict == "better"
    assert found.before.refusals == analysis("two-causes").counts["rejections"]
