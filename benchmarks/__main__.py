"""``python -m benchmarks run`` measures, ``publish`` copies whole results, ``page`` writes the page."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from benchmarks._catalog import benchmarks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure: all benchmarks, or those named")
    run.add_argument("names", nargs="*", metavar="NAME")
    run.add_argument("--quick", action="store_true", help="small and rough, for development")
    run.add_argument(
        "--again", action="append", default=[], metavar="NAME",
        help="run this one although it was finished; may be repeated",
    )  # fmt: skip
    publish = commands.add_parser(
        "publish", help="copy results of whole runs beside the benchmarks, and write the page"
    )
    publish.add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("page", help="write docs/benchmarks.md from the published results")
    options = parser.parse_args(arguments)
    known = benchmarks()
    named = [*getattr(options, "names", ()), *getattr(options, "again", ())]
    if unknown := [name for name in named if name not in known]:
        parser.error(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(sorted(known))}")
    if options.command == "run":
        return _run(options)
    # The page needs what measuring does not.
    from benchmarks._page import publish as published
    from benchmarks._page import write

    if options.command == "publish":
        published(options.names or None)
    write()
    return 0


def _run(options: argparse.Namespace) -> int:
    from benchmarks._runs import Runner, table

    signal.signal(signal.SIGTERM, _ended)
    known = benchmarks()
    names = list(dict.fromkeys([*options.names, *options.again])) if options.names else list(known)
    # The short ones first: most of what is to be known is known soon.
    names.sort(key=lambda name: known[name].minutes)
    outcomes = Runner(options.quick, frozenset(options.again)).run(names)
    print(table(outcomes))
    return 0 if all(one.good for one in outcomes) else 1


def _ended(*_: object) -> None:
    """End the benchmarks that run, too; make tells of a signal twice, once in the midst of that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
