"""Hostile strings as data: one set, put through names, server names, file names, log lines and process names into everything that netlens writes.

A capture of a stranger is a recording of the laboratory in which the API's name has been replaced, byte for byte, so that everything is in the output that a
verdict brings with it: causes, limit, fixes with commands, the letter, pictures, the page.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ET
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from netlens.wire.tls import escape
from tests.recordings import FOLDER

#: Eight bytes each, as the name they stand for, api.z.ai.
NAMES = {
    "escape": b"\x1b[31m\x1b]0",
    "title": b"\x1b]0;x\x07.a",
    "c1": b"\xc2\x9b31m.zz",
    "bidi": b"\xe2\x80\xaea.z.a",
    "nul": b"a\0b.z.ai",
    "newline": b"a\nb\r.z.a",
    "tab": b"a\tb.z.ai",
    "formula": b"=1+1|'A'",
    "plus": b"+1+cmd|x",
    "at": b"@SUM(1)z",
    "option": b"-rf.z.ai",
    "tag": b"<img x=1",
    "onerror": b'"onx="1"',
    "script": b"</script",
    "comment": b"<!--<scr",
    "entity": b"&lt;&#x3",
    "template": b"{{7*7}}{",
    "backtick": b"`>pwn`.a",
    "subshell": b"$(>pwn).",
    "semicolon": b";>pwn;.a",
    "amp": b"x&>pwn.a",
    "pipe": b"a|>pwn#z",
    "line": b"\n>pwn\n.a",
    "quotes": b"'\"'>pwn'",
    "backslash": b"\\n\\x1b\\'",
    "markdown": b"](http:/",
    "heading": b"\n# z.com",
    "math": b"$\\frac$z",
    "markup": b"[red]z.a",
    "percent": b"%s%n{0}a",
    "invalid": b"\xff\xfe\x80.z.ai",
}
#: Those through which whole analyses go; the tables get all of them in one capture.
ANALYZED = ("escape", "bidi", "nul", "newline", "option", "tag", "script", "backtick", "subshell", "line", "quotes", "math", "markup")
#: What may stand in no file or directory name of this system is left out there.
FILE_NAMES = [n for n in NAMES.values() if b"\0" not in n and b"/" not in n]
LONG = "A" * 200 + "\u202e" + "\x1b[31m"
RECORDING = FOLDER / "same-nat-ip-sshuttle"
#: What rich and a progress line write on a terminal: colours, erase, the cursor's place, and for a screen of one's own its beginning and end.
OURS = re.compile(r"\x1b\[[0-9;]*[mKHJ]|\x1b\[\?(1049|25)[hl]")
TABLES = ("sessions", "connections", "dns", "exchanges")


def in_wire_form(name: bytes) -> bytes:
    """One label in the room of the three of api.z.ai."""
    return b"\x08" + name + b"\0"


def hostile_recording(folder: Path, name: bytes) -> Path:
    """A recording whose API is called ``name``, with hostile log lines, processes and manifest."""
    folder.mkdir()
    labels = in_wire_form(name)
    for side in ("vm", "host"):
        data = gzip.decompress((RECORDING / f"{side}.pcap.gz").read_bytes())
        assert data.count(b"\x03api\x01z\x02ai\0") > 3
        data = data.replace(b"\x03api\x01z\x02ai\0", labels).replace(b"api.z.ai", name)
        (folder / f"{side}.pcap").write_bytes(data)
        lines = (
            (RECORDING / f"{side}-errors.log")
            .read_bytes()
            .replace(b"glm-4.7", name.replace(b"\n", b""))
            .replace(b'"stream error"', b'"' + name[:2] + b'"')
        )
        (folder / f"{side}-errors.log").write_bytes(lines + b"ERROR " + name + b"\n")
    text = name.decode("utf-8", "replace")
    sample = {"side": "host", "time_ns": 1795573463 * 10**9}
    rows = [
        sample | {"local": text, "remote": f"{text}:1", "state": text, "process": text, "pid": 1},
        sample | {"local": "203.0.113.1:5", "remote": "203.0.113.10:443", "state": "ESTABLISHED", "process": text + LONG, "pid": 2},
    ]
    (folder / "sockets.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    absent = json.dumps(re.sub(r"[/\\\0]", "_", text))[1:-1]
    quoted = json.dumps(text).replace("\x7f", "\\u007f")
    (folder / "manifest.toml").write_text(
        f"""format = 1
netlens = {quoted}
complete = false
reasons = [{quoted}, "{"A" * 300}"]
[lab]
sshuttle_options = ["-r", {quoted}, {quoted}]
[[sides]]
side = "vm"
files = ["vm.pcap"]
reason = {quoted}
interface = {quoted}
[[sides]]
side = "host"
files = ["host.pcap"]
[[files]]
name = "gone{absent}"
sha256 = {quoted}
"""
    )
    return folder


@pytest.fixture(scope="module", params=ANALYZED)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_recording(tmp_path_factory.mktemp("hostile") / "recording", NAMES[request.param])


def run(*args: str | Path, terminal: bool = False, cwd: Path | None = None) -> tuple[int, str, str]:
    """Status, standard output and standard error; ``terminal``: both are one."""
    from netlens.cli import main

    argv = [os.fsdecode(a) for a in args]
    if not terminal and cwd is None:
        return _inside(main, argv)
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "netlens", *argv]
    if not terminal:
        done = subprocess.run(command, capture_output=True, env=environment, cwd=cwd, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)
    data = bytearray()
    while True:
        try:
            block = os.read(master, 1 << 16)
        except OSError:
            break
        if not block:
            break
        data += block
    os.close(master)
    return process.wait(), data.decode("utf-8").replace("\r\n", "\n"), ""


def _inside(main: object, argv: list[str]) -> tuple[int, str, str]:
    """In this process: starting Python hundreds of times would take minutes."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    before = sys.argv, sys.stdout, sys.stderr
    import signal

    pipe = signal.getsignal(signal.SIGPIPE)
    sys.argv, sys.stdout, sys.stderr = ["netlens", *argv], out, err
    try:
        main()  # type: ignore[operator]
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        out.flush()
        sys.argv, sys.stdout, sys.stderr = before
        signal.signal(signal.SIGPIPE, pipe)
    return status, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]


def assert_plain(text: str, *, allowed: str = "\n") -> None:
    """No control, format (bidi, zero width) or other character that does something instead of being seen."""
    for char in set(text):
        if char not in allowed:
            assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"), (
                f"{char!r} in {text[max(text.index(char) - 60, 0) :][:120]!r}"
            )


# --- text -----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture in which each lookup and each hello names another of the names."""
    captures = sorted(FOLDER.glob("*/vm.pcap.gz"))
    data = b"".join(gzip.decompress(p.read_bytes())[24 if k else 0 :] for k, p in enumerate(captures))
    turns = itertools.cycle(NAMES.values()), itertools.cycle(NAMES.values())
    assert {len(name) for name in NAMES.values()} == {len(b"api.z.ai")}
    data = re.sub(rb"\x03api\x01z\x02ai\0", lambda _: in_wire_form(next(turns[0])), data)
    data = re.sub(rb"api\.z\.ai", lambda _: next(turns[1]), data)
    path = tmp_path_factory.mktemp("every") / "vm.pcap"
    path.write_bytes(data)
    return path


def in_master_form(label: bytes) -> str:
    """A label as text (RFC 1035 5.1): a dot in it and what cannot be shown as ``\\`` and three digits."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b".\\" else f"\\{b:03d}" for b in label)


@pytest.mark.parametrize("table", TABLES)
def test_tables(table: str, every: Path) -> None:
    """As text, CSV, JSON, for Zeek and as a trace."""
    status, out, err = run(table, every)
    assert status == 0
    assert_plain(out + err)
    status, out, _ = run(table, every, "--format", "csv")
    assert status == 0
    assert_plain(out)
    rows = list(csv.reader(io.StringIO(out)))
    assert len({len(r) for r in rows}) == 1
    for cell in (c for r in rows for c in r):
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or re.fullmatch(r"-[\d.]+(e-?\d+)?", cell)
    status, out, _ = run(table, every, "--format", "json")
    assert status == 0
    assert out.isascii()
    assert_plain(out)
    if table != "exchanges":
        found = {row.get("qname") or row.get("sni") for row in json.loads(out)}
        wanted = {(in_master_form if table == "dns" else escape)(name) for name in NAMES.values()}
        assert found >= wanted, "none is lost"
    if table in ("sessions", "dns"):
        status, out, _ = run(table, every, "--format", "zeek")
        assert status == 0
        assert_plain(out, allowed="\n\t")
        body = [line for line in out.split("\n") if line and not line.startswith("#")]
        assert len({line.count("\t") for line in body}) == 1
        assert sum(line.startswith("#") for line in out.split("\n")) == 9
    if table in ("sessions", "connections"):
        status, out, _ = run(table, every, "--format", "trace")
        assert status == 0
        assert_plain(out)
        json.loads(out)


@pytest.fixture(scope="module")
def analyzed(case: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, dict[str, object]]:
    """Folder of the report, text, standard error, JSON."""
    folder = tmp_path_factory.mktemp("report") / "out"
    status, text, err = run("analyze", case, "-vv", "-o", folder)
    assert status == 0, err
    status, out, _ = run("analyze", case, "--format", "json")
    assert status == 0
    assert out.isascii()
    assert_plain(out)
    return folder, text, err, json.loads(out)


def test_findings_as_text(analyzed: tuple[Path, str, str, dict[str, object]]) -> None:
    _, text, err, found = analyzed
    assert found["counts"]["rejections"] > 5  # type: ignore[index]
    assert_plain(text)
    assert_plain(err)


def test_commands_do_what_they_say_and_nothing_else(analyzed: tuple[Path, str, str, dict[str, object]], tmp_path: Path) -> None:
    """Every command that is offered for copying is run by a shell that has no programs: what a name smuggles in would make a file."""
    _, text, _, found = analyzed
    commands = [f["command"] for f in found["fixes"] if f["command"]]  # type: ignore[attr-defined]
    assert commands
    for command in commands:
        assert_plain(command)
        assert command in text or "\n" in command
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env={"PATH": "/nonexistent"}, capture_output=True, check=False, timeout=20)
        assert list(tmp_path.iterdir()) == []
        if command.startswith("sshuttle "):
            words = shlex.split(command)
            for flag, value in itertools.pairwise(words):
                assert flag not in ("-x", "-r") or not value.startswith("-")
            assert "-rf" not in words


def test_the_letter(analyzed: tuple[Path, str, str, dict[str, object]]) -> None:
    folder = analyzed[0]
    text = (folder / "support.md").read_text()
    assert_plain(text)
    assert "<" not in text
    assert "`" not in text
    assert "](" not in text
    wanted = {"## What was recorded", "## Refusals", "## What fits", "## What we would like to know", "## What we checked"}
    assert {line for line in text.splitlines() if line.startswith("#")} <= wanted
    assert text.count("Subject:") == 1


def test_report_json(analyzed: tuple[Path, str, str, dict[str, object]]) -> None:
    text = (analyzed[0] / "report.json").read_text()
    assert text.isascii()
    assert_plain(text)
    json.loads(text)


# --- pictures and page ----------------------------------------------------------------------------------------------------------------------


def test_pictures(analyzed: tuple[Path, str, str, dict[str, object]]) -> None:
    """SVG is XML that a browser runs: nothing in it but what matplotlib draws."""
    pictures = sorted(analyzed[0].rglob("*.svg"))
    assert pictures
    for picture in pictures:
        text = picture.read_text()
        assert_plain(text, allowed="\n\t")
        for element in ET.fromstring(text).iter():
            tag = element.tag.partition("}")[2]
            assert tag in {
                "svg", "metadata", "defs", "style", "g", "path", "use", "clipPath", "rect", "text", "tspan", "title", "desc", "image", "RDF", "Work",
                "type", "date", "format", "creator", "Agent", "linearGradient", "stop", "pattern", "circle", "line", "polygon", "polyline",
            }, tag  # fmt: skip
            assert not any(name.lower().startswith("on") for name in element.attrib)
            assert not any("javascript:" in value.lower() for value in element.attrib.values())
            if tag == "style":
                assert "@import" not in (element.text or "")
    for picture in analyzed[0].rglob("*.png"):
        assert set(_texts_of(picture)) <= {b"Software"}, "no title or comment of a stranger's in the file"


def _texts_of(picture: Path) -> list[bytes]:
    """Keywords of the texts in a PNG."""
    data, at, found = picture.read_bytes(), 8, []
    assert data.startswith(b"\x89PNG")
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind in (b"tEXt", b"iTXt", b"zTXt"):
            found.append(data[at + 8 : at + 8 + size].partition(b"\0")[0])
        at += 12 + size
    return found


def test_what_the_summary_says(case: Path) -> None:
    """summary.png: its words, the title among them, are shown as they are and not taken for formulas."""
    from netlens.analysis import analyze
    from netlens.api import TABLES, Capture
    from netlens.chains.inputs import from_folder
    from netlens.report.plots import summary

    given = from_folder(str(case))
    found = analyze({side: Capture(paths, TABLES) for side, paths in given.captures.items()}, given)
    figure = summary.draw(found)
    texts = [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any(texts)
    for text in texts:
        assert_plain(text)
        assert "$" not in text.replace(r"\$", ""), "an unescaped dollar begins a formula"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))


def _structure(page: str) -> set[tuple[str, tuple[str, ...]]]:
    parser = _Page()
    parser.feed(page)
    return set(parser.tags)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> str:
    base = tmp_path_factory.mktemp("harmless")
    recording = hostile_recording(base / "recording", b"abc.defg")
    status, _, err = run("analyze", recording, "-o", base / "out")
    assert status == 0, err
    page = base / "out" / "report.html"
    return page.read_text() if page.exists() else ""


def test_the_page(analyzed: tuple[Path, str, str, dict[str, object]], harmless: str) -> None:
    """The same elements with the same attributes as for a harmless name, and one end for each script."""
    if not harmless:
        pytest.skip("no page is made")
    page = (analyzed[0] / "report.html").read_text()
    assert_plain(page, allowed="\n\t")
    assert _structure(page) - _structure(harmless) <= {("details", ()), ("summary", ())}
    assert len(re.findall("</script", page, re.IGNORECASE)) == len(re.findall("</script", harmless, re.IGNORECASE))
    assert page.lower().count("<!--") == harmless.lower().count("<!--")


# --- the other commands ---------------------------------------------------------------------------------------------------------------------


def test_watch_and_compare(case: Path) -> None:
    for args in (
        ["watch", "--replay", case, "--speed", "0"],
        ["watch", "--replay", case, "--speed", "1000", "--limit", "1"],
        ["watch", "--replay", case, "--speed", "0", "--json"],
        ["compare", case, case],
        ["compare", case, case, "--format", "json"],
    ):
        status, out, err = run(*args)
        assert status == 0
        assert_plain(out)
        assert_plain(err)
        if "--json" in args:
            for line in out.splitlines():
                json.loads(line)
        if "json" in args:
            assert out.isascii()
            json.loads(out)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_screen_and_the_lines_of_watch(name: str) -> None:
    from netlens.watch import screen
    from netlens.watch.connection_table import Kind
    from netlens.watch.monitor import Monitor
    from netlens.watch.peaks import SECOND
    from netlens.watch.state import Watched

    text = NAMES[name].decode("utf-8", "replace")
    watched = Watched(None)
    watched.table.kinds.append(Kind(text, "203.0.113.1", 443, False, False, False))
    watched.tick(SECOND)
    for group in ("target", "row"):
        watched.connections.peak[watched.groups.names.index((group, text, ""))] = 3
    frame = Monitor({None: watched}, 1).snapshot({None: SECOND})
    for width in (40, 120):
        for parts in screen.lines(frame, width, 30, text, False):
            assert_plain("".join(piece for piece, _ in parts))
    for line in [*screen.plain(frame), *screen.summary(frame)]:
        assert_plain(line)


def test_extract(every: Path, tmp_path: Path) -> None:
    """It names frames and files, never what is in them."""
    for args in (["--connection", "0"], ["--session", "1"]):
        status, out, err = run("extract", every, *args, "-w", tmp_path / f"{args[0]}.pcap")
        assert (status, out) == (0, "")
        assert_plain(err)


def test_the_bundle(case: Path, tmp_path: Path) -> None:
    """The zip for the provider's support: the guessed name is not in it, and its texts are plain."""
    name = next(p for p in NAMES.values() if p in (case / "vm.pcap").read_bytes())
    known = name.endswith(b".z.ai")
    status, out, err = run("analyze", case, "--bundle", tmp_path / "b.zip")
    assert status == 0, err
    assert_plain(out)
    assert_plain(err)
    assert ("was guessed and is replaced in the bundle" in err) != known
    assert "are analysed to something else" not in err
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith(".gz"):
                data = gzip.decompress(data)
            assert known or name not in data
            if not entry.filename.endswith((".pcap", ".gz")):
                assert_plain(data.decode(), allowed="\n")


def test_anonymize_and_its_result(case: Path, tmp_path: Path) -> None:
    status, out, err = run("anonymize", case, "-o", tmp_path / "anonymous")
    assert status == 0
    assert_plain(out + err)
    name = next(p for p in NAMES.values() if p in (case / "vm.pcap").read_bytes())
    for path in (tmp_path / "anonymous").iterdir():
        assert name not in path.read_bytes()
        if path.suffix in (".log", ".toml", ".jsonl"):
            assert_plain(path.read_text(), allowed="\n")


@pytest.mark.parametrize("name", ["escape", "c1", "bidi", "markup", "newline"])
def test_on_a_terminal(name: str, tmp_path: Path) -> None:
    """Colours and the erasing of a line are ours; whatever else does something is not."""
    recording = hostile_recording(tmp_path / "recording", NAMES[name])
    for args in (
        ["analyze", recording],
        ["dns", recording / "vm.pcap"],
        ["connections", recording / "vm.pcap"],
        ["compare", recording, recording],
        ["watch", "--replay", recording, "--speed", "20"],
    ):
        status, out, _ = run(*args, terminal=True)
        assert status == 0
        assert_plain(OURS.sub("", out), allowed="\n\r")


# --- file names -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILE_NAMES, ids=repr)
def test_file_names(name: bytes, tmp_path: Path) -> None:
    """A capture and a folder with a hostile name: they are read, and told of as data; errors about them are one line."""
    folder = tmp_path / "in"
    folder.mkdir()
    path = Path(os.fsdecode(bytes(folder) + b"/" + name + b".pcap"))
    path.write_bytes(gzip.decompress((FOLDER / "same-nat-ip-nat" / "vm.pcap.gz").read_bytes())[:-7])  # cut: a warning names it
    gone = Path(os.fsdecode(bytes(folder) + b"/" + name + b".gone"))
    text = Path(os.fsdecode(bytes(folder) + b"/" + name + b".txt"))
    text.write_text("this is no capture\n")
    for args, wanted in (
        (["sessions", path], 0),
        (["analyze", path], 0),
        (["analyze", path, "--format", "json"], 0),
        (["sessions", gone], 1),
        (["sessions", text], 1),
        (["analyze", gone], 1),
        (["analyze", folder], 1),
        (["analyze", path, "--vm-errors", gone], 1),
        (["analyze", path, "--keylog", gone], 1),
        (["anonymize", gone, "-o", tmp_path / "new"], 1),
        (["anonymize", path, "-o", path], 1),
        (["compare", gone, gone], 1),
        (["watch", "--replay", gone], 1),
        (["extract", path, "--session", "999999", "-w", tmp_path / "x"], 1),
    ):
        status, out, err = run(*args)
        assert status == wanted, (args, err)
        assert_plain(out)
        assert_plain(err)
        lines = err.splitlines()
        assert all(line.startswith("netlens: ") for line in lines)
        assert wanted == 0 or sum(not line.startswith("netlens: warning: ") for line in lines) == 1


def test_a_file_name_that_looks_like_an_option(tmp_path: Path) -> None:
    (tmp_path / "-rf.pcap").write_bytes(gzip.decompress((FOLDER / "same-nat-ip-nat" / "vm.pcap.gz").read_bytes()))
    assert run("sessions", "-rf.pcap", cwd=tmp_path)[0] == 2
    assert run("sessions", "--", "-rf.pcap", cwd=tmp_path)[0] == 0
    assert run("anonymize", "-o", "-x.pcap", "--", "-rf.pcap", cwd=tmp_path)[0] == 0
    assert (tmp_path / "-x.pcap").exists()


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"nul"}))  # which ends an argument
def test_wrong_usage_is_told_as_data(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files that a shell has put in the place of a ``*`` may look like options, values and commands."""
    from netlens.capture.session import Session
    from netlens.errors import CaptureError

    def refuse(self: Session) -> None:
        raise CaptureError(f"nothing is captured in this test: {self.options}")

    monkeypatch.setattr(Session, "run", refuse)
    text = NAMES[name].decode("utf-8", "surrogateescape")
    for args in (
        ["sessions", f"--{text}"],
        ["sessions", text, "--format", text],
        ["sessions", text, "--columns", text],
        ["sessions", text, "--limit", text],
        ["analyze", text, text],
        ["analyze", text, "--vm-errors", text],
        ["capture", "--side", text],
        ["capture", "--side", "vm", "--vm", text],
        ["capture", "--side", "host", "--api", text],
        ["capture", "--side", "host", "-i", text],
        ["capture", "--side", "host", "--errors", text, "--ssh-cmd", f"'{text}"],
        ["watch", "--side", text],
        ["lab", text],
        ["lab", "run", text, "-o", tmp_path / "out"],
        [f"x{text}"],
    ):
        status, out, err = run(*args)
        assert status in (1, 2), args
        assert_plain(out)
        assert_plain(err)
        assert "Traceback" not in err


def test_what_doctor_says_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib
    from types import SimpleNamespace

    from netlens.capture.doctor import Row
    from netlens.cli import doctor

    said = "".join(n.decode("utf-8", "replace") for n in NAMES.values())
    scene = SimpleNamespace(here=SimpleNamespace(system=said), target=said)
    monkeypatch.setattr(doctor, "look_at", lambda *_: contextlib.nullcontext(scene))
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: [Row("x", "title", "here", "warning", said, said)])
    status, out, err = run("doctor", "--format", "json")
    assert (status, err) == (0, "")
    assert out.isascii()
    assert_plain(out)
    assert json.loads(out)[0]["text"] == said


# --- processes and machines -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_doctor_says_of_processes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from netlens.capture.doctor import Row
    from netlens.cli.doctor import _print

    text = NAMES[name].decode("utf-8", "replace")
    _print([Row("x", "title", "here", "missing", text, text + LONG)], {"here": text + "[link=x]", "vm": text})
    shown = capsys.readouterr()
    assert_plain(OURS.sub("", shown.out))
    assert "[link=x]" in shown.out, "markup is text"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_capture_says(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages, the live line and the end: what ssh, tcpdump and the VM say of themselves stands in them."""
    from netlens.capture.recording import Manifest, SideResult
    from netlens.capture.session import Options, Session
    from netlens.cli import capture

    text = NAMES[name].decode("utf-8", "replace")

    def pretend(self: Session) -> Manifest:
        self.say(f"vm: tcpdump listens on {text}")
        self.show(f"00:01  vm {text}")
        self.warn(text)
        side = SideResult("vm", Path("vm.pcap"), 1, 1, None, 0, 0, [], complete=False, reason=text)
        return Manifest(Path("folder"), [side], {}, {}, False, [text])

    monkeypatch.setattr(Session, "run", pretend)
    shown = capture._Live()
    shown.enabled = True
    session = Session(Options("host"), shown.say, shown.show)
    session.run()
    shown.clear()
    assert_plain(OURS.sub("", capsys.readouterr().err), allowed="\n\r")
    status, out, err = run("capture", "--side", "host")
    assert (status, out) == (1, "folder\n")
    assert_plain(err)
    assert len(err.splitlines()) == 4


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_capture_writes(name: str, tmp_path: Path) -> None:
    """Socket samples, the reduced log and the manifest: data that is read back as it was."""
    from netlens.capture.errorlog import reduce_line
    from netlens.capture.recording import SideResult, read_manifest, write_manifest
    from netlens.capture.sockets import Sampler

    text = NAMES[name].decode("utf-8", "replace")
    rows: list[str] = []
    sampler = Sampler("host", rows.append, everything=True)
    for line in ("%%netlens 1795573463.5", f'ESTAB 0 0 10.0.0.1:5 203.0.113.10:443 users:(("{text}",pid=1,fd=2))', "%%netlens end"):
        sampler.line(line)
    for row in rows:
        assert row.isascii()
        assert_plain(row, allowed="")
        json.loads(row)
    for line in (f"ERROR 2026-01-25T16:33:41 +58ms service={text} {text} 429", f"2026-01-25T16:33:41Z error {text}", text):
        kept = reduce_line(line)
        assert kept is None or text not in kept.text
    (tmp_path / "vm.pcap").touch()
    side = SideResult("vm", tmp_path / "vm.pcap", 1, 1, 0, 0, 0, ["tcpdump", text], reason=text, complete=False, interface=text, bpf=text)
    write_manifest(tmp_path, [side], {"machines": {"vm": {text: text}}, "warnings": [text], "reasons": [text]})
    written = (tmp_path / "manifest.toml").read_text(encoding="utf-8")
    assert_plain(written)
    manifest = read_manifest(tmp_path)
    assert manifest.extra["machines"]["vm"] == {text: text}
    assert (manifest.sides[0].argv[1], manifest.sides[0].interface, manifest.reasons[-1]) == (text, text, text)


def test_what_the_laboratory_says_of_a_recording() -> None:
    from netlens.lab.check import Report, as_json, as_text

    for name in NAMES.values():
        text = name.decode("utf-8", "replace")
        report = Report(text, text, text, {text: 1}, {text: (1, 1)}, {text: 1.0}, 0.0, {text: 0.5}, {}, [f"start of {text}"])
        assert_plain(as_text([report]))
        assert len(as_text([report]).splitlines()) == 5
        assert as_json([report]).isascii()
