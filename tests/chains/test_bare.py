"""HTTP/2 requests without a body, streams that the client breaks off, and heads as short as frames of control: exact, or within an interval."""

from __future__ import annotations

import pytest

from netlens.chains import bare, grammar
from netlens.chains.asked import said as read
from netlens.chains.explained import forward_backward, learning
from netlens.chains.explained.model import Model
from netlens.chains.explained.numbers import by_client
from netlens.chains.explained.talks import Talk
from tests.chains.test_endings import ends_hidden
from tests.chains.test_explained import Times, fits, likely, weighed
from tests.chains.test_streams import MS, OPENED, T0, Said, seen, streamed, together

GO: Said = [(2, 70), (3, -40), (4, -9), (5, 9)]
UPDATE, RESET, PING = 13, 13, 17


def numbers(*conversations: Said, of: int = -1) -> dict[int, float]:
    """Probability of each number of requests of one of the conversations, by what the client wrote."""
    those = [said for each in conversations if (said := read(seen(each))) is not None]
    told = grammar.told(those[of], 0, grammar.Sizes(those))
    return by_client(told, None)


def mixed(with_body: tuple[int, ...], without: tuple[int, ...], opened: Said, rounds: int = 12, first: int = 110) -> tuple[Said, Times]:
    """Every third request has no body: its fields, and an answer; else fields, body and a stream. ``without``: sizes in turn."""
    parts, truth = [opened], []
    for k in range(rounds):
        t = 3000 * k + 10
        longer = first if k == 0 else 0
        if k % 3 == 1:
            parts += [[(t, without[k // 3 % len(without)])], [(t + 300, -90), (t + 300, -400 - 31 * k), (t + 300, -9)]]
            truth.append((t, t + 300))
        else:
            head, *rest = with_body
            parts += [[(t, max(head, longer)), (t, 700 + 83 * k), *((t + 1, size) for size in rest)], streamed(t + 200, t + 1700)]
            truth.append((t + len(rest), t + 1700))  # sent with its end
    return together(*parts), truth


@pytest.mark.parametrize(
    ("with_body", "without", "opened"),
    [((73, 9), (90, 89), OPENED), ((22,), (40, 40, 39, 40), GO), ((75,), (77, 76), GO)],
    ids=["httpx", "Go, one as long as three WINDOW_UPDATEs", "reqwest, as long as fields with a body"],
)
def test_fields_that_no_body_follows_are_a_request(with_body: tuple[int, ...], without: tuple[int, ...], opened: Said) -> None:
    said, truth = mixed(with_body, without, opened)
    found = numbers(said)
    assert max(found, key=lambda n: found[n]) == len(truth)
    assert fits(likely(said)[0], truth)


def test_what_is_as_long_as_ping_and_is_not_answered_so_is_a_request() -> None:
    """Go's, all of whose fields are in the table; then others may be as long as two WINDOW_UPDATEs, even at once behind what the server says."""
    said: Said = [*GO, (6, 86), (6, 900), (80, -90), (81, -433)]
    for k in range(1, 16):
        t = 10 + 300 * k
        said += [(t, 26 if k == 2 else 17)] if k % 3 == 2 else [(t, 23), (t, 2700 + 83 * k)]
        said += [(t + 50, -(2300 + 31 * k)), (t + 299, -13)]
    pings: Said = [(10 + 300 * k + 20, -17) for k in range(1, 16) if k % 3 == 2 and k > 2]
    found, answered = numbers(said), numbers(together(said, pings))
    assert found[16] > 0.2
    assert sum(p for n, p in found.items() if n < 15) < 0.05
    assert max(answered, key=lambda n: answered[n]) == 11
    assert found[15] > 0.2  # the other may be control


def test_long_behind_what_the_server_says_it_is_hardly_control() -> None:
    said: Said = [*GO, *((6 + 400 * k, size) for k in range(6) for size in (22 + 64 * (k == 0), 900))]
    answers: Said = [(300 + 400 * k, -1442) for k in range(6)]
    soon, late = (numbers(together(said, answers, [(2300 + ms, 26), (2600, -1442)])) for ms in (3, 80))
    assert late.get(7, 0.0) > 0.2
    assert soon.get(7, 0.0) < 0.1


def test_where_nothing_else_shows_it_one_as_long_as_frames_of_control_is_told_by_its_answer() -> None:
    plain, truth = mixed((22,), (40,), GO)
    said = together(plain, [(60_000, 39), (60_300, -95), (60_300, -433), (60_300, -9)])
    fewer = numbers(together(plain, [(60_000, 39)]))
    assert fewer[len(truth)] > 0.1 - 1e-9  # it is a request with at most 0.9
    assert fewer[len(truth) + 1] > 0.1
    assert fits(likely(said)[0], [*truth, (60_000, 60_300)])


def test_the_first_body_may_come_later_and_its_fields_are_longer() -> None:
    """The table of HPACK has its fields only then."""
    said: Said = [*OPENED, (10, 132)]
    for k in range(6):
        said += [(1000 * k + 500, 87 if k == 0 else 72), (1000 * k + 501, 900 + 31 * k), (1000 * k + 502, 9), (1000 * k + 900, 89)]
    found = numbers(said)
    assert found[13] > 0.7  # of 87 bytes, as 9 and six WINDOW_UPDATEs


def test_a_program_that_asks_again_has_fields_of_a_second_size() -> None:
    """openai's packages count what they tried again in a field of their own."""
    said: Said = [*OPENED]
    for k in range(20):
        said += [(200 * k + 10, 110 if k == 0 else 77 if k % 3 == 2 else 82), (200 * k + 10, 5000 + 431 * k), (200 * k + 11, 9)]
    assert numbers(said)[20] > 0.95


def at_once(rounds: int = 14) -> tuple[Said, Times]:
    """curl: fields and body in one write, of every third the fields alone, and two WINDOW_UPDATEs as an answer begins."""
    parts, truth = [OPENED], []
    for k in range(rounds):
        t = 2000 * k + 10
        parts.append([(t, 805 if k == 0 else 67 + k % 2 if k % 3 == 1 else 690 + k), (t + 200, -40)])
        parts.append(
            [(t + 200, 2 * UPDATE), *((t + 210 + 20 * i, -180 - (7 * i + k) % 6) for i in range(12)), (t + 450, -357), (t + 450, -9)]
        )
        truth.append((t, t + 450))
    return together(*parts), truth


def test_a_short_write_by_itself_is_a_request() -> None:
    said, truth = at_once()
    found = numbers(said)
    assert max(found, key=lambda n: found[n]) == len(truth)
    assert fits(likely(said)[0], truth)


def test_updates_before_writes_are_no_fields() -> None:
    """curl acknowledges what an answer had, and asks for more at once: both look like fields and a body, seldom."""
    said: Said = [*OPENED]
    for k in range(12):
        said += [
            (1000 * k + 10, 700 + k),
            (1000 * k + 300, -40),
            (1000 * k + 300, 2 * UPDATE),
            (1000 * k + 600, -300),
            (1000 * k + 600, -9),
        ]
        said += [(1000 * k + 990, 2 * UPDATE)] if k % 4 == 0 else []
    one = read(seen(said))
    assert one is not None
    assert grammar.Sizes([one]).fields == 0
    asks: Said = [*OPENED]  # and a request without a body, in turn
    for k in range(20):
        asks += [(1000 * k + 10, 67), *([(1000 * k + 30, 700 + k)] if k % 2 else []), (1000 * k + 600, -300), (1000 * k + 600, -9)]
    assert (other := read(seen(asks))) is not None
    assert grammar.Sizes([other]).fields == 0
    assert grammar.Sizes([r for each in (mixed((22,), (40,), GO)[0],) if (r := read(seen(each))) is not None]).fields == 22


def broken(rounds: int = 16) -> tuple[Said, Times]:
    """Node: every fourth request is broken off, half of these before anything was answered, 40 ms behind the latest piece of another stream."""
    parts, truth = [OPENED], []
    for k in range(rounds):
        t = 3000 * k + 10
        parts += [[(t, 1400 + 77 * k)], ends_hidden(streamed(t + 300, t + 2100))]
        truth.append((t, t + 2100))
        if k % 4 == 3:
            begun = t + 2150
            parts.append(
                [(begun, 1500 + 31 * k), *([(begun + 200, -127), (begun + 230, -130)] if k % 8 == 3 else []), (begun + 500, RESET)]
            )
            truth.append((begun, begun + 500))
    return together(*parts), truth


def test_what_the_client_breaks_off_is_a_request_that_ends_there() -> None:
    said, truth = broken()
    found = weighed(said)[0]
    assert found is not None
    assert found.least <= len(truth) <= found.most
    assert len(found.streams) == len(truth)
    ended = sorted((each.end_ns - T0) // MS for each in found.streams)
    assert sum(abs(a - b) <= 60 for a, b in zip(ended, sorted(end for _, end in truth), strict=True)) >= len(truth) - 2


def test_what_was_broken_off_has_no_answer_of_its_own() -> None:
    said, truth = broken()
    found = weighed(said)[0]
    assert found is not None
    ends = [end for begin, end in truth if end - begin == 500]
    left = [each for each in found.streams if any(abs((each.end_ns - T0) // MS - end) <= 1 for end in ends)]
    assert len(left) >= len(ends) - 2
    assert all(each.unsure for each in left)


def test_rst_stream_is_told_from_updates_that_answer_at_once() -> None:
    model = Model(shown=False)
    assert model.breaks(False) > model.breaks(True)
    model.broken[1][1] = 100.0
    assert model.breaks(False) < 0.01
    said = read(seen([*OPENED, (10, 900), (400, -127), (400, UPDATE), (500, -130), (500, UPDATE), (700, -23), (900, RESET)]))
    assert said is not None
    talk = Talk(said, T0 + 1000 * MS, False, {})
    assert [(r.ts - T0) // MS for r, _ in talk.resets(1)] == [900]
    assert len(talk.resets(9)) == 3


@pytest.mark.parametrize("pinged", [False, True])
def test_heads_as_long_as_ping_are_heads_where_nothing_was_pinged(pinged: bool) -> None:
    """Go's heads of answers without a length; PING is answered at once (RFC 9113 6.7)."""
    said: Said = [*OPENED, (10, 370), (300, -51), (300, -1858)]
    said += [(2000, PING), (2010, -PING)] if pinged else [(2010, -PING)]
    said += [(2011, -1846), (4000, -PING), (4000, PING)]  # both say GOAWAY
    one = read(seen(said))
    assert one is not None
    assert [r.size for r in one.answers] == [51, 1858, 1846]
    assert [r.size for r in one.updates] == [PING] * (not pinged)


def test_a_first_write_that_may_hold_more_is_not_counted_as_one() -> None:
    """nghttp asks for all in its first write; none of it has a body, and of three answers only one shows an end."""

    def of(number: int, k: int) -> Said:
        heads = [(300 + 40 * i, -12 - 40 * (i == 0)) for i in range(number)]
        bodies = [(310 + 40 * i, -500 - (31 * i + 7 * k) % 90) for i in range(number)]
        return together([(2, 370 if number > 1 else 150), (3, -40), (4, 9)], heads, bodies, [(310 + 40 * number, -9)])

    found = weighed(*[of(3, k) for k in range(12)])
    assert all(each is None or each.most > 1 for each in found)


def test_learning_leaves_time_for_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    said, truth = broken(40)
    monkeypatch.setattr(forward_backward, "MOST_WEIGHED", 180_000)
    monkeypatch.setattr(learning, "MOST_WEIGHED", 180_000)
    monkeypatch.setattr(learning, "FOR_A_ROUND", 15_000)
    monkeypatch.setattr(learning, "FOR_ANOTHER", 15_000)
    forwarded = []
    forward = forward_backward.forward
    monkeypatch.setattr(forward_backward, "forward", lambda *args: forwarded.append(forward(*args)) or forwarded[-1])
    found = weighed(said, said, said)
    assert all(each is not None for each in forwarded[-3:])
    assert all(each is not None and each.least <= len(truth) <= each.most for each in found)


def test_requests_without_a_body_alone() -> None:
    """A check that asks one after the other, of a client that nothing else is known of."""
    said: Said = [*OPENED]
    truth = []
    for k in range(40):
        said += [(500 * k + 10, 130 if k == 0 else 70 + k % 3), (500 * k + 50, -60), (500 * k + 50, -300 - k % 7), (500 * k + 50, -9)]
        truth.append((500 * k + 10, 500 * k + 50))
    found = weighed(said)[0]
    assert found is not None
    assert len(found.streams) == len(truth)
    assert fits(likely(said)[0], truth)


def test_multiples_of_one_size_are_as_many_requests() -> None:
    """h2load: what ended since the last write is asked for anew at once; one size, as only paths differ."""
    sizes = [25, 49, 47, 72, 73, 71, 72, 73, 71, 48, 47, 50, 71, 72]
    found = bare.weigh(sizes)
    assert found[0].p > 0.9
    assert all(found[0].many(size)[round(size / 24) - 1] > 0.95 for size in sizes)


@pytest.mark.parametrize(
    "sizes", [[88, 90, 87, 91, 89] * 4, [37, 16, 37, 16, 38, 31, 37, 16, 36]], ids=["never one alone", "all in the table, and not"]
)
def test_what_is_always_as_long_is_no_multiple(sizes: list[int]) -> None:
    likeliest = bare.weigh(sizes)[0]
    assert all(likeliest.many(size)[0] > 0.95 for size in sizes)


def test_a_first_write_is_longer_by_what_opens_the_connection_and_some_fields() -> None:
    """Three requests, whose fields take 41 bytes but for the first, which is longer by 26; or one."""
    opens, usual = 24 + 21 + 13, (0.5, 0.2, 0.1, 0.1, 0.04, 0.03, 0.02, 0.01)
    known = bare.weigh([41] * 20)[0]
    three, one = (known.first(opens + 26 + 41 * n, usual, preface=True) for n in (3, 1))
    assert three[2] > 10 * one[2]
    assert three[0] < one[0] / 2
    assert three[2] > three[3] > three[4]


@pytest.mark.parametrize("cut", [0, 2_060], ids=["closed", "the capture ends"])
def test_answers_of_one_record_each_end_with_it_whatever_their_size(cut: int) -> None:
    """A server that writes head and body at once: nothing but the next request, which follows soon, shows that an answer is over."""
    said: Said = [*OPENED]
    truth, t = [], 10
    for k in range(50):
        over = t + 2 + 41 * k % 37
        said += [(t, 130 if k == 0 else 79 + k * 7 % 9), (over, -105 - 997 * k % 3_000)]
        truth.append((t, over))
        t = over + 3 + 29 * k % 31
    assert fits(likely(said, cut=cut)[0], truth)


def test_some_answers_end_with_an_empty_frame_and_short_ones_with_their_last_record() -> None:
    """Go's server: a body whose length it knows ends with its last piece."""
    said: Said = [*OPENED]
    truth = []
    for k in range(24):
        t = 1_000 * k + 10
        said += [(t, 130 if k == 0 else 60 + k * 5 % 7), (t + 5, -34 - k % 5)]
        more = [(t + 10 + i, -4096) for i in range(6)] + [(t + 20, -9)] if k % 4 == 3 else [(t + 6, -300 - 131 * k % 700)]
        said += more
        truth.append((t, more[-1][0]))
    found = weighed(said)[0]
    assert found is not None
    assert len(found.streams) == len(truth)


def test_one_body_among_many_requests_without() -> None:
    """httpx: fields, body and an empty frame once; else fields alone."""
    said: Said = [*OPENED]
    for k in range(16):
        t = 800 * k + 10
        said += (
            [(t, 100 if k == 0 else 58 + k * 11 % 23)]
            + ([(t, 899), (t, 9)] if k == 9 else [])
            + [(t + 60, -76), (t + 61, -190 - k % 9), (t + 200, -9)]
        )
    found = weighed(said)[0]
    assert found is not None
    assert len(found.streams) == 16
    assert found.least > 12  # a guess would begin at one
    assert found.most < 24


def test_bodies_that_were_begun_together_may_end_in_one_record() -> None:
    """got: fields and bodies in one write, and the ends in another, 9 bytes each."""
    said: Said = [*OPENED]
    for k in range(12):
        t, n = 3_000 * k + 10, (1, 3, 1, 2)[k % 4]
        said += [(t, 5_000 * n + 371 * k), (t + 1, 9 * n), *((t + 1, 13) for _ in range(n))]
        for i in range(n):
            said += [(t + 100 * i + 200, -60), (t + 100 * i + 201, -700 - 31 * k), (t + 100 * i + 202, -9)]
    found = weighed(sorted(said, key=lambda each: each[0]))[0]
    assert found is not None
    assert len(found.streams) == 21


def test_what_comes_long_behind_all_else_is_hardly_a_piece_of_a_body() -> None:
    said: Said = [*OPENED]
    for k in range(6):
        said += [(1000 * k + 10, 110 if k == 0 else 100), (1000 * k + 10, 900 + 31 * k), (1000 * k + 11, 9)]
    by_client = numbers([*said, (6000, 104), (6075, 100), (6075, 1093), (6076, 9)])  # 104 bytes: no body, or one of 100 and 1093
    assert by_client[8] > 0.7
    assert numbers([*said, (6000, 104), (6001, 100), (6001, 1093), (6002, 9)]).get(8, 0.0) < by_client[8]


def test_first_requests_in_one_record_may_have_no_body() -> None:
    """httpx with four workers: the first request opens the connection, the others wait, and their fields stand in one record with an acknowledgment."""
    said: Said = [*OPENED, (10, 152), (11, 9 + 83 + 83 + 96), (12, 831), (12, 1369), (12, 9), (12, 9)]
    for k in range(6):
        said += [(1000 * k + 500, 83), (1000 * k + 500, 900 + 131 * k), (1000 * k + 501, 9)]
    assert numbers([*said, (7000, 90), (8000, 90)])[12] > 0.8


def test_where_fields_and_body_are_one_write_the_next_one_is_a_request() -> None:
    """curl with --parallel: a POST may follow a GET within some milliseconds, and is none of its body."""
    said: Said = [*OPENED]
    for k in range(12):
        said += [(1000 * k + 10, 800 if k == 0 else 700 + 97 * k % 411), (1000 * k + 200, -40)]
    both = [(20_000, 75), (20_020, 930), (21_000, 73), (21_050, 980)]
    assert numbers([*said, *both])[16] > 0.7
    assert numbers([*said[:4], *both])[4] < 0.4  # two, three or four
