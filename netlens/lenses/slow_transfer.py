"""Which downloads were slow?

Asks: how fast the bodies of HTTP answers in the clear came; whether a transfer went one block at a time, so that each cost a round trip.
Applies: to answers of 100 kB and more; to connections of any protocol, encrypted or not, whose blocks are of one size.
Cannot see: whether the sender had more to send: a stream is as slow as what it shows. So this is never more than a warning; the cause, where one is known, is
    another finding (packet-loss, zero-window, stalled). But for who asks for a block when it has the one before, answered at once: the line is idle for a round
    trip each time, and faster with more requests under way. With a server of files that is a problem; elsewhere each block may be wanted by itself, as a viewer
    that asks for a picture when it has drawn the one before.
Normal: no standard says. 64 kB/s is a modem of the year 2000; what is slower is felt.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netlens.chains.divided import STALL
from netlens.lenses import Finding
from netlens.lenses._repeats import with_repeats
from netlens.lenses._requests import LARGE_BYTES, Asked, asked, budget_of
from netlens.lenses._view import S, Segments, View, finding, most, seconds
from netlens.text import plural, size

ID = "slow-transfer"
GROUP = "time"
RANK = 54
RATE = 64_000  #: per second
LEAST_NS = S
LONG_NS = 5 * S  #: of a transfer in blocks
FAR_MS = 20  #: of a round trip; in a shorter one nobody waits for a block
SERIAL_BYTES, LARGEST_BLOCK = 1_000_000, 1 << 18
#: Of servers of files and disks: SSH (SFTP), SMB, AFP, NFS, iSCSI, NBD. Of other protocols a block may be a picture, or a page, that is wanted by itself.
FILES, SSH = (22, 139, 445, 548, 2049, 3260, 10809), int.from_bytes(b"SSH-", "big")
SHORT = 512  #: bytes at most of a request for a block, or of the word that it is there
MOST_TRIPS, IDLE = 2, 0.5  #: round trips of a pause (more is the server's time, or the client's), and its share of all the time
PAUSES = 3  #: of a second and more, from which on they are told
TOLD_SHARE = 0.1  #: of the slowest, from which on it is told that it stood still


def look(view: View) -> list[Finding]:
    """Slow bodies, and blocks one at a time."""
    return [*_bodies(view), *_by_turns(view)]


@dataclass
class _Turn:
    """What one side says until the other does."""

    orig: bool
    first_ns: int
    last_ns: int
    frame: int
    bytes: int = 0


class _Serial(NamedTuple):
    """A transfer in blocks of ``block`` bytes, one at a time."""

    session: int
    blocks: int
    block: int
    bytes: int
    lasted_ns: int
    idle_ns: int
    frames: list[int]


def _by_turns(view: View) -> list[Finding]:
    s, lossy = view.sessions, view.once(with_repeats)
    took, rtt = s["end_ns"] - s["start_ns"], s["handshake_ms"]
    most_bytes = np.maximum(s["orig_bytes"], s["resp_bytes"])
    # a block in a round trip is no more than this
    chosen = (took >= LONG_NS) & (rtt >= FAR_MS) & (most_bytes >= SERIAL_BYTES) & (most_bytes * rtt <= LARGEST_BLOCK * took / 1e6)
    missing = view.missing_bytes
    found = [
        one
        for k in view.in_one
        if chosen[k] and k not in lossy and not missing[k] and (one := _serial(view, k, int(rtt[k] * 1e6))) is not None
    ]
    if not found:
        return []
    files = [each for each in found if view.ends(each.session)[3] in FILES or view.first_replies[each.session] >> 32 == SSH]
    found = files or found
    slowest = max(found, key=lambda each: each.idle_ns)
    idle = slowest.idle_ns / slowest.lasted_ns
    text = (
        f"{plural(len(found), 'transfer')} with {most(view.server(each.session) for each in found)} went one block at a time: {slowest.blocks:,} of "
        f"{size(slowest.block)}, each a round trip ({rtt[slowest.session]:.0f} ms) behind the one before, {size(slowest.bytes)} in "
        f"{seconds(slowest.lasted_ns)}; the line was idle for {idle:.0%} of that"
        f"{'' if files else '; that costs time unless each is wanted by itself (a picture, a page)'}."
    )
    values = {
        "transfers": len(found),
        "blocks": slowest.blocks,
        "block_bytes": slowest.block,
        "bytes": slowest.bytes,
        "longest_s": slowest.lasted_ns / 1e9,
        "idle_s": slowest.idle_ns / 1e9,
    }
    advice = "Have the program ask for more at once: several requests under way (prefetch, read-ahead), larger blocks, or several files side by side."
    advice = advice if files else ""
    return [finding(view, ID, "problem" if files else "warning", text, [f for each in found for f in each.frames], values, advice)]


def _serial(view: View, k: int, trip_ns: int) -> _Serial | None:
    """The longest run of turns in which blocks of one size answer short messages (or are answered by them), with no more than round trips between."""
    turns = _turns(view.segments(k))
    best: _Serial | None = None
    for up in (True, False):
        run: list[tuple[_Turn, _Turn, int]] = []  # a short message and a block, and the pauses with them
        for before, ask, block in zip(turns, turns[1:], turns[2:], strict=False):
            if block.orig != up:
                continue
            idle = ask.first_ns - before.last_ns + block.first_ns - ask.last_ns
            fits = ask.bytes <= SHORT < block.bytes and (not run or block.bytes == run[0][1].bytes) and idle <= MOST_TRIPS * trip_ns
            if fits:
                run.append((ask, block, idle))
            if run and (not fits or block is turns[-1] or block is turns[-2]):
                one = _run(k, run)
                if one is not None and (best is None or one.bytes > best.bytes):
                    best = one
                run = []
    return best


def _run(k: int, run: list[tuple[_Turn, _Turn, int]]) -> _Serial | None:
    lasted, idle = run[-1][1].last_ns - run[0][0].first_ns, sum(pause for *_, pause in run)
    whole = sum(block.bytes for _, block, _ in run)
    if lasted < LONG_NS or whole < SERIAL_BYTES or idle < IDLE * lasted:
        return None
    return _Serial(k, len(run), run[0][1].bytes, whole, lasted, idle, [run[0][0].frame, run[0][1].frame, run[-1][0].frame])


def _turns(seg: Segments) -> list[_Turn]:
    out: list[_Turn] = []
    for i in range(len(seg)):
        if not seg.fresh[i]:
            continue
        if not out or out[-1].orig != seg.orig[i]:
            out.append(_Turn(seg.orig[i], seg.ts[i], seg.ts[i], seg.frame[i]))
        out[-1].last_ns = seg.ts[i]
        out[-1].bytes += seg.fresh[i]
    return out


def _bodies(view: View) -> list[Finding]:
    large = [a for a in view.once(asked).remarkable if a.http and a.down_bytes >= LARGE_BYTES and a.took_ns > 0]
    slow = [a for a in large if a.took_ns >= LEAST_NS and a.down_bytes * S < RATE * a.took_ns]
    if not slow:
        return []
    slowest = min(slow, key=lambda a: a.down_bytes * S / a.took_ns)
    rate = slowest.down_bytes * S / slowest.took_ns
    budget = budget_of(view, slowest)
    stood = budget.ns(STALL) if budget is not None else 0
    share = f"; the slowest stood still for {seconds(stood)} of {seconds(slowest.took_ns)}" if stood >= TOLD_SHARE * slowest.took_ns else ""
    pause = 0 if share else _pause(view, slowest)
    if 2 * pause >= slowest.took_ns:
        share = f"; in the slowest no new data came for {seconds(pause)} of {seconds(slowest.took_ns)}"
    pauses = [] if share else _own_pauses(view, slowest)
    if len(pauses) >= PAUSES and 2 * sum(pauses) >= slowest.took_ns:
        share = (
            f"; in the slowest the server sent nothing for {seconds(sum(pauses))} of {seconds(slowest.took_ns)} ({len(pauses)} pauses of up to "
            f"{seconds(max(pauses))}), though all was acknowledged and the window open"
        )
    text = f"{len(slow):,} of {plural(len(large), 'download')} came slowly, at {size(rate)} a second: {most(view.server(a.session) for a in slow)}{share}."
    values = {"downloads": len(large), "slow": len(slow), "slowest_bytes_per_s": rate, "stalled_s": stood / 1e9, "paused_s": pause / 1e9}
    return [finding(view, ID, "warning", text, [f for a in slow for f in a.frames], values)]


def _pause(view: View, a: Asked) -> int:
    """The longest time within an answer in which no new data came, in ns."""
    seg = view.segments(a.session)
    times = [seg.ts[i] for i in range(len(seg)) if not seg.orig[i] and seg.fresh[i] and a.frames[1] <= seg.frame[i] <= a.frames[-1]]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0)


def _own_pauses(view: View, a: Asked) -> list[int]:
    """How long each pause of a second and more lasted within an answer that began when its client had acknowledged all and had room for more, in ns: the
    sender had nothing to send."""
    seg = view.segments(a.session)
    pauses: list[int] = []
    last, upto, acked, window = -1, 0, 0, 0
    for i in range(len(seg)):
        if seg.orig[i]:
            if last < 0 or seg.ts[i] - last < S:
                acked, window = max(acked, seg.acked[i]), seg.window[i]
        elif seg.length[i] and seg.fresh[i]:
            if a.frames[1] < seg.frame[i] <= a.frames[-1] and last >= 0 and seg.ts[i] - last >= S and acked >= upto and window:
                pauses.append(seg.ts[i] - last)
            last, upto = seg.ts[i], max(upto, seg.end(i))
    return pauses
