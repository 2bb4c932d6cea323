"""Brokers that tests start and stop, and one way to write the same events to any kind of source."""

from __future__ import annotations

import gzip
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import confluent_kafka
import redis

ROOT = Path(__file__).resolve().parents[2]


class Feed(Protocol):
    """Writes events to a source.

    Attributes:
        text: that names the source.
        partitions: its partitions, in order.
    """

    text: str
    partitions: tuple[str, ...]

    def write(self, partition: str, payloads: Sequence[bytes]) -> None:
        """Add events to a partition."""

    def expire(self, partition: str, count: int) -> None:
        """Let retention take at least so many events, from the first one on, but not all."""


class RedisServer:
    """A real redis-server that writes every command to its disk (AOF) before it answers."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._arguments = (
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder), *arguments),
        )
        self.start()

    def client(self, **settings: str) -> redis.Redis:
        return redis.Redis(port=self.port, **settings)  # type: ignore[arg-type]

    def start(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.DEVNULL)
        for _ in range(600):
            # Until it has read its files, too: of many entries sent before, some would be refused.
            try:
                with self.client() as asked:
                    asked.ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        """As a crash does: with SIGKILL."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()


class KafkaMock:
    """See :mod:`tests.streaming.kafka_mock`; ``kill`` and ``start`` take all brokers down and up."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.streaming.kafka_mock"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.brokers = self._process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == line

    def kill(self) -> None:
        self.tell("down")

    def start(self) -> None:
        self.tell("up")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class FolderFeed:
    """A folder of segments, one a writing, every other one compressed."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.text, self.partitions = str(folder), tuple(f"p{i}" for i in range(partitions))
        self._numbers = {p: itertools.count() for p in self.partitions}
        for partition in self.partitions:
            (folder / partition).mkdir(parents=True)

    def write(self, partition: str, payloads: Sequence[bytes]) -> None:
        number = next(self._numbers[partition])
        data = b"".join(payload + b"\n" for payload in payloads)
        suffix = ".jsonl.gz" if number % 2 else ".jsonl"
        place = Path(self.text) / partition
        hidden = place / f".{number}"
        hidden.write_bytes(gzip.compress(data) if number % 2 else data)
        hidden.rename(place / f"{number:08}{suffix}")

    def expire(self, partition: str, count: int) -> None:
        first = min((Path(self.text) / partition).iterdir())
        first.unlink()


class KafkaFeed:
    """A topic of its own."""

    def __init__(self, mock: KafkaMock, topic: str, partitions: int) -> None:
        mock.tell(f"topic {topic} {partitions}")
        self._topic = topic
        self.text = f"kafka://{mock.brokers}/{topic}"
        self.partitions = tuple(map(str, range(partitions)))
        settings = {"bootstrap.servers": mock.brokers, "enable.idempotence": True, "log_level": 0}
        self._producer = confluent_kafka.Producer(settings)

    def write(self, partition: str, payloads: Sequence[bytes]) -> None:
        for i, payload in enumerate(payloads):
            self._producer.produce(self._topic, payload, partition=int(partition))
            if i % 1_000 == 0:
                self._producer.poll(0)
        self._producer.flush()

    def expire(self, partition: str, count: int) -> None:
        filler = b'{"event": "filler", "clicked": 0, "other": "%s"}' % (b"x" * 900_000)
        for _ in range(7):  # beyond 5 MB the mock drops the oldest
            self.write(partition, [filler])


class RedisFeed:
    """Streams of its own."""

    def __init__(self, server: RedisServer, name: str, partitions: int) -> None:
        self._server = server
        self.partitions = tuple(f"{name}{i}" for i in range(partitions))
        query = "&".join(f"stream={p}" for p in self.partitions)
        self.text = f"redis://127.0.0.1:{server.port}/0?{query}"

    def write(self, partition: str, payloads: Sequence[bytes]) -> None:
        with self._server.client() as client, client.pipeline(transaction=False) as asked:
            for payload in payloads:
                asked.xadd(partition, {"event": payload})
            asked.execute()

    def expire(self, partition: str, count: int) -> None:
        with self._server.client() as client:
            length = client.xlen(partition)
            client.xtrim(partition, maxlen=length - count, approximate=False)
