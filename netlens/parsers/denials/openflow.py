"""OpenFlow (ONF TS-001 5.1, 5.4.4; TS-025 7.1.1, 7.5.4): an ERROR, by which a switch refuses what a controller asked, or either a version.

Ordinary: a switch that lacks what the controller tries, as kinds of requests and extensions, and the role that another controller has.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "openflow", "OpenFlow"
AT = At(tcp=(6633, 6653), either=True)
DAILY = ("request not offered", "role refused")
_ERROR, _FEATURES_REPLY, _LAST_KIND = 1, 6, 35
_FIRST = {0: "versions do not fit", 1: "request not understood", 2: "action refused", 3: "flow refused", 4: "port change refused",
          5: "queue refused"}  # fmt: skip
_LATER = {0: "versions do not fit", 1: "request not understood", 2: "action refused", 3: "instruction refused", 4: "match refused", 5: "flow refused",
          6: "group refused", 7: "port change refused", 8: "table change refused", 9: "queue refused", 10: "configuration refused", 11: "role refused",
          12: "meter refused", 13: "table features refused"}  # fmt: skip
_NOT_OFFERED = (1, 2, 3, 4)  # codes of a request: its type, the kind of statistics, the vendor, the vendor's type


def read(message: bytes, length: int, /) -> str | None:
    """The messages of a segment until one is an ERROR or a FEATURES_REPLY."""
    at = 0
    while 1 <= message[at] <= 6 and message[at + 1] <= _LAST_KIND:
        size = int.from_bytes(message[at + 2 : at + 4], "big")
        if message[at + 1] == _FEATURES_REPLY and size >= 24:
            return ""
        if message[at + 1] == _ERROR and size >= 12 and at + size <= length:
            kind, code = int.from_bytes(message[at + 8 : at + 10], "big"), message[at + 10] << 8 | message[at + 11]
            no = (_FIRST if message[at] == 1 else _LATER).get(kind)
            if kind == 1 and code in _NOT_OFFERED:
                no = "request not offered"
            return f"{no} ({kind}/{code})" if no and code < 32 else None
        if size < 8:
            return None
        at += size
    return None
