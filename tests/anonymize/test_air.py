"""IEEE 802.11 in a copy: nobody's address, no network's name, no place on earth; decoded alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlens.parsers import pipeline
from tests.anonymize.frames import check
from tests.wire import links
from tests.wire.air import (
    AP,
    FROM_DS,
    PROTECTED,
    RELAY,
    STATION,
    TO_DS,
    aggregated,
    data,
    head,
    management,
    radiotap,
    snap,
    subframe,
)  # fmt: skip
from tests.wire.helpers import ip4, tcp
from tests.wire.link.ppi import PLACE, common, ppi
from tests.wire.link.prism import prism

V4 = ip4(tcp(b"a secret"))
IV = b"\1\0\0\x20\0\0\0\0"
NAME = b"Home of somebody"
BEACON = management(8, bytes(12) + b"\0\x10" + NAME + b"\3\1\6")
EAP = data(b"\2\0\0\x0b\2\1\0\x0b\1someone", 0x888E)
FRAMES = [  # with addresses that nothing else looks like
    frame.replace(b"\2\0\0\0\0", b"\xd2\x1e\x55\xc3\x0f")
    for frame in (
        BEACON,
        management(4, b"\0\x10" + NAME),
        management(11, b"\0\0\2\0\x11\0" + b"\xdd\5" + NAME[:5]),
        management(12, b"\7\0"),
        management(12, b"\7\0" * 9, PROTECTED),
        b"\xd4\0\0\0" + STATION,
        b"\xb4\0\0\0" + STATION + AP,
        b"\x94\0\0\0" + STATION + AP + b"\5\0\0\1" + bytes(8),
        head(4, TO_DS),
        head(8, TO_DS | PROTECTED) + b"\0\0" + IV + NAME,
        head(8, FROM_DS | PROTECTED) + b"\0\0" + IV + snap(V4, 0x0800),
        head(8, TO_DS | PROTECTED) + b"\x80\0" + IV + subframe(V4, 0x0800),
        head(8, FROM_DS) + b"\0\1" + b"\1\x1f\1\0\0\0" + RELAY + snap(V4, 0x0800),
        head(8, FROM_DS) + b"\0\1" + b"\2\x1f\1\0\0\0" + RELAY + STATION + snap(V4, 0x0800),
        data(V4, 0x0800, TO_DS | FROM_DS, 5),
        data(V4, 0x0800, sequence=0x123),
        aggregated((V4, 0x0800), (V4, 0x0800)),
        EAP,
    )
]
SAID = (NAME[:5], b"someone", b"secret", b"\x55\xc3\x0f", b"52.5N", b"wlan0")


@pytest.mark.parametrize("cut", [None, 60, 44, 30, 21, 9, 1])
def test_nobody_is_named(tmp_path: Path, cut: int | None) -> None:
    forms = [
        (links.AIR, FRAMES),
        (links.RADIOTAP, [radiotap(frame) for frame in FRAMES]),
        (links.PPI, [ppi(frame, fields=common() + PLACE) for frame in FRAMES]),
        (links.PRISM, [prism(frame) for frame in FRAMES]),
    ]
    for link, frames in forms:
        _, target = check(frames, link, tmp_path, cut=cut)
        copy = target.read_bytes()
        for said in SAID:
            assert said not in copy, (link, said)


def test_reasons_and_signals_stay(tmp_path: Path) -> None:
    no = management(1, b"\1\0\x11\0\0\xc0" + b"\xdd\5" + NAME[:5])
    paths = check([radiotap(no, signal=-77), radiotap(data(V4, 0x0800), signal=-77)], links.RADIOTAP, tmp_path)
    kept = [pipeline.run([path], ["sessions", pipeline.TRAIL]).closely for path in paths]
    told = [([e.code for e in each.wlan.events], [flow.loud for flow in each.wlan.flows.values()]) for each in kept if each]
    assert told == [([17], [-77])] * 2
