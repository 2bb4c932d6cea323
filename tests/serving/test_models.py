"""Models and stores of every kind in service: rows, several labels, pseudonyms, sealed folders."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.crypto import Pseudonymiser
from recprune.envelope import seal
from recprune.errors import RunError
from recprune.runtime import Scorer
from recprune.schema import Field, Schema
from recprune.serving import Callers, KeyFiles, Most, Sources
from recprune.users import Users
from tests.runtime.drafts import MODELS, random_model
from tests.runtime.factory import MIXED, random_artifact, random_encoder, random_shop

from .inprocess import Worker, inprocess, settings_of
from .living import SMALL, Place, make_place


@pytest.fixture
def rows_alone(tmp_path: Path) -> Place:
    """A model that ranks rows: it has no catalogue, and nobody is stored."""
    place = make_place(tmp_path)
    encoder = random_encoder(MIXED, 5)
    artifact = random_model(encoder, MODELS["mlp_norm"], 5)
    place.write(replace(place.shop, artifact=artifact))
    return place


ROW = {
    "user": "1", "tags": ["1", "3"], "age": 3, "picture": [1.0, 2.0, 3.0], "hour": 1.5,
    "shelf": "2", "place": None,
}  # fmt: skip


def test_a_model_that_ranks_rows_scores_rows_alone(rows_alone: Place) -> None:
    scorer = Scorer(rows_alone.shop.artifact)
    scorer.warm_up()
    with inprocess(rows_alone, settings_of(rows_alone, users=False)) as worker:
        answer = worker.post("/v1/score", json={"rows": [ROW, {**ROW, "hour": None}]}).json()
        columns = {name: [ROW[name]] * 2 for name in ROW} | {"hour": [1.5, None]}
        assert answer["scores"] == scorer.score(columns).tolist()
        assert answer["fallback"] is False
        for path, asked in (
            ("recommend", {"user": "1"}),
            ("score", {"user": "1", "items": ["1"]}),
        ):
            refused = worker.post(f"/v1/{path}", json=asked)
            assert refused.status_code == 422
            assert refused.json()["error"]["code"] == "unfit"
        facts = worker.get("/v1/model").json()
        assert (facts["items"], facts["stored_users"]) == (None, None)
        assert {f["name"] for f in facts["fields"] if f["required"]} == set(ROW)


@pytest.mark.parametrize("column", ROW)
def test_a_row_without_a_column_is_told_which(rows_alone: Place, column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    with inprocess(rows_alone, settings_of(rows_alone, users=False)) as worker:
        refused = worker.post("/v1/score", json={"rows": [ROW, row]})
    assert refused.status_code == 422
    assert f"rows.1 lacks '{column}'" in refused.json()["error"]["message"]


def test_stored_columns_need_not_be_named(place: Place) -> None:
    scorer, users = Scorer(place.shop.artifact), place.shop.users
    scorer.warm_up()
    row = {
        "item_id": "7", "category": "1", "price": 0.5, "hour": 2.0, "times_category": 1,
        "days_category": 3, "times_item": 2, "favourite": "1",
    }  # fmt: skip
    with inprocess(place) as worker:
        named = [{**row, "user_id": user} for user in ("3", 2, "nobody")]
        answer = worker.post("/v1/score", json={"rows": named}).json()
        ages = [users.columns["age"][3], users.columns["age"][2], None]
        columns = {name: [row[name]] * 3 for name in row}
        columns |= {"user_id": ["3", "2", None], "age": ages}
        assert answer["scores"] == scorer.score(columns).tolist()
        assert answer["fallback"] is True
        # A value that is sent counts for more than the stored one.
        sent = {**row, "user_id": "3", "age": 1.25}
        told = worker.post("/v1/score", json={"rows": [sent]}).json()
        columns = {n: [v] for n, v in sent.items()}
        assert (told["scores"], told["fallback"]) == (scorer.score(columns).tolist(), False)
        # Somebody who is not named has no stored columns.
        refused = worker.post("/v1/score", json={"rows": [row]})
        assert refused.status_code == 422
        assert "'user_id', 'age'" in refused.json()["error"]["message"]


def test_a_row_scores_the_same_whatever_other_rows_name(tmp_path: Path) -> None:
    """One names a part of a date, another the date, and of a third it is stored."""
    fields = (
        Field("user", "categorical", "user"),
        Field("month", "numeric", "user", of="joined", part="month"),
        Field("hour", "numeric"),
    )
    place = make_place(tmp_path)
    encoder = random_encoder(Schema(fields, label="y", user="user"), 1)
    place.write(replace(place.shop, artifact=random_artifact(encoder, SMALL, 1)))
    Users(("7",), {"user": ["7"], "joined": ["2024-01-05"]}).save(place.users)
    rows = [
        {"user": None, "month": 1, "hour": 1.0},
        {"user": None, "joined": "2024-01-09", "hour": 1.0},
        {"user": "7", "hour": 1.0},
        {"user": None, "month": None, "joined": "no date, and not read", "hour": 1.0},
        {"user": None, "joined": None, "hour": 1.0},
    ]
    with inprocess(place) as worker:
        alone = [worker.post("/v1/score", json={"rows": [r]}).json()["scores"][0] for r in rows]
        together = worker.post("/v1/score", json={"rows": rows}).json()["scores"]
        facts = worker.get("/v1/model").json()["fields"]
    assert together == pytest.approx(alone, abs=1e-5)
    assert alone[0] == pytest.approx(alone[1], abs=1e-5)
    assert abs(alone[0] - alone[3]) > 1e-3, "a month that is known counts"
    assert {f["name"] for f in facts if f["required"]} == {"hour"}


def test_drift_is_of_the_main_labels_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another label's scores lie elsewhere; that whoever asks for them is no drift of the model."""
    monkeypatch.setattr("recprune.serving.metrics.WINDOW", 3)
    place = make_place(tmp_path, random_shop({**MODELS["shared"]}, 4))
    with inprocess(place) as worker:

        def watched(label: str | None) -> set[str]:
            for user in ("1", "2", "3", "4"):
                asked = {"user": user, "label": label}
                worker.post("/v1/recommend", json=asked)
                worker.post("/v1/score", json={**asked, "items": ["1", "2"]})
            return set(re.findall(r'^recprune_score_drift{route="(\S+)"}', told(worker), re.M))

        assert watched("purchase") == watched("return") == set()
        assert watched(None) == {"/v1/recommend", "/v1/score"}


def told(worker: Worker) -> str:
    return worker.get("/metrics").text


def test_rows_and_records_without_a_user_count_none(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    record = {**place.shop.users.record_at(1), "age": 30.0}
    for table in place.shop.users.cross.values():
        record |= {name: {} for name in table.fields}
    with inprocess(place) as worker:
        for _ in ("computed", "kept"):
            answer = worker.post("/v1/recommend", json={"record": record, "context": {"hour": 1.0}})
            assert answer.status_code == 200, answer.text
        assert "recprune_answers_kept_total 1.0" in told(worker)
        assert 'recprune_users_total{known="yes"} 0.0' in told(worker)
        row = {each["name"]: None for each in worker.get("/v1/model").json()["fields"]}
        assert worker.post("/v1/score", json={"rows": [row]}).status_code == 200
        assert 'recprune_users_total{known="yes"} 0.0' in told(worker)
        assert worker.post("/v1/score", json={"rows": [{**row, "user_id": "1"}]}).status_code == 200
        assert 'recprune_users_total{known="yes"} 1.0' in told(worker)
    with inprocess(place, settings_of(place, users=False)) as worker:  # nobody is looked up
        assert worker.post("/v1/score", json={"rows": [{**row, "user_id": "1"}]}).status_code == 200
        assert 'recprune_users_total{known="yes"} 0.0' in told(worker)


def test_each_label_is_ranked_by_itself(tmp_path: Path) -> None:
    shop = random_shop({**MODELS["shared"]}, 4)
    place = make_place(tmp_path, shop)
    scorer = Scorer(shop.artifact)
    scorer.warm_up()
    with inprocess(place) as worker:
        assert worker.get("/v1/model").json()["labels"] == ["click", "purchase", "return"]
        orders = set()
        for label in (None, "click", "purchase", "return"):
            asked: dict[str, Any] = {"user": "2", "k": 40, "label": label}
            answer = worker.post("/v1/recommend", json=asked).json()
            best = scorer.recommend_user(shop.users, "2", 40, label=label)
            assert [(i["item"], i["score"]) for i in answer["items"]] == list(
                zip(best.items, best.scores.tolist(), strict=True)
            )
            orders.add(best.items)
            items = worker.post(
                "/v1/score", json={"user": "2", "items": list(best.items), "label": label}
            ).json()
            assert items["scores"] == best.scores.tolist()
            assert items["label"] == (label or "click")
        assert len(orders) == 3
        for path, asked in (
            ("recommend", {"user": "2", "label": "clik"}),
            ("score", {"user": "2", "items": ["1"], "label": "clik"}),
        ):
            refused = worker.post(f"/v1/{path}", json=asked)
            assert refused.status_code == 422
            assert "label" in refused.json()["error"]["message"]


def test_pseudonymised_users_are_found_under_the_present_and_a_former_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(tmp_path)
    users, keys = place.shop.users, {"new": b"n" * 32, "old": b"o" * 32}
    people = {name: Pseudonymiser(key) for name, key in keys.items()}
    for name, key in keys.items():
        (tmp_path / name).write_bytes(key)
    ids = tuple(people["old" if i % 2 else "new"].pseudonym(u) for i, u in enumerate(users.ids))
    columns = {**users.columns, "user_id": list(ids)}
    hashed = Users(ids, columns, users.cross, users.seen)
    hashed.save(place.users)
    scorer = Scorer(place.shop.artifact)
    scorer.warm_up()
    files = KeyFiles(pseudonym=(tmp_path / "new", tmp_path / "old"), pseudonymised=True)
    with inprocess(place, settings_of(place, callers=Callers(keys=files))) as worker:
        for index, raw in enumerate(users.ids):
            for user in (raw, int(raw)):
                answer = worker.post("/v1/recommend", json={"user": user, "k": 40}).json()
                best = scorer.recommend_user(hashed, ids[index], 40)
                assert answer["fallback"] is False
                assert [i["item"] for i in answer["items"]] == list(best.items)
                assert [i["score"] for i in answer["items"]] == best.scores.tolist()
        # A pseudonym that somebody got hold of is no way in.
        nobody = worker.post("/v1/recommend", json={"user": "nobody", "k": 40}).json()
        assert nobody["fallback"]
        assert worker.post("/v1/recommend", json={"user": ids[0], "k": 40}).json() == nobody
        row = dict.fromkeys(place.shop.artifact.encoder.schema.names)
        scores = [
            worker.post("/v1/score", json={"rows": [{**row, "user_id": user}]}).json()
            for user in ("1", ids[1])
        ]
        assert [s["fallback"] for s in scores] == [False, True]
        assert all(raw_id not in json.dumps(scores) for raw_id in ids)


def test_sealed_folders_answer_as_plain_ones(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        ("/v1/recommend", {"users": ["0", "3", "nobody"], "k": 40}),
        ("/v1/score", {"user": "3", "items": ["1", "2"]}),
    ]
    with inprocess(place) as worker:
        plain = [worker.post(path, json=what).json() for path, what in asked]
        version = worker.get("/v1/model").json()["model"]
    key = b"m" * 32
    (tmp_path / "state").mkdir()
    sealed = Place(tmp_path, place.shop)
    seal(place.model, sealed.model, key)
    seal(place.users, sealed.users, key)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", key.decode())
    with inprocess(sealed) as worker:
        assert [worker.post(path, json=what).json() for path, what in asked] == plain
        assert worker.get("/v1/model").json()["model"] == version
        # Sealed anew under another key of the folder's own, it is the same model.
        seal(place.model, tmp_path / "again", key)
        (sealed.model).rename(tmp_path / "former")
        (tmp_path / "again").rename(sealed.model)
        assert worker.post("/v1/admin/reload").json()["model"] == version
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", "x" * 32)
    with pytest.raises(AssertionError, match=r"startup\.failed"), inprocess(sealed):
        pass


def test_a_model_that_says_one_thing_to_all_is_not_served(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    artifact = place.shop.artifact
    flat = replace(artifact, state={n: np.zeros_like(a) for n, a in artifact.state.items()})
    place.write(replace(place.shop, artifact=flat))
    from recprune.serving.loading import load_sources

    with pytest.raises(RunError, match="one and the same score"):
        load_sources(Sources(place.model))
    with pytest.raises(AssertionError, match=r"startup\.failed"), inprocess(place):
        pass


def test_readiness_ends_before_the_worker_does(place: Place) -> None:
    with inprocess(place) as worker:
        assert worker.get("/health/ready").json() == {"status": "ready"}
        worker.drain()
        refused = worker.get("/health/ready")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert refused.headers["retry-after"]
        assert worker.get("/health/live").status_code == 200


def test_facts_of_the_model(place: Place) -> None:
    with inprocess(place, scopes=("score",)) as worker:
        facts = worker.get("/v1/model").json()
        answered = worker.post("/v1/score", json={"user": None, "items": [1]}).json()["model"]
    schema = place.shop.artifact.encoder.schema
    assert facts["model"] == answered
    assert (facts["kind"], facts["labels"]) == ("DeepFM", ["y"])
    assert (facts["items"], facts["stored_users"]) == (40, 6)
    assert [f["name"] for f in facts["fields"]] == list(schema.names)
    assert [f["source"] for f in facts["fields"]] == [f.source for f in schema.fields]
    assert {f["name"] for f in facts["fields"] if not f["required"]} == {"user_id", "age"}
    assert facts["bytes_in_memory"] > 0


def test_a_service_takes_no_more_than_it_was_told(place: Place) -> None:
    few = settings_of(place, most=Most(k=3, rows=2, users=2, named=4))
    row = dict.fromkeys(place.shop.artifact.encoder.schema.names)
    fits: list[tuple[str, dict[str, Any], str]] = [
        ("recommend", {"user": "1", "k": 3}, "k"),
        ("recommend", {"users": ["1", "2"]}, "users"),
        ("recommend", {"user": "1", "k": 3, "deny": [1, 2, 3, 4]}, "deny"),
        ("recommend", {"user": "1", "k": 3, "seen": [1, 2, 3, 4]}, "seen"),
        ("recommend", {"user": "1", "k": 3, "candidates": [1, 2, 3, 4]}, "candidates"),
        ("score", {"rows": [row, row]}, "rows"),
        ("score", {"user": "1", "items": [1, 2]}, "items"),
    ]
    with inprocess(place, few) as worker:
        for path, asked, name in fits:
            good = worker.post(
                f"/v1/{path}", json=asked | ({"k": 3} if path == "recommend" else {})
            )
            assert good.status_code == 200, good.text
            more = {name: 4} if name == "k" else {name: [*asked[name], asked[name][0]]}
            refused = worker.post(f"/v1/{path}", json=asked | more)
            assert refused.status_code == 422, name
            assert refused.json()["error"]["message"].startswith(name)
        assert worker.post("/v1/recommend", json={"user": "1"}).status_code == 200
