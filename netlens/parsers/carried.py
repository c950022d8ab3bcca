"""Packets of protocols beside TCP, UDP and ICMP, by who sends them to whom: tunnels (IP in IP, GRE, ESP, be it in UDP), SCTP and routing.

Kept while ``netlens analyze`` reads a capture, and by no other command. What is in tunnels may be read besides; here their packets count as such.

Limits: of the first :data:`MAX_PAIRS`; packets in fragments are left out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_PAIRS = 20_000
GRE, ESP, SCTP = 47, 50, 132
KEPT = (4, 41, GRE, ESP, 88, 89, SCTP)  #: protocols that the decoder hands back
_CHUNK, _INIT, _INIT_ACK, _ABORT = 12, 1, 2, 6  # of SCTP where the first chunk stands, and its kinds (RFC 9260 3.1, 3.2)
_TAG = slice(4, 8)  # to whom a packet of SCTP is; 0 in an INIT, which says by what tag it wants to be answered (3.3.2)
_INITIATE_TAG = slice(_CHUNK + 4, _CHUNK + 8)
AGAIN_NS = 500_000_000  #: an INIT that comes again sooner was recorded twice (RTO.Min is 1 s: RFC 9260 16)
_ODD = -0x61C8864680B583EB  # 2^64 by the golden ratio (Knuth, TAOCP 6.4)
_KEY = [3, 4, 5, 6, 7, 9]  # columns: version, addresses, protocol


@dataclass
class Carried:
    """Packets of one protocol from one address to another.

    openings : how many ask for an association (SCTP's INIT).  port : to which the first one goes (SCTP).  repeats : how many of them are sent again, which
    only who hears nothing at all does: an answer of any kind ends that (RFC 9260 5.1, T1-init).
    """

    packets: int
    first_ns: int
    last_ns: int
    first_frame: int
    openings: int
    port: int = 0
    repeats: int = 0


class Association(NamedTuple):
    """An INIT of SCTP that was answered: by an ABORT (``refused``), or else by an INIT ACK."""

    ts: int
    frame: int
    answer_frame: int
    client: str
    server: str
    port: int
    refused: bool


class CarriedBuilder:
    """Fed with what the decoder hands back.  pairs : by IP protocol, sender and receiver.  associations : of SCTP, in the order of the answers."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[int, str, str], Carried] = {}
        self.associations: list[Association] = []
        self._asked: dict[bytes, tuple[int, int, int]] = {}  # by tag, when, by which frame, and at which port

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        rows = rows[rows[:, d.PIECE] == d.CARRIED]
        if not len(rows):
            return
        mixed = np.zeros(len(rows), np.int64)
        for column in _KEY:
            mixed = mixed * _ODD + rows[:, column]  # modulo 2^64; to sort whole rows takes eight times as long
        keys, of = np.unique(mixed, return_inverse=True)
        whole = (rows[:, 9] == SCTP) & (rows[:, 13] > _CHUNK)
        kind = np.zeros(len(rows), np.int64)
        kind[whole] = buf[rows[whole, 11] + _CHUNK]
        opens = kind == _INIT
        port = np.zeros(len(rows), np.int64)
        port[whole] = buf[rows[whole, 11] + 2].astype(np.int64) << 8 | buf[rows[whole, 11] + 3]
        counts, openings = np.bincount(of), np.bincount(of, opens)
        order = np.argsort(of, kind="stable")
        begins = np.searchsorted(of[order], np.arange(len(keys)))
        first, last, ports = rows[order[begins]], rows[order[begins + counts - 1]], port[order[begins]]
        for k, (version, s_hi, s_lo, d_hi, d_lo, protocol) in enumerate(first[:, _KEY].tolist()):
            key = protocol, ip_text(s_hi, s_lo, version), ip_text(d_hi, d_lo, version)
            pair = self.pairs.get(key)
            if pair is None:
                if len(self.pairs) >= MAX_PAIRS:
                    continue
                pair = self.pairs[key] = Carried(0, int(first[k, 1]), 0, int(first[k, 0]), 0, int(ports[k]))
            pair.packets += int(counts[k])
            pair.openings += int(openings[k])
            pair.last_ns = int(last[k, 1])
        self._associate(buf, rows[opens | (kind == _INIT_ACK) | (kind == _ABORT)])

    def _associate(self, buf: Array, rows: Array) -> None:
        for frame, ts, _, version, s_hi, s_lo, d_hi, d_lo, _, _, _, at, _, captured in rows.tolist():
            packet = buf[at : at + min(captured, _INITIATE_TAG.stop)].tobytes()
            if packet[_CHUNK] == _INIT:
                tag = packet[_INITIATE_TAG]
                if (before := self._asked.get(tag)) is not None and ts - before[0] >= AGAIN_NS and any(tag):
                    pair = self.pairs.get((SCTP, ip_text(s_hi, s_lo, version), ip_text(d_hi, d_lo, version)))
                    if pair is not None:
                        pair.repeats += 1
                elif len(self._asked) < MAX_PAIRS:
                    self._asked.setdefault(tag, (ts, frame, int.from_bytes(packet[2:4], "big")))
            elif (asked := self._asked.pop(packet[_TAG], None)) and len(self.associations) < MAX_PAIRS:
                when, first, port = asked
                client, server = ip_text(d_hi, d_lo, version), ip_text(s_hi, s_lo, version)
                self.associations.append(Association(when, first, frame, client, server, port, packet[_CHUNK] == _ABORT))
