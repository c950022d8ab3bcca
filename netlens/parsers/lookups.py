"""Lookups: one row per DNS question with its retries, copies and answer.

Decides: which datagrams are DNS, which of them belong to one question, how long it took, by which path it went, what came back.

Cannot see: lookups over TLS, HTTPS or QUIC; whether a second query came from the same program (two programs that ask for one name within a
retry's time look like a retry of one); a retry within 2 ms on another interface (it looks like a copy).

Theory of operation
-------------------
1. *Selection.* UDP with source or destination port 53 is DNS, readable or not, as long as it holds a header's beginning (id and flags;
   tshark counts alike); else port 5353 is mDNS. On loopback addresses any port is DNS if the message is well-formed in every part:
   transparent proxies and local resolvers listen on ports of their own. Answers taken for their looks make no row unless their query was
   seen. The QR bit, not the port, says who asks.
2. *Rows of messages.* Each message becomes 104 bytes and its texts (:mod:`netlens.wire.dns`). They are joined only in
   :meth:`LookupBuilder.finish`, so that builders of parts of a capture merge to the builder of the whole, wherever the cut. Joining reads
   them in order of time: files of several interfaces hold an answer before its query now and then.
3. *Key.* A lookup is its client's address and port, transaction id, opcode, lower-cased name, type and transport. The resolver is not in
   it: behind a redirect the answer comes from another address than was asked, and a stub may ask two resolvers from one socket. An answer
   without a question (some FORMERR) is joined to the latest query of that client address and port and transaction id.
4. *Attempts.* A query is another attempt of a known lookup, in this order:
   a. same key, not answered, less than :data:`ID_LIFE_NS` after the last attempt (glibc and musl repeat the datagram);
   b. same client address, transaction id, name and type from another port, not answered, less than ID_LIFE_NS later (glibc's next
      resolver);
   c. same client address, name and type with a new id, not answered, :data:`RETRY_MIN_NS` to :data:`RETRY_MAX_NS` after the last attempt
      (Go, c-ares, Windows, resolvers). Sooner, it is a parallel lookup of its own: programs that open three connections at once ask three
      times.
   After its answer, the same key is a new lookup.
5. *Copies.* Queries are counted in ``attempts``, each datagram, as tshark counts questions, unless a copy is proven: a counted query of the
   same lookup, on a different interface, with the same transaction id, and
   - the same addresses and ports, less than :data:`COPY_NS` before: a bridge or route;
   - the same resolver and another source, less than :data:`NAT_NS` before: source NAT (path ``nat``; the inner, first one is who asked);
   - the same source and another resolver, neither of them loopback, less than COPY_NS before: destination NAT (path ``nat``).
   So attempts + copies of all lookups is the number of queries captured.
6. *Answers.* The first answer of a lookup counts; duplicates within ID_LIFE_NS are joined to it. An answer to nothing known makes a row
   with 0 attempts.
7. *Path.* A query to a loopback address on a port other than 53 whose answer comes from another address was redirected: ``sshuttle``, and
   the answer's source is the resolver. Unanswered, it is ``sshuttle`` if its source is no loopback address: only a redirect makes such a
   packet. An answer from the same loopback address and another port (Docker's 127.0.0.11) is translation on the spot: ``direct``.
8. *mDNS.* A query is repeated by the same address and port; any response within :data:`MDNS_NS` with that name and type (or any type, if
   ANY was asked) from another address answers all who asked. Announcements nobody asked for are no lookup. ``rcode`` is NOERROR.

Messages with several questions are named after the first and count once. A question that cannot be read (cut, malformed, absent) has
``qname`` and ``qtype`` null. Keys are compared by 64-bit hashes: one chance in 10^7 of a wrong join among two million messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netlens.packed import Coded, Lists, Nullable, Packed, Texts, nothing
from netlens.schema import Table
from netlens.tables import LOOKUPS
from netlens.wire import columns as c
from netlens.wire import dns as d
from netlens.wire.addresses import ip_column, mix, random_seed
from netlens.wire.compiled import lean
from netlens.wire.words import prefetch

Array = np.ndarray[Any, Any]

#: How long a transaction id means the same lookup. glibc gives up after 5 s x 2 attempts x up to 3 resolvers = 30 s; twice of it joins
#: reused ids.
ID_LIFE_NS = 30_000_000_000
#: A stub's retry with a new id: adaptive time-outs go down to about 250 ms (c-ares), the longest usual one is 5 s
#: (Go), with some slack.
RETRY_MIN_NS = 200_000_000
RETRY_MAX_NS = 6_000_000_000
#: One datagram on two interfaces of one machine: forwarding takes far less than a millisecond, and no stub repeats a query within two.
COPY_NS = 2_000_000
#: Source NAT may wait for a resolution of the neighbour or a busy hypervisor; half of it would miss those.
NAT_NS = 20_000_000
#: mDNS: answers come within 0.5 s, queries are repeated after 1 s, then 3 s (RFC 6762 5.2, 6).
MDNS_NS = 5_000_000_000
#: Longest walk through lookups that share a key, or through messages of one lookup: bounds what a made-up capture can cost.
WALK = 32
LOOK_AHEAD = 12  #: messages whose slots are asked from memory in advance

#: Numbers wanted of each lookup by the columns, one row each (see _describe).
_META, _QUESTION, _NAME, _QUERY_TS, _QUERY_FRAME, _REPLY_TS, _REPLY_FRAME, _RCODE = range(8)
_ORIG_HI, _ORIG_LO, _ORIG_VERSION, _ORIG_PORT, _SERVER_HI, _SERVER_LO, _SERVER_VERSION = range(8, 15)
_DESCRIBED = 15

DIRECT, NAT, SSHUTTLE = 0, 1, 2
_TRANSPORTS = np.array(d.TRANSPORTS, object)
_PATHS = np.array(["direct", "nat", "sshuttle"], object)

# One row of the lookup matrix, as the join kernel leaves it. Message numbers are -1 where there is none.
_FIRST_QUERY, _LAST_QUERY, _ANSWER, _TAIL, _ATTEMPTS, _COPIES, _RESOLVER, _PATH, _PREVIOUS, _FIRST_FRAME = range(10)
_LOOKUP_WIDTH = 10


@lean
def _is_loopback(hi, lo, version):
    return (lo >> 24 & 255) == 127 if version == 4 else hi == 0 and lo == 1


@lean
def _add_message(buf, off, cap, length, packet, transport, extra, rows, n_rows, arena, used, scratch):
    """Parse one message and append its rows; the caller has checked that both arrays have room. Returns ``(n_rows, used)``."""
    row = rows[n_rows]
    begun = used
    used, records = d.parse_message(buf, off, cap, length, transport, arena, used, row, scratch)
    if used < 0:
        return n_rows, begun
    status = row[d.META] >> 42
    if extra & d.ON_LOOPBACK and not status & d.STRICT:
        return n_rows, begun
    # RFC 6762 18.3: other opcodes are not for us; port 5353 is also an ordinary client port, so what cannot be read is no query.
    if transport == d.MDNS and (row[d.META] >> 27 & 15 or not (row[d.META] >> 31 & 1 or status & d.QUESTION_READ)):
        return n_rows, begun
    row[d.META] |= extra << 42
    row[d.FRAME] = packet[c.FRAME]
    row[d.TS] = packet[c.TS]
    row[d.SRC_HI] = packet[c.SRC_HI]
    row[d.SRC_LO] = packet[c.SRC_LO]
    row[d.DST_HI] = packet[c.DST_HI]
    row[d.DST_LO] = packet[c.DST_LO]
    row[d.PORTS] = packet[c.PORTS]
    row[d.IFACE] = packet[c.IFACE]
    if transport != d.MDNS or not row[d.META] >> 31 & 1:
        return n_rows + 1, used
    used = begun  # a response's own question is of no use: it is matched by what it answers
    limit = begun + d.room(cap)
    for i in range(d.MAX_OWNERS):
        last = d.next_owner(buf, off, cap, records, arena, used, limit, rows[n_rows], scratch)
        if last < 0:
            break
        used = last
        n_rows += 1
        if i + 1 < d.MAX_OWNERS:
            for j in range(d.MESSAGE_WIDTH):
                rows[n_rows, j] = rows[n_rows - 1, j]
    return n_rows, used


@lean
def _collect(buf, packets, begin, n, rows, n_rows, arena, used, scratch):
    """Append the DNS messages of packets ``begin`` to ``n``; stops early when an array has no room for the next one.

    Returns ``(next packet, n_rows, used, bytes the next packet needs)``.
    """
    for i in range(begin, n):
        packet = packets[i]
        if packet[c.KIND] != c.UDP or packet[c.PAY_CAP] < d.MIN_MESSAGE:
            continue
        ports = packet[c.PORTS]
        source = ports >> 16 & 0xFFFF
        destination = ports & 0xFFFF
        transport = d.UDP
        extra = 0
        if source != 53 and destination != 53:
            if source == 5353 or destination == 5353:
                transport = d.MDNS
            else:
                version = ports >> 32
                if not (
                    _is_loopback(packet[c.SRC_HI], packet[c.SRC_LO], version) or _is_loopback(packet[c.DST_HI], packet[c.DST_LO], version)
                ):
                    continue
                extra = d.ON_LOOPBACK
        cap = packet[c.PAY_CAP]
        off = packet[c.PAY_OFF]
        if off < 0 or off + cap > len(buf):
            continue
        if n_rows + d.MAX_OWNERS > len(rows) or used + d.room(cap) > len(arena):
            return i, n_rows, used, d.room(cap)
        n_rows, used = _add_message(buf, off, cap, packet[c.LENGTH], packet, transport, extra, rows, n_rows, arena, used, scratch)
    return n, n_rows, used, 0


@lean
def _find(table, keys, key, seed):
    """Slot of ``key``: where it is or belongs (value 0). A slot is 31 bits of the hash << 32 | message + 1; keys are ``keys[message]``."""
    mask = len(table) - 1
    h = mix(seed, key)
    tag = h >> 33 & 0x7FFFFFFF
    slot = h & mask
    while table[slot] != 0 and not (table[slot] >> 32 == tag and keys[(table[slot] & 0xFFFFFFFF) - 1] == key):
        slot = (slot + 1) & mask
    return slot


@lean
def _lookup_at(table, slot, lookup_of):
    """The lookup of the message in that slot, -1 if it is free."""
    m = (table[slot] & 0xFFFFFFFF) - 1
    return lookup_of[m] if m >= 0 else np.int64(-1)


@lean
def _put(table, keys, slot, key, m, seed):
    table[slot] = (mix(seed, key) >> 33 & 0x7FFFFFFF) << 32 | (m + 1)
    keys[m] = key


@lean
def _copy_of(rows, m, tail, previous, counted):
    """Whether query ``m`` is a copy of a counted query in the list that ends at message ``tail``: 0 no, 1 same datagram, 2 translated."""
    p = tail
    for _ in range(WALK):
        if p < 0:
            break
        gap = rows[m, d.TS] - rows[p, d.TS]
        if gap >= NAT_NS:
            break
        if counted[p] and rows[p, d.IFACE] != rows[m, d.IFACE] and (rows[p, d.META] ^ rows[m, d.META]) & 0xFFFF == 0:
            version = rows[m, d.PORTS] >> 32
            if version == rows[p, d.PORTS] >> 32:
                same_source = (
                    rows[p, d.SRC_HI] == rows[m, d.SRC_HI]
                    and rows[p, d.SRC_LO] == rows[m, d.SRC_LO]
                    and (rows[p, d.PORTS] ^ rows[m, d.PORTS]) & 0xFFFF0000 == 0
                )
                same_resolver = (
                    rows[p, d.DST_HI] == rows[m, d.DST_HI]
                    and rows[p, d.DST_LO] == rows[m, d.DST_LO]
                    and (rows[p, d.PORTS] ^ rows[m, d.PORTS]) & 0xFFFF == 0
                )
                if same_source and same_resolver:
                    if gap < COPY_NS:
                        return 1
                elif same_resolver:
                    # Translation changes the address; another port of the same address is a stub that opened a new socket.
                    if rows[p, d.SRC_HI] != rows[m, d.SRC_HI] or rows[p, d.SRC_LO] != rows[m, d.SRC_LO]:
                        return 2
                elif same_source and gap < COPY_NS:
                    looped = _is_loopback(rows[p, d.DST_HI], rows[p, d.DST_LO], version) or _is_loopback(
                        rows[m, d.DST_HI], rows[m, d.DST_LO], version
                    )
                    if not looped:
                        return 2
        p = previous[p]
    return 0


@lean
def _new_lookup(lookups, n):
    lookups[n, _FIRST_QUERY] = -1
    lookups[n, _LAST_QUERY] = -1
    lookups[n, _ANSWER] = -1
    lookups[n, _TAIL] = -1
    lookups[n, _ATTEMPTS] = 0
    lookups[n, _COPIES] = 0
    lookups[n, _RESOLVER] = -1
    lookups[n, _PATH] = DIRECT
    lookups[n, _PREVIOUS] = -1
    lookups[n, _FIRST_FRAME] = np.int64(0x7FFFFFFFFFFFFFFF)


@lean
def _link(rows, lookups, x, m, previous, lookup_of):
    previous[m] = lookups[x, _TAIL]
    lookup_of[m] = x
    lookups[x, _TAIL] = m
    lookups[x, _FIRST_FRAME] = min(lookups[x, _FIRST_FRAME], rows[m, d.FRAME])


@lean
def _count(rows, lookups, x, m, previous, counted, lookup_of):
    """Query ``m`` is an attempt of lookup ``x``."""
    if lookups[x, _FIRST_QUERY] < 0:
        lookups[x, _FIRST_QUERY] = m
        lookups[x, _RESOLVER] = m
    lookups[x, _LAST_QUERY] = m
    lookups[x, _ATTEMPTS] += 1
    counted[m] = True
    _link(rows, lookups, x, m, previous, lookup_of)


@lean
def _set_answer(rows, lookups, x, m, previous, counted):
    """Message ``m`` is the first answer of lookup ``x``: whom it shows to have been asked, and by which path."""
    lookups[x, _ANSWER] = m
    q = lookups[x, _LAST_QUERY]
    if rows[m, d.META] >> 40 & 3 == d.MDNS:
        return
    version = rows[q, d.PORTS] >> 32
    same_ip = rows[q, d.DST_HI] == rows[m, d.SRC_HI] and rows[q, d.DST_LO] == rows[m, d.SRC_LO]
    asked_port = rows[q, d.PORTS] & 0xFFFF
    if version == rows[m, d.PORTS] >> 32 and asked_port != 53 and _is_loopback(rows[q, d.DST_HI], rows[q, d.DST_LO], version):
        lookups[x, _PATH] = DIRECT if same_ip else SSHUTTLE
        lookups[x, _RESOLVER] = m
        return
    p = lookups[x, _TAIL]
    for _ in range(WALK):
        if p < 0:
            break
        if counted[p] and rows[p, d.DST_HI] == rows[m, d.SRC_HI] and rows[p, d.DST_LO] == rows[m, d.SRC_LO]:
            lookups[x, _RESOLVER] = p
            break
        p = previous[p]


@lean
def _named(rows, m):
    """Question of a message: its name, type, opcode and transport."""
    meta = rows[m, d.META]
    question = rows[m, d.QUESTION] & 0xFFFF | (meta >> 27 & 15) << 16 | (meta >> 40 & 3) << 20
    return mix(mix(np.int64(7), rows[m, d.HASH]), question)


@lean
def _keys(rows, key_keys, name_keys, sockets):
    """Fill the keys by which messages are found, before they are: so that their slots can be asked from memory in time."""
    for m in range(len(rows)):
        meta = rows[m, d.META]
        named = _named(rows, m)
        if meta >> 40 & 3 == d.MDNS:
            key_keys[m] = named
            name_keys[m] = named
            continue
        ports = rows[m, d.PORTS]
        if meta >> 31 & 1:
            client = mix(mix(np.int64(3), rows[m, d.DST_HI]), rows[m, d.DST_LO])
            port = ports & 0xFFFF
        else:
            client = mix(mix(np.int64(3), rows[m, d.SRC_HI]), rows[m, d.SRC_LO])
            port = ports >> 16 & 0xFFFF
        client = mix(client, ports >> 32)
        sockets[m] = mix(client, port << 16 | meta & 0xFFFF | (meta >> 40 & 3) << 32)
        key_keys[m] = mix(sockets[m], named)
        name_keys[m] = mix(client, named)


@lean
def _join(
    rows,
    order,
    lookups,
    previous,
    counted,
    lookup_of,
    by_key,
    key_keys,
    by_name,
    name_keys,
    by_resolver,
    resolver_keys,
    by_id,
    id_keys,
    sockets,
    seed,
):
    """Give every message to its lookup, in the order given; returns the number of lookups.

    ``by_key`` leads from a client's socket, id and question to the latest such lookup, ``by_name`` from a client and question to its latest
    lookup (others by _PREVIOUS), ``by_resolver`` from an id, question and resolver to the latest query (for NAT), ``by_id`` from a socket
    and id to the latest lookup. The last two are empty where nothing in the capture needs them.
    """
    found = 0
    last = len(order) - 1
    for i in range(len(order)):
        ahead = order[min(i + LOOK_AHEAD, last)]
        prefetch(by_key, mix(seed, key_keys[ahead]) & (len(by_key) - 1))
        if not rows[ahead, d.META] >> 31 & 1:
            prefetch(by_name, mix(seed, name_keys[ahead]) & (len(by_name) - 1))
        m = order[i]
        meta = rows[m, d.META]
        is_answer = meta >> 31 & 1
        transport = meta >> 40 & 3
        now = rows[m, d.TS]
        ports = rows[m, d.PORTS]
        if transport == d.MDNS:
            if is_answer:
                for any_type in range(2):
                    named = name_keys[m]
                    if any_type:
                        named = mix(mix(np.int64(7), rows[m, d.HASH]), np.int64(255) | (meta >> 27 & 15) << 16 | transport << 20)
                    slot = _find(by_name, name_keys, named, seed)
                    x = _lookup_at(by_name, slot, lookup_of)
                    for _ in range(WALK):
                        if x < 0:
                            break
                        q = lookups[x, _LAST_QUERY]
                        gap = now - rows[q, d.TS]
                        itself = rows[q, d.SRC_HI] == rows[m, d.SRC_HI] and rows[q, d.SRC_LO] == rows[m, d.SRC_LO]
                        if lookups[x, _ANSWER] < 0 and gap <= MDNS_NS and not itself:
                            _set_answer(rows, lookups, x, m, previous, counted)
                        x = lookups[x, _PREVIOUS]
                continue
            named = name_keys[m]
            slot = _find(by_name, name_keys, named, seed)
            head = _lookup_at(by_name, slot, lookup_of)
            x = head
            joined = False
            for _ in range(WALK):
                if x < 0:
                    break
                q = lookups[x, _LAST_QUERY]
                same = (
                    rows[q, d.SRC_HI] == rows[m, d.SRC_HI]
                    and rows[q, d.SRC_LO] == rows[m, d.SRC_LO]
                    and rows[q, d.PORTS] >> 16 == ports >> 16
                )
                if same:
                    if _copy_of(rows, m, lookups[x, _TAIL], previous, counted) == 1:
                        lookups[x, _COPIES] += 1
                        _link(rows, lookups, x, m, previous, lookup_of)
                        joined = True
                    elif lookups[x, _ANSWER] < 0 and now - rows[q, d.TS] <= MDNS_NS:
                        _count(rows, lookups, x, m, previous, counted, lookup_of)
                        joined = True
                    break
                x = lookups[x, _PREVIOUS]
            if not joined:
                _new_lookup(lookups, found)
                lookups[found, _PREVIOUS] = head
                _count(rows, lookups, found, m, previous, counted, lookup_of)
                _put(by_name, name_keys, slot, named, m, seed)
                found += 1
            continue

        key = key_keys[m]
        if is_answer:
            unread = not meta >> 42 & d.QUESTION_READ
            slot = np.int64(0)
            if unread:
                x = _lookup_at(by_id, _find(by_id, id_keys, sockets[m], seed), lookup_of)
            else:
                slot = _find(by_key, key_keys, key, seed)
                x = _lookup_at(by_key, slot, lookup_of)
            if x >= 0:
                if lookups[x, _ANSWER] >= 0:
                    if now - rows[lookups[x, _ANSWER], d.TS] <= ID_LIFE_NS:
                        _link(rows, lookups, x, m, previous, lookup_of)
                        continue
                elif now - rows[lookups[x, _LAST_QUERY], d.TS] <= ID_LIFE_NS:
                    _set_answer(rows, lookups, x, m, previous, counted)
                    _link(rows, lookups, x, m, previous, lookup_of)
                    continue
            # Noise on port 53 that happens to have the QR bit, or looks alone, prove no lookup.
            if unread or meta >> 42 & d.ON_LOOPBACK:
                continue
            _new_lookup(lookups, found)
            lookups[found, _ANSWER] = m
            lookups[found, _RESOLVER] = m
            _link(rows, lookups, found, m, previous, lookup_of)
            _put(by_key, key_keys, slot, key, m, seed)
            found += 1
            continue

        slot = _find(by_key, key_keys, key, seed)
        x = _lookup_at(by_key, slot, lookup_of)
        if x >= 0:
            kind = _copy_of(rows, m, lookups[x, _TAIL], previous, counted)
            if kind:
                lookups[x, _COPIES] += 1
                if kind == 2:
                    lookups[x, _PATH] = NAT
                _link(rows, lookups, x, m, previous, lookup_of)
                continue
            if lookups[x, _ANSWER] < 0 and now - rows[lookups[x, _LAST_QUERY], d.TS] <= ID_LIFE_NS:
                _count(rows, lookups, x, m, previous, counted, lookup_of)
                continue
        target = np.int64(-1)
        asked = np.int64(0)
        place = np.int64(0)
        if len(by_resolver) > 1:
            asked = mix(mix(mix(_named(rows, m), rows[m, d.DST_HI]), rows[m, d.DST_LO]), (ports & 0xFFFF) << 16 | meta & 0xFFFF)
            place = _find(by_resolver, resolver_keys, asked, seed)
            y = _lookup_at(by_resolver, place, lookup_of)
            if y >= 0 and _copy_of(rows, m, lookups[y, _TAIL], previous, counted) == 2:
                lookups[y, _COPIES] += 1
                lookups[y, _PATH] = NAT
                _link(rows, lookups, y, m, previous, lookup_of)
                target = y
        if target < 0:
            origin = name_keys[m]
            at = np.int64(0)
            head = np.int64(-1)
            if meta >> 42 & d.QUESTION_READ and transport == d.UDP:
                at = _find(by_name, name_keys, origin, seed)
                head = _lookup_at(by_name, at, lookup_of)
                y = head
                for _ in range(WALK):
                    if y < 0:
                        break
                    if lookups[y, _ANSWER] < 0:
                        q = lookups[y, _LAST_QUERY]
                        gap = now - rows[q, d.TS]
                        same_id = (rows[q, d.META] ^ meta) & 0xFFFF == 0
                        same_port = (rows[q, d.PORTS] ^ ports) & 0xFFFF0000 == 0
                        if (same_id and not same_port and gap <= ID_LIFE_NS) or (not same_id and RETRY_MIN_NS <= gap <= RETRY_MAX_NS):
                            target = y
                            break
                    y = lookups[y, _PREVIOUS]
            if target >= 0:
                _count(rows, lookups, target, m, previous, counted, lookup_of)
            else:
                target = found
                found += 1
                _new_lookup(lookups, target)
                _count(rows, lookups, target, m, previous, counted, lookup_of)
                version = ports >> 32
                if (
                    meta >> 42 & d.ON_LOOPBACK
                    and _is_loopback(rows[m, d.DST_HI], rows[m, d.DST_LO], version)
                    and not _is_loopback(rows[m, d.SRC_HI], rows[m, d.SRC_LO], version)
                ):
                    lookups[target, _PATH] = SSHUTTLE
                if meta >> 42 & d.QUESTION_READ and transport == d.UDP:
                    lookups[target, _PREVIOUS] = head
                    _put(by_name, name_keys, at, origin, m, seed)
            if len(by_resolver) > 1:
                _put(by_resolver, resolver_keys, place, asked, m, seed)
        _put(by_key, key_keys, slot, key, m, seed)
        if len(by_id) > 1:
            _put(by_id, id_keys, _find(by_id, id_keys, sockets[m], seed), sockets[m], m, seed)
    return found


@lean
def _split_answers(rows, messages, arena, ends, kinds, offsets, sizes):
    """List the records of the answers ``messages`` (-1: none), CNAME steps and final ones apart by ``kinds``.

    ``ends`` gets, per message, the number of records up to and including it. With ``kinds`` empty they are only counted. Returns the number
    of records.
    """
    n = 0
    for i in range(len(messages)):
        if messages[i] >= 0:
            at = rows[messages[i], d.ANSWER] >> 20
            stop = at + (rows[messages[i], d.ANSWER] & 0xFFFFF)
            while at < stop:
                size = np.int64(arena[at + 3]) << 8 | np.int64(arena[at + 4])
                if len(kinds):
                    kinds[n] = np.int64(arena[at]) << 16 | np.int64(arena[at + 1]) << 8 | np.int64(arena[at + 2])
                    offsets[n] = at + 5
                    sizes[n] = size
                n += 1
                at += 5 + size
        if len(kinds):
            ends[i] = n
    return n


@lean
def _read_addresses(arena, offsets, sizes, hi, lo):
    """Addresses of 4 or 16 bytes as two halves."""
    for i in range(len(offsets)):
        at = offsets[i]
        upper = np.int64(0)
        lower = np.int64(0)
        if sizes[i] == 16:
            for j in range(8):
                upper = upper << 8 | np.int64(arena[at + j])
            at += 8
        for j in range(min(sizes[i], 8)):
            lower = lower << 8 | np.int64(arena[at + j])
        hi[i] = upper
        lo[i] = lower


@lean
def _number_texts(arena, offsets, sizes, table, ids, first, seed):
    """Number the distinct texts; returns ``(how many, their bytes with one separator each)``."""
    mask = len(table) - 1
    found = 0
    total = 0
    for i in range(len(offsets)):
        at = offsets[i]
        size = sizes[i]
        h = seed
        for j in range(at, at + size):
            h = (h ^ np.int64(arena[j])) * np.int64(1099511628211)
        slot = mix(seed, h) & mask
        while True:
            k = table[slot]
            if k < 0:
                table[slot] = found
                first[found] = i
                ids[i] = found
                found += 1
                total += size + 1
                break
            o = first[k]
            same = sizes[o] == size
            if same and offsets[o] != at:
                for j in range(size):
                    if arena[offsets[o] + j] != arena[at + j]:
                        same = False
                        break
            if same:
                ids[i] = k
                break
            slot = (slot + 1) & mask
    return found, total


@lean
def _gather(arena, offsets, sizes, first, found, out):
    """The distinct texts one after the other, a line feed after each (a text holds none)."""
    at = 0
    for k in range(found):
        o = offsets[first[k]]
        for j in range(sizes[first[k]]):
            out[at + j] = arena[o + j]
        at += sizes[first[k]] + 1
        out[at - 1] = 10


def _texts(arena: Array, offsets: Array, sizes: Array) -> Coded:
    """Texts of the arena, of which many are equal."""
    n = len(offsets)
    if n == 0:
        return Coded(np.empty(0, np.int64), np.empty(0, object))
    ids, first = np.empty(n, np.int64), np.empty(n, np.int64)
    seed = random_seed()
    found, total = _number_texts(arena, offsets, sizes, np.full(_power(2 * n), -1, np.int64), ids, first, seed)
    out = np.empty(total, np.uint8)
    _gather(arena, offsets, sizes, first, found, out)
    distinct = np.empty(found, object)
    distinct[:] = out[:-1].tobytes().decode("latin-1").split("\n")
    return Coded(ids, distinct)


@lean
def _copy_texts(arena, offsets, sizes, out):
    at = 0
    for i in range(len(offsets)):
        for j in range(sizes[i]):
            out[at + j] = arena[offsets[i] + j]
        at += sizes[i]


def _names(arena: Array, offsets: Array, sizes: Array, known: Array) -> Texts:
    """Texts of the arena, of which few are equal: they are not compared."""
    sizes = np.where(known, sizes, 0)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    out = np.empty(ends[-1], np.uint8)
    _copy_texts(arena, offsets, sizes, out)
    return Texts(out, ends, known)


def _power(n: int) -> int:
    """The power of two that is at least ``n``, and at least 16."""
    return 1 << max(4, (n - 1).bit_length())


class LookupBuilder:
    """Collects DNS messages of one capture, or of a part of one, and joins them to lookups.

    ``feed`` and ``feed_message`` may be called in any mixture, in the order of the capture; ``finish`` may be called at any time and again
    later.
    """

    def __init__(self) -> None:
        self._rows = np.empty((256, d.MESSAGE_WIDTH), np.int64)
        self._arena = np.empty(16384, np.uint8)
        self._n_rows = 0  # used of the rows
        self._used = 0  # used of the arena
        self._scratch = np.empty((d.MAX_RECORDS, d.SCRATCH_WIDTH), np.int64)

    def feed(self, buf: Array, pkts: Array, n: int) -> None:
        """Take the DNS messages of one batch: ``n`` rows of the packet matrix whose payload lies in ``buf``."""
        i = 0
        while True:
            i, self._n_rows, self._used, needs = _collect(buf, pkts, i, n, self._rows, self._n_rows, self._arena, self._used, self._scratch)
            if i >= n:
                return
            self._make_room(d.MAX_OWNERS, needs)

    def feed_message(self, buf: Array, off: int, cap: int, pkt_row: Array, length: int | None = None, transport: int = d.TCP) -> None:
        """Take one message that lies elsewhere than in a datagram: of a TCP stream, without its two bytes of length.

        Parameters
        ----------
        buf : uint8 array
        off, cap : int
            Where the message is and how much of it there is.
        pkt_row : int64[WIDTH]
            Row of the packet matrix of the segment that completed it: time, frame, interface, and who sent it.
        length : int, optional
            Its length on the wire, if not all of it was captured.
        transport : int
            ``netlens.wire.dns.TCP`` or ``UDP``.
        """
        if cap < d.MIN_MESSAGE or off < 0 or off + cap > len(buf):
            return
        self._make_room(d.MAX_OWNERS, d.room(cap))
        self._n_rows, self._used = _add_message(
            buf,
            off,
            cap,
            cap if length is None else length,
            pkt_row,
            transport,
            0,
            self._rows,
            self._n_rows,
            self._arena,
            self._used,
            self._scratch,
        )

    def merge(self, other: LookupBuilder, frame_offset: int = 0) -> None:
        """Append what the builder of the next part collected; ``frame_offset`` frames came before that part. ``other`` is not changed."""
        self.extend(*other.content(), frame_offset)

    def content(self) -> tuple[Array, Array]:
        """The messages: int64[m, MESSAGE_WIDTH], and uint8, their texts. Views, valid until more is fed."""
        return self._rows[: self._n_rows], self._arena[: self._used]

    def extend(self, messages: Array, texts: Array, frame_offset: int = 0) -> None:
        """Append the content of another builder; see :meth:`merge`."""
        n, used = len(messages), len(texts)
        self._make_room(n, used)
        rows = self._rows[self._n_rows : self._n_rows + n]
        rows[:] = messages
        rows[:, d.FRAME] += frame_offset
        rows[:, d.NAME] += self._used
        rows[:, d.ANSWER] += self._used << 20
        self._arena[self._used : self._used + used] = texts
        self._n_rows += n
        self._used += used

    @property
    def messages(self) -> int:
        """Rows collected so far: one per message, of mDNS responses one per name and type they answer."""
        return self._n_rows

    def _make_room(self, rows: int, texts: int) -> None:
        """Grow what has no room for so many rows and bytes more, by a quarter at least.

        ``resize`` moves pages of the memory map instead of copying them where the system can. No view of either array may be kept.
        """
        if self._n_rows + rows > len(self._rows):
            self._rows.resize((self._n_rows + rows + len(self._rows) // 4, d.MESSAGE_WIDTH), refcheck=False)
        if self._used + texts > len(self._arena):
            self._arena.resize(self._used + texts + len(self._arena) // 4, refcheck=False)

    def finish(self) -> Table:
        """Join the messages to lookups: a table of schema ``LOOKUPS``, in order of first frame; ``connection_ids`` are empty lists."""
        if self._n_rows == 0:
            return LOOKUPS.empty()
        rows, arena = self._rows[: self._n_rows], self._arena
        lookups = _lookups_of(rows)
        if len(lookups) == 0:  # answers that answer nothing
            return LOOKUPS.empty()
        return Table(LOOKUPS, _columns(rows, arena, lookups))


def _lookups_of(rows: Array) -> Array:
    """The lookup matrix of these messages, in order of first frame."""
    n = len(rows)
    ts, meta = rows[:, d.TS], rows[:, d.META]
    order = np.arange(n) if n < 2 or bool((ts[1:] >= ts[:-1]).all()) else np.argsort(ts, kind="stable")
    queries = int((meta >> 31 & 1 == 0).sum())
    unread_answer = bool(((meta >> 31 & 1 == 1) & (meta >> 42 & d.QUESTION_READ == 0)).any())
    several_interfaces = bool((rows[:, d.IFACE] != rows[0, d.IFACE]).any())
    lookups = np.empty((n, _LOOKUP_WIDTH), np.int64)

    def table(keys: int) -> tuple[Array, Array]:
        return np.zeros(_power(2 * keys) if keys else 1, np.int64), np.empty(n if keys else 1, np.int64)

    by_key, key_keys = table(n)
    by_name, name_keys = table(queries + 1)
    sockets = np.empty(n, np.int64)
    _keys(rows, key_keys, name_keys, sockets)
    found = _join(
        rows,
        order,
        lookups,
        np.full(n, -1, np.int64),
        np.zeros(n, np.bool_),
        np.full(n, -1, np.int64),
        by_key,
        key_keys,
        by_name,
        name_keys,
        *table(queries if several_interfaces else 0),
        *table(queries if unread_answer else 0),
        sockets,
        random_seed(),
    )
    lookups = lookups[:found]
    frames = lookups[:, _FIRST_FRAME]
    if found > 1 and bool((frames[1:] < frames[:-1]).any()):
        lookups = lookups[np.argsort(frames, kind="stable")]
    return lookups


@lean
def _describe(rows, lookups, out):
    """What the columns need of each lookup, gathered in one walk: ``out`` has one row per number and one column per lookup."""
    for i in range(len(lookups)):
        query = lookups[i, _FIRST_QUERY]
        answer = lookups[i, _ANSWER]
        m = query if query >= 0 else answer
        out[_META, i] = rows[m, d.META]
        out[_QUESTION, i] = rows[m, d.QUESTION]
        out[_NAME, i] = rows[m, d.NAME]
        ports = rows[m, d.PORTS]
        if query >= 0:
            out[_ORIG_HI, i] = rows[m, d.SRC_HI]
            out[_ORIG_LO, i] = rows[m, d.SRC_LO]
            out[_ORIG_PORT, i] = ports >> 16 & 0xFFFF
            out[_QUERY_TS, i] = rows[m, d.TS]
            out[_QUERY_FRAME, i] = rows[m, d.FRAME]
        else:
            out[_ORIG_HI, i] = rows[m, d.DST_HI]
            out[_ORIG_LO, i] = rows[m, d.DST_LO]
            out[_ORIG_PORT, i] = ports & 0xFFFF
            out[_QUERY_TS, i] = 0
            out[_QUERY_FRAME, i] = 0
        if answer >= 0:
            meta = rows[answer, d.META]
            out[_REPLY_TS, i] = rows[answer, d.TS]
            out[_REPLY_FRAME, i] = rows[answer, d.FRAME]
            # The code of an mDNS response is to be ignored (RFC 6762 18.11).
            out[_RCODE, i] = 0 if meta >> 40 & 3 == d.MDNS else (meta >> 32 & 255) << 4 | meta >> 16 & 15
        else:
            out[_REPLY_TS, i] = 0
            out[_REPLY_FRAME, i] = 0
            out[_RCODE, i] = -1
        r = lookups[i, _RESOLVER]
        if rows[r, d.META] >> 31 & 1:
            out[_SERVER_HI, i] = rows[r, d.SRC_HI]
            out[_SERVER_LO, i] = rows[r, d.SRC_LO]
        else:
            out[_SERVER_HI, i] = rows[r, d.DST_HI]
            out[_SERVER_LO, i] = rows[r, d.DST_LO]
        out[_ORIG_VERSION, i] = ports >> 32
        out[_SERVER_VERSION, i] = rows[r, d.PORTS] >> 32


def _columns(rows: Array, arena: Array, lookups: Array) -> dict[str, Array | Packed]:
    """The columns of LOOKUPS."""
    n = len(lookups)
    out = np.empty((_DESCRIBED, n), np.int64)
    _describe(rows, lookups, out)
    answer = np.ascontiguousarray(lookups[:, _ANSWER])
    asked, answered = lookups[:, _FIRST_QUERY] >= 0, answer >= 0
    meta, question = out[_META], out[_QUESTION]

    known = (meta >> 42 & d.QUESTION_READ) != 0
    names = _names(arena, out[_NAME], question >> 32, known)
    qtype = _mnemonics(np.where(known, question & 0xFFFF, -1), lambda kind: d.type_text(kind) if kind >= 0 else None)
    rcode = _mnemonics(out[_RCODE], lambda code: d.rcode_text(code) if code >= 0 else None)
    cnames, answers = _answers(rows, arena, answer)
    latency = (out[_REPLY_TS] - out[_QUERY_TS]) / 1e6
    latency[~(asked & answered)] = np.nan
    return {
        "lookup_id": np.arange(n),
        "qname": names,
        "qtype": qtype,
        "rcode": rcode,
        "answers": answers,
        "cnames": cnames,
        "query_ns": Nullable(out[_QUERY_TS], asked),
        "answer_ns": Nullable(out[_REPLY_TS], answered),
        "latency_ms": latency,
        "attempts": lookups[:, _ATTEMPTS].copy(),
        "copies": lookups[:, _COPIES].copy(),
        "orig_ip": ip_column(out[_ORIG_HI], out[_ORIG_LO], out[_ORIG_VERSION]),
        "orig_port": out[_ORIG_PORT].copy(),
        "resolver_ip": ip_column(out[_SERVER_HI], out[_SERVER_LO], out[_SERVER_VERSION]),
        "transport": Coded(meta >> 40 & 3, _TRANSPORTS),
        "path": Coded(lookups[:, _PATH].copy(), _PATHS),
        "txid": meta & 0xFFFF,
        "query_frame": Nullable(out[_QUERY_FRAME], asked),
        "answer_frame": Nullable(out[_REPLY_FRAME], answered),
        "connection_ids": nothing(n),
    }


def _mnemonics(numbers: Array, text: Callable[[int], str | None]) -> Coded:
    """``text`` of each number, called once per distinct one."""
    lowest = int(numbers.min())
    seen = np.flatnonzero(np.bincount(numbers - lowest))
    names = np.empty(int(seen[-1]) + 1, object)
    for value in seen:
        names[value] = text(int(value) + lowest)
    return Coded(numbers - lowest, names)


def _answers(rows: Array, arena: Array, answer: Array) -> tuple[Lists, Lists]:
    """Lists of CNAME steps and of final records, per message number of ``answer`` (-1: empty lists)."""
    n = len(answer)
    none = np.empty(0, np.int64)
    total = _split_answers(rows, answer, arena, none, none, none, none)
    ends, kinds, offsets, sizes = (np.empty(k, np.int64) for k in (n, total, total, total))
    if total:
        _split_answers(rows, answer, arena, ends, kinds, offsets, sizes)
    else:
        ends[:] = 0
    is_final = kinds >> 16 == d.FINAL
    rtype = kinds & 0xFFFF
    is_address = (rtype == 1) | (rtype == 28)
    others = _texts(arena, offsets[~is_address], sizes[~is_address])
    at, size = offsets[is_address], sizes[is_address]
    hi, lo = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    _read_addresses(arena, at, size, hi, lo)
    addresses = ip_column(hi, lo, np.where(size == 4, 4, 6))
    codes, words = np.empty(total, np.int64), np.concatenate([others.words, addresses.words])
    codes[~is_address], codes[is_address] = others.codes, addresses.codes + len(others.words)
    out = []
    for wanted in (~is_final, is_final):
        upto = np.concatenate(([0], np.cumsum(wanted)))  # records of the wanted kind up to each
        out.append(Lists(np.concatenate([np.zeros(1, np.int64), upto[ends]]), Coded(codes[wanted], words)))
    return out[0], out[1]
