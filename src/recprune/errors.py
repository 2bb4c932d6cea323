"""Every error that recprune raises on purpose.

::

    RecpruneError
    ├── InputError (ValueError)      bad usage or bad input; exit code 2
    │   ├── ParameterError           a value outside what a parameter allows
    │   ├── DataError                a table that cannot be used as given
    │   ├── SchemaError              a schema that contradicts itself or its table
    │   ├── PlanError                a pruning plan that does not fit its layout
    │   └── ArtifactError            a folder that is not a sound artefact
    └── RunError (RuntimeError)      the run itself failed; exit code 1
        ├── TrainingError            the loss stopped being a number, or exploded
        ├── MissingExtra             an optional dependency is not installed; exit code 2
        ├── GapError                 a stream no longer has the events that come next
        └── BudgetError              no model keeps the budget; exit code 3

    RecpruneWarning (UserWarning)    something the user should know and can act on
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "ArtifactError",
    "BudgetError",
    "DataError",
    "GapError",
    "InputError",
    "MissingExtra",
    "ParameterError",
    "PlanError",
    "RecpruneError",
    "RecpruneWarning",
    "RunError",
    "SchemaError",
    "TrainingError",
    "nearest",
]


class RecpruneError(Exception):
    """Base of all errors below; catch this to catch everything recprune raises on purpose."""

    exit_code = 1


class InputError(RecpruneError, ValueError):
    """Bad usage or bad input."""

    exit_code = 2


class ParameterError(InputError):
    """A parameter got a value that it does not allow."""

    @classmethod
    def of(cls, parameter: str, owner: str, constraint: str, got: object) -> ParameterError:
        """Word the error in one grammar: parameter, owner, constraint, value got.

        >>> print(ParameterError.of("keep_ratio", "prune", "a float in (0, 1]", 1.5))
        The 'keep_ratio' parameter of prune must be a float in (0, 1]. Got 1.5 instead.
        """
        return cls(
            f"The {parameter!r} parameter of {owner} must be {constraint}. Got {got!r} instead."
        )


class DataError(InputError):
    """A table cannot be used as it is."""


class SchemaError(InputError):
    """A schema contradicts itself or the table it describes."""


class PlanError(InputError):
    """A plan names axes or units that its layout does not have, or cuts below a floor."""


class ArtifactError(InputError):
    """A folder is not a sound recprune artefact."""


class RunError(RecpruneError, RuntimeError):
    """A run failed for a reason other than its input."""


class TrainingError(RunError):
    """Training cannot go on.

    Args:
        message: what happened, where, and what to do.
        rows: positions of the rows at fault among the training rows.
    """

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class MissingExtra(RunError):
    """An optional dependency is needed and not installed."""

    exit_code = 2


class GapError(RunError):
    """A stream no longer has the events that come next, or not as they were.

    Args:
        partition: of the stream.
        missing: which events, in the source's words.
        why: what happened, and what to do.
    """

    def __init__(self, partition: str, missing: str, why: str) -> None:
        super().__init__(f"Partition {partition!r} has a gap: {missing}. {why}")
        self.partition, self.missing = partition, missing


class BudgetError(RunError):
    """No model that was tried keeps the budget.

    Args:
        message: what was asked for, and what could be had instead.
        nearest: what could be had, as records: ``label``, ``bytes``, ``latency_us``, ``params``,
            ``difference`` and ``outcome`` on gate rows.
    """

    exit_code = 3

    def __init__(self, message: str, nearest: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.nearest = tuple(nearest)


class RecpruneWarning(UserWarning):
    """Something the user should know and can act on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known name, or the known names.

    >>> nearest("lable", ["label", "user_id"])
    " Did you mean 'label'?"
    >>> nearest("zzz", ["label", "user_id"])
    " Known: 'label', 'user_id'."
    """
    known = list(known)
    folded = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {folded[close[0]]!r}?"
    shown = ", ".join(repr(k) for k in known[:12])
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f" Known: {shown}{more}." if known else ""
