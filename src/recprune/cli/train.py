"""``recprune train``: fit a full model and save it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import (
    Config,
    Drop,
    Item,
    Json,
    Label,
    LabelThreshold,
    NegativesBy,
    NegativesPerPositive,
    OnBadRows,
    Output,
    Schema,
    Seed,
    Set,
    Split,
    Sql,
    SqlUrlFile,
    TableOrSql,
    Time,
    User,
    chosen_negatives,
    chosen_rows,
    emit,
    keep_bad_rows,
    read_config,
    read_data,
)
from recprune.errors import ParameterError, nearest

MODELS = ("deepfm", "fm", "lr")


def command(
    table: TableOrSql = None,
    label: Label = None,
    label_threshold: LabelThreshold = None,
    negatives: NegativesBy = None,
    negatives_per_positive: NegativesPerPositive = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    drop: Drop = None,
    schema: Schema = None,
    split: Split = None,
    model: Annotated[str, typer.Option("--model", help="deepfm, fm or lr.")] = "deepfm",
    output: Output = Path("runs/full"),
    config: Config = None,
    settings: Set = None,
    seed: Seed = None,
    on_bad_rows: OnBadRows = "error",
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Fit a ranker on a table's training rows and save the artefact."""
    if model not in MODELS:
        raise ParameterError(f"There is no model {model!r}.{nearest(model, MODELS)}")
    from recprune.models import FM, LR, DeepFM, Hidden, Ranker
    from recprune.pipeline import save_model

    chosen = read_config(config, settings, seed=seed, split=split)
    rows, bad = chosen_rows(table, sql, sql_url_file, on_bad_rows)
    drawn = chosen_negatives(negatives, negatives_per_positive)
    roles = {"user": user, "item": item, "time": time}
    data = read_data(rows, label, roles, drop, schema, bad, label_threshold, drawn)
    data = data.split(by=chosen.split, seed=chosen.seed)
    training = chosen.training()
    ranker: Ranker = DeepFM(
        chosen.dim, Hidden(chosen.hidden, dropout=chosen.dropout), training, chosen.seed
    )
    if model == "fm":
        ranker = FM(chosen.dim, training, chosen.seed)
    elif model == "lr":
        ranker = LR(training, chosen.seed)
    ranker.fit(data.train, data.tune)
    size = save_model(ranker, data, output)
    keep_bad_rows(bad, output)
    scores = [e.score for e in ranker.history if e.score is not None]
    result = {
        "model": model,
        "artifact": str(output),
        "bytes": size,
        "params": ranker.params,
        "auc_tune": max(scores),
        "epochs": len(ranker.history) - 1,
        "fields": list(ranker.encoder.schema.names),
    }
    emit(result, as_json)
    return 0
