"""Quality: what the capture holds that was not read, and what it lacks; every conclusion is preceded by it."""

from collections.abc import Iterable, Sequence

import numpy as np

from netlens.columns import Array, objects
from netlens.schema import Table
from netlens.tables import QUALITY
from netlens.text import plural
from netlens.wire import decode as d
from netlens.wire import link

#: Reasons for which sessions may be missing from the tables, in words that fit behind a number of frames.
_HIDES = {
    "tunnel_gre": "in GRE tunnels, not IP or too deep (not read)",
    "tunnel_ipip": "in IP-in-IP tunnels, damaged or too deep (not read)",
    "tunnel_other": "in other IP tunnels (not read)",
    "esp": "ESP (encrypted)",
    "tunnel_esp": "ESP in UDP (encrypted)",
    "macsec": "MACsec",
    "wlan_encrypted": "encrypted 802.11",
    "wlan_piece": "fragments of 802.11",
    "wlan_damaged": "802.11 that was damaged on the way",
    "mpls": "MPLS without IP",
    "ppp": "PPP without IP",
    "ethertype": "of other EtherTypes",
    "other_transport": "SCTP, DCCP or UDP-Lite",
    "link_type": "of a link type that netlens does not read",
    "cut_link": "cut before the IP header",
    "cut_ip": "cut inside the IP header",
    "cut_transport": "cut inside the TCP or UDP header",
    "bad_ip": "with a damaged IP header",
    "bad_transport": "with a damaged TCP or UDP header",
}
#: The others: they say what a capture holds instead of what was looked for.
_HOLDS = {
    "tcp": "TCP",
    "udp": "UDP",
    "fragment": "IP fragment",
    "icmp": "ICMP",
    "icmp_error": "ICMP error",
    "other_protocol": "of other IP protocols",
    "arp": "ARP",
    "wlan_talk": "802.11 management and control",
    "not_ip": "of other network protocols",
    "not_a_packet": "without a packet",
}
_COUNTED = ("fragment", "icmp_error")  #: whose words have a plural
_SESSIONS, _ASKED = ("tcp", "udp", "reassembled"), ("icmp", "icmp_error", "arp", "wlan_talk", "wlan_encrypted")


def total(parts: Iterable[tuple[int, Array]]) -> Array:
    """The counts of parts that follow each other; of each its frames and its int64[N_REASONS, 2]."""
    out = np.zeros((d.N_REASONS, 2), np.int64)
    before = 0
    for frames, counts in parts:
        new = (out[:, 0] == 0) & (counts[:, 0] > 0)
        out[new, 1] = counts[new, 1] + before
        out[:, 0] += counts[:, 0]
        before += frames
    return out


def packets(frames: int, counts: Array) -> int:
    """How many of the frames hold a packet."""
    return frames - int(counts[d.R["not_a_packet"], 0])


def unread(frames: int, counts: Array, link_types: Iterable[int], asked: bool = False) -> list[str]:
    """What the tables may lack because it was not read, in at most one sentence.

    Protocols that carry no sessions (ARP, ICMP, LLDP, ...) are not named while anything was read.

    Parameters
    ----------
    counts : int64[N_REASONS, 2] from the decode kernel; link_types : of the interfaces of the capture.  asked : whether ICMP, ARP or Wi-Fi was read.
    """
    if not packets(frames, counts):
        return [f"holds no packets in {plural(frames, 'frame')}" if frames else "holds no frames"]
    count = _by_name(counts)
    hidden = {name: count[name] for name in _HIDES if count[name]}
    if not asked and not any(count[name] for name in _SESSIONS):
        return [f"no TCP or UDP was read in {holds(frames, counts, link_types)}"]
    if not hidden and count["wlan_aggregated"]:
        return [f"of {plural(count['wlan_aggregated'], 'frame')} with several packets (802.11 A-MSDU) the first is read"]
    if not hidden:
        return []
    first = min(counts[d.R[name], 1] for name in hidden)
    n = sum(hidden.values())
    amount = f"{n:,} of {plural(frames, 'frame')} not read"
    several = count["wlan_aggregated"]
    more = f"; of {plural(several, 'frame')} with several packets (A-MSDU) the first is read" if several else ""
    return [
        f"{amount}, so sessions in {'it' if n == 1 else 'them'} are missing: {_listed(hidden, link_types)}; first frame {first:,}{more}"
    ]


def named(paths: Sequence[str], lines: Iterable[str]) -> list[str]:
    """The lines, each with its capture in front."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [f"{paths[0]}{more}: {line}" for line in lines]


def holds(frames: int, counts: Array, link_types: Iterable[int]) -> str:
    """The frames of a capture by what they are: "3 frames: 2 ARP, 1 ICMP"; parameters as for :func:`unread`."""
    exclusive = {name: n for name, n in _by_name(counts).items() if n and name in dict(d.REASONS)}
    return plural(frames, "frame") + (f": {_listed(exclusive, link_types)}" if exclusive else "")


def is_judged(counts: Array) -> bool:
    """Whether there is TCP, UDP, ICMP, ARP or Wi-Fi."""
    count = _by_name(counts)
    return any(count[name] for name in _SESSIONS + _ASKED)


def hidden(counts: Array) -> int:
    """How many frames hold what was not read."""
    count = _by_name(counts)
    return sum(count[name] for name in _HIDES)


def besides(counts: Array) -> str:
    """What a capture holds besides TCP and UDP, and none of what could not be read: "5 ARP, 2 ICMP"; "" where it holds nothing else."""
    count = _by_name(counts)
    if not any(count[name] for name in _SESSIONS):
        return ""
    return _listed({name: count[name] for name in _HOLDS if count[name] and name not in (*_SESSIONS, "fragment", "not_a_packet")}, ())


def _by_name(counts: Array) -> dict[str, int]:
    return dict(zip([name for name, _ in d.REASONS + d.NOTES], counts[:, 0].tolist(), strict=True))


def _listed(count: dict[str, int], link_types: Iterable[int]) -> str:
    words = _HOLDS | _HIDES
    if kinds := sorted({link.NAMES.get(k, f"link type {k}") for k in link_types if k not in link.READ}):
        words["link_type"] += f" ({', '.join(kinds)})"
    return ", ".join(
        plural(n, words[name]) if name in _COUNTED else f"{n:,} {words[name]}"
        for name, n in sorted(count.items(), key=lambda item: -item[1])
    )


def quality_rows(frames: int, counts: Array, extra: list[tuple[str, int, int | None, str]], warnings: list[str]) -> Table:
    """Table of all reasons that occurred.

    Parameters
    ----------
    counts : int64[N_REASONS, 2] from the decode kernel; extra : (reason, count, first frame, meaning); warnings : of the containers.
    """
    rows: list[tuple[str, int, int | None, str]] = [
        ("frames", frames, 1 if frames else None, "frames in the capture; the exclusive reasons add up to it")
    ]
    for (name, meaning), (count, first) in zip(d.REASONS + d.NOTES, counts.tolist(), strict=True):
        if count:
            rows.append((name, count, first, meaning))
    rows += [row for row in extra if row[1]]
    rows += [("warning", 1, None, text) for text in warnings]
    reasons, frame_counts, first_frames, meanings = zip(*rows, strict=True)
    columns = {
        "reason": objects(reasons),
        "frames": np.array(frame_counts, np.int64),
        "first_frame": objects(first_frames),
        "meaning": objects(meanings),
    }
    return Table(QUALITY, columns)
