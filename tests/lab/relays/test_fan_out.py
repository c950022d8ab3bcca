"""The forwarder that brings companions, as its own process on loopback."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from netlens.lab.relays import _fan_out as fan_out

CODE = """
import socket, sys
first = socket.socket()
first.connect(('127.0.0.1', %d))
first.sendall(b'x')
sys.stdin.readline()
first.%s
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["close()", "shutdown(socket.SHUT_WR)"])
def test_companions_come_and_go_with_the_connection(tmp_path: Path, end: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    python = fan_out.write_python(tmp_path, 1, [2], port)
    with listener, subprocess.Popen([python, "-c", CODE % (port, end)], stdin=subprocess.PIPE) as child:
        listener.settimeout(30)
        connections = [listener.accept()[0] for _ in range(3)]
        for connection in connections:
            connection.settimeout(30)
        assert child.stdin
        child.stdin.write(b"\n")
        child.stdin.flush()
        received = []
        for connection in connections:
            data = b""
            while piece := connection.recv(10):
                data += piece
            received.append(data)
            connection.close()
        assert sorted(received) == [b"", b"", b"x"]
        child.stdin.close()
        assert child.wait(30) == 0
