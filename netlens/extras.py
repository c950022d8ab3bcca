"""Packages that only some results need, and what to install where one is missing.

A plain ``pip install .`` reads captures, analyses them and writes text, JSON, CSV and report.html. Whatever needs a heavy package more asks for it
here before it imports it, so that its absence is one line.
"""

from __future__ import annotations

import importlib.util

from netlens.errors import NetlensError

#: Package: the extra that installs it, and what needs it.
EXTRAS = {
    "matplotlib": ("plots", "pictures are drawn with matplotlib"),
    "pandas": ("pandas", "DataFrames need pandas"),
    "pyarrow": ("pandas", "Parquet and Arrow tables need pyarrow"),
    "pyshark": ("keylog", "reading with a TLS key log needs pyshark"),
}


def missing(package: str) -> str | None:
    """One line on what to install, or None if ``package`` is there."""
    try:
        if importlib.util.find_spec(package) is not None:
            return None
    except ModuleNotFoundError:
        pass
    extra, why = EXTRAS[package]
    return f"{why}, which is not installed; install it: pip install 'netlens[{extra}]'"


def need(package: str) -> None:
    """Raise NetlensError unless ``package`` is installed."""
    if (why := missing(package)) is not None:
        raise NetlensError(why)
