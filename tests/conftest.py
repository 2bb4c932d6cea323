"""What all tests share: the data folder beside the repository, and how hypothesis searches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# No deadline: a slow machine is no defect. Repeatable in CI: a red run can be looked into.
settings.register_profile("local", deadline=None, max_examples=60)
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session", autouse=True)
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor add to what the user's own test rows have judged.

    Nor do they measure this machine: its profile is a made-up one.
    """
    from tests.host import with_profile

    with pytest.MonkeyPatch.context() as patch:
        state = tmp_path_factory.mktemp("state-of-tests")
        patch.setenv("XDG_STATE_HOME", with_profile(state))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets that lies beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared data sets are not beside the repository ({SHARED_DATA})")
    return SHARED_DATA
