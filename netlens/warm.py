"""Compile every module and kernel once, so that no capture waits: ``python -m netlens.warm``, run by ``make`` at installation.

The modules' bytecode too: from a checkout nothing else writes it where ``PYTHONDONTWRITEBYTECODE`` is set, as in many containers, and compiling
them at each start took 0.09 s.

numba keeps the machine code beside the modules (``__pycache__``), or under ``NUMBA_CACHE_DIR``, and makes it anew when a source file or the
processor changes.
"""

from __future__ import annotations

import compileall
import contextlib
import io
import struct
import tempfile
from pathlib import Path


def tiny_capture() -> bytes:
    """A pcap of a SYN, and a DNS query: enough to make every kernel run."""
    ip = bytes.fromhex("45000028000000004006000001010101020202020400005000000001000000005002ffff00000000")
    question = bytes.fromhex("000101000001000000000000") + b"\x01a\x00\x00\x01\x00\x01"
    udp = struct.pack(">HHHH", 1024, 53, 8 + len(question), 0) + question
    dns = bytes.fromhex("4500") + struct.pack(">H", 20 + len(udp)) + bytes.fromhex("00000000401100000101010102020202") + udp
    out = io.BytesIO()
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101))
    for packet in (ip, dns):
        out.write(struct.pack("<IIII", 1, 0, len(packet), len(packet)) + packet)
    return out.getvalue()


def tiny_pcapng() -> bytes:
    """The same SYN in a pcapng, so that its framing kernel runs too."""
    packet = tiny_capture()[40:80]
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20)
    size = 32 + len(packet)
    return section + interface + struct.pack("<IIIIIII", 6, size, 0, 0, 0, len(packet), len(packet)) + packet + struct.pack("<I", size)


def main() -> None:
    compileall.compile_dir(str(Path(__file__).parent), quiet=1)
    from netlens.analysis import clock
    from netlens.anonymize import recordings, secret
    from netlens.anonymize.mapper import Mapper
    from netlens.api import TABLES, Capture
    from netlens.errors import NetlensError

    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("tiny.pcap", tiny_capture()), ("tiny.pcapng", tiny_pcapng())):
            path = Path(folder, name)
            path.write_bytes(data)
            for tables in (TABLES, ("sessions",)):
                capture = Capture([path], tables)
                for table in tables:
                    capture.table(table)
            clock.estimate(capture, capture)  # the second pass has kernels of its own
            with contextlib.suppress(NetlensError):  # where the package cryptography is missing, nothing is anonymised
                recordings.capture(str(path), str(path.with_suffix(".new")), Mapper(secret.fresh()))


if __name__ == "__main__":
    main()
