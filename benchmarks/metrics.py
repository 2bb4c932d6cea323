"""Metrics against scikit-learn and LensKit: AUC of many scores, NDCG and recall of many lists.

**AUC** of 10,000,000 scores, a third of them positive, in this process and on one thread for both:
from arrays of labels and scores to the number. The headline is of 64-bit scores that are nearly all
different, the common case of a model's output and the one in which sorting takes longest; the detail
has 32-bit scores, and scores with 1,200 values, too. Both numbers are equal to nine digits, or the
benchmark fails.

**Lists** of 100 ranked candidates for each of 100,000 users, out of 10,000 items, with 1 to 20
relevant ones: NDCG@10 and recall@10 of each user. LensKit's ``RunAnalysis`` gets its collections of
item lists with a common vocabulary, which is the form in which it is quickest; ours gets an array of
lists and one array of relevant items a user. Building either is not timed. LensKit discounts as we do
when it is told to (``LogRankWeight(offset=1)``); its recall divides by min(relevant, k), so that
recall is compared for users with at most 10 relevant items. All of these are equal, or the benchmark
fails.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks._common import Claim, PeerProcess, Timing, alternate, main
from recprune import metrics

ROUNDS = 5
ROWS, POSITIVE = 10_000_000, 1 / 3
USERS, CANDIDATES, ITEMS, MOST_RELEVANT, K = 100_000, 100, 10_000, 20, 10

LENSKIT = """
import json, os, sys, time, warnings
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
warnings.simplefilter("ignore")
import numpy as np
from importlib.metadata import version
from lenskit.data import ItemList, ItemListCollection, Vocabulary
from lenskit.metrics import NDCG, LogRankWeight, Recall, RunAnalysis
folder, n_items, k = sys.argv[1], *json.loads(sys.argv[2])
lists, flat, sizes = (np.load(f"{folder}/{name}.npy") for name in ("lists", "flat", "sizes"))
known = Vocabulary(np.arange(n_items), name="item")
def collection(arrays, **options):
    made = ItemListCollection.empty(["user_id"])
    for user, items in enumerate(arrays):
        made.add(ItemList(item_nums=items.astype(np.int32), vocabulary=known, **options), user_id=user)
    return made
run = collection(lists, ordered=True)
test = collection(np.split(flat, np.cumsum(sizes)[:-1]))
def tell(**what):
    print(json.dumps(what), file=answer, flush=True)
tell(peer=f"lenskit {version('lenskit')}")
for _ in sys.stdin:
    start = time.perf_counter()
    analysis = RunAnalysis(NDCG(k, weight=LogRankWeight(offset=1)), Recall(k))
    values = analysis.measure(run, test).list_metrics()
    seconds = time.perf_counter() - start
    np.save(f"{folder}/theirs.npy", values.to_numpy())
    tell(seconds=seconds)
"""


def auc(quick: bool) -> Claim:
    """Return the claim on AUC."""
    rows = ROWS // 20 if quick else ROWS
    draws = np.random.default_rng(0)
    label = (draws.random(rows) < POSITIVE).astype(np.int64)
    score = label * 0.7 + draws.normal(size=rows)
    cases: dict[str, NDArray[Any]] = {
        "float64": score,
        "float64_tied": np.round(score * 125) / 125,
        "float32": score.astype(np.float32),
        "float32_tied": (np.round(score * 125) / 125).astype(np.float32),
    }
    detail: dict[str, Any] = {"rows": rows}
    for name, values in cases.items():
        _progress(f"AUC of {rows:,} {name}")
        ours, theirs = metrics.auc(label, values), float(roc_auc_score(label, values))
        if abs(ours - theirs) > 1e-9:
            sys.exit(f"The AUCs of {name} differ: ours {ours!r}, scikit-learn's {theirs!r}.")
        timing = alternate(
            {"ours": _auc(label, values), "sklearn": _sklearn(label, values)}, repeats=ROUNDS
        )
        distinct = len(np.unique(values))
        ratio = timing.ratio("sklearn", "ours")
        detail[name] = {"ratio": ratio, "auc": ours, "distinct": distinct, **timing.detail()}
    headline = detail["float64"]["ratio"]
    return Claim("auc_vs_sklearn", headline, "ratio", f"scikit-learn {sklearn.__version__}", detail)


def _auc(label: NDArray[Any], score: NDArray[Any]) -> Callable[[], float]:
    return lambda: metrics.auc(label, score)


def _sklearn(label: NDArray[Any], score: NDArray[Any]) -> Callable[[], float]:
    return lambda: float(roc_auc_score(label, score))


def lists(quick: bool) -> Claim:
    """Return the claim on NDCG and recall of lists."""
    users = USERS // 20 if quick else USERS
    draws = np.random.default_rng(1)
    # Each user's candidates and relevant items come from the same 200 items.
    pool = (draws.integers(ITEMS, size=(users, 1)) + 7919 * np.arange(2 * CANDIDATES)) % ITEMS
    shown = draws.permuted(pool, axis=1)[:, :CANDIDATES]
    sizes = draws.integers(1, MOST_RELEVANT + 1, users)
    taken = draws.permuted(pool, axis=1)
    relevant = [row[:n] for row, n in zip(taken, sizes, strict=True)]

    def ours() -> NDArray[np.float64]:
        hits = metrics.hits_of_lists(shown[:, :K], relevant)
        return np.stack([metrics.ndcg_at_k(hits, sizes, K), metrics.recall_at_k(hits, sizes, K)], 1)

    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("lists", shown), ("flat", np.concatenate(relevant)), ("sizes", sizes)):
            np.save(Path(folder) / f"{name}.npy", array)
        _progress(f"NDCG and recall of {users:,} users")
        peer = PeerProcess("lenskit", LENSKIT, [folder, json.dumps([ITEMS, K])])
        timing = _timed(ours, peer)
        peer.close()
        theirs, mine = np.load(Path(folder) / "theirs.npy"), ours()
    few = sizes <= K
    if not np.allclose(mine[:, 0], theirs[:, 0], atol=1e-9, rtol=0):
        sys.exit("NDCG@10 differs from LensKit's.")
    if not np.allclose(mine[few, 1], theirs[few, 1], atol=1e-9, rtol=0):
        sys.exit("recall@10 differs from LensKit's for users with at most 10 relevant items.")
    detail = {
        "users": users,
        "candidates": CANDIDATES,
        "mean_ndcg": float(mine[:, 0].mean()),
        "users_whose_recall_is_compared": int(few.sum()),
        **timing.detail(),
    }
    return Claim("ranking_vs_lenskit", timing.ratio("lenskit", "ours"), "ratio", peer.peer, detail)


def _timed(ours: Callable[[], object], peer: PeerProcess) -> Timing:
    """Run both in turn after a warm-up; the peer tells its own seconds."""
    told: list[float] = []

    def theirs() -> None:
        told.append(float(peer.ask()["seconds"]))

    timing = alternate({"ours": ours, "lenskit": theirs}, repeats=ROUNDS)
    return Timing({"ours": timing.seconds["ours"], "lenskit": tuple(told[1:])})


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(quick: bool) -> list[Claim]:
    """Return both claims."""
    return [auc(quick), lists(quick)]


if __name__ == "__main__":
    main("metrics", measure)
