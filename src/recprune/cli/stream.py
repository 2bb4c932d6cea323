"""``recprune stream``: a model that learns from events as they come."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune._support import byte_count
from recprune.cli._options import Json, MasterKeyFile, emit
from recprune.errors import ParameterError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from recprune.streaming import People, Running, Summary

METRICS = "metrics.prom"


@dataclass(frozen=True)
class Columns:
    """Columns of the events that the model does not name."""

    id: Annotated[
        str | None, typer.Option("--id", help="Column that tells events apart; default: all.")
    ] = None
    shadow: Annotated[
        list[str] | None,
        typer.Option(
            "--shadow",
            help="Column that the model does not read, watched for beginning to matter; default: "
            "those pruned from it. Repeat.",
        ),
    ] = None


@dataclass(frozen=True)
class Taking:
    """How events are taken."""

    until_end: Annotated[
        bool, typer.Option("--until-end", help="End where the source has no more; else wait.")
    ] = False
    chunk: Annotated[int, typer.Option("--chunk", help="Events read together.")] = 32_768
    commit: Annotated[
        int, typer.Option("--commit", help="Events after which all becomes lasting.")
    ] = 131_072
    remember: Annotated[
        int, typer.Option("--remember", help="Latest events that are known when sent again.")
    ] = 1_000_000
    linger: Annotated[
        float, typer.Option("--linger", help="Seconds that a chunk waits to be full.")
    ] = 1.0


@dataclass(frozen=True)
class Serving:
    """When a model is served."""

    every: Annotated[
        int, typer.Option("--publish-every", help="Events after which a candidate is frozen.")
    ] = 500_000
    judged: Annotated[int, typer.Option("--judged-by", help="Events after it that judge it.")] = (
        100_000
    )
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop of AUC below the first model.")
    ] = 0.002


@dataclass(frozen=True)
class Users:
    """Who is left out, and how users are named."""

    erasure_key_file: Annotated[
        Path | None,
        typer.Option(
            "--erasure-key-file",
            help="Key of this machine's list of erased users; else $RECPRUNE_ERASURE_KEY.",
        ),
    ] = None
    pseudonym_key_file: Annotated[
        Path | None,
        typer.Option(
            "--pseudonym-key-file", help="Hash users with this key, as the model's data were."
        ),
    ] = None
    pseudonymise: Annotated[
        bool, typer.Option("--pseudonymise", help="Likewise, key from $RECPRUNE_PSEUDONYM_KEY.")
    ] = False


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of segments, kafka://host:port/topic, or redis://host:port/0?stream=name."
        ),
    ],
    model: Annotated[
        Path, typer.Option("--model", help="Folder of the model it begins with, and is held to.")
    ],
    state: Annotated[Path, typer.Option("--state", help="Folder of what it has come to.")],
    columns: Columns,
    taking: Taking,
    serving: Serving,
    users: Users,
    publish: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the model that is served.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--bytes", help="Memory of the rows of all fields, as 64MB.")
    ] = "64MB",
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Of the dense layers; rows take 50 times.")
    ] = 1e-3,
    half_life: Annotated[
        int, typer.Option("--half-life", help="Events after which a use of a row counts half.")
    ] = 200_000,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    master_key_file: MasterKeyFile = None,
    as_json: Json = False,
) -> int:
    """Learn from events as they come; each counts once, wherever the process is killed."""
    from recprune.crypto import read_key
    from recprune.streaming import (
        Learning,
        Pace,
        Publishing,
        StreamSettings,
        Watching,
        open_stream,
    )

    if not 1 <= serving.judged < serving.every:
        constraint = f"at least 1 and below --publish-every ({serving.every:,})"
        raise ParameterError.of("--judged-by", "stream", constraint, serving.judged)
    settings = StreamSettings(
        columns.id,
        None if columns.shadow is None else tuple(columns.shadow),
        Learning(
            bytes=byte_count(memory, "stream", "--bytes"),
            learning_rate=learning_rate,
            half_life=half_life,
        ),
        Pace(taking.chunk, taking.remember, taking.commit, taking.linger),
        Publishing(serving.every, serving.judged, serving.tolerance, seed),
        Watching(seed=seed),
    )
    master = None if master_key_file is None else read_key("master", master_key_file)
    shown = _Shown(state / METRICS)
    try:
        running = open_stream(
            source, model, state, publish, settings, _people(users),
            until_end=taking.until_end, master=master, at_commit=shown,
        )  # fmt: skip
        with running, _ended_by_signals(running, shown):
            summary = running.run()
    finally:
        shown.end()
    emit(summary.to_json(), as_json, None if as_json else _table(summary))
    return 0


@contextlib.contextmanager
def _ended_by_signals(running: Running, shown: _Shown) -> Iterator[None]:
    """Let Ctrl-C and a service manager's stop end the stream after a last commit; a second one, at once."""
    before: dict[int, Any] = {}
    asked = False

    def stop(number: int, _: object) -> None:
        nonlocal asked
        if asked:  # not by an exception, which would wait for who reads from a broker that is away
            shown.abandon()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        asked = True
        running.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.getsignal(number)
        signal.signal(number, stop)
    try:
        yield
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)


def _people(users: Users) -> People:
    from recprune.crypto import Pseudonymiser
    from recprune.data.erased import Erased
    from recprune.streaming import People

    wanted = users.pseudonymise or users.pseudonym_key_file is not None
    pseudonyms = Pseudonymiser.read(users.pseudonym_key_file) if wanted else None
    return People(Erased.by_default(users.erasure_key_file), pseudonyms)


class _Shown:
    """Writes the metrics at each commit, and on a terminal says how it goes."""

    def __init__(self, file: Path) -> None:
        self.file, self.status = file, None
        if sys.stderr.isatty():
            from rich.console import Console

            self.status = Console(stderr=True).status("reading")
            self.status.start()

    def __call__(self, running: Running) -> None:
        from recprune.streaming import write_metrics

        write_metrics(running, self.file)
        if self.status is not None:
            flow, figures = running.flow, running.watch.figures()
            waiting = "" if flow.lag is None else f", {flow.lag:,} waiting"
            known = "auc" in figures  # not before both labels came
            auc = f"; AUC {figures['auc']:.4f} before learning from each" if known else ""
            self.status.update(
                f"{running.counts['counted']:,} events, {flow.rate:,.0f} a second{waiting}{auc}"
            )

    def abandon(self) -> None:
        """Give the terminal its cursor back, whatever is being written."""
        if self.status is not None:
            self.status.console.show_cursor()

    def end(self) -> None:
        """Clear the terminal's line."""
        if self.status is not None:
            self.status.stop()


def _table(summary: Summary) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title="The stream", title_justify="left", show_header=False)
    names = {"read": "events read", "counted": "learned from", "dead": "dead letters"}
    names |= {"repeated": "sent again", "erased": "of erased users"}
    for name, count in summary.counts.items():
        table.add_row(names[name], f"{count:,}")
    table.add_section()
    for name, value in summary.figures.items():
        if "." not in name:  # those of one field stand below
            table.add_row(name.replace("_", " "), _number(value))
    table.add_section()
    table.add_row("events a second", f"{summary.flow.rate:,.0f}")
    table.add_row("hash", summary.hash[:16])
    parts: list[Any] = [table, _fields(summary.figures)]
    if summary.alarms or summary.publications:
        happened = Table("event", "what", "how it was", title="What happened", title_justify="left")
        rows = [(a.event, f"{a.kind}: {a.field or 'all'}", _told(a.detail)) for a in summary.alarms]
        rows += [
            (
                p.event,
                "model published" if p.published else "model held back",
                str(p.against_reference or "events of one class"),
            )
            for p in summary.publications
        ]
        for event, what, how in sorted(rows):
            happened.add_row(f"{event:,}", Text(what), Text(how))
        parts.append(happened)
    return Group(*parts)


def _fields(figures: Mapping[str, float]) -> Table:
    from rich.table import Table

    table = Table(
        "field", "importance", "±", "PSI", "would add", title="Fields", title_justify="left"
    )
    columns = ("importance", "importance_error", "psi", "shadow")
    known = (name.partition(".")[::2] for name in figures)
    for field in dict.fromkeys(rest for kind, rest in known if kind in columns):
        values = (figures.get(f"{kind}.{field}") for kind in columns)
        table.add_row(field, *("" if v is None else _number(v) for v in values))
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def _told(detail: Any) -> str:
    return ", ".join(
        f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in detail.items()
    )
