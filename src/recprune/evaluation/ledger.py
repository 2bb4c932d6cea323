"""How often a set of test rows has been used to judge models."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recprune.errors import RecpruneWarning

__all__ = ["TestUses"]


class TestUses:
    """A small file that remembers which models each set of test rows has judged.

    Repeating the same comparison is no new use; another model is. The file lies under
    ``$XDG_STATE_HOME/recprune`` (default ``~/.local/state/recprune``). Where it cannot be written
    the count is of this process alone.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(self, path: Path | None = None) -> None:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self.path = path or home / "recprune" / "test_uses.json"

    def count(self, label: NDArray[np.floating], full: NDArray[np.floating], model: bytes) -> int:
        """Record a use and return the number of models these rows have judged.

        Args:
            label: the test labels in order, which tell sets of rows apart.
            full: the reference's scores on them, one a row; the reference may be trained anew
                without making the rows fresh, so their values do not count.
            model: bytes that tell the judged model apart.

        Warns:
            RecpruneWarning: more than one model was judged on these rows: the best of several
                looks better than it is.
        """
        rows = hashlib.sha256(np.ascontiguousarray(label).tobytes() + str(len(full)).encode())
        key, judged = rows.hexdigest()[:16], hashlib.sha256(model).hexdigest()[:16]
        known = self._read()
        models = known.setdefault(key, [])
        if judged not in models:
            models.append(judged)
            self._write(known)
        if len(models) > 1:
            warnings.warn(
                f"These test rows have judged {len(models)} models. The best of several looks "
                "better than it is: keep other rows for the last word.",
                RecpruneWarning,
                stacklevel=2,
            )
        return len(models)

    def _read(self) -> dict[str, list[str]]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {k: v for k, v in data.items() if isinstance(v, list)}

    def _write(self, known: dict[str, list[str]]) -> None:
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(known), encoding="utf-8")
            partial.replace(self.path)
        except OSError:
            # What cannot be written may not be removable either, or not be there.
            with contextlib.suppress(OSError):
                partial.unlink()
