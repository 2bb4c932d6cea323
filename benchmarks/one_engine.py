"""What a cut saves where nothing else changes: the full and the cut model in the same engine.

Two DeepFMs on generated rows: of a common size (39 fields × 16 dims, 400-400-400), and a small one
(20 fields × 8 dims, 64-32; its ids start with ``speedup_small``). They are trained one epoch, since
speed does not depend on the fit, and cut by ``rp.prune`` without fine-tuning to a half: neurons,
dims, dims that each field has of its own (``sseds``), fields, all of these, and rows. ``torch`` is
the ranker's network in eager mode without gradients (compiling it takes longer than all that is
timed here), ``ort`` the file that ``recprune export`` writes in ONNX Runtime, and, for information,
``recprune`` our scorer. One thread; ids in, logits out; batches follow each other.

Full and cut model take turns, the order changing; of a turn the fastest call counts. Where weights
come to lie in memory makes some per cent of difference for as long as a model is loaded, so each
round has copies of its own. A claim is the median over rounds of full ÷ cut, so above 1 the cut
model is faster. ``low`` and ``high`` hold the median with at least 95 % confidence (90 % of the five
rounds of ``--quick``), and ``p_not_faster`` is the sign test's: the chance of so many rounds in which
the cut model was faster, were it no faster.

What to expect: for one row an engine's calls take most of a small model's time, and a cut changes
no more of it than their number, which it leaves as it is. Rows are looked up, not passed over: to
cut them saves time only where a table no longer fits a cache.
"""

from __future__ import annotations

import copy
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import recprune as rp
from benchmarks._common import Claim, Timing, main, one_thread
from recprune._support import require
from recprune.encoding import Rows
from recprune.models import DeepFM, Ranker, Training
from recprune.models.step import tensors
from recprune.runtime import Scorer

#: Prefix of the ids → fields, dims and hidden layers.
MODELS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "": (39, 16, (400, 400, 400)),
    "small_": (20, 8, (64, 32)),
}
VOCABULARY, ROWS = 20_000, 30_000
HALF = 0.5
#: What is cut → what is kept, and the methods that are not the default.
CUTS: dict[str, tuple[dict[str, float], dict[str, str]]] = {
    "neurons": ({"neurons": HALF}, {}),
    "dims": ({"dims": HALF}, {}),
    "dims_apart": ({"dims": HALF}, {"dims": "sseds"}),
    "fields": ({"fields": HALF}, {"fields": "shark"}),
    "all": ({"fields": HALF, "dims": HALF, "neurons": HALF}, {"fields": "shark"}),
    "rows": ({"rows": HALF}, {}),
}
#: Engine → its package.
PACKAGES = {"torch": "torch", "ort": "onnxruntime", "recprune": "recprune"}
#: Rows of a batch → calls of one turn.
CALLS, QUICK_CALLS = {1: 300, 1000: 12}, {1: 50, 1000: 2}
#: Cuts of a quick run.
QUICK_CUTS = ("neurons", "dims_apart")
ROUNDS, QUICK_ROUNDS = 15, 5


def data_of(fields: int) -> rp.Dataset:
    """Return rows of categorical fields, ids skewed; a third of the fields tells the label."""
    draws = np.random.default_rng(0)
    weights = np.geomspace(1, 3000, fields)
    sizes = np.maximum((weights / weights.sum() * VOCABULARY).astype(int), 4)
    logit, columns = np.zeros(ROWS), dict[str, Any]()
    for i, size in enumerate(sizes.tolist()):
        codes = (size ** draws.random(ROWS)).astype(int).clip(1, size) - 1
        logit += draws.normal(0, 1, size)[codes] if i % 3 == 0 else 0
        columns[f"f{i}"] = pl.Series(codes).cast(pl.String)
    columns["label"] = (draws.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int)
    schema = {"fields": {name: {"kind": "categorical"} for name in list(columns)[:-1]}}
    frame = pl.DataFrame(columns)
    return rp.Dataset.from_frame(frame, label="label", schema=schema).split(by="random", seed=0)


def models_of(
    fields: int, dim: int, hidden: tuple[int, ...], cuts: Sequence[str]
) -> tuple[dict[str, Ranker], Any]:
    """Return the full model and what cuts leave of it, and rows in the full one's codes."""
    data = data_of(fields)
    full = DeepFM(dim, hidden, Training(epochs=1, device="cpu")).fit(data.train)
    cut = {name: rp.prune(full, data, *CUTS[name], epochs=0) for name in cuts}
    return {"full": full, **cut}, data.train


class Engines:
    """One model in every engine, loaded once for every round.

    Args:
        model: a ranker.
        rows: in its codes.
        folder: for its file.
        rounds: how many.
    """

    def __init__(self, model: Ranker, rows: Rows, folder: Path, rounds: int) -> None:
        self.rows = rows
        self.forms: dict[str, Callable[[Rows], Any]] = {
            "torch": tensors,
            "ort": lambda rows: {"codes": rows.codes},
            "recprune": lambda rows: rows,
        }
        path = rp.export_onnx(model, folder / "model.onnx").path
        onnxruntime = require("onnxruntime", "export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        def loaded() -> dict[str, Callable[[Any], Any]]:
            session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            net, scorer = copy.deepcopy(model.net), Scorer(model.artifact())
            scorer.warm_up()
            return {
                "torch": lambda batch: net(*batch),
                "ort": lambda batch: session.run(["logit"], batch)[0],
                "recprune": scorer.logits,
            }

        #: For each round, engine → what answers a batch.
        self.answers = [loaded() for _ in range(rounds)]
        with torch.no_grad():
            answers = [self.answers[0][e](self.forms[e](rows[:100])) for e in self.forms]
        found = [np.asarray(answer).ravel() for answer in answers]
        if np.ptp(found, axis=0).max() > 1e-4 * max(1, np.abs(found).max()):
            sys.exit("Two engines answer otherwise: not the same model.")

    def batches(self, engine: str, rows: int, calls: int) -> list[Any]:
        """Return a turn's batches, as the engine takes them."""
        starts = range(0, len(self.rows) - rows + 1, rows)[:calls]
        return [self.forms[engine](self.rows[i : i + rows]) for i in starts]


@torch.no_grad()
def turn(answer: Callable[[Any], Any], batches: Sequence[Any]) -> float:
    """Return the least seconds of a call, after one to warm up."""
    answer(batches[0])
    took = []
    for batch in batches:
        start = time.perf_counter()
        answer(batch)
        took.append(time.perf_counter() - start)
    return min(took)


def duel(full: Engines, cut: Engines, engine: str, rows: int, quick: bool) -> Timing:
    """Time both models in turn, every other round in the opposite order."""
    sides = {"full": full, "cut": cut}
    calls = (QUICK_CALLS if quick else CALLS)[rows]
    batches = {name: side.batches(engine, rows, calls) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(len(full.answers)):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            seconds[name].append(turn(sides[name].answers[number][engine], batches[name]))
    return Timing({name: tuple(s) for name, s in seconds.items()})


def certainty(timing: Timing) -> dict[str, float]:
    """Return what the rounds' ratios say of their median, whatever their distribution.

    The interval lies between two of the ratios in order, as far inside as 95 % allow.
    """
    pairs = zip(timing.seconds["full"], timing.seconds["cut"], strict=True)
    ratios = sorted(full / cut for full, cut in pairs)
    n, faster = len(ratios), sum(r > 1 for r in ratios)

    def tail(most: int) -> float:
        return 0.5**n * sum(math.comb(n, k) for k in range(most + 1))

    # Outside the ratios number k + 1 from either end the median lies with a chance of 2·tail(k).
    inside = max((k for k in range(n // 2) if tail(k) <= 0.025), default=0)
    return {
        "low": ratios[inside],
        "high": ratios[-1 - inside],
        "rounds": n,
        "faster_rounds": faster,
        "p_not_faster": tail(n - faster),
    }


def tensor_bytes(file: Path) -> int:
    """Return the bytes of a safetensors file behind its header."""
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    return file.stat().st_size - 8 - header


def facts(model: Ranker, full: Ranker, folder: Path) -> dict[str, Any]:
    """Return a model's sizes; it is written once."""
    model.save(folder / "saved")
    fields = model.layout.axes["fields"].size
    return {
        "fields": fields,
        "dims_a_field": sum(a.size for a in model.layout.of_unit("dim")) / fields,
        "neurons": list(model.neurons),
        "params": model.params,
        "file_bytes": tensor_bytes(folder / "saved" / "model.safetensors"),
        "predicted_bytes": model.plan.predicted_bytes(full.layout),
    }


def speedups(prefix: str, quick: bool) -> tuple[list[Claim], Mapping[str, Mapping[str, Any]]]:
    """Return one size's claims, and the facts of its models."""
    cuts = QUICK_CUTS if quick else tuple(CUTS)
    models, split = models_of(*MODELS[prefix], cuts)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    engines, sizes, claims = dict[str, Engines](), dict[str, dict[str, Any]](), list[Claim]()
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            (own := Path(folder, name)).mkdir()
            engines[name] = Engines(model, model.aligned(split).rows[:], own, rounds)
            sizes[f"{prefix}{name}"] = facts(model, models["full"], own)
    for engine, package in PACKAGES.items():
        for rows in CALLS:
            for name in cuts:
                timing = duel(engines["full"], engines[name], engine, rows, quick)
                claims.append(
                    Claim(
                        f"speedup_{prefix}{name}_{engine}_b{rows}",
                        timing.ratio("full", "cut"),
                        "ratio",
                        f"the full model in {package} {version(package)}",
                        {**certainty(timing), **timing.detail()},
                    )
                )
    return claims, sizes


def measure(quick: bool) -> Sequence[Claim]:
    """Return the claims on time, and on the bytes of the files."""
    torch.set_num_threads(1)
    claims, sizes = list[Claim](), dict[str, Mapping[str, Any]]()
    for prefix in MODELS:
        own, found = speedups(prefix, quick)
        claims += own
        sizes |= found
    ratios = [s["file_bytes"] / s["predicted_bytes"] for s in sizes.values()]
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    return [*claims, Claim("file_bytes_over_plan", worst, "ratio", None, sizes)]


if __name__ == "__main__":
    one_thread("one_engine")
    main("one_engine", measure)
