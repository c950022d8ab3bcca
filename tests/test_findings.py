"""Findings of small captures: what stands in two sessions counts once, and odd clocks give no odd numbers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import netlens
from netlens.report.text import render
from tests.parsers.test_pipeline import ACK, FIN, PSH, SYN, pcap, segment

VM, HOST, SERVER = "192.168.64.2", "198.51.100.7", "203.0.113.9"
REQUEST, REFUSAL = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 429 Too Many Requests\r\n\r\n"
ISN, ANSWER_ISN = 700_000, 1_400_000


def exchange(client: str, to: tuple[str, int] = (SERVER, 443)) -> list[tuple[int, bytes]]:
    """(ms, packet): a request; the client's FIN; 3 s later the refusal and the server's FIN. ``to``: where the client's packets go."""

    def up(flags: int, seq: int, ack: int, data: bytes = b"") -> bytes:
        return segment(client, 4000, *to, flags, ISN + seq, ANSWER_ISN + ack if flags & ACK else 0, data)

    def down(flags: int, seq: int, ack: int, data: bytes = b"") -> bytes:
        return segment(SERVER, 443, client, 4000, flags, ANSWER_ISN + seq, ISN + ack, data)

    asked, answered = 1 + len(REQUEST), 1 + len(REFUSAL)
    return [
        (0, up(SYN, 0, 0)),
        (1, down(SYN | ACK, 0, 1)),
        (2, up(ACK, 1, 1)),
        (3, up(PSH | ACK, 1, 1, REQUEST)),
        (10, up(FIN | ACK, asked, 1)),
        (3000, down(PSH | ACK, 1, asked + 1, REFUSAL)),
        (3001, down(FIN | ACK, answered, asked + 1)),
        (3002, up(ACK, asked + 1, answered + 1)),
    ]


def write(folder: Path, packets: list[tuple[int, bytes]]) -> str:
    """A capture of (us, packet), in the order given."""
    path = folder / "small.pcap"
    path.write_bytes(pcap(packets))
    return str(path)


def shown(analysis: netlens.analysis.Analysis) -> str:
    out = io.StringIO()
    render(analysis, Console(file=out, width=200), verbose=1)
    return out.getvalue()


def test_what_nat_copies_counts_once(tmp_path: Path) -> None:
    packets = [(t * 1000 + 100 * k, p) for k, client in enumerate((VM, HOST)) for t, p in exchange(client)]
    found = netlens.analyze(write(tmp_path, sorted(packets)))
    document = found.to_dict()
    assert document["counts"] == {
        "sessions": 2,
        "connections": 1,
        "lookups": 0,
        "exchanges": 1,
        "exchanges_between": None,
        "exchanges_likeliest": None,
        "exchanges_by_connection": None,
        "in_flight_between": None,
        "rejections": 1,
        "refused_by_class": {"unknown": 1},
    }
    (tail,) = document["tails"]
    assert tail["tail_s"] == pytest.approx(2.99, abs=0.001)
    assert tail["bytes"] == len(REFUSAL)
    assert tail["frames"] == [1, 16]
    assert "1 connection kept receiving" in shown(found)


def test_a_redirected_connection_has_its_tail_in_the_other_half(tmp_path: Path) -> None:
    found = netlens.analyze(write(tmp_path, [(t * 1000, p) for t, p in exchange(VM, ("127.0.0.1", 12300))]))
    assert found.paths == {"sshuttle": 1}
    (tail,) = found.tails
    assert tail["tail_s"] == pytest.approx(2.99)
    assert tail["bytes"] is None
    assert "the longest 2.990 s (session" in shown(found)


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    packets = [p for _, p in exchange(VM)]
    found = netlens.analyze(write(tmp_path, [((len(packets) - i) * 10**6, p) for i, p in enumerate(packets)]))
    part = found.capture.part
    assert part.bounds_ns == (1001 * 10**9, (1000 + len(packets)) * 10**9)
    assert f", {len(packets) - 1}.000 s," in shown(found)


def test_an_empty_capture_claims_no_time(tmp_path: Path) -> None:
    found = netlens.analyze(write(tmp_path, []))
    assert found.capture.part.bounds_ns is None
    assert "no frame has a time" in shown(found)
    assert "1970" not in shown(found)


def test_arguments_may_be_one_text_or_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, [(t * 1000, p) for t, p in exchange(VM)])
    assert len(netlens.read(path.encode(), tables="sessions").sessions) == 1
    assert netlens.analyze(path, apis=SERVER).to_dict()["target"]["addresses"] == [SERVER]
    with pytest.raises(netlens.NetlensError, match="give a capture or a recording, or the sides"):
        netlens.analyze()
    with pytest.raises(netlens.NetlensError, match="give a capture or a recording, or the sides"):
        netlens.analyze(path, vm=path)
