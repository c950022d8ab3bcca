"""Which names could not be resolved?

Asks: whether the last word on a question was a failure (SERVFAIL, REFUSED, FORMERR, NOTIMP), and whether the server that fails could not fetch the zone, or
    asks one that asks it; or that a name somebody wanted does not exist; whether a server of HTTP redirects to such a name (RFC 9110 15.4), or over TLS seems
    to; whether a resolver blocks a name, or a name has no IPv6 address and its client nothing else; whether a server denies a name of which it tells the
    address; whether all answers were truncated to nothing, and nobody asked over TCP.
Applies: where answers of DNS were captured: one holds its question and its RCODE (RFC 1035 4.1), so it tells by itself of a question from before the capture,
    or of a client whose own packets were not recorded. Not where a question for that name was recorded, which tells more; nor of failures alone from more
    servers than a client has, which go to whose address was forged (RFC 5358).
Cannot see: lookups over TLS, HTTPS or QUIC; whether the name was mistyped or the zone is broken.
Normal: NXDOMAIN is an answer (RFC 2308 2), not a failure: reverse zones, search suffixes, wpad and service discovery get it all day. It counts only where
    names do not exist under any suffix: all that somebody wanted, who got nowhere since; most of them, of which one is asked for again and again by who is
    served under no other name (browsers ask for some by themselves, which are not there without the internet); one that is, and that exists itself, but leads
    (CNAME) to a name that does not; or one that is asked for to the end by who does nothing else any more. A name that is asked for again and again for
    seconds, denied or blocked, is a warning: a filter denies reports as well, and what they are for works on without. A failure that a repeat or another
    server cures is none (RFC 7873 5.2.3: BADCOOKIE), and one of AAAA is no problem where A gave an address (RFC 4074: servers that mistreat AAAA), unless it
    denies the name (4.2), its client asks again and again, and never goes to that address: musl believes it. A client whose answer is truncated (TC) asks
    again over TCP at once (RFC 1035 4.2.1, RFC 7766 5), or with EDNS. In a capture of UDP alone that is not seen.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter, defaultdict
from itertools import chain

from netlens.lenses import Finding, Severity
from netlens.lenses._asked import IN_CIRCLES, PORT, Question, addressed, holds_more, told, told_of_circles, visible
from netlens.lenses._view import S, View, finding, graded, grouped, most
from netlens.lenses._wanted import ROUNDS, Led, Wanted, led_to, wanted_again
from netlens.lenses.http_errors import final_answers
from netlens.parsers.bodies import Sent, number_of
from netlens.tables import FAILURES
from netlens.text import plural, printable

ID = "dns-failed"
GROUP = "names"
RANK = 11
SHARE, LEAST = 0.1, 3  #: of all questions, or so many, must fail to be a problem: one SERVFAIL of twenty is one broken zone
NO_NAME_SHARE, NO_NAME_LEAST = 0.5, 3  #: of the names somebody wanted
#: How a server asks another for a zone, and what it is told instead (RFC 5936 2.2.1; RFC 8945 5.2)
_TRANSFERS, _DENIED = ("SOA", "AXFR", "IXFR"), ("REFUSED", "NOTAUTH", "NOTZONE", "SERVFAIL", "FORMERR")
_GIVEN = ("NOERROR", "NXDOMAIN")
NO_ANSWER_NS = 2 * S  #: RFC 1035 4.2.1: at the earliest it is asked again then
FOLLOWED_NS = S  #: from a redirection to the lookup of where it leads
_OVER_TCP = (PORT, 853)  #: DNS over TCP, and over TLS
_NOWHERE = {"0.0.0.0", "::"}
_CONTROLLERS = "_ldap._tcp.dc._msdcs."  #: before the name of a domain
#: Names by which systems ask whether a network wants something, which it says by NXDOMAIN: browsers' own DNS over HTTPS, a relay of addresses, designated
#: resolvers (RFC 9462 4)
_CANARIES = {"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "mask-canary.icloud.com", "_dns.resolver.arpa"}
INSISTED = 3  #: times a client asked for a name that does not exist: its program needs it. What a filter of advertisements denies is mostly asked for once
TO_THE_END_NS = S  #: a program that tries again and again; several that ask for one name do so at once


def look(view: View) -> list[Finding]:
    """Failures, answers without a record, names that do not exist, such that also do, and such to which a server sends its clients."""
    nowhere = _sent_nowhere(view) or _led_nowhere(view)
    return [
        *_failures(view),
        *_truncated(view),
        *_no_such_names(view),
        *_denied(view),
        *nowhere,
        *_blocked(view),
        *_without_ipv6(view),
        *_no_controllers(view),
    ]


def _failures(view: View) -> list[Finding]:
    asked = [*visible(view), *told(view)]
    failed = [q for q in asked if q.rcode in FAILURES]
    if not failed:
        return []
    codes = most(q.rcode or "" for q in failed)
    has_address = addressed(asked)
    lost = [q for q in failed if (q.client, q.name.lower()) not in has_address]
    grave = len(lost) >= LEAST or len(lost) >= max(SHARE * len(asked), 1)
    names = most(q.shown for q in failed)
    by = most(r for q in failed for r in q.resolvers)
    these = "the name has" if len({q.name.lower() for q in failed}) == 1 else "these names have"
    despite = "" if lost else f"; {these} an address all the same"
    transfer, circles = _not_transferred(view, failed), told_of_circles(asked, failed)
    why = (f"; {transfer[0]}" if transfer else "") + circles
    alone = sum(not q.frames for q in failed)
    which = "that question was" if alone == len(failed) == 1 else f"{alone:,} of these questions {'was' if alone == 1 else 'were'}"
    seen = f"; {which} not recorded, {'its answer tells' if alone == 1 else 'their answers tell'}" if alone else ""
    text = f"{len(failed):,} of {plural(len(asked), 'DNS question')} failed ({codes} from {by}): {names}{despite}{why}{seen}."
    values = {"questions": len(asked), "failed": len(failed), "codes": sorted({q.rcode for q in failed if q.rcode})}
    advice = "SERVFAIL: the resolver got no usable answer from the zone's servers (or DNSSEC failed); REFUSED: it does not serve you. Try another resolver."
    if transfer:
        advice = transfer[1]
    elif circles:
        advice = IN_CIRCLES
    frames = [f for q in failed for f in q.frames + q.answer_frames] + (transfer[2] if transfer else [])
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _not_transferred(view: View, failed: list[Question]) -> tuple[str, str, list[int]] | None:
    """What a server that fails for names of a zone heard when it asked for that zone (RFC 1034 4.3.5, RFC 5936), with advice and frames: one that has no copy,
    or one that has expired, answers SERVFAIL. Who answers for other names of the zone has it; who asks the same server for addresses may be a resolver that
    looks for the zone."""
    columns = "qname", "qtype", "orig_ip", "resolver_ip", "query_ns", "answer_ns", "rcode", "query_frame", "answer_frame"
    servers = {r for q in failed if q.rcode == "SERVFAIL" for r in q.resolvers}
    rows = list(view.side.capture.table("lookups").tuples(*columns))
    passed_on = {((row[0] or "").lower(), row[1], row[3]) for row in rows}  # what a forwarder is asked, it asks as well
    resolves = {(here, there) for _, type_, here, there, *_ in rows if type_ in ("A", "AAAA")}
    told: set[tuple[str, str]] = set()  # servers with the zones of which they answered a name
    got: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)  # by zone and who got it: how, of whom and when
    for name, type_, here, there, asked, _, rcode, *_ in rows:
        if name and type_ in _TRANSFERS and rcode == "NOERROR":
            got[name.lower(), here].append((type_, there, asked or 0))
        elif name and rcode in _GIVEN and there in servers:
            labels = name.lower().split(".")
            told.update((there, ".".join(labels[k:])) for k in range(len(labels)))
    found = []
    for name, type_, here, there, asked, answered, rcode, *frames in rows:
        zone = (name or "").lower()
        if type_ == "SOA" and (here, there) in resolves:
            continue
        if type_ not in _TRANSFERS or here not in servers or not zone or asked is None or (zone, type_, here) in passed_on:
            continue
        if not any(here in q.resolvers and f".{q.name}".endswith(f".{zone}") for q in failed):
            continue
        if (here, zone) in told:
            continue
        if any((type_ == "SOA" or how != "SOA") and (of != there or ns > asked) for how, of, ns in got.get((zone, here), ())):
            continue
        if (rcode in _DENIED) if answered is not None else view.end_of(frames[0]) - asked >= NO_ANSWER_NS:
            found.append((zone, type_, here, there, rcode if answered is not None else "", [f for f in frames if f]))
    if not found:
        return None
    zone, type_, here, there, rcode, _ = max(found, key=lambda each: (bool(each[4]), each[1] != "SOA"))
    how = f"was told {rcode}" if rcode else "got no answer"
    text = f"{here} asked {there} for the zone {printable(zone)} ({type_}) and {how}"
    advice = f"Without a copy of the zone, or with one that has expired, a secondary server as {here} seems to be fails for all its names: "
    advice += {
        "": f"see that {there} runs, and that {here} reaches it (UDP and TCP port 53).",
        "NOTAUTH": f"{there} does not have the zone, or does not know the key by which {here} signs (TSIG: RFC 8945 5.2): compare name, secret and clock.",
    }.get(rcode, f"let {there} allow the transfer to {here} (allow-transfer, the key), and have it fetched again (rndc retransfer).")
    return text, advice, [f for *_, frames in found for f in frames]


def _truncated(view: View) -> list[Finding]:
    """Questions of which all answers were truncated to nothing, by clients that did not go on over TCP."""
    lookups, asking = view.side.capture.part.lookups, view.side.capture.asking
    bare = lookups.bare() if lookups is not None else set()
    if not bare or not (view.sessions.rows or asking.claims or asking.pings):
        return []
    by_tcp = {view.ends(k)[0] for k in range(view.sessions.rows) if view.ends(k)[3] in _OVER_TCP}
    asked = visible(view)
    has_address = addressed(asked)
    failed = [
        q
        for q in asked
        if q.answer_frames and bare.issuperset(q.answer_frames) and q.client not in by_tcp and (q.client, q.name.lower()) not in has_address
        if q.type != "ANY" and not q.tunnelled  # ANY is asked by who wants much sent to another
        if view.end_of(q.frames[0]) - q.first_ns >= FOLLOWED_NS
    ]
    if not failed:
        return []
    clients = most(q.client for q in failed)
    text = (
        f"{len(failed):,} of {plural(len(asked), 'DNS question')} got only answers that are truncated (TC) and hold no record, and {clients} did not ask over "
        f"TCP: {most(q.shown for q in failed)}."
    )
    again = [q for q in failed if q.attempts > 1]
    grave = len(again) >= LEAST or len(again) >= max(SHARE * len(asked), 1)
    values = {"questions": len(asked), "failed": len(failed), "codes": ["TC"]}
    advice = (
        f"Whoever asks must do so again over TCP (RFC 7766 5), or allow larger answers (EDNS): see which resolver library {clients} has, and "
        "that TCP port 53 is open."
    )
    frames = [f for q in failed for f in q.frames + q.answer_frames]
    return [graded(view, ID, grave, text, frames, values, advice)]


def _missing(view: View) -> tuple[set[str], list[Question]]:
    """All names of hosts that were looked up, and the questions for those that exist under no suffix."""
    asked = [q for q in (*visible(view), *told(view)) if q.of_a_host and q.rcode is not None and not q.tunnelled]
    wanted = [q for q in asked if q.forward]
    found = {q.name for q in asked if q.rcode == "NOERROR"}  # whatever was wanted of it
    denied = [q for q in wanted if q.rcode == "NXDOMAIN" and q.name.rstrip(".") not in _CANARIES]
    begins = {_first_label(q.name) for q in denied}
    known = found | {begin for name in found if _first_label(name) in begins for begin in shorter(name)}
    # with a search suffix behind it, or without, the name is another one that exists
    missing = [q for q in denied if q.name not in known and found.isdisjoint(shorter(q.name))]
    return {q.name for q in wanted} | found, missing


def _first_label(name: str) -> str:
    return name.partition(".")[0]


def _no_such_names(view: View) -> list[Finding]:
    all_, missing = view.once(_missing)
    names = {q.name for q in missing}
    if not names:
        return []
    text = f"{len(names):,} of {plural(len(all_), 'name')} looked up {'does' if len(names) == 1 else 'do'} not exist (NXDOMAIN)"
    values = {"names": len(all_), "missing": len(names)}
    asked_for = Counter((q.client, q.name, q.type) for q in missing for _ in q.answer_frames)
    insisted = {name for (_, name, _), times in asked_for.items() if times >= INSISTED}
    stuck = _to_the_end(view, missing)
    dangling = [q for q in missing if q.leads_to and len(q.answer_frames) > 1]  # once is as of an advertisement
    broken = [q for q in dangling if q.name in insisted] or [q for q in stuck if q.leads_to]
    dangling = broken or dangling
    told = {each.name for each in view.once(_led)}
    again = [] if dangling else wanted_again(q for q in _in_vain(view, missing) if q.name not in told)
    if dangling:
        text += f"; {most(q.name for q in dangling)} leads (CNAME) to {most(q.leads_to[-1] for q in dangling)}"
    elif stuck:
        text += f"; {stuck[0].client} asked for {_times(stuck)}, and did nothing else any more"
    elif again:
        text += f"; {_insistent(again)}"
    else:
        text += f": {most(printable(name) for name in names)}"
    most_of_them = len(all_) >= NO_NAME_LEAST and len(names) >= max(NO_NAME_SHARE * len(all_), NO_NAME_LEAST - 1)
    nowhere = names == all_ and not any(_goes_on(view, q) for q in missing)
    # a filter denies names on purpose to who is served elsewhere, and what a browser asks for by itself is not there in a network without the internet
    served = {client for client, _ in view.once(_reached)} | view.once(_served)
    needed = any(client not in served for client, name, _ in asked_for if name in insisted)
    grave = nowhere or bool(broken) or bool(stuck) or needed + most_of_them + (names == all_) >= 2
    severity: Severity = "problem" if grave else "warning" if again or dangling or names == all_ else "note"
    frames = [f for q in missing for f in q.frames + q.answer_frames]
    advice = "Check the names for typos."
    if dangling:
        advice = "Create the name that it points to again, or remove the CNAME from the zone."
    elif stuck:
        advice = f"Look where {stuck[0].client} has the name from (its settings), and correct it there; or have it added to the zone."
    elif again and not grave:
        frames, whom = [f for w in again for f in w.frames], most(r for w in again for q in w.questions for r in q.resolvers)
        advice = f"If it is a name of your own network, ask a resolver that knows it instead of {whom}; a filter may deny it on purpose."
    return [finding(view, ID, severity, f"{text}.", frames, values, advice)]


def _to_the_end(view: View, missing: list[Question]) -> list[Question]:
    """Questions for a name, with or without suffixes, that a client asks for again and again after it was told that there is none, and does nothing else to
    the end: its program gets no further."""
    asked = grouped((q for q in visible(view) if q.of_a_host), lambda q: q.client)
    found: list[Question] = []
    seen = {view.ends(k)[0] for k in view.in_one if view.ends(k)[3] != PORT}  # what they do would be in the capture
    for client, group in grouped(_in_vain(view, missing), lambda q: q.client).items():
        if client not in seen:
            continue
        last = max(group, key=_last_ns)
        theirs = [q for q in group if _first_label(q.name) == _first_label(last.name)]
        first, told = min(q.first_ns for q in theirs), min(q.answer_ns or q.first_ns for q in theirs)
        others = (q for q in asked[client] if _first_label(q.name) != _first_label(last.name))
        times = max(len(q.answer_frames) for q in theirs)
        insists = times >= ROUNDS and last.last_ns - first >= TO_THE_END_NS
        alone = not any(_goes_on(view, q) for q in theirs) and not any(q.last_ns >= told for q in others)
        if alone and insists:
            found += theirs
    return found


def _times(asked: list[Question]) -> str:
    """Which name is asked for how often."""
    name = max(asked, key=lambda q: (len(q.answer_frames), -len(q.name))).name
    return f"{printable(name)} {plural(max(len(q.answer_frames) for q in asked), 'time')}"


def _in_vain(view: View, asked: list[Question]) -> list[Question]:
    """Questions for names that their clients did not find elsewhere: in a file, by multicast (RFC 6762 3: one label and .local), over TLS, by a proxy."""
    return [q for q in asked if (q.client, number_of(q.name)) not in view.once(_reached) and not re.fullmatch(r"[^.]+\.local", q.name)]


def _reached(view: View) -> set[tuple[str, int]]:
    """Clients, and the numbers of the names of servers to which they spoke."""
    return {(view.ends(k)[0], number_of(name)) for k, name in view.side.capture.table("hellos").tuples("session_id", "sni") if name}


def _served(view: View) -> set[str]:
    """Clients that were answered by a server whose name they had looked up; over IPv6 also under another address than they had asked from."""
    has = {(q.client, address) for q in visible(view) if q.forward and q.rcode == "NOERROR" for address in q.addresses}
    told = grouped(has, lambda each: each[1])
    answered = view.sessions["resp_bytes"]
    over_tcp = ((view.ends(k)[0], view.ends(k)[2]) for k in view.first_copies if answered[k] and view.ends(k)[3] != PORT)
    over_udp = ((t.destination[0], t.source[0]) for t in view.conversations if t.source[1] != PORT)
    reached = set(chain(over_tcp, over_udp))
    alone = {address: group[0][0] for address, group in told.items() if len(group) == 1}
    return {ends[0] for ends in reached & has} | {alone[to] for who, to in reached if ":" in who and ":" not in alone.get(to, ":")}


def _insistent(again: list[Wanted]) -> str:
    """Who asked for which names how often."""
    ours = max(again, key=lambda w: len(w.rounds))
    others = f" (and for {plural(len(again) - 1, 'other')} as well)" if len(again) > 1 else ""
    return f"{ours.client} asked for {printable(ours.name)} {ours.how_often}{others}"


def _blocked(view: View) -> list[Finding]:
    """Names to which a resolver answers that they are nowhere (0.0.0.0 and ::, RFC 6890), asked for again and again."""
    asked = [q for q in visible(view) if q.addresses and q.forward]
    nowhere_alone = [q for q in asked if _NOWHERE.issuperset(q.addresses)]
    if not nowhere_alone:
        return []
    told = {(q.client, q.name) for q in asked if not _NOWHERE.issuperset(q.addresses)}
    again = wanted_again(_in_vain(view, [q for q in nowhere_alone if (q.client, q.name) not in told]))
    if not again:
        return []
    whom = most(r for w in again for q in w.questions for r in q.resolvers)
    nowhere = most(a for w in again for q in w.questions for a in q.addresses)
    text = f"{whom} answers {nowhere}, which is nowhere: {_insistent(again)}."
    blocked = {(w.client, w.name) for w in again}
    clients = {client for client, _ in blocked}
    alone = holds_more(view) and all((q.client, q.name) in blocked for q in visible(view) if q.forward and q.client in clients)
    grave = alone and not any(_goes_on(view, w.questions[0]) for w in again)
    advice = f"If a program needs the name, take it from the block list of {whom}; what only reports or advertises works on without."
    values = {"names": len({w.name for w in again}), "clients": sorted(clients)}
    frames = [f for w in again for f in w.frames]
    return [finding(view, ID, "problem" if grave else "warning", text, frames, values, advice)]


def _without_ipv6(view: View) -> list[Finding]:
    """Names without an IPv6 address that clients ask for again and again which have connections by IPv6, in captures without any IPv4."""
    ends = chain((view.ends(k)[0] for k in view.first_copies), (t.source[0] for t in view.conversations), view.side.capture.asking.claims)
    if any(":" not in ip for ip in ends):
        return []
    connected = {view.ends(k)[0] for k in view.in_one if view.ends(k)[3] not in _OVER_TCP}
    asked = [q for q in visible(view) if q.forward and q.rcode == "NOERROR" and q.client in connected]
    types = grouped(asked, lambda q: (q.client, q.name))
    alone = {
        key for key, group in types.items() if {q.type for q in group if q.addresses} == {"A"} and any(q.type == "AAAA" for q in group)
    }
    again = wanted_again(_in_vain(view, [q for q in asked if (q.client, q.name) in alone]))
    if not again:
        return []
    text = f"{_insistent(again)} and was told an IPv4 address alone, but the capture holds no IPv4."
    clients = sorted({w.client for w in again})
    advice = f"If {most(clients)} has IPv6 alone, it needs NAT64 with DNS64, or a proxy that has IPv4; else record IPv4 as well."
    values = {"names": len({w.name for w in again}), "clients": clients}
    return [finding(view, ID, "warning", text, [f for w in again for f in w.frames], values, advice)]


def _goes_on(view: View, q: Question) -> bool:
    """Whether a client has anything but DNS after an answer; of who was not recorded what it hears will do."""
    last = view.once(_last_of if q.frames else _last_heard).get(q.client)
    return last is not None and last > (q.answer_ns or 0)


def _last_of(view: View) -> dict[str, int]:
    """When each client last had a connection, or sent a datagram, that was not for DNS."""
    end = view.column("end_ns")
    times = [(view.ends(k)[0], end[k]) for k in view.first_copies if view.ends(k)[3] != PORT]
    times += [(t.source[0], t.last_ns) for t in view.conversations if t.destination[1] != PORT]
    return {client: max(ns for _, ns in group) for client, group in grouped(times, lambda each: each[0]).items()}


def _last_heard(view: View) -> dict[str, int]:
    """When each client last had, or heard, anything that was not of DNS."""
    heard = [(t.destination[0], t.last_ns) for t in view.conversations if t.source[1] != PORT]
    times = [*heard, *view.once(_last_of).items()]
    return {client: max(ns for _, ns in group) for client, group in grouped(times, lambda each: each[0]).items()}


def _denied(view: View) -> list[Finding]:
    """Names that a client asks for again and again, of which a server tells the address (A) and says that there are none such (AAAA: RFC 4074 4.2, RFC 8020),
    and to whose addresses that client does not go."""
    asked = visible(view)
    denied = [q for q in asked if q.type == "AAAA" and q.rcode == "NXDOMAIN" and q.of_a_host]
    if not denied or not view.once(holds_more):
        return []
    told: dict[tuple[str, str], set[str]] = {}
    for q in asked:
        if q.type == "A" and q.rcode == "NOERROR" and not _NOWHERE.issuperset(q.addresses):
            told.setdefault((q.client, q.name.lower()), set()).update(q.addresses)
    reached = {view.ends(k)[::2] for k in view.first_copies} | {
        (t.source[0], t.destination[0]) for t in view.conversations if t.destination[1] != PORT
    }
    reached |= {(p.source, p.destination) for p in view.side.capture.asking.pings.values()}
    times: Counter[tuple[str, str]] = Counter()
    for q in denied:
        times[q.client, q.name.lower()] += len(q.answer_frames)
    insisted = {
        key for key, n in times.items() if n >= INSISTED and key in told and not any((key[0], address) in reached for address in told[key])
    }
    shown = [q for q in denied if (q.client, q.name.lower()) in insisted]
    if not shown:
        return []
    text = (
        f"{most(r for q in shown for r in q.resolvers)} tells the IPv4 address of {most(q.name for q in shown)} and says in answer to AAAA that there is no "
        f"such name (NXDOMAIN, {plural(sum(len(q.answer_frames) for q in shown), 'time')}): some resolver libraries believe that."
    )
    values = {"names": len({q.name for q in shown}), "clients": sorted({q.client for q in shown})}
    advice = "Have the DNS server answer AAAA without a record (NOERROR) where the name has another (RFC 4074 4.2, RFC 8020)."
    return [finding(view, ID, "problem", text, [f for q in shown for f in q.frames + q.answer_frames], values, advice)]


def _no_controllers(view: View) -> list[Finding]:
    """Domains whose controllers a client looks for again and again (SRV: MS-ADTS 6.3.6.1) and that have none, though its resolver knows other names of theirs.
    A computer that is away from its company asks so all day, of resolvers that know nothing of the domain, or what is public of it: a warning."""
    asked = visible(view)
    denied = [q for q in asked if q.type == "SRV" and q.rcode == "NXDOMAIN" and q.name.startswith(_CONTROLLERS)]
    known = {(q.client, r, q.name) for q in asked if q.forward and q.addresses for r in q.resolvers}
    shown = []
    for q in denied:
        domain = "." + q.name.removeprefix(_CONTROLLERS)
        if len(q.answer_frames) >= INSISTED and any(
            (q.client, r) == each[:2] and each[2].endswith(domain) for r in q.resolvers for each in known
        ):
            shown.append(q)
    if not shown:
        return []
    times = sum(len(q.answer_frames) for q in shown)
    text = (
        f"{most(q.client for q in shown)} asked {plural(times, 'time')} for the domain controllers of "
        f"{most(printable(q.name.removeprefix(_CONTROLLERS)) for q in shown)} (SRV {most(q.name for q in shown)}), which do not exist (NXDOMAIN), though "
        f"{most(r for q in shown for r in q.resolvers)} knows other names there."
    )
    values = {"names": len({q.name for q in shown}), "clients": sorted({q.client for q in shown})}
    advice = "Have the controllers register their records (nltest /dsregdns, samba_dnsupdate), or ask a resolver that has them; abroad nobody has."
    return [finding(view, ID, "warning", text, [f for q in shown for f in q.frames + q.answer_frames], values, advice)]


def _sent_nowhere(view: View) -> list[Finding]:
    """Names that do not exist to which HTTP redirects, for which its clients ask at once, again and again."""
    sent = view.side.capture.sent_elsewhere
    if not sent:
        return []
    asked = visible(view)
    has_address = addressed(asked)
    missing: dict[tuple[str, int], list[Question]] = {}
    for q in asked:
        # who knows the address of IPv4 may ask for the other one alone, of which some servers say that there is no such name (RFC 4074 4.2)
        if q.type == "A" and q.rcode == "NXDOMAIN" and (q.client, q.name.lower()) not in has_address:
            missing.setdefault((q.client, number_of(q.name)), []).append(q)
    for group in missing.values():
        group.sort(key=_last_ns)
    kept = set(view.first_copies)
    found: list[tuple[Sent, Question]] = []
    for each in sent:
        whither = view.ends(each.session)[0], each.host
        soon = missing.get(whither, []) if each.session in kept and whither not in view.once(_reached) else []
        at = bisect.bisect_left(soon, each.ts, key=_last_ns)  # the first that was not over
        found += [(each, q) for q in soon[at : at + 1] if q.first_ns - FOLLOWED_NS <= each.ts]
    if not found:
        return []
    names = {q.name for _, q in found}
    times = len({each.frame for each, _ in found})
    text = (
        f"{most(view.server(each.session) for each, _ in found)} redirects to {most(q.shown for _, q in found)}, which "
        f"{'does' if len(names) == 1 else 'do'} not exist (NXDOMAIN): {plural(times, 'time')} a client went there in vain."
    )
    advice = "Have the server redirect to a name that its clients can resolve, or make the name known to their resolver."
    frames = [f for each, q in found for f in (each.frame, *q.frames, *q.answer_frames)]
    # a filter may deny where one thing of a page leads; a site that does nothing else is of no use
    served = {view.service(r["session_id"]) for r in view.once(final_answers) if r["status"] < 300}
    in_vain = len({each.frame for each, _ in found if view.service(each.session) not in served})
    severity: Severity = "problem" if in_vain >= INSISTED else "warning"
    return [finding(view, ID, severity, text, frames, {"names": len(names), "redirects": times}, advice)]


def _led_nowhere(view: View) -> list[Finding]:
    """Names that do not exist to which answers lead, as far as can be told of answers that cannot be read."""
    led = view.once(_led)
    if not led:
        return []
    names = {each.name for each in led}
    answers, requests = sum(len(each.frames) for each in led), sum(each.again for each in led)
    text = (
        f"{most(view.server(each.session) for each in led)} seems to redirect to {most(printable(name) for name in names)}, which "
        f"{'does' if len(names) == 1 else 'do'} not exist (NXDOMAIN): behind {plural(answers, 'answer')} a client asked for it at once, and sent "
        f"{plural(requests, 'request')} again."
    )
    advice = "Have the server redirect to a name that its clients can resolve, or make the name known to their resolver."
    asked = [q for q in view.once(_missing)[1] if q.name in names]
    frames = [*(f for each in led for f in each.frames), *(f for q in asked for f in q.frames + q.answer_frames)]
    return [finding(view, ID, "problem", text, frames, {"names": len(names), "redirects": answers}, advice)]


def _led(view: View) -> list[Led]:
    return [each for each in led_to(view, _in_vain(view, view.once(_missing)[1])) if each.again >= INSISTED]


def _last_ns(q: Question) -> int:
    return q.last_ns


def shorter(name: str) -> list[str]:
    """The first labels of a name: one, two, and so on, but not all."""
    labels = name.split(".")
    return [".".join(labels[:k]) for k in range(1, len(labels))]
