"""What tests of whole benchmarks share: a full model that is trained in no time."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def small_settings() -> dict[str, Any]:
    """Settings of a small full model, as :func:`benchmarks._full_models.tuned` returns them."""
    sizes: dict[str, Any] = {"dim": 4, "hidden": (8, 4)}
    return {**sizes, "unseen_rare": True, "unknown_rate": 50.0, "l2": 0.3, "rate": 3e-3}
