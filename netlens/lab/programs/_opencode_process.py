"""Whoever uses opencode on one side: ``python -m netlens.lab.programs._opencode_process CONFIG.json``.

Says "ready", starts at a line on standard input, ends by itself. Types prompts, waits for the end of the answer, breaks off now and then, and writes into the
journal what it did (``prompt``, ``abort``, ``end``, ``problem``). What the requests did, the provider knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netlens.lab.journal import Journal
from netlens.lab.programs._process import later, serve, work
from netlens.lab.programs.opencode import Behaviour, configuration

GRACE_S = 20.0  #: for an answer that is under way when the time is over
READY_S = 180.0  #: for a screen to appear; the first start of all sets up its data base
LOOK_S = 0.25  #: how often a screen is looked at
BUSY = ("esc interrupt", "again to interrupt", "[retrying")  #: what a screen says while it works
IDLE = "Ask anything"  #: and before the first prompt


class Users:
    """All windows of one side: one home, one log."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.side, self.seed = str(config["side"]), int(config["seed"])
        self.binary = str(config["binary"])
        self.journal = Journal(Path(config["journal"]))
        self.home = Path(config["home"])
        self.behaviours = [Behaviour.of(each) for each in config["programs"]]
        self.work = self.home / "work"
        self.work.mkdir(parents=True)
        (self.work / "README.md").write_text("# A project\n\nIt counts what others hold.\n", encoding="utf-8")
        bin_folder = self.home / "bin"
        bin_folder.mkdir()
        (bin_folder / "opencode").symlink_to(self.binary)
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{bin_folder}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "NODE_EXTRA_CA_CERTS": str(config["certificate"]),
        }
        self.deadline = threading.Event()
        self._seconds = float(config["seconds"])
        self._begun = threading.Lock()
        self.starting = threading.Lock()  #: two that set up one data base at once have hung

    def begin(self) -> None:
        """The time begins with the first window that is ready: a program that starts slowly is no shorter recording."""
        if self._begun.acquire(blocking=False):
            later(self._seconds, self.deadline.set)

    def run(self) -> None:
        """Until the time is over and what was begun is finished."""
        threads = [
            threading.Thread(target=self._window, args=(behaviour, f"{number}-{window}"))
            for number, behaviour in enumerate(self.behaviours)
            for window in range(behaviour.windows)
        ]
        work(threads)
        self.journal.close()

    def _window(self, behaviour: Behaviour, name: str) -> None:
        rng = random.Random(f"{self.seed} {self.side} {name}")
        config = self.home / f"opencode-{name}.json"
        config.write_text(json.dumps(configuration(behaviour)), encoding="utf-8")
        environment = {**self.environment, "OPENCODE_CONFIG": str(config)}
        if self.deadline.wait(behaviour.start_s):
            return
        kind = _Screen if behaviour.how == "screen" else _Runs
        try:
            with self.starting:
                use: _Screen | _Runs = kind(self, behaviour, name, environment)
            self.begin()
            number = 0
            with contextlib.closing(use):
                while not self.deadline.is_set():
                    number += 1
                    prompt = behaviour.prompts[(number - 1) % len(behaviour.prompts)]
                    broken_off = bool(behaviour.abort) and number % behaviour.abort_every == 0
                    after_s = rng.uniform(*behaviour.abort_after_s) if broken_off else None
                    self.journal.write("prompt", window=name, prompt=prompt, how=behaviour.how)
                    use.prompt(prompt, after_s)
                    self.journal.write("end", window=name)
                    self.deadline.wait(rng.uniform(*behaviour.idle_s))
        except (OSError, RuntimeError, subprocess.SubprocessError) as problem:
            self.journal.write("problem", text=repr(problem)[:2000])

    def finished(self, deadline_passed: float | None) -> bool:
        """Whether an answer that is under way has had its time."""
        return deadline_passed is not None and time.monotonic() - deadline_passed > GRACE_S


class _Runs:
    """``opencode run PROMPT``, once for each prompt."""

    def __init__(self, users: Users, behaviour: Behaviour, name: str, environment: Mapping[str, str]) -> None:
        self.users, self.behaviour, self.name, self.environment = users, behaviour, name, environment

    def prompt(self, text: str, abort_after_s: float | None) -> None:
        output = self.users.home / f"output-{self.name}.txt"
        with output.open("ab") as file:
            child = subprocess.Popen(
                ["sh", "-c", f'exec env {self.behaviour.command} run "$@"', "sh", text],
                cwd=self.users.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        late = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(abort_after_s if abort_after_s is not None else 0.5)
                return
            if abort_after_s is not None:
                self._end(child, self.behaviour.abort)
                return
            late = late or (time.monotonic() if self.users.deadline.is_set() else None)
            if self.users.finished(late):
                self._end(child, "ctrl-c")
                return

    def _end(self, child: subprocess.Popen[bytes], how: str) -> None:
        self.users.journal.write("abort", window=self.name, how=how)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL if how == "kill" else signal.SIGINT)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def close(self) -> None:
        """Nothing is left open."""


class _Screen:
    """opencode in a terminal of tmux, one window."""

    def __init__(self, users: Users, behaviour: Behaviour, name: str, environment: Mapping[str, str]) -> None:
        self.users, self.behaviour, self.name = users, behaviour, name
        self.socket = str(users.home / f"tmux-{name}")
        self.environment = dict(environment)
        self.used = False
        command = f"exec env {behaviour.command}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "lab", "-x", "160", "-y", "48", "-c", str(users.work), command)
        self._until(lambda screen: IDLE in screen, READY_S, "the screen of opencode did not appear")

    def _tmux(self, *argv: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, *argv], env=self.environment, cwd=self.users.work, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"tmux {shlex.join(argv)[:80]}: {done.stderr.strip()}")
        return done.stdout

    def _until(self, wanted: Any, seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        screen = ""
        while time.monotonic() < end:
            screen = self._tmux("capture-pane", "-p", "-t", "lab")
            if wanted(screen):
                return
            time.sleep(LOOK_S)
        raise RuntimeError(f"{otherwise}: {screen.strip()[-1500:]}")

    def _type(self, text: str) -> None:
        self._tmux("send-keys", "-t", "lab", "-l", text)
        time.sleep(0.3)
        self._tmux("send-keys", "-t", "lab", "Enter")

    def prompt(self, text: str, abort_after_s: float | None) -> None:
        if self.used and self.behaviour.fresh:
            self._type("/new")
            self._until(lambda screen: IDLE in screen, 10, "no new session")
        self.used = True
        self._type(text)
        self._until(_busy, 40, "the prompt was not taken")
        begun, late, idle_since = time.monotonic(), None, None
        while True:
            time.sleep(LOOK_S)
            working = _busy(self._tmux("capture-pane", "-p", "-t", "lab"))
            now = time.monotonic()
            idle_since = None if working else idle_since or now
            if idle_since is not None and now - idle_since > 0.5:  # between two turns it may say so for a moment
                return
            if abort_after_s is not None and now - begun >= abort_after_s:
                self._break_off()
                abort_after_s = None
            late = late or (now if self.users.deadline.is_set() else None)
            if self.users.finished(late):
                self._break_off()
                return

    def _break_off(self) -> None:
        how = self.behaviour.abort or "esc"
        self.users.journal.write("abort", window=self.name, how=how)
        if how == "kill":
            pid = self._tmux("display-message", "-p", "-t", "lab", "#{pane_pid}").strip()
            os.kill(int(pid), signal.SIGKILL)
            raise RuntimeError("the screen was killed, as asked")
        for _ in range(2):  # the first asks whether it is meant
            self._tmux("send-keys", "-t", "lab", "Escape" if how == "esc" else "C-c")
            time.sleep(0.2)

    def close(self) -> None:
        if self.behaviour.stays:
            return
        with contextlib.suppress(RuntimeError):
            self._tmux("kill-server")


def _busy(screen: str) -> bool:
    return any(each in screen for each in BUSY)


def main() -> None:
    users = Users(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    serve(users.deadline, users.run)


if __name__ == "__main__":
    main()
