"""``netlens sessions``."""

from __future__ import annotations

import click

from netlens.cli.common import output_options, print_table


@click.command(
    "sessions",
    epilog="""\b
    Examples:
      netlens sessions capture.pcap
      netlens sessions day-*.pcap --format parquet -o sessions.parquet
      netlens sessions capture.pcap --format zeek > conn.log
    """,
)
@output_options(("table", "csv", "json", "parquet", "zeek"))
def command(captures: tuple[str, ...], form: str, output: str | None, columns: str | None, limit: int | None) -> None:
    """TCP sessions: one row per connection as it is on the wire.

    Several files of one rotated capture are one stream; - is standard input. Sessions are numbered as Wireshark numbers tcp.stream; the
    table shows the most used columns, the other formats all of them."""
    print_table(captures, "sessions", form, output, columns, limit)
