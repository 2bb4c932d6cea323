"""The main job: train, rank, prune, prove, recommend, report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune import __version__
from recprune._support import logger, plain
from recprune.artifact import Artifact, folder_written_whole
from recprune.data import Dataset, Split
from recprune.data.checks import check_dataset
from recprune.data.quality import refuse_grave
from recprune.evaluation import Verdict, row_facts
from recprune.executor import Executor
from recprune.metrics import calibration_curve
from recprune.models import Ranker
from recprune.pipeline.asked_fields import refuse_fields
from recprune.pipeline.attributes import attribute_groups
from recprune.pipeline.beside import beside_the_search
from recprune.pipeline.config import RunConfig
from recprune.pipeline.judgement import bare_verdict, final_verdict
from recprune.pipeline.lists import Lists, rank_test_users
from recprune.pipeline.membership import membership_facts
from recprune.pipeline.procedures import one_worker_on_disk
from recprune.pipeline.pruned import means_of
from recprune.pipeline.run_folder import checkpoint_beside, epochs_of, fitted, write_training
from recprune.pipeline.saving import ship
from recprune.pipeline.scoring import latencies
from recprune.pipeline.search_result import Search
from recprune.pipeline.searching import Means, find_small
from recprune.pipeline.techniques import techniques
from recprune.pipeline.yardsticks import yardsticks
from recprune.report import model_card, write_report
from recprune.runtime import Scorer

__all__ = ["prune_to_budget", "run"]


@dataclass(frozen=True, eq=False)
class _Scored:
    """One model as it ships: its artefact's scorer and what it says of the test rows."""

    model: Ranker
    artifact: Artifact
    scorer: Scorer
    bytes: int
    test: Split
    logits: NDArray[np.float32]

    @property
    def probability(self) -> NDArray[np.float32]:
        return np.asarray(1 / (1 + np.exp(-self.logits.astype(np.float64))), np.float32)


def run(
    data: Dataset,
    out: str | Path,
    config: RunConfig | None = None,
    *,
    name: str = "",
    command: str = "",
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Do the whole job on a split data set and write the run folder, whole or not at all.

    The folder is the pruned model's artefact, with ``full/`` (the full model's), ``users.rp/``,
    ``report.html``, ``report.json``, ``README.md`` (the model card), ``plots/``, and the full
    model's ``run.toml``, ``run.json`` and ``history.parquet``. Stopped and started again, training
    the full model, or the search, goes on where it was.

    Args:
        data: with splits; see :meth:`recprune.Dataset.split`. Test rows are used once, at the end.
        out: folder to write; a former run there is replaced, anything else is refused.
        config: settings; the default is ``RunConfig()``.
        name: of the data set, for the report.
        command: that repeats the run, for the report.
        executor: where models are trained that do not follow from each other: those that a search
            finishes, and what the report shows beside it. None = one after another.

    Returns:
        The report: what ``report.json`` holds.

    Raises:
        DataError: ``config.strict`` is set and the table has a warning or an error.
        ParameterError: ``config`` asks for fields that the table does not have; or workers, and rows
            that are on disk.
        BudgetError: no model keeps ``config.budget``. Nothing is written, and what was trained and
            tried is kept for another budget.
    """
    config, start = config or RunConfig(), time.perf_counter()
    refuse_fields(config, data.schema.names)
    one_worker_on_disk(executor or Executor(), data, "run")
    findings = check_dataset(data)
    if config.strict:
        refuse_grave(findings)
    with checkpoint_beside(out) as checkpoint, folder_written_whole(Path(out)) as folder:
        means = means_of(config, checkpoint.parent / "trials", executor)
        full = fitted(config, data, checkpoint)
        job = _Job(full, epochs_of(full), data, config, means)
        return _pruned(job, folder, _About(str(out), name, command, findings, start))


def prune_to_budget(
    full: Ranker,
    data: Dataset,
    out: str | Path,
    config: RunConfig,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    name: str = "",
    command: str = "",
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Prune a trained model to a budget, and write what :func:`run` writes of it.

    The folder lacks what only the main job has: yardsticks are there, techniques and baselines as
    the configuration asks for them. Stopped and started again, the search goes on where it was.

    Args:
        full: fitted ranker.
        data: split as it was trained on. Test rows are used once, if the budget is met.
        out: folder to write; a former run there is replaced, anything else is refused.
        config: settings, the budget among them.
        history: the epochs of the full model's training, as ``history.parquet`` holds them.
        name, command, executor: see :func:`run`.

    Raises:
        BudgetError: no model keeps the budget. Nothing is written, and what was tried is kept for
            another budget.
    """
    start = time.perf_counter()
    refuse_fields(config, full.encoder.schema.names)
    findings = check_dataset(data)
    with checkpoint_beside(out) as checkpoint, folder_written_whole(Path(out)) as folder:
        means = means_of(config, checkpoint.parent / "trials", executor)
        job = _Job(full, history, data, config, means)
        return _pruned(job, folder, _About(str(out), name, command, findings, start))


@dataclass(frozen=True, eq=False)
class _Job:
    """What is pruned, and by what."""

    full: Ranker
    history: Sequence[Mapping[str, Any]]
    data: Dataset
    config: RunConfig
    means: Means


@dataclass(frozen=True, eq=False)
class _About:
    """What the report says of the run itself."""

    out: str
    name: str
    command: str
    findings: tuple[Any, ...]
    start: float


def _pruned(job: _Job, folder: Path, about: _About) -> dict[str, Any]:
    """Search, judge, and write the folder; return the report."""
    full, data, config = job.full, job.data, job.config
    found = find_small(full, data, config, job.means)
    found.refuse_unmet()
    small = found.small
    rivals = (
        techniques(
            found.reference,
            found.ranking,
            data,
            found.tuning,
            small,
            config.seed,
        )
        if config.techniques
        else []
    )
    beside = beside_the_search(full, found, data, config, job.means.executor)
    # From here on the test rows are open: nothing below changes a model.
    scored = {
        "full": _shipped(folder / "full", found.reference, data),
        "pruned": _shipped(folder, small.model, data),
    }
    if data.users is not None:
        data.users.save(folder / "users.rp")
    references = yardsticks(data, config)
    decision = final_verdict(
        data,
        scored["full"].logits,
        scored["pruned"].logits,
        config,
        references,
        (folder / "model.safetensors").read_bytes(),
    )
    lists = {k: rank_test_users(s.scorer, s.logits, data, config) for k, s in scored.items()}
    report = {
        "recprune": __version__,
        "seed": config.seed,
        "seconds": round(time.perf_counter() - about.start, 1),
        "command": about.command,
        "dataset": _dataset_facts(data, about.name),
        "verdict": decision.to_json(),
        **_model_facts(scored, data, lists),
        **_search_facts(job, found),
        **beside,
        "techniques": _technique_facts(rivals, found, scored, decision, data, config),
        "yardsticks": references,
        **_score_facts(scored),
        "recommendations": attribute_groups(
            data, {k: s.probability for k, s in scored.items()}, lists["pruned"].shown
        ),
        "membership": membership_facts(data, {k: s.model for k, s in scored.items()}, config.seed),
        "findings": [f.to_json() for f in about.findings],
        "history": {"full": list(job.history)},
        "config": config.model_dump(mode="json"),
    }
    report["compression"] = scored["full"].bytes / scored["pruned"].bytes
    report["report"] = str(Path(about.out) / "report.html")
    report = {key: plain(value) for key, value in report.items()}
    write_training(folder, full, data, config)
    (folder / "README.md").write_text(model_card(report), encoding="utf-8")
    write_report(folder, report)
    (folder / "report.json").write_text(_dumps(report), encoding="utf-8")
    return report


def _shipped(folder: Path, model: Ranker, data: Dataset) -> _Scored:
    """Write the artefact and score the test rows with it: what is judged is what is shipped."""
    artifact, size = ship(folder, model, data)
    scorer, test = Scorer(artifact), model.aligned(data.test)
    logger.info("%s: %d bytes", folder.name, size)
    return _Scored(model, artifact, scorer, size, test, scorer.logits(test.rows))


def _dataset_facts(data: Dataset, name: str) -> dict[str, Any]:
    parts = {"train": data.train, "tune": data.tune, "gate": data.gate, "test": data.test}
    users = data.test.users
    return {
        "name": name,
        "label": data.schema.label,
        "rows": {k: len(s.rows) for k, s in parts.items()},
        "label_rate": {k: float(s.label.mean()) for k, s in parts.items()},
        "users": len(np.unique(users)) if users is not None else None,
        "items": len(data.items) if data.items is not None else None,
        "fields": len(data.schema.fields),
        "split": data.split_by,
    }


def _model_facts(
    scored: Mapping[str, _Scored], data: Dataset, lists: Mapping[str, Lists]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    times = latencies([(s.scorer, s.test.rows) for s in scored.values()])
    for (key, s), latency in zip(scored.items(), times, strict=True):
        metrics = row_facts(s.logits, data.test.label, s.artifact.meta["threshold"])
        out[key] = {
            "latency_us": latency,
            "metrics": {**metrics, **lists[key].metrics},
            "bytes": s.bytes,
            "params": s.model.params,
        }
    return out


def _search_facts(job: _Job, found: Search) -> dict[str, Any]:
    kept, ranking = found.small.model.encoder.schema.names, found.ranking
    data, sensitive = job.data, job.data.sensitive
    return {
        "fields": {
            "kept": list(kept),
            "dropped": [f for f in data.schema.names if f not in kept],
            "sensitive": {
                "kept": [f for f in sensitive if f in kept],
                "dropped": [f for f in sensitive if f not in kept],
            },
        },
        "importance": [
            {
                "field": field,
                "method": ranking.method,
                "score": score,
                "std": std,
                "kept": field in kept,
                "sensitive": field in sensitive,
            }
            for field, score, std in zip(ranking.fields, ranking.scores, ranking.std, strict=True)
        ],
        "search": found.to_json(sum(epoch["seconds"] for epoch in job.history)),
    }


def _technique_facts(
    rivals: list[Any],
    found: Search,
    scored: Mapping[str, _Scored],
    decision: Verdict,
    data: Dataset,
    config: RunConfig,
) -> list[dict[str, Any]]:
    full, pruned = scored["full"], scored["pruned"]
    out = []
    for rival in rivals:
        test, scorer = rival.model.aligned(data.test), Scorer(rival.model.artifact())
        logits = scorer.logits(test.rows)
        against = bare_verdict(data, full.logits, logits, config)
        out.append(
            _technique(rival.name, rival.bytes, logits, against, data)
            | {
                "latency_us": latencies([(scorer, test.rows)])[0],
                "seconds": round(rival.seconds, 1),
                "cuts": rival.cuts,
            }
        )
    if rivals:
        combined = _technique("combination", pruned.bytes, pruned.logits, decision, data)
        cuts = "; ".join(c.label for c in found.candidates[1 : found.chosen + 1])
        out.append(
            combined
            | {
                "latency_us": latencies([(pruned.scorer, pruned.test.rows)])[0],
                "seconds": None,
                "cuts": cuts,
            }
        )
    return out


def _technique(
    name: str, size: int, logits: NDArray[np.float32], against: Verdict, data: Dataset
) -> dict[str, Any]:
    metrics = row_facts(logits, data.test.label, 0.5)
    return {
        "technique": name,
        "bytes": size,
        "auc": metrics["auc"],
        "logloss": metrics["logloss"],
        "difference": against.difference,
        "ci": list(against.ci),
        "outcome": against.outcome,
    }


def _score_facts(scored: Mapping[str, _Scored]) -> dict[str, Any]:
    edges = np.linspace(0, 1, 41)
    histogram: dict[str, Any] = {"edges": edges}
    curves = {}
    for key, s in scored.items():
        label, probability = s.test.label, s.probability
        histogram[key] = {
            "positive": np.histogram(probability[label == 1], edges)[0],
            "negative": np.histogram(probability[label == 0], edges)[0],
        }
        curve = calibration_curve(label, probability)
        curves[key] = dict(zip(("predicted", "rate", "count"), curve, strict=True))
    return {"score_histogram": histogram, "calibration": curves}


def _dumps(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"
