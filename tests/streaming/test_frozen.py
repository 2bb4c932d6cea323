"""What a stream learned, as an artefact: it reads back, scores as the learner, and is served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recprune
from recprune.artifact import Artifact, read_artifact, write_artifact
from recprune.catalogue import Catalogue
from recprune.data import Dataset
from recprune.data.encode import encode_frame
from recprune.errors import PlanError
from recprune.layout import Plan, regrown
from recprune.lookups import UNKNOWN
from recprune.models import LR, DeepFM, FwFM, Training, ranker_of
from recprune.streaming.learner import Learner
from recprune.streaming.rows import row_bytes
from tests.models.ranker_suite import half_plan
from tests.streaming.world import frame_of, label_of, reference

BYTES = "60 kB"


WORDS = ("user", "item", "colour", "tags")
COLOURS = ("red", "green", "blue")


def cut(artifact: Artifact) -> Artifact:
    """Return the artefact without half its fields, dims, neurons and rows, in fewer bits."""
    ranker = ranker_of(artifact)
    plan = half_plan(ranker, fields=False, seed=4)
    rows = {f"rows.{name}": ranker.layout.axes[f"rows.{name}"].units[::2] for name in WORDS}
    keep = {**plan.keep, **rows, "fields": np.array([0, 1, 3, 4], np.int32)}
    smaller = ranker.apply(Plan(plan.layout_hash, keep)).artifact(meta={"threshold": 0.4})
    encoding: dict[str, Any] = {"table.user": "int8", "table.item": ((0, "fp16"), (20, "int8"))}
    return replace(smaller, plan=Plan(smaller.plan.layout_hash, smaller.plan.keep, encoding))


def streamed(given: Artifact, chunks: int = 6, **options: Any) -> Learner:
    width = ranker_of(given).net.shape.width
    learner = Learner(given, bytes=300 * row_bytes(width), batch=64, half_life=800, **options)
    for chunk in range(chunks):
        frame = frame_of(400, chunk, first=30 * chunk)
        learner.learn(learner.encode(frame), label_of(frame))
    return learner


@pytest.mark.parametrize(
    ("model", "options"), [(LR, {}), (DeepFM, {"dim": 4, "hidden": (8,)}), (FwFM, {"dim": 3})]
)
@pytest.mark.parametrize("smaller", [False, True], ids=["whole", "cut"])
def test_it_scores_as_the_learner_and_reads_back(
    model: type, options: dict[str, Any], smaller: bool, tmp_path: Path
) -> None:
    given = reference(model, **options)
    given = cut(given) if smaller and model is DeepFM else given
    learner = streamed(given)
    assert learner.rows.used == learner.rows.capacity
    made = learner.artifact(given)
    frame = frame_of(60, 40, first=130)  # less than a block: none of them is admitted
    expected = learner.score(learner.encode(frame))
    found = ranker_of(made).logits(encode_frame(made.encoder, frame))
    np.testing.assert_allclose(found, expected, atol=1e-5)

    write_artifact(tmp_path, made, "1")
    scorer = recprune.load(tmp_path)
    served = scorer.score({n: frame[n].to_list() for n in made.encoder.schema.names})
    rough = 5e-2 if made.encodings else 1e-5
    np.testing.assert_allclose(served, 1 / (1 + np.exp(-expected)), atol=rough)
    again = read_artifact(tmp_path)
    assert again.meta["stream"] == {"events": 2400}
    assert ranker_of(again).layout.hash == made.layout.hash != given.layout.hash


def test_values_are_those_that_have_a_row() -> None:
    given = reference(LR)
    learner = streamed(given)
    values = learner.artifact(given).encoder.parts["item"].values  # type: ignore[attr-defined]
    frame = frame_of(60, 41).with_columns(item=pl.Series([f"i{i}" for i in range(150, 210)]))
    rows = learner.encode(frame).rows[:, 1]
    known = rows != learner.rows.starts[1] + UNKNOWN
    assert known.any()
    late = {value for value in values if int(value[1:]) >= 150}
    assert {f"i{150 + i}" for i in np.flatnonzero(known)} == late
    assert len(values) == len(set(values))


def test_a_cut_reference_stays_cut_and_keeps_its_encodings() -> None:
    given = cut(reference(DeepFM, dim=4, hidden=(8,)))
    made = streamed(given).artifact(given)
    for name, axis in given.layout.axes.items():
        if axis.unit != "row":
            assert made.layout.axes[name].units.tolist() == axis.units.tolist(), name
    assert made.encodings == {"table.user": "int8", "table.item": "fp16"}
    assert made.meta == {"threshold": 0.4, "stream": {"events": 2400}}
    # It can be cut further, and streamed on.
    ranker = ranker_of(made)
    rows = ranker.layout.axes["rows.user"].units[::3]
    smaller = ranker.apply(Plan(ranker.layout.hash, {"rows.user": rows})).artifact()
    assert smaller.encoder.sizes[0] == len(rows) + 1  # the unknown row stays too
    again = streamed(smaller, 2).artifact(smaller)
    assert again.layout.axes["neurons.0"].units.tolist() == list(
        given.layout.axes["neurons.0"].units
    )


def test_a_statement_of_privacy_does_not_survive() -> None:
    given = replace(reference(LR), meta={"privacy": {"epsilon": 1.0}, "threshold": 0.3})
    plain = replace(given, meta={})
    assert streamed(plain, 1).artifact(given).meta == {"threshold": 0.3, "stream": {"events": 400}}


def test_the_catalogue_is_in_the_new_codes() -> None:
    frame = frame_of(1_500, seed=1).with_columns(
        shade=pl.Series([COLOURS[i % 3] for i in range(1_500)]),
        marks=pl.Series([[f"m{i % 4}"] for i in range(1_500)]),
    )
    roles = {"shade": {"source": "item"}, "marks": {"source": "item"}}
    frame = frame.select("user", "item", "shade", "marks", "y")
    data = Dataset.from_frame(frame, label="y", user="user", item="item", schema={"fields": roles})
    model = LR(Training(epochs=1)).fit(data.split(by="random").train)
    items = {"shade": ["red", "black", None], "marks": [["m1"], ["m2", "m9"], []]}
    catalogue = Catalogue.build(model.encoder, items, ["i1", "i2", "i999"])
    given = model.artifact(catalogue=catalogue.tensors())
    learner = Learner(given, bytes=BYTES, batch=64)
    new = frame[:640].with_columns(shade=pl.lit("black"), item=pl.lit("i999"))
    learner.learn(learner.encode(new), label_of(new))
    made = learner.artifact(given)
    found = Catalogue.from_tensors(made.encoder, made.catalogue)
    expected = Catalogue.build(made.encoder, items, ["i1", "i2", "i999"])
    for name in ("item", "shade"):
        assert found.codes[name].tolist() == expected.codes[name].tolist()
    assert UNKNOWN not in found.codes["shade"][:2]
    assert catalogue.codes["shade"][1] == UNKNOWN == catalogue.codes["item"][2]
    assert found.codes["marks"].tolist() == expected.codes["marks"].tolist()  # "m9" is unknown


def test_only_whole_axes_of_rows_regrow() -> None:
    layout = ranker_of(reference(DeepFM, dim=4, hidden=(8,))).layout
    with pytest.raises(PlanError, match="only rows regrow"):
        regrown(layout, {"neurons.0": 3}, "x")
    with pytest.raises(PlanError, match="no axis"):
        regrown(layout, {"rows.itm": 3}, "x")
    grown = regrown(layout, {"rows.item": 3}, "x")
    assert grown.shapes["table.item"] == (3, layout.shapes["table.item"][1])
    assert {n: s for n, s in grown.shapes.items() if n != "table.item"} == {
        n: s for n, s in layout.shapes.items() if n != "table.item"
    }
    assert len({layout.hash, grown.hash, regrown(layout, {"rows.item": 3}, "y").hash}) == 3
