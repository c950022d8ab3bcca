"""Work on several threads: results in order, errors not lost."""

from __future__ import annotations

import itertools
import threading

import pytest

from netlens import threads as module
from netlens.threads import in_parallel, slices


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_results_are_in_order(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(module, "cores", lambda: cores)
    seen: list[str] = []

    def job(k: int) -> int:
        seen.append(threading.current_thread().name)
        return k * k

    assert in_parallel(*(lambda k=k: job(k) for k in range(5))) == [0, 1, 4, 9, 16]
    assert (len(set(seen)) > 1) == (cores > 1)
    assert in_parallel() == []


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("at", [0, 1])
def test_an_error_in_any_of_them_is_raised(monkeypatch: pytest.MonkeyPatch, cores: int, at: int) -> None:
    monkeypatch.setattr(module, "cores", lambda: cores)

    def job(k: int) -> None:
        if k == at:
            raise ValueError(f"job {k}")

    with pytest.raises(ValueError, match=f"job {at}"):
        in_parallel(lambda: job(0), lambda: job(1))


def test_shares_cover_all_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    for n in (0, 1, 9, 10, 29, 30, 1000):
        parts = slices(n, 10)
        assert parts[0][0] == 0
        assert parts[-1][1] == n
        assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
        assert len(parts) == max(min(3, n // 10), 1)
