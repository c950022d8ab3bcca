"""Ends that no longer hear or understand each other: window probes that nothing answers, and acknowledgments of what was never sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import MS, Packet, S, close, exchange, found, healthy, ping, problems, talk


def shut(answered: int, unanswered: int, reset: str = "", keepalives: bool = False) -> list[Packet]:
    """The client shuts its window; the server probes it, and hears an answer to the first of these probes. ``keepalives``: the window is open."""
    made = exchange(talk())
    made.down("PA", 1000)
    made.up("A", window=1000 if keepalives else 0)
    for k in range(answered + unanswered):
        made.at += S
        made.down("A", seq=made.back - 1)
        if k < answered:
            made.up("A", window=0)
    if reset == "server":
        made.down("RA")
    elif reset == "client":
        made.up("RA")
    return made.packets


@pytest.mark.parametrize("reset", ["", "server"])
@pytest.mark.parametrize("answered", [0, 3])
def test_probes_that_nothing_answers(tmp_path: Path, answered: int, reset: str) -> None:
    this = found(tmp_path, shut(answered, 5, reset))
    assert problems(this) == {"zero-window-stuck"}
    assert this["zero-window-stuck"].text == (
        "1 connection hung: 192.0.2.10 shut its window, and nothing was heard of it any more (5 window probes without an answer over 4.0 s)."
    )
    assert "stack trace" not in this["zero-window-stuck"].advice


@pytest.mark.parametrize(("answered", "unanswered", "reset"), [(5, 0, ""), (5, 2, ""), (0, 5, "client")])
def test_probes_that_are_answered(tmp_path: Path, answered: int, unanswered: int, reset: str) -> None:
    this = found(tmp_path, shut(answered, unanswered, reset))
    assert "stopped reading" in this["zero-window-stuck"].text
    assert problems(this) <= {"zero-window-stuck", "reset"}


def test_keepalives_that_nothing_answers(tmp_path: Path) -> None:
    this = found(tmp_path, shut(0, 5, keepalives=True))
    assert problems(this) == {"stalled"}
    assert "stopped answering keep-alives" in this["stalled"].text


def storm(answers: int, ahead: int, step: int = MS, progress: int = 0, agreed: bool = True) -> list[Packet]:
    """Both ends acknowledge in turn; the server acknowledges what lies ``ahead`` of what the client sent. ``progress``: of the server's own stream.
    ``agreed``: it acknowledged a request before."""
    made = exchange(talk(step=step)) if agreed else talk(step=step)
    for k in range(answers):
        made.down("A", ack=made.seq + ahead)
        made.up("A", ack=made.back + k * progress)
    return made.packets


@pytest.mark.parametrize("step", [MS, 500 * MS])
def test_ends_that_answer_each_other_without_end(tmp_path: Path, step: int) -> None:
    this = found(tmp_path, storm(40, ahead=17, step=step), ping(60 * S))
    assert problems(this) == {"ack-storm"}
    assert "the other side acknowledges what 192.0.2.10 never sent" in this["ack-storm"].text
    assert "capture-loss" not in this


@pytest.mark.parametrize(
    "packets",
    [
        storm(40, ahead=0),  # window updates, or the like
        storm(40, ahead=1),  # keep-alives and their answers
        storm(40, ahead=-1000),  # data that was lost
        storm(40, ahead=17, progress=1448),  # data that a filter left out
        storm(5, ahead=17),
        storm(40, ahead=17, agreed=False),  # a SYN proxy numbers otherwise
        healthy(),
    ],
)
def test_acknowledgments_that_are_no_storm(tmp_path: Path, packets: list[Packet]) -> None:
    assert "ack-storm" not in found(tmp_path, packets, ping(60 * S))


def test_an_end_that_says_again_what_it_said_long_ago(tmp_path: Path) -> None:
    made = exchange(talk())
    before, heard = made.back, made.seq
    made.up("PA", 500)
    made.down("PA", 500)
    for _ in range(40):
        made.up("A")
        made.down("A", seq=before, ack=heard)
    assert "ack-storm" not in found(tmp_path, made.packets)


def test_data_of_both_sides_that_was_not_recorded(tmp_path: Path) -> None:
    made = exchange(talk())
    for _ in range(40):
        made.seq += 1000
        made.down("A")
        made.back += 1000
        made.up("A")
    assert "ack-storm" not in found(tmp_path, close(made).packets)
