"""Sockets, from ss (Linux) and lsof (macOS)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netlens.capture.programs._reading import is_number, plain_address

#: ss and lsof have their own words for the states of RFC 9293; these are the words of ``netstat``, which most people know.
_STATES = {
    "ESTAB": "ESTABLISHED",
    "SYN_RCVD": "SYN_RECEIVED",
    "SYN_RECV": "SYN_RECEIVED",
    "FIN_WAIT1": "FIN_WAIT_1",
    "FIN_WAIT2": "FIN_WAIT_2",
    "UNCONN": "UNCONNECTED",
    "CLOSE": "CLOSED",
}


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket as the kernel lists it.

    Addresses are plain: no brackets, no interface; IPv4 carried in IPv6 (``::ffff:192.0.2.1``) is IPv4, as on the wire; ``*`` is any address.
    ``remote_ip`` and ``remote_port`` are None where nothing is at the other end; ``process`` and ``pid`` are None where they are not shown
    (another user's socket, or one without a process such as TIME_WAIT).
    """

    local_ip: str
    local_port: int
    remote_ip: str | None
    remote_port: int | None
    state: str  # ESTABLISHED, LISTEN, FIN_WAIT_1, TIME_WAIT, ...; UNCONNECTED for a UDP socket that serves
    process: str | None
    pid: int | None
    protocol: str = "tcp"


def _state(word: str) -> str:
    word = word.upper().replace("-", "_")
    return _STATES.get(word, word)


def _endpoint(text: str) -> tuple[str, int | None] | None:
    """``192.0.2.1:443``, ``[::1]:53``, ``127.0.0.53%lo:53``, ``*:22``, ``*:*``; None if it is none of these."""
    host, colon, port = text.rpartition(":")
    if not colon:
        return None
    if port == "*":
        return plain_address(host), None
    if not is_number(port) or int(port) > 65535:
        return None
    return plain_address(host), int(port)


_SS_USER = re.compile(r'\(\("(.*?)",pid=(\d{1,10})')


def parse_ss(text: str) -> list[Socket]:
    """Sockets of ``ss -tuanp`` (also without ``-u``, ``-p``, heading or, for one state, the state's column)."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=6)
        protocol = "tcp"
        if words and words[0] in ("tcp", "udp"):
            protocol = words[0]
            words = words[1:]
        elif words and not is_number(words[0]) and words[0].isalpha() and words[0].islower():
            continue  # a unix or netlink socket
        state = "ESTABLISHED"  # what ss lists when told nothing else, and then it has no column for it
        if words and not is_number(words[0]):
            state = _state(words[0])
            words = words[1:]
        if len(words) < 4 or not (is_number(words[0]) and is_number(words[1])):
            continue
        local, remote = _endpoint(words[2]), _endpoint(words[3])
        if local is None or remote is None or local[1] is None:
            continue
        user = _SS_USER.search(" ".join(words[4:]))
        process, pid = (user[1], int(user[2])) if user else (None, None)
        remote_ip = remote[0] if remote[1] is not None else None
        found.append(Socket(local[0], local[1], remote_ip, remote[1], state, process, pid, protocol))
    return found


def parse_lsof(text: str) -> list[Socket]:
    """Sockets of ``lsof -nP -i -F pcPnT``: fields survive any process name, the table does not."""
    found: list[Socket] = []
    process: str | None = None
    pid: int | None = None
    protocol = name = state = ""
    for kind, value in [*((line[:1], line[1:]) for line in text.splitlines()), ("f", "")]:
        ends = kind in "pf"  # a new process, or a new file of it: what was told of the last one is complete
        if name and (ends or kind == "P") and (socket := _lsof_socket(protocol, name, state, process, pid)) is not None:
            found.append(socket)
            ends = True  # without ``f`` among the fields the protocol comes first
        if ends:
            protocol = name = state = ""
        if kind == "p":
            pid, process = (int(value) if is_number(value) else None), None
        elif kind == "c":
            process = _lsof_name(value)
        elif kind == "P":
            protocol = value.lower()
        elif kind == "n":
            name = value
        elif kind == "T" and value.startswith("ST="):
            state = value[3:]
    return found


def parse_sockets(text: str) -> list[Socket]:
    """Of whichever of the two a machine has; lsof's fields begin with a process, ``p123``."""
    return parse_lsof(text) if text[:1] == "p" else parse_ss(text)


def _lsof_socket(protocol: str, name: str, state: str, process: str | None, pid: int | None) -> Socket | None:
    here, arrow, there = name.partition("->")
    local, remote = _endpoint(here), _endpoint(there) if arrow else None
    if local is None or local[1] is None or protocol not in ("tcp", "udp"):
        return None
    if not state:
        state = "ESTABLISHED" if remote else "UNCONNECTED"
    remote_ip, remote_port = remote if remote else (None, None)
    return Socket(local[0], local[1], remote_ip, remote_port, _state(state), process, pid, protocol)


def _lsof_name(text: str) -> str:
    r"""Lsof writes a blank in a command's name as ``\x20``, and each byte that is not ASCII in the same way."""
    return re.sub(r"(?:\\x[0-9a-fA-F]{2})+", lambda m: bytes.fromhex(m[0].replace("\\x", "")).decode("utf-8", "replace"), text)
