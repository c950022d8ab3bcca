"""What memcached had, and has no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import MS, SERVER, Packet, S, close, exchange, found, talk

MEMCACHED = (SERVER, 11211)
HIT, MISS = b"VALUE k 0 1\r\nx\r\nEND\r\n", b"END\r\n"


def cache(stored: int, missing: int, exptime: int = 300, before: tuple[bytes, bytes] | None = None, pause: int = 0) -> list[Packet]:
    """Keys that are stored, and read again, of which the first are not there any more."""
    made = talk(41_000, 0, MEMCACHED, step=MS // 10)
    for k in range(stored):
        exchange(made, b"set key:%d 0 %d 1\r\nx\r\n" % (k, exptime), b"STORED\r\n")
    made.at += pause
    for k in range(stored):
        if before is not None:
            exchange(made, before[0] % k if b"%" in before[0] else before[0], before[1])
        exchange(made, b"get key:%d\r\n" % k, MISS if k < missing else HIT)
    return close(made).packets


def test_a_cache_that_is_too_small(tmp_path: Path) -> None:
    this = found(tmp_path, cache(40, 15))["cache-misses"]
    assert this.severity == "warning"
    assert this.text == (
        "15 of 40 reads from 198.51.100.20:11211 (memcached) of what had been stored before found nothing, though its time was not over: evicted, or "
        "deleted by somebody else."
    )
    assert this.frames_in_all == 15


def test_values_of_several_segments(tmp_path: Path) -> None:
    """Of an evicted one there is a word alone, of others it stands behind."""
    made = talk(41_000, 0, MEMCACHED, step=MS // 10)
    for k in range(40):
        made.up("PA", b"set key:%d 0 0 2000\r\n" % k + bytes(1400))
        exchange(made, bytes(600) + b"\r\n", b"STORED\r\n")
    for k in range(40):
        exchange(made, b"get key:%d\r\n" % k, MISS if k < 12 else b"VALUE k 0 2000\r\n" + bytes(1400))
        if k >= 12:
            made.down("PA", bytes(600) + b"\r\n")
            made.down("PA", MISS)
            made.up("A")
    assert found(tmp_path, close(made).packets)["cache-misses"].text.startswith("12 of 40 reads")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(cache(40, 3), id="a few"),
        pytest.param(cache(40, 15, exptime=5, pause=6 * S), id="time is over"),
        pytest.param(cache(40, 15, before=(b"delete key:%d\r\n", b"DELETED\r\n")), id="deleted"),
        pytest.param(cache(40, 40, before=(b"flush_all\r\n", b"OK\r\n")), id="flushed"),
    ],
)
def test_a_cache_that_does_what_it_should(tmp_path: Path, packets: list[Packet]) -> None:
    assert "cache-misses" not in found(tmp_path, packets)


def test_a_cold_cache(tmp_path: Path) -> None:
    made = talk(41_000, 0, MEMCACHED, step=MS // 10)
    for k in range(40):
        exchange(made, b"get key:%d\r\n" % k, MISS)
        exchange(made, b"set key:%d 0 300 1\r\nx\r\n" % k, b"STORED\r\n")
    assert "cache-misses" not in found(tmp_path, close(made).packets)
