"""What could netlens not read?

Asks: how many frames hold what netlens does not decode: link types, tunnels it does not enter, encryption of whole packets, on the air too; whether a capture
    file is damaged, or ends in the middle of a packet; whether frames were cut so short that nothing above TCP, or no name of DNS, can be read.
Applies: to every capture.
Cannot see: what is in them.
Normal: routing protocols, ARP and discovery are part of every network. Encrypted payloads of protocols that it does read do not count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import View, finding
from netlens.parsers.carried import SCTP
from netlens.parsers.trail import MAX_SEGMENTS
from netlens.text import plural, printable

ID = "unread-traffic"
GROUP = "sight"
RANK = 91
MOST = 0.5
_UNSEEN = np.uint64(0xFFFFFFFF)  #: in the first eight bytes of a segment, those that hold nothing if four or fewer were captured
SHORT = 1500  #: bytes of a whole packet on most networks: a longer limit did not cut these
WHOLE = "Capture whole packets (tcpdump -s 0)."
OFF_THE_AIR = (
    "These are radio frames of Wi-Fi, taken in monitor mode, most of them encrypted. Capture on the interface without monitor mode (tcpdump without -I), "
    "or let airdecap-ng decrypt them, which needs the passphrase and the handshakes."
)
#: reasons of the quality table that hide traffic of programs
HIDING = (
    "tunnel_gre", "tunnel_ipip", "tunnel_other", "esp", "tunnel_esp", "macsec", "mpls", "ppp", "link_type", "cut_link", "cut_ip", "cut_transport", "bad_ip",
    "bad_transport", "other_transport", "ethertype", "wlan_encrypted", "wlan_piece", "wlan_damaged",
)  # fmt: skip


def look(view: View) -> list[Finding]:
    """What was not read, was not looked at, and is not there: at most one of each kind."""
    part = view.side.capture.part
    q = view.side.capture.table("quality")
    unlooked = [*_damaged(view), *_not_looked_at(view), *_cut_short(view)]
    rows = [(r, n, f) for r, n, f in q.tuples("reason", "frames", "first_frame") if r in HIDING]
    hidden = sum(n for _, n, _ in rows)
    if not hidden or not part.frames:
        return unlooked
    count = {r: n for r, n, _ in rows}
    silent = sum(n for r, n in q.tuples("reason", "frames") if r == "wlan_talk")  # nothing can be hidden there
    share = hidden / max(part.frames - silent, 1)
    lines = part.unread()
    text = f"{lines[0][:1].upper()}{lines[0][1:]}." if lines else f"{hidden:,} of {part.frames:,} frames were not read."
    values = {"frames": part.frames, "unread": hidden, "reasons": count}
    spoken = _is_spoken_of(view, count)
    radio = share > MOST and 2 * count.get("wlan_encrypted", 0) > hidden
    if 2 * sum(n for r, n in count.items() if r.startswith("cut_")) > hidden:
        text += f" {WHOLE}"
    return [
        *unlooked,
        finding(
            view,
            ID,
            "warning" if share > MOST and not spoken else "note",
            text,
            [f for _, _, f in rows],
            values,
            OFF_THE_AIR if radio else "",
        ),
    ]


def _is_spoken_of(view: View, hidden: dict[str, int]) -> bool:
    """Whether all that hides sessions is SCTP whose associations are looked at, and registrations of NHRP."""
    capture = view.side.capture
    sctp = sum(pair.packets for (protocol, *_), pair in capture.carried.items() if protocol == SCTP)
    nhrp = sum(map(len, capture.registrations.values()))
    return (
        hidden.get("other_transport", 0) <= sctp
        and hidden.get("tunnel_gre", 0) <= nhrp
        and hidden.keys() <= {"other_transport", "tunnel_gre"}
    )


def _damaged(view: View) -> list[Finding]:
    """Files that were read in part only."""
    damaged = [i for i in view.side.capture.part.inputs if i.damage]
    if not damaged:
        return []
    others = f" (and {plural(len(damaged) - 1, 'more file')})" if len(damaged) > 1 else ""
    text = f"{printable(Path(damaged[0].path).name)}{others}: {damaged[0].damage}."
    return [finding(view, ID, "warning", text, [], {"damaged": len(damaged), "files": len(view.side.capture.part.inputs)})]


def _cut_short(view: View) -> list[Finding]:
    """Frames that the recorder cut (snaplen) behind their headers, where most connections show nothing, or most lookups no name, for it."""
    capture, s = view.side.capture, view.sessions
    reasons = {reason: (n, frame) for reason, n, frame in capture.table("quality").tuples("reason", "frames", "first_frame")}
    if "cut_payload" not in reasons or view.trail is None:
        return []
    n, frame = reasons["cut_payload"]
    said = [k for k in view.first_copies if s["orig_bytes"][k] or s["resp_bytes"][k]]
    mute = sum(not (view.first_requests[k] | view.first_replies[k]) & _UNSEEN for k in said)
    asked = [name is None for name, *_ in capture.table("lookups").tuples("qname")]
    hidden = [f"nothing above TCP can be read on {mute:,} of {plural(len(said), 'connection')}"] if said and mute > MOST * len(said) else []
    hidden += (
        [f"no name can be read in {sum(asked):,} of {plural(len(asked), 'DNS lookup')}"] if asked and sum(asked) > MOST * len(asked) else []
    )
    if not hidden:
        return []
    length = max((i.snaplen for i in capture.part.inputs), default=0)
    how = f"cut to {length:,} bytes" if 0 < length < SHORT else "cut short"
    text = f"{n:,} of {capture.part.frames:,} frames were {how} when they were captured: {' and '.join(hidden)}, so failures there are not reported. {WHOLE}"
    return [finding(view, ID, "warning", text, [frame], {"cut": n, "frames": capture.part.frames, "unread_connections": mute})]


def _not_looked_at(view: View) -> list[Finding]:
    """What is beyond the segments that are kept one by one."""
    if view.trail is None or not view.trail.left_out:
        return []
    n = view.trail.left_out
    text = f"{n:,} TCP segments after the first {MAX_SEGMENTS:,} were counted but not looked at one by one: their losses, resets and refusals are not reported."
    return [finding(view, ID, "warning", text, [], {"not_looked_at": n})]
