"""Whose API the provider speaks: one file each, named by ``[provider] api``; answers as events of a stream, and error bodies with their headers.

Bodies, statuses and headers are those of the real providers, since labels and classes rest on them. Prompts and answers are dots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from netlens.registry import members

SECTIONS = ("Source",)  #: what the docstring of an API says


@dataclass(frozen=True)
class Error:
    """How an API refuses: status, and the words of the message. ``{limit}`` in these is the limit's number, ``{after}`` the seconds to wait."""

    status: int
    message: str
    kind: str = ""  # the error's type, where the API has one besides the code


class Api(Protocol):
    """A file of this folder. ``ERRORS``: by code, the first is the usual one."""

    ID: str
    PATH: str
    ERRORS: Mapping[str, Error]

    def error_body(self, code: str, message: str, /) -> bytes:
        """The body of a refusal, or the data of an error event."""
        ...

    def headers(self, limits: Mapping[str, Any], after_s: float | None, /) -> dict[str, str]:
        """Headers of a refusal besides the usual ones: what is limited, and when to come again."""
        ...

    def events(self, texts: Sequence[str], /) -> list[bytes]:
        """The pieces of an answer, one for each text; what the API says before and after is part of the first and in pieces of its own."""
        ...


def apis() -> Mapping[str, Api]:
    """All APIs, by id."""
    return MappingProxyType({each.ID: each for each in members(__name__, Api, SECTIONS)})


def error_in(piece: bytes) -> tuple[str, str] | None:
    """(code, message) of an error body or error event of any API; None in any other piece of an answer."""
    if b'"error"' not in piece:
        return None
    error = json.loads(piece[piece.index(b"{") :])["error"]
    return str(error.get("code") or error.get("type")), str(error["message"])
