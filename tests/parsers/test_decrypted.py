"""Decryption with tshark: HTTP/1.1 made with this Python's TLS library, HTTP/2 from the bundled recordings, whose truth is beside them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import shutil
import ssl
import stat
import struct
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import netlens
from netlens.errors import CaptureError, NetlensError
from netlens.lab.check import Truth
from netlens.parsers import decrypted
from tests.parsers.build import MS, T0, S, Talk, _sll2, mixed, unreachable, write
from tests.wire.links import RAW, SLL2

if TYPE_CHECKING:
    from netlens.parsers.decrypted import Decrypted, DecryptedRequest

VM, API = "192.168.64.2", ("203.0.113.10", 443)
BODY = b'{"error":{"code":"1302","message":"High concurrency"}}'
PIECE = b'data: {"choices":[{"delta":{"content":"no \\"error\\": {\\"code\\": \\"1302\\"} of ours"}}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def request(size: int = 3000) -> bytes:
    return b"POST /v4/chat HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer sk-secret\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size)


def refusal(body: bytes = BODY, status: bytes = b"429 Too Many Requests") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Conversation:
    """A TLS connection on the wire; each ``up`` and ``down`` is one write of the program or the server, 10 ms after the one before."""

    def __init__(self, data: Path, keylog: Path, port: int, at: int = 0, alpn: str = "http/1.1"):
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.load_cert_chain(data / "tls" / "server.pem")
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.keylog_filename = str(keylog)
        for context in (server, client):
            context.set_alpn_protocols([alpn])
        self.down_in, self.up_out, self.up_in, self.down_out = (ssl.MemoryBIO() for _ in range(4))
        self.client = client.wrap_bio(self.down_in, self.up_out, server_hostname="api.example.test")
        self.server = server.wrap_bio(self.up_in, self.down_out, server_side=True)
        self.talk = Talk((VM, port), API, at=at).open()
        waiting = {self.client, self.server}
        while waiting:
            for side in (self.client, self.server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    waiting.discard(side)
                self._send(side is self.client)

    def _send(self, up: bool) -> None:
        data = (self.up_out if up else self.down_out).read()
        (self.up_in if up else self.down_in).write(data)
        for at in range(0, len(data), 1448):
            (self.talk.up if up else self.talk.down)("PA", data[at : at + 1448])

    def up(self, data: bytes) -> int:
        """Write and send; the number of the last packet, from 0."""
        self.talk.wait(10 * MS)
        self.client.write(data)
        self._send(True)
        return len(self.talk.packets) - 1

    def down(self, data: bytes) -> int:
        self.talk.wait(10 * MS)
        self.server.write(data)
        self._send(False)
        return len(self.talk.packets) - 1

    def ns(self, packet: int) -> int:
        return T0 + self.talk.packets[packet].at


@pytest.fixture
def keylog(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


@pytest.fixture
def conversation(data: Path, keylog: Path) -> Conversation:
    return Conversation(data, keylog, 40000)


def rows(conversation: Conversation, keylog: Path) -> list[DecryptedRequest]:
    path = write(keylog.parent / "one.pcap", conversation.talk.packets)
    found = decrypted.requests([str(path)], str(keylog))
    assert found.note is None
    for row in found.rows:
        assert (row.http, row.stream, row.session_id) == ("1.1", -1, 0)
    return found.rows


@pytest.mark.tshark
def test_requests_are_joined_by_address_and_frame(data: Path, keylog: Path, tshark: str) -> None:
    """Stream numbers of tshark run ahead of ours; and one 5-tuple is used by two connections, one after the other."""
    one, two = (Conversation(data, keylog, 40000, at) for at in (S, 20 * S))
    other = Conversation(data, keylog, 40001, 2 * S)
    for made, status in ((one, b"200 One"), (other, b"201 Other"), (two, b"202 Two")):
        made.up(request())
        made.down(refusal(status=status))
        made.talk.close()
    packets = mixed([unreachable(port) for port in (1, 2, 3)], one.talk.packets, two.talk.packets, other.talk.packets)
    path = write(keylog.parent / "quoted.pcap", packets, RAW)
    numbers = subprocess.run([tshark, "-r", str(path), "-T", "fields", "-e", "tcp.stream"], capture_output=True, text=True, check=True)
    assert max(int(x) for x in numbers.stdout.split()) == 5, "tshark numbers what is quoted"
    found = decrypted.requests([str(path)], str(keylog))
    assert found.note is None
    assert [(r.session_id, r.status) for r in found.rows] == [(0, 200), (1, 201), (2, 202)]


@pytest.mark.tshark
def test_the_verdict_does_not_hang_on_stream_numbers(captures: Path, tmp_path: Path) -> None:
    """Three ICMP errors before the capture made of a cause that is supported one that is undecided."""
    for file in (captures / "http2").iterdir():
        shutil.copy(file, tmp_path)
    keylog = str(captures / "http2" / "vm-keylog.txt")
    before = netlens.analyze(captures / "http2", keylog=keylog).to_dict()
    image = bytearray(gzip.decompress((tmp_path / "host.pcap.gz").read_bytes()))
    order = "<" if image[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    assert struct.unpack(order + "I", image[20:24])[0] == SLL2
    time = image[24:32]
    first = b"".join(
        time + struct.pack(order + "II", len(frame), len(frame)) + frame for frame in (_sll2(unreachable(port)) for port in (1, 2, 3))
    )
    (tmp_path / "host.pcap.gz").write_bytes(gzip.compress(bytes(image[:24]) + first + bytes(image[24:])))
    after = netlens.analyze(tmp_path, keylog=keylog).to_dict()
    assert after["cause"] == before["cause"] is not None
    assert [h["verdict"] for h in after["hypotheses"]] == [h["verdict"] for h in before["hypotheses"]]


# -- HTTP/1.1 --


@pytest.mark.tshark
def test_a_refusal(conversation: Conversation, keylog: Path) -> None:
    asked = conversation.up(request())
    answered = conversation.down(refusal())
    (row,) = rows(conversation, keylog)
    assert (row.status, row.code, row.complete) == (429, "1302", True)
    assert (row.request_end_ns, row.frame) == (conversation.ns(asked), asked + 1)
    assert (row.response_ns, row.end_ns) == (conversation.ns(answered), conversation.ns(answered))
    assert (row.response_frame, row.end_frame) == (answered + 1, answered + 1)
    assert "secret" not in repr(row)


@pytest.mark.tshark
def test_streams_on_one_connection(conversation: Conversation, keylog: Path) -> None:
    head, rest = request()[:200], request()[200:]
    conversation.up(head)
    asked = conversation.up(rest)
    first = conversation.down(STREAM + chunk(PIECE))
    conversation.down(chunk(PIECE))
    last = conversation.down(LAST)
    conversation.up(request(20_000))
    conversation.down(STREAM + chunk(PIECE))
    conversation.down(chunk(b"data: " + BODY + b"\n\n") + LAST)
    conversation.up(request())
    conversation.down(STREAM + chunk(PIECE) + LAST)
    one, two, three = rows(conversation, keylog)
    assert (one.status, one.code, one.complete) == (200, None, True)
    assert (one.request_end_ns, one.response_ns, one.end_ns) == tuple(conversation.ns(each) for each in (asked, first, last))
    assert (two.status, two.code, two.complete) == (200, "1302", True)
    assert (three.status, three.code, three.complete) == (200, None, True)


@pytest.mark.tshark
def test_heads_and_bodies_in_pieces(conversation: Conversation, keylog: Path) -> None:
    """As servers write them that know nothing of packets."""
    asked = request(300)
    for at in range(60, len(asked), 60):
        conversation.up(asked[at - 60 : at])
    sent = conversation.up(asked[len(asked) // 60 * 60 :])
    answer = refusal()
    first = conversation.down(answer[:40])
    conversation.down(answer[40:-20])
    conversation.down(answer[-20:])
    conversation.up(request())
    conversation.down(refusal())
    one, two = rows(conversation, keylog)
    assert (one.status, one.request_end_ns, one.response_ns) == (429, conversation.ns(sent), conversation.ns(first))
    assert (two.status, two.code, two.complete) == (429, "1302", True)


@pytest.mark.tshark
@pytest.mark.parametrize("how", ["FA", "RA", ""])
def test_an_answer_that_was_broken_off(conversation: Conversation, keylog: Path, how: str) -> None:
    conversation.up(request())
    first = conversation.down(STREAM + chunk(PIECE))
    conversation.down(chunk(PIECE))
    if how:
        conversation.talk.up(how)
    (row,) = rows(conversation, keylog)
    assert (row.status, row.code, row.complete, row.end_ns) == (200, None, False, None)
    assert row.response_frame == first + 1


@pytest.mark.tshark
def test_no_answer_other_errors_and_100_continue(conversation: Conversation, keylog: Path) -> None:
    conversation.up(request())
    conversation.down(b"HTTP/1.1 100 Continue\r\n\r\n")
    conversation.down(refusal(b'{"error" : {"message": "x", "code" : 500}}', b"500 Internal Server Error"))
    conversation.up(request())
    refused, unanswered = rows(conversation, keylog)
    assert (refused.status, refused.code, refused.complete) == (500, "500", True)
    assert (unanswered.status, unanswered.response_ns, unanswered.end_ns, unanswered.complete) == (None, None, None, False)


@pytest.mark.tshark
def test_programs_with_a_key_log_each(data: Path, keylog: Path) -> None:
    others = keylog.with_name("others.txt")
    one, two = Conversation(data, keylog, 40000), Conversation(data, others, 40001, at=500)
    for each in (one, two):
        each.up(request())
        each.down(refusal())
    path = str(write(keylog.parent / "two.pcap", mixed(one.talk.packets, two.talk.packets)))
    alone = [decrypted.requests([path], str(keys)).rows for keys in (keylog, others)]
    assert [len(rows) for rows in alone] == [1, 1]
    empty = keylog.with_name("empty.txt")
    empty.write_text("")
    rows, notes = decrypted.of_all([path], [str(others), str(keylog), str(keylog), str(empty)])
    assert rows == alone[0] + alone[1]
    assert len(notes) == 1
    assert "empty.txt: holds no TLS keys" in notes[0]


@pytest.mark.tshark
def test_several_connections_and_files(data: Path, keylog: Path) -> None:
    """Rotated in the middle of one connection; frames and sessions are numbered on."""
    one, two = Conversation(data, keylog, 40000), Conversation(data, keylog, 40001, at=500)
    for conversation in (one, two):
        conversation.up(request())
        conversation.down(refusal())
        conversation.talk.wait(2 * S)
        conversation.up(request())
        conversation.down(STREAM + chunk(PIECE))
        conversation.down(LAST)
    packets = mixed(one.talk.packets, two.talk.packets)
    whole = decrypted.requests([str(write(keylog.parent / "whole.pcap", packets))], str(keylog))
    assert [(r.session_id, r.status) for r in whole.rows] == [(0, 429), (1, 429), (0, 200), (1, 200)]
    cut = len(packets) // 2
    parts = [write(keylog.parent / "a.pcap", packets[:cut]), keylog.parent / "b.pcap.gz"]
    parts[1].write_bytes(gzip.compress(write(keylog.parent / "b.pcap", packets[cut:]).read_bytes()))
    assert decrypted.requests([str(p) for p in parts], str(keylog)) == whole


# -- HTTP/2: bundled recordings --


def requests(captures: Path, name: str, side: str) -> tuple[Decrypted, Truth]:
    recording = captures / name
    return decrypted.requests([str(recording / f"{side}.pcap.gz")], str(recording / "vm-keylog.txt")), Truth(recording)


@pytest.mark.tshark
@pytest.mark.parametrize(("name", "side"), [("http2", "host"), ("http2-excluded", "host"), ("http2-excluded", "vm")])
def test_http2(captures: Path, name: str, side: str) -> None:
    """Every stream as the provider wrote it down: which was refused, when it had it, how it ended."""
    found, truth = requests(captures, name, side)
    assert found.note is None
    by_session: dict[int, list[DecryptedRequest]] = defaultdict(list)
    for row in found.rows:
        assert row.http == "2"
        by_session[row.session_id].append(row)
    if (name, side) == ("http2-excluded", "host"):
        assert len(by_session) == 2  # before and after translation
    true = truth.requests
    for rows in by_session.values():
        rows.sort(key=lambda row: row.stream)
        assert len(rows) == len(true)
        for row, event in zip(rows, true, strict=True):
            done: Any = truth.done[event["request"]]
            assert (row.status, row.code) == ((429, "1302") if event["refused"] else (200, None))
            assert row.complete == (done["how"] == "complete")
            assert row.start_ns <= row.request_end_ns <= row.response_ns <= row.end_ns  # type: ignore[operator]
            shown = truth.shown(side, event["ns"])
            assert row.request_end_ns <= shown + 5 * MS  # type: ignore[operator]
            assert row.response_ns >= shown - 5 * MS  # type: ignore[operator]
            assert abs(row.end_ns - truth.shown(side, done["ns"])) < 50 * MS  # type: ignore[operator]
    assert sum(bool(e["refused"]) for e in true) >= 5


@pytest.mark.tshark
def test_halves_of_a_redirected_connection_are_told(captures: Path) -> None:
    found, _ = requests(captures, "http2", "vm")
    assert found.rows == []
    assert found.note is not None
    assert "two halves" in found.note
    assert "host's capture" in found.note


@pytest.mark.tshark
def test_keys_of_another_run_are_told(captures: Path) -> None:
    found = decrypted.requests([str(captures / "http2" / "host.pcap.gz")], str(captures / "http2-excluded" / "vm-keylog.txt"))
    assert found.rows == []
    assert found.note is not None
    assert "holds none of the keys" in found.note


@pytest.mark.tshark
def test_a_capture_that_is_cut_short(captures: Path, tmp_path: Path) -> None:
    whole = gzip.decompress((captures / "http2" / "host.pcap.gz").read_bytes())
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[:200_005])
    found = decrypted.requests([str(path)], str(captures / "http2" / "vm-keylog.txt"))
    assert found.rows
    assert found.note is not None
    assert "cut short" in found.note


@pytest.mark.tshark
def test_within_a_running_event_loop(captures: Path) -> None:
    async def notebook() -> Decrypted:
        return requests(captures, "http2", "host")[0]

    assert asyncio.run(notebook()).rows


@pytest.mark.tshark
def test_another_file_is_no_capture(tmp_path: Path, captures: Path) -> None:
    path = tmp_path / "text.pcap"
    path.write_text("hello")
    with pytest.raises(NetlensError, match="looks like text"):
        decrypted.requests([str(path)], str(captures / "http2" / "vm-keylog.txt"))


# -- without tshark --


def test_no_tshark(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("sys.platform", "linux")  # pyshark looks into the Applications folder of macOS, too
    with pytest.raises(NetlensError, match="tshark is not installed"):
        requests(captures, "http2", "host")


def test_no_keys(captures: Path, tmp_path: Path) -> None:
    empty = tmp_path / "keys.txt"
    for text in ("", "# TLS secrets log file\n", "CLIENT_RANDOM abc def\n", "x" * 100_000):
        empty.write_text(text)
        found = decrypted.requests([str(captures / "http2" / "host.pcap.gz")], str(empty))
        assert found.rows == []
        assert found.note is not None
        assert "holds no TLS keys" in found.note


def test_what_cannot_be_read(captures: Path, tmp_path: Path) -> None:
    keys, capture = str(captures / "http2" / "vm-keylog.txt"), str(captures / "http2" / "host.pcap.gz")
    for paths, keylog in (
        ([capture], str(tmp_path / "missing")),
        ([str(tmp_path / "missing")], keys),
        ([str(tmp_path)], keys),
        (["-"], keys),
        ([], keys),
    ):
        with pytest.raises(CaptureError) as caught:
            decrypted.requests(paths, keylog)
        assert "\n" not in str(caught.value)


def test_joined_files_are_private(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def look(path: str, keylog: str) -> tuple[list[Any], str]:
        seen[path] = stat.S_IMODE(Path(path).stat().st_mode)
        return [], ""

    monkeypatch.setattr(decrypted, "_read", look)
    capture = str(captures / "http2" / "host.pcap.gz")
    decrypted.requests([capture, capture], str(captures / "http2" / "vm-keylog.txt"))
    assert list(seen.values()) == [0o600]
    assert not any(Path(path).exists() for path in seen)
