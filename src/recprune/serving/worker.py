"""One worker's application: the routes behind the gate, and a clock in front of both."""

from __future__ import annotations

import time

from recprune.crypto import read_key
from recprune.folders import private_folder
from recprune.security import (
    Access,
    Audit,
    Doorkeeper,
    Gate,
    KeyStore,
    OpenAccess,
    Policy,
    Rates,
    Tokens,
)
from recprune.security.asgi import App, Message, Receive, Send
from recprune.serving.app import RULES, make_api
from recprune.serving.doorway import Doorway
from recprune.serving.metrics import Metrics
from recprune.serving.schemas import requests
from recprune.serving.service import Service
from recprune.serving.sessions import Sessions
from recprune.serving.settings import ServeSettings
from recprune.serving.shortcut import Route, Shortcut

__all__ = ["make_app"]


def make_app(settings: ServeSettings) -> App:
    """Return the whole service as an ASGI application, which loads its model when it is started.

    Raises:
        InputError: a secret key is lacking, a file of keys cannot be read, or the state folder is
            one in which others may write.
        MissingExtra: a library of the extra ``serve`` is not installed.
    """
    private_folder(settings.state)
    metrics = Metrics()
    audit = _audit(settings, metrics)
    service = Service(settings, metrics, audit)
    guards = settings.guards
    insecure = settings.callers.insecure
    policy = Policy(RULES, guards.networks, guards.limits, guards.bounds, local=insecure)
    rates = Rates(guards.limits, settings.state / "limits", guards.store)
    forms = requests(settings.most)
    routes = {
        "/v1/recommend": Route(forms.recommend, service.recommend, service.kept, service.keep),
        "/v1/score": Route(forms.score, service.score),
    }
    app = Shortcut(make_api(service), routes)
    gate = Gate(app, policy, _access(settings), rates, audit)
    return Clocked(Doorway(gate, _sessions(settings)), metrics)


def _access(settings: ServeSettings) -> Doorkeeper:
    callers = settings.callers
    if callers.insecure:
        return OpenAccess()
    who, tokens = callers.identity, None
    if who is not None:
        tokens = Tokens(who.key, who.issuer, who.audience)
    keys = KeyStore(settings.state / "keys.json", read_key("pepper", callers.keys.pepper))
    return Access(keys, tokens)


def _sessions(settings: ServeSettings) -> Sessions | None:
    callers = settings.callers
    return None if callers.insecure else Sessions(read_key("pepper", callers.keys.pepper))


def _audit(settings: ServeSettings, metrics: Metrics) -> Audit | None:
    callers = settings.callers
    if callers.insecure:
        return None
    key = read_key("audit", callers.keys.audit)
    return Audit(settings.state / "audit.jsonl", key, waits=metrics.audit.set)


class Clocked:
    """Counts every request and its time, refused ones too.

    Args:
        app: the service behind its gate.
        metrics: of the worker.
    """

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._routes = {rule.partition(" ")[2] for rule in RULES}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, _in_short(send))
            return
        status, started = 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            # A route that there is not has no name of its own: names come from strangers.
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.answered(route, status, time.perf_counter() - started)


def _in_short(send: Send) -> Send:
    """Return what tells in one line why a worker could not start; where in the code helps nobody."""

    async def told(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            lines = message.get("message", "").strip().splitlines()
            message = {**message, "message": lines[-1] if lines else ""}
        await send(message)

    return told
