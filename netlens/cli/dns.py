"""``netlens dns``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import print_table
from netlens.cli.options import output_options

TABLE = "lookups"


@click.command(
    "dns",
    epilog="""\b
    Examples:
      netlens dns capture.pcap
      netlens dns capture.pcap --format json | jq '.[] | select(.rcode == \"NXDOMAIN\")'
      netlens dns capture.pcap --format zeek > dns.log
    """,
)
@output_options(TABLE)
def command(captures: tuple[str, ...], **options: Any) -> None:
    """List DNS lookups, one per row: a question with its retries and its answer.

    Reads DNS over UDP and TCP, and mDNS. Each lookup is linked to the connections that were made to its answers."""
    print_table(captures, TABLE, **options)
