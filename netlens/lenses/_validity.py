"""Certificates that were out of date when a server showed them, by the capture's clock, and what the client did about it."""

from __future__ import annotations

from dataclasses import dataclass

from netlens.lenses._view import FIN, RST, S, View
from netlens.parsers.certificates import Shown
from netlens.text import plural, utc

DAY_S = 86_400
#: A capture that is older than a certificate by more than this was made with a wrong clock (1970, 2000): of six in the corpus, none was right.
WRONG_CLOCK_S = 366 * DAY_S


@dataclass(frozen=True)
class Invalid:
    """A certificate outside of its time. ``how`` in words.

    went_on : the client sent a request all the same.  left_frame : with which it ended the connection before the server did and without one (some libraries
    check certificates behind the handshake); 0 if it did neither.
    """

    shown: Shown
    how: str
    went_on: bool
    left_frame: int

    @property
    def name(self) -> str:
        return self.shown.leaf.name


def invalid(view: View) -> dict[int, Invalid]:
    """By session; of copies one."""
    kept, found = set(view.first_copies), {}
    for shown in view.side.capture.certificates:
        if shown.session in kept and shown.session not in found and (how := _how(shown)):
            found[shown.session] = _with_consequence(view, shown, how)
    return found


def certificates(view: View) -> dict[int, Shown]:
    """By session, the first certificate that its server showed in clear."""
    return {shown.session: shown for shown in reversed(view.side.capture.certificates)}


def of_another(view: View, shown: Shown) -> bool:
    """Whether a certificate is not for the name that the client asked for."""
    asked = view.column("sni")[shown.session]
    return bool(asked and shown.leaf.name) and not shown.leaf.is_for(asked)


def _how(shown: Shown) -> str:
    now, leaf = shown.ts // S, shown.leaf
    if now > leaf.not_after:
        return f"had expired {_time(now - leaf.not_after)} before"
    if now < leaf.not_before:
        return f"is valid only from {utc(leaf.not_before * S)[:10]} on, {_time(leaf.not_before - now)} later"
    return ""


def _time(seconds: int) -> str:
    days = seconds // DAY_S
    return plural(days, "day") if days else plural(max(seconds // 3600, 1), "hour")


def _with_consequence(view: View, shown: Shown, how: str) -> Invalid:
    k = shown.session
    if k in view.once(asking):
        return Invalid(shown, how, True, 0)
    seg = view.opening(k)
    for i in range(len(seg)):
        if seg.frame[i] > shown.frame and seg.flags[i] & (FIN | RST):
            left = seg.orig[i] and not view.column("orig_missing_bytes")[k]
            return Invalid(shown, how, False, seg.frame[i] if left else 0)
    return Invalid(shown, how, False, 0)


def asking(view: View) -> set[int]:
    """Sessions with a request."""
    return set(view.side.capture.table("exchanges")["session_id"].tolist())


def clock_is_wrong(one: Invalid) -> bool:
    """Whether the capture's clock is to be doubted rather than the certificate."""
    return one.shown.leaf.not_before - one.shown.ts // S > WRONG_CLOCK_S
