"""The secret that decides what becomes what, and the file it may be kept in.

Who has it can undo the addresses and try names until they fit; who has not can do neither. Without a file it is drawn at random and forgotten.
"""

import hashlib
import os
import re
import shlex
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netlens import sidefiles
from netlens.anonymize.kernels.mapping import KEYS
from netlens.errors import NetlensError
from netlens.outputs import create_file
from netlens.text import printable

SIZE = 32  #: bytes of the secret
_LINE = re.compile(r"netlens-anonymize-1 ([0-9a-f]{64})\s*")


def fresh() -> bytes:
    """A secret of nobody."""
    return os.urandom(SIZE)


def from_file(path: str) -> bytes:
    """The secret of a key file; a file that is not there is made, readable by its owner only.

    Raises
    ------
    NetlensError
        the file cannot be read or made, others may read it, or it is no key file.
    """
    shown = printable(path)
    try:
        descriptor = create_file(Path(path))
    except FileExistsError:
        return _read(path, shown)
    except (OSError, ValueError) as error:
        raise NetlensError(f"{shown}: the key file cannot be made ({_why(error)})") from None
    secret = fresh()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"netlens-anonymize-1 {secret.hex()}\n")
    return secret


def _read(path: str, shown: str) -> bytes:
    with sidefiles.opened(path, "the key file") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(256).decode("ascii", "replace")
    found = _LINE.fullmatch(text)
    if found is None:
        raise NetlensError(f"{shown}: is not a key file of netlens; name one that does not exist yet, and it is made")
    if mode & 0o077:
        raise NetlensError(f"{shown}: others may read this key; if nobody has: chmod 600 {printable(shlex.quote(path))}")
    return bytes.fromhex(found[1])


def _why(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


def derive(secret: bytes, purpose: bytes, size: int = 32) -> bytes:
    """A key for one purpose (up to 16 bytes of text): keys of different purposes tell nothing of each other."""
    return hashlib.blake2b(b"", digest_size=size, key=secret, person=purpose.ljust(16, b"\0")).digest()


def words(secret: bytes) -> npt.NDArray[np.uint64]:
    """The keys of the kernels."""
    return np.frombuffer(derive(secret, b"kernels", 8 * KEYS), "<u8").astype(np.uint64)
