"""Names: length, class, suffixes, what is kept."""

from __future__ import annotations

import itertools
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.anonymize.kernels import mapping, prf
from netlens.anonymize.mapper import Mapper
from tests.anonymize.frames import SECRET

MAPPER = Mapper(SECRET, keep=["api.z.ai"], known=["api.z.ai", "open.bigmodel.cn"])
HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")

labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)


@given(names)
def test_length_and_syntax_stay(name: str) -> None:
    image = MAPPER.name(name)
    assert [len(label) for label in image.split(".")] == [len(label) for label in name.split(".")]
    for label, mapped in zip(name.split("."), image.split("."), strict=True):
        if label.isdigit() or any(
            c.isalpha() for c in label
        ):  # "0-0", without a letter, is of the class *other* (anonymize/kernels/mapping.py)
            assert HOST.fullmatch(mapped)
        assert label.isdigit() == mapped.isdigit()


@given(names, names, names)
def test_common_suffixes_stay_common_and_case_does_not_count(one: str, other: str, suffix: str) -> None:
    a, b = MAPPER.name(f"{one}.{suffix}"), MAPPER.name(f"{other}.{suffix}")
    assert a.endswith("." + MAPPER.name(suffix))
    assert b.endswith("." + MAPPER.name(suffix))
    assert (a == b) == (one.lower() == other.lower())
    assert MAPPER.name(one.upper()) == MAPPER.name(one)


@given(st.text(max_size=80))
def test_any_text_becomes_printable_ascii_of_its_length(text: str) -> None:
    image = MAPPER.name(text)
    assert len(image) == len(text.encode("utf-8", "replace"))
    assert set(image) <= set(string.ascii_lowercase + string.digits + "-_.")


@pytest.mark.parametrize("length", [1, 2])
def test_short_labels_are_one_to_one(length: int) -> None:
    every = ["".join(p) for p in itertools.product(string.ascii_lowercase + string.digits, repeat=length)]
    assert len({MAPPER.name(f"{label}.com") for label in every}) == len(every)


def test_a_label_is_another_word_under_another_suffix() -> None:
    assert MAPPER.name("service.example.com").split(".")[0] != MAPPER.name("service.example.org").split(".")[0]


def test_kept_names_keep_their_parents_and_nothing_else() -> None:
    assert MAPPER.name("api.z.ai") == "api.z.ai"
    assert MAPPER.name("API.Z.AI.") == "api.z.ai."
    assert MAPPER.name("login.api.z.ai").endswith(".api.z.ai")
    assert not MAPPER.name("login.api.z.ai").startswith("login")
    assert MAPPER.name("www.z.ai").endswith(".z.ai")
    assert MAPPER.name("api.q.ai") != "api.q.ai"
    assert MAPPER.name("printer.local").endswith(".local")
    assert MAPPER.name("4.3.2.1.in-addr.arpa").endswith(".in-addr.arpa")


def test_another_key_makes_other_names() -> None:
    assert Mapper(bytes(32)).name("host.example.com") != MAPPER.name("host.example.com")
    assert Mapper(SECRET).name("host.example.com") == MAPPER.name("host.example.com")


def test_known_names_that_are_asked_for_are_not_taken_for_met() -> None:
    MAPPER.name("open.bigmodel.cn")
    assert MAPPER.met() == []


@pytest.mark.parametrize(("a", "b"), [(1, 1), (6, 4), (8, 8), (9, 8), (38, 38), (100, 10), (1000, 100)])
def test_permutations_are_permutations(a: int, b: int) -> None:
    keys = np.arange(2, dtype=np.uint64)
    images = [prf.permute(k, a, b, np.uint64(7), keys[0], keys[1]) for k in range(a * b)]
    assert sorted(images) == list(range(a * b))
    if a * b > 10:
        assert images != list(range(a * b))


def test_siphash_is_siphash() -> None:
    """Vectors of the authors' reference implementation: key 00 01 ... 0f, messages 00 01 02 ..."""
    k0, k1 = np.frombuffer(bytes(range(16)), "<u8")
    message = np.arange(64, dtype=np.uint8)
    first = np.frombuffer(bytes(range(8)), "<u8")[0]
    wanted = {8: "62 24 93 9a 79 f5 f5 93", 15: "e5 45 be 49 61 ca 29 a1", 16: "db 9b c2 57 7f cc 2a 3f"}
    for n, text in wanted.items():
        assert int(prf.sip_bytes(k0, k1, first, message, 8, n - 8, False)) == int.from_bytes(bytes.fromhex(text), "little")
    second = np.frombuffer(bytes(range(8, 16)), "<u8")[0]
    assert prf.sip_words(k0, k1, first, second) == prf.sip_bytes(k0, k1, first, message, 8, 8, False)


def test_hardware_addresses() -> None:
    maps = MAPPER.maps

    def image(text: str) -> str:
        raw, out = np.frombuffer(bytearray.fromhex(text.replace(":", "")), np.uint8), np.zeros(6, np.uint8)
        mapping.map_mac(raw, 0, out, 0, maps)
        return out.tobytes().hex(":")

    for same in ("ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:80:c2:00:00:0e", "01:00:5e:00:00:fb", "33:33:00:00:00:fb"):
        assert image(same) == same
    assert image("33:33:ff:12:34:56").startswith("33:33:ff:")
    assert image("33:33:ff:12:34:56") != "33:33:ff:12:34:56"
    assert image("01:00:5e:7f:ff:fa").startswith("01:00:5e:")
    cards = [f"3c:22:fb:{n >> 8:02x}:{n & 255:02x}:07" for n in range(2000)]
    images = {image(card) for card in cards}
    assert len(images) == len(cards)
    assert all(int(m[:2], 16) & 3 == 0x3C & 3 for m in images)
    assert len({m[:8] for m in images}) > 1000, "the maker is hidden"
    assert int(image("02:42:ac:11:00:02")[:2], 16) & 3 == 2
