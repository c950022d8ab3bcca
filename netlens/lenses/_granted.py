"""Which errors of HTTP a client took as an answer: what was looked for and then made, what was asked for until it was ready, and nodes that say they are out.

Limits: only of requests in clear, by GET, HEAD, POST and PUT, whose first line is in one segment.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from netlens.lenses._view import S, View, grouped

LEAST = 3  #: requests that are a rhythm
EVEN = 1.5  #: times the shortest pause that the longest of a rhythm may last
PAUSE_NS = S  #: between polls for something that is not ready; RFC 8628 3.5 has 5 s where the server names none
AWAY = 503  #: what a node answers to who asks whether it can be used (RFC 9110 15.6.4)

Row = dict[str, Any]  #: an answer, as :func:`netlens.lenses.http_errors.final_answers` has it


def granted_later(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests with an error of 4xx that the same client was granted later, and never refused again: a 404 of what it then made, or what came to
    be (RFC 9110 9.3.3, 9.3.4); any other of a request that it sent again in an even rhythm (RFC 8628 3.3: authorization_pending)."""
    found: set[int] = set()
    for group in _of_places(view, answers, view.side.capture.asked).values():
        granted = next((k for k, r in enumerate(group) if r["status"] < 300), 0)
        before, after = group[:granted], group[granted:]
        if not before or any(r["status"] >= 400 for r in after) or any(not 400 <= r["status"] < 500 for r in before):
            continue
        alike = {(r["status"], r["up_bytes"]) for r in before}
        polled = len(after) == 1 and len(alike) == 1 and group[granted]["up_bytes"] == before[0]["up_bytes"] and _is_even(group, PAUSE_NS)
        if polled or all(r["status"] == 404 for r in before):
            found |= {r["start_frame"] for r in before}
    return found


def of_checks(view: View, answers: list[Row]) -> set[int]:
    """Frames of requests by which a client asks several servers in an even rhythm for one path, as a load balancer does, and to which some say 503 while others
    are well: who asks takes them out, and nobody waits for them."""
    found: set[int] = set()
    for group in _of_places(view, answers, view.side.capture.asked_paths).values():
        servers = grouped(group, lambda r: view.ends(r["session_id"])[2:])
        checked = [each for each in servers.values() if len(each) >= LEAST and _is_even(each, 0)]
        well = [each for each in checked if all(r["status"] < 400 for r in each)]
        if len(checked) == len(servers) and well:
            found |= {r["start_frame"] for each in checked for r in each if r["status"] == AWAY}
    return found


def _of_places(view: View, answers: list[Row], places: dict[int, int]) -> dict[tuple[str, int], list[Row]]:
    """Answers by client and place, in order."""
    known = (r for r in answers if r["start_frame"] in places)
    return grouped(known, lambda r: (view.ends(r["session_id"])[0], places[r["start_frame"]]))


def _is_even(group: list[Row], pause_ns: int) -> bool:
    """Whether requests follow each other in an even rhythm, at least so long apart."""
    pauses = [b["start_ns"] - a["start_ns"] for a, b in pairwise(group)]
    return len(group) >= LEAST and min(pauses) >= pause_ns and max(pauses) <= EVEN * min(pauses)
