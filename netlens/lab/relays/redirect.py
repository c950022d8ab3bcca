"""A transparent proxy on the host behind the tunnel: whatever leaves the host for the provider is redirected to HAProxy, which opens connections of its own.

The tunnel's and the host's own connections are halves on the host's loopback; only HAProxy's leave.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from netlens.lab.relays import sshuttle
from netlens.lab.topology import HOST, PROVIDER_IP, await_line, program

if TYPE_CHECKING:
    from netlens.lab.context import Context

ID = "redirect"
OWN_CONNECTIONS = True
OPTIONS: dict[str, Any] = {}
NEEDS = ("haproxy", *sshuttle.NEEDS)
PORT, USER = 3129, "nobody"
_RULES = f"""
table ip lab_redirect {{
    chain output {{
        type nat hook output priority -100;
        ip daddr {PROVIDER_IP} tcp dport 443 meta skuid != "{USER}" redirect to :{PORT}
    }}
}}
"""


def start(context: Context) -> None:
    """Start HAProxy as a user of its own, whose connections are not redirected again, then the tunnel."""
    config = context.topology.folder / "transparent.cfg"
    config.write_text(
        f"""global
  user {USER}
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen transparent
  bind 127.0.0.1:{PORT}
  server api {PROVIDER_IP}:443
""",
        encoding="ascii",
    )
    argv = [program("haproxy") or "haproxy", "-W", "-f", str(config)]
    child = context.topology.start(HOST, argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    await_line(child.stderr, "Loading success", "HAProxy")
    context.topology.inside(HOST, "nft", "-f", "-", stdin=_RULES)
    sshuttle.start(context)
