"""``netlens sessions``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import print_table
from netlens.cli.options import community_id_option, output_options

TABLE = "sessions"


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
@output_options(TABLE)
def command(captures: tuple[str, ...], **options: Any) -> None:
    """List TCP sessions, one per row, as they are on the wire.

    CAPTURE is a file, or - for standard input. Several files of one rotated capture are read as one stream. Sessions are in the order of
    Wireshark's tcp.stream, whose numbers can be higher: Wireshark also counts connections quoted in ICMP errors."""
    print_table(captures, TABLE, **options)
