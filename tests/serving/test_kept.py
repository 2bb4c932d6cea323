"""Answers that are kept are those that would be computed, and end with what they were made from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.serving import Most
from recprune.serving.kept import ENTRY, Kept, KeptAnswers
from tests.runtime.factory import random_shop

from .inprocess import Worker, inprocess, settings_of
from .living import SMALL, Place, make_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def given_again(worker: Worker) -> float:
    found = re.search(r"^recprune_answers_kept_total (\S+)$", worker.get("/metrics").text, re.M)
    assert found
    return float(found[1])


def test_who_asks_again_is_given_the_same_again(place: Place) -> None:
    asked = [{"user": "2", "k": 5}, {"user": "nobody"}, {"users": ["1", "nobody"], "k": 2}]
    with inprocess(place) as worker:
        first = [worker.post("/v1/recommend", json=each).content for each in asked]
        assert given_again(worker) == 0
        again = [worker.post("/v1/recommend", json=each).content for each in asked]
        assert again == first
        assert given_again(worker) == 3
        # Unknown users are counted whether or not their answer is computed.
        assert "recprune_fallbacks_total 4.0" in worker.get("/metrics").text
    with inprocess(place, settings_of(place, most=Most(kept_bytes=0))) as worker:
        computed = [worker.post("/v1/recommend", json=each).content for each in asked * 2]
        assert computed == first * 2
        assert given_again(worker) == 0


def test_a_hidden_item_is_in_no_kept_answer(place: Place) -> None:
    asked = {"user": "2", "k": 5}
    with inprocess(place) as worker:
        before = [each["item"] for each in worker.post("/v1/recommend", json=asked).json()["items"]]
        assert worker.post("/v1/recommend", json=asked).json()["items"][0]["item"] == before[0]
        worker.post("/v1/admin/hide", json={"items": before[:2]})
        hidden = [each["item"] for each in worker.post("/v1/recommend", json=asked).json()["items"]]
        assert not set(hidden) & set(before[:2])
        worker.post("/v1/admin/show", json={"items": before[:2]})
        shown = [each["item"] for each in worker.post("/v1/recommend", json=asked).json()["items"]]
        assert shown == before


def test_another_model_and_other_users_end_what_was_kept(place: Place) -> None:
    asked = {"user": "2", "k": 5}
    with inprocess(place) as worker:
        first = worker.post("/v1/recommend", json=asked).json()
        place.write(random_shop(SMALL, 4))
        worker.post("/v1/admin/reload")
        second = worker.post("/v1/recommend", json=asked).json()
        assert second["model"] != first["model"]
        assert second["items"] != first["items"]
        assert worker.post("/v1/recommend", json=asked).json() == second
        random_shop(SMALL, 4, n_users=2).users.save(place.users)
        worker.post("/v1/admin/reload")
        assert worker.post("/v1/recommend", json=asked).json()["fallback"] is True


PIECE = st.binary(min_size=0, max_size=40)


@given(st.lists(st.tuples(PIECE, PIECE), max_size=60), st.integers(0, 4 * (ENTRY + 40)))
def test_no_more_is_kept_than_fits_and_the_latest_asked_for_stay(
    asked: list[tuple[bytes, bytes]], most: int
) -> None:
    kept = KeptAnswers(most, lambda: ())
    order: list[tuple[bytes, bytes]] = []
    for request, body in asked:
        found = kept.get(request)
        known = dict(order).get(request)
        assert (found and found.body) == known
        order = [each for each in order if each[0] != request]
        if found is None:
            kept.keep(request, Kept(body, ()))
            if len(request) + len(body) + ENTRY <= most:
                order.append((request, body))
        else:
            order.append((request, found.body))
        while sum(len(r) + len(b) + ENTRY for r, b in order) > most:
            order.pop(0)


def test_nothing_outlives_what_it_was_made_from() -> None:
    source: list[object] = [object()]
    kept = KeptAnswers(10_000, lambda: (source[0],))
    assert kept.get(b"a") is None
    kept.keep(b"a", Kept(b"one", ()))
    assert kept.get(b"a") == Kept(b"one", ())
    source[0] = object()
    assert kept.get(b"a") is None
    kept.keep(b"long" * 1000, Kept(b"one", ()))
    assert kept.get(b"long" * 1000) is None
