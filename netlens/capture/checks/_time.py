"""Times in the words of the checks."""

from __future__ import annotations


def span(seconds: float, sign: bool = False) -> str:
    """Seconds in a unit that leaves digits before the point."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(seconds) * factor >= 1 or unit == "us":
            return f"{seconds * factor:{'+' if sign else ''}.3g} {unit}"
    raise AssertionError
