"""Do access points refuse stations?

Asks: whether an access point answers authentication or association with a status that is no success, and the station is not let in later.
Applies: where management frames of Wi-Fi (IEEE 802.11) are in the capture.
Cannot see: why an access point answers so beyond its status; what goes on at other channels.
Normal: SAE asks for a token first when there are many (status 76), and agrees on how to hash (126, 127: IEEE 802.11-2020 12.4.7.6). An access point that knows
    the station still says "later", and asks it to prove itself (status 30, 11.13). One that steers stations to another band or is full refuses some and
    another one lets them in. Refusals that end so are nothing; if that takes many, they are a warning. One refusal may be followed by another try.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most
from netlens.lenses._wifi import STATUS, gets_in, network, said
from netlens.parsers.wlan import AUTHENTICATION, Event
from netlens.text import plural

ID = "wifi-refused"
GROUP = "handshakes"
RANK = 14
NO_REFUSAL = frozenset({-1, 0, 30, 76, 126, 127})
AGAIN = 2  #: refusals of one station that is not let in
TRIES_NS = 5 * S  #: in which it may try something else
STEERING, STEERED_NS = (
    frozenset({17, 33, 34, 92}),
    30 * S,
)  #: status by which stations are sent to another band; who is not let in there comes back
MANY = 5  #: of one that is, in the end


def look(view: View) -> list[Finding]:
    """At most one."""
    events = view.side.capture.wlan.events
    refusals = [e for e in events if e.answers and e.code not in NO_REFUSAL]
    if not refusals:
        return []
    by_station: dict[str, list[Event]] = grouped(refusals, lambda e: e.station)
    let_in = {station for station, told in by_station.items() if gets_in(view, station, told[-1].ts)}
    again = {station: told for station, told in by_station.items() if station not in let_in and len(told) >= AGAIN}
    grave = {
        station: told
        for station, told in again.items()
        if view.end_of(told[-1].frame) - told[0].ts >= TRIES_NS and not _is_steered(events, told)
    }
    some = {station: told for station, told in by_station.items() if station not in let_in or len(told) >= MANY}
    shown = grave or some
    if not shown:
        return []
    told = [e for each in shown.values() for e in each]
    asked = "authentication" if told[0].what == AUTHENTICATION else "association"
    behind = " and was not let in later" if not let_in & shown.keys() and len(shown) == 1 else ""
    text = (
        f"{most(network(view, e.ap) for e in told)} refused {asked} to {most(e.station for e in told)} {plural(len(told), 'time')}: "
        f"{most(said(STATUS, e.code) for e in told)}{behind}."
    )
    codes = {e.code for e in told}
    if codes & {13, 15} and asked == "authentication":
        advice = "The passphrase or the way to authenticate (WPA2, WPA3) of the station is not that of the network: set it anew."
    elif codes & {5, 17, 33, 34, 92, 93}:
        advice = "The access point is full or far away: let it serve more stations, or add another one."
    elif codes & {31, 40, 41, 42, 43, 44, 45, 46, 104, 124, 18, 27}:
        advice = (
            "Station and network have no security or rate in common: compare the access point's settings (WPA2/WPA3, PMF, minimum rates) with what "
            "the station can."
        )
    else:
        advice = "Look into the access point's log for the station; a list of addresses (MAC filter) refuses like this, too."
    values = {"refusals": len(told), "stations": sorted(shown), "access_points": sorted({e.ap for e in told}), "codes": sorted(codes)}
    return [graded(view, ID, grave, text, [e.frame for e in told], values, advice)]


def _is_steered(events: list[Event], told: list[Event]) -> bool:
    """Whether a station may have gone to another channel, which the recorder does not hear: it was full here, and the station is silent since, soon after."""
    if not STEERING.issuperset(e.code for e in told) or told[-1].ts - told[0].ts >= STEERED_NS:
        return False
    return not any(e.station == told[-1].station and not e.by_ap and e.ts > told[-1].ts + TRIES_NS for e in events)
