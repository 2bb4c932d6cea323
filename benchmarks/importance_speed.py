"""Permutation importance against scikit-learn's, on the same model, rows, metric and repeats.

A table of 39 categorical fields (4 to 20,000 values, a value's frequency goes as one over its rank)
whose importance is graded: 34 fields of strengths that fall evenly in logarithm, 5 of noise. DeepFM
with our default dims and layers is trained on 200,000 rows, and its fields are scored on 200,000
others, five shuffles each, one thread. The peer is ``sklearn.inspection.permutation_importance``
with ``scoring="roc_auc"`` on an estimator whose ``decision_function`` is that very model's logits.

The peer's one run takes minutes. It is cut into five slices of equal numbers of calls of the model:
between two slices its clock stands still and ours run, so that all meet the same noise; a slice's
seconds are scaled to the whole run.

Equal importances: scikit-learn's own shuffles, drawn again, give ours to ``MOST_APART``; by our
own shuffles, means are compared within their standard errors. The screened mode has to keep the
same fields as the exact one at ¼, ½ and ¾, or the benchmark fails.

What bounds the exact mode: the products of the layers after the first (here 8,192 of 88,064
multiplications a row), the sort of AUC, and drawing shuffles; ``detail`` has each one's share.
With 400-400-400 the later layers are 320,000 of 569,600, so that no way of scoring each row could
gain more than their ratio and what values drawn twice spare. Ratios are by the clock;
``detail`` has those by the processor's time, which neighbours on the machine disturb less.

Memory is the peak of a whole process that scores 3,000 fields of 2 to 20 values on 100,000 rows,
one shuffle each (another takes 2 MB more); the encoded rows alone are 1.2 GB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import sklearn
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance
from threadpoolctl import threadpool_limits

from benchmarks._common import Claim, Timing, main
from recprune import Dataset
from recprune.data import Split
from recprune.encoding import Rows
from recprune.importance import Scores, importance
from recprune.importance.renewal import Renewal
from recprune.metrics import auc
from recprune.models import DeepFM, Ranker, Training

FIELDS, NOISE, REPEATS, ROUNDS = 39, 5, 5, 5
ROWS, WIDE_ROWS = 200_000, 4_000
DIM, HIDDEN = 16, (128, 64)
WIDE_HIDDEN = (400, 400, 400)
RATIOS = (0.25, 0.5, 0.75)
#: Most that an importance may differ from scikit-learn's by the same shuffles.
MOST_APART = 1e-5

MEMORY = """
import json, resource, sys, time
import numpy as np
import torch
from recprune._support import stream
from recprune.data import Split
from recprune.encoding import Encoder, Rows
from recprune.importance import importance
from recprune.lookups import Vocabulary
from recprune.models import DeepFM
from recprune.schema import Field, Schema
import polars as pl
fields, rows = map(int, sys.argv[1:])
torch.set_num_threads(1)
draws = stream(0, "rows")
names = [f"f{i}" for i in range(fields)]
sizes = draws.integers(2, 21, fields)
lookups = {n: Vocabulary(tuple(f"v{i}" for i in range(s))) for n, s in zip(names, sizes.tolist())}
encoder = Encoder(Schema(tuple(Field(n, "categorical") for n in names), label="y"), lookups)
codes = np.empty((rows, fields), np.int32)
for i, size in enumerate(sizes):
    codes[:, i] = draws.integers(2, 2 + size, rows)
label = draws.integers(0, 2, rows).astype(np.float32)
split = Split(Rows(codes, np.empty((rows, 0), np.float32)), label, encoder, pl.DataFrame())
model = DeepFM()
model.begin(split)
state = {n: draws.normal(0, 0.1, a.shape).astype(np.float32) for n, a in model.state.items()}
model = model.with_state(state)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
told = {"before_gb": peak()}
start = time.perf_counter()
importance(model, split, "fields", "permutation", repeats=1)
told |= {"seconds": time.perf_counter() - start, "processor_s": time.process_time(), "peak_gb": peak()}
print(json.dumps(told))
"""


@dataclass(frozen=True)
class World:
    """A trained model and the rows that its fields are scored on."""

    model: Ranker
    held: Split

    @property
    def codes(self) -> NDArray[np.int32]:
        """The rows as scikit-learn gets them: (n, F)."""
        return self.held.rows.codes

    def logits(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the model's logits of rows of codes."""
        return self.model.logits(Rows(codes, np.empty((len(codes), 0), np.float32)))

    def exact(self) -> Scores:
        """Return the exact mode's scores."""
        return importance(self.model, self.held, "fields", "permutation", repeats=REPEATS)

    def screened(self) -> Scores:
        """Return the screened mode's scores."""
        return importance(self.model, self.held, "fields", "screened", repeats=REPEATS)


def world(rows: int, hidden: tuple[int, ...]) -> World:
    """Return a model trained on as many rows as are then scored."""
    frame = _table(22 * rows // 10)
    data = Dataset.from_frame(frame, label="y").split(by="random", valid=0.04, test=0.48, seed=0)
    training = Training(epochs=2, batch_size=1024)
    model = DeepFM(DIM, hidden, training).fit(data.train)
    return World(model, data.test.take(slice(0, rows)))


def _table(rows: int) -> pl.DataFrame:
    draws = np.random.default_rng(0)
    sizes = draws.permutation(np.geomspace(4, 20_000, FIELDS).astype(int))
    strength = np.append(np.geomspace(1.2, 0.06, FIELDS - NOISE), np.zeros(NOISE))
    columns: dict[str, pl.Series] = {}
    first, sums, squares = np.zeros(rows), np.zeros((2, rows)), np.zeros(rows)
    for i, size in enumerate(sizes):
        rank = np.minimum((size ** draws.random(rows) ** 1.5).astype(np.int64), size) - 1
        effect = strength[i] * draws.normal(0, 1, (3, size))
        first += effect[0, rank]
        sums += effect[1:, rank]
        squares += np.square(effect[1:]).sum(axis=0)[rank]
        columns[f"f{i}"] = pl.Series(rank)
    pairs = 0.5 * (np.square(sums).sum(axis=0) - squares)
    logit = 1.2 * first / first.std() + 0.8 * pairs / pairs.std() - 1.0
    label = draws.random(rows) < 1 / (1 + np.exp(-logit))
    named = pl.DataFrame(columns).select(pl.format("v{}", pl.col(n)).alias(n) for n in columns)
    return named.with_columns(y=pl.Series(label.astype(np.int8)))


class Estimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The model as scikit-learn sees it; between slices of its calls, others have their turn."""

    def __init__(self, logits: Callable[[Any], NDArray[np.float32]], between: Any = None) -> None:
        self.logits, self.between = logits, between
        self.classes_ = np.array([0.0, 1.0])
        self.calls = 0
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.start = _now()

    def fit(self, rows: Any, label: Any) -> Estimator:
        """Do nothing: the model is fitted."""
        return self

    def decision_function(self, rows: Any) -> NDArray[np.float32]:
        """Return the logits."""
        # The first call is that of the rows as they are.
        if self.calls > 1 and self.calls % (FIELDS * REPEATS // ROUNDS) == 1:
            self.pause()
        self.calls += 1
        return self.logits(rows)

    def pause(self) -> None:
        """End a slice, and let the others run with the clock standing still."""
        wall, cpu = _now()
        self.wall.append(wall - self.start[0])
        self.cpu.append(cpu - self.start[1])
        if self.between is not None:
            self.between()
        self.start = _now()


@dataclass
class Contest:
    """What came of the three ways: seconds of each round, wall and processor, and importances."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    ours: dict[str, Scores] = field(default_factory=dict)
    sklearn: Any = None

    def run(self, it: World) -> Contest:
        """Let all work on the same rows, in turns."""
        small = World(it.model, it.held.take(slice(0, 20 * len(it.held) // 100)))
        ways = {"exact": it.exact, "screened": it.screened}
        for work in (small.exact, small.screened):
            work()  # compiles
        order = list(ways)

        def turn() -> None:
            for name in order:
                start = _now()
                self.ours[name] = ways[name]()
                for into, a, b in zip((self.wall, self.cpu), start, _now(), strict=True):
                    into.setdefault(name, []).append(b - a)
            order.reverse()

        it.logits(it.codes)
        peer = Estimator(it.logits, turn)
        self.sklearn = permutation_importance(
            peer, it.codes, it.held.label, scoring="roc_auc", n_repeats=REPEATS, random_state=0
        )
        peer.pause()
        self.wall["sklearn"] = [s * ROUNDS for s in peer.wall]
        self.cpu["sklearn"] = [s * ROUNDS for s in peer.cpu]
        return self

    def ratio(self, name: str) -> float:
        """Return how many times our way is as fast, by the clock: the median over the rounds."""
        return self.timing(self.wall).ratio("sklearn", name)

    @staticmethod
    def timing(seconds: dict[str, list[float]]) -> Timing:
        """Return seconds in the form that claims have them."""
        return Timing({name: tuple(s) for name, s in seconds.items()})

    def detail(self) -> dict[str, Any]:
        """Return both kinds of seconds, and the ratios by the processor's."""
        cpu = self.timing(self.cpu)
        ratios = {f"{n}_cpu_ratio": cpu.ratio("sklearn", n) for n in ("exact", "screened")}
        return {"clock": self.timing(self.wall).detail(), "processor": cpu.detail(), **ratios}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def apart(it: World, theirs: NDArray[np.float64]) -> float:
    """Return by how much ours differ at most from scikit-learn's, by its own shuffles.

    Args:
        it: the model and rows.
        theirs: shape (F, R).
    """
    draws = np.random.RandomState(np.random.RandomState(0).randint(np.iinfo(np.int32).max + 1))
    index, orders, order = np.arange(len(it.held)), [], np.arange(len(it.held))
    for _ in range(REPEATS):  # each shuffle is of what the last one left
        draws.shuffle(index)
        order = order[index]
        orders.append(order)
    drawn, renewal = np.stack(orders), Renewal(it.model.artifact(), it.held.rows)
    base, far = auc(it.held.label, renewal.logits), 0.0
    for at, scores in renewal.shuffled(range(FIELDS), np.arange(len(index)), lambda _: drawn):
        ours = [base - auc(it.held.label, score) for score in scores]
        far = max(far, float(np.abs(ours - theirs[at]).max()))
    return far


def kept(score: NDArray[np.float64], ratio: float) -> set[int]:
    """Return the fields that a ratio keeps."""
    return set(np.argsort(-score, kind="stable")[: round(ratio * len(score))].tolist())


def speed(quick: bool) -> list[Claim]:
    """Return the claims on time, and on the screened mode's order."""
    it = world(ROWS // 20 if quick else ROWS, HIDDEN)
    _progress(f"{FIELDS} fields × {len(it.held):,} rows, {REPEATS} repeats")
    race = Contest().run(it)
    far = apart(it, race.sklearn.importances)
    if far > MOST_APART:
        sys.exit(f"By the same shuffles, importances differ from scikit-learn's by {far:.3g}.")
    exact, screened = race.ours["exact"], race.ours["screened"]
    for ratio in RATIOS:
        odd = kept(exact.score, ratio) ^ kept(screened.score, ratio)
        if odd:
            sys.exit(f"At keep ratio {ratio} the screened mode keeps other fields: {sorted(odd)}.")
    theirs = race.sklearn.importances
    error = np.hypot(theirs.std(axis=1, ddof=1) / np.sqrt(REPEATS), exact.std)
    z = np.abs(theirs.mean(axis=1) - exact.score) / error
    equal = {
        "most_apart_by_the_same_shuffles": far,
        "most_apart_by_own_shuffles": float(np.abs(theirs.mean(axis=1) - exact.score).max()),
        "in_combined_standard_errors": {"median": float(np.median(z)), "max": float(z.max())},
    }
    by = [text.replace(",", "") for text in screened.by]
    decided = {text: by.count(text) for text in sorted(set(by))}
    of_sklearn = {str(r): kept(theirs.mean(axis=1), r) == kept(exact.score, r) for r in RATIOS}
    surrogate = importance(it.model, it.held, "fields", "gauss_newton", max_rows=20_000).score
    size: dict[str, Any] = {
        "fields": FIELDS,
        "rows": len(it.held),
        "repeats": REPEATS,
        "threads": 1,
        "rounds": ROUNDS,
    }
    size |= {"dim": DIM, "hidden": HIDDEN, "auc": auc(it.held.label, it.logits(it.codes))}
    peer = f"scikit-learn {sklearn.__version__}"
    rho = float(spearmanr(exact.score, screened.score).statistic)
    order = {
        "gauss_newton_alone": float(spearmanr(exact.score, surrogate).statistic),
        "importances": np.sort(exact.score)[::-1].round(6).tolist(),
    }
    sets = {"same_sets_as_exact": list(RATIOS), "sklearn_keeps_the_same": of_sklearn}
    return [
        Claim(
            "exact_vs_sklearn",
            race.ratio("exact"),
            "ratio",
            peer,
            {**size, **equal, **race.detail(), **({} if quick else _wide())},
        ),
        Claim(
            "screened_vs_sklearn",
            race.ratio("screened"),
            "ratio",
            peer,
            {**size, **sets, "decided_by": decided, **race.detail()},
        ),
        Claim("screened_spearman", rho, "correlation", "the exact mode", order),
    ]


def _wide() -> dict[str, Any]:
    """Return the same race with large layers, on few rows: time grows with them evenly."""
    it = world(WIDE_ROWS, WIDE_HIDDEN)
    _progress(f"the same with layers {WIDE_HIDDEN} on {len(it.held):,} rows")
    race = Contest().run(it)
    ratios = {f"{n}_ratio": race.ratio(n) for n in ("exact", "screened")}
    return {"hidden_400_400_400": {"rows": len(it.held), **ratios, **race.detail()}}


def memory(quick: bool) -> Claim:
    """Return the claim on memory: of a process of its own, from its start to its end."""
    fields, rows = (300, 10_000) if quick else (3_000, 100_000)
    _progress(f"memory of {fields:,} fields × {rows:,} rows")
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(fields), str(rows)],
        stdout=subprocess.PIPE,
        text=True,
        env=alone,
        check=True,
    )
    told = json.loads(run.stdout.splitlines()[-1])
    peak = told.pop("peak_gb")
    encoded = {"encoded_rows_gb": 4 * fields * rows / 1e9}
    return Claim(
        "peak_gb_3000_fields",
        peak,
        "GB",
        None,
        {"fields": fields, "rows": rows, "repeats": 1, **encoded, **told},
    )


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(quick: bool) -> list[Claim]:
    """Return all claims."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return [*speed(quick), memory(quick)]


if __name__ == "__main__":
    main("importance_speed", measure)
