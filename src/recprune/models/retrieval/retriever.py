"""Retrievers: models whose score is the inner product of a user's and an item's vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.encoding import Rows
from recprune.errors import ParameterError, RunError, TrainingError
from recprune.lookups import UNKNOWN
from recprune.models.objective import Objective
from recprune.models.ranker import Ranker
from recprune.models.retrieval.lesson import Lesson
from recprune.models.retrieval.lists import Exam, best_items
from recprune.models.retrieval.positives import Positives, Window
from recprune.models.taps import Tap
from recprune.models.trainer import train
from recprune.models.training import Epoch, Training
from recprune.texts import text

__all__ = ["Retriever"]

F32 = NDArray[np.float32]
#: Places of the lists that early stopping looks at.
K = 10
#: Most of ``Training.unknown_rate``: a user has tens of rows, not thousands. At a ranker's 50 most
#: reads were of the unknown rows, which learn fast, and vectors would hardly leave zero.
UNKNOWN_RATE = 1.0
#: Least of ``Training.patience``, in epochs and in steps: vectors leave zero slowly, and until then
#: lists are as good as random.
PATIENCE, STEPS = 5, 150
#: Most epochs where nothing is said.
EPOCHS = 100


class Retriever(Ranker):
    """Base of all retrievers: they learn from positive rows alone, and rank the whole catalogue.

    Rows of label 0 say nothing, except that their items can be shown. Early stopping looks at
    NDCG@10 of the held-out rows' users over all items of the training and the held-out rows; items
    that a user took in the training rows are left out where nobody there took an item twice.
    Of the training's options, ``unknown_rate`` is 1 at most, ``patience`` 5 epochs and 150 steps at
    least. A score orders a user's items; its sigmoid is no probability.
    """

    private = False
    _window: Window | None = None

    @staticmethod
    def usual_training() -> Training:
        """Return how retrievers are trained where nothing is said."""
        return Training(epochs=EPOCHS)

    def learns(self, positives: Positives) -> tuple[Objective, Mapping[str, Tap]]:
        """Return what is minimised, and the taps that it sees the network through."""
        raise NotImplementedError

    def user_vectors(self, rows: Rows) -> F32:
        """Return the users' vectors, shape ``(n, V)``."""
        raise NotImplementedError

    def item_vectors(self, rows: Rows) -> F32:
        """Return the items' vectors, shape ``(n, V)``: scores are inner products, up to a number
        for each user."""
        raise NotImplementedError

    def train_on(
        self,
        rows: Split,
        *,
        valid: Split | None = None,
        training: Training | None = None,
        teacher: NDArray[np.float32] | None = None,
        taps: Mapping[str, Tap] | None = None,
        **options: Any,
    ) -> list[Epoch]:
        """Train further from the present weights, on the positive rows.

        Args:
            rows: training rows; see :class:`recprune.models.retrieval.positives.Positives`.
            valid: held-out rows; None = no early stopping.
            training: how; None = as the retriever was made.
            teacher: a larger retriever's logits of ``rows``, shape ``(n,)``, half of the loss.
            taps: see :mod:`recprune.models.taps`.
            options: see :func:`recprune.models.trainer.train`.

        Raises:
            DataError: no row is positive, or the rows have no items.
            ParameterError: a training for labels: a metric of rows, or weights of classes.
            TrainingError: the loss is not finite, or has exploded; the rows are named.
        """
        training = self.checked(training or self.training)
        positives = Positives.of(self.aligned(rows))
        self._window = positives.window
        score = None if valid is None else self.held_out(self.aligned(valid))
        objective, own = self.learns(positives)
        steps = math.ceil(len(positives) / training.batch_of(len(positives)))
        lesson = Lesson(objective, None if teacher is None else teacher[positives.at])
        try:
            return train(
                self.net,
                positives.rows,
                lesson,
                replace(
                    training,
                    unknown_rate=min(training.unknown_rate, UNKNOWN_RATE),
                    patience=max(training.patience, PATIENCE, math.ceil(STEPS / steps)),
                ),
                score=score,
                seed=self.seed,
                taps={**(taps or {}), **own},
                groups=0,  # what items of like popularity share hides what tells them apart
                **options,
            )
        except TrainingError as error:
            rows_of = positives.at[np.array(error.rows, np.int64)].tolist()
            raise TrainingError(f"{error} Only the positive rows are counted.", rows_of) from error

    @classmethod
    def checked(cls, training: Training) -> Training:
        """Return a training that is fit for a retriever.

        Raises:
            ParameterError: it names a metric of rows, or weighs classes.
        """
        usual = Training()
        if training.metric != usual.metric:
            constraint = f"left out: a retriever stops early by NDCG@{K}"
            raise ParameterError.of("metric", cls.__name__, constraint, training.metric)
        if training.class_weight is not None:
            constraint = "left out: a retriever learns from positive rows alone"
            raise ParameterError.of("class_weight", cls.__name__, constraint, training.class_weight)
        return training

    @property
    def metric(self) -> str:
        """What held-out rows are scored by: NDCG@10 over the whole catalogue."""
        return f"ndcg@{K}"

    def held_out(self, valid: Split) -> Callable[[], float]:
        """Return a function that scores the present weights by NDCG@10; see the class.

        Raises:
            DataError: no held-out row is positive.
        """
        exam = Exam.of(self._trained(), valid)
        items = [self.aligned(split).rows for split in (exam.known.items, exam.new)]

        def score() -> float:
            vectors = np.concatenate([self.item_vectors(rows) for rows in items])
            return exam.ndcg(self.user_vectors(exam.queries.rows), vectors, K)

        return score

    def recommend(
        self, users: Iterable[Any], k: int = 10, *, exclude_seen: bool = True
    ) -> list[tuple[str, ...]]:
        """Return the ids of each user's best items, best first, among all items of the training rows.

        The users' columns are those of their latest positive training row; a user without one reads
        as unknown. A saved model answers by ``recprune.load(path).recommend_user``.

        Args:
            users: user ids.
            k: how many items; fewer come back when fewer are left.
            exclude_seen: whether to leave out what the user took in the training rows.

        Raises:
            RunError: the retriever was loaded, and keeps no training rows.
            ParameterError: one id in the place of several, or ``k`` is not a positive whole number.
        """
        if isinstance(users, str | bytes):
            owner = f"{type(self).__name__}.recommend"
            raise ParameterError.of("users", owner, "several user ids", users)
        window = self._trained()
        people, items = window.people, self.aligned(window.items)
        schema, place = items.encoder.schema, dict[str | None, int]()
        if people is not None and people.users is not None:
            ids = people.columns[str(schema.user)].to_list()
            place = {text(user): i for i, user in enumerate(ids)}
        at = np.array([place.get(text(user), -1) for user in users], np.int64)
        rows = self.encoder.blank(len(at))
        rows.codes[:], rows.shares[:] = UNKNOWN, 0
        known = np.flatnonzero(at >= 0)
        none = np.empty(0, np.int64)
        seen = [none] * len(at)
        if people is not None and people.users is not None:
            found = self.aligned(people).rows[at[known]]
            rows.codes[known], rows.shares[known] = found.codes, found.shares
            if exclude_seen:
                for i in known:
                    seen[i] = window.taken_by(int(people.users[at[i]]))
        lists = best_items(self.user_vectors(rows), self.item_vectors(items.rows), k, seen)
        names = [str(text(item)) for item in items.columns[str(schema.item)].to_list()]
        return [tuple(names[i] for i in one if i >= 0) for one in lists]

    def _trained(self) -> Window:
        if self._window is None:
            raise RunError(
                f"This {type(self).__name__} keeps no training rows: it is not fitted, or was "
                "loaded. Fit it, or save it and use recprune.load(path).recommend_user."
            )
        return self._window
