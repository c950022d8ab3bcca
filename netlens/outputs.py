"""How netlens writes: each file is made aside, in a folder that only its owner may enter, and gets its name when it is complete.

Others may write in the folder that an output goes to. So a link at an output's name is never followed: the file replaces it, and what it led to stays as
it was. That holds for the user's own links too, because links from an unpacked archive belong to whoever unpacked it. A pipe or device is written to if
the user named it (``-o /dev/stdout``, ``-o PIPE``); at a name that netlens makes up (``report.json``) it is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from netlens.errors import NetlensError
from netlens.text import printable

#: Names of streams that are links by themselves; they may lead to a file, which is the caller's (``-o /dev/stdout > FILE``).
_STREAM = re.compile(r"/dev/(?:fd/\d+|stdout|stderr)|/proc/(?:self|\d+)/fd/\d+")


# --- over what is there -----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(output: str | os.PathLike[str], mode: int = 0o666, *, made_up: bool = False) -> Iterator[str]:
    """A path aside that takes the place of ``output`` when the block ends without an error; ``mode`` less the umask is its mode.

    ``made_up`` : the name is netlens' own, in a folder that was named; then a pipe or device there is replaced, not written to.

    NetlensError if it is a directory, or cannot be written.
    """
    target = os.fspath(output)
    if os.path.isdir(target) and not (made_up and os.path.islink(target)):
        raise NetlensError(f"{printable(target)}: is a directory, not a file to write to")
    if not made_up and _is_stream(target):
        with _told(target, "cannot be written"):
            yield target
        return
    with _told(target, "cannot be written"), _aside(target) as folder:
        path = os.path.join(folder, "new")
        yield path
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(path, mode & ~umask)
        os.replace(path, target)


def _is_stream(target: str) -> bool:
    """Whether it is a pipe or device by itself, or leads to one from where the system keeps its own."""
    if _STREAM.fullmatch(target):
        return True
    with contextlib.suppress(OSError, ValueError):
        mode = (os.stat if target.startswith("/dev/") else os.lstat)(target).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    return False


def subfolder(path: Path) -> None:
    """Make a folder of netlens' own choosing inside one that was named, or use it if it is there; never through a link. NetlensError if it cannot be."""
    with _told(str(path), "cannot be made"), contextlib.suppress(FileExistsError):
        path.mkdir()
    if path.is_symlink() or not path.is_dir():
        raise NetlensError(
            f"{printable(str(path))}: a folder is needed here, but this is a file or a link; remove it, or name another place"
        )


# --- never over what is there -----------------------------------------------------------------------------------------------------------


def refuse_existing(target: str) -> None:
    """Refuse what is there already, also a link that leads nowhere (NetlensError)."""
    if os.path.lexists(target):
        raise NetlensError(f"{printable(target)}: already exists and is not overwritten; name another place")


@contextlib.contextmanager
def new_file(target: str) -> Iterator[str]:
    """A path aside that becomes ``target`` when the block ends without an error, unless something is there by then.

    NetlensError if something is there, or it cannot be written.
    """
    refuse_existing(target)
    with _told(target, "cannot be written"), _aside(target) as folder:
        path = os.path.join(folder, "new")
        yield path
        _place(path, target)


def _place(path: str, target: str) -> None:
    """Give a finished file its name; never over another. A hard link fails where the name is taken, a rename would not."""
    try:
        os.link(path, target)
    except FileExistsError:
        refuse_existing(target)
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        refuse_existing(target)  # a file system without hard links
        os.rename(path, target)


@contextlib.contextmanager
def new_folder(target: str) -> Iterator[Path]:
    """A folder aside that becomes ``target`` when the block ends without an error, unless something is there by then."""
    target = target.rstrip("/") or target
    refuse_existing(target)
    with _told(target, "cannot be written"), _aside(target) as folder:
        give_to_caller(Path(folder))
        yield Path(folder)
        refuse_existing(target)
        os.rename(folder, target)


@contextlib.contextmanager
def _aside(target: str) -> Iterator[str]:
    """A folder beside ``target``, of rights 0700 and a random name; it is gone afterwards."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix=f".{os.path.basename(target)[:40]}.", dir=os.path.dirname(os.path.abspath(target)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _told(target: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NetlensError(f"{printable(target)}: {what} ({(error.strerror or str(error)).lower()})") from None


# --- of their owner only ----------------------------------------------------------------------------------------------------------------


def create_file(path: Path) -> int:
    """Make a new file with rights 0600 and return its descriptor. Never follows a link, never opens what exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    owner = caller()
    if owner is not None:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, *owner)
    return descriptor


def create(path: str | Path) -> IO[bytes]:
    """The same as a file."""
    return os.fdopen(create_file(Path(path)), "wb")


def caller() -> tuple[int, int] | None:
    """Who ran sudo. Recordings of ``sudo netlens capture`` belong to them: a recording its maker cannot read helps nobody."""
    if os.geteuid() != 0:
        return None
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    return (int(user), int(group)) if user.isdecimal() and group.isdecimal() else None


def give_to_caller(path: Path) -> None:
    """Hand a path that was just made to whoever ran sudo."""
    owner = caller()
    if owner is not None:
        with contextlib.suppress(OSError):
            os.chown(path, *owner, follow_symlinks=False)
