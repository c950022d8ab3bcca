"""Every shell example of README and docs that can run is run, and what stands beneath it is what it prints; the others are parsed."""

from __future__ import annotations

import re
from pathlib import Path

import click
import docs_examples
import pytest

from netlens.cli import COMMANDS, cli

PAGES = {str(page.relative_to(docs_examples.ROOT)): page for page in docs_examples.pages() if docs_examples.examples(page)}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_and_print_what_it_says(page: str) -> None:
    assert not docs_examples.check(PAGES[page])


def test_examples_are_found() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/how-to/prove-a-fix.md"} <= set(PAGES)
    kinds = [docs_examples.kind(c) for page in PAGES.values() for example in docs_examples.examples(page) for c in example.commands]
    assert kinds.count("run") > 30


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("netlens sessions capture.pcap   # a comment with sudo and FILE", "run"),
        ("zcat captures/healthy/vm.pcap.gz | netlens sessions -", "run"),
        ("netlens sessions capture.pcap --format json | jq '[.[] | select(.state == \"RSTO\")]'", "run"),
        ("netlens analyze captures/RECORDING -o findings", "parse"),
        ("sudo netlens lab run zombie-sshuttle -o recording", "parse"),
        ("netlens capture --side host --seconds 5", "parse"),
        ("netlens watch --side host --limit 2", "parse"),
        ("netlens watch --replay captures/two-causes --speed 0 --json", "run"),
        ("sudo apt-get install tcpdump", "theirs"),
        ("make demo", "theirs"),
        ('export PATH="$PWD/.venv/bin:$PATH"', "theirs"),
    ],
)
def test_kinds_of_commands(command: str, expected: str) -> None:
    assert docs_examples.kind(command) == expected


def test_an_unknown_program_is_told() -> None:
    with pytest.raises(ValueError, match="frobnicate"):
        docs_examples.kind("netlens dns capture.pcap | frobnicate")


@pytest.mark.parametrize(
    "command", ["netlens session capture.pcap", "netlens sessions --fromat csv capture.pcap", "netlens lab walk", "netlens dns"]
)
def test_wrong_commands_are_told(command: str) -> None:
    with pytest.raises(click.ClickException):
        docs_examples.parse(command)


def test_output_that_differs_is_told_and_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```sh\nhead -1 captures/README.md\n```\n\n```text\nsomething else\n```\n\nMore.\n")
    monkeypatch.setattr(docs_examples, "ROOT", tmp_path)
    (tmp_path / "captures").symlink_to(Path(__file__).parents[2] / "captures")
    told = docs_examples.check(page)
    assert len(told) == 1
    assert "+# Recordings" in told[0]
    assert not docs_examples.check(page, write=True)
    assert page.read_text() == "# Page\n\n```sh\nhead -1 captures/README.md\n```\n\n```text\n# Recordings\n```\n\nMore.\n"


def commands_with_help() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", inner) for sub, inner in command.commands.items()]
    return found


@pytest.mark.parametrize(("name", "command"), commands_with_help(), ids=lambda value: value if isinstance(value, str) else "")
def test_examples_in_help_use_commands_and_options_that_exist(name: str, command: click.Command) -> None:
    lines = re.findall(r"^\s*((?:sudo |zcat \S+ \| )?netlens .*)$", command.epilog or "", re.M)
    assert any(f"netlens {name}" in line for line in lines)
    for line in lines:
        docs_examples.parse(re.sub(r'^netlens analyze "\$\((.*)\)"$', r"\1", line))
