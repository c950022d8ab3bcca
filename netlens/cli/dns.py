"""``netlens dns``."""

from __future__ import annotations

import os
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
    # numpy asks for huge pages, for which the kernel may have to tidy up memory first: of what is written once, one after the other, that costs more
    # than it gains (hash tables of sessions gain by it)
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    print_table(captures, "lookups", **options)
