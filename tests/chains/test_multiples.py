"""How long requests without a body are, by what was written at once."""

import numpy as np
import pytest

from netlens.chains import bare, streams
from netlens.chains.asked import said as read
from tests.chains.test_streams import Said, connection, refused, seen

GO_OPENED: Said = [(2, 70), (3, -40), (4, 9), (4, -9)]


def number(known: bare.Bare, size: int) -> int:
    many = known.many(size)
    return 1 + max(range(len(many)), key=many.__getitem__)


def test_writes_of_one_size_are_a_request_each() -> None:
    known = bare.weigh([41] * 30)[0]
    assert known.many(41)[0] > 0.99


def test_multiples_of_a_size_are_as_many_requests() -> None:
    """As Node and undici write what waits."""
    rng = np.random.default_rng(4)
    counts = [*([1] * 10), *rng.integers(1, 5, 20).tolist()]
    sizes = [int(64 * n + rng.integers(-3, 4, n).sum()) for n in counts]
    known = bare.weigh(sizes)[0]
    assert [number(known, size) for size in sizes] == counts


def test_where_none_is_alone_both_may_be() -> None:
    """Writes of 130 and 190 bytes are two and three requests, or one each, with a small body."""
    ways = bare.weigh([132, 193, 125, 191, 124, 253, 129, 130, 195])
    assert [round(number(each, 130)) for each in sorted(ways, key=lambda each: number(each, 130))] == [1, 2]


def test_requests_of_any_sizes_are_one_each() -> None:
    known = bare.weigh([114, 140, 171, 188, 222, 260, 305, 350, 410, 470])[0]
    assert {number(known, size) for size in (114, 188, 260, 410)} == {1}


def test_fields_as_long_as_five_window_updates() -> None:
    known = bare.weigh([64, 65, 66, 58, 64, 65, 65, 57, 64, 65, 66])[0]
    assert known.perhaps(65) > 0.9


def test_pairs_of_window_updates_beside_requests_nearly_as_long() -> None:
    """Go sends such a pair with each piece of a large answer that it has read."""
    known = bare.weigh([38, 36, 37, 31, 30, 37, 38, 39, 32, *[26] * 60])[0]
    assert known.perhaps(26) < 0.1


def test_nothing_is_known_where_nothing_is_short() -> None:
    assert bare.weigh([900, 1200, 3000, 13]) == []


@pytest.mark.parametrize("every", [5, 40])
def test_requests_without_a_body_that_are_answered_at_once(every: int) -> None:
    """A load generator; its answers' heads are as long as WINDOW_UPDATEs, or an acknowledgment with some, which nothing asks for."""
    asked: Said = [
        each for k in range(30) for each in ((10 + every * k, 41), (11 + every * k, -(26, 35, 30)[k % 3]), (11 + every * k, -146))
    ]
    (found,) = streams.likely([connection([*GO_OPENED, *asked], 30 * every + 100)], streams.NOTHING)
    assert found is not None
    assert found.least <= 30 <= found.most <= 32
    assert found.least >= 28


def test_what_a_server_says_to_requests_without_a_body_is_no_control() -> None:
    asked: Said = [each for k in range(20) for each in ((1000 + 40 * k, 41), (1001 + 40 * k, -35))]
    said = read(seen([*GO_OPENED, *refused(20), *[(100 + k, -90) for k in range(12)], *asked]))
    assert said is not None
    assert sum(r.size == 35 for r in said.answers) == 20


def test_goaway_with_words_behind_the_only_request() -> None:
    """As Java ends an idle connection."""
    said = read(seen([(2, 237), (2, 2342), (3, -40), (4, 9), (5, -9), (60, -88), (80, -190), (200, -176), (1400, 34)]))
    assert said is not None
    assert [r.size for r in said.mine] == [237, 2342, 9]


def test_fields_of_154_bytes_have_a_record_of_their_own() -> None:
    """Java indexes few of them."""
    asked: Said = [
        each for k in range(1, 16) for each in ((1000 * k, 154 - k % 3), (1000 * k + 2, 3000 + 100 * k), *refused(1000 * k + 20))
    ]
    (found,) = streams.likely([connection([(2, 82), (3, -40), (4, 9), (5, -9), *asked], 20_000)], streams.NOTHING)
    assert found is not None
    assert (found.least, found.most) == (15, 15)
