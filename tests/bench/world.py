"""Programs and a provider without packets: a discrete-event simulation of what the laboratory does for real.

Theory of operation
-------------------
1. Everything is told at the *upstream wire*, the capture point nearest to the provider (the host's). The provider has a thing half a round trip
   later, and what it sends is seen half a round trip after it was sent. A program on the VM is ``Path.vm_delay_s`` away from the wire.
2. The provider decides a request when it has it (and up to ``Provider.jitter_s`` later), by what others hold at that moment by its own clock. A
   place is freed when the last byte of the answer is sent, or when the provider learns that nobody reads any more.
3. A program does what an agent does: a title beside the first request of a conversation, turns with pauses, retries, pools of connections,
   answers broken off. Programs of ELSEWHERE use the same account from another address, and no capture shows them.
4. For each refusal the provider writes down what was held (:class:`Held`): whose, what kind, and whether its program was done with it when the
   refused request was sent. That is the truth; nothing is inferred from it here.

Limits: TCP itself is not simulated; names are looked up in no time unless by TCP; a provider never closes a connection first.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from netlens.chains.situation import COMPANION, LOOKUPS, REQUESTS, VM

if TYPE_CHECKING:
    from netlens.lab.provider.limiters.overload import Settings as Overload

ELSEWHERE = 3  #: a side that no capture shows; after VM, HOST and UNKNOWN of the situation
NEVER = 1 << 62  #: later than every time
S = 1_000_000_000
TITLE_AFTER_S = 0.055  #: as in a published log of opencode
LONGEST_BACK_OFF_S = 30.0
STORM_WITHIN_S = 0.02  #: parallel attempts of a storm begin within
TLS_S = 0.002  #: what programs and provider compute for a handshake
COMPANION_AFTER_S = 0.005  #: a companion opens at most that long after the session that it accompanies
BREAKS_OFF_WITHIN_S = {"nat": 0.3, "sshuttle 1.3": 0.3, "sshuttle 2": 1.0}  #: until the provider's next write fails: a piece of an answer
MOST_REQUESTS = 2_000  #: seen by the captures; a recording ends there

Span = tuple[float, float]  #: seconds, a range to draw from
Process = Generator["int | Signal", None, Any]  #: yields ns to sleep, or a signal to wait for


def ns(seconds: float) -> int:
    return round(seconds * S)


# --- what is set up -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Retry:
    """After a refusal: wait, then try again. ``parallel`` attempts at once make a storm: those too many are answered and never cancelled."""

    first_s: float = 2.0
    factor: float = 2.0
    retries: int = 5
    parallel: int = 1
    honours_retry_after: bool = True


@dataclass(frozen=True)
class Program:
    """A program with its agents, who share one pool of connections."""

    side: int
    key: str
    agents: int = 1
    start_s: float = 0.0
    stop_s: float = 1e9  # silent from then on
    title: bool = True
    turns: tuple[int, int] = (2, 5)
    think_s: Span = (0.1, 2.0)
    idle_s: Span = (0.5, 10.0)
    answer_s: float = 5.0  # median; log-normal
    spread: float = 0.6
    short_fraction: float = 0.0  # of answers that take less than a second
    abort_fraction: float = 0.0
    abort_after_s: Span = (0.3, 2.0)
    abort_with: str = "fin"  # or rst
    reuse: bool = True  # False: a new connection for each request, the old one is kept all the same
    keep_s: float = 5.0
    http2: bool = False
    retry: Retry = Retry()
    dns_tcp: bool = False
    dns_every: bool = False  # a lookup for each request, not only for each connection
    dns_keep_s: float = 2.0
    idle_connections: int = 0  # opened at the start and never used
    prompt_bytes: Span = (2_000, 20_000)  # of a request; log-uniform
    title_bytes: int = 1_500
    small_model: bool = False  # titles are made by another model
    small_fraction: float = 0.0  # of the turns, asked of that model too
    logged: bool = True  # it writes down what is refused


@dataclass(frozen=True)
class Path:
    """From the VM to the wire. ``kind``: nat, sshuttle 1.3 (answers broken off go on upstream) or sshuttle 2 (they do not)."""

    kind: str = "nat"
    vm_delay_s: float = 0.0005
    fan_out: tuple[int, ...] = (0,)  # companions of a tunnelled connection, one of these at random


@dataclass(frozen=True)
class Provider:
    """``counts``: requests, connections, bytes of requests in progress or nothing; ``per``: ip or key (a connection has the key of its first request).

    own : of bytes, whether a request needs room for its own; one alone is let through.  spread : as of :class:`OverTime`."""

    counts: str = "nothing"
    per: str = "ip"
    limit: int = 0
    overload: Overload | None = None
    rtt_s: float = 0.02
    jitter_s: float = 0.003
    refusal_s: Span = (0.001, 0.05)  # until a refusal is sent
    close_s: float = 0.0  # from a program's FIN to the provider's own; counted until then
    retry_after_s: float | None = None
    over_time: OverTime | None = None  # then ``counts`` is nothing
    late_s: float = 0.0  # a place is given back that long after the answer
    changes: tuple[tuple[float, int], ...] = ()  # (from which second on, limit)
    small_limit: int = 0  # each model counts by itself, and this is the small one's; 0: all together
    own: bool = True
    spread: float = 0.0

    def limit_at(self, now_ns: int, small: bool = False) -> int:
        if small and self.small_limit:
            return self.small_limit
        return next((limit for at, limit in reversed(self.changes) if ns(at) <= now_ns), self.limit)

    def takes(self, sent_bytes: int) -> int:
        """What a request takes of the limit."""
        return round(counted(sent_bytes, self.spread)) if self.counts == "bytes" else 1


def counted(size: int, spread: float) -> float:
    """What counts of a size: always the same of one, as a prompt has so many tokens. ``spread``: by which part it differs from the size at most."""
    return size * (1.0 + spread * random.Random(size).uniform(-1.0, 1.0)) if spread else size


@dataclass(frozen=True)
class OverTime:
    """A limit on what is sent: so many in a window (``sliding``, ``fixed``, ``attempts``), a ``bucket`` of ``limit`` tokens with one back every
    ``window_s``, a ``quota``: ``limit`` requests, then none until ``window_s`` after the first refusal, a ``volume``: ``limit`` bytes in a window
    (``edge_s`` of at least 0: windows that follow each other, else one that slides), with the request's own bytes (``own``) or without; or a
    ``volume bucket`` of ``limit`` bytes, which takes ``window_s`` to fill, or ``answers``: ``limit`` bytes of answers that were over in the window.
    spread : by which part what counts of a size differs from it at most.  then : of a bucket of tokens, when its refill becomes how many seconds."""

    kind: str
    limit: int
    window_s: float
    edge_s: float = 0.0
    own: bool = True
    spread: float = 0.0
    then: tuple[float, float] | None = None

    def refill_s(self, now: int) -> float:
        return self.then[1] if self.then is not None and now >= ns(self.then[0]) else self.window_s


class Meter:
    """What was used of a limit over time by a group of programs."""

    def __init__(self, limiter: OverTime) -> None:
        self.limiter = limiter
        self.taken: list[tuple[int, float]] = []
        self.tokens, self.at = float(limiter.limit), 0
        self.closed_ns = NEVER

    def refuses(self, now: int, size: float) -> bool:
        it, width = self.limiter, ns(self.limiter.window_s)
        if it.kind == "volume bucket":
            self.tokens = min(float(it.limit), self.tokens + it.limit * (now - self.at) / width)
            self.at = now
            return self.tokens < size if it.own else self.tokens <= 0.0
        if it.kind == "bucket":
            self.tokens = min(float(it.limit), self.tokens + (now - self.at) / ns(it.refill_s(now)))
            self.at = now
            return self.tokens < 1
        if it.kind == "quota":
            if now >= self.closed_ns + width:
                self.taken.clear()
                self.closed_ns = NEVER
            if len(self.taken) >= it.limit:
                self.closed_ns = min(self.closed_ns, now)
                return True
            return False
        since = now - width
        if it.kind == "fixed" or (it.kind == "volume" and it.edge_s >= 0):
            since = (now - ns(it.edge_s)) // width * width + ns(it.edge_s) - 1
        while self.taken and self.taken[0][0] <= since:
            self.taken.pop(0)
        if it.kind == "answers":
            return sum(bytes_ for _, bytes_ in self.taken) >= it.limit
        if it.kind == "volume":
            used = sum(bytes_ for _, bytes_ in self.taken)
            return used + size > it.limit if it.own else used >= it.limit
        return len(self.taken) >= it.limit

    def take(self, now: int, size: float) -> None:
        self.tokens -= size if self.limiter.kind == "volume bucket" else 1
        self.taken.append((now, size))


@dataclass(frozen=True)
class Setup:
    """All of one simulation."""

    seed: str
    seconds: float
    provider: Provider
    path: Path
    programs: tuple[Program, ...]


# --- what happened --------------------------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """A place that was held when a request was refused. ``over``: its program was done with it when that request was sent. ``takes``: of the limit."""

    side: int
    kind: int
    over: bool
    takes: int = 1


@dataclass(eq=False, slots=True)
class Flow:
    """An upstream session. Times at the wire, but for ``accepted_ns`` and ``closed_ns`` (the provider's) and ``done_ns`` (where its program runs)."""

    number: int
    program: Program
    kind: int
    connection: int
    opened_ns: int
    accepted_ns: int
    key: str | None = None
    closed_ns: int = NEVER
    end_ns: int = NEVER
    done_ns: int = NEVER
    gone_ns: int = NEVER  # the program's FIN or RST at the wire
    ready_ns: int = 0  # the handshakes are over, at the program
    timer: int = 0  # an older timer of the pool is void
    requests: list[Request] = field(default_factory=list)
    companions: list[Flow] = field(default_factory=list)

    def over(self, at_ns: int) -> bool:
        """Whether the program had no use for it: closed, or every request on it answered."""
        if self.gone_ns <= at_ns:
            return True
        return self.kind == REQUESTS and bool(self.requests) and all(r.gone_ns <= at_ns for r in self.requests)


@dataclass(eq=False, slots=True)
class Request:
    """A request. ``decided_ns`` and ``freed_ns`` by the provider's clock; ``refused``: limit, overload or None; ``count``: what others held."""

    number: int
    flow: Flow
    start_ns: int
    stream: int
    sent_bytes: int = 0
    small: bool = False  # to the small model
    prompt: Prompt | None = None
    decided_ns: int = NEVER
    refused: str | None = None
    count: int = 0
    limit: int = 0  # that held then; of bytes, less its own
    alone: bool = False  # a limit over time would have refused it had its side been alone
    held: tuple[Held, ...] = ()  # of refusals
    freed_ns: int = NEVER
    end_ns: int = NEVER
    done_ns: int = NEVER  # where the program runs
    gone_ns: int = NEVER  # the same at the wire
    complete: bool = False  # the whole answer went over the wire

    @property
    def answer_bytes(self) -> int:
        """Of an answer that is over: some models are faster than others."""
        if self.refused is not None or NEVER in (self.decided_ns, self.freed_ns):
            return 300
        return 400 + round((self.freed_ns - self.decided_ns) / S * 3_000 * random.Random(self.number).uniform(0.3, 1.7))


@dataclass(eq=False)
class History:
    """All that happened; ``end_ns``: when the simulation was over."""

    setup: Setup
    flows: list[Flow]
    requests: list[Request]
    end_ns: int


# --- the clockwork --------------------------------------------------------------------------------------------------------------------------


class Signal:
    """Something to wait for; set once."""

    def __init__(self) -> None:
        self.is_set = False
        self.waiting: list[Process] = []


class Loop:
    """Runs processes and calls in order of time."""

    def __init__(self) -> None:
        self.now = 0
        self.stopped = False
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, when_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when_ns, self._sequence, call, arguments))

    def start(self, process: Process) -> Signal:
        """Start a process; the signal is set when it has ended."""
        ended = Signal()
        self._step(self._and_tell(process, ended))
        return ended

    def set(self, signal: Signal) -> None:
        signal.is_set = True
        for process in signal.waiting:
            self.at(self.now, self._step, process)
        signal.waiting.clear()

    def run(self, until_ns: int) -> None:
        while self._queue and self._queue[0][0] <= until_ns and not self.stopped:
            self.now, _, call, arguments = heapq.heappop(self._queue)
            call(*arguments)

    def _and_tell(self, process: Process, ended: Signal) -> Process:
        yield from process
        self.set(ended)

    def _step(self, process: Process) -> None:
        for wish in process:
            if isinstance(wish, Signal):
                if wish.is_set:
                    continue
                wish.waiting.append(process)
            else:
                self.at(self.now + wish, self._step, process)
            return


# --- the provider ---------------------------------------------------------------------------------------------------------------------------


class Desk:
    """The provider at work: what is held, and the decisions that follow from it."""

    def __init__(self, provider: Provider, rng: random.Random) -> None:
        self.provider = provider
        self._rng = rng
        self.requests: dict[int, Request] = {}
        self.flows: dict[int, Flow] = {}
        self.meters: dict[object, Meter] = {}
        self.answered: set[int] = set()  # prompts that a limit over time has let through
        self.answered_alone: set[int] = set()  # those that it would have let through, had their sides been alone

    def open(self, flow: Flow) -> None:
        if flow.closed_ns == NEVER:
            self.flows[flow.number] = flow

    def close(self, flow: Flow) -> None:
        self.flows.pop(flow.number, None)

    def free(self, request: Request) -> None:
        self.requests.pop(request.number, None)
        limiter = self.provider.over_time
        if limiter is not None and limiter.kind == "answers" and request.refused is None:
            for meter in self._meters(request, limiter):
                meter.take(request.freed_ns, request.answer_bytes)

    def decide(self, request: Request, now: int) -> None:
        """Refuse it, or let it hold a place."""
        provider, flow = self.provider, request.flow
        if flow.key is None:
            flow.key = flow.program.key
        request.decided_ns = now
        held = self._counted(request)
        taken = [provider.takes(item.sent_bytes) if isinstance(item, Request) else 1 for item in held]
        request.count = sum(taken)
        request.limit = provider.limit_at(now, request.small)
        if provider.counts == "bytes" and provider.own:  # so much may others hold at most
            request.limit = max(1, request.limit + 1 - provider.takes(request.sent_bytes))
        draw = self._rng.random()  # one for each request, whatever becomes of it
        overloaded = bool(provider.overload and provider.overload.now(now / S) and draw < provider.overload.fraction)
        if provider.over_time is not None:
            self._measure(request, provider.over_time, now, overloaded)
        elif provider.counts != "nothing" and request.count >= request.limit:
            request.refused = "limit"
        if request.refused is None and overloaded:
            request.refused = "overload"
        if request.refused is None:
            self.requests[request.number] = request
        else:
            request.held = tuple(_as_held(item, request.start_ns, n) for item, n in zip(held, taken, strict=True))

    def _measure(self, request: Request, limiter: OverTime, now: int, overloaded: bool) -> None:
        """Refuse by what was sent before; and whether the side's own alone would have been refused, what is accepted then in place of a refusal taking too."""
        together, own = self._meters(request, limiter)
        size, prompt = counted(request.sent_bytes, limiter.spread), id(request.prompt)
        # nobody would have sent it once more; but who does so with one that was answered would have, too
        again = prompt in self.answered_alone and prompt not in self.answered
        refused, request.alone = together.refuses(now, size), own.refuses(now, size) and not again
        if refused:
            request.refused = "limit"
        if limiter.kind == "answers":
            return
        if (not refused and not overloaded) or limiter.kind == "attempts":
            together.take(now, size)
        if not refused and not overloaded:
            self.answered.add(prompt)
        if (not request.alone and not again and not overloaded) or (limiter.kind == "attempts" and not again):
            own.take(now, size)
        if not request.alone and not overloaded:
            self.answered_alone.add(prompt)

    def _meters(self, request: Request, limiter: OverTime) -> list[Meter]:
        """Of all who count together with it, and of its side alone."""
        side = request.flow.program.side
        group = request.flow.key if self.provider.per == "key" else side == ELSEWHERE
        return [self.meters.setdefault(name, Meter(limiter)) for name in (group, (group, side))]

    def _counted(self, request: Request) -> list[Request] | list[Flow]:
        if self.provider.counts in ("requests", "bytes"):
            each = self.provider.small_limit > 0
            return [r for r in self.requests.values() if self._same(r.flow, request.flow) and not (each and r.small != request.small)]
        if self.provider.counts == "connections":
            return [f for f in self.flows.values() if f is not request.flow and self._same(f, request.flow)]
        return []

    def _same(self, one: Flow, other: Flow) -> bool:
        if self.provider.per == "key":
            return one.key == other.key
        return (one.program.side == ELSEWHERE) == (other.program.side == ELSEWHERE)


def _as_held(item: Request | Flow, at_ns: int, takes: int) -> Held:
    if isinstance(item, Request):
        return Held(item.flow.program.side, REQUESTS, item.gone_ns <= at_ns, takes)
    return Held(item.program.side, item.kind, item.over(at_ns))


# --- programs -------------------------------------------------------------------------------------------------------------------------------


class World:
    """Programs, their connections, and the way to the provider."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.loop = Loop()
        self.desk = Desk(setup.provider, random.Random(f"{setup.seed} provider"))
        self.rng = random.Random(f"{setup.seed} network")
        self.half = ns(setup.provider.rtt_s / 2)
        self.history = History(setup, [], [], 0)
        self._connections = 0
        self._seen = 0

    def run(self) -> History:
        for number, program in enumerate(self.setup.programs):
            _Running(self, program, random.Random(f"{self.setup.seed} program {number}")).start()
        # A second more, so that what was sent at the end is decided; the captures end before.
        self.loop.run(ns(self.setup.seconds) + S)
        self.history.end_ns = self.loop.now + S // 1000 if self.loop.stopped else ns(self.setup.seconds)
        return self.history

    def delay(self, program: Program) -> int:
        """From a program to the wire."""
        return ns(self.setup.path.vm_delay_s) if program.side == VM else 0

    def open(self, program: Program, kind: int, opened_ns: int, connection: int | None = None) -> Flow:
        """A session whose first frame goes over the wire at ``opened_ns``. The provider accepts it with the last frame of TCP's handshake."""
        if connection is None:
            connection = self._connections
            self._connections += 1
        flow = Flow(len(self.history.flows), program, kind, connection, opened_ns, opened_ns + 3 * self.half)
        self.history.flows.append(flow)
        self.loop.at(flow.accepted_ns, self.desk.open, flow)
        if kind == REQUESTS and program.side == VM and self.setup.path.kind != "nat":
            for _ in range(self.rng.choice(self.setup.path.fan_out)):
                after = ns(self.rng.uniform(0, COMPANION_AFTER_S))
                flow.companions.append(self.open(program, COMPANION, opened_ns + after, connection))
        return flow

    def close(self, flow: Flow, done_ns: int, end_ns: int | None = None, closed_ns: int | None = None) -> None:
        """The program ends a session at ``done_ns``. Where nothing else is said the provider answers a FIN with its own."""
        if flow.done_ns != NEVER:
            return
        gone = done_ns + self.delay(flow.program)
        flow.done_ns, flow.gone_ns = done_ns, gone
        flow.closed_ns = gone + self.half + ns(self.setup.provider.close_s) if closed_ns is None else closed_ns
        flow.end_ns = flow.closed_ns + self.half if end_ns is None else end_ns
        self.loop.at(max(flow.closed_ns, flow.accepted_ns), self.desk.close, flow)
        for companion in flow.companions:
            self.close(companion, done_ns)

    def send(self, flow: Flow, start_ns: int, prompt: Prompt) -> Request:
        """Put a request on the wire."""
        stream = 2 * len(flow.requests) + 1 if flow.program.http2 else -1
        request = Request(len(self.history.requests), flow, start_ns, stream, prompt.sent_bytes, prompt.small, prompt)
        flow.requests.append(request)
        self.history.requests.append(request)
        self._seen += flow.program.side != ELSEWHERE
        if self._seen >= MOST_REQUESTS:
            self.loop.stopped = True
        return request


class Prompt(NamedTuple):
    """What is asked: how long its answer takes, how large it is, and whether the small model is asked."""

    answer_s: float
    sent_bytes: int
    small: bool = False


class _Running:
    """One program, its pool and its agents."""

    def __init__(self, world: World, program: Program, rng: random.Random) -> None:
        self.world, self.loop, self.program, self.rng = world, world.loop, program, rng
        self.delay = world.delay(program)
        self.stop_ns = ns(min(program.stop_s, world.setup.seconds))
        self.idle: list[Flow] = []
        self.shared: Flow | None = None

    def start(self) -> None:
        for _ in range(self.program.idle_connections):
            self.world.open(self.program, REQUESTS, ns(self.program.start_s + self.rng.random()))
        for _ in range(self.program.agents):
            self.loop.start(self.agent())

    def agent(self) -> Process:
        program, rng, loop = self.program, self.rng, self.loop
        yield ns(program.start_s + rng.random() * 0.5)
        while loop.now < self.stop_ns:
            title = None
            if program.title:
                title = loop.start(self.request(Prompt(rng.uniform(0.3, 1.5), program.title_bytes, program.small_model), aborts=False))
                yield ns(TITLE_AFTER_S)
            for _ in range(rng.randint(*program.turns)):
                if loop.now >= self.stop_ns:
                    break
                answered = yield from self.request(self.prompt(), aborts=rng.random() < program.abort_fraction)
                if not answered:
                    break
                yield ns(rng.uniform(*program.think_s))
            if title is not None:
                yield title
            yield ns(rng.uniform(*program.idle_s))

    def prompt(self) -> Prompt:
        low, high = self.program.prompt_bytes
        return Prompt(self.answer_s(), round(low * (high / low) ** self.rng.random()), self.rng.random() < self.program.small_fraction)

    def answer_s(self) -> float:
        """How long an answer takes: a stream of seconds to tens of seconds, or a short one."""
        if self.rng.random() < self.program.short_fraction:
            return self.rng.uniform(0.15, 0.9)
        return min(self.program.answer_s * self.rng.lognormvariate(0, self.program.spread), 60.0)

    def request(self, prompt: Prompt, aborts: bool) -> Process:
        """One request with its retries; whether it was answered, or broken off on purpose."""
        retry = self.program.retry
        for attempt in range(retry.retries + 1):
            if self.loop.now >= self.stop_ns:
                return False
            refused = yield from self.attempt(prompt, aborts)
            if not refused:
                return True
            wait_s = min(retry.first_s * retry.factor**attempt, LONGEST_BACK_OFF_S)
            if retry.honours_retry_after and self.world.setup.provider.retry_after_s is not None:
                wait_s = self.world.setup.provider.retry_after_s
            yield ns(wait_s * self.rng.uniform(1.0, 1.1))
            for _ in range(retry.parallel - 1):
                self.loop.at(self.loop.now + ns(self.rng.uniform(0, STORM_WITHIN_S)), self.loop.start, self.attempt(prompt, aborts))
        return False

    def attempt(self, prompt: Prompt, aborts: bool) -> Process:
        """Send it once and read the answer; whether it was refused."""
        loop, world, answer_s = self.loop, self.world, prompt.answer_s
        if self.program.dns_tcp and self.program.dns_every:
            yield from self.lookup()
        flow = yield from self.connection()
        request = world.send(flow, loop.now + self.delay, prompt)
        yield self.delay + world.half + ns(self.rng.uniform(0, world.setup.provider.jitter_s))
        world.desk.decide(request, loop.now)
        if request.refused is not None:
            yield from self.read(request, ns(self.rng.uniform(*world.setup.provider.refusal_s)))
        elif aborts and (after := self.rng.uniform(*self.program.abort_after_s)) < answer_s:
            yield ns(after) + world.half + self.delay
            self.break_off(request, request.decided_ns + ns(answer_s))
            return False
        else:
            yield from self.read(request, ns(answer_s))
        self.give_back(flow)
        return request.refused is not None

    def read(self, request: Request, takes_ns: int) -> Process:
        """The whole answer."""
        freed = request.freed_ns = request.decided_ns + takes_ns
        request.end_ns = request.gone_ns = freed + self.world.half
        request.done_ns = request.end_ns + self.delay
        request.complete = True
        self.loop.at(freed + ns(self.world.setup.provider.late_s), self.world.desk.free, request)
        yield takes_ns + self.world.half + self.delay

    def break_off(self, request: Request, natural_ns: int) -> None:
        """End the connection (of HTTP/2 the stream) in the middle of an answer, which would have ended at ``natural_ns``."""
        world, flow = self.world, request.flow
        request.done_ns = self.loop.now
        gone = request.gone_ns = self.loop.now + self.delay
        if self.program.http2:
            ended = gone
        elif self.program.side == VM and world.setup.path.kind == "sshuttle 1.3":
            # Upstream a FIN at most: the provider streams to the end.
            ended = NEVER
            closed = max(natural_ns, gone + world.half)
            world.close(flow, self.loop.now, closed + world.half, closed)
        elif self.program.abort_with == "rst" and (self.program.side != VM or world.setup.path.kind == "nat"):
            ended = gone
            world.close(flow, self.loop.now, ended, ended + world.half)
        else:
            # The next piece meets a closed socket, and what comes back ends it.
            ended = gone + 2 * world.half + ns(self.rng.uniform(0, BREAKS_OFF_WITHIN_S[world.setup.path.kind]))
            world.close(flow, self.loop.now, ended, ended + world.half)
        # An answer that was nearly over may reach its end all the same.
        request.complete = natural_ns + world.half <= ended
        request.freed_ns, request.end_ns = min(ended + world.half, natural_ns), min(ended, natural_ns + world.half)
        self.loop.at(request.freed_ns + ns(world.setup.provider.late_s), world.desk.free, request)

    # --- connections

    def connection(self) -> Process:
        """One that may carry a request now."""
        if self.program.http2:
            if self.shared is None:
                self.shared = yield from self.connect()
            flow = self.shared
            yield max(flow.ready_ns - self.loop.now, 0)
            return flow
        while self.idle and self.program.reuse:
            flow = self.idle.pop()
            flow.timer += 1
            return flow
        return (yield from self.connect())

    def connect(self) -> Process:
        """A new one. Name, TCP's handshake, TLS's handshake."""
        if self.program.http2:
            # Those who come while it is made wait for it, and make none of their own.
            flow = self.shared = self.world.open(self.program, REQUESTS, self.loop.now + self.delay)
        else:
            if self.program.dns_tcp and not self.program.dns_every:
                yield from self.lookup()
            flow = self.world.open(self.program, REQUESTS, self.loop.now + self.delay)
        flow.ready_ns = self.loop.now + 4 * self.world.half + 2 * self.delay + ns(TLS_S)
        yield flow.ready_ns - self.loop.now
        return flow

    def lookup(self) -> Process:
        """A question over TCP; the connection is kept for a while, though no other comes in time."""
        flow = self.world.open(self.program, LOOKUPS, self.loop.now + self.delay)
        yield 4 * self.world.half + 2 * self.delay
        self.loop.at(self.loop.now + ns(self.program.dns_keep_s), self.expire, flow, flow.timer)

    def give_back(self, flow: Flow) -> None:
        """To the pool, which closes it after a while."""
        if self.program.http2:
            return
        self.idle.append(flow)
        self.loop.at(self.loop.now + ns(self.program.keep_s), self.expire, flow, flow.timer)

    def expire(self, flow: Flow, timer: int) -> None:
        if flow.timer != timer:
            return
        if flow in self.idle:
            self.idle.remove(flow)
        self.world.close(flow, self.loop.now)


def simulate(setup: Setup) -> History:
    """Run one world to its end."""
    return World(setup).run()
