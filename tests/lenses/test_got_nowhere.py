"""Programs that get nowhere, or wait, and what else in the traffic tells why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRROPT

from tests.lenses.made import CLIENT, GET, MS, RESOLVER, SERVER, S, close, exchange, found, healthy, lookup, ping, problems, talk
from tests.lenses.test_calls import agreed, media
from tests.lenses.test_denials import NO_DIALECT
from tests.lenses.test_gone import SERVER6, falls_back
from tests.lenses.test_names import dangling
from tests.lenses.test_names_again import others, rounds
from tests.lenses.test_udp import QUIC, asked_over_udp
from tests.parsers.build import Packet, Talk, datagram, mixed
from tests.parsers.test_pipeline import APP, HELLO

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import End

# -- names --

BEFORE = [*lookup("www.example.test", 0, MS, port=4_000), *healthy(40_000, 10 * MS)]


def in_vain(times: int = 4, name: str = "databse.example.test", at: int = S) -> list[Packet]:
    return rounds(times, name, None, step=800 * MS, at=at)


def test_a_program_that_asks_for_one_name_to_the_end(tmp_path: Path) -> None:
    this = found(tmp_path, BEFORE, in_vain())["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        f"1 of 2 names looked up does not exist (NXDOMAIN); {CLIENT} asked for databse.example.test 4 times, and did nothing else any more.",
    )
    suffixed = mixed(*(in_vain(name=f"databse.{zone}", at=S + k * 20 * MS) for k, zone in enumerate(("svc.test", "corp.test"))))
    assert "dns-failed" in problems(found(tmp_path, BEFORE, suffixed))


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([BEFORE, in_vain(3)], id="a person may try three times"),
        pytest.param([BEFORE, in_vain(), healthy(40_001, 3 * S)], id="it goes on"),
        pytest.param([BEFORE, in_vain(), lookup("www.example.test", 2 * S, 2 * S + MS, port=4_001)], id="it asks for others"),
        pytest.param([others(), in_vain()], id="a filter beside pages"),
        pytest.param([BEFORE, in_vain(name="wpad.example.test")], id="of itself"),
    ],
)
def test_names_that_are_denied_while_programs_work(tmp_path: Path, packets: list[list[Packet]]) -> None:
    assert "dns-failed" not in problems(found(tmp_path, *packets))


def test_a_name_that_leads_nowhere_and_is_asked_for_twice(tmp_path: Path) -> None:
    """Filters answer so for what they deny, too (BIND's response policy zones)."""
    later = [Packet(p.at + S, p.data) for p in dangling(2)]
    assert "leads (CNAME) to lb-7.cloud.test" in (this := found(tmp_path, BEFORE, later)["dns-failed"]).text
    assert this.severity == "warning"
    denied = [Packet(p.at + S, p.data) for p in dangling(2, target="")]
    assert found(tmp_path, BEFORE, denied)["dns-failed"].severity == "note"


def suffixes(times: int, took: int, *, last: bool = True) -> list[list[Packet]]:
    """A name that is asked for behind four suffixes, or before them."""
    zones = (".app.svc.test", ".svc.test", ".test", ".corp.test")
    names = [*(f"api.partner.example{zone}" for zone in zones), "api.partner.example"]
    out = []
    for k in range(times):
        for n, name in enumerate(names if last else names[::-1]):
            at = k * 2 * S + n * (took + MS)
            out.append(lookup(name, at, at + took, 0 if name == names[-1] else 3, 5_000 + 10 * k + n, 10 * k + n))
    return out


def test_what_search_suffixes_cost(tmp_path: Path) -> None:
    this = found(tmp_path, *suffixes(8, 35 * MS))["dns-slow"]
    assert (this.severity, this.text) == (
        "problem",
        (
            "8 DNS lookups asked for names with 4 search suffixes first, which do not exist (NXDOMAIN): that took typically 144 ms before each name itself was "
            "asked for, 1.2 s in all."
        ),
    )
    assert found(tmp_path, *suffixes(8, 10 * MS))["dns-slow"].severity == "warning"
    assert "dns-slow" not in found(tmp_path, *suffixes(8, MS))  # a resolver beside it
    assert "dns-slow" not in found(tmp_path, *suffixes(2, 35 * MS))
    assert "dns-slow" not in found(tmp_path, *suffixes(8, 35 * MS, last=False))


def test_search_suffixes_at_a_far_resolver(tmp_path: Path) -> None:
    """The answer is late as a whole, and that is why."""
    assert found(tmp_path, *suffixes(8, 150 * MS))["dns-slow"].text.startswith("8 DNS lookups asked for names with 4 search suffixes first")


def test_one_name_that_is_asked_for_again(tmp_path: Path) -> None:
    asked = [p for k in range(6) for p in lookup("api.example.test", k * 2 * S, k * 2 * S + 400 * MS, 0, 5_000 + k, k)]
    assert found(tmp_path, asked)["dns-slow"].text == "DNS answers take 400 ms (median of 1 question, asked 6 times)."


def without_edns(times: int, *, answered: bool = False, plain: bool = False) -> list[Packet]:
    """Names that are asked for with EDNS (unless ``plain``), and without 2.1 s later. answered : one query with EDNS has an answer."""
    out: list[Packet] = []
    for k in range(times):
        name, port = f"w{k}.example.test", 6_000 + 2 * k
        first = DNS(id=k, rd=1, qd=DNSQR(qname=name), ar=None if plain else DNSRROPT())
        out.append(Packet(k * 3 * S, datagram((CLIENT, port), (RESOLVER, 53), bytes(first))))
        out += lookup(name, k * 3 * S + 2_100 * MS, k * 3 * S + 2_105 * MS, port=port + 1, txid=100 + k)
    if answered:
        asked = DNS(id=99, rd=1, qd=DNSQR(qname="x.example.test"), ar=DNSRROPT())
        out.append(Packet(20 * S, datagram((CLIENT, 7_000), (RESOLVER, 53), bytes(asked))))
        out += lookup("x.example.test", 20 * S, 20 * S + MS, port=7_000, txid=99)[1:]
    return out


def test_queries_with_edns_that_nobody_answers(tmp_path: Path) -> None:
    this = found(tmp_path, without_edns(3))["dns-slow"]
    assert (this.severity, this.text) == (
        "problem",
        (
            "3 of 3 DNS questions took more than 2.0 s, the longest 2.1 s (198.51.100.53): w0.example.test, w1.example.test and 1 other; none of the "
            "queries with EDNS (OPT) got an answer, those without did."
        ),
    )
    assert "RFC 6891" in this.advice
    for packets in (without_edns(3, plain=True), without_edns(3, answered=True)):  # they were lost
        assert "EDNS" not in found(tmp_path, packets)["dns-slow"].text


# -- connections --


def test_ipv6_that_is_dead_while_ipv4_works(tmp_path: Path) -> None:
    packets = []
    for k in range(3):
        six = Talk(("2001:db8:1::10", 41_000 + k), (SERVER6, 443), at=k * 9 * S)
        for at in (0, 1, 3):
            six.at = k * 9 * S + at * S
            packets.append(six.up("S", seq=0))
        packets += close(exchange(talk(42_000 + k, k * 9 * S + 4 * S, (SERVER, 443)))).packets
    this = found(tmp_path, packets, ping(60 * S))["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith(f"each time its client went on by IPv4 ({SERVER}:443), typically 4.0 s later.")
    assert "RFC 8305" in this.advice
    assert not problems(found(tmp_path, [p for k in range(4) for p in falls_back(k)], ping(30 * S)))  # it hardly waits


def ftp(word: bytes, place: End, later: int = MS) -> list[Packet]:
    """A login of FTP, what the server says to PASV, and SYNs in vain."""
    made = talk(40_000, 0, (SERVER, 21))
    made.down("PA", b"220 hello\r\n")
    exchange(made, b"USER a\r\n", b"230 in\r\n")
    exchange(made, b"PASV\r\n", word)
    data = Talk((CLIENT, 40_001), place, at=made.at + later)
    tries = []
    for wait in (0, 1, 3):
        data.at = made.at + later + wait * S
        tries.append(data.up("S", seq=0))
    return mixed(made.packets, tries)


def test_data_of_ftp_that_nobody_takes(tmp_path: Path) -> None:
    passive = b"227 Entering Passive Mode (10,9,9,9,195,99).\r\n"
    this = found(tmp_path, ftp(passive, (SERVER, 50_019)), ping(30 * S))["connect-unanswered"]
    assert this.text.endswith(f"{SERVER}:21 had just named that port for data of FTP (passive mode).")
    this = found(tmp_path, ftp(passive, ("10.9.9.9", 50_019)), ping(30 * S))["connect-unanswered"]
    assert this.text.endswith(f"{SERVER}:21 had just named that address and port for data of FTP (passive mode).")
    assert "pasv_address" in this.advice
    for other in (ftp(b"250 done\r\n", (SERVER, 50_019)), ftp(passive, (SERVER, 50_019), later=20 * S)):
        assert "FTP" not in found(tmp_path, other, ping(60 * S))["connect-unanswered"].text


def test_quic_that_a_client_waits_for_before_it_takes_tcp(tmp_path: Path) -> None:
    tcp = close(exchange(talk(42_000, 4 * S, (SERVER, 443)))).packets
    this = found(tmp_path, asked_over_udp(QUIC, [0, 1, 3], (SERVER, 443)), tcp, ping(30 * S))
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text.endswith("(up to 3 datagrams over 3.0 s); TCP was tried 4.0 s later.")


# -- answers --


@pytest.mark.parametrize(("pause", "severity"), [(S, "problem"), (MS, None)])
def test_a_client_of_smb_without_a_version_in_common(tmp_path: Path, pause: int, severity: str | None) -> None:
    """It comes anew; what comes at once beside it is another thread, or a scanner."""
    tries = []
    for k in range(2):
        tries.append(close(exchange(talk(41_000 + k, k * pause, (SERVER, 445)), b"negotiate", NO_DIALECT)).packets)
    this = found(tmp_path, *tries, healthy(at=20 * S))
    assert (this["refused"].severity if "refused" in this else None) == severity


def probes(*hosts: tuple[str, str, bytes]) -> list[Packet]:
    """Questions whether the internet is there: host, path and answer."""
    out = []
    for k, (host, path, answer) in enumerate(hosts):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        out += close(exchange(talk(43_000 + k, k * S), request, answer)).packets
    return out


PORTAL = b"HTTP/1.1 302 Found\r\nLocation: http://portal.hotel.test/login?mac=1\r\nContent-Length: 0\r\n\r\n"
PRESENT = b"HTTP/1.1 204 No Content\r\n\r\n"
ANDROID, FIREFOX = ("connectivitycheck.gstatic.com", "/generate_204"), ("detectportal.firefox.com", "/success.txt?ipv4")


def test_a_captive_portal(tmp_path: Path) -> None:
    named = lookup("portal.hotel.test", 0, MS)
    this = found(tmp_path, named, probes((*ANDROID, PORTAL), (*FIREFOX, PORTAL)))["http-errors"]
    assert (this.severity, this.text) == (
        "problem",
        f"2 questions of {CLIENT} whether the internet is there were all led to portal.hotel.test: a captive portal stands before it.",
    )
    outside: list[Packet] = []
    for k in range(2):
        made = talk(46_000 + k, 9 * S, (f"203.0.113.{k + 1}", 443))
        for up, data in ((True, HELLO), (False, b"\x16\x03\x03\x00\x32\x02" + bytes(49)), (True, APP), (False, APP)):
            (made.up if up else made.down)("PA", data)
        outside += close(made).packets
    told = found(tmp_path, named, probes((*ANDROID, PORTAL), (*FIREFOX, PORTAL)), sorted(outside, key=lambda p: p.at))
    assert told["http-errors"].severity == "warning"
    home = PORTAL.replace(b"http://portal.hotel.test/login", b"https://connectivitycheck.gstatic.com/x")
    for others_ in (
        [(*ANDROID, PORTAL), (*FIREFOX, PORTAL), (*ANDROID, PRESENT)],  # somebody has logged in
        [(*ANDROID, PORTAL)],
        [("www.example.test", "/a", PORTAL)] * 3,
        [(*ANDROID, home)] * 3,
    ):
        assert "http-errors" not in found(tmp_path, named, probes(*others_))


def orders(pause: int, times: int = 8) -> list[Packet]:
    out, at = [], 0
    for k in range(times):
        made = exchange(talk(44_000 + k, at), b"POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 Oops\r\n\r\n")
        out += close(made).packets
        at = made.at + pause
    return out


def test_requests_that_are_sent_again_at_once(tmp_path: Path) -> None:
    this = found(tmp_path, orders(10 * MS))["http-errors"]
    assert this.text.endswith("; 7 of these requests are the same as the one before, sent again within 100 ms of its error.")
    assert "longer each time" in this.advice
    assert "the same as the one before" not in found(tmp_path, orders(S))["http-errors"].text


@pytest.mark.parametrize(
    ("request_", "answer", "told"),
    [
        (
            GET,
            b"<center>The plain HTTP request was sent to HTTPS port</center>",
            "say that plain HTTP was sent to a port that takes TLS alone",
        ),
        (GET.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n"), b"no", "asked for a WebSocket (Upgrade)"),
        (GET, b"no", ""),
    ],
)
def test_what_a_400_is_about(tmp_path: Path, request_: bytes, answer: bytes, told: str) -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(answer)
    tries = [close(exchange(talk(44_000 + k, k * S), request_, head + answer)).packets for k in range(3)]
    this = found(tmp_path, *tries)["http-errors"]
    assert told in this.text
    assert told or this.text.endswith("from 198.51.100.20:80.")


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
EVENT, END = b"d\r\ndata: hello\n\n\r\n", b"0\r\n\r\n"
FINISHED = b"e\r\ndata: [DONE]\n\n\r\n"
ERROR = b"15\r\nevent: error\ndata: {}\r\n"


def stream(
    *pauses: int, port: int = 45_000, request: bytes = POST, at: int = 0, event: bytes = EVENT, last: bytes = FINISHED
) -> list[Packet]:
    """An answer that comes event by event, after these pauses."""
    made = exchange(talk(port, at), request, STREAM)
    for pause in pauses:
        made.at += pause
        made.down("PA", event)
        made.up("A")
    made.down("PA", last + END)
    made.up("A")
    return close(made).packets


QUICKLY = [40 * MS] * 20


def test_a_stream_that_stops(tmp_path: Path) -> None:
    this = found(tmp_path, stream(*QUICKLY, 9 * S, *QUICKLY), stream(*QUICKLY, port=45_001, at=20 * S))["slow-server"]
    assert (this.severity, this.text) == (
        "warning",
        (
            "1 of 2 answers in a stream of events stopped for 9.0 s in the middle, and then went on (198.51.100.20:80); nothing was lost, and the client "
            "had all that had come."
        ),
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(stream(*QUICKLY[:3], 9 * S, *QUICKLY), id="it thinks before it speaks"),
        pytest.param(stream(*QUICKLY, 2 * S, *QUICKLY), id="shortly"),
        pytest.param(stream(*[2 * S] * 12, 9 * S), id="a slow one"),
        pytest.param(stream(*QUICKLY, 9 * S, *QUICKLY, request=GET), id="news"),
    ],
)
def test_streams_that_may_be_silent(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-server" not in found(tmp_path, packets)


TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n"


def test_what_a_refusal_in_clear_leaves_open(tmp_path: Path) -> None:
    refused = [close(exchange(talk(46_000 + k, (5 + k) * S), POST, TOO_MANY)).packets for k in range(4)]
    this = found(tmp_path, stream(*QUICKLY), *refused)["refused"]
    assert this.text.startswith("4 of 5 requests were refused. The server says that they are too many (429).")
    assert "TLS key log" not in this.text  # all is in clear
    for unlike in ({"event": ERROR}, {"last": b""}):  # that it was accepted
        assert "of 1 of 5 requests it is not known" in found(tmp_path, stream(*QUICKLY, **unlike), *refused)["refused"].text


def test_voice_that_goes_one_way_for_some_seconds(tmp_path: Path) -> None:
    """Who names a format of silence (13) may send nothing for a while."""
    voice = media([0] * 250)
    assert "call-failed" in problems(found(tmp_path, agreed(), voice, healthy()))
    assert "call-failed" not in found(tmp_path, agreed("0 13", "0 13"), voice, healthy())
