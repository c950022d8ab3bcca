"""Which servers did not hear that a handshake was over?

Asks: whether a server sent its SYN+ACK again and again while the client had acknowledged it and sent data since, which was not acknowledged; whether many
    new connections of a server took none of that data for long, while others went on.
Applies: to connections captured in both directions with their handshake, near the client or near the server.
Cannot see: captured at the client, whether its packets are lost on the way there or dropped by the server. Where other connections to the same port go on
    without any loss meanwhile, it is the server: its queue of connections that wait to be accepted is full, or something before it delays new ones.
Normal: RFC 9293 3.10.7.4: an acceptable ACK ends the handshake, and a server that hears none repeats its SYN+ACK after 1 s (RFC 6298 2.1). One that waits for
    data (Linux' TCP_DEFER_ACCEPT) repeats it as long as its client has nothing to say. A lost acknowledgment is mended by the data behind it. Linux drops
    the ACK and the data where the queue of listen(2) is full, and takes what is sent again once its program has accepted another. Loss on the way does not
    choose the first data of new connections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import FIN, RST, SYN, S, View, finding, grouped, most, seconds, up_to
from netlens.text import plural

ID = "handshake-unheard"
GROUP = "handshakes"
RANK = 24
LATER_NS = S // 2  #: after the client's data: what is on its way for longer is lost
TIMES = 2  #: SYN+ACKs behind data of the client, of one connection alone
MANY, TRIES, LONG_NS = 3, 3, S  #: connections of a full queue, in each of which the client sent its data so often, for so long
ENOUGH = 5000  #: sessions that are looked at


@dataclass(slots=True)
class Unheard:
    """``repeats``: SYN+ACKs that came behind the client's data.  tries : sendings of that data.  heard : it was acknowledged in the end."""

    session: int
    start_ns: int
    end_ns: int
    repeats: int
    tries: int
    heard: bool
    frames: list[int]


def look(view: View) -> list[Finding]:
    if view.one_sided:
        return []
    all_ = view.once(unheard)
    queues = [group for service, group in grouped(all_, lambda u: view.ends(u.session)[2:]).items() if _is_queue(view, service, group)]
    full = [u for group in queues for u in group if _waited(view, u)]
    alone = [u for u in all_ if u.repeats >= TIMES and not u.heard]
    return [each for each in (_queue(view, full), _dropped(view, [u for u in alone if u not in full])) if each is not None]


def _queue(view: View, shown: list[Unheard]) -> Finding | None:
    if not shown:
        return None
    longest = max(u.end_ns - u.start_ns for u in shown)
    text = (
        f"{plural(len(shown), 'new connection')} to {most(view.server(u.session) for u in shown)} waited up to {seconds(longest)} behind the handshake until "
        f"their first data was taken (sent up to {max(u.tries for u in shown)} times), while others went on without any loss: as if the server's queue of "
        "connections that wait to be accepted was full."
    )
    values = {"connections": len(shown), "longest_s": longest / 1e9, "synacks": sum(u.repeats for u in shown)}
    advice = (
        "The server's program accepts too slowly, or its queue is too short: look at ss -ltn and nstat TcpExtListenOverflows there, then raise "
        "the backlog of listen(2) and net.core.somaxconn, or give it more workers."
    )
    return finding(view, ID, "problem", text, [f for u in shown for f in u.frames], values, advice)


def _dropped(view: View, shown: list[Unheard]) -> Finding | None:
    if not shown:
        return None
    longest = max(u.end_ns - u.start_ns for u in shown)
    repeats = max(u.repeats for u in shown)
    text = (
        f"{most(view.server(u.session) for u in shown)} repeated its SYN+ACK {up_to(shown)}{plural(repeats, 'time')} on {plural(len(shown), 'connection')} "
        f"though the client acknowledged each, and took none of its data in {up_to(shown)}{seconds(longest)}: what the client sends after its SYN is dropped."
    )
    values = {"connections": len(shown), "longest_s": longest / 1e9, "synacks": repeats}
    advice = (
        "A stateful firewall on the way sees one direction only (asymmetric routes: compare traceroute from both ends) or drops what is no SYN, or the "
        "server's queue of new connections is full (nstat TcpExtListenOverflows there): capture at the server to see whether the client's packets arrive."
    )
    return finding(view, ID, "problem", text, [f for u in shown for f in u.frames], values, advice)


def unheard(view: View) -> list[Unheard]:
    """Connections whose server did not acknowledge the client's first data until it was sent again."""
    s = view.sessions
    kept = np.zeros(s.rows, bool)
    kept[view.in_one] = True
    kept &= s["saw_syn"].astype(bool) & (s["orig_retransmits"] > 0)
    return [found for k in np.flatnonzero(kept)[:ENOUGH].tolist() if (found := _of(view, k)) is not None]


def _of(view: View, k: int) -> Unheard | None:
    seg = view.opening(k)
    data = -1
    tries, repeats, answered, frames = 0, 0, 0, [0]
    for i in range(len(seg)):
        flags = seg.flags[i]
        if seg.orig[i]:
            if flags & (SYN | FIN | RST):
                if flags & (FIN | RST):
                    break
                continue
            if answered and seg.length[i] and (data < 0 or seg.offset[i] == seg.offset[data]):
                data = i if data < 0 else data
                tries += 1
            continue
        if flags & SYN:
            answered += 1
            frames[0] = frames[0] or seg.frame[i]
            if data >= 0 and seg.ts[i] - seg.ts[data] >= LATER_NS:
                repeats += 1
                frames.append(seg.frame[i])
        elif flags & RST:
            break
        elif data >= 0 and seg.acked[i] > seg.offset[data]:
            return (
                Unheard(k, seg.ts[data], seg.ts[i], repeats, tries, True, [*frames, seg.frame[data], seg.frame[i]]) if tries > 1 else None
            )
    if data < 0:
        return None
    last = max((i for i in range(len(seg)) if seg.orig[i] and seg.length[i]), default=data)
    return Unheard(k, seg.ts[data], seg.ts[last], repeats, tries, False, [*frames, seg.frame[data], seg.frame[last]])


def _waited(view: View, u: Unheard) -> bool:
    """Whether a connection waited as in a full queue: for its first data alone."""
    return u.tries >= TRIES and u.end_ns - u.start_ns >= LONG_NS and view.sessions["orig_retransmits"][u.session] < u.tries


def _is_queue(view: View, service: tuple[str, int], group: list[Unheard]) -> bool:
    """Whether other connections to a port went on without any loss while these were not taken, and these lost nothing else."""
    shown = [u for u in group if _waited(view, u)]
    if len(shown) < MANY or not any(u.heard for u in shown):
        return False
    begin, end = min(u.start_ns for u in shown), max(u.end_ns for u in shown)
    mine = {u.session for u in group}
    s = view.sessions
    others = [k for k in view.once(_by_service)[service] if k not in mine and s["start_ns"][k] < end and s["end_ns"][k] > begin]
    went_on = [k for k in others if s["resp_bytes"][k] and s["orig_bytes"][k]]
    lossy = s["orig_retransmits"] + s["resp_retransmits"] + s["resp_out_of_order"]
    return bool(went_on) and not any(lossy[k] for k in went_on) and not any(s["resp_retransmits"][u.session] > u.repeats for u in shown)


def _by_service(view: View) -> dict[tuple[str, int], list[int]]:
    """Sessions of each server and port."""
    return grouped(view.whole, lambda k: view.ends(k)[2:])
