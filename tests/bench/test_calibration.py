"""The calibration in small: the verdict is right on a few dozen situations, and the count of mistakes would notice if it were not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netlens.lenses.refused.weighing import weigh
from tests.bench import calibration
from tests.bench.calibration import CAUSES, FIRST_SEED, Outcome, histogram, ks_p, ks_uniform, outcome, page, rate, wilson
from tests.bench.situations import FAMILIES, Drawn, draw

SEEDS = range(FIRST_SEED["tune"], FIRST_SEED["tune"] + 60)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return calibration.run(SEEDS, jobs=1)


def said(outcomes: list[Outcome], verdict: str) -> list[Outcome]:
    """As if every verdict had been the same."""
    return [replace(o, verdicts=dict.fromkeys(CAUSES, verdict), named=CAUSES[0] if verdict == "supported" else None) for o in outcomes]


def test_the_verdict_is_right_on_a_few_dozen(outcomes: list[Outcome]) -> None:
    right, wrong = sum(len(o.right) for o in outcomes), sum(len(o.wrong) for o in outcomes)
    assert len({o.family for o in outcomes}) > 15
    assert sum(o.refusals > 0 for o in outcomes) > 40
    assert len({cause for o in outcomes for cause in o.right}) >= 4
    assert right >= 15
    assert wrong <= 2, [(o.family, o.seed, o.wrong) for o in outcomes if o.wrong]
    assert sum(o.limit_value == o.true_limit for o in outcomes if o.limit_value is not None) >= 10


def test_a_verdict_that_says_always_the_same_is_noticed(outcomes: list[Outcome]) -> None:
    always, never = said(outcomes, "supported"), said(outcomes, "refuted")
    assert sum(bool(o.wrong) for o in always) == len(outcomes)
    assert sum(len(o.right) for o in always) == sum(len(o.sure) for o in outcomes) == sum(len(o.denied) for o in never) > 30
    assert not any(o.wrong or o.right for o in never)


def test_borderline_is_neither_right_nor_wrong() -> None:
    some = replace(
        calibration.run_one(SEEDS[0]),
        causes=frozenset({"dns"}),
        borderline=frozenset({"dns", "keep-alive"}),
        verdicts=dict.fromkeys(CAUSES, "supported"),
    )
    assert some.sure == frozenset()
    assert not some.right
    assert set(some.wrong) == set(CAUSES) - {"dns", "keep-alive"}


def test_a_cause_without_verdict_is_an_error() -> None:
    drawn = draw(SEEDS[0])
    weighed = weigh(drawn.situation, permutations=99)
    with pytest.raises(ValueError, match="verdicts on"):
        outcome(drawn, replace(weighed, verdicts=weighed.verdicts[1:]))


def test_an_outcome_takes_truth_and_verdict_from_their_places() -> None:
    drawn: Drawn = draw(2, "own-key")
    weighed = weigh(drawn.situation, permutations=99)
    found = outcome(drawn, weighed)
    assert (found.causes, found.true_limit, found.refusals) == (drawn.truth.causes, drawn.truth.limit, drawn.n_rejections)
    assert found.verdicts == {v.id: v.verdict for v in weighed.verdicts if v.id in CAUSES}
    assert set(found.p_raw) == {fit.rule.name for fit in weighed.weighing.inference.fits}
    assert not found.none
    by_chance = draw(2, "overload-bursts")
    found = outcome(by_chance, weigh(by_chance.situation, permutations=99))
    assert found.none
    assert not found.steady


def test_the_page_tells_all(outcomes: list[Outcome]) -> None:
    text = page(outcomes, "tune")
    for heading in ("How often it is wrong", "True cause by the cause that is named", "p-values", "How many refusals", "The limit"):
        assert f"## {heading}" in text
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("| situations in which a cause is supported that is none"))
    assert f"{sum(bool(o.wrong) for o in outcomes)} of {len(outcomes)} " in row
    confusion = [line.split("|") for line in lines[lines.index("## True cause by the cause that is named") :][4 : 4 + 2 + len(CAUSES) + 4]]
    assert sum(int(cells[-2]) for cells in confusion[2:]) == len(outcomes)
    assert all(f"`{o.family}`" in text for o in outcomes)
    everything_wrong = page(said(outcomes, "supported"), "tune")
    assert all(f"| {o.seed} |" in everything_wrong for o in outcomes)


def test_two_processes_find_what_one_finds() -> None:
    seeds = range(4)
    assert calibration.run(seeds, "own-key", jobs=2) == calibration.run(seeds, "own-key", jobs=1)


def test_seeds_for_tuning_are_not_reported() -> None:
    assert FIRST_SEED["report"] - FIRST_SEED["tune"] >= 100 * calibration.COUNT


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PAGE", tmp_path / "calibration.md")
    calibration.main(["--seeds", "report", "--count", "3", "--jobs", "1"])
    assert "3 situations, seeds 2,000,000 to 2,000,002" in capsys.readouterr().out
    assert not calibration.PAGE.exists()  # three are no calibration
    calibration.main(["--count", "3", "--jobs", "1", "--family", "zombies", "--out", str(tmp_path / "some.md")])
    assert FAMILIES["zombies"].__doc__ in (tmp_path / "some.md").read_text(encoding="utf-8")
    capsys.readouterr()
    calibration.main(["--show", "5", "--family", "same-nat-ip"])
    shown = capsys.readouterr().out
    assert shown.startswith("family same-nat-ip, seed 5")
    assert "same-nat-ip: " in shown.partition("verdicts:")[2]


# --- arithmetic -----------------------------------------------------------------------------------------------------------------------------


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert rate(1, 29).startswith("1 of 29 (3.4 %, 0.6 to 17.2 %)")


def test_distance_from_the_uniform_distribution() -> None:
    assert ks_uniform([(k + 0.5) / 100 for k in range(100)]) == pytest.approx((0.005, 0.005))
    assert ks_uniform([0.0] * 10) == (1.0, 1.0)
    either, excess = ks_uniform([1.0] * 10)
    assert (either, excess) == (1.0, 0.0)
    assert ks_uniform([]) == (0.0, 0.0)
    # critical values of n = 100 at 5 % and 1 %
    assert ks_p(0.1340, 100) == pytest.approx(0.05, abs=0.003)
    assert ks_p(0.1608, 100) == pytest.approx(0.01, abs=0.001)
    assert ks_p(0.01, 100) == 1.0


def test_tenths() -> None:
    assert histogram([0.0005, 0.05, 0.1, 0.1001, 0.95, 1.0]) == [3, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert histogram([]) == [0] * 10
