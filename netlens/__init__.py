"""netlens: from packet captures to sessions, connections, lookups, exchanges and the causes behind refused requests.

The stages, each a package that imports only what stands below it::

    cli        parses arguments, calls, prints
    report     draws and writes what was found
    analysis   tables in, findings out: target, concurrency, tails; causes, limits and fixes build on it
    api        a capture as DataFrames: one pass, tables when they are asked for
    parsers    packet rows to tables: sessions, connections, lookups, hellos, exchanges, tunnels
    wire       bytes to packet rows: containers, link types, IP, TCP, UDP; compiled, in batches
    tables     the declared columns of every table;  schema  what a table is;  errors  what can go wrong

``read`` gives a capture as DataFrames, ``analyze`` its findings.
"""

from typing import TYPE_CHECKING, Any

from netlens.api import Capture, read
from netlens.errors import CaptureError, NetlensError, SchemaError, WireError

if TYPE_CHECKING:
    from netlens.analysis.findings import Analysis


def analyze(capture: Any, apis: tuple[str, ...] = (), vantage: str | None = None) -> "Analysis":
    """Findings of one capture; ``to_dict`` of the result is the JSON of ``netlens analyze``.

    Parameters
    ----------
    capture : a path, several files of one rotated capture, or a :class:`Capture`.
    apis : names or addresses of the server in question; guessed, and the guess stated, if empty.
    vantage : "vm" or "host" where it is known.

    Raises
    ------
    NetlensError
        the capture cannot be read, or a named API is not in it.
    """
    from netlens.analysis.findings import analyze as find

    return find(capture if isinstance(capture, Capture) else read(capture), apis, vantage)


__version__ = "0.1.0"
__all__ = ["Capture", "CaptureError", "NetlensError", "SchemaError", "WireError", "__version__", "analyze", "read"]
