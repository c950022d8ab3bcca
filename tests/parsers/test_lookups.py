"""Lookups: what is joined to one row and what is not. Packet matrices are made by hand, messages by scapy."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR

from netlens import threads
from netlens.parsers import lookup_columns, lookup_join
from netlens.parsers import lookups as module
from netlens.parsers.lookups import LookupBuilder
from netlens.wire import columns as c

VM, HOST, NS, OTHER_NS = "192.168.64.2", "203.0.113.1", "203.0.113.10", "203.0.113.11"
T0 = 1_700_000_000_000_000_000
PORTS = (53, 12299, 40123, 5300)  # resolver, redirect, Docker, local resolver: all ports asked here where DNS must be seen
US, MS, S = 1_000, 1_000_000, 1_000_000_000


@dataclass(frozen=True)
class Datagram:
    at: int  # ns after T0
    src: str
    sport: int
    dst: str
    dport: int
    payload: bytes
    iface: int = 0
    length: int | None = None
    kind: int = c.UDP


def halves(text: str) -> tuple[int, int, int]:
    address = ipaddress.ip_address(text)
    number = int(address)
    if address.version == 4:
        return 0, c.V4_PREFIX | number, 4
    hi, lo = (x - (1 << 64) if x >> 63 else x for x in (number >> 64, number & (1 << 64) - 1))
    return hi, lo, 6


def matrix(datagrams: list[Datagram], first_frame: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The buffer and packet matrix that the decode kernel would make of these datagrams."""
    packets = np.zeros((max(len(datagrams), 1), c.WIDTH), np.int64)
    blob = bytearray(b"\xaa" * 7)
    for i, (p, g) in enumerate(zip(packets, datagrams, strict=False)):
        p[c.FRAME], p[c.TS], p[c.KIND], p[c.IFACE] = first_frame + i, T0 + g.at, g.kind, g.iface
        p[c.SRC_HI], p[c.SRC_LO], version = halves(g.src)
        p[c.DST_HI], p[c.DST_LO], _ = halves(g.dst)
        p[c.PORTS] = version << 32 | g.sport << 16 | g.dport
        p[c.LENGTH] = len(g.payload) if g.length is None else g.length
        p[c.PAY_OFF], p[c.PAY_CAP] = len(blob), len(g.payload)
        blob += g.payload
    return np.frombuffer(blob + b"\xaa" * 7, np.uint8), packets


def build(datagrams: list[Datagram], first_frame: int = 1) -> LookupBuilder:
    builder = LookupBuilder()
    buf, packets = matrix(datagrams, first_frame)
    builder.feed(buf, packets)
    return builder


def rows(datagrams: list[Datagram]) -> list[dict[str, Any]]:
    table = build(datagrams).rows()
    found = list(table.records())
    # Whatever is joined: no query on these ports may be lost or counted twice.
    queries = [g for g in datagrams if g.kind == c.UDP and g.dport in PORTS and len(g.payload) >= 4 and not g.payload[2] & 0x80]
    assert sum(r["attempts"] + r["copies"] for r in found if r["transport"] == "udp") == len(queries)
    return found


def one(datagrams: list[Datagram]) -> dict[str, Any]:
    found = rows(datagrams)
    assert len(found) == 1, found
    return found[0]


def ask(txid: int = 7, name: str = "api.z.ai", qtype: str = "A") -> bytes:
    return bytes(DNS(id=txid, rd=1, qd=DNSQR(qname=name, qtype=qtype)))


def reply(txid: int = 7, name: str = "api.z.ai", address: str = "192.0.2.1", rcode: int = 0) -> bytes:
    records = [] if rcode else [DNSRR(rrname=name, rdata=address)]
    return bytes(DNS(id=txid, qr=1, rd=1, ra=1, rcode=rcode, qd=DNSQR(qname=name), an=records))


def asked(
    at: int, port: int = 5000, txid: int = 7, src: str = VM, dst: str = NS, dport: int = 53, iface: int = 0, name: str = "api.z.ai"
) -> Datagram:
    return Datagram(at, src, port, dst, dport, ask(txid, name), iface)


def answered(at: int, port: int = 5000, txid: int = 7, dst: str = VM, src: str = NS, iface: int = 0, **more: Any) -> Datagram:
    return Datagram(at, src, 53, dst, port, reply(txid, **more), iface)


def test_query_and_answer() -> None:
    row = one([asked(0), answered(3 * MS)])
    assert row == {
        "lookup_id": 0,
        "qname": "api.z.ai",
        "qtype": "A",
        "rcode": "NOERROR",
        "answers": ["192.0.2.1"],
        "cnames": [],
        "query_ns": T0,
        "answer_ns": T0 + 3 * MS,
        "latency_ms": 3.0,
        "attempts": 1,
        "copies": 0,
        "orig_ip": VM,
        "orig_port": 5000,
        "resolver_ip": NS,
        "transport": "udp",
        "path": "direct",
        "txid": 7,
        "query_frame": 1,
        "answer_frame": 2,
        "connection_ids": [],
    }


def test_nothing() -> None:
    assert build([]).rows().rows == 0
    assert LookupBuilder().rows().rows == 0


def test_ipv6() -> None:
    row = one([asked(0, src="2001:db8::2", dst="2001:db8::53"), answered(MS, dst="2001:db8::2", src="2001:db8::53")])
    assert (row["orig_ip"], row["resolver_ip"], row["path"], row["rcode"]) == ("2001:db8::2", "2001:db8::53", "direct", "NOERROR")


def test_the_case_of_a_name_may_differ_between_query_and_answer() -> None:
    row = one([asked(0, name="ApI.Z.aI"), answered(MS)])
    assert (row["qname"], row["answers"]) == ("ApI.Z.aI", ["192.0.2.1"])


def test_unanswered_and_negative() -> None:
    row = one([asked(0)])
    assert (row["rcode"], row["answer_ns"], row["latency_ms"], row["answers"]) == (None, None, None, [])
    row = one([asked(0), answered(MS, rcode=3)])
    assert (row["rcode"], row["answers"]) == ("NXDOMAIN", [])


def test_answer_without_query() -> None:
    row = one([answered(0), answered(MS)])
    assert (row["attempts"], row["query_ns"], row["query_frame"], row["answer_frame"]) == (0, None, None, 1)
    assert (row["orig_ip"], row["orig_port"], row["resolver_ip"], row["latency_ms"]) == (VM, 5000, NS, None)


def test_the_other_end_of_a_parallel_question_is_its_own() -> None:
    found = rows([asked(0, 5000, 7), asked(10 * US, 5001, 8), asked(20 * US, 5002, 9), answered(MS, 5002, 9), answered(2 * MS, 5000, 7)])
    assert [(r["txid"], r["attempts"], r["answer_frame"]) for r in found] == [(7, 1, 5), (8, 1, None), (9, 1, 4)]


# --- retries ---------------------------------------------------------------------------------------------------------------------


def test_retry_with_the_same_datagram() -> None:
    row = one([asked(0), asked(5 * S), answered(5 * S + MS), answered(5 * S + 2 * MS)])
    assert (row["attempts"], row["copies"], row["latency_ms"], row["answer_frame"]) == (2, 0, 5001.0, 3)


def test_retry_at_the_next_resolver_with_the_same_id() -> None:
    row = one([asked(0), asked(5 * S, 6000, dst=OTHER_NS), answered(5 * S + MS, 6000, src=OTHER_NS)])
    assert (row["attempts"], row["orig_port"], row["resolver_ip"]) == (2, 5000, OTHER_NS)


def test_two_resolvers_at_once_from_one_socket() -> None:
    row = one([asked(0), asked(10 * US, dst=OTHER_NS), answered(MS, src=OTHER_NS), answered(2 * MS)])
    assert (row["attempts"], row["copies"], row["resolver_ip"], row["path"]) == (2, 0, OTHER_NS, "direct")


@pytest.mark.parametrize(("gap", "lookups"), [(100 * MS, 2), (1 * S, 1), (5 * S + 3 * MS, 1), (7 * S, 2)])
def test_retry_with_a_new_id(gap: int, lookups: int) -> None:
    found = rows([asked(0, 5000, 7), asked(gap, 5001, 8), answered(gap + MS, 5001, 8)])
    assert len(found) == lookups
    assert sum(r["attempts"] for r in found) == 2
    assert found[-1]["rcode"] == "NOERROR"


def test_two_lookups_that_time_out_side_by_side_keep_a_retry_each() -> None:
    found = rows([asked(0, 1, 1), asked(US, 2, 2), asked(5 * S, 3, 3), asked(5 * S + US, 4, 4)])
    assert [r["attempts"] for r in found] == [2, 2]


def test_another_name_client_or_answered_lookup_is_no_retry() -> None:
    assert len(rows([asked(0), asked(S, 5001, 8, name="api.z.cn")])) == 2
    assert len(rows([asked(0), asked(S, 5001, 8, src=HOST)])) == 2
    assert len(rows([asked(0), answered(MS), asked(S, 5001, 8)])) == 2
    assert len(rows([Datagram(0, VM, 5000, NS, 53, ask()), Datagram(S, VM, 5001, NS, 53, ask(8, qtype="AAAA"))])) == 2


def test_reused_id() -> None:
    found = rows([asked(0), answered(MS), asked(S), answered(S + MS)])
    assert [(r["query_frame"], r["answer_frame"], r["attempts"]) for r in found] == [(1, 2, 1), (3, 4, 1)]
    found = rows([asked(0), asked(40 * S), answered(40 * S + MS)])
    assert [(r["query_frame"], r["answer_frame"]) for r in found] == [(1, None), (2, 3)]


# --- copies and translation ------------------------------------------------------------------------------------------------------


def test_copy_on_another_interface() -> None:
    row = one([asked(0, iface=2), asked(50 * US, iface=3), answered(MS, iface=3), answered(MS + 50 * US, iface=2)])
    assert (row["attempts"], row["copies"], row["path"], row["answer_frame"]) == (1, 1, "direct", 3)


def test_no_copy_without_proof() -> None:
    assert one([asked(0, iface=2), asked(50 * US, iface=2)])["attempts"] == 2
    assert one([asked(0, iface=2), asked(3 * MS, iface=3)])["attempts"] == 2


def test_copies_of_each_attempt() -> None:
    row = one([asked(0, iface=1), asked(US, iface=2), asked(2 * US, iface=3), asked(5 * S, iface=1), asked(5 * S + US, iface=2)])
    assert (row["attempts"], row["copies"]) == (2, 3)


def test_source_nat() -> None:
    row = one(
        [
            asked(0, iface=2),
            asked(80 * US, 61000, src=HOST, iface=3),
            answered(MS, 61000, dst=HOST, iface=3),
            answered(MS + 80 * US, iface=2),
        ]
    )
    assert (row["path"], row["attempts"], row["copies"]) == ("nat", 1, 1)
    assert (row["orig_ip"], row["orig_port"], row["resolver_ip"], row["answer_frame"], row["query_frame"]) == (VM, 5000, NS, 3, 1)


def test_source_nat_of_a_retry() -> None:
    inner, outer = asked(0, iface=2), asked(80 * US, 61000, src=HOST, iface=3)
    row = one([inner, outer, replace(inner, at=5 * S), replace(outer, at=5 * S + 80 * US)])
    assert (row["path"], row["attempts"], row["copies"]) == ("nat", 2, 2)


def test_source_nat_of_a_retry_with_a_new_id() -> None:
    row = one(
        [asked(0, iface=2), asked(US, 61000, src=HOST, iface=3), asked(S, 5001, 8, iface=2), asked(S + US, 61001, 8, src=HOST, iface=3)]
    )
    assert (row["path"], row["attempts"], row["copies"]) == ("nat", 2, 2)


def test_same_question_of_two_machines_is_no_nat() -> None:
    assert len(rows([asked(0, iface=2), asked(80 * US, 61000, src=HOST, iface=2)])) == 2  # one interface
    assert len(rows([asked(0, iface=2), asked(80 * US, 61000, 9, src=HOST, iface=3)])) == 2  # another id
    assert len(rows([asked(0, iface=2), asked(S, 61000, src=HOST, iface=3)])) == 2  # too late


def test_destination_nat() -> None:
    queries = [asked(0, dst="10.96.0.10", iface=2), asked(20 * US, dst="10.244.0.5", iface=3)]
    row = one([*queries, answered(MS, src="10.244.0.5", iface=3), answered(MS + US, src="10.96.0.10", iface=2)])
    assert (row["path"], row["attempts"], row["copies"], row["resolver_ip"]) == ("nat", 1, 1, "10.96.0.10")


# --- redirects -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ipv6", [False, True])
def test_redirect_halves(ipv6: bool) -> None:
    vm, loopback, ns = ("fd00::2", "::1", "fd00::1") if ipv6 else (VM, "127.0.0.1", "10.255.255.53")
    row = one([asked(0, src=vm, dst=loopback, dport=12299), answered(3 * MS, src=ns, dst=vm)])
    assert (row["path"], row["resolver_ip"], row["orig_ip"], row["attempts"], row["latency_ms"]) == ("sshuttle", ns, vm, 1, 3.0)


def test_redirect_without_its_answer() -> None:
    row = one([asked(0, dst="127.0.0.1", dport=12299)])
    assert (row["path"], row["resolver_ip"]) == ("sshuttle", "127.0.0.1")


def test_redirect_of_a_local_stub() -> None:
    row = one([asked(0, src="127.0.0.1", dst="127.0.0.1", dport=12299), answered(MS, dst="127.0.0.1", src="127.0.0.53")])
    assert (row["path"], row["resolver_ip"]) == ("sshuttle", "127.0.0.53")


def test_translation_on_the_spot_is_no_redirect() -> None:
    row = one([asked(0, dst="127.0.0.11", dport=40123), answered(MS, src="127.0.0.11")])
    assert (row["path"], row["resolver_ip"]) == ("direct", "127.0.0.11")


def test_local_resolver_on_its_own_port() -> None:
    row = one([asked(0, src="127.0.0.1", dst="127.0.0.1", dport=5300), Datagram(MS, "127.0.0.1", 5300, "127.0.0.1", 5000, reply())])
    assert (row["path"], row["rcode"], row["resolver_ip"]) == ("direct", "NOERROR", "127.0.0.1")
    assert one([asked(0, src="127.0.0.1", dst="127.0.0.53")])["path"] == "direct"


def test_what_only_looks_like_dns() -> None:
    assert rows([Datagram(0, "127.0.0.1", 5300, "127.0.0.1", 5000, reply())]) == []  # no query
    assert rows([Datagram(0, "127.0.0.1", 9, "127.0.0.1", 8125, ask() + b"x")]) == []  # loopback, not well-formed
    assert rows([Datagram(0, VM, 9, NS, 8125, ask())]) == []  # another port
    assert rows([replace(asked(0), kind=c.TCP)]) == []


# --- odd messages ----------------------------------------------------------------------------------------------------------------


def test_cut_question_still_counts() -> None:
    query = asked(0)
    for cap in range(len(query.payload)):
        found = rows([replace(query, payload=query.payload[:cap], length=len(query.payload))])
        assert len(found) == (cap >= 4)
        if found:
            assert (found[0]["qname"], found[0]["qtype"], found[0]["attempts"], found[0]["txid"]) == (None, None, 1, 7)


def test_cut_answer_keeps_what_could_be_read() -> None:
    whole = answered(MS)
    row = one([asked(0), replace(whole, payload=whole.payload[:-2], length=len(whole.payload))])
    assert (row["rcode"], row["answers"]) == ("NOERROR", [])


def test_answer_without_a_question_finds_its_query() -> None:
    row = one([asked(0), Datagram(MS, NS, 53, VM, 5000, bytes(DNS(id=7, qr=1, rcode=1, qd=[])))])
    assert (row["rcode"], row["qname"], row["answer_frame"]) == ("FORMERR", "api.z.ai", 2)
    assert rows([Datagram(MS, NS, 53, VM, 5000, bytes(DNS(id=7, qr=1, rcode=1, qd=[])))]) == []


@pytest.mark.parametrize("opcode", [4, 5], ids=["NOTIFY", "UPDATE"])
def test_what_is_told_to_a_server_counts_as_a_query(opcode: int) -> None:
    told = [bytes(DNS(id=7, qr=qr, opcode=opcode, qd=DNSQR(qname="example.test", qtype="SOA"))) for qr in (0, 1)]
    row = one([Datagram(0, VM, 5000, NS, 53, told[0]), Datagram(MS, NS, 53, VM, 5000, told[1])])
    assert (row["qname"], row["attempts"], row["rcode"]) == ("example.test", 1, "NOERROR")


def test_several_questions_count_once() -> None:
    row = one([Datagram(0, VM, 5000, NS, 53, bytes(DNS(id=7, qd=[DNSQR(qname="a.x"), DNSQR(qname="b.x")])))])
    assert (row["qname"], row["attempts"]) == ("a.x", 1)


def test_answer_before_its_query_in_the_file() -> None:
    row = one([answered(MS), asked(0)])
    assert (row["query_frame"], row["answer_frame"], row["latency_ms"]) == (2, 1, 1.0)


def test_lookups_are_numbered_by_first_frame() -> None:
    found = rows([asked(5 * S, 1, 1, name="late.x"), asked(0, 2, 2, name="early.x")])
    assert [(r["lookup_id"], r["qname"]) for r in found] == [(0, "late.x"), (1, "early.x")]


def test_dns_over_tcp() -> None:
    builder = LookupBuilder()
    for at, message, src, dst, sport, dport in ((0, ask(), VM, NS, 5000, 53), (MS, reply(), NS, VM, 53, 5000)):
        buf, packets = matrix([Datagram(at, src, sport, dst, dport, message, kind=c.TCP)], first_frame=10 + at // MS)
        off = int(packets[0, c.PAY_OFF])
        builder.feed_message(buf[off : off + len(message)], packets[0])
    (row,) = builder.rows().records()
    assert (row["transport"], row["query_frame"], row["answer_frame"], row["answers"], row["attempts"]) == ("tcp", 10, 11, ["192.0.2.1"], 1)
    builder.feed_message(buf[:3], packets[0])  # too short to be one
    assert builder.messages == 2


# --- mDNS ------------------------------------------------------------------------------------------------------------------------


def mdns_ask(at: int, src: str = VM, name: str = "p.local", qtype: str | int = "A", qclass: int = 1, iface: int = 0) -> Datagram:
    return Datagram(at, src, 5353, "224.0.0.251", 5353, bytes(DNS(rd=0, qd=DNSQR(qname=name, qtype=qtype, qclass=qclass))), iface)


def mdns_reply(at: int, src: str = HOST, names: tuple[str, ...] = ("p.local",)) -> Datagram:
    records = [DNSRR(rrname=n, rclass=0x8001, rdata=f"192.0.2.{i + 1}") for i, n in enumerate(names)]
    return Datagram(at, src, 5353, "224.0.0.251", 5353, bytes(DNS(qr=1, aa=1, rd=0, qd=[], an=records)))


def test_mdns_query_and_multicast_answer() -> None:
    found = rows([mdns_ask(0, qclass=0x8001), mdns_ask(S, qclass=1), mdns_reply(S + MS, names=("q.local", "P.local")), mdns_reply(2 * S)])
    assert len(found) == 1
    row = found[0]
    assert (row["transport"], row["attempts"], row["answers"], row["latency_ms"]) == ("mdns", 2, ["192.0.2.2"], 1001.0)
    assert (row["orig_ip"], row["resolver_ip"], row["qname"], row["rcode"], row["answer_frame"]) == (
        VM,
        "224.0.0.251",
        "p.local",
        "NOERROR",
        3,
    )


def test_mdns_answer_serves_all_who_asked() -> None:
    found = rows([mdns_ask(0), mdns_ask(MS, src="192.168.64.3"), mdns_ask(2 * MS, src="192.168.64.4", qtype="ALL"), mdns_reply(3 * MS)])
    assert [r["answer_frame"] for r in found] == [4, 4, 4]


def test_mdns_announcements_and_late_answers() -> None:
    assert rows([mdns_reply(0)]) == []
    assert [r["answer_ns"] for r in rows([mdns_ask(0), mdns_reply(6 * S)])] == [None]
    assert [r["answer_ns"] for r in rows([mdns_ask(0, qtype="ALL"), mdns_reply(MS, src=VM)])] == [
        None
    ]  # a probe, then its own announcement


def test_mdns_copy_and_a_later_question() -> None:
    row = one([mdns_ask(0, iface=1), mdns_ask(US, iface=2)])
    assert (row["attempts"], row["copies"]) == (1, 1)
    assert len(rows([mdns_ask(0), mdns_reply(MS), mdns_ask(10 * S)])) == 2


def test_port_5353_as_a_client_port() -> None:
    row = one([asked(0, port=5353), answered(MS, port=5353)])
    assert (row["transport"], row["rcode"]) == ("udp", "NOERROR")
    assert rows([Datagram(0, VM, 5353, HOST, 4444, b"\0" * 40)]) == []


# --- parts and properties --------------------------------------------------------------------------------------------------------

NAMES = ("api.z.ai", "API.z.ai", "b.x", "p.local")


@st.composite
def datagrams(draw: st.DrawFn) -> list[Datagram]:
    """Traffic that meets itself all the time: few names, ids, ports, machines and interfaces, gaps on both sides of every limit."""
    gaps = st.sampled_from([0, US, MS, 3 * MS, 50 * MS, 300 * MS, 2 * S, 5 * S, 40 * S, -MS])
    at = 0
    out = []
    for _ in range(draw(st.integers(0, 25))):
        at += draw(gaps)
        name, txid = draw(st.sampled_from(NAMES)), draw(st.integers(0, 1))
        client, port = draw(st.sampled_from([VM, HOST, "127.0.0.1"])), draw(st.sampled_from([5000, 5001]))
        server, dport = draw(st.sampled_from([(NS, 53), (OTHER_NS, 53), ("127.0.0.1", 12299), ("224.0.0.251", 5353)]))
        iface = draw(st.integers(0, 1))
        if draw(st.booleans()):
            out.append(Datagram(at, client, port, server, dport, ask(txid, name), iface))
        elif dport == 5353:
            out.append(replace(mdns_reply(at, names=(name, "b.x")), iface=iface))
        else:
            message = reply(txid, name, rcode=draw(st.sampled_from([0, 3])))
            cap = draw(st.sampled_from([len(message), 30, 12, 5]))
            out.append(Datagram(at, server, dport, client, port, message[:cap], iface, len(message)))
    return out


@given(datagrams(), st.data())
def test_parts_merge_to_the_whole(traffic: list[Datagram], data: st.DataObject) -> None:
    whole = list(build(traffic).rows().records())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(traffic)), max_size=3)))
    merged = LookupBuilder()
    for a, b in zip([0, *cuts], [*cuts, len(traffic)], strict=True):
        part = build(traffic[a:b])
        before = list(part.rows().records())
        merged.merge(part, a)
        assert list(part.rows().records()) == before
    assert list(merged.rows().records()) == whole
    assert list(merged.rows().records()) == whole  # again later


@given(datagrams(), st.sampled_from([1, 2]))
def test_questions_may_be_dealt_out(traffic: list[Datagram], size: int) -> None:
    """In parts of a message or two each, on all cores, as in one part; with answers whose question cannot be read, and without."""
    for these in (traffic, [g for g in traffic if len(g.payload) > 12]):
        builder = build(these)
        whole = list(builder.rows().records())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lookup_join, "PART", size)
            assert list(builder.rows().records()) == whole
            patch.setattr(threads, "cores", lambda: 1)
            assert list(builder.rows().records()) == whole


@given(datagrams())
def test_every_query_is_counted_once(traffic: list[Datagram]) -> None:
    table = build(traffic).rows()
    udp = table["transport"] == "udp"
    queries = sum(1 for g in traffic if not g.payload[2] & 0x80 and g.dport != 5353)
    assert int(table["attempts"][udp].sum() + table["copies"][udp].sum()) == queries
    # Copies need two interfaces.
    one_interface = build([replace(g, iface=4) for g in traffic]).rows()
    assert int(one_interface["copies"].sum()) == 0
    assert (table["lookup_id"] == np.arange(table.rows)).all()
    first = [min(f for f in (r["query_frame"], r["answer_frame"]) if f is not None) for r in table.records()]
    assert first == sorted(first) or any(b.at < a.at for a, b in itertools.pairwise(traffic))


ODD = st.tuples(st.binary(max_size=80), st.sampled_from([53, 5353, 9999]), st.sampled_from([VM, "127.0.0.1", "::1"]))


@given(st.lists(ODD, max_size=12))
def test_no_bytes_crash(parts: list[tuple[bytes, int, str]]) -> None:
    traffic = [Datagram(i, ip, 5000, ip, port, payload) for i, (payload, port, ip) in enumerate(parts)]
    builder = build(traffic)
    table = builder.rows()
    assert table.rows <= builder.messages
    list(table.records())


def test_more_messages_than_the_first_arrays_hold() -> None:
    traffic = []
    for i in range(3000):
        name = f"host-{i % 700}-{'x' * 40}.example"
        traffic += [
            asked(i * MS, 1024 + i, i, name=name),
            answered(i * MS + US, 1024 + i, i, name=name, address=f"10.0.{i // 250}.{i % 250}"),
        ]
    found = rows(traffic)
    assert len(found) == 3000
    assert [r["answers"] for r in found] == [[f"10.0.{i // 250}.{i % 250}"] for i in range(3000)]
    assert {r["qname"] for r in found} == {f"host-{i}-{'x' * 40}.example" for i in range(700)}
    assert found[0]["connection_ids"] is not found[1]["connection_ids"]


def test_more_answers_than_the_first_tables_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six thousand addresses: the numbers of the distinct ones outgrow their tables twice."""
    grown: list[int] = []
    monkeypatch.setattr(lookup_columns, "DISTINCT", 512)
    original = lookup_columns.grown
    monkeypatch.setattr(lookup_columns, "grown", lambda *a: grown.append(a[2]) or original(*a))
    traffic = []
    for i in range(6000):
        address = f"198.18.{i // 250}.{i % 250}"
        client = f"10.1.{i // 250}.{i % 250}"
        traffic += [asked(2 * i * MS, src=client, name=f"n{i}"), answered((2 * i + 1) * MS, dst=client, name=f"n{i}", address=address)]
    found = build(traffic).rows()
    assert found["answers"].tolist() == [[f"198.18.{i // 250}.{i % 250}"] for i in range(6000)]
    assert found["orig_ip"].tolist() == [f"10.1.{i // 250}.{i % 250}" for i in range(6000)]
    assert found["qname"].tolist() == [f"n{i}" for i in range(6000)]
    assert len(grown) == 2


def test_a_flood_of_equal_questions_ends() -> None:
    """Every walk is bounded: twenty thousand unanswered lookups of one name must not take minutes."""
    packets = [asked(i * US, 1024 + i % 60000, i, name="a.x") for i in range(2000)]
    buf, matrix_ = matrix(packets)
    builder = LookupBuilder()
    for _ in range(10):
        builder.feed(buf, matrix_)
    table = builder.rows()
    assert int(table["attempts"].sum()) == 20_000


def test_message_rows_are_compact() -> None:
    assert module.d.MESSAGE_WIDTH * 8 <= 104
