"""librdkafka's mock cluster in a process of its own, over TCP; its brokers go down and up on request.

``python -m tests.streaming.kafka_mock`` prints the brokers' addresses, and then does what each line
on its standard input says, ``down``, ``up`` or ``topic NAME PARTITIONS``, and answers with the line.
It is the mock that librdkafka tests its own clients with, not Apache Kafka: events are in memory,
and a partition keeps the last 5 MB of them.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import confluent_kafka

BROKERS = 3
PRODUCER = 0


def library() -> ctypes.CDLL:
    """Return the librdkafka that confluent_kafka brought along."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    return ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))


def main() -> None:
    kafka = library()
    kafka.rd_kafka_new.restype = ctypes.c_void_p
    kafka.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    kafka.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
    kafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    kafka.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
    error = ctypes.create_string_buffer(512)
    handle = kafka.rd_kafka_new(PRODUCER, None, error, len(error))
    cluster = kafka.rd_kafka_mock_cluster_new(handle, BROKERS)
    print(kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    changes = {"down": kafka.rd_kafka_mock_broker_set_down, "up": kafka.rd_kafka_mock_broker_set_up}
    for change in changes.values():
        change.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    kafka.rd_kafka_mock_topic_create.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
    ]
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "topic":
            kafka.rd_kafka_mock_topic_create(cluster, rest[0].encode(), int(rest[1]), 1)
        else:
            for broker in range(1, BROKERS + 1):
                changes[word](cluster, broker)
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
