"""A client program that behaves like the one of the investigation: an agent that streams answers from the provider.

For each prompt it asks for a title beside the first real request, then takes a few turns one after the other, as tool calls make it do.
Connections are kept alive and shared; a refused request is tried again after 2 s, doubling to 30 s; some answers are broken off. What it
does is written down twice: in opencode's own log format, as its user would have it, and in a journal with nanoseconds, as the truth.

Events of the journal: ``lookup``, ``connect`` (with the local port), ``request``, ``answer`` (first byte), ``done``, ``close``.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.lab import dns
from netlens.lab.http1 import Response, read_response, request_bytes
from netlens.lab.journal import Journal, be_prompt
from netlens.lab.opencode_log import OpencodeLog, Skew
from netlens.lab.provider import MESSAGES, Answer

if TYPE_CHECKING:
    from netlens.lab.h2_client import SharedConnection

TITLE_AFTER_S = 0.055  #: the real request follows the title's by this in a published log of opencode
LONGEST_BACK_OFF_S = 30.0
PATH = "/api/coding/paas/v4/chat/completions"


@dataclass(frozen=True)
class Behaviour:
    """One [[program]] of a scenario. Pairs are ranges from which the seeded generator draws."""

    side: str
    key: str = "key-1"
    site: str = "api.z.ai"
    agents: int = 1  # that many at once, each with prompts of its own
    start_s: float = 0.0
    title: bool = True
    turns: tuple[int, int] = (2, 4)  # real requests for a prompt, one after the other
    think_s: tuple[float, float] = (0.1, 0.4)  # before a turn: the tool that the model called
    idle_s: tuple[float, float] = (0.5, 1.5)  # between prompts: the person reads
    wait_s: tuple[float, float] = (0.15, 0.4)  # until the first piece of an answer
    pieces: tuple[int, int] = (2, 5)
    gap_s: float = 0.22
    piece_bytes: tuple[int, int] = (20, 160)
    prompt_bytes: tuple[int, int] = (300, 2500)
    abort_fraction: float = 0.0  # share of answers broken off after a piece or two
    abort_with: str = "fin"  # or rst
    keep_s: float = 5.0  # an idle connection is kept that long
    reuse: bool = True  # False: a new connection for each request; the old one is kept all the same
    back_off_s: float = 2.0
    retries: int = 4
    dns: str = "udp"  # or tcp: to the provider's own name server, the connection kept for dns_keep_s
    dns_keep_s: float = 2.0
    dns_every: bool = False  # a lookup before each request, not only for a new connection

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Behaviour:
        """From TOML or JSON: lists become pairs, a single number the pair of itself."""
        pairs = {name for name, value in asdict(cls(side="")).items() if isinstance(value, tuple)}
        if unknown := set(values) - set(asdict(cls(side=""))):
            raise ValueError(f"a program has no {', '.join(sorted(unknown))}")
        fixed: dict[str, Any] = {n: (tuple(v) if isinstance(v, list) else (v, v)) if n in pairs else v for n, v in values.items()}
        behaviour = cls(**fixed)
        if behaviour.abort_with not in ("fin", "rst") or behaviour.dns not in ("udp", "tcp") or behaviour.side not in ("vm", "host", ""):
            raise ValueError("a program has side vm or host, abort_with fin or rst, dns udp or tcp")
        return behaviour


class Connection:
    """One TLS connection of the program."""

    def __init__(self, sock: ssl.SSLSocket, number: str, port: int) -> None:
        self.sock, self.number, self.port = sock, number, port
        self.stream = sock.makefile("rb")
        self.timer: threading.Timer | None = None


class Pool:
    """Idle connections, each closed after a while; like the pools of fetch implementations."""

    def __init__(self, program: Program, behaviour: Behaviour) -> None:
        self._program, self._behaviour = program, behaviour
        self._idle: list[Connection] = []
        self._shared: SharedConnection | None = None
        self._lock = threading.Lock()

    def take(self) -> Connection | None:
        """The connection that was used last, if any is idle and may be used again."""
        with self._lock:
            if not self._idle or not self._behaviour.reuse:
                return None
            connection = self._idle.pop()
        if connection.timer:
            connection.timer.cancel()
        return connection

    def give(self, connection: Connection) -> None:
        connection.timer = threading.Timer(self._behaviour.keep_s, self._expire, (connection,))
        connection.timer.daemon = True
        with self._lock:
            self._idle.append(connection)
        connection.timer.start()

    def shared(self, connect: Callable[[], SharedConnection]) -> SharedConnection:
        """The HTTP/2 connection that all share; made by the first who asks."""
        with self._lock:
            if self._shared is None or self._shared.lost.is_set():
                self._shared = connect()
            return self._shared

    def _expire(self, connection: Connection) -> None:
        with self._lock:
            if connection not in self._idle:
                return
            self._idle.remove(connection)
        self._program.close(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        if self._shared:
            self._program.journal.write("close", connection=self._shared.number, how="fin")
            self._shared.close()
        for connection in idle:
            if connection.timer:
                connection.timer.cancel()
            self._program.close(connection)


class Program:
    """All programs of one side; they share the log file, as one person's terminal windows would."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.side = str(config["side"])
        self.seed = int(config["seed"])
        self.behaviours = [Behaviour.of(each) for each in config["programs"]]
        self.journal = Journal(Path(config["journal"]))
        self.log = OpencodeLog(Path(config["log"]), config["log_format"], Skew(**config["skew"]))
        self.name_server = str(config["dns_over_tcp"])
        self.deadline = threading.Event()  # set when no new request is to start
        self._tls = ssl.create_default_context(cafile=config["certificate"])
        self._http2 = config["http"] == "2"
        self._tls.set_alpn_protocols(["h2", "http/1.1"] if self._http2 else ["http/1.1"])
        if self._http2 and self.behaviours:
            self._tls.keylog_filename = config["keylog"]  # as SSLKEYLOGFILE does
        self._lock = threading.Lock()
        self._numbers = 0
        self._dns_timers: list[threading.Timer] = []

    def run(self, seconds: float) -> None:
        """Run all agents, until ``seconds`` are over and what was begun is finished."""
        ending = threading.Timer(seconds, self.deadline.set)
        ending.daemon = True
        ending.start()
        # Pools are shared by the agents of one program and by nobody else.
        pools = [Pool(self, behaviour) for behaviour in self.behaviours]
        threads = [
            threading.Thread(target=self._agent, args=(behaviour, pool, f"{self.side} {number} {agent}"))
            for number, (behaviour, pool) in enumerate(zip(self.behaviours, pools, strict=True))
            for agent in range(behaviour.agents)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for pool in pools:
            pool.close()
        for timer in self._dns_timers:
            timer.cancel()
            timer.function(*timer.args)
        self.log.close()
        self.journal.close()

    # --- what an agent does ---------------------------------------------------------------------------------------------------------

    def _agent(self, behaviour: Behaviour, pool: Pool, name: str) -> None:
        rng = random.Random(f"{self.seed} {name}")
        session = f"ses_{rng.getrandbits(64):016x}"
        if self.deadline.wait(behaviour.start_s):
            return
        while not self.deadline.is_set():
            plans = [self._plan(behaviour, rng) for _ in range(rng.randint(*behaviour.turns))]
            title = None
            if behaviour.title:
                title_plan = self._plan(behaviour, rng, title=True)
                title = threading.Thread(target=self._request, args=(behaviour, pool, title_plan, session, True))
                title.start()
                if self.deadline.wait(TITLE_AFTER_S):
                    title.join()
                    return
            for plan in plans:
                if not self._request(behaviour, pool, plan, session, False) or self.deadline.wait(rng.uniform(*behaviour.think_s)):
                    break
            if title:
                title.join()
            self.deadline.wait(rng.uniform(*behaviour.idle_s))

    def _plan(self, behaviour: Behaviour, rng: random.Random, title: bool = False) -> Plan:
        pieces = 2 if title else rng.randint(*behaviour.pieces)
        answer = Answer(rng.uniform(*behaviour.wait_s), pieces, behaviour.gap_s, rng.randint(*behaviour.piece_bytes))
        stop_after = rng.randint(1, 2) if rng.random() < behaviour.abort_fraction and not title else None
        return Plan(answer, 300 if title else rng.randint(*behaviour.prompt_bytes), stop_after)

    def _request(self, behaviour: Behaviour, pool: Pool, plan: Plan, session: str, small: bool) -> bool:
        """One request with its retries; True if it was answered (or broken off on purpose)."""
        about: dict[str, Any] = {
            "service": "llm",
            "providerID": "zai-coding-plan",
            "modelID": "glm-4.7",
            "sessionID": session,
            "small": str(small).lower(),
        }
        about |= {"agent": "title" if small else "build"}
        self.log.line("INFO", "stream", **about)
        for attempt in range(behaviour.retries + 1):
            if self.deadline.is_set():
                return False
            try:
                refused = self._attempt(behaviour, pool, plan)
            except (OSError, ValueError) as problem:
                self.log.line("WARN", f"connection problem: {type(problem).__name__}", **about)
                self.journal.write("problem", text=repr(problem))
                refused = None
                return False
            if refused is None:
                return True
            self.log.refusal("stream error", refused, MESSAGES[refused], **about)
            if self.deadline.wait(min(behaviour.back_off_s * 2**attempt, LONGEST_BACK_OFF_S)):
                return False
        return False

    def _attempt(self, behaviour: Behaviour, pool: Pool, plan: Plan) -> str | None:
        """Send a request and read its answer; the error code if it was refused."""
        if self._http2:
            return self._attempt_http2(behaviour, pool, plan)
        if behaviour.dns_every:
            self._lookup(behaviour)
        connection = pool.take() or self.connect(behaviour)
        about: dict[str, Any] = {"connection": connection.number, "request": f"{self.side}-{self._number()}"}
        start_ns = time.time_ns()
        connection.sock.sendall(request_bytes(PATH, behaviour.site, behaviour.key, plan.body(about["request"])))
        self.journal.write("request", start_ns, **about, sent_ns=time.time_ns(), key=behaviour.key)
        response = read_response(connection.stream)
        self.journal.write("answer", **about, status=response.status)
        refused, how = None, "complete"
        for events, piece in enumerate(response.pieces(), 1):
            if code := _error_code(piece):
                refused = code
            if plan.stop_after is not None and events >= plan.stop_after and refused is None:
                how = "broken off"
                break
        self.journal.write("done", **about, status=response.status, refused=refused, how=how)
        if how == "broken off":
            self.close(connection, behaviour.abort_with)
        else:
            self._use_again(connection, pool, response)
        return refused

    def _attempt_http2(self, behaviour: Behaviour, pool: Pool, plan: Plan) -> str | None:
        connection = pool.shared(lambda: self._connect_http2(behaviour))
        about: dict[str, Any] = {"connection": connection.number, "request": f"{self.side}-{self._number()}"}
        body = plan.body(about["request"])
        sent_ns = self.journal.write("request", **about, sent_ns=time.time_ns(), key=behaviour.key)
        parts = connection.request(PATH, behaviour.site, behaviour.key, body)
        status, refused, events, how = 0, None, 0, "complete"
        for kind, data in parts:
            if kind == "status":
                status = int(data)
                self.journal.write("answer", **about, status=status, after_ns=time.time_ns() - sent_ns)
            elif kind == "data" and data:
                events += 1
                refused = _error_code(data) or refused
                if plan.stop_after is not None and events >= plan.stop_after and refused is None:
                    how = "broken off"
                    break
            elif kind == "lost":
                raise ConnectionResetError("the connection ended inside an answer")
        parts.close()
        self.journal.write("done", **about, status=status, refused=refused, how=how)
        return refused

    def _connect_http2(self, behaviour: Behaviour) -> SharedConnection:
        from netlens.lab.h2_client import SharedConnection

        plain = self.connect(behaviour)
        plain.stream.close()
        return SharedConnection(plain.sock, plain.number)

    def _use_again(self, connection: Connection, pool: Pool, response: Response) -> None:
        if response.closes:
            self.close(connection)
        else:
            pool.give(connection)

    # --- connections and lookups ----------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        with self._lock:
            self._numbers += 1
            return self._numbers

    def connect(self, behaviour: Behaviour) -> Connection:
        """Look the site up and open a TLS connection to it."""
        ip = self._lookup(behaviour)
        number = f"{self.side}-{self._number()}"
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        ns = time.time_ns()
        sock.connect((ip, 443))
        port = sock.getsockname()[1]
        self.journal.write("connect", ns, connection=number, port=port, ip=ip, to_port=443, site=behaviour.site)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(self._tls.wrap_socket(sock, server_hostname=behaviour.site), number, port)

    def _lookup(self, behaviour: Behaviour) -> str:
        ns = time.time_ns()
        if behaviour.dns == "udp":
            found = socket.getaddrinfo(behaviour.site, 443, type=socket.SOCK_STREAM)[0][4][0]
            self.journal.write("lookup", ns, name=behaviour.site, transport="udp")
            return str(found)
        # A stub that asks over TCP and keeps the connection for the next question, as RFC 7766 advises, though none comes in time.
        connection = socket.create_connection((self.name_server, 53))
        port = connection.getsockname()[1]
        number = f"{self.side}-{self._number()}"
        self.journal.write("connect", ns, connection=number, port=port, ip=self.name_server, to_port=53, site="")
        question = dns.query(random.Random(f"{self.seed} {port} {ns}").getrandbits(16), behaviour.site)
        connection.sendall(struct.pack(">H", len(question)) + question)
        stream = connection.makefile("rb")
        answer = stream.read(struct.unpack(">H", stream.read(2))[0])
        stream.close()
        self.journal.write("lookup", ns, name=behaviour.site, transport="tcp")
        timer = threading.Timer(behaviour.dns_keep_s, self._close_plain, (number, connection))
        timer.daemon = True
        timer.start()
        self._dns_timers.append(timer)
        return dns.addresses(answer)[0]

    def _close_plain(self, number: str, connection: socket.socket) -> None:
        if connection.fileno() >= 0:
            self.journal.write("close", connection=number, how="fin")
            connection.close()

    def close(self, connection: Connection, how: str = "close_notify") -> None:
        """Close a connection: in order, in mid-answer ("fin"), or with a reset ("rst")."""
        with contextlib.suppress(OSError):
            if how == "rst":
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.journal.write("close", connection=connection.number, how=how)
            if how == "close_notify":
                connection.sock.setblocking(False)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
                    connection.sock.unwrap()  # sends the alert; the other side's is not waited for
            connection.stream.close()
            connection.sock.close()


@dataclass(frozen=True)
class Plan:
    """One request as it will be made, and made again if it is refused."""

    answer: Answer
    prompt_bytes: int
    stop_after: int | None

    def body(self, request: str) -> bytes:
        """The JSON to send, with the program's own number of the request."""
        wish = {**asdict(self.answer), "request": request}
        messages = [{"role": "user", "content": "x" * self.prompt_bytes}]
        return json.dumps({"model": "glm-4.7", "stream": True, "lab": wish, "messages": messages}).encode()


def _error_code(piece: bytes) -> str | None:
    """The code of an error body or error event."""
    if b'"error"' not in piece:
        return None
    return str(json.loads(piece.removeprefix(b"data: "))["error"]["code"])


def main() -> None:
    """``python -m netlens.lab.program CONFIG.json``: says "ready", starts at a line on standard input, ends by itself."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    be_prompt()
    program = Program(config)
    socket.getaddrinfo("localhost", 443)  # loads what the first look-up of a process loads, before anything is timed
    signal.signal(signal.SIGTERM, lambda *_: program.deadline.set())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    program.run(float(config["seconds"]))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
