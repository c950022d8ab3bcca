"""Loaded by Dask into each worker that ``--workers`` starts: Ctrl-C reaches all processes of a terminal, and who started them ends them."""

import signal
from typing import Any


def dask_setup(_worker: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
