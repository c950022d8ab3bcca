"""Did the same bytes come out of the tunnel as went in?

Asks: whether each byte that the programs' capture and the host's capture both hold is the same, per connection and direction; and whether an answer or a
    request lost its end on the way. People suspect their tunnel when an answer is garbled.
Applies: to captures of two machines, of connections that both show, and of those of a relay on the host that passes bytes on as they are. What a relay
    encrypts or writes anew is out of reach, which is said, and so is a connection that began before the capture where a relay numbers its bytes anew.
Cannot see: what was damaged before it came to either capture, or is in neither. Bytes that one capture lacks are not compared.
Normal: no byte differs. TCP (RFC 9293 3.1) and Ethernet have checksums that miss one damaged packet in some billions (Stone and Partridge, 2000), TLS and SSH
    end the connection; so what differs was changed by what carries the traffic. A segment that is sent again after a checksum failed is mended.
"""

from __future__ import annotations

from typing import Any

from netlens.chains.sameness import Difference, Sameness, compare
from netlens.chains.side import Side
from netlens.lenses import Finding
from netlens.lenses._view import FRAMES, View, frame_filter
from netlens.text import endpoint, plural, printable, size

ID = "damaged"
GROUP = "sameness"
RANK = 11


def look(view: View) -> list[Finding]:
    """What differs from the VM's capture to the host's; else, as a note, that nothing does."""
    vm = view.traffic.vm
    found = view.traffic.once(compare) if view.side is vm else None
    if found is None or vm is None or not (found.connections or found.skipped):
        return []
    rest = ", ".join(f"{count:,} {why}" for why, count in sorted(found.skipped.items(), key=lambda each: (-each[1], each[0])))
    n = len({d.row for d in found.differences})
    values: dict[str, Any] = {
        "connections": found.connections,
        "bytes": found.bytes,
        "damaged": n,
        "not_compared": dict(found.skipped),
        "through_relay": found.through_relay,
        "to_relay": found.to_relay,
    }
    if not found.differences:
        return [_same(found, rest, values)]
    first = min(found.differences, key=lambda d: (d.frames[0] or 1 << 62, d.row))
    values |= {
        "first": {
            "orig": first.orig,
            "position": first.position,
            "missing": first.missing,
            "vm_frame": first.frames[0],
            "host_frame": first.frames[1],
        }
    }
    text = (
        f"{n:,} of {plural(found.connections, 'connection')} did not come out as {'it' if n == 1 else 'they'} went in: {_what(vm, first)}"
        f"{' (the first)' if n > 1 else ''}."
    )
    of_vm, of_host = (
        [(side, f) for f in sorted({d.frames[k] for d in found.differences if d.frames[k]})] for k, side in enumerate(("vm", "host"))
    )
    frames = of_vm[:FRAMES] + of_host[:FRAMES]
    advice = (
        "What carries the traffic between the two captures changes it: look at both frames, then at what stands between them (tunnel, proxy, driver, "
        "network card), and try without it."
    )
    return [Finding(ID, ID, "problem", text, frames, frame_filter([f for _, f in of_vm[:FRAMES]]), values, advice, every=of_vm + of_host)]


def _what(vm: Side, d: Difference) -> str:
    c = vm.connections
    whom = printable(endpoint(c["sni"][d.row] or c["resp_ip"][d.row], c["resp_port"][d.row]))
    which = f"{'sent to' if d.orig else 'received from'} {whom}"
    at = f"VM frame {d.frames[0]:,}, host frame {d.frames[1]:,}"
    if d.missing:
        return f"of what was {which}, the last {plural(d.missing, 'byte')} did not come out ({at})"
    by = " behind the relay on the host, which changed it" if d.relayed else ""
    return f"what was {which} differs from byte {d.position:,} on{by} ({at})"


def _same(found: Sameness, rest: str, values: dict[str, Any]) -> Finding:
    """That what was compared is the same; what was not, and why."""
    if found.connections:
        text = f"What is in both the VM's and the host's capture is identical: {plural(found.connections, 'connection')}, {size(found.bytes)} compared"
        if found.through_relay:
            text += f", {found.through_relay:,} also with what a relay on the host passed on"
        if found.to_relay:
            text += f"; {found.to_relay:,} only as far as a relay on the host: what it asked or passed on in connections of its own was not compared"
        text += f"; not compared: {rest}." if rest else "."
    else:
        text = f"Whether the same bytes came out as went in cannot be said: {rest}."
    return Finding(ID, ID, "note", text, values=values)
