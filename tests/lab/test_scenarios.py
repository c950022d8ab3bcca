"""Every scenario loads, is consistent, and says what is true of it."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from netlens.cli.lab import command
from netlens.errors import NetlensError
from netlens.lab import programs, scenario
from netlens.lenses.refused.causes import all_causes

NAMES = scenario.names()


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_expects_something(name: str) -> None:
    loaded = scenario.load(name)
    assert len(loaded.title) > 20
    assert len(loaded.expect.why) > 20
    assert loaded.programs
    assert {each["side"] for each in loaded.programs} <= {"vm", "host", "vm2"}


def test_every_cause_is_shown_and_so_is_its_absence() -> None:
    loaded = [scenario.load(name) for name in NAMES]
    assert {cause for each in loaded for cause in each.expect.causes} == {cause.ID for cause in all_causes()}
    assert any(not each.expect.causes for each in loaded)
    assert any(len(each.expect.causes) > 1 for each in loaded)
    assert any(each.clock["offset_s"] > 0 for each in loaded)
    assert any(each.clock["offset_s"] < 0 for each in loaded)


def test_every_kind_of_tunnel_scenario_has_a_twin_with_the_api_excluded() -> None:
    loaded = {name: scenario.load(name) for name in NAMES}
    # A twin differs in nothing but the path and what follows from it; variants of clock, age and disguise need none of their own.
    variants = {
        "sdk-anthropic",
        "late-release",
        "overload-beside",
        "second-program",
        "rate-bucket",
        "provider-bursts",
        "own-concurrency-idle-host",
        "older-tunnel",
        "refused-in-stream",
        "clock-skew",
        "zombie-clock-skew",
        "zombie-slow",
    }
    twins = [each for each in loaded.values() if each.path["exclude_api"]]
    stand_in = {name: each for name, each in loaded.items() if {programs.kind_of(p) for p in each.programs} == {programs.DEFAULT}}
    for name, each in stand_in.items():
        if each.path["kind"] == "sshuttle" and not each.path["exclude_api"] and name not in variants:
            same = [t for t in twins if (t.programs, t.provider, t.run) == (each.programs, each.provider, each.run)]
            assert same, f"{name} has no twin"


BASE: dict[str, Any] = {
    "title": "a title of some length",
    "provider": {"concurrency": {"counts": "requests", "per": "ip", "limit": 2}},
    "program": [{"side": "vm"}],
    "expect": {"causes": ["same-nat-ip"], "rule": "requests per ip", "limit": 2, "rejections": "vm", "why": "because"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": {}}, "a scenario has no colour"),
        ({"path": {"kind": "wormhole"}}, "kind is one of"),
        ({"path": {"kinds": "nat"}}, r"\[path\] has no kinds"),
        ({"program": [{"side": "vm", "speed": 3}]}, "a program has no speed"),
        ({"program": [{}]}, "needs a side"),
        ({"program": [{"side": "vm", "kind": "opencode", "speed": 3}]}, "opencode has no speed"),
        ({"program": [{"side": "vm", "kind": "opencode", "abort": "esc"}]}, "opencode run has no Esc"),
        ({"provider": {"rate": {"per": "ip", "limit": 2, "window_s": 0.0}}}, "refuses everything"),
        ({"provider": {"quota": {"per": "ip", "limit": 0}}}, "refuses everything"),
        ({"program": [{"side": "vm", "kind": "toaster"}]}, "kind is one of agent"),
        ({"provider": {"concurrency": {"counts": "requests", "per": "ip"}}}, "limit"),
        ({"provider": {"whim": {}}}, r"\[provider\] has no whim"),
        ({"provider": {"concurrency": {"counts": "sheep", "per": "ip", "limit": 2}}}, "no such rule"),
        ({"provider": {"concurrency": {"counts": "requests", "per": "ip", "limit": 3}}}, "are not the provider's"),
        ({"provider": {**BASE["provider"], "addresses": 9}}, "addresses are 1 to 4"),
        ({"provider": {**BASE["provider"], "code": "42"}}, "code is one of"),
        ({"logs": {"vm": "xml"}}, "logs"),
        ({"expect": {**BASE["expect"], "causes": ["weather"]}}, "no such cause"),
        ({"expect": {**BASE["expect"], "causes": []}}, "if and only if"),
        ({"expect": {"causes": []}}, "'rejections' is missing"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    assert scenario.parse("sample", BASE).name == "sample"
    with pytest.raises(NetlensError, match=f"scenario sample: .*{message}"):
        scenario.parse("sample", {**BASE, **change})


@pytest.mark.parametrize("name", ["nothing", "../pyproject", ""])
def test_unknown_scenarios(name: str) -> None:
    with pytest.raises(NetlensError, match="no scenario"):
        scenario.load(name)


def test_the_list_has_a_line_each_that_grep_finds_whole() -> None:
    lines = CliRunner().invoke(command, ["list"]).output.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(NAMES)
    for name, line in zip(NAMES, lines, strict=True):
        loaded = scenario.load(name)
        assert line.endswith(f"  {loaded.title}")
        assert all(cause in line for cause in loaded.expect.causes)
