"""Labels from the status that a relay passed on in the clear: the program speaks HTTP with it, whatever the relay speaks upstream."""

from __future__ import annotations

from collections.abc import Iterator

from netlens.chains.requests import UPSTREAM, VM_ROW
from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.chains.traffic import Traffic
from netlens.lenses.refused.labels import STATUS, Told
from netlens.lenses.refused.labels._labels import set_labels, unlabelled

ID = "relay-status"
RANK = 3


def tell(traffic: Traffic) -> Iterator[Told]:
    for side, places, column in ((traffic.upstream, traffic.asked_of_relay, UPSTREAM), (traffic.vm, traffic.asked_in_vm, VM_ROW)):
        if side is None or not places:
            continue
        status = side.capture.table("exchanges")["status"]
        labels = unlabelled(len(side.exchange_rows))
        for i, asked in places.items():
            code = status[asked]
            if code is not None and (code == 429 or 200 <= code < 400):
                set_labels(labels, i, REJECTED if code == 429 else ACCEPTED, STATUS)
        yield Told.of(labels, traffic.rows[:, column])
