"""Exchanges as an HTTP archive (HAR 1.2), which browsers' developer tools and other viewers show as a waterfall.

One entry for each exchange, with its time budget as ``timings``: what netlens calls client is ``blocked`` (before the request) and ``send``, lookup is
``dns``, connect and TLS together are ``connect`` (of which TLS is ``ssl``, as the format wants it), relay, wire and server are ``wait``, stream is
``receive``. A stall is part of ``receive`` where the answer had begun, else of ``wait``. ``time`` is their sum, exact to the nanosecond;
``_netlens`` has the phases under their own names.

What was said is not in it: of method, path, headers and bodies netlens keeps nothing, and inside TLS it sees nothing. So ``url`` is the server's name and port,
``method`` is UNKNOWN, and sizes are those of the payload on the wire. Copies of an exchange (before and after NAT) are one entry.

Limits: with HTTP/2, an exchange can hold several requests.
"""

from __future__ import annotations

import time
from typing import IO, Any

from netlens.errors import NetlensError
from netlens.report.exports import Rows, one_a_line
from netlens.text import printable

MEANING = "an HTTP archive (HAR 1.2) with the time budget of each request, for browsers' developer tools"
TABLES = ("exchanges",)
BESIDE = ("budget",)
FIXED = True

Row = dict[str, Any]


def write(rows: Rows, file: IO[str]) -> None:
    import json

    from netlens import __version__

    budget, sessions = rows.beside("budget"), rows.beside("sessions")
    if budget is None or sessions is None:
        raise NetlensError("an HTTP archive needs the time budget of the exchanges, which was not worked out")
    divided = {row["exchange_id"]: row for row in budget.records()}
    protocols, addresses, ports = (sessions[name].tolist() for name in ("protocol", "resp_ip", "orig_port"))
    head = {"version": "1.2", "creator": {"name": "netlens", "version": __version__}}
    file.write(f'{{"log":{json.dumps(head)[:-1]},"entries":[')
    paired = ((row, row["session_id"], divided[row["exchange_id"]]) for row in rows.table.records() if row["exchange_id"] in divided)
    entries = (_entry(row, times, protocols[k], addresses[k], ports[k]) for row, k, times in paired)
    one_a_line((json.dumps(entry, allow_nan=False, separators=(",", ":")) for entry in entries), file)
    file.write("\n]}}\n")


def _entry(row: Row, times: Row, protocol: str | None, ip: str, port: int) -> Row:
    server = printable(times["server"])
    scheme = "http" if protocol == "http" else "https"
    phases = {name: value for name, value in times.items() if name.endswith("_ns") and name not in ("begin_ns", "end_ns", "relays_ns")}
    comment = "" if times["complete"] else "the answer was not seen to end" if row["response_ns"] is not None else "no answer was seen"
    return {
        "startedDateTime": _utc(times["begin_ns"]),
        "time": _ms(times["total_ns"]),
        "request": {
            "method": "UNKNOWN",
            "url": f"{scheme}://{server}/",
            "httpVersion": "HTTP/1.1" if protocol == "http" else "unknown",
            "cookies": [],
            "headers": [],
            "queryString": [],
            "headersSize": -1,
            "bodySize": row["up_bytes"],
        },
        "response": {
            "status": row["status"] or 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1" if protocol == "http" else "unknown",
            "cookies": [],
            "headers": [],
            "content": {"size": row["down_bytes"], "mimeType": "application/octet-stream"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": row["down_bytes"],
        },
        "cache": {},
        "timings": _timings(row, times),
        "serverIPAddress": ip,
        "connection": str(port),
        "comment": comment,
        "_netlens": {"exchange_id": row["exchange_id"], "session_id": row["session_id"], "first_frame": row["start_frame"], **phases},
    }


def _timings(row: Row, times: Row) -> Row:
    """Of one entry; -1 is what does not apply to it."""
    sending = max(min(row["request_end_ns"], row["response_ns"] or row["request_end_ns"]) - row["start_ns"], 0)
    send = min(sending, times["client_ns"])
    opened = times["connect_ns"] + times["tls_ns"]
    stall = times["stall_ns"]
    receive = times["stream_ns"] + (stall if times["stream_ns"] else 0)
    return {
        "blocked": _ms(times["client_ns"] - send) if times["client_ns"] > send else -1,
        "dns": _ms(times["lookup_ns"]) if times["lookup_ns"] else -1,
        "connect": _ms(opened) if opened else -1,
        "ssl": _ms(times["tls_ns"]) if times["tls_ns"] else -1,
        "send": _ms(send),
        "wait": _ms(
            (times["relay_ns"] or 0)
            + (times["wire_ns"] or 0)
            + times["server_ns"]
            + times["unanswered_ns"]
            + (0 if times["stream_ns"] else stall)
        ),
        "receive": _ms(receive),
    }


def _ms(ns: int) -> float | int:
    """Milliseconds; six decimals hold every nanosecond."""
    return ns / 1e6 if ns % 1_000_000 else ns // 1_000_000


def _utc(ns: int) -> str:
    """ISO 8601, to the microsecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 1_000_000_000)) + f".{ns % 1_000_000_000 // 1_000:06d}Z"
