"""Which fields go and in which order, where what each is worth is given and not measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recprune.evaluation import choose_fields, clustered_delong, elimination, selection
from recprune.evaluation.elimination import _quick, _worth, eliminate
from recprune.importance import FieldRanking
from recprune.metrics import auc
from recprune.models import Training

NAMES = ("a", "b", "c", "d", "e", "f")


def ranked(*names: str, groups: tuple[tuple[str, ...], ...] = ()) -> FieldRanking:
    scores = np.arange(len(names), 0.0, -1)
    return FieldRanking(names, scores, np.zeros(len(names)), "stated", groups=groups)


# ---- the sequence on the gate's rows


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


# ---- elimination on the training rows


class Evidence:
    """Stands for models that were trained: what each field is worth, in standard errors."""

    def __init__(self, z: dict[str, float], together: dict[str, float] | None = None) -> None:
        self.given, self.both = z, together or {}
        self.rounds: list[tuple[tuple[str, ...], int]] = []
        self.groups: list[tuple[str, ...]] = []

    def of(self, model: Any, train: Any, tune: Any, names: list[str], number: int) -> Any:
        assert (model, train, tune) == ("model", "train", "tune")
        self.rounds.append((tuple(names), number))
        z = np.array([self.given[name] for name in names])

        def together(gone: list[str]) -> float:
            self.groups.append(tuple(gone))
            return self.both.get("".join(sorted(gone)), 0.0)

        return SimpleNamespace(z=z, together=together)


def eliminated(evidence: Evidence, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    monkeypatch.setattr(elimination, "_Evidence", evidence)
    names = tuple(evidence.given)
    return "".join(eliminate("model", "train", "tune", names, **options))  # type: ignore[arg-type]


def test_of_what_is_not_shown_to_matter_half_goes_and_in_the_end_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evidence = Evidence({"a": 9, "b": 1, "c": 0.5, "d": 0, "e": -1, "f": 8, "g": 2})
    assert eliminated(evidence, monkeypatch) == "af"
    # Of five the three that are worth least go, of two one, and then the last.
    assert evidence.rounds == [(tuple("abcdefg"), 0), (tuple("abfg"), 1), (tuple("afg"), 2)]


def test_the_level_is_shared_among_the_fields_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = NormalDist().inv_cdf(1 - 0.05 / 4)
    for z, stays in ((bar - 1e-6, False), (bar + 1e-6, True)):
        evidence = Evidence({"a": 9, "b": z, "c": 9, "d": 9})
        assert ("b" in eliminated(evidence, monkeypatch)) == stays
        assert len(evidence.rounds) == (1 if stays else 2)


def test_what_matters_together_does_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Evidence({"a": 0.1, "b": 0.2, "c": 9, "d": 9}, {"ab": 5.0})
    assert eliminated(copies, monkeypatch) == "cd"  # one after the other, for lack of a new model
    pair = Evidence({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 9}, {"ab": 5.0})
    eliminated(pair, monkeypatch)
    assert pair.rounds[1][0] == tuple("bcde")  # of a and b, which were to go, one stays
    four = Evidence(dict(zip("abcdefgh", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 9], strict=True)))
    four.both = {"abcd": 5.0, "ab": 0.1}
    eliminated(four, monkeypatch)
    assert four.groups[:2] == [("a", "b", "c", "d"), ("a", "b")]
    assert four.rounds[1][0] == tuple("cdefgh")


def test_one_field_and_protected_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Evidence({"a": 0.3, "b": 0.1, "c": 0.2})
    assert eliminated(nothing, monkeypatch) == "a"
    assert [names for names, _ in nothing.rounds] == [("a", "b", "c")]
    kept = Evidence({"a": 0.3, "b": 0.1, "c": 0.2})
    assert eliminated(kept, monkeypatch, protect=("b", "c")) == "bc"
    assert len(kept.rounds) == 1
    alone = Evidence({"a": 0.0})
    assert eliminated(alone, monkeypatch) == "a"
    assert not alone.rounds
    all_of_them = Evidence({"a": 0.0, "b": 0.0})
    assert eliminated(all_of_them, monkeypatch, protect=("a", "b")) == "ab"
    assert not all_of_them.rounds


def test_training_is_quick_but_not_for_few_rows() -> None:
    slow = Training(batch_size=100, learning_rate=0.01)
    quick = _quick(slow, 100_000)
    assert (quick.batch_size, quick.learning_rate) == (400, pytest.approx(0.02))
    some = _quick(slow, 16 * 225)
    assert (some.batch_size, some.learning_rate) == (225, pytest.approx(0.015))
    few = _quick(slow, 300)
    assert (few.batch_size, few.learning_rate) == (100, pytest.approx(0.01))
    assert _quick(Training(batch_size=100, learning_rate=0.09), 100_000).learning_rate == 0.1
    assert _quick(Training(batch_size=100, learning_rate=0.5), 100_000).learning_rate == 0.5
    assert quick.epochs == slow.epochs


def test_worth_is_the_mean_fall_over_folds() -> None:
    draws = np.random.default_rng(0)

    class Fold:
        def __init__(self, n: int) -> None:
            label = np.tile([0.0, 1.0], n)
            self.columns = {name: label + draws.normal(size=2 * n) for name in "ab"}
            extras = SimpleNamespace(weight=None)
            self.split = SimpleNamespace(label=label, users=None, extras=extras)

        def means(self) -> dict[str, float]:
            return {name: float(column.mean()) for name, column in self.columns.items()}

        def replace(self, names: list[str], means: dict[str, float]) -> dict[str, Any]:
            before = dict(self.columns)
            for name in names:
                self.columns[name] = np.full(len(self.split.label), means[name])
            return before

        def restore(self, names: list[str], before: dict[str, Any]) -> None:
            self.columns = before

        def score(self) -> np.ndarray:
            return self.columns["a"] + self.columns["b"]

    folds = [Fold(60), Fold(80), Fold(100)]
    full = [fold.score() for fold in folds]
    worth, error = _worth(folds, full, ["a"])  # type: ignore[arg-type]
    falls = [
        auc(f.split.label, s) - auc(f.split.label, f.columns["b"])
        for f, s in zip(folds, full, strict=True)
    ]
    assert worth == pytest.approx(np.mean(falls))
    for fold, score in zip(folds, full, strict=True):
        np.testing.assert_array_equal(fold.score(), score)  # all is as it was
    errors = [
        clustered_delong(f.split.label, f.columns["b"] + f.means()["a"], s)[1]
        for f, s in zip(folds, full, strict=True)
    ]
    assert error == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 3)
