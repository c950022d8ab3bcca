"""How far the VM's clock is from this machine's.

Claim: less than a second.
Fix: set the VM's clock. Recordings are put on one time line by their packets; only people who read logs of both sides are misled.
"""

from __future__ import annotations

from collections.abc import Sequence

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene, span
from netlens.capture.machine import Trip
from netlens.text import plural

TITLE = "clock of the VM"
ON = "vm"
RANK = 110


TRIPS = 8  #: the bounds are as good as the quickest of them; more than eight gain little


def look(machine: Machine, scene: Scene) -> Result:
    trips = machine.clock_trips(TRIPS)
    if not trips:
        return Result(WARNING, "date on the VM gave no time to compare with")
    low, high = offset_bounds(trips)
    if low > high:
        return Result(
            WARNING, "one of the clocks was set while they were compared: no offset explains all answers", "run netlens doctor again"
        )
    text = f"VM minus this machine: between {span(low, True)} and {span(high, True)} ({plural(len(trips), 'round trip')} by ssh)"
    if low > 1 or high < -1:
        return Result(
            WARNING,
            f"{text}; recordings are aligned by their packets, but anyone who compares logs of both sides by eye is misled",
            _set_clock(machine),
        )
    return Result(OK, text)


def offset_bounds(trips: Sequence[Trip]) -> tuple[float, float]:
    """Their clock minus ours, in seconds: no less and no more than this, whatever the delays each way.

    Their time was told between ``sent`` and ``answered``; so the offset is at least theirs minus answered, at most theirs minus sent. Each trip
    gives such an interval and all hold, so the result is their intersection; empty (low > high) if a clock was set meanwhile.
    """
    low = max(trip.theirs_ns - trip.answered_ns for trip in trips)
    high = min(trip.theirs_ns + trip.resolution_ns - trip.sent_ns for trip in trips)
    return low / 1e9, high / 1e9


def _set_clock(machine: Machine) -> str:
    if "chronyc" in machine.programs:
        return "sudo chronyc makestep"
    return "sudo timedatectl set-ntp true" if "timedatectl" in machine.programs else "sudo systemsetup -setusingnetworktime on"
