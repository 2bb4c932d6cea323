"""The fields that a configuration asks for: how many, and which stay or go in any case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recprune.importance import FieldRanking
from recprune.pipeline.config import RunConfig

__all__ = ["asked_fields", "refuse_fields"]


def asked_fields(ranking: FieldRanking, config: RunConfig) -> tuple[str, ...] | None:
    """Return the fields that are kept by ``keep_fields``; None where it is left open.

    Raises:
        ParameterError: more fields than there are, or a name in ``protect`` or ``force`` that is none.
    """
    wanted = config.keep_fields
    if wanted is None:
        return None
    amount = {"count": wanted} if isinstance(wanted, int) else {"ratio": wanted}
    return ranking.keep(**amount, protect=config.protect, force=config.force)


def refuse_fields(config: RunConfig, names: Sequence[str]) -> None:
    """Refuse what fields of these names cannot come to, before any of them is ranked.

    Raises:
        ParameterError: as of :func:`asked_fields`, or all fields are to go.
    """
    nothing = np.zeros(len(names))
    ranking = FieldRanking(tuple(names), nothing, nothing, config.importance)
    ranking.allowed(config.protect, config.force)
    asked_fields(ranking, config)
