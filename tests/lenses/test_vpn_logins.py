"""Logins of IKEv2 and OpenVPN, made here, which say of themselves no more than how long they are."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, S, found, healthy
from tests.lenses.test_one_way import ESP, carried
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

INIT, AUTH, CHILD, INFORMATIONAL = 34, 35, 36, 37
REFUSED, LET_IN = 80, 240


def ike(at: int, number: int, exchange: int, length: int, message: int = 0, back: bool = False, port: int = 500) -> Packet:
    head = struct.pack(">QQBBBBII", number, 9, 46, 0x20, exchange, 0x20 if back else 0x08, message, length)
    ends = [(SERVER, port), (CLIENT, port)] if back else [(CLIENT, port), (SERVER, port)]
    return Packet(at, datagram(*ends, bytes(4 if port == 4500 else 0) + head + bytes(length - 28)))


def login(at: int, number: int, *answers: int) -> list[Packet]:
    """IKE_SA_INIT, and as many rounds of IKE_AUTH as there are answers of these lengths."""
    out = [ike(at, number, INIT, 460), ike(at + MS, number, INIT, 460, back=True)]
    for k, length in enumerate(answers):
        when = at + 2 * MS * (k + 1)
        out += [ike(when, number, AUTH, 270, k + 1, port=4500), ike(when + MS, number, AUTH, length, k + 1, back=True, port=4500)]
    return out


def test_logins_of_ike_that_are_refused(tmp_path: Path) -> None:
    this = found(tmp_path, login(0, 1, REFUSED), login(5 * S, 2, REFUSED), healthy())["vpn-logins"]
    assert this.severity == "problem"
    assert this.text == (
        f"IKEv2: 2 of 2 logins of {CLIENT} at {SERVER} failed: IKE_AUTH is answered by so few bytes (80) that it can only be a refusal, and all begins anew "
        "(5.0 s, no ESP)."
    )
    assert found(tmp_path, login(0, 1, LET_IN, REFUSED), login(5 * S, 2, LET_IN, REFUSED))["vpn-logins"].severity == "problem"  # by EAP
    assert found(tmp_path, login(0, 1, REFUSED), healthy(at=60 * S))["vpn-logins"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*login(0, 1, LET_IN), *login(5 * S, 2, LET_IN)], id="logs in again"),
        pytest.param([*login(0, 1, LET_IN, REFUSED, REFUSED, LET_IN), *login(9 * S, 2, LET_IN)], id="rounds of EAP"),
        pytest.param([*login(0, 1, REFUSED), *login(5 * S, 2, LET_IN)], id="another key, which is right"),
        pytest.param(
            [*login(0, 1, REFUSED), *login(5 * S, 2, REFUSED), *carried(ESP, 6 * S), *carried(ESP, 6 * S + MS, back=True)], id="ESP"
        ),
        pytest.param(
            [*login(0, 1, LET_IN), ike(5 * S, 1, CHILD, 200, 2), ike(5 * S + MS, 1, INFORMATIONAL, 76, 2, back=True)], id="keys are changed"
        ),
        pytest.param([ike(k * S, k, INIT, 460) for k in range(4)], id="not answered, which is told elsewhere"),
        pytest.param([ike(0, 1, AUTH, REFUSED, 1, back=True), ike(S, 1, INFORMATIONAL, 76, 2)], id="begun before the capture"),
        pytest.param(login(0, 1, REFUSED), id="the end of the capture"),
    ],
)
def test_logins_of_ike_that_get_in_or_may(tmp_path: Path, packets: list[Packet]) -> None:
    assert "vpn-logins" not in found(tmp_path, packets)


RESET, RESET_BACK, CONTROL, DATA, SOFT = 0x38, 0x40, 0x20, 0x48, 0x18


def openvpn(at: int, session: int, kind: int, back: bool = False, port: int = 40_000, server: int = 1194) -> Packet:
    ends = [(SERVER, server), (CLIENT, port)] if back else [(CLIENT, port), (SERVER, server)]
    return Packet(at, datagram(*ends, bytes([kind]) + session.to_bytes(8, "big") + bytes(60)))


def begins(at: int, session: int, port: int = 40_000, server: int = 1194) -> list[Packet]:
    kinds = [(RESET, False), (RESET_BACK, True), (CONTROL, False), (CONTROL, True), (CONTROL, False)]
    return [openvpn(at + k * MS, session, kind, back, port, server) for k, (kind, back) in enumerate(kinds)]


@pytest.mark.parametrize("port", [1194, 5000])
def test_a_handshake_of_openvpn_that_never_ends(tmp_path: Path, port: int) -> None:
    this = found(tmp_path, [p for k in range(3) for p in begins(15 * k * S, k + 1, server=port)], healthy())["vpn-logins"]
    assert this.severity == "problem"
    assert this.text == (
        f"OpenVPN: {CLIENT} begins anew with {SERVER}:{port} again and again: the TLS handshake of 3 sessions over 30.0 s never ended, and no data followed."
    )
    each = [p for k in range(3) for p in begins(15 * k * S, k + 1, port=40_000 + k)]  # from another port each time
    assert found(tmp_path, each, healthy())["vpn-logins"].severity == "problem"


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*begins(0, 1), openvpn(S, 1, DATA), *begins(60 * S, 2), *begins(90 * S, 3), *begins(120 * S, 4)], id="had data"),
        pytest.param([p for k in range(3) for p in (*begins(60 * k * S, k + 1), openvpn(60 * k * S + S, k, DATA, True))], id="comes up each time"),
        pytest.param([*begins(0, 1), *begins(15 * S, 2)], id="twice"),
        pytest.param([p for k in range(3) for p in begins(15 * k * S, 7)], id="one session, sent again"),
        pytest.param([openvpn(15 * k * S, k + 1, RESET) for k in range(4)], id="not answered, which is told elsewhere"),
        pytest.param([*begins(0, 1), *[openvpn(k * S, 1, SOFT) for k in range(1, 40)]], id="keys are changed"),
    ],
)  # fmt: skip
def test_openvpn_that_comes_up_or_may(tmp_path: Path, packets: list[Packet]) -> None:
    assert "vpn-logins" not in found(tmp_path, packets, healthy())
