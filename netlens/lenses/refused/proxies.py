"""Ready commands for fixes that need a proxy: one that queues (HAProxy), one that paces (nginx); and how the program is led to it.

A proxy on the program's own machine speaks plain HTTP with it and TLS with the API. It keeps no key: the program's own goes through.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import Context, names

PORT = 8900
ALONE = f"127.0.0.1:{PORT}"  #: a proxy lets whoever reaches it ask the API, so one that is not shared listens on its machine only
#: Where systems keep the certificates of authorities in one file: Debian and its like, Red Hat and its like, macOS and BSD.
CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
SHARED_CAVEAT = "it listens on every interface of the host: stop it when it is not needed"
_REMOTE = re.compile(r"(?:[\w.-]+@)?(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?\Z")


def queued(context: Context, limit: int, shared: bool) -> tuple[str | None, str | None, tuple[str, ...]]:
    """(command, what the program is started with, caveats) for a queue in front of the API; nothing where the API's name is not known."""
    found = names(context)
    return (queue(found[0], context.port, limit, shared=shared), *leads(context, found, shared=shared)) if found else (None, None, ())


def queue(name: str, port: int, at_once: int, *, shared: bool) -> str:
    """Start HAProxy as a queue: so many requests are in progress at once, the rest wait for their turn, the first to come first. ``shared``: with others."""
    lines = (
        "defaults",
        " mode http",
        " timeout connect 10s",
        " timeout queue 10m",
        " timeout client 10m",
        " timeout server 10m",
        f"frontend programs\\n bind {f':{PORT}' if shared else ALONE}\\n default_backend api",
        "backend api",
        f" http-request set-header Host {name}",
        f" server api {name}:{port} ssl verify required ca-file @system-ca sni str({name}) maxconn {at_once}",
    )
    text = "\\n".join(lines)
    return f"printf '{text}\\n' > queue.cfg && haproxy -f queue.cfg"


def pace(name: str, port: int, per_minute: int, *, shared: bool) -> str:
    """Start nginx as a pacer: what comes too early is delayed. It checks the server's certificate by the authorities that this machine trusts."""
    text = (
        f"events {{}} http {{ limit_req_zone all zone=z:1m rate={per_minute}r/m; server {{ listen {PORT if shared else ALONE}; location / {{ "
        f"limit_req zone=z burst=1000; proxy_pass https://{name}:{port}; proxy_ssl_server_name on; proxy_ssl_verify on; proxy_ssl_verify_depth 4; "
        "proxy_ssl_trusted_certificate %s; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off; client_max_body_size 0; "
        "proxy_read_timeout 600s; } } }"
    )
    return (
        f'printf {shlex.quote(text)} "$(ls {" ".join(CA_FILES)} 2>/dev/null | head -n 1)" > pace.conf && '
        "nginx -p \"$PWD\" -c pace.conf -g 'daemon off; pid pace.pid;'"
    )


def host_address(argv: Sequence[str] | None, otherwise: str | None = None) -> str:
    """The host's address as the VM reaches it, from the tunnel's command line; where it is not there ``otherwise``, or HOST."""
    remote = next((after for word, after in pairwise(argv or ()) if word in ("-r", "--remote")), "")
    found = _REMOTE.match(remote)
    return found[1] if found else (f"[{otherwise}]" if ":" in otherwise else otherwise) if otherwise else "HOST"


def leads(context: Context, names: Sequence[str], shared: bool) -> tuple[str | None, tuple[str, ...]]:
    """What the program is started with, and what to know: for one machine, or for VM and host with one proxy on the host (``shared``)."""
    host = host_address(context.sshuttle_argv, context.host_address) if shared else "127.0.0.1"
    command, caveats = programs.led(context.program, names[0], f"{host}:{PORT}")
    if not shared:
        return command, (*caveats, "run the proxy on the machine of the program, beside it")
    where = f"run the proxy on the host; on the VM the address is {host}, on the host itself 127.0.0.1"
    return command, (*caveats, where, SHARED_CAVEAT, *(["HOST is what `ip route show default` names on the VM"] if host == "HOST" else []))
