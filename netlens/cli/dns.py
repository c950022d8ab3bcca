"""``netlens dns``."""

from __future__ import annotations

from typing import Any

import click

from netlens.cli.common import output_options, print_table


@click.command(
    "dns",
    epilog="""\b
    Examples:
      netlens dns capture.pcap
      netlens dns capture.pcap --format json | jq '.[] | select(.rcode == \"NXDOMAIN\")'
      netlens dns capture.pcap --format zeek > dns.log
    """,
)
@output_options(("table", "csv", "json", "parquet", "zeek"))
def command(captures: tuple[str, ...], **options: Any) -> None:
    """DNS lookups: one row per question, with its retries and its answer.

    UDP, TCP and mDNS; redirect halves are joined; answers are linked to the connections that followed."""
    print_table(captures, "lookups", **options)
