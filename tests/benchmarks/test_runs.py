"""Running benchmarks: each once, whatever the others do, on from where a run was stopped."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.__main__ import main
from benchmarks._kept import kept
from benchmarks._runs import Outcome, Runner, table

from benchmarks import _runs

ROOT = Path(__file__).resolve().parents[2]
RESULT = {"quick": False, "full": False, "seconds": 2.0, "environment": {}, "claims": []}
#: What a benchmark of the tests does.
DOES = {
    "good": f"import json; print(json.dumps({RESULT | {'benchmark': 'good'}!r}))",
    "bad": "raise SystemExit(3)",
    "odd": "print('done')",
    "quick": f"import json; print(json.dumps({RESULT | {'benchmark': 'quick', 'quick': True}!r}))",
    "endless": "import time\nwhile True: time.sleep(1)",
}


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make benchmarks of the tests in the place of the real ones; return what their code is."""
    (folder := tmp_path / "benchmarks").mkdir()
    (folder / "__init__.py").touch()
    for name, code in DOES.items():
        count = f"open({str(tmp_path / 'calls')!r}, 'a').write({name + chr(10)!r})"
        (folder / f"{name}.py").write_text(f"{count}\n{code.replace('false', 'False')}\n")
    codes = dict.fromkeys(DOES, "first")
    known = {name: SimpleNamespace(minutes=1.0) for name in DOES}
    monkeypatch.setattr(_runs, "ROOT", tmp_path)
    monkeypatch.setattr(_runs, "benchmarks", lambda: known)
    monkeypatch.setattr(_runs, "fingerprint", lambda name, settings: codes[name] + settings[-1])
    return codes


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().split()


def test_one_that_fails_does_not_stop_the_others(marks: dict[str, str], tmp_path: Path) -> None:
    found = Runner(folder=tmp_path / "results").run(["bad", "odd", "quick", "good"])
    assert [one.status for one in found] == [
        "failed, exit code 3",
        *["printed something else than a result"] * 2,
        "done",
    ]
    assert [path.name for path in (tmp_path / "results").glob("*.json")] == ["good.json"]


def test_what_is_finished_runs_again_by_name_or_with_other_code(
    marks: dict[str, str], tmp_path: Path
) -> None:
    def run(**how: Any) -> str:
        return Runner(folder=tmp_path / "results", **how).run(["good"])[0].status

    assert [run(), run()] == ["done", "kept"]
    assert run(again=frozenset({"good"})) == "done"
    marks["good"] = "second"
    assert [run(), run()] == ["done", "kept"]
    assert calls(tmp_path) == ["good"] * 3
    # A quick run has results of its own, and this one says that it is none.
    assert run(quick=True) == "printed something else than a result"
    assert run() == "kept"


def test_tries_that_were_stopped_count_into_the_seconds(
    marks: dict[str, str], tmp_path: Path
) -> None:
    (results := tmp_path / "results").mkdir()
    (results / "good.spent").write_text(json.dumps({"code": "firstwhole", "seconds": 40.0}))
    assert Runner(folder=results).run(["good"]) == [Outcome("good", 42.0, "done")]
    result = json.loads((results / "good.json").read_text())
    assert (result["seconds"], result["code"]) == (42.0, "firstwhole")
    # Those of other code do not.
    (results / "good.spent").write_text(json.dumps({"code": "zero", "seconds": 40.0}))
    again = Runner(folder=results, again=frozenset({"good"})).run(["good"])
    assert again == [Outcome("good", 2.0, "done")]


def test_one_that_does_not_end_is_ended(
    marks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_runs, "NOTE", 0.05)
    monkeypatch.setattr(_runs, "PATIENCE", 0.0)
    monkeypatch.setattr(_runs, "LEAST_LIMIT", 0.0)
    (one,) = Runner(folder=tmp_path / "results").run(["endless"])
    assert one.status.startswith("stopped after")
    # What it took is known to the next try.
    assert json.loads((tmp_path / "results" / "endless.spent").read_text())["seconds"] > 0


def test_the_table_tells_name_seconds_and_status() -> None:
    text = table([Outcome("a", 3.2, "done"), Outcome("longer", 10, "failed, exit code 1")])
    assert text.splitlines() == [
        "benchmark  seconds  status",
        "a                3  done",
        "longer          10  failed, exit code 1",
        "all             13  1 of 2 done",
    ]


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["nothing"], ["--again", "nothing"]):
        with pytest.raises(SystemExit) as error:
            main(["run", *option])
        assert error.value.code == 2
    assert "There are: budget, catalogue" in capsys.readouterr().err


def test_packages_that_are_missing_are_named_in_one_line(tmp_path: Path) -> None:
    script = ROOT / ".ci" / "system-packages"
    done = subprocess.run([script, "no-such-package"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no-such-package" in done.stderr
    # Nothing is found on an empty path, and who is not root cannot install.
    for name in ("bash", "tr", "id", "ldconfig"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if name != "ldconfig" else "/sbin/ldconfig")
    (tmp_path / "id").unlink()
    (tmp_path / "id").write_text("#!/bin/bash\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    env = {"PATH": str(tmp_path)}
    done = subprocess.run(
        [script, "wrk", "redis-server"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "apt-get install wrk redis-server" in done.stderr


def test_what_takes_minutes_to_make_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make(folder: Path) -> None:
        (folder / "model").touch()
        made.append(folder)

    made: list[Path] = []
    settings = ("a=1", "a=1", "a=2")
    found = [kept("model", [setting], make) for setting in settings]
    assert found[0] == found[1] != found[2]
    assert len(made) == 2
    assert all((folder / "model").exists() for folder in found)
