"""A state folder in which this machine was measured already: searches need not wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recprune.pipeline import HostProfile
from recprune.pipeline.work import MANY, ONE

__all__ = ["with_profile"]


def with_profile(state: Path) -> str:
    """Write a made-up profile into a state folder; return the folder as text."""
    one, many = dict.fromkeys(ONE, 0.01), dict.fromkeys(MANY, 0.5)
    profile = HostProfile("made up", "0", True, one, many, {"1": 0.0, "1000": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        profile.save(HostProfile.place())
    return str(state)
