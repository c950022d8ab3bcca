"""z.ai's chat completions: an error's code is a string, and the status is 429 for all that refuse.

Source: docs.z.ai/api-reference/api-code, docs.bigmodel.cn/cn/faq/api-code. The words of 1302 changed in 2026; both are in use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netlens.lab.provider.apis import Error

ID = "zai"
PATH = "/api/coding/paas/v4/chat/completions"
HIGH_CONCURRENCY = "1302"
ERRORS = MappingProxyType(
    {
        HIGH_CONCURRENCY: Error(
            429, "High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits"
        ),
        "1302-new": Error(429, "Rate limit reached for requests"),
        "1303": Error(429, "High frequency usage of this API, please reduce frequency or contact customer service to increase limits"),
        "1304": Error(429, "Daily call limit for this API reached. For more requests, please contact customer service"),
        "1305": Error(429, "The service may be temporarily overloaded, please try again later"),
        "1308": Error(429, "Usage limit reached for 5 hour. Your limit will reset in {after} seconds"),
        "1310": Error(429, "Weekly/Monthly Limit Exhausted. Your limit will reset in {after} seconds"),
        "1312": Error(429, "This model is currently experiencing high traffic, please try again later or use other models"),
        "1313": Error(429, "Your account's usage does not comply with the Fair Use Policy, and request frequency is limited"),
        "1113": Error(429, "Your account is in arrears, please recharge and try again"),
    }
)
DONE = b"data: [DONE]\n\n"


def error_body(code: str, message: str) -> bytes:
    return json.dumps({"error": {"code": code.partition("-")[0], "message": message}}).encode()


def headers(limits: Mapping[str, Any], after_s: float | None) -> dict[str, str]:
    return {} if after_s is None else {"Retry-After": f"{after_s:.0f}"}


def events(texts: Sequence[str]) -> list[bytes]:
    return [*(_event(text) for text in texts), DONE]


def _event(text: str) -> bytes:
    """One server-sent event that carries a piece of an answer."""
    delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"
