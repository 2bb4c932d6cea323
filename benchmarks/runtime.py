"""The runtime against PyTorch and ONNX Runtime: one thread, ids in, logits out.

(a) *The same small model everywhere*: DeepFM, 20 fields × 6 dims, hidden layers 64-64-32, tables of
20,000 rows together, ids skewed. (b) *Pruned against full*: :mod:`benchmarks._planted`'s DeepFM, 39
fields × 16 dims, 400-400-400, and its pruned version that passed the verdict.

Batches follow each other, so that no row is asked for again at once. Contestants take turns, of which
the fastest call counts (on a busy machine long calls are cut up); a claim is the median over rounds of their ratio. Of ONNX Runtime's two graphs the quicker one counts.
The peers' answers are checked against ours before anything is timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import Claim, Timing, main
from benchmarks._engines import Engines, plain_weights
from benchmarks._planted import trained
from recprune._support import compiled
from recprune.artifact import Artifact, read_artifact
from recprune.encoding import Encoder, Rows
from recprune.layout import Plan
from recprune.lookups import FIRST, Vocabulary
from recprune.models.draft import Draft
from recprune.models.layers import Hidden
from recprune.models.parts import FMPart, MLPPart
from recprune.runtime import Scorer
from recprune.schema import Field, Schema

BATCHES = (1, 100, 1000, 10_000)
#: Calls of one turn, by rows.
CALLS = {1: 2000, 100: 300, 1000: 60, 10_000: 6}
ROUNDS, ROWS = 7, 20_000
ENGINES = ("torch_eager", "torch_compile", "ort_split", "ort_apart")
INT8 = ("ort_split_int8", "ort_apart_int8")


def small_model(rows: int = 20_000, fields: int = 20) -> tuple[Artifact, NDArray[np.int32]]:
    """Return (a)'s model, with random weights, and encoded rows."""
    draws = np.random.default_rng(0)
    weights = np.geomspace(1, 3000, fields)
    sizes = np.maximum((weights / weights.sum() * rows).astype(int), 4)
    names = [f"f{i}" for i in range(fields)]
    schema = Schema(tuple(Field(name, "categorical") for name in names), label="label")
    values = (Vocabulary(tuple(map(str, range(size)))) for size in sizes)
    encoder = Encoder(schema, dict(zip(names, values, strict=True)))
    draft = Draft(encoder, 6, True, 1)
    FMPart.declare(draft)
    MLPPart.declare(draft, Hidden((64, 64, 32)))
    layout = draft.layout()
    state = {n: draws.normal(0, 0.2, s).astype(np.float32) for n, s in layout.shapes.items()}
    model = {"class": "DeepFM", "options": {}, "parts": ["fm", "mlp"], "wide": True}
    ranks = [(size ** draws.random(ROWS)).astype(np.int32).clip(1, size) - 1 for size in sizes]
    codes = np.stack(ranks, axis=1) + FIRST
    artifact = Artifact({**model, "labels": ["label"]}, state, layout, Plan(layout.hash), encoder)
    return artifact, codes.astype(np.int32)


class Ours:
    """Our scorer, asked as the peers are."""

    def __init__(self, artifact: Artifact, codes: NDArray[np.int32]) -> None:
        self.scorer, self.codes = Scorer(artifact), codes
        self.scorer.warm_up()

    def run(self, rows: int, calls: int) -> tuple[float, NDArray[np.float32]]:
        """Return the least seconds of calls of so many rows, after one to warm up, and logits."""
        starts = range(0, len(self.codes) - rows + 1, rows)[:calls]
        nothing = np.empty((rows, 0), np.float32)
        batches = [Rows(self.codes[i : i + rows], nothing) for i in starts]
        answer, count = self.scorer.logits, len(batches)
        out, took = answer(batches[0]), []
        for i in range(calls):
            batch = batches[i % count]
            start = time.perf_counter()
            answer(batch)
            took.append(time.perf_counter() - start)
        return min(took), out


def contest(
    works: Mapping[str, Callable[[int, int], tuple[float, Any]]], rows: int, quick: bool
) -> Timing:
    """Time the contestants in turn, every other round in the opposite order."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    calls = max(CALLS[rows] // (10 if quick else 1), 2)
    for number in range(5 if quick else ROUNDS):
        for name in list(works)[:: -1 if number % 2 else 1]:
            seconds[name].append(works[name](rows, calls)[0])
    return Timing({name: tuple(s) for name, s in seconds.items()})


def best(timing: Timing, prefix: str, suffix: str = "") -> str:
    """Return the quicker of ONNX Runtime's two graphs."""
    names = [f"{prefix}_{kind}{suffix}" for kind in ("split", "apart")]
    return min(names, key=timing.median)


def agree(works: Mapping[str, Callable[[int, int], tuple[float, Any]]], ours: str) -> None:
    """Refuse peers that answer otherwise than we do: then they do not have the same model."""
    expected = works[ours](100, 1)[1][:100]
    for name, work in works.items():
        found = np.array(work(100, 1)[1])[:100]
        bound = 0.5 if name.endswith("int8") else 1e-4
        if np.abs(found - expected).max() > bound * max(1, np.abs(expected).max()):
            sys.exit(f"{name} answers otherwise than {ours}: not the same model.")


def against(engines: Engines, model: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the peers' engines with one model, as contestants."""

    def work(name: str) -> Callable[[int, int], tuple[float, Any]]:
        return lambda rows, calls: engines.run(model, name, rows, calls)

    return {f"{model}_{name}": work(name) for name in names}


def same_model(quick: bool) -> list[Claim]:
    """Return the claims of (a)."""
    found: dict[str, dict[int, Timing]] = {}
    for size in (20_000, 1_000_000):
        artifact, codes = small_model(size)
        engines = Engines({"same": plain_weights(artifact, codes)})
        works = {"ours": Ours(artifact, codes).run, **against(engines, "same", ENGINES[2:])}
        agree(works, "ours")
        found[f"{size:,} rows"] = {rows: contest(works, rows, quick) for rows in (1, 1000)}
        version = engines.versions["onnxruntime"]
        engines.close()
    claims = []
    for rows, name in ((1000, "fixed_20x6_vs_ort_same_model"), (1, "fixed_20x6_batch1_vs_ort")):
        detail: dict[str, Any] = {}
        for tables, timings in found.items():
            timing = timings[rows]
            ratio = timing.ratio(best(timing, "same_ort"), "ours")
            detail[tables] = {"ratio": ratio, **timing.detail()}
        value = detail["20,000 rows"]["ratio"]
        claims.append(Claim(name, value, "ratio", f"onnxruntime {version}", detail))
    return claims


@compiled
def gather(codes: NDArray[np.int32], offsets: NDArray[np.int64], table: Any, out: Any) -> None:
    """Copy the table rows of codes (n, F) into ``out``, (n, F · W)."""
    width = table.shape[1]
    for r in range(len(codes)):
        for f in range(len(offsets)):
            row = offsets[f] + codes[r, f]
            for w in range(width):
                out[r, f * width + w] = table[row, w]


def bounds(weights: Mapping[str, NDArray[Any]], rows: int) -> dict[str, float]:
    """Return the seconds of the gather, and of each product, alone, at the best of some runs."""
    table, offsets = weights["table"], weights["offsets"]
    batches = [
        weights["ids"][i : i + rows].astype(np.int32) for i in range(0, ROWS - rows + 1, rows)
    ]
    found = {}
    for block in (250, 500, 1000):
        out = np.empty((block, len(offsets) * table.shape[1]), np.float32)

        def copy(number: int, block: int = block, out: Any = out) -> None:
            for at in range(0, rows, block):
                gather(batches[number % len(batches)][at : at + block], offsets, table, out)

        found[f"gather by {block}"] = _least(copy)
    least = {"gather": min(found.values())}
    draws = np.random.default_rng(0)
    for i in range(int(weights["layers"])):
        matrix = np.ascontiguousarray(weights[f"w{i}"].T)
        times = []
        for block in (250, 500, 1000):
            x = draws.random((block, len(matrix)), np.float32)
            y = np.empty((block, matrix.shape[1]), np.float32)

            def multiply(
                number: int, x: Any = x, y: Any = y, matrix: Any = matrix, block: int = block
            ) -> None:
                for _ in range(0, rows, block):
                    np.matmul(x, matrix, out=y)

            times.append(_least(multiply))
        least[f"product {i}"] = min(times)
    return least


def _least(work: Callable[[int], None], runs: int = 60) -> float:
    work(0)
    took = []
    for number in range(runs):
        start = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - start)
    return min(took)


def pruned_against_full(quick: bool) -> list[Claim]:
    """Return the claims of (b)."""
    folder = trained(quick)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if facts["verdict"]["outcome"] != "PASS" and not quick:
        sys.exit(f"The pruned model did not pass: {facts['verdict']}")
    stored = np.load(folder / "rows.npz")
    models = {n: read_artifact(folder / n) for n in ("full", "pruned")}
    weights = {n: plain_weights(models[n], stored[n]) for n in models}
    engines = Engines(weights)
    ours = {f"{n}_ours": Ours(models[n], stored[n]).run for n in models}
    works: dict[str, Any] = dict(ours)
    for name in models:
        works |= against(engines, name, (*ENGINES, *INT8))
        agree({k: w for k, w in works.items() if k.startswith(name)}, f"{name}_ours")
    # A quick run has too few rows for the largest.
    batches = BATCHES[:-1] if quick else BATCHES
    timings = {rows: contest(works, rows, quick) for rows in batches}
    torch, ort = (f"{name} {engines.versions[name]}" for name in ("torch", "onnxruntime"))
    engines.close()
    table = {
        f"{rows:,} rows": {name: t.median(name) for name in works} for rows, t in timings.items()
    }
    model = {k: facts[k] for k in facts if k != "path"}
    alone = bounds(weights["pruned"], 1000)
    thousand, one = timings[1000], timings[1]

    def ratio(timing: Timing, peer: str) -> float:
        return timing.ratio(peer, "pruned_ours")

    return [
        Claim(
            "batch1000_vs_torch_eager",
            ratio(thousand, "full_torch_eager"),
            "ratio",
            torch,
            {"seconds": table, "model": model},
        ),
        Claim(
            "batch1000_vs_ort_fp32",
            ratio(thousand, best(thousand, "full_ort")),
            "ratio",
            ort,
            {
                "vs_int8": ratio(thousand, best(thousand, "full_ort", "_int8")),
                "vs_same_model": ratio(thousand, best(thousand, "pruned_ort")),
                "vs_torch_compile": ratio(thousand, "full_torch_compile"),
                "vs_ours_full": ratio(thousand, "full_ours"),
            },
        ),
        Claim(
            "batch1_vs_torch_eager",
            ratio(one, "full_torch_eager"),
            "ratio",
            torch,
            {
                "vs_ort_fp32": ratio(one, best(one, "full_ort")),
                "vs_ort_same_model": ratio(one, best(one, "pruned_ort")),
            },
        ),
        Claim(
            "roofline_share",
            sum(alone.values()) / min(thousand.seconds["pruned_ours"]),
            "share",
            None,
            {"alone_s": alone, "ours_s": min(thousand.seconds["pruned_ours"])},
        ),
    ]


def measure(quick: bool) -> Sequence[Claim]:
    """Return the claims of both parts."""
    return [*same_model(quick), *pruned_against_full(quick)]


if __name__ == "__main__":
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    own = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | alone
    if own != os.environ:
        # They count where NumPy is imported: start again.
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.runtime", *sys.argv[1:]], own)
    main("runtime", measure)
