"""Items that the stream brings are in what is published, each as it was seen last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.artifact import Artifact, read_artifact
from recprune.catalogue import Catalogue
from recprune.streaming.hashes import hashes
from recprune.streaming.labelled import Labelled
from recprune.streaming.newcomers import Newcomers

from .shop import LABEL, some_events, trained


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return read_artifact(trained(tmp_path_factory.mktemp("model") / "m"))


def labelled(frame: pl.DataFrame) -> Labelled:
    label = frame[LABEL].to_numpy().astype(np.float32)
    return Labelled(frame, label, hashes(frame["user_id"]), hashes(frame["item_id"]))


def rows_of(frame: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    return [frame[at : at + size] for at in range(0, len(frame), size)]


def known(reference: Artifact) -> tuple[str, ...]:
    return Catalogue.from_tensors(reference.encoder, reference.catalogue).ids


@pytest.mark.parametrize("most", [50, 100_000])
def test_as_a_plain_dictionary_of_the_last_seen(reference: Artifact, most: int) -> None:
    newcomers, plain, listed = Newcomers(reference, most), dict[str, Any](), known(reference)
    for part in rows_of(some_events(4_000), 500):
        newcomers.add(labelled(part))
        for row in part.select(list(newcomers.columns)).iter_rows(named=True):
            if row["item_id"] not in listed:
                plain.pop(row["item_id"], None)
                plain[row["item_id"]] = row
    expected = list(plain.values())[-most:]
    assert len(expected) > 40
    assert newcomers.frame().rows(named=True) == expected


def test_restored_it_goes_on_the_same(reference: Artifact) -> None:
    one, other = Newcomers(reference, 300), Newcomers(reference, 300)
    for part in rows_of(some_events(6_000), 500):
        one.add(labelled(part))
        other.add(labelled(part))
        fresh = Newcomers(reference, 300)
        fresh.restore(other.state())
        other = fresh
    assert one.state()["items"].tobytes() == other.state()["items"].tobytes()
    assert one.frame().equals(other.frame())


def test_they_are_ranked_by_their_columns(reference: Artifact, tmp_path: Path) -> None:
    newcomers = Newcomers(reference)
    newcomers.add(labelled(some_events(4_000)))
    whole = newcomers.listed(reference)
    catalogue = Catalogue.from_tensors(whole.encoder, whole.catalogue)
    new = newcomers.frame()["item_id"].to_list()
    assert catalogue.ids == (*known(reference), *new)
    scorer = rp.runtime.Scorer(whole)
    row = newcomers.frame().row(3, named=True)
    given = {"user_id": "u1", "hour": "ho3", "device": "de1", "weekday": "we1", "position": "po0"}
    given |= dict.fromkeys(("age", "gender", "city"))
    best = scorer.recommend(given, k=len(catalogue))
    at = list(best.items).index(row["item_id"])
    score = scorer.score({name: [value] for name, value in {**given, **row}.items()})
    assert best.scores[at] == pytest.approx(float(np.ravel(score)[0]), abs=1e-5)


def test_without_a_catalogue_nothing_is_kept(reference: Artifact) -> None:
    from dataclasses import replace

    bare = replace(reference, catalogue={})
    newcomers = Newcomers(bare)
    newcomers.add(labelled(some_events(1_000)))
    assert newcomers.listed(bare) is bare
    assert newcomers.state()["items"].size == 0
