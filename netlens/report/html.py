"""``report.html``: everything an analysis found, in one file that opens from disk and asks the network for nothing.

Theory of operation
-------------------
1. The page is text first: question, answer, findings, evidence, causes, fixes, clock and quality stand in the HTML and are read without a script. The script
   draws the timeline and the tables from the data of :mod:`netlens.report.page_data`. Where nothing was refused the answer is the findings with an overview,
   and there are no causes and fixes; else the refusals come first and the other findings after them.
2. Captures come from strangers. Every string passes :func:`netlens.text.printable` and Jinja's autoescape; data for the script is base64, and the script
   writes text nodes only. A Content-Security-Policy forbids whatever is not this file: the one script and the one style sheet are named by their hashes.
3. The drawing is our own (canvas, ``templates/*.js``): a chart library of megabytes would be most of the file, and none has bars in lanes, stacked step
   curves and marks on one time axis. docs/decisions/0013-report-page.md has what was compared.

Limits: without JavaScript (or with a browser older than 2023, which lacks DecompressionStream) the timeline and the tables are missing, and the page says so.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens import __version__
from netlens.arrays import give_back
from netlens.lenses import Finding, all_lenses
from netlens.outputs import replacing
from netlens.report import answer, findings, overview, page_data, scene, time_budget
from netlens.text import duration, plural, printable, size, utc
from netlens.wire.link import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Environment

    from netlens.analysis import Analysis, SideFindings
    from netlens.lenses.refused.verdict import Evidence

FOLDER = Path(__file__).parent / "templates"
_NAMES = ("base", "model", "curves", "lanes", "lookups", "timeline", "area", "waterfall", "panel", "tables", "search", "state", "page")
SCRIPTS = tuple(f"{name}.js" for name in _NAMES)  #: in this order: later ones use what earlier ones declare
NEXT = 3  #: fixes named beside the best
CAUTIONS = 3  #: shown above the answer; the rest unfold
FILES = 3  #: of a rotated capture that the overview lists; Quality has all
CITED = 5  #: frames of a finding that lead to the timeline; its filter has more
MOST = 12  #: rows of the evidence: counts above it share the last


def write(analysis: Analysis, document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page.

    analysis : the findings.  document : their JSON (``analysis.to_dict()``), made once by the caller.  path : of the file; replaced as a whole.

    NetlensError if the file cannot be written.
    """
    prepared(analysis, document)(path)


def prepared(analysis: Analysis, document: dict[str, Any]) -> Callable[[str | os.PathLike[str]], None]:
    """What writes the page to a path, as :func:`write` does; it asks for no single segment any more, so that these can be let go."""
    return partial(_write, analysis, _said(analysis, document))


def render(analysis: Analysis, document: dict[str, Any]) -> str:
    """The page as text."""
    return "".join(_pieces(analysis, _said(analysis, document)))


def _write(a: Analysis, said: dict[str, Any], path: str | os.PathLike[str]) -> None:
    with replacing(path, made_up=True) as aside, open(aside, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(_pieces(a, said))
    give_back()  # pictures may be drawn next


def _pieces(a: Analysis, said: dict[str, Any]) -> Iterator[str]:
    css, script = _asset("report.css"), "\n".join(_asset(name) for name in SCRIPTS)
    return (
        _environment()
        .get_template("report.html.j2")
        .generate(
            css=_markup(css),
            script=_markup(script),
            policy=f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; img-src data:; base-uri 'none'; form-action 'none'",
            a=a,
            **said,
            time_groups=time_budget.drawn(a),
            chunks=page_data.chunks(a),
            version=__version__,
        )
    )


def _said(a: Analysis, document: dict[str, Any]) -> dict[str, Any]:
    """What the page says in words, for its template."""
    notes = a.quality["notes"]
    refused = answer.anything_refused(a)
    lines = {name: overview.lines(side.capture, 1) for name, side in a.sides.items()}
    headline = answer.headline(a) if refused else answer.findings_headline(a)
    return {
        "d": document,
        "target": answer.target(a),
        "question": answer.question(a),
        "headline": headline,
        "sentence": "".join(part.text for part in headline),
        "refused": refused,
        "findings": _findings(a, findings.beside_refusals(a) if refused else a.findings),
        "overview": _overview(a, lines),
        "asked_for_refusals": not findings.is_all(a),
        "connections": sum(side.connections.rows for side in a.assembled.sides.values()),
        "lookups": sum(side.capture.table("lookups").rows for side in a.assembled.sides.values()),
        "recording": _recording(a),
        "when": _when(document),
        "cautions": notes,
        "first_cautions": CAUTIONS,
        "met": met(a),
        "key_evidence": _key_evidence(a),
        "in_flight": answer.most_at_once(a),
        "causes": _causes(a),
        "fix": a.best_fix,
        "next_fixes": answer.next_fixes(a)[:NEXT],
        "limit": answer.limit(a.weighed) if a.limit is not None else None,
        "how_sure": answer.how_sure(a),
        "surer": answer.surer(a),
        "clock": _clock(a),
        "inputs": [_input(i) for i in a.inputs],
        "several": len(a.sides) > 1,
        "sides": [(answer.SIDE_NAMES[name or "capture"], side, lines[name]) for name, side in a.sides.items()],
    }


# --- the parts ---------------------------------------------------------------------------------------------------------------------------


def met(a: Analysis) -> dict[str, Any] | None:
    """How many others requests met, by outcome: the rows of the evidence. None where nothing was refused or nothing can be counted."""
    fit, r = scene.shown_rule(a), a.assembled.situation.requests
    if fit is None or not (r.rejected == 1).any():
        return None
    counts = np.minimum(fit.counts.count, MOST)
    accepted = np.bincount(counts[r.rejected == 0], minlength=MOST + 1)
    refused = np.bincount(counts[r.rejected == 1], minlength=MOST + 1)
    value = a.limit.value if a.limit is not None else None
    last = max(int(counts.max(initial=0)), value or 0)
    most = int(max(accepted.max(), refused.max(), 1))
    rows = [
        {
            "others": f"{n}+" if n == MOST and (fit.counts.count > MOST).any() else str(n),
            "accepted": int(accepted[n]),
            "refused": int(refused[n]),
            "wide": [round(100 * int(c[n]) / most, 1) for c in (accepted, refused)],
            "at_limit": value is not None and n >= value,
            "first_at_limit": value is not None and n == value,
        }
        for n in range(last + 1)
    ]
    return {"rows": rows, "rule": fit.rule.name, "unit": answer.UNITS[fit.rule.unit], "scope": fit.rule.scope, "value": value}


def _findings(a: Analysis, found: list[Finding]) -> dict[str, Any]:
    """The first screen's findings and the rest, both in order; ``looked_at``: what the lenses ask about, for pages without a finding."""
    shown = findings.first(found)
    groups = dict.fromkeys(lens.GROUP for lens in sorted(all_lenses(), key=lambda lens: lens.RANK) if lens.GROUP != "sight")
    return {
        "shown": [_finding(a, f) for f in shown],
        "rest": [_finding(a, f) for f in found if f not in shown],
        "more": findings.more(found),
        "looked_at": ", ".join(groups),
    }


def _finding(a: Analysis, f: Finding) -> dict[str, Any]:
    side = next((side for side, _ in f.frames), "")
    return {
        "f": f,
        "frames": _frames(a, f.frames)[:CITED],
        "where": _where(a, side) if f.filter else "",
        "shows": findings.in_wireshark(f),
        "taken": findings.to_extract(a, f),
    }


def _frames(a: Analysis, cited: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Frames of TCP, which stand in the timeline, with the session of each."""
    session_of: dict[tuple[str, int], int] = {}
    for name in {side for side, _ in cited}:
        trail = _side(a, name).capture.trail
        if trail is not None:
            t = trail.segments()
            at = np.flatnonzero(np.isin(t["frame"], [frame for side, frame in cited if side == name]))
            session_of |= {(name, int(t["frame"][k])): int(t["session"][k]) for k in at}
    return [{"side": side, "frame": frame, "session": session_of[side, frame]} for side, frame in cited if (side, frame) in session_of]


def _side(a: Analysis, name: str) -> SideFindings:
    return a.sides[name] if name in a.sides else a.sides[None]


def _where(a: Analysis, side: str) -> str:
    """In which file the filter shows the frames. Those of several files are numbered as if the files were one."""
    paths = _side(a, side).capture.paths
    if len(paths) > 1:
        return f"once mergecap has joined the {len(paths):,} files"
    return f"in {os.path.basename(paths[0])}" if len(a.sides) > 1 else ""


def _overview(a: Analysis, lines: Mapping[str | None, list[tuple[str, str]]]) -> list[dict[str, Any]]:
    """What the captures hold: requests to the target, then each capture, of which ``lines`` say what it holds."""
    told = [_holds(a, name, side, lines[name]) for name, side in a.sides.items()]
    if requests := answer.requests_in_brief(a):
        row = ("requests", requests)
        if len(told) > 1:
            return [{"title": "", "rows": [row]}, *told]
        told[0]["rows"].insert(0, row)
    return told


def _holds(a: Analysis, name: str | None, side: SideFindings, lines: list[tuple[str, str]]) -> dict[str, Any]:
    files = [(os.path.basename(i.path), overview.file(i)) for i in side.capture.part.inputs]
    told = [("file", f"{path}: {text}" if len(a.inputs) > 1 else text) for path, text in files]
    title = f"Capture of the {answer.SIDE_NAMES[name]}" if name and len(a.sides) > 1 else ""
    return {"title": title, "rows": [*told[:FILES], *lines]}


def _key_evidence(a: Analysis) -> list[dict[str, Any]]:
    """What the named cause rests on; of an open question nothing."""
    named = answer.supported(a)
    return [_evidence(e) for e in named[0].evidence[:2]] if named else []


def _evidence(e: Evidence) -> dict[str, Any]:
    return {"text": e.text, "frames": [{"side": side, "frame": frame} for side, frame in e.frames]}


def _causes(a: Analysis) -> list[dict[str, Any]]:
    order = {"supported": 0, "undecided": 1, "refuted": 2}
    rows = sorted(a.hypotheses, key=lambda v: (v.id != a.cause, order.get(v.verdict, 3)))
    # what refutes is one sentence; that a rule separates is said where it supports
    told = {v.id: v.evidence[:1] if v.verdict == "refuted" else v.evidence for v in rows}
    return [{"v": v, "evidence": [_evidence(e) for e in told[v.id]], "share": _share(v.attributable_fraction)} for v in rows]


def _share(fraction: float | None) -> int | None:
    return None if fraction is None else round(100 * min(max(fraction, 0.0), 1.0))


def _recording(a: Analysis) -> str:
    """What it is called: the folder of the captures, or the file."""
    paths = [i["path"] for i in a.inputs]
    folders = {os.path.dirname(os.path.abspath(p)) for p in paths if p != "-"}
    if len(paths) > 1 and len(folders) == 1:
        return os.path.basename(folders.pop())
    return os.path.basename(paths[0]) if paths else "nothing"


def _when(document: dict[str, Any]) -> str:
    first, last = document["quality"]["first_ns"], document["quality"]["last_ns"]
    return "" if first is None else f"{utc(first)}, {duration((last - first) / 1e9)}"


def _clock(a: Analysis) -> dict[str, Any] | None:
    c = a.clock
    if not a.paired:
        return None
    known = c.offset_s is not None and c.low_s is not None and c.high_s is not None
    return {
        "note": c.note,
        "offset": f"{c.offset_s:+.9f} s" if known else "unknown",
        "between": f"{c.low_s:+.9f} s to {c.high_s:+.9f} s" if known else "no packets bound it from both sides",
        "drift": "unknown"
        if c.drift_ppm is None
        else f"{c.drift_ppm:+.3g} ppm (the VM's clock runs {'faster' if c.drift_ppm > 0 else 'slower'})",
        "method": c.method,
        "packets": f"{c.packets:,}",
        "frames": [{"side": side, "frame": f} for side, frames in c.frames.items() for f in frames],
        "steps": [f"{utc(s.at_ns)}: clock set by {s.size_s:+.6f} s" for s in c.steps],
    }


def _input(i: dict[str, Any]) -> dict[str, Any]:
    links = ", ".join(NAMES.get(link, f"link type {link}") for link in i["link_types"])
    return {**i, "links": links, "size": size(i["bytes"]), "name": os.path.basename(i["path"])}


# --- the template ------------------------------------------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    made.filters |= {
        "lines": lambda text: text.split("\n"),  # only the line feed is one, whatever else Unicode takes for it
        "whole": _whole,
        "plural": plural,
        "printable": printable,
        "side": lambda name: answer.SIDE_NAMES.get(name, name),
    }
    return made


def _shown(value: Any) -> Any:
    """What any expression of the template comes to: strangers' text with its control and bidirectional characters shown as escapes."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


#: A number and what it counts: "12 of 67", "3.1 ms", "± 2 µs", "p = 0.002", "8 to 12", "frame 7".
_NUMBER_AND_UNIT = re.compile(
    r"(?<=\d) (?=(?:of|to) \d)|(?<=\d of) (?=\d)|(?<=\d to) (?=\d)|(?<=\d) (?=(?:ns|µs|ms|s|min|h|%|B|kB|MB|GB|bytes?|ppm)\b|%)|(?<=[±=→~]) (?=[\d-])"
)


def _whole(text: str) -> str:
    """Text whose numbers stay with their units at the end of a line. Never of commands, which are pasted."""
    return _NUMBER_AND_UNIT.sub("\N{NO-BREAK SPACE}", text)


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own file, not a stranger's text


@cache
def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
