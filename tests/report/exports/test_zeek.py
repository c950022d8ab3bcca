"""Zeek's logs, read back by a reader made from the format's description only: header lines give separators, names and types."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.report.communityid import community_id, with_community_id
from netlens.report.exports import Rows, zeek
from netlens.schema import DTYPES, Table
from netlens.tables import LOOKUPS, SESSIONS
from tests.parsers.test_pipeline import ACK, ANSWER, QUERY, RST, SYN, conversation, datagram, lookup_over_tcp, pcap, segment

CONN_FIELDS = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state local_orig local_resp missed_bytes "
    "history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents ip_proto"
)
DNS_FIELDS = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z "
    "answers TTLs rejected"
)


def value(text: str, kind: str, unset: str, empty: str, separator: str) -> Any:
    """A cell by its type; None: unset. Anything that the type cannot hold raises."""
    if text == unset:
        return None
    if match := re.fullmatch(r"(?:set|vector)\[(.*)\]", kind):
        return [] if text == empty else [value(part, match[1], unset, empty, separator) for part in text.split(separator)]
    if kind in ("time", "interval"):
        assert re.fullmatch(r"-?\d+\.\d{6}", text), text
        return float(text)
    if kind in ("count", "port"):
        assert re.fullmatch(r"\d+", text), text
        return int(text)
    if kind == "bool":
        return {"T": True, "F": False}[text]
    if kind == "addr":
        assert re.fullmatch(r"[0-9a-f:.]+", text), text
        return text
    assert kind in ("string", "enum"), kind
    raw = b"" if text == empty else re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode("ascii"))
    return raw.decode("latin-1")


def read(text: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    header: dict[str, str] = {}
    rows = []
    for line in text.splitlines():
        if line.startswith("#separator "):
            header["separator"] = line.removeprefix("#separator ").encode().decode("unicode_escape")
        elif line.startswith("#"):
            key, _, rest = line[1:].partition(header["separator"])
            header[key] = rest
        else:
            names, kinds = header["fields"].split("\t"), header["types"].split("\t")
            cells = line.split(header["separator"])
            assert len(names) == len(kinds) == len(cells)
            more = header["unset_field"], header["empty_field"], header["set_separator"]
            rows.append({n: value(c, k, *more) for n, k, c in zip(names, kinds, cells, strict=True)})
    assert text.endswith("\n")
    return header, rows


def conn(capture: netlens.Capture) -> tuple[dict[str, str], list[dict[str, Any]]]:
    out = io.StringIO()
    zeek.write(Rows(capture.table("sessions")), out)
    return read(out.getvalue())


def dns(table: Table, sessions: Table | None = None) -> tuple[dict[str, str], list[dict[str, Any]]]:
    out = io.StringIO()
    zeek.write(Rows(table, beside=lambda _: sessions), out)
    return read(out.getvalue())


def capture(tmp_path: Path, packets: list[bytes], start_us: int = 0) -> netlens.Capture:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([(start_us + i * 1000, p) for i, p in enumerate(packets)]))
    return netlens.read(path)


def table(schema: Any, **row: Any) -> Table:
    """One row; what is not given is missing or 0."""
    columns = {}
    for c in schema:
        column = np.empty(1, DTYPES[c.dtype])
        default = [] if c.dtype.startswith("list") else None if column.dtype == object else 0
        column[0] = row.get(c.name, default)
        columns[c.name] = column
    return Table(schema, columns)


def test_conn_log_holds_the_sessions(tmp_path: Path) -> None:
    made = capture(tmp_path, conversation("10.0.0.2", 4000, "8.8.8.8", 77777, False, 2, 2, "fin"))
    header, (row,) = conn(made)
    (session,) = made.table("sessions").records()
    assert header["path"] == "conn"
    assert header["fields"].replace("\t", " ") == CONN_FIELDS
    assert header["open"] == header["close"] == "1970-01-01-00-16-40"
    assert (row["uid"], row["proto"], row["service"], row["ip_proto"]) == ("C0", "tcp", "ssl", 6)
    assert (row["id.orig_h"], row["id.orig_p"], row["id.resp_h"], row["id.resp_p"]) == ("10.0.0.2", 4000, "8.8.8.8", 443)
    assert (row["ts"], row["conn_state"], row["history"]) == (1000.0, "SF", session["history"])
    assert (row["orig_bytes"], row["resp_bytes"]) == (session["orig_bytes"], session["resp_bytes"])
    assert (row["orig_pkts"], row["resp_pkts"], row["missed_bytes"]) == (session["orig_frames"], session["resp_frames"], 0)
    assert (row["local_orig"], row["local_resp"]) == (True, False)


def test_a_duration_ends_with_the_second_fin(tmp_path: Path) -> None:
    packets = conversation("10.0.0.2", 4000, "8.8.8.8", 77777, False, 1, 1, "fin")
    _, (row,) = conn(capture(tmp_path, packets))
    assert row["duration"] == pytest.approx((len(packets) - 2) / 1000)  # the last frame acknowledges it


def test_what_is_not_known_is_unset(tmp_path: Path) -> None:
    _, (row,) = conn(capture(tmp_path, [segment("10.0.0.2", 4000, "8.8.8.8", 443, SYN, 1)]))
    assert [row[k] for k in ("duration", "orig_bytes", "resp_bytes", "service")] == [None] * 4
    assert [row[k] for k in ("orig_ip_bytes", "resp_ip_bytes", "tunnel_parents")] == [None] * 3
    assert (row["conn_state"], row["history"], row["orig_pkts"], row["resp_pkts"]) == ("S0", "S", 1, 0)


def test_bytes_are_0_and_not_unset_where_time_has_passed(tmp_path: Path) -> None:
    a, b = ("10.0.0.2", 4000), ("8.8.8.8", 443)
    _, (row,) = conn(capture(tmp_path, [segment(*a, *b, SYN, 1), segment(*b, *a, RST | ACK, 0, 2)]))
    assert (row["duration"], row["orig_bytes"], row["resp_bytes"], row["conn_state"]) == (0.001, 0, 0, "REJ")


def test_community_id_is_the_last_field(tmp_path: Path) -> None:
    made = capture(tmp_path, conversation("10.0.0.2", 4000, "8.8.8.8", 77777, False, 1, 1, "fin"))
    out = io.StringIO()
    zeek.write(Rows(with_community_id(made.table("sessions"))), out)
    header, (row,) = read(out.getvalue())
    assert header["fields"].replace("\t", " ") == CONN_FIELDS + " community_id"
    assert row["community_id"] == community_id("10.0.0.2", 4000, "8.8.8.8", 443)


@pytest.mark.parametrize(
    ("ip", "local"),
    [("127.0.0.1", True), ("100.64.0.1", True), ("192.0.2.7", True), ("fe80::1", True), ("2001:db8::1", True), ("::1", True), ("9.9.9.9", False),
     ("2606:4700::1111", False), ("100.128.0.1", False)],
)  # fmt: skip
def test_local_is_what_zeek_takes_for_local(ip: str, local: bool) -> None:
    out = io.StringIO()
    zeek.write(Rows(table(SESSIONS, orig_ip=ip, resp_ip="9.9.9.9", state="S0")), out)
    assert read(out.getvalue())[1][0]["local_orig"] is local


def test_dns_log_holds_the_lookups(tmp_path: Path) -> None:
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += [datagram("10.0.0.2", 6001, "10.0.0.53", 53, QUERY), *lookup_over_tcp(5000, 9)]
    made = capture(tmp_path, packets)
    header, rows = dns(made.table("lookups"), made.table("sessions"))
    assert header["path"] == "dns"
    assert header["fields"].replace("\t", " ") == DNS_FIELDS
    answered, silent, tcp = rows
    assert (answered["query"], answered["qtype"], answered["qtype_name"]) == ("api.example.test", 1, "A")
    assert (answered["rcode"], answered["rcode_name"], answered["answers"]) == (0, "NOERROR", ["203.0.113.10"])
    assert (answered["rtt"], answered["trans_id"], answered["id.resp_p"], answered["proto"]) == (0.001, 7, 53, "udp")
    assert [silent[k] for k in ("rtt", "rcode", "rcode_name", "answers")] == [None] * 4
    for row in rows:  # what netlens does not keep
        assert [row[k] for k in ("qclass", "qclass_name", "AA", "TC", "RD", "RA", "Z", "TTLs", "rejected")] == [None] * 9
    assert tcp["proto"] == "tcp"
    assert tcp["uid"] in {row["uid"] for row in conn(made)[1]}
    assert answered["uid"] != silent["uid"]  # two flows


def test_names_are_written_as_zeek_writes_them() -> None:
    row = {"orig_ip": "10.0.0.2", "resolver_ip": "10.0.0.53", "transport": "udp", "query_ns": 5, "qtype": "CNAME", "rcode": "NXRRSET"}
    _, (read_back,) = dns(table(LOOKUPS, qname=r"We\255ird\.x\\y,\009z.Test", cnames=["Next.Test"], answers=["a,B.test"], **row))
    assert read_back["query"] == "we\xffird.x\\y,\tz.test"
    assert read_back["answers"] == ["next.test", "a,b.test"]
    assert (read_back["qtype"], read_back["rcode"], read_back["rcode_name"]) == (5, 8, "NXRRSet")


@pytest.mark.parametrize(("name", "number", "zeeks"), [("ANY", 255, "*"), ("TYPE65400", 65400, "query-65400"), ("HTTPS", 65, "HTTPS")])
def test_types_have_number_and_zeeks_name(name: str, number: int, zeeks: str) -> None:
    row = {"orig_ip": "10.0.0.2", "resolver_ip": "224.0.0.251", "transport": "mdns", "query_ns": 5, "qname": "-", "rcode": "RCODE4000"}
    _, (read_back,) = dns(table(LOOKUPS, qtype=name, **row))
    assert (read_back["qtype"], read_back["qtype_name"]) == (number, zeeks)
    assert (read_back["rcode"], read_back["rcode_name"]) == (4000, "rcode-4000")
    assert (read_back["query"], read_back["id.resp_p"], read_back["proto"]) == ("-", 5353, "udp")  # a text that is "-" is no unset one


def test_empty_tables_are_logs_without_rows() -> None:
    out = io.StringIO()
    zeek.write(Rows(SESSIONS.empty()), out)
    assert read(out.getvalue())[1] == []
    assert dns(LOOKUPS.empty())[1] == []


@pytest.mark.skipif(not (shutil.which("zeek-cut") or shutil.which("bro-cut")), reason="zeek-cut is not installed (Debian: bro-aux)")
def test_zeek_cut_reads_it(tmp_path: Path) -> None:
    made = capture(tmp_path, conversation("10.0.0.2", 4000, "8.8.8.8", 77777, False, 1, 1, "fin"))
    out = io.StringIO()
    zeek.write(Rows(made.table("sessions")), out)
    program = shutil.which("zeek-cut") or shutil.which("bro-cut")
    assert program
    cut = subprocess.run([program, "uid", "conn_state", "service"], input=out.getvalue(), capture_output=True, text=True, check=True)
    assert cut.stdout == "C0\tSF\tssl\n"


def test_zat_reads_it(tmp_path: Path) -> None:
    reader = pytest.importorskip("zat.zeek_log_reader", reason="zat is not installed (pip install zat)")
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    made = capture(tmp_path, packets + conversation("10.0.0.2", 4000, "8.8.8.8", 77777, False, 1, 1, "fin"))
    for name, table in (("conn.log", "sessions"), ("dns.log", "lookups")):
        with (tmp_path / name).open("w") as file:
            zeek.write(Rows(made.table(table)), file)
    (conn_row,) = reader.ZeekLogReader(str(tmp_path / "conn.log"), strict=True).readrows()
    (dns_row,) = reader.ZeekLogReader(str(tmp_path / "dns.log"), strict=True).readrows()
    assert (conn_row["id.orig_p"], conn_row["conn_state"], conn_row["local_orig"]) == (4000, "SF", True)
    assert (dns_row["query"], dns_row["answers"], dns_row["rtt"].total_seconds()) == ("api.example.test", "203.0.113.10", 0.001)
