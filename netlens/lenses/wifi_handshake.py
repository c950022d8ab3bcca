"""Do stations and access points of Wi-Fi agree on keys?

Asks: whether the handshake of WPA begins, and never ends: the second message is answered by the first one again, or the first one by nothing.
Applies: where EAPOL-Key frames of IEEE 802.11 are in the capture.
Cannot see: the passphrase; frames that the recorder did not hear, so that keys count as agreed on as soon as the station sends encrypted data, or the third
    message is there.
Normal: four messages within a second (IEEE 802.11-2020 12.7.6); on a bad channel an access point sends the first one again, some times. Later handshakes are
    encrypted themselves. A station that gets in at last, or somewhere else, is fine. One that is silent and not heard any more may have left.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.lenses._wifi import BY_HANDSHAKE, Handshakes, gets_in, handshakes, network
from netlens.text import plural

ID = "wifi-handshake"
GROUP = "handshakes"
RANK = 14
WRONG = 2  #: second messages that were not believed: one may be a late answer to an earlier first one (12.7.6.3)
UNANSWERED, SPAN_NS = 3, S  #: first messages without an answer; hostapd sends four, a second apart


def look(view: View) -> list[Finding]:
    """At most one of wrong keys, and one of messages without an answer."""
    found = view.once(handshakes)
    if not found:
        return []
    open_ = {pair: each for pair, each in found.items() if each.done_ns < 0 and not _has_keys(view, pair[1], each.begin_ns)}
    wrong = {pair: each for pair, each in open_.items() if each.wrong}
    silent = {
        pair: each
        for pair, each in open_.items()
        if pair not in wrong and each.unanswered >= UNANSWERED and each.end_ns - each.begin_ns >= SPAN_NS
    }
    out = []
    if wrong:
        grave = {pair: each for pair, each in wrong.items() if each.wrong >= WRONG or BY_HANDSHAKE.intersection(each.reasons)}
        shown = grave or wrong
        times = sum(each.wrong for each in shown.values())
        text = (
            f"{most(station for _, station in shown)} did not get into {most(network(view, ap) for ap, _ in shown)}: the access point answered "
            f"{plural(times, 'second message')} of the handshake by the first one again: a wrong passphrase, as a rule."
        )
        values = {"stations": sorted({station for _, station in shown}), "access_points": sorted({ap for ap, _ in shown}), "times": times}
        advice = "Enter the passphrase of the network anew at the station (forget the network first); after a change of it, at all of them."
        out.append(graded(view, ID, grave, text, [frame for each in shown.values() for frame in each.frames], values, advice))
    if silent:
        times, lasted = sum(each.unanswered for each in silent.values()), max(each.end_ns - each.begin_ns for each in silent.values())
        text = (
            f"{most(station for _, station in silent)} did not answer {plural(times, 'first message')} of the handshake with "
            f"{most(network(view, ap) for ap, _ in silent)} over {seconds(lasted)}, and sent no encrypted data later."
        )
        values = {"stations": sorted({station for _, station in silent}), "access_points": sorted({ap for ap, _ in silent}), "times": times}
        advice = "The station hears the access point badly, or its supplicant does not run: go nearer, look at its log."
        there = [pair for pair, each in silent.items() if _is_there(view, pair, each)]
        out.append(graded(view, ID, there, text, [frame for each in silent.values() for frame in each.frames], values, advice))
    return out


def _is_there(view: View, pair: tuple[str, str], each: Handshakes) -> bool:
    """Whether the station was heard after its silence, so that it did not just leave."""
    events = view.side.capture.wlan.events
    flow = view.side.capture.wlan.flows.get((*pair, True))
    spoke = any(e.station == pair[1] and not e.by_ap and e.ts > each.silent_ns for e in events)
    return spoke or (flow is not None and flow.last_ns > each.silent_ns)


def _has_keys(view: View, station: str, since: int) -> bool:
    """Whether a station completes a handshake with any access point, or, where there was none, is let into an open network, from some time on."""
    done = any(who == station and each.done_ns >= since for (_, who), each in view.once(handshakes).items())
    return done or any(
        who == station and flow.frames > flow.encrypted and flow.last_ns >= since and ap in _open(view) and gets_in(view, station, since)
        for (ap, who, up), flow in view.side.capture.wlan.flows.items()
        if up
    )


def _open(view: View) -> set[str]:
    return {ap for ap, network_ in view.side.capture.wlan.networks.items() if network_.security == "open"}
