"""What an analysis is given: the captures of the sides, and whatever lies beside them.

A recording is a folder with ``host.pcap`` and/or ``vm.pcap`` (also ``.pcapng``, ``.gz``, or the parts of a rotation ``vm-0001.pcap``), and perhaps
``vm-errors.log``, ``host-errors.log``, ``*keylog*.txt``, ``sockets.jsonl``, ``requests.jsonl`` and a ``manifest.toml``, which says what the folder
cannot: the API and the command line of the tunnel. What is named on the command line goes before what lies in the folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netlens.capture.recording import MANIFEST, read_manifest
from netlens.errors import CaptureError

_ENDINGS = (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz")
MAX_SAMPLES = 1_000_000  #: lines of sockets.jsonl that are read: eleven days at one a second


@dataclass(frozen=True)
class Inputs:
    """Files by side; a side is "vm", "host" or None where nobody said which.

    captures : side -> its files in order.  errors : side -> error log.  keylogs : files of TLS keys, of either side.
    requests : what keys showed, in a recording without keys (:mod:`netlens.parsers.decrypted_rows`), of the capture nearest to the provider.
    apis : names or addresses of the API; empty: to be guessed.  apis_from : who named them.
    complete : False if the recording says that it broke off.  reasons : why.  sshuttle : the tunnel's command line, if known.
    dropped : side -> packets that the kernel dropped.  missing : files that the manifest names and the folder does not hold.
    covering : sides whose error log spans the recording, because the recorder wrote both.
    """

    captures: dict[str | None, tuple[str, ...]]
    errors: dict[str, str] = field(default_factory=dict)
    keylogs: tuple[str, ...] = ()
    sockets: str | None = None
    requests: str | None = None
    apis: tuple[str, ...] = ()
    apis_from: str = ""
    complete: bool = True
    reasons: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    sshuttle: tuple[str, ...] | None = None
    covering: frozenset[str] = frozenset()

    def with_options(
        self, *, apis: tuple[str, ...] = (), errors: Mapping[str, str | None] | None = None, keylog: str | None = None
    ) -> Inputs:
        """The same with what was named on the command line instead of what was found."""
        named = {side: path for side, path in (errors or {}).items() if path is not None}
        return replace(
            self,
            apis=apis or self.apis,
            apis_from="named" if apis else self.apis_from,
            errors={**self.errors, **named},
            keylogs=(keylog,) if keylog is not None else self.keylogs,
            covering=self.covering - named.keys(),
        )


def from_folder(folder: str) -> Inputs:
    """A recording.

    Raises
    ------
    CaptureError
        the folder holds no capture of a side, cannot be read, or its manifest is none.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise CaptureError(f"{folder}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    captures: dict[str | None, tuple[str, ...]] = {side: files for side in ("vm", "host") if (files := _side_files(folder, names, side))}
    if not captures:
        raise CaptureError(f"{folder}: a directory without host.pcap or vm.pcap (or .pcapng, .gz), so not a recording")
    errors = {side: os.path.join(folder, name) for side in ("vm", "host") if (name := f"{side}-errors.log") in names}
    keylogs = tuple(os.path.join(folder, name) for name in names if re.fullmatch(r".*keylog.*\.(txt|log)|.*\.keys", name))
    beside = {name: os.path.join(folder, f"{name}.jsonl") if f"{name}.jsonl" in names else None for name in ("sockets", "requests")}
    found = Inputs(captures, errors, keylogs, beside["sockets"], beside["requests"])
    return _with_manifest(found, folder) if MANIFEST in names else found


def _side_files(folder: str, names: list[str], side: str) -> tuple[str, ...]:
    for ending in _ENDINGS:
        if side + ending in names:
            return (os.path.join(folder, side + ending),)
    parts = [name for name in names if re.fullmatch(side + r"-\d+\.pcap(ng)?(\.gz)?", name)]
    return tuple(os.path.join(folder, name) for name in sorted(parts, key=lambda name: (len(name), name)))


def _with_manifest(found: Inputs, folder: str) -> Inputs:
    manifest = read_manifest(folder)
    api = manifest.extra.get("api")
    names: list[str] = []
    if isinstance(api, dict):
        named = api.get("names") or api.get("addresses") or []
        names = [n for n in (named if isinstance(named, list) else [named]) if isinstance(n, str)]
    lab = manifest.extra.get("lab")
    options = lab.get("sshuttle_options") if isinstance(lab, dict) else None
    return replace(
        found,
        apis=tuple(names),
        apis_from="the manifest" if names else "",
        complete=manifest.complete,
        reasons=tuple(manifest.reasons),
        dropped={s.side: s.packets_dropped for s in manifest.sides if s.packets_dropped},
        missing=tuple(sorted(name for name in manifest.files if not os.path.exists(os.path.join(folder, name)))),
        covering=frozenset(found.errors),
        sshuttle=("sshuttle", *(str(o) for o in options)) if isinstance(options, list) and options else None,
    )


def read_sockets(path: str | None) -> list[dict[str, Any]]:
    """Samples of sockets.jsonl; lines that are none are left out."""
    if path is None:
        return []
    samples: list[dict[str, Any]] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file):
                if number >= MAX_SAMPLES:
                    break
                try:
                    sample = json.loads(line)
                except ValueError:
                    continue
                if isinstance(sample, dict):
                    samples.append(sample)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    return samples
