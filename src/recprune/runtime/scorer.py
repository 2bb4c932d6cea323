"""Load an artefact and answer requests, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from recprune._support import byte_count, stream
from recprune.artifact import Artifact, read_artifact
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder, Rows
from recprune.errors import InputError, ParameterError, nearest
from recprune.runtime.answers import Recommendation, probability
from recprune.runtime.block import FieldBlock
from recprune.runtime.choice import Among, Places
from recprune.runtime.demand import OnDemand
from recprune.runtime.first_stage import FirstStage
from recprune.runtime.fused import Fused
from recprune.runtime.ranking import Ranking
from recprune.runtime.recall import FirstStageRecall
from recprune.runtime.request import RequestEncoder
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights
from recprune.sampling import sampling_shift
from recprune.topk import check_k
from recprune.users import Users

__all__ = ["Scorer", "load"]


class Scorer:
    """A model that answers: raw values in, probabilities out.

    Holds no state that a request changes (the catalogue's item side is computed once, under a
    lock), so one scorer may serve many threads.

    Args:
        artifact: a model, its encodings and perhaps its catalogue.
        cache: see :func:`load`.
        first_stage: a retriever, or None.
        first_stage_k: see :func:`load`.

    Raises:
        ArtifactError: tensors or a catalogue that do not fit the model.
        InputError: see :func:`load`.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        cache: int | str | None = None,
        first_stage: Artifact | None = None,
        first_stage_k: int = 1000,
    ) -> None:
        self.encoder: Encoder = artifact.encoder
        self.meta = artifact.meta
        self._request = RequestEncoder(artifact.encoder)
        self._weights = Weights(artifact)
        self._block = FieldBlock(self._weights, range(len(self.fields)))
        self._fused = OnDemand(lambda: Fused(self._weights))
        self._ranking: Ranking | None = None
        if artifact.catalogue:
            catalogue = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
            limit = None if cache is None else byte_count(cache, "load", "cache")
            self._ranking = Ranking(
                artifact.encoder, catalogue, self._weights, limit, self._fused.ready
            )
        self._first: FirstStage | None = None
        if first_stage is not None:
            self._first = FirstStage(first_stage, self._catalogue().catalogue, first_stage_k)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a request needs; all others are ignored."""
        return self.encoder.schema.names

    @property
    def labels(self) -> tuple[str, ...]:
        """What is predicted, the main one first; of most models one alone."""
        return self._weights.labels

    @property
    def catalogue(self) -> Catalogue | None:
        """The items that can be ranked; None for a model that ranks rows."""
        return None if self._ranking is None else self._ranking.catalogue

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the weights as arranged for scoring, of the cached item side, and of the first
        stage: the retriever's weights and, after its first use, its items' vectors."""
        cached = 0 if self._ranking is None else self._ranking.nbytes
        first = 0 if self._first is None else self._first.nbytes
        return self._weights.nbytes + self._fused.nbytes + cached + first

    def warm_up(self) -> bool:
        """Load the compiled kernels now, as a server does before its first request; and compute
        the items' side and the first stage's lists, as far as there are such.

        Without it NumPy answers the first requests, and the kernels are loaded when there have been
        so many that this pays (:class:`recprune.runtime.demand.OnDemand`). Both give the same
        logits, within 1e-5.

        Returns:
            Whether the kernels answer from now on; without numba NumPy does.
        """
        if self._first is not None:
            self._first.make()
        loaded = self._fused.load()
        if self._ranking is not None:
            self._ranking.warm_up()
        return loaded

    def logits(self, rows: Rows, *, label: str | None = None) -> F32:
        """Return the logit of each encoded row, shape ``(n,)``.

        Args:
            rows: rows encoded by this scorer's own ``encoder``: a cut model has other codes.
            label: of which label, of a model of several; None = the first.

        Raises:
            DataError: rows of another shape, or codes beyond a field's table.
            ParameterError: the model has no such label.
        """
        number = 0 if label is None else self._label(label, "logits")
        codes, shares, n = rows.codes, rows.shares, len(rows.codes)
        fused = self._fused.after(n)
        # Of a single row, where it is not answered whole, NumPy has the shorter way.
        if fused is not None and (n > 1 or fused.few):
            found = fused(codes, shares, number)
            if found is not None:
                return found
        block, head = self._block, self._weights.heads[number]
        block.check(rows)
        if n == 1:
            return head.one(block.one(codes, shares))
        logits = np.empty(n, np.float32)
        for part in block.parts(n):
            logits[part] = head(block(codes[part], shares[part]))
        return logits

    def score(self, columns: Any, *, label: str | None = None, calibrated: bool = False) -> F32:
        """Return the probability of each row, shape ``(n,)``.

        Args:
            columns: column name → values, one a row (or a data frame). Unknown columns are
                ignored; absent ones count as missing; unseen and pruned values are answered by
                the trained unknown row.
            label: of which label, of a model of several; None = the first.
            calibrated: whether the probability is among all rows, those that training left out
                included: the logit is moved by ln of the share of negatives that training had
                (He et al. 2014, section 6.3), and the order of the rows stays. Where negatives
                were drawn for a log of positives, it is the probability that a user takes an item
                in a window as long as the training rows'; the number of negatives goes by the
                user's positives, so that it holds for the average user.

        Raises:
            DataError: columns of two lengths, or a value that is not a number in a numeric field.
            InputError: ``calibrated``, and negatives were drawn by popularity: each item then has
                a share of its own; or another label than the first, whose negatives they are not.
            ParameterError: the model has no such label.
        """
        number = self._label(label, "score")
        shift = np.float32(sampling_shift(self.meta.get("labels")) if calibrated else 0)
        if number and shift:
            raise InputError(
                f"The rate of negatives is that of {self.labels[0]!r}: the probabilities of "
                f"{label!r} cannot be calibrated by it. Score with calibrated=False."
            )
        return probability(self.logits(self._request.table(columns), label=label) + shift)

    def _label(self, label: str | None, owner: str) -> int:
        """Return a label's position among the model's."""
        if label is None:
            return 0
        if label not in self.labels:
            error = ParameterError.of("label", owner, "a label of the model", label)
            raise ParameterError(f"{error}{nearest(str(label), self.labels)}")
        return self.labels.index(label)

    def recommend(
        self,
        user: Mapping[str, Any] | None,
        k: int = 10,
        *,
        seen: Iterable[Any] = (),
        label: str | None = None,
        **among: Unpack[Among],
    ) -> Recommendation:
        """Return the best items for a user whose columns come with the request.

        Args:
            user: raw user and context columns of one row; a cross field maps values of its item
                column to numbers. None = nothing is known.
            k: how many items.
            seen: item ids to leave out, since this user has seen them; unknown ones are ignored.
            label: which label is ranked by, of a model of several; None = the first.
            among: ``candidates``, ``filter``, ``deny``, ``hidden``, ``strict``: see
                :class:`recprune.runtime.choice.Among`.

        Raises:
            InputError: the artefact has no catalogue.
            DataError: a value that is not a number, or an unknown candidate.
            ParameterError: ``k`` is not a positive whole number, an unknown label, or a column
                that the catalogue cannot be filtered by.
        """
        ranking, number = self._catalogue(), self._label(label, "recommend")
        if user is not None and not isinstance(user, Mapping):
            raise ParameterError.of("user", "recommend", "a mapping or None", user)
        record = user or {}
        choice = ranking.choice(k, **among).also_without(ranking.known(seen, "seen"))
        if self._first is not None:
            choice = self._first.narrowed(record, choice)
        best = ranking.best(record, ranking.sent(record), choice, number)
        return self._recommendation(best, user is None)

    def recommend_user(
        self,
        users: Users,
        user_id: Any,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        context: Mapping[str, Any] | None = None,
        label: str | None = None,
        **among: Unpack[Among],
    ) -> Recommendation:
        """Return the best items for a stored user; an unknown one is answered, ``fallback=True``.

        Args:
            users: the store; see :meth:`recprune.users.Users.load`.
            user_id: whose.
            k: how many items.
            exclude_seen: whether to leave out what the store says the user has seen.
            context: raw context columns of the request; absent ones count as missing.
            label: see :meth:`recommend`.
            among: likewise.

        Raises:
            InputError: as :meth:`recommend`; or the store lacks a cross field's history, or a
                column that the first stage reads.
        """
        return self.recommend_users(
            users, [user_id], k, exclude_seen=exclude_seen, context=context, label=label, **among
        )[0]

    def recommend_users(
        self,
        users: Users,
        user_ids: Iterable[Any],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        context: Mapping[str, Any] | None = None,
        label: str | None = None,
        **among: Unpack[Among],
    ) -> list[Recommendation]:
        """Return many stored users' best items, in the order of ``user_ids``.

        Each list is that of :meth:`recommend_user`, to the bit.

        Args:
            users: see :meth:`recommend_user`.
            user_ids: whose; a user who is named twice is answered twice.
            k: how many items each.
            exclude_seen: see :meth:`recommend_user`.
            context: of all these requests; likewise.
            label: see :meth:`recommend`.
            among: likewise; candidates, filter and deny are looked up once for all.

        Raises:
            InputError: as :meth:`recommend_user`.
        """
        if isinstance(user_ids, str | bytes) or not isinstance(user_ids, Iterable):
            raise ParameterError.of("user_ids", "recommend_users", "several user ids", user_ids)
        ranking, number = self._catalogue(), self._label(label, "recommend_users")
        choice, answers = ranking.choice(k, **among), []
        # One by one: bounds leave 2 to 3 % of the rows to be scored, others for each user. Eight at
        # a time, which reads each row once and scores all, took 10 ms a user instead of 3 (the
        # benchmark's planted model, 100,000 items, 200 users), and 31 ms instead of 9 (the demo's).
        for user_id in user_ids:
            index = users.index(user_id)
            own = choice.also_without(ranking.seen(users, index if exclude_seen else None))
            if self._first is not None:
                stored = {} if index is None else self._first.record(users, index)
                own = self._first.narrowed({**stored, **(context or {})}, own)
            best = ranking.best_of(users, index, own, number, context)
            answers.append(self._recommendation(best, index is None))
        return answers

    def places(self, items: Iterable[Any]) -> Places:
        """Look items up that many requests are to leave out; unknown ones are ignored.

        Args:
            items: item ids.

        Raises:
            InputError: the artefact has no catalogue.
        """
        return Places(self._catalogue().known(items, "items"))

    def first_stage_recall(
        self, users: Users, k: int = 10, *, sample: int = 200, seed: int = 0
    ) -> FirstStageRecall:
        """Return how much of the exact answer is found with the first stage, seen items left out.

        Args:
            users: the store.
            k: how many items are recommended.
            sample: how many users are drawn from the store, without repeats; all, if it has fewer.
            seed: of the draw.

        Raises:
            InputError: the scorer has no first stage, or what :meth:`recommend_user` refuses.
            ParameterError: ``k`` or ``sample`` is not a positive whole number.
        """
        check_k(sample, "first_stage_recall", "sample")
        if self._first is None:
            raise InputError("There is no first stage. Load the scorer with first_stage=….")
        draws, size = stream(seed, "first_stage_recall"), min(sample, len(users))
        chosen = np.sort(draws.permutation(len(users))[:size]).tolist()
        return FirstStageRecall.measured(self._catalogue(), self._first, users, chosen, k)

    def catalogue_logits(
        self,
        users: Users,
        user: int | str | Mapping[str, Any] | None,
        *,
        label: str | None = None,
    ) -> F32:
        """Return the logit of every item for one user, shape ``(n_items,)``, catalogue order.

        Args:
            users: the store.
            user: a position in the store (int), a user id (str; None or unknown = nothing known),
                or a record as :meth:`recommend` takes it.
            label: see :meth:`recommend`.

        Raises:
            InputError: no catalogue, no such position or label, or a history is lacking.
        """
        ranking, number = self._catalogue(), self._label(label, "catalogue_logits")
        if isinstance(user, Mapping):
            return ranking.logits(user, ranking.sent(user), number)
        if isinstance(user, int | np.integer) and not 0 <= user < len(users):
            raise ParameterError.of(
                "user", "catalogue_logits", f"a position below {len(users)}", user
            )
        index = int(user) if isinstance(user, int | np.integer) else users.index(user)
        record = {} if index is None else users.record_at(index)
        return ranking.logits(record, ranking.stored(users, index), number)

    def _catalogue(self) -> Ranking:
        if self._ranking is None:
            raise InputError(
                "This model has no catalogue: it ranks the rows of a table. Use score(columns), "
                "or train on a table with an item column."
            )
        return self._ranking

    def _recommendation(self, best: tuple[NDArray[np.intp], F32], fallback: bool) -> Recommendation:
        ids = self._catalogue().catalogue.ids
        items = tuple(map(ids.__getitem__, best[0].tolist()))
        return Recommendation(items, probability(best[1]), fallback)


def load(
    path: Path | str,
    *,
    cache: int | str | None = None,
    first_stage: Path | str | None = None,
    first_stage_k: int = 1000,
) -> Scorer:
    """Load an artefact's scorer from its folder (a run's output folder is one).

    Args:
        path: the folder.
        cache: bytes of the items' side that may be kept, a number or a text such as ``"256 MB"``;
            of a larger one nothing is kept, and each request computes it a batch at a time.
            None = no limit. See :attr:`Scorer.bytes_in_memory`.
        first_stage: the folder of a retriever. Then only its best candidates are ranked, and the
            answer is approximate; see :meth:`Scorer.first_stage_recall`. Items go by their ids.
            None = the whole catalogue is ranked, exactly.
        first_stage_k: how many candidates; of more requested items, as many as those.

    Raises:
        ParameterError: ``cache`` is no size, or ``first_stage_k`` no positive whole number.
        ArtifactError: not an artefact, or one that was changed, cut short or made by a newer
            recprune.
        InputError: the first stage is no retriever, or shares no item with this model's catalogue.
    """
    retriever = None if first_stage is None else read_artifact(Path(first_stage))
    artifact = read_artifact(Path(path))
    return Scorer(artifact, cache=cache, first_stage=retriever, first_stage_k=first_stage_k)
