"""Nothing on the host uses the API while the VM does.

Applies where the host had requests or connections to it, and the egress address is counted (or nobody knows what is). Other machines whose traffic the host
was seen to carry are named, as they share the address.
"""

from __future__ import annotations

import shlex

from netlens.chains.situation import HOST
from netlens.lenses.refused.fixes import HOST_ONLY, OPEN, SHARED_RATE, Case, Variant, addresses
from netlens.lenses.refused.opened import NEARLY_ALL
from netlens.lenses.refused.replay import Change
from netlens.text import plural

ID = "quiet-host"
TITLE = "Stop the host's programs from using the API while the VM works"
RANK = 4
AGAINST = (OPEN, SHARED_RATE)

CAVEATS = ("the host's own requests are not sent at all; run them later",)


def variants(case: Case) -> list[Variant]:
    """One, if both sides are there; none where a relay may have opened nearly as many connections by itself as are the host's: then no program can be quit."""
    s = case.situation
    if not case.together or int(s.facts.get("unasked", 0)) >= NEARLY_ALL * max(int((s.sessions.side == HOST).sum()), 1):
        return []
    others = str(case.situation.facts.get("others") or "the host")
    there, alone = others.startswith("the host"), others == "the host"
    port = case.context.port if 0 < case.context.port < 65536 else 443
    where = [f"-i6TCP@[{a}]:{port}" if ":" in a else f"-i4TCP@{a}:{port}" for a in addresses(case.context)]
    relay = case.context.relay_port if case.context.by_relay and case.context.relay_port else None
    if where and relay is not None:  # programs of the host may ask it too
        where.append(f"-iTCP@localhost:{relay}")
    command = shlex.join(["sudo", "lsof", "-nP", *where]) if where and there else None
    named = others + ("," if "," in others else "")
    number = int((case.situation.requests.side == HOST).sum())
    besides = int(case.situation.facts.get("connections_left_out", 0))
    note = f"{plural(number, 'request')} of {named} {'is' if number == 1 else 'are'} not sent"
    if besides:
        those = f"on {plural(besides, 'connection')} of HTTP/2"
        note = f"{note}, nor those {those}" if number else f"the requests {those} of {named} are not sent"
    if command and relay is not None:
        note += "; the command, run on the host, lists the programs to quit, and the proxy, through which the VM asks as well: leave that running"
    elif command:
        note += "; the command, run on the host, lists the programs to quit"
    title = TITLE if alone else f"Stop {named} from using the API while the VM works"
    return [Variant(ID, title, Change(without_sides=HOST_ONLY), command, CAVEATS, note)]
