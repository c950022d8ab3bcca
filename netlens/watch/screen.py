"""A moment of a watch as lines of text: for a terminal of any size, and one line for a file.

Every line stands where it stood a second ago, and columns do not move as numbers grow: people look at what changes. Colour repeats what the words say.
What does not fit is left out from the least important: history first, then minutes, then rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netlens.text import amount, plural, printable, size
from netlens.watch.groups import ALL
from netlens.watch.monitor import Limit, Snapshot, clock, elapsed
from netlens.watch.view import CONNECTIONS, REQUESTS, Line, Row

if TYPE_CHECKING:
    from netlens.watch.refusals import Refusal

Part = tuple[str, str]  #: text and style: "", "dim", "bold", "good", "alarm", "warn"

BARS = "▁▂▃▄▅▆▇█"
BARS_ASCII = ".:-=+*#@"
NARROW, WIDE = 60, 100  #: columns: below the one without what is nice to know, from the other with history
WITH_MINUTES = 62  #: eight numbers, and ten columns for a name
LEAST_ROWS = 3
HEADS = 2  #: lines of a table's head
MOST_COLUMNS = 60  #: of the history: five seconds each
LEAST_TARGET, MOST_TARGET = 24, 40
MOST_LIMITED = 24  #: of a name in the line of the limit
SUMMED_UP = 10  #: rows that remain on the terminal at the end


def fit(text: str, width: int) -> str:
    """Exactly ``width`` columns of a terminal: cut with an ellipsis or filled with blanks."""
    from rich.cells import cell_len, set_cell_size

    if width <= 0:
        return ""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def lines(snapshot: Snapshot, width: int, height: int, title: str, ascii_only: bool = False) -> list[list[Part]]:
    """At most ``height`` lines of at most ``width`` columns."""
    top = [_head(snapshot, width, title), *_feeds(snapshot, width)]
    if snapshot.limit is not None:  # where it is found at once, and never moves
        top.append(_limit(snapshot.limit, width))
    refusals, tails = _refusals(snapshot, width), _tails(snapshot, width)
    rows = _table_rows(snapshot)
    blank = 1 if height >= 20 else 0
    room = height - len(top) - 3 * blank - 2  # without the heads of the two lists
    spare = max(0, room - HEADS - max(len(rows), LEAST_ROWS))
    of_tails = min(len(tails) - 1, max(spare // 2, spare - len(refusals) + 1))
    of_refusals = min(len(refusals) - 1, spare - of_tails)
    gap: list[list[Part]] = [[]] * blank
    table = _table(snapshot, rows, width, max(2, room - of_refusals - of_tails), ascii_only)
    return [*top, *gap, *table, *gap, *refusals[: 1 + of_refusals], *gap, *tails[: 1 + of_tails]][:height]


def _cut(parts: Sequence[Part], width: int) -> list[Part]:
    from rich.cells import cell_len

    out: list[Part] = []
    left = width
    for text, style in parts:
        if left <= 0:
            break
        if cell_len(text) > left:
            text = fit(text, left)
        out.append((text, style))
        left -= cell_len(text)
    return out


def _apart(left: list[Part], right: list[Part], width: int) -> list[Part]:
    """Left and right of a line; the left one gives way."""
    from rich.cells import cell_len

    taken = sum(cell_len(text) for text, _ in right)
    head = _cut(left, max(0, width - taken - 1))
    used = sum(cell_len(text) for text, _ in head)
    return _cut([*head, (" " * max(1, width - used - taken), ""), *right], width)


def _head(snapshot: Snapshot, width: int, title: str) -> list[Part]:
    right = f"{clock(snapshot.now_ns)}  {elapsed(snapshot.elapsed_s)}" if width >= NARROW else elapsed(snapshot.elapsed_s)
    return _apart([("netlens watch  ", "bold"), (printable(title), "")], [(right, "dim")], width)


def _feeds(snapshot: Snapshot, width: int) -> list[list[Part]]:
    out = []
    for name, feed in snapshot.feeds.items():
        view = snapshot.views[name]
        side = f"{name}: " if len(snapshot.feeds) > 1 else ""
        parts: list[Part] = [(f"{side}{_count(feed.packets)} packets  {_count(int(feed.rate)):>6}/s", "dim")]
        if feed.dropped is not None:
            parts.append((f"  {_count(feed.dropped)} dropped", "warn" if feed.dropped else "dim"))
        if feed.note:
            parts.append((f"  {feed.note}", "warn"))
        if view.elsewhere and width >= NARROW:
            parts.append((f"  {_count(view.elsewhere)} open elsewhere", "dim"))
        out.append(_cut(parts, width))
    return out


def _table_rows(snapshot: Snapshot) -> list[tuple[str, str, Line, bool]]:
    """(target, side, numbers, is a total)."""
    out: list[tuple[str, str, Line, bool]] = []
    for name, view in snapshot.views.items():
        second = len(snapshot.views) > 1 and name == "host"
        for line in view.lines:
            side = f"{line.side} upstream" if second and line.side == "vm" else line.side
            out.append((printable(line.target), side, line, False))
        if len(view.lines) > 1:
            out.append(("all upstream" if second else "all", "", view.all, True))
    return out


def _table(snapshot: Snapshot, rows: list[tuple[str, str, Line, bool]], width: int, height: int, ascii_only: bool) -> list[list[Part]]:
    sides = any(side for _, side, _, _ in rows) or not rows
    side_width = max([4, *(len(side) for _, side, _, _ in rows)]) if sides else 0
    minutes = width - side_width >= WITH_MINUTES
    if not minutes:  # ten columns for the name are more use than a long word for the side
        rows = [(name.replace("all upstream", "all^"), side.replace(" upstream", "^"), line, total) for name, side, line, total in rows]
        side_width = max([4, *(len(side) for _, side, _, _ in rows)]) if sides else 0
    names = ("now", "1m", "5m", "peak") if minutes else ("now", "peak")
    number = 5 if minutes else 4
    numbers = len(names) * (number + 1) + 2
    rest = width - (side_width + 1 if sides else 0) - 2 * numbers
    curve = max(0, min(MOST_COLUMNS, rest - LEAST_TARGET - 2)) if width >= WIDE else 0
    target = max(6, min(MOST_TARGET, rest - curve - 2) if curve else rest)

    def cells(row: Row, missing: bool) -> list[Part]:
        values = (row.now, row.minute, row.minutes, row.peak) if minutes else (row.now, row.peak)
        out: list[Part] = [("  ", "")]
        for i, value in enumerate(values):
            out.append((f"{'-' if missing else _count(value):>{number}} ", "bold" if i == 0 and not missing else ""))
        return out

    heads: list[Part] = [(fit("TARGET", target), "dim")]
    titles: list[Part] = [(" " * (target + (side_width + 1 if sides else 0)), "")]
    if sides:
        heads.append((" " + fit("SIDE", side_width), "dim"))
    for title, short in (("CONNECTIONS", "conn"), ("REQUESTS", "req")):
        titles.append((f"  {title:^{numbers - 3}} ", "dim"))
        heads.append(("  " + "".join(f"{name if minutes or i else short:>{number}} " for i, name in enumerate(names)), "dim"))
    if curve:
        title = f"{CONNECTIONS if _connections_only(snapshot) else REQUESTS}, last 5 min"
        titles.append(("  " + (title if len(title) <= curve else "last 5 min"), "dim"))
    out = [_cut(titles, width), _cut(heads, width)] if minutes else [_cut(heads, width)]
    shown = rows
    if len(rows) > height - len(out):
        totals = [row for row in rows if row[3]]
        plain = [row for row in rows if not row[3]]
        left = max(0, height - len(out) - len(totals))
        shown = plain[:left] + totals[: height - len(out)]
    if not rows:
        out.append(_cut([(f"nothing to {'the target' if snapshot.main.name else 'see'} yet", "dim")], width))
    for name, side, line, total in shown:
        parts: list[Part] = [(fit(name, target), "bold" if total else "")]
        if sides:
            parts.append((" " + fit(side, side_width), ""))
        parts += cells(line.connections, False)
        parts += cells(line.requests, line.http2)
        if curve:
            row = line.connections if line.http2 or _connections_only(snapshot) else line.requests
            parts.append(("  " + spark(row.history, curve, ascii_only), "dim" if total else "good"))
        out.append(_cut(parts, width))
    return out


def _connections_only(snapshot: Snapshot) -> bool:
    return snapshot.limit is not None and snapshot.limit.unit == CONNECTIONS


def spark(values: Sequence[int], columns: int, ascii_only: bool = False) -> str:
    """The maxima of equal stretches of ``values`` as bars, the latest at the right. 0 is a blank, so that idle times are seen."""
    bars = BARS_ASCII if ascii_only else BARS
    per = max(1, -(-len(values) // max(columns, 1)))
    parts = [max(values[max(0, end - per) : end]) for end in range(len(values), 0, -per)][::-1][-columns:]
    top = max([*parts, len(bars)])
    return "".join(" " if v <= 0 else bars[min(len(bars) - 1, (v * len(bars) - 1) // top)] for v in parts).rjust(columns)


def _limit(limit: Limit, width: int) -> list[Part]:
    unit = limit.unit if limit.now != 1 else limit.unit[:-1]
    times = f"  reached {plural(limit.times, 'time')}, {limit.seconds} s" if limit.times else "  not reached so far"
    of = "" if limit.of_all else f"{fit(printable(limit.target), MOST_LIMITED).rstrip()}  "
    if limit.alarm:
        since = f"  since {clock(limit.since_ns)}" if limit.since_ns else ""
        return _cut([(f"ALARM  {of}{limit.now} {unit} at once, limit {limit.value}", "alarm"), (since + times, "")], width)
    return _cut(
        [(f"limit {limit.value}  {of}", "dim"), (f"{limit.now} {unit} at once", "bold"), (f", peak {limit.peak}", ""), (times, "dim")],
        width,
    )


def _refusals(snapshot: Snapshot, width: int) -> list[list[Part]]:
    """A head, then the latest first."""
    count = snapshot.refused + snapshot.inferred
    parts: list[Part] = [("refusals    ", "dim"), (f"{amount(count)}", "warn" if count else "")]
    if snapshot.inferred:
        parts.append((f"  ({amount(snapshot.inferred)} inferred)" if snapshot.refused else "  inferred from short answers", "dim"))
    latest = snapshot.refusals[::-1]
    if latest and width < NARROW:
        parts.append((f"  last {clock(latest[0].time_ns)}", "dim"))
    return [_cut(parts, width), *(_cut([("  " + refusal_text(one), "")], width) for one in latest)]


def refusal_text(one: Refusal) -> str:
    """When, which side, what is known."""
    side = f"  {one.side:<4}" if one.side else ""
    what = f"  code {one.code}" if one.source == "error log" and one.code else f"  status {one.code}" if one.code else ""
    return f"{clock(one.time_ns)}{side}{what}  {one.source}"


def _tails(snapshot: Snapshot, width: int) -> list[list[Part]]:
    view = snapshot.main
    parts: list[Part] = [("tails       ", "dim"), (amount(len(view.tails)), "warn" if view.tails else "")]
    parts.append((f"  {amount(view.tails_seen)} so far" if view.tails_seen else "", "dim"))
    out = [_cut(parts, width)]
    for tail in view.tails:
        more = "" if tail.bytes is None else f", {size(tail.bytes)} since"
        out.append(
            _cut([(f"  {printable(tail.client)} > {printable(tail.target)}  {(tail.last_ns - tail.since_ns) / 1e9:.1f} s after its FIN{more}", "")], width)
        )  # fmt: skip
    return out


def _count(value: int) -> str:
    """At most five characters for anything below 10^13."""
    if value < 10_000:
        return str(value)
    for unit in ("k", "M", "G"):
        value_f = value / 1000
        if value_f < 1000:
            return f"{value_f:.0f}{unit}" if value_f >= 100 else f"{value_f:.1f}{unit}"
        value //= 1000
    return f"{value}T"


# --- a line a second ----------------------------------------------------------------------------------------------------------------------


def plain(snapshot: Snapshot) -> list[str]:
    """What is printed each second where nobody sees a screen: one line of numbers, and one for each thing that happened."""
    out = []
    for name, view in snapshot.views.items():
        at = clock(view.now_ns)
        side = f" {name}" if len(snapshot.views) > 1 else ""
        for line in [*view.lines[:20], *([view.all] if len(view.lines) > 1 else [])]:
            who = f"{printable(line.target) or 'all'}{' ' + line.side if line.side else ''}"
            requests = "requests - (HTTP/2)" if line.http2 else f"requests {line.requests.now} (peak {line.requests.peak})"
            out.append(f"{at}{side}  {who}  connections {line.connections.now} (peak {line.connections.peak})  {requests}")
        if not view.lines:
            out.append(f"{at}{side}  nothing yet  {snapshot.feeds[name].packets} packets")
        if snapshot.feeds[name].dropped:
            out.append(f"{at}{side}  {snapshot.feeds[name].dropped} packets dropped by the kernel so far")
    out += [f"{clock(one.time_ns)}  refusal  {refusal_text(one).partition('  ')[2]}" for one in snapshot.new_refusals]
    for tail in snapshot.main.tails:
        for_s = (tail.last_ns - tail.since_ns) / 1e9
        out.append(f"{clock(snapshot.now_ns)}  tail  {printable(tail.client)} > {printable(tail.target)}  {for_s:.1f} s after its FIN")
    if (limit := snapshot.limit) and limit.alarm and not snapshot.final:
        alarm = f"{limit.now} {limit.unit} at once, limit {limit.value}"
        out.append(f"{clock(snapshot.now_ns)}  ALARM  {printable(limit.target)}: {alarm}")
    return out


def summary(snapshot: Snapshot) -> list[str]:
    """What remains on the terminal at the end."""
    out = []
    refused = bool(snapshot.refused + snapshot.inferred)
    for name, view in snapshot.views.items():
        feed = snapshot.feeds[name]
        side = f"{name}: " if name else ""
        dropped = "" if feed.dropped is None else f", {feed.dropped:,} dropped by the kernel"
        out.append(f"{side}{feed.packets:,} packets in {elapsed(snapshot.elapsed_s)}{dropped}")
        exact = snapshot.exact.get(name, {})
        for line in view.lines[:SUMMED_UP]:
            connections, requests = exact.get(("row", line.target, line.side), (0, 0))
            out.append(
                f"  {printable(line.target)}{' ' + line.side if line.side else ''}: {_peaks(connections, requests, line.http2, refused)}"
            )
        more = sum(name[0] == "row" for name in exact) - SUMMED_UP
        if more > 0:
            out.append(f"  and {amount(more)} more")
        if len(view.lines) > 1:
            out.append(f"  all: {_peaks(*exact.get(ALL, (0, 0)), any(line.http2 for line in view.lines), refused)}")
        if view.tails_seen:
            out.append(f"  {amount(view.tails_seen)} connections still received data after their program had closed them")
    count = snapshot.refused + snapshot.inferred
    if count:
        counts = ((snapshot.refused, "in the error log"), (snapshot.inferred, "inferred"))
        out.append(f"refusals: {', '.join(f'{amount(n)} {how}' for n, how in counts if n)}")
    if snapshot.limit is not None:
        limit = snapshot.limit
        reached = f"reached {plural(limit.times, 'time')}, in {plural(limit.seconds, 'second')}" if limit.times else "not reached"
        out.append(f"limit of {limit.value} {limit.unit}: {reached}, peak {limit.peak}")
    return out


def _peaks(connections: int, requests: int, http2: bool, refused: bool) -> str:
    requests_in_words = (
        "HTTP/2: requests not counted"
        if http2
        else f"{plural(requests, 'request')} in flight{' (refused ones included)' if refused else ''}"
    )
    return f"peak {plural(connections, 'connection')}, {requests_in_words}"
