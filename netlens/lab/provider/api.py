"""The part of z.ai's API that the laboratory speaks: answers as events of a stream, and error bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass

PATH = "/api/coding/paas/v4/chat/completions"
HIGH_CONCURRENCY = "1302"
# FIELD-NOTES of the provider's own pages: the code is a string, the status 429 for all of these.
MESSAGES = {
    HIGH_CONCURRENCY: "High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits",
    "1305": "The service may be temporarily overloaded, please try again later",
}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """What a request asks the stand-in to do: wait, then send so many pieces with a gap between them.

    It stands in the request (``lab``), so that the seed of the program decides how long an answer takes and not the order of arrival.
    """

    wait_s: float = 0.1
    pieces: int = 3
    gap_s: float = 0.1
    piece_bytes: int = 120


def error_body(code: str) -> bytes:
    """z.ai's error body."""
    return json.dumps({"error": {"code": code, "message": MESSAGES[code]}}).encode()


def error_code(piece: bytes) -> str | None:
    """The code in an error body or error event; None in any other piece of an answer."""
    if b'"error"' not in piece:
        return None
    return str(json.loads(piece.removeprefix(b"data: "))["error"]["code"])


def event(text: str) -> bytes:
    """One server-sent event that carries a piece of an answer."""
    delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"
