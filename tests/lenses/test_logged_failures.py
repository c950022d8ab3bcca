"""What error logs say of failed requests is told, though no limit refused them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import netlens
from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.lenses import Finding, logged_failures
from tests.chains.build_chain import SERVER, T0, Machine, Talk, hellos

EGRESS, API = "203.0.113.7", (SERVER, 443)


def found(folder: Path, *lines: tuple[float, str], unanswered: str = "") -> list[Finding]:
    """``lines``: (seconds in the capture, text); answers end at 1.4, 2.4 and 3.4 s, or the last request has none and ends at 3.3 s."""
    host = Machine()
    (hello,) = hellos(1)
    host.see(Talk((EGRESS, 50001), API, 1, hello, 1 << 20, unanswered=unanswered), (2, False))
    host.write(folder / "host.pcap")
    stamped = [(datetime.fromtimestamp(T0 + at, UTC).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3], text) for at, text in lines]
    (folder / "errors.log").write_text("".join(f"{at} [ERROR] agent - {text}\n" for at, text in stamped))
    told = netlens.analyze(host=folder / "host.pcap", host_errors=str(folder / "errors.log"), apis="api.example.test")
    return [each for each in told.findings if each.id == "logged-failures"]


def test_statuses_and_time_outs(tmp_path: Path) -> None:
    wrong = "AuthenticationError: Error code: 401 - Incorrect API key provided: sk-****"
    [told] = found(tmp_path, (1.42, wrong), (2.42, wrong), (3.42, "ReadTimeout: The read operation timed out"), (900, wrong))
    assert told.severity == "problem"
    assert told.text.startswith("The error log of the host has 3 lines of failed requests: status 401 (2), time-out (1)")
    assert told.values == {"lines": 3, "failures": {"status 401": 2, "time-out": 1}}
    assert "key" in told.advice
    assert len(told.frames) == 3


@pytest.mark.parametrize("text", ["Error code: 429 - Rate limit reached for requests", "took 500 ms", "all is well"])
def test_what_is_no_failure_or_a_refusal(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, (1.42, text), (2.42, text)) == []


@pytest.mark.parametrize(("code", "lines"), [(503, 0), (500, 3)])
def test_a_status_that_is_said_again_with_the_words_of_a_refusal(code: int, lines: int, tmp_path: Path) -> None:
    """As curl prints both; what another one says is no echo."""
    failed, refused = f"curl: (22) The requested URL returned error: {code}", '{"error": {"code": 503, "message": "no slot available"}}'
    told = found(tmp_path, *(line for k in (1, 2, 3) for line in ((k + 0.42, failed), (k + 0.425, refused))))
    assert [each.values["lines"] for each in told] == [lines] * bool(lines)


def test_requests_that_never_left_the_programs_own_pool(tmp_path: Path) -> None:
    [told] = found(tmp_path, (1.42, "turn 3 failed: PoolTimeout: "), (2.42, "turn 4 failed: PoolTimeout: "))
    assert "2 lines of failed requests: the program's own pool of connections was full" in told.text
    assert "never sent" in told.advice
    assert told.frames == []


def test_a_limit_that_the_program_has_itself(tmp_path: Path) -> None:
    [told] = found(
        tmp_path, *((k + 0.42, "litellm.RateLimitError: No deployments available for selected model. Passed model=glm") for k in (1, 2, 3))
    )
    assert "3 lines of failed requests: a limit of the program's own" in told.text
    assert "never sent" in told.advice
    assert told.frames == []


def test_a_limit_that_may_be_of_anything_else_is_not_told(tmp_path: Path) -> None:
    assert (
        found(tmp_path, *((k + 0.42, "BulkheadFullException: Bulkhead 'db' is full and does not permit further calls") for k in (1, 2)))
        == []
    )


@pytest.mark.parametrize("unanswered", ["server", "resets"])
def test_a_server_that_closes_without_an_answer(unanswered: str, tmp_path: Path) -> None:
    """The line at 1.4 s is of no request of the capture."""
    said = "RemoteProtocolError: Server disconnected without sending a response."
    [told] = found(tmp_path, *((at, said) for at in (1.42, 3.32, 3.34)), unanswered=unanswered)
    assert "2 lines of failed requests: closed by the server without an answer" in told.text
    assert "limit" in told.advice


@pytest.mark.parametrize("text", ["MCP server disconnected", "ws proxy error: socket hang up", 'could not parse tool arguments "{}": EOF'])
def test_closes_that_the_capture_does_not_show_are_of_something_else(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, *((k + 0.42, text) for k in (1, 2, 3))) == []


def test_503_may_be_a_limit_of_what_stands_in_front(tmp_path: Path) -> None:
    [told] = found(tmp_path, *((k + 0.42, "Error code: 503") for k in (1, 2)))
    assert "status 503" in told.text
    assert "limit_conn" in told.advice


def test_one_line_alone_is_a_warning(tmp_path: Path) -> None:
    [told] = found(tmp_path, (1.42, "InternalServerError: Error code: 500 - The server had an error"))
    assert told.severity == "warning"
    assert "1 line of failed requests: status 500" in told.text


@pytest.mark.parametrize(("by_relay", "refused", "told"), [(6, 0, 1), (3, 0, 0), (6, 1, 0), (0, 0, 0)])
def test_refusals_of_a_relay_that_did_not_ask_the_api(by_relay: int, refused: int, told: int) -> None:
    """Six lines; not where the relay answered fewer by itself, or the API refused any."""
    labels = np.array([REJECTED] * refused + [ACCEPTED] * 5, np.int8)
    made = SimpleNamespace(
        by_relays={("192.168.64.1", 443): by_relay} if by_relay else {},
        situation=SimpleNamespace(requests=SimpleNamespace(rejected=labels), uncountable=None),
    )
    found = logged_failures._by_relay(SimpleNamespace(name="vm", traffic=made, connections_of=lambda _: ()), list(range(6)))  # type: ignore[arg-type]
    assert [each.severity for each in found] == ["problem"] * told
    assert all("the relay at 192.168.64.1:443 answered 6 requests without asking the API" in each.text for each in found)


@pytest.mark.parametrize(("lines", "refused", "unmatched", "told"), [(6, 0, 0, 1), (2, 0, 0, 0), (6, 1, 0, 0), (6, 0, 6, 0)])
def test_refusals_where_requests_to_the_api_cannot_be_counted(lines: int, refused: int, unmatched: int, told: int) -> None:
    """Not where refusals of the API are known, or the answer says it."""
    labels = np.array([REJECTED] * refused + [ACCEPTED] * 5, np.int8)
    made = SimpleNamespace(
        by_relays={},
        unmatched=[{}] * unmatched,
        situation=SimpleNamespace(requests=SimpleNamespace(rejected=labels), uncountable="a TLS key log"),
    )
    found = logged_failures._by_relay(SimpleNamespace(name="vm", traffic=made, connections_of=lambda _: ()), list(range(lines)))  # type: ignore[arg-type]
    assert [each.severity for each in found] == ["problem"] * told
    assert all("Whether the API refused, or what stands in between, cannot be told" in each.text for each in found)
