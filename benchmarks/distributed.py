"""Importance over 39 fields on every engine: one process, two, Ray here, and a Ray cluster.

The planted table of ``benchmarks.importance_speed``: DeepFM, 39 fields of graded importance, five
shuffles each, a field a part. Every worker computes with one thread.

- ``bit_identical``: 1 if the scores and errors of all engines have the same bytes: one process, two
  processes, Ray local, a cluster of three nodes on loopback, and that cluster with one node (its
  raylet and its workers) killed by SIGKILL in the middle; ``detail`` says how many parts that cost.
- ``ray_over_processes``: seconds of Ray local ÷ seconds of two processes, both of two workers; less
  is better. Processes start anew for each map, and that counts; Ray is started once, apart, and
  ``detail`` says in how many seconds.
- ``sharded_max_difference``: see ``benchmarks._sharded``.

Three nodes on a machine of two cores are no faster than two workers: they show that nothing changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from benchmarks._common import Claim, Timing, alternate, main, one_thread
from benchmarks._ray_cluster import RayCluster, ray_cluster
from benchmarks._sharded import sharded
from benchmarks.importance_speed import REPEATS, ROWS, World, world
from recprune._support import logger
from recprune.executor import Executor
from recprune.importance import importance

QUICK_ROWS = 20_000
HIDDEN = (128, 64)
WORKERS, NODES = 2, 3


def measure(quick: bool) -> list[Claim]:
    """Return the claims."""
    made = world(QUICK_ROWS if quick else ROWS, HIDDEN)
    found: dict[str, bytes] = {}

    def scored(name: str, executor: Executor) -> Callable[[], None]:
        def work() -> None:
            found[name] = _scores(made, executor)

        return work

    start = time.perf_counter()
    with Executor(WORKERS, engine="ray", address="local") as ray:
        started = time.perf_counter() - start
        works = {
            "one process": scored("one process", Executor()),
            "processes": scored("processes", Executor(WORKERS)),
            "ray local": scored("ray local", ray),
        }
        # Processes start anew each time, which is most of a quick run.
        once = {name: (_timed(work),) for name, work in works.items()} if quick else {}
        timing = Timing(once) if quick else alternate(works, repeats=5)
    # A quick run starts no cluster: that takes longer than all else.
    clustered, tried_again = ({}, 0) if quick else _on_a_cluster(scored)
    same = len(set(found.values())) == 1
    seconds = {
        "ray_local_start_s": started,
        "one_map_with_its_start_ratio": (started + timing.median("ray local"))
        / timing.median("processes"),
        **clustered,
    }
    detail = {
        "rows": len(made.held),
        "fields": len(made.model.encoder.sizes),
        "repeats": REPEATS,
        "workers": WORKERS,
        "nodes": NODES,
        **timing.detail(),
        **{name: round(value, 3) for name, value in seconds.items()},
    }
    told = {"engines": sorted(found), "parts_tried_again": tried_again}
    peer = f"ray {version('ray')}"
    return [
        Claim("bit_identical", float(same), "of 1", peer, told),
        Claim("ray_over_processes", timing.ratio("ray local", "processes"), "ratio", peer, detail),
        sharded(quick),
    ]


def _on_a_cluster(
    scored: Callable[[str, Executor], Callable[[], None]],
) -> tuple[dict[str, float], int]:
    """Score on a cluster, whole and with a node killed in the middle.

    Returns:
        What took how many seconds, and how many parts the node's end cost.
    """
    start = time.perf_counter()
    with ray_cluster(NODES) as cluster:
        started = time.perf_counter() - start
        with Executor(NODES, engine="ray", address=cluster.address) as there:
            joined = time.perf_counter() - start - started
            scored("cluster, first", there)()
            whole = _timed(scored("cluster", there))
            killer = _killer(cluster, whole / 2)
            deaths = _Deaths()
            logger.addHandler(deaths)
            broken = _timed(scored("cluster, a node killed", there))
            killer.join()
            logger.removeHandler(deaths)
    seconds = {
        "cluster_start_s": started,
        "cluster_join_s": joined,
        "cluster_s": whole,
        "cluster_a_node_killed_s": broken,
    }
    return seconds, deaths.count


def _scores(made: World, executor: Executor) -> bytes:
    found = importance(made.model, made.held, "fields", "permutation", 0, executor, repeats=REPEATS)
    return np.stack([found.score, found.std]).tobytes()


class _Deaths(logging.Handler):
    """Counts the parts that are tried again."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "tried again" in record.getMessage()


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _killer(cluster: RayCluster, after: float) -> threading.Timer:
    """Kill the last node after so many seconds."""
    timer = threading.Timer(after, cluster.kill, (NODES - 1,))
    timer.start()
    return timer


if __name__ == "__main__":
    one_thread("distributed")
    main("distributed", measure)
