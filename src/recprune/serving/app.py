"""The service as an ASGI application: routes, and what stands around them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from recprune.errors import InputError
from recprune.security import Denied
from recprune.serving.doorway import PAGES
from recprune.serving.openapi import describe, refusals
from recprune.serving.page import add_page
from recprune.serving.schemas import (
    HiddenCount,
    ManyRecommendations,
    ModelFacts,
    Recommendations,
    Scores,
    Status,
    requests,
)
from recprune.serving.service import Service
from recprune.serving.shortcut import refuse, written

__all__ = ["RULES", "make_api"]

#: Route → the scope that it needs; "any" = any key, None = it is open.
RULES: dict[str, str | None] = {
    "GET /health/live": None,
    "GET /health/ready": "any",
    "GET /v1/model": "any",
    "GET /openapi.json": "any",
    "POST /v1/recommend": "recommend",
    "POST /v1/score": "score",
    "GET /metrics": "admin",
    "POST /v1/admin/hide": "admin",
    "POST /v1/admin/show": "admin",
    "POST /v1/admin/reload": "admin",
    **PAGES,
}


class _SoundJson(Request):
    """A request whose body is JSON as RFC 8259 has it: no NaN, no number of thousands of digits."""

    async def json(self) -> Any:
        try:
            return json.loads(await self.body(), parse_constant=refuse)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            # Of all errors, FastAPI lets this one through as it is.
            raise HTTPException(400, "The body is no JSON that can be read.") from error


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def answer(request: Request) -> Response:
            if takes_json and not _is_json(request.headers.get("content-type", "")):
                raise Denied(415, "no_json_type", "Send 'Content-Type: application/json'.")
            answered: Response = await handle(_SoundJson(request.scope, request.receive))
            return answered

        return answer


def make_api(service: Service) -> FastAPI:
    """Return the routes of a service, without what guards them."""

    @contextlib.asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        service.start()
        tasks = [asyncio.create_task(each) for each in service.tasks()]
        yield
        service.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    api = FastAPI(
        title="recprune",
        description="Scores and recommendations of a pruned model.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    api.router.route_class = _Route
    _answer_errors(api)
    _add_routes(api, service)
    add_page(api, service)
    describe(api, {} if service.settings.callers.insecure else RULES)
    for route in api.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")  # after the document, which says it once
    return api


def _add_routes(api: FastAPI, service: Service) -> None:
    forms = requests(service.settings.most)

    async def recommend(asked: Any) -> Response:
        return _json(service.recommend(asked))

    async def score(asked: Any) -> Response:
        return _json(service.score(asked))

    async def hide(asked: Any) -> Response:
        return _json({"hidden": await asyncio.to_thread(service.hide, asked)})

    async def show(asked: Any) -> Response:
        return _json({"hidden": await asyncio.to_thread(service.show, asked)})

    async def live() -> Response:
        return _json({"status": "live"})

    async def ready() -> Response:
        service.answering()
        return _json({"status": "ready"})

    async def model() -> Response:
        return _json(service.facts())

    async def reload() -> Response:
        """Look for a new model now; without this, workers look twice a second."""
        await service.live.refresh()
        return _json(service.facts())

    async def metrics() -> Response:
        text = await asyncio.to_thread(service.metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    # The forms' bounds are the service's own, so that they are no names of this module.
    for endpoint, form in (
        (recommend, forms.recommend),
        (score, forms.score),
        (hide, forms.items),
        (show, forms.items),
    ):
        endpoint.__annotations__["asked"] = Annotated[form, Body()]
    many: Any = Recommendations | ManyRecommendations
    for method, path, handler, answer in (
        ("POST", "/v1/recommend", recommend, many),
        ("POST", "/v1/score", score, Scores),
        ("GET", "/v1/model", model, ModelFacts),
        ("GET", "/health/live", live, Status),
        ("GET", "/health/ready", ready, Status),
        ("POST", "/v1/admin/hide", hide, HiddenCount),
        ("POST", "/v1/admin/show", show, HiddenCount),
        ("POST", "/v1/admin/reload", reload, ModelFacts),
    ):
        asks = refusals(RULES[f"{method} {path}"], "asked" in handler.__annotations__)
        api.add_api_route(path, handler, methods=[method], response_model=answer, responses=asks)
    plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    asks = {200: plain, **refusals(RULES["GET /metrics"], False)}
    api.add_api_route("/metrics", metrics, methods=["GET"], response_class=Response, responses=asks)


def _answer_errors(api: FastAPI) -> None:
    """Answer every error in one form, and never with what was sent or where it failed."""

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        told = [_told(each) for each in error.errors()[:10]]
        no_json = any(each["type"] == "json_invalid" for each in error.errors())
        status, code = (400, "no_json") if no_json else (422, "invalid")
        return failure(status, code, "; ".join(told))

    @api.exception_handler(InputError)
    async def unfit(request: Request, error: InputError) -> Response:
        return failure(422, "unfit", str(error))

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        code = "no_json" if error.status_code == 400 else "refused"
        return failure(error.status_code, code, str(error.detail))

    @api.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return failure(500, "internal", "The service failed; the error was logged.")

    @api.exception_handler(Denied)
    async def denied(request: Request, error: Denied) -> Response:
        return failure(error.status, error.code, str(error), error.headers)


def failure(
    status: int, code: str, message: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Response:
    """Return a refusal."""
    answer = _json({"error": {"code": code, "message": message[:2000]}}, status)
    answer.raw_headers.extend(headers)
    return answer


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or bool(re.fullmatch(r"application/[^ ]+\+json", kind))


def _told(error: Any) -> str:
    """Return where and what of a value that does not fit, without the value."""
    place = ".".join(str(part) for part in error["loc"] if part != "body")
    return f"{place}: {error['msg']}" if place else str(error["msg"])


def _json(content: Any, status: int = 200) -> Response:
    return Response(written(content), status, media_type="application/json")
