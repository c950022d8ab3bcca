"""A reverse proxy on the host that asks the provider in a pool of connections of its own (HAProxy); a program of the VM says
``base_url = "http://192.168.64.1:8080"`` and speaks HTTP in the clear with it."""

from __future__ import annotations

import subprocess
from typing import Any

from netlens.lab.topology import HOST, HOST_INSIDE_IP, PROVIDER_IP, Context, Topology, await_line

OWN_CONNECTIONS = True
#: ``reuse``: when a connection to the provider is used again (``http-reuse``).
OPTIONS: dict[str, Any] = {"reuse": "always"}
NEEDS = ("haproxy",)
PORT = 8080


def start(context: Context) -> None:
    start_haproxy(
        context.topology,
        f"""defaults
  mode http
  http-reuse {context.scenario.path["reuse"]}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend api
  bind {HOST_INSIDE_IP}:{PORT}
  default_backend provider
backend provider
  server api {PROVIDER_IP}:443 ssl ca-file {context.certificate} verify required verifyhost api.z.ai sni str(api.z.ai)
""",
    )


def start_haproxy(topology: Topology, configuration: str) -> None:
    """Start HAProxy on the host, and wait until it listens: as a worker of a master it says so."""
    config = topology.folder / "haproxy.cfg"
    config.write_text(configuration, encoding="ascii")
    child = topology.start(HOST, ["haproxy", "-W", "-f", str(config)], stderr=subprocess.PIPE)
    await_line(child.stderr, "Loading success", "HAProxy")
