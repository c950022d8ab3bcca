"""Captures for lenses, made packet by packet, and what is found in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scapy.layers.dns import DNS, DNSQR, DNSRR

import netlens
from tests.parsers.build import MS, End, Packet, S, Talk, datagram, mixed, write

if TYPE_CHECKING:
    from netlens.lenses import Finding

CLIENT, SERVER, RESOLVER = "192.0.2.10", "198.51.100.20", "198.51.100.53"
WEB: End = (SERVER, 80)
GET, OK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def found(folder: Path, *streams: Iterable[Packet]) -> dict[str, Finding]:
    """The gravest finding of each id."""
    path = write(folder / "made.pcap", mixed(*streams))
    out: dict[str, Finding] = {}
    for each in netlens.analyze(str(path)).findings:
        out.setdefault(each.id, each)
    return out


def problems(findings: dict[str, Finding]) -> set[str]:
    return {id_ for id_, each in findings.items() if each.severity == "problem"}


def talk(port: int = 40_000, at: int = 0, server: End = WEB, client: str = CLIENT, step: int = 2 * MS) -> Talk:
    """A connection that was just opened."""
    made = Talk((client, port), server, isn=port * 1000, answer=port * 2000, at=at, step=step)
    made.up("S")
    made.down("SA")
    made.up("A")
    return made


def close(made: Talk) -> Talk:
    made.up("FA")
    made.down("FA")
    made.up("A")
    return made


def said_behind(made: Talk, said: bytes, told: bool, closes: bool = False) -> list[Packet]:
    """The server closes, the client says something all the same, and perhaps closes, and is reset. ``told``: its host had acknowledged the close."""
    before = made.back
    made.down("FA")
    if told:
        made.up("A")
        made.at += S
    made.up("PA", said, ack=None if told else before)
    if closes:
        made.up("FA", ack=None if told else before)
    made.down("R", seq=made.back)
    return made.packets


def exchange(made: Talk, request: bytes = GET, answer: bytes = OK, wait: int = 0) -> Talk:
    made.up("PA", request)
    made.down("A")
    made.at += wait
    made.down("PA", answer)
    made.up("A")
    return made


def healthy(port: int = 40_900, at: int = 0) -> list[Packet]:
    """An exchange that shows nothing to speak of."""
    return close(exchange(talk(port, at))).packets


def ping(at: int) -> list[Packet]:
    """A packet so that the capture goes on."""
    return [Packet(at, datagram((CLIENT, 50_000), (SERVER, 123), b"\x23" + bytes(47)))]


def lookup(
    name: str, at: int, answer_at: int | None = None, rcode: int = 0, port: int = 5_000, txid: int = 7, qtype: str = "A"
) -> list[Packet]:
    """A question, and its answer if there is one."""
    query = bytes(DNS(id=txid, rd=1, qd=DNSQR(qname=name, qtype=qtype)))
    packets = [Packet(at, datagram((CLIENT, port), (RESOLVER, 53), query))]
    if answer_at is not None:
        records = [] if rcode else [DNSRR(rrname=name, rdata=SERVER)]
        reply = bytes(DNS(id=txid, qr=1, rd=1, ra=1, rcode=rcode, qd=DNSQR(qname=name, qtype=qtype), an=records))
        packets.append(Packet(answer_at, datagram((RESOLVER, 53), (CLIENT, port), reply)))
    return packets


__all__ = [
    "CLIENT",
    "GET",
    "MS",
    "OK",
    "RESOLVER",
    "SERVER",
    "WEB",
    "S",
    "close",
    "exchange",
    "found",
    "healthy",
    "lookup",
    "ping",
    "problems",
    "said_behind",
    "talk",
]
