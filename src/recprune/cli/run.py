"""``recprune run``: the main job on your table."""

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
    Strict,
    TableOrSql,
    Time,
    User,
    emit,
    keep_bad_rows,
    typed_command,
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
    output: Output = Path("runs/run"),
    config: Config = None,
    settings: Set = None,
    seed: Seed = None,
    strict: Strict = False,
    on_bad_rows: OnBadRows = None,
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Train, rank, prune, prove, recommend and report, on a table of your own. Stopped while it
    trains and started again, it goes on where it was.
    """
    from recprune.pipeline import run
    from recprune.report import summary

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
        strict=strict or None,
        on_bad_rows=on_bad_rows,
    )
    report = run(ready.data, output, ready.config, name=ready.name, command=typed_command())
    keep_bad_rows(ready.bad, output)
    emit(report, as_json, summary(report))
    return 0 if report["verdict"]["outcome"] == "PASS" else 3
