"""``netlens exchanges``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import print_table
from netlens.cli.options import output_options

TABLE = "exchanges"


@click.command(
    "exchanges",
    epilog="""\b
    Examples:
      netlens exchanges capture.pcap
      netlens exchanges capture.pcap --format csv -o exchanges.csv
      netlens exchanges capture.pcap --format har -o exchanges.har
    """,
)
@output_options(TABLE)
def command(captures: tuple[str, ...], **options: Any) -> None:
    """List requests with their responses, one exchange per row.

    Exchanges are found by who sends when, so this works on encrypted connections too. With HTTP/2, requests share a connection and one
    exchange can hold several of them."""
    print_table(captures, TABLE, **options)
