"""report.html: what stands in the file, and (``-m browser``) what Chromium makes of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import netlens
from netlens.errors import NetlensError
from netlens.report import answer, findings, html, overview, page_data, scene
from netlens.text import printable
from tests.lenses import made
from tests.parsers import build
from tests.report.browser import middle, opened, pixel, place_of
from tests.wire.test_tls import hello

if TYPE_CHECKING:
    from tests.report.browser import Browser

SIZE_LIMIT = 8_000_000  # of a recording of the laboratory; they are about 150 kB
SOME = ("two-causes", "fan-out", "dns-over-tcp", "http2", "healthy", "provider-steady", "same-nat-ip-nat", "zombie-clock-skew")
HOSTILE = b"</script><img src=x onerror=document.title='pwned'>\x1b[31m\xe2\x80\xae"


def data(text: str, name: str) -> Any:
    """A chunk of the page as the script sees it."""
    packed = re.search(rf'id="data-{name}">([^<]*)<', text)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


class Reader(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._within = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> netlens.analysis.Analysis:
    """A capture whose server name, looked-up name and folder would be markup."""
    folder = tmp_path_factory.mktemp("h") / "x<img src=x onerror=document.title='pwned'>\u202eeman"
    folder.mkdir()
    talk = build.Talk(("192.168.64.2", 40000), ("203.0.113.9", 443))
    talk.open()
    talk.up("PA", hello(HOSTILE))
    talk.down("PA", b"\x16\x03\x03\x00\x04abcd")
    talk.up("PA", b"x" * 200)
    talk.down("PA", b"y" * 300)
    talk.close()
    label = HOSTILE[:60]
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + bytes([len(label)]) + label + b"\x00\x00\x01\x00\x01"
    asked = build.Packet(0, build.datagram(("192.168.64.2", 5353), ("192.168.64.1", 53), question))
    path = build.write(folder / "vm.pcap", [asked, *talk.packets])
    return netlens.analyze(vm=path)


# --- the file ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_the_first_screen_stands_in_the_html(name: str, page_text: Callable[[str], str], analysis: Callable[[str], Any]) -> None:
    a, text = analysis(name), page_text(name)
    read = Reader(text)
    said = " ".join(read.text.split())
    assert answer.question(a) in said
    refused = answer.anything_refused(a)
    headline = answer.headline(a) if refused else answer.findings_headline(a)
    assert " ".join("".join(part.text for part in headline).split()) in said
    first_screen = said[: said.index("Timeline Requests in flight")]
    for fact in answer.how_sure(a):
        assert fact.text in first_screen
    if (fix := a.best_fix) is not None and fix.command:
        assert " ".join(fix.command.split()) in first_screen
    for f in findings.beside_refusals(a):
        assert f.text in first_screen
    ids = {attributes.get("id") for _, attributes in read.tags}
    assert ({"causes", "fixes"} <= ids) is refused
    for v in a.hypotheses:
        assert (v.claim in said) is refused
        for e in v.evidence:
            assert e.text in said or not refused
    assert len(text) < SIZE_LIMIT


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> netlens.analysis.Analysis:
    """A capture of a stranger: lookups without answer, HTTP errors, and nothing refused by a limit."""
    asked = [p for k in range(4) for at in (0, 2) for p in made.lookup(f"n{k}.example.test", k * 100 * made.MS + at * made.S, txid=k)]
    talk = made.talk()
    for _ in range(5):
        made.exchange(talk, answer=b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    packets = build.mixed(asked, made.close(talk).packets, made.ping(30 * made.S))
    return netlens.analyze(str(build.write(tmp_path_factory.mktemp("troubled") / "capture.pcap", packets)))


@pytest.fixture(scope="session")
def lookups_only(tmp_path_factory: pytest.TempPathFactory) -> netlens.analysis.Analysis:
    """Without any TCP: the name that is looked up would be markup."""
    asked = [
        p for k in range(4) for p in made.lookup(f"<script>alert({k})</script>.test", k * made.S, k * made.S + 10 * made.MS, 2, txid=k)
    ]
    return netlens.analyze(str(build.write(tmp_path_factory.mktemp("lookups") / "<b>.pcap", [*asked, *made.ping(30 * made.S)])))


def test_without_refusals_the_page_leads_with_findings_and_overview(troubled: netlens.analysis.Analysis) -> None:
    a, text = troubled, html.render(troubled, troubled.to_dict())
    read = Reader(text)
    said = " ".join(read.text.split())
    first_screen = said[: said.index("Timeline Requests in flight")]
    assert "What is wrong in this capture?" in first_screen
    assert findings.headline(a) in first_screen
    wrong = [f for f in a.findings if f.severity != "note"]
    assert {"dns-unanswered", "http-errors"} <= {f.id for f in wrong}
    places = [first_screen.index(f.text) for f in wrong]
    assert places == sorted(places)  # the gravest first
    for f in wrong:
        assert f.severity in first_screen
        assert f.advice in first_screen
        assert f.filter in first_screen
    for _, told in overview.lines(a.capture, 1):
        assert " ".join(told.split()) in first_screen
    assert not {"causes", "fixes"} & {attributes.get("id") for _, attributes in read.tags}
    assert not any(v.claim in said for v in a.hypotheses)


def test_a_page_without_findings_says_what_was_looked_at(page_text: Callable[[str], str]) -> None:
    said = Reader(page_text("healthy")).text
    assert "No problem found." in said
    assert "Looked at: names, handshakes, sameness, " in said


def test_what_else_was_found_stands_below_the_refusals(page_text: Callable[[str], str], analysis: Callable[[str], Any]) -> None:
    """The refusals of the target are the answer and not listed again."""
    said = " ".join(Reader(page_text("fan-out")).text.split())
    also = said[said.index("Also found") : said.index("Requests in flight")]
    [other] = [f for f in findings.beside_refusals(analysis("fan-out")) if f.severity != "note"]
    assert other.text in also
    assert f"in {analysis('fan-out').host.paths[0].rpartition('/')[2]}" in also
    assert not any(f.id == "refused" for f in findings.beside_refusals(analysis("two-causes")))


def test_only_frames_of_tcp_lead_to_the_timeline(troubled: netlens.analysis.Analysis) -> None:
    by_id = {row["f"].id: row for row in html._findings(troubled, troubled.findings)["shown"]}
    assert by_id["dns-unanswered"]["frames"] == []
    assert {each["session"] for each in by_id["http-errors"]["frames"]} == {0}


def test_findings_of_a_rotated_capture_say_how_their_frames_are_numbered(tmp_path: Path) -> None:
    asked = [p for k in range(4) for at in (0, 2) for p in made.lookup(f"n{k}.example.test", k * 100 * made.MS + at * made.S, txid=k)]
    paths = [str(build.write(tmp_path / f"part{k}.pcap", part)) for k, part in enumerate((asked, made.ping(30 * made.S)))]
    found = netlens.analyze(paths)
    assert "Wireshark filter once mergecap has joined the 2 files" in Reader(html.render(found, found.to_dict())).text


def test_notes_and_what_exceeds_the_first_screen_unfold(troubled: netlens.analysis.Analysis) -> None:
    f = troubled.findings[0]
    many = [replace(f, text=f"number {k}") for k in range(findings.SHOWN + 2)]
    shown = html._findings(troubled, many)
    assert len(shown["shown"]) == findings.SHOWN
    assert [row["f"].text for row in shown["rest"]] == [f"number {findings.SHOWN}", f"number {findings.SHOWN + 1}"]
    assert shown["more"] == "2 more"
    shown = html._findings(troubled, [f, replace(f, severity="note", text="known")])
    assert (len(shown["shown"]), shown["more"]) == (1, "1 note")


def test_hostile_words_of_a_finding_are_text(troubled: netlens.analysis.Analysis) -> None:
    raw = HOSTILE.decode()
    f = replace(troubled.findings[0], text=raw, advice=raw, filter=raw)
    text = html.render(replace(troubled, findings=[f, replace(f, severity="note")]), troubled.to_dict())
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert [tag for tag, _ in Reader(text).tags].count("script") == 3
    assert Reader(text).text.count("onerror") == 6


def test_nothing_outside_the_file_is_named(page_text: Callable[[str], str]) -> None:
    for tag, attributes in Reader(page_text("two-causes")).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img", "audio", "video")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert "src" not in attributes
        href = attributes.get("href")
        assert href is None or href.startswith("#")


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(page_text: Callable[[str], str]) -> None:
    text = page_text("two-causes")
    [policy] = [a["content"] for tag, a in Reader(text).tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[rule] == [f"'sha256-{digest}'"]


def test_links_lead_somewhere_and_ids_are_unique(page_text: Callable[[str], str]) -> None:
    for name in ("two-causes", "healthy"):
        tags = Reader(page_text(name)).tags
        ids = [a["id"] for _, a in tags if "id" in a]
        assert len(ids) == len(set(ids))
        for _, attributes in tags:
            if (href := attributes.get("href")) is not None:
                assert href[1:] in ids
            for reference in ("aria-labelledby", "aria-describedby", "aria-controls"):
                assert set((attributes.get(reference) or "").split()) <= set(ids)


def test_numbers_of_the_data_are_those_of_the_tables(page_text: Callable[[str], str], analysis: Callable[[str], Any]) -> None:
    a, text = analysis("two-causes"), page_text("two-causes")
    tables = {t["id"]: t for t in data(text, "tables")}
    for side in ("vm", "host"):
        for kind in ("connections", "sessions", "lookups", "hellos", "exchanges", "tunnels", "quality"):
            table = a.sides[side].capture.table(kind)
            shown = tables[f"{side}-{kind}"]
            assert shown["rows"] == table.rows
            assert [c["name"] for c in shown["columns"]] == table.schema.names()
    ids = next(c for c in tables["host-sessions"]["columns"] if c["name"] == "session_id")
    assert ids["deltas"] == [0, *[1] * (a.host.table("sessions").rows - 1)]
    refused = next(c for c in tables["requests"]["columns"] if c["name"] == "outcome")["values"].count("refused")
    assert refused == a.counts["rejections"]


def test_the_vms_times_are_on_the_hosts_clock(analysis: Callable[[str], Any]) -> None:
    a = analysis("zombie-clock-skew")
    s = scene.scene(a)
    vm, host = s.bars
    paired = vm.mate >= 0
    assert paired.any()
    late = host.start[vm.mate[paired] - host.offset] - vm.start[paired]
    assert (abs(late) < 50_000_000).all()  # 10 s and more apart without the clock
    assert (host.mate[vm.mate[paired] - host.offset] == paired.nonzero()[0] + vm.offset).all()


@pytest.mark.parametrize("name", ["two-causes", "http2", "same-nat-ip-nat"])
def test_every_refusal_stands_on_a_bar_of_the_capture_nearest_to_the_provider(name: str, analysis: Callable[[str], Any]) -> None:
    a = analysis(name)
    s = scene.scene(a)
    last = s.bars[-1]
    refused = s.calls.take((s.calls.rejected == 1) & (last.offset <= s.calls.bar))
    assert len(refused) == a.counts["rejections"]
    assert len(set(refused.request.tolist())) == len(refused)


def test_the_evidence_counts_every_request_once(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    rows = html.met(a)
    assert rows is not None
    assert sum(r["accepted"] + r["refused"] for r in rows["rows"]) == int((a.assembled.situation.requests.rejected >= 0).sum())
    assert [r["others"] for r in rows["rows"] if r["first_at_limit"]] == [str(a.limit.value)]


def test_the_same_analysis_gives_the_same_bytes(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    assert html.render(a, a.to_dict()) == html.render(a, a.to_dict())


def test_hostile_strings_are_text(hostile: Any) -> None:
    text = html.render(hostile, hostile.to_dict())
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    tags = [tag for tag, _ in Reader(text).tags]
    assert tags.count("script") == 3
    assert "pwned" in Reader(text).text
    names = [v for t in data(text, "tables") for c in t["columns"] if c["name"] in ("sni", "qname") for v in c["values"] if v]
    assert any("onerror" in n for n in names)
    assert all(n.isprintable() for n in names)


def test_a_string_that_no_parser_escaped_is_escaped_in_the_data() -> None:
    raw = HOSTILE.decode()
    [shown] = page_data._values(np.array([raw], object), "string")
    [[listed]] = page_data._values(np.array([[raw], None], object)[:1], "list<string>")
    assert shown == listed
    assert shown.isprintable()
    packed = page_data.pack({"name": raw, "half": printable("\udc80")})
    assert re.fullmatch("[A-Za-z0-9+/=]+", packed)


def test_write_replaces_the_file_or_says_why_not(analysis: Callable[[str], Any], tmp_path: Path) -> None:
    a = analysis("healthy")
    path = tmp_path / "report.html"
    path.write_text("old")
    html.write(a, a.to_dict(), path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(NetlensError):
        html.write(a, a.to_dict(), tmp_path / "missing" / "report.html")


def test_one_capture_of_a_side_nobody_told(captures: Path) -> None:
    a = netlens.analyze(captures / "two-causes" / "host.pcap.gz")
    text = html.render(a, a.to_dict())
    assert "Only one side was captured" in text
    assert data(text, "core")["captures"][0]["name"] == "capture"


def test_the_scripts_bring_no_markup_and_no_eval() -> None:
    for path in sorted(html.FOLDER.glob("*.js")):
        assert path.name in html.SCRIPTS
        code = path.read_text(encoding="utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
            "XMLHttpRequest",
            "import(",
        ):
            assert word not in code, path.name
        assert "</script" not in code


def test_colours_of_the_page_are_those_of_the_pictures() -> None:
    from netlens.report.plots import style

    css = (html.FOLDER / "report.css").read_text(encoding="utf-8")
    light = css[css.index(":root {") : css.index(":root.dark")]
    for name, colour in style.SHARES.items():
        assert f"--{name}: {colour.lower()};" in light
    assert f"--rejected: {style.REJECTED.lower()};" in light


# --- in Chromium ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("name", SOME)
def test_a_report_opens_from_disk_without_a_word_or_a_request(
    name: str, report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any]
) -> None:
    path = report(name)
    page = opened(chromium, path)
    assert page.complaints() == []
    assert page.requests() == [path.resolve().as_uri()]
    assert page.run("document.querySelector('.headline').getBoundingClientRect().bottom < innerHeight")
    assert page.run("document.querySelectorAll('.cards .card').length") == 3
    assert page.run("[...document.querySelectorAll('.cards .card h2')].every((h) => h.getBoundingClientRect().bottom < innerHeight)")
    if analysis(name).counts["rejections"]:  # a first-time reader finds evidence and a command without scrolling
        assert page.run(
            "['.evidence', '.fix-card .command'].every((s) => document.querySelector(s).getBoundingClientRect().bottom < innerHeight)"
        )
    drawn = "[...document.querySelectorAll('#stage canvas')].map((c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v))"
    assert all(page.run(drawn))


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 640, 390])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["troubled", "lookups_only"])
def test_findings_show_on_any_screen(
    which: str, width: int, dark: bool, request: pytest.FixtureRequest, tmp_path: Path, chromium: Browser
) -> None:
    a = request.getfixturevalue(which)
    path = tmp_path / "report.html"
    html.write(a, a.to_dict(), path)
    page = opened(chromium, path, width=width, height=844, dark=dark, touch=width < 600)
    assert page.run("document.documentElement.scrollWidth") <= width
    shown = page.run("[...document.querySelectorAll('.finding')].filter((e) => e.checkVisibility()).map((e) => e.innerText)")
    wrong = [f for f in a.findings if f.severity != "note"]
    assert len(shown) == len(wrong)
    for f, said in zip(wrong, shown, strict=True):
        assert all(part in " ".join(said.split()) for part in (f.severity, f.text, f.filter))
    assert page.run("document.querySelector('.finding').getBoundingClientRect().bottom < innerHeight")
    assert page.run("document.querySelector('#stage').checkVisibility()")  # also of lookups alone
    assert page.run("document.querySelector('#curves').checkVisibility()") is (which == "troubled")
    assert page.run((Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")) == []
    assert page.complaints() == []
    assert page.requests() == [path.resolve().as_uri()]


@pytest.mark.browser
def test_a_finding_is_copied_and_leads_to_its_connection(troubled: Any, tmp_path: Path, chromium: Browser) -> None:
    path = tmp_path / "report.html"
    html.write(troubled, troubled.to_dict(), path)
    page = opened(chromium, path)
    page.run("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.run("document.querySelector('.finding .copy').click()")
    page.frame()
    assert page.run("window.copied") == troubled.findings[0].filter
    page.run("document.querySelector('.finding .chip').click()")
    page.frame()
    frame = page.run("Number(document.querySelector('.finding .chip').dataset.frame)")
    assert page.run("[model.picked.frame.number, model.picked.bar]") == [frame, 0]
    assert f"frame.number == {frame}" in page.run("document.querySelector('#picked').innerText")
    assert page.complaints() == []


@pytest.mark.browser
def test_a_click_shows_the_connection_on_both_sides_and_its_filters(
    report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any], captures: Path, tshark: str
) -> None:
    a = analysis("two-causes")
    page = opened(chromium, report("two-causes"))
    vm, host = scene.scene(a).bars
    bar = int(vm.mate[2])
    other = next(k for k in range(len(vm)) if k != 2)
    page.click(*place_of(page, bar))
    assert page.run("model.picked.bar") == bar
    assert page.run("[isPicked(2), isPicked(model.bars.mate[2])]") == [True, True]
    assert pixel(page, other) != pixel(page, 2)  # the others are dimmed
    filters = page.run("[...document.querySelectorAll('#picked .half pre')].map((p) => p.textContent)")
    assert len(filters) == 2
    for side, bars, row, shown in (("vm", vm, 2, filters[0]), ("host", host, bar - host.offset, filters[1])):
        out = subprocess.run(
            [tshark, "-r", captures / "two-causes" / f"{side}.pcap.gz", "-Y", shown, "-T", "fields", "-e", "frame.number"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        frames = [int(line) for line in out.stdout.split()]
        connection = bars.side.connections
        assert (frames[0], frames[-1]) == (int(connection["first_frame"][row]), int(connection["last_frame"][row]))
    page.press("Escape")
    assert page.run("document.querySelector('#picked').hidden")


@pytest.mark.browser
def test_hover_tells_all_facts_and_frames(report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any]) -> None:
    page = opened(chromium, report("two-causes"))
    page.mouse("mouseMoved", *place_of(page, 0))
    page.frame()
    said = page.run("document.querySelector('#tip').innerText")
    c = analysis("two-causes").vm.table("connections")
    for fact in (
        c["orig_ip"][0],
        str(c["orig_port"][0]),
        c["sni"][0],
        c["state"][0],
        f"{int(c['first_frame'][0]):,} to {int(c['last_frame'][0]):,}",
    ):
        assert fact in said


@pytest.mark.browser
def test_keys_zoom_and_pan_and_all_shows_all(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report("two-causes"))
    x, y = middle(page, "document.querySelector('#curves canvas')")
    page.run("show(3e9, 9e9)")
    page.frame()
    span, whole = page.run("[model.view.to - model.view.from, model.whole.to - model.whole.from]")
    before = page.run("model.view.from")
    page.run("stage.focus({preventScroll: true})")
    page.press("ArrowRight")
    assert page.run("model.view.from") == pytest.approx(before + 0.2 * span, rel=1e-6)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-120, modifiers=2)
    page.wait(f"model.view.to - model.view.from < {0.99 * span}")
    page.press("0")
    assert page.run("model.view.to - model.view.from") == whole
    assert page.complaints() == []


@pytest.mark.browser
def test_keys_walk_through_refusals_and_frames_of_evidence_lead_to_them(
    report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any]
) -> None:
    a = analysis("two-causes")
    page = opened(chromium, report("two-causes"))
    page.run("stage.focus({preventScroll: true})")
    seen = []
    for _ in range(a.counts["rejections"]):
        page.press("n")
        seen.append(page.run("model.calls.request[model.picked.call]"))
    assert seen == [k for k, label in enumerate(a.assembled.situation.requests.rejected.tolist()) if label == 1]
    page.run("document.querySelector('#causes .chip').click()")
    page.frame()
    frame = page.run("Number(document.querySelector('#causes .chip').dataset.frame)")
    assert page.run("model.picked.frame.number") == frame
    assert f"frame.number == {frame}" in page.run("document.querySelector('#picked').innerText")
    assert a.assembled.situation.requests.host_frame[page.run("model.calls.request[model.picked.call]")] == frame


@pytest.mark.browser
@pytest.mark.parametrize("name", ["own-concurrency-busy-host", "own-concurrency-haproxy"])
def test_each_sides_curve_has_the_refusals_of_that_side(
    name: str, report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any]
) -> None:
    """Whoever's connection carries them: over a proxy it is the host's."""
    r = analysis(name).assembled.situation.requests
    page = opened(chromium, report(name))
    assert page.run("model.scope") == "side"
    shown = page.run("Object.fromEntries(panels().map(([key]) => [key, refusalsOf(key).length]))")
    assert shown == {side: int(((r.side == code) & (r.rejected == 1)).sum()) for side, code in (("vm", 0), ("host", 1)) if side in shown}
    assert sum(shown.values()) == analysis(name).counts["rejections"] > 0


@pytest.mark.browser
@pytest.mark.parametrize("name", ["two-causes", "own-concurrency-haproxy"])
def test_what_a_refused_request_met_is_listed(
    name: str, report: Callable[[str], Path], chromium: Browser, analysis: Callable[[str], Any]
) -> None:
    """The page lists who held the places; where nothing is uncertain that are as many as were counted."""
    a = analysis(name)
    fit = scene.shown_rule(a)
    assert fit is not None
    page = opened(chromium, report(name))
    listed = page.run("model.refusals.map((k) => [model.calls.request[k], othersAt(k).length])")
    sure = [(k, n) for k, n in listed if fit.counts.low[k] == fit.counts.high[k]]
    assert sure
    assert all(n == fit.counts.count[k] for k, n in sure)


@pytest.mark.browser
def test_tables_sort_filter_page_and_lead_to_the_timeline(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report("two-causes"))

    def column(name: str) -> list[str]:
        return page.run(  # type: ignore[no-any-return]
            f"(() => {{ const at = [...document.querySelectorAll('.data thead th')].findIndex((h) => h.dataset.column === '{name}');"
            "return [...document.querySelectorAll('.data tbody tr')].map((r) => r.cells[at].textContent); })()"
        )

    def type_into(selector: str, text: str) -> None:
        page.run(
            f"(() => {{ const i = document.querySelector(`{selector}`); i.value = '{text}'; i.dispatchEvent(new Event('input')); }})()"
        )

    page.run("document.querySelector('#tab-host-sessions').click()")
    page.run("document.querySelector('.data th[data-column=\"resp_bytes\"] .sort').click()")
    sizes = [int(v.replace(",", "")) for v in column("resp_bytes")]
    assert sizes == sorted(sizes)
    page.run("document.querySelector('.data th[data-column=\"resp_bytes\"] .sort').click()")
    assert page.run("document.querySelector('.data th[data-column=\"resp_bytes\"]').getAttribute('aria-sort')") == "descending"
    assert [int(v.replace(",", "")) for v in column("resp_bytes")] == sizes[::-1]
    middle_size = sizes[len(sizes) // 2]
    type_into('.data thead input[aria-label="Filter resp_bytes"]', f">{middle_size}")
    assert len(column("resp_bytes")) == sum(v > middle_size for v in sizes)
    type_into('.data thead input[aria-label="Filter resp_bytes"]', f"{sizes[0]}..{sizes[1]}")
    assert len(column("resp_bytes")) == sum(sizes[0] <= v <= sizes[1] for v in sizes)
    type_into('.data thead input[aria-label="Filter resp_bytes"]', "")
    type_into(".table-tools input", "no such thing")
    assert column("session_id") == [] or page.run("document.querySelector('#table-status').textContent").startswith("0 rows")
    page.run("document.querySelector('#tab-requests').click()")
    assert len(column("request")) == 25
    page.run("document.querySelector('[data-turn=\"1\"]').click()")
    assert column("request")[0] == "25"
    page.run("document.querySelector('.data tbody tr').click()")
    page.frame()
    assert page.run("model.calls.request[model.picked.call]") == 25
    assert page.run("document.querySelector('.data tbody tr').classList.contains('picked')")
    assert page.complaints() == []


@pytest.mark.browser
def test_hostile_strings_run_nothing_and_show_as_text(hostile: Any, tmp_path: Path, chromium: Browser) -> None:
    path = tmp_path / "report.html"
    html.write(hostile, hostile.to_dict(), path)
    page = opened(chromium, path)
    for tab in page.run("[...document.querySelectorAll('#table-tabs button')].map((b) => b.id)"):
        page.run(f"document.getElementById('{tab}').click()")
    page.mouse("mouseMoved", *place_of(page, 0))
    page.click(*place_of(page, 0))
    assert "onerror" in page.run("document.querySelector('#picked').innerText")
    assert page.run("document.images.length") == 0
    assert "pwned" not in page.run("document.title").replace("onerror=document.title='pwned'", "")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", page.run("document.body.innerText"))
    assert page.complaints() == []
    assert page.requests() == [path.resolve().as_uri()]


@pytest.mark.browser
def test_the_policy_stops_what_would_get_past_the_escaping(report: Callable[[str], Path], chromium: Browser) -> None:
    path = report("healthy")
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("</main>", "<img src='https://example.invalid/x.png'><script>document.title = 'ran'</script></main>"), encoding="utf-8"
    )
    page = opened(chromium, path)
    assert page.run("document.title") != "ran"
    assert len([c for c in page.complaints() if "Content Security Policy" in c]) == 2


@pytest.mark.browser
@pytest.mark.parametrize("name", ["two-causes", "dns-over-tcp"])
def test_a_phone_needs_no_sideways_scrolling(name: str, report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report(name), width=390, height=844, touch=True)
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.complaints() == []


@pytest.mark.browser
def test_the_waterfall_draws_every_phase_of_every_request(
    analysis: Callable[[str], Any], report: Callable[[str], Path], chromium: Browser
) -> None:
    page = opened(chromium, report("same-nat-ip-sshuttle"))
    divided = analysis("same-nat-ip-sshuttle").divided
    assert page.run("document.querySelector('#water-which').textContent") == f"1 to 30 of {len(divided)}"
    page.run("document.querySelector('[data-aligned=yes]').click()")
    slowest = max(range(30), key=lambda k: divided[k].end_ns - divided[k].begin_ns)
    drawn = page.run(
        f"[...document.querySelectorAll('#water-rows tr')[{slowest}].querySelectorAll('rect')].map((r) => [r.getAttribute('class'), +r.getAttribute('width')])"
    )
    spells = divided[slowest].spells
    assert [what for what, _ in drawn] == [f"phase-{s.phase}" for s in spells]
    wide = sum(width for _, width in drawn)
    for (_, width), s in zip(drawn, spells, strict=True):
        assert width == pytest.approx(wide * (s.end_ns - s.start_ns) / (divided[slowest].end_ns - divided[slowest].begin_ns), abs=0.01)
    assert page.complaints() == []


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(dark: bool, report: Callable[[str], Path], chromium: Browser) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, of every element that holds text."""
    page = opened(chromium, report("two-causes"), dark=dark)
    page.click(*place_of(page, 2))
    poor = page.run((Path(__file__).parent / "contrast.js").read_text(encoding="utf-8"))
    assert poor == []


@pytest.mark.browser
def test_controls_have_names_and_canvases_say_what_they_show(report: Callable[[str], Path], chromium: Browser) -> None:
    page = opened(chromium, report("two-causes"))
    nameless = "[...document.querySelectorAll('button, input, select, a')].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length"
    assert page.run(nameless) == 0
    assert page.run("[...document.querySelectorAll('canvas[role=img]')].every((c) => c.ariaLabel)")
    assert "limit 2" in page.run("document.querySelector('#curves canvas').ariaLabel")


@pytest.mark.browser
def test_a_dark_screen_prints_on_white_paper(report: Callable[[str], Path], chromium: Browser, tmp_path: Path) -> None:
    page = opened(chromium, report("two-causes"), dark=True)
    assert page.run("document.documentElement.classList.contains('dark')")
    page.run("addEventListener('beforeprint', () => { window.printedDark = document.documentElement.classList.contains('dark'); })")
    page.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert page.run("window.printedDark") is False
    assert page.run("document.documentElement.classList.contains('dark')")


def test_the_page_says_how_long_was_recorded(analysis: Any) -> None:
    from netlens.report import html

    document = analysis("two-causes").to_dict()
    quality = document["quality"]
    seconds = (quality["last_ns"] - quality["first_ns"]) / 1e9
    assert 10 < seconds < 3600
    assert html._when(document).endswith((f"{seconds:.1f} s", f"{seconds:.0f} s", f"{seconds:.2f} s", f"{seconds:.3f} s"))
