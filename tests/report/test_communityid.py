"""Community IDs against the values that the specification publishes, and the column that exports add."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.errors import SchemaError
from netlens.report.communityid import COLUMN, community_id, with_community_id
from netlens.tables import CONNECTIONS, LOOKUPS

#: From the specification's own baseline (version 1, TCP, seed 0, base64).
PUBLISHED = [
    ("128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
]


@pytest.mark.parametrize(("a", "a_port", "b", "b_port", "expected"), PUBLISHED)
def test_published_values_in_both_directions(a: str, a_port: int, b: str, b_port: int, expected: str) -> None:
    assert community_id(a, a_port, b, b_port) == expected
    assert community_id(b, b_port, a, a_port) == expected


def test_one_address_is_ordered_by_ports() -> None:
    assert community_id("127.0.0.1", 5, "127.0.0.1", 4) == community_id("127.0.0.1", 4, "127.0.0.1", 5)
    assert community_id("127.0.0.1", 5, "127.0.0.1", 4) != community_id("127.0.0.1", 5, "127.0.0.1", 3)


def test_the_column_is_added_once_and_to_tables_with_a_5_tuple_only() -> None:
    table = CONNECTIONS.empty()
    added = with_community_id(table)
    assert list(added) == [*table, COLUMN.name]
    assert with_community_id(added) is added
    assert added[COLUMN.name].dtype == np.dtype(object)
    with pytest.raises(SchemaError, match="lookups"):
        with_community_id(LOOKUPS.empty())
