"""Mutation testing of ``pruning`` and ``evaluation``: would the tests notice a fault?

``python -m tests.mutation`` lets mutmut make every mutant (one small change of the code), draws some
at random, the same for the same seed, runs the tests that reach each, and prints how many were
noticed. ``make mutants`` does so; CONTRIBUTING.md says how long it takes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Any mutant that few tests reach: mutmut has no command that only makes them.
FIRST = "recprune.pruning.schedules.x__count__mutmut_1"
KILLED = ("killed", "timeout")
JUDGED = ("killed", "survived", "no tests")
COLUMNS = ("killed", "timeout", "survived", "no tests", "other")


# As a plugin of pytest, while mutmut learns which tests reach which function: what a shared fixture
# calls is reached by every test that uses the fixture, not by the first one only.
_made_by: dict[str, set[str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    """Note the functions that a shared fixture calls."""
    reached = _reached()
    if reached is None or fixturedef.scope == "function":
        return (yield)
    before = set(reached)
    reached.clear()
    try:
        return (yield)
    finally:
        _made_by.setdefault(fixturedef.argname, set()).update(reached)
        reached |= before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: Any) -> None:
    """Add to a test's functions those of its fixtures, before mutmut reads them."""
    if (reached := _reached()) is not None:
        for name in getattr(item, "fixturenames", ()):
            reached |= _made_by.get(name, set())


def _reached() -> set[str] | None:
    if os.environ.get("MUTANT_UNDER_TEST") != "stats":
        return None
    from mutmut.state import state

    return state()._stats


def draw(names: Sequence[str], size: int, least: int, seed: int) -> list[str]:
    """Return a sample stratified by file: of each as many as its share, and at least ``least``."""
    by_file: dict[str, list[str]] = {}
    for name in sorted(names):
        by_file.setdefault(file_of(name), []).append(name)
    drawn = []
    for file, mutants in by_file.items():
        count = max(least, round(size * len(mutants) / len(names)))
        drawn += random.Random(f"{seed} {file}").sample(mutants, min(count, len(mutants)))
    return drawn


def file_of(mutant: str) -> str:
    """Return the module, as ``pruning/encode``, that a mutant is in."""
    return "/".join(mutant.split(".")[1:3])


def share(found: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """Return the share of mutants killed of all that there are, and half its 95 % interval.

    Args:
        found: of each file: mutants, mutants drawn, mutants killed of these.
    """
    total = sum(n for n, _, _ in found)
    mean = sum(n * killed / drawn for n, drawn, killed in found) / total
    # Agresti and Coull's two and two, so that a file without a survivor has an error, too.
    variance = 0.0
    for n, drawn, killed in found:
        p = (killed + 2) / (drawn + 4)
        variance += (n / total) ** 2 * p * (1 - p) / drawn * (1 - drawn / n)
    return mean, 1.96 * math.sqrt(variance)


def main() -> None:
    """Draw mutants, run their tests, print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--size", type=int, default=400, help="mutants to draw; 0 = all")
    parser.add_argument("--least", type=int, default=8, help="mutants of each file, at least")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--processes", type=int, default=1, help="mutants tested at once")
    parser.add_argument("--only", default="", help="mutants whose names hold this")
    parser.add_argument("--resume", action="store_true", help="leave out what was judged already")
    parser.add_argument("--show", action="store_true", help="print what survived as a diff")
    asked = parser.parse_args()
    # Makes all mutants anew where the code has changed, and learns which tests reach them.
    _mutmut("run", "--max-children", str(asked.processes), FIRST)
    everything = _statuses()
    some = [name for name in everything if asked.only in name]
    drawn = draw(some, asked.size, asked.least, asked.seed) if asked.size else some
    left = [n for n in drawn if everything[n] not in JUDGED] if asked.resume else drawn
    if left:
        _mutmut("run", "--max-children", str(asked.processes), *left)
    statuses = _statuses()
    for name in drawn:
        if statuses[name] not in KILLED:
            print(f"{statuses[name]}: {name}")
            if asked.show:
                print(_mutmut("show", name, shown=False))
    report({name: statuses[name] for name in drawn}, Counter(map(file_of, some)))


def report(statuses: dict[str, str], mutants: Counter[str]) -> None:
    """Print the counts of each file, of both packages and in all."""
    counts: dict[str, Counter[str]] = {}
    for name, status in statuses.items():
        counts.setdefault(file_of(name), Counter())[status if status in COLUMNS else "other"] += 1
    print(f"{'file':32}{'mutants':>9}{'drawn':>7}" + "".join(f"{c:>10}" for c in COLUMNS))
    for file, count in sorted(counts.items()):
        print(
            f"{file:32}{mutants[file]:9}{count.total():7}"
            + "".join(f"{count[c]:10}" for c in COLUMNS)
        )
    for part in ("pruning", "evaluation", ""):
        found = [
            (mutants[file], count.total(), sum(count[c] for c in KILLED))
            for file, count in counts.items()
            if file.startswith(part)
        ]
        if found:
            mean, half = share(found)
            n, drawn, killed = map(sum, zip(*found, strict=True))
            print(
                f"{part or 'in all'}: {killed} of {drawn} drawn of {n} mutants killed; "
                f"{mean:.1%} ± {half:.1%} of all"
            )


def _statuses() -> dict[str, str]:
    """Return mutant → what became of it."""
    lines = _mutmut("results", "--all", "true", shown=False).splitlines()
    pairs = (line.strip().rpartition(": ") for line in lines if "__mutmut_" in line)
    return {name: status for name, _, status in pairs}


def _mutmut(*arguments: str, shown: bool = True) -> str:
    """Run mutmut in the repository's root, on the mutated copy also where tests start processes."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "mutants" / "src"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "CI": "1",  # hypothesis draws the same examples for every mutant
    }
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=None if shown else subprocess.PIPE,
        check=True,
    )
    return done.stdout or ""


if __name__ == "__main__":
    main()
