"""``recprune compare`` as a user types it: many models, one table, clear words."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from recprune.artifact import read_artifact, stored_size
from recprune.cli.main import app
from recprune.data import Dataset
from recprune.errors import InputError
from recprune.models import LR, DeepFM, Training
from recprune.pipeline import save_model
from recprune.pruning import encode
from tests.cli.test_cli import environment
from tests.cli.test_cli import recprune as program
from tests.pipeline.test_run import own_state, shop

__all__ = ["environment", "own_state"]

pytestmark = pytest.mark.filterwarnings("ignore::recprune.errors.RecpruneWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a full model of it, the same in int8, and one that knows nothing."""
    folder = tmp_path_factory.mktemp("compare")
    shop(300).write_csv(folder / "shop.csv")
    roles = {"label": "bought", "user": "user_id", "item": "item_id"}
    data = Dataset.read(folder / "shop.csv", **roles).split()
    full = DeepFM(8, (16,), Training(epochs=4)).fit(data.train, data.tune)
    for name, model in (
        ("full", full), ("int8", encode(full)), ("blind", LR().begin(data.train))
    ):  # fmt: skip
        save_model(model, data, folder / name)
    return folder


def compared(folder: Path, *arguments: str, code: int) -> str:
    """Run the verb in ``folder`` and return its stdout."""
    words = [str(folder / a) if (folder / a).exists() else a for a in arguments]
    done = CliRunner().invoke(app, ["compare", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == code
    return done.stdout


def refused(folder: Path, *arguments: str) -> str:
    """Run the verb in ``folder`` and return what it complains about."""
    words = [str(folder / a) if (folder / a).exists() else a for a in arguments]
    done = CliRunner().invoke(app, ["compare", *words], standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert not done.stdout
    return str(done.exception)


def test_several_models_are_judged_and_all_must_pass(folder: Path) -> None:
    told = json.loads(compared(folder, "full", "int8", "blind", "shop.csv", "--json", code=3))
    assert not told["passed"]
    assert [m["name"].split("/")[-1] for m in told["pruned"]] == ["int8", "blind"]
    good, bad = (m["verdict"] for m in told["pruned"])
    assert (good["outcome"], bad["outcome"]) == ("PASS", "FAIL")
    assert (good["test_uses"], bad["test_uses"]) == (1, 2)
    sizes = [stored_size(read_artifact(folder / n)) for n in ("full", "int8", "blind")]
    assert [told["full"]["bytes"], *(m["bytes"] for m in told["pruned"])] == sizes
    assert told["pruned"][0]["compression"] == sizes[0] / sizes[1]


def test_one_that_passes_is_exit_0(folder: Path) -> None:
    told = json.loads(compared(folder, "full", "int8", "shop.csv", "--json", code=0))
    assert told["passed"]
    kinds = {s["kind"] for s in told["pruned"][0]["verdict"]["slices"]}
    assert {"activity", "popularity", "sensitive"} <= kinds


def test_the_table_for_people_has_a_line_a_model(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = compared(folder, "full", "int8", "blind", "shop.csv", "--by", "kind", code=3)
    for name, outcome in (("int8", "PASS"), ("blind", "FAIL")):
        assert any(f"/{name} " in line and outcome in line for line in shown.splitlines())
    assert "worse by more than the slice tolerance on" in shown
    assert "kind=" in shown


def test_metric_tolerance_part_and_columns_reach_the_verdict(folder: Path) -> None:
    options = ("--metric", "logloss", "--tolerance", "0.3", "--by", "kind", "--part", "all")
    told = json.loads(compared(folder, "full", "int8", "shop.csv", *options, "--json", code=0))
    judged = told["pruned"][0]["verdict"]
    assert (judged["metric"], judged["tolerance"]) == ("logloss", 0.3)
    assert judged["n_rows"] == len(pl.read_csv(folder / "shop.csv"))
    assert {"kind=fruit", "kind=tool"} <= {s["slice"] for s in judged["slices"]}
    assert not any(s["kind"] == "activity" for s in judged["slices"])  # nobody trained on none


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("full", "shop.csv"), "needs the full model's folder, one or more pruned models' and"),
        (("full", "int8"), "The last argument of compare is the table"),
        (("full", "int8", "blind"), "is a model's folder. Usage: recprune compare FULL PRUNED"),
        (("full", "--sql", "select 1"), "one or more pruned models' without a table"),
        (("full", "absent", "shop.csv"), "no recprune artefact"),
        (("full", "int8", "absent.csv"), "absent.csv"),
        (("full", "int8", "shop.csv", "--metric", "acu"), "Did you mean 'auc'"),
        (("full", "int8", "shop.csv", "--by", "kidn"), "Did you mean 'kind'"),
        (("full", "int8", "shop.csv", "--tolerance", "2"), "'tolerance' parameter of verdict"),
        (("full", "int8", "shop.csv", "--part", "tune"), "test or all"),
    ],
)
def test_wrong_usage_says_what_to_type(folder: Path, arguments: tuple, words: str) -> None:
    assert words in refused(folder, *arguments)


def test_nothing_at_all_is_usage_too(environment: dict[str, str]) -> None:
    done = program("compare", environment=environment)
    assert done.returncode == 2
    assert "FULL PRUNED... TABLE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_shows_every_model(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    words = ["full", "int8", "blind", "shop.csv", "-o", str(page), "--json"]
    told = json.loads(compared(folder, *words, code=3))
    assert told["output"] == str(page)
    text = page.read_text("utf-8")
    assert "1 of 2 PASS" in text
    assert text.count('class="point"') == 6  # three models, by bytes and by latency
    for name in ("int8", "blind"):
        assert text.count(name) > 3
        assert f"Every slice of {name}" in text
    assert str(folder) not in text
    assert "int8 is as good as the full model; the other is not shown to be." in text
    assert "have been used for" in text
    assert 'id="picture-slices-1"' in text


def test_a_page_is_html(folder: Path, tmp_path: Path) -> None:
    said = refused(folder, "full", "int8", "shop.csv", "-o", str(tmp_path / "page.pdf"))
    assert "a file .html" in said
    assert list(tmp_path.iterdir()) == []
