"""``netlens anonymize``."""

from __future__ import annotations

import os
import re
import shlex

import click

from netlens.cli.common import Progress, say, show_compilation, total_bytes
from netlens.cli.options import keylog_option
from netlens.text import plural


@click.command(
    "anonymize",
    epilog="""\b
    Examples:
      netlens anonymize capture.pcap -o anonymous.pcap
      netlens anonymize captures/same-nat-ip-sshuttle -o anonymous
      netlens anonymize vm.pcap -o vm-anonymous.pcap --key-file key.txt --keep-name api.z.ai
    """,
)
@click.argument("source", metavar="CAPTURE|RECORDING")
@click.option(
    "-o", "--output", required=True, metavar="PATH", help="New capture (compressed if it ends in .gz) or folder; must not exist yet."
)
@click.option(
    "--key-file",
    metavar="FILE",
    help="Key for the replacement; created if missing. Runs with the same key make the same replacements. Default: a random key that is not kept.",
)
@click.option(
    "--keep-name",
    "keep",
    multiple=True,
    metavar="NAME",
    help="Keep NAME and its parent domains; repeatable. Labels in front of it are still replaced.",
)
@keylog_option("of a RECORDING: the copy gets times and status of the decrypted requests, never the keys")
def command(source: str, output: str, key_file: str | None, keep: tuple[str, ...], keylogs: tuple[str, ...]) -> None:
    """Copy a capture or recording with addresses and names replaced and payload removed. Its analysis gives the same verdict.

    Addresses that share a prefix still do (Crypto-PAn), and keep their kind: private, loopback, VM network. Names keep their length and suffix.
    Times, lengths, ports, flags and TCP's sequence numbers stay; payload becomes zeros, except for headers of known protocols (TLS records, DNS, the
    method and status of HTTP), in which names are replaced. In a recording, error logs are reduced to times and codes, and
    key logs and journals are left out. docs/explanation/anonymising.md says what can still be learned from the copy.
    """
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.chains.target import KNOWN_APIS
    from netlens.outputs import refuse_existing

    refuse_existing(output.rstrip("/") or output)
    for name in keep:
        if not name.strip(".") or re.search(r"[\s/:@]", name):
            raise click.BadParameter(f"{name!r} is not a name", param_hint="--keep-name")
    is_folder = source != "-" and os.path.isdir(source)
    if keylogs and not is_folder:
        raise click.UsageError("--keylog needs a recording (a folder): the copy of a single capture cannot hold decrypted requests")
    show_compilation()
    key = secret.fresh() if key_file is None else secret.from_file(key_file)
    mapper = Mapper(key, keep, KNOWN_APIS)
    shown: list[Progress] = []

    def progress(_side: str) -> Progress:
        shown.append(Progress(None if is_folder else total_bytes((source,))))
        return shown[-1]

    try:
        if is_folder:
            result = recordings.recording(source, output, mapper, progress, keylogs)
        else:
            result = recordings.capture(source, output, mapper, progress(""))
    finally:
        for each in shown:
            each.close()
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"{plural(result.frames, 'frame')} written to {output}")
    if result.left_out:
        say(f"left out: {', '.join(result.left_out)}")
    if not result.has_manifest:  # whose target would be guessed by a name that is no longer known
        for name, image in result.apis.items():
            if name != image and not any(other.endswith(f".{name}") for other in result.apis):
                say(f"{name} is called {image} there: {shlex.join(['netlens', 'analyze', output, '--api', image])}")
