"""``recprune doctor``: is a profile of this machine there, and is what each extra brings?"""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from recprune._support import BROUGHT
from recprune.cli.main import main
from recprune.pipeline import HostProfile
from recprune.pipeline.work import MANY, ONE
from tests.cli.inside import inside

ROOT = Path(__file__).resolve().parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]["optional-dependencies"]
#: Modules that go by another name than what brings them.
BROUGHT_BY = {"sklearn": "scikit-learn", "scipy": "scikit-learn", "starlette": "fastapi"}
BROUGHT_BY |= {"prometheus_client": "prometheus-client", "jwt": "PyJWT"}


def test_doctor_measures_a_host_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, many = dict.fromkeys(ONE, 0.5), dict.fromkeys(MANY, 0.5)
    measured = HostProfile("a processor", "0.1.0", True, one, many, {"1": 0.1, "1000": 0.2})
    monkeypatch.setattr(HostProfile, "measure", lambda: measured)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def doctor(*arguments: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["recprune", "doctor", *arguments, "--json"])
        with pytest.raises(SystemExit):
            main()
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    assert doctor()["host_profile"] is None
    told = doctor("--profile", str(tmp_path / "host.json"))
    assert told["profile_errors"] == {"1": 0.1, "1000": 0.2}
    assert HostProfile.read(told["host_profile"]) == measured
    HostProfile.of_this_host()
    assert doctor()["host_profile"] == str(HostProfile.place())


def test_an_extra_is_there_if_all_that_it_brings_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    told = json.loads(inside("doctor", "--json").stdout)["extras"]
    assert set(told) == set(EXTRAS)
    without = {"serve", "sql", "export"}
    assert {extra for extra, state in told.items() if state == "installed"} == without
    assert told["trees"] == "not installed: pip install 'recprune[trees]'"


@pytest.mark.parametrize("module", sorted(BROUGHT))
def test_the_extra_that_is_named_brings_the_module(module: str) -> None:
    wanted = BROUGHT_BY.get(module, module)
    assert any(line.startswith(f"{wanted}>") for line in EXTRAS[BROUGHT[module]])
