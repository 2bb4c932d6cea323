"""How many fields to keep of a ranking, and what stays or goes in any case."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.importance import FieldRanking

COSTS = {"a": 5.0, "b": 1.0, "d": 2.0}


def ranking(n: int = 5, **further: object) -> FieldRanking:
    fields = tuple("abcdefgh"[:n])
    return FieldRanking(fields, np.arange(n, 0.0, -1), np.zeros(n), "permutation", **further)  # type: ignore[arg-type]


def test_forced_fields_make_room_for_the_next() -> None:
    kept = ranking().keep(count=2, force=("a",))
    assert kept == ("b", "c")
    assert ranking().keep(threshold=3.5, force=("a",)) == ("b",)


def test_a_budget_is_spent_best_first() -> None:
    ranked = ranking(costs=COSTS)  # c and e state no cost: they are free
    assert ranked.keep(cost=5.5) == ("a", "c", "e")
    assert ranked.keep(cost=4) == ("b", "c", "d", "e")
    assert ranked.keep(cost=6, protect=("d",)) == ("b", "c", "d", "e")
    assert ranked.keep(cost=8) == ("a", "b", "c", "d", "e")
    assert ranked.keep(cost=0) == ("c", "e")


@given(
    st.lists(st.floats(0, 10), min_size=3, max_size=8),
    st.floats(0, 40),
    st.sets(st.integers(0, 7)),
    st.sets(st.integers(0, 7)),
)
def test_no_budget_is_overspent(
    costs: list[float], budget: float, stay: set[int], go: set[int]
) -> None:
    n = len(costs)
    names = "abcdefgh"[:n]
    ranked = ranking(n, costs=dict(zip(names, costs, strict=True)))
    protect = tuple(names[i] for i in sorted(stay) if i < n)
    force = tuple(names[i] for i in sorted(go - stay) if i < n)
    price = dict(zip(names, costs, strict=True))
    try:
        kept = ranked.keep(cost=budget, protect=protect, force=force)
    except ParameterError:
        least = sum(price[f] for f in protect)
        left = [f for f in names if f not in force]
        assert least > budget or not left or (not protect and min(price[f] for f in left) > budget)
        return
    spent = sum(price[f] for f in kept)
    assert spent <= budget + 1e-9
    assert set(protect) <= set(kept)
    assert not set(force) & set(kept)
    # Nothing that was passed over would have fitted beside all that is better.
    for name in set(names) - set(kept) - set(force):
        better = sum(price[f] for f in kept if f < name or f in protect)
        assert better + price[name] > budget - 1e-9


@pytest.mark.parametrize(
    "amount, message",
    [
        ({}, "The 'ratio' parameter of FieldRanking.keep must be given alone"),
        ({"ratio": 0.5, "cost": 2}, "exactly one of ratio, count, threshold and cost"),
        ({"cost": -1}, "The 'cost' parameter of FieldRanking.keep must be a number ≥ 0. Got -1"),
        ({"cost": float("nan")}, "must be a number ≥ 0"),
        ({"cost": 3, "protect": ("a",)}, "must be at least 5, what the protected fields cost"),
        (
            {"cost": 0.5, "force": ("c", "e")},
            "must be at least 1, what the cheapest field costs. Got 0.5",
        ),
        ({"count": True}, "The 'count' parameter of FieldRanking.keep must be an int in [1, 5]"),
        ({"ratio": "half"}, "must be a float in (0, 1]. Got 'half'"),
        ({"threshold": "low"}, "The 'threshold' parameter of FieldRanking.keep must be a number"),
        (
            {"count": 1, "protect": "ab"},
            "The 'protect' parameter of FieldRanking.keep must be a list",
        ),
        ({"count": 1, "force": ("ab",)}, "Cannot force 'ab'."),
        (
            {"count": 1, "protect": ("a", "b"), "force": ("b",)},
            "Field 'b' is named in protect (stay in any case) and in force (go in any case).",
        ),
        ({"count": 1, "force": tuple("abcde")}, "force names every field"),
    ],
)
def test_what_cannot_be_kept_is_said(amount: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        ranking(costs=COSTS).keep(**amount)  # type: ignore[arg-type]


def test_a_budget_needs_costs() -> None:
    with pytest.raises(ParameterError, match=r"none does\. State it in the schema"):
        ranking().keep(cost=1)


def test_one_of_a_group_is_kept() -> None:
    ranked = ranking(groups=(("b", "c", "d"),))
    assert ranked.keep(count=3) == ("a", "b", "e")
    assert ranked.keep(count=3, force=("b",)) == ("a", "c", "e")
    assert ranked.keep(count=3, protect=("d",)) == ("a", "d", "e")
    assert ranked.keep(ratio=1.0, protect=("c", "d")) == ("a", "c", "d", "e")
    assert ranked.keep(count=2, force=("b", "c", "d")) == ("a", "e")


def test_a_ranking_prints_as_a_table() -> None:
    scores = np.array([0.25, 0.25, -np.inf])
    ranked = FieldRanking(
        ("colour", "hue", "x"), scores, np.array([0.01, 0.01, 0]), "permutation",
        by=("joint", "joint", "alone"), groups=(("colour", "hue"),),
    )  # fmt: skip
    assert str(ranked).splitlines() == [
        "field   permutation  ± standard error  scored by  group of",
        "colour         0.25              0.01  joint      colour",
        "hue            0.25              0.01  joint      colour",
        "x              -inf                 0  alone      x",
    ]


def test_of_many_fields_the_best_are_printed() -> None:
    fields = tuple(f"f{i:03}" for i in range(1_200))
    lines = str(FieldRanking(fields, np.zeros(1_200), np.zeros(1_200), "random")).splitlines()
    assert len(lines) == 22
    assert lines[-2].startswith("f019")
    assert lines[-1] == "… and 1,180 more: to_frame() has all"
