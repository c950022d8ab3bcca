"""Whether the commands of the README work anywhere: fresh clones of the current commit, each under other conditions (Linux).

python3 tools/rounds.py [ROUND...]           make demo and make test in each round (or in those named); exit 1 if one failed
python3 tools/rounds.py --quick [ROUND...]   a smoke test in place of all tests
python3 tools/rounds.py --write [ROUND...]   the same, and the table of the last run of each into docs/reliability.md
python3 tools/rounds.py --list               what there is

Needs nothing but Python and git. Run as root: it gives rights away. Logs are in build/rounds/ROUND.log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "rounds"
SMOKE = "tests/test_package.py tests/wire/test_compiled.py tests/cli/test_bad_input.py"
CAPTURE = "captures/same-nat-ip-sshuttle/host.pcap.gz"
USERS = (65534, 65533)  #: nobody, and one whom the system does not know
FULL = "/dev/full"
FAILED = "**failed**"


class Failed(Exception):
    """What a round found."""


class NotRun(Exception):
    """Why a round cannot be had here."""


@dataclass
class Ground:
    """Where rounds run. ``base``: a folder that everybody may enter; checkouts that several rounds use are made once."""

    base: Path
    quick: bool
    log: Path = LOGS / "none"  #: of the round that uses this
    made: dict[str, Path] = field(default_factory=dict)
    making: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, command: list[str], cwd: Path, env: dict[str, str] | None = None, user: int | None = None, before: tuple[str, ...] = ()
    ) -> str:
        """Run to the end, in the log; its last line. Raises Failed on any status but 0."""
        with open(self.log, "ab") as log:
            log.write(f"\n$ {' '.join([*before, *command])}   (in {cwd})\n".encode())
            log.flush()
            begin = log.tell()
            process = subprocess.run(
                [*before, *as_user(user), *command],
                cwd=cwd,
                env=environment(user, self.base) if env is None else env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        lines = self.log.read_bytes()[begin:].decode(errors="replace").splitlines()
        said = next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith("make: ")), "")
        if process.returncode:
            raise Failed(f"{' '.join(command)}: status {process.returncode} ({said})")
        return said

    def clone(self, name: str, user: int | None = None) -> Path:
        """A fresh clone of the current commit, at ``name`` under the base."""
        folder = self.base / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], ROOT)
        if user is not None:
            for path in (folder.parent, folder, *folder.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        return folder

    def demo_and_test(self, folder: Path, *more: str, **how: object) -> str:
        self.run(["make", "demo"], folder, **how)  # type: ignore[arg-type]
        return self.test(folder, *more, **how)

    def test(self, folder: Path, *more: str, **how: object) -> str:
        wanted = " ".join([*([SMOKE] if self.quick else []), *more])
        last = self.run(["make", "test", *([f"PYTEST_ARGS={wanted}"] if wanted else [])], folder, **how)  # type: ignore[arg-type]
        return re.sub(r"^=+ | in [\d.]+s.*| =+$", "", last)

    def roots(self) -> Path:
        """Root's own checkout, installed."""
        with self.making:
            if "root" not in self.made:
                folder = self.clone("home/root/netlens")
                self.run(["make", "demo"], folder)
                self.made["root"] = folder
            return self.made["root"]


def need_root() -> None:
    if os.geteuid() != 0:
        raise NotRun("needs root")


def as_user(user: int | None) -> list[str]:
    """What makes a command run as an ordinary user, whom sudo does not help."""
    if user is None:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]


def environment(user: int | None, base: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH", "VIRTUAL_ENV")}
    if user is None:
        return kept
    home = base / "home" / str(user)
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, user, user)
    return kept | {"HOME": str(home), "USER": "nobody", "LOGNAME": "nobody", "PATH": "/usr/local/bin:/usr/bin:/bin"}


# --- the rounds ---------------------------------------------------------------------------------------------------------------------------

Round = Callable[[Ground], str]
ROUNDS: dict[str, tuple[str, Round]] = {}


def a_round(name: str, about: str) -> Callable[[Round], Round]:
    def register(function: Round) -> Round:
        ROUNDS[name] = (about, function)
        return function

    return register


@a_round("root", "as root, tests in random order")
def root(ground: Ground) -> str:
    need_root()
    said = ground.test(ground.roots(), "--shuffle=0")
    seed = re.findall(r"--shuffle=([1-9]\d*)", ground.log.read_text(errors="replace"))
    return f"{said}; seed {seed[-1] if seed else 'unknown'}"


@a_round("user", "as an ordinary user without sudo, in a path with spaces and an umlaut, TMPDIR not writable")
def user(ground: Ground) -> str:
    need_root()
    closed = ground.base / "closed"
    closed.mkdir(mode=0o755)
    env = environment(USERS[0], ground.base) | {"TMPDIR": str(closed)}
    return ground.demo_and_test(ground.clone("Ein Ordner für alles/net lens", USERS[0]), user=USERS[0], env=env)


def on_python(version: str, ground: Ground, **how: object) -> str:
    """``make demo`` and ``make test`` in a fresh clone with that Python, from the PATH or of pyenv."""
    found = shutil.which(f"python{version}")
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    for candidate in [*([found] if found else []), *map(str, pyenv)]:
        # A name on the PATH may be a shim with nothing behind it.
        if subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0:
            env = how.pop("env", None) or environment(None, ground.base)
            folder = ground.clone(f"python{version}/netlens")
            ground.run(["make", "install", f"PYTHON={candidate}"], folder, env=env)  # type: ignore[arg-type]
            return ground.demo_and_test(folder, env=env, **how)
    raise NotRun(f"no python{version} here that can make environments")


@a_round("python3.11", "on Python 3.11, HOME unset")
def python_311(ground: Ground) -> str:
    env = environment(None, ground.base)
    env.pop("HOME", None)
    return on_python("3.11", ground, env=env)


@a_round("python3.12", "on Python 3.12, without a network once installed (unshare -n)")
def python_312(ground: Ground) -> str:
    need_root()
    return on_python("3.12", ground, before=("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"))


@a_round("python3.13", "on Python 3.13")
def python_313(ground: Ground) -> str:
    return on_python("3.13", ground)


@a_round("full", "standard output on a full device: status 1 and one line")
def full(ground: Ground) -> str:
    if not os.path.exists(FULL):
        raise NotRun(f"no {FULL} here")
    need_root()
    folder = ground.roots()
    commands = (
        ["--help"],
        ["sessions", "--help"],
        ["--version"],
        *(
            [name, CAPTURE, "--format", form]
            for name in ("sessions", "connections", "dns", "exchanges")
            for form in ("table", "csv", "json")
        ),
        ["analyze", CAPTURE],
        ["analyze", CAPTURE, "--format", "json"],
    )
    wrong = []
    for command in commands:
        with open(FULL, "wb") as device:
            done = subprocess.run(
                [".venv/bin/netlens", *command], cwd=folder, stdout=device, stderr=subprocess.PIPE, text=True, check=False
            )
        lines = done.stderr.splitlines()
        with open(ground.log, "a") as log:
            log.write(f"\n$ netlens {' '.join(command)} > {FULL}\n{done.stderr}status {done.returncode}\n")
        if done.returncode != 1 or len([line for line in lines if not line.startswith("netlens: warning: ")]) != 1:
            wrong.append(f"{' '.join(command)}: status {done.returncode}, {len(lines)} lines")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(commands)} commands, the first: {wrong[0]}")
    return f"{len(commands)} commands"


@a_round("shared", "a wheel in root's environment, used by two users at once")
def shared(ground: Ground) -> str:
    need_root()
    folder = ground.clone("shared/netlens")
    place = ground.base / "shared" / "env"
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    ground.run(["tools/venv.sh", str(place)], folder)
    ground.run([*pip, "install", "-q", "--require-hashes", "-r", "requirements.lock"], folder)
    ground.run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."], folder)
    ground.run([*pip, "install", "-q", "--no-deps", *map(str, (folder / "dist").glob("*.whl"))], folder)
    command = [str(place / "bin" / "netlens"), "sessions", "--format", "csv", str(folder / CAPTURE)]

    def both(**variables: str) -> list[str]:
        processes = [
            subprocess.Popen(
                [*as_user(number), *command],
                cwd="/",
                env=environment(number, ground.base) | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in USERS
        ]
        ended = [process.communicate() for process in processes]
        with open(ground.log, "a") as log:
            log.write(f"\n$ {' '.join(command)}   (twice at once)\n" + "".join(error for _, error in ended))
        if any(process.returncode for process in processes) or len({out for out, _ in ended}) != 1 or not ended[0][0]:
            raise Failed(f"status {[process.returncode for process in processes]}: {ended[0][1]}{ended[1][1]}")
        return [error for _, error in ended]

    if any(len(said.splitlines()) != 1 or "compiling its kernels" not in said for said in both()):
        raise Failed("the first run of each user does not say that it compiles, in one line")
    if any(both()):
        raise Failed("the second run of each user says something")
    ground.run([python, "-m", "netlens.warm"], Path("/"))  # elsewhere: in the clone it would find that one
    if any(both(HOME="/nonexistent")):
        raise Failed("users do not load what root compiled")
    return "compiled once each, then once for all"


# --- the table ----------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def a_base(keep: bool) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="netlens-rounds-"))
    base.chmod(0o755)
    try:
        yield base
    finally:
        if keep:
            print(f"kept: {base}", file=sys.stderr)
        else:
            shutil.rmtree(base, ignore_errors=True)


def one(name: str, ground: Ground) -> tuple[str, str, str, float]:
    """One round: its name, its condition, what it said, and how many seconds it took."""
    about, function = ROUNDS[name]
    ground = replace(ground, log=LOGS / f"{name}.log")
    ground.log.write_bytes(b"")
    print(f"{name}: {about}", file=sys.stderr)
    begin = time.monotonic()
    try:
        result = function(ground)
    except NotRun as why:
        result = f"not run: {why}"
    except Failed as why:
        result = f"{FAILED}: {why}"
    print(f"{name}: {result}; its log is {ground.log}", file=sys.stderr)
    return name, about, result, time.monotonic() - begin


def keep(rows: Iterable[tuple[str, str, str, float]]) -> None:
    """For the table: each condition is followed by the commit that it was tried on."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    for name, about, result, seconds in rows:
        (LOGS / f"{name}.json").write_text(json.dumps([name, f"{about} ({head or 'no commit'})", result, seconds]))


def kept() -> list[tuple[str, str, str, float]]:
    """The last run of each round."""
    return [tuple(json.loads((LOGS / f"{name}.json").read_text())) for name in ROUNDS if (LOGS / f"{name}.json").exists()]


def table(rows: list[tuple[str, str, str, float]]) -> str:
    lines = ["| round | condition | result | seconds |", "|---|---|---|---:|"]
    lines += [
        f"| `{name}` | {about} | {' '.join(result.split()).replace('|', '/')} | {seconds:,.0f} |" for name, about, result, seconds in rows
    ]
    return "\n".join(lines) + "\n"


def page(rows: list[tuple[str, str, str, float]]) -> str:
    return (
        "## Anywhere\n\n`make demo` and `make test` in fresh clones of the commit in brackets, made by `python3 tools/rounds.py --write` (as "
        f"root).\n\n{table(rows)}\n{os.cpu_count()} processors, {platform.system()} {platform.release()}.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="*", metavar="ROUND", help=", ".join(ROUNDS))
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="rounds at once (1; tests wait for half of their time)")
    parser.add_argument("--quick", action="store_true", help="a smoke test in place of all tests")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="keep the clones")
    parser.add_argument("--list", action="store_true", help="list the rounds")
    options = parser.parse_args()
    if unknown := [name for name in options.rounds if name not in ROUNDS]:
        parser.error(f"no round is called {unknown[0]!r}; there are {', '.join(ROUNDS)}")
    if options.write and options.quick:
        parser.error("--write is for rounds with all tests")
    if options.list:
        for name, (about, _) in ROUNDS.items():
            print(f"{name:<12} {about}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # the clones are deleted
    LOGS.mkdir(parents=True, exist_ok=True)
    with a_base(options.keep) as base, ThreadPoolExecutor(options.jobs) as pool:
        ground = Ground(base, options.quick)
        rows = list(pool.map(lambda name: one(name, ground), options.rounds or ROUNDS))
    print(table(rows), end="")
    if not options.quick:
        keep(rows)
    if options.write:
        sys.path.insert(0, str(ROOT))
        from tests.faults.ground import write_section

        write_section(ROOT / "docs" / "reliability.md", "rounds", page(kept()))
    return int(any(result.startswith(FAILED) for _, _, result, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
