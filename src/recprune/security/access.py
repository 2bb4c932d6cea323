"""Who asks: what the headers of a request prove."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from recprune.errors import ParameterError
from recprune.security.callers import Caller, Denied
from recprune.security.keys import SCOPES, KeyStore
from recprune.security.tokens import Tokens

__all__ = ["Access", "Doorkeeper", "OpenAccess"]

Headers = Iterable[tuple[bytes, bytes]]


class Doorkeeper(Protocol):
    """Tells who asks."""

    def caller(self, headers: Headers) -> Caller:
        """Return the caller, or raise :class:`~recprune.security.Denied`."""


class Access:
    """Tells callers by an API key or a token of an identity provider.

    Args:
        keys: of the service; None = there are none.
        tokens: of an identity provider; None = there is none.

    Raises:
        ParameterError: neither.
    """

    def __init__(self, keys: KeyStore | None, tokens: Tokens | None = None) -> None:
        if keys is None and tokens is None:
            raise ParameterError.of("keys", "Access", "given where there are no tokens", keys)
        self._keys, self._tokens = keys, tokens

    def caller(self, headers: Headers) -> Caller:
        """Return who asks, by ``Authorization: Bearer …`` or ``X-API-Key: …``, one of them, once.

        Args:
            headers: of the request, names in lower case; others are passed over.

        Raises:
            Denied: 401 where there are no credentials, too many, or none that are valid now.
        """
        given = [h for h in headers if h[0] == b"authorization" or h[0] == b"x-api-key"]
        if len(given) != 1:
            code = "ambiguous_credentials" if given else "no_credentials"
            raise Denied(
                401, code, "Send one 'Authorization: Bearer …' or one 'X-API-Key: …' header."
            )
        name, value = given[0]
        text = value.decode("latin-1").strip(" \t")
        if name == b"authorization":
            scheme, _, text = text.partition(" ")
            if scheme.lower() != "bearer":
                raise Denied(401, "no_credentials", "Send 'Authorization: Bearer …'.")
            text = text.strip(" ")
        if self._keys is not None and (text.startswith("rk_") or self._tokens is None):
            return self._keys.verify(text)
        if self._tokens is not None and name == b"authorization":
            return self._tokens.verify(text)
        raise Denied(401, "invalid_credentials", "The credentials are not valid.")


class OpenAccess:
    """Lets everyone do everything; for a service on loopback that was asked for in so many words."""

    def caller(self, headers: Headers) -> Caller:
        """Return one and the same caller."""
        del headers
        return EVERYONE


EVERYONE = Caller("everyone", frozenset(SCOPES), "insecure")
