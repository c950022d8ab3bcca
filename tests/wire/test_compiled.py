"""Kernels are compiled once for a machine, shared by its users and processes, and never taken from where a stranger may write."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlens.compiling import Shown
from netlens.warm import tiny_capture
from netlens.wire import machinecode

#: A program with kernels of its own: one calls another. It says when it begins to compile, and waits where it is told to.
PROGRAM = """
import sys
from netlens.compiling import Shown
from netlens.wire import compiled

@compiled.kernel
def inner(x):
    return x * 3

@compiled.kernel
def outer(n):
    total = 0
    for i in range(n):
        total += inner(i)
    return total

class Told(Shown):
    def compiling(self, done, about):
        super().compiling(done, about)
        if "wait" in sys.argv and sys.argv.remove("wait") is None:
            print("compiling", flush=True)
            sys.stdin.readline()

compiled.shown = Told()
if "handlers" in sys.argv:
    from netlens import cli
    cli._invoke = lambda: int(outer(5) != 30)
    cli.main()
print(outer(5), compiled.compiled, flush=True)
"""


def _environment(root: Path, cache: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others may read, with the program in it."""
    folder = Path(tempfile.mkdtemp(prefix="netlens-test-"))
    folder.chmod(0o755)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "cache").mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def _start(root: Path, place: Path, *arguments: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(place / "program.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=_environment(root, place / "cache"),
        **more,  # type: ignore[call-overload]
    )


def _run(root: Path, place: Path, *arguments: str, **more: object) -> tuple[str, str]:
    process = _start(root, place, *arguments, **more)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.strip(), err


def _code(place: Path) -> list[Path]:
    return sorted(place.glob("cache/netlens-kernels/*/*.nbc"))


COMPILES = "netlens: compiling its kernels for this machine, once (up to a minute)\n"


def test_compiled_once_and_said_only_then(root: Path, place: Path) -> None:
    assert _run(root, place) == ("30 2", COMPILES)
    assert len(_code(place)) == 2
    assert _run(root, place) == ("30 0", "")


@pytest.mark.parametrize("damage", [b"", b"\x80", None])
def test_damaged_code_is_compiled_anew(root: Path, place: Path, damage: bytes | None) -> None:
    _run(root, place)
    for file in _code(place):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    assert _run(root, place) == ("30 2", COMPILES)
    assert _run(root, place) == ("30 0", "")


def test_two_first_runs_share_one_compilation(root: Path, place: Path) -> None:
    first = _start(root, place, "wait")
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline() == "compiling\n"
    second = _start(root, place)
    assert second.stderr is not None
    assert second.stderr.readline() == "netlens: waiting for another netlens, which is compiling the kernels\n"
    out, err = first.communicate("\n")
    assert (out, err) == ("30 2\n", COMPILES)
    out, err = second.communicate()
    assert (out, err) == ("30 0\n", "")


def test_who_waits_goes_on_when_its_kernel_is_there(root: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the other process has compiled everything."""
    _run(root, place)
    folder = _code(place)[0].parent
    made = {path: path.read_bytes() for path in _code(place)}
    for path in made:
        path.unlink()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(place / "cache"))
    with machinecode.Store(folder.name).alone(lambda: None):
        second = _start(root, place)
        assert second.stderr is not None
        assert second.stderr.readline() == "netlens: waiting for another netlens, which is compiling the kernels\n"
        for path, content in made.items():
            path.write_bytes(content)
        assert second.communicate() == ("30 0\n", "")


def test_processes_under_one_lock_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machinecode, "under_lock", False)
    one, other = machinecode.Store("stamp"), machinecode.Store("stamp")
    with one.alone(lambda: None):
        monkeypatch.setattr(machinecode, "under_lock", True)
        with other.alone(lambda: pytest.fail("it waits")):
            assert other.claim("a")
            assert not one.claim("a")
            assert one.claim("b")
            assert other.write("a", b"code") is None
        monkeypatch.setattr(machinecode, "under_lock", False)
    one.look_again()
    assert one.read("a") == b"code"
    with other.alone(lambda: None):  # what a process claimed that was killed is nobody's
        assert other.claim("b")


@pytest.mark.parametrize(("number", "status", "said"), [(signal.SIGTERM, 143, ""), (signal.SIGINT, 130, "netlens: interrupted\n")])
def test_a_signal_while_it_compiles_ends_it_in_order(root: Path, place: Path, number: int, status: int, said: str) -> None:
    process = _start(root, place, "wait", "handlers")
    assert process.stdout is not None
    assert process.stdout.readline() == "compiling\n"
    process.send_signal(number)
    out, err = process.communicate("\n")
    assert (process.returncode, out, err) == (status, "", COMPILES + said)
    assert not [path for path in place.rglob("cache/netlens-kernels/*/*") if path.suffix != ".nbc"]
    assert _run(root, place)[0].startswith("30 ")


def test_a_signal_while_a_thread_compiles(root: Path, place: Path) -> None:
    """The first kernels of a run are compiled by the thread that decodes; the main thread waits for it."""
    (place / "tiny.pcap").write_bytes(tiny_capture())
    script = """
import sys, threading
from netlens.compiling import Shown
def told(self, done, about):
    assert threading.current_thread() is not threading.main_thread()
    print("compiling", flush=True)
    if done == 1:
        sys.stdin.readline()
Shown.compiling = told
from netlens import background, cli
background.compile_now = lambda: None
sys.argv = ["netlens", "sessions", sys.argv[1]]
cli.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(place / "tiny.pcap")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(root, place / "cache"),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "compiling\n"
    assert process.stdout.readline() == "compiling\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate("\n")
    assert (process.returncode, err) == (143, "")
    assert out.count("compiling") < 5  # it does not compile the rest first


class _Bomb:
    """What is run when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_that_others_could_have_written_is_not_loaded(root: Path, place: Path) -> None:
    _run(root, place)
    body = pickle.dumps(_Bomb(place / "exploded"))
    for file in _code(place):
        file.write_bytes(body + machinecode._SEAL.pack(len(body), machinecode.zlib.crc32(body)))
    folder = _code(place)[0].parent
    for unsafe in (folder, folder.parent, folder.parent.parent):
        unsafe.chmod(0o777)
        out, err = _run(root, place)
        assert out == "30 2"
        assert COMPILES in err
        assert (
            f"netlens: its kernels are compiled for this run only: none of {place}/cache/netlens-kernels is a folder that only you can write to"
            in err
        )
        assert len(err.splitlines()) == 2
        unsafe.chmod(0o755)
    assert not (place / "exploded").exists()


def test_nobody_loads_what_another_user_made(root: Path, place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only: gives files away")
    _run(root, place)
    for path in (place / "cache").rglob("*"):
        os.chown(path, 65534, 65534)
    assert "for this run only" in _run(root, place)[1]


def nobody(root: Path, place: Path) -> dict[str, object]:
    """How a process is started as nobody; skips where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("root only: becomes somebody else")
    nobody: dict[str, object] = {"user": 65534, "group": 65534, "extra_groups": []}
    program = [sys.executable, "-c", "import netlens.wire, numba"]
    try:
        unreadable = subprocess.run(program, env=_environment(root, place), cwd="/", check=False, **nobody).returncode  # type: ignore[call-overload]
    except PermissionError:  # not even Python: the clone lies in root's home
        unreadable = 1
    if unreadable:
        pytest.skip("root only, in a folder that others may read: this one is not")
    return nobody


def test_everybody_loads_what_root_compiled(root: Path, place: Path) -> None:
    somebody_else = nobody(root, place)
    _run(root, place, umask=0o077)
    assert _run(root, place, **somebody_else) == ("30 0", "")


def test_trusted_folders(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    folder = os.path.realpath(inner)
    for path in (inner, inner.parent):
        path.chmod(0o755)
        assert machinecode.trusted(folder)
        path.chmod(0o757)
        assert not machinecode.trusted(folder)
        path.chmod(0o755)
    inner.parent.chmod(0o1777)  # like /tmp: others may add, and cannot replace
    assert machinecode.trusted(folder)
    inner.chmod(0o1777)
    assert not machinecode.trusted(folder)


def test_a_group_may_write_only_if_it_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o775)
    folder = os.path.realpath(tmp_path)
    for own in (True, False):
        monkeypatch.setattr(machinecode, "_own_group", lambda _number, own=own: own)
        assert machinecode.trusted(folder) is own


def test_the_stamp_changes_with_any_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in machinecode.sources():
        copy = tmp_path / os.path.relpath(path, machinecode.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    there = machinecode.stamp()
    monkeypatch.setattr(machinecode, "PACKAGE", str(tmp_path))
    assert machinecode.stamp() == there
    for name in ("wire/loads.py", "wire/link/vlan.py", "parsers/session_fold.py", "anonymize/kernels/prf.py", "cluster/kernels.py"):
        with open(tmp_path / name, "a") as file:
            file.write("#\n")
        assert machinecode.stamp() != there, name
        there = machinecode.stamp()
    for facts in ("_versions", "_processor", "settings"):
        monkeypatch.setattr(machinecode, facts, lambda: ["another"])
        assert machinecode.stamp() != there, facts
        there = machinecode.stamp()


def _names_in_kernels(tree: ast.Module) -> set[str]:
    kernels = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and {ast.unparse(d).split(".")[-1] for d in node.decorator_list} & {"inlined", "kernel", "lean"}
    ]
    return {name.id for kernel in kernels for name in ast.walk(kernel) if isinstance(name, ast.Name)}


def test_the_stamp_covers_all_kernels_and_what_they_use(root: Path) -> None:
    stamped = {os.path.relpath(path, root) for path in machinecode.sources()}
    missing, seen = set(), 0
    for path in sorted((root / "netlens").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = _names_in_kernels(tree)
        if not used:
            continue
        seen += 1
        if str(path.relative_to(root)) not in stamped:
            missing.add(str(path.relative_to(root)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netlens"):
                for name in node.names:
                    if (name.asname or name.name) in used:
                        module = root / (node.module or "").replace(".", "/")
                        file = next(
                            f for f in (module / f"{name.name}.py", module.with_suffix(".py"), module / "__init__.py") if f.is_file()
                        )
                        if str(file.relative_to(root)) not in stamped:
                            missing.add(f"{file.relative_to(root)}, which {path.name} uses")
    assert not missing, "name them in machinecode.SOURCES"
    assert seen > 20


def test_old_stamps_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for number in range(machinecode.STAMPS_KEPT + 3):
        store = machinecode.Store(f"stamp{number}")
        with store.alone(lambda: None):
            assert store.write("a", b"code") is None
        folder = tmp_path / "netlens-kernels" / store.stamp
        os.utime(folder, (number, number))
        (folder / ".1.left").touch()
    with store.alone(lambda: None):
        assert store.read("a") == b"code"
    left = {path.name for path in (tmp_path / "netlens-kernels").iterdir()} - {"lock"}
    assert left == {f"stamp{n}" for n in range(3, machinecode.STAMPS_KEPT + 3)}
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_what_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    store = machinecode.Store("stamp")
    with store.alone(lambda: None):
        shutil.rmtree(tmp_path / "netlens-kernels" / "stamp")
        why = store.write("a", b"code")
    assert why == f"{os.path.realpath(tmp_path)}/netlens-kernels/stamp: no such file or directory"


def test_caches_of_a_user_whose_environment_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert [root for root in machinecode.roots()[1:] if root.startswith(home)]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification has such ones ignored
    assert not [root for root in machinecode.roots() if "relative" in root]


class _Terminal:
    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(Shown, "EVERY_S", 0)
    shown = Shown()
    shown.compiling(0, 4)
    shown.compiling(2, 4)
    shown.ended()
    first, half, cleared = terminal.text.split("\r")[1:]
    assert "[" + " " * 24 + "]   0%" in first
    assert "[" + "#" * 12 + " " * 12 + "]  50%" in half
    assert cleared == "\x1b[K"
    assert "\n" not in terminal.text


def test_no_kernel_is_left_to_be_compiled() -> None:
    """After installation, that is: ``netlens.warm`` has gone through all. What came after it does not count: other tests compile what it forgot."""
    store = machinecode.store()
    if store is None or not store.complete:
        pytest.skip("the kernels were not compiled in advance")
    names = """
import gc
import netlens.analysis, netlens.anonymize.recordings, netlens.cluster.job
from netlens import lenses
from netlens.wire import compiled
lenses.all_lenses()
print(*{each.name for each in gc.get_objects() if isinstance(each, compiled.Kernel)}, sep="\\n")
"""
    told = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout.split()
    assert len(told) > 300
    folders = [folder for root in machinecode.roots() if (folder := Path(root, store.stamp)).is_dir()]
    done_ns = max(path.stat().st_mtime_ns for folder in folders if (path := folder / machinecode.COMPLETE).exists())
    kept = {
        path.name.rsplit(".", 2)[0]
        for folder in folders
        for path in folder.glob(f"*{machinecode.CODE}")
        if path.stat().st_mtime_ns <= done_ns
    }
    assert set(told) - kept == set()
