"""A source is named by a text, and told plainly what is wrong with it; no password is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recprune.errors import GapError, InputError, MissingExtra
from recprune.streaming.sources import open_source
from recprune.streaming.sources.folder import Folder
from recprune.streaming.sources.kafka import Kafka

from .brokers import KafkaFeed, KafkaMock
from .test_sources import payloads


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("kafca://host/topic", "no source kafca://.*Did you mean 'kafka'"),
        ("kafka://host:9092", "names no topic"),
        ("kafka://host:9092/a/b", "names no topic"),
        ("kafka:///topic", "names no host"),
        (
            "kafka://host/topic?holes&propertys=x",
            "no option 'propertys'.*Did you mean 'properties'",
        ),
        ("kafka://host/topic?properties=/no/such/file", "Kafka's properties cannot be read"),
        ("redis://host:6379/0", "names no stream"),
        ("redis://host:6379/0?stream=a&password=sesame", "no option 'password'"),
        ("redis://host:port/0?stream=a", "settings are wrong"),
        ("kafka://ann:sesame@host/topic", "without a user and password.*file of properties"),
        ("redis://:sesame@host/0?stream=a", "without a user and password.*RECPRUNE_REDIS_PASSWORD"),
        ("redis://[host/0?stream=a", "cannot be read"),
        ("/no/such/folder", "cannot be read: No such file"),
        ("folder?numberd", "no option 'numberd'"),
    ],
)
def test_what_is_wrong_is_told(text: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong) as caught:
        open_source(text, patience=0.1)
    assert "sesame" not in str(caught.value)


def test_a_folder_is_a_path(tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / f"{number}.jsonl").write_bytes(b"{}\n")
    assert isinstance(open_source(str(tmp_path)), Folder)
    assert len(open_source(str(tmp_path)).read("all", None, 9)) == 2
    with pytest.raises(GapError):
        open_source(f"{tmp_path}?numbered").read("all", None, 9)


def test_properties_of_kafka_come_from_a_file(
    kafka_mock: KafkaMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = KafkaFeed(kafka_mock, "with-properties", 1)
    feed.write("0", payloads(5))
    file = tmp_path / "kafka.properties"
    file.write_text("# for tests\n\nclient.id = tests\nfetch.wait.max.ms=50\n")
    source = open_source(f"{feed.text}?properties={file}")
    assert source.read("0", None, 9).payloads == payloads(5)
    source.close()
    monkeypatch.setenv("RECPRUNE_KAFKA_PROPERTIES", str(file))
    for line, wrong in {
        "enable.auto.commit=true": "'enable.auto.commit' is recprune's to set",
        "no.such.thing=1": "Kafka's properties are wrong.*no.such.thing",
        "nothing": "line 1: no name=value",
        "security.protocol=sasl_ssl": "Kafka's properties are wrong",
    }.items():
        file.write_text(line)
        with pytest.raises(InputError, match=wrong):
            open_source(feed.text, patience=0.1)


def test_a_topic_that_is_not_there_is_told(kafka_mock: KafkaMock) -> None:
    with pytest.raises(InputError, match="has no topic"):
        open_source(f"kafka://{kafka_mock.brokers}/{'x' * 300}")


def test_offsets_that_are_left_out_are_a_gap_unless_allowed(
    kafka_mock: KafkaMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in topics that are compacted, or written by transactions; the mock leaves out none."""
    feed = KafkaFeed(kafka_mock, "holes", 1)
    feed.write("0", payloads(6))
    whole = Kafka._messages

    def some(*args: Any) -> list[Any]:
        return [message for message in whole(*args) if message.offset() not in (2, 3)]

    monkeypatch.setattr(Kafka, "_messages", some)
    with pytest.raises(GapError, match=r"offsets 2 to 3 of topic.*allow holes"):
        open_source(feed.text).read("0", None, 9)
    source = open_source(f"{feed.text}?holes")
    read = source.read("0", None, 9)
    assert read.payloads == [*payloads(2), *payloads(2, 4)]
    assert open_source(f"{feed.text}?holes").read("0", read.positions[1], 9).payloads == payloads(
        2, 4
    )


@pytest.mark.parametrize(
    "text, module", [("kafka://h/t", "confluent_kafka"), ("redis://h/0?stream=a", "redis")]
)
def test_a_client_that_is_not_installed_is_named(
    text: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtra, match=r"recprune\[stream\]"):
        open_source(text)
