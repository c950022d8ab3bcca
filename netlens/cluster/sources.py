"""Names, folders, globs and URLs to files in order.

A name is taken as it is if such a file exists. A folder means the captures in it, a pattern (``*``, ``?``, ``[...]``) those that it matches; both are
put into the order of their first packets, because names of a ring of files (``tcpdump -W``) do not tell where it was closed. Files that are named one
by one stay in the order given, as for one machine.
"""

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netlens.errors import CaptureError
from netlens.wire.containers import Reader
from netlens.wire.streams import Stream, check

#: What captures are called: with what tcpdump -C, dumpcap -b and logrotate put behind it, and compressed.
CAPTURE_NAME = re.compile(r"\.(pcapng|pcap|cap|dmp)([-._]?\d+)*(\.gz)?$", re.IGNORECASE)
#: bytes asked of a store at a time: at 50 ms a request, 160 MB/s, more than a worker decodes of full packets per core and store
READ_AHEAD = 8 << 20


@dataclass(frozen=True)
class Source:
    """One file: ``group`` is the argument that it came from; ``by_time``: files of that group are ordered by their first packets."""

    path: str
    group: int
    by_time: bool


def is_url(name: str) -> bool:
    return "://" in name


def expand(names: Iterable[str], here: bool = False) -> list[Source]:
    """The files that ``names`` mean, without reading one; ``here``: workers see the same files as this process, so that what is missing is told now.

    Raises
    ------
    CaptureError
        nothing is there, or a folder or pattern holds no capture.
    """
    found: list[Source] = []
    for group, name in enumerate(names):
        if name == "-":
            raise CaptureError("standard input cannot be read by workers; name files, a folder, a pattern or URLs")
        paths, several = _of_url(name) if is_url(name) else _of_path(name)
        found += [Source(path, group, several) for path in paths]
    for source in found if here else ():
        if not is_url(source.path):
            check(source.path)
    if not found:
        raise CaptureError("no capture was named; give files, a folder, a pattern or URLs")
    return found


def _of_path(name: str) -> tuple[list[str], bool]:
    if os.path.isdir(name):
        inside = [e.path for e in os.scandir(name) if e.is_file() and CAPTURE_NAME.search(e.name)]
        return [os.path.abspath(p) for p in _some(inside, name)], True
    if not os.path.exists(name) and glob.has_magic(name):
        return [os.path.abspath(p) for p in _some([p for p in glob.glob(name) if os.path.isfile(p)], name)], True
    return [os.path.abspath(name)], False


def _of_url(url: str) -> tuple[list[str], bool]:
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path):
            return _some([system.unstrip_protocol(p) for p in system.glob(path) if not system.isdir(p)], url), True
        if system.isdir(path):
            inside = [p for p in system.ls(path, detail=False) if CAPTURE_NAME.search(p)]
            return _some([system.unstrip_protocol(p) for p in inside], url), True
    except CaptureError:
        raise
    except Exception as error:  # noqa: BLE001 -- each store has errors of its own
        raise CaptureError(f"{url}: {reason(error)}") from None
    return [url], False


def _some(paths: list[str], name: str) -> list[str]:
    if not paths:
        raise CaptureError(f"{name}: no capture found (in folders: *.pcap, *.pcapng, *.cap, *.dmp; a number or .gz may follow)")
    return sorted(paths, key=natural)


def natural(text: str) -> list[tuple[int, str]]:
    """Sorts ``x2`` before ``x10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def reason(error: BaseException) -> str:
    """One line of what a store's library said."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, ImportError):
        return f"its store needs a package that is not installed ({error})".replace("\n", " ")
    return first_line(error)


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class SourceReader(Reader):
    """:class:`netlens.wire.containers.Reader` that also reads URLs, as a stream, without a copy on disk."""

    def check(self, path: str) -> None:
        if not is_url(path):
            super().check(path)

    def open(self, path: str) -> Stream:
        return Stream(path, _opened(path), self.hold) if is_url(path) else super().open(path)

    def why(self, path: str, error: OSError) -> str:
        return reason(error) if is_url(path) else super().why(path, error)


def _opened(url: str) -> Any:
    try:
        import fsspec

        return _Blocks(fsspec.open(url, "rb", block_size=READ_AHEAD, cache_type="readahead").open())
    except Exception as error:  # noqa: BLE001 -- each store has errors of its own
        raise CaptureError(f"{url}: {reason(error)}") from None


class _Blocks:
    """What a stream of the reader needs of a file; errors of a store's library become OSError."""

    def __init__(self, file: Any):
        self.file = file

    def readinto(self, room: memoryview) -> int:
        try:
            data = self.file.read(len(room))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 -- each store has errors of its own
            raise OSError(reason(error)) from None
        room[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.file.close()
