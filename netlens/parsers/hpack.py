"""The fields of heads of HTTP/2 in clear, as far as others need them: names and values as they stand on the wire (RFC 7541), Huffman's code left as it is
but for statuses of gRPC, which some libraries write so.

A table of what was added is kept for each side of a connection, without its limit of size: a peer names nothing that has left its own. A head of which bytes
are missing, or that goes on in another frame, ends that: later numbers would mean other fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STATIC = 61  #: fields that everybody knows by number (RFC 7541, appendix A)
MOST = 1024  #: fields that one side has added and that are kept; 4,096 bytes, as a table has without a setting, hold 128
#: Names by which others find a field, as they stand in full, in Huffman's code (appendix B), or in the static table
PATH, GRPC_STATUS = b":path", b"grpc-status"
_CODED = {b"\xb9\x58\xd3\x3f": PATH, b"\x9a\xca\xc8\xb2\x12\x34\xda\x8f": GRPC_STATUS}
_NUMBERED = {4: PATH, 5: PATH}
_CODED_DIGITS = 3  # bytes in which three digits stand

Field = tuple[bytes, bytes]  #: name and value


@dataclass
class Table:
    """What one side of a connection has added.  lost : something is missing."""

    lost: bool = False
    _added: list[Field] = field(default_factory=list)  # the newest last

    def fields(self, block: bytes) -> list[Field] | None:
        """Take in a head: its fields, None where they are not known."""
        if self.lost:
            return None
        out: list[Field] = []
        at = 0
        try:
            while at < len(block):
                first = block[at]
                if first & 0x80:
                    number, at = _number(block, at, 0x7F)
                    out.append(self._field(number))
                    continue
                if first >> 5 == 1:
                    _, at = _number(block, at, 0x1F)  # the table's size
                    continue
                number, at = _number(block, at, 0x3F if first & 0x40 else 0x0F)
                if number:
                    name = self._field(number)[0]
                else:
                    name, at = _text(block, at)
                    name = _CODED.get(name, name)
                coded = name == GRPC_STATUS and block[at] & 0x80
                value, at = _text(block, at)
                value = digits(value) if coded else value
                out.append((name, value))
                if first & 0x40:
                    self._added.append((name, value))
                    del self._added[:-MOST]
        except IndexError:
            self.lost = True
            return None
        return out

    def _field(self, number: int) -> Field:
        if not 0 < number <= STATIC + len(self._added):
            raise IndexError
        return self._added[STATIC - number] if number > STATIC else (_NUMBERED.get(number, b""), b"")


def _number(block: bytes, at: int, most: int) -> tuple[int, int]:
    """An integer (5.1), and where what follows begins."""
    value = block[at] & most
    at += 1
    shift = 0
    while value >= most and (shift < 28):
        value += (block[at] & 0x7F) << shift
        at += 1
        if not block[at - 1] & 0x80:
            break
        shift += 7
    return value, at


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """A string as it stands there (5.2), and where what follows begins."""
    size, at = _number(block, at, 0x7F)
    if at + size > len(block):
        raise IndexError
    return block[at : at + size], at + size


def digits(coded: bytes) -> bytes:
    """Three digits at most in Huffman's code (appendix B): 0 to 2 have 5 bits, the others 6, and ones fill the last byte; empty where it is something else."""
    bits, left, out = int.from_bytes(coded, "big"), 8 * len(coded), b""
    while 5 <= left <= 8 * _CODED_DIGITS:
        if (five := bits >> left - 5 & 31) < 3:
            left, digit = left - 5, five
        elif left > 5 and 3 <= (digit := (bits >> left - 6 & 63) - 22) <= 9:
            left -= 6
        else:
            break
        out += b"%d" % digit
    return out if left < 8 and bits & (1 << left) - 1 == (1 << left) - 1 else b""
