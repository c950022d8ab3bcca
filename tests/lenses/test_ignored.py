"""What SYNs say of why nobody answers them, and what handshakes and routers say of segments that are too small or too large."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, IPerror, TCPerror
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.lenses.test_neighbours import found, is_at

if TYPE_CHECKING:
    from scapy.packet import Packet as Layer

CLIENT, SERVER, ROUTER = "192.0.2.10", "198.51.100.20", "192.0.2.1"
PRIVATE = "192.168.5.15"
MAC, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:01"
Frames = list[tuple[float, "Layer"]]


def sent(
    at: float, source: str, target: str, ports: tuple[int, int], flags: str, more: dict[str, object], data: int = 0
) -> tuple[float, Layer]:
    layer = Ether(src=MAC, dst=OTHER) / IP(src=source, dst=target) / TCP(sport=ports[0], dport=ports[1], flags=flags, window=8000, **more)
    return at, layer / bytes(data) if data else layer


def connection(at: float, port: int, stamp: int | None = None, client: str = CLIENT, mss: tuple[int, int] = (1460, 1460)) -> Frames:
    """One that is opened, used and closed."""

    def up(later: float, flags: str, data: int = 0, **more: object) -> tuple[float, Layer]:
        return sent(at + later, client, SERVER, (port, 80), flags, more, data)

    def down(later: float, flags: str, data: int = 0, **more: object) -> tuple[float, Layer]:
        return sent(at + later, SERVER, client, (80, port), flags, more, data)

    options = [("Timestamp", (stamp, 0))] if stamp is not None else []
    return [
        up(0, "S", seq=100, options=[("MSS", mss[0]), *options]),
        down(0.001, "SA", seq=500, ack=101, options=[("MSS", mss[1])]),
        up(0.002, "A", seq=101, ack=501),
        up(0.003, "PA", 10, seq=101, ack=501),
        down(0.004, "PA", 10, seq=501, ack=111),
        up(0.005, "FA", seq=111, ack=511),
        down(0.006, "FA", seq=511, ack=112),
        up(0.007, "A", seq=112, ack=512),
    ]  # fmt: skip


def unanswered(at: float, port: int, stamp: int | None = None, client: str = CLIENT, checksum: str = "right") -> Frames:
    """Four SYNs in 3 s. ``checksum``: or "wrong", or "unfilled" as for a card, or "moved" if the IP header's is wrong as well."""
    made = []
    for k in range(4):
        options = [("Timestamp", (stamp + 1000 * k, 0))] if stamp is not None else []
        when, frame = sent(at + k, client, SERVER, (port, 80), "S", {"seq": 100, "options": options})
        frame = Ether(bytes(frame))
        if checksum in ("wrong", "moved"):
            frame[TCP].chksum ^= 0x1234
        if checksum == "moved":
            frame[IP].chksum ^= 0x1234
        if checksum == "unfilled":
            frame[TCP].chksum = _pseudo(frame)
        made.append((when, frame))
    return made


def _pseudo(frame: Layer) -> int:
    """The sum of the pseudo-header, which systems leave for the card to complete."""
    header = bytes(frame[IP])[12:20] + b"\x00\x06" + (len(frame[TCP])).to_bytes(2, "big")
    total = sum(int.from_bytes(header[k : k + 2], "big") for k in range(0, len(header), 2))
    return (total & 0xFFFF) + (total >> 16)


def clocks(first: int, second: int, step: int = 10_000, opened: bool = False, times: int = 4) -> Frames:
    """One host is answered each time, another behind the same address never is: timestamps of both, and what each adds in 10 s. ``opened``: that is, too."""
    made: Frames = []
    for k in range(times):
        made += connection(10 * k, 40_000 + k, (first + step * k) % 2**32)
        stamp = (second + step * k) % 2**32
        made += connection(10 * k + 1, 50_000 + k, stamp) if opened else unanswered(10 * k + 1, 50_000 + k, stamp)
    return made


@pytest.mark.parametrize(("first", "second"), [(50_000_000, 1_000_000), (80_000_000, 4_285_000_000)])
def test_timestamps_of_two_clocks_behind_one_address(tmp_path: Path, first: int, second: int) -> None:
    this = found(tmp_path, clocks(first, second))["connect-unanswered"]
    assert this.text.endswith(
        "though others did; their TCP timestamps are lower than that of the connection before, which is of another clock at 192.0.2.10."
    )
    assert "tcp_tw_recycle" in this.advice


@pytest.mark.parametrize(
    "packets",
    [
        clocks(1_000_000, 50_000_000),  # higher ones
        clocks(50_000_000, 1_000_000, step=77_777_777),  # each connection has its own
        clocks(50_000_000, 1_000_000, times=2),
    ],
)
def test_timestamps_that_are_no_reason(tmp_path: Path, packets: Frames) -> None:
    this = found(tmp_path, packets)["connect-unanswered"]
    assert "timestamps" not in this.text
    assert "recycle" not in this.advice


def test_timestamps_of_two_clocks_that_are_both_answered(tmp_path: Path) -> None:
    assert not {each.id for each in found(tmp_path, clocks(50_000_000, 1_000_000, opened=True)).values() if each.severity == "problem"}


def reuse(again: bool = True, others: int = 3, answered: bool = False) -> Frames:
    """Three connections, after which their ports are used ``again``, or others; and some that are answered meanwhile."""
    made: Frames = []
    for k in range(3):
        made += connection(k, 40_000 + k)
        made += unanswered(5 + 4 * k, 40_000 + k if again else 45_000 + k)
    for k in range(others):
        made += connection(8.5 + 4 * k, 50_000 + k)
    return made + (connection(19, 50_000) if answered else [])


def test_ports_that_are_used_again_too_soon(tmp_path: Path) -> None:
    this = found(tmp_path, reuse())["connect-unanswered"]
    assert this.text.endswith("though others did; each used a port again on which a connection had ended shortly before (up to 11.0 s).")
    assert "TIME_WAIT" in this.advice


@pytest.mark.parametrize("packets", [reuse(again=False), reuse(others=0), reuse(answered=True)])
def test_ports_that_are_no_reason(tmp_path: Path, packets: Frames) -> None:
    this = found(tmp_path, packets).get("connect-unanswered")
    assert this is None or "port again" not in this.text


def test_syns_with_wrong_checksums(tmp_path: Path) -> None:
    this = found(tmp_path, [*unanswered(0, 40_000, checksum="wrong"), *unanswered(6, 40_001, checksum="wrong")])["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith("; the TCP checksums of these SYNs are wrong, so that a receiver drops them.")


@pytest.mark.parametrize("checksum", ["right", "moved", "unfilled"])
def test_checksums_that_tell_nothing(tmp_path: Path, checksum: str) -> None:
    this = found(tmp_path, [*unanswered(0, 40_000, checksum=checksum), *unanswered(6, 40_001, checksum=checksum)])["connect-unanswered"]
    assert "checksum" not in this.text + this.advice


def test_wrong_checksums_of_connections_that_are_answered(tmp_path: Path) -> None:
    """As where addresses were changed in the file, and the checksums of IP headers made anew."""
    others = [(at, Ether(bytes(frame))) for at, frame in connection(20, 40_005)]
    for _, frame in others:
        frame[TCP].chksum ^= 0x1234
    assert "checksum" not in found(tmp_path, [*unanswered(0, 40_000, checksum="wrong"), *others])["connect-unanswered"].text


def asked(at: float, source: str, target: str, after: float) -> Frames:
    """ARP and its answer."""
    request = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=source, pdst=target)
    return [(at, request), is_at(target, OTHER, at + after, told=source)]


@pytest.mark.parametrize(("by_client", "told"), [(0.005, True), (0.00002, False)])
def test_checksums_that_a_card_should_have_added(tmp_path: Path, by_client: float, told: bool) -> None:
    """They are usual where the sender is near, and wrong where what it answers comes from afar."""
    both = [*asked(0, CLIENT, SERVER, 0.00003), *asked(1, SERVER, CLIENT, by_client)]
    this = found(tmp_path, [*both, *unanswered(2, 40_000, checksum="unfilled")])["connect-unanswered"]
    assert ("without a TCP checksum" in this.text) is told


def to(hardware: str, frames: Frames) -> Frames:
    """The same, sent by the client to another hardware address."""
    made = [(at, frame.copy()) for at, frame in frames]
    for _, frame in made:
        if frame[IP].src == CLIENT:
            frame[Ether].dst = hardware
    return made


NEW = "02:00:00:00:00:02"
LINK = [is_at(SERVER, OTHER, 0)]
BEFORE = [f for k in range(3) for f in connection(1 + k, 41_000 + k)]
AFTER = to(NEW, connection(30, 42_000))


GONE = [*BEFORE, *unanswered(10, 40_000), *unanswered(16, 40_001), *unanswered(22, 40_002), *AFTER]
MOVED = is_at(SERVER, NEW, 12)


def tagged(frames: Frames) -> Frames:
    """The same with a tag of a VLAN."""
    made = [(at, frame.copy()) for at, frame in frames]
    for _, frame in made:
        frame[Ether].payload = Dot1Q(vlan=27) / frame[Ether].payload
        frame[Ether].type = 0x8100
    return made


def test_an_address_that_moved_unannounced(tmp_path: Path) -> None:
    this = found(tmp_path, [*LINK, MOVED, *GONE])["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith(
        f"; they went to the hardware address that had answered before ({OTHER}); those that were answered since went to another one ({NEW})."
    )
    assert "gratuitous ARP" in this.advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(GONE, id="a host that was away, with another card"),
        pytest.param([MOVED, is_at(ROUTER, OTHER, 1), *GONE], id="routers"),
        pytest.param([MOVED, *tagged(GONE)], id="behind a tag"),
    ],
)
def test_addresses_that_did_not_move(tmp_path: Path, packets: Frames) -> None:
    this = found(tmp_path, [*LINK, *packets])["connect-unanswered"]
    assert "hardware" not in this.text
    assert "gratuitous" not in this.advice


def test_another_next_hop_than_the_one_that_works(tmp_path: Path) -> None:
    failed = [f for k in range(3) for f in unanswered(10 + 6 * k, 40_000 + k)]
    assert (
        f"to another hardware address ({OTHER}) than those that were answered ({NEW})"
        in found(tmp_path, [*LINK, *failed, *AFTER])["connect-unanswered"].text
    )


@pytest.mark.parametrize(
    "packets",
    [
        [*BEFORE, *unanswered(10, 40_000), *unanswered(16, 40_001), *unanswered(22, 40_002), *connection(30, 42_000)],  # it is where it was
        [*to(NEW, unanswered(10, 40_000)), *unanswered(16, 40_001), *unanswered(22, 40_002), *AFTER],  # both have been tried
        [*unanswered(10, 40_000), *unanswered(16, 40_001), *unanswered(22, 40_002), *AFTER, *connection(31, 42_001)],  # both answer
        [*to(NEW, BEFORE), *unanswered(10, 40_000), *unanswered(16, 40_001), *unanswered(22, 40_002)],  # nothing is answered any more
    ],
)
def test_hardware_addresses_that_are_no_reason(tmp_path: Path, packets: Frames) -> None:
    assert "hardware" not in found(tmp_path, [*LINK, *packets])["connect-unanswered"].text


def bgp(client: str, server: str, signed: bool, at: float = 1, port: int = 179) -> Frames:
    options: list[tuple[object, object]] = [("MSS", 1460), *([(19, bytes(16))] if signed else [])]
    return [sent(at + k, client, server, (40_000, port), "S", {"seq": 100, "options": options}) for k in range(4)]


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        (
            bgp(CLIENT, SERVER, True),
            f"; the SYNs of {CLIENT} carry a TCP MD5 signature (RFC 2385), which a peer that has not the same key drops without a word.",
        ),
        (
            [*bgp(CLIENT, SERVER, True), *bgp(SERVER, CLIENT, False, 1.5)],
            f"; the SYNs of {CLIENT} carry a TCP MD5 signature (RFC 2385), those of {SERVER} do not.",
        ),
    ],
)
def test_syns_that_are_signed(tmp_path: Path, packets: Frames, words: str) -> None:
    this = found(tmp_path, packets)["connect-unanswered"]
    assert this.text.endswith(words)
    assert "same key" in this.advice


@pytest.mark.parametrize(
    "packets",
    [
        bgp(CLIENT, SERVER, False),
        bgp(CLIENT, SERVER, True, port=8080),
        [*bgp(CLIENT, SERVER, True), *bgp(CLIENT, "198.51.100.21", False, 1.5)],  # another peer
    ],
)
def test_signatures_that_are_no_reason(tmp_path: Path, packets: Frames) -> None:
    assert "signature" not in found(tmp_path, packets)["connect-unanswered"].text


def unheard(checksum: int, times: int = 4) -> Frames:
    """SYNs and SYN+ACKs that come again and again.  checksum : what is wrong with those of the latter."""
    made: Frames = []
    for k in range(times):
        made.append(sent(k, CLIENT, SERVER, (40_000, 80), "S", {"seq": 100}))
        at, answer = sent(k + 0.001, SERVER, CLIENT, (80, 40_000), "SA", {"seq": 500, "ack": 101})
        answer = Ether(bytes(answer))
        answer[TCP].chksum ^= checksum
        made.append((at, answer))
    return made


@pytest.mark.parametrize(("checksum", "told"), [(0x1234, True), (0, False)])
def test_answers_with_wrong_checksums(tmp_path: Path, checksum: int, told: bool) -> None:
    this = found(tmp_path, [*unheard(checksum), *connection(20, 40_005)])["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith("(4 SYN+ACKs): the TCP checksums of these SYN+ACKs are wrong, so that a receiver drops them.") is told


def test_wrong_checksums_of_answers_that_are_taken(tmp_path: Path) -> None:
    others = [(at, Ether(bytes(frame))) for at, frame in connection(20, 40_005)]
    for _, frame in others:
        frame[TCP].chksum ^= 0x1234
    assert "checksum" not in found(tmp_path, [*unheard(0x1234), *others])["connect-unanswered"].text


def test_a_private_source_on_a_public_link(tmp_path: Path) -> None:
    link = asked(0, ROUTER, SERVER, 0.001)
    this = found(tmp_path, [*link, *unanswered(1, 40_000, client=PRIVATE)])["connect-unanswered"]
    assert this.text.endswith("; 192.168.5.15 is a private address, though this link has public ones (192.0.2.1 and 198.51.100.20).")
    assert "masquerading" in this.advice


@pytest.mark.parametrize(
    "link",
    [
        [],
        asked(0, PRIVATE, "192.168.5.1", 0.001),  # its own link
        [*asked(0, ROUTER, SERVER, 0.001), *asked(0.5, ROUTER, PRIVATE, 0.001)],
        [*asked(0, ROUTER, SERVER, 0.001), *asked(0.5, SERVER, "192.0.2.254", 0.001)[:1]],  # the server seeks its router in vain
        [*asked(0, ROUTER, SERVER, 0.001), *connection(20, 40_005, client="192.168.5.16")],  # answers find back
    ],
)
def test_private_sources_elsewhere(tmp_path: Path, link: Frames) -> None:
    assert "private" not in found(tmp_path, [*link, *unanswered(1, 40_000, client=PRIVATE)])["connect-unanswered"].text


def download(mss: tuple[int, int], size: int, count: int = 600, last: int = 0) -> Frames:
    """A handshake with these announcements, and segments of one size; ``last``: and one of another."""
    made = connection(0, 40_000, mss=mss)[:4]
    seq, at = 501, 0.01
    for k in range(count + bool(last)):
        length = size if k < count else last
        made.append(sent(at, SERVER, CLIENT, (80, 40_000), "PA", {"seq": seq, "ack": 111}, length))
        seq += length
        made.append(sent(at + 0.0001, CLIENT, SERVER, (40_000, 80), "A", {"seq": 111, "ack": seq}))
        at += 0.0002
    return made


def test_segments_as_tiny_as_was_announced(tmp_path: Path) -> None:
    this = found(tmp_path, download((1460, 88), 76))["tiny-segments"]
    assert this.severity == "problem"
    assert this.text == (
        "1 connection with 198.51.100.20:80 went in tiny segments (600 of 76 bytes on one): 198.51.100.20:80 announced a maximum segment size of 88 bytes, "
        "unless something on the way changed it (MSS clamping)."
    )


def test_a_small_device_as_a_server(tmp_path: Path) -> None:
    packets = download((1460, 88), 76)
    for _, layer in packets:
        layer["TCP"].window = 1972
    assert found(tmp_path, packets)["tiny-segments"].severity == "warning"


@pytest.mark.parametrize("mss", [(88, 1460), (1460, 256)])
def test_small_devices_and_slow_links(tmp_path: Path, mss: tuple[int, int]) -> None:
    """A client that has no room for more, and a link that is slow, may be meant."""
    assert found(tmp_path, download(mss, min(mss)))["tiny-segments"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        download((1460, 1460), 76),  # a program writes so
        download((1460, 88), 76, count=100),
        download((1460, 88), 40),  # smaller than was asked for
        download((536, 536), 536),
        download((1460, 88), 76, last=1400),  # nobody heeds it
    ],
)
def test_small_segments_that_are_no_fault(tmp_path: Path, packets: Frames) -> None:
    assert "tiny-segments" not in found(tmp_path, packets)


def lossy(size: int = 1448, mtu: int = 1500, errors: int = 20) -> Frames:
    """Segments of which every tenth comes again after 0.2 s, upon an ICMP error that quotes it."""
    made = connection(0, 40_000)[:4]
    seq, at, left = 501, 0.01, errors
    for k in range(200):
        frame = sent(at, SERVER, CLIENT, (80, 40_000), "PA", {"seq": seq, "ack": 111}, size)
        made.append(frame)
        if k % 10 == 0:
            if left:
                quoted = IPerror(src=SERVER, dst=CLIENT, len=size + 40, proto=6, flags="DF") / TCPerror(sport=80, dport=40_000, seq=seq)
                made.append(
                    (at + 0.0001, Ether(src=OTHER, dst=MAC) / IP(src=ROUTER, dst=SERVER) / ICMP(type=3, code=4, nexthopmtu=mtu) / quoted)
                )
                left -= 1
            at += 0.2
            made.append(sent(at, SERVER, CLIENT, (80, 40_000), "PA", {"seq": seq, "ack": 111}, size))
        seq += size
        made.append(sent(at + 0.001, CLIENT, SERVER, (40_000, 80), "A", {"seq": 111, "ack": seq}))
        at += 0.002
    return made


def test_a_router_that_merges_packets(tmp_path: Path) -> None:
    this = found(tmp_path, lossy())["packet-loss"]
    assert this.severity == "problem"
    assert "192.0.2.1 merges packets, and then finds them too big for a link (ICMP, MTU 1,500)" in this.text
    assert "LRO" in this.advice


@pytest.mark.parametrize("packets", [lossy(mtu=1400), lossy(errors=3), lossy(errors=0)])
def test_packets_that_are_too_large_indeed(tmp_path: Path, packets: Frames) -> None:
    this = found(tmp_path, packets)
    assert not any("merges packets" in each.text for each in this.values())
