"""opencode's two log formats, written as it writes them.

``classic``: ``ERROR 2026-01-25T16:33:41 +58ms service=llm key=value ... message``; UTC, whole seconds, ``+Nms`` since the previous line.
``logfmt``: ``timestamp=2026-06-20T16:38:30.455Z level=ERROR service=llm key=value ... message="..."``.

The VM's clock may be wrong in a scenario: a ``Skew`` is applied to every time, as it is to the VM's recording.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netlens.lab.clock import Skew
from netlens.lab.journal import LineFile
from netlens.lab.programs import LOG_FORMATS


class OpencodeLog:
    """A log file in one of the formats."""

    def __init__(self, path: Path, form: str, skew: Skew | None = None) -> None:
        if form not in LOG_FORMATS:
            raise ValueError(f"no such log format: {form!r}; there are {', '.join(LOG_FORMATS)}")
        self._file = LineFile(path)
        self._form, self._skew, self._lock = form, skew or Skew(), threading.Lock()
        self._last_ms: int | None = None

    def line(self, level: str, message: str, true_ns: int | None = None, **fields: Any) -> None:
        """Write one line; field names with a dot are given with two underscores."""
        with self._lock:  # the time is taken inside: lines are in order of time, and +Nms counts from the line before
            ms = self._skew.shown(time.time_ns() if true_ns is None else true_ns) // 1_000_000
            when = datetime.fromtimestamp(ms // 1000, UTC)
            if self._form == "classic":
                # opencode writes objects as JSON and everything else bare, then the message
                words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in fields.items()]
                since = 0 if self._last_ms is None else ms - self._last_ms
                text = " ".join([f"{level:<5}", f"{when:%Y-%m-%dT%H:%M:%S}", f"+{since}ms", *words, message])
            else:
                words = [f"{name.replace('__', '.')}={_quoted(value)}" for name, value in fields.items()]
                stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
                text = " ".join([f"timestamp={stamp}", f"level={level}", *words, f"message={_quoted(message)}"])
            self._last_ms = ms
            self._file.write(text)

    def refusal(self, message: str, code: str, text: str, **fields: Any) -> None:
        """A refusal, as each format tells it."""
        if self._form == "classic":
            body = {
                "error": {
                    "name": "AI_APICallError",
                    "statusCode": 429,
                    "responseBody": json.dumps({"error": {"code": code, "message": text}}),
                }
            }
            self.line("ERROR", message, **fields, error=body)
        else:
            self.line("ERROR", message, **fields, error__error=f"AI_APICallError: {text}", error__code=code)

    def close(self) -> None:
        self._file.close()


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ' "=') or not text else text
