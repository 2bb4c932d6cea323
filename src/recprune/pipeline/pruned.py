"""Prune to given shares, or to a budget: what ``recprune.prune`` and ``recprune.search`` do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recprune._support import require
from recprune.data import Dataset
from recprune.errors import ParameterError, nearest
from recprune.executor import Executor
from recprune.models import Ranker
from recprune.pipeline.asked_fields import refuse_fields
from recprune.pipeline.budget import Budget
from recprune.pipeline.config import RunConfig
from recprune.pipeline.host_profile import HostProfile
from recprune.pipeline.search_result import Search
from recprune.pipeline.searching import Means, find_small
from recprune.pipeline.trial import Scale
from recprune.pipeline.trial_store import TrialStore
from recprune.pruning import prune as prune_to_shares
from recprune.pruning.planning import Keep

__all__ = ["SEARCH_SETTINGS", "means_of", "prune", "search"]

#: Settings that a search of a trained model has.
SEARCH_SETTINGS = (
    *("budget", "tolerance", "seed", "tuning_epochs", "importance", "groups", "keep_fields"),
    *("protect", "force", "sampler", "search_trials", "search_seconds", "profile"),
)


def prune(
    model: Ranker,
    data: Dataset,
    keep: Keep | None = None,
    methods: Mapping[str, str] | None = None,
    *,
    budget: Budget | str | None = None,
    **options: Any,
) -> Ranker:
    """Prune a fitted ranker: to shares or counts of its units, or to a budget.

    Args:
        model: fitted ranker; unchanged.
        data: a split data set.
        keep: what to keep, by kind of unit; ``{"rows": 0.25, "neurons": 0.5}``.
        methods: with ``keep``: kind of unit → importance method.
        budget: what the pruned model may take and cost, as a :class:`Budget` or in words
            (``"bytes=200kB,max_drop.auc=0.002"``); see :func:`search`.
        options: with ``keep``, those of :func:`recprune.pruning.prune` (``rounds``, ``epochs``,
            ``distil``, ``seed``); with ``budget``, those of :func:`search`.

    Returns:
        A smaller ranker; ``.plan`` says what it kept of the model it came from. One that keeps a
        budget is encoded.

    Raises:
        ParameterError: both or neither of ``keep`` and ``budget``, or an option out of range.
        PlanError: the model has none of a kind of unit.
        BudgetError: no model keeps the budget; the error says what could be had.
    """
    if (keep is None) == (budget is None):
        raise ParameterError("prune takes either 'keep' or 'budget'. Give one of them.")
    if keep is not None:
        return prune_to_shares(model, data, keep, methods, **options)
    if methods is not None:
        raise ParameterError("The 'methods' of prune go with 'keep', not with 'budget'.")
    found = search(model, data, budget, **options)
    found.refuse_unmet()
    return found.small.model


def search(
    full: Ranker,
    data: Dataset,
    budget: Budget | str | None = None,
    *,
    storage: str | Path | None = None,
    profile: HostProfile | str | Path | None = None,
    executor: Executor | None = None,
    **settings: Any,
) -> Search:
    """Search the best model that keeps a budget; see :func:`recprune.pipeline.searching.find_small`.

    The tune rows tell what cuts cost, the gate rows decide; test rows are not read.

    Args:
        full: fitted ranker; unchanged.
        data: a split data set.
        budget: what the model may take and cost; None = as few bytes as a drop of 0.002 AUC allows.
        storage: folder that keeps trials; a search that was killed goes on from it. None = none is
            kept.
        profile: of the host that shall serve the model, or its file; None = of this one, measured
            when it is first asked for.
        executor: where models are fine-tuned; the result is the same for any number of workers.
        settings: others of :class:`RunConfig`, by name: :data:`SEARCH_SETTINGS`.

    Returns:
        Every trial, the front, the chosen model, and why; ``met`` says whether it keeps the budget.

    Raises:
        ParameterError: a setting that there is not, or out of range.
        InputError: a profile that cannot be read.
    """
    for name in settings:
        if name not in SEARCH_SETTINGS:
            raise ParameterError(
                f"A search has no setting {name!r}.{nearest(name, SEARCH_SETTINGS)}"
            )
    if profile is not None and not isinstance(profile, HostProfile):
        profile = HostProfile.read(profile)
    config = RunConfig.of(**settings, **({} if budget is None else {"budget": budget}))
    refuse_fields(config, full.encoder.schema.names)
    means = means_of(config, storage, executor, profile)
    return find_small(full, data, config, means)


def means_of(
    config: RunConfig,
    storage: str | Path | None,
    executor: Executor | None = None,
    profile: HostProfile | None = None,
) -> Means:
    """Return with what a search works, by a configuration; see :func:`search`.

    Raises:
        InputError: a profile that cannot be read.
        MissingExtra: cuts are to be drawn, and Optuna is not installed.
    """
    if config.sampler == "optuna":
        require("optuna", "search")
    if profile is None:
        file = config.profile
        profile = HostProfile.of_this_host() if file is None else HostProfile.read(file)
    return Means(
        scale=Scale(profile, config.limits.latency_rows),
        store=TrialStore(None if storage is None else Path(storage)),
        executor=executor or Executor(),
    )
