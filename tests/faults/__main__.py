"""Injects every fault and writes the table: ``python -m tests.faults [--case WORD] [--share 0.2] [--out docs/reliability.md]``."""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.cases import CASES, Case, Seen
from tests.faults.ground import ROOT, write_section

HEAD = """# Reliability

## Faults

What netlens does when things break, as injected by `python -m tests.faults` (root on Linux). Recordings run as real `netlens capture` processes in
network namespaces, with a source of numbered packets, so that each one that is missing is known; the VM is a namespace with a real sshd. The
moment of each fault is random.

*Lost* counts injections after which packets that had reached the file were not in it, packets were missing between others, an output was neither
complete nor as it was before, or processes or temporary files were left behind where none may be. *On the way* is for how long before the fault
packets had not reached netlens yet: the kernel hands them to tcpdump in blocks of up to two seconds, and a tcpdump that dies, or a VM that is
gone, takes its last block with it. netlens cannot hold these.

| fault | injected | lost | on the way, at most | exit status | message | what is there afterwards |
|---|---:|---:|---:|---|---|---|
"""
TAIL = """
Not injected: loss of power. Files are renamed into place but not forced to the disk (fsync), so the last seconds before a power cut may be lost or empty.
"""


def _one(case: Case, seed: int) -> Seen | str:
    try:
        return case.run(random.Random(seed))
    except AssertionError as error:
        return f"{error}"[:300]
    except Exception:  # noqa: BLE001 -- the harness goes on, and says what went wrong
        return traceback.format_exc(limit=-3)


def _message(text: str) -> str:
    """As it stands in the table."""
    text = text.replace("|", "\\|")
    for word in text.split():
        if word.startswith("/var/tmp/"):
            text = text.replace(word, "DIR" + ("" if word[-1].isalnum() else word[-1]))
    return f"`{text}`" if text else ""


def _rows(page: Path) -> dict[str, str]:
    """Rows of the page as it is, by the fault."""
    titles = {case.title for case in CASES}
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    found = {line.removeprefix("| ").partition(" | ")[0]: line for line in lines}
    return {title: line for title, line in found.items() if title in titles}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--case", action="append", default=[], help="only faults whose function's name holds this")
    parser.add_argument("--share", type=float, default=1.0, help="of the number of injections")
    parser.add_argument("--jobs", type=int, default=6, help="at a time: they mostly wait")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("faults are injected as root on Linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # namespaces and folders are removed
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    chosen = [c for c in CASES if not options.case or any(word in c.run.__name__ for word in options.case)]
    rows = _rows(ROOT / options.out) if options.out else {}  # of faults that are not injected now
    broken, began = 0, time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        for case in chosen:
            times = max(1, round(case.times * options.share))
            results = list(pool.map(lambda i, case=case: _one(case, seed + i), range(times)))
            seen = [r for r in results if isinstance(r, Seen)]
            failed = [r for r in results if isinstance(r, str)]
            broken += len(failed)
            for text in failed[:3]:
                print(f"{case.run.__name__}: {text}", file=sys.stderr, flush=True)
            statuses = Counter(s.status for s in seen)
            messages = Counter(s.message for s in seen if s.message)
            tails = [s.tail_ms for s in seen if s.tail_ms is not None]
            row = (
                f"| {case.title} | {times} | {len(failed) or 'nothing'} | {f'{max(tails):.0f} ms' if tails else ''} "
                f"| {', '.join(f'{s} ({n})' if len(statuses) > 1 else str(s) for s, n in statuses.most_common())} "
                f"| {_message(messages.most_common(1)[0][0]) if messages else ''} | {case.stays} |"
            )
            print(row, flush=True)
            rows[case.title] = row
    told = subprocess.run(["tcpdump", "--version"], capture_output=True, text=True, check=False)
    version = [line for line in (told.stdout + told.stderr).split("\n") if line][:2]
    notes = (
        f"\n{sum(int(row.split(' | ')[1]) for row in rows.values()):,} injections on {platform.system()} {platform.release()}, "
        f"{', '.join(version)}. A negative status is the signal that ended the process; 130 and 143 are those of a program that\n"
        "was interrupted.\n"
    )
    if options.out:
        table = [rows[case.title] for case in CASES if case.title in rows]
        write_section(ROOT / options.out, "faults", HEAD + "\n".join(table) + "\n" + notes + TAIL)
    print(f"{notes}seed {seed}, {(time.monotonic() - began) / 60:.0f} minutes")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
