"""Clients who ask all the time, and notice every answer that is not one of those that are right."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from recprune.runtime import Scorer
from tests.runtime.factory import Shop

from .living import Living

__all__ = ["Load", "answers_of", "under_load"]

#: Users who are asked for, one of them not known.
USERS = ("0", "1", "2", "5", "nobody")


@dataclass
class Load:
    """What came of it.

    Attributes:
        answers: how many right ones, by the model that gave them.
        wrong: answers that are none of the right ones.
        failed: requests without an answer, and why.
    """

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def answers_of(shop: Shop, k: int = 10) -> dict[str, Any]:
    """Return the right answer for each of the users, without the model's version."""
    scorer = Scorer(shop.artifact)
    scorer.warm_up()
    found = {}
    for user in USERS:
        best = scorer.recommend_user(shop.users, user, k)
        items = [
            {"item": i, "score": s} for i, s in zip(best.items, best.scores.tolist(), strict=True)
        ]
        found[user] = {"fallback": best.fallback, "items": items}
    return found


@contextlib.contextmanager
def under_load(
    service: Living, token: str, right: Mapping[str, Mapping[str, Any]], clients: int = 4
) -> Iterator[Load]:
    """Ask from several connections until the block ends; a request that fails is not repeated.

    Args:
        service: which.
        token: a key.
        right: the right answers, by the version of the model that gives them; grows, if need be.
        clients: at once.
    """
    load, over = Load(), threading.Event()
    asking: Callable[[int], None] = lambda start: _ask(service, token, right, load, over, start)  # noqa: E731
    threads = [threading.Thread(target=asking, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def _ask(
    service: Living,
    token: str,
    right: Mapping[str, Mapping[str, Any]],
    load: Load,
    over: threading.Event,
    number: int,
) -> None:
    with service.client(token) as client:
        while not over.is_set():
            number += 1
            user = USERS[number % len(USERS)]
            try:
                told = client.post("/v1/recommend", json={"user": user})
            except httpx.HTTPError as error:
                load.failed.append(type(error).__name__)
                continue
            if told.status_code != 200:
                load.failed.append(f"{told.status_code}: {told.text[:200]}")
                continue
            answer = json.loads(told.text)
            version = answer.pop("model")
            if right.get(version, {}).get(user) == answer:
                load.answers[version] += 1
            else:
                load.wrong.append(f"{version} {user}: {told.text[:300]}")
