"""An agent that streams answers from the provider, like the program of the investigation.

For each prompt it asks for a title beside the first real request, then takes a few turns one after the other, as tool calls make it do.
Connections are kept alive and shared; a refused request is tried again after 2 s, doubling to 30 s; some answers are broken off.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from netlens.lab.topology import PROVIDER_IP, Context


@dataclass(frozen=True)
class Behaviour:
    """One [[program]] of a scenario. Pairs are ranges from which the seeded generator draws."""

    side: str
    kind: str = "agent"
    key: str = "key-1"
    model: str = "glm-4.7"
    small_model: str = ""  # that makes the titles; the same where none is named
    site: str = "api.z.ai"
    proxy: str = ""  # http://IP:PORT (CONNECT) or socks5://IP:PORT, as HTTPS_PROXY has it
    base_url: str = (
        ""  # http://IP:PORT of a reverse proxy that is asked in the clear in place of the site; https:// of a port that leads to the site
    )
    agents: int = 1  # that many at once, each with prompts of its own
    start_s: float = 0.0
    title: bool = True
    turns: tuple[int, int] = (2, 4)  # real requests for a prompt, one after the other
    think_s: tuple[float, float] = (0.1, 0.4)  # before a turn: the tool that the model called
    idle_s: tuple[float, float] = (0.5, 1.5)  # between prompts: the person reads
    wait_s: tuple[float, float] = (0.15, 0.4)  # until the first piece of an answer
    pieces: tuple[int, int] = (2, 5)
    gap_s: float = 0.22
    piece_bytes: tuple[int, int] = (20, 160)
    prompt_bytes: tuple[int, int] = (300, 2500)
    title_bytes: int = 300
    abort_fraction: float = 0.0  # share of answers broken off after a piece or two
    abort_with: str = "fin"  # or rst
    keep_s: float = 5.0  # an idle connection is kept that long
    reuse: bool = True  # False: a new connection for each request; the old one is kept all the same
    back_off_s: float = 2.0
    retries: int = 4
    logs: bool = True  # False: it writes nothing down
    dns: str = "udp"  # or tcp: to the provider's own name server, the connection kept for dns_keep_s
    dns_keep_s: float = 2.0
    dns_every: bool = False  # a lookup before each request, not only for a new connection

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Behaviour:
        """From TOML or JSON: lists become pairs, a single number the pair of itself."""
        pairs = {name for name, value in asdict(cls(side="")).items() if isinstance(value, tuple)}
        if unknown := set(values) - set(asdict(cls(side=""))):
            raise ValueError(f"a program has no {', '.join(sorted(unknown))}")
        fixed: dict[str, Any] = {n: (tuple(v) if isinstance(v, list) else (v, v)) if n in pairs else v for n, v in values.items()}
        behaviour = cls(**fixed)
        if (
            behaviour.abort_with not in ("fin", "rst")
            or behaviour.dns not in ("udp", "tcp")
            or behaviour.side not in ("vm", "host", "vm2", "")
        ):
            raise ValueError("a program has side vm, host or vm2, abort_with fin or rst, dns udp or tcp")
        return behaviour


def check(table: Mapping[str, Any]) -> None:
    Behaviour.of(table)


def start(context: Context, side: str, tables: Sequence[Mapping[str, Any]]) -> subprocess.Popen[str]:
    config = {
        **context.told(side, tables),
        "log_format": context.scenario.logs.get(side, context.scenario.logs["vm"]),
        "dns_over_tcp": PROVIDER_IP,
        "http": context.scenario.provider["http"],
        "api": context.scenario.provider["api"],
        "keylog": str(context.folder / f"{side}-keylog.txt"),
    }
    return context.python(side, "programs._agent_process", config, f"{side}-program")
