"""Handshakes of TLS that were broken off behind the server's answer, without a word in clear.

A client that does not like a certificate says so by an alert, which TLS 1.3 encrypts: a record of 19 bytes (two of the alert, one for its type and a tag of 16:
RFC 8446 5.2 and 6) where its Finished would have 53 at least (Go, rustls, GnuTLS). Or it closes and says nothing (Node, Java). In TLS 1.2, what comes
encrypted behind the client's Finished and before the server's is an alert, if its record says so. Some look when the handshake is over, and close; of these
only those are told whose certificate is for another name or self-signed, and those that offered HTTP/2, which a client begins at once (RFC 9113 3.4): a check
of whether a server is there does the same. A server of TLS 1.3 that does not like the client's certificate, or that there is none, says so when the client
takes the handshake to be over: by an alert, and nothing else.

Normal: a browser closes connections that it turns out not to need, before or behind the handshake. What closes behind each first answer and never names a
server is a check.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netlens.lenses._validity import asking, certificates, of_another
from netlens.lenses._view import FIN, RST, S, Segments, View
from netlens.parsers.records import ALERT, CHANGE_CIPHER, HANDSHAKE, HEADER

AT_ONCE_NS = S  #: behind the server's last byte: later, somebody may have lost patience
CHANGE_CIPHER_BYTES = HEADER + 1
HIDDEN = HEADER + 1 + 16  #: what an encrypted message takes besides itself
ENCRYPTED_ALERT = HIDDEN + 2
FINISHED = (HIDDEN + 36, HIDDEN + 52)  #: by hash (RFC 8446 4.4.4)
ALERT_1_3 = 0x1703030013  #: how a record with one begins
REFUSED, LEFT, DONE = (
    "refused by the client by an encrypted alert", "closed by the client upon the server's answer", "closed by the client before any request"
)  # fmt: skip
NOT_ADMITTED = "ended by the server by an encrypted alert before any answer"
_CLEAR_ALERT = 2  #: bytes
#: Bytes that a client of TLS 1.3 says behind its hello in all: nothing; an alert; the end of the handshake, with or without an alert
_NOTHING = (0, CHANGE_CIPHER_BYTES)
_ALERTED = tuple(n + ENCRYPTED_ALERT for n in _NOTHING)
_FINISHED = tuple(CHANGE_CIPHER_BYTES + n + more for n in FINISHED for more in (0, ENCRYPTED_ALERT))
#: Where a segment ends if no certificate stands before the client's Finished
_JUST_FINISHED = (*FINISHED, *(CHANGE_CIPHER_BYTES + n for n in FINISHED))


class BrokenOff(NamedTuple):
    """Where a handshake was broken off, and how in words.  sure : it cannot be anything else."""

    frame: int
    ts: int
    how: str
    sure: bool = False


def broken_off(view: View) -> dict[int, BrokenOff]:
    """By session. Of those that close, such as name a server, or a protocol."""
    s, hello, x = view.sessions, view.first_requests, view.side.capture.table("hellos")
    spoken = (hello >> 56 == HANDSHAKE) & (view.first_replies >> 56 == HANDSHAKE) & (view.missing_bytes == 0)
    own = HEADER + (hello >> 24 & 0xFFFF).astype(np.int64)
    rest = s["orig_bytes"] - own
    named = {k: alpn or () for k, sni, alpn in x.tuples("session_id", "sni", "alpn") if sni or alpn}
    silent, alerted, finished = (spoken & np.isin(rest, sizes) for sizes in (_NOTHING, _ALERTED, _FINISHED))
    hidden = view.sessions_where(
        lambda head: (head >> 56 == ALERT) & (head >> 48 & 0xFF == 3) & (head >> 24 & 0xFFFF > _CLEAR_ALERT), spoken
    )
    shown, turned_away = view.once(certificates), _turned_away(view, spoken, own)
    found: dict[int, BrokenOff] = {}
    for k in view.first_copies:
        if k in view.halves or not spoken[k]:
            continue
        how = None
        if alerted[k]:
            how = _last_word(view.opening(k))
        elif silent[k]:
            how = _left(view.opening(k), LEFT) if k in named else None
        elif k in turned_away:
            how = turned_away[k]
        elif finished[k] and "h2" in named.get(k, ()):
            how = _left(view.opening(k), DONE)
        elif k in hidden:
            how = _before_the_servers(view.opening(k))
        if how is None and k in shown and k in named and k not in view.once(asking) and _is_doubtful(view, k):
            how = _behind_it(view.opening(k))
        if how is not None:
            found[k] = how
    return found


def _turned_away(view: View, spoken: np.ndarray[Any, Any], own: np.ndarray[Any, Any]) -> dict[int, BrokenOff]:
    """Sessions in which the server's first word behind the client's second flight, which holds a certificate or says that there is none, is its last, and comes
    at once: an encrypted alert.

    spoken : bool by session, those to be looked at.  own : int64 by session, bytes of the client's hello.
    """
    if view.trail is None or not spoken.any():
        return {}
    t, never = view.trail.segments(), np.iinfo(np.int64).max
    of = view.new_data[spoken[t["session"][view.new_data]]]
    session, orig = t["session"][of], view.by_originator(of)
    second, word = (np.full(len(spoken), never) for _ in range(2))
    mine = orig & (t["offset"][of] >= own[session])
    np.minimum.at(second, session[mine], of[mine])
    its = ~orig & (of > second[session])
    np.minimum.at(word, session[its], of[its])
    found = {}
    for k in np.flatnonzero(np.bincount(session[its], minlength=len(spoken)) == 1).tolist():
        i, head = word[k], int(t["head"][word[k]])
        if t["length"][i] == ENCRYPTED_ALERT and head >> 24 == ALERT_1_3:
            seg, frame, ts = view.opening(k), int(t["frame"][i]), int(t["ts"][i])
            said = [(seg.end(j) - int(own[k]), seg.ts[j]) for j in range(len(seg)) if seg.orig[j] and seg.fresh[j] and seg.frame[j] < frame]
            if not any(end in _JUST_FINISHED for end, _ in said) and ts - max(at for _, at in said) <= AT_ONCE_NS:
                found[k] = BrokenOff(frame, ts, NOT_ADMITTED, True)
    return found


def _last_word(seg: Segments) -> BrokenOff | None:
    """An alert of TLS 1.3, behind the server's answer."""
    answered = False
    last = -1
    for i in range(len(seg)):
        if seg.fresh[i]:
            answered |= not seg.orig[i]
            last = i if seg.orig[i] and answered else last
    return BrokenOff(seg.frame[last], seg.ts[last], REFUSED, True) if last >= 0 else None


def _left(seg: Segments, how: str) -> BrokenOff | None:
    """Closed by the client first, at once behind what the server said last, all of which it had."""
    told, upto = 0, 0
    for i in range(len(seg)):
        if seg.flags[i] & (FIN | RST):
            left = seg.orig[i] and told and seg.ts[i] - told <= AT_ONCE_NS and (seg.flags[i] & RST or seg.acked[i] >= upto)
            return BrokenOff(seg.frame[i], seg.ts[i], how) if left else None
        if not seg.orig[i] and seg.fresh[i]:
            told, upto = seg.ts[i], seg.end(i)
    return None


def _before_the_servers(seg: Segments) -> BrokenOff | None:
    """An encrypted alert of TLS 1.2 behind the client's Finished and before the server's, which a resumed handshake sends first."""
    finished = False
    for i in range(len(seg)):
        if not seg.fresh[i]:
            continue
        kind = seg.head[i] >> 56
        if not seg.orig[i]:
            finished = False
        elif kind == HANDSHAKE:
            finished = seg.offset[i] > 0
        elif kind != CHANGE_CIPHER:
            return BrokenOff(seg.frame[i], seg.ts[i], REFUSED, True) if kind == ALERT and finished else None
    return None


def _behind_it(seg: Segments) -> BrokenOff | None:
    """The handshake of TLS 1.2 is over, and the client closes at once without having asked for anything."""
    is_over = any(seg.orig[i] and seg.fresh[i] and seg.offset[i] > 0 and seg.head[i] >> 56 == HANDSHAKE for i in range(len(seg)))
    return _left(seg, DONE) if is_over else None


def _is_doubtful(view: View, k: int) -> bool:
    """Whether a certificate vouches for itself, or is not for the name that the client asked for."""
    shown = view.once(certificates)[k]
    return shown.leaf.itself or of_another(view, shown)
