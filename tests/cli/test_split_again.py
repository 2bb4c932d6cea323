"""A saved model's table is split as it was for training, whatever seed a verb draws by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import recprune as rp
from recprune import Dataset
from recprune.artifact import read_artifact, write_artifact
from recprune.data.split import SplitRule
from recprune.errors import RecpruneWarning, SchemaError
from recprune.pipeline.saving import save_model
from recprune.runtime import load
from tests.cli.inside import inside
from tests.cli.test_cli import SMALL
from tests.pipeline.test_run import shop

ROLES = {"label": "bought", "user": "user_id", "item": "item_id"}
COLUMNS = tuple(word for role, name in ROLES.items() for word in (f"--{role}", name))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table, and a model of it split by chance with seed 3."""
    folder = tmp_path_factory.mktemp("split_again")
    shop().write_csv(folder / "shop.csv")
    trained(folder, "model", 3)
    return folder


def trained(folder: Path, name: str, seed: int) -> None:
    options = ("--split", "random", "--seed", seed, "-o", folder / name)
    done = inside("train", folder / "shop.csv", *COLUMNS, *options, *SMALL)
    assert done.returncode == 0, done.stderr


def untold(model: Path, anew: Path) -> None:
    """Write a model again as if it did not tell its split."""
    artifact = read_artifact(model)
    meta = {name: value for name, value in artifact.meta.items() if name != "split"}
    anew.mkdir()
    write_artifact(anew, replace(artifact, meta=meta), rp.__version__)


def measured(model: Path, *options: object, warned: bool = False) -> Mapping[str, Any]:
    """Return the metrics of ``recprune evaluate``."""
    done = inside("evaluate", model, model.parent / "shop.csv", "--json", *options)
    assert done.returncode == 0, done.stderr
    assert ("may have learned from" in done.stderr) == warned
    return json.loads(done.stdout)["metrics"]


def expected(model: Path, **how: Any) -> Mapping[str, Any]:
    """Return the metrics of the test rows of a split."""
    data = Dataset.read(model.parent / "shop.csv", **ROLES).split(**how)
    return rp.evaluate(load(model), data).to_json()["metrics"]


def test_neither_the_way_nor_the_seed_is_told_twice(place: Path) -> None:
    model = place / "model"
    assert read_artifact(model).meta["split"] == SplitRule("random", seed=3).to_json()
    told = measured(model)
    assert told == expected(model, by="random", seed=3)
    assert told != expected(model, by="random", seed=0)
    assert measured(model, "--split", "random") == told
    assert measured(model, "--split", "auto") == told


def test_a_seed_of_the_verb_deals_no_rows_anew(place: Path) -> None:
    third, fourth = (measured(place / "model", "--seed", seed) for seed in (3, 4))
    assert third == fourth


def test_another_way_is_warned_of(place: Path) -> None:
    with pytest.warns(RecpruneWarning, match="split by 'random' for training .* by 'user' here"):
        told = measured(place / "model", "--split", "user", warned=True)
    assert told == expected(place / "model", by="user", seed=3)


def test_shares_are_kept(place: Path) -> None:
    how = {"by": "user", "valid": 0.3, "test": 0.25, "seed": 1}
    data = Dataset.read(place / "shop.csv", **ROLES).split(**how)
    ranker = rp.LR(rp.Training(epochs=1)).fit(data.train, data.tune)
    save_model(ranker, data, place / "shares")
    assert measured(place / "shares") == expected(place / "shares", **how)


def test_an_artefact_that_does_not_tell_is_split_as_it_is_told(place: Path) -> None:
    untold(place / "model", place / "older")
    told = measured(place / "older", "--split", "random", "--seed", 3)
    assert told == expected(place / "older", by="random", seed=3)


def test_parts_that_came_apart_are_told_as_that(place: Path) -> None:
    artifact = read_artifact(place / "model")
    meta = {**artifact.meta, "split": SplitRule("given").to_json()}
    (place / "apart").mkdir()
    write_artifact(place / "apart", replace(artifact, meta=meta), rp.__version__)
    with pytest.warns(RecpruneWarning, match="rows came in parts for training"):
        measured(place / "apart", warned=True)


def test_compared_models_of_two_splits_are_warned_of(place: Path) -> None:
    trained(place, "other", 4)
    shown = ("compare", place / "model", place / "other", place / "shop.csv")
    with pytest.warns(RecpruneWarning, match=r"'random' with seed 4, the rows .* with seed 3 here"):
        assert inside(*shown, "--json").returncode in (0, 3)
    anew = inside(*shown, "--json", "--part", "all")
    assert anew.returncode in (0, 3)
    assert "may have learned" not in anew.stderr


def test_the_rows_that_judge_are_those_of_this_comparison(place: Path) -> None:
    untold(place / "model", place / "untold")
    options = (place / "untold", place / "model", place / "shop.csv", "--json")
    done = inside("compare", *options, "--split", "random", "--seed", 3)
    assert done.returncode in (0, 3), done.stderr
    assert "may have learned" not in done.stderr
    with pytest.warns(RecpruneWarning, match=r"'random' with seed 3, the rows .*'user'"):
        inside("compare", *options)


@pytest.mark.parametrize("data", [{"by": "user", "share": 1}, {}, ["user"], "user"])
def test_another_rule_is_refused(data: Any) -> None:
    with pytest.raises(SchemaError, match="rule of the split cannot be read"):
        SplitRule.from_json(data)


def test_a_pruned_model_tells_it_too(place: Path) -> None:
    options = ("--keep", "neurons=0.5", "-o", place / "pruned")
    done = inside("prune", place / "model", place / "shop.csv", *options)
    assert done.returncode == 0, done.stderr
    assert read_artifact(place / "pruned").meta["split"] == SplitRule("random", seed=3).to_json()


def test_a_model_pruned_on_another_split_tells_none(place: Path) -> None:
    options = ("--keep", "neurons=0.5", "--split", "user", "-o", place / "mixed")
    with pytest.warns(RecpruneWarning, match="by 'random' for training .* by 'user' here"):
        assert inside("prune", place / "model", place / "shop.csv", *options).returncode == 0
    with pytest.warns(RecpruneWarning, match="rows came in parts for training"):
        measured(place / "mixed", warned=True)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (SplitRule("time", seed=1), SplitRule("time", seed=2), True),
        (SplitRule("time", test=0.1), SplitRule("time"), False),
        (SplitRule("last-2", 0.1, 0.1, 1), SplitRule("last-2", seed=2), True),
        (SplitRule("last-2"), SplitRule("last-1"), False),
        (SplitRule("random", seed=1), SplitRule("random", seed=2), False),
        (SplitRule("random"), SplitRule("user"), False),
        (SplitRule("given"), SplitRule("given"), False),
    ],
)
def test_what_decides_on_a_split(one: SplitRule, other: SplitRule, alike: bool) -> None:
    assert one.deals_as(other) == other.deals_as(one) == alike
