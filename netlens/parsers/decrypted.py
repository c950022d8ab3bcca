"""Requests and answers read with a TLS key log: the one place where tshark decrypts, through pyshark.

Theory of operation
-------------------
1. One run of tshark for a capture. A display filter lets through only what begins or ends a request or an answer, or speaks of an error, so that a
   long stream costs tshark's time but not Python's (measured: 0.3 ms a packet that gets through, as JSON; three times that as PDML).
2. HTTP/2 (RFC 9113): a request begins with HEADERS that have a method, and has been sent with the client's END_STREAM; the answer begins with HEADERS
   that have a status of 200 or more, and ends with the server's END_STREAM, or either side's RST_STREAM.
3. HTTP/1.1: heads and bodies are not put together (that would hide an answer that was broken off, and the time at which one began; and a body
   without a line end would be taken for the beginning of a head). What begins with no request line or status line goes on with what was before.
   Requests are answered in their order.
4. A refusal may stand inside a stream of status 200, as an event with ``{"error": {"code": "1302", ...}}``; so data that has the word is searched for
   that. A model that writes about errors does so inside a JSON string, where the quotes are escaped.
5. tshark's ``tcp.stream`` only tells connections apart: tshark also counts those that ICMP errors quote, so its numbers may be higher than ours. A
   request belongs to the session that has its 5-tuple and was open at its frame; frame numbers are the same.
6. Files of a rotated capture are written into one temporary file (readable by its owner only, deleted at the end), because tshark would number each
   anew and lose the handshakes of the first.

Payload is looked at in passing and not kept; nothing of it but the error code leaves this module.

Limits: a connection is decrypted only if its handshake was captured. tshark does not join the two halves in which a transparent proxy leaves a connection
(sshuttle, on the VM): the host's capture has it whole, the keys are the same. Capture loss ends the decryption of a direction. Compressed
bodies of HTTP/1.1 are not searched. The end of an HTTP/1.1 answer is known where its last bytes show it; turn-taking (exchanges) knows it always.
HTTP/3 is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.errors import CaptureError, NetlensError
from netlens.extras import need
from netlens.sidefiles import Lines, Rows
from netlens.text import plural, printable
from netlens.wire import writing
from netlens.wire.containers import Reader
from netlens.wire.framing import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE

if TYPE_CHECKING:
    from netlens.schema import Table

End = tuple[str, int]  # address and port

MISSING = "tshark is not installed, and a key log is of no use without it; install it: apt install tshark, or brew install wireshark"

_WANTED = (
    "http2.type == 1",  # HEADERS
    "http2.type == 3",  # RST_STREAM
    "http2.flags.end_stream == 1",
    'http2.data.data contains "error"',
    "http.request.method",
    "http.response.code",  # unlike http.response also there if the head ends in the middle of a line
    "(http && tcp.srcport > tcp.dstport)",  # the rest of a request: the client nearly always has the higher port
    r'http.file_data contains "0\r\n\r\n"',  # the last chunk
    'http.file_data contains "error"',
)
#: What a person's own preferences may have changed, and how HTTP/1.1 is read.
_PREFERENCES = {
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.reassemble_out_of_order": "TRUE",
    "tls.desegment_ssl_records": "TRUE",
    "tls.desegment_ssl_application_data": "TRUE",
    "http.desegment_headers": "FALSE",
    "http.desegment_body": "FALSE",
    "http.dechunk_body": "TRUE",
}
_HEADERS, _RST_STREAM, _END_STREAM = 1, 3, 1
_KEY = re.compile(rb"\s*[A-Z][A-Z0-9_]*\s+([0-9a-fA-F]{64})\s+[0-9a-fA-F]{16,}\s*")
MAX_KEYS = 1_000_000  #: lines; five for each TLS connection
MAX_KEY_LINE = 4096  #: a line has a label, 64 digits and at most 256 more
_ERROR = re.compile(rb"(?<!\\)\"error\"\s*:\s*\{.{0,4096}?(?<!\\)\"code\"\s*:\s*\"?([0-9A-Za-z_.-]{1,32})", re.DOTALL)
_LAST_CHUNKS = re.compile(rb"(?:\A|\r\n)0\r\n\r\n\Z")
MAX_ROWS = 500_000  #: lines read; ten requests a second for half a day
_IS_CODE = re.compile(r"[0-9A-Za-z_.-]{1,32}")
WAIT_S = 20.0  #: for tshark to end after its last line


@dataclass(frozen=True, slots=True)
class DecryptedRequest:
    """One request. Times are int64 ns UTC of the capture; frames count from 1.

    session_id : of the session that carries it.  stream : HTTP/2 stream; -1 with HTTP/1.1.
    start_ns, frame : its head.  request_end_ns : its last byte; None if it was never sent in full.
    response_ns, response_frame, status : head of the answer; None without one.
    end_ns, end_frame : last byte of the answer, or the reset of its stream; None if it ended with its connection or the capture, or if its end
    does not show (HTTP/1.1).  complete : the answer was seen to end in order.
    code : error code in the answer ("1302"), also inside a stream; None without one.  http : "1.1" or "2".
    """

    session_id: int
    stream: int
    start_ns: int
    request_end_ns: int | None
    response_ns: int | None
    end_ns: int | None
    status: int | None
    code: str | None
    complete: bool
    frame: int
    response_frame: int | None
    end_frame: int | None
    http: str


@dataclass(frozen=True)
class Decrypted:
    """Requests in order of start. note : one line if the key log was of little use, or tshark had trouble."""

    rows: list[DecryptedRequest]
    note: str | None = None


def requests(paths: Sequence[str | os.PathLike[str]], keylog: str | os.PathLike[str], sessions: Table | None = None) -> Decrypted:
    """Read the requests of a capture (files of one rotated capture in order) with the keys of a file as SSLKEYLOGFILE makes it.

    Parameters
    ----------
    sessions : the table of the capture's sessions; without it the capture is read for that.

    Raises
    ------
    CaptureError
        the capture or the key log cannot be read.
    NetlensError
        tshark or pyshark is missing or does not work.
    """
    names = [os.fsdecode(path) for path in paths]
    if "-" in names or not names:
        raise CaptureError("a capture from standard input cannot be read a second time to decrypt it; save it to a file first")
    if not os.path.isfile(keylog) and os.path.exists(keylog):  # also what :mod:`netlens.sidefiles` would read: tshark reads it once more
        raise CaptureError(
            f"{printable(os.fsdecode(keylog))}: the key log must be a file, as tshark reads it too; save the keys to a file first"
        )
    randoms = _randoms(os.fsdecode(keylog))
    shown, keys = printable(os.fsdecode(keylog)), os.path.abspath(os.fsdecode(keylog))
    if not randoms:
        return Decrypted(
            [], f"{shown}: holds no TLS keys (lines such as CLIENT_TRAFFIC_SECRET_0, which SSLKEYLOGFILE makes a program write)"
        )
    for name in names:
        if not os.access(name, os.R_OK) or not os.path.isfile(name):
            raise CaptureError(f"{printable(name)}: cannot be read to decrypt it (it must be a file)")
    if len(names) == 1:
        read, trouble = _read(os.path.abspath(names[0]), keys)
    else:
        with tempfile.NamedTemporaryFile(prefix="netlens-", suffix=".pcap") as joined:
            _join(names, joined)
            read, trouble = _read(joined.name, keys)
    if not read:
        return Decrypted([], _why_nothing(names, shown, randoms) + (f"; tshark says: {trouble}" if trouble else ""))
    rows = _with_sessions(read, _sessions_of(names) if sessions is None else sessions)
    notes = [f"tshark did not read the capture to its end ({trouble})"] if trouble else []
    if lost := len(read) - len(rows):
        notes.append(f"{plural(lost, 'decrypted request')} left out, in connections that netlens does not see (inside a tunnel?)")
    return Decrypted(rows, f"{shown}: {'; '.join(notes)}" if notes else None)


def of_all(
    paths: Sequence[str | os.PathLike[str]], keylogs: Sequence[str], sessions: Table | None = None
) -> tuple[list[DecryptedRequest], list[str]]:
    """:func:`requests` with the keys of several files, of programs that each wrote its own; and what is to be noted of any. Of a session whose keys
    stand in two of them, the first counts."""
    rows: list[DecryptedRequest] = []
    notes: list[str] = []
    for keylog in keylogs:
        found, known = requests(paths, keylog, sessions), {row.session_id for row in rows}
        rows += [row for row in found.rows if row.session_id not in known]
        notes += [found.note] if found.note else []
    return sorted(rows, key=lambda r: (r.start_ns, r.frame, r.stream)), notes


def _sessions_of(names: list[str]) -> Table:
    from netlens.parsers import pipeline

    return pipeline.run(names, ["sessions"]).sessions()


def _with_sessions(read: list[_Request], sessions: Table) -> list[DecryptedRequest]:
    """The requests as rows, without those whose session is not in the table."""
    first, last = sessions["first_frame"], sessions["last_frame"]
    ports = sessions["orig_port"], sessions["resp_port"]
    ips = sessions["orig_ip"], sessions["resp_ip"]
    found: dict[int, int] = {}  # tshark's stream -> the session of its latest request
    rows = []
    for r in read:
        session = found.get(r.stream_number, -1)
        if session < 0 or not first[session] <= r.frame <= last[session]:
            (_, client), (_, server) = r.ends
            alike = ((ports[0] == client) & (ports[1] == server)) | ((ports[0] == server) & (ports[1] == client))
            for k in np.flatnonzero(alike & (first <= r.frame) & (r.frame <= last)).tolist():
                ends = [(_address(ips[side][k]), int(ports[side][k])) for side in range(2)]
                if sorted(ends) == sorted(r.ends):
                    found[r.stream_number] = session = k
                    break
            else:
                continue
        rows.append(r.row(session))
    return sorted(rows, key=lambda r: (r.start_ns, r.frame, r.stream))


# --- the key log ------------------------------------------------------------------------------------------------------------------------------


def _randoms(path: str) -> set[bytes]:
    """Client randoms of a key log, in lower case."""
    found = set()
    lines = Lines(path, MAX_KEYS, MAX_KEY_LINE, "the key log")
    for line in lines:
        if key := _KEY.fullmatch(line):
            found.add(key[1].lower())
    if lines.cut:
        raise CaptureError(
            f"{printable(path)}: larger than a key log that can be used ({MAX_KEYS:,} lines); keep only the lines from the time of this recording"
        )
    return found


def _why_nothing(names: list[str], keylog: str, randoms: set[bytes]) -> str:
    """What keeps these keys from decrypting anything here."""
    from netlens.parsers import pipeline

    part = pipeline.run(names, ["sessions", "hellos"])
    hellos, sessions = part.hellos.rows(), part.sessions()
    if not hellos.rows:
        return f"{keylog}: nothing to decrypt, as the capture holds no beginning of a TLS connection"
    known = {int(s) for s, random in zip(hellos["session_id"], hellos["random"], strict=True) if random.encode() in randoms}
    if not known:
        return f"{keylog}: holds none of the keys of the {plural(hellos.rows, 'TLS connection')} in the capture; is it of the same run?"
    halves = sum(int(s) in known and n == 0 for s, n in zip(sessions["session_id"], sessions["resp_frames"], strict=True))
    if halves:
        return (
            f"{keylog}: of {plural(len(known), 'connection')} with keys {halves} in two halves (a transparent proxy such as sshuttle), which tshark "
            "cannot decrypt; the host's capture has them whole, and the same keys fit"
        )
    return f"{keylog}: fits {plural(len(known), 'TLS connection')} in the capture, but no HTTP request was found in them"


# --- the capture ------------------------------------------------------------------------------------------------------------------------------


def _join(names: list[str], out: Any) -> None:
    """All frames as one pcap with nanoseconds, numbered as we number them."""
    reader = Reader(names)
    link = None
    for batch in reader.batches():
        frames = batch.frames[: batch.n].tolist()
        parts = []
        for frame in frames:
            kind = int(batch.links[frame[F_IFACE]]) if frame[F_IFACE] >= 0 else 0
            if link is None:
                link = kind
                parts.append(writing.pcap_header(link))
            if kind != link:
                raise NetlensError("the files of this capture have several link types; decrypt them one by one")
            at, size, ns = frame[F_OFF], frame[F_CAP], max(frame[F_TS], 0)
            parts.append(struct.pack("<IIII", ns // 10**9 & 0xFFFFFFFF, ns % 10**9, size, min(frame[F_WIRE], 0xFFFFFFFF)))
            parts.append(batch.buf[at : at + size].tobytes())
        out.write(b"".join(parts))
    out.flush()


def _read(path: str, keylog: str) -> tuple[list[_Request], str]:
    """Requests, and tshark's last complaint if it failed. In a thread of its own, because a notebook has an event loop that is running already."""
    follower = _Follower()
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["trouble"] = _follow(path, keylog, follower)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is awaited
            outcome["error"] = error

    thread = threading.Thread(target=work, name="netlens tshark", daemon=True)
    thread.start()
    thread.join()
    if error := outcome.get("error"):
        raise error
    return follower.all, outcome["trouble"]


def _follow(path: str, keylog: str, follower: _Follower) -> str:
    need("pyshark")
    import pyshark
    from pyshark.capture.capture import TSharkCrashException
    from pyshark.tshark.tshark import TSharkNotFoundException, get_process_path

    class Patient(pyshark.FileCapture):  # type: ignore[misc] # pyshark has no types
        """Lets tshark end by itself: pyshark kills it at the end of its output, and then how it ended is not known."""

        async def _cleanup_subprocess(self, process: Any) -> None:
            if self._eof_reached and process.returncode is None:
                with contextlib.suppress(TimeoutError):  # the base class kills it
                    await asyncio.wait_for(process.wait(), WAIT_S)
            await super()._cleanup_subprocess(process)

        def __del__(self) -> None:
            pass  # everything is closed below; the base class would use a loop that is closed

    try:
        tshark = get_process_path()
    except TSharkNotFoundException:
        raise NetlensError(MISSING) from None
    loop = asyncio.new_event_loop()
    trouble = ""
    try:
        asyncio.set_event_loop(loop)
        capture = Patient(
            path,
            keep_packets=False,
            use_json=True,
            display_filter=" || ".join(_WANTED),
            override_prefs={**_PREFERENCES, "tls.keylog_file": keylog},
            custom_parameters=["-j", "frame ip ipv6 tcp", "-J", "http http2"],
            tshark_path=tshark,
            eventloop=loop,
        )
        try:
            for packet in capture:
                follower.packet(packet)
        except TSharkCrashException:
            trouble = printable((capture._last_error_line or "no reason given").removeprefix("tshark: "))
        except (ValueError, KeyError) as error:  # JSON or text that is none
            trouble = f"its output is not understood ({type(error).__name__})"
        finally:
            with contextlib.suppress(TSharkCrashException):  # told above
                capture.close()
    except OSError as error:
        raise NetlensError(f"tshark cannot be started ({(error.strerror or str(error)).lower()})") from None
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return trouble


# --- packets to rows --------------------------------------------------------------------------------------------------------------------------


@dataclass
class _Request:
    """A row that is still being written."""

    stream_number: int  # tshark's
    ends: tuple[End, End]  # the client's first
    stream: int
    http: str
    start_ns: int
    frame: int
    request_end_ns: int | None = None
    response_ns: int | None = None
    response_frame: int | None = None
    end_ns: int | None = None
    end_frame: int | None = None
    status: int | None = None
    code: str | None = None
    complete: bool = False
    over: bool = False  # ended, in order or by a reset

    def row(self, session: int) -> DecryptedRequest:
        return DecryptedRequest(session, **{field.name: getattr(self, field.name) for field in fields(DecryptedRequest)[1:]})


class _Follower:
    def __init__(self) -> None:
        self.all: list[_Request] = []
        self._streams: dict[tuple[int, int], _Request] = {}
        self._turns: dict[int, list[_Request]] = {}  # HTTP/1.1: requests of a session that are not over

    def packet(self, packet: Any) -> None:
        frame, tcp = _fields(packet.frame_info), next((_fields(x) for x in packet.layers if x.layer_name == "tcp"), {})
        try:
            at = (_ns(str(frame["frame.time_epoch"])), int(str(frame["frame.number"])))
            number, source, target = (int(str(tcp[name])) for name in ("tcp.stream", "tcp.srcport", "tcp.dstport"))
        except (KeyError, ValueError):
            return  # HTTP over UDP
        addresses = _addresses(packet.layers)
        if addresses is None:
            return
        ends = (addresses[0], source), (addresses[1], target)
        for layer in packet.layers:
            if layer.layer_name == "http2":
                for each in (layer, *layer.duplicate_layers):
                    for part in _parts(_fields(each), "http2.stream"):
                        self._http2(part, number, ends, at)
            elif layer.layer_name == "http":
                for each in (layer, *layer.duplicate_layers):
                    self._http1(_fields(each), number, ends, at)

    def _http2(self, part: dict[str, Any], number: int, ends: tuple[End, End], at: tuple[int, int]) -> None:
        fields = dict(_leaves(part))
        try:
            kind, flags, stream = int(fields["http2.type"]), int(fields["http2.flags"], 0), int(fields["http2.streamid"])
        except (KeyError, ValueError):
            return
        row = self._streams.get((number, stream))
        if kind == _HEADERS and "http2.headers.method" in fields and row is None:
            row = _Request(number, ends, stream, "2", *at)
            self._streams[number, stream] = row
            self.all.append(row)
        if row is None or row.over:
            return
        if kind == _RST_STREAM:
            row.end_ns, row.end_frame = at
            row.over = True
        elif ends == row.ends:
            if kind <= _HEADERS and flags & _END_STREAM and row.request_end_ns is None:
                row.request_end_ns = at[0]
        elif kind <= _HEADERS:
            self._answer(row, fields.get("http2.headers.status", "") if kind == _HEADERS else "", at)
            row.code = row.code or _code(_bytes(fields.get("http2.data.data", "")))
            if flags & _END_STREAM:
                self._ended(row, at)

    def _http1(self, tree: dict[str, Any], number: int, ends: tuple[End, End], at: tuple[int, int]) -> None:
        leaves = list(_leaves(tree))
        fields = dict(leaves)
        turns = self._turns.setdefault(number, [])
        if "http.request.method" in fields:
            if turns and turns[-1].response_ns is not None:
                turns.clear()  # an answer whose end did not show
            row = _Request(number, ends, -1, "1.1", *at, request_end_ns=at[0])
            turns.append(row)
            self.all.append(row)
            return
        if not turns:
            return
        if ends == turns[0].ends:
            if turns[-1].response_ns is None:
                turns[-1].request_end_ns = at[0]
            return
        row = turns[0]
        if "http.response.code" in fields:
            if row.response_ns is not None and len(turns) > 1:
                turns.pop(0)
                row = turns[0]
            self._answer(row, fields.get("http.response.code", ""), at)
        body = _bytes(fields.get("http.file_data", ""))
        row.code = row.code or _code(body)
        length = fields.get("http.content_length_header", "")
        whole = row.response_ns == at[0] and length.isdecimal() and len(body) == int(length[:18])
        if whole or ("http.chunk_size", "0") in leaves or ("http.response.code" not in fields and _LAST_CHUNKS.search(body)):
            self._ended(row, at)
        if row.over:
            turns.pop(0)

    @staticmethod
    def _answer(row: _Request, status: str, at: tuple[int, int]) -> None:
        if row.status is None and status.isdecimal() and ((len(status) == 3 and status[0] != "1") or status == "101"):
            row.status = int(status)
            row.response_ns, row.response_frame = at

    @staticmethod
    def _ended(row: _Request, at: tuple[int, int]) -> None:
        row.end_ns, row.end_frame = at
        row.complete = row.over = True


def _fields(layer: Any) -> dict[str, Any]:
    """A layer as tshark wrote it. pyshark's own access makes an object for each field, which is most of the time it takes."""
    found: dict[str, Any] = layer._all_fields
    return found


def _addresses(layers: Sequence[Any]) -> tuple[str, str] | None:
    """Source and destination of the innermost IP header."""
    found = None
    for layer in layers:
        if (name := layer.layer_name) in ("ip", "ipv6"):
            fields = _fields((layer, *layer.duplicate_layers)[-1])
            with contextlib.suppress(KeyError, ValueError):
                found = _address(str(fields[f"{name}.src"])), _address(str(fields[f"{name}.dst"]))
    return found


def _address(text: str) -> str:
    """In one of the ways in which an IPv6 address can be written."""
    return str(ipaddress.ip_address(text))


def _parts(tree: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The subtrees of a name; one that stands several times is a list."""
    found = tree.get(name)
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, dict):
            yield each


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(field, value) of all that is no subtree, in no order."""
    stack = [(name, tree)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, list):
            stack += [(name, each) for each in value]
        else:
            yield name, str(value)


def _bytes(text: str) -> bytes:
    """Data as tshark shows it: bytes in hexadecimal with colons, or (before 4.4) the text itself."""
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return text.encode("utf-8", "replace")


def _code(data: bytes) -> str | None:
    found = _ERROR.search(data) if b'"error"' in data else None
    return found[1].decode("ascii") if found else None


def _ns(epoch: str) -> int:
    seconds, _, fraction = epoch.partition(".")
    return int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))


# --- rows in a file -----------------------------------------------------------------------------------------------------------------------------
# What a key log showed, kept without the keys: one JSON object a line, numbers and codes only, for recordings that are handed on without payload. A file may
# come from a stranger: what is no such line is left out.

_KINDS = {f.name: str(f.type) for f in fields(DecryptedRequest)}


def lines(rows: Iterable[DecryptedRequest]) -> Iterable[str]:
    """One line of JSON for each request."""
    for row in rows:
        yield json.dumps(asdict(row))


def read_rows(path: str) -> Decrypted:
    """The requests of a file that :func:`lines` made.

    Raises
    ------
    CaptureError
        it cannot be read.
    """
    lines = Rows(path, MAX_ROWS, _row, "a request of netlens")
    rows = sorted(lines, key=lambda r: (r.start_ns, r.frame))
    return Decrypted(rows, "; ".join(lines.notes) or None)


def _row(values: dict[str, Any]) -> DecryptedRequest | None:
    if values.keys() != _KINDS.keys() or not all(_fits(name, value) for name, value in values.items()):
        return None
    return DecryptedRequest(**values)


def _fits(name: str, value: Any) -> bool:
    if name == "code":
        return value is None or (isinstance(value, str) and _IS_CODE.fullmatch(value) is not None)
    if name == "http":
        return value in ("1.1", "2")
    if name == "complete":
        return isinstance(value, bool)
    if value is None:
        return "None" in _KINDS[name]
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 1 << 63
