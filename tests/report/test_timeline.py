"""What one does with the timeline and the tables: choose a stretch, search, hide, filter, download, link, print."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from netlens.report import html, scene
from tests.report.browser import middle, opened

if TYPE_CHECKING:
    from tests.report.browser import Browser, Page

pytestmark = pytest.mark.browser
NAME = "two-causes"


def typed(page: Page, selector: str, text: str) -> None:
    page.run(f"(() => {{ const i = document.querySelector(`{selector}`); i.value = `{text}`; i.dispatchEvent(new Event('input')); }})()")
    page.frame()


def address(page: Page) -> str:
    """The fragment, once it says what is shown."""
    page.run("writeAddress()")
    return str(page.run("location.hash"))


def test_a_chosen_stretch_tells_what_the_tables_hold_of_it(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    a = analysis(NAME)
    page = opened(chromium, report(NAME))
    x, y = middle(page, "document.querySelector('#curves canvas')")
    page.mouse("mousePressed", x - 200, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x, y, button="left", buttons=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)
    page.frame()
    area = page.run("model.area")
    assert page.run("model.view.from === model.whole.from")  # choosing does not zoom
    wide = page.run("document.querySelector('#curves canvas').clientWidth - GUTTER - 8")
    whole = page.run("model.whole.to - model.whole.from")
    assert (area["to"] - area["from"]) / whole == pytest.approx(200 / wide, rel=0.02)
    t0 = scene.scene(a).t0
    r, x_rows = a.requests, a.host.table("exchanges")
    inside = r[(r["start_ns"] - t0 >= area["from"]) & (r["start_ns"] - t0 < area["to"])]
    assert len(inside) > 5
    rows = a.assembled.upstream.exchange_rows[a.assembled.rows[inside.index, 0]]
    told = page.run("statisticsOf(model.area)")
    assert told["sent"] == len(inside)
    assert told["refused"] == int(inside["rejected"].fillna(False).sum()) > 0
    assert (told["up"], told["down"]) == (int(x_rows["up_bytes"][rows].sum()), int(x_rows["down_bytes"][rows].sum()))
    # the most that was held: at the beginning of the stretch, or when one of its requests was sent
    moments = [area["from"] + t0, *inside["start_ns"]]
    held = max(int(((r["start_ns"] <= t) & (r["end_ns"] > t) & ~r["rejected"].fillna(False)).sum()) for t in moments)
    assert told["peaks"]["requests"] == held
    said = page.run("document.querySelector('#area').innerText")
    assert f"{told['sent']}" in said
    assert f"{told['refused']}" in said
    page.run("stage.focus({preventScroll: true})")
    page.press("z")
    assert page.run("[Math.round(model.view.from), Math.round(model.view.to)]") == [round(area["from"]), round(area["to"])]
    page.press("Escape")
    assert page.run("model.area === null && document.querySelector('#area').hidden && brush.hidden")
    assert page.complaints() == []


def test_a_request_on_its_way_to_a_relay_is_not_another(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    page = opened(chromium, report("own-concurrency-haproxy"))
    told = page.run("statisticsOf(model.whole)")
    assert (told["sent"], told["elsewhere"]) == (analysis("own-concurrency-haproxy").counts["exchanges"], 0)


def test_the_search_finds_in_all_tables_and_leads_to_each(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    page = opened(chromium, report(NAME))
    c = analysis(NAME).host.table("connections")
    port = str(c["orig_port"][3])
    typed(page, "#find", f"{port}")
    hits = page.run("model.hits.order")
    expected = {
        k for k, b in enumerate(page.run("model.core.bars.row.map((row, k) => [model.core.bars.capture[k], row])"))
        if port in page.run(f"textsOf(tableOf('connections', {b[0]}))[{b[1]}]")
    }  # fmt: skip
    assert expected <= set(hits)
    assert 0 < len(hits) < page.run("model.bars.n")
    page.run("find.focus()")
    page.press("Enter")
    assert page.run("model.picked.bar") == hits[0]
    page.run("[...document.querySelectorAll('#found button')].find((b) => b.textContent.startsWith('connections, host')).click()")
    page.frame()
    shown = page.run("[...document.querySelectorAll('.data tbody tr')].map((r) => r.innerText)")
    assert shown
    assert all(port in row for row in shown)
    typed(page, "#find", f"frame {int(c['first_frame'][3])}")
    assert page.run("barsOf(1) + 3") in page.run("model.hits.order")
    typed(page, "#find", "no such thing")
    assert "Nothing found" in page.run("document.querySelector('#found').innerText")
    typed(page, "#find", "")
    assert page.run("model.hits") is None
    assert page.complaints() == []


def test_the_legend_hides_and_shows(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report(NAME))
    held = "shownTotal(model.core.curves[model.unit].all).reduce((a, b) => a + b, 0)"
    drawn = "groups.map((g) => g.drawn.length)"
    before, bars = page.run(held), page.run(drawn)
    page.run("document.querySelector('[data-share=vm]').click()")
    page.frame()
    assert page.run(held) < before
    assert page.run("groups.filter((g) => g.whose === 0 && g.kind === 0).every((g) => g.drawn.length === 0)")
    assert page.run("document.querySelector('[data-share=vm]').ariaPressed") == "false"
    assert "hide=vm" in address(page)
    page.run("document.querySelector('[data-share=vm]').click()")
    page.frame()
    assert (page.run(held), page.run(drawn)) == (before, bars)


def test_a_table_downloads_as_the_command_line_writes_it(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    page = opened(chromium, report(NAME))
    page.run("document.querySelector('#tab-host-sessions').click()")
    page.run("HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; }")
    typed(page, '.data thead input[aria-label="Filter resp_port"]', "=443")
    page.run("document.querySelector('#csv').click()")
    name, url = page.run("window.saved")
    assert (name, url[:5]) == ("host-sessions.csv", "blob:")
    read = list(csv.DictReader(io.StringIO(page.run("csvOf(sheet)"))))
    table = analysis(NAME).host.table("sessions")
    kept = [k for k in range(table.rows) if table["resp_port"][k] == 443]
    assert len(read) == len(kept) < table.rows
    assert list(read[0]) == table.schema.names()
    for row, k in zip(read, kept, strict=True):
        for column in ("session_id", "orig_ip", "start_ns", "end_ns", "resp_bytes", "state", "sni", "resp_isn"):
            value = table[column][k]
            assert row[column] == ("" if value is None else str(value))
    assert page.run("csvOf({ table: { columns: [{ name: 'a', type: 'text', values: ['=1', 'b,\"c'] }] }, order: [0, 1] })") == (
        'a\n\'=1\n"b,""c"\n'
    )
    assert page.complaints() == []


def test_a_link_shows_the_same_again(report: Callable[[str], Path], chromium: Browser) -> None:
    path = report(NAME)
    page = opened(chromium, path)
    page.run("show(2e9, 9e9); setArea({ from: 3e9, to: 5e9 }); pick({ bar: 2, call: model.callsFrom[2] })")
    page.run("document.querySelector('[data-unit=connections]').click(); document.querySelector('[data-order=slowest]').click()")
    page.run(
        "document.querySelector('#tab-vm-connections').click(); document.querySelector('.data th[data-column=start_ns] .sort').click()"
    )
    typed(page, ".table-tools input", "443")
    typed(page, "#find", "api")
    page.run("document.querySelector('[data-share=refused]').click(); leadTo('causes')")
    facts = """[model.view.from, model.view.to, model.area, model.picked.bar, model.picked.call, model.unit, water.order, sheet.table.id, sheet.sort,
        sheet.text, sheet.order.length, find.value, [...model.hidden], state.section]"""
    shown = page.run(facts)
    link = address(page)
    again = chromium.page()
    again.call("Page.navigate", url=path.resolve().as_uri() + link)
    again.wait("document.documentElement?.dataset.ready === 'true'")
    again.frame()
    assert again.run(facts) == shown
    assert address(again) == link
    assert again.complaints() == []


@pytest.mark.parametrize(
    "fragment",
    ["view=9..1&connection=7.99999&table=none&sort=-none&is.none=3&unit=bytes&lookup=0.99999&area=x", "nowhere", "%", "=&=&view="],
)
def test_an_address_that_says_nonsense_changes_nothing(fragment: str, report: Callable[[str], Path], chromium: Browser) -> None:
    page = chromium.page()
    page.call("Page.navigate", url=report(NAME).resolve().as_uri() + "#" + fragment)
    page.wait("document.documentElement?.dataset.ready === 'true'")
    page.frame()
    assert page.run("[model.view.from === model.whole.from, model.picked, model.area, sheet.table.kind, sheet.order.length]") == [
        True, None, None, "requests", page.run("sheet.table.rows"),
    ]  # fmt: skip
    assert page.complaints() == []


def test_a_chosen_theme_is_remembered(report: Callable[[str], Path], chromium: Browser) -> None:
    path = report(NAME)
    page = opened(chromium, path)
    dark = "document.documentElement.classList.contains('dark')"
    page.run("document.querySelector('#theme').click()")
    try:
        assert page.run(dark) is True
        assert opened(chromium, path).run(dark) is True
        assert "theme=dark" in address(page)
    finally:
        page.run("localStorage.clear()")


def test_the_axis_stays_in_sight_below_many_lanes(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report(NAME), height=500)
    page.run("stage.scrollIntoView({behavior: 'instant', block: 'start'})")
    page.frame()
    bottom, foot = page.run("[document.querySelector('#axis').getBoundingClientRect().bottom, stage.getBoundingClientRect().bottom]")
    assert bottom <= 500 < foot


def test_lookups_have_a_lane_and_lead_to_what_followed(
    report: Callable[[str], Path], analysis: Callable[[str], Any], chromium: Browser
) -> None:
    page = opened(chromium, report(NAME))
    tables = [analysis(NAME).sides[side].capture.table("lookups") for side in ("vm", "host")]
    assert page.run("lookupLanes.map((lane) => lane.order.length)") == [t.rows for t in tables]
    followed = next(k for k, ids in enumerate(tables[1]["connection_ids"].tolist()) if ids)
    x, y = page.run(f"""(() => {{
      const lane = lookupLanes[1], box = (lane.canvas.scrollIntoView({{behavior: 'instant', block: 'center'}}), lane.canvas.getBoundingClientRect());
      return [box.left + scaleX(box.width)(lane.start[{followed}]) + 1, box.top + lane.lane[{followed}] * LOOKUP_ROW + 6];
    }})()""")
    page.click(x, y)
    assert page.run("model.picked.lookup.capture") == 1
    page.run(f"pick({{ lookup: {{ capture: 1, row: {followed} }} }})")
    said = page.run("picked.innerText")
    assert str(tables[1]["qname"][followed]) in said
    assert f"frame.number == {int(tables[1]['query_frame'][followed])}" in said
    page.run("document.querySelector('#picked .met-then .chip').click()")
    assert page.run("model.picked.bar") == page.run(f"barsOf(1) + {int(tables[1]['connection_ids'][followed][0])}")
    assert page.complaints() == []


def test_a_phone_folds_what_follows_the_timeline_and_links_unfold_it(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report(NAME), width=390, height=844, touch=True)
    assert page.run("[...document.querySelectorAll('details.fold')].map((d) => d.open)") == [False] * 6
    page.run("document.querySelector('.bar a[href=\"#causes\"]').click()")
    page.frame()
    assert page.run("document.querySelector('#causes .cause').checkVisibility()")
    assert page.run("document.querySelector('#fixes .fix').checkVisibility()") is False
    page.run("for (const d of document.querySelectorAll('details.fold')) d.open = true")
    page.frame()
    clipped = page.run(
        "[...document.querySelectorAll('.water th, .water td.number')].filter((c) => c.checkVisibility() && c.scrollWidth > c.clientWidth + 1).length"
    )
    assert clipped == 0
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_numbers_stay_with_their_units() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert html._whole("12 of 67 requests took 3.1 ms (± 2 µs, p = 0.002), 8 to 12 % of all") == (
        f"12{space}of{space}67 requests took 3.1{space}ms (±{space}2{space}µs, p ={space}0.002), 8{space}to{space}12{space}% of all"
    )
    assert html._whole("the 2 sides of 1 s") == f"the 2 sides of 1{space}s"


def test_paper_has_whole_tables_or_says_what_it_leaves_out(report: Callable[[str], Path], chromium: Browser, tmp_path: Path) -> None:
    page = opened(chromium, report(NAME), width=390, height=844)
    page.run("document.querySelector('#tab-requests')?.click()")
    count = "document.querySelectorAll('%s').length"
    rows, water = count % ".data tbody tr", count % "#water-rows tr"
    page.run(f"addEventListener('beforeprint', () => {{ window.printed = [{rows}, {water}]; }})")
    page.pdf(tmp_path / "report.pdf")
    requests = page.run("sheet.table.rows")
    assert page.run("window.printed") == [requests, page.run("water.rows.length")]
    assert page.run(rows) == 25
    assert page.run("document.querySelector('#table-printed').textContent").startswith("requests to api.z.ai: rows 1 to ")
    assert page.run("[...document.querySelectorAll('details.fold')].some((d) => d.open)") is False  # as it was
