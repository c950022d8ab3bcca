"""Runs the checks of :mod:`netlens.capture.checks`: what is missing for a recording, on this machine and on the VM, and the command that fixes it.

Nothing is changed, and nobody is contacted but the VM and the system's own resolver. Printing is left to the command line.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from netlens.capture.checks import NOT, Check, Result, Scene, Status, checks
from netlens.capture.command import check_api, check_host, ssh_shared, tart_name
from netlens.capture.machine import Machine, tart_address
from netlens.capture.processes import run


@dataclass(frozen=True)
class Row:
    """One line of the doctor's table."""

    id: str
    title: str
    where: str
    status: Status
    text: str
    fix: str = ""


@contextlib.contextmanager
def look_at(vm: str | None, apis: Sequence[str], apis_named: bool, directory: str = ".", ssh: Sequence[str] = ("ssh",)) -> Iterator[Scene]:
    """The scene of an examination; a connection to the VM lives as long as it.

    CaptureError if the VM or an API is named in a way that cannot be meant (a host that begins with ``-``).
    """
    scene = Scene(Machine("here"), None, tuple(check_api(a) for a in apis), apis_named, directory, ssh=ssh)
    if vm is None:
        yield scene
        return
    scene.target = vm
    if (tart := tart_name(vm)) is not None:
        target, outcome = tart_address(vm)
        if target is None:
            there = outcome.status != 127
            scene.problem = f"tart gives no address for {tart}: {outcome.complaint}" if there else "tart is not installed"
            scene.fix = f"tart run {shlex.quote(tart)}" if there else "brew install cirruslabs/cli/tart"
            scene.vm = Machine("vm")
            yield scene
            return
        scene.target = target
    # of rights 0700, and short: a socket's path may have no more than 104 bytes on macOS
    with tempfile.TemporaryDirectory(prefix="netlens-", ignore_cleanup_errors=True) as folder:
        argv = ssh_shared(ssh, check_host(scene.target), f"{folder}/s")
        scene.vm = Machine("vm", lambda words: [*argv, shlex.join(words)], far=True)
        scene.reached = scene.vm.run("uname", "-n")
        try:
            yield scene
        finally:
            run([*argv[:-2], "-O", "exit", *argv[-2:]])


def examine(scene: Scene, wanted: Sequence[Check] | None = None, progress: Callable[[str], None] = lambda title: None) -> list[Row]:
    """Every check on every machine it is for, this machine first; of a VM that does not answer only ``ssh`` is asked."""
    reachable = scene.reached is not None and scene.reached.ok
    rows = []
    for where in ("here", "vm"):
        for check in checks() if wanted is None else wanted:
            if check.ON not in (where, "each") or (scene.vm is None and where == "vm" and check.ON != "vm"):
                continue
            machine = scene.here if where == "here" else scene.vm
            if machine is None:
                result = Result(NOT, "no VM was named (--vm)")
            elif where == "vm" and check.ID != "ssh" and not reachable:
                result = Result(NOT, "the VM does not answer")
            else:
                progress(check.TITLE)
                result = check.look(machine, scene)
            fix = result.fix
            if machine is not None and "sudo " in fix and machine.is_root:
                fix = re.sub(r"\bsudo ", "", fix)  # root has no use for it, and often not got it
            rows.append(Row(check.ID, check.TITLE, where, result.status, result.text, fix))
    return rows
