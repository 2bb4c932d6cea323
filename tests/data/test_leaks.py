"""Leak suspects: what knows the label too well, and what merely knows a lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import read_spec
from recprune.data.check import check_frame
from recprune.data.checks import Sheet
from recprune.data.checks.leaks import leak_suspects, single_column_auc
from recprune.data.draft import read_draft
from recprune.data.sources import read_table

N = 6000


def table(seed: int, **weights: float) -> dict[str, Any]:
    """Columns that explain a label by their weights, and three that do not."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=N) for name in (*weights, "n1", "n2", "n3")}
    logit = sum(w * columns[name] for name, w in weights.items()) - 1
    return {**columns, "y": (rng.random(N) < 1 / (1 + np.exp(-logit))).astype(int)}


def sheet_of(columns: dict[str, Any]) -> Sheet:
    return Sheet.of_draft(read_draft(pl.DataFrame(columns), read_spec({"label": "y"})))


def suspects(columns: dict[str, Any]) -> set[str]:
    return {f.column for f in leak_suspects(sheet_of(columns))}


def noisy(label: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    flip = np.random.default_rng(seed).random(len(label)) < share
    return np.where(flip, 1 - label, label)


def test_a_column_that_beats_all_others_is_a_suspect() -> None:
    columns = table(0, a=1.0, b=1.0)
    assert suspects(columns) == set()
    assert suspects({**columns, "echo": noisy(columns["y"], 0.05)}) == {"echo"}
    assert suspects({**columns, "echo": noisy(columns["y"], 0.12)}) == {"echo"}
    assert suspects({**columns, "echo": columns["y"]}) == {"echo"}


def test_one_leak_does_not_hide_another_nor_a_copy_itself() -> None:
    columns = table(0, a=1.0, b=1.0)
    more = {"sure": columns["y"], "nearly": noisy(columns["y"], 0.1)}
    assert suspects({**columns, **more}) == {"sure", "nearly"}
    pair = {"one": noisy(columns["y"], 0.04), "two": noisy(columns["y"], 0.04, seed=2)}
    assert suspects({**columns, **pair}) == {"one", "two"}
    twin = noisy(columns["y"], 0.12)
    words = np.where(twin == 1, "yes", "no")
    assert suspects({**columns, "one": twin, "two": words}) == {"one", "two"}


def test_a_leak_that_is_not_monotone_is_seen() -> None:
    columns = table(0, a=1.0, b=1.0)
    rng = np.random.default_rng(2)
    ring = np.where(columns["y"] == 1, rng.normal(0, 0.3, N), rng.choice([-2, 2], N))
    assert suspects({**columns, "ring": ring}) == {"ring"}


def test_strong_honest_columns_are_none() -> None:
    assert suspects(table(0, a=2.0, b=1.8, c=1.5)) == set()
    assert suspects(table(0, a=0.8)) == set()  # the best column of a poor table


def test_ids_that_name_every_row_are_none() -> None:
    columns = table(0, a=1.0, b=1.0)
    assert suspects({**columns, "token": [f"t{i}" for i in range(N)]}) == set()


def test_a_later_event_by_its_name_needs_evidence() -> None:
    columns = table(0, a=1.0, b=1.0)
    rng = np.random.default_rng(3)
    some = (columns["y"] == 1) & (rng.random(N) < 0.1)
    earlier = rng.random(N) < 0.1
    named = {"totalSpend": some * 9.5, "orders_before": earlier, "colour": some}
    assert suspects({**columns, **named}) == {"totalSpend"}


def test_few_rows_of_a_class_say_nothing() -> None:
    columns = table(0, a=1.0, b=1.0)
    columns["y"] = np.where(np.cumsum(columns["y"]) <= 20, columns["y"], 0)
    sheet = sheet_of({**columns, "echo": columns["y"]})
    assert leak_suspects(sheet) == ()
    assert single_column_auc(sheet) == {}


def test_a_leak_among_hundreds_of_columns() -> None:
    rng = np.random.default_rng(4)
    columns = table(0, a=1.0, b=1.0) | {f"x{i}": rng.integers(0, 9, N) for i in range(300)}
    assert suspects(columns) == set()
    assert suspects({**columns, "echo": noisy(columns["y"], 0.12)}) == {"echo"}


MAIL = "hillstrom_email/hillstrom.csv.gz"
SEEN = {"item": "item_id", "time": "timestamp"}
REAL: list[tuple[str, dict[str, str], set[str]]] = [
    (
        "online_shoppers/online_shoppers_intention.csv.gz",
        {"label": "Revenue"},
        {"PageValues"},
    ),
    ("bank_marketing/bank-full.csv.gz", {"label": "y"}, {"duration"}),
    ("vehicle_coupon/in-vehicle-coupon-recommendation.csv.gz", {"label": "Y"}, set()),
    # Of visit, purchase and spend in the two weeks after the mail, none is known before another.
    (MAIL, {"label": "conversion"}, {"visit", "spend"}),
    (MAIL, {"label": "visit"}, {"conversion", "spend"}),
    ("adult_income/income_evaluation.csv.gz", {"label": " income"}, set()),
    *(
        (f"open_bandit/{policy}_{campaign}.parquet", {"label": "click", **SEEN}, set())
        for policy in ("random", "bts")
        for campaign in ("all", "men", "women")
    ),
]


@pytest.mark.parametrize(
    "file, roles, expected", REAL, ids=[f"{f}:{r['label']}" for f, r, _ in REAL]
)
def test_suspects_of_real_tables(
    shared_data: Path, file: str, roles: dict[str, str], expected: set[str]
) -> None:
    frame, from_text = read_table(shared_data / file)
    if roles["label"] == " income":
        frame = frame.with_columns((pl.col(" income") == " >50K").cast(pl.Int8).cast(pl.String))
    checked = check_frame(frame, read_spec(roles), from_text=from_text)
    assert checked.label_rate is not None
    assert {f.column for f in checked.findings if f.kind == "leak_suspect"} == expected
