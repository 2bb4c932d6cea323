"""How often a set of test rows has been used to judge models."""

from __future__ import annotations

import contextlib
import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recprune.errors import RecpruneWarning
from recprune.folders import state_folder

__all__ = ["TestUses"]

NAME = re.compile("[0-9a-f]{16}")


class TestUses:
    """Remembers which models each set of test rows has judged.

    Repeating the same comparison is no new use; another model is. A use is an empty file, named by
    the model, in a folder named by the rows: writing one needs no other one read, so that several
    processes may write at once, and none can be damaged. The folders lie under
    ``$XDG_STATE_HOME/recprune/test_uses`` (default ``~/.local/state/recprune/test_uses``). What
    cannot be written there is not remembered.

    Args:
        path: another folder.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_folder("test_uses")

    def count(self, label: NDArray[np.floating], model: bytes) -> int:
        """Record a use and return the number of models these rows have judged.

        Args:
            label: the test labels in order, which tell sets of rows apart.
            model: bytes that tell the judged model apart.

        Warns:
            RecpruneWarning: more than one model was judged on these rows: the best of several
                looks better than it is.
        """
        # The reference may be trained anew without making the rows fresh: it does not count.
        rows = hashlib.sha256(np.asarray(label, np.float32).tobytes()).hexdigest()[:16]
        judged = hashlib.sha256(model).hexdigest()[:16]
        folder = self.path / rows
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / judged).touch()
        known = {judged}
        with contextlib.suppress(OSError):
            known |= {each.name for each in folder.iterdir() if NAME.fullmatch(each.name)}
        if len(known) > 1:
            warnings.warn(
                f"These test rows have judged {len(known)} models. The best of several looks "
                "better than it is: keep other rows for the last word.",
                RecpruneWarning,
                stacklevel=2,
            )
        return len(known)
