"""Send requests evenly, no faster than the limit over time lets through: the rest waits in a queue.

Applies under a limit on requests over time. The queue is a proxy's, so that programs need not know of it: nginx delays what comes too early.
"""

from __future__ import annotations

import shlex

from netlens.lenses.refused.fixes import RATES, Case, Variant, names
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change

ID = "pace"
TITLE = "Send at most {per_minute} requests a minute, and queue the rest"
RANK = 3
AGAINST = RATES
ROOM = 1.03  #: a little slower than the limit, as clocks differ

CAVEATS = (
    "the command writes a configuration and starts nginx with it; the program's base URL is then http://127.0.0.1:8900 with the API's own path",
    "answers come later while the queue is long",
)


def variants(case: Case) -> list[Variant]:
    """One, where requests are what is counted."""
    rule = case.rule
    if not isinstance(rule, TimeRule) or rule.counts == "bytes":
        return []
    per_minute = max(int(60 * rule.per_s / ROOM), 1)
    found = names(case.context)
    command = _nginx(found[0], per_minute, case.context.port) if found else None
    where = ("one proxy on the host for both sides",) if rule.scope == "egress" else ()
    return [
        Variant(ID, TITLE.format(per_minute=per_minute), Change(pace_s=60.0 / per_minute), command, (*CAVEATS, *where), recommended=True)
    ]


def _nginx(name: str, per_minute: int, port: int) -> str:
    server = f"{name}:{port if 0 < port < 65536 else 443}"
    text = (
        f"events {{}} http {{ limit_req_zone all zone=z:1m rate={per_minute}r/m; server {{ listen 127.0.0.1:8900; location / {{ "
        f"limit_req zone=z burst=1000; proxy_pass https://{server}; proxy_ssl_server_name on; proxy_buffering off; proxy_read_timeout 600s; }} }} }}"
    )
    return f"printf '%s' {shlex.quote(text)} > pace.conf && nginx -p \"$PWD\" -c pace.conf -g 'daemon off; pid pace.pid;'"
