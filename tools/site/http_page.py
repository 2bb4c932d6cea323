"""The reference of the service, from the OpenAPI document that it gives out itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tools.site.json_types import default, words
from tools.site.meanings import cell

__all__ = ["document", "render"]

HEAD = """# HTTP

What `recprune serve` answers, written from the service's OpenAPI document when this site is built; a
running service gives the same at `GET /openapi.json`. Bounds are the defaults of `recprune serve`
(`--max-k` and its like change them). How to ask, with examples: [Serving](../serving.md); keys and
scopes: [Security and privacy](../security.md). Keys travel as `X-API-Key: KEY` or
`Authorization: Bearer KEY`. The page for browsers has routes of its own, which are for no program.
"""


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a service with default bounds; no model is loaded for it."""
    from recprune.serving import ServeSettings, Sources
    from recprune.serving.app import make_api
    from recprune.serving.metrics import Metrics
    from recprune.serving.service import Service

    with tempfile.TemporaryDirectory() as nowhere:
        settings = ServeSettings(Sources(Path(nowhere) / "model"), Path(nowhere) / "state")
        return make_api(Service(settings, Metrics())).openapi()


def render() -> str:
    """Return the page: every route, then the forms that requests and answers have."""
    api = document()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    }
    routes = [_route(name, operation) for name, operation in operations.items()]
    forms = api["components"]["schemas"]
    told = [_form(name.strip("_"), forms[name]) for name in sorted(forms, key=_by_name)]
    return "\n".join([HEAD, *routes, _refusals(operations), "## Forms\n", *told])


def _route(name: str, operation: dict[str, Any]) -> str:
    lines = [f"## {name}", "", _sentence(operation), ""]
    given = operation.get("parameters", ())
    lines += [f"- `{each['name']}` ({each['in']}): {words(each['schema'])}" for each in given]
    if "requestBody" in operation:
        lines.append(f"- Body: {_content(operation['requestBody'])}")
    answers = dict(operation["responses"])
    lines.append(f"- Answer: {_content(answers.pop('200'))}")
    lines.append(f"- [Refused](#refusals) with {', '.join(sorted(answers))}")
    return "\n".join([*lines, ""])


def _refusals(operations: dict[str, dict[str, Any]]) -> str:
    told: dict[str, tuple[str, str]] = {}
    for operation in operations.values():
        for status, answer in operation["responses"].items():
            if status != "200":
                told[status] = (cell(answer["description"]), _content(answer))
    lines = ["## Refusals", "", "| status | why | body |", "|---|---|---|"]
    lines += [f"| {status} | {why} | {body} |" for status, (why, body) in sorted(told.items())]
    return "\n".join([*lines, ""])


def _content(part: dict[str, Any]) -> str:
    content = part.get("content", {})
    return "; ".join(f"{words(form['schema'])} (`{kind}`)" for kind, form in content.items())


def _sentence(operation: dict[str, Any]) -> str:
    return str(operation.get("description") or "Needs no key.").replace("'", "`")


def _form(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}", "", _prose(schema.get("description", "")), ""]
    needed = schema.get("required", ())
    lines += ["| member | value | default | |", "|---|---|---|---|"]
    for member, each in schema["properties"].items():
        given = "required" if member in needed else default(each)
        value = words({key: v for key, v in each.items() if key != "default"})
        meaning = cell(_prose(each.get("description", "")))
        lines.append(f"| `{member}` | {cell(value)} | {given} | {meaning} |")
    return "\n".join([*lines, ""])


def _prose(text: str) -> str:
    return text.replace("``", "`")


def _by_name(name: str) -> str:
    return name.strip("_").lower()
