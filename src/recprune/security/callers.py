"""Who asks, and the refusal of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recprune.errors import RecpruneError

__all__ = ["Caller", "Denied"]


class Denied(RecpruneError):
    """A request is refused, and the caller is told so.

    Args:
        status: of HTTP.
        code: the reason in one word, for programs: ``"expired"``, ``"rate_limited"``, …
        message: the reason for people; never holds what the caller sent.
        headers: of the answer, names in lower case.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Args:
        id: of the API key, or the identity that a token names (``sub``).
        scopes: what the caller may do.
        kind: how the caller proved to be it; ``"insecure"`` proved nothing and may do all.

    >>> Caller("3f", frozenset({"score"}), "key").may("admin")
    False
    """

    id: str
    scopes: frozenset[str]
    kind: Literal["key", "jwt", "insecure"]

    def may(self, scope: str) -> bool:
        """Tell whether the caller has a scope."""
        return scope in self.scopes or self.kind == "insecure"
