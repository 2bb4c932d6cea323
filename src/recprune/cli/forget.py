"""``recprune forget``: a user out of everything that recprune wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import Json, MasterKeyFile, emit
from recprune.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

    from recprune.crypto import Pseudonymiser
    from recprune.erasure import Forgotten, Trace
    from recprune.security import Audit


def command(
    user: Annotated[
        str,
        typer.Argument(
            help="The user's id, or pseudonym; - reads it from standard input, which no other process "
            "sees."
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders that recprune wrote: data, users, models, runs; or of such."),
    ],
    erasure_key_file: Annotated[
        Path | None,
        typer.Option(
            "--erasure-key-file",
            help="File that holds the key of the list of erased users; else $RECPRUNE_ERASURE_KEY.",
        ),
    ] = None,
    pseudonym_key_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--pseudonym-key-file",
            help="File of a key that data may be pseudonymised by, beside $RECPRUNE_PSEUDONYM_KEY; "
            "repeat for former ones.",
        ),
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="List of erased users; default: this machine's.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="A further column that holds ids of users; repeat for more."),
    ] = None,
    everywhere: Annotated[
        bool,
        typer.Option(
            "--everywhere",
            help="The id means nobody else wherever it stands, though it is short, or a word.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only tell where the user is named; exit 3 if anywhere."),
    ] = False,
    master_key_file: MasterKeyFile = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="State folder of a service, in whose audit log it is put down."
        ),
    ] = None,
    audit_key_file: Annotated[
        Path | None,
        typer.Option("--audit-key-file", help="File with the audit key; else $RECPRUNE_AUDIT_KEY."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Remove a user from data, users, models and runs, and list them, so that they do not come back."""
    from recprune.crypto import ErasureKey, read_key
    from recprune.erasure import Names, forget, traces
    from recprune.erasure.kinds import check_below

    name = sys.stdin.readline().rstrip("\r\n") if user == "-" else user
    keys = _keys(pseudonym_key_file or ())
    master = None if master_key_file is None else read_key("master", master_key_file)
    names = Names.of(name, keys, column or (), everywhere)
    if check:
        for path in paths:
            if not path.exists():
                raise InputError(f"Path {str(path)!r} does not exist.")
            check_below(path, names, master, damaged_too=True)
        found = traces(paths, names, master)
        said = {"traces": [vars(t) for t in found]}
        emit(said, as_json, None if as_json else _shown([], found, (), "Traces of the user"))
        return 3 if any(t.sure for t in found) else 0
    key = ErasureKey.read(erasure_key_file)
    audit = _audit(state, audit_key_file)
    if audit is not None:  # before it happens, or it does not
        who = key.hash(min(names.ids or names.pseudonyms))
        audit.event("user.forget", user=who, paths=len(paths))
    done = forget(names, paths, key=key, list_file=list_file, master=master)
    if audit is not None:
        left = sum(t.sure for t in done.left)
        audit.event("user.forgotten", user=who, removed=len(done.removed), left=left)
    emit(done.to_json(), as_json, None if as_json else _summary(done))
    return 0


def _audit(state: Path | None, key_file: Path | None) -> Audit | None:
    from recprune.crypto import read_key
    from recprune.security import Audit

    if state is None:
        if key_file is not None:
            raise InputError("--audit-key-file goes with --state, which is not given.")
        return None
    if not state.is_dir():
        raise InputError(f"State folder {str(state)!r} does not exist.")
    return Audit(state / "audit.jsonl", read_key("audit", key_file))


def _keys(files: Sequence[Path]) -> list[Pseudonymiser]:
    """Return the keys of files, and that of the environment if it has one."""
    from recprune.crypto import Pseudonymiser, key_variable

    keys = [Pseudonymiser.read(file) for file in files]
    variable = key_variable("pseudonym")
    if os.environ.get(variable) or os.environ.get(f"{variable}_COMMAND"):
        keys.append(Pseudonymiser.read())
    return keys


def _summary(done: Forgotten) -> Group:
    title = "What was removed" if done.removed else "The user was found nowhere"
    listed = (
        f"On the list of erased users now, {str(done.list_file)!r}."
        if done.listed
        else f"On the list of erased users already, {str(done.list_file)!r}."
    )
    removed = [(r.path, r.what, r.count) for r in done.removed]
    return _shown(removed, done.left, (listed, *done.remains), title)


def _shown(
    removed: Sequence[tuple[str, str, int]],
    found: Sequence[Trace],
    remains: Sequence[str],
    title: str,
) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("where", "what", "how many", title=title, title_justify="left")
    for path, what, count in removed:
        table.add_row(Text(path), Text(what), f"{count:,}")
    if removed and found:
        table.add_section()
        table.add_row("", "still there:", "")
    for trace in found:
        note = "" if trace.sure else "may be something else: "
        table.add_row(Text(trace.path), Text(note + trace.what), f"{trace.count:,}")
    parts: list[Any] = [table] if removed or found else [Text(title)]
    if remains:
        parts += [Text(""), Text(remains[0]), Text("What remains:")]
        parts += [Text(f"- {line}" if not line.startswith(" ") else line) for line in remains[1:]]
    return Group(*parts)
