"""What an analysis is given: the captures of the sides, and whatever lies beside them.

A recording is a folder with ``host.pcap`` and/or ``vm.pcap`` (also ``.pcapng``, ``.gz``, or the parts of a rotation ``vm-0001.pcap``), any number of
further captures ``NAME.pcap`` of machines that share the host's way out, and perhaps
``vm-errors.log``, ``host-errors.log``, ``*keylog*.txt``, ``sockets.jsonl``, ``requests.jsonl`` and a ``manifest.toml``, which says what the folder
cannot: the API and the command line of the tunnel. What is named on the command line goes before what lies in the folder. Key logs are used only if they
are named: decrypting starts tshark, and whoever made the folder does not decide that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from netlens.capture.recording import MANIFEST, Manifest, read_manifest
from netlens.errors import CaptureError
from netlens.sidefiles import Rows, is_count, refuse_special
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.api import Capture
    from netlens.parsers.decrypted import Decrypted
    from netlens.parsers.errorlog import ErrorLog

_ENDINGS = (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz")
MAX_SAMPLES = 1_000_000  #: lines of sockets.jsonl that are read: fourteen hours of twenty sockets, once a second


@dataclass(frozen=True)
class Inputs:
    """Files by side; a side is "vm", "host", the name of a further vantage, or None where nobody said which.

    captures : side -> its files in order.  errors : side, or name of a further vantage -> error log.  keylogs : files of TLS keys that were named.
    more_errors : (side, error log) of further programs.
    unused_keylogs : such files in the folder, which nobody named.  unused_logs : error logs in it of machines of which there is no capture.
    requests : what keys showed, in a recording without keys (:func:`netlens.parsers.decrypted.read_rows`), of the capture nearest to the provider.
    apis : names or addresses of the API; empty: to be guessed.  apis_from : who named them.
    complete : False if the recording says that it broke off.  reasons : why.  sshuttle : the tunnel's command line, if known.
    dropped : side -> packets that the kernel dropped.  missing : files that the manifest names and the folder does not hold.
    covering : sides whose error log spans the recording, because the recorder wrote both.  manifest : of the folder, if it has one.
    """

    captures: dict[str | None, tuple[str, ...]]
    errors: dict[str, str] = field(default_factory=dict)
    more_errors: tuple[tuple[str, str], ...] = ()
    keylogs: tuple[str, ...] = ()
    unused_keylogs: tuple[str, ...] = ()
    unused_logs: tuple[str, ...] = ()
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
    manifest: Manifest | None = None

    @property
    def notes(self) -> list[str]:
        """What makes a recording incomplete by its own account, and what in it was not used."""
        notes = []
        if not self.complete:
            notes.append(f"the recording is incomplete: {'; '.join(self.reasons) or 'it ended early'}")
        if self.missing:
            notes.append(f"the folder lacks {', '.join(printable(name) for name in self.missing)}, which the manifest names")
        for path in self.unused_keylogs:
            notes.append(
                f"{printable(path)}: this TLS key log is in the recording but was not used; to decrypt with it (this starts tshark), add --keylog FILE"
            )
        for path in self.unused_logs:
            notes.append(f"{printable(path)}: this error log is not used: the recording has no capture of that machine")
        for side, dropped in self.dropped.items():
            notes.append(f"{side}: the kernel dropped {plural(dropped, 'packet')} while recording; counts may be low")
        return notes

    def with_options(
        self,
        *,
        apis: tuple[str, ...] = (),
        errors: Mapping[str, str | None] | None = None,
        more_errors: tuple[tuple[str, str], ...] = (),
        keylogs: tuple[str, ...] = (),
    ) -> Inputs:
        """The same with what was named on the command line instead of what was found."""
        named = {side: path for side, path in (errors or {}).items() if path is not None}
        further = []
        for side, path in more_errors:
            if side in named:
                further.append((side, path))
            else:
                named[side] = path
        return replace(
            self,
            apis=apis or self.apis,
            apis_from="named" if apis else self.apis_from,
            errors={**self.errors, **named},
            more_errors=(*self.more_errors, *further),
            keylogs=keylogs or self.keylogs,
            unused_keylogs=() if keylogs else self.unused_keylogs,
            covering=self.covering - named.keys(),
        )


def from_folder(folder: str) -> Inputs:
    """A recording.

    Raises
    ------
    CaptureError
        the folder holds no capture of a side, cannot be read, a capture in it is no file, or its manifest is none.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise CaptureError(f"{printable(folder)}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    captures: dict[str | None, tuple[str, ...]] = {side: files for side in ("vm", "host") if (files := _side_files(folder, names, side))}
    if captures:
        captures |= {name: files for name in _further(names) if (files := _side_files(folder, names, name))}
    else:
        raise CaptureError(f"{printable(folder)}: {_why_no_recording(folder, names)}")
    for path in (path for files in captures.values() for path in files):
        refuse_special(path)  # a named pipe would be waited for, as one that is named on the command line is
    sides = dict.fromkeys(["vm", "host", *(side for side in captures if side is not None)])
    errors = {side: os.path.join(folder, name) for side in sides if (name := f"{side}-errors.log") in names}
    keylogs = tuple(os.path.join(folder, name) for name in names if re.fullmatch(r".*keylog.*\.(txt|log)|.*\.keys", name))
    beside = {name: os.path.join(folder, f"{name}.jsonl") if f"{name}.jsonl" in names else None for name in ("sockets", "requests")}
    unused = tuple(
        os.path.join(folder, name) for name in names if name.endswith("-errors.log") and name.removesuffix("-errors.log") not in sides
    )
    found = Inputs(captures, errors, unused_keylogs=keylogs, unused_logs=unused, sockets=beside["sockets"], requests=beside["requests"])
    return _with_manifest(found, folder) if MANIFEST in names else found


def _why_no_recording(folder: str, names: list[str]) -> str:
    if not names:
        return "this folder is empty; a recording holds host.pcap or vm.pcap"
    lacking = "this folder has no host.pcap or vm.pcap (or .pcapng, .gz), so it is not a recording"
    within = [name for name in names if _is_recording(os.path.join(folder, name))]
    if not within:
        captures = [name for name in names if name.endswith(_ENDINGS)]
        return lacking + (
            f"; to analyse a capture in it, name the file: {printable(os.path.join(folder, captures[0]))}" if captures else ""
        )
    shown = ", ".join(printable(name) for name in within[:5]) + (f" and {len(within) - 5:,} more" if len(within) > 5 else "")
    return f"{lacking}; it holds {plural(len(within), 'recording')}: {shown}. Name {'it' if len(within) == 1 else 'one of them'}"


def _is_recording(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(_side_files(folder, names, side) for side in ("vm", "host"))


def vantage(text: str) -> str | None:
    """``text`` if it can name a vantage: a word that is safe as part of a file's name; else None."""
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text) else None


def _further(names: list[str]) -> list[str]:
    """Names of the captures in a recording that are neither the VM's nor the host's."""
    found = (re.fullmatch(r"(.+?)(-\d+)?\.pcap(ng)?(\.gz)?", name) for name in names)
    return sorted({m[1] for m in found if m and m[1] not in ("vm", "host") and vantage(m[1])})


def _side_files(folder: str, names: list[str], side: str) -> tuple[str, ...]:
    for ending in _ENDINGS:
        if side + ending in names:
            return (os.path.join(folder, side + ending),)
    parts = [name for name in names if re.fullmatch(re.escape(side) + r"-\d+\.pcap(ng)?(\.gz)?", name)]
    return tuple(os.path.join(folder, name) for name in sorted(parts, key=lambda name: (len(name), name)))


def _with_manifest(found: Inputs, folder: str) -> Inputs:
    manifest = read_manifest(folder)
    api = manifest.extra.get("api")
    names: list[str] = []
    if isinstance(api, dict):
        named = api.get("names") or api.get("addresses") or []
        names = [n for n in (named if isinstance(named, list) else [named]) if isinstance(n, str)]
    return replace(
        found,
        apis=tuple(names),
        apis_from="the manifest" if names else "",
        complete=manifest.complete,
        reasons=tuple(manifest.reasons),
        dropped={s.side: s.packets_dropped for s in manifest.sides if s.packets_dropped},
        missing=tuple(sorted(name for name in manifest.files if not _there(folder, name))),
        covering=frozenset(found.errors),
        sshuttle=_sshuttle(manifest.extra),
        manifest=manifest,
    )


def _there(folder: str, name: str) -> bool:
    """Whether the folder holds a file of the manifest, as it was recorded, or compressed or unpacked since."""
    bare = name.removesuffix(".gz")
    return any(os.path.exists(os.path.join(folder, each)) for each in (bare, f"{bare}.gz"))


def _sshuttle(told: dict[str, Any]) -> tuple[str, ...] | None:
    """The command line of the VM's sshuttle, as far as the manifest has it; None if it has none, or several. Whoever shows it checks each word."""
    lab, machines = told.get("lab"), told.get("machines")
    options = lab.get("sshuttle_options") if isinstance(lab, dict) else None
    if isinstance(options, list) and options:
        return ("sshuttle", *(str(o) for o in options))
    vm = machines.get("vm") if isinstance(machines, dict) else None
    running = vm.get("sshuttle_processes") if isinstance(vm, dict) else None
    if not isinstance(running, list) or len(running) != 1 or not isinstance(running[0], dict):
        return None
    one = running[0]
    subnets, excludes = ([str(s) for s in v] if isinstance(v := one.get(name), list) else [] for name in ("subnets", "excludes"))
    if not isinstance(one.get("remote"), str) or not (subnets or one.get("auto_nets")):
        return None
    words = ["sshuttle", "--method", str(one["method"])] if one.get("method") not in (None, "auto") else ["sshuttle"]
    words += [
        option for option, name in (("--dns", "dns"), ("--auto-hosts", "auto_hosts"), ("--auto-nets", "auto_nets")) if one.get(name) is True
    ]
    words += ["-r", one["remote"], *subnets]
    for exclude in excludes:
        words += ["-x", exclude]
    return (*words, "-X", "FILE") if one.get("excludes_elsewhere") else tuple(words)


@dataclass(frozen=True)
class Beside:
    """What lies beside captures, read.

    logs : error logs by side.  covering : sides whose log spans the recording.  keys : requests that a key log shows, of the upstream capture.
    sshuttle : the tunnel's command line, if known.  host_address : as the recording says that the VM reaches the host.
    notes : what keeps any of it from being of full use.
    """

    logs: dict[str, ErrorLog] = field(default_factory=dict)
    covering: frozenset[str] = frozenset()
    keys: Decrypted | None = None
    sshuttle: tuple[str, ...] | None = None
    host_address: str | None = None
    notes: list[str] = field(default_factory=list)


def read_logs(given: Inputs) -> dict[str, ErrorLog]:
    """Error logs by path; CaptureError if one cannot be read."""
    from netlens.parsers import errorlog

    return {path: errorlog.read(path) for path in (*given.errors.values(), *(path for _, path in given.more_errors))}


def read_beside(given: Inputs, upstream: Capture, sides: Collection[str], read: Mapping[str, ErrorLog]) -> Beside:
    """Read what lies beside the captures of ``sides``; keys decrypt the upstream one.  read : the error logs, by path.

    Raises
    ------
    CaptureError
        a file cannot be read.
    """
    from netlens.chains import reached

    keys: Decrypted | None = None
    logs: dict[str, ErrorLog] = {}
    notes: list[str] = []
    if given.keylogs:
        from netlens.parsers import decrypted

        rows, notes = decrypted.of_all(upstream.paths, given.keylogs, upstream.table("sessions"))
        keys = decrypted.Decrypted(rows)
    _, until = upstream.part.bounds_ns or (0, 0)
    for side in sides:
        if (log := log_of(given, side, read, until, notes)) is not None:
            logs[side] = log
    if given.requests is not None and keys is None:
        from netlens.parsers import decrypted

        keys = decrypted.read_rows(given.requests)
        notes += [keys.note] if keys.note else []
    host_address = None if given.manifest is None else reached.told(given.manifest.extra)
    return Beside(logs, given.covering, keys, given.sshuttle, host_address, notes)


def log_of(given: Inputs, side: str, read: Mapping[str, ErrorLog], until_ns: int, notes: list[str]) -> ErrorLog | None:
    """The error log of a side, of all its files; None without one.  read : by path.  until_ns : when the capture ends.  notes : where
    what it says besides is added."""
    from netlens.parsers import errorlog

    if side not in given.errors:
        return None
    paths = [given.errors[side], *(path for name, path in given.more_errors if name == side)]
    found = [errorlog.dated(read[path], until_ns) for path in paths]
    notes += [log.note for log in found if log.note]
    return errorlog.joined(errorlog.pieces(paths, found))


def read_sockets(path: str) -> Rows[dict[str, Any]]:
    """Samples of sockets.jsonl; lines that are none are left out, and counted."""
    return Rows(path, MAX_SAMPLES, _sample, "a socket sample")


_TEXTS = ("side", "local", "remote", "state", "process")


def _sample(row: dict[str, Any]) -> dict[str, Any] | None:
    """What is used of a row; None if a value is not what it should be."""
    sample = {name: row[name] for name in (*_TEXTS, "time_ns", "pid") if row.get(name) is not None}
    texts = all(isinstance(sample[name], str) for name in _TEXTS if name in sample)
    return sample if texts and all(is_count(sample[name]) for name in ("time_ns", "pid") if name in sample) else None
