"""The reference of the command line, written by typer from the program itself."""

from __future__ import annotations

import html
import re
from typing import Any

from typer.cli import app as typer_app
from typer.main import get_command
from typer.testing import CliRunner

__all__ = ["render"]

LITERAL = re.compile(r"(?<!`)``(?!`)")
HEAD = """# Command line

Written from the program when this site is built; `recprune VERB --help` says the same. Rows come
first and `-o` names what is written. Logs and progress go to stderr; `--json` prints one object on
stdout and nothing else.

| exit code | means |
|---|---|
| 0 | done; where there is a verdict: PASS |
| 1 | the run failed |
| 2 | bad usage or bad input |
| 3 | the verdict is not PASS, or the budget was not met |

| verb | what it does |
|---|---|
"""


def render() -> str:
    """Return the page: all verbs, in the order of the help, with every option."""
    from recprune.cli import app

    asked = ["recprune.cli.main", "utils", "docs", "--name", "recprune"]
    told = CliRunner().invoke(typer_app, asked, catch_exceptions=False)
    _, _, rest = told.output.partition("**Options**:\n")
    options, _, verbs = rest.partition("## `")
    program: Any = get_command(app)
    rows = [
        f"| [`{name}`](#recprune-{name}) | {_first(verb.help)} |"
        for name, verb in program.commands.items()
    ]
    general = options.partition("**Commands**")[0].strip()
    page = [HEAD + "\n".join(rows), "## Options of all verbs", general, "## `" + verbs.strip()]
    return "\n\n".join(_plain(part) for part in page) + "\n"


def _first(text: str) -> str:
    """Return a help text's first sentence."""
    flat = " ".join(text.split())
    return re.split(r"(?<=[.?])\s", flat)[0].replace("|", "\\|")


def _plain(text: str) -> str:
    """Undo typer's entities, which code shows as they are, and Sphinx's quotes of literals."""
    return LITERAL.sub("`", html.unescape(text))
