"""IP addresses: Crypto-PAn (Xu, Fan, Ammar, Moon 2002), which keeps common prefixes, held to what an address means.

Theory of operation
-------------------
1. Bit i of an address is flipped or not, as a pseudo-random function (AES) of the i bits before it says. So two addresses with a common prefix of n
   bits have images with a common prefix of exactly n bits, different addresses have different images, and without the key nothing more can
   be told. In the published program the function does not see how many bits it is given: where the next bit happens to equal that of the padding, both
   bits flip alike, and one address in 80 keeps its last 14 bits. Here their number goes into the function, as a second block of a CBC-MAC.
2. An analysis must still know a loopback address, a private one, a VM network. So some blocks are *fixed*: their own prefix stays. For that, no bit is
   flipped on the way to a fixed block, that is, where the bits before it are the beginning of the block's prefix. Inside the block all goes on as in 1, but
   for blocks of constants (127/8, 224.0.0/24, 255.255.255.255 ...), which are left as they are.
3. An IPv4 address inside an IPv6 one (mapped, or of NAT64) has the image of the IPv4 address.

What 2 costs: a public IPv4 address keeps those of its first bits that it has in common with a fixed block, and one more: 4.5 of 32 on average, at most 7
for nine of ten. It cannot be had for less: what keeps all common prefixes and all classes must do so. A public IPv6 address keeps three (2000::/3).
"""

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens.errors import NetlensError

MISSING = "anonymising needs the package cryptography (for AES); install it: pip install 'netlens[anonymize]'"

#: Blocks whose prefix stays, and blocks that stay altogether.
FIXED_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
    "10.0.2.0/24", "10.211.55.0/24", "192.168.64.0/24", "192.168.122.0/24",
)  # fmt: skip
SAME_V4 = ("0.0.0.0/32", "127.0.0.0/8", "169.254.169.254/32", "224.0.0.0/24", "224.0.1.0/24", "239.255.255.250/32", "255.255.255.255/32")
FIXED_V6 = (
    "::/8", "64:ff9b::/96", "fc00::/8", "fd00::/8", "fe80::/64", "fe80::/10", "ff00::/8", "ff02::1:ff00:0/104",
)  # fmt: skip
SAME_V6 = ("::/127",)
_EMBEDDING = (0xFFFF, 0x64FF9B << 64)  #: upper 96 bits of addresses whose lower 32 are an IPv4 address
CHUNK = 2048  #: addresses done at a time: 4 MB of blocks

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class _Version:
    """What does not depend on the address: masks, and fixed blocks as bits."""

    def __init__(self, bits: int, pad: Bytes, fixed: tuple[str, ...], same: tuple[str, ...]):
        self.bits = bits
        masks = [((1 << i) - 1) << (128 - i) for i in range(bits)]
        self.masks = np.array([list(m.to_bytes(16, "big")) for m in masks], np.uint8)
        self.padding = pad[np.newaxis, :] & ~self.masks
        kind = 4 if bits == 32 else 6
        blocks: list[tuple[Any, bool]] = [(ipaddress.ip_network(n), False) for n in fixed] + [(ipaddress.ip_network(n), True) for n in same]
        blocks = [b for b in blocks if b[0].version == kind]
        self.prefixes = np.array([list(n.network_address.packed) for n, _ in blocks], np.uint8).reshape(-1, bits // 8)
        self.prefix_bits = np.unpackbits(self.prefixes, axis=1)
        self.lengths = np.array([n.prefixlen for n, _ in blocks], np.int64)
        self.same = np.array([s for _, s in blocks], np.bool_)

    def blocks(self, raw: Bytes) -> Bytes:
        """uint8[n, bits, 16]: per bit the bits before it, then padding."""
        wide = np.zeros((len(raw), 1, 16), np.uint8)
        wide[:, 0, : self.bits // 8] = raw
        return (wide & self.masks) | self.padding

    def stays(self, raw: Bytes) -> npt.NDArray[np.bool_]:
        """bool[n, bits]: which bits are not flipped, for a fixed block's sake."""
        until = np.zeros(len(raw), np.int64)
        bits = np.unpackbits(raw, axis=1)
        for prefix, length, same in zip(self.prefix_bits, self.lengths.tolist(), self.same.tolist(), strict=True):
            differs = bits != prefix
            common = np.where(differs.any(axis=1), differs.argmax(axis=1), self.bits)
            here = np.minimum(common, length - 1) + 1
            until = np.maximum(until, np.where(same & (common >= length), self.bits, here))
        return np.arange(self.bits)[np.newaxis, :] < until[:, np.newaxis]


class CryptoPan:
    """The map of addresses.

    Parameters
    ----------
    key : 32 bytes: 16 for AES, 16 that are encrypted to become the padding.
    fixed, same : networks as above, of both versions; both empty is Crypto-PAn as it was published (see 1).

    Raises
    ------
    NetlensError
        the package cryptography is not there.
    """

    def __init__(self, key: bytes, fixed: tuple[str, ...] = FIXED_V4 + FIXED_V6, same: tuple[str, ...] = SAME_V4 + SAME_V6):
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise NetlensError(MISSING) from None
        self._cipher = Cipher(algorithms.AES(key[:16]), modes.ECB())
        self._pad = np.frombuffer(self._encrypt(key[16:32]), np.uint8)
        self._v4 = _Version(32, self._pad, fixed, same)
        self._v6 = _Version(128, self._pad, fixed, same)
        self._published = not fixed

    def _encrypt(self, blocks: bytes) -> bytes:
        encryptor = self._cipher.encryptor()
        return encryptor.update(blocks) + encryptor.finalize()

    def text(self, address: str) -> str:
        """The image of one address.

        Raises
        ------
        ValueError
            it is none.
        """
        found = ipaddress.ip_address(address)
        value = int(found)
        key = [[value >> 64, value & (1 << 64) - 1, found.version]]
        hi, lo = self.images(np.array(key, np.uint64).view(np.int64))[0].view(np.uint64).tolist()
        return str(ipaddress.IPv4Address(lo) if found.version == 4 else ipaddress.IPv6Address(hi << 64 | lo))

    def images(self, keys: Ints) -> Ints:
        """int64[n, 2] for int64[n, 3]: two halves (of an IPv4 address only the lower) and the version."""
        out = np.zeros((len(keys), 2), np.int64)
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            is_v4 = part[:, 2] == 4
            images = out[start : start + CHUNK]
            if is_v4.any():
                images[is_v4, 1] = self._four(part[is_v4, 1])
            if not is_v4.all():
                images[~is_v4] = self._six(part[~is_v4])
        return out

    def _four(self, values: Ints) -> Ints:
        done = self._map(self._v4, np.ascontiguousarray(values.astype(">u4")).view(np.uint8).reshape(-1, 4))
        return done.view(">u4").reshape(-1).astype(np.int64)

    def _six(self, keys: Ints) -> Ints:
        raw = np.ascontiguousarray(keys[:, :2].astype(">i8")).view(np.uint8).reshape(-1, 16)
        done = self._map(self._v6, raw)
        if not self._published:
            for i, row in enumerate(raw):
                value = int.from_bytes(row.tobytes(), "big")
                first, groups = value >> 120, value >> 31 & (1 << 81) - 1
                if value >> 32 in _EMBEDDING:
                    done[i] = raw[i]
                    done[i, 12:] = self._map(self._v4, raw[i : i + 1, 12:].copy())[0]
                elif first == 0xFF and groups == 0:  # a well-known group: ff02::1, ff02::fb
                    done[i] = raw[i]
                elif first == 0xFF:  # flags and scope of any other
                    done[i, 1] = raw[i, 1]
        return done.view(">i8").reshape(-1, 2).astype(np.int64)

    def _blocks(self, blocks: Bytes) -> Bytes:
        return np.frombuffer(bytearray(self._encrypt(blocks.tobytes())), np.uint8).reshape(blocks.shape)

    def _map(self, version: _Version, raw: Bytes) -> Bytes:
        done = self._blocks(version.blocks(raw))
        if not self._published:
            done[:, :, 15] ^= np.arange(version.bits, dtype=np.uint8)
            done = self._blocks(done)
        flips = done[:, :, 0] >> 7
        flips = np.where(version.stays(raw), 0, flips).astype(np.uint8)
        return np.packbits(flips, axis=1) ^ raw
