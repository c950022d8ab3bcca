"""The join of DNS messages to lookups: compiled code behind :mod:`netlens.parsers.lookups`, which says what it decides.

How it is divided
-----------------
All keys by which a message finds its lookup hold the question's name, type, opcode and transport, so messages of different questions never meet.
They are dealt out by a hash of it into parts that nearly fit a core's cache, each in order of time, and the parts are joined one by one, on all cores.
Two kinds do meet across questions, and get one part:
mDNS (a query for any type) is in the first one, and an answer whose question cannot be read, found by its socket and id, makes all of them one.
"""

from typing import NamedTuple

import numpy as np

from netlens.arrays import uninitialized
from netlens.columns import Array
from netlens.threads import in_parallel, slices
from netlens.wire import dns as d
from netlens.wire.addresses import random_seed
from netlens.wire.compiled import inlined, lean
from netlens.wire.loads import prefetch
from netlens.wire.numbering import mix

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
LOOK_AHEAD = 12  #: messages that are asked from memory in advance
#: Messages of a part on average, at most; half of it at least. Of two million messages in all, half or twice of it took as long, one part for all half as
#: long again.
PART = 16384
MAX_PARTS = 1024  #: more lists than this are not written to side by side without waiting for memory

DIRECT, NAT, SSHUTTLE = 0, 1, 2

# One row of the lookup matrix (int32). FIRST to RESOLVER are rows of the message matrix, -1 where there is none.
FIRST = 0  #: first of all its messages
FIRST_QUERY, LAST_QUERY, ANSWER = 1, 2, 3
RESOLVER = 4  #: the message that shows who was asked
ATTEMPTS, COPIES, PATH = 5, 6, 7
_TAIL, _PREVIOUS = 8, 9  # its latest message, and the lookup before it of this client and question: numbers within the part
_WIDTH = 10
NEVER = np.int32(0x7FFFFFFF)
NO_COPY, SAME_DATAGRAM, TRANSLATED = range(3)  # what a query is to one of before


class Index(NamedTuple):
    """A hash table that leads from a key to the latest message that has it.

    slots : int64[power of 2], 31 bits of the hash << 32 | message + 1, 0 free; of length 1 where nothing in the capture needs it.  keys : int64, of messages.
    """

    slots: Array
    keys: Array


class Messages(NamedTuple):
    """The messages of one part, and what is known of them so far. They are numbered by their place in ``order`` where they point at each other, and by
    their row in :data:`FIRST` and wherever else a row is read.

    rows : int64[:, MESSAGE_WIDTH].  order : int64[n], the rows of this part by time.  lookups : int32[n, _WIDTH], filled from the first on.
    made : int64[1], how many.  previous : int32[n], the message before it of its lookup.  counted : bool[n], it is an attempt.
    lookup_of : int32[n].  sockets : int64[n], hash of the client's socket and the id.
    by_key : of a client's socket, id and question, the latest such lookup.  by_name : of a client and question its latest (others by _PREVIOUS).
    by_resolver : of an id, question and resolver the latest query (for NAT).  by_id : of a socket and id the latest lookup.
    """

    rows: Array
    order: Array
    lookups: Array
    made: Array
    previous: Array
    counted: Array
    lookup_of: Array
    sockets: Array
    by_key: Index
    by_name: Index
    by_resolver: Index
    by_id: Index
    seed: np.int64


@lean
def is_loopback(hi, lo, version):
    return (lo >> 24 & 255) == 127 if version == 4 else hi == 0 and lo == 1


@lean
def _find(index, key, seed):
    """Slot of ``key``: where it is or belongs (value 0)."""
    table, keys = index.slots, index.keys
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
    i = (table[slot] & 0xFFFFFFFF) - 1
    return np.int64(lookup_of[i]) if i >= 0 else np.int64(-1)


@lean
def _put(index, slot, key, i, seed):
    index.slots[slot] = (mix(seed, key) >> 33 & 0x7FFFFFFF) << 32 | (i + 1)
    index.keys[i] = key


@lean
def _copy_of(rows, order, m, tail, previous, counted):
    """Whether the query in row ``m`` is a copy of a counted query in the list that ends at message ``tail``."""
    at = tail
    for _ in range(WALK):
        if at < 0:
            break
        p = order[at]
        gap = rows[m, d.TS] - rows[p, d.TS]
        if gap >= NAT_NS:
            break
        if counted[at] and rows[p, d.IFACE] != rows[m, d.IFACE] and (rows[p, d.META] ^ rows[m, d.META]) & 0xFFFF == 0:
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
                        return SAME_DATAGRAM
                elif same_resolver:
                    # Translation changes the address; another port of the same address is a stub that opened a new socket.
                    if rows[p, d.SRC_HI] != rows[m, d.SRC_HI] or rows[p, d.SRC_LO] != rows[m, d.SRC_LO]:
                        return TRANSLATED
                elif same_source and gap < COPY_NS:
                    looped = is_loopback(rows[p, d.DST_HI], rows[p, d.DST_LO], version) or is_loopback(
                        rows[m, d.DST_HI], rows[m, d.DST_LO], version
                    )
                    if not looped:
                        return TRANSLATED
        at = np.int64(previous[at])
    return NO_COPY


@lean
def _new_lookup(g):
    """Append a lookup without messages; returns its number."""
    x = g.made[0]
    g.made[0] = x + 1
    lookup = g.lookups[x]
    lookup[:] = -1
    lookup[ATTEMPTS], lookup[COPIES], lookup[PATH] = 0, 0, DIRECT
    lookup[FIRST] = NEVER
    return x


@lean
def _link(g, x, i):
    """Message ``i`` belongs to lookup ``x``."""
    lookup = g.lookups[x]
    g.previous[i] = lookup[_TAIL]
    g.lookup_of[i] = x
    lookup[_TAIL] = i
    lookup[FIRST] = min(lookup[FIRST], g.order[i])


@lean
def _count(g, x, i):
    """Query ``i`` is an attempt of lookup ``x``."""
    lookup = g.lookups[x]
    if lookup[FIRST_QUERY] < 0:
        lookup[FIRST_QUERY] = g.order[i]
        lookup[RESOLVER] = g.order[i]
    lookup[LAST_QUERY] = g.order[i]
    lookup[ATTEMPTS] += 1
    g.counted[i] = True
    _link(g, x, i)


@lean
def _copied(g, x, i, translated):
    """Query ``i`` is a copy of an attempt of lookup ``x``."""
    g.lookups[x, COPIES] += 1
    if translated:
        g.lookups[x, PATH] = NAT
    _link(g, x, i)


@lean
def _set_answer(g, x, m):
    """The message in row ``m`` is the first answer of lookup ``x``: whom it shows to have been asked, and by which path."""
    rows, lookup = g.rows, g.lookups[x]
    lookup[ANSWER] = m
    q = lookup[LAST_QUERY]
    if rows[m, d.META] >> 40 & 3 == d.MDNS:
        return
    version = rows[q, d.PORTS] >> 32
    same_ip = rows[q, d.DST_HI] == rows[m, d.SRC_HI] and rows[q, d.DST_LO] == rows[m, d.SRC_LO]
    asked_port = rows[q, d.PORTS] & 0xFFFF
    if version == rows[m, d.PORTS] >> 32 and asked_port != 53 and is_loopback(rows[q, d.DST_HI], rows[q, d.DST_LO], version):
        lookup[PATH] = DIRECT if same_ip else SSHUTTLE
        lookup[RESOLVER] = m
        return
    at = np.int64(lookup[_TAIL])
    for _ in range(WALK):
        if at < 0:
            break
        p = g.order[at]
        if g.counted[at] and rows[p, d.DST_HI] == rows[m, d.SRC_HI] and rows[p, d.DST_LO] == rows[m, d.SRC_LO]:
            lookup[RESOLVER] = p
            break
        at = np.int64(g.previous[at])


@lean
def _named(rows, m):
    """Question of a message: its name, type, opcode and transport."""
    meta = rows[m, d.META]
    question = rows[m, d.QUESTION] & 0xFFFF | (meta >> 27 & 15) << 16 | (meta >> 40 & 3) << 20
    return mix(mix(np.int64(7), rows[m, d.HASH]), question)


@lean
def _keys(g):
    """Fill the keys by which messages are found."""
    rows, order, sockets, key_keys, name_keys = g.rows, g.order, g.sockets, g.by_key.keys, g.by_name.keys
    last = len(order) - 1
    for i in range(len(order)):
        prefetch(rows[order[min(i + LOOK_AHEAD, last)]], d.TS)
        prefetch(rows[order[min(i + LOOK_AHEAD, last)]], d.HASH)
        m = order[i]
        meta = rows[m, d.META]
        named = _named(rows, m)
        if meta >> 40 & 3 == d.MDNS:
            key_keys[i] = named
            name_keys[i] = named
            continue
        ports = rows[m, d.PORTS]
        if meta >> 31 & 1:
            client = mix(mix(np.int64(3), rows[m, d.DST_HI]), rows[m, d.DST_LO])
            port = ports & 0xFFFF
        else:
            client = mix(mix(np.int64(3), rows[m, d.SRC_HI]), rows[m, d.SRC_LO])
            port = ports >> 16 & 0xFFFF
        client = mix(client, ports >> 32)
        sockets[i] = mix(client, port << 16 | meta & 0xFFFF | (meta >> 40 & 3) << 32)
        key_keys[i] = mix(sockets[i], named)
        name_keys[i] = mix(client, named)


@inlined
def _mdns_answer(g, i):
    """An answer by multicast: of all who asked for its name and type, or for any type."""
    rows, lookups, m = g.rows, g.lookups, g.order[i]
    meta = rows[m, d.META]
    for any_type in range(2):
        named = g.by_name.keys[i]
        if any_type:
            named = mix(mix(np.int64(7), rows[m, d.HASH]), np.int64(255) | (meta >> 27 & 15) << 16 | np.int64(d.MDNS) << 20)
        x = _lookup_at(g.by_name.slots, _find(g.by_name, named, g.seed), g.lookup_of)
        for _ in range(WALK):
            if x < 0:
                break
            q = lookups[x, LAST_QUERY]
            gap = rows[m, d.TS] - rows[q, d.TS]
            itself = rows[q, d.SRC_HI] == rows[m, d.SRC_HI] and rows[q, d.SRC_LO] == rows[m, d.SRC_LO]
            if lookups[x, ANSWER] < 0 and gap <= MDNS_NS and not itself:
                _set_answer(g, x, m)
            x = np.int64(lookups[x, _PREVIOUS])


@inlined
def _mdns_query(g, i):
    """A query by multicast: a copy or a repetition of one of this client, or a new lookup."""
    rows, lookups, m = g.rows, g.lookups, g.order[i]
    named = g.by_name.keys[i]
    slot = _find(g.by_name, named, g.seed)
    head = _lookup_at(g.by_name.slots, slot, g.lookup_of)
    x = head
    for _ in range(WALK):
        if x < 0:
            break
        q = lookups[x, LAST_QUERY]
        if (
            rows[q, d.SRC_HI] == rows[m, d.SRC_HI]
            and rows[q, d.SRC_LO] == rows[m, d.SRC_LO]
            and rows[q, d.PORTS] >> 16 == rows[m, d.PORTS] >> 16
        ):
            if _copy_of(rows, g.order, m, np.int64(lookups[x, _TAIL]), g.previous, g.counted) == SAME_DATAGRAM:
                _copied(g, x, i, False)
                return
            if lookups[x, ANSWER] < 0 and rows[m, d.TS] - rows[q, d.TS] <= MDNS_NS:
                _count(g, x, i)
                return
            break
        x = np.int64(lookups[x, _PREVIOUS])
    x = _new_lookup(g)
    lookups[x, _PREVIOUS] = head
    _count(g, x, i)
    _put(g.by_name, slot, named, i, g.seed)


@inlined
def _answer(g, i):
    """An answer: the first or a duplicate of a known lookup, or of one whose query was not captured."""
    rows, lookups, m = g.rows, g.lookups, g.order[i]
    meta, now = rows[m, d.META], rows[m, d.TS]
    unread = not meta >> 42 & d.QUESTION_READ
    slot = np.int64(0)
    if unread:
        x = _lookup_at(g.by_id.slots, _find(g.by_id, g.sockets[i], g.seed), g.lookup_of)
    else:
        slot = _find(g.by_key, g.by_key.keys[i], g.seed)
        x = _lookup_at(g.by_key.slots, slot, g.lookup_of)
    if x >= 0:
        if lookups[x, ANSWER] >= 0:
            if now - rows[lookups[x, ANSWER], d.TS] <= ID_LIFE_NS:
                _link(g, x, i)
                return
        elif now - rows[lookups[x, LAST_QUERY], d.TS] <= ID_LIFE_NS:
            _set_answer(g, x, m)
            _link(g, x, i)
            return
    # Noise on port 53 that happens to have the QR bit, or looks alone, prove no lookup.
    if unread or meta >> 42 & d.ON_LOOPBACK:
        return
    x = _new_lookup(g)
    lookups[x, ANSWER] = m
    lookups[x, RESOLVER] = m
    _link(g, x, i)
    _put(g.by_key, slot, g.by_key.keys[i], i, g.seed)


@inlined
def _retried(g, i, head):
    """The lookup of this client and question, not answered yet, of which query ``i`` is another attempt by its time, or -1; from ``head`` on."""
    rows, lookups, m = g.rows, g.lookups, g.order[i]
    y = head
    for _ in range(WALK):
        if y < 0:
            break
        if lookups[y, ANSWER] < 0:
            q = lookups[y, LAST_QUERY]
            gap = rows[m, d.TS] - rows[q, d.TS]
            same_id = (rows[q, d.META] ^ rows[m, d.META]) & 0xFFFF == 0
            same_port = (rows[q, d.PORTS] ^ rows[m, d.PORTS]) & 0xFFFF0000 == 0
            if (same_id and not same_port and gap <= ID_LIFE_NS) or (not same_id and RETRY_MIN_NS <= gap <= RETRY_MAX_NS):
                return y
        y = np.int64(lookups[y, _PREVIOUS])
    return np.int64(-1)


@inlined
def _attempt(g, i):
    """Query ``i``, which has no lookup by its key, is another attempt of its client's, or a new lookup."""
    rows, m = g.rows, g.order[i]
    meta, version = rows[m, d.META], rows[m, d.PORTS] >> 32
    can_retry = meta >> 42 & d.QUESTION_READ != 0 and meta >> 40 & 3 == d.UDP
    origin = g.by_name.keys[i]
    at = np.int64(0)
    head = np.int64(-1)
    if can_retry:
        at = _find(g.by_name, origin, g.seed)
        head = _lookup_at(g.by_name.slots, at, g.lookup_of)
    x = _retried(g, i, head)
    if x >= 0:
        _count(g, x, i)
        return
    x = _new_lookup(g)
    _count(g, x, i)
    if (
        meta >> 42 & d.ON_LOOPBACK
        and is_loopback(rows[m, d.DST_HI], rows[m, d.DST_LO], version)
        and not is_loopback(rows[m, d.SRC_HI], rows[m, d.SRC_LO], version)
    ):
        g.lookups[x, PATH] = SSHUTTLE
    if can_retry:
        g.lookups[x, _PREVIOUS] = head
        _put(g.by_name, at, origin, i, g.seed)


@inlined
def _query(g, i):
    """A query: a copy, another attempt, or a new lookup."""
    rows, lookups, m = g.rows, g.lookups, g.order[i]
    meta = rows[m, d.META]
    key = g.by_key.keys[i]
    slot = _find(g.by_key, key, g.seed)
    x = _lookup_at(g.by_key.slots, slot, g.lookup_of)
    if x >= 0:
        copy = _copy_of(rows, g.order, m, np.int64(lookups[x, _TAIL]), g.previous, g.counted)
        if copy != NO_COPY:
            _copied(g, x, i, copy == TRANSLATED)
            return
        if lookups[x, ANSWER] < 0 and rows[m, d.TS] - rows[lookups[x, LAST_QUERY], d.TS] <= ID_LIFE_NS:
            _count(g, x, i)
            return
    is_copy = False
    asked = np.int64(0)
    place = np.int64(0)
    if len(g.by_resolver.slots) > 1:
        asked = mix(mix(mix(_named(rows, m), rows[m, d.DST_HI]), rows[m, d.DST_LO]), (rows[m, d.PORTS] & 0xFFFF) << 16 | meta & 0xFFFF)
        place = _find(g.by_resolver, asked, g.seed)
        y = _lookup_at(g.by_resolver.slots, place, g.lookup_of)
        is_copy = y >= 0 and _copy_of(rows, g.order, m, np.int64(lookups[y, _TAIL]), g.previous, g.counted) == TRANSLATED
        if is_copy:
            _copied(g, y, i, True)
    if not is_copy:
        _attempt(g, i)
        if len(g.by_resolver.slots) > 1:
            _put(g.by_resolver, place, asked, i, g.seed)
    _put(g.by_key, slot, key, i, g.seed)
    if len(g.by_id.slots) > 1:
        _put(g.by_id, _find(g.by_id, g.sockets[i], g.seed), g.sockets[i], i, g.seed)


@lean
def _join(g):
    """Give every message to its lookup, in the order of ``g.order``. Returns the number of lookups."""
    g.made[0] = 0
    _keys(g)
    for i in range(len(g.order)):
        meta = g.rows[g.order[i], d.META]
        is_answer = meta >> 31 & 1
        if meta >> 40 & 3 == d.MDNS:
            if is_answer:
                _mdns_answer(g, i)
            else:
                _mdns_query(g, i)
        elif is_answer:
            _answer(g, i)
        else:
            _query(g, i)
    return g.made[0]


@lean
def _survey(rows, mask, part, sizes, facts):
    """Deal rows out by their question: ``part`` (uint16) and how many are in each. ``facts``: answers without a question; whether there
    are several interfaces, rows not in order of frame, rows not in order of time."""
    frame = np.int64(-1)
    ts = np.int64(-0x7FFFFFFFFFFFFFFF)
    for m in range(len(rows)):
        meta = rows[m, d.META]
        if meta >> 31 & 1 and not meta >> 42 & d.QUESTION_READ:
            facts[0] += 1
        if rows[m, d.IFACE] != rows[0, d.IFACE]:
            facts[1] = 1
        if rows[m, d.FRAME] < frame:
            facts[2] = 1
        if rows[m, d.TS] < ts:
            facts[3] = 1
        frame = rows[m, d.FRAME]
        ts = rows[m, d.TS]
        k = np.int64(0)
        if mask > 0 and meta >> 40 & 3 != d.MDNS:
            k = _named(rows, m) >> 40 & mask
        part[m] = k
        sizes[k] += 1


@lean
def _deal(order, part, places, out):
    """Put rows into the lists of their parts; ``places``: where each list goes on."""
    for i in range(len(order)):
        k = part[order[i]]
        out[places[k]] = order[i]
        places[k] += 1


@lean
def _deal_in_order(part, places, out):
    """The same of all rows as they are."""
    for m in range(len(part)):
        k = part[m]
        out[places[k]] = m
        places[k] += 1


@lean
def _arrange(lookups, begins, found, at, out):
    """Numbers of the lookups of all parts in order of their first messages. ``at``: int32[messages] of -1."""
    for k in range(len(found)):
        for x in range(begins[k], begins[k] + found[k]):
            at[lookups[x, FIRST]] = x
    n = 0
    for m in range(len(at)):
        if at[m] >= 0:
            out[n] = at[m]
            n += 1


def join(rows: Array) -> tuple[Array, Array, Array]:
    """Join messages to lookups.

    Parameters
    ----------
    rows : int64[n, MESSAGE_WIDTH], at least one.

    Returns
    -------
    (rows, lookups, numbers)
        The messages in order of frame; int32[n, 10]; and int64[k], the rows of ``lookups`` that are lookups, in order of their first frame.
    """
    n = len(rows)
    wanted = 1 << (n // PART).bit_length() if n >= 2 * PART else 1
    parts = min(wanted, MAX_PARTS)
    part, sizes, facts = _surveyed(rows, parts - 1)
    if facts[2]:
        rows = rows[np.argsort(rows[:, d.FRAME], kind="stable")]
        part, sizes, facts = _surveyed(rows, parts - 1)
    if facts[0]:
        parts = 1
    order = uninitialized(np.int64, n)
    if parts == 1:
        sizes = np.array([n], np.int64)
        order = np.argsort(rows[:, d.TS], kind="stable") if facts[3] else np.arange(n)
    elif facts[3]:
        _deal(np.argsort(rows[:, d.TS], kind="stable"), part, np.cumsum(sizes) - sizes, order)
    else:
        _deal_in_order(part, np.cumsum(sizes) - sizes, order)
    begins, found = np.cumsum(sizes) - sizes, np.zeros(parts, np.int64)
    lookups = uninitialized(np.int32, n, _WIDTH)
    seed = random_seed()

    def work(first: int, last: int) -> None:
        some = _Tables(int(sizes[first:last].max(initial=1)), bool(facts[1]), bool(facts[0]))
        for k in range(first, last):
            begin, end = int(begins[k]), int(begins[k] + sizes[k])
            if begin < end:
                found[k] = some.join(rows, order[begin:end], lookups[begin:end], seed)

    in_parallel(*(lambda a=a, b=b: work(a, b) for a, b in slices(parts, 2)))
    numbers = uninitialized(np.int64, int(found.sum()))
    _arrange(lookups, begins, found, np.full(n, -1, np.int32), numbers)
    return rows, lookups, numbers


def _surveyed(rows: Array, mask: int) -> tuple[Array, Array, Array]:
    """See :func:`_survey`; by shares of the rows."""
    part, found = np.empty(len(rows), np.uint16), []

    def work(a: int, b: int) -> None:
        sizes, facts = np.zeros(mask + 1, np.int64), np.zeros(4, np.int64)
        _survey(rows[a:b], mask, part[a:b], sizes, facts)
        if a and b > a:  # against the share before
            facts[1] |= rows[a, d.IFACE] != rows[0, d.IFACE]
            facts[2] |= rows[a, d.FRAME] < rows[a - 1, d.FRAME]
            facts[3] |= rows[a, d.TS] < rows[a - 1, d.TS]
        found.append((sizes, facts))

    in_parallel(*(lambda a=a, b=b: work(a, b) for a, b in slices(len(rows), 4 * PART)))
    return part, np.sum([s for s, _ in found], axis=0), np.sum([f for _, f in found], axis=0)


class _Tables:
    """What the join of one part needs, for parts of up to ``size`` messages: made once, used for one after the other."""

    def __init__(self, size: int, several_interfaces: bool, unread_answers: bool):
        slots = _power(2 * size)
        self._previous, self._lookup_of = np.empty(size, np.int32), np.empty(size, np.int32)
        self._counted, self._sockets = np.empty(size, np.bool_), np.empty(size, np.int64)
        wanted = (True, True, several_interfaces, unread_answers)  # by key, name, resolver, id
        self._tables = [(np.empty(slots if w else 1, np.int64), np.empty(size if w else 1, np.int64), w) for w in wanted]

    def join(self, rows: Array, order: Array, lookups: Array, seed: np.int64) -> int:
        """Join the rows ``order``; returns how many of ``lookups`` were made."""
        n = len(order)
        slots = _power(2 * n)
        indexes = []
        for table, keys, wanted in self._tables:
            indexes.append(Index(table[:slots], keys[:n]) if wanted else Index(table, keys))
            indexes[-1].slots[:] = 0
        previous, lookup_of, counted = self._previous[:n], self._lookup_of[:n], self._counted[:n]
        previous[:], lookup_of[:], counted[:] = -1, -1, False
        by_key, by_name, by_resolver, by_id = indexes
        made, sockets = np.zeros(1, np.int64), self._sockets[:n]
        messages = Messages(rows, order, lookups, made, previous, counted, lookup_of, sockets, by_key, by_name, by_resolver, by_id, seed)
        return int(_join(messages))


def _power(n: int) -> int:
    """The power of two that is at least ``n``, and at least 16."""
    return 1 << max(4, (n - 1).bit_length())
