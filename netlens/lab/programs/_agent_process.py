"""The process of the agents of one side: ``python -m netlens.lab.programs._agent_process CONFIG.json``.

Says "ready", starts at a line on standard input, ends by itself. What it does is written down twice: in opencode's own log format, as its user would have
it, and in a journal with nanoseconds, as the truth: ``lookup``, ``connect`` (with the local port), ``request``, ``answer`` (first byte), ``done``, ``close``.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from netlens.lab.clock import Skew
from netlens.lab.journal import be_prompt
from netlens.lab.programs._connections import Network, Pool, answer, pieces, send
from netlens.lab.programs._opencode_log import OpencodeLog
from netlens.lab.programs._process import later, serve, work
from netlens.lab.programs.agent import Behaviour
from netlens.lab.provider.apis import apis, error_in
from netlens.lab.provider.real import Answer

TITLE_AFTER_S = 0.055  #: the real request follows the title's by this in a published log of opencode
LONGEST_BACK_OFF_S = 30.0


@dataclass(frozen=True)
class Plan:
    """One request as it will be made, and made again if it is refused."""

    answer: Answer
    prompt_bytes: int
    stop_after: int | None
    model: str = "glm-4.7"

    @classmethod
    def drawn(cls, behaviour: Behaviour, rng: random.Random, title: bool = False) -> Plan:
        pieces = 2 if title else rng.randint(*behaviour.pieces)
        answer = Answer(rng.uniform(*behaviour.wait_s), pieces, behaviour.gap_s, rng.randint(*behaviour.piece_bytes))
        stop_after = rng.randint(1, 2) if rng.random() < behaviour.abort_fraction and not title else None
        model = behaviour.small_model if title and behaviour.small_model else behaviour.model
        return cls(answer, behaviour.title_bytes if title else rng.randint(*behaviour.prompt_bytes), stop_after, model)

    def body(self, request: str) -> bytes:
        """The JSON to send, with the program's own number of the request."""
        wish = {**asdict(self.answer), "request": request}
        messages = [{"role": "user", "content": "x" * self.prompt_bytes}]
        return json.dumps({"model": self.model, "stream": True, "lab": wish, "messages": messages}).encode()


class Agents:
    """All programs of one side; they share the log file, as one person's terminal windows would."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.behaviours = [Behaviour.of(each) for each in config["programs"]]
        self.path = apis()[config["api"]].PATH
        self.log = OpencodeLog(Path(config["log"]), config["log_format"], Skew(**config["skew"]))
        self.network = Network(config)
        self.journal = self.network.journal
        self.deadline = threading.Event()  # set when no new request is to start

    def run(self, seconds: float) -> None:
        """Run all agents, until ``seconds`` are over and what was begun is finished."""
        # Pools are shared by the agents of one program and by nobody else.
        pools = [Pool(self.network, behaviour) for behaviour in self.behaviours]
        threads = [
            threading.Thread(target=self._agent, args=(behaviour, pool, f"{self.network.side} {number} {agent}"))
            for number, (behaviour, pool) in enumerate(zip(self.behaviours, pools, strict=True))
            for agent in range(behaviour.agents)
        ]
        later(seconds, self.deadline.set)
        work(threads)
        for pool in pools:
            pool.close()
        self.log.close()
        self.network.close()

    def _agent(self, behaviour: Behaviour, pool: Pool, name: str) -> None:
        rng = random.Random(f"{self.network.seed} {name}")
        session = f"ses_{rng.getrandbits(64):016x}"
        if self.deadline.wait(behaviour.start_s):
            return
        while not self.deadline.is_set():
            plans = [Plan.drawn(behaviour, rng) for _ in range(rng.randint(*behaviour.turns))]
            title = None
            if behaviour.title:
                title_plan = Plan.drawn(behaviour, rng, title=True)
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

    def _request(self, behaviour: Behaviour, pool: Pool, plan: Plan, session: str, small: bool) -> bool:
        """One request with its retries; True if it was answered (or broken off on purpose)."""
        about: dict[str, Any] = {"service": "llm", "providerID": "zai-coding-plan", "modelID": plan.model, "sessionID": session}
        about |= {"small": str(small).lower(), "agent": "title" if small else "build"}
        self.log.line("INFO", "stream", **about)
        attempt = self._attempt_http2 if self.network.http2 else self._attempt
        for number in range(behaviour.retries + 1):
            if self.deadline.is_set():
                return False
            try:
                refused = attempt(behaviour, pool, plan)
            except (OSError, ValueError, HTTPException) as problem:
                self.log.line("WARN", f"connection problem: {type(problem).__name__}", **about)
                self.journal.write("problem", text=repr(problem))
                return False
            if refused is None:
                return True
            if behaviour.logs:
                self.log.refusal("stream error", *refused, **about)
            if self.deadline.wait(min(behaviour.back_off_s * 2**number, LONGEST_BACK_OFF_S)):
                return False
        return False

    def _attempt(self, behaviour: Behaviour, pool: Pool, plan: Plan) -> tuple[str, str] | None:
        """Send a request and read its answer; the error's code and message if it was refused."""
        if behaviour.dns_every:
            self.network.look_up(behaviour)
        connection = pool.take()
        about: dict[str, Any] = {"connection": connection.name, "request": self.network.name()}
        start_ns = time.time_ns()
        send(connection.sock, self.path, behaviour.site, behaviour.key, plan.body(about["request"]))
        self.journal.write("request", start_ns, **about, sent_ns=time.time_ns(), key=behaviour.key)
        response = answer(connection.sock)
        self.journal.write("answer", **about, status=response.status)
        refused, how = None, "complete"
        for events, piece in enumerate(pieces(response), 1):
            refused = error_in(piece) or refused
            if plan.stop_after is not None and events >= plan.stop_after and refused is None:
                how = "broken off"
                break
        self.journal.write("done", **about, status=response.status, refused=refused and refused[0], how=how)
        response.close()
        if how == "broken off":
            self.network.close_connection(connection, behaviour.abort_with)
        elif response.will_close:
            self.network.close_connection(connection)
        else:
            pool.give(connection)
        return refused

    def _attempt_http2(self, behaviour: Behaviour, pool: Pool, plan: Plan) -> tuple[str, str] | None:
        connection = pool.shared()
        about: dict[str, Any] = {"connection": connection.name, "request": self.network.name()}
        body = plan.body(about["request"])
        sent_ns = self.journal.write("request", **about, sent_ns=time.time_ns(), key=behaviour.key)
        parts = connection.request(self.path, behaviour.site, behaviour.key, body)
        status, refused, events, how = 0, None, 0, "complete"
        for kind, data in parts:
            if kind == "status":
                status = int(data)
                self.journal.write("answer", **about, status=status, after_ns=time.time_ns() - sent_ns)
            elif kind == "data" and data:
                events += 1
                refused = error_in(data) or refused
                if plan.stop_after is not None and events >= plan.stop_after and refused is None:
                    how = "broken off"
                    break
            elif kind == "lost":
                raise ConnectionResetError("the connection ended inside an answer")
        parts.close()
        self.journal.write("done", **about, status=status, refused=refused and refused[0], how=how)
        return refused


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    be_prompt()
    agents = Agents(config)
    socket.getaddrinfo("localhost", 443)  # loads what the first look-up of a process loads, before anything is timed
    serve(agents.deadline, lambda: agents.run(float(config["seconds"])))


if __name__ == "__main__":
    main()
