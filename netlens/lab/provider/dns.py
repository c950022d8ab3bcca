"""A small name server for the lab: A and AAAA over UDP and TCP (RFC 1035, RFC 7766), a fixed list of names, every query written down."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netlens.addresses import is_address

if TYPE_CHECKING:
    from netlens.lab.journal import Journal

A, CNAME, AAAA = 1, 5, 28
_TYPES = {A: "A", CNAME: "CNAME", AAAA: "AAAA"}
_NOERROR, _NXDOMAIN = 0, 3
TTL_S = 60

Names = Mapping[str, str | Sequence[str]]  #: of each its address, its addresses, or the name that it is an alias of
_turns = itertools.count()


def question(message: bytes) -> tuple[int, str, int, int]:
    """Transaction id, name (lower case, no final dot), type and the offset behind the question; ValueError if it is none."""
    try:
        txid, flags, count = struct.unpack_from(">HHH", message)
        at, labels = 12, []
        while length := message[at]:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        kind, _class = struct.unpack_from(">HH", message, at + 1)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"no DNS question: {error}") from None
    if flags & 0x8000 or count != 1:
        raise ValueError("no DNS question")
    return txid, ".".join(labels).lower(), kind, at + 5


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def query(txid: int, name: str, kind: int = A) -> bytes:
    """A question with recursion desired."""
    return struct.pack(">HHHHHH", txid, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">HH", kind, 1)


def addresses(message: bytes) -> list[str]:
    """The A records of an answer of ours (names in answers are pointers or uncompressed)."""
    _txid, _flags, _questions, count = struct.unpack_from(">HHHH", message)
    at = 12
    while message[at]:
        at += 1 + message[at]
    at += 5
    found = []
    for _ in range(count):
        while message[at]:
            if message[at] >= 0xC0:
                at += 1
                break
            at += 1 + message[at]
        kind, _class, _ttl, length = struct.unpack_from(">HHIH", message, at + 1)
        at += 11
        if kind == A:
            found.append(socket.inet_ntoa(message[at : at + length]))
        at += length
    return found


def answer(message: bytes, names: Names, turn: int = 0) -> bytes:
    """The answer to a question; ``turn``: which of several addresses comes first, the others follow in order."""
    txid, name, kind, end = question(message)
    records, owner = [], b"\xc0\x0c"  # a pointer to the question's name
    target = names.get(name)
    rcode = _NOERROR if target else _NXDOMAIN
    while isinstance(target, str) and not is_address(target):
        alias = encode_name(target)
        records.append(owner + struct.pack(">HHIH", CNAME, 1, TTL_S, len(alias)) + alias)
        owner, target = alias, names.get(target)
    ips = [target] if isinstance(target, str) else list(target or ())
    for k in range(len(ips)):
        ip = ips[(turn + k) % len(ips)]
        if kind == (AAAA if ":" in ip else A):
            data = socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, ip)
            records.append(owner + struct.pack(">HHIH", kind, 1, TTL_S, len(data)) + data)
    return struct.pack(">HHHHHH", txid, 0x8180 | rcode, 1, len(records), 0, 0) + message[12:end] + b"".join(records)


def _reply(message: bytes, names: Names, journal: Journal, peer: tuple[str, int], transport: str) -> bytes | None:
    ns = time.time_ns()
    try:
        txid, name, kind, _end = question(message)
        reply = answer(message, names, next(_turns) if kind == A else 0)
    except ValueError:
        return None
    journal.write("lookup", ns, ip=peer[0], port=peer[1], transport=transport, id=txid, name=name, type=_TYPES.get(kind, f"TYPE{kind}"))
    return reply


def serve_udp(ip: str, names: Names, journal: Journal, port: int = 53) -> socket.socket:
    """Answer on UDP in a thread until the socket is closed."""
    listener = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((ip, port))

    def loop() -> None:
        while True:
            try:
                message, peer = listener.recvfrom(4096)
            except OSError:
                return
            if reply := _reply(message, names, journal, peer, "udp"):
                listener.sendto(reply, peer)

    threading.Thread(target=loop, daemon=True).start()
    return listener


def converse(connection: socket.socket, peer: tuple[str, int], names: Names, journal: Journal) -> None:
    """Answer questions on one TCP connection until the other side closes it."""
    stream = connection.makefile("rb")
    while len(head := stream.read(2)) == 2:
        message = stream.read(struct.unpack(">H", head)[0])
        if reply := _reply(message, names, journal, peer, "tcp"):
            connection.sendall(struct.pack(">H", len(reply)) + reply)
