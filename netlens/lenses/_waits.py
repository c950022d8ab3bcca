"""When a connection stood still: data that was lost and sent again was waited for, or a receiver's window was shut."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from netlens.lenses._repeats import deliveries
from netlens.lenses._windows import shut_windows

if TYPE_CHECKING:
    from netlens.lenses._view import View


def waits(view: View) -> dict[int, list[tuple[int, int]]]:
    """By session, from when until when, in the capture's own time; they may overlap."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for delivery in view.once(deliveries):
        found[delivery.session] += [(r.start_ns, r.end_ns) for r in delivery.repeats if r.wait_ns]
    for shut in view.once(shut_windows):
        found[shut.session].append((shut.start_ns, shut.end_ns))
    return dict(found)
