"""``recprune run``: the main job on your table."""

from __future__ import annotations

from pathlib import Path

from recprune.cli._options import (
    Config,
    Drop,
    Item,
    Json,
    Label,
    Output,
    Schema,
    Seed,
    Set,
    Split,
    Table,
    Time,
    User,
    emit,
    read_config,
    read_data,
    typed_command,
)


def command(
    table: Table,
    label: Label = None,
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
    as_json: Json = False,
) -> int:
    """Train, rank, prune, prove, recommend and report, on a table of your own."""
    from recprune.pipeline import run
    from recprune.report import summary

    chosen = read_config(config, settings, seed=seed, split=split)
    data = read_data(table, label, {"user": user, "item": item, "time": time}, drop, schema)
    report = run(
        data.split(by=chosen.split, seed=chosen.seed),
        output,
        chosen,
        name=table.name,
        command=typed_command(),
    )
    emit(report, as_json, summary(report))
    return 0 if report["verdict"]["outcome"] == "PASS" else 3
