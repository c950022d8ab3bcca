"""Samples of sockets. The ss lines are real (iproute2 6.15, addresses replaced); the lsof fields follow lsof(8), "OUTPUT FOR OTHER PROGRAMS"."""

from __future__ import annotations

import json
import socket
import threading

from netlens.capture import command, sockets
from netlens.capture.processes import LineProcess
from tests.conftest import need_program

SS = """\
%%netlens 1795569628.138647087
LISTEN    0 4096      127.0.0.1:12300        0.0.0.0:*    users:(("sshuttle",pid=311,fd=4))
ESTAB     0 0      192.168.64.5:40001    203.0.113.9:443  users:(("node",pid=500,fd=21))
ESTAB     0 0       203.0.113.9:443     192.168.64.5:40001 users:(("sshuttle",pid=311,fd=9))
CLOSE-WAIT 1 0     192.168.64.5:40002    203.0.113.9:443  users:(("node",pid=500,fd=22))
TIME-WAIT 0 0      192.168.64.5:40003    203.0.113.9:443
ESTAB     0 0      192.168.64.5:40004   198.51.100.7:443  users:(("curl",pid=600,fd=5))
ESTAB     0 0      192.168.64.5:40005   192.168.64.1:22   users:(("ssh",pid=312,fd=3))
ESTAB     0 0      192.168.64.5:22      192.168.64.1:51234 users:(("sshd",pid=400,fd=3))
%%netlens end
"""


def _rows(text: str, **options: object) -> tuple[sockets.Sampler, list[dict[str, object]]]:
    rows: list[str] = []
    sampler = sockets.Sampler("vm", rows.append, **options)  # type: ignore[arg-type]
    for line in text.splitlines():
        sampler.line(line)
    return sampler, [json.loads(r) for r in rows]


def test_what_is_kept() -> None:
    own = command.SshConnection("192.168.64.1", 51234, "192.168.64.5", 22)
    sampler, rows = _rows(SS, addresses=["203.0.113.9"], own=[own])
    assert [(r["local"], r["remote"], r["state"], r["process"]) for r in rows] == [
        ("192.168.64.5:40001", "203.0.113.9:443", "ESTABLISHED", "node"),
        ("203.0.113.9:443", "192.168.64.5:40001", "ESTABLISHED", "sshuttle"),
        ("192.168.64.5:40002", "203.0.113.9:443", "CLOSE_WAIT", "node"),
        ("192.168.64.5:40003", "203.0.113.9:443", "TIME_WAIT", None),
        ("192.168.64.5:40005", "192.168.64.1:22", "ESTABLISHED", "ssh"),
    ]
    assert rows[0] == {
        "side": "vm",
        "time_ns": 1795569628138647087,
        "local": "192.168.64.5:40001",
        "remote": "203.0.113.9:443",
        "state": "ESTABLISHED",
        "process": "node",
        "pid": 500,
    }
    assert sampler.open_now == 2  # the half that sshuttle holds and TIME_WAIT are none


def test_without_an_api_port_443_is_the_target() -> None:
    sampler, rows = _rows(SS)
    assert sampler.open_now == 3
    assert "198.51.100.7:443" in [r["remote"] for r in rows]


def test_everything() -> None:
    assert len(_rows(SS, addresses=["203.0.113.9"], everything=True)[1]) == 7


def test_lsof() -> None:
    connection = "f21\nPTCP\nn[2001:db8::5]:40001->[2001:db8::9]:443\nTST=ESTABLISHED"
    text = f"%%netlens 1795569628.N\np500\ncnode\n{connection}\nf22\nPTCP\nn*:22\nTST=LISTEN\n%%netlens end"
    sampler, rows = _rows(text, addresses=["2001:db8::9"])
    assert sampler.open_now == 1
    assert [(r["local"], r["remote"], r["pid"], r["time_ns"]) for r in rows] == [
        ("[2001:db8::5]:40001", "[2001:db8::9]:443", 500, 1795569628 * 10**9)
    ]


def test_a_cut_sample_is_left_out() -> None:
    sampler, rows = _rows(SS.replace("%%netlens end\n", ""), addresses=["203.0.113.9"])
    assert not rows
    assert sampler.open_now is None


def test_the_script_sees_a_real_connection() -> None:
    import shutil
    import sys

    if not shutil.which("ss"):
        need_program("lsof" if sys.platform == "darwin" else "ss", "lists sockets")
    seen = threading.Event()
    rows: list[dict[str, object]] = []
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        wanted = f"127.0.0.1:{client.getsockname()[1]}"

        def take(line: str) -> None:
            row = json.loads(line)
            if row["local"] == wanted:
                rows.append(row)
                seen.set()

        sampler = sockets.Sampler("host", take, ["127.0.0.1"])
        process = LineProcess(["sh", "-c", sockets.SCRIPT], sampler.line)
        try:
            assert seen.wait(20)
        finally:
            process.stop()
        assert process._process.poll() is not None
    assert rows[0]["state"] == "ESTABLISHED"
    assert set(rows[0]) == {"side", "time_ns", "local", "remote", "state", "process", "pid"}
