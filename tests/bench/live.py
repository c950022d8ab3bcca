"""Watch live traffic on one core: ``sudo python -m tests.bench.live CAPTURE [--rate 100000] [--seconds 12]``.

tcpreplay sends the packets of CAPTURE (:mod:`tests.bench.generate`) at that rate, from one network namespace into another one, both of which this makes and
removes. There ``netlens watch --json`` and the tcpdump that it starts run on one core, the sender on another one. Told are what was seen and what the kernel
dropped, the processor time of netlens with tcpdump, and the longest time between two snapshots. Exit 1 if packets were dropped, or a snapshot came more than
half a second late.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from netlens.threads import cores

NAMESPACES = ("netlens-send", "netlens-see")
LATE_S = 1.5
BEFORE_S, AFTER_S = 4, 4  #: until tcpdump listens, and until the last snapshot


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _connect() -> None:
    send, see = NAMESPACES
    for name in NAMESPACES:
        _ip("netns", "add", name)
    _ip("link", "add", "send", "netns", send, "type", "veth", "peer", "name", "see", "netns", see)
    for name, device in ((send, "send"), (see, "see")):
        _ip("-n", name, "link", "set", device, "mtu", "9000", "up")


def watch(capture: Path, rate: int, seconds: int) -> dict[str, float]:
    """Packets seen and dropped, processor seconds, and the longest time between two snapshots while packets came."""
    send, see = NAMESPACES
    try:
        _connect()
        watching = [sys.executable, "-m", "netlens", "watch", "--side", "host", "-i", "see", "--everything", "--json"]
        watching += ["--seconds", str(BEFORE_S + seconds + AFTER_S)]
        program = subprocess.Popen(["ip", "netns", "exec", see, "taskset", "-c", "1", *watching], stdout=subprocess.PIPE, text=True)
        time.sleep(BEFORE_S)
        sending = [
            "tcpreplay",
            "-q",
            "-i",
            "send",
            "--pps",
            str(rate),
            "--limit",
            str(rate * seconds),
            "-l",
            "0",
            "--preload-pcap",
            str(capture),
        ]
        sender = subprocess.Popen(["ip", "netns", "exec", send, "taskset", "-c", "0", *sending], stdout=subprocess.DEVNULL)
        out, _ = program.communicate()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)  # the sender is not waited for yet
        sender.wait()
    finally:
        for name in NAMESPACES:
            subprocess.run(["ip", "netns", "del", name], check=False)
    shots = [json.loads(line) for line in out.splitlines()]
    of = [(shot["time_ns"], shot["captures"][0]) for shot in shots]
    coming = [(b - a) / 1e9 for (a, one), (b, other) in pairwise(of) if rate // 10 < other["packets"] - one["packets"]]
    last = of[-1][1]
    return {
        "packets": last["packets"],
        "dropped": last["dropped"],
        "processor_s": spent.ru_utime + spent.ru_stime,
        "longest_s": max(coming, default=0.0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--rate", type=int, default=100_000, help="packets a second (default: 100,000)")
    parser.add_argument("--seconds", type=int, default=12)
    options = parser.parse_args()
    if os.geteuid() != 0 or cores() < 2:
        parser.error("needs root, for network namespaces, and two cores")
    found = watch(options.capture.absolute(), options.rate, options.seconds)
    print(
        f"{found['packets']:,} packets seen, {found['dropped']:,} dropped; processor time {found['processor_s']:.1f} s in {options.seconds} s "
        f"({found['processor_s'] / options.seconds:.0%} of a core, its start included); {found['longest_s']:.2f} s between two snapshots at most"
    )
    return int(found["dropped"] > 0 or found["longest_s"] > LATE_S)


if __name__ == "__main__":
    sys.exit(main())
