"""Do the links of a bundle (LACP) come up?

Asks: whether a port that sends LACPDUs says for seconds that it hears no partner, or that it is not in the bundle.
Applies: where LACPDUs are in the capture.
Cannot see: which other port is in the bundle instead; bundles without LACP.
Normal: a port says "defaulted" until it hears a partner, which answers a change at once (IEEE 802.1AX-2008 5.4.9), and is in the bundle ("synchronization") two
    seconds later (5.4.16, Aggregate_Wait_Time). A port held in reserve stays out for good, so one that is out, and hears its partner, is a warning. So is
    one that nobody names as its partner meanwhile, again and again: a switch sends LACPDUs to hosts that know nothing of them, as to those that boot.
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

Port = tuple[int, str, int]  #: interface of the capture, system and number


def look(view: View) -> list[Finding]:
    """At most one of ports that hear no partner, and one of ports that are not in the bundle."""
    ports = view.side.capture.switches.ports
    late = {port: run for port, said in ports.items() if (run := _out(said))}
    if not late:
        return []
    deaf = {port: run for port, run in late.items() if all(each.state & DEFAULTED for each in run)}
    out = {port: run for port, run in late.items() if port not in deaf}
    return [*_deaf(view, deaf), *([] if deaf else _out_of_bundle(view, out))]


def _out(said: list[Lacpdu]) -> list[Lacpdu]:
    """What a port says since it was last in the bundle; [] if that is not long."""
    last = max((k for k, each in enumerate(said) if each.state & SYNCHRONIZED and not each.state & DEFAULTED), default=-1)
    run = said[last + 1 :]
    return run if len(run) >= TIMES and run[-1].ts - run[0].ts >= SPAN_NS else []


def _deaf(view: View, deaf: dict[Port, list[Lacpdu]]) -> list[Finding]:
    if not deaf:
        return []
    answers = {port: _answers(view, port, run) for port, run in deaf.items()}
    grave = {port: run for port, run in deaf.items() if len(answers[port]) >= TIMES}
    shown = grave or deaf
    n, lasted = _sums(shown)
    others = [system for port in shown for system in answers[port]]
    several, them = len(set(others)) > 1, "it" if len(shown) == 1 else "them"
    behind = f", although {most(others)} {'hear' if several else 'hears'} {them}, and {'answer' if several else 'answers'}"
    behind = behind if others else f"; nobody is seen to hear {them}"
    hears = "hears no partner for its bundle" if len(shown) == 1 else "hear no partners for their bundles"
    text = f"LACP: {_names(shown)} {hears}{behind} ({plural(n, 'LACPDU')} over {seconds(lasted)})."
    advice = "LACPDUs of the other end do not arrive, or are not taken: compare the ports and bundles that the cables join, and look at the link."
    frames = [each.frame for run in shown.values() for each in run]
    return [graded(view, ID, grave, text, frames, {"ports": len(shown), "lacpdus": n, "longest_s": lasted / 1e9}, advice)]


def _answers(view: View, port: Port, run: list[Lacpdu]) -> list[str]:
    """Who names this very port as its partner while it hears nobody, once for each LACPDU."""
    ports = view.side.capture.switches.ports
    return [
        other[1]
        for other, said in ports.items()
        for each in said
        if (each.partner, each.partner_port) == port[1:] and run[0].ts < each.ts < run[-1].ts
    ]


def _out_of_bundle(view: View, out: dict[Port, list[Lacpdu]]) -> list[Finding]:
    if not out:
        return []
    n, lasted = _sums(out)
    partners = most(each.partner for run in out.values() for each in run if each.partner)
    sent = f"{plural(n, 'LACPDU')} over {seconds(lasted)}"
    is_out = ("hears {} and is not in the bundle" if len(out) == 1 else "hear {} and are not in the bundle").format(partners or "a partner")
    text = f"LACP: {_names(out)} {is_out} (no synchronization): {sent}."
    frames = [each.frame for run in out.values() for each in run]
    return [graded(view, ID, False, text, frames, {"ports": len(out), "lacpdus": n, "longest_s": lasted / 1e9}, "")]


def _sums(ports: dict[Port, list[Lacpdu]]) -> tuple[int, int]:
    return sum(map(len, ports.values())), max(run[-1].ts - run[0].ts for run in ports.values())


def _names(ports: dict[Port, list[Lacpdu]]) -> str:
    return most(f"{system} (port {number})" for _, system, number in ports)
