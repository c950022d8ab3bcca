"""The text for the provider's support: complete, and nothing private in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import netlens
from netlens.chains.situation import HOST, VM
from netlens.report import letter
from netlens.report.letter import SupportFacts, clean, facts, text
from tests.lenses.refused.made_up import Rule, situation

T = 1_769_300_000_123_456_789  # 2026-01-25 00:13:20.123
FACTS = SupportFacts(
    started_ns=T,
    ended_ns=T + 60 * 10**9,
    requests=40,
    refusals=2,
    refusal_ns=(T + 10**9, T + 2 * 10**9),
    in_flight=(2, 1),
    connections=(3, 1),
    peak_requests=2,
    peak_connections=4,
    unit="requests",
    scope="egress",
    limit=2,
    limit_low=2,
    limit_high=3,
    p=0.0005,
    target="api.z.ai",
    codes=("1302",),
    egress_address="8.8.8.8",
    tested=("with the API excluded from the tunnel: no change",),
)


def test_it_says_what_support_needs():
    found = text(FACTS)
    for wanted in (
        "2026-01-25 00:13:20.123 UTC to 2026-01-25 00:14:20.123 UTC",
        "40 requests (each retry counted), 2 of them refused (5%)",
        "- 2026-01-25 00:13:21.123 UTC: 2 other accepted requests in flight, 3 other connections open",
        "- 2026-01-25 00:13:22.123 UTC: 1 other accepted request in flight, 1 other connection open",
        "when there are already 2 or more other requests in flight from one source address (anything from 2 to 3 fits as well)",
        "p below 0.001",
        "code 1302",
        "all of them came from 8.8.8.8",
        "excluded from the tunnel: no change",
        "requests in flight, connections that are open",
        "per key, per account, per model, or per source address?",
        "What is our limit",
    ):
        assert wanted in found, wanted


def test_long_lists_are_cut_and_the_last_is_named():
    many = replace(FACTS, refusal_ns=[T + k * 10**9 for k in range(50)], in_flight=[2] * 50, connections=())
    found = text(many)
    assert found.count("other accepted requests in flight\n") == letter.SHOWN
    assert "and 38 more, the last at 2026-01-25 00:14:09.123 UTC" in found
    assert "2: 50x" in found


def test_it_says_how_requests_were_refused_as_the_provider_put_it():
    assert "refused" in text(FACTS)
    assert "for high concurrency" not in text(FACTS)
    told = text(replace(FACTS, why="by a rate limit"))
    assert "Subject: requests to api.z.ai refused by a rate limit" in told
    assert "Some of our requests to api.z.ai are refused by a rate limit with code 1302" in told


def test_a_limit_over_time_is_told():
    """It said that nothing tells refused from accepted, where a limit over time did."""
    told = text(replace(FACTS, unit=None, limit=None, over_time="60 requests in any 60 s per egress address"))
    assert "This limit fits: 60 requests in any 60 s per egress address." in told
    assert "No count of requests" not in told


def test_it_does_not_say_that_no_limit_over_time_fits(root: Path):
    """A refuted own-rate says only that something else explains more: a window may fit, too, or be shared by both sides."""
    a = netlens.analyze(root / "captures" / "same-nat-ip-sshuttle")
    assert next(v.verdict for v in a.hypotheses if v.id == "own-rate") == "refuted"
    assert "over time" not in letter.of(a)


def test_without_a_rule_it_claims_none():
    assert "No count of requests or connections" in text(replace(FACTS, unit=None, limit=None))
    bare = text(SupportFacts(T, T, 0, 0))
    assert "0 requests" in bare
    assert "Refusals" not in bare


@pytest.mark.parametrize("address", ["192.168.64.2", "10.0.0.1", "fe80::1", "127.0.0.1", "not an address; x", None, "100.64.0.1"])
def test_only_public_addresses_are_shown(address: str | None):
    assert "came from" not in text(replace(FACTS, egress_address=address))


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("tried with key sk-proj-1234567890abcdefghij", "sk-proj-1234567890abcdefghij"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("password=hunter", "hunter"),
        ("key: abc1", "abc1"),
        ("used 0123456789abcdef0123456789abcdef.AbCdEf", "0123456789abcdef"),
        ("from 192.168.64.2", "192.168.64.2"),
        ("from fe80::1 it fails", "fe80::1"),
        ("as alice@example.com", "alice"),
        ("log in /Users/alice/log", "alice"),
        ("one\n## two", "\n"),
        ("a\x1b[31mb", "\x1b"),
        ("a \u202e b", "\u202e"),
        ("<script>alert(1)</script>", "<script"),
        ("[click](https://x)", "]("),
        ("x" * 1000, "x" * 301),
    ],
)
def test_free_text_is_cleaned(line: str, gone: str):
    assert gone not in clean(line)
    assert gone not in text(replace(FACTS, tested=(line,), target=line, codes=(line,))).replace("\n", "") or gone == "\n"
    assert "\n## two" not in text(replace(FACTS, tested=(line,)))


def test_plain_sentences_pass_unchanged():
    for line in ("VM alone, host quiet: 0 of 30 refused", "glm-4.7 through sshuttle 1.3.2", "at 8.8.8.8", "with another key: no change"):
        assert clean(line) == line


def test_facts_of_a_situation():
    # refused at 2 s: the host's and the VM's are in flight, on a connection each; the refused one's own connection is not another
    s = situation([(HOST, 0, 10, 0), (VM, 1, 4, 0), (VM, 2, 2.1, 1), (VM, 4.1, 6, 0)])
    found = facts(s, Rule("requests", "egress", 2), target="api.z.ai", codes=("1302",))
    assert (found.requests, found.refusals, found.limit, found.target) == (4, 1, 2, "api.z.ai")
    assert (list(found.in_flight), list(found.connections), found.peak_requests, found.peak_connections) == ([2], [2], 2, 3)
    hidden = facts(situation([(VM, 0, 1, 1)], uncountable="HTTP/2 without a key log"))
    assert (hidden.in_flight, hidden.peak_requests) == ((), None)
    assert text(found)
    assert text(hidden)
