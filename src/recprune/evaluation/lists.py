"""The metrics of lists: the best items of the whole catalogue for each tested user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Dataset, Split
from recprune.errors import DataError, ParameterError
from recprune.evaluation.estimates import Estimate, mean_interval
from recprune.metrics import Metric, hits_of_lists, mean_of_lists, top_lists

__all__ = ["Items", "ListTask", "Shown", "list_task", "ranked", "sampled"]

Index = NDArray[np.integer[Any]]
#: The scores of all items for some users (positions among the data set's).
Score = Callable[[Index], NDArray[np.floating[Any]]]


@dataclass(frozen=True, eq=False)
class ListTask:
    """Whose lists are made, and what is relevant to them.

    Args:
        users: positions of the users among the data set's, increasing, shape ``(n,)``.
        relevant: each one's items with a positive tested row, positions in the catalogue; −1 for
            one that is not in it and so in no list.
        left_out: number of a user here, from 0 → positions in the catalogue that the list may not
            hold.
        n_items: items of the catalogue.
        skipped: users with tested rows but nothing relevant.
        not_drawn: users with something relevant that were left out to save time.
    """

    users: Index
    relevant: list[Index]
    left_out: Callable[[int], Index]
    n_items: int
    skipped: int
    not_drawn: int


def list_task(
    rows: Split,
    items: Items,
    left_out: Callable[[int], Index],
    most: int | None = None,
    seed: int = 0,
) -> ListTask:
    """Return the task that tested rows set: each user's positive items are to be found.

    Args:
        rows: tested rows with users and items.
        items: the catalogue.
        left_out: a user's position among the data set's → what the list may not hold.
        most: users to rank for; None = all. More are drawn without replacement.
        seed: of the draw.

    Raises:
        DataError: no row is positive.
    """
    assert rows.users is not None
    assert rows.items is not None
    positive = np.flatnonzero(rows.label == 1)
    everyone = np.unique(rows.users)
    owner, item = np.asarray(rows.users)[positive], np.asarray(rows.items)[positive]
    if not len(owner):
        raise DataError("No tested row is positive: there is nothing to find in a list.")
    width = int(item.max()) + 1
    pairs = np.unique(owner.astype(np.int64) * width + item)
    willing, starts = np.unique(pairs // width, return_index=True)
    chosen = np.arange(len(willing))
    if most is not None:
        chosen = np.sort(stream(seed, "ranked users").permutation(len(willing))[:most])
    bounds = np.append(starts, len(pairs))
    found = items.place[pairs % width]
    relevant = [found[bounds[i] : bounds[i + 1]] for i in chosen]
    users = willing[chosen]
    return ListTask(
        users,
        relevant,
        lambda number: left_out(int(users[number])),
        len(items),
        len(everyone) - len(willing),
        len(willing) - len(chosen),
    )


def sampled(task: ListTask, negatives: int, seed: int) -> ListTask:
    """Return the task with only some items to choose from: a user's relevant ones, and as many
    others as ``negatives`` says, drawn uniformly without replacement from those that are neither
    relevant nor left out (fewer where there are not so many).

    Metrics of such lists are not those of the catalogue, and may order models otherwise (Krichene &
    Rendle 2020, "On Sampled Metrics for Item Recommendation").

    Raises:
        ParameterError: ``negatives`` is no whole number above 0.
    """
    if isinstance(negatives, bool) or not isinstance(negatives, int) or negatives < 1:
        raise ParameterError.of("negatives", "evaluate", "a whole number above 0", negatives)

    def left_out(number: int) -> Index:
        relevant = task.relevant[number]
        relevant = relevant[relevant >= 0]
        allowed = np.ones(task.n_items, bool)
        allowed[task.left_out(number)] = False
        others = allowed.copy()
        others[relevant] = False
        draws = stream(seed, "sampled negatives", int(task.users[number]))
        chosen = np.zeros(task.n_items, bool)
        chosen[draws.permutation(np.flatnonzero(others))[:negatives]] = True
        chosen[relevant] = allowed[relevant]
        return np.flatnonzero(~chosen)

    return replace(task, left_out=left_out)


def ranked(task: ListTask, score: Score, k: int) -> NDArray[np.int64]:
    """Return each user's ``k`` best items, shape ``(n, k)``; −1 fills a list that is too short.

    Users are scored a block at a time: see :func:`recprune.metrics.top_lists`.
    """
    shape = len(task.users), task.n_items
    return top_lists(
        lambda some: score(task.users[some]), shape, k, task.left_out, "full catalogue"
    )


@dataclass(frozen=True, eq=False)
class Items:
    """What is known of a catalogue's items from a data set's training rows and item columns.

    Args:
        data: the split data set.
        place: position in the catalogue of each row of ``data.items``; −1 = not in it.
        size: items of the catalogue.
    """

    data: Dataset
    place: Index
    size: int

    def __len__(self) -> int:
        return self.size

    @cached_property
    def popularity(self) -> NDArray[np.float64]:
        """Share of the training rows' users who took each item, shape ``(n_items,)``; an item that
        nobody took counts as taken once, so that its surprise is finite.
        """
        owner, place = self._taken
        count = np.bincount(place[place >= 0], minlength=self.size)
        return np.maximum(count, 1) / max(len(np.unique(owner)), 1)

    def profiles(self, users: Index) -> NDArray[np.float64]:
        """Return the mean popularity of what each user took in the training rows; NaN = nothing."""
        owner, place = self._taken
        known = place >= 0
        size = int(max(owner.max(initial=0), users.max(initial=0))) + 1
        count = np.bincount(owner[known], minlength=size)
        total = np.bincount(owner[known], self.popularity[place[known]], size)
        with np.errstate(invalid="ignore"):
            return np.asarray((total / count)[users])

    @cached_property
    def attributes(self) -> Index:
        """The categorical item columns as codes, shape ``(n_items, n_columns)``.

        Raises:
            DataError: there is no such column.
        """
        frame, schema = self.data.items, self.data.schema
        names = [
            f.name
            for f in schema.fields
            if f.source == "item" and f.kind == "categorical" and f.name != schema.item
        ]
        if frame is None or not names:
            raise DataError(
                "The metric 'diversity' compares items by their categorical columns, and the table "
                "has none beside the item's id. Add one, or use metrics.vector_diversity."
            )
        codes = np.full((self.size, len(names)), -1, np.int64)
        here = self.place >= 0
        for at, name in enumerate(names):
            value = frame[name].cast(pl.String).rank("dense").fill_null(0).to_numpy()
            codes[self.place[here], at] = value[here]
        return codes

    @cached_property
    def _taken(self) -> tuple[Index, Index]:
        """Distinct (user, item's place) pairs of the positive training rows."""
        train = self.data.train
        assert train.users is not None
        assert train.items is not None
        rows = np.flatnonzero(train.label == 1)
        owner = np.asarray(train.users)[rows].astype(np.int64)
        width = len(self.place)
        pairs = np.unique(owner * width + np.asarray(train.items)[rows])
        return pairs // width, self.place[pairs % width]


@dataclass(frozen=True, eq=False)
class Shown:
    """The lists that a model made, beside the task and the catalogue.

    Args:
        task: whose lists.
        lists: positions in the catalogue, shape ``(n, k)``; −1 fills a list.
        items: the catalogue.
    """

    task: ListTask
    lists: NDArray[np.int64]
    items: Items

    def take(self, index: Index) -> Shown:
        """Return some of the users' lists; who was skipped is not among them."""
        task = replace(
            self.task,
            users=self.task.users[index],
            relevant=[self.task.relevant[i] for i in index],
            skipped=0,
            not_drawn=0,
        )
        return Shown(task, self.lists[index], self.items)

    def estimate(self, metric: Metric) -> Estimate:
        """Return the metric over all lists, with its interval where it is a mean over users."""
        n = len(self.lists)
        parts = self._parts(metric)
        if parts is None:
            return Estimate(float(self._value(metric)), None, "users", n, self.task.skipped)
        values, weights = parts
        known = ~np.isnan(values) & (weights > 0)
        value = self._value(metric)
        count = int(known.sum())
        if isinstance(value, np.ndarray):
            value = value[known].mean() if count else np.nan
        interval = mean_interval(values, weights * known, np.arange(n))
        return Estimate(float(value), interval, "users", count, n - count + self.task.skipped)

    def by_user(self, metric: Metric) -> NDArray[np.float64] | None:
        """Return the metric of each list, shape ``(n,)``; None for one of all lists together."""
        parts = self._parts(metric)
        return None if parts is None else parts[0]

    @cached_property
    def _hits(self) -> NDArray[np.bool_]:
        return hits_of_lists(self.lists, self.task.relevant)

    def _value(self, metric: Metric) -> Any:
        given: dict[str, Callable[[], Any]] = {
            "hits": lambda: self._hits,
            "n_relevant": lambda: np.array([len(r) for r in self.task.relevant], np.int64),
            "lists": lambda: self.lists,
            "n_items": lambda: self.task.n_items,
            "popularity": lambda: self.items.popularity,
            "profiles": lambda: self.items.profiles(self.task.users),
            "attributes": lambda: self.items.attributes,
        }
        return metric(*(given[name]() for name in metric.takes))

    def _parts(self, metric: Metric) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return a value and a weight of each list, whose weighted mean the metric is; else None."""
        base = metric.name.partition("@")[0]
        shown = self.lists[:, : metric.k]
        if base == "novelty":
            bits = -np.log2(self.items.popularity)
            return mean_of_lists(shown, bits), (shown >= 0).sum(axis=1).astype(float)
        if base == "popularity_lift":
            took = np.nan_to_num(self.items.profiles(self.task.users))
            with np.errstate(divide="ignore", invalid="ignore"):
                return mean_of_lists(shown, self.items.popularity) / took - 1, took
        if metric.family == "ranking" or base == "diversity":
            return self._value(metric), np.ones(len(shown))
        return None
