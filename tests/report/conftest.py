"""Report dictionaries to draw: a realistic one, a bare one, and a hostile one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from recprune.report import pictures
from recprune.report.style import Picture
from tests.report.searched import searched

FIELDS = [
    ("times_bought_product", 0.0912, True, False),
    ("weeks_since_product", 0.0341, True, False),
    ("popularity", 0.0228, True, False),
    ("times_bought_type", 0.0187, True, False),
    ("household_id", 0.0104, True, False),
    ("product_type", 0.0081, True, False),
    ("price", 0.0047, True, False),
    ("baskets", 0.0039, True, False),
    ("weeks_since_type", 0.0021, True, False),
    ("spend", 0.0012, True, False),
    ("department", 0.0006, True, False),
    ("age", 0.0004, True, True),
    ("brand", 0.0002, False, False),
    ("income", 0.0001, False, True),
    ("package_size", 0.0001, False, False),
    ("manufacturer", 0.0, False, False),
    ("kids_count", -0.0001, False, True),
    ("home_ownership", -0.0001, False, True),
    ("marital_status", -0.0002, False, True),
]
AGES = ["19-24", "25-34", "35-44", "45-54", "55-64", "65+", "unknown"]


def _histogram(shift: float) -> dict[str, list[int]]:
    return {
        "positive": [round(400 * math.exp(-(((i - 11 - shift) / 4.5) ** 2))) for i in range(20)],
        "negative": [round(3000 * math.exp(-(i + shift) / 3.1)) for i in range(20)],
    }


def _metrics(shift: float) -> dict[str, float | int]:
    return {
        "auc": 0.7791 + shift,
        "logloss": 0.4123 - shift,
        "accuracy": 0.8342 + shift,
        "precision": 0.5511,
        "recall": 0.4821 + shift,
        "majority_accuracy": 0.8,
        "threshold": 0.31,
        "recall@10": 0.1243 + shift,
        "ndcg@10": 0.1534 + shift,
        "coverage@10": 0.412,
        "users_ranked": 2301,
        "users_skipped": 168,
    }


def _report() -> dict[str, Any]:
    kept = [f for f, _, k, _ in FIELDS if k]
    dropped = [f for f, _, k, _ in FIELDS if not k]
    personal = {f for f, _, _, s in FIELDS if s}
    sensitive = [
        {
            "slice": f"age={age}",
            "kind": "sensitive",
            "rows": 4000 + 900 * i,
            "users": 90 + 20 * i,
            "difference": -0.0012 + 0.0004 * i,
            "ci": [-0.0042 + 0.0004 * i, 0.0018 + 0.0004 * i],
            "outcome": "undecided" if i == 0 else "ok",
        }
        for i, age in enumerate(AGES)
    ]
    others = [
        {
            "slice": name,
            "kind": "activity",
            "rows": rows,
            "users": 300,
            "difference": d,
            "ci": [d - 0.002, d + 0.002],
            "outcome": "ok",
        }
        for name, rows, d in (
            ("cold users", 8100, -0.0009),
            ("tail items", 30100, -0.0014),
            ("no demographics", 91200, 0.0003),
        )
    ]
    sizes = [4_213_000, 2_390_000, 1_204_000, 610_300, 351_200, 148_000]
    drops = [0.0, 0.0004, 0.0002, -0.0003, -0.0007, -0.0051]
    outcomes = ["PASS"] * 5 + ["FAIL"]
    return {
        "recprune": "0.1.0",
        "seed": 0,
        "seconds": 212.3,
        "command": "recprune demo -o runs/demo",
        "dataset": {
            "name": "Complete Journey (simulated)",
            "label": "purchased",
            "rows": {"train": 402_311, "tune": 98_120, "gate": 97_998, "test": 201_553},
            "label_rate": {"train": 0.2, "test": 0.2},
            "users": 2469,
            "items": 11_231,
            "fields": len(FIELDS),
            "split": "time",
        },
        "verdict": {
            "outcome": "PASS",
            "metric": "auc",
            "tolerance": 0.002,
            "difference": -0.0004,
            "ci": [-0.0011, 0.0003],
            "method": "users and items",
            "n_rows": 201_553,
            "rows_needed": None,
            "crosscheck": {"delong_difference": -0.0004, "delong_se": 0.0004},
            "slices": sensitive + others,
            "reasons": [],
            "test_uses": 1,
        },
        "full": {
            "metrics": _metrics(0.0),
            "bytes": 4_213_000,
            "params": 1_048_201,
            "latency_us": {"1": 31.2, "1000": 4120.0},
        },
        "pruned": {
            "metrics": _metrics(-0.0004),
            "bytes": 351_200,
            "params": 80_113,
            "latency_us": {"1": 6.9, "1000": 398.0},
        },
        "compression": 12.0,
        "fields": {
            "kept": kept,
            "dropped": dropped,
            "sensitive": {
                "kept": [f for f in kept if f in personal],
                "dropped": [f for f in dropped if f in personal],
            },
        },
        "importance": [
            {
                "field": f,
                "method": "permutation",
                "score": s,
                "std": 0.0003 + s / 20,
                "kept": k,
                "sensitive": p,
            }
            for f, s, k, p in FIELDS
        ],
        "importance_methods": {
            "shark": {f: s / 3 for f, s, _, _ in FIELDS},
            "random": {f: None for f, *_ in FIELDS},
        },
        "search": {
            "budget": {"max_drop": {"auc": 0.002}, "latency_rows": 1000},
            "trials": [
                {
                    "number": i,
                    "label": label,
                    "bytes": size,
                    "auc_tune": 0.781 + d,
                    "auc_gate": 0.779 + d,
                    "difference": d,
                    "ci": [d - 0.0008, d + 0.0008],
                    "outcome": outcome,
                    "on_front": True,
                    "chosen": i == 4,
                }
                for i, (label, size, d, outcome) in enumerate(
                    zip(
                        ["uncut", "fields", "rows", "dims", "neurons", "neurons"],
                        sizes,
                        drops,
                        outcomes,
                        strict=True,
                    )
                )
            ],
        },
        "techniques": [
            {
                "technique": name,
                "bytes": 351_000 + 900 * i,
                "auc": 0.7791 + d,
                "logloss": 0.413 - d,
                "difference": d,
                "ci": [d - 0.0009, d + 0.0009],
                "outcome": "PASS" if d > -0.001 else "FAIL" if d < -0.003 else "INCONCLUSIVE",
                "latency_us": {"1": 7.0 + i, "1000": 400.0 + 20 * i},
                "seconds": 9.1 + i,
                "cuts": "fields 37%, rows 60%, neurons 75%",
            }
            for i, (name, d) in enumerate(
                (
                    ("importance ranking", -0.0017),
                    ("L1", -0.0031),
                    ("L2", -0.0029),
                    ("dropout", -0.0024),
                    ("ReLU zeros", -0.0042),
                    ("combination", -0.0004),
                )
            )
        ],
        "yardsticks": [
            {"name": "LightGBM", "auc": 0.7745, "bytes": 1_903_000},
            {"name": "LR", "auc": 0.7611, "bytes": 310_000},
            {"name": "popularity", "auc": 0.6312, "bytes": None},
        ],
        "calibration": {
            "full": {
                "predicted": [0.03, 0.08, 0.15, 0.22, 0.31, 0.44, 0.62],
                "rate": [0.028, 0.085, 0.147, 0.231, 0.302, 0.452, 0.6],
                "count": [9000, 8000, 5000, 3000, 2000, 900, 300],
            },
            "pruned": {
                "predicted": [0.03, 0.08, 0.15, 0.22, 0.31, 0.44, 0.61],
                "rate": [0.03, 0.083, 0.151, 0.228, 0.306, 0.441, 0.612],
                "count": [9000, 8000, 5000, 3000, 2000, 900, 290],
            },
        },
        "score_histogram": {
            "edges": [i / 20 for i in range(21)],
            "full": _histogram(0.0),
            "pruned": _histogram(0.3),
        },
        "recommendations": [
            {
                "attribute": "age",
                "groups": [
                    {
                        "value": age,
                        "rows": 4000 + 900 * i,
                        "users": 90 + 20 * i,
                        "label_rate": 0.17 + 0.011 * i - 0.0019 * i * i,
                        "willingness_full": 0.172 + 0.0105 * i - 0.0018 * i * i,
                        "willingness_pruned": 0.1705 + 0.011 * i - 0.0018 * i * i,
                        "top": [
                            {
                                "item": "1082185",
                                "description": "PRODUCE · BANANAS",
                                "share": 0.81 - 0.02 * i,
                            },
                            {
                                "item": "1029743",
                                "description": "GROCERY · FLUID MILK",
                                "share": 0.63,
                            },
                            {"item": "981760", "description": "GROCERY · EGGS", "share": 0.41},
                        ],
                    }
                    for i, age in enumerate(AGES)
                ],
            },
            {
                "attribute": "income",
                "groups": [
                    {
                        "value": value,
                        "rows": 3000,
                        "users": 70,
                        "label_rate": 0.2 + i / 100,
                        "willingness_full": 0.2 + i / 110,
                        "willingness_pruned": 0.2 + i / 120,
                        "top": [],
                    }
                    for i, value in enumerate(("Under 15K", "15-24K", "35-49K", "250K+"))
                ],
            },
        ],
        "findings": [
            {
                "kind": "constant",
                "column": "store_country",
                "severity": "info",
                "rows": 799_982,
                "action": "dropped",
            },
            {
                "kind": "missing",
                "column": "age",
                "severity": "warning",
                "rows": 539_120,
                "action": "kept as a value of its own",
            },
        ],
        "history": {
            "full": [
                {"epoch": i + 1, "loss": 0.47 - 0.02 * i, "auc": a}
                for i, a in enumerate((0.761, 0.7742, 0.7789, 0.7781))
            ]
        },
        "report": "runs/demo/report.html",
    }


@pytest.fixture(scope="session")
def make_report() -> Callable[..., dict[str, Any]]:
    """Return a factory of realistic reports; keywords replace whole top-level entries."""

    def make(**replaced: Any) -> dict[str, Any]:
        return {**copy.deepcopy(_report()), **replaced}

    return make


@pytest.fixture(scope="session")
def made(make_report: Callable[..., dict[str, Any]]) -> dict[str, Picture]:
    """Return the pictures of the realistic report of a search, drawn once for all tests."""
    return pictures(searched(make_report()))


@pytest.fixture
def bare_report() -> dict[str, Any]:
    """Return a report with every list empty and every number null."""
    metrics = dict.fromkeys(_metrics(0.0))
    model = {
        "metrics": metrics,
        "bytes": None,
        "params": None,
        "latency_us": {"1": None, "1000": None},
    }
    return {
        "recprune": "0.1.0",
        "seed": None,
        "seconds": None,
        "command": None,
        "dataset": {
            "name": None,
            "label": None,
            "rows": {},
            "label_rate": {},
            "users": None,
            "items": None,
            "fields": None,
            "split": None,
        },
        "verdict": {
            "outcome": "INCONCLUSIVE",
            "metric": "auc",
            "tolerance": 0.002,
            "difference": None,
            "ci": None,
            "method": None,
            "n_rows": None,
            "rows_needed": None,
            "crosscheck": None,
            "slices": [],
            "reasons": [],
            "test_uses": None,
        },
        "full": model,
        "pruned": copy.deepcopy(model),
        "compression": None,
        "fields": {"kept": [], "dropped": [], "sensitive": {"kept": [], "dropped": []}},
        "importance": [],
        "importance_methods": {},
        "search": {"trials": []},
        "techniques": [],
        "yardsticks": [],
        "calibration": None,
        "score_histogram": None,
        "recommendations": [],
        "findings": [],
        "history": {},
        "report": None,
    }
