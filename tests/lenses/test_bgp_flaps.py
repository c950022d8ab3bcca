"""Routes of BGP that come and go, made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.lenses.bgp_flaps import updates
from tests.lenses.made import SERVER, Packet, S, found, ping, talk

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = b"\x40\x01\x01\0"
BRANCH, OTHER = b"\x10\x0a\x02", b"\x18\xc0\x00\x02"  # 10.2.0.0/16, 192.0.2.0/24
SIX = b"\x20\x20\x01\x0d\xb8"  # 2001:db8::/32


def message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + bytes([kind]) + body


def update(gone: bytes = b"", there: bytes = b"", attributes: bytes | None = None) -> bytes:
    told = (ORIGIN if there else b"") if attributes is None else attributes
    return message(2, len(gone).to_bytes(2, "big") + gone + len(told).to_bytes(2, "big") + told + there)


def attribute(kind: int, value: bytes) -> bytes:
    return b"\x80" + bytes([kind, len(value)]) + value


OPEN = message(1, b"\x04\xfd\xe9\0\xb4\xc0\0\x02\x0a\0")


def session(*said: bytes, every: int = S, begun: bool = True) -> list[Packet]:
    made = talk(server=(SERVER, 179))
    for each in (*([OPEN] if begun else []), *said):
        made.up("PA", each)
        made.down("A")
        made.at += every
    return made.packets


def flapping(times: int, prefix: bytes = BRANCH, behind: bytes = b"") -> list[bytes]:
    return [each for _ in range(times) for each in (update(there=behind + prefix), update(gone=behind + prefix) + message(4))]


def test_a_route_that_comes_and_goes(tmp_path: Path) -> None:
    this = found(tmp_path, session(*flapping(7), update(there=BRANCH)), ping(60 * S))
    assert this["bgp-flaps"].severity == "problem"
    assert this["bgp-flaps"].text == (
        "BGP: 10.2.0.0/16 came and went: 192.0.2.10 withdrew it 7 times over 12.0 s, and announced it again each time (flapping), to 198.51.100.20."
    )


def test_a_route_of_ipv6_that_comes_and_goes(tmp_path: Path) -> None:
    there = update(attributes=attribute(14, b"\0\x02\x01\x10" + bytes(17) + SIX))
    gone = update(attributes=attribute(15, b"\0\x02\x01" + SIX))
    assert "2001:db8::/32 came and went" in found(tmp_path, session(*[there, gone] * 7, there), ping(60 * S))["bgp-flaps"].text


def two(first: bytes, second: bytes, times: int = 7) -> list[Packet]:
    """Messages of one session, the second one 10 ms behind the first."""
    made = talk(server=(SERVER, 179))
    for each in (OPEN, update(there=BRANCH), *[first, second] * times):
        made.at += 2 * S if each == first else 10_000_000
        made.up("PA", each)
        made.down("A")
    return made.packets


HOST = b"\x20\x0a\x02\0\x01"  # 10.2.0.1/32


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(session(*flapping(7), update(there=BRANCH), begun=False), id="from the middle on"),
        pytest.param(session(*flapping(7, HOST), update(there=HOST)), id="of a host"),
    ],
)
def test_routes_that_may_well_come_and_go(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, ping(60 * S))["bgp-flaps"].severity == "warning"


def test_one_of_many_that_flaps(tmp_path: Path) -> None:
    many = [update(there=b"\x18\x0a\x03" + bytes([k])) for k in range(20)]
    assert found(tmp_path, session(*many, *flapping(7), update(there=BRANCH)), ping(90 * S))["bgp-flaps"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(session(*[update(there=BRANCH)] * 20), id="other attributes"),
        pytest.param(session(*flapping(4), update(there=BRANCH)), id="a few times"),
        pytest.param(session(*flapping(7), update(there=BRANCH), every=300 * S), id="seldom"),
        pytest.param(session(*[each for k in range(9) for each in flapping(1, b"\x18\x0a\x02" + bytes([k]))]), id="each once"),
        pytest.param(session(*[message(4)] * 40), id="keepalives"),
        pytest.param(session(*flapping(7, behind=bytes(3) + b"\x01"), update(there=BRANCH)), id="with numbers of paths"),
        pytest.param(session(*[update(gone=BRANCH, there=BRANCH)] * 9), id="withdrawn and announced by one message"),
        pytest.param(two(update(gone=BRANCH), update(there=BRANCH)), id="withdrawn and announced by two"),
        pytest.param(
            session(*flapping(7, behind=b"\x0a\x09\0\x04"), update(there=b"\x0a\x09\0\x04" + BRANCH)), id="with numbers like routers"
        ),
        pytest.param(
            session(*[update(there=HOST, attributes=attribute(8, b"\xff\xff\x02\x9a")), update(gone=HOST)] * 9), id="dropped by hand"
        ),
        pytest.param(session(*[each[:25] for each in flapping(7)]), id="cut"),
    ],
)
def test_routes_that_are_well(tmp_path: Path, packets: list[Packet]) -> None:
    assert "bgp-flaps" not in found(tmp_path, packets, ping(6000 * S))


def test_messages_that_are_no_updates() -> None:
    whole = update(gone=BRANCH, there=OTHER)
    for damaged in (whole[:k] + bytes([value]) + whole[k + 1 :] for k in range(16, len(whole)) for value in (0, 1, 0xFF)):
        assert len(list(updates(damaged))) <= len(damaged)
    assert list(updates(b"x" + whole)) == [("10.2.0.0/16", False, True), ("192.0.2.0/24", True, True)]
