"""Ranking a catalogue: the cached item side and the users' histories against brute force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from recprune.catalogue import Catalogue
from recprune.errors import ArtifactError, DataError, InputError, ParameterError
from recprune.runtime import Scorer
from recprune.topk import top_k
from recprune.users import Users

from .factory import KINDS, Kind, plain_schema, random_artifact, random_encoder, random_shop


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("cut", [{}, {"cut": True}, {"cut": True, "ragged": True}], ids=str)
def test_equals_scoring_every_row(kind: Kind, cut: dict[str, bool]) -> None:
    for seed in range(3):
        shop = random_shop(kind, seed, **cut)
        scorer = Scorer(shop.artifact)
        encoder = shop.artifact.encoder
        for user in range(len(shop.users)):
            expected = scorer.logits(encoder.encode(shop.rows_of(user)))
            for name in (user, shop.users.ids[user]):
                got = scorer.catalogue_logits(shop.users, name)
                np.testing.assert_allclose(got, expected, atol=1e-5)


def test_long_catalogues_go_in_blocks() -> None:
    shop = random_shop(KINDS[3], 5, n_items=2500)
    scorer = Scorer(shop.artifact)
    expected = scorer.logits(shop.artifact.encoder.encode(shop.rows_of(2)))
    np.testing.assert_allclose(scorer.catalogue_logits(shop.users, 2), expected, atol=1e-5)


@pytest.mark.parametrize("user", ["nobody", None, 3.5, float("nan")])
def test_unknown_users_are_answered(user: object) -> None:
    shop = random_shop(KINDS[2], 1)
    scorer = Scorer(shop.artifact)
    answer = scorer.recommend_user(shop.users, user, k=5)
    assert answer.fallback
    logits = scorer.logits(shop.artifact.encoder.encode(shop.rows_of(None)))
    best = np.argsort(-logits, kind="stable")[:5]
    assert answer.items == tuple(shop.items["item_id"][i] for i in best)
    assert not scorer.recommend_user(shop.users, "1", k=5).fallback
    assert scorer.recommend(None, k=5).fallback
    assert not scorer.recommend({}, k=5).fallback


def test_seen_candidates_and_order() -> None:
    shop = random_shop(KINDS[2], 2)
    scorer, users = Scorer(shop.artifact), shop.users
    assert users.seen is not None
    for index, user in enumerate(users.ids):
        seen = {users.seen.items[i] for i in users.seen.of_user(index)}
        logits = scorer.catalogue_logits(users, user)
        order = np.argsort(-logits, kind="stable")
        everything = [shop.items["item_id"][i] for i in order]
        assert scorer.recommend_user(users, user, 7, exclude_seen=False).items == tuple(
            everything[:7]
        )
        left = [i for i in everything if i not in seen]
        answer = scorer.recommend_user(users, user, 7)
        assert answer.items == tuple(left[:7])
        assert (np.diff(answer.scores) <= 0).all()
        few = [i for i in left if int(i) % 3 == 0]
        chosen = ["30", "0", *map(str, range(0, 40, 3))]
        assert scorer.recommend_user(users, user, 9, candidates=chosen).items == tuple(few[:9])
    assert len(scorer.recommend_user(users, "5", k=1000).items) == 40


def test_a_record_may_carry_history_context_and_seen_items() -> None:
    shop = random_shop(KINDS[3], 4)
    scorer, users = Scorer(shop.artifact), shop.users
    for index in range(len(users)):
        record = users.record_at(index)
        for table in users.cross.values():
            keys, numbers = table.of_user(index)
            for name in table.fields:
                entries = zip(keys, numbers[name], strict=True)
                record[name] = {table.values[k]: v for k, v in entries}
        expected = scorer.catalogue_logits(users, index)
        np.testing.assert_allclose(scorer.catalogue_logits(users, record), expected, atol=1e-6)
        rows = shop.artifact.encoder.encode(shop.rows_of(index, hour=1.5))
        later = scorer.recommend_user(
            users, str(index), 40, exclude_seen=False, context={"hour": 1.5}
        )
        best = np.argsort(-scorer.logits(rows), kind="stable")
        assert later.items[:5] == tuple(shop.items["item_id"][i] for i in best[:5])
        top = scorer.recommend(record, 3).items
        assert not {*scorer.recommend(record, 3, seen=[*top, "gone"]).items} & {*top}


def test_bad_requests_say_what_is_wrong() -> None:
    shop = random_shop(KINDS[2], 1)
    scorer, users = Scorer(shop.artifact), shop.users
    with pytest.raises(DataError, match="'nowhere', 'nothing'"):
        scorer.recommend({}, candidates=["1", "nowhere", "nothing"])
    assert scorer.recommend({}, candidates=["1", "nowhere"], strict=False).items == ("1",)
    assert scorer.recommend({}, candidates=[]).items == ()
    with pytest.raises(ParameterError, match="'k'"):
        scorer.recommend({}, k=0)
    with pytest.raises(ParameterError, match="'user'"):
        scorer.catalogue_logits(users, 99)
    with pytest.raises(ParameterError, match="'user'"):
        scorer.recommend([1])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'age'"):
        scorer.recommend({"age": "old"})
    with pytest.raises(DataError, match="'times_item'"):
        scorer.recommend({"times_item": 3})
    with pytest.raises(DataError, match="'times_item'"):
        scorer.recommend({"times_item": {"1": "often"}})
    bare = Users(users.ids, users.columns)
    with pytest.raises(DataError, match="lack the cross field 'times_category'"):
        scorer.recommend_user(bare, "1")


def test_a_model_without_items_says_so() -> None:
    encoder = random_encoder(plain_schema(4, 1), 0)
    scorer = Scorer(random_artifact(encoder, KINDS[0], 0))
    assert scorer.catalogue is None
    with pytest.raises(InputError, match="no catalogue"):
        scorer.recommend({})


def test_ties_go_by_catalogue_order() -> None:
    shop = random_shop(KINDS[0], 0)
    flat = {n: np.zeros_like(a) for n, a in shop.artifact.state.items()}
    scorer = Scorer(replace(shop.artifact, state=flat))
    assert scorer.recommend({}, 4).items == ("0", "1", "2", "3")
    assert scorer.recommend({}, 3, candidates=["9", "4", "7", "5"]).items == ("4", "5", "7")


def test_top_k_equals_a_stable_sort() -> None:
    draws = np.random.default_rng(0)
    for _ in range(300):
        n = int(draws.integers(0, 30))
        scores = draws.integers(0, 5, n).astype(np.float32)
        exclude = draws.integers(0, n, int(draws.integers(0, 4))) if n else None
        k = int(draws.integers(1, 12))
        order = [
            i for i in np.argsort(-scores, kind="stable") if exclude is None or i not in exclude
        ]
        assert top_k(scores, k, exclude).tolist() == order[:k]
    assert top_k(np.array([np.nan, 1.0, np.nan, 2.0]), 3).tolist() == [3, 1, 0]
    assert top_k(np.array([np.nan, np.nan]), 1).tolist() == [0]


def test_threads_get_the_same_answers() -> None:
    shop = random_shop(KINDS[3], 8, n_items=300)
    scorer, encoder = Scorer(shop.artifact), shop.artifact.encoder
    rows = encoder.encode(shop.rows_of(3))
    expected = [Scorer(shop.artifact).catalogue_logits(shop.users, u) for u in range(6)]
    logits = Scorer(shop.artifact).logits(rows)

    def ask(number: int) -> bool:
        same = np.array_equal(scorer.catalogue_logits(shop.users, number % 6), expected[number % 6])
        return same and np.array_equal(scorer.logits(rows), logits)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_memory_counts_the_cached_items() -> None:
    shop = random_shop(KINDS[2], 0)
    scorer = Scorer(shop.artifact)
    before = scorer.bytes_in_memory
    scorer.recommend({})
    assert before < scorer.bytes_in_memory <= before + 40 * (7 + 2 + 5) * 4


def test_catalogue_round_trip_and_checks() -> None:
    shop = random_shop(KINDS[2], 0)
    encoder, tensors = shop.artifact.encoder, dict(shop.artifact.catalogue)
    catalogue = Catalogue.from_tensors(encoder, tensors)
    again = catalogue.tensors()
    assert again.keys() == tensors.keys()
    assert all(np.array_equal(again[n], a) for n, a in tensors.items())
    assert catalogue.defaults == {"times_category": 0.0, "favourite": 1.0, "times_item": 0.0}
    for name, wrong in [
        ("codes.category", tensors["codes.category"] + 99),
        ("codes.price", tensors["codes.price"][:-1]),
        ("shares.price", tensors["shares.price"] - 2),
        ("shares.price", np.full(40, np.nan, np.float32)),
        ("keys.category", tensors["keys.category"] - 1),
        ("ids.lengths", tensors["ids.lengths"][:-1]),
        ("values.category.bytes", tensors["values.category.bytes"][:-1]),
        ("defaults.favourite", np.empty(0)),
    ]:
        with pytest.raises(ArtifactError):
            Catalogue.from_tensors(encoder, {**tensors, name: wrong})
    for name in ("ids.bytes", "codes.item_id", "shares.price", "keys.item_id"):
        with pytest.raises(ArtifactError):
            Catalogue.from_tensors(encoder, {n: a for n, a in tensors.items() if n != name})


def test_catalogue_needs_every_item_column() -> None:
    shop = random_shop(KINDS[2], 0)
    encoder, items = shop.artifact.encoder, shop.items
    built = Catalogue.build(encoder, {n: items[n] for n in ("category", "price")}, items["item_id"])
    assert np.array_equal(built.codes["item_id"][:, 0], shop.artifact.catalogue["codes.item_id"])
    with pytest.raises(DataError, match="needs the item column 'price'"):
        Catalogue.build(encoder, {"category": items["category"]}, items["item_id"])
    with pytest.raises(DataError, match="'price' has 3 values for 40 items"):
        Catalogue.build(encoder, {**items, "price": [1, 2, 3]}, items["item_id"])
    with pytest.raises(DataError, match="one item id twice"):
        Catalogue.build(encoder, items, ["1"] * 40)
