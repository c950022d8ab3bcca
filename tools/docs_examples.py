"""Runs the shell examples of README.md and docs/, and holds what they print against the output that stands beneath them.

python tools/docs_examples.py [PAGE...]           exit 1 and a diff for each output that is not what the commands print
python tools/docs_examples.py --write [PAGE...]   writes the outputs anew

An example is a block ``sh``. Each of its commands is one of three kinds: it can run here (netlens on files, and filters such as grep and jq), and is
run, in a folder with the bundled recordings and a few captures by the names that the pages use; or it is a netlens command that needs root, a VM or a
file of the reader's, and its options are parsed; or it is a known program of the reader's. What is none of these is an error, so that no example
goes unread. A block ``text`` right after a block ``sh`` is what its commands print.
"""

from __future__ import annotations

import difflib
import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
FILTERS = {"cat", "cut", "grep", "head", "jq", "sed", "sort", "tail", "wc", "zcat"}
#: Commands of netlens that need root, a VM, a terminal, or say what this machine is like.
ELSEWHERE = {"capture", "doctor", "watch"}
#: Programs that a reader runs and these tests do not.
THEIRS = {
    "apt-get",
    "brew",
    "cd",
    "chgrp",
    "chmod",
    "dask",
    "export",
    "git",
    "make",
    "mitmdump",
    "nsenter",
    "opencode",
    "pip",
    "pipx",
    "python",
    "python3",
    "setcap",
    "ssh-copy-id",
    "ssh-keygen",
    "tcpdump",
    "tshark",
    "uv",
}
PLACEHOLDER = re.compile(r"(?<![\w$\"{])[A-Z][A-Z_]{2,}(?![\w=.])")
BLOCK = re.compile(r"^```sh\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.M | re.S)


@dataclass(frozen=True)
class Example:
    """A block of commands. ``output``: what stands beneath, None if nothing does."""

    page: Path
    line: int
    commands: tuple[str, ...]
    output: str | None
    span: tuple[int, int]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        lines = match["code"].replace("\\\n", " ").splitlines()
        commands = tuple(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
        span = match.span("output") if match["output"] is not None else (-1, -1)
        found.append(Example(page, text.count("\n", 0, match.start()) + 1, commands, match["output"], span))
    return found


def simple_commands(command: str) -> Iterator[list[str]]:
    """The words of each command of a pipeline or list, without redirections, variables and sudo."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if skip:
            skip = False
        elif word[0] in "<>":
            skip = True
        elif set(word) <= set("|&;"):
            while words and (re.fullmatch(r"\w+=.*", words[0], re.S) or words[0] == "sudo"):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


def kind(command: str) -> str:
    """``run``, ``parse`` or ``theirs``.

    Raises
    ------
    ValueError
        it is none of these.
    """
    own = False
    bare = re.sub(r"'[^']*'|#.*", "", command)
    here = not PLACEHOLDER.search(bare) and not re.search(r"\bsudo\b", bare)
    for words in simple_commands(command):
        program = Path(words[0]).name
        if program == "netlens":
            own = True
            live = words[1:2] != [] and words[1] in ELSEWHERE and "--replay" not in words
            here = here and not live and words[1:3] != ["lab", "run"]
        elif program in THEIRS:
            here = False
        elif program not in FILTERS:
            raise ValueError(f"{words[0]}: neither netlens, nor a filter, nor a program that tools/docs_examples.py knows")
    return "run" if here else "parse" if own else "theirs"


def parse(command: str) -> None:
    """Have click parse the options of each netlens command in ``command``.

    Raises
    ------
    click.ClickException
        a command or option does not exist, or is used wrongly.
    """
    from netlens.cli import COMMANDS, cli

    for words in simple_commands(command):
        if Path(words[0]).name != "netlens":
            continue
        arguments = words[1:]
        if not arguments or arguments[0].startswith("-"):
            continue
        if arguments[0] not in COMMANDS:
            raise click.UsageError(f"no command is called {arguments[0]!r}")
        context = click.Context(cli, info_name="netlens")
        found = cli.get_command(context, arguments[0])
        assert found is not None
        if isinstance(found, click.Group) and len(arguments) > 1:
            inner = found.get_command(context, arguments[1])
            if inner is None:
                raise click.UsageError(f"no command is called {' '.join(arguments[:2])!r}")
            found, arguments = inner, arguments[1:]
        found.make_context(arguments[0], list(arguments[1:]), parent=context)


def sandbox(folder: Path) -> None:
    """The files that examples name: the bundled recordings, and a few captures by themselves."""
    (folder / "captures").symlink_to(ROOT / "captures")
    recording = ROOT / "captures" / "same-nat-ip-sshuttle"
    for name, source in (("capture.pcap", "vm"), ("vm.pcap", "vm"), ("host.pcap", "host")):
        (folder / name).write_bytes(gzip.decompress((recording / f"{source}.pcap.gz").read_bytes()))
    shutil.copy(recording / "vm-errors.log", folder / "opencode.log")
    data = (folder / "capture.pcap").read_bytes()
    at, frames = 24, 0
    while frames < 300:  # a rotation: the second file goes on where the first ends
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        frames += 1
    (folder / "part1.pcap").write_bytes(data[:at])
    (folder / "part2.pcap").write_bytes(data[:24] + data[at:])


def run(command: str, folder: Path) -> str:
    """What a command prints.

    Raises
    ------
    ValueError
        it failed, or its netlens did.
    """
    if shutil.which("jq") is None:
        command = re.sub(r"\|\s*jq\b.*", "", command)
    # head ends a pipeline early: its writers then end by SIGPIPE (141), which is no failure
    script = f'{command}\nfor status in "${{PIPESTATUS[@]}}"; do case $status in 0|141) ;; *) exit "$status";; esac; done\n'
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or "Traceback" in done.stderr:
        raise ValueError(f"{command}\nexit status {done.returncode}\n{done.stderr.strip()}")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def check(page: Path, write: bool = False) -> list[str]:
    """Problems of a page's examples; with ``write`` outputs are written anew instead of being a problem."""
    problems: list[str] = []
    text = page.read_text(encoding="utf-8")
    replaced: list[tuple[tuple[int, int], str]] = []
    with tempfile.TemporaryDirectory(prefix="netlens-docs-") as name:
        folder = Path(name)
        sandbox(folder)
        for example in examples(page):
            where = f"{page.relative_to(ROOT)}:{example.line}"
            printed, complete = "", True
            for command in example.commands:
                try:
                    what = kind(command)
                    if what != "theirs":
                        parse(command)
                    if what == "run":
                        printed += run(command, folder)
                        complete = complete and (shutil.which("jq") is not None or "jq" not in command)
                    elif example.output is not None:
                        problems.append(f"{where}: {command}\nis not run here, so no output may stand beneath it")
                except click.ClickException as error:
                    problems.append(f"{where}: {command}\n{error.format_message()}")
                except ValueError as error:
                    problems.append(f"{where}: {error}")
            if example.output is None or not complete or example.output == printed:
                continue
            if write:
                replaced.append((example.span, printed))
            else:
                diff = difflib.unified_diff(example.output.splitlines(), printed.splitlines(), "in the page", "printed", lineterm="", n=1)
                problems.append(f"{where}: not what its commands print (python tools/docs_examples.py --write)\n" + "\n".join(diff))
    for (start, end), printed in reversed(replaced):
        text = text[:start] + printed + text[end:]
    if replaced:
        page.write_text(text, encoding="utf-8")
    return problems


def main() -> int:
    arguments = sys.argv[1:]
    write = "--write" in arguments
    named = [Path(a).resolve() for a in arguments if a != "--write"]
    problems = [problem for page in named or pages() if examples(page) for problem in check(page, write)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
