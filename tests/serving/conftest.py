"""What the service's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .living import Living, Place, living, make_place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A shop on disk."""
    return make_place(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def service(place: Place) -> Iterator[Living]:
    """A service of one worker that all tests share; change nothing about it."""
    with living(place) as running:
        yield running
