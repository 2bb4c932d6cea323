"""The public surface as text: names with their signatures, and verbs with their options.

Names are read from the source, without importing it. Whoever changes the surface on purpose writes
``signatures.txt`` anew by ``python -m tests.architecture.signatures --write``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import typer.main

from recprune.cli import app

SOURCE = Path(__file__).resolve().parents[2] / "src"
STORED = Path(__file__).with_name("signatures.txt")
#: What programs import from, besides ``recprune`` itself.
PACKAGES = (
    *("data", "errors", "evaluation", "executor", "importance", "metrics", "models", "pruning"),
    *("runtime", "streaming", "users"),
)


def surface(source: Path = SOURCE) -> str:
    """Return the surface of the package in a folder, and of the program."""
    package = griffe.load("recprune", search_paths=[source], submodules=True)
    assert isinstance(package, griffe.Module)
    modules = [package, *(package[name] for name in PACKAGES)]
    public = {_found(m, str(name)).path for m in modules for name in m.exports or ()}
    lines: list[str] = []
    shown: dict[str, str] = {}
    for module in modules:
        lines += ["", f"## {module.path}", ""]
        for name in map(str, module.exports or ()):
            thing = _found(module, name)
            if thing.path in shown:
                lines.append(f"{name}: see {shown[thing.path]}")
                continue
            shown[thing.path] = f"{module.path}.{name}"
            is_class = isinstance(thing, griffe.Class)
            lines += _class(name, thing, public) if is_class else [_line(name, thing)]
    return "\n".join(["# The public surface", *lines, "", "## The program", "", *verbs(), ""])


def _found(module: griffe.Module, name: str) -> griffe.Object:
    """Return what a name stands for, through whatever imports it."""
    thing = module.members[name]
    return thing.final_target if isinstance(thing, griffe.Alias) else thing


def verbs() -> Iterator[str]:
    """Yield each verb with its arguments and options, as the program parses them."""
    program = typer.main.get_command(app)
    waiting = [("recprune", program)]
    while waiting:
        name, command = waiting.pop(0)
        yield name
        for each in command.params:
            if "--help" not in each.opts:
                yield f"    {_option(each)}"
        inner = getattr(command, "commands", {})
        waiting += [(f"{name} {verb}", inner[verb]) for verb in sorted(inner)]


def _option(given: Any) -> str:
    option = given.param_type_name == "option"
    words = [", ".join([*given.opts, *given.secondary_opts]) if option else given.name]
    if option and not given.is_flag and not given.count:
        words.append("VALUE")
    if given.multiple or given.nargs == -1:
        words.append("…")
    if given.required:
        words.append("required")
    elif given.default not in (None, False) and not callable(given.default):
        words.append(f"= {given.default}")
    return " ".join(words)


def _class(name: str, kind: griffe.Class, public: set[str]) -> Iterator[str]:
    """Yield a class: how it is made, and what it adds to a base that is public itself."""
    base, members, made = "", dict(kind.members), kind.members.get("__init__")
    for each in kind.mro():
        made = made or each.members.get("__init__")
        if not base and each.path in public:
            base = f", a {each.name}"
        elif not base:
            members = {**each.members, **members}
    given = _parameters(made) if isinstance(made, griffe.Function) else ""
    yield f"class {name}{given}{base}"
    for inner in sorted(members):
        if not inner.startswith("_") and not isinstance(members[inner], griffe.Alias):
            yield f"    {_line(inner, members[inner])}"


def _line(name: str, thing: griffe.Object | griffe.Alias) -> str:
    if isinstance(thing, griffe.Function):
        kind = "".join(
            f"{label} " for label in ("classmethod", "staticmethod") if label in thing.labels
        )
        result = f" -> {thing.returns}" if thing.returns is not None else ""
        return f"{kind}{name}{_parameters(thing)}{result}"
    annotation = getattr(thing, "annotation", None)
    return f"{name}: {annotation}" if annotation is not None else name


def _parameters(function: griffe.Function) -> str:
    method = isinstance(function.parent, griffe.Class) and "staticmethod" not in function.labels
    texts, star = [], False
    for each in [*function.parameters][1 if method else 0 :]:
        kind = each.kind
        if kind is griffe.ParameterKind.keyword_only and not star:
            texts.append("*")
        star |= kind in (griffe.ParameterKind.keyword_only, griffe.ParameterKind.var_positional)
        mark = {"variadic positional": "*", "variadic keyword": "**"}.get(kind.value, "")
        text = f"{mark}{each.name}"
        text += f": {each.annotation}" if each.annotation is not None else ""
        if each.default is not None and not mark:
            text += f" = {each.default}"
        texts.append(text)
    return f"({', '.join(texts)})"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        STORED.write_text(surface(), "utf-8")
    else:
        print(surface(), end="")
