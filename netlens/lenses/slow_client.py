"""Where did a client hold things up?

Asks: how long a client took for a step that no person makes: the answer to a TLS server's hello; whether requests waited as it took no more of another
    answer, so that the window of their connection was used up, or an answer stands still as it has never widened that (HTTP/2 in clear).
Applies: where TLS handshakes are in the capture, in both directions and without losses.
Cannot see: steps inside TLS; whether a person was asked about the server's certificate. Pauses of FTP, SSH or chat are people's.
Normal: milliseconds; checking a certificate's revocation online takes a second. Where the server wants a certificate of the client, a person chooses one.
    A client that reads slowly holds up its own answer; who does not read at all must not let others wait for that (RFC 9113 5.2.2).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from netlens.chains.copies import COPY_NS
from netlens.lenses import Finding
from netlens.lenses._repeats import with_repeats
from netlens.lenses._view import FIN, RST, SEAM_NS, S, View, finding, graded, most, seconds, up_to
from netlens.lenses.tls_failed import SERVER_HELLO
from netlens.parsers.grpc import WINDOW
from netlens.parsers.records import HANDSHAKE
from netlens.text import plural, size

ID = "slow-client"
GROUP = "time"
RANK = 53
CERTIFICATE = 11  #: type of the handshake message by which a client answers who asks for its certificate (RFC 5246 7.4.6)
LONG_NS = 5 * S
LATE_NS = S
SOME = 2  #: requests that waited for a window, answers that stand still
STOPPED_NS = 5 * S  #: for which an answer stands still as nobody has widened the window


def pauses(view: View) -> list[tuple[int, int, list[int]]]:
    """(session, wait in ns, frames): from the server's last handshake segment to the client's next data, if the client acknowledged and nothing was lost.

    Of waits that are far from late most are left out.
    """
    lossy = view.once(with_repeats)
    missing = view.missing_bytes
    out = []
    may_be = np.zeros(view.sessions.rows, bool)
    may_be[view.in_one] = True
    may_be &= (view.sessions["protocol"] == "tls") & (view.sessions["end_ns"] - view.sessions["start_ns"] >= LATE_NS) & (missing <= 0)
    may_be &= _may_be_late(view, may_be)
    for k in np.flatnonzero(may_be).tolist():
        if k in lossy:
            continue
        seg = view.opening(k)
        hello = last = -1
        for i in range(len(seg)):
            if seg.flags[i] & (FIN | RST):
                break
            if not seg.length[i]:
                continue
            if seg.orig[i]:
                if hello >= 0 and not (seg.head[i] >> 56 == HANDSHAKE and seg.head[i] >> 16 & 0xFF == CERTIFICATE):
                    out.append((k, seg.ts[i] - seg.ts[last], [seg.frame[last], seg.frame[i]]))
                if hello >= 0:
                    break
            else:
                if hello < 0 and seg.head[i] >> 56 == HANDSHAKE and seg.head[i] >> 16 & 0xFF == SERVER_HELLO:
                    hello = i
                last = i
    return out


def _may_be_late(view: View, among: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bool per session: whether a client's data after the server's hello came late, or would have but for copies. A look at all segments at once, of those
    ``among`` (bool per session)."""
    out = np.zeros(view.sessions.rows, bool)
    if view.trail is None:
        return out
    t = view.trail.segments()
    data = np.flatnonzero((t["length"] > 0) & among[t["session"]]).astype(np.int32)
    session, head = t["session"][data], t["head"][data]
    orig = view.by_originator(data)
    hello = ~orig & (head >= np.uint64(HANDSHAKE << 56)) & (head < np.uint64((HANDSHAKE + 1) << 56))
    hello[hello] = head[hello] >> np.uint64(16) & np.uint64(0xFF) == SERVER_HELLO
    there, first = np.unique(session[hello], return_index=True)
    first = np.flatnonzero(hello)[first]
    nexts = np.append(np.flatnonzero(orig), len(data))
    after = nexts[np.searchsorted(nexts, first)]  # the client's next data, perhaps of another session
    known = after < len(data)
    known[known] = session[after[known]] == there[known]
    there, first, after = there[known], first[known], after[known]
    out[there] = t["ts"][data[after]] - t["ts"][data[after - 1]] >= LATE_NS - COPY_NS
    return out


def look(view: View) -> list[Finding]:
    """Late steps of TLS, and windows that stay shut."""
    return [*_late(view), *_shut(view), *_never_widened(view)]


def _never_widened(view: View) -> list[Finding]:
    """Answers over HTTP/2 in clear that stand still as the client has never widened the window of the connection: a library that speaks HTTP/2 does so as it
    takes what came, or before (RFC 9113 6.9). Who reads nothing at all, and soon leaves, has had enough."""
    found: list[tuple[int, int, list[int]]] = []
    for k in view.in_one:
        call = view.side.capture.grpc.get(k)
        if call is not None and call.whole and call.stopped is not None and call.unfinished:
            since, frame = call.stopped
            wait = max(view.column("end_ns")[k], view.end_of(frame) if _is_open(view, k) else 0) - since
            found += [(k, wait, [frame])] if wait >= STOPPED_NS else []
    if not found:
        return []
    longest = max(f[1] for f in found)
    client, whom = most(view.ends(f[0])[0] for f in found), most(view.server(f[0]) for f in found)
    one = len(found) == 1
    text = (
        f"{plural(len(found), 'HTTP/2 answer')} from {whom} {'stands' if one else 'stand'} still after {size(WINDOW)}: the client ({client}) has never "
        f"widened the window of the connection (WINDOW_UPDATE), and waited {up_to(found)}{seconds(longest)}."
    )
    advice = "The client's program does without flow control, or reads nothing: have its library send WINDOW_UPDATE for the connection (stream 0) as it reads."
    values = {"answers": len(found), "longest_s": longest / 1e9}
    grave = max(Counter(view.ends(f[0])[0] for f in found).values()) >= SOME  # of one client: a player may pause
    return [graded(view, ID, grave, text, [f for *_, frames in found for f in frames], values, advice)]


def _is_open(view: View, k: int) -> bool:
    """Whether nobody has closed a connection."""
    return all(view.column(name)[k] is None for name in ("orig_fin_ns", "resp_fin_ns", "rst_ns"))


def _shut(view: View) -> list[Finding]:
    """Requests over HTTP/2 in clear that had to wait until their client took more of other answers."""
    found: list[tuple[int, int, list[int]]] = []
    for k in view.in_one:
        call = view.side.capture.grpc.get(k)
        if call is not None and call.whole:
            ends = [*call.shut, *([(view.column("end_ns")[k], [*call.waiting.values()])] if call.waiting else [])]
            found += [(k, end - ts, [frame]) for end, waiting in ends for ts, frame in waiting if end - ts >= LATE_NS]
    if len(found) < SOME:
        return []
    longest = max(f[1] for f in found)
    client, whom = most(view.ends(f[0])[0] for f in found), most(view.server(f[0]) for f in found)
    text = (
        f"{plural(len(found), 'HTTP/2 request')} waited {up_to(found)}{seconds(longest)} because the client ({client}) stopped reading another answer "
        f"from {whom}: the window of their connection was used up."
    )
    values = {"requests": len(found), "longest_s": longest / 1e9}
    advice = "Let the program read each answer, or cancel it, or raise the window of the connection above that of a stream; or use another connection for it."
    return [finding(view, ID, "problem", text, [f for *_, frames in found for f in frames], values, advice)]


def _late(view: View) -> list[Finding]:
    late = [p for p in view.once(pauses) if LATE_NS <= p[1] < SEAM_NS]
    long = [p for p in late if p[1] >= LONG_NS]
    shown = long or late
    if not shown:
        return []
    longest = max(p[1] for p in shown)
    clients = most(view.ends(p[0])[0] for p in shown)
    n = sum(view.column("protocol")[k] == "tls" for k in view.whole)
    text = f"{len(shown):,} of {plural(n, 'TLS handshake')} waited {up_to(shown)}{seconds(longest)} for the client ({clients})."
    values = {"handshakes": n, "slow": len(shown), "longest_s": longest / 1e9}
    advice = "The client checks certificates online, is busy, or waited for its user." if long else ""
    return [finding(view, ID, "problem" if long else "warning", text, [f for p in shown for f in p[2]], values, advice)]
