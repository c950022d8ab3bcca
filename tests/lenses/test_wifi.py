"""Wi-Fi: who is let in and sent away, handshakes, retries, signals; frames made by scapy, heard in monitor mode."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dot11 import (
    Dot11,
    Dot11AssoReq,
    Dot11AssoResp,
    Dot11Auth,
    Dot11Beacon,
    Dot11Deauth,
    Dot11Disas,
    Dot11Elt,
    Dot11EltRSN,
    Dot11ProbeReq,
    Dot11QoS,
    RadioTap,
)
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import LLC, SNAP
from scapy.packet import Raw
from scapy.utils import PcapWriter

import netlens

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

    from netlens.lenses import Finding

AP, STATION, OTHER, OTHER_AP, ALL = "02:00:00:00:00:02", "02:00:00:00:00:01", "02:00:00:00:00:03", "02:00:00:00:00:22", "ff:ff:ff:ff:ff:ff"
HOME = '"Home" (02:00:00:00:00:02, channel 6)'
START = 1_700_000_000
TO_DS, FROM_DS, RETRY, PROTECTED = 1, 2, 8, 0x40
Frames = list[tuple[float, "Layer"]]
_number = iter(range(1 << 30))


def found(folder: Path, frames: Frames, signal: int = -50) -> dict[str, Finding]:
    """The gravest finding of each id."""
    path = folder / "made.pcap"
    with PcapWriter(str(path), linktype=127) as out:
        for at, frame in sorted(frames, key=lambda each: each[0]):
            heard = RadioTap(present="Flags+Channel+dBm_AntSignal", Flags=0, ChannelFrequency=2437, dBm_AntSignal=signal) / frame
            heard.time = START + at
            out.write(heard)
    kept: dict[str, Finding] = {}
    for each in netlens.analyze(str(path)).findings:
        kept.setdefault(each.id, each)
    return kept


def header(to: str, sender: str, ap: str, kind: int, subtype: int, flags: int = 0, sequence: int | None = None) -> Layer:
    number = next(_number) % 4096 if sequence is None else sequence
    return Dot11(type=kind, subtype=subtype, FCfield=flags, addr1=to, addr2=sender, addr3=ap, SC=number << 4)


def managed(at: float, subtype: int, body: Layer, by_ap: bool, station: str = STATION, ap: str = AP, flags: int = 0) -> tuple[float, Layer]:
    return at, header(station if by_ap else ap, ap if by_ap else station, ap, 0, subtype, flags) / body


def beacon(at: float, name: bytes = b"Home", ap: str = AP) -> tuple[float, Layer]:
    body = Dot11Beacon(cap="ESS+privacy") / Dot11Elt(ID=0, info=name) / Dot11Elt(ID=3, info=b"\6") / Dot11EltRSN()
    return at, header(ALL, ap, ap, 0, 8) / body


def auth(at: float, status: int = 0, station: str = STATION, ap: str = AP, algorithm: int = 0, step: int = 2) -> Frames:
    return [
        managed(at, 11, Dot11Auth(algo=algorithm, seqnum=step - 1, status=0), False, station, ap),
        managed(at + 0.001, 11, Dot11Auth(algo=algorithm, seqnum=step, status=status), True, station, ap),
    ]


def associated(at: float, status: int = 0, station: str = STATION, ap: str = AP) -> Frames:
    return [
        managed(at, 0, Dot11AssoReq() / Dot11Elt(ID=0, info=b"Home"), False, station, ap),
        managed(at + 0.001, 1, Dot11AssoResp(status=status), True, station, ap),
    ]


def away(at: float, reason: int, by_ap: bool = True, station: str = STATION, ap: str = AP) -> tuple[float, Layer]:
    return managed(at, 12, Dot11Deauth(reason=reason), by_ap, station, ap)


def key(at: float, step: int, station: str = STATION, ap: str = AP) -> tuple[float, Layer]:
    """A message of the handshake."""
    info = {1: 0x008A, 2: 0x010A, 3: 0x13CA, 4: 0x030A}[step]
    body = struct.pack(">BHHQ", 2, info, 16, 1) + bytes([step != 4]) * 32 + bytes(48) + struct.pack(">H", 0 if step in (1, 4) else 22)
    by_ap = step in (1, 3)
    ends = header(station if by_ap else ap, ap if by_ap else station, ap, 2, 8, FROM_DS if by_ap else TO_DS)
    return at, ends / Dot11QoS() / LLC() / SNAP(code=0x888E) / Raw(b"\2\3" + struct.pack(">H", len(body)) + body)


def data(at: float, by_ap: bool = False, flags: int = PROTECTED, station: str = STATION, ap: str = AP) -> tuple[float, Layer]:
    ends = header(station if by_ap else ap, ap if by_ap else station, ap, 2, 8, flags | (FROM_DS if by_ap else TO_DS))
    return at, ends / Dot11QoS() / Raw(b"\1\0\0\x20\0\0\0\0" + bytes(range(100)))


def joined(at: float, station: str = STATION, ap: str = AP) -> Frames:
    keys = [key(at + 0.01 * step, step, station, ap) for step in (1, 2, 3, 4)]
    return [
        *auth(at - 0.02, station=station, ap=ap),
        *associated(at - 0.01, station=station, ap=ap),
        *keys,
        data(at + 0.1, station=station, ap=ap),
    ]


HEALTHY = [beacon(0), *joined(0.5), *[data(1 + k, by_ap=k % 2 == 0) for k in range(10)], beacon(30)]
IDS = {"wifi-refused", "wifi-dropped", "wifi-handshake", "wifi-retries", "wifi-signal", "wifi-sought", "refused", "port-access"}


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([], id="a station that joins"),
        pytest.param([away(20, 4)], id="idle"),
        pytest.param([away(20, 3, by_ap=False), *joined(21)], id="leaves, and comes back"),
        pytest.param([*associated(10, 30), *joined(11)], id="later (30)"),
        pytest.param([*auth(9, 76, algorithm=3), *auth(9.1, algorithm=3), *auth(9.2, algorithm=3), *joined(10)], id="a token first (76)"),
        pytest.param([*auth(9, 17), *auth(9.5, 17), *joined(10, ap=OTHER_AP)], id="full, so it goes elsewhere"),
        pytest.param([*associated(10, 17), *joined(11)], id="refused once"),
        pytest.param(
            [key(10, 1, OTHER), key(11, 1, OTHER), key(11.1, 2, OTHER), key(11.2, 3, OTHER), key(11.3, 4, OTHER)], id="first message twice"
        ),
        pytest.param(
            [key(10, 1, OTHER), key(10.1, 2, OTHER), key(10.2, 1, OTHER), key(10.3, 2, OTHER), data(11, station=OTHER)],
            id="late, then data",
        ),
        pytest.param([away(10, 3, station=ALL), away(10.1, 3, station=ALL), *joined(20)], id="an access point starts anew"),
        pytest.param([*joined(10), away(12, 12), *joined(13, ap=OTHER_AP)], id="steered"),
        pytest.param(
            [(k, header(ALL, OTHER, ALL, 0, 4) / Dot11ProbeReq() / Dot11Elt(ID=0, info=b"Home")) for k in range(40)], id="looks for it"
        ),
    ],
)
def test_healthy(tmp_path: Path, frames: Frames) -> None:
    assert not found(tmp_path, [*HEALTHY, *frames]).keys() & IDS


def test_refused(tmp_path: Path) -> None:
    this = found(tmp_path, [beacon(0), *associated(1, 17), *associated(20, 17), *associated(40, 17), beacon(60)])["wifi-refused"]
    assert this.severity == "problem"
    assert this.text == f"{HOME} refused association to {STATION} 3 times: too many stations (17) and was not let in later."
    assert this.values["codes"] == [17]
    assert this.advice.startswith("The access point is full")
    steered = [*associated(1, 17), *associated(2, 17), *associated(3, 17)]  # to a channel that the recorder does not hear
    assert found(tmp_path, [beacon(0), *steered, beacon(30)])["wifi-refused"].severity == "warning"
    assert found(tmp_path, [beacon(0), *steered, *auth(20, 0), beacon(30)])["wifi-refused"].severity == "problem"  # it is still here
    once = found(tmp_path, [beacon(0), *auth(1, 15, algorithm=3), beacon(30)])["wifi-refused"]
    assert once.severity == "warning"
    assert "refused authentication" in once.text


def test_a_refusal_that_is_sent_again_is_one(tmp_path: Path) -> None:
    (_, no) = associated(1, 1)[1]
    again = no.copy()
    again.FCfield = RETRY
    this = found(tmp_path, [(1.0, no), (1.001, again), (1.002, again)])["wifi-refused"]
    assert (this.severity, this.values["refusals"]) == ("warning", 1)


@pytest.mark.parametrize("reason", [15, 2, 1])
def test_a_wrong_passphrase(tmp_path: Path, reason: int) -> None:
    tries = [[*associated(t), key(t + 0.1, 1), key(t + 0.2, 2), key(t + 1.1, 1), key(t + 1.2, 2), away(t + 2, reason)] for t in (1, 5, 9)]
    this = found(tmp_path, [beacon(0), *chain(*tries), beacon(30)])
    assert this["wifi-handshake"].severity == "problem"
    assert this["wifi-handshake"].text == (
        f"{STATION} did not get into {HOME}: the access point answered 6 second messages of the handshake by the first one again: "
        "a wrong passphrase, as a rule."
    )
    assert "wifi-dropped" not in this


def test_first_messages_that_nobody_answers(tmp_path: Path) -> None:
    frames = [beacon(0), *associated(1), *[key(1.1 + k, 1) for k in range(4)], away(5.2, 15), *auth(9), beacon(30)]
    this = found(tmp_path, frames)["wifi-handshake"]
    assert this.severity == "problem"
    assert this.text.startswith(f"{STATION} did not answer 4 first messages of the handshake with {HOME} over 4.1 s")
    gone = found(tmp_path, [beacon(0), *associated(1), *[key(1.1 + k, 1) for k in range(4)], beacon(30)])["wifi-handshake"]
    assert gone.severity == "warning"


def test_a_station_that_is_thrown_out(tmp_path: Path) -> None:
    tries = [[*joined(t), away(t + 2, 34)] for t in (1, 20, 40)]
    assert found(tmp_path, [beacon(0), *chain(*[[*joined(t), away(t + 2, 34)] for t in (1, 5, 9)])])["wifi-dropped"].severity == "warning"
    this = found(tmp_path, [beacon(0), *chain(*tries), beacon(60)])["wifi-dropped"]
    assert this.severity == "problem"
    assert this.text == f"{HOME} sent {STATION} away within 10.0 s of 3 associations: poor channel conditions (34)."
    steered = [*chain(*tries), *joined(45, ap=OTHER_AP), data(60, ap=OTHER_AP)]
    assert found(tmp_path, [beacon(0), *steered])["wifi-dropped"].severity == "warning"


def test_a_reason_that_is_a_failure(tmp_path: Path) -> None:
    """Once is enough to be told, unless the station is let in later, or left for one that is none."""
    this = found(tmp_path, [*HEALTHY, away(20, 24)])["wifi-dropped"]
    assert this.severity == "warning"
    assert this.text == f"{HOME} and {STATION} parted 1 time because of a failure: cipher rejected by policy (24)."
    assert "wifi-dropped" in found(tmp_path, [away(1, 14, by_ap=False)])
    assert "wifi-dropped" not in found(tmp_path, [*HEALTHY, away(20, 24), *joined(22)])
    assert "wifi-dropped" not in found(tmp_path, [*HEALTHY, away(20, 8)])


def test_a_storm(tmp_path: Path) -> None:
    this = found(tmp_path, [*HEALTHY, *[away(5 + 0.05 * k, 7, station=ALL) for k in range(64)]])["wifi-dropped"]
    assert this.severity == "problem"
    assert this.text.startswith(
        f"64 frames in the name of {HOME} sent all stations away over 3.1 s: frame of a station that is not associated (7)"
    )
    asked = [each for k in range(30) for each in (data(5 + 0.1 * k), away(5.05 + 0.1 * k, 7))]
    assert found(tmp_path, [beacon(0), *asked])["wifi-dropped"].severity == "warning"


def test_dropped_by_disassociation(tmp_path: Path) -> None:
    tries = [[*joined(t), managed(t + 1, 10, Dot11Disas(reason=5), True)] for t in (1, 20, 40)]
    assert found(tmp_path, [beacon(0), *chain(*tries)])["wifi-dropped"].severity == "problem"


def test_retries(tmp_path: Path) -> None:
    frames = [data(1 + 0.01 * k, by_ap=True, flags=PROTECTED | (RETRY if k % 2 else 0)) for k in range(400)]
    this = found(tmp_path, [beacon(0), *frames])["wifi-retries"]
    assert this.severity == "warning"
    assert this.text == (f"200 of 400 data frames (50%) of {HOME} were sent again on the air, most to {STATION} (50%, heard at -50 dBm).")
    few = [data(1 + 0.01 * k, by_ap=True, flags=PROTECTED | (0 if k % 10 else RETRY)) for k in range(400)]
    assert "wifi-retries" not in found(tmp_path, [beacon(0), *few])


def test_a_weak_signal(tmp_path: Path) -> None:
    frames = [data(1 + 0.01 * k) for k in range(60)]
    this = found(tmp_path, frames, signal=-88)["wifi-signal"]
    assert this.severity == "warning"
    assert this.text == f"60 data frames of {AP} were heard at -88 dBm on average: others will be missing."
    assert "wifi-signal" not in found(tmp_path, frames, signal=-70)


def test_a_network_that_is_not_there(tmp_path: Path) -> None:
    asked = [(k, header(ALL, OTHER, ALL, 0, 4) / Dot11ProbeReq() / Dot11Elt(ID=0, info=b"Office")) for k in range(40)]
    this = found(tmp_path, [*HEALTHY, *asked])["wifi-sought"]
    assert this.severity == "note"
    assert this.text == f'{OTHER} asked 40 times for "Office" over 39.0 s: no access point on this channel has the network.'


def eap(at: float, by_ap: bool, message: bytes) -> tuple[float, Layer]:
    ends = header(STATION if by_ap else AP, AP if by_ap else STATION, AP, 2, 8, FROM_DS if by_ap else TO_DS)
    return at, ends / Dot11QoS() / LLC() / SNAP(code=0x888E) / Raw(b"\2\0" + struct.pack(">H", len(message)) + message)


def test_a_login_that_fails(tmp_path: Path) -> None:
    def login(at: float, kind: bytes, end: int) -> Frames:
        return [eap(at, True, b"\1\1\0\5\1"), eap(at + 0.1, False, b"\2\1\0\5" + kind), eap(at + 0.2, True, bytes([end, 1, 0, 4]))]

    this = found(tmp_path, [beacon(0), *associated(1), *login(1.1, b"\x19", 4), beacon(30)])["refused"]
    assert this.severity == "problem"
    assert this.text == f"1 of 1 EAP answer was a refusal, from {AP}: the login failed (802.1X)."
    assert "refused" not in found(tmp_path, [beacon(0), *associated(1), *login(1.1, b"\x19", 3), beacon(30)])
    assert "refused" not in found(tmp_path, [beacon(0), *associated(1), *login(1.1, b"\xfe", 4), beacon(30)])  # Wi-Fi Protected Setup


class OnAir:
    """A connection of two stations: each frame goes out twice (Retry), and the access point sends it on some 100 ms later, twice as well."""

    def __init__(self, numbered: bool) -> None:
        self.frames: Frames = []
        self.at = 1.0
        self._numbered = numbered
        self._next = {True: 1000, False: 5000}

    def send(self, up: bool, flags: str, body: bytes = b"", again: bool = False) -> None:
        seq = self._next[up] - (len(body) if again else 0)
        ends, ports = (("192.0.2.1", "192.0.2.3"), (40_000, 80)) if up else (("192.0.2.3", "192.0.2.1"), (80, 40_000))
        number = len(self.frames) + 1 if self._numbered else 0
        segment = TCP(sport=ports[0], dport=ports[1], flags=flags, seq=seq, ack=self._next[not up]) / Raw(body)
        over = LLC() / SNAP(code=0x0800) / IP(src=ends[0], dst=ends[1], id=number) / segment
        source, target = (STATION, OTHER) if up else (OTHER, STATION)
        for retry in (0, RETRY):
            to_ap = Dot11(type=2, subtype=0, FCfield=TO_DS | retry, addr1=AP, addr2=source, addr3=target, SC=16)
            from_ap = Dot11(type=2, subtype=0, FCfield=FROM_DS | retry, addr1=target, addr2=AP, addr3=source, SC=16)
            late = 0.002 if retry else 0.0
            self.frames += [(self.at + late, to_ap / over), (self.at + 0.1 + late, from_ap / over)]
        self._next[up] += 0 if again else len(body) + ("S" in flags)
        self.at += 0.3


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("lost", [0, 4])
def test_frames_sent_again_and_on_are_no_loss(tmp_path: Path, numbered: bool, lost: int) -> None:
    talk = OnAir(numbered)
    for up, flags in ((True, "S"), (False, "SA"), (True, "A")):
        talk.send(up, flags)
    for k in range(20):
        body = bytes([65 + k]) * 100
        talk.send(False, "PA", body)
        if k < lost:  # TCP itself sends it again
            talk.at += 1
            talk.send(False, "PA", body, again=True)
        talk.send(True, "A")
    this = found(tmp_path, talk.frames)
    assert not this.keys() & {"stalled", "slow-connect"}
    if lost:
        assert this["packet-loss"].values["resent"] == lost
        assert this["packet-loss"].values["segments"] == 20 + lost
    else:
        assert "packet-loss" not in this
