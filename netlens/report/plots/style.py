"""How every picture looks, and how it is written to disk.

Palette
-------
Colours are from Okabe and Ito's set (Color Universal Design, 2008), which people with any of the common colour-vision deficiencies tell
apart; where two could meet they differ in lightness too, so that they survive a grey printer. One meaning has one colour in all pictures and
in report.html (``templates/report.css`` has the same values):

=============  =================  ==========  ==========================================
meaning        colour             hex         also told by
=============  =================  ==========  ==========================================
VM             orange             #E69F00     order in legends and stacks; a dark rim
host itself    blue               #0072B2
unknown        grey               #999999
left over      sky blue           #56B4E9     hatched: tails, half-closed but receiving, idle
companion      bluish green       #009E73     what the tunnel opened beside a connection
lookups        reddish purple     #CC79A7
direct         blue               #0072B2     as the host's own programs, which go direct
sshuttle       orange             #E69F00     as the VM's, which go through it
nat            brown              #8A4B00     the VM's as well: the same hue, much darker
request        the bar's dark     see DARK    lies inside the bar
rejected       dark red           #B2182B     a cross with a white rim, never another mark
limit          black              #1A1A1A     a dashed line, nothing else is dashed and black
not seen       the path's, pale   hatched     an arrow at the edge of the capture
=============  =================  ==========  ==========================================

Curves: connections open are a black line, requests in flight a purple area, half-closed but receiving is hatched in sky blue; what is
uncertain (censoring) is a pale area in the curve's colour.

Text
----
Names come from strangers. :func:`safe` shows everything outside printable Latin letters as an escape (control and bidirectional
characters, and what the font has no glyph for), and escapes ``$``, which matplotlib would read as the start of a formula. The smallest
type is 9 pt: a picture is 12 inches wide, so that on a page 1200 px wide it is 12 px high.
"""

from __future__ import annotations

import contextlib
import math
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.columns import Floats, Ints, Objects, objects
from netlens.errors import NetlensError
from netlens.outputs import replacing
from netlens.text import escaped, utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PATHS = ("direct", "nat", "sshuttle", "unknown")  #: in the order of legends and stacks
VM, HOST, UNKNOWN, LEFTOVER, COMPANION, LOOKUPS = "#E69F00", "#0072B2", "#999999", "#56B4E9", "#009E73", "#CC79A7"
#: Whose and why, by the names of ``analysis.shares``; in the order of stacks.
SHARES = {"vm": VM, "host": HOST, "unknown": UNKNOWN, "leftover": LEFTOVER, "companion": COMPANION, "lookups": LOOKUPS}
SHARES_DARK = {"vm": "#6B4300", "host": "#00304D", "unknown": "#444444", "leftover": LEFTOVER, "companion": "#00402E", "lookups": "#5E2145"}
COLOURS = {"direct": HOST, "nat": "#8A4B00", "sshuttle": VM, "unknown": UNKNOWN}
DARK = {"direct": "#00304D", "nat": "#2E1900", "sshuttle": "#6B4300", "unknown": "#444444"}
REJECTED = "#B2182B"
LIMIT = "#1A1A1A"
REJECTED_MARK = "X"
OPEN, IN_FLIGHT, HALF_CLOSED = "#1A1A1A", "#8E3B8A", LEFTOVER
INK, PALE, GRID = "#1A1A1A", "#595959", "#DDDDDD"
HATCH = "/////"  # of what was not captured
HATCH_BACK = "\\\\\\"  # of what is half-closed

WIDTH_IN = 12.0
DPI = 150
LONGEST_NAME = 48  # characters of a target's name; half of it cuts real host names, twice of it runs into the numbers beside it

RC: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.usetex": False,
    "text.hinting": "none",  # of letters of 20 pixels nobody sees it, and it is a tenth of the time
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "svg.hashsalt": "netlens",  # ids in the file depend on the picture alone
    "path.simplify": True,
}

PNG_LEVEL = 3  #: of zlib's: a tenth more bytes than 6 makes, in two thirds of the time


@contextlib.contextmanager
def context() -> Iterator[None]:
    """Matplotlib's settings for ours while a figure is made or written, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def new_figure(height_in: float) -> Figure:
    """An empty figure that no global state knows of (pyplot is never imported, so nothing leaks and threads do not meet)."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")


def title(figure: Figure, headline: str, note: str = "") -> None:
    """What one sees, in words, at the top left; under it smaller how to read it."""
    engine = figure.get_layout_engine()
    width, height = figure.get_size_inches()
    big = textwrap.wrap(headline, int(width * 9.6)) or [""]
    small = textwrap.wrap(note, int(width * 13.2))
    lines_in = 0.25 * len(big) + 0.19 * len(small) + 0.12
    figure.text(0.1 / width, 1 - 0.08 / height, "\n".join(big), fontsize=12.5, fontweight="bold", ha="left", va="top", gid="title")
    if small:
        top = 1 - (0.08 + 0.25 * len(big)) / height
        figure.text(0.1 / width, top, "\n".join(small), fontsize=9.5, color=PALE, ha="left", va="top", gid="note")
    if engine is not None:
        engine.set(rect=(0.005, 0.005, 0.99, 1 - lines_in / height - 0.01), h_pad=0.06, w_pad=0.06)  # type: ignore[call-arg]


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """The legend under the picture, outside all axes: it can cover nothing."""
    if handles:
        lengths = [len(h.get_label()) + 7 for h in handles]
        room = figure.get_size_inches()[0] * 11.5  # characters
        rows = 1
        while rows < len(handles) and sum(max(lengths[i : i + rows]) for i in range(0, len(handles), rows)) > room:
            rows += 1
        figure.legend(handles=list(handles), loc="outside lower left", ncols=math.ceil(len(handles) / rows))


def nothing(headline: str, note: str) -> Figure:
    """A picture that says that there is nothing to draw, so that a report with no such traffic does not look broken."""
    with context():
        figure = new_figure(1.5)
        axes = figure.add_subplot()
        axes.set_axis_off()
        title(figure, headline)
        axes.text(0.5, 0.5, textwrap.fill(note, 100), ha="center", va="center", color=PALE, fontsize=11, transform=axes.transAxes)
    return figure


def safe(text: str | None, longest: int = LONGEST_NAME) -> str:
    """A stranger's text for a label: printable Latin as it is, anything else as ``\\xNN`` or ``\\uNNNN``, ``$`` escaped, cut in the middle.

    Latin up to U+024F is what the font surely has and what reads from left to right; other letters are shown as escapes, which also
    unmasks a Cyrillic a in a Latin name.
    """
    if text is None:
        return "unknown"
    if len(text) > 4 * longest:  # before the work is done character by character
        text = text[: 2 * longest] + text[-2 * longest :]
    shown = [c if (c == " " or (c.isprintable() and ord(c) < 0x250 and not c.isspace())) else escaped(c) for c in text]
    if sum(map(len, shown)) > longest:
        head, tail = _fit(shown, longest * 2 // 3), _fit(shown[::-1], longest // 3 - 1)[::-1]
        shown = [*head, "…", *tail]
    return "".join(shown).replace("$", r"\$")


def _fit(parts: list[str], longest: int) -> list[str]:
    total = np.cumsum([len(p) for p in parts])
    return parts[: int(np.searchsorted(total, longest, side="right"))]


def seconds(t_ns: Ints, origin_ns: int) -> Floats:
    """Times as seconds since ``origin_ns``."""
    return (np.asarray(t_ns, np.int64) - origin_ns).astype(np.float64) / 1e9


def time_axis(axes: Axes, origin_ns: int, end_ns: int) -> None:
    """Seconds since the start on x, with the date and time of the start in the label."""
    span = max((end_ns - origin_ns) / 1e9, 1e-6)
    axes.set_xlim(-0.015 * span, 1.015 * span)
    axes.set_xlabel(f"seconds since {utc(origin_ns)}")
    if span >= 1000:
        from matplotlib.ticker import FuncFormatter

        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    elif span < 0.01:
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def decades(axes: Axes, which: str, values: Floats, unit: Callable[[float], str]) -> None:
    """A log axis over whole decades, so that at least two ticks have a label; labels are plain text, never formulas."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high = np.floor(np.log10(values.min() / 1.05)), np.ceil(np.log10(values.max() * 1.05))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (10.0**low, 10.0**high)})
    axis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    axis.set_minor_formatter(NullFormatter())


def count_axis(axes: Axes, top: int) -> None:
    """Whole numbers from 0 on y: nobody holds half a connection."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0, max(1, top) * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y")


def crosses(axes: Axes, x: Any, y: Any, size: float) -> None:
    """Refused requests."""
    axes.scatter(x, y, s=size, c=REJECTED, marker=REJECTED_MARK, edgecolors="white", linewidths=0.7, zorder=5, gid="rejected")


def cross_handle(label: str) -> Any:
    """Its entry of the legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=REJECTED, marker=REJECTED_MARK, linestyle="", markersize=8, markeredgecolor="white", label=label)


def lanes(begin: npt.NDArray[Any], finish: npt.NDArray[Any], most: int | None = None) -> tuple[Ints, int]:
    """For each interval (sorted by ``begin``) the first lane that is free again, and how many lanes that takes; it stops above ``most``."""
    free: list[float] = []
    lane = np.zeros(len(begin), np.int64)
    for i, (start, end) in enumerate(zip(begin.tolist(), finish.tolist(), strict=True)):
        lane[i] = next((at for at, until in enumerate(free) if until <= start), len(free))
        if lane[i] == len(free):
            free.append(end)
        free[lane[i]] = end
        if most is not None and len(free) > most:
            break
    return lane, len(free)


def limit_line(axes: Axes, value: int, words: str = "limit") -> None:
    """The count from which on requests are refused, over the whole width, with its number."""
    axes.axhline(value, color="white", linewidth=3.6, alpha=0.9, zorder=3.9)  # so that it is seen on a black curve, too
    axes.axhline(value, color=LIMIT, linewidth=1.6, linestyle=(0, (5, 3)), zorder=4, gid="limit")
    axes.annotate(
        f"{words} {value:,}", (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points",
        ha="right", va="bottom", fontsize=9, fontweight="bold", color=LIMIT, gid="limit label", zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
    )  # fmt: skip


def words(text: str) -> str:
    """A sentence with strangers' names in it: as :func:`safe`, but of any length."""
    return safe(text, max(LONGEST_NAME, 4 * len(text) + 8))


def path_names(values: Any) -> Objects:
    """The column ``path`` with all that has no colour of its own as "unknown"."""
    return objects([v if isinstance(v, str) and v in COLOURS else "unknown" for v in values])


def save(figure: Figure, directory: str | os.PathLike[str], name: str) -> list[Path]:
    """Write ``name.png`` (150 dpi) and ``name.svg`` into ``directory``; each is written aside and renamed, so nobody reads half a picture.

    The same figure gives the same bytes (no dates, fixed ids).

    NetlensError if the directory cannot be written to.
    """
    folder = Path(directory)
    written = []
    for kind in ("png", "svg"):
        target = folder / f"{name}.{kind}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _settle(figure)
            _write(figure, target, kind)
        except OSError as error:
            raise NetlensError(f"{target}: cannot write the picture ({error.strerror or error}); choose another directory") from error
        written.append(target)
    return written


def _settle(figure: Figure) -> None:
    """Lay the figure out once for both files, at rounded positions.

    The layout's solver works in the order of memory addresses, so its last digits differ from run to run, and ids in an SVG are hashes
    of positions.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        with context():
            engine.execute(figure)  # what figure.draw would begin with; the rest of it is done for each file anyway
            figure.set_layout_engine(None)  # with any, even "none", savefig draws once more before it draws
        for axes in figure.axes:
            x, y, width, height = (round(float(v), 5) for v in axes.get_position().bounds)
            axes.set_position((x, y, width, height))


def _write(figure: Figure, target: Path, kind: str) -> None:
    with context(), replacing(target, made_up=True) as aside, open(aside, "wb") as out:
        given: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"compress_level": PNG_LEVEL}}
        figure.savefig(out, format=kind, dpi=DPI, **given)
