"""Pages that are made from the code: commands, tables, the TCP state machine. Without arguments it checks that they are current.

python tools/docs_current.py           exit 1 and the names of stale pages
python tools/docs_current.py --write   writes them anew
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- made by tools/docs_current.py from the code: edit that, then run `make docs` -->\n\n"


def commands() -> str:
    from netlens.cli import COMMANDS, cli

    def shown(args: list[str]) -> str:
        result = CliRunner().invoke(cli, [*args, "--help"], prog_name="netlens", terminal_width=100, max_content_width=100)
        if result.exit_code:
            raise click.ClickException(f"netlens {' '.join(args)} --help: {result.output or result.exception}")
        return f"```text\n$ netlens {' '.join([*args, '--help'])}\n{result.output.rstrip()}\n```\n"

    parts = ["# Commands\n", MADE, shown([])]
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
        "Columns of every table, in order. *read* stands in the packets, *derived* is arithmetic on what was read, *inferred* is a judgement\n",
        "that can be wrong; its rule stands in the module that makes it.\n",
    ]
    for schema in declared.ALL.values():
        lines.append(f"\n## {schema.name}\n\n| column | dtype | unit | basis | meaning |\n|---|---|---|---|---|\n")
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.basis} | {_cell(c.meaning)} |\n" for c in schema]
    lines.append(
        "\n## Reasons in quality\n\nExclusive: every frame is counted under exactly one of these.\n\n| reason | meaning |\n|---|---|\n"
    )
    lines += [f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in REASONS]
    lines.append("\nBesides, on frames that are counted above as well:\n\n| reason | meaning |\n|---|---|\n")
    lines += [f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in NOTES]
    return "".join(lines)


def states() -> str:
    from netlens.parsers.tcp_states import RULES, STATES, conn_state

    lines = [
        "# TCP states\n\n",
        MADE,
        "Each end of a session has a state; a segment moves its sender and sometimes the peer. The first rule that matches wins, and what no\n",
        "rule names leaves both as they were.\n\n```mermaid\nstateDiagram-v2\n",
    ]
    edges: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        for own in rule.own if rule.to else ():
            edges.setdefault((own, rule.to or own), []).append(
                ", ".join(rule.event) + ("" if rule.sender == "any" else f" ({rule.sender})")
            )
        for peer in rule.peer if rule.peer_to else ():
            edges.setdefault((peer, rule.peer_to or peer), []).append(f"peer's {', '.join(rule.event)}")
    for (own, to), events in edges.items():
        if own != to:
            lines.append(f"    {own} --> {to}: {'; '.join(dict.fromkeys(events))}\n")
    lines.append("```\n\n| sender | in state | peer in | sends | becomes | peer becomes | why |\n|---|---|---|---|---|---|---|\n")
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"commands.md": commands, "tables.md": tables, "tcp-states.md": states}


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
