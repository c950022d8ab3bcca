"""What opencode's log tells of every request, refused or not: that it starts, of which session it is, and whether it is a small one (for a title).

Names of sessions and of runs are random, and nothing of them is needed but which lines are of the same one; so a short sum stands for them in what is copied.
"""

import re
import zlib
from dataclasses import dataclass

_ABOUT = re.compile(r"\b(?:session\.id|sessionID)=(?P<session>ses_\w{1,60})\s+small=(?P<small>true|false)\b")
_STARTS = re.compile(r"\bmessage=stream\s|\ssmall=(?:true|false)\b(?:\s+\S{1,60}){0,4}\s+stream\s*$")
_RUN = re.compile(r"\brun=(\w{1,60})\s")
_SHORT = re.compile(r"[0-9a-f]{8}\Z")


@dataclass(frozen=True)
class About:
    """``session``, ``run``: short sums of their names; a run is a process, "" if it is not said.  ``small``: a request for a title.  ``starts``: the record is
    written when the request starts."""

    session: str
    small: bool
    starts: bool
    run: str = ""


def about(record: str, level: str) -> About | None:
    """What a record says of its request; None if it speaks of none."""
    if "small=" not in record or (found := _ABOUT.search(record)) is None:
        return None
    run = _RUN.search(record)
    starts = level == "INFO" and _STARTS.search(record) is not None
    return About(f"ses_{_short(found['session'].removeprefix('ses_'))}", found["small"] == "true", starts, _short(run[1]) if run else "")


def _short(name: str) -> str:
    return name if _SHORT.match(name) else f"{zlib.crc32(name.encode()):08x}"


def written(of: About | None, session: str) -> str:
    """The same as the format writes it; ``session``: what it calls the field."""
    return "" if of is None else f" {session}={of.session} small={str(of.small).lower()}"
