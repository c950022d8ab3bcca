"""The folder of causes: each is found, in the order of the report, and a malformed one is refused by name."""

from __future__ import annotations

from types import ModuleType

import pytest

from netlens import registry
from netlens.lenses.refused import causes


def test_causes_come_in_the_order_of_the_report() -> None:
    assert "".join(cause.LETTER for cause in causes.all_causes())[:7] == "ABCDEGF"  # later ones follow


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"LETTER": None}, "LETTER is None"),
        ({"CLAIM": ""}, "CLAIM is ''"),
        ({"__doc__": "A cause.\n\nClaim: it."}, "begins with Refuted:"),
        ({"judge": None}, "no function judge"),
        ({"judge": lambda situation: situation}, r"judge takes \(situation\), it must take \(weighing\)"),
    ],
)
def test_a_malformed_cause_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    made = ModuleType("netlens.lenses.refused.causes.moon", "The moon.\n\nClaim: it.\nRefuted: no.\nUndecided: clouds.\nSource: lore.")
    good = {"ID": "moon", "LETTER": "M", "CLAIM": "The moon.", "RANK": 9, "judge": lambda weighing: weighing}
    for name, value in {**good, **changes}.items():
        setattr(made, name, value)
    with pytest.raises(TypeError, match=f"causes/moon.py.*{said}"):
        registry.check(made, causes.Cause, causes.SECTIONS)
