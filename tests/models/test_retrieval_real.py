"""Retrievers on real listening data against popularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, Negatives
from recprune.models.retrieval import ALS, MF, Retriever, TwoTower
from recprune.models.retrieval.lists import Exam
from recprune.models.retrieval.positives import Positives
from recprune.models.training import Training

F32 = np.float32


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Dataset:
    path = shared_data / "lastfm_lightgcn" / "data1.txt.gz"
    columns = {"user": pl.String, "artist": pl.String, "count": pl.String}
    frame = pl.read_csv(path, separator="\t", has_header=False, schema=columns).drop("count")
    made = Dataset.from_frame(frame, user="user", item="artist", negatives=Negatives(1))
    return made.split(by="random", seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mf", "two-tower", "als"])
def test_it_beats_popularity_by_far(kind: str, data: Dataset) -> None:
    if kind == "als":
        pytest.importorskip("implicit", reason="needs the extra 'als'")
    training = Training(epochs=25, patience=5)
    model: Retriever = {
        "mf": lambda: MF(32, training=training),
        "two-tower": lambda: TwoTower(32, (64,), 32, training=training),
        "als": ALS,
    }[kind]()
    model.fit(data.train, data.tune)
    positives = Positives.of(model.aligned(data.train))
    exam = Exam.of(positives.window, model.aligned(data.test))
    items = [model.item_vectors(model.aligned(s).rows) for s in (exam.known.items, exam.new)]
    reached = exam.ndcg(model.user_vectors(exam.queries.rows), np.concatenate(items), 10)
    count = np.bincount(positives.items, minlength=sum(len(i) for i in items)).astype(F32)
    popular = exam.ndcg(np.ones((len(exam.queries), 1), F32), count[:, None], 10)
    assert 0.005 < popular < 0.03
    assert reached > 3 * popular
