"""Imports run downward or sideways, never in a circle."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest

from .plan import FLOORS, MODULES, NAMES, SEEN_BY, SIDE, dotted, imports

INNER = [m for m in MODULES if dotted(m)]


def part(name: str) -> str:
    return name.split(".")[0]


def allowed(module: str, target: str) -> bool:
    here, there = part(module), part(target)
    if here == there:
        return True
    if here in SIDE:
        return there in SIDE[here]
    if there in SIDE:
        return here in SEEN_BY[there]
    if here == "metrics":
        return there in ("errors", "topk", "_support")
    if not there:
        return here == "cli"
    return FLOORS[there] <= FLOORS[here]


@pytest.mark.parametrize("module", INNER, ids=dotted)
def test_every_module_stands_on_a_floor(module: Path) -> None:
    name = part(dotted(module))
    assert name in FLOORS or name in SIDE, "give it a floor in docs/architecture.md"


@pytest.mark.parametrize("module", INNER, ids=dotted)
def test_imports_never_run_upward(module: Path) -> None:
    upward = [
        f"line {line}: recprune.{target}"
        for line, target in imports(module)
        if not allowed(dotted(module), target)
    ]
    assert not upward


def test_imports_never_run_in_a_circle() -> None:
    graph = {
        dotted(m): {target for _, target in imports(m) if target in NAMES and target != dotted(m)}
        for m in INNER
    }
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail("a circle of imports: " + " → ".join(reversed(error.args[1])))


def test_the_rules_would_notice() -> None:
    assert not allowed("layout", "models.ranker")
    assert not allowed("evaluation.verdict", "runtime")
    assert not allowed("runtime.scorer", "data")
    assert not allowed("models.ranker", "runtime.block")
    assert not allowed("metrics.auc", "layout")
    assert not allowed("models", "")
    assert not allowed("security.keys", "runtime.scorer")
    assert not allowed("serving.app", "data")
    assert not allowed("pipeline.job", "serving")
    assert allowed("pipeline.job", "runtime.scorer")
    assert allowed("serving.app", "security.keys")
    assert allowed("importance.base", "models")
