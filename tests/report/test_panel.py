"""The panel beside the timeline: a request's chain over all its relays, with the time in each, frames and filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import netlens
from netlens.chains.divided import PHASES, RELAY
from netlens.report import html
from tests.report.browser import opened, place_of

if TYPE_CHECKING:
    from tests.report.browser import Browser

pytestmark = pytest.mark.browser
#: What the panel shows of every request: the stations and what lies between, and each time with its phase.
CHAINS = "model.core.time.begin.map((_, k) => chainOf(k).map((part) => [part.kind, part.name, part.spent]))"


@pytest.mark.parametrize("name", ["same-nat-ip-sshuttle", "own-concurrency-haproxy", "own-concurrency-connect", "same-nat-ip-vxlan"])
def test_a_chain_names_all_relays_in_order_and_divides_the_time_without_rest(
    name: str, report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    page = opened(chromium, report(name))
    divided = analysis(name).divided
    chains = page.run(CHAINS)
    assert len(chains) == len(divided) > 0
    for chain, d in zip(chains, divided, strict=True):
        assert (chain[0][0], chain[0][1]) == ("party", d.party)
        assert (chain[-1][0], chain[-1][1]) == ("party", d.server)
        relays = [[what, [["relay", d.ns(RELAY, k)]]] for k, what in enumerate(d.relays)]
        relays += [["sshuttle", [["relay", None]]]] if RELAY in d.unmeasured else []
        assert [[what.replace(" > ", ">"), spent] for kind, what, spent in chain if kind == "relay"] == relays
        spent = [tuple(each) for _, _, times in chain for each in times]
        for phase in set(PHASES) - {RELAY} - d.unmeasured:
            assert sum(ns for what, ns in spent if what == phase) == d.ns(phase)
        assert sum(ns or 0 for _, ns in spent) == d.end_ns - d.begin_ns - sum(d.ns(phase) for phase in d.unmeasured)


def test_what_one_capture_cannot_tell_apart_is_said(captures: Path, tmp_path: Path, chromium: Browser) -> None:
    a = netlens.analyze(vm=captures / "same-nat-ip-sshuttle" / "vm.pcap.gz")
    html.write(a, a.to_dict(), tmp_path / "report.html")
    page = opened(chromium, tmp_path / "report.html")
    assert ["relay", "sshuttle", [["relay", None]]] in page.run(CHAINS)[0]
    page.run("document.querySelector('.water-who').click()")
    assert "sshuttle not measured" in " ".join(page.run("document.querySelector('.chain').innerText").split())


def test_a_bar_of_the_waterfall_opens_the_panel_and_esc_closes_it(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    a = analysis("same-nat-ip-sshuttle")
    page = opened(chromium, report("same-nat-ip-sshuttle"))
    wide = page.run("stage.clientWidth")
    page.run("document.querySelector('[data-order=slowest]').click()")
    page.run("document.querySelector('#water-rows .drawn').click()")
    page.frame()
    slowest = max(range(len(a.divided)), key=lambda k: a.divided[k].end_ns - a.divided[k].begin_ns)
    assert page.run("[model.picked.time, model.calls.request[model.picked.call]]") == [slowest, a.divided[slowest].request]
    assert page.run("document.querySelector('#water-rows tr').classList.contains('picked')")
    left, top = page.run("(() => { const b = picked.getBoundingClientRect(); return [b.left, b.top]; })()")
    assert left >= page.run("stage.getBoundingClientRect().right") > 0  # beside what is drawn, not over it
    assert top == 0
    page.press("Escape")
    assert page.run("picked.hidden")
    page.frame()
    assert page.run("stage.clientWidth") == wide
    assert page.complaints() == []


def test_a_picked_request_has_its_frames_in_both_captures(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    a = analysis("own-concurrency-haproxy")
    k = next(k for k, d in enumerate(a.divided) if len(d.passes) == 3 and d.request >= 0)
    page = opened(chromium, report("own-concurrency-haproxy"))
    page.run(f"pick({{ ...placeOf({k}), time: {k} }}, {{ reveal: true }})")
    page.frame()
    shown = page.run(
        "[...document.querySelectorAll('#picked .half')].map((h) => [...h.querySelectorAll(':scope > dl dd')].map((d) => d.textContent))"
    )
    tables = [a.sides[p.vantage].capture.table("exchanges") for p in a.divided[k].passes]
    names = ("start_frame", "response_frame", "end_frame")
    assert shown == [[f"frame {int(x[name][p.exchange]):,}" for name in names] for x, p in zip(tables, a.divided[k].passes, strict=True)]
    assert page.run("[...document.querySelectorAll('#picked .half pre')].length") == 3


def test_the_requests_of_a_connection_are_walked_through(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report("two-causes"))
    bar = page.run("[...Array(model.bars.n).keys()].find((b) => model.callsFrom[b + 1] - model.callsFrom[b] > 2)")
    page.click(*place_of(page, bar))
    first = page.run("model.callsFrom[model.picked.bar]")
    page.run("pick({ bar: model.picked.bar })")
    seen = []
    for _ in range(2):
        page.run("document.querySelector('.of-many button:last-child').click()")
        seen.append(page.run("model.picked.call"))
    assert seen == [first + 1, first + 2]


def test_on_a_phone_the_panel_is_a_sheet_at_the_foot(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report("two-causes"), width=390, height=844, touch=True)
    page.run("pick({ bar: 0 })")
    page.frame()
    box = page.run("(() => { const b = picked.getBoundingClientRect(); return [b.left, b.right, b.bottom, b.height]; })()")
    assert box[:3] == [0, 390, 844]
    assert box[3] < 0.6 * 844
    assert page.run("document.documentElement.scrollWidth") <= 390
