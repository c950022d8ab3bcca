"""The lab's name server; scapy reads what it answers."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS

from netlens.lab import journal
from netlens.lab.journal import Journal
from netlens.lab.provider import dns

NAMES = {"api.z.ai": "203.0.113.10", "open.bigmodel.cn": "edge.example", "edge.example": "203.0.113.10"}


def test_an_address() -> None:
    message = dns.answer(dns.query(7, "API.z.ai"), NAMES)
    read = DNS(message)
    assert (read.id, read.rcode, read.an[0].rdata, read.qd[0].qname) == (7, 0, "203.0.113.10", b"API.z.ai.")
    assert dns.addresses(message) == ["203.0.113.10"]


def test_an_alias_is_followed() -> None:
    message = dns.answer(dns.query(1, "open.bigmodel.cn"), NAMES)
    read = DNS(message)
    assert [(record.rrname, record.type) for record in read.an] == [(b"open.bigmodel.cn.", 5), (b"edge.example.", 1)]
    assert dns.addresses(message) == ["203.0.113.10"]


def test_several_addresses_take_turns() -> None:
    names = {"api.z.ai": ["203.0.113.10", "203.0.113.11", "2001:db8::1"], "open.bigmodel.cn": "api.z.ai"}
    first = [dns.addresses(dns.answer(dns.query(1, name), names, turn))[0] for turn in range(4) for name in names]
    assert first == ["203.0.113.10"] * 2 + ["203.0.113.11"] * 2 + ["203.0.113.10"] * 4
    assert [record.rdata for record in DNS(dns.answer(dns.query(1, "api.z.ai", dns.AAAA), names)).an] == ["2001:db8::1"]


def test_no_such_name_and_no_such_type() -> None:
    assert DNS(dns.answer(dns.query(1, "nowhere.example"), NAMES)).rcode == 3
    empty = DNS(dns.answer(dns.query(1, "api.z.ai", dns.AAAA), NAMES))
    assert (empty.rcode, empty.ancount) == (0, 0)


@given(st.binary(max_size=60))
def test_no_bytes_upset_it(message: bytes) -> None:
    with contextlib.suppress(ValueError):
        dns.answer(message, NAMES)


def test_udp_and_tcp_on_loopback_are_written_down(tmp_path: Path) -> None:
    log = tmp_path / "dns.jsonl"
    written = Journal(log)
    server = dns.serve_udp("127.0.0.1", NAMES, written, port=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"junk", server.getsockname())
        client.sendto(dns.query(5, "api.z.ai"), server.getsockname())
        assert dns.addresses(client.recv(4096)) == ["203.0.113.10"]
    here, there = socket.socketpair()
    question = dns.query(6, "api.z.ai")
    with here:
        here.sendall((struct.pack(">H", len(question)) + question) * 2)
        here.shutdown(socket.SHUT_WR)
        with there:
            dns.converse(there, ("192.0.2.1", 4000), NAMES, written)
        stream = here.makefile("rb")
        for _ in range(2):
            assert dns.addresses(stream.read(struct.unpack(">H", stream.read(2))[0])) == ["203.0.113.10"]
    server.close()
    written.close()
    assert [(e["transport"], e["id"], e["type"]) for e in journal.read(log)] == [("udp", 5, "A"), ("tcp", 6, "A"), ("tcp", 6, "A")]


def test_a_question_is_needed() -> None:
    with pytest.raises(ValueError, match="no DNS question"):
        dns.question(dns.answer(dns.query(1, "api.z.ai"), NAMES))
