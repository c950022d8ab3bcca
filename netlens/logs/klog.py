"""Logs of Go's klog and glog: ``E1128 18:22:33.123456       1 agent.go:142] 429 Too Many Requests``; they write no year.

Source: the header of klog (k8s.io/klog) and of glog, a letter for the level before month and day.
"""

import re

from netlens import logs
from netlens.logs._words import FAULTS, whole

ID = "klog"
PROGRAM = "any"
RANK = 95

_HEAD = re.compile(r"(?P<level>[IWEF])(?P<time>[01]\d[0-3]\d \d\d:\d\d:\d\d\.\d{6})\s+\d{1,10} [\w.-]{1,100}:\d{1,6}\]", re.ASCII)
_LEVELS = {"I": "INFO", "W": "WARN", "E": "ERROR", "F": "FATAL"}


def recognise(record: str) -> logs.Head | None:
    if (found := _HEAD.match(record)) is None:
        return None
    level = _LEVELS[found["level"]]
    return logs.Head(found["time"], found.end(), level in FAULTS, level)


said = whole


def write(head: logs.Head) -> str:
    return f"{(head.level or 'I')[0]}{head.time} 1 x:1]"
