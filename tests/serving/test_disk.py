"""A disk that is full, or that cannot be written to: answers go on, and nothing happens unrecorded."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recprune.errors import InputError
from recprune.runtime import Scorer
from recprune.security import Audit, verify
from recprune.serving import worker as worker_module
from recprune.serving.worker import make_app
from tests.runtime.factory import random_shop

from .inprocess import Worker, inprocess, settings_of
from .living import AUDIT_KEY, SECRETS, SMALL, Place, make_place

INTERVAL = 0.2


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A service whose state lies on a disk of four megabytes."""
    place = make_place(tmp_path)
    monkeypatch.setattr(worker_module, "Audit", functools.partial(Audit, interval=INTERVAL))
    mount("-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(place.state))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place.state)], check=True)


@pytest.fixture
def worker(small: Place) -> Iterator[Worker]:
    with inprocess(small) as worker:
        yield worker


def filled(state: Path) -> Path:
    """Leave no room."""
    filler = state / "filler"
    for size in (65536, 4096, 1):
        with open(filler, "ab", buffering=0) as file:
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def recommended(worker: Worker, place: Place, times: int) -> None:
    scorer = Scorer(place.shop.artifact)
    scorer.warm_up()
    best = scorer.recommend_user(place.shop.users, "2", 10)
    for _ in range(times):
        answer = worker.post("/v1/recommend", json={"user": "2"})
        assert answer.status_code == 200, answer.text
        assert [i["item"] for i in answer.json()["items"]] == list(best.items)
        assert [i["score"] for i in answer.json()["items"]] == best.scores.tolist()


def waiting(worker: Worker) -> float:
    text = worker.get("/metrics").text
    found = re.search(r"^recprune_audit_waiting (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def uses(place: Place, route: str, outcome: str) -> int:
    """Return how often the log says that a route was used."""
    lines = (place.state / "audit.jsonl").read_text().splitlines()
    every = [use for line in map(json.loads, lines) for use in line.get("uses", ())]
    return sum(n for _, of, came, n in every if (of, came) == (route, outcome))


def test_a_full_disk(worker: Worker, small: Place) -> None:
    recommended(worker, small, 5)
    worker.wait(3 * INTERVAL)
    assert waiting(worker) == 0
    filler = filled(small.state)
    # The log's last block has some room left.
    for _ in range(100):
        if worker.post("/v1/admin/reload").status_code == 503:
            break
    recommended(worker, small, 7)
    worker.wait(3 * INTERVAL)
    recommended(worker, small, 3)
    assert waiting(worker) > 0
    for path, asked in (("hide", {"items": ["1"]}), ("show", {"items": ["1"]}), ("reload", None)):
        refused = worker.post(f"/v1/admin/{path}", json=asked)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "audit_unavailable")
    assert not (small.state / "hidden.json").exists()
    # A new model is taken none the less, and which one is written down later.
    small.write(random_shop(SMALL, 8))
    worker.wait(1.5)
    small.shop.users.save(small.users)
    worker.wait(1.5)
    recommended(worker, small, 2)
    filler.unlink()
    worker.wait(3 * INTERVAL)
    recommended(worker, small, 1)
    worker.wait(3 * INTERVAL)
    assert worker.post("/v1/admin/hide", json={"items": ["gone"]}).json() == {"hidden": 1}
    assert waiting(worker) == 0
    found = verify(small.state / "audit.jsonl", AUDIT_KEY.encode())
    assert found.sound, found
    assert uses(small, "POST /v1/recommend", "200") == 18
    assert uses(small, "POST /v1/admin/hide", "audit_unavailable") == 1


def test_room_for_half_a_line(worker: Worker, small: Place) -> None:
    """What fits of a line is taken back: the log holds whole ones."""
    for room in (1, 100, 4096):
        filler = filled(small.state)
        with open(filler, "r+b") as file:
            file.truncate(max(filler.stat().st_size - room, 0))
        recommended(worker, small, 2)
        worker.wait(3 * INTERVAL)
        worker.post("/v1/admin/hide", json={"items": ["gone"]})
        filler.unlink()
    recommended(worker, small, 1)
    worker.wait(3 * INTERVAL)
    found = verify(small.state / "audit.jsonl", AUDIT_KEY.encode())
    assert found.sound, found
    assert uses(small, "POST /v1/recommend", "200") == 7


def test_a_log_that_cannot_be_opened(worker: Worker, small: Place) -> None:
    recommended(worker, small, 1)
    worker.wait(3 * INTERVAL)
    log, aside = small.state / "audit.jsonl", small.state / "aside"
    log.rename(aside)
    log.mkdir()
    recommended(worker, small, 3)
    worker.wait(3 * INTERVAL)
    assert waiting(worker) > 0
    assert worker.post("/v1/admin/hide", json={"items": ["1"]}).status_code == 503
    log.rmdir()
    aside.rename(log)
    recommended(worker, small, 1)
    worker.wait(3 * INTERVAL)
    assert verify(log, AUDIT_KEY.encode()).sound
    assert uses(small, "POST /v1/recommend", "200") == 5


def test_a_service_does_not_start_where_it_cannot_keep_count(
    small: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    filler, settings = filled(small.state), settings_of(small)
    with pytest.raises(InputError, match=r"counters .* cannot be made: No space"):
        make_app(settings)
    filler.unlink()
    mount("-o", "remount,ro", str(small.state))
    with pytest.raises(InputError, match=r"cannot be .*Read-only"):
        make_app(settings)
