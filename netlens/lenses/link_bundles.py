"""Do the links of a bundle (LACP) come up?

Asks: whether a port that sends LACPDUs says for seconds that it hears no partner, or that it is not in the bundle.
Applies: where LACPDUs are in the capture.
Cannot see: which other port is in the bundle instead; bundles without LACP.
Normal: a port says "defaulted" until it hears a partner, which answers a change at once (IEEE 802.1AX-2008 5.4.9), and is in the bundle ("synchronization") two
    seconds later (5.4.16, Aggregate_Wait_Time). A port held in reserve stays out for good, so one that is out, and hears its partner, is a warning. So is
    one that talks to nobody: a switch sends LACPDUs to hosts that know nothing of them, as to those that boot from the network.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, most, seconds
from netlens.parsers.switches import Lacpdu
from netlens.text import plural

ID = "link-bundles"
GROUP = "handshakes"
RANK = 23
TIMES, SPAN_NS = 3, 10 * S
#: Bits of a port's state (IEEE 802.1AX-2008 5.4.2.2)
SYNCHRONIZED, DEFAULTED = 0x08, 0x40


def look(view: View) -> list[Finding]:
    """At most one of ports that hear no partner, and one of ports that are not in the bundle."""
    ports = view.side.capture.switches.ports
    late = {port: run for port, said in ports.items() if (run := _out(said))}
    if not late:
        return []
    deaf = {port: run for port, run in late.items() if all(each.state & DEFAULTED for each in run)}
    partners = {each.partner for said in ports.values() for each in said}
    spoken_to = {port: run for port, run in deaf.items() if port[1] in partners}
    out = {port: run for port, run in late.items() if port not in deaf}
    return [*_deaf(view, spoken_to, deaf), *([] if deaf else _out_of_bundle(view, out))]


def _out(said: list[Lacpdu]) -> list[Lacpdu]:
    """What a port says since it was last in the bundle; [] if that is not long."""
    last = max((k for k, each in enumerate(said) if each.state & SYNCHRONIZED and not each.state & DEFAULTED), default=-1)
    run = said[last + 1 :]
    return run if len(run) >= TIMES and run[-1].ts - run[0].ts >= SPAN_NS else []


def _deaf(view: View, grave: dict[tuple[int, str, int], list[Lacpdu]], deaf: dict[tuple[int, str, int], list[Lacpdu]]) -> list[Finding]:
    if not deaf:
        return []
    shown = grave or deaf
    n, lasted = _sums(shown)
    systems = {system for _, system, _ in shown}
    others = most(port[1] for port, said in view.side.capture.switches.ports.items() if systems & {each.partner for each in said})
    behind = f", although {others} hears it, and answers" if grave else "; nobody is seen to hear it"
    text = f"LACP: {_names(shown)} hears no partner for its bundle{behind} ({plural(n, 'LACPDU')} over {seconds(lasted)})."
    advice = "LACPDUs of the other end do not arrive, or are not taken: compare the ports and bundles that the cables join, and look at the link."
    frames = [each.frame for run in shown.values() for each in run]
    return [graded(view, ID, grave, text, frames, {"ports": len(shown), "lacpdus": n, "longest_s": lasted / 1e9}, advice)]


def _out_of_bundle(view: View, out: dict[tuple[int, str, int], list[Lacpdu]]) -> list[Finding]:
    if not out:
        return []
    n, lasted = _sums(out)
    partners = most(each.partner for run in out.values() for each in run if each.partner)
    sent = f"{plural(n, 'LACPDU')} over {seconds(lasted)}"
    text = f"LACP: {_names(out)} hears {partners or 'a partner'} and is not in the bundle (no synchronization): {sent}."
    frames = [each.frame for run in out.values() for each in run]
    return [graded(view, ID, False, text, frames, {"ports": len(out), "lacpdus": n, "longest_s": lasted / 1e9}, "")]


def _sums(ports: dict[tuple[int, str, int], list[Lacpdu]]) -> tuple[int, int]:
    return sum(map(len, ports.values())), max(run[-1].ts - run[0].ts for run in ports.values())


def _names(ports: dict[tuple[int, str, int], list[Lacpdu]]) -> str:
    return most(f"{system} (port {number})" for _, system, number in ports)
