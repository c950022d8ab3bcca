"""The bundle for the provider's support: an anonymised recording, what it is analysed to, the letter, and what all this is; as one zip.

Nothing in it comes from the original analysis: the captures are anonymised first, and what is told is what the analysis of *them* tells. So no name, address
or path can get into it by way of a report. The API's own names stay, for the provider knows them: those that the user or the manifest names, and those of
providers that netlens knows. A name that was only guessed from the traffic could be one of the user's own network, and is replaced.

Limits: the address that requests came from is not in it; who wants it looked up in the provider's logs has to tell it (``support.md`` of ``analyze -o`` does).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netlens import __version__, outputs
from netlens.addresses import is_address
from netlens.analysis import analyze
from netlens.anonymize import recordings, secret
from netlens.anonymize.mapper import Mapper
from netlens.api import TABLES, Capture
from netlens.capture.recording import MANIFEST
from netlens.chains.inputs import Inputs
from netlens.chains.target import KNOWN_APIS
from netlens.errors import NetlensError
from netlens.report import letter
from netlens.text import printable

ABOUT = """\
What this is: a recording of network traffic, made anonymous by netlens {version}, and its analysis.

{files}
Addresses, names and hardware addresses are replaced, except the names of the API: {kept}.
The same thing is called the same everywhere in this bundle, and nowhere else. Payload is zeros; of the error logs only times, levels and error codes are
left. Times (UTC), lengths, ports, flags and sequence numbers are the real ones. Private addresses are still private, and shared prefixes still shared.
The address that the requests came from is not given here.

To see for yourself: netlens analyze {target}
"""
_MEANING = {
    "report.json": "the findings: limit, causes with evidence (frame numbers), what each fix would change",
    "support.md": "the findings as a letter",
    MANIFEST: "counts, times and checksums of the files",
    "requests.jsonl": "times, status and codes of requests, read with keys that are not here",
    "sockets.jsonl": "which sockets were open, once a second",
}
#: What must be equal in the analysis of the copy.
SAME = ("cause", "limit", "counts", "peaks", "paths", "clock")


@dataclass(frozen=True)
class Bundled:
    """names : what is in the zip.  differs : what the copy is analysed to otherwise than the original (nothing, as far as we know).
    warnings : of the reader, about the captures.  renamed : names of the target that are others in it, because nobody said that they are the API's."""

    names: list[str]
    differs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)


def bundle(inputs: Inputs, document: Mapping[str, Any], path: str) -> Bundled:
    """Write the bundle to the new file ``path``, readable by its owner only.

    inputs : what was analysed.  document : ``Analysis.to_dict()`` of it; the copy's analysis is compared with it.

    NetlensError if something cannot be read, or the file is there already or cannot be written.
    """
    refuse_standard_input(p for files in inputs.captures.values() for p in files)
    names = [str(n) for n in document["target"]["names"]]
    targets = inputs.apis or tuple(names or (str(a) for a in document["target"]["addresses"]))
    known = [n for n in names if f".{n.lower()}".endswith(tuple(f".{api}" for api in KNOWN_APIS))]
    kept = list(dict.fromkeys([*(a for a in inputs.apis if not is_address(a)), *known]))
    mapper = Mapper(secret.fresh(), kept)
    with outputs.new_file(path) as aside, tempfile.TemporaryDirectory(prefix="netlens-") as scratch:
        folder = Path(scratch, "recording")
        folder.mkdir(mode=0o700)
        made = recordings.inputs(inputs, folder, mapper, _recording_of(inputs))
        given = _of_copy(inputs, folder, mapper, targets)
        found = analyze({side: Capture(files, TABLES, trail=True) for side, files in given.captures.items()}, given)
        told = _without(found.to_dict(), str(folder) + os.sep)
        differs = [name for name in SAME if json.dumps(told[name], default=str) != json.dumps(document[name], default=str)]
        differs += ["hypotheses"] if _verdicts(told) != _verdicts(document) else []
        differs += ["fixes"] if _numbers(told) != _numbers(document) else []
        content = {"report.json": json.dumps(told, indent=2, allow_nan=False) + "\n"}
        if told["counts"]["rejections"]:
            content["support.md"] = letter.of(found, with_address=False)
        files = sorted(folder.iterdir())
        content["ABOUT.txt"] = _about(
            [*content, *(f.name for f in files)], kept, len(given.captures), next(iter(given.captures.values()))[0]
        )
        with outputs.create(aside) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in content.items():
                archive.writestr(_entry(name), text)
            for file in files:
                entry = _entry(f"recording/{file.name}", stored=file.suffix == ".gz")
                with archive.open(entry, "w", force_zip64=True) as out, open(file, "rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
    renamed = [n for n in names if n.lower() not in {k.lower() for k in kept}]
    return Bundled([*content, *(f"recording/{f.name}" for f in files)], differs, made.warnings, renamed)


def refuse_standard_input(captures: Iterable[str | None]) -> None:
    """Refuse what can be read once only (NetlensError)."""
    if "-" in captures:
        raise NetlensError("a capture from standard input cannot be read a second time for the bundle; save it to a file first")


def _entry(name: str, stored: bool = False) -> zipfile.ZipInfo:
    """A member without a trace of when and by whom."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def _recording_of(inputs: Inputs) -> str | None:
    """The folder with a manifest in which all captures lie."""
    folders = {os.path.dirname(p) or "." for files in inputs.captures.values() for p in files}
    if None in inputs.captures or len(folders) != 1:
        return None
    folder = folders.pop()
    return folder if os.path.exists(os.path.join(folder, MANIFEST)) else None


def _of_copy(inputs: Inputs, folder: Path, mapper: Mapper, targets: Iterable[str]) -> Inputs:
    """What the original was given, of the copy."""
    captures: dict[str | None, tuple[str, ...]] = {}
    for side in inputs.captures:
        stem = side or "capture"
        captures[side] = tuple(str(p) for p in sorted(folder.iterdir()) if p.name.startswith((f"{stem}.pcap", f"{stem}-0")))
    beside = {name: str(folder / f"{name}.jsonl") if (folder / f"{name}.jsonl").exists() else None for name in ("sockets", "requests")}
    options = None if inputs.sshuttle is None else tuple(recordings.sshuttle_options(inputs.sshuttle[1:], mapper))
    return Inputs(  # field by field: what is not named here does not get into the copy
        captures=captures,
        errors={side: str(folder / f"{side}-errors.log") for side in inputs.errors},
        sockets=beside["sockets"],
        requests=beside["requests"],
        apis=tuple(mapper.host(name) for name in targets),
        apis_from=inputs.apis_from,
        complete=inputs.complete,
        dropped=inputs.dropped,
        missing=tuple(mapper.word(name) for name in inputs.missing),
        covering=inputs.covering,
        reasons=("the recording ended early",) if inputs.reasons else (),
        sshuttle=None if options is None else ("sshuttle", *options),
    )


def _without(value: Any, prefix: str) -> Any:
    """The same without the scratch folder in its paths."""
    if isinstance(value, str):
        return value.replace(prefix, "")
    if isinstance(value, dict):
        return {k: _without(v, prefix) for k, v in value.items()}
    return [_without(v, prefix) for v in value] if isinstance(value, list) else value


def _verdicts(document: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [(h["id"], h["verdict"], h["attributable_fraction"], h["p"]) for h in document["hypotheses"]]


def _numbers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in f.items() if isinstance(v, int | float | bool)} for f in document["fixes"]]


def _about(names: Iterable[str], kept: Iterable[str], sides: int, first: str) -> str:
    listed = "".join(
        f"  {name:<20} {meaning}\n"
        for name in names
        if (
            meaning := _MEANING.get(name)
            or ("what was captured" if ".pcap" in name else "reduced error log" if name.endswith(".log") else "")
        )
    )
    target = "recording" if sides > 1 or not os.path.basename(first).startswith("capture") else f"recording/{os.path.basename(first)}"
    return ABOUT.format(version=__version__, files=listed, kept=printable(", ".join(kept)) or "none", target=printable(target))
