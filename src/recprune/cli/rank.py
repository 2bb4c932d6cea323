"""``recprune rank``: which fields matter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from recprune.cli._options import Json, Model, counted, emit
from recprune.cli._records import Trained, Workplace
from recprune.errors import ParameterError


def command(
    model: Model,
    trained: Trained,
    workplace: Workplace,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="How fields are scored, as shark; a name that is none lists all."
        ),
    ] = "permutation",
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            help="Also say which fields to keep: a share (0.5), a count (12), cost=100 (the schema's "
            "costs together), above=0.001 (the score), or auto (chosen on the gate rows).",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop of AUC for --keep auto.")
    ] = 0.002,
    protect: Annotated[
        list[str] | None, typer.Option("--protect", help="Field to keep in any case; may repeat.")
    ] = None,
    force: Annotated[
        list[str] | None, typer.Option("--force", help="Field to drop in any case; may repeat.")
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            "--groups",
            help="Fields to score as one and keep one of: schema (as it names them), auto (also those "
            "that tell the same), or none.",
        ),
    ] = "schema",
    as_json: Json = False,
) -> int:
    """Rank a saved model's fields by importance on held-out rows of the table."""
    import numpy as np

    from recprune.importance import FieldRanking, rank_fields

    stay, go = tuple(protect or ()), tuple(force or ())
    amount = _amount(keep)
    if not 0 < tolerance < 1:
        raise ParameterError.of("--tolerance", "recprune rank", "a float in (0, 1)", tolerance)
    if amount is None and (stay or go):
        raise ParameterError("--protect and --force go with --keep, which is not given.")
    ranker, data, bad = trained.opened(model)
    names = ranker.encoder.schema.names
    nothing = np.zeros(len(names))
    # Names that cannot be are told before the work.
    FieldRanking(names, nothing, nothing, method).allowed(stay, go)
    grouped = None if groups == "none" else groups
    with workplace.executor() as executor:
        ranking = rank_fields(ranker, data, method, trained.seed or 0, grouped, executor)
    result: dict[str, Any] = {
        "method": method,
        "fields": [
            {"field": f, "score": float(s), "std": float(e)}
            for f, s, e in zip(ranking.fields, ranking.scores, ranking.std, strict=True)
        ],
        **counted(bad),
    }
    for row, by in zip(result["fields"], ranking.by, strict=False):  # few methods have several ways
        row["by"] = by
    if ranking.groups:
        result["groups"] = [list(group) for group in ranking.groups]
    if amount == "auto":
        from recprune.evaluation import choose_fields

        parts = (data.train, data.tune, data.gate)
        result["keep"] = list(choose_fields(ranker, ranking, *parts, tolerance, stay, go))
    elif amount is not None:
        result["keep"] = list(ranking.keep(**amount, protect=stay, force=go))
    emit(result, as_json, _table(result))
    return 0


def _amount(keep: str | None) -> dict[str, Any] | Literal["auto"] | None:
    """Return what ``--keep`` asks of :meth:`FieldRanking.keep`."""
    if keep is None or keep == "auto":
        return keep  # type: ignore[return-value]
    word, _, value = keep.rpartition("=")
    names = {"": "count" if value.isdecimal() else "ratio", "cost": "cost", "above": "threshold"}
    try:
        return {names[word]: int(value) if names[word] == "count" else float(value)}
    except (KeyError, ValueError):
        constraint = "a share (0.5), a count (12), cost=100, above=0.001, or auto"
        raise ParameterError.of("--keep", "recprune rank", constraint, keep) from None


def _table(result: dict[str, Any]) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    kept = result.get("keep")
    several = "by" in result["fields"][0]
    further = [*(["scored by"] if several else []), *(["keep"] if kept else [])]
    table = RichTable("field", "importance", "± standard error", *further, title=result["method"])
    for row in result["fields"]:
        mark = [row["by"]] if several else []
        mark += ["yes" if row["field"] in kept else ""] if kept else []
        # Text, never a string: names come from the user, and a string would be read as markup.
        table.add_row(Text(row["field"]), f"{row['score']:.5f}", f"{row['std']:.5f}", *mark)
    return table
