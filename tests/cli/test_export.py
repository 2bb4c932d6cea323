"""``recprune export`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from recprune.artifact import write_artifact
from recprune.cli.main import main
from tests.runtime.drafts import MODELS, random_model
from tests.runtime.factory import MIXED, random_encoder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["shared"], 0, cut=("row",))
    folder = tmp_path / "run"
    folder.mkdir()
    write_artifact(folder, artifact, "0.1.0")
    return folder


def recprune(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["recprune", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_file_is_written_and_described(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = run.parent / "out" / "model.onnx"
    assert recprune(monkeypatch, "export", run, "-o", target, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(target)
    assert told["bytes"] == target.stat().st_size
    assert told["labels"] == ["click", "purchase", "return"]
    assert 0 <= told["largest_difference"] < 1e-5
    onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])


def test_a_damaged_run_is_bad_input_and_leaves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "vocab.zlib").write_bytes(b"")
    target = run.parent / "model.onnx"
    assert recprune(monkeypatch, "export", run, "-o", target) == 2
    assert "vocab.zlib does not match" in capsys.readouterr().err
    assert not target.exists()
