"""The scan: a name planted in every kind of place is found there, and nowhere once it is forgotten."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import save_file

from recprune.envelope import seal
from recprune.erasure import Names, Removed, forget, traces
from recprune.folders import clear_leftovers
from recprune.models.checkpoint import Checkpoint
from recprune.pipeline.trial_store import JOURNAL, TrialStore
from recprune.users import Users
from tests.erasure.conftest import GONE, OTHER, PEOPLE
from tests.erasure.keys import KEY

HIDDEN = PEOPLE.pseudonym(GONE)
#: What reports, lists and tables of a run folder may say, in every form; OTHER stays.
TOLD: dict[str, Callable[[Path, str], object]] = {
    "report.html": lambda f, u: f.write_text(f"<p title='{u}'>{u}, {OTHER}</p>"),
    "README.md": lambda f, u: f.write_text(f"Best for `{u}`, {OTHER}."),
    "notes.txt": lambda f, u: f.write_text(f"{OTHER} {u}0 {u}\n"),
    "facts.json": lambda f, u: f.write_text(
        json.dumps({"lists": [{"user": u, "items": [1]}, {"user": OTHER}], u: 3, "x": f"of {u}"})
    ),
    "lists.jsonl": lambda f, u: f.write_text(
        "".join(json.dumps({"user_id": who, "items": [1]}) + "\n" for who in (u, OTHER))
    ),
    "one.json": lambda f, u: f.write_text(json.dumps({"user": u, "items": [OTHER]})),
    "users.csv": lambda f, u: _frame(u).write_csv(f),
    "users.tsv": lambda f, u: _frame(u).write_csv(f, separator="\t"),
    "users.parquet": lambda f, u: (
        _frame(u).with_columns(tags=pl.Series([[u, "a"], [OTHER], [u]])).write_parquet(f)
    ),
    "users.arrow": lambda f, u: _frame(u).write_ipc(f),
}
#: What is not ours to change, and is found as it lies there.
FOREIGN: dict[str, Callable[[Path, str], object]] = {
    "log.csv.gz": lambda f, u: f.write_bytes(gzip.compress(f"user,x\n{u},1\n".encode())),
    "blob.bin": lambda f, u: f.write_bytes(b"\0\xff" + u.encode() + b"\0"),
    "wide.bin": lambda f, u: f.write_bytes(u.encode("utf-16-le")),
    "deflated.bin": lambda f, u: f.write_bytes(zlib.compress(u.encode() * 3)),
    "pages.db": lambda f, u: _database(f, u),
    "packed.safetensors": lambda f, u: save_file(
        {"ids": np.frombuffer(f"{OTHER}{u}{OTHER}".encode(), np.uint8)}, f
    ),
}


def _frame(user: str) -> pl.DataFrame:
    said = [f"about {OTHER}", "b", f"about {user}"]
    return pl.DataFrame({"user": [user, OTHER, OTHER], "auc": [0.5, 0.6, 0.7], "said": said})


def _database(file: Path, user: str) -> None:
    """A row that was deleted: it is on a free page still."""
    with sqlite3.connect(file) as database:
        database.execute("pragma secure_delete = off")
        database.execute("create table t (user text)")
        database.execute("insert into t values (?)", (user,))
        database.commit()
        database.execute("delete from t")
    database.close()


def places(found: object) -> set[str]:
    return {Path(t.path).name for t in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [GONE, HIDDEN])
def test_a_run_folder_s_files_are_cleaned(shop: Path, name: str) -> None:
    model = shop / "model"
    (model / "plots").mkdir(exist_ok=True)
    for file, plant in TOLD.items():
        plant(model / file, name)
        plant(model / "plots" / file, name)
    names = Names.of(GONE, [PEOPLE])
    assert places(traces([model], names)) >= set(TOLD), "the scan finds them before"
    done = forget(GONE, [model], key=KEY, pseudonyms=[PEOPLE])
    assert done.left == ()
    assert {Path(r.path).name for r in done.removed} >= set(TOLD)
    assert (model / "report.html").read_text() == f"<p title='(erased)'>(erased), {OTHER}</p>"
    assert (model / "notes.txt").read_text() == f"{OTHER} {name}0 (erased)\n"
    facts = json.loads((model / "facts.json").read_text())
    assert facts == {"lists": [{"user": OTHER}], "x": "of (erased)"}
    assert json.loads((model / "lists.jsonl").read_text())["user_id"] == OTHER
    assert not (model / "one.json").exists(), "it was about nobody else"
    left = {"user": [OTHER, OTHER], "auc": [0.6, 0.7], "said": ["b", None]}
    assert pl.read_csv(model / "users.csv").to_dict(as_series=False) == left
    parquet = pl.read_parquet(model / "users.parquet")
    assert parquet.drop("tags").to_dict(as_series=False) == left
    assert parquet["auc"].dtype == pl.Float64


def test_numbers_of_users_in_tables(shop: Path) -> None:
    """By whole numbers as they are: floats would not tell long ones apart."""
    for user, other in ((7, 8), (1_234_567_890_123_456_789, 1_234_567_890_123_456_790)):
        for kind in (pl.Int64, pl.UInt64, pl.Float64 if user < 10 else pl.Int64):
            file = shop / "model" / "users.parquet"
            pl.DataFrame({"user": pl.Series([user, other, None], dtype=kind)}).write_parquet(file)
            (trace,) = [t for t in traces([file], [str(user)]) if t.what == "rows"]
            assert (trace.count, trace.sure) == (1, True)
            forget(str(user), [shop], key=KEY)
            assert pl.read_parquet(file)["user"].to_list() == [other, None]


def test_lines_of_json_end_in_line_feeds_alone(shop: Path) -> None:
    """U+2028 and U+0085 end a line for Python, and none for JSON."""
    file, strange = shop / "model" / "lists.jsonl", "an odd\u2028\u0085item"
    said = [{"user": who, "items": [strange]} for who in ("7", OTHER)]
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in said), "utf-8")
    forget("7", [shop], key=KEY)
    assert json.loads(file.read_text("utf-8")) == said[1]


def test_other_programs_files_are_found_and_left(shop: Path) -> None:
    for file, plant in FOREIGN.items():
        plant(shop / file, GONE)
    before = {file: (shop / file).read_bytes() for file in FOREIGN}
    assert places(traces([shop], [GONE])) >= set(FOREIGN)
    done = forget(GONE, [shop], key=KEY)
    assert places(done.left) == set(FOREIGN)
    assert {file: (shop / file).read_bytes() for file in FOREIGN} == before
    (alone,) = [t for t in done.remains if "source tables" in t]
    assert "which are not changed" in alone
    done = forget(GONE, [shop / "log.csv.gz"], key=KEY)
    assert str(shop / "log.csv.gz") in done.remains[-1], "a table that is named is said to remain"


def test_damaged_folders_are_scanned_as_they_lie_there(shop: Path) -> None:
    file = shop / "model" / "users.rp" / "users.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    assert "users.rp" in places(traces([shop / "model"], [GONE]))


def test_checkpoints_and_trials_are_deleted(shop: Path) -> None:
    beside = shop / ".model.checkpoint"
    checkpoint = Checkpoint(beside / "training.safetensors", {"rows": "a hash"})
    checkpoint.write({"table": torch.zeros(3)}, {"epoch": 1})
    loose = Checkpoint(shop / "deep" / "kept.safetensors", {"rows": "a hash"})
    loose.write({"table": torch.zeros(3)}, {"epoch": 1})
    trials = TrialStore(shop / "trials")
    trials.trial("key", lambda: (None, {"table": np.zeros(3, np.float32)}))
    (shop / "trials" / "notes.txt").write_text("mine")
    shutil.copy(shop / "model" / "model.safetensors", shop / "weights.safetensors")
    done = forget(GONE, [shop], key=KEY)
    assert not beside.exists()
    assert not loose.path.exists()
    assert [f.name for f in (shop / "trials").iterdir()] == ["notes.txt"]
    assert (shop / "weights.safetensors").exists()
    deleted = [r.path for r in done.removed if "checkpoint or trial store" in r.what]
    assert deleted == [str(beside), str(loose.path), str(shop / "trials")]
    assert not (shop / "trials" / JOURNAL).exists()


def test_weights_of_trials_are_deleted_before_what_tells_of_them(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = TrialStore(shop / "trials")
    trials.trial("key", lambda: (None, {"table": np.zeros(3, np.float32)}))
    unlink, listed = Path.unlink, Path.iterdir

    def pulled_out(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "trials" and path.suffix == ".safetensors":
            raise LookupError("pulled out")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", pulled_out)
        patch.setattr(Path, "iterdir", lambda f: sorted(listed(f), key=lambda p: p.name != JOURNAL))
        with pytest.raises(LookupError):
            forget(GONE, [shop], key=KEY)
    forget(GONE, [shop], key=KEY)
    assert not (shop / "trials").exists()


def test_what_a_killed_run_left_is_removed(shop: Path) -> None:
    partial, old = shop / ".model.999999999.partial", shop / ".data.rp.999999999.old"
    shutil.copytree(shop / "model", partial)
    shutil.copytree(shop / "data.rp", old)
    (shop / "model").rename(shop / ".model.999999998.old")
    assert places(traces([shop], [GONE])) >= {partial.name, old.name, ".model.999999998.old"}
    done = forget(GONE, [shop], key=KEY)
    assert done.left == ()
    assert sorted(f.name for f in shop.iterdir()) == ["data.rp", "model"]
    assert GONE not in Users.load(shop / "model" / "users.rp").ids
    clear_leftovers(shop / "model")


def test_a_sealed_folder_in_a_plain_one(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master = b"a master key for folders at rest!!!"
    users = shop / "model" / "users.rp"
    seal(users, users, master)
    before = {f.name: f.read_bytes() for f in users.iterdir()}
    done = forget(GONE, [shop], key=KEY, master=master)
    assert done.left == ()
    assert Removed(str(users), "user", 1) in done.removed
    assert all(users.joinpath(f).read_bytes() != data for f, data in before.items()), "another key"
    assert not any(GONE.encode() in f.read_bytes() for f in shop.rglob("*") if f.is_file())
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", master.decode())
    assert GONE not in Users.load(users).ids


def test_new_files_are_read_by_nobody_who_could_not_read_the_old_ones(shop: Path) -> None:
    users = shop / "model" / "users.rp"
    for path, mode in ((shop / "model", 0o750), (users, 0o700), (users / "users.json", 0o600)):
        path.chmod(mode)
    (shop / "data.rp" / "0.bin").chmod(0o640)
    forget(GONE, [shop], key=KEY)
    modes = [p.stat().st_mode & 0o777 for p in (shop / "model", users, users / "users.json")]
    assert modes == [0o750, 0o700, 0o600]
    assert (shop / "data.rp" / "0.bin").stat().st_mode & 0o777 == 0o640
