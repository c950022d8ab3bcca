"""Batches of OpenTelemetry: one object of JSON holds the records of many moments, each of which is taken for one of its own.

Source: the JSON encoding of OTLP (opentelemetry-proto, ``logs.proto``), as the Collector's file exporter writes it, a batch a line.
"""

import json
from collections.abc import Sequence

_HOLDS = b'"logRecords"'


def apart(record: bytes) -> Sequence[bytes]:
    """The records of a batch (``resourceLogs``), one object each; of anything else the record itself."""
    if _HOLDS not in record or not record.lstrip().startswith(b"{"):
        return (record,)
    try:
        batch = json.loads(record)
        found = [each for resource in batch["resourceLogs"] for scope in resource["scopeLogs"] for each in scope.get("logRecords", ())]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return (record,)
    return [json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") for each in found if isinstance(each, dict)]
