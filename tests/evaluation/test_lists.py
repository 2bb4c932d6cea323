"""Lists by hand: whose they are, what may stand in them, and what is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.errors import DataError, ParameterError
from recprune.evaluation.estimates import mean_interval
from recprune.evaluation.lists import Items, ListTask, Shown, list_task, ranked, sampled
from recprune.metrics import metric

USERS, ITEMS = 12, 9


@pytest.fixture(scope="module")
def data() -> Dataset:
    """A user's rows are of all items; who takes what hangs on both numbers."""
    draws = np.random.default_rng(0)
    user, item = (v.ravel() for v in np.divmod(np.arange(USERS * ITEMS), ITEMS))
    taken = (draws.random(len(user)) < 0.15 + 0.08 * item) & (user != 4)
    frame = pl.DataFrame(
        {
            "user": [f"u{v:02d}" for v in user],
            "item": [f"i{v}" for v in item],
            "half": ["old" if v < USERS / 2 else "young" for v in user],
            "kind": [["a", "b", None][v % 3] for v in item],
            "maker": [f"m{v // 4}" for v in item],
            "y": taken.astype(int),
        }
    )
    read = Dataset.from_frame(frame, label="y", user="user", item="item")
    return read.split(by="random", seed=1)


def items_of(data: Dataset, missing: tuple[int, ...] = ()) -> Items:
    """Return the catalogue, whose places run against the rows of the items' table."""
    place = np.full(ITEMS, -1)
    here = [i for i in range(ITEMS) if i not in missing]
    place[here] = np.arange(len(here))[::-1]
    return Items(data, place, len(here))


def nothing(_: int) -> np.ndarray:
    return np.empty(0, np.int64)


def taken(rows: Any) -> dict[int, set[int]]:
    out: dict[int, set[int]] = {}
    for user, item, label in zip(rows.users, rows.items, rows.label, strict=True):
        if label == 1:
            out.setdefault(int(user), set()).add(int(item))
    return out


def test_the_task_is_to_find_what_each_user_took(data: Dataset) -> None:
    rows, items = data.test, items_of(data, missing=(2,))
    seen: list[int] = []

    def left_out(user: int) -> np.ndarray:
        seen.append(user)
        return np.array([user % 3])

    task = list_task(rows, items, left_out)
    truth = taken(rows)
    assert task.users.tolist() == sorted(truth)
    for user, relevant in zip(task.users, task.relevant, strict=True):
        assert sorted(relevant) == sorted(items.place[i] for i in truth[int(user)])
    assert any(-1 in r for r in task.relevant)
    assert (task.n_items, task.not_drawn) == (ITEMS - 1, 0)
    assert task.skipped == len(np.unique(rows.users)) - len(truth) > 0
    assert [task.left_out(n).tolist() for n in (0, 2)] == [[u % 3] for u in seen]
    assert seen == [task.users[0], task.users[2]]
    nobody = rows.take(rows.label == 0)
    with pytest.raises(DataError, match="No tested row is positive"):
        list_task(nobody, items, nothing)


def test_some_users_are_drawn_without_putting_them_back(data: Dataset) -> None:
    items = items_of(data)
    whole, few = (list_task(data.test, items, nothing, most, 3) for most in (None, 3))
    assert len(few.users) == len(few.relevant) == 3
    assert few.not_drawn == len(whole.users) - 3
    assert few.skipped == whole.skipped
    assert sorted(set(few.users)) == few.users.tolist()
    at = np.searchsorted(whole.users, few.users)
    for own, n in zip(few.relevant, at, strict=True):
        np.testing.assert_array_equal(own, whole.relevant[n])
    again, *others = (
        list_task(data.test, items, nothing, 3, seed).users.tolist() for seed in (3, 4, 5)
    )
    assert again == few.users.tolist()
    assert any(other != again for other in others)
    assert list_task(data.test, items, nothing, 99, 3).not_drawn == 0


def task_of(relevant: list[list[int]], left: list[list[int]], n_items: int = 30) -> ListTask:
    return ListTask(
        np.arange(len(relevant)) * 2,
        [np.array(r, np.int64) for r in relevant],
        lambda n: np.array(left[n], np.int64),
        n_items,
        5,
        7,
    )


def test_a_sample_holds_the_relevant_items_and_so_many_others() -> None:
    task = task_of([[0, 1], [5, -1], [29]], [[2, 3], [], [29, 4]])
    small = sampled(task, 6, 0)
    for number, (relevant, left) in enumerate([({0, 1}, {2, 3}), ({5}, set()), (set(), {29, 4})]):
        out = small.left_out(number)
        chosen = set(range(30)) - set(out.tolist())
        assert out.tolist() == sorted(set(out.tolist()))
        assert relevant <= chosen
        assert not left & chosen
        assert len(chosen - relevant) == 6
    assert (small.skipped, small.not_drawn, small.n_items) == (5, 7, 30)
    # Every user has a draw of its own, which stays; another seed, another draw.
    same = task_of([[0]] * 4, [[]] * 4)
    draws = [[sampled(same, 6, seed).left_out(n).tolist() for n in range(4)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(each) for each in draws[0]}) == 4
    everything = sampled(task, 100, 0)
    assert [everything.left_out(n).tolist() for n in range(3)] == [[2, 3], [], [4, 29]]


def test_others_are_drawn_uniformly() -> None:
    task = task_of([[0]] * 400, [[1]] * 400, n_items=12)
    small = sampled(task, 4, 0)
    count = np.zeros(12)
    for number in range(400):
        count[np.setdiff1d(np.arange(12), small.left_out(number))] += 1
    assert (count[0], count[1]) == (400, 0)
    assert count[2:].min() > 120  # 160 of 400 each, give or take 10
    assert count[2:].max() < 200


@pytest.mark.parametrize("negatives", [0, -1, True, 1.0, "3"])
def test_what_is_no_number_of_others_is_named(negatives: Any) -> None:
    with pytest.raises(ParameterError, match="'negatives' parameter of evaluate must be a whole"):
        sampled(task_of([[0]], [[]]), negatives, 0)
    assert len(sampled(task_of([[0]], [[]]), 1, 0).left_out(0)) == 28


def test_the_best_of_what_is_not_left_out_come_first() -> None:
    task = task_of([[0], [1]], [[3], list(range(28))])
    score = np.array([np.arange(30.0) % 7, -np.arange(30.0)])
    asked: list[list[int]] = []

    def scores(users: Any) -> np.ndarray:
        asked.append(users.tolist())
        return score[np.asarray(users) // 2]

    found = ranked(task, scores, 3)
    assert found.tolist() == [[6, 13, 20], [28, 29, -1]]
    assert [user for some in asked for user in some] == [
        0,
        2,
    ]  # positions among the data set's users


def test_popularity_and_profiles_are_of_what_was_taken_in_training(data: Dataset) -> None:
    items = items_of(data, missing=(1,))
    truth = taken(data.train)
    count = np.zeros(ITEMS - 1)
    for mine in truth.values():
        for item in mine:
            if items.place[item] >= 0:
                count[items.place[item]] += 1
    np.testing.assert_allclose(items.popularity, np.maximum(count, 1) / len(truth))
    users = np.arange(USERS)
    profiles = items.profiles(users)
    for user in users:
        mine = [items.place[i] for i in truth.get(user, ()) if items.place[i] >= 0]
        if mine:
            assert profiles[user] == pytest.approx(items.popularity[mine].mean())
        else:
            assert np.isnan(profiles[user])
    assert np.isnan(items.profiles(np.array([USERS + 5]))).all()  # nobody's past is known


def test_attributes_are_codes_of_the_items_own_columns(data: Dataset) -> None:
    items = items_of(data, missing=(8,))
    codes = items.attributes
    assert codes.shape == (ITEMS - 1, 2)
    for name, own in zip(("kind", "maker"), codes.T, strict=True):
        value = [data.items[name].to_list()[np.flatnonzero(items.place == p)[0]] for p in range(8)]
        for i in range(8):
            for j in range(8):
                assert (own[i] == own[j]) == (value[i] == value[j])
    draws = np.random.default_rng(0)
    bare = {"user": draws.integers(0, 30, 200), "item": draws.integers(0, ITEMS, 200)}
    frame = pl.DataFrame({**bare, "y": draws.integers(0, 2, 200)})
    plain = Dataset.from_frame(frame, label="y", user="user", item="item").split(by="random")
    with pytest.raises(DataError, match="'diversity' compares items by their categorical columns"):
        _ = Items(plain, np.arange(ITEMS), ITEMS).attributes


@pytest.fixture(scope="module")
def shown(data: Dataset) -> Shown:
    items = items_of(data)
    task = list_task(data.test, items, nothing)
    draws = np.random.default_rng(3)
    lists = np.stack([draws.permutation(ITEMS)[:4] for _ in task.users])
    lists[0, 2:] = -1  # a list that is too short
    return Shown(task, lists, items)


def test_means_over_users_have_the_interval_of_a_mean(shown: Shown) -> None:
    found, values = shown.estimate(metric("recall@3")), shown.by_user(metric("recall@3"))
    assert values is not None
    for value, own, relevant in zip(values, shown.lists, shown.task.relevant, strict=True):
        assert value == pytest.approx(len(set(own[:3]) & set(relevant)) / len(relevant))
    assert found.value == pytest.approx(values.mean())
    n = len(values)
    assert found.interval == mean_interval(values, np.ones(n), np.arange(n))
    assert (found.of, found.count, found.skipped) == ("users", n, shown.task.skipped)
    assert shown.by_user(metric("coverage@3")) is None
    total = shown.estimate(metric("coverage@3"))
    assert (total.interval, total.of, total.count) == (None, "users", n)
    assert total.skipped == shown.task.skipped
    assert total.value == len(set(shown.lists[:, :3].ravel()) - {-1}) / ITEMS


def test_novelty_counts_what_is_shown_and_lift_by_what_was_taken(shown: Shown) -> None:
    popularity = shown.items.popularity
    lists = [[i for i in own[:3] if i >= 0] for own in shown.lists]
    bits = [-np.log2(popularity[own]) for own in lists]
    found, values = shown.estimate(metric("novelty@3")), shown.by_user(metric("novelty@3"))
    assert values == pytest.approx([b.mean() for b in bits])
    assert found.value == pytest.approx(np.concatenate(bits).mean())
    weights = np.array([len(own) for own in lists], float)
    assert values is not None
    assert found.interval == mean_interval(values, weights, np.arange(len(lists)))
    took = shown.items.profiles(shown.task.users)
    known = ~np.isnan(took)
    means = np.array([popularity[own].mean() for own in lists])
    lift = shown.estimate(metric("popularity_lift@3"))
    assert lift.value == pytest.approx(means[known].mean() / took[known].mean() - 1)
    assert lift.count == known.sum()
    assert lift.skipped == (~known).sum() + shown.task.skipped
    n = np.arange(len(lists))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = means / np.nan_to_num(took) - 1
    expected = mean_interval(ratio, np.nan_to_num(took), n)
    assert lift.interval == pytest.approx(expected)


def test_lists_of_one_item_have_no_diversity(shown: Shown) -> None:
    lists = shown.lists.copy()
    lists[0, 1:] = -1
    short = Shown(shown.task, lists, shown.items)
    found, values = short.estimate(metric("diversity@3")), short.by_user(metric("diversity@3"))
    assert values is not None
    assert np.isnan(values[0])
    assert not np.isnan(values[1:]).any()
    n = len(values)
    assert found.value == pytest.approx(values[1:].mean())
    assert (found.count, found.skipped) == (n - 1, 1 + short.task.skipped)
    assert found.interval == mean_interval(values[1:], np.ones(n - 1), np.arange(n - 1))
    alone = Shown(short.take(np.array([0])).task, lists[:1], shown.items)
    nothing_known = alone.estimate(metric("diversity@3"))
    assert np.isnan(nothing_known.value)
    assert (nothing_known.interval, nothing_known.count, nothing_known.skipped) == (None, 0, 1)


def test_some_of_the_lists_are_those_of_their_users(shown: Shown) -> None:
    index = np.array([1, 3])
    some = shown.take(index)
    assert some.task.users.tolist() == shown.task.users[index].tolist()
    np.testing.assert_array_equal(some.lists, shown.lists[index])
    for own, n in zip(some.task.relevant, index, strict=True):
        np.testing.assert_array_equal(own, shown.task.relevant[n])
    assert (some.task.skipped, some.task.not_drawn) == (0, 0)
    assert some.task.n_items == ITEMS
    assert some.items is shown.items
