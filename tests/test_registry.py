"""A file in a folder is a member; what is none is refused by name."""

from __future__ import annotations

import sys
from typing import Literal, Protocol

import pytest

from netlens.registry import members

GOOD = '"""What it is.\n\nClaim: something.\n"""\n\nID = "good-one"\nLETTER = "A"\nGROUP = "time"\nRANK = 1\n\n\ndef judge(facts):\n    return facts\n'


class Kind(Protocol):
    ID: str
    LETTER: str
    GROUP: Literal["names", "time"]
    RANK: int | float
    QUIET: bool = True

    def judge(self, facts: object) -> object: ...


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    """A function that makes a package of the files given and loads its members."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = iter(range(100))

    def load(**files: str):
        package = f"members_{abs(hash(request.node.name))}_{next(names)}"
        (tmp_path / package).mkdir()
        for name, text in {"__init__": "", **files}.items():
            (tmp_path / package / f"{name}.py").write_text(text)
        return members(package, Kind, ("Claim",), ("ID", "LETTER"))

    yield load
    for name in [n for n in sys.modules if n.startswith("members_")]:
        del sys.modules[name]


def test_a_file_is_a_member_and_one_with_an_underscore_is_none(folder):
    found = folder(good_one=GOOD, another=GOOD.replace("good-one", "another").replace('"A"', '"B"'), _shared="x = 1\n")
    assert [m.ID for m in found] == ["another", "good-one"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("good-one", "other"), "good_one.py: ID is 'other', it must be 'good-one'"),
        (('LETTER = "A"', ""), "good_one.py: LETTER is None, it must be of type str"),
        (("RANK = 1", "RANK = True"), "good_one.py: RANK is True, it must be of type int or float"),
        (('"time"', '"space"'), "good_one.py: GROUP is 'space', it must be one of 'names', 'time'"),
        (("Claim:", "Claims:"), "good_one.py: its docstring has no line that begins with Claim:"),
        (("def judge", "def judged"), "good_one.py has no function judge"),
        (("(facts)", "(data)"), "good_one.py: judge takes (data), it must take (facts)"),
        ((GOOD, "x = 1\n"), "good_one.py has no docstring"),
    ],
)
def test_a_malformed_one_is_refused_by_name(folder, change, said):
    with pytest.raises(TypeError) as caught:
        folder(good_one=GOOD.replace(*change))
    assert str(caught.value).partition("/")[2] == said


def test_the_id_and_what_the_kind_gives_a_value_may_be_left_out(folder):
    assert [m.QUIET for m in folder(good_one=GOOD)] == [True]
    assert [m.ID for m in folder(good_one=GOOD.replace('ID = "good-one"\n', ""))] == ["good-one"]
    assert [m.QUIET for m in folder(good_one=GOOD + "QUIET = False\n")] == [False]
    with pytest.raises(TypeError, match="QUIET is 1, it must be of type bool"):
        folder(good_one=GOOD + "QUIET = 1\n")


def test_two_with_one_letter_are_refused_by_name(folder):
    with pytest.raises(TypeError, match=r"good_one.py and members_.*another.py have the same LETTER: 'A'"):
        folder(good_one=GOOD, another=GOOD.replace("good-one", "another"))
