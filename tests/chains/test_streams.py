"""Requests of HTTP/2 counted by the sizes of TLS records: right, or not at all."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

import netlens
from netlens.chains import grammar, streams
from netlens.chains.asked import said as read
from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.parsers import http2
from netlens.parsers.records import Records
from tests.parsers.test_pipeline import ACK, FIN, PSH, SYN, pcap, segment
from tests.wire.test_tls import openssl

if TYPE_CHECKING:
    from pathlib import Path

    from netlens.analysis import Analysis

Said = list[tuple[int, int]]  #: (ms, plaintext bytes of a record), the server's negative

MS = 1_000_000
TLS = 17  #: bytes that TLS 1.3 adds to a plaintext
SUITE = 0x1302
FINISHED: Said = [(0, -52), (1, 52)]
OPENED: Said = [(2, 82), (3, -39), (4, 9), (5, -9)]
FULL = [16384, 9]  #: a frame of 16,384 bytes
T0 = 1_000_000_000_000


def asked(ms: int, *body: int) -> Said:
    """As httpx sends: fields, body, and an empty frame."""
    return [(ms, size) for size in (45, *body, 9)]


def streamed(begin: int, end: int, every: int = 40) -> Said:
    """Fields, pieces, and an empty frame behind the last."""
    return [(begin, -127), *((ms, -100 - ms % 60) for ms in range(begin + 10, end, every)), (end, -23), (end, -9)]


def refused(ms: int, size: int = 258) -> Said:
    return [(ms, -size), (ms, -9)]


def together(*parts: Said) -> Said:
    return sorted((each for part in parts for each in part), key=lambda each: each[0])  # keeps the order of each part


def seen(said: Said, *, whole: bool = True) -> Records:
    records = [*FINISHED, *said]
    size = np.array([abs(size) for _, size in records]) + TLS
    way = np.array([int(size < 0) for _, size in records])
    ts = np.array([T0 + ms * MS for ms, _ in records])
    return Records(way, np.full(len(records), 23), size, ts, np.arange(len(records)), SUITE, None, whole)


def connection(said: Said, over: int = 60_000, *, cut: bool = True, whole: bool = True) -> streams.Connection:
    """``over`` : ms, when it ended, or the capture, if ``cut``."""
    return streams.Connection(read(seen(said, whole=whole)), T0 + over * MS, cut)


def count(said: Said, over: int = 60_000, known: streams.Shapes = streams.NOTHING) -> list[tuple[int, int]] | None:
    """(sent, ended) in ms of each request, -1 for one without an end; None where they cannot be counted."""
    found, fits = streams.counted(connection(said, over), known)
    return [((each.sent_ns - T0) // MS, -1 if each.end_ns < 0 else (each.end_ns - T0) // MS) for each in found] if fits else None


ONE_BY_ONE = [*OPENED, *asked(10, 900), *streamed(200, 900), *asked(1000, 950), *refused(1020), *asked(2000, 950), *streamed(2300, 3000)]


def test_one_after_the_other() -> None:
    assert count(ONE_BY_ONE) == [(10, 900), (1000, 1020), (2000, 3000)]


@pytest.mark.parametrize("more", [[], [(4, 17)], [(4, 17), (5, -265)], [(5, -265), (5, -265), (6, 17)]], ids=str)
def test_a_connection_that_a_client_dials_and_leaves_holds_no_request(more: Said) -> None:
    """hyper opens several at once; what it does not use gets the preface in a record of its own, SETTINGS, and GOAWAY."""
    spare = [(2, 24), (2, 46), *more]
    assert http2.spoken(seen(spare))
    assert count(spare) == []


def test_several_in_progress_and_a_refusal_among_them() -> None:
    said = together(OPENED, asked(10, 900), streamed(200, 2000), asked(500, 700), streamed(800, 3000), asked(1500, 800), refused(1512))
    known = streams.shapes([streams.counted(connection(each))[0] for each in (said, ONE_BY_ONE)])
    assert known.refusals == {258}
    assert count(said, known=known) == [(10, 2000), (500, 3000), (1500, 1512)]


def test_an_end_that_may_be_either_ones_is_not_given_away() -> None:
    said = together(OPENED, asked(10, 900), streamed(200, 2000), asked(1950, 800), streamed(2100, 3000))
    found, fits = streams.counted(connection(said))
    assert fits
    assert [each.unsure for each in found] == [True, True]


def test_what_is_left_of_a_full_frame_ends_nothing() -> None:
    said = [*OPENED, *asked(10, *FULL, *FULL, 3000), (200, -16384), (200, -9), *streamed(210, 900), *asked(1000, *FULL, 80), *refused(1010)]
    assert count(said) == [(10, 900), (1000, 1010)]


@pytest.mark.parametrize("acknowledged", [[(4, 22)], [(10, 54)]], ids=["with WINDOW_UPDATE", "with the fields of a request"])
def test_settings_that_are_acknowledged_in_another_record(acknowledged: Said) -> None:
    said = [(2, 82), (3, -49), *acknowledged, *asked(10, 900), *streamed(200, 900), *asked(1000, 950), *refused(1020)]
    assert count(said) == [(10, 900), (1000, 1020)]


def test_a_client_that_ends_requests_with_their_last_piece() -> None:
    burst = [(1000, 16384), (1000, 16384), (1001, 16384), (1001, 16383), (1002, -26), (1040, -13), (1041, 9000)]
    said = [(2, 1400), (3, -40), (4, 9), (5, -9), (6, 26), *streamed(200, 900), *burst, *refused(1060)]
    assert count(said) == [(2, 900), (1041, 1060)]


def test_two_bodies_in_one_burst_are_not_taken_for_one() -> None:
    assert count([(2, 1400), (2, 1300), (3, -40), (4, 9), (5, -9), *refused(30), *refused(40)]) is None


def test_a_request_without_a_body_makes_a_connection_uncountable() -> None:
    assert count([*ONE_BY_ONE, (4000, 60), (4010, -80), (4010, -9)]) is None


def test_servers_that_show_no_ends() -> None:
    without = [(ms, size) for ms, size in ONE_BY_ONE if size != -9 or ms < 10]
    assert count(without) is None
    alone = [*OPENED, *asked(10, 900), *[each for each in streamed(200, 900) if each[1] != -9]]
    assert count(alone) == [(10, 900)]
    two = [*OPENED, *asked(10, 900), *asked(11, 900), *[each for each in streamed(200, 900) if each[1] != -9]]
    assert count(two) is None


def test_some_answers_without_an_end() -> None:
    assert (
        count([*OPENED, *asked(10, 900), (30, -300), *asked(1000, 950), *streamed(1200, 1900), *asked(2000, 800), *refused(2010)]) is None
    )


def busy(times: int) -> Said:
    return [part for k in range(times) for part in [*asked(1000 * k + 10, 900), *streamed(1000 * k + 200, 1000 * k + 900)]]


def test_in_progress_at_the_end() -> None:
    open_still = [(ms, size) for ms, size in streamed(5200, 7000) if size != -9]
    ended = [(1000 * k + 10, 1000 * k + 900) for k in range(5)]
    assert count([*OPENED, *busy(5), *asked(5010, 900), *open_still], over=7100) == [*ended, (5010, -1)]
    both = together(asked(5010, 900), asked(5400, 900), open_still)
    assert count([*OPENED, *busy(5), *both], over=7100) == [*ended, (5010, -1), (5400, -1)]
    # silent for long, or perhaps broken off, or nothing is known of the server's ends
    assert count([*OPENED, *busy(5), *asked(5010, 900), *open_still], over=20_000) is None
    assert count([*OPENED, *busy(5), *both, (6990, 13)], over=7100) is None
    assert count([*OPENED, *both], over=7100) is None


def test_one_that_was_broken_off_makes_a_connection_uncountable() -> None:
    begun = [(ms, size) for ms, size in streamed(5200, 6000) if size != -9]
    assert count([*OPENED, *busy(5), *asked(5010, 900), *begun, (6001, 13), *asked(7010, 900), *streamed(7200, 7900)]) is None


def test_a_connection_without_requests() -> None:
    assert count(OPENED) == []


def test_streams_that_the_server_may_have_reset_need_not_be_in_progress() -> None:
    """RST_STREAM is as long as WINDOW_UPDATE: with several requests that never end, each may have ended with the first behind it."""
    said = read(
        seen([*OPENED, *asked(10, 900), (12, -13), *asked(2000, 900), (2002, -22), *asked(4000, 900), (4002, -13), *asked(6000, 900)])
    )
    assert said is not None
    never = said.readings[0].streams
    assert len(never) == 4
    perhaps = streams._perhaps_reset(said, never, T0 + 60_000 * MS)
    assert [each.doubt_ns[2] // MS for each in perhaps] == [59_988, 57_998, 55_998, 0]
    assert [each.unsure for each in perhaps] == [True, True, True, False]  # whose answer is whose, so that no label is made of it
    assert [each.doubt_ns[2] for each in streams._perhaps_reset(said, never[2:], T0 + 60_000 * MS)] == [0, 0]  # in progress in the end


def test_what_was_not_seen_whole_is_not_counted() -> None:
    assert streams.counted(connection(ONE_BY_ONE, whole=False)) == ([], False)


def test_an_opening_that_is_none() -> None:
    assert count([(2, 82), (3, -300), *asked(10, 900), *refused(20)]) is None


# --- whole captures -------------------------------------------------------------------------------------------------------------------------

SERVER, CLIENT = "198.51.100.10", "192.0.2.5"
NAME = "api.z.ai"
SERVER_HELLO = b"\x16\x03\x03\x00\x2c\x02\x00\x00\x28\x03\x03" + bytes(32) + b"\x00" + struct.pack(">H", SUITE) + b"\x00\x00\x00"
BEGIN_US = 1_000_000


def conversation(port: int, said: Said, begin_us: int, offers: tuple[str, ...] = ("h2", "http/1.1")) -> list[tuple[int, bytes]]:
    """Packets of a TLS connection that says this, and is closed by the client.  offers : by ALPN."""
    ends = ((CLIENT, port), (SERVER, 443))
    number = [1000, 5000]
    out: list[tuple[int, bytes]] = []

    def send(us: int, way: int, flags: int, data: bytes = b"") -> None:
        for at in range(0, max(len(data), 1), 1400):
            part = data[at : at + 1400]
            out.append(
                (begin_us + us, segment(*ends[way], *ends[1 - way], flags, number[way], number[1 - way] if flags & ACK else 0, part))
            )
            number[way] += len(part) + bool(flags & (SYN | FIN))

    send(-9_000, 0, SYN)
    send(-8_000, 1, SYN | ACK)
    send(-7_000, 0, ACK)
    send(-6_000, 0, PSH | ACK, openssl(NAME, offers))
    send(-5_000, 1, PSH | ACK, SERVER_HELLO)
    for ms, size in [*FINISHED, *said]:
        length = abs(size) + TLS
        send(1000 * ms, int(size < 0), PSH | ACK, b"\x17\x03\x03" + struct.pack(">H", length) + bytes(length))
    last = max(ms for ms, _ in said)
    send(1000 * last + 50_000, 0, FIN | ACK)
    send(1000 * last + 51_000, 1, FIN | ACK)
    send(1000 * last + 52_000, 0, ACK)
    return out


def work(rounds: int, limit: int = 2) -> tuple[Said, list[int], int]:
    """A program that asks three times at once in each round, where ``limit`` are allowed: what is said, when refusals came, and how many requests."""
    parts, refusals = [OPENED], []
    for k in range(rounds):
        t = 4000 * k + 10
        parts += [asked(t, 900 + k), streamed(t + 300, t + 2000), asked(t + 20, 800), streamed(t + 400, t + 2500)]
        for again in (600, 1000):
            parts += [asked(t + again, 700), refused(t + again + 12)]
            refusals.append(t + again + 12)
        parts += [asked(t + 2600, 750), streamed(t + 2800, t + 3300)]
    return together(*parts), refusals, 5 * rounds


def analysed(folder: Path, conversations: list[Said], refusals: list[int], offers: tuple[str, ...] = ("h2", "http/1.1")) -> Analysis:
    packets = [packet for k, said in enumerate(conversations) for packet in conversation(40000 + k, said, BEGIN_US + 300 * k, offers)]
    (folder / "vm.pcap").write_bytes(pcap(sorted(packets, key=lambda packet: packet[0])))
    lines = []
    for ms in refusals:
        at = datetime.fromtimestamp(1000 + (BEGIN_US + 1000 * ms + 2000) / 1e6, UTC)
        lines.append(f"{at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')} ERROR 429 High concurrency usage of this API")
    (folder / "vm-errors.log").write_text("\n".join(lines) + "\n")
    return netlens.analyze(vm=str(folder / "vm.pcap"), vm_errors=str(folder / "vm-errors.log"))


def test_requests_of_a_capture_are_counted_and_refusals_found(tmp_path: Path) -> None:
    said, refusals, requests = work(8)
    found = analysed(tmp_path, [said], refusals)
    r = found.assembled.situation.requests
    assert found.assembled.situation.uncountable is None
    assert len(r) == requests
    assert (np.diff(np.sort(r.stream)) == 2).all()
    assert ((r.end_ns[r.rejected == REJECTED] - r.start_ns[r.rejected == REJECTED]) // MS == 12).all()
    assert int((r.rejected == REJECTED).sum()) == len(refusals)
    assert int((r.rejected == ACCEPTED).sum()) >= requests - len(refusals) - 2  # the log covers no more
    assert found.counts["rejections"] == len(refusals)
    assert sum("counted by the sizes of TLS records" in note for note in found.quality["notes"]) == 1
    assert not any("cannot be told apart by turn-taking" in note for note in found.quality["notes"])


def test_one_connection_that_cannot_be_counted_is_told_between_wide_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be made of what its client wrote, and a request without a body is among it."""
    monkeypatch.setattr(grammar, "_by_fields", lambda *_: [])
    said, refusals, _ = work(2)
    odd = [*ONE_BY_ONE, (4000, 60), (4010, -80)]  # whose answer does not end as the others do
    found = analysed(tmp_path, [said, odd], refusals)
    assert found.assembled.situation.uncountable is not None
    assert "TLS key log" in found.assembled.situation.uncountable
    assert found.limit is None
    guessed = found.assembled.upstream.counted[1]
    assert guessed.least < 4 < guessed.most
    assert any("not exactly" in note for note in found.quality["notes"])


def test_a_request_without_a_body_is_counted_beside_others(tmp_path: Path) -> None:
    said, refusals, requests = work(8)
    found = analysed(tmp_path, [said, [*ONE_BY_ONE, (4000, 60), (4010, -80), (4010, -9)]], refusals)
    assert found.assembled.situation.uncountable is None
    assert len(found.assembled.situation.requests) == requests + 4


def test_answers_that_may_be_anyones_are_no_evidence(tmp_path: Path) -> None:
    parts: list[Said] = [OPENED]
    refusals = []
    for k in range(10):  # of two that begin at once, one is refused, and it does not show which
        t = 2000 * k + 10
        parts += [asked(t, 900), asked(t, 900), refused(t + 12), streamed(t + 300, t + 1500)]
        refusals.append(t + 12)
    found = analysed(tmp_path, [together(*parts)], refusals)
    assert len(found.assembled.situation.requests) == 20
    assert found.assembled.situation.uncountable is not None
