"""All maps of one run behind one object: for the kernels, and for texts of ours (manifest, sockets)."""

import ipaddress
import re
from collections.abc import Iterable

import numpy as np

from netlens.anonymize import secret as secrets_
from netlens.anonymize.addresses import CryptoPan
from netlens.anonymize.kernels import mapping as k
from netlens.anonymize.kernels.prf import sip_bytes
from netlens.wire.addresses import random_seed
from netlens.wire.tls import escape

#: Names of special use (RFC 6761, 6762, 3172): they say what kind of name it is, and nothing of whose.
SPECIAL = ("local", "localhost", "in-addr.arpa", "ip6.arpa", "home.arpa", "test", "invalid", "example", "onion")
MOST_ADDRESSES = 1 << 18  #: remembered at a time, 40 MB; a scan of the internet makes the table begin anew
MISSES = 1 << 15  #: new addresses noted in one go
#: Processes whose name the pairing asks for; the rest of a name could be anything.
FORWARDERS = ("sshd", "sshuttle", "python")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\(\d{3})")


class Mapper:
    """Maps of one secret.

    Parameters
    ----------
    secret : 32 bytes, see :mod:`netlens.anonymize.secret`.
    keep : names that stay, each with all its parents (``api.z.ai`` keeps ``z.ai`` and ``ai`` too); what stands before them is mapped.
    known : names that are looked out for: ``met()`` tells which server names ended with one.
    """

    def __init__(self, secret: bytes, keep: Iterable[str] = (), known: Iterable[str] = ()):
        self.pan = CryptoPan(secrets_.derive(secret, b"addresses"))
        self.known = tuple(known)
        none = np.zeros(0, np.uint64)
        state = np.zeros(k.STATE, np.int64)
        state[k.SEED] = random_seed()
        self.used = 0
        self.maps = k.Maps(
            secrets_.words(secret), none, none, np.zeros(len(self.known), np.int64), none, np.zeros((1 << 10, k.TABLE_WIDTH), np.int64),
            np.zeros((MISSES, 3), np.int64), state, np.zeros(k.MESSAGE, np.uint64), np.zeros(k.MESSAGE, np.int64), np.zeros(128, np.int64),
        )  # fmt: skip
        kept = {c for name in (*SPECIAL, *keep) for c in self._chains(name)}
        watched = [self._chains(name)[0] for name in self.known]
        nibbles = self._chains("ip6.arpa")[:1]
        self.maps = self.maps._replace(
            kept=np.array(sorted(kept), np.uint64), known=np.array(watched, np.uint64), nibbles=np.array(nibbles, np.uint64)
        )

    # --- names

    def _chains(self, name: str) -> list[int]:
        """Chains of a name and of its parents."""
        out: list[int] = []
        parent = k.ROOT
        for label in reversed([part for part in name.lower().rstrip(".").split(".") if part]):
            raw = np.frombuffer(label.encode(), np.uint8)
            parent = np.uint64(k.chain(parent, raw, 0, len(raw), self.maps))
            out.append(int(parent))
        return out[::-1] or [int(k.ROOT)]

    def name(self, text: str) -> str:
        """The image of a name with dots."""
        raw = np.frombuffer(bytearray(text.encode("utf-8", "replace")), np.uint8)
        out = np.zeros(len(raw), np.uint8)
        seen = self.maps.seen.copy()
        k.map_dotted(raw, 0, len(raw), out, 0, self.maps)
        self.maps.seen[:] = seen
        return out.tobytes().decode("ascii", "replace")

    def shown_name(self, text: str) -> str:
        """The image of a name as it is shown, with bytes that are no part of a host name as ``\\xNN`` (server names) or ``\\NNN`` (names in DNS)."""
        if "\\" not in text:
            return self.name(text)
        out, parent, reverse = [], k.ROOT, False
        for shown in reversed(text.split(".")):
            label = _ESCAPED.sub(lambda m: chr(int(m[1], 16) if m[1] else int(m[2]) & 255), shown).encode("latin-1", "replace")
            raw, image = np.frombuffer(bytearray(label), np.uint8), np.zeros(len(label), np.uint8)
            if not len(raw):
                out.append("")
                continue
            own = np.uint64(k.chain(parent, raw, 0, len(raw), self.maps))
            if k.is_in(self.maps.kept, own):
                image = raw
            elif not (reverse and k.map_nibble(raw, 0, len(raw), parent, image, 0, self.maps)):
                k.map_label(raw, 0, len(raw), parent, image, 0, self.maps)
            out.append(escape(image.tobytes()))
            parent, reverse = own, reverse or own == self.maps.nibbles[0]
        return ".".join(reversed(out))

    def met(self) -> list[str]:
        """The known names that server names ended with."""
        return [name for name, times in zip(self.known, self.maps.seen.tolist(), strict=True) if times]

    # --- addresses

    def address(self, text: str) -> str | None:
        """The image of an address; None if it is none. A zone (``%eth0``) is left out."""
        try:
            return self.pan.text(text.partition("%")[0])
        except ValueError:
            return None

    def network(self, text: str) -> str | None:
        """The image of a network (``192.168.64.0/24``), whose host bits stay zero; None if it is none."""
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return None
        if network.prefixlen == 0:
            return str(network)
        return str(ipaddress.ip_network((self.pan.text(str(network.network_address)), network.prefixlen), strict=False))

    def host(self, text: str) -> str:
        """The image of an address, or else of a name as it is shown."""
        return self.address(text) or self.shown_name(text)

    def learn(self, count: int) -> None:
        """Take the first ``count`` missing addresses into the table."""
        keys = np.unique(self.maps.missing[: min(count, MISSES)], axis=0)
        table = self.maps.table
        if 2 * (self.used + len(keys)) > len(table):
            old = table[table[:, k.T_VERSION] != 0]
            table = np.zeros((max(1 << 10, 1 << (4 * (self.used + len(keys)) - 1).bit_length()), k.TABLE_WIDTH), np.int64)
            self.maps = self.maps._replace(table=table)
            columns = [k.T_HI, k.T_LO, k.T_VERSION]
            images = np.ascontiguousarray(old[:, [k.T_NEW_HI, k.T_NEW_LO]])
            k.enter(table, self.maps.state[k.SEED], np.ascontiguousarray(old[:, columns]), images)
        k.enter(table, self.maps.state[k.SEED], keys, self.pan.images(keys))
        self.used += len(keys)
        self.maps.state[k.MISSED] = 0

    def forget(self) -> None:
        """Begin the table anew if it has become too large; between batches only."""
        if self.used > MOST_ADDRESSES:
            self.maps = self.maps._replace(table=np.zeros((1 << 10, k.TABLE_WIDTH), np.int64))
            self.used = 0

    # --- texts

    def word(self, text: str) -> str:
        """A short word in place of a text that nobody needs to read: equal for equal texts."""
        raw = np.frombuffer(bytearray(text.encode("utf-8", "replace")), np.uint8)
        keys = self.maps.keys
        return f"x{int(sip_bytes(keys[k.K_TEXTS], keys[k.K_TEXTS + 1], np.uint64(1), raw, 0, len(raw), False)):016x}"[:9]

    def process(self, text: str) -> str:
        """The name of a process: a forwarder's kind, or a word."""
        for known in FORWARDERS:
            if text.lower().startswith(known):
                return known
        return self.word(text)
