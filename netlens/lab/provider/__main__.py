"""``python -m netlens.lab.provider CONFIG.json``: says "ready" when it listens; "drain SECONDS" on standard input is answered when idle."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from netlens.lab.journal import Journal, be_prompt
from netlens.lab.provider import dns
from netlens.lab.provider.exchange import Settings
from netlens.lab.provider.server import Provider


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    be_prompt()
    journal = Journal(Path(config["journal"]))
    settings = Settings.of(config["provider"])
    provider = Provider(settings, journal, Path(config["certificate"]), Path(config["key"]))
    converse = partial(dns.converse, names=settings.names, journal=journal)
    for ip in config["ips"]:
        provider.listen(ip, 443)
        provider.listen(ip, 53, plain=converse)
    provider.listen(config["other_ip"], 443, counted=False)
    provider.listen(config["nameserver_ip"], 53, counted=False, plain=converse)
    for ip in (config["nameserver_ip"], *config["ips"]):
        dns.serve_udp(ip, settings.names, journal)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        word, _, seconds = line.partition(" ")
        if word.strip() != "drain":
            break
        sys.stdout.write("idle\n" if provider.wait_idle(float(seconds)) else "busy\n")
        sys.stdout.flush()
    journal.close()


if __name__ == "__main__":
    main()
