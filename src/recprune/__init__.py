"""Prune recommender systems, prove that nothing was lost, and serve the result.

Names are imported when first used, so that ``import recprune`` and the runtime stay light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from recprune.data import Dataset, Negatives
    from recprune.errors import RecpruneError, RecpruneWarning
    from recprune.evaluation import membership_audit, verdict
    from recprune.export import export_onnx
    from recprune.foreign import ModulePlan, dims, neurons, plan, restore, rows
    from recprune.importance import FieldRanking, rank_fields
    from recprune.layout import Layout, Plan, shrink
    from recprune.models import (
        ALS,
        DLRM,
        DNN,
        FM,
        LR,
        MF,
        DCNv2,
        DeepFM,
        FinalMLP,
        FwFM,
        Hidden,
        Penalty,
        PrivacyBudget,
        Schedule,
        SharedBottom,
        Training,
        TwoTower,
        WideDeep,
    )
    from recprune.pipeline import (
        Budget,
        Effort,
        HostProfile,
        Search,
        baselines,
        compare,
        compare_procedures,
        evaluate,
        minimise,
        prune,
        run,
        tune,
    )
    from recprune.pipeline.pruned import search
    from recprune.runtime import load
    from recprune.schema import Field, Schema
    from recprune.selector import FeatureSelector

_HOMES = {
    "Dataset": "data",
    "Negatives": "data",
    "RecpruneError": "errors",
    "RecpruneWarning": "errors",
    "compare": "pipeline",
    "compare_procedures": "pipeline",
    "verdict": "evaluation",
    "export_onnx": "export",
    "FieldRanking": "importance",
    "rank_fields": "importance",
    "Layout": "layout",
    "Plan": "layout",
    "shrink": "layout",
    "DeepFM": "models",
    "ALS": "models",
    "DLRM": "models",
    "DNN": "models",
    "DCNv2": "models",
    "FinalMLP": "models",
    "FwFM": "models",
    "Hidden": "models",
    "MF": "models",
    "Schedule": "models",
    "SharedBottom": "models",
    "TwoTower": "models",
    "WideDeep": "models",
    "FM": "models",
    "LR": "models",
    "Penalty": "models",
    "PrivacyBudget": "models",
    "Training": "models",
    "evaluate": "pipeline",
    "membership_audit": "evaluation",
    "minimise": "pipeline",
    "Budget": "pipeline",
    "Effort": "pipeline",
    "HostProfile": "pipeline",
    "Search": "pipeline",
    "search": "pipeline",
    "baselines": "pipeline",
    "run": "pipeline",
    "tune": "pipeline",
    "ModulePlan": "foreign",
    "dims": "foreign",
    "neurons": "foreign",
    "plan": "foreign",
    "restore": "foreign",
    "rows": "foreign",
    "prune": "pipeline",
    "load": "runtime",
    "Field": "schema",
    "Schema": "schema",
    "FeatureSelector": "selector",
}

__all__ = [
    "ALS",
    "DLRM",
    "DNN",
    "FM",
    "LR",
    "MF",
    "Budget",
    "DCNv2",
    "Dataset",
    "DeepFM",
    "Effort",
    "FeatureSelector",
    "Field",
    "FieldRanking",
    "FinalMLP",
    "FwFM",
    "Hidden",
    "HostProfile",
    "Layout",
    "ModulePlan",
    "Negatives",
    "Penalty",
    "Plan",
    "PrivacyBudget",
    "RecpruneError",
    "RecpruneWarning",
    "Schedule",
    "Schema",
    "Search",
    "SharedBottom",
    "Training",
    "TwoTower",
    "WideDeep",
    "baselines",
    "compare",
    "compare_procedures",
    "dims",
    "evaluate",
    "export_onnx",
    "load",
    "membership_audit",
    "minimise",
    "neurons",
    "plan",
    "prune",
    "rank_fields",
    "restore",
    "rows",
    "run",
    "search",
    "shrink",
    "tune",
    "verdict",
]


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'recprune' has no attribute {name!r}")
        try:
            home = importlib.import_module(f"recprune.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            from recprune._support import missing_extra

            raise missing_extra(error) from error
        value = getattr(home, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
