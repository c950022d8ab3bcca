"""The published JSON schema of analyze, and what analyze really writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docs_schema
import jsonschema
import pytest

import netlens

CAPTURES = Path(__file__).parents[2] / "captures"
PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "analyze.schema.json"
CASES: dict[str, dict[str, Any]] = {
    **{
        name: {"capture": CAPTURES / name}
        for name in (
            "healthy",
            "zombie-sshuttle",
            "two-causes",
            "provider-bursts",
            "dns-over-tcp",
            "fan-out",
            "clock-skew",
            "same-nat-ip-nat",
        )
    },
    "the VM alone": {"vm": CAPTURES / "zombie-sshuttle" / "vm.pcap.gz", "vm_errors": str(CAPTURES / "zombie-sshuttle" / "vm-errors.log")},
    "the host alone": {"host": CAPTURES / "two-causes" / "host.pcap.gz"},
    "nobody said which side": {"capture": CAPTURES / "http2" / "vm.pcap.gz"},
    "another recording's host": {"vm": CAPTURES / "healthy" / "vm.pcap.gz", "host": CAPTURES / "zombie-sshuttle" / "host.pcap.gz"},
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return loaded


def test_the_published_schema_is_one_and_is_current(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == docs_schema.build()


@pytest.mark.parametrize("case", CASES)
def test_analyze_writes_what_the_schema_says_and_nothing_else(case: str, schema: dict[str, Any]) -> None:
    document = json.loads(json.dumps(netlens.analyze(**CASES[case]).to_dict(), allow_nan=False))
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    # closed: a field that is written and not described is an error here; describe it in tools/docs_schema.py
    jsonschema.validate(document, docs_schema.closed(schema), jsonschema.Draft202012Validator)


def test_a_document_that_lacks_a_field_or_has_another_type_is_refused(schema: dict[str, Any]) -> None:
    document = json.loads(json.dumps(netlens.analyze(CAPTURES / "healthy").to_dict()))
    for change in ({"limit": 3}, {"cause": "weather"}, {"hypotheses": []}, {"counts": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, **change}, schema, jsonschema.Draft202012Validator)


def test_the_page_has_every_field() -> None:
    page = (PUBLISHED.parent / "analyze-json.md").read_text(encoding="utf-8")
    names = [name for name, _, _ in docs_schema.fields(docs_schema.build())]
    assert {"hypotheses[].evidence[].frames[].frame", "limit.value", "sides.*.peaks.in_flight.count", "clock.steps[].at_ns"} <= set(names)
    assert all(f"| `{name}` |" in page for name in names)
