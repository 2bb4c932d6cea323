"""Ranking metrics against slow plain versions, on adversarial lists; names; beyond accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune import metrics
from recprune.errors import ParameterError


def plain(hits: list[bool], n_relevant: int, k: int) -> dict[str, float]:
    """Return all metrics of one user, as the definitions are read aloud."""
    hits = hits[:k]
    places = [i + 1 for i, hit in enumerate(hits) if hit]
    reachable = min(n_relevant, k)
    ideal = sum(1 / math.log2(i + 1) for i in range(1, reachable + 1))
    precisions = [sum(hits[:place]) / place for place in places]
    return {
        "recall": len(places) / n_relevant,
        "precision": len(places) / k,
        "hit_rate": float(bool(places)),
        "mrr": 1 / places[0] if places else 0.0,
        "map": sum(precisions) / reachable,
        "ndcg": sum(1 / math.log2(place + 1) for place in places) / ideal,
    }


lists = st.integers(0, 6).flatmap(
    lambda width: st.lists(
        st.tuples(st.lists(st.booleans(), min_size=width, max_size=width), st.integers(0, 5)),
        min_size=1,
        max_size=5,
    )
)


@given(lists, st.integers(1, 9))
def test_against_plain_versions(users: list[tuple[list[bool], int]], k: int) -> None:
    # Nothing relevant, everything relevant, no list at all, and k above the list are all in here.
    width = len(users[0][0])
    hits = np.array([row for row, _ in users], bool).reshape(len(users), width)
    relevant = hits.sum(axis=1) + np.array([extra for _, extra in users])
    for name in ("recall", "precision", "hit_rate", "mrr", "map", "ndcg"):
        values = metrics.metric(f"{name}@{k}")(hits, relevant)
        for row, n, value in zip(hits.tolist(), relevant.tolist(), values, strict=True):
            if n == 0:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(plain(row, n, k)[name], abs=1e-12)
                assert 0 <= value <= 1


def test_a_perfect_list_is_worth_one_however_many_are_relevant() -> None:
    for n in (1, 3, 10, 50):
        hits = np.arange(10)[None] < n
        assert metrics.ndcg_at_k(hits, [n]) == pytest.approx(1)
        assert metrics.map_at_k(hits, [n]) == pytest.approx(1)


def test_whole_numbers_of_any_type_do() -> None:
    hits = np.array([[1, 0, 1]], np.uint8)
    for kind in (np.int8, np.int64, np.float32):
        assert metrics.recall_at_k(hits, np.array([4], kind)).tolist() == [0.5]


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("-inf")]), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_top_k_breaks_ties_by_item(scores: list[float], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert metrics.top_k(np.array(scores), k).tolist() == expected


@given(st.integers(0, 9), st.integers(1, 7), st.integers(1, 12), st.integers(1, 40), st.data())
def test_lists_come_in_blocks_and_are_those_of_each_user_alone(
    n_users: int, n_items: int, k: int, most: int, data: st.DataObject
) -> None:
    value = st.sampled_from([0.0, 1.0, 2.5, float("-inf"), float("nan")])
    row = st.lists(value, min_size=n_items, max_size=n_items)
    table = data.draw(st.lists(row, min_size=n_users, max_size=n_users))
    scores = np.array(table).reshape(n_users, n_items)
    left_out = [
        np.array(sorted(data.draw(st.sets(st.integers(0, n_items - 1)))), np.int64)
        for _ in range(n_users)
    ]
    held = []

    def score(users: slice) -> np.ndarray:
        held.append(scores[users].size)
        return scores[users]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("recprune.topk.BLOCK", most)
        lists = metrics.top_lists(score, scores.shape, k, left_out.__getitem__)
    assert lists.shape == (n_users, k)
    # One user's scores at least, and never more than a block.
    assert all(size <= max(most, n_items) for size in held)
    for user in range(n_users):
        best = metrics.top_k(scores[user], k, left_out[user]).tolist()
        assert lists[user].tolist() == best + [-1] * (k - len(best))


def test_a_great_many_users_and_items_are_never_one_matrix() -> None:
    sizes: list[int] = []

    def score(users: slice) -> np.ndarray:
        sizes.append((users.stop - users.start) * 100_000)
        if len(sizes) == 3:
            raise StopIteration
        return np.zeros((users.stop - users.start, 100_000), np.float32)

    with pytest.raises(StopIteration):
        metrics.top_lists(score, (100_000, 100_000), 10)
    assert max(sizes) <= 1 << 22


def test_hits_of_lists() -> None:
    shown = np.array([[3, 1, -1], [0, 2, 1]])
    relevant = [np.array([1, 9]), np.array([0, 1, 2])]
    expected = [[False, True, False], [True, True, True]]
    assert metrics.hits_of_lists(shown, relevant).tolist() == expected
    table = np.zeros((2, 10), bool)
    for user, items in enumerate(relevant):
        table[user, items] = True
    assert metrics.hits_of_lists(shown, table).tolist() == expected
    nothing = metrics.hits_of_lists(np.empty((2, 0), int), [np.empty(0, int)] * 2)
    assert nothing.shape == (2, 0)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-1, 4), min_size=3, max_size=3),
            st.lists(st.integers(-1, 6), max_size=4),
        ),
        max_size=5,
    )
)
def test_hits_against_a_plain_version(users: list[tuple[list[int], list[int]]]) -> None:
    lists = np.array([one for one, _ in users], np.int64).reshape(len(users), 3)
    relevant = [np.array(each, np.int32) for _, each in users]
    expected = [[i >= 0 and i in each for i in one] for one, each in users]
    assert metrics.hits_of_lists(lists, relevant).tolist() == expected


def test_fillers_and_items_outside_the_catalogue_are_no_hits() -> None:
    # As one number, (user 1, item −1) would be (user 0, the last item).
    shown = np.array([[4, -1], [0, -1]])
    assert not metrics.hits_of_lists(shown, [np.empty(0, int), np.array([-1])]).any()


def test_top_k_leaves_out_the_excluded_and_returns_fewer_when_fewer_are_left() -> None:
    scores = np.array([1.0, 2.0, 2.0, 0.0])
    assert metrics.top_k(scores, 9, np.array([1, 1])).tolist() == [2, 0, 3]
    assert metrics.top_k(scores, 2, np.arange(4)).tolist() == []
    assert metrics.top_k(np.array([np.nan, 1.0, np.nan, 3.0]), 3).tolist() == [3, 1, 0]


@given(
    st.lists(
        st.lists(st.integers(-1, 5), min_size=3, max_size=3).filter(
            lambda one: len({i for i in one if i >= 0}) == sum(i >= 0 for i in one)
        ),
        min_size=2,
        max_size=5,
    )
)
def test_short_lists_against_plain_versions(shown: list[list[int]]) -> None:
    full = [[item for item in one if item >= 0] for one in shown]
    assert metrics.user_coverage(shown) == sum(bool(one) for one in full) / len(shown)
    assert metrics.coverage_at_k(shown, 6) == len({i for one in full for i in one}) / 6
    pairs = [(a, b) for i, a in enumerate(full) for b in full[:i]]
    overlap = sum(len(set(a) & set(b)) / 3 for a, b in pairs) / len(pairs)
    assert metrics.personalisation(shown, 6) == pytest.approx(1 - overlap)


def test_the_ends_of_the_scales() -> None:
    assert metrics.gini([[0, 1], [2, 3]], 4) == 0
    assert metrics.gini([[0], [0], [0]], 100) == pytest.approx(0.99)
    assert metrics.personalisation([[0, 1], [1, 0]], 4) == 0
    assert metrics.personalisation([[0, 1], [2, 3]], 4) == 1
    assert metrics.novelty([[0]], [1.0]) == 0
    assert metrics.user_coverage(np.empty((0, 3), int)) == 0


@given(
    st.lists(st.permutations(range(6)).map(lambda p: p[:3]), min_size=2, max_size=6),
    st.integers(6, 9),
)
def test_beyond_accuracy_against_plain_versions(shown: list[list[int]], n_items: int) -> None:
    counts = [sum(item in one for one in shown) for item in range(n_items)]
    assert metrics.coverage_at_k(shown, n_items) == sum(c > 0 for c in counts) / n_items
    differences = sum(abs(a - b) for a in counts for b in counts)
    gini = differences / (2 * n_items * sum(counts))
    assert metrics.gini(shown, n_items) == pytest.approx(gini)
    popularity = np.linspace(0.1, 1, n_items)
    bits = [-math.log2(popularity[item]) for one in shown for item in one]
    assert metrics.novelty(shown, popularity) == pytest.approx(sum(bits) / len(bits))
    pairs = [(a, b) for i, a in enumerate(shown) for b in shown[:i]]
    overlap = sum(len(set(a) & set(b)) / 3 for a, b in pairs) / len(pairs)
    assert metrics.personalisation(shown, n_items) == pytest.approx(1 - overlap)


def test_every_name_resolves_and_knows_which_way_is_better() -> None:
    for name in metrics.names():
        found = metrics.metric(name.replace("@k", "@5"))
        assert found.k == (5 if "@" in name else None)
    assert not metrics.metric("logloss").higher_is_better
    assert metrics.metric("auc")([0, 1], [0.2, 0.7]) == 1
    assert metrics.metric("coverage@1")([[0, 1], [0, 2]], 4) == 0.25
    assert metrics.metric("precision")([1, 1], [0.9, 0.8]) == 1
    assert metrics.metric("precision@2")([[1, 0]], [1]).tolist() == [0.5]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.metric("aucc"), "Did you mean 'auc'?"),
        (lambda: metrics.metric("ndgc@7"), "Did you mean 'ndcg@7'?"),
        (lambda: metrics.metric("ndcg"), "There is no metric 'ndcg'"),
        (lambda: metrics.metric("ndcg@0"), "There is no metric 'ndcg@0'"),
        (lambda: metrics.metric("auc@5"), "There is no metric 'auc@5'"),
        (lambda: metrics.recall_at_k([[1, 1]], [1]), "cannot be below the user's hits"),
        (lambda: metrics.recall_at_k([1, 1], [1]), "(n_users, n_places)"),
        (lambda: metrics.recall_at_k([[1, 0]], [1, 2]), "'n_relevant'"),
        (lambda: metrics.recall_at_k([[1, 0]], [1], 0), "'k'"),
        (lambda: metrics.recall_at_k([[1, 0]], [1], True), "'k'"),
        (lambda: metrics.recall_at_k([[np.nan, 0]], [1]), "of 0 and 1. Got nan"),
        (lambda: metrics.recall_at_k([[2, 0]], [2]), "of 0 and 1. Got 2"),
        (lambda: metrics.recall_at_k([["False"]], [1]), "an array of bool"),
        (lambda: metrics.recall_at_k([[1, 0]], [np.nan]), "NaN or infinity"),
        (lambda: metrics.recall_at_k([[1, 0]], ["a"]), "whole numbers"),
        (lambda: metrics.recall_at_k([[1, 0]], [1.5]), "count all of a user's relevant items"),
        (lambda: metrics.recall_at_k([[0, 0]], [-1]), "count all of a user's relevant items"),
        (lambda: metrics.hits_of_lists(np.array([[4]]), np.ones((1, 3), bool)), "below 3. Got 4"),
        (lambda: metrics.hits_of_lists(np.array([[4]]), []), "of 1 users"),
        (lambda: metrics.coverage_at_k([[0, 1]], 5.0), "'n_items'"),  # type: ignore[arg-type]
        (lambda: metrics.coverage_at_k([[0, -2]], 5), "or −1. Got -2"),
        (lambda: metrics.coverage_at_k([[0.5]], 5), "whole numbers of shape"),
        (lambda: metrics.metric("coverage@2")([0, 1], 5), "whole numbers of shape"),
        (lambda: metrics.novelty([[0]], [[0.5]]), "one-axis array"),
        (lambda: metrics.novelty([[0]], [0.5, np.nan]), "shares in [0, 1]. Got nan"),
        (lambda: metrics.coverage_at_k([[0, 9]], 5), "below 5, or −1. Got 9"),
        (lambda: metrics.coverage_at_k([[0, 1]], 0), "'n_items'"),
        (lambda: metrics.gini([[-1]], 5), "lists with items"),
        (lambda: metrics.novelty([[0]], [0.0, 0.5]), "0 for item 0"),
        (lambda: metrics.novelty([[0]], [2.0]), "shares in [0, 1]"),
        (lambda: metrics.personalisation([[0]], 5), "two users"),
        (lambda: metrics.top_k(np.ones(3), 0), "'k'"),
        (lambda: metrics.top_lists(lambda _: np.ones((1, 3)), (1, 3), 0), "'k'"),
        (lambda: metrics.top_lists(lambda _: np.ones((2, 3)), (1, 3), 1), "to give shape (1, 3)"),
    ],
)
def test_bad_input_is_named(call: object, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        call()  # type: ignore[operator]
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["recall", "precision", "hit_rate", "mrr", "map", "ndcg"])
def test_lists_without_places_find_nothing(name: str) -> None:
    found = getattr(metrics, f"{name}_at_k")(np.zeros((2, 0), bool), [1, 0])
    np.testing.assert_array_equal(found, [0, np.nan])
