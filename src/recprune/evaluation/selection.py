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

#: Normal quantiles of the levels 1/40, 1/80, 1/160 and 1/320, which add up to less than 1/20: a
#: sequence may go on after a set that does not pass, at half the level (Wiens 2003, "A fixed
#: sequence Bonferroni procedure").
QUANTILES = (1.9600, 2.2414, 2.4977, 2.7344)
#: Most memory of the fields' values on one part of the rows.
MOST_BYTES = 1 << 29


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
    set is tested on the gate rows. Where one does not pass, its last field stays and the sequence
    goes on at half the level, at most four times: one of two copies may rank below noise, and must
    not keep the noise in. A set passes if its AUC is not lower by more than the tolerance than
    that of all fields, of the best larger set and of the set before it: dropping noise often helps,
    and that gain must not pay for a useful field. The best larger set is found on the tune rows,
    so that the gate does not choose its own rival. All errors together are at most 5 %.

    Args:
        model: fitted ranker; nothing is trained here.
        ranking: of the model's fields, on tune rows.
        tune: rows that the ranking may have seen.
        gate: rows of other users, never used to rank.
        tolerance: largest drop of AUC.
        protect: fields that stay in any case.
    """
    tune, gate = (model.aligned(_held(model, split)) for split in (tune, gate))
    on_tune, on_gate = _Values(model, tune), _Values(model, gate)
    full = best = latest = on_gate.score()
    best_tune = auc(tune.label, on_tune.score())
    kept = list(ranking.fields)
    means, failures = on_tune.means(), 0
    for name in reversed(ranking.fields):
        if name in protect or len(kept) == 1:
            continue
        before = [values.replace(name, means) for values in (on_tune, on_gate)]
        score, tune_auc = on_gate.score(), auc(tune.label, on_tune.score())
        bounds = [
            d - QUANTILES[failures] * se
            for d, se in (
                clustered_delong(gate.label, rival, score, gate.users)
                for rival in (full, best, latest)
            )
        ]
        logger.debug("without %s: lower bounds %s", name, bounds)
        if not all(bound > -tolerance for bound in bounds):  # also where an error is unknown
            failures += 1
            if failures == len(QUANTILES):
                break
            for values, column in zip((on_tune, on_gate), before, strict=True):
                values.restore(name, column)
            continue
        kept.remove(name)
        latest = score
        if tune_auc > best_tune:
            best, best_tune = score, tune_auc
    return tuple(kept)


def _held(model: Ranker, split: Split) -> Split:
    """Return the split, or as many of its rows, evenly spread, as their values may take memory."""
    most = MOST_BYTES // (4 * len(model.net.shape.sizes) * (1 + model.net.shape.dim))
    if len(split) <= most:
        return split
    return split.take(np.linspace(0, len(split) - 1, most).astype(np.int64))


class _Values:
    """The fields' values on some rows, some of them replaced by their means."""

    def __init__(self, model: Ranker, split: Split) -> None:
        self.net = model.net
        self.place = {
            model.encoder.schema.names[i]: at for at, i in enumerate(self.net.order.tolist())
        }
        with torch.no_grad():
            self.value = self.net.embed(split.rows)

    def means(self) -> torch.Tensor:
        return self.value.mean(dim=0)

    def replace(self, name: str, means: torch.Tensor) -> torch.Tensor:
        at = self.place[name]
        before = self.value[:, at].clone()
        self.value[:, at] = means[at]
        return before

    def restore(self, name: str, before: torch.Tensor) -> None:
        self.value[:, self.place[name]] = before

    @torch.no_grad()
    def score(self) -> NDArray[np.float32]:
        return np.concatenate(
            [self.net.head(p).numpy() for p in torch.split(self.value, PREDICT_BLOCK)]
        )
