"""When a provider knew that an answer was broken off, held against when the laboratory's provider gave the place back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netlens
from netlens.chains.noticed import PAUSE_NS, _Tunnel, _Writes
from netlens.chains.situation import BY_SSHUTTLE, DIRECTLY, RECORDED, Requests

S, MS = 1_000_000_000, 1_000_000


def requests(folder: Path) -> Requests:
    return netlens.analyze(folder).assembled.situation.requests


def failed_writes(folder: Path) -> np.ndarray:
    events = map(json.loads, (folder / "provider.jsonl").read_text(encoding="utf-8").splitlines())
    return np.sort([each["ns"] for each in events if each["event"] == "done" and each["how"] == "write failed"])


@pytest.mark.parametrize("name", ["zombie-direct", "zombie-excluded", "zombie-sshuttle"])
def test_a_place_is_given_back_with_the_write_that_fails(root: Path, name: str):
    found = requests(root / "captures" / name)
    broken = found.broken_off
    assert broken.sum() >= 5
    known = np.sort(found.noticed_ns[broken, RECORDED])
    assert np.abs(known - failed_writes(root / "captures" / name)).max() < 20 * MS
    assert (known > found.end_ns[broken]).all(), "not with the reset"
    assert (found.noticed_ns[~broken, RECORDED] == found.end_ns[~broken]).all()


def test_without_a_tunnel_two_writes_are_enough(root: Path):
    """The stand-in ends with a FIN behind a piece, and pieces come every 0.2 s."""
    for name in ("zombie-direct", "zombie-sshuttle"):
        found = requests(root / "captures" / name)
        tails = found.end_ns - found.done_ns > 20 * MS
        late = (found.noticed_ns[tails, DIRECTLY] - found.done_ns[tails]) / S
        assert len(late) >= 5
        assert late.min() > 0.38
        assert late.max() < 0.48
        by_sshuttle = (found.noticed_ns[tails, BY_SSHUTTLE] - found.done_ns[tails]) / S
        assert (by_sshuttle >= late).all()


def test_opencode_resets_and_nothing_else_uses_the_tunnel(root: Path):
    """Its next connection is what has sshuttle 2 end the answer before it, so the request on that finds the place taken."""
    found = requests(root / "captures" / "opencode-zombie")
    going_on = found.noticed_ns[:, RECORDED] - found.done_ns > 3.5 * S
    assert going_on.sum() >= 3
    for row in np.flatnonzero(going_on).tolist():
        following = found.start_ns[found.start_ns > found.done_ns[row]].min()
        assert found.noticed_ns[row, DIRECTLY] <= max(found.done_ns[row], found.answer_ns[row]) + S // 2
        assert following < found.noticed_ns[row, BY_SSHUTTLE] < following + S // 2


def test_the_next_write_is_seen_or_follows_at_the_pace_of_those_before():
    writes = _Writes(np.array([10, 20, 30]), 10, 0)
    assert [writes.after(at) for at in (9, 10, 25, 30, 44)] == [10, 20, 30, 40, 50]
    assert _Writes(np.array([], np.int64), PAUSE_NS, 0).after(7) == 7 + PAUSE_NS


def test_a_fin_takes_a_write_and_a_round_trip_more_than_a_reset():
    writes = _Writes(np.array([100, 110, 120]), 10, 3)
    assert writes.known(95, reset=True) == 100
    assert writes.known(95, reset=False) == 110
    assert _Writes(writes.at_ns, 10, 12).known(95, reset=False) == 120, "the reset takes longer than a pause"


def test_the_tunnel_is_used_by_others():
    tunnel = _Tunnel(np.array([5, 8, 9]), np.array([1, 1, 2]))
    assert tunnel.by_others([1], 4, 20) == 9
    assert tunnel.by_others([2], 5, 20) == 8
    assert tunnel.by_others([1], 9, 20) == 20
