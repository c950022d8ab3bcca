"""Log formats: each record finds its own, and a head that is written is read as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netlens import logs
from netlens.capture.errorlog import Reduced, Taking, reduce_line
from netlens.parsers import errorlog

RECORDS = {
    "opencode-classic": 'ERROR 2026-01-25T16:33:41 +58ms service=llm error={"code":"1302"}',
    "opencode-logfmt": 'timestamp=2026-06-20T16:38:30.455Z level=ERROR service=llm message="status 429"',
    "logfmt": 't=2026-06-20T16:38:30+0000 lvl=eror msg="request failed: Error code: 429"',
    "ruby-logger": "E, [2026-06-20T16:38:30.455123 #4711] ERROR -- agent: request failed: 429 Too Many Requests",
    "plain": "2026-01-25T16:33:41.5+01:00 Too many requests",
    "claude-code": '2026-01-10T12:34:56.789Z [ERROR] API error (attempt 1/11): 529 {"type":"error","error":{"type":"overloaded_error"}}',
    "claude-transcript": (
        '{"type":"system","subtype":"api_error","level":"error","timestamp":"2026-03-04T11:00:09Z","sessionId":"s1","retryAttempt":1,"maxRetries":10,'
        '"retryInMs":500,"error":{"status":529,"message":"overloaded","isNetworkDown":false}}'
    ),
    "cline": '{"ts":1734690000123,"type":"say","say":"api_req_retry_delayed","text":"429 rate_limit_error Retry attempt 1 Retrying in 5 seconds..."}',
    "codex": "2026-06-10T01:55:01.699073Z  WARN codex_core::responses_retry: exceeded retry limit, last status: 429 Too Many Requests",
    "vscode": '2026-01-10 12:34:56.789 [error] API request failed: 429 {"error":{"code":"1302"}}',
    "litellm": "2026-01-10T12:34:56+0100 12:34:56 - LiteLLM Proxy:ERROR: proxy_server.py:123 - litellm.RateLimitError: 429",
    "aider": "2026-01-10T12:34:56+0100 litellm.RateLimitError: RateLimitError: OpenAIException - High concurrency usage of this API",
    "python-sdk": (
        '2026-08-01 07:11:18,422 [INFO] httpx: HTTP Request: POST https://openrouter.ai/api/v1/chat/completions "HTTP/1.1 429 Too Many Requests"'
    ),
    "javascript-sdk": (
        "2026-11-26T00:32:45.123+0000 [log_be829a] post http://127.0.0.1:8765/429/chat/completions failed with status 429 in 123ms - retrying, "
        "2 attempts remaining"
    ),
    "json-lines": '{"level":50,"time":1734690000123,"msg":"request failed","err":{"type":"APIError","status":429,"code":"1302"}}',
    "java-logging": "Nov 30, 2026 2:30:53 PM com.acme.Agent lambda$main$0 SEVERE: completion failed: HTTP 429 Too many requests",
    "prefixed": "[ERROR]\t2026-11-30T12:20:30.123Z\t8f5-1\t429 Too many requests",
    "access-log": '192.168.64.5 - - [28/Nov/2026:18:22:33 +0000] "POST /v1/chat/completions HTTP/1.1" 429 133 "-" "python-requests/2.32"',
    "klog": "E1128 18:22:33.123456       1 agent.go:142] request failed: 429 Too Many Requests",
    "levelled": "2026-06-20 16:38:30,455 - app.chat - ERROR - Error code: 429 - {'error': {'code': '1302', 'message': 'High concurrency'}}",
}
FORMATS = {each.ID: each for each in logs.formats()}


@pytest.mark.parametrize(("name", "record"), RECORDS.items())
def test_a_record_finds_its_format(name: str, record: str) -> None:
    known = logs.recognise(record)
    assert known is not None
    form, head = known
    assert (form.ID, head.fault) == (name, True)
    assert logs.refusal(form.said(record[head.rest :])) is not None
    assert (head.since_ms is not None) == (name == "opencode-classic")


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


@pytest.mark.parametrize(
    "head",
    [
        "ERROR 2026-11-30 12:20:30,123 agent 771",
        "ERROR [2026-11-30 12:20:30,123]",
        "[30/Nov/2026:12:20:30 +0000] ERROR",
        "WARNING: 2026-11-30 12:20:30",
        "E, [2026-11-30T12:20:30.123456 #771] ERROR -- :",
        "<11>1 2026-11-30T12:20:30.123Z host app 771 - -",
        "[pod/agent-1/agent] 2026-11-30T12:20:30.123Z",
        "[771] [2026-11-30 12:20:30.123]",
        "Mon 2026-11-30 12:20:30 UTC host agent[771]:",
        "2026-11-30T12:20:30:",
        "Mon, 30 Nov 2026 12:20:30 GMT agent",
        "Mon, 30 Nov 2026 13:20:30 +0100",
        "Mon 30 Nov 2026 12:20:30 PM UTC",
        "30-Nov-2026 12:20:30.123 SEVERE [main] com.acme.Agent.run",
        "20261130T122030.123Z ERROR",
        "20261130 12:20:30.123 ERROR",
        "20261130-12:20:30",
        '"2026-11-30 12:20:30.123","ERROR",',
    ],
)
def test_heads_of_many_programs(head: str) -> None:
    known = logs.recognise(f"{head} Error code: 429 - Too many requests")
    assert known is not None
    form, found = known
    assert found.span is not None
    assert found.span[0] // 1_000_000_000 == 1_796_041_230
    assert found.fault
    again = logs.recognise(form.write(found) + " status=429")
    assert again is not None
    assert (again[1].span, again[1].level) == (found.span, found.level)


@pytest.mark.parametrize(
    "line", ["expires 2026-11-30T12:20:30Z", "date: Mon, 30 Nov 2026 12:20:30 GMT", "[2026-13-45 12:00] x", "20261130"]
)
def test_a_time_within_a_line_is_no_head(line: str) -> None:
    assert logs.recognise(line) is None


def test_the_plain_format_is_asked_last() -> None:
    assert logs.formats()[-1].ID == "plain"


#: What each kind of record says: class, code, status, delay before the next attempt.
SAID = [
    ("claude-code", RECORDS["claude-code"], ("overload", None, 529, None)),
    ("claude-transcript", RECORDS["claude-transcript"], ("overload", None, 529, 0.5)),
    (
        "claude-transcript",
        '{"type":"assistant","timestamp":"2026-10-04T10:00:09.000Z","isApiErrorMessage":true,"apiErrorStatus":429,"error":"rate_limit","message":{}}',
        ("unknown", None, 429, None),
    ),
    (
        "claude-transcript",
        (
            '{"type":"assistant","isApiErrorMessage":true,"message":{"content":[{"type":"text","text":"API Error: 429 {\\"error\\":'
            '{\\"code\\":\\"1302\\"}}"}]},"timestamp":"2026-11-28T18:32:47.099Z"}'
        ),
        ("concurrency", "1302", 429, None),
    ),
    ("access-log", RECORDS["access-log"], ("unknown", None, 429, None)),
    ("klog", RECORDS["klog"], ("unknown", None, 429, None)),
    ("cline", RECORDS["cline"], ("rate", None, 429, 5.0)),
    ("codex", RECORDS["codex"], ("unknown", None, 429, None)),
    (
        "codex",
        "\x1b[2m2026-06-10T01:55:01.699073Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2mcodex_core::client\x1b[0m\x1b[2m:\x1b[0m 429",
        ("unknown", None, 429, None),
    ),
    ("vscode", RECORDS["vscode"], ("concurrency", "1302", 429, None)),
    ("litellm", RECORDS["litellm"], ("unknown", None, 429, None)),
    ("aider", RECORDS["aider"], ("concurrency", None, None, None)),
    ("python-sdk", RECORDS["python-sdk"], ("unknown", None, 429, None)),
    (
        "python-sdk",
        '2025-02-28 22:45:08,288 - httpx - INFO - HTTP Request: POST https://api.anthropic.com/v1/messages "HTTP/1.1 529 "',
        ("overload", None, 529, None),
    ),
    (
        "python-sdk",
        '2026-12-01 11:36:24,717 - urllib3.connectionpool - DEBUG - https://api.z.ai:443 "POST /v1/chat/completions HTTP/1.1" 429 114',
        ("unknown", None, 429, None),
    ),
    (
        "python-sdk",
        '2026-12-01 11:36:24,717 DEBUG urllib3.connectionpool:546 http://[::1]:8080 "POST /v1/chat HTTP/1.1" 529 None',
        ("overload", None, 529, None),
    ),
    (
        "levelled",
        '[2026-12-01 11:36:24,717] DEBUG [connectionpool.py:546] https://api.z.ai:443 "POST /v1/chat/completions HTTP/1.1" 429 114',
        ("unknown", None, 429, None),
    ),
    ("javascript-sdk", RECORDS["javascript-sdk"], ("unknown", None, 429, None)),
    ("json-lines", RECORDS["json-lines"], ("concurrency", "1302", 429, None)),
    ("json-lines", '{"level":"error","ts":1734690000.5,"msg":"429","retry-after":"20","code":"1308"}', ("quota", "1308", 429, 20.0)),
    ("prefixed", RECORDS["prefixed"], ("unknown", None, 429, None)),
    ("prefixed", "<11>Nov 30 12:20:30 host app[771]: status 429", ("unknown", None, 429, None)),
    ("java-logging", RECORDS["java-logging"], ("unknown", None, 429, None)),
    ("json-lines", '{"ts":1796041081240,"lvl":"E","evt":"llm_error","status":429,"detail":"failed"}', ("unknown", None, 429, None)),
    ("json-lines", '{"@t":"2026-11-30T12:20:14.2488205Z","@l":"Fatal","@m":"status 429"}', ("unknown", None, 429, None)),
    (
        "json-lines",
        '{"__REALTIME_TIMESTAMP" : "1796041144287544", "PRIORITY" : "6", "_PID" : "771", "MESSAGE" : "turn 8 failed: ThrottlingException: 429"}',
        ("unknown", None, 429, None),
    ),
    (
        "json-lines",
        (
            '{"timeUnixNano":"1796124526574263808","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"request failed: Error code: 429 - 1302"},'
            '"attributes":[{"key":"code.lineno","value":{"intValue":"503"}}]}'
        ),
        ("concurrency", "1302", 429, None),
    ),
    (
        "json-lines",
        (
            '{"observedTimeUnixNano":"1796124526574263808","timeUnixNano":"0","severityNumber":14,"body":{"kvlistValue":{"values":[{"key":"msg","value":'
            '{"stringValue":"failed"}},{"key":"status","value":{"intValue":"429"}}]}}}'
        ),
        ("unknown", None, 429, None),
    ),
    (
        "json-lines",
        (
            '{"timeUnixNano":"1796124526574263808","severityText":"WARN2","body":{"stringValue":"failed"},"attributes":'
            '[{"key":"http.response.status_code","value":{"intValue":"429"}},{"key":"exception.message","value":{"stringValue":"High concurrency"}}]}'
        ),
        ("concurrency", None, 429, None),
    ),
    (
        "json-lines",  # of OpenTelemetry's own SDK for Python
        (
            '{"body": "request failed: 429", "severity_number": 17, "severity_text": "ERROR", "attributes": {}, "timestamp": "2026-12-01T11:28:46.574263Z",'
            ' "observed_timestamp": "2026-12-01T11:28:46.574301Z"}'
        ),
        ("unknown", None, 429, None),
    ),
    ("json-lines", '{ "timeMillis": 1796041081240, "level": "Mild", "message": "status 429" }', ("unknown", None, 429, None)),
    ("logfmt", RECORDS["logfmt"], ("unknown", None, 429, None)),
    ("logfmt", 'ts=2026-06-20T16:38:30.455Z caller=llm.go:42 level=warn err="status 429"', ("unknown", None, 429, None)),
    ("logfmt", 'time="2026-06-20T16:38:30Z" level=schlimm msg="status 429"', ("unknown", None, 429, None)),
    ("ruby-logger", RECORDS["ruby-logger"], ("unknown", None, 429, None)),
    ("ruby-logger", "A, [2026-06-20T16:38:30.455123 #4711]   ANY -- : status 429", ("unknown", None, 429, None)),
    ("levelled", RECORDS["levelled"], ("concurrency", "1302", 429, None)),
    (
        "levelled",
        "[2026-06-20T16:38:30Z] [WARN] client: Rate limit reached for gpt-4o on requests per min (RPM): Limit 3. Please try again in 20s.",
        ("rate", None, None, 20.0),
    ),
    (
        "opencode-logfmt",
        'timestamp=2026-06-20T16:38:30.455Z level=INFO service=session error="AI_APICallError: Rate limit reached for requests" message=retry',
        ("unknown", None, None, None),
    ),
]


@pytest.mark.parametrize(("name", "record", "said"), SAID)
def test_what_a_record_says(name: str, record: str, said: tuple[str, str | None, int | None, float | None]) -> None:
    record = logs.plainly(record)
    known = logs.recognise(record)
    assert known is not None
    form, head = known
    assert name == form.ID
    refusal = logs.refusal(form.said(record[head.rest :]))
    assert refusal is not None
    assert (refusal.refusal_class, refusal.code, refusal.status, refusal.retry_after_s) == said
    kept = reduce_line(record)
    assert kept is not None
    form, head = logs.recognise(kept.text) or pytest.fail(kept.text)
    again = logs.refusal(form.said(kept.text[head.rest :]))
    assert name == form.ID, "the program is kept"
    assert again is not None
    assert (again.refusal_class, again.code, again.status, again.retry_after_s) == said, kept.text


@pytest.mark.parametrize(
    "record",
    [
        '{"type":"user","timestamp":"2026-10-04T10:00:07.000Z","message":{"role":"user","content":"why did I get a 429?"}}',
        "I, [2026-06-20T16:38:30.455123 #4711]  INFO -- : 429 is what we try again upon",
        't=2026-06-20T16:38:30+0000 lvl=info msg="status 429 is tried again"',
        't=2026-06-20T16:38:30+0000 lvl=dbug msg="status 429"',
        '{"ts":1734690000123,"type":"say","say":"text","text":"error 429 means too many requests"}',
        '{"level":30,"time":1734690000123,"msg":"prompt: what is status 429?"}',
        '{"level":50,"time":1734690000123,"msg":"slow","durationMs":429}',
        '{"ts":1796041081240,"lvl":"I","evt":"said","detail":"status 429"}',
        '{"priority":"high","level":"INFO","timestamp":"2026-11-30T12:20:14Z","text":"status 429"}',
        "Nov 30, 2026 2:30:53 PM com.acme.Agent run INFO: the model wrote: too many requests",
        "2026-06-20 16:38:30,455 - app - INFO - the model wrote: too many requests",
        '2026-08-01 07:11:18,787 [INFO] httpx: HTTP Request: POST https://api.deepseek.com/v1/chat/completions "HTTP/1.1 200 OK"',
        "2026-11-26T00:32:45.123+0000 [log_be829a] post http://127.0.0.1:8765/429/chat succeeded with status 200 in 429ms",
        "2026-06-10T01:55:01.699073Z  INFO codex_core::codex: user asks about 429",
        '2026-12-01 11:36:24,717 - urllib3.connectionpool - DEBUG - https://api.z.ai:443 "POST /v1/chat HTTP/1.1" 200 429',
        "2026-12-01 11:36:24,717 - urllib3.util.retry - DEBUG - Converted retries value: 3 -> Retry(total=3, status=429)",
        '{"timeUnixNano":"1796124526574263808","severityNumber":9,"severityText":"INFO","body":{"stringValue":"status 429"}}',
        '{"timeUnixNano":"1796124526574263808","severityNumber":9,"body":{"stringValue":"status 429"}}',
        (
            '{"timeUnixNano":"1796124526574263808","severityNumber":17,"body":{"stringValue":"bad answer"},"attributes":['
            '{"key":"gen_ai.input.messages","value":{"stringValue":"why do I see status 429?"}},{"key":"prompt","value":{"stringValue":"error 429"}}]}'
        ),
        '{"level":"error","time":1734690000123,"msg":"bad answer","body":"status 429 is what a person asked about"}',
    ],
)
def test_what_is_no_refusal(record: str) -> None:
    known = logs.recognise(record)
    assert known is not None
    form, head = known
    assert not head.fault or logs.refusal(form.said(record[head.rest :])) is None
    kept = reduce_line(record)
    assert kept is None or not kept.refusal


@pytest.mark.parametrize(
    ("line", "collected", "written", "level"),
    [
        ("2026-12-01 08:10:41.976 | ERROR    | agent:call:45 - 429", "2026-12-01T08:10:45.412Z", "08:10:41.976", "ERROR"),
        (
            "2026-12-01 09:10:41.976 | ERROR    | agent:call:45 - 429",
            "2026-12-01T08:10:45.412Z",
            "08:10:41.976",
            "ERROR",
        ),  # an hour ahead of UTC
        ("2026-12-01 02:40:41.976 | INFO     | agent:call:45 - 429", "2026-12-01T08:10:45.412Z", "08:10:41.976", "INFO"),  # behind it
        ("E, [2026-12-01T08:10:41.976123 #7] ERROR -- : 429", "2026-12-01T08:10:45.412Z", "08:10:41.976", "ERROR"),
        ("2026-12-01 08:10:45 ERROR 429", "2026-12-01T08:10:45.412Z", "08:10:45.412", "ERROR"),  # written at once, to the second
        ("2026-12-01T08:10:45.411Z WARN 429", "2026-12-01T08:10:45.412345Z", "08:10:45.412", "WARN"),
        ("08:10:41.976 ERROR 429", "2026-12-01T08:10:45.412Z", "08:10:45.412", "ERROR"),  # of which day is not said
        ("at 2026-12-01 08:10:41.976 it failed: 429", "2026-12-01T08:10:45.412Z", "08:10:45.412", ""),
        ("status 429", "2026-12-01T08:10:45.412Z", "08:10:45.412", ""),
    ],
)
@pytest.mark.parametrize("key", ["message", "log", "MESSAGE"])
def test_a_record_within_an_object_has_its_own_time_and_level(line: str, collected: str, written: str, level: str, key: str) -> None:
    """What ships logs says when it came to hold the line."""
    record = json.dumps({"@timestamp": collected, "agent": {"type": "filebeat"}, key: line + "\n"})
    form, head = logs.recognise(record) or pytest.fail(record)
    assert (form.ID, head.level) == ("json-lines", level)
    assert head.span is not None
    told = datetime.fromtimestamp(head.span[0] / 1e9, UTC).strftime("%H:%M:%S.%f")[:12]
    assert told == written
    assert head.fault == (level != "INFO")
    assert logs.refusal(form.said(record)) is not None


def test_a_batch_of_opentelemetry_is_taken_apart(tmp_path: Path) -> None:
    """The Collector's file exporter writes one a line; each record has its own time and level."""

    def record(ns: int, severity: int, said: str) -> dict[str, object]:
        return {"timeUnixNano": str(ns), "severityNumber": severity, "body": {"stringValue": said}}

    def batch(*records: dict[str, object]) -> str:
        service = {"attributes": [{"key": "service.name", "value": {"stringValue": "agent"}}]}
        return json.dumps({"resourceLogs": [{"resource": service, "scopeLogs": [{"scope": {"name": "agent"}, "logRecords": records}]}]})

    ns = 1_796_124_526_574_263_808
    path = tmp_path / "otlp.json"
    lines = [
        batch(record(ns, 9, "request 1 start"), record(ns + 10**9, 17, "failed: 429")),
        batch(record(ns + 2 * 10**9, 17, "failed: 429")),
        '{"resourceSpans":[]}',
        '{"resourceLogs":"logRecords"}',
    ]
    path.write_text("\n".join(lines) + "\n")
    log = errorlog.read(path)
    assert [(e.low_ns, e.line) for e in log.events] == [(ns + 10**9, 1), (ns + 2 * 10**9, 2)]
    assert (log.lines, log.unread, log.complete) == (4, 2, True)
    kept: list[Reduced] = []
    taking = Taking(kept.append)
    for line in lines:
        taking.take(line)
    taking.end()
    assert [each.refusal for each in kept] == [True, True]
