"""Connections of an agent, how they are kept alive, how HTTP/1.1 is spoken on them, and how names are looked up; what it does is in the journal."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.lab.journal import Journal
from netlens.lab.programs._process import later
from netlens.lab.provider import dns

if TYPE_CHECKING:
    from netlens.lab.programs._http2 import SharedConnection
    from netlens.lab.programs.agent import Behaviour


class Connection:
    """One connection of the program, with TLS but to a reverse proxy; ``name`` is what the journal calls it."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock, self.name = sock, name
        self.timer: threading.Timer | None = None


def _way(behaviour: Behaviour) -> tuple[str, tuple[str, int]]:
    """Scheme, address and port of the relay that is asked first; no scheme and the site's port without one."""
    scheme, _, end = (behaviour.proxy or behaviour.base_url).partition("://")
    ip, _, port = end.partition(":")
    return scheme, (ip, int(port or 443))


def _negotiate(sock: socket.socket, scheme: str, site: str) -> None:
    """Have a proxy connect to the site: CONNECT (RFC 9110 9.3.6), or SOCKS5 with the site's name (RFC 1928). ConnectionError if it refuses."""
    if scheme == "http":
        sock.sendall(f"CONNECT {site}:443 HTTP/1.1\r\nHost: {site}:443\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
            answer += byte
        granted = answer.split(b" ")[1:2] == [b"200"]
    else:
        sock.sendall(b"\x05\x01\x00")
        sock.recv(2, socket.MSG_WAITALL)
        sock.sendall(b"\x05\x01\x00\x03" + bytes([len(site)]) + site.encode() + struct.pack(">H", 443))
        granted = sock.recv(10, socket.MSG_WAITALL)[1:2] == b"\0"
    if not granted:
        raise ConnectionError(f"the proxy does not connect to {site}")


class Network:
    """What the programs of one side share: the journal and its numbers, TLS, the resolver."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.side, self.seed = str(config["side"]), int(config["seed"])
        self.journal = Journal(Path(config["journal"]))
        self.http2 = config["http"] == "2"
        self._name_server = str(config["dns_over_tcp"])
        self._tls = ssl.create_default_context(cafile=config["certificate"])
        self._tls.set_alpn_protocols(["h2", "http/1.1"] if self.http2 else ["http/1.1"])
        if self.http2 and config["programs"]:
            self._tls.keylog_filename = config["keylog"]  # as SSLKEYLOGFILE does
        self._numbers = itertools.count(1)
        self._dns_timers: list[threading.Timer] = []

    def name(self) -> str:
        """A new name, for a connection or a request."""
        return f"{self.side}-{next(self._numbers)}"

    def connect(self, behaviour: Behaviour) -> Connection:
        """Look the site up and open a TLS connection to it."""
        scheme, (ip, port) = _way(behaviour)
        if not scheme:
            ip = self.look_up(behaviour)
        name = self.name()
        sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
        ns = time.time_ns()
        sock.connect((ip, port))
        self.journal.write("connect", ns, connection=name, port=sock.getsockname()[1], ip=ip, to_port=port, site=behaviour.site)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if behaviour.base_url and scheme == "http":
            return Connection(sock, name)
        if behaviour.proxy:
            _negotiate(sock, scheme, behaviour.site)
        return Connection(self._tls.wrap_socket(sock, server_hostname=behaviour.site), name)

    def look_up(self, behaviour: Behaviour) -> str:
        ns = time.time_ns()
        if behaviour.dns == "udp":
            found = socket.getaddrinfo(behaviour.site, 443, type=socket.SOCK_STREAM)[0][4][0]
            self.journal.write("lookup", ns, name=behaviour.site, transport="udp")
            return str(found)
        # A stub that asks over TCP and keeps the connection for the next question, as RFC 7766 advises, though none comes in time.
        connection = socket.create_connection((self._name_server, 53))
        port = connection.getsockname()[1]
        name = self.name()
        self.journal.write("connect", ns, connection=name, port=port, ip=self._name_server, to_port=53, site="")
        question = dns.query(random.Random(f"{self.seed} {port} {ns}").getrandbits(16), behaviour.site)
        connection.sendall(struct.pack(">H", len(question)) + question)
        with connection.makefile("rb") as stream:
            answer = stream.read(struct.unpack(">H", stream.read(2))[0])
        self.journal.write("lookup", ns, name=behaviour.site, transport="tcp")
        self._dns_timers.append(later(behaviour.dns_keep_s, self._close_plain, name, connection))
        return dns.addresses(answer)[0]

    def _close_plain(self, name: str, connection: socket.socket) -> None:
        if connection.fileno() >= 0:
            self.journal.write("close", connection=name, how="fin")
            connection.close()

    def close_connection(self, connection: Connection, how: str = "close_notify") -> None:
        """Close a connection: in order, in mid-answer ("fin"), or with a reset ("rst")."""
        with contextlib.suppress(OSError):
            if how == "rst":
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.journal.write("close", connection=connection.name, how=how)
            if how == "close_notify" and isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.setblocking(False)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
                    connection.sock.unwrap()  # sends the alert; the other side's is not waited for
            connection.sock.close()

    def close(self) -> None:
        """Close what the resolver still keeps, and the journal."""
        for timer in self._dns_timers:
            timer.cancel()
            timer.function(*timer.args)
        self.journal.close()


class Pool:
    """Idle connections of one program, each closed after a while; like the pools of fetch implementations."""

    def __init__(self, network: Network, behaviour: Behaviour) -> None:
        self._network, self._behaviour = network, behaviour
        self._idle: list[Connection] = []
        self._shared: SharedConnection | None = None
        self._lock = threading.Lock()

    def take(self) -> Connection:
        """The connection that was used last, if any is idle and may be used again; else a new one."""
        with self._lock:
            connection = self._idle.pop() if self._idle and self._behaviour.reuse else None
        if connection is None:
            return self._network.connect(self._behaviour)
        if connection.timer:
            connection.timer.cancel()
        return connection

    def give(self, connection: Connection) -> None:
        with self._lock:
            self._idle.append(connection)
            connection.timer = later(self._behaviour.keep_s, self._expire, connection)

    def shared(self) -> SharedConnection:
        """The HTTP/2 connection that all share; made by the first who asks."""
        from netlens.lab.programs._http2 import SharedConnection  # needs h2, which reading a scenario does not

        with self._lock:
            if self._shared is None or self._shared.lost.is_set():
                new = self._network.connect(self._behaviour)
                assert isinstance(new.sock, ssl.SSLSocket)  # HTTP/2 is never asked for through a relay
                self._shared = SharedConnection(new.sock, new.name)
            return self._shared

    def _expire(self, connection: Connection) -> None:
        with self._lock:
            if connection not in self._idle:
                return
            self._idle.remove(connection)
        self._network.close_connection(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        if self._shared:
            self._network.journal.write("close", connection=self._shared.name, how="fin")
            self._shared.close()
        for connection in idle:
            if connection.timer:
                connection.timer.cancel()
            self._network.close_connection(connection)


def send(sock: socket.socket, path: str, host: str, key: str, body: bytes) -> None:
    """Send a POST with a JSON body, in one piece."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sock.sendall(head.encode() + body)


def answer(sock: socket.socket) -> HTTPResponse:
    """Read up to the body. OSError or HTTPException if the connection ends before, or this is not HTTP."""
    response = HTTPResponse(sock, method="POST")
    response.begin()
    return response


def pieces(response: HTTPResponse) -> Iterator[bytes]:
    """The chunks of a chunked body, each as soon as it is there; or the whole of another."""
    if not response.chunked:
        yield response.read()
        return
    while piece := response.read1(65536):
        yield piece
