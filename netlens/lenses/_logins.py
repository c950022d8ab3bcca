"""Logins that a server holds up: it acknowledged what a client said before it was let in, and answered seconds later.

Until a client is in, it waits for the server, and the server for nobody, but for other servers: for the name of the client's address, for its ident (RFC 1413),
for a directory. Read are SSH (RFC 4253, 4252), FTP, POP3, IMAP, MySQL, PostgreSQL and IRC, by how they begin, whatever the port.

Of SSH it is known what the first two answers behind the keys are, though they are encrypted: to the request of the service, and to the first request to be let
in, which most clients send without a password to learn the ways (RFC 4252 5.2). Later ones may wait for a person with a second factor, or after a wrong
password.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netlens.lenses._dialogs import refusals
from netlens.lenses._lost import never_arrived
from netlens.lenses._repeats import with_repeats
from netlens.lenses._view import FIN, RST, SEAM_NS, S, Segments, View, as_bytes

LONG_NS = 5 * S
SEGMENTS = 40  #: in which a login is over
NEWKEYS, SHORT = 21, 64  #: message (RFC 4253 7.3), and bytes of the packet at most
_SSH = int.from_bytes(b"SSH-", "big")
_COMMANDS = (b"USER ", b"PASS ", b"APOP ", b"ACCT ")  #: of FTP and POP3
_IRC = (b"NICK ", b"USER ", b"CAP LS ")
#: bytes at least of what a server of IRC says as it lets a client in (RFC 2812 5.1 and its motto), and at most before
WELCOME, LITTLE = 500, 500


@dataclass
class HeldUp:
    """An answer that was late; ``frames``: of what it answers, and its own."""

    session: int
    protocol: str
    wait_ns: int
    frames: list[int]


def held_up(view: View) -> list[HeldUp]:
    """At most one of each session, the longest."""
    if view.one_sided:
        return []
    s = view.sessions
    # 5 s from the first to the last segment, and some words of both
    long_enough = (s["end_ns"] - s["start_ns"] >= LONG_NS) & (s["orig_bytes"] > 0) & (s["resp_bytes"] > 0) & s["saw_syn"]
    long_enough &= view.missing_bytes == 0
    chosen = long_enough & _begins(view.first_requests)
    if not chosen.any():
        return []
    # what was lost is told by others, and who is refused may be kept waiting so that he guesses slowly
    left_out = (
        view.once(with_repeats)
        | {lost.session for lost in view.once(never_arrived)}
        | {no.session for no in view.once(refusals)}
        | view.halves
    )
    found = []
    for k in view.whole:
        if chosen[k] and k not in left_out:
            seg = view.opening(k)
            late = max(_late(seg, int(view.first_requests[k])), key=lambda each: each.wait_ns, default=None)
            if late is not None:
                late.session = k
                found.append(late)
    return found


def _begins(first: np.ndarray) -> np.ndarray:
    """Whether a client's first bytes (uint64) begin one of these protocols."""
    text = as_bytes(first)
    words = np.zeros(len(first), bool)
    for word in (b"SSH-", *_COMMANDS, *_IRC):
        words |= first >> np.uint64(64 - 8 * len(word)) == np.uint64(int.from_bytes(word, "big"))
    mysql = (text[:, 3] == 1) & (text[:, 2] == 0)  # the answer to a greeting
    postgres = (text[:, 4:8] == np.frombuffer(b"\0\3\0\0", np.uint8)).all(axis=1)
    imap = (text[:, 1:] == 0x20).any(axis=1) & (text[:, 0] >= 0x30)
    return words | mysql | postgres | imap


def _late(seg: Segments, first: int) -> Iterator[HeldUp]:
    head = first.to_bytes(8, "big")
    if first >> 32 == _SSH:
        until = _behind_keys(seg)
        yield from (HeldUp(0, "SSH", *each) for each in _turns(seg) if each[1][1] <= until)
        return
    if head.startswith(_IRC) and (late := _of_irc(seg)):
        yield late
    at = {seg.frame[i]: i for i in range(len(seg))}
    greeting = next(seg.text(i) for i in range(len(seg)) if seg.length[i])  # of a client that speaks first, its own words
    for wait, frames in _turns(seg):
        if name := _login(seg.text(at[frames[0]]), greeting):
            yield HeldUp(0, name, wait, frames)


def _login(head: bytes, greeting: bytes) -> str:
    """The protocol of which a client's message is a step of a login, by the first of a server or of its own."""
    if greeting[:3] == b"220" and head.upper().startswith(_COMMANDS):
        return "FTP"
    if greeting[:3] == b"+OK" and head.upper().startswith(_COMMANDS):
        return "POP3"
    command = head.upper().partition(b" ")[2]  # behind a tag, as far as it is known
    if greeting[:4] == b"* OK" and len(command) > 1 and any(word.startswith(command) for word in (b'LOGIN "', b"AUTHENTICATE")):
        return "IMAP"
    if greeting[3:5] == b"\0\x0a" and head[3] == 1:
        return "MySQL"
    return "PostgreSQL" if greeting[4:8] == b"\0\3\0\0" and (head == greeting or (head[:1] == b"p" and head[1:3] == b"\0\0")) else ""


def _turns(seg: Segments) -> Iterator[tuple[int, list[int]]]:
    """Waits of a client from its last message until the server's next, in which the server acknowledged it or said nothing else: in ns, with both frames."""
    asked = -1
    for i in range(min(len(seg), SEGMENTS)):
        if seg.flags[i] & (FIN | RST):
            return
        if seg.fresh[i] and seg.orig[i]:
            asked = i
        elif seg.fresh[i] and asked >= 0:
            wait = seg.ts[i] - seg.ts[asked]
            if LONG_NS <= wait < SEAM_NS:
                yield wait, [seg.frame[asked], seg.frame[i]]
            asked = -1


def _behind_keys(seg: Segments) -> int:
    """The frame of the second answer behind a client's NEWKEYS, 0 without."""
    keys = next(
        (i for i in range(len(seg)) if seg.orig[i] and seg.fresh[i] and seg.head[i] >> 32 < SHORT and seg.head[i] >> 16 & 0xFF == NEWKEYS),
        None,
    )
    if keys is None:
        return 0
    answers, asked = [], False
    for i in range(keys + 1, min(len(seg), SEGMENTS)):
        if seg.fresh[i] and seg.orig[i]:
            asked = True
        elif seg.fresh[i] and asked:
            answers.append(seg.frame[i])
            asked = False
    return answers[1] if len(answers) > 1 else answers[0] if answers else 0


def _of_irc(seg: Segments) -> HeldUp | None:
    """A client that has said who it is, and says nothing more, until the server's welcome: what a server says before is little, and then much at once."""
    said = [i for i in range(min(len(seg), SEGMENTS)) if seg.fresh[i]]
    mine = [i for i in said if seg.orig[i]]
    named = next((i for i in mine if seg.text(i).startswith((b"USER ", b"NICK "))), None)
    if named is None:
        return None
    # the rest of its registration follows at once, if it is not in the same segment
    last = max(i for i in mine if seg.ts[i] - seg.ts[named] < S)
    theirs = [i for i in said if not seg.orig[i]]
    for before, after in zip([last, *theirs], theirs, strict=False):
        wait = seg.ts[after] - max(seg.ts[before], seg.ts[last])
        if after < last or wait < LONG_NS:
            continue
        until_then = sum(seg.fresh[i] for i in theirs if i < after)
        at_once = sum(seg.fresh[i] for i in theirs if i >= after and seg.ts[i] - seg.ts[after] < S)
        spoke = any(last < i < after for i in mine)
        if wait < SEAM_NS and until_then <= LITTLE and at_once >= WELCOME and not spoke:
            return HeldUp(0, "IRC", wait, [seg.frame[last], seg.frame[after]])
        return None
    return None
