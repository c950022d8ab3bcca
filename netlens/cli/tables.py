"""``netlens connections``, ``dns``, ``exchanges`` and ``sessions``: each lists a table."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import print_table
from netlens.cli.options import community_id_option, output_options

#: The table that a command lists.
TABLES = {"connections": "connections", "dns": "lookups", "exchanges": "exchanges", "sessions": "sessions"}


@click.command(
    "connections",
    epilog="""\b
    Examples:
      netlens connections capture.pcap
      netlens connections capture.pcap --columns path,sni,duration_s --format csv
      netlens connections capture.pcap --format trace -o trace.json    # open it in ui.perfetto.dev
    """,
)
@community_id_option
@output_options(TABLES["connections"])
def connections(captures: tuple[str, ...], **options: Any) -> None:
    """List connections, one per row, as the program made them.

    A connection that shows up several times in a capture is one row: the two halves around a transparent proxy, the copies before and
    after NAT, and the session that a tunnel forwards. The column path says which way it went: direct, nat or sshuttle."""
    print_table(captures, TABLES["connections"], **options)


@click.command(
    "dns",
    epilog="""\b
    Examples:
      netlens dns capture.pcap
      netlens dns capture.pcap --failed
      netlens dns capture.pcap --format json | jq '.[] | select(.rcode == \"NXDOMAIN\")'
      netlens dns capture.pcap --format zeek > dns.log
    """,
)
@output_options(TABLES["dns"])
@click.option(
    "--failed", is_flag=True, help="Only lookups without an answer, or with an rcode other than NOERROR, such as NXDOMAIN or SERVFAIL."
)
def dns(captures: tuple[str, ...], failed: bool, **options: Any) -> None:
    """List DNS lookups, one per row: a question with its retries and its answer.

    Reads DNS over UDP and TCP, and mDNS. Each lookup is linked to the connections that were made to its answers. The rcode of a lookup
    without an answer is empty (null in JSON)."""
    if failed:
        options["kept"] = lambda lookups: [code != "NOERROR" for code in lookups["rcode"].tolist()]  # None: no answer
        options["kept_what"] = "failed or unanswered lookups"
    print_table(captures, TABLES["dns"], **options)


@click.command(
    "exchanges",
    epilog="""\b
    Examples:
      netlens exchanges capture.pcap
      netlens exchanges capture.pcap --format csv -o exchanges.csv
      netlens exchanges capture.pcap --format har -o exchanges.har
    """,
)
@output_options(TABLES["exchanges"])
def exchanges(captures: tuple[str, ...], **options: Any) -> None:
    """List requests with their responses, one exchange per row.

    Exchanges are found by who sends when, so this works on encrypted connections too. With HTTP/2, requests share a connection and one
    exchange can hold several of them."""
    print_table(captures, TABLES["exchanges"], **options)


@click.command(
    "sessions",
    epilog="""\b
    Examples:
      netlens sessions capture.pcap
      netlens sessions day-*.pcap --format parquet -o sessions.parquet
      netlens sessions capture.pcap --format zeek --community-id > conn.log
      netlens sessions 'day/*.pcap' --workers 4 --format parquet -o rows/    # on a cluster: --scheduler tcp://HOST:8786
    """,
)
@community_id_option
@output_options(TABLES["sessions"])
def sessions(captures: tuple[str, ...], **options: Any) -> None:
    """List TCP sessions, one per row, as they are on the wire.

    CAPTURE is a file, or - for standard input. Several files of one rotated capture are read as one stream. Sessions are in the order of
    Wireshark's tcp.stream, whose numbers can be higher: Wireshark also counts connections quoted in ICMP errors."""
    print_table(captures, TABLES["sessions"], **options)
