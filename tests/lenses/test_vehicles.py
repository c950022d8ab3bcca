"""Control units of vehicles that refuse what a tester asks: frames of CAN that scapy and this module make, and DoIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.can import CAN
from scapy.utils import wrpcap

import netlens
from tests.lenses.made import S, found, healthy
from tests.lenses.test_denials import over_tcp
from tests.parsers.test_denials import doip
from tests.wire import links

if TYPE_CHECKING:
    from pathlib import Path

    from netlens.lenses import Finding

TESTER, UNIT, EXTENDED = 0x641, 0x651, 0x18DA10F1
OUT_OF_RANGE, DENIED, SESSION, PENDING = 0x31, 0x33, 0x7F, 0x78


def frame(identifier: int, data: bytes) -> CAN:
    return CAN(identifier=identifier, flags="extended" if identifier > 0x7FF else 0, length=len(data), data=data)


def no(code: int, service: int = 0x27, unit: int = UNIT) -> CAN:
    return frame(unit, bytes([3, 0x7F, service, code]))


ASKS, YES, MORE = frame(TESTER, b"\x02\x27\x01"), frame(UNIT, b"\x04\x67\x01\xaa\xbb"), frame(UNIT, b"\x10\x14\x67\x01abcd")


def of(tmp_path: Path, frames: list[CAN], every: float = 0.1) -> dict[str, Finding]:
    for k, each in enumerate(frames):
        each = frames[k] = each.copy()
        each.time = 1_700_000_000 + k * every
    wrpcap(str(tmp_path / "made.pcap"), frames, linktype=links.CAN)
    return {f.id: f for f in netlens.analyze(str(tmp_path / "made.pcap")).findings}


def test_a_control_unit_that_refuses(tmp_path: Path) -> None:
    this = of(tmp_path, [*[ASKS, no(DENIED)] * 6, ASKS, YES, ASKS, MORE])["refused"]
    assert this.severity == "problem"
    assert this.text == "6 of 8 UDS answers were refusals, from CAN 0x651: no security access (0x33)."
    asks = frame(EXTENDED, b"\x02\x27\x01")
    assert "from CAN 0x18daf110" in of(tmp_path, [asks, no(DENIED, unit=0x18DAF110)])["refused"].text


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([ASKS, no(PENDING), no(PENDING), YES], id="needs time"),
        pytest.param([*[ASKS, no(OUT_OF_RANGE)] * 6], id="looks for identifiers"),
        pytest.param([ASKS, no(SESSION), ASKS, YES], id="granted in another session"),
        pytest.param([no(DENIED)] * 6, id="nobody asked"),
        pytest.param([ASKS, *[no(DENIED, service=0x28)] * 6], id="something else was asked"),
        pytest.param([frame(UNIT, b"\x02\x27\x01"), *[no(DENIED)] * 6], id="by the unit itself"),
        pytest.param([frame(0x100, bytes([k, 0x7F, 0x27, 0x33])) for k in range(16)], id="other frames"),
    ],
)
def test_control_units_that_do_as_they_should(tmp_path: Path, frames: list[CAN]) -> None:
    assert "problem" not in {f.severity for f in of(tmp_path, frames).values()}


def test_identifiers_in_the_byte_order_of_the_machine(tmp_path: Path) -> None:
    swapped = [CAN(bytes(each)[3::-1] + bytes(each)[4:]) for each in [ASKS, no(DENIED)]]
    assert "CAN 0x651" in of(tmp_path, swapped * 2)["refused"].text


def test_an_answer_that_comes_too_late_is_none(tmp_path: Path) -> None:
    assert "refused" not in of(tmp_path, [ASKS, no(DENIED)], every=6)


def test_a_gateway_that_passes_nothing_on(tmp_path: Path) -> None:
    this = found(tmp_path, over_tcp(13400, *[doip(0x8003, b"\x06")] * 3), healthy(at=60 * S))["refused"]
    assert this.severity == "problem"
    assert "not passed on: target unreachable (0x06)" in this.text


UNACKNOWLEDGED, OFF, LOST, CONTROLLER, BUS = 0x20, 0x40, 0x02, 0x04, 0x88
PASSIVE, WARNS, ACTIVE = 0x20, 0x08, 0x40


def error(kinds: int, state: int = 0) -> CAN:
    return CAN(identifier=kinds, flags="error", length=8, data=bytes([0, state, 0, 0, 0, 0, 0, 0]))


SOUND = [frame(0x123, b"abcd")] * 30


def test_a_controller_that_nobody_hears(tmp_path: Path) -> None:
    this = of(tmp_path, [*SOUND, *[error(UNACKNOWLEDGED)] * 20, error(OFF)])["bus-errors"]
    assert this.severity == "problem"
    assert this.text == (
        "CAN: 20 frames got no acknowledgment, it went off the bus 1 time (bus-off), as 21 frames of errors say within 2.0 s."
    )


@pytest.mark.parametrize(
    ("errors", "severity"),
    [
        ([error(UNACKNOWLEDGED)] * 20, "problem"),
        ([error(OFF)], "problem"),
        ([error(CONTROLLER, PASSIVE)] * 15, "problem"),
        ([error(CONTROLLER, PASSIVE), error(CONTROLLER, PASSIVE)], "warning"),  # until another unit is on
        ([error(BUS)] * 25, "warning"),
    ],
)
def test_what_is_wrong_with_a_bus(tmp_path: Path, errors: list[CAN], severity: str) -> None:
    assert of(tmp_path, [*SOUND, *errors])["bus-errors"].severity == severity


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*SOUND, *[error(LOST)] * 50], id="arbitration that is lost"),
        pytest.param([*SOUND, *[error(BUS)] * 3], id="a few errors"),
        pytest.param([error(UNACKNOWLEDGED)] * 4 + SOUND, id="alone for a moment"),
        pytest.param([*SOUND, error(CONTROLLER, WARNS), error(CONTROLLER, ACTIVE)], id="warned, and active again"),
        pytest.param([frame(0x123, bytes(8))] * 50, id="none"),
    ],
)
def test_buses_on_which_all_is_well(tmp_path: Path, frames: list[CAN]) -> None:
    assert "bus-errors" not in of(tmp_path, frames)
