"""A real sshd in the host's namespace and a real sshuttle in the VM's; both 1.3.x and 2.x of sshuttle are driven the same way."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from netlens.lab.relays import _fan_out
from netlens.lab.topology import HOST, HOST_INSIDE_IP, VM, VM_NET, Context, LabError, Topology, await_line, program

OWN_CONNECTIONS = True
#: ``exclude_api``: the provider's address is not tunnelled (-x).  ``excludes``: more that is not.
#: ``fan_out``: how many companions a connection has, one of these at random.
#: ``sshuttle``: how its version must begin.
OPTIONS: dict[str, Any] = {"exclude_api": False, "excludes": [], "fan_out": [], "sshuttle": ""}
NEEDS = ("sshd", "ssh", "ssh-keygen")
READY_S = 30.0  #: sshuttle compiles its server part on the far side first; on a busy machine this has taken seconds


def start(context: Context) -> None:
    path = context.scenario.path
    binary = context.sshuttle or _installed()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.strip().removeprefix("sshuttle ")
    if not version.startswith(wanted := str(path["sshuttle"])):
        raise LabError(
            f"{context.scenario.name} shows what sshuttle {wanted}x does, and {binary} is {version}; name another with --sshuttle, or: "
            f"pip install 'sshuttle=={wanted}*'"
        )
    context.details["sshuttle"] = version
    folder = context.topology.folder
    ssh = start_sshd(context.topology)
    argv = [binary, "--method", "nft", "--disable-ipv6", "--dns", "-r", f"root@{HOST_INSIDE_IP}", "-e", ssh, "0.0.0.0/0"]
    for excluded in (f"{HOST_INSIDE_IP}/32", VM_NET, *([f"{ip}/32" for ip in context.api_ips] if path["exclude_api"] else [])):
        argv += ["-x", excluded]
    argv += [word for each in path["excludes"] if each not in argv for word in ("-x", each)]
    if path["fan_out"]:
        argv += ["--python", _fan_out.write_python(folder, context.seed, path["fan_out"])]
    _start_sshuttle(context.topology, argv)
    # Not those that name files of this run: ssh's keys, and the Python that fans out (the scenario says that it does).
    context.details["sshuttle_options"] = [each for each in argv[1:] if str(folder) not in each and each not in ("-e", "--python")]


def _installed() -> str:
    """The sshuttle beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("sshuttle")
    found = str(beside) if beside.is_file() else shutil.which("sshuttle")
    if not found:
        raise LabError("sshuttle is not installed; it comes with the lab extra: pip install 'netlens[lab]'")
    return found


def start_sshd(topology: Topology) -> str:
    """Start sshd on the host, with keys made for this run, wait until it listens, and return the ssh command that may enter."""
    folder = topology.folder
    for name in ("host_key", "user_key"):
        argv = [program("ssh-keygen") or "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(folder / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {HOST_INSIDE_IP}:22\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPidFile none\nPrintMotd no\n",
        encoding="ascii",
    )
    (folder / "known_hosts").write_text(f"{HOST_INSIDE_IP} {(folder / 'host_key.pub').read_text(encoding='ascii')}", encoding="ascii")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks its unprivileged part; Debian's service makes it at start
    sshd = topology.start(HOST, ["sshd", "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE)
    await_line(sshd.stderr, "Server listening", "sshd")
    # A log that nobody reads would block sshd in the end; it says a few lines for each login, the pipe holds thousands.
    options = f"-o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes"
    return f"ssh -F /dev/null -i {folder}/user_key {options}"


def _start_sshuttle(topology: Topology, argv: list[str]) -> None:
    """Start sshuttle on the VM as the investigation ran it, and wait until it forwards."""
    log = topology.folder / "sshuttle.log"
    # sshuttle tells a service manager when the redirect rules are in place; we listen in its stead.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, log.open("wb") as output:
        notify.bind(str(topology.folder / "notify"))
        notify.settimeout(0.5)
        environment = {**os.environ, "NOTIFY_SOCKET": str(topology.folder / "notify")}
        child = topology.start(VM, argv, stdout=output, stderr=output, env=environment)
        deadline = time.monotonic() + READY_S
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notify.recv(4096):
                    return
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-400:]
    raise LabError(f"sshuttle {'ended at once' if child.poll() is not None else f'was not ready in {READY_S:g} s'}: {said}")
