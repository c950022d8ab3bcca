"""What HTTP/1.1 in clear says of itself: how long an answer is (Content-Length, RFC 9112 6.2), to tell those that ended before; which requests ask to be
kept waiting (long polls, RFC 6202 2), by words in their address; where answers send the client (RFC 9110 15.4); and what proxies answered to CONNECT
(RFC 9110 9.3.6); which requests wait for a word before their body (RFC 9110 10.1.1), and whether answers in chunks end (:mod:`netlens.parsers.chunks`).

Of an address nothing is kept but that it has such a word, and a number that tells whether two are the same. Kept while ``netlens analyze`` reads a capture,
and by no other command.

Limits: of the first :data:`MAX_BODIES`; only of heads that are in one segment, the first of each segment, without Transfer-Encoding.
"""

import re
from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.parsers.chunks import ChunkBuilder
from netlens.wire import columns as c
from netlens.wire import hints as h

MAX_BODIES = 200_000
MAX_HEAD = 16_384  #: bytes in which the end of a head is looked for
MAX_LENGTH = 1 << 50
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
#: What is made while it is sent, or has ends of its own
_ENDLESS = re.compile(
    rb"\r\ncontent-type:[ \t]*(?:multipart/x-mixed-replace|application/grpc|audio/|video/|[^\r]*(?:stream=watch|[.-](?:raw|multiplexed)-stream))",
    re.IGNORECASE,
)
#: Events and lines that go on until somebody ends them, and are asked for again (HTML Living Standard 9.2): by GET. To a POST, as of a language model, they
#: are an answer like others: nobody can go on where it stopped.
_EVENTS = re.compile(rb"\r\ncontent-type:[ \t]*(?:text/event-stream|[^\r]*(?:ndjson|json-seq|stream\+json|jsonlines))", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
MAX_LINE = 1024  #: bytes of a request line that are looked at
_WAITS = re.compile(
    rb"[A-Z]+ [^ ?]*(?:/(?:long-?poll|poll|getUpdates|_changes|http-bind)\b|/(?:updates|events|sync)\?(?:[^ ]*&)?since=|"
    rb"\?(?:[^ ]*&)?(?:(?:wait|timeout|watch|long_?poll)=|transport=(?:long-?)?polling))",
    re.IGNORECASE,
)
#: Where models make up text, pictures or speech: the paths of OpenAI's API and those like it, Anthropic's, Google's, and Ollama's
_GENERATES = re.compile(
    rb"POST [^ ?]*/(?:completions|v1/(?:messages|responses)|images/(?:generations|edits)|audio/(?:speech|transcriptions|translations)|api/(?:chat|generate)"
    rb"|[^ ?/]*:(?:generate|streamGenerate)Content)[ ?]"
)
_FILM = re.compile(rb"\r\ncontent-type:[ \t]*(?:audio|video)/", re.IGNORECASE)
#: What a browser asks before a request to another site (Fetch Standard 3.3.2)
_PREFLIGHT = re.compile(rb"OPTIONS [^\n]*\r\n(?:[^\r\n]+\r\n)*?access-control-request-method:", re.IGNORECASE)
_HOST = re.compile(rb"\r\nhost:[ \t]*([^ \t\r]*)", re.IGNORECASE)
_TARGET = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|PROPFIND|MKCOL|LOCK|OPTIONS) (?:http://([^/ ]*))?(/[^ ]*) ")
_MAKING = (b"POST", b"PUT", b"PATCH", b"MKCOL")
#: What browsers and systems look for at every site (RFC 9309, WPAD)
_PROBES = re.compile(rb"/(?:favicon[^/]*|apple-touch-icon[^/]*\.png|robots\.txt|wpad\.dat)\Z")
#: What asks a server to switch to WebSocket (RFC 6455 4.1)
_WEBSOCKET = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
#: How servers that expect TLS answer to HTTP: nginx, Apache, Go
_WANTS_TLS = re.compile(
    rb"plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled|sent an HTTP request to an HTTPS server"
)
BAD_REQUEST, MAX_WORDS = 400, 2048  #: bytes of such an answer that are looked at
#: Where a client is sent that goes on in clear: a host, if it is named, and a path
_PLACE = re.compile(rb"\r\nlocation:[ \t]*(?:http://([^/\r]*))?(/[^\r#]*)[^\r]*\r\n", re.IGNORECASE)
#: The host to which a client is sent
_SITE = re.compile(rb"\r\nlocation:[ \t]*https?://(?:[^/\r@]*@)?([A-Za-z0-9.-]+)", re.IGNORECASE)
CONTINUE, SWITCHING = 100, 101
_REDIRECTS = (301, 302, 303, 307, 308)
#: Credentials that are sent at once, not step by step (RFC 7617, RFC 7616, RFC 6750)
_CREDENTIALS = re.compile(rb"\r\nproxy-authorization:[ \t]*(?:basic|digest|bearer) ", re.IGNORECASE)
#: Makes a request only if what is there is still what the client knows (RFC 9110 13.1.1, 13.1.4, RFC 4918 10.4)
_UNCHANGED = re.compile(rb"\r\nif(?:-match|-unmodified-since)?:", re.IGNORECASE)
_RESUMES = re.compile(rb"\r\nlast-event-id:", re.IGNORECASE)
_AUTHORIZED = re.compile(rb"\r\nauthorization:[ \t]*(?:basic|bearer) ", re.IGNORECASE)
_WITHOUT = (204, 304)  #: answers without a body, whatever they say of it


class Body(NamedTuple):
    """An answer.  frame : of its head.  start, end : offsets in its stream, of its first byte and behind its last.  length : of its body."""

    session: int
    frame: int
    start: int
    end: int
    length: int


class Proxied(NamedTuple):
    """A proxy's answer in a connection in which CONNECT was asked, and whether that bore credentials."""

    session: int
    frame: int
    ts: int
    status: int
    credentials: bool


class Redirect(NamedTuple):
    """An answer that sends the client elsewhere, both as numbers of host and path.  status, posted : whether it answers POST."""

    session: int
    frame: int
    ts: int
    asked: int
    place: int
    status: int
    posted: bool


class Sent(NamedTuple):
    """An answer that sends the client to a host, as the number of its name."""

    session: int
    frame: int
    ts: int
    host: int


class Unasked(NamedTuple):
    """A final answer in a session of which no request was seen."""

    session: int
    frame: int
    status: int


class BodyBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.polls: set[int] = set()  # frames
        self.making_up: set[int] = set()  # frames
        self.films: set[int] = set()  # sessions
        self.proxied: list[Proxied] = []
        self.redirects: list[Redirect] = []
        self.asked: dict[int, int] = {}  # by frame, the number of host and path that a request names
        self.paths: dict[int, int] = {}  # and of the path alone
        self.parents: dict[int, int] = {}  # and of host and path up to the last name
        self.making: set[int] = set()  # frames of requests that may make something
        self.matching: set[int] = set()  # frames of those that must change nothing that another has changed since
        self.bearing: set[int] = set()  # frames of requests with a password or token
        self.probing: set[int] = set()  # frames of requests for what browsers and systems look for of themselves
        self.preflights: set[int] = set()  # frames
        self.upgrading: set[int] = set()  # frames of requests for a WebSocket
        self.wanting_tls: set[int] = set()  # frames of answers that say that the port takes TLS alone
        self.sent: list[Sent] = []
        self.unasked: list[Unasked] = []
        self.expecting: dict[int, int] = {}  # by frame, the session of a request that wants to be told to go on before it sends its body
        self.told_to_go_on: set[int] = set()  # sessions
        self.spoke_at_once: set[int] = set()  # sessions in which more came with a 101 than its head
        self.headless: set[int] = set()  # frames of requests whose head does not end in them
        self.chunks = ChunkBuilder()
        self._heads: set[int] = set()  # sessions with HEAD
        self._requests: set[int] = set()  # sessions with a request
        self._posting: set[int] = set()  # and such of which the last one is POST
        self._resuming: set[int] = set()  # and such of which one says which event was the last that came
        self._last: dict[int, tuple[bytes, int]] = {}  # by session, host and number of the last request
        self._asking: dict[int, bool] = {}  # sessions with a CONNECT that was not granted, and whether it bore credentials

    def feed(self, buf: Array, packets: Array) -> None:
        rows = np.empty(len(packets), np.int64)
        connects = rows[: h.with_hints(packets, h.CLASS_MASK, h.CONNECT, h.CONNECT, rows)].copy()
        messages = rows[: h.with_hints(packets, h.CLASS_MASK, h.HTTP_REQUEST, h.HTTP_RESPONSE, rows)]
        for row in packets[np.sort(np.concatenate((connects, messages)))].tolist():
            kind = row[c.HINT] & h.CLASS_MASK
            if kind == h.CONNECT:
                self._connect(buf, row)
            elif kind == h.HTTP_REQUEST:
                self._request(buf, row)
            elif row[c.SESSION] >= 0 and len(self.bodies) < MAX_BODIES:
                self._answer(buf, row)
        self.chunks.feed(buf, packets)

    def _connect(self, buf: Array, row: list[int]) -> None:
        if len(self.proxied) < MAX_BODIES:
            self._asking[row[c.SESSION]] = _CREDENTIALS.search(_text(buf, row, MAX_HEAD)) is not None

    def _request(self, buf: Array, row: list[int]) -> None:
        text = _text(buf, row, MAX_LINE)
        self._requests.add(row[c.SESSION])
        if text.startswith(b"HEAD "):
            self._heads.add(row[c.SESSION])
        (self._posting.add if text.startswith(b"POST ") else self._posting.discard)(row[c.SESSION])
        if (
            len(self.headless) < MAX_BODIES
            and row[c.PAY_CAP] == row[c.LENGTH] < MAX_LINE
            and b"\r\n\r\n" not in text
            and b"\n\n" not in text
        ):
            self.headless.add(row[c.FRAME])
        if len(self.expecting) < MAX_BODIES and _EXPECTS.search(text) is not None:
            self.expecting[row[c.FRAME]] = row[c.SESSION]
        if len(self.polls) < MAX_BODIES and _WAITS.match(text):
            self.polls.add(row[c.FRAME])
        if len(self.making_up) < MAX_BODIES and _GENERATES.match(text):
            self.making_up.add(row[c.FRAME])
        if len(self.asked) < MAX_BODIES and (target := _TARGET.match(text)) is not None:
            named = _HOST.search(text)
            host = target[2] or (named[1] if named else b"")
            number = _number(host, target[3])
            self.asked[row[c.FRAME]], self.paths[row[c.FRAME]] = number, crc32(target[3])
            self.parents[row[c.FRAME]] = _number(host, target[3].partition(b"?")[0].rstrip(b"/").rpartition(b"/")[0])
            head = _text(buf, row, MAX_HEAD)
            if _RESUMES.search(head) is not None:
                self._resuming.add(row[c.SESSION])
            if _WEBSOCKET.search(head) is not None:
                self.upgrading.add(row[c.FRAME])
            if _AUTHORIZED.search(head) is not None:
                self.bearing.add(row[c.FRAME])
            if target[1] in _MAKING:
                self.making.add(row[c.FRAME])
                if _UNCHANGED.search(head) is not None:
                    self.matching.add(row[c.FRAME])
            if target[1] == b"OPTIONS" and _PREFLIGHT.match(text):
                self.preflights.add(row[c.FRAME])
            if _PROBES.match(target[3]):
                self.probing.add(row[c.FRAME])
            self._last[row[c.SESSION]] = host, number

    def _answer(self, buf: Array, row: list[int]) -> None:
        offset, status = row[c.OFFSET], row[c.HINT] >> h.STATUS_SHIFT & 0x3FF
        if status >= 200 and row[c.SESSION] in self._asking:
            self.proxied.append(Proxied(row[c.SESSION], row[c.FRAME], row[c.TS], status, self._asking.pop(row[c.SESSION])))
        if status == CONTINUE:
            self.told_to_go_on.add(row[c.SESSION])
        if status >= 200 and row[c.FRESH] > 0 and row[c.SESSION] not in self._requests and len(self.unasked) < MAX_BODIES:
            self.unasked.append(Unasked(row[c.SESSION], row[c.FRAME], status))
        head = _text(buf, row, MAX_HEAD)
        end = head.find(b"\r\n\r\n")
        if status == BAD_REQUEST and _WANTS_TLS.search(head, 0, MAX_WORDS) is not None and len(self.wanting_tls) < MAX_BODIES:
            self.wanting_tls.add(row[c.FRAME])
        if status == SWITCHING and end + 4 != row[c.LENGTH]:
            self.spoke_at_once.add(row[c.SESSION])
        if end < 0 or status < 200 or status in _WITHOUT:
            return
        if status in _REDIRECTS and row[c.SESSION] in self._last and len(self.redirects) < MAX_BODIES:
            host, asked = self._last.pop(row[c.SESSION])
            if (place := _PLACE.search(head, 0, end + 2)) is not None:
                posted = row[c.SESSION] in self._posting
                number = _number(place[1] or host, place[2])
                self.redirects.append(Redirect(row[c.SESSION], row[c.FRAME], row[c.TS], asked, number, status, posted))
        if status in _REDIRECTS and len(self.sent) < MAX_BODIES and (site := _SITE.search(head, 0, end + 2)) is not None:
            self.sent.append(Sent(row[c.SESSION], row[c.FRAME], row[c.TS], number_of(site[1].decode("ascii"))))
        if len(self.films) < MAX_BODIES and _FILM.search(head, 0, end + 2):
            self.films.add(row[c.SESSION])
        if _CHUNKED.search(head, 0, end + 2) and row[c.SESSION] not in self._heads and not _ENDLESS.search(head, 0, end + 2):
            events, posted = _EVENTS.search(head, 0, end + 2) is not None, row[c.SESSION] in self._posting
            self.chunks.begin(row, offset + end + 4, events and posted, events and not posted, row[c.SESSION] in self._resuming)
        found = _LENGTH.search(head, 0, end + 2)
        if found is None or _CODED.search(head, 0, end + 2):
            return
        length = int(found.group(1))
        if length < MAX_LENGTH:
            self.bodies.append(Body(row[c.SESSION], row[c.FRAME], offset, offset + end + 4 + length, length))


def _text(buf: Array, row: list[int], most: int) -> bytes:
    at = row[c.PAY_OFF]
    return buf[at : at + min(row[c.PAY_CAP], most)].tobytes()


def number_of(name: str) -> int:
    """The number of a host's name."""
    return crc32(name.lower().rstrip(".").encode())


def _number(host: bytes, path: bytes) -> int:
    return crc32(host.lower().removesuffix(b":80") + path)
