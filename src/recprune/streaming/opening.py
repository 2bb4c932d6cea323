"""A stream from what a user names: a source, a model, and where its state and its models go."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from recprune.artifact import CONFIG, Artifact, read_artifact
from recprune.crypto import Pseudonymiser
from recprune.data.erased import Erased
from recprune.envelope import folder_reader, is_sealed
from recprune.envelope.keys import master_of
from recprune.errors import InputError, ParameterError
from recprune.streaming.events import EventReader
from recprune.streaming.forms import Forms
from recprune.streaming.learner import Learner
from recprune.streaming.newcomers import Newcomers
from recprune.streaming.publishing import Publisher, Publishing
from recprune.streaming.reading import Reading
from recprune.streaming.running import Running
from recprune.streaming.sources import Source, open_source
from recprune.streaming.state import StreamState
from recprune.streaming.taking import Pace
from recprune.streaming.watching import Watch, Watching

__all__ = ["Learning", "People", "StreamSettings", "open_stream"]


@dataclass(frozen=True)
class Learning:
    """How a model learns; see :class:`recprune.streaming.learner.Learner`.

    Args:
        bytes: of the rows of all fields.
        half_life: events after which a use of a row counts half.
        least: uses before a value may have a row.
        batch: events a step.
        learning_rate: of the dense layers; rows take fifty times that, first-order models 100.
    """

    bytes: int = 64_000_000
    half_life: int = 200_000
    least: int = 2
    batch: int = 1024
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class StreamSettings:
    """What a stream comes to depends on these, beside its events and its model.

    Args:
        id: key of an event's id; None = the whole event tells.
        shadows: columns that the model does not read, whose use is watched; None = those that were
            pruned from it.
        learning: how the model learns, and how many bytes its rows may take.
        pace: how events are taken.
        publishing: when a model is served.
        watching: how closely it is watched, and what alarms.
    """

    id: str | None = None
    shadows: tuple[str, ...] | None = None
    learning: Learning = field(default_factory=Learning)
    pace: Pace = field(default_factory=Pace)
    publishing: Publishing = field(default_factory=Publishing)
    watching: Watching = field(default_factory=Watching)


@dataclass(frozen=True)
class People:
    """Users of the events.

    Args:
        erased: are left out.
        pseudonyms: makes pseudonyms of ids; None = they stay as they are.
    """

    erased: Erased = field(default_factory=Erased)
    pseudonyms: Pseudonymiser | None = None


def open_stream(
    source: str | Source,
    model: Path | str,
    state: Path | str,
    publish: Path | str | None = None,
    settings: StreamSettings | None = None,
    people: People | None = None,
    *,
    until_end: bool = False,
    master: bytes | None = None,
    at_commit: Callable[[Running], None] | None = None,
) -> Running:
    """Open a stream; :meth:`Running.run` reads it.

    Args:
        source: a folder of segments, a Kafka topic, Redis streams; see
            :func:`recprune.streaming.sources.open_source`.
        model: folder of the artefact that it begins with, which is the reference of all that are
            published.
        state: folder of what it has come to; what is there is gone on from.
        publish: folder of the model that is served, sealed if ``model`` is; None = none is written.
        settings: see :class:`StreamSettings`.
        people: who is left out, and how users are named.
        until_end: whether to end where the source has no more, instead of waiting for more.
        master: key of a sealed model; None = that of the environment.
        at_commit: called after each commit.

    Raises:
        ArtifactError: the model is not sound.
        InputError: the state is another stream's, open elsewhere, or in the folder of the model; the
            source cannot be read; or ``publish`` is the folder of the model or of the state, or around
            one.
        ParameterError: a shadow that is a field of the model, or has another role.
    """
    settings, people = settings or StreamSettings(), people or People()
    if Path(state).resolve() == Path(model).resolve():
        raise InputError(
            f"The state of a stream would lie among the files of {str(model)!r}, the model that it "
            "begins with. Name another --state."
        )
    if publish is not None:
        _apart(Path(publish), Path(model), Path(state))
    read = folder_reader(model, master=master)
    reference = read_artifact(read)
    files = {name: read(name) for name in json.loads(read(CONFIG))["sha256"]}
    shadows = _shadows(settings, reference)
    opened = open_source(source) if isinstance(source, str) else source
    try:
        lasting = StreamState(Path(state), _lasting(settings, reference, shadows, opened))
    except BaseException:
        opened.close()
        raise
    try:
        learner = Learner(reference, **asdict(settings.learning))
        reader = _reader(settings, reference, shadows, people)
        reading = Reading(opened, reader, learner, settings.pace, until_end, shadows)
        schema = reference.encoder.schema
        dated = [field.name for field in schema.fields if field.of is not None]
        watch = Watch(schema.names, shadows, settings.watching, dated)
        folder = None if publish is None else Path(publish)
        key = master_of(Path(model), master) if is_sealed(model) else None
        publisher = Publisher(files, settings.publishing, folder, key)
        return Running(reading, learner, watch, publisher, lasting, at_commit)
    except BaseException:
        lasting.close()
        opened.close()
        raise


def _apart(publish: Path, model: Path, state: Path) -> None:
    """Refuse to write over what the stream begins with or goes on from."""
    out = publish.resolve()
    for path, what in ((model, "the model that it begins with"), (state, "its state")):
        if path.resolve().is_relative_to(out):
            raise InputError(
                f"A stream would publish over {what}: {str(path)!r} is, or lies in, "
                f"{str(publish)!r}. Choose another -o."
            )


def _shadows(settings: StreamSettings, reference: Artifact) -> tuple[str, ...]:
    """Return the columns to watch, by default those whose tables were cut."""
    schema = reference.encoder.schema
    if settings.shadows is None:
        gone = [n.removeprefix("rows.") for n in reference.layout.gone if n.startswith("rows.")]
        taken = {*schema.names, schema.label, settings.id, schema.user, schema.time}
        return tuple(name for name in gone if name not in taken)
    for name in settings.shadows:
        if name in schema.names:
            what = "columns that the model does not read"
            raise ParameterError.of("shadows", "StreamSettings", what, name)
        if name in (schema.label, settings.id):
            raise InputError(f"Column {name!r} has another role; it cannot be a shadow too.")
    return settings.shadows


def _reader(
    settings: StreamSettings, reference: Artifact, shadows: tuple[str, ...], people: People
) -> EventReader:
    schema = reference.encoder.schema
    columns = Forms(reference.encoder, shadows).columns
    for name in (schema.item, schema.time):
        if name is not None:
            columns.setdefault(name, pl.String())  # a time that is a field, too, is read as that
    derived = {field.name for field in schema.fields if field.of is not None}
    listed = Newcomers(reference).columns
    columns = {**{n: kind for n, kind in listed.items() if n not in derived}, **columns}
    return EventReader(
        columns,
        schema.label,
        settings.id,
        schema.user,
        people.erased,
        people.pseudonyms,
    )


def _lasting(
    settings: StreamSettings,
    reference: Artifact,
    shadows: tuple[str, ...],
    source: Source,
) -> dict[str, Any]:
    """Return what a state must have been begun with to go on."""
    pace = {name: value for name, value in asdict(settings.pace).items() if name != "linger"}
    return {
        "source": list(source.partitions),
        "label": reference.encoder.schema.label,
        "id": settings.id,
        "shadows": list(shadows),
        **asdict(settings.learning),
        **pace,
        **{f"publish.{name}": value for name, value in asdict(settings.publishing).items()},
        **{f"watch.{name}": value for name, value in asdict(settings.watching).items()},
    }
