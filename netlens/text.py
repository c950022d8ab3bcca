"""Text for people: captures come from strangers, so what stands in them is shown as data."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime


def printable(text: str) -> str:
    r"""Control, format (bidi) and unassigned characters as ``\xNN`` or ``\uNNNN``; everything else as it is."""
    if text.isascii() and text.isprintable():
        return text
    unseen = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return "".join(escaped(char) if unicodedata.category(char) in unseen else char for char in text)


def escaped(char: str) -> str:
    r"""``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``."""
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def shortened(text: str, longest: int) -> str:
    """A text that is longer than that without its middle: ``05e100a621c362…labs.org``."""
    tail = longest // 3
    return text if len(text) <= longest else f"{text[: longest - tail - 1]}…{text[len(text) - tail :]}"


def endpoint(ip: str, port: int) -> str:
    """``1.2.3.4:80`` or ``[2001:db8::1]:80`` (RFC 5952 section 6)."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def display_filter(ends: tuple[tuple[str, int], tuple[str, int]], frames: tuple[int, int] | None = None) -> str:
    """Wireshark's filter for one TCP session, in parentheses.

    ``tcp.stream`` would not do: Wireshark also counts connections that ICMP errors quote, so its numbers may be higher than ours.

    frames : first and last frame, which tell it from other sessions of the same ends; None where no file has these numbers.
    """
    parts = [f"{'ipv6' if ':' in ip else 'ip'}.addr == {ip} && tcp.port == {port}" for ip, port in ends]
    if frames is not None:
        parts.append(f"frame.number >= {frames[0]} && frame.number <= {frames[1]}")
    return f"({' && '.join(parts)})"


def amount(count: float) -> str:
    """1,234,567."""
    return f"{count:,.0f}"


def size(count: float) -> str:
    """Bytes in the largest unit that keeps three digits, decimal (1 kB is 1,000 bytes)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """ "1 frame", "2 frames"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def interval(least: int, most: int) -> str:
    """``4``, or ``4 to 7``."""
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def duration(seconds: float) -> str:
    """A duration with a unit that fits: ``850 µs``, ``12 ms``, ``3.2 s``, ``2 min 5 s``, ``3 h 10 min``."""
    for below, factor, unit in ((0.0000009995, 1e9, "ns"), (0.0009995, 1e6, "µs"), (0.9995, 1e3, "ms"), (99.95, 1, "s")):
        if seconds < below:
            return f"{seconds * factor:.3g} {unit}"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400:,} d {whole % 86_400 // 3600} h"


def utc(t_ns: int) -> str:
    """Date and time to the millisecond, UTC; a time outside the calendar as its number of seconds."""
    try:
        moment = datetime.fromtimestamp(t_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{t_ns // 1_000_000_000} s after 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{t_ns // 1_000_000 % 1000:03d} UTC"
