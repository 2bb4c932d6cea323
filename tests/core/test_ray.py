"""Ray as an engine: the bits of one process, whatever dies, and nobody left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune import ray_access, ray_engine
from recprune.errors import ParameterError, RunError
from recprune.executor import Executor
from tests.core import executor_work as work

pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    """Two workers on an instance of their own, with another cluster's address lying about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
        with Executor(2, engine="ray", address="local") as executor:
            yield executor


def test_a_start_that_stays_too_slow_says_what_to_do(tmp_path: Path) -> None:
    class Slow:
        starts = 0

        def init(self, **options: object) -> None:
            self.starts += 1
            raise RuntimeError("The current node timed out during startup.")

        def shutdown(self) -> None:
            pass

    ray = Slow()
    with pytest.raises(RunError, match=r"this machine is too busy.*--engine processes"):
        ray_engine._start(ray, 2, tmp_path)
    assert ray.starts == ray_engine.STARTS


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.integers(0, 2**32),
    st.sampled_from([np.float32, np.float64]),
)
def test_ray_gives_the_bits_of_one_process(
    two: Executor, sizes: list[int], seed: int, kind: type
) -> None:
    """Sums whose value depends on their order, over parts of any sizes."""
    ends = np.cumsum([0, *sizes]).tolist()
    data = np.random.default_rng(seed).normal(size=ends[-1]).astype(kind) * 1e6
    parts = [slice(a, b) for a, b in pairwise(ends)]
    serial = Executor().map(work.moments, parts, shared=data, seed=seed)
    there = two.map(work.moments, parts, shared=data, seed=seed)
    assert [a.tobytes() for a in serial] == [b.tobytes() for b in there]


@pytest.mark.slow
def test_engines_and_workers_give_the_same_bits(two: Executor) -> None:
    data = np.random.default_rng(1).normal(size=(3000, 64)).astype(np.float32)
    serial = Executor().map(work.product, range(5), shared=data, seed=2)
    assert Executor(2).map(work.product, range(5), shared=data, seed=2) == serial
    assert two.map(work.product, range(5), shared=data, seed=2) == serial


def test_shared_arrays_are_read_where_they_lie_and_results_are_the_callers(two: Executor) -> None:
    (writable, owned), *_ = two.map(work.memory, range(2), shared=np.arange(1_000_000))
    assert not writable
    assert not owned
    (result,) = two.map(work.zeros, [200_000])
    result += 1
    assert result.sum() == 200_000


def test_an_error_in_a_part_is_the_callers(two: Executor) -> None:
    with pytest.raises(ValueError, match="three is wrong") as caught:
        two.map(work.fail_at_three, range(6))
    assert type(caught.value) is ValueError
    assert two.map(work.fail_at_three, [5, 1, 4, 2]) == [5, 1, 4, 2]
    assert two.map(work.fail_at_three, []) == []


def test_a_part_whose_worker_died_is_tried_again(
    two: Executor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert two.map(work.die_once, range(5), shared=str(tmp_path)) == [0, 1, 4, 9, 16]
    assert (tmp_path / "2").exists()
    assert not capfd.readouterr().out, "results alone go to stdout"


def test_a_part_that_always_kills_its_worker_ends_the_work(two: Executor) -> None:
    stubborn = Executor(2, retries=1, engine="ray", address="local")
    with pytest.raises(RunError, match=r"died 2 times while it worked on 'squares'.*fewer workers"):
        stubborn.map(work.die_always, range(3), text="squares")


def test_nobody_else_can_reach_an_instance_of_our_own(two: Executor) -> None:
    """It listens on loopback alone, asks for a token, and is not where RAY_ADDRESS points."""
    import ray

    address = ray.get_runtime_context().gcs_address
    assert ray_access.is_loopback(address)
    hello = subprocess.run(
        [sys.executable, "-c", ray_access.STRANGER, address],
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        check=False,
    )
    assert hello.returncode == 3
    outside = ray._private.services.node_ip_address_from_perspective("192.0.2.1:80")
    if not outside.startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((outside, int(address.rpartition(":")[2])), timeout=2)
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_process_has_one_ray(two: Executor) -> None:
    with pytest.raises(RunError, match=r"connected to Ray at 'local' \(2 workers\).*'local' \(3"):
        Executor(3, engine="ray", address="local").map(work.fail_at_three, [1])


def test_nobody_listens_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RunError, match=f"No Ray cluster answers at '{address}'.*ray start"):
        ray_access.reach(address)


def test_a_cluster_beyond_this_machine_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(RunError, match=r"no token is set.*RAY_AUTH_MODE=token"):
        ray_access.admitted("192.0.2.1:6379")


def test_the_temporary_folder_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with ray_access.temporary_folder() as folder:
        assert len(str(folder)) <= ray_access.MOST_PATH
    assert not folder.exists()


@pytest.mark.parametrize("address", [None, "auto", "ray://host:10001", "host", "host:0", ":6379"])
def test_an_address_is_stated(address: str | None) -> None:
    with pytest.raises(ParameterError, match="'address' parameter of Executor must be 'local'"):
        Executor(engine="ray", address=address)


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ParameterError, match="must be None without Ray"):
        Executor(address="local")
    with pytest.raises(ParameterError, match="one of"):
        Executor(engine="dask")  # type: ignore[arg-type]


def test_nodes_with_other_code_are_refused() -> None:
    other = {**ray_engine.about(), "numpy": "1.0"}
    with pytest.raises(RunError, match=r"the caller .*numpy 1\.0.*Install the same"):
        ray_engine._part(other, "", [], work.fail_at_three, 1, (0, "parts", 0))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_stopped_leaves_nobody_behind(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C, and an end by SIGTERM."""
    script = (
        "from recprune.executor import Executor\n"
        "from tests.core import executor_work as work\n"
        "if __name__ == '__main__':\n"
        "    executor = Executor(2, engine='ray', address='local')\n"
        f"    executor.map(work.sleep_long, range(4), shared={str(tmp_path)!r})\n"
    )
    path = tmp_path / "main.py"
    path.write_text(script, "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with Path(tmp_path / "err").open("w") as err:
        run = subprocess.Popen(
            [sys.executable, str(path)], env=environment, stderr=err, start_new_session=True
        )
    deadline = time.monotonic() + 120
    while len(workers := [p for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
        assert time.monotonic() < deadline
        assert run.poll() is None, (tmp_path / "err").read_text()
        time.sleep(0.05)
    everybody = descendants(run.pid)
    assert {int(worker.name) for worker in workers} <= everybody
    run.send_signal(how)
    assert run.wait(timeout=60) != 0
    end = time.monotonic() + 20
    while left := {pid for pid in everybody if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < end, [(Path(f"/proc/{p}/cmdline").read_bytes()) for p in left]
        time.sleep(0.1)


def descendants(pid: int) -> set[int]:
    """Return a process's children and theirs."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found
