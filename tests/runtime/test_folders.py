"""Folders read back as they were, and changed or cut files are refused."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune._support import stream
from recprune.artifact import folder_written_whole, write_artifact
from recprune.errors import ArtifactError, DataError, InputError
from recprune.runtime import Scorer, load
from recprune.users import CrossTable, SeenItems, Users

from .drafts import MODELS, random_model
from .factory import KINDS, MIXED, Shop, random_encoder, random_rows, random_shop


@pytest.fixture
def shop() -> Shop:
    return random_shop(KINDS[3], 0, cut=True, ragged=True)


def _write(folder: Path, shop: Shop) -> Path:
    with folder_written_whole(folder) as partial:
        write_artifact(partial, shop.artifact, "0")
    return folder


def test_a_loaded_scorer_answers_alike(tmp_path: Path, shop: Shop) -> None:
    scorer, loaded = Scorer(shop.artifact), load(_write(tmp_path / "run", shop))
    shop.users.save(tmp_path / "users.rp")
    users = Users.load(tmp_path / "users.rp")
    for user in (*shop.users.ids, "nobody"):
        a = scorer.recommend_user(shop.users, user, 5)
        b = loaded.recommend_user(users, user, 5)
        assert (a.items, a.fallback) == (b.items, b.fallback)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_users_round_trip(tmp_path: Path) -> None:
    table = CrossTable.from_entries(
        [1, 0, 1], [1, 0, 0], ["ä", ""], {"a": [1, 2, np.nan], "b": [4, 5, 6]}, 3, {"a": 0.0}
    )
    columns = {
        "town": ["Zürich", None, ""],
        "age": np.array([1, 2, 3], np.uint8),
        "n": [1.0, None, 2],
    }
    seen = SeenItems.from_entries([2, 2], [1, 1], ["i", "j"], 3)
    users = Users(("x", "y", "ü"), columns, {"by": table}, seen)
    users.save(tmp_path / "u")
    users.save(tmp_path / "u")
    got = Users.load(tmp_path / "u")
    assert got.ids == users.ids
    assert got.columns["town"] == ["Zürich", None, ""]
    assert got.columns["n"] == ["1", None, "2"]
    assert got.record("y") == {"town": None, "age": 2, "n": None}
    assert got.columns["age"].dtype == np.uint8  # type: ignore[union-attr]
    keys, numbers = got.cross["by"].of_user(1)
    assert keys.tolist() == [0, 1]
    np.testing.assert_array_equal(numbers["a"], [np.nan, 1])
    np.testing.assert_array_equal(numbers["b"], [6, 4])
    assert got.cross["by"].values == ("ä", "")
    assert got.cross["by"].default("a") == 0
    assert np.isnan(got.cross["by"].default("b"))
    assert got.seen is not None
    assert [got.seen.of_user(u).tolist() for u in range(3)] == [[], [], [1]]
    assert Users.load(tmp_path / "u").index("nobody") is None
    Users((), {}).save(tmp_path / "none")
    assert len(Users.load(tmp_path / "none")) == 0


@pytest.mark.parametrize("what", ["artifact", "users"])
def test_changed_or_cut_files_are_refused(tmp_path: Path, shop: Shop, what: str) -> None:
    folder = tmp_path / what
    if what == "artifact":
        _write(folder, shop)
    else:
        shop.users.save(folder)
    read = load if what == "artifact" else Users.load
    draws = np.random.default_rng(0)
    for file in sorted(folder.iterdir()):
        sound = file.read_bytes()
        cuts = [sound[: int(n)] for n in draws.integers(0, len(sound) - 1, 6)] + [b""]
        for place in draws.integers(0, len(sound), 12).tolist():
            changed = bytearray(sound)
            changed[place] ^= 4
            cuts.append(bytes(changed))
        for wrong in cuts:
            file.write_bytes(wrong)
            with pytest.raises(ArtifactError):
                read(folder)
        file.unlink()
        with pytest.raises(ArtifactError, match="it has no"):
            read(folder)
        file.write_bytes(sound)
    read(folder)


def _places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inside:
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*at, key))


@pytest.mark.parametrize("model", ["dot_wide", "final", "pairs", "shared", "towers"])
def test_any_other_config_is_refused_or_scored(tmp_path: Path, model: str) -> None:
    draws = stream(0, model)
    artifact = random_model(random_encoder(MIXED, 1), MODELS[model], 1, cut=("dim", "pair"))
    write_artifact(tmp_path, artifact, "0")
    sound = json.loads((tmp_path / "config.json").read_text())
    hashes, refused = sound.pop("sha256"), 0
    places = [p for key in ("model", "layout") for p in _places(sound[key], (key,))]
    values = [None, -1, 0, 1, 3.5, 10**30, "x", "fields", [], {}, [1], ["mlp"], {"a": 1}, True]
    for at in draws.permutation(len(places))[:120]:
        *way, last = places[at]
        config = copy.deepcopy(sound)
        node = reduce(getitem, way, config)
        if draws.random() < 0.3:
            del node[last]
        else:
            node[last] = values[draws.integers(len(values))]
        own = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        sealed = {**config, "sha256": {**hashes, "config.json": own}}
        (tmp_path / "config.json").write_text(json.dumps(sealed))
        try:
            scorer = load(tmp_path)
        except InputError:
            refused += 1
            continue
        assert np.isfinite(scorer.logits(random_rows(scorer.encoder, 3, 0))).all()
    assert refused > 60


def test_folders_of_others_are_left_alone(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="not a recprune folder"):
        shop.users.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    with pytest.raises(ArtifactError, match="no recprune users folder"):
        Users.load(tmp_path / "mine")
    with pytest.raises(ArtifactError, match="no recprune artefact"):
        load(tmp_path / "nowhere")


def test_contradicting_users_are_refused() -> None:
    one = {"times": [1.0]}
    with pytest.raises(DataError, match="twice"):
        Users(("a", "a"), {})
    with pytest.raises(DataError, match="column 'age' has 1"):
        Users(("a", "b"), {"age": [1]})
    with pytest.raises(DataError, match="from 0 to 1"):
        CrossTable.from_entries([2], [0], ["x"], one, 2)
    with pytest.raises(DataError, match="from 0 to 0"):
        CrossTable.from_entries([0], [1], ["x"], one, 2)
    with pytest.raises(DataError, match="one value twice"):
        CrossTable.from_entries([0, 0], [0, 0], ["x"], {"times": [1, 2]}, 1)
    with pytest.raises(DataError, match="Did you mean 'times'"):
        CrossTable.from_entries([0], [0], ["x"], one, 1, {"time": 0})
    table = CrossTable.from_entries([0], [0], ["x"], one, 1)
    with pytest.raises(DataError, match="the cross table of 'c' has 1"):
        Users(("a", "b"), {}, {"c": table})
    with pytest.raises(DataError, match="share the name"):
        Users(("a",), {}, {"c": table, "d": table})
    with pytest.raises(DataError, match="offsets must rise"):
        SeenItems(("i",), np.array([0, 2]), np.array([0], np.int32))


def test_a_missing_id_is_no_users_not_even_of_one_without_letters() -> None:
    users = Users(("", "u"), {})
    assert (users.index(None), users.index(np.nan), users.index("")) == (None, None, 0)


@pytest.mark.parametrize("position", [-1, 2])
def test_a_seen_item_beyond_the_items_is_nobody_elses(position: int) -> None:
    with pytest.raises(DataError, match="A seen item's position must be from 0 to 1"):
        SeenItems.from_entries([0], [position], ["a", "b"], 3)
