"""``recprune doctor``: is a profile of this machine there?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recprune.cli.main import main
from recprune.pipeline import HostProfile
from recprune.pipeline.work import MANY, ONE


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
