"""The models that a service is measured with, as folders that it can be started on.

*movielens*: MovieLens 100k (is a rating at least 4?), a DeepFM of the usual size, searched and pruned
by the main job; its catalogue is cut to the 1,000 items that were rated most. Training takes
minutes: what came of it is kept under ``$XDG_CACHE_HOME/recprune/benchmarks`` and used again.
*planted*: the model and the drawn catalogue and users of :mod:`benchmarks.catalogue`, of as many items
as wanted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._parameters_tasks import parameters_task
from benchmarks.catalogue import planted
from recprune import __version__
from recprune.artifact import Artifact, folder_written_whole, read_artifact, write_artifact
from recprune.catalogue import Catalogue
from recprune.users import Users

__all__ = ["Served", "cut_to", "movielens", "planted_case", "write"]

SETTINGS = ("techniques=false",)


@dataclass(frozen=True)
class Served:
    """What a service is started on.

    Args:
        name: of the case.
        artifact: the pruned model with its catalogue.
        users: the stored users.
        facts: what is told of it.
    """

    name: str
    artifact: Artifact
    users: Users
    facts: Mapping[str, Any]


def movielens(items: int) -> Served:
    """Return the pruned model of MovieLens with so many items, those that were rated most."""
    folder = movielens_run()
    artifact, users = read_artifact(folder), Users.load(folder / "users.rp")
    assert users.seen is not None
    catalogue = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    counts = dict(
        zip(
            users.seen.items,
            np.bincount(users.seen.index, minlength=len(users.seen.items)),
            strict=True,
        )
    )
    most = np.argsort([-counts.get(item, 0) for item in catalogue.ids], kind="stable")[:items]
    report = json.loads((folder / "report.json").read_text("utf-8"))
    facts: dict[str, Any] = {"verdict": report["verdict"]["outcome"]}
    for part in ("full", "pruned"):
        facts[part] = {"bytes": report[part]["bytes"], "auc": report[part]["metrics"]["auc"]}
    return Served("movielens", cut_to(artifact, np.sort(most)), users, facts)


def planted_case(items: int) -> tuple[Served, Artifact]:
    """Return the pruned planted model with so many items, and the full one."""
    case = planted(False, items)
    return Served("planted", case.pruned, case.users, case.facts), case.full


def movielens_run() -> Path:
    """Return the output of the main job on MovieLens 100k."""
    from recprune.cli._options import read_config
    from recprune.pipeline import run

    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    mark = hashlib.sha256(f"{__version__} {SETTINGS}".encode()).hexdigest()[:12]
    out = Path(home) / "recprune" / "benchmarks" / f"movielens-{mark}"
    if not (out / "report.json").exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        with folder_written_whole(out) as folder:
            run(parameters_task("ml100k"), folder / "run", read_config(None, list(SETTINGS)))
            for part in (folder / "run").iterdir():
                part.rename(folder / part.name)
    return out


def cut_to(artifact: Artifact, places: NDArray[np.integer[Any]]) -> Artifact:
    """Return an artefact whose catalogue has these items alone, in this order."""
    old = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    cut = Catalogue(
        tuple(old.ids[place] for place in places.tolist()),
        {name: codes[places] for name, codes in old.codes.items()},
        {name: shares[places] for name, shares in old.shares.items()},
        {by: keys[places] for by, keys in old.keys.items()},
        old.key_values,
        old.defaults,
        {name: (at[places], values) for name, (at, values) in old.texts.items()},
        {name: numbers[places] for name, numbers in old.numbers.items()},
    )
    return replace(artifact, catalogue=cut.tensors())


def write(served: Served, folder: Path) -> tuple[Path, Path]:
    """Write the folders of the model and of the users, and return them."""
    with folder_written_whole(folder / "model") as model:
        write_artifact(model, served.artifact, __version__)
    served.users.save(folder / "users.rp")
    return folder / "model", folder / "users.rp"
