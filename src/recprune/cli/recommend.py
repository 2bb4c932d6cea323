"""``recprune recommend``: a user's best items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recprune.cli._options import Json, Model, emit
from recprune.errors import InputError, ParameterError


def command(
    model: Model,
    users: Annotated[Path, typer.Option("--users", help="The users.rp folder.")],
    user: Annotated[
        str, typer.Option("--user", help="Whose items; an unknown id is answered too.")
    ],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Recommend items that the user has seen too.")
    ] = False,
    label: Annotated[
        str | None, typer.Option("--label", help="What to rank by, of a model with several labels.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="COLUMN=VALUE",
            help="Only items whose column is this, e.g. category=toys, price=..9.5 or price=2..5; "
            "given again: of one column any, of several all.",
        ),
    ] = None,
    deny: Annotated[
        list[str] | None,
        typer.Option(
            "--deny", help="Item id to leave out; repeat for more. Unknown ones are ignored."
        ),
    ] = None,
    first_stage: Annotated[
        Path | None,
        typer.Option(
            "--first-stage",
            help="Folder of a retriever: rank its best candidates alone, of a very large catalogue.",
        ),
    ] = None,
    first_stage_k: Annotated[
        int | None,
        typer.Option("--first-stage-k", help="How many candidates; default 1,000."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Rank the catalogue for one user with a saved model; needs no training software."""
    from recprune.runtime import load
    from recprune.users import Users

    if first_stage is None and first_stage_k is not None:
        raise InputError("--first-stage-k goes with --first-stage, which is not given.")
    size = {} if first_stage_k is None else {"first_stage_k": first_stage_k}
    scorer, store = load(model, first_stage=first_stage, **size), Users.load(users)
    asked = _asked(filters) if filters else None
    best = scorer.recommend_user(
        store,
        user,
        k,
        exclude_seen=not include_seen,
        filter=asked,
        deny=deny or (),
        label=label,
    )
    result = {
        "user": user,
        "fallback": best.fallback,
        "items": [
            {"item": i, "score": float(s)} for i, s in zip(best.items, best.scores, strict=True)
        ],
    }
    emit(result, as_json, _table(result))
    return 0


def _asked(filters: list[str]) -> dict[str, list[str]]:
    asked: dict[str, list[str]] = {}
    for given in filters:
        column, equals, value = given.partition("=")
        if not equals or not column:
            raise ParameterError.of("--filter", "recommend", "COLUMN=VALUE", given)
        asked.setdefault(column, []).append(value)
    return asked


def _table(result: dict[str, Any]) -> Any:
    from rich.table import Table

    note = " (unknown: answered without attributes)" if result["fallback"] else ""
    table = Table("rank", "item", "score", title=f"user {result['user']}{note}")
    for place, row in enumerate(result["items"], 1):
        table.add_row(str(place), row["item"], f"{row['score']:.4f}")
    return table
