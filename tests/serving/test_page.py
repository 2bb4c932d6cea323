"""The page over HTTP: who gets to see it, what it says, and what it never lets through."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from recprune.runtime import Scorer
from recprune.security import Bounds, KeyStore, NetworkRules
from recprune.security.bodies import ClientGone, read_body
from recprune.serving import Guards
from recprune.serving.doorway import Doorway
from recprune.serving.sessions import LIFETIME, Sessions
from tests.runtime.factory import (
    KINDS,
    Shop,
    plain_schema,
    random_artifact,
    random_encoder,
    random_shop,
)

from .inprocess import inprocess, settings_of
from .living import PEPPER, Living, Place, living, make_place

OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def stranger(service: Living) -> Iterator[httpx.Client]:
    """A browser that has not logged in."""
    with service.client() as client:
        yield client


@pytest.fixture
def visitor(stranger: httpx.Client, place: Place) -> httpx.Client:
    """One that has."""
    log_in(stranger, place.token("recommend", "score"))
    return stranger


def log_in(client: httpx.Client, token: str, headers: dict[str, str] = OWN) -> httpx.Response:
    return client.post("/login", data={"key": token}, headers=headers)


def recommend(client: httpx.Client, **fields: str) -> httpx.Response:
    return client.post("/try/recommend", data={"k": "5", **fields}, headers=OWN)


def items_of(page: httpx.Response) -> list[str]:
    return re.findall(r'</td><th scope="row">(.*?)</th>', page.text)


def test_a_stranger_sees_a_form_and_nothing_of_the_model(stranger: httpx.Client) -> None:
    page = stranger.get("/")
    assert page.status_code == 401
    assert 'name="key"' in page.text
    assert "DeepFM" not in page.text
    assert "shop" not in page.text
    assert 'role="alert"' not in page.text


def test_a_key_opens_the_page_and_logging_out_closes_it(visitor: httpx.Client) -> None:
    assert "DeepFM" in visitor.get("/").text
    left = visitor.post("/logout", headers=OWN)
    assert (left.status_code, left.headers["location"]) == (303, "/")
    assert visitor.get("/").status_code == 401


def test_the_cookie_is_for_this_host_alone_and_holds_no_key(
    stranger: httpx.Client, place: Place
) -> None:
    token = place.token("recommend")
    answer = log_in(stranger, token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFETIME}"} <= set(
        cookie.split("; ")
    )
    value = cookie.partition("=")[2].partition(";")[0]
    assert token not in cookie
    assert Sessions(PEPPER.encode()).opened(value) == token
    assert Sessions(b"q" * 32).opened(value) is None
    changed = ("A" if value[30] != "A" else "B").join((value[:30], value[31:]))
    assert Sessions(PEPPER.encode()).opened(changed) is None


def test_a_session_ends_by_time_and_with_its_key(stranger: httpx.Client, place: Place) -> None:
    keys = KeyStore(place.state / "keys.json", PEPPER.encode())
    key, token = keys.create("short", ("recommend",))
    sessions = Sessions(PEPPER.encode())
    for ago, status in ((LIFETIME - 60, 200), (LIFETIME + 1, 401)):
        stranger.cookies.set("recprune", sessions.sealed(token, time.time() - ago))
        assert stranger.get("/").status_code == status
    stranger.cookies.clear()
    log_in(stranger, token)
    assert stranger.get("/").status_code == 200
    keys.revoke(key.id)
    page = stranger.get("/")
    assert page.status_code == 401
    assert "This key was revoked." in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "https://evil.example", "referer": "http://127.0.0.1/"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/try/recommend", "/try/score"])
def test_forms_of_other_sites_are_refused(
    visitor: httpx.Client, place: Place, path: str, headers: dict[str, str]
) -> None:
    data = {"key": place.token("recommend"), "user": "2", "k": "5"}
    answer = visitor.post(path, data=data, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert items_of(answer) == []
    assert visitor.get("/").status_code == 200


def test_who_is_kept_out_is_told_nothing_by_forms(place: Place) -> None:
    kept_out = Guards(NetworkRules(deny=("192.0.2.0/24",)))
    with inprocess(place, settings_of(place, guards=kept_out)) as worker:
        for headers in ({}, OWN):
            answer = worker.post("/login", data={"key": "rk_1"}, headers=headers)
            assert (answer.status_code, "not let in" in answer.text) == (403, True)


def test_a_cookie_ends_where_it_is_good_for_nothing_and_none_is_set_before(
    stranger: httpx.Client,
) -> None:
    assert "set-cookie" not in stranger.get("/").headers, "a link from elsewhere logs nobody out"
    ended = stranger.get("/", headers={"cookie": "recprune=old"})
    assert ended.status_code == 401
    assert "Max-Age=0" in ended.headers["set-cookie"]


def test_a_browser_that_tells_its_origin_alone_may_log_in(
    stranger: httpx.Client, place: Place, service: Living
) -> None:
    answer = log_in(stranger, place.token("recommend"), {"origin": service.url})
    assert answer.status_code == 303


def test_a_cookie_that_was_made_to_be_slow_takes_no_time(stranger: httpx.Client) -> None:
    cookie = 'recprune="' + '\\"' * 15_000 + '"'
    # Unquoting it by http.cookies took 1.3 s: it is refused before.
    assert stranger.get("/", headers={"cookie": cookie}).status_code == 431


def test_a_cookie_is_found_among_others(stranger: httpx.Client, place: Place) -> None:
    log_in(stranger, place.token("recommend"))
    own = f"recprune={stranger.cookies['recprune']}"
    stranger.cookies.clear()
    for sent in (own, f'a=1; {own};b="x;y"', f"a;{own}"):
        assert stranger.get("/", headers={"cookie": sent}).status_code == 200, sent


def test_a_wrong_key_is_told_and_gets_no_cookie(stranger: httpx.Client) -> None:
    for wrong in ("", "rk_000000000000_" + "x" * 43, "\r\nx-api-key: é", "x" * 200):
        answer = log_in(stranger, wrong)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "not valid" in answer.text
    assert stranger.get("/").status_code == 401


def test_who_hangs_up_is_answered_nothing() -> None:
    """Else each would count as a failure of the service."""

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(ClientGone):
            await read_body(receive, Bounds())

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": "/try/recommend", "headers": []}
    asyncio.run(Doorway(gate, None)(scope, receive, send))
    assert sent == []


def test_a_long_log_in_is_cut_short(stranger: httpx.Client) -> None:
    assert log_in(stranger, "x" * 5000).status_code == 413


def test_a_user_gets_the_scorers_items(visitor: httpx.Client, place: Place) -> None:
    shop = place.shop
    best = Scorer(shop.artifact).recommend_user(shop.users, "2", 5)
    page = recommend(visitor, user="2")
    assert page.status_code == 200
    assert items_of(page) == list(best.items)
    assert [
        float(s) for s in re.findall(r'<td class="number">([01]\.\d{4})</td></tr>', page.text)
    ] == (pytest.approx(best.scores.tolist(), abs=1e-4))
    assert "is not known" not in page.text


def test_an_unknown_user_gets_the_fallback_and_is_told_so(visitor: httpx.Client) -> None:
    for unknown in ("", "nobody"):
        page = recommend(visitor, user=unknown)
        assert len(items_of(page)) == 5
        assert "This user is not known" in page.text


def test_a_record_stands_for_a_user_who_is_not_stored(visitor: httpx.Client, place: Place) -> None:
    record = {"age": 1.5}
    page = recommend(visitor, record=json.dumps(record))
    assert items_of(page) == list(Scorer(place.shop.artifact).recommend(record, 5).items)


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"k": "1000"}, "less than or equal to 100"),
        ({"k": "many"}, "whole number"),
        ({"record": "{"}, "no JSON"),
        ({"record": "[1]"}, "must be an object"),
        ({"record": '{"age": NaN}'}, "no JSON"),
        ({"record": '{"age": ' + "9" * 5000 + "}"}, "no JSON"),
        ({"record": "{}"}, "record lacks"),
        ({"record": '{"age": 1}', "user": "2"}, "not both"),
        ({"record": '{"age": "<script>"}'}, "age"),
        ({"user": "2", "label": "<script>alert(1)</script>"}, "label"),
    ],
)
def test_mistakes_are_told_beside_what_was_typed(
    visitor: httpx.Client, fields: dict[str, str], told: str
) -> None:
    page = recommend(visitor, **fields)
    assert page.status_code == 422
    alert = re.search(r'role="alert">(.*?)</p>', page.text, re.DOTALL)
    assert alert is not None
    assert told in alert[1]
    assert "<script" not in page.text
    assert items_of(page) == []


def test_everything_typed_or_written_by_others_is_text(visitor: httpx.Client) -> None:
    typed = """"><script>alert(1)</script>{{ 7*7 }}'"""
    page = recommend(visitor, user=typed)
    assert page.status_code == 200
    for text in (page.text, visitor.get("/").text):
        assert "<script" not in text
        assert "<img" not in text
        assert "<b>" not in text
        assert 'href="https:' not in text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "<h3>Pruned recommender: shop</h3>" in page.text
    assert '<td class="number">0.7741</td>' in page.text


def test_the_verdict_is_on_the_page(visitor: httpx.Client) -> None:
    page = visitor.get("/").text
    assert "PASS" in page
    assert "AUC differs by −0.0004 (−0.0011 to +0.0003)" in page


def test_live_figures_move(visitor: httpx.Client, service: Living, place: Place) -> None:
    def tile(name: str) -> int:
        found = re.search(rf"<dt>{name}</dt><dd><strong>([\d,]+)<", visitor.get("/").text)
        assert found is not None
        return int(found[1].replace(",", ""))

    names = ("Unknown users", "Hidden items", "Refused")
    before = {name: tile(name) for name in names}
    recommend(visitor, user="nobody")
    with service.client(place.token("admin")) as admin:
        admin.post("/v1/admin/hide", json={"items": ["7"]})
        assert admin.post("/v1/recommend", json={"user": "2"}).status_code == 403
        after = {name: tile(name) for name in names}
        admin.post("/v1/admin/show", json={"items": ["7"]})
    assert {n: after[n] - before[n] for n in names} == dict.fromkeys(names, 1)


def test_a_key_without_the_scope_sees_the_page_and_cannot_try(
    stranger: httpx.Client, place: Place
) -> None:
    log_in(stranger, place.token("score"))
    assert stranger.get("/").status_code == 200
    page = recommend(stranger, user="2")
    assert page.status_code == 403
    assert "scope" in page.text
    assert items_of(page) == []


def test_a_program_reads_the_page_by_its_header(service: Living, place: Place) -> None:
    token = place.token("recommend")
    with service.client(token) as client:
        assert client.get("/").status_code == 200
        # A cookie never stands in for credentials that are wrong.
        client.cookies.set("recprune", Sessions(PEPPER.encode()).sealed(token))
        assert client.get("/", headers={"x-api-key": "rk_wrong"}).status_code == 401
        assert client.get("/v1/model", headers={"x-api-key": ""}).status_code == 401


def test_the_cookie_opens_nothing_but_the_page(visitor: httpx.Client) -> None:
    assert visitor.get("/v1/model").status_code == 401
    assert visitor.post("/v1/recommend", json={"user": "2"}).status_code == 401


def test_the_policy_lets_nothing_in(visitor: httpx.Client) -> None:
    for page in (visitor.get("/"), httpx.get(visitor.base_url.join("/"))):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for part in ("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert page.headers.get_list("cache-control") == ["no-store"]
        assert page.headers.get_list("referrer-policy") == ["same-origin"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "style=" not in page.text.partition("</style>")[2]


def test_no_typed_id_is_logged(visitor: httpx.Client, service: Living, place: Place) -> None:
    recommend(visitor, user="ann.secret@example.com")
    recommend(visitor, record='{"age": "ann.secret@example.com"}')
    time.sleep(0.2)
    files = (f.read_bytes() for f in place.state.iterdir() if f.is_file())
    said = b"\n".join(files) + "\n".join(service.said).encode()
    assert b"ann.secret" not in said


def test_a_model_of_rows_has_a_form_of_a_row_and_insecure_needs_no_key(tmp_path) -> None:
    artifact = random_artifact(random_encoder(plain_schema(4, 2), 1), KINDS[2], 1)
    place = make_place(tmp_path, Shop(artifact, random_shop(KINDS[2], 1).users, {}))
    row = {"f0": "1", "f1": "2", "f2": 0.5, "f3": None}
    with living(place, "--insecure", users=False) as service, service.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert 'action="/try/score' in page.text
        assert "/logout" not in page.text
        assert "No verdict" in page.text
        assert "No card" in page.text
        answer = client.post("/try/score", data={"record": json.dumps(row)}, headers=OWN)
        score = Scorer(artifact).score({n: [v] for n, v in row.items()})[0]
        assert f"{score:.4f}</td>" in answer.text
        lacking = client.post("/try/score", data={"record": "{}"}, headers=OWN)
        assert (lacking.status_code, "lacks" in lacking.text) == (422, True)
