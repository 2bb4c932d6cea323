"""Which fields go on the training rows, where what each is worth is given and not measured."""

from __future__ import annotations

from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recprune.data import Split
from recprune.evaluation import (
    clustered_delong,
    elimination,
    folds_of,
)
from recprune.evaluation.elimination import _quick, _worth, eliminate
from recprune.metrics import auc
from recprune.models import DeepFM, Training
from tests.planted import small_data


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


class Held:
    """Stands for a fitted model on its fold's rows: what each field tells is given."""

    def __init__(self, fitted: Any, rows: Split) -> None:
        self.fitted, self.split, self.gone = fitted, rows, set[str]()

    def means(self) -> str:
        return "means"

    def replace(self, names: Any, means: str) -> set[str]:
        assert means == "means"
        before, self.gone = self.gone, self.gone | set(names)
        return before

    def restore(self, names: Any, before: set[str]) -> None:
        self.gone = before

    def score(self) -> np.ndarray:
        noise = np.random.default_rng(len(self.split)).normal(size=len(self.split))
        return noise + self.split.label * sum(
            tells for name, tells in (("colour", 0.5), ("size", 1.0)) if name not in self.gone
        )


def test_every_round_trains_models_of_its_own_on_two_thirds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, fitted = small_data(600), list[Any]()

    class Trainer:
        def __init__(self, rows: Split, tune: Split) -> None:
            self.rows, self.tune = rows, tune

        def fitted(self, blank: Any) -> Any:
            fitted.append((self.rows, self.tune, blank))
            return blank

    monkeypatch.setattr(elimination, "Rows", Trainer)
    monkeypatch.setattr(elimination, "Replaced", Held)
    training = Training(epochs=3, batch_size=4, learning_rate=0.01)
    model, names = DeepFM(2, (4,), training, seed=4), ("colour", "size", "noise")
    found = elimination._Evidence.of(model, data.train, data.tune, names, 1)
    folds = folds_of(data.train.label, None, 3, 1, 4)
    assert len(fitted) == len(found.folds) == len(found.full) == 3
    for fold, (rows, tune, blank), held in zip(folds, fitted, found.folds, strict=True):
        assert rows.encoder.schema.names == tune.encoder.schema.names == names
        np.testing.assert_array_equal(rows.label, data.train.label[fold.train])
        np.testing.assert_array_equal(held.split.label, data.train.label[fold.test])
        assert held.split.encoder.schema.names == names
        assert held.fitted is blank
        assert blank.training == _quick(training, len(fold.train))
        assert len(tune) == len(data.tune)
    seeds = [blank.seed for *_, blank in fitted]
    assert len(set(seeds)) == 3
    again = elimination._Evidence.of(model, data.train, data.tune, names, 1)
    assert [blank.seed for *_, blank in fitted[3:]] == seeds
    elimination._Evidence.of(model, data.train, data.tune, names, 2)
    assert not set(seeds) & {blank.seed for *_, blank in fitted[6:]}
    pairs = [_worth(found.folds, found.full, [name]) for name in names]
    assert found.worth == pytest.approx([worth for worth, _ in pairs])
    assert found.z[:2] == pytest.approx([worth / error for worth, error in pairs[:2]])
    assert found.z[1] > found.z[0] > 2
    assert (found.worth[2], found.z[2]) == (0, 0)  # nothing changes, without any error
    worth, error = _worth(found.folds, found.full, ["colour", "size"])
    assert found.together(["colour", "size"]) == pytest.approx(worth / error)
    assert found.together(["noise"]) == 0
    assert again.z == pytest.approx(found.z)
