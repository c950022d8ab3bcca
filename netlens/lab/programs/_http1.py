"""HTTP/1.1 of the agent: a request sent in one piece, and an answer read piece by piece as it arrives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPResponse


def send(sock: socket.socket, path: str, host: str, key: str, body: bytes) -> None:
    """Send a POST with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sock.sendall(head.encode() + body)


def answer(sock: socket.socket) -> HTTPResponse:
    """Read up to the body. OSError or HTTPException if the connection ends before, or this is not HTTP."""
    response = HTTPResponse(sock, method="POST")
    response.begin()
    return response


def pieces(response: HTTPResponse) -> Iterator[bytes]:
    """The chunks of a chunked body, each as soon as it is there; or the whole of another."""
    if not response.chunked:
        yield response.read()
        return
    while piece := response.read1(65536):
        yield piece
