"""Connections whose SYN was answered from another address than it was sent to, of which the client knows nothing: it resets the answer or ignores it, and
repeats its SYN. So it is where a router translates the address of a server for a client of the same network, and the server answers directly ("hairpin",
RFC 4787 6, RFC 5382 REQ-8). Where an address is translated on this machine, the client goes on by an ACK, and nothing is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netlens.lenses._view import ACK, RST, SYN, View


@dataclass
class Misplaced:
    """An attempt.  session : of its SYNs.  answered_by : of its SYN+ACKs, the first of which came at ``answer_ns``."""

    session: int
    answered_by: int
    syn_ns: list[int]
    answer_ns: int
    synacks: int
    reset: bool
    frames: list[int]


def misplaced(view: View) -> list[Misplaced]:
    """All of them whose SYN was repeated behind the answer; none of a service where as many others were not, as in a capture of SYNs alone."""
    s = view.sessions
    if not view.halves or not s.rows:
        return []
    may_be = s["saw_syn"].astype(bool) & (s["resp_frames"] == 0) & (s["orig_bytes"] == 0)
    if not np.any(may_be):
        return []
    found: dict[tuple[str, int, str, int], list[Misplaced]] = {}
    for ids in view.side.session_ids:
        if len(ids) > 1 and ids[0] in view.halves:
            asked = [k for k in ids if may_be[k]]
            told = [k for k in ids if k not in asked]
            if len(asked) == 1 and len(told) == 1 and (one := _of(view, asked[0], told[0])) is not None:
                found.setdefault((*view.ends(one.session)[2:], *view.ends(one.answered_by)[2:]), []).append(one)
    repeated = ([one for one in group if one.syn_ns[-1] > one.answer_ns] for group in found.values())
    return [one for group, lasting in zip(found.values(), repeated, strict=True) if 2 * len(lasting) > len(group) for one in lasting]


def _of(view: View, asked: int, told: int) -> Misplaced | None:
    syns, answer = view.opening(asked), view.opening(told)
    if not all(flags & SYN and not flags & ACK for flags in syns.flags):
        return None
    theirs = [i for i in range(len(answer)) if not answer.orig[i]]
    mine = [i for i in range(len(answer)) if answer.orig[i]]
    if (
        not theirs
        or not all(answer.flags[i] & SYN and answer.flags[i] & ACK for i in theirs)
        or not all(answer.flags[i] & RST for i in mine)
    ):
        return None
    frames = [syns.frame[0], *answer.frame[:2], *syns.frame[1:]]
    return Misplaced(asked, told, syns.ts, answer.ts[theirs[0]], len(theirs), bool(mine), frames)
