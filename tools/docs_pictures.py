"""The pictures of the documentation, from the bundled recordings: ``make docs-pictures`` writes docs/images anew.

Charts are netlens's own, as ``analyze -o`` writes them; the report is taken from the screen of Chromium.
Drawings are SVG: the two sketches are drawn here, the counting rule from the requests of a recording.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # tests drive Chromium
IMAGES = ROOT / "docs" / "images"
#: picture -> (recording, file under the folder of ``analyze -o``)
CHARTS = {
    "demo-summary.png": ("same-nat-ip-sshuttle", "summary.png"),
    "zombie-summary.png": ("zombie-sshuttle", "summary.png"),
    "zombie-timeline.png": ("zombie-sshuttle", "host/timeline.png"),
}
VM, HOST, REFUSED, INK, PALE = "#E69F00", "#0072B2", "#B2182B", "#1A1A1A", "#595959"  # as in netlens/report/plots/style.py
STYLE = """
  text { font: 14px 'DejaVu Sans', Verdana, sans-serif; fill: #1a1a1a; dominant-baseline: middle; }
  .small { font-size: 12px; fill: #595959; }
  .mid { text-anchor: middle; }
  .end { text-anchor: end; }
  .bold { font-weight: bold; }
"""


def svg(width: int, height: int, title: str, parts: list[str]) -> str:
    marker = (
        '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
        '<path d="M0 0L10 5L0 10z" fill="context-stroke"/></marker>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>\n'
    return f"{head}<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<defs>{marker}</defs>\n{ground}" + "".join(parts) + "</svg>\n"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>\n'


def line(x0: float, y0: float, x1: float, y1: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{colour}" {more}/>\n'


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str, more: str = "") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{stroke}" {more}/>\n'


def paths() -> str:
    """One connection on its way through sshuttle, and what each capture has of it."""
    tip = 'stroke-width="2" marker-end="url(#tip)"'
    parts = [
        box(20, 40, 460, 330, "#fdf6e7", VM),
        text(36, 62, "VM  192.168.64.2", "bold"),
        box(560, 40, 300, 330, "#e8f2f9", HOST),
        text(576, 62, "host", "bold"),
        box(950, 110, 130, 150, "#f4f4f4", PALE),
        text(1015, 170, "API", "mid bold"),
        text(1015, 195, "203.0.113.10", "mid small"),
        text(1015, 213, "port 443", "mid small"),
        box(40, 110, 130, 150, "#fff", VM),
        text(105, 170, "program", "mid bold"),
        text(105, 195, "port 59630", "mid small"),
        box(340, 110, 120, 150, "#fff", VM),
        text(400, 165, "sshuttle", "mid bold"),
        text(400, 188, "127.0.0.1", "mid small"),
        text(400, 206, "port 12300", "mid small"),
        box(590, 110, 240, 150, "#fff", HOST),
        text(710, 165, "sshd, sshuttle's server", "mid bold"),
        text(710, 190, "opens one connection upstream", "mid small"),
        text(710, 208, "for each of the program's", "mid small"),
        line(170, 150, 338, 150, VM, tip),
        text(254, 134, "to 127.0.0.1:12300", "mid small"),
        line(340, 222, 172, 222, VM, tip),
        text(254, 240, "from 203.0.113.10:443", "mid small"),
        text(254, 178, "two halves on lo", "mid"),
        text(254, 196, "one connection", "mid small"),
        line(460, 185, 588, 185, PALE, 'stroke-width="7" stroke-linecap="round"'),
        text(522, 160, "SSH", "mid bold"),
        text(522, 210, "all in one", "mid small"),
        line(830, 185, 948, 185, HOST, 'stroke-width="2" marker-end="url(#tip)" marker-start="url(#tip)"'),
        text(905, 165, "a new one", "mid"),
        text(905, 205, "other ports", "mid small"),
        line(40, 300, 460, 300, VM, 'stroke-width="1.5" stroke-dasharray="5 4"'),
        text(250, 322, "vm.pcap: two halves of each connection, and the SSH connection", "mid small"),
        text(250, 342, "(its uplink alone: the SSH connection and nothing else)", "mid small"),
        line(580, 300, 840, 300, HOST, 'stroke-width="1.5" stroke-dasharray="5 4"'),
        text(710, 322, "host.pcap: the SSH connection,", "mid small"),
        text(710, 342, "and what leaves", "mid small"),
        text(
            550,
            395,
            "the same in both: packets of the SSH connection (clock), and the 32 random bytes of each ClientHello (pairs)",
            "mid small",
        ),
    ]
    return svg(1100, 415, "A connection of the VM's program on its way through sshuttle, and what each capture has of it", parts)


def clock() -> str:
    """Bounds of the offset from packets in both directions."""
    tip = 'stroke-width="2" marker-end="url(#tip)"'
    parts = [
        text(30, 60, "VM's clock", "bold"),
        text(30, 220, "host's clock", "bold"),
        line(150, 60, 860, 60, VM, 'stroke-width="3"'),
        line(150, 220, 860, 220, HOST, 'stroke-width="3"'),
        line(230, 60, 270, 218, VM, tip),
        text(222, 42, "sent: 10.000", "mid small"),
        text(280, 240, "arrived: 6.304", "mid small"),
        text(268, 130, "VM to host", "small"),
        text(268, 150, "10.000 − 6.304 = 3.696", "small"),
        text(268, 170, "the offset is at least that", "small"),
        line(560, 220, 600, 62, HOST, tip),
        text(552, 240, "sent: 7.000", "mid small"),
        text(610, 42, "arrived: 10.703", "mid small"),
        text(600, 130, "host to VM", "small"),
        text(600, 150, "10.703 − 7.000 = 3.703", "small"),
        text(600, 170, "the offset is at most that", "small"),
        line(150, 300, 860, 300, PALE, 'stroke-width="1"'),
        line(398, 300, 612, 300, "#009E73", 'stroke-width="9"'),
        line(398, 286, 398, 314, INK, 'stroke-width="2"'),
        line(612, 286, 612, 314, INK, 'stroke-width="2"'),
        text(398, 332, "3.696 s", "mid small"),
        text(612, 332, "3.703 s", "mid small"),
        text(505, 280, "VM minus host lies in here, whatever the delays were", "mid"),
    ]
    return svg(900, 355, "Two packets, one each way, enclose the difference of two clocks", parts)


def counting(analysis: Any, from_s: float = 12.6, to_s: float = 21.6) -> str:
    """Requests of a recording as bars, with the number of others in flight at the start of each, under the inferred limit."""
    r = analysis.requests
    limit = analysis.limit
    zero = int(r["start_ns"].min())
    r = r.assign(from_s=(r["start_ns"] - zero) / 1e9, to_s=(r["end_ns"] - zero) / 1e9)
    shown = r[(r["from_s"] >= from_s) & (r["from_s"] < to_s - 0.3)]
    left, right, scale = 110, 1070, 960 / (to_s - from_s)
    parts = [text(30, 32, f"Others in flight ({limit.rule}) when each request was sent; refused from {limit.value} on", "bold")]
    lanes = [(side, session) for side in ("host", "vm") for session in sorted(set(shown[shown["side"] == side]["session"]))]
    tops = {lane: 62 + 40 * k + (24 if lane[0] == "vm" else 0) for k, lane in enumerate(lanes)}
    for side, name in (("host", "host"), ("vm", "VM")):
        mine = [tops[lane] for lane in lanes if lane[0] == side]
        parts.append(text(30, (min(mine) + max(mine)) / 2 + 14, name, "bold"))
    bottom = max(tops.values()) + 44
    for row in shown.itertuples():
        x, width = left + (row.from_s - from_s) * scale, max((min(row.to_s, to_s) - row.from_s) * scale, 3)
        y, others = tops[row.side, row.session], int(r.loc[row.Index, limit.rule])
        if row.rejected:
            cross = f"M{x - 7:.1f} {y + 7:.1f}l14 14m0 -14l-14 14"
            parts.append(line(x, 50, x, bottom, REFUSED, 'stroke-width="1" stroke-dasharray="3 4"'))
            parts.append(f'<path d="{cross}" stroke="{REFUSED}" stroke-width="4" fill="none"/>\n')
            parts.append(text(round(x + 12, 1), y + 14, f"{others}: refused", "bold"))
        else:
            colour = HOST if row.side == "host" else VM
            parts.append(box(round(x, 1), y, round(width, 1), 28, colour, "#fff", 'fill-opacity="0.35"'))
            parts.append(text(round(x + 7, 1), y + 14, str(others)))
    parts.append(line(left, bottom, right, bottom, PALE, 'stroke-width="1"'))
    for second in range(int(from_s) + 1, int(to_s) + 1):
        x = left + (second - from_s) * scale
        parts += [line(round(x, 1), bottom, round(x, 1), bottom + 5, PALE), text(round(x, 1), bottom + 18, f"{second} s", "mid small")]
    return svg(
        1100, int(bottom) + 40, "Requests of VM and host over time, each with the number of others in flight when it was sent", parts
    )


#: The phases as report.html draws them (netlens/report/templates/report.css).
PHASES = {"client": "#8d939c", "lookup": "#cc79a7", "connect": "#e69f00", "tls": "#f0e442", "relay": "#009e73", "wire": "#4d535c",
          "server": "#0072b2", "unanswered": "#7f3c8d", "stream": "#8ecbf0", "stall": "#d55e00"}  # fmt: skip


def chain(analysis: Any, relays: int = 2) -> str:
    """One request over all its relays: a lane for each connection that carried it, and its time divided. The slowest over so many relays."""
    from netlens.text import duration

    chosen = max((d for d in analysis.divided if len(d.relays) == relays and d.request >= 0), key=lambda d: d.end_ns - d.begin_ns)
    left, right, total = 210, 1070, chosen.end_ns - chosen.begin_ns
    where = {"vm": "the VM's capture", "host": "the host's capture"}

    def x(ns: int) -> float:
        return round(left + (right - left) * (min(max(ns, chosen.begin_ns), chosen.end_ns) - chosen.begin_ns) / total, 1)

    title = f"One request over {' and '.join(chosen.relays)}: {duration(total / 1e9)} from the program's first packet to its last byte"
    parts = [text(30, 30, title, "bold")]
    for n, p in enumerate(chosen.passes):
        y, answered = 62 + 58 * n, p.answered_ns or p.end_ns
        parts += [
            text(30, y + 8, f"connection {n + 1}", "bold"),
            text(30, y + 26, f"in {where.get(p.vantage or '', 'the capture')}", "small"),
        ]
        for begin, end, fill, stroke in (
            (p.start_ns, p.sent_ns, INK, INK),
            (p.sent_ns, answered, "#eef0f3", PALE),
            (answered, p.end_ns, "#56B4E9", PALE),
        ):
            if end > begin:
                parts.append(
                    f'<rect x="{x(begin)}" y="{y}" width="{max(x(end) - x(begin), 1):.1f}" height="26" fill="{fill}" stroke="{stroke}"/>\n'
                )
        if answered - p.sent_ns > total / 8:
            parts.append(text(x(p.sent_ns) + 8, y + 13, f"waits {duration((answered - p.sent_ns) / 1e9)} for the first byte", "small"))
        if n:
            before = chosen.passes[n - 1]
            for a, b in ((before.sent_ns, p.sent_ns), (before.answered_ns or 0, answered)):
                parts.append(line(x(a), y - 32, x(b), y, PALE, 'stroke-dasharray="4 4"'))
            spent = duration(chosen.ns("relay", n - 1) / 1e9)
            parts.append(text(left - 12, y - 16, f"{chosen.relays[n - 1].replace('>', ' > ')}: {spent}", "end"))
    at = 62 + 58 * len(chosen.passes)
    parts.append(text(30, at + 13, "its time, divided", "bold"))
    parts += [
        f'<rect x="{x(s.start_ns)}" y="{at}" width="{x(s.end_ns) - x(s.start_ns):.1f}" height="26" fill="{PHASES[s.phase]}"/>\n'
        for s in chosen.spells
    ]
    known = [(phase, chosen.ns(phase)) for phase in PHASES if chosen.ns(phase) >= total / 1000]
    place = left
    for phase, ns in known:
        words = f"{'server, to first byte' if phase == 'server' else phase} {duration(ns / 1e9)}, {100 * ns / total:.1f} %"
        parts += [box(place, at + 40, 12, 12, PHASES[phase], "none"), text(place + 18, at + 46, words, "small")]
        place += 40 + 7 * len(words)
    return svg(1100, at + 70, title, parts)


def charts() -> None:
    import netlens
    from netlens.report import plots

    with tempfile.TemporaryDirectory() as name:
        for recording in sorted({recording for recording, _ in CHARTS.values()}):
            for draw in plots.of_analysis(Path(name) / recording, netlens.analyze(f"captures/{recording}")):
                draw()
        for picture, (recording, file) in CHARTS.items():
            shutil.copy(Path(name) / recording / file, IMAGES / picture)


#: picture of the report -> (recording, what is done before it is taken)
SCREENS = {
    "report.png": ("two-causes", ()),
    "report-panel.png": ("own-concurrency-haproxy", ("document.querySelector('[data-order=slowest]').click()",
        "document.querySelector('#water-rows .drawn').click()", "document.querySelector('#timeline').scrollIntoView({behavior: 'instant'})")),
}  # fmt: skip


def screens() -> None:
    """The report as Chromium shows it; without Chromium the pictures stay as they are."""
    import netlens
    from netlens.report import html
    from tests.report import browser

    program = browser.find()
    if program is None:
        print("no Chromium: " + ", ".join(SCREENS) + " stay as they are")
        return
    with tempfile.TemporaryDirectory() as name, browser.Browser(program) as chromium:
        for picture, (recording, acts) in SCREENS.items():
            a = netlens.analyze(f"captures/{recording}")
            html.write(a, a.to_dict(), Path(name) / "report.html")
            page = browser.opened(chromium, Path(name) / "report.html")
            for act in acts:
                page.run(act)
                page.frame()
            page.picture(IMAGES / picture)


def main() -> None:
    import netlens

    os.chdir(ROOT)  # pictures name the files as they are given
    IMAGES.mkdir(parents=True, exist_ok=True)
    drawings = {"paths": paths(), "clock": clock(), "counting": counting(netlens.analyze("captures/same-nat-ip-sshuttle"))}
    drawings["chain"] = chain(netlens.analyze("captures/own-concurrency-haproxy"))
    for name, drawn in drawings.items():
        (IMAGES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    charts()
    screens()


if __name__ == "__main__":
    main()
