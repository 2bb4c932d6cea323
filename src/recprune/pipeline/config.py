"""The configuration of a run: one frozen model, read and written as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recprune.errors import ParameterError, nearest
from recprune.models import Penalty, Training

__all__ = ["RunConfig"]

Positive = Annotated[int, Field(ge=1)]
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RunConfig(BaseModel):
    """Settings of the main job; every one has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    """Of everything that is drawn: the split, the weights, shuffles and resamples."""
    split: str = "auto"
    """How rows are split: auto, time, user, last-n (as last-1), random or stratified."""
    strict: bool = False
    """Whether a warning or an error that the table's checks find ends the run before it trains."""
    dim: Positive = 16
    """Dims of every field's embedding in the full model."""
    hidden: tuple[Positive, ...] = (128, 64)
    """Neurons of each hidden layer of the full model."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden activations dropped while training."""
    epochs: Positive = 30
    """Most epochs of training; early stopping usually ends it sooner."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Of the hidden layers; tables learn three times as fast."""
    unknown_rate: Strength = 50.0
    """k in k / (k + count), the chance that training reads a value as unknown."""
    l1: Strength = 0.0
    """L1 penalty while training."""
    l2: Strength = 0.3
    """L2 penalty while training, as decoupled weight decay."""
    tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.002
    """Largest drop of AUC that passes; fixed before the test rows are opened."""
    tuning_epochs: Positive = 2
    """Most epochs of fine-tuning after each cut."""
    importance: str = "permutation"
    """How fields are ranked."""
    keep_fields: float | int | None = None
    """Share or count of fields to keep; none = chosen automatically on the gate rows."""
    protect: tuple[str, ...] = ()
    """Fields that stay in any case."""
    techniques: bool = True
    """Whether to compare single techniques at equal bytes."""
    ranking_users: Positive = 200
    """Most test users whose full catalogue is ranked."""

    def training(self) -> Training:
        """Return the options of training the full model."""
        return Training(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            penalty=Penalty(l1=self.l1, l2=self.l2),
            unknown_rate=self.unknown_rate,
        )

    @classmethod
    def of(cls, **settings: Any) -> RunConfig:
        """Build a configuration; an unknown or bad setting is a ParameterError that names it."""
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                hint = nearest(name, cls.model_fields)
                raise ParameterError(f"There is no setting {name!r}.{hint}") from error
            raise ParameterError(
                f"The {name!r} setting is wrong: {first['msg'].lower()}. "
                f"Got {first['input']!r} instead."
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
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
        return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return repr(value)
