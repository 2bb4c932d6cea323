"""How many fields to keep: the smallest set that holds the promise on the gate rows."""

from __future__ import annotations

from collections.abc import Sequence

from recprune._support import logger
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.evaluation.delong import clustered_delong
from recprune.evaluation.elimination import eliminate
from recprune.importance import FieldRanking
from recprune.importance.replaced import Replaced
from recprune.models import Ranker

__all__ = ["choose_fields"]

#: Normal quantiles of the levels 1/40, 1/80, 1/160 and 1/320, which add up to less than 1/20: a
#: sequence may go on after a set that does not pass, at half the level (Wiens 2003, "A fixed
#: sequence Bonferroni procedure").
QUANTILES = (1.9600, 2.2414, 2.4977, 2.7344)
#: Gate rows from which they decide alone.
ENOUGH = 20_000


def choose_fields(
    model: Ranker,
    ranking: FieldRanking,
    train: Split,
    tune: Split,
    gate: Split,
    tolerance: float,
    protect: Sequence[str] = (),
    force: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the fields to keep, best first.

    Fields are replaced by their mean one after another, the least important first. Each nested
    set is tested on the gate rows. Where one does not pass, its last field stays and the sequence
    goes on at half the level, at most four times: one of two copies may rank below noise, and must
    not keep the noise in. A set passes if its AUC is not lower by more than the tolerance than
    that of all fields, of the best larger set and of the set before it: dropping noise often helps,
    and that gain must not pay for a useful field. The best larger set is found on the tune rows,
    so that the gate does not choose its own rival. All errors together are at most 5 %.

    Rows count by their weights.

    The fields of a group go together; of one that stays, its representative is returned.

    A few gate rows cannot show that a field does *not* matter: its noise alone moves their AUC by
    more than the tolerance. Below 20,000 of them, fields that are not shown to matter on the
    training rows go first (:func:`recprune.evaluation.elimination.eliminate`, which trains), and
    the sequence begins with those that are left.

    Args:
        model: fitted ranker.
        ranking: of the model's fields, without looking at gate rows.
        train: the model's training rows, in the encoding of ``tune``: they tell where gate rows are
            few.
        tune: rows that the ranking may have seen.
        gate: rows of other users, never used to rank: they decide.
        tolerance: largest drop of AUC.
        protect: fields that stay in any case.
        force: fields that go in any case.

    Raises:
        ParameterError: a tolerance out of range; a ranking of other fields; names in ``protect`` or
            ``force`` that are no fields, or in both; ``force`` leaves none; or gate rows are few and
            the model cannot be trained without fields that it needs (a retriever's ids).
    """
    if not 0 < tolerance < 1:
        raise ParameterError.of("tolerance", "choose_fields", "a float in (0, 1)", tolerance)
    if set(ranking.fields) != set(model.encoder.schema.names):
        raise ParameterError.of("ranking", "choose_fields", "of the model's fields", ranking.fields)
    allowed = ranking.allowed(protect, force)
    left = eliminate(model, train, tune, allowed, protect) if len(gate) < ENOUGH else allowed
    kept = [name for name in allowed if name in left]
    on_tune, on_gate = (Replaced(model, split) for split in (tune, gate))
    gate = on_gate.split
    means, failures = on_tune.means(), 0
    for values in (on_tune, on_gate):
        values.replace(force, means)
    full = on_gate.score()
    for values in (on_tune, on_gate):
        gone = [member for name in allowed if name not in left for member in ranking.group_of(name)]
        values.replace(gone, means)
    best = latest = on_gate.score()
    best_tune = on_tune.auc()
    for name in reversed(ranking.fields):
        if name not in kept or name in protect or len(kept) == 1:
            continue
        group = ranking.group_of(name)
        before = [values.replace(group, means) for values in (on_tune, on_gate)]
        score, tune_auc = on_gate.score(), on_tune.auc()
        bounds = [
            d - QUANTILES[failures] * se
            for d, se in (
                clustered_delong(gate.label, rival, score, gate.users, gate.extras.weight)
                for rival in (full, best, latest)
            )
        ]
        logger.debug("without %s: lower bounds %s", name, bounds)
        if not all(bound > -tolerance for bound in bounds):  # also where an error is unknown
            failures += 1
            if failures == len(QUANTILES):
                break
            for values, column in zip((on_tune, on_gate), before, strict=True):
                values.restore(group, column)
            continue
        kept.remove(name)
        latest = score
        if tune_auc > best_tune:
            best, best_tune = score, tune_auc
    return tuple(kept)
