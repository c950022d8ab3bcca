"""What the laboratory's tests need of the machine."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from tests.conftest import IN_CI, need_program


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked lab: root on Linux, else skipped; missing programs are skipped by, or fail where CI=true."""
    if not item.get_closest_marker("lab"):
        return
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux: network namespaces are made")
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{path}:/usr/local/sbin:/usr/sbin:/sbin"
    for name in ("ip", "nft", "tcpdump", "sysctl", "sshd", "ssh", "ssh-keygen", "pgrep"):
        need_program(name, "the laboratory")
    os.environ["PATH"] = path
    if importlib.util.find_spec("sshuttle") is None:
        message = "sshuttle is not installed; it comes with the lab extra"
        pytest.fail(message) if IN_CI else pytest.skip(message)
