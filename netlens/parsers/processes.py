"""Whose process each connection is, where the capture itself tells (PKTAP, pcapng: :mod:`netlens.wire.processes`)."""

from collections.abc import Iterable

import numpy as np

from netlens.columns import Objects
from netlens.schema import Table
from netlens.wire import processes
from netlens.wire.framing import Input

LOOKED_AT = ("first_frame", "last_frame")  #: of each session; of one that was handed on, the process that had it first is told


def owners(connections: Table, sessions: Table, inputs: Iterable[Input]) -> Objects:
    """Per connection the name of its process; None where no frame of it names one."""
    inputs = list(inputs)
    out = np.full(connections.rows, None, object)
    if not any(given.container == "pcapng" or set(given.link_types) & set(processes.PKTAP) for given in inputs):
        return out
    frames = {name: sessions[name].tolist() for name in LOOKED_AT}
    ids = connections["session_ids"].tolist()
    wanted = [frames[name][k] for members in ids for k in members for name in LOOKED_AT]
    found: dict[int, str] = {}
    before = 0
    for given in inputs:
        here = {frame - before for frame in wanted if before < frame <= before + given.frames}
        of_file = processes.of_frames(given.path, given.link_types, given.container, here)
        found |= {frame + before: name for frame, name in of_file.items()}
        before += given.frames
    for row, members in enumerate(ids):
        out[row] = next((found[frames[name][k]] for name in LOOKED_AT for k in members if frames[name][k] in found), None)
    return out
