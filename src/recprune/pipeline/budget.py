"""What a pruned model may take, and what it may cost in quality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from recprune._support import byte_count
from recprune.errors import ParameterError, nearest
from recprune.evaluation.paired import Metric

__all__ = ["Budget", "Sizes"]

#: Rows of an answer whose latency a budget may limit.
AnswerRows = Literal[1, 1000]


class Sizes(NamedTuple):
    """What a model takes, or may take: bytes as stored, microseconds of an answer, weights.

    As a limit, infinity means none.
    """

    bytes: float = math.inf
    latency_us: float = math.inf
    params: float = math.inf

    def within(self, limit: Sizes) -> bool:
        """Return whether no limit is passed.

        >>> Sizes(900, 3.0, 200).within(Sizes(bytes=1000)), Sizes(900, 3.0).within(Sizes(800))
        (True, False)
        """
        # What is not known, NaN, keeps no limit.
        return all(most == math.inf or got <= most for got, most in zip(self, limit, strict=True))

    def ratios(self, other: Sizes) -> tuple[float, float, float]:
        """Return the logarithms of how many times larger each is than the other's; 0 where no limit is.

        >>> [round(r, 2) for r in Sizes(200, 3.0, 50).ratios(Sizes(bytes=100))]
        [0.69, 0.0, 0.0]
        """
        return tuple(  # type: ignore[return-value]
            math.log(a / b) if 0 < a < math.inf and 0 < b < math.inf else 0.0
            for a, b in zip(self, other, strict=True)
        )

    def to_json(self) -> dict[str, float | None]:
        """Return the sizes by name; None = no limit."""
        return {n: v if math.isfinite(v) else None for n, v in self._asdict().items()}


@dataclass(frozen=True)
class Budget:
    """The most that a pruned model may take, and the largest drop that it may cost.

    Args:
        bytes: as stored: weights, kept indices and vocabulary. A number, or a text such as
            ``"2 MB"``; None = as few as quality allows.
        latency_us: microseconds of an answer of the runtime on one thread, as the host's profile
            foretells it (:class:`recprune.pipeline.host_profile.HostProfile`).
        params: weights.
        max_drop: metric (``"auc"``, ``"logloss"``, ``"accuracy"``) → largest drop that passes, a
            float in (0, 0.5). The AUC is always judged: where it is not given, with the tolerance.
        latency_rows: rows of that answer: 1000, as of a request that ranks so many candidates, or 1.

    Raises:
        ParameterError: a limit that is none, or another metric.

    >>> Budget(bytes="200kB", max_drop={"auc": 0.001}).limit.bytes
    200000
    """

    bytes: int | str | None = None
    latency_us: float | None = None
    params: int | None = None
    max_drop: Mapping[Metric, float] = field(default_factory=dict)
    latency_rows: AnswerRows = 1000

    def __post_init__(self) -> None:
        if self.bytes is not None:
            object.__setattr__(self, "bytes", byte_count(self.bytes, "Budget"))
        for name, kinds in (("latency_us", (int, float)), ("params", (int, np.integer))):
            value = getattr(self, name)
            if value is not None and not (_is(value, kinds) and 0 < value < math.inf):
                constraint = "a whole number > 0" if name == "params" else "a number > 0"
                raise ParameterError.of(name, "Budget", constraint, value)
        if not _is(self.latency_rows, (int,)) or self.latency_rows not in get_args(AnswerRows):
            raise ParameterError.of("latency_rows", "Budget", "1 or 1000", self.latency_rows)
        if not isinstance(self.max_drop, Mapping):
            raise ParameterError.of("max_drop", "Budget", "a dict of metrics", self.max_drop)
        for name, drop in self.max_drop.items():
            if name not in get_args(Metric):
                known = nearest(str(name), get_args(Metric))
                raise ParameterError(f"A budget has no drop of {name!r}.{known}")
            if not (_is(drop, (int, float)) and 0 < drop < 0.5):
                constraint = "a float in (0, 0.5)"
                raise ParameterError.of(f"max_drop.{name}", "Budget", constraint, drop)
        object.__setattr__(self, "max_drop", dict(self.max_drop))

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``bytes=200kB,latency_us=50,max_drop.auc=0.002``.

        Raises:
            ParameterError: a word that is no limit, or no value.

        >>> Budget.parse("params=5000, max_drop.logloss=0.001").max_drop
        {'logloss': 0.001}
        """
        given: dict[str, Any] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            name, equals, value = (each.strip() for each in part.partition("="))
            if not equals or not value:
                raise ParameterError.of("budget", "recprune", "name=value, as bytes=200kB", part)
            if name in given:
                raise ParameterError(f"The budget names {name!r} twice. Leave one out.")
            _known(name)
            given[name] = value if name == "bytes" else _number(name, value)
        return cls.of(given)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Budget:
        """Return the budget of a mapping: limits by name, drops as ``max_drop`` or ``max_drop.auc``."""
        limits = {n: v for n, v in given.items() if not n.startswith("max_drop.") and v is not None}
        drops = {n.removeprefix("max_drop."): given[n] for n in given if n.startswith("max_drop.")}
        for name in limits:
            _known(name)
        if _is(limits.get("max_drop"), (int, float)):  # of the metric that always counts
            limits["max_drop"] = {"auc": limits["max_drop"]}
        if drops and isinstance(limits.get("max_drop", {}), Mapping):
            limits["max_drop"] = {**limits.get("max_drop", {}), **drops}
        return cls(**limits)

    @property
    def limit(self) -> Sizes:
        """The sizes that are limited."""
        given = (self.bytes, self.latency_us, self.params)
        return Sizes(*(math.inf if value is None else value for value in given))  # type: ignore[arg-type]

    @property
    def limited(self) -> bool:
        """Whether any size is."""
        return self.limit != Sizes()

    def excess(self, sizes: Sizes) -> float:
        """Return the logarithm of how far sizes pass the limits at worst; bytes' where there are none.

        >>> round(Budget(bytes=100, params=50).excess(Sizes(200, 1.0, 40)), 2)
        0.69
        """
        return max(sizes.ratios(self.limit)) if self.limited else math.log(sizes.bytes)

    def to_json(self) -> dict[str, Any]:
        """Return all limits by name."""
        known = self.limit.to_json()
        return {**known, "max_drop": dict(self.max_drop), "latency_rows": self.latency_rows}

    def __str__(self) -> str:
        words = [f"{name} ≤ {value:,.6g}" for name, value in self.limit.to_json().items() if value]
        return ", ".join([*words, *(f"{n} drop ≤ {d:g}" for n, d in self.max_drop.items())])


def _known(name: str) -> None:
    """Refuse a name that is no limit."""
    if name not in Budget.__dataclass_fields__ and not name.startswith("max_drop."):
        limits = [n for n in Budget.__dataclass_fields__ if n != "max_drop"]
        raise ParameterError(
            f"A budget has no limit {name!r}.{nearest(name, [*limits, 'max_drop.auc'])}"
        )


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _number(name: str, value: str) -> float | int:
    try:
        return int(value) if name in ("params", "latency_rows") else float(value)
    except ValueError:
        raise ParameterError.of(name, "Budget", "a number", value) from None
