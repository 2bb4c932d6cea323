"""A search, its baselines and its noise, as a run with a budget adds them to a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from recprune._support import stream

__all__ = ["searched"]


def searched(report: dict[str, Any], trials: int = 48) -> dict[str, Any]:
    """Return the report with ``search``, ``baselines``, ``seed_noise`` and the way back."""
    draws = stream(0, "searched")
    full, small = report["full"]["bytes"], report["pruned"]["bytes"]
    auc, budget = report["full"]["metrics"]["auc"], 1.2 * small
    made = [
        _trial(number, full, auc, float(share), draws)
        for number, share in enumerate(np.geomspace(1.0, 0.012, trials))
    ]
    best = -1.0
    for trial in made[::-1]:
        if trial["auc_tune"] > best:
            best, trial["on_front"] = trial["auc_tune"], True
    passed = [t for t in made if t["outcome"] == "PASS"]
    chosen = min(passed, key=lambda t: abs(t["bytes"] - small))
    chosen.update(bytes=small, params=report["pruned"]["params"], chosen=True, on_front=True)
    report["search"] = {
        "budget": {"bytes": budget, "latency_us": 60.0, "params": None, "max_drop": {"auc": 0.002}},
        "cost": {"seconds": 212.0, "over_full_training": 4.2},
        "trials": made,
        "chosen": chosen["number"],
        "why": "It is the best model within the budget that passes on gate rows.",
        "profile": {"cpu": "a processor", "threads": 1, "gather_ns": [1.0, 2.0]},
    }
    report["baselines"] = {"budget": budget, "quick": True, "models": _baselines(full, auc, budget)}
    report["seed_noise"] = {"seeds": 3, "auc_std": 0.0009, "quick": True}
    report["cost_to_bring_back"] = [
        {"unit": "field", "name": name, "bytes": 900 * i + 300, "auc": 0.0004 - 0.00015 * i}
        for i, name in enumerate(report["fields"]["dropped"])
    ] + [{"unit": "rows", "name": "product_id", "bytes": 150_000, "auc": 0.0006}]
    return report


def _trial(number: int, full: int, auc: float, share: float, draws: Any) -> dict[str, Any]:
    drop = -0.0003 * (1 / share) ** 0.55 + 0.0006 + float(draws.normal(0, 0.0004))
    drop = 0.0 if number == 0 else drop
    judged = number % 4 == 0
    outcome = "PASS" if drop > -0.0008 else "FAIL" if drop < -0.0025 else "INCONCLUSIVE"
    return {
        "number": number,
        "label": "full" if number == 0 else f"rows to {share:.0%}",
        "units": {
            "fields": 20,
            "rows": round(30_000 * share),
            "dims": max(2, round(16 * share)),
            "neurons": [64, 32],
            "tables": "int8",
            "layers": "fp16",
        },
        "bytes": round(full * share),
        "latency_us": 15 + 60 * share**0.5,
        "params": round(full * share / 4),
        "auc_tune": auc + 0.002 + drop,
        "auc_gate": auc + drop if judged else None,
        "difference": drop if judged else None,
        "ci": [drop - 0.001, drop + 0.001] if judged else None,
        "outcome": outcome if judged else None,
        "seconds": 3.0 + 2 * share,
        "on_front": False,
        "chosen": False,
    }


def _baselines(full: int, auc: float, budget: float) -> list[dict[str, Any]]:
    rows = (
        ("full", "as given", full, 0.0),
        ("pruned", "as given", round(budget / 1.2), -0.0004),
        ("narrower dense", "dim 2, hidden 16-8", round(0.98 * budget), -0.0061),
        ("minimum count", "at least 70 rows", round(0.94 * budget), -0.0042),
        ("random fields", "6 of 19, best of 3 draws", round(0.99 * budget), -0.0480),
        ("global magnitude", "3 % of the weights", round(0.985 * budget), -0.0088),
        ("int8 alone", "nothing cut", round(3.1 * budget), -0.0001),
    )
    return [
        {
            "name": name,
            "settings": settings,
            "bytes": size,
            "fits": size <= budget,
            "metrics": {"auc": auc + d, "logloss": 0.41 - d},
        }
        for name, settings, size, d in rows
    ]
