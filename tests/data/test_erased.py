"""The list of erased users: hashes that name nobody, applied wherever a table is read."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from recprune.crypto import ErasureKey, Pseudonymiser
from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
from recprune.data.erased import Erased, add_to_list, erased_list
from recprune.errors import InputError
from tests.cli.inside import inside

SECRET = "a key for those who left, and no other"
KEY = ErasureKey(SECRET.encode())
PEOPLE = Pseudonymiser(b"a key that nobody would guess, ever")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RECPRUNE_ERASURE_KEY", SECRET)


def log(path: Path, ids: list[str]) -> Path:
    rows = [f"{ids[i % len(ids)]},{i % 7},{i % 2}" for i in range(140)]
    path.write_text("\n".join(["user,x,y", *rows]) + "\n")
    return path


def test_the_list_names_nobody_and_tells_its_key(tmp_path: Path) -> None:
    file = tmp_path / "list"
    assert add_to_list(file, KEY, ["ann", "bob"]) == 2
    assert add_to_list(file, KEY, ["bob", "eve"]) == 1, "again without effect"
    text = file.read_text()
    assert not any(name in text for name in ("ann", "bob", "eve", SECRET))
    read = Erased.read(file)
    assert [read.holds(n) for n in ("ann", "bob", "eve", "joe")] == [True, True, True, False]
    assert Erased.read(file).hashes == {KEY.hash(n) for n in ("ann", "bob", "eve")}


def test_names_may_stand_beside_hashes(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("joe\n\n# not a key\n")
    add_to_list(file, KEY, ["ann"])
    read = Erased.read(file)
    assert all(map(read.holds, ("joe", "# not a key", "ann")))
    assert not Erased.read(file).holds(KEY.hash("ann")), "a hash is no name"


@pytest.mark.parametrize("other", [None, "another key, as long as it must be ."])
def test_without_its_key_a_list_lets_nobody_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str | None
) -> None:
    table = log(tmp_path / "t.csv", ["ann", "bob"])
    add_to_list(erased_list(), KEY, ["ann"])
    if other is None:
        monkeypatch.delenv("RECPRUNE_ERASURE_KEY")
    else:
        monkeypatch.setenv("RECPRUNE_ERASURE_KEY", other)
    says = KEY.fingerprint
    for verb in (["check", table], ["train", table, "--label", "y", "-o", tmp_path / "m"]):
        done = inside(*verb, "--user", "user")
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    done = inside("ingest", table, "--user", "user", "-o", tmp_path / "t.rp")
    assert (done.returncode, says in done.stderr, (tmp_path / "t.rp").exists()) == (2, True, False)
    if other is not None:
        with pytest.raises(InputError, match="another list"):
            add_to_list(erased_list(), ErasureKey(other.encode()), ["bob"])
    (tmp_path / "key").write_text(SECRET)
    done = inside(
        "ingest", table, "--user", "user", "-o", tmp_path / "t.rp",
        "--erasure-key-file", tmp_path / "key",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ColumnStore(tmp_path / "t.rp").texts("user").to_list() == ["bob"]


def test_the_machine_s_list_is_applied_beside_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = log(tmp_path / "t.csv", ["ann", "bob", "eve"])
    add_to_list(erased_list(), KEY, ["ann"])
    (tmp_path / "more").write_text("bob\n")
    out = tmp_path / "t.rp"
    done = inside("ingest", table, "--user", "user", "-o", out, "--erased", tmp_path / "more")
    assert done.returncode == 0, done.stderr
    assert ColumnStore(out).texts("user").to_list() == ["eve"]
    # Without a role, too: nobody comes back because it was not named.
    assert inside("ingest", table, "-o", tmp_path / "unnamed.rp").returncode == 0
    assert sorted(ColumnStore(tmp_path / "unnamed.rp").texts("user").to_list()) == ["bob", "eve"]
    data = Dataset.read(table, label="y", erased=Erased.by_default())
    assert data.table is not None
    assert sorted(data.table.frame["user"].unique().cast(pl.String)) == ["bob", "eve"]
    assert "no user column is named" not in caplog.text
    pl.read_csv(table).rename({"user": "who"}).write_csv(tmp_path / "who.csv")
    assert inside("ingest", tmp_path / "who.csv", "-o", tmp_path / "who.rp").returncode == 0
    assert "no user column is named" in caplog.text


@pytest.mark.parametrize("known", ["id", "pseudonym"])
@pytest.mark.parametrize("form", ["csv", "parquet", "data.rp", "pseudonyms.rp", "integers.rp"])
def test_every_reading_leaves_them_out(tmp_path: Path, form: str, known: str) -> None:
    ids = ["1", "2", "3"] if form == "integers.rp" else ["n1", "n2", "n3"]
    table = log(tmp_path / "t.csv", ids)
    hidden = form == "pseudonyms.rp"
    if form == "parquet":
        pl.read_csv(table).write_parquet(tmp_path / "t.parquet")
        table = tmp_path / "t.parquet"
    elif form != "csv":
        people = PEOPLE if hidden else None
        table = ingest(table, tmp_path / form, user="user", pseudonyms=people)
    gone = PEOPLE.pseudonym(ids[0]) if known == "pseudonym" else ids[0]
    listed = Erased((), [KEY.hash(gone)], KEY)
    data = Dataset.read(table, label="y", user="user", erased=listed)
    found = [f for f in data.findings if f.kind == "erased_users"]
    stored = {PEOPLE.pseudonym(i) if hidden else i for i in ids}
    assert data.table is not None
    if hidden == (known == "pseudonym"):
        stored -= {gone}
        assert [f.rows for f in found] == [47]
    else:
        assert found == [], "an id and its pseudonym are two names, and both are listed by forget"
    assert set(data.table.frame["user"].cast(pl.String)) == stored


def test_a_log_is_ingested_without_whose_pseudonym_is_listed(tmp_path: Path) -> None:
    table = log(tmp_path / "t.csv", ["ann", "bob"])
    listed = Erased((), [KEY.hash(PEOPLE.pseudonym("ann"))], KEY)
    out = ingest(table, tmp_path / "t.rp", user="user", pseudonyms=PEOPLE, erased=listed)
    assert ColumnStore(out).texts("user").to_list() == [PEOPLE.pseudonym("bob")]


def _add(file: Path, start: int) -> None:
    for i in range(start, start + 20):
        add_to_list(file, KEY, [f"n{i}"])


def test_processes_that_add_at_once_lose_none(tmp_path: Path) -> None:
    file = tmp_path / "list"
    many = [multiprocessing.Process(target=_add, args=(file, 20 * i)) for i in range(3)]
    for each in many:
        each.start()
    for each in many:
        each.join()
    assert Erased.read(file).hashes == {KEY.hash(f"n{i}") for i in range(60)}
