"""A verb's records become its options, and come back as records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from recprune.cli._expand import expanded


@dataclass(frozen=True)
class Base:
    shade: Annotated[str | None, typer.Option("--shade", help="Of the colour.")] = None


@dataclass(frozen=True)
class Paint(Base):
    colour: Annotated[str, typer.Option("--colour")] = "red"


def test_options_of_records_are_typed_and_grouped() -> None:
    seen = []

    def verb(name: Annotated[str, typer.Argument()], paint: Paint, loud: bool = False) -> None:
        """Paint something."""
        seen.append((name, paint, loud))

    app = typer.Typer()
    app.command()(expanded(verb))
    run = CliRunner().invoke(app, ["wall", "--shade", "dark", "--loud"])
    assert run.exit_code == 0, run.output
    assert seen == [("wall", Paint("dark", "red"), True)]
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Paint something." in shown
    assert shown.index("--colour") < shown.index("--shade")
