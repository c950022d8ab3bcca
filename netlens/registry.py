"""Members of a folder: a file in it is a member, found without a list and checked when it is loaded.

Causes, fixes, limiters, lenses, checks, link types and exports are all kept this way. What a member has is said once, by a Protocol beside the folder:
its annotated attributes, its functions with their parameters. An attribute to which the Protocol gives a value may be left out, and has that value then.
A file whose name begins with an underscore is no member but what members share.
"""

from __future__ import annotations

import inspect
import pkgutil
import types
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

P = TypeVar("P")


@cache
def members(package: str, kind: type[P], sections: tuple[str, ...] = (), unique: tuple[str, ...] = ("ID",)) -> tuple[P, ...]:
    """The members of a package, in the order of their files' names.

    package : its full name.  kind : a Protocol; what it annotates must be there and of that type, what it defines must take the same parameters.
        ``ID``, if it is annotated, may be left out: it is the file's name with ``-`` for ``_``.
    sections : words that the docstring must have, each at the beginning of a line and followed by a colon (``Claim``).
    unique : attributes that no two members may share; of a dict no key.

    TypeError if a file is no member: it is named, and what it lacks; or two share what is unique.
    """
    folder = import_module(package).__path__
    modules = [import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(folder) if not m.name.startswith("_")]
    for module in modules:
        check(module, kind, sections)
    for attribute in unique:
        taken: dict[Any, str] = {}
        for module in modules:
            found = getattr(module, attribute)
            for value in found if isinstance(found, dict) else (found,):
                if value in taken:
                    raise TypeError(f"{_file(module)} and {taken[value]} have the same {attribute}: {value!r}")
                taken[value] = _file(module)
    return tuple(modules)  # type: ignore[arg-type]


def check(module: types.ModuleType, kind: type[Any], sections: tuple[str, ...] = ()) -> None:
    """That a module is what ``kind`` says; else a TypeError with its name and what is wrong."""
    name, own = _file(module), module.__name__.rpartition(".")[2].replace("_", "-")
    lines = (module.__doc__ or "").splitlines()
    if not lines:
        raise TypeError(f"{name} has no docstring")
    for section in sections:
        if not any(line.startswith(f"{section}:") for line in lines):
            raise TypeError(f"{name}: its docstring has no line that begins with {section}:")
    hints = _hints(kind)  # type: ignore[arg-type]
    for attribute, wanted in hints.items():
        if not hasattr(module, attribute) and (attribute == "ID" or hasattr(kind, attribute)):
            setattr(module, attribute, own if attribute == "ID" else getattr(kind, attribute))
        value = getattr(module, attribute, None)
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise TypeError(f"{name}: {attribute} is {value!r}, it must be one of {', '.join(map(repr, get_args(wanted)))}")
            continue
        accepted = tuple(get_origin(each) or each for each in (get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)))
        if value is None or not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted) or value == "":
            raise TypeError(f"{name}: {attribute} is {value!r}, it must be of type {' or '.join(t.__name__ for t in accepted)}")
    if "ID" in hints and own != module.ID:
        raise TypeError(f"{name}: ID is {module.ID!r}, it must be {own!r}")
    for attribute, model in vars(kind).items():
        if not attribute.startswith("_") and inspect.isfunction(model):
            _check_function(name, attribute, getattr(module, attribute, None), model)


_hints = cache(get_type_hints)


def _check_function(name: str, attribute: str, function: Any, model: Any) -> None:
    if not callable(function):
        raise TypeError(f"{name} has no function {attribute}")
    wanted = list(inspect.signature(model).parameters.values())[1:]
    parameters = list(inspect.signature(function).parameters.values())
    by_place = all(p.kind is p.POSITIONAL_ONLY for p in wanted)
    if len(parameters) != len(wanted) or not (by_place or [p.name for p in parameters] == [p.name for p in wanted]):
        raise TypeError(
            f"{name}: {attribute} takes ({', '.join(p.name for p in parameters)}), it must take ({', '.join(p.name for p in wanted)})"
        )


def _file(module: types.ModuleType) -> str:
    return module.__name__.removeprefix("netlens.").replace(".", "/") + ".py"
