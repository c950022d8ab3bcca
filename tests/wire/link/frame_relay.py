"""Frame Relay with both encapsulations, and bridged Ethernet."""

from tests.wire import links
from tests.wire.helpers import ethernet

DLCI_100, LONG_DLCI = b"\x18\x41", b"\x00\x02\x06\x41"
NLPID = {0x0800: b"\xcc", 0x86DD: b"\x8e"}

FORMS = {
    "frame relay": (links.FRAME_RELAY, lambda p, k: DLCI_100 + b"\x03" + NLPID[k] + p, True),
    "frame relay, cisco": (links.FRAME_RELAY, lambda p, k: DLCI_100 + k.to_bytes(2, "big") + p, True),
    "frame relay, four bytes": (links.FRAME_RELAY, lambda p, k: LONG_DLCI + b"\x03" + NLPID[k] + p, False),
    "frame relay, snap": (links.FRAME_RELAY, lambda p, k: DLCI_100 + b"\x03\x00\x80\0\0\0" + k.to_bytes(2, "big") + p, True),
    "frame relay, bridged": (links.FRAME_RELAY, lambda p, k: DLCI_100 + b"\x03\x00\x80\x00\x80\xc2\x00\x07" + ethernet(p, k), True),
}
