"""Where requests' time went, as text and as the data of the page's waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlens.chains.budget import PHASES, RELAY, groups
from netlens.text import duration, plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlens.analysis import Analysis
    from netlens.chains.budget import Divided, Group

SHOWN = 8  #: groups on the terminal
DRAWN = 20_000  #: requests in the page
LEAST_SHARE = 0.001  #: of the time; what is less is not named
WORDS = {"tls": "TLS", "relay": "relay", "wire": "wire"}  #: others are called by their name


def rows(a: Analysis) -> list[tuple[str, str]]:
    """Of each group: who, and where its time went, as a mean request's milliseconds and as shares."""
    made = groups(a.divided)
    told = [(_who(g, len(a.sides) > 1), sentence(g)) for g in made[:SHOWN]]
    if len(made) > SHOWN:
        told.append(("", f"{len(made) - SHOWN:,} more groups in the JSON (budget.groups)"))
    return told


def _who(g: Group, several: bool) -> str:
    whose = f"{g.process} " if g.process else ""
    party = f"{g.party} " if several or g.process else ""
    return f"{whose}{party}> {g.server}"


def sentence(g: Group) -> str:
    """``67 requests, 830 ms each: stream 65 % (540 ms), server 31 % (260 ms), sshuttle 3.3 % (27 ms)``."""
    parts = [(ns, WORDS.get(phase, phase)) for phase, ns in g.by_phase.items() if ns and phase != RELAY]
    parts += [(ns, relay) for relay, ns in g.by_relay.items() if ns]
    parts = sorted(((ns, name) for ns, name in parts if ns >= LEAST_SHARE * g.total_ns), key=lambda part: -part[0])
    said = [f"{name} {_percent(ns, g.total_ns)} ({duration(ns / g.requests / 1e9)})" for ns, name in parts]
    unknown = [WORDS.get(phase, phase) for phase, ns in g.by_phase.items() if ns is None]
    end = f"; {' and '.join(unknown)} not told apart" if unknown else ""
    each = "" if g.requests == 1 else " each"
    return f"{plural(g.requests, 'request')}, {duration(g.total_ns / g.requests / 1e9)}{each}: {', '.join(said) or 'no time'}{end}"


def _percent(ns: int, total: int) -> str:
    share = 100 * ns / max(total, 1)
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def drawn(a: Analysis) -> list[dict[str, Any]]:
    """Of each group: who, its sentence, and a bar of all its time: (phase, per mille from the left, per mille wide)."""
    out = []
    for g in groups(a.divided)[:SHOWN]:
        at, bar = 0.0, []
        for phase, ns in g.by_phase.items():
            wide = 1000 * (ns or 0) / max(g.total_ns, 1)
            if wide:
                bar.append((phase, round(at, 2), round(wide, 2)))
            at += wide
        out.append({"who": _who(g, len(a.sides) > 1), "text": sentence(g), "bar": bar})
    return out


def page(a: Analysis, t0: int, captures: Sequence[str | None]) -> dict[str, Any]:
    """For the waterfall and the chain of a request: columns of the requests, their spells and passes as flat lists.

    Parameters
    ----------
    t0 : times are ns since it; those of passes since the request's begin.  captures : in the order of the page.
    """
    divided = a.divided[:DRAWN]
    labels: dict[Any, int] = {}
    refused = a.assembled.situation.requests.rejected

    def label(text: str) -> int:
        return labels.setdefault(printable(text), len(labels))

    return {
        "phases": list(PHASES),
        "server": [label(d.server) for d in divided],
        "party": [label(f"{d.party}: {d.process}" if d.process else d.party) for d in divided],
        "target": [int(d.request >= 0) for d in divided],
        "request": [d.request for d in divided],
        "refused": [int(refused[d.request]) if d.request >= 0 else -1 for d in divided],
        "status": [d.status for d in divided],
        "begin": [d.begin_ns - t0 for d in divided],
        "side": [label(d.vantage or "capture") for d in divided],
        "session": [d.session for d in divided],
        "frame": [d.frame for d in divided],
        "spells": [_flat(d) for d in divided],
        "passes": [_passes(d, captures) for d in divided],
        "relays": [[label(relay) for relay in d.relays] for d in divided],
        "unmeasured": [[PHASES.index(phase) for phase in sorted(d.unmeasured)] for d in divided],
        "uncertain": [d.uncertain_ns for d in divided],
        "labels": list(labels),
        "left_out": len(a.divided) - len(divided),
    }


def _flat(d: Divided) -> list[int]:
    """Phase, relay, duration; of each spell."""
    return [value for s in d.spells for value in (PHASES.index(s.phase), s.relay, s.end_ns - s.start_ns)]


def _passes(d: Divided, captures: Sequence[str | None]) -> list[int | None]:
    """Capture, exchange, and when it began, was sent, was answered (None: never) and ended; of each pass."""
    out: list[int | None] = []
    for p in d.passes:
        times = (p.start_ns, p.sent_ns, p.answered_ns, p.end_ns)
        out += [captures.index(p.vantage), p.exchange, *(None if t is None else t - d.begin_ns for t in times)]
    return out
