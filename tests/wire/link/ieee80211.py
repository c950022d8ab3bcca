"""IEEE 802.11 without anything before it: to and from an access point, between stations, over a relay, with QoS and what may follow it."""

from tests.wire import links
from tests.wire.air import FROM_DS, ORDER, RETRY, TO_DS, aggregated, data

FORMS = {
    "802.11, to the access point": (links.AIR, data, True),
    "802.11, from it, once more": (links.AIR, lambda p, k: data(p, k, FROM_DS | RETRY), True),
    "802.11, between stations": (links.AIR, lambda p, k: data(p, k, 0), True),
    "802.11, over a relay": (links.AIR, lambda p, k: data(p, k, TO_DS | FROM_DS), True),
    "802.11, qos": (links.AIR, lambda p, k: data(p, k, FROM_DS, 5), True),
    "802.11, qos over a relay, HT control": (links.AIR, lambda p, k: data(p, k, TO_DS | FROM_DS | ORDER, 0), True),
    "802.11, several packets": (links.AIR, lambda p, k: aggregated((p, k)), True),
}
