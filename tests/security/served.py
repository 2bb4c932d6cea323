"""A gate in front of an echo, as uvicorn's workers build it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recprune.security import Bounds, Limits, NetworkRules, Policy

from .asking import RULES, Echo, Service


class Worker(Echo):
    """An echo that tells which process it is."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-worker", str(os.getpid()).encode()))
            await send(message)

        await super().__call__(scope, receive, told)


def app() -> Any:
    """Return the application of one worker."""
    policy = Policy(
        {**RULES, "GET /limited": "recommend"},
        NetworkRules(trusted=("127.0.0.9",), deny=("203.0.113.0/24",)),
        Limits(caller=("60/hour",), address=(), failures=("30/hour",)),
        Bounds(body_bytes=100_000, body_seconds=0.7),
    )
    return Service(Path(os.environ["STATE"]), policy, Worker(), interval=0.2).gate
