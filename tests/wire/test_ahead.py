"""Items made in a thread: all of them, in order, whatever goes together; errors in their place; nothing is left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from netlens.wire.ahead import ahead


@pytest.mark.parametrize("together", [1, 2, 4, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 4, 29])
def test_all_items_in_order(together: int, count: int) -> None:
    assert list(ahead(iter(range(count)), 2, together=together)) == list(range(count))


@pytest.mark.parametrize("together", [1, 4])
def test_no_more_are_made_than_said(together: int) -> None:
    made = []

    def items() -> Iterator[int]:
        for i in range(60):
            made.append(i)
            yield i

    for used in ahead(items(), 1, together=together):
        assert len(made) <= used // together * together + 3 * together + 1  # the lot in use, one that waits, one that is made


@pytest.mark.parametrize("together", [1, 4])
def test_an_error_comes_after_what_was_made_before_it(together: int) -> None:
    def items() -> Iterator[int]:
        yield from range(6)
        raise ValueError("no more")

    made = ahead(items(), 1, together=together)
    assert [next(made) for _ in range(6)] == list(range(6))
    with pytest.raises(ValueError, match="no more"):
        next(made)


@pytest.mark.parametrize("together", [1, 4])
def test_who_stops_early_leaves_no_thread(together: int) -> None:
    closed, cancelled = [], []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    some = ahead(items(), 1, lambda: cancelled.append(True), together)
    assert next(some) == 0
    some.close()
    assert closed == cancelled == [True]
    assert not [t for t in threading.enumerate() if t.name == "netlens-decoder"]
