"""Brokers that live as long as the tests of a process, and a feed to each kind of source."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .brokers import Feed, FolderFeed, KafkaFeed, KafkaMock, RedisFeed, RedisServer

_names = itertools.count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def kafka_mock() -> Iterator[KafkaMock]:
    mock = KafkaMock()
    yield mock
    mock.close()


@pytest.fixture(params=["folder", "kafka", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def broker(kind: str, request: pytest.FixtureRequest) -> KafkaMock | RedisServer | None:
    """The broker of a kind of source, which can be killed and started; a folder has none."""
    names = {"kafka": "kafka_mock", "redis": "redis_server"}
    found: KafkaMock | RedisServer | None = (
        request.getfixturevalue(names[kind]) if kind in names else None
    )
    return found


@pytest.fixture
def feed(broker: KafkaMock | RedisServer | None, tmp_path: Path) -> Callable[[int], Feed]:
    """Makes a feed of so many partitions to a new source of the kind."""

    def new(partitions: int) -> Feed:
        name = f"clicks{next(_names)}"
        if isinstance(broker, KafkaMock):
            return KafkaFeed(broker, name, partitions)
        if isinstance(broker, RedisServer):
            return RedisFeed(broker, name, partitions)
        return FolderFeed(tmp_path / name, partitions)

    return new
