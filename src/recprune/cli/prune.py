"""``recprune prune``: cut a saved model to given shares or counts, or to a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recprune.cli._options import Json, Model, Output, emit, keep_bad_rows, pairs
from recprune.cli._records import Trained
from recprune.cli._to_budget import ToBudget
from recprune.errors import InputError, ParameterError


def command(
    model: Model,
    trained: Trained,
    to: ToBudget,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", help="unit=share or unit=count: fields, rows, dims, neurons, pairs."
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="unit=method, as rows=l2.")
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Cuts on the way, at least 1.")
    ] = 1,
    bits: Annotated[
        str,
        typer.Option(
            "--bits",
            help="Of tables: fp32, fp16, int8 (a scale a column), int8_row, int4_row (a scale a row), "
            "or mixed (int8_row for rows that are used most, int4_row for the others). Layers are "
            "fp32, fp16 (with fp16 and int8) or int8_row.",
        ),
    ] = "fp32",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    output: Output = Path("runs/small"),
    as_json: Json = False,
) -> int:
    """Prune a saved model, fine-tune it on the table's training rows, and save the small one: to
    shares or counts of its units (--keep), or to the best that keeps a budget (--budget), proved on
    the table's test rows. A search for a budget that is stopped and started again goes on where it was.
    """
    if (keep is None) == (to.budget is None):
        raise InputError(
            "prune takes --keep unit=share, or --budget as bytes=200kB. Give one of them."
        )
    if to.budget is not None:
        wrong = {"--method": method, "--dry-run": dry_run, "--rounds": rounds > 1}
        for option, given in (wrong | {"--bits": bits != "fp32"}).items():
            if given:
                raise InputError(f"{option} goes with --keep, not with --budget.")
        return to.prune(model, trained, output, as_json)
    for option in to.given:
        raise InputError(f"{option} goes with --budget, not with --keep.")
    from recprune import pruning
    from recprune.artifact import stored_size
    from recprune.metrics import auc
    from recprune.pipeline import save_model

    if bits not in pruning.BITS:
        raise ParameterError.of("--bits", "prune", f"one of {', '.join(pruning.BITS)}", bits)
    tables, layers = pruning.BITS[bits]
    wanted = {unit: _amount(unit, value) for unit, value in pairs(keep or [], "--keep").items()}
    methods = pairs(method or [], "--method")
    for unit in methods:
        if unit not in wanted:
            raise InputError(f"--method {unit}=… needs --keep {unit}=…, which is not given.")
    ranker, data, bad = trained.opened(model)
    if dry_run:
        made = pruning.plan(ranker, data, wanted, methods, trained.seed or 0)
        # Uses are counted when rows are cut, and tables as narrow as they will be.
        made |= pruning.encoding_plan(ranker.apply(made), tables, layers, data.train)
        result: dict[str, Any] = {
            "plan": made.summary(ranker.layout),
            "tensor_bytes": made.predicted_bytes(ranker.layout),
        }
        emit(result, as_json, made.to_text(ranker.layout))
        return 0
    small = pruning.prune(ranker, data, wanted, methods, rounds=rounds, seed=trained.seed or 0)
    small = pruning.encode(small, tables, layers, data.train)
    before, after = stored_size(ranker.artifact()), save_model(small, data, output)
    keep_bad_rows(bad, output)
    tune = data.tune
    result = {
        "artifact": str(output),
        "bytes": {"before": before, "after": after},
        "compression": before / after,
        "params": {"before": ranker.params, "after": small.params},
        "auc_tune": {
            "before": auc(tune.label, ranker.logits(ranker.aligned(tune).rows)),
            "after": auc(tune.label, small.logits(small.aligned(tune).rows)),
        },
        "fields": list(small.encoder.schema.names),
    }
    emit(result, as_json)
    return 0


def _amount(unit: str, value: str) -> float | int | tuple[str, ...] | tuple[int, ...]:
    """Read ``0.5`` as a share, ``8`` as a count, ``32,16`` as counts, other lists as names."""
    parts = value.split(",")
    try:
        if len(parts) > 1:
            return tuple(int(p) for p in parts)
        return float(value) if "." in value or "e" in value.lower() else int(value)
    except ValueError:
        if unit == "fields":
            return tuple(parts)
        constraint = "a share in (0, 1], as 0.5, or a count, as 8"
        raise ParameterError.of(f"--keep {unit}", "prune", constraint, value) from None
