"""JSON Schema in words: ``integer from 1 to 100``, ``list of at most 32 of …``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["ANY", "default", "words"]

ANY = "any value"
BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
    ("minProperties", "at least {} members"),
    ("maxProperties", "at most {} members"),
)
#: 2⁶³ and its like bound what a number can be at all.
HUGE = 1 << 53


def words(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, as Markdown; named forms are links to their headings."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name.strip('_')}](#{name.strip('_').lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            ways = [words(each) for each in schema[several]]
            return " or ".join(dict.fromkeys(ways))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "prefixItems" in schema:  # their number is said already
        return "list of " + " and ".join(words(each) for each in schema["prefixItems"])
    bounds = [(said, schema[key]) for key, said in BOUNDS if key in schema]
    limits = ", ".join(said.format(f"{bound:,}") for said, bound in bounds if abs(bound) < HUGE)
    return _kind(schema) + (f" ({limits})" if limits else "")


def default(schema: Mapping[str, Any]) -> str:
    """Return a value's default as Markdown; an em dash where there is none."""
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else "—"


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        inner = words(schema["items"]) if schema.get("items") else ANY
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    if kind == "object":
        members = schema.get("additionalProperties")
        if isinstance(members, Mapping) and members:
            return f"object: name → {words(members)}"
        return "object"
    if isinstance(kind, list):
        return " or ".join(kind)
    return str(kind) if kind else ANY
