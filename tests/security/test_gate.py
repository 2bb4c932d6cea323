"""The gate, in the tests' own process: who comes in, and what everyone else is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from recprune.errors import ParameterError
from recprune.security import Bounds, Limits, NetworkRules, OpenAccess, Policy, verify
from recprune.security.gate import Gate

from .asking import AUDIT_KEY, RULES, Service, ask, bearer


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_a_key_with_the_scope_comes_in(service: Service) -> None:
    answer = service.ask("POST", "/v1/score", headers=bearer(service.token("score")), body=b"{}")
    told = json.loads(answer.body)
    assert answer.status == 200
    assert told["bytes"] == 2
    assert told["caller"][0] == "key"
    assert told["caller"][2] == ["score"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("HEAD", "/health/live", 200),
        ("GET", "/v1/model", 401),
        ("POST", "/v1/score", 401),
        ("OPTIONS", "/v1/score", 401),
        ("GET", "/nothing", 401),
        ("POST", "/health/live", 401),
    ],
)
def test_without_a_key_only_what_is_open_answers(
    service: Service, method: str, path: str, status: int
) -> None:
    answer = service.ask(method, path)
    assert answer.status == status
    assert service.app.asked == (status == 200)
    assert (b"www-authenticate" in answer.headers) == (status == 401)


# What another reader of addresses could take for an admin's route.
@pytest.mark.parametrize(
    "path",
    [
        "//v1/hide",
        "/v1//hide",
        "/v1/hide/",
        "/v1/./hide",
        "/v1/x/../hide",
        "/V1/HIDE",
        "/v1/hide%20",
        "/v1/%68ide",
        "/v1/hide;x",
        "/v1/hide\x00",
        "/v1\\hide",
        "v1/hide",
        "",
        "*",
    ],
)
def test_a_path_that_only_looks_like_a_rules_does_not_reach_the_service(
    service: Service, path: str
) -> None:
    for token in (service.token("admin"), service.token("score")):
        answer = service.ask("POST", path, headers=bearer(token))
        assert (answer.status, answer.code) == (404, "not_found")
    assert service.app.asked == 0


def test_a_key_without_the_scope_stays_out(service: Service) -> None:
    answer = service.ask("POST", "/v1/hide", headers=bearer(service.token("score", "recommend")))
    assert (answer.status, answer.code) == (403, "scope_missing")
    assert b'scope="admin"' in answer.headers[b"www-authenticate"]
    assert service.app.asked == 0


def test_another_method_is_told_which_there_are(service: Service) -> None:
    answer = service.ask("GET", "/v1/score", headers=bearer(service.token()))
    assert (answer.status, answer.headers[b"allow"]) == (405, b"POST")
    answer = service.ask("PUT", "/v1/model", headers=bearer(service.token()))
    assert answer.headers[b"allow"] == b"GET, HEAD"


def test_every_answer_has_the_headers_and_no_makers_name(service: Service) -> None:
    for answer in (
        service.ask("GET", "/v1/model"),
        service.ask("GET", "/v1/model", headers=bearer(service.token())),
        service.ask("GET", "/health/live"),
    ):
        assert answer.headers[b"x-content-type-options"] == b"nosniff"
        assert answer.headers[b"cache-control"] == b"no-store"
        assert b"default-src 'none'" in answer.headers[b"content-security-policy"]
        assert b"server" not in answer.headers
        assert b"strict-transport-security" not in answer.headers
    secure = service.ask("GET", "/health/live", scheme="https")
    assert b"max-age=" in secure.headers[b"strict-transport-security"]


def test_only_a_trusted_proxy_may_say_that_the_client_speaks_tls(tmp_path: Path) -> None:
    service = Service(tmp_path, Policy(RULES, NetworkRules(trusted=("10.0.0.0/8",))))
    said = [(b"x-forwarded-proto", b"https")]
    for client, told in (("10.0.0.1", True), ("192.0.2.1", False)):
        answer = service.ask("GET", "/health/live", headers=said, client=client)
        assert (b"strict-transport-security" in answer.headers) == told


def test_lists_of_networks_keep_out_and_let_in(tmp_path: Path) -> None:
    rules = NetworkRules(trusted=("10.0.0.1",), allow=("192.0.2.0/24",), deny=("192.0.2.66",))
    service = Service(tmp_path, Policy(RULES, rules))
    asks = {"192.0.2.1": 200, "192.0.2.66": 403, "198.51.100.1": 403, "::ffff:192.0.2.66": 403}
    for client, status in asks.items():
        assert service.ask("GET", "/health/live", client=client).status == status
        through = service.ask(
            "GET",
            "/health/live",
            client="10.0.0.1",
            headers=[(b"x-forwarded-for", client.encode())],
        )
        assert through.status == status
    # A client that claims to be another is still itself.
    lie = [(b"x-forwarded-for", b"192.0.2.1")]
    assert service.ask("GET", "/health/live", client="192.0.2.66", headers=lie).status == 403
    lie = [(b"x-forwarded-for", b"192.0.2.1, 192.0.2.66")]
    assert service.ask("GET", "/health/live", client="10.0.0.1", headers=lie).status == 403


def limited(tmp_path: Path, **limits: tuple[str, ...]) -> Service:
    none: dict[str, tuple[str, ...]] = {"caller": (), "address": (), "failures": ()}
    return Service(tmp_path, Policy(RULES, limits=Limits(**{**none, **limits})))


def test_a_caller_has_its_own_limit_wherever_it_asks_from(tmp_path: Path) -> None:
    service = limited(tmp_path, caller=("3/hour",))
    one, other = bearer(service.token()), bearer(service.token())
    answers = [service.ask(headers=one, client=f"192.0.2.{i}") for i in range(5)]
    assert [a.status for a in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers[b"retry-after"]) <= 3600
    assert service.ask(headers=other).status == 200


def test_an_address_has_a_limit_whoever_asks(tmp_path: Path) -> None:
    service = limited(tmp_path, address=("3/hour",))
    statuses = [service.ask(headers=bearer(service.token())).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert service.ask().status == 429, "also without a key"
    assert service.ask(client="192.0.2.2").status == 401
    assert service.ask("GET", "/health/live").status == 200, "what is open is not counted"


def test_one_subscriber_of_ipv6_is_one_address(tmp_path: Path) -> None:
    service = limited(tmp_path, address=("3/hour",))
    statuses = [service.ask(client=f"2001:db8::{i:x}:1").status for i in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert service.ask(client="2001:db8:0:1::1").status == 401


def test_keys_cannot_be_guessed_fast(tmp_path: Path) -> None:
    service = limited(tmp_path, failures=("3/hour",))
    right = service.token()
    guesses = [right[:-1] + c for c in "ABCDEFGH" if c != right[-1]][:5]
    statuses = [service.ask(headers=bearer(guess)).status for guess in guesses]
    assert statuses == [401, 401, 401, 429, 429]
    assert service.ask(headers=bearer(right)).status == 429, "or a guess that is right would show"
    assert service.ask(headers=bearer(right), client="192.0.2.2").status == 200


def test_who_brings_no_credentials_locks_nobody_out(tmp_path: Path) -> None:
    service = limited(tmp_path, failures=("3/hour",), address=("8/hour",))
    basic = [(b"authorization", b"Basic dXNlcjpwYXNz")]
    statuses = [service.ask(headers=h).status for h in [[], basic] * 3]
    assert statuses == [401] * 6
    assert service.ask(headers=bearer(service.token())).status == 200
    assert [service.ask().status for _ in range(2)] == [401, 429], "it is counted by its address"


def test_who_lies_about_the_address_is_counted_as_one(tmp_path: Path) -> None:
    service = limited(tmp_path, failures=("3/hour",))
    wrong = bearer("rk_nonsense")
    statuses = [
        service.ask(headers=[*wrong, (b"x-forwarded-for", f"198.51.100.{i}".encode())]).status
        for i in range(4)
    ]
    assert statuses == [401, 401, 401, 429]


def test_what_is_too_long_is_refused_before_all_else(tmp_path: Path) -> None:
    service = Service(tmp_path, Policy(RULES, bounds=Bounds(header_bytes=1000, target_bytes=100)))
    assert service.ask("GET", "/health/live", headers=[(b"x", b"y" * 1000)]).status == 431
    assert service.ask("GET", "/health/live", headers=[(b"x", b"")] * 101).status == 431
    assert service.ask("GET", "/health/live", query_string=b"q" * 100).status == 414
    assert service.app.asked == 0


BOUNDED = Policy(RULES, bounds=Bounds(answer_seconds=0.2))


async def slow(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(60)


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("user ann@example.org is not in the table")


def test_an_answer_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    service = Service(tmp_path, BOUNDED, slow)
    answer = service.ask("GET", "/health/live")
    assert (answer.status, answer.code) == (503, "timeout")


def test_a_failure_is_told_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Service(tmp_path, BOUNDED, broken).ask("GET", "/health/live")
    assert (answer.status, answer.code) == (500, "internal")
    assert "ann" not in answer.body.decode() + caplog.text
    assert "ValueError" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_failure_of_the_gate_itself_lets_nobody_in(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> int:
        raise OSError("/secret/place")

    monkeypatch.setattr(service.rates, "request", fails)
    answer = service.ask(headers=bearer(service.token()))
    assert (answer.status, answer.code) == (500, "internal")
    assert service.app.asked == 0
    assert "/secret/place" not in answer.body.decode() + caplog.text


def test_a_client_that_hangs_up_in_its_request_is_forgotten(service: Service) -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/health/live", "headers": []}
    asyncio.run(service.gate(scope, receive, send))
    assert (service.app.asked, sent) == (0, [])


def test_what_is_counted_is_written_after_a_while_and_again_after_a_failure(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path, interval=0.05)
    token = service.token()
    head = tmp_path / "audit.jsonl.head"

    async def asked() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/model",
            "headers": list(bearer(token)),
            "client": ("192.0.2.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            return None

        head.mkdir()  # nothing can be written
        await service.gate(scope, receive, send)
        await asyncio.sleep(0.2)
        assert service.audit.failures > 1
        head.rmdir()
        await asyncio.sleep(0.2)
        assert service.audit.waiting == 0

    asyncio.run(asked())
    assert verify(tmp_path / "audit.jsonl", AUDIT_KEY).sound


def test_other_protocols_are_refused_and_the_lifespan_passes(service: Service) -> None:
    sent: list[str] = []
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    gate = Gate(app, service.policy, OpenAccess(), service.rates)
    asyncio.run(gate({"type": "websocket", "path": "/health/live"}, receive, send))
    asyncio.run(gate({"type": "lifespan"}, receive, send))
    assert (sent, seen) == (["websocket.close"], ["lifespan"])
    with pytest.raises(ValueError, match="HTTP"):
        asyncio.run(gate({"type": "gopher"}, receive, send))


def test_without_keys_everyone_may_but_the_limits_hold(tmp_path: Path) -> None:
    service = limited(tmp_path, address=("2/hour",))
    gate = Gate(service.app, service.policy, OpenAccess(), service.rates)
    statuses = [ask(gate, "POST", "/v1/hide").status for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"LOCALHOST:8000", 200),
        (b"127.0.0.1:8000", 200),
        (b"[::1]:8000", 200),
        (b"evil.example:8000", 403),
        (b"localhost.evil.example", 403),
        (b"localhost@evil.example", 403),
        (b"192.0.2.1", 403),
        (b"[::1", 403),
        (b"", 403),
    ],
)
def test_a_site_whose_name_leads_here_is_not_this_machine(
    tmp_path: Path, host: bytes, status: int
) -> None:
    service = Service(tmp_path, Policy(RULES, local=True))
    gate = Gate(service.app, service.policy, OpenAccess(), service.rates)
    assert ask(gate, headers=[(b"host", host)]).status == status


def test_what_is_asked_is_counted_and_what_an_admin_asks_is_written_first(
    service: Service,
) -> None:
    key, token = service.keys.create("admin", ["admin"])
    for _ in range(3):
        service.ask("POST", "/v1/hide", headers=bearer(token))
    service.ask("GET", "/no/such/place", headers=bearer(token))
    service.ask(headers=bearer("rk_nonsense"), client="192.0.2.77")
    assert service.audit.flush()
    lines = [json.loads(line) for line in (service.state / "audit.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["request"] * 3 + ["use"]
    assert lines[0]["who"] == key.id
    assert lines[0]["route"] == "POST /v1/hide"
    assert [key.id, "POST /v1/hide", "200", 3] in lines[-1]["uses"]
    assert [key.id, "none", "not_found", 1] in lines[-1]["uses"]
    assert ["192.0.2.0/24", "GET /v1/model", "invalid_credentials", 1] in lines[-1]["uses"]
    text = (service.state / "audit.jsonl").read_text()
    assert token not in text
    assert "192.0.2.77" not in text
    assert "no/such" not in text
    assert verify(service.state / "audit.jsonl", AUDIT_KEY).sound


def test_an_admin_is_refused_where_it_cannot_be_written_down(service: Service) -> None:
    head = service.state / "audit.jsonl.head"
    head.mkdir()
    answer = service.ask("POST", "/v1/hide", headers=bearer(service.token("admin")))
    assert (answer.status, answer.code) == (503, "audit_unavailable")
    assert service.app.asked == 0
    assert service.ask("POST", "/v1/score", headers=bearer(service.token())).status == 200
    assert service.audit.failures == 1


def test_what_an_admin_only_reads_is_counted_and_needs_no_disk(tmp_path: Path) -> None:
    service = Service(tmp_path, Policy({"GET /metrics": "admin"}))
    key, token = service.keys.create("scraper", ["admin"])
    head = service.state / "audit.jsonl.head"
    head.mkdir()
    for method in ("GET", "HEAD"):
        assert service.ask(method, "/metrics", headers=bearer(token)).status == 200
    head.rmdir()
    assert service.audit.flush()
    (line,) = (service.state / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["uses"] == [[key.id, "GET /metrics", "200", 2]]


@pytest.mark.parametrize("rule", ["/v1/score", "post /v1/score", "POST v1/score"])
def test_a_rule_without_method_and_path_is_an_error(rule: str) -> None:
    with pytest.raises(ParameterError, match="METHOD /path"):
        Policy({rule: "any"})
