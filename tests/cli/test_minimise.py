"""``recprune minimise`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.data import Dataset
from recprune.errors import InputError
from recprune.models import LR, Training
from recprune.pipeline import save_model
from tests.cli.test_cli import environment
from tests.pipeline.test_minimisation import planted
from tests.pipeline.test_run import own_state

__all__ = ["environment", "own_state"]

pytestmark = pytest.mark.filterwarnings("ignore::recprune.errors.RecpruneWarning")
SCHEMA = """[fields.religion]
sensitive = true
cost = 500
[fields.income]
sensitive = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, what is said of its columns, and a model of it."""
    folder = tmp_path_factory.mktemp("minimise")
    table = planted(n_users=1500).whole_table
    frame = table.held.drop("income_copy", "health", "minority")
    frame.with_columns(y=pl.Series(table.label).cast(pl.Int8)).write_csv(folder / "t.csv")
    (folder / "schema.toml").write_text(SCHEMA)
    roles = {"label": "y", "user": "user", "schema": folder / "schema.toml"}
    data = Dataset.read(folder / "t.csv", **roles).split(by="user")
    model = LR(training=Training(epochs=5)).fit(data.train, data.tune)
    save_model(model, data, folder / "model")
    return folder


def words(folder: Path, *more: str) -> list[str]:
    table, schema = str(folder / "t.csv"), str(folder / "schema.toml")
    asked = ["minimise", str(folder / "model"), table, "--schema", schema, "--split", "user"]
    return [*asked, "--tolerance", "0.03", *more]


def test_one_object_and_a_page(folder: Path) -> None:
    page = folder / "page.html"
    done = CliRunner().invoke(app, words(folder, "--json", "-o", str(page)), standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == 0
    told = json.loads(done.stdout)
    assert told["stop"] == ["religion"]
    assert told["joint"]["cost"] == 500
    assert [f["decision"] for f in told["fields"]] == ["stop collecting", "keep"]
    assert told["output"] == str(page)
    assert "Stop collecting religion" in page.read_text("utf-8")


def test_a_table_for_people_of_chosen_columns(folder: Path) -> None:
    asked = words(folder, "--column", "income")
    done = CliRunner().invoke(app, asked, standalone_mode=False)
    assert done.exception is None, done.exception
    assert "Keep income: without it, AUC" in " ".join(done.stdout.split())
    assert "religion  " not in done.stdout


def test_another_form_is_refused_before_any_work(folder: Path) -> None:
    done = CliRunner().invoke(app, words(folder, "-o", "x.pdf"), standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert "a file .html or .png" in str(done.exception)
