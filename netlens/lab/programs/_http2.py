"""HTTP/2 of the agent: one connection that all requests of a program share, as fetch implementations do."""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import threading
from collections.abc import Generator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

Part = tuple[str, bytes]  #: ("status", b"200"), ("data", ...), ("end", b"") or ("lost", b"")


class SharedConnection:
    """An HTTP/2 connection with a thread that reads and writes it; ``request`` may be called from many threads."""

    def __init__(self, sock: ssl.SSLSocket, name: str) -> None:
        self.name = name
        self._socket = sock
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._waiting: queue.SimpleQueue[tuple[list[tuple[str, str]], bytes, queue.SimpleQueue[Part]] | int | None] = queue.SimpleQueue()
        self._answers: dict[int, queue.SimpleQueue[Part]] = {}
        self._wake_in, self._wake_out = socket.socketpair()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def request(self, path: str, host: str, key: str, body: bytes) -> Generator[Part, None, None]:
        """Send a POST now; the iterator gives the parts of the answer as they come. Closing it early resets the stream."""
        headers = [(":method", "POST"), (":path", path), (":scheme", "https"), (":authority", host)]
        headers += [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("accept", "text/event-stream")]
        answer: queue.SimpleQueue[Part] = queue.SimpleQueue()
        self._put((headers, body, answer))
        if self.lost.is_set():
            answer.put(("lost", b""))  # nobody reads the queue any more
        return self._parts(answer)

    def _parts(self, answer: queue.SimpleQueue[Part]) -> Generator[Part, None, None]:
        ended = False
        try:
            while not ended:
                part = answer.get()
                ended = part[0] in ("end", "lost")
                yield part
        finally:
            if not ended:
                stream = next((s for s, each in self._answers.items() if each is answer), None)
                if stream is not None:
                    self._put(stream)

    def close(self) -> None:
        """End the connection in order and wait until that is done."""
        self._put(None)
        self._thread.join()

    def _put(self, what: tuple[list[tuple[str, str]], bytes, queue.SimpleQueue[Part]] | int | None) -> None:
        self._waiting.put(what)
        with contextlib.suppress(OSError):
            self._wake_in.send(b"x")

    def _loop(self) -> None:
        try:
            self._flush()
            while self._turn():
                self._flush()
            self._h2.close_connection()
            self._flush()
        except (OSError, ProtocolError):
            pass
        finally:
            self.lost.set()
            for answer in self._answers.values():
                answer.put(("lost", b""))
            for each in (self._socket, self._wake_in, self._wake_out):
                each.close()

    def _turn(self) -> bool:
        """Wait for something to do and do it; False at the end."""
        ready = [self._socket] if self._socket.pending() else select.select([self._socket, self._wake_out], [], [])[0]
        if self._wake_out in ready:
            self._wake_out.recv(1)
            what = self._waiting.get()
            if what is None:
                return False
            if isinstance(what, int):
                with contextlib.suppress(ProtocolError):  # it has ended by itself meanwhile
                    self._h2.reset_stream(what, error_code=8)  # CANCEL (RFC 9113 7)
                self._answers.pop(what, None)
            else:
                headers, body, answer = what
                stream = self._h2.get_next_available_stream_id()
                self._answers[stream] = answer
                self._h2.send_headers(stream, headers)
                self._h2.send_data(stream, body, end_stream=True)  # a prompt of the lab fits into the first window
        if self._socket in ready:
            self._socket.setblocking(False)
            try:
                data = self._socket.recv(65536)
            except ssl.SSLWantReadError:
                return True
            finally:
                self._socket.setblocking(True)
            if not data:
                return False
            for event in self._h2.receive_data(data):
                self._event(event)
        return True

    def _event(self, event: object) -> None:
        if isinstance(event, ResponseReceived):
            status = next(value for name, value in event.headers if str(name) == ":status")
            self._tell(event.stream_id, "status", str(status).encode())
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._tell(event.stream_id, "data", event.data)
        elif isinstance(event, (StreamEnded, StreamReset)):
            self._tell(event.stream_id, "end" if isinstance(event, StreamEnded) else "lost", b"")
            self._answers.pop(event.stream_id, None)

    def _tell(self, stream: int | None, what: str, data: bytes) -> None:
        if stream in self._answers:
            self._answers[stream].put((what, data))

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)
