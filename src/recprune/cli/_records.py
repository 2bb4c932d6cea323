"""The options by which verbs read a table: for the first time, or again for a saved model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recprune.cli._options import (
    Config,
    Drop,
    Item,
    Label,
    LabelThreshold,
    ModelName,
    NegativesBy,
    NegativesPerPositive,
    OnBadRows,
    Query,
    Schema,
    Seed,
    Set,
    Split,
    Sql,
    SqlUrlFile,
    TableOrSql,
    Time,
    User,
    chosen_negatives,
    chosen_rows,
    open_model,
    open_scored,
    read_again,
    read_config,
    read_data,
)
from recprune.errors import InputError, ParameterError

if TYPE_CHECKING:
    from recprune.artifact import Artifact
    from recprune.data import Dataset
    from recprune.data import Split as DataSplit
    from recprune.data.bad_rows import BadRows
    from recprune.models import Ranker
    from recprune.pipeline import RunConfig

__all__ = ["Job", "Ready", "Rows", "Stated", "Trained"]


@dataclass(frozen=True)
class Rows:
    """Which rows are read."""

    table: TableOrSql = None
    on_bad_rows: OnBadRows = None
    sql: Sql = None
    sql_url_file: SqlUrlFile = None

    def chosen(self, otherwise: str = "error") -> tuple[Path | Query, BadRows]:
        """Return the table or the query, and what collects its bad rows.

        Args:
            otherwise: what becomes of bad rows where ``--on-bad-rows`` is not given.
        """
        return chosen_rows(self.table, self.sql, self.sql_url_file, self.on_bad_rows or otherwise)


@dataclass(frozen=True)
class Trained(Rows):
    """The rows that a saved model is used on, split as when it was trained."""

    drop: Drop = None
    schema: Schema = None
    split: Split = None
    seed: Seed = None

    def opened(self, model: Path) -> tuple[Ranker, Dataset, BadRows]:
        """Return the model to train on, and the table that it belongs to."""
        rows, bad = self.chosen()
        return *open_model(model, rows, self.drop, self.schema, self.split, self.seed, bad), bad

    def scored(
        self, models: Sequence[Path], part: str
    ) -> tuple[Artifact, list[Any], Any, Any, BadRows]:
        """Return the last model's artefact, each one's logits, the labels, and the scored rows."""
        rows, bad = self.chosen()
        found = open_scored(models, rows, part, self.drop, self.schema, self.split, self.seed, bad)
        return *found, bad

    def table_of(self, artifact: Artifact, part: str) -> tuple[Dataset | DataSplit, BadRows]:
        """Return the table of a saved model, split as when it was trained; or all of its rows."""
        if part not in ("test", "all"):
            raise ParameterError.of("--part", "recprune", "test or all", part)
        rows, bad = self.chosen()
        data = read_again(artifact, rows, self.drop, self.schema, bad)
        if part == "all":
            return data.all_rows(), bad
        return data.split(by=self.split or "auto", seed=self.seed or 0), bad


@dataclass(frozen=True)
class Stated(Rows):
    """A table, and what is said of its columns."""

    label: Label = None
    label_threshold: LabelThreshold = None
    negatives: NegativesBy = None
    negatives_per_positive: NegativesPerPositive = None
    user: User = None
    item: Item = None
    time: Time = None
    drop: Drop = None
    schema: Schema = None
    split: Split = None
    seed: Seed = None


class Ready(NamedTuple):
    """A configuration and its data, split.

    Its fields: the settings, the split table, what the report calls the rows, and the bad rows.
    """

    config: RunConfig
    data: Dataset
    name: str
    bad: BadRows


@dataclass(frozen=True)
class Job(Stated):
    """A table and settings: what ``run``, ``train`` and ``tune`` begin with."""

    model: ModelName = None
    config: Config = None
    settings: Set = None

    def ready(self, **further: Any) -> Ready:
        """Read the configuration (file, then ``--set``, then options that were given) and the table.

        Args:
            further: settings from a verb's own options; None = not given.
        """
        chosen = read_config(self.config, self.settings, **self._given(), **further)
        rows, bad = self.chosen(chosen.on_bad_rows)
        drawn = chosen_negatives(chosen.negatives, chosen.negatives_per_positive)
        if (
            self.config is not None
            and chosen.schema_file
            and not Path(chosen.schema_file).is_file()
        ):
            raise InputError(
                f"The schema file {chosen.schema_file!r} that {str(self.config)!r} names is not "
                "there. Start from the folder that the run was started from, or name another with "
                "--schema."
            )
        roles = {"user": chosen.user, "item": chosen.item, "time": chosen.time}
        schema = Path(chosen.schema_file) if chosen.schema_file else None
        data = read_data(
            rows, chosen.label, roles, chosen.drop, schema, bad, chosen.label_threshold, drawn
        )
        return Ready(chosen, data.split(by=chosen.split, seed=chosen.seed), rows.name, bad)

    def _given(self) -> dict[str, Any]:
        """Return the settings that have options of their own; None = not given."""
        return {
            "label": self.label,
            "label_threshold": self.label_threshold,
            "negatives": self.negatives,
            "negatives_per_positive": self.negatives_per_positive,
            "user": self.user,
            "item": self.item,
            "time": self.time,
            "drop": self.drop or None,
            "schema_file": None if self.schema is None else str(self.schema),
            "split": self.split,
            "model": self.model,
            "seed": self.seed,
            "on_bad_rows": self.on_bad_rows,
        }
