"""An exported file scores as the scorer does, or is not kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import recprune.export.parts
from recprune.artifact import Artifact, as_stored, write_artifact
from recprune.encoding import Rows
from recprune.errors import ArtifactError, InputError, MissingExtra, ParameterError, RunError
from recprune.export import export_onnx
from recprune.export.graph import NOTHING
from recprune.layout import Plan
from recprune.lookups import UNKNOWN
from recprune.quantisation import stored_bytes
from recprune.runtime import Scorer
from tests.runtime.drafts import MODELS, random_model
from tests.runtime.factory import (
    KINDS,
    MIXED,
    SHOP,
    Kind,
    plain_schema,
    random_artifact,
    random_encoder,
    random_rows,
)
from tests.runtime.test_parts import CUTS


def answers(path: Path, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return an ONNX file's probabilities and logits, each shape (n, T)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"codes": rows.codes, "shares": rows.shares}
    names = {i.name for i in session.get_inputs()}
    probability, logit = session.run(
        ["probability", "logit"], {k: v for k, v in given.items() if k in names}
    )
    return probability, logit


def assert_alike(artifact: Artifact, path: Path, seed: int) -> None:
    scorer = Scorer(artifact)
    for n in (1, 40):
        rows = random_rows(artifact.encoder, n, seed)
        wanted = np.stack([scorer.logits(rows, label=t) for t in scorer.labels], axis=1)
        probability, logit = answers(path, rows)
        most = 1e-5 * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(logit, wanted, atol=most, rtol=0)
        np.testing.assert_allclose(probability, 0.5 * (1 + np.tanh(0.5 * wanted)), atol=1e-5)


def stored_in(artifact: Artifact, encoding: Any) -> Artifact:
    """Return the artefact with every tensor in an encoding, as it would read back."""
    tables = isinstance(encoding, tuple)  # only their rows are units of one axis
    named = {n: encoding for n in artifact.state if not tables or n.startswith("table.")}
    plan = Plan(artifact.layout.hash, artifact.plan.keep, named)
    state = as_stored(artifact.state, plan.encodings(artifact.layout))
    return replace(artifact, state=state, plan=plan)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_every_part_and_every_cut(
    model: Mapping[str, Any], cut: tuple[str, ...], tmp_path: Path
) -> None:
    artifact = random_model(random_encoder(MIXED, 1), model, 1, cut=cut)
    done = export_onnx(artifact, tmp_path / "model.onnx")
    assert done.difference < 1e-5
    assert done.bytes == (tmp_path / "model.onnx").stat().st_size
    assert_alike(artifact, done.path, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.name}-{k.dim}-{k.hidden}")
@pytest.mark.parametrize("schema", [SHOP, plain_schema(5, 0), plain_schema(3, 3)])
def test_every_mix_of_fields(kind: Kind, schema: Any, tmp_path: Path) -> None:
    for cut in ({}, {"cut": True}, {"ragged": True}):
        artifact = random_artifact(random_encoder(schema, 2), kind, 2, **cut)
        assert_alike(artifact, export_onnx(artifact, tmp_path / "model.onnx").path, 2)


RUNS: Any = ((0, "fp16"), (2, "int8_row"), (3, "int4_row"), (4, "int8"))


@pytest.mark.parametrize("encoding", ["fp16", "int8", "int8_row", "int4_row", RUNS], ids=str)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_encoded_tables_stay_encoded_and_score_alike(
    model: Mapping[str, Any], encoding: Any, tmp_path: Path
) -> None:
    whole = random_model(random_encoder(MIXED, 3), model, 3, cut=("dim", "row"))
    artifact = stored_in(whole, encoding)
    done = export_onnx(artifact, tmp_path / "model.onnx")
    assert_alike(artifact, done.path, 3)
    tables = [w for w in onnx.load(done.path).graph.initializer if w.name.startswith("table.")]
    kinds = {"fp16": "FLOAT16", "int8": "INT8", "int8_row": "UINT8", "int4_row": "UINT8"}
    types, size = set(), 0
    for name, array in artifact.state.items():
        if name.startswith("table."):
            held = artifact.encodings[name]
            held = held if isinstance(held, str) else "fp32"  # runs that a cut left
            types.add(onnx.TensorProto.DataType.Value(kinds.get(held, "FLOAT")))
            size += stored_bytes(array.shape, held) - 4 * array.shape[1] * (held == "int8")
    assert {w.data_type for w in tables} == types
    assert sum(onnx.numpy_helper.to_array(w).nbytes for w in tables) == size


def test_a_folder_gives_the_same_file_as_its_model(tmp_path: Path) -> None:
    artifact = random_model(random_encoder(MIXED, 4), MODELS["all"], 4, cut=("field", "neuron"))
    (tmp_path / "run").mkdir()
    write_artifact(tmp_path / "run", artifact, "0.1.0")
    one = export_onnx(str(tmp_path / "run"), tmp_path / "a.onnx").path.read_bytes()
    assert one == export_onnx(artifact, tmp_path / "b.onnx").path.read_bytes()


def test_the_file_says_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    artifact = random_model(random_encoder(MIXED, 5), MODELS["shared"], 5)
    model = onnx.load(export_onnx(artifact, tmp_path / "model.onnx").path)
    facts = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert facts["labels"] == ["click", "purchase", "return"]
    fields = facts["fields"]
    assert [f["name"] for f in fields] == list(MIXED.names)
    encoder = artifact.encoder
    assert [slice(*f["codes"]) for f in fields] == list(encoder.slots)
    assert [slice(*f["shares"]) for f in fields] == list(encoder.share_slots)
    assert [f["rows"] for f in fields] == list(encoder.sizes)
    assert [o.name for o in model.graph.output] == ["probability", "logit"]
    assert {i.type.tensor_type.shape.dim[0].dim_param for i in model.graph.input} == {"n"}


def test_a_code_outside_its_table_is_unknown(tmp_path: Path) -> None:
    artifact = random_model(random_encoder(MIXED, 6), MODELS["mlp_norm"], 6)
    path = export_onnx(artifact, tmp_path / "model.onnx").path
    rows = random_rows(artifact.encoder, 30, 6)
    wild, unknown = rows.codes.copy(), rows.codes.copy()
    place = artifact.encoder.slots[MIXED.names.index("shelf")].start
    wild[:, place] = np.where(np.arange(30) % 2, 1 << 30, -1)
    unknown[:, place] = UNKNOWN
    one, two = (answers(path, Rows(c, rows.shares))[1] for c in (wild, unknown))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_it_loads_without_a_warning(
    model: Mapping[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    artifact = random_model(random_encoder(MIXED, 7), model, 7, cut=("dim", "pair"))
    path = export_onnx(artifact, tmp_path / "model.onnx").path
    capfd.readouterr()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2  # warnings
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    logged = capfd.readouterr()
    assert logged.err + logged.out == ""


def test_the_log_would_show_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    artifact = random_model(random_encoder(MIXED, 7), MODELS["mlp"], 7)
    model = onnx.load(export_onnx(artifact, tmp_path / "model.onnx").path)
    unused = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "unused")
    model.graph.initializer.append(unused)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    assert "unused" in capfd.readouterr().err


# ---- what is not kept


_mlp = recprune.export.parts.PARTS["mlp"]


def _doubled(terms: Any) -> Any:
    return terms.graph.plus([_mlp(terms), _mlp(terms)])


@pytest.mark.parametrize("wrong", [lambda terms: NOTHING, _doubled], ids=["left out", "doubled"])
def test_a_file_that_scores_otherwise_is_not_kept(
    wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recprune.export.parts.PARTS, "mlp", wrong)
    artifact = random_model(random_encoder(MIXED, 8), MODELS["mlp"], 8)
    (tmp_path / "model.onnx").write_text("older")
    with pytest.raises(RunError, match="away from the scorer's"):
        export_onnx(artifact, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "older"


def test_a_graph_that_onnx_refuses_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(terms: Any) -> Any:
        return replace(terms.x, name=terms.graph.op("MatMul", terms.x.name, terms.x.name), width=1)

    monkeypatch.setitem(recprune.export.parts.PARTS, "mlp", broken)
    artifact = random_model(random_encoder(MIXED, 8), MODELS["mlp"], 8)
    with pytest.raises(RunError, match="onnx refuses"):
        export_onnx(artifact, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    artifact = random_model(random_encoder(MIXED, 9), MODELS["mlp"], 9)
    with pytest.raises(ParameterError, match=r"'path' parameter of export_onnx must .*\.onnx"):
        export_onnx(artifact, tmp_path / "model.pb")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_onnx(artifact, tmp_path / "folder.onnx")
    with pytest.raises(ArtifactError, match="no recprune artefact"):
        export_onnx(tmp_path, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.onnx"]


def test_a_model_beyond_protobufs_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recprune.export.model.MOST_BYTES", 100)
    artifact = random_model(random_encoder(MIXED, 9), MODELS["mlp"], 9)
    with pytest.raises(InputError, match="an ONNX file holds at most 100"):
        export_onnx(artifact, tmp_path / "model.onnx")


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_the_missing_extra_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    artifact = random_model(random_encoder(MIXED, 9), MODELS["mlp"], 9)
    with pytest.raises(MissingExtra, match=r"pip install 'recprune\[export\]'"):
        export_onnx(artifact, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'model' parameter of export_onnx must be a fitted"):
        export_onnx({"a": 1}, tmp_path / "m.onnx")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
