"""The configuration of a run: one frozen model, read and written as TOML."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recprune.errors import ParameterError, nearest
from recprune.importance import METHODS
from recprune.models import RANKERS, Hidden, Penalty, Ranker, Schedule, Training
from recprune.models.device import Device, Precision
from recprune.pipeline.budget import Budget

__all__ = ["RunConfig", "toml_value"]

Positive = Annotated[int, Field(ge=1)]
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RunConfig(BaseModel):
    """Settings of training and of the main job; every one has a default.

    Those from ``label`` to ``on_bad_rows`` say how the program reads a table. From Python a data set
    is read already, and they are left open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    label: str | None = None
    """Column to predict."""
    label_threshold: float | None = None
    """From this value up the label is 1, as for ratings."""
    negatives: Literal["popularity", "uniform"] | None = None
    """For rows that are all 1: how items that the user did not take are drawn."""
    negatives_per_positive: Positive | None = None
    """How many for each item taken; none = 4."""
    user: str | None = None
    """Column of user ids."""
    item: str | None = None
    """Column of item ids."""
    time: str | None = None
    """Column that orders the rows in time."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    schema_file: str | None = None
    """File of stated fields (schema.toml)."""
    on_bad_rows: Literal["error", "skip"] = "error"
    """What becomes of rows of CSV and TSV that cannot be read."""
    seed: int = 0
    """Of everything that is drawn: the split, the weights, shuffles and resamples."""
    split: str = "auto"
    """How rows are split: auto, time, user, last-n (as last-1), random or stratified."""
    strict: bool = False
    """Whether a warning or an error that the table's checks find ends the run before it trains."""
    model: str = "DeepFM"
    """Class of the full model: one of :data:`recprune.models.RANKERS`, in any case of letters."""
    dim: Positive = 16
    """Dims of every field's embedding in the full model, where it has such."""
    hidden: tuple[Positive, ...] = (128, 64)
    """Neurons of each hidden layer of the full model, where it has such."""
    batch_norm: bool = False
    """Whether hidden layers normalise their inputs by the batch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden activations dropped while training."""
    options: dict[str, Any] = {}
    """What else the model's class takes, such as ``crosses`` of DCNv2."""
    epochs: Positive | None = None
    """Most epochs of training; early stopping usually ends it sooner; none = as the model's class
    has it: 30 of rankers."""
    batch_size: Positive | None = None
    """Rows a step; none = by the number of rows, 128 to 4,096."""
    patience: Positive | None = None
    """Epochs without a better score before training stops; none = as the class has it: 2 of rankers."""
    metric: str = "auc"
    """Of the held-out rows: which epoch is kept, and when training stops."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Of the hidden layers; tables learn three times as fast."""
    warm_up: int | float = 0
    """Steps, or share of all steps, in which the learning rate rises."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """How the learning rate falls until the last epoch allowed."""
    class_weight: Literal["balanced"] | tuple[float, float] | None = None
    """How much rows of 0 and of 1 count; probabilities move along."""
    precision: Precision = "auto"
    """Of the hidden layers' products: fp32, bf16, or auto: bf16 where the processor is fast at it."""
    device: Device = "auto"
    """Where training computes: cpu, cuda, or auto: CUDA where there is one."""
    unseen_rare: bool = True
    """Whether a value that was never seen, but of users, starts from what the rarest share."""
    unknown_rate: Strength = 50.0
    """k in k / (k + count), the chance that training reads a value as unknown."""
    l1: Strength = 0.0
    """L1 penalty while training."""
    l2: Strength = 0.3
    """L2 penalty while training, as decoupled weight decay."""
    tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.002
    """Largest drop of AUC that passes; fixed before the test rows are opened."""
    budget: Budget | None = None
    """Most that the pruned model may take and cost, as bytes=200kB; none = as small as the tolerance
    lets it be."""
    sampler: Literal["descent", "optuna"] = "descent"
    """How models are found: step by step, each the cheapest that is known, or drawn by Optuna."""
    search_trials: Positive = 40
    """Cuts that Optuna draws."""
    profile: str | None = None
    """File of the host's profile that latencies are foretold by; none = this host's, measured once."""
    search_seconds: Annotated[float, Field(gt=0)] | None = None
    """From when on no more steps down are made, or cuts drawn; what there is is still fine-tuned and
    judged; none = no limit. Where the time runs out, the same seed need not give the same model."""
    tuning_epochs: Positive = 2
    """Most epochs of fine-tuning after each cut."""
    importance: str = "permutation"
    """How fields are ranked."""
    keep_fields: Annotated[float, Field(gt=0, le=1)] | Positive | None = None
    """Share or count of fields to keep; none = chosen automatically on the gate rows."""
    protect: tuple[str, ...] = ()
    """Fields that stay in any case."""
    force: tuple[str, ...] = ()
    """Fields that go in any case; the full model has them still."""
    groups: Literal["schema", "auto", "none"] = "schema"
    """Fields that are ranked as one, and one of them kept: those that the schema groups, also those
    found to tell the same, or none."""
    techniques: bool = True
    """Whether to compare single techniques at equal bytes."""
    baselines: bool = True
    """Whether to train the trivial ways of being small at equal bytes, in their quick form."""
    noise_seeds: Annotated[int, Field(ge=0)] = 3
    """Seeds that the full model is trained with to tell how far a seed moves AUC; 0 or 1 = none."""
    bring_back: bool = True
    """Whether to measure what each thing that was cut would cost and gain if it came back."""
    ranking_users: Positive = 200
    """Most test users whose full catalogue is ranked."""

    @field_validator("model", mode="before")
    @classmethod
    def _known_model(cls, name: Any) -> Any:
        known = {known.casefold(): known for known in RANKERS}
        if isinstance(name, str) and name.casefold() not in known:
            raise ParameterError(f"There is no model {name!r}.{nearest(name, RANKERS)}")
        return known[name.casefold()] if isinstance(name, str) else name

    @field_validator("importance")
    @classmethod
    def _known_method(cls, name: str) -> str:
        able = [method.name for method in METHODS.values() if "field" in method.units]
        if name not in able:
            raise ParameterError(f"There is no way {name!r} to rank fields.{nearest(name, able)}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _one_tolerance(cls, given: Any) -> Any:
        """Read a budget's words or table; its drop of AUC is the tolerance."""
        budget = given.get("budget") if isinstance(given, Mapping) else None
        if isinstance(budget, tuple | list):  # words that the command line took for a list
            budget = ",".join(map(str, budget))
        if isinstance(budget, str):
            budget = Budget.parse(budget)
        elif isinstance(budget, Mapping):
            budget = Budget.of(budget)
        if not isinstance(budget, Budget):
            return given
        drop = budget.max_drop.get("auc")
        tolerance = given.get("tolerance")
        if drop is not None and tolerance is not None and tolerance != drop:
            raise ParameterError(
                f"The budget allows an AUC drop of {drop:g} and the tolerance {tolerance}. Leave one out."
            )
        return {**given, "budget": budget, **({} if drop is None else {"tolerance": drop})}

    @field_validator("protect", "force", "drop", "hidden", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """One name, or one layer's neurons, is a list of one."""
        return (given,) if isinstance(given, str | int) else given

    @field_validator("options")
    @classmethod
    def _plain_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        return {
            n: tuple(v) if isinstance(v, list) else v for n, v in options.items() if v is not None
        }

    @model_validator(mode="after")
    def _makes_a_ranker(self) -> RunConfig:
        self.ranker()
        return self

    def ranker(self) -> Ranker:
        """Return the full model, not fitted yet."""
        kind = RANKERS[self.model]
        common: dict[str, Any] = {
            "dim": self.dim,
            "hidden": Hidden(self.hidden, self.batch_norm, self.dropout),
            "training": self.training(),
            "seed": self.seed,
        }
        takes = inspect.signature(kind).parameters
        own = [name for name in takes if name not in common]
        for name in self.options:
            if name not in own:
                raise ParameterError(f"{self.model} has no option {name!r}.{nearest(name, own)}")
        return kind(**{n: v for n, v in common.items() if n in takes}, **self.options)

    @property
    def limits(self) -> Budget:
        """The budget with the drop of AUC that passes."""
        budget = self.budget or Budget()
        return replace(budget, max_drop={"auc": self.tolerance, **budget.max_drop})

    def training(self) -> Training:
        """Return the options of training the full model."""
        own = RANKERS[self.model]().training
        return Training(
            epochs=self.epochs or own.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            penalty=Penalty(l1=self.l1, l2=self.l2),
            patience=self.patience or own.patience,
            unknown_rate=self.unknown_rate,
            unseen_rare=self.unseen_rare,
            schedule=Schedule(self.warm_up, self.decay),
            metric=self.metric,
            class_weight=self.class_weight,
            precision=self.precision,
            device=self.device,
        )

    @classmethod
    def of(cls, **settings: Any) -> RunConfig:
        """Build a configuration; an unknown or bad setting is a ParameterError that names it."""
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            ours = first.get("ctx", {}).get("error")
            if isinstance(ours, ParameterError):
                raise ours from error
            name = ".".join(str(part) for part in first["loc"][:1])
            if first["type"] == "extra_forbidden":
                hint = nearest(name, cls.model_fields)
                raise ParameterError(f"There is no setting {name!r}.{hint}") from error
            told = [e["msg"].lower() for e in error.errors() if e["loc"][:1] == first["loc"][:1]]
            raise ParameterError(
                f"The {name!r} setting is wrong: {', or '.join(told)}. "
                f"Got {settings.get(name, first['input'])!r} instead."
            ) from error

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> RunConfig:
        """Read a TOML file; ``overrides`` win over it."""
        try:
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ParameterError(
                f"Config {str(path)!r} cannot be read: {error.strerror}."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ParameterError(f"Config {str(path)!r} is not TOML: {error}.") from error
        return cls.of(**{**settings, **overrides})

    def to_toml(self) -> str:
        """Return the configuration as TOML; settings left open are written as comments."""
        lines = []
        for name, value in self.model_dump().items():
            lines.append(f"# {name} =" if value is None else f"{name} = {toml_value(value)}")
        return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML; text keeps what is no ASCII, and escapes what TOML refuses.

    >>> toml_value({"bytes": 200_000, "max_drop": {"auc": 0.002}}), toml_value(("a", True))
    ('{ bytes = 200000, max_drop = { auc = 0.002 } }', '["a", true]')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, which wants one more character escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {toml_value(v)}" for name, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)
