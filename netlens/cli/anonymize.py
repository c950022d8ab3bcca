"""``netlens anonymize``."""

from __future__ import annotations

import os
import shlex
import sys

import click

from netlens.cli.common import Progress, keylog_option, show_compilation, total_bytes
from netlens.text import plural, printable


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
@click.option("-o", "--output", required=True, metavar="PATH", help="The new capture (.gz: compressed) or folder; it must not exist yet.")
@click.option(
    "--key-file",
    metavar="FILE",
    help="The key that decides what becomes what; made if it is not there. Runs with one key agree. Without it the key is random and forgotten.",
)
@click.option(
    "--keep-name",
    "keep",
    multiple=True,
    metavar="NAME",
    help="A name that stays as it is, with its parents; may be repeated. What stands before it is still replaced.",
)
@keylog_option(
    "TLS keys of a RECORDING: the copy gets the times and status of the decrypted requests, never the keys. May be repeated; needs tshark."
)
def command(source: str, output: str, key_file: str | None, keep: tuple[str, ...], keylogs: tuple[str, ...]) -> None:
    """A copy about other addresses and names, without payload, that is analysed to the same verdict.

    Addresses keep common prefixes (Crypto-PAn) and what they mean (private, loopback, VM network); names keep length and suffixes; times, lengths, ports,
    flags and TCP's numbers stay; payload is zero. Of a recording error logs are reduced, key logs and journals are left out. Read
    docs/explanation/anonymising.md for what can still be learned from it.
    """
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.chains.target import KNOWN_APIS
    from netlens.outputs import refuse_existing

    refuse_existing(output.rstrip("/") or output)
    for name in keep:
        if not name.strip(". "):
            raise click.BadParameter(f"{name!r} is no name", param_hint="--keep-name")
    is_folder = source != "-" and os.path.isdir(source)
    if keylogs and not is_folder:
        raise click.UsageError("--keylog is for a recording (a folder): the copy of a single capture cannot hold decrypted requests")
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
        sys.stderr.write(f"netlens: warning: {printable(warning)}\n")
    sys.stderr.write(f"netlens: {plural(result.frames, 'frame')} written to {printable(output)}\n")
    if result.left_out:
        sys.stderr.write(f"netlens: left out: {', '.join(printable(name) for name in result.left_out)}\n")
    if not result.has_manifest:  # whose target would be guessed by a name that is no longer known
        for name, image in result.apis.items():
            if name != image and not any(other.endswith(f".{name}") for other in result.apis):
                command = shlex.join(["netlens", "analyze", output, "--api", image])
                sys.stderr.write(f"netlens: {name} is called {image} there: {printable(command)}\n")
