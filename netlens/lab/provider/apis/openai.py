"""OpenAI's chat completions: the message names the limit, headers say how much is left and when to come again.

Source: platform.openai.com/docs/guides/rate-limits and /error-codes; words as in issues of its SDKs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netlens.lab.provider.apis import Error

PATH = "/v1/chat/completions"
_LIMIT = (
    "Rate limit reached for gpt-4.1 in organization org-lab on {0}: Limit {{limit}}, Used {{limit}}, Requested 1. "
    "Please try again in {{after}}s. Visit https://platform.openai.com/account/rate-limits to learn more."
)
ERRORS = MappingProxyType(
    {
        "rate_limit_exceeded": Error(429, _LIMIT.format("requests per min (RPM)"), "requests"),
        "rate_limit_exceeded-tokens": Error(429, _LIMIT.format("tokens per min (TPM)"), "tokens"),
        "insufficient_quota": Error(
            429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"
        ),
        "engine_overloaded": Error(503, "The engine is currently overloaded, please try again later", "server_error"),
    }
)


def error_body(code: str, message: str) -> bytes:
    error = {"message": message, "type": ERRORS[code].kind, "param": None, "code": code.partition("-")[0]}
    return json.dumps({"error": error}, indent=2).encode()


def headers(limits: Mapping[str, Any], after_s: float | None) -> dict[str, str]:
    out = {"x-request-id": "req_lab"}
    for name, unit in (("rate", "requests"), ("volume", "tokens")):
        if name in limits:
            out |= {f"x-ratelimit-limit-{unit}": str(limits[name].limit), f"x-ratelimit-remaining-{unit}": "0"}
            out[f"x-ratelimit-reset-{unit}"] = f"{limits[name].window_s if after_s is None else after_s:g}s"
    if after_s is not None:
        out |= {"retry-after": f"{after_s:.0f}", "retry-after-ms": f"{1000 * after_s:.0f}"}
    return out


def events(texts: Sequence[str]) -> list[bytes]:
    about = {"id": "chatcmpl-lab", "object": "chat.completion.chunk", "created": 1_764_000_000, "model": "gpt-4.1"}
    deltas = [{"role": "assistant", "content": text} for text in texts]
    chunks = [about | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]
