"""The artefact on disk: reads back what was written, or is refused."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file
from safetensors.numpy import save as format_tensors

from recprune.artifact import (
    Artifact,
    _own_hash,
    as_stored,
    read_artifact,
    stored_size,
    write_artifact,
)
from recprune.encoding import Encoder
from recprune.errors import ArtifactError, PlanError
from recprune.layout import Layout, Plan, shrink
from recprune.lookups import Vocabulary
from recprune.quantisation import ENCODINGS
from tests.runtime.broken import rehashed

from .samples import MODEL, artifact, layout, state

FILES = (
    "catalogue.safetensors",
    "config.json",
    "model.safetensors",
    "plan.json",
    "plan.zlib",
    "vocab.zlib",
)
CUT = {"fields": [0, 1], "rows__colour": [3, 5], "dims__price": [0, 2], "neurons__0": [1, 3]}


def content(read: Artifact) -> dict[str, Any]:
    """Return all that an artefact says, as data that compares."""
    arrays = {**read.state, **read.encoder.tensors(), **read.catalogue}
    return {
        "arrays": {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()},
        "layout": read.layout.to_json(),
        "units": {n: a.units.tolist() for n, a in read.layout.axes.items()},
        "encoding": dict(read.plan.encoding),
        "schema": read.encoder.schema.to_json(),
        "model": dict(read.model),
        "meta": dict(read.meta),
    }


def rewrite_config(folder: Path, **changes: Any) -> None:
    """Change config.json as a foreign program would: its hash of itself is right again."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    hashes = {**config.pop("sha256"), **changes.pop("sha256", {})}
    config |= changes
    hashes["config.json"] = _own_hash(config)
    (folder / "config.json").write_text(json.dumps({**config, "sha256": hashes}), "utf-8")


# ---- round trips


@pytest.mark.parametrize("axes", [{}, CUT, {"fields": [1], "rows__colour": [4]}])
def test_what_was_written_reads_back(tmp_path: Path, axes: dict[str, list[int]]) -> None:
    made = artifact(**axes)
    write_artifact(tmp_path, made, "0.1.0")
    assert content(read_artifact(tmp_path)) == content(made)
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(FILES)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_artifact(tmp_path / name, artifact({"table.colour": "int8"}, **CUT), "0.1.0")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_reading_and_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    runs = ((0, "fp16"), (3, "int8_row"), (4, "int4_row"), (9, "fp32"))
    encoding = {"table.colour": runs, "table.price": "int4_row", "mlp.0.bias": "int8"}
    write_artifact(tmp_path / "a", artifact(encoding, **CUT), "0.1.0")
    write_artifact(tmp_path / "b", read_artifact(tmp_path / "a"), "0.1.0")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_stored_plan_makes_the_model_again(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(**CUT), "0.1.0")
    read = read_artifact(tmp_path)
    again, _ = shrink(state(layout()), layout(), read.plan)
    assert {n: a.tolist() for n, a in again.items()} == {
        n: a.tolist() for n, a in read.state.items()
    }


def test_it_reads_through_any_reader(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(**CUT), "0.1.0")
    read = read_artifact(lambda name: (tmp_path / name).read_bytes())
    assert content(read) == content(read_artifact(tmp_path))


def test_bytes_are_those_of_the_counted_files(tmp_path: Path) -> None:
    made = artifact(**CUT)
    size = write_artifact(tmp_path, made, "0.1.0")
    counted = ("model.safetensors", "plan.zlib", "vocab.zlib")
    assert size == stored_size(made) == sum((tmp_path / n).stat().st_size for n in counted)


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_a_plan_predicts_the_bytes_of_the_stored_tensors(
    tmp_path: Path, encoding: str | None
) -> None:
    whole = layout()
    named = {} if encoding is None else dict.fromkeys(whole.shapes, encoding)
    made = artifact(named, fields=[0], rows__colour=[5], neurons__0=[1, 2])
    write_artifact(tmp_path, made, "0.1.0")
    stored = load_file(tmp_path / "model.safetensors")
    assert made.plan.predicted_bytes(whole) == sum(a.nbytes for a in stored.values())


# ---- encodings

FLOATS = arrays(np.float32, (5, 3), elements=st.floats(-1e4, 1e4, width=32))


@given(FLOATS)
def test_int8_is_off_by_half_a_step_at_most_and_rounds_once(table: np.ndarray) -> None:
    once = as_stored({"t": table}, {"t": "int8"})["t"]
    step = np.abs(table).max(axis=0) / 127
    # 16 bits of the scale cost at most 127 · 2⁻¹⁷ of a step on top.
    assert (np.abs(once - table) <= 0.502 * step + 1e-44).all()
    np.testing.assert_array_equal(as_stored({"t": once}, {"t": "int8"})["t"], once)


@given(FLOATS)
def test_fp16_is_off_by_its_own_rounding_and_rounds_once(table: np.ndarray) -> None:
    once = as_stored({"t": table}, {"t": "fp16"})["t"]
    assert (np.abs(once - table) <= np.abs(table) * 2.0**-11 + 2.0**-25).all()
    np.testing.assert_array_equal(as_stored({"t": once}, {"t": "fp16"})["t"], once)


def test_a_column_of_zeros_stays_zero_in_int8() -> None:
    table = np.array([[0.0, 3.0], [0.0, -1.5]], np.float32)
    once = as_stored({"t": table}, {"t": "int8"})["t"]
    np.testing.assert_array_equal(once[:, 0], [0, 0])


def test_a_weight_beyond_fp16_is_an_error_not_infinity() -> None:
    with pytest.raises(PlanError, match="'t' has a weight of 70000; fp16 holds at most 65504"):
        as_stored({"t": np.array([7e4], np.float32)}, {"t": "fp16"})


def test_a_field_may_be_called_like_the_scales_of_another() -> None:
    tables = {"table.a": np.ones((2, 2), np.float32), "table.a.scale": np.eye(2, dtype=np.float32)}
    back = as_stored(tables, {"table.a": "int8"})
    assert {n: a.shape for n, a in back.items()} == {n: a.shape for n, a in tables.items()}


# ---- damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    write_artifact(folder, artifact({"table.colour": "int8"}, **CUT), "0.1.0")
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, sound: dict[str, bytes], name: str) -> None:
    for other in set(FILES) - {name}:
        (tmp_path / other).write_bytes(sound[other])
    with pytest.raises(ArtifactError, match=f"it has no {name}"):
        read_artifact(tmp_path)


@pytest.mark.parametrize("name", FILES)
@given(st.data())
def test_a_file_cut_short_or_flipped_is_refused(
    sound: dict[str, bytes], name: str, data: st.DataObject
) -> None:
    good = sound[name]
    short = good[: data.draw(st.integers(0, len(good) - 1), label="length")]
    # The last byte of a JSON file is a line end: without it, nothing is lost.
    if not (name.endswith(".json") and len(short) == len(good) - 1):
        with pytest.raises(ArtifactError):
            read_artifact({**sound, name: short}.__getitem__)
    flipped = bytearray(good)
    bit = data.draw(st.integers(0, 8 * len(good) - 1), label="bit")
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ArtifactError):
        read_artifact({**sound, name: bytes(flipped)}.__getitem__)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_single_bit_counts(sound: dict[str, bytes], name: str) -> None:
    good = sound[name]
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArtifactError):
            read_artifact({**sound, name: bytes(flipped)}.__getitem__)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '{"format": "recprune"}', "[" * 100_000, '{"a": 1}']
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        read_artifact(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no recprune artefact: it has no config\.json"):
        read_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="is no recprune artefact"):
        read_artifact(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be read: Not a directory"):
        read_artifact(tmp_path / "file")


def test_a_newer_protocol_is_refused_by_name(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(), "9.0.0")
    rewrite_config(tmp_path, protocol=4)
    with pytest.raises(ArtifactError, match=r"protocol 4; this recprune reads up to 3\. Upgrade"):
        read_artifact(tmp_path)


def test_another_programs_config_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(), "0.1.0")
    rewrite_config(tmp_path, format="onnx")
    with pytest.raises(ArtifactError, match="its format is 'onnx'"):
        read_artifact(tmp_path)


def test_a_file_outside_the_folder_is_never_read(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(), "0.1.0")
    rewrite_config(tmp_path, sha256={"../secret": "0"})
    with pytest.raises(ArtifactError, match="does not list the files of an artefact"):
        read_artifact(tmp_path)


def damaged_layout(change: str) -> dict[str, Any]:
    made = artifact(**CUT).layout.to_json()
    by_name = {a["name"]: a for a in made["axes"]}
    if change == "shape":
        made["shapes"]["bias"] = [2]
    elif change == "size":
        by_name["neurons.0"]["size"] = 3
    elif change == "tensor":
        by_name["neurons.0"]["uses"][0][0] = "nothing"
    elif change == "dim":
        by_name["neurons.0"]["uses"][0][1] = 2
    elif change == "offset":
        by_name["dims.price"]["uses"][0][2] = 90
    elif change == "infinite":
        by_name["neurons.0"]["size"] = float("inf")
    elif change == "axes":
        made["axes"] = 7
    return made


@pytest.mark.parametrize("change", ["shape", "size", "tensor", "dim", "offset", "infinite", "axes"])
def test_a_layout_that_contradicts_the_tensors_is_refused(tmp_path: Path, change: str) -> None:
    write_artifact(tmp_path, artifact(**CUT), "0.1.0")
    rewrite_config(tmp_path, layout=damaged_layout(change))
    with pytest.raises(ArtifactError):
        read_artifact(tmp_path)


@pytest.mark.parametrize(
    "encoding",
    [
        {"table.colour": "int3"},
        {"table.colour": [[0, "fp16"], [2, "int8"]]},  # sound, but not how it is stored
        {"table.colour": [[1, "fp16"]]},
        {"mlp.0.weight": [[0, "fp16"], [1, "int8"]]},
        {"table.colour": {"0": "int8"}},
        {"table.colour": [[0, "int8"], [10**30, "fp16"], [3, "fp16"]]},
        ["int8"],
        None,
    ],
)
def test_encodings_that_the_weights_do_not_have_are_refused(
    sound: dict[str, bytes], encoding: Any
) -> None:
    plan = json.loads(sound["plan.json"]) | {"encoding": encoding}
    files = rehashed({**sound, "plan.json": json.dumps(plan).encode()})
    with pytest.raises(ArtifactError, match=r"^(?!.*hash)"):
        read_artifact(files.__getitem__)


@pytest.mark.parametrize("name", ["vocab.zlib", "plan.zlib"])
def test_a_bomb_is_refused(sound: dict[str, bytes], name: str) -> None:
    bomb = zlib.compress(format_tensors({"colour.texts": np.full(10**7, 255, np.uint8)}))
    with pytest.raises(ArtifactError, match=rf"{name} cannot be read: it unfolds to more than 8,"):
        read_artifact(rehashed({**sound, name: bomb}).__getitem__)


def test_what_shrinks_much_may_unfold_by_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recprune.compact.UNFOLDED", 0)
    whole = layout({"colour": 60_002, "price": 5})
    parts = {**artifact().encoder.parts, "colour": Vocabulary(tuple(map(str, range(60_000))))}
    encoder = Encoder(artifact().encoder.schema, parts)
    write_artifact(
        tmp_path, Artifact(MODEL, state(whole), whole, Plan(whole.hash), encoder), "0.1.0"
    )
    assert (tmp_path / "vocab.zlib").stat().st_size < 120_000 / 20
    assert read_artifact(tmp_path).encoder.hash() == encoder.hash()


def test_long_and_alike_values_are_no_bomb(tmp_path: Path) -> None:
    made = artifact()
    values = tuple(f"{'a' * 3_000_000}{n}" for n in range(6))
    encoder = Encoder(made.encoder.schema, {**made.encoder.parts, "colour": Vocabulary(values)})
    write_artifact(tmp_path, replace(made, encoder=encoder), "0.1.0")
    assert read_artifact(tmp_path).encoder.hash() == encoder.hash()


def test_sizes_that_are_merely_said_allocate_nothing(tmp_path: Path) -> None:
    write_artifact(tmp_path, artifact(), "0.1.0")
    files = {name: (tmp_path / name).read_bytes() for name in FILES}
    config = json.loads(files["config.json"])
    said = config["layout"]
    said["shapes"]["table.colour"][0] = 10**12
    next(a for a in said["axes"] if a["name"] == "rows.colour")["size"] = 10**12
    runs = {"table.colour": [[0, "fp16"], [3, "int8"]]}
    plan = {"encoding": runs, "layout_hash": Layout.from_json(said).hash}
    files |= {"plan.json": json.dumps(plan).encode(), "config.json": json.dumps(config).encode()}
    files = rehashed(files)
    with pytest.raises(ArtifactError, match="other weights than"):
        read_artifact(files.__getitem__)


def test_parts_that_contradict_each_other_are_not_written(tmp_path: Path) -> None:
    one, other = artifact(), artifact(rows__colour=[2])
    mixed = Artifact(one.model, one.state, one.layout, one.plan, other.encoder)
    with pytest.raises(ArtifactError, match="'colour' has 3 rows and a table of shape"):
        write_artifact(tmp_path, mixed, "0.1.0")


def test_an_artefact_of_protocol_1_is_still_read() -> None:
    """The stored folder was written by the version that had this protocol only."""
    read = read_artifact(Path(__file__).parent / "protocol1")
    now = artifact({"table.colour": "int8", "mlp.0.weight": "fp16"}, **CUT)
    assert content(read) == content(now) | {
        "arrays": content(read)["arrays"],
        "model": {**now.model, "options": {"dim": 3, "hidden": [4]}},
    }
    state = as_stored(now.state, now.encodings)
    for name, array in read.state.items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize(
    "encoding",
    [
        {"table.colour": "int4_row", "mlp.0.weight": "fp16"},
        {"table.colour": "int8", "mlp.0.weight": "fp32"},
        {"table.colour": "int8", "mlp.0.weight": [[0, "fp16"], [1, "int8"]]},
        {"table.colour": "int8"},
    ],
)
def test_protocol_1_has_its_own_encodings_only(encoding: Any) -> None:
    folder = Path(__file__).parent / "protocol1"
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    plan = json.loads(files["plan.json"]) | {"encoding": encoding}
    files = rehashed({**files, "plan.json": json.dumps(plan).encode()})
    with pytest.raises(ArtifactError, match=r"stored as the plan says|cannot be read: KeyError"):
        read_artifact(files.__getitem__)
