"""``recprune evaluate``: the metrics of a saved model on a table."""

from __future__ import annotations

from recprune.cli._options import Json, Model, Part, counted, emit
from recprune.cli._records import Trained


def command(
    model: Model,
    trained: Trained,
    part: Part = "test",
    as_json: Json = False,
) -> int:
    """Score a table with a saved model and print accuracy, recall, AUC, log loss and more."""
    from recprune.evaluation import row_facts

    artifact, (logits,), label, _, bad = trained.scored([model], part)
    result = {
        "artifact": str(model),
        "rows": len(label),
        "metrics": row_facts(logits, label, float(artifact.meta.get("threshold", 0.5))),
        **counted(bad),
    }
    emit(result, as_json)
    return 0
