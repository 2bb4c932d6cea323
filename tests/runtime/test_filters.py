"""Recommending among the items that a filter lets through, and with a limit on memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recprune import load
from recprune.artifact import write_artifact
from recprune.catalogue import Catalogue
from recprune.errors import ArtifactError, DataError, ParameterError
from recprune.runtime import Scorer

from .drafts import MODELS
from .factory import KINDS, Shop, random_shop

CASES: list[tuple[dict[str, Any], Any]] = [
    ({"category": "1"}, lambda item: item["category"] == "1"),
    ({"category": ["1", 2.0]}, lambda item: item["category"] in ("1", "2")),
    ({"category": [None, "0"]}, lambda item: item["category"] in (None, "0")),
    ({"item_id": [0, "1", 2, 3, 4, 5, 6]}, lambda item: int(item["item_id"]) < 7),
    ({"price": "0..1.5"}, lambda item: 0 <= item["price"] <= 1.5),
    ({"price": ["..-1", "2.."]}, lambda item: item["price"] <= -1 or item["price"] >= 2),
    (
        {"brand": "b1", "stock": ".."},
        lambda item: item["brand"] == "b1" and item["stock"] is not None,
    ),
    ({"stock": [3, None]}, lambda item: item["stock"] in (3, None)),
    ({"category": "1", "price": "100.."}, lambda item: False),
    ({}, lambda item: True),
]


@pytest.fixture(scope="module")
def shop() -> Shop:
    """A shop whose items have two columns that the model does not know."""
    made = random_shop(KINDS[2], 3, n_items=120, cut=True)
    draws = np.random.default_rng(0)
    items = {
        **made.items,
        "brand": [f"b{i}" for i in draws.integers(0, 4, 120)],
        "stock": [None if s == 0 else int(s) for s in draws.integers(0, 6, 120)],
        "tags": [["a", "b"]] * 120,
    }
    tensors = Catalogue.build(made.artifact.encoder, items, items["item_id"]).tensors()
    return Shop(replace(made.artifact, catalogue=tensors), made.users, items)


@pytest.mark.parametrize(("asked", "holds"), CASES)
def test_only_items_that_do_are_recommended(shop: Shop, asked: dict[str, Any], holds: Any) -> None:
    scorer, n = Scorer(shop.artifact), 120
    rows = [{name: column[i] for name, column in shop.items.items()} for i in range(n)]
    for user in (2, 3):
        order = np.argsort(-scorer.catalogue_logits(shop.users, user), kind="stable")
        wanted = [str(i) for i in order if holds(rows[i])]
        name = shop.users.ids[user]
        got = scorer.recommend_user(shop.users, name, 9, filter=asked, exclude_seen=False)
        assert got.items == tuple(wanted[:9])
        few = [str(i) for i in range(0, n, 3)]
        got = scorer.recommend_user(
            shop.users, name, 9, filter=asked, candidates=few, exclude_seen=False
        )
        assert got.items == tuple([i for i in wanted if i in few][:9])


def test_filters_that_cannot_be_meant(shop: Shop) -> None:
    scorer = Scorer(shop.artifact)
    with pytest.raises(ParameterError, match=r"no column 'catgory'.*'category'"):
        scorer.recommend({}, filter={"catgory": "1"})
    with pytest.raises(ParameterError, match="no column 'tags'"):
        scorer.recommend({}, filter={"tags": "a"})
    with pytest.raises(DataError, match=r"'b9'.*as 'brand'"):
        scorer.recommend({}, filter={"brand": ["b1", "b9"]})
    got = scorer.recommend({}, 120, filter={"brand": ["b1", "b9"]}, strict=False).items
    assert len(got) == shop.items["brand"].count("b1")
    for value in ("cheap", "1..dear", "1..2..3", [1], {"min": 2}):
        with pytest.raises(DataError, match="'price' must be numbers, or ranges"):
            scorer.recommend({}, filter={"price": [value]})
    with pytest.raises(ParameterError, match="'filter'"):
        scorer.recommend({}, filter="brand=b1")  # type: ignore[arg-type]
    bare = Scorer(random_shop(MODELS["towers"], 1).artifact)
    with pytest.raises(ParameterError, match="Known: 'category', 'price'"):
        bare.recommend({}, filter={"zzz": 1})


def test_columns_to_filter_by_are_stored_and_checked(shop: Shop) -> None:
    encoder, tensors = shop.artifact.encoder, dict(shop.artifact.catalogue)
    catalogue = Catalogue.from_tensors(encoder, tensors)
    assert set(catalogue.texts) == {"brand"}
    assert set(catalogue.numbers) == {"price", "stock"}
    assert catalogue.numbers["price"].tolist() == shop.items["price"]
    again = catalogue.tensors()
    assert all(
        np.array_equal(again[n], tensors[n], equal_nan=a.dtype.kind == "f")
        for n, a in tensors.items()
    )
    for name, wrong in [
        ("number.price", tensors["number.price"][:-1]),
        ("number.price", tensors["number.price"].astype(np.float32)),
        ("text.brand", tensors["text.brand"] + 4),
        ("text.brand", tensors["text.brand"][:-1]),
        ("values.text.brand.lengths", tensors["values.text.brand.lengths"][:-1]),
    ]:
        with pytest.raises(ArtifactError):
            Catalogue.from_tensors(encoder, {**tensors, name: wrong})


@pytest.mark.parametrize("name", ["cross", "towers", "mlp"])
def test_a_limit_on_memory_changes_no_answer(name: str, tmp_path: Any) -> None:
    shop = random_shop(MODELS[name], 2, n_items=500)
    write_artifact(tmp_path, shop.artifact, "1")
    free, tight = load(tmp_path), load(tmp_path, cache="1 kB")
    weights = tight.bytes_in_memory
    for user in shop.users.ids:
        expected = free.recommend_user(shop.users, user, 20)
        got = tight.recommend_user(shop.users, user, 20)
        assert got.items == expected.items
        np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)
    assert tight.bytes_in_memory == weights
    assert free.bytes_in_memory > weights
    assert load(tmp_path, cache="1 GB").recommend({}, 3).items == free.recommend({}, 3).items
    with pytest.raises(ParameterError, match="'cache' parameter of load"):
        load(tmp_path, cache="much")
