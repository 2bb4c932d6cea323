"""A Ray cluster of several nodes on this machine's loopback address, each node its own processes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["RayCluster", "ray_cluster"]

STARTS = 3

#: Starts nodes of one CPU each by Ray's own test cluster, says where they are, waits for its stdin's
#: end, and ends them. The address is not left where another's ray.init() would find it.
NODES = """
import json, os, sys
import ray
from ray.cluster_utils import Cluster
ray._private.utils.write_ray_address = lambda *_: None
cluster = Cluster(shutdown_at_exit=True)
for number in range(int(sys.argv[2])):
    head = {"temp_dir": sys.argv[1], "include_dashboard": False} if not number else {}
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", **head)
nodes = [cluster.head_node, *(n for n in cluster.worker_nodes)]
pids = [[p.pid for _, p in node.live_processes()] for node in nodes]
raylets = [dict(n.live_processes())["raylet"].pid for n in nodes]
print(json.dumps({"address": cluster.address, "processes": pids, "raylets": raylets}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


class RayCluster:
    """Nodes that run.

    Args:
        address: of the cluster.
        token: that it asks for.
        raylets: the process of each node that starts its workers, the head's first.
    """

    def __init__(self, address: str, token: str, raylets: list[int]) -> None:
        self.address, self.token, self.raylets = address, token, raylets

    def kill(self, number: int) -> None:
        """Kill a node as a power cut would: its raylet and the workers that it started, by SIGKILL."""
        for process in (self.raylets[number], *self.processes(number)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self, number: int) -> set[int]:
        """Return what a node's raylet started, its workers among them."""
        return _started_by(self.raylets[number])


def _started_by(process: int) -> set[int]:
    """Return a process's children, and theirs."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


@contextmanager
def ray_cluster(nodes: int, **settings: str) -> Iterator[RayCluster]:
    """Start a cluster, let this process show its token, and end it.

    Args:
        nodes: how many, of one CPU each.
        settings: of the nodes' environment, beside a token of the cluster's own.
    """
    token = secrets.token_hex(32)
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    fixed = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "AUTOSCALER_METRIC_PORT": "0",
        "RAY_agent_register_timeout_ms": "120000",
        # Listen on loopback alone.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = {**clean, **fixed, **own, **settings}
    before = {name: os.environ.get(name) for name in own}
    with tempfile.TemporaryDirectory(prefix="rpc-", dir="/tmp", ignore_cleanup_errors=True) as name:
        process, found = _started(Path(name), nodes, environment)
        try:
            os.environ |= own
            yield RayCluster(found["address"], token, found["raylets"])
        finally:
            for variable, value in before.items():
                os.environ.pop(variable, None)
                if value is not None:
                    os.environ[variable] = value
            _end(process)


def _started(
    folder: Path, nodes: int, environment: dict[str, str]
) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Return the process that holds the nodes, and where they are; Ray gives a node half a minute to
    start, too little where all cores are busy: then once more."""
    for attempt in range(STARTS):
        place = folder / str(attempt)
        place.mkdir()
        with (place / "nodes.log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", NODES, str(place), str(nodes)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            assert process.stdout is not None
            for line in iter(process.stdout.readline, ""):
                if line.startswith("{"):
                    return process, json.loads(line)
            _end(process)
            log.seek(0)
            said = log.read()[-3000:]
    raise RuntimeError(f"the nodes did not start:\n{said}")


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
