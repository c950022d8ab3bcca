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
      netlens dns capture.pcap --failed
      netlens dns capture.pcap --format json | jq '.[] | select(.rcode == \"NXDOMAIN\")'
      netlens dns capture.pcap --format zeek > dns.log
    """,
)
@output_options(TABLE)
@click.option(
    "--failed", is_flag=True, help="Only lookups without an answer, or with an rcode other than NOERROR, such as NXDOMAIN or SERVFAIL."
)
def command(captures: tuple[str, ...], failed: bool, **options: Any) -> None:
    """List DNS lookups, one per row: a question with its retries and its answer.

    Reads DNS over UDP and TCP, and mDNS. Each lookup is linked to the connections that were made to its answers. The rcode of a lookup
    without an answer is empty (null in JSON)."""
    if failed:
        options |= {"kept": _failed, "kept_what": "failed or unanswered lookups"}
    print_table(captures, TABLE, **options)


def _failed(lookups: Any) -> list[bool]:
    return [code != "NOERROR" for code in lookups["rcode"].tolist()]  # None: no answer
