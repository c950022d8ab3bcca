"""How commands end: exit status and the one line, whatever becomes of standard output, of memory, of names, and of netlens itself."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netlens.cli.ending import out_of_memory

CAPTURES = Path(__file__).parents[2] / "captures"
FULL = "netlens: the output cannot be written (no space left on device)\n"
CLOSED = "netlens: the output cannot be written (bad file descriptor)\n"
#: As most people's: Python buffers what goes to a pipe or file.
BUFFERED = {k: v for k, v in os.environ.items() if k not in {"PYTHONUNBUFFERED", "NETLENS_DEBUG"}}
UNBUFFERED = {**BUFFERED, "PYTHONUNBUFFERED": "1"}
SMALL = str(CAPTURES / "healthy" / "vm.pcap.gz")
COMMANDS = [
    ["--help"],
    ["--version"],
    ["sessions", "--help"],
    ["sessions", SMALL],
    ["connections", SMALL, "--format", "trace"],
    ["dns", SMALL, "--format", "json"],
    ["exchanges", SMALL, "--format", "csv"],
    ["analyze", SMALL],
    ["analyze", SMALL, "--format", "json"],
    ["compare", str(CAPTURES / "healthy"), str(CAPTURES / "healthy")],
    ["compare", str(CAPTURES / "healthy"), str(CAPTURES / "healthy"), "--format", "json"],
    ["extract", SMALL, "--session", "0", "-w", "-"],
    ["doctor"],
    ["doctor", "--format", "json"],
    ["lab", "list"],
    ["lab", "check", str(CAPTURES / "healthy")],
]
WATCH = [["watch", "--replay", SMALL, "--speed", "0"], ["watch", "--replay", SMALL, "--speed", "0", "--json"]]


def netlens(args: list[str], redirected: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run through a shell that redirects; nothing but standard error comes back unless ``redirected`` leaves it."""
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirected}', "-", sys.executable, "-m", "netlens", *args],
        env=env or BUFFERED,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "this is a bug" not in said
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(errors="replace"), said)


def python(code: str, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``code`` and then the command line, in one process."""
    script = f"{code}\nfrom netlens.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", script, *args], env=env or BUFFERED, capture_output=True, text=True, timeout=300, check=False
    )


# --- standard output ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("args", [*COMMANDS, *WATCH], ids=lambda args: " ".join(a for a in args if "/" not in a))
def test_a_full_disk_is_told_of(args: list[str], env: dict[str, str]) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    done = netlens(args, ">/dev/full", env)
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize("args", [*COMMANDS, *WATCH], ids=lambda args: " ".join(a for a in args if "/" not in a))
def test_a_closed_standard_output_is_told_of(args: list[str]) -> None:
    done = netlens(args, ">&-")
    assert (done.returncode, done.stderr) == (1, CLOSED)


def test_a_full_disk_is_told_of_also_where_the_status_says_something_else() -> None:
    code = (
        "import click, netlens.cli.doctor as d\n"
        "def missing(*_, **__):\n    click.echo('text')\n    raise click.exceptions.Exit(1)\n"
        "d.command.callback = missing"
    )
    script = f"{code}\nfrom netlens.cli import main\nmain()"
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >/dev/full', "-", sys.executable, "-c", script, "doctor"],
        env=BUFFERED,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, FULL)


def test_a_closed_standard_output_matters_only_to_what_writes_there(tmp_path: Path) -> None:
    done = netlens(["sessions", SMALL, "--format", "csv", "-o", str(tmp_path / "rows.csv")], ">&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "rows.csv").read_text() == netlens(["sessions", SMALL, "--format", "csv"]).stdout
    assert netlens(["sessions", "/nowhere.pcap"], "2>&-").returncode == 1


def test_a_closed_standard_input_is_one_line() -> None:
    done = netlens(["sessions", "-"], "<&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("netlens: standard input: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("env", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("args", [*COMMANDS, *WATCH], ids=lambda args: " ".join(a for a in args if "/" not in a))
def test_a_reader_that_went_away_ends_it_silently(args: list[str], env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "netlens", *args], env=env, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, timeout=300,
        check=False,
    )  # fmt: skip
    os.close(writer)
    # `watch` ends what it has started first, and has done what was asked
    assert (done.returncode, done.stderr) == (0 if args in WATCH else -signal.SIGPIPE, b"")


# --- exit status -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json"])
def test_doctor_ends_with_1_where_something_is_missing(form: str, tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho no route >&2\nexit 255\n")
    ssh.chmod(0o755)
    done = netlens(["doctor", "--vm", "nobody@vm.invalid", "--format", form], env={**BUFFERED, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert "missing" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("form", ["table", "json"])
def test_lab_check_ends_with_1_where_something_differs(form: str, tmp_path: Path) -> None:
    other = tmp_path / "healthy"
    shutil.copytree(CAPTURES / "healthy", other)
    assert netlens(["lab", "check", str(other), "--format", form]).returncode == 0
    lines = (other / "provider.jsonl").read_text().splitlines()
    gone = next(json.loads(line)["connection"] for line in lines if json.loads(line)["event"] == "accept")
    (other / "provider.jsonl").write_text("".join(f"{line}\n" for line in lines if json.loads(line).get("connection") != gone))
    done = netlens(["lab", "check", str(other), "--format", form])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout


def test_completion_ends_with_0_and_wrong_usage_with_2() -> None:
    asked = {**BUFFERED, "_NETLENS_COMPLETE": "bash_complete", "COMP_WORDS": "netlens ana", "COMP_CWORD": "1"}
    done = netlens([], env=asked)
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain,analyze\n", "")
    assert netlens([], ">/dev/full", asked).returncode == 1
    assert netlens([]).returncode == 2
    assert netlens(["lab"]).returncode == 2


# --- defects -----------------------------------------------------------------------------------------------------------------------------

BROKEN = "import netlens.cli.common as c\ndef read_capture(*_, **__): raise ValueError('of a\\x1b\\nkind')\nc.read_capture = read_capture"


def test_a_defect_is_one_line_with_what_a_report_needs() -> None:
    import netlens as package

    done = python(BROKEN, "sessions", SMALL)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(
        rf"netlens: this is a bug in netlens {package.__version__}: ValueError (of a\x1b kind) at netlens/cli/common.py:"
    )
    assert "please report" in done.stderr
    assert "NETLENS_DEBUG=1" in done.stderr
    traced = python(BROKEN, "sessions", SMALL, env={**BUFFERED, "NETLENS_DEBUG": "1"})
    assert traced.returncode == 1
    assert traced.stderr.startswith("Traceback (most recent call last):")
    assert traced.stderr.endswith(done.stderr)


def test_a_defect_is_told_at_the_package_whatever_the_folder_above_is_called() -> None:
    done = python(f"exec(compile({BROKEN!r}, '/home/somebody/netlens/tests/test_x.py', 'exec'))", "sessions", SMALL)
    assert " at netlens/cli/common.py:" in done.stderr


def test_a_defect_in_a_thread_is_one_line_too() -> None:
    code = """
import threading, netlens.cli.common as c
was = c.print_table
def print_table(*args, **options):
    def fail(): raise KeyError("x")
    thread = threading.Thread(target=fail, name="t")
    thread.start()
    thread.join()
    was(*args, **options)
c.print_table = print_table
"""
    done = python(code, "sessions", SMALL, "--limit", "1")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    line, shown = done.stderr.splitlines()
    assert "KeyError ('x')" in line
    assert "in thread t;" in line
    assert "rows shown" in shown


def test_a_dependency_that_is_missing_is_named() -> None:
    done = python("import sys; sys.modules['numba'] = None", "sessions", SMALL)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the package numba is missing" in done.stderr


@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, "netlens: interrupted\n"), (signal.SIGTERM, 143, ""), (signal.SIGHUP, 129, "")]
)
def test_signals_keep_their_status(number: int, status: int, said: str) -> None:
    code = (
        "import os, signal, netlens.cli.common as c\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
        f"c.read_capture = lambda *_, **__: os.kill(os.getpid(), {int(number)})"
    )
    done = python(code, "sessions", SMALL)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", ["watch", "capture"])
def test_signals_before_anything_is_recorded_keep_their_status(command: str, number: int, status: int, tmp_path: Path) -> None:
    """The two have handlers of their own, which end a recording; before there is one, the signal ends the command."""
    at = {"watch": "netlens.cli.watch._warm", "capture": "netlens.capture.session.Session.run"}[command]
    module, _, name = at.rpartition(".")
    code = (
        "import os, pkgutil, signal, netlens.cli.watch\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        f"setattr(pkgutil.resolve_name({module!r}), {name!r}, lambda *_: os.kill(os.getpid(), {int(number)}))"
    )
    done = python(code, command, "--side", "host", "-w", str(tmp_path / "recording"))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1:] == (["netlens: interrupted"] if status == 130 else [])
    assert not (tmp_path / "recording").exists()


@pytest.mark.parametrize("ignored", [False, True])
def test_under_nohup_a_closed_terminal_ends_no_recording(ignored: bool) -> None:
    code = (
        "import os, signal\nfrom netlens.cli.ending import interrupts\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignored else 'SIG_DFL'})\n"
        "with interrupts(print):\n    os.kill(os.getpid(), signal.SIGHUP)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ("" if ignored else f"{int(signal.SIGHUP)}\n")


# --- memory ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")
@pytest.mark.parametrize(
    "args",
    [["sessions", SMALL], ["analyze", SMALL], ["sessions", SMALL, "--format", "parquet", "-o", "{}"]],
    ids=["sessions", "analyze", "parquet"],
)
def test_too_little_memory_is_one_line(args: list[str], tmp_path: Path) -> None:
    """Whatever the limit, it is read or one line says why not; nothing aborts, and no file is left half written."""
    args = [a.format(tmp_path / "rows") for a in args]
    assert netlens(args).returncode == 0  # kernels are compiled, which takes more memory
    for megabytes in (250, 450, 540, 600, 720, 780, 1200):
        (tmp_path / "rows").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", f'ulimit -c 0; ulimit -v {megabytes * 1000}; exec "$@"', "-", sys.executable, "-m", "netlens", *args],
            env=BUFFERED, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), (megabytes, done)
        assert done.returncode == 0 or megabytes < 1200
        if done.returncode:
            assert done.stderr.startswith("netlens: out of memory"), (megabytes, done.stderr)
            assert (done.stdout, done.stderr.count("\n")) == ("", 1), megabytes
            assert not list(tmp_path.iterdir()), megabytes
        else:
            assert megabytes >= 780
            assert done.stderr == ""


def test_what_is_for_want_of_memory() -> None:
    hidden = OSError("Could not find/load shared object file")
    hidden.__context__ = OSError("x.so: failed to map segment from shared object")
    for error in (
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        hidden,
    ):
        assert out_of_memory(error)
    assert not out_of_memory(OSError(errno.ENOENT, "No such file"))
    assert not out_of_memory(ValueError("out of memory"))  # perhaps the text of a capture
    around = KeyError("x")
    around.__context__ = around
    assert not out_of_memory(around)


# --- names that the terminal, or no encoding, has letters for ----------------------------------------------------------------------------

ENCODINGS = {
    "ascii output": {"PYTHONIOENCODING": "ascii"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
NAMES = {"letters": "ü ☃", "bytes": os.fsdecode(b"b\xff")}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_names_that_cannot_be_shown(encoding: dict[str, str], name: str, tmp_path: Path) -> None:
    if "LC_ALL" in encoding and not sys.prefix.isascii():
        pytest.skip("numpy itself cannot be imported from such a path in the C locale")
    env = {**BUFFERED, **encoding}
    here = tmp_path / name
    shutil.copytree(CAPTURES / "healthy", here / name)
    capture, recording = str(here / f"{name}.pcap.gz"), str(here / name)
    shutil.copy(SMALL, capture)
    out = str(here / "out")
    for args in (
        ["sessions", capture, "--format", "parquet", "-o", f"{out}.parquet"],
        ["connections", capture, "--format", "csv", "-o", f"{out}.csv"],
        ["analyze", capture],
        ["analyze", recording, "-o", out],
        ["analyze", recording, "--bundle", f"{out}.zip"],
        ["compare", recording, recording],
        ["compare", recording, recording, "--format", "json"],
        ["extract", capture, "--session", "0", "-w", f"{out}.pcap"],
        ["anonymize", recording, "-o", f"{out}-other"],
        ["watch", "--replay", recording, "--speed", "0"],
        ["watch", "--replay", recording, "--speed", "0", "--json"],
        ["lab", "check", recording],
        ["lab", "list"],
    ):
        done = netlens(args, env=env)
        assert done.returncode == 0, (args, done.stderr)
    for args in (
        ["sessions", capture + name],
        ["analyze", capture, "--api", name],
        ["sessions", capture, "--format", "csv", "-o", capture + "/x/y"],
        ["lab", "check", capture],
        ["watch", "--replay", capture + name],
        ["anonymize", capture, "-o", capture],
    ):
        done = netlens(args, env=env)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, ""), (args, done.stderr)
    for args in (["sessions", capture, "--columns", name], [name], ["sessions", capture, "--format", name]):
        assert netlens(args, env=env).returncode == 2


@pytest.mark.parametrize(("argv", "status"), [(["--version"], 0), (["sessions"], 2), (["sessions", "/nowhere.pcap"], 1)])
def test_it_leaves_at_once_but_not_before_those_who_wait_for_the_end(argv: list[str], status: int) -> None:
    script = "import atexit\natexit.register(print, 'the end')\nfrom netlens.__main__ import run\nrun()"
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, "the end")


def test_it_waits_for_threads_that_are_not_done() -> None:
    wait = "import threading\nthreading.Thread(target=lambda: (threading.main_thread().join(), print('done'))).start()"
    script = f"{wait}\nfrom netlens.__main__ import run\nrun()"
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "done")
