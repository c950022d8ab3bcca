"""``netlens connections``."""

from __future__ import annotations

import click

from netlens.cli.common import output_options, print_table


@click.command(
    "connections",
    epilog="""\b
    Examples:
      netlens connections capture.pcap
      netlens connections capture.pcap --columns path,sni,duration_s --format csv
    """,
)
@output_options(("table", "csv", "json", "parquet"))
def command(captures: tuple[str, ...], form: str, output: str | None, columns: str | None, limit: int | None) -> None:
    """Connections: one row per connection as the application made it.

    Redirect halves, NAT copies and forwarded sessions are joined; path says how the packets went: direct, nat or sshuttle."""
    print_table(captures, "connections", form, output, columns, limit)
