"""Addresses: the published Crypto-PAn, and what netlens holds it to."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens.anonymize.addresses import FIXED_V4, FIXED_V6, CryptoPan
from netlens.parsers.connections import is_private, is_public

#: Key and images of the reference implementation (Crypto-PAn 1.0, sample program).
KEY = bytes(
    [21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2]
)  # fmt: skip
PAN = CryptoPan(KEY)

v4 = st.integers(0, (1 << 32) - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
v6 = st.integers(0, (1 << 128) - 1).map(lambda n: str(ipaddress.IPv6Address(n)))


def common(a: str, b: str) -> int:
    one, other = ipaddress.ip_address(a), ipaddress.ip_address(b)
    return one.max_prefixlen - (int(one) ^ int(other)).bit_length()


@pytest.mark.parametrize(
    ("address", "image"),
    [
        ("128.11.68.132", "135.242.180.132"),
        ("129.118.74.4", "134.136.186.123"),
        ("130.132.252.244", "133.68.164.234"),
        ("141.223.7.43", "141.167.8.160"),
        ("141.233.145.108", "141.129.237.235"),
        ("152.163.225.39", "151.140.114.167"),
        ("156.29.3.236", "147.225.12.42"),
        ("::1", "78ff:f001:9fc0:20df:8380:b1f1:704:ed"),
        ("::2", "78ff:f001:9fc0:20df:8380:b1f1:704:ef"),
        ("::ffff", "78ff:f001:9fc0:20df:8380:b1f1:704:f838"),
        ("2001:db8::1", "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e"),
    ],
)
def test_without_fixed_blocks_it_is_the_published_one(address: str, image: str) -> None:
    assert CryptoPan(KEY, (), ()).text(address) == image


@settings(max_examples=150)
@given(v4, v4)
def test_common_prefixes_of_ipv4_stay(a: str, b: str) -> None:
    assert common(PAN.text(a), PAN.text(b)) == common(a, b)


@settings(max_examples=50)
@given(v6, v6, st.integers(0, 128))
def test_common_prefixes_of_ipv6_stay(a: str, b: str, n: int) -> None:
    mask = (1 << 128) - (1 << (128 - n))
    near = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(a)) & mask | int(ipaddress.IPv6Address(b)) & ~mask))
    if any(int(ipaddress.IPv6Address(x)) >> 32 in (0xFFFF, 0x64FF9B << 64) or x.startswith("ff") for x in (a, near)):
        return  # addresses with another inside, and groups, go their own way
    assert common(PAN.text(a), PAN.text(near)) == common(a, near)


@settings(max_examples=200)
@given(st.one_of(v4, v6))
def test_an_address_means_what_it_meant(address: str) -> None:
    image = PAN.text(address)
    assert is_private(image) == is_private(address)
    assert is_public(image) == is_public(address)
    one, other = ipaddress.ip_address(address), ipaddress.ip_address(image)
    for name in ("version", "is_loopback", "is_multicast", "is_link_local", "is_unspecified"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("network", [n for n in FIXED_V4 + FIXED_V6 if n not in ("::/8", "ff00::/8", "ff02::1:ff00:0/104")])
def test_fixed_blocks_map_onto_themselves(network: str) -> None:
    net = ipaddress.ip_network(network)
    for k in (0, 1, 2, 3, net.num_addresses // 2, net.num_addresses - 1):
        assert ipaddress.ip_address(PAN.text(str(net[k]))) in net
    below = ipaddress.ip_address(int(net[0]) - 1) if int(net[0]) else None
    if below is not None:
        assert ipaddress.ip_address(PAN.text(str(below))) not in net


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.0.0.53", "0.0.0.0", "255.255.255.255", "224.0.0.251", "169.254.169.254", "::1", "::", "ff02::fb", "ff02::1"],
)
def test_constants_stay(address: str) -> None:
    assert PAN.text(address) == address


def test_an_address_inside_another_has_its_own_image() -> None:
    inner = int(ipaddress.IPv4Address(PAN.text("8.8.8.8")))
    assert int(ipaddress.IPv6Address(PAN.text("::ffff:8.8.8.8"))) == 0xFFFF << 32 | inner
    assert int(ipaddress.IPv6Address(PAN.text("64:ff9b::8.8.8.8"))) == 0x64FF9B << 96 | inner


def test_neighbours_in_a_subnet_differ() -> None:
    images = {PAN.text(f"192.168.64.{n}") for n in range(256)}
    assert len(images) == 256
    assert images == {f"192.168.64.{n}" for n in range(256)}


def test_bits_flip_on_their_own() -> None:
    """Of 400 keys some 6 leave the third part of this address as it is (six bits of it are free), and none all 14 free bits; as published it were 50 and 5."""
    images = [CryptoPan(bytes([n >> 8, n & 255]) * 16).text("192.168.1.55") for n in range(400)]
    assert "192.168.1.55" not in images
    assert sum(image.startswith("192.168.1.") for image in images) < 20
    published = [CryptoPan(bytes([n >> 8, n & 255]) * 16, (), ()).text("192.168.1.55").split(".") for n in range(400)]
    assert sum(image[2] == "1" for image in published) > 20


def test_many_at_once_are_as_one_by_one() -> None:
    keys = np.array([[0, n * 16_777_259 & 0xFFFFFFFF, 4] for n in range(5000)] + [[-n, n, 6] for n in range(300)], np.int64)
    images = PAN.images(keys)
    for k in (0, 1, 2047, 2048, 4999, 5000, 5299):
        assert PAN.images(keys[k : k + 1]).tolist() == [images[k].tolist()]


def test_how_many_bits_of_a_public_address_stay() -> None:
    """The figure in the module's text and in the documentation."""
    values = np.random.default_rng(7).integers(0, 1 << 32, 40_000)
    public = np.array([ipaddress.IPv4Address(int(v)).is_global for v in values])
    stays = PAN._v4.stays(values[public].astype(">u4").view(np.uint8).reshape(-1, 4)).sum(axis=1)
    assert stays.mean() == pytest.approx(4.5, abs=0.1)
    assert np.percentile(stays, 90) <= 7
