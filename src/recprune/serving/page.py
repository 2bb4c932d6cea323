"""``GET /``: the model's verdict, live figures, a form to try it, and its card. No script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response
from pydantic import ValidationError

from recprune.errors import InputError
from recprune.security import Denied
from recprune.serving.card import card_html
from recprune.serving.doorway import field_of
from recprune.serving.loading import Loaded
from recprune.serving.rendering import HEADERS, fill
from recprune.serving.schemas import requests
from recprune.serving.service import Service, model_facts
from recprune.serving.shortcut import refuse

__all__ = ["add_page"]

LOOKS = {"PASS": ("pass", "✓"), "FAIL": ("fail", "✕"), "INCONCLUSIVE": ("open", "?")}
#: Characters of a message that is shown.
LONGEST = 2000
#: Fields of a form, in the order in which they are shown.
FIELDS = ("user", "k", "record", "label")


class _Tried(NamedTuple):
    """What somebody tried: what was typed, and what came of it."""

    typed: Mapping[str, str]
    answer: Mapping[str, Any] | None = None
    mistake: str = ""


def add_page(api: FastAPI, service: Service) -> None:
    """Add the page's routes; a :class:`~recprune.serving.doorway.Doorway` has to stand before them."""
    page = _Page(service)

    async def home() -> Response:
        return await page.shown(_Tried(dict.fromkeys(FIELDS, "")))

    async def recommend(request: Request) -> Response:
        return await page.shown(page.recommended(await request.body()))

    async def score(request: Request) -> Response:
        return await page.shown(page.scored(await request.body()))

    async def back() -> Response:
        return Response(status_code=303, headers={"location": "/"})

    for method, path, handler in (
        ("GET", "/", home),
        ("POST", "/login", back),
        ("POST", "/logout", back),
        ("POST", "/try/recommend", recommend),
        ("POST", "/try/score", score),
    ):
        own = [Depends(_own_form)] if method == "POST" else []
        api.add_api_route(
            path, handler, methods=[method], dependencies=own, include_in_schema=False
        )


class _Page:
    """Answers the page's requests; what was typed goes nowhere but into the answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._forms = requests(service.settings.most)
        self._card: tuple[str, str] = ("", "")

    def recommended(self, body: bytes) -> _Tried:
        """Try a recommendation: for a stored user, or for the columns of one who is not."""
        typed = {name: field_of(body, name) for name in FIELDS}
        try:
            asked: dict[str, Any] = {"k": _whole(typed["k"]), "label": typed["label"] or None}
            if typed["record"].strip():
                asked["record"] = _record(typed["record"])
            user = typed["user"].strip()
            if user and "record" in asked:
                raise InputError("Give a user id or a record, not both.")
            if "record" not in asked:
                asked["user"] = user or None
            return _Tried(typed, self._service.recommend(_checked(self._forms.recommend, asked)))
        except InputError as error:
            return _Tried(typed, mistake=str(error)[:LONGEST])

    def scored(self, body: bytes) -> _Tried:
        """Try the score of one row."""
        typed = {name: field_of(body, name) for name in FIELDS}
        try:
            asked = {"rows": [_record(typed["record"])], "label": typed["label"] or None}
            return _Tried(typed, self._service.score(_checked(self._forms.score, asked)))
        except InputError as error:
            return _Tried(typed, mistake=str(error)[:LONGEST])

    async def shown(self, tried: _Tried) -> Response:
        """Return the page, with what was tried."""
        service = self._service
        loaded = service.answering().loaded
        figures = await asyncio.to_thread(service.metrics.figures)
        body = fill(
            "service",
            facts=model_facts(loaded),
            top=_top(loaded),
            tiles=[*_tiles(vars(figures)), ("Hidden items", self._hidden(), "")],
            tried=tried,
            most=service.settings.most.k,
            locked=not service.settings.callers.insecure,
            card=self._card_of(loaded),
            example=_example(loaded),
        )
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return Response(body, 422 if tried.mistake else 200, headers)

    def _hidden(self) -> str:
        try:
            return f"{len(self._service.hidden.ids()):,}"
        except (OSError, InputError):
            return "not known"

    def _card_of(self, loaded: Loaded) -> str:
        if self._card[0] != loaded.about.version:
            self._card = loaded.about.version, card_html(loaded.about.card)
        return self._card[1]


def _top(loaded: Loaded) -> dict[str, Any]:
    """Return what the page says first: the verdict of the pruned model against the full one."""
    report = loaded.about.report
    data, verdict = report.get("dataset"), report.get("verdict")
    name = data.get("name") if isinstance(data, dict) else None
    found = verdict if isinstance(verdict, dict) else {}
    outcome = str(found.get("outcome") or "")
    look, mark = LOOKS.get(outcome, ("open", ""))
    return {
        "name": str(name or loaded.about.kind),
        "outcome": outcome,
        "look": look,
        "mark": mark,
        "metric": str(found.get("metric") or "").upper(),
        "difference": _signed(found.get("difference")),
        "ci": [_signed(v) for v in found["ci"]] if isinstance(found.get("ci"), list) else [],
        "tolerance": found.get("tolerance"),
    }


def _tiles(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, figure, detail) of each figure of the service."""
    drift = figures["drift"]
    return [
        ("Requests", f"{figures['requests']:,}", "answered"),
        ("Refused", f"{figures['refused']:,}", "or failed"),
        ("Mean time", f"{1000 * figures['mean']:.2f} ms", "of the API's answers"),
        ("Unknown users", f"{figures['fallbacks']:,}", "got the fallback"),
        ("Score drift", "–" if drift is None else f"{drift:.3f}", "beyond 0.25 is much"),
        ("Models loaded", f"{figures['reloads']:,}", "by all workers"),
    ]


def _example(loaded: Loaded) -> str:
    """Return a record with all columns that a request names, none of them known."""
    schema = loaded.scorer.encoder.schema
    own = [f.name for f in schema.fields if not loaded.ranks or f.source == "user"]
    return json.dumps({n: None for n in own if n != schema.user or not loaded.ranks})


def _checked(form: Any, asked: Mapping[str, Any]) -> Any:
    """Return a request in the form that the API has it.

    Raises:
        InputError: it does not have it.
    """
    try:
        return form.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:3])
        raise InputError(f"{place}: {first['msg']}" if place else str(first["msg"])) from error


def _whole(text: str) -> int:
    if not (text.isascii() and text.strip().isdigit() and len(text) <= 6):
        raise InputError("The number of items must be a whole number.")
    return int(text)


def _record(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError('The record is no JSON. Write it as {"age": 31}.') from error
    if not isinstance(found, dict):
        raise InputError('The record must be an object, as {"age": 31}.')
    return found


async def _own_form(request: Request) -> None:
    """Refuse a form that another site has sent."""
    if not _is_own(dict(request.headers.raw)):
        raise Denied(403, "foreign_form", "This form was sent from another site.")


def _is_own(said: Mapping[bytes, bytes]) -> bool:
    """Tell whether a browser says that a form comes from the page; saying nothing is no."""
    site = said.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = urlsplit(said.get(b"origin", b""))
    return bool(origin.netloc) and origin.netloc.lower() == said.get(b"host", b"").lower()


def _signed(value: Any) -> str:
    return f"{value:+.4f}".replace("-", "−") if isinstance(value, int | float) else ""
