"""Matrix factorisation by alternating least squares, which the library ``implicit`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recprune._support import logger, require
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.lookups import UNKNOWN
from recprune.models.retrieval.mf import MF
from recprune.models.retrieval.positives import Positives
from recprune.models.training import Epoch, Training

__all__ = ["ALS"]

F32 = NDArray[np.float32]
Index = NDArray[np.int64]

#: Sweeps are few: each solves for all users and all items.
SWEEPS = 15


class ALS(MF):
    """Matrix factorisation of all pairs, taken ones with more confidence (Hu et al. 2008, eq. 3–5).

    A pair that was taken has preference 1 and confidence 1 + α · r, r being its rows' weights added
    up; every other pair has preference 0 and confidence 1. An epoch is one sweep over users, then
    items. The factors become the tables of an :class:`MF`: an item that nobody took has the vector
    zero, as least squares says; a user who took nothing has the mean of the others'.

    Args:
        dim: dims of a vector.
        alpha: α.
        l2: λ, the penalty on squared factors.
        training: ``epochs`` and ``patience``, nothing else of it applies; None = 15 epochs.
        seed: of the initial factors.

    Raises:
        ParameterError: an option out of range.
    """

    resumable = False

    def __init__(
        self,
        dim: int = 64,
        alpha: float = 10.0,
        l2: float = 1.0,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, training=training or Training(epochs=SWEEPS, patience=3), seed=seed)
        for name, value in (("alpha", alpha), ("l2", l2)):
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ParameterError.of(name, "ALS", "a finite float > 0", value)
        self.alpha, self.l2 = alpha, l2

    def train_on(
        self,
        rows: Split,
        *,
        valid: Split | None = None,
        training: Training | None = None,
        teacher: NDArray[np.float32] | None = None,
        watch: Callable[[Epoch], None] | None = None,
        **options: Any,
    ) -> list[Epoch]:
        """Sweep on from the present factors.

        Args:
            rows: training rows.
            valid: held-out rows; None = all epochs.
            training: epochs and patience; None = as the retriever was made.
            teacher: has no part in least squares, and is left aside.
            watch: called with every epoch's line of the history; what it raises ends training.
            options: ``taps`` and ``extra`` need gradients: with them, the factors are trained by BPR.

        Raises:
            ParameterError: another option, such as a checkpoint.
            MissingExtra: ``implicit`` is not installed.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if other := sorted(given.keys() - {"taps", "extra"}):
            raise ParameterError.of(other[0], "ALS.train_on", "left out", given[other[0]])
        if given:
            return super().train_on(
                rows, valid=valid, training=training, teacher=teacher, watch=watch, **given
            )
        training = self.checked(training or self.training)
        positives = Positives.of(self.aligned(rows))
        self._window = positives.window
        score = None if valid is None else self.held_out(self.aligned(valid))
        best = score() if score else None
        history = [] if best is None else [Epoch(0, float("nan"), best)]
        if len(self.encoder.schema.names) == 1:
            logger.info("one of the two ids was cut: there is nothing to solve for")
            return history
        sweeps = _Sweeps(self, positives)
        kept, waited = self.net.table.detach().clone(), 0
        for epoch in range(1, training.epochs + 1):
            loss = sweeps.sweep()
            sweeps.into(self.net.table)
            reached = score() if score else None
            history.append(Epoch(epoch, loss, reached))
            logger.info("sweep %d: loss %.5f, held-out %s", epoch, loss, reached)
            if watch is not None:
                watch(history[-1])
            if best is None or reached is None or reached > best:
                best, kept, waited = reached, self.net.table.detach().clone(), 0
            else:
                waited += 1
                if waited >= training.patience:
                    break
        with torch.no_grad():
            self.net.table.copy_(kept)
        return history


class _Sweeps:
    """The factors of all users and items of a window, and where they stand in a table.

    Users and items that read the unknown row have factors of their own here; the row is their mean.
    """

    def __init__(self, model: ALS, positives: Positives) -> None:
        sparse: Any = require("scipy.sparse", "als")
        backend: Any = require("implicit.cpu.als", "als")
        net, names, schema = model.net, model.encoder.schema.names, model.encoder.schema
        people, users = np.unique(positives.users, return_inverse=True)
        weight = np.ones(len(positives)) if positives.weight is None else positives.weight
        shape = (len(people), positives.window.n_items)
        taken = sparse.csr_matrix((weight, (users, positives.items)), shape)  # repeats add up
        taken.data = 1 + model.alpha * taken.data
        self.taken = taken.astype(np.float32)
        self.rows: list[Index] = []
        self.blocks: list[slice] = []
        items = model.aligned(positives.window.items).rows.codes
        first = np.unique(users, return_index=True)[1]
        common = np.arange(net.shape.dim)
        for name, codes in ((schema.user, positives.rows[first].codes), (schema.item, items)):
            at = names.index(str(name))
            start = int(net.offsets[at])
            self.rows.append(start + codes[:, model.encoder.slots[at].start].astype(np.int64))
            self.blocks.append(slice(start, start + net.shape.sizes[at]))
            common = np.intersect1d(common, net.shape.dims[at])
        self.columns = int(net.shape.wide) + common
        with threadpool_limits(1, "blas"):  # implicit splits the rows itself
            self.backend = backend.AlternatingLeastSquares(
                len(common), regularization=model.l2, iterations=1, calculate_training_loss=True
            )
        table = net.table.detach().numpy()
        self.backend.user_factors, self.backend.item_factors = (
            np.ascontiguousarray(table[rows][:, self.columns]) for rows in self.rows
        )
        self.loss = float("nan")

    def sweep(self) -> float:
        """Solve for all users, then for all items; return the mean loss of a pair."""

        def keep(_: int, __: float, loss: float) -> None:
            self.loss = loss

        with threadpool_limits(1, "blas"):
            self.backend.fit(self.taken, show_progress=False, callback=keep)
        return float(self.loss)

    @torch.no_grad()
    def into(self, table: torch.Tensor) -> None:
        """Write the factors into a table of shape (R, W); unknown rows become means."""
        new = table.numpy()
        factors = self.backend.user_factors, self.backend.item_factors
        defaults = factors[0].mean(axis=0), np.zeros(len(self.columns), np.float32)
        for rows, block, own, default in zip(
            self.rows, self.blocks, factors, defaults, strict=True
        ):
            unknown = rows == block.start + UNKNOWN
            new[np.ix_(rows[~unknown], self.columns)] = own[~unknown]
            pooled = own[unknown].mean(axis=0) if unknown.any() else default
            new[block.start + UNKNOWN, self.columns] = pooled
