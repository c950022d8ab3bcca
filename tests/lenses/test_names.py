"""Names that lead nowhere, that are denied and told at once, and questions whose capture ends with the last try."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from tests.lenses.made import CLIENT, MS, RESOLVER, SERVER, S, close, exchange, found, healthy, lookup, ping, problems, talk
from tests.parsers.build import Packet, datagram
from tests.parsers.test_pipeline import APP, HELLO

if TYPE_CHECKING:
    from pathlib import Path


def dangling(times: int, target: str = "lb-7.cloud.test", step: int = S) -> list[Packet]:
    """A name that leads to another one, which does not exist."""
    out = []
    for k in range(times):
        question = DNSQR(qname="shop.example.test", qtype="A")
        records = DNSRR(rrname="shop.example.test", type="CNAME", rdata=target) if target else None
        reply = DNS(id=k, qr=1, rd=1, ra=1, rcode=3, qd=question, an=records)
        out += [
            Packet(k * step, datagram((CLIENT, 5_000 + k), (RESOLVER, 53), bytes(DNS(id=k, rd=1, qd=question)))),
            Packet(k * step + MS, datagram((RESOLVER, 53), (CLIENT, 5_000 + k), bytes(reply))),
        ]
    return out


def test_a_name_that_leads_to_one_that_does_not_exist(tmp_path: Path) -> None:
    this = found(tmp_path, dangling(3), lookup("www.example.test", 9 * S, 9 * S + MS, port=6_000), healthy(at=9 * S))["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        "1 of 2 names looked up does not exist (NXDOMAIN); shop.example.test leads (CNAME) to lb-7.cloud.test.",
    )


@pytest.mark.parametrize(
    "packets",
    [pytest.param(dangling(1), id="asked once, as of an advertisement"), pytest.param(dangling(3, target=""), id="denied itself")],
)
def test_names_that_somebody_may_have_denied_on_purpose(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, lookup("www.example.test", 9 * S, 9 * S + MS, port=6_000), healthy(at=9 * S))["dns-failed"]
    assert this.severity == "note"


def test_the_only_name_does_not_exist_and_nobody_goes_on(tmp_path: Path) -> None:
    assert found(tmp_path, lookup("absent.example.test", 0, MS, rcode=3))["dns-failed"].severity == "problem"
    assert found(tmp_path, lookup("absent.example.test", 0, MS, rcode=3), healthy(at=S))["dns-failed"].severity == "warning"


def denied(times: int, rcode: int = 3) -> list[Packet]:
    """A name of which a server tells the IPv4 address, and says to AAAA that it does not exist."""
    packets = []
    for k in range(times):
        packets += lookup("git.home.test", k * S, k * S + MS, port=5_000 + k, txid=2 * k)
        packets += lookup("git.home.test", k * S + MS // 2, k * S + 2 * MS, rcode=rcode, port=5_000 + k, txid=2 * k + 1, qtype="AAAA")
    return packets


def test_a_name_that_is_told_and_denied(tmp_path: Path) -> None:
    this = found(tmp_path, denied(3), ping_of_another(9 * S))["dns-failed"]
    assert this.severity == "problem"
    assert this.text == (
        "198.51.100.53 tells the IPv4 address of git.home.test and says in answer to AAAA that there is no such name (NXDOMAIN, 3 times): some resolver "
        "libraries believe that."
    )


def ping_of_another(at: int) -> list[Packet]:
    return [Packet(at, datagram((CLIENT, 50_000), ("198.51.100.99", 123), b"\x23" + bytes(47)))]


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([denied(2), ping_of_another(9 * S)], id="twice"),
        pytest.param([denied(5)], id="a capture of DNS alone"),
        pytest.param([denied(5), ping_of_another(9 * S), close(exchange(talk(at=9 * S))).packets], id="its client goes there"),
        pytest.param([denied(5), ping(9 * S)], id="by UDP"),
    ],
)
def test_a_denial_that_costs_nothing_or_may_not(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "dns-failed" not in found(tmp_path, *streams)


def tries(*at: int) -> list[Packet]:
    """One question from a new port each time, as dig asks."""
    return [p for k, ns in enumerate(at) for p in lookup("app.example.test", ns, port=5_000 + k)]


def test_a_question_that_is_open_at_the_end_and_was_tried_for_long(tmp_path: Path) -> None:
    assert found(tmp_path, tries(0, S, 2 * S), healthy())["dns-unanswered"].severity == "problem"


@pytest.mark.parametrize(
    "packets", [tries(0, S), tries(0, 700 * MS, 1400 * MS), [*tries(0, S, 2 * S), *lookup("app.example.test", 2 * S, 2 * S + MS)[1:]]]
)
def test_a_question_that_is_open_at_the_end_is_pending(tmp_path: Path, packets: list[Packet]) -> None:
    assert "dns-unanswered" not in found(tmp_path, packets, healthy())


@pytest.mark.parametrize(("took", "others", "severity"), [(1500 * MS, 0, "problem"), (1500 * MS, 1, "warning")])
def test_every_answer_is_late(tmp_path: Path, took: int, others: int, severity: str) -> None:
    fast = [p for k in range(others) for p in lookup(f"www{k}.example.test", 9 * S, 9 * S + MS, port=6_000 + k)]
    this = found(tmp_path, lookup("app.example.test", 0, took), fast, ping(20 * S))["dns-slow"]
    assert (this.severity, this.text) == (
        severity,
        f"1 of {1 + others} DNS question{'s' if others else ''} took 1.5 s ({RESOLVER}): app.example.test.",
    )


def test_the_only_question_was_lost_once(tmp_path: Path) -> None:
    packets = [*lookup("app.example.test", 0), *lookup("app.example.test", S, S + 100 * MS)]
    assert found(tmp_path, packets, ping(20 * S))["dns-slow"].severity == "warning"


def filtered(*names: str) -> list[Packet]:
    """One name that exists, and such that are asked for again and again and do not."""
    there = lookup("www.example.test", 0, 5 * MS)
    return there + [
        p
        for k, name in enumerate(names)
        for turn in range(4)
        for p in lookup(name, (4 * turn + 1) * S + k * MS, (4 * turn + 1) * S + (k + 3) * MS, 3, 6000 + 10 * k + turn, 100 + k)
    ]


def test_names_that_a_filter_denies(tmp_path: Path) -> None:
    """To a client that is served elsewhere; one that is not needs them."""
    names = filtered("telemetry.vendor.test", "ads.tracker.test")
    assert "dns-failed" in problems(found(tmp_path, names, ping(30 * S)))
    made = talk(server=(SERVER, 443))
    for up, data in ((True, HELLO), (False, b"\x16\x03\x03\x00\x32\x02" + bytes(49)), (True, APP), (False, APP)):
        (made.up if up else made.down)("PA", data)
    assert not problems(found(tmp_path, names, close(made).packets, ping(30 * S)))


def test_names_of_a_client_that_is_served_over_ipv6(tmp_path: Path) -> None:
    """It asks over IPv4: that it is the same machine shows by who was told that address."""
    asked = DNS(id=9, rd=1, qd=DNSQR(qname="home.example.test", qtype="AAAA"))
    told = DNS(id=9, qr=1, rd=1, ra=1, qd=asked.qd, an=[DNSRR(rrname="home.example.test", type="AAAA", rdata="2001:db8::20")])
    ends = (CLIENT, 5_000), (RESOLVER, 53)
    home = [Packet(0, datagram(*ends, bytes(asked))), Packet(5 * MS, datagram(*ends[::-1], bytes(told)))]
    names = filtered("settings.vendor.test", "location.vendor.test")
    made = exchange(talk(server=("2001:db8::20", 80), client="2001:db8::10"))
    assert not problems(found(tmp_path, home, names, close(made).packets, ping(30 * S)))
    assert "dns-failed" in problems(found(tmp_path, names, close(made).packets, ping(30 * S)))


def test_names_by_which_a_network_is_asked(tmp_path: Path) -> None:
    assert "dns-failed" not in found(tmp_path, filtered("mask.icloud.com", "use-application-dns.net"), healthy(), ping(30 * S))


PRIMARY, SECONDARY, OTHER = "198.51.100.1", "198.51.100.2", "198.51.100.3"


def asks(name: str, at: int, ends: tuple[str, str], qtype: str = "A", rcode: int | None = None, txid: int = 7) -> list[Packet]:
    """A question of a host to a server, and what it is told, if anything."""
    query = DNS(id=txid, qd=DNSQR(qname=name, qtype=qtype))
    here, there = (ends[0], 5_000 + txid), (ends[1], 53)
    packets = [Packet(at, datagram(here, there, bytes(query)))]
    if rcode is not None:
        reply = DNS(id=txid, qr=1, rcode=rcode, qd=DNSQR(qname=name, qtype=qtype))
        packets.append(Packet(at + MS, datagram(there, here, bytes(reply))))
    return packets


def fails(name: str = "www.corp.test", rcode: int = 2) -> list[Packet]:
    return [p for k in range(3) for p in asks(name, (4 + k) * S, (CLIENT, SECONDARY), rcode=rcode, txid=20 + k)]


@pytest.mark.parametrize(
    ("transfer", "words"),
    [
        (asks("corp.test", 0, (SECONDARY, PRIMARY), "AXFR", 5), "(AXFR) and was told REFUSED"),
        (asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA", 9), "(SOA) and was told NOTAUTH"),
        (asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA"), "(SOA) and got no answer"),
    ],
)
def test_a_zone_that_its_secondary_server_does_not_get(tmp_path: Path, transfer: list[Packet], words: str) -> None:
    this = found(tmp_path, transfer, fails())["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        f"1 of 1 DNS question failed (SERVFAIL from {SECONDARY}): www.corp.test; {SECONDARY} asked {PRIMARY} for the zone corp.test {words}.",
    )


@pytest.mark.parametrize(
    "streams",
    [
        [asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA", 0), fails()],
        [asks("other.test", 0, (SECONDARY, PRIMARY), "AXFR", 5), fails()],
        [asks("corp.test", 0, ("198.51.100.9", PRIMARY), "AXFR", 5), fails()],  # of another server
        [
            asks("corp.test", 0, (CLIENT, SECONDARY), "SOA", 5),
            asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA", 5, txid=8),
            fails(),
        ],  # passed on
        [asks("corp.test", 6 * S, (SECONDARY, PRIMARY), "SOA"), fails()],  # too young
        [
            asks("corp.test", 0, (SECONDARY, PRIMARY), "AXFR", 5),
            asks("mail.corp.test", S, (CLIENT, SECONDARY), rcode=0),
            fails(),
        ],  # a name in it is broken
        [
            asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA", 5),
            asks("corp.test", 3 * S, (SECONDARY, PRIMARY), "SOA", 0, 8),
            fails(),
        ],  # once
        [
            asks("corp.test", S, (SECONDARY, PRIMARY), "SOA", 5),
            asks("corp.test", 0, (SECONDARY, OTHER), "SOA", 0, 8),
            fails(),
        ],  # another has it
        [
            asks("corp.test", 0, (SECONDARY, PRIMARY), "SOA", 2),
            asks("www.corp.test", 0, (SECONDARY, PRIMARY), rcode=0, txid=8),
            fails(),
        ],  # a resolver
    ],
)
def test_zones_that_are_no_reason(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "for the zone" not in found(tmp_path, *streams)["dns-failed"].text


def circle(back: str = "www.shop.test", rcode: int | None = None) -> list[Packet]:
    """A client asks one resolver, which asks another, which asks the first (``back``: for this name)."""
    made = asks("www.shop.test", 0, (CLIENT, SECONDARY), txid=1) + asks("www.shop.test", MS, (SECONDARY, PRIMARY), txid=2)
    return made + asks(back, 2 * MS, (PRIMARY, SECONDARY), txid=3, rcode=rcode)


def test_resolvers_that_ask_each_other(tmp_path: Path) -> None:
    this = found(tmp_path, circle(), [p for k in range(4) for p in asks("www.shop.test", (2 + 2 * k) * S, (CLIENT, SECONDARY), txid=4 + k)])
    assert this["dns-unanswered"].severity == "problem"
    assert f"; {PRIMARY} and {SECONDARY} ask each other the same, in circles" in this["dns-unanswered"].text


def client_asks(name: str, at: int = 0) -> list[Packet]:
    return asks(name, at, (CLIENT, SECONDARY), txid=1) + asks(name, at + 5 * S, (CLIENT, SECONDARY), txid=2)


def further(name: str, at: int, to: str = PRIMARY, rcode: int | None = None, txid: int = 50) -> list[Packet]:
    """The resolver asks the server behind it."""
    return asks(name, at, (SECONDARY, to), rcode=rcode, txid=txid)


def test_a_server_behind_the_resolver_that_does_not_answer(tmp_path: Path) -> None:
    passed = [p for k in range(4) for p in further("www.shop.test", MS + k * S, txid=50 + k)]
    this = found(tmp_path, client_asks("www.shop.test"), passed, healthy(), ping(30 * S))["dns-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith(f"; {SECONDARY} asked {PRIMARY} for the same in vain.")
    assert this.advice.startswith(f"Ask that server from {SECONDARY} (dig @{PRIMARY} www.shop.test)")


def test_a_server_behind_that_drops_some_names(tmp_path: Path) -> None:
    others = [p for k in range(4) for p in further(f"w{k}.test", (20 + k) * S, rcode=0, txid=70 + k)]
    passed = [p for k in range(4) for p in further("ads.shop.test", MS + k * S, txid=50 + k)]
    this = found(tmp_path, client_asks("ads.shop.test"), passed, others, healthy(), ping(30 * S))["dns-unanswered"]
    assert this.text.endswith(f"; {SECONDARY} asked {PRIMARY} for the same in vain, which answers for others.")
    assert "a filter of its own" in this.advice


@pytest.mark.parametrize(
    "passed",
    [
        further("other.test", MS),  # another name
        further("www.shop.test", MS, rcode=0),  # it was answered
        further("www.shop.test", MS) + further("www.shop.test", S, OTHER, rcode=0, txid=51),  # by another
        further("www.shop.test", 100 * S),  # much later
        further("www.shop.test", MS) + asks("else.test", S, (CLIENT, OTHER), txid=3) + asks("else.test", 6 * S, (CLIENT, OTHER), txid=4),
    ],
)
def test_a_resolver_that_itself_does_not_answer(tmp_path: Path, passed: list[Packet]) -> None:
    this = found(tmp_path, client_asks("www.shop.test"), passed, healthy(), ping(130 * S))["dns-unanswered"]
    assert "in vain" not in this.text
    assert this.advice.startswith("Ask the resolver directly")


BY_THEMSELVES = [
    p
    for k in range(3)
    for n, ends in enumerate(((SECONDARY, PRIMARY), (PRIMARY, SECONDARY)))
    for p in asks("www.shop.test", (20 * k + 7 * n) * S, ends, txid=40 + k)
]  # each asks the other, as its resolver


@pytest.mark.parametrize("packets", [circle("ns.shop.test"), circle(rcode=0), BY_THEMSELVES])
def test_resolvers_that_ask_each_other_something_else(tmp_path: Path, packets: list[Packet]) -> None:
    again = [p for k in range(4) for p in asks("www.shop.test", (2 + 2 * k) * S, (CLIENT, SECONDARY), txid=4 + k)]
    assert "circles" not in found(tmp_path, packets, again)["dns-unanswered"].text


def pairs(
    lost: tuple[int, ...],
    both: bool = False,
    again: int = 5 * S,
    times: int = 40,
    one_port: bool = False,
    slept: int = 0,
    name: str = "a.shop.test",
) -> list[Packet]:
    """A name that is asked for 40 times, by A and AAAA from one port.  lost : of which the answer to AAAA (``both``: to A as well) comes at the next try.
    one_port : of all.  slept : each time so much longer until that."""
    packets: list[Packet] = []
    at = 0
    for k in range(times):
        for n, qtype in enumerate(("A", "AAAA")):
            ids = {"port": 5_000 if one_port else 5_000 + k, "txid": 2 * k + n}
            first = at + n * MS // 10
            if k in lost and (both or qtype == "AAAA"):
                late = first + again + lost.index(k) * slept
                packets += lookup(name, first, qtype=qtype, **ids) + lookup(name, late, late + MS, qtype=qtype, **ids)
            else:
                packets += lookup(name, first, first + MS, qtype=qtype, **ids)
        at += again + lost.index(k) * slept + 20 * MS if k in lost else 20 * MS
    return sorted(packets, key=lambda p: p.at)


def test_one_of_two_queries_from_a_port_is_lost(tmp_path: Path) -> None:
    this = found(tmp_path, pairs((5, 15, 25)), healthy())
    assert problems(this) == {"dns-slow"}
    assert this["dns-slow"].text == (
        "3 of 80 DNS lookups (a.shop.test) were answered only when they were sent again, up to 5.0 s later (198.51.100.53); each is one of a pair, A and AAAA "
        "from one port, of which the other was answered at once."
    )
    assert "single-request-reopen" in this["dns-slow"].advice


def test_queries_that_are_lost_otherwise_or_seldom(tmp_path: Path) -> None:
    assert "of a pair" not in found(tmp_path, pairs((5, 15, 25), both=True), healthy())["dns-slow"].text
    assert "dns-slow" not in problems(found(tmp_path, pairs((5, 15)), healthy()))
    assert "dns-slow" not in problems(found(tmp_path, pairs((5, 15, 25), again=S), healthy()))


@pytest.mark.parametrize(
    "packets",
    [
        pairs((5, 15, 25), times=160),
        pairs((5, 15, 25), one_port=True),
        pairs((5, 15, 25), slept=2 * S),
        pairs((5, 15, 25), name="20.100.51.198.in-addr.arpa"),
    ],
    ids=["fewer than any way loses", "all from one port", "a computer that slept", "names of addresses"],
)
def test_queries_that_nobody_waits_for(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, healthy())
    assert "dns-slow" not in this or "sent again" not in this["dns-slow"].text


def test_queries_of_which_the_name_is_not_in_the_capture(tmp_path: Path) -> None:
    """Cut behind the header of DNS, and before its end."""
    for kept in (40, 44):
        assert not problems(found(tmp_path, [Packet(p.at, p.data[:kept], cut=len(p.data) - kept) for p in pairs((5, 15, 25))]))


def controllers(times: int, domain: str = "corp.test") -> list[Packet]:
    name = "_ldap._tcp.dc._msdcs.corp.test"
    denied = [p for k in range(times) for p in lookup(name, k * S, k * S + MS, rcode=3, port=5_000 + k, txid=k, qtype="SRV")]
    return denied + lookup(f"dc1.{domain}", 10 * S, 10 * S + MS, port=6_000, txid=99)


def test_a_domain_without_controllers(tmp_path: Path) -> None:
    this = found(tmp_path, controllers(3), healthy(at=11 * S))["dns-failed"]
    assert this.severity == "warning"
    assert this.text == (
        "192.0.2.10 asked 3 times for the domain controllers of corp.test (SRV _ldap._tcp.dc._msdcs.corp.test), which do not exist (NXDOMAIN), though "
        "198.51.100.53 knows other names there."
    )
    assert "dns-failed" not in found(tmp_path, controllers(2), healthy(at=11 * S))
    assert "dns-failed" not in found(tmp_path, controllers(3, "example.test"), healthy(at=11 * S))  # it is abroad


def hammered(times: int, apart: int = 60 * MS, rcode: int = 3) -> list[Packet]:
    """A name that is asked for without a pause, and denied each time; its client is served elsewhere."""
    asked = [p for k in range(times) for p in lookup("mq.example.test", k * apart, k * apart + MS, rcode, port=5_000 + k, txid=k)]
    served = lookup("www.example.test", 20 * S, 20 * S + MS, port=6_000, txid=999)
    return [*asked, *served, *healthy(at=20 * S + 2 * MS)]


def test_a_name_that_is_asked_for_without_a_pause(tmp_path: Path) -> None:
    this = found(tmp_path, hammered(60))["dns-failed"]
    assert this.severity == "warning"
    assert f"{CLIENT} asked for mq.example.test 60 times over 3.5 s" in this.text


@pytest.mark.parametrize("packets", [hammered(8), hammered(30, apart=10 * MS)], ids=["a library", "a moment"])
def test_a_name_that_is_asked_for_a_few_times(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets)["dns-failed"].severity == "note"


def truncated(port: int, at: int, bare: bool = True, refused: bool = True) -> list[Packet]:
    """A question of which the answer is truncated, and TCP refused."""
    question = DNSQR(qname="big.example.test", qtype="TXT")
    reply = DNS(
        id=port, qr=1, rd=1, ra=1, tc=int(bare), qd=question, an=None if bare else DNSRR(rrname="big.example.test", type="TXT", rdata="x")
    )
    made = talk(port, at + 5 * MS, (RESOLVER, 53))
    asked = [
        Packet(at, datagram((CLIENT, port), (RESOLVER, 53), bytes(DNS(id=port, rd=1, qd=question)))),
        Packet(at + MS, datagram((RESOLVER, 53), (CLIENT, port), bytes(reply))),
    ]
    made.packets = made.packets[:1]
    made.down("RA", ack=made.packets and port * 1000 + 1)
    return [*asked, *made.packets]


@pytest.mark.parametrize("bare", [True, False])
def test_dns_over_tcp_that_is_refused(tmp_path: Path, bare: bool) -> None:
    this = found(tmp_path, *(truncated(41_000 + k, 3 * k * S, bare) for k in range(3)), healthy(at=20 * S), ping(40 * S))["connect-refused"]
    assert this.severity == "problem"
    assert ("truncated): big.example.test (TXT)." in this.text) == bare
    assert ("TCP port 53" in this.advice) == bare
