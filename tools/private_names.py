"""Report uses of another module's private names: ``python tools/private_names.py [FILE...]``, without files all of ``netlens/``.

A name is private if it begins with one underscore. Reported is one that is imported from another module of netlens, or read from or written to an
object that is not ``self``, ``cls``, ``super()`` or of a class of the same file. An object's class is not known here, so an attribute counts as the
file's own if the file defines it: as a method, a field, a global, or by ``self._name = ...``. A file with a private name (``_kinds.py``) is no member
of its folder (see netlens/registry.py); the folder, those within it and the one above may use its public names.

Names of the standard library and of numba that have no public way are listed in ALLOWED, each with its reason.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Private names of others that may be used, and why.
ALLOWED = {
    "_asdict": "a named tuple's public method",
    "_replace": "a named tuple's public method",
    "_fields": "a named tuple's public attribute",
    "_cache": "numba: the place for a cache of one's own (docs/decisions/0018)",
    "_rebuild": "numba: CompileResult is read from disk (docs/decisions/0018)",
    "_reduce": "numba: CompileResult is written to disk (docs/decisions/0018)",
    "_get_module_for_linking": "numba: the instructions of a compiled kernel (docs/decisions/0022)",
    "_getvalue": "numba: an array as kernels take it (docs/decisions/0022)",
    "_all_fields": "pyshark: the fields of a layer that occur several times",
    "_last_error_line": "pyshark: what tshark said before it ended",
    "_exit": "os._exit: ends a process without clean-up, which is its point",
    "_run_exitfuncs": "atexit's: what the interpreter calls at its end; it has no public name",
    "_getframe": "sys._getframe: what a handler of signals is given",
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.Module) -> set[str]:
    """Private names that a file defines: functions, classes, globals, fields, attributes of ``self`` and ``cls``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and private(node.value):
            found.add(node.value)  # in __slots__
    return {name for name in found if private(name)}


def _own(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _modules(tree: ast.Module) -> set[str]:
    """Names by which the file calls modules, and what it took from modules of netlens."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname or a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netlens"):
            found |= {a.asname or a.name for a in node.names}
    return found


def _inherited(tree: ast.Module, root: Path) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Methods with private names that override one of a base class of another file of netlens."""
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netlens")
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for base in node.bases:
            module, name = imported.get(base.id, ("", "")) if isinstance(base, ast.Name) else ("", "")
            path = root / (module.replace(".", "/") + ".py")
            if not module or not path.is_file():
                continue
            for other in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(other, ast.ClassDef) and other.name == name:
                    theirs = {m.name for m in other.body if isinstance(m, ast.FunctionDef)}
                    yield from ((m, name) for m in node.body if isinstance(m, ast.FunctionDef) and private(m.name) and m.name in theirs)


def uses(path: Path, root: Path = ROOT) -> list[tuple[int, str]]:
    """(line, what is used) of each use of another module's private name in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(root).with_suffix("").parts[:-1])
    own, modules, found = defined(tree), _modules(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "netlens":
            module = node.module or ""
            if private(module.rpartition(".")[2]) and not _near(module.rpartition(".")[0], package):
                found.append((node.lineno, module))
            for name in (alias.name for alias in node.names if private(alias.name)):
                if not (_is_file(root, module, name) and _near(module, package)):
                    found.append((node.lineno, f"{module}.{name}"))
        elif isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in ALLOWED and not _own(node.value):
            of_module = isinstance(node.value, ast.Name) and node.value.id in modules
            if of_module or node.attr not in own:
                found.append((node.lineno, ast.unparse(node)))
    found += [(method.lineno, f"{method.name}, which overrides that of {base}") for method, base in _inherited(tree, root)]
    return sorted(found)


def _near(folder: str, package: str) -> bool:
    """Whether the files of ``folder`` with private names may be used in ``package``: it is that folder, lies within it, or holds it."""
    return package in (folder, folder.rpartition(".")[0]) or package.startswith(f"{folder}.")


def _is_file(root: Path, module: str, name: str) -> bool:
    return (root / module.replace(".", "/") / f"{name}.py").is_file()


def main(arguments: list[str]) -> int:
    paths = [Path(a).resolve() for a in arguments] or sorted((ROOT / "netlens").rglob("*.py"))
    lines = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in paths for line, what in uses(path)]
    print(
        "\n".join([*lines, f"{len(lines)} uses of private names of other modules"])
        if lines
        else "no private name of another module is used"
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
