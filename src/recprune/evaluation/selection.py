"""How many fields to keep: the smallest set that holds the promise on the gate rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import logger
from recprune.data import Split
from recprune.evaluation.delong import clustered_delong
from recprune.importance import FieldRanking
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.models.trainer import PREDICT_BLOCK

__all__ = ["choose_fields"]

#: One-sided 95 % quantile of the normal distribution.
Z = 1.6448536


def choose_fields(
    model: Ranker,
    ranking: FieldRanking,
    tune: Split,
    gate: Split,
    tolerance: float,
    protect: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return the fields to keep, best first.

    Fields are replaced by their mean one after another, the least important first. Each nested
    set is tested on the gate rows and the sequence stops at the first set that does not pass (a
    fixed sequence needs no further correction). A set passes if its AUC is not lower by more than
    the tolerance, with one-sided confidence 95 %, than that of all fields and than that of the
    best larger set: dropping noise often helps, and that gain must not pay for a useful field.
    The best larger set is found on the tune rows, so that the gate does not choose its own rival.

    Args:
        model: fitted ranker; nothing is trained here.
        ranking: of the model's fields, on tune rows.
        tune: rows that the ranking may have seen.
        gate: rows of other users, never used to rank.
        tolerance: largest drop of AUC.
        protect: fields that stay in any case.
    """
    tune, gate = model.aligned(tune), model.aligned(gate)
    on_tune, on_gate = _Values(model, tune), _Values(model, gate)
    full = best = on_gate.score()
    best_tune = auc(tune.label, on_tune.score())
    kept = list(ranking.fields)
    means = on_tune.means()
    for name in reversed(ranking.fields):
        if name in protect or len(kept) == 1:
            continue
        on_tune.replace(name, means)
        on_gate.replace(name, means)
        score, tune_auc = on_gate.score(), auc(tune.label, on_tune.score())
        bounds = [
            d - Z * se
            for d, se in (
                clustered_delong(gate.label, full, score, gate.users),
                clustered_delong(gate.label, best, score, gate.users),
            )
        ]
        logger.debug("without %s: lower bounds %s", name, bounds)
        if not all(bound > -tolerance for bound in bounds):  # also where an error is unknown
            break
        kept.remove(name)
        if tune_auc > best_tune:
            best, best_tune = score, tune_auc
    return tuple(kept)


class _Values:
    """The fields' values on some rows, some of them replaced by their means."""

    def __init__(self, model: Ranker, split: Split) -> None:
        self.net = model.net
        self.place = {
            model.encoder.schema.names[i]: at for at, i in enumerate(self.net.order.tolist())
        }
        with torch.no_grad():
            index = self.net.index(torch.from_numpy(split.rows.codes).long())
            self.value = self.net.embed(self.net.table, index, torch.from_numpy(split.rows.shares))

    def means(self) -> torch.Tensor:
        return self.value.mean(dim=0)

    def replace(self, name: str, means: torch.Tensor) -> None:
        at = self.place[name]
        self.value[:, at] = means[at]

    @torch.no_grad()
    def score(self) -> NDArray[np.float32]:
        return np.concatenate(
            [self.net.head(p).numpy() for p in torch.split(self.value, PREDICT_BLOCK)]
        )
