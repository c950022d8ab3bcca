"""What phones and exchanges say to each other over SIP (RFC 3261): requests and final answers of calls and registrations, where media are to be sent and in
which formats (SDP: RFC 8866, RFC 3264).

Of a call nothing is kept but numbers that tell whether two are the same, statuses, and where and how media are taken; no name and no number of a phone. Kept
while ``netlens analyze`` reads a capture, and by no other command.

Limits: at the port of SIP; messages that fill a datagram, or begin a segment, of the first :data:`MAX_MESSAGES`; of each the first :data:`LOOKED_AT` bytes.
"""

import re
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

PORT = 5060
MAX_MESSAGES = 100_000
ENDING = 6  #: characters of a name that stay when a prefix is put before a number (00, +49, 99#)
LOOKED_AT = 4000  #: bytes of a message
EVERY = frozenset(range(128))  #: payload types
#: The last two may bear an answer to an offer (RFC 3264 4, RFC 3262 5)
_METHODS = (b"INVITE", b"REGISTER", b"UPDATE", b"BYE", b"ACK", b"PRACK")
_CALL = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r]*)", re.I)
_NUMBER = re.compile(rb"\r\nCSeq[ \t]*:[ \t]*(\d{1,9})[ \t]+([A-Z]+)", re.I)
_TO = re.compile(rb"\r\n(?:To|t)[ \t]*:([^\r]*)", re.I)
_USER = re.compile(rb"(?:sips?|tel):([^@;>\s]*)", re.I)
_LENGTH = re.compile(rb"\r\n(?:Content-Length|l)[ \t]*:[ \t]*(\d{1,6})", re.I)
_REASON = re.compile(rb"\r\nReason[ \t]*:[^\r]*(?:cause=408\b|session[ -]timer|session expire)", re.I)
_MEDIA = re.compile(rb"^m=(?:audio|video) (\d{1,5})(?:/\d+)? RTP/\S+ ([\d ]+)\r?$", re.M)
_DIRECTION = re.compile(rb"^a=(sendonly|recvonly|inactive)\r?$", re.M)  # else both (RFC 8866 6.7)
_ADDRESS = re.compile(rb"^c=IN IP[46] ([0-9A-Fa-f.:]+)", re.M)


class Media(NamedTuple):
    """Where one end takes media, and in which formats (payload types).  talks : whether it is voice that the end both sends and takes (not on hold)."""

    address: str
    port: int
    formats: frozenset[int]
    talks: bool = True


class Message(NamedTuple):
    """A request, or an answer to one.

    method : of the request.  status : of an answer, else 0.  call, whom : numbers for the Call-ID and for who is asked for.  ending : for how that name
    ends.  inside : within a dialog.
    timer : it says that nobody answered in time (RFC 3326, RFC 4028 10).
    """

    ts: int
    frame: int
    source: str
    destination: str
    method: str
    status: int
    number: int
    call: int
    whom: int
    ending: int
    inside: bool
    timer: bool
    media: tuple[Media, ...]


class CallBuilder:
    """Fed with decoded packets."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_MESSAGES:
            return
        ports = packets[:, c.PORTS]
        chosen = ((ports & 0xFFFF) == PORT) | ((ports >> 16 & 0xFFFF) == PORT)
        if not chosen.any():
            return
        chosen &= (packets[:, c.PAY_CAP] > 0) & ((packets[:, c.KIND] == c.UDP) | (packets[:, c.FRESH] > 0))
        rows = np.flatnonzero(chosen)[: MAX_MESSAGES - self._read]
        self._read += len(rows)
        for row in packets[rows].tolist():
            at = row[c.PAY_OFF]
            found = _message(buf[at : at + min(row[c.PAY_CAP], LOOKED_AT)].tobytes(), row)
            if found is not None:
                self.messages.append(found)


def _message(text: bytes, row: list[int]) -> Message | None:
    head, _, body = text.partition(b"\r\n\r\n")
    line = head.partition(b"\r\n")[0].split(b" ")
    call, number, to = _CALL.search(head), _NUMBER.search(head), _TO.search(head)
    if len(line) < 3 or not (call and number and to):
        return None
    status = int(line[1]) if line[0] == b"SIP/2.0" and line[1].isdigit() and len(line[1]) == 3 else 0
    method = number[2].upper()
    if method not in _METHODS or not (status or line[-1] == b"SIP/2.0"):
        return None
    whom, length = _USER.search(to[1]), _LENGTH.search(head)
    version = row[c.PORTS] >> 32
    return Message(
        row[c.TS],
        row[c.FRAME],
        ip_text(row[c.SRC_HI], row[c.SRC_LO], version),
        ip_text(row[c.DST_HI], row[c.DST_LO], version),
        method.decode(),
        status,
        int(number[1]),
        crc32(call[1]),
        crc32(whom[1]) if whom else 0,
        crc32(whom[1][-ENDING:]) if whom else 0,
        not status and b";tag=" in to[1],
        not status and _REASON.search(head) is not None,
        _media(body, length is not None and int(length[1]) > len(body)),
    )


def _media(body: bytes, cut: bool) -> tuple[Media, ...]:
    """Of a description of a session, by itself or among other parts; a medium has an address of its own, or that of all. If the message is ``cut``, formats are
    missing: all may be taken."""
    at = body.find(b"v=0\r\n")
    if at < 0:
        return ()
    body = body[at:]
    begins = [found.start() for found in re.finditer(rb"^m=", body, re.M)] + [len(body)]
    common = _ADDRESS.search(body[: begins[0]])
    held = _DIRECTION.search(body[: begins[0]]) is not None
    found = []
    for at, end in pairwise(begins):
        medium, own = _MEDIA.match(body[at:end]), _ADDRESS.search(body[at:end])
        address = own or common
        if medium and address and int(medium[1]):
            formats = EVERY if cut else frozenset(int(each) for each in medium[2].split() if len(each) <= 3)
            part = body[at:end]
            one_way = _DIRECTION.search(part) is not None or (held and b"\na=sendrecv" not in part)
            talks = part.startswith(b"m=audio") and not (one_way or cut or address[1] in (b"0.0.0.0", b"::"))
            found.append(Media(address[1].decode().lower(), int(medium[1]), formats, talks))
    return tuple(found)
