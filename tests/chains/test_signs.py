"""What shows how many requests a connection had without anything learned. Sizes are those of real servers, read with their keys."""

from __future__ import annotations

import pytest

from netlens.chains import streams
from netlens.chains.explained import signs
from netlens.chains.explained.talks import Talk
from netlens.chains.streams import Connection
from tests.chains.test_at_once import nghttp
from tests.chains.test_streams import Said, connection, together

NGINX_OPENS, HAPROXY_OPENS = 40, 36
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
