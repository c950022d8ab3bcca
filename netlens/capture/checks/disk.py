"""Room for a recording.

Claim: the folder can be written to, and its disk has 2 GB free.
Fix: another folder, or a rotation that keeps the latest files only.
"""

from __future__ import annotations

import os
import shlex
import shutil

from netlens.capture.checks import MISSING, OK, WARNING, Machine, Result, Scene
from netlens.text import size

TITLE = "disk space"
ON = "here"
RANK = 80


def look(machine: Machine, scene: Scene) -> Result:
    directory = os.path.abspath(scene.directory)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    free = shutil.disk_usage(directory).free
    if not os.access(directory, os.W_OK | os.X_OK):
        return Result(MISSING, f"{directory} cannot be written to", "choose another folder: netlens capture -w DIR")
    # An hour of a streaming API client is some 10 MB; both captures of a whole machine that downloads may be 100 MB a minute.
    text = f"{size(free)} free in {directory}"
    if free < 200_000_000:
        return Result(MISSING, text, f"make room, or choose another folder: netlens capture -w DIR (df -h {shlex.quote(directory)})")
    if free < 2_000_000_000:
        return Result(
            WARNING,
            f"{text}: enough with the filter that is made for the API, not with --everything",
            "netlens capture --rotate-mb 100 --keep 5",
        )
    return Result(OK, text)
