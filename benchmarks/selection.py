"""Which way of choosing fields is best: rank, keep the top k, train anew, test.

Sets of real columns get half as many that say nothing (:mod:`benchmarks._selection_tasks`). Each
method ranks all fields of a set; the top k (a quarter, a half, three quarters, all of the number of
real ones) are trained from scratch, and tested. A curve is told by its area (our definition; a mean
of like sort is reported elsewhere without the floor at ½):

    AUKC = Σ ½ (A(k_i) + A(k_{i+1})) (k_{i+1} − k_i) / (k_n − k_1),  A(k) = (AUC_k − ½) / (AUC_full − ½)

so 1 is what the model of all fields, noise included, reaches. *Leave one set out*: the method that
is best on the other sets is the default for a set. The automatic mode (:func:`choose_fields`) says
itself how many to keep, on five splits a set; its gap is the test AUC of the model trained anew on
what it keeps, less that of the model of all fields.

Results are kept (see :mod:`benchmarks._cells`); a run that was stopped goes on. The chart
is ``benchmarks/results/selection.png``.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._cells import RESULTS, Record
from benchmarks._common import Claim, main
from benchmarks._selection_cells import (
    SHARES,
    TOLERANCE,
    Part,
    kept_of_planted,
    measured,
)
from benchmarks._selection_tasks import QUICK_SETS, SETS
from benchmarks._tasks import look_for
from recprune._support import require
from recprune.evaluation.cross_fitting import resampled_t
from recprune.executor import Executor
from recprune.importance import METHODS

#: What competes by default; ``--full`` adds all other methods of fields.
COMPETING = (
    "permutation",
    "mutual_information",
    "lightgbm_gain",
    "shark",
    "gauss_newton",
    "shuffle_gate",
    "l1_logistic",
    "random",
)
#: The truth at its price: on the first split of each set by default, on all by ``--full``.
REFERENCE = "drop_and_retrain"
HOUSE_DEFAULT = "permutation"
SEEDS, SPLITS, WORKERS = 2, 5, 2
FULL_SEEDS = 5
ORDERS = 6
#: Test rows by training rows, of every split.
TEST_OVER_TRAIN = 0.2 / 0.65
Aukc = Mapping[str, Mapping[str, list[float]]]


def measure(quick: bool, full: bool = False) -> list[Claim]:
    """Return all claims; see the module."""
    sets = QUICK_SETS if quick else SETS
    look_for(sets)
    found = Executor(WORKERS).map(measured, _parts(quick, full), text="sets and seeds")
    planted = [(seed, quick) for seed in range(2 if quick else ORDERS)]
    kept = Executor(WORKERS).map(kept_of_planted, planted, text="row orders")
    area: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    for record in found:
        for method, curve in record["curves"].items():
            area[record["set"]].setdefault(method, []).append(
                aukc(record["counts"], curve["test"], record["full"])
            )
            seconds[record["set"]].setdefault(method, []).append(curve["seconds"])
    chart(found, sets)
    return [
        *_areas(area, seconds),
        _default_against_best(area),
        *_automatic(found, sets),
        _stability(kept),
    ]


def aukc(counts: Sequence[int], tested: Sequence[float], full: float) -> float:
    """Return the area under the curve of k and performance; see the module.

    >>> aukc([2, 4, 8], [0.7, 0.8, 0.8], 0.8)
    0.944...
    """
    height = (np.asarray(tested) - 0.5) / (full - 0.5)
    width = np.diff(counts)
    return float((0.5 * (height[1:] + height[:-1]) * width).sum() / width.sum())


def _parts(quick: bool, full: bool) -> list[Part]:
    every = sorted(m.name for m in METHODS.values() if "field" in m.units) if full else COMPETING
    seeds = 1 if quick else FULL_SEEDS if full else SEEDS
    sets, parts = QUICK_SETS if quick else SETS, []
    # The longest first, so that no worker ends alone.
    for seed, name in itertools.product(range(2 if quick else SPLITS), reversed(sets)):
        methods = tuple(every) if seed < seeds else ()
        if not quick and seed == 0 and REFERENCE not in methods:
            methods = (*methods, REFERENCE)
        parts.append((name, seed, methods, True, quick))
    return parts


def _areas(area: Aukc, seconds: Aukc) -> Iterable[Claim]:
    for name, methods in area.items():
        for method, values in methods.items():
            detail = {
                "standard_error": _error(values),
                "values": values,
                "seconds": statistics.fmean(seconds[name][method]),
                "keep_shares_of_real": SHARES,
            }
            yield Claim(f"aukc_{method}_{name}", statistics.fmean(values), "share", None, detail)


def _default_against_best(area: Aukc) -> Claim:
    """Return the default chosen on the other sets less the best single method, on average."""
    methods = [m for m in next(iter(area.values())) if m not in (REFERENCE, "random")]
    mean = {n: {m: statistics.fmean(area[n][m]) for m in methods} for n in area}
    overall = {m: statistics.fmean(mean[n][m] for n in area) for m in methods}
    best = max(methods, key=lambda m: overall[m])
    chosen = {
        name: max(methods, key=lambda m: sum(mean[n][m] for n in area if n != name))
        for name in area
    }
    gap, error = _paired(area, chosen, dict.fromkeys(area, best))
    house = dict.fromkeys(area, HOUSE_DEFAULT)
    house_gap, house_error = _paired(area, house, dict.fromkeys(area, best))
    detail = {
        "holds": gap >= -error,
        "standard_error": error,
        "best": best,
        "default_by_set": chosen,
        "mean_aukc": dict(sorted(overall.items(), key=lambda pair: -pair[1])),
        "house_default": HOUSE_DEFAULT,
        "house_default_less_best": house_gap,
        "house_standard_error": house_error,
    }
    return Claim("default_vs_best", gap, "share", None, detail)


def _paired(area: Aukc, ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[float, float]:
    """Return the mean over the sets of a paired difference over seeds, and its standard error."""
    pairs = {
        n: [a - b for a, b in zip(area[n][ours[n]], area[n][theirs[n]], strict=True)] for n in area
    }
    gap = statistics.fmean(statistics.fmean(d) for d in pairs.values())
    return gap, sum(_error(d) ** 2 for d in pairs.values()) ** 0.5 / len(pairs)


def _automatic(found: Sequence[Record], sets: Sequence[str]) -> Iterable[Claim]:
    gaps = {}
    for name in sets:
        runs = [r for r in found if r["set"] == name]
        dropped = [1 - len(r["automatic"]["noise_kept"]) / max(len(r["noise"]), 1) for r in runs]
        detail: dict[str, Any] = {
            "splits": [r["automatic"] for r in runs],
            "noise": [r["noise"] for r in runs],
            "fields": len(runs[0]["fields"]),
            "rows": runs[0]["rows"],
        }
        yield Claim(f"noise_dropped_{name}", statistics.fmean(dropped), "share", None, detail)
        gap = np.array([r["automatic"]["gap"] for r in runs])
        interval = resampled_t(gap, TEST_OVER_TRAIN)
        low, high = interval.bounds
        gaps[name] = float(gap.mean())
        detail = {
            "holds": high >= -TOLERANCE,
            "interval_90": [low, high],
            "standard_error": interval.error,
            "gaps": gap.tolist(),
            "kept": [len(r["automatic"]["kept"]) for r in runs],
            "seconds": statistics.fmean(r["automatic"]["seconds"] for r in runs),
        }
        yield Claim(f"auto_auc_gap_{name}", gaps[name], "auc difference", None, detail)
    mean = statistics.fmean(gaps.values())
    detail = {"holds": mean >= -TOLERANCE, "by_set": gaps}
    yield Claim("auto_auc_gap", mean, "auc difference", None, detail)


def _stability(kept: Sequence[Sequence[str]]) -> Claim:
    """Return the mean over pairs of runs of what both keep by what either keeps."""
    sets = [set(names) for names in kept]
    shares = [len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)]
    detail = {"least": min(shares), "kept": [sorted(names) for names in sets]}
    return Claim("jaccard_10_seeds", statistics.fmean(shares), "share", None, detail)


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; of one value 0."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def chart(found: Sequence[Record], sets: Sequence[str]) -> None:
    """Draw A(k) of all methods on all sets, and where the automatic mode stands."""
    figure = require("matplotlib.figure", "train").Figure(figsize=(13, 7.5), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    methods = list(dict.fromkeys(m for r in found for m in r["curves"]))
    colours = require("matplotlib", "train").colormaps["tab10" if len(methods) <= 10 else "tab20"]
    for panel, name in zip(panels, sets, strict=False):
        runs = [r for r in found if r["set"] == name]
        for number, method in enumerate(methods):
            own = [r for r in runs if method in r["curves"]]
            if not own:
                continue
            height = np.array([_height(r["curves"][method]["test"], r["full"]) for r in own])
            counts, style = (
                own[0]["counts"],
                {"color": colours(number % colours.N), "label": method},
            )
            if method == REFERENCE:
                style |= {"color": "black", "linewidth": 2.5, "linestyle": "--"}
            elif method == "random":
                style |= {"color": "#999999", "linestyle": ":"}
            panel.plot(counts, height.mean(axis=0), marker="o", markersize=3, **style)
        automatic = [(len(r["automatic"]["kept"]), r["automatic"]["gap"], r["full"]) for r in runs]
        x, gap, full = (np.array(v, float) for v in zip(*automatic, strict=True))
        y = _height(full + gap, full)
        panel.plot(x, y, "*", color="#cc3311", markersize=9, label="automatic, each split")
        panel.axhline(1, color="#bbbbbb", linewidth=0.8)
        shown = [line.get_ydata() for line in panel.lines if line.get_label() != "random"]
        panel.set_ylim(max(0.5, min(float(np.min(v)) for v in shown) - 0.02), None)
        panel.set_title(f"{name}: {len(runs[0]['fields'])} fields, {len(runs[0]['noise'])} planted")
        panel.set_xlabel("fields kept")
        panel.set_ylabel("(AUC − ½) / (AUC of all fields − ½)")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].axis("off")
    panels[-1].legend(handles, labels, loc="center", frameon=False)
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "selection.png", dpi=130)


def _height(tested: Any, full: Any) -> Any:
    return (np.asarray(tested) - 0.5) / (np.asarray(full) - 0.5)


if __name__ == "__main__":
    main("selection", measure, full="all methods of fields, five seeds: about six hours")
