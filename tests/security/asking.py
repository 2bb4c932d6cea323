"""An ASGI application in the tests' own process, and how to ask it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recprune.security import Access, Audit, Gate, KeyStore, Policy, Rates

PEPPER, AUDIT_KEY = bytes(range(32)), bytes(range(100, 132))

Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def code(self) -> str:
        """The reason of a refusal."""
        return str(json.loads(self.body)["error"]["code"])


class Echo:
    """Answers with what it got, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for done in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{done}.complete"})
            return
        self.asked += 1
        message = await receive()
        caller = scope.get("state", {}).get("caller")
        about = {
            "path": scope["path"],
            "bytes": len(message["body"]),
            "caller": caller and [caller.kind, caller.id, sorted(caller.scopes)],
        }
        headers = [(b"content-type", b"application/json"), (b"server", b"echo/1.0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(about).encode()})


RULES: dict[str, str | None] = {
    "GET /health/live": None,
    "GET /v1/model": "any",
    "POST /v1/score": "score",
    "POST /v1/hide": "admin",
}


class Service:
    """A gate with keys in a folder, in front of an application."""

    def __init__(
        self, state: Path, policy: Policy | None = None, app: Any = None, interval: float = 60
    ) -> None:
        self.state, self.app = state, app or Echo()
        self.policy = policy or Policy(RULES)
        self.audit = Audit(state / "audit.jsonl", AUDIT_KEY, interval)
        self.keys = KeyStore(state / "keys.json", PEPPER)
        self.rates = Rates(self.policy.limits, state / "limits")
        self.gate = Gate(self.app, self.policy, Access(self.keys), self.rates, self.audit)

    def token(self, *scopes: str) -> str:
        return self.keys.create("test", scopes or ("score",))[1]

    def ask(self, method: str = "GET", path: str = "/v1/model", **how: Any) -> Answer:
        return ask(self.gate, method, path, **how)


def bearer(token: str) -> Headers:
    return [(b"authorization", f"Bearer {token}".encode())]


def ask(
    app: Any,
    method: str = "GET",
    path: str = "/v1/model",
    headers: Headers = (),
    body: Iterable[bytes] | bytes = b"",
    client: str | None = "192.0.2.1",
    **more: Any,
) -> Answer:
    """Return the answer to one request; a body that ends without its last part never ends."""
    parts = [body] if isinstance(body, bytes) else body
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "client": (client, 1) if client else None,
        "scheme": "http",
        **more,
    }
    return asyncio.run(_asked(app, scope, iter(parts), isinstance(body, bytes)))


async def _asked(app: Any, scope: Any, parts: Any, ends: bool) -> Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        if part is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": not ends}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    assert not bodies[-1].get("more_body", False), "the answer is complete"
    content = b"".join(m.get("body", b"") for m in bodies)
    return Answer(start["status"], dict(start["headers"]), content)
