"""A folder with all that an sshd and its client need to talk, and nothing of the user's: keys, configurations, the known host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ADDRESS, PORT = "10.99.0.1", 2222  #: of the sshd; the client's configuration calls it ``lab-vm``


def prepare(folder: Path, *more: str) -> None:
    """Make ``folder`` and fill it: ``sshd_config`` (with the lines ``more``), ``config``, ``known``, and keys of this run."""
    folder.mkdir(mode=0o700)
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized")
    lines = [
        *(f"Port {PORT}", f"HostKey {folder}/host_key", f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "UsePAM no"),
        *("PidFile none", "PermitRootLogin prohibit-password", "PasswordAuthentication no", "AcceptEnv none", *more),
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    public = (folder / "host_key.pub").read_text().split()
    (folder / "known").write_text(f"[{ADDRESS}]:{PORT} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Host lab-vm\n  HostName {ADDRESS}\n  Port {PORT}\n  User root\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own; the package makes it when its service starts
