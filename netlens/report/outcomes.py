"""Exchanges as the analysis knows them: with the refusals that error logs, key logs and the traffic told.

The parsers' table leaves ``rejected`` empty; only the analysis, which has the logs, can fill it. Requests of HTTP/2 are streams and in no table of exchanges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netlens.schema import Table

if TYPE_CHECKING:
    from netlens.analysis import Analysis


def with_outcomes(a: Analysis, side: str | None) -> Table:
    """The exchanges of a side's capture with ``rejected`` set for every request to the target whose outcome is known."""
    r = a.assembled.situation.requests
    exchanges = a.assembled.sides[side].capture.table("exchanges")
    turns = r.stream < 0
    frames = (r.vm_frame if (side or a.assembled.upstream.name) == "vm" else r.host_frame)[turns]
    told = {int(f): bool(v) for f, v in zip(frames.tolist(), r.rejected[turns].tolist(), strict=True) if f and v >= 0}
    rejected = np.empty(exchanges.rows, object)
    rejected[:] = [told.get(int(f), old) for f, old in zip(exchanges["start_frame"].tolist(), exchanges["rejected"].tolist(), strict=True)]
    return Table(exchanges.schema, {**exchanges.columns, "rejected": rejected})
