"""What docstrings say of parameters and attributes, for tables of a generated page."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import griffe

from tools.site.roles import shown

__all__ = ["cell", "of_attributes", "of_parameters", "package"]

SOURCE = Path(__file__).resolve().parents[2] / "src"


@functools.cache
def package() -> Any:
    """Return recprune as griffe reads it, without importing it."""
    return griffe.load("recprune", search_paths=[SOURCE])


def of_parameters(path: str) -> dict[str, str]:
    """Return what the docstring of a class or function says of each parameter, by name."""
    found = _object(path)
    told = griffe.Docstring(_text(found), parent=found).parse("google", warnings=False)
    meanings: dict[str, str] = {}
    for section in told:
        if isinstance(section, griffe.DocstringSectionParameters):
            for each in section.value:  # "label, user: …" speaks of several
                meanings |= {name.strip(): each.description for name in each.name.split(",")}
    return meanings


def of_attributes(path: str) -> dict[str, str]:
    """Return the docstrings below the attributes of a class, by name."""
    members = _object(path).members.values()
    return {m.name: _text(m) for m in members if m.is_attribute and m.docstring is not None}


def cell(text: str) -> str:
    """Return a text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _text(found: Any) -> str:
    return shown(found.docstring, found)


def _object(path: str) -> Any:
    return package()[path.removeprefix("recprune.")]
