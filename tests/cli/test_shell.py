"""What a shell and a terminal expect: completion, NO_COLOR."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[2] / "captures"
PROGRAM = Path(sys.executable).parent / "netlens"
#: SGR sequences that set a colour: 30-38, 40-48, 90-97, 100-107.
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


def completed(words: str, folder: Path) -> list[str]:
    """What bash would offer for the last of these words."""
    environment = {**os.environ, "_NETLENS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run([PROGRAM], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("netlens ana", {"analyze"}),
        ("netlens sessions --form", {"--format"}),
        ("netlens analyze --format ", {"text", "json"}),
        ("netlens lab r", {"run"}),
    ],
)
def test_commands_options_and_choices_are_completed(words: str, offered: set[str], tmp_path: Path) -> None:
    assert offered <= set(completed(words, tmp_path))


@pytest.mark.parametrize("command", ["sessions", "connections", "dns", "exchanges", "analyze", "compare", "extract"])
def test_captures_are_completed_as_files(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "_NETLENS_COMPLETE": "bash_complete", "COMP_WORDS": f"netlens {command} cap", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.match(r"(file|dir),cap", done.stdout), done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_takes_the_completion() -> None:
    script = f'PATH="{PROGRAM.parent}:$PATH"; eval "$(_NETLENS_COMPLETE=bash_source netlens)"; complete -p netlens'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "_netlens_completion" in done.stdout
    assert done.stderr == ""


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    out = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        out += data
    os.close(ours)
    assert process.wait(60) in (0, 1)
    return out


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", str(CAPTURES / "zombie-sshuttle")),
        ("sessions", str(CAPTURES / "healthy" / "vm.pcap.gz"), "--limit", "3"),
        ("compare", str(CAPTURES / "zombie-sshuttle"), str(CAPTURES / "zombie-excluded")),
        ("doctor",),
        ("watch", "--replay", str(CAPTURES / "healthy"), "--speed", "0"),
        ("lab", "list"),
        ("--help",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_color_is_honoured(arguments: tuple[str, ...]) -> None:
    out = on_a_terminal(*arguments, NO_COLOR="1")
    assert out.strip()
    assert not COLOUR.search(out)


def test_the_pattern_finds_colours() -> None:
    assert all(COLOUR.search(b"\x1b[%bm" % code) for code in (b"31", b"1;32", b"38;5;208", b"97", b"0;100"))
    assert not any(COLOUR.search(b"\x1b[%bm" % code) for code in (b"1", b"0", b"2", b"4", b"1;4", b""))
