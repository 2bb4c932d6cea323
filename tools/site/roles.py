"""Docstrings as the site shows them: roles become links, doctests become blocks of code.

Docstrings name other objects by Sphinx's roles (``:func:`recprune.load```). A name that a page of
the site documents becomes a link to it, any other one plain code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from griffe import (
    Alias,
    AliasResolutionError,
    Docstring,
    Extension,
    Module,
    NameResolutionError,
    Object,
)

__all__ = ["Roles"]

ROLE = re.compile(r":(?:py:)?(?:attr|class|data|exc|func|meth|mod|obj):`(~?)([\w.]+)`")
LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
#: Two colons that say that a block of code follows, as its indent says in Markdown.
FOLLOWS = re.compile(r"(?: |^) *::$|:(?=:$)", re.MULTILINE)
DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)


class Roles(Extension):
    """Rewrite every docstring of a package once it is loaded whole."""

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Go through the package's objects."""
        errors = {name: pkg["errors"][name].path for name in pkg["errors"].exports or ()}
        self._rewrite(pkg, errors)

    def _rewrite(self, this: Object, errors: Mapping[str, str]) -> None:
        if this.docstring is not None:
            this.docstring.value = shown(this.docstring, this)
        members = [member for member in this.members.values() if not isinstance(member, Alias)]
        for member in members:
            self._rewrite(member, errors)
        if this.is_module:  # "Raises" names errors that come from further down, not imported here
            for name, path in errors.items():
                if name not in this.members:
                    this.set_member(name, Alias(name, path))


def shown(docstring: Docstring, owner: Object) -> str:
    """Return a docstring's text as Markdown."""
    text = ROLE.sub(lambda role: _link(role, owner), docstring.value)
    text = LITERAL.sub(lambda found: f"`{found[1]}`", text)
    return DOCTEST.sub(_block, FOLLOWS.sub("", text))


def _link(role: re.Match[str], owner: Object) -> str:
    shortened, name = role[1] == "~", role[2]
    path, label = _path(name, owner), name.rpartition(".")[2] if shortened else name
    if path is None:
        return f"`{label}`"
    return f'<autoref identifier="{path}" optional><code>{label}</code></autoref>'


def _path(name: str, owner: Object) -> str | None:
    """Return where the object of a name is defined, as seen by who names it; None = not known."""
    first, dot, rest = name.partition(".")
    here: Object | None = owner
    while here is not None:
        if first in here.members:
            return _canonical(here, name)
        here = here.parent
    if first == owner.package.path:
        return _canonical(owner.package, rest) if dot else first
    try:
        return owner.resolve(first) + dot + rest
    except NameResolutionError:
        return None


def _canonical(where: Object, name: str) -> str | None:
    try:
        found: Any = where[name]
        return str(found.canonical_path)
    except (KeyError, AliasResolutionError):
        return None


def _block(found: re.Match[str]) -> str:
    indent = found[1]
    return f"{indent}```pycon\n{found[0]}\n{indent}```"
