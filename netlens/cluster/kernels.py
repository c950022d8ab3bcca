"""Loops over rows and bytes."""

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire import tls
from netlens.wire.compiled import kernel


@kernel
def unite(a: Array, b: Array, parent: Array) -> None:
    """Join the trees of each pair ``a[i]``, ``b[i]``; a root is the least of its tree."""
    for i in range(len(a)):
        x, y = a[i], b[i]
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        while parent[y] != y:
            parent[y] = parent[parent[y]]
            y = parent[y]
        if x < y:
            parent[y] = x
        elif y < x:
            parent[x] = y


@kernel
def flatten(parent: Array) -> None:
    """Let each point to its root. (Parents are less than their children.)"""
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]


@kernel
def carry(a: Array, b: Array, sound: Array, marks: Array) -> None:
    """Hand marks on from ``a[i]`` to ``b[i]`` where ``sound[i]``, in order."""
    for i in range(len(a)):
        if sound[i] and marks[a[i]]:
            marks[b[i]] = True


@kernel
def leading(buf: Array, packets: Array, at: Array, owner: Array, near: Array, ends: Array, segments: int, out: Array) -> None:
    """Which of rows ``at`` a search for hellos reads only if it had begun to collect one before the file.

    It reads what begins like a hello, what comes behind a hole, and ``segments`` after either.

    near, ends : int64 by owner (2 * session + direction): segments still to come of these, end of the stream so far; kept between calls.
    """
    for i in range(len(at)):
        row = packets[at[i]]
        o = owner[i]
        out[i] = False
        if row[c.FRESH] <= 0:
            continue
        begins = tls.look(buf, row[c.PAY_OFF], row[c.PAY_CAP]) != tls.NOT_HELLO  # type: ignore[no-untyped-call]
        if begins or row[c.OFFSET] > ends[o]:
            near[o] = segments + 1
        if near[o] > 0:
            near[o] -= 1
        else:
            out[i] = True
        ends[o] = max(ends[o], row[c.OFFSET] + row[c.LENGTH])
