"""Write a model with everything that serving needs: catalogue, threshold, users."""

from __future__ import annotations

from pathlib import Path

from recprune import __version__
from recprune.artifact import Artifact, folder_written_whole, write_artifact
from recprune.catalogue import Catalogue
from recprune.data import Dataset
from recprune.metrics import best_threshold
from recprune.models import Ranker
from recprune.texts import text

__all__ = ["save_model", "ship", "shipped"]


def save_model(model: Ranker, data: Dataset, path: str | Path) -> int:
    """Write a model's artefact, and ``users.rp`` beside its files; return the artefact's bytes."""
    with folder_written_whole(Path(path)) as folder:
        _, size = ship(folder, model, data)
        if data.users is not None:
            data.users.save(folder / "users.rp")
    return size


def ship(folder: Path, model: Ranker, data: Dataset) -> tuple[Artifact, int]:
    """Write a model's artefact into a folder; return it and its bytes.

    The threshold of accuracy, precision and recall is the best F1's on the tune rows.
    """
    folder.mkdir(exist_ok=True)
    artifact = shipped(model, data)
    return artifact, write_artifact(folder, artifact, __version__)


def shipped(model: Ranker, data: Dataset) -> Artifact:
    """Return a model's artefact with its catalogue and its threshold, as :func:`ship` writes it."""
    tune = model.aligned(data.tune)
    threshold = best_threshold(tune.label, model.predict(tune.rows))
    catalogue = {}
    if data.items is not None and data.schema.item is not None:
        columns = {name: data.items[name].to_list() for name in data.items.columns}
        ids = [text(value) for value in columns[data.schema.item]]
        catalogue = Catalogue.build(model.encoder, columns, ids, _defaults(data)).tensors()
    meta = {
        "threshold": float(threshold),
        "labels": data.labels.to_json(),
        "split": data.split_rule.to_json(),
    }
    return model.artifact(catalogue=catalogue, meta=meta)


def _defaults(data: Dataset) -> dict[str, float]:
    if data.users is None:
        return {}
    return {name: v for table in data.users.cross.values() for name, v in table.defaults.items()}
