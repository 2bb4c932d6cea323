"""Two stages: a retriever's candidates under a ranker, against brute force and the exact answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recprune
from recprune.artifact import Artifact, write_artifact
from recprune.catalogue import Catalogue
from recprune.errors import (
    ArtifactError,
    DataError,
    InputError,
    ParameterError,
    RecpruneWarning,
)
from recprune.runtime import Scorer, first_stage, lists
from recprune.users import Users

from .drafts import MODELS, random_model
from .factory import KINDS, SHOP, Shop, random_encoder, random_shop

N, TOP = 2000, 40
RETRIEVERS = {"towers": MODELS["towers"], "fm": {"parts": ["fm"], "wide": True}}


def retriever_of(shop: Shop, name: str, seed: int = 1) -> Artifact:
    """Return a random retriever of the shop's items; matrix factorisation reads the ids alone."""
    names = (
        ("user_id", "item_id") if name == "fm" else tuple(shop.users.columns) + tuple(shop.items)
    )
    encoder = random_encoder(SHOP.only(names), seed, rows=len(shop.items["item_id"]))
    # Wide layers: of narrow ones all units may be off, and many vectors alike.
    artifact = random_model(encoder, RETRIEVERS[name], seed, dim=6, hidden=(32, 16))
    catalogue = Catalogue.build(encoder, shop.items, shop.items["item_id"])
    return replace(artifact, catalogue=catalogue.tensors())


@pytest.fixture(scope="module")
def shop() -> Shop:
    return random_shop(KINDS[2], 0, n_items=N, n_users=30)


@pytest.fixture
def few_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a query look at few vectors, as it does where there are very many."""
    monkeypatch.setattr(lists, "SHARE", 0.2)
    monkeypatch.setattr(lists, "WIDER", 1)


@pytest.fixture
def all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all products be formed, so that the candidates are known."""
    monkeypatch.setattr(lists, "SHARE", 1)


def positions(items: tuple[str, ...]) -> list[int]:
    return [int(item) for item in items]


#: Options of a request, and which items they let through.
ASKED: list[tuple[dict[str, Any], Callable[[int, Shop], bool]]] = [
    ({}, lambda i, shop: True),
    ({"candidates": range(0, N, 3)}, lambda i, shop: i % 3 == 0),
    ({"candidates": range(TOP + 5)}, lambda i, shop: i < TOP + 5),
    ({"candidates": range(7)}, lambda i, shop: i < 7),
    ({"filter": {"category": "1"}}, lambda i, shop: shop.items["category"][i] == "1"),
    ({"deny": range(0, N, 2)}, lambda i, shop: i % 2 == 1),
    (
        {"filter": {"price": "0.."}, "deny": [1, 2, "gone"], "candidates": range(900)},
        lambda i, shop: shop.items["price"][i] >= 0 and i < 900 and i not in (1, 2),
    ),
]


def two_stages(
    shop: Shop, towers: Scorer, ranker: Scorer, user: int, holds: Callable[[int], bool], k: int
) -> list[int]:
    """Return the answer by two full sorts."""
    seen = shop.users.seen
    assert seen is not None
    left_out = {seen.items[i] for i in seen.of_user(user)}
    order = np.argsort(-towers.catalogue_logits(shop.users, user), kind="stable").tolist()
    near = [i for i in order if holds(i) and str(i) not in left_out][: max(TOP, k)]
    logits = ranker.catalogue_logits(shop.users, user)
    return sorted(near, key=lambda i: (-logits[i], i))[:k]


@pytest.mark.usefixtures("all_looked_at")
@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize(("asked", "holds"), ASKED)
def test_the_ranker_chooses_among_the_best(
    shop: Shop, name: str, asked: dict[str, Any], holds: Callable[[int, Shop], bool]
) -> None:
    retriever = retriever_of(shop, name)
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    towers, ranker = Scorer(retriever), Scorer(shop.artifact)
    differs = 0
    for user in range(6):
        for k in (3, 60):
            expected = two_stages(shop, towers, ranker, user, lambda i: holds(i, shop), k)
            got = scorer.recommend_user(shop.users, str(user), k, **asked)
            assert positions(got.items) == expected
            exact = ranker.recommend_user(shop.users, str(user), k, **asked)
            differs += got.items != exact.items
    allowed = sum(holds(i, shop) for i in range(N))
    assert differs if allowed > 2 * TOP else not differs or allowed > TOP


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize(("asked", "holds"), ASKED)
@pytest.mark.usefixtures("few_looked_at")
def test_with_all_items_as_candidates_the_answer_is_exact(
    shop: Shop, name: str, asked: dict[str, Any], holds: Any
) -> None:
    exact = Scorer(shop.artifact)
    scorer = Scorer(shop.artifact, first_stage=retriever_of(shop, name), first_stage_k=N)
    for user in ("1", "4", "nobody"):
        a = exact.recommend_user(shop.users, user, 9, **asked)
        b = scorer.recommend_user(shop.users, user, 9, **asked)
        assert (a.items, a.fallback) == (b.items, b.fallback)
        assert np.array_equal(a.scores, b.scores)
    recall = scorer.first_stage_recall(shop.users)
    assert (recall.mean, recall.index_mean, recall.users) == (1, 1, 30)
    assert recall.standard_error == recall.index_standard_error == 0


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.usefixtures("few_looked_at")
def test_most_candidates_are_found_and_never_too_few(shop: Shop, name: str) -> None:
    retriever = retriever_of(shop, name)
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    assert 0.6 < scorer.first_stage_recall(shop.users).index_mean < 1
    for asked, holds in ASKED:
        left = sum(holds(i, shop) for i in range(N))
        for user in shop.users.ids[:8]:
            assert shop.users.seen is not None
            seen = {shop.users.seen.items[i] for i in shop.users.seen.of_user(int(user))}
            got = scorer.recommend_user(shop.users, user, 50, **asked).items
            open_ = left - sum(holds(int(i), shop) for i in seen if i != "gone")
            assert len(got) == min(50, open_)
            assert all(holds(i, shop) for i in positions(got))
            assert not seen & {*got}


@pytest.mark.usefixtures("few_looked_at")
def test_what_the_retriever_likes_best_may_all_be_left_out(shop: Shop) -> None:
    """Its best 500 are denied, sought or seen: none of the next ones is missed for it."""
    retriever = retriever_of(shop, "towers")
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    order = np.argsort(-Scorer(retriever).catalogue_logits(shop.users, 3), kind="stable")
    best = [str(i) for i in order[:500]]
    next_ones = {str(i) for i in order[500 : 500 + TOP]}
    record = shop.users.record_at(3)
    for asked in ({"deny": best}, {"seen": best}, {"candidates": order[500:]}):
        got = scorer.recommend(record, TOP, **asked).items
        assert len(got) == TOP
        assert len({*got} & next_ones) >= 0.8 * TOP


@pytest.mark.usefixtures("few_looked_at")
def test_the_same_bytes_every_time_and_in_every_thread(shop: Shop) -> None:
    retriever = retriever_of(shop, "towers")
    one, two = (Scorer(shop.artifact, first_stage=retriever, first_stage_k=99) for _ in range(2))
    users = [*shop.users.ids, "nobody"]
    expected = one.recommend_users(shop.users, users, 9)

    def ask(number: int) -> bool:
        wanted = expected[number % len(users)]
        got = two.recommend_user(shop.users, users[number % len(users)], 9)
        return got.items == wanted.items and np.array_equal(got.scores, wanted.scores)

    # The first of them make the lists.
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(600)))
    assert one.first_stage_recall(shop.users, seed=3) == two.first_stage_recall(shop.users, seed=3)


@pytest.mark.usefixtures("all_looked_at")
def test_unknown_users_and_records(shop: Shop) -> None:
    retriever = retriever_of(shop, "towers")
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    towers, ranker = Scorer(retriever), Scorer(shop.artifact)
    order = np.argsort(-towers.catalogue_logits(shop.users, None), kind="stable")[:TOP]
    logits = ranker.catalogue_logits(shop.users, None)
    expected = tuple(str(i) for i in sorted(order.tolist(), key=lambda i: (-logits[i], i))[:5])
    for answer in (
        scorer.recommend_user(shop.users, "nobody", 5),
        scorer.recommend_user(shop.users, None, 5),
        scorer.recommend(None, 5),
    ):
        assert (answer.items, answer.fallback) == (expected, True)
    # Context goes to both stages.
    later = scorer.recommend_user(shop.users, "1", TOP, exclude_seen=False, context={"hour": 2.5})
    record = {**shop.users.record_at(1), "hour": 2.5}
    order = np.argsort(-towers.catalogue_logits(shop.users, record), kind="stable")[:TOP]
    assert sorted(positions(later.items)) == sorted(order.tolist())


def test_the_users_id_need_not_be_a_column_of_the_ranker(shop: Shop) -> None:
    """A ranker that reads no id has users without that column; the id itself is known."""
    retriever = retriever_of(shop, "fm")
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    columns = {"age": shop.users.columns["age"]}
    bare = Users(shop.users.ids, columns, shop.users.cross, shop.users.seen)
    whole = first_stage.FirstStage(retriever, Scorer(shop.artifact).catalogue, TOP)  # type: ignore[arg-type]
    assert whole.record(bare, 2) == {"user_id": "2", "age": columns["age"][2]}
    assert scorer.recommend_user(bare, "2").items
    towers = Scorer(shop.artifact, first_stage=retriever_of(shop, "towers"))
    ageless = Users(shop.users.ids, {}, shop.users.cross)
    with pytest.raises(DataError, match=r"lack the column 'age' that the first stage reads"):
        towers.recommend_user(ageless, "2")
    assert towers.recommend_user(ageless, "nobody").fallback


def without(artifact: Artifact, kept: range) -> Artifact:
    """Return the artefact with some items of its catalogue alone."""
    old = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    columns: dict[str, Any] = {n: a[kept.start : kept.stop] for n, a in old.codes.items()}
    shares = {n: a[kept.start : kept.stop] for n, a in old.shares.items()}
    ids = old.ids[kept.start : kept.stop]
    return replace(artifact, catalogue=Catalogue(ids, columns, shares).tensors())


@pytest.mark.usefixtures("all_looked_at")
def test_catalogues_may_differ(shop: Shop) -> None:
    old = without(retriever_of(shop, "towers"), range(150, N))
    with pytest.warns(RecpruneWarning, match=r"lacks 150 of the ranker's 2000 items"):
        scorer = Scorer(shop.artifact, first_stage=old, first_stage_k=TOP)
    towers, ranker = Scorer(old), Scorer(shop.artifact)
    for user in range(4):
        order = np.argsort(-towers.catalogue_logits(shop.users, user), kind="stable")[:TOP]
        near = {*(order + 150).tolist(), *range(150)}
        logits = ranker.catalogue_logits(shop.users, user)
        expected = sorted(near, key=lambda i: (-logits[i], i))[:20]
        got = scorer.recommend_user(shop.users, str(user), 20, exclude_seen=False)
        assert positions(got.items) == expected
    # The retriever has items that are sold no longer: they are passed over.
    small = random_shop(KINDS[2], 0, n_items=N // 2, n_users=30)
    scorer = Scorer(small.artifact, first_stage=retriever_of(shop, "towers"), first_stage_k=TOP)
    assert len(scorer.recommend_user(small.users, "1", TOP).items) == TOP
    assert scorer.first_stage_recall(small.users).index_mean == 1


def test_alike_items_are_one_vector(shop: Shop) -> None:
    retriever = retriever_of(shop, "towers")
    flat = {
        n: np.zeros_like(a) if n.startswith(("codes", "shares")) else a
        for n, a in retriever.catalogue.items()
    }
    scorer = Scorer(
        shop.artifact, first_stage=replace(retriever, catalogue=flat), first_stage_k=TOP
    )
    exact = Scorer(shop.artifact)
    logits = exact.catalogue_logits(shop.users, 5)
    expected = sorted(range(TOP), key=lambda i: (-logits[i], i))
    got = scorer.recommend_user(shop.users, "5", TOP, exclude_seen=False).items
    assert positions(got) == expected, "ties of the retriever go by catalogue order"


def test_recall_is_that_of_the_lists(shop: Shop) -> None:
    scorer = Scorer(shop.artifact, first_stage=retriever_of(shop, "towers"), first_stage_k=TOP)
    exact, shares = Scorer(shop.artifact), []
    for user in shop.users.ids:
        a, b = (s.recommend_user(shop.users, user, 10).items for s in (exact, scorer))
        shares.append(len({*a} & {*b}) / 10)
    recall = scorer.first_stage_recall(shop.users, 10)
    assert recall.mean == pytest.approx(np.mean(shares))
    assert 0 < recall.mean < 1
    assert recall.standard_error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(30))
    few = scorer.first_stage_recall(shop.users, 10, sample=7, seed=2)
    assert few.users == 7
    assert few == scorer.first_stage_recall(shop.users, 10, sample=7, seed=2)
    assert np.isnan(scorer.first_stage_recall(shop.users, sample=1).standard_error)
    nobody = Users((), {"user_id": (), "age": ()}, {}, None)
    assert scorer.first_stage_recall(nobody).users == 0
    with pytest.raises(ParameterError, match="'sample' parameter of first_stage_recall"):
        scorer.first_stage_recall(shop.users, sample=0)
    with pytest.raises(InputError, match="no first stage"):
        exact.first_stage_recall(shop.users)


@pytest.mark.usefixtures("few_looked_at")
def test_memory_and_warm_up(shop: Shop) -> None:
    retriever = retriever_of(shop, "towers")
    scorer = Scorer(shop.artifact, first_stage=retriever, first_stage_k=TOP)
    alone = Scorer(shop.artifact)
    before = scorer.bytes_in_memory
    assert before > alone.bytes_in_memory
    for each in (scorer, alone):
        each.warm_up()
    grown = (
        scorer.bytes_in_memory
        - before
        - (alone.bytes_in_memory - Scorer(shop.artifact).bytes_in_memory)
    )
    assert scorer._first is not None
    made = scorer._first._made
    assert made is not None
    assert 500 < len(made.lists.vectors) < N, "alike items are one vector"
    # Vectors of 3 numbers, and a position an item and a vector.
    assert grown >= len(made.lists.vectors) * (3 * 4 + 8) + N * 8
    scorer.recommend_user(shop.users, "1")
    assert scorer._first._made is made


def test_what_is_no_first_stage_is_refused(shop: Shop) -> None:
    retriever = retriever_of(shop, "towers")
    for model in ("mlp", "cross", "towers_wide"):
        other = random_shop(MODELS[model], 1, n_items=N).artifact
        with pytest.raises(InputError, match=r"no inner product.*TwoTower, MF or ALS"):
            Scorer(shop.artifact, first_stage=other)
    with pytest.raises(InputError, match=r"cross fields.*TwoTower"):
        Scorer(shop.artifact, first_stage=random_shop(KINDS[1], 1, n_items=N).artifact)
    with pytest.raises(InputError, match="first stage has no catalogue"):
        Scorer(shop.artifact, first_stage=replace(retriever, catalogue={}))
    with pytest.raises(InputError, match="This model has no catalogue"):
        Scorer(replace(shop.artifact, catalogue={}), first_stage=retriever)
    for size in (0, True, 1.5, "many"):
        with pytest.raises(ParameterError, match="'first_stage_k' parameter of load"):
            Scorer(shop.artifact, first_stage=retriever, first_stage_k=size)  # type: ignore[arg-type]
    own = Catalogue.from_tensors(retriever.encoder, retriever.catalogue)
    strange = replace(own, ids=tuple(f"other {i}" for i in own.ids))
    with pytest.raises(InputError, match=r"None of the first stage's 2000 items"):
        Scorer(shop.artifact, first_stage=replace(retriever, catalogue=strange.tensors()))
    bad = {
        n: np.full_like(a, 3e38)
        for n, a in retriever.state.items()
        if n.endswith("item.out.weight")
    }
    scorer = Scorer(shop.artifact, first_stage=replace(retriever, state={**retriever.state, **bad}))
    with pytest.raises(ArtifactError, match="vector that is no numbers"), np.errstate(all="ignore"):
        scorer.recommend({})


def test_folders_are_loaded_and_checked(shop: Shop, tmp_path: Path) -> None:
    for name, artifact in (("ranker", shop.artifact), ("tower", retriever_of(shop, "towers"))):
        (tmp_path / name).mkdir()
        write_artifact(tmp_path / name, artifact, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer = recprune.load(
            tmp_path / "ranker", first_stage=tmp_path / "tower", first_stage_k=TOP
        )
    expected = Scorer(shop.artifact, first_stage=retriever_of(shop, "towers"), first_stage_k=TOP)
    got, wanted = (s.recommend_user(shop.users, "1", 9) for s in (scorer, expected))
    assert got.items == wanted.items
    with pytest.raises(ArtifactError, match="tower2"):
        recprune.load(tmp_path / "ranker", first_stage=tmp_path / "tower2")
    model = tmp_path / "tower" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        recprune.load(tmp_path / "ranker", first_stage=tmp_path / "tower")
