"""What shows how many requests a connection had without anything learned. Sizes are those of real servers, read with their keys."""

from __future__ import annotations

import pytest

from netlens.chains import asked, streams
from netlens.chains.asked import Stream
from netlens.chains.explained import signs
from netlens.chains.explained.counting import Counted
from netlens.chains.explained.talks import Talk
from netlens.chains.streams import Connection
from tests.chains.test_at_once import nghttp
from tests.chains.test_bulk import found
from tests.chains.test_streams import Said, connection, seen, together

NGINX_OPENS, HAPROXY_OPENS, GO_OPENS = 40, 36, 39
PIECES = 222, 225, 221, 226, 224, 228, 223


def talk(one: Connection) -> Talk:
    said = one.said
    assert said is not None
    (ways,) = streams._told([one]).values()
    made = streams._talk(said, one, ways)
    assert made is not None
    return made


def streamed(ms: int, begins: int, ends: int, pieces: int = 7) -> Said:
    return [(ms, -begins), *((ms + 20 * k, -PIECES[k % 7]) for k in range(1, pieces + 1)), (ms + 20 * pieces + 30, -ends)]


def opened(server: int, *behind: int) -> Said:
    return [(2, 6_147), (3, -server), *((4 + k, -size) for k, size in enumerate(behind)), (5 + len(behind), 9)]


def paid(server: int, *behind: int, cut: bool = False) -> Connection:
    said = opened(server, *behind)
    return connection([*said, (90, -299), (345, -23), (346, -9), (350, 17)], 400, cut=cut)


@pytest.mark.parametrize(
    ("one", "bodies"),
    [
        (paid(NGINX_OPENS, 22), 1),
        (paid(NGINX_OPENS, 35), 2),
        (paid(NGINX_OPENS, 48), 3),
        (paid(88), 3),  # all of it in one record; HAProxy's is as long
        (paid(HAPROXY_OPENS, 39), 2),  # a read of two bodies
        (paid(HAPROXY_OPENS, 26, 26), 2),
        (paid(101), 4),
        (paid(NGINX_OPENS, 9), 0),  # a server that opens so and pays nothing is another
        (paid(39, 13, 9, 13, 13), 0),  # Go pays for what was read, not for each body
    ],
)
def test_updates_of_known_servers_tell_how_many_bodies_one_write_holds(one: Connection, bodies: int) -> None:
    assert signs._paid(talk(one)) == bodies


def test_as_many_begun_as_ended() -> None:
    """Answers of hypercorn: fields of the first, those of others of one size, and an empty frame behind the last piece."""
    three = together(streamed(300, 67, 9), streamed(310, 14, 9), streamed(330, 14, 9))
    assert signs.number(talk(nghttp(857, *[[each] for each in three])), None) == 3


def test_ends_of_a_size_of_their_own() -> None:
    """Answers of granian: fields with the first piece, and the last piece ends its stream."""
    two = together(streamed(300, 286, 23), streamed(310, 239, 23))
    assert signs.number(talk(nghttp(857, *[[each] for each in two])), None) == 2


def test_whole_answers_end_with_an_empty_frame() -> None:
    assert signs.number(talk(nghttp(900, [(50, -92), (50, -354), (50, -9)], [(90, -38), (90, -349), (90, -9)])), None) == 2
    assert signs.number(talk(nghttp(900, [(50, -320), (50, -9)], [(90, -330), (90, -9)])), None) == 2


@pytest.mark.parametrize(
    "answers",
    [
        [(300, -251), (310, -197), (320, -304)],  # three answers, or pieces of one
        [*streamed(300, 286, 23), (900, -250), *[(910 + k, -size) for k, size in enumerate(PIECES)]],  # the last one does not end
        [*streamed(300, 286, 23), *[(910 + k, -size) for k, size in enumerate(PIECES)], (990, -23)],  # pieces of none that is in progress
        [*streamed(300, 286, 23), (900, -23)],  # it ends twice
    ],
)
def test_nothing_is_told_where_they_do_not_agree(answers: Said) -> None:
    assert signs.number(talk(nghttp(857, answers)), None) is None


def test_what_is_cut_may_have_begun_more() -> None:
    said: Said = [(2, 6_147), (3, -39), (4, -9), (5, 9), *streamed(300, 286, 23)]
    assert signs.number(talk(connection(said, 900, cut=False)), None) == 1
    assert signs.number(talk(connection(said, 900, cut=True)), None) is None
    again: Said = [*said, (800, 900)]  # never answered
    assert signs.number(talk(connection(again, 900, cut=False)), None) is None


def test_what_disagrees_tells_nothing() -> None:
    said = opened(NGINX_OPENS, 48)
    one = connection([*said, *streamed(300, 299, 23), (900, 17)], 950, cut=False)
    assert signs._paid(talk(one)) == 3
    assert signs.number(talk(one), None) is None


@pytest.mark.parametrize(
    ("opening", "behind", "others", "apart"),
    [
        (GO_OPENS, (13, 9), [], True),
        (33, (13, 9), [], True),  # an older one
        (33, (22,), [], False),  # hyper, of as many settings
        (GO_OPENS, (22,), [], False),
        (GO_OPENS, (22,), [13], True),  # the client was quick there
        (NGINX_OPENS, (22, 13), [], False),
    ],
)
def test_who_writes_heads_apart(opening: int, behind: tuple[int, ...], others: list[int], apart: bool) -> None:
    answer: Said = [(90, -128), (91, -169), (95, 17)]
    every = [[*opened(opening, *those), *answer] for those in (behind, *[(each, 9) for each in others])]
    said = asked.said_of_all([seen(one) for one in every])
    assert said[0] is not None
    assert said[0].apart == apart


HEADS = 128, 35, 36, 39, 48, 35  #: of Caddy's answers, two of them as long as WINDOW_UPDATEs or an acknowledgment


def caddy(answers: list[Said], writes: int) -> Connection:
    """Requests half a second apart, with answers as they are given."""
    end = 500 * writes + 900
    said = [
        *opened(GO_OPENS, 13, 9),
        *[(10 + 500 * k, 900) for k in range(1, writes)],
        *[each for answer in answers for each in answer],
        (end, 17),
    ]
    said.sort(key=lambda each: each[0])
    return connection(said, end + 1, cut=False)._replace(said=asked.said_of_all([seen(said)])[0])


def answered(k: int, head: int, more: int = 0) -> Said:
    return [(10 + 500 * k + 340, -head), *[(10 + 500 * k + 350 + 10 * n, -PIECES[n % 7]) for n in range(4 + more)]]


def test_each_head_apart_is_an_answer() -> None:
    """Nothing shows where these answers end."""
    one = caddy([answered(k, head) for k, head in enumerate(HEADS)], len(HEADS))
    assert signs.heads_apart(talk(one)) == (len(HEADS), 0)
    assert found([one]) == [(len(HEADS), len(HEADS))]


def test_two_heads_at_once_are_one_record() -> None:
    answers = [answered(0, 128), answered(1, 35), answered(2, 36), answered(3, 13 + 35 + 36)]
    assert signs.heads_apart(talk(caddy(answers, 5))) == (3, 2)


def test_comments_that_keep_a_stream_alive_are_no_heads() -> None:
    """One that is as short as a head, of a size of its own, behind each piece."""
    comments: Said = [(400 + 500 * k + 30 * n, -44) for k in range(3) for n in range(4)]
    one = caddy([*[answered(k, head) for k, head in enumerate((128, 35, 36))], comments], 3)
    assert signs.heads_apart(talk(one)) == (3, 0)


def go(write: int, *said: int) -> Talk:
    """All requests in one write to Go, and what it says behind its opening, two records a millisecond."""
    answers: Said = [(6 + k // 2, -size) for k, size in enumerate(said)]
    end = answers[-1][0] + 1
    one = connection([(2, write), (3, -GO_OPENS), (4, -13), (5, -9), *answers, (end, 17)], end + 1, cut=False)
    made = talk(one._replace(said=asked.said_of_all([seen([(2, write), (3, -GO_OPENS), (4, -13), (5, -9), *answers, (end, 17)])])[0]))
    return made._replace(said=made.said._replace(at_once=True))


def likeliest(n: int) -> Counted:
    return Counted([Stream(0, 0, 0, 0) for _ in range(n)], n, n)


@pytest.mark.parametrize(
    ("write", "said", "model", "number"),
    [
        (4_482, (56, 13, 155, 13, 155), 2, 2),
        (4_482, (56, 13, 155, 13, 155), 3, None),
        (4_482, (56, 155, 155), 2, None),  # one more ends than begins
        (14_632, (56, 13, 13, 13, 155, 13, 155, 13, 168, 155), 4, 4),  # a head and a body are in one record
        (900, (56, 13, 13, 13, 155, 13, 155), 2, None),  # so many WINDOW_UPDATEs are not for so few bytes
        (7_284, (573, 155), 1, None),  # nothing tells what the first record holds
    ],
)
def test_heads_as_short_as_updates(write: int, said: tuple[int, ...], model: int, number: int | None) -> None:
    """Of Go, where the model finds so many."""
    assert signs.number(go(write, *said), likeliest(model)) == number
