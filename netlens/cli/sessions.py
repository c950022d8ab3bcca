"""``netlens sessions``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import community_id_option, output_options, print_table


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
@output_options(("table", "csv", "json", "parquet", "trace", "zeek"))
def command(captures: tuple[str, ...], **options: Any) -> None:
    """TCP sessions: one row per connection as it is on the wire.

    Several files of one rotated capture are one stream; - is standard input. Sessions have the order of Wireshark's tcp.stream, whose numbers may
    be higher: it also counts connections that ICMP errors quote. The table shows the most used columns, the other formats all of them. zeek is a
    Zeek conn.log; trace is for ui.perfetto.dev and chrome://tracing: sessions as tracks, exchanges in them."""
    print_table(captures, "sessions", **options)
