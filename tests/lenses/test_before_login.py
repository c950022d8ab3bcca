"""What ends PostgreSQL and SSH before anybody is logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.parsers.fatal_errors import database, refusal
from tests.lenses.made import CLIENT, MS, SERVER, S, close, exchange, found, healthy, problems, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

POSTGRES, SSH = (SERVER, 5432), (SERVER, 22)
START = b"\x00\x00\x00\x20\x00\x03\x00\x00user\x00app\x00database\x00shop\x00\x00"
ANOTHER = START.replace(b"shop", b"else")
LOGGED_IN = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
READY = LOGGED_IN + b"Z\x00\x00\x00\x05I"
VERSION = b"SSH-2.0-OpenSSH_9.9\r\n"


def error(code: bytes, severity: bytes = b"FATAL") -> bytes:
    said = b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0Mwhat it says\0\0"
    return b"E" + (len(said) + 4).to_bytes(4, "big") + said


def session(answer: bytes, port: int, at: int = 0, start: bytes = START, client: str = CLIENT) -> list[Packet]:
    made = talk(port, at, POSTGRES, client)
    made.up("PA", start)
    made.down("PA", answer)
    made.up("A")
    return close(made).packets


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (LOGGED_IN + error(b"53300"), "too many connections (53300)"),  # behind the last message of the login
        (error(b"28P01"), "wrong password (28P01)"),
        (error(b"XX000"), "fatal error (XX000)"),
    ],
)
def test_why_postgresql_takes_nobody(tmp_path: Path, answer: bytes, what: str) -> None:
    this = found(tmp_path, session(answer, 41_000), healthy())
    assert this["refused"].text == f"1 of 1 connection to 198.51.100.20:5432 got a refusal: {what} (PostgreSQL)."
    assert problems(this) == {"refused"}


def test_errors_of_postgresql_that_end_nothing(tmp_path: Path) -> None:
    """A query that fails, and a server that is not ready yet and then is."""
    starting = session(error(b"57P03"), 41_001)
    assert not problems(
        found(tmp_path, session(READY + error(b"42P01", b"ERROR"), 41_000), starting, session(READY, 41_002, 5 * S), healthy())
    )


@pytest.mark.parametrize(
    ("code", "refused", "served", "grave"),
    [
        pytest.param(b"28P01", [0, 4], [9], False, id="typed wrong"),
        pytest.param(b"28P01", [0, 4, 8], [12], True, id="again and again, beside who has the right one"),
        pytest.param(b"28P01", [0, 4, 8], [0.1, 4.1, 8.1], True, id="another program of that host"),
        pytest.param(b"57P05", [4], [], False, id="a connection that nobody used"),
        pytest.param(b"28P01", [4], [0], True, id="not served later"),
        pytest.param(b"28000", [0, 4, 8], [0.1, 4.1, 8.1], False, id="with TLS at once, as it is not taken without"),
        pytest.param(b"53300", [0], [0.1], True, id="a server that is full for a moment"),
    ],
)
def test_logins_that_succeed_in_the_end(tmp_path: Path, code: bytes, refused: list[float], served: list[float], grave: bool) -> None:
    no = [session(error(code), 41_000 + k, int(at * S)) for k, at in enumerate(refused)]
    yes = [session(READY, 42_000 + k, int(at * S)) for k, at in enumerate(served)]
    this = found(tmp_path, *no, *yes, healthy())
    assert this["refused"].severity == ("problem" if grave else "warning")


@pytest.mark.parametrize(
    ("refused", "then", "grave"),
    [
        pytest.param([0, 1, 2], session(READY, 42_000, 9 * S), False, id="made, and used"),
        pytest.param([0], session(READY, 42_000, 9 * S, ANOTHER), True, id="another one is there"),
        pytest.param([0, 12], session(READY, 42_000, 9 * S), True, id="gone again"),
        pytest.param([0], session(READY, 42_000, 9 * S, client="192.0.2.99"), True, id="another client"),
        pytest.param([0], session(error(b"28P01"), 42_000, 9 * S), True, id="there now, but not for this client"),
        pytest.param([0], [], True, id="never made"),
    ],
)
def test_a_database_that_is_made(tmp_path: Path, refused: list[int], then: list[Packet], grave: bool) -> None:
    """By a script that looks for it first, or by somebody else for whom a program waits."""
    no = [session(error(b"3D000"), 41_000 + k, at * S) for k, at in enumerate(refused)]
    this = found(tmp_path, *no, *([then] if then else []), healthy())
    assert this["refused"].severity == ("problem" if grave else "warning")


def test_a_database_is_that_of_the_users_name_unless_one_is_named() -> None:
    assert database(START) == database(START.replace(b"app", b"xyz")) != database(ANOTHER)
    assert database(b"\0\0\0\x13\0\3\0\0user\0shop\0\0") == database(START)
    assert database(START[:11]) == database(START[:8])


def test_codes_are_read_before_new_servers_wrote_severity_twice_and_whatever_their_language() -> None:
    assert refusal(b"E\0\0\0\x30SFATAL\0C53300\0Mx\0\0") == ("53300", True)
    assert refusal(b"E\0\0\0\x30SSCHWERWIEGEND\0VFATAL\0C53300\0Mx\0\0") == ("53300", True)
    assert refusal(b"E\0\0\0\x30SFEHLER\0VERROR\0C53300\0Mx\0\0") == ("53300", False)
    assert refusal(error(b"53300")[:20]) == ("", True)
    assert refusal(error(b"53300")[:8]) is None


def offer(kex: str = "curve25519-sha256", key: str = "ssh-ed25519", cipher: str = "aes128-ctr", mac: str = "hmac-sha2-256") -> bytes:
    """A KEXINIT."""
    names = [kex, key, cipher, cipher, mac, mac, "none", "none", "", ""]
    payload = b"\x14" + bytes(16) + b"".join(len(n).to_bytes(4, "big") + n.encode() for n in names) + bytes(5)
    return (len(payload) + 5).to_bytes(4, "big") + b"\x04" + payload + bytes(4)


def exchanged(ours: bytes, theirs: bytes, port: int, at: int = 0, cut: int = 40, client: str = CLIENT) -> list[Packet]:
    """Both versions and offers; ours in two segments."""
    made = talk(port, at, SSH, client)
    made.up("PA", VERSION)
    made.down("PA", VERSION)
    made.up("PA", ours[:cut])
    made.up("PA", ours[cut:])
    made.down("PA", theirs)
    return close(made).packets


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        (offer(), offer(kex="diffie-hellman-group1-sha1"), "key exchange method"),
        (offer(), offer(key="ssh-rsa"), "kind of host key"),
        (offer(), offer(cipher="3des-cbc"), "cipher"),
        (offer(), offer(mac="hmac-md5"), "MAC"),
    ],
)
def test_ends_of_ssh_that_share_no_algorithm(tmp_path: Path, ours: bytes, theirs: bytes, what: str) -> None:
    this = found(tmp_path, exchanged(ours, theirs, 41_000), healthy())
    assert this["refused"].text == f"1 of 1 connection to 198.51.100.20:22 got a refusal: no {what} in common (SSH)."
    assert problems(this) == {"refused"}


@pytest.mark.parametrize(("times", "grave"), [(1, False), (2, True)])
def test_who_shares_no_algorithm_with_a_server_that_serves_others(tmp_path: Path, times: int, grave: bool) -> None:
    ours = [exchanged(offer(kex="old"), offer(), 41_000 + k, k * S) for k in range(times)]
    this = found(tmp_path, *ours, exchanged(offer(), offer(), 42_000, S, client="192.0.2.77"), healthy())
    assert this["refused"].severity == ("problem" if grave else "warning")


@pytest.mark.parametrize(
    "packets",
    [
        [*exchanged(offer(), offer(), 41_000)],
        # a cipher that authenticates needs no MAC
        [*exchanged(offer(cipher="aes128-gcm@openssh.com"), offer(cipher="aes128-gcm@openssh.com", mac="hmac-md5"), 41_000)],
        [*exchanged(offer(cipher="AEAD_AES_128_GCM"), offer(cipher="AEAD_AES_128_GCM", mac="hmac-md5"), 41_000)],
        # the ends share several, and one end has more
        [*exchanged(offer(kex="new,curve25519-sha256,old"), offer(kex="old"), 41_000)],
        # ssh-keyscan asks for one kind of key after the other
        [*exchanged(offer(key="ssh-rsa"), offer(), 41_000), *exchanged(offer(), offer(), 41_001, S)],
    ],
)
def test_ends_of_ssh_that_agree(tmp_path: Path, packets: list[Packet]) -> None:
    assert "refused" not in found(tmp_path, packets, healthy())


def shut(port: int, at: int, flags: str = "FA") -> list[Packet]:
    made = talk(port, at, SSH)
    made.up("PA", VERSION)
    made.down(flags)
    made.up("FA" if flags == "FA" else "")
    return made.packets


@pytest.mark.parametrize(("times", "flags", "grave"), [(3, "FA", True), (3, "RA", True), (2, "FA", False)])
def test_ssh_that_is_closed_before_a_word(tmp_path: Path, times: int, flags: str, grave: bool) -> None:
    this = found(tmp_path, *[shut(41_000 + k, k * S, flags) for k in range(times)], healthy())
    assert this["refused"].text.endswith("got a refusal: closed before the server's version (SSH).")
    assert ("refused" in problems(this)) == grave == bool(problems(this))


def test_ssh_that_a_server_serves_again_after_its_restart(tmp_path: Path) -> None:
    this = found(tmp_path, *[shut(41_000 + k, k * S) for k in range(3)], exchanged(offer(), offer(), 41_009, 9 * S), healthy())
    assert "refused" not in problems(this)


def test_ssh_that_shuts_out_one_and_serves_others(tmp_path: Path) -> None:
    """Somebody who guessed passwords."""
    served = [exchanged(offer(), offer(), 42_000 + k, k * S + 1, client="192.0.2.77") for k in range(6)]
    assert not problems(found(tmp_path, *[shut(41_000 + k, k * S) for k in range(5)], *served, healthy()))


def test_ssh_that_is_closed_to_many_at_once(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, *[shut(41_000 + k, k * 10 * MS) for k in range(4)], healthy()))


def test_ports_of_ssh_that_somebody_opens_and_closes_himself(tmp_path: Path) -> None:
    probes = []
    for k in range(4):
        made = talk(41_000 + k, k * S, SSH)
        made.up("PA", VERSION)
        made.up("FA")
        made.down("FA")
        made.up("A")
        probes.append(made.packets)
    assert "refused" not in found(tmp_path, *probes, healthy())


def at_the_key(port: int, at: int, keys: str = "ssh-ed25519,ssh-rsa", last: int = 0, by_server: bool = False) -> list[Packet]:
    """A client that leaves when it has the server's host key, behind a message of the kind ``last``."""
    made = talk(port, at, SSH)
    made.up("PA", VERSION)
    made.down("PA", VERSION)
    exchange(made, offer(key=keys), offer())
    exchange(made, b"\0\0\0\x2c\6\x1e" + bytes(42), b"\0\0\0\xbc\7\x1f" + bytes(186))
    if last:
        made.up("PA", bytes([0, 0, 0, 12, 10, last]) + bytes(10))
    if by_server:
        made.down("FA")
    return close(made).packets


@pytest.mark.parametrize("last", [0, 1])
def test_a_host_key_that_is_not_accepted(tmp_path: Path, last: int) -> None:
    this = found(tmp_path, *[at_the_key(41_000 + k, k * S, last=last) for k in range(3)], healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == "3 of 3 connections to 198.51.100.20:22 got a refusal: its host key is not accepted (SSH)."
    assert "known_hosts" in this["refused"].advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([at_the_key(41_000 + k, k * S, keys="ssh-ed25519") for k in range(5)], id="ssh-keyscan"),
        pytest.param([at_the_key(41_000 + k, k * S, last=21) for k in range(5)], id="goes on"),
        pytest.param([at_the_key(41_000 + k, k * S, last=21 * (k > 2)) for k in range(5)], id="goes on later"),
        pytest.param([at_the_key(41_000 + k, k * S) for k in range(2)], id="twice"),
        pytest.param([at_the_key(41_000 + k, k * S, by_server=True) for k in range(5)], id="the server leaves"),
    ],
)
def test_clients_that_say_nothing_against_a_host_key(tmp_path: Path, packets: list[list[Packet]]) -> None:
    assert "refused" not in found(tmp_path, *packets, healthy())
