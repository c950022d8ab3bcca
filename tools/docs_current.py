"""Pages that are made from the code: commands, tables, formats, link types, hypotheses, fixes, the JSON of analyze, the TCP state machine.

python tools/docs_current.py           exit 1 and the names of stale pages
python tools/docs_current.py --write   writes them anew
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import click
import docs_schema
import docs_states
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the pages are those of this checkout, whichever netlens is installed
REFERENCE = ROOT / "docs" / "reference"
#: Beneath the title, so that a page begins with it.
MADE = "<!-- made by tools/docs_current.py from the code: edit that, then run `make docs` -->\n\n"


def commands() -> str:
    from netlens.cli import COMMANDS, cli

    def shown(args: list[str]) -> str:
        result = CliRunner().invoke(cli, [*args, "--help"], prog_name="netlens", terminal_width=100, max_content_width=100)
        if result.exit_code:
            raise click.ClickException(f"netlens {' '.join(args)} --help: {result.output or result.exception}")
        return f"```text\n$ netlens {' '.join([*args, '--help'])}\n{result.output.rstrip()}\n```\n"

    parts = ["# Commands\n\n", MADE, shown([])]
    for name in sorted(COMMANDS):
        parts += [f"\n## netlens {name}\n\n", shown([name])]
        from netlens.cli import cli as group

        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            parts += [f"\n### netlens {name} {sub}\n\n{shown([name, sub])}" for sub in sorted(command.commands)]
    return "".join(parts)


def tables() -> str:
    from netlens import tables as declared
    from netlens.wire.decode import NOTES, REASONS

    lines = [
        "# Tables\n\n",
        MADE,
        "Columns of every table, in order. *read* is in the packets, *derived* is computed from what was read, *inferred* is a judgement\n",
        "that can be wrong; the module that makes it explains the rule.\n",
    ]
    for schema in (*declared.ALL.values(), declared.BUDGET):
        lines.append(f"\n## {schema.name}\n\n| column | dtype | unit | basis | meaning |\n|---|---|---|---|---|\n")
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.basis} | {_cell(c.meaning)} |\n" for c in schema]
    lines.append("\n## Reasons in quality\n\nEvery frame is counted under exactly one of these.\n\n| reason | meaning |\n|---|---|\n")
    lines += [f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in REASONS]
    lines.append("\nThese are counted in addition, on frames that are counted above:\n\n| reason | meaning |\n|---|---|\n")
    lines += [f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in NOTES]
    return "".join(lines)


def link_types() -> str:
    from netlens.wire import link, tunnels

    lines = [
        "# Link types and tunnels\n\n",
        MADE,
        "Headers that are followed from the start of a frame to IP, each one file under `netlens/wire/link/`. Frames of other link types are counted as\n",
        "`link_type` in [quality](tables.md).\n\n| reached by | name | header |\n|---|---|---|\n",
    ]
    shown = [(link.LINK, "link type {}"), (0, "EtherType {:#06x}")]
    lines += _headers(link.HEADERS, shown)
    lines.append(
        "\n## Tunnels\n\nEntered if IP is found in them; each is one file under `netlens/wire/tunnels/`.\n\n| reached by | name | header |\n|---|---|---|\n"
    )
    ways = [(tunnels.PROTOCOL, "IP protocol {}"), (tunnels.PORT, "UDP port {}"), (tunnels.SOURCE, "UDP source port {}")]
    return "".join(lines + _headers(tunnels.HEADERS, ways))


def _headers(members: tuple[Any, ...], shown: list[tuple[int, str]]) -> list[str]:
    """A row for each header and way to it, in the order of these ways."""
    rows = []
    for member in members:
        told = _cell(inspect.cleandoc(member.__doc__).split("\n\n")[0].replace("\n", " ").replace("``", "`"))
        for kind, name in member.KINDS.items():
            if isinstance(kind, range):
                rows.append((len(shown), 0, f"| length up to {kind.stop - 1} | {name} | {told} |\n"))
                continue
            way, (flag, form) = next((k, pair) for k, pair in enumerate(shown) if kind & pair[0] or not pair[0])
            rows.append((way, kind, f"| {form.format(kind & ~flag)} | {name} | {told} |\n"))
    return [text for _, _, text in sorted(rows)]


def formats() -> str:
    from netlens.cli.tables import TABLES
    from netlens.report import exports

    found = exports.found()
    lines = [
        "# Output formats\n\n",
        MADE,
        "What `--format` offers for the tables. Every format is one file under `netlens/report/exports/`.\n\n",
        "| format | commands | what it is |\n|---|---|---|\n",
    ]
    for name, export in found.items():
        commands = ", ".join(f"`{command}`" for command, table in TABLES.items() if name in exports.of(table))
        lines.append(f"| [`{name}`](#{name}) | {commands} | {_cell(export.MEANING)} |\n")
    for name, export in found.items():
        lines.append(f"\n## {name}\n\n{_text(export.__doc__)}\n")
    return "".join(lines)


def _text(docstring: str | None) -> str:
    """A docstring as Markdown."""
    text = inspect.cleandoc(docstring or "").replace("``", "`")
    return re.sub(r":(?:data|func|class|mod):`([^`]*)`", r"`\1`", text)


def states() -> str:
    from netlens.parsers.tcp_states import RULES, STATES, conn_state

    lines = [
        "# TCP states\n\n",
        MADE,
        "Each end of a session has a state; a segment moves its sender and sometimes the peer. The first rule that matches wins; without one,\n",
        "both keep their states. The arrows say what an end sends, or with *peer's* what the other end sends; in brackets: only\n",
        "if it is the originator (orig) or the responder (resp).\n\n",
        "![The states of one end of a session as boxes, the segments that move it as arrows; the table below says the same](tcp-states.svg)\n\n",
        "| sender | in state | peer in | sends | becomes | peer becomes | why |\n|---|---|---|---|---|---|---|\n",
    ]
    for r in RULES:
        peer = "any" if r.peer == STATES else ", ".join(r.peer)
        lines.append(
            f"| {r.sender} | {', '.join(r.own)} | {peer} | {', '.join(r.event)} | {r.to or '='} | {r.peer_to or '='} | {_cell(r.why)} |\n"
        )
    lines.append("\n## conn_state\n\nZeek's word for a pair of end states (rows: originator, columns: responder), with payload seen.\n\n")
    lines.append("| | " + " | ".join(STATES) + " |\n|---" + "|---" * len(STATES) + "|\n")
    for o, name in enumerate(STATES):
        lines.append(f"| **{name}** | " + " | ".join(conn_state(o, r, 1, 1) for r in range(len(STATES))) + " |\n")
    return "".join(lines)


def causes() -> str:
    from netlens.lenses.refused import causes as registry

    lines = [
        "# Hypotheses\n\n",
        MADE,
        "Every cause is one file under `netlens/lenses/refused/causes/`. It says what it claims, and what would refute it.\n",
        "[What the provider counts](../explanation/counting.md) explains how it is weighed, [Write a cause](../how-to/new-hypothesis.md) how to add one.\n",
    ]
    for cause in registry.all_causes():
        lines.append(f"\n## {cause.LETTER}: {cause.ID}\n\n**{cause.CLAIM}**\n\n| | |\n|---|---|\n")
        lines += [f"| {label} | {_cell(told)} |\n" for label, told in _fields(cause, registry.SECTIONS)]
    return "".join(lines)


def limiters() -> str:
    from netlens.lenses.refused import limiters as registry

    lines = [
        "# Limiters over time\n\n",
        MADE,
        "What a provider may do that counts what was sent before, one file each under `netlens/lenses/refused/limiters/`. Limits on what is open are\n",
        "described in [the counting-rule model](../explanation/counting.md).\n",
    ]
    for limiter in registry.all_limiters():
        title = (limiter.__doc__ or "").partition("\n")[0]
        lines.append(f"\n## {limiter.ID}\n\n**{title}** (`{limiter.KIND}`, counts {limiter.COUNTS})\n\n| | |\n|---|---|\n")
        lines += [f"| {label} | {_cell(told)} |\n" for label, told in _fields(limiter, registry.SECTIONS)]
    return "".join(lines)


def findings() -> str:
    from netlens import lenses

    lines = [
        "# Findings\n\n",
        MADE,
        "What `netlens analyze` looks for in any capture. Every question is one file under `netlens/lenses/`. A finding is a *problem* if something\n",
        "failed or somebody waited, a *warning* if it may come to that, else a *note*; a healthy capture has no problem. Problems are listed in order of\n",
        "consequence: what failed altogether, what took long, its causes on the way. [Findings in captures by others](../findings.md) measures them.\n",
    ]
    for group in get_args(lenses.Group):
        lines.append(f"\n## {group.capitalize()}\n")
        for lens in sorted((lens for lens in lenses.all_lenses() if group == lens.GROUP), key=lambda lens: lens.RANK):
            title = (lens.__doc__ or "").partition("\n")[0]
            lines.append(f"\n### {lens.ID}\n\n**{title}**\n\n| | |\n|---|---|\n")
            lines += [f"| {label} | {_cell(_text(told))} |\n" for label, told in _fields(lens, lenses.SECTIONS)]
    return "".join(lines)


def _fields(member: object, sections: tuple[str, ...]) -> list[tuple[str, str]]:
    """``Claim: ...`` and so on of a member's docstring, lines joined; the registry has seen to it that they are there."""
    found: list[tuple[str, str]] = []
    for line in inspect.cleandoc(member.__doc__ or "").splitlines()[1:]:
        if match := re.match(rf"({'|'.join(sections)}): (.*)", line):
            found.append((match[1], match[2]))
        elif line.strip() and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def remedies() -> str:
    from netlens.lenses.refused import fixes

    lines = [
        "# Fixes\n\n",
        MADE,
        "Every fix is one file under `netlens/lenses/refused/fixes/`: a change to the replay of the recorded requests. `netlens analyze` lists\n",
        "those that could help in your recording, the best first, each with its command. Here they are in order of effort.\n\n",
        "| fix | what is done |\n|---|---|\n",
    ]
    modules = fixes.all_fixes()
    for module in modules:
        title = re.sub(r"\{(\w+)[^}]*\}", lambda blank: blank[1].upper(), module.TITLE)
        lines.append(f"| [`{module.ID}`](#{module.ID}) | {_cell(title)} |\n")
    for module in modules:
        lines.append(f"\n## {module.ID}\n\n{_text(module.__doc__)}\n")
        if module.CAVEATS:
            lines.append("\nBefore you do it:\n\n")
            lines += [f"- {text.replace('{k}', 'K').replace('{limit}', 'LIMIT')}\n" for text in module.CAVEATS]
    return "".join(lines)


def analyze_json() -> str:
    lines = [
        "# JSON of analyze\n\n",
        MADE,
        "`netlens analyze --format json` prints one object, and `-o DIR` writes the same as `report.json`. Its schema is\n",
        "[analyze.schema.json](analyze.schema.json) (JSON Schema 2020-12). Later versions may add fields, and will not rename any.\n\n",
        "| field | type | meaning |\n|---|---|---|\n",
    ]
    for name, kind, meaning in docs_schema.fields(docs_schema.build()):
        lines.append(f"| `{name}` | {_cell(kind)} | {_cell(meaning)} |\n")
    return "".join(lines)


def schema() -> str:
    return json.dumps(docs_schema.build(), indent=2) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {
    "commands.md": commands,
    "tables.md": tables,
    "formats.md": formats,
    "findings.md": findings,
    "hypotheses.md": causes,
    "limiters.md": limiters,
    "fixes.md": remedies,
    "analyze-json.md": analyze_json,
    "analyze.schema.json": schema,
    "link-types.md": link_types,
    "tcp-states.md": states,
    "tcp-states.svg": docs_states.draw,
}


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        page, text = REFERENCE / name, make()
        if "--write" in sys.argv[1:]:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(str(page.relative_to(ROOT)))
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
