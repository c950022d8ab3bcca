"""What opencode's log tells of every request, refused or not: that it starts, of which session it is, and whether it is a small one (for a title).

A session's name is random, and nothing of it is needed but which lines are of the same one; so a short sum stands for it in what is copied.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_ABOUT = re.compile(r"\b(?:session\.id|sessionID)=(?P<session>ses_\w{1,60})\s+small=(?P<small>true|false)\b")
_STARTS = re.compile(r"\bmessage=stream\s|\ssmall=(?:true|false)\b(?:\s+\S{1,60}){0,4}\s+stream\s*$")
_SHORT = re.compile(r"ses_[0-9a-f]{8}\Z")


@dataclass(frozen=True)
class About:
    """``session``: a short sum of its name.  ``small``: a request for a title.  ``starts``: the record is written when the request starts."""

    session: str
    small: bool
    starts: bool


def about(record: str, level: str) -> About | None:
    """What a record says of its request; None if it speaks of none."""
    if "small=" not in record or (found := _ABOUT.search(record)) is None:
        return None
    name = found["session"]
    short = name if _SHORT.match(name) else f"ses_{zlib.crc32(name.encode()):08x}"
    return About(short, found["small"] == "true", level == "INFO" and _STARTS.search(record) is not None)


def written(of: About | None, session: str) -> str:
    """The same as the format writes it; ``session``: what it calls the field."""
    return "" if of is None else f" {session}={of.session} small={str(of.small).lower()}"
