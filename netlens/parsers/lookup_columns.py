"""Messages and their lookups to the columns of the table of lookups: compiled code behind :mod:`netlens.parsers.lookups`.

One walk gathers the numbers of each lookup, on all cores. Then the records of the answers are numbered on one core, each distinct one once, while
names and addresses become columns on another.
"""

from collections.abc import Callable

import numpy as np

from netlens.arrays import uninitialized
from netlens.columnar import Coded, LazyColumn, Lists, Nullable, Texts, nothing
from netlens.columns import Array
from netlens.parsers import lookup_join as j
from netlens.threads import in_parallel, slices
from netlens.wire import dns as d
from netlens.wire.addresses import ip_column, ip_text, random_seed
from netlens.wire.compiled import lean
from netlens.wire.loads import be64, prefetch
from netlens.wire.numbering import mix

# Numbers of a lookup, a row each of what _describe fills.
_TXID, _QTYPE, _RCODE, _TRANSPORT, _PATH, _ATTEMPTS, _COPIES = range(7)
_QUERY_TS, _QUERY_FRAME, _REPLY_TS, _REPLY_FRAME = range(7, 11)
_ORIG_HI, _ORIG_LO, _ORIG_VERSION, _ORIG_PORT, _SERVER_HI, _SERVER_LO, _SERVER_VERSION = range(11, 18)
_NAME, _NAME_BYTES, _ANSWERS = range(18, 21)
_DESCRIBED = 21

_TRANSPORTS = np.array(d.TRANSPORTS, object)
_PATHS = np.array(["direct", "nat", "sshuttle"], object)
DISTINCT = 2048  #: different records there is room for at first: a power of two, and more than one answer may have
SHARE = 1 << 15  #: lookups that are worth a thread
_RECORD = 5  #: bytes before the data of a record in the arena: step, type, length


@lean
def _describe(rows, lookups, numbers, begin, end, out, latency, asked, answered):
    """Fill columns ``begin..end`` of ``out`` (int64[_DESCRIBED, n or more]), and ``latency`` in ms, NaN without both ends."""
    for i in range(begin, end):
        ahead = lookups[numbers[min(i + j.LOOK_AHEAD, end - 1)]]
        for k in (j.FIRST_QUERY, j.ANSWER):
            if ahead[k] >= 0:
                prefetch(rows[ahead[k]], d.TS)
                prefetch(rows[ahead[k]], d.HASH)
        x = lookups[numbers[i]]
        query = x[j.FIRST_QUERY]
        answer = x[j.ANSWER]
        asked[i] = query >= 0
        answered[i] = answer >= 0
        row = rows[query if query >= 0 else answer]
        meta = row[d.META]
        ports = row[d.PORTS]
        read = meta >> 42 & d.QUESTION_READ != 0
        out[_TXID, i] = meta & 0xFFFF
        out[_QTYPE, i] = row[d.QUESTION] & 0xFFFF if read else -1
        out[_NAME, i] = row[d.NAME]
        out[_NAME_BYTES, i] = row[d.QUESTION] >> 32 if read else 0
        out[_TRANSPORT, i] = meta >> 40 & 3
        out[_PATH, i] = x[j.PATH]
        out[_ATTEMPTS, i] = x[j.ATTEMPTS]
        out[_COPIES, i] = x[j.COPIES]
        out[_ORIG_VERSION, i] = ports >> 32
        asked_ns = np.int64(0)
        out[_QUERY_FRAME, i] = 0
        if query >= 0:
            asked_ns = row[d.TS]
            out[_ORIG_HI, i] = row[d.SRC_HI]
            out[_ORIG_LO, i] = row[d.SRC_LO]
            out[_ORIG_PORT, i] = ports >> 16 & 0xFFFF
            out[_QUERY_FRAME, i] = row[d.FRAME]
        else:
            out[_ORIG_HI, i] = row[d.DST_HI]
            out[_ORIG_LO, i] = row[d.DST_LO]
            out[_ORIG_PORT, i] = ports & 0xFFFF
        out[_QUERY_TS, i] = asked_ns
        out[_REPLY_TS, i] = 0
        out[_REPLY_FRAME, i] = 0
        out[_RCODE, i] = -1
        out[_ANSWERS, i] = 0
        latency[i] = np.nan
        if answer >= 0:
            reply = rows[answer]
            meta = reply[d.META]
            out[_REPLY_TS, i] = reply[d.TS]
            out[_REPLY_FRAME, i] = reply[d.FRAME]
            # The code of an mDNS response is to be ignored (RFC 6762 18.11).
            out[_RCODE, i] = 0 if meta >> 40 & 3 == d.MDNS else (meta >> 32 & 255) << 4 | meta >> 16 & 15
            out[_ANSWERS, i] = reply[d.ANSWER]
            if query >= 0:
                took = reply[d.TS] - asked_ns
                latency[i] = took / 1e6 if took >= 0 else np.nan  # of a clock that was set back in between nothing can be told
        server = rows[x[j.RESOLVER]]
        if server[d.META] >> 31 & 1:
            out[_SERVER_HI, i] = server[d.SRC_HI]
            out[_SERVER_LO, i] = server[d.SRC_LO]
        else:
            out[_SERVER_HI, i] = server[d.DST_HI]
            out[_SERVER_LO, i] = server[d.DST_LO]
        out[_SERVER_VERSION, i] = server[d.PORTS] >> 32


def columns(rows: Array, arena: Array, lookups: Array, numbers: Array) -> dict[str, Array | LazyColumn]:
    """The columns of LOOKUPS, from what :func:`netlens.parsers.lookup_join.join` returns and the texts of the messages."""
    n = len(numbers)
    # its rows are one cache line off a page's multiple: else they would all want the same places of the cache
    block = uninitialized(np.int64, _DESCRIBED, n + (8 - n) % 512)
    latency, asked, answered = uninitialized(np.float64, n), uninitialized(np.bool_, n), uninitialized(np.bool_, n)
    in_parallel(*(lambda a=a, b=b: _describe(rows, lookups, numbers, a, b, block, latency, asked, answered) for a, b in slices(n, SHARE)))
    out = block[:, :n]
    (cnames, answers), (names, qtype, rcode, orig_ip, resolver_ip) = in_parallel(
        lambda: _answers(arena, out[_ANSWERS]),
        lambda: (
            _names(arena, out[_NAME], out[_NAME_BYTES], out[_QTYPE] >= 0),
            _mnemonics(out[_QTYPE], lambda kind: d.type_text(kind) if kind >= 0 else None),
            _mnemonics(out[_RCODE], lambda code: d.rcode_text(code) if code >= 0 else None),
            ip_column(out[_ORIG_HI], out[_ORIG_LO], out[_ORIG_VERSION]),
            ip_column(out[_SERVER_HI], out[_SERVER_LO], out[_SERVER_VERSION]),
        ),
    )
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
        "attempts": out[_ATTEMPTS],
        "copies": out[_COPIES],
        "orig_ip": orig_ip,
        "orig_port": out[_ORIG_PORT],
        "resolver_ip": resolver_ip,
        "transport": Coded(out[_TRANSPORT], _TRANSPORTS),
        "path": Coded(out[_PATH], _PATHS),
        "txid": out[_TXID],
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


@lean
def gather(buf: Array, starts: Array, sizes: Array, out: Array) -> None:
    """Pieces of ``buf`` one behind the other."""
    at = 0
    for i in range(len(starts)):
        for k in range(sizes[i]):
            out[at + k] = buf[starts[i] + k]
        at += sizes[i]


def _names(arena: Array, offsets: Array, sizes: Array, known: Array) -> Texts:
    """Texts of the arena, of which few are equal: they are not compared."""
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    out = uninitialized(np.uint8, int(ends[-1]))
    gather(arena, offsets, sizes, out)
    return Texts(out, ends, known)


# --- answers ----------------------------------------------------------------------------------------------------------------------------


@lean
def _is_address(arena, at):
    """Whether the record there is raw bytes of an address."""
    kind = np.int64(arena[at + 1]) << 8 | np.int64(arena[at + 2])
    return kind == 1 or kind == 28


@lean
def _bytes_of(arena, at):
    return np.int64(arena[at + 3]) << 8 | np.int64(arena[at + 4])


@lean
def _record_hash(arena, at, seed):
    size = _bytes_of(arena, at)
    h = mix(seed, size << 1 | np.int64(_is_address(arena, at)))
    at += _RECORD
    while size >= 8:
        h = mix(h, be64(arena, at))
        at += 8
        size -= 8
    rest = np.int64(0)
    for k in range(at, at + size):
        rest = rest << 8 | np.int64(arena[k])
    return mix(h, rest)


@lean
def _same_record(arena, a, b):
    size = _bytes_of(arena, a)
    if size != _bytes_of(arena, b) or _is_address(arena, a) != _is_address(arena, b):
        return False
    k = _RECORD
    while k < _RECORD + size and arena[a + k] == arena[b + k]:
        k += 1
    return k == _RECORD + size


@lean
def _number_records(arena, answers, i, n, table, first, seed, cnames, cname_ends, finals, final_ends):
    """Number the distinct records of the answers from ``i`` on.

    Parameters
    ----------
    answers : int64[m], place in the arena << 20 | bytes.  n : distinct records known.  table : int64[power of 2], record + 1.
    first : int64[len(table) / 2], where the first of each stands.  cnames, finals : their numbers, of CNAME steps and of the others.
    cname_ends, final_ends : int64[m + 1], how many there are up to each answer.

    Returns
    -------
    (next answer, distinct records known); the next answer is below ``m`` if ``table`` must grow first.
    """
    mask = len(table) - 1
    steps = cname_ends[i]
    others = final_ends[i]
    while i < len(answers):
        if n + d.MAX_RECORDS > len(first):
            return i, n
        at = answers[i] >> 20
        stop = at + (answers[i] & 0xFFFFF)
        while at < stop:
            slot = _record_hash(arena, at, seed) & mask
            while table[slot] != 0 and not _same_record(arena, first[table[slot] - 1], at):
                slot = (slot + 1) & mask
            if table[slot] == 0:
                first[n] = at
                n += 1
                table[slot] = n
            if arena[at] == d.FINAL:
                finals[others] = table[slot] - 1
                others += 1
            else:
                cnames[steps] = table[slot] - 1
                steps += 1
            at += _RECORD + _bytes_of(arena, at)
        i += 1
        cname_ends[i] = steps
        final_ends[i] = others
    return i, n


@lean
def _refill(arena, first, n, table, seed):
    for k in range(n):
        slot = _record_hash(arena, first[k], seed) & (len(table) - 1)
        while table[slot] != 0:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = k + 1


def grown(arena: Array, first: Array, n: int, seed: np.int64) -> tuple[Array, Array]:
    """A table of four times the size for ``n`` distinct records, and the list of where they stand."""
    first = np.concatenate([first, np.empty(3 * len(first), np.int64)])
    table = np.zeros(2 * len(first), np.int64)
    _refill(arena, first, n, table, seed)
    return table, first


def _answers(arena: Array, answers: Array) -> tuple[Lists, Lists]:
    """Lists of CNAME steps and of final records of ``answers`` (int64, place in the arena << 20 | bytes)."""
    m = len(answers)
    most = int((answers & 0xFFFFF).sum()) // _RECORD  # pages that are not written to take no memory
    cnames, finals = uninitialized(np.int64, most), uninitialized(np.int64, most)
    cname_ends, final_ends = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    seed, i, n = random_seed(), 0, 0
    table, first = np.zeros(2 * DISTINCT, np.int64), np.empty(DISTINCT, np.int64)
    while True:
        i, n = _number_records(arena, answers, i, n, table, first, seed, cnames, cname_ends, finals, final_ends)
        if i >= m:
            break
        table, first = grown(arena, first, n, seed)
    words = np.empty(n, object)
    words[:] = [_word(arena, at) for at in first[:n].tolist()]
    return (
        Lists(cname_ends, Coded(cnames[: cname_ends[-1]], words)),
        Lists(final_ends, Coded(finals[: final_ends[-1]], words)),
    )


def _word(arena: Array, at: int) -> str:
    """Text of one record."""
    head = arena[at : at + _RECORD].tolist()
    data = arena[at + _RECORD : at + _RECORD + (head[3] << 8 | head[4])].tobytes()
    if head[1] << 8 | head[2] not in (1, 28):
        return data.decode("latin-1")
    if len(data) == 4:
        return ip_text(0, int.from_bytes(data, "big"), 4)
    return ip_text(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"), 6)
