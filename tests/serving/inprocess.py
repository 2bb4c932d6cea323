"""A service within the tests' own process: a worker's whole application, without sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from recprune.security import Limits
from recprune.serving import Guards, ServeSettings, Sources
from recprune.serving.worker import make_app

from .living import SECRETS, Place

__all__ = ["Worker", "inprocess", "settings_of"]

ADDRESS = ("192.0.2.1", 4711)


def settings_of(place: Place, users: bool = True, **more: Any) -> ServeSettings:
    """Return the settings under which a place is served: without limits of rates, if not told."""
    more.setdefault("guards", Guards(limits=Limits((), (), ())))
    return ServeSettings(Sources(place.model, place.users if users else None), place.state, **more)


class Worker:
    """An application that was started, and a client of it; its clock stands still in between.

    Args:
        app: as a server takes it.
        token: an API key; None = none is sent.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app, self._runner = app, asyncio.Runner()
        self._drained = False
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._done: asyncio.Queue[Any] = asyncio.Queue()
        headers = {} if token is None else {"x-api-key": token}
        transport = httpx.ASGITransport(app, client=ADDRESS)
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers
        )

    def request(self, method: str, path: str, **what: Any) -> httpx.Response:
        """Ask as ``httpx`` does."""
        return self._runner.run(self._client.request(method, path, **what))

    def get(self, path: str, **what: Any) -> httpx.Response:
        """Ask for a path."""
        return self.request("GET", path, **what)

    def post(self, path: str, **what: Any) -> httpx.Response:
        """Send to a path."""
        return self.request("POST", path, **what)

    def wait(self, seconds: float) -> None:
        """Let its clock go on."""
        self._runner.run(asyncio.sleep(seconds))

    def start(self) -> None:
        """Start it, as a server does before the first request; raise where it cannot."""
        self._runner.run(self._lifespan("startup"))

    def drain(self) -> None:
        """Tell it, once, that it is about to end."""
        if not self._drained:
            self._drained = True
            self._runner.run(self._lifespan("shutdown"))

    def close(self) -> None:
        """End its loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    async def _lifespan(self, event: str) -> None:
        if event == "startup":
            task = asyncio.create_task(self._live())
            self._task = task
        await self._events.put(f"lifespan.{event}")
        done = await self._done.get()
        if not done["type"].endswith(".complete"):
            raise AssertionError(done)

    async def _live(self) -> None:
        async def receive() -> Any:
            return {"type": await self._events.get()}

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        await self._app(scope, receive, self._done.put)


@contextlib.contextmanager
def inprocess(
    place: Place,
    settings: ServeSettings | None = None,
    *,
    scopes: tuple[str, ...] = ("recommend", "score", "admin"),
) -> Iterator[Worker]:
    """Start a worker's application; its client has a key of these scopes."""
    settings = settings or settings_of(place)
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        token = None if settings.callers.insecure else place.token(*scopes)
        worker = Worker(make_app(settings), token)
        worker.start()
        try:
            yield worker
        finally:
            worker.drain()
            worker.close()
