"""Times of frames in order: the latest, and where the clock that stamped them was set back.

Frames of several interfaces come a little out of order, so only a fall of more than :data:`SET_BACK_NS` is told of. From it until the times pass
the highest one before it, what happened first cannot be told by time: that span is a row of ``spans``.

A few frames that lie ahead of all others (:data:`STRAY`: one damaged time, a batch that was written late) are no clock that was set: what comes behind
them is taken as it was before them.

Limit: a clock that is set forward shows no different from silence, and does no harm while it stays so: the order is right.
"""

import numpy as np

from netlens.columns import Array
from netlens.wire.compiled import lean
from netlens.wire.framing import F_TS

#: NTP sets a clock that is off by more than 128 ms and slews it below; interfaces that are written in turns swap frames by tenths of a second.
SET_BACK_NS = 500_000_000
STRAY = 16  #: frames that may lie ahead of those behind them
SPANS = 64  #: spans kept; what is set back more often lies in the last one

# highest time, lowest since it fell below that, frame of the fall, spans; highest time before the last leap forward, frames since
_HIGH, _LOW, _FRAME, _COUNT, _BEFORE, _AHEAD = range(6)
_TRACK_WIDTH = 6


@lean
def _end_span(track, spans):
    """Write down the fall that ends here, if it was one."""
    if track[_HIGH] - track[_LOW] <= SET_BACK_NS:
        return
    k = track[_COUNT]
    if k == len(spans):
        spans[k - 1, 1] = min(spans[k - 1, 1], track[_LOW])
        spans[k - 1, 2] = max(spans[k - 1, 2], track[_HIGH])
        return
    spans[k, 0] = track[_FRAME]
    spans[k, 1] = track[_LOW]
    spans[k, 2] = track[_HIGH]
    track[_COUNT] += 1


@lean
def _walk(frames, n, frame0, track, spans):
    """Take in the times of ``n`` frames (int64[:, FRAME_WIDTH]), the first of which is number ``frame0`` + 1; returns the earliest and the latest."""
    earliest = latest = np.int64(0)
    high, low, before, ahead = track[_HIGH], track[_LOW], track[_BEFORE], track[_AHEAD]
    for i in range(n):
        ts = frames[i, F_TS]
        if ts == 0:  # a simple packet block has no time
            continue
        if earliest == 0:
            earliest = latest = ts  # not from 0 on: times before 1970 are negative
        earliest, latest = min(earliest, ts), max(latest, ts)
        if ts >= high or high == 0:
            if low < high:
                track[_HIGH], track[_LOW] = high, low
                _end_span(track, spans)
            if ts - high > SET_BACK_NS:
                before = high
                ahead = 0
            high = ts
            low = ts
        elif ts < low:
            if high - low <= SET_BACK_NS < high - ts:
                if ahead <= STRAY and ts >= before - SET_BACK_NS:
                    high = max(before, ts)
                    low = high
                    continue
                track[_FRAME] = frame0 + i + 1
            low = ts
        ahead += 1
    track[_HIGH], track[_LOW], track[_BEFORE], track[_AHEAD] = high, low, before, ahead
    return earliest, latest


class Times:
    """Follows the times of a capture, or of a part of one."""

    def __init__(self) -> None:
        self._track = np.zeros(_TRACK_WIDTH, np.int64)
        self._spans = np.zeros((SPANS, 3), np.int64)

    def feed(self, frames: Array, n: int, frame0: int) -> tuple[int, int]:
        """Take in the first ``n`` of ``frames`` (int64[:, FRAME_WIDTH]); returns their earliest and latest time, 0 and 0 if none has one."""
        earliest, latest = _walk(frames, n, frame0, self._track, self._spans)
        return int(earliest), int(latest)

    def set_back(self) -> Array:
        """int64[k, 3]: the frame at which the clock was set back, and the lowest and highest time from which on order cannot be told by time."""
        track, spans = self._track.copy(), self._spans.copy()
        _end_span(track, spans)
        return spans[: int(track[_COUNT])]

    def may_append(self, later: "Times", earliest: int) -> bool:
        """Whether :meth:`append` makes what feeding the frames of ``later`` here would have made; ``earliest``: of their times."""
        return not len(self.set_back()) and not len(later.set_back()) and earliest >= self._track[_HIGH] - SET_BACK_NS

    def append(self, later: "Times", earliest: int) -> None:
        """Go on as if the frames that ``later`` was fed had been fed here."""
        if later._track[_HIGH] >= self._track[_HIGH]:
            self._track[:] = later._track
        else:
            self._track[_LOW] = min(self._track[_LOW], earliest)
