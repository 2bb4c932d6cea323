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
    OnBadRows,
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
    chosen_negatives,
    chosen_rows,
    emit,
    keep_bad_rows,
    read_config,
    read_data,
    typed_command,
)


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
    output: Output = Path("runs/run"),
    config: Config = None,
    settings: Set = None,
    seed: Seed = None,
    strict: Strict = False,
    on_bad_rows: OnBadRows = "error",
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Train, rank, prune, prove, recommend and report, on a table of your own."""
    from recprune.pipeline import run
    from recprune.report import summary

    chosen = read_config(config, settings, seed=seed, split=split, strict=strict or None)
    rows, bad = chosen_rows(table, sql, sql_url_file, on_bad_rows)
    drawn = chosen_negatives(negatives, negatives_per_positive)
    roles = {"user": user, "item": item, "time": time}
    data = read_data(rows, label, roles, drop, schema, bad, label_threshold, drawn)
    report = run(
        data.split(by=chosen.split, seed=chosen.seed),
        output,
        chosen,
        name=rows.name,
        command=typed_command(),
    )
    keep_bad_rows(bad, output)
    emit(report, as_json, summary(report))
    return 0 if report["verdict"]["outcome"] == "PASS" else 3
