"""Who is who: the groups in which connections and requests are counted.

A row is a target and a side; there is one group for each row, one for each target and one for all. With APIs named, only these are targets. The side is
whose program opened the connection, by the marks that ``connections`` uses. On the host with a tunnel up, what no mark explains is ``host?``.

What goes to a relay on the machine itself (a proxy, a redirection) is carried on by a connection that the machine opens to the target, and counts there alone.

Limits: whether a relay does so is told by there being such connections at all, of whomever. A program that asks through ``ssh`` what others ask directly
would go missing; so where the machine opened a connection of SSH, nothing is taken for carried on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_address
from netlens.chains.target import KNOWN_APIS, matching
from netlens.columns import Ints
from netlens.parsers.connections import is_public
from netlens.text import endpoint

if TYPE_CHECKING:
    from netlens.watch.connection_table import ConnectionTable, Kind

Group = tuple[str, str, str]  #: "row", target and side; "target", target and ""; or ALL

ALL: Group = ("all", "", "")
MAX_GROUPS = 20_000  #: that are told apart; each has minutes of history


class Groups:
    """The groups of a table's kinds of connections.

    names : of the groups, by number.  of_kind : int64[3, kinds], the row, target and all that each kind counts in; -1 none.
    inferred : bool[kinds], whose answers are looked at for refusals.
    """

    def __init__(self, table: ConnectionTable, apis: Iterable[str]):
        named = [api.lower().rstrip(".") for api in apis]
        self.api_names = [name for name in named if not is_address(name)]
        self._api_addresses = {str(ipaddress.ip_address(name)) for name in named if is_address(name)}
        self.has_apis = bool(named)
        self.names: list[Group] = [ALL]
        self.of_kind = np.full((3, 1), -1, np.int64)
        self.inferred = np.zeros(1, bool)
        self._table = table
        self._numbers: dict[Group, int] = {ALL: 0}
        self._placed = 0  # kinds that have their groups
        self._known: tuple[Any, ...] = ()
        self._looked_up: dict[str, str] = {}  # address -> name of an API that it was an answer for
        self._endpoints: dict[tuple[str, int], str] = {}
        self._nameless: dict[tuple[str, int], list[int]] = {}
        self._onward: set[str] = set()  # targets that the machine itself asks
        self._relays = False  # whether a service on it may carry on what others ask

    def learn_addresses(self, answered: Iterable[tuple[str, Iterable[str] | None]]) -> None:
        """Take what names were answered with, of which the APIs' are kept."""
        for name, answers in answered:
            api = matching(name, self.api_names)
            if api is not None and answers is not None and len(self._looked_up) < MAX_GROUPS:
                self._looked_up.update(dict.fromkeys(answers, api))

    def update(self) -> None:
        """Place new kinds, or all where what is known of the machines changed."""
        kinds = self._table.kinds
        self._look_for_relays(kinds[max(self._placed, 1) :])
        table = self._table
        known = table.vantage, table.has_tunnel, len(self._looked_up), len(self._onward), self._relays, table.asks_by_ssh
        if (room := self.of_kind.shape[1]) < len(kinds):
            more = max(len(kinds), 2 * room) - room
            self.of_kind = np.pad(self.of_kind, ((0, 0), (0, more)), constant_values=-1)
            self.inferred = np.pad(self.inferred, (0, more))
        first = self._placed if known == self._known else 0
        self._known, self._placed = known, len(kinds)
        for number in range(max(first, 1), len(kinds)):
            self._place(number, kinds[number])

    def _look_for_relays(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            target = self.target(kind) if kind.sni else None
            if kind.served:
                self._relays |= not kind.elsewhere and (not kind.own or target is not None)
            elif kind.own and target is not None:
                self._onward.add(target)

    def _place(self, number: int, kind: Kind) -> None:
        where = kind.resp, kind.port
        target = self.target(kind)
        if kind.sni and target and where not in self._endpoints and len(self._endpoints) < MAX_GROUPS:
            self._endpoints[where] = target  # what carried no hello to the same place is the same server
            for other in self._nameless.pop(where, ()):
                self._place(other, self._table.kinds[other])
        elif not kind.sni and not kind.elsewhere and where not in self._endpoints:
            waiting = self._nameless.setdefault(where, [])
            if number not in waiting:
                waiting.append(number)
        if target is None or kind.elsewhere or (kind.served and target in self._onward and not self._table.asks_by_ssh):
            self.of_kind[:, number] = -1
            self.inferred[number] = False
            return
        row, total = self._number(("row", target, self.side(kind))), self._number(("target", target, ""))
        self.of_kind[:, number] = row, total, 0 if total >= 0 else -1
        self.inferred[number] = self.has_apis or matching(target, KNOWN_APIS) is not None

    def _number(self, name: Group) -> int:
        number = self._numbers.get(name)
        if number is None:
            if len(self.names) >= MAX_GROUPS:
                return -1
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number

    def target(self, kind: Kind) -> str | None:
        """Name of the target; None: elsewhere."""
        here = self._endpoints.get((kind.resp, kind.port))
        if self.has_apis:
            named = matching(kind.sni, self.api_names)
            if named is None and kind.resp in self._api_addresses:
                named = kind.resp
            return named or (None if kind.sni else self._looked_up.get(kind.resp) or here)
        return kind.sni or here or endpoint(kind.resp, kind.port)

    def side(self, kind: Kind) -> str:
        vantage = self._table.vantage
        if vantage != "host":
            return vantage or ""
        if kind.mark or (not kind.own and kind.private and is_public(kind.resp)):
            return "vm"
        if not kind.own or self._relays:
            return "unknown"
        return "host?" if self._table.has_tunnel else "host"

    def by_scope(self, kinds: Ints) -> list[tuple[Ints, list[Group]]]:
        """The row, the target and the all of each of ``kinds``; -1 none. See :class:`netlens.watch.peaks.ExactPeaks`."""
        return [(numbers, self.names) for numbers in self.of_kind[:, kinds]]
