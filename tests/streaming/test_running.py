"""The loop: every event counts once, however it is cut short, and what it comes to is the same."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.artifact import read_artifact
from recprune.crypto import Pseudonymiser
from recprune.data.erased import Erased
from recprune.envelope import folder_reader, seal
from recprune.errors import InputError, ParameterError
from recprune.metrics import auc
from recprune.streaming import (
    Learning,
    Pace,
    People,
    Publishing,
    Running,
    StreamSettings,
    Summary,
    open_stream,
)

from .shop import DROPPED, LABEL, some_events, trained

N = 12_000
SETTINGS = StreamSettings(
    "event_id",
    DROPPED,
    Learning(bytes=3_000_000),
    Pace(chunk=700, remember=5_000, commit=2_000),
    Publishing(every=4_000, judged=2_500, tolerance=0.05),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("model") / "m", rp.LR, 6_000)


def lines(frame: pl.DataFrame) -> list[bytes]:
    return frame.write_ndjson().encode().splitlines()


def write(folder: Path, payloads: list[bytes], partitions: int = 1, segment: int = 1_500) -> Path:
    """Deal payloads out to partitions, each a folder of segments."""
    for number in range(partitions):
        own, place = payloads[number::partitions], folder / f"p{number}"
        place.mkdir(parents=True)
        for at in range(0, len(own), segment):
            (place / f"{at:08}.jsonl").write_bytes(b"\n".join(own[at : at + segment]) + b"\n")
    return folder


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("events") / "e", lines(some_events(N)), 3)


def opened(events: Path, model: Path, place: Path, **more: Any) -> Running:
    given: dict[str, Any] = {"settings": SETTINGS, "until_end": True, **more}
    return open_stream(str(events), model, place / "state", place / "served", **given)


def ran(*given: Any, **more: Any) -> Summary:
    with opened(*given, **more) as running:
        return running.run()


@pytest.fixture(scope="module")
def whole(events: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return ran(events, model, tmp_path_factory.mktemp("whole"))


def test_all_events_count_once_and_something_is_learned(whole: Summary, model: Path) -> None:
    counts = {"read": N, "counted": N, "dead": 0, "repeated": 0, "erased": 0}
    assert whole.counts == counts
    assert whole.figures["auc"] > 0.6
    assert [p.frozen for p in whole.publications] == [4_200, 8_400]
    assert whole.flow.commits >= 6


@pytest.mark.parametrize("seed", range(3))
def test_stopped_anywhere_it_comes_to_the_same_bytes(
    seed: int, events: Path, model: Path, whole: Summary, tmp_path: Path
) -> None:
    """Stopped after so many chunks, or by an error: what follows the last commit is done again."""
    draws, published = np.random.default_rng(seed), []
    for _ in range(4):
        with opened(events, model, tmp_path) as running:
            learn, left = running.learner.learn, int(draws.integers(1, 7))

            def broken(*given: Any) -> Any:
                nonlocal left
                left -= 1
                if not left:
                    raise LookupError("pulled out")
                return learn(*given)  # noqa: B023 (called within the turn)

            if draws.random() < 0.7:
                running.learner.learn = broken  # type: ignore[method-assign]
            else:
                running.stop()
            try:
                published += running.run().publications
            except LookupError:
                continue
    last = ran(events, model, tmp_path)
    assert last.hash == whole.hash
    assert last.counts == whole.counts
    assert last.figures == whole.figures
    first = read_artifact(tmp_path / "served")
    other = tmp_path / "other"
    assert first.meta == read_artifact_of(events, model, other).meta
    for file in sorted((other / "served").iterdir()):
        assert file.read_bytes() == (tmp_path / "served" / file.name).read_bytes(), file.name


def read_artifact_of(events: Path, model: Path, place: Path) -> Any:
    ran(events, model, place)
    return read_artifact(place / "served")


def test_chunks_do_not_depend_on_how_far_reading_is_ahead(
    events: Path, model: Path, whole: Summary, tmp_path: Path
) -> None:
    with opened(events, model, tmp_path) as running:
        learn = running.learner.learn

        def slow(*given: Any) -> Any:
            time.sleep(0.02)
            return learn(*given)

        running.learner.learn = slow  # type: ignore[method-assign]
        found = running.run()
    assert found.hash == whole.hash
    assert found.flow.source_waited > 0.3, "reading waits for learning"


def test_its_figures_are_those_of_scores_before_learning(
    events: Path, model: Path, whole: Summary, tmp_path: Path
) -> None:
    labels, logits = [], []
    with opened(events, model, tmp_path) as running:
        learn = running.learner.learn

        def kept(encoded: Any, label: Any) -> Any:
            labels.append(label)
            logits.append(learn(encoded, label))
            return logits[-1]

        running.learner.learn = kept  # type: ignore[method-assign]
        figures = running.run().figures
    expected = auc(np.concatenate(labels), np.concatenate(logits))
    assert figures["auc"] == pytest.approx(expected, abs=1e-3)
    assert figures["events"] == N


def test_candidates_are_judged_though_chunks_are_long(
    events: Path, model: Path, tmp_path: Path
) -> None:
    """The next one's time comes, a chunk later, before enough events did."""
    settings = replace(SETTINGS, publishing=Publishing(every=800, judged=750, tolerance=0.05))
    summary = ran(events, model, tmp_path, settings=settings)
    assert [p.frozen for p in summary.publications] == list(range(1_400, N - 1_400, 1_400))


def test_partitions_that_were_added_are_read_too(model: Path, tmp_path: Path) -> None:
    payloads = lines(some_events(3_000))
    events = write(tmp_path / "e", payloads[:2_000], 2)
    assert ran(events, model, tmp_path).counts["counted"] == 2_000
    (events / "p2").mkdir()
    (events / "p2" / "1.jsonl").write_bytes(b"\n".join(payloads[2_000:]) + b"\n")
    for _ in range(2):
        assert ran(events, model, tmp_path).counts["counted"] == 3_000


def test_poison_repeated_and_erased_events(model: Path, tmp_path: Path) -> None:
    frame = some_events(3_000)
    good = lines(frame)
    gone = frame["user_id"].value_counts().sort("count", descending=True)["user_id"][0]
    of_gone = frame.filter(pl.col("user_id") == gone).height
    bad = [b"{", b"[]", good[5].replace(b'"clicked":', b'"clicked":7'), b"\xff"]
    payloads = good[:1_000] + bad + good[500:1_500] + good[1_500:]
    events = write(tmp_path / "e", payloads)
    people = People(Erased([gone]))
    summary = ran(events, model, tmp_path, people=people)
    early = frame[500:1_000].filter(pl.col("user_id") == gone).height
    assert summary.counts == {
        "read": len(payloads),
        "counted": 3_000 - of_gone,
        "dead": 4,
        "repeated": 500 - early,
        "erased": of_gone + early,
    }
    with opened(events, model, tmp_path, people=people) as running:
        dead = running.state.rows("dead_letters")
    assert [d["payload"] for d in dead] == [b""] * 4, "where somebody is erased, no text is kept"
    assert all(d["reason"] for d in dead)
    assert summary.hash == ran(events, model, tmp_path, people=people).hash


def test_dead_letters_tell_where_and_what(model: Path, tmp_path: Path) -> None:
    good = lines(some_events(1_000))
    events = write(tmp_path / "e", [*good[:10], b"{no", *good[10:]])
    with opened(events, model, tmp_path) as running:
        running.run()
        (dead,) = running.state.rows("dead_letters")
    assert dead["payload"] == b"{no"
    assert "p0" in dead["partition"]


def test_many_dead_letters_do_not_wait_for_a_commit(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recprune.streaming.reading.MOST_DEAD", 300)
    events = write(tmp_path / "e", [*lines(some_events(500)), *[b"{"] * 2_000])
    pace = Pace(chunk=200, commit=1_000_000)
    settings = StreamSettings("event_id", (), SETTINGS.learning, pace)
    found = ran(events, model, tmp_path, settings=settings)
    assert (found.counts["dead"], found.counts["counted"]) == (2_000, 500)
    assert found.flow.commits >= 5


def test_pseudonymised_users_are_learned_as_such(model: Path, tmp_path: Path) -> None:
    frame, key = some_events(2_000), Pseudonymiser(bytes(range(32)))
    hidden = frame.with_columns(
        pl.Series("user_id", [key.pseudonym(user) for user in frame["user_id"]])
    )
    plain = write(tmp_path / "plain", lines(frame))
    already = write(tmp_path / "already", lines(hidden))
    one = ran(plain, model, tmp_path / "1", people=People(pseudonyms=key))
    other = ran(already, model, tmp_path / "2")
    assert one.hash == other.hash
    with opened(plain, model, tmp_path / "1", people=People(pseudonyms=key)) as running:
        at = running.learner.rows.encoder.schema.names.index("user_id")
        held = set(running.learner.names.of(at)[1])
    assert key.pseudonym(frame["user_id"][0]) in held
    assert not held & (set(frame["user_id"]) - set(some_events(6_000, seed=99)["user_id"]))


@pytest.fixture
def endless(model: Path, tmp_path: Path) -> Iterator[tuple[Running, Path, threading.Thread]]:
    events = write(tmp_path / "e", lines(some_events(2_000)))
    settings = StreamSettings("event_id", (), SETTINGS.learning, Pace(700, 5_000, 2_000, 0.2))
    with opened(events, model, tmp_path, settings=settings, until_end=False) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        yield running, events, thread
        running.stop()
        thread.join(30)


def until(true: Any) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_without_an_end_it_waits_for_more_and_commits_meanwhile(
    endless: tuple[Running, Path, threading.Thread],
) -> None:
    running, events, thread = endless
    until(lambda: running.flow.commits and running.counts["read"] == 2_000)
    commits = running.flow.commits
    more = lines(some_events(3_000)[2_000:])
    partial = events / "p0" / ".later"
    partial.write_bytes(b"\n".join(more) + b"\n")
    partial.rename(events / "p0" / "99999999.jsonl")
    until(lambda: running.counts["counted"] == 3_000 and running.flow.commits > commits)
    assert thread.is_alive()
    running.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_an_error_while_it_waits_for_more_ends_it(
    endless: tuple[Running, Path, threading.Thread],
) -> None:
    """Reading has nothing to hand over then, and would wait for ever; as on a disk that is full."""
    running, events, thread = endless
    until(lambda: running.counts["read"] == 2_000 and running.flow.commits)
    with warnings_of_threads() as raised:
        running.at_commit = full_disk
        (events / "p0" / "99999999.jsonl").write_bytes(lines(some_events(2_001))[-1] + b"\n")
        thread.join(20)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [OSError]


def full_disk(_: Running) -> None:
    raise OSError("No space left on device")


@contextlib.contextmanager
def warnings_of_threads() -> Iterator[list[BaseException | None]]:
    before, raised = threading.excepthook, list[BaseException | None]()
    threading.excepthook = lambda about: raised.append(about.exc_value)
    try:
        yield raised
    finally:
        threading.excepthook = before


@pytest.mark.parametrize("what", ["m", "", "s"])
def test_it_does_not_publish_over_its_model_or_its_state(
    what: str, events: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "run" / "m")
    with pytest.raises(InputError, match="Choose another -o"):
        open_stream(str(events), tmp_path / "run" / "m", tmp_path / "run" / "s", tmp_path / "run" / what)  # fmt: skip
    with pytest.raises(InputError, match="Name another --state"):
        open_stream(str(events), tmp_path / "run" / "m", tmp_path / "run" / "m")
    read_artifact(tmp_path / "run" / "m")


def test_a_sealed_model_is_followed_by_sealed_ones(
    events: Path, model: Path, whole: Summary, tmp_path: Path
) -> None:
    key = bytes(range(32))
    seal(model, tmp_path / "m", key)
    summary = ran(events, tmp_path / "m", tmp_path, master=key)
    assert any(p.published for p in summary.publications)
    assert summary.hash == whole.hash
    with pytest.raises(InputError, match="sealed"):
        read_artifact(folder_reader(tmp_path / "served"))
    assert "stream" in read_artifact(folder_reader(tmp_path / "served", master=key)).meta
    assert not list((tmp_path / "served").glob("*.safetensors"))


def test_a_lost_folder_gets_the_model_that_was_served(
    events: Path, model: Path, tmp_path: Path
) -> None:
    summary = ran(events, model, tmp_path)
    assert any(p.published for p in summary.publications)
    before = (tmp_path / "served" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "served")
    ran(events, model, tmp_path)
    assert (tmp_path / "served" / "model.safetensors").read_bytes() == before


def test_another_model_or_setting_is_refused(
    events: Path, model: Path, whole: Summary, tmp_path: Path
) -> None:
    ran(events, model, tmp_path)
    other = StreamSettings("event_id", DROPPED, SETTINGS.learning, Pace(chunk=701))
    with pytest.raises(InputError, match="chunk was 700 and is 701"):
        opened(events, model, tmp_path, settings=other)
    second = trained(tmp_path / "m2", rp.LR, 7_000)
    with pytest.raises(InputError, match="another model"):
        opened(events, second, tmp_path)
    assert ran(events, model, tmp_path).hash == whole.hash, "and nothing was harmed"


def test_shadows_are_columns_that_the_model_does_not_read(
    events: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="shadows"):
        opened(events, model, tmp_path, settings=StreamSettings(shadows=("age",)))
    with pytest.raises(InputError, match="another role"):
        opened(events, model, tmp_path, settings=StreamSettings(shadows=(LABEL,)))


def test_an_error_of_the_source_leaves_the_last_commit(model: Path, tmp_path: Path) -> None:
    payloads = lines(some_events(N))
    events = write(tmp_path / "e", payloads)
    with opened(events, model, tmp_path) as running:
        running.at_commit = lambda _: (events / "p0" / "00007500.jsonl").unlink(missing_ok=True)
        with pytest.raises(rp.errors.RunError, match=r"00007500|p0"):
            running.run()
        saved = running.state.saved()
    assert saved is not None
    assert 2_000 <= saved.counts["read"] <= 7_500
    place = events / "p0" / "00007500.jsonl"
    place.write_bytes(b"\n".join(payloads[7_500:9_000]) + b"\n")
    assert ran(events, model, tmp_path).counts["counted"] == N


def test_summary_is_json(whole: Summary) -> None:
    told = json.loads(json.dumps(whole.to_json()))
    assert told["counts"]["counted"] == N
    assert told["publications"][0]["outcome"] in ("PASS", "FAIL", "INCONCLUSIVE")
