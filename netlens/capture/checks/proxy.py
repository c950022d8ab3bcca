"""HTTP proxies of the environment.

Claim: none is set.
Fix: unset it. Programs that obey it connect to the proxy, so their connections to the API are not seen.
"""

from __future__ import annotations

import re

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene, few

TITLE = "HTTP proxy"
RANK = 130


def look(machine: Machine, scene: Scene) -> Result:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    given = {}
    if machine.run("printenv", *names).stdout.strip():
        given = {name: value for name in names if (value := machine.run("printenv", name).stdout.strip())}
    mine = f"; {machine.programs['proxy-status']} says more" if "proxy-status" in machine.programs else ""
    if not given:
        return Result(OK, f"none in the environment{' of a command by ssh' if machine.far else ''}{mine}")
    # its value may hold a password: only the host is shown
    hosts = sorted({re.sub(r"^.*?://|^.*@|/.*$", "", value.rpartition("@")[2]) for value in given.values()})
    text = f"{few(list(given), 2)} is set ({few(hosts, 2)}): programs that obey it connect to the proxy, and no API connection is seen here"
    return Result(WARNING, text, f"unset {' '.join(given)}")
