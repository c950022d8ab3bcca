"""A ClientHello read as values by the kernels of netlens.wire.tls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.wire.tls import (
    COMPLETE,
    HELLO_WIDTH,
    INCOMPLETE,
    MAX_SNI,
    MAX_SORT,
    NOT_HELLO,
    RANDOM,
    SCRATCH,
    SNI,
    SNI_LEN,
    TOTAL,
    WHERE,
    describe_key,
    escape,
    parse_hello,
    write_key,
)


@dataclass(frozen=True)
class ClientHello:
    """One hello as values; see ``netlens.tables.HELLOS`` for their meaning."""

    sni: str | None
    alpn: list[str]
    random: str
    version: str | None
    ja4: str | None
    length_bytes: int
    complete: bool


def read_hello(stream: bytes) -> ClientHello | None:
    """The hello that the bytes of a stream begin with, or None.

    A cut hello is read as far as it goes, but only if its random and server name are there: without them a row would say nothing. Its
    ``ja4`` is None, its ``version`` None unless supported_versions was there.
    """
    buf = np.frombuffer(stream, np.uint8).copy()
    scratch: np.ndarray[Any, Any] = np.empty(SCRATCH, np.uint8)
    row: np.ndarray[Any, Any] = np.empty(HELLO_WIDTH, np.int64)
    status = parse_hello(buf, 0, len(buf), scratch, row)
    if status == NOT_HELLO or row[RANDOM] < 0 or (status == INCOMPLETE and row[SNI_LEN] <= 0):
        return None
    src = scratch if row[WHERE] else buf
    out: np.ndarray[Any, Any] = np.empty(SCRATCH + 16, np.uint8)
    end = write_key(src, row, np.empty(MAX_SORT, np.int64), out, 0)
    version, alpn, fingerprint = describe_key(out[:end].tobytes())
    name = src[row[SNI] : row[SNI] + min(int(row[SNI_LEN]), MAX_SNI)].tobytes() if row[SNI_LEN] > 0 else b""
    return ClientHello(
        sni=escape(name) if name else None,
        alpn=alpn,
        random=src[row[RANDOM] : row[RANDOM] + 32].tobytes().hex(),
        version=version,
        ja4=fingerprint,
        length_bytes=int(row[TOTAL]),
        complete=status == COMPLETE,
    )
