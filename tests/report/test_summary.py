"""The summary picture: tested by what it draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.errors import NetlensError
from netlens.lenses.refused import breakdown
from netlens.report import answer, plots, scene
from netlens.report.plots import style, summary
from netlens.report.scene import with_outcomes
from tests.lenses.made import S, ping
from tests.lenses.test_lenses import lookups, resent
from tests.parsers.build import mixed, write


def by_gid(figure: Any, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)  # type: ignore[no-any-return]


def words(figure: Any) -> str:
    return " ".join(" ".join(t.get_text().split()) for t in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.mark.parametrize("name", ["two-causes", "dns-over-tcp", "fan-out", "healthy", "http2", "own-concurrency-busy-host"])
def test_the_answer_the_limit_and_every_verdict_are_on_the_page(name: str, analysis: Callable[[str], Any]) -> None:
    a = analysis(name)
    figure = summary.draw(a)
    said = words(figure)
    refused = answer.anything_refused(a)
    assert (answer.sentence(a) if refused else "".join(part.text for part in answer.findings_headline(a))) in said
    for v in a.hypotheses:
        assert (f"{v.cause} {v.id}" in said) == refused
    lines = by_gid(figure, "limit")
    assert bool(lines) == (a.limit is not None)
    for line in lines:
        assert set(line.get_ydata()) == {a.limit.value}
    assert figure.get_size_inches()[0] == style.WIDTH_IN


def test_without_refusals_the_findings_stand_there_and_lookups_over_time(tmp_path: Path) -> None:
    path = write(tmp_path / "made.pcap", mixed(lookups(10, missing=3), resent([0.3, 0.9, 2.1, 4.5]).packets, ping(30 * S)))
    a = netlens.analyze(str(path))
    figure = summary.draw(a)
    said = words(figure)
    assert "Found: 2 problems" in said
    assert "Causes" not in said
    assert "a recording in which" not in said
    assert all(" ".join(each.text.split())[:60] in said for each in a.findings if each.severity != "note")
    assert by_gid(figure, "lookup answered")
    assert by_gid(figure, "lookup unanswered")
    assert by_gid(figure, "open")


def test_of_lookups_alone_there_are_no_empty_axes(tmp_path: Path) -> None:
    a = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(lookups(10, missing=3), ping(30 * S)))))
    figure = summary.draw(a)
    assert len(figure.axes) == 2  # lookups, and the findings
    assert by_gid(figure, "lookup unanswered")
    assert "no connection to it was captured" not in words(figure)


def test_every_refusal_is_a_cross_at_the_count_that_it_met(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    figure = summary.draw(a)
    on_curve = by_gid(figure, "rejected")[-1].get_offsets()
    r = a.assembled.situation.requests
    refused = r.rejected == 1
    rule = next(f for f in a.weighed.weighing.inference.fits if f.rule.name == a.limit.rule)
    assert on_curve[:, 1].tolist() == rule.counts.count[refused].tolist()
    assert np.allclose(on_curve[:, 0], (r.start_ns[refused] - scene.origin_ns(a)) / 1e9)


def test_shares_are_drawn_in_their_colours(analysis: Callable[[str], Any]) -> None:
    from matplotlib.colors import to_hex

    a = analysis("dns-over-tcp")
    figure = summary.draw(a)
    made = breakdown.stack(a.assembled.situation, a.limit.unit)
    for k, name in enumerate(breakdown.SHARES):
        drawn = by_gid(figure, f"share {name}")
        assert bool(drawn) == bool(made.counts[k].any())
        for each in drawn:
            colour = each.get_edgecolor() if name == "leftover" else each.get_facecolor()
            assert to_hex(colour[0]).upper() == style.SHARES[name]


def test_many_connections_become_a_strip() -> None:
    many = 4 * summary.SLICES + 1
    counts = np.zeros((len(breakdown.SHARES), many), np.int64)
    counts[0, many // 2] = 9

    class Short:
        t0, span = 0, 10 * many

    edges, drawn = summary._drawn(breakdown.Stack(np.arange(many) * 10, counts), Short())  # type: ignore[arg-type]
    assert len(edges) <= summary.SLICES + 1
    assert drawn[0].max() == 9  # the peak is kept


def test_pictures_of_an_analysis_know_its_refusals_and_limit(analysis: Callable[[str], Any], tmp_path: Path) -> None:
    a = analysis("two-causes")
    tmp_path = tmp_path / "a" / "folder of its own"
    written = [path for draw in plots.of_analysis(tmp_path, a) for path in draw()]
    assert all(path.stat().st_size > 0 for path in written)
    kinds = [f"{folder}{name}" for folder in ("vm/", "host/") for name in ("timeline", "concurrency", "lookups", "lifetimes")]
    assert {str(p.relative_to(tmp_path)) for p in written} == {f"{name}.{form}" for name in ("summary", *kinds) for form in ("png", "svg")}
    svg = {side: (tmp_path / side / "timeline.svg").read_text(encoding="utf-8") for side in ("vm", "host")}
    assert all('id="rejected"' in text for text in svg.values())
    assert 'id="limit"' in (tmp_path / "host" / "concurrency.svg").read_text(encoding="utf-8")
    assert 'id="limit"' not in (tmp_path / "vm" / "concurrency.svg").read_text(encoding="utf-8")  # the VM sees only its own part of it


def test_pictures_that_have_no_place_are_refused_by_name(analysis: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NetlensError, match=r"file/folder: cannot be made \(not a directory\)"):
        plots.of_analysis(tmp_path / "file" / "folder", analysis("two-causes"))


def test_labelled_exchanges_have_the_analysis_refusals(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    table = with_outcomes(a, "host")
    assert sum(v is True for v in table["rejected"].tolist()) == a.counts["rejections"]
    assert a.host.table("exchanges")["rejected"].tolist() != table["rejected"].tolist()


def test_the_same_analysis_gives_the_same_picture(analysis: Callable[[str], Any], tmp_path: Path) -> None:
    a = analysis("healthy")
    first = [p.read_bytes() for p in style.save(summary.draw(a), tmp_path / "a", "summary")]
    assert first == [p.read_bytes() for p in style.save(summary.draw(a), tmp_path / "b", "summary")]
