"""What is made of connections that offer HTTP/2: those on which it was not chosen have turns, those that speak it are said to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netlens
from netlens.api import Capture
from netlens.chains.side import Side
from netlens.columns import objects
from netlens.parsers import http2
from netlens.schema import Table

HERE = Path(__file__).parents[1] / "data" / "http2" / "offered.pcap.gz"
HTTP_1 = 8413  #: port of the server that does not speak HTTP/2


def test_what_a_side_knows_of_its_connections() -> None:
    side = Side(None, Capture([HERE], trail=True))
    ports = side.sessions["resp_port"].tolist()
    assert {ports[k]: spoken for k, spoken in side.http2.items()} == {8401: True, 8403: True, 8404: True, 8407: True, HTTP_1: False}


def test_what_does_not_show_of_one_connection_shows_by_others_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Side(None, Capture([HERE], trail=True))
    sessions, ports = whole.capture.table("hellos")["session_id"].tolist(), whole.sessions["resp_port"].tolist()

    def known(*spoken: bool | None, leaning: float = 0.0) -> list[bool | None]:
        """What is made of connections of one program with one server, of which so much shows."""
        side, left = Side(None, Capture([HERE], trail=True)), iter([*spoken, *[None] * len(sessions)])
        hellos = side.capture.table("hellos")
        hellos = hellos.take(np.array([k for k, s in enumerate(sessions) if ports[s] != HTTP_1][:1] * len(spoken)))
        ids = np.arange(len(spoken))
        table = Table(hellos.schema, {**hellos.columns, "session_id": ids})
        monkeypatch.setattr(side.capture, "table", lambda name: table if name == "hellos" else None)
        monkeypatch.setattr(http2, "spoken", lambda seen: next(left))
        monkeypatch.setattr(http2, "leaning", lambda seen: leaning)
        return [side.http2[k] for k in ids.tolist()]

    assert known(False, False, False, None) == [False] * 4
    assert known(True, None, True, True) == [True] * 4
    assert known(False, False, None) == [False, False, None]
    assert known(True, True, None) == [True] * 3
    assert known(True, None) == [True, None]
    assert known(False, None, leaning=-1.0) == [False, False]
    assert known(False, True, None, leaning=-1.0) == [False, True, None]
    assert known(None, None, leaning=-1.0) == [None, None]
    assert known(False, False, False, True, None) == [False, False, False, True, None]


@pytest.mark.parametrize(
    ("offered", "shown", "spoken", "at_once", "one"),
    [
        (["h2"], None, True, False, False),
        (["h2"], False, False, False, False),  # the server ignored what was offered
        (["h2", "h2-16", "h2-14"], None, True, True, False),
        (["h2", "h2-16", "h2-14", "http/1.1"], None, None, True, False),
        (["h2", "http/1.1"], None, None, False, True),
    ],
)
def test_where_nothing_else_is_offered_it_is_spoken(
    offered: list[str], shown: bool | None, spoken: bool | None, at_once: bool, one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Side(None, Capture([HERE], trail=True))
    hellos, rows = side.capture.table("hellos").take(np.zeros(1, np.int64)), side.connection_of
    table = Table(hellos.schema, {**hellos.columns, "alpn": objects([offered])})
    monkeypatch.setattr(side.capture, "table", lambda name: table if name == "hellos" else None)
    monkeypatch.setattr(http2, "spoken", lambda seen: shown)
    (session,) = hellos["session_id"].tolist()
    assert side.http2 == {session: spoken}
    assert side.begins_at_once == ({rows[session]} if at_once else set())
    assert side.begins_one == ({rows[session]} if one else set())


def test_http_1_under_an_offer_of_http2_can_be_counted() -> None:
    whole = netlens.analyze(HERE).to_dict()
    assert any("on 6 connections of HTTP/2 were counted" in note for note in whole["quality"]["notes"])
    assert not any("was offered" in note for note in whole["quality"]["notes"])


def test_turns_of_http2_have_no_time_budget() -> None:
    servers = {group["server"].rpartition(":")[2] for group in netlens.analyze(HERE).to_dict()["budget"]["groups"]}
    assert servers == {str(HTTP_1)}


def test_a_capture_that_was_read_before_is_read_again_for_it() -> None:
    capture = netlens.read(HERE)
    assert Side(None, capture).http2 == Side(None, Capture([HERE], trail=True)).http2
