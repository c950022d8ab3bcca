"""The registry of fixes, and predictions as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from netlens import registry
from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import fixes
from netlens.lenses.refused.fixes import Context, Variant
from tests.lenses.refused import journals
from tests.lenses.refused.made_up import Rule, S, situation

SHARED = [(HOST, 0, 10, 0), (VM, 1, 4, 0), (VM, 2, 2.1, 1), (VM, 4.1, 6, 0)]
RULE = Rule("requests", "egress", 2)
CONTEXT = Context(("api.z.ai",), ("203.0.113.10",), "sshuttle")


def module(**changes: object) -> ModuleType:
    made = ModuleType("netlens.lenses.refused.fixes.wishful_thinking", "Hope.")
    for name, value in {
        "ID": "wishful-thinking",
        "TITLE": "Hope",
        "RANK": 1,
        "AGAINST": fixes.ANYTHING,
        "CAVEATS": (),
        "variants": lambda case: [],
        **changes,
    }.items():
        if value is not None:
            setattr(made, name, value)
    return made


def test_every_file_is_a_fix_and_every_fix_has_a_file():
    files = {p.stem.replace("_", "-") for p in Path(fixes.__file__).parent.glob("*.py")} - {"--init--"}
    assert {m.ID for m in fixes.all_fixes()} == files
    seed = {
        "bypass",
        "cap",
        "other-provider",
        "stagger",
        "other-egress",
        "ask-provider",
        "quiet-host",
        "close-tails",
        "separate-lookups",
        "no-title",
    }
    assert seed <= files


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ID": 7}, "ID"),
        ({"ID": "other"}, "wishful-thinking"),
        ({"TITLE": ""}, "TITLE"),
        ({"TITLE": "a\nb"}, "one line"),
        ({"RANK": True}, "RANK"),
        ({"RANK": 12}, "RANK"),
        ({"AGAINST": ("all",)}, "AGAINST"),
        ({"variants": None}, "variants"),
    ],
)
def test_a_malformed_fix_is_refused_by_name(changes: dict, says: str):
    def load() -> None:
        registry.check(made := module(**changes), fixes.Fix)
        fixes.check(made)

    with pytest.raises(TypeError, match=f"wishful.thinking.*{says}"):
        load()


@pytest.mark.parametrize("found", [["bypass"], [Variant("another", "x", None, None)]])
def test_malformed_variants_are_refused_by_name(found: list, monkeypatch: pytest.MonkeyPatch):
    bad = fixes.check(module(variants=lambda case: found))
    monkeypatch.setattr(fixes, "all_fixes", lambda: [bad])
    with pytest.raises(TypeError, match="wishful-thinking"):
        fixes.predict(situation(SHARED), RULE, CONTEXT)


def test_predictions_best_first():
    found = {p.id: p for p in fixes.predict(situation(SHARED), RULE, CONTEXT)}
    # quiet-host, other-key and other-egress leave none at no wait, quiet-host is simpler; stagger (2 places: the VM's second waits from 2 to 4) before
    # cap-1 (the same wait) would be by rank, cap asks less; bypass changes nothing; the rest has no numbers
    assert list(found) == ["quiet-host", "other-key", "other-egress", "cap-1", "stagger", "bypass", "other-provider", "ask-provider"]
    assert [found[k].rejections_after for k in found] == [0, 0, 0, 0, 0, 1, None, None]
    assert {p.rejections_before for p in found.values()} == {1}
    cap = found["cap-1"]
    assert (cap.added_wait_s, cap.mean_wait_s, cap.peak_before, cap.peak_after, cap.recommended) == (2.0, round(2 / 3, 3), 2, 2, True)
    assert (cap.retry_wait_before_s, cap.retry_wait_after_s, cap.replayed_before, cap.confidence) == (2.1, 0.0, 1, "good")
    assert found["bypass"].note == "it would change nothing"
    assert found["quiet-host"].by_side == {"vm": (1, 0)}
    assert cap.to_dict()["by_side"] == {"vm": [1, 0]}


def test_what_depends_on_the_provider_is_a_range():
    """A broken-off answer goes on; sshuttle 2 has it ended when the next request is there already."""
    made = situation([(VM, 0, 10, 0, 2), (VM, 3, 3.1, 1), (VM, 5.1, 5.2, 1), (VM, 9.2, 9.3, 1), (VM, 17.3, 20, 0)])
    known = made.requests.noticed_ns.copy()
    known[0] = [10 * S, 5 * S // 2, 16 * S // 5]
    made = replace(made, requests=replace(made.requests, noticed_ns=known))
    found = {p.id: p for p in fixes.predict(made, Rule("requests", "egress", 1), CONTEXT)}
    assert list(found)[:2] == ["bypass", "close-tails"]
    assert (found["bypass"].rejections_at_best, found["bypass"].rejections_after, found["bypass"].left) == (0, 0, "0")
    assert (found["close-tails"].rejections_at_best, found["close-tails"].rejections_after) == (0, 1)
    assert found["close-tails"].left == "0 to 1"
    assert found["close-tails"].note == fixes.NOTICED


def test_without_a_rule_there_are_no_numbers():
    found = fixes.predict(situation(SHARED), None, CONTEXT)
    assert {"bypass", "cap-1", "quiet-host", "ask-provider"} <= {p.id for p in found}
    assert all(p.rejections_after is None and p.added_wait_s is None and p.peak_after is None for p in found)
    assert next(p for p in found if p.id == "bypass").note == fixes.NO_COUNT


def test_where_the_provider_is_the_cause_only_the_provider_helps():
    found = fixes.predict(situation(SHARED), None, Context(path="sshuttle", cause="provider"))
    assert [p.id for p in found] == ["other-provider", "ask-provider"]


def test_nothing_refused_nothing_to_mend():
    assert fixes.predict(situation([(VM, 0, 1, 0)]), RULE, CONTEXT) == []
    assert fixes.predict(situation([], []), RULE) == []


def test_a_replay_that_is_far_off_says_so():
    # refusals that the limit does not explain: nothing else was in flight
    alone = [(VM, 50 * k, 50 * k + 0.1, 1) for k in range(8)]
    bypass = next(p for p in fixes.predict(situation(alone), RULE, CONTEXT) if p.id == "bypass")
    assert (bypass.replayed_before, bypass.confidence) == (0, "low")
    assert "8 recorded" in bypass.note


def test_what_cannot_change_anything_is_left_out():
    ids = {p.id for p in fixes.predict(situation([r for r in SHARED if r[0] == VM]), RULE, Context(path="nat"))}
    assert ids == {"cap-1", "other-provider", "ask-provider"}


@pytest.mark.parametrize(
    ("name", "rule", "best"),
    [
        ("zombie-sshuttle", Rule("requests", "egress", 2), "bypass"),
        ("fan-out", Rule("connections", "egress", 4), "bypass"),
        ("dns-over-tcp", Rule("connections", "egress", 3), "separate-lookups"),
        ("pool-lingers", Rule("connections", "egress", 3), "close-idle"),
        ("own-concurrency-idle-host", Rule("requests", "side", 2), "cap-2"),
        ("two-causes", Rule("requests", "egress", 2), "bypass"),
    ],
)
def test_the_best_fix_of_the_laboratorys_recordings(name: str, rule: Rule, best: str):
    found = fixes.predict(journals.situation(name), rule, CONTEXT)
    assert found[0].id == best
    assert found[0].rejections_after == 0
    assert found[0].confidence == "good"


# --- names and addresses of strangers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        "-oProxyCommand=x",
        "a b",
        "a;reboot",
        "$(id)",
        "a\nb",
        "ä.example",
        "a..b",
        "",
        "-",
        "a-",
        "x" * 64,
        "1.2.3.4",
        "*.example.com",
        "a_b.c",
        "a/b",
    ],
)
def test_hostile_names_are_left_out(hostile: str):
    assert fixes.names(Context((hostile, "api.z.ai"))) == ["api.z.ai"]
    for p in fixes.predict(
        situation(SHARED), RULE, Context((hostile,), (hostile if hostile != "1.2.3.4" else "x",), "sshuttle", (hostile,))
    ):
        assert not hostile or hostile in "-" or hostile not in (p.command or "")


def test_addresses_take_the_place_of_names():
    assert fixes.hosts(Context((), ("203.0.113.10", "2001:db8::1", "x;y"))) == ["203.0.113.10:443", "[2001:db8::1]:443"]


def test_under_a_limit_over_time_what_was_not_fitted_has_no_numbers():
    shared = fixes.predict(situation(SHARED), None, Context(cause="same-nat-ip", over_time=True))
    assert [p.id for p in shared] == ["quiet-host", "other-key", "other-egress", "other-provider", "ask-provider"]
    own = fixes.predict(situation(SHARED), None, Context(cause="own-rate", over_time=True))
    assert [p.id for p in own] == ["other-provider", "ask-provider"]
    quota = fixes.predict(situation(SHARED), None, Context(cause="own-rate", quota=True))
    assert [p.id for p in quota] == ["wait-for-reset", "other-key", "other-provider", "ask-provider"]
