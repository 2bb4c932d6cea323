"""Answers over HTTP are the scorer's own, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.runtime import Recommendation, Scorer

from .inprocess import Worker, inprocess
from .living import Place

CONTEXT = {"hour": 1.5}
NAMES = st.integers(-3, 45).map(lambda n: str(n) if n % 3 else n)
USERS = st.sampled_from(["0", "1", "2", "3", "4", "5", 2, "nobody", -1, None])


@pytest.fixture(scope="module")
def client(place: Place) -> Iterator[Worker]:
    with inprocess(place) as client:
        yield client


@pytest.fixture(scope="module")
def scorer(place: Place) -> Scorer:
    scorer = Scorer(place.shop.artifact)
    scorer.warm_up()
    return scorer


def same(answer: Any, best: Recommendation) -> None:
    assert [each["item"] for each in answer["items"]] == list(best.items)
    assert [each["score"] for each in answer["items"]] == best.scores.tolist()
    assert answer["fallback"] == best.fallback


def told(client: Worker, path: str, asked: Any, status: int = 200) -> Any:
    answer = client.post(path, json=asked)
    assert answer.status_code == status, answer.text
    return answer.json()


@given(
    user=USERS,
    k=st.integers(1, 100),
    deny=st.lists(NAMES, max_size=20),
    seen=st.lists(NAMES, max_size=5),
    only=st.none() | st.lists(NAMES, max_size=40),
    filter=st.sampled_from([None, {"category": ["1", "2", None]}, {"price": "0.."}, {"price": 3}]),
    exclude=st.booleans(),
)
@settings(max_examples=40)
def test_a_recommendation_is_the_scorers(
    client: Worker, scorer: Scorer, place: Place, user: Any, k: int, deny: Any, seen: Any,
    only: Any, filter: Any, exclude: bool,
) -> None:  # fmt: skip
    asked = {
        "user": user, "k": k, "deny": deny, "seen": seen, "candidates": only, "filter": filter,
        "exclude_seen": exclude, "context": CONTEXT,
    }  # fmt: skip
    best = scorer.recommend_user(
        place.shop.users, user, k, exclude_seen=exclude, context=CONTEXT, candidates=only,
        filter=filter, deny=[*deny, *seen], strict=False,
    )  # fmt: skip
    same(told(client, "/v1/recommend", asked), best)


@given(st.lists(USERS, min_size=1, max_size=8), st.integers(1, 50), st.booleans())
@settings(max_examples=15)
def test_many_users_are_answered_in_their_order(
    client: Worker, scorer: Scorer, place: Place, users: list[Any], k: int, exclude: bool
) -> None:
    asked = {"users": users, "k": k, "exclude_seen": exclude, "context": CONTEXT}
    answer = told(client, "/v1/recommend", asked)
    best = scorer.recommend_users(place.shop.users, users, k, exclude_seen=exclude, context=CONTEXT)
    assert len(answer["answers"]) == len(users)
    for each, expected in zip(answer["answers"], best, strict=True):
        same(each, expected)


@pytest.mark.parametrize("index", range(6))
def test_what_comes_with_the_request_counts_as_what_is_stored(
    client: Worker, place: Place, index: int
) -> None:
    users = place.shop.users
    record: dict[str, Any] = users.record_at(index)
    record["age"] = None if np.isnan(record["age"]) else record["age"]
    for table in users.cross.values():
        keys, numbers = table.of_user(index)
        for name in table.fields:
            held = {table.values[k]: float(numbers[name][e]) for e, k in enumerate(keys)}
            record[name] = held
    seen = [users.seen.items[i] for i in users.seen.of_user(index)]
    by_id = told(client, "/v1/recommend", {"user": str(index), "k": 40, "context": CONTEXT})
    sent = told(
        client, "/v1/recommend", {"record": record, "k": 40, "context": CONTEXT, "seen": seen}
    )
    assert sent == by_id


@given(USERS, st.lists(NAMES, min_size=1, max_size=40))
@settings(max_examples=20)
def test_items_are_scored_in_the_order_asked(
    client: Worker, scorer: Scorer, place: Place, user: Any, items: list[Any]
) -> None:
    answer = told(client, "/v1/score", {"user": user, "items": items, "context": CONTEXT})
    best = scorer.recommend_user(
        place.shop.users, user, 100, exclude_seen=False, context=CONTEXT, strict=False,
        candidates=items,
    )  # fmt: skip
    expected = dict(zip(best.items, best.scores.tolist(), strict=True))
    assert answer["scores"] == [expected.get(str(item)) for item in items]
    assert answer["fallback"] is (str(user) not in place.shop.users.ids)


@given(st.data())
@settings(max_examples=20)
def test_rows_are_the_scorers(client: Worker, scorer: Scorer, place: Place, data: Any) -> None:
    cells = {
        name: st.none() | st.integers(-2, 12) | st.integers(0, 12).map(str)
        for name in ("item_id", "category", "favourite")
    }
    numbers = st.none() | st.floats(-9, 9, width=32)
    cells |= dict.fromkeys(("price", "hour", "times_category", "times_item", "age"), numbers)
    cells["days_category"] = numbers
    unknown = st.sampled_from(["nobody", None])  # a known one's stored columns are another test's
    rows = data.draw(
        st.lists(st.fixed_dictionaries({**cells, "user_id": unknown}), min_size=1, max_size=20)
    )
    answer = told(client, "/v1/score", {"rows": rows})
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["user_id"] = [None] * len(rows)
    assert answer["scores"] == scorer.score(columns).tolist()
    assert answer["fallback"] is any(row["user_id"] is not None for row in rows)
