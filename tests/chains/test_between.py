"""HTTP/2 connections that leave the number of requests open: what more tells it, and between which numbers it is where nothing does."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from netlens import analysis
from netlens.api import Capture
from netlens.chains import grammar, streams
from netlens.chains.explained.model import OF_CLIENT, Model
from netlens.chains.explained.talks import Look, Talk
from netlens.chains.explained.updates import Updates, updates
from netlens.chains.explained.walks import Kind
from netlens.chains.inputs import from_folder
from netlens.chains.situation import VM, Perhaps
from netlens.lenses.refused.comparison import compare
from netlens.lenses.refused.counting import Rule, in_flight_between, others
from netlens.report import answer, comparison, html, text
from tests.chains.test_endings import alone, ends_hidden, in_bursts
from tests.chains.test_explained import fits, likely, weighed
from tests.chains.test_streams import OPENED, Said, analysed, asked, connection, refused, streamed, together
from tests.lenses.refused.made import situation

if TYPE_CHECKING:
    from pathlib import Path

UPDATE = -13  #: WINDOW_UPDATE of the server


def updated(rounds: int, many: int) -> tuple[Said, list[tuple[int, int]]]:
    """Writes of a client, some twice as long as others, each answered by a WINDOW_UPDATE for each of its bodies, and by answers of any size: in the last round
    one write holds ``many``, and two of their answers may be one. What is said, and (start, end) of each request in ms."""
    parts, truth = [OPENED], []
    for k in range(rounds):
        t, n = 3000 * k + 10, many if k == rounds - 1 else 1
        parts.append(
            [
                (t, 2300 * 2 ** ((k + 2) % 3) * n - 7 * k),
                (t + 12, UPDATE * n),
                *((t + 300 + 20 * i, -230 - (11 * k + 37 * i) % 90) for i in range(n)),
            ]
        )
        truth += [(t, t + 300 + 20 * i) for i in range(n)]
    return together(*parts), truth


def test_as_many_updates_as_bodies_tell_how_many_requests_one_write_holds() -> None:
    plain = [updated(8, 1)[0] for _ in range(12)]
    for many in (1, 2):
        said, truth = updated(8, many)
        found = weighed(*plain, said)[-1]
        assert found is not None
        assert (found.least, found.most) == (len(truth), len(truth))
        if many > 1:
            without = weighed(*([each for each in one if each[1] >= 0 or each[1] % UPDATE] for one in (*plain, said)))[-1]
            assert without is not None
            assert (without.least, without.most) != (len(truth), len(truth))


def test_updates_are_learned_of_bodies_by_themselves() -> None:
    talks = [Talk(one.said, one.over_ns, False, {}, grammar.told(one.said)) for one in [connection(updated(8, 1)[0])] * 2 if one.said]
    learned = updates(talks)
    assert (learned.each, learned.missed < 0.1) == (1, True)
    assert learned.within_ns >= 12_000_000
    assert learned.odds(2, 2) > 10 * learned.odds(2, 1)
    none = [Talk(one.said, one.over_ns, False, {}, []) for one in [connection(in_bursts(alone(8)))] if one.said]
    assert updates(none).each == 0


def test_updates_of_a_stream_and_of_the_connection_are_those_of_one_body() -> None:
    both = Updates(2, 0.05, 0, 0.02)
    assert both.odds(2, 1) == both.odds(3, 2) == both.odds(4, 2) == 0.98
    assert both.odds(3, 1) == both.odds(2, 0) == 0.02


def test_heads_as_short_as_updates_are_heads() -> None:
    """Go's and Node's heads have 13 bytes once all fields are in the table; a piece of another stream comes between head and answer."""
    parts, truth = [OPENED], []
    for k in range(12):
        t = 4000 * k + 10
        parts += [
            [(t, 2300 + 31 * k), (t + 200, UPDATE), *((t + 250 + 40 * i, -100 - (7 * i + k) % 40) for i in range(30)), (t + 1450, -23)]
        ]
        parts += [
            [
                (t + 800, 2900 + 17 * k),
                (t + 1000, UPDATE),
                *((t + 1060 + 40 * i, -100 - (5 * i + k) % 40) for i in range(20)),
                (t + 1900, -23),
            ]
        ]
        truth += [(t, t + 1450), (t + 800, t + 1900)]
    *_, found = likely(in_bursts(alone(8)), together(*parts))
    assert fits(found, truth)


def test_heads_of_two_answers_in_one_record() -> None:
    """Node: heads with what they answer, and then both ends; else one by one, and some beside others."""

    def said(last: int) -> tuple[Said, list[tuple[int, int]]]:
        parts, truth = [OPENED], []
        for k in range(12):
            t, n = 2000 * k + 10, last if k == 11 else 1
            parts.append([(t, 2300 * n + 31 * k), (t + 12, -149 * n), (t + 14, -9 * n)])
            truth += [(t, t + 14)] * n
        return together(*parts), truth

    both, truth = said(2)
    *_, found = weighed(*[said(1)[0] for _ in range(6)], both)
    assert found is not None
    assert found.least <= len(truth) <= found.most
    assert found.most > 12


def test_writes_of_one_size_and_twice_as_long() -> None:
    """As load generators send: the first write holds preface, SETTINGS and three requests."""
    opened: Said = [(2, 3 * 843 + 88), (3, -39), (4, -22), (4, 9)]

    def said(second: int) -> Said:
        return [
            *opened,
            *[(20 + k, -136) for k in range(3)],
            (60, 843 * second),
            *[(80 + k, -136) for k in range(second)],
            (200, 843),
            (220, -136),
        ]

    those = [connection(said(1 + k % 2)) for k in range(4)]
    sizes = grammar.usual([each.said for each in those if each.said is not None])
    assert sizes == [843] * 4
    for k, each in enumerate(those):
        assert each.said is not None
        (told,) = grammar.told(each.said, 843)
        likeliest = [max(range(len(many)), key=lambda n, many=many: many[n]) for many in told.reading.many]
        assert likeliest == [3, 1 + k % 2, 1]
        assert grammar.fits(each.said, 843, 5 + k % 2)
        assert not grammar.fits(each.said, 843, 3)
        assert grammar.fits(each.said, 0, 3)
    waiting = connection(
        [*OPENED, (10, 60_000), (40, 16_330), (3000, 698), (3050, 46_554), (6000, -258)]
    ).said  # of many times 698, whatever they are
    assert waiting is not None
    assert grammar.usual([waiting]) == [0]
    varied = [connection(in_bursts(together(OPENED, *(asked(1000 * k, 900 + 77 * k * k) for k in range(9))))) for _ in range(4)]
    assert grammar.usual([each.said for each in varied if each.said is not None]) == [0] * 4


def test_how_many_first_writes_begin_is_learned() -> None:
    model = Model(shown=False)
    assert model.beginning[0] == [1.0] * 8
    model = Model(shown=False)
    model.begins[0].update({4: 20})
    assert model.beginning[0][3] > 5
    assert model.beginning[0][0] < 0.3
    assert model.beginning[1] == [1.0] * 8


def test_a_write_that_happens_to_be_as_long_as_one_of_gos_first_is_a_write() -> None:
    said = [*OPENED, (10, 2000), (300, 2900), (600, 3 * 1186), (900, 3479)]
    one = connection(said).said
    assert one is not None
    (told,) = grammar.told(one)
    assert len(told.reading.streams) == 4


def test_no_body_waits_before_a_window_is_full() -> None:
    said = [*OPENED, (10, 2100), (12, UPDATE), (60, 3300), (62, UPDATE), (110, 8100), (112, UPDATE), (400, -258)]
    one = connection(said).said
    assert one is not None
    assert max(len(each.streams) for each in one.readings) == 3


def test_no_body_waits_while_the_server_keeps_up() -> None:
    """Each write comes within a ms of the WINDOW_UPDATEs for the one before."""
    sizes = (6494, 13_631, 7766, 8451, 3674, 3223, 2319, 4378)
    said = [*OPENED, *(each for size in sizes for each in ((10, size), (10, 2 * UPDATE))), (20, -211)]
    one = connection(said).said
    assert one is not None
    (told,) = grammar.told(one)
    assert len(told.reading.streams) == len(sizes)


def test_an_opening_with_the_head_of_an_answer_in_one_record() -> None:
    """nginx: SETTINGS, two WINDOW_UPDATEs, the acknowledgment and the head of a refusal, behind its tickets."""
    said: Said = [
        (2, 33),
        (3, 2076),
        (4, 6360),
        (5, -281),
        (5, -281),
        (5, -134),
        (5, -186),
        (6, 9),
        (900, 3047),
        (905, UPDATE),
        (910, -72),
        (910, -186),
    ]
    one = connection(said).said
    assert one is not None
    assert [r.size for r in one.answers] == [134, 186, 72, 186]
    assert one.readings


def test_silence_behind_a_long_answer_may_end_several() -> None:
    known = streams.learned([connection(in_bursts(alone(6)))], streams.NOTHING)
    one = [*OPENED, (10, 12_000), *((300 + 40 * i, -170 - 7 * i % 90) for i in range(25))]
    assert streams.counted(connection(one, 20_000, cut=False), known)[1] is False


def doubtful() -> tuple[Said, int]:
    """Pairs of streams at a time, which end in a piece of any size as a third of the others does: how many requests there are does not show."""
    parts = [OPENED]
    for k in range(6):
        t = 3000 * k + 10
        parts += [[(t, 5200 + 91 * k), *((t + 300 + 37 * i, -100 - (i * i + k) % 90) for i in range(30)), (t + 700, -240 - k)]]
    return together(*parts), 6


def test_what_cannot_be_told_is_an_interval() -> None:
    said, requests = doubtful()
    found = weighed(in_bursts(alone(6)), said)[-1]
    assert found is not None
    assert found.least <= requests <= found.most
    if not found.exact:
        assert all(each.unsure for each in found.streams)
        assert len(found.further) == found.most - len(found.streams)


def test_without_enough_records_the_client_alone_tells() -> None:
    said: Said = [*OPENED, (10, 2100), (20, 2900), (1000, 2200), (1020, -261)]
    (found,) = weighed(said)
    assert found is not None
    assert found.least <= 3 <= found.most
    assert found.most > found.least
    for each in found.streams:
        assert each.unsure
        assert each.end_ns + each.doubt_ns[3] >= connection(said).over_ns


def test_what_there_may_have_been_besides_is_in_the_highest_count_alone() -> None:
    made = situation([("vm", 0, 0.0, 4.0, 0), ("vm", 1, 1.0, 2.0, 0), ("vm", 2, 3.0, 5.0, 0)])
    more = Perhaps(np.array([VM], np.int8), made.requests.start_ns[:1], made.requests.end_ns[:1])
    wider = type(made)(**{**vars(made), "perhaps": more, "between": (3, 4)})
    for rule in (Rule("requests", "side"), Rule("requests", "egress"), Rule("requests", "side", per_address=True)):
        before, after = others(made, rule), others(wider, rule)
        assert after.count.tolist() == before.count.tolist() == [0, 1, 1]
        assert after.low.tolist() == before.low.tolist()
        assert (after.high - before.high).tolist() == [1, 1, 1]
    assert in_flight_between(made) == (2, 2)
    assert in_flight_between(wider) == (2, 3)
    unsure = made.requests.doubt_ns.copy()
    unsure[1] = 0, 10**12, 0, 0
    assert in_flight_between(type(made)(**{**vars(wider), "requests": made.requests.take(np.arange(3)), "perhaps": Perhaps.none()})) == (
        2,
        2,
    )


ONLY_HTTP2 = ("h2",)  #: offers of a client whose writes may begin several requests


def work_and(doubts: Said, rounds: int) -> tuple[list[Said], list[int]]:
    """A program that asks one after the other, and a connection that leaves doubts."""
    parts, refusals = [OPENED], []
    for k in range(rounds):
        t = 4000 * k + 10
        parts += [asked(t, 900 + k), streamed(t + 300, t + 1500), asked(t + 2000, 800), refused(t + 2012)]
        refusals.append(t + 2012)
    return [ends_hidden(together(*parts)), doubts], refusals


def test_a_capture_says_between_which_numbers_its_requests_are(tmp_path: Path) -> None:
    said: Said = [*OPENED, (10, 2100), (20, 2900), (40, -258), (1000, 2200), (1020, -261)]
    conversations, refusals = work_and(in_bursts(said), 14)
    found = analysed(tmp_path, conversations, refusals, ONLY_HTTP2)
    least, most = found.counts["exchanges_between"]
    assert least <= 28 + 3 <= most
    assert least < most
    assert found.to_dict()["counts"]["exchanges_between"] == [least, most]
    low, high = found.counts["in_flight_between"]
    assert low <= high
    assert found.assembled.situation.uncountable is None
    likeliest = found.counts["exchanges_likeliest"]
    assert least <= likeliest <= most
    assert likeliest == len(found.assembled.situation.requests)
    (one,) = found.to_dict()["counts"]["exchanges_by_connection"]
    assert (one["least"] + 28, one["likeliest"] + 28, one["most"] + 28) == (least, likeliest, most)
    told = f"between {least} and {most} requests (most likely {likeliest})"
    assert answer.how_many(found) == told
    assert f"of {told} to api.z.ai were refused" in answer.sentence(found)
    assert found.assembled.situation.facts["in_doubt"] == one["likeliest"]


def test_the_peak_is_an_interval_wherever_it_is_shown(tmp_path: Path) -> None:
    said: Said = [*OPENED, (10, 2100), (20, 2900), (40, -258), (1000, 2200), (1020, -261)]
    conversations, refusals = work_and(in_bursts(said), 14)
    found = analysed(tmp_path, conversations, refusals, ONLY_HTTP2)
    low, high = found.counts["in_flight_between"]
    assert low < high
    told = f"{low} to {high}"
    made = found.assembled.situation
    assert ("most requests at once, both together", told, told) in comparison.rows(comparison.told(compare(made, made)))
    out = io.StringIO()
    text.render(found, Console(file=out, width=1000, color_system=None), 1)
    assert f"{told} at once at the peak" in next(line for line in out.getvalue().splitlines() if line.lstrip().startswith("in flight"))
    assert answer.most_at_once(found) == told
    quiet = analysed(tmp_path, conversations, refusals[:1], ONLY_HTTP2)
    low, high = quiet.counts["in_flight_between"]
    assert f"<dd>{low} to {high} requests, " in html.render(quiet, quiet.to_dict())


def test_a_client_that_offers_http1_as_well_leaves_less_doubt(tmp_path: Path) -> None:
    """Its writes seldom begin several requests."""
    said: Said = [*OPENED, (10, 2100), (20, 2900), (40, -258), (1000, 2200), (1020, -261)]
    widths = []
    for offers in (ONLY_HTTP2, (*ONLY_HTTP2, "http/1.1")):
        conversations, refusals = work_and(in_bursts(said), 14)
        found = analysed(tmp_path, conversations, refusals, offers)
        least, most = found.counts.get("exchanges_between") or [found.counts["exchanges"]] * 2
        assert least <= 31 <= most
        widths.append(most - least)
    assert widths[0] > widths[1]


def test_a_side_that_asks_nothing_has_no_request_in_flight() -> None:
    made = replace(situation([("host", 0, 1.0, 2.0, 0)]), between=(1, 2))
    told: Any = SimpleNamespace(counts={"in_flight_between": [1, 2]}, assembled=SimpleNamespace(situation=made))
    side: Any = SimpleNamespace(vantage="vm")
    assert text._in_flight(told, side, 0) == "no request"


def test_a_capture_of_doubts_alone_says_so_too(tmp_path: Path) -> None:
    said: Said = [*OPENED, (10, 2100), (20, 2900), (40, -258), (1000, 2200), (1020, -261)]
    found = analysed(tmp_path, [said], [], ONLY_HTTP2)
    assert found.assembled.situation.uncountable is not None
    least, most = found.counts["exchanges_between"]
    assert f"between {least} and {most} requests" in found.assembled.situation.uncountable
    assert found.to_dict()["counts"]["exchanges"] is None
    assert found.limit is None
    assert f"between {least} and {most} requests" in answer.sentence(found)
    both = analysis.together([found, found])
    assert both.counts["exchanges_between"] == [2 * least, 2 * most]
    assert both.counts["in_flight_between"] is not None
    assert answer.headline(both)


def test_requests_of_one_write_are_not_others_of_themselves() -> None:
    for sessions in ([0] * 4, [0, 1, 2, 3]):
        made = situation([("vm", k, 1.0, 3.0, 0) for k in sessions], stream=dict.fromkeys(range(4), 1))
        assert others(made, Rule("requests", "egress")).count.tolist() == [3, 3, 3, 3]


def test_bytes_since_the_latest_update() -> None:
    writes = [grammar._Write(100 + k, 10 * k, 10 * k + 2, k, 100 + k) for k in range(6)]
    sent = [100, 201, 303, 406, 510, 615]
    assert grammar._since_updates(writes, sent, []) == sent
    assert grammar._since_updates(writes, sent, [25]) == [100, 201, 303, 103, 207, 312]


@pytest.mark.parametrize("name", ["http2", "same-nat-ip-sshuttle"])
def test_recordings_together_have_no_interval_where_each_is_exact(name: str) -> None:
    given = replace(from_folder(f"captures/{name}"), keylogs=())
    one = analysis.analyze({side: Capture(paths, trail=True) for side, paths in given.captures.items()}, given)
    both = analysis.together([one, one])
    assert one.counts["exchanges_between"] is None
    assert both.counts["exchanges_between"] is None
    assert both.counts["in_flight_between"] is None
    assert both.counts["exchanges"] == 2 * one.counts["exchanges"]
    assert answer.headline(both)


def test_how_long_writes_of_one_request_are_tells_how_many_one_holds() -> None:
    """None is as long as another. A write is no evidence for itself, and what the fields of the first add does not matter."""
    those = [read for k in range(4) if (read := connection(in_bursts(alone(6, 258 + k))).said) is not None]
    few = grammar.Sizes(those[:0])
    assert few.odds(5000, first=True) == few.odds(5000, first=False) == [1.0] * 8
    sizes = grammar.Sizes(those)
    one = sizes.alone[len(sizes.alone) // 2]
    for first, more in ((False, 0), (True, 150)):
        alone_, two, three, *_ = sizes.odds(one + more, first=first)
        assert alone_ > 20 * max(two, three)
        alone_, two, three, *_ = sizes.odds(2 * one + more, first=first)
        assert two > 20 * alone_
    assert sizes.odds(10**6, first=False) == pytest.approx([sizes.odds(10**6, first=False)[0]] * 8)  # any size is that of any number


def test_first_writes_tell_that_a_client_sends_one_body_again_and_again() -> None:
    """As a load generator that has each of its connections send one more."""
    those = [[*OPENED, (10, 3 * size + 97), (400, size), *[(500, -300 - size % 97)] * 4] for size in (2150, 5003, 10307)]
    assert grammar.usual([said for each in those if (said := connection(each).said)]) == [2150, 5003, 10307]
    others = [[*OPENED, (10, 3 * size + 97 * k), (400, size), *[(500, -300)] * 4] for k, size in enumerate((2150, 5003, 10307), 4)]
    assert grammar.usual([said for each in others if (said := connection(each).said)]) == [0, 0, 0]


def test_what_the_client_says_back_is_a_part_of_how_a_record_looks() -> None:
    """curl sends two WINDOW_UPDATEs as an answer begins."""
    said = connection([*OPENED, (10, 900), (50, -400), (51, 26), (60, -300), (70, -300), (90, 13), (100, -300)]).said
    assert said is not None
    talk = Talk(said, said.answers[-1].ts + 1, False, {}, [])
    assert [look.echo for look in talk.looks([])] == [2, 0, 0, 0]


def test_heads_that_are_echoed_are_told_from_pieces() -> None:
    model = Model(False)
    for size in range(200, 300):
        for kind, echo in ((Kind.PIECE, 0), (Kind.HEAD, 2)):
            look = Look(size, 2, 2, echo, False)
            model.count(look)
            model.add(look, kind)
    begins, goes_on = (model.odds(Look(250, 2, 2, echo, False)) for echo in (2, 0))
    assert begins[Kind.HEAD] > 5 * begins[Kind.PIECE]
    assert goes_on[Kind.PIECE] > 5 * goes_on[Kind.HEAD]


def test_a_few_records_do_not_tell_one_answer_from_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first write that may be three requests, and as many records, with nothing else to learn from."""
    those = [connection([*OPENED, (10, 16540), (300, -660), (450, -645), (451, -618)])]
    monkeypatch.setattr(streams, "counted", lambda each, _: (each.said.readings[0].streams, True))  # by what such a capture taught
    known = replace(streams.NOTHING, learned=True)
    assert streams.all_counted(those, known) == [None]
    found = streams.likely(those, known)[0]
    assert found is not None
    assert (found.least, found.most) == (1, 8)
    monkeypatch.setattr(streams, "ENOUGH", 3)
    assert streams.all_counted(those, known) != [None]


def test_few_records_of_a_server_weigh_less_than_its_client() -> None:
    models = [Model(False, records=n) for n in (30, 100, 1000)]
    of_client = [each.of_client for each in models]
    assert of_client == sorted(of_client, reverse=True)
    assert of_client[0] == 0.25
    assert of_client[-1] == OF_CLIENT


def test_what_one_connection_leaves_open_is_open_on_others_that_wrote_as_much() -> None:
    """nghttp writes all that it asks for at once. Where many pieces and one end follow, one request would explain them, but four do on the others."""

    def said(write: int, answers: Said) -> Said:
        return [(2, write), (3, -40), (4, 9), *answers, (answers[-1][0] + 1, 17)]

    streamed_on = [said(3988 + 7 * k, [(220 + 30 * i, -195 - (17 * i + 11 * k) % 90) for i in range(30 + k)]) for k in range(3)]
    short = [said(3980 + 5 * k, [(300, -660 - k), (450, -645 + 3 * k), (451, -618), (600, -640)]) for k in range(3)]
    found = weighed(*streamed_on, *short)
    assert [(each.least, each.most >= 4) for each in found if each is not None] == [(1, True)] * 6
    less = weighed(*streamed_on, *short, said(600, [(300, -258), (300, -9)]))[-1]
    assert less is not None
    assert less.exact
