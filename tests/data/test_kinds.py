"""Sequences, vectors, dates and hashed values: encoded alike everywhere, learned, cut and served."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recprune as rp
from recprune.artifact import read_artifact
from recprune.bags import Components, Sequence
from recprune.data import Dataset
from recprune.data.encode import encode_frame
from recprune.data.fit import fit_knots
from recprune.encoding import Encoder
from recprune.errors import DataError, SchemaError
from recprune.lookups import UNKNOWN, Buckets, Vocabulary
from recprune.metrics import auc
from recprune.models import DeepFM, ranker_of
from recprune.models.training import Training
from recprune.schema import Field, Schema
from recprune.users import Users

N = 6000
DAY_ZERO = datetime(2024, 1, 1)
QUICK = Training(epochs=8, unknown_rate=5)
FIELDS = {
    "tags": {"kind": "sequence", "length": 4},
    "words": {"kind": "sequence", "separator": "|", "pooling": "sum"},
    "hashed": {"kind": "categorical", "buckets": 40},
    "bucket_tags": {"kind": "sequence", "buckets": 30},
    "size": {"scale": "log"},
    "weight": {"scale": "linear"},
}


def shop(seed: int = 0) -> pl.DataFrame:
    """Every kind of column, each with a rule of its own behind the label."""
    draws = np.random.default_rng(seed)
    tags = [draws.choice(list("abcdef"), draws.integers(0, 6)).tolist() for _ in range(N)]
    words = ["|".join(draws.choice(["x", "y", "z é"], draws.integers(1, 4))) for _ in range(N)]
    vector = draws.normal(size=(N, 3))
    when = [DAY_ZERO + timedelta(minutes=int(m)) for m in draws.integers(0, 60 * 24 * 200, N)]
    hashed = draws.integers(0, 25, N)
    logit = np.array([("a" in t[-4:]) * 2.0 - 1 for t in tags])
    logit += np.array([w.split("|").count("x") - 1.0 for w in words])
    logit += 1.5 * vector[:, 0] + np.array([1.5 if w.weekday() >= 5 else -0.5 for w in when])
    logit += np.where(hashed % 2 == 0, 1.0, -1.0)
    users = draws.integers(0, 200, N)
    return pl.DataFrame(
        {
            "user": users,
            "item": draws.integers(0, 50, N),
            "tags": [None if i % 17 == 0 else t for i, t in enumerate(tags)],
            "words": words,
            "bucket_tags": tags,
            "vector": pl.Series(vector.tolist(), dtype=pl.Array(pl.Float64, 3)),
            "when": when,
            "hashed": hashed.astype(str),
            "size": np.exp(draws.normal(3, 2, N)),
            "weight": draws.normal(size=N),
            "y": (draws.random(N) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    made = Dataset.from_frame(shop(), label="y", user="user", schema={"fields": FIELDS})
    return made.split(by="random", seed=0)


@pytest.fixture(scope="module")
def model(data: Dataset) -> DeepFM:
    return DeepFM(4, (16,), training=QUICK).fit(data.train, data.tune)


def raw(frame: pl.DataFrame) -> dict[str, Any]:
    return {name: frame[name].to_list() for name in frame.columns}


def test_kinds_are_inferred_or_as_stated(data: Dataset) -> None:
    kinds = {f.name: f.kind for f in data.schema.fields}
    assert kinds["tags"] == kinds["words"] == kinds["bucket_tags"] == "sequence"
    assert kinds["vector"] == "dense"
    assert {n for n in kinds if n.startswith("when.")} == {
        "when.hour",
        "when.weekday",
        "when.month",
        "when.age",
    }
    assert data.schema["when.hour"].of == "when"
    assert isinstance(data.encoder.parts["hashed"], Buckets)
    words = data.encoder.parts["words"]
    assert isinstance(words, Sequence)
    assert not words.mean
    assert words.separator == "|"


def test_polars_and_numpy_encode_alike(data: Dataset) -> None:
    columns = data.test.columns
    ours, theirs = encode_frame(data.encoder, columns), data.encoder.encode(raw(columns))
    np.testing.assert_array_equal(ours.codes, theirs.codes)
    np.testing.assert_allclose(ours.shares, theirs.shares, rtol=1e-6, atol=1e-9)


def test_raw_values_as_they_came_encode_alike(data: Dataset) -> None:
    """What a request sends, before any column was derived or split, reads the same rows."""
    frame = shop()
    whole = Dataset.from_frame(frame, label="y", user="user", schema={"fields": FIELDS}).table
    assert whole is not None
    sent = raw(frame.drop("y"))
    ours, theirs = encode_frame(data.encoder, whole.frame), data.encoder.encode(sent)
    np.testing.assert_array_equal(ours.codes, theirs.codes)
    np.testing.assert_allclose(ours.shares, theirs.shares, rtol=1e-6, atol=1e-9)


def test_every_rule_is_learned(data: Dataset, model: DeepFM) -> None:
    whole = auc(data.test.label, model.logits(data.test.rows))
    assert whole > 0.85
    for name in ("tags", "words", "vector", "when.weekday", "hashed"):
        rows = data.test.rows[np.arange(len(data.test))]
        codes, shares = data.encoder.columns_of((name,))
        order = np.random.default_rng(0).permutation(len(rows))
        rows.codes[:, codes], rows.shares[:, shares] = (
            rows.codes[order][:, codes],
            rows.shares[order][:, shares],
        )
        assert auc(data.test.label, model.logits(rows)) < whole - 0.01, name


def test_the_scorer_equals_the_ranker(data: Dataset, model: DeepFM, tmp_path: Path) -> None:
    small = model.apply(
        rp.plan(model, data.tune, {"fields": 0.7, "rows": 0.7, "dims": 0.5, "neurons": 0.5})
    )
    for name, ranker in {"full": model, "small": small}.items():
        ranker.save(tmp_path / name)
        scorer = rp.load(tmp_path / name)
        expected = ranker.logits(ranker.aligned(data.test).rows)
        columns = raw(data.test.columns)
        p = scorer.score(columns)
        np.testing.assert_allclose(np.log(p / (1 - p)), expected, atol=2e-4)
        one = scorer.score({n: c[:1] for n, c in columns.items()})
        np.testing.assert_allclose(one, p[:1], atol=1e-5)
        again = ranker_of(read_artifact(tmp_path / name))
        rows = ranker.aligned(data.test).rows
        np.testing.assert_array_equal(again.logits(rows), ranker.logits(rows))


def test_lr_serves_bags_too(data: Dataset, tmp_path: Path) -> None:
    model = rp.LR(training=Training(epochs=1)).fit(data.train)
    model.save(tmp_path / "lr")
    p = rp.load(tmp_path / "lr").score(raw(data.test.columns))
    np.testing.assert_allclose(np.log(p / (1 - p)), model.logits(data.test.rows), atol=1e-4)


def test_a_cut_row_reads_as_unknown(data: Dataset, model: DeepFM) -> None:
    for name in ("tags", "hashed", "bucket_tags"):
        kept = {f"rows.{name}": np.array([0, 1, 2, 4], np.int32)}
        small = model.apply(rp.Plan(model.layout.hash, kept))
        part = small.encoder.parts[name]
        assert part.rows == 4
        codes, _ = data.encoder.columns_of((name,))
        here = small.encoder.encode(raw(data.test.columns)).codes[:, codes]
        expected = np.array([0, 1, 2, 1, 3, *[1] * 60])[data.test.rows.codes[:, codes]]
        np.testing.assert_array_equal(here, expected)
        np.testing.assert_array_equal(small.aligned(data.test).rows.codes[:, codes], expected)


def test_lists_of_items_and_users_are_ranked(tmp_path: Path) -> None:
    draws = np.random.default_rng(3)
    genres = [draws.choice(list("pqrs"), 2, replace=False).tolist() for _ in range(40)]
    likes = [draws.choice(list("pqrs"), 2, replace=False).tolist() for _ in range(120)]
    user, item = np.repeat(np.arange(120), 25), draws.integers(0, 40, 3000)
    fits = np.array([len({*genres[i]} & {*likes[u]}) for u, i in zip(user, item, strict=True)])
    frame = pl.DataFrame(
        {
            "user": user,
            "item": item,
            "genres": [genres[i] for i in item],
            "likes": [likes[u] for u in user],
            "taste": pl.Series([[float(u % 7), 1.0 / (1 + u)] for u in user]),
            "y": (draws.random(3000) < np.array([0.05, 0.4, 0.9])[fits]).astype(int),
        }
    )
    data = Dataset.from_frame(frame, label="y", user="user", item="item").split(by="random")
    assert data.schema["genres"].source == "item"
    assert data.schema["likes"].source == "user"
    model = DeepFM(6, (), training=Training(epochs=15, unknown_rate=5)).fit(data.train, data.tune)
    from recprune.pipeline.saving import save_model

    save_model(model, data, tmp_path / "m")
    assert data.users is not None
    data.users.save(tmp_path / "users.rp")
    scorer, users = rp.load(tmp_path / "m"), Users.load(tmp_path / "users.rp")
    assert scorer.catalogue is not None
    for who in (0, 55):
        logits = scorer.catalogue_logits(users, who)
        record = {
            "user": users.ids[who],
            "likes": likes[int(users.ids[who])],
            "taste": users.columns["taste"][who],
        }
        rows = {n: [v] * 40 for n, v in record.items()}
        rows |= {"item": list(scorer.catalogue.ids)}
        rows["genres"] = [genres[int(i)] for i in scorer.catalogue.ids]
        p = scorer.score(rows)
        np.testing.assert_allclose(logits, np.log(p / (1 - p)), atol=1e-3)


values = st.one_of(st.none(), st.sampled_from(["a", " A", "é|", "", "0"]))
lists = st.one_of(st.none(), st.lists(values, max_size=5))


@settings(max_examples=50, deadline=None)
@given(st.lists(lists, min_size=1, max_size=8), st.integers(1, 4), st.booleans())
def test_a_sequence_is_the_weighted_sum_of_its_last_elements(
    column: list[Any], length: int, mean: bool
) -> None:
    part = Sequence(Vocabulary(("a", "é|")), length, mean)
    codes, weights = part.encode("f", column)
    table = np.random.default_rng(0).normal(size=(part.rows, 2))
    for value, code, weight in zip(column, codes, weights, strict=True):
        kept = [v for v in value or [] if v][-length:]
        rows = [{"a": 2, "é|": 3}.get(v, UNKNOWN) for v in kept] or [UNKNOWN]
        expected = table[rows].mean(axis=0) if mean else table[rows].sum(axis=0)
        np.testing.assert_allclose(weight @ table[code], expected, rtol=1e-5)
    series = pl.Series("f", column, dtype=pl.List(pl.String))
    schema = Schema((Field("f", "sequence"),), "y")
    from recprune.data.nested import read_sequence

    ours = encode_frame(Encoder(schema, {"f": part}), read_sequence(series).to_frame())
    np.testing.assert_array_equal(ours.codes, codes)
    np.testing.assert_array_equal(ours.shares, weights)


def test_a_vector_is_standardised_and_a_missing_one_unknown() -> None:
    part = Components(np.array([1.0, 5.0]), np.array([2.0, 1.0]))
    codes, weights = part.encode("v", [[3.0, np.nan], None, [np.inf, -np.inf]])
    assert codes.tolist() == [[2, 3], [UNKNOWN, 0], [2, 3]]
    assert weights.tolist() == [[1, 0], [1, 0], [10, -10]]
    with pytest.raises(DataError, match=r"'v' is a vector of 2 numbers\. Got 3"):
        part.encode("v", [[1.0, 2.0, 3.0]])
    with pytest.raises(DataError, match="'v' is numeric; a value is not a number"):
        part.encode("v", [["a", "b"]])


def test_dates_as_requests_send_them() -> None:
    schema = Schema(
        tuple(
            Field(f"d.{p}", k, of="d", part=p)  # type: ignore[arg-type]
            for p, k in {"hour": "categorical", "age": "numeric"}.items()
        ),
        "y",
        time="t",
    )
    from recprune.lookups import Knots

    parts = {"d.hour": Vocabulary(("13", "0")), "d.age": Knots(np.array([0.0, 10.0]))}
    encoder = Encoder(schema, parts)
    sent: list[Any] = ["2024-01-01T13:00:00", datetime(2024, 1, 1, 13), None, 1704114000]
    now = ["2024-01-06T13:00:00"] * 4
    rows = encoder.encode({"d": sent, "t": now})
    assert rows.codes[:, 0].tolist() == [2, 2, UNKNOWN, 2]
    assert rows.shares[:, 0].tolist() == [0.5, 0.5, 0.0, 0.5]
    with pytest.raises(DataError, match="Column 'd' holds dates; 'soon' is none"):
        encoder.encode({"d": ["soon"]})


def test_an_age_counts_to_the_rows_time() -> None:
    frame = pl.DataFrame(
        {
            "joined": [DAY_ZERO + timedelta(days=i % 9) for i in range(60)],
            "time": [DAY_ZERO + timedelta(days=20 + i) for i in range(60)],
            "y": [0, 1] * 30,
        }
    )
    data = Dataset.from_frame(frame, label="y", time="time")
    assert data.table is not None
    expected = [20 + i - i % 9 for i in range(60)]
    assert data.table.frame["joined.age"].to_list() == expected
    assert "time" not in " ".join(data.schema.names)
    stated = {"fields": {"time": {"kind": "date", "parts": ["weekday"]}}}
    again = Dataset.from_frame(frame, label="y", time="time", schema=stated)
    assert "time.weekday" in again.schema.names
    assert "time.age" not in again.schema.names


def test_scales_of_numbers() -> None:
    values = np.exp(np.random.default_rng(0).normal(5, 3, 1000))
    linear, log = fit_knots(values, "linear"), fit_knots(values, "log", 8)
    assert linear is not None
    assert log is not None
    np.testing.assert_array_equal(linear.points, [values.min(), values.max()])
    np.testing.assert_allclose(
        np.diff(np.log1p(log.points)), np.log1p(log.points)[1] - np.log1p(log.points)[0]
    )


@pytest.mark.parametrize(
    "stated, message",
    [
        ({"kind": "sequence"}, "is sequence by the schema, and holds String values"),
        ({"kind": "sequence", "length": 0}, "'length' must be an integer ≥ 1"),
        ({"buckets": 4, "max_size": 3}, "'buckets' takes the place of a vocabulary"),
        ({"scale": "cubic"}, "'scale' must be one of quantile, log, linear"),
        (
            {"kind": "date", "parts": ["year"]},
            "'parts' must list some of hour, weekday, month, age",
        ),
        ({"pooling": "max"}, "'pooling' must be one of mean, sum"),
    ],
)
def test_wrong_rules_are_refused(stated: dict[str, Any], message: str) -> None:
    frame = pl.DataFrame({"c": ["a", "b"] * 30, "y": [0, 1] * 30})
    with pytest.raises((DataError, SchemaError), match=message):
        Dataset.from_frame(frame, label="y", schema={"fields": {"c": stated}})


def test_vectors_of_two_lengths_are_refused() -> None:
    frame = pl.DataFrame({"v": [[1.0, 2.0], [1.0]] * 30, "y": [0, 1] * 30})
    with pytest.raises(DataError, match="'v' is a vector, whose values all have one length"):
        Dataset.from_frame(frame, label="y", schema={"fields": {"v": {"kind": "dense"}}})


def test_the_same_seed_trains_the_same_bytes(data: Dataset) -> None:
    short = Training(epochs=1)
    a, b = (DeepFM(4, (8,), training=short).fit(data.train).state for _ in range(2))
    assert all(np.array_equal(a[n], b[n]) for n in a)


def test_an_empty_vector_is_a_missing_one_also_from_a_users_folder(tmp_path: Path) -> None:
    Users(("a", "b"), {"v": [[3.0, -1.0], None]}).save(tmp_path / "users.rp")
    users = Users.load(tmp_path / "users.rp")
    vectors = [users.record_at(i)["v"] for i in range(2)]
    codes, weights = Components(np.zeros(2), np.ones(2)).encode("v", vectors)
    assert (codes.tolist(), weights.tolist()) == ([[2, 3], [UNKNOWN, 0]], [[3, -1], [1, 0]])


def test_numbers_too_large_to_square_are_scaled_in_silence() -> None:
    frame = pl.DataFrame({"v": [[1e308, 1.0], [-1e308, 2.0]] * 20, "y": [0, 1] * 20})
    data = Dataset.from_frame(frame, label="y")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (part,) = data.split(seed=0).encoder.parts.values()
    assert isinstance(part, Components)
    assert part.scale[0] == 1
