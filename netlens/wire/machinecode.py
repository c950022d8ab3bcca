"""Where the machine code of kernels is kept, and from whom it is taken.

Theory of operation
-------------------
1. One folder holds the code for one *stamp*: a hash of all sources that have kernels (and of all that kernels use), of the versions of Python,
   numba, llvmlite and numpy, and of the processor. Code of other sources or of another processor is in another folder, so it is never loaded.
   Finding the stamp loads neither numba nor LLVM.
2. The folder is beside the package, where everybody may read it, if whoever compiles may write there; else in the user's own cache
   (``~/.cache/netlens``). ``NUMBA_CACHE_DIR`` names another place instead of both. Both are read: what root compiled, and what was missing there.
   Where nothing can be written the code stays in memory for this run.
3. Machine code is executed, and unpickling it executes more. So it comes only from folders that nobody but root and this user can change:
   the folder and all above it belong to one of them, and neither groups nor others may write there (a sticky folder like /tmp may stand above).
4. One process compiles at a time (a lock on the folder), or starts several that do under its lock (:mod:`netlens.warm`): each *claims* what it
   compiles, by a file, and leaves to the others what they have claimed. Whoever else needs a kernel waits until it is there. A file appears whole,
   by a rename. One that is damaged is made anew. Nothing is deleted but what interrupted writers left, and the oldest of many stamps, when a new one
   begins.

*Limits.* Access lists of macOS and NFSv4 are not read. Two machines that share a file system without locks may compile the same code at once,
which costs time only.
"""

import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import stat
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

under_lock = False  #: this process compiles for another one, which holds the lock
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Folders and files with kernels, and with what kernels use; tests/wire/test_compiled.py fails if one is missing.
SOURCES = (
    "anonymize/kernels", "chains/explained/kernels.py", "chains/ways.py", "cluster/kernels.py", "columns.py", "lenses/refused/kernels.py",
    "parsers", "report/numbers.py", "wire",
)  # fmt: skip
STAMPS_KEPT = 8  #: folders of 20 MB: a few Pythons, processors and branches that take turns on one checkout
#: Variables of numba that change no code
_NO_SETTINGS = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DISABLE_PERFORMANCE_WARNINGS")
#: What is kept of a kernel: numba's result, and a shared library, which is empty where none could be made
CODE, ENTRY = ".nbc", ".so"
COMPLETE = "complete"  #: the file that says that all kernels are there
LOCK = "lock"  #: is held while a process compiles for its folder
TRIED = "tried"  #: the file whose age says when the compilation of all was last begun
TRY_AGAIN_S = 3600.0
LOOK_AGAIN_S = 0.03  #: how often a process that waits for another one looks
#: Length and CRC of what is before it, at the end, where no loader of libraries looks: a power cut may leave the name of a file without its bytes.
_SEAL = struct.Struct("<II")
#: What the kernel of Linux says of a processor that instructions can be chosen by (x86; ARM); its other lines change with the load.
_TRAITS = (
    b"vendor_id", b"cpu family", b"model", b"stepping", b"flags", b"Features", b"CPU implementer", b"CPU architecture", b"CPU variant",
    b"CPU part",
)  # fmt: skip


def sources() -> Iterator[str]:
    """All files that may change what kernels do, in order."""
    for name in SOURCES:
        path = os.path.join(PACKAGE, name)
        yield from [path] if name.endswith(".py") else sorted(glob.iglob(os.path.join(glob.escape(path), "**", "*.py"), recursive=True))


@functools.cache
def settings() -> tuple[str, ...]:
    """What tells numba to compile otherwise than it would by itself, as the environment and a file in the working directory say it."""
    found = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_") and name not in _NO_SETTINGS]
    with contextlib.suppress(OSError), open(".numba_config.yaml", encoding="utf-8", errors="replace") as file:
        found.append(file.read())
    return tuple(found)


def _versions() -> list[str]:
    """Of Python and of the packages that make machine code, which are not imported for it."""
    import importlib.util

    found = [sys.version, str(sys.implementation.cache_tag), np.__version__]
    for package in ("numba", "llvmlite"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise OSError(f"{package} is not a folder of files")
        with open(os.path.join(os.path.dirname(spec.origin), "_version.py"), encoding="utf-8") as file:
            found.append(file.read())
    return found


def _processor() -> list[Any]:
    """What LLVM's choice of instructions follows from. LLVM itself takes 30 ms to load, and is asked where the system does not say enough.

    The features that numpy has found are those that a kernel of Linux may be too old to know. The names of files hold LLVM's own answer, too.
    """
    from numpy._core._multiarray_umath import __cpu_features__ as features  # type: ignore[import-not-found]

    found: list[Any] = [sys.platform, *os.uname()[4:], sorted(name for name, there in features.items() if there)]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", "rb", buffering=0) as file:
        first = file.read(16384).split(b"\n\n")[0]  # there may be hundreds of processors
        lines = [line for line in first.split(b"\n") if line.startswith(_TRAITS)]
        if any(line.startswith((b"flags", b"Features")) for line in lines):
            return found + lines
    from llvmlite import binding

    return [*found, binding.get_process_triple(), binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]


def stamp() -> str:
    """Of everything that machine code depends on.

    Raises
    ------
    OSError
        the sources cannot be read: netlens or numba runs from an archive.
    """
    found = hashlib.sha256(repr((settings(), _versions(), _processor())).encode())
    for path in sources():
        with open(path, "rb") as file:
            content = file.read()
        found.update(f"\0{os.path.relpath(path, PACKAGE)}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:32]


# --- whom to trust ------------------------------------------------------------------------------------------------------------------------


def _own_group(number: int) -> bool:
    """Whether a group is this user's alone, as most Linux systems give each user one (and then let groups write)."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def trusted(folder: str) -> bool:
    """Whether only root and this user can change what is in ``folder``, a real path that exists."""
    owners = {0, os.geteuid(), os.lstat("/").st_uid}  # "/": in a user namespace root of the machine has another number
    path, inner = folder, True
    while True:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            return False
        sticky = bool(found.st_mode & stat.S_ISVTX) and not inner
        if found.st_mode & stat.S_IWOTH and not sticky:
            return False
        if found.st_mode & stat.S_IWGRP and not sticky and not _own_group(found.st_gid):
            return False
        if path == (path := os.path.dirname(path)):
            return True
        inner = False


def roots() -> list[str]:
    """Folders that may hold the folders of stamps, the one to be preferred first."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [os.path.join(os.path.abspath(chosen), "netlens-kernels")]
    return [os.path.join(PACKAGE, "__pycache__", "kernels"), *(os.path.join(path, "netlens", "kernels") for path in _user_caches())]


def _user_caches() -> list[str]:
    """The user's cache folders: as the environment names them, which sudo may have left another user's, and as the system knows the user."""
    import pwd

    homes = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):  # a container may run under a number without a name
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    inside = os.path.join("Library", "Caches") if sys.platform == "darwin" else ".cache"
    named = [os.environ.get("XDG_CACHE_HOME", ""), *(os.path.join(home, inside) for home in homes if home)]
    return list(dict.fromkeys(path for path in named if os.path.isabs(path)))


def _make(root: str) -> str | None:
    """``root``, made where it is missing, as a real path, if it is to be trusted and written to."""
    there = os.path.realpath(root)
    with contextlib.suppress(OSError):
        missing = []
        while not os.path.lexists(there):
            there, name = os.path.split(there)
            missing.append(name)
        if not trusted(there):  # nothing is left in a folder of somebody else's, either
            return None
        for name in reversed(missing):
            there = os.path.join(there, name)
            with contextlib.suppress(FileExistsError):
                os.mkdir(there)
                os.chmod(there, 0o755)  # whatever the umask: everybody may read
        if trusted(there) and os.access(there, os.W_OK | os.X_OK):
            return there
    return None


def _writable_root() -> str | None:
    """The folder that this process keeps code in, made where it is missing; None where it may write to none."""
    return next((made for made in map(_make, roots()) if made is not None), None)


# --- what is kept -------------------------------------------------------------------------------------------------------------------------


class Store:
    """The machine code of one stamp, in the folders that may hold it."""

    def __init__(self, stamp: str):
        self.stamp = stamp
        self._home: str | None = None  # where this process writes

    @functools.cached_property
    def _readable(self) -> list[str]:
        found = []
        for root in roots():
            folder = os.path.realpath(os.path.join(root, self.stamp))
            with contextlib.suppress(OSError):
                if trusted(folder):
                    found.append(folder)
        return found

    def read(self, name: str) -> memoryview | None:
        """What was written under ``name``, whole and undamaged; else None."""
        bodies = (_sealed(os.path.join(folder, name)) for folder in self._readable)
        return next((body for body in bodies if body is not None), None)

    def _files(self, suffix: str) -> Iterator[str]:
        for folder in self._readable:
            with contextlib.suppress(OSError):
                yield from (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(suffix))

    @functools.cached_property
    def _libraries(self) -> list[str]:
        return list(self._files(ENTRY))

    def look_again(self) -> None:
        """Another process may have written."""
        for known in ("_readable", "_libraries", "complete"):
            vars(self).pop(known, None)

    def names(self) -> set[str]:
        """Of the kernels that are compiled."""
        return {os.path.basename(path).rsplit(".", 2)[0] for path in self._files(CODE)}

    def entries(self, kernel: str) -> list[str]:
        """The shared libraries that were made of ``kernel``, whole and undamaged, one for each of its signatures."""
        found: dict[str, str] = {}
        for path in self._libraries:
            name = os.path.basename(path)
            if name.startswith(f"{kernel}.") and name not in found and _sealed(path):
                found[name] = path
        return list(found.values())

    @functools.cached_property
    def complete(self) -> bool:
        """Whether all kernels were compiled (:mod:`netlens.warm`)."""
        return self.read(COMPLETE) is not None

    def due(self) -> bool:
        """Whether all kernels should be compiled now: the result can be kept, and nobody has begun to within :data:`TRY_AGAIN_S`. Says so only once."""
        root = _writable_root()
        if root is None:
            return False
        try:
            descriptor = os.open(os.path.join(root, TRIED), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:
                age = time.time() - os.fstat(descriptor).st_mtime
                if file.read() == self.stamp and 0 <= age < TRY_AGAIN_S:
                    return False
                file.seek(0)
                file.truncate()
                file.write(self.stamp)
        except OSError:
            return False
        return True

    @property
    def writable(self) -> bool:
        """Whether what is written is kept. Of use only while :meth:`alone`."""
        return self._home is not None

    def write(self, name: str, body: bytes) -> str | None:
        """Keep ``body`` under ``name``; what kept it from being kept, if anything did. Of use only while :meth:`alone`."""
        if self._home is None:
            places = ", ".join(roots())
            return f"none of {places} is a folder that only you can write to; set NUMBA_CACHE_DIR to one that is"
        aside = os.path.join(self._home, f".{os.getpid()}.{name}")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(body + _SEAL.pack(len(body), zlib.crc32(body)))
                os.fchmod(descriptor, 0o644)
            os.replace(aside, os.path.join(self._home, name))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            return f"{self._home}: {(error.strerror or str(error)).lower()}"
        return None

    def claim(self, name: str) -> bool:
        """Whether this process is to compile ``name``, and none of those that compile beside it under one lock."""
        if self._home is None:
            return True
        try:
            os.close(os.open(os.path.join(self._home, f".{name}.claimed"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    @contextlib.contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Let no other process compile for the same folder meanwhile; ``waiting`` is called again and again while one does."""
        root = _writable_root()
        with contextlib.ExitStack() as stack:
            if root is not None and under_lock:
                self._home = _make(os.path.join(root, self.stamp))
            elif root is not None:
                with contextlib.suppress(OSError):  # a file system without locks: two may compile the same
                    stack.enter_context(_locked(os.path.join(root, LOCK), waiting))
                self._begin(root)
            self.look_again()
            yield

    def _begin(self, root: str) -> None:
        folder = os.path.join(root, self.stamp)
        if not os.path.lexists(folder):
            import shutil

            others = [entry.path for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
            for old in sorted(others, key=os.path.getmtime, reverse=True)[STAMPS_KEPT - 1 :]:
                shutil.rmtree(old, ignore_errors=True)
        self._home = _make(folder)
        if self._home is not None:
            for entry in os.scandir(self._home):
                if entry.name.startswith("."):  # of a writer that was killed: nobody else writes now
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _sealed(path: str) -> memoryview | None:
    """The content of a file, whole and undamaged; else None."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        content = memoryview(file.read())
        body = content[: -_SEAL.size]
        if len(content) >= _SEAL.size and _SEAL.unpack(content[len(body) :]) == (len(body), zlib.crc32(body)):
            return body
    return None


@contextlib.contextmanager
def _locked(path: str, waiting: Callable[[], None]) -> Iterator[None]:
    # 0600: who may not write the code may not keep others from writing it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(LOOK_AGAIN_S)
        yield
    finally:
        os.close(descriptor)


class _Held(Exception):
    """Another process holds a lock."""


def busy() -> bool:
    """Whether another process compiles now, as far as this one may know."""

    def is_held() -> None:
        raise _Held

    for root in roots():
        try:
            with contextlib.suppress(OSError), _locked(os.path.join(root, LOCK), is_held):
                pass
        except _Held:
            return True
    return False


@functools.cache
def store() -> Store | None:
    """Of this netlens on this machine; None where its sources cannot be read."""
    try:
        return Store(stamp())
    except OSError:
        return None
