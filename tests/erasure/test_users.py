"""A user out of users.rp: the others as if the user had never been there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.erasure import Names, traces
from recprune.erasure.people import clean_users
from recprune.histories import CrossTable, SeenItems
from recprune.users import Users

IDS = ("customer-01", "7", "bob", "customer-02")
ENTRIES = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4)))
VALUES = ("a", "b", "c", "7", "e")


def users_of(ids: tuple[str, ...], entries: set[tuple[int, int]], unused: bool) -> Users:
    """Users with histories and seen items; values that nobody has are named if ``unused``."""
    at = [(IDS[u], VALUES[v]) for u, v in sorted(entries) if IDS[u] in ids]
    values = tuple(v for v in VALUES if unused or v in {b for _, b in at})
    owner = [ids.index(a) for a, _ in at]
    keys = [values.index(b) for _, b in at]
    numbers = [float(IDS.index(a) * 10 + VALUES.index(b)) for a, b in at]
    places = [IDS.index(i) for i in ids]
    columns: dict[str, Any] = {
        "user_id": list(ids),
        "age": np.array([float(p) for p in places]),
        "vector": np.array([[p, -p] for p in places], np.float32).reshape(-1, 2),
        "tags": [[f"t{p}", "x"] if p % 2 else [] for p in places],
    }
    cross = CrossTable.from_entries(owner, keys, values, {"times": numbers}, len(ids), {"times": 0})
    seen = SeenItems.from_entries(owner, keys, values, len(ids))
    return Users(ids, columns, {"category": cross}, seen)


def same(a: Users, b: Users) -> None:
    assert a.ids == b.ids
    assert a.columns.keys() == b.columns.keys()
    for name, column in a.columns.items():
        assert np.asarray(column, object).tolist() == np.asarray(b.columns[name], object).tolist()
    for one, other in ((a.cross["category"], b.cross["category"]),):
        assert (one.values, one.defaults) == (other.values, other.defaults)
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.fields["times"], other.fields["times"])
    assert a.seen is not None
    assert b.seen is not None
    assert a.seen.items == b.seen.items
    np.testing.assert_array_equal(a.seen.offsets, b.seen.offsets)
    np.testing.assert_array_equal(a.seen.index, b.seen.index)


@settings(max_examples=30)
@given(entries=ENTRIES, who=st.sampled_from(IDS))
def test_the_others_are_as_if_the_user_had_never_been_there(
    tmp_path_factory: pytest.TempPathFactory, entries: set[tuple[int, int]], who: str
) -> None:
    folder = tmp_path_factory.mktemp("users") / "users.rp"
    users_of(IDS, entries, unused=True).save(folder)
    names = Names.of(who)
    assert [t for t in traces([folder], names) if t.sure]
    removed = clean_users(folder, names)
    assert [r.count for r in removed if r.what == "user"] == [1]
    same(Users.load(folder), users_of(tuple(i for i in IDS if i != who), entries, unused=False))
    assert not [t for t in traces([folder], names) if t.sure]
    assert clean_users(folder, names) == []


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    folder = tmp_path / "users.rp"
    users_of(IDS, set(), unused=True).save(folder)
    (folder / "notes.txt").write_text("mine")
    clean_users(folder, Names.of("bob"))
    assert sorted(f.name for f in folder.iterdir()) == ["notes.txt", "users.json", "users.safetensors"]  # fmt: skip
    assert "bob" not in Users.load(folder).ids


def test_what_others_say_of_the_user_is_missing(tmp_path: Path) -> None:
    """An item that is called as a user with a telling id is that user's, a short one is not."""
    told = {"by": ["customer-02", "7", None], "tags": [["customer-02", "x"], ["7"], []]}
    table = CrossTable.from_entries([0, 1, 1], [0, 0, 1], ["customer-02", "7"], {"n": [1, 2, 3]}, 3)
    Users(("bob", "eve", "customer-02"), told, {"seller": table}).save(tmp_path / "users.rp")
    assert clean_users(tmp_path / "users.rp", Names.of("7")) == []
    clean_users(tmp_path / "users.rp", Names.of("customer-02"))
    left = Users.load(tmp_path / "users.rp")
    assert left.ids == ("bob", "eve")
    assert (left.columns["by"], left.columns["tags"]) == ([None, "7"], [["x"], ["7"]])
    assert left.cross["seller"].values == ("7",)
    assert left.cross["seller"].fields["n"].tolist() == [3.0]
