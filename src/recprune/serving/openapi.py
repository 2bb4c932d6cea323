"""The service's OpenAPI document: who may ask, and every refusal that a route may give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from recprune.serving.schemas import Failure

__all__ = ["describe", "refusals"]

#: What may come of any request: of its headers, its address, its time.
ALWAYS = {
    400: "The request cannot be read.",
    403: "The address or the key may not.",
    408: "The request took too long to arrive.",
    413: "The body is too long.",
    414: "The address is too long.",
    431: "The headers are too long.",
    503: "No model is ready, the answer took too long, or there are too many connections.",
}
#: What may come of one that needs a key; and of one that has a body.
WITH_KEY = {401: "No credentials, or none that are valid.", 429: "Too many requests."}
WITH_BODY = {
    415: "The body is not said to be JSON.",
    422: "A value or a column is lacking or not fit.",
}
SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the identity provider that the service knows.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def refusals(scope: str | None, body: bool) -> dict[int | str, dict[str, Any]]:
    """Return the refusals that a route describes.

    Args:
        scope: that it needs; None = it is open.
        body: whether it takes one.
    """
    every = {**ALWAYS, **(WITH_KEY if scope else {}), **(WITH_BODY if body else {})}
    return {status: {"model": Failure, "description": every[status]} for status in sorted(every)}


def describe(api: FastAPI, rules: Mapping[str, str | None]) -> None:
    """Write the document, which says which routes need a key, and of which scope.

    Args:
        api: with all its routes.
        rules: see :data:`recprune.serving.app.RULES`; empty = no route needs a key.
    """
    document = api.openapi_schema = _exact(api.openapi())
    if not rules:
        return
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            scope = rules[f"{method.upper()} {path}"]
            if scope is not None:
                operation["security"] = [{"bearer": []}, {"key": []}]
                needs = "any key" if scope == "any" else f"a key of scope {scope!r}"
                told = operation.get("description", "")
                operation["description"] = f"{told}\n\nNeeds {needs}.".strip()


def _exact(part: Any) -> Any:
    """Return a document with its whole bounds as such: FastAPI writes 2⁶³ as 9.223372036854776e18."""
    if isinstance(part, dict):
        return {name: _exact(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_exact(value) for value in part]
    return int(part) if isinstance(part, float) and part.is_integer() else part
