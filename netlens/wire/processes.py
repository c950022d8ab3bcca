"""Names of the processes that sent or received single frames, where a capture has them.

Theory of operation
-------------------
1. *PKTAP* (``tcpdump -i pktap`` on macOS): each frame's header names the process, and the one on whose behalf that works.
2. *Darwin's process blocks* in pcapng (what macOS' tcpdump writes): a block a process, and an option of each packet with the number of its block.
3. *Comments* of packets in pcapng: ``PID: 12``, ``Cmd: /usr/bin/curl`` line by line (ptcpdump), ``PID=12 ProcessName=curl.exe`` (etl2pcapng and others).

Only frames that are asked for are looked at, in a second pass over the file, which ends early where the first packets name no process.

Limits: standard input cannot be read twice, so nothing is known of it.
"""

import re
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from netlens.wire.containers import Reader
from netlens.wire.framing import EPB, F_CAP, F_IFACE, F_OFF, IDB, MAX_RECORD, NUMBERED_BLOCKS, PB, SHB, SPB, options

PKTAP = (149, 258)  #: link types
DARWIN_PROCESS, NAME_OPTION, PROCESS_OPTION, COMMENT = 0x80000001, 2, 0x8001, 1  #: block type; options of blocks and packets
PID_AT, COMMAND_AT, EFFECTIVE_AT, COMMAND_BYTES = 52, 56, 88, 17  #: of PKTAP's header: struct pktap_header of Darwin's bsd/net/pktap.h
LOOK = 2_000  #: packets at the beginning, one of which must name a process; a few lack one on any machine (ARP, what the kernel sends)
MAX_NAME, MAX_PROCESSES = 255, 1 << 20
_NAME = re.compile(r"(?:^|[\s,;\[(])(?:Cmd|ProcessName|Process|Comm|Command)\s*[:=]\s*\"?([^\n\r\",;]+)", re.IGNORECASE)
_PID = re.compile(r"(?:^|[\s,;\[(])pid\s*[:=]\s*(\d{1,10})", re.IGNORECASE)


def of_frames(path: str, links: Iterable[int], container: str, wanted: set[int]) -> dict[int, str]:
    """Frame (counted from 1 in this file) -> name of its process, of the wanted ones that have one.

    Parameters
    ----------
    links, container : link types of the file and its kind, as it was read before.
    """
    if not wanted or path in ("-", "standard input"):
        return {}
    if set(links) & set(PKTAP):
        return _pktap(path, wanted)
    return _pcapng(path, wanted) if container == "pcapng" else {}


def _pktap(path: str, wanted: set[int]) -> dict[int, str]:
    reader, out = Reader([path]), {}
    frames = np.array(sorted(wanted), np.int64)
    for batch in reader.batches():
        here = frames[np.searchsorted(frames, batch.frame0 + 1) : np.searchsorted(frames, batch.frame0 + batch.n, "right")]
        for frame in here.tolist():
            row = batch.frames[frame - batch.frame0 - 1]
            if row[F_IFACE] >= 0 and int(batch.links[row[F_IFACE]]) in PKTAP:
                header = batch.buf[int(row[F_OFF]) : int(row[F_OFF]) + int(row[F_CAP])][: EFFECTIVE_AT + COMMAND_BYTES].tobytes()
                if name := _command(header, EFFECTIVE_AT) or _command(header, COMMAND_AT):
                    out[frame] = name
    return out


def _command(header: bytes, at: int) -> str:
    size = struct.unpack_from("<I", header)[0] if len(header) >= 4 else 0
    return _text(header[at : at + COMMAND_BYTES]) if size >= at + COMMAND_BYTES else ""


def _text(data: bytes) -> str:
    return data.split(b"\0")[0][:MAX_NAME].decode("utf-8", "replace").strip()


def _pcapng(path: str, wanted: set[int]) -> dict[int, str]:
    out: dict[int, str] = {}
    names: list[str] = []
    frame, told, last = 0, False, max(wanted)
    for order, kind, body in _blocks(path):
        if kind == SHB:
            names = []
        elif kind == DARWIN_PROCESS and len(names) < MAX_PROCESSES:
            pid = struct.unpack_from(order + "I", body)[0] if len(body) >= 4 else 0
            names.append(next((_text(data) for code, data in options(body, 4, order) if code == NAME_OPTION), "") or f"PID {pid}")
        elif kind in (EPB, PB, SPB) or kind in NUMBERED_BLOCKS:
            frame += 1
            if kind == EPB and len(body) >= 20 and (frame in wanted or not told):
                at = 20 + (struct.unpack_from(order + "I", body, 12)[0] + 3 & ~3)
                name = _of_options(options(body, at, order), names, order)
                told = told or bool(name)
                if name and frame in wanted:
                    out[frame] = name
            if frame >= last or (frame >= LOOK and not told):
                break
    return out


def _of_options(options: Iterable[tuple[int, bytes]], names: list[str], order: str) -> str:
    for code, data in options:
        if code == PROCESS_OPTION and len(data) == 4 and (number := struct.unpack(order + "I", data)[0]) < len(names):
            return names[number]
        if code == COMMENT:
            text = data[:4096].decode("utf-8", "replace")
            if (found := _NAME.search(text)) and (name := found[1].removesuffix(" (deleted)").strip(" )]")):
                return re.split(r"[/\\]", name)[-1][:MAX_NAME] or name[:MAX_NAME]
            if pid := _PID.search(text):
                return f"PID {pid[1]}"
    return ""


def _blocks(path: str) -> Iterator[tuple[str, int, bytes]]:
    """Byte order, type and body of each block; ends where the file is damaged."""
    reader = Reader([path])
    stream = reader.open(path)
    order, left = "<", b""
    try:
        for lent, start, end in stream.buffers():
            data = left + lent[start:end].tobytes()
            stream.give_back(lent)
            at = 0
            while at + 12 <= len(data):
                if data[at : at + 4] == b"\n\r\r\n":
                    order = ">" if data[at + 8 : at + 12] == b"\x1a\x2b\x3c\x4d" else "<"
                kind, size = struct.unpack_from(order + "II", data, at)
                size = (size + 3) & ~3
                if size < 12 or size > MAX_RECORD + 64:
                    return
                if at + size > len(data):
                    break
                if kind != IDB:
                    yield order, kind, data[at + 8 : at + size - 4]
                at += size
            left = data[at:]
    finally:
        stream.close()
