"""From an artefact to a ranker that can be trained on."""

from __future__ import annotations

import inspect
from typing import Any

from recprune.artifact import Artifact
from recprune.errors import ArtifactError, RecpruneError, nearest
from recprune.models.layers import Hidden
from recprune.models.parts import PARTS
from recprune.models.privacy import PrivacySpent
from recprune.models.ranker import Ranker
from recprune.models.rankers import (
    DLRM,
    DNN,
    FM,
    LR,
    DCNv2,
    DeepFM,
    FinalMLP,
    FwFM,
    SharedBottom,
    WideDeep,
)
from recprune.models.retrieval import ALS, MF, TwoTower

__all__ = ["RANKERS", "ranker_of"]

#: Name in an artefact, or as a user types it → class.
RANKERS: dict[str, type[Ranker]] = {
    c.__name__: c
    for c in (
        *(LR, FM, FwFM, WideDeep, DNN, DeepFM, DCNv2, FinalMLP, DLRM, SharedBottom),
        *(MF, TwoTower, ALS),
    )
}


def ranker_of(artifact: Artifact) -> Ranker:
    """Return the trainable ranker of an artefact.

    Raises:
        ArtifactError: the artefact's model class, an option of it or a part is not one of this
            version's, or its tensors make no such model.
    """
    model = artifact.model
    name = str(model.get("class"))
    if name not in RANKERS:
        raise ArtifactError(f"There is no model class {name!r}.{nearest(name, RANKERS)}")
    parts = tuple(model["parts"])
    if unknown := [p for p in parts if p not in PARTS]:
        raise ArtifactError(f"There is no part {unknown[0]!r}.{nearest(unknown[0], PARTS)}")
    known = inspect.signature(RANKERS[name]).parameters
    options = {n: _option(v) for n, v in model["options"].items() if n in known}
    try:
        ranker = RANKERS[name](**options)
        whole = ranker.built_from(artifact.state, artifact.layout, artifact.encoder, parts)
    except (RecpruneError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"The artefact's tensors make no {name}: {error}.") from error
    whole.plan, whole.labels = artifact.plan, tuple(model["labels"])
    whole.rule = artifact.meta.get("labels") or {}
    whole.privacy = PrivacySpent.from_json(artifact.meta.get("privacy"))
    return whole


def _option(value: Any) -> Any:
    """Return an option as its constructor takes it."""
    if isinstance(value, dict):
        return Hidden(**{**value, "sizes": tuple(value["sizes"])})
    return tuple(value) if isinstance(value, list) else value
