"""Recordings of the real opencode, held against the provider's log: what lies under tests/data/real was recorded by ``netlens lab run`` on a busy machine.

opencode-own-title: one refusal, whose only line comes 370 ms after it and 50 ms after the end of the title. opencode-long-titles: a line 2.4 s late.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import netlens
from netlens.analysis import Analysis
from netlens.capture.recording import read_manifest
from netlens.cli.watch import command
from netlens.lab import check, prove, scenario
from netlens.lab import run as lab_run
from netlens.lab.check import Truth
from netlens.lab.programs import opencode
from netlens.lab.provider import dns
from netlens.lab.run import Options
from netlens.lab.topology import LabError

CAPTURES = Path(__file__).parents[2] / "captures"
FOLDER = Path(__file__).parents[1] / "data" / "real"
RECORDINGS = sorted(path.name for path in FOLDER.iterdir())
BUNDLED = sorted((Path(__file__).parents[2] / "captures").glob("opencode-*"))


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_request_and_label_agrees_with_the_providers_log(name: str) -> None:
    assert read_manifest(FOLDER / name).changed() == []
    report = check.check(FOLDER / name)
    assert report.problems == []
    found, true = report.counts["labels that are right"]
    assert found == true == report.counts["requests"][0] > 5
    assert report.counts["refusals"][0] == report.refused["vm"] > 0


def changed(tmp_path: Path, **values: Any) -> Path:
    """A copy in which the provider says something else of its last request."""
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / "opencode-own-title", folder)
    events = [json.loads(line) for line in (folder / "provider.jsonl").read_text().splitlines()]
    last = next(each for each in reversed(events) if each["event"] == "request")
    last |= values
    (folder / "provider.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return folder


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"refused": "concurrency", "others": []}, "called accepted, was refused"),
        ({"name": "host-key-9"}, "called the vm's, was the host's"),
    ],
)
def test_what_differs_is_told(tmp_path: Path, values: dict[str, Any], problem: str) -> None:
    assert any(problem in each for each in check.check(changed(tmp_path, **values)).problems)


def test_a_request_that_is_missing_is_told(tmp_path: Path) -> None:
    folder = changed(tmp_path)
    lines = (folder / "provider.jsonl").read_text().splitlines(keepends=True)
    (folder / "provider.jsonl").write_text(
        "".join(line for line in lines if '"event": "request"' not in line or '"request": 3' not in line)
    )
    assert any("requests: 6 found, 5 true" in each for each in check.check(folder).problems)


def test_titles_are_found_and_their_fix_takes_the_refusals() -> None:
    analysis = netlens.analyze(FOLDER / "opencode-long-titles")
    requests = Truth(FOLDER / "opencode-long-titles").requests
    fixes = {fix.id: fix for fix in analysis.fixes}
    assert f"{sum(each['kind'] == 'title' for each in requests)} requests look like titles" in fixes["no-title"].note


# --- proofs -----------------------------------------------------------------------------------------------------------------------------


def fix(name: str, command: str | None = None, program: str | None = None) -> Any:
    return SimpleNamespace(id=name, title=name, command=command, program=program)


def test_a_fix_is_done_by_the_command_that_is_shown(tmp_path: Path) -> None:
    loaded, options = scenario.load("opencode-same-ip"), Options(60)

    def done(which: Any) -> Any:
        return prove.applied(loaded, options, which, tmp_path)

    off = "OPENCODE_CONFIG_CONTENT='{\"agent\": {}}' opencode"
    assert {each["command"] for each in done(fix("no-title", off))[0].programs} == {off}
    assert [each["side"] for each in done(fix("quiet-host", "sudo lsof"))[0].programs] == ["vm"]
    assert done(fix("bypass", "sshuttle --dns -r USER@HOST 0/0 -x api.z.ai:443"))[0].path["excludes"] == ["api.z.ai:443"]
    shared, changed_options = done(fix("stagger", "haproxy -f queue.cfg", "BASE=http://192.168.64.1:8900/x opencode"))
    assert [(each["side"], each["command"]) for each in shared.programs] == [
        ("vm", "BASE=http://192.168.64.1:8900/x opencode"),
        ("host", "BASE=http://127.0.0.1:8900/x opencode"),
    ]
    assert changed_options.services == (("host", "haproxy -f queue.cfg"),)
    assert done(fix("other-provider", "opencode --model PROVIDER/MODEL")) is None
    assert done(fix("ask-provider")) is None
    stand_in = scenario.load("same-nat-ip-sshuttle")
    assert prove.applied(stand_in, options, fix("cap-1", off), tmp_path) is None  # no command starts its program
    assert prove.applied(stand_in, options, fix("quiet-host", "sudo lsof"), tmp_path) is not None


def test_what_cannot_be_proven_is_said(tmp_path: Path) -> None:
    loaded, said = scenario.load("same-nat-ip-sshuttle"), list[str]()
    shutil.copytree(CAPTURES / "same-nat-ip-sshuttle", tmp_path / "same-nat-ip-sshuttle")
    with pytest.raises(LabError, match=r"same-nat-ip-sshuttle: its analysis does not offer nonsense, but .*quiet-host"):
        prove.prove(loaded, tmp_path, Options(60), said.append, ["nonsense"])
    assert prove.prove(loaded, tmp_path, Options(60), said.append, ["cap-1"]) == []
    assert said == ["cap-1: cannot be done here"]
    with (tmp_path / "same-nat-ip-sshuttle" / "vm-program.jsonl").open("a") as file:
        file.write('{"ns": 1, "event": "problem", "text": "the screen did not appear"}\n')
    with pytest.raises(LabError, match=r"had trouble, so it proves nothing.*the screen did not appear"):
        prove.prove(loaded, tmp_path, Options(60), said.append, ["cap-1"])
    shutil.copytree(CAPTURES / "healthy", tmp_path / "healthy")
    with pytest.raises(LabError, match=r"healthy: nothing was refused"):
        prove.prove(scenario.load("healthy"), tmp_path, Options(60), said.append)


def proof(predicted: int | None, before: int, after: int, prompts: tuple[int, int] = (10, 10)) -> prove.Proof:
    made = [prove.Seen(40, refused, prompts[k], 5.0 - k) for k, refused in enumerate((before, after))]
    return prove.Proof("opencode-own-title", "cap-1", "Limit", predicted, *made, "opencode")


@pytest.mark.parametrize(
    ("made", "holds"),
    [
        (proof(0, 9, 2), True),
        (proof(0, 9, 3), False),
        (proof(10, 40, 14), True),
        (proof(0, 9, 3, (10, 20)), True),
        (proof(None, 9, 3), None),
    ],
)
def test_when_a_prediction_holds(made: prove.Proof, holds: bool | None) -> None:
    assert made.holds is holds


def test_a_program_without_prompts_is_compared_by_what_was_accepted() -> None:
    made = proof(0, 10, 10, (0, 0))
    assert made.measured == 10
    longer = replace(made, after=replace(made.after, requests=70))
    assert longer.measured == 5


def test_a_range_is_told_and_the_number_is_judged(tmp_path: Path) -> None:
    made = replace(proof(8, 12, 1), at_best=0)
    assert (made.holds, made.in_range) == (False, True)
    (tmp_path / prove.NAME).write_text(json.dumps(prove.asdict(made)))
    page = prove.as_markdown(prove.read([tmp_path]))
    assert "| 12 of 40 | 0 to 8 | 1 (1 of 40) |" in page
    assert "| **no**, in range |" in page
    assert "0 of 1 predictions held; 1 of 1 were in their range" in page


def test_whether_the_fix_that_is_named_first_is_the_best() -> None:
    first, second = proof(0, 9, 3), replace(proof(2, 9, 0), fix="queue", place=2)
    assert prove.best_is_right([second, first]) == [False]
    assert prove.best_is_right([second, replace(first, after=second.after)]) == [True]
    assert prove.best_is_right([first, replace(second, seed=2)]) == [], "one alone is no rank"


def test_a_recording_with_a_fix_is_not_held_against_what_the_scenario_expects(tmp_path: Path) -> None:
    for name in ("zombie-excluded", "opencode-zombie"):
        shutil.copytree(CAPTURES / name, folder := tmp_path / name)
        manifest = folder / "manifest.toml"
        text = re.sub(r"(?m)^rejections = .*$", 'rejections = "both"', manifest.read_text())
        text = re.sub(r"(?m)^causes = .*$", 'causes = ["dns"]', text)
        manifest.write_text(text)
        assert check.check(folder).problems
        manifest.write_text(text.replace("[lab]\n", '[lab]\nfix = "bypass"\n'))
        report = check.check(folder)
        assert report.problems == []
        assert ", with bypass done): agrees" in check.as_text([report])


def test_what_sshuttle_looks_up_when_a_fix_excludes_a_name_is_not_the_programs(tmp_path: Path) -> None:
    shutil.copytree(CAPTURES / "zombie-excluded", folder := tmp_path / "r")
    journal = folder / "vm-program.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    *earlier, last = [line for line in lines if '"lookup"' in line]
    journal.write_text("".join(line for line in lines if line == last or '"lookup"' not in line))
    assert earlier
    assert any("vm lookups" in each for each in check.check(folder).problems)
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[lab]\n", '[lab]\nfix = "bypass"\n'))
    assert not any("vm lookups" in each for each in check.check(folder).problems)


def test_with_a_fix_done_the_limit_may_be_hardly_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CAPTURES / "opencode-zombie", folder := tmp_path / "r")
    manifest = folder / "manifest.toml"
    monkeypatch.setattr(Analysis, "limiter", property(lambda _: None))
    assert any(each.startswith("limiter: none") for each in check.check(folder).problems)
    manifest.write_text(manifest.read_text().replace("[lab]\n", '[lab]\nfix = "close-tails"\n'))
    assert check.check(folder).problems == []


def test_names_that_programs_look_up_exist() -> None:
    """opencode's own list of models, and where it looks for updates: a recording of it has no lookup that fails."""
    names = dict.fromkeys(lab_run.OTHER_SITES, "203.0.113.80")
    for name in ("models.opencode.ai", "api.github.com", "registry.npmjs.org"):
        assert dns.addresses(dns.answer(dns.query(7, name), names)) == ["203.0.113.80"]


def test_the_page_of_proofs(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / prove.NAME).write_text(json.dumps(prove.asdict(proof(0, 9, 3))))
    page = prove.as_markdown(prove.read([tmp_path]))
    assert "| opencode-own-title | 1 | cap-1 | 9 of 40 | 0 | 3 (3 of 40) | 5 s → 4 s | **no** |" in page
    assert "0 of 1 predictions held; 0 of 1 were in their range, by the same measure." in page
    assert "in 0 of 0 runs" in page


@pytest.mark.lab
def test_the_real_program_here(tmp_path: Path) -> None:
    """As short as can be: a few prompts, whose requests are all found and labelled. In 20 s some runs have five refusals, too few for a verdict."""
    if opencode.binary() is None:
        pytest.skip("opencode is not installed for the laboratory: netlens lab install opencode")
    from netlens.lab import run

    folder = run.run(scenario.load("opencode-own-title-nat"), tmp_path / "r", Options(seconds=45))
    report = check.check(folder)
    assert report.problems == []
    assert report.counts["requests"][0] > 0


# --- live ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [*(FOLDER / name for name in RECORDINGS), *BUNDLED], ids=lambda path: path.name)
def test_watch_shows_what_the_provider_has_in_flight_within_a_second(folder: Path) -> None:
    """Of each second the most at once, refused ones included, as the host sees it; the same as in the provider's log, at most a second earlier or later."""
    watched = opened(folder)
    held = [(each["first_ns"], Truth(folder).done[each["request"]]["ns"]) for each in Truth(folder).requests]
    assert watched
    for time_ns, now in watched:
        assert now in {at_once(held, time_ns + (k - 10) * SECOND // 10) for k in range(21)}


SECOND = 1_000_000_000


def at_once(held: list[tuple[int, int]], at: int) -> int:
    """The most in the second before ``at``."""
    times = [at - SECOND, *(begun for begun, _ in held if at - SECOND < begun <= at)]
    return max(sum(begun <= time < ended for begun, ended in held) for time in times)


def opened(folder: Path) -> list[tuple[int, int]]:
    """Per second (time by the host's clock, requests in flight) of ``netlens watch --replay``."""
    done = CliRunner().invoke(command, ["--replay", str(folder), "--api", "api.z.ai", "--json", "--speed", "0"], catch_exceptions=False)
    captures = [next(each for each in json.loads(line)["captures"] if each["side"] == "host") for line in done.stdout.splitlines()]
    return [(each["time_ns"], each["all"]["requests"]["now"]) for each in captures[:-1]]  # the last is the summary
