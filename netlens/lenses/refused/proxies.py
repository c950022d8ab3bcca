"""Ready commands for fixes that need a proxy: one that queues (HAProxy), one that paces (nginx); and how opencode is led to it.

A proxy on the program's own machine speaks plain HTTP with it and TLS with the API. It keeps no key: the program's own goes through. opencode takes another
base URL from the environment, so that no file is changed; which of its providers that is, the API's name tells for those that are known.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from netlens.lenses.refused.fixes import names

if TYPE_CHECKING:
    from netlens.lenses.refused.fixes import Context

PORT = 8900
#: Names of APIs -> opencode's id of the provider (of its coding plan, where there are two) and the path of its base URL (models.dev).
_PROVIDERS = {
    "api.z.ai": ("zai-coding-plan", "/api/coding/paas/v4"),
    "open.bigmodel.cn": ("zhipuai-coding-plan", "/api/coding/paas/v4"),
    "api.deepseek.com": ("deepseek", ""),
    "api.openai.com": ("openai", "/v1"),
    "api.anthropic.com": ("anthropic", "/v1"),
    "openrouter.ai": ("openrouter", "/api/v1"),
}
PROVIDER_CAVEAT = "PROVIDER and PATH are yours: `opencode models` lists the one, the provider's documentation has the other"
_REMOTE = re.compile(r"(?:[\w.-]+@)?(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?\Z")


def queued(context: Context, limit: int, shared: bool) -> tuple[str | None, str | None, tuple[str, ...]]:
    """(command, what the program is started with, caveats) for a queue in front of the API; nothing where the API's name is not known."""
    found = names(context)
    return (queue(found[0], context.port, limit), *leads(context, found, shared=shared)) if found else (None, None, ())


def queue(name: str, port: int, at_once: int) -> str:
    """Start HAProxy as a queue: so many requests are in progress at once, the rest wait for their turn, the first to come first."""
    lines = (
        "defaults",
        " mode http",
        " timeout connect 10s",
        " timeout queue 10m",
        " timeout client 10m",
        " timeout server 10m",
        f"frontend programs\\n bind :{PORT}\\n default_backend api",
        "backend api",
        f" http-request set-header Host {name}",
        f" server api {name}:{port} ssl verify required ca-file @system-ca sni str({name}) maxconn {at_once}",
    )
    text = "\\n".join(lines)
    return f"printf '{text}\\n' > queue.cfg && haproxy -f queue.cfg"


def pace(name: str, port: int, per_minute: int) -> str:
    """Start nginx as a pacer: what comes too early is delayed."""
    text = (
        f"events {{}} http {{ limit_req_zone all zone=z:1m rate={per_minute}r/m; server {{ listen {PORT}; location / {{ "
        f"limit_req zone=z burst=1000; proxy_pass https://{name}:{port}; proxy_ssl_server_name on; proxy_http_version 1.1; proxy_buffering off; "
        "proxy_request_buffering off; client_max_body_size 0; proxy_read_timeout 600s; } } }"
    )
    return f"printf '%s' {shlex.quote(text)} > pace.conf && nginx -p \"$PWD\" -c pace.conf -g 'daemon off; pid pace.pid;'"


def program(name: str, where: str = "127.0.0.1") -> str:
    """Start opencode so that it asks the proxy at ``where``."""
    provider, path = _PROVIDERS.get(name, ("PROVIDER", "/PATH"))
    content = {"provider": {provider: {"options": {"baseURL": f"http://{where}:{PORT}{path}"}}}}
    return f"OPENCODE_CONFIG_CONTENT={shlex.quote(json.dumps(content))} opencode"


def known(name: str) -> bool:
    """Whether opencode's provider of this API is known."""
    return name in _PROVIDERS


def host_address(argv: Sequence[str] | None, otherwise: str | None = None) -> str:
    """The host's address as the VM reaches it, from the tunnel's command line; where it is not there ``otherwise``, or HOST."""
    words = list(argv or ())
    remote = next((after for word, after in pairwise(words) if word in ("-r", "--remote")), "")
    found = _REMOTE.match(remote)
    return found[1] if found else (f"[{otherwise}]" if ":" in otherwise else otherwise) if otherwise else "HOST"


def leads(context: Context, names: Sequence[str], shared: bool) -> tuple[str, tuple[str, ...]]:
    """What the program is started with, and what to know: for one machine, or for VM and host with one proxy on the host (``shared``)."""
    host = host_address(context.sshuttle_argv, context.host_address)
    caveats = [] if known(names[0]) else [PROVIDER_CAVEAT]
    if shared:
        caveats.append(f"run the proxy on the host; on the VM the address is {host}, on the host itself 127.0.0.1")
        caveats += ["HOST is what `ip route show default` names on the VM"] if host == "HOST" else []
    else:
        caveats.append("run the proxy on the machine of the program, beside it")
    return program(names[0], host if shared else "127.0.0.1"), tuple(caveats)
