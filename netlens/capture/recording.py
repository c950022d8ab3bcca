"""The folder of a recording and its manifest.

Decides where files of a recording live, their rights (0600 in a 0700 folder) and how the manifest is written and read. Starts nothing, so that
readers of recordings may import it. A manifest may come from a stranger: what it says is checked, and its file names stay inside its folder.

The manifest is TOML::

    format = 1
    netlens = "0.1.0"            # the version that wrote it
    complete = true              # false: something ended early, `reasons` says what
    reasons = []
    [extra...]                   # whatever the recorder knows about the situation, see netlens.capture.session
    [[sides]]                    # one for each capture
    side = "vm"
    files = ["vm.pcap"]          # in order, several if rotated
    packets_captured = 12        # tcpdump's own counts; missing if unknown (it was killed)
    [[files]]                    # every file of the folder but the manifest
    name = "vm.pcap"
    bytes = 4096
    sha256 = "..."

*Limits*: a value that is None is left out, as TOML has no null.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netlens import sidefiles
from netlens.errors import CaptureError
from netlens.outputs import caller, create_file, give_to_caller, replacing
from netlens.text import printable

MANIFEST = "manifest.toml"
FORMAT = 1
MAX_MANIFEST = 4 << 20  #: bytes; a real one has some kilobytes, and 200 for each file of a rotation
MAX_DEPTH = 32  #: tables and lists within each other; ours have four
MAX_PARTS = 100  #: of a dotted key; the time that tomllib takes for one grows with the square


@dataclass
class SideResult:
    """What became of one side's capture.

    ``path`` is the (first) capture file, ``paths`` all of them in order. Counts are tcpdump's own words: captured (what it wrote), received (by
    the kernel's filter; on loopback this counts both directions of a packet), dropped (lost for want of buffer). They are None where tcpdump
    could not say, and those of the last second where it was killed. Times are this machine's clock.
    """

    side: str
    path: Path
    packets_captured: int | None
    packets_received: int | None
    packets_dropped: int | None
    started_ns: int
    stopped_ns: int
    argv: list[str]
    complete: bool = True
    reason: str | None = None
    paths: list[Path] = field(default_factory=list)
    removed: int = 0  #: files of a rotation that were deleted again (--keep)
    interface: str = ""
    link_type: str = ""
    snaplen: int = 0
    bpf: str = ""
    bytes: int = 0

    def __post_init__(self) -> None:
        if not self.paths:
            self.paths = [self.path]


@dataclass
class Manifest:
    """What is written in ``manifest.toml``."""

    directory: Path
    sides: list[SideResult]
    extra: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  #: name -> sha256
    complete: bool = True
    reasons: list[str] = field(default_factory=list)
    version: str = ""

    def side(self, name: str) -> SideResult | None:
        """The capture of the side "vm" or "host"; None if it was not recorded."""
        return next((s for s in self.sides if s.side == name), None)

    def changed(self) -> list[str]:
        """Names of files whose sha256 is no longer what the manifest says, or that are missing."""
        out = []
        for name, digest in self.files.items():
            try:
                if sha256(self.directory / name) != digest:
                    out.append(name)
            except CaptureError:
                out.append(name)
        return out


# --- files ----------------------------------------------------------------------------------------------------------------------------


def create_directory(base: Path, side: str, now: datetime | None = None) -> Path:
    """Make ``base/TIME-side`` with rights 0700 and return it; a second one in the same second gets a number."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    try:
        base.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = base / (f"{stamp}-{side}" if number == 1 else f"{stamp}-{side}-{number}")
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            give_to_caller(path)
            return path
    except OSError as error:
        raise CaptureError(f"{base}: no recording can be made here ({(error.strerror or str(error)).lower()})") from None
    raise CaptureError(f"{base}: a thousand recordings of one second; name another folder with -w")


def use_directory(path: Path) -> Path:
    """Make ``path`` the folder of a recording: it is made with rights 0700, or is there, empty, and gets them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            _take_over(path)
    except OSError as error:
        raise CaptureError(f"{path}: no recording can be made here ({(error.strerror or str(error)).lower()})") from None
    give_to_caller(path)
    return path


def _take_over(path: Path) -> None:
    """Use an empty folder that is there. All through one descriptor: between two looks at a path a stranger could put a link in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise CaptureError(f"{path}: exists and is not an empty folder; a recording never overwrites another") from None
    try:
        invoker = caller()
        if os.fstat(descriptor).st_uid not in (0, os.geteuid(), *(invoker[:1] if invoker else ())):
            raise CaptureError(f"{path}: belongs to another user, who could replace what is recorded in it; name a folder of your own")
        if os.listdir(descriptor):
            raise CaptureError(f"{path}: exists and is not an empty folder; a recording never overwrites another")
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def sha256(path: str | os.PathLike[str]) -> str:
    with sidefiles.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- manifest -------------------------------------------------------------------------------------------------------------------------


def write_manifest(directory: Path, sides: list[SideResult], extra: dict[str, Any]) -> Manifest:
    """Write ``manifest.toml``: the captures, ``extra`` at the top level, and the sha256 of every file in the folder.

    ``extra`` may hold what TOML can (None is left out). Its keys ``complete`` and ``reasons`` add to what the sides say. Replaces a manifest
    that is there.
    """
    import importlib.metadata  # readers of recordings do not need it, and it takes 8 ms

    version = importlib.metadata.version("netlens")
    directory = Path(directory)
    extra = {k: v for k, v in extra.items() if k not in _OURS}
    reasons = [f"{s.side}: {s.reason or 'incomplete'}" for s in sides if not s.complete]
    reasons += [str(r) for r in extra.pop("reasons", []) if str(r) not in reasons]
    complete = bool(extra.pop("complete", True)) and not reasons
    names = sorted(p.name for p in directory.iterdir() if p.is_file() and not p.is_symlink() and p.name != MANIFEST and p.name[0] != ".")
    files = {name: sha256(directory / name) for name in names}
    document: dict[str, Any] = {"format": FORMAT, "netlens": version, "complete": complete, "reasons": reasons, **extra}
    plain = [f.name for f in fields(SideResult) if f.name not in ("side", "path", "paths")]
    document["sides"] = [{"side": s.side, "files": [p.name for p in s.paths]} | {n: getattr(s, n) for n in plain} for s in sides]
    document["files"] = [{"name": n, "bytes": (directory / n).stat().st_size, "sha256": d} for n, d in files.items()]
    with replacing(directory / MANIFEST, 0o600, made_up=True) as aside, os.fdopen(create_file(Path(aside)), "w", encoding="utf-8") as file:
        file.write(to_toml(document))
    return Manifest(directory, sides, extra, files, complete, reasons, version)


_OURS = ("format", "netlens", "sides", "files")


def read_manifest(directory: Path | str) -> Manifest:
    """The manifest of a recording.

    CaptureError if there is none, it cannot be read, or it says what no manifest may say (a file outside its folder, a count that is a text).
    """
    directory = Path(directory)
    path = directory / MANIFEST
    shown = printable(str(path))
    data = sidefiles.whole(path, MAX_MANIFEST, "a manifest")
    try:
        text = data.decode("utf-8")
        _check_keys(text)
        document = tomllib.loads(text)
        _check_values(document)
        form = document.get("format")
        if form != FORMAT or isinstance(form, bool):
            raise _Wrong(f"format {_told(form)} is not known to this version of netlens, which knows {FORMAT}")
        sides = [_side_from_dict(directory, s) for s in _tables(document.get("sides", []))]
        files = {_name(f.get("name")): _typed(f, "sha256", str, "") for f in _tables(document.get("files", []))}
        complete = _typed(document, "complete", bool, True)
        reasons = [str(r) for r in _typed(document, "reasons", list, [])]
        version = _typed(document, "netlens", str, "")
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not TOML, a number of thousands of digits
        raise CaptureError(f"{shown}: not a manifest ({printable(str(error).splitlines()[0])})") from None
    except _Wrong as error:
        raise CaptureError(f"{shown}: {error}") from None
    extra = {k: v for k, v in document.items() if k not in (*_OURS, "complete", "reasons")}
    return Manifest(directory, sides, extra, files, complete, reasons, version)


class _Wrong(Exception):
    """A value that no manifest of ours holds."""


_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')


def _check_keys(text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_PARTS and _QUOTED.sub("", line).count(".") > MAX_PARTS:
            raise _Wrong(f"line {number:,} has a key of more than {MAX_PARTS} parts")


def _check_values(document: dict[str, Any]) -> None:
    """Refuse what would have to be guarded against wherever a value is used: numbers that no table holds, and deep nesting."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                raise _Wrong("a number in it has more than 64 bits")
        if not below:
            return
        level = below
    raise _Wrong(f"tables and lists in it are more than {MAX_DEPTH} deep")


def _told(value: Any) -> str:
    """A value of a stranger, short enough for one line."""
    text = printable(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise _Wrong("sides and files must be arrays of tables")
    return value


def _name(value: Any) -> str:
    """A file name inside the folder: the manifest of a stranger must not make us read elsewhere."""
    if not isinstance(value, str) or not value or value.startswith(".") or any(c in value for c in "/\\\0"):
        raise _Wrong(f"{_told(value)} is not the name of a file in this folder")
    return value


_WORDS: dict[type, str] = {int: "whole number", str: "string", bool: "truth value", list: "list"}


def _typed(table: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = table.get(key, default)
    if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise _Wrong(f"{key} is {_told(value)}, which is not a {_WORDS[kind]}")
    if kind is int and value is not None and value < 0:
        raise _Wrong(f"{key} is {value:,}, below zero")
    return value


def _side_from_dict(directory: Path, table: dict[str, Any]) -> SideResult:
    names = _typed(table, "files", list, [])
    paths = [directory / _name(n) for n in names]
    side = _typed(table, "side", str, "")
    if not side or not paths:
        raise _Wrong("a side without a name or without files")
    optional = {"packets_captured": None, "packets_received": None, "packets_dropped": None, "started_ns": 0, "stopped_ns": 0}
    values = {
        f.name: _typed(table, f.name, _KINDS[str(f.type)], optional.get(f.name, f.default))
        for f in fields(SideResult)
        if str(f.type) in _KINDS
    }
    argv = [str(word) for word in _typed(table, "argv", list, [])]
    return SideResult(**values | {"side": side}, path=paths[0], paths=paths, argv=argv)


_KINDS: dict[str, type] = {"str": str, "int": int, "bool": bool, "str | None": str, "int | None": int}


# --- TOML -----------------------------------------------------------------------------------------------------------------------------

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def to_toml(document: dict[str, Any]) -> str:
    """TOML 1.0 of nested dicts, lists, texts, numbers, truths and datetimes; None is left out. ``tomllib.loads`` gives the same back.

    A writer of our own because the standard library has none and this is all a manifest needs.
    """
    lines: list[str] = []
    _write_table(document, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _write_table(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        if value is None:
            continue
        if isinstance(value, dict) or (isinstance(value, (list, tuple)) and value and all(isinstance(v, dict) for v in value)):
            later.append((key, value))  # tables come after plain values, or those would belong to the table
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in later:
        name = ".".join(_key(k) for k in (*path, key))
        if isinstance(value, dict):
            lines += ["", f"[{name}]"]
            _write_table(value, (*path, key), lines)
        else:
            for item in value:
                lines += ["", f"[[{name}]]"]
                _write_table(item, (*path, key), lines)


def _key(key: Any) -> str:
    return key if isinstance(key, str) and _BARE_KEY.match(key) else _text(str(key))


def _text(value: str) -> str:
    out = []
    for char in value:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif 0xD800 <= ord(char) <= 0xDFFF:
            out.append("\\ufffd")  # a lone surrogate (undecodable byte of a file name): TOML has no way to say it
        elif printable(char) == char:
            out.append(char)
        else:  # also what TOML would allow, such as marks that turn the direction of text: the file is read on terminals
            out.append(f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf") if math.isinf(value) else repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        items = [_value(v) for v in value if v is not None]
        short = "[" + ", ".join(items) + "]"
        return short if len(short) <= 120 else "[\n" + "".join(f"    {i},\n" for i in items) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    return _text(str(value))
