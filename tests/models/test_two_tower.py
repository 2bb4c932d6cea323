"""What two towers promise beyond other retrievers: other columns than ids, and an axis of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Dataset, Negatives, ingest
from recprune.importance import importance
from recprune.lookups import UNKNOWN
from recprune.models.retrieval import MF, Retriever, TwoTower
from recprune.pruning import prune
from tests.models.test_retrieval import TRAINING, dataset, recall, taste


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(taste())


def test_the_dims_of_the_towers_vectors_are_an_axis(data: Dataset) -> None:
    model = TwoTower(8, (16,), 8, training=TRAINING).fit(data.train, data.tune)
    axis = model.layout.axes["neurons.towers.vector"]
    assert {u.tensor for u in axis.uses} == {
        f"towers.{side}.out.{what}" for side in ("user", "item") for what in ("weight", "bias")
    }
    small = prune(model, data, {"neurons": [16, 16, 4]}, epochs=2)
    assert small.state["towers.user.out.weight"].shape == (4, 16)
    assert isinstance(small, Retriever)
    assert recall(small, data) > 0.8


def test_a_tower_ranks_an_item_that_nobody_took() -> None:
    frame = taste()
    data = dataset(frame)
    model = TwoTower(8, (16,), 8, training=TRAINING).fit(data.train, data.tune)
    encoder = model.encoder
    users = encoder.encode({"user": ["new", "new"], "club": ["ann", "bob"], "price": [None] * 2})
    items = encoder.encode({"item": ["x", "y"], "club": [None] * 2, "price": [0.0, 3.0]})
    assert (users.codes[:, encoder.schema.names.index("user")] == UNKNOWN).all()
    score = model.user_vectors(users) @ model.item_vectors(items).T
    assert score[0, 0] > score[0, 1]
    assert score[1, 1] > score[1, 0]


def test_all_kinds_of_fields_make_towers() -> None:
    frame = taste(60)
    draws = np.random.default_rng(1)
    items = {item: draws.normal(size=3).round(3).tolist() for item in frame["item"].unique().sort()}
    frame = frame.with_columns(
        pl.Series("tags", [["a", "b", i] for i in frame["item"]]),
        pl.Series("picture", [items[i] for i in frame["item"]]),
        pl.Series("hour", draws.integers(0, 24, len(frame)) + 0.5),
    )
    sources = {"club": "user", "price": "item", "tags": "item", "picture": "item"}
    schema = {"fields": {n: {"source": s} for n, s in sources.items()}}
    data = Dataset.from_frame(
        frame, user="user", item="item", negatives=Negatives(1), schema=schema
    ).split(by="random")
    assert {f.kind for f in data.schema.fields} == {"categorical", "numeric", "sequence", "dense"}
    model = TwoTower(8, (16,), 8, training=TRAINING).fit(data.train, data.tune)
    assert recall(model, data) > 0.9


@pytest.mark.parametrize("method", ["shark", "dropout", "activity"])
def test_methods_see_the_dims_of_the_towers_vectors(method: str, data: Dataset) -> None:
    model = TwoTower(8, (16,), 8, training=replace(TRAINING, epochs=4)).fit(data.train, data.tune)
    with torch.no_grad():  # a dim that says nothing must come last
        model.net.parts["towers"].user.out.weight[3] = 0
        model.net.parts["towers"].user.out.bias[3] = 0
        model.net.parts["towers"].item.out.weight[3] = 0
        model.net.parts["towers"].item.out.bias[3] = 0
    scores = importance(model, data.tune, "neurons.towers.vector", method).score
    assert scores.shape == (8,)
    assert method == "dropout" or scores[3] == scores.min()


def test_without_users_every_row_asks_for_itself() -> None:
    taken = taste().drop("user")
    draws = np.random.default_rng(0)
    shown = taken.with_columns(pl.Series("item", draws.permutation(taken["item"].to_numpy())))
    frame = pl.concat(
        [taken.with_columns(pl.lit(1).alias("y")), shown.with_columns(pl.lit(0).alias("y"))]
    )
    schema = {"fields": {"club": {"source": "context"}, "price": {"source": "item"}}}
    data = Dataset.from_frame(frame, label="y", item="item", schema=schema).split(by="random")
    model = TwoTower(8, (16,), 8, training=TRAINING).fit(data.train, data.tune)
    raw = {"item": [None] * 2, "club": ["ann", "bob"], "price": [None] * 2}
    items = {f"i{i:02}": i % 2 for i in range(32)}
    asked = model.user_vectors(model.encoder.encode(raw))
    own = {"item": list(items), "club": [None] * 32, "price": [3.0 * g for g in items.values()]}
    score = asked @ model.item_vectors(model.encoder.encode(own)).T
    best = np.argsort(-score, axis=1)[:, :10]
    assert [set(np.array(list(items.values()))[b].tolist()) for b in best] == [{0}, {1}]


@pytest.mark.parametrize(
    "make", [lambda: MF(8, training=TRAINING), lambda: TwoTower(8, (8,), 8, training=TRAINING)]
)
def test_rows_on_disk_give_the_same_bytes(make: Callable[[], Retriever], tmp_path: Path) -> None:
    frame = taste(60)
    frame.write_csv(tmp_path / "log.csv")
    ingest(tmp_path / "log.csv", tmp_path / "log.rp")
    states = []
    for name in ("log.csv", "log.rp"):
        read = Dataset.read(tmp_path / name, user="user", item="item", negatives=Negatives(1))
        data = read.split(by="random", seed=0)
        states.append(make().fit(data.train, data.tune).state)
    for name, tensor in states[0].items():
        np.testing.assert_array_equal(states[1][name], tensor)
