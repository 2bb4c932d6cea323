"""``recprune stream`` as its users start and stop it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

import recprune as rp
from recprune.pipeline.saving import save_model
from recprune.streaming.state import StreamState

from .inside import inside

EVENTS = 3_000


def frame(n: int, seed: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"{seed}-{i}" for i in range(n)],
            "colour": [f"c{(i * 7 + seed) % 11}" for i in range(n)],
            "size": [float((i * 13 + seed) % 17) for i in range(n)],
            "y": [int((i * 7 + seed) % 11 > 4) for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = rp.Dataset.from_frame(frame(1_000, 1).drop("id"), label="y").split(by="random")
    ranker = rp.LR(training=rp.Training(epochs=1)).fit(data.train, data.valid)
    folder = tmp_path_factory.mktemp("model") / "m"
    save_model(ranker, data, folder)
    return folder


def events(folder: Path, rows: pl.DataFrame) -> Path:
    folder.mkdir()
    rows.write_ndjson(folder / "1.jsonl")
    return folder


def command(source: Path | str, model: Path, place: Path, *more: str) -> list[str]:
    options = ["--model", str(model), "--state", str(place / "s"), "--id", "id", "--bytes", "1MB"]
    options += ["--chunk", "500", "--commit", "1000", *more]
    return [sys.executable, "-m", "recprune", "stream", str(source), *options]


def ran(*given: str | Path) -> subprocess.CompletedProcess[str]:
    source, model, place, *rest = given
    return inside(*command(source, Path(model), Path(place), *map(str, rest))[3:])


def test_json_is_one_object_alone(model: Path, tmp_path: Path) -> None:
    publish = ("--publish-every", "1000", "--judged-by", "500", "--tolerance", "0.5")
    source = events(tmp_path / "e", frame(EVENTS, 2))
    done = ran(source, model, tmp_path, "--until-end", "--json", "-o", tmp_path / "out", *publish)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout, parse_constant=pytest.fail)
    assert told["counts"]["counted"] == EVENTS
    assert told["publications"]
    assert b"recprune_stream_events" in (tmp_path / "s" / "metrics.prom").read_bytes()
    assert rp.load(tmp_path / "out").score({"colour": ["c1"], "size": [3.0]}).shape == (1,)


def test_an_option_out_of_range_is_named_as_it_was_typed(model: Path, tmp_path: Path) -> None:
    done = ran(tmp_path, model, tmp_path, "--publish-every", "100")
    assert done.returncode == 2
    assert (
        "'--judged-by' parameter of stream must be at least 1 and below --publish-every (100)"
        in (" ".join(done.stderr.split()))
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_a_last_commit(
    number: signal.Signals, model: Path, tmp_path: Path
) -> None:
    source = events(tmp_path / "e", frame(EVENTS + 100, 2))
    line = command(source, model, tmp_path, "--json", "--linger", "0.1")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _until(lambda: f'counted"}} {EVENTS + 100}.0' in _text(tmp_path / "s" / "metrics.prom"))
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert json.loads(out)["counts"]["counted"] == EVENTS + 100


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    number: signal.Signals, model: Path, tmp_path: Path
) -> None:
    """Whatever reading waits for: here, a segment that nobody writes."""
    source = events(tmp_path / "e", frame(EVENTS, 2))
    os.mkfifo(source / "2.jsonl")
    line = command(source, model, tmp_path)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            _until(lambda: 'counted"} ' in _text(tmp_path / "s" / "metrics.prom"))
            process.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            process.send_signal(number)
            assert process.wait(timeout=30) == -number
        finally:
            process.kill()


def _on_a_terminal(words: Sequence[str]) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """Return how a command ended whose errors go to a terminal, and what that was shown."""
    mine, theirs = pty.openpty()
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE, stderr=theirs, timeout=120, check=False,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
    finally:
        os.close(theirs)
        with open(mine, "rb", buffering=0) as shown:
            told = shown.read(1 << 16)
    return done, told


def test_on_a_terminal_events_of_one_class_are_shown_too(model: Path, tmp_path: Path) -> None:
    source = events(tmp_path / "e", frame(EVENTS, 2).with_columns(y=0))
    done, told = _on_a_terminal(command(source, model, tmp_path, "--until-end"))
    assert done.returncode == 0, told
    assert b"3,000" in done.stdout


def test_what_is_wrong_is_one_sentence_and_no_traceback(model: Path, tmp_path: Path) -> None:
    source = events(tmp_path / "e", frame(10, 2))
    (tmp_path / "file").write_text("no folder")
    StreamState(tmp_path / "t" / "s", {"chunk": 7}).close()
    for given, word in (
        ((tmp_path / "none", model, tmp_path), "none"),
        ((source, tmp_path / "none", tmp_path), "none"),
        ((source, model, tmp_path / "file"), "Folder"),
        ((source, model, tmp_path / "t"), "begun otherwise"),
        (("kafka://", model, tmp_path), "host"),
        (("ftp://host/x", model, tmp_path), "ftp"),
        ((source, model, tmp_path, "-o", model), "Choose another -o"),
        ((source, model, tmp_path, "--chunk", "0"), "chunk"),
        ((source, model, tmp_path, "--shadow", "colour"), "shadow"),
    ):
        done = ran(*given, "--until-end")
        assert done.returncode not in (0, 1), (word, done.stderr)
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert not done.stdout


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 90
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_on_a_terminal_what_is_wrong_leaves_the_cursor(model: Path, tmp_path: Path) -> None:
    done, told = _on_a_terminal(command(tmp_path / "none", model, tmp_path))
    assert done.returncode == 2, told
    hidden, visible = told.count(b"\x1b[?25l"), told.count(b"\x1b[?25h")
    assert hidden == visible > 0
