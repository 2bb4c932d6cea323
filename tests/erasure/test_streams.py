"""A user out of a stream's state: nowhere afterwards, others as they were, and never back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import recprune as rp
from recprune.crypto import ErasureKey, Pseudonymiser
from recprune.data.erased import Erased
from recprune.erasure import Names, forget, traces
from recprune.errors import InputError
from recprune.streaming import (
    Learning,
    Pace,
    People,
    Publishing,
    Running,
    StreamSettings,
    open_stream,
)
from recprune.streaming.forgetting import contents_of
from tests.streaming.shop import some_events, trained
from tests.streaming.test_running import lines, write

KEY = ErasureKey(bytes(range(32)))
USER = "user-7391"
SETTINGS = StreamSettings(
    "event_id",
    (),
    Learning(bytes=3_000_000),
    Pace(chunk=700, remember=5_000, commit=2_000),
    Publishing(every=2_500, judged=1_500, tolerance=0.3),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events, those of the most active user under an id that means nobody else; one is broken."""
    frame = some_events(6_000)
    often = frame["user_id"].value_counts().sort("count", descending=True)["user_id"][0]
    user = pl.col("user_id")
    frame = frame.with_columns(
        pl.when(user == often).then(pl.lit(USER)).otherwise(user).alias("user_id")
    )
    broken = [f'{{"event_id": "x", "user_id": "{USER}"'.encode(), b"{", *lines(frame)]
    return write(tmp_path_factory.mktemp("log") / "e", broken)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    trained(tmp_path / "model", rp.LR, 6_000)
    return tmp_path


def opened(log: Path, shop: Path, people: People | None = None) -> Running:
    return open_stream(
        str(log), shop / "model", shop / "state", shop / "served", SETTINGS, people, until_end=True
    )


def ran(log: Path, shop: Path, people: People | None = None) -> str:
    with opened(log, shop, people) as running:
        return running.run().hash


def in_bytes(folder: Path, text: str) -> list[str]:
    return [f.name for f in folder.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def weights(running: Running) -> dict[str, bytes]:
    names = running.learner.names
    rows, texts = names.of(running.learner.rows.encoder.schema.names.index("user_id"))
    table = running.learner.table.weights.numpy()
    return {str(t): table[r].tobytes() for r, t in zip(rows, texts, strict=True)}


def scores(log: Path, shop: Path, user: str) -> bytes:
    """Return what the stream makes of events of this user; nothing of it is kept."""
    frame = some_events(50).with_columns(pl.lit(user).alias("user_id"))
    with opened(log, shop) as running:
        return running.learner.score(running.learner.encode(frame)).tobytes()


def test_nobody_finds_them_and_others_are_as_they_were(log: Path, shop: Path) -> None:
    ran(log, shop)
    names = Names.of(USER)
    before = {t.what for t in traces([shop], names)}
    assert {"dead letters", "values of 'user_id' in the stream's rows"} <= before
    assert "the stream's served model" in before
    assert in_bytes(shop / "state", USER), "the scan of bytes finds what is there"
    with opened(log, shop) as running:
        held = weights(running)
        letters = len(running.state.rows("dead_letters"))
    assert USER in held
    done = forget(USER, [shop], key=KEY, list_file=shop / "list.txt")
    assert any("rows of values of 'user_id'" in r.what for r in done.removed)
    assert any("streams learnt" in line for line in done.remains)
    assert [t for t in done.left if t.sure] == []
    assert in_bytes(shop / "state", USER) == in_bytes(shop / "served", USER) == []
    with opened(log, shop) as running:
        left = weights(running)
        assert len(running.state.rows("dead_letters")) == letters - 1
    assert left == {user: row for user, row in held.items() if user != USER}
    assert scores(log, shop, USER) == scores(log, shop, "never seen")


def test_it_goes_on_without_them_and_a_replay_does_not_bring_them_back(
    log: Path, shop: Path, tmp_path: Path
) -> None:
    ran(log, shop)
    forget(USER, [shop], key=KEY, list_file=shop / "list.txt")
    people = People(Erased([], [KEY.hash(USER)], KEY))
    again = tmp_path / "again"
    again.mkdir()
    shutil.copytree(shop / "model", again / "model")
    ran(log, again, people)
    assert [t for t in traces([again], Names.of(USER)) if t.sure] == []
    assert in_bytes(again, USER) == []
    shutil.copytree(log, shop / "more")
    with (shop / "more/p0/99999999.jsonl").open("wb") as file:
        frame = some_events(8_000)[6_000:].with_columns(pl.lit(USER).alias("user_id"))
        file.write(b"\n".join([*lines(some_events(8_000)[6_000:]), *lines(frame)]) + b"\n")
    with opened(shop / "more", shop, people) as running:
        summary = running.run()
        assert USER not in weights(running)
    assert summary.counts["erased"] == 2_000
    assert in_bytes(shop / "state", USER) == []


def test_pseudonyms_need_their_key(log: Path, shop: Path) -> None:
    key = Pseudonymiser(bytes(range(1, 33)))
    ran(log, shop, People(pseudonyms=key))
    with pytest.raises(InputError, match="pseudonym"):
        forget(USER, [shop / "state"], key=KEY, list_file=shop / "list.txt")
    pseudonym = key.pseudonym(USER)
    assert any(t.sure for t in traces([shop / "state"], Names.of(USER, [key])))
    forget(USER, [shop], key=KEY, pseudonyms=[key], list_file=shop / "list.txt")
    assert in_bytes(shop / "state", pseudonym) == []


def test_a_stream_that_runs_is_not_touched(log: Path, shop: Path) -> None:
    with opened(log, shop) as running:
        running.run()
        kept = (shop / "state/stream.sqlite").read_bytes()
        with pytest.raises(InputError, match="Another stream"):
            forget(USER, [shop], key=KEY, list_file=shop / "list.txt")
        assert (shop / "state/stream.sqlite").read_bytes() == kept
        assert not (shop / "list.txt").exists()


def test_a_stream_that_runs_is_not_scanned_by_halves(log: Path, shop: Path) -> None:
    with opened(log, shop) as running:
        running.run()
        with pytest.raises(InputError, match="Another stream"):
            traces([shop], Names.of(USER))
        with pytest.raises(InputError, match="Another stream"):
            forget(Pseudonymiser(bytes(32)).pseudonym(USER), [shop], key=KEY, list_file=shop / "l")
        assert not (shop / "l").exists(), "nothing was changed"


def test_dead_letters_name_users_by_numbers_too(shop: Path, tmp_path: Path) -> None:
    letters = [
        b'{"user_id": 7, "event_id": 1}',
        b'{"event_id": 2, "user_id" :7.0}',
        b'{"event_id": 3, "user_id":7',
        b'{"event_id": 4, "user_id": 77}',
        b'{"event_id": 7, "user_id": 7.5, "item_id": 7}',
    ]
    events = write(tmp_path / "numbers", [*letters, *lines(some_events(400))])
    ran(events, shop)
    done = forget("7", [shop / "state"], key=KEY, list_file=shop / "list.txt")
    assert [(r.what, r.count) for r in done.removed] == [("dead letters", 3)]
    with opened(events, shop) as running:
        left = [letter["payload"] for letter in running.state.rows("dead_letters")]
    assert sorted(left) == letters[3:]


def test_nothing_is_changed_where_there_is_nothing(log: Path, shop: Path) -> None:
    before = ran(log, shop)
    forget("somebody-0815", [shop], key=KEY, list_file=shop / "list.txt")
    assert ran(log, shop) == before


def test_items_with_strange_letters_stay_whole(shop: Path, tmp_path: Path) -> None:
    """U+2028 and U+0085 end a line for Python, and none for JSON."""
    strange = [f"odd{letter}item" for letter in "\u2028\u0085\x0b\x1c"]
    frame = some_events(400).with_columns(
        pl.Series("item_id", [strange[i % 4] for i in range(400)]),
    )
    events = write(tmp_path / "odd", lines(frame))
    ran(events, shop)
    with opened(events, shop) as running:
        assert set(running.newcomers.frame()["item_id"]) == set(strange)
        saved = running.state.saved()
    assert saved is not None
    found = [json.loads(line)["item_id"] for line in contents_of(saved.arrays).items]
    assert set(found) == set(strange)
