"""Writes a new member of a room: its file, its test, and a scenario where it needs one.

python tools/new.py cause weather        netlens/lenses/refused/causes/weather.py, its test, and a scenario of the laboratory
python tools/new.py check bridge         netlens/capture/checks/bridge.py and its test
python tools/new.py --list               the rooms, and what a member of each has

What is written is a member that does nothing yet: it passes format, lint, types and the room's own check as it is, so that all there is to do is to fill it in.
What it has is read from the room's Protocol (attributes, functions, parameters) and its SECTIONS (of the docstring). Nothing else needs to be touched; pages
and help that list members are generated (``python tools/docs_current.py --write``).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SCENARIOS = "netlens/lab/scenarios"
LAST = 1000  #: ranks from here on are of members that come after all others


@dataclass(frozen=True)
class Room:
    """Where members of a kind live, and what nothing looks like there.

    values : attributes that may not be just any value of their type.  bodies : functions whose result is none of None, an empty list, dict or text.
    needs : module -> names that the bodies use.  like : a test of a neighbour, to copy from.  scenario : it is shown in the laboratory.
    source : the whole file after its docstring, for rooms whose functions are compiled.  free : numbers that nobody has a claim to, for its KINDS.
    forms : the test's FORMS, for rooms where one test runs over every member's frames.
    """

    package: str
    values: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    like: str = ""
    scenario: bool = False
    source: str = ""
    free: range = range(0)
    forms: str = ""


KERNELS = """
import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import KEPT, LINK
from netlens.wire.{room} import {names}

{values}

@lean
def header({parameters}):
    return {nothing}


@lean
def content(buf, o, size, i, kind):
    return np.int64(KEPT)
"""

REFUSED = "netlens.lenses.refused"
ROOMS = {
    "cause": Room(
        f"{REFUSED}.causes",
        bodies={"judge": 'return undecided("this cause to be written")'},
        needs={f"{REFUSED}.verdict": "undecided"},
        like="tests/lenses/refused/causes/test_dns.py",
        scenario=True,
    ),
    "lens": Room("netlens.lenses", like="tests/lenses/test_lenses.py"),
    "limiter": Room(
        f"{REFUSED}.limiters",
        values={"KIND": "rate", "WINDOW": "sliding", "COUNTS": "accepted"},
        bodies={"decide": "return _windows.decide(parameter_s, limit, edge_ns)"},
        needs={f"{REFUSED}.limiters": "_windows"},
        like="tests/lenses/refused/test_over_time.py",
        scenario=True,
    ),
    "fix": Room(f"{REFUSED}.fixes", like="tests/lenses/refused/fixes/test_each.py"),
    "export": Room(
        "netlens.report.exports", bodies={"write": "file.write(rows.table.schema.name)"}, like="tests/report/exports/test_zeek.py"
    ),
    "link": Room(
        "netlens.wire.link",
        like="tests/wire/test_link.py (with tests/anonymize/test_frames.py)",
        source=KERNELS.format(
            room="link._kinds",
            names="LINK",
            values='KINDS = {LINK | {free}: "{title}"}  # to be written: link types, or EtherTypes; 150 to 162 are nobody\'s (tcpdump.org/linktypes.html)\n',
            parameters="buf, o, cap, kind",
            nothing="np.int64(0), np.int64(LINK | 101), np.int64(0)  # to be written: as it is, raw IP follows at once",
        ),
        free=range(150, 163),
        forms="""
#: Name: link type, frame around a packet of an EtherType, does tshark read it too. tests/wire/test_link.py decodes and cuts them.
FORMS: dict[str, tuple[int, Callable[[bytes, int], bytes], bool]] = {
    "{id}": ({free}, lambda packet, ethertype: packet, False),
}
""",
    ),
    "tunnel": Room(
        "netlens.wire.tunnels",
        like="tests/wire/test_tunnels.py (with tests/anonymize/test_frames.py)",
        source=KERNELS.format(
            room="tunnels._kinds",
            names="PROTOCOL",
            values='KINDS = {PROTOCOL | {free}: "{title}"}  # to be written: IP protocols or UDP ports; 253 and 254 are nobody\'s (RFC 3692)\n'
            'ENTERED = ("{id}", "to be written")\n',
            parameters="buf, o, cap, length, kind",
            nothing="np.int64(0), np.int64(LINK | 101)  # to be written: as it is, raw IP follows at once",
        ),
        free=range(253, 255),
        forms="""
#: Name: the note, frame around a packet of an EtherType, does tshark enter it too. tests/wire/test_tunnels.py decodes and cuts them.
FORMS: dict[str, tuple[str, Callable[[bytes, int], bytes], bool]] = {
    "{id}": ("{id}", lambda packet, ethertype: ip4(packet, {free}), False),
}
""",
    ),
    "label": Room(f"{REFUSED}.labels", like="tests/lenses/refused/test_labels.py"),
    "evidence": Room("netlens.chains.links", like="tests/chains"),
    "check": Room(
        "netlens.capture.checks",
        values={"ON": "here"},
        bodies={"look": 'return Result(NOT, "to be written")'},
        needs={"netlens.capture.checks": "NOT, Result"},
        like="tests/capture/test_doctor.py",
    ),
    "log": Room("netlens.logs", values={"PROGRAM": "any"}, bodies={"write": "return head.time"}, like="tests/logs/test_formats.py"),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(ROOMS))
    parser.add_argument("name", nargs="?", help="lower-case letters and digits, separated by -")
    parser.add_argument("--list", action="store_true", help="the rooms, and what a member of each has")
    options = parser.parse_args(arguments)
    if options.list:
        for kind, room in ROOMS.items():
            print(f"{kind:<8} {room.package}: {described(room)}")
        return 0
    if options.kind is None or options.name is None:
        parser.error("a kind and a name are needed (see --list)")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", options.name):
        parser.error(f"{options.name!r}: a name is made of lower-case letters and digits, separated by -")
    room = ROOMS[options.kind]
    try:
        protocol_of(importlib.import_module(room.package))
    except (ImportError, LookupError) as error:
        parser.error(f"no {options.kind} can be written: {error}")
    try:
        files = written(options.kind, room, options.name)
    except FileExistsError as error:
        parser.error(f"{error.filename} exists already")
    for file in files:
        print(file.relative_to(ROOT))
    kind = protocol_of(importlib.import_module(room.package))
    home = Path(inspect.getfile(kind)).relative_to(ROOT)
    more = ", ".join(name for name in spared(kind) if name != "ID")
    print(
        f'Fill in what says "to be written". {home} says what each part means{f" ({more} may be left out)" if more else ""};'
        f" {room.like} shows how a neighbour is tested. Then: make docs && make check"
    )
    return 0


def written(kind: str, room: Room, name: str) -> list[Path]:
    """Write all files, tidied, and see that the room takes the new member."""
    module = name.replace("-", "_")
    file = ROOT / Path(*room.package.split(".")) / f"{module}.py"
    test = ROOT / "tests" / Path(*room.package.split(".")[1:]) / f"test_{module}.py"
    texts = {file: member(kind, room, name), test: member_test(kind, room, name)}
    if room.scenario:
        texts[ROOT / SCENARIOS / f"{name}.toml"] = scenario(kind, name)
    for path in texts:
        if path.exists():
            raise FileExistsError(17, "exists", str(path.relative_to(ROOT)))
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path == test:
            (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    python = [str(path) for path in texts if path.suffix == ".py"]
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"], ["check", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *python], cwd=ROOT, check=True)
    from netlens.registry import check

    package = importlib.import_module(room.package)
    importlib.invalidate_caches()
    check(importlib.import_module(f"{room.package}.{module}"), protocol_of(package), sections(package))
    return list(texts)


# --- what a room wants of its members ---------------------------------------------------------------------------------------------------


def protocol_of(package: ModuleType) -> type[Any]:
    """The room's Protocol: the one that is defined in it and has attributes; others there are of what members make."""
    declared = [v for v in vars(package).values() if getattr(v, "_is_protocol", False) and v.__module__.startswith(package.__name__)]
    found = [each for each in declared if get_type_hints(each)]
    if len(found) != 1:
        raise LookupError(f"{package.__name__} has {len(found)} Protocols")
    kind: type[Any] = found[0]
    return kind


def sections(package: ModuleType) -> tuple[str, ...]:
    return tuple(getattr(package, "SECTIONS", ()))


def spared(kind: type[Any]) -> list[str]:
    """Attributes that a member may leave out: the ID, which is the file's name then, and those with a value in the Protocol."""
    return [name for name in get_type_hints(kind) if name == "ID" or hasattr(kind, name)]


def functions(kind: type[Any]) -> dict[str, inspect.Signature]:
    return {n: inspect.signature(f) for n, f in vars(kind).items() if not n.startswith("_") and inspect.isfunction(f)}


def described(room: Room) -> str:
    package = importlib.import_module(room.package)
    kind = protocol_of(package)
    parts = [*get_type_hints(kind), *(f"{name}()" for name in functions(kind))]
    return ", ".join(parts) + (f"; docstring: {', '.join(sections(package))}" if sections(package) else "")


def taken(package: ModuleType, attribute: str) -> list[Any]:
    """The values that the members have now."""
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    values = [getattr(importlib.import_module(f"{package.__name__}.{name}"), attribute, None) for name in names]
    return [value for value in values if value is not None]


# --- the files --------------------------------------------------------------------------------------------------------------------------


def member(kind: str, room: Room, name: str) -> str:
    """The member's source; imports as they come, ruff sorts them."""
    package = importlib.import_module(room.package)
    title = name.replace("-", " ").capitalize()
    wanted_sections = "".join(f"{section}: to be written.\n" for section in sections(package))
    docstring = f'"""{title}: {kind}, to be written.' + (f"\n\n{wanted_sections}" if wanted_sections else "") + '"""\n'
    if room.source:
        return docstring + filled(room, room.source, name)
    protocol = protocol_of(package)
    values = []
    for attribute, wanted in get_type_hints(protocol).items():
        if attribute in spared(protocol):
            continue
        annotation = f": {wanted}" if get_origin(wanted) in (tuple, dict, list) else ""  # an empty one does not say of what
        values.append(f"{attribute}{annotation} = {value(room, package, attribute, wanted, name)}")
    bodies, names = [], set()
    for function, signature in functions(protocol).items():
        parameters = list(signature.parameters.values())[1:]
        given = ", ".join(p.name + (f": {p.annotation}" if p.annotation is not p.empty else "") for p in parameters)
        bodies.append(f"def {function}({given}) -> {signature.return_annotation}:\n    {body(room, function, signature)}\n")
        names |= set(re.findall(r"[A-Za-z_]\w*", given + " " + str(signature.return_annotation)))
    head = [docstring, "from __future__ import annotations\n", *imports(protocol, room, names)]
    return "\n".join(head) + "\n\n" + "\n".join(values) + "\n\n\n" + "\n\n".join(bodies)


def filled(room: Room, text: str, name: str) -> str:
    """A template with the name, a title and a number that no member has."""
    used = {kind & 0xFFFF for kinds in taken(importlib.import_module(room.package), "KINDS") for kind in kinds if isinstance(kind, int)}
    free = next(number for number in room.free if number not in used)
    return text.replace("{id}", name).replace("{title}", name.replace("-", " ").capitalize()).replace("{free}", str(free))


def value(room: Room, package: ModuleType, attribute: str, wanted: Any, name: str) -> str:
    """The source of an attribute's first value: of its type, and nobody else's where that matters."""
    if attribute in room.values:
        return f'"{room.values[attribute]}"'
    if get_origin(wanted) is Literal:
        first, *rest = get_args(wanted)
        return f'"{first}"  # or {", ".join(rest)}'
    there = taken(package, attribute)
    if attribute == "LETTER":
        return f'"{next(chr(c) for c in range(ord("A"), ord("Z") + 1) if chr(c) not in there)}"'
    plain = next((get_origin(t) or t for t in (*get_args(wanted), wanted) if isinstance(get_origin(t) or t, type)), str)
    if get_origin(wanted) in (tuple, dict, list):
        plain = get_origin(wanted)
    if plain in (int, float):
        there = [each for each in there if each < LAST]
        if len(set(there)) < len(there):  # shared by some: no place of its own is needed
            return str(max(there))
        return str(max(there, default=0) + (10 if all(each % 10 == 0 for each in there) else 1))
    title = name.replace("-", " ").capitalize()
    return {bool: "False", tuple: "()", dict: "{}", list: "[]"}.get(
        plain, f'"{title}"' if attribute == "TITLE" else f'"{title}: to be written"'
    )


def body(room: Room, function: str, signature: inspect.Signature) -> str:
    if function in room.bodies:
        return room.bodies[function]
    result = str(signature.return_annotation)
    if result.endswith("None"):
        return "return None" if result != "None" else "return"
    for start, nothing in (("list", "[]"), ("Iterable", "[]"), ("tuple", "()"), ("dict", "{}"), ("str", '""'), ("bool", "False")):
        if result.startswith(start):
            return f"return {nothing}"
    raise LookupError(f"{room.package}: say in tools/new.py what {function} returns where there is nothing ({result})")


def imports(protocol: type[Any], room: Room, used: set[str]) -> list[str]:
    """Lines that bring the names of the annotations, from where the Protocol's own module has them, and those that the bodies need."""
    home = sys.modules[protocol.__module__]
    source: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(home))):
        if isinstance(node, ast.ImportFrom) and node.module:
            source |= {alias.asname or alias.name: node.module for alias in node.names}
        elif isinstance(node, (ast.ClassDef, ast.Assign)):
            names = [node.name] if isinstance(node, ast.ClassDef) else [t.id for t in node.targets if isinstance(t, ast.Name)]
            source |= dict.fromkeys(names, home.__name__)
    here = {name: module for name, module in source.items() if name in used}
    return [
        *(f"from {module} import {names}" for module, names in room.needs.items()),
        *(f"from {module} import {name}" for name, module in here.items()),
    ]


def member_test(kind: str, room: Room, name: str) -> str:
    package = importlib.import_module(room.package)
    protocol = protocol_of(package)
    module = name.replace("-", "_")
    given = f"{module}, {protocol.__name__}" + (", SECTIONS" if sections(package) else "")
    extra = f"from {room.package} import SECTIONS\n" if sections(package) else ""
    frames = (
        f"from collections.abc import Callable\n\n{'from tests.wire.helpers import ip4' if 'ip4' in room.forms else ''}\n"
        if room.forms
        else ""
    )
    return f'''"""{name.replace("-", " ").capitalize()}: what it says and does; to be written."""

from __future__ import annotations

{frames}from {room.package} import {module}
from {protocol.__module__} import {protocol.__name__}
{extra}from netlens.registry import check
{filled(room, room.forms, name) if room.forms else ""}

def test_it_is_{"an" if kind[0] in "aeiou" else "a"}_{kind}() -> None:
    check({given})
'''


def scenario(kind: str, name: str) -> str:
    return f'''base = "same-nat-ip-sshuttle"
title = "{name.replace("-", " ").capitalize()}: shows the {kind}; to be written"

# What differs from the base: [path], [provider], [[program]], and what is true then, in [expect].

[path]
kind = "nat"  # a scenario through sshuttle has a twin NAME-excluded, whose tunnel leaves the API out
'''


if __name__ == "__main__":
    sys.exit(main())
