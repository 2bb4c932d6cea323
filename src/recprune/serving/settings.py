"""What a service is made of, as plain values: each worker process gets a copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recprune.errors import InputError, ParameterError
from recprune.security import Bounds, Limits, NetworkRules, is_loopback

__all__ = [
    "Address",
    "Callers",
    "Guards",
    "Identity",
    "KeyFiles",
    "Most",
    "Patience",
    "ServeSettings",
    "Sources",
    "Tls",
]


@dataclass(frozen=True)
class Sources:
    """What is served.

    Args:
        model: the artefact's folder.
        users: the ``users.rp`` folder; None = all that is known of a user comes with the request.
        first_stage: the folder of a retriever; None = the whole catalogue is ranked.
        first_stage_k: how many candidates it leaves.
        master: file of the key of sealed folders; None = the environment has it, if one is sealed.
        sealed_only: refuse folders that are not sealed, so that nobody without the master key can
            put one in their place.
    """

    model: Path
    users: Path | None = None
    first_stage: Path | None = None
    first_stage_k: int = 1000
    master: Path | None = None
    sealed_only: bool = False


@dataclass(frozen=True)
class Tls:
    """Certificate and private key, PEM files that are read again when they are renewed.

    Args:
        certificate: with those that vouch for it.
        key: not encrypted.
        renewal_seconds: between two looks at the files.
    """

    certificate: Path
    key: Path
    renewal_seconds: float = 5.0


@dataclass(frozen=True)
class Patience:
    """How long a connection may be open for nothing.

    Args:
        header_seconds: from its opening to the end of a request's headers; and for a client to take
            what it is sent.
        idle_seconds: that it is kept for the next request.

    Raises:
        ParameterError: one is not positive.
    """

    header_seconds: float = 10.0
    idle_seconds: float = 15.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ParameterError.of(name, "serve", "a number > 0", value)


@dataclass(frozen=True)
class Address:
    """Where the service listens.

    Args:
        host: an address or a name.
        port: 0 = any that is free.
        workers: processes, each with one thread.
        connections: open at once, a worker; beyond, 503.
        patience: with slow clients.
        tls: None = plain HTTP.

    Raises:
        ParameterError: a number out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 2
    connections: int = 512
    patience: Patience = field(default_factory=Patience)
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ParameterError.of("port", "serve", "0 to 65535", self.port)
        for name in ("workers", "connections"):
            if not getattr(self, name) > 0:
                raise ParameterError.of(name, "serve", "a number > 0", getattr(self, name))

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can connect."""
        return is_loopback(self.host)


@dataclass(frozen=True)
class Most:
    """The most that one request may ask for, and that a worker keeps.

    Args:
        k: items.
        rows: rows to score.
        users: users to recommend to.
        named: items that a request names: candidates, denied, seen ones, each.
        kept_bytes: of answers to be given again to who asks the same again; 0 = each is computed.

    Raises:
        ParameterError: one is not positive; ``kept_bytes`` is negative.
    """

    k: int = 100
    rows: int = 1000
    users: int = 32
    named: int = 10_000
    kept_bytes: int = 16_000_000

    def __post_init__(self) -> None:
        for name in ("k", "rows", "users", "named"):
            if getattr(self, name) < 1:
                raise ParameterError.of(f"max_{name}", "serve", "a number ≥ 1", getattr(self, name))
        if self.kept_bytes < 0:
            raise ParameterError.of("keep_answers", "serve", "bytes ≥ 0", self.kept_bytes)


@dataclass(frozen=True)
class KeyFiles:
    """Files of secret keys; one that is None is read from the environment.

    Args:
        pepper: of API keys.
        audit: of the audit log.
        pseudonym: of the users' ids, the present one first, then former ones.
        pseudonymised: whether stored users go by pseudonyms, so that a request's raw id has to be
            turned into one.
    """

    pepper: Path | None = None
    audit: Path | None = None
    pseudonym: tuple[Path, ...] = ()
    pseudonymised: bool = False


@dataclass(frozen=True)
class Identity:
    """An identity provider whose tokens (JWT) are believed.

    Args:
        key: file of its public key (PEM), its key set (JWKS), or of a shared secret.
        issuer: the claim ``iss``.
        audience: the claim ``aud``.
    """

    key: Path
    issuer: str
    audience: str


@dataclass(frozen=True)
class Guards:
    """What keeps requests out.

    Args:
        networks: who is let in, by address.
        limits: how often.
        bounds: how long and how large.
        store: of the counters of rates, a URI of the library ``limits`` such as
            ``"redis://host:6379"``; None = a file in the state folder, shared by all workers.
    """

    networks: NetworkRules = field(default_factory=NetworkRules)
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
    store: str | None = None


@dataclass(frozen=True)
class Callers:
    """How callers are told.

    Args:
        keys: where secrets are.
        identity: an identity provider; None = API keys alone.
        insecure: serve without keys.
    """

    keys: KeyFiles = field(default_factory=KeyFiles)
    identity: Identity | None = None
    insecure: bool = False


@dataclass(frozen=True)
class ServeSettings:
    """All that a worker is told.

    Args:
        sources: what is served.
        state: folder of the service's own files: API keys, hidden items, audit log, counters.
        address: where it listens.
        most: how much a request may ask for.
        guards: what keeps requests out.
        callers: who may ask.

    Raises:
        InputError: without keys, on an address that others can reach.
    """

    sources: Sources
    state: Path
    address: Address = field(default_factory=Address)
    most: Most = field(default_factory=Most)
    guards: Guards = field(default_factory=Guards)
    callers: Callers = field(default_factory=Callers)

    def __post_init__(self) -> None:
        if self.callers.insecure and not self.address.loopback:
            raise InputError(
                "--insecure serves without keys and is for loopback alone. Got --host "
                f"{self.address.host!r}. Use 127.0.0.1, or make a key: recprune keys create."
            )
