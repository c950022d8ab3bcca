"""The proxies of fixes: their configurations are taken by the real programs, and requests go through them as promised."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from netlens.lenses.refused import programs, proxies
from netlens.lenses.refused.fixes import Context
from tests.conftest import need_program


def written(command: str, folder: Path) -> str:
    """Run the part of a command that writes the configuration."""
    subprocess.run(["sh", "-c", command.partition(" && ")[0]], cwd=folder, check=True)
    [file] = folder.glob("*.c*f*")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("shared", "where"), [(False, "bind 127.0.0.1:8900"), (True, "bind :8900")])
def test_haproxy_takes_the_queue(shared: bool, where: str, tmp_path: Path) -> None:
    need_program("haproxy", "the queue")
    text = written(proxies.queue("localhost", 443, 2, shared=shared), tmp_path)
    assert "maxconn 2" in text
    assert f"{where}\n" in text
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    done = subprocess.run(["haproxy", "-c", "-f", "queue.cfg"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("shared", "where"), [(False, "listen 127.0.0.1:8900;"), (True, "listen 8900;")])
def test_nginx_takes_the_pacer(shared: bool, where: str, tmp_path: Path) -> None:
    need_program("nginx", "the pacer")
    if not any(Path(file).exists() for file in proxies.CA_FILES):
        pytest.skip("no certificates of authorities (Debian: ca-certificates)")
    text = written(proxies.pace("localhost", 443, 14, shared=shared), tmp_path)
    assert where in text
    assert "proxy_ssl_verify on" in text
    with socket.create_server(("127.0.0.1", 0)) as free:
        (tmp_path / "pace.conf").write_text(text.replace(str(proxies.PORT), str(free.getsockname()[1])), encoding="utf-8")
    assert "rate=14r/m" in text
    argv = ["nginx", "-t", "-p", str(tmp_path), "-c", "pace.conf", "-g", "pid pace.pid; error_log stderr;"]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "syntax is ok" in done.stderr, done.stderr


def test_the_program_is_led_to_the_proxy() -> None:
    command = programs.led("opencode", "api.z.ai", "192.168.64.1:8900")[0]
    name, _, content = shlex.split(command)[0].partition("=")
    assert name == "OPENCODE_CONFIG_CONTENT"
    options = json.loads(content)["provider"]["zai-coding-plan"]["options"]
    assert options == {"baseURL": "http://192.168.64.1:8900/api/coding/paas/v4"}
    command, caveats = programs.led("opencode", "api.example", "127.0.0.1:8900")
    assert command is not None
    assert "PROVIDER" in command
    assert caveats == (programs.PROVIDER_CAVEAT,)


@pytest.mark.parametrize(
    ("argv", "host"),
    [
        (("sshuttle", "--dns", "-r", "dev@192.168.64.1", "0/0"), "192.168.64.1"),
        (("sshuttle", "--remote", "192.168.64.1:2222", "0/0"), "192.168.64.1"),
        (("sshuttle", "-r", "dev@tower.example", "0/0"), "HOST"),
        (("sshuttle", "-r", "$(id)@1.2.3.4; id", "0/0"), "HOST"),
        (None, "HOST"),
    ],
)
def test_the_host_as_the_vm_reaches_it(argv: tuple[str, ...] | None, host: str) -> None:
    assert proxies.host_address(argv) == host
    program, caveats = proxies.leads(Context(sshuttle_argv=argv, program="opencode"), ["api.z.ai"], shared=True)
    assert re.search(r"http://([\w.]+):8900", program)[1] == host  # type: ignore[index]
    assert ("HOST is what `ip route show default` names on the VM" in caveats) is (host == "HOST")
    told = Context(sshuttle_argv=argv, host_address="fd00::1", program="opencode")
    assert ("[fd00::1]:8900" in proxies.leads(told, ["api.z.ai"], shared=True)[0]) is (host == "HOST")
    assert proxies.leads(Context(program="opencode"), ["api.example"], shared=False)[1][0] == programs.PROVIDER_CAVEAT
