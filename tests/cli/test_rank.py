"""``recprune rank``: how many fields to keep, and which in any case."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.data import Dataset
from recprune.errors import InputError, ParameterError
from recprune.models import DeepFM, Training
from tests.planted import planted_frame


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and the table that it was trained on."""
    folder = tmp_path_factory.mktemp("rank")
    table = folder / "rows.csv"
    planted_frame(1000, noise=1).write_csv(table)
    (folder / "schema.toml").write_text("[fields.strong0]\ncost = 7\n[fields.strong1]\ncost = 2\n")
    data = Dataset.read(table, label="y", schema=folder / "schema.toml").split()
    training = Training(epochs=2, batch_size=256)
    DeepFM(2, (4,), training=training).fit(data.train, data.tune).save(folder / "model")
    return folder / "model", table


def rank(saved: tuple[Path, Path], *further: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return what is kept, and the ranking."""
    ran = CliRunner().invoke(
        app, ["rank", *map(str, saved), "--json", *further], standalone_mode=False
    )
    if ran.exception is not None:
        raise ran.exception
    told = json.loads(ran.stdout)
    return told["keep"], told["fields"]


@pytest.mark.parametrize("keep, count", [("3", 3), ("0.25", 3), ("1.0", 13), ("cost=2", 12)])
def test_amounts(keep: str, count: int, saved: tuple[Path, Path]) -> None:
    schema = ("--schema", str(saved[0].parent / "schema.toml"))
    kept, fields = rank(saved, "--keep", keep, "--method", "mutual_information", *schema)
    assert len(kept) == count
    if keep == "cost=2":
        assert "strong0" not in kept
    else:
        assert kept == [row["field"] for row in fields[:count]]


def test_what_stays_and_goes_in_any_case(saved: tuple[Path, Path]) -> None:
    for keep in ("2", "auto"):
        kept, _ = rank(saved, "--keep", keep, "--protect", "noise0", "--force", "strong1")
        assert "noise0" in kept
        assert "strong1" not in kept


def test_what_decided_each_field_is_told(saved: tuple[Path, Path]) -> None:
    _, fields = rank(saved, "--method", "screened", "--keep", "3")
    assert all(row["by"].startswith("permutation, ") for row in fields)
    shown = CliRunner().invoke(app, ["rank", *map(str, saved), "--method", "screened"])
    assert shown.exit_code == 0
    assert "scored by" in shown.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--keep", "half"], "'--keep' parameter of recprune rank must be a share (0.5), a count"),
        (["--keep", "price=3"], "Got 'price=3' instead"),
        (["--force", "strong1"], "--protect and --force go with --keep"),
        (["--keep", "2", "--protect", "strong9"], "Cannot protect 'strong9'."),
        # before anything is ranked: such a method would not even start
        (["--keep", "2", "--force", "strong9", "--method", "l1"], "Cannot force 'strong9'."),
        (
            ["--keep", "auto", "--tolerance", "0"],
            "'--tolerance' parameter of recprune rank must be",
        ),
        (["--groups", "found"], "must be 'schema', 'auto'"),
    ],
)
def test_bad_usage_is_told(arguments: list[str], message: str, saved: tuple[Path, Path]) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        rank(saved, *arguments)


def test_where_parts_run_is_stated_whole(saved: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="--engine ray needs --address: local"):
        rank(saved, "--engine", "ray")
    with pytest.raises(InputError, match="--address goes with --engine ray"):
        rank(saved, "--address", "local")
    with pytest.raises(ParameterError, match="'engine' parameter of Executor must be one of"):
        rank(saved, "--engine", "dask")


@pytest.mark.slow
def test_ray_ranks_as_one_process(saved: tuple[Path, Path]) -> None:
    """And says nothing on stdout but the result."""
    pytest.importorskip("ray")
    here = rank(saved, "--keep", "3")
    assert rank(saved, "--keep", "3", "--engine", "ray", "--address", "local") == here
