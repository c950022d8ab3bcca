"""The TCP state machine as an SVG, drawn from its rules. Only where the states lie on the page is said here."""

from __future__ import annotations

import math
from html import escape

WIDTH, HEIGHT = 1180, 730
BOX = 36  #: height of a state
#: Middle of each state.
PLACES = {
    "INACTIVE": (90, 360),
    "SYN_SENT": (320, 180),
    "SYN_ACK_SENT": (450, 275),
    "PARTIAL": (330, 560),
    "ESTABLISHED": (640, 370),
    "CLOSED": (920, 180),
    "RESET": (920, 590),
    "CLOSED_RESET": (1070, 360),
}
#: How far an edge is bent to its left, and where along it its label is (0.5: in the middle).
BENDS = {
    ("INACTIVE", "ESTABLISHED"): (0, 0.68),
    ("INACTIVE", "CLOSED"): (400, 0.6),
    ("INACTIVE", "RESET"): (-400, 0.6),
    ("PARTIAL", "SYN_SENT"): (0, 0.25),
    ("SYN_SENT", "CLOSED"): (40, 0.5),
    ("SYN_ACK_SENT", "CLOSED"): (20, 0.5),
    ("SYN_SENT", "RESET"): (190, 0.8),
    ("SYN_ACK_SENT", "RESET"): (-150, 0.62),
    ("PARTIAL", "CLOSED"): (-120, 0.3),
    ("SYN_SENT", "ESTABLISHED"): (110, 0.74),
    ("SYN_ACK_SENT", "ESTABLISHED"): (-10, 0.4),
    ("CLOSED", "CLOSED_RESET"): (40, 0.5),
    ("CLOSED_RESET", "CLOSED"): (40, 0.5),
}
TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L10 5L0 10z" style="fill:#595959;stroke:none"/></marker>'
)
STYLE = """
  text { font: 12.5px 'DejaVu Sans', Verdana, sans-serif; fill: #1a1a1a; text-anchor: middle; dominant-baseline: middle; }
  .state { font-weight: bold; font-size: 13px; }
  .label { paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round; }
  rect.box { fill: #eaf2f8; stroke: #0072b2; stroke-width: 1.5; }
  path { fill: none; stroke: #595959; stroke-width: 1.3; }
"""


def edges() -> dict[tuple[str, str], list[str]]:
    """(from, to) -> what moves a state there."""
    from netlens.parsers.tcp_states import RULES

    found: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        event = ", ".join(rule.event)
        for own in rule.own if rule.to else ():
            if own != rule.to:
                told = event if rule.sender == "any" else f"{event} ({rule.sender})"
                found.setdefault((own, rule.to or own), []).append(told)
        for peer in rule.peer if rule.peer_to else ():
            if peer != rule.peer_to:
                found.setdefault((peer, rule.peer_to or peer), []).append(f"peer's {event}")
    return {pair: list(dict.fromkeys(told)) for pair, told in found.items()}


def draw() -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">\n',
        "<title>States of one end of a TCP session, and the segments that move it</title>\n",
        f"<style>{STYLE}</style>\n",
        f"<defs>{TIP}</defs>\n",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>\n',
    ]
    labels = []
    for (start, end), told in edges().items():
        curve, x, y = _curve(start, end)
        parts.append(f'<path d="{curve}" marker-end="url(#tip)"/>\n')
        top = y - 7.5 * (len(told) - 1)
        labels += [f'<text class="label" x="{x:.0f}" y="{top + 15 * k:.0f}">{escape(line)}</text>\n' for k, line in enumerate(told)]
    for name, (x, y) in PLACES.items():
        half = _half(name)
        parts.append(f'<rect class="box" x="{x - half:.0f}" y="{y - BOX / 2:.0f}" width="{2 * half:.0f}" height="{BOX}" rx="8"/>\n')
        parts.append(f'<text class="state" x="{x}" y="{y + 1}">{name}</text>\n')
    return "".join([*parts, *labels, "</svg>\n"])


def _half(name: str) -> float:
    return 4.6 * len(name) + 14


def _curve(start: str, end: str) -> tuple[str, float, float]:
    """A quadratic curve from border to border, and where its label goes."""
    (x0, y0), (x1, y1) = PLACES[start], PLACES[end]
    bend, along = BENDS.get((start, end), (0, 0.5))
    length = math.hypot(x1 - x0, y1 - y0)
    cx = (x0 + x1) / 2 + bend * (y1 - y0) / length
    cy = (y0 + y1) / 2 - bend * (x1 - x0) / length
    x0, y0 = _border(start, cx, cy)
    x1, y1 = _border(end, cx, cy)
    t = along
    x, y = ((1 - t) ** 2 * a + 2 * t * (1 - t) * c + t**2 * b for a, c, b in ((x0, cx, x1), (y0, cy, y1)))
    return f"M{x0:.0f} {y0:.0f}Q{cx:.0f} {cy:.0f} {x1:.0f} {y1:.0f}", x, y


def _border(name: str, x: float, y: float) -> tuple[float, float]:
    """Where the line from a state's middle to a point leaves its box."""
    cx, cy = PLACES[name]
    dx, dy = x - cx, y - cy
    scale = min((_half(name) + 2) / abs(dx) if dx else math.inf, (BOX / 2 + 2) / abs(dy) if dy else math.inf)
    return cx + dx * scale, cy + dy * scale
