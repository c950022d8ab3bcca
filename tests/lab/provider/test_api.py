"""What the stand-in makes of a real program's request, and what it answers; bodies as opencode 1.18 sends them, shortened."""

from __future__ import annotations

import json

import pytest

from netlens.lab.provider.api import MAIN, TITLE, Answer, Answers, Asked, Refused, error_code, event, last_events
from netlens.logs import CONCURRENCY, UNKNOWN, refusal_class

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("read", "task")]
SYSTEM = {"role": "system", "content": "You are opencode. <env> Working directory: /home/dev/work\n</env>"}


def asked(*messages: dict[str, object], **more: object) -> Asked:
    return Asked.of({"model": "glm-4.7", "messages": [SYSTEM, *messages], "tools": TOOLS, "stream": True, **more}, "ses_1")


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def test_a_title_is_known_by_its_instruction() -> None:
    title = Asked.of({"messages": [{"role": "system", "content": "You are a title generator. You output"}, user("Hello")]}, "s")
    assert (title.kind, asked(user("Hello")).kind) == (TITLE, MAIN)
    assert Answers(tools=(1, 1)).draw(title, "1").calls == ()


def test_a_prompt_reads_a_file_first_and_then_answers() -> None:
    answers = Answers(tools=(1, 1))
    first = asked(user("What does the README say?"))
    assert answers.draw(first, "1").calls == (("read", {"filePath": "/home/dev/work/README.md"}),)
    assistant, result = {"role": "assistant", "content": None}, {"role": "tool", "content": "It says"}
    assert answers.draw(asked(user("What does the README say?"), assistant, result), "2").calls == ()
    assert len(answers.draw(asked(user("old"), assistant, result, user("again")), "3").calls) == 1, (
        "results of an older prompt are not this one's"
    )


def test_a_prompt_calls_as_many_agents_as_it_names() -> None:
    calls = Answers().draw(asked(user("Look at everything with 5 agents")), "1").calls
    assert [name for name, _ in calls] == ["task"] * 5


def test_an_answer_lasts_what_was_drawn_and_is_the_same_for_one_seed() -> None:
    answers = Answers(seconds=(2.0, 2.0), tools=(0, 0))
    answer = answers.draw(asked(user("x")), "1")
    assert answer.wait_s + answer.pieces * answer.gap_s == pytest.approx(2.0)
    assert answer == answers.draw(asked(user("x")), "1")
    assert answer != answers.draw(asked(user("x")), "2")


def test_the_end_of_an_answer_says_why_it_ends() -> None:
    said = [json.loads(each.removeprefix(b"data: ")) for each in last_events(Answer(calls=(("read", {"filePath": "/a"}),)), 7)]
    call = said[0]["choices"][0]["delta"]["tool_calls"][0]
    assert (call["id"], json.loads(call["function"]["arguments"])) == ("call_7_0", {"filePath": "/a"})
    assert said[1]["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(last_events(Answer(), 8)[0].removeprefix(b"data: "))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("wording", "means"), [("old", CONCURRENCY), ("new", UNKNOWN)])
def test_a_refusal_in_the_words_of_before_and_of_today(wording: str, means: str) -> None:
    refused = Refused("1302", wording, 3)
    head, _, body = refused.http1().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 3\r\n" in head + b"\r\n"
    assert f"Content-Length: {len(body)}".encode() in head
    assert error_code(body) == "1302"
    assert refusal_class(json.loads(body)["error"]["message"]) == means
    assert error_code(event("no error")) is None
