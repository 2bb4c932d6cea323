"""``recprune serve``: recommendations over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from recprune._support import byte_count, require
from recprune.cli._options import MasterKeyFile, Model
from recprune.errors import InputError

#: Holds a URI that everybody on the machine could read among the arguments.
RATE_STORE = "RECPRUNE_RATE_STORE"


def command(
    model: Model,
    users: Annotated[Path | None, typer.Option("--users", help="The users.rp folder.")] = None,
    state: Annotated[
        Path,
        typer.Option("--state", help="Folder of the service's keys, hidden items and audit log."),
    ] = Path("service"),
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 = any that is free.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", help="Processes of one thread each.")] = 2,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve without keys, on loopback alone.")
    ] = False,
    first_stage: Annotated[
        Path | None,
        typer.Option("--first-stage", help="Folder of a retriever, for a very large catalogue."),
    ] = None,
    first_stage_k: Annotated[
        int, typer.Option("--first-stage-k", help="How many candidates it leaves.")
    ] = 1000,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="PEM; read again when renewed.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM of its key.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="Network that is let in, as 10.0.0.0/8; default all. Repeat."),
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", help="Network that is kept out. Repeat.")
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option("--trust-proxy", help="Proxy whose X-Forwarded-For is believed. Repeat."),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate", help="Of one key, as 6000/minute; again for bursts, as 200/second. Repeat."
        ),
    ] = None,
    rate_address: Annotated[
        list[str] | None, typer.Option("--rate-address", help="Of one address. Repeat.")
    ] = None,
    rate_store: Annotated[
        str | None,
        typer.Option(
            "--rate-store",
            envvar=RATE_STORE,
            help="Where several machines count, as redis://host:6379; with a password, by the "
            "variable.",
        ),
    ] = None,
    max_k: Annotated[int, typer.Option("--max-k", help="Most items a request gets.")] = 100,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Most rows a request scores.")] = 1000,
    max_users: Annotated[int, typer.Option("--max-users", help="Most users of one request.")] = 32,
    max_body: Annotated[
        int, typer.Option("--max-body", help="Most bytes of a request's body.")
    ] = 1_000_000,
    keep_answers: Annotated[
        str,
        typer.Option(
            "--keep-answers",
            help="Memory a worker keeps answers in, for who asks the same again; 0 = none.",
        ),
    ] = "16MB",
    max_connections: Annotated[
        int, typer.Option("--max-connections", help="Open at once, a worker.")
    ] = 512,
    pepper_file: Annotated[
        Path | None, typer.Option("--pepper-key-file", help="Default: $RECPRUNE_PEPPER_KEY.")
    ] = None,
    audit_file: Annotated[
        Path | None, typer.Option("--audit-key-file", help="Default: $RECPRUNE_AUDIT_KEY.")
    ] = None,
    pseudonymised: Annotated[
        bool,
        typer.Option(
            "--pseudonymised-users",
            help="Stored users go by pseudonyms; key from $RECPRUNE_PSEUDONYM_KEY.",
        ),
    ] = False,
    pseudonym_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--pseudonym-key-file", help="Or from this file; again for former keys, latest first."
        ),
    ] = None,
    master_file: MasterKeyFile = None,
    sealed_only: Annotated[
        bool, typer.Option("--sealed-only", help="Refuse folders that are not sealed.")
    ] = False,
    jwt_key: Annotated[
        Path | None,
        typer.Option("--jwt-key", help="Identity provider's public key (PEM), JWKS or secret."),
    ] = None,
    jwt_issuer: Annotated[str, typer.Option("--jwt-issuer", help="Claim iss.")] = "",
    jwt_audience: Annotated[str, typer.Option("--jwt-audience", help="Claim aud.")] = "",
) -> int:
    """Serve a model over HTTP, behind keys and limits; needs no training software."""
    require("fastapi", "serve")
    require("uvicorn", "serve")
    from recprune.security import Bounds, Limits, NetworkRules
    from recprune.serving import (
        Address,
        Callers,
        Guards,
        Identity,
        KeyFiles,
        Most,
        ServeSettings,
        Sources,
        Tls,
        serve,
    )

    if (tls_certificate is None) != (tls_key is None):
        raise InputError("--tls-certificate and --tls-key go together. Give both or neither.")
    if jwt_key is None and (jwt_issuer or jwt_audience):
        raise InputError("--jwt-issuer and --jwt-audience go with --jwt-key, which is not given.")
    if pseudonym_files and not pseudonymised:
        raise InputError("--pseudonym-key-file goes with --pseudonymised-users.")
    if pseudonymised and users is None:
        raise InputError(
            "--pseudonymised-users goes with --users: without stored users no id is hashed. Give "
            "both, or let requests send pseudonyms."
        )
    shown = rate_store is not None and rate_store != os.environ.get(RATE_STORE)
    if shown and _holds_password(rate_store or ""):
        raise InputError(
            "--rate-store holds a password, which everybody on this machine can read there. Set the "
            f"environment variable {RATE_STORE} instead."
        )
    tls = Tls(tls_certificate, tls_key) if tls_certificate and tls_key else None
    default = Limits()
    settings = ServeSettings(
        Sources(model, users, first_stage, first_stage_k, master_file, sealed_only),
        state,
        Address(host, port, workers, max_connections, tls=tls),
        Most(max_k, max_rows, max_users, kept_bytes=_bytes(keep_answers)),
        Guards(
            NetworkRules(tuple(trust_proxy or ()), tuple(allow or ()), tuple(deny or ())),
            Limits(tuple(rate or default.caller), tuple(rate_address or default.address)),
            Bounds(body_bytes=max_body),
            rate_store,
        ),
        Callers(
            KeyFiles(pepper_file, audit_file, tuple(pseudonym_files or ()), pseudonymised),
            None if jwt_key is None else Identity(jwt_key, jwt_issuer, jwt_audience),
            insecure,
        ),
    )
    if insecure:
        print("recprune: anyone on this machine may ask: there are no keys", file=sys.stderr)
    serve(settings, lambda url: print(f"recprune: serving on {url}", file=sys.stderr, flush=True))
    return 0


def _holds_password(uri: str) -> bool:
    try:
        return urlsplit(uri).password is not None
    except ValueError:
        return False  # no URI; who opens the store says so


def _bytes(text: str) -> int:
    return 0 if text.strip() == "0" else byte_count(text, "serve", "--keep-answers")
