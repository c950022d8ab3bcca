"""Commands that run beside the programs: the proxies of fixes, started as the report shows them."""

from __future__ import annotations

import os
import subprocess
import time

from netlens.lab.topology import Context, LabError, program

READY_S = 20.0
LOOK_S = 0.1


def start(context: Context, side: str, command: str) -> None:
    """Run a command by a shell on a side, in a folder of its own, until the end of the run; returns when it listens for connections.

    The certificate of the stand-in is the system's only one there, as that of a real provider is among those of a real system.
    """
    folder = context.topology.folder / f"service-{side}"
    folder.mkdir()
    authorities = context.topology.laid_over_etc(side) / "ssl" / "certs"
    authorities.mkdir(parents=True, exist_ok=True)
    for name in ("lab.pem", "ca-certificates.crt"):
        (authorities / name).write_bytes(context.certificate.read_bytes())
    log = folder / "output.txt"
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    before = _listening(context, side)
    with log.open("wb") as output:
        child = context.topology.start(side, ["sh", "-c", command], cwd=folder, env=environment, stdout=output, stderr=output)
    end = time.monotonic() + READY_S
    while child.poll() is None and time.monotonic() < end:
        if _listening(context, side) - before:
            return
        time.sleep(LOOK_S)
    raise LabError(f"{command[:60]}... did not begin to listen: {log.read_text(errors='replace').strip()[-400:]}")


def _listening(context: Context, side: str) -> set[str]:
    """Ports that are listened on."""
    argv = [*context.topology.prefix(side), program("ss") or "ss", "-Hltn"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return {":" + line.split()[3].rpartition(":")[2] for line in lines}
