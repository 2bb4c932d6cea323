"""deploy/recprune@.service, as systemd reads it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app

FILE = Path(__file__).resolve().parents[2] / "deploy" / "recprune@.service"
MOST_EXPOSED = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit of one port, whose program is there."""
    text = FILE.read_text("utf-8")
    assert "/opt/recprune/bin/recprune " in text
    unit = tmp_path / "recprune@8001.service"
    unit.write_text(text.replace("/opt/recprune/bin/recprune", sys.executable), "utf-8")
    return unit


def analysed(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_no_fault_in_it(unit: Path) -> None:
    found = analysed("verify", str(unit))
    assert (found.returncode, found.stderr) == (0, "")
    broken = unit.with_name("broken@1.service")
    broken.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=never"))
    assert "kill mode" in analysed("verify", str(broken)).stderr


def test_it_is_hardened(unit: Path) -> None:
    def exposure(most: float) -> int:
        limit = f"--threshold={int(10 * most)}"
        return analysed("security", "--offline=true", "--no-pager", limit, str(unit)).returncode

    assert exposure(MOST_EXPOSED) == 0
    assert exposure(0.5) != 0


def test_its_options_are_those_of_the_program() -> None:
    line = next(n for n in FILE.read_text("utf-8").splitlines() if n.startswith("ExecStart="))
    options = [word for word in line.split() if word.startswith("--")]
    told = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert len(options) > 8
    assert [option for option in options if option not in told] == []
