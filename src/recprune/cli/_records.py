"""The options by which verbs read a table: for the first time, or again for a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recprune.cli._opening import Again, open_model, open_part
from recprune.cli._options import (
    Address,
    Config,
    Drop,
    EngineName,
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
    SplitAgain,
    Sql,
    SqlUrlFile,
    TableOrSql,
    Time,
    User,
    Workers,
    chosen_negatives,
    chosen_rows,
    read_config,
    read_data,
)
from recprune.errors import InputError

if TYPE_CHECKING:
    from recprune.artifact import Artifact
    from recprune.data import Dataset
    from recprune.data import Split as DataSplit
    from recprune.data.bad_rows import BadRows
    from recprune.executor import Executor
    from recprune.models import Ranker
    from recprune.pipeline import RunConfig

__all__ = ["AsTrainedOn", "Job", "Ready", "Rows", "Stated", "Trained", "Workplace"]


@dataclass(frozen=True)
class Workplace:
    """Where parts of the work run that do not follow from each other."""

    workers: Workers = 1
    engine: EngineName = "processes"
    address: Address = None

    @property
    def moved(self) -> tuple[str, ...]:
        """The options that were typed."""
        typed = {
            "--workers": self.workers > 1,
            "--engine": self.engine != "processes",
            "--address": self.address is not None,
        }
        return tuple(option for option, value in typed.items() if value)

    def executor(self) -> Executor:
        """Return the executor; used in a ``with`` block, it starts or joins Ray once."""
        from recprune.executor import Executor

        if self.engine == "ray" and self.address is None:
            raise InputError(
                "--engine ray needs --address: local (an instance of our own, for this command "
                "alone), or the host:port of a cluster that runs."
            )
        if self.engine != "ray" and self.address is not None:
            raise InputError("--address goes with --engine ray, which is not given.")
        # A wrong word is refused by the record itself.
        return Executor(self.workers, engine=self.engine, address=self.address)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """Which rows are read, where the verb itself takes the table."""

    on_bad_rows: OnBadRows = None
    sql: Sql = None
    sql_url_file: SqlUrlFile = None

    def rows_of(self, table: Path | None, otherwise: str) -> tuple[Path | Query, BadRows]:
        """Return the table or the query, and what collects its bad rows.

        Args:
            table: as typed; None = not given.
            otherwise: what becomes of bad rows where ``--on-bad-rows`` is not given.
        """
        return chosen_rows(table, self.sql, self.sql_url_file, self.on_bad_rows or otherwise)


@dataclass(frozen=True)
class Rows(Source):
    """Which rows are read."""

    table: TableOrSql = None

    def chosen(self, otherwise: str = "error") -> tuple[Path | Query, BadRows]:
        """Return the table or the query, and what collects its bad rows; see :meth:`rows_of`."""
        return self.rows_of(self.table, otherwise)


@dataclass(frozen=True)
class AsTrained:
    """How rows are read again as when a model was trained."""

    drop: Drop = None
    schema: Schema = None
    split: SplitAgain = None
    seed: Seed = None

    def again(self, rows: Path | Query, bad: BadRows) -> Again:
        """Return how a table or a query is read."""
        return Again(rows, self.drop, self.schema, self.split, self.seed, bad)


@dataclass(frozen=True)
class AsTrainedOn(AsTrained, Source):
    """The same, where the verb itself takes the table."""


@dataclass(frozen=True)
class Trained(AsTrained, Rows):
    """The rows that a saved model is used on, split as when it was trained."""

    def opened(self, model: Path) -> tuple[Ranker, Dataset, BadRows]:
        """Return the model to train on, and the table that it belongs to."""
        rows, bad = self.chosen()
        return *open_model(model, self.again(rows, bad)), bad

    def table_of(self, artifact: Artifact, part: str) -> tuple[Dataset | DataSplit, BadRows]:
        """Return the table of a saved model, split as when it was trained; or all of its rows."""
        rows, bad = self.chosen()
        return open_part(artifact, self.again(rows, bad), part), bad


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
