"""``recprune prune``: units alone and together, and what cannot be cut."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from recprune.artifact import read_artifact
from recprune.cli.main import app
from recprune.data import Dataset
from recprune.errors import InputError
from recprune.models import DeepFM, FwFM, Ranker, Training

Saved = tuple[Path, Path]


def table(columns: tuple[str, ...]) -> pl.DataFrame:
    """Letters a to d and numbers x and w; the label follows a and x."""
    draws = np.random.default_rng(0)
    letters = {n: draws.choice([f"{n}{i}" for i in range(9)], 900) for n in "abcd"}
    numbers = {n: draws.normal(0, 1, 900) for n in ("x", "w")}
    chance = 0.2 + 0.4 * (letters["a"] > "a4") + 0.3 * (numbers["x"] > 0)
    known = {n: v.tolist() for n, v in (letters | numbers).items() if n in columns}
    return pl.DataFrame({**known, "y": (draws.random(900) < chance).astype(int)})


def saved(folder: Path, model: Ranker, *columns: str) -> Saved:
    """Return a fitted model's folder, and the table that it was trained on."""
    table(columns).write_csv(folder / "rows.csv")
    data = Dataset.read(folder / "rows.csv", label="y").split()
    model.fit(data.train, data.tune).save(folder / "model")
    return folder / "model", folder / "rows.csv"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    model = DeepFM(4, (8, 4), Training(epochs=1))
    return saved(tmp_path_factory.mktemp("mixed"), model, "a", "b", "c", "d", "x", "w")


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    model = FwFM(4, training=Training(epochs=1))
    return saved(tmp_path_factory.mktemp("weighted"), model, "a", "b", "c", "d")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    model = DeepFM(4, (8,), Training(epochs=1))
    return saved(tmp_path_factory.mktemp("numbers"), model, "x", "w")


def prune(given: Saved, *further: str) -> dict[str, Any]:
    arguments = ["prune", *map(str, given), "--json", *further]
    ran = CliRunner().invoke(app, arguments, standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


ALL = {"fields": "0.5", "rows": "0.25", "dims": "0.5", "neurons": "0.5"}


@pytest.mark.parametrize("units", [*((unit,) for unit in ALL), tuple(ALL)])
def test_units_alone_and_together(units: tuple[str, ...], mixed: Saved, tmp_path: Path) -> None:
    wanted = [w for unit in units for w in ("--keep", f"{unit}={ALL[unit]}")]
    method = ("--method", "rows=pep") if "rows" in units else ()
    options = (*wanted, *method, "--bits", "int8", "--rounds", "2")
    planned = prune(mixed, *options, "--dry-run")
    assert planned["tensor_bytes"] < read_artifact(mixed[0]).plan.predicted_bytes(
        read_artifact(mixed[0]).layout
    )
    done = prune(mixed, *options, "-o", str(tmp_path / "small"))
    assert done["bytes"]["after"] < done["bytes"]["before"]
    kept = read_artifact(tmp_path / "small").layout
    sizes = {unit: sum(a.size for a in kept.axes.values() if a.unit == unit[:-1]) for unit in ALL}
    fields = 3 if "fields" in units else 6
    assert sizes["fields"] == fields
    assert sizes["dims"] == fields * (2 if "dims" in units else 4)
    assert sizes["neurons"] == (6 if "neurons" in units else 12)
    if "rows" in units:  # 36 letters in four fields; padding and unknown stay
        letters = [a.size - 2 for n, a in kept.axes.items() if n in {f"rows.{c}" for c in "abcd"}]
        assert sum(letters) == 9


def test_pairs(weighted: Saved, tmp_path: Path) -> None:
    prune(weighted, "--keep", "pairs=2", "-o", str(tmp_path / "small"))
    assert read_artifact(tmp_path / "small").layout.axes["pairs"].size == 2


@pytest.mark.parametrize("dry", [("--dry-run",), ("--rounds", "2")])
@pytest.mark.parametrize(
    "model, options, message",
    [
        ("mixed", ("--keep", "pairs=2"), "no axis of unit 'pair'"),
        ("weighted", ("--keep", "neurons=2"), "no axis of unit 'neuron'"),
        ("numbers", ("--keep", "rows=0.5"), "no rows that can be cut"),
        ("mixed", ("--keep", "weights=0.5"), "weights.sparsify"),
        ("mixed", ("--keep", "row=0.5"), "Did you mean 'rows'"),
        ("mixed", ("--keep", "rows=0"), "an int ≥ 1"),
        ("mixed", ("--keep", "rows=0.5", "--keep", "rows=0.1"), "--keep names 'rows' twice"),
        ("mixed", ("--keep", "rows=0.5", "--method", "dims=l2"), "needs --keep dims="),
        ("mixed", ("--keep", "neurons=0.5", "--method", "neurons=pep"), "scores row units"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: str,
    options: tuple[str, ...],
    message: str,
    dry: tuple[str, ...],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        prune(request.getfixturevalue(model), *options, *dry, "-o", str(tmp_path / "small"))
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("rounds", ["0", "-1"])
def test_rounds_without_a_cut_are_refused(rounds: str, mixed: Saved) -> None:
    with pytest.raises(Exception, match="greater than or equal to 1"):
        prune(mixed, "--keep", "rows=0.5", "--rounds", rounds, "--dry-run")
