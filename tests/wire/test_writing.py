"""What is written is read again as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlens.wire import writing
from netlens.wire.containers import Reader
from netlens.wire.framing import F_CAP, F_OFF, F_TS, F_WIRE

NS = 1_700_000_000_123_456_789
PACKETS = [b"one", b"four", b""]


@pytest.mark.parametrize("unit_ns", [1, 1000])
def test_a_pcap(tmp_path: Path, unit_ns: int) -> None:
    records = b"".join(writing.pcap_record(data, NS + i, 100, unit_ns) for i, data in enumerate(PACKETS))
    check(tmp_path, writing.pcap_header(101, unit_ns=unit_ns) + records, [(NS + i) // unit_ns * unit_ns for i in range(3)], b"")


def test_a_pcapng(tmp_path: Path) -> None:
    packets = b"".join(writing.packet(0, data, NS + i, 100) for i, data in enumerate(PACKETS))
    check(tmp_path, writing.SECTION + writing.interface(101, 500, b"eth0") + packets, [NS + i for i in range(3)], b"eth0")


def check(folder: Path, content: bytes, times: list[int], name: bytes) -> None:
    (folder / "c.pcap").write_bytes(content)
    reader, found = Reader([folder / "c.pcap"]), []
    for batch in reader.batches():
        for f in batch.frames[: batch.n].tolist():
            found.append((bytes(batch.buf[f[F_OFF] : f[F_OFF] + f[F_CAP]]), f[F_TS], f[F_WIRE]))
    assert found == [(data, ns, 100) for data, ns in zip(PACKETS, times, strict=True)]
    assert reader.interfaces == [(0, 101, name)]
    assert not [w for i in reader.inputs for w in i.warnings]
