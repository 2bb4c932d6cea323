"""docs/format.md is enough: a reader written from it alone scores as the scorer does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.artifact import as_stored, read_artifact, write_artifact
from recprune.bags import Sequence
from recprune.encoding import Encoder
from recprune.layout import Plan
from recprune.lookups import Vocabulary
from recprune.runtime import Scorer, load
from recprune.schema import Field, Schema
from tests.core.plain_reader import Model

from .drafts import MODELS, random_model
from .factory import random_columns, random_encoder

SCHEMA = Schema(
    (
        Field("item.id", "categorical"),
        Field("age", "numeric"),
        Field("tags", "sequence"),
        Field("item", "categorical"),
        Field("words", "sequence"),
        Field("price", "numeric"),
    ),
    label="y",
)


def encoder(seed: int) -> Encoder:
    made = random_encoder(SCHEMA, seed)
    words = Sequence(Vocabulary(("é", "ab", "", "c")), 2, mean=False, separator="|")
    return Encoder(SCHEMA, {**made.parts, "words": words})


RUNS = ((0, "fp16"), (2, "int8_row"), (3, "int4_row"), (5, "int8"), (6, "fp32"))


@pytest.mark.parametrize("encoding", [None, "fp16", "int8", "int8_row", "int4_row", RUNS], ids=str)
@pytest.mark.parametrize("cut", [(), ("dim",), ("field", "row", "dim", "neuron")], ids=str)
def test_a_reader_written_from_the_page_scores_alike(
    cut: tuple[str, ...], encoding: Any, tmp_path: Path
) -> None:
    for seed in range(4):
        made = random_model(encoder(seed), MODELS["mlp_norm"], seed, cut=cut, dim=3)
        if encoding is not None:
            # Only a table's rows are units of one axis in every model.
            tables = encoding != RUNS
            named = {n: encoding for n in made.state if tables or n.startswith("table.")}
            plan = Plan(made.layout.hash, made.plan.keep, named)
            state = as_stored(made.state, plan.encodings(made.layout))
            made = replace(made, state=state, plan=plan)
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_artifact(folder, made, "0.1.0")
        columns = random_columns(SCHEMA, 40, seed)
        columns["age"][:3] = [np.inf, -np.inf, np.nan]
        columns["words"] = [["ab"], None, "", "c|é||ab", "zz", [None, "é"], [], "ab|c"] * 5
        records = [{name: column[i] for name, column in columns.items()} for i in range(40)]
        model = Model(folder)
        wanted = Scorer(read_artifact(folder)).score(columns)
        got = [model.probability(record) for record in records]
        np.testing.assert_allclose(got, wanted, atol=1e-5)
        assert np.ptp(got) > 0.1


def test_an_artefact_of_protocol_2_is_still_read_and_answers_alike() -> None:
    """The stored folder was written when this protocol was the newest, with what it then said."""
    folder = Path(__file__).parent / "protocol2"
    said = json.loads((folder / "answers.json").read_text("utf-8"))
    assert json.loads((folder / "config.json").read_text("utf-8"))["protocol"] == 2
    scorer, rows = load(folder), said["rows"]
    np.testing.assert_allclose(scorer.score(rows), said["click"], atol=1e-6)
    np.testing.assert_allclose(scorer.score(rows, label="buy"), said["buy"], atol=1e-6)
    calibrated = scorer.score(rows, calibrated=True)
    np.testing.assert_allclose(calibrated, said["calibrated"], atol=1e-6)
    best = scorer.recommend({"user": "ann", "age": 20, "times": {"low": 4}}, 3)
    assert list(best.items) == said["items"]
    np.testing.assert_allclose(best.scores, said["scores"], atol=1e-6)


def test_an_older_artefact_that_is_written_again_keeps_every_weight(tmp_path: Path) -> None:
    old = read_artifact(Path(__file__).parent / "protocol2")
    assert set(old.encodings.values()) >= {"int8", "fp16"}
    write_artifact(tmp_path, old, "0.1.0")
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["protocol"] > 2
    new = read_artifact(tmp_path)
    assert sorted(new.state) == sorted(old.state)
    for name, array in old.state.items():
        np.testing.assert_array_equal(new.state[name], array)
