"""Does an access point of Wi-Fi send stations away, again and again?

Asks: whether stations are deauthenticated or disassociated within seconds of each association, or in storms; and whether the reason given is a failure, be it
    once, and the station is not let in later: a warning.
Applies: where management frames of IEEE 802.11 are in the capture.
Cannot see: whether an access point said it, or somebody in its name, unless its frames are protected (PMF, IEEE 802.11-2020 12.2.7).
Normal: stations leave (reasons 3, 8, 36) and are forgotten when idle (4); an access point that starts anew tells all (3), and tells who goes on sending that it
    does not know it (6, 7), once for each such frame (11.3.4.1). A station that goes to another access point is told so by the old one, and who is sent away
    some times to be steered stays elsewhere in the end: a warning. Handshakes and logins that fail end so, too: wifi-handshake and refused say it.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.lenses._wifi import REASON, SOON_NS, by_pair, gets_in, handshakes, network, said
from netlens.parsers.wlan import ASSOCIATION, DEAUTHENTICATION, DISASSOCIATION, EVERYBODY, Event
from netlens.text import plural

ID = "wifi-dropped"
GROUP = "handshakes"
RANK = 15
LEAVING = frozenset({3, 4, 8, 12, 36})
NOT_KNOWN = frozenset({6, 7, 9})
#: What went wrong, by itself (IEEE 802.11-2020 table 9-49): no room, keys, ciphers, elements, checks
FAILURES = frozenset({5, *range(13, 25), 28, 29, 30, 33, 34, 35, 39, 46, 48, 49, 50, 51})
TIMES = 3  #: associations that ended within SOON_NS
STEERING, STEERED_NS = (
    frozenset({5, 33, 34}),
    30 * S,
)  #: reasons by which stations are sent to another band, which the recorder need not hear
STORM, STORM_NS = 20, 10 * S  #: an access point that starts anew sends a few
AWAY = (DEAUTHENTICATION, DISASSOCIATION)


def look(view: View) -> list[Finding]:
    """At most one of stations thrown out, one of storms, and one of reasons that are failures."""
    pairs = by_pair(view.side.capture.wlan.events)
    storms = {pair: told for pair, each in pairs.items() if (told := _storm(view, pair, each))}
    thrown = {pair: told for pair, each in pairs.items() if pair not in storms and (told := _thrown_out(view, pair, each))}
    out = []
    if failed := {pair: told for pair, each in pairs.items() if pair not in thrown | storms and (told := _failed(view, pair, each))}:
        told = [e for each in failed.values() for e in each]
        text = (
            f"{most(network(view, ap) for ap, _ in failed)} and {most('all stations' if who == EVERYBODY else who for _, who in failed)} parted "
            f"{plural(len(told), 'time')} because of a failure: {most(said(REASON, e.code) for e in told)}."
        )
        values = {"times": len(told), "stations": sorted({e.station for e in told}), "codes": sorted({e.code for e in told})}
        advice = "Look into the access point's log for the station; compare security (WPA2/WPA3, PMF, ciphers) and rates of both."
        out.append(graded(view, ID, [], text, [e.frame for e in told], values, advice))
    if thrown:
        told = [e for each in thrown.values() for e in each]
        text = (
            f"{most(network(view, ap) for ap, _ in thrown)} sent {most(station for _, station in thrown)} away within {seconds(SOON_NS)} of "
            f"{plural(len(told), 'association')}: {most(said(REASON, e.code) for e in told)}."
        )
        values = {"times": len(told), "stations": sorted({e.station for e in told}), "codes": sorted({e.code for e in told})}
        advice = (
            "Look into the access point's log for the station; compare security and rates of both, and what steers stations to other bands."
        )
        grave = [
            pair
            for pair, each in thrown.items()
            if not gets_in(view, pair[1], each[-1].ts + SOON_NS)
            and not (STEERING.issuperset(e.code for e in each) and each[-1].ts - each[0].ts < STEERED_NS)
        ]
        out.append(graded(view, ID, grave, text, [e.frame for e in told], values, advice))
    if storms:
        grave = [pair for pair, told in storms.items() if not _asked_for(view, pair, told)]
        shown = {pair: storms[pair] for pair in grave} or storms
        told = [e for each in shown.values() for e in each]
        lasted = max(each[-1].ts - each[0].ts for each in shown.values())
        whom = most("all stations" if station == EVERYBODY else station for _, station in shown)
        text = (
            f"{plural(len(told), 'frame')} in the name of {most(network(view, ap) for ap, _ in shown)} sent {whom} away over {seconds(lasted)}: "
            f"{most(said(REASON, e.code) for e in told)}."
        )
        values = {"times": len(told), "stations": sorted({e.station for e in told}), "codes": sorted({e.code for e in told})}
        advice = (
            "So many are an attack, or containment by another Wi-Fi system (WIPS): turn on management frame protection (PMF, 802.11w), and look whose "
            "radio is near."
        )
        out.append(graded(view, ID, grave, text, [e.frame for e in told], values, advice))
    return out


def _failed(view: View, pair: tuple[str, str], told: list[Event]) -> list[Event]:
    """What ended it for a failure, of a station that is not let in later, and of which nothing else tells."""
    ended = [e for e in told if e.what in AWAY and e.code in FAILURES]
    return [] if not ended or gets_in(view, pair[1], ended[-1].ts) or _told_elsewhere(view, pair) else ended


def _told_elsewhere(view: View, pair: tuple[str, str]) -> bool:
    """Whether a handshake without end tells of these two (wifi-handshake), or a login that was denied (refused)."""
    handshake = view.once(handshakes).get(pair)
    failed = handshake is not None and handshake.done_ns < 0 and (handshake.wrong or handshake.unanswered > 1)
    return bool(failed) or any(a.client == pair[1] for a in view.side.capture.link.answers if a.no)


def _storm(view: View, pair: tuple[str, str], told: list[Event]) -> list[Event]:
    away = [e for e in told if e.what in AWAY and e.by_ap]
    if any(b.ts - a.ts <= STORM_NS for a, b in zip(away, away[STORM - 1 :], strict=False)):
        return away
    return []


def _asked_for(view: View, pair: tuple[str, str], told: list[Event]) -> bool:
    """Whether the station itself went on sending, so that each frame of it may have been answered so."""
    flow = view.side.capture.wlan.flows.get((*pair, True))
    return flow is not None and flow.frames >= len(told) and all(e.code in NOT_KNOWN for e in told)


def _thrown_out(view: View, pair: tuple[str, str], told: list[Event]) -> list[Event]:
    """What ended the associations of a station, if that came soon again and again, and mostly."""
    ended: list[Event] = []
    associated, since = 0, -1
    for event in told:
        if event.what == ASSOCIATION and event.answers and event.code == 0:
            associated, since = associated + 1, event.ts
        elif event.what in AWAY:
            if event.by_ap and since >= 0 and event.ts - since <= SOON_NS and event.code not in LEAVING:
                ended.append(event)
            since = -1
    return ended if len(ended) >= TIMES and 2 * len(ended) > associated and not _told_elsewhere(view, pair) else []
