"""The ten best of 1,000,000 items by two stages against the exact answer; one thread.

The model is planted, since training one for a million items takes hours. Users and items are each the
sum of three fields' embeddings, e ∈ R¹⁶; the ranker's logit is

    w_i + ⟨Σ e_user, Σ e_item⟩ + pairs within each side + a random MLP of 0.4 times the product's spread

with every table and layer as a trained DeepFM has them (``deepfm``); ``dcn`` has two random cross
layers more, without bounds, so that its exact answer scores every item. The retriever, two towers with
vectors of 32 numbers, knows the product and the item's own weight, both blurred, has 15 numbers of
its own that mean nothing to the ranker, and nothing of the MLP. How well both agree stands in the
detail (``correlation``, of their logits over a user's items).

Ours: from a user's id to item ids and probabilities, seen items left out; the peer is the same
scorer without a first stage. Recall is that of ``Scorer.first_stage_recall``: of the exact answer, and
of the lists against the retriever's exact candidates.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import Claim, Timing, main, one_thread
from recprune.artifact import Artifact
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.histories import SeenItems
from recprune.layout import Plan
from recprune.lookups import FIRST, Vocabulary
from recprune.models.draft import Draft
from recprune.models.layers import Hidden
from recprune.models.parts import CrossPart, FMPart, MLPPart, TowersPart
from recprune.runtime import Scorer
from recprune.runtime.first_stage import FirstStage
from recprune.schema import Field, Schema
from recprune.users import Users

ITEMS, USERS, SEEN, K, CANDIDATES, ROUNDS = 1_000_000, 200, 200, 10, 1000, 5
DIM, VECTOR, HIDDEN, CROSSES = 16, 32, (32, 16), 2
#: Spread of the MLP's, and of the towers' blur, as shares of what they are added to.
BEND, BLUR = 0.4, 0.3
#: Field → how many values, 0 = one an item or a user, and the spread of its embeddings.
SIDES = {
    "user": {"user_id": (0, 0.5), "region": (200, 0.4), "taste": (2000, 0.6)},
    "item": {"item_id": (0, 0.4), "brand": (20_000, 0.5), "category": (500, 0.5)},
}
#: Users that a round asks, and that recall is measured with.
ASKED = {"deepfm": (10, 100), "dcn": (1, 20)}

F32 = NDArray[np.float32]


class World(NamedTuple):
    """Rankers by name, the retriever, and the users."""

    rankers: dict[str, Artifact]
    retriever: Artifact
    users: Users


def world(n_items: int) -> World:
    """Return the planted artefacts."""
    draws = np.random.default_rng(0)
    sizes = {"user": USERS, "item": n_items}
    codes: dict[str, NDArray[np.int32]] = {}
    tables: dict[str, F32] = {}
    fields, parts = [], {}
    for side, those in SIDES.items():
        for name, (values, spread) in those.items():
            n = values or sizes[side]
            fields.append(Field(name, "categorical", side))  # type: ignore[arg-type]
            parts[name] = Vocabulary(tuple(str(v) for v in range(n)))
            rank = np.arange(n) if not values else (n * draws.random(sizes[side]) ** 1.5)
            codes[name] = rank.astype(np.int32) + FIRST
            table = draws.normal(0, spread / 2, (n + FIRST, 1 + DIM))
            table[:, 0] *= 2 * (side == "item")
            tables[name] = table.astype(np.float32)
    schema = Schema(tuple(fields), label="y", user="user_id", item="item_id")
    encoder = Encoder(schema, parts)
    ids = parts["item_id"].values
    columns = {n: (c - FIRST).astype(str) for n, c in codes.items()}
    catalogue = Catalogue(
        tuple(str(i) for i in ids), {n: codes[n][:, None] for n in SIDES["item"]}, {}
    ).tensors()
    rankers = {
        name: _ranker(encoder, tables, codes, name == "dcn", draws, catalogue) for name in ASKED
    }
    seen = SeenItems.from_entries(
        np.repeat(np.arange(USERS), SEEN), draws.integers(0, n_items, USERS * SEEN), ids, USERS
    )
    users = Users(
        tuple(columns["user_id"].tolist()),
        {n: columns[n].tolist() for n in SIDES["user"]},
        {},
        seen,
    )
    return World(rankers, _retriever(encoder, tables, codes, draws, catalogue), users)


def _ranker(
    encoder: Encoder,
    tables: dict[str, F32],
    codes: dict[str, NDArray[np.int32]],
    crosses: bool,
    draws: np.random.Generator,
    catalogue: Any,
) -> Artifact:
    draft = Draft(encoder, DIM, wide=True)
    FMPart.declare(draft)
    MLPPart.declare(draft, Hidden(HIDDEN))
    if crosses:
        CrossPart.declare(draft, CROSSES)
    state = {f"table.{n}": t for n, t in tables.items()}
    for name, shape in draft.shapes.items():
        if name not in state:
            scale = 0.0 if name.endswith("bias") else np.sqrt(2 / shape[-1])
            state[name] = draws.normal(0, 1, shape).astype(np.float32) * np.float32(scale)
    state["bias"] -= 3
    # What a part adds to the logits of random pairs, beside the two sides' product.
    sample = {n: tables[n][c[draws.integers(0, len(c), 20_000)], 1:] for n, c in codes.items()}
    x = np.concatenate([sample[n] for n in encoder.schema.names], axis=1)
    user, item = (sum(sample[n] for n in those) for those in SIDES.values())
    product = float(np.einsum("nd,nd->n", user, item).std())
    after = x
    for layer in range(len(HIDDEN)):
        after = np.maximum(after @ state[f"mlp.{layer}.weight"].T, 0)
    state["mlp.out.weight"] *= BEND * product / (after @ state["mlp.out.weight"].T).std()
    if crosses:
        after = x
        for layer in range(CROSSES):
            after = x * (after @ state[f"cross.{layer}.weight"].T) + after
        state["cross.out.weight"] *= BEND * product / (after @ state["cross.out.weight"].T).std()
    return _artifact(draft, state, encoder, catalogue, wide=True)


def _retriever(
    encoder: Encoder,
    tables: dict[str, F32],
    codes: dict[str, NDArray[np.int32]],
    draws: np.random.Generator,
    catalogue: Any,
) -> Artifact:
    """Return towers whose item reads its id alone: the id's row is the whole vector."""
    names = (*SIDES["user"], "item_id")
    own = encoder.take(names, {})
    rows = [tables[n][codes[n]] for n in SIDES["item"]]
    total = sum(r[:, 1:] for r in rows)
    weight = sum(r[:, 0] for r in rows)
    weight += 0.5 * (np.square(total).sum(1) - sum(np.square(r[:, 1:]).sum(1) for r in rows))
    vectors = np.column_stack([total, weight])
    vectors += draws.normal(0, BLUR, vectors.shape) * vectors.std(axis=0)
    alone = draws.normal(0, BLUR, (len(vectors), VECTOR - DIM - 1))
    item = np.zeros((len(vectors) + FIRST, VECTOR), np.float32)
    item[FIRST:] = np.column_stack([vectors, alone])
    draft = Draft(own, VECTOR, wide=False)
    TowersPart.declare(draft, Hidden((2 * VECTOR,)), VECTOR)
    state = {n: np.zeros(shape, np.float32) for n, shape in draft.shapes.items()}
    state["table.item_id"] = item
    for name in SIDES["user"]:
        state[f"table.{name}"][:, :DIM] = tables[name][:, 1:]
        state[f"table.{name}"][:, DIM + 1 :] = draws.normal(
            0, BLUR, (len(tables[name]), VECTOR - DIM - 1)
        )
    # relu(x) − relu(−x) = x
    one = np.eye(VECTOR, dtype=np.float32)
    for side, count in (("user", len(SIDES["user"])), ("item", 1)):
        state[f"towers.{side}.0.weight"][:] = np.tile(np.concatenate([one, -one]), count)
        state[f"towers.{side}.out.weight"][:] = np.concatenate([one, -one], axis=1)
    state["towers.user.out.bias"][DIM] = 1
    kept = {n: a for n, a in catalogue.items() if n.startswith("ids") or n == "codes.item_id"}
    return _artifact(draft, state, own, kept, wide=False)


def _artifact(
    draft: Draft, state: dict[str, F32], encoder: Encoder, catalogue: Any, *, wide: bool
) -> Artifact:
    layout = draft.layout()
    model = {"class": "Planted", "options": {}, "parts": draft.parts, "wide": wide, "labels": ["y"]}
    return Artifact(model, state, layout, Plan(layout.hash, {}), encoder, catalogue)


def measure(quick: bool) -> list[Claim]:
    """Return the claims."""
    n_items = ITEMS // 20 if quick else ITEMS
    planted = world(n_items)
    catalogue = Catalogue.from_tensors(
        planted.rankers["dcn"].encoder, planted.rankers["dcn"].catalogue
    )
    # The rankers have one catalogue, and share the first stage.
    first = FirstStage(planted.retriever, catalogue, CANDIDATES)
    begin = time.perf_counter()
    first.make()
    build = time.perf_counter() - begin
    towers, claims = Scorer(planted.retriever), []
    for name, artifact in planted.rankers.items():
        claims += _claims(name, Scorer(artifact), first, towers, planted.users)
    memory = {"all": first._ready().nbytes, "vectors": first._ready().lists.vectors.nbytes}
    return [
        *claims,
        Claim("index_build_seconds", build, "seconds", None, {"items": n_items}),
        Claim("index_bytes", memory["all"], "bytes", None, memory),
    ]


def _claims(
    name: str, scorer: Scorer, first: FirstStage, towers: Scorer, users: Users
) -> list[Claim]:
    asked, sampled = ASKED[name]
    who, stages = users.ids[:asked], {"exact": None, "two_stage": first}
    seconds: dict[str, list[float]] = {kind: [] for kind in stages}
    for number in range(-1, ROUNDS):
        for kind in list(stages)[:: -1 if number % 2 else 1]:
            scorer._first = stages[kind]
            begin = time.perf_counter()
            scorer.recommend_users(users, who, K)
            # The first round warms up.
            if number >= 0:
                seconds[kind].append((time.perf_counter() - begin) / asked)
    timing = Timing({kind: tuple(s) for kind, s in seconds.items()})
    agree = [
        np.corrcoef(scorer.catalogue_logits(users, u), towers.catalogue_logits(users, u))[0, 1]
        for u in range(3)
    ]
    scorer._first = first
    recall = scorer.first_stage_recall(users, K, sample=sampled)
    assert towers.catalogue is not None
    detail = {
        **timing.detail(),
        "items": len(towers.catalogue),
        "candidates": CANDIDATES,
        "correlation": float(np.mean(agree)),
        "users": recall.users,
        "bytes_in_memory": scorer.bytes_in_memory,
    }
    errors = {"standard_error": recall.standard_error}
    index_errors = {"standard_error": recall.index_standard_error}
    return [
        Claim(f"exact_top10_seconds_{name}", timing.median("exact"), "seconds", None, detail),
        Claim(
            f"two_stage_vs_exact_{name}",
            timing.ratio("exact", "two_stage"),
            "ratio",
            "the exact answer",
            detail,
        ),
        Claim(f"recall_at_10_{name}", recall.mean, "share", "the exact answer", detail | errors),
        Claim(
            f"index_recall_at_{CANDIDATES}_{name}",
            recall.index_mean,
            "share",
            "the retriever's exact candidates",
            detail | index_errors,
        ),
    ]


if __name__ == "__main__":
    one_thread("first_stage")
    main("first_stage", measure)
