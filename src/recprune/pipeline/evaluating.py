"""Evaluate a model as it ships: its rows by the scorer, its lists over the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.errors import DataError
from recprune.evaluation import Evaluation, evaluate_scores
from recprune.evaluation.lists import Items, ListTask, Shown, list_task, ranked, sampled
from recprune.evaluation.row_metrics import ScoredRows
from recprune.metrics import metric
from recprune.models import Ranker
from recprune.pipeline.saving import shipped
from recprune.pipeline.scoring import encoded_for, logits_in_blocks
from recprune.runtime import Scorer
from recprune.texts import text
from recprune.users import Users

__all__ = ["ROW_METRICS", "catalogue_score", "evaluate", "ranking_task"]

Index = NDArray[np.integer[Any]]
#: What is measured where nothing is asked for.
ROW_METRICS = ("auc", "logloss", "accuracy", "precision", "recall")


def evaluate(
    model: Ranker | Scorer,
    rows: Dataset | Split,
    metrics: str | Sequence[str] = ROW_METRICS,
    *,
    by: str | Sequence[str] = (),
    negatives: int | None = None,
    most_users: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Return a model's metrics with 95 % intervals, and a table of its users one by one.

    Metrics of rows (``"auc"``) are of labelled rows. Metrics of lists (``"ndcg@10"``) are of the k
    best items of the whole catalogue for each tested user who has a positive row there; the others
    are skipped and counted. Items that a user had before are left out where nobody in the training
    rows took an item twice.

    Args:
        model: a fitted ranker, or the scorer of a saved one (:func:`recprune.load`).
        rows: a split data set, whose test rows are used, or some of its rows: then metrics of rows
            alone, since a catalogue and the users' past are the data set's.
        metrics: names, see :func:`recprune.metrics.names`.
        by: columns by whose values the metrics are given too: ``("age",)``.
        negatives: rank a user's relevant items among so many others, drawn at random, and not among
            the catalogue. Such *sampled* metrics may order models otherwise (Krichene & Rendle 2020,
            "On Sampled Metrics for Item Recommendation"); their names say so:
            ``"ndcg@10:sampled100"``.
        most_users: most users to rank for, drawn at random; None = all.
        seed: of both draws.

    Accuracy, precision, recall and F1 are at the artefact's threshold: of the best F1 on the *tune*
    rows; 0.5 where a ranker meets rows without their data set. Every row counts once, whatever its
    weight in training.

    Raises:
        ParameterError: no such metric or column, or rows that a metric cannot judge, as of one class.
        DataError: metrics of lists without a data set, users or items, or no row is positive.
    """
    wanted = list(dict.fromkeys(metric(name) for name in _names(metrics)))
    of_lists = [m for m in wanted if m.family != "classification"]
    part = rows.test if isinstance(rows, Dataset) else rows
    scorer = model if isinstance(model, Scorer) else None
    if scorer is None and isinstance(rows, Dataset):
        scorer = Scorer(shipped(model, rows))  # type: ignore[arg-type]
    scored = ScoredRows(
        np.asarray(part.label), _logits(model, part), part.users, _threshold(scorer)
    )
    shown, suffix = None, ""
    if of_lists:
        if not isinstance(rows, Dataset) or scorer is None:
            raise DataError(
                f"The metric {of_lists[0].name!r} is of lists over the catalogue, and rows alone have "
                "none. Pass the data set: evaluate(model, data, …)."
            )
        task, items = ranking_task(scorer, rows, most_users, seed)
        if negatives is not None:
            _no_sampling([m.name for m in of_lists if m.family == "lists"])
            task, suffix = sampled(task, negatives, seed), f":sampled{negatives}"
        score = catalogue_score(scorer, _users(rows))
        lists = ranked(task, score, max(m.k or 1 for m in of_lists))
        shown = Shown(task, lists, items)
    elif negatives is not None:
        raise DataError("negatives=… goes with metrics of lists, such as 'ndcg@10'; none is asked.")
    return evaluate_scores(part, scored, shown, wanted, _names(by), suffix)


def ranking_task(
    scorer: Scorer, data: Dataset, most: int | None = None, seed: int = 0
) -> tuple[ListTask, Items]:
    """Return whose lists are to be made over a scorer's catalogue, and what is known of its items.

    Raises:
        DataError: no users, items or catalogue, or no positive test row.
    """
    users, test, catalogue = _users(data), data.test, scorer.catalogue
    if data.items is None or data.schema.item is None or catalogue is None or test.items is None:
        raise DataError(
            "Metrics of lists need a catalogue. Name the column of items: item=… (--item)."
        )
    index = catalogue.index
    place = np.array([index.get(text(v) or "", -1) for v in data.items[data.schema.item]], np.int64)
    items = Items(data, place, len(catalogue))
    seen = users.seen if data.exclude_seen else None
    nothing = np.empty(0, np.int64)
    if seen is None:
        return list_task(test, items, lambda _: nothing, most, seed), items
    of_seen = np.array([index.get(item, -1) for item in seen.items], np.int64)

    def left_out(user: int) -> Index:
        positions = of_seen[seen.of_user(user)]
        return positions[positions >= 0]

    return list_task(test, items, left_out, most, seed), items


def catalogue_score(scorer: Scorer, users: Users) -> Callable[[Index], NDArray[np.float32]]:
    """Return a function from some users' positions to their logits of all items."""

    def score(some: Index) -> NDArray[np.float32]:
        return np.stack([scorer.catalogue_logits(users, int(user)) for user in some])

    return score


def _logits(model: Ranker | Scorer, rows: Split) -> NDArray[np.float32]:
    if isinstance(model, Ranker):
        return model.logits(model.aligned(rows).rows)
    return logits_in_blocks(model, encoded_for(model.encoder, rows))


def _names(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def _threshold(scorer: Scorer | None) -> float:
    return 0.5 if scorer is None else float(scorer.meta.get("threshold", 0.5))


def _users(data: Dataset) -> Users:
    if data.users is None or data.test.users is None:
        raise DataError(
            "Metrics of lists need users. Name the column of their ids: user=… (--user)."
        )
    return data.users


def _no_sampling(names: Sequence[str]) -> None:
    if names:
        raise DataError(
            f"The metric {names[0]!r} is of what is shown from the whole catalogue: it cannot be "
            "sampled. Leave negatives out, or ask for it by itself."
        )
