"""Quality: what the capture holds that was not read, and what it lacks; every conclusion is preceded by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.schema import Table
from netlens.tables import QUALITY
from netlens.wire import decode as d


def quality_rows(frames: int, counts: np.ndarray[Any, Any], extra: list[tuple[str, int, int | None, str]], warnings: list[str]) -> Table:
    """Table of all reasons that occurred.

    Parameters
    ----------
    counts : int64[N_REASONS, 2] from the decode kernel; extra : (reason, count, first frame, meaning); warnings : of the containers.
    """
    rows: list[tuple[str, int, int | None, str]] = [
        ("frames", frames, 1 if frames else None, "frames in the capture; the exclusive reasons add up to it")
    ]
    for (name, meaning), (count, first) in zip(d.REASONS + d.NOTES, counts.tolist(), strict=True):
        if count:
            rows.append((name, count, first, meaning))
    rows += [row for row in extra if row[1]]
    rows += [("warning", 1, None, text) for text in warnings]
    first = np.empty(len(rows), object)
    first[:] = [r[2] for r in rows]
    return Table(
        QUALITY,
        {
            "reason": np.array([r[0] for r in rows], dtype=object),
            "frames": np.array([r[1] for r in rows], dtype=np.int64),
            "first_frame": first,
            "meaning": np.array([r[3] for r in rows], dtype=object),
        },
    )
