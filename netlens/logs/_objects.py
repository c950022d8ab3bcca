"""Records that are an object of JSON: their time and level, and what of them is said in words.

Those of OpenTelemetry have their words in ``body`` and in pairs of a key and a value that names its type; where they come in batches, ``_batches.py`` takes
these apart.

Heads are found by a pattern, so a record may be cut off, and what the recorder makes of one (its head, then known words) is read the same way. In a string
of JSON a quotation mark never stands without a backslash, so a key that is found is one.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from netlens import logs
from netlens.logs import _heads, _times
from netlens.logs._words import FAULTS

_TIMES = (
    "time|timestamp|ts|@timestamp|@t|datetime|date|asctime|eventtime|time_?(?:stamp)?_?(?:ms|millis)|timeunixnano|epochsecond"
    "|_(?:_|source_)realtime_timestamp"
)
_TIME = re.compile(
    rf'[{{,]\s*"(?i:{_TIMES})"\s?:\s?"?(?P<time>{_times.TIME}|1\d{{9}}(?:\.\d{{1,9}}|\d{{3}}|\d{{6}}|\d{{9}})?)"?\s*[,}}]', re.ASCII
)
#: Of a record of OpenTelemetry that does not know when it was written: when it was collected (its data model's *ObservedTimestamp*).
_OBSERVED = re.compile(
    r'[{,]\s*"(?i:observed_?time_?(?:unixnano|stamp))"\s?:\s?"?(?P<time>1\d{18}|' + _times.TIME + r')"?\s*[,}]', re.ASCII
)
_LEVEL = re.compile(
    r'[{,]\s*"(?:(?P<of_otel>(?i:severity_?(?:text|number)))|(?i:level|severity|levelname|level_name|lvl|log\.level|loglevel|@l)|PRIORITY)"\s?:\s?'
    r'"?(?:(?:SEVERITY_NUMBER_|SeverityNumber\.)?(?P<level>[A-Za-z]{1,11})[2-4]?|(?P<number>\d{1,2}))"?\s*[,}]',
    re.ASCII,
)
#: Of OpenTelemetry, whose numbers go from 1 to 24, four for each.
_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
#: Of pino and bunyan; and of syslog, as the journal has them, whose 5 and more tell nothing: they are given to all that a program prints.
_NUMBERED = {"10": "TRACE", "20": "DEBUG", "30": "INFO", "40": "WARN", "50": "ERROR", "60": "FATAL"}
_NUMBERED |= {"0": "FATAL", "1": "FATAL", "2": "CRITICAL", "3": "ERROR", "4": "WARN"}
_IS_TIME = re.compile(rf"{_TIMES}|observed_?time_?(?:unixnano|stamp)", re.IGNORECASE)
#: Keys whose numbers are a status, and those whose texts are no words of a program: what a person or a model wrote.
_STATUS = frozenset((
    "status", "statuscode", "status_code", "http_status", "httpstatuscode", "code", "apierrorstatus", "error_code", "http.response.status_code",
))  # fmt: skip
_WRITTEN = frozenset(
    {"content", "prompt", "messages", "input", "output", "completion", "choices", "requestbodyvalues", "url", "path", "cwd", "body"}
)
#: The same of OpenTelemetry's conventions for generative AI.
_PARTS = ("messages", "system_instructions", "arguments", "result", "definitions")
_AFTER = {"retry-after": 1.0, "retry_after": 1.0, "retryafter": 1.0, "retryinms": 0.001, "retry-after-ms": 0.001, "retry_after_ms": 0.001}
#: A record as a text: of Filebeat, Fluentd, Vector and the journal, of Docker, and of others.
_LINE = re.compile(r'[{,]\s*"(?:(?i:@?message|msg)|log|line)"\s?:\s?"')
_CLOCK, _ZONE = re.compile(r"\d\d:\d\d:\d\d", re.ASCII), re.compile(r"(?:Z|[+-]\d\d:?\d\d|GMT|UTC|\b20\d\d)$", re.ASCII)
_NEAR = 100  #: characters of it in which its time stands
_AT_ONCE_NS, _QUARTER_NS = 50_000_000, 900 * _times.SECOND  #: after which a record was collected later than written; by which zones differ
_FARTHEST = 14 * 60  #: minutes from UTC to the farthest zone
_OTEL = ("severitytext", "severitynumber", "timeunixnano", "observedtimeunixnano")
#: How OpenTelemetry names the type of a value.
_TYPES = frozenset(("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue", "bytesValue"))
_PAIR = frozenset(("key", "value"))
DEPTH = 8  #: of nesting that is looked at
MOST = 200  #: texts that are


def recognise(record: str) -> logs.Head | None:
    """The head of an object with a time; of one that holds a record as a text the head of that."""
    if record[:1] != "{" or (time := _TIME.search(record) or _OBSERVED.search(record)) is None:
        return None
    if (held := _held(record, time["time"])) is not None:
        return held
    level = _LEVEL.search(record)
    word = _heads.level(_level(level)) if level else ""
    return logs.Head(time["time"], 0, not word or word in FAULTS, word)


def _level(found: re.Match[str]) -> str:
    number = found["number"]
    if found["of_otel"] and number:
        return _SEVERITIES[(int(number) - 1) // 4] if 1 <= int(number) <= 4 * len(_SEVERITIES) else ""
    return found["level"] or _NUMBERED.get(number, number)


def _held(record: str, came: str) -> logs.Head | None:
    """The head of the record with a level that stands in an object as a text, as what ships logs, or runs containers, writes: its time is when it was written,
    and that of the object (``came``) when it was collected, which may be seconds later. None without one."""
    if (key := _LINE.search(record)) is None or not _CLOCK.search(record, key.end(), key.end() + _NEAR):
        return None
    try:
        line, _ = json.JSONDecoder().raw_decode(record, key.end() - 1)
    except (ValueError, RecursionError):
        return None
    known = logs.recognise(logs.plainly(line[: logs.HEAD])) if isinstance(line, str) and not line.lstrip().startswith("{") else None
    if known is None or not known[1].level:
        return None
    head, collected = known[1], _times.span(came)
    time = came if collected is None else _written(head.time, collected[0])
    return logs.Head(time or came, 0, head.fault, head.level)


def _written(time: str, collected_ns: int) -> str | None:
    """The time of a record that was collected then; None if the one is as good as the other, or it cannot be the time of that record. Without a zone it is of
    the one in which it is not later, and as little earlier as may be."""
    span = _times.span(time)
    if span is None or span[0] < _times.UNDATED_NS:
        return None
    if not _ZONE.search(time):
        quarters = -((collected_ns + _AT_ONCE_NS - span[0]) // _QUARTER_NS)
        sign, minutes = "-" if quarters < 0 else "+", abs(quarters) * 15
        time = time if not quarters else f"{time}{sign}{minutes // 60:02}:{minutes % 60:02}"
        if minutes > _FARTHEST or (span := _times.span(time)) is None:
            return None
    return time if collected_ns - span[1] > _AT_ONCE_NS else None


def told(rest: str) -> str:
    """Texts, statuses and codes of an object and what follows it, as words."""
    try:
        found, end = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        return rest
    texts = itertools.chain(_body(found), _texts(found, "", 0))
    return " ".join([*[text for text, _ in zip(texts, range(MOST), strict=False)], rest[end:]])


def _body(record: dict[str, Any]) -> Iterator[str]:
    """Of a record of OpenTelemetry what it says; in any other object a body is what was sent or received."""
    if any(key.lower().replace("_", "") in _OTEL for key in record):
        yield from _texts(record.get("body"), "", 1)


def _texts(value: Any, key: str, depth: int) -> Iterator[str]:
    name = key.lower()
    if depth > DEPTH or name in _WRITTEN or (name.startswith("gen_ai.") and name.rpartition(".")[2] in (*_WRITTEN, *_PARTS)):
        return
    if isinstance(value, dict) and value.keys() == _PAIR and isinstance(value["key"], str):
        yield from _texts(value["value"], value["key"], depth + 1)
    elif isinstance(value, dict) and len(value) == 1 and value.keys() <= _TYPES:
        yield from _texts(next(iter(value.values())), key, depth)
    elif isinstance(value, dict):
        for inner, each in value.items():
            yield from _texts(each, str(inner), depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key, depth + 1)
    elif isinstance(value, bool) or value is None:
        return
    elif name in _AFTER and _number(value) is not None:
        yield f"retry-after={(_number(value) or 0.0) * _AFTER[name]:g}"
    elif isinstance(value, str):
        if name in _STATUS and value.isdigit():
            yield f"code={value}"
        elif not _IS_TIME.fullmatch(name):
            yield value
    elif name in _STATUS:
        yield f"{'code' if name.endswith('code') and 'status' not in name else 'status'}={value:g}"


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1e9 else None
