"""A proxy on the host that opens what is encrypted (mitmproxy); a program of the VM says ``proxy = "http://192.168.64.1:8888"`` and trusts its authority.

Each connection of a program has one of the proxy's own to the provider, with a TLS of its own: no ClientHello is the same on both sides.
"""

from __future__ import annotations

from pathlib import Path

from netlens.lab.topology import HOST, HOST_INSIDE_IP, Context, await_listening

OWN_CONNECTIONS = True
NEEDS = ("mitmdump",)
PORT = 8888


def start(context: Context) -> None:
    """Start it, wait until it listens, and have the programs trust what it signs."""
    folder = context.topology.folder / "mitmproxy"
    settings = {
        "confdir": folder,
        "listen_host": HOST_INSIDE_IP,
        "listen_port": PORT,
        "ssl_verify_upstream_trusted_ca": context.certificate,
        "stream_large_bodies": 1,  # without it an answer is held back until it is complete
        "flow_detail": 0,
        "connection_strategy": "lazy",
    }
    argv = ["mitmdump", "-q", *(word for name, value in settings.items() for word in ("--set", f"{name}={value}"))]
    child = context.topology.start(HOST, argv)
    await_listening(context.topology, HOST, PORT, child, "mitmproxy")
    with Path(context.certificate).open("ab") as trusted:
        trusted.write((folder / "mitmproxy-ca-cert.pem").read_bytes())
