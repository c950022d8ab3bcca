"""Scenarios: one TOML file each, with the parameters of a run and what is expected of it.

A scenario may have a ``base``: it then says only what differs. Tables are merged, ``[[program]]`` is replaced as a whole.

``[path] kind`` is one of :mod:`netlens.lab.relays`, ``[[program]] kind`` one of :mod:`netlens.lab.programs`, and ``[provider.NAME]`` holds the
settings of one of :mod:`netlens.lab.provider.limiters`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from netlens.lab import programs, relays
from netlens.lab.provider import limiters
from netlens.lab.provider.apis import apis, zai
from netlens.lab.provider.real import Answers
from netlens.lab.topology import PROVIDER_IPS, LabError
from netlens.lenses.refused.causes import all_causes

_FOLDER = resources.files("netlens.lab") / "scenarios"
_RUN = {"seconds": 30.0, "seed": 1}
_PATH = {"kind": "sshuttle", "older_s": 0.0}  # and what the relays may be told
#: and a table for each limit.  ``answers``: to real programs, which do not say what they want (netlens.lab.provider.real).
#: ``addresses``: how many its names have, the first in turn.
_PROVIDER: dict[str, Any] = {
    "api": zai.ID, "code": "", "codes": {}, "retry_after_s": None, "refuses_in_stream": False, "http": "1.1",
    "answers": {}, "addresses": 1,
}  # fmt: skip
_CLOCK = {"offset_s": 0.0, "drift_ppm": 0.0}
_LOGS = {"vm": "classic", "host": "logfmt"}
_EXPECT_KEYS = {"causes", "limit", "rule", "rejections", "why"}


@dataclass(frozen=True)
class Expectation:
    """What is true of a run, by the way it was made.

    causes : hypothesis ids that are true for the VM's refusals (several only where several are true at once).
    limit : how many others may be in progress before a request is refused; None if nothing is counted.
    rule : unit and scope of what is counted ("requests per ip", ...); None likewise.
    rejections : sides whose programs are refused at least once: vm, host, both or none.
    why : the mechanism, in a sentence.
    """

    causes: tuple[str, ...]
    limit: int | None
    rule: str | None
    rejections: str
    why: str


@dataclass(frozen=True)
class Scenario:
    """One scenario, checked; the tables are as in the file, with what was left out filled in."""

    name: str
    title: str
    run: Mapping[str, Any]
    path: Mapping[str, Any]
    provider: Mapping[str, Any]
    clock: Mapping[str, Any]
    logs: Mapping[str, str]
    programs: tuple[Mapping[str, Any], ...]
    expect: Expectation

    @property
    def concurrency(self) -> Mapping[str, Any] | None:
        """What the provider counts (``counts``, ``per``, ``limit``); None: nothing."""
        return self.provider["concurrency"]


def names() -> list[str]:
    return sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml"))


def _read(name: str) -> dict[str, Any]:
    file = _FOLDER / f"{name}.toml"
    if "/" in name or not file.is_file():
        raise LabError(f"there is no scenario {name!r}; `netlens lab list` names them")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"scenario {name}: {error}") from None
    base = values.pop("base", None)
    return _merged(_read(base), values) if base else values


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in values.items():
        both[name] = _merged(both[name], value) if isinstance(value, dict) and isinstance(both.get(name), dict) else value
    return both


def load(name: str) -> Scenario:
    """Read and check a scenario; LabError says what is wrong with it."""
    return parse(name, _read(name))


def parse(name: str, values: Mapping[str, Any]) -> Scenario:
    try:
        known = {"title", "run", "path", "provider", "clock", "logs", "program", "expect"}
        _only("a scenario", values, known)
        expect = values["expect"]
        _only("[expect]", expect, _EXPECT_KEYS)
        scenario = Scenario(
            name,
            values["title"],
            _filled("[run]", _RUN, values),
            _filled("[path]", _PATH | {k: v for each in relays.kinds().values() for k, v in each.OPTIONS.items()}, values),
            _provider(values),
            _filled("[clock]", _CLOCK, values),
            _filled("[logs]", _LOGS, values),
            tuple(values["program"]),
            Expectation(tuple(expect["causes"]), expect.get("limit"), expect.get("rule"), expect["rejections"], expect["why"]),
        )
        _check(scenario)
    except KeyError as error:
        raise LabError(f"scenario {name}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise LabError(f"scenario {name}: {error}") from None
    return scenario


def _provider(values: Mapping[str, Any]) -> dict[str, Any]:
    """[provider], with the usual code of its API where none is named."""
    filled = _filled("[provider]", _PROVIDER | dict.fromkeys(limiters.kinds()), values)
    if filled["api"] not in apis():
        raise ValueError(f"[provider] api is one of {', '.join(apis())}")
    return filled | {"code": filled["code"] or next(iter(apis()[filled["api"]].ERRORS))}


def _filled(where: str, defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    given = values.get(where.strip("[]"), {})
    _only(where, given, set(defaults))
    return {**defaults, **given}


def _only(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(values) - known:
        raise ValueError(f"{where} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")


def _check(scenario: Scenario) -> None:
    expect = scenario.expect
    limiters.settings_of(scenario.provider)
    for program in scenario.programs:
        if "side" not in program:
            raise ValueError("a [[program]] needs a side")
        programs.kinds()[programs.kind_of(program)].check(program)
        if len({programs.kind_of(each) for each in scenario.programs if each["side"] == program["side"]}) > 1:
            raise ValueError("all programs of a side are of one kind: they share its log")
    if scenario.path["kind"] not in relays.kinds():
        raise ValueError(f"[path] kind is one of {', '.join(relays.kinds())}")
    known = apis()[scenario.provider["api"]].ERRORS
    if any(code not in known for code in (scenario.provider["code"], *scenario.provider["codes"].values())):
        raise ValueError(f"[provider] code is one of {', '.join(known)}")
    if scenario.provider["addresses"] not in range(1, len(PROVIDER_IPS) + 1):
        raise ValueError(f"[provider] addresses are 1 to {len(PROVIDER_IPS)}")
    Answers.of(scenario.provider["answers"])
    if any(form not in programs.LOG_FORMATS for form in scenario.logs.values()):
        raise ValueError(f"[logs] are one of {', '.join(programs.LOG_FORMATS)}")
    if unknown := set(expect.causes) - {cause.ID for cause in all_causes()}:
        raise ValueError(f"no such cause: {', '.join(unknown)}")
    if expect.rejections not in ("vm", "host", "both", "none"):
        raise ValueError("[expect] rejections is vm, host, both or none")
    if bool(expect.causes) != (expect.rejections in ("vm", "both")):
        raise ValueError("[expect] has causes if and only if the VM is refused")
    true = (f"{counted['counts']} per {counted['per']}", counted["limit"]) if (counted := scenario.concurrency) else (None, None)
    if expect.rejections != "none" and (expect.rule, expect.limit) != true:
        raise ValueError(f"[expect] rule and limit are not the provider's ({', '.join(map(str, true))})")
