"""Asks an API as several workers of httpx or reqwest (argument); standard input says what (see make.py)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

FIELDS = {"Content-Type": "application/json", "Authorization": "Bearer sk-0123456789abcdef0123456789abcdef"}


async def _workers(spec: dict, ask: Callable[[str], Awaitable[None]]) -> None:
    todo = iter(spec["requests"])

    async def work() -> None:
        for each in todo:
            await asyncio.sleep(each["wait_ms"] / 1000)
            await ask(each["body"])

    await asyncio.gather(*(work() for _ in range(spec["workers"])))


async def with_httpx(spec: dict) -> None:
    import httpx

    async with httpx.AsyncClient(http2=True, verify=False, timeout=120) as client:

        async def ask(body: str) -> None:
            async with client.stream("POST", spec["url"], content=body, headers=FIELDS) as answer:
                async for _ in answer.aiter_bytes():
                    pass

        await _workers(spec, ask)


async def with_reqwest(spec: dict) -> None:
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().http2(True).danger_accept_invalid_certs(True).build() as client:

        async def ask(body: str) -> None:
            async with client.post(spec["url"]).headers(FIELDS).body_text(body).build_streamed() as answer:
                while await answer.body_reader.read() is not None:
                    pass

        await _workers(spec, ask)


asyncio.run({"httpx": with_httpx, "reqwest": with_reqwest}[sys.argv[1]](json.load(sys.stdin)))
