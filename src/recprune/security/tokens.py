"""Tokens of an identity provider (JSON Web Tokens, RFC 7519), checked by PyJWT.

The key says which algorithms there are, never the token (RFC 8725, section 3.1): a public RSA key
allows RS256 and its kin, an elliptic one the algorithm of its curve, a shared secret HS256. So
``none`` is no algorithm, and a public key is never taken for a secret. A token's ``kid`` picks
among the keys of the file and is never a path or an address.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recprune._support import require
from recprune.errors import InputError, ParameterError
from recprune.security.callers import Caller, Denied
from recprune.security.watched import Watched

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = ["Tokens"]

#: Longest token, and longest identity.
LONGEST, LONGEST_SUB = 8192, 256
#: Fewest bytes of a shared secret (RFC 7518, section 3.2).
LEAST_SECRET = 32
#: Tokens that were found valid and are known until they expire.
REMEMBERED = 1024

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
JWK_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}

#: Name of a key (None = the only one) → key, and its algorithms.
Keys = Mapping[str | None, tuple[Any, tuple[str, ...]]]


class Tokens:
    """Checks tokens against one issuer's keys, for one audience.

    Args:
        file: a public key or certificate in PEM, a set of public keys (JWKS), or a secret of at
            least 32 bytes; read again when it changes.
        issuer: what ``iss`` has to be.
        audience: what ``aud`` has to be, or to hold.
        required: claims that have to be there besides ``exp``, ``iss``, ``aud`` and ``sub``.
        leeway: seconds by which clocks may differ.

    Raises:
        InputError: the file is none of these.
        MissingExtra: PyJWT or cryptography is not installed.
    """

    def __init__(
        self,
        file: Path,
        issuer: str,
        audience: str,
        required: tuple[str, ...] = (),
        leeway: float = 30.0,
    ) -> None:
        self._jwt = require("jwt", "serve")
        require("cryptography", "serve")
        for name, value in {"issuer": issuer, "audience": audience}.items():
            if not value:
                raise ParameterError.of(name, "Tokens", "a text that is not empty", value)
        self._file, self._leeway = Path(file), leeway
        self._issuer, self._audience = issuer, audience
        self._required = ["exp", "iss", "aud", "sub", *required]
        nothing: Keys = {}
        self._watched = Watched(self._file, self._keys, nothing)
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._known_under: Keys | None = None
        if not self._current():
            raise InputError(f"There is no file {str(file)!r} with the keys of tokens.")

    def verify(self, token: str, now: float | None = None) -> Caller:
        """Return the caller whom a token names; its scopes are those of ``scope`` or ``scp``.

        Raises:
            Denied: 401, ``"invalid_credentials"`` or ``"expired"``; 503 where the keys cannot be
                read.
        """
        now = time.time() if now is None else now
        if len(token) > LONGEST or not token.isascii():
            raise _invalid()
        try:
            keys = self._current()
        except InputError as error:
            raise Denied(503, "keys_unavailable", "The keys cannot be read now.") from error
        if keys is not self._known_under:
            self._known, self._known_under = {}, keys
        mark = hashlib.sha256(token.encode()).digest()
        known = self._known.get(mark)
        if known is None:
            known = self._checked(token, keys)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[mark] = known
        if now >= known[1] + self._leeway:
            raise Denied(401, "expired", "This token has expired.")
        return known[0]

    def _checked(self, token: str, keys: Keys) -> tuple[Caller, float]:
        """Return whom a token names, and when it ends."""
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(token)
            # Older versions of PyJWT pass over extensions that have to be understood.
            if "crit" in header or "b64" in header:
                raise _invalid()
            kid = header.get("kid")
            key, algorithms = keys[None] if None in keys else keys[kid]
            claims = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": self._required},
            )
            return _caller(claims), float(claims["exp"])
        except jwt.ExpiredSignatureError as error:
            raise Denied(401, "expired", "This token has expired.") from error
        # What a token may hold knows no bounds: names that cannot be hashed, times without end.
        except (jwt.PyJWTError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise _invalid() from error
        except (AttributeError, RecursionError) as error:
            raise _invalid() from error

    def _current(self) -> Keys:
        try:
            return self._watched.get()
        except OSError as error:
            raise InputError(
                f"Keys {str(self._file)!r} cannot be read: {error.strerror}."
            ) from error

    def _keys(self, content: bytes) -> Keys:
        from cryptography.exceptions import UnsupportedAlgorithm

        text = content.strip()
        try:
            if text.startswith(b"{"):
                return _of_set(json.loads(text))
            if text.startswith(b"-----BEGIN"):
                return {None: _of_public(text)}
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            UnsupportedAlgorithm,
            self._jwt.PyJWTError,
        ) as error:
            raise InputError(
                f"File {str(self._file)!r} holds no public keys that can be used: {error}. Give a "
                "public key or a certificate in PEM, or a set of public keys (JWKS)."
            ) from error
        # Of random bytes, one in twenty begins or ends with what would pass for white space.
        secret = content.removesuffix(b"\n").removesuffix(b"\r")
        if len(secret) < LEAST_SECRET or text.startswith((b"ssh-", b"ecdsa-")) or _is_der(content):
            raise InputError(
                f"File {str(self._file)!r} holds neither keys in PEM or JWKS nor a secret of at "
                f"least {LEAST_SECRET} bytes."
            )
        return {None: (secret, ("HS256",))}


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject = claims["sub"]
    given = claims.get("scope", claims.get("scp", ""))
    scopes = given.split() if isinstance(given, str) else given
    if not isinstance(subject, str) or not 1 <= len(subject.encode()) <= LONGEST_SUB:
        raise _invalid()
    if not isinstance(scopes, list) or not all(isinstance(s, str) for s in scopes):
        raise _invalid()
    return Caller(subject, frozenset(scopes), "jwt")


def _of_set(about: Mapping[str, Any]) -> Keys:
    """Return the public keys of a set, by name; those for other uses are passed over."""
    from jwt import PyJWK

    keys: dict[str | None, tuple[Any, tuple[str, ...]]] = {}
    for entry in about["keys"]:
        if entry.get("use", "sig") != "sig" or entry["kty"] not in ("RSA", "EC", "OKP"):
            continue
        if "d" in entry:
            raise ValueError("one is private")
        allowed = _of_jwk(entry)
        named = tuple(a for a in allowed if a == entry.get("alg", a))
        if named:
            jwk: PyJWK = PyJWK(dict(entry), algorithm=named[0])
            keys[entry.get("kid")] = (jwk.key, named)
    if None in keys and len(keys) > 1:
        raise ValueError("of several keys, one has no 'kid'")
    if not keys:
        raise ValueError("none is for signatures")
    return keys


def _of_jwk(entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry["kty"] == "RSA":
        return RSA
    if entry["kty"] == "OKP":
        return ("EdDSA",) if entry["crv"] in ("Ed25519", "Ed448") else ()
    return JWK_CURVES.get(entry["crv"], ())


def _of_public(text: bytes) -> tuple[Any, tuple[str, ...]]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if text.startswith(b"-----BEGIN CERTIFICATE-----"):
        key: Any = x509.load_pem_x509_certificate(text).public_key()
    elif b"PRIVATE KEY-----" in text:
        raise ValueError("it is private")
    else:
        key = load_pem_public_key(text)
    if isinstance(key, rsa.RSAPublicKey):
        return key, RSA
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key, CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key, ("EdDSA",)
    raise ValueError("of this kind none are used")


def _is_der(content: bytes) -> bool:
    """Tell whether these bytes are a public key in the form without armour."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        load_der_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _invalid() -> Denied:
    return Denied(401, "invalid_credentials", "The credentials are not valid.")
