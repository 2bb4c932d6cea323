"""A service as its callers see it."""

from __future__ import annotations

from .living import Living, Place


def test_a_stored_user_gets_the_scorers_items_and_an_unknown_one_the_fallback(
    service: Living, place: Place
) -> None:
    from recprune.runtime import Scorer

    scorer = Scorer(place.shop.artifact)
    with service.client(place.token("recommend")) as client:
        known = client.post("/v1/recommend", json={"user": "2", "k": 5}).json()
        unknown = client.post("/v1/recommend", json={"user": "nobody", "k": 5}).json()
    best = scorer.recommend_user(place.shop.users, "2", 5)
    assert [each["item"] for each in known["items"]] == list(best.items)
    assert (known["fallback"], unknown["fallback"]) == (False, True)
    best = scorer.recommend_user(place.shop.users, None, 5)
    assert [each["item"] for each in unknown["items"]] == list(best.items)


def test_nothing_but_liveness_is_open(service: Living) -> None:
    with service.client() as client:
        assert client.get("/health/live").json() == {"status": "live"}
        for path in ("/health/ready", "/v1/model", "/metrics", "/openapi.json", "/nowhere"):
            assert client.get(path).status_code == 401, path
