"""The transition table is total, is what the rules say, and holds no rule that no capture can reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pytest

from netlens.parsers import tcp_states as module
from netlens.parsers.tcp_states import ACK_BIT, CONN_STATES, EVENTS, FIN_BIT, RST_BIT, RULES, STATES, SYN_BIT, TABLE, events_of
from tests.parsers.build import End, Packet, Talk, segment, sessions

CLIENT, SERVER = ("10.0.0.1", 40000), ("203.0.113.9", 443)
ODD: End = ("203.0.113.9", 34567)  # a server on a port that tells nothing
ZEEK = {"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"}
SEGMENTS = range(32)


def step(is_orig: bool, own: int, peer: int, segment: int) -> tuple[int, int]:
    """New states of sender and peer after one segment, by walking through the rules."""
    for event in events_of(segment):
        for rule in RULES:
            if (
                rule.sender in ("any", "orig" if is_orig else "resp")
                and STATES[own] in rule.own
                and STATES[peer] in rule.peer
                and event in rule.event
            ):
                own = own if rule.to is None else STATES.index(rule.to)
                peer = peer if rule.peer_to is None else STATES.index(rule.peer_to)
                break
    return own, peer


def test_the_table_is_total_and_equal_to_step() -> None:
    assert len(TABLE) == 2 * 8 * 8 * 32
    for is_orig in (0, 1):
        for own in range(8):
            for peer in range(8):
                for segment_class in SEGMENTS:
                    entry = int(TABLE[((is_orig * 8 + own) * 8 + peer) * 32 + segment_class])
                    new, new_peer = entry & 15, entry >> 4
                    assert (new, new_peer) == step(bool(is_orig), own, peer, segment_class)
                    assert max(new, new_peer) < len(STATES)


def test_events_take_effect_in_order() -> None:
    assert events_of(SYN_BIT | FIN_BIT) == ["syn", "fin"]
    assert events_of(SYN_BIT | ACK_BIT | RST_BIT) == ["syn_ack", "rst"]
    assert events_of(FIN_BIT | RST_BIT | ACK_BIT) == ["rst"]
    assert {e for s in SEGMENTS for e in events_of(s)} == set(EVENTS)


def _first_matches(is_orig: bool, own: int, peer: int, segment_class: int) -> Iterator[int]:
    """Numbers of the rules that ``step`` uses."""
    for event in events_of(segment_class):
        for n, rule in enumerate(RULES):
            senders = ("any", "orig" if is_orig else "resp")
            if rule.sender in senders and STATES[own] in rule.own and STATES[peer] in rule.peer and event in rule.event:
                yield n
                own = own if rule.to is None else STATES.index(rule.to)
                peer = peer if rule.peer_to is None else STATES.index(rule.peer_to)
                break


def _reachable() -> tuple[set[tuple[int, int]], dict[int, set[tuple[str, str]]]]:
    """(pairs of states that a capture can bring about, rule -> (own state, event) in which it was the first to match)."""
    pairs: set[tuple[int, int]] = set()
    used: dict[int, set[tuple[str, str]]] = {}
    todo: deque[tuple[int, int, bool, int]] = deque()
    for segment_class in SEGMENTS:
        # who is the originator of a session is decided by its first segment: the sender of a SYN, the receiver of a SYN+ACK, else either
        syn, ack = segment_class & SYN_BIT, segment_class & ACK_BIT
        todo += [(0, 0, by, segment_class) for by in ([not ack] if syn else [True, False])]
    while todo:
        orig, resp, by_orig, segment_class = todo.popleft()
        own, peer = (orig, resp) if by_orig else (resp, orig)
        for n in _first_matches(by_orig, own, peer, segment_class):
            used.setdefault(n, set()).update((STATES[own], e) for e in events_of(segment_class) if e in RULES[n].event)
        own, peer = step(by_orig, own, peer, segment_class)
        pair = (own, peer) if by_orig else (peer, own)
        if pair not in pairs:
            pairs.add(pair)
            todo += [(*pair, by, s) for by in (True, False) for s in SEGMENTS]
    return pairs, used


def test_every_rule_can_be_reached() -> None:
    pairs, used = _reachable()
    assert set(used) == set(range(len(RULES))), [RULES[n] for n in set(range(len(RULES))) - set(used)]
    for n, rule in enumerate(RULES):
        for event in rule.event:
            assert any(e == event for _, e in used[n]), (rule, event)
        for own in rule.own:
            assert any(o == own for o, _ in used[n]), (rule, own)
    assert {STATES[s] for pair in pairs for s in pair} == set(STATES)


def test_rules_name_states_and_events_that_exist() -> None:
    for rule in RULES:
        assert rule.sender in ("orig", "resp", "any")
        assert set(rule.own) | set(rule.peer) | ({rule.to, rule.peer_to} - {None}) <= set(STATES)
        assert set(rule.event) <= set(EVENTS)
        assert rule.why
    assert [getattr(module, name) for name in STATES] == list(range(8))


def test_a_finished_session_stays_finished() -> None:
    """No segment brings CLOSED, RESET or CLOSED_RESET back to an open state."""
    ended = [STATES.index(s) for s in ("CLOSED", "RESET", "CLOSED_RESET")]
    for is_orig in (True, False):
        for own in ended:
            for peer in range(8):
                for segment_class in SEGMENTS:
                    assert step(is_orig, own, peer, segment_class)[0] in ended


def test_conn_states_are_zeeks() -> None:
    assert set(CONN_STATES.ravel()) == ZEEK


# -- the meaning, on tiny captures --


def _talk(server: End = SERVER) -> Talk:
    return Talk(CLIENT, server)


def _scenarios() -> dict[str, Talk]:
    """Name -> capture of one session; each of Zeek's states at least once, by its shortest story and by the odd ones."""
    out: dict[str, Talk] = {}

    def add(name: str, talk: Talk, *steps: Callable[[Talk], object]) -> None:
        for do in steps:
            do(talk)
        out[name] = talk

    def up(*a: object, **k: object) -> Callable[[Talk], object]:
        return lambda t: t.up(*a, **k)  # type: ignore[arg-type]

    def down(*a: object, **k: object) -> Callable[[Talk], object]:
        return lambda t: t.down(*a, **k)  # type: ignore[arg-type]

    opened, closed = Talk.open, Talk.close
    add("unanswered", _talk(), up("S"))
    add("unanswered, repeated", _talk(), up("S"), lambda t: t.again(), lambda t: t.again())
    add("unanswered, given up", _talk(), up("S"), up("R"))
    add("unanswered, closed", _talk(), up("S"), up("FA"))
    add("refused", _talk(), up("S"), down("RA", seq=0))
    add("answer acknowledged before it came", _talk(), up("S"), down("A", seq=0x89AB_CDF0), down("SA"))
    add("established", _talk(), opened)
    add("established, data both ways", _talk(), opened, up("PA", 5), down("PA", 7))
    add("closed by client", _talk(), opened, up("PA", 5), down("PA", 7), closed)
    add("closed by server", _talk(), opened, down("PA", 7), down("FA"), up("FA"), down("A"))
    add("half-closed by client", _talk(), opened, up("FA"), down("PA", 7))
    add("half-closed by server", _talk(), opened, down("FA"), up("PA", 7))
    add("aborted by client", _talk(), opened, up("PA", 5), up("RA"))
    add("aborted by server", _talk(), opened, up("PA", 5), down("RA"))
    add("aborted by server before data", _talk(), opened, down("RA"))
    add("aborted by both before data", _talk(), opened, up("RA"), down("RA"))
    add("closed by client, aborted by server", _talk(), opened, up("PA", 5), up("FA"), down("RA"))
    add("closed by client, then its RST", _talk(), opened, up("PA", 5), up("FA"), down("PA", 7), up("R"))
    add("client FIN, RST, server FIN", _talk(), opened, up("FA"), up("R"), down("FA"))
    add("RST after both FINs", _talk(), opened, closed, up("R"))
    add("simultaneous open", _talk(), up("S"), down("S"), up("SA", seq=0x1234_5678), down("SA", seq=0x89AB_CDEF))
    add("only the answers of an unanswered client", _talk(), down("SA"), down("RA"))
    add("only answers", _talk(), down("SA"), down("PA", 5))
    add("only answers, closed", _talk(), down("SA"), down("PA", 5), down("FA"))
    add("only requests, closed", _talk(), up("S"), up("A"), up("PA", 5), up("FA"))
    add("SYN missed", _talk(), down("SA"), up("A"), up("PA", 5))
    add("SYN+ACK missed", _talk(), up("S"), up("A"), up("PA", 5), down("PA", 7))
    add("SYN captured after SYN+ACK", _talk(), down("SA"), up("S", seq=0x1234_5678 - 1), up("PA", 5))
    add("joined mid-stream", _talk(), up("PA", 5), down("PA", 7))
    add("joined mid-stream at an answer", _talk(), down("PA", 7), up("A"))
    add("joined mid-stream, port unknown", _talk(ODD), up("PA", 5), down("PA", 7))
    add("joined mid-stream at an answer, port unknown", _talk(ODD), down("PA", 7), up("A"))
    add("joined mid-stream, closed", _talk(), up("PA", 5), closed)
    add("joined mid-stream, closed by one", _talk(), up("FA"), down("A"))
    add("joined mid-stream, aborted", _talk(), up("PA", 5), down("PA", 7), up("R"))
    add("an RST alone", _talk(), up("R"))
    add("an RST+ACK alone from a server port", _talk(), down("RA"))
    add("RST, then a SYN of the other side", _talk(), up("R"), down("SA"))
    add("a FIN alone", _talk(), up("FA"))
    add("two FINs alone", _talk(), up("FA"), down("FA"))
    add("no flags at all", _talk(), up(""), down(""))
    add("SYN and FIN at once", _talk(), up("SF"), down("SA"))
    add("SYN and RST at once", _talk(), up("SR"))
    add("FIN and RST at once", _talk(), opened, up("FRA"))
    add("data with the SYN", _talk(), up("S", 10), down("SA"), up("A"))
    return out


def test_states_and_histories(golden: Callable[[str, str], None]) -> None:
    lines, seen = [], set()
    for name, talk in _scenarios().items():
        for row in sessions(talk.packets):
            flipped = "(roles swapped)" if row["orig_ip"] != CLIENT[0] else ""
            seen.add(row["state"])
            lines.append(f"{name:<48} {row['state']:<7} {row['history']:<12} {flipped}".rstrip())
    golden("states.txt", "\n".join(lines) + "\n")
    assert seen == ZEEK, f"no scenario ends in {sorted(ZEEK - seen)}"


@pytest.mark.parametrize("by_port", [True, False])
def test_whose_session_it_is(by_port: bool) -> None:
    """Without a SYN the side with a server port is the responder, wherever the first segment comes from; without one the first sender opens."""
    server = SERVER if by_port else ODD
    for from_server in (True, False):
        talk = Talk(CLIENT, server)
        (talk.down if from_server else talk.up)("PA", 5)
        (row,) = sessions(talk.packets)
        expected = CLIENT if by_port or not from_server else server
        assert (row["orig_ip"], row["orig_port"]) == expected
        assert row["history"].startswith("^") == (from_server and by_port)


def test_reserved_ports_are_servers() -> None:
    """Below 1024 on one side only: that side answers."""
    (row,) = sessions([Packet(0, segment(("10.0.0.1", 600), ("10.0.0.2", 50000), "PA", 1, 1, b"x"))])
    assert row["resp_port"] == 600
