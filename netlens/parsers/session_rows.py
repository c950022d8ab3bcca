"""The table of sessions, made from their state."""

import numpy as np

from netlens.columnar import Coded, LazyColumn, Nullable
from netlens.columns import Array

# isort: off
from netlens.parsers import session_history as history
from netlens.parsers.session_state import (
    AFTER_FIN, BASE, BASE_ACKED, BASE_KIND, BASE_SYN, BYTES, CLOSED_TS, COPIES, FIN_TS, FIRST_FRAME, FIRST_PAYLOAD, FIRST_TS, FRAMES, FSM, HANDSHAKE,
    A_HI, A_LO, B_HI, B_LO, PORTS, KEEPALIVES, LAST_FRAME, LAST_PAYLOAD, LAST_TS, ORIGINATOR_SHIFT, OUT_OF_ORDER, PROTOCOL, RETRANSMITS, RST_TS, SAW_SYN,
    SAW_SYNACK, SEEN_SHIFT, SIDE, SIDE_WIDTH, SYNACK_RTT, UNSET, ZERO_WINDOWS,
)  # fmt: skip

# isort: on
from netlens.parsers.tcp_states import CONN_STATES
from netlens.schema import Table
from netlens.tables import SESSIONS as TABLE_OF_SESSIONS
from netlens.wire.addresses import ip_column
from netlens.wire.compiled import lean


def _nullable(values: Array) -> Nullable:
    return Nullable(values, values != UNSET)


#: What ``session_rows`` reads of a session, and of its originator and its responder.
_OF_SESSION = (PORTS, FSM, FIRST_TS, LAST_TS, FIRST_FRAME, LAST_FRAME, RST_TS, CLOSED_TS, HANDSHAKE, SYNACK_RTT, PROTOCOL)
_COUNTS = {
    "frames": FRAMES, "bytes": BYTES, "retransmits": RETRANSMITS, "out_of_order": OUT_OF_ORDER, "copies": COPIES, "keepalives": KEEPALIVES,
    "zero_windows": ZERO_WINDOWS, "bytes_after_fin": AFTER_FIN,
}  # fmt: skip
_TIMES = {"fin_ns": FIN_TS, "first_payload_ns": FIRST_PAYLOAD, "last_payload_ns": LAST_PAYLOAD}
_OF_SIDE = (BASE, BASE_KIND, *_COUNTS.values(), *_TIMES.values())
_PROTOCOLS = np.array([None, "tls", "ssh", "http", "http", "http", "http"], dtype=object)
_SESSION_FIELDS, _SIDE_FIELDS = np.array(_OF_SESSION), np.array(_OF_SIDE)


@lean
def _by_column(s, n, session_fields, side_fields, out):
    """Fields of the sessions, then of their originators, then of their responders, each a row of ``out``."""
    first, second = len(session_fields), len(session_fields) + len(side_fields)
    for k in range(n):
        for j in range(len(session_fields)):
            out[j, k] = s[k, session_fields[j]]
        at = SIDE + ((s[k, FSM] >> ORIGINATOR_SHIFT) & 1) * SIDE_WIDTH
        its = 2 * SIDE + SIDE_WIDTH - at
        for j in range(len(side_fields)):
            out[first + j, k] = s[k, at + side_fields[j]]
            out[second + j, k] = s[k, its + side_fields[j]]


def session_rows(s: Array, missing: Array, sni: Array | None, first_id: int = 0) -> Table:
    """Table of the session state rows ``s`` (int64[n, S_WIDTH]), the first of which is session ``first_id``."""
    n = len(s)
    # One block for all columns: dozens of small ones cost more in page faults than in copying. Its rows are one cache line off a page's multiple.
    block = np.empty((len(_OF_SESSION) + 2 * len(_OF_SIDE), n + (8 - n) % 512), np.int64)
    _by_column(s, n, _SESSION_FIELDS, _SIDE_FIELDS, block)
    of_session = dict(zip(_OF_SESSION, block[:, :n], strict=False))
    orig = dict(zip(_OF_SIDE, block[len(_OF_SESSION) :, :n], strict=False))
    resp = dict(zip(_OF_SIDE, block[len(_OF_SESSION) + len(_OF_SIDE) :, :n], strict=True))
    rows = np.arange(n)
    ports, fsm, closed = of_session[PORTS], of_session[FSM], of_session[CLOSED_TS]
    first_ts, last_ts = of_session[FIRST_TS], of_session[LAST_TS]
    version = ports >> 32
    side = (fsm >> ORIGINATOR_SHIFT) & 1
    flipped = side == 1
    a, b = ip_column(s[:, A_HI], s[:, A_LO], version), ip_column(s[:, B_HI], s[:, B_LO], version)
    ips, b_codes = np.concatenate([a.words, b.words]), b.codes + len(a.words)
    port_a, port_b = (ports >> 16) & 0xFFFF, ports & 0xFFFF
    state_orig, state_resp = (fsm >> (4 * side)) & 15, (fsm >> (4 * (1 - side))) & 15
    payload = ((orig[BYTES] > 0) | (resp[BYTES] > 0)).astype(np.int64)
    fins = np.stack([orig[FIN_TS], resp[FIN_TS]])
    known = np.where(fins == UNSET, np.iinfo(np.int64).max, fins)
    first_fin = known.min(axis=0)
    has_fin = first_fin != np.iinfo(np.int64).max
    until = np.where(closed != UNSET, closed, last_ts)
    half = np.full(n, np.nan)
    half[has_fin] = np.maximum(until[has_fin] - first_fin[has_fin], 0) / 1e9
    handshake = (fsm >> SEEN_SHIFT) & (SAW_SYN | SAW_SYNACK) != 0

    def isn(of_side: dict[int, Array]) -> Nullable:
        kind = of_side[BASE_KIND]
        return _nullable(np.where((kind == BASE_SYN) | ((kind == BASE_ACKED) & handshake), of_side[BASE], UNSET))

    def ms(values: Array) -> Array:
        # a clock that stepped back in between leaves nothing that can be told
        return np.where(values < 0, np.nan, values / 1e6)

    columns: dict[str, Array | LazyColumn] = {
        "session_id": rows + first_id,
        "orig_ip": Coded(np.where(flipped, b_codes, a.codes), ips),
        "orig_port": np.where(flipped, port_b, port_a),
        "resp_ip": Coded(np.where(flipped, a.codes, b_codes), ips),
        "resp_port": np.where(flipped, port_a, port_b),
        "start_ns": first_ts,
        "end_ns": last_ts,
        "duration_s": (last_ts - first_ts) / 1e9,
        "state": Coded(np.ravel_multi_index((state_orig, state_resp, payload), CONN_STATES.shape), CONN_STATES.ravel()),
        "history": history.column(s),
        "first_frame": of_session[FIRST_FRAME],
        "last_frame": of_session[LAST_FRAME],
        "sni": np.full(n, None, dtype=object) if sni is None else sni,
        "orig_missing_bytes": missing[rows, side],
        "resp_missing_bytes": missing[rows, 1 - side],
        "rst_ns": _nullable(of_session[RST_TS]),
        "closed_ns": _nullable(closed),
        "half_closed_s": half,
        "handshake_ms": ms(of_session[HANDSHAKE]),
        "synack_ms": ms(of_session[SYNACK_RTT]),
        "protocol": Coded(np.minimum(of_session[PROTOCOL], len(_PROTOCOLS) - 1), _PROTOCOLS),
        "saw_syn": (fsm >> SEEN_SHIFT) & SAW_SYN != 0,
    }
    for name, of_side in (("orig", orig), ("resp", resp)):
        columns |= {f"{name}_{column}": of_side[field] for column, field in _COUNTS.items()}
        columns |= {f"{name}_{column}": _nullable(of_side[field]) for column, field in _TIMES.items()}
        columns[f"{name}_isn"] = isn(of_side)
    return Table(TABLE_OF_SESSIONS, columns)
