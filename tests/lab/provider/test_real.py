"""What the stand-in makes of a real program's request, and what it answers; bodies as opencode 1.18 sends them, shortened."""

from __future__ import annotations

import json

import pytest

from netlens.lab.provider.real import MAIN, TITLE, Answer, Answers, Asked, last_events

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
