"""Accepts connections and serves them, one thread each with blocking sockets.

On purpose: such a server notices an abort only when a write fails, and until then the request stays in flight. That is what makes zombies.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.lab.provider import http2
from netlens.lab.provider.admission import Admission
from netlens.lab.provider.exchange import Connection, Exchange, Service, Settings
from netlens.lab.provider.observer import Observer

if TYPE_CHECKING:
    from netlens.lab.journal import Journal

IDLE_S = 75.0  #: a kept-alive connection without a request is closed after this; longer than any run, as the programs close first
LINGER_S = 5.0  #: how long to wait for the other side's FIN after ours before the socket is given up

Plain = Callable[[socket.socket, tuple[str, int]], None]


class Provider:
    """Serves until its listeners are closed."""

    def __init__(self, settings: Settings, journal: Journal, certificate: Path, key: Path) -> None:
        self.journal = journal
        self.admission = Admission(settings.limits, settings.seed)
        self._elsewhere = Admission()  # other sites limit nothing
        self._service = Service(settings, journal)
        self._observer = Observer(journal)
        self._connections = itertools.count(1)
        self._idle = threading.Condition()
        self._open = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._tls.set_alpn_protocols(["h2", "http/1.1"] if settings.http == "2" else ["http/1.1"])

    def listen(self, ip: str, port: int, counted: bool = True, plain: Plain | None = None) -> socket.socket:
        """Accept on an address in a thread; ``counted`` by the limits, or another site; ``plain`` serves other than HTTPS."""
        listener = socket.create_server((ip, port), family=socket.AF_INET6 if ":" in ip else socket.AF_INET, backlog=128)
        admission = self.admission if counted else self._elsewhere
        threading.Thread(target=self._accept, args=(listener, admission, plain), daemon=True).start()
        return listener

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no connection is open."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout_s)

    def _accept(self, listener: socket.socket, admission: Admission, plain: Plain | None) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            ns = time.time_ns()
            number = next(self._connections)
            open_now = admission.opened(number, peer[0])
            local = sock.getsockname()
            self.journal.write("accept", ns, connection=number, ip=peer[0], port=peer[1], to_ip=local[0], to_port=local[1], open=open_now)
            self._observer.add(sock.fileno(), number)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._idle:
                self._open += 1
            connection = Connection(self._service, admission, sock, number, peer[0])
            threading.Thread(target=self._serve, args=(connection, peer, plain), daemon=True).start()

    def _serve(self, connection: Connection, peer: tuple[str, int], plain: Plain | None) -> None:
        try:
            if plain:
                plain(connection.socket, peer)
            else:
                self._serve_https(connection)
        except ConnectionResetError:
            self._observer.reset(connection.number)  # where this thread met it first
        except OSError:
            pass  # resets, broken pipes, time-outs, clients that leave in mid-handshake: the journal has what arrived
        finally:
            self._finish(connection)
            connection.admission.closed(connection.number)
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def _serve_https(self, connection: Connection) -> None:
        connection.socket.settimeout(IDLE_S)
        # The handshake is made by hand: when it fails inside wrap_socket, that closes the socket and we could not end in order.
        connection.socket = tls = self._tls.wrap_socket(connection.socket, server_side=True, do_handshake_on_connect=False)
        tls.do_handshake()
        if tls.selected_alpn_protocol() == "h2":
            http2.serve(connection, tls)
        else:
            _serve_http1(connection)

    def _finish(self, connection: Connection) -> None:
        """Close in order: our FIN, then what the other side still has to say until its FIN, so that close sends no reset."""
        raw = socket.socket(fileno=connection.socket.detach())
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_WR)
            self.journal.write("fin_out", connection=connection.number)
            raw.settimeout(LINGER_S)
            while raw.recv(65536):
                pass
        self._observer.remove(raw.fileno())
        raw.close()


def _serve_http1(connection: Connection) -> None:
    stream = connection.socket.makefile("rb")
    while line := stream.readline():
        first_ns = time.time_ns()
        headers: dict[str, str] = {}
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        if not line.startswith(b"POST "):  # lists of models and the like, which real programs ask for; no limit counts them
            connection.socket.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            continue
        exchange = Exchange(connection, headers, body, first_ns)
        if not exchange.answer_http1() or headers.get("connection", "").lower() == "close":
            return
