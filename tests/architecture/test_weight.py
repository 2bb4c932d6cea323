"""What an import brings along: serving needs no training stack, and help needs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .plan import NAMES

TRAINING = {"torch", "polars", "narwhals", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow"}
LAZY = TRAINING | {"numba", "lightgbm", "cryptography"}


def loaded_after(code: str, folder: Path) -> set[str]:
    """Return the packages that are loaded after running ``code`` in an interpreter of its own."""
    ending = "\nimport json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    run = subprocess.run(
        [sys.executable, "-c", code + ending],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.skipif("runtime" not in NAMES, reason="this tree has no runtime")
def test_the_runtime_loads_no_training_stack(tmp_path: Path) -> None:
    loaded = loaded_after("import recprune.runtime", tmp_path)
    assert "recprune" in loaded
    assert not loaded & (LAZY | {"pydantic", "typer", "rich"})


def test_the_package_itself_loads_nothing(tmp_path: Path) -> None:
    assert not loaded_after("import recprune", tmp_path) & (LAZY | {"numpy"})


@pytest.mark.skipif("report" not in NAMES, reason="this tree has no report")
def test_the_report_loads_its_tools_on_use(tmp_path: Path) -> None:
    assert not loaded_after("import recprune.report", tmp_path) & LAZY


VERDICT = """
import numpy as np, recprune as rp
label = np.tile([0.0, 1.0], 100)
assert rp.verdict(label, label, label).outcome == "PASS"
"""


@pytest.mark.skipif("evaluation" not in NAMES, reason="this tree has no evaluation")
def test_a_verdict_on_plain_arrays_needs_no_training_stack(tmp_path: Path) -> None:
    assert not loaded_after(VERDICT, tmp_path) & {"torch", "sklearn", "matplotlib", "lightgbm"}


HELP = """
import contextlib, io, sys
from recprune.cli import main
sys.argv = ["recprune", *sys.argv[1:]]
text = io.StringIO()
with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    main()
assert "demo" in text.getvalue(), text.getvalue()
"""


@pytest.mark.skipif("cli" not in NAMES, reason="this tree has no command line")
def test_help_loads_no_training_stack(tmp_path: Path) -> None:
    code = HELP.replace("*sys.argv[1:]", "'--help'")
    assert not loaded_after(code, tmp_path) & LAZY


def test_every_public_name_is_found() -> None:
    import recprune

    assert set(recprune.__all__) == set(recprune._HOMES)
    assert set(dir(recprune)) >= set(recprune.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Datset'"):
        recprune.Datset  # noqa: B018
