"""A Ray cluster of three nodes on loopback: a node's death changes nothing, a wrong token is told."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks._ray_cluster import RayCluster, ray_cluster

from recprune import ray_access, ray_engine
from recprune.errors import RunError
from recprune.executor import Executor
from tests.core import executor_work as work

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

DATA = np.random.default_rng(0).normal(size=12_000)
PARTS = [slice(i, i + 200) for i in range(0, 12_000, 200)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(3) as three:
        yield three


def test_a_wrong_token_is_told(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(RunError, match=r"refuses our token.*RAY_AUTH_TOKEN"):
        Executor(2, engine="ray", address=cluster.address).map(work.fail_at_three, [1])


def test_no_token_is_told(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(RunError, match=r"refuses our token.*RAY_AUTH_TOKEN"):
        Executor(2, engine="ray", address=cluster.address).map(work.fail_at_three, [1])


def test_nodes_with_other_code_are_refused_before_the_work(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "about", lambda: {"recprune": "0.0"})
    with pytest.raises(RunError, match=r"Node .* the caller recprune 0\.0.*Install the same"):
        Executor(2, engine="ray", address=cluster.address).map(work.fail_at_three, [1])


def test_a_node_that_dies_in_the_middle_changes_nothing(
    cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a second node that dies after it, as long as one is left."""
    serial = Executor().map(work.moments, PARTS, shared=DATA, seed=3)

    def kill() -> None:
        for number, least in ((1, 12), (2, 30)):
            until(lambda: len(list(tmp_path.glob("begun-*"))) >= least)  # noqa: B023
            hold = tmp_path / f"hold-{number}"
            hold.touch()  # so that the node has work in its hands, and cannot hand it over
            until(
                lambda: any(
                    (tmp_path / f"waits-{hold.name}-{process}").exists()  # noqa: B023
                    for process in cluster.processes(number)  # noqa: B023
                )
            )
            cluster.kill(number)
            hold.unlink()

    killer = threading.Thread(target=kill, daemon=True)
    with (
        Executor(3, engine="ray", address=cluster.address) as executor,
        caplog.at_level(logging.WARNING, "recprune"),
    ):
        assert len(set(executor.map(work.whose, range(30)))) == 3
        killer.start()
        shared = (DATA, str(tmp_path))
        found = executor.map(work.held_moments, PARTS, shared=shared, seed=3)
    killer.join()
    assert [a.tobytes() for a in serial] == [b.tobytes() for b in found]
    assert sum("died; what it worked on is tried again" in m for m in caplog.messages) >= 2


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 120
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_cluster_that_asks_nobody_is_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with ray_cluster(1, RAY_AUTH_MODE="disabled") as free:
        assert os.environ["RAY_AUTH_MODE"] == "token"
        numbers = Executor(1, engine="ray", address=free.address).map(work.fail_at_three, [1, 2])
        assert numbers == [1, 2]
        monkeypatch.setattr(ray_access, "is_loopback", lambda _: False)
        with pytest.raises(RunError, match="asks nobody for a token"):
            ray_access.admitted(free.address)
