"""Tunnels: which SSH connection carries sshuttle, and which connections came through it, seen from the machine that runs sshd.

Theory of operation
-------------------
sshuttle's server opens one new TCP connection for each that its client accepted, and writes what the client sent as it comes out of the SSH
connection. So on the far side (the host) each step of a forwarded connection follows SSH payload towards sshd by a few milliseconds:

* its SYN follows an SSH payload, and
* each payload it sends follows a burst of SSH payload at least as long (encryption only adds).

A program of the host itself owes the tunnel nothing and matches by chance only, which its size makes rare: a ClientHello of 500 to 1,800 bytes
needs an SSH burst of that size at most :data:`REACTION_NS` before it.

On the near side (the VM) redirect halves tell more than timing could; see :mod:`netlens.parsers.connections`.

Limits: with several busy tunnels or a tunnel saturated upwards, chance matches grow; a second capture on the VM decides (pairing). A tunnel
that is reached on a port other than 22 is recognised by its banner only, so not when it is older than the capture. One that compresses (SSH
does not unless told to) carries more than it seems to.
"""

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import LEAST_ROWS, Kept, grown
from netlens.parsers.session_state import FSM, PORTS
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import lean

SSH_PORT = 22
SLOTS = 16  #: SSH connections watched at a time; the least recently active gives way
SLOT_SESSION, SLOT_LAST, SLOT_BURST = 0, 1, 2
#: From SSH payload in to the forwarded payload out: sshd, a pipe and a Python select loop. Measured 0.2 to 2 ms idle; 50 ms allows a busy machine.
REACTION_NS = 50_000_000
(TUNNEL, OPENED_AFTER, SENT, SENT_AFTER, FIRST_FITS) = range(5)
T_WIDTH = 5


@lean
def watch(packets, n, sessions, slots, state):
    """Note, for each session that is not SSH, how its SYN and payloads follow SSH payload towards sshd.

    slots : int64[SLOTS, 3]; state : int64[:, T_WIDTH]: tunnel session + 1, ns from SSH payload to the SYN (-1: none), payload events sent,
    those that follow a burst long enough, whether the first of them does.
    """
    for i in range(n):
        row = packets[i]
        k = row[c.SESSION]
        if k < 0:
            continue
        s = sessions[k]
        orig = (s[FSM] >> 8) & 1
        if row[c.DIRECTION] != orig:
            continue
        ts = row[c.TS]
        server_port = s[PORTS] & 0xFFFF if orig == 0 else (s[PORTS] >> 16) & 0xFFFF
        # what is known at this segment, not at the end of the batch
        if (row[c.HINT] >> h.PROTOCOL_SHIFT) & 15 == h.SSH or server_port == SSH_PORT:
            state[k, TUNNEL] = 0
            state[k, OPENED_AFTER] = -1
            if row[c.FRESH] <= 0:
                continue
            at = 0
            for j in range(SLOTS):
                if slots[j, SLOT_SESSION] == k + 1:
                    at = j
                    break
                if slots[j, SLOT_LAST] < slots[at, SLOT_LAST]:
                    at = j
            slot = slots[at]
            if slot[SLOT_SESSION] != k + 1:
                slot[SLOT_SESSION] = k + 1
                slot[SLOT_BURST] = 0
            elif ts - slot[SLOT_LAST] > REACTION_NS:
                slot[SLOT_BURST] = 0
            slot[SLOT_BURST] += row[c.FRESH]
            slot[SLOT_LAST] = ts
            continue
        x = state[k]
        opens = row[c.FLAGS] & (c.SYN | c.ACK_FLAG) == c.SYN
        if not opens and row[c.FRESH] <= 0:
            continue
        best = -1
        for j in range(SLOTS):
            if slots[j, SLOT_SESSION] > 0 and 0 <= ts - slots[j, SLOT_LAST] <= REACTION_NS:
                if best < 0 or slots[j, SLOT_LAST] > slots[best, SLOT_LAST]:
                    best = j
        if opens:
            if x[TUNNEL] == 0 and x[OPENED_AFTER] == 0 and x[SENT] == 0:  # only the first SYN: later ones follow a timer
                if best >= 0:
                    x[TUNNEL] = slots[best, SLOT_SESSION]
                    x[OPENED_AFTER] = ts - slots[best, SLOT_LAST]
                else:
                    x[OPENED_AFTER] = -1
            continue
        x[SENT] += 1
        fits = -1
        for j in range(SLOTS):
            # Of several tunnels another one's payload may have come between; the first payload, which has a size, tells better than the SYN.
            known = x[SENT] == 1 or slots[j, SLOT_SESSION] == x[TUNNEL]
            if (
                slots[j, SLOT_SESSION] > 0
                and known
                and 0 <= ts - slots[j, SLOT_LAST] <= REACTION_NS
                and slots[j, SLOT_BURST] >= row[c.FRESH]
                and (fits < 0 or slots[j, SLOT_SESSION] == x[TUNNEL])
            ):
                fits = j
        if fits >= 0:
            x[SENT_AFTER] += 1
            if x[SENT] == 1:
                x[FIRST_FITS] = 1
                x[TUNNEL] = slots[fits, SLOT_SESSION]


class TunnelWatch:
    """Runs :func:`watch` over the batches of a capture."""

    def __init__(self) -> None:
        self.slots = np.zeros((SLOTS, 3), np.int64)
        self.state = np.zeros((LEAST_ROWS, T_WIDTH), np.int64)

    def feed(self, buf: Array, packets: Array, sessions: Array) -> None:
        if len(sessions) > len(self.state):
            self.state = grown(self.state, len(sessions))
        watch(packets, len(packets), sessions, self.slots, self.state)

    def forget(self, kept: Kept) -> None:
        self.state = kept.rows(self.state)
        for references in (self.state[:, TUNNEL], self.slots[:, SLOT_SESSION]):  # numbers of sessions plus one
            references[:] = kept.renamed(references - 1) + 1

    @property
    def nbytes(self) -> int:
        return self.state.nbytes

    def attributed(self, sessions: Array) -> Array:
        """int64[n]: of each of ``sessions`` the SSH session that it came through, or -1.

        The SYN must follow SSH payload, the first payload must fit the burst before it, and so must four of five of all payloads.
        """
        x = self.state[sessions]
        through = (x[:, TUNNEL] > 0) & (x[:, OPENED_AFTER] >= 0) & (x[:, FIRST_FITS] == 1) & (x[:, SENT_AFTER] * 5 >= x[:, SENT] * 4)
        return np.where(through, x[:, TUNNEL] - 1, -1)
