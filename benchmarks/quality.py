"""Test AUC of our rankers against FuxiCTR's, and against gradient-boosted trees.

Users and items (``auc_gap_…``): the same rows, fields, split, sizes and batch on both sides; each
stops early on validation AUC and takes what validation says is the better of three learning rates.
Each also chooses what keeps its tables from overfitting (FuxiCTR its embedding regularizer, we our
``unknown_rate``, ``unseen_rare`` and L2), FuxiCTR its way with numbers too: one choice after the
other, the learning rate last. As many runs choose on both sides (:class:`Size`): one seed's
validation AUC is further off than most settings are apart, which ``--full`` meets by the mean of
three. Seeds change weights and row order, not the rows.

Tables of independent rows (``tabular_gap_…``): the yardstick is scikit-learn's
``HistGradientBoostingClassifier`` with native categories. On every random split, each side takes
what is best on its validation rows: we among our rankers and their settings, the trees among three
learning rates and their number.

Runs are kept (:mod:`benchmarks._cells`); a run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks._cells import RESULTS, Cells, code_version
from benchmarks._common import Claim, main, peer
from benchmarks._fuxictr import FUXICTR
from benchmarks._tasks import PAIRS, TABULAR, look_for, pairs_task, tabular_task
from recprune import models
from recprune.data import Dataset, Split
from recprune.metrics import auc
from recprune.models import Penalty, Training

RANKERS = ("LR", "FM", "DeepFM", "DCNv2")
LABEL = "the_label"
SIZES = {"dim": 16, "hidden": [128, 64], "cross": 3, "batch": 1024, "patience": 2}
EPOCHS = 50
#: Learning rates that both sides try; without hidden layers both learn slowly.
SHALLOW, DEEP = (1e-3, 3e-3, 1e-2), (3e-4, 1e-3, 3e-3)
RATES = {"LR": SHALLOW, "FM": SHALLOW, "DeepFM": DEEP, "DCNv2": DEEP}
Run = dict[str, Any]
Parts = dict[str, Split]

#: FuxiCTR's embedding regularizer; the leaderboards' settings for small data lie in this range.
REGULARIZERS = (0.0, 1e-5, 1e-4, 1e-3)
NUMBERS = ("buckets", "scaled")
RARE, UNKNOWN_RATES = (True, False), (50.0, 5.0, 1.0)
#: Strengths beside none; ours is a decay of the rows a step touches, at the table's own rate.
L2 = (0.01, 0.1, 1.0)
#: What we try on the tabular sets: rankers and their settings.
CANDIDATES: tuple[tuple[str, Run], ...] = (
    ("LR", {"learning_rate": 3e-3}),
    ("FM", {"learning_rate": 3e-3}),
    *(("DeepFM", {"learning_rate": rate}) for rate in (1e-3, 3e-3)),
    *(("DCNv2", {"learning_rate": rate}) for rate in (1e-3, 3e-3, 6e-3)),
    ("DCNv2", {"learning_rate": 6e-3, "dim": 32}),
)
TREE_RATES = (0.03, 0.1, 0.3)
#: Of a quick run: rows, rankers, sets of independent rows, and epochs.
QUICK_ROWS, QUICK_RANKERS, QUICK_TABULAR, QUICK_EPOCHS = (
    4_000,
    RANKERS[:3:2],
    ("vehicle_coupon",),
    3,
)
MARGIN, TABULAR_MARGIN = 0.001, 0.005
WORKERS = 2


@dataclass(frozen=True)
class Size:
    """How much is run.

    Args:
        choice_seeds: that settings are chosen by.
        seeds: that decide, those of the choice among them.
        splits: of each table of independent rows.
        quick: whether rows, rankers, settings and epochs are few, too.
    """

    choice_seeds: int
    seeds: int
    splits: int
    quick: bool = False


QUICK, DEFAULT, FULL = Size(1, 2, 1, quick=True), Size(1, 3, 3), Size(3, 5, 5)


@dataclass(frozen=True)
class Side:
    """What one side of a comparison reached: its tries on validation rows, and a run a seed."""

    name: str
    tried: Sequence[Run]
    runs: Sequence[Run]

    @property
    def test(self) -> list[float]:
        """Test AUC of each run."""
        return [run["test"] for run in self.runs]

    def detail(self) -> dict[str, Any]:
        """Return mean, standard error and what was chosen."""
        chosen = {k: v for k, v in self.runs[0].items() if k not in ("valid", "test", "seed")}
        mean, error = statistics.fmean(self.test), _error(self.test)
        shown = {"mean": mean, "standard_error": error, "test": self.test, "chosen": chosen}
        return {**shown, "tried": list(self.tried)}


def measure(quick: bool, full: bool = False) -> list[Claim]:
    """Return the claims ``auc_gap_…`` and ``tabular_gap_…``."""
    size = QUICK if quick else FULL if full else DEFAULT
    tasks, rankers, sets = PAIRS[: 1 if quick else None], list(RANKERS), list(TABULAR)
    if quick:
        rankers, sets = list(QUICK_RANKERS), list(QUICK_TABULAR)
    look_for([*tasks, *sets])
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as name:
        folders = {task: _exported(task, Path(name) / task, size) for task in tasks}
        with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
            names = [(task, ranker) for task in tasks for ranker in rankers]
            ours = [pool.submit(our_side, *pair, size) for pair in names]
            theirs = [
                pool.submit(their_side, folders[task], task, ranker, size) for task, ranker in names
            ]
            gaps = [pool.submit(tabular_gap, name, size) for name in sets]
            pairs = zip(names, ours, theirs, strict=True)
            claims = [_auc_gap(*n, o.result(), t.result()) for n, o, t in pairs]
            return [*claims, *(gap.result() for gap in gaps)]


def our_side(task: str, ranker: str, size: Size) -> Side:
    """Return our runs: the learning rate by validation, then a run a seed."""
    data = pairs_task(task)
    parts, fixed = _parts(data, size.quick), {"batch_size": SIZES["batch"]}
    cells = Cells(results(size.quick), f"{task}-{ranker}-ours")

    def fit(how: Run, seed: int) -> Run:
        key = f"{how} {seed}"
        return _kept(cells, key, lambda: _our_run(ranker, parts, fixed, how, seed, size.quick))

    first, middle, last = RATES[ranker]
    start = {"learning_rate": middle, "l2": 0.0}
    ways = [{"unseen_rare": rare, "unknown_rate": k} for rare in RARE for k in UNKNOWN_RATES]
    ways = ways[:2] if size.quick else ways
    chosen_by, more_seeds = range(size.choice_seeds), range(size.choice_seeds, size.seeds)
    how, tried = start, []
    strengths = [{"l2": l2} for l2 in (L2[:1] if size.quick else L2)]
    for choices in (ways, strengths, [{"learning_rate": r} for r in (first, last)]):
        tried += [[fit({**how, **choice}, seed) for seed in chosen_by] for choice in choices]
        best = max(tried, key=lambda runs: statistics.fmean(run["valid"] for run in runs))
        how = {key: best[0][key] for key in (*start, *ways[0])}
    more = [fit(how, seed) for seed in more_seeds]
    return Side("recprune", [run for runs in tried for run in runs], [*best, *more])


def their_side(folder: Path, task: str, ranker: str, size: Size) -> Side:
    """Return FuxiCTR's runs on the rows in ``folder``."""
    cells = Cells(results(size.quick), f"{task}-{ranker}-theirs")
    result = _kept(cells, str(size), lambda: dict(peer(FUXICTR, str(folder), ranker)))
    return Side(result["peer"], result["tried"], result["runs"])


def tabular_gap(name: str, size: Size) -> Claim:
    """Return our best ranker's AUC minus the trees', as the mean over random splits."""
    ours, trees, gaps = [], [], []
    cells = Cells(results(size.quick), name)
    for seed in range(size.splits):
        found = _kept(cells, str(seed), lambda seed=seed: _split(name, seed, size.quick))  # type: ignore[misc]
        ours.append(found["ours"])
        trees.append(found["trees"])
        gaps.append(ours[-1]["test"] - trees[-1]["test"])
    gap, error = statistics.fmean(gaps), _error(gaps)
    detail = {
        "holds": gap >= -TABULAR_MARGIN,
        "margin": TABULAR_MARGIN,
        "standard_error": error,
        "splits": len(gaps),
        "left_out": list(TABULAR[name][2]),
        "ours": ours,
        "peer": trees,
    }
    peer_name = "scikit-learn " + version("scikit-learn") + " HistGradientBoostingClassifier"
    return Claim(f"tabular_gap_{name}", gap, "auc difference", peer_name, detail)


def _split(name: str, seed: int, quick: bool) -> Run:
    """Return both sides' best of one random split."""
    parts = _parts(tabular_task(name, seed), quick)
    candidates = CANDIDATES[:2] if quick else CANDIDATES
    tried = [_our_run(ranker, parts, how, {}, seed, quick) for ranker, how in candidates]
    return {"ours": max(tried, key=lambda run: run["valid"]), "trees": _trees(parts)}


def results(quick: bool) -> Path:
    """Return the folder of results of this code."""
    here = Path(__file__).parent
    files = ("quality.py", "_fuxictr.py", "_tasks.py", "requirements-peers.txt")
    version = code_version(("data", "models", "metrics"), tuple(here / name for name in files))
    return RESULTS / f"quality-{version}{'-quick' if quick else ''}"


def _kept(cells: Cells, key: str, work: Callable[[], Run]) -> Run:
    """Return what was found, from disk or now, without what the file adds to it."""
    return {k: v for k, v in cells.get(key, work).items() if k not in ("key", "seconds")}


def _auc_gap(task: str, ranker: str, ours: Side, theirs: Side) -> Claim:
    gap = statistics.fmean(ours.test) - statistics.fmean(theirs.test)
    error = float(np.hypot(_error(ours.test), _error(theirs.test)))
    margin = max(MARGIN, error)
    detail = {
        "holds": gap >= -margin,
        "margin": margin,
        "standard_error": error,
        "ours": ours.detail(),
        "peer": theirs.detail(),
    }
    name = f"auc_gap_{task}_{ranker.lower()}"
    return Claim(name, gap, "auc difference", theirs.name, detail)


def _our_run(ranker: str, parts: Parts, fixed: Run, how: Run, seed: int, quick: bool) -> Run:
    """Fit one ranker; ``fixed`` and ``how`` are options of training, or of the ranker."""
    torch.set_num_threads(1)
    options, settings = {}, {**fixed, **how}
    for key in {"hidden", "dim"} & settings.keys():
        options[key] = settings.pop(key)
    penalty = Penalty(l2=settings.pop("l2", 0.0))
    stop = {"epochs": _epochs(quick), "patience": SIZES["patience"]}
    training = Training(penalty=penalty, **{**stop, **settings})
    model = getattr(models, ranker)(training=training, seed=seed, **options).fit(
        parts["train"], parts["valid"]
    )
    scores = {p: auc(parts[p].label, model.logits(parts[p].rows)) for p in ("valid", "test")}
    return {"ranker": ranker, **how, "seed": seed, **scores, "epochs": len(model.history) - 1}


def _trees(parts: Parts) -> Run:
    """Fit the trees, with their learning rate and number by validation AUC."""
    x = {part: _matrix(split) for part, split in parts.items()}
    label = {part: split.label for part, split in parts.items()}
    kinds = [field.kind for field in parts["train"].encoder.schema.fields]
    best: Run = {"valid": 0.0}
    for rate in TREE_RATES:
        trees = HistGradientBoostingClassifier(
            learning_rate=rate,
            max_iter=2000,
            early_stopping=True,
            scoring="roc_auc",
            n_iter_no_change=20,
            categorical_features=[kind == "categorical" for kind in kinds],
            random_state=0,
        )
        trees.fit(x["train"], label["train"], X_val=x["valid"], y_val=label["valid"])
        valid, test = (auc(label[p], trees.decision_function(x[p])) for p in ("valid", "test"))
        if valid > best["valid"]:
            how = {"learning_rate": rate, "trees": trees.n_iter_}
            best = {**how, "valid": valid, "test": test}
    return best


def _matrix(split: Split) -> NDArray[np.float64]:
    """Return the fields as the trees take them: numbers as they are, categories as codes."""
    columns = []
    for field in split.encoder.schema.fields:
        if field.kind == "numeric":
            columns.append(split.columns[field.name].cast(pl.Float64).to_numpy())
        else:
            at, _ = split.encoder.columns_of([field.name])
            columns.append(split.rows.codes[:, at].ravel().astype(np.float64))
    return np.column_stack(columns)


def _exported(task: str, folder: Path, size: Size) -> Path:
    """Write the rows of a task, as they were read, for FuxiCTR's script; return the folder."""
    data = pairs_task(task)
    fields = data.schema.fields
    folder.mkdir()
    for part, split in _parts(data, size.quick).items():
        columns = [_plain(split.columns[f.name], f.kind) for f in fields]
        pl.DataFrame([*columns, pl.Series(LABEL, split.label)]).write_parquet(
            folder / f"{part}.parquet"
        )
    stated = [{"name": f.name, "kind": f.kind, "length": _length(data, f.name)} for f in fields]
    settings = {**SIZES, "epochs": _epochs(size.quick), "label": LABEL, "fields": stated}
    settings |= {"choice_seeds": size.choice_seeds, "seeds": size.seeds}
    settings |= {"rates": RATES, "regularizers": REGULARIZERS[:2] if size.quick else REGULARIZERS}
    settings |= {"numbers": NUMBERS}
    (folder / "task.json").write_text(json.dumps(settings))
    return folder


def _plain(column: pl.Series, kind: str) -> pl.Series:
    """Return a column as FuxiCTR reads it: NaN and an empty text are missing."""
    if kind == "numeric":
        return column.cast(pl.Float64).fill_null(float("nan"))
    if kind == "sequence":
        return column.cast(pl.List(pl.String)).list.join("^").fill_null("")
    return column.cast(pl.String).fill_null("")


def _length(data: Dataset, name: str) -> int:
    at, _ = data.encoder.columns_of([name])
    return len(at)


def _parts(data: Dataset, quick: bool) -> Parts:
    """Return the parts, of a quick run few of their rows."""
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    return {part: _thinned(split, quick) for part, split in parts.items()}


def _thinned(split: Split, quick: bool) -> Split:
    """Return a part's rows, of a quick run few of them."""
    return split.take(slice(None, None, max(len(split) // QUICK_ROWS, 1))) if quick else split


def _epochs(quick: bool) -> int:
    """Return the most epochs."""
    return QUICK_EPOCHS if quick else EPOCHS


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; of one value 0."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main("quality", measure, full="five seeds and splits; some 50 minutes")
