"""``netlens connections``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import print_table
from netlens.cli.options import community_id_option, output_options

TABLE = "connections"


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
@output_options(TABLE)
def command(captures: tuple[str, ...], **options: Any) -> None:
    """List connections, one per row, as the program made them.

    A connection that shows up several times in a capture is one row: the two halves around a transparent proxy, the copies before and
    after NAT, and the session that a tunnel forwards. The column path says which way it went: direct, nat or sshuttle."""
    print_table(captures, TABLE, **options)
