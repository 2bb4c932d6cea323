"""Models of many sizes and kinds with random weights, to time the runtime on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from recprune._support import stream
from recprune.artifact import Artifact
from recprune.bags import Sequence as Bag
from recprune.encoding import Encoder, Rows
from recprune.layout import Plan, shrink
from recprune.lookups import Buckets, Knots, Lookup
from recprune.models import DLRM, DNN, FM, LR, DCNv2, DeepFM, FinalMLP, FwFM, Ranker
from recprune.models.draft import Draft
from recprune.schema import Field, Kind, Schema, Source

__all__ = ["random_rows", "synthetic_models"]

#: Every second model is what pruning mostly starts from.
OTHERS: tuple[type[Ranker], ...] = (DCNv2, FM, DLRM, DNN, FwFM, LR, FinalMLP)
KINDS = tuple(kind for other in OTHERS for kind in (DeepFM, other))
#: Most rows of a model's tables together.
MOST_ROWS = 200_000
SOURCES: tuple[Source, ...] = ("user", "item", "context")


def synthetic_models(count: int, seed: int) -> Iterator[Artifact]:
    """Yield so many models: 1 to 40 fields, 1 to 16 dims, no to 400 neurons, 10 to 200,000 rows."""
    draws = stream(seed, "synthetic models")
    for number, kind in enumerate(islice(_forever(KINDS), count)):
        # Every third is a large one, as models are before they are cut.
        yield _model(kind, draws, deep=number // 3 % 3, large=number % 3 == 0)


def random_rows(encoder: Encoder, n: int, seed: int) -> Rows:
    """Return encoded rows as a request has them: one user's, and few values are frequent."""
    draws, rows = stream(seed, "rows"), encoder.blank(n)
    sizes = np.repeat(encoder.sizes, [s.stop - s.start for s in encoder.slots])
    rows.codes[:] = (sizes * draws.random(rows.codes.shape) ** 5).astype(np.int32)
    rows.shares[:] = draws.random(rows.shares.shape)
    for field, slots in zip(encoder.schema.fields, encoder.slots, strict=True):
        if field.source == "user":
            rows.codes[:, slots] = rows.codes[:1, slots]
    return rows


def _model(kind: type[Ranker], draws: np.random.Generator, deep: int, large: bool) -> Artifact:
    least = 12 if large else 1 if kind in (LR, FM, DNN, DeepFM) else 3
    encoder = _encoder(draws, least)
    dim = int(draws.integers(8 if large else 1, 17))
    options: dict[str, Any] = {} if kind is LR else {"dim": dim}
    if kind not in (LR, FM, FwFM):
        fewest, most = (64 if large else 4), 400
        # Even: two heads share the last layer of FinalMLP.
        options["hidden"] = tuple(
            2 * int(_between(draws, fewest / 2, most / 2 + 1)) for _ in range(1 + deep)
        )
    ranker = kind(**options)
    draft = Draft(encoder, ranker.dim, ranker.wide)
    ranker.declare(draft)
    layout = draft.layout()
    state = {n: draws.normal(0, 0.1, s).astype(np.float32) for n, s in layout.shapes.items()}
    keep = {n: _some(a.size, draws) for n, a in layout.axes.items() if a.unit == "dim"}
    plan = Plan(layout.hash, keep if draws.random() < 0.5 else {})
    cut, layout = shrink(state, layout, plan)
    model = {"class": kind.__name__, "labels": ["y"], "options": {}, "parts": draft.parts}
    return Artifact({**model, "wide": ranker.wide}, cut, layout, plan, encoder)


def _encoder(draws: np.random.Generator, least: int) -> Encoder:
    count = int(_between(draws, least, 41))
    kinds: list[Kind] = ["categorical"] * count
    for i in range(1, count):
        kinds[i] = draws.choice(["categorical", "numeric", "sequence"], p=[0.6, 0.32, 0.08])
    sizes = [_between(draws, 8, MOST_ROWS) for _ in kinds]
    share = min(1.0, MOST_ROWS / sum(sizes))
    parts: dict[str, Lookup] = {}
    for i, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        words, length = Buckets(max(8, int(size * share))), int(draws.integers(2, 20))
        lookups: dict[str, Lookup] = {"categorical": words, "sequence": Bag(words, length)}
        lookups["numeric"] = Knots(np.arange(float(draws.integers(4, 65))))
        parts[f"f{i}"] = lookups[kind]
    fields = (Field(f"f{i}", kind, SOURCES[i % 3]) for i, kind in enumerate(kinds))
    return Encoder(Schema(tuple(fields), label="y", user="user", item="item"), parts)


def _between(draws: np.random.Generator, least: float, most: float) -> float:
    """Return a number of a random order of magnitude."""
    return float(np.exp(draws.uniform(np.log(least), np.log(most))))


def _some(size: int, draws: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.sort(draws.permutation(size)[: draws.integers(1, size + 1)]).astype(np.int32)


def _forever(kinds: tuple[type[Ranker], ...]) -> Iterator[type[Ranker]]:
    while True:
        yield from kinds
