"""As much HTTP/1.1 as the lab's program needs: one request, and an answer read piece by piece as it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


def request_bytes(path: str, host: str, key: str, body: bytes) -> bytes:
    """A POST with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Response:
    """Status and headers; ``pieces`` reads the body once."""

    status: int
    headers: dict[str, str]
    stream: BinaryIO

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    def pieces(self) -> Iterator[bytes]:
        """The chunks of a chunked body, or the whole of another."""
        if self.headers.get("transfer-encoding") != "chunked":
            yield self.stream.read(int(self.headers.get("content-length", "0")))
            return
        while size := int(_line(self.stream), 16):
            yield self.stream.read(size)
            _line(self.stream)
        _line(self.stream)


def _line(stream: BinaryIO) -> str:
    line = stream.readline(65536)
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the connection ended inside an answer")
    return line[:-2].decode("latin-1")


def read_response(stream: BinaryIO) -> Response:
    """Read up to the body. Raises OSError if the connection ends before, ValueError if this is not HTTP."""
    _version, status, _reason = _line(stream).split(" ", 2)
    headers = {}
    while line := _line(stream):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Response(int(status), headers, stream)
