"""HTTP/2 clients whose fields hold a token that is said anew with each request, so that they are longer than those of others."""

from __future__ import annotations

from netlens.chains import streams
from netlens.chains.asked import long_fields, said_of_all
from netlens.chains.asked import said as read
from netlens.chains.streams import Connection
from tests.chains.test_streams import MS, OPENED, T0, Said, seen

JAVA: Said = [(2, 237), (3, -40), (4, 9), (5, -9)]


def found(*every: Said, over: int = 60_000) -> list[tuple[int, int] | None]:
    """As requests of a capture are counted."""
    connections = [Connection(said, T0 + over * MS, cut=True) for said in said_of_all([seen(each) for each in every])]
    return [None if one is None else (one.least, one.most) for one in streams.likely(connections, streams.NOTHING)]


def requests(n: int, size: int = 940) -> Said:
    """Fields, a body in a record of its own, and an answer in two."""
    out: Said = []
    for k in range(n):
        t = 10 + 1000 * k
        out += [(t, size + k % 3 - 1), (t + 1, 2400 + 71 * (k * 7 % 9)), (t + 90, -88), (t + 91, -(300 + 13 * (k * 5 % 7)))]
    return out


def test_fields_with_a_token_and_their_body_are_one_request() -> None:
    several = [[*JAVA, *requests(n)] for n in (1, 1, 19)]
    assert [len(long_fields(each)) for each in map(read, map(seen, several)) if each] == [0, 0, 1]
    for n, one in zip((1, 1, 19), found(*several), strict=True):
        assert one is not None
        assert n == one[0]
        assert n <= one[1] <= n + 1  # each was twice as many


def test_fields_as_long_as_others_are_left_alone() -> None:
    one = read(seen([*OPENED, *requests(10, 110)]))
    assert one is not None
    assert long_fields(one) == ()


def test_requests_of_one_size_at_once_are_no_fields() -> None:
    """Two workers of a load generator, each of whose requests is one write."""
    pairs: Said = [
        each for k in range(20) for each in ((10 + 400 * k, 843), (12 + 400 * k, 845), (60 + 400 * k, -346), (61 + 400 * k, -346))
    ]
    one = read(seen([*OPENED, *pairs]))
    assert one is not None
    assert long_fields(one) == ()


def test_bodies_of_any_size_in_two_pieces_are_no_fields() -> None:
    pieces: Said = [
        each for k in range(20) for each in ((10 + 400 * k, 700 + 97 * (k * 7 % 13)), (12 + 400 * k, 1845 + 31 * k), (60 + 400 * k, -346))
    ]
    one = read(seen([*OPENED, *pieces]))
    assert one is not None
    assert long_fields(one) == ()


def test_two_programs_with_tokens_of_their_own_on_a_connection() -> None:
    """A gateway sends what both ask on one connection; another holds one request of the second."""
    several = [each for k in range(16) for each in moved(requests(1, (940, 640)[k % 2]), 900 * k)]
    shared, other = [*JAVA, *several], [*JAVA, *requests(1, 720)]
    one = read(seen(shared))
    assert one is not None
    assert sorted(size // 10 for size in long_fields(one)) == [63, 93]
    for n, between in zip((16, 1), found(shared, other), strict=True):
        assert between is not None
        assert between[0] <= n <= between[1] <= n + 1


def test_what_lets_the_server_go_on_is_no_fields() -> None:
    """curl writes fields and body at once, and WINDOW_UPDATE for stream and connection before the last piece of each answer."""
    said: Said = []
    for k in range(12):
        t = 10 + 46 * k
        said += [(t, 1300 + 37 * (k * 5 % 7)), (t + 40, -16384), (t + 40, -47), (t + 41, -16384), (t + 41, -9), (t + 42, 26)]
        said += [(t + 43, -(5000 + 600 * (k * 3 % 5))), (t + 43, -9)]
    (between,) = found([*OPENED, *said])
    assert between == (12, 12)


def test_only_bodies_longer_than_a_frame_end_with_an_empty_one() -> None:
    """undici; the server ends each answer with one."""
    said: Said = []
    for k in range(20):
        t = 10 + 34 * k
        long = k >= 8
        said += [(t, 16384), (t, 2000 + 53 * k), (t + 8, 9)] if long else [(t, 1500 + 41 * k)]
        said += [(t + 1, -13), (t + 30, -190), (t + 31, -(170 + k * 7 % 40)), (t + 31, -9)]
    (between,) = found([*OPENED, *said])
    assert between == (20, 20)


def test_long_fields_may_differ_where_nothing_else_can_stand() -> None:
    """Of another path, with another field: behind an end of a body, or long after it."""
    said: Said = []
    for k in range(14):
        t = 10 + 400 * k
        fields = 985 if k == 5 else 1081 if k == 9 else 1053 + k % 2
        said += [
            (t, fields),
            (t + 1, 3100 + 71 * (k * 7 % 9)),
            (t + 1, 9),
            (t + 90, -190),
            (t + 91, -(300 + 13 * (k * 5 % 7))),
            (t + 91, -9),
        ]
    (between,) = found([*OPENED, *said])
    assert between == (14, 14)


def test_others_show_that_fields_stand_in_records_of_their_own() -> None:
    """As they do of most connections, though none there are as long as those of a connection with a single request."""
    apart = [[*OPENED, *ended(9, 90 + 3 * k, 2100)] for k in range(3)]
    at_once = [[*OPENED, *((10 + 400 * k, 900 + 31 * (k * 7 % 9)) for k in range(9))] for _ in range(3)]
    single: Said = [(2, 70), (3, -40), (10, 999), (10, 523), (10, 9), (60, -13), (90, -468), (90, -305)]
    for others, size in ((apart, 100), (at_once, 999)):
        *_, one = said_of_all([seen(each) for each in (*others, single)])
        assert one is not None
        assert one.mine[0].size == size  # as it is read


def test_the_first_fields_alone_may_be_as_long_as_those_of_others() -> None:
    """httpx with a token of another length on each connection, one of which has a request without a body among few."""
    few = [
        [(10, 503), (10, 531), (10, 9)],
        [(400, 438), (400, 704), (400, 9)],
        [(800, 429), (800, 934), (800, 9)],
        [(1200, 433)],
        [(1600, 429), (1600, 1093), (1600, 9)],
    ]
    answers = [[(400 * k + 90, -190), (400 * k + 91, -400 - k), (400 * k + 91, -9)] for k in range(5)]
    *_, one = said_of_all(
        [
            seen([*OPENED, *ended(9, 564, 2100)]),
            seen([*OPENED, *(each for pair in zip(few, answers, strict=True) for part in pair for each in part)]),
        ]
    )
    assert one is not None
    assert [r.size for r in one.mine if 400 <= r.size < 500] == []  # as they are read


def ended(n: int, fields: int, body: int) -> Said:
    """Fields, a body, its end, and an answer in two, one after the other."""
    out: Said = []
    for k in range(n):
        t = 10 + 400 * k
        out += [(t, fields + 24 * (k == 0)), (t + 1, body + 71 * (k * 7 % 9)), (t + 1, 9)]
        out += [(t + 90, -190), (t + 91, -(300 + 13 * (k * 5 % 7))), (t + 91, -9)]
    return out


def test_what_stands_behind_fields_and_has_no_end_is_fields() -> None:
    """Of another path, shortly behind a request without a body: where each body has an end, it is none."""
    said = ended(14, 1045, 3100)
    for k, pair in enumerate([[], [(7205, 973)], [], []]):
        t = 6800 + 400 * k
        said += [(t, 1041), *pair, *[(t + 90, -190), (t + 91, -400 - k), (t + 91, -9)] * (1 + bool(pair))]
    (between,) = found([*OPENED, *said])
    assert between is not None
    assert between[0] <= 19 <= between[1] <= 20


def test_requests_without_a_body_as_long_as_others_with_one() -> None:
    """got: fields and body at once, and an empty frame; the fields hold a token."""
    said: Said = []
    for k in range(18):
        t = 10 + 44 * k
        said += [(t, 357 - k % 2)] if k % 3 == 1 else [(t, 913 + 83 * (k * 5 % 7)), (t, 9)]
        said += [(t + 20, -(200 + k % 5)), (t + 21, -(170 + k * 7 % 40)), (t + 21, -9), (t + 23, 13)]
    (between,) = found([*OPENED, *said])
    assert between == (18, 18)


def test_what_was_answered_is_reset_behind_an_end() -> None:
    """got: fields and body at once, an empty frame, and RST_STREAM for the answer before, at times in one record; and requests without a body."""
    said: Said = []
    for k in range(18):
        t = 10 + 300 * k
        if k % 6 == 5:
            said += [(t, 147)]
        elif k % 4 == 3:
            said += [(t, 5400 + 113 * k), (t, 22)]
        else:
            said += [(t, 5400 + 113 * k), (t, 9)]
        said += [(t + 80, -(200 + k % 5)), (t + 81, -(170 + k * 7 % 40)), (t + 81, -9)]
        said += [] if k % 4 == 2 else [(t + 83, 13)]
    (between,) = found([*OPENED, *said])
    assert between is not None
    assert between[0] <= 18 <= between[1] <= 19


def moved(said: Said, ms: int) -> Said:
    return [(at + ms, size) for at, size in said]
