"""Do controllers of a CAN bus say that something is wrong with it?

Asks: whether frames of errors, which a controller makes for its own machine, say that it went off the bus, that nobody acknowledges what it sends, or that
    errors of the bus come so often that it has no more say in it (error passive).
Applies: where the capture holds frames of errors (SocketCAN, linux/can/error.h; `candump -e`): a program asks for them, or has none.
Cannot see: which unit or which wire is to blame.
Normal: arbitration that is lost; single errors of the bus, which is what frames are sent again for (ISO 11898-1 10.11); a unit that is alone for a moment, as
    the first that is switched on. A controller is passive at 128 errors that outweigh what went well, and off the bus at 256 (ISO 11898-1 12.1.4).
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, seconds
from netlens.parsers.vehicles import BusError
from netlens.text import plural

ID = "bus-errors"
GROUP = "delivery"
RANK = 40
#: Bits of the identifier of a frame of errors
CONTROLLER, PROTOCOL, UNACKNOWLEDGED, OFF, ANY = 0x04, 0x08, 0x20, 0x40, 0x80
PASSIVE, ACTIVE = 0x30, 0x40  #: bits of the controller's state: of what it receives, and sends
TIMES, ALONE_NS = 3, S  #: frames that nobody acknowledges, and for how long before anybody is switched on
MANY, SHARE = 20, 0.02  #: errors of the bus, and their share of all frames: a sound bus has one in thousands


def look(view: View) -> list[Finding]:
    """At most one: of the bus that fares worst."""
    vehicles = view.side.capture.vehicles
    found = [errors for iface, errors in vehicles.errors.items() if _is_told(errors, vehicles.frames.get(iface, 0))]
    if not found:
        return []
    errors = max(found, key=_weight)
    off, alone = [e for e in errors if e.kinds & OFF], [e for e in errors if e.kinds & UNACKNOWLEDGED]
    passive = [e for e in errors if e.kinds & CONTROLLER and e.state & PASSIVE]
    wrong = [e for e in errors if e.kinds & (PROTOCOL | ANY) and not e.kinds & UNACKNOWLEDGED]
    said = [f"{plural(len(alone), 'frame')} got no acknowledgment"] if alone else []
    said += [f"{plural(len(wrong), 'error')} of the bus"] if wrong else []
    said += ["the controller was error passive"] if passive else []
    said += [f"it went off the bus {plural(len(off), 'time')} (bus-off)"] if off else []
    lasted = errors[-1].ts - errors[0].ts
    text = f"CAN: {', '.join(said)}, as {plural(len(errors), 'frame')} of errors say within {seconds(lasted)}."
    values = {"errors": len(errors), "bus_off": len(off), "unacknowledged": len(alone), "longest_s": lasted / 1e9}
    advice = (
        "Nobody else on the bus hears it: look at the cable, at both terminating resistors (60 ohms between the wires), at whether another unit is on, and at "
        "the bit rate of all."
        if alone
        else "Look at the bus: both terminating resistors (60 ohms between the wires), length and branches, and the bit rate of all units."
    )
    worst = [*off, *passive, *alone, *wrong]
    return [graded(view, ID, bool(off or _stays(errors, passive) or _for_long(alone)), text, [e.frame for e in worst], values, advice)]


def _weight(errors: list[BusError]) -> tuple[int, int]:
    return sum(bool(e.kinds & OFF) for e in errors), len(errors)


def _stays(errors: list[BusError], passive: list[BusError]) -> bool:
    """Whether a controller stays passive for long: one that is on first counts errors until others are (ISO 11898-1 6.10), in milliseconds."""
    wrong = [e.ts for e in errors if not (e.kinds & CONTROLLER and e.state & ACTIVE)]
    return bool(passive) and wrong[-1] - passive[0].ts >= ALONE_NS


def _for_long(unacknowledged: list[BusError]) -> bool:
    return len(unacknowledged) >= TIMES and unacknowledged[-1].ts - unacknowledged[0].ts >= ALONE_NS


def _is_told(errors: list[BusError], frames: int) -> bool:
    wrong = sum(bool(e.kinds & (PROTOCOL | ANY)) for e in errors)
    return (
        any(e.kinds & OFF or (e.kinds & CONTROLLER and e.state & PASSIVE) for e in errors)
        or _for_long([e for e in errors if e.kinds & UNACKNOWLEDGED])
        or (wrong >= MANY and wrong >= SHARE * (frames + wrong))
    )
