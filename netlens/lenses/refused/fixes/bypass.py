"""Leave the API out of the tunnel: what goes straight through NAT has no companions, and ends upstream when the program ends it.

Applies where the VM goes through sshuttle. Lookups and the egress address stay the same.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from netlens.chains.situation import VM
from netlens.lenses.refused.fixes import OPEN, VM_ONLY, Case, Variant, hosts
from netlens.lenses.refused.replay import Change

ID = "bypass"
TITLE = "Exclude the API from the tunnel"
RANK = 2
AGAINST = (OPEN,)

CAVEATS = (
    "the name is resolved once, when sshuttle starts: restart it when the API's addresses change",
    "sshuttle does not start if the name cannot be resolved; a mask (/32) on a name with IPv4 and IPv6 addresses is refused, so give none",
    "the VM must reach the internet without the tunnel",
    "on macOS, sshuttle 2.x appears to disable excludes (pf rules, read in its source, not run)",
)

#: Options of sshuttle that may be repeated from a recording, and what their value looks like (None: they have none). A recording may be a
#: stranger's: what runs other programs (-e, --python, --remote-shell), reads or writes files, or hides a password is never repeated.
_HOST = r"(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\])"
_SUBNET = r"[A-Za-z0-9\[*][\w.:/\[\]*-]*"
_OPTIONS = {
    ("-r", "--remote"): rf"(?:[A-Za-z0-9_][\w.-]*@)?{_HOST}(?::\d{{1,5}})?",
    ("-x", "--exclude"): _SUBNET,
    ("-l", "--listen"): _SUBNET,
    ("--method",): r"auto|nat|nft|tproxy|pf|ipfw",
    ("--ns-hosts", "--to-ns"): r"[0-9A-Fa-f][0-9A-Fa-f.:,]*",
    ("--latency-buffer-size",): r"\d+",
    (
        "--dns",
        "-N",
        "--auto-nets",
        "-H",
        "--auto-hosts",
        "-v",
        "--verbose",
        "-D",
        "--daemon",
        "--disable-ipv6",
        "--no-latency-control",
    ): None,
}
_KNOWN = {name: value for group, value in _OPTIONS.items() for name in group}


def variants(case: Case) -> list[Variant]:
    """One, if the VM goes through sshuttle, and to the API itself."""
    if case.context.path != "sshuttle" or case.context.by_relay or not case.has(VM):
        return []
    targets = hosts(case.context)
    change = Change(cut=VM_ONLY, without_companions=VM_ONLY)
    caveats, command = list(CAVEATS), None
    if targets:
        known = options(case.context.sshuttle_argv or ())
        if case.context.sshuttle_argv is not None and known is None:
            caveats.append("the recorded sshuttle command has options that are not repeated here: add the excludes to your own command")
        excludes = [word for target in targets for word in ("-x", target)]
        remote = case.context.host_address or "USER@HOST"  # ssh takes the name of the own account
        command = shlex.join(["sshuttle", *(known or ["--dns", "-r", remote, "0.0.0.0/0"]), *excludes])
    else:
        caveats.append("no usable name or address of the API is known: add -x NAME:443 to the command line of sshuttle")
    return [Variant(ID, TITLE, change, command, tuple(caveats))]


def options(argv: Sequence[str]) -> list[str] | None:
    """The arguments of a recorded sshuttle without the program's name; None if there are none or one of them is not to be repeated."""
    words = list(argv)
    while words and re.fullmatch(r"(?:.*/)?(?:sudo|python[\d.]*|sshuttle)", words[0]):
        words.pop(0)
    out: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in _KNOWN and name.startswith("-"):
            pattern = _KNOWN[name]
            if pattern is None:
                if equals:
                    return None
                out.append(name)
                continue
            if not equals:
                if not words:
                    return None
                value = words.pop(0)
            if not re.fullmatch(pattern, value):
                return None
            out += [name, value]
        elif re.fullmatch(_SUBNET, word):
            out.append(word)
        else:
            return None
    return out or None
