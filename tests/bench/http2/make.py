"""Recordings of HTTP/2 inside TLS between real programs, with what was asked by the server's own log.

Two network namespaces joined by a cable; a server and, one after the other or side by side, runs of one client; tcpdump on the client's side. What a
recording holds is drawn from its seed: how many workers each run has, what they ask and how long they wait between requests, what the API admits.

    python -m tests.bench.http2.make FOLDER SEED COUNT
    python -m tests.bench.http2.score FOLDER ...
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from netlens.lab.provider.certificate import write as certified
from netlens.lab.topology import PROVIDER, VM, LabError, Topology, await_listening, need
from tests.bench.peers import cache_folder, install

HERE = Path(__file__).parent
SERVER, CLIENT, PORT, BACKEND = "203.0.113.10", "203.0.113.1", 8443, 8080
URL = f"https://{SERVER}:{PORT}/v1/chat/completions"
NEEDS = ("ip", "ss", "tcpdump", "curl", "nghttp", "h2load", "node", "go", "nginx", "haproxy", "caddy")
CLIENTS = ("curl", "nghttp", "h2load", "go", "node", "httpx", "reqwest")
RELAYS = ("nginx", "haproxy", "caddy")  #: hand requests on to hypercorn
SERVERS = (*RELAYS, "go", "hypercorn", "granian")
FIELDS = ("content-type: application/json", "authorization: Bearer sk-0123456789abcdef0123456789abcdef")
MOST_WORKERS = 4
KEYS = "keys.log"  #: in a recording's folder, of every client but reqwest, which writes none: for looking at what is inside (netlens does not read it here)


class Cable(Topology):
    """A client's namespace and a server's, joined directly."""

    def _build(self) -> None:
        for side in (VM, PROVIDER):
            self.add(side)
        self.link((VM, "eth0", "02:00:00:40:00:02"), (PROVIDER, "eth0", "02:00:00:71:00:10"))
        for side, address in ((VM, CLIENT), (PROVIDER, SERVER)):
            self.ip(side, f"address add {address}/24 dev eth0", "link set eth0 up")


def tools() -> Path:
    """Where the programs of this folder lie, built, and the Python packages that they need."""
    folder = cache_folder() / "http2"
    wanted = (HERE / "packages.txt").read_text()
    installed = folder / "packages.txt"
    if not installed.exists() or installed.read_text() != wanted:
        if not install(folder / "venv", "-r", HERE / "packages.txt"):
            raise LabError(f"packages of {HERE / 'packages.txt'} do not install here")
        installed.write_text(wanted)
    for name in ("client", "server"):
        source, built = HERE / f"{name}.go", folder / name
        if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["go", "build", "-o", built, source], check=True, env={**os.environ, "GO111MODULE": "off"})
    return folder


def drawn(seed: int, client: str) -> list[dict[str, object]]:
    """The runs of a recording: of each, workers and requests in the form that ``client.*`` read, and when it begins (seconds)."""
    draw, runs, begin = random.Random(seed), [], 0.0
    words = ["model", "please", "def f(x):", "return", "the", "error", "in", "line", "42", "\\n", "file", "netlens/api.py"]
    for _ in range(draw.randint(2, 4)):
        workers = draw.randint(1, MOST_WORKERS)
        most = draw.choice([400, 3_000, 20_000, 90_000])
        streams, grows = draw.random() < 0.7, draw.random() < 0.5
        history, requests = "", []
        for _ in range(draw.randint(1, 12) if draw.random() < 0.3 else draw.randint(4, 30)):
            said = " ".join(draw.choice(words) for _ in range(draw.randint(5, max(6, most // 6))))
            history = (history + said)[-200_000:] if grows else said
            asked = {"model": "glm-4.6", "stream": streams or draw.random() < 0.2, "max_tokens": draw.randint(4, 60)}
            body = json.dumps({**asked, "messages": [{"role": "user", "content": history}]})
            requests.append({"body": body, "wait_ms": draw.choice([0, 0, draw.expovariate(1 / 80), draw.expovariate(1 / 600)])})
        if client in ("nghttp", "h2load"):  # ask one thing, as often as they are told
            requests = requests[:1] * (workers if client == "nghttp" else len(requests))
        runs.append({"url": URL, "workers": workers, "requests": requests, "begin_s": begin})
        begin += draw.choice([0.0, draw.uniform(0, 4)])
    return runs


def _curl(run: dict, folder: Path) -> list[str]:
    """One after the other through one connection, or all of several at once: curl does not wait between requests."""
    lines = []
    for k, each in enumerate(run["requests"]):
        (folder / f"body{k}").write_text(each["body"])
        lines += ["next"] if k else []
        lines += [
            f'url = "{URL}"',
            f'data = "@{folder}/body{k}"',
            "insecure",
            "silent",
            "http2",
            f'output = "{os.devnull}"',
            *(f'header = "{field}"' for field in FIELDS),
        ]
    (folder / "requests").write_text("\n".join(lines) + "\n")
    parallel = ["--parallel", "--parallel-max", str(run["workers"])] if run["workers"] > 1 else []
    return ["curl", *parallel, "-K", str(folder / "requests")]


def _command(client: str, run: dict, folder: Path, built: Path) -> list[str]:
    folder.mkdir()
    if client == "curl":
        return _curl(run, folder)
    if client in ("nghttp", "h2load"):
        (folder / "body").write_text(run["requests"][0]["body"])
        fields = [word for field in FIELDS for word in ("-H", field)]
        if client == "nghttp":
            return ["nghttp", "-n", "-m", str(len(run["requests"])), "-d", str(folder / "body"), *fields, URL]
        return ["h2load", "-n", str(len(run["requests"])), "-c", "1", "-m", str(run["workers"]), "-d", str(folder / "body"), *fields, URL]
    if client == "go":
        return [str(built / "client")]
    if client == "node":
        return ["node", f"--tls-keylog={folder.parent / KEYS}", str(HERE / "client.mjs")]
    return [str(built / "venv/bin/python"), str(HERE / "client.py"), client]


def _serve(net: Cable, server: str, folder: Path, built: Path, env: dict[str, str]) -> None:
    """Start a server, and behind one that only hands requests on the application; returns when they listen."""
    cert, key, bin_ = folder / "server.pem", folder / "server.key", built / "venv/bin"

    def start(port: int, *argv: str) -> None:
        with (folder / "server.txt").open("a") as output:
            child = net.start(PROVIDER, argv, env=env, cwd=HERE, stdout=output, stderr=output)
        await_listening(net, PROVIDER, port, child, argv[0])

    if server in RELAYS:
        start(BACKEND, str(bin_ / "hypercorn"), "--bind", f"127.0.0.1:{BACKEND}", "app:app")
    if server == "go":
        start(PORT, str(built / "server"), f"{SERVER}:{PORT}", str(cert), str(key))
    elif server == "hypercorn":
        start(PORT, str(bin_ / "hypercorn"), "--bind", f"{SERVER}:{PORT}", "--certfile", str(cert), "--keyfile", str(key), "app:app")
    elif server == "granian":
        tls = ["--ssl-certificate", str(cert), "--ssl-keyfile", str(key), "--http", "2"]
        start(PORT, str(bin_ / "granian"), "--interface", "asgi", "--host", SERVER, "--port", str(PORT), *tls, "app:app")
    elif server == "nginx":
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.txt; worker_processes 1;\n"
            f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/b;\n"
            f"server {{ listen {SERVER}:{PORT} ssl; http2 on; ssl_certificate {cert}; ssl_certificate_key {key}; client_max_body_size 9m;\n"
            f"location / {{ proxy_pass http://127.0.0.1:{BACKEND}; proxy_http_version 1.1; proxy_buffering {'off' if int(env['API_SEED']) % 2 else 'on'};\n"
            f"proxy_set_header X-Client-Port $remote_port; proxy_temp_path {folder}/p; }} }} }}\n"
        )
        start(PORT, "nginx", "-c", str(folder / "nginx.conf"))
    elif server == "haproxy":
        both = folder / "both.pem"
        both.write_text(cert.read_text() + key.read_text())
        (folder / "haproxy.cfg").write_text(
            "global\n maxconn 500\ndefaults\n mode http\n timeout connect 9s\n timeout client 99s\n timeout server 99s\n"
            f"frontend f\n bind {SERVER}:{PORT} ssl crt {both} alpn h2,http/1.1\n http-request set-header X-Client-Port %[src_port]\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{BACKEND}\n"
        )
        start(PORT, "haproxy", "-f", str(folder / "haproxy.cfg"))
    else:
        (folder / "Caddyfile").write_text(
            f"{{\n admin off\n auto_https off\n storage file_system {folder}/caddy\n default_sni {SERVER}\n}}\n"
            f"https://:{PORT} {{\n bind {SERVER}\n tls {cert} {key}\n"
            f" reverse_proxy 127.0.0.1:{BACKEND} {{\n  header_up X-Client-Port {{http.request.remote.port}}\n }}\n}}\n"
        )
        start(PORT, "caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"))


def record(folder: Path, client: str, server: str, seed: int, built: Path) -> None:
    """Make one recording: ``vm.pcap`` and ``truth.jsonl`` in its folder, and what was run."""
    folder.mkdir(parents=True)
    draw = random.Random(seed + 1)
    limit = draw.choice([1, 2, 3, 1000, 1000])
    env = {**os.environ, "API_LOG": str(folder / "truth.jsonl"), "API_LIMIT": str(limit), "API_SEED": str(seed)}
    certified(folder, [SERVER])
    runs = drawn(seed, client)
    with Cable() as net:
        _serve(net, server, folder, built, env)
        dump = net.start(VM, ["tcpdump", "-i", "eth0", "-n", "-U", "-Z", "root", "-w", str(folder / "vm.pcap"), "tcp"])
        time.sleep(1)
        began, children = time.monotonic(), []
        for k, run in enumerate(runs):
            time.sleep(max(0.0, run["begin_s"] - (time.monotonic() - began)))
            command = _command(client, run, folder / f"run{k}", built)
            told, errors = (folder / f"run{k}" / name for name in ("spec.json", "errors.txt"))
            told.write_text(json.dumps(run))
            with told.open() as asked, errors.open("w") as said:
                children.append(
                    net.start(
                        VM, command, env={**os.environ, "HOME": str(folder), "SSLKEYLOGFILE": str(folder / KEYS)}, stdin=asked, stderr=said
                    )
                )
        for child in children:
            child.wait(timeout=240)
        time.sleep(1.5)
        dump.terminate()
        dump.wait()
    (folder / "what.json").write_text(
        json.dumps({"client": client, "server": server, "seed": seed, "limit": limit, "workers": [run["workers"] for run in runs]}) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.http2.make", description="Record clients with servers in turn.")
    parser.add_argument("folder", type=Path, help="where recordings go; those that are there are kept")
    parser.add_argument("seed", type=int, help="of the first recording; each has the next")
    parser.add_argument("count", type=int, help="recordings")
    parser.add_argument("--every", type=int, default=1, help="of several processes side by side, each makes every so-manyth")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    given = parser.parse_args()
    try:
        need(NEEDS)
        built = tools()
        for k in range(given.first, given.count, given.every):
            client, server = CLIENTS[k % len(CLIENTS)], SERVERS[k % len(SERVERS)]  # all pairs in turn, as 7 and 6 have no common divisor
            folder = given.folder.resolve() / f"{k:03}-{client}-{server}"
            if not (folder / "what.json").exists():
                print(folder.name, flush=True)
                shutil.rmtree(folder, ignore_errors=True)  # one that was broken off
                record(folder, client, server, given.seed + k, built)
    except LabError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
