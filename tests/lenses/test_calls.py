"""Calls of SIP that fail, and media that nobody takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP

from tests.lenses.made import CLIENT, MS, SERVER, S, found, healthy, problems
from tests.parsers.build import End, Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "198.51.100.21"
PHONE_PORT, PBX_PORT = 10_000, 20_000
SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP {2}\r\n"


def message(
    line: str, call: object, number: int, method: str, inside: bool = False, more: str = "", body: str = "", whom: str = "200"
) -> bytes:
    head = (
        f"{line}\r\nVia: SIP/2.0/UDP {CLIENT};branch=z9hG4bK{method}{call}{number}\r\nFrom: <sip:100@a>;tag=1\r\n"
        f"To: <sip:{whom}@b>{';tag=2' if inside else ''}\r\nCall-ID: c{call}@a\r\nCSeq: {number} {method}\r\n{more}"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def up(at: float, text: bytes) -> Packet:
    return Packet(int(at * S), datagram((CLIENT, 5060), (SERVER, 5060), text))


def down(at: float, text: bytes) -> Packet:
    return Packet(int(at * S), datagram((SERVER, 5060), (CLIENT, 5060), text))


def call(at: float, number: int, *statuses: int, method: str = "INVITE", whom: str = "200") -> list[Packet]:
    """A request, and its answers."""
    asked = up(at, message(f"{method} sip:{whom}@b SIP/2.0", number, 1, method, whom=whom))
    said = [down(at + 0.1 * (k + 1), message(f"SIP/2.0 {status} X", number, 1, method, True)) for k, status in enumerate(statuses)]
    return [asked, *said]


def calls(*statuses: tuple[int, ...], method: str = "INVITE", names: int = 1) -> list[Packet]:
    return [p for k, each in enumerate(statuses) for p in call(k, k, *each, method=method, whom=str(k % names))]


def elsewhere(packets: list[Packet]) -> list[Packet]:
    """The same with another server."""
    here, there = (bytes(map(int, address.split("."))) for address in (SERVER, OTHER))
    return [Packet(p.at, p.data[:20].replace(here, there) + p.data[20:]) for p in packets]


def test_calls_none_of_which_gets_through(tmp_path: Path) -> None:
    this = found(tmp_path, calls(*[(100, 404)] * 4), healthy())["call-failed"]
    assert this.severity == "problem"
    assert this.text == "4 of 4 calls to 198.51.100.20 were refused, and none got through: 404 Not Found."
    assert "form" in this.advice
    this = found(tmp_path, calls(*[(404,)] * 3, method="REGISTER"), healthy())["call-failed"]
    assert this.text == "3 of 3 registrations to 198.51.100.20 were refused, and none got through: 404 Not Found."
    # a phone that is registered, with credentials asked for each time
    registered = call(0, 99, 200, method="REGISTER")
    this = found(tmp_path, registered, [p for k in (1, 2, 3) for p in (*call(k, k, 407), *call(k + 0.5, k, 484))], healthy())["call-failed"]
    assert "484 Address Incomplete" in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(calls((404,), (404,), (180, 200), (404,)), id="a wrong number among others"),
        pytest.param(calls((404,), (404,)), id="twice"),
        pytest.param(calls(*[(486,)] * 5), id="busy"),
        pytest.param(calls(*[(180, 487)] * 5), id="hung up before"),
        pytest.param(calls(*[(401,)] * 5), id="credentials, which refused has"),
        pytest.param(calls(*[(404,)] * 2, (480,), (404,)), id="somebody is away"),
        pytest.param(calls(*[(404,)] * 30, names=30), id="a scanner"),
        pytest.param(
            [p for k in range(4) for p in (*call(k, k, 404), *elsewhere(call(k + 0.5, 9 + k, 180, 200)))], id="another trunk takes them"
        ),
        pytest.param(
            [p for k in range(4) for p in (*call(20 * k, k, 404), *elsewhere(call(20 * k + 5, k, 200, whom="9")))],
            id="the same call by another",
        ),
        pytest.param(
            [
                p
                for k in range(4)
                for p in (*call(20 * k, k, 404, whom="0493055"), *elsewhere(call(20 * k + 5, 9 + k, 200, whom="99#493055")))
            ],
            id="with a prefix by another",
        ),
        pytest.param(
            [p for k in range(4) for p in (*call(20 * k, k, 404), *elsewhere(call(20 * k + 0.5, 9 + k, 200, whom="9")))],
            id="at once by another",
        ),
        pytest.param(calls(*[(404,)] * 3, names=3), id="wrong numbers"),
        pytest.param(calls(*[(423,), (200,)] * 3, method="REGISTER"), id="registers for longer"),
        pytest.param([up(k, b"INVITE sip:a SIP/2.0\r\n\r\n") for k in range(4)], id="cut"),
    ],
)
def test_calls_that_end_as_people_want(tmp_path: Path, packets: list[Packet]) -> None:
    assert "call-failed" not in problems(found(tmp_path, packets, healthy()))


def test_phones_that_are_not_there(tmp_path: Path) -> None:
    this = found(tmp_path, calls(*[(100, 480)] * 3), healthy())["call-failed"]
    assert (this.severity, this.text) == (
        "warning",
        "3 of 3 calls to 1 name found nobody there: 198.51.100.20 said 480 Temporarily Unavailable each time, before any phone rang.",
    )
    this = found(tmp_path, calls(*[(100, 480)] * 15, names=5), healthy())["call-failed"]
    assert (this.severity, this.values["refused"]) == ("problem", 15)
    for packets in (
        calls((480,), (480,)),
        calls((480,), (480,), (180, 480), (480,)),  # it rings, and nobody answers
        calls((480,), (480,), (480,), (180, 200)),
        [*calls(*[(480,)] * 3), *elsewhere(call(5, 9, 180, 200, whom="0"))],  # another server finds it
    ):
        assert "call-failed" not in found(tmp_path, packets, healthy())
    assert found(tmp_path, calls(*[(480,)] * 15, names=5), call(20, 20, 180, 200, whom="77"))["call-failed"].severity == "warning"


def test_a_phone_that_registers_for_too_short(tmp_path: Path) -> None:
    this = found(tmp_path, calls(*[(423,)] * 3, method="REGISTER"), healthy())["call-failed"]
    assert (this.severity, this.text) == (
        "problem",
        "3 of 3 registrations to 198.51.100.20 were refused, and none got through: 423 Interval Too Brief.",
    )
    assert "Min-Expires" in this.advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(
            [p for k in range(4) for n in range(6) for p in call(20 * k + n / 5, 10 * k + n, 480, whom=str(n))], id="a queue's agents"
        ),
        pytest.param(
            [
                packet
                for k in range(5)
                for packet in (
                    up(30 * k, message("REGISTER sip:b SIP/2.0", 1, 7 + k, "REGISTER")),
                    down(30 * k + 0.1, message("SIP/2.0 423 X", 1, 7 + k, "REGISTER", True)),
                )
            ],
            id="registered before",
        ),
    ],
)
def test_nobody_there_and_too_brief_as_meant(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, healthy())["call-failed"].severity == "warning"


def test_numbers_that_a_server_does_not_know(tmp_path: Path) -> None:
    """A person may dial a few wrong ones."""
    assert found(tmp_path, calls(*[(404,)] * 4, names=4), healthy())["call-failed"].severity == "warning"
    assert found(tmp_path, calls(*[(404,)] * 5, names=5), healthy())["call-failed"].severity == "problem"
    assert found(tmp_path, calls(*[(400,)] * 3, names=3), healthy())["call-failed"].severity == "problem"
    # another call, much later, with another server says nothing of these
    beside = [p for k in range(4) for p in (*call(20 * k, k, 404), *elsewhere(call(20 * k + 5, 9 + k, 200, whom="9")))]
    assert found(tmp_path, beside, healthy())["call-failed"].severity == "problem"


def test_a_call_that_is_refused_on_two_ways_is_one(tmp_path: Path) -> None:
    both = [p for k in range(4) for p in (*call(k, k, 404), *elsewhere(call(k + 0.2, k, 404)))]
    text = found(tmp_path, both, healthy())["call-failed"].text
    assert text == "4 of 4 calls to 198.51.100.20 and 198.51.100.21 were refused, and none got through: 404 Not Found."


def refreshed(*, answered: bool, tries: int = 4, ends: bool = True, reason: str = "") -> list[Packet]:
    """A call that is kept up by a request within it."""
    made = call(0, 1, 180, 200)
    again = message("INVITE sip:200@b SIP/2.0", 1, 2, "INVITE", True)
    made += [up(5 + 2 * k, again) for k in range(1 if answered else tries)]
    made += [down(5.1, message("SIP/2.0 200 OK", 1, 2, "INVITE", True))] if answered else []
    made += [up(20, message("BYE sip:200@b SIP/2.0", 1, 3, "BYE", True, reason)), down(20.1, message("SIP/2.0 200 OK", 1, 3, "BYE", True))]
    return made if ends else made[:-2]


def test_a_call_that_breaks_off_as_its_refresh_is_not_answered(tmp_path: Path) -> None:
    this = found(tmp_path, refreshed(answered=False, reason='Reason: SIP;cause=408;text="Session timer expired"\r\n'), healthy())
    assert this["call-failed"].severity == "problem"
    assert this["call-failed"].text == (
        "1 of 1 call was ended as a request within the call (INVITE) got no answer from 198.51.100.20, and the end says so (408, session timer)."
    )
    assert "the end says so" not in found(tmp_path, refreshed(answered=False), healthy())["call-failed"].text
    assert found(tmp_path, updates(2, 2, 2, 2), healthy())["call-failed"].severity == "problem"


def updates(*numbers: int) -> list[Packet]:
    """A call that the callee refreshes by requests of these numbers, none of which is answered, and ends."""
    again = [down(5 + 2 * k, message("UPDATE sip:100@a SIP/2.0", 1, n, "UPDATE", True)) for k, n in enumerate(numbers)]
    return [*call(0, 1, 180, 200), *again, down(20, message("BYE sip:100@a SIP/2.0", 1, 9, "BYE", True))]


def of_one_end(packets: list[Packet]) -> list[Packet]:
    """What the server sends."""
    return [p for p in packets if p.data[12:16] == bytes(map(int, SERVER.split(".")))]


@pytest.mark.parametrize(
    "packets",
    [
        refreshed(answered=True),
        refreshed(answered=False, tries=2),
        refreshed(answered=False, ends=False),
        of_one_end(updates(2, 2, 2, 2)),
        updates(2, 3, 4, 5),
    ],
    ids=["answered", "the answer may come", "goes on", "only one end was recorded", "refreshed now and then"],
)
def test_a_call_that_is_kept_up(tmp_path: Path, packets: list[Packet]) -> None:
    assert "call-failed" not in found(tmp_path, packets, healthy())


def agreed(phone: str = "0 101", pbx: str = "0 101") -> list[Packet]:
    """A call whose ends say where they take media."""
    offer, taken = SDP.format(CLIENT, PHONE_PORT, phone), SDP.format(SERVER, PBX_PORT, pbx)
    return [
        up(0, message("INVITE sip:200@b SIP/2.0", 1, 1, "INVITE", body=offer)),
        down(0.1, message("SIP/2.0 200 OK", 1, 1, "INVITE", True, body=taken)),
    ]


def ended(at: float) -> list[Packet]:
    return [up(at, message("BYE sip:200@b SIP/2.0", 1, 2, "BYE", True)), down(at + 0.1, message("SIP/2.0 200 OK", 1, 2, "BYE", True))]


def media(kinds: list[int], to_phone: bool = True, source: End | None = None) -> list[Packet]:
    """Voice of these payload types, a packet each 20 ms."""
    ends = [(CLIENT, PHONE_PORT), (SERVER, PBX_PORT)]
    destination, named = ends if to_phone else ends[::-1]
    return [
        Packet(
            S // 2 + k * 20 * MS,
            datagram(
                source or named,
                destination,
                bytes([0x80, kind]) + k.to_bytes(2, "big") + (160 * k).to_bytes(4, "big") + bytes(163) + b"\x09",
            ),
        )
        for k, kind in enumerate(kinds)
    ]


def later(packets: list[Packet], seconds: float) -> list[Packet]:
    return [Packet(p.at + int(seconds * S), p.data) for p in packets]


def cut(packets: list[Packet]) -> list[Packet]:
    """Of each message the last bytes are not there."""
    return [Packet(p.at, p.data[:-12], cut=12) for p in packets]


def test_media_in_a_format_that_the_receiver_did_not_name(tmp_path: Path) -> None:
    this = found(tmp_path, agreed(), media([18] * 180), healthy())["call-failed"]
    assert this.severity == "problem"
    assert this.text == (
        "1 stream of RTP has a format that the receiver did not name: payload type 18 to 192.0.2.10:10000, which takes 0, 101."
    )
    dynamic = found(tmp_path, agreed("96", "97"), media([97] * 180), healthy())["call-failed"]
    assert dynamic.severity == "warning"  # the sender's own number: some take it all the same


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*agreed(), *media([0] * 180)], id="as agreed"),
        pytest.param([*agreed(), *media([0] * 130 + [101] * 50)], id="keys"),
        pytest.param([*agreed(), *media([13] * 180)], id="silence"),
        pytest.param([*agreed("0 8 18", "0"), *media([18] * 180)], id="one of those that the receiver offers"),
        pytest.param(media([18] * 180), id="no description"),
        pytest.param([*media([18] * 180), *later(agreed(), 10)], id="described when it was over"),
        pytest.param([*agreed(), *later(agreed("18", "18"), 0.2), *media([18] * 180)], id="changed within the call"),
        pytest.param([*agreed(), *ended(3), *later(media([18] * 180), 9)], id="of a later call"),
        pytest.param([*agreed(), *media([18] * 180, source=(OTHER, 7000))], id="of an end that is not named"),
        pytest.param([*cut(agreed()), *media([18] * 180)], id="cut"),
        pytest.param([*agreed(), *media([18] * 60)], id="short"),
    ],
)
def test_media_as_agreed(tmp_path: Path, packets: list[Packet]) -> None:
    assert "call-failed" not in found(tmp_path, packets, healthy())


def unreachable(voice: list[Packet], *which: int) -> list[Packet]:
    """What the phone says of these packets."""
    told = ICMP(type=3, code=3)
    return [Packet(voice[k].at + MS, bytes(IP(src=CLIENT, dst=SERVER) / told / bytes(voice[k].data)[:28])) for k in which]


def test_media_to_a_port_that_nobody_listens_at(tmp_path: Path) -> None:
    voice = media([0] * 400)
    this = found(tmp_path, agreed(), voice, unreachable(voice, *range(0, 400, 50)), healthy())["call-failed"]
    assert this.severity == "problem"
    assert this.text.startswith("400 packets of media reached nobody: 192.0.2.10:10000 was named for them (SDP)")
    for early in ((0, 5, 10), (350, 370, 390)):  # it opens its port late, or has hung up
        assert "call-failed" not in found(tmp_path, agreed(), voice, unreachable(voice, *early), healthy())
    assert "call-failed" not in found(tmp_path, voice, unreachable(voice, *range(0, 400, 50)), healthy())
    after = later(voice, 9)  # of another call, which is not in the capture
    assert "call-failed" not in found(tmp_path, agreed(), ended(3), after, unreachable(after, *range(0, 400, 50)), healthy())


def held(packets: list[Packet]) -> list[Packet]:
    """The same call, of which the phone says that it only sends."""
    word = b"t=0 0\r\n"
    return [Packet(p.at, datagram(*_ends(p), p.data[28:].replace(word, word + b"a=sendonly\r\n"))) for p in packets]


def _ends(packet: Packet) -> tuple[End, End]:
    ends = [(".".join(map(str, packet.data[12 + 4 * k : 16 + 4 * k])), 5060) for k in (0, 1)]
    return ends[0], ends[1]


def test_voice_that_goes_one_way(tmp_path: Path) -> None:
    this = found(tmp_path, agreed(), media([0] * 400), healthy())["call-failed"]
    assert this.severity == "problem"
    assert this.text == (
        f"Voice goes one way in 1 of 1 call: 400 packets of RTP went to {CLIENT}:{PHONE_PORT}, and none came back to {SERVER}:{PBX_PORT}, though both ends "
        "said that they send and take it (SDP)."
    )


def test_voice_that_stops_one_way(tmp_path: Path) -> None:
    """A warning: who takes a message says nothing either, and some exchanges then send nothing."""
    this = found(tmp_path, agreed(), media([0] * 400), media([0] * 100, to_phone=False), healthy())["call-failed"]
    assert this.severity == "warning"
    assert this.text.startswith(f"Voice stopped one way in 1 of 1 call: {CLIENT}:{PHONE_PORT} sent none any more for 6")
    assert "call-failed" not in found(tmp_path, agreed(), media([0] * 400), media([0] * 300, to_phone=False), healthy())
    pausing = agreed("96", "96"), media([96] * 400), media([96] * 100, to_phone=False)
    assert "call-failed" not in found(tmp_path, *pausing, healthy())


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*agreed(), *media([0] * 400), *media([0] * 400, to_phone=False)], id="both ways"),
        pytest.param([*held(agreed()), *media([0] * 400)], id="one end only sends"),
        pytest.param([*agreed()[:1], *media([0] * 400)], id="not taken yet"),
        pytest.param([*agreed(), *ended(3), *later(media([0] * 400), 9)], id="of a later call"),
        pytest.param(
            [*[p for p in agreed() if p.data[12:16] == bytes(map(int, SERVER.split(".")))], *media([0] * 400)], id="one direction"
        ),
    ],
)
def test_voice_that_need_not_go_both_ways(tmp_path: Path, packets: list[Packet]) -> None:
    assert "call-failed" not in found(tmp_path, packets, healthy())


INNER = "10.9.8.7"


def behind_nat(named: str = INNER) -> list[Packet]:
    """A call whose phone names an address of its own."""
    offer, taken = SDP.format(named, PHONE_PORT, "0"), SDP.format(SERVER, PBX_PORT, "0")
    return [
        up(0, message("INVITE sip:200@b SIP/2.0", 1, 1, "INVITE", body=offer)),
        down(0.1, message("SIP/2.0 200 OK", 1, 1, "INVITE", True, body=taken)),
    ]


def voice(here: End, there: End, n: int = 300) -> list[Packet]:
    made = media([0] * n, source=here)
    return [Packet(p.at, datagram(here, there, p.data[28:])) for p in made]


OUTER, PBX = (CLIENT, 33_000), (SERVER, PBX_PORT)


def test_voice_to_a_private_address(tmp_path: Path) -> None:
    this = found(tmp_path, behind_nat(), voice(OUTER, PBX), voice(PBX, (INNER, PHONE_PORT)), healthy())["call-failed"]
    assert this.severity == "problem"
    assert this.text == (
        f"Voice goes astray in 1 call: 300 packets of RTP went to {INNER}:{PHONE_PORT}, a private address that the other end named (SDP) and nobody has here, "
        f"while its own voice came from {CLIENT}:33000, to which none was sent: one-way audio."
    )


def test_voice_to_another_inner_network(tmp_path: Path) -> None:
    offer, taken = SDP.format(INNER, PHONE_PORT, "0"), SDP.format(SERVER, PBX_PORT, "0")
    here = "10.3.0.5"
    signals = [
        Packet(0, datagram((here, 5060), (SERVER, 5060), message("INVITE sip:200@b SIP/2.0", 1, 1, "INVITE", body=offer))),
        Packet(S // 10, datagram((SERVER, 5060), (here, 5060), message("SIP/2.0 200 OK", 1, 1, "INVITE", True, body=taken))),
    ]
    this = found(tmp_path, signals, voice((here, PHONE_PORT), PBX), voice(PBX, (INNER, PHONE_PORT)), healthy())["call-failed"]
    assert this.severity == "warning"
    assert this.advice.startswith("If the other end hears nothing: the phone is behind NAT")


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([voice(OUTER, PBX), voice(PBX, (INNER, PHONE_PORT), 20), voice(PBX, OUTER)], id="it learns where voice comes from"),
        pytest.param([voice(OUTER, PBX), voice(PBX, (INNER, PHONE_PORT), 60)], id="at first only"),
        pytest.param([voice((INNER, PHONE_PORT), PBX), voice(PBX, (INNER, PHONE_PORT))], id="media by another host"),
        pytest.param([voice((INNER, 9), PBX), voice(OUTER, PBX), voice(PBX, (INNER, PHONE_PORT))], id="a host that is here"),
        pytest.param([voice(PBX, (INNER, PHONE_PORT))], id="the phone is not heard"),
        pytest.param([voice(OUTER, (SERVER, 4)), voice(PBX, (INNER, PHONE_PORT))], id="voice of another call"),
    ],
)
def test_private_addresses_that_do_no_harm(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, behind_nat(), *streams, healthy())
    assert "call-failed" not in this or "astray" not in this["call-failed"].text
