"""An API of a model as an ASGI application: answers of every kind, and a line of its log for each request, the truth of a recording.

Environment: ``API_LOG`` the file of the log, ``API_LIMIT`` requests that may be in progress at once, ``API_SEED``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from typing import Any

SEED = int(os.environ.get("API_SEED", "1"))
RANDOM = random.Random(SEED)
#: What APIs differ in: words of a piece at most, whether a last piece has the usage, and whether ``[DONE]`` follows.
WORDS_IN_PIECE, USAGE, DONE = random.Random(~SEED).choice(
    [(2, False, True), (2, True, True), (12, True, True), (2, True, False), (5, False, False)]
)
LIMIT = int(os.environ.get("API_LIMIT", "1000"))
LOG = open(os.environ.get("API_LOG", os.devnull), "a", buffering=1, encoding="utf-8")
REFUSED = {
    "error": {
        "code": "1302",
        "message": "High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits",
    }
}
TEXT = (
    "the of to and a in is it you that he was for on are with as his "
    "they be at one have this from or had by hot but some what there we can out"
)
WORDS = TEXT.split()

active = 0


def text(words: int) -> str:
    return " ".join(RANDOM.choice(WORDS) for _ in range(words))


def chunk(number: int, content: str) -> bytes:
    piece = {"id": f"chatcmpl-{number:08x}", "object": "chat.completion.chunk", "created": 1700000000 + number, "model": "glm-4.6"}
    return (
        b"data: "
        + json.dumps(
            {**piece, "choices": [{"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}]}
        ).encode()
        + b"\n\n"
    )


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global active
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    fields = dict(scope["headers"])
    port = int(fields.get(b"x-client-port", b"0") or 0) or int(scope["client"][1])  # granian tells text
    body, status, start = b"", 200, time.time_ns()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body") or event["type"] == "http.disconnect":
            break
    active += 1
    try:
        asked = json.loads(body) if body else {}
        if active > LIMIT:
            status = 429
            await _whole(send, 429, json.dumps(REFUSED).encode())
        elif asked.get("stream"):
            await _stream(send, asked)
        else:
            await asyncio.sleep(RANDOM.lognormvariate(-1.2, 0.8))
            answer = {
                "id": "chatcmpl-1",
                "choices": [{"message": {"role": "assistant", "content": text(asked.get("max_tokens", 60))}}],
                "usage": {"total_tokens": 9},
            }
            await _whole(send, 200, json.dumps(answer).encode())
    except (asyncio.CancelledError, OSError):
        status = 499
        raise
    finally:
        active -= 1
        LOG.write(json.dumps({"port": port, "start": start, "end": time.time_ns(), "status": status}) + "\n")


async def _whole(send: Any, status: int, body: bytes) -> None:
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", os.urandom(12).hex().encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Any, asked: dict[str, Any]) -> None:
    await asyncio.sleep(RANDOM.lognormvariate(-1.5, 0.7))
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")],
        }
    )
    number, pace = RANDOM.getrandbits(32), RANDOM.uniform(0.004, 0.06)
    for _ in range(max(2, RANDOM.randint(asked["max_tokens"] // 2, asked["max_tokens"]))):
        await send({"type": "http.response.body", "body": chunk(number, text(RANDOM.randint(1, WORDS_IN_PIECE))), "more_body": True})
        await asyncio.sleep(RANDOM.expovariate(1 / pace))
    if USAGE:
        used = {
            "prompt_tokens": RANDOM.randint(10, 90_000),
            "completion_tokens": RANDOM.randint(2, 900),
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        await send(
            {
                "type": "http.response.body",
                "body": chunk(number, "")[:-3] + b', "usage": ' + json.dumps(used).encode() + b"}\n\n",
                "more_body": True,
            }
        )
    if DONE:
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})
