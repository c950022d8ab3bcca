"""A program that asks the provider through the real Python SDK of OpenAI or Anthropic, which tries again in silence.

One line of its log stands for as many refusals as the SDK made attempts. The SDKs are no part of netlens: they are found where Python finds packages, or in
the folder that ``NETLENS_LAB_PACKAGES`` names (``pip install --target FOLDER openai anthropic``).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from netlens.lab.topology import Context, LabError

ID = "sdk"
SILENT = True
PACKAGES = ("openai", "anthropic")
FOLDER = "NETLENS_LAB_PACKAGES"


@dataclass(frozen=True)
class Behaviour:
    """One [[program]] of a scenario. Pairs are ranges from which the seeded generator draws."""

    side: str
    kind: str = ID
    package: str = "openai"
    key: str = "key-1"
    model: str = "glm-4.7"
    site: str = "api.z.ai"
    workers: int = 3
    think_s: tuple[float, float] = (0.1, 0.6)
    wait_s: tuple[float, float] = (0.15, 0.4)
    pieces: tuple[int, int] = (2, 8)
    gap_s: float = 0.22
    piece_bytes: tuple[int, int] = (20, 160)
    prompt_bytes: tuple[int, int] = (300, 2500)
    max_retries: int = 2  # the default of both SDKs

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Behaviour:
        """From TOML or JSON: lists become pairs."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"a program of an SDK has no {', '.join(sorted(unknown))}")
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        made = cls(**given)
        if made.package not in PACKAGES or made.side not in ("vm", "host"):
            raise ValueError(f"a program of an SDK has side vm or host, package {' or '.join(PACKAGES)}")
        return made


def check(table: Mapping[str, Any]) -> None:
    Behaviour.of(table)


def start(context: Context, side: str, tables: Sequence[Mapping[str, Any]]) -> subprocess.Popen[str]:
    folder = os.environ.get(FOLDER, "")
    missing = {str(Behaviour.of(each).package) for each in tables if not _there(Behaviour.of(each).package, folder)}
    if missing:
        names = " ".join(sorted(missing))
        raise LabError(
            f"scenario {context.scenario.name} runs the Python package {names}: pip install --target FOLDER {names}, then set {FOLDER}=FOLDER"
        )
    return context.python(side, "programs._sdk_process", {**context.told(side, tables), "packages": folder}, f"{side}-program")


def _there(package: str, folder: str) -> bool:
    return importlib.util.find_spec(package) is not None or bool(folder and Path(folder, package).is_dir())
