"""Radiotap: with flags and without, with a gap behind the header of IEEE 802.11, with fields of each antenna."""

from tests.wire import links
from tests.wire.air import FROM_DS, data, radiotap

FORMS = {
    "radiotap": (links.RADIOTAP, lambda p, k: radiotap(data(p, k)), True),
    "radiotap, no flags": (links.RADIOTAP, lambda p, k: radiotap(data(p, k, FROM_DS), flags=None), True),
    "radiotap, a gap": (links.RADIOTAP, lambda p, k: radiotap(data(p, k, FROM_DS, 5, gap=2), flags=0x20), True),
    "radiotap, antennas": (links.RADIOTAP, lambda p, k: radiotap(data(p, k, FROM_DS, 5), more=3), True),
}
