"""Erasures in processes of their own, which end at any step."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from recprune.erasure import forget
from tests.erasure.keys import KEY, MASTER
from tests.forked import Mortal, Steps

__all__ = ["erasure"]


def erasure(user: str, folder: Path, last: int = 0) -> Mortal:
    """Begin an erasure that ends at its n-th step: a file or folder linked, written, moved or removed."""
    return Mortal(partial(_erase, user, folder), last)


def _erase(user: str, folder: Path, steps: Steps) -> None:
    steps.count(Path, "write_bytes", "write_text", "rename", "replace", "unlink", "mkdir")
    steps.count(shutil, "rmtree", "copymode")
    steps.count(os, "link", "unlink", "rmdir")
    forget(user, [folder], key=KEY, master=MASTER)
