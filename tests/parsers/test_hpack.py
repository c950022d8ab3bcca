"""Fields of heads of HTTP/2, by the tables of RFC 7541."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.parsers.hpack import GRPC_STATUS, MOST, PATH, Table, digits


def test_the_requests_of_the_rfc() -> None:
    """Appendix C.3: the second names by number what the first added, the third adds a name of its own."""
    table = Table()
    first = table.fields(bytes.fromhex("828684410f7777772e6578616d706c652e636f6d"))
    second = table.fields(bytes.fromhex("828684be58086e6f2d6361636865"))
    third = table.fields(bytes.fromhex("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first[3] == second[3] == third[3] == (b"", b"www.example.com")
    assert second[4] == (b"", b"no-cache")
    assert third[4] == (b"custom-key", b"custom-value")


@pytest.mark.parametrize(
    "block",
    [
        b"\x44\x02/A",  # added, and not, under a name that everybody knows
        b"\x04\x02/A",
        b"\x14\x02/A",
        b"\x40\x05:path\x02/A",
        b"\x00\x84\xb9\x58\xd3\x3f\x02/A",  # the name in Huffman's code
        b"\x3f\xe1\x1f\x44\x02/A",  # behind another size of the table
    ],
)
def test_paths(block: bytes) -> None:
    assert Table().fields(block) == [(PATH, b"/A")]


def test_a_status_under_a_name_by_number() -> None:
    table = Table()
    assert table.fields(b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010") == [(GRPC_STATUS, b"0")]
    assert table.fields(b"\x7e\x017") == [(GRPC_STATUS, b"7")]
    assert table.fields(b"\xbe\xbf") == [(GRPC_STATUS, b"7"), (GRPC_STATUS, b"0")]


@pytest.mark.parametrize(
    ("coded", "plain"), [("07", b"0"), ("0f", b"1"), ("17", b"2"), ("67", b"3"), ("7f", b"9"), ("0b3f", b"13"), ("0b9f", b"16")]
)
def test_a_status_in_huffmans_code(coded: str, plain: bytes) -> None:
    value = bytes.fromhex(coded)
    field = b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f" + bytes([0x80 | len(value)]) + value
    assert Table().fields(field) == [(GRPC_STATUS, plain)]


def test_what_is_no_digit() -> None:
    assert [digits(text) for text in (b"", b"\xff", b"\x1c\x7f", b"\x06", bytes(9))] == [b""] * 5


def test_the_newest_are_kept() -> None:
    table = Table()
    for k in range(MOST + 10):
        table.fields(b"\x40\x01a\x04" + k.to_bytes(4, "big"))
    assert table.fields(b"\xbe") == [(b"a", (MOST + 9).to_bytes(4, "big"))]


@pytest.mark.parametrize("block", [b"\xbe", b"\x40\x05:pa", b"\x44", b"\x80", b"\xff"])
def test_what_cannot_be_read_ends_it(block: bytes) -> None:
    table = Table()
    assert table.fields(block) is None
    assert table.fields(b"\x44\x02/A") is None


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_bytes_crash_it(blocks: list[bytes]) -> None:
    table = Table()
    for block in blocks:
        table.fields(block)
