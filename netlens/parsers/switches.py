"""What switches and network cards say to each other on a link: spanning trees, bundles of links (LACP), and PAUSE.

Kept while ``netlens analyze`` reads a capture, and by no other command. BPDUs: IEEE 802.1D-2004 9.3, and those of Cisco, one for each VLAN. LACPDUs: IEEE
802.1AX-2008 5.4.2. PAUSE: IEEE 802.3-2018 annex 31B, for all classes or by class (annex 31D).

Limits: of the first :data:`MAX_MESSAGES`, and of the first :data:`MAX_PAUSES`. PAUSE and LACP in frames of Ethernet without a tag.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.routers import vlans
from netlens.wire import decode as d

MAX_MESSAGES, MAX_PAUSES = 50_000, 500_000
MAC_CONTROL, SLOW = 0x8808, 0x8809  #: EtherTypes
PAUSE, BY_CLASS = 1, 0x0101  #: opcodes of MAC control
_CLASSES = 8
_CONTROL_BYTES = 4 + 2 * _CLASSES
TS, FRAME, SENDER, QUANTA, CLASSES = range(5)  #: columns of PAUSE frames
_LACP, _LACP_BYTES = 1, 39  # subtype; bytes up to the partner's state
_CONFIGURATION, _RAPID = 0, 2  # types of BPDUs that name a root; the versions from _RAPID on are of rapid spanning trees
_BPDU_BYTES = 35
_LLC, _SNAP = 3, 8  # bytes of headers before a BPDU
_SECOND = 10**9


class Bpdu(NamedTuple):
    """A bridge says how it sees the tree.  root, bridge : "priority/hardware address".  changed : whether it tells of a change of the topology.

    change_ns : how long it tells of one: 802.1D-1998 8.5.3.13 (the maximum age and the forward delay), 802.1D-2004 17.21.7 (a hello and a second).
    hello_ns : how often it speaks.
    """

    ts: int
    frame: int
    root: str
    bridge: str
    changed: bool
    change_ns: int
    hello_ns: int


class Lacpdu(NamedTuple):
    """A port of a bundle says how it sees itself.  state : its bits.  partner : the system that it sees at the other end, "" without.  partner_port : which
    port of it."""

    ts: int
    frame: int
    state: int
    partner: str
    partner_port: int


class SwitchBuilder:
    """Fed with what the decoder hands back.

    trees : by network (interface, tags of VLANs, whether in Cisco's manner), tree (a VLAN, if it has a number), bridge and port, what it says in order.
    ports : of LACP, by interface, system and port.
    """

    def __init__(self) -> None:
        self.trees: dict[tuple[tuple[int, ...], int, str, int], list[Bpdu]] = {}
        self.ports: dict[tuple[int, str, int], list[Lacpdu]] = {}
        self._pauses: list[Array] = []
        self._paused = self._read = 0

    def pauses(self) -> Array:
        """int64[n, 5]: PAUSE frames in order: time, frame, hardware address of the sender as a number, for how many quanta of 512 bit times the other end is
        to be silent (of several classes the most), and 1 if it is told by class, else 0."""
        return np.concatenate([np.empty((0, 5), np.int64), *self._pauses])

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        rows = rows[rows[:, d.PIECE] == d.OF_LINK]
        if not len(rows):
            return
        self._control(buf, rows[(rows[:, 3] == MAC_CONTROL) & (rows[:, 11] >= 14) & (rows[:, 13] >= _CONTROL_BYTES)])
        chosen = rows[(rows[:, 3] == SLOW) | (rows[:, 3] == d.BPDU)][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for frame, ts, iface, kind, _, _, _, _, _, _, _, at, _, captured in chosen.tolist():
            if kind == d.BPDU and captured >= _BPDU_BYTES:
                plain = buf[at - 3] == d.BPDU
                network = iface, *vlans(buf, at - (_LLC if plain else _SNAP)), -int(plain)
                self._bpdu(buf[at : at + _BPDU_BYTES].tobytes(), ts, frame, network)
            elif kind == SLOW and captured >= _LACP_BYTES:
                self._lacpdu(buf[at : at + _LACP_BYTES].tobytes(), ts, frame, iface)

    def _control(self, buf: Array, rows: Array) -> None:
        rows = rows[: MAX_PAUSES - self._paused]
        if not len(rows):
            return
        message = buf[rows[:, 11][:, None] + np.arange(-8, _CONTROL_BYTES)].astype(np.int64)
        pairs = message[:, 0::2] << 8 | message[:, 1::2]  # three of the sender, the EtherType, the opcode, what it says
        sender, opcode, said = pairs[:, 0] << 32 | pairs[:, 1] << 16 | pairs[:, 2], pairs[:, 4], pairs[:, 5:]
        enabled = said[:, :1] >> np.arange(_CLASSES) & 1
        quanta = np.where(opcode == PAUSE, said[:, 0], (said[:, 1:] * enabled).max(axis=1))
        found = np.stack([rows[:, 1], rows[:, 0], sender, quanta, opcode == BY_CLASS], axis=1)[(opcode == PAUSE) | (opcode == BY_CLASS)]
        self._pauses.append(found)
        self._paused += len(found)

    def _bpdu(self, message: bytes, ts: int, frame: int, network: tuple[int, ...]) -> None:
        version, kind = message[2], message[3]
        if message[:2] != bytes(2) or kind not in (_CONFIGURATION, _RAPID):
            return
        _, oldest, hello, forward = (int.from_bytes(message[at : at + 2], "big") * _SECOND // 256 for at in (27, 29, 31, 33))
        lasts = hello + _SECOND if version >= _RAPID else oldest + forward
        tree = (
            int.from_bytes(message[5:7], "big") & 0x0FFF
        )  # 802.1D-2004 9.2.5: the system ID extension, the VLAN where there is a tree for each
        root, bridge = _bridge(message[5:13]), _bridge(message[17:25])
        said = Bpdu(ts, frame, root, bridge, bool(message[4] & 1), lasts, hello)
        self.trees.setdefault((network, tree, bridge, int.from_bytes(message[25:27], "big")), []).append(said)

    def _lacpdu(self, message: bytes, ts: int, frame: int, iface: int) -> None:
        if message[0] != _LACP or message[2:4] != b"\x01\x14" or message[22:24] != b"\x02\x14":
            return
        partner = message[26:32].hex(":") if any(message[26:32]) else ""
        port = iface, message[6:12].hex(":"), int.from_bytes(message[16:18], "big")
        self.ports.setdefault(port, []).append(Lacpdu(ts, frame, message[18], partner, int.from_bytes(message[36:38], "big")))


def _bridge(name: bytes) -> str:
    return f"{int.from_bytes(name[:2], 'big')}/{name[2:].hex(':')}"
