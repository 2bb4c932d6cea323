"""What a service lets in: rules of routes, networks, rates and bounds, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recprune.errors import ParameterError

__all__ = ["Bounds", "Limits", "NetworkRules", "Policy"]


@dataclass(frozen=True)
class NetworkRules:
    """Networks in the form ``"10.0.0.0/8"``; a bare address is a network of one.

    Args:
        trusted: proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed; the word
            ``"unix"`` stands for whoever asks through a Unix socket.
        allow: who is let in; empty = everyone.
        deny: who is kept out, also if allowed.
    """

    trusted: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How often, in the words of the library ``limits``: ``"600/minute"``, ``"10 per 2 second"``.

    Each is a sliding window, and several hold together: a rate over a minute and a burst within a
    second. Empty = no limit.

    Args:
        caller: requests of one caller.
        address: requests from one address, whoever asks; those to open routes are not counted.
        failures: credentials that were not valid, from one address; who has spent them waits, with
            any credentials.
    """

    caller: tuple[str, ...] = ("6000/minute", "200/second")
    address: tuple[str, ...] = ("12000/minute", "400/second")
    failures: tuple[str, ...] = ("20/minute",)


@dataclass(frozen=True)
class Bounds:
    """How much of a request is taken, and how long it may take.

    Args:
        body_bytes: of the body, counted as it arrives.
        header_bytes: of names and values of all headers.
        target_bytes: of path and query.
        body_seconds: from the first to the last byte of the body.
        answer_seconds: until the answer is complete.

    Raises:
        ParameterError: one is not positive.
    """

    body_bytes: int = 1_000_000
    header_bytes: int = 16_384
    target_bytes: int = 4_096
    body_seconds: float = 10.0
    answer_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ParameterError.of(name, "Bounds", "a number > 0", value)


@dataclass(frozen=True)
class Policy:
    """What a service lets in.

    Args:
        rules: ``{"POST /v1/score": "score", "GET /v1/model": "any", "GET /health/live": None}``:
            method and path, exactly, to the scope that a caller needs; ``"any"`` = any caller with
            valid credentials, None = open to everyone. A route without a rule is closed. HEAD
            follows the rule of GET.
        networks: see :class:`NetworkRules`.
        limits: see :class:`Limits`.
        bounds: see :class:`Bounds`.
        local: whether only who asks for an address of loopback or ``localhost`` is let in: a web
            site whose name leads to this machine is not (DNS rebinding).
        recorded: scopes whose requests are written to the audit log before they are answered, but
            for GET and HEAD, which are counted; one that cannot be written down is refused.

    Raises:
        ParameterError: a rule without a method and a path.
    """

    rules: Mapping[str, str | None]
    networks: NetworkRules = field(default_factory=NetworkRules)
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
    local: bool = False
    recorded: tuple[str, ...] = ("admin",)

    def __post_init__(self) -> None:
        for rule in self.rules:
            method, _, path = rule.partition(" ")
            if not method.isupper() or not path.startswith("/"):
                raise ParameterError.of("rules", "Policy", "'METHOD /path' of each rule", rule)
