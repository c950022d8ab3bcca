"""What stands between VM and provider: one kind of relay a file, named by ``[path] kind``.

A kind says with ``OPTIONS`` what a scenario may set for it beside ``kind`` (and what that is if it does not), and with ``NEEDS`` which programs it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from netlens.registry import members

if TYPE_CHECKING:
    from netlens.lab.topology import Context


class Relay(Protocol):
    """One kind of relay. ``OWN_CONNECTIONS``: whether it opens connections of its own for those of the VM's programs."""

    ID: str
    OWN_CONNECTIONS: bool = False
    OPTIONS: Mapping[str, Any] = MappingProxyType({})
    NEEDS: tuple[str, ...] = ()

    def start(self, context: Context, /) -> None:
        """Start it, while both sides are recorded, after the provider, whose names it may look up, and before the programs; it ends with the run.
        LabError if it does not work.

        It may say in the context where the VM's programs run, and which addresses the sides have. Where the provider is to be asked it says in a
        function ``prepare`` of the same parameter, if it has one, which is called before the provider starts.
        """
        ...


def kinds() -> Mapping[str, Relay]:
    """All kinds of relay, by id."""
    return MappingProxyType({each.ID: each for each in members(__name__, Relay)})
