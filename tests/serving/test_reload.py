"""A new model in place of the one that is served: whole, at once, and never a damaged one."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.envelope import seal
from recprune.errors import ArtifactError
from recprune.runtime import Scorer
from recprune.serving import Sources
from recprune.serving import live as live_module
from recprune.serving.live import Live
from recprune.serving.loading import Loaded, load_sources
from recprune.users import Users
from tests.runtime.factory import Shop, random_shop

from .inprocess import Worker, inprocess
from .living import SMALL, Place, make_place

ASKED = {"user": "2", "k": 40}


@pytest.fixture
def shop_place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


@pytest.fixture
def worker(shop_place: Place) -> Iterator[Worker]:
    with inprocess(shop_place) as worker:
        yield worker


def answer_of(shop: Shop, users: Users) -> list[tuple[str, float]]:
    scorer = Scorer(shop.artifact)
    scorer.warm_up()
    best = scorer.recommend_user(users, "2", 40)
    return list(zip(best.items, best.scores.tolist(), strict=True))


def asked(worker: Worker) -> list[tuple[str, float]]:
    items = worker.post("/v1/recommend", json=ASKED).json()["items"]
    return [(each["item"], each["score"]) for each in items]


def loads(worker: Worker) -> dict[str, int]:
    """Return how many models were put in place or refused, as the metrics say it."""
    text = worker.get("/metrics").text
    lines = [x for x in text.splitlines() if x.startswith("recprune_model_loads_total{")]
    return {x.split('"')[1]: int(float(x.split()[-1])) for x in lines}


def test_a_new_model_is_taken(worker: Worker, shop_place: Place) -> None:
    users = shop_place.shop.users
    first = worker.get("/v1/model").json()["model"]
    assert asked(worker) == answer_of(shop_place.shop, users)
    shop_place.write(random_shop(SMALL, 8))
    worker.wait(3 * live_module.INTERVAL)
    assert worker.get("/v1/model").json()["model"] != first
    assert asked(worker) == answer_of(shop_place.shop, users)
    assert loads(worker) == {"loaded": 2}


def cut_short(model: Path) -> None:
    file = next(model.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-8])


def changed(model: Path) -> None:
    file = next(model.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def without_a_file(model: Path) -> None:
    next(model.glob("*.safetensors")).unlink()


def no_json(model: Path) -> None:
    (model / "config.json").write_bytes(b"[" * 100_000)


def odd_json(model: Path) -> None:
    (model / "config.json").write_text('{"format": 1e400, "sha256": []}')


def gone(model: Path) -> None:
    shutil.rmtree(model)


DAMAGE = [cut_short, changed, without_a_file, no_json, odd_json, gone]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_model_is_refused_and_the_former_goes_on(
    worker: Worker, shop_place: Place, damage: Any
) -> None:
    before, version = asked(worker), worker.get("/v1/model").json()["model"]
    shop_place.write(random_shop(SMALL, 8))
    damage(shop_place.model)
    told = worker.post("/v1/admin/reload")
    assert (told.status_code, told.json()["model"]) == (200, version)
    assert asked(worker) == before
    assert worker.get("/health/ready").status_code == 200
    assert loads(worker) == {"loaded": 1, "failed": 1}
    worker.post("/v1/admin/reload")
    assert loads(worker)["failed"] == 1, "the same damage is not loaded again and again"
    # The next sound one is taken.
    shutil.rmtree(shop_place.model, ignore_errors=True)
    shop_place.write(random_shop(SMALL, 9))
    assert worker.post("/v1/admin/reload").json()["model"] != version
    assert asked(worker) == answer_of(shop_place.shop, Users.load(shop_place.users))


def test_a_model_that_tells_nothing_apart_is_refused(worker: Worker, shop_place: Place) -> None:
    before, artifact = asked(worker), random_shop(SMALL, 8).artifact
    flat = replace(artifact, state={n: np.zeros_like(a) for n, a in artifact.state.items()})
    shop_place.write(replace(shop_place.shop, artifact=flat))
    worker.post("/v1/admin/reload")
    assert asked(worker) == before
    assert loads(worker) == {"loaded": 1, "failed": 1}


def test_users_who_are_gone_get_the_fallback(worker: Worker, shop_place: Place) -> None:
    users = shop_place.shop.users
    nobody = worker.post("/v1/recommend", json={"user": "nobody", "k": 40}).json()
    assert not worker.post("/v1/recommend", json=ASKED).json()["fallback"]
    ids = tuple("9" if u == "2" else u for u in users.ids)
    Users(ids, {**users.columns, "user_id": list(ids)}, users.cross, users.seen).save(
        shop_place.users
    )
    worker.post("/v1/admin/reload")
    assert worker.post("/v1/recommend", json=ASKED).json() == nobody
    assert nobody["fallback"]
    assert not worker.post("/v1/recommend", json={"user": "9"}).json()["fallback"]


def test_users_who_do_not_fit_are_refused(worker: Worker, shop_place: Place) -> None:
    before, users = asked(worker), shop_place.shop.users
    Users(users.ids, users.columns, {}, users.seen).save(shop_place.users)
    worker.post("/v1/admin/reload")
    assert asked(worker) == before
    assert loads(worker) == {"loaded": 1, "failed": 1}


def test_what_was_read_in_the_middle_of_a_change_is_read_again(
    shop_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is replaced between two reads: neither the start nor a reload fails for it."""
    calls, refused = 0, list[str]()

    def torn(sources: Sources) -> Loaded:
        nonlocal calls
        calls += 1
        if calls % 2:
            shop_place.write(random_shop(SMALL, 10 + calls))
            raise ArtifactError("weights.safetensors was changed: its hash is another.")
        return load_sources(sources)

    monkeypatch.setattr(live_module, "load_sources", torn)
    live = Live(Sources(shop_place.model, shop_place.users), failed=refused.append)
    live.start()
    assert live.loaded is not None
    first = live.loaded.about.version
    shop_place.write(random_shop(SMALL, 30))

    async def again() -> list[bool]:
        return [await live.refresh() for _ in range(3)]

    assert asyncio.run(again()) == [False, True, False]
    assert live.loaded.about.version != first
    assert (calls, refused) == (4, [])


def test_a_new_model_deep_in_a_sealed_folder_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, plain, sealed = b"m" * 32, tmp_path / "plain", tmp_path / "sealed"
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", key.decode())
    place = make_place(plain / "shops" / "one")
    seal(plain, sealed, key)
    there = sealed / "shops" / "one"
    live = Live(Sources(there / "model", there / "users.rp"))
    live.start()
    assert live.loaded is not None
    first = live.loaded.about.version
    assert not asyncio.run(live.refresh())
    place.write(random_shop(SMALL, 8))
    seal(plain, sealed, key)
    assert asyncio.run(live.refresh())
    assert live.loaded.about.version != first


def test_a_start_on_a_damaged_model_fails_at_once(shop_place: Place) -> None:
    no_json(shop_place.model)
    with pytest.raises(ArtifactError):
        Live(Sources(shop_place.model)).start()


def test_former_models_are_let_go(worker: Worker, shop_place: Place) -> None:
    """A service that is given a new model every hour must not hold last week's."""
    shops = [random_shop(SMALL, seed) for seed in (20, 21)]
    kept: list[weakref.ref[Any]] = []
    put = Live._put

    def noted(live: Live, loaded: Loaded) -> None:
        kept.extend(weakref.ref(part) for part in (loaded, loaded.scorer, loaded.users))
        put(live, loaded)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Live, "_put", noted)
        for number in range(6):
            shop_place.write(shops[number % 2])
            worker.post("/v1/admin/reload")
            assert asked(worker) == answer_of(shops[number % 2], Users.load(shop_place.users))
    gc.collect()
    assert len(kept) == 18
    assert [ref() is None for ref in kept] == [True] * 15 + [False] * 3


def test_hidden_items_are_hidden_in_the_next_model_too(worker: Worker, shop_place: Place) -> None:
    best = asked(worker)[0][0]
    assert worker.post("/v1/admin/hide", json={"items": [best, "gone"]}).json() == {"hidden": 2}
    assert best not in dict(asked(worker))
    shop_place.write(random_shop(SMALL, 8))
    worker.post("/v1/admin/reload")
    assert best not in dict(asked(worker))
    assert worker.post("/v1/admin/show", json={"items": [int(best)]}).json() == {"hidden": 1}
    assert best in dict(asked(worker))


def test_a_damaged_list_of_hidden_items_stops_recommendations_alone(
    worker: Worker, shop_place: Place
) -> None:
    """Rather none than one that was withdrawn."""
    (shop_place.state / "hidden.json").write_text("{")
    refused = worker.post("/v1/recommend", json=ASKED)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hidden_unknown")
    assert worker.post("/v1/score", json={"user": "2", "items": ["1"]}).status_code == 200
    about = {"format": "recprune-hidden", "version": 1, "items": []}
    (shop_place.state / "hidden.json").write_text(json.dumps(about))
    assert worker.post("/v1/recommend", json=ASKED).status_code == 200
