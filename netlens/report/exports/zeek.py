r"""Zeek's logs: sessions as ``conn.log``, lookups as ``dns.log``, as Zeek's ASCII writer writes them, for ``zeek-cut``, zat and other readers.

The form (docs.zeek.org, "Zeek Log Formats"; base/frameworks/logging/writers/ascii.zeek):

1. Lines that start with ``#`` describe the rest: separators, how an empty and an unset value are written, the name of the log, its fields and
   their types. ``-`` is an unknown value, ``(empty)`` a list or text that is known to be empty.
2. In a text, bytes outside printable ASCII, separators and the backslash are written as ``\xNN``. If a text looks like the sign for unset or
   empty, its first character is.
3. Times are seconds since 1970 and durations seconds, both with six digits; what is below a microsecond is cut off.

Fields mean what Zeek defines (base/protocols/conn/main.zeek, base/protocols/dns/main.zeek), which may differ from our column of that name:
``duration``, ``orig_bytes`` and ``resp_bytes`` are unset if the duration is 0, and a duration ends with the second FIN, not with its
acknowledgment. What netlens does not keep is unset, never 0: lengths of IP packets; in ``dns.log`` class, header flags and TTLs.

Differences from Zeek: ``uid`` is ``C`` and the number of the session, unique within one run. Lookups over TCP have the ``uid`` of their session;
lookups over UDP, whose flows are not in ``conn.log``, have ``CU`` and a number. A retried query is one row. ``rtt`` is there for every answer; Zeek
sets it only if the answer has a record. Answers other than addresses and names are written as in zone files (RFC 1035 5.1; an MX with its
preference). ``#open`` and ``#close`` are the times of the first and the last row, so that the same capture always gives the same file. The server's
port of a lookup is that of its protocol, 53 or 5353.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import IO, Any

from netlens.report.exports import Rows
from netlens.schema import Table

MEANING = "a log as Zeek writes it (conn.log for sessions, dns.log for lookups), for zeek-cut, zat and other readers of Zeek logs"
TABLES = ("sessions", "lookups")
FIXED = True

UNSET, EMPTY = "-", "(empty)"

_ID = (("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"), ("id.resp_p", "port"), ("proto", "enum"))
CONN = (
    ("ts", "time"), *_ID, ("service", "string"), ("duration", "interval"), ("orig_bytes", "count"), ("resp_bytes", "count"),
    ("conn_state", "string"), ("local_orig", "bool"), ("local_resp", "bool"), ("missed_bytes", "count"), ("history", "string"),
    ("orig_pkts", "count"), ("orig_ip_bytes", "count"), ("resp_pkts", "count"), ("resp_ip_bytes", "count"), ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
)  # fmt: skip
COMMUNITY_ID = ("community_id", "string")  #: as policy/protocols/conn/community-id-logging.zeek adds it
DNS = (
    ("ts", "time"), *_ID, ("trans_id", "count"), ("rtt", "interval"), ("query", "string"), ("qclass", "count"), ("qclass_name", "string"),
    ("qtype", "count"), ("qtype_name", "string"), ("rcode", "count"), ("rcode_name", "string"), ("AA", "bool"), ("TC", "bool"), ("RD", "bool"),
    ("RA", "bool"), ("Z", "count"), ("answers", "vector[string]"), ("TTLs", "vector[interval]"), ("rejected", "bool"),
)  # fmt: skip

SERVICES = {"tls": "ssl", "ssh": "ssh", "http": "http"}  #: what ``sessions.protocol`` is called in Zeek

#: What Zeek counts as local unless it is told of a site: the blocks that IANA's special-purpose registries call not globally reachable.
_LOCAL = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "fc00::/7", "fe80::/10",
)  # fmt: skip

#: Names that differ in Zeek (base/protocols/dns/consts.zeek).
_TYPE_NAMES = {"ANY": "*"}
_RCODE_NAMES = {"NXRRSET": "NXRRSet", "DSOTYPENI": "unassigned-11"}
_NAMES = ("NS", "CNAME", "PTR", "DNAME")  #: types whose answer is a name and nothing else
_PORTS = {"udp": 53, "tcp": 53, "mdns": 5353}


def write(rows: Rows, file: IO[str]) -> None:
    if rows.table.schema.name == "sessions":
        write_conn(rows.table, file)
    else:
        write_dns(rows.table, file, rows.beside("sessions"))


@cache
def _numbers() -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of types and of result codes by our names of them."""
    from netlens.wire.dns import RCODES, TYPES

    types, codes = ({name: number for number, name in names.items()} for names in (TYPES, RCODES))
    return types, codes


def write_conn(table: Table, file: IO[str]) -> None:
    """``sessions`` as conn.log; a column ``community_id`` goes with it."""
    community = COMMUNITY_ID[0] in table
    _begin(file, "conn", (*CONN, COMMUNITY_ID) if community else CONN, table["start_ns"].tolist())
    local: dict[str, str] = {}
    for r in table.records():
        for ip in (r["orig_ip"], r["resp_ip"]):
            if ip not in local:
                local[ip] = "T" if _is_local(ip) else "F"
        end_ns = (
            max(r["orig_fin_ns"], r["resp_fin_ns"])
            if r["state"] == "SF" and None not in (r["orig_fin_ns"], r["resp_fin_ns"])
            else r["end_ns"]
        )
        lasted = end_ns > r["start_ns"]
        cells = (
            _seconds(r["start_ns"]), f"C{r['session_id']}", r["orig_ip"], r["orig_port"], r["resp_ip"], r["resp_port"], "tcp",
            SERVICES.get(r["protocol"], UNSET),
            _seconds(end_ns - r["start_ns"]) if lasted else UNSET, r["orig_bytes"] if lasted else UNSET, r["resp_bytes"] if lasted else UNSET,
            r["state"], local[r["orig_ip"]], local[r["resp_ip"]], r["orig_missing_bytes"] + r["resp_missing_bytes"], r["history"] or UNSET,
            r["orig_frames"], UNSET, r["resp_frames"], UNSET, UNSET, 6, *((r[COMMUNITY_ID[0]],) if community else ()),
        )  # fmt: skip
        file.write("\t".join(map(str, cells)) + "\n")
    _end(file, table["start_ns"].tolist())


def write_dns(table: Table, file: IO[str], sessions: Table | None = None) -> None:
    """``lookups`` as dns.log. ``sessions``: those of the same capture, from which lookups over TCP have their uid."""
    times = [q if q is not None else a for q, a in zip(table["query_ns"].tolist(), table["answer_ns"].tolist(), strict=True)]
    _begin(file, "dns", DNS, times)
    uid = _Uids(sessions)
    types, codes = _numbers()
    names: dict[str, str] = {}
    for at, r in zip(times, table.records(), strict=True):
        if (qname := r["qname"]) is not None and qname not in names:
            names[qname] = _name(qname)
        answered = r["query_ns"] is not None and r["answer_ns"] is not None and r["answer_ns"] > r["query_ns"]
        cells = (
            _seconds(at), uid(r, at), r["orig_ip"], r["orig_port"], r["resolver_ip"], _PORTS[r["transport"]],
            "tcp" if r["transport"] == "tcp" else "udp", r["txid"], _seconds(r["answer_ns"] - r["query_ns"]) if answered else UNSET,
            UNSET if qname is None else names[qname], UNSET, UNSET, *_code(r["qtype"], types, "TYPE", "query-", _TYPE_NAMES),
            *_code(r["rcode"], codes, "RCODE", "rcode-", _RCODE_NAMES), UNSET, UNSET, UNSET, UNSET, UNSET,
            ",".join([_name(n, b",") for n in r["cnames"]] + [_answer(a, r["qtype"]) for a in r["answers"]]) or UNSET, UNSET, UNSET,
        )  # fmt: skip
        file.write("\t".join(map(str, cells)) + "\n")
    _end(file, times)


def _begin(file: IO[str], path: str, fields: Iterable[tuple[str, str]], times: list[int]) -> None:
    names, types = zip(*fields, strict=True)
    file.write(f"#separator \\x09\n#set_separator\t,\n#empty_field\t{EMPTY}\n#unset_field\t{UNSET}\n#path\t{path}\n")
    file.write(f"#open\t{_moment(min(times, default=0))}\n")
    file.write("#fields\t" + "\t".join(names) + "\n#types\t" + "\t".join(types) + "\n")


def _end(file: IO[str], times: list[int]) -> None:
    file.write(f"#close\t{_moment(max(times, default=0))}\n")


def _moment(ns: int) -> str:
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(ns // 1_000_000_000))


def _seconds(ns: int) -> str:
    us = abs(ns) // 1000
    return f"{'-' if ns < 0 else ''}{us // 1_000_000}.{us % 1_000_000:06d}"


@cache
def _networks() -> list[Any]:
    import ipaddress

    return [ipaddress.ip_network(network) for network in _LOCAL]


def _is_local(ip: str) -> bool:
    import ipaddress

    address = ipaddress.ip_address(ip)
    return any(address.version == network.version and address in network for network in _networks())


def _text(data: bytes, also: bytes = b"") -> str:
    """A text as the writer writes it; ``also``: a separator that must be told from a character of the text."""
    if not data:
        return EMPTY
    text = "".join(chr(b) if 32 <= b < 127 and b != 0x5C and b not in also else f"\\x{b:02x}" for b in data)
    return f"\\x{ord(text[0]):02x}{text[1:]}" if text in (UNSET, EMPTY) else text


def _answer(text: str, qtype: str | None) -> str:
    return _name(text, b",") if qtype in _NAMES else _text(text.encode("utf-8", "surrogateescape"), b",")


def _name(name: str, also: bytes = b"") -> str:
    r"""A name of the table, which has odd bytes as ``\DDD`` and a dot or backslash of a label behind a backslash, as Zeek writes it: small letters.

    (RFC 1035 5.1; RFC 4343: names are compared without regard to case.)
    """
    raw = re.sub(r"\\(\d{3}|.)", lambda m: chr(int(m[1])) if len(m[1]) == 3 else m[1], name)
    return _text(raw.lower().encode("latin-1", "replace"), also)


def _code(name: str | None, numbers: dict[str, int], prefix: str, unknown: str, renamed: dict[str, str]) -> tuple[Any, str]:
    """Number and Zeek's name of a type or result code, from our name of it."""
    if name is None:
        return UNSET, UNSET
    if name in numbers:
        return numbers[name], renamed.get(name, name)
    number = name.removeprefix(prefix)
    return (int(number), unknown + number) if number.isdecimal() else (UNSET, name)


class _Uids:
    """uid of lookups: that of the session for TCP, a number for each UDP flow."""

    def __init__(self, sessions: Table | None):
        self.flows: dict[tuple[Any, ...], str] = {}
        self.sessions: dict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)  # (start, end, session) by client
        if sessions is not None:
            columns = (sessions[name].tolist() for name in ("orig_ip", "orig_port", "start_ns", "end_ns", "session_id"))
            for ip, port, start, end, session in zip(*columns, strict=True):
                self.sessions[ip, port].append((start, end, session))
            for found in self.sessions.values():
                found.sort()

    def __call__(self, row: dict[str, Any], at: int) -> str:
        key = (row["orig_ip"], row["orig_port"])
        if row["transport"] == "tcp" and key in self.sessions:
            found = self.sessions[key]
            k = bisect_right(found, (at, 1 << 63, 0)) - 1
            if k >= 0 and at <= found[k][1]:
                return f"C{found[k][2]}"
        return self.flows.setdefault((*key, row["resolver_ip"], row["transport"]), f"CU{len(self.flows)}")
