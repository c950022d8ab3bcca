"""Questions of DNS that were answered twice, with other addresses each time: whoever answers first need not be the resolver (RFC 5452 3).

Kept while ``netlens analyze`` reads a capture, and by no other command. Limits: over UDP; of answers that stand in one batch of packets, to a question that was
asked once there; of the first :data:`MAX_COMPARED` pairs that may be such, the first :data:`MAX_FOUND`.
"""

from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_FOUND, MAX_COMPARED = 1000, 50_000
_PORT, _HEADER, _LONGEST, _UDP = 53, 12, 512, 8
_A, _AAAA = 1, 28
_RESPONSE, _CODE = 0x80, 0x0F


class Contradiction(NamedTuple):
    """Two answers of one resolver to one question. frames, times : of the question, and both answers.  ask : a number that tells whether two are the same.

    hops : that both answers might still make (TTL), -1 where no plain header stands before.
    """

    client: str
    server: str
    frames: tuple[int, int, int]
    times: tuple[int, int, int]
    ask: int
    hops: tuple[int, int]


class SecondAnswerBuilder:
    """Fed with decoded datagrams."""

    def __init__(self) -> None:
        self.found: list[Contradiction] = []
        self._compared = 0

    def feed(self, buf: Array, packets: Array) -> None:
        ports = packets[:, c.PORTS]
        whole = packets[:, c.PAY_CAP] > _HEADER
        answers = packets[whole & ((ports >> 16 & 0xFFFF) == _PORT)]
        if len(answers) < 2 or len(self.found) >= MAX_FOUND or self._compared >= MAX_COMPARED:
            return
        number = buf[answers[:, c.PAY_OFF]].astype(np.int64) << 8 | buf[answers[:, c.PAY_OFF] + 1]
        key = (number << 16 | answers[:, c.PORTS] & 0xFFFF) ^ answers[:, c.DST_LO] * 0x9E3779B1
        order = np.argsort(key, kind="stable")
        twice = np.flatnonzero(np.diff(key[order]) == 0)
        self._compared += len(twice)
        for at in twice.tolist():
            self._compare(buf, packets, answers[order[at]].tolist(), answers[order[at + 1]].tolist())

    def _compare(self, buf: Array, packets: Array, first: list[int], second: list[int]) -> None:
        """Two answers that may be to one question."""
        ends = (c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS)
        if any(first[k] != second[k] for k in ends):
            return
        texts = [buf[row[c.PAY_OFF] : row[c.PAY_OFF] + min(row[c.PAY_CAP], _LONGEST)].tobytes() for row in (first, second)]
        said = [_addresses(text) for text in texts] if texts[0] != texts[1] else [None, None]
        if said[0] is None or said[1] is None or said[0][0] != said[1][0] or not said[0][1] or not said[1][1] or said[0][1] & said[1][1]:
            return
        back = first[c.PORTS] & ~0xFFFFFFFF | (first[c.PORTS] & 0xFFFF) << 16 | first[c.PORTS] >> 16 & 0xFFFF
        asked = packets[
            (packets[:, c.PORTS] == back) & (packets[:, c.SRC_LO] == first[c.DST_LO]) & (packets[:, c.DST_LO] == first[c.SRC_LO])
        ]
        asked = asked[asked[:, c.PAY_CAP] > _HEADER]
        mine = [row for row in asked.tolist() if buf[row[c.PAY_OFF] : row[c.PAY_OFF] + 2].tobytes() == texts[0][:2]]
        if len(mine) != 1 or mine[0][c.TS] > first[c.TS]:
            return
        version = first[c.PORTS] >> 32
        rows = (mine[0], first, second)
        self.found.append(
            Contradiction(
                ip_text(first[c.DST_HI], first[c.DST_LO], version),
                ip_text(first[c.SRC_HI], first[c.SRC_LO], version),
                (rows[0][c.FRAME], rows[1][c.FRAME], rows[2][c.FRAME]),
                (rows[0][c.TS], rows[1][c.TS], rows[2][c.TS]),
                crc32(said[0][0]),
                (_hops(buf, first), _hops(buf, second)),
            )
        )


def _hops(buf: Array, row: list[int]) -> int:
    """TTL, or hop limit; -1 where no plain header stands before."""
    six = row[c.PORTS] >> 32 == 6
    ip = row[c.PAY_OFF] - _UDP - (40 if six else 20)
    if ip < 0 or (buf[ip] >> 4 != 6 or buf[ip + 6] != c.UDP if six else buf[ip] != 0x45):
        return -1
    return int(buf[ip + (7 if six else 8)])


def _addresses(text: bytes) -> tuple[bytes, set[bytes]] | None:
    """(question, addresses) of an answer without error and with one question; None of others, or what is cut."""
    if not text[2] & _RESPONSE or text[3] & _CODE or text[4:6] != b"\0\1":
        return None
    at = _behind_name(text, _HEADER)
    question, at = text[_HEADER : at + 4].lower(), at + 4
    found = set()
    for _ in range(int.from_bytes(text[6:8], "big")):
        at = _behind_name(text, at)
        if at + 10 > len(text):
            return None
        kind, size = int.from_bytes(text[at : at + 2], "big"), int.from_bytes(text[at + 8 : at + 10], "big")
        if kind in (_A, _AAAA):
            found.add(text[at + 10 : at + 10 + size])
        at += 10 + size
    return question, found


def _behind_name(text: bytes, at: int) -> int:
    """The place behind a name, which may end by a pointer (RFC 1035 4.1.4)."""
    while at < len(text) and text[at]:
        if text[at] >= 0xC0:
            return at + 2
        at += 1 + text[at]
    return at + 1
