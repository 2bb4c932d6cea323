"""A model that is ready to answer: loaded as one snapshot, warmed up, and seen to tell rows apart."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.artifact import read_artifact
from recprune.crypto import read_key
from recprune.encoding import Rows
from recprune.envelope.reading import folder_reader, home
from recprune.errors import RecpruneError, RunError
from recprune.folders import SEALED
from recprune.lookups import UNKNOWN, Knots
from recprune.runtime import Scorer
from recprune.serving.settings import Sources
from recprune.users import Users

__all__ = ["About", "Loaded", "Signature", "load_sources", "signature"]

#: What tells that a folder was written anew.
Signature = tuple[tuple[int, int, int], ...]
#: A plain folder's file that names all its others, by hash: that of an artefact, of users.
MARKS = ("config.json", "users.json")

#: Rows that are scored before a model answers.
TRIED = 64
#: Users whose best scores say what is usual.
USUAL = 200


@dataclass(frozen=True)
class About:
    """What is known of a model.

    Args:
        kind: such as ``"DeepFM"``.
        version: 16 hexadecimal digits of its files' hash.
        report: what ``report.json`` says; empty = there is none.
        card: the model card in Markdown; empty = there is none.
    """

    kind: str
    version: str
    report: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""


@dataclass(frozen=True, eq=False)
class Loaded:
    """One model with its users.

    Args:
        scorer: answers.
        users: stored ones; None = there are none.
        about: what is known of the model.
        usual: best score of each of some stored users, shape ``(n,)``; empty = not known.
    """

    scorer: Scorer
    users: Users | None
    about: About
    usual: NDArray[np.float32]

    @property
    def ranks(self) -> bool:
        """Whether the model has a catalogue to recommend from."""
        return self.scorer.catalogue is not None


def load_sources(sources: Sources) -> Loaded:
    """Load a model and its users, and warm up.

    Raises:
        ArtifactError: a folder that is not sound.
        RunError: the model answers the same whatever it is asked, or no number.
    """
    read = _reader(sources, sources.model)
    config = read("config.json")
    # One snapshot: where the folder is replaced meanwhile, the hashes in this config.json tell.
    artifact = read_artifact(lambda name: config if name == "config.json" else read(name))
    first = sources.first_stage
    retriever = None if first is None else read_artifact(_reader(sources, first))
    scorer = Scorer(artifact, first_stage=retriever, first_stage_k=sources.first_stage_k)
    users = None
    if sources.users is not None:
        users = Users.load(_reader(sources, sources.users, "users folder", "users.json"))
    if users is not None and scorer.catalogue is not None:
        # A history that the model reads and the store lacks is found before anybody asks.
        scorer.recommend_user(users, None, 1)
    scorer.warm_up()
    _tell_apart(scorer)
    about = About(
        str(artifact.model["class"]),
        hashlib.sha256(config).hexdigest()[:16],
        _json(read, "report.json"),
        _text(read, "README.md"),
    )
    return Loaded(scorer, users, about, _usual(scorer, users))


def signature(sources: Sources) -> Signature:
    """Return what changes when one of the folders is written anew; empty parts where there is none.

    Folders are replaced by a rename, so that a file's inode, time and size tell.
    """
    folders = (sources.model, sources.users, sources.first_stage)
    return tuple(_mark(folder) for folder in folders if folder is not None)


def _mark(folder: Path) -> tuple[int, int, int]:
    # A folder that lies in a sealed one, however deep, has no file of its own.
    sealed = home(folder)
    for file in [folder / name for name in MARKS] if sealed is None else [sealed[0] / SEALED]:
        try:
            about = os.stat(file)
        except OSError:
            continue
        return about.st_ino, about.st_mtime_ns, about.st_size
    return 0, 0, 0


def _reader(
    sources: Sources, folder: Path, what: str = "artefact", mark: str = "config.json"
) -> Callable[[str], bytes]:
    master = None if sources.master is None else read_key("master", sources.master)
    return folder_reader(folder, what, mark, master, sources.sealed_only)


def _tell_apart(scorer: Scorer) -> None:
    """Score rows drawn over all of the model's tables: a broken model says one thing to all."""
    draws, encoder = stream(0, "warm-up"), scorer.encoder
    codes, shares = [], []
    for name in encoder.schema.names:
        part = encoder.parts[name]
        last = part.rows - 1 if isinstance(part, Knots) else part.rows
        codes.append(draws.integers(UNKNOWN, max(last, UNKNOWN + 1), (TRIED, part.width)))
        shares.append(draws.random((TRIED, part.n_shares)))
    logits = np.empty(0, np.float32)
    if codes:
        rows = Rows(
            np.concatenate(codes, axis=1).astype(np.int32),
            np.concatenate(shares, axis=1).astype(np.float32),
        )
        logits = scorer.logits(rows)
    if not len(logits) or not np.isfinite(logits).all() or np.ptp(logits) == 0:
        raise RunError(
            f"The model gives {TRIED} different rows one and the same score, or no number. It is "
            "not served. Look at its report, or train it again."
        )


def _usual(scorer: Scorer, users: Users | None) -> NDArray[np.float32]:
    """Return the best score of each of some stored users, in the order of the store."""
    if scorer.catalogue is None or users is None or not len(users):
        return np.empty(0, np.float32)
    size = min(USUAL, len(users))
    chosen = np.sort(stream(0, "usual").permutation(len(users))[:size]).tolist()
    answers = scorer.recommend_users(users, [users.ids[i] for i in chosen], 1)
    return np.array([a.scores[0] for a in answers if len(a.scores)], np.float32)


def _json(read: Callable[[str], bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(read(name))
    except (RecpruneError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(read: Callable[[str], bytes], name: str) -> str:
    try:
        return read(name).decode()
    except (RecpruneError, ValueError):
        return ""
