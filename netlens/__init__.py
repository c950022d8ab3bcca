"""netlens: from packet captures to sessions, connections, lookups, requests, and the causes behind refused requests.

A packet's way is a straight line; each package imports only what stands below it. The last column says what it may do to the world outside::

    cli         parses arguments, calls, prints                                        terminal, signals
    report      words, pictures, pages, tables in every output format                  writes files
    analysis    a question asked of captures: findings, as an object and as JSON       -
    lenses      one question a package; refused: labels limiters causes fixes          -
    chains      sessions of all vantages -> hops -> chains, on one clock               -
    api         a capture as DataFrames: one pass, tables when they are asked for      -
    parsers     packets -> rows: sessions connections lookups hellos exchanges         starts tshark, for a key log
    wire        bytes -> packets: containers, link types, tunnels, IP, TCP, UDP        reads captures
    logs        what programs write down when a request is refused, one format a file  reads logs

Beside the line::

    capture     records here or on a VM; the doctor's checks; the recording's folder   starts tcpdump and ssh, writes recordings
    watch       the same parsers on packets as they come                               through capture
    cluster     the same parsers on many machines                                      Dask, object stores
    anonymize   a copy of a capture with addresses and names replaced                  writes copies
    lab         VM, host and provider rebuilt on one machine, to record known truth    starts servers, namespaces

What all share: ``tables`` (the columns of every table), ``schema`` (what a table is; ``columnar`` and ``arrays`` store it), ``errors``, ``extras``
(packages that only some results need), ``text`` (strangers' text made printable), ``addresses``, ``registry`` (members of a folder, found and
checked), ``sidefiles`` (logs and manifests read within limits), ``kinds`` (what a wrong file is), ``outputs`` (files written aside, then renamed),
``threads`` and ``aside`` (work divided among threads, and with another process), ``compiling`` and ``warm``, ``background`` (kernels, and what is shown
while they are compiled).

``read`` gives a capture as DataFrames, ``analyze`` its findings, ``plot`` a figure of them; ``compare`` tells whether a change helped.
docs/explanation/through-the-house.md follows a packet through all of it.
"""

from typing import TYPE_CHECKING, Any

from netlens.api import Capture, read
from netlens.errors import CaptureError, NetlensError, SchemaError, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from netlens.analysis import Analysis
    from netlens.report.comparison import Compared


def analyze(
    capture: Any = None,
    *,
    vm: Any = None,
    host: Any = None,
    further: "Mapping[str, Any] | None" = None,
    apis: "str | tuple[str, ...]" = (),
    vm_errors: str | None = None,
    host_errors: str | None = None,
    errors: "Mapping[str, str] | None" = None,
    keylog: "str | tuple[str, ...] | None" = None,
) -> "Analysis":
    """The findings of a capture, a recording, or the captures of both sides. ``to_dict`` of the result is the JSON of ``netlens analyze``.

    Parameters
    ----------
    capture : a path, several files of one rotated capture, a :class:`Capture`, or the folder of a recording.
    vm, host : instead of it, the capture of that side; either or both.  further : captures of other machines that leave through the host, by name.
    apis : names or addresses of the API's server, or one of them. If empty, they come from the manifest or are guessed, which the findings say.
    vm_errors, host_errors : error log of the program on that side.  errors : those of further machines, by the
        names of their captures.  keylog : TLS keys (SSLKEYLOGFILE), one file or several;
        a key log in a recording is used only if it is named here.

    Raises
    ------
    NetlensError
        a file cannot be read, a named API is not in it, or neither or both of capture and sides are given.
    """
    import os
    from dataclasses import replace

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
            name: c if isinstance(c, Capture) else Capture([c] if isinstance(c, (str, os.PathLike)) else c, trail=True)
            for name, c in sides.items()
        }
        given = Inputs({name: tuple(c.paths) for name, c in captures.items()})
    for name, c in (further or {}).items():
        captures[name] = c if isinstance(c, Capture) else read(c)
    given = replace(given, captures=given.captures | {name: tuple(c.paths) for name, c in captures.items()}).with_options(
        apis=(apis,) if isinstance(apis, str) else tuple(apis),
        errors={**(errors or {}), "vm": vm_errors, "host": host_errors},
        keylogs=(keylog,) if isinstance(keylog, str) else tuple(keylog or ()),
    )
    return analysis.analyze(captures, given)


def compare(before: Any, after: Any) -> "Compared":
    """Two recordings of one situation, before and after a change: did it help? What ``netlens compare`` says, with its numbers.

    Parameters
    ----------
    before, after : what :func:`analyze` takes, or its result.

    Raises
    ------
    NetlensError
        they are about different APIs.
    """
    from netlens.analysis import Analysis
    from netlens.chains.differing import Recorded
    from netlens.report.comparison import compared

    found = [each if isinstance(each, Analysis) else analyze(each) for each in (before, after)]
    return compared(*(Recorded(each.given, each.assembled) for each in found))


def plot(analysis: "Analysis", figure: str = "summary", side: str | None = None) -> "Figure":
    """A picture of an analysis as a matplotlib Figure, which a notebook shows.

    Parameters
    ----------
    figure : "summary", or one of a capture: "timeline", "concurrency", "lookups", "lifetimes".  side : "vm" or "host", where both were captured.

    Raises
    ------
    NetlensError
        there is no such figure or side, or matplotlib is missing.
    """
    from netlens.extras import missing
    from netlens.report import plots

    if (why := missing("matplotlib")) is not None:
        raise NetlensError(why)
    if figure == "summary":
        return plots.summary.draw(analysis)
    if side not in analysis.sides:
        raise NetlensError(f"plot: side={side!r} is not one of {', '.join(map(repr, analysis.sides))}")
    drawn = plots.figures(analysis, side)
    if figure not in drawn:
        raise NetlensError(f"plot: there is no figure {figure!r}; the figures are summary, {', '.join(drawn)}")
    return drawn[figure]()


__version__ = "0.1.0"
__all__ = ["Capture", "CaptureError", "NetlensError", "SchemaError", "WireError", "__version__", "analyze", "compare", "plot", "read"]
