"""A transparent proxy on the host behind the tunnel: whatever leaves the host for the provider is redirected to HAProxy, which opens connections of its own.

The tunnel's and the host's own connections are halves on the host's loopback; only HAProxy's leave.
"""

from __future__ import annotations

from netlens.lab.relays import sshuttle
from netlens.lab.relays.haproxy import start_haproxy
from netlens.lab.topology import HOST, PROVIDER_IP, Context

OWN_CONNECTIONS = True
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
    start_haproxy(
        context.topology,
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
    )
    context.topology.inside(HOST, "nft", "-f", "-", stdin=_RULES)
    sshuttle.start(context)
