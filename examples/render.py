"""Execute the notebooks, and keep their outputs and a picture of each for ``docs/examples.md``.

``python -m examples.render [NAME …]``, from the repository's root; all of them without a name.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
PICTURES = FOLDER.parent / "docs" / "examples"
#: Notebook → which of its pictures stands on the docs' page, counted from 0.
SHOWN = {"purchase_intent": 2, "top_n_online_retail": 0, "foreign_model": 0}


def executed(name: str, *further: str) -> Any:
    """Return a notebook with the outputs of a run in a new process.

    Args:
        name: of the notebook.
        further: code of cells that are added at the end.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised; its traceback is in the message.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in further]
    with tempfile.TemporaryDirectory() as state:
        client = NotebookClient(
            notebook,
            timeout=900,
            startup_timeout=300,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(FOLDER)}},
            # Over sockets in a folder of its own, which nobody else can listen to.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{state}/kernel"}}),
        )
        # What the user's own test rows have judged is not looked at, nor added to.
        client.execute(env={**os.environ, "XDG_STATE_HOME": state})
    notebook.metadata["language_info"] = {"name": "python"}  # the same on every machine
    return notebook


def pictures(notebook: Any) -> list[bytes]:
    """Return a notebook's pictures (PNG), in order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    found = (output.get("data", {}).get("image/png") for output in outputs)
    return [base64.b64decode(png) for png in found if png]


def main() -> None:
    """Execute and write."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or SHOWN:
        notebook = executed(name)
        nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        (PICTURES / f"{name}.png").write_bytes(pictures(notebook)[SHOWN[name]])
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
