"""Log formats: each record finds its own, and a head that is written is read as it was."""

from __future__ import annotations

import pytest

from netlens import logs

RECORDS = {
    "opencode-classic": 'ERROR 2026-01-25T16:33:41 +58ms service=llm error={"code":"1302"}',
    "opencode-logfmt": 'timestamp=2026-06-20T16:38:30.455Z level=ERROR service=llm message="status 429"',
    "plain": "2026-01-25T16:33:41.5+01:00 Too many requests",
}
FORMATS = {each.ID: each for each in logs.formats()}


@pytest.mark.parametrize(("name", "record"), RECORDS.items())
def test_a_record_finds_its_format(name: str, record: str) -> None:
    known = logs.recognise(record)
    assert known is not None
    form, head = known
    assert (form.ID, head.fault) == (name, True)
    assert form.read(head, record[head.rest :]) is not None
    assert (head.since_ms is not None) == form.CHAINED


@pytest.mark.parametrize(("name", "record"), RECORDS.items())
def test_a_head_that_is_written_is_read_as_it_was(name: str, record: str) -> None:
    head = FORMATS[name].recognise(record)
    assert head is not None
    again = logs.recognise(FORMATS[name].write(head) + " status=429")
    assert again is not None
    assert again[0] is FORMATS[name]
    assert (again[1].span, again[1].level, again[1].service, again[1].since_ms) == (head.span, head.level, head.service, head.since_ms)


@pytest.mark.parametrize("form", logs.formats(), ids=lambda form: form.ID)
@pytest.mark.parametrize("text", ["", "\0", "at Object.call (/app/index.js:1:2)", "{", "9" * 5000])
def test_what_is_no_record(form: logs.LogFormat, text: str) -> None:
    assert form.recognise(text) is None


def test_the_plain_format_is_asked_last() -> None:
    assert logs.formats()[-1].ID == "plain"
