"""``recprune evaluate``: the metrics of a saved model on a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import Json, Model, Part, counted, emit
from recprune.cli._records import Trained
from recprune.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from recprune.evaluation import Evaluation


def command(
    model: Model,
    trained: Trained,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="As auc, f1 or pr-auc of rows, or ndcg@10, recall@20 or coverage@10 of lists of the "
            "whole catalogue; repeat for more. Default: auc, logloss, accuracy, precision, recall.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Column by whose values to give them too; repeat for more."),
    ] = None,
    per_user: Annotated[
        Path | None,
        typer.Option("--per-user", help="File for the users one by one: .csv or .parquet."),
    ] = None,
    most_users: Annotated[
        int | None,
        typer.Option("--most-users", min=1, help="Most users to make lists for; default all."),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            "--sampled",
            min=1,
            help="Rank what is relevant among so many items drawn at random, not in the catalogue.",
        ),
    ] = None,
    part: Part = "test",
    as_json: Json = False,
) -> int:
    """Measure a saved model on a table: of its rows, and of lists of the whole catalogue."""
    from recprune.artifact import read_artifact
    from recprune.metrics import metric as named
    from recprune.pipeline.evaluating import ROW_METRICS, evaluate
    from recprune.runtime import Scorer

    _check(per_user)
    lists = [name for name in metric or () if named(name).family != "classification"]
    if lists and part == "all":
        raise InputError(
            f"{lists[0]!r} is of lists for the test rows' users: training rows would be found again. "
            "Leave --part out."
        )
    artifact = read_artifact(model)
    data, bad = trained.table_of(artifact, part)
    found = evaluate(
        Scorer(artifact),
        data,
        metric or ROW_METRICS,
        by=by or (),
        negatives=negatives,
        most_users=most_users,
        seed=trained.seed or 0,
    )
    result = {"artifact": str(model), "part": part, **found.to_json(), **counted(bad)}
    if per_user is not None:
        if found.per_user is None:
            raise InputError(
                "--per-user needs a column of users, and the model was trained without."
            )
        _write(found.per_user, per_user)
        result["per_user"] = str(per_user)
    emit(result, as_json, None if as_json else _shown(result, found))
    return 0


def _shown(result: dict[str, Any], found: Evaluation) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows, which = found.counts["rows"], {"test": " test", "all": ""}[result["part"]]
    about = f"{result['artifact']}: {rows:,}{which} rows"
    if "users" in found.counts:
        about += f" of {found.counts['users']:,} users"
    about += f", {found.counts['positives'] / max(rows, 1):.1%} positive"
    table = Table("metric", "value", "95 % interval", "of", title=about, title_justify="left")
    for name, e in found.estimates.items():
        bounds = "" if e.interval is None else "{:.4f} to {:.4f}".format(*e.interval)
        left_out = f", {e.skipped:,} skipped" if e.skipped else ""
        table.add_row(name, f"{e.value:.4f}", bounds, f"{e.count:,} {e.of}{left_out}")
    shown: list[Any] = [table]
    for column in dict.fromkeys(g.column for g in found.groups):
        groups = [g for g in found.groups if g.column == column]
        names = [n for n in found.estimates if any(n in g.estimates for g in groups)]
        split = Table(title=f"by {column}", title_justify="left")
        split.add_column(column, no_wrap=True)
        for name in ("rows", "users", *names):
            split.add_column(name, overflow="fold")
        for g in groups:
            values = [f"{g.estimates[n].value:.4f}" if n in g.estimates else "–" for n in names]
            split.add_row(
                g.value, f"{g.rows:,}", "" if g.users is None else f"{g.users:,}", *values
            )
        shown.append(split)
        missing = [n for n in found.estimates if n not in names]
        if missing:
            why = "users have rows in several of its groups, or rows of one class alone"
            shown.append(Text(f"Not by {column}, as {why}: {', '.join(missing)}."))
    notes = []
    if any(n in found.estimates for n in ("accuracy", "precision", "recall", "f1")):
        notes.append(f"A row is called positive from a probability of {found.threshold:.4f}.")
    if "accuracy" in found.estimates:
        notes.append(f"The commoner class for every row: accuracy {found.majority_accuracy:.4f}.")
    if found.counts.get("users_skipped"):
        notes.append(f"Skipped: {found.counts['users_skipped']:,} users with nothing relevant.")
    if found.counts.get("users_not_drawn"):
        notes.append(f"Not drawn: {found.counts['users_not_drawn']:,} users (--most-users).")
    if "per_user" in result:
        notes.append(f"Users one by one: {result['per_user']}")
    if "bad_rows" in result:
        notes.append(f"Rows left out as they cannot be read: {result['bad_rows']:,}.")
    return Group(*shown, *(Text(note) for note in notes))


def _check(per_user: Path | None) -> None:
    if per_user is None:
        return
    if per_user.suffix not in (".csv", ".parquet"):
        raise InputError(
            f"The file of --per-user must end in .csv or .parquet. Got {per_user.name!r} instead."
        )
    if not per_user.parent.is_dir():
        raise InputError(
            f"The folder {str(per_user.parent)!r} of --per-user is not there. Make it first."
        )


def _write(table: pl.DataFrame, path: Path) -> None:
    """Write the users, whole or not at all."""
    from recprune.folders import file_written_whole

    with file_written_whole(path) as file:
        table.write_csv(file) if path.suffix == ".csv" else table.write_parquet(file)
