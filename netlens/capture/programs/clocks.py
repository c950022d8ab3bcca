"""What keeps the clock, from chronyc, timedatectl and systemsetup."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netlens.capture.programs._reading import colon_lines


@dataclass(frozen=True, slots=True)
class ClockState:
    """What keeps a machine's clock; None where it is not told.

    ``offset_s`` is by how much this clock is ahead of true time as its keeper estimates it, ``bound_s`` how wrong that may be.
    """

    keeper: str
    synchronised: bool | None
    offset_s: float | None = None
    bound_s: float | None = None


def parse_chronyc(text: str) -> ClockState | None:
    """``chronyc -n tracking``: the offset, and as its bound half the root delay plus the root dispersion (chronyc(1))."""
    values = dict(colon_lines(text))
    if "System time" not in values and "Leap status" not in values:
        return None
    leap = values.get("Leap status", "")
    offset = None
    if found := re.match(r"(\d+\.\d+) seconds (slow|fast) of NTP time", values.get("System time", "")):
        offset = float(found[1]) * (-1 if found[2] == "slow" else 1)
    delay, dispersion = (_seconds(values.get(key, "")) for key in ("Root delay", "Root dispersion"))
    bound = delay / 2 + dispersion if delay is not None and dispersion is not None else None
    synchronised = None if not leap else leap != "Not synchronised"
    return ClockState("chrony", synchronised, offset if synchronised else None, bound if synchronised else None)


def _seconds(text: str) -> float | None:
    found = re.match(r"(\d+\.\d+) seconds", text)
    return float(found[1]) if found else None


def parse_timedatectl(text: str) -> ClockState | None:
    """``timedatectl show``."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if (answer := values.get("NTPSynchronized")) not in ("yes", "no"):
        return None
    return ClockState("systemd-timesyncd" if values.get("NTP") == "yes" else "timedatectl", answer == "yes")


def parse_systemsetup(text: str) -> ClockState | None:
    """``systemsetup -getusingnetworktime`` of macOS: whether the clock is kept, not how well."""
    if found := re.search(r"Network Time: (On|Off)", text):
        return ClockState("timed", found[1] == "On")
    return None
