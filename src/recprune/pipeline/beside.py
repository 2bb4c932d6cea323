"""What a report shows beside the search: baselines, seed noise, the way back. No test row is read."""

from __future__ import annotations

from typing import Any

from recprune._support import logger
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.models import Ranker
from recprune.pipeline.bringing_back import bring_back
from recprune.pipeline.config import RunConfig
from recprune.pipeline.effort import Effort
from recprune.pipeline.equal_bytes import baselines
from recprune.pipeline.search_result import Search
from recprune.pipeline.seed_noise import seed_noise

__all__ = ["beside_the_search"]


def beside_the_search(
    full: Ranker, found: Search, data: Dataset, config: RunConfig, executor: Executor | None = None
) -> dict[str, Any]:
    """Return the report's ``baselines``, ``seed_noise`` and ``cost_to_bring_back``.

    Each is there as far as its setting asks for it (``baselines``, ``noise_seeds``, ``bring_back``).

    Args:
        full: the full model as it was trained.
        found: what the search chose.
        data: a split data set; its test rows are not read.
        config: of the run.
        executor: where models are trained; None = one after another.
    """
    out: dict[str, Any] = {}
    if config.baselines:
        out["baselines"] = _baselines(found, data, config, executor)
    if config.noise_seeds > 1:
        noise = seed_noise(
            full, data, seeds=config.noise_seeds, seed=config.seed, executor=executor
        )
        out["seed_noise"] = {**noise, "quick": True}
    if config.bring_back:
        out["cost_to_bring_back"] = bring_back(found, data, seed=config.seed, executor=executor)
    return out


def _baselines(
    found: Search, data: Dataset, config: RunConfig, executor: Executor | None
) -> dict[str, Any]:
    """Return the baselines at the chosen model's bytes, in their quick form, on gate rows."""
    small = found.small
    try:
        made = baselines(
            data,
            bytes=small.bytes,
            full=found.reference,
            pruned=small.model,
            rows=data.gate,
            effort=Effort(epochs=config.tuning_epochs),
            draws=1,
            seed=config.seed,
            executor=executor,
        )
    except ParameterError as error:  # none of them is so small
        logger.warning("The report is without baselines: %s", error)
        return {"budget": small.bytes, "models": [], "quick": True, "note": str(error)}
    return {**made.to_json(), "quick": True}
