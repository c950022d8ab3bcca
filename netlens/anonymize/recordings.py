"""Recordings and single captures: which files become what, and what is left out.

Of a recording the captures, the reduced error logs, the socket samples and the manifest have a counterpart. Left out are key logs, journals of provider
and program, and whatever else lies in the folder. What a key log showed of requests (times, status, error code: ``requests.jsonl``) goes with it, because an
analysis of HTTP/2 rests on it and the payload is gone.

- *Error logs* are reduced to time, level, service and known words, as when they are recorded (:mod:`netlens.capture.errorlog`); every line leaves one,
  so that line numbers and gaps stay.
- *Socket samples*: addresses mapped, processes renamed but for the kinds that open connections for a tunnel.
- *The manifest* is made from a list of what may be in it: files, counts, times, the API's names and addresses, the sides' addresses (all mapped), and
  of a laboratory's recording the numbers of its scenario. No machine, path, user, command, host key or text.

Outputs are made aside, readable by their owner only, and take their place when they are complete. Nothing is ever written over.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netlens import logs
from netlens.anonymize.captures import Progress, rewrite
from netlens.anonymize.mapper import Mapper
from netlens.capture.recording import MANIFEST, Manifest, SideResult, read_manifest, write_manifest
from netlens.chains.inputs import Inputs, from_folder, read_sockets
from netlens.errors import NetlensError
from netlens.outputs import create, new_file, new_folder
from netlens.parsers import decrypted, errorlog
from netlens.sidefiles import Lines

#: What a line leaves that could not be read; of one with what looks like the head of a line inside, something that looks so too.
UNREAD, BROKEN = "-", "- +0ms service="
_STATE = re.compile(r"[A-Z0-9_]{1,20}")
_WORD = re.compile(r"[a-z0-9][a-z0-9 ._/-]{0,40}")


@dataclass
class Result:
    """What was made: frames in all captures; names of files that have no counterpart; known APIs that were met, and what they are called now."""

    frames: int = 0
    left_out: list[str] = field(default_factory=list)
    apis: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    has_manifest: bool = False


# --- captures ---------------------------------------------------------------------------------------------------------------------------


def capture(source: str, target: str, mapper: Mapper, progress: Progress | None = None) -> Result:
    """Anonymise one capture ("-": standard input) into the file ``target``.

    Raises
    ------
    NetlensError
        the capture cannot be read, or the target is there or cannot be written.
    """
    with new_file(target) as path:
        written = rewrite([source], lambda _: create(path), [target.endswith(".gz")], mapper, progress)
    return Result(sum(written.frames), apis=_apis(mapper), warnings=written.warnings)


def _apis(mapper: Mapper) -> dict[str, str]:
    return {name: mapper.name(name) for name in mapper.met()}


# --- recordings -------------------------------------------------------------------------------------------------------------------------


def recording(
    source: str,
    target: str,
    mapper: Mapper,
    progress: Callable[[str], Progress | None] | None = None,
    keylogs: tuple[str, ...] = (),
) -> Result:
    """Anonymise a recording into the new folder ``target``. ``progress`` gives for a side what is called while its captures are read.

    ``keylogs`` : the requests they decrypt go into the copy. Without them, those in the folder are not used.

    Raises
    ------
    NetlensError
        it is no recording, cannot be read, or the target is there or cannot be written.
    """
    given = from_folder(source).with_options(keylogs=keylogs)
    with new_folder(target) as folder:
        return inputs(given, folder, mapper, source, progress)


def inputs(
    given: Inputs, folder: Path, mapper: Mapper, source: str | None = None, progress: Callable[[str], Progress | None] | None = None
) -> Result:
    """Anonymise what an analysis was given into ``folder``, which is there and empty; ``source``: the recording's folder, if it is one."""
    result = Result()
    files: dict[str, list[Path]] = {}
    kept: set[str] = {MANIFEST}
    for side, paths in given.captures.items():
        name = side or "vm"
        if side is None:
            name = "capture"
        targets = [folder / _capture_name(name, path, number, len(paths)) for number, path in enumerate(paths)]
        zipped = [t.name.endswith(".gz") for t in targets]
        written = rewrite(paths, lambda n, t=targets: create(t[n]), zipped, mapper, progress(name) if progress else None)  # type: ignore[misc]
        result.frames += sum(written.frames)
        result.warnings += written.warnings
        files[name] = targets
        kept.update(os.path.basename(p) for p in paths)
    for side, path in given.errors.items():
        paths_of_side = [path, *(more for name, more in given.more_errors if name == side)]
        _error_log(paths_of_side, folder / f"{side}-errors.log", result)
        kept.update(map(os.path.basename, paths_of_side))
    if given.sockets is not None:
        _sockets(given.sockets, folder / "sockets.jsonl", mapper, result)
        kept.add(os.path.basename(given.sockets))
    if given.keylogs or given.requests is not None:
        _requests(given, folder / "requests.jsonl", result)
        kept.add("requests.jsonl")
    if given.unused_keylogs and given.requests is None:
        named = " ".join(f"--keylog {shlex.quote(path)}" for path in given.unused_keylogs)
        result.warnings.append(
            f"the copy has no decrypted requests, as no key log was named; to include them (this starts tshark), add {named}"
        )
    result.apis = _apis(mapper)
    manifest = read_manifest(source) if source is not None and os.path.exists(os.path.join(source, MANIFEST)) else None
    # A manifest says that the recorder wrote the error logs; one that was not there may not begin to say so.
    if manifest is not None or (not given.errors and "capture" not in files):
        _manifest(manifest, given, files, folder, mapper, result)
        result.has_manifest = True
    if source is not None:
        result.left_out = sorted(name for name in os.listdir(source) if name not in kept)
    else:
        result.left_out = sorted(os.path.basename(p) for p in (*given.keylogs, *given.unused_keylogs))
    return result


def _capture_name(side: str, path: str, number: int, count: int) -> str:
    form = "pcapng" if re.search(r"\.pcapng(\.gz)?$", path) else "pcap"
    return f"{side}{f'-{number + 1:04d}' if count > 1 else ''}.{form}{'.gz' if path.endswith('.gz') else ''}"


# --- error logs -------------------------------------------------------------------------------------------------------------------------


def _error_log(paths: list[str], target: Path, result: Result) -> None:
    with create(target) as file:
        for path in paths:
            lines = Lines(path, errorlog.MAX_LINES, logs.MAX_LINE, "the error log")
            for record, count in logs.records(lines):
                file.write(reduced(record.decode("utf-8", "replace")).encode() + b"\n" + (UNREAD.encode() + b"\n") * (count - 1))
            if lines.note:
                result.warnings.append(lines.note)


def reduced(line: str) -> str:
    """What is kept of a line of an error log: it is read as the same event, and holds nothing else."""
    line = logs.plainly(line)
    if not line.strip():
        return ""
    if (known := logs.recognise(line)) is None:
        return BROKEN if logs.holds_head(line.encode("utf-8", "replace")) else UNREAD
    form, head = known
    if not head.fault:
        return form.write(replace(head, service="") if head.since_ms is not None else head)
    rest = line[head.rest :]
    said = form.said(rest)
    words = logs.words(said)
    # a number that only looks like a code of the provider's must not become one
    if logs.refusal(said, fault=head.level in logs.FAULTS) is None:
        words = [word for word in words if logs.refusal(form.said(word)) is None]
    return " ".join([form.write(head), *words])


# --- what keys showed ---------------------------------------------------------------------------------------------------------------------


def _requests(given: Inputs, target: Path, result: Result) -> None:
    """Times, status and codes of the requests that the key logs show in the capture nearest to the provider; the keys themselves go nowhere."""
    paths = given.captures.get("host") or next(iter(given.captures.values()))
    try:
        rows, _ = decrypted.of_all(paths, given.keylogs)
    except NetlensError as error:  # without tshark
        result.warnings.append(f"what the key log shows is left out: {error}")
        return
    if not given.keylogs and given.requests is not None:
        found = decrypted.read_rows(given.requests)
        rows = found.rows
        result.warnings += [found.note] if found.note else []
    if rows:
        with create(target) as file:
            file.writelines(line.encode() + b"\n" for line in decrypted.lines(rows))


# --- socket samples ---------------------------------------------------------------------------------------------------------------------


def _sockets(path: str, target: Path, mapper: Mapper, result: Result) -> None:
    samples = read_sockets(path)
    with create(target) as file:
        for sample in samples:
            file.write(json.dumps(_sample(sample, mapper)).encode() + b"\n")
    result.warnings += samples.notes


def _sample(sample: dict[str, Any], mapper: Mapper) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if sample.get("side") in ("vm", "host"):
        row["side"] = sample["side"]
    row |= {name: sample[name] for name in ("time_ns", "pid") if name in sample}
    row |= {name: _endpoint(sample[name], mapper) for name in ("local", "remote") if name in sample}
    if _STATE.fullmatch(sample.get("state", "")):
        row["state"] = sample["state"]
    if "process" in sample:
        row["process"] = mapper.process(sample["process"])
    return row


def _endpoint(text: str, mapper: Mapper) -> str:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    image = mapper.address(bare)
    if image is None:
        image = "*" if bare == "*" else mapper.word(bare)
    shown = f"[{image}]" if ":" in image else image
    return f"{shown}:{port if port.isascii() and port.isdigit() else '*'}"


# --- manifest ---------------------------------------------------------------------------------------------------------------------------


def _manifest(manifest: Manifest | None, given: Inputs, files: dict[str, list[Path]], folder: Path, mapper: Mapper, result: Result) -> None:
    extra: dict[str, Any] = {"anonymized": True}
    before = manifest.extra if manifest is not None else {}
    names = [mapper.host(name) for name in given.apis] or list(result.apis.values())
    api = before.get("api")
    addresses = [image for a in _texts(api.get("addresses")) if (image := mapper.address(a))] if isinstance(api, dict) else []
    extra["api"] = {"names": names, "addresses": addresses, **_numbers(api, "port")}
    own = before.get("addresses")
    if isinstance(own, dict):
        extra["addresses"] = {
            side: [image for a in _texts(own.get(side)) if (image := mapper.address(a))] for side in ("vm", "host") if side in own
        }
    extra |= _numbers(before, "started_ns", "stopped_ns", "rejections_logged")
    if isinstance(before.get("lab"), dict):
        extra["lab"] = _lab(before["lab"], mapper)
    if not given.complete:
        extra |= {"complete": False, "reasons": ["the recording ended early"]}
    sides = [_side(manifest.side(name) if manifest is not None else None, name, paths) for name, paths in files.items()]
    write_manifest(folder, sides, extra)


def _side(before: SideResult | None, name: str, paths: list[Path]) -> SideResult:
    size = sum(p.stat().st_size for p in paths)
    if before is None:
        return SideResult(name, paths[0], None, None, None, 0, 0, [], paths=paths, bytes=size)
    return SideResult(
        name, paths[0], before.packets_captured, before.packets_received, before.packets_dropped, before.started_ns, before.stopped_ns, [],
        complete=before.complete, reason=None if before.complete else "ended early", paths=paths, removed=before.removed,
        interface="any" if before.interface == "any" else "",
        link_type=before.link_type if re.fullmatch(r"[A-Z0-9_]{1,32}", before.link_type) else "", snaplen=before.snaplen, bytes=size,
    )  # fmt: skip


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _numbers(table: Any, *names: str) -> dict[str, Any]:
    return {n: v for n, v in _named(table, names) if isinstance(v, int | float)}


def _words(table: Any, *names: str) -> dict[str, str]:
    return {n: v for n, v in _named(table, names) if isinstance(v, str) and _WORD.fullmatch(v)}


def _named(table: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(n, table[n]) for n in names if n in table] if isinstance(table, dict) else []


def _lab(lab: dict[str, Any], mapper: Mapper) -> dict[str, Any]:
    """A laboratory's numbers; the recordings of the laboratory are of nobody, but a stranger may have written the table."""
    out: dict[str, Any] = _words(lab, "scenario", "path", "http", "counts", "sshuttle") | _numbers(
        lab, "seconds", "seed", "exclude_api", "drained"
    )
    options = _texts(lab.get("sshuttle_options"))
    if options:
        out["sshuttle_options"] = sshuttle_options(options, mapper)
    out["clock"] = _numbers(lab.get("clock"), "offset_s", "drift_ppm", "at_ns")
    expect = lab.get("expect")
    if isinstance(expect, dict):
        causes = [c for c in _texts(expect.get("causes")) if _WORD.fullmatch(c)]
        out["expect"] = {"causes": causes, **_words(expect, "rule", "rejections"), **_numbers(expect, "limit")}
    return out


_OPTION = re.compile(r"--[a-z][a-z0-9-]{0,30}|-[a-zA-Z]|-v+")
_JOINED = re.compile(r"(-[a-zA-Z])=?(.+)", re.DOTALL)  #: ``-rUSER@HOST``
_METHODS = ("auto", "nat", "nft", "tproxy", "pf", "ipfw")


def sshuttle_options(words: Iterable[str], mapper: Mapper) -> list[str]:
    """The command line of a tunnel with other users, hosts and networks."""
    out = []
    for word in words:
        if _OPTION.fullmatch(word) or word in _METHODS or word.isdecimal():
            out.append(word)
            continue
        name, equals, value = word.partition("=")
        joined = _JOINED.fullmatch(word)
        if equals and _OPTION.fullmatch(name):
            out.append(name + equals + _place_in_net(value, mapper))
        elif joined:
            out.append(joined[1] + _place_in_net(joined[2], mapper))
        else:
            out.append(_place_in_net(word, mapper))
    return out


def _place_in_net(text: str, mapper: Mapper) -> str:
    """``USER@HOST:PORT``, ``HOST:PORT``, an address, a network or several with commas."""
    if "," in text:
        return ",".join(_place_in_net(part, mapper) for part in text.split(","))
    if text in ("0/0", "::/0"):
        return text
    _user, at, host = text.rpartition("@")
    bare, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal() and (":" not in bare or bare.endswith("]"))):
        bare, colon, port = host, "", ""
    inner = bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
    image = mapper.network(inner) if "/" in inner else mapper.address(inner)
    shown = image or mapper.name(inner.replace("/", "."))
    if bare != inner:
        shown = f"[{shown}]"
    return f"{'user@' if at else ''}{shown}{colon}{port}"
