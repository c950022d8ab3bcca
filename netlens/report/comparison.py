"""Two recordings side by side, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlens.text import printable, size

if TYPE_CHECKING:
    from netlens.lenses.refused.comparison import Comparison, Figures


def lines(comparison: Comparison) -> list[str]:
    """The verdict, the figures before and after, and cautions; one line each."""
    table = list(rows(comparison))
    wide, middle = max(len(name) for name, _, _ in table), max(len(before) for _, before, _ in table)
    out = [printable(comparison.sentence), ""]
    out += [f"{name:<{wide}}  {before:>{middle}}  {after}".rstrip() for name, before, after in table]
    return out + [f"caution: {printable(note)}" for note in comparison.notes]


def rows(c: Comparison) -> list[tuple[str, str, str]]:
    """(what, before, after) as they are shown."""
    out = [("", "before", "after")]

    def add(name: str, show: Any) -> None:
        out.append((name, show(c.before), show(c.after)))

    add("recorded", lambda f: f"{f.duration_s:.1f} s")
    add("requests", lambda f: f"{f.requests:,} ({f.requests_per_minute:.1f} a minute)")
    add("refused at least once", _rate)
    add("refusals, retries counted", lambda f: f"{f.refusals:,} ({f.refusals_per_minute:.1f} a minute)")
    for unit in ("requests", "connections"):
        for side in ("vm", "host", "combined"):
            label = {"vm": "VM", "host": "host", "combined": "both"}[side]
            add(f"most {unit} at once, {label}", lambda f, u=unit, s=side: str(f.peaks[u][s]))
    add("sessions", lambda f: f"{f.sessions:,}")
    add("lifetime, median", lambda f: _seconds(f.lifetime_median_s))
    add("lifetime, 90th percentile", lambda f: _seconds(f.lifetime_p90_s))
    add("tails", lambda f: f"{f.tails:,}, {f.tail_s:.1f} s in total" + ("" if f.tail_bytes is None else f", {size(f.tail_bytes)}"))
    if c.difference is not None and c.difference_low is not None and c.difference_high is not None:
        out.append(("difference", "", f"{c.difference:+.1%} ({c.difference_low:+.1%} to {c.difference_high:+.1%})"))
    return out


def _rate(f: Figures) -> str:
    if f.rate is None or f.rate_low is None or f.rate_high is None:
        return "-"
    return f"{f.refused:,}, {f.rate:.1%} ({f.rate_low:.1%} to {f.rate_high:.1%})"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"
