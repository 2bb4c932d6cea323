"""Saved models, and the tables that they belong to, read as when they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recprune.cli._options import Query, read_data
from recprune.errors import ParameterError

if TYPE_CHECKING:
    from recprune.artifact import Artifact
    from recprune.data import Dataset, Split
    from recprune.data.bad_rows import BadRows
    from recprune.models import Ranker

__all__ = ["Again", "open_model", "open_part"]


@dataclass(frozen=True)
class Again:
    """How a table is read for a saved model.

    Args:
        table: a table, or a query.
        drop, schema: as for reading it first.
        split, seed: as it was split for training; None = as by default.
        bad: what collects bad rows.
    """

    table: Path | Query
    drop: Sequence[str] | None
    schema: Path | None
    split: str | None
    seed: int | None
    bad: BadRows

    def read(self, artifact: Artifact) -> Dataset:
        """Read the table as when the model was trained: same roles, same labels."""
        from recprune.data import read_spec
        from recprune.data.labels import LabelRule

        meta = artifact.encoder.schema
        rule = LabelRule.from_json(artifact.meta.get("labels") or {"column": meta.label})
        if rule.negatives is not None:
            rule = replace(rule, negative_rate=None)  # measured anew
        columns = {"user": meta.user, "item": meta.item, "time": meta.time}
        spec = replace(read_spec(self.schema), label=rule.column, labels=rule)
        return read_data(self.table, rule.column, columns, self.drop, spec, self.bad)

    def split_data(self, artifact: Artifact) -> Dataset:
        """Read the table and split it as when the model was trained."""
        return self.read(artifact).split(by=self.split or "auto", seed=self.seed or 0)


def open_model(model: Path, again: Again) -> tuple[Ranker, Dataset]:
    """Load a trainable model and the table it belongs to, split as when it was trained."""
    from recprune.artifact import read_artifact
    from recprune.models import ranker_of

    artifact = read_artifact(model)
    return ranker_of(artifact), again.split_data(artifact)


def open_part(artifact: Artifact, again: Again, part: str) -> Dataset | Split:
    """Return the table split as when the model was trained, or all of its rows as one part."""
    if part not in ("test", "all"):
        raise ParameterError.of("--part", "recprune", "test or all", part)
    return again.read(artifact).all_rows() if part == "all" else again.split_data(artifact)
