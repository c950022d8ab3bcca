"""What the tests of the anonymiser share: a capture in bytes anonymised, and what its readers must see alike before and after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from netlens.anonymize import recordings
from netlens.anonymize.mapper import Mapper
from netlens.anonymize.recordings import Result
from netlens.wire.hints import NO_HELLO
from tests.wire.helpers import Decoded, Packet, decode_paths, pcap

SECRET = bytes(range(32))


def anonymous(data: bytes, folder: Path, *, secret: bytes = SECRET, keep: Iterable[str] = (), name: str = "in.pcap") -> tuple[Path, Path]:
    """(the capture as a file, its anonymised copy), both new in ``folder``."""
    number = len(list(folder.glob("*-in")))
    place = folder / f"{number}-in"
    place.mkdir()
    source, target = place / name, place / f"out-{name}"
    source.write_bytes(data)
    result = recordings.capture(str(source), str(target), Mapper(secret, keep))
    assert isinstance(result, Result)
    return source, target


def seen(packet: Packet) -> Packet:
    """What must stay of a packet row. Of the interface: its type of packet (the rest may hash a name); of the hint: all but what other bytes begin with."""
    return replace(packet, src="", dst="", payload=b"", iface=packet.iface & 0xFF, hint=packet.hint & ~NO_HELLO)


def assert_alike(source: Path, target: Path) -> Decoded:
    """Both decode to the same rows but for addresses and payload; the rows of the second."""
    before, after = decode_paths(source), decode_paths(target)
    assert before.frames == after.frames
    assert before.counts == after.counts
    assert before.first == after.first
    assert before.given_up == after.given_up
    for one, other in zip(before.packets, after.packets, strict=True):
        assert seen(one) == seen(other)
    images: dict[str, str] = {}
    for one, other in zip(before.packets, after.packets, strict=True):
        for a, b in ((one.src, other.src), (one.dst, other.dst)):
            assert images.setdefault(a, b) == b, "one address, one image"
    assert len(set(images.values())) == len(images), "different addresses, different images"
    interfaces = {(a.iface, b.iface) for a, b in zip(before.packets, after.packets, strict=True)}
    assert len({a for a, _ in interfaces}) == len({b for _, b in interfaces}) == len(interfaces)
    return after


def check(packets: Iterable[bytes], link: int, folder: Path, **options: object) -> tuple[Path, Path]:
    """Anonymise packets of one link type and hold both against each other."""
    source, target = anonymous(pcap(packets, link, **options), folder)  # type: ignore[arg-type]
    assert_alike(source, target)
    return source, target
