"""``netlens exchanges``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import output_options, print_table


@click.command(
    "exchanges",
    epilog="""\b
    Examples:
      netlens exchanges capture.pcap
      netlens exchanges capture.pcap --format csv -o exchanges.csv
    """,
)
@output_options(("table", "csv", "json", "parquet"))
def command(captures: tuple[str, ...], **options: Any) -> None:
    """Exchanges: one row per request and response, from turn-taking of payload.

    Works on encrypted connections. With HTTP/2 many requests share a connection: turns are then not requests."""
    print_table(captures, "exchanges", **options)
