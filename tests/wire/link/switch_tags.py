"""Frames on the port of a host to a switch chip."""

from tests.wire import links
from tests.wire.helpers import MACS, ethernet


def tagged(packet: bytes, kind: int, tag: bytes) -> bytes:
    return MACS + tag + kind.to_bytes(2, "big") + packet


FORMS = {
    "broadcom tag": (links.BROADCOM, lambda p, k: tagged(p, k, b"\x20\0\0\x01"), False),
    "before it": (links.BROADCOM_FIRST, lambda p, k: b"\x20\0\0\x01" + ethernet(p, k), False),
    "marvell tag": (links.MARVELL, lambda p, k: tagged(p, k, b"\x40\x08\0\0"), False),
    "marvell tag with ethertype": (links.MARVELL_ETHERTYPE, lambda p, k: tagged(p, k, b"\xda\xda\0\0\x40\x08\0\0"), False),
}
