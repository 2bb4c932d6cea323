"""Which fields go on the gate's rows, where what each is worth is given and not measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recprune.evaluation import (
    choose_fields,
    selection,
)
from recprune.importance import FieldRanking

NAMES = ("a", "b", "c", "d", "e", "f")


def ranked(*names: str, groups: tuple[tuple[str, ...], ...] = ()) -> FieldRanking:
    scores = np.arange(len(names), 0.0, -1)
    return FieldRanking(names, scores, np.zeros(len(names)), "stated", groups=groups)


@dataclass
class World:
    """What each set of fields that are gone is worth, and what was asked on the way.

    Args:
        worth: field → what AUC falls by without it, on the gate's rows; others nothing.
        on_tune: the same on the tune rows.
        error: standard error of every difference.
        gone: fields gone now.
        rivals: of each set that was tested: what it was compared with, as sets that are gone.
    """

    worth: dict[str, float] = field(default_factory=dict)
    on_tune: dict[str, float] = field(default_factory=dict)
    error: float = 0.001
    tested: list[tuple[frozenset[str], tuple[frozenset[str], ...]]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def total(self, gone: frozenset[str]) -> float:
        return sum(self.worth.get(name, 0.0) for name in gone)

    def part(self, model: Any, split: Any) -> Any:
        world = self

        class Part:
            def __init__(self) -> None:
                self.gone: frozenset[str] = frozenset()
                self.split = split

            def means(self) -> str:
                assert split.name == "tune"
                return "the tune rows' means"

            def replace(self, names: Any, means: str) -> frozenset[str]:
                assert means == "the tune rows' means"
                before, self.gone = self.gone, self.gone | set(names)
                return before

            def restore(self, names: Any, before: frozenset[str]) -> None:
                assert self.gone - before == set(names)
                self.gone = before

            def score(self) -> frozenset[str]:
                return self.gone

            def auc(self) -> float:
                assert split.name == "tune"
                return -sum(world.on_tune.get(name, 0.0) for name in self.gone)

        return Part()

    def delong(self, label: Any, rival: Any, score: Any, users: Any, weight: Any) -> Any:
        assert (label, users, weight) == ("label", "users", "weight")
        if not self.tested or self.tested[-1][0] != score or len(self.tested[-1][1]) == 3:
            self.tested.append((score, ()))
        self.tested[-1] = (score, (*self.tested[-1][1], rival))
        return self.total(rival) - self.total(score), self.error


def split(name: str, rows: int) -> Any:
    class Rows(SimpleNamespace):
        def __len__(self) -> int:
            return rows

    return Rows(name=name, label="label", users="users", extras=SimpleNamespace(weight="weight"))


def chosen(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    ranking: FieldRanking | None = None,
    left: tuple[str, ...] | None = None,
    **options: Any,
) -> tuple[str, ...]:
    """Return the choice; ``left`` = what the training rows leave where gate rows are few."""
    ranking = ranking or ranked(*NAMES)
    model = SimpleNamespace(encoder=SimpleNamespace(schema=SimpleNamespace(names=NAMES)))
    monkeypatch.setattr(selection, "Replaced", world.part)
    monkeypatch.setattr(selection, "clustered_delong", world.delong)

    def few(*given: Any) -> tuple[str, ...]:
        world.asked.append(given)
        return left  # type: ignore[return-value]

    monkeypatch.setattr(selection, "eliminate", few)
    gate = split("gate", 19_999 if left is not None else 20_000)
    train, tune = split("train", 9), split("tune", 9)
    return choose_fields(model, ranking, train, tune, gate, 0.01, **options)  # type: ignore[arg-type]


def test_fields_go_from_the_last_until_what_is_left_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({"a": 0.2, "b": 0.1})
    assert chosen(world, monkeypatch) == ("a", "b")
    nothing, f = frozenset[str](), frozenset("f")
    # Each set against all fields, the best larger set, and the set before.
    assert world.tested[0] == (f, (nothing, nothing, nothing))
    assert world.tested[1] == (frozenset("ef"), (nothing, nothing, f))
    assert [gone for gone, _ in world.tested[3:]] == [
        frozenset("cdef"),
        frozenset("bcdef"),
        frozenset("acdef"),
    ]


def test_a_set_that_does_not_pass_keeps_its_field_and_halves_the_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The tolerance is 0.01: so many standard errors must lie between it and the fall.
    for failures, quantile in enumerate((1.96, 2.2414, 2.4977, 2.7344)):
        for room, goes in ((1.01 * quantile, True), (0.99 * quantile, False)):
            worth = dict.fromkeys("fed"[:failures], 0.1)
            world = World({**worth, "c": 0.01 - room * 0.001, "a": 1.0, "b": 1.0})
            assert ("c" not in chosen(world, monkeypatch)) == goes, (failures, room)


def test_the_fourth_failure_ends_the_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(dict.fromkeys("fedc", 0.1))
    assert chosen(world, monkeypatch) == NAMES
    assert len(world.tested) == 4  # b and a, which tell nothing, are not tried


def test_an_error_that_is_not_known_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(World(error=np.nan), monkeypatch) == NAMES


def test_what_dropping_noise_gains_pays_for_no_useful_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without f the AUC is 0.05 higher; without e it is 0.02 lower than that, above the full one.
    world = World({"f": -0.05, "e": 0.02}, {"f": -0.05, "e": 0.02})
    assert chosen(world, monkeypatch) == ("e",)
    f, nothing = frozenset("f"), frozenset[str]()
    assert world.tested[1] == (frozenset("ef"), (nothing, f, f))
    # e stays: what follows is compared with the best larger set, and with the set before it.
    assert world.tested[2] == (frozenset("df"), (nothing, f, f))
    assert world.tested[3] == (frozenset("cdf"), (nothing, f, frozenset("df")))


def test_the_best_larger_set_is_that_of_the_tune_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    # On the tune rows it is best to be without f; being without e too is a little worse.
    world = World({}, {"f": -0.05, "e": 0.01})
    chosen(world, monkeypatch)
    assert world.tested[2][1] == (frozenset(), frozenset("f"), frozenset("ef"))


def test_protected_fields_stay_and_forced_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"b": 0.05, "a": 0.2})
    assert chosen(world, monkeypatch, protect=("e",), force=("b",)) == ("a", "e")
    # What is compared with has lost the forced field, too: it pays for nothing.
    assert world.tested[0] == (frozenset("bf"), (frozenset("b"),) * 3)


def test_one_field_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    assert chosen(world, monkeypatch) == ("a",)
    assert len(world.tested) == 5


def test_the_fields_of_a_group_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    ranking = ranked("a", "b", "c", "d", "e", "f", groups=(("b", "c", "f"),))
    world = World({"a": 0.2})
    assert chosen(world, monkeypatch, ranking) == ("a",)
    assert frozenset("bcf") <= world.tested[-1][0]
    assert [len(gone) for gone, _ in world.tested] == [1, 2, 5]


def test_where_gate_rows_are_few_the_training_rows_have_the_first_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({"a": 0.2, "f": 0.3, "d": 0.004})
    kept = chosen(world, monkeypatch, left=("f", "a", "d"), protect=("a",))
    assert kept == ("a", "f")
    _, train, tune, allowed, protect = world.asked[0]
    assert (train.name, tune.name, allowed, protect) == ("train", "tune", NAMES, ("a",))
    # The first set that is tested lacks what the training rows took; all fields are its rival too.
    gone = frozenset("bce")
    assert world.tested[0] == (gone | set("f"), (frozenset(), gone, gone))
    assert world.tested[1] == (gone | set("d"), (frozenset(), gone, gone))
    many = World({"a": 0.2})
    assert chosen(many, monkeypatch) == ("a",)
    assert not many.asked
