"""Batches of OpenTelemetry: one object of JSON holds the records of many moments, each of which is taken for one of its own.

Source: the JSON encoding of OTLP (opentelemetry-proto, ``logs.proto``), as the Collector's file exporter writes it, a batch a line.
"""

import json
import re
from collections.abc import Sequence

_HOLDS, _BEGINS = b'"logRecords"', re.compile(rb'\s*\{\s*"resourceLogs"')
MAX_BATCH = 16 << 20  #: bytes; the Collector's batches have 8,192 records, and more where a sender has larger ones


def longest(line: bytes) -> int:
    """How many bytes of a line of a log are read, if it has more than others."""
    return MAX_BATCH if _BEGINS.match(line) else 0


def apart(record: bytes) -> Sequence[bytes]:
    """The records of a batch (``resourceLogs``), one object each; of anything else the record itself."""
    if _HOLDS not in record or not record.lstrip().startswith(b"{"):
        return (record,)
    try:
        batch = json.loads(record)
        found = [each for resource in batch["resourceLogs"] for scope in resource["scopeLogs"] for each in scope.get("logRecords", ())]
    except ValueError:
        return (b"{}" if _BEGINS.match(record) else record,)  # it was cut, and its first time is not that of what it says
    except (RecursionError, KeyError, TypeError, AttributeError):
        return (record,)
    return [json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") for each in found if isinstance(each, dict)]
