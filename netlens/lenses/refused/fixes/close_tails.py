"""What the program has ended ends upstream too: no streams that go on (zombies), no half-closed connections.

Applies where a request or a connection went on upstream after its program was done with it, and would not have if the provider had been told. How late
sshuttle 2 tells it, and how late it then knows: :mod:`netlens.chains.noticed`.
"""

from __future__ import annotations

from netlens.chains.situation import DIRECTLY, RECORDED
from netlens.lenses.refused.fixes import ALL_SIDES, OPEN, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "close-tails"
TITLE = "End requests at the provider when the program ends them"
RANK = 3
AGAINST = (OPEN,)
TAIL_NS = 300_000_000  #: an orderly end takes a round trip or two, and one piece of an answer may be under way; below this nothing is worth fixing

CAVEATS = (
    (
        "sshuttle 1.x keeps reading an answer that the program aborted; 2.0.0 ends it when something else goes through the tunnel, and where that is the "
        "program's next request, that request comes too early (measured on Linux: 15 of 16 were refused)"
    ),
    "on macOS, sshuttle 2.x appears to disable excludes (-x)",
)


def variants(case: Case) -> list[Variant]:
    """One, if there are tails."""
    r, s = case.situation.requests, case.situation.sessions
    over = r.noticed_ns[:, RECORDED] - r.noticed_ns[:, DIRECTLY]
    if not ((over > TAIL_NS).any() or (s.end_ns - s.done_ns > TAIL_NS).any()):
        return []
    tunnelled = case.context.path == "sshuttle"
    change = Change(cut=ALL_SIDES, by_sshuttle=tunnelled)
    if not tunnelled:
        return [Variant(ID, TITLE, change, None, ("it is not known what keeps them open, so there is no command to suggest",))]
    return [Variant(ID, TITLE, change, "python3 -m pip install --upgrade 'sshuttle>=2'", CAVEATS)]
