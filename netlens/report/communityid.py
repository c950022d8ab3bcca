"""Community ID: a short hash of a 5-tuple that Zeek, Suricata, Wireshark and others compute alike, so that their rows can be joined with ours.

Version 1 of the open specification (https://github.com/corelight/community-id-spec) with seed 0, of TCP. It stands in no table, because few ask
for it and a million cost 3 s: exports add it as a column when it is named.

Limits: it names a 5-tuple in both directions, not one use of it: a port that is used again has the ID it had. A connection has that of its
application's end points; redirect halves and copies behind a translation have others, as they have in Zeek, and stand in ``sessions``.
"""

from __future__ import annotations

import binascii
import hashlib
import socket
import struct

import numpy as np

from netlens.errors import SchemaError
from netlens.schema import Column, Schema, Table

COLUMN = Column(
    "community_id", "string", "", "derived", "Community ID version 1, seed 0, of the 5-tuple; equal in Zeek, Suricata and Wireshark."
)
TABLES = ("sessions", "connections")  #: the tables that can have it

SEED = b"\x00\x00"
TCP_AND_PADDING = b"\x06\x00"


def community_id(orig_ip: str, orig_port: int, resp_ip: str, resp_port: int) -> str:
    """The ID of one TCP 5-tuple; the direction does not matter."""
    return _hashed(_packed(orig_ip), orig_port, _packed(resp_ip), resp_port)


def _packed(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def _hashed(a: bytes, a_port: int, b: bytes, b_port: int) -> str:
    if (a, a_port) > (b, b_port):
        a, a_port, b, b_port = b, b_port, a, a_port
    digest = hashlib.sha1(SEED + a + b + TCP_AND_PADDING + struct.pack(">HH", a_port, b_port), usedforsecurity=False).digest()
    return "1:" + binascii.b2a_base64(digest, newline=False).decode("ascii")


def with_community_id(table: Table) -> Table:
    """``table`` (sessions or connections) with the column ``community_id`` at its end."""
    if table.schema.name not in TABLES:
        raise SchemaError(f"table {table.schema.name} has no 5-tuple of its own for a Community ID; {' and '.join(TABLES)} have")
    if COLUMN.name in table:
        return table
    packed: dict[str, bytes] = {}
    for name in ("orig_ip", "resp_ip"):
        packed.update((ip, _packed(ip)) for ip in set(table[name].tolist()))
    ids = np.empty(table.rows, dtype=object)
    ends = (table[name].tolist() for name in ("orig_ip", "orig_port", "resp_ip", "resp_port"))
    ids[:] = [_hashed(packed[a], p, packed[b], q) for a, p, b, q in zip(*ends, strict=True)]
    return Table(Schema(table.schema.name, (*table.schema.columns, COLUMN)), {**table.columns, COLUMN.name: ids})
