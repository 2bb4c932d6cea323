"""Users on ingest: pseudonyms whose ids are nowhere, and erased users who do not come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.cli import app
from recprune.crypto import Pseudonymiser, is_pseudonym
from recprune.data import Dataset, ingest, read_spec
from recprune.data.check import check_table
from recprune.data.columns import ColumnStore
from recprune.data.erased import Erased
from recprune.errors import DataError, InputError, ParameterError

KEY = "a key that nobody would guess, ever"
PEOPLE = Pseudonymiser(KEY.encode())


def shop(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 40, n)
    return pl.DataFrame(
        {
            "user": [f"customer-{u:03d}" for u in user],
            "age": 20 + user % 30,
            "price": np.round(rng.lognormal(2, 1, n), 2),
            "y": rng.integers(0, 2, n),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    shop().write_csv(tmp_path / "shop.csv")
    return tmp_path / "shop.csv"


def files_below(folder: Path) -> Iterator[bytes]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.read_bytes()


def test_ids_are_nowhere_in_the_folder(table: Path, tmp_path: Path) -> None:
    roles = {"label": "y", "user": "user"}
    plain = ingest(table, tmp_path / "plain.rp", **roles)
    assert any(b"customer-007" in data for data in files_below(plain)), "the scan finds ids"
    hidden = ingest(table, tmp_path / "hidden.rp", **roles, pseudonyms=PEOPLE)
    for data in files_below(hidden):
        assert b"customer" not in data
        assert KEY.encode() not in data
    ids = ColumnStore(hidden).series("user").to_list()
    assert all(map(is_pseudonym, ids))
    assert ids == [PEOPLE.pseudonym(u) for u in shop()["user"]]
    assert ColumnStore(hidden).pseudonyms == {"column": "user", "key": PEOPLE.fingerprint}
    assert ColumnStore(plain).pseudonyms == {}


def test_models_learn_the_same_from_pseudonyms(table: Path, tmp_path: Path) -> None:
    """Splits sort users by id, so that other rows are drawn: everything else stays."""
    roles = {"label": "y", "user": "user"}
    plain = Dataset.read(ingest(table, tmp_path / "a.rp", **roles))
    hidden = Dataset.read(ingest(table, tmp_path / "b.rp", **roles, pseudonyms=PEOPLE))
    assert hidden.schema == plain.schema
    assert hidden.table is not None
    assert plain.table is not None
    groups = [t.table.frame["user"].rank("dense").to_list() for t in (plain, hidden)]
    assert len(set(zip(*groups, strict=True))) == 40, "one pseudonym a user"


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "floats"])
def test_one_user_has_one_pseudonym_in_every_form(tmp_path: Path, form: str) -> None:
    frame = pl.DataFrame({"user": [1, 2, None, 10**15] * 20, "y": [0, 1] * 40})
    path = tmp_path / f"t.{'csv' if form == 'floats' else form}"
    if form == "floats":  # as pandas writes ids beside missing ones
        frame.with_columns(pl.col("user").cast(pl.Float64)).to_pandas().to_csv(path, index=False)
    else:
        {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[form](
            path
        )
    folder = ingest(path, tmp_path / "t.rp", user="user", pseudonyms=PEOPLE)
    expected = [PEOPLE.pseudonym("1"), PEOPLE.pseudonym("2"), None, PEOPLE.pseudonym(str(10**15))]
    assert ColumnStore(folder).series("user", 0, 4).to_list() == expected


@given(st.lists(st.integers(0, 12), max_size=6), st.booleans(), st.booleans())
def test_erased_users_are_left_out(
    tmp_path_factory: pytest.TempPathFactory, gone: list[int], hashed: bool, hidden: bool
) -> None:
    folder = tmp_path_factory.mktemp("erased")
    users = [f"n{i % 10}" for i in range(60)]
    frame = pl.DataFrame({"user": users, "place": range(60), "y": [i % 2 for i in range(60)]})
    frame.write_parquet(folder / "t.parquet")
    ids = [f"n{i}" for i in gone]
    hidden = hidden or hashed
    listed = [PEOPLE.pseudonym(i) for i in ids] if hashed else ids
    (folder / "erased.txt").write_text("\n\n".join(f" {i} " for i in listed) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recprune.data.stream.BATCH", 7)
        store = ColumnStore(
            ingest(
                folder / "t.parquet",
                folder / "t.rp",
                user="user",
                pseudonyms=PEOPLE if hidden else None,
                erased=folder / "erased.txt",
            )
        )
    stays = [i for i, user in enumerate(users) if user not in ids]
    assert store.series("place").to_list() == stays
    assert all(
        id_.encode() not in (folder / "t.rp" / "vocab.safetensors").read_bytes() for id_ in ids
    )
    found = [f for f in store.findings if f.kind == "erased_users"]
    assert [f.rows for f in found] == ([60 - len(stays)] if ids else [])
    assert all(id_ not in found[0].action for id_ in listed)


def test_ids_spelt_as_floats_are_erased_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,y\n7.0,0\n 8,1\n9,1\n")
    store = ColumnStore(
        ingest(tmp_path / "t.csv", tmp_path / "t.rp", user="user", erased=["7", "8"])
    )
    assert store.series("user").to_list() == ["9"]


def test_pseudonyms_that_could_match_nobody_are_refused(table: Path, tmp_path: Path) -> None:
    listed = [PEOPLE.pseudonym("customer-007")]
    with pytest.raises(DataError, match=r"nobody could be found.*--pseudonymise-users"):
        ingest(table, tmp_path / "t.rp", user="user", erased=listed)
    hidden = ingest(table, tmp_path / "t.rp", user="user", pseudonyms=PEOPLE)
    ColumnStore(hidden).frame().write_parquet(tmp_path / "hidden.parquet")
    store = ColumnStore(
        ingest(tmp_path / "hidden.parquet", tmp_path / "t.rp", user="user", erased=listed)
    )
    assert listed[0] not in store.texts("user").to_list()


def test_a_folder_is_ingested_again_without_who_left(table: Path, tmp_path: Path) -> None:
    roles = {"label": "y", "user": "user"}
    out = ingest(table, tmp_path / "t.rp", **roles)
    whole = {f.name: f.read_bytes() for f in out.iterdir()}
    again = ingest(out, tmp_path / "again.rp")
    assert {f.name: f.read_bytes() for f in again.iterdir()} == whole
    less = ingest(out, out, erased=["customer-007"])
    assert ColumnStore(less).roles == roles
    direct = ingest(table, tmp_path / "direct.rp", **roles, erased=["customer-007"])
    assert {f.name: f.read_bytes() for f in less.iterdir()} == {
        f.name: f.read_bytes() for f in direct.iterdir()
    }


def test_what_was_repaired_is_not_forgotten(tmp_path: Path) -> None:
    rows = [f"u{i},{i / 4}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["user,x", *rows, "u7,broken"]))
    out = ingest(tmp_path / "t.csv", tmp_path / "t.rp", user="user")
    for _ in range(2):
        out = ingest(out, out, erased=["u9"])
    kinds = [f.kind for f in ColumnStore(out).findings]
    assert kinds == ["mixed", "erased_users", "erased_users"]


def test_a_folder_of_pseudonyms_is_ingested_again(table: Path, tmp_path: Path) -> None:
    out = ingest(table, tmp_path / "t.rp", label="y", user="user", pseudonyms=PEOPLE)
    listed = {"plain": ["customer-007"], "hashed": [PEOPLE.pseudonym("customer-007")]}
    less = {}
    for name, erased in listed.items():
        less[name] = ingest(out, tmp_path / f"{name}.rp", pseudonyms=PEOPLE, erased=erased)
    less["no key"] = ingest(out, tmp_path / "no_key.rp", erased=listed["hashed"])
    stays = [PEOPLE.pseudonym(u) for u in shop()["user"] if u != "customer-007"]
    for folder in less.values():
        assert ColumnStore(folder).series("user").to_list() == stays
        assert ColumnStore(folder).pseudonyms == {"column": "user", "key": PEOPLE.fingerprint}
    assert ColumnStore(ingest(out, tmp_path / "u.rp")).pseudonyms["key"] == PEOPLE.fingerprint
    with pytest.raises(DataError, match="holds pseudonyms: nobody could be found"):
        ingest(out, tmp_path / "u.rp", erased=listed["plain"])
    with pytest.raises(DataError, match="holds pseudonyms of the key"):
        ingest(out, tmp_path / "u.rp", pseudonyms=Pseudonymiser(b"x" * 40))


def test_rows_are_named_by_their_place_in_the_file(tmp_path: Path) -> None:
    rows = [f"u{i % 2},{i}" for i in range(400)]
    rows[301] = "u1,broken"
    (tmp_path / "t.csv").write_text("\n".join(["user,x", *rows]))
    store = ColumnStore(ingest(tmp_path / "t.csv", tmp_path / "t.rp", user="user", erased=["u0"]))
    assert "in row 302 of file" in next(f for f in store.findings if f.kind == "mixed").action


def test_nobody_is_left(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows left"):
        ingest(table, tmp_path / "t.rp", user="user", erased=shop()["user"].unique().to_list())
    assert not (tmp_path / "t.rp").exists()


@pytest.mark.parametrize("options", [{"pseudonyms": PEOPLE}, {"erased": ["a"]}])
def test_a_user_column_is_needed(table: Path, tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="together with a user column"):
        ingest(table, tmp_path / "t.rp", **options)


@pytest.mark.parametrize(
    "content, says", [(None, "does not exist"), (b"ann\nb\xe9\n", "line 2: byte 0xe9")]
)
def test_a_list_that_cannot_be_read(
    table: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(DataError, match=says):
        ingest(table, tmp_path / "t.rp", user="user", erased=tmp_path / "list")


def test_bad_rows_keep_no_text_where_ids_are_replaced(table: Path, tmp_path: Path) -> None:
    table.write_text(table.read_text() + "customer-777,1,2,3,4,5\n")
    options = {"user": "user", "on_bad_rows": "skip"}
    ingest(table, tmp_path / "t.rp", **options)
    assert "customer-777" in (tmp_path / "t.rp.bad_rows.csv").read_text()
    ingest(table, tmp_path / "t.rp", **options, pseudonyms=PEOPLE)
    stored = (tmp_path / "t.rp.bad_rows.csv").read_text()
    assert "customer" not in stored
    assert "6 cells" in stored


def test_the_program(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "erased").write_text("customer-001\n")
    out = str(tmp_path / "t.rp")
    verb = ["ingest", str(table), "--label", "y", "--user", "user", "-o", out, "--json"]
    hide = [*verb, "--pseudonymise-users", "--erased", str(tmp_path / "erased")]
    monkeypatch.delenv("RECPRUNE_PSEUDONYM_KEY", raising=False)
    with pytest.raises(InputError, match="RECPRUNE_PSEUDONYM_KEY"):
        app(hide, standalone_mode=False)
    monkeypatch.setenv("RECPRUNE_PSEUDONYM_KEY", KEY)
    assert app(hide, standalone_mode=False) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pseudonyms"] == {"column": "user", "key": PEOPLE.fingerprint}
    assert said["rows"] == int((shop()["user"] != "customer-001").sum())
    assert [f["kind"] for f in said["findings"]] == ["erased_users"]
    (tmp_path / "key").write_text(KEY + "\n")
    assert app([*hide, "--pseudonym-key-file", str(tmp_path / "key")], standalone_mode=False) == 0
    with pytest.raises(InputError, match="goes with --pseudonymise-users"):
        app([*verb, "--pseudonym-key-file", str(tmp_path / "key")], standalone_mode=False)


def test_another_column_of_users_holds_plain_ids(table: Path, tmp_path: Path) -> None:
    """Only the column that was hashed needs the key."""
    shop().with_columns(guest="g" + pl.col("age").cast(pl.String)).write_csv(table)
    folder = ingest(table, tmp_path / "t.rp", label="y", user="user", pseudonyms=PEOPLE)
    erased, rows = Erased(["g25"]), shop().filter(pl.col("age") != 25)
    assert len(Dataset.read(folder, user="guest", erased=erased).whole_table.label) == len(rows)
    checked = check_table(folder, read_spec({"label": "y", "user": "guest"}), erased=erased)
    assert {f.kind: f.rows for f in checked.findings}["erased_users"] == 400 - len(rows)
