"""Answers: refusals in JSON, and the headers that every answer gets."""

from __future__ import annotations

import json
from collections.abc import Iterable

from recprune.security.callers import Denied

__all__ = ["dressed", "refusal"]

Headers = list[tuple[bytes, bytes]]

NOSNIFF = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: What an answer gets unless the service has said otherwise.
DEFAULTS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
#: A year, once it came over TLS.
HSTS = (b"strict-transport-security", b"max-age=31536000")
#: Who made what is nobody's business.
HIDDEN = frozenset((b"server", b"x-powered-by"))


def dressed(headers: Iterable[tuple[bytes, bytes]], secure: bool) -> Headers:
    """Return an answer's headers with those that all answers get.

    Args:
        headers: of the service's own answer, names in lower case.
        secure: whether the client speaks TLS.

    >>> [name for name, _ in dressed([(b"server", b"x"), (b"cache-control", b"max-age=60")], True)]
    [b'cache-control', b'content-security-policy', b'x-content-type-options', b'referrer-policy',
     b'cross-origin-resource-policy', b'strict-transport-security']
    """
    kept = [(name, value) for name, value in headers if name not in HIDDEN]
    said = {name for name, _ in kept}
    kept.extend(item for item in DEFAULTS.items() if item[0] not in said)
    kept.extend(NOSNIFF)
    if secure:
        kept.append(HSTS)
    return kept


def refusal(denied: Denied, closing: bool) -> tuple[Headers, bytes]:
    """Return headers and body that tell a refusal.

    Args:
        denied: what is refused, and why.
        closing: whether the connection ends with this answer.
    """
    about = {"error": {"code": denied.code, "message": str(denied)}}
    body = json.dumps(about).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *denied.headers,
    ]
    if denied.status == 401:
        told = b"" if denied.code == "no_credentials" else b', error="invalid_token"'
        headers.append((b"www-authenticate", b'Bearer realm="recprune"' + told))
    if closing:
        headers.append((b"connection", b"close"))
    return headers, body
