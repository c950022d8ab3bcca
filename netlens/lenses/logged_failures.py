"""Which requests failed, as the programs' own error logs say?

Asks: how many lines of the log that was given with a capture tell of a failed request that no limit refused: a status (401, 500), a time-out, a broken
    connection, and a close without an answer where the capture has a request that ended so; the frames are of requests that ended when the lines were
    written. And how many of refusals by a relay that did not ask the API.
Applies: where there is an error log, and of its lines those of the time of the capture.
Cannot see: failures that the program does not write down, as SDKs try again in silence; why the server failed.
Normal: a failure now and then; half of them may be those of one request that was tried again. Refusals are weighed by themselves (``refused``).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from netlens.chains.requests import UPSTREAM, VM_ROW
from netlens.chains.side import WORDS
from netlens.chains.situation import REJECTED
from netlens.columns import NEVER
from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding
from netlens.logs import NO_PLACE, OWN_LIMIT, UNANSWERED
from netlens.text import endpoint, plural, printable

ID = "logged-failures"
GROUP = "answers"
RANK = 32
TIMES = 2  #: lines that make a problem
NEAR_NS = S  #: from the end of a request to its line, at most; measured 50 ms as a rule
BEHIND_NS = S // 10  #: the same of a line that is taken for a refusal's
BUSY = "status 503"
Failed = tuple[int, int, str, tuple[str, ...]]  #: see :class:`netlens.parsers.errorlog.ErrorLog`
MIN_REFUSED, NEARLY = 3, 0.9  #: lines of refusals by a relay; share of them that must each have an answer of its own
_ADVICE = {
    "status 401": "The server rejects the credentials: check the key that this program uses.",
    "status 403": "The server forbids it: check what this key may do, and a filter in front.",
    "status 404": "The server has nothing at that path, or no such model: check the base URL and the model's name.",
    NO_PLACE: "These requests were never sent: give the program's HTTP client more connections (httpx: Limits(max_connections=N)) or a longer time to wait for "
    "one (pool time-out), or have it ask for less at once.",
    OWN_LIMIT: "These requests were never sent: the program refused them by a limit that it was given itself (in litellm's Router rpm, tpm or a cooldown after "
    "failures). Raise that limit, or have it wait instead.",
    BUSY: "The server, or one behind it, is down or has too much to do, as its log or status page says; or it is a limit of what stands in front: nginx "
    "answers with 503 by limit_conn and limit_req unless it is told otherwise, HAProxy where its queue is full. If others are served meanwhile, try with fewer "
    "at once.",
    UNANSWERED: "The server, or what stands in front of it, closed instead of answering. If it does so while others are open, it may be a limit of connections "
    "or requests at once: try with fewer. If it does so on connections that were idle, have the client close these sooner.",
    "time-out": "The program waited for an answer and gave up: look at how long answers take, and at the program's time-out.",
}
_OF_SERVER = "The server failed, or one behind it: its own log or status page says why."


def look(view: View) -> list[Finding]:
    from netlens.lenses.refused.labels.error_log import of_target

    log = view.traffic.beside.logs.get(view.name)
    if log is None or not (log.failed or log.events):
        return []
    begin, end = view.side.bounds_ns
    refused = _by_relay(view, [each.low_ns for each in log.events if begin <= each.high_ns and each.low_ns <= end + NEAR_NS])
    asked = {str(name).lower() for name in view.side.connections["sni"].tolist() if name}
    failed = [each for each in of_target(log, view.traffic.goal.names, asked).failed if begin <= each[1] and each[0] <= end + NEAR_NS]
    failed = _without_answered(view, _without_refusals(view, failed))
    if not failed:
        return refused
    how = Counter(each[2] for each in failed)
    told = ", ".join(f"{kind} ({n:,})" if len(how) > 1 else kind for kind, n in how.most_common())
    text = f"The error log of the {WORDS.get(view.name, view.name)} has {plural(len(failed), 'line')} of failed requests: {told}."
    advice = _ADVICE.get(how.most_common(1)[0][0], _OF_SERVER if how.most_common(1)[0][0].startswith("status 5") else "")
    values = {"lines": len(failed), "failures": dict(how)}
    return [finding(view, ID, "problem" if len(failed) >= TIMES else "warning", text, _frames(view, failed), values, advice), *refused]


def _by_relay(view: View, lines_ns: list[int]) -> list[Finding]:
    """Refusals of the VM's log that a relay made by itself: it answered as many requests without asking the API, which refused none. Where requests to the API
    cannot be counted, that there are refusals."""
    relays, labels = view.traffic.by_relays, view.traffic.situation.requests.rejected
    itself = sum(relays.values())
    uncountable = view.traffic.situation.uncountable
    if view.name == "vm" and len(lines_ns) >= MIN_REFUSED and uncountable and not view.traffic.unmatched and not (labels == REJECTED).any():
        text = (
            f"The error log of the VM has {plural(len(lines_ns), 'refusal')}. Whether the API refused, or what stands in between, cannot be told, as requests "
            "to the API cannot be counted."
        )
        advice = "Give the key log of what speaks HTTP/2 with the API, or set the relay to HTTP/1.1 upstream, and record again."
        return [finding(view, ID, "problem", text, [], {"lines": len(lines_ns)}, advice)]
    if view.name != "vm" or len(lines_ns) < MIN_REFUSED or not NEARLY * len(lines_ns) <= itself or (labels == REJECTED).any():
        return []
    who = " and ".join(printable(endpoint(*where)) for where in relays)
    text = (
        f"The error log of the VM has {plural(len(lines_ns), 'refusal')}, and the relay at {who} answered {plural(itself, 'request')} without asking the API, "
        "which refused none: the relay refuses by itself."
    )
    advice = "Look for a limit in the relay's own settings (nginx: limit_conn, limit_req; haproxy: maxconn), and raise it there or ask for less at once."
    return [finding(view, ID, "problem", text, [], {"lines": len(lines_ns), "by_relay": itself}, advice)]


def _without_refusals(view: View, failed: list[Failed]) -> list[Failed]:
    """The lines but those of status 503 that stand behind requests that are known to be refused (``refused``)."""
    where = view.traffic.rows[:, UPSTREAM if view.side is view.traffic.upstream else VM_ROW]
    refused = where[(view.traffic.situation.requests.rejected == REJECTED) & (where >= 0)]
    over = np.sort(view.side.exchanges.ints("end_ns", NEVER)[refused])
    return [
        each
        for each in failed
        if each[2] != BUSY or np.searchsorted(over, each[0] - BEHIND_NS) == np.searchsorted(over, each[1] + BEHIND_NS, "right")
    ]


def _without_answered(view: View, failed: list[Failed]) -> list[Failed]:
    """The lines but those of a close without an answer near whose time no request to the target ended without one: of another server, or of nothing at all."""
    x = view.side.exchanges
    unanswered = view.side.owner[x.ints("response_ns", NEVER) == NEVER]
    over = np.sort(view.side.done_ns[unanswered])
    return [
        each
        for each in failed
        if each[2] != UNANSWERED or np.searchsorted(over, each[0] - NEAR_NS) < np.searchsorted(over, each[1] + NEAR_NS // 10, "right")
    ]


def _frames(view: View, failed: list[Failed]) -> list[int]:
    """Of each line the first frame of the request to the target that ended last before it, if one did just then."""
    x = view.side.exchanges
    over = np.minimum(x.ints("end_ns", NEVER), view.side.done_ns[view.side.owner])
    order = np.argsort(over, kind="stable")
    found = []
    for low, high, how, _ in failed:
        if how in (NO_PLACE, OWN_LIMIT):  # nothing was sent
            continue
        k = int(np.searchsorted(over[order], high + NEAR_NS // 10, "right")) - 1
        if k >= 0 and over[order[k]] >= low - NEAR_NS:
            found.append(int(x["start_frame"][order[k]]))
    return found
