"""Gzip on the way: the content of a file's members, of a damaged file all that stands before the damage, by ISA-L or zlib."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from netlens.errors import CaptureError
from netlens.threads import cores, in_parallel, slices

if TYPE_CHECKING:
    from netlens.wire.streams import Stream

#: Content of a gzip file that is read whatever it is compressed to, and how many times its size it may have beyond that. Deflate can make 1,032 of one;
#: captures become a third to a tenth, those of one silly payload a fiftieth.
GUNZIP_FREE = 256 << 20
GUNZIP_RATIO = 200

GZIP_MAGIC = b"\x1f\x8b"
#: How a block of BGZF begins, up to the length of the whole: a member with an extra field of six bytes (SAM specification 4.1)
BLOCK_HEAD = b"\x1f\x8b\x08\x04"
BLOCK_FIELD = b"\x06\x00BC\x02\x00"
LEAST_BLOCK = 26  #: its head, and the checksum and length of its content
FEW_BLOCKS = 4  #: that are not worth another thread
RESERVED_FLAGS = 0xE0  #: of the fourth byte: a member that has one must be refused (RFC 1952 2.3.1.2)
NO_GZIP = "{}: looks like gzip but is not or is damaged ({}); is it really a .gz file?"


def isal() -> Any:
    """ISA-L with zlib's interface; None where there is none for this processor."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib


def _is_block(data: memoryview) -> bool:
    """Whether it begins like a block of BGZF."""
    return data[:4] == BLOCK_HEAD and data[10:16] == BLOCK_FIELD


class Gunzip:
    """The content of gzip members, one behind the other, and of damaged ones all that stands before the damage.

    ISA-L takes half the time of zlib. Neither gives what it made of a piece in which it finds damage, and a checksum is found wrong at the very end.
    So when ISA-L finds any, its member is read once more by zlib, whose state before each piece can be kept, and a piece with damage in it is given to
    that byte by byte. What cannot be read twice (a pipe) is left to zlib from the start.

    What ``bgzip`` writes is a row of small members that say how long they are (BGZF): whole ones are inflated by as many threads as there are cores, up to
    one that is damaged.

    Limit: ISA-L takes some damaged code tables that zlib refuses, and notices later. What it made of them until then is handed out.
    """

    PIECE = 1 << 18

    def __init__(self, stream: Stream, head: bytes):
        self.stream = stream
        self.pending = memoryview(head)
        self.quick = isal() if isinstance(stream.file, io.FileIO) and stream.file.seekable() else None
        self.produced = 0  # before the buffer that is being filled
        self.member = 0, 0  # where the current member begins: in what was read, and in what was made of it
        self.again = 0  # bytes that were already made of it
        self.careful = False
        self.done = False
        self.begins = True  # nothing was made yet of the member whose begin is pending
        self.threads = cores()
        self.inflate = self._new()

    def fill(self, room: memoryview) -> int:
        filled = 0
        if self.produced > max(GUNZIP_FREE, GUNZIP_RATIO * self.stream.raw_bytes):
            self._end(f"its content is more than {GUNZIP_RATIO} times its size (if that is no attack: gzip -dc FILE | netlens ... -)", 0)
        while filled < len(room) and not self.done and not self.stream.stopped:
            if self.inflate.eof and not self._next_member():
                break
            if self.begins and self.quick is not None and self.threads > 1 and _is_block(self.pending):
                blocks = self._blocks(len(room) - filled)
                for data in self._inflated(blocks):
                    room[filled : filled + len(data)] = data
                    filled += len(data)
                self.member = self.stream.raw_bytes - len(self.pending), self.produced + filled
                if (blocks and self.begins and not self._next_member()) or (filled and not blocks):  # no room for more
                    break
                if blocks:
                    continue
            self.begins = False
            if not self.pending:
                self._more()
            try:
                data = self._some(len(room) - filled)
            except zlib.error as error:
                self._end(f"damaged gzip data ({error})", filled)
                break
            except Exception as error:
                if self.quick is None or not isinstance(error, self.quick.error):
                    raise
                self._once_more(self.produced + filled)
                continue
            if not data and not self.pending and self.stream.ended and not self.inflate.eof:
                self._end("the gzip stream ends early", filled)
                break
            if self.again:
                known = min(self.again, len(data))
                self.again -= known
                data = data[known:]
            room[filled : filled + len(data)] = data
            filled += len(data)
            if self.inflate.eof:
                self.member = self.stream.raw_bytes - len(self.pending), self.produced + filled
        self.produced += filled
        return filled

    def _new(self) -> Any:
        """For the member whose begin is pending."""
        flags = self.pending[3] if len(self.pending) > 3 else RESERVED_FLAGS
        if flags & RESERVED_FLAGS:  # ISA-L takes these
            self.quick = None
        return (self.quick or zlib).decompressobj(wbits=31)

    def _once_more(self, made: int) -> None:
        """Read this member by zlib from its begin; ``made`` bytes were handed out in all."""
        begin, before = self.member
        os.lseek(self.stream.file.fileno(), begin - self.stream.raw_bytes, os.SEEK_CUR)
        self.stream.again, self.stream.ended = self.stream.raw_bytes - begin, False
        self.quick, self.pending, self.again = None, memoryview(b""), made - before
        self.inflate = zlib.decompressobj(wbits=31)

    def _more(self) -> None:
        piece = bytearray(self.PIECE)
        size = self.stream.read(memoryview(piece))
        self.pending = memoryview(bytes(self.pending) + piece[:size])

    def _some(self, limit: int) -> bytes:
        # what a byte made and found no room is lost if the next byte is damaged
        if self.careful and (left := self.inflate.decompress(b"", limit)):
            return bytes(left)
        piece = self.pending[:1] if self.careful else self.pending
        before = None if self.careful or self.quick else self.inflate.copy()
        try:
            data = self.inflate.decompress(piece, limit)
        except zlib.error:
            if before is None:
                raise
            self.inflate, self.careful = before, True
            return b""
        rest = self.inflate.unused_data if self.inflate.eof else self.inflate.unconsumed_tail
        self.pending = self.pending[len(piece) - len(rest) :]
        return data

    def _next_member(self) -> bool:
        while len(self.pending) < 4 and not self.stream.ended:
            self._more()
        if bytes(self.pending[:2]) == GZIP_MAGIC:
            self.inflate, self.begins = self._new(), True
            return True
        self.done = True
        if bytes(self.pending).strip(b"\0"):  # zeros are padding, as for gzip(1)
            self.stream.cut = "bytes behind the gzip stream that are no gzip"
        return False

    def _blocks(self, limit: int) -> list[memoryview]:
        """Whole blocks of BGZF at the begin of what is pending, whose content has at most ``limit`` bytes; they stay pending."""
        while len(self.pending) < limit // 2 and not self.stream.ended and not self.stream.stopped:
            self._more()
        found: list[memoryview] = []
        at = made = 0
        while len(self.pending) - at >= LEAST_BLOCK and _is_block(self.pending[at:]):
            size = int.from_bytes(self.pending[at + 16 : at + 18], "little") + 1
            block = self.pending[at : at + size]
            made += int.from_bytes(block[-4:], "little")
            at += size
            if len(block) < max(size, LEAST_BLOCK) or made > limit:
                break
            found.append(block)
        return found if len(found) >= FEW_BLOCKS else []

    def _inflated(self, blocks: list[memoryview]) -> Iterator[bytes]:
        """Their content, up to the first that is damaged, with which a member begins that is looked at closely; they are no longer pending."""
        quick = self.quick
        assert quick is not None

        def inflate(share: list[memoryview]) -> list[bytes]:
            out = []
            with contextlib.suppress(quick.error):  # told when the block is read again
                for block in share:
                    member = quick.decompressobj(wbits=31)
                    data = member.decompress(block)
                    if not member.eof or member.unused_data or len(data) != int.from_bytes(block[-4:], "little"):
                        break
                    out.append(data)
            return out

        shares = [blocks[a:b] for a, b in slices(len(blocks), 1)]
        for share, made in zip(shares, in_parallel(*(partial(inflate, share) for share in shares)), strict=True):
            yield from made
            self.pending = self.pending[sum(map(len, share[: len(made)])) :]
            if len(made) < len(share):
                self.begins = False
                return

    def _end(self, why: str, filled: int) -> None:
        self.done = True
        if self.produced + filled == 0:
            raise CaptureError(NO_GZIP.format(self.stream.name, why))
        self.stream.cut = why
