"""Requests of real programs: what they ask, and what they are answered, as z.ai's chat completions (and others like them) do.

The stand-in program says in its request what answer it wants (``lab``). A real program does not: then the provider's own settings (:class:`Answers`) and a
seed decide, and the conversation itself, as a model would: a first turn may call tools, and the turn that brings their results is answered in words.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TITLE, MAIN = "title", "main"
_TITLE_PROMPT = "You are a title generator"  #: how opencode's instruction for titles begins
_AGENTS = re.compile(r"\b(\d{1,2}) agents\b")  #: in a prompt: so many are called at once
_DIRECTORY = re.compile(r"Working directory: (/[^\s<]+)")


@dataclass(frozen=True)
class Answer:
    """What a request asks the stand-in to do: wait, then send so many pieces with a gap between them.

    It stands in the request (``lab``), so that the seed of the program decides how long an answer takes and not the order of arrival.
    ``calls``: tools that the last piece calls, each a name and its arguments.
    """

    wait_s: float = 0.1
    pieces: int = 3
    gap_s: float = 0.1
    piece_bytes: int = 120
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()


@dataclass(frozen=True)
class Answers:
    """How requests of real programs are answered: how long an answer takes (drawn between two), and how many turns of a prompt call a tool first."""

    seconds: tuple[float, float] = (1.0, 5.0)
    title_seconds: tuple[float, float] = (0.6, 2.0)
    tools: tuple[int, int] = (0, 1)
    gap_s: float = 0.2

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Answers:
        """From the JSON of a scenario's [provider.answers]."""
        fixed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**fixed)

    def draw(self, asked: Asked, seed: str) -> Answer:
        """The answer to a request; the same for one seed. How many tools are called is drawn for each prompt, not for each turn."""
        rng = random.Random(seed)
        lasts_s = rng.uniform(*(self.title_seconds if asked.kind == TITLE else self.seconds))
        pieces = max(int(0.8 * lasts_s / self.gap_s), 2)
        wait_s = max(lasts_s - pieces * self.gap_s, 0.05)
        return Answer(wait_s, pieces, self.gap_s, rng.randint(20, 160), self._calls(asked))

    def _calls(self, asked: Asked) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        if asked.kind == TITLE:
            return ()
        if "task" in asked.tools and not asked.results and (wanted := _AGENTS.search(asked.prompt)):
            return tuple(
                ("task", {"description": f"look {n}", "prompt": f"Look at part {n} of this project", "subagent_type": "general"})
                for n in range(1, int(wanted[1]) + 1)
            )
        if "read" in asked.tools and asked.results < random.Random(asked.prompt + asked.session).randint(*self.tools):
            return (("read", {"filePath": f"{asked.directory}/README.md"}),)
        return ()


@dataclass(frozen=True)
class Asked:
    """What the body of a real program's request says. ``results``: of tools, since the last prompt.  ``stream``: as events, or as one body."""

    kind: str = MAIN
    model: str = ""
    prompt: str = ""
    session: str = ""
    directory: str = "/tmp"
    tools: frozenset[str] = frozenset()
    results: int = 0
    stream: bool = True

    @classmethod
    def of(cls, body: Mapping[str, Any], session: str) -> Asked:
        messages = body.get("messages") or []
        system = " ".join(_text(each) for each in messages if each.get("role") == "system")
        users = [number for number, each in enumerate(messages) if each.get("role") == "user"]
        last = users[-1] if users else -1
        directory = _DIRECTORY.search(system)
        return cls(
            TITLE if system.startswith(_TITLE_PROMPT) else MAIN,
            str(body.get("model", "")),
            _text(messages[last]) if users else "",
            session,
            directory[1] if directory else "/tmp",
            frozenset(each["function"]["name"] for each in body.get("tools") or ()),
            sum(each.get("role") == "tool" for each in messages[last + 1 :]),
            bool(body.get("stream", False)),
        )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


def last_events(answer: Answer, number: int) -> list[bytes]:
    """The events that end an answer to a real program: the tools it calls, why it ends, and what it used."""
    calls = [
        {"index": k, "id": f"call_{number}_{k}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for k, (name, arguments) in enumerate(answer.calls)
    ]
    usage = {"prompt_tokens": 100, "completion_tokens": 10 * answer.pieces, "total_tokens": 100 + 10 * answer.pieces}
    return [
        *([_event({"role": "assistant", "tool_calls": calls})] if calls else []),
        _event({}, finish_reason="tool_calls" if calls else "stop", usage=usage),
    ]


def _event(delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta} | ({"finish_reason": finish_reason} if finish_reason else {})
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"
