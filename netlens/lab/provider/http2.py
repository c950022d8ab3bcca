"""HTTP/2 for the provider's stand-in: many requests on one connection, each decided and answered as with HTTP/1.1.

One thread a connection, as there; it waits for frames and for the next piece that is due, whichever comes first.
"""

from __future__ import annotations

import heapq
import select
import ssl
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from netlens.lab.provider.exchange import Connection, Exchange


def serve(connection: Connection, tls: ssl.SSLSocket) -> None:
    """Serve until the other side closes."""
    conversation = _Conversation(connection, tls)
    try:
        conversation.run()
    except ProtocolError as error:
        raise ConnectionAbortedError(str(error)) from error
    finally:
        conversation.end()


class _Conversation:
    def __init__(self, connection: Connection, tls: ssl.SSLSocket) -> None:
        self._connection, self._socket = connection, tls
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._arriving: dict[int, tuple[dict[str, str], bytearray, int]] = {}
        self._answering: dict[int, Exchange] = {}
        self._due: list[tuple[float, int, int]] = []  # when, stream, number of the piece

    def run(self) -> None:
        self._h2.initiate_connection()
        self._flush()
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            if self._socket.pending() or select.select([self._socket], [], [], wait)[0]:
                data = self._receive()
                if data == b"":
                    return
                for event in self._h2.receive_data(data) if data else []:
                    if isinstance(event, ConnectionTerminated):
                        return
                    self._event(event)
            while self._due and self._due[0][0] <= time.monotonic():
                _when, stream, piece = heapq.heappop(self._due)
                if stream in self._answering:
                    self._piece(stream, piece)
            self._flush()

    def end(self) -> None:
        for exchange in self._answering.values():
            exchange.finish(200, "write failed")
        self._answering.clear()

    def _receive(self) -> bytes | None:
        """What has arrived; empty at the end, None if it was no whole TLS record yet."""
        self._socket.setblocking(False)
        try:
            return bytes(self._socket.recv(65536))
        except ssl.SSLWantReadError:
            return None
        finally:
            self._socket.setblocking(True)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)

    def _event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._arriving[event.stream_id] = ({str(name): str(value) for name, value in event.headers}, bytearray(), time.time_ns())
        elif isinstance(event, DataReceived):
            self._arriving[event.stream_id][1].extend(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._ask(event.stream_id)
        elif isinstance(event, StreamReset) and (exchange := self._answering.pop(event.stream_id, None)):
            exchange.finish(200, "broken off")  # unlike HTTP/1.1, the end of one stream is told

    def _ask(self, stream: int) -> None:
        headers, body, first_ns = self._arriving.pop(stream)
        exchange = Exchange(self._connection, headers, bytes(body), first_ns)
        if exchange.refused_plainly:
            exchange.began()
            refusal = exchange.refusal()
            told = [(name.lower(), value) for name, value in refusal.headers.items()]
            self._h2.send_headers(stream, [(":status", str(refusal.status)), ("content-type", "application/json"), *told])
            self._h2.send_data(stream, refusal.body, end_stream=True)
            self._flush()
            exchange.finish(refusal.status, "complete")
        else:
            self._answering[stream] = exchange
            heapq.heappush(self._due, (time.monotonic() + exchange.answer.wait_s, stream, 0))

    def _piece(self, stream: int, piece: int) -> None:
        exchange = self._answering[stream]
        pieces = exchange.pieces()
        if piece == 0:
            exchange.began()
            self._h2.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
        last = piece == len(pieces) - 1
        last_ns = exchange.release() if last else None
        self._h2.send_data(stream, pieces[piece], end_stream=last)
        self._flush()
        if last:
            del self._answering[stream]
            exchange.finish(200, "complete", last_ns)
        else:
            heapq.heappush(self._due, (time.monotonic() + exchange.answer.gap_s, stream, piece + 1))
