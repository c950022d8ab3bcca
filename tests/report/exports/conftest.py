from __future__ import annotations

import pytest

import netlens
from tests.parsers.test_pipeline import ANSWER, QUERY, conversation, datagram, pcap


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> netlens.Capture:
    """Two lookups, of which one is unanswered, and connections that closed, broke off and stayed open."""
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += [datagram("10.0.0.2", 6001, "10.0.0.53", 53, QUERY)]
    packets += conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 2, 2, "fin")
    packets += conversation("10.0.0.2", 4001, "203.0.113.10", 99999, True, 1, 1, "rst")
    packets += conversation("10.0.0.2", 4002, "203.0.113.10", 55555, False, 1, 1, "open")
    path = tmp_path_factory.mktemp("export") / "small.pcap"
    path.write_bytes(pcap([(1_700_000_000 * 10**6 + i * 1001, p) for i, p in enumerate(packets)]))
    return netlens.read(path)
