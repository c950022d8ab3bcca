"""When each of the other fixes applies, and its command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netlens
from netlens.chains.situation import HOST, VM
from netlens.lenses.refused.fixes import (
    Case,
    Context,
    ask_provider,
    close_idle,
    close_tails,
    no_title,
    other_egress,
    other_provider,
    queue,
    quiet_host,
    separate_lookups,
    stagger,
)
from tests.lenses.refused.made_up import LOOKUPS, Rule, situation

REQUESTS, CONNECTIONS = Rule("requests", "egress", 2), Rule("connections", "egress", 2)
BOTH = [(VM, 0, 1, 0), (HOST, 0.5, 2, 0)]
CONTEXT = Context(("api.z.ai",), ("203.0.113.10", "2001:db8::1"), "sshuttle", program="opencode")


def variants(
    module, requests: list[tuple], rule: Rule | None = REQUESTS, context: Context = CONTEXT, sessions: list[tuple] | None = None
) -> list:
    return module.variants(Case(situation(requests, sessions), rule, context))


def test_quiet_host():
    assert variants(quiet_host, BOTH[:1]) == []
    assert variants(quiet_host, BOTH, Rule("requests", "side", 2)) == []
    [found] = variants(quiet_host, BOTH)
    assert found.command == "sudo lsof -nP -i4TCP@203.0.113.10:443 '-i6TCP@[2001:db8::1]:443'"
    assert variants(quiet_host, BOTH, context=Context())[0].command is None


def test_a_proxy_that_the_vm_asks_too_is_not_to_be_quit():
    [found] = variants(quiet_host, BOTH, context=replace(CONTEXT, by_relay=True, relay_port=3128))
    assert found.command.endswith("-iTCP@localhost:3128")
    assert found.note.endswith("lists the programs to quit, and the proxy, through which the VM asks as well: leave that running")


@pytest.mark.parametrize(("unasked", "offered"), [(0, 1), (1, 0)])
def test_no_program_is_to_be_quit_where_a_relay_may_have_opened_what_is_the_hosts(unasked, offered):
    made = situation(BOTH)
    assert (made.sessions.side == HOST).sum() <= 1
    assert len(quiet_host.variants(Case(replace(made, facts={"unasked": unasked}), REQUESTS, CONTEXT))) == offered


def test_who_else_shares_the_address_is_named_and_not_looked_for_on_the_host():
    def found(others):
        return quiet_host.variants(Case(replace(situation(BOTH), facts={"others": others}), REQUESTS, CONTEXT))[0]

    vm2 = found("the other VM, 192.168.50.3")
    assert vm2.title == "Stop the other VM, 192.168.50.3, from using the API while the VM works"
    assert vm2.command is None
    assert vm2.note == "1 request of the other VM, 192.168.50.3, is not sent"
    assert "lsof" in (found("the host and the other VM, 192.168.50.3").command or "")
    assert found("the host").title == quiet_host.TITLE


def test_stagger():
    assert variants(stagger, BOTH[1:]) == []
    assert variants(stagger, BOTH)[0].change.cap == 2
    assert variants(stagger, BOTH, Rule("requests", "side", 2)) == []
    assert variants(stagger, BOTH, None)[0].change.cap == 1


@pytest.mark.parametrize(("rule", "applies"), [(REQUESTS, True), (Rule("requests", "side", 2), False), (None, True)])
def test_other_egress(rule: Rule | None, applies: bool):
    assert bool(variants(other_egress, BOTH, rule)) is applies
    assert variants(other_egress, BOTH[:1], rule) == []


def test_close_tails():
    assert variants(close_tails, BOTH) == []
    zombie = [(VM, 0, 5, 0, 1)]
    assert variants(close_tails, zombie)[0].command == "python3 -m pip install --upgrade 'sshuttle>=2'"
    assert variants(close_tails, zombie, context=Context(path="nat"))[0].command is None


def test_close_idle():
    kept = [(VM, 0, 9)]
    assert variants(close_idle, BOTH[:1], CONNECTIONS, sessions=kept)
    assert variants(close_idle, BOTH[:1], REQUESTS, sessions=kept) == []
    assert variants(close_idle, BOTH[:1], CONNECTIONS) == []


def test_separate_lookups():
    sessions = [(VM, 0, 1), (VM, 0, 3, None, LOOKUPS)]
    [found] = variants(separate_lookups, BOTH[:1], CONNECTIONS, sessions=sessions)
    assert found.command == "echo '203.0.113.10 api.z.ai' | sudo tee -a /etc/hosts"
    assert variants(separate_lookups, BOTH[:1], REQUESTS, sessions=sessions) == []
    assert variants(separate_lookups, BOTH[:1], CONNECTIONS) == []


def test_no_title():
    # four conversations: a title of 0.5 s, and 55 ms after it a first turn of 3 s
    talks = [r for k in range(4) for r in ((VM, 10 * k, 10 * k + 0.5, 0), (VM, 10 * k + 0.055, 10 * k + 3, 0))]
    [found] = variants(no_title, talks)
    assert found.change.without == {0, 2, 4, 6}
    assert variants(no_title, talks[:4]) == []  # two pairs are chance
    even = [r for k in range(4) for r in ((VM, 10 * k, 10 * k + 3, 0), (VM, 10 * k + 0.055, 10 * k + 3, 0))]
    assert variants(no_title, even) == []  # neither is the shorter


def test_those_that_always_apply_have_no_numbers():
    for module in (ask_provider, other_provider):
        assert [v.change for v in variants(module, BOTH[:1], None)] == [None]


def test_queue():
    """For one side that makes more requests at once than it may; of both sides see ``stagger``."""
    two = [(VM, 0, 2, 0), (VM, 0.5, 3, 0)]
    assert variants(queue, two, Rule("requests", "side", 2)) == []
    assert variants(queue, BOTH, Rule("requests", "egress", 1)) == []
    assert variants(queue, two, Rule("connections", "side", 1)) == []
    [found] = variants(queue, two, Rule("requests", "side", 1))
    assert (found.change.cap, found.change.cap_shared) == (1, True)
    assert "maxconn 1" in found.command
    assert found.program.endswith(" opencode")
    assert variants(queue, two, Rule("requests", "side", 1), Context())[0].command is None
    [each] = variants(queue, [*two, (HOST, 0.5, 2, 0)], Rule("requests", "side", 1), replace(CONTEXT, at_once=3))
    assert (each.change.cap, each.change.cap_shared) == (1, False)
    assert any("containers" in caveat for caveat in each.caveats)


def sized(requests: list[tuple], *sizes: int) -> Case:
    made = situation(requests)
    return Case(replace(made, requests=replace(made.requests, sent_bytes=np.array(sizes, np.int64))), REQUESTS, CONTEXT)


def test_titles_are_known_by_their_size():
    """As opencode sends them: 2.9 kB and 31 kB, in either order, at no fixed distance."""
    talks = [(VM, 0, 1, 0), (VM, 0.9, 4, 0), (VM, 20, 24, 0), (VM, 20.2, 21, 0), (VM, 25, 27, 0)]
    [found] = no_title.variants(sized(talks, 2920, 32775, 32768, 2914, 34051))
    assert found.change.without == {0, 3}
    assert "disable" in found.command
    assert found.note == "2 requests look like titles; 0 of 0 refusals are of titles, or came while one was in progress"
    talks[1] = (VM, 0.9, 4, 1)
    talks[4] = (VM, 25, 27, 1)
    [found] = no_title.variants(sized(talks, 2920, 32775, 32768, 2914, 34051))
    assert found.note.endswith("; 1 of 2 refusals is of titles, or came while one was in progress")
    assert not no_title.variants(sized(talks, 2920, 5775, 5768, 2914, 6051)), "not of another order of size"
    assert not no_title.variants(sized(talks, 2920, 32775, 2911, 2914, 2920)), "more small ones than turns"
    talks[0], talks[3] = (VM, 0, 0.05, 1), (VM, 20.2, 20.25, 1)
    assert not no_title.variants(sized(talks, 200, 32775, 32768, 201, 34051)), "refused before their bodies were sent"


def test_a_retry_is_of_the_size_of_what_was_refused():
    """A title that starts where the turn's retry would be is none; the turn comes later, as a busy machine wakes it late."""
    found = sized([(VM, 0, 3, 0), (VM, 1, 1.1, 1), (VM, 3.1, 4, 0), (VM, 6.4, 9, 0)], 2920, 32768, 2914, 32768).intents
    assert found.attempts == [[0], [1, 3], [2]]


@pytest.mark.parametrize("recording", ["own-concurrency-haproxy", "own-concurrency-connect", "same-nat-ip-socks"])
def test_commands_name_the_api_where_the_requests_leave_not_the_relay(root: Path, recording: str):
    found = netlens.analyze(root / "captures" / recording).to_dict()
    # what lists the programs of the host that ask has to look at the relay, too
    texts = [fix[part] for fix in found["fixes"] for part in ("command", "program") if fix.get(part) and fix["id"] != "quiet-host"]
    assert any("api.z.ai:443" in text for text in texts)
    assert not any(f":{port}" in text for text in texts for port in (8080, 8888, 1080))
