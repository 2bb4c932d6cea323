"""The program ``recprune``: verbs, exit codes, and errors without tracebacks."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from typing import Any

import typer

from recprune._support import missing_extra
from recprune.cli._expand import expanded
from recprune.errors import RecpruneError, RecpruneWarning

__all__ = ["app", "main"]

#: One module a verb; each imports what it needs only when it is called.
VERBS = (
    "demo",
    "init",
    "run",
    "check",
    "ingest",
    "train",
    "tune",
    "rank",
    "prune",
    "evaluate",
    "compare",
    "minimise",
    "recommend",
    "serve",
    "stream",
    "export",
    "forget",
    "inspect",
    "seal",
    "unseal",
    "reseal",
    "doctor",
)
#: Verbs that have verbs of their own.
GROUPS = ("keys",)
#: What typer makes of Ctrl-C: the exit code of programs that were.
INTERRUPTED = 130


def _version(asked: bool) -> None:
    if asked:
        from recprune import __version__

        print(f"recprune {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="recprune",
    help="Make a recommender small and fast by pruning, and prove that nothing was lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in VERBS:
    _module: Any = importlib.import_module(f"recprune.cli.{_verb}")
    app.command(name=_verb)(expanded(_module.command))
for _verb in GROUPS:
    _module = importlib.import_module(f"recprune.cli.{_verb}")
    app.add_typer(_module.app, name=_verb)


@app.callback()
def _options(
    verbose: int = typer.Option(
        0, "-v", "--verbose", count=True, help="Say more; repeat for more."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and end."
    ),
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    del version  # answered by its callback
    del debug  # read from the arguments by ``main``, which must know it before any verb runs


def main() -> None:
    """Run the program and exit: 0 done, 1 failed, 2 bad usage or input, 3 verdict not met, 130 Ctrl-C."""
    warnings.formatwarning = _formatted
    debug = "--debug" in sys.argv
    if debug:  # allowed after the verb too
        sys.argv = [sys.argv[0], "--debug", *[a for a in sys.argv[1:] if a != "--debug"]]
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        sys.exit(_other(error))
    if code == INTERRUPTED:
        _complain("Interrupted; nothing half-written was left.")
    sys.exit(code if isinstance(code, int) else 0)


def _formatted(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return our own warnings as one line; where in the source they were raised helps nobody."""
    if issubclass(category, RecpruneWarning):
        return f"recprune: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _other(error: Exception) -> int:
    """Say what went wrong in one line and return the exit code."""
    worded = getattr(error, "format_message", None)
    if worded is not None:  # typer's own usage errors
        _complain(worded())
        return 2
    if type(error).__name__ in ("Exit", "Abort"):
        return int(getattr(error, "exit_code", 1))
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(error)
    if isinstance(error, RecpruneError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, MemoryError):
        _complain("Out of memory. Use fewer rows, a smaller --dim, or a larger machine.")
        return 1
    if isinstance(error, OSError):
        _complain(f"{error.filename or 'A file'}: {error.strerror or error}.")
        return 1
    _complain(f"{type(error).__name__}: {error}. Run again with --debug for the traceback.")
    return 1


def _complain(message: str) -> None:
    print(f"recprune: {message}", file=sys.stderr)
