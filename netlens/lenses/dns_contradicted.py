"""Is a question of DNS answered twice, with other addresses each time?

Asks: whether two answers from one resolver's address to one question, which was sent once, have no address in common.
Applies: to DNS over UDP with both answers in the capture.
Cannot see: which of the two is the resolver's; what is forged so that the true answer does not arrive.
Normal: a question that is sent again may be answered twice, by turns with other addresses of the same name (RFC 1794); a datagram may be recorded twice, and
    then says the same. One such pair may be a question under a number that was used before (a warning). Answers whose packets may make as many hops (TTL) come
    from equally far, and may be the resolver's both, as where a question was doubled behind the recorder (a warning). A client takes the first answer that
    fits (RFC 5452 9.1).
"""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import View, graded, most, seconds
from netlens.text import plural

ID = "dns-contradicted"
GROUP = "names"
RANK = 12
TIMES = 2  #: questions


def look(view: View) -> list[Finding]:
    """At most one."""
    found = view.side.capture.second_answers
    if not found:
        return []
    apart = float(np.median([each.times[2] - each.times[1] for each in found]))
    names = len({each.ask for each in found})
    forged = [each for each in found if -1 in each.hops or each.hops[0] != each.hops[1]]
    end = "." if forged else ", or both are the resolver's, as their packets have the same TTL."
    text = (
        f"{plural(len(found), 'DNS question')} to {most(each.server for each in found)} ({plural(names, 'name')}) got two answers with different addresses, "
        f"{seconds(apart)} apart: the client takes the first, which may be forged{end}"
    )
    values = {"questions": len(found), "names": names, "apart_s": apart / 1e9}
    advice = "Something on the way answers before the resolver, or in its name: compare the TTL of both answers' packets, and ask over TLS (DoT, DoH)."
    return [graded(view, ID, len(forged) >= TIMES, text, [frame for each in found for frame in each.frames], values, advice)]
