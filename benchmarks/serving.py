"""The whole service over HTTP: two workers, k = 10, keys, limits and audit log on; load by wrk.

wrk runs on the same machine, over loopback, with one thread; each request draws one of 100 stored
users. Limits are counted as by default, over a minute and a second, and set so high that they refuse
nothing. A claim is the median over rounds of a ratio of services that took turns.

The peers' services check one key and count nothing.

*rps_over_empty_route*: requests a second of ``POST /v1/recommend``, by those of a FastAPI route that
does nothing, with the same loop, parser and number of workers. The model is a real one:
:mod:`benchmarks._serving_models`'s *movielens*, 1,000 items; 943 users are stored, who have seen 47
each on average. Every answer is computed: the service keeps none (``--keep-answers 0``).
*rps_over_empty_route_kept*: likewise by the service as it is by default, which gives again what it was
asked before; here that is nearly every request, since 100 users ask, so that no model is in it.
In the detail, *planted*: the pruned planted model with 1,000 items, whose three
layers of 100 neurons are over half a millisecond of arithmetic a request.
*rps_vs_ort_cached_service*: the pruned planted model with 10,000 items against the full one in ONNX
Runtime, the item side cached, users prepared beforehand: :mod:`benchmarks._serving_peers`.
*memory_over_torch_service*: bytes of one of our workers, same model, by those of one that imports torch
and serves the full model; after load, the larger of the ratios of own and of proportional memory.

Latencies are told at this load, under which every request waits for others, and of one connection
alone. Before anything is timed our answers are held against the scorer's, and the peers' against our
scorer's with the full model; any answer but a good one ends the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._catalogue_peers import write_arrays
from benchmarks._common import Claim, main, one_thread
from benchmarks._services import Service, free_port, service
from benchmarks._serving_models import Served, movielens, planted_case, write
from benchmarks._serving_peers import peer_command, write_peers
from benchmarks._wrk import Load, Requests, load
from recprune.artifact import Artifact
from recprune.runtime import Scorer

ROUNDS, QUICK_ROUNDS = 5, 1
SECONDS, QUICK_SECONDS = 4.0, 1.0
CONNECTIONS, FEW_CONNECTIONS = 32, 8
K, USERS, CHECKED = 10, 100, 4
#: As many windows as by default.
HIGH = ("1000000000/minute", "100000000/second")
EMPTY = Requests("GET", "/empty")


class Contest:
    """Services that run side by side and are asked in turn.

    Args:
        seconds: of a turn.
        rounds: turns of each.
        connections: of wrk.
    """

    def __init__(self, seconds: float, rounds: int, connections: int) -> None:
        self.seconds, self.rounds, self.connections = seconds, rounds, connections
        self._asked: dict[str, tuple[Service, Requests]] = {}
        self._loads: dict[str, list[Load]] = {}
        self._spent: dict[str, list[float]] = {}

    def add(self, name: str, running: Service, asked: Requests) -> None:
        """Add a contestant."""
        self._asked[name] = running, asked

    def run(self) -> None:
        """Let them take turns, every other round in the opposite order, after one to warm up."""
        for name in self._asked:
            self._turn(name, 1.0)
        self._loads = {name: [] for name in self._asked}
        self._spent = {name: [] for name in self._asked}
        for number in range(self.rounds):
            for name in list(self._asked)[:: -1 if number % 2 else 1]:
                running, before = self._asked[name][0], self._asked[name][0].seconds()
                done = self._turn(name, self.seconds)
                self._loads[name].append(done)
                self._spent[name].append((running.seconds() - before) / done.requests)

    def ratio(self, ours: str, theirs: str) -> float:
        """Return the median over rounds of our requests a second by theirs."""
        pairs = zip(self._loads[ours], self._loads[theirs], strict=True)
        return statistics.median(o.rps / t.rps for o, t in pairs)

    def detail(self) -> dict[str, Any]:
        """Return each one's figures, with those of one connection alone.

        ``worker_s`` is what a request costs the workers, in seconds of one processor: other work
        on the machine moves it less than all else.
        """
        told = {}
        for name, loads in self._loads.items():
            running, asked = self._asked[name]
            alone = load(running.url, asked, max(self.seconds / 2, 1), 1)
            rates = [each.rps for each in loads]
            told[name] = {
                "rps": statistics.median(rates),
                "rps_min": min(rates),
                "rps_max": max(rates),
                "p50_s": statistics.median(each.p50 for each in loads),
                "p99_s": statistics.median(each.p99 for each in loads),
                "worker_s": statistics.median(self._spent[name]),
                "alone_p50_s": alone.p50,
                "alone_p99_s": alone.p99,
            }
        return {"connections": self.connections, **told}

    def _turn(self, name: str, seconds: float) -> Load:
        running, asked = self._asked[name]
        return load(running.url, asked, seconds, self.connections)


@contextlib.contextmanager
def ours(
    served: Served, folder: Path, keep_answers: str = "0"
) -> Iterator[tuple[Service, Requests]]:
    """Run our service on a model, whose answers are checked; yield it and what it is asked."""
    folder.mkdir()
    model, users = write(served, folder)
    state, port = folder / "state", free_port()
    # Keys go by the environment, never by arguments.
    env = {f"RECPRUNE_{name}_KEY": secrets.token_hex(32) for name in ("PEPPER", "AUDIT")}
    options = ["--users", str(users), "--state", str(state), "--port", str(port), "--workers", "2"]
    options += ["--keep-answers", keep_answers]
    for option in ("--rate", "--rate-address"):
        options += [text for limit in HIGH for text in (option, limit)]
    token = made_key(state, env)
    command = [sys.executable, "-m", "recprune", "serve", str(model), *options]
    with service(f"ours ({served.name})", command, port, "/health/live", env) as running:
        headers = {"authorization": f"Bearer {token}"}
        hold_against_scorer(running, served, headers)
        yield running, asked_by(served, headers)


def made_key(state: Path, env: Mapping[str, str]) -> str:
    """Return the token of a new API key."""
    state.mkdir(mode=0o700)
    command = [sys.executable, "-m", "recprune", "keys", "create", "benchmark", "--json"]
    made = subprocess.run(
        [*command, "--state", str(state), "--scope", "recommend"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return str(json.loads(made.stdout)["token"])


def chosen_users(served: Served) -> list[int]:
    """Return the positions of the users who are asked for."""
    draws, n = np.random.default_rng(0), len(served.users)
    return np.sort(draws.choice(n, min(USERS, n), replace=False)).tolist()  # type: ignore[no-any-return]


def asked_by(served: Served, headers: Mapping[str, str]) -> Requests:
    """Return requests that draw one of the users who are asked for."""
    ids = [served.users.ids[place] for place in chosen_users(served)]
    bodies = [json.dumps({"user": user, "k": K}) for user in ids]
    return Requests(
        "POST", "/v1/recommend", bodies, {"content-type": "application/json", **headers}
    )


def hold_against_scorer(running: Service, served: Served, headers: Mapping[str, str]) -> None:
    """Refuse a service that answers otherwise than the scorer does."""
    scorer = Scorer(served.artifact)
    for place in chosen_users(served)[:: USERS // CHECKED]:
        user = served.users.ids[place]
        wanted = scorer.recommend_user(served.users, user, K)
        found = running.ask("/v1/recommend", {"user": user, "k": K}, headers)
        items = tuple(each["item"] for each in found["items"])
        scores = [each["score"] for each in found["items"]]
        if items != wanted.items or found["fallback"] or not np.allclose(scores, wanted.scores):
            sys.exit(f"{running.name} answers otherwise than the scorer: {found} for {user}.")


def written_for_peers(served: Served, full: Artifact, folder: Path) -> list[list[float]]:
    """Write what the full model's services need; return what they have to answer."""
    folder.mkdir()
    write_peers(folder)
    return write_arrays(folder, full, served.users, chosen_users(served), K, CHECKED)


@contextlib.contextmanager
def peer(name: str, served: Served, folder: Path, expected: list[list[float]]) -> Iterator[Any]:
    """Run a service of the full model, whose answers are checked; yield it and what it is asked."""
    chosen = chosen_users(served)
    ids, token, port = [served.users.ids[i] for i in chosen], secrets.token_hex(32), free_port()
    env = {
        "PEER_FOLDER": str(folder),
        "PEER_USERS": str(len(chosen)),
        "PEER_IDS": json.dumps(ids),
        "PEER_KEY": token,
    }
    headers = {"authorization": f"Bearer {token}"}
    with service(name, peer_command(name, folder, port), port, "/v1/model", env) as running:
        for user, logits in zip(ids, expected, strict=False):
            found = running.ask("/v1/recommend", {"user": user, "k": K}, headers)
            scores = [each["score"] for each in found["items"]]
            if not np.allclose(scores, 1 / (1 + np.exp(-np.array(logits))), atol=1e-4):
                sys.exit(f"{name} answers otherwise than our scorer: {found} for {user}.")
        yield running, asked_by(served, headers)


def _pace(quick: bool) -> tuple[float, int]:
    """Return seconds and rounds."""
    return (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)


def over_empty_route(folder: Path, quick: bool) -> list[Claim]:
    """Return how much of the framework's own speed is left."""
    write_peers(folder)
    port = free_port()
    real, drawn = movielens(1000, quick), [] if quick else [planted_case(1000, quick)[0]]
    contest = Contest(*_pace(quick), CONNECTIONS)
    with contextlib.ExitStack() as running:
        command = peer_command("empty_route", folder, port)
        empty = running.enter_context(service("empty_route", command, port, "/empty"))
        contest.add("empty_route", empty, EMPTY)
        for served in (real, *drawn):
            contest.add(served.name, *running.enter_context(ours(served, folder / served.name)))
        kept = ours(real, folder / "kept", "16MB")
        contest.add("movielens_kept", *running.enter_context(kept))
        contest.run()
        detail = {
            **{
                f"{one.name}_over_empty_route": contest.ratio(one.name, "empty_route")
                for one in drawn
            },
            **contest.detail(),
            "models": {served.name: dict(served.facts) for served in (real, *drawn)},
        }
    ratio, again = (contest.ratio(name, "empty_route") for name in ("movielens", "movielens_kept"))
    theirs = "an empty FastAPI route"
    return [
        Claim("rps_over_empty_route", ratio, "ratio", theirs, detail),
        Claim("rps_over_empty_route_kept", again, "ratio", theirs, {"detail": "as above"}),
    ]


def against_full_model(folder: Path, quick: bool) -> list[Claim]:
    """Return how many more requests are answered than by the full model, and in how much memory."""
    served, full = planted_case(10_000, quick)
    contest, arrays = Contest(*_pace(quick), FEW_CONNECTIONS), folder / "peers"
    expected = written_for_peers(served, full, arrays)
    with (
        ours(served, folder / "ours") as (running, asked),
        peer("ort_cached", served, arrays, expected) as (theirs, theirs_asked),
    ):
        about = theirs.ask("/v1/model")
        contest.add("ours", running, asked)
        contest.add("ort_cached", theirs, theirs_asked)
        contest.run()
        detail = {**contest.detail(), "batch_of_peer": about["batch"], "model": dict(served.facts)}
        memory = running.memory()
    ratio = contest.ratio("ours", "ort_cached")
    claims = [Claim("rps_vs_ort_cached_service", ratio, "ratio", about["peer"], detail)]
    with peer("torch_eager", served, arrays, expected) as (theirs, asked):
        about = theirs.ask("/v1/model")
        slow = load(theirs.url, asked, max(contest.seconds, 3), FEW_CONNECTIONS)
        other = theirs.memory()
    ratios = {kind: memory[kind] / other[kind] for kind in memory}
    told = {"ours": memory, "torch_eager": other, "ratios": ratios, "rps_of_torch": slow.rps}
    worst = max(ratios.values())
    return [*claims, Claim("memory_over_torch_service", worst, "ratio", about["peer"], told)]


def measure(quick: bool) -> list[Claim]:
    """Return the claims."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "empty", Path(folder) / "full"
        first.mkdir()
        second.mkdir()
        return [*over_empty_route(first, quick), *against_full_model(second, quick)]


if __name__ == "__main__":
    one_thread("serving")
    main("serving", measure)
