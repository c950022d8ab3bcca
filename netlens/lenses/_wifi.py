"""What lenses of Wi-Fi share: names of networks and of codes, and how the handshakes of stations went.

A handshake (IEEE 802.11-2020 12.7.6) is four messages. An access point that gets no valid second one sends the first again, and gives up after some; a
wrong passphrase makes the second invalid, so that it is answered by the first again. A third message, or encrypted data of the station, says that keys are
there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from netlens.lenses._view import S, View
from netlens.parsers.wlan import ASSOCIATION, DEAUTHENTICATION, DISASSOCIATION, KEY, Event
from netlens.text import printable

#: IEEE 802.11-2020 table 9-50
STATUS = {
    1: "unspecified failure", 10: "capabilities not supported", 11: "no earlier association", 12: "denied for a reason outside the standard",
    13: "authentication algorithm not supported", 14: "authentication out of sequence", 15: "challenge failure", 16: "time ran out", 17: "too many stations",
    18: "basic rates not supported", 19: "short preamble not supported", 22: "spectrum management required", 23: "unacceptable power",
    24: "unacceptable channels", 25: "short slot time not supported", 27: "HT required", 28: "key holder unreachable",
    31: "management frame protection required", 32: "unspecified QoS failure", 33: "not enough bandwidth", 34: "poor channel conditions", 35: "QoS required",
    37: "request declined", 38: "invalid parameters", 40: "invalid element", 41: "invalid group cipher", 42: "invalid pairwise cipher",
    43: "invalid key management (AKM)", 44: "unsupported RSN version", 45: "invalid RSN capabilities", 46: "cipher rejected by policy",
    51: "listen interval too large", 53: "invalid key (PMKID)", 54: "invalid mobility domain", 55: "invalid fast transition", 77: "unsupported group of SAE",
    92: "denied as a neighbour is preferred", 93: "out of memory", 94: "services denied", 104: "VHT required", 124: "HE required",
}  # fmt: skip
#: IEEE 802.11-2020 table 9-49
REASON = {
    1: "unspecified", 2: "authentication not valid any more", 3: "leaving", 4: "inactivity", 5: "too many stations",
    6: "frame of a station that is not authenticated", 7: "frame of a station that is not associated", 8: "leaving", 9: "not authenticated",
    10: "unacceptable power", 11: "unacceptable channels", 12: "moved to another access point", 13: "invalid element", 14: "wrong checks of frames (MIC)",
    15: "handshake timed out", 16: "group key handshake timed out", 17: "handshake differs from association", 18: "invalid group cipher",
    19: "invalid pairwise cipher", 20: "invalid key management (AKM)", 21: "unsupported RSN version", 22: "invalid RSN capabilities", 23: "802.1X failed",
    24: "cipher rejected by policy", 28: "no roaming agreement", 29: "cipher or key management (AKM) not allowed", 30: "not authorised here",
    32: "unspecified QoS reason", 33: "not enough bandwidth", 34: "poor channel conditions", 35: "used more than its time (TXOP)",
    36: "leaving", 39: "time ran out", 45: "unknown peer key", 46: "authorised access limit", 47: "services changed",
    48: "wrong number of FT frames", 49: "invalid key identifier (PMKID)", 50: "invalid mobility domain", 51: "invalid fast transition element",
}  # fmt: skip
BY_HANDSHAKE = frozenset({1, 2, 15, 23})  #: reasons for which an access point ends a handshake
SOON_NS = 10 * S  #: in which what follows an association belongs to it: 802.11 lets a handshake take 4 tries of 1 s, EAP takes some seconds


def network(view: View, ap: str) -> str:
    """``"Home" (02:00:00:00:00:02, channel 6)``."""
    known = view.side.capture.wlan.networks.get(ap)
    if known is None:
        return ap
    channel = f", channel {known.channel}" if known.channel else ""
    return f'"{printable(known.name)}" ({ap}{channel})' if known.name else f"{ap}{f' ({channel[2:]})' if channel else ''}"


def said(names: dict[int, str], code: int) -> str:
    """A code by its name and number."""
    return "protected, so unknown" if code < 0 else f"{names[code]} ({code})" if code in names else f"code {code}"


@dataclass
class Handshakes:
    """Of one station with one access point.  wrong : second messages that were answered by the first one again, or by being sent away; unanswered : first
    messages without a second one, of the longest run, since silent_ns; done_ns : when one was completed, latest; frames : what shows what went wrong."""

    wrong: int = 0
    unanswered: int = 0
    begin_ns: int = 0
    end_ns: int = 0
    done_ns: int = -1
    silent_ns: int = -1
    reasons: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


def by_pair(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    """Events by access point and station, in order."""
    out: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        out[event.ap, event.station].append(event)
    return out


def handshakes(view: View) -> dict[tuple[str, str], Handshakes]:
    """By access point and station, of those that had any."""
    wlan = view.side.capture.wlan
    chosen = [e for e in wlan.events if e.what in (KEY, DEAUTHENTICATION, DISASSOCIATION)]
    return {pair: _followed(view, pair, told) for pair, told in by_pair(chosen).items() if any(e.what == KEY for e in told)}


def _followed(view: View, pair: tuple[str, str], told: list[Event]) -> Handshakes:
    out = Handshakes()
    second = -1  # frame of a second message that nothing followed yet
    run: list[Event] = []  # first messages since the last second one
    keys = [e for e in told if e.what == KEY]
    out.begin_ns, out.end_ns = keys[0].ts, told[-1].ts
    for event in told:
        if event.what == KEY and event.step in (3, 4):
            out.done_ns, second, run = event.ts, -1, []
        elif event.what == KEY and event.step == 2:
            second, run = event.frame, []
        elif event.what == KEY:
            if second >= 0:
                out.wrong += 1
                out.frames += [second, event.frame]
                second = -1
            run.append(event)
            if len(run) > out.unanswered and run[-1].ts - run[0].ts <= len(run) * SOON_NS:
                out.unanswered, out.silent_ns = len(run), run[0].ts
                out.frames += [event.frame]
        elif event.by_ap and (second >= 0 or run):
            if second >= 0 and event.code in BY_HANDSHAKE:
                out.wrong += 1
                out.frames += [second, event.frame]
            out.reasons.append(event.code)
            second = -1
    flow = view.side.capture.wlan.flows.get((*pair, True))
    if flow is not None and flow.secret_s:
        later = [s * S for s in flow.secret_s if s * S >= keys[-1].ts - S]  # of a whole second
        out.done_ns = max([out.done_ns, *later])
    return out


def gets_in(view: View, station: str, since: int) -> bool:
    """Whether a station is let in by any access point from some time on, or sends it data."""
    wlan = view.side.capture.wlan
    let_in = any(e.station == station and e.answers and e.code == 0 and e.what == ASSOCIATION and e.ts >= since for e in wlan.events)
    return let_in or any(who == station and flow.frames and flow.last_ns >= since for (_, who, up), flow in wlan.flows.items() if up)
