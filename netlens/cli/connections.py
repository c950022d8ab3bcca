"""``netlens connections``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import community_id_option, output_options, print_table


@click.command(
    "connections",
    epilog="""\b
    Examples:
      netlens connections capture.pcap
      netlens connections capture.pcap --columns path,sni,duration_s --format csv
      netlens connections capture.pcap --format trace -o trace.json    # opens in ui.perfetto.dev
    """,
)
@community_id_option
@output_options(("table", "csv", "json", "parquet", "trace"))
def command(captures: tuple[str, ...], **options: Any) -> None:
    """Connections: one row per connection as the application made it.

    Redirect halves, NAT copies and forwarded sessions are joined; path says how the packets went: direct, nat or sshuttle.
    trace is for ui.perfetto.dev and chrome://tracing: connections as tracks, exchanges, sessions and lookups with them."""
    print_table(captures, "connections", **options)
