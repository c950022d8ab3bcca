"""One object of JSON a line, with a time: ``{"level":50,"time":1734690000123,"msg":"...","err":{"status":429}}``.

Levels are words, or numbers of pino, syslog or OpenTelemetry; without any, each record may tell of a refusal. Only texts, statuses and codes are looked at, and
none of what a person or a model wrote.

Source: pino, bunyan, structlog, zap, litellm's ``json_logs`` and loggers like them; ecma-international.org, ECMA-404; opentelemetry.io/docs/specs/otel/logs
(data model) and the JSON encoding of its protocol (opentelemetry-proto).
"""

from netlens import logs
from netlens.logs import _objects

ID = "json-lines"
PROGRAM = "any"
RANK = 500


recognise = _objects.recognise
said = _objects.told


def write(head: logs.Head) -> str:
    level = f'"level":"{head.level}",' if head.level else ""
    return f'{{{level}"time":"{head.time}"}}'
