"""Labels from a TLS key log: status and error code tell. Exchanges find their request by session and frame, streams of HTTP/2 are requests themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.requests import STREAM, UPSTREAM
from netlens.chains.situation import ACCEPTED, REJECTED, UNLABELLED
from netlens.lenses.refused.labels import KEY_LOG, Told
from netlens.lenses.refused.labels._labels import Answers, Columns, Labels, set_labels, unlabelled
from netlens.schema import ints_of

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.parsers.decrypted import Decrypted, DecryptedRequest


ID = "key-log"
RANK = 1


def tell(traffic: Traffic) -> Iterator[Told]:
    keys = traffic.beside.keys
    if keys is None:
        return
    yield Told.of(from_decrypted(traffic.upstream.exchanges, keys), traffic.rows[:, UPSTREAM])
    streams = Told.nothing(len(traffic.rows))
    for i in np.flatnonzero(traffic.rows[:, STREAM] >= 0).tolist():
        label = refused(keys.rows[int(traffic.rows[i, STREAM])])
        streams.rejected[i], streams.source[i] = label, KEY_LOG
        streams.refusal_class[i] = logs.UNKNOWN if label == REJECTED else ""
    yield streams


def refused(row: DecryptedRequest) -> int:
    """REJECTED, ACCEPTED, or UNLABELLED (no answer, or an error that is no refusal)."""
    if row.status == 429 or row.code in logs.CLASS_OF_CODE:
        return REJECTED
    if row.status is None or row.code is not None or row.status >= 400:
        return UNLABELLED
    return ACCEPTED


def from_decrypted(exchanges: Columns, decrypted: Decrypted) -> Labels:
    """Labels of exchanges by turn-taking, or of rows that name their HTTP/2 ``stream``, from what the key log shows."""
    answers = Answers(exchanges)
    labels = unlabelled(len(answers))
    sessions = ints_of(exchanges, "session_id", -1)
    frames = ints_of(exchanges, "start_frame", 0) if "start_frame" in exchanges else np.zeros(len(answers), np.int64)
    streams = ints_of(exchanges, "stream", -1) if "stream" in exchanges else np.full(len(answers), -1, np.int64)
    by_stream = {(row.session_id, row.stream): row for row in decrypted.rows if row.http == "2"}
    turns: dict[int, list[DecryptedRequest]] = {}
    for row in decrypted.rows:
        turns.setdefault(row.session_id, []).append(row)
    order = np.lexsort((frames, sessions))
    for at, i in enumerate(order.tolist()):
        session = int(sessions[i])
        if session not in turns:
            continue
        if streams[i] >= 0:
            own = [by_stream[session, int(streams[i])]] if (session, int(streams[i])) in by_stream else []
        elif any(row.http == "2" for row in turns[session]):
            continue  # turns are no requests
        else:
            after = order[at + 1] if at + 1 < len(order) and sessions[order[at + 1]] == session else -1
            stop = frames[after] if after >= 0 else np.iinfo(np.int64).max
            own = [row for row in turns[session] if frames[i] <= row.frame < stop]
        told = {refused(row) for row in own}
        if len(told) == 1 and (label := told.pop()) != UNLABELLED:
            codes = [logs.CLASS_OF_CODE[row.code] for row in own if row.code in logs.CLASS_OF_CODE]
            set_labels(labels, i, label, KEY_LOG, codes[0] if codes else logs.UNKNOWN)
    return replace(labels, note=decrypted.note or "")
