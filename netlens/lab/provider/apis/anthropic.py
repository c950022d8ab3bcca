"""Anthropic's messages: an error has a type and no code; an overloaded service answers with status 529.

Source: docs.anthropic.com/en/api/errors, /rate-limits and /messages-streaming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netlens.lab.provider.apis import Error

PATH = "/v1/messages"
_LIMIT = "This request would exceed your organization's rate limit of {{limit}} {0} per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits."
ERRORS = MappingProxyType(
    {
        "rate_limit_error": Error(429, _LIMIT.format("requests")),
        "rate_limit_error-tokens": Error(429, _LIMIT.format("input tokens")),
        "rate_limit_error-concurrent": Error(429, "Number of concurrent connections has exceeded your rate limit. Please try again later."),
        "overloaded_error": Error(529, "Overloaded"),
    }
)


def error_body(code: str, message: str) -> bytes:
    error = {"type": code.partition("-")[0], "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "req_lab"}).encode()


def headers(limits: Mapping[str, Any], after_s: float | None) -> dict[str, str]:
    out = {"request-id": "req_lab"}
    for name, unit in (("rate", "requests"), ("volume", "input-tokens")):
        if name in limits:
            out |= {f"anthropic-ratelimit-{unit}-limit": str(limits[name].limit), f"anthropic-ratelimit-{unit}-remaining": "0"}
    return out if after_s is None else {**out, "retry-after": f"{after_s:.0f}"}


def events(texts: Sequence[str]) -> list[bytes]:
    message: dict[str, Any] = {
        "id": "msg_lab",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
    }
    start = {"type": "message_start", "message": message | {"usage": {"input_tokens": 1, "output_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    pieces = [_event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}) for text in texts]
    pieces[0] = _event(start) + _event(block) + pieces[0]
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(texts)}}
    return [*pieces, _event({"type": "content_block_stop", "index": 0}) + _event(ended) + _event({"type": "message_stop"})]


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(data["type"]).encode(), json.dumps(data).encode())
