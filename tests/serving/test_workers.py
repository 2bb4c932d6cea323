"""Several workers behind one port: what one learns all know, and none is missed when it dies."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from recprune.envelope.memory import MEMORY, in_memory
from recprune.security import KeyStore, Limits
from recprune.serving import Address, Guards, ServeSettings, Sources
from recprune.serving.app import RULES
from tests.runtime.factory import random_shop

from .inprocess import inprocess
from .living import PEPPER, SMALL, Living, Place, living, make_place
from .load import answers_of, under_load


def settings_of(place: Place, workers: int = 2, **limits: Any) -> ServeSettings:
    most = Limits(**{"caller": (), "address": (), "failures": (), **limits})
    address = Address(port=0, workers=workers)
    sources = Sources(place.model, place.users)
    return ServeSettings(sources, place.state, address, guards=Guards(limits=most))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A service of two workers."""
    place = make_place(tmp_path_factory.mktemp("pair"))
    with living(place, settings=settings_of(place)) as running:
        yield running


@pytest.fixture(scope="module")
def token(pair: Living) -> str:
    return pair.place.token("recommend", "score", "admin")


def ask_all(service: Living, token: str, times: int = 12) -> list[httpx.Response]:
    """Ask over new connections, so that every worker answers some."""
    answers = []
    for _ in range(times):
        with service.client(token) as client:
            answers.append(client.post("/v1/recommend", json={"user": "2", "k": 40}))
    return answers


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(httpx.HTTPError):
            if holds():
                return True
        time.sleep(0.05)
    return False


def version_of(service: Living, token: str) -> str:
    with service.client(token) as client:
        version: str = client.get("/v1/model").json()["model"]
    return version


def counted(service: Living, token: str) -> dict[str, float]:
    """Return the metrics of all workers."""
    with service.client(token) as client:
        text = client.get("/metrics").text
    found = [re.fullmatch(r"(\S+(?:\{.*\})?) (\S+)", x) for x in text.splitlines() if x[:1] != "#"]
    return {m[1]: float(m[2]) for m in found if m}


def test_hidden_items_are_gone_from_the_next_answer_of_every_worker(
    pair: Living, token: str
) -> None:
    for _ in range(2):
        shown = [a.json()["items"] for a in ask_all(pair, token, 8)]
        best = shown[0][0]["item"]
        with pair.client(token) as client:
            assert client.post("/v1/admin/hide", json={"items": [best]}).json() == {"hidden": 1}
        for answer in ask_all(pair, token):
            assert best not in [each["item"] for each in answer.json()["items"]]
        with pair.client(token) as client:
            assert client.post("/v1/admin/show", json={"items": [best]}).json() == {"hidden": 0}
        for answer in ask_all(pair, token):
            assert answer.json()["items"] == shown[0]


def test_a_revoked_key_is_good_for_no_worker(pair: Living) -> None:
    keys = KeyStore(pair.place.state / "keys.json", PEPPER.encode())
    key, token = keys.create("short", ["recommend"])
    assert {a.status_code for a in ask_all(pair, token)} == {200}
    keys.revoke(key.id)
    assert {a.status_code for a in ask_all(pair, token)} == {401}


def test_metrics_are_exact_over_all_workers(pair: Living, token: str) -> None:
    def all_counted(expected: Counter[str]) -> bool:
        now = counted(pair, token)
        return all(now.get(name, 0) - before.get(name, 0) == n for name, n in expected.items())

    time.sleep(0.2)
    before = counted(pair, token)
    ask_all(pair, token, 11)
    with pair.client(token) as client:
        for user in ("nobody", None, "1"):
            client.post("/v1/score", json={"user": user, "items": ["1"]})
        client.post("/v1/recommend", json={"users": ["1", "nobody", "x"]})
        client.post("/v1/recommend", json={})
        client.get("/secret-of-a-stranger")
    with pair.client("rk_000000000000_" + "A" * 43) as client:
        client.get("/v1/model")
    expected = Counter(
        {
            'recprune_requests_total{route="/v1/recommend",status="200"}': 12,
            'recprune_requests_total{route="/v1/recommend",status="422"}': 1,
            'recprune_requests_total{route="/v1/score",status="200"}': 3,
            'recprune_requests_total{route="/v1/model",status="401"}': 1,
            'recprune_requests_total{route="other",status="404"}': 1,
            'recprune_request_seconds_count{route="/v1/recommend"}': 13,
            'recprune_users_total{known="yes"}': 11 + 1 + 1,
            'recprune_users_total{known="no"}': 2 + 2,
            "recprune_fallbacks_total": 4,
        }
    )
    assert within(5, lambda: all_counted(expected)), counted(pair, token)


def test_strangers_add_nothing_to_the_metrics(pair: Living, token: str) -> None:
    """Every label's value is one that the service knows: their number is bounded."""
    with pair.client(token) as client:
        for path in ("/a", "/b", "/v1/recommend/x", "/%00"):
            client.get(path)
            client.request("PROPFIND", path)
        names = " ".join(counted(pair, token))
    routes = {rule.partition(" ")[2] for rule in RULES} | {"other"}
    assert set(re.findall(r'route="([^"]*)"', names)) <= routes
    assert all(re.fullmatch(r"\d{3}|0", s) for s in re.findall(r'status="([^"]*)"', names))
    assert set(re.findall(r'(\w+)="', names)) <= {
        "route",
        "status",
        "known",
        "outcome",
        "le",
        "pid",
    }


@pytest.mark.slow
def test_limits_hold_for_all_workers_together(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with living(place, settings=settings_of(place, caller=("20/hour",))) as running:
        token, other = place.token(), place.token()
        statuses = Counter(a.status_code for a in ask_all(running, token, 30))
        assert statuses == {200: 20, 429: 10}
        # A worker that dies takes nothing of the counts with it, nor does the service.
        os.kill(running.workers[0], signal.SIGKILL)
        assert ask_all(running, token, 1)[0].status_code == 429
        assert ask_all(running, other, 1)[0].status_code == 200


def test_a_killed_worker_takes_only_what_it_was_answering(pair: Living, token: str) -> None:
    version = version_of(pair, token)
    before = counted(pair, token)

    def replaced_one(former: set[int]) -> bool:
        return len(set(pair.workers) - former) == 1

    with under_load(pair, token, {version: answers_of(pair.place.shop)}, clients=4) as load:
        time.sleep(0.5)
        for _ in range(2):
            victim, workers = pair.workers[0], set(pair.workers)
            failed = len(load.failed)
            os.kill(victim, signal.SIGKILL)
            assert within(30, lambda former=workers: replaced_one(former)), pair.said
            assert len(load.failed) - failed <= 4, "one for each connection of the dead worker"
            time.sleep(0.5)
    answers = load.answers[version]
    assert load.wrong == []
    assert answers > 50
    # Connections that were cut, never an answer of failure.
    assert {w[:3] for w in load.failed} <= {"Rea", "Rem", "Wri", "Con"}, load.failed
    after = counted(pair, token)
    name = 'recprune_requests_total{route="/v1/recommend",status="200"}'
    assert answers <= after[name] - before.get(name, 0) <= answers + len(load.failed)
    assert within(20, lambda: {a.status_code for a in ask_all(pair, token, 6)} == {200})


@pytest.mark.slow
def test_a_damaged_model_and_a_killed_worker_are_not_the_end(tmp_path: Path) -> None:
    """The worker that is left goes on with the former model; a sound one brings the other back."""
    place = make_place(tmp_path)
    with living(place, settings=settings_of(place)) as running:
        token = place.token("recommend", "admin")
        version, right = version_of(running, token), answers_of(place.shop)
        config = (place.model / "config.json").read_bytes()
        with under_load(running, token, {version: right}, clients=2) as load:
            (place.model / "config.json").write_bytes(b"{}")
            workers = set(running.workers)
            os.kill(min(workers), signal.SIGKILL)
            assert within(30, lambda: any("could not start" in line for line in running.said))
            assert running.process.poll() is None
            said = "\n".join(running.said)
            assert "ArtifactError: config.json cannot be read" in said
            assert "Traceback" not in said
            (place.model / "config.json").write_bytes(config)
            assert within(40, lambda: len(running.workers) == 2)
        assert load.wrong == []
        assert len(load.failed) <= 2, load.failed
        assert load.answers[version] > 20


@pytest.mark.slow
def test_open_requests_are_answered_before_the_end(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with living(place, settings=settings_of(place)) as running:
        token = place.token()
        version = version_of(running, token)
        with under_load(running, token, {version: answers_of(place.shop)}, clients=3) as load:
            time.sleep(0.5)
            running.process.send_signal(signal.SIGHUP)
            workers = set(running.workers)
            assert within(40, lambda: not workers & set(running.workers))
            assert running.process.poll() is None
            time.sleep(0.5)
        assert load.wrong == []
        assert load.failed == [], "workers are replaced without a failed request"
        with under_load(running, token, {version: answers_of(place.shop)}, clients=3) as load:
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(20)
        assert running.process.returncode == 0
        assert load.wrong == []
        assert load.answers[version] > 0
        # What was begun was answered; what came after the end found nobody.
        assert set(load.failed) <= {"ConnectError", "ReadError", "RemoteProtocolError"}
        assert "Traceback" not in "\n".join(running.said)


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with living(place, settings=settings_of(place)) as running:
        workers = running.workers
        held = {os.readlink(each) for each in Path(f"/proc/{running.process.pid}/fd").iterdir()}
        (counters,) = (each for each in MEMORY.glob("recprune.*") if str(each) in held)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        assert within(10, lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    # What it could not remove, the next one does.
    with in_memory():
        assert not counters.exists()


def test_new_models_under_load(pair: Living, token: str) -> None:
    replaced(pair, token, times=4)


@pytest.mark.slow
def test_a_hundred_new_models_under_load_take_no_memory(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with living(place, settings=settings_of(place)) as running:
        token = place.token("recommend", "admin")
        replaced(running, token, times=100)  # until the allocator has what it needs
        before = {pid: resident(pid) for pid in running.workers}
        replaced(running, token, times=100)
        grown = {pid: resident(pid) - before[pid] for pid in running.workers}
        # A hundred models that were left behind would take 40 MB.
        assert max(grown.values()) < 20_000_000, grown
        threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in running.workers]
        assert max(threads) < 20, threads


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def replaced(service: Living, token: str, times: int) -> None:
    """Put one of two models in the place of the other, again and again, under load."""
    place = service.place
    former, users = place.shop, place.shop.users
    shops = [random_shop(SMALL, seed) for seed in (40, 41)]
    right = {}
    for shop in (former, *shops):  # the service may serve yet another one at first
        object.__setattr__(shop, "users", users)
        place.write(shop)
        with inprocess(place) as worker:
            right[worker.get("/v1/model").json()["model"]] = answers_of(shop)
    with under_load(service, token, right, clients=3) as load:
        for number in range(times):
            place.write(shops[number % 2])
            time.sleep(0.7)
    assert load.wrong == []
    assert load.failed == []
    assert all(load.answers[version] > 0 for version in list(right)[1:]), load.answers
    place.write(former)
