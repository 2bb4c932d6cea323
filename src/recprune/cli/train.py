"""``recprune train``: fit a full model and save it."""

from __future__ import annotations

from pathlib import Path

from recprune.cli._options import (
    Config,
    Drop,
    Item,
    Json,
    Label,
    LabelThreshold,
    NegativesBy,
    NegativesPerPositive,
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
    emit,
    keep_bad_rows,
)
from recprune.cli._run import ModelName, OnBadRows, prepared


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
    model: ModelName = None,
    output: Output = Path("runs/full"),
    config: Config = None,
    settings: Set = None,
    seed: Seed = None,
    on_bad_rows: OnBadRows = None,
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Fit a ranker on a table's training rows and save the artefact. Stopped and started again, it
    goes on where it was.
    """
    from recprune.pipeline import train_model

    ready = prepared(
        table,
        (sql, sql_url_file),
        config,
        settings,
        label=label,
        label_threshold=label_threshold,
        negatives=negatives,
        negatives_per_positive=negatives_per_positive,
        user=user,
        item=item,
        time=time,
        drop=drop,
        schema_file=None if schema is None else str(schema),
        split=split,
        model=model,
        seed=seed,
        on_bad_rows=on_bad_rows,
    )
    ranker, size = train_model(ready.data, output, ready.config)
    keep_bad_rows(ready.bad, output)
    best = ranker.training.best_of(ranker.history)
    result = {
        "model": ready.config.model,
        "artifact": str(output),
        "bytes": size,
        "params": ranker.params,
        f"{ranker.metric}_tune": best.score,
        "epochs": len(ranker.history) - 1,
        "best_epoch": best.epoch,
        "fields": list(ranker.encoder.schema.names),
    }
    emit(result, as_json)
    return 0
