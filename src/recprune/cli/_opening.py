"""Saved models, and the tables that they belong to, read as when they were trained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recprune.cli._options import Query, read_data
from recprune.errors import ParameterError, RecpruneWarning

if TYPE_CHECKING:
    from recprune.artifact import Artifact
    from recprune.data import Dataset, Split
    from recprune.data.bad_rows import BadRows
    from recprune.data.split import SplitRule
    from recprune.models import Ranker

__all__ = ["Again", "open_model", "open_part", "rule_of"]


@dataclass(frozen=True)
class Again:
    """How a table is read for a saved model.

    Args:
        table: a table, or a query.
        drop, schema: as for reading it first.
        split, seed: as it was split for training, of artefacts that do not tell; of others a way
            to split it anew, which is warned of. None = as by default.
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
        from recprune.data.split import GIVEN

        data, asked = self.read(artifact), None if self.split in (None, "auto") else self.split
        rule = rule_of(artifact)
        if rule is None:
            return data.split(by=asked or "auto", seed=self.seed or 0)
        by = asked or ("auto" if rule.by == GIVEN else rule.by)
        again = data.split(by=by, valid=rule.valid, test=rule.test, seed=rule.seed)
        if again.split_by != rule.by:
            came = "came in parts" if rule.by == GIVEN else f"were split by {rule.by!r}"
            warnings.warn(
                f"The model's rows {came} for training and are split by "
                f"{again.split_by!r} here. It is measured on rows that it may have learned from, "
                "unless the table has new rows alone." + (" Leave --split out." if asked else ""),
                RecpruneWarning,
                stacklevel=2,
            )
        return again


def rule_of(artifact: Artifact) -> SplitRule | None:
    """Return how the rows were split that a model was trained on; None = the artefact does not tell."""
    from recprune.data.split import SplitRule

    told = artifact.meta.get("split")
    return None if told is None else SplitRule.from_json(told)


def open_model(model: Path, again: Again) -> tuple[Ranker, Dataset]:
    """Load a trainable model and the table it belongs to, split as when it was trained.

    What goes on learning from other parts than those has seen rows of both.
    """
    from recprune.artifact import read_artifact
    from recprune.models import ranker_of

    artifact = read_artifact(model)
    data, rule = again.split_data(artifact), rule_of(artifact)
    if rule is not None and not rule.deals_as(data.split_rule):
        data = data.come_apart()
    return ranker_of(artifact), data


def open_part(artifact: Artifact, again: Again, part: str) -> Dataset | Split:
    """Return the table split as when the model was trained, or all of its rows as one part."""
    if part not in ("test", "all"):
        raise ParameterError.of("--part", "recprune", "test or all", part)
    return again.read(artifact).all_rows() if part == "all" else again.split_data(artifact)
