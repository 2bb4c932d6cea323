"""Many users at once, and items that are denied to all, against one by one and a full sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import DataError, ParameterError
from recprune.runtime import Scorer

from .drafts import MODELS
from .factory import KINDS, random_shop

SHOP = random_shop(KINDS[3], 6, n_items=90, n_users=8)
TOWERS = random_shop(MODELS["towers"], 6, n_items=90, n_users=8)
SCORERS = [(shop, Scorer(shop.artifact)) for shop in (SHOP, TOWERS)]
IDS = st.integers(-5, 95)


@given(
    st.sampled_from(SCORERS),
    st.lists(st.sampled_from([*SHOP.users.ids, "nobody", None, 3]), max_size=6),
    st.integers(1, 100),
    st.booleans(),
    st.lists(IDS, max_size=40),
    st.one_of(st.none(), st.lists(IDS, max_size=60)),
    st.sampled_from([None, {"category": ["1", "2", None]}, {"price": "0.."}]),
)
@settings(max_examples=60, deadline=None)
def test_many_are_answered_like_one(
    case: Any, who: list[Any], k: int, exclude: bool, deny: list[int], only: Any, filter: Any
) -> None:
    shop, scorer = case
    asked: dict[str, Any] = {"exclude_seen": exclude, "deny": deny, "candidates": only}
    asked |= {"filter": filter, "strict": False, "context": {"hour": 1.0}}
    together = scorer.recommend_users(shop.users, who, k, **asked)
    assert len(together) == len(who)
    for user, got in zip(who, together, strict=True):
        one = scorer.recommend_user(shop.users, user, k, **asked)
        assert (got.items, got.fallback) == (one.items, one.fallback)
        assert np.array_equal(got.scores, one.scores)
        free = scorer.recommend_user(shop.users, user, 90, **asked | {"deny": ()})
        assert got.items == tuple(i for i in free.items if int(i) not in deny)[:k]


def test_denied_and_seen_are_both_left_out() -> None:
    scorer = Scorer(SHOP.artifact)
    best = scorer.recommend({}, 8).items
    got = scorer.recommend({}, 4, seen=[best[0], best[3]], deny=[best[1], "gone", None]).items
    assert got == (best[2], *best[4:7])
    assert scorer.recommend({}, 4, deny=range(90)).items == ()


@pytest.mark.parametrize("ids", ["12", b"12", 7])
def test_one_id_is_not_several(ids: Any) -> None:
    """A text would be gone through letter by letter: items "1" and "2" in the place of "12"."""
    scorer = Scorer(SHOP.artifact)
    for name in ("seen", "deny"):
        with pytest.raises(ParameterError, match=f"'{name}' parameter of recommend.*several"):
            scorer.recommend({}, **{name: ids})
    with pytest.raises(ParameterError, match=r"'candidates' parameter of recommend.*several"):
        scorer.recommend({}, candidates=ids)
    with pytest.raises(ParameterError, match="'user_ids' parameter of recommend_users"):
        scorer.recommend_users(SHOP.users, ids)


def test_wrong_options_are_refused_for_many_too() -> None:
    scorer = Scorer(SHOP.artifact)
    assert scorer.recommend_users(SHOP.users, []) == []
    with pytest.raises(ParameterError, match="'k'"):
        scorer.recommend_users(SHOP.users, [], 0)
    with pytest.raises(DataError, match="'nowhere'"):
        scorer.recommend_users(SHOP.users, ["1"], candidates=["nowhere"])
    with pytest.raises(TypeError, match="filtr"):
        scorer.recommend_users(SHOP.users, ["1"], filtr={})  # type: ignore[call-arg]
