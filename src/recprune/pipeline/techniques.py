"""Single techniques against the combination, at equal bytes and with equal effort."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from recprune._support import logger, progress
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.importance import FieldRanking
from recprune.models import Penalty, Ranker
from recprune.pipeline.recipes import largest_share
from recprune.pipeline.trial import Candidate
from recprune.pruning import BITS, FineTuning, encode, encoded_size, fine_tune, repair
from recprune.pruning.planning import cuttable, plan_from_scores, score_units

__all__ = ["Technique", "techniques"]

#: Strengths of the penalties that prepare an L1 or L2 cut: zeros appear within an epoch.
L1_STRENGTH, GROUP_STRENGTH = 0.3, 1.0
MIN_NEURONS = 4


@dataclass(frozen=True, eq=False)
class Technique:
    """A model cut by one technique alone.

    Args:
        name: as the report shows it.
        model: cut, fine-tuned and encoded.
        bytes: as stored.
        cuts: what was cut, in words.
        seconds: time it took.
    """

    name: str
    model: Ranker
    bytes: int
    cuts: str
    seconds: float


def techniques(
    reference: Ranker,
    ranking: FieldRanking,
    data: Dataset,
    tuning: FineTuning,
    rival: Candidate,
    seed: int = 0,
) -> list[Technique]:
    """Cut the reference to the bytes of ``rival`` by each technique alone.

    All start from the same model, get the same fine-tuning and the same encoding, so that only
    the choice of what to cut differs:

    - importance ranking: whole fields, in the order of importance as long as they fit;
    - L1: one epoch under an L1 penalty (proximal steps), then rows and neurons by L1 norm;
    - L2: one epoch under a group (L2,1) penalty, then rows and neurons by L2 norm;
    - Dropout: rows and neurons by learned dropout rates;
    - ReLU: neurons by their share of zero outputs, rows by their share of unused inputs.

    Rows and neurons shrink together: a share s of the rows, the root of s of the neurons.
    """
    ways: dict[str, Callable[[], tuple[Ranker, str]]] = {
        "importance ranking": lambda: _by_fields(reference, ranking, data, rival),
        "L1": lambda: _by_units(
            _prepared(reference, tuning, Penalty(l1=L1_STRENGTH)), "l1", data, rival, seed
        ),
        "L2": lambda: _by_units(
            _prepared(reference, tuning, Penalty(group=GROUP_STRENGTH)), "l2", data, rival, seed
        ),
        "Dropout": lambda: _by_units(reference, "dropout", data, rival, seed),
        "ReLU": lambda: _by_units(reference, "activity", data, rival, seed),
    }
    out = []
    for name, way in progress(ways.items(), "techniques", len(ways)):
        start = time.perf_counter()
        model, cuts = way()
        model = encode(fine_tune(model, tuning), *BITS[rival.bits])
        size = stored_size(model.artifact())
        seconds = time.perf_counter() - start
        out.append(Technique(name, model, size, cuts, seconds))
        logger.info("technique %s: %d bytes in %.1f s", name, size, seconds)
    return out


def _prepared(reference: Ranker, tuning: FineTuning, penalty: Penalty) -> Ranker:
    """Train one epoch under a penalty; the epoch counts even where it costs quality."""
    twin = reference.with_state(reference.state)
    training = replace(tuning.training, epochs=1, penalty=penalty)
    twin.train_on(tuning.rows, training=training, teacher=tuning.teacher)
    return twin


def _by_fields(
    reference: Ranker, ranking: FieldRanking, data: Dataset, rival: Candidate
) -> tuple[Ranker, str]:
    def size(*fields: str) -> int:
        cut = _cut(reference, {"fields": fields}, {}, data, mended=False)
        return encoded_size(cut, *BITS[rival.bits])

    kept: tuple[str, ...] = ()
    for field in ranking.fields:
        if size(*kept, field) <= rival.bytes:
            kept = (*kept, field)
    if not kept:  # no field fits: the smallest there is
        kept = (min(ranking.fields, key=size),)
    return _cut(reference, {"fields": kept}, {}, data), f"fields {len(kept)}/{len(ranking.fields)}"


def _by_units(
    model: Ranker, method: str, data: Dataset, rival: Candidate, seed: int
) -> tuple[Ranker, str]:
    kinds = list(_keep(model, 1.0))
    scores = score_units(model, data.train, kinds, dict.fromkeys(kinds, method), seed)

    def fits(share: float) -> bool:
        cut = _cut(model, _keep(model, share), scores, data, mended=False)
        return encoded_size(cut, *BITS[rival.bits]) <= rival.bytes

    best = largest_share(fits)
    keep = _keep(model, best)
    cut = _cut(model, keep, scores, data)
    neurons = f", neurons {'-'.join(map(str, cut.neurons))}" if model.neurons else ""
    return cut, f"rows {best:.2%}{neurons}"


def _keep(model: Ranker, share: float) -> dict[str, object]:
    keep: dict[str, object] = {"rows": max(share, 1e-6)} if cuttable(model, "rows") else {}
    if model.neurons:
        root = max(share, 1e-6) ** 0.5
        keep["neurons"] = tuple(max(min(MIN_NEURONS, h), round(h * root)) for h in model.neurons)
    return keep


def _cut(
    model: Ranker,
    keep: Mapping[str, object],
    scores: Mapping[str, object],
    data: Dataset,
    mended: bool = True,
) -> Ranker:
    made = plan_from_scores(model, keep, scores)  # type: ignore[arg-type]
    return model.apply(made, repair(model, data.train, made) if mended else None)
