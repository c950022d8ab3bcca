"""How each program is told what a fix asks of it: another base URL, fewer requests at once, another key or model.

Which program runs is known from the form of its error log; without one, what opencode would be told is said beside what to do by hand, and is no command.
What a program has no setting for is said in words and has no command. Names in capitals are the user's to fill in.

Source: the programs' documentation of their environment variables, settings and commands; models.dev for opencode's names of providers.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

OPENCODE = "opencode"
#: Names of APIs -> opencode's id of the provider (of its coding plan, where there are two), the path of its base URL, and that of its Anthropic form.
_APIS: dict[str, tuple[str, str, str | None]] = {
    "api.z.ai": ("zai-coding-plan", "/api/coding/paas/v4", "/api/anthropic"),
    "open.bigmodel.cn": ("zhipuai-coding-plan", "/api/coding/paas/v4", "/api/anthropic"),
    "api.deepseek.com": ("deepseek", "", "/anthropic"),
    "api.openai.com": ("openai", "/v1", None),
    "api.anthropic.com": ("anthropic", "/v1", ""),
    "openrouter.ai": ("openrouter", "/api/v1", None),
}
PROVIDER_CAVEAT = "PROVIDER and PATH are yours: `opencode models` lists the one, the provider's documentation has the other"
PATH_CAVEAT = "PATH is that of the base URL in use now"
PROGRAM_CAVEAT = "PROGRAM is what you start now; where its code or settings name a base URL, change it there"


@dataclass(frozen=True)
class Program:
    """What there is to say of a program.

    start : what starts it.  base_url : the environment variable, or the option that ends with ``=``, for its base URL; "" if there is none.
    anthropic : it speaks Anthropic's form of the API.
    cap, models, login : what keeps it to ``{k}`` requests at once, shows other models, takes another key; None for no command.
    cap_caveat, models_caveat, login_caveat : what to know of that, or to do by hand; "" for nothing.
    """

    start: str = "PROGRAM"
    base_url: str = ""
    anthropic: bool = False
    cap: str | None = None
    cap_caveat: str = (
        "by hand: use the program's own setting; in a program of yours, a semaphore of {k} that each request holds while it is in progress"
    )
    models: str | None = None
    models_caveat: str = ""
    login: str | None = None
    login_caveat: str = "by hand: change the key where the program gets it now: its settings or its environment"


_BY_NAME = {
    OPENCODE: Program(
        "opencode",
        cap="BUN_CONFIG_MAX_HTTP_REQUESTS={k} opencode",
        cap_caveat=(
            "BUN_CONFIG_MAX_HTTP_REQUESTS is a setting of Bun, which opencode runs on; 1.18 obeys it, but `opencode run --attach` hangs with it"
        ),
        models="opencode models",
        models_caveat="the command lists what is set up, for `opencode --model`",
        login="opencode auth login",
        login_caveat="",
    ),
    "Claude Code": Program(
        "claude",
        "ANTHROPIC_BASE_URL",
        anthropic=True,
        cap_caveat="by hand: have fewer windows and subagents at work at once",
        models_caveat="by hand: `/model` chooses another",
        login_caveat="by hand: `/login` switches to another account",
    ),
    "Codex": Program("codex", "-c openai_base_url=", models_caveat="by hand: `/model` chooses another"),
    "aider": Program("aider", "OPENAI_API_BASE", models="aider --list-models openai/"),
    "litellm": Program(base_url="OPENAI_API_BASE"),
    "OpenAI or Anthropic SDK for Python": Program(
        base_url="OPENAI_BASE_URL",
        cap_caveat=(
            "by hand: in the program, hold an asyncio.Semaphore({k}) (of threads: a threading.Semaphore({k})) while a request is in progress"
        ),
    ),
    "OpenAI or Anthropic SDK for JavaScript": Program(
        base_url="OPENAI_BASE_URL",
        cap_caveat="by hand: in the program, let at most {k} requests be in progress, with a queue such as p-limit",
    ),
}


#: One of which no log tells.
_UNTOLD = Program(
    cap_caveat=f"{Program.cap_caveat} (opencode: {_BY_NAME[OPENCODE].cap})",
    models_caveat="by hand: choose another where the program gets its model now (opencode: opencode models)",
    login_caveat=f"{Program.login_caveat} (opencode: {_BY_NAME[OPENCODE].login})",
)


def api_of(provider: str) -> str | None:
    """The name of the API of one of opencode's providers; None of another."""
    return next(
        (api for api, (own, _, _) in _APIS.items() if provider.removesuffix("-coding-plan") == own.removesuffix("-coding-plan")), None
    )


def known(name: str | None) -> Program:
    """What there is to say of the program with the name that :mod:`netlens.logs` has for it; None: no log tells."""
    return _UNTOLD if name is None else _BY_NAME.get(name, Program())


def led(name: str | None, api: str, where: str) -> tuple[str | None, tuple[str, ...]]:
    """What starts a program so that it asks the proxy at ``where`` (``host:port``) for an API, and what to know of it."""
    program = known(name)
    provider, path, anthropic = _APIS.get(api, ("PROVIDER", "/PATH", None))
    if name in (None, OPENCODE):
        content = {"provider": {provider: {"options": {"baseURL": f"http://{where}{path}"}}}}
        command = f"OPENCODE_CONFIG_CONTENT={shlex.quote(json.dumps(content))} opencode"
        caveats = () if api in _APIS else (PROVIDER_CAVEAT,)
        return (
            (command, caveats)
            if name
            else (None, (f"set the base URL of the program to http://{where}{path} (opencode: {command})", *caveats))
        )
    variable = program.base_url
    if program.anthropic:
        path = "/PATH" if anthropic is None else anthropic
    elif variable == "OPENAI_BASE_URL" and api == "api.anthropic.com":
        variable, path = "ANTHROPIC_BASE_URL", ""
    url = f"http://{where}{path}"
    caveats = (*((PATH_CAVEAT,) if path == "/PATH" else ()), *((PROGRAM_CAVEAT,) if program.start == "PROGRAM" and variable else ()))
    if not variable:
        return None, (f"set the base URL of the program to {url}", *caveats)
    return f"{program.start} {variable}{url}" if variable.endswith("=") else f"{variable}={url} {program.start}", caveats
