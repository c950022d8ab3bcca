"""Times as logs write them: ISO 8601 or epoch. They are UTC unless they name a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000_000
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(?:(?P<utc>Z)|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def span(text: str) -> tuple[int, int] | None:
    """First and last instant that are written like this; None if there is no such time."""
    if text[:1] == "1" and "-" not in text:  # epoch: seconds with a fraction, or 10, 13, 16 or 19 digits
        whole, _, fraction = text.partition(".")
        unit = 10 ** (19 - len(whole))
        step = 10 ** (9 - len(fraction)) if fraction else unit
        at = int(whole) * unit + (int(fraction) * step if fraction else 0)
        return at, at + step
    found = _TIME.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(each) for each in found.groups()[:6])
    try:
        leap = second == 60  # RFC 3339 allows it; a log may repeat the second instead
        when = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC) + timedelta(seconds=leap)
        if found["sign"]:
            zone = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
            when = when - zone if found["sign"] == "+" else when + zone
    except (ValueError, OverflowError):
        return None
    digits = found[7] or ""
    step = 10 ** (9 - len(digits))
    at = int((when - _EPOCH).total_seconds()) * SECOND + (int(digits) * step if digits else 0)
    return (at, at + step) if at >= 0 and when.year < 2262 else None  # beyond, nanoseconds do not fit into int64
