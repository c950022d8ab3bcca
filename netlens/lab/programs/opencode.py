"""The real opencode: its npm package, of one version, in a folder of the laboratory's own; it knows no other provider than the stand-in.

``how = "run"`` starts ``opencode run PROMPT`` for each prompt, as scripts do; ``"screen"`` keeps it open in a terminal (tmux) and types. Provider and model are
configured, the stand-in's certificate is trusted by NODE_EXTRA_CA_CERTS. What it logs is followed as ``netlens capture --errors`` follows it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netlens.lab.provider.apis.zai import PATH
from netlens.lab.topology import Context, LabError, program

ID = "opencode"
VERSION = "1.18.33"  #: the newest in November 2026, whose behaviour was measured
PACKAGE = f"opencode-ai@{VERSION}"
PROVIDER, MODEL, API = "zai-coding-plan", "glm-4.7", "api.z.ai"
LOG = ".local/share/opencode/log/opencode.log"  #: in its home
HOWS, ABORTS = ("run", "screen"), ("", "esc", "ctrl-c", "kill")
PROMPTS = ("Say something about this project", "What does the README say?", "List the files and explain")


@dataclass(frozen=True)
class Behaviour:
    """One [[program]] of kind opencode: how a person uses it.

    windows : so many side by side, each with prompts of its own.  title : whether it asks for titles.  fresh : a new session for each prompt (screen).
    abort : how an answer is broken off ("esc", "ctrl-c", "kill"; "": never), ``abort_after_s`` after the prompt, at every ``abort_every``-th prompt.
    idle_s : between prompts.  stays : the screen is left open when the recording ends.  prompts : in turn; "with N agents" makes it call so many at once.
    command : what is started instead of ``opencode``, as a shell takes it (``NAME=VALUE opencode``).
    """

    side: str
    kind: str = ID
    how: str = "run"
    key: str = ""
    windows: int = 1
    start_s: float = 0.0
    title: bool = True
    fresh: bool = True
    abort: str = ""
    abort_after_s: tuple[float, float] = (1.5, 3.0)
    abort_every: int = 2
    idle_s: tuple[float, float] = (1.0, 3.0)
    stays: bool = False
    prompts: tuple[str, ...] = PROMPTS
    command: str = "opencode"
    base_url: str = f"https://{API}{PATH.removesuffix('/chat/completions')}"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Behaviour:
        """From TOML or JSON: lists become tuples."""
        if unknown := set(values) - set(asdict(cls(side=""))):
            raise ValueError(f"opencode has no {', '.join(sorted(unknown))}")
        fixed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        behaviour = cls(**fixed)
        if behaviour.side not in ("vm", "host") or behaviour.how not in HOWS or behaviour.abort not in ABORTS:
            raise ValueError(f"opencode has side vm or host, how {' or '.join(HOWS)}, abort {', '.join(ABORTS[1:])}")
        if behaviour.abort == "esc" and behaviour.how != "screen":
            raise ValueError("opencode run has no Esc: abort is ctrl-c or kill there")
        return behaviour


def check(table: Mapping[str, Any]) -> None:
    Behaviour.of(table)


def folder() -> Path:
    """Where it is installed."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "netlens" / "lab" / f"opencode-{VERSION}"


def binary() -> Path | None:
    """The program; None where it is not installed. NETLENS_LAB_OPENCODE names another."""
    named = os.environ.get("NETLENS_LAB_OPENCODE")
    path = Path(named) if named else folder() / "node_modules" / ".bin" / "opencode"
    return path if path.exists() else None


def install() -> Path:
    """Install it by npm into the laboratory's own folder; LabError if that fails. Nothing else of the machine changes."""
    if (npm := program("npm")) is None:
        raise LabError("npm installs opencode, and is not here; on Debian and Ubuntu: apt-get install npm")
    folder().mkdir(mode=0o755, parents=True, exist_ok=True)
    argv = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder()), PACKAGE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = folder() / "node_modules" / ".bin" / "opencode"
    if done.returncode != 0 or not found.exists():
        raise LabError(
            f"npm could not install {PACKAGE}: {(done.stderr or done.stdout).strip()[-300:] or f'exit status {done.returncode}'}"
        )
    return found


def start(context: Context, side: str, tables: Sequence[Mapping[str, Any]]) -> subprocess.Popen[str]:
    found = binary()
    if found is None:
        raise LabError("opencode is not installed for the laboratory; install it (200 MB, by npm): netlens lab install opencode")
    if any(table.get("how") == "screen" for table in tables) and program("tmux") is None:
        raise LabError("a screen of opencode needs tmux; on Debian and Ubuntu: apt-get install tmux")
    context.details["opencode"] = VERSION
    config = {
        **context.told(side, [{**table, "key": table.get("key", f"{side}-key")} for table in tables]),
        "home": str(home(context, side)),
        "binary": str(found),
        "machine": platform.machine(),
    }
    return context.python(side, "programs._opencode_process", config, f"{side}-opencode")


def home(context: Context, side: str) -> Path:
    """The home of its user on a side; it ends with the run."""
    return context.topology.folder / f"home-{side}"


def configuration(behaviour: Behaviour) -> dict[str, Any]:
    """Its opencode.json."""
    values: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "lsp": False,
        "formatter": False,
        "model": f"{PROVIDER}/{MODEL}",
        "permission": "allow",
        "provider": {
            PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Z.AI Coding Plan",
                "options": {"baseURL": behaviour.base_url, "apiKey": behaviour.key},
                "models": {MODEL: {"name": "GLM-4.7", "tool_call": True, "limit": {"context": 200000, "output": 32000}}},
            }
        },
    }
    if not behaviour.title:
        values["agent"] = {"title": {"disable": True}}
    return values
