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
   :meth:`LookupBuilder.rows`, so that builders of parts of a capture merge to the builder of the whole, wherever the cut. Joining reads
   them in order of time: files of several interfaces hold an answer before its query now and then. The join, with the times and bounds named here,
   is :mod:`netlens.parsers.lookup_join`; columns are made in :mod:`netlens.parsers.lookup_columns`.
3. *Key.* A lookup is its client's address and port, transaction id, opcode, lower-cased name, type and transport. The resolver is not in
   it: behind a redirect the answer comes from another address than was asked, and a stub may ask two resolvers from one socket. An answer
   without a question (some FORMERR) is joined to the latest query of that client address and port and transaction id.
4. *Attempts.* A query is another attempt of a known lookup, in this order:
   a. same key, not answered, less than ID_LIFE_NS after the last attempt (glibc and musl repeat the datagram);
   b. same client address, transaction id, name and type from another port, not answered, less than ID_LIFE_NS later (glibc's next
      resolver);
   c. same client address, name and type with a new id, not answered, RETRY_MIN_NS to RETRY_MAX_NS after the last attempt
      (Go, c-ares, Windows, resolvers). Sooner, it is a parallel lookup of its own: programs that open three connections at once ask three
      times.
   After its answer, the same key is a new lookup.
5. *Copies.* Queries are counted in ``attempts``, each datagram, as tshark counts questions, unless a copy is proven: a counted query of the
   same lookup, on a different interface, with the same transaction id, and
   - the same addresses and ports, less than COPY_NS before: a bridge or route;
   - the same resolver and another source, less than NAT_NS before: source NAT (path ``nat``; the inner, first one is who asked);
   - the same source and another resolver, neither of them loopback, less than COPY_NS before: destination NAT (path ``nat``).
   So attempts + copies of all lookups is the number of queries captured (as Wireshark counts them: NOTIFY and
   UPDATE, RFC 1996 and RFC 2136, are among them).
6. *Answers.* The first answer of a lookup counts; duplicates within ID_LIFE_NS are joined to it. An answer to nothing known makes a row
   with 0 attempts.
7. *Path.* A query to a loopback address on a port other than 53 whose answer comes from another address was redirected: ``sshuttle``, and
   the answer's source is the resolver. Unanswered, it is ``sshuttle`` if its source is no loopback address: only a redirect makes such a
   packet. An answer from the same loopback address and another port (Docker's 127.0.0.11) is translation on the spot: ``direct``.
8. *mDNS.* A query is repeated by the same address and port; any response within MDNS_NS with that name and type (or any type, if
   ANY was asked) from another address answers all who asked. Announcements nobody asked for are no lookup. ``rcode`` is NOERROR.

Messages with several questions are named after the first and count once. A question that cannot be read (cut, malformed, absent) has
``qname`` and ``qtype`` null. Keys are compared by 64-bit hashes: one chance in 10^7 of a wrong join among two million messages.
"""

import numpy as np

from netlens.arrays import GrowableArray
from netlens.columns import Array
from netlens.parsers.lifecycle import Kept
from netlens.parsers.lookup_columns import columns
from netlens.parsers.lookup_join import is_loopback, join
from netlens.schema import Table
from netlens.tables import LOOKUPS
from netlens.wire import columns as c
from netlens.wire import dns as d
from netlens.wire.compiled import lean

TRUNCATED = 0x8200  #: flags of an answer (QR) that was truncated (TC)


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
                    is_loopback(packet[c.SRC_HI], packet[c.SRC_LO], version) or is_loopback(packet[c.DST_HI], packet[c.DST_LO], version)
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


class LookupBuilder:
    """Collects DNS messages of one capture, or of a part of one, and joins them to lookups.

    ``feed`` and ``feed_message`` may be called in any mixture, in the order of the capture; ``rows`` may be called at any time and again
    later.
    """

    def __init__(self) -> None:
        self._rows = GrowableArray(np.int64, 256, d.MESSAGE_WIDTH)
        self._arena = GrowableArray(np.uint8, 16384)
        self._n_rows = 0  # used of the rows
        self._used = 0  # used of the arena
        self._scratch = np.empty((d.MAX_RECORDS, d.SCRATCH_WIDTH), np.int64)

    def feed(self, buf: Array, packets: Array) -> None:
        """Take the DNS messages of one batch."""
        i, n = 0, len(packets)
        while True:
            i, self._n_rows, self._used, needs = _collect(
                buf, packets, i, n, self._rows.array, self._n_rows, self._arena.array, self._used, self._scratch
            )
            if i >= n:
                return
            self._make_room(d.MAX_OWNERS, needs)

    def feed_message(self, message: Array, packet: Array) -> None:
        """Take one message of a TCP stream, without its two bytes of length; ``packet``: row of the segment that completed it."""
        size = len(message)
        if size < d.MIN_MESSAGE:
            return
        self._make_room(d.MAX_OWNERS, d.room(size))
        self._n_rows, self._used = _add_message(
            message, 0, size, size, packet, d.TCP, 0, self._rows.array, self._n_rows, self._arena.array, self._used, self._scratch
        )

    def merge(self, other: "LookupBuilder", frame_offset: int = 0) -> None:
        """Append what the builder of the next part collected; ``frame_offset`` frames came before that part. ``other`` is not changed."""
        self.extend(*other.content(), frame_offset)

    def content(self) -> tuple[Array, Array]:
        """The messages: int64[m, MESSAGE_WIDTH], and uint8, their texts. Views, valid until more is fed."""
        return self._rows.array[: self._n_rows], self._arena.array[: self._used]

    def extend(self, messages: Array, texts: Array, frame_offset: int = 0) -> None:
        """Append the content of another builder; see :meth:`merge`."""
        n, used = len(messages), len(texts)
        self._make_room(n, used)
        rows = self._rows.array[self._n_rows : self._n_rows + n]
        rows[:] = messages
        rows[:, d.FRAME] += frame_offset
        rows[:, d.NAME] += self._used
        rows[:, d.ANSWER] += self._used << 20
        self._arena.array[self._used : self._used + used] = texts
        self._n_rows += n
        self._used += used

    @property
    def messages(self) -> int:
        """Rows collected so far: one per message, of mDNS responses one per name and type they answer."""
        return self._n_rows

    def bare(self) -> set[int]:
        """Frames of answers over UDP that were truncated to nothing: TC is set (RFC 1035 4.1.1), and no record came."""
        rows, _ = self.content()
        flags, status, records = rows[:, d.META] >> 16, rows[:, d.META] >> 42, rows[:, d.ANSWER] & (1 << 20) - 1
        udp = rows[:, d.META] >> 40 & 3 == d.UDP
        found = udp & (flags & TRUNCATED == TRUNCATED) & (records == 0) & (status & d.ANSWERS_CUT == 0)
        return set(rows[found, d.FRAME].tolist())

    def _make_room(self, rows: int, texts: int) -> None:
        """Grow what has no room for so many rows and bytes more."""
        self._rows.make_room(self._n_rows + rows)
        self._arena.make_room(self._used + texts)

    def forget(self, kept: Kept) -> None:
        """Messages belong to no session: :meth:`drain` is what makes room."""

    @property
    def nbytes(self) -> int:
        return self._rows.array.nbytes + self._arena.array.nbytes

    def drain(self) -> Table:
        """The lookups so far; their messages are taken out, so what comes later for one of them is a lookup of its own."""
        table = self.rows()
        self._n_rows = self._used = 0
        return table

    def rows(self) -> Table:
        """Join the messages to lookups: a table of schema ``LOOKUPS``, in order of first frame; ``connection_ids`` are empty lists."""
        if self._n_rows == 0:
            return LOOKUPS.empty()
        rows, lookups, numbers = join(self._rows.array[: self._n_rows])
        if len(numbers) == 0:  # answers that answer nothing
            return LOOKUPS.empty()
        return Table(LOOKUPS, columns(rows, self._arena.array, lookups, numbers))
