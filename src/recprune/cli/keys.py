"""``recprune keys``: who may ask a service, and what was written down of it."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import Json, emit
from recprune.errors import InputError, ParameterError

if TYPE_CHECKING:
    from recprune.security import ApiKey, KeyStore

app = typer.Typer(
    help="API keys of a service: create, list, revoke, rotate; and check its audit log.",
    no_args_is_help=True,
)

State = Annotated[Path, typer.Option("--state", help="The service's state folder.")]
Pepper = Annotated[
    Path | None,
    typer.Option(help="File with the key pepper. Default: RECPRUNE_PEPPER_KEY (or …_COMMAND)."),
]
AuditKey = Annotated[
    Path | None,
    typer.Option(help="File with the key audit. Default: RECPRUNE_AUDIT_KEY (or …_COMMAND)."),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")]

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call the key.")],
    state: State,
    scope: Annotated[
        list[str], typer.Option(help="score, recommend or admin; repeat for several.")
    ],
    expires: Annotated[
        str | None, typer.Option(help="When it ends: in 90d, 12h, … Default: never.")
    ] = None,
    pepper_key_file: Pepper = None,
    audit_key_file: AuditKey = None,
    as_json: Json = False,
) -> int:
    """Make a key. Its token is shown now and never again."""
    ends = None if expires is None else time.time() + _seconds("expires", expires)
    store = _store(state, pepper_key_file, audit_key_file, first=True)
    key, token = store.create(name, scope, ends)
    _given(key, token, as_json)
    return 0


@app.command(name="list")
def list_(state: State, pepper_key_file: Pepper = None, as_json: Json = False) -> int:
    """List the keys, without secrets."""
    store = _store(state, pepper_key_file, None, writes=False)
    emit({"keys": [_shown(key) for key in store.list()]}, as_json)
    return 0


@app.command()
def revoke(
    id: Id,
    state: State,
    pepper_key_file: Pepper = None,
    audit_key_file: AuditKey = None,
    as_json: Json = False,
) -> int:
    """End a key, in every running process at its next request."""
    emit(_shown(_store(state, pepper_key_file, audit_key_file).revoke(id)), as_json)
    return 0


@app.command()
def rotate(
    id: Id,
    state: State,
    overlap: Annotated[
        str, typer.Option(help="How long the old key goes on: 1d, 2h, 0s, …")
    ] = "1d",
    pepper_key_file: Pepper = None,
    audit_key_file: AuditKey = None,
    as_json: Json = False,
) -> int:
    """Make a key like another, which ends after the overlap."""
    seconds = _seconds("overlap", overlap)
    key, token = _store(state, pepper_key_file, audit_key_file).rotate(id, seconds)
    _given(key, token, as_json)
    return 0


@app.command()
def audit(
    state: State,
    audit_key_file: AuditKey = None,
    seal: Annotated[
        str | None, typer.Option(help="Seal of an earlier check that has to be there still.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check the audit log: every line, and that none are missing at the end."""
    from recprune.crypto import read_key
    from recprune.security import verify

    found = verify(state / "audit.jsonl", read_key("audit", audit_key_file), seal)
    result: dict[str, Any] = {"sound": found.sound, **vars(found)}
    emit(result, as_json)
    return 0 if found.sound else 3


def _store(
    state: Path,
    pepper_key_file: Path | None,
    audit_key_file: Path | None,
    writes: bool = True,
    first: bool = False,
) -> KeyStore:
    """Return the keys of a service; changes are put on record where there is a record.

    Args:
        state: its folder; only for what may be the ``first`` key it need not exist.
        pepper_key_file: of the key pepper; None = the environment has it.
        audit_key_file: of the key audit; likewise.
        writes: whether they are to be changed.
        first: whether a key is made.

    Raises:
        InputError: there is no such folder, or a key is lacking.
    """
    from recprune.crypto import key_variable, read_key
    from recprune.folders import private_folder
    from recprune.security import Audit, KeyStore

    if not first and not state.is_dir():
        raise InputError(
            f"There is no state folder {str(state)!r}. Name the one that recprune serve was given, or "
            "make its first key with: recprune keys create."
        )
    pepper = read_key("pepper", pepper_key_file)
    if not writes:
        return KeyStore(state / "keys.json", pepper)
    log = state / "audit.jsonl"
    try:
        key = read_key("audit", audit_key_file)
    except InputError as error:
        if audit_key_file is not None or log.exists() or _is_set(key_variable("audit")):
            raise
        del error
        return KeyStore(state / "keys.json", pepper)
    private_folder(state)
    return KeyStore(state / "keys.json", pepper, Audit(log, key))


def _given(key: ApiKey, token: str, as_json: bool) -> None:
    """Print a new key; its token in a line of its own, which nothing wraps."""
    emit({**_shown(key), "token": token} if as_json else _shown(key), as_json)
    if not as_json:
        print(f"The token, which is shown only now:\n{token}")


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable) or os.environ.get(f"{variable}_COMMAND"))


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "state": key.state(time.time()),
        "created": _date(key.created),
        "expires": _date(key.expires),
        "revoked": _date(key.revoked),
    }


def _date(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _seconds(name: str, text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smhdwy])", text)
    if found is None:
        raise ParameterError.of(name, "keys", "a time such as '90d', '12h' or '30m'", text)
    return int(found[1]) * SECONDS[found[2]]
