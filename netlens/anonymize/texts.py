"""What programs print of a machine, as it may be shown to somebody else: what is not known to be harmless is replaced.

Theory of operation
-------------------
1. What is told to be secret (names of user and machine, the home folder) is replaced wherever it stands as a word, whatever it is.
2. Addresses of private use keep what they mean, as in a capture (:mod:`netlens.anonymize.addresses`); all others become addresses for documentation
   (RFC 5737, RFC 3849), hardware addresses local ones, names with dots images of the same form. One becomes the same everywhere.
3. Of all other words those stay that are in the vocabulary: words that netlens itself is written with, and those of the programs' formats. Any other becomes a
   word of nobody, the same everywhere. So keys, prompts, paths and names are hidden because nothing says that they are harmless, not because they look secret.

Limits: numbers of up to 12 digits stay, ports and process numbers among them. A secret that is a word of the vocabulary, and was not told, stays.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping

from netlens.anonymize.addresses import FIXED_V4, FIXED_V6
from netlens.anonymize.mapper import Mapper

_MEANING = tuple(ipaddress.ip_network(text) for text in FIXED_V4 + FIXED_V6 if text != "240.0.0.0/4")
_POOLS = tuple(ipaddress.IPv4Network(text) for text in ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"))
_POOL6 = ipaddress.IPv6Address("2001:db8::")
_MAC = 48  #: beside the versions of IP
_ITEM = re.compile(
    r"(?P<mac>(?<![\w:.-])[0-9A-Fa-f]{1,2}(?P<by>[:.-])(?:[0-9A-Fa-f]{1,2}(?P=by)){4}[0-9A-Fa-f]{1,2}(?![\w:]))"
    r"|(?P<six>(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]+(?:\d\.\d{1,3}\.\d{1,3}\.\d{1,3})?(?:%(?P<zone>[\w-]+))?(?P<bits6>/\d{1,3})?)"
    r"|(?P<four>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\d)(?P<bits4>/\d{1,2})?)"
    r"|(?P<version>(?<![\w.-])\d{1,5}(?:\.\d{1,6}){1,2}(?![\w.]))"
    r"|(?P<hex>(?<=flags=)[0-9a-f]{1,8}\b|(?<=options=)[0-9a-f]{1,8}\b|\b0x[0-9a-fA-F]{1,4}\b"
    r"|(?<=netmask )0x[0-9a-f]{8}\b|(?<=: )0x[0-9a-f]{8}(?= \())"
    r"|(?P<name>(?<![\w.-])(?:[\w-]+\.)+[\w-]*[^\W\d_][\w-]*)"
    r"|(?P<word>\w+)"
)
_ABBREVIATED = re.compile(r"(?m)^(\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)(/\d{1,2})?(?=\s)")
_INTERFACE = re.compile(
    r"(?:lo|en|eth|wlan|wlp|wl|enp|ens|eno|utun|tun|tap|bridge|br|virbr|vmnet|vmenet|veth|docker|awdl|llw|ap|anpi|gif|stf|feth|ipsec|ppp|wg|bond|vlan|pktap|pflog|sit|tunl|ip6tnl|gre|gretap|erspan|dummy|ifb)"
    r"\d{0,4}(?:s\d{1,3})?(?:f\d)?"
)
_QUANTITY = re.compile(r"\d+(?:ns|us|ms|s|min|m|h|d|B|kB|KB|MB|GB|KiB|MiB|GiB|k|K|M|G|ppm|bit)?")
MOST_DIGITS = 12
#: Names of users and machines that say nothing of whose they are.
ANYBODYS = frozenset(
    (
        "root",
        "admin",
        "user",
        "nobody",
        "localhost",
        "linux",
        "darwin",
        "debian",
        "ubuntu",
        "tart",
        "python",
        "sshuttle",
        "ssh",
        "vm",
        "host",
    )
)


class Texts:
    """Replaces in texts.

    Parameters
    ----------
    mapper : maps addresses of private use and names, and keeps the names that it was told to keep.
    vocabulary : words that stay, in lower case.
    secrets : what is secret -> what stands in its place (a word of the vocabulary, in capitals).
    """

    def __init__(self, mapper: Mapper, vocabulary: Iterable[str], secrets: Mapping[str, str], keep: Iterable[str] = ()):
        self.mapper = mapper
        self.vocabulary = frozenset(vocabulary)
        self.kept = frozenset(name.lower() for name in keep)
        told = {text.lower(): put for text, put in secrets.items() if text and text.lower() not in ANYBODYS}
        ordered = sorted(told, key=len, reverse=True)
        self._secrets = told
        self._secret = re.compile("|".join(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])" for text in ordered) or r"(?!)", re.IGNORECASE)
        self._changes = {"mac": self._mac, "name": self._name, "word": self._word}
        self._shown: dict[str, str] = {}
        self._counts: dict[int, int] = {}

    def text(self, text: str, routes: bool = False) -> str:
        """The text for others; ``routes``: of ``netstat -rn``, where macOS leaves out zeros at the end of a network."""
        text = self._secret.sub(lambda m: self._secrets[m[0].lower()], text)
        if routes:
            text = _ABBREVIATED.sub(self._network, text)
        return _ITEM.sub(self._item, text)

    def _item(self, match: re.Match[str]) -> str:
        if match["six"] or match["four"]:
            return self._address(match)
        change = next((change for kind, change in self._changes.items() if match[kind]), None)
        return change(match[0]) if change else match[0]

    def _word(self, word: str) -> str:
        if word.isdigit():
            return word if len(word) <= MOST_DIGITS else "N"
        if _QUANTITY.fullmatch(word) or _INTERFACE.fullmatch(word) or self._is_known(word):
            return word
        return self.mapper.word(word.lower())

    def _is_known(self, word: str) -> bool:
        parts = [part for part in word.lower().split("_") if part]
        return all(part.isdigit() or part in self.vocabulary or re.sub(r"\d{1,2}\Z", "", part) in self.vocabulary for part in parts)

    def _name(self, name: str) -> str:
        return name if name.lower() in self.kept or self._is_plain(name) else self.mapper.shown_name(name)

    def _is_plain(self, name: str) -> bool:
        return all(self._word(word) == word for word in re.findall(r"\w+", name))

    def _address(self, match: re.Match[str]) -> str:
        bits = match["bits6"] or match["bits4"] or ""
        zone = match["zone"]
        plain = match[0].removesuffix(bits).partition("%")[0]
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:  # a time, a list of numbers
            return re.sub(r"\w+", lambda m: self._word(m[0]), match[0])
        shown = self._mapped(address, bits)
        return shown + (f"%{self._word(zone)}" if zone else "") + bits

    def _mapped(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: str = "") -> str:
        if address.version == 4 and _is_mask(int(address)):
            return str(address)
        if not any(address in network for network in _MEANING if network.version == address.version):
            return self._once(str(address), address.version)
        network = (
            self.mapper.network(f"{address}{bits}") if bits and ipaddress.ip_network(f"{address}{bits}", False)[0] == address else None
        )
        return network.partition("/")[0] if network else str(self.mapper.address(str(address)))

    def _network(self, match: re.Match[str]) -> str:
        octets = match[1].split(".")
        width = match[2] or f"/{8 * len(octets)}"
        try:
            address = ipaddress.IPv4Address(".".join([*octets, "0", "0"][:4]))
        except ValueError:
            return match[0]
        mapped = self._mapped(address, width)
        kept = ".".join(mapped.split(".")[: len(octets)]) if mapped.endswith(".0" * (4 - len(octets))) else mapped
        return kept + (match[2] or "")

    def _mac(self, text: str) -> str:
        parts = [int(part, 16) for part in re.split(r"[:.-]", text)]
        return text if set(parts) in ({0}, {255}) else self._once(":".join(f"{part:02x}" for part in parts), _MAC)

    def _once(self, text: str, kind: int) -> str:
        """The image of a text: the next one that is free, or the one that it got before."""
        if text not in self._shown:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._shown[text] = _numbered(kind, number)
        return self._shown[text]


def _numbered(kind: int, number: int) -> str:
    if kind == _MAC:
        return f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}"  # locally administered
    if kind == 6:
        return str(_POOL6 + number)
    pool, host = divmod(number - 1, 254)
    return str(_POOLS[pool][host + 1]) if pool < len(_POOLS) else f"ADDRESS{number}"


def _is_mask(value: int) -> bool:
    """Whether it is a netmask of eight bits or more: 255.255.255.0."""
    inverted = value ^ 0xFFFFFFFF
    return value >= 0xFF000000 and inverted & (inverted + 1) == 0
