"""Forgetting on a trained model and its data: the user is a stranger, and nobody else is touched."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.crypto import Pseudonymiser
from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
from recprune.data.erased import Erased, erased_list
from recprune.envelope import seal, unseal
from recprune.erasure import Names, forget, traces
from recprune.errors import ArtifactError, InputError
from recprune.runtime import Scorer, load
from recprune.users import Users
from tests.erasure.conftest import GONE, OTHER, PEOPLE, ROLES, SCHEMA, log, make
from tests.erasure.keys import KEY, MASTER


def answer(model: Path, user: str) -> tuple[object, ...]:
    best = load(model).recommend_user(Users.load(model / "users.rp"), user, 20)
    return tuple(best.items), np.asarray(best.scores).tobytes(), best.fallback


def everyone(folder: Path) -> dict[str, tuple[object, ...]]:
    users = Users.load(folder / "model" / "users.rp")
    return {user: answer(folder / "model", user) for user in users.ids}


def names_of(folder: Path) -> Callable[[str], str]:
    return PEOPLE.pseudonym if "hidden" in str(folder) else str


@pytest.mark.parametrize("which", ["shop", "hidden"])
@pytest.mark.parametrize("at_rest", ["plain", "sealed"])
@pytest.mark.parametrize("named", ["id", "pseudonym"])
def test_the_forgotten_are_strangers_and_nobody_else_is_touched(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
    at_rest: str,
    named: str,
) -> None:
    folder: Path = request.getfixturevalue(which)
    stored = names_of(folder)
    if named == "pseudonym" and which == "shop":
        pytest.skip("data of plain ids know no pseudonym")
    if at_rest == "sealed":
        monkeypatch.setenv("RECPRUNE_MASTER_KEY", MASTER.decode())
        for part in ("data.rp", "model"):
            seal(folder / part, folder / part, MASTER)
    before = everyone(folder)
    assert before[stored(GONE)] != answer(folder / "model", stored("nobody"))
    given = PEOPLE.pseudonym(GONE) if named == "pseudonym" else GONE
    keys = [PEOPLE] if named == "id" and which == "hidden" else []
    names = Names.of(given, keys)
    assert {Path(t.path).name for t in traces([folder], names)} == {"data.rp", "model", "users.rp"}
    done = forget(given, [folder], key=KEY, pseudonyms=keys)
    assert done.left == (), "nothing of theirs is left"
    assert any("only its pseudonym" in line for line in done.remains) == (named == "pseudonym")
    assert not any(
        shown in line for line in done.remains for shown in (GONE, PEOPLE.pseudonym(GONE))
    )
    assert answer(folder / "model", stored(GONE)) == answer(folder / "model", stored("nobody"))
    assert everyone(folder) == {u: a for u, a in before.items() if u != stored(GONE)}
    assert stored(GONE) not in ColumnStore(folder / "data.rp").texts("user_id").to_list()
    again = forget(given, [folder], key=KEY, pseudonyms=keys)
    assert (again.removed, again.listed) == ((), 0), "again without effect"


def decoded(folder: Path) -> bytes:
    """Return all that a folder's files hold, unsealed and inflated, by nothing of the scan's own."""
    out = b""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            with contextlib.suppress(zlib.error):
                data += zlib.decompress(data)
            out += data
    return out


@pytest.mark.parametrize("which", ["shop", "hidden"])
def test_no_byte_of_theirs_is_left_and_there_were_some(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, which: str
) -> None:
    """A second scan, of bytes, so that forgetting is not judged by its own reading."""
    folder: Path = request.getfixturevalue(which)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", MASTER.decode())
    name = names_of(folder)(GONE).encode()
    parts = [folder / "data.rp", folder / "model", folder / "model" / "users.rp"]
    for part in parts:
        assert name in decoded(part), part
    seal(folder / "data.rp", folder / "data.rp", MASTER)
    assert name not in decoded(folder / "data.rp"), "or sealing would hide nothing"
    assert forget(GONE, [folder], key=KEY, pseudonyms=[PEOPLE]).left == ()
    unseal(folder / "data.rp", tmp_path / "open", MASTER)
    for part in (*parts[1:], tmp_path / "open"):
        assert name not in decoded(part), part
        assert names_of(folder)(OTHER).encode() in decoded(part), part


def test_re_ingesting_the_old_log_does_not_bring_them_back(
    shop: Path, made: Path, tmp_path: Path
) -> None:
    forget(GONE, [shop], key=KEY, pseudonyms=[PEOPLE])
    listed = Erased.read(erased_list(), _file(tmp_path, KEY_BYTES))
    less = ingest(made / "log.csv", tmp_path / "again.rp", **ROLES, erased=listed)
    # Forgetting comes to the bytes that the others' rows alone would have given.
    for file in less.iterdir():
        if file.name != "data.json":
            assert file.read_bytes() == (shop / "data.rp" / file.name).read_bytes(), file.name
    hashed = ingest(
        made / "log.csv", tmp_path / "hashed.rp", **ROLES, erased=listed, pseudonyms=PEOPLE
    )
    for folder in (less, hashed):
        assert not traces([folder], Names.of(GONE, [PEOPLE]))
    data = Dataset.read(made / "log.csv", **ROLES, schema=SCHEMA, erased=listed)
    assert data.table is not None
    assert GONE not in data.table.frame["user_id"].to_list()
    assert OTHER in data.table.frame["user_id"].to_list()


KEY_BYTES = b"a key for those who left, and no other"


def _file(folder: Path, key: bytes) -> Path:
    (folder / "erasure.key").write_bytes(key)
    return folder / "erasure.key"


def test_former_keys_find_them_too(hidden: Path) -> None:
    """After a change of keys some folders are still under the former one."""
    new = Pseudonymiser(b"the next key, which nobody knows ...")
    with pytest.raises(InputError, match="holds pseudonyms of the key"):
        forget(GONE, [hidden], key=KEY, pseudonyms=[new])
    with pytest.raises(InputError, match="--pseudonym-key-file"):
        forget(GONE, [hidden / "model"], key=KEY)
    assert not erased_list().exists(), "nothing was changed"
    done = forget(GONE, [hidden], key=KEY, pseudonyms=[new, PEOPLE])
    assert done.listed == 3, "the id and both pseudonyms"
    assert done.left == ()
    assert {Path(r.path).name for r in done.removed} == {"data.rp", "model", "users.rp"}


def test_other_users_whose_ids_hold_the_id_are_not_touched(shop: Path) -> None:
    """As ann@example.org's does not say that mary.ann@example.org is to go."""
    before, rows = everyone(shop), ColumnStore(shop / "data.rp").frame()
    done = forget(Names.of("customer", everywhere=True), [shop], key=KEY)
    assert (done.removed, done.left) == ((), ())
    assert everyone(shop) == before
    assert ColumnStore(shop / "data.rp").frame().equals(rows)


def test_two_in_a_row(shop: Path) -> None:
    before = everyone(shop)
    for user in (GONE, OTHER):
        forget(user, [shop], key=KEY)
    assert everyone(shop) == {u: a for u, a in before.items() if u not in (GONE, OTHER)}
    assert not traces([shop], [GONE, OTHER])
    assert ColumnStore(shop / "data.rp").n_rows == len(
        log().filter(~pl.col("user_id").is_in([GONE, OTHER]))
    )


def test_the_last_one(tmp_path: Path) -> None:
    folder = make(tmp_path / "two", users=2)
    (folder / "log.csv").unlink()
    forget("customer-01", [folder], key=KEY)
    done = forget("customer-00", [folder], key=KEY)
    assert not (folder / "data.rp").exists(), "there are no rows left to keep"
    assert len(Users.load(folder / "model" / "users.rp")) == 0
    assert answer(folder / "model", "customer-00") == answer(folder / "model", "nobody")
    assert not traces([folder], ["customer-00", "customer-01"])
    assert any(r.what == "folder, which held nobody else" for r in done.removed)
    assert forget("customer-00", [folder], key=KEY).removed == ()


def test_who_reads_meanwhile_reads_on_or_is_told(shop: Path) -> None:
    store, scorer = ColumnStore(shop / "data.rp"), load(shop / "model")
    users, mapped = Users.load(shop / "model" / "users.rp"), store.raw("day")
    days, best = np.array(mapped), scorer.recommend_user(users, GONE, 5)
    forget(GONE, [shop], key=KEY)
    np.testing.assert_array_equal(mapped, days)
    assert scorer.recommend_user(users, GONE, 5).items == best.items
    for read in (lambda: store.raw("day"), lambda: store.texts("user_id"), lambda: store.frame()):
        with pytest.raises(ArtifactError, match="written again meanwhile"):
            read()
    assert ColumnStore(shop / "data.rp").series("user_id").is_in([GONE]).sum() == 0


def test_an_unknown_user_is_listed_all_the_same(shop: Path) -> None:
    before = {f: f.read_bytes() for f in shop.rglob("*") if f.is_file()}
    (shop / ".model.checkpoint").mkdir()
    (shop / ".model.checkpoint" / "training.safetensors").write_bytes(b"rows of others")
    done = forget("customer-99", [shop], key=KEY)
    assert (done.removed, done.left, done.listed) == ((), (), 1)
    assert {f: f.read_bytes() for f in before} == before
    assert (shop / ".model.checkpoint").exists(), "it is somebody else's"
    assert any(".model.checkpoint" in line for line in done.remains), "or it is not: that is told"


def test_a_path_that_is_not_there_is_refused_before_anything_is_done(shop: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        forget(GONE, [shop, shop / "nothing"], key=KEY)
    with pytest.raises(InputError, match="is empty"):
        forget("  ", [shop], key=KEY)
    assert traces([shop], [GONE])
    assert not erased_list().exists()


def test_short_ids_of_users_are_not_those_of_items(tmp_path: Path) -> None:
    frame = log().with_columns(
        pl.col("user_id").str.slice(9).cast(pl.Int64), pl.col("product").str.slice(1).cast(pl.Int64)
    )
    frame.write_parquet(tmp_path / "t.parquet")
    folder = ingest(tmp_path / "t.parquet", tmp_path / "t.rp", **ROLES)
    found = traces([folder], ["7"])
    assert [(t.what, t.sure) for t in found] == [
        ("column 'user_id'", True),
        ("column 'product'", False),
        ("column 'day'", False),
    ]
    done = forget("7", [folder], key=KEY)
    assert [(r.what, r.count) for r in done.removed] == [("rows", (frame["user_id"] == 7).sum())]
    left = frame.filter(pl.col("user_id") != 7)
    for name in frame.columns:
        assert ColumnStore(folder).series(name).to_list() == left[name].to_list()
    assert all(not t.sure for t in done.left)


def test_spaces_around_an_id_are_part_of_its_pseudonym(tmp_path: Path) -> None:
    frame = log(300, 6).with_columns(pl.col("user_id").str.replace("customer-03", " customer-03"))
    frame.write_csv(tmp_path / "t.csv")
    hidden = ingest(tmp_path / "t.csv", tmp_path / "t.rp", **ROLES, pseudonyms=PEOPLE)
    theirs = int((frame["user_id"] == " customer-03").sum())
    assert theirs
    done = forget(" customer-03", [hidden], key=KEY, pseudonyms=[PEOPLE])
    assert [(r.what, r.count) for r in done.removed] == [("rows", theirs)]
    assert PEOPLE.pseudonym(" customer-03") not in ColumnStore(hidden).texts("user_id").to_list()


def test_a_leading_zero_makes_another_user(tmp_path: Path) -> None:
    frame = log(300, 12).with_columns(pl.col("user_id").str.slice(9).cast(pl.Int64))
    frame.write_parquet(tmp_path / "t.parquet")
    folder = ingest(tmp_path / "t.parquet", tmp_path / "t.rp", **ROLES)
    assert forget("07", [folder], key=KEY).removed == (), "whole numbers know no 07"
    assert ColumnStore(folder).n_rows == len(frame)
    for user in ("7.0", "0"):
        (rows,) = forget(user, [folder], key=KEY).removed
        assert rows.count == int((frame["user_id"] == float(user)).sum()) > 0


def test_compiled_kernels_score_the_others_alike(shop: Path) -> None:
    columns = {n: log()[n].to_list() for n in ("user_id", "product", "category", "city")}
    others = [i for i, user in enumerate(columns["user_id"]) if user != GONE]

    def scores(warm: bool) -> np.ndarray:
        scorer: Scorer = load(shop / "model")
        if warm:
            scorer.warm_up()
        return scorer.score(columns)[others]

    before = [scores(False), scores(True)]
    forget(GONE, [shop], key=KEY)
    for warm, wanted in zip((False, True), before, strict=True):
        np.testing.assert_array_equal(scores(warm), wanted)
