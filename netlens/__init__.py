"""netlens: from packet captures to sessions, connections, lookups, exchanges and the causes behind refused requests.

The stages, each a package that imports only what stands below it::

    cli        parses arguments, calls, prints
    report     draws and writes what was found
    analysis   tables in, findings out: target, concurrency, tails; causes, limits and fixes build on it
    api        a capture as DataFrames: one pass, tables when they are asked for
    parsers    packet rows to tables: sessions, connections, lookups, hellos, exchanges, tunnels
    wire       bytes to packet rows: containers, link types, IP, TCP, UDP; compiled, in batches
    tables     the declared columns of every table;  schema  what a table is;  errors  what can go wrong
    registry   members of a folder, found and checked
    sidefiles  logs, samples and manifests beside a capture, read within limits;  outputs  files made aside, never through a link

``read`` gives a capture as DataFrames, ``analyze`` its findings.
"""

from typing import TYPE_CHECKING, Any

from netlens.api import Capture, read
from netlens.errors import CaptureError, NetlensError, SchemaError, WireError

if TYPE_CHECKING:
    from netlens.analysis import Analysis


def analyze(
    capture: Any = None,
    *,
    vm: Any = None,
    host: Any = None,
    apis: "str | tuple[str, ...]" = (),
    vm_errors: str | None = None,
    host_errors: str | None = None,
    keylog: "str | tuple[str, ...] | None" = None,
) -> "Analysis":
    """Findings of a capture, a recording, or of the captures of both sides; ``to_dict`` of the result is the JSON of ``netlens analyze``.

    Parameters
    ----------
    capture : a path, several files of one rotated capture, a :class:`Capture`, or the folder of a recording.
    vm, host : instead, the capture of that side; either or both.
    apis : names or addresses of the server in question (or one); from the manifest or guessed, and the guess stated, if empty.
    vm_errors, host_errors : error log of the program of that side.  keylog : TLS keys (SSLKEYLOGFILE), one file or several;
        one that lies in a recording is used only if it is named.

    Raises
    ------
    NetlensError
        a file cannot be read, a named API is not in it, or neither or both of capture and sides are given.
    """
    import os

    from netlens import analysis
    from netlens.chains.inputs import Inputs, from_folder

    if (capture is None) == (vm is None and host is None):
        raise NetlensError("analyze: give a capture or a recording, or the sides with vm= and host=")
    sides = {None: capture} if capture is not None else {name: c for name, c in (("vm", vm), ("host", host)) if c is not None}
    if isinstance(capture, (str, os.PathLike)) and os.path.isdir(capture):
        given = from_folder(os.fspath(capture))
        captures = {name: Capture(files, trail=True) for name, files in given.captures.items()}
    else:
        captures = {
            name: c if isinstance(c, Capture) else Capture([c] if isinstance(c, (str, bytes, os.PathLike)) else c, trail=True)
            for name, c in sides.items()
        }
        given = Inputs({name: tuple(c.paths) for name, c in captures.items()})
    given = given.with_options(
        apis=(apis,) if isinstance(apis, str) else tuple(apis),
        errors={"vm": vm_errors, "host": host_errors},
        keylogs=(keylog,) if isinstance(keylog, str) else tuple(keylog or ()),
    )
    return analysis.analyze(captures, given)


__version__ = "0.1.0"
__all__ = ["Capture", "CaptureError", "NetlensError", "SchemaError", "WireError", "__version__", "analyze", "read"]
