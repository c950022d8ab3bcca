"""Equal ends: the host sees the VM's packets before it translates them, with the address and port by which they left the VM.

That is used where a handshake is older than a capture, so that numbers are missing, and only for connections that overlap in time: ports are used again.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from netlens.chains.compared import TOLERANCE_NS, Found

ID = "address"
RANK = 2
EXACT = True


def join(found: Found) -> None:
    """Equal ends, overlapping, where at least one capture does not know the numbers."""
    v, h = found.v, found.h
    at = defaultdict(list)
    for j in found.free_host().tolist():
        at[h.orig_ip[j], h.orig_port[j], int(h.server[j])].append(j)
    slack = found.time.uncertain_ns + TOLERANCE_NS
    near = defaultdict(list)
    for i in found.free_vm().tolist():
        for j in at.get((*v.leaves[i], int(v.server[i])), ()):
            known = v.isn[i] >= 0 and h.isn[j] >= 0
            if not known and v.start[i] <= h.end[j] + slack and h.start[j] <= v.end[i] + slack:
                near[i].append(j)
    takers = Counter(j for js in near.values() for j in js)
    for i, js in near.items():
        if len(js) == 1 and takers[js[0]] == 1:
            found.add(i, js[0], ID)
